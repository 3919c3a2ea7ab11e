"""Each instruction on many operands: the interpreter and the translator against QEMU's results.

The results of QEMU 10 are kept as checksums (tests/isa/golden.txt), so that the test is whole where
QEMU isn't installed; where it is, a difference is shown in full.
"""

import hashlib
import json
import os
import struct
import subprocess
import sys

import pytest

from conftest import TOP

sys.path.insert(0, os.path.join(TOP, "tests", "isa"))

import features                                             # noqa: E402
import isa_code                                             # noqa: E402
import isa_flow                                             # noqa: E402
import isa_signals                                          # noqa: E402
import runner                                               # noqa: E402
from isa_memory import amocas_of_x0                         # noqa: E402
from rv_encodings import INSNS                              # noqa: E402
from suite import ELSEWHERE, all_tests, read_golden         # noqa: E402

TESTS = all_tests()
GOLDEN = read_golden()
MODES = ["interp", "tier1", "far"]


def _digest(data):
    return hashlib.sha256(data).hexdigest()


@pytest.fixture(scope="module")
def programs():
    """The programs, made when they are first needed: name -> Program."""
    made = {}

    def get(name):
        if name not in made:
            made.clear()
            made[name] = TESTS[name]()
        return made[name]

    return get


@pytest.mark.parametrize("name,mode", [(n, m) for n in TESTS for m in MODES])
def test_instruction(nandu, programs, name, mode):
    program = programs(name)
    got = runner.run_program(runner.nandu(*runner.MODES[mode]), program)
    size, digest = GOLDEN[name].split()[1:]
    if got.status == 0 and len(got.output) == int(size) and _digest(got.output) == digest:
        return
    lines = [f"{name}, {mode}: {got.how_it_ended()}, {len(got.output)} bytes of {size}"]
    oracle = runner.qemu()
    if oracle:
        right = runner.run_program(oracle, program)
        if _digest(right.output) != digest:
            lines.append("QEMU's results differ from tests/isa/golden.txt: the test was changed, or "
                         "this is another QEMU; see tests/isa/check.py --golden")
        lines += program.differences(right.output, got.output, limit=30)
    else:
        lines.append("(install qemu-user-static to see what differs)")
    pytest.fail("\n".join(lines), pytrace=False)


# Modes in which what happens between blocks is different, for the tests in which much does.
STRESS = {
    "flush": ["-dbt", "flush=3"],
    "poll": ["-dbt", "poll=always"],
    "one-insn": ["-one-insn-per-tb"],
    "no-chain": ["-dbt", "no-chain=on"],
    "lockstep": ["-dbt", "lockstep=on"],
    "small-cache": ["-dbt", "cache-size=1M"],
    "max-insns": ["-dbt", "max-insns=3"],
    "base": ["-B", "0x200000000000"],
}
BUSY = [name for part in (isa_code, isa_flow, isa_signals) for name, _ in part.tests()]


@pytest.mark.parametrize("stress", sorted(STRESS))
def test_stress(nandu, programs, stress):
    bad = []
    for name in BUSY:
        got = runner.run_program(runner.nandu(*STRESS[stress]), programs(name))
        if got.status != 0 or _digest(got.output) != GOLDEN[name].split()[2]:
            bad.append(f"{name}: {got.how_it_ended()}, {len(got.output)} bytes")
    assert not bad, bad


# Models and switches that Nandu and QEMU have in common.
CPUS = ["max", "rv64", "rva22u64", "rva22s64", "rv64i"] + \
    [f"max,{ext}=off" for ext in sorted({i.ext for i in INSNS.values()} -
                                        {"i", "m", "d", "c", "zcmop", "zimop", "zfhmin"})] + \
    [f"rv64,{ext}=on" for ext in ("zfa", "zacas", "zabha", "zicond", "zcb", "zfh", "zknh", "zksed")]


@pytest.mark.parametrize("cpu", CPUS)
def test_cpu(nandu, qemu, cpu):
    """Each model has the instructions that it should, and no others."""
    elf = features.program().elf()
    want, got = (runner.run([program, "-cpu", cpu], elf) for program in (qemu, nandu))
    if want.status == 1:        # extensions that depend on it are on
        assert got.status == 1 and got.error.count(b"\n") == 1, got.how_it_ended()
        return
    assert want.status == 0 and len(want.output) == len(features.NAMES)
    assert got.status == 0, got.how_it_ended()
    want, got = (features.names_with(r.output) for r in (want, got))
    assert {n: (want[n], got.get(n)) for n in want if want[n] != got.get(n)} == {}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("size", "bhwdq")
def test_amocas_of_x0(nandu, size, mode):
    program, expected = amocas_of_x0(f"amocas.{size}")
    got = runner.run_program(runner.nandu(*runner.MODES[mode]), program)
    assert not program.differences(struct.pack(f"<{len(expected)}Q", *expected), got.output)


def test_all_goldens():
    assert sorted(TESTS) == sorted(GOLDEN)


# Instructions that a program can't have: tests/unit/test_riscv_system.c, and "illegal" here.
OF_MACHINES = {"mret": 0x30200073, "sret": 0x10200073, "wfi": 0x10500073, "sfence.vma": 0x12000073,
               "sinval.vma": 0x16000073, "sfence.w.inval": 0x18000073,
               "sfence.inval.ir": 0x18100073}


def test_tables_agree():
    """The emulator's table of instructions and the one of these tests were written apart."""
    spec = os.path.join(TOP, "src", "guest", "riscv", "riscv.decode")
    listed = subprocess.run([sys.executable, os.path.join(TOP, "tools", "decodegen.py"), "--list",
                             spec], capture_output=True, text=True, check=True)
    rows = {row["name"]: row for row in json.loads(listed.stdout)}
    families = {"mop.r": "mop.r.0", "mop.rr": "mop.rr.0", "c.mop": "c.mop.1"}
    for name, row in rows.items():
        if name == "fence.tso":     # a form of fence
            continue
        if name in OF_MACHINES:
            assert OF_MACHINES[name] == row["match"], name
            continue
        name = families.get(name, name)
        assert name in INSNS, f"{name} has no test"
        assert INSNS[name].match == row["match"], name
        assert name in TESTS or name in ELSEWHERE
