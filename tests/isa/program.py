"""Programs that run an instruction on many operands and print all results, in binary.

A program is a list of segments: a loop over the rows of an operand table, or straight-line code (one
row).  Each stores 64-bit fields; the names of the fields and the operands of the rows turn the place
of a difference in the output into words.
"""

import struct

from rvasm import Asm, GP, OUT, RA, SYS_SIGACTION, TP

SIGILL, SIGTRAP, SIGBUS, SIGSEGV = 4, 5, 7, 11
SA_SIGINFO, SA_ONSTACK, SA_NODEFER = 4, 0x08000000, 0x40000000
UC_PC = 176             # offset of mcontext's gregs in struct ucontext: pc, x1 .. x31
UC_FP = 432             # f0 .. f31, fcsr


class Segment:
    def __init__(self, title, rows):
        self.title = title
        self.rows = rows
        self.fields = []


class Program(Asm):
    """Registers kept: gp (row of the table), ra (its end), tp (where the next field goes)."""

    def __init__(self):
        super().__init__()
        self.segments = []
        self.offset = 0         # not yet added to tp
        self.li(TP, OUT)
        self.loop_label = None
        self.columns = 0

    # ---- Segments ----

    def begin(self, title, rows=None, columns=None):
        """Code up to end() runs once for each row; it reads operands with load()."""
        self.segments.append(Segment(title, rows or [()]))
        self.loop_label = None
        if rows:
            self.columns = columns or len(rows[0])
            assert all(len(r) == self.columns for r in rows)
            table = self.words([v for row in rows for v in row])
            self.li(GP, table)
            self.li(RA, table + len(rows) * self.columns * 8)
            self.loop_label = f"segment{len(self.segments)}"
            self.label(self.loop_label)

    def end(self):
        self.flush()
        segment = self.segments[-1]
        self.out_size += len(segment.rows) * len(segment.fields) * 8
        if self.loop_label:
            done = self.loop_label + "done"
            self.i("addi", GP, GP, 8 * self.columns)
            self.to("beq", GP, RA, done)
            self.to("jal", 0, self.loop_label)
            self.label(done)

    def load(self, reg, column):
        self.i("ld", reg, GP, 8 * column)

    def fload(self, reg, column):
        self.i("fld", reg, GP, 8 * column)

    def _place(self, name):
        self.segments[-1].fields.append(name)
        if self.offset == 2040:
            self.flush()
        self.offset += 8
        return self.offset - 8

    def store(self, reg, name):
        self.i("sd", reg, TP, self._place(name))

    def fstore(self, reg, name):
        self.i("fsd", reg, TP, self._place(name))

    def flush(self):
        if self.offset:
            self.i("addi", TP, TP, self.offset)
            self.offset = 0

    # ---- Signals ----

    def install_handler(self, signals=(SIGILL, SIGTRAP, SIGBUS, SIGSEGV), handler="handler",
                        flags=0):
        """[handler] is a label; needs a stack in sp."""
        self.fixup_handler = handler
        action = self.words([0, SA_SIGINFO | flags, 0])
        self.handler_action = action
        for number in signals:
            self.syscall(SYS_SIGACTION, number, action, 0, 8)

    def handler(self, registers=True, fp=False):
        """Emits the handler: stores signal, code, address, pc, registers; goes on behind the
        instruction, or at the address in s11 if the fetch itself failed (pc == si_addr)."""
        self.label("handler")
        names = ["signal", "si_code", "si_addr", "pc"]
        self.i("ld", 29, 12, UC_PC + 8 * TP)       # tp of the interrupted code
        self.i("lw", 28, 11, 8)
        self.i("ld", 30, 11, 16)
        self.i("ld", 31, 12, UC_PC)
        for n, reg in enumerate((10, 28, 30, 31)):
            self.i("sd", reg, 29, 8 * n)
        place = 32
        if registers:
            for reg in range(1, 32):
                if reg != TP:
                    self.i("ld", 28, 12, UC_PC + 8 * reg)
                    self.i("sd", 28, 29, place)
                    place += 8
                    names.append(f"x{reg}")
        if fp:
            for reg in range(33):
                self.i("ld" if reg < 32 else "lwu", 28, 12, UC_FP + 8 * reg)
                self.i("sd", 28, 29, place)
                place += 8
                names.append(f"f{reg}" if reg < 32 else "fcsr")
        self.i("addi", 29, 29, place)
        self.i("sd", 29, 12, UC_PC + 8 * TP)
        fetch, short = "handler_fetch", "handler_short"
        self.to("beq", 30, 31, fetch)
        self.label("handler_step")
        self.i("lhu", 28, 31, 0)
        self.i("andi", 28, 28, 3)
        self.i("addi", 31, 31, 2)
        self.i("addi", 28, 28, -3)
        self.to("bne", 28, 0, short)
        self.i("addi", 31, 31, 2)
        self.label(short)
        self.i("sd", 31, 12, UC_PC)
        self.i("jalr", 0, RA, 0)
        self.label(fetch)
        # si_addr is pc for SIGILL and SIGTRAP too: step over those.
        self.i("addi", 28, 0, SIGSEGV)
        self.to("bne", 10, 28, "handler_step")
        self.i("ld", 31, 12, UC_PC + 8 * 27)
        self.i("sd", 31, 12, UC_PC)
        self.i("jalr", 0, RA, 0)
        self.handler_fields = names

    def fault_fields(self, name):
        """The fields that the handler stores for a fault that happens here."""
        assert self.offset == 0
        self.segments[-1].fields += [f"{name}: {f}" for f in self.handler_fields]

    # ---- Results ----

    def finish(self):
        self.write_out()
        if hasattr(self, "handler_action"):
            struct.pack_into("<Q", self.data, self.handler_action - 0x1000000,
                             self.labels[self.fixup_handler])
        return self

    def describe(self, index):
        """Words for the 64-bit word [index] of the output."""
        for segment in self.segments:
            size = len(segment.rows) * len(segment.fields)
            if index < size:
                row = segment.rows[index // len(segment.fields)]
                operands = " ".join(f"{v & (1 << 64) - 1:#x}" for v in row)
                return f"{segment.title}: {segment.fields[index % len(segment.fields)]}" + \
                    (f" ({operands})" if operands else "")
            index -= size
        return "behind the end"

    def expected_size(self):
        return sum(8 * len(s.rows) * len(s.fields) for s in self.segments)

    def differences(self, expected, got, limit=12):
        """Lines of text, empty if the outputs are the same."""
        if expected == got:
            return []
        lines = []
        if len(expected) != len(got):
            lines.append(f"{len(got)} bytes of output instead of {len(expected)}")
        total = 0
        for n in range(min(len(expected), len(got)) // 8):
            a, b = expected[8 * n:8 * n + 8], got[8 * n:8 * n + 8]
            if a != b:
                total += 1
                if total <= limit:
                    a, b = (struct.unpack("<Q", v)[0] for v in (a, b))
                    lines.append(f"{self.describe(n)}: expected {a:#x}, got {b:#x}")
        if total > limit:
            lines.append(f"... {total} differences in all")
        return lines
