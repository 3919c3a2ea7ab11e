"""Tests of the floating-point instructions: results and flags in every rounding mode."""

import random

from program import Program
from rv_encodings import INSNS
from rvasm import A0, A1, A3, A5, CSR_FFLAGS, CSR_FRM, S8, S10, T0, T2

# exponent bits, mantissa bits
LAYOUT = {"h": (5, 10), "s": (8, 23), "d": (11, 52)}
WIDTH = {"h": 16, "s": 32, "d": 64}
RM = ["rne", "rtz", "rdn", "rup", "rmm"]


class Numbers:
    """Bit patterns of one format."""

    def __init__(self, fmt):
        self.fmt = fmt
        self.ebits, self.mbits = LAYOUT[fmt]
        self.width = WIDTH[fmt]
        self.emax = (1 << self.ebits) - 1
        self.bias = self.emax >> 1

    def bits(self, sign, exponent, mantissa):
        """exponent unbiased"""
        biased = max(0, min(self.emax, exponent + self.bias))
        return sign << (self.width - 1) | biased << self.mbits | mantissa & ((1 << self.mbits) - 1)

    def box(self, value):
        return value | ((1 << 64) - (1 << self.width)) if self.width < 64 else value

    def edges(self, small=False):
        m = 1 << self.mbits
        one = self.bits(0, 0, 0)
        sign = 1 << (self.width - 1)
        inf = self.emax << self.mbits
        values = [0, sign, one, sign | one, 1, m - 1, sign | 1, m, inf - 1, sign | (inf - 1), inf,
                  sign | inf, inf | m >> 1, inf | 1, self.bits(0, 1, m >> 1), self.bits(1, -1, 0)]
        if small:
            return [self.box(v) for v in values]
        values += [sign | (m - 1), sign | m, m + 1, m << 1, m >> 1,             # near the denormals
                   self.bits(0, 0, m >> 1), self.bits(1, 0, m >> 1), self.bits(0, 1, m >> 2),
                   self.bits(0, 0, 1), self.bits(0, -1, m - 1), self.bits(0, -1, 0),
                   self.bits(0, -4, m // 5 * 3), self.bits(0, 1, m // 7 * 4),
                   self.bits(0, self.mbits, 1), self.bits(0, self.mbits - 1, 1),
                   self.bits(1, self.mbits, m - 1), self.bits(0, self.bias, 0),
                   inf | m - 1, sign | inf | m >> 1, sign | inf | m >> 2, inf | m >> 1 | 5]
        return [self.box(v) for v in values]

    def to_integer_edges(self):
        """Around the bounds of the integer types."""
        values = []
        for power in (0, 7, 15, 16, 31, 32, 33, 52, 53, 62, 63, 64, 65):
            for sign in (0, 1):
                near = self.bits(sign, power, 0)
                values += [near - 1, near, near + 1]
                for fraction in (1, 2):
                    if power < self.mbits - fraction:
                        values.append(near | 1 << (self.mbits - power - fraction))
                        values.append(near - (1 << max(0, self.mbits - power - fraction)))
        return [self.box(v & ((1 << self.width) - 1)) for v in values]

    def unboxed(self):
        """Registers that don't hold a number of this format."""
        if self.width == 64:
            return []
        low = self.bits(0, 1, 3)
        values = [low, 0xFFFFFFFE00000000 | low, 0x3FF0000000000000, 0x7FFFFFFF00000000 | low]
        if self.width == 16:
            values += [0xFFFFFFFF00000000 | low, 0xFFFFFFFFFFFE0000 | low]
        return values

    def number(self, rng, near=None):
        """A random number, its exponent about [near]."""
        kind = rng.randrange(10)
        if kind == 0:
            return self.box(rng.getrandbits(self.width))
        if kind == 1:       # denormal or nearly so
            return self.box(self.bits(rng.getrandbits(1), -self.bias + rng.randrange(3),
                                      rng.getrandbits(self.mbits)))
        spread = self.mbits + 3
        exponent = (near or 0) + rng.randint(-spread, spread)
        mantissa = rng.getrandbits(self.mbits)
        if rng.randrange(3) == 0:       # few bits: exact results, ties
            mantissa &= -1 << rng.randrange(self.mbits)
        return self.box(self.bits(rng.getrandbits(1), exponent, mantissa))


def _operands(name, fmt, count, edge_limit=None):
    """Rows of [count] operands."""
    rng = random.Random("isa " + name)
    numbers = Numbers(fmt)
    edges = numbers.edges(small=count == 3)[:edge_limit]
    if count == 1:
        rows = [(v,) for v in numbers.edges() + numbers.unboxed() + numbers.to_integer_edges()]
        rows += [(numbers.number(rng),) for _ in range(300)]
    elif count == 2:
        rows = [(a, b) for a in edges for b in edges]
        for other in numbers.unboxed():
            rows += [(other, edges[2]), (edges[2], other), (other, edges[-1])]
        rows += [(numbers.number(rng), numbers.number(rng)) for _ in range(400)]
    else:
        rows = [(a, b, c) for a in edges for b in edges for c in edges]
        for other in numbers.unboxed():
            rows += [(other, edges[2], edges[2]), (edges[2], other, edges[2]),
                     (edges[2], edges[2], other)]
        rows += [tuple(numbers.number(rng) for _ in range(3)) for _ in range(400)]
        rows += [_cancelling(numbers, rng) for _ in range(300)]
    return rows


def _cancelling(numbers, rng):
    """a, b, c with c close to -a*b, so that a product that was rounded too early shows."""
    a = numbers.bits(0, rng.randint(-8, 2), rng.getrandbits(numbers.mbits))
    b = numbers.bits(rng.getrandbits(1), rng.randint(-3, 3), rng.getrandbits(numbers.mbits))
    one = 1 << numbers.mbits
    product = (a & (one - 1) | one) * (b & (one - 1) | one)
    exponent = sum((v >> numbers.mbits & numbers.emax) - numbers.bias for v in (a, b))
    if product >> (2 * numbers.mbits + 1):
        product >>= 1
        exponent += 1
    mantissa = (product >> numbers.mbits) & (one - 1)
    sign = 1 - (b >> (numbers.width - 1))
    c = numbers.bits(sign, exponent, (mantissa + rng.randint(-1, 1)) & (one - 1))
    return numbers.box(a), numbers.box(b), numbers.box(c)


def _clear_flags(p):
    p.i("csrrwi", 0, CSR_FFLAGS, 0)


def _flags(p, what):
    p.i("csrrs", T0, CSR_FFLAGS, 0)
    p.store(T0, f"fflags of {what}")


FREGS = [(10, 11, 12, 13), (28, 29, 30, 31), (8, 8, 9, 18), (9, 8, 9, 18), (18, 8, 9, 18),
         (1, 2, 2, 2), (15, 15, 15, 15), (14, 3, 15, 27)]


def _rounded(name, fmt, count, rows, result="f"):
    """An instruction with a rounding mode: all static ones on all rows, dynamic ones on some."""
    p = Program()
    p.begin(f"{name} static", rows)
    for rm in range(5):
        for n in range(count):
            p.fload(11 + n, n)
        _clear_flags(p)
        if result == "f":
            p.i(name, 10, *range(11, 11 + count), rm)
            p.fstore(10, RM[rm])
        else:
            p.i(name, A0, *range(11, 11 + count), rm)
            p.store(A0, RM[rm])
        _flags(p, RM[rm])
    p.end()
    some = rows[::7] if len(rows) > 600 else rows[::3]
    for frm in range(5):
        p.i("csrrwi", 0, CSR_FRM, frm)
        p.begin(f"{name} dynamic {RM[frm]}", some)
        for n in range(count):
            p.fload(11 + n, n)
        _clear_flags(p)
        p.i(name, 10, *range(11, 11 + count))
        if result == "f":
            p.fstore(10, RM[frm])
        else:
            p.store(A0, RM[frm])
        _flags(p, RM[frm])
        p.end()
    p.i("csrrwi", 0, CSR_FRM, 0)
    _registers(p, name, count, some, result)
    return p.finish()


def _registers(p, name, count, rows, result="f"):
    """Other registers, flags that are set already, and what uses of the result see."""
    rows = [row + (n & 31,) for n, row in enumerate(rows)]
    p.begin(f"{name} registers", rows)
    for regs in FREGS:
        for n in range(count):
            p.fload(regs[1 + n], n)
        p.load(A1, count)
        p.i("csrrw", 0, CSR_FFLAGS, A1)
        if result == "f":
            p.i(name, regs[0], *regs[1:1 + count])
            p.fstore(regs[0], f"f{regs[0]}" + "".join(f", f{r}" for r in regs[1:1 + count]))
        else:
            rd = A3 if regs[0] & 1 else S10
            p.i(name, rd, *regs[1:1 + count])
            p.store(rd, f"x{rd}" + "".join(f", f{r}" for r in regs[1:1 + count]))
        _flags(p, "more")
    if result == "f":
        for n in range(count):
            p.fload(11 + n, n)
        p.i(name, 10, *range(11, 11 + count))
        _consumers(p, 10)
    p.end()


def _consumers(p, reg):
    p.i("fmv.x.d", T2, reg)
    p.store(T2, "fmv.x.d of it")
    p.i("fmv.x.w", T2, reg)
    p.store(T2, "fmv.x.w of it")
    p.i("fmv.x.h", T2, reg)
    p.store(T2, "fmv.x.h of it")
    for fmt in "sdh":
        p.i(f"fclass.{fmt}", T2, reg)
        p.store(T2, f"fclass.{fmt} of it")
        p.i(f"fsgnjn.{fmt}", 20, reg, reg)
        p.fstore(20, f"fneg.{fmt} of it")
        p.i(f"fsgnjx.{fmt}", 20, reg, reg)
        p.fstore(20, f"fabs.{fmt} of it")
        p.i(f"feq.{fmt}", T2, reg, reg)
        p.store(T2, f"feq.{fmt} of it with itself")
        p.i(f"fadd.{fmt}", 20, reg, 11)
        p.fstore(20, f"fadd.{fmt} to it")
        p.i(f"fmin.{fmt}", 20, reg, 11)
        p.fstore(20, f"fmin.{fmt} with it")
    p.i("fsgnj.d", 20, reg, reg)
    p.fstore(20, "fmv.d of it")
    p.i("fcvt.d.s", 20, reg)
    p.fstore(20, "fcvt.d.s of it")
    p.i("fcvt.s.d", 20, reg)
    p.fstore(20, "fcvt.s.d of it")
    _flags(p, "all of these")


def _plain(name, fmt, count, result="f"):
    """No rounding mode."""
    p = Program()
    rows = _operands(name, fmt, count)
    p.begin(name, rows)
    for n in range(count):
        p.fload(11 + n, n)
    _clear_flags(p)
    p.i(name, 10, *range(11, 11 + count))
    if result == "f":
        p.fstore(10, "result")
    else:
        p.store(A0, "result")
    _flags(p, name)
    if result == "x":       # a comparison that steers a branch
        p.i(name, A5, *range(11, 11 + count))
        p.i("addi", A3, 0, 1)
        p.i("bne", A5, 0, 8)
        p.i("addi", A3, 0, 2)
        p.store(A3, "branch on it")
    p.end()
    _registers(p, name, count, rows[::5], result)
    return p.finish()


def test_itof(name):
    from isa_int import EDGES
    rng = random.Random(name)
    p = Program()
    rows = [(v,) for v in EDGES]
    for n in range(64):
        rows += [((1 << n) - 1,), ((1 << n) + 1,), (-(1 << n) - 1,), (3 << max(0, n - 1) | 1,)]
    rows += [(rng.getrandbits(rng.randint(1, 64)),) for _ in range(200)]
    p.begin(f"{name} static", rows)
    for rm in range(5):
        for rd, rs in ((10, A1), (29, S8)):
            p.load(rs, 0)
            _clear_flags(p)
            p.i(name, rd, rs, rm)
            p.fstore(rd, f"f{rd}, x{rs}, {RM[rm]}")
            _flags(p, RM[rm])
    p.end()
    for frm in range(5):
        p.i("csrrwi", 0, CSR_FRM, frm)
        p.begin(f"{name} dynamic {RM[frm]}", rows[::3])
        p.load(A1, 0)
        _clear_flags(p)
        p.i(name, 10, A1)
        p.fstore(10, RM[frm])
        _flags(p, RM[frm])
        p.i(name, 10, 0)
        p.fstore(10, "of x0")
        p.end()
    return p.finish()


def test_xf(name):
    from isa_int import EDGES
    p = Program()
    p.begin(name, [(v,) for v in EDGES])
    for rd, rs in ((10, A1), (29, S8), (15, A5)):
        p.load(rs, 0)
        p.i(name, rd, rs)
        p.fstore(rd, f"f{rd}, x{rs}")
    p.i(name, 10, 0)
    p.fstore(10, "of x0")
    p.end()
    return p.finish()


def test_fli(name):
    p = Program()
    p.begin(name)
    _clear_flags(p)
    for n in range(32):
        p.i(name, 10 + (n & 15), n)
        p.fstore(10 + (n & 15), f"{n}")
    _flags(p, "all")
    p.end()
    return p.finish()


def test_fx(name):
    return _plain(name, {"w": "s"}.get(name[-1], name[-1]), 1, "move")


def _source_format(name):
    """The format of the operands: the last part of the name that is one."""
    return name.rsplit(".", 1)[1]


def tests():
    for name, insn in INSNS.items():
        make = None
        if insn.format in ("frrm", "fr1rm", "fr4"):
            count = {"frrm": 2, "fr1rm": 1, "fr4": 3}[insn.format]
            fmt = _source_format(name)
            make = lambda name=name, fmt=fmt, count=count: \
                _rounded(name, fmt, count, _operands(name, fmt, count))
        elif insn.format == "ftoi":
            fmt = _source_format(name)
            make = lambda name=name, fmt=fmt: _rounded(name, fmt, 1, _operands(name, fmt, 1), "x")
        elif insn.format == "ftoi_rtz":
            make = lambda name=name: _plain(name, "d", 1, "x")
        elif insn.format in ("fr", "fcmp"):
            fmt = _source_format(name)
            kind = "f" if insn.format == "fr" else "x"
            make = lambda name=name, fmt=fmt, kind=kind: _plain(name, fmt, 2, kind)
        elif insn.format in ("itof", "xf", "fli", "fx"):
            make = lambda name=name, f=globals()["test_" + insn.format]: f(name)
        if make:
            yield name, make
