"""qcow2 images across a kill of the process that writes them, and dirty bitmaps over QMP."""

import json
import os
import random
import shutil
import signal
import subprocess

import pytest
from conftest import build_folder, run
from qmp import Machine

pytestmark = pytest.mark.skipif(not shutil.which("qemu-img"), reason="QEMU isn't there to compare with")

KiB, MiB = 1 << 10, 1 << 20
SIZE = 8 * MiB


def link(tmp_path, name):
    """The tool by another name."""
    path = tmp_path / name
    if not path.exists():
        os.symlink(os.path.join(build_folder(), "nandu-img"), path)
    return path


def create(tmp_path, options=""):
    image = tmp_path / "disk.qcow2"
    done = run([link(tmp_path, "nandu-img"), "create", "-q", "-f", "qcow2", *(["-o", options] if options else []),
                image, str(SIZE)])
    assert done.status == 0, done
    return image


def info(image):
    return json.loads(run(["qemu-img", "info", "--output=json", image]).text)["format-specific"]["data"]


class Writer:
    """nandu-io that gets one command after the other; knows what must be there after a kill."""

    def __init__(self, tmp_path, image):
        self.process = subprocess.Popen([link(tmp_path, "nandu-io"), "-f", "qcow2", image], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, bufsize=0)
        self.model = bytearray(SIZE)
        self.flushed = bytes(SIZE)
        self.unsure = []        # ranges written since the last flush

    def command(self, line, answer):
        self.process.stdin.write(line.encode() + b"\n")
        text = b""
        while answer not in text:
            piece = self.process.stdout.read(4096)
            assert piece, (line, text)
            text += piece

    def write(self, offset, size, pattern):
        self.unsure.append((offset, size))
        self.model[offset:offset + size] = bytes([pattern]) * size
        self.command(f"write -P {pattern} {offset} {size}", b"ops/sec")

    def flush(self):
        # An empty write tells that the flush before it is over.
        self.process.stdin.write(b"flush\n")
        self.command("read 0 512", b"ops/sec")
        self.flushed = bytes(self.model)
        self.unsure = []

    def kill(self, line):
        """In the middle of a command, perhaps."""
        self.process.stdin.write(line.encode() + b"\nflush\n")
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()


@pytest.mark.parametrize("options", ["", "cluster_size=512", "cluster_size=4k,lazy_refcounts=on", "extended_l2=on"])
def test_kill(tmp_path, options):
    image = create(tmp_path, options)
    choice = random.Random(options)
    for _ in range(6):
        old = run(["qemu-img", "convert", "-O", "raw", image, tmp_path / "before.raw"])
        assert old.status == 0, old
        writer = Writer(tmp_path, image)
        writer.model[:] = (tmp_path / "before.raw").read_bytes()
        writer.flushed = bytes(writer.model)
        for _ in range(choice.randrange(1, 25)):
            if choice.random() < 0.2:
                writer.flush()
            else:
                size = choice.randrange(1, 200) * 512
                writer.write(choice.randrange(0, (SIZE - size) // 512) * 512, size, choice.randrange(1, 256))
        last = (choice.randrange(0, 8) * MiB, 300 * KiB)
        writer.unsure.append(last)
        writer.kill(f"write -P 7 {last[0]} {last[1]}")
        if "lazy" not in options:
            assert run(["qemu-img", "check", image]).status in (0, 3)       # 3: leaks
        done = run([link(tmp_path, "nandu-img"), "check", "-r", "all", image])
        assert done.status == 0, done
        assert run(["qemu-img", "check", image]).status == 0
        assert run(["qemu-img", "convert", "-O", "raw", image, tmp_path / "after.raw"]).status == 0
        after = bytearray((tmp_path / "after.raw").read_bytes())
        for offset, size in writer.unsure:
            after[offset:offset + size] = writer.flushed[offset:offset + size]
        assert after == writer.flushed


# ---- Dirty bitmaps ----

def machine_with(nandu_system, tmp_path, image):
    node = {"driver": "qcow2", "node-name": "disk", "file": {"driver": "file", "filename": str(image)}}
    return Machine(nandu_system, tmp_path, "-blockdev", json.dumps(node))


def bitmaps(client):
    nodes = {n["node-name"]: n for n in client.command("query-named-block-nodes")}
    return {b["name"]: b for b in nodes["disk"].get("dirty-bitmaps", [])}


def test_bitmap_commands(nandu_system, tmp_path):
    image = create(tmp_path)
    with machine_with(nandu_system, tmp_path, image) as machine:
        client = machine.client()
        client.command("block-dirty-bitmap-add", node="disk", name="a")
        client.command("block-dirty-bitmap-add", node="disk", name="b", persistent=True, granularity=4096)
        assert bitmaps(client)["a"] == {"name": "a", "count": 0, "granularity": 65536, "recording": True,
                                        "busy": False, "persistent": False}
        assert bitmaps(client)["b"]["persistent"] and bitmaps(client)["b"]["granularity"] == 4096
        assert "already exists" in client.error("block-dirty-bitmap-add", node="disk", name="a")[1]
        assert "power of 2" in client.error("block-dirty-bitmap-add", node="disk", name="c",
                                            granularity=5000)[1]
        client.command("block-dirty-bitmap-disable", node="disk", name="b")
        assert not bitmaps(client)["b"]["recording"]
        client.command("block-dirty-bitmap-enable", node="disk", name="b")
        client.command("block-dirty-bitmap-merge", node="disk", target="a", bitmaps=["b"])
        assert "not found" in client.error("block-dirty-bitmap-merge", node="disk", target="a",
                                           bitmaps=["x"])[1]
        client.command("block-dirty-bitmap-clear", node="disk", name="a")
        client.command("block-dirty-bitmap-remove", node="disk", name="a")
        assert "not found" in client.error("block-dirty-bitmap-remove", node="disk", name="a")[1]
        assert list(bitmaps(client)) == ["b"]
    assert info(image)["bitmaps"] == [{"flags": ["auto"], "name": "b", "granularity": 4096}]
    assert run(["qemu-img", "check", image]).status == 0


def test_bitmap_survives_kill(nandu_system, tmp_path):
    image = create(tmp_path)
    with machine_with(nandu_system, tmp_path, image) as machine:
        machine.client().command("block-dirty-bitmap-add", node="disk", name="b", persistent=True)
    writer = Writer(tmp_path, image)
    writer.write(MiB, 64 * KiB, 9)
    writer.flush()
    writer.kill("write -P 3 5M 1M")
    assert info(image)["bitmaps"][0]["flags"] == ["auto"]
    with machine_with(nandu_system, tmp_path, image) as machine:
        found = bitmaps(machine.client())["b"]
        assert "inconsistent" not in found
        assert found["count"] >= 64 * KiB


def test_reopen(nandu_system, tmp_path):
    image = create(tmp_path, "lazy_refcounts=on")
    with machine_with(nandu_system, tmp_path, image) as machine:
        client = machine.client()
        client.command("block-dirty-bitmap-add", node="disk", name="b", persistent=True)

        def reopen(**more):
            client.command("blockdev-reopen", options=[
                {"driver": "qcow2", "node-name": "disk", "backing": None,
                 "file": {"driver": "file", "filename": str(image), **({"read-only": True} if more.get("read-only")
                                                                       else {})}, **more}])

        reopen(**{"read-only": True})
        assert "readonly" in client.error("block-dirty-bitmap-clear", node="disk", name="b")[1]
        reopen(**{"cache-size": 1 << 20, "overlap-check": "none"})
        client.command("block-dirty-bitmap-clear", node="disk", name="b")
        client.command("block-dirty-bitmap-add", node="disk", name="c", persistent=True)
    assert [b["name"] for b in info(image)["bitmaps"]] == ["b", "c"]
    assert run(["qemu-img", "check", image]).status == 0


# ---- Options of an image that exists ----

@pytest.mark.parametrize("options", ["refcount_bits=1", "refcount_bits=64", "compat=0.10", "lazy_refcounts=on",
                                     "size=16M"])
def test_amend(tmp_path, options):
    image = create(tmp_path)
    writer = Writer(tmp_path, image)
    writer.write(MiB, 2 * MiB, 4)
    writer.flush()
    writer.process.stdin.close()
    writer.process.wait()
    before = tmp_path / "before.raw"
    assert run(["qemu-img", "convert", "-O", "raw", image, before]).status == 0
    done = run([link(tmp_path, "nandu-img"), "amend", "-o", options, image])
    assert done.status == 0, done
    assert run(["qemu-img", "check", image]).status == 0
    assert run(["qemu-img", "compare", image, before]).status == 0
    name, value = options.split("=")
    if name in ("refcount_bits", "compat"):
        assert str(info(image)[name.replace("_", "-")]) == value


@pytest.mark.parametrize("arguments", ["--size 1T", "-o cluster_size=4k --size 10G",
                                       "-o extended_l2=on,cluster_size=128k --size 10G",
                                       "-o preallocation=full,refcount_bits=64 --size 3G"])
def test_measure(tmp_path, arguments):
    ours = run([link(tmp_path, "nandu-img"), "measure", "-O", "qcow2", *arguments.split()])
    theirs = run(["qemu-img", "measure", "-O", "qcow2", *arguments.split()])
    assert ours.text == theirs.text


def test_damage_is_told(nandu_system, tmp_path):
    """A refcount table that leads nowhere: an event says so, the image says so, and nothing more is written."""
    image = create(tmp_path)
    with open(image, "r+b") as f:
        f.seek(48)
        table = int.from_bytes(f.read(8), "big")
        f.seek(table)
        f.write((0x20000 | 0x200).to_bytes(8, "big"))
    drive = ("-drive", f"if=none,id=d0,format=qcow2,node-name=q,file={image}")
    with Machine(nandu_system, tmp_path, *drive) as m:
        client = m.client()
        assert client.error("block_resize", **{"node-name": "q", "size": 1 << 40})
        data = client.event("BLOCK_IMAGE_CORRUPTED")["data"]
        assert (data["device"], data["node-name"], data["fatal"]) == ("d0", "q", True)
        assert "unaligned" in data["msg"]
    assert info(image)["corrupt"]


# ---- Killed in the middle of something else ----

def contents(tmp_path, image, *options):
    out = tmp_path / "contents.raw"
    done = run([link(tmp_path, "nandu-img"), "convert", *options, "-O", "raw", image, out])
    assert done.status == 0, done
    return out.read_bytes()


def nandu_io(tmp_path, image, *commands):
    arguments = sum((["-c", c] for c in commands), [])
    done = run([link(tmp_path, "nandu-io"), "-f", "qcow2", "-d", "unmap", *arguments, image])
    assert done.status == 0 and "failed" not in done.text + done.error, done


OPERATIONS = {
    "create": ["snapshot", "-c", "new"],
    "apply": ["snapshot", "-a", "old"],
    "delete": ["snapshot", "-d", "old"],
    "grow": ["resize", "-q", "IMAGE", "12M"],
    "shrink": ["resize", "-q", "--shrink", "IMAGE", "3M"],
    "width": ["amend", "-o", "refcount_bits=64"],
    "version": ["amend", "-o", "compat=0.10"],
    "bitmap": ["bitmap", "--add", "-g", "512", "IMAGE", "another"],
    "commit": ["commit", "-q"],
    "rebase": ["rebase", "-b", ""],
}


def kill_image(tmp_path, name):
    """An image with much metadata, and what a kill may leave of its disk."""
    image, base = tmp_path / "disk.qcow2", tmp_path / "base.qcow2"
    below = ["-b", base, "-F", "qcow2"] if name in ("commit", "rebase") else []
    if below:
        run(["qemu-img", "create", "-q", "-f", "qcow2", base, str(SIZE)])
        nandu_io(tmp_path, base, "write -P 1 0 6M")
    done = run([link(tmp_path, "nandu-img"), "create", "-q", "-f", "qcow2", "-o", "cluster_size=512", *below, image,
                str(SIZE)])
    assert done.status == 0, done
    nandu_io(tmp_path, image, "write -P 2 1M 3M", "write -z 6M 1M")
    before = contents(tmp_path, image)
    if not below:
        run([link(tmp_path, "nandu-img"), "snapshot", "-c", "old", image])
        nandu_io(tmp_path, image, "write -P 3 2M 3M")
    if name in ("grow", "shrink", "apply"):
        run([link(tmp_path, "nandu-img"), "bitmap", "--add", "-g", "512", image, "b"])
    now = contents(tmp_path, image)
    return image, {now, *{"apply": [before], "grow": [now + bytes(4 * MiB)], "shrink": [now[:3 * MiB]]}.get(name, [])}


def is_sound(tmp_path, image):
    """Leaks are no damage: with counts as they should be all is well, without any other repair."""
    done = run([link(tmp_path, "nandu-img"), "check", "-r", "leaks", image])
    return done.status == 0 and run(["qemu-img", "check", image]).status == 0


@pytest.mark.parametrize("name", OPERATIONS)
def test_kill_operation(tmp_path, name):
    image, allowed = kill_image(tmp_path, name)
    arguments = [image if a == "IMAGE" else a for a in OPERATIONS[name]]
    if image not in arguments:
        arguments.append(image)
    kept = tmp_path / "kept"
    kept.mkdir()
    for file in tmp_path.glob("*.qcow2"):
        shutil.copy(file, kept)
    choice = random.Random(name)
    for _ in range(12):
        for file in kept.iterdir():
            shutil.copy(file, tmp_path)
        process = subprocess.Popen([link(tmp_path, "nandu-img"), *arguments], stderr=subprocess.DEVNULL)
        try:
            process.wait(choice.uniform(0.002, 0.06))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        assert is_sound(tmp_path, image)
        found = contents(tmp_path, image)
        if name == "shrink" and len(found) == SIZE:
            found = found[:3 * MiB]     # what is cut off may be gone before
        assert found in allowed
        assert all(b["flags"] == ["auto"] for b in info(image).get("bitmaps", []))


# ---- Bitmaps of images that change ----

def test_bitmap_resize(tmp_path):
    image = create(tmp_path)
    img = link(tmp_path, "nandu-img")
    for name in ("b", "c"):
        assert run([img, "bitmap", "--add", "-g", "512", image, name]).status == 0
    nandu_io(tmp_path, image, "write -P 3 0 1M", "write -P 4 7M 1M")
    for size in ("200M", "5M", "50M"):
        assert run([img, "resize", "-q", "--shrink", image, size]).status == 0
        assert run(["qemu-img", "check", image]).status == 0
        # QEMU takes them as valid, and writes them.
        assert run(["qemu-io", "-c", "write -P 5 4M 64k", image]).status == 0
        assert [b["flags"] for b in info(image)["bitmaps"]] == [["auto"], ["auto"]]
        assert run([img, "check", image]).status == 0


def test_goto_with_bitmap(tmp_path):
    """All is dirty then, in a disk of another size."""
    image = create(tmp_path)
    img = link(tmp_path, "nandu-img")
    nandu_io(tmp_path, image, "write -P 3 0 1M")
    assert run([img, "snapshot", "-c", "s", image]).status == 0
    assert run([img, "resize", "-q", "--shrink", image, "3M"]).status == 0
    assert run([img, "bitmap", "--add", image, "b"]).status == 0
    assert run([img, "snapshot", "-a", "s", image]).status == 0
    assert run(["qemu-img", "check", image]).status == 0
    assert json.loads(run(["qemu-img", "info", "--output=json", image]).text)["virtual-size"] == SIZE
    done = run(["qemu-img", "convert", "--bitmaps", "-O", "qcow2", image, tmp_path / "copy.qcow2"])
    assert done.status == 0, done


# ---- Damaged bitmaps ----

def bitmap_places(f):
    """Of the extension's data, the directory, and the first bitmap's table."""
    f.seek(100)
    at = int.from_bytes(f.read(4), "big")
    while True:
        f.seek(at)
        kind, size = int.from_bytes(f.read(4), "big"), int.from_bytes(f.read(4), "big")
        if kind == 0x23852875:
            break
        at += 8 + (size + 7) // 8 * 8
    f.seek(at + 8 + 16)
    directory = int.from_bytes(f.read(8), "big")
    f.seek(directory)
    return at + 8, directory, int.from_bytes(f.read(8), "big")


# What is written where, and which of the bitmaps are left.
DAMAGE = {
    "garbage in the directory": (lambda e, d, t, l1: (d + 32, b"\xff" * 32), "a"),
    "an unknown type": (lambda e, d, t, l1: (d + 16, b"\x07"), "bc"),
    "another number": (lambda e, d, t, l1: (e, b"\0\0\0\7"), "abc"),
    "a directory behind the end": (lambda e, d, t, l1: (e + 16, (1 << 40).to_bytes(8, "big")), ""),
    "a directory that is the L1 table": (lambda e, d, t, l1: (e + 16, l1), ""),
    "a table behind the end": (lambda e, d, t, l1: (d, (1 << 40).to_bytes(8, "big")), "bc"),
    "a table that is the L1 table": (lambda e, d, t, l1: (d, l1), "bc"),
    "an entry that makes no sense": (lambda e, d, t, l1: (t, (0x1234567).to_bytes(8, "big")), "abc"),
    "an entry behind the end": (lambda e, d, t, l1: (t, (1 << 40).to_bytes(8, "big")), "abc"),
    "an entry that is the L1 table": (lambda e, d, t, l1: (t, l1), "abc"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_bitmap_repair(tmp_path, name):
    image = create(tmp_path)
    img = link(tmp_path, "nandu-img")
    for bitmap in "abc":
        assert run([img, "bitmap", "--add", "-g", "512", image, bitmap]).status == 0
    nandu_io(tmp_path, image, "write -P 4 0 1M")
    damage, left = DAMAGE[name]
    with open(image, "r+b") as f:
        places = bitmap_places(f)
        f.seek(40)
        at, data = damage(*places, f.read(8))
        f.seek(at)
        f.write(data)
    assert run([img, "check", image]).status == 2
    done = run([img, "check", "-r", "all", image])
    assert done.status == 0, done
    assert run([img, "check", image]).status == 0
    assert run(["qemu-img", "check", image]).status == 0
    assert "".join(b["name"] for b in info(image).get("bitmaps", [])) == left
    nandu_io(tmp_path, image, "read -P 4 0 1M", "write 2M 64k")
    assert run(["qemu-img", "check", image]).status == 0


# ---- Version 2 ----

@pytest.mark.parametrize("backed", [False, True])
def test_downgrade_with_snapshots(tmp_path, backed):
    """Clusters of zeroes of the disk and of its snapshots become what version 2 has."""
    base, image, img = tmp_path / "base.raw", tmp_path / "disk.qcow2", link(tmp_path, "nandu-img")
    base.write_bytes(b"\x09" * SIZE)
    assert run([img, "create", "-q", "-f", "qcow2", "-o", "cluster_size=4k",
                *(["-b", base, "-F", "raw"] if backed else []), image, str(SIZE)]).status == 0
    nandu_io(tmp_path, image, "write -P 1 0 1M", "write -z 2M 1M")
    run([img, "snapshot", "-c", "s", image])
    nandu_io(tmp_path, image, "write -z 64k 1M")
    run([img, "snapshot", "-c", "t", image])
    nandu_io(tmp_path, image, "write -z 3M 64k")
    before = [contents(tmp_path, image, *o) for o in ([], ["-l", "s"], ["-l", "t"])]
    done = run([img, "amend", "-o", "compat=0.10", image])
    assert done.status == 0, done
    assert info(image)["compat"] == "0.10"
    assert [contents(tmp_path, image, *o) for o in ([], ["-l", "s"], ["-l", "t"])] == before
    assert run(["qemu-img", "check", image]).status == 0
    assert run([img, "check", image]).status == 0
    run([img, "amend", "-o", "compat=1.1", image])
    run([img, "resize", "-q", image, "16M"])
    done = run([img, "amend", "-o", "compat=0.10", image])
    assert done.status == 1 and "another size" in done.error, done


# ---- blkdebug's events ----

# Commands that come by each, and make a request of the image's own file next.
EVENTS = {
    "l2_load": "read 0 64k", "read_aio": "read 0 64k", "read_compressed": "read 1M 1k",
    "read_backing_aio": "write 2097252 200", "cluster_alloc": "write 5M 64k", "write_aio": "write 5M 64k",
    "refblock_load": "write 5M 64k", "cow_read": "write 100 200", "cow_write": "write 100 200",
    "l1_grow_alloc_table": "truncate 80M", "l1_grow_write_table": "truncate 80M",
    "l1_grow_activate_table": "truncate 80M", "l1_shrink_write_table": "truncate 1M",
    "l1_shrink_free_l2_clusters": "truncate 1M", "write_compressed": "write -c 3M 1k",
    "cluster_alloc_bytes": "write -c 3M 1k",
}


@pytest.mark.parametrize("event", EVENTS)
def test_debug_event(tmp_path, event):
    image, base = tmp_path / "disk.qcow2", tmp_path / "base.qcow2"
    for path, more in ((base, []), (image, ["-b", base, "-F", "qcow2"])):
        done = run(["qemu-img", "create", "-q", "-f", "qcow2", "-o", "cluster_size=1k", *more, path, "20M"])
        assert done.status == 0, done
    nandu_io(tmp_path, base, "write -P 9 0 20M")
    nandu_io(tmp_path, image, "write -P 1 0 64k", "write -c -P 2 1M 1k")
    run([link(tmp_path, "nandu-img"), "snapshot", "-c", "s", image])
    node = {"driver": "qcow2", "file": {
        "driver": "blkdebug", "image": {"driver": "file", "filename": str(image)},
        "inject-error": [{"event": event, "errno": 28, "once": True, "immediately": True}]}}
    for command, expected in ((EVENTS[event], True), (EVENTS[event], False)):
        done = run([link(tmp_path, "nandu-io"), "-c", command, "json:" + json.dumps(node)])
        assert ("No space left" in done.text + done.error) == expected, done
        node["file"]["inject-error"] = []
    assert run(["qemu-img", "check", image]).status in (0, 3)
