"""Threads, processes and exec."""

import pytest

from conftest import run
from linux_programs import MODES, check_as_native
from linux_programs import folder, guest, native      # noqa: F401, fixtures

PROGRAMS = ["thr_basic", "thr_futex", "thr_fork", "thr_signal", "proc_fork", "proc_exec", "proc_kill",
            "proc_stress"]


def skip_if_unsafe(name, sanitized):
    if sanitized and name in ("proc_stress", "thr_fork"):
        pytest.skip("the sanitizer's allocator may be locked in the child of a threaded program")


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", PROGRAMS)
def test_as_native(nandu, native, guest, sanitized, name, mode):
    skip_if_unsafe(name, sanitized)
    if name == "thr_futex" and mode == "base":
        pytest.skip("the kernel walks a killed process's robust list only without an offset")
    check_as_native(nandu, native, guest, name, mode)


@pytest.mark.parametrize("name", ["thr_basic", "thr_signal", "thr_futex", "proc_stress"])
def test_again_and_again(nandu, native, guest, sanitized, name):
    skip_if_unsafe(name, sanitized)
    for _ in range(5):
        assert run([nandu, guest(name)]).text == native(name).text
