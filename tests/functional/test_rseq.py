"""Restartable sequences (rseq): what a program prints under Nandu is what it prints on the host."""

import os
import shutil
import subprocess

import pytest

from conftest import TESTS, run

BASES = {"base-0": [], "base": ["-B", "0x200000000000"]}
PARTS = ["errors", "bad", "cpu", "fork", "signal", "fault", "membarrier"]
MODES = {
    "tier1": [],
    "base": BASES["base"],
    "interp": ["-dbt", "interp=on"],
    "flush": ["-dbt", "flush=50"],
    "poll": ["-dbt", "poll=always"],
    "one-insn": ["-dbt", "max-insns=1"],
    "tiny": ["-dbt", "cache-size=1m"],
}
LATE = ["mmap", "shared", "mprotect", "flush", "fence"]
# The C library shall not register a structure of its own.
ENVIRONMENT = {"GLIBC_TUNABLES": "glibc.pthread.rseq=0"}


def build(compiler, name, path):
    source = os.path.join(TESTS, "linux_user", f"{name}.c")
    subprocess.run([compiler, "-O1", "-w", "-static", "-pthread", "-o", path, source], check=True)
    return path


@pytest.fixture(scope="module")
def guest(cross_gcc, tmp_path_factory):
    return build(cross_gcc, "rseq", tmp_path_factory.mktemp("rseq") / "rseq")


@pytest.fixture(scope="module")
def late(cross_gcc, tmp_path_factory):
    return build(cross_gcc, "rseq_late", tmp_path_factory.mktemp("rseq") / "rseq_late")


@pytest.fixture(scope="module")
def native(tmp_path_factory):
    gcc = shutil.which("gcc") or shutil.which("cc")
    path = build(gcc, "rseq", tmp_path_factory.mktemp("rseq") / "native")
    if run([path, "cpu"], extra_env=ENVIRONMENT).status != 0:
        pytest.skip("the host's kernel has no rseq, or its C library has taken it")
    return path


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("part", PARTS)
def test_same_as_native(nandu, guest, native, part, base):
    want = run([native, part], extra_env=ENVIRONMENT)
    got = run([nandu, *BASES[base], guest, part], extra_env=ENVIRONMENT)
    assert want.status == 0, f"the native program failed: {want}"
    assert got.text == want.text, got.error
    assert got.status == 0, got


@pytest.mark.parametrize("mode", MODES)
def test_counters_and_lists(nandu, guest, native, sanitized, mode):
    """Eight threads that are moved between CPUs: nothing is lost, nothing is done twice."""
    rounds = 500 if sanitized or mode != "tier1" else 2500
    got = run([nandu, *MODES[mode], guest, "counts", 8, rounds], extra_env=ENVIRONMENT)
    lines = got.text.splitlines()
    assert lines[:4] == ["counters 0: exact", "counters 1: exact", "counters 2: exact",
                         "lists: complete"], got
    assert got.status == 0 and lines[4] != "restarts: 0", got


@pytest.mark.parametrize("way", LATE)
def test_code_that_comes_later(nandu, late, native, way):
    got = run([nandu, late, way], extra_env=ENVIRONMENT)
    assert (got.status, got.text) == (0, "exact\n"), got


def test_bad_descriptor(nandu, late, native):
    """In a program in which nobody looks at it but the kernel."""
    got = run([nandu, late, "none"], extra_env=ENVIRONMENT)
    assert got.status == -11, got
    assert "internal" not in got.error, got


def test_strace(nandu, guest, native):
    got = run([nandu, "-strace", guest, "cpu"], extra_env=ENVIRONMENT)
    assert ",32,0,0xfffffffff1401073) = 0" in got.error, got


def test_lockstep(nandu, guest):
    """What a block stores is stored twice there, so there are no sequences."""
    got = run([nandu, "-dbt", "lockstep=on", guest, "cpu"], extra_env=ENVIRONMENT)
    assert got.status == 1 and got.text == "", got
    assert "rseq: Function not implemented" in got.error, got
