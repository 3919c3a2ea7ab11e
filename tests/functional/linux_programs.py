"""For tests of Linux programs, tests/linux_user: each prints under Nandu what it prints when it is built
for and run on the host. Fixtures, and what is common to the tests."""

import os
import shutil

import pytest

from conftest import TESTS, run

SOURCES = os.path.join(TESTS, "linux_user")
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


def check_as_native(nandu, native, guest, name, mode):
    expected = native(name)
    done = run([nandu, *MODES[mode], guest(name)], timeout=300)
    assert done.text.replace("/guest/", "/native/") == expected.text, done.error
    assert done.status == expected.status, done
