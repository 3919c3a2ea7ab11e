"""HMP commands that look into a machine (beside QEMU's answers where there is QEMU), and -d for machines."""

import os
import re
import subprocess
import time

import pytest

from conftest import run
from qmp import Machine

HERE = os.path.dirname(os.path.abspath(__file__))


@pytest.fixture(scope="module")
def program(cross_gcc, tmp_path_factory):
    path = tmp_path_factory.mktemp("hmp") / "program.elf"
    subprocess.run([cross_gcc, "-nostdlib", "-static", "-march=rv64imac_zicsr", "-mabi=lp64", "-Wl,-N",
                    "-Wl,-Ttext=0x80000000", "-Wl,--build-id=none", "-o", path,
                    os.path.join(HERE, "gdb_machine.S")], check=True, stderr=subprocess.DEVNULL)
    return ["-bios", "none", "-kernel", path]


def hmp_of(machine):
    qmp = machine.client()
    return lambda line: qmp.command("human-monitor-command", command_line=line).replace("\r\n", "\n")


LINES = ["x 0x1000", "x /4xw 0x1000", "xp/2gx 0x80000000", "x /2dh 0x1000", "x /3ub 0x1000", "xp /3ow 0x80000000",
         "x 0xffffffffffffffff", "x", "x /2w $pc", "gva2gpa 0x80000000",
         "gpa2hva 0x10000000", "gpa2hva 0x7fffffff0000", "sum 0x1000 24", "sum 0x80000000 1000", "print/x 1 + 2*3", "print/d -1",
         "cpu 7", "nmi", "memsave", "memsave 0x1000 16", "info status", "info mtree -x",
         "info registers 5", "info mem"]


def test_lines_are_qemus(nandu_system, qemu_system, tmp_path, program):
    answers = []
    for emulator in (nandu_system, qemu_system):
        with Machine(emulator, tmp_path, "-S", "-smp", "2", *program, machine="virt") as machine:
            hmp = hmp_of(machine)
            answers.append({line: hmp(line) for line in LINES})
    ours, theirs = answers
    # Where something is wrong the words may differ.
    wrong = {"x", "x /2w $pc", "memsave 0x1000 16", "info mtree -x", "memsave"}
    for line in LINES:
        if line in wrong:
            assert ours[line] and "Try \"help " in ours[line], line
        else:
            assert ours[line] == theirs[line], line


def test_registers_are_qemus(nandu_system, qemu_system, tmp_path, program):
    texts = []
    for emulator in (nandu_system, qemu_system):
        with Machine(emulator, tmp_path, "-S", "-smp", "2", "-cpu", "rv64,h=false", *program, machine="virt") as machine:
            hmp = hmp_of(machine)
            # What timers say at the start is the device's, not the hart's.
            texts.append([re.sub(r"^ (mip|mideleg) .*\n", "", hmp(line), flags=re.M)
                          for line in ("info registers", "info registers -a", "info registers 1")])
    assert texts[0] == texts[1]


def test_disassembly(nandu_system, tmp_path, program):
    with Machine(nandu_system, tmp_path, "-S", *program, machine="virt") as machine:
        hmp = hmp_of(machine)
        lines = hmp("xp /3i 0x1000").splitlines()
        assert re.fullmatch(r"0x00001000:  00000297          auipc +t0,.*", lines[0])
        assert re.fullmatch(r"0x00001004:  02828613          addi +a2,t0,40", lines[1])
        assert len(lines) == 3
        assert "Cannot access memory" in hmp("x /1i 0xffffffff00000000")
        assert "invalid char in format: 's'" in hmp("x/s 0x1000")


def test_memory_and_tree(nandu_system, tmp_path, program):
    saved, physical = tmp_path / "saved", tmp_path / "physical"
    with Machine(nandu_system, tmp_path, "-m", "64", "-smp", "2", *program, machine="virt") as machine:
        hmp = hmp_of(machine)
        assert hmp(f'memsave 0x80000000 64 "{saved}"') == "" and hmp(f'pmemsave 0x80000000 64 "{physical}"') == ""
        assert saved.read_bytes() == physical.read_bytes() != bytes(64)
        assert re.match(r"Host virtual address for 0x80000000 \(riscv_virt_board.ram\) is 0x[0-9a-f]+\n$",
                        hmp("gpa2hva 0x80000000"))
        tree, flat = hmp("info mtree"), hmp("info mtree -f")
        assert re.search(r"^    0000000080000000-0000000083ffffff \(prio 0, ram\): riscv_virt_board.ram$", tree, re.M)
        assert re.search(r"^FlatView #0$", flat, re.M)
        assert "0000000080000000-0000000083ffffff (prio 0, ram): riscv_virt_board.ram" in flat
        assert re.search(r"^TB count +[1-9]", hmp("info jit"), re.M)
        assert hmp("info registers -a").count("CPU#") == 2


def test_cpu_is_chosen_for_a_session(nandu_system, tmp_path):
    """"cpu" is about the lines of one monitor."""
    process = subprocess.Popen([nandu_system, "-machine", "virt", "-smp", "2", "-S", "-nodefaults", "-display", "none",
                                "-monitor", "stdio"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    out, _ = process.communicate("cpu 1\ninfo cpus\ninfo registers\ncpu 2\nquit\n", timeout=60)
    out = re.sub(r"\x1b\[.|\r", "", out)
    assert re.search(r"^  CPU #0: thread_id=\d+\n\* CPU #1: thread_id=\d+$", out, re.M)
    assert "\nCPU#1\n" in out and "\nCPU#0\n" not in out
    assert "invalid CPU index" in out


def test_no_vcpus(nandu_system, tmp_path):
    with Machine(nandu_system, tmp_path) as machine:
        qmp = machine.client()
        hmp = lambda line: qmp.command("human-monitor-command", command_line=line).replace("\r\n", "\n")
        for line in ("info registers", "x 0", "xp 0", "gva2gpa 0", "sum 0 1", "info jit"):
            assert hmp(line) == "Error: No CPU available\n"
        assert hmp("cpu 0") == "invalid CPU index\n"
        assert qmp.error("inject-nmi") == ("GenericError", "machine does not provide NMIs")


# ---- -d ----

def wait_for(path, pattern):
    end = time.monotonic() + 60
    while True:
        text = path.read_text(errors="replace") if path.exists() else ""
        if re.search(pattern, text, re.M):
            return text
        assert time.monotonic() < end, f"no {pattern!r} in:\n{text[-3000:]}"
        time.sleep(0.02)


@pytest.mark.parametrize("items, pattern", [
    ("in_asm", r"^IN:\n0x00001000:  00000297 +auipc"),
    ("op", r"^OP:\n"),
    ("op_opt", r"^OP after optimization:\n"),
    ("out_asm", r"^OUT:"),
    ("exec", r"^Trace 0: 0x1000$"),
    ("exec,nochain", r"(^Trace 0: 0x80000[0-9a-f]+\n){60}"),
    ("cpu", r"^ pc       0000000000001000\n mhartid"),
    ("cpu,fpu", r"^ fcsr "),
    ("int", r"desc=machine_ecall"),
    ("mmu", r"^mmu: hart:0, pc:0x[0-9a-f]+, fetch:0x0000000080000000 -> 0x0000000080000000 \(x\)"),
    ("cpu_reset", r"^CPU Reset \(CPU 0\)\n pc"),
])
def test_items(nandu_system, tmp_path, program, items, pattern):
    log = tmp_path / "log"
    with Machine(nandu_system, tmp_path, "-d", items, "-D", log, *program, machine="virt"):
        wait_for(log, pattern)


def test_invalid_mem(nandu_system, tmp_path):
    code = tmp_path / "code"
    # lui t0, 0x90000; ld t1, 0(t0); j .
    code.write_bytes(b"".join(w.to_bytes(4, "little") for w in (0x900002b7, 0x0002b303, 0x0000006f)))
    log = tmp_path / "log"
    with Machine(nandu_system, tmp_path, "-d", "invalid_mem", "-D", log, "-bios", "none", "-kernel", code, machine="virt"):
        wait_for(log, r"^invalid load: hart:0, pc:0x0000000080000004, physical address:0xffffffff90000000$")


def test_filter(nandu_system, tmp_path, program):
    log = tmp_path / "log"
    with Machine(nandu_system, tmp_path, "-d", "in_asm,exec", "-dfilter", "0x1000..0x1fff,0x90000000+4096", "-D", log,
                 *program, machine="virt") as machine:
        wait_for(log, "Trace 0: 0x1000")
        machine.client().command("query-status")
        assert "0x80000" not in log.read_text().replace("# 0x80000", "")


def test_log_of_a_running_machine(nandu_system, tmp_path, program):
    first, second = tmp_path / "first", tmp_path / "second"
    with Machine(nandu_system, tmp_path, "-D", first, *program, machine="virt") as machine:
        hmp = hmp_of(machine)
        assert hmp("log in_asm,exec,nochain") == ""
        wait_for(first, "Trace 0: 0x80000")
        wait_for(first, "ecall")
        assert hmp(f"logfile {second}") == ""
        wait_for(second, "Trace 0: 0x80000")
        assert hmp("log none") == ""
        size = second.stat().st_size
        time.sleep(0.1)
        assert second.stat().st_size == size


@pytest.mark.parametrize("arguments, words", [
    (["-d", "strace"], "no log item 'strace': it is for user mode"),
    (["-d", "plugin"], "plugins are not built"),
    (["-d", "pcall"], "for x86"),
    (["-d", "in_as"], "did you mean 'in_asm'"),
    (["-dfilter", "5"], "bad range '5'"),
    (["-dfilter", "5..4"], "bad range '5..4'"),
    (["-dfilter", "0x1000+0"], "bad range"),
])
def test_wrong(nandu_system, arguments, words):
    done = run([nandu_system, "-machine", "none", "-nodefaults", "-display", "none", *arguments], timeout=20)
    assert done.status == 1 and words in done.error and done.error.count("\n") == 1
