"""Flash banks of board virt that a block node keeps: options, QMP, and EDK2, which boots from one and has its
variables in the other."""

import os
import re
import subprocess
import time

import pytest
from boot import Serial, need, package
from conftest import CACHE, run
from qmp import Machine

SIZE = 32 << 20
SHELL = r"Shell> "
FIRMWARE = "qemu-efi-riscv64/usr/share/qemu-efi-riscv64"


@pytest.fixture
def flash(tmp_path):
    path = tmp_path / "flash"
    with open(path, "wb") as file:
        file.write(b"code")
        file.truncate(SIZE)
    return path


def file_node(name, path, **more):
    return ",".join(["driver=file", f"node-name={name}", f"filename={path}", *(f"{k}={v}" for k, v in more.items())])


def refused(nandu_system, *arguments, machine="virt"):
    done = run([nandu_system, "-M", machine, "-nodefaults", "-display", "none", "-S", *arguments])
    assert done.status == 1 and done.error.count("\n") == 1, done
    return done.error.split(": ", 1)[1].rstrip("\n")


def test_bad_options(nandu_system, tmp_path):
    small = tmp_path / "small"
    small.write_bytes(bytes(1 << 20))
    where = f"file={small},format=raw"
    assert refused(nandu_system, machine="virt,pflash0=nobody") == \
        "Property 'cfi.pflash01.drive' can't find value 'nobody'"
    assert refused(nandu_system, machine="virt,pflash0=a;width=8") == \
        "Property 'cfi.pflash01.drive' can't find value 'a;width=8'"
    assert refused(nandu_system, "-drive", f"if=pflash,{where}") == \
        "cfi.pflash01 device '/machine/virt.flash0' requires 33554432 bytes, pflash0 block backend provides 1048576 bytes"
    assert refused(nandu_system, "-blockdev", file_node("n", small), machine="virt,pflash1=n") == \
        "cfi.pflash01 device '/machine/virt.flash1' requires 33554432 bytes,  block backend provides 1048576 bytes"
    assert "does not support if=pflash,bus=0,unit=2" in refused(nandu_system, "-drive", f"if=pflash,unit=2,{where}")
    assert "does not support if=pflash,bus=0,unit=0" in refused(
        nandu_system, "-drive", f"if=pflash,{where}", machine="spike")


def test_in_use(nandu_system, tmp_path, flash):
    """Two machines may read the same node, and one may write it."""
    reads = ["-blockdev", file_node("n", flash, **{"read-only": "on"})]
    writes = ["-blockdev", file_node("n", flash)]
    with Machine(nandu_system, tmp_path, "-S", *reads, machine="virt,pflash0=n") as m:
        m.client()
        with Machine(nandu_system, tmp_path, "-S", *reads, machine="virt,pflash0=n") as other:
            other.client()
    with Machine(nandu_system, tmp_path, "-S", *writes, machine="virt,pflash0=n") as m:
        m.client()
        assert "lock" in refused(nandu_system, *writes, machine="virt,pflash0=n")
    assert "n" in refused(nandu_system, *writes, machine="virt,pflash0=n,pflash1=n")


def test_query_block(nandu_system, tmp_path, flash):
    with Machine(nandu_system, tmp_path, "-S", "-drive", f"if=pflash,file={flash},format=raw,readonly=on", "-blockdev",
                 file_node("n", flash, **{"read-only": "on"}), machine="virt,pflash1=n") as m:
        qmp = m.client()
        first, second = qmp.command("query-block")
        assert (first["device"], first["qdev"], first["inserted"]["ro"]) == ("pflash0", "/machine/virt.flash0", True)
        assert (second["device"], second["qdev"]) == ("", "/machine/virt.flash1")
        assert second["inserted"]["node-name"] == "n"
        assert "io-status" not in first and "io-status" not in second
        assert qmp.command("qom-get", path="/machine", property="pflash0") == "pflash0"
        assert qmp.command("qom-get", path="/machine/virt.flash1", property="drive") == "n"
        assert "636f6465" in qmp.command("human-monitor-command", command_line="xp/1wx 0x20000000") or \
            "65646f63" in qmp.command("human-monitor-command", command_line="xp/1wx 0x20000000")


def start(program, folder, variables, *options, firmware="default"):
    """EDK2 on its way to its shell, and its serial port."""
    path = os.path.join(str(folder), f"serial-{time.monotonic_ns()}.sock")
    code = package(f"{FIRMWARE}/RISCV_VIRT_CODE.fd")
    machine = Machine(program, folder, "-m", "512", "-serial", f"unix:{path},server=on,wait=on", "-bios", firmware,
                      "-blockdev", file_node("code", code, **{"read-only": "on"}),
                      "-blockdev", file_node("variables", variables), *options,
                      machine="virt,pflash0=code,pflash1=variables")
    serial = Serial(path)
    return machine, serial


@pytest.fixture
def variables(tmp_path, sanitized):
    if sanitized:
        pytest.skip("takes too long in a sanitizer build")
    path = tmp_path / "variables"
    subprocess.run(["cp", "--sparse=always", package(f"{FIRMWARE}/RISCV_VIRT_VARS.fd"), path], check=True)
    return path


def command(serial, text):
    serial.send(text + "\r")
    return serial.wait(SHELL)


def test_edk2_keeps_variables(nandu_system, tmp_path, variables):
    machine, serial = start(nandu_system, tmp_path, variables)
    with machine:
        serial.wait(SHELL)
        command(serial, "setvar word -nv -bs =0x2a2b2c2d")
        # What is in the flash of a stopped machine is in the file.
        qmp = machine.client()
        qmp.command("stop")
        assert "w\0o\0r\0d\0".encode() in variables.read_bytes()
        qmp.command("cont")
        command(serial, "setvar other -nv -bs =0x11")
        serial.send("reset -s\r")
        serial.drain()
        assert machine.process.wait(60) == 0
    machine, serial = start(nandu_system, tmp_path, variables)
    with machine:
        serial.wait(SHELL)
        assert re.search(r"2A 2B 2C 2D|2D 2C 2B 2A", command(serial, "setvar word"))
        assert re.search(r"\b11\b", command(serial, "setvar other"))


def test_edk2_boots_a_kernel(nandu_system, tmp_path, variables):
    """-kernel is not loaded, but given to the firmware in flash."""
    kernel = need(os.path.join(CACHE, "kernel-riscv64-trixie", "vmlinux"), "tools/fetch-guest-kernel")
    machine, serial = start(nandu_system, tmp_path, variables, "-kernel", kernel, "-append", "console=ttyS0 hello=world")
    with machine:
        serial.wait(r"Linux version ")
        serial.wait(r"Kernel command line: [^\n]*hello=world")
