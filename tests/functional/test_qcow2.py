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
    """nandu by another name."""
    path = tmp_path / name
    if not path.exists():
        os.symlink(os.path.join(build_folder(), "nandu"), path)
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
