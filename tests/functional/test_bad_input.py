"""Bad files, bad options, guests that end by a signal, guests that attack their emulator.

Each bad input gives one clear line on standard error and the exit status that QEMU gives; nothing that
is passed in ends in a crash of Nandu itself.
"""

import os
import random
import re
import signal
import struct
import subprocess
import sys

import pytest

from conftest import TOP, run

sys.path.insert(0, os.path.join(TOP, "tests", "isa"))

from rvasm import (A0, A1, Asm, CODE, S0, make_elf)      # noqa: E402


def program(body=None):
    """A small program that exits with status 42; body(asm) emits what comes before that."""
    a = Asm()
    if body:
        body(a)
    a.exit(42)
    return a.elf()


def write(path, data, mode=0o755):
    path.write_bytes(data)
    path.chmod(mode)
    return path


def complaint(result, statuses, *words):
    """One line on standard error that holds the words, and nothing that looks like a crash."""
    assert result.status in statuses, result
    lines = result.error.splitlines()
    assert len(lines) == 1, result
    for word in words:
        assert word in lines[0], result
    assert result.out == b"", result
    return lines[0]


def sane(result):
    """Whatever a broken program did, Nandu itself didn't crash."""
    assert "internal fault" not in result.error, result
    assert "Sanitizer" not in result.error, result
    assert "runtime error" not in result.error, result
    assert "ssertion" not in result.error, result
    if result.status < 0 and -result.status != signal.SIGKILL:
        assert "killed by SIG" in result.error, result


# ---- The command line ----

def test_good_program(nandu, tmp_path):
    path = write(tmp_path / "good", program())
    assert run([nandu, path]).status == 42


@pytest.mark.parametrize("arguments,words", [
    ([], ["program"]),
    (["-nonsense", "PROGRAM"], ["nonsense"]),
    (["--strcae", "PROGRAM"], ["strcae"]),
    (["-L"], ["L"]),
    (["-cpu"], ["cpu"]),
    (["-cpu", "nonsense", "PROGRAM"], ["nonsense"]),
    (["-cpu", "rv46", "PROGRAM"], ["rv46", "rv64"]),
    (["-cpu", "rv64,nonsense=on", "PROGRAM"], ["nonsense"]),
    (["-cpu", "rv64,zbz=on", "PROGRAM"], ["zbz", "zb"]),
    (["-cpu", "rv64,zba=maybe", "PROGRAM"], ["zba", "on", "off"]),
    (["-cpu", "rv64,", "PROGRAM"], None),
    (["-cpu", "", "PROGRAM"], []),
    (["-cpu", "rv64,=on", "PROGRAM"], []),
    (["-cpu", "max,v=on", "PROGRAM"], ["v"]),
    (["-dbt", "nonsense=1", "PROGRAM"], ["nonsense"]),
    (["-dbt", "flush=some", "PROGRAM"], ["some"]),
    (["-dbt", "flush=-1", "PROGRAM"], ["-1"]),
    (["-dbt", "cache-size=1", "PROGRAM"], None),
    (["-dbt", "cache-size=99999999999999999999", "PROGRAM"], []),
    (["-B", "zz", "PROGRAM"], ["zz"]),
    (["-B", "0x10000000000000000", "PROGRAM"], []),
    (["-R", "12q", "PROGRAM"], ["12q"]),
    (["-s", "some", "PROGRAM"], ["some"]),
    (["-d", "nonsense", "PROGRAM"], ["nonsense"]),
    (["-E", "novalue", "PROGRAM"], ["novalue"]),
    (["-D", "/nonexistent/log", "PROGRAM"], ["/nonexistent/log"]),
    (["-g", "99999999", "PROGRAM"], ["99999999"]),
    (["-0"], ["0"]),
    (["/nonexistent/program"], ["/nonexistent/program", "No such file"]),
    (["/tmp"], ["/tmp"]),
    (["/dev/null"], ["/dev/null"]),
    (["./PROGRAM/x"], ["PROGRAM"]),
])
def test_options(nandu, tmp_path, arguments, words):
    """words None: it may be accepted, but not crash."""
    path = str(write(tmp_path / "good", program()))
    arguments = [a.replace("./PROGRAM", path).replace("PROGRAM", path) for a in arguments]
    words = words and [w.replace("PROGRAM", path) for w in words]
    result = run([nandu, *arguments], cwd=tmp_path, timeout=20)
    if words is None:
        assert result.status in (1, 42), result
        sane(result)
    else:
        complaint(result, (1, 255), *words)


def test_environment(nandu, tmp_path):
    path = write(tmp_path / "good", program())
    for name, value in (("QEMU_CPU", "nonsense"), ("NANDU_CPU", "nonsense"),
                        ("QEMU_STACK_SIZE", "nonsense"), ("QEMU_LOG", "nonsense")):
        complaint(run([nandu, path], extra_env={name: value}), (1, 255), "nonsense")


# ---- Files ----

def test_unreadable(nandu, tmp_path):
    path = write(tmp_path / "secret", program(), 0o111)
    if os.geteuid() == 0:
        command = ["setpriv", "--reuid=65534", "--clear-groups"]
        for folder in (tmp_path, *tmp_path.parents):
            if str(folder).startswith("/tmp/"):
                folder.chmod(0o755)
        if run([*command, nandu, "--version"]).status != 0:
            pytest.skip("nandu can't be run as another user here")
        complaint(run([*command, nandu, path]), (1, 255), "secret", "ermission")
    else:
        complaint(run([nandu, path]), (1, 255), "secret", "ermission")


def header(**changes):
    """An ELF header and one program header, some fields changed."""
    fields = {"ident": b"\x7fELF\x02\x01\x01" + bytes(9), "type": 2, "machine": 243, "version": 1,
              "entry": CODE, "phoff": 64, "shoff": 0, "flags": 5, "ehsize": 64, "phentsize": 56,
              "phnum": 1, "shentsize": 64, "shnum": 0, "shstrndx": 0, "p_type": 1, "p_flags": 5,
              "p_offset": 4096, "p_vaddr": CODE, "p_paddr": CODE, "p_filesz": 64, "p_memsz": 64,
              "p_align": 4096}
    assert not set(changes) - set(fields)
    f = {**fields, **changes}
    elf = f["ident"] + struct.pack("<HHIQQQIHHHHHH", *(f[k] & (1 << 64) - 1 for k in (
        "type", "machine", "version", "entry", "phoff", "shoff", "flags", "ehsize", "phentsize",
        "phnum", "shentsize", "shnum", "shstrndx")))
    elf += struct.pack("<IIQQQQQQ", *(f[k] for k in ("p_type", "p_flags", "p_offset", "p_vaddr",
                                                     "p_paddr", "p_filesz", "p_memsz", "p_align")))
    code = Asm()
    code.exit(42)
    return elf + bytes(4096 - len(elf)) + bytes(code.code) + bytes(64 - len(code.code))


def test_right_header(nandu, tmp_path):
    assert run([nandu, write(tmp_path / "elf", header())]).status == 42


BAD_HEADERS = {
    "wrong magic": {"ident": b"\x7fELG\x02\x01\x01" + bytes(9)},
    "32 bits": {"ident": b"\x7fELF\x01\x01\x01" + bytes(9)},
    "class 0": {"ident": b"\x7fELF\x00\x01\x01" + bytes(9)},
    "big-endian": {"ident": b"\x7fELF\x02\x02\x01" + bytes(9)},
    "x86-64": {"machine": 62},
    "aarch64": {"machine": 183},
    "object file": {"type": 1},
    "core file": {"type": 4},
    "headers beyond the end": {"phoff": 1 << 40},
    "headers at the end of the numbers": {"phoff": (1 << 64) - 8},
    "wrong size of headers": {"phentsize": 32},
    "no headers": {"phnum": 0},
    "too many headers": {"phnum": 65535},
    "nothing to load": {"p_type": 4},
    "data beyond the end": {"p_offset": 1 << 40},
    "offset at the end of the numbers": {"p_offset": (1 << 64) - 4096},
    "larger in the file": {"p_filesz": 8192, "p_memsz": 64},
    "very large": {"p_memsz": 1 << 62},
    "at the end of the numbers": {"p_vaddr": (1 << 64) - 4096, "p_memsz": 64},
    "not canonical": {"p_vaddr": 1 << 60},
    "over the end of user space": {"p_vaddr": (1 << 47) - 4096, "p_memsz": 1 << 20},
    "at page 0": {"p_vaddr": 0, "entry": 0},
    "offset and address don't match": {"p_offset": 4096 + 8},
    "odd alignment": {"p_align": 3},
}


@pytest.mark.parametrize("what", sorted(BAD_HEADERS))
def test_bad_header(nandu, tmp_path, what):
    path = write(tmp_path / "bad-elf", header(**BAD_HEADERS[what]))
    result = run([nandu, path], timeout=20)
    if what in ("odd alignment", "very large", "larger in the file") and result.status == 42:
        return      # harmless, and Linux may accept it
    if what == "at page 0" and result.status in (42, -signal.SIGSEGV):
        return      # root may map it
    complaint(result, (1, 126, 127, 255), "bad-elf")


def test_truncated(nandu, tmp_path):
    whole = program()
    for size in (0, 1, 3, 4, 15, 16, 20, 63, 64, 65, 100, 119, 120, 400, 4095):
        path = write(tmp_path / "short", whole[:size])
        complaint(run([nandu, path]), (1, 255), "short")
    # Cut off in the middle of a segment: what isn't there reads as a bus error, as on Linux.
    sane(run([nandu, write(tmp_path / "short", whole[:4097])]))


def test_host_program(nandu):
    line = complaint(run([nandu, "/bin/true"]), (1, 255), "/bin/true")
    assert re.search(r"x86|architecture|machine", line)


def test_text_files(nandu, tmp_path):
    complaint(run([nandu, write(tmp_path / "text", b"just text\n")]), (1, 255), "text")
    for first in (b"#!/nonexistent/interpreter -x\n", b"#!\n", b"#!   \n", b"#!" + b"a" * 5000):
        result = run([nandu, write(tmp_path / "script", first)])
        assert result.status in (1, 126, 127, 255), result
        assert len(result.error.splitlines()) == 1, result
    # A script whose interpreter is itself.
    path = tmp_path / "loop"
    write(path, b"#!" + str(path).encode() + b"\n")
    result = run([nandu, path])
    assert result.status in (1, 126, 127, 255) and len(result.error.splitlines()) == 1, result


def interp_elf(interpreter, terminated=True):
    data = interpreter + (b"\0" if terminated else b"")
    code = Asm()
    code.exit(42)
    text = bytes(code.code).ljust(64, b"\0") + data
    # PT_INTERP comes first; its offset is behind the headers, on a page of its own.
    phdr = struct.pack("<IIQQQQQQ", 3, 4, 4096 + 64, CODE + 64, CODE + 64, len(data), len(data), 1)
    return make_elf([(CODE, text, len(text), 5)], CODE, extra_phdrs=[phdr])


def test_missing_interpreter(nandu, tmp_path):
    path = write(tmp_path / "dynamic", interp_elf(b"/lib/ld-nonexistent-riscv64.so.1"))
    line = complaint(run([nandu, path]), (1, 255), "/lib/ld-nonexistent-riscv64.so.1", "-L")
    assert line
    line = complaint(run([nandu, "-L", tmp_path, path]), (1, 255), "ld-nonexistent-riscv64.so.1")
    for bad in (b"", b"a" * 4090, b"relative"):
        result = run([nandu, write(tmp_path / "dynamic", interp_elf(bad))])
        complaint(result, (1, 255))
    result = run([nandu, write(tmp_path / "dynamic", interp_elf(b"/lib/unterminated", False))])
    complaint(result, (1, 255))
    # An interpreter that is no program, and one of the host's architecture.
    for bad in (write(tmp_path / "junk", b"junk"), "/bin/true"):
        path = write(tmp_path / "dynamic", interp_elf(str(bad).encode()))
        complaint(run([nandu, path]), (1, 255), str(bad))


def test_mutated_elf(nandu, tmp_path):
    """Random changes in the headers of a good file."""
    rng = random.Random("mutated")
    good = program(lambda a: a.li(S0, 5))
    for n in range(250):
        data = bytearray(good)
        for _ in range(rng.randint(1, 6)):
            place = rng.randrange(4, 64 + 3 * 56)
            data[place] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))
        path = write(tmp_path / "mutated", bytes(data))
        result = run(["/bin/sh", "-c", 'ulimit -c 0; exec "$0" "$1"', nandu, path], timeout=30)
        try:
            sane(result)
            assert len(result.error.splitlines()) <= 1, result
        except AssertionError:
            keep = os.path.join(os.environ.get("TMPDIR", "/tmp"), f"nandu-mutated-{n}")
            with open(keep, "wb") as f:
                f.write(data)
            print(f"the file is kept as {keep}")
            raise


# ---- Guests that end by a signal ----

def _kill_self(number):
    def body(a):
        a.syscall(172)                      # getpid
        a.li(A1, number)
        a.li(17, 129)                       # kill
        a.i("ecall")
    return body


def _load(address):
    def body(a):
        a.li(S0, address)
        a.i("ld", A0, S0, 0)
    return body


def _misaligned(a):
    a.li(S0, 0x6000001)
    a.i("amoadd.w", A0, A1, S0)


ENDS = {
    "load from 0": (_load(0), signal.SIGSEGV),
    "load from nowhere": (_load(0x123456789000), signal.SIGSEGV),
    "load from a kernel address": (_load(-4096), signal.SIGSEGV),
    "load from no address": (_load(0x1234567890ABCDEF), signal.SIGSEGV),
    "store to code": (lambda a: (a.li(S0, CODE), a.i("sd", A0, S0, 0)), signal.SIGSEGV),
    "jump to 0": (lambda a: a.i("jalr", 0, 0, 0), signal.SIGSEGV),
    "jump to no address": (lambda a: (a.li(S0, 1 << 60), a.i("jalr", 0, S0, 0)), signal.SIGSEGV),
    "jump to data": (lambda a: (a.li(S0, 0x6000000), a.i("jalr", 0, S0, 0)), signal.SIGSEGV),
    "illegal instruction": (lambda a: a.raw(0), signal.SIGILL),
    "ebreak": (lambda a: a.i("ebreak"), signal.SIGTRAP),
    "misaligned atomic": (_misaligned, signal.SIGBUS),
    "abort": (_kill_self(6), signal.SIGABRT),
    "term": (_kill_self(15), signal.SIGTERM),
    "kill": (_kill_self(9), signal.SIGKILL),
    "usr1": (_kill_self(10), signal.SIGUSR1),
    "pipe": (_kill_self(13), signal.SIGPIPE),
    "real-time": (_kill_self(40), 40),
}


@pytest.mark.parametrize("mode", ["tier1", "interp"])
@pytest.mark.parametrize("what", sorted(ENDS))
def test_end_by_signal(nandu, tmp_path, what, mode):
    body, number = ENDS[what]
    path = write(tmp_path / "guest", program(body))
    options = ["-dbt", "interp=on"] if mode == "interp" else []
    result = run(["/bin/sh", "-c", 'ulimit -c 0; exec "$0" "$@"', nandu, *options, path])
    assert result.status == -number, result
    lines = result.error.splitlines()
    if number in (signal.SIGSEGV, signal.SIGILL, signal.SIGTRAP, signal.SIGBUS, signal.SIGABRT):
        assert len(lines) == 1, result
        assert signal.Signals(number).name in lines[0] and "pc 0x" in lines[0], result
        if number in (signal.SIGILL, signal.SIGTRAP, signal.SIGBUS) or "load" in what:
            pc = int(re.search(r"pc 0x([0-9a-f]+)", lines[0]).group(1), 16)
            assert CODE <= pc < CODE + 64, result
    assert "internal" not in result.error, result


# ---- Guests that attack ----

def _emulator_ranges(pid, guest_maps):
    """Mappings of the host process that the guest doesn't know of: (start, end, permissions, name)."""
    known = []
    for line in guest_maps:
        start, end = (int(v, 16) for v in line.split()[0].split("-"))
        known.append((start, end))
    with open(f"/proc/{pid}/maps", encoding="utf-8") as f:
        for line in f:
            words = line.split()
            start, end = (int(v, 16) for v in words[0].split("-"))
            if not any(a < end and start < b for a, b in known):
                yield start, end, words[1], words[5] if len(words) > 5 else ""


@pytest.fixture(scope="module")
def wild_pointers(cross_gcc, tmp_path_factory):
    path = tmp_path_factory.mktemp("wild") / "wild_pointers"
    source = os.path.join(TOP, "tests", "functional", "wild_pointers.c")
    subprocess.run([cross_gcc, "-O1", "-static", "-o", path, source], check=True)
    return path


@pytest.mark.parametrize("mode", ["tier1", "interp"])
def test_wild_pointers(nandu, wild_pointers, tmp_path, mode):
    options = ["-dbt", "interp=on"] if mode == "interp" else []
    with open(tmp_path / "errors", "wb") as errors, \
            subprocess.Popen([nandu, *options, wild_pointers], stdin=subprocess.PIPE,
                             stdout=subprocess.PIPE, stderr=errors, cwd=tmp_path,
                             text=True) as process:
        maps = []
        for line in process.stdout:
            if not line.startswith("map "):
                break
            maps.append(line[4:])
        assert line == "ready\n"
        ranges = list(_emulator_ranges(process.pid, maps))
        writable = [r for r in ranges if r[2].startswith("rw")]
        others = [r for r in ranges if not r[2].startswith("rw") and r[2] != "---p"]
        assert writable and others
        picked = [(r[0] + min(r[1] - r[0], 8192) // 2) & -16 for r in writable[:12] + others[:6]]
        picked += [r[1] - 8192 + 64 for r in writable if r[3] == "[stack]"]
        if mode == "interp":        # the same handlers: a few will do
            picked = picked[::5]
        picked += [8, 0xFFFFFFFFFF600000, 0xFFFF888000000000, 1 << 63, (1 << 64) - 8]
        try:
            out, _ = process.communicate("".join(f"{a:x}\n" for a in picked), timeout=300)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
    text = (tmp_path / "errors").read_text()
    assert process.returncode == 0, (process.returncode, out, text)
    assert out.splitlines() == ["done"], (out, text, [(hex(r[0]), r[2], r[3]) for r in ranges])
    assert "internal fault" not in text, text
