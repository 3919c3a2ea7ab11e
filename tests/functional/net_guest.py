"""A machine with Debian's kernel and a shell of busybox on its serial line, for tests of networks."""

import os
import re
import subprocess

import pytest

from conftest import CACHE
from qmp import Machine
from test_machine import Serial, cpio_entry
from test_virtio import module

BUSYBOX = os.path.join(CACHE, "guest-riscv64-trixie", "bin", "busybox")
MODULES = ["virtio_mmio", "failover", "net_failover", "virtio_net"]
INIT = b"""#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
for m in %s; do insmod /modules/$m.ko; done
ip link set lo up
stty -echo
echo shell is ready
PS1= PS2= exec sh </dev/ttyS0 >/dev/ttyS0 2>&1
""" % " ".join(MODULES).encode()
# What udhcpc runs: it keeps what it was told.
DHCP = b"""#!/bin/sh
[ "$1" = bound ] || exit 0
set >/tmp/dhcp
ip addr add $ip/$mask dev $interface
ip route add default via $router
for d in $dns; do echo nameserver $d; done >/etc/resolv.conf
"""


def make_initrd(kernel_path, path):
    if not os.path.exists(BUSYBOX):
        pytest.skip("there is no busybox for the guest; get it with: tools/fetch-guest-root")
    with open(BUSYBOX, "rb") as f:
        busybox = f.read()
    entries = [(name, 0o40755) for name in ("bin", "dev", "etc", "modules", "proc", "sys", "tmp")]
    entries += [("dev/console", 0o20600, b"", (5, 1)), ("bin/busybox", 0o100755, busybox), ("init", 0o100755, INIT),
                ("etc/dhcp", 0o100755, DHCP)]
    entries += [(f"modules/{name}.ko", 0o100644, module(kernel_path, name)) for name in MODULES]
    with open(path, "wb") as f:
        f.write(b"".join(cpio_entry(*e) for e in [*entries, ("TRAILER!!!", 0)]))
    return path


class Guest:
    """Use it in a with statement; sh runs a command."""

    def __init__(self, nandu, folder, kernel_path, initrd_path, *arguments, **options):
        self.serial_path = os.path.join(str(folder), "serial")
        self.machine = Machine(nandu, folder, "-m", "256", "-kernel", kernel_path, "-initrd", initrd_path, "-append",
                               "console=ttyS0 quiet panic=-1", "-serial",
                               f"unix:{self.serial_path},server=on,wait=on", *arguments, machine="virt", **options)
        self.n = 0

    def __enter__(self):
        self.machine.__enter__()
        try:
            self.serial = Serial(self.serial_path)
            self.serial.wait("shell is ready")
            self.sh("true")
        except BaseException:
            self.machine.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, *what):
        self.machine.__exit__(*what)

    def try_sh(self, command):
        """(status, what it printed)"""
        self.n += 1
        self.serial.send(f"{{ {command}\n}}; echo \"<$?-{self.n}>\"\n")
        text = ""
        while True:
            match = re.search(rf"<(\d+)-{self.n}>\r?\n", text + self.serial.text)
            if match:
                all_text = text + self.serial.text
                self.serial.text = all_text[match.end():]
                return int(match.group(1)), all_text[:match.start()].replace("\r", "")
            data = self.serial.sock.recv(65536)
            assert data, self.serial.text[-3000:]
            self.serial.text += data.decode("utf-8", "replace")

    def sh(self, command):
        """What it printed; it must succeed."""
        status, text = self.try_sh(command)
        assert status == 0, (command, status, text[-3000:])
        return text

    def dhcp(self):
        """Gets an address; what DHCP told as {name: value}."""
        self.sh("ip link set eth0 up; udhcpc -q -n -f -t 10 -i eth0 -s /etc/dhcp")
        return dict(re.findall(r"^(\w+)='(.*)'$", self.sh("cat /tmp/dhcp"), re.M))

    def serve_echo(self, port):
        """One TCP connection to this port gets back what it sends."""
        self.sh(f"(nc -l -p {port} -e cat &)")
        self.sh(f"for i in $(seq 100); do netstat -tln | grep -q ':{port} ' && break; sleep 0.1; done")

    def wait_carrier(self, up):
        value = "1" if up else "0"
        self.sh(f"for i in $(seq 100); do [ \"$(cat /sys/class/net/eth0/carrier)\" = {value} ] && break; sleep 0.1; "
                f"done; [ \"$(cat /sys/class/net/eth0/carrier)\" = {value} ]")


def free_port(kind):
    import socket

    with socket.socket(socket.AF_INET, kind) as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]
