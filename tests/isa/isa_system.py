"""Tests of control and status registers, and of instructions that belong to no other group."""

from program import Program
from rv_encodings import INSNS
from rvasm import (A0, A1, A2, A3, A5, CSR_CYCLE, CSR_FCSR, CSR_FFLAGS, CSR_FRM, CSR_INSTRET,
                   CSR_TIME, S8, S10, T0)

CSR_NAMES = {CSR_FFLAGS: "fflags", CSR_FRM: "frm", CSR_FCSR: "fcsr"}
VALUES = [0, 1, 2, 4, 8, 16, 31, 0x20, 0x60, 0x80, 0xE0, 0xFF, 0x100, -1, 0x15, 0x4A]


def test_csr(name):
    immediate = name.endswith("i")
    p = Program()
    for csr, text in CSR_NAMES.items():
        values = [v for v in VALUES if 0 <= v < 32] if immediate else VALUES
        for before in (0, 0x55, 0xFF, 0xA2):
            p.begin(f"{name} {text} from {before:#x}", None if immediate else [(v,) for v in values])
            for value in values if immediate else [None]:
                for rd, rs in ((A0, A1), (0, A1), (S10, S8), (A5, A5)):
                    p.li(T0, before)
                    p.i("csrrw", 0, CSR_FCSR, T0)
                    if not immediate:
                        p.load(rs, 0)
                    p.i(name, rd, csr, value if immediate else rs)
                    what = f"x{rd}, {value if immediate else f'x{rs}'}"
                    p.store(rd, what)
                    p.i("csrrs", A2, CSR_FCSR, 0)
                    p.store(A2, what + ": fcsr")
                    p.i("csrrs", A2, CSR_FFLAGS, 0)
                    p.store(A2, what + ": fflags")
                    p.i("csrrs", A2, CSR_FRM, 0)
                    p.store(A2, what + ": frm")
            if not immediate:
                p.i(name, A3, csr, 0)
                p.store(A3, "from x0")
                p.i("csrrs", A2, CSR_FCSR, 0)
                p.store(A2, "from x0: fcsr")
            p.end()
    # The mode in force changes with the register, in the middle of a block.
    p.begin(f"{name}: effect of frm")
    one, third = p.words([0x3FF0000000000000]), p.words([0x4008000000000000])
    p.li(A0, one)
    p.i("fld", 10, A0, 0)
    p.li(A0, third)
    p.i("fld", 11, A0, 0)
    for frm in (0, 1, 2, 3, 4, 3, 0):
        p.i("csrrwi", 0, CSR_FRM, 0)
        p.li(A1, frm)
        p.i("fdiv.d", 12, 10, 11)
        if name in ("csrrc", "csrrci"):
            p.i("csrrwi", 0, CSR_FRM, 7)
            p.li(A1, 7 - frm)
            p.i(name, A2, CSR_FRM, 7 - frm if immediate else A1)
        else:
            p.i(name, A2, CSR_FRM, frm if immediate else A1)
        p.i("fdiv.d", 13, 10, 11)
        p.fstore(12, f"nearest, before {frm}")
        p.fstore(13, f"mode {frm}")
    p.end()
    p.i("csrrwi", 0, CSR_FRM, 0)
    return p.finish()


def test_counters():
    """They only go up, and time does so at all."""
    p = Program()
    for csr, text in (CSR_CYCLE, "cycle"), (CSR_TIME, "time"), (CSR_INSTRET, "instret"):
        p.begin(text)
        p.i("csrrs", A0, csr, 0)
        p.li(A2, 20000)
        p.label("wait" + text)
        p.i("addi", A2, A2, -1)
        p.to("bne", A2, 0, "wait" + text)
        p.i("csrrs", A1, csr, 0)
        p.i("sltu", A2, A0, A1)
        p.store(A2, "grew")
        p.end()
    return p.finish()


def test_mixed_precision():
    """Registers that are written in one format and read in another."""
    p = Program()
    patterns = [0, 0x3FF0000000000000, 0xFFFFFFFF3F800000, 0xFFFFFFFFFFFF3C00, 0x3F800000,
                0xFFFFFFFF7F800001, 0xFFFFFFFFFFFF7C01, 0x7FF0000000000001, 0xFFFFFFFE3F800000]
    p.begin("mixed precision", [(v,) for v in patterns])
    for first in "sdh":
        for second in "sdh":
            p.fload(10, 0)
            p.i(f"fadd.{first}", 11, 10, 10)
            p.i(f"fmul.{second}", 12, 11, 10)
            p.i(f"fsgnjn.{second}", 13, 11, 11)
            p.fstore(12, f"fmul.{second} of fadd.{first}")
            p.fstore(13, f"fneg.{second} of fadd.{first}")
            for size in "hwd":
                p.i(f"fmv.x.{size}", A0, 11)
                p.store(A0, f"fmv.x.{size} of fadd.{first}")
    p.end()
    return p.finish()


def tests():
    for name, insn in INSNS.items():
        if insn.format in ("csr", "csri"):
            yield name, lambda name=name: test_csr(name)
    yield "counters", test_counters
    yield "mixed-precision", test_mixed_precision
