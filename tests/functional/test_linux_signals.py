"""Threads, signals and exec: each program of tests/linux_user prints under Nandu what it prints
when it is built for and run on the host."""

import os
import shutil
import signal

import pytest

from conftest import TESTS, run

SOURCES = os.path.join(TESTS, "linux_user")
PROGRAMS = ["sig_basic", "sig_restart", "sig_fault", "sig_default", "sig_timer", "thr_basic",
            "thr_futex", "thr_fork", "thr_signal", "proc_fork", "proc_exec", "proc_kill",
            "proc_stress"]
# Only for RISC-V: they print what is expected and "FAIL" for what is not.
RISCV_PROGRAMS = ["riscv_context", "riscv_fetch"]
MODES = {
    "default": [],
    "interpreter": ["-dbt", "interp=on"],
    "poll": ["-dbt", "poll=always"],
    "flush": ["-dbt", "flush=20"],
    "base": ["-B", "0x200000000000"],
}
FLAGS = ["-O1", "-g", "-static", "-pthread", "-D_GNU_SOURCE"]


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("linux_user")


def build(compiler, name, output):
    if not os.path.exists(output):
        done = run([compiler, *FLAGS, os.path.join(SOURCES, name + ".c"), "-o", output])
        assert done.status == 0, done.error
    return output


@pytest.fixture(scope="session")
def native(folder):
    compiler = shutil.which("gcc") or shutil.which("cc")
    results = {}

    def result(name):
        if name not in results:
            results[name] = run([build(compiler, name, str(folder / "native" / name))])
            assert results[name].status == 0, results[name]
        return results[name]

    (folder / "native").mkdir()
    return result


@pytest.fixture(scope="session")
def guest(folder, cross_gcc):
    (folder / "guest").mkdir()
    return lambda name: build(cross_gcc, name, str(folder / "guest" / name))


def skip_if_unsafe(name, sanitized):
    if sanitized and name in ("proc_stress", "thr_fork"):
        pytest.skip("the sanitizer's allocator may be locked in the child of a threaded program")


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", PROGRAMS)
def test_as_native(nandu, native, guest, sanitized, name, mode):
    skip_if_unsafe(name, sanitized)
    if name == "thr_futex" and mode == "base":
        pytest.skip("the kernel walks a killed process's robust list only without an offset")
    expected = native(name)
    done = run([nandu, *MODES[mode], guest(name)], timeout=300)
    assert done.text.replace("/guest/", "/native/") == expected.text, done.error
    assert done.status == expected.status, done


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", RISCV_PROGRAMS)
def test_riscv(nandu, guest, name, mode):
    done = run([nandu, *MODES[mode], guest(name)])
    assert done.status == 0 and "FAIL" not in done.text, done


@pytest.mark.parametrize("name", ["thr_basic", "thr_signal", "thr_futex", "proc_stress"])
def test_again_and_again(nandu, native, guest, sanitized, name):
    skip_if_unsafe(name, sanitized)
    for _ in range(5):
        assert run([nandu, guest(name)]).text == native(name).text


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
