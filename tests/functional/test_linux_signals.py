"""Signals: handlers, restarted calls, timers, faults, contexts, what a guest dies by."""

import signal

import pytest

from conftest import run
from linux_programs import MODES, check_as_native
from linux_programs import folder, guest, native      # noqa: F401, fixtures

PROGRAMS = ["sig_basic", "sig_restart", "sig_fault", "sig_default", "sig_timer"]
# Only for RISC-V: they print what is expected and "FAIL" for what is not.
RISCV_PROGRAMS = ["riscv_context", "riscv_fetch"]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", PROGRAMS)
def test_as_native(nandu, native, guest, name, mode):
    check_as_native(nandu, native, guest, name, mode)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", RISCV_PROGRAMS)
def test_riscv(nandu, guest, name, mode):
    done = run([nandu, *MODES[mode], guest(name)])
    assert done.status == 0 and "FAIL" not in done.text, done


def test_killed(nandu, guest):
    """Nandu dies by the guest's signal, with one line that names it."""
    program = guest("sig_die")
    for name in ("SIGSEGV", "SIGABRT", "SIGILL", "SIGTRAP", "SIGBUS", "SIGFPE", "SIGTERM",
                 "SIGUSR1"):
        done = run([nandu, program, str(int(getattr(signal, name)))])
        assert done.status == -getattr(signal, name), done
        lines = done.error.splitlines()
        assert len(lines) == 1, done
        assert lines[0].startswith(f"nandu-riscv64: killed by {name} (guest pc 0x"), done
    for name in ("SIGINT", "SIGPIPE", "SIGHUP", "SIGKILL"):
        done = run([nandu, program, str(int(getattr(signal, name)))])
        assert done.status == -getattr(signal, name) and done.error == "", done
    done = run([nandu, program, "0"])
    assert done.status == -signal.SIGSEGV and "address 0x123" in done.error, done
