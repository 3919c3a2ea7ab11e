"""Tests of the integer instructions that compute: one program each."""

import random

from program import Program
from rv_encodings import INSNS
from rvasm import A0, A1, A2, A3, A4, A5, S1, S4, S8, S10, S11, T0, T1, T2, T3, T5, T6

EDGES = [0, 1, 2, -1, -2, 7, 31, 32, 33, 63, 64, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF,
         0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, -0x80000000, 0x100000000, (1 << 63) - 1, -(1 << 63),
         0x5555555555555555, 0x123456789ABCDEF0, 0xFEDCBA9876543210, 0x00FF00FF00FF00FF]

IMMEDIATES = [0, 1, -1, 7, 0x80, 0xFF, 0x555, 2047, -2048, -256]
SHIFTS = [0, 1, 7, 8, 15, 16, 24, 31, 32, 33, 47, 48, 56, 63]

# (rd, rs1, rs2): registers that a translator may keep in host registers and ones it may not, and
# each way for two to be the same.
REGISTERS = [(A0, A1, A2), (S10, S11, S8), (A3, A3, A4), (A4, A3, A4), (T0, T1, T1), (A5, 0, A2),
             (T6, S4, 0), (S8, S8, S8), (S11, A0, S11), (A5, S10, A4)]


def _random(name):
    return random.Random("isa " + name)


def _pairs(name):
    rng = _random(name)
    rows = [(a, b) for a in EDGES for b in EDGES]
    rows += [(rng.getrandbits(64), rng.getrandbits(64)) for _ in range(60)]
    rows += [(rng.getrandbits(rng.randint(1, 64)), rng.getrandbits(rng.randint(1, 64)))
             for _ in range(40)]
    return rows


def _singles(name):
    rng = _random(name)
    rows = [(a,) for a in EDGES] + [(1 << n,) for n in range(64)] + [(~(1 << n),) for n in range(64)]
    return rows + [(rng.getrandbits(rng.randint(1, 64)),) for _ in range(100)]


def consumers(p, reg):
    """Use a result in the ways in which a translator might rely on facts about its upper bits."""
    p.i("addiw", T2, reg, 0)
    p.store(T2, "sext.w of it")
    p.i("slli", T2, reg, 32)
    p.i("srli", T2, T2, 32)
    p.store(T2, "its low word")
    p.i("slli", T2, reg, 48)
    p.i("srai", T2, T2, 48)
    p.store(T2, "its low half-word, signed")
    p.i("andi", T2, reg, 255)
    p.store(T2, "its low byte")
    p.i("sltiu", T2, reg, 1)
    p.store(T2, "is zero")
    p.i("slti", T2, reg, 0)
    p.store(T2, "is negative")
    p.i("addi", T2, 0, 1)
    p.i("blt", reg, 0, 8)
    p.i("addi", T2, 0, 2)
    p.store(T2, "branch if negative")
    p.i("srai", T2, reg, 31)
    p.store(T2, "srai 31")


def test_r(name):
    p = Program()
    p.begin(f"{name} rd, rs1, rs2", _pairs(name))
    for n, (rd, rs1, rs2) in enumerate(REGISTERS):
        p.load(rs1, 0)
        p.load(rs2, 1)
        p.i(name, rd, rs1, rs2)
        p.store(rd, f"x{rd}, x{rs1}, x{rs2}")
        if n == 0:
            consumers(p, rd)
    p.load(A1, 0)
    p.load(A2, 1)
    p.i(name, 0, A1, A2)
    p.store(0, "x0")
    p.end()
    # One operand that the translator knows, then both.
    p.begin(f"{name} with a constant", _singles(name))
    p.load(A1, 0)
    for value in EDGES:
        p.li(A2, value)
        p.i(name, A0, A1, A2)
        p.store(A0, f"a, {value:#x}")
        p.i(name, A0, A2, A1)
        p.store(A0, f"{value:#x}, a")
    p.end()
    p.begin(f"{name} of constants")
    for a in EDGES[::3] + [(1 << 63) - 1]:
        for b in EDGES[::2] + [-1, -(1 << 63)]:
            p.li(A1, a)
            p.li(A2, b)
            p.i(name, A0, A1, A2)
            p.store(A0, f"{a:#x}, {b:#x}")
    p.end()
    return p.finish()


def test_r1(name):
    p = Program()
    p.begin(f"{name} rd, rs", _singles(name))
    for n, (rd, rs) in enumerate(((A0, A1), (S10, S11), (A3, A3), (S8, A5), (A5, S8), (0, A1))):
        p.load(rs, 0)
        p.i(name, rd, rs)
        p.store(rd, f"x{rd}, x{rs}")
        if n == 0:
            consumers(p, rd)
    p.end()
    p.begin(f"{name} of constants")
    for a in EDGES:
        p.li(A1, a)
        p.i(name, A0, A1)
        p.store(A0, f"{a:#x}")
    p.i(name, A0, 0)
    p.store(A0, "x0")
    p.end()
    return p.finish()


def _test_immediate(name, immediates):
    p = Program()
    p.begin(f"{name} rd, rs, imm", _singles(name))
    for imm in immediates:
        for rd, rs in ((A0, A1), (S10, S11), (A3, A3), (S8, A5)):
            p.load(rs, 0)
            p.i(name, rd, rs, imm)
            p.store(rd, f"x{rd}, x{rs}, {imm}")
        consumers(p, S8)
    p.end()
    p.begin(f"{name} of constants")
    for imm in immediates:
        for a in EDGES:
            p.li(A1, a)
            p.i(name, A0, A1, imm)
            p.store(A0, f"{a:#x}, {imm}")
        p.i(name, A0, 0, imm)
        p.store(A0, f"x0, {imm}")
        p.i(name, 0, A1, imm)
        p.store(0, "x0")
    p.end()
    return p.finish()


def test_bs(name):
    p = Program()
    p.begin(f"{name} rd, rs1, rs2, bs", _pairs(name))
    for bs in range(4):
        for rd, rs1, rs2 in REGISTERS[:5]:
            p.load(rs1, 0)
            p.load(rs2, 1)
            p.i(name, rd, rs1, rs2, bs)
            p.store(rd, f"x{rd}, x{rs1}, x{rs2}, {bs}")
    p.end()
    return p.finish()


def test_u(name):
    p = Program()
    p.begin(name)
    for imm in (0, 1, 0x7FFFF, 0x80000, 0xFFFFF, 0x12345, 0xABCDE):
        for rd in (A0, S10, A5):
            p.i(name, rd, imm)
            p.store(rd, f"x{rd}, {imm:#x}")
        p.i(name, A0, imm)
        p.i("addi", A0, A0, -7)
        p.store(A0, "addi")
    p.i(name, 0, 0x12345)
    p.store(0, "x0")
    p.end()
    return p.finish()


def test_ca(name):
    p = Program()
    p.begin(f"{name} rd, rs2", _pairs(name))
    for rd, rs2 in ((A0, A1), (S1, A5), (A3, A3)):
        p.load(rd, 0)
        p.load(rs2, 1)
        p.i(name, rd, rs2)
        p.store(rd, f"x{rd}, x{rs2}")
    consumers(p, A0)
    p.end()
    return p.finish()


def test_cr(name):
    p = Program()
    p.begin(f"{name} rd, rs2", _pairs(name))
    for rd, rs2 in ((A0, A1), (S11, S10), (S8, S8), (T5, A2), (A2, T3)):
        p.load(rd, 0)
        p.load(rs2, 1)
        p.i(name, rd, rs2)
        p.store(rd, f"x{rd}, x{rs2}")
    p.load(A1, 0)
    p.i(name, 0, A1)        # a hint
    p.store(0, "x0")
    p.end()
    return p.finish()


def test_cu(name):
    p = Program()
    p.begin(f"{name} rd", _singles(name))
    for rd in (A0, S1, A5):
        p.load(rd, 0)
        p.i(name, rd)
        p.store(rd, f"x{rd}")
    consumers(p, A0)
    p.end()
    return p.finish()


def _test_compressed_immediate(name, registers, immediates):
    p = Program()
    p.begin(f"{name} rd, imm", _singles(name))
    for imm in immediates:
        for rd in registers:
            p.load(rd, 0)
            p.i(name, rd, imm)
            p.store(rd, f"x{rd}, {imm}")
        consumers(p, registers[0])
    p.end()
    return p.finish()


def test_c_addi16sp(name):
    p = Program()
    p.begin(name, _singles(name))
    for imm in (16, -16, 496, -512, 32, 64, 128, 256):
        p.load(2, 0)
        p.i(name, imm)
        p.store(2, f"{imm}")
    p.end()
    return p.finish()


def test_c_addi4spn(name):
    p = Program()
    p.begin(name, _singles(name))
    for imm in (4, 8, 16, 32, 64, 128, 256, 512, 1020, 340):
        p.load(2, 0)
        for rd in (A0, S1):
            p.i(name, rd, imm)
            p.store(rd, f"x{rd}, {imm}")
    p.end()
    return p.finish()


def test_hint(name):
    """Instructions without an effect: no register changes."""
    p = Program()
    p.begin(name)
    for reg in range(5, 32):
        p.li(reg, 0x1111 * reg)
    p.i(name)
    for reg in range(5, 32):
        p.store(reg, f"x{reg}")
    p.end()
    return p.finish()


SMALL = [0, 1, -1, 15, 31, -32, 7, -16]

SPECIAL = {
    "c.addi16sp": test_c_addi16sp,
    "c.addi4spn": test_c_addi4spn,
    "c.addi": lambda n: _test_compressed_immediate(n, (A0, S1, T3, S11), SMALL),
    "c.addiw": lambda n: _test_compressed_immediate(n, (A0, S1, T3, S11), SMALL),
    "c.li": lambda n: _test_compressed_immediate(n, (A0, S1, T3, S11), SMALL),
    "c.lui": lambda n: _test_compressed_immediate(n, (A0, S1, T3, S11), [1, -1, 15, 31, -32]),
}

# Shifts by 0 are hints, and don't change the register.
BY_FORMAT = {
    "r": test_r, "r1": test_r1, "bs": test_bs, "u": test_u, "ca": test_ca, "cr": test_cr,
    "cu": test_cu,
    "i": lambda n: _test_immediate(n, IMMEDIATES),
    "sh6": lambda n: _test_immediate(n, SHIFTS),
    "sh5": lambda n: _test_immediate(n, [s for s in SHIFTS if s < 32]),
    "rnum": lambda n: _test_immediate(n, range(11)),
    "cbsh": lambda n: _test_compressed_immediate(n, (A0, S1, A5), SHIFTS),
    "cbi": lambda n: _test_compressed_immediate(n, (A0, S1, A5), SMALL),
    "cslli": lambda n: _test_compressed_immediate(n, (A0, S1, T3, S11), SHIFTS),
}

HINTS = ["pause", "ntl.p1", "ntl.pall", "ntl.s1", "ntl.all", "wrs.nto", "wrs.sto", "fence.i",
         "c.nop"] + [f"c.mop.{n}" for n in range(1, 16, 2)]


def tests():
    """(name, function that makes the program) of each instruction that this file knows."""
    for name, insn in INSNS.items():
        if name == "jalr":
            continue
        make = SPECIAL.get(name) or (test_hint if name in HINTS else BY_FORMAT.get(insn.format))
        if make:
            yield name, lambda make=make, name=name: make(name)
