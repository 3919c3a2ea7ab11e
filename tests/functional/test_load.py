"""Loading programs: kinds of files, places in the address space, what a program finds at its start,
mappings and code that changes; options and environment."""

import os
import re
import resource
import shutil
import subprocess

import pytest

from conftest import TESTS, run

SOURCES = os.path.join(TESTS, "linux_user")
CROSS_ROOT = "/usr/riscv64-linux-gnu"
INTERPRETER = "/lib/ld-linux-riscv64-lp64d.so.1"


@pytest.fixture(scope="session")
def build(cross_gcc, tmp_path_factory):
    """build(NAME, FLAGS...) compiles tests/linux_user/NAME.c, once for each set of flags."""
    folder = tmp_path_factory.mktemp("load")
    done = {}

    def compile_it(name, *flags, compiler=cross_gcc):
        key = (name, flags, compiler)
        if key not in done:
            done[key] = str(folder / f"{name}-{len(done)}")
            subprocess.run([compiler, "-O1", "-Wall", "-o", done[key], *flags,
                            os.path.join(SOURCES, name + ".c")], check=True)
        return done[key]
    return compile_it


@pytest.fixture(scope="session")
def libraries():
    """The folder with the cross compiler's C library."""
    if not os.path.exists(CROSS_ROOT + INTERPRETER):
        pytest.skip("libc6-riscv64-cross is not installed")
    return CROSS_ROOT


def start_ok(result, program, *arguments):
    """The output of start.c without complaints."""
    assert result.status == 0, result
    assert result.error == "", result
    lines = result.text.splitlines()
    assert lines[-1] == "end", result
    assert not [line for line in lines if line.startswith("wrong")], result
    assert [line[5:] for line in lines if line.startswith("argv ")] == [program, *arguments], result
    assert f"exe {os.path.realpath(program)}" in lines, result
    assert "stack named" in lines, result
    return lines


# ---- Kinds of programs ----

KINDS = {
    "static": ["-static"],
    "static-far": ["-static", "-Wl,-Ttext-segment=0x40000000"],
    "dynamic": [],
    "no-pie": ["-no-pie"],
    "large-pages": ["-Wl,-z,max-page-size=65536"],
    "huge-pages": ["-Wl,-z,max-page-size=2097152"],
    "separate-code": ["-Wl,-z,separate-code"],
}


@pytest.mark.parametrize("kind", KINDS)
def test_kind(nandu, build, libraries, kind):
    program = build("start", *KINDS[kind])
    options = [] if "static" in kind else ["-L", libraries]
    start_ok(run([nandu, *options, program, "a", "", "b c"]), program, "a", "", "b c")


def test_interpreter_as_program(nandu, build, libraries):
    """The dynamic linker is a static PIE."""
    program = build("start")
    result = run([nandu, libraries + INTERPRETER, "--library-path", libraries + "/lib", program,
                  "x"])
    assert result.status == 0 and "argv x\n" in result.text, result
    result = run([nandu, "-L", libraries, libraries + INTERPRETER, "--list", program])
    assert result.status == 0 and "linux-vdso.so.1" in result.text and "libc.so.6" in result.text


def test_ld_library_path(nandu, build, libraries):
    program = build("start")
    result = run([nandu, "-L", libraries, "-E", "LD_SHOW_AUXV=1", program])
    assert result.status == 0, result
    for name in ("AT_SYSINFO_EHDR", "AT_HWCAP", "AT_PHDR", "AT_BASE", "AT_RANDOM", "AT_EXECFN"):
        assert name in result.text, result


def test_missing_interpreter(nandu, build, tmp_path):
    program = build("start")
    if os.path.exists(INTERPRETER):
        pytest.skip("this machine has a riscv64 system")
    for options in ([], ["-L", str(tmp_path)]):
        result = run([nandu, *options, program])
        assert result.status == 255, result
        lines = result.error.splitlines()
        assert len(lines) == 1 and INTERPRETER in lines[0] and "-L" in lines[0], result


# ---- Scripts ----

def test_script(nandu, build, tmp_path):
    program = build("start", "-static")
    script = tmp_path / "script"
    script.write_text(f"#! {program}  one two \nrest")
    script.chmod(0o755)
    result = run([nandu, script, "three"])
    start_ok(result, program, "one two", str(script), "three")
    # A script whose interpreter is a script.
    outer = tmp_path / "outer"
    outer.write_text(f"#!{script}\n")
    outer.chmod(0o755)
    result = run([nandu, outer])
    start_ok(result, program, "one two", str(script), str(outer))


@pytest.mark.parametrize("text,word", [
    ("#!\n", "interpreter"), ("#!/nonexistent/sh\n", "/nonexistent/sh"), ("#!SELF\n", "script"),
    ("#!/dev/null\n", "/dev/null"), ("#!" + "x" * 300, "interpreter"),
    ("#!/bin/true\n", "/bin/true"), ("# comment\n", "script"), ("", "script"),
])
def test_bad_script(nandu, tmp_path, text, word):
    script = tmp_path / "self"
    script.write_text(text.replace("SELF", str(script)))
    script.chmod(0o755)
    result = run([nandu, script])
    assert result.status in (1, 255), result
    assert len(result.error.splitlines()) == 1 and word in result.error, result


# ---- Places ----

def limited(command, which, value):
    def set_limit():
        resource.setrlimit(which, (value, resource.getrlimit(which)[1]))
    done = subprocess.run([str(c) for c in command], capture_output=True, preexec_fn=set_limit,
                          check=False, timeout=60)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


@pytest.mark.parametrize("flags", [[], ["-static"]], ids=["pie", "static"])
@pytest.mark.parametrize("options", [
    [], ["-R", "0x100000000"], ["-R", "512M"], ["-R", "4G", "-B", "0x200000000"],
    ["-B", "0x100000000"], ["-s", "0x40000"], ["-s", "1G"], ["-dbt", "interp"],
], ids=lambda o: " ".join(o) or "plain")
def test_options_of_place(nandu, build, libraries, sanitized, options, flags):
    if sanitized and "-B" in options:
        pytest.skip("the sanitizer's shadow is there")
    program = build("start", *flags)
    start_ok(run([nandu, "-L", libraries, *options, program]), program)


@pytest.mark.parametrize("flags", [[], ["-static"]], ids=["pie", "static"])
def test_no_randomisation(nandu, build, libraries, flags):
    setarch = shutil.which("setarch")
    if not setarch:
        pytest.skip("setarch is not installed")
    program = build("start", *flags)
    start_ok(run([setarch, "-R", nandu, "-L", libraries, program]), program)
    command = 'ulimit -s unlimited; exec "$@"'
    start_ok(run(["bash", "-c", command, "-", setarch, "-R", nandu, "-L", libraries, program]),
             program)


@pytest.mark.parametrize("stack", [64 << 10, 1 << 20, 100 << 20, resource.RLIM_INFINITY])
def test_stack_limits(nandu, build, libraries, stack):
    for flags in ([], ["-static"]):
        program = build("start", *flags)
        status, out, err = limited([nandu, "-L", libraries, program], resource.RLIMIT_STACK, stack)
        assert status == 0 and out.endswith("end\n") and "wrong" not in out, (status, out, err)


@pytest.mark.parametrize("megabytes", [100, 300, 1000])
def test_little_address_space(nandu, build, libraries, sanitized, megabytes):
    if sanitized:
        pytest.skip("a sanitizer needs terabytes")
    program = build("start")
    status, out, err = limited([nandu, "-L", libraries, program], resource.RLIMIT_AS,
                               megabytes << 20)
    assert status == 0 and out.endswith("end\n"), (status, out, err)


def test_many_layouts(nandu, build, libraries):
    """The host's random layouts."""
    program = build("start")
    for _ in range(30):
        start_ok(run([nandu, "-L", libraries, program]), program)


def test_large_arguments(nandu, build):
    program = build("start", "-static")
    long = "x" * 100000
    result = run([nandu, program, *[long] * 10])
    start_ok(result, program, *[long] * 10)
    result = run([nandu, "-s", "0x10000", program, long])
    assert result.status == 1 and "-s" in result.error, result
    assert len(result.error.splitlines()) == 1, result


# ---- Memory ----

@pytest.mark.parametrize("options", [
    [], ["-R", "2048G"], ["-B", "0x100000000"], ["-dbt", "interp"],
], ids=lambda o: " ".join(o) or "plain")
def test_mappings(nandu, build, sanitized, options):
    """As on the host."""
    if sanitized and "-B" in options:
        pytest.skip("the sanitizer's shadow is there")
    cc = shutil.which("cc") or shutil.which("gcc")
    if not cc:
        pytest.skip("there is no compiler for the host")
    # In a reserved window a mapping can't grow.
    arguments = ["fixed"] if "-R" in options else []
    native = run([build("mm_map", compiler=cc), *arguments])
    assert native.status == 0, native
    result = run([nandu, *options, build("mm_map", "-static"), *arguments])
    assert result.text == native.text, result
    assert result.status == 0 and result.error == "", result


CODE = """\
mprotect: 1(SEGV 2 at pc)  -1 2(SEGV 2 at pc)  -1(SEGV 2 at pc)  -1 2
mapping: 3(SEGV 1 at pc)  4 -1 5(SEGV 1 at pc)  -1 6(ILL 1 at pc)  -1
stores: 499500
alias: 7 8 9
edge: 10(SEGV)  -1
"""


@pytest.mark.parametrize("options", [
    [], ["-R", "4G"], ["-dbt", "interp"], ["-dbt", "lockstep"], ["-one-insn-per-tb"],
    ["-dbt", "no-chain"], ["-dbt", "flush=3"], ["-dbt", "poll=always"],
], ids=lambda o: " ".join(o) or "plain")
def test_changing_code(nandu, build, options):
    result = run([nandu, *options, build("mm_code", "-static")])
    # Which part of an instruction across two pages a fault is for is not checked.
    text = re.sub(r"edge: 10\(SEGV \d at \w+\)", "edge: 10(SEGV)", result.text)
    assert text == CODE, result
    assert result.status == 0, result


# ---- Options and environment ----

def test_environment_of_the_guest(nandu, build):
    program = build("start", "-static")

    def env_lines(*options, **variables):
        result = run([nandu, *options, program], extra_env=variables)
        return [line[4:] for line in result.text.splitlines() if line.startswith("env ")]

    assert env_lines("-E", "TEST=1") == ["TEST=1"]
    assert env_lines("-E", "TEST1=a,TEST2=b=c") == ["TEST1=a", "TEST2=b=c"]
    assert env_lines("-E", "TEST=1", "-E", "TEST=2") == ["TEST=2"]
    assert env_lines("-U", "TEST", TEST="1") == []
    assert env_lines("-U", "TEST1,TEST2", TEST1="1", TEST2="2", TEST3="3") == ["TEST3=3"]
    assert env_lines(QEMU_SET_ENV="TEST=q") == ["TEST=q"]
    assert env_lines(QEMU_SET_ENV="TEST=q", NANDU_SET_ENV="TEST=n") == ["TEST=n"]
    assert env_lines(QEMU_UNSET_ENV="TEST", TEST="1") == []


def test_argv0(nandu, build):
    program = build("start", "-static")
    for options, variables in ((["-0", "other"], {}), ([], {"QEMU_ARGV0": "other"}),
                               (["-0", "other"], {"NANDU_ARGV0": "not this"}),
                               ([], {"QEMU_ARGV0": "not this", "NANDU_ARGV0": "other"})):
        result = run([nandu, *options, program, "x"], extra_env=variables)
        assert "argv other\nargv x\n" in result.text, result


def test_prefix_from_environment(nandu, build, libraries):
    program = build("start")
    start_ok(run([nandu, program], extra_env={"QEMU_LD_PREFIX": libraries}), program)
    start_ok(run([nandu, program], extra_env={"NANDU_LD_PREFIX": libraries + "//",
                                              "QEMU_LD_PREFIX": "/nonexistent"}), program)
    start_ok(run([nandu, "-L", libraries, program], extra_env={"QEMU_LD_PREFIX": "/nonexistent"}),
             program)


def test_prefix_with_links(nandu, build, libraries, tmp_path):
    """Absolute symbolic links below -L are taken as if it were the root."""
    (tmp_path / "real").symlink_to(libraries + "/lib")
    (tmp_path / "lib").mkdir()
    inside = tmp_path / "elsewhere"
    shutil.copytree(libraries + "/lib", inside, symlinks=True,
                    ignore=lambda d, names: [n for n in names if not (n.startswith("ld-linux") or
                                                                     n.startswith("libc.so.6"))])
    (tmp_path / "lib" / "ld-linux-riscv64-lp64d.so.1").symlink_to(
        "/elsewhere/ld-linux-riscv64-lp64d.so.1")
    (tmp_path / "lib" / "libc.so.6").symlink_to("/elsewhere/libc.so.6")
    program = build("start")
    start_ok(run([nandu, "-L", tmp_path, program]), program)


def test_end_of_options(nandu, build, tmp_path):
    program = build("start", "-static")
    for options in (["--"], ["-"], []):
        result = run([nandu, "--cpu", "rv64", *options, program, "-L", "--version"])
        assert "argv -L\nargv --version\n" in result.text, result


def test_version(nandu, tmp_path):
    result = run([nandu, "--version"])
    assert result.status == 0 and re.match(r"nandu-riscv64 version \d+\.\d+", result.text), result
    for name in ("qemu-riscv64", "qemu-riscv64-static"):
        link = tmp_path / name
        link.symlink_to(os.path.realpath(nandu))
        result = run([link, "--version"])
        # What programs look for that read QEMU's version.
        assert re.match(r"qemu-riscv64 version 10\.\d+\.\d+", result.text), result
        assert "Nandu" in result.text and result.status == 0
    link = tmp_path / "nandu-sparc"
    link.symlink_to(os.path.realpath(nandu))
    result = run([link, "--version"])
    assert result.status == 1 and len(result.error.splitlines()) == 1, result


def test_help(nandu):
    result = run([nandu, "-h"])
    assert result.status == 0 and result.error == ""
    for word in ("-L path", "QEMU_LD_PREFIX", "-cpu model", "-strace", "NANDU_"):
        assert word in result.text
    assert all(len(line) <= 120 for line in result.text.splitlines())
    assert "in_asm" in run([nandu, "-d", "help"]).text
    assert re.search(r"^ *rv64$", run([nandu, "-cpu", "help"]).text, re.M)


def test_binfmt_rows(nandu):
    result = run([nandu, "--binfmt-conf"])
    assert result.status == 0, result
    rows = result.text.splitlines()
    assert len(rows) == 1
    _, name, kind, offset, magic, mask, path, flags = rows[0].split(":")
    assert (name, kind, offset, flags) == ("nandu-riscv64", "M", "", "POCF")
    magic, mask = (bytes.fromhex("".join(re.findall(r"\\x(..)", re.sub(
        r"ELF", r"\\x45\\x4c\\x46", text)))) for text in (magic, mask))
    assert len(magic) == len(mask) == 20
    for machine, kind, good in ((243, 2, True), (243, 3, True), (62, 2, False), (243, 1, False)):
        header = b"\x7fELF\x02\x01\x01\x00" + bytes(8) + bytes([kind, 0, machine, 0])
        assert (bytes(h & m for h, m in zip(header, mask)) == magic) == good
    assert os.access(path, os.X_OK)
    assert run([nandu, "--binfmt-conf", "-binfmt-flags", "F"]).text.strip().endswith(":F")


def test_log(nandu, build, tmp_path):
    program = build("start", "-static")
    log = tmp_path / "log-%d"
    result = run([nandu, "-d", "strace,page", "-D", log, program])
    assert result.status == 0 and result.error == "", result
    written = [p for p in tmp_path.iterdir() if p.name.startswith("log-")]
    assert len(written) == 1
    text = written[0].read_text()
    assert "start_brk" in text and "exit_group(0)" in text
    # The C library has the time from the vDSO, without a call: there is only the one that is made
    # by hand for each clock.
    calls = re.findall(r"clock_gettime\((?:CLOCK_)?(?:REALTIME|MONOTONIC|0|1)\b", text)
    assert len(calls) == 2, text


def test_seed(nandu, tmp_path, build):
    program = build("start", "-static")
    for seed in ("1", "0x123456789"):
        assert run([nandu, "-seed", seed, program]).status == 0


@pytest.mark.parametrize("flags", ["POCF", "OCF", "F"])
def test_binfmt(nandu, build, flags):
    """Started by the kernel, in a namespace that has binfmt_misc of its own."""
    set_up = ('fs=/proc/sys/fs/binfmt_misc; mount -t binfmt_misc none $fs && '
              '"$0" --binfmt-conf -binfmt-flags "$1" >$fs/register || exit 77; shift; exec "$@"')
    enter = ["unshare", "-Urm", "bash", "-c", set_up, nandu, flags]
    if run([*enter, "true"]).status != 0:
        pytest.skip("the host doesn't allow binfmt_misc in a namespace (Linux 6.7)")
    program = build("start", "-static")
    start_ok(run([*enter, program, "-L", "b c"]), program, "-L", "b c")
    result = run([*enter, "bash", "-c", 'exec -a other "$0" x', program])
    name = "other" if "P" in flags else program
    assert result.status == 0 and f"argv {name}\nargv x\n" in result.text, result
    result = run([*enter, program], extra_env={"QEMU_ARGV0": "third"})
    assert "argv third\n" in result.text, result
