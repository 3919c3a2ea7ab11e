"""Tests of branches, jumps, calls and returns."""

import random

from isa_int import EDGES
from program import Program
from rv_encodings import INSNS
from rvasm import (A0, A1, A2, A3, A4, A5, RA, S0, S1, S2, S3, S8, S10, S11, SCRATCH, SP, T0, T1, T2)


def _branch(p, name, *regs):
    """T0 := 1 if taken (forward over one instruction), 2 if not; T1 the same for a backward one."""
    taken, done = p.new_label() + "t", p.new_label() + "e"
    p.i("addi", T0, 0, 1)
    p.to(name, *regs, taken)
    p.i("addi", T0, 0, 2)
    p.label(taken)
    p.store(T0, f"{regs} forward")
    # Backward: over a jump at first.
    start, back = p.new_label() + "s", p.new_label() + "b"
    p.i("addi", T0, 0, 2)
    p.to("jal", 0, start)
    p.label(back)
    p.i("addi", T0, 0, 1)
    p.to("jal", 0, done)
    p.label(start)
    p.to(name, *regs, back)
    p.label(done)
    p.store(T0, f"{regs} backward")


def test_branch(name):
    rng = random.Random(name)
    p = Program()
    rows = [(a, b) for a in EDGES[::2] for b in EDGES[::2]]
    rows += [(rng.getrandbits(64), rng.getrandbits(64)) for _ in range(40)]
    p.begin(name, rows)
    for rs1, rs2 in ((A0, A1), (S10, S8), (A5, S11), (A2, A2), (A3, 0), (0, S8), (0, 0)):
        if rs1:
            p.load(rs1, 0)
        if rs2:
            p.load(rs2, 1)
        _branch(p, name, rs1, rs2)
    p.end()
    p.begin(f"{name} with constants", [(v,) for v in EDGES])
    p.load(A1, 0)
    for value in EDGES[::3]:
        p.li(A0, value)
        _branch(p, name, A0, A1)
        _branch(p, name, A1, A0)
    p.end()
    p.begin(f"{name} of constants")
    for a in (0, 1, -1, 1 << 63):
        for b in (0, 1, -1, 1 << 63):
            p.li(A0, a)
            p.li(A1, b)
            _branch(p, name, A0, A1)
    p.end()
    # A loop that counts, with the branch as its end, and the longest distances.
    p.begin(f"{name} loop")
    p.li(A0, -20)
    p.li(A1, 20)
    p.i("addi", A2, 0, 0)
    p.label("loop")
    p.i("addi", A0, A0, 1)
    p.i("addi", A2, A2, 1)
    p.i("slti", A3, A2, 90)
    p.to("beq", A3, 0, "out")
    p.to(name, A0, A1, "loop")
    p.label("out")
    p.store(A2, "turns")
    p.end()
    return p.finish()


def test_compressed_branch(name):
    p = Program()
    p.begin(name, [(v,) for v in EDGES])
    for reg in (A0, S1, A5):
        p.load(reg, 0)
        _branch(p, name, reg)
    p.end()
    return p.finish()


def test_jal(name):
    p = Program()
    p.begin(name)
    for n, rd in enumerate((0, RA, T0, A0, S10, RA)):
        over, back, done = f"o{n}", f"b{n}", f"d{n}"
        p.i("addi", A1, 0, 1)
        p.to(name, rd, over)
        p.label(back)
        p.i("addi", A1, A1, 2)
        p.store(rd, f"x{rd}")
        p.to(name, rd, done)
        p.label(over)
        p.i("addi", A1, A1, 4)
        p.store(rd, f"x{rd}")
        p.to(name, rd, back)
        p.label(done)
        p.store(rd, f"x{rd}")
        p.store(A1, "path")
    # As far as it goes; the code is moved apart with jumps over unused bytes.
    p.to(name, RA, "far")
    p.label("back")
    p.store(RA, "from far")
    p.to("jal", 0, "end")
    p.code += bytes(0xF0000)
    p.label("far")
    p.store(RA, "to far")
    p.to(name, RA, "back")
    p.label("end")
    p.end()
    # The compiler places fields in the order of the code, the output is in the order of execution:
    # swap the names back.
    fields = p.segments[-1].fields
    for n in range(6):
        fields[4 * n], fields[4 * n + 1] = fields[4 * n + 1], fields[4 * n]
    return p.finish()


def test_jalr(name):
    p = Program()
    p.begin(name, [(v,) for v in (0, 1, 4, 5)])
    for n, (rd, rs1, imm) in enumerate(((0, A0, 0), (RA, A0, 0), (RA, RA, 0), (T0, T0, 0), (A0, A0, 4),
                                        (S10, S8, -4), (0, RA, 0), (RA, T0, 0), (T0, RA, 8),
                                        (0, T0, 0), (S8, S11, 2047), (A1, A2, -2000), (0, RA, 4))):
        # Bit 0 of the target is cleared: the row adds 0, 1, 4 (one instruction further) or 5.
        p.i("addi", S0, RA, 0)
        p.load(T1, 0)
        p.i("auipc", T2, 0)
        start = p.pc - 4
        p.i("addi", T2, T2, 0)              # patched below
        patch = len(p.code) - 4
        p.i("add", rs1, T2, T1)
        p.i("addi", A3, 0, 1)
        p.i(name, rd, rs1, imm)
        p.i("addi", A3, A3, 2)
        p.i("addi", A3, A3, 4)
        distance = p.pc - start - imm
        p.code[patch:patch + 4] = _addi(T2, T2, distance)
        p.i("addi", A3, A3, 8)
        p.i("addi", A3, A3, 16)
        link = p.new_label()
        p.label(link)
        p.i("addi", T1, rd, 0)
        p.i("addi", RA, S0, 0)
        p.store(T1, f"x{rd}, {imm}(x{rs1}): link")
        p.store(A3, f"x{rd}, {imm}(x{rs1}): path")
    p.end()
    return p.finish()


def _addi(rd, rs, imm):
    from rv_encodings import encode
    return encode("addi", rd, rs, imm).to_bytes(4, "little")


def test_compressed_jump(name):
    """c.jr and c.jalr"""
    p = Program()
    p.begin(name)
    for n, reg in enumerate((A0, RA, T0, S10, RA, S2)):
        p.i("auipc", T1, 0)
        p.i("addi", reg, T1, 20 + (n & 1))
        p.i("addi", A1, 0, 1)
        p.i("c.nop")
        p.i(name, reg)
        p.i("addi", A1, A1, 2)
        p.i("addi", A1, A1, 4)
        if name == "c.jalr":
            p.store(RA, f"x{reg}: link")
        p.store(A1, f"x{reg}: path")
    p.end()
    return p.finish()


def test_c_j(name):
    p = Program()
    p.begin(name)
    p.i("addi", A0, 0, 1)
    p.to(name, "forward")
    p.i("addi", A0, A0, 2)
    p.label("back")
    p.i("addi", A0, A0, 4)
    p.to(name, "end")
    for _ in range(400):
        p.i("c.nop")
    p.label("forward")
    p.i("addi", A0, A0, 8)
    p.to(name, "back")
    p.label("end")
    p.store(A0, "path")
    p.end()
    return p.finish()


def test_calls():
    """Deep recursion, returns that don't match their calls, tail calls, coroutines."""
    p = Program()
    p.begin("calls")
    p.i("addi", S11, RA, 0)
    # fib(16), with a stack at SCRATCH
    p.li(SP, SCRATCH + 0x4000)
    p.i("addi", A0, 0, 16)
    p.to("jal", RA, "fib")
    p.store(A0, "fib(16)")
    # 600 levels deep, three times
    for n in range(3):
        p.li(A0, 600)
        p.to("jal", RA, "deep")
        p.store(A0, f"600 levels, {n}")
    # Out of 40 levels at once, as longjmp does; many times, so that a predictor that keeps the calls
    # runs out of room.
    p.li(S8, 300)
    p.label("jumps")
    p.i("addi", S2, SP, 0)
    p.i("auipc", S3, 0)
    p.i("addi", S3, S3, 16)
    p.i("addi", A0, 0, 40)
    p.to("jal", RA, "leave")
    p.i("addi", S8, S8, -1)         # S3 leads here
    p.to("bne", S8, 0, "jumps")
    p.store(A0, "left 300 times")
    # Two coroutines that change by jalr with t0 (link) and t0 (target).
    p.i("addi", A0, 0, 0)
    p.to("jal", T0, "coroutine")
    p.li(S8, 200)
    p.label("other")
    p.i("slli", A0, A0, 1)
    p.i("xori", A0, A0, 3)
    p.i("jalr", T0, T0, 0)
    p.i("addi", S8, S8, -1)
    p.to("bne", S8, 0, "other")
    p.store(A0, "coroutines")
    # A function that returns behind the instruction after its call, in turn.
    p.li(S8, 100)
    p.i("addi", A0, 0, 0)
    p.label("skips")
    p.to("jal", RA, "skip")
    p.i("addi", A0, A0, 1)
    p.i("addi", A0, A0, 2)
    p.i("addi", S8, S8, -1)
    p.to("bne", S8, 0, "skips")
    p.store(A0, "skips")
    p.i("addi", RA, S11, 0)
    p.end()
    p.to("jal", 0, "finish")
    _functions(p)
    p.label("finish")
    return p.finish()


def _functions(p):
    p.label("fib")
    p.i("slti", T0, A0, 2)
    p.to("beq", T0, 0, "fib_more")
    p.i("jalr", 0, RA, 0)
    p.label("fib_more")
    p.i("addi", SP, SP, -32)
    p.i("sd", RA, SP, 0)
    p.i("sd", S0, SP, 8)
    p.i("sd", A0, SP, 16)
    p.i("addi", A0, A0, -1)
    p.to("jal", RA, "fib")
    p.i("addi", S0, A0, 0)
    p.i("ld", A0, SP, 16)
    p.i("addi", A0, A0, -2)
    p.to("jal", RA, "fib")
    p.i("add", A0, A0, S0)
    p.i("ld", RA, SP, 0)
    p.i("ld", S0, SP, 8)
    p.i("addi", SP, SP, 32)
    p.i("jalr", 0, RA, 0)

    p.label("deep")
    p.to("beq", A0, 0, "deep_end")
    p.i("addi", SP, SP, -16)
    p.i("sd", RA, SP, 0)
    p.i("addi", A0, A0, -1)
    p.to("jal", RA, "deep")
    p.i("addi", A0, A0, 3)
    p.i("ld", RA, SP, 0)
    p.i("addi", SP, SP, 16)
    p.label("deep_end")
    p.i("jalr", 0, RA, 0)

    p.label("leave")
    p.to("bne", A0, 0, "leave_more")
    p.i("addi", SP, S2, 0)
    p.i("jalr", 0, S3, 0)
    p.label("leave_more")
    p.i("addi", SP, SP, -16)
    p.i("sd", RA, SP, 0)
    p.i("addi", A0, A0, -1)
    p.to("jal", RA, "leave")
    p.i("ld", RA, SP, 0)
    p.i("addi", SP, SP, 16)
    p.i("jalr", 0, RA, 0)

    p.label("coroutine")
    p.i("addi", A0, A0, 5)
    p.i("jalr", T0, T0, 0)
    p.to("jal", 0, "coroutine")

    p.label("skip")
    p.i("andi", T1, S8, 1)
    p.i("slli", T1, T1, 2)
    p.i("add", RA, RA, T1)
    p.i("jalr", 0, RA, 0)


def test_indirect():
    """A jump table: many targets from one place, and one target from many places."""
    p = Program()
    p.begin("indirect")
    targets = 64
    table_fix = p.words([0] * targets)
    p.li(A0, 0)
    p.li(S8, 3000)
    p.li(A1, 12345)
    p.label("next")
    p.i("addi", S8, S8, -1)
    p.to("beq", S8, 0, "done")
    p.li(T0, 1103515245)
    p.i("mul", A1, A1, T0)
    p.i("addi", A1, A1, 1234)
    p.i("srli", T1, A1, 16)
    p.i("andi", T1, T1, targets - 1)
    p.i("slli", T1, T1, 3)
    p.li(T0, table_fix)
    p.i("add", T1, T1, T0)
    p.i("ld", T1, T1, 0)
    p.i("jalr", 0, T1, 0)
    addresses = []
    for n in range(targets):
        if n % 3 == 0:
            p.i("c.nop")
        addresses.append(p.pc)
        p.i("xori", A0, A0, n * 7)
        p.i("slli", T0, A0, n % 13 + 1)
        p.i("add", A0, A0, T0)
        p.to("jal", 0, "next")
    p.label("done")
    p.store(A0, "mix")
    p.end()
    offset = table_fix - 0x1000000
    for n, address in enumerate(addresses):
        p.data[offset + 8 * n:offset + 8 * n + 8] = address.to_bytes(8, "little")
    return p.finish()


def test_page_cross():
    """Instructions that cross a page, at every place of a block."""
    p = Program()
    p.begin("code that crosses a page")
    p.i("addi", A0, 0, 0)
    for n in range(6):
        room = (-p.pc) % 4096
        p.to("jal", 0, f"near{n}")
        p.code += bytes(room - 4 - 2 * n - 2 + (4096 if room < 64 else 0))
        p.label(f"near{n}")
        for k in range(12):
            p.i("addi", A0, A0, k + n)
            p.i("c.addi", A0, 3)
            p.i("xori", A0, A0, 0x155)
        p.store(A0, f"{n}")
    p.end()
    return p.finish()


def test_long_block():
    """More instructions in a row than a translator puts into one block."""
    p = Program()
    p.begin("long block", [(v,) for v in EDGES[:8]])
    for reg in (A0, A1, A2, A3, A4, A5, S8, S10):
        p.load(reg, 0)
    rng = random.Random("long block")
    regs = (A0, A1, A2, A3, A4, A5, S8, S10)
    for n in range(600):
        p.i(rng.choice(("add", "sub", "xor", "sll", "srl", "and", "or", "mul", "sltu", "addw")),
            rng.choice(regs), rng.choice(regs), rng.choice(regs))
        if n % 7 == 0:
            p.i("addi", rng.choice(regs), rng.choice(regs), rng.randint(-2048, 2047))
    for reg in regs:
        p.store(reg, f"x{reg}")
    p.end()
    return p.finish()


def tests():
    for name, insn in INSNS.items():
        if insn.format == "b":
            yield name, lambda name=name: test_branch(name)
        elif insn.format == "cb":
            yield name, lambda name=name: test_compressed_branch(name)
        elif insn.format == "cjr":
            yield name, lambda name=name: test_compressed_jump(name)
    yield "jal", lambda: test_jal("jal")
    yield "jalr", lambda: test_jalr("jalr")
    yield "c.j", lambda: test_c_j("c.j")
    yield "calls", test_calls
    yield "indirect-jumps", test_indirect
    yield "page-crossing-code", test_page_cross
    yield "long-blocks", test_long_block
