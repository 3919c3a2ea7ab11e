"""Threads of a guest that share memory and code."""

import os
import subprocess

import pytest

from conftest import TOP, run

MODES = {
    "tier1": [],
    "interp": ["-dbt", "interp=on"],
    "flush": ["-dbt", "flush=20"],
    "poll": ["-dbt", "poll=always"],
    "far": ["-dbt", "far=on"],
    "no-chain": ["-dbt", "no-chain=on"],
}


@pytest.fixture(scope="module")
def atomics(cross_gcc, tmp_path_factory):
    path = tmp_path_factory.mktemp("atomics") / "atomics"
    source = os.path.join(TOP, "tests", "functional", "atomics.c")
    subprocess.run([cross_gcc, "-O2", "-static", "-pthread", "-o", path, source], check=True)
    return path


@pytest.mark.parametrize("mode", sorted(MODES))
def test_atomics(nandu, atomics, mode):
    rounds = 200000 if mode in ("tier1", "far") else 30000
    result = run([nandu, "-cpu", "max", *MODES[mode], atomics, rounds])
    assert result.status == 0 and "FAILED" not in result.text, result
    assert len(result.text.splitlines()) == 12 and result.err == b"", result
