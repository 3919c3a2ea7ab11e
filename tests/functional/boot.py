"""Machines that boot Debian, and their serial lines; for the tests."""

import os
import re
import socket
import subprocess
import time

import pytest
from conftest import CACHE
from qmp import Machine

IMAGE = os.path.join(CACHE, "image-riscv64-trixie-base")
PACKAGES = os.path.join(CACHE, "packages-riscv64-trixie")
OPENSBI = "/usr/lib/riscv64-linux-gnu/opensbi/generic/fw_dynamic.bin"
PROMPT = r"root@nandu:[^\n]*# "
TIMEOUT = 240       # seconds, for one step of a boot on a busy machine
ESCAPES = re.compile(r"\x1b(?:\[[0-9;?!]*[A-Za-z@]|[78()][A-Z0-9]?|\][^\x07]*\x07)|\r")


def need(path, how):
    if not os.path.exists(path):
        pytest.skip(f"{path} is not there; get it with: {how}")
    return path


def image(name):
    """A file of the guest image: disk.img, vmlinux, initrd.img."""
    return need(os.path.join(IMAGE, name), "make guest-image")


def package(path):
    """A file of a fetched package."""
    return need(os.path.join(PACKAGES, path), "tools/fetch-guest-packages")


def copy_disk(folder):
    """A disk that may be written to."""
    path = os.path.join(str(folder), "disk.img")
    subprocess.run(["cp", "--sparse=always", "--reflink=auto", image("disk.img"), path], check=True)
    return path


class Serial:
    """A machine's serial port or console, on a socket that it listens on."""

    def __init__(self, path):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(1)
        self.text = self.all = ""
        end = time.monotonic() + 60
        while True:
            try:
                self.sock.connect(str(path))
                break
            except OSError:
                assert time.monotonic() < end, f"nobody listens on {path}"
                time.sleep(0.01)

    def wait(self, pattern, timeout=TIMEOUT):
        """What came up to the pattern, which it takes as well. Escape sequences are left out."""
        end = time.monotonic() + timeout
        while not (found := re.search(pattern, self.text)):
            assert time.monotonic() < end, f"no {pattern!r} within {timeout} s: {self.all[-3000:]}"
            try:
                data = self.sock.recv(65536)
            except TimeoutError:
                continue
            assert data, f"the machine ended before {pattern!r}: {self.all[-3000:]}"
            # A sequence may come in two parts.
            self.text = ESCAPES.sub("", self.text + data.decode("utf-8", "replace"))
            self.all = (self.all + ESCAPES.sub("", data.decode("utf-8", "replace")))[-100000:]
        before, self.text = self.text[:found.start()], self.text[found.end():]
        return before

    def send(self, text):
        self.sock.sendall(text.encode())

    def run(self, command, status=0, timeout=TIMEOUT):
        """Runs a command in the shell that waits there; its output."""
        self.send(f"{command}; echo status=$?\n")
        output = self.wait(r"status=(?=\d+)", timeout)
        rest = self.wait(PROMPT, timeout)
        assert int(rest.split()[0]) == status, (command, output, rest)
        return output.strip()

    def plain_shell(self):
        """In place of the shell that waits there one that doesn't repeat what it is sent."""
        self.send("stty -echo; PS1='root@nandu:''plain# ' exec dash -i\n")
        self.wait(r"root@nandu:plain# ")

    def drain(self, timeout=TIMEOUT):
        """Takes all that comes until the machine ends: it may wait for us to do so."""
        end = time.monotonic() + timeout
        data = b"x"
        while data:
            assert time.monotonic() < end, f"no end within {timeout} s: {self.all[-3000:]}"
            try:
                data = self.sock.recv(65536)
                self.all = (self.all + ESCAPES.sub("", data.decode("utf-8", "replace")))[-100000:]
            except TimeoutError:
                pass
            except ConnectionResetError:
                return

    def close(self):
        self.sock.close()


class Debian(Machine):
    """The guest image on its way; .serial is ttyS0."""

    def __init__(self, program, folder, *options, disk=None, kernel=True, network=True):
        path = os.path.join(str(folder), f"serial-{time.monotonic_ns()}.sock")
        need(OPENSBI, "apt install opensbi")
        arguments = ["-serial", f"unix:{path},server=on,wait=on",
                     "-drive", f"file={disk or copy_disk(folder)},format=raw,if=virtio", "-device", "virtio-rng-pci"]
        if kernel:
            arguments += ["-kernel", image("vmlinux"), "-initrd", image("initrd.img"), "-append",
                          "root=/dev/vda1 rw console=ttyS0"]
        if network:
            arguments += ["-netdev", "user,id=net0", "-device", "virtio-net-pci,netdev=net0,mac=52:54:00:12:34:56"]
        super().__init__(program, folder, *arguments, *options, machine="virt")
        try:
            self.serial = Serial(path)
        except AssertionError as fault:
            self.process.kill()
            raise AssertionError(self.output()) from fault

    def shell(self):
        self.serial.wait(PROMPT)
        self.serial.plain_shell()

    def power_off(self):
        """From the shell; the program's status."""
        self.serial.send("poweroff\n")
        self.serial.drain()
        status = self.process.wait(TIMEOUT)
        self.serial.close()
        return status


def cpio(files):
    """An initrd of [(name, mode, data, device)]."""
    out = b""
    for name, mode, data, device in [*files, ("TRAILER!!!", 0, b"", (0, 0))]:
        fields = [1, mode, 0, 0, 1, 0, len(data), 0, 0, *device, len(name) + 1, 0]
        head = b"070701" + b"".join(b"%08x" % f for f in fields) + name.encode() + b"\0"
        out += head + b"\0" * (-len(head) % 4) + data + b"\0" * (-len(data) % 4)
    return out


def tiny_initrd(folder, cross_gcc, source):
    """An initrd whose init is a C program."""
    program = os.path.join(str(folder), "init")
    with open(program + ".c", "w", encoding="ascii") as f:
        f.write(source)
    subprocess.run([cross_gcc, "-static", "-O2", program + ".c", "-o", program], check=True)
    with open(program, "rb") as f:
        data = f.read()
    path = os.path.join(str(folder), "tiny-initrd")
    with open(path, "wb") as f:
        f.write(cpio([("dev", 0o40755, b"", (0, 0)), ("dev/console", 0o20600, b"", (5, 1)),
                      ("init", 0o100755, data, (0, 0))]))
    return path
