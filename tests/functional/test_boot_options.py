"""-rtc, -boot, -audiodev and bootindex: what they do, and what they refuse."""

import re
import time

import pytest
from conftest import run
from qmp import Machine

RTC = 0x101000


def words(qmp, address, n):
    text = qmp.command("human-monitor-command", command_line=f"xp /{n}wx {address:#x}")
    return [int(word, 16) for line in text.splitlines() for word in line.split(":", 1)[1].split()]


def date(qmp):
    """Seconds since the epoch that the machine's clock shows."""
    low, high = words(qmp, RTC, 2)
    return (high << 32 | low) / 1e9


@pytest.mark.parametrize("base, seconds", [("2000-01-01", 946684800), ("2026-01-31T12:00:00", 1769860800),
                                           ("1970-01-01T00:00:00", 0), ("utc", None)])
def test_date(nandu_system, tmp_path, base, seconds):
    with Machine(nandu_system, tmp_path, "-S", "-bios", "none", "-rtc", f"base={base},clock=host",
                 machine="virt") as machine:
        shown = date(machine.client())
        expect = time.time() if seconds is None else seconds
        assert expect - 1 <= shown + 1 and shown <= expect + 60


def test_default_date(nandu_system, tmp_path):
    with Machine(nandu_system, tmp_path, "-S", "-bios", "none", machine="virt") as machine:
        assert abs(date(machine.client()) - time.time()) < 60


@pytest.mark.parametrize("options, message", [
    (["-rtc", "base=never"], r"invalid date 'never'"),
    (["-rtc", "base=1969-12-31"], r"invalid date"),
    (["-rtc", "base=2262-01-01"], r"invalid date"),
    (["-rtc", "base=2026-02-30"], r"invalid date"),
    (["-rtc", "clock=vm"], r"not built yet"),
    (["-rtc", "driftfix=slew"], r"not built yet"),
    (["-boot", "reboot-timeout=65536"], r"reboot-timeout is"),
    (["-boot", "order=c"], r"order"),
    (["-audiodev", "alsa,id=a"], r"alsa"),
    (["-audiodev", "none"], r"id"),
    (["-machine", "virt,usb=on"], r"USB is not built yet"),
])
def test_refused(nandu_system, options, message):
    done = run([nandu_system, "-display", "none", "-nodefaults", "-S", *options], timeout=20)
    assert done.status == 1 and re.search(message, done.error) and done.error.count("\n") == 1, done


def test_what_libvirt_gives(nandu_system, tmp_path):
    """Taken, and migration's events can be switched on."""
    with Machine(nandu_system, tmp_path, "-S", "-bios", "none", "-boot", "strict=on,menu=on,reboot-timeout=100",
                 "-rtc", "base=utc", "-audiodev", '{"id":"audio1","driver":"none"}', "-device",
                 "virtio-net-pci,bootindex=2", "-blockdev", "null-co,node-name=n,size=1048576", "-device",
                 "virtio-blk-pci,drive=n,bootindex=1", machine="virt,usb=off") as machine:
        qmp = machine.client()
        assert qmp.command("query-migrate-capabilities") == [{"capability": "events", "state": False}]
        qmp.command("migrate-set-capabilities", capabilities=[{"capability": "events", "state": True}])
        assert qmp.command("query-migrate-capabilities") == [{"capability": "events", "state": True}]
        assert "postcopy" in qmp.error("migrate-set-capabilities",
                                       capabilities=[{"capability": "postcopy-ram", "state": True}])[1]
