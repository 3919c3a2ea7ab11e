"""A small RISC-V assembler that makes static ELF programs, for generated tests.

No tool chain is needed, so that the same programs run on every machine, and no assembler has to know
the newest extensions.
"""

import struct

from rv_encodings import INSNS, encode, insn_size

ZERO, RA, SP, GP, TP = 0, 1, 2, 3, 4
T0, T1, T2, S0, S1 = 5, 6, 7, 8, 9
A0, A1, A2, A3, A4, A5, A6, A7 = range(10, 18)
S2, S3, S4, S5, S6, S7, S8, S9, S10, S11 = range(18, 28)
T3, T4, T5, T6 = range(28, 32)

CODE = 0x100000         # guest addresses of the segments
DATA = 0x1000000
OUT = 0x2000000
SCRATCH = 0x6000000     # read-write, the pages around it are not mapped
SCRATCH_SIZE = 0x4000

CSR_FFLAGS, CSR_FRM, CSR_FCSR = 1, 2, 3
CSR_CYCLE, CSR_TIME, CSR_INSTRET = 0xC00, 0xC01, 0xC02

SYS_WRITE, SYS_EXIT, SYS_SIGACTION = 64, 93, 134
SYS_MPROTECT, SYS_SIGALTSTACK, SYS_FLUSH_ICACHE = 226, 132, 259

MASK64 = (1 << 64) - 1


def sext(value, bits):
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> (bits - 1) else value


class Asm:
    """Code at address CODE, data at DATA; branches to labels are filled in by elf()."""

    def __init__(self):
        self.code = bytearray()
        self.data = bytearray()
        self.labels = {}
        self.fixups = []        # (offset, name, operands before the target, label)
        self.out_size = 0       # bytes that the program writes at OUT
        self.extra_size = 0     # more memory behind them

    @property
    def pc(self):
        return CODE + len(self.code)

    def i(self, name, *operands):
        """Append one instruction; returns its size."""
        size = insn_size(name)
        self.code += encode(name, *operands).to_bytes(size, "little")
        return size

    def raw(self, word, size=4):
        self.code += word.to_bytes(size, "little")

    def label(self, name):
        assert name not in self.labels, name
        self.labels[name] = self.pc

    def new_label(self):
        return f".{len(self.code)}.{len(self.fixups)}.{len(self.labels)}"

    def to(self, name, *operands):
        """A branch or jump whose last operand is a label."""
        self.fixups.append((len(self.code), name, operands[:-1], operands[-1]))
        self.code += bytes(insn_size(name))

    def align(self, size):
        while self.pc % size:
            self.i("c.nop")

    def li(self, rd, value):
        value = sext(value, 64)
        if -2048 <= value < 2048:
            self.i("addi", rd, 0, value)
        elif -(1 << 31) <= value < 1 << 31:
            low = sext(value, 12)
            self.i("lui", rd, (value - low) >> 12)
            if low or sext(value - low, 32) != value - low:
                self.i("addiw", rd, rd, low)
        else:
            low = sext(value, 12)
            high = sext((value - low) >> 12, 52)
            shift = 12
            while not high & 1:
                high >>= 1
                shift += 1
            self.li(rd, high)
            self.i("slli", rd, rd, shift)
            if low:
                self.i("addi", rd, rd, low)

    def words(self, values):
        """Append 64-bit words to the data; returns their address."""
        while len(self.data) % 8:
            self.data.append(0)
        address = DATA + len(self.data)
        self.data += struct.pack(f"<{len(values)}Q", *[v & MASK64 for v in values])
        return address

    def syscall(self, number, *args):
        for n, arg in enumerate(args):
            if arg is not None:
                self.li(A0 + n, arg)
        self.li(A7, number)
        self.i("ecall")

    def exit(self, status=0):
        self.syscall(SYS_EXIT, status)

    def write_out(self):
        """write(1, OUT, tp - OUT), as often as it takes, then exit(0)."""
        again, done, bad = self.new_label() + "w", self.new_label() + "d", self.new_label() + "b"
        self.i("addi", S1, TP, 0)
        self.li(S0, OUT)
        self.label(again)
        self.i("sub", A2, S1, S0)
        self.to("beq", A2, 0, done)
        self.i("addi", A1, S0, 0)
        self.syscall(SYS_WRITE, 1)
        self.to("bge", 0, A0, bad)
        self.i("add", S0, S0, A0)
        self.to("jal", 0, again)
        self.label(bad)
        self.exit(99)
        self.label(done)
        self.exit(0)

    def resolve(self):
        for offset, name, operands, label in self.fixups:
            distance = self.labels[label] - (CODE + offset)
            reach = {"j": 20, "b": 12, "cj": 11, "cb": 8}[INSNS[name].format]
            assert -(1 << reach) <= distance < 1 << reach, (name, label, distance)
            size = insn_size(name)
            self.code[offset:offset + size] = \
                encode(name, *operands, distance).to_bytes(size, "little")
        self.fixups = []

    def elf(self, entry=CODE):
        """The program as a file: bytes."""
        self.resolve()
        segments = [(CODE, bytes(self.code), len(self.code), 5),
                    (DATA, bytes(self.data), len(self.data), 6),
                    (OUT, b"", self.out_size + self.extra_size + 0x2000, 6),
                    (SCRATCH, b"", SCRATCH_SIZE, 6)]
        segments = [s for s in segments if s[2]]
        return make_elf(segments, entry)


def make_elf(segments, entry, machine=243, elf_class=2, elf_type=2, extra_phdrs=()):
    """segments: (address, bytes, size in memory, flags)."""
    count = len(segments) + len(extra_phdrs)
    offset = (64 + 56 * count + 4095) & -4096
    body = bytearray()
    phdrs = b"".join(extra_phdrs)
    for address, data, mem_size, flags in segments:
        phdrs += struct.pack("<IIQQQQQQ", 1, flags, offset + len(body), address, address, len(data),
                             mem_size, 4096)
        body += data + bytes(-len(data) % 4096)
    header = b"\x7fELF" + bytes([elf_class, 1, 1, 0]) + bytes(8)
    header += struct.pack("<HHIQQQIHHHHHH", elf_type, machine, 1, entry, 64, 0, 5, 64, 56, count, 64,
                          0, 0)
    head = header + phdrs
    return head + bytes(offset - len(head)) + bytes(body)
