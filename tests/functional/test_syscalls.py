"""System calls: each program of tests/linux_user/sc_*.c must print under Nandu what it prints when
it is built for the host and run there."""

import os
import re
import shutil
import struct
import subprocess

import pytest

from conftest import TESTS, TOP, run

SOURCES = os.path.join(TESTS, "linux_user")
COMPARED = ["aio", "errors", "file", "fs", "ipc", "misc", "mm", "net", "ns", "poll", "tty"]
FLAGS = ["-O1", "-w"]

# With the guest's memory at its own addresses, and elsewhere: then a pointer that was passed to the
# kernel without being converted is found.
BASES = {"base-0": [], "base": ["-B", "0x200000000000"]}


@pytest.fixture(scope="session")
def programs(cross_gcc, tmp_path_factory):
    """Function that builds sc_NAME.c: gives the paths of the guest's and of the native program."""
    folder = tmp_path_factory.mktemp("syscalls")
    host_gcc = shutil.which("gcc") or shutil.which("cc")
    built = {}

    def build(name):
        if name not in built:
            source = os.path.join(SOURCES, f"sc_{name}.c")
            guest, native = folder / f"{name}.riscv64", folder / f"{name}.native"
            subprocess.run([cross_gcc, *FLAGS, "-static", "-o", guest, source], check=True)
            subprocess.run([host_gcc, *FLAGS, "-o", native, source], check=True)
            built[name] = guest, native
        return built[name]

    return build


@pytest.fixture(scope="session")
def guest_program(cross_gcc, tmp_path_factory):
    """Function that builds sc_NAME.c for the guest only."""
    folder = tmp_path_factory.mktemp("guest")

    def build(name):
        program = folder / name
        subprocess.run([cross_gcc, *FLAGS, "-static", "-o", program,
                        os.path.join(SOURCES, f"sc_{name}.c")], check=True)
        return program

    return build


def in_folder(command, folder, **kwargs):
    folder.mkdir()
    return run(command, cwd=folder, **kwargs)


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("name", COMPARED)
def test_same_as_native(nandu, programs, tmp_path, name, base):
    guest, native = programs(name)
    want = in_folder([native], tmp_path / "native")
    got = in_folder([nandu, *BASES[base], guest], tmp_path / "guest")
    assert want.status == 0, f"the native program failed: {want}"
    assert got.text == want.text, got.error
    assert got.status == 0, got


def test_riscv(nandu, guest_program):
    got = run([nandu, "-cpu", "rv64,zba=on,zbb=off,zicboz=on", guest_program("riscv")])
    assert got.status == 0
    assert got.text == """\
syscall(HWPROBE, p, 11, 0, NULL, 0) = 0
key 0 value 0
key 1 value 0
key 2 value 0
key 3 value 1
key 5 value 3
key 6 value 40
key 8 value 3b9aca00
key 9 value 3
key -1 value 0
fd 1 c 1
zba 1 zbb 0 v 0
syscall(HWPROBE, &bad, 1, 0, NULL, 0) = 0
key -1 value 0
syscall(HWPROBE, p, 1, 8, cpus, 0) = 0
syscall(HWPROBE, p, 1, 8, empty, 0) = -1 EINVAL
syscall(HWPROBE, p, 1, 8, cpus, 4) = -1 EINVAL
syscall(HWPROBE, NOWHERE, 1, 0, NULL, 0) = -1 EFAULT
syscall(HWPROBE, p, 1, 8, NOWHERE, 0) = -1 EFAULT
syscall(HWPROBE, p, 1, 8, cpus, 1) = 0
some 1
syscall(HWPROBE, p, 1, 8, cpus, 1) = 0
some 0
syscall(HWPROBE, p, 1, 0, NULL, 1) = -1 EINVAL
syscall(FLUSH, NULL, NULL, 0) = 0
syscall(FLUSH, p, p + 4, 1) = 0
syscall(FLUSH, NULL, NULL, 2) = -1 EINVAL
"""


def host_has_filters():
    with open("/proc/self/status", encoding="ascii") as file:
        return not re.search(r"^Seccomp:\s*0$", file.read(), re.M)


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("part", ["all", "strict"])
def test_seccomp(nandu, programs, part, base):
    if part == "strict" and host_has_filters():
        pytest.skip("this process has seccomp filters, so the native program can't have strict mode")
    guest, native = programs("seccomp")
    want = run([native, part])
    got = run([nandu, *BASES[base], guest, part])
    assert want.status == 0 and "killed by" in want.text, f"the native program failed: {want}"
    assert got.text == want.text, got.error
    assert got.status == 0, got


def test_seccomp_own(nandu, guest_program):
    """There are no notifications, and each way to find that out says so."""
    got = run([nandu, guest_program("seccomp"), "own"])
    answers = [line.split(" = ")[-1] for line in got.text.splitlines()[1:4]]
    assert answers == ["-1 EOPNOTSUPP", "-1 EINVAL", "-1 EINVAL"]


def test_seccomp_exec(nandu, guest_program, tmp_path):
    """Filters go on to a program or script of the guest's. One of the host's would lose them."""
    program = guest_program("seccomp")
    filtered = "getppid: -1 117\nprctl(PR_GET_SECCOMP, 0, 0, 0, 0) = 2\n"
    got = run([nandu, program, "exec", program, "after"])
    assert got.status == 5 and got.text.startswith(filtered), got
    script = tmp_path / "script"
    script.write_text(f"#!{program} after\n")
    script.chmod(0o755)
    got = run([nandu, program, "exec", script])
    assert got.status == 5 and got.text.startswith(filtered), got
    # With no room to hide a descriptor of a high number, it is one of a low number.
    got = run(["sh", "-c", 'ulimit -n 20; exec "$@"', "sh", nandu, program, "exec", program, "after"])
    assert got.status == 5 and got.text.startswith(filtered), got
    got = run([nandu, "-d", "unimp", program, "exec", "/bin/true"])
    assert got.text.endswith(" = -1 ENOEXEC\n"), got
    assert "nandu: unimplemented execve under seccomp filters" in got.error


@pytest.mark.parametrize("content", [None, b"", b"x" * 100, b"seccomp1", b"seccomp1" + b"\0" * 8,
                                     b"seccomp1\1\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0",
                                     b"seccomp1\xff\xff\xff\xff\0\0\0\0" + b"\6" * 64])
def test_seccomp_bad_handover(nandu, guest_program, tmp_path, content):
    """What isn't a file of filters is refused, and nothing is run."""
    path = tmp_path / "file"
    path.write_bytes(content or b"")
    number = "9" if content is not None else "12x"
    got = run(["sh", "-c", 'exec 9<"$0"; exec "$@"', path, nandu, guest_program("seccomp"), "after"],
              extra_env={"NANDU_SECCOMP_FD": number})
    assert got.status == 1 and got.text == "", got
    assert f"nandu-riscv64: NANDU_SECCOMP_FD={number}: " in got.error


def test_seccomp_handover(nandu, guest_program, tmp_path):
    """A valid file only adds filters: one for getppid (173) here."""
    path = tmp_path / "file"
    code = [(0x20, 0, 0, 0), (0x15, 0, 1, 173), (6, 0, 0, 0x00050075), (6, 0, 0, 0x7fff0000)]
    path.write_bytes(b"seccomp1" + struct.pack("<II", len(code), 0) +
                     b"".join(struct.pack("<HBBI", *insn) for insn in code))
    got = run(["sh", "-c", 'exec 9<"$0"; exec "$@"', path, nandu, guest_program("seccomp"), "after"],
              extra_env={"NANDU_SECCOMP_FD": "9"})
    assert got.text.startswith("getppid: -1 117\nprctl(PR_GET_SECCOMP, 0, 0, 0, 0) = 2\n"), got


def test_own_descriptors(nandu, guest_program, tmp_path):
    """The log's descriptor can't be touched, and the log goes on after close_range."""
    log = tmp_path / "log"
    got = run([nandu, "-strace", "-D", log, guest_program("fds"), log])
    lines = got.text.splitlines()
    assert lines[0] == "found 1", got
    assert lines[-2:] == ["syscall(SYS_close_range, 3, ~0u, 0) = 0", "end"]
    assert len(lines) > 10
    for line in lines[1:-2]:
        assert line.endswith((" = -1 EBADF", " = -1 ENOENT")), got.text
    text = log.read_text()
    assert re.search(r"close_range\(3,4294967295,0\) = 0\n", text)
    assert re.search(r"exit_group\(0\)\n$", text)


def test_unimplemented_is_logged(nandu, cross_gcc, tmp_path):
    program = tmp_path / "program"
    source = tmp_path / "program.c"
    source.write_text("#define _GNU_SOURCE\n#include <unistd.h>\n#include <sys/syscall.h>\n"
                      "int main(void) { syscall(SYS_bpf, 0, 0, 0); return syscall(1234) + 1; }\n")
    subprocess.run([cross_gcc, "-static", "-o", program, source], check=True)
    got = run([nandu, "-d", "unimp", program])
    assert got.status == 0
    assert "unimplemented system call bpf: " in got.error
    assert "unimplemented system call 1234\n" in got.error
    assert run([nandu, program]).error == ""


STRACE = r"""
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
int main(void)
{
    struct timespec t = {0, 1000};
    syscall(SYS_openat, AT_FDCWD, "no/such\tfile", O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    syscall(SYS_write, 1, "line \"quoted\"\n", 14);
    syscall(SYS_mmap, 0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    syscall(SYS_nanosleep, &t, 0);
    syscall(SYS_socket, AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    syscall(SYS_kill, 0, 0);
    syscall(SYS_ioctl, 99, 0x5401, 0);
    syscall(9999);
    return 3;
}
"""


def test_strace(nandu, cross_gcc, tmp_path):
    program = tmp_path / "program"
    source = tmp_path / "program.c"
    source.write_text(STRACE)
    subprocess.run([cross_gcc, "-static", "-o", program, source], check=True)
    got = run([nandu, "-strace", program])
    assert got.status == 3
    for line in [
            r'\d+ openat\(AT_FDCWD,"no/such\\tfile",O_RDWR\|O_CREAT\|O_EXCL\|O_CLOEXEC,0644\)'
            r' = -1 errno=2 \(No such file or directory\)',
            r'\d+ write\(1,"line \\"quoted\\"\\n",14\) = 14',
            r'\d+ mmap\(NULL,4096,PROT_READ\|PROT_WRITE,MAP_PRIVATE\|MAP_ANONYMOUS,-1,0x0\)'
            r' = 0x[0-9a-f]{16}',
            r'\d+ nanosleep\(\{tv_sec = 0,tv_nsec = 1000\},NULL\) = 0',
            r'\d+ socket\(AF_UNIX,SOCK_STREAM\|SOCK_CLOEXEC,0\) = \d+',
            r'\d+ ioctl\(99,TCGETS,0x0\) = -1 errno=9 \(Bad file descriptor\)',
            r'\d+ Unknown syscall 9999 = -1 errno=38 \(Function not implemented\)',
            r'\d+ exit_group\(3\)']:
        assert re.search(f"^{line}$", got.error, re.M), (line, got.error)


def test_prefix(nandu, cross_gcc, tmp_path):
    """With -L, the calls that look for a file find the one below the prefix, if it is there."""
    program = tmp_path / "program"
    source = tmp_path / "program.c"
    source.write_text(r"""
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>
int main(void)
{
    char buf[32] = "";
    struct stat st = {0};
    int fd = open("/etc/only-there", O_RDONLY);
    printf("%d %d\n", fd >= 0, (int)read(fd, buf, 31));
    printf("%s|%d|", buf, stat("/etc/only-there", &st));
    printf("%d|%d\n", (int)st.st_size, access("/etc/only-there", R_OK));
    printf("%d %d\n", (int)readlink("/etc/link", buf, 31), access("/dev/null", F_OK));
    printf("%d\n", access("/etc/nowhere", F_OK));
    return 0;
}
""")
    subprocess.run([cross_gcc, "-static", "-o", program, source], check=True)
    (tmp_path / "root" / "etc").mkdir(parents=True)
    (tmp_path / "root" / "etc" / "only-there").write_text("content")
    (tmp_path / "root" / "etc" / "link").symlink_to("only-there")
    got = run([nandu, "-L", tmp_path / "root", program])
    assert got.text == "1 7\ncontent|0|7|0\n10 0\n-1\n", got


def test_page_is_up_to_date():
    done = run([os.path.join(TOP, "tools", "syscalls-doc"), "--check"])
    assert done.status == 0, done.error
