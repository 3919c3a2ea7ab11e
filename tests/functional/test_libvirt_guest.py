"""libvirt runs a guest: what virt-install writes is defined, started, used and destroyed."""

import os
import re
import shutil
import subprocess
import xml.etree.ElementTree as ElementTree

import pytest
from boot import copy_disk, image
from conftest import run
from test_libvirt import NOT_OURS, SCRIPT, text

# Runs beside the libvirtd. The console's output is what "virsh console" of libvirt shows.
ASK = r"""#!/bin/bash
cd {folder}
v() {{ virsh -c qemu:///system "$@"; }}
virt-install --connect qemu:///system --name guest --arch riscv64 --machine virt --virt-type qemu --memory 1024 \
    --vcpus 2 --osinfo detect=off,require=off --import --disk path={disk},format=raw --network user --graphics none \
    --boot kernel={kernel},initrd={initrd},kernel_args="root=/dev/vda1 rw console=ttyS0" --print-xml >guest.xml || exit 3
sed -i 's,<emulator>.*</emulator>,<emulator>{emulator}</emulator>,' guest.xml
v define guest.xml || exit 4
v start guest || {{ cat /var/log/libvirt/qemu/guest.log >&2; exit 5; }}
cp /var/log/libvirt/qemu/guest.log started.log
(sleep 1; while ! grep -q 'root@nandu' console.out; do sleep 0.2; done; echo 'uname -m; echo over'"''"there; sleep 5) |
    timeout 300 script -qfec 'virsh -c qemu:///system console guest --force' console.out >/dev/null &
console=$!
for _ in $(seq 1500); do ! grep -q overthere console.out || break; sleep 0.2; done
v domstate guest >state.txt
v domstats guest >stats.txt || exit 6
v dominfo guest >info.txt || exit 7
v suspend guest && v domstate guest >>state.txt && v resume guest && v domstate guest >>state.txt || exit 8
v qemu-monitor-command guest --hmp info version >hmp.txt || exit 9
v destroy guest || exit 10
v domstate guest >>state.txt
wait "$console"
cp /var/log/libvirt/qemu/guest.log ended.log
v undefine guest || exit 11
"""


@pytest.fixture(scope="module")
def guest(nandu_system, sanitized, tmp_path_factory):
    """The folder in which the script left what it saw."""
    if sanitized:
        pytest.skip("takes too long in a sanitizer build")
    for program in ("libvirtd", "virsh", "virt-install", "script", "unshare"):
        if not shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin"):
            pytest.skip(f"{program} is not installed")
    if os.geteuid() != 0:
        pytest.skip("a libvirtd of the test's own needs root")
    if subprocess.run(["unshare", "--mount", "true"], check=False, capture_output=True).returncode:
        pytest.skip("mount namespaces are not allowed here")
    folder = tmp_path_factory.mktemp("libvirt")
    names = folder / "bin"
    names.mkdir()
    emulator = names / "qemu-system-riscv64"
    emulator.symlink_to(os.path.realpath(nandu_system))
    script = folder / "ask"
    script.write_text(ASK.format(folder=folder, disk=copy_disk(folder), kernel=image("vmlinux"),
                                 initrd=image("initrd.img"), emulator=emulator))
    script.chmod(0o755)
    path = f"{names}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    done = run([SCRIPT, folder, script], extra_env={"PATH": path}, timeout=600)
    if "Permission denied" in done.error and "mount" in done.error:
        pytest.skip(f"mounting is not allowed here: {done.error.strip()}")
    assert done.status == 0, (done, text(folder, "console.out")[-2000:] if (folder / "console.out").exists() else "")
    return folder


def test_devices(guest):
    """What virt-install asks for is there, on PCI."""
    command = text(guest, "started.log")
    for device in ("pcie-root-port", "virtio-blk-pci", "virtio-net-pci", "virtio-serial-pci", "virtio-balloon-pci"):
        assert device in command, command
    root = ElementTree.parse(guest / "guest.xml").getroot()
    assert root.find("os/type").get("arch") == "riscv64"


def test_console(guest):
    """The guest came up to its shell, and answered there."""
    assert re.search(r"^riscv64", text(guest, "console.out"), re.M)


def test_states(guest):
    assert text(guest, "state.txt").split() == ["running", "paused", "running", "shut", "off"]
    assert "block.0.name=vda" in text(guest, "stats.txt") and "net.count" in text(guest, "stats.txt")
    assert re.search(r"^CPU\(s\):\s+2$", text(guest, "info.txt"), re.M)
    assert text(guest, "hmp.txt").strip()


def test_log(guest):
    assert "shutting down, reason=destroyed" in text(guest, "ended.log")
    bad = [line[:300] for line in text(guest, "libvirtd.log").splitlines()
           if re.match(r"[-0-9: .+]+: \d+: error ", line) and not NOT_OURS.search(line)]
    assert not bad, "\n".join(bad)
