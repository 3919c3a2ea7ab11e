"""Debian 13 for riscv64 boots: from its disk, by U-Boot, its installer; and is used a little."""

import os
import urllib.request

import pytest
from boot import PROMPT, TIMEOUT, Debian, Serial, image, need, package, tiny_initrd
from qmp import Machine

# Restarts the machine as soon as it can.
REBOOT = r"""
#include <stdio.h>
#include <sys/reboot.h>
int main(void)
{
    puts("init: again");
    fflush(stdout);
    return reboot(RB_AUTOBOOT);
}
"""
REBOOTS = 50


@pytest.fixture(scope="module", autouse=True)
def not_sanitized(sanitized):
    if sanitized:
        pytest.skip("takes too long in a sanitizer build")


@pytest.fixture(scope="module")
def debian(nandu_system, tmp_path_factory):
    """Two processors, 1 GiB, a second console: at its shell. The tests below use it in turn."""
    folder = tmp_path_factory.mktemp("debian")
    with Debian(nandu_system, folder, "-smp", "2", "-m", "1G", "-device", "virtio-serial-pci",
                "-chardev", f"socket,id=c,path={folder}/console,server=on,wait=off", "-device",
                "virtconsole,chardev=c") as machine:
        machine.console = Serial(folder / "console")
        machine.shell()
        yield machine
        machine.console.close()


def test_what_runs(debian):
    assert "riscv64 GNU/Linux" in debian.serial.run("uname -a")
    assert debian.serial.run("nproc") == "2"
    assert debian.serial.run("systemctl is-system-running --wait") in ("running", "degraded")
    assert debian.serial.run("systemctl --failed --plain --no-legend") == ""


def test_login_prompt(debian):
    """The console asks who is there; the serial line logs in by itself."""
    debian.console.send("\n")
    debian.console.wait(r"nandu login: ")
    debian.console.send("root\n")
    debian.console.wait(PROMPT)


def test_disk_keeps_what_is_written(debian):
    debian.serial.run("head -c 20000000 /dev/urandom >/root/random && sync && sha256sum /root/random >/root/sum")
    debian.serial.run("echo 3 >/proc/sys/vm/drop_caches && sha256sum -c /root/sum")


def test_network(debian):
    debian.serial.run("for i in $(seq 300); do ip route | grep -q default && break; sleep 0.1; done")
    assert "10.0.2.15/24" in debian.serial.run("ip -4 -br addr")
    debian.serial.run("ping -c 1 -W 10 10.0.2.2")


def test_apt_update(debian):
    source = need("/usr/bin/apt-get", "Debian") and debian.serial.run("cat /etc/apt/sources.list.d/*")
    mirror = next(line.split()[1] for line in source.splitlines() if line.startswith("URIs:"))
    try:
        urllib.request.urlopen(mirror.rstrip("/") + "/dists/trixie/InRelease", timeout=20).close()
    except OSError as fault:
        pytest.skip(f"this computer doesn't reach {mirror}: {fault}")
    assert "packages" in debian.serial.run("apt update", timeout=600)


def test_power_off(debian):
    assert debian.power_off() == 0


@pytest.mark.parametrize("options", [("-smp", "1", "-m", "256"), ("-smp", "8", "-m", "4G")], ids=" ".join)
def test_sizes(nandu_system, tmp_path, options):
    with Debian(nandu_system, tmp_path, *options) as machine:
        machine.shell()
        assert machine.serial.run("nproc") == options[1]
        assert machine.power_off() == 0


def test_u_boot(nandu_system, tmp_path):
    """U-Boot, started by OpenSBI, finds the kernel by the disk's extlinux.conf."""
    loader = package("u-boot-qemu/usr/lib/u-boot/qemu-riscv64_smode/u-boot.bin")
    with Debian(nandu_system, tmp_path, "-kernel", loader, "-m", "1G", kernel=False) as machine:
        machine.serial.wait(r"OpenSBI v")
        machine.serial.wait(r"U-Boot 20")
        machine.serial.wait(r"Retrieving file: /boot/vmlinux")
        machine.serial.wait(r"Linux version")
        machine.shell()
        assert "BOOT_IMAGE" not in machine.serial.run("cat /proc/cmdline")
        assert machine.power_off() == 0


def test_installer(nandu_system, tmp_path):
    """Debian's installer, from the network's kernel and initrd, asks its first question."""
    folder = "debian-installer-13-netboot-riscv64/usr/lib/debian-installer/images/13/riscv64/text/" \
             "debian-installer/riscv64/"
    kernel, initrd = package(folder + "linux"), package(folder + "initrd.gz")
    path = tmp_path / "serial"
    with Machine(nandu_system, tmp_path, "-m", "1G", "-smp", "2", "-kernel", kernel, "-initrd", initrd, "-append",
                 "console=ttyS0", "-serial", f"unix:{path},server=on,wait=on", "-netdev", "user,id=net0", "-device",
                 "virtio-net-pci,netdev=net0", machine="virt") as machine:
        serial = Serial(path)
        serial.wait(r"Select a language")
        serial.wait(r"English")
        machine.client().command("quit")
        assert machine.process.wait(TIMEOUT) == 0


def test_reboots(nandu_system, cross_gcc, tmp_path):
    initrd = tiny_initrd(tmp_path, cross_gcc, REBOOT)
    path = tmp_path / "serial"
    with Machine(nandu_system, tmp_path, "-m", "256", "-kernel", image("vmlinux"), "-initrd", initrd, "-append",
                 "console=ttyS0 quiet", "-serial", f"unix:{path},server=on,wait=on", machine="virt") as machine:
        serial = Serial(path)
        for _ in range(REBOOTS + 1):
            serial.wait("init: again")
        # Nothing piles up: RAM and the code cache (mapped twice) fill, and that is all.
        assert machine.memory() < (256 + 2 * 128 + 64) << 20
        assert len(os.listdir(f"/proc/{machine.process.pid}/task")) < 20
