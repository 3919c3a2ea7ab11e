"""Tests of exceptions: which signal, which code and address, and exact registers.

Each program installs a handler that writes down what it is given and steps over the instruction.
"""

from program import Program, SA_NODEFER
from rvasm import (A0, A1, A2, A3, A4, A5, CODE, CSR_FRM, RA, S0, S8, S10, S11, SCRATCH,
                   SCRATCH_SIZE, SP, SYS_MPROTECT, T0, T1)

STACK_TOP = SCRATCH + SCRATCH_SIZE
UNMAPPED = SCRATCH + SCRATCH_SIZE + 0x10000
PROT_NONE = SCRATCH + 0x1000        # a page of the scratch memory that is made so


def _program(fp=False):
    p = Program()
    p.li(SP, STACK_TOP - 64)
    p.install_handler(flags=SA_NODEFER)
    p.syscall(SYS_MPROTECT, PROT_NONE, 4096, 0)
    p.to("jal", 0, "start")
    p.handler(fp=fp)
    p.label("start")
    for reg in range(1, 32):
        if reg not in (SP, 4):
            p.li(reg, 0x101010101 * reg)
    return p


def _faulting(p, title, *insn, before=(), raw=None, size=4):
    """One instruction that must fault, with register writes around it that must be exact."""
    p.begin(title)
    p.i("addi", S8, S8, 1)
    p.i("addi", A5, A5, 3)
    for step in before:
        p.i(*step)
    p.i("xori", S10, S10, 0x55)
    p.i("add", T1, A5, S8)
    if raw is None:
        p.i(*insn)
    else:
        p.raw(raw, size)
    p.fault_fields(title)
    p.i("addi", T1, T1, 1)
    p.store(T1, "after")
    p.end()


ACCESSES = [("lb", A0, S0, 0), ("lhu", S10, S0, 1), ("lw", A1, S0, -2), ("ld", S11, S0, 0),
            ("ld", 0, S0, 8), ("sb", A1, S0, 0), ("sh", S10, S0, 1), ("sw", A1, S0, -4),
            ("sd", S8, S0, 0), ("sd", 0, S0, 0), ("fld", 10, S0, 0), ("flw", 11, S0, 0),
            ("fsd", 10, S0, 0), ("fsw", 30, S0, 4), ("lr.w", A0, S0), ("lr.d", A0, S0),
            ("amoadd.w", A0, A1, S0), ("amoswap.d", S10, S8, S0), ("amomax.d", A0, A1, S0),
            ("amomaxu.w", A0, A1, S0), ("amocas.w", A0, A1, S0), ("amocas.d", A0, A1, S0),
            ("amoadd.b", A0, A1, S0), ("amoor.h", A0, A1, S0), ("cbo.zero", S0),
            ("c.ld", A4, S0, 8), ("c.sd", A4, S0, 8), ("c.lw", A4, S0, 0), ("c.fld", 12, S0, 0)]


def _test_access(address):
    p = _program()
    for access in ACCESSES:
        at = address
        if access[0] == "cbo.zero" or access[0].startswith(("lr", "amo")):
            at &= -8
        p.li(S0, at)
        _faulting(p, f"{access[0]} at {at:#x}", *access)
    return p.finish()


def test_read_only():
    p = _program()
    for access in ACCESSES:
        if access[0].startswith(("s", "c.s", "fs", "amo", "cbo")):
            p.li(S0, CODE)
            _faulting(p, f"{access[0]} to code", *access)
    return p.finish()


def test_straddle():
    """The second half of an access isn't mapped: memory before it must not change."""
    p = _program()
    end = PROT_NONE
    for name, size in (("lh", 2), ("lw", 4), ("ld", 8), ("sh", 2), ("sw", 4), ("sd", 8)):
        for into in range(1, size, max(1, size // 4)):
            p.li(S0, end - into)
            p.li(A1, 0x1122334455667788)
            _faulting(p, f"{name} {into} bytes before the end", name, A1, S0, 0)
            p.begin("memory")
            p.li(S0, end - 8)
            p.i("ld", A0, S0, 0)
            p.store(A0, "last word")
            p.end()
    return p.finish()


def test_misaligned_atomics():
    p = _program()
    p.li(A1, 5)
    for size, names in (("w", ("lr", "amoadd", "amoswap", "amominu", "amocas")),
                        ("d", ("lr", "amoxor", "amomax", "amocas"))):
        for name in names:
            for offset in (1, 2, 3, 4, 7):
                if offset % {"w": 4, "d": 8}[size]:
                    p.li(S0, SCRATCH + 64 + offset)
                    operands = (A0, S0) if name == "lr" else (A0, A1, S0)
                    _faulting(p, f"{name}.{size} at {offset}", f"{name}.{size}", *operands)
    p.li(S0, SCRATCH + 65)
    _faulting(p, "amoadd.h at 1", "amoadd.h", A0, A1, S0)
    _faulting(p, "amocas.h at 1", "amocas.h", A0, A1, S0)
    p.li(S0, SCRATCH + 72)
    _faulting(p, "amocas.q at 8", "amocas.q", A2, A4, S0)
    return p.finish()


ILLEGAL = [
    ("all zero", 0, 2), ("all ones", 0xFFFFFFFF, 4), ("reserved opcode", 0x0000006B, 4),
    ("ld with funct3 7", 0x00007003, 4), ("store with funct3 4", 0x00004023, 4),
    ("branch with funct3 2", 0x00002063, 4), ("branch with funct3 3", 0x00003063, 4),
    ("jalr with funct3 1", 0x00001067, 4), ("slliw by 32", 0x0200109B, 4),
    ("add with funct7 2", 0x04000033, 4), ("addw with funct3 2", 0x0000203B, 4),
    ("amo with funct5 2 and rs2", 0x1010202F, 4), ("amo of width 5", 0x0000502F, 4),
    ("amocas.q with odd rd", 0x28C5C5AF | 4 << 12, 4), ("amocas.q with odd rs2", 0x28D5452F, 4),
    ("fadd.s with rm 5", 0x00005053, 4), ("fadd.s with rm 6", 0x00006053, 4),
    ("fadd.q", 0x06000053, 4), ("fsgnj.s with funct3 3", 0x20003053, 4),
    ("fsqrt.s with rs2 1", 0x58100053, 4), ("fcvt.w.s with rs2 4", 0xC0400053, 4),
    ("mret", 0x30200073, 4), ("sret", 0x10200073, 4), ("wfi", 0x10500073, 4),
    ("sfence.vma", 0x12000073, 4), ("csrr mstatus", 0x30002573, 4),
    ("csrr satp", 0x18002573, 4), ("write to cycle", 0xC0001073, 4), ("csrr 0x5c0", 0x5C002573, 4),
    ("aes64ks1i with rnum 11", 0x31B51513, 4),
    ("c.addi4spn 0", 0x0004, 2), ("c.reserved 100 in quadrant 0", 0x8C70, 2),
    ("c.addiw x0", 0x2005, 2), ("c.lui 0", 0x6501, 2), ("c.addi16sp 0", 0x6101, 2),
    ("c.lwsp x0", 0x4002, 2), ("c.ldsp x0", 0x6002, 2), ("c.jr x0", 0x8002, 2),
    ("c.zcb reserved", 0x9C79, 2), ("clz with rs2 6", 0x60651513, 4),
    ("rev8 of 32 bits", 0x69855513, 4), ("orc with another mask", 0x28655513, 4),
    ("fli with rs2 2", 0xF0200053, 4), ("fmvh.x.d", 0xE2150553, 4),
    ("fround with rm 5", 0x40455553, 4), ("cbo 3", 0x0035200F, 4), ("cbo 5", 0x0055200F, 4),
]


def test_illegal():
    p = _program()
    p.li(A0, SCRATCH + 64)
    for title, word, size in ILLEGAL:
        p.li(A0, SCRATCH + 64)
        _faulting(p, title, raw=word, size=size)
    for frm in (5, 6, 7):
        p.i("csrrwi", 0, CSR_FRM, frm)
        for name, operands in (("fadd.d", (10, 11, 12)), ("fcvt.w.s", (A0, 11)), ("fsqrt.h", (1, 2)),
                               ("fmadd.s", (1, 2, 3, 4)), ("fcvt.s.l", (1, A0)),
                               ("fround.d", (1, 2))):
            _faulting(p, f"{name} with frm {frm}", name, *operands)
    p.i("csrrwi", 0, CSR_FRM, 0)
    return p.finish()


def test_ebreak():
    p = _program()
    _faulting(p, "ebreak", "ebreak")
    _faulting(p, "c.ebreak", "c.ebreak")
    return p.finish()


def test_fetch():
    """Jumps to where no code can be. The handler goes on at s11."""
    p = _program()
    for n, target in enumerate((UNMAPPED, PROT_NONE, SCRATCH + 64, 0, UNMAPPED + 0x1000 - 2)):
        for how in range(2):
            p.begin(f"jump to {target:#x}")
            p.li(S0, target)
            p.i("auipc", S11, 0)
            p.i("addi", S11, S11, 16)
            p.i("addi", A5, A5, 3)
            if how:
                p.i("jalr", RA, S0, 0)
            else:
                p.i("jalr", 0, S0, 0)
            p.fault_fields("fetch")
            p.i("addi", A5, A5, 1)
            p.store(A5, "after")
            p.end()
    return p.finish()


def test_fp_state():
    """The floating-point registers and flags in the signal's context."""
    p = _program(fp=True)
    for reg in range(32):
        p.li(T0, 0x3FF0000000000000 + 0x123456789 * reg)
        p.i("fmv.d.x", reg, T0)
    p.li(S0, UNMAPPED)
    p.i("csrrwi", 0, CSR_FRM, 2)
    _faulting(p, "after an inexact division", "ld", A0, S0, 0,
              before=(("fdiv.d", 10, 11, 12), ("fadd.s", 30, 1, 2), ("fcvt.w.d", A3, 11)))
    p.i("csrrwi", 0, CSR_FRM, 0)
    p.begin("afterwards")
    for reg in range(32):
        p.fstore(reg, f"f{reg}")
    p.i("csrrs", A0, 3, 0)
    p.store(A0, "fcsr")
    p.end()
    return p.finish()


def tests():
    yield "fault-unmapped", lambda: _test_access(UNMAPPED + 64)
    yield "fault-prot-none", lambda: _test_access(PROT_NONE + 64)
    yield "fault-read-only", test_read_only
    yield "fault-straddle", test_straddle
    yield "fault-misaligned-atomics", test_misaligned_atomics
    yield "fault-fp-state", test_fp_state
    yield "illegal", test_illegal
    yield "ebreak", test_ebreak
    yield "fault-fetch", test_fetch
