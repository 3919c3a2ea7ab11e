"""Virtio devices with Debian's kernel: a console, ports, random bytes, the balloon."""

import glob
import hashlib
import lzma
import os
import random
import re
import socket
import subprocess
import threading
import time

import pytest

from qmp import Machine
from test_machine import Serial, cpio_entry, kernel, opensbi  # noqa: F401  (fixtures)

HERE = os.path.dirname(os.path.abspath(__file__))
MiB = 1 << 20


def module(kernel_path, name):
    """A module of the kernel, unpacked."""
    found = glob.glob(os.path.join(os.path.dirname(kernel_path), "usr/lib/modules/*/kernel/**", name + ".ko.xz"),
                      recursive=True)
    if not found:
        pytest.skip(f"the kernel has no module {name}")
    with lzma.open(found[0]) as f:
        return f.read()


@pytest.fixture(scope="module")
def initrd(cross_gcc, kernel, tmp_path_factory):  # noqa: F811
    folder = tmp_path_factory.mktemp("initrd")
    subprocess.run([cross_gcc, "-static", "-O2", "-o", folder / "init", os.path.join(HERE, "virtio_init.c")], check=True)
    entries = [("dev", 0o40755), ("dev/console", 0o20600, b"", (5, 1)), ("sys", 0o40755), ("modules", 0o40755),
               ("init", 0o100755, (folder / "init").read_bytes())]
    for name in "virtio_mmio", "virtio_balloon", "virtio-rng":
        entries.append((f"modules/{name}.ko", 0o100644, module(kernel, name)))
    path = folder / "initrd"
    path.write_bytes(b"".join(cpio_entry(*e) for e in [*entries, ("TRAILER!!!", 0)]))
    return path


class Guest:
    """A machine whose Linux has a virtconsole, on which its init takes words."""

    def __init__(self, nandu, folder, kernel_path, initrd_path, *arguments, transport="pci", memory="256"):
        self.folder = folder
        console = folder / "console"
        device = {"pci": "virtio-serial-pci", "mmio": "virtio-serial-device"}[transport]
        append = "console=hvc0" if transport == "pci" else "console=ttyS0"
        where = ["-device", "virtconsole,chardev=console"] if transport == "pci" else ["-serial", "chardev:console"]
        self.machine = Machine(nandu, folder, "-m", memory, "-kernel", kernel_path, "-initrd", initrd_path, "-append",
                               append, "-chardev", f"socket,id=console,path={console},server=on,wait=on",
                               "-device", f"{device},id=vs", *where, *arguments, machine="virt")
        self.console_path = console

    def __enter__(self):
        self.machine.__enter__()
        self.console = Serial(self.console_path)
        self.console.wait(r"init: ready")
        self.qmp = self.machine.client()
        return self

    def __exit__(self, *what):
        return self.machine.__exit__(*what)

    def start(self, words):
        self.console.send(words + "\n")

    def do(self, words):
        self.start(words)
        self.console.wait("init: did " + re.escape(words))

    def resident(self):
        """MiB of the host's memory that the machine takes."""
        with open(f"/proc/{self.machine.process.pid}/status", encoding="ascii") as f:
            return int(re.search(r"VmRSS:\s+(\d+)", f.read()).group(1)) // 1024

    def wait_until(self, condition, what, timeout=60):
        end = time.monotonic() + timeout
        while not condition():
            assert time.monotonic() < end, what
            time.sleep(0.05)


@pytest.fixture
def guest(nandu_system, opensbi, kernel, initrd, tmp_path):  # noqa: F811
    def start(*arguments, **options):
        return Guest(nandu_system, tmp_path, kernel, initrd, *arguments, **options)
    return start


def connect(path):
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(120)
    sock.connect(str(path))
    return sock


def exchange(sock, data, pauses=False):
    """Sends data and reads as many bytes back; both sides may be slow. The answer's digest."""
    received = hashlib.sha256()
    left = len(data)

    def send():
        view = memoryview(data)
        while view:
            n = sock.send(view[:random.randrange(1, 200000)])
            view = view[n:]

    thread = threading.Thread(target=send)
    thread.start()
    while left:
        answer = sock.recv(random.randrange(1, 1 << 20))
        assert answer, f"closed, {left} bytes are missing"
        received.update(answer)
        left -= len(answer)
        if pauses and random.randrange(50) == 0:
            time.sleep(0.05)
    thread.join()
    return received.hexdigest()


# ---- Console and ports ----

def test_console(guest):
    with guest() as g:
        g.do("memory")
        # What comes while the machine stands waits.
        g.qmp.command("stop")
        g.start("touch 1")
        time.sleep(0.2)
        g.console.sock.settimeout(0.2)
        with pytest.raises(TimeoutError):
            g.console.wait("init: did")
        g.console.sock.settimeout(120)
        g.qmp.command("cont")
        g.console.wait("init: did touch 1")
        g.start("poweroff")
        assert g.machine.process.wait(60) == 0


@pytest.mark.parametrize("transport", ["pci", "mmio"])
def test_port(guest, tmp_path, transport):
    path = tmp_path / "port"
    size = 100 * MiB
    data = random.Random(1).randbytes(size)
    with guest("-chardev", f"socket,id=p,path={path},server=on,wait=off",
               "-device", "virtserialport,chardev=p,name=org.test.echo,id=port", transport=transport) as g:
        g.start(f"echo org.test.echo {size}")
        g.console.wait("port org.test.echo is open")
        assert g.qmp.event("VSERPORT_CHANGE")["data"] == {"id": "port", "open": True}
        with connect(path) as sock:
            assert exchange(sock, data, pauses=transport == "pci") == hashlib.sha256(data).hexdigest()
        g.console.wait("init: did echo")
        assert g.qmp.event("VSERPORT_CHANGE")["data"] == {"id": "port", "open": False}


def test_port_while_stopping(guest, tmp_path):
    """Nothing is lost while the machine is stopped and started over and over."""
    path = tmp_path / "port"
    data = random.Random(2).randbytes(10 * MiB)
    with guest("-chardev", f"socket,id=p,path={path},server=on,wait=off",
               "-device", "virtserialport,chardev=p,name=org.test.echo") as g:
        g.start(f"echo org.test.echo {len(data)}")
        g.console.wait("is open")
        done = threading.Event()

        def stop_and_go():
            while not done.is_set():
                g.qmp.command("stop")
                time.sleep(0.01)
                g.qmp.command("cont")
                time.sleep(0.03)

        thread = threading.Thread(target=stop_and_go)
        thread.start()
        try:
            with connect(path) as sock:
                assert exchange(sock, data) == hashlib.sha256(data).hexdigest()
        finally:
            done.set()
            thread.join()
        g.console.wait("init: did echo")


def test_port_hot_plug(guest, tmp_path):
    with guest() as g:
        for n in range(3):
            path, size = tmp_path / f"port{n}", 100000
            data = random.Random(n).randbytes(size)
            g.qmp.command("chardev-add", id="p", backend={"type": "socket", "data": {
                "addr": {"type": "unix", "data": {"path": str(path)}}, "server": True, "wait": False}})
            g.qmp.command("device_add", driver="virtserialport", id="port", chardev="p", name=f"test.{n}")
            g.start(f"echo test.{n} {size}")
            g.console.wait("is open")
            with connect(path) as sock:
                assert exchange(sock, data) == hashlib.sha256(data).hexdigest()
            g.console.wait("init: did echo")
            g.qmp.command("device_del", id="port")
            g.qmp.event("DEVICE_DELETED")
            g.qmp.command("chardev-remove", id="p")


# ---- Random bytes ----

def test_rng_limit(guest):
    with guest("-device", "virtio-rng-pci,max-bytes=1024,period=500") as g:
        start = time.monotonic()
        g.do("random 4096")
        # The kernel may have taken some for itself; at most a period's worth was there at once.
        assert time.monotonic() - start > 1


# ---- The balloon ----

def test_balloon(guest):
    with guest("-device", "virtio-balloon-pci,id=balloon", memory="512") as g:
        assert g.qmp.command("query-balloon") == {"actual": 512 * MiB}
        g.do("touch 300")
        g.do("free")
        before = g.resident()
        g.qmp.command("balloon", value=160 * MiB)
        g.wait_until(lambda: g.qmp.command("query-balloon")["actual"] == 160 * MiB, "the balloon isn't filled")
        assert any(e["event"] == "BALLOON_CHANGE" for e in g.qmp.events) or g.qmp.event("BALLOON_CHANGE")
        assert g.resident() < before - 200, (before, g.resident())
        assert "actual=160" in g.qmp.command("human-monitor-command", command_line="info balloon")
        g.qmp.command("human-monitor-command", command_line="balloon 512")
        g.wait_until(lambda: g.qmp.command("query-balloon")["actual"] == 512 * MiB, "the balloon isn't empty")
        g.do("touch 300")       # memory that was given away works again

        g.qmp.command("qom-set", path="balloon", property="guest-stats-polling-interval", value=1)
        def stats():
            return g.qmp.command("qom-get", path="balloon", property="guest-stats")

        # The first ones are from before the memory was touched.
        g.wait_until(lambda: stats()["last-update"] and stats()["stats"]["stat-free-memory"] < 200 * MiB,
                     "no statistics")
        assert 400 * MiB < stats()["stats"]["stat-total-memory"] <= 512 * MiB


def test_free_page_reporting(guest):
    with guest("-device", "virtio-balloon-pci,free-page-reporting=on", memory="512") as g:
        g.do("touch 300")
        assert g.resident() > 300
        full = g.resident()
        g.do("free")
        g.wait_until(lambda: g.resident() < full - 250, "what the guest freed isn't the host's again")
        g.do("touch 300")


def test_deflate_on_oom(guest):
    """A guest that runs out of memory takes it back from the balloon."""
    with guest("-device", "virtio-balloon-pci,deflate-on-oom=on", memory="512") as g:
        g.qmp.command("balloon", value=160 * MiB)
        g.wait_until(lambda: g.qmp.command("query-balloon")["actual"] <= 170 * MiB, "the balloon isn't filled")
        g.do("touch 300")
        assert g.qmp.command("query-balloon")["actual"] > 300 * MiB
