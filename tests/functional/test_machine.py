"""RISC-V machines: firmware, device tree, what is loaded, run states, poweroff and reboot, a Debian kernel."""

import gzip
import os
import re
import socket
import struct
import subprocess
import time

import pytest

from conftest import CACHE, run
from qmp import Machine

OPENSBI = "/usr/lib/riscv64-linux-gnu/opensbi/generic/fw_dynamic.bin"
RAM = 0x80000000
COUNTER = RAM + 0x100000

# Little programs for machine mode, loaded at the start of memory.
COUNT = [0x00100297,    # auipc t0, 0x100
         0x0082b303,    # ld t1, 8(t0): how often it was started
         0x00130313,    # addi t1, t1, 1
         0x0062b423,    # sd t1, 8(t0)
         0x0002b023,    # sd zero, 0(t0)
         0x0002b303,    # 1: ld t1, 0(t0)
         0x00130313,    # addi t1, t1, 1
         0x0062b023,    # sd t1, 0(t0)
         0xff5ff06f]    # j 1b


def finisher(value):
    """Writes value to the test finisher, then waits for ever."""
    low = value & 0xfff
    assert low < 0x800
    return [0x001002b7,                             # lui t0, 0x100
            (value >> 12) << 12 | 0x337,            # lui t1, ...
            low << 20 | 0x30313,                    # addi t1, t1, ...
            0x0062a023,                             # sw t1, 0(t0)
            0x0000006f]                             # j .


@pytest.fixture
def program(tmp_path):
    """Writes words to a file that -kernel takes."""
    def write(words):
        path = tmp_path / "program.bin"
        path.write_bytes(b"".join(struct.pack("<I", w) for w in words))
        return ["-bios", "none", "-kernel", path]
    return write


@pytest.fixture(scope="module")
def opensbi():
    if not os.path.exists(OPENSBI):
        pytest.skip("Debian's package opensbi is not installed")


def wait_for(path, pattern, timeout=60):
    """The text of a file once it has the pattern."""
    end = time.monotonic() + timeout
    while True:
        text = path.read_bytes().decode("utf-8", "replace") if path.exists() else ""
        if re.search(pattern, text):
            return text
        assert time.monotonic() < end, f"no {pattern!r} in:\n{text[-3000:]}"
        time.sleep(0.02)


# ---- Firmware ----

@pytest.mark.parametrize("arguments", [[], ["-accel", "tcg,interpreter=on"], ["-accel", "tcg,one-insn-per-tb=on"],
                                       ["-smp", "4"], ["-m", "3G"]])
def test_opensbi(nandu_system, opensbi, tmp_path, arguments):
    serial = tmp_path / "serial"
    with Machine(nandu_system, tmp_path, "-serial", f"file:{serial}", *arguments, machine="virt") as machine:
        text = wait_for(serial, r"Boot HART MEDELEG")
        assert re.search(r"OpenSBI v\d", text)
        assert re.search(r"Platform Name +: riscv-virtio,qemu", text)
        harts = 4 if "-smp" in arguments else 1
        assert re.search(rf"Platform HART Count +: {harts}\b", text)
        qmp = machine.client()
        cpus = qmp.command("query-cpus-fast")
        assert [c["cpu-index"] for c in cpus] == list(range(harts))
        for cpu in cpus:
            assert cpu["qom-path"] == f"/machine/soc0/harts[{cpu['cpu-index']}]"
            assert os.path.exists(f"/proc/{machine.process.pid}/task/{cpu['thread-id']}")
        assert qmp.command("query-status") == {"running": True, "status": "running"}
        assert "does not support" in qmp.error("query-hotpluggable-cpus")[1]
        qmp.command("quit")
        assert machine.process.wait(60) == 0


# ---- The device tree ----

def parse_tree(blob):
    """{path: {property: bytes}} (Devicetree Specification, chapter 5)"""
    magic, _, structs, strings = struct.unpack_from(">4I", blob)
    assert magic == 0xd00dfeed
    nodes, path, at = {}, [], structs
    while True:
        token, = struct.unpack_from(">I", blob, at)
        at += 4
        if token == 1:
            end = blob.index(b"\0", at)
            path.append(blob[at:end].decode())
            nodes["/".join(path) or "/"] = {}
            at = end + 1
        elif token == 2:
            path.pop()
        elif token == 3:
            size, name = struct.unpack_from(">2I", blob, at)
            end = blob.index(b"\0", strings + name)
            nodes["/".join(path) or "/"][blob[strings + name:end].decode()] = blob[at + 8:at + 8 + size]
            at += 8 + size
        elif token == 9:
            return nodes
        at = (at + 3) & ~3


# What is different from QEMU's tree, and why.
MISSING_NODES = {
    "/platform-bus@4000000": "no device that would plug into it is built",
}
OTHER_PROPERTIES = {
    "riscv,isa": "the hypervisor extension isn't built",
    "riscv,isa-extensions": "the hypervisor extension isn't built",
    "riscv,event-to-mhpmcounters": "misses of the TLB aren't counted",
    "rng-seed": "random",
}
# Of the board spike QEMU says less than the harts have.
SPIKE_HARTS = {"mmu-type", "riscv,cbom-block-size", "riscv,cbop-block-size", "riscv,cboz-block-size"}


@pytest.mark.parametrize("arguments", [
    ["virt", "-m", "256"], ["virt", "-smp", "3"], ["virt", "-m", "4G", "-cpu", "rv64,sv57=off"], ["spike", "-m", "64"],
], ids=" ".join)
def test_device_tree_is_qemus(nandu_system, qemu_system, tmp_path, arguments):
    trees = []
    for program_path in nandu_system, qemu_system:
        path = tmp_path / "tree"
        done = run([program_path, "-machine", f"{arguments[0]},dumpdtb={path}", *arguments[1:], "-nodefaults",
                    "-display", "none"])
        assert done.status == 0, done
        trees.append(parse_tree(path.read_bytes()))
    ours, theirs = trees
    assert set(ours) - set(theirs) == set()
    assert set(theirs) - set(ours) == (set(MISSING_NODES) if arguments[0] == "virt" else set())
    different = [(path, name, ours[path].get(name), theirs[path].get(name))
                 for path in ours for name in set(ours[path]) | set(theirs[path])
                 if ours[path].get(name) != theirs[path].get(name) and name not in OTHER_PROPERTIES]
    if arguments[0] == "spike":
        different = [d for d in different if d[1] not in SPIKE_HARTS]
    assert not different


def test_loaded_things_are_in_the_tree(nandu_system, qemu_system, program, tmp_path):
    initrd = tmp_path / "initrd"
    initrd.write_bytes(b"x" * 123456)
    options = [*program(COUNT)[2:], "-initrd", initrd, "-append", "a=b  c"]
    chosen = []
    for program_path in nandu_system, qemu_system:
        path = tmp_path / "tree"
        done = run([program_path, "-machine", f"virt,dumpdtb={path}", *options, "-nodefaults", "-display", "none"])
        assert done.status == 0, done
        chosen.append(parse_tree(path.read_bytes())["/chosen"])
        del chosen[-1]["rng-seed"]
    assert chosen[0] == chosen[1]
    assert chosen[0]["bootargs"] == b"a=b  c\0"


def test_dumpdtb_command_and_dtb_option(nandu_system, opensbi, tmp_path):
    tree, again, serial = tmp_path / "tree", tmp_path / "again", tmp_path / "serial"
    with Machine(nandu_system, tmp_path, "-S", machine="virt") as machine:
        machine.client().command("dumpdtb", filename=str(tree))
    # Another model's name shows that the firmware got this tree.
    tree.write_bytes(tree.read_bytes().replace(b"riscv-virtio,qemu", b"riscv-virtio,test"))
    with Machine(nandu_system, tmp_path, "-dtb", tree, "-serial", f"file:{serial}", machine="virt") as machine:
        wait_for(serial, r"Platform Name +: riscv-virtio,test")
        machine.client().command("dumpdtb", filename=str(again))
    assert parse_tree(again.read_bytes())["/"]["model"] == b"riscv-virtio,test\0"


# ---- Bad input ----

def elf(machine=243, size=64, offset=64 + 56, memory=64, address=RAM):
    header = struct.pack("<16sHHIQQQIHHHHHH", b"\x7fELF\x02\x01\x01", 2, machine, 1, address, 64, 0, 0, 64, 56, 1, 64,
                         0, 0)
    return header + struct.pack("<IIQQQQQQ", 1, 5, offset, address, address, size, memory, 4096) + b"\x13\0\0\0" * 16


BAD_KERNELS = {
    "empty": (b"", "empty"),
    "big": (b"x" * (9 << 20), "memory"),
    "cut off": (elf()[:32], "cut off"),
    "no segment": (elf()[:64], "cut off"),
    "segment outside": (elf(offset=1 << 40), "cut off"),
    "segment wraps": (elf(offset=(1 << 64) - 8), "cut off"),
    "file above memory": (elf(memory=8), "cut off"),
    "elsewhere": (elf(address=0x1000), "fit"),
    "end of the world": (elf(address=(1 << 64) - 64), "fit"),
    "huge": (elf(memory=1 << 63), "fit"),
    "for x86": (elf(machine=62), "RISC-V"),
    "gzip cut off": (gzip.compress(b"x" * 100000)[:50], "gzip"),
    "gzip bomb": (gzip.compress(b"\0" * (1200 << 20), 1), "more than"),
    "zstd damaged": (b"\x28\xb5\x2f\xfd" + b"\xff" * 50, "zstd"),
    "zboot cut off": (b"MZ\0\0zimg" + struct.pack("<II", 64, 1 << 30) + b"\0" * 8 + b"gzip".ljust(32, b"\0"), "cut off"),
    "zboot unknown": (b"MZ\0\0zimg" + struct.pack("<II", 56, 4) + b"\0" * 8 + b"lzma".ljust(32, b"\0") + b"abcd",
                      "lzma"),
}


def refused(nandu_system, *arguments):
    done = run([nandu_system, "-machine", "virt", "-display", "none", "-nodefaults", *arguments])
    assert done.status == 1, done
    return done.error


@pytest.mark.parametrize("name", BAD_KERNELS)
def test_bad_kernels(nandu_system, tmp_path, name):
    data, pattern = BAD_KERNELS[name]
    path = tmp_path / "kernel"
    path.write_bytes(data)
    error = refused(nandu_system, "-m", "8", "-bios", "none", "-kernel", path)
    assert pattern in error and str(path) in error, error
    assert len(error.splitlines()) == 1


def test_bad_files(nandu_system, program, tmp_path):
    kernel = program(COUNT)
    big, garbage = tmp_path / "big", tmp_path / "garbage"
    with open(big, "wb") as f:
        f.truncate(200 << 20)
    garbage.write_bytes(os.urandom(4096))
    cut = tmp_path / "cut"
    cut.write_bytes(b"\xd0\x0d\xfe\xed" + b"\0\0\x10\0" * 20)
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    for arguments, pattern in [
            (["-kernel", tmp_path / "none"], "could not be opened"),
            (["-kernel", tmp_path], "not a regular file"),
            (["-kernel", fifo], "not a regular file"),
            (["-bios", tmp_path / "none"], "could not be opened"),
            (["-bios", big], "memory"),
            ([*kernel, "-initrd", tmp_path / "none"], "could not be opened"),
            ([*kernel, "-initrd", big], "there is room for"),
            ([*kernel, "-m", "250", "-initrd", big], "don't fit"),
            (["-bios", "none", "-initrd", garbage], "-kernel"),
            (["-bios", "none", "-append", "x"], "-kernel"),
            ([*kernel, "-dtb", tmp_path / "none"], "could not be opened"),
            ([*kernel, "-dtb", garbage], "device tree"),
            ([*kernel, "-dtb", cut], "device tree"),
            ([*kernel, "-dtb", big], "there is room for"),
            (["-smp", "513"], "max CPUs"),
            (["-smp", "cpus=3,cores=2"], "Invalid CPU topology"),
            (["-m", "2T"], "memory"),
            (["-cpu", "rv64,h=on"], "not built"),
    ]:
        error = refused(nandu_system, *arguments)
        assert pattern in error, (arguments, error)
        assert len(error.splitlines()) == 1


# ---- Run states ----

def counter(qmp, path, address=COUNTER):
    qmp.command("pmemsave", val=address, size=8, filename=str(path))
    return struct.unpack("<Q", path.read_bytes())[0]


def wait_for_more(qmp, path, than):
    end = time.monotonic() + 60
    while counter(qmp, path) <= than:
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.mark.parametrize("arguments", [[], ["-accel", "tcg,interpreter=on"]])
def test_stop_cont_reset(nandu_system, program, tmp_path, arguments):
    path = tmp_path / "counter"
    with Machine(nandu_system, tmp_path, "-S", *program(COUNT), *arguments, machine="virt") as machine:
        qmp = machine.client()
        assert qmp.command("query-status") == {"running": False, "status": "prelaunch"}
        assert counter(qmp, path) == 0
        qmp.command("cont")
        qmp.event("RESUME")
        wait_for_more(qmp, path, 10000)
        qmp.command("stop")
        qmp.event("STOP")
        assert qmp.command("query-status") == {"running": False, "status": "paused"}
        stood = counter(qmp, path)
        time.sleep(0.1)
        assert counter(qmp, path) == stood
        qmp.command("memsave", val=COUNTER, size=8, filename=str(path), cpu_index=0)
        assert path.read_bytes() == struct.pack("<Q", stood)
        qmp.command("cont")
        wait_for_more(qmp, path, stood)
        # Many times, also while it runs.
        for _ in range(20):
            qmp.command("stop")
            qmp.command("cont")
            qmp.command("system_reset")
            assert qmp.event("RESET")["data"] == {"guest": False, "reason": "host-qmp-system-reset"}
        wait_for_more(qmp, path, 1000)
        qmp.command("stop")
        # Reset while it stands, it begins anew with the next cont, and not before.
        starts = counter(qmp, path, COUNTER + 8)
        qmp.command("system_reset")
        qmp.event("RESET")
        assert counter(qmp, path, COUNTER + 8) == starts
        qmp.command("cont")
        end = time.monotonic() + 60
        while counter(qmp, path, COUNTER + 8) == starts:
            assert time.monotonic() < end
        assert counter(qmp, path, COUNTER + 8) == starts + 1
        qmp.command("system_powerdown")
        qmp.event("POWERDOWN")
        qmp.command("cont")
        qmp.command("quit")
        assert qmp.event("SHUTDOWN")["data"]["reason"] == "host-qmp-quit"
        assert machine.process.wait(60) == 0


def test_saving_memory(nandu_system, program, tmp_path):
    path = tmp_path / "memory"
    words = program(COUNT)
    with Machine(nandu_system, tmp_path, "-S", *words, machine="virt") as machine:
        qmp = machine.client()
        qmp.command("pmemsave", val=RAM - 0, size=len(COUNT) * 4, filename=str(path))
        assert path.read_bytes() == words[3].read_bytes()
        qmp.command("pmemsave", val=0x1000, size=5000, filename=str(path))
        assert path.stat().st_size == 5000
        assert "Invalid addr" in qmp.error("pmemsave", val=RAM + (128 << 20) - 8, size=16, filename=str(path))[1]
        assert "Invalid addr" in qmp.error("memsave", val=0x20, size=8, filename=str(path))[1]
        assert "CPU number" in qmp.error("memsave", val=RAM, size=8, filename=str(path), cpu_index=1)[1]
        assert "size" in qmp.error("pmemsave", val=RAM, size=-1, filename=str(path))[1]
        assert "open" in qmp.error("pmemsave", val=RAM, size=1, filename="/nonexistent/x")[1]


@pytest.mark.parametrize("value, status", [(0x5555, 0), (0x53333, 5), (0x3333, 0)])
def test_guest_ends_the_machine(nandu_system, program, tmp_path, value, status):
    with Machine(nandu_system, tmp_path, "-S", *program(finisher(value)), machine="virt") as machine:
        qmp = machine.client()
        qmp.command("cont")
        assert qmp.event("SHUTDOWN")["data"] == {"guest": True, "reason": "guest-shutdown"}
        assert machine.process.wait(60) == status
        machine.stop = lambda: 0


def test_no_shutdown(nandu_system, program, tmp_path):
    with Machine(nandu_system, tmp_path, "-no-shutdown", *program(finisher(0x5555)), machine="virt") as machine:
        qmp = machine.client()
        end = time.monotonic() + 60
        while qmp.command("query-status")["status"] != "shutdown":
            assert time.monotonic() < end
        assert "Resetting" in qmp.error("cont")[1]


def test_guest_resets_the_machine(nandu_system, program, tmp_path):
    with Machine(nandu_system, tmp_path, "-S", *program(finisher(0x7777)), machine="virt") as machine:
        qmp = machine.client()
        qmp.command("cont")
        for _ in range(50):
            assert qmp.event("RESET")["data"] == {"guest": True, "reason": "guest-reset"}
    with Machine(nandu_system, tmp_path, "-no-reboot", *program(finisher(0x7777)), machine="virt") as machine:
        assert machine.process.wait(60) == 0


# ---- Board spike ----

HTIF = """
.globl _start, tohost, fromhost, begin_signature, end_signature
_start: la t0, tohost
        li t1, %d
        sd t1, 0(t0)
1:      j 1b
.data
.align 12
tohost: .dword 0
.align 6
fromhost: .dword 0
begin_signature: .word 0x11111111, 0x22222222, 0x33333333, 0x44444444
end_signature: .word 0
"""


@pytest.mark.parametrize("code", [0, 7])
def test_htif_ends_the_machine(nandu_system, cross_gcc, tmp_path, code):
    source, program_path, signature = tmp_path / "a.S", tmp_path / "a.elf", tmp_path / "signature"
    source.write_text(HTIF % (code << 1 | 1))
    subprocess.run([cross_gcc, "-nostdlib", "-static", "-Wl,-N,-Ttext=0x80000000,--build-id=none", source, "-o",
                    program_path], check=True)
    done = run([nandu_system, "-machine", f"spike,signature={signature},signature-granularity=4", "-bios", "none",
                "-kernel", program_path, "-display", "none", "-nodefaults"])
    assert done.status == code, done
    assert signature.read_text().split() == ["11111111", "22222222", "33333333", "44444444"]


# ---- A kernel ----

INIT = r"""
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <unistd.h>

int main(void)
{
    char line[64];

    printf("init: %ld processors\n", sysconf(_SC_NPROCESSORS_ONLN));
    fflush(stdout);
    while (fgets(line, sizeof(line), stdin)) {
        if (!strncmp(line, "reboot", 6)) {
            reboot(RB_AUTOBOOT);
        } else if (!strncmp(line, "poweroff", 8)) {
            reboot(RB_POWER_OFF);
        }
        printf("init: got %s", line);
        fflush(stdout);
    }
    return 0;
}
"""


def cpio_entry(name, mode, data=b"", device=(0, 0)):
    fields = [1, mode, 0, 0, 1, 0, len(data), 0, 0, *device, len(name) + 1, 0]
    head = b"070701" + b"".join(b"%08x" % f for f in fields) + name.encode() + b"\0"
    return head + b"\0" * (-len(head) % 4) + data + b"\0" * (-len(data) % 4)


@pytest.fixture(scope="module")
def kernel():
    path = os.path.join(CACHE, "kernel-riscv64-trixie", "vmlinux")
    if not os.path.exists(path):
        pytest.skip("there is no Debian kernel; get it with: tools/fetch-guest-kernel")
    return path


@pytest.fixture(scope="module")
def initrd(cross_gcc, tmp_path_factory):
    folder = tmp_path_factory.mktemp("initrd")
    (folder / "init.c").write_text(INIT)
    subprocess.run([cross_gcc, "-static", "-O2", folder / "init.c", "-o", folder / "init"], check=True)
    path = folder / "initrd"
    path.write_bytes(cpio_entry("dev", 0o40755) + cpio_entry("dev/console", 0o20600, device=(5, 1)) +
                     cpio_entry("init", 0o100755, (folder / "init").read_bytes()) + cpio_entry("TRAILER!!!", 0))
    return path


class Serial:
    """The machine's serial port, on a socket."""

    def __init__(self, path):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(120)
        end = time.monotonic() + 60
        while True:
            try:
                self.sock.connect(str(path))
                break
            except OSError:
                assert time.monotonic() < end
                time.sleep(0.01)
        self.text = ""

    def wait(self, pattern):
        while not re.search(pattern, self.text):
            data = self.sock.recv(65536)
            assert data, self.text[-3000:]
            self.text += data.decode("utf-8", "replace")
        self.text = self.text[re.search(pattern, self.text).end():]

    def send(self, text):
        self.sock.sendall(text.encode())


@pytest.mark.parametrize("arguments", [["-smp", "1"], ["-smp", "2"], ["-smp", "8"], ["-m", "256"], ["-m", "4G"]],
                         ids=" ".join)
def test_linux(nandu_system, opensbi, kernel, initrd, tmp_path, arguments):
    path = tmp_path / "serial"
    options = ["-m", "512"] if "-m" not in arguments else []
    with Machine(nandu_system, tmp_path, *options, *arguments, "-kernel", kernel, "-initrd", initrd, "-append",
                 "console=ttyS0", "-serial", f"unix:{path},server=on,wait=on", machine="virt") as machine:
        serial = Serial(path)
        serial.wait(r"Linux version")
        serial.wait(rf"init: {arguments[1] if '-smp' in arguments else 1} processors")
        serial.send("hello\n")
        serial.wait(r"init: got hello")
        qmp = machine.client()
        qmp.command("stop")
        serial.send("again\n")
        qmp.command("cont")
        serial.wait(r"init: got again")
        serial.send("reboot\n")
        serial.wait(r"Linux version")
        assert qmp.event("RESET")["data"]["reason"] == "guest-reset"
        serial.wait(r"init: \d processors")
        qmp.command("system_reset")
        serial.wait(r"init: \d processors")
        serial.send("poweroff\n")
        serial.wait(r"Power down")
        assert machine.process.wait(60) == 0


@pytest.mark.parametrize("packer", ["gzip", "zstd"])
def test_packed_kernel(nandu_system, opensbi, kernel, initrd, tmp_path, packer):
    packed, serial = tmp_path / "packed", tmp_path / "serial"
    with open(packed, "wb") as out:
        subprocess.run([packer, "-1", "-c", kernel], stdout=out, check=True)
    with Machine(nandu_system, tmp_path, "-m", "512", "-kernel", packed, "-initrd", initrd, "-append", "console=ttyS0",
                 "-serial", f"file:{serial}", machine="virt"):
        wait_for(serial, r"init: 1 processors")
