"""Which instructions a CPU model has: a program that tries one of each and writes down which signal it
got, if any."""

from program import SA_NODEFER, UC_PC
from rv_encodings import INSNS, insn_size
from rvasm import A0, A4, Asm, OUT, RA, S0, S1, SCRATCH, SCRATCH_SIZE, SP, T0, TP

# Operands that do no harm: memory is at s0 and s1 (aligned to 64), FP rounding static, registers few.
_M, _X, _D = S0, A0, 10
OPERANDS = {
    "none": (), "none16": (), "r": (_X, A4, A4), "r1": (_X, A4), "i": (_X, A4, 1),
    "sh6": (_X, A4, 3), "sh5": (_X, A4, 3), "rnum": (_X, A4, 1), "bs": (_X, A4, A4, 1),
    "u": (_X, 1), "load": (_X, _M, 0), "fload": (_D, _M, 0), "store": (_X, _M, 0),
    "fstore": (_D, _M, 0), "fence": (3, 3), "csr": (_X, 1, 0), "csri": (_X, 1, 0),
    "amo": (_X, 12, _M), "lr": (_X, _M), "fr": (_D, 11, 12), "frrm": (_D, 11, 12, 0),
    "fr1rm": (_D, 11, 0), "fr4": (_D, 11, 12, 13, 0), "fcmp": (_X, 11, 12), "ftoi": (_X, 11, 0),
    "ftoi_rtz": (_X, 11), "itof": (_D, A4, 0), "fx": (_X, 11), "xf": (_D, A4), "fli": (_D, 3),
    "cbo": (_M,), "prefetch": (_M, 0), "ciw": (_X, 16), "cfld": (_D, _M, 0), "cld": (_X, _M, 0),
    "clw": (_X, _M, 0), "cfsd": (_D, _M, 0), "csd": (_X, _M, 0), "csw": (_X, _M, 0),
    "clb": (_X, _M, 0), "clh": (_X, _M, 0), "csb": (_X, _M, 0), "csh": (_X, _M, 0), "ci": (_X, 1),
    "ci_rd": (_X, 1), "clui": (_X, 1), "cbsh": (_X, 1), "cbi": (_X, 1), "ca": (_X, A4), "cu": (_X,),
    "cslli": (_X, 1), "cfldsp": (_D, 0), "cldsp": (_X, 0), "clwsp": (_X, 0), "cfsdsp": (_D, 0),
    "csdsp": (_X, 0), "cswsp": (_X, 0), "cr": (_X, A4),
}

# Not tried: they go elsewhere, or differ by design (see suite.ELSEWHERE).
LEFT_OUT = {"jal", "jalr", "ecall", "ebreak", "c.ebreak", "c.j", "c.jr", "c.jalr", "c.addi16sp",
            "cbo.inval", "c.beqz", "c.bnez", "beq", "bne", "blt", "bge", "bltu", "bgeu"}

NAMES = [n for n in INSNS if n not in LEFT_OUT]


def program():
    """ELF; prints one byte for each of NAMES: 0, or the signal's number."""
    a = Asm()
    a.out_size = len(NAMES)
    action = a.words([0, 4 | SA_NODEFER, 0])
    for signal in (4, 7, 11):
        a.syscall(134, signal, action, 0, 8)
    a.to("jal", 0, "start")
    a.data[:8] = a.pc.to_bytes(8, "little")
    a.label("handler")          # writes the signal, goes on at s1 of the interrupted code
    a.i("ld", T0, 12, UC_PC + 8 * TP)
    a.i("sb", 10, T0, 0)
    a.i("ld", T0, 12, UC_PC + 8 * S1)
    a.i("sd", T0, 12, UC_PC)
    a.i("jalr", 0, RA, 0)
    a.label("start")
    a.li(SP, SCRATCH + SCRATCH_SIZE - 4096)
    a.li(TP, OUT)
    for name in NAMES:
        insn = INSNS[name]
        a.li(S0, SCRATCH + 64)
        a.align(4)
        # If it fails, compressed ones may be what is switched off: the handler goes on behind them.
        a.i("auipc", S1, 0)
        a.i("addi", S1, S1, 12)
        a.i(name, *OPERANDS[insn.format])
        if insn_size(name) == 2:
            a.i("c.nop")
        a.i("addi", TP, TP, 1)
    a.write_out()
    return a


def names_with(output):
    """name -> signal, from the program's output."""
    return dict(zip(NAMES, output))
