"""PCI of the machine virt: Linux finds devices on the root bus and behind root ports, they come and go; errors."""

import json
import lzma
import os
import re
import struct
import subprocess
import time

import pytest

from conftest import run
from qmp import Machine
from test_machine import Serial, cpio_entry, kernel, opensbi    # noqa: F401 (fixtures)

INIT = os.path.join(os.path.dirname(__file__), "pci_init.c")
PORT = "0000:00:01.0"
BUTTON, PRESENCE, COMPLETED, PRESENT, LINK = 1, 8, 0x10, 0x40, 0x100
MODULES = ["drivers/char/hw_random/virtio-rng", "drivers/virtio/virtio_mmio", "drivers/block/virtio_blk",
           "net/core/failover", "drivers/net/net_failover", "drivers/net/virtio_net"]


def module(kernel_path, name):
    folder = os.path.join(os.path.dirname(kernel_path), "usr/lib/modules")
    path = os.path.join(folder, os.listdir(folder)[0], "kernel", name + ".ko.xz")
    return lzma.decompress(open(path, "rb").read())


@pytest.fixture(scope="module")
def initrd(cross_gcc, kernel, tmp_path_factory):    # noqa: F811
    folder = tmp_path_factory.mktemp("initrd")
    subprocess.run([cross_gcc, "-static", "-O2", INIT, "-o", folder / "init"], check=True)
    path = folder / "initrd"
    path.write_bytes(cpio_entry("dev", 0o40755) + cpio_entry("dev/console", 0o20600, device=(5, 1)) +
                     b"".join(cpio_entry(os.path.basename(name) + ".ko", 0o100644, module(kernel, name))
                              for name in MODULES) +
                     cpio_entry("init", 0o100755, (folder / "init").read_bytes()) + cpio_entry("TRAILER!!!", 0))
    return path


class Guest:
    """A machine that runs pci_init.c."""

    def __init__(self, program, kernel_path, initrd_path, folder, *arguments):
        path = folder / f"serial-{time.monotonic_ns()}"
        self.machine = Machine(program, folder, "-m", "256", "-kernel", kernel_path, "-initrd", initrd_path, "-append",
                               "console=ttyS0 quiet", "-serial", f"unix:{path},server=on,wait=on", *arguments,
                               machine="virt")
        self.serial = Serial(path)
        self.serial.wait("init: ready")
        self.qmp = self.machine.client()

    def __enter__(self):
        self.machine.__enter__()
        return self

    def __exit__(self, *exception):
        return self.machine.__exit__(*exception)

    def ask(self, line):
        """What the command printed."""
        self.serial.send(line + "\n")
        text = ""
        while "\nready" not in text:
            data = self.serial.sock.recv(65536)
            assert data
            text += data.decode("utf-8", "replace").replace("\r", "")
        assert "FAILED" not in text, text
        return text

    def list(self):
        """{address: (vendor, device, class, driver)}"""
        found = re.findall(r"^pci (\S+) 0x(\w+) 0x(\w+) 0x(\w+) (\S+)$", self.ask("list"), re.M)
        return {f[0]: (int(f[1], 16), int(f[2], 16), int(f[3], 16), f[4]) for f in found}

    def status(self):
        """Slot status and control of the port."""
        found = re.search(r"slot status 0x(\w+) control 0x(\w+)", self.ask(f"status {PORT}"))
        return int(found[1], 16), int(found[2], 16)


@pytest.fixture
def guest(nandu_system, opensbi, kernel, initrd, tmp_path):     # noqa: F811
    return lambda *arguments: Guest(nandu_system, kernel, initrd, tmp_path, *arguments)


# ---- At start ----

def test_linux_finds_devices(guest, tmp_path):
    out = tmp_path / "port"
    with guest("-device", "virtio-rng-pci,addr=3.0,multifunction=on", "-device", "virtio-balloon-pci,addr=3.1",
               "-device", "pcie-root-port,id=rp1,chassis=1,addr=4", "-chardev", f"file,id=c,path={out}", "-device",
               "virtio-serial-pci,bus=rp1,id=vs", "-device", "virtserialport,chardev=c,name=port.0", "-device",
               "virtio-rng-device") as g:
        found = g.list()
        assert found == {
            "0000:00:00.0": (0x1b36, 0x0008, 0x060000, "-"),
            "0000:00:03.0": (0x1af4, 0x1005, 0x00ff00, "virtio-pci"),
            "0000:00:03.1": (0x1af4, 0x1002, 0x00ff00, "virtio-pci"),
            "0000:00:04.0": (0x1b36, 0x000c, 0x060400, "pcieport"),
            "0000:01:00.0": (0x1af4, 0x1043, 0x078000, "virtio-pci"),
        }
        g.ask("insmod /virtio-rng.ko")
        assert "random from virtio_rng.0: 64 bytes" in g.ask("random")
        # By interrupts of the pin: without them the write would never be over.
        name = re.search(r"\b(vport\dp1)\b", g.ask("ls /dev"))[1]
        assert "wrote 5 to" in g.ask(f"echo /dev/{name} hello")
        assert out.read_text() == "hello"
        g.ask("insmod /virtio_mmio.ko")
        assert "10008000.virtio_mmio" in g.ask("ls /sys/bus/platform/drivers/virtio-mmio")
        assert "virtio3" in g.ask("ls /sys/devices/platform/soc/10008000.virtio_mmio")

        bus = g.qmp.command("query-pci")[0]
        assert bus["bus"] == 0 and [d["slot"] for d in bus["devices"]] == [0, 3, 3, 4]
        bridge = bus["devices"][3]["pci_bridge"]
        assert bridge["bus"]["secondary"] == 1 and bridge["bus"]["memory_range"]["base"] >= 0x40000000
        assert [d["qdev_id"] for d in bridge["devices"]] == ["vs"]
        bars = bridge["devices"][0]["regions"]
        assert [b["bar"] for b in bars] == [1, 4]
        assert all(b["address"] > 0 for b in bars)
        text = g.qmp.command("human-monitor-command", command_line="info pci").replace("\r", "")
        assert re.search(r"Bus  1, device   0, function 0:\n +Class 1920: PCI device 1af4:1043", text)
        text = g.qmp.command("human-monitor-command", command_line="info qtree").replace("\r", "")
        assert re.search(r"bus: rp1\n +type PCIE\n +dev: virtio-serial-pci, id \"vs\"", text)

        # All of it again.
        g.serial.send("reboot\n")
        g.serial.wait("init: ready")
        assert g.list() == found


def test_devices_as_libvirt_gives_them(nandu_system, tmp_path):
    devices = [{"driver": "pcie-root-port", "port": 8 + i, "chassis": i + 1, "id": f"pci.{i + 1}", "bus": "pcie.0",
                "addr": f"0x1.0x{i}" if i else "0x1", **({} if i else {"multifunction": True})} for i in range(4)]
    devices += [{"driver": "virtio-serial-pci", "id": "virtio-serial0", "bus": "pci.2", "addr": "0x0"},
                {"driver": "virtserialport", "bus": "virtio-serial0.0", "nr": 1, "chardev": "charchannel0",
                 "id": "channel0", "name": "org.qemu.guest_agent.0"},
                {"driver": "virtio-balloon-pci", "id": "balloon0", "bus": "pci.3", "addr": "0x0"},
                {"driver": "virtio-rng-pci", "rng": "objrng0", "id": "rng0", "bus": "pci.4", "addr": "0x0"}]
    options = [o for d in devices for o in ("-device", json.dumps(d))]
    with Machine(nandu_system, tmp_path, "-S", "-object", '{"qom-type":"rng-builtin","id":"objrng0"}', "-chardev",
                 "null,id=charchannel0", *options, machine="virt") as machine:
        qmp = machine.client()
        found = {d["qdev_id"]: (d["slot"], d["function"]) for d in qmp.command("query-pci")[0]["devices"]}
        assert found == {"": (0, 0), "pci.1": (1, 0), "pci.2": (1, 1), "pci.3": (1, 2), "pci.4": (1, 3)}
        names = {p["name"] for p in qmp.command("qom-list", path="/machine/peripheral")}
        assert names == {"type", *(d["id"] for d in devices)}
        assert qmp.command("qom-get", path="/machine/peripheral/rng0", property="addr") == "00.0"
        qmp.command("qom-set", path="/machine/peripheral/balloon0", property="guest-stats-polling-interval", value=5)
        assert "stats" in qmp.command("qom-get", path="/machine/peripheral/balloon0", property="guest-stats")
        qmp.command("device_add", driver="virtio-rng-pci", id="rng1", bus="pci.1", addr="0x0")
        qmp.command("device_del", id="rng1")


GLOBALS = [
    ("foo", "it is DRIVER.PROPERTY=VALUE"),
    ("driver=virtio-mmio,property=force-legacy", "it is DRIVER.PROPERTY=VALUE"),
    ("foo.bar=1", "there is no device type 'foo'"),
    ("rng-builtin.bar=1", "there is no device type 'rng-builtin'"),
    ("virtio-mmio.bar=1", "Property 'virtio-mmio.bar' not found"),
    ("virtio-mmio.force-legacy=maybe", "expects 'on' or 'off'"),
    ("virtio-rng-device.period=0", "'period' parameter expects a positive integer"),
]


@pytest.mark.parametrize("text, error", GLOBALS)
def test_wrong_globals(nandu_system, opensbi, text, error):     # noqa: F811
    done = run([nandu_system, "-machine", "virt", "-display", "none", "-nodefaults", "-S", "-global", text, "-device",
                "virtio-rng-pci"])
    assert done.status == 1 and error in done.error, done
    assert len(done.error.splitlines()) == 1


def test_globals(nandu_system, tmp_path):
    with Machine(nandu_system, tmp_path, "-S", "-global", "virtio-mmio.force-legacy=false", "-global",
                 "driver=virtio-rng-device,property=period,value=7", "-global", "virtio-rng-pci.vectors=5", "-global",
                 "virtio-balloon-pci.vectors=1", "-device", "virtio-rng-pci,id=a", "-device",
                 "virtio-rng-pci,id=b,vectors=3,period=9", machine="virt") as machine:
        qmp = machine.client()
        read = lambda path, name: qmp.command("qom-get", path=path, property=name)     # noqa: E731
        assert not read("/machine/virtio-mmio1", "force-legacy")
        assert [read(f"/machine/peripheral/{i}", p) for i in "ab" for p in ("vectors", "period")] == [5, 7, 3, 9]
        assert "warning: -global virtio-balloon-pci.vectors=1: no such device was made" in machine.output()


# ---- While it runs ----

def plug(g, driver, ident, **properties):
    """What a hot-plug driver does when a device has come."""
    g.qmp.command("device_add", driver=driver, id=ident, bus="rp1", **properties)
    status, control = g.status()
    assert status & (BUTTON | PRESENCE | PRESENT) == BUTTON | PRESENCE | PRESENT and control & 0x400
    assert "0000:01:00.0" not in g.list()
    g.ask(f"power {PORT} 1 1")
    status, control = g.status()
    assert status & (COMPLETED | PRESENT | LINK) == COMPLETED | PRESENT | LINK and not control & 0x400
    g.ask("write /sys/bus/pci/rescan 1")
    assert g.list()["0000:01:00.0"][0] == 0x1af4


def unplug(g, ident):
    g.qmp.command("device_del", id=ident)
    status, _ = g.status()
    assert status & (BUTTON | PRESENT) == BUTTON | PRESENT
    assert "already in the process of unplug" in g.qmp.error("device_del", id=ident)[1]
    g.ask("write /sys/bus/pci/devices/0000:01:00.0/remove 1")
    g.ask(f"power {PORT} 0 2")
    assert not [e for e in g.qmp.events if e["event"] == "DEVICE_DELETED"]
    g.ask(f"power {PORT} 0 3")
    while True:
        event = g.qmp.event("DEVICE_DELETED")["data"]
        if event.get("device"):
            break
        assert event["path"] == f"/machine/peripheral/{ident}/virtio-backend"
    assert event == {"device": ident, "path": f"/machine/peripheral/{ident}"}
    status, _ = g.status()
    assert status & (PRESENCE | PRESENT) == PRESENCE
    assert "0000:01:00.0" not in g.list()
    assert g.qmp.error("device_del", id=ident)[0] == "DeviceNotFound"


def test_hot_plug_rng(guest):
    with guest("-device", "pcie-root-port,id=rp1,chassis=1,slot=1") as g:
        status, control = g.status()
        assert not status & PRESENT and control & 0x700 == 0x700
        g.ask("insmod /virtio-rng.ko")
        for _ in range(3):
            plug(g, "virtio-rng-pci", "hot")
            assert re.search(r"random from virtio_rng.\d: 64 bytes", g.ask("random"))
            unplug(g, "hot")
        plug(g, "virtio-balloon-pci", "hot")
        unplug(g, "hot")


def test_hot_plug_disk(guest, tmp_path):
    image = tmp_path / "disk"
    image.write_bytes(b"first sector".ljust(1 << 20, b"\0"))
    with guest("-device", "pcie-root-port,id=rp1,chassis=1,slot=1") as g:
        g.ask("insmod /virtio_blk.ko")
        for _ in range(2):
            g.qmp.command("blockdev-add", driver="file", filename=str(image), node_name="d")
            plug(g, "virtio-blk-pci", "disk", drive="d")
            assert " vda " in g.ask("ls /sys/block")
            assert "read first sector" in g.ask("head /dev/vda")
            assert "wrote 5 to /dev/vda" in g.ask("echo /dev/vda FIRST")
            assert "use" in g.qmp.error("blockdev-del", node_name="d")[1]
            unplug(g, "disk")
            assert " vda " not in g.ask("ls /sys/block")
            g.qmp.command("blockdev-del", node_name="d")
            assert image.read_bytes()[:12] == b"FIRST sector"
            image.write_bytes(b"first sector".ljust(1 << 20, b"\0"))


def test_hot_plug_nic(guest):
    with guest("-device", "pcie-root-port,id=rp1,chassis=1,slot=1") as g:
        for name in ["failover", "net_failover", "virtio_net"]:
            g.ask(f"insmod /{name}.ko")
        for _ in range(2):
            g.qmp.command("netdev_add", type="user", id="n")
            plug(g, "virtio-net-pci", "nic", netdev="n", mac="52:54:00:12:34:99")
            assert " eth0 " in g.ask("ls /sys/class/net")
            assert "read 52:54:00:12:34:99" in g.ask("head /sys/class/net/eth0/address")
            unplug(g, "nic")
            assert " eth0 " not in g.ask("ls /sys/class/net")
            g.qmp.command("netdev_del", id="n")


def test_hot_plug_is_taken_back(guest):
    with guest("-device", "pcie-root-port,id=rp1,chassis=1,slot=1", "-device", "virtio-rng-pci,id=cold,bus=rp1") as g:
        assert g.status()[1] & 0x700 == 0x100
        g.qmp.command("device_del", id="cold")
        # The guest's user presses the button again before it is done.
        g.ask(f"power {PORT} 1 2")
        assert "already in the process" in g.qmp.error("device_del", id="cold")[1]
        g.ask(f"power {PORT} 1 1")
        assert g.qmp.event("DEVICE_UNPLUG_GUEST_ERROR")["data"] == {"device": "cold",
                                                                     "path": "/machine/peripheral/cold"}
        assert "0000:01:00.0" in g.list()
        # A reset takes what the guest was asked for and didn't answer.
        g.qmp.command("device_del", id="cold")
        g.qmp.command("system_reset")
        g.serial.wait("init: ready")
        assert g.qmp.event("DEVICE_DELETED")
        assert "0000:01:00.0" not in g.list()


def test_unplug_releases_the_chardev(nandu_system, tmp_path):
    with Machine(nandu_system, tmp_path, "-S", "-device", "pcie-root-port,id=rp1", "-chardev", "null,id=c",
                 machine="virt") as machine:
        qmp = machine.client()
        for _ in range(2):
            qmp.command("device_add", driver="virtio-serial-pci", id="vs", bus="rp1")
            qmp.command("device_add", driver="virtserialport", id="port", bus="vs.0", chardev="c")
            assert "in use" in qmp.error("chardev-remove", id="c")[1] or "busy" in qmp.error("chardev-remove", id="c")[1]
            qmp.command("device_del", id="vs")      # nobody runs: nobody is asked
            paths = [e["data"]["path"] for e in qmp.events if e["event"] == "DEVICE_DELETED"]
            assert paths[-3:] == ["/machine/peripheral/port", "/machine/peripheral/vs/virtio-backend",
                                  "/machine/peripheral/vs"]
        qmp.command("chardev-remove", id="c")


# ---- Errors ----

@pytest.mark.parametrize("devices, error", [
    (["virtio-rng-pcj"], "'virtio-rng-pcj' is not a valid device model name; did you mean 'virtio-rng-pci'?"),
    (["pci-device"], "Parameter 'driver' expects a non-abstract device type"),
    (["riscv.sifive.plic"], "Parameter 'driver' expects a pluggable device type"),
    (["gpex-root"], "Parameter 'driver' expects a pluggable device type"),
    (["virtio-rng-pci,bus=nope"], "Bus 'nope' not found"),
    (["virtio-rng-pci,bus=virtio-mmio-bus.0"], "Device 'virtio-rng-pci' can't go on virtio-mmio-bus bus"),
    (["virtio-rng-device,bus=pcie.0"], "Device 'virtio-rng-device' can't go on PCIE bus"),
    (["virtserialport"], "No 'virtio-serial-bus' bus found for device 'virtserialport'"),
    (["virtio-rng-device"] * 9, "No 'virtio-bus' bus found for device 'virtio-rng-device'"),
    (["virtio-rng-pci"] * 32, "PCI: no slot/function available for virtio-rng-pci, all in use or reserved"),
    (["virtio-rng-pci,addr=0"], "PCI: slot 0 function 0 not available for virtio-rng-pci, in use by gpex-root,id=(null)"),
    (["virtio-rng-pci,addr=40"], "Property 'virtio-rng-pci.addr' doesn't take value '40'"),
    (["virtio-rng-pci,addr=1.8"], "Property 'virtio-rng-pci.addr' doesn't take value '1.8'"),
    (["virtio-rng-pci,addr="], "Property 'virtio-rng-pci.addr' doesn't take value ''"),
    (["virtio-rng-pci,addr=5,id=a", "virtio-rng-pci,addr=5"], "in use by virtio-rng-pci,id=a"),
    (["virtio-rng-pci,addr=1.0", "virtio-rng-pci,addr=1.1"], "single function device can't be populated in function 1.1"),
    (["virtio-rng-pci,addr=1.1", "virtio-rng-pci,addr=1.0"],
     "1.0 indicates single function, but 1.1 is already populated."),
    (["virtio-rng-pci,id=a", "virtio-balloon-pci,id=a"], "Duplicate ID 'a' for device"),
    (["virtio-rng-pci,id=1a"], "Parameter 'id' expects an identifier"),
    (["virtio-rng-pci,foo=1"], "Property 'virtio-rng-pci.foo' not found"),
    (["virtio-rng-pci,rng=zz"], "Device 'zz' not found"),
    (["virtio-rng-pci,disable-modern=on,disable-legacy=on"], "neither modern nor legacy"),
    (["pcie-root-port", "pcie-root-port"], "Can't add chassis slot, error -16"),
    (["pcie-root-port,slot=9000"], "slot is 9000"),
    (["pcie-root-port,id=a", "pcie-root-port,bus=a,chassis=1"], "host bridge only"),
    (["pcie-root-port,id=a", "virtio-rng-pci,bus=a,addr=3"], "only allows plugging into slot 0"),
    (["pcie-root-port,id=a", "virtio-rng-pci,bus=a", "virtio-rng-pci,bus=a"], "not available for virtio-rng-pci"),
    (["loader"], "please include valid arguments"),
    (["loader,file=/nonexistent"], "/nonexistent"),
    (["loader,data=5"], "Both data and data-len must be specified"),
    (["loader,addr=0x80000000,data=5,data-len=9"], "data-len cannot be greater than 8 bytes"),
    (["loader,file=/etc/passwd,data=4,data-len=4"], "Specifying a file is not supported"),
    (["loader,addr=0x80000000,data=5,data-len=4,force-raw=on"], "Specifying force-raw is not supported"),
    (["loader,addr=5"], "cpu-num must be specified"),
    (["loader,addr=5,cpu-num=1"], "Specified boot CPU#1 is nonexistent"),
    (["loader,file=/etc/passwd"], "don't fit"),
    (["loader,addr=0x80000000,data=5,data-len=4"], "would be over firmware"),
    (["loader,addr=5,cpu-num=0,bus=pcie.0"], "does not go on a bus"),
])
def test_refused_at_start(nandu_system, opensbi, devices, error):   # noqa: F811
    options = [o for device in devices for o in ("-device", device)]
    done = run([nandu_system, "-machine", "virt", "-display", "none", "-nodefaults", "-S", *options])
    assert done.status == 1 and error in done.error and f"-device {devices[-1]}: " in done.error, done.error
    assert len(done.error.splitlines()) == 1


def test_refused_while_it_runs(nandu_system, tmp_path):
    with Machine(nandu_system, tmp_path, "-S", "-device", "pcie-root-port,id=rp1,chassis=1", "-device",
                 "pcie-root-port,id=fixed,chassis=2,hotplug=off", "-device", "virtio-rng-pci,id=cold",
                 machine="virt") as machine:
        qmp = machine.client()
        for arguments, text in [
                ({}, "Parameter 'driver' is missing"),
                ({"driver": 5}, "Invalid parameter type for 'driver', expected: string"),
                ({"driver": "foo"}, "'foo' is not a valid device model name"),
                ({"driver": "serial-mm"}, "Parameter 'driver' expects a pluggable device type"),
                ({"driver": "loader", "addr": 5, "cpu-num": 0}, "Device 'loader' can not be hotplugged on this machine"),
                ({"driver": "virtio-rng-pci"}, "Bus 'pcie.0' does not support hotplugging"),
                ({"driver": "virtio-rng-pci", "bus": "fixed"}, "Bus 'fixed' does not support hotplugging"),
                ({"driver": "virtio-rng-device"}, "Bus 'virtio-mmio-bus.7' does not support hotplugging"),
                ({"driver": "virtio-rng-pci", "bus": "none"}, "Bus 'none' not found"),
                ({"driver": "virtio-rng-pci", "bus": "rp1", "foo": 1}, "Property 'virtio-rng-pci.foo' not found"),
                ({"driver": "virtio-rng-pci", "bus": "rp1", "period": 0}, "'period' parameter expects"),
                ({"driver": "virtio-rng-pci", "bus": "rp1", "multifunction": "on"}, "expected: boolean"),
                ({"driver": "virtio-rng-pci", "bus": "rp1", "id": "cold"}, "Duplicate device ID 'cold'"),
                ({"driver": "virtio-rng-pci", "bus": "rp1", "id": "a/b"}, "'a/b' can't be the name of an object"),
        ]:
            qmp.send({"execute": "device_add", "arguments": arguments})
            answer = qmp.answer()
            assert text in answer["error"]["desc"], (arguments, answer)
        assert qmp.command("qom-list", path="/machine/peripheral-anon") == [{"name": "type", "type": "string"}]
        qmp.command("device_add", driver="virtio-rng-pci", bus="rp1", id="a")
        assert "already occupied" in qmp.error("device_add", driver="virtio-rng-pci", bus="rp1", id="b")[1]
        assert qmp.error("device_del", id="b") == ("DeviceNotFound", "Device 'b' not found")
        assert qmp.error("device_del", id="cold")[1] == "Bus 'pcie.0' does not support hotplugging"
        assert qmp.error("device_del", id="rp1")[1] == "Bus 'pcie.0' does not support hotplugging"
        assert qmp.error("device_del", id="/machine")[1] == "/machine is not a device"
        assert "not support hotplugging" in qmp.error("device_del", id="/machine/plic")[1]
        hmp = lambda line: qmp.command("human-monitor-command", command_line=line)     # noqa: E731
        assert hmp("device_del a") == ""
        assert qmp.command("qom-list", path="/machine/peripheral/rp1")
        assert hmp("device_add virtio-rng-pci,id=a,bus=rp1") == ""
        assert "Duplicate ID 'a'" in hmp("device_add virtio-rng-pci,id=a,bus=rp1")
        assert "virtio-rng-pci" in hmp("device_add help")
        assert "period=<uint32>" in hmp("device_add virtio-rng-pci,help")
        assert "DeviceNotFound" in hmp("device_del x") or "not found" in hmp("device_del x")


# ---- -device loader ----

def test_loader(nandu_system, tmp_path):
    program, data, memory = tmp_path / "program", tmp_path / "data", tmp_path / "memory"
    data.write_bytes(b"0123456789")
    # Writes 0x55 behind itself; then to the test device: power off.
    program.write_bytes(struct.pack("<6I", 0x00000297, 0x05500313, 0x0262a023, 0x001002b7, 0x00005337, 0x55530313) +
                        struct.pack("<2I", 0x0062a023, 0x0000006f))
    options = ["-bios", "none", "-device", f"loader,file={data},addr=0x80300000,force-raw=on", "-device",
               "loader,addr=0x80300010,data=0x1122334455,data-len=5", "-device",
               "loader,addr=0x80300018,data=0x11223344,data-len=4,data-be=on", "-device",
               f"loader,file={program},addr=0x80200000,cpu-num=0"]
    with Machine(nandu_system, tmp_path, "-S", "-no-shutdown", *options, machine="virt") as machine:
        qmp = machine.client()
        for _ in range(2):
            qmp.command("pmemsave", val=0x80300000, size=32, filename=str(memory))
            assert memory.read_bytes() == (b"0123456789" + bytes(6) + b"\x55\x44\x33\x22\x11" + bytes(3) +
                                           b"\x11\x22\x33\x44" + bytes(4))
            qmp.command("cont")
            qmp.event("SHUTDOWN")
            qmp.command("pmemsave", val=0x80200020, size=1, filename=str(memory))
            assert memory.read_bytes() == b"\x55"
            qmp.command("system_reset")
            qmp.event("RESET")


def test_port_called_as_a_property(nandu_system, tmp_path):
    """A root port's bus has its id, whatever that is."""
    with Machine(nandu_system, tmp_path, "-S", "-device", "pcie-root-port,id=port,chassis=1", "-device",
                 "pcie-root-port,id=slot,chassis=2", "-device", "virtio-rng-pci,bus=port,id=rng", machine="virt") as m:
        qmp = m.client()
        assert qmp.command("qom-get", path="/machine/peripheral/port", property="port") == 0
        assert "bus: slot" in qmp.command("human-monitor-command", command_line="info qtree")


@pytest.mark.parametrize("device", ["balloon", "net", "rng", "serial"])
def test_transitional(nandu_system, tmp_path, device):
    """Ids say what a driver from before virtio 1.0 can do with it, on any bus."""
    with Machine(nandu_system, tmp_path, "-S", "-device", "pcie-root-port,id=rp,chassis=1",
                 "-device", f"virtio-{device}-pci-transitional,bus=pcie.0,id=old",
                 "-device", f"virtio-{device}-pci-non-transitional,bus=pcie.0,id=new", machine="virt") as m:
        found = {d["qdev_id"]: d for d in m.client().command("query-pci")[0]["devices"]}
        assert found["old"]["id"]["device"] < 0x1040 <= found["new"]["id"]["device"]
        assert any(r["type"] == "io" for r in found["old"]["regions"])
        assert all(r["type"] == "memory" for r in found["new"]["regions"])
