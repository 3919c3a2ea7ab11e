"""Bare-metal programs on the board virt: what CSRs hold and which bits of them can be written, and
what traps say, as QEMU has it.  Differences that are meant are listed here, with the reason.
"""

import os
import subprocess

import pytest

from conftest import run

HERE = os.path.dirname(os.path.abspath(__file__))
CPUS = ["rv64,h=off", "rva22s64", "sifive-u54"]

# CSR: (column, what is there instead of QEMU's), columns: 1 value, 2 after ones, 3 after zero.
ONES = (1 << 64) - 1
SPECIFIED = {
    0x100: (2, 0x80000002000C6122),     # QEMU lets UXL be 3, which is reserved
    0x300: (2, 0x8000000A007E79AA),
    0x141: (2, ONES - 1),               # bit 0 of sepc and mepc is always 0
    0x341: (2, ONES - 1),
    0x302: (2, 0xB3FF),                 # no bits of exceptions that can't be (hypervisor, M's ecall)
    0x303: (2, 0x222),                  # no bits of interrupts that can't be
    0x304: (2, 0xAAA),
    0x344: (2, 0x222),
}
# Time goes on; and where the program is depends on who has more registers.
CHANGING = {0xB00, 0xB02, 0xC00, 0xC01, 0xC02, 0x341, 0x343}


@pytest.fixture(scope="module")
def programs(cross_gcc, tmp_path_factory):
    """Makes a program of a source in this folder."""
    def build(name):
        out = tmp_path_factory.mktemp("bare") / name
        subprocess.run([cross_gcc, "-nostdlib", "-static", "-march=rv64gc_zicsr_zifencei",
                        "-mcmodel=medany", "-Wl,-N,-Ttext=0x80000000,--no-relax,--build-id=none",
                        "-Wl,--no-warn-rwx-segments", "-o", out,
                        os.path.join(HERE, name + ".S")], check=True)
        return out
    return build


def boot(system, cpu, program):
    done = run([system, "-machine", "virt", "-cpu", cpu, "-bios", "none", "-kernel", program,
                "-display", "none", "-serial", "stdio", "-monitor", "none"])
    assert done.status == 0, done
    return done.text.split("\n")


def csr_table(lines):
    rows = [[int(word, 16) for word in line.split()] for line in lines if line.strip()]
    return {row[0]: row for row in rows}


@pytest.mark.parametrize("cpu", CPUS)
def test_csrs(nandu_system, qemu_system, programs, cpu):
    program = programs("riscv_csrs")
    ours = csr_table(boot(nandu_system, cpu, program))
    theirs = csr_table(boot(qemu_system, cpu, program))
    assert sorted(ours) == sorted(theirs)
    for number, row in theirs.items():
        if number in SPECIFIED:
            column, value = SPECIFIED[number]
            row[column] = value
        elif 0x3B0 <= number <= 0x3BF:
            row[2] &= (1 << 54) - 1         # addresses have 56 bits
        elif 0x333 <= number <= 0x33F:
            row[2] = 0                      # events of counters that aren't there
        elif number == 0x30A:
            row[2] &= ~(1 << 60)            # QEMU has a bit of Smcdeleg always
        if number == 0x344:                 # whether timers have run off: not said for a reset
            row[1:] = [word & ~0xA0 for word in row[1:]]
            ours[number][1:] = [word & ~0xA0 for word in ours[number][1:]]
        if number in CHANGING:
            continue
        assert [f"{w:x}" for w in ours[number]] == [f"{w:x}" for w in row], f"{number:03x}"


def test_traps(nandu_system, qemu_system, programs):
    program = programs("riscv_traps")
    ours = boot(nandu_system, "rv64,h=off", program)
    assert len(ours) > 90
    assert ours == boot(qemu_system, "rv64,h=off", program)
