"""nandu run: what it recognises, what it chooses, and that it starts it."""

import gzip
import os
import re
import shlex
import struct
import subprocess

import pytest
from boot import tiny_initrd
from conftest import CACHE, TOP, build_folder, run

INIT = r"""
#include <stdio.h>
#include <sys/reboot.h>
int main(void)
{
    puts("init: there");
    fflush(stdout);
    return reboot(RB_POWER_OFF);
}
"""


@pytest.fixture(scope="module")
def front():
    return os.path.join(build_folder(), "nandu")


@pytest.fixture(scope="module")
def kernel():
    path = os.path.join(CACHE, "kernel-riscv64-trixie", "vmlinux")
    if not os.path.exists(path):
        pytest.skip("there is no Debian kernel; get it with: tools/fetch-guest-kernel")
    return path


def image_header(magic):
    """Enough of a Linux Image."""
    return b"MZ" + bytes(0x36) + magic + bytes(4096)


def partitioned(kind=0x83, active=0):
    """A PC's partition table with two partitions."""
    table = bytearray(1 << 20)
    for i in range(2):
        table[0x1be + 16 * i:0x1ce + 16 * i] = struct.pack("<B3sB3sII", 0x80 if i == active else 0, b"", kind, b"",
                                                           2048 * (i + 1), 2048)
    table[0x1fe:0x200] = b"\x55\xaa"
    return bytes(table)


def gpt(kinds):
    disk = bytearray(1 << 20)
    disk[512:520] = b"EFI PART"
    disk[512 + 72:512 + 88] = struct.pack("<QII", 2, 128, 128)
    for i, kind in enumerate(kinds):
        disk[1024 + 128 * i:1024 + 128 * i + 16] = bytes.fromhex(kind)
    return bytes(disk)


LINUX_DATA = "af3dc60f838472478e793d69d8477de4"
RISCV64_ROOT = "a670ec7274cfe640bd494bda08e8f224"
EFI_SYSTEM = "28732ac11ff8d211ba4b00a0c93ec93b"


def ext4():
    disk = bytearray(1 << 20)
    disk[0x438:0x43a] = b"\x53\xef"
    return bytes(disk)


def elf(machine=243, kind=2, segments=((1, 0x10000, 0x10000),), flags=5, interpreter=b""):
    """An ELF64 file with segments of (type, vaddr, paddr)."""
    head = struct.pack("<16sHHIQQQIHHHHHH", b"\x7fELF\x02\x01\x01", kind, machine, 1, 0, 64, 0, flags, 64, 56,
                       len(segments), 0, 0, 0)
    table = b""
    for number, vaddr, paddr in segments:
        table += struct.pack("<IIQQQQQQ", number, 5, 64 + 56 * len(segments), vaddr, paddr, len(interpreter),
                             len(interpreter), 4096)
    return head + table + interpreter + bytes(4096)


def dry(front, *words, **environment):
    done = run([front, "run", "-n", *words], extra_env=environment)
    return done, shlex.split(done.text)


def chosen(front, tmp_path, options=(), **files):
    """The words of the command for files with these contents."""
    paths = []
    for name, data in files.items():
        path = tmp_path / name
        path.write_bytes(data)
        paths.append(path)
    done, words = dry(front, *paths, *options)
    assert done.status == 0, done
    return [word.replace(f"{tmp_path}/", "") for word in words]


def value(words, option):
    return words[words.index(option) + 1]


def test_kernel(front, tmp_path):
    words = chosen(front, tmp_path, k=image_header(b"RSC\x05"))
    assert words[0] == "nandu-system-riscv64"
    assert value(words, "-kernel") == "k" and value(words, "-append") == "console=ttyS0"
    assert "-nographic" in words and "-drive" not in words
    assert value(words, "-nic").startswith("user") and value(words, "-device") == "virtio-rng-pci"
    assert 512 <= int(value(words, "-m")) <= 2048


@pytest.mark.parametrize("name, data, option", [
    ("elf", elf(segments=((1, 0xffffffff80000000, 0),)), "-kernel"),
    ("packed", gzip.compress(image_header(b"RSC\x05")), "-kernel"),
    ("zboot", b"MZ\0\0zimg" + bytes(52) + struct.pack("<I", 64) + b"PE\0\0\x64\x50" + bytes(99), "-kernel"),
    ("above", elf(segments=((1, 0x80200000, 0x80200000),)), "-kernel"),
    ("bare", elf(segments=((1, 0x80000000, 0x80000000),)), "-bios"),
    ("opensbi", bytes(100) + b"OpenSBI v1.6" + bytes(100), "-bios"),
], ids=lambda v: v if isinstance(v, str) else "")
def test_software(front, tmp_path, name, data, option):
    assert value(chosen(front, tmp_path, **{name: data}), option) == name


def test_kernel_initrd_tree_and_disks(front, tmp_path):
    """In any order; also names with commas."""
    words = chosen(front, tmp_path, **{"a,b": partitioned(active=1), "i": gzip.compress(b"070701" + bytes(200)),
                                       "d": b"\xd0\x0d\xfe\xed" + bytes(99), "k": image_header(b"RSC\x05"),
                                       "iso": bytes(0x8001) + b"CD001" + bytes(99)})
    assert value(words, "-kernel") == "k" and value(words, "-initrd") == "i" and value(words, "-dtb") == "d"
    assert value(words, "-append") == "root=/dev/vda2 rw console=ttyS0"
    drives = [words[i + 1] for i, word in enumerate(words) if word == "-drive"]
    assert drives == ["file=a,,b,format=raw,if=virtio", "file=iso,format=raw,if=virtio,readonly=on"]


@pytest.mark.parametrize("disk, root", [
    (ext4(), "vda"), (partitioned(), "vda1"), (partitioned(kind=7), "vda1"), (gpt([EFI_SYSTEM, LINUX_DATA]), "vda2"),
    (gpt([LINUX_DATA, EFI_SYSTEM, RISCV64_ROOT]), "vda3"), (b"QFI\xfb" + bytes(600), "vda1"), (b"XFSB" + bytes(600), "vda"),
], ids=["ext4", "mbr", "mbr-other", "gpt", "gpt-root", "qcow2", "xfs"])
def test_root(front, tmp_path, disk, root):
    words = chosen(front, tmp_path, k=image_header(b"RSC\x05"), d=disk)
    assert value(words, "-append") == f"root=/dev/{root} rw console=ttyS0"


def test_disk_alone(front, tmp_path):
    """Started by U-Boot, which is looked for where tools/fetch-guest-packages puts it, too."""
    loader = tmp_path / "packages-riscv64-trixie/u-boot-qemu/usr/lib/u-boot/qemu-riscv64_smode/u-boot.bin"
    disk = tmp_path / "disk"
    disk.write_bytes(partitioned())
    if not os.path.exists("/usr/lib/u-boot/qemu-riscv64_smode/u-boot.bin"):
        done, _ = dry(front, disk, NANDU_CACHE=str(tmp_path))
        assert done.status == 1 and "u-boot-qemu" in done.error
    loader.parent.mkdir(parents=True)
    loader.write_bytes(b"U-Boot 2025.01" + bytes(99))
    _, words = dry(front, disk, NANDU_CACHE=str(tmp_path))
    assert value(words, "-kernel").endswith("u-boot.bin") and "-append" not in words
    # As a file, too.
    words = chosen(front, tmp_path, **{"u-boot.bin": loader.read_bytes()})
    assert value(words, "-kernel") == "u-boot.bin" and "-append" not in words


def test_options_replace(front, tmp_path):
    """Each once, and none that the other contradicts."""
    words = chosen(front, tmp_path, k=image_header(b"RSC\x05"), options=[
        "-m", "4G", "--smp", "8", "-append", "a b", "-display", "none", "-nic", "none", "-machine", "virt,aia=none"])
    assert words[-12:] == ["-m", "4G", "--smp", "8", "-append", "a b", "-display", "none", "-nic", "none", "-machine",
                           "virt,aia=none"]
    for option in ("-m", "-append", "-nic", "-machine"):
        assert words.count(option) == 1, words
    assert "-smp" not in words and "-nographic" not in words
    words = chosen(front, tmp_path, k=image_header(b"RSC\x05"), options=["--", "-nodefaults"])
    assert words[-1] == "-nodefaults" and "-nic" not in words and "-device" not in words


@pytest.mark.parametrize("data, message", [
    (b"", "empty"),
    (b"hello\n", "none of what can be started"),
    (bytes(100), "none of what can be started"),
    (b"#!/bin/sh\n", "script"),
    (b"\x7fELF\x02", "none of what can be started"),
    (b"\x1f\x8b\x08\x00truncated", "none of what can be started"),
    (b"\x28\xb5\x2f\xfdtruncated", "none of what can be started"),
    (b"MZ" + bytes(58) + b"\xff\xff\xff\xff" + bytes(99), "none of what can be started"),
    (b"MZ" + bytes(58) + struct.pack("<I", 64) + b"PE\0\0\x64\x50" + bytes(99), "EFI program"),
    (image_header(b"ARM\x64"), "aarch64"),
    (elf(machine=183), "aarch64"),
    (elf(machine=62), "x86_64"),
    (b"070701" + bytes(200), "name its kernel"),
    (elf(segments=((3, 0, 0),), interpreter=b"/lib/ld-nowhere.so\0"), "/lib/ld-nowhere.so"),
], ids=lambda v: v if isinstance(v, str) else "")
def test_bad_files(front, tmp_path, data, message):
    path = tmp_path / "file"
    path.write_bytes(data)
    done, _ = dry(front, path)
    assert done.status == 1 and message in done.error and done.error.count("\n") == 1, done


def test_bad_words(front, tmp_path):
    kernel, program = tmp_path / "k", tmp_path / "p"
    kernel.write_bytes(image_header(b"RSC\x05"))
    program.write_bytes(elf())
    os.mkfifo(tmp_path / "fifo")
    for words, message in [((), "name a kernel"), (("-m", "1G"), "files come first"), ((tmp_path,), "is a folder"),
                           ((tmp_path / "nothing",), "No such file"), ((tmp_path / "fifo",), "neither"),
                           ((kernel, kernel), "one kernel"), ((kernel, program), "Linux program")]:
        done, _ = dry(front, *words)
        assert done.status == 1 and message in done.error and done.error.count("\n") == 1, done


@pytest.mark.parametrize("seed", range(20))
def test_damaged_heads(front, tmp_path, seed):
    """Fields of headers that point anywhere."""
    import random
    numbers = random.Random(seed)
    for data in (elf(), elf(segments=((3, 0, 0), (1, 0, 0))), gpt([LINUX_DATA]), partitioned(), image_header(b"RSC\x05"),
                 b"MZ" + bytes(58) + struct.pack("<I", 64) + b"PE\0\0" + bytes(99)):
        damaged = bytearray(data[:numbers.randrange(1, len(data))])
        for _ in range(8):
            damaged[numbers.randrange(min(len(damaged), 700))] = numbers.choice((0, 1, 0x7f, 0x80, 0xff))
        path = tmp_path / "file"
        path.write_bytes(damaged)
        assert dry(front, path)[0].status in (0, 1)


def test_program(front, nandu, guest, tmp_path):
    path = guest.path("/usr/bin/uname")
    done = run([front, "run", path, "-m"])
    assert done.status == 0 and done.text == "riscv64\n", done
    assert done.error.startswith(os.path.dirname(nandu)) and "-L " + guest.root + " " in done.error
    done = run([front, "run", guest.path("/usr/bin/busybox"), "sh", "-c", "exit 7"])
    assert done.status == 7, done


def test_machine(front, nandu_system, cross_gcc, kernel, tmp_path):
    """The command that it prints is what it runs."""
    initrd = tiny_initrd(tmp_path, cross_gcc, INIT)
    done = run([front, "run", kernel, initrd, "-nic", "none", "-m", "512", "-smp", "1"])
    assert done.status == 0 and b"init: there" in done.out, done
    words = shlex.split(done.error.splitlines()[0])
    assert words[0] == os.path.basename(nandu_system)
    again = run([nandu_system, *words[1:]])
    assert again.status == 0 and b"init: there" in again.out, again


def test_help(front):
    general, specific = run([front, "help"]), run([front, "run", "--help"])
    assert general.status == 0 and "nandu run" in general.text
    assert specific.status == 0 and run([front, "help", "run"]).text == specific.text
    assert "-kernel" in run([front, "help", "system"]).text
    assert run([front]).status == 1


def test_manual_page(front):
    """It names the commands and options that there are."""
    with open(os.path.join(TOP, "man", "nandu.1"), encoding="utf-8") as f:
        page = f.read().replace("\\-", "-")
    for word in re.findall(r"^ *(?:-\w, )?(--[\w-]+)", run([front, "run", "--help"]).text, re.M):
        assert word in page, word
    for command in re.findall(r"nandu (\w+) ", run([front, "help"]).text):
        assert f"nandu {command}" in page, command
    if not subprocess.run(["which", "man"], capture_output=True, check=False).returncode:
        shown = subprocess.run(["man", "--warnings", "-l", os.path.join(TOP, "man", "nandu.1")], capture_output=True,
                               text=True, env={**os.environ, "MANWIDTH": "80"}, check=False)
        assert shown.returncode == 0 and not shown.stderr, shown.stderr
