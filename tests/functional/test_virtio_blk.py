"""virtio-blk with Debian's kernel: data goes through whole, to the disk when it should, and errors come back."""

import os
import random
import re
import signal
import subprocess
import time

import pytest

import net_guest
from net_guest import Guest
from test_machine import cpio_entry, kernel, opensbi  # noqa: F401  (fixtures)
from test_virtio import module

MiB = 1 << 20
MODULES = ["virtio_mmio", "virtio_blk"]
SIZE = 32 * MiB


@pytest.fixture(scope="module")
def initrd(kernel, tmp_path_factory):  # noqa: F811
    if not os.path.exists(net_guest.BUSYBOX):
        pytest.skip("there is no busybox for the guest; get it with: tools/fetch-guest-root")
    path = tmp_path_factory.mktemp("initrd") / "initrd"
    init = net_guest.INIT.replace(" ".join(net_guest.MODULES).encode(), " ".join(MODULES).encode())
    assert init != net_guest.INIT
    with open(net_guest.BUSYBOX, "rb") as f:
        busybox = f.read()
    entries = [(name, 0o40755) for name in ("bin", "dev", "etc", "modules", "proc", "sys", "tmp")]
    entries += [("dev/console", 0o20600, b"", (5, 1)), ("bin/busybox", 0o100755, busybox), ("init", 0o100755, init)]
    entries += [(f"modules/{name}.ko", 0o100644, module(kernel, name)) for name in MODULES]
    path.write_bytes(b"".join(cpio_entry(*e) for e in [*entries, ("TRAILER!!!", 0)]))
    return path


@pytest.fixture
def guest(nandu_system, opensbi, kernel, initrd, tmp_path):  # noqa: F811
    """A function that makes a machine of these arguments."""
    def make(*arguments, **options):
        return Guest(nandu_system, tmp_path, kernel, initrd, *arguments, **options)
    return make


@pytest.fixture
def disk(tmp_path):
    """A file with random bytes."""
    path = tmp_path / "disk.img"
    path.write_bytes(random.Random(1).randbytes(SIZE))
    return path


def blockdev(path, name="d0", **options):
    text = ",".join(f"{k.replace('_', '-')}={v}" for k, v in options.items())
    return ["-blockdev", f"file,node-name={name},filename={path}{',' if text else ''}{text}"]


def exercise(g, path, name="vda"):
    """Reads all of a disk, writes parts of it, compares."""
    before = path.read_bytes()
    size = len(before)
    assert int(g.sh(f"cat /sys/block/{name}/size")) * 512 == size
    with subprocess.Popen(["sha256sum", path], stdout=subprocess.PIPE, text=True) as process:
        expected = process.stdout.read().split()[0]
    assert expected in g.sh(f"sha256sum /dev/{name}")
    assert expected in g.sh(f"dd if=/dev/{name} bs=4k iflag=direct 2>/dev/null | sha256sum")
    g.sh(f"dd if=/dev/{name} of=/tmp/part bs=1M count=4 skip=3 2>/dev/null")
    g.sh(f"dd if=/tmp/part of=/dev/{name} bs=1M seek=20 2>/dev/null; sync")
    g.sh(f"dd if=/tmp/part of=/dev/{name} bs=4k seek=3 oflag=direct 2>/dev/null")
    g.sh(f"dd if=/tmp/part of=/dev/{name} bs=512 seek=1 count=7 oflag=direct conv=notrunc 2>/dev/null")
    g.sh("rm /tmp/part; sync")
    expect = bytearray(before)
    part = before[3 * MiB:7 * MiB]
    expect[20 * MiB:24 * MiB] = part
    expect[3 * 4096:3 * 4096 + 4 * MiB] = part
    expect[512:512 + 7 * 512] = part[:7 * 512]
    assert path.read_bytes() == expect


@pytest.mark.parametrize("aio", ["threads", "native", "io_uring"])
@pytest.mark.parametrize("direct", ["off", "on"])
def test_aio(guest, disk, aio, direct):
    if aio == "native" and direct == "off":
        pytest.skip("aio=native is for cache.direct=on")
    with guest(*blockdev(disk, aio=aio, **{"cache.direct": direct}), "-device", "virtio-blk-pci,drive=d0") as g:
        exercise(g, disk)


@pytest.mark.parametrize("device", [
    "virtio-blk-device,drive=d0", "virtio-blk-pci,drive=d0,disable-modern=on", "virtio-blk-pci-non-transitional,drive=d0",
    "virtio-blk-pci-transitional,drive=d0,vectors=0", "virtio-blk-pci,drive=d0,packed=on",
    "virtio-blk-pci,drive=d0,queue-size=16,indirect_desc=off", "virtio-blk-pci,drive=d0,event_idx=off",
    "virtio-blk-pci,drive=d0,request-merging=off,logical_block_size=512,physical_block_size=4096",
])
def test_transports(guest, disk, device):
    with guest(*blockdev(disk), "-device", device) as g:
        exercise(g, disk)


def test_iothread_and_queues(guest, disk, tmp_path):
    other = tmp_path / "other.img"
    other.write_bytes(os.urandom(SIZE))
    with guest("-smp", "2", "-object", "iothread,id=io0", *blockdev(disk), *blockdev(other, "d1"),
               "-device", "virtio-blk-pci,drive=d0,num-queues=2,iothread=io0",
               "-device", "virtio-blk-pci,drive=d1,iothread=io0,serial=second") as g:
        assert g.sh("ls /sys/block/vda/mq").split() == ["0", "1"]
        assert g.sh("cat /sys/block/vdb/serial").strip() == "second"
        assert len(g.sh("ls /sys/block/vdb/mq").split()) == 2       # as many as vCPUs
        exercise(g, disk)
        exercise(g, other, "vdb")
        # Both at once, from both vCPUs.
        g.sh("for d in vda vdb; do dd if=/dev/$d of=/dev/null bs=64k iflag=direct 2>/dev/null & "
             "dd if=/dev/zero of=/dev/$d bs=4k count=1000 seek=1000 oflag=direct 2>/dev/null & done; wait")
        assert disk.read_bytes()[1000 * 4096:2000 * 4096] == bytes(1000 * 4096)
        qmp = g.machine.client()
        assert "in use" in qmp.error("object-del", id="io0")[1]


def test_properties(guest, disk):
    with guest(*blockdev(disk), "-device",
               "virtio-blk-pci,drive=d0,serial=0123456789abcdefghijXX,logical_block_size=4096,physical_block_size=8192,"
               "min_io_size=16384,opt_io_size=65536,discard_granularity=12288,max-discard-sectors=800,num-queues=1") as g:
        queue = "/sys/block/vda/queue"
        assert g.sh("cat /sys/block/vda/serial").strip() == "0123456789abcdefghij"
        for name, value in [("logical_block_size", 4096), ("physical_block_size", 8192), ("minimum_io_size", 16384),
                            ("optimal_io_size", 65536), ("discard_granularity", 12288), ("discard_max_bytes", 409600)]:
            assert int(g.sh(f"cat {queue}/{name}")) == value, name
        assert g.sh("cat /sys/block/vda/cache_type").strip() == "write back"


def test_write_cache(guest, disk):
    with guest(*blockdev(disk), "-device", "virtio-blk-pci,drive=d0,write-cache=off", "-device",
               "virtio-rng-pci") as g:
        assert g.sh("cat /sys/block/vda/cache_type").strip() == "write through"
        g.sh("echo 'write back' >/sys/block/vda/cache_type")
        assert g.sh("cat /sys/block/vda/cache_type").strip() == "write back"
        exercise(g, disk)


def test_read_only(guest, disk):
    before = disk.read_bytes()
    os.chmod(disk, 0o444)
    with guest(*blockdev(disk, read_only="on"), "-device", "virtio-blk-pci,drive=d0") as g:
        assert g.sh("cat /sys/block/vda/ro").strip() == "1"
        assert g.try_sh("dd if=/dev/zero of=/dev/vda bs=4k count=1 oflag=direct")[0] != 0
        g.sh("dd if=/dev/vda of=/dev/null bs=1M 2>/dev/null")
    assert disk.read_bytes() == before


def test_discard(guest, disk):
    with guest(*blockdev(disk, discard="unmap"), "-device", "virtio-blk-pci,drive=d0") as g:
        used = disk.stat().st_blocks * 512
        g.sh("blkdiscard -o 4194304 -l 8388608 /dev/vda")
        g.sh("sync")
        assert used - disk.stat().st_blocks * 512 >= 8 * MiB - 65536
        g.sh("dd if=/dev/vda bs=1M skip=4 count=8 2>/dev/null | cmp -n 8388608 - /dev/zero")
        stats = g.machine.client().command("query-blockstats")[0]["stats"]
        assert stats["unmap_bytes"] == 8 * MiB and stats["unmap_operations"] > 0


def test_statistics(guest, disk):
    with guest(*blockdev(disk), "-device", "virtio-blk-pci,id=disk0,drive=d0") as g:
        qmp = g.machine.client()
        qmp.command("block-latency-histogram-set", id="disk0", boundaries=[1000, 1000000, 1000000000])
        before = qmp.command("query-blockstats")[0]
        assert before["qdev"].endswith("disk0/virtio-backend") or before["qdev"] == "disk0"
        g.sh("dd if=/dev/zero of=/dev/vda bs=4k count=100 oflag=direct 2>/dev/null")
        g.sh("dd if=/dev/vda of=/dev/null bs=8k count=50 iflag=direct 2>/dev/null; sync")
        after = qmp.command("query-blockstats")[0]["stats"]
        assert after["wr_operations"] - before["stats"]["wr_operations"] == 100
        assert after["wr_bytes"] - before["stats"]["wr_bytes"] == 100 * 4096
        assert after["rd_operations"] - before["stats"]["rd_operations"] == 50
        assert after["rd_total_time_ns"] > 0 and after["failed_rd_operations"] == 0
        assert sum(after["wr_latency_histogram"]["bins"]) == 100
        assert after["rd_latency_histogram"]["boundaries"] == [1000, 1000000, 1000000000]
        assert "ascend" in qmp.error("block-latency-histogram-set", id="disk0", boundaries=[5, 4])[1]
        assert qmp.error("block-latency-histogram-set", id="nobody")[0] == "DeviceNotFound"
        qmp.command("block-latency-histogram-set", id="disk0")
        assert "wr_latency_histogram" not in qmp.command("query-blockstats")[0]["stats"]


def full_disk(tmp_path):
    """A sparse file on a file system with less room than it has."""
    folder = tmp_path / "small"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8M", "tmpfs", folder], stderr=subprocess.DEVNULL).returncode:
        pytest.skip("mounting a tmpfs isn't allowed here")
    return folder


def test_stop_when_full(guest, tmp_path):
    folder = full_disk(tmp_path)
    try:
        path = folder / "disk.img"
        ballast = folder / "ballast"
        ballast.write_bytes(bytes(6 * MiB))
        with open(path, "wb") as f:
            f.truncate(SIZE)
        with guest(*blockdev(path), "-device", "virtio-blk-pci,drive=d0,id=disk0") as g:
            qmp = g.machine.client()
            g.serial.send("dd if=/dev/zero of=/dev/vda bs=64k count=80 oflag=direct; echo dd says $?\n")
            event = qmp.event("BLOCK_IO_ERROR")["data"]
            assert (event["operation"], event["action"], event["nospace"]) == ("write", "stop", True)
            assert event["node-name"] == "d0" and "space" in event["reason"]
            qmp.event("STOP")
            assert qmp.command("query-status") == {"running": False, "status": "io-error"}
            assert qmp.command("query-block")[0]["io-status"] == "nospace"
            # It fails once more, then there is room.
            qmp.command("cont")
            qmp.event("STOP")
            ballast.unlink()
            qmp.command("cont")
            g.serial.wait("dd says 0")
            assert qmp.command("query-block")[0]["io-status"] == "ok"
            assert g.try_sh("dd if=/dev/zero of=/dev/vda bs=64k count=10 oflag=direct")[0] == 0
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def test_errors_reach_the_guest(guest, tmp_path):
    folder = full_disk(tmp_path)
    try:
        path = folder / "disk.img"
        with open(path, "wb") as f:
            f.truncate(SIZE)
        with guest(*blockdev(path), "-device", "virtio-blk-pci,drive=d0,werror=report") as g:
            status, text = g.try_sh("dd if=/dev/zero of=/dev/vda bs=64k count=300 oflag=direct")
            assert status != 0 and "rror" in text
            qmp = g.machine.client()
            assert qmp.command("query-status")["running"]
            stats = qmp.command("query-blockstats")[0]["stats"]
            assert stats["failed_wr_operations"] > 0
            g.sh("dd if=/dev/vda of=/dev/null bs=1M 2>/dev/null")
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


@pytest.mark.parametrize("aio", ["threads", "io_uring"])
def test_flushed_data_survives(guest, disk, aio):
    """What the guest was told is on the disk is in the file when Nandu is killed."""
    with guest(*blockdev(disk, aio=aio), "-device", "virtio-blk-pci,drive=d0") as g:
        g.sh("i=0; while [ $i -lt 40 ]; do echo mark-$i | dd of=/dev/vda bs=512 seek=$((i * 100)) conv=notrunc,fsync "
             "2>/dev/null; i=$((i + 1)); done")
        g.machine.process.send_signal(signal.SIGKILL)
        g.machine.process.wait(60)
        g.machine.stop = lambda: 0
        data = disk.read_bytes()
        for i in range(40):
            assert data[i * 51200:].startswith(b"mark-%d\n" % i)


def test_reset_in_the_middle(guest, disk):
    with guest(*blockdev(disk, aio="io_uring"), "-device", "virtio-blk-pci,drive=d0") as g:
        qmp = g.machine.client()
        for _ in range(5):
            g.serial.send("while :; do dd if=/dev/vda of=/dev/null bs=1M iflag=direct 2>/dev/null; done\n")
            time.sleep(0.2)
            qmp.command("stop")
            qmp.command("cont")
            time.sleep(0.05)
            qmp.command("system_reset")
            g.serial.wait("shell is ready")
        g.sh("dd if=/dev/vda of=/dev/null bs=1M 2>/dev/null")


def test_resize(guest, disk):
    with guest(*blockdev(disk), "-device", "virtio-blk-pci,drive=d0") as g:
        qmp = g.machine.client()
        qmp.command("block_resize", node_name="d0", size=SIZE * 2)
        g.sh(f"for i in $(seq 50); do [ $(cat /sys/block/vda/size) = {SIZE * 2 // 512} ] && break; sleep 0.1; done; "
             f"[ $(cat /sys/block/vda/size) = {SIZE * 2 // 512} ]")
        g.sh("echo end | dd of=/dev/vda bs=512 seek=131071 conv=notrunc,fsync 2>/dev/null")
        assert disk.read_bytes()[131071 * 512:].startswith(b"end\n")


def test_drive_option(guest, disk):
    with guest("-drive", f"file={disk},format=raw,if=none,id=foo,cache=writethrough", "-device",
               "virtio-blk-pci,drive=foo") as g:
        assert g.sh("cat /sys/block/vda/cache_type").strip() == "write through"
        exercise(g, disk)
        assert g.machine.client().command("query-block")[0]["device"] == "foo"


def test_throttle(guest, disk):
    with guest("-object", "throttle-group,id=slow,x-iops-total=20", *blockdev(disk), "-blockdev",
               "throttle,node-name=t0,throttle-group=slow,file=d0", "-device", "virtio-blk-pci,drive=t0") as g:
        start = time.monotonic()
        g.sh("dd if=/dev/vda of=/dev/null bs=4k count=40 iflag=direct 2>/dev/null")
        assert time.monotonic() - start > 1
        # Nobody has to wait for what a guest waits for.
        qmp = g.machine.client()
        g.serial.send("for i in $(seq 100); do dd if=/dev/vda of=/dev/null bs=1M count=8 iflag=direct & done\n")
        time.sleep(1)
        start = time.monotonic()
        qmp.command("stop")
        assert time.monotonic() - start < 10
        qmp.command("quit")
        assert g.machine.process.wait(60) == 0


def test_limits_of_a_device(guest, disk):
    none = dict.fromkeys(["bps", "bps_rd", "bps_wr", "iops", "iops_rd", "iops_wr"], 0)

    def limit(qmp, function="command", **limits):
        arguments = {k: v for k, v in {**none, **limits}.items()}
        qmp.send({"execute": "block_set_io_throttle", "arguments": {"id": "disk0", **arguments}})
        answer = qmp.answer()
        assert ("return" in answer) == (function == "command"), answer
        return answer

    with guest(*blockdev(disk), "-device", "virtio-blk-pci,drive=d0,id=disk0") as g:
        qmp = g.machine.client()
        read = "dd if=/dev/vda of=/dev/null bs=4k count=40 iflag=direct 2>/dev/null"
        limit(qmp, iops_rd=20, group="us")
        start = time.monotonic()
        g.sh(read)
        assert time.monotonic() - start > 1
        info = qmp.command("query-block")[0]["inserted"]
        assert (info["iops_rd"], info["iops"], info["group"]) == (20, 0, "us")
        assert "bps_max" not in info
        assert "error" in limit(qmp, "error", iops=10, iops_rd=10)
        limit(qmp, bps=1000000, bps_max=2000000, bps_max_length=2)
        info = qmp.command("query-block")[0]["inserted"]
        assert (info["bps"], info["bps_max"], info["bps_max_length"], info["group"]) == (1000000, 2000000, 2, "us")
        limit(qmp)
        assert "group" not in qmp.command("query-block")[0]["inserted"]
        start = time.monotonic()
        g.sh(read)
        assert time.monotonic() - start < 10
        assert qmp.error("block_set_io_throttle", id="nobody", device="x", **none)[0] == "GenericError"


def test_copy_on_read(guest, disk, tmp_path):
    top = tmp_path / "top.qcow2"
    try:
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-b", disk, "-F", "raw", top], check=True)
    except FileNotFoundError:
        pytest.skip("there is no qemu-img")
    before = disk.read_bytes()
    with guest("-blockdev", f"file,node-name=f0,filename={disk},read-only=on", "-blockdev",
               f"file,node-name=f1,filename={top}", "-blockdev", "qcow2,node-name=q1,file=f1,backing=f0", "-blockdev",
               "copy-on-read,node-name=c0,file=q1", "-device", "virtio-blk-pci,drive=c0") as g:
        g.sh("dd if=/dev/zero of=/dev/vda bs=4k seek=5000 count=10 oflag=direct 2>/dev/null")
        g.sh("dd if=/dev/vda of=/dev/null bs=64k iflag=direct 2>/dev/null; sync")
        g.machine.client().command("quit")
        assert g.machine.process.wait(60) == 0
    expect = bytearray(before)
    expect[5000 * 4096:5010 * 4096] = bytes(10 * 4096)
    raw = tmp_path / "raw"
    subprocess.run(["qemu-img", "convert", "-O", "raw", top, raw], check=True)
    assert raw.read_bytes() == expect
    # Nothing of it comes from the backing image any more.
    ranges = subprocess.run(["qemu-img", "map", "--output=json", top], check=True, capture_output=True).stdout
    assert b'"depth": 1' not in ranges
    assert disk.read_bytes() == before


@pytest.mark.parametrize("arguments, message", [
    (["-device", "virtio-blk-pci"], "drive property not set"),
    (["-device", "virtio-blk-pci,drive=nobody"], "nobody"),
    (["-device", "virtio-blk-device,drive=d0,iothread=nobody"], "nobody"),
    (["-device", "virtio-blk-device,drive=d0,queue-size=3"], "queue-size"),
    (["-device", "virtio-blk-pci,drive=d0,logical_block_size=1000"], "power of two"),
    (["-device", "virtio-blk-pci,drive=d0", "-device", "virtio-blk-pci,drive=d0"], "d0"),
    (["-device", "virtio-blk-pci,drive=d0,iothread-vq-mapping.0.iothread=io0"], "iothread-vq-mapping"),
])
def test_refused(nandu_system, disk, arguments, message):
    done = subprocess.run([nandu_system, "-machine", "virt", "-nodefaults", "-display", "none", *blockdev(disk),
                           *arguments], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1, done
    assert re.search(message, done.stderr), done.stderr
    assert len(done.stderr.splitlines()) == 1
