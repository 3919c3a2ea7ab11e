"""Tests of loads, stores and atomics."""

import random

from isa_int import EDGES
from program import Program
from rv_encodings import INSNS
from rvasm import (A0, A1, A2, A3, A4, A5, S0, S1, S2, S8, S10, S11, SCRATCH, SP, T0, T1, T3)

SIZES = {"b": 1, "h": 2, "w": 4, "d": 8, "q": 16}


def _pattern(p):
    """Fill 8 KiB at SCRATCH with bytes that are all different from their neighbours."""
    rng = random.Random("memory")
    table = p.words([rng.getrandbits(64) for _ in range(1024)])
    p.li(T0, table)
    p.li(T1, SCRATCH)
    p.li(T3, SCRATCH + 8192)
    loop = p.new_label()
    p.label(loop)
    p.i("ld", A0, T0, 0)
    p.i("sd", A0, T1, 0)
    p.i("addi", T0, T0, 8)
    p.i("addi", T1, T1, 8)
    p.to("bne", T1, T3, loop)


# All misalignments, and all ways to cross a cache line and a page.
PLACES = list(range(SCRATCH + 64, SCRATCH + 73)) + list(range(SCRATCH + 120, SCRATCH + 129)) + \
    list(range(SCRATCH + 4096 - 17, SCRATCH + 4096 + 2))


def _load(p, name, reg, base, imm, kind):
    """A load of any format; the result is stored."""
    if INSNS[name].format.endswith("sp"):
        p.i(name, reg, imm)
    else:
        p.i(name, reg, base, imm)
    text = f"{reg}, {imm}({base})"
    if kind == "f":
        p.fstore(reg, "f" + text)
    else:
        p.store(reg, "x" + text)


def _test_load(name, pairs, immediates, kind="x"):
    p = Program()
    _pattern(p)
    places = PLACES
    p.begin(name, [(a,) for a in places])
    for rd, base in pairs:
        for imm in immediates:
            p.load(base, 0)
            if imm:
                p.li(T0, imm)
                p.i("sub", base, base, T0)
            _load(p, name, rd, base, imm, kind)
    if kind == "x" and INSNS[name].format == "load":
        p.load(A0, 0)
        p.i(name, 0, A0, 0)
        p.store(0, "x0")
        p.load(A0, 0)
        p.i(name, A1, A0, 0)
        from isa_int import consumers
        consumers(p, A1)
    p.end()
    if INSNS[name].format in ("load", "fload"):
        p.begin(f"{name} at a constant address")
        for place in places[::3]:
            p.li(A0, place)
            for imm in (0, -8, 16):
                _load(p, name, A1 if kind == "x" else 11, A0, imm, kind)
        p.end()
    return p.finish()


def _test_store(name, pairs, immediates, kind="x"):
    p = Program()
    _pattern(p)
    rng = random.Random(name)
    rows = [(a, rng.getrandbits(64)) for a in PLACES]
    rows += [(SCRATCH + 64, v) for v in EDGES[::3]]
    p.begin(name, rows)
    for rs2, base in pairs:
        for imm in immediates:
            if kind == "f":
                p.fload(rs2, 1)
            else:
                p.load(rs2, 1)
            p.load(base, 0)
            if imm:
                p.li(T0, imm)
                p.i("sub", base, base, T0)
            if INSNS[name].format.endswith("sp"):
                p.i(name, rs2, imm)
            else:
                p.i(name, rs2, base, imm)
            p.load(T1, 0)
            p.i("andi", T1, T1, -8)
            for word in (0, 8):
                p.i("ld", T3, T1, word)
                p.store(T3, f"{rs2}, {imm}({base}): word {word // 8}")
    p.end()
    if INSNS[name].format == "store":
        p.begin(f"{name} of constants")
        for n, value in enumerate(EDGES):
            p.li(A0, SCRATCH + 256 + 8 * n)
            p.li(A1, value)
            p.i(name, A1, A0, 0)
            p.i(name, 0, A0, 7)
            p.i("ld", A1, A0, 0)
            p.store(A1, f"{value:#x}")
        p.end()
    return p.finish()


def _amo_rows(name):
    rng = random.Random(name)
    rows = [(a, b) for a in EDGES[::2] + [-1] for b in EDGES[1::2] + [0]]
    return rows + [(rng.getrandbits(64), rng.getrandbits(64)) for _ in range(40)]


def test_amo(name):
    size = SIZES[name.split(".")[1]]
    p = Program()
    p.begin(name, _amo_rows(name))
    for n, (rd, rs2, rs1) in enumerate(((A0, A1, A2), (S10, S11, S8), (A3, A3, A4), (A4, A3, A4),
                                        (0, A1, A2), (A5, 0, A2), (T0, S8, A2), (S8, A2, S11))):
        for offset in range(0, 8, size) if size < 4 else (0, 8):
            p.load(T1, 0)
            p.li(S0, SCRATCH + 512)
            p.i("sd", T1, S0, 0)
            p.i("sd", T1, S0, 8)
            p.load(rs2 or T1, 1)
            p.li(rs1, SCRATCH + 512 + offset)
            p.i(name, rd, rs2, rs1, n & 3)
            p.store(rd, f"x{rd}, x{rs2}, (x{rs1}) at {offset}")
            p.i("ld", T1, S0, offset & 8)
            p.store(T1, f"memory at {offset}")
    from isa_int import consumers
    consumers(p, S8)
    p.end()
    return p.finish()


def test_amocas(name):
    size = SIZES[name.split(".")[1]]
    p = Program()
    rng = random.Random(name)
    rows = [(a, b, 0x1122334455667788) for a in EDGES[::3] for b in EDGES[::3]]
    for _ in range(40):         # equal in the part that is compared, different above it
        a = rng.getrandbits(64)
        high = rng.getrandbits(64) & (-1 << 8 * size)
        rows.append((a, (a & ((1 << 8 * size) - 1)) | high & ((1 << 64) - 1), rng.getrandbits(64)))
    p.begin(name, rows)
    for n, (rd, rs2, rs1) in enumerate(((A0, A1, A2), (S10, S11, S8), (A3, A3, A4), (A4, A3, A4),
                                        (A5, 0, A2))):
        for offset in range(0, 8, size):
            p.load(T1, 0)
            p.li(S0, SCRATCH + 512)
            p.i("sd", T1, S0, 0)
            p.load(rd or T1, 1)
            if rs2 not in (rd, 0):
                p.load(rs2, 2)
            p.li(rs1, SCRATCH + 512 + offset)
            p.i(name, rd, rs2, rs1, n & 3)
            p.store(rd, f"x{rd}, x{rs2}, (x{rs1}) at {offset}")
            p.i("ld", T1, S0, 0)
            p.store(T1, f"memory at {offset}")
    p.end()
    return p.finish()


def amocas_of_x0(name):
    """A program, and what it prints: compare with zero, drop the result. Not for QEMU 10, where it
    changes x0."""
    size = SIZES[name.split(".")[1]]
    mask = (1 << 8 * min(size, 8)) - 1
    p = Program()
    expected = []
    p.begin(name)
    for value in (0, 1, 0x8000000000000000, 0xFFFFFFFFFFFFFF00, 0x1234567800000000):
        _reset(p, value)
        p.li(A2, 0x1122334455667788)
        p.li(A3, 0x2233)
        p.i(name, 0, A2, S0)
        p.store(0, "x0")
        p.store(A2, "data")
        p.i("ld", T0, S0, 0)
        p.store(T0, f"memory, was {value:#x}")
        stored = (value & ~mask) | (0x1122334455667788 & mask) if value & mask == 0 else value
        expected += [0, 0x1122334455667788, stored]
    p.end()
    return p.finish(), expected


def test_amocas_q(name):
    p = Program()
    rng = random.Random(name)
    rows = []
    for n in range(60):
        low, high = rng.getrandbits(64), rng.getrandbits(64)
        rows.append((low, high, low ^ (n % 3 == 1), high ^ (n % 5 == 1), rng.getrandbits(64),
                     rng.getrandbits(64)))
    rows.append((0, 0, 0, 0, 5, 6))
    p.begin(name, rows)
    for rd, rs2, rs1 in ((A0, A2, A4), (S10, S8, S0), (A4, 0, A0), (A2, A2, S1)):
        for n in range(2):
            p.load(T1, n)
            p.li(T0, SCRATCH + 512)
            p.i("sd", T1, T0, 8 * n)
            if rd:
                p.load(rd + n, 2 + n)
            if rs2 not in (0, rd):
                p.load(rs2 + n, 4 + n)
        p.li(rs1, SCRATCH + 512)
        p.i(name, rd, rs2, rs1)
        text = f"x{rd}, x{rs2}, (x{rs1})"
        p.store(rd, text)
        if rd:
            p.store(rd + 1, text + ", high")
        p.li(T0, SCRATCH + 512)
        for n in range(2):
            p.i("ld", T1, T0, 8 * n)
            p.store(T1, f"memory {n}")
    p.end()
    return p.finish()


def _reset(p, value):
    p.li(S0, SCRATCH + 512)
    p.li(T0, value)
    p.i("sd", T0, S0, 0)
    p.i("sd", T0, S0, 8)


def test_lr(name):
    """lr.X, then a store-conditional that succeeds."""
    store = name.replace("lr", "sc")
    p = Program()
    p.begin(name, [(v, v ^ 0x55) for v in EDGES])
    for rd, rs1, aqrl in ((A0, A1, 0), (S10, S11, 2), (A3, A3, 3), (S8, S1, 0), (0, A1, 0)):
        for offset in (0, 4) if name.endswith("w") else (0,):
            p.load(T0, 0)
            p.li(S0, SCRATCH + 512)
            p.i("sd", T0, S0, 0)
            p.i("addi", rs1, S0, offset)
            p.load(S2, 1)
            p.i(name, rd, rs1, aqrl)
            p.i("addi", T0, S0, offset)
            p.i(store, A5, S2, T0, aqrl & 1)
            p.store(rd, f"x{rd}, (x{rs1})")
            p.store(A5, "sc succeeded if 0")
            p.i("ld", A5, S0, 0)
            p.store(A5, "memory")
    p.end()
    return p.finish()


def test_sc(name):
    """All the ways for a store-conditional to fail or succeed that don't depend on the machine."""
    load = name.replace("sc", "lr")
    p = Program()
    p.begin(name)
    _reset(p, 0x1111)
    p.li(A1, 77)
    # A sc clears the reservation, so the next fails.
    p.i(load, A0, S0)
    p.i(name, A2, A1, S0)
    p.i(name, A3, A1, S0)
    p.store(A2, "first sc")
    p.store(A3, "second sc")
    # At another address.
    p.i("addi", A4, S0, 8)
    p.i(load, A0, S0)
    p.i(name, A2, A1, A4)
    p.store(A2, "sc at another address")
    p.i(name, A3, A1, S0)
    p.store(A3, "then at the right one")
    # rd = address, rd = data, data = x0, rd = x0
    p.i(load, A0, S0)
    p.i("addi", A5, S0, 0)
    p.i(name, A5, A1, A5)
    p.store(A5, "rd is the address")
    p.i("addi", A1, 0, 99)
    p.i(load, A0, S0)
    p.i(name, A1, A1, S0)
    p.store(A1, "rd is the data")
    p.i("ld", A0, S0, 0)
    p.store(A0, "memory")
    p.i(load, A0, S0)
    p.i(name, A1, 0, S0)
    p.store(A1, "data is x0")
    p.i("ld", A0, S0, 0)
    p.store(A0, "memory")
    p.li(A1, 0x123456789ABC)
    p.i(load, A0, S0)
    p.i(name, 0, A1, S0)
    p.i("ld", A0, S0, 0)
    p.store(A0, "memory, result to x0")
    # Code between the two, with branches and other memory.
    p.li(A1, 31)
    p.label("again")
    p.i(load, A0, S0)
    p.i("addi", A0, A0, 3)
    p.i("sd", A1, S0, 8)
    p.i(name, A2, A0, S0)
    p.to("bne", A2, 0, "again")
    p.i("addi", A1, A1, -1)
    p.to("bne", A1, 0, "again")
    p.i("ld", A0, S0, 0)
    p.store(A0, "31 times 3 more")
    # The value was changed by another store in between.
    p.i(load, A0, S0)
    p.i("addi", A0, A0, 1)
    p.i("sd", A0, S0, 0)
    p.i(name, A2, A1, S0)
    p.store(A2, "sc after a store of another value")
    p.end()
    return p.finish()


def test_cbo_zero(name):
    p = Program()
    _pattern(p)
    p.begin(name)
    for n, offset in enumerate((0, 1, 63, 64, 100, 4096 - 1)):
        base = (A0, S10, A5)[n % 3]
        p.li(base, SCRATCH + offset)
        p.i(name, base)
        p.store(base, "address")
        p.li(T0, SCRATCH + max(0, (offset & -64) - 64))
        for word in range(24):
            p.i("ld", T1, T0, 8 * word)
            p.store(T1, f"at {offset}: word {word}")
    p.end()
    return p.finish()


def test_cbo(name):
    """Cache management has no effect that can be seen here."""
    p = Program()
    p.begin(name)
    _reset(p, 0x1234)
    p.i(name, S0, *([0] if name.startswith("prefetch") else []))
    p.i("ld", A0, S0, 0)
    p.store(A0, "memory")
    if name.startswith("prefetch"):
        p.i(name, 0, 0)
        p.i(name, 0, -64)
    p.store(S0, "address")
    p.end()
    return p.finish()


def test_fence(name):
    p = Program()
    p.begin(name)
    _reset(p, 0)
    for pred in range(16):
        for succ in range(16):
            if (pred, succ) == (1, 0):      # pause
                continue
            p.i("ld", A0, S0, 0)
            p.i("addi", A0, A0, 1)
            p.i("sd", A0, S0, 0)
            p.i(name, pred, succ)
    p.raw(0x8330000F)       # fence.tso
    p.i("ld", A0, S0, 0)
    p.store(A0, "count")
    p.end()
    return p.finish()


COMPRESSED_PAIRS = [(A0, A1), (S1, S0), (A5, A5), (A2, A4)]
COMPRESSED_FPAIRS = [(10, A1), (9, S0), (15, A5)]
SP_IMM8 = [0, 8, 256, 504, 168]
SP_IMM4 = [0, 4, 128, 252, 88]
PAIRS = [(A0, A1), (S10, S11), (A3, A3), (S8, A5), (A5, S8)]
IMMEDIATES = [0, 1, -1, 7, 2047, -2048]

# format: (function, register pairs, immediates, kind)
PLANS = {
    "load": (_test_load, PAIRS, IMMEDIATES, "x"),
    "fload": (_test_load, [(10, A1), (29, S11), (15, A5)], IMMEDIATES, "f"),
    "store": (_test_store, PAIRS + [(0, A1)], IMMEDIATES, "x"),
    "fstore": (_test_store, [(10, A1), (29, S11), (15, A5)], IMMEDIATES, "f"),
    "clw": (_test_load, COMPRESSED_PAIRS, [0, 4, 64, 124, 40], "x"),
    "cld": (_test_load, COMPRESSED_PAIRS, [0, 8, 128, 248, 80], "x"),
    "cfld": (_test_load, COMPRESSED_FPAIRS, [0, 8, 128, 248, 80], "f"),
    "clb": (_test_load, COMPRESSED_PAIRS, [0, 1, 2, 3], "x"),
    "clh": (_test_load, COMPRESSED_PAIRS, [0, 2], "x"),
    "csb": (_test_store, COMPRESSED_PAIRS, [0, 1, 2, 3], "x"),
    "csh": (_test_store, COMPRESSED_PAIRS, [0, 2], "x"),
    "csw": (_test_store, COMPRESSED_PAIRS, [0, 4, 64, 124, 40], "x"),
    "csd": (_test_store, COMPRESSED_PAIRS, [0, 8, 128, 248, 80], "x"),
    "cfsd": (_test_store, COMPRESSED_FPAIRS, [0, 8, 128, 248, 80], "f"),
    "clwsp": (_test_load, [(A0, SP), (S10, SP), (SP, SP)], SP_IMM4, "x"),
    "cldsp": (_test_load, [(A0, SP), (S10, SP), (SP, SP)], SP_IMM8, "x"),
    "cfldsp": (_test_load, [(10, SP), (29, SP), (2, SP)], SP_IMM8, "f"),
    "cswsp": (_test_store, [(A0, SP), (S10, SP), (0, SP)], SP_IMM4, "x"),
    "csdsp": (_test_store, [(A0, SP), (S10, SP), (0, SP)], SP_IMM8, "x"),
    "cfsdsp": (_test_store, [(10, SP), (29, SP), (2, SP)], SP_IMM8, "f"),
}


def tests():
    for name, insn in INSNS.items():
        if insn.format in PLANS:
            function, pairs, immediates, kind = PLANS[insn.format]
            yield name, lambda name=name, f=function, r=pairs, i=immediates, k=kind: f(name, r, i, k)
            continue
        make = None
        if name == "amocas.q":
            make = test_amocas_q
        elif name.startswith("amocas"):
            make = test_amocas
        elif name.startswith("lr."):
            make = test_lr
        elif name.startswith("sc."):
            make = test_sc
        elif insn.format == "amo":
            make = test_amo
        elif name == "cbo.zero":
            make = test_cbo_zero
        elif insn.format in ("cbo", "prefetch") and name != "cbo.inval":
            make = test_cbo
        elif name == "fence":
            make = test_fence
        if make:
            yield name, lambda name=name, make=make: make(name)
