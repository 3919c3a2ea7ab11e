"""libvirt finds out what Nandu can do, as it does with QEMU."""

import os
import re
import shutil
import subprocess
import xml.etree.ElementTree as ElementTree

import pytest
from conftest import run

HERE = os.path.dirname(os.path.abspath(__file__))
SCRIPT = os.path.join(HERE, "libvirt_daemon.sh")

# What libvirt says of the machine that it runs on, and of which Nandu has no part.
NOT_OURS = re.compile(r"dnsmasq|DBus|system bus|dmidecode|/sys/devices|DMI|udev|x86_64|"
                      r"CPU driver|security driver|cgroup|polkit|/dev/kvm|swtpm|firewall|iptables|"
                      r"does not support machine type '<null>'|numad|nwfilter|modprobe|hugetlbfs|resctrl|virHostCPU|apparmor", re.I)


@pytest.fixture(scope="module")
def libvirt():
    for program in ("libvirtd", "virsh", "unshare"):
        if not shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin"):
            pytest.skip(f"{program} is not installed")
    if os.geteuid() != 0:
        pytest.skip("a libvirtd of the test's own needs root")
    if subprocess.run(["unshare", "--mount", "true"], check=False, capture_output=True).returncode:
        pytest.skip("mount namespaces are not allowed here")


@pytest.fixture(scope="module")
def probed(libvirt, nandu_system, tmp_path_factory):
    """(domain capabilities, capabilities, log) of a libvirtd that knows Nandu by QEMU's name only."""
    folder = tmp_path_factory.mktemp("libvirt")
    names = folder / "bin"
    names.mkdir()
    emulator = names / "qemu-system-riscv64"
    emulator.symlink_to(os.path.realpath(nandu_system))
    script = folder / "ask"
    script.write_text(f"""#!/bin/sh
virsh -c qemu:///system domcapabilities --arch riscv64 --virttype qemu --emulatorbin {emulator} \
    >{folder}/domcapabilities.xml 2>{folder}/domcapabilities.err
echo $? >{folder}/domcapabilities.status
virsh -c qemu:///system capabilities >{folder}/capabilities.xml 2>{folder}/capabilities.err
echo $? >{folder}/capabilities.status
""")
    script.chmod(0o755)
    path = f"{names}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    done = run([SCRIPT, folder, script], extra_env={"PATH": path})
    if "Permission denied" in done.error and "mount" in done.error:
        pytest.skip(f"mounting is not allowed here: {done.error.strip()}")
    assert done.status == 0, done
    return folder, emulator


def text(folder, name):
    with open(folder / name, encoding="utf-8", errors="replace") as f:
        return f.read()


def test_domcapabilities(probed, nandu_system):
    folder, emulator = probed
    machines = run([nandu_system, "-machine", "help"]).text.splitlines()[1:]
    if all(line.startswith("none ") for line in machines):
        # It has none to name in what it prints, and refuses; what it asked for the probe is below.
        assert "does not support machine type '<null>'" in text(folder, "domcapabilities.err")
        pytest.skip("libvirt doesn't count the machine none, and no other is built yet")
    assert text(folder, "domcapabilities.status").strip() == "0", text(folder, "domcapabilities.err")
    root = ElementTree.fromstring(text(folder, "domcapabilities.xml"))
    assert root.findtext("path") == str(emulator)
    assert root.findtext("domain") == "qemu"
    assert root.findtext("arch") == "riscv64"


def test_capabilities(probed):
    folder, emulator = probed
    assert text(folder, "capabilities.status").strip() == "0", text(folder, "capabilities.err")
    root = ElementTree.fromstring(text(folder, "capabilities.xml"))
    found = [arch for arch in root.findall("guest/arch") if arch.get("name") == "riscv64"]
    assert found and found[0].findtext("emulator") == str(emulator)


def test_no_errors_in_the_log(probed):
    folder, emulator = probed
    log = text(folder, "libvirtd.log")
    assert "QEMU_MONITOR_IO_PROCESS" in log or "qemuMonitor" in log
    bad = [line[:300] for line in log.splitlines()
           if re.match(r"[-0-9: .+]+: \d+: (error|warning) ", line) and not NOT_OURS.search(line)]
    assert not bad, "\n".join(bad)
    assert "Failed to probe capabilities" not in log, str(emulator)
