"""Random instruction sequences: interpreter, translator, translator under stress, QEMU."""

import os
import sys

import pytest

from conftest import TOP

sys.path.insert(0, os.path.join(TOP, "tests", "isa"))

import randseq          # noqa: E402
import runner           # noqa: E402

# How many; NANDU_RANDOM_SEQUENCES asks for more, NANDU_RANDOM_SEED for others.
COUNT = int(os.environ.get("NANDU_RANDOM_SEQUENCES") or 2000)
SEED = int(os.environ.get("NANDU_RANDOM_SEED") or 0)

STRESS = {
    "flush": ["-dbt", "flush=7"],
    "poll": ["-dbt", "poll=always"],
    "far": ["-dbt", "far=on"],
    "one-insn": ["-one-insn-per-tb"],
    "no-chain": ["-dbt", "no-chain=on"],
    "small-cache": ["-dbt", "cache-size=1M"],
    "base": ["-B", "0x300000000000"],
}


def _report(texts):
    if texts:
        pytest.fail("\n\n".join(texts), pytrace=False)


def test_interpreter_and_translator(nandu):
    _report(randseq.check(SEED, COUNT, randseq.default_commands(with_qemu=False)))


def test_translator_and_qemu(nandu, qemu):
    _report(randseq.check(SEED, COUNT, randseq.default_commands(modes=["tier1"])))


@pytest.mark.parametrize("stress", sorted(STRESS))
def test_stress(nandu, stress):
    commands = {"tier1": runner.nandu(), stress: runner.nandu(*STRESS[stress])}
    _report(randseq.check(SEED + 1000000, max(200, COUNT // 10), commands))


def test_lockstep(nandu):
    commands = {"tier1": runner.nandu(), "lockstep": runner.nandu("-dbt", "lockstep=on")}
    _report(randseq.check(SEED + 2000000, max(200, COUNT // 10), commands))


def test_faults(nandu):
    """Instructions that raise signals, whose handler sees all registers."""
    commands = randseq.default_commands()
    _report(randseq.check(SEED + 5000000, max(500, COUNT // 2), commands, faults=True))


@pytest.mark.parametrize("stress", sorted(STRESS))
def test_faults_under_stress(nandu, stress):
    commands = {"tier1": runner.nandu(), stress: runner.nandu(*STRESS[stress])}
    _report(randseq.check(SEED + 6000000, max(200, COUNT // 10), commands, faults=True))


@pytest.mark.parametrize("mode", ["tier1", "interp", "poll", "flush"])
def test_signals(nandu, mode):
    """A timer's signals at all times, with a handler that changes all registers."""
    options = STRESS.get(mode) or runner.MODES[mode]
    for interval in (30, 100):
        _report(randseq.check_signals(SEED + 4000000, max(200, COUNT // 10),
                                      runner.nandu(*options), interval))
