#!/usr/bin/env python3
"""Random instruction sequences, run under Nandu's interpreter, its translator and QEMU.

    tests/isa/randseq.py [--seed N] [--count N] [--batch N] [--mode MODE]... [--one N] [--list]
                         [--save FILE] [--no-qemu] [-j N]

Each sequence starts from random registers and memory and ends with a dump of all registers, fcsr and
a digest of its memory.  Sequences are run many at a time in one program; one that differs is run
alone, reduced to the instructions that it needs to differ, and printed with its number, which is its
seed: "--one NUMBER" makes it again.
"""

import argparse
import os
import random
import struct
import sys
from concurrent.futures import ThreadPoolExecutor

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import runner                                                                   # noqa: E402
from isa_fp import Numbers                                                      # noqa: E402
from isa_int import EDGES                                                       # noqa: E402
from program import (SA_ONSTACK, SIGBUS, SIGILL, SIGSEGV, SIGTRAP, UC_FP, UC_PC)    # noqa: E402
from rv_encodings import INSNS, encode                                                  # noqa: E402
from rvasm import (Asm, CODE, DATA, MASK64, OUT, RA, SCRATCH, SYS_SIGACTION,          # noqa: E402
                   SYS_SIGALTSTACK, T0)

SYS_SETITIMER, SIGALRM = 103, 14
SA_RESTART, SA_SIGINFO = 0x10000000, 4

# Base register of a sequence; -2048 .. -1529 from it is where the registers are saved, the memory that
# instructions use is at LOW .. HIGH from it.
BASE = SCRATCH + 4096
SAVE, LOW, HIGH = -2048, -1520, 2032
DUMP_WORDS = 31 + 32 + 1 + 1
BUFFER = 4096 - 512
SLOT = DUMP_WORDS * 8
POINTER = SCRATCH + 0x3000      # a word: where the next dump goes

INT_R = [n for n, i in INSNS.items() if i.format == "r" and i.ext not in ("zimop",)]
INT_R1 = [n for n, i in INSNS.items() if i.format == "r1" and i.ext not in ("zimop",)]
INT_BASIC = [n for n in INT_R if INSNS[n].ext == "i"]
INT_I = [n for n, i in INSNS.items() if i.format == "i" and n != "jalr"]
INT_SH = [n for n, i in INSNS.items() if i.format in ("sh5", "sh6")]
CI = ["c.addi", "c.addiw", "c.li", "c.andi", "c.srli", "c.srai", "c.slli", "c.lui"]
CR = ["c.mv", "c.add"]
CA = [n for n, i in INSNS.items() if i.format == "ca"]
CU = [n for n, i in INSNS.items() if i.format == "cu"]
LOADS = [n for n, i in INSNS.items() if i.format in ("load", "fload")]
STORES = [n for n, i in INSNS.items() if i.format in ("store", "fstore")]
AMOS = [n for n, i in INSNS.items() if i.format == "amo" and not n.startswith("sc.") and
        n != "amocas.q"]
FP = {fmt: [n for n, i in INSNS.items() if i.format in ("frrm", "fr1rm", "fr4", "fr", "fcmp", "ftoi",
                                                        "itof") and fmt in n.split(".")[1:]]
      for fmt in "sdh"}
FP_MOVES = [n for n, i in INSNS.items() if i.format in ("fx", "xf", "fli", "ftoi_rtz")]
BRANCHES = [n for n, i in INSNS.items() if i.format == "b"]
ROUNDED = ("frrm", "fr1rm", "fr4", "ftoi", "itof")


class Maker:
    """Makes one sequence: a list of items; with [faults] some of them raise signals.

    An item is (kind, ...): ("i", name, operands), ("li", reg, value), ("skip", branch, operands,
    items), ("loop", register, turns, items), ("call", link register, items), ("jump", reg, items),
    ("group", items): to be kept or removed as one.
    """

    def __init__(self, number, faults=False):
        self.rng = random.Random(number)
        self.faults = faults
        self.base = self.rng.choice((2, 8, 9, 10, 15, 3, 27, 31, 12))
        regs = [r for r in range(1, 32) if r != self.base]
        self.rng.shuffle(regs)
        self.counter = regs.pop()       # of loops: nothing else writes it
        self.regs = regs
        self.hot = regs[:self.rng.choice((4, 8, 12, 29))]
        fregs = list(range(32))
        self.rng.shuffle(fregs)
        self.fregs = fregs
        self.fhot = fregs[:self.rng.choice((3, 6, 12, 32))]
        self.format = self.rng.choice("sddsh")
        self.fp_weight = self.rng.choice((0, 1, 1, 4))
        self.depth = 0
        self.kinds, self.weights = zip(*self.mix())

    def mix(self):
        fp = self.fp_weight
        return ((self.basic, 8), (self.any_r, 5), (self.any_r1, 2), (self.immediate, 6),
                (self.shift, 3), (self.compressed, 6), (self.constant, 2), (self.memory, 4),
                (self.indexed, 2), (self.atomic, 1), (self.float_op, 6 * fp),
                (self.float_move, 2 * fp), (self.float_memory, 2 * fp), (self.csr, 1 + fp),
                (self.skip, 2), (self.loop, 0.5), (self.call, 0.6), (self.jump, 0.4),
                (self.pair, 1), (self.other, 0.3), (self.fault, 1.5 if self.faults else 0))

    def reg(self):
        rng = self.rng
        return rng.choice(self.hot) if rng.random() < 0.8 else rng.choice(self.regs)

    def source(self):
        x = self.rng.random()
        return 0 if x < 0.04 else self.counter if x < 0.06 else self.reg()

    def dest(self):
        return 0 if self.rng.random() < 0.01 else self.reg()

    def low(self):
        """A register that compressed instructions can name."""
        return self.rng.choice([r for r in self.regs if 8 <= r <= 15])

    def freg(self):
        rng = self.rng
        return rng.choice(self.fhot) if rng.random() < 0.8 else rng.choice(self.fregs)

    def value(self):
        rng = self.rng
        kind = rng.randrange(4)
        if kind == 0:
            return rng.choice(EDGES)
        if kind == 1:
            return rng.getrandbits(rng.randint(1, 64))
        if kind == 2:
            return -rng.getrandbits(rng.randint(1, 63))
        return rng.randint(-64, 64)

    def items(self, count):
        rng = self.rng
        return [kind() for kind in rng.choices(self.kinds, self.weights, k=count)]

    # ---- Kinds of items ----

    def basic(self):
        return "i", self.rng.choice(INT_BASIC), (self.dest(), self.source(), self.source())

    def any_r(self):
        return "i", self.rng.choice(INT_R), (self.dest(), self.source(), self.source())

    def any_r1(self):
        return "i", self.rng.choice(INT_R1), (self.dest(), self.source())

    def immediate(self):
        rng = self.rng
        imm = rng.choice((0, 1, -1, 255, 2047, -2048)) if rng.random() < 0.3 else \
            rng.randint(-2048, 2047)
        return "i", rng.choice(INT_I), (self.dest(), self.source(), imm)

    def shift(self):
        name = self.rng.choice(INT_SH)
        amount = self.rng.choice((32, 48, 56, 16, 1, 31)) if self.rng.random() < 0.4 else \
            self.rng.randrange(64)
        return "i", name, (self.dest(), self.source(),
                           amount & (31 if INSNS[name].format == "sh5" else 63))

    def pair(self):
        """Two shifts, as compilers widen and extract."""
        rng = self.rng
        rd, first = self.reg(), rng.choice((32, 48, 56, rng.randrange(64)))
        second = first if rng.random() < 0.6 else rng.randrange(64)
        return "group", [("i", "slli", (rd, self.source(), first)),
                         ("i", rng.choice(("srli", "srai")), (self.reg(), rd, second))]

    def compressed(self):
        rng = self.rng
        kind = rng.randrange(4)
        if kind == 0:
            name = rng.choice(CI)
            form = INSNS[name].format
            imm = rng.randint(-32, 31)
            if form in ("cbsh", "cslli"):
                imm = rng.randint(1, 63)
            elif name in ("c.addi", "c.lui") and imm == 0:
                imm = 5
            reg = self.low() if form in ("cbsh", "cbi") else self.reg()
            if name == "c.lui" and reg == 2:
                return self.basic()
            return "i", name, (reg, imm)
        if kind == 1:
            return "i", rng.choice(CR), (self.reg(), self.reg())
        if kind == 2:
            return "i", rng.choice(CA), (self.low(), self.low())
        return "i", rng.choice(CU), (self.low(),)

    def constant(self):
        return "li", self.reg(), self.value()

    def memory(self):
        rng = self.rng
        if rng.random() < 0.3:
            item = self.compressed_memory()
            if item:
                return item
        offset = rng.randint(LOW, HIGH - 8)
        if rng.random() < 0.7:
            offset &= -8
        if rng.random() < 0.5:
            name = rng.choice(("lb", "lh", "lw", "ld", "lbu", "lhu", "lwu"))
            return "i", name, (self.dest(), self.base, offset)
        return "i", rng.choice(("sb", "sh", "sw", "sd")), (self.source(), self.base, offset)

    def compressed_memory(self):
        rng = self.rng
        if self.base == 2:
            name = rng.choice(("c.lwsp", "c.ldsp", "c.swsp", "c.sdsp", "c.fldsp", "c.fsdsp"))
            size = 4 if "w" in name[2:4] else 8
            reg = self.freg() if "f" in name else self.reg()
            return "i", name, (reg, rng.randrange(32) * size)
        if 8 <= self.base <= 15:
            name = rng.choice(("c.lw", "c.ld", "c.sw", "c.sd", "c.fld", "c.fsd", "c.lbu", "c.lhu",
                               "c.lh", "c.sb", "c.sh"))
            size = {"w": 4, "d": 8, "b": 1, "h": 2}[name.rstrip("u")[-1]]
            count = {1: 4, 2: 2, 4: 32, 8: 32}[size]
            reg = rng.randint(8, 15) if "f" in name else self.low()
            return "i", name, (reg, self.base, rng.randrange(count) * size)
        return None

    def address(self, mask):
        """Items that put an address within the memory into a register; and that register."""
        reg = self.reg()
        return [("i", "andi", (reg, self.source(), mask)),
                ("i", "add", (reg, reg, self.base))], reg

    def indexed(self):
        rng = self.rng
        setup, reg = self.address(rng.choice((0x3F8, 0x3FF, 0x3FC, 0x700)))
        offset = rng.choice((0, 0, 8, -8, 16, 1, -1240))
        names = rng.choice((LOADS, STORES))
        name = rng.choice(names)
        value = self.freg() if INSNS[name].format[0] == "f" else \
            self.dest() if names is LOADS else self.source()
        # A walk over memory: the next access is near.
        more = []
        if value == reg:
            pass
        elif rng.random() < 0.3:
            more = [("i", "ld", (reg, reg, -16)), ("i", "addi", (reg, reg, 1))]
        elif rng.random() < 0.3:
            more = [("i", "sd", (self.source(), reg, 24)), ("i", "lw", (self.dest(), reg, 20))]
        return "group", setup + [("i", name, (value, reg, offset))] + more

    def atomic(self):
        rng = self.rng
        setup, reg = self.address(rng.choice((0x7F0, 0x7F8 & -8, 0x60)))
        kind = rng.randrange(4)
        if kind == 0:
            size = rng.choice("wd")
            rd, status = self.reg(), self.reg()
            if len({rd, status, reg}) < 3:
                return self.basic()
            middle = [("i", "add", (rd, rd, self.source()))] if rng.random() < 0.7 else []
            return "group", setup + [("i", f"lr.{size}", (rd, reg, 0))] + middle + \
                [("i", f"sc.{size}", (status, rd, reg, 0))]
        name = rng.choice(AMOS)
        # QEMU 10 changes x0 by an amocas to it.
        rd = self.reg() if name.startswith("amocas") else self.dest()
        return "group", setup + [("i", name, (rd, self.source(), reg, rng.randrange(4)))]

    def rounding(self):
        return self.rng.choice((0, 1, 2, 3, 4)) if self.rng.random() < 0.35 else 7

    def float_op(self):
        rng = self.rng
        fmt = self.format if rng.random() < 0.8 else rng.choice("sdh")
        name = rng.choice(FP[fmt])
        form = INSNS[name].format
        count = {"frrm": 2, "fr1rm": 1, "fr4": 3, "fr": 2, "fcmp": 2, "ftoi": 1, "itof": 1}[form]
        sources = [self.freg() for _ in range(count)]
        rd = self.freg()
        if form in ("fcmp", "ftoi"):
            rd = self.dest()
        if form == "itof":
            sources = [self.source()]
        operands = [rd] + sources
        if form in ROUNDED:
            operands.append(self.rounding())
        if name.startswith("fround"):
            return self.kept("fsd", ("i", name, tuple(operands)))
        return "i", name, tuple(operands)

    def kept(self, store, item):
        """With a use of the result: QEMU 10 drops these, and the flags that they raise, when nothing
        uses it."""
        place = self.rng.randint(LOW, HIGH - 8) & -8
        return "group", [item, ("i", store, (item[2][0], self.base, place))]

    def float_move(self):
        rng = self.rng
        name = rng.choice(FP_MOVES)
        form = INSNS[name].format
        if form == "fli":
            return "i", name, (self.freg(), rng.randrange(32))
        if form == "xf":
            return "i", name, (self.freg(), self.source())
        if form == "ftoi_rtz":
            return self.kept("sd", ("i", name, (self.reg(), self.freg())))
        return "i", name, (self.dest(), self.freg())

    def float_memory(self):
        rng = self.rng
        offset = rng.randint(LOW, HIGH - 8) & -8
        name = rng.choice(("fld", "fld", "fld", "flw", "flh", "fsd", "fsw", "fsh"))
        return "i", name, (self.freg(), self.base, offset)

    def csr(self):
        rng = self.rng
        kind = rng.randrange(5)
        if kind <= 1:
            return "i", "csrrs", (self.dest(), rng.choice((1, 1, 2, 3)), 0)
        if kind == 2:
            return "i", "csrrwi", (self.dest(), 2, rng.randrange(5))
        if kind == 3:
            return "i", rng.choice(("csrrwi", "csrrsi", "csrrci")), (self.dest(), 1,
                                                                      rng.randrange(32))
        return "i", "csrrw", (self.dest(), 1, self.source())

    def skip(self):
        rng = self.rng
        if self.depth > 2:
            return self.basic()
        self.depth += 1
        inner = self.items(rng.randint(1, 5))
        self.depth -= 1
        if rng.random() < 0.3:
            return "skip", rng.choice(("c.beqz", "c.bnez")), (self.low(),), inner
        return "skip", rng.choice(BRANCHES), (self.source(), self.source()), inner

    def loop(self):
        if self.depth:
            return self.basic()
        self.depth += 1
        inner = self.items(self.rng.randint(1, 10))
        self.depth -= 1
        return "loop", self.counter, self.rng.randint(1, 12), inner

    def call(self):
        if self.depth > 1:
            return self.basic()
        self.depth += 1
        inner = self.items(self.rng.randint(0, 4))
        self.depth -= 1
        link = self.rng.choice((1, 5))
        if link not in self.regs or self.writes(inner, link):
            return self.basic()
        return "call", link, inner

    def jump(self):
        return "jump", self.reg(), [self.basic() for _ in range(self.rng.randint(0, 3))]

    def other(self):
        rng = self.rng
        kind = rng.randrange(4)
        if kind == 0:
            return "i", "fence", (rng.randint(2, 15), rng.randrange(16))
        if kind == 1:
            return "i", rng.choice(("fence.i", "pause", "c.nop", "wrs.sto", "ntl.all")), ()
        if kind == 2:
            setup, reg = self.address(0x7C0)
            return "group", setup + [("i", "cbo.zero", (reg,))]
        return "i", rng.choice(("auipc", "lui")), (self.dest(), rng.getrandbits(20))

    @staticmethod
    def writes(items, reg):
        """May the items write this integer register?"""
        for item in items:
            if item[0] == "i":
                if reg in item[2][:1] or INSNS[item[1]].format.startswith("c"):
                    return True
            elif item[0] != "raw" and (item[0] != "li" or item[1] == reg):
                return True
        return False

    def fault(self):
        """Something that raises a signal; the handler steps over it."""
        rng = self.rng
        kind = rng.randrange(8)
        if kind == 0:
            return "i", rng.choice(("ebreak", "c.ebreak")), ()
        if kind == 1:
            return "raw", rng.choice((0xFFFFFFFF, 0x00005053, 0xC0001073))
        reg, value, float_value = self.reg(), self.reg(), self.freg()
        setup = [("li", reg, rng.choice((0, 64, BASE + 0x10000, CODE + 8, -4096, BASE + 0x3000 - 4)))]
        if kind == 2:       # misaligned
            setup = [("i", "addi", (reg, self.base, rng.choice((1, 2, 3, 65))))]
            name = rng.choice(("amoadd.w", "amomaxu.d", "amocas.w"))
            return "group", setup + [("i", name, (value, self.reg(), reg, 0))]
        if kind == 3:
            return "group", setup + [("i", rng.choice(("fsd", "fsw")), (float_value, reg, 0))]
        if kind == 4:
            setup[0] = ("li", reg, rng.choice((0, BASE + 0x10000)))
            return "group", setup + [("i", rng.choice(("fld", "flw")), (float_value, reg, 8))]
        if kind == 5:
            setup[0] = ("li", reg, rng.choice((0, BASE + 0x10000)))
            return "group", setup + [("i", rng.choice(("lb", "lhu", "lw", "ld")), (value, reg, 8))]
        if kind == 6:
            return "group", setup + [("i", rng.choice(("amoadd.w", "amoswap.d")),
                                      (value, self.reg(), reg, 0))]
        return "group", setup + [("i", rng.choice(("sb", "sh", "sw", "sd")), (value, reg, 0))]

    def registers(self):
        """Start values: x1 .. x31, f0 .. f31, fcsr."""
        rng = self.rng
        values = [self.value() for _ in range(31)]
        for _ in range(32):
            fmt = self.format if rng.random() < 0.7 else rng.choice("sdh")
            numbers = Numbers(fmt)
            values.append(rng.choice(numbers.edges()) if rng.random() < 0.3 else
                          numbers.number(rng))
        values.append(rng.randrange(5) << 5 if self.fp_weight else 0)
        return values


class Sequence:
    def __init__(self, number, faults=False):
        self.number = number
        self.faults = faults
        maker = Maker(number, faults)
        self.base = maker.base
        self.values = maker.registers()
        self.items = maker.items(maker.rng.randint(20, 150))
        self.fp = maker.fp_weight > 0


class Batch(Asm):
    """A program that runs sequences one after the other. With [interval] (microseconds; 0: the timer
    isn't started) it has a signal handler that spoils all registers, which must not be noticed."""

    def __init__(self, sequences, interval=None):
        super().__init__()
        self.sequences = sequences
        self.signals = interval is not None
        self.functions = []     # (label, items, link register) still to be emitted
        self.out_size = SLOT * len(sequences)
        buffer = self.words(_memory_image())
        if self.signals or any(s.faults for s in sequences):
            self.set_signal_stack()
        if self.signals:
            self.start_timer(interval)
        if any(s.faults for s in sequences):
            self.handle_faults()
        self.li(T0, POINTER)
        self.li(T0 + 1, OUT)
        self.i("sd", T0 + 1, T0, 0)
        for sequence in sequences:
            self.one(sequence, buffer)
        if self.signals:
            self.syscall(SYS_SETITIMER, 0, self.words([0, 0, 0, 0]), 0)
        self.li(4, OUT + self.out_size)
        self.write_out()

    def set_signal_stack(self):
        self.extra_size = 0x20000
        self.syscall(SYS_SIGALTSTACK, self.words([OUT + self.out_size, 0, self.extra_size]), 0)

    def handle_faults(self):
        """The handler mixes all registers of the context into a digest at POINTER + 8, and steps over
        the instruction."""
        action = self.words([0, SA_ONSTACK | SA_SIGINFO, 0])
        for number in (SIGILL, SIGTRAP, SIGBUS, SIGSEGV):
            self.syscall(SYS_SIGACTION, number, action, 0, 8)
        self.to("jal", 0, "handled")
        self.data[action - DATA:action - DATA + 8] = self.pc.to_bytes(8, "little")
        self.li(5, POINTER)
        self.i("ld", 6, 5, 8)
        self.i("xor", 6, 6, 10)                 # the signal, its code
        self.i("lw", 8, 11, 8)
        self.i("add", 6, 6, 8)
        self.li(7, 0x9E3779B97F4A7C15)
        self.i("addi", 8, 12, UC_PC)
        self.i("addi", 9, 12, UC_PC + 32 * 8)
        for part in "xf":
            self.label("mix " + part)
            self.i("ld", 13, 8, 0)
            self.i("xor", 6, 6, 13)
            self.i("mul", 6, 6, 7)
            self.i("srli", 13, 6, 29)
            self.i("xor", 6, 6, 13)
            self.i("addi", 8, 8, 8)
            self.to("bne", 8, 9, "mix " + part)
            self.i("addi", 8, 12, UC_FP)
            self.i("addi", 9, 12, UC_FP + 32 * 8)
        self.i("lwu", 13, 9, 0)
        self.i("xor", 6, 6, 13)
        self.i("sd", 6, 5, 8)
        self.i("ld", 8, 12, UC_PC)
        self.i("lhu", 9, 8, 0)
        self.i("andi", 9, 9, 3)
        self.i("sltiu", 9, 9, 3)
        self.i("slli", 9, 9, 1)
        self.i("addi", 8, 8, 4)
        self.i("sub", 8, 8, 9)
        self.i("sd", 8, 12, UC_PC)
        self.i("jalr", 0, RA, 0)
        self.label("handled")

    def start_timer(self, interval):
        action = self.words([0, SA_ONSTACK | SA_RESTART, 0])
        timer = self.words([0, interval, 0, interval])
        self.syscall(SYS_SIGACTION, SIGALRM, action, 0, 8)
        self.syscall(SYS_SETITIMER, 0, timer, 0)
        self.to("jal", 0, "started")
        self.data[action - DATA:action - DATA + 8] = self.pc.to_bytes(8, "little")
        for reg in range(3, 32):
            self.li(reg, 0xDEAD0000 + reg)
        for reg in range(32):
            self.i("fmv.d.x", reg, 3 + reg % 29)
        self.i("csrrwi", 0, 3, 0x1F)
        self.i("csrrwi", 0, 2, 3)
        self.i("fdiv.d", 1, 2, 3)
        self.i("jalr", 0, RA, 0)
        self.label("started")

    def one(self, sequence, buffer):
        self.fill_memory(buffer)
        base = sequence.base
        self.li(base, self.words(sequence.values))
        self.i("ld", T0 if base != T0 else T0 + 1, base, 8 * 63)
        self.i("csrrw", 0, 3, T0 if base != T0 else T0 + 1)
        for reg in range(32):
            self.i("fld", reg, base, 8 * (31 + reg))
        for reg in range(1, 32):
            if reg != base:
                self.i("ld", reg, base, 8 * (reg - 1))
        self.li(base, BASE)
        self.emit(sequence.items)
        for reg in range(1, 32):
            self.i("sd", reg, base, SAVE + 8 * (reg - 1))
        for reg in range(32):
            self.i("fsd", reg, base, SAVE + 8 * (31 + reg))
        after = self.new_label()
        self.to("jal", RA, "dump")
        self.to("jal", 0, after)
        if "dump" not in self.labels or self.pc - self.labels["dump"] > 0x80000:
            self.labels.pop("dump", None)
            self.dump()
        while self.functions:
            label, items, link = self.functions.pop()
            self.label(label)
            self.emit(items)
            self.i("jalr", 0, link, 0)
        self.label(after)
        # Labels are looked up at the end of a batch; the nearest dump may be another by then.
        self.resolve()

    def fill_memory(self, buffer):
        loop = self.new_label()
        self.li(T0, buffer)
        self.li(6, BASE - 2048 + 512)
        self.li(7, BASE + 2048)
        self.label(loop)
        self.i("ld", 28, T0, 0)
        self.i("sd", 28, 6, 0)
        self.i("addi", T0, T0, 8)
        self.i("addi", 6, 6, 8)
        self.to("bne", 6, 7, loop)

    def dump(self):
        """Copies the saved registers, fcsr and a digest of the memory to the output."""
        self.label("dump")
        n = len(self.code)
        self.i("csrrs", 8, 3, 0)
        self.li(5, POINTER)
        self.i("ld", 6, 5, 0)
        self.i("addi", 7, 6, SLOT)
        self.i("sd", 7, 5, 0)
        self.li(9, BASE - 2048)
        self.i("addi", 10, 9, 63 * 8)
        self.label(f"copy{n}")
        self.i("ld", 11, 9, 0)
        self.i("sd", 11, 6, 0)
        self.i("addi", 9, 9, 8)
        self.i("addi", 6, 6, 8)
        self.to("bne", 9, 10, f"copy{n}")
        self.i("sd", 8, 6, 0)
        self.li(10, BASE + 2048)
        self.i("addi", 9, 9, 8)
        self.li(12, 0x9E3779B97F4A7C15)
        self.i("ld", 11, 5, 8)          # the digest of the faults' registers, if there were any
        self.label(f"digest{n}")
        self.i("ld", 13, 9, 0)
        self.i("xor", 11, 11, 13)
        self.i("mul", 11, 11, 12)
        self.i("srli", 13, 11, 29)
        self.i("xor", 11, 11, 13)
        self.i("addi", 9, 9, 8)
        self.to("bne", 9, 10, f"digest{n}")
        self.i("sd", 11, 6, 8)
        self.i("jalr", 0, RA, 0)

    def emit(self, items):
        for item in items:
            kind = item[0]
            if kind == "i":
                self.i(item[1], *item[2])
            elif kind == "li":
                self.li(item[1], item[2])
            elif kind == "raw":
                self.raw(item[1])
            elif kind == "group":
                # A signal takes a reservation away.
                if not (self.signals and any(str(i[1]).startswith("lr.") for i in item[1])):
                    self.emit(item[1])
            elif kind == "skip":
                self.skip(item)
            elif kind == "loop":
                self.i("addi", item[1], 0, item[2])
                top = self.new_label()
                self.label(top)
                self.emit(item[3])
                self.i("addi", item[1], item[1], -1)
                self.to("bne", item[1], 0, top)
            elif kind == "call":
                label = self.new_label()
                self.to("jal", item[1], label)
                self.functions.append((label, item[2], item[1]))
            else:
                self.jump(item)

    def skip(self, item):
        label = self.new_label()
        if item[1].startswith("c."):        # doesn't reach far
            self.i(item[1], *item[2], 6)
            self.to("jal", 0, label)
        else:
            self.to(item[1], *item[2], label)
        self.emit(item[3])
        self.label(label)

    def jump(self, item):
        """To behind the items, through a register; the items are never run."""
        reg = item[1]
        self.i("auipc", reg, 0)
        at = len(self.code) - 4
        self.i("jalr", reg, reg, 0)
        self.emit(item[2])
        self.code[at + 4:at + 8] = \
            encode("jalr", reg, reg, len(self.code) - at).to_bytes(4, "little")


def _memory_image():
    rng = random.Random("memory image")
    words = []
    for n in range(BUFFER // 8):
        if n % 3 == 0:
            words.append(rng.getrandbits(64))
        else:
            numbers = Numbers("sdh"[n % 5 % 3])
            words.append(rng.choice(numbers.edges()) if n % 2 else numbers.number(rng))
    return words


# ---- Running and comparing ----

NAMES = [f"x{n}" for n in range(1, 32)] + [f"f{n}" for n in range(32)] + ["fcsr", "memory"]


def run_batch(command, sequences, timeout=60, interval=None):
    """One dump for each sequence, or a Result if the program failed."""
    result = runner.run(command, Batch(sequences, interval).elf(), timeout)
    if result.status or len(result.output) != SLOT * len(sequences):
        return result
    return [result.output[n * SLOT:(n + 1) * SLOT] for n in range(len(sequences))]


def differ(commands, sequence):
    """What differs between two commands for a sequence run alone: text, or None."""
    one, two = (run_batch(c, [sequence], 20) for c in commands)
    if isinstance(one, runner.Result) or isinstance(two, runner.Result):
        ends = [r.how_it_ended() if isinstance(r, runner.Result) else "ok" for r in (one, two)]
        return f"first: {ends[0]}\nsecond: {ends[1]}" if ends[0] != ends[1] else None
    if one == two:
        return None
    a, b = (struct.unpack(f"<{DUMP_WORDS}Q", d[0]) for d in (one, two))
    return "\n".join(f"{name}: {x:#x}, {y:#x}" for name, x, y in zip(NAMES, a, b) if x != y)


def reduce_items(commands, sequence):
    """Removes items, big pieces first, for as long as the two commands still differ."""
    def still(items):
        saved, sequence.items = sequence.items, items
        bad = differ(commands, sequence) is not None
        if not bad:
            sequence.items = saved
        return bad

    size = max(1, len(sequence.items) // 2)
    while True:
        changed = False
        start = 0
        while start < len(sequence.items):
            if still(sequence.items[:start] + sequence.items[start + size:]):
                changed = True
            else:
                start += size
        if size == 1 and not changed:
            break
        size = max(1, size // 2)
    # Also inside of loops and the like: take them apart.
    for n, item in enumerate(list(sequence.items)):
        if item[0] in ("group", "skip", "loop", "call", "jump"):
            inner = item[-1]
            for k in range(len(inner) - 1, -1, -1):
                if n < len(sequence.items) and sequence.items[n][0] == item[0]:
                    now = sequence.items[n]
                    less = now[:-1] + (now[-1][:k] + now[-1][k + 1:],)
                    still(sequence.items[:n] + [less] + sequence.items[n + 1:])


def text(items, indent="    "):
    lines = []
    for item in items:
        if item[0] == "i":
            lines.append(f"{indent}{item[1]} {', '.join(str(v) for v in item[2])}")
        elif item[0] == "li":
            lines.append(f"{indent}li {item[1]}, {item[2] & MASK64:#x}")
        elif item[0] == "raw":
            lines.append(f"{indent}.4byte {item[1]:#x}")
        else:
            head = " ".join(str(v) for v in item[:-1])
            lines.append(f"{indent}{head}:")
            lines += text(item[-1], indent + "    ")
    return lines


def explain(names, commands, sequence):
    """Reduces a sequence on which the commands differ and says how, as text."""
    first = differ(commands, sequence)
    if first is None:
        return f"sequence {sequence.number}: {names[0]} and {names[1]} differ, but not when it is " \
               "run alone"
    reduce_items(commands, sequence)
    used = {f"x{v}" for line in text(sequence.items) for v in _numbers(line)}
    used |= {f"f{v}" for line in text(sequence.items) for v in _numbers(line)}
    start = [f"{n}={v & MASK64:#x}" for n, v in zip(NAMES, sequence.values) if n in used]
    return "\n".join([f"sequence {sequence.number}: {names[0]} and {names[1]} differ. Base: "
                      f"x{sequence.base}; fcsr {sequence.values[63]:#x}; at the start "
                      + " ".join(start)] + text(sequence.items) +
                     [f"  register: {names[0]}, {names[1]}", differ(commands, sequence) or ""])


def _numbers(line):
    return [w.strip(",:") for w in line.split()[1:] if w.strip(",:").isdigit()]


def check_batch(numbers, commands, faults=False):
    """commands: name -> command. Returns a list of (names, number) that differ."""
    results = {}
    sequences = [Sequence(n, faults) for n in numbers]
    for name, command in commands.items():
        results[name] = run_batch(command, sequences)
    names = list(commands)
    bad = []
    for name in names[1:]:
        one, two = results[names[0]], results[name]
        if isinstance(one, runner.Result) or isinstance(two, runner.Result):
            found = [((names[0], name), s.number) for s in sequences
                     if differ([commands[names[0]], commands[name]], s)]
            bad += found or [((names[0], name), None)]
        else:
            bad += [((names[0], name), n) for n, a, b in zip(numbers, one, two) if a != b]
    return bad


def check(first, count, commands, batch=200, jobs=1, stop_after=3, faults=False):
    """Runs sequences first .. first+count-1; returns texts that describe the differences."""
    starts = range(first, first + count, batch)
    texts = []
    with ThreadPoolExecutor(jobs) as pool:
        work = [pool.submit(check_batch, range(s, min(s + batch, first + count)), commands,
                            faults)
                for s in starts]
        total = 0
        for start, done in zip(starts, work):
            for names, number in done.result():
                total += 1
                if len(texts) >= stop_after:
                    continue
                if number is None:
                    texts.append(f"the batch from {start}: {names[0]} or {names[1]} failed, but no "
                                 "sequence alone does")
                    continue
                texts.append(explain(names, [commands[n] for n in names],
                                     Sequence(number, faults)))
    if total > len(texts):
        texts.append(f"{total} sequences differ in all")
    return texts


def check_signals(first, count, command, interval, batch=200):
    """Runs sequences with and without signals at all times; returns texts."""
    texts = []
    for start in range(first, first + count, batch):
        sequences = [Sequence(n) for n in range(start, min(start + batch, first + count))]
        calm, busy = (run_batch(command, sequences, interval=i) for i in (0, interval))
        for result in calm, busy:
            if isinstance(result, runner.Result):
                return [f"the batch from {start}: {result.how_it_ended()}"]
        for sequence, a, b in zip(sequences, calm, busy):
            if a != b:
                a, b = (struct.unpack(f"<{DUMP_WORDS}Q", d) for d in (a, b))
                texts.append("\n".join([f"sequence {sequence.number} in the batch from {start}: "
                                        "without and with signals"] +
                                       [f"{name}: {x:#x}, {y:#x}"
                                        for name, x, y in zip(NAMES, a, b) if x != y]))
    return texts


def default_commands(modes=("interp", "tier1"), with_qemu=True):
    commands = {}
    oracle = runner.qemu()
    if oracle and with_qemu:
        commands["qemu"] = oracle
    for mode in modes:
        commands[mode] = runner.nandu(*runner.MODES[mode])
    return commands


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seed", type=int, default=0, help="number of the first sequence")
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--batch", type=int, default=200)
    parser.add_argument("--mode", action="append", choices=sorted(runner.MODES))
    parser.add_argument("--one", type=int, help="only this sequence")
    parser.add_argument("--list", action="store_true", help="with --one: print it, don't run it")
    parser.add_argument("--save", help="with --one: write the program to this file")
    parser.add_argument("--no-qemu", action="store_true")
    parser.add_argument("--faults", action="store_true", help="with instructions that raise signals")
    parser.add_argument("-j", type=int, default=1)
    args = parser.parse_args()
    commands = default_commands(args.mode or ("interp", "tier1"), not args.no_qemu)
    if args.one is not None:
        sequence = Sequence(args.one, args.faults)
        if args.save:
            with open(args.save, "wb") as f:
                f.write(Batch([sequence]).elf())
            os.chmod(args.save, 0o755)
        if args.list:
            print("\n".join(text(sequence.items)))
            return 0
        args.seed, args.count = args.one, 1
    if len(commands) < 2:
        sys.exit("randseq.py: there is nothing to compare with")
    texts = check(args.seed, args.count, commands, args.batch, args.j, faults=args.faults)
    for t in texts:
        print(t)
    print(f"{args.count} sequences compared ({', '.join(commands)}): "
          f"{'no difference' if not texts else 'they differ'}")
    return 1 if texts else 0


if __name__ == "__main__":
    sys.exit(main())
