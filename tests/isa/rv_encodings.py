"""Encodings of the user-level RISC-V instructions that the tests exercise.

Written from the specifications (Unprivileged ISA 20240411 and the ratified extensions it lists), on
purpose without the emulator's own table: two independent tables check each other.

Each instruction is (name, format, match, extension).  A format is the list of operands, and says
where each goes (FORMATS); match holds the fixed bits, operands being zero.
"""

from collections import namedtuple

Insn = namedtuple("Insn", "name format match ext")

OP, OP32, OPIMM, OPIMM32 = 0x33, 0x3B, 0x13, 0x1B
LOAD, STORE, AMO, BRANCH, SYSTEM = 0x03, 0x23, 0x2F, 0x63, 0x73
LOADFP, STOREFP, OPFP = 0x07, 0x27, 0x53


def _r(opcode, f3, f7):
    return opcode | f3 << 12 | f7 << 25


def _unary(opcode, f3, imm12):
    return opcode | f3 << 12 | imm12 << 20


def _rv64i():
    yield "lui", "u", 0x37, "i"
    yield "auipc", "u", 0x17, "i"
    yield "jal", "j", 0x6F, "i"
    yield "jalr", "i", 0x67, "i"
    for f3, name in (0, "beq"), (1, "bne"), (4, "blt"), (5, "bge"), (6, "bltu"), (7, "bgeu"):
        yield name, "b", BRANCH | f3 << 12, "i"
    for f3, name in enumerate(("lb", "lh", "lw", "ld", "lbu", "lhu", "lwu")):
        yield name, "load", LOAD | f3 << 12, "i"
    for f3, name in enumerate(("sb", "sh", "sw", "sd")):
        yield name, "store", STORE | f3 << 12, "i"
    for f3, name in (0, "addi"), (2, "slti"), (3, "sltiu"), (4, "xori"), (6, "ori"), (7, "andi"):
        yield name, "i", OPIMM | f3 << 12, "i"
    yield "slli", "sh6", _r(OPIMM, 1, 0), "i"
    yield "srli", "sh6", _r(OPIMM, 5, 0), "i"
    yield "srai", "sh6", _r(OPIMM, 5, 0x20), "i"
    for f3, name in enumerate(("add", "sll", "slt", "sltu", "xor", "srl", "or", "and")):
        yield name, "r", _r(OP, f3, 0), "i"
    yield "sub", "r", _r(OP, 0, 0x20), "i"
    yield "sra", "r", _r(OP, 5, 0x20), "i"
    yield "addiw", "i", OPIMM32, "i"
    yield "slliw", "sh5", _r(OPIMM32, 1, 0), "i"
    yield "srliw", "sh5", _r(OPIMM32, 5, 0), "i"
    yield "sraiw", "sh5", _r(OPIMM32, 5, 0x20), "i"
    yield "addw", "r", _r(OP32, 0, 0), "i"
    yield "subw", "r", _r(OP32, 0, 0x20), "i"
    yield "sllw", "r", _r(OP32, 1, 0), "i"
    yield "srlw", "r", _r(OP32, 5, 0), "i"
    yield "sraw", "r", _r(OP32, 5, 0x20), "i"
    yield "fence", "fence", 0x0F, "i"
    yield "fence.i", "none", 0x100F, "zifencei"
    yield "ecall", "none", 0x73, "i"
    yield "ebreak", "none", 0x100073, "i"
    for f3, name in (1, "csrrw"), (2, "csrrs"), (3, "csrrc"):
        yield name, "csr", SYSTEM | f3 << 12, "zicsr"
        yield name + "i", "csri", SYSTEM | (f3 + 4) << 12, "zicsr"


def _m():
    for f3, name in enumerate(("mul", "mulh", "mulhsu", "mulhu", "div", "divu", "rem", "remu")):
        yield name, "r", _r(OP, f3, 1), "m"
        if f3 == 0 or f3 >= 4:
            yield name + "w", "r", _r(OP32, f3, 1), "m"


AMOS = {0: "amoadd", 1: "amoswap", 4: "amoxor", 8: "amoor", 12: "amoand", 16: "amomin",
        20: "amomax", 24: "amominu", 28: "amomaxu"}


def _a():
    for f3, size in enumerate("bhwd"):
        ext = "zabha" if f3 < 2 else "a"
        for f5, name in AMOS.items():
            yield f"{name}.{size}", "amo", AMO | f3 << 12 | f5 << 27, ext
        yield f"amocas.{size}", "amo", AMO | f3 << 12 | 5 << 27, "zabha" if f3 < 2 else "zacas"
        if f3 >= 2:
            yield f"lr.{size}", "lr", AMO | f3 << 12 | 2 << 27, "a"
            yield f"sc.{size}", "amo", AMO | f3 << 12 | 3 << 27, "a"
    yield "amocas.q", "amo", AMO | 4 << 12 | 5 << 27, "zacas"


FP_FORMATS = {"s": (0, "f"), "d": (1, "d"), "h": (2, "zfh")}


def _fp():
    for n, (fmt, ext) in FP_FORMATS.items():
        mem = {"h": 1, "s": 2, "d": 3}[n]
        mem_name = {"h": "h", "s": "w", "d": "d"}[n]
        yield f"fl{mem_name}", "fload", LOADFP | mem << 12, "zfhmin" if n == "h" else ext
        yield f"fs{mem_name}", "fstore", STOREFP | mem << 12, "zfhmin" if n == "h" else ext
        for i, name in enumerate(("fmadd", "fmsub", "fnmsub", "fnmadd")):
            yield f"{name}.{n}", "fr4", 0x43 + 4 * i | fmt << 25, ext
        for f5, name in enumerate(("fadd", "fsub", "fmul", "fdiv")):
            yield f"{name}.{n}", "frrm", OPFP | fmt << 25 | f5 << 27, ext
        yield f"fsqrt.{n}", "fr1rm", OPFP | fmt << 25 | 0x0B << 27, ext
        for f3, name in enumerate(("fsgnj", "fsgnjn", "fsgnjx")):
            yield f"{name}.{n}", "fr", OPFP | f3 << 12 | fmt << 25 | 4 << 27, ext
        for f3, name in enumerate(("fmin", "fmax", "fminm", "fmaxm")):
            yield f"{name}.{n}", "fr", OPFP | f3 << 12 | fmt << 25 | 5 << 27, \
                ext if f3 < 2 else "zfa"
        for f3, name in enumerate(("fle", "flt", "feq")):
            yield f"{name}.{n}", "fcmp", OPFP | f3 << 12 | fmt << 25 | 0x14 << 27, ext
        for f3, name in (4, "fleq"), (5, "fltq"):
            yield f"{name}.{n}", "fcmp", OPFP | f3 << 12 | fmt << 25 | 0x14 << 27, "zfa"
        for i, name in enumerate(("w", "wu", "l", "lu")):
            yield f"fcvt.{name}.{n}", "ftoi", OPFP | i << 20 | fmt << 25 | 0x18 << 27, ext
            yield f"fcvt.{n}.{name}", "itof", OPFP | i << 20 | fmt << 25 | 0x1A << 27, ext
        yield f"fclass.{n}", "fx", OPFP | 1 << 12 | fmt << 25 | 0x1C << 27, ext
        min_ext = "zfhmin" if n == "h" else ext
        yield f"fmv.x.{mem_name}", "fx", OPFP | fmt << 25 | 0x1C << 27, min_ext
        yield f"fmv.{mem_name}.x", "xf", OPFP | fmt << 25 | 0x1E << 27, min_ext
        yield f"fli.{n}", "fli", OPFP | 1 << 20 | fmt << 25 | 0x1E << 27, "zfa"
        yield f"fround.{n}", "fr1rm", OPFP | 4 << 20 | fmt << 25 | 8 << 27, "zfa"
        yield f"froundnx.{n}", "fr1rm", OPFP | 5 << 20 | fmt << 25 | 8 << 27, "zfa"
        for m, (other, _) in FP_FORMATS.items():
            if m != n:
                yield f"fcvt.{n}.{m}", "fr1rm", OPFP | other << 20 | fmt << 25 | 8 << 27, \
                    "zfhmin" if "h" in (n, m) else "d"
    yield "fcvtmod.w.d", "ftoi_rtz", OPFP | 1 << 12 | 8 << 20 | 1 << 25 | 0x18 << 27, "zfa"


def _bit():
    yield "add.uw", "r", _r(OP32, 0, 4), "zba"
    yield "slli.uw", "sh6", _r(OPIMM32, 1, 4), "zba"
    for f3, n in (2, 1), (4, 2), (6, 3):
        yield f"sh{n}add", "r", _r(OP, f3, 0x10), "zba"
        yield f"sh{n}add.uw", "r", _r(OP32, f3, 0x10), "zba"
    yield "andn", "r", _r(OP, 7, 0x20), "zbb"
    yield "orn", "r", _r(OP, 6, 0x20), "zbb"
    yield "xnor", "r", _r(OP, 4, 0x20), "zbb"
    for i, name in (0, "clz"), (1, "ctz"), (2, "cpop"):
        yield name, "r1", _unary(OPIMM, 1, 0x600 | i), "zbb"
        yield name + "w", "r1", _unary(OPIMM32, 1, 0x600 | i), "zbb"
    yield "sext.b", "r1", _unary(OPIMM, 1, 0x604), "zbb"
    yield "sext.h", "r1", _unary(OPIMM, 1, 0x605), "zbb"
    yield "zext.h", "r1", _unary(OP32, 4, 0x080), "zbb"
    for f3, name in (4, "min"), (5, "minu"), (6, "max"), (7, "maxu"):
        yield name, "r", _r(OP, f3, 5), "zbb"
    yield "rol", "r", _r(OP, 1, 0x30), "zbb"
    yield "ror", "r", _r(OP, 5, 0x30), "zbb"
    yield "rolw", "r", _r(OP32, 1, 0x30), "zbb"
    yield "rorw", "r", _r(OP32, 5, 0x30), "zbb"
    yield "rori", "sh6", _r(OPIMM, 5, 0x30), "zbb"
    yield "roriw", "sh5", _r(OPIMM32, 5, 0x30), "zbb"
    yield "orc.b", "r1", _unary(OPIMM, 5, 0x287), "zbb"
    yield "rev8", "r1", _unary(OPIMM, 5, 0x6B8), "zbb"
    for f3, name in (1, "clmul"), (2, "clmulr"), (3, "clmulh"):
        yield name, "r", _r(OP, f3, 5), "zbc"
    for f7, f3, name in (0x24, 1, "bclr"), (0x24, 5, "bext"), (0x34, 1, "binv"), (0x14, 1, "bset"):
        yield name, "r", _r(OP, f3, f7), "zbs"
        yield name + "i", "sh6", _r(OPIMM, f3, f7), "zbs"
    yield "czero.eqz", "r", _r(OP, 5, 7), "zicond"
    yield "czero.nez", "r", _r(OP, 7, 7), "zicond"


def _crypto():
    yield "pack", "r", _r(OP, 4, 4), "zbkb"
    yield "packh", "r", _r(OP, 7, 4), "zbkb"
    yield "packw", "r", _r(OP32, 4, 4), "zbkb"
    yield "brev8", "r1", _unary(OPIMM, 5, 0x687), "zbkb"
    yield "xperm4", "r", _r(OP, 2, 0x14), "zbkx"
    yield "xperm8", "r", _r(OP, 4, 0x14), "zbkx"
    for f7, name, ext in ((0x1D, "aes64ds", "zknd"), (0x1F, "aes64dsm", "zknd"),
                          (0x19, "aes64es", "zkne"), (0x1B, "aes64esm", "zkne"),
                          (0x3F, "aes64ks2", "zkne")):
        yield name, "r", _r(OP, 0, f7), ext
    yield "aes64im", "r1", _unary(OPIMM, 1, 0x300), "zknd"
    yield "aes64ks1i", "rnum", _unary(OPIMM, 1, 0x310), "zkne"
    for i, name in enumerate(("sha256sum0", "sha256sum1", "sha256sig0", "sha256sig1",
                              "sha512sum0", "sha512sum1", "sha512sig0", "sha512sig1")):
        yield name, "r1", _unary(OPIMM, 1, 0x100 | i), "zknh"
    yield "sm3p0", "r1", _unary(OPIMM, 1, 0x108), "zksh"
    yield "sm3p1", "r1", _unary(OPIMM, 1, 0x109), "zksh"
    yield "sm4ed", "bs", _r(OP, 0, 0x18), "zksed"
    yield "sm4ks", "bs", _r(OP, 0, 0x1A), "zksed"


def _other():
    yield "wrs.nto", "none", 0x00D00073, "zawrs"
    yield "wrs.sto", "none", 0x01D00073, "zawrs"
    for i, (name, ext) in enumerate((("cbo.inval", "zicbom"), ("cbo.clean", "zicbom"),
                                     ("cbo.flush", "zicbom"), ("", ""), ("cbo.zero", "zicboz"))):
        if name:
            yield name, "cbo", 0x200F | i << 20, ext
    for i, name in (0, "prefetch.i"), (1, "prefetch.r"), (3, "prefetch.w"):
        yield name, "prefetch", 0x6013 | i << 20, "zicbop"
    yield "pause", "none", 0x0100000F, "zihintpause"
    for i, name in enumerate(("ntl.p1", "ntl.pall", "ntl.s1", "ntl.all")):
        yield name, "none", 0x33 | (i + 2) << 20, "zihintntl"
    for n in range(32):
        yield f"mop.r.{n}", "r1", (0x81C04073 | (n & 3) << 20 | (n >> 2 & 3) << 26 |
                                   (n >> 4) << 30), "zimop"
    for n in range(8):
        yield f"mop.rr.{n}", "r", 0x82004073 | (n & 3) << 26 | (n >> 2) << 30, "zimop"


def _compressed():
    yield "c.addi4spn", "ciw", 0x0000, "c"
    yield "c.fld", "cfld", 0x2000, "c"
    yield "c.lw", "clw", 0x4000, "c"
    yield "c.ld", "cld", 0x6000, "c"
    yield "c.lbu", "clb", 0x8000, "zcb"
    yield "c.lhu", "clh", 0x8400, "zcb"
    yield "c.lh", "clh", 0x8440, "zcb"
    yield "c.sb", "csb", 0x8800, "zcb"
    yield "c.sh", "csh", 0x8C00, "zcb"
    yield "c.fsd", "cfsd", 0xA000, "c"
    yield "c.sw", "csw", 0xC000, "c"
    yield "c.sd", "csd", 0xE000, "c"
    yield "c.nop", "none16", 0x0001, "c"
    yield "c.addi", "ci", 0x0001, "c"
    yield "c.addiw", "ci", 0x2001, "c"
    yield "c.li", "ci_rd", 0x4001, "c"
    yield "c.addi16sp", "ci16", 0x6101, "c"
    yield "c.lui", "clui", 0x6001, "c"
    yield "c.srli", "cbsh", 0x8001, "c"
    yield "c.srai", "cbsh", 0x8401, "c"
    yield "c.andi", "cbi", 0x8801, "c"
    for match, name in ((0x8C01, "c.sub"), (0x8C21, "c.xor"), (0x8C41, "c.or"), (0x8C61, "c.and"),
                        (0x9C01, "c.subw"), (0x9C21, "c.addw")):
        yield name, "ca", match, "c"
    yield "c.mul", "ca", 0x9C41, "zcb"
    for i, name in enumerate(("c.zext.b", "c.sext.b", "c.zext.h", "c.sext.h", "c.zext.w",
                              "c.not")):
        yield name, "cu", 0x9C61 | i << 2, "zcb"
    yield "c.j", "cj", 0xA001, "c"
    yield "c.beqz", "cb", 0xC001, "c"
    yield "c.bnez", "cb", 0xE001, "c"
    yield "c.slli", "cslli", 0x0002, "c"
    yield "c.fldsp", "cfldsp", 0x2002, "c"
    yield "c.lwsp", "clwsp", 0x4002, "c"
    yield "c.ldsp", "cldsp", 0x6002, "c"
    yield "c.jr", "cjr", 0x8002, "c"
    yield "c.mv", "cr", 0x8002, "c"
    yield "c.ebreak", "none16", 0x9002, "c"
    yield "c.jalr", "cjr", 0x9002, "c"
    yield "c.add", "cr", 0x9002, "c"
    yield "c.fsdsp", "cfsdsp", 0xA002, "c"
    yield "c.swsp", "cswsp", 0xC002, "c"
    yield "c.sdsp", "csdsp", 0xE002, "c"
    for n in range(1, 16, 2):
        yield f"c.mop.{n}", "none16", 0x6081 | (n >> 1) << 8, "zcmop"


def _table():
    rows = {}
    for part in (_rv64i, _m, _a, _fp, _bit, _crypto, _other, _compressed):
        for row in part():
            insn = Insn(*row)
            assert insn.name not in rows, insn.name
            rows[insn.name] = insn
    return rows


INSNS = _table()


def _bits(value, *places):
    """Scatters bits of value: places are (from_high, from_low, to_low)."""
    out = 0
    for high, low, to in places:
        out |= (value >> low & ((1 << (high - low + 1)) - 1)) << to
    return out


def _sp_load8(imm):
    return _bits(imm, (5, 5, 12), (4, 3, 5), (8, 6, 2))


def _sp_load4(imm):
    return _bits(imm, (5, 5, 12), (4, 2, 4), (7, 6, 2))


def _ci(imm):
    return _bits(imm, (5, 5, 12), (4, 0, 2))


def _cl8(imm):
    return _bits(imm, (5, 3, 10), (7, 6, 5))


def _cl4(imm):
    return _bits(imm, (5, 3, 10), (2, 2, 6), (6, 6, 5))


def _p(reg):
    """A register of the eight that a compressed instruction can name."""
    assert 8 <= reg <= 15, reg
    return reg - 8


# Each takes the operands in assembler order and returns the variable bits.
FORMATS = {
    "none": lambda: 0,
    "none16": lambda: 0,
    "r": lambda rd, rs1, rs2: rd << 7 | rs1 << 15 | rs2 << 20,
    "r1": lambda rd, rs1: rd << 7 | rs1 << 15,
    "i": lambda rd, rs1, imm: rd << 7 | rs1 << 15 | (imm & 0xFFF) << 20,
    "sh6": lambda rd, rs1, n: rd << 7 | rs1 << 15 | n << 20,
    "sh5": lambda rd, rs1, n: rd << 7 | rs1 << 15 | n << 20,
    "rnum": lambda rd, rs1, n: rd << 7 | rs1 << 15 | n << 20,
    "bs": lambda rd, rs1, rs2, bs: rd << 7 | rs1 << 15 | rs2 << 20 | bs << 30,
    "u": lambda rd, imm: rd << 7 | (imm & 0xFFFFF) << 12,
    "j": lambda rd, off: rd << 7 | _bits(off, (20, 20, 31), (10, 1, 21), (11, 11, 20),
                                         (19, 12, 12)),
    "b": lambda rs1, rs2, off: rs1 << 15 | rs2 << 20 | _bits(off, (12, 12, 31), (10, 5, 25),
                                                             (4, 1, 8), (11, 11, 7)),
    "load": lambda rd, rs1, imm: rd << 7 | rs1 << 15 | (imm & 0xFFF) << 20,
    "fload": lambda rd, rs1, imm: rd << 7 | rs1 << 15 | (imm & 0xFFF) << 20,
    "store": lambda rs2, rs1, imm: (rs1 << 15 | rs2 << 20 |
                                    _bits(imm, (11, 5, 25), (4, 0, 7))),
    "fstore": lambda rs2, rs1, imm: (rs1 << 15 | rs2 << 20 |
                                     _bits(imm, (11, 5, 25), (4, 0, 7))),
    "fence": lambda pred, succ: pred << 24 | succ << 20,
    "csr": lambda rd, csr, rs1: rd << 7 | csr << 20 | rs1 << 15,
    "csri": lambda rd, csr, imm: rd << 7 | csr << 20 | imm << 15,
    "amo": lambda rd, rs2, rs1, aqrl=0: rd << 7 | rs1 << 15 | rs2 << 20 | aqrl << 25,
    "lr": lambda rd, rs1, aqrl=0: rd << 7 | rs1 << 15 | aqrl << 25,
    "fr": lambda rd, rs1, rs2: rd << 7 | rs1 << 15 | rs2 << 20,
    "frrm": lambda rd, rs1, rs2, rm=7: rd << 7 | rs1 << 15 | rs2 << 20 | rm << 12,
    "fr1rm": lambda rd, rs1, rm=7: rd << 7 | rs1 << 15 | rm << 12,
    "fr4": lambda rd, rs1, rs2, rs3, rm=7: (rd << 7 | rs1 << 15 | rs2 << 20 | rs3 << 27 |
                                            rm << 12),
    "fcmp": lambda rd, rs1, rs2: rd << 7 | rs1 << 15 | rs2 << 20,
    "ftoi": lambda rd, rs1, rm=7: rd << 7 | rs1 << 15 | rm << 12,
    "ftoi_rtz": lambda rd, rs1: rd << 7 | rs1 << 15,
    "itof": lambda rd, rs1, rm=7: rd << 7 | rs1 << 15 | rm << 12,
    "fx": lambda rd, rs1: rd << 7 | rs1 << 15,
    "xf": lambda rd, rs1: rd << 7 | rs1 << 15,
    "fli": lambda rd, n: rd << 7 | n << 15,
    "cbo": lambda rs1: rs1 << 15,
    "prefetch": lambda rs1, imm: rs1 << 15 | _bits(imm, (11, 5, 25)),
    # 16 bits
    "ciw": lambda rd, imm: _p(rd) << 2 | _bits(imm, (5, 4, 11), (9, 6, 7), (2, 2, 6), (3, 3, 5)),
    "cfld": lambda rd, rs1, imm: _p(rd) << 2 | _p(rs1) << 7 | _cl8(imm),
    "cld": lambda rd, rs1, imm: _p(rd) << 2 | _p(rs1) << 7 | _cl8(imm),
    "clw": lambda rd, rs1, imm: _p(rd) << 2 | _p(rs1) << 7 | _cl4(imm),
    "cfsd": lambda rs2, rs1, imm: _p(rs2) << 2 | _p(rs1) << 7 | _cl8(imm),
    "csd": lambda rs2, rs1, imm: _p(rs2) << 2 | _p(rs1) << 7 | _cl8(imm),
    "csw": lambda rs2, rs1, imm: _p(rs2) << 2 | _p(rs1) << 7 | _cl4(imm),
    "clb": lambda rd, rs1, imm: _p(rd) << 2 | _p(rs1) << 7 | _bits(imm, (0, 0, 6), (1, 1, 5)),
    "clh": lambda rd, rs1, imm: _p(rd) << 2 | _p(rs1) << 7 | _bits(imm, (1, 1, 5)),
    "csb": lambda rs2, rs1, imm: _p(rs2) << 2 | _p(rs1) << 7 | _bits(imm, (0, 0, 6), (1, 1, 5)),
    "csh": lambda rs2, rs1, imm: _p(rs2) << 2 | _p(rs1) << 7 | _bits(imm, (1, 1, 5)),
    "ci": lambda rd, imm: rd << 7 | _ci(imm),
    "ci_rd": lambda rd, imm: rd << 7 | _ci(imm),
    "ci16": lambda imm: _bits(imm, (9, 9, 12), (4, 4, 6), (6, 6, 5), (8, 7, 3), (5, 5, 2)),
    "clui": lambda rd, imm: rd << 7 | _ci(imm),
    "cbsh": lambda rd, n: _p(rd) << 7 | _ci(n),
    "cbi": lambda rd, imm: _p(rd) << 7 | _ci(imm),
    "ca": lambda rd, rs2: _p(rd) << 7 | _p(rs2) << 2,
    "cu": lambda rd: _p(rd) << 7,
    "cj": lambda off: _bits(off, (11, 11, 12), (4, 4, 11), (9, 8, 9), (10, 10, 8), (6, 6, 7),
                            (7, 7, 6), (3, 1, 3), (5, 5, 2)),
    "cb": lambda rs1, off: _p(rs1) << 7 | _bits(off, (8, 8, 12), (4, 3, 10), (7, 6, 5),
                                                (2, 1, 3), (5, 5, 2)),
    "cslli": lambda rd, n: rd << 7 | _ci(n),
    "cfldsp": lambda rd, imm: rd << 7 | _sp_load8(imm),
    "cldsp": lambda rd, imm: rd << 7 | _sp_load8(imm),
    "clwsp": lambda rd, imm: rd << 7 | _sp_load4(imm),
    "cfsdsp": lambda rs2, imm: rs2 << 2 | _bits(imm, (5, 3, 10), (8, 6, 7)),
    "csdsp": lambda rs2, imm: rs2 << 2 | _bits(imm, (5, 3, 10), (8, 6, 7)),
    "cswsp": lambda rs2, imm: rs2 << 2 | _bits(imm, (5, 2, 9), (7, 6, 7)),
    "cjr": lambda rs1: rs1 << 7,
    "cr": lambda rd, rs2: rd << 7 | rs2 << 2,
}


def encode(name, *operands):
    """The instruction as an integer of insn_size(name) bytes; operands in assembler order
    (registers as numbers, an offset in bytes, amo: rd, rs2, rs1[, aqrl]; store: rs2, rs1, imm)."""
    insn = INSNS[name]
    return insn.match | FORMATS[insn.format](*operands)


def insn_size(name):
    return 2 if INSNS[name].match & 3 != 3 else 4
