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


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("size", "bhwdq")
def test_amocas_of_x0(nandu, size, mode):
    program, expected = amocas_of_x0(f"amocas.{size}")
    got = runner.run_program(runner.nandu(*runner.MODES[mode]), program)
    assert not program.differences(struct.pack(f"<{len(expected)}Q", *expected), got.output)


def test_all_goldens():
    assert sorted(TESTS) == sorted(GOLDEN)


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
        name = families.get(name, name)
        assert name in INSNS, f"{name} has no test"
        assert INSNS[name].match == row["match"], name
        assert name in TESTS or name in ELSEWHERE
