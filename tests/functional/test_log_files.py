"""-D and -seed go on to what the guest executes; -strace, -d, -jitdump write where they should."""

import os
import re
import subprocess

import pytest

from conftest import run

# Executes itself as often as its argument says; in between forks a child that executes.
PROGRAM = """
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/wait.h>
#include <unistd.h>
int main(int argc, char **argv)
{
    int n = atoi(argv[1]);
    char text[16];
    const unsigned char *random = (const unsigned char *)getauxval(AT_RANDOM);
    for (int i = 0; i < 16; i++)
        printf("%02x", random[i]);
    printf(" %d\\n", (int)getpid());
    fflush(stdout);
    if (n == 0)
        return 0;
    snprintf(text, sizeof(text), "%d", n - 1);
    if (fork() == 0) {
        execl("/proc/self/exe", argv[0], "0", NULL);
        _exit(1);
    }
    wait(NULL);
    if (chdir("/"))
        return 1;
    execl("/proc/self/exe", argv[0], text, NULL);
    return 1;
}
"""

SECCOMP = """
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>
static void handler(int sig) { (void)sig; }
int main(void)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getppid, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {4, code};
    signal(SIGSYS, handler);
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, 2, &program))
        return 1;
    getppid();
    return 0;
}
"""


@pytest.fixture(scope="module")
def build(cross_gcc, tmp_path_factory):
    folder = tmp_path_factory.mktemp("log")

    def build(name, text):
        source, program = folder / f"{name}.c", folder / name
        if not program.exists():
            source.write_text(text)
            subprocess.run([cross_gcc, "-static", "-O1", "-o", program, source], check=True)
        return program

    return build


def exits(text):
    """The processes that a trace saw ending."""
    return re.findall(r"^(\d+) exit_group\(0\)", text, re.M)


def test_one_file(nandu, build, tmp_path):
    """A relative name; the program changes its folder, and executes itself twice."""
    log = tmp_path / "log"
    log.write_text("old\n")
    done = run([nandu, "-D", "log", "-strace", build("again", PROGRAM), 2], cwd=tmp_path)
    text = log.read_text()
    pids = [line.split()[1] for line in done.text.splitlines()]
    assert done.status == 0 and not done.err and len(pids) == 5, done
    assert not text.startswith("old") and set(exits(text)) == set(pids), text
    assert text.count("execve(") == 4
    assert os.listdir(tmp_path) == ["log"]


def test_file_for_each_process(nandu, build, tmp_path):
    done = run([nandu, "-D", "%d.log", "-strace", build("again", PROGRAM), 2], cwd=tmp_path)
    pids = {line.split()[1] for line in done.text.splitlines()}
    assert done.status == 0 and not done.err and len(pids) == 3, done
    assert set(os.listdir(tmp_path)) == {f"{pid}.log" for pid in pids}
    for pid in pids:
        assert exits((tmp_path / f"{pid}.log").read_text()) == [pid]
    first = done.text.split()[1]
    assert (tmp_path / f"{first}.log").read_text().count(f"{first} execve(") == 2


def test_no_own_file(nandu, build, tmp_path):
    """Where no file can be made the parent's log takes all: here the folder is gone."""
    folder = tmp_path / "gone"
    folder.mkdir()
    log = os.open(tmp_path / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    try:
        done = subprocess.run([nandu, "-D", folder / "x" / "%d", "-log-fd", str(log), "-strace",
                               build("again", PROGRAM), "1"], pass_fds=[log], check=False,
                              capture_output=True)
    finally:
        os.close(log)
    pids = {line.split()[1].decode() for line in done.stdout.splitlines()}
    assert done.returncode == 0 and not done.stderr, done
    assert set(exits((tmp_path / "log").read_text())) == pids


def test_bad_log_fd(nandu):
    for fd in ("77", "-1", "x"):
        done = run([nandu, "-log-fd", fd, "/nonexistent"])
        assert done.status == 1 and "-log-fd" in done.error and len(done.error.splitlines()) == 1


def test_seed(nandu, build):
    done = run([nandu, "-seed", "7", build("again", PROGRAM), 2])
    assert done.status == 0 and len({line.split()[0] for line in done.text.splitlines()}) == 1
    other = run([nandu, "-seed", "8", build("again", PROGRAM), 0])
    assert other.text.split()[0] != done.text.split()[0]


def test_seccomp_trap(nandu, build):
    done = run([nandu, "-strace", build("seccomp", SECCOMP)])
    assert done.status == 0, done
    assert re.search(r"getppid\(\) = \? \(Stopped by a seccomp filter\)", done.error), done
    assert re.search(r"rt_sigreturn\(.*\) = \? \(Successful exit from sigreturn\)", done.error), done


def test_jitdump(nandu, build, tmp_path):
    """Each process has a dump, which perf's header begins and a record of the end ends."""
    done = run([nandu, "-jitdump", build("again", PROGRAM), 1], cwd=tmp_path)
    pids = [int(line.split()[1]) for line in done.text.splitlines()]
    assert done.status == 0 and not done.err, done
    data = (tmp_path / f"jit-{pids[0]}.dump").read_bytes()
    assert data[:8] == b"DTiJ\1\0\0\0" and int.from_bytes(data[20:24], "little") == pids[0]
    offset = int.from_bytes(data[8:12], "little")
    names = []
    while offset < len(data):
        record = int.from_bytes(data[offset:offset + 4], "little")
        size = int.from_bytes(data[offset + 4:offset + 8], "little")
        if record == 0:
            names.append(data[offset + 56:].split(b"\0", 1)[0])
        offset += size
    assert offset == len(data) and len(names) > 50
    assert all(re.fullmatch(rb"guest_0x[0-9a-f]+", name) for name in names)
