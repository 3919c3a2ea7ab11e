"""nandu-img against qemu-img: the same commands on the same files in two folders, and the same output, messages and exit
status, byte by byte, but for how much of the disk files take and where clusters are."""

import json
import os
import random
import re
import shlex
import shutil
import subprocess

import pytest
from conftest import TOP, build_folder, run

BASE = ["create -q -f qcow2 base.qcow2 10M", "create -q -f qcow2 -b base.qcow2 -F qcow2 top.qcow2",
        "create -q -f raw b.raw 3M"]
WRITES = {"base.qcow2": ["write -P 5 1M 300k", "write -P 7 4M 1M", "write -z 2M 64k"],
          "top.qcow2": ["write -P 9 1200k 100k", "write -z 4M 64k", "write -P 3 9M 1M"]}


def qemu_tool(name):
    path = shutil.which(name)
    if not path:
        pytest.skip(f"{name} is not installed")
    text = subprocess.run([path, "--version"], capture_output=True, text=True, check=False).stdout
    if "version 10." not in text or "Nandu" in text:
        pytest.skip(f"{name} is not QEMU 10's")
    return path


class Side:
    """One of the two programs, in a folder of its own."""

    def __init__(self, tool, folder):
        self.folder = folder
        self.path = tool
        folder.mkdir()

    def run(self, line):
        # By its name alone, which messages show.
        environment = {**os.environ, "PATH": os.path.dirname(self.path) + ":" + os.environ["PATH"], "TZ": "UTC"}
        name = os.path.basename(self.path)
        return run([name, *shlex.split(line)], cwd=self.folder, env=environment)


class Pair:
    def __init__(self, tmp_path, name):
        names = tmp_path / "names"
        names.mkdir()
        os.symlink(os.path.join(build_folder(), "nandu-img"), names / name)
        self.qemu = Side(qemu_tool(name), tmp_path / "qemu")
        self.nandu = Side(str(names / name), tmp_path / "nandu")

    def same(self, line, mask=lambda text: text, status=None):
        theirs, ours = self.qemu.run(line), self.nandu.run(line)
        assert mask(ours.text) == mask(theirs.text), line
        assert ours.error == theirs.error, line
        assert ours.status == theirs.status, (line, ours)
        if status is not None:
            assert ours.status == status, line
        return ours

    def both(self, program, *args):
        for side in (self.qemu, self.nandu):
            done = run([program, *args], cwd=side.folder)
            assert done.status == 0, (args, done)


@pytest.fixture
def pair(tmp_path):
    return Pair(tmp_path, "qemu-img")


@pytest.fixture
def images(pair):
    """A base and an image on top of it, made by qemu-io, the same in both folders."""
    qemu_io = qemu_tool("qemu-io")
    for line in BASE:
        pair.same(line)
    for name, commands in WRITES.items():
        pair.both(qemu_io, "-f", "qcow2", *[x for c in commands for x in ("-c", c)], name)
    return pair


def sizes_masked(text):
    text = re.sub(r"disk size: .*", "disk size: X", text)
    text = re.sub(r"file length: .*", "file length: X", text)
    text = re.sub(r'"(actual-size|image-end-offset)": \d+', r'"\1": X', text)
    text = re.sub(r"Image end offset: \d+", "Image end offset: X", text)
    # The size of the file that an image is in.
    text = re.sub(r'"virtual-size": \d+(,\s*"filename": "[^"]*",\s*"format": "file")', r'"virtual-size": X\1', text)
    return re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "DATE", text)


def places_masked(text):
    """Where in a qcow2 file a cluster is."""
    return re.sub(r', "offset": \d+', "", text)


# ---- Messages of what can't be done ----

MISTAKES = """
create; create --foo; create -f foo x 1M; create -f qcow2 x; create x 1Z; create a b c; create -f qcow2 -o foo=1 x 1M
create -f qcow2 -o cluster_size=3 x 1M; create -f qcow2 -b nope -F raw x; create -f qcow2 -b base.qcow2 x
info; info nofile; info -f qcow2 b.raw; info --output=xml base.qcow2; info -f qcow2 --image-opts driver=x; foo;
snapshot; snapshot -d zz base.qcow2; snapshot -a zz base.qcow2; snapshot -l -c x base.qcow2; snapshot -f raw -c x b.raw
snapshot -f raw -a x b.raw; snapshot -f raw -d x b.raw
resize; resize base.qcow2; resize base.qcow2 1M; resize base.qcow2 x; resize -f raw --preallocation=foo b.raw +1M
map; map a b; compare a; compare base.qcow2; bench; bench -c 0 base.qcow2; bench -t foo base.qcow2
bench -w -c 10 --flush-interval 2 base.qcow2; bench --pattern 300 -w base.qcow2; bench --flush-interval 5 base.qcow2
bench -d 0 base.qcow2; bench -s 0 base.qcow2
check; check -f raw b.raw; check -r foo base.qcow2; commit; commit base.qcow2; commit -b nope top.qcow2
rebase; rebase base.qcow2; rebase -b nope -F raw top.qcow2; rebase -u -b x base.qcow2
measure; measure --size 1 x; measure -O foo --size 1M; dd; dd if=base.qcow2; dd foo; dd bs=x if=base.qcow2 of=z
bitmap x; amend; amend base.qcow2; amend -f raw -o x=1 b.raw
convert; convert base.qcow2; convert -O foo base.qcow2 z; convert -c -O raw base.qcow2 z; convert -m 17 base.qcow2 z
convert -S x base.qcow2 z; convert -n base.qcow2 zzz; convert --target-is-zero base.qcow2 z
convert -l foo=1 base.qcow2 z; convert -r x base.qcow2 z
convert -n -o size=1M base.qcow2 b.raw; convert --target-image-opts base.qcow2 driver=raw,file.filename=b.raw
convert --skip-broken-bitmaps base.qcow2 z; convert -C -c -O qcow2 base.qcow2 z; convert -C -S 4k base.qcow2 z
convert -C --salvage base.qcow2 z; convert -F raw base.qcow2 z; convert -B base.qcow2 -O qcow2 base.qcow2 base.qcow2 z
convert -B base.qcow2 -O qcow2 base.qcow2 z; convert -B base.qcow2 -F qcow2 -O raw base.qcow2 z
convert -T foo base.qcow2 z; convert -t foo base.qcow2 z; convert nofile z; convert base.qcow2 nodir/z
convert -f qcow2 --image-opts driver=qcow2,file.filename=base.qcow2 z; convert -O qcow2 base.qcow2 nodir/z
create -f qcow2 nodir/x 1M; check -T foo base.qcow2; check nofile; commit nofile; compare nofile base.qcow2
resize base.qcow2 -50M; resize base.qcow2 +9E; map --start-offset x base.qcow2; map -l x base.qcow2
measure -f qcow2 --size 1M; measure a b; dd if=base.qcow2 of=nodir/x; dd count=x if=base.qcow2 of=x
dd skip=-1 if=base.qcow2 of=x; dd -f foo if=base.qcow2 of=x; dd -O foo if=base.qcow2 of=x; info -f foo base.qcow2; info .
bench -i foo base.qcow2; bench -o x base.qcow2
"""


def test_mistakes(images):
    for line in MISTAKES.replace("\n", ";").split(";"):
        if line.strip():
            images.same(line.strip())
    images.same("", status=1)


# ---- create and info ----

def test_create_and_info(pair):
    for line in ("create -f qcow2 a.qcow2 10M", "create -f raw r.raw 3M", "create -f qcow2 -b a.qcow2 -F qcow2 c.qcow2",
                 "create -f qcow2 -o compat=0.10 old.qcow2 1M", "create -f qcow2 -o size=5M sized.qcow2",
                 "create -f qcow2 -o cluster_size=4k,refcount_bits=1,lazy_refcounts=on z4.qcow2 1G",
                 "create -f qcow2 -o data_file=data.raw,data_file_raw=on ext.qcow2 1G",
                 "create -f qcow2 -o extended_l2=on,compression_type=zstd z6.qcow2 1G",
                 "create -f qcow2 -o preallocation=metadata,compat=v3,nocow=on pre.qcow2 1M",
                 "create -f raw -o preallocation=off,nocow=off r2.raw 1M", "create -f raw -o help x"):
        pair.same(line, status=0)
    for name in ("a.qcow2", "c.qcow2", "old.qcow2", "z4.qcow2", "z6.qcow2", "ext.qcow2", "r.raw"):
        pair.same(f"info {name}", sizes_masked, 0)
        pair.same(f"info --output=json {name}", sizes_masked, 0)
    pair.same("info --backing-chain c.qcow2", sizes_masked, 0)
    pair.same("info --output=json --backing-chain c.qcow2", sizes_masked, 0)
    pair.same("info --image-opts driver=qcow2,file.filename=a.qcow2", sizes_masked, 0)
    pair.same("""info 'json:{"driver":"qcow2","file":{"driver":"file","filename":"a.qcow2"}}'""", sizes_masked, 0)
    pair.same("info --object secret,id=a,data=x a.qcow2", sizes_masked, 0)


def test_backing_loop(pair):
    pair.same("create -q -f qcow2 a.qcow2 1M")
    pair.same("rebase -u -b a.qcow2 -F qcow2 a.qcow2")
    done = pair.nandu.run("info --backing-chain a.qcow2")
    assert done.status == 1 and "infinite loop" in done.error


# ---- What is where ----

def test_map(images):
    for name in ("base.qcow2", "top.qcow2"):
        images.same(f"map {name}", status=0)
        images.same(f"map --output=json {name}", status=0)
    images.same("map --start-offset 1M --max-length 3M --output=json top.qcow2", status=0)


def test_map_picture(images):
    done = images.nandu.run("map --image m.svg top.qcow2")
    assert done.status == 0, done
    text = (images.nandu.folder / "m.svg").read_text()
    assert text.startswith("<svg") and "data in base.qcow2" in text and "zeroes: 128 KiB" in text
    done = images.nandu.run("map --image nofolder/m.svg top.qcow2")
    assert done.status == 1 and "nofolder/m.svg" in done.error


# ---- compare ----

def test_compare(images):
    images.same("convert -O raw top.qcow2 t.raw", status=0)
    for line, status in (("compare base.qcow2 top.qcow2", 1), ("compare top.qcow2 t.raw", 0),
                         ("compare -s top.qcow2 t.raw", None), ("compare base.qcow2 b.raw", 1),
                         ("compare -s base.qcow2 b.raw", 1), ("compare -q base.qcow2 b.raw", 1),
                         ("compare base.qcow2 nofile", 2), ("compare -f raw -F raw t.raw t.raw", 0)):
        images.same(line, status=status)


# ---- convert and dd ----

CONVERSIONS = ("-O raw", "-O qcow2", "-O qcow2 -c", "-O qcow2 -c -o compression_type=zstd", "-O raw -S 0", "-O raw -C",
               "-O raw -S 64k", "-O qcow2 -o cluster_size=4k", "-O qcow2 -o extended_l2=on", "-O qcow2 -W -m 3",
               "-O qcow2 -o preallocation=full", "-O raw -r 1T", "-O qcow2 --salvage", "-O raw -t none -T none",
               "-O qcow2 -B base.qcow2 -F qcow2", "-O raw -m 1 -t writethrough")


@pytest.mark.parametrize("options", CONVERSIONS)
def test_convert(images, options):
    images.same(f"convert {options} top.qcow2 out", status=0)
    qemu = images.qemu.path
    assert run([qemu, "compare", "top.qcow2", "out"], cwd=images.nandu.folder).status == 0
    images.same("compare top.qcow2 out", status=0)
    if "qcow2" in options:
        assert run([qemu, "check", "-q", "out"], cwd=images.nandu.folder).status == 0


def test_convert_several_and_into(images):
    images.same("convert -O raw top.qcow2 t.raw", status=0)
    images.same("convert -O raw t.raw top.qcow2 cat.raw", status=0)
    assert (images.qemu.folder / "cat.raw").read_bytes() == (images.nandu.folder / "cat.raw").read_bytes()
    images.same("convert -n -O raw base.qcow2 cat.raw", status=0)
    assert (images.qemu.folder / "cat.raw").read_bytes() == (images.nandu.folder / "cat.raw").read_bytes()
    done = images.nandu.run("convert -p -O raw t.raw p.raw")
    assert done.text.startswith("    (0.00/100%)\r") and done.text.endswith("    (100.00/100%)\r\n")


def test_convert_snapshot(images):
    images.same("snapshot -c s1 top.qcow2", status=0)
    images.both(qemu_tool("qemu-io"), "-f", "qcow2", "-c", "write -P 1 0 10M", "top.qcow2")
    for option in ("s1", "1", "snapshot.name=s1", "snapshot.id=1"):
        images.same(f"convert -l {option} -O raw top.qcow2 s.raw", status=0)
        assert (images.qemu.folder / "s.raw").read_bytes() == (images.nandu.folder / "s.raw").read_bytes()


def test_convert_disk_full(images):
    if not os.path.exists("/dev/full"):
        pytest.skip("there is no /dev/full")
    done = images.nandu.run("convert -n -f raw -O raw b.raw nowhere/x.raw")
    assert done.status == 1 and "nowhere/x.raw" in done.error


@pytest.mark.parametrize("operands", ("bs=1M count=3 skip=1", "bs=64k", "bs=1000 count=7", "bs=1M skip=20", "count=0"))
def test_dd(images, operands):
    images.same(f"dd {operands} if=top.qcow2 of=out.raw", status=0)
    images.same(f"dd -O qcow2 {operands} if=top.qcow2 of=out.qcow2", status=0)
    assert (images.qemu.folder / "out.raw").read_bytes() == (images.nandu.folder / "out.raw").read_bytes()


# ---- resize and snapshot ----

def test_resize(images):
    for line in ("resize base.qcow2 +2M", "resize --shrink base.qcow2 5M", "resize base.qcow2 +0",
                 "resize -f raw b.raw +1M", "resize --shrink -f raw b.raw -512k", "resize -q -f raw b.raw 5M", "resize -f raw --preallocation=full b.raw 6M",
                 "resize --shrink -f raw b.raw 1M", "info base.qcow2", "info b.raw", "map --output=json base.qcow2"):
        images.same(line, sizes_masked, 0)
    images.same("check base.qcow2", sizes_masked, 0)


def test_snapshot(images):
    for line in ("snapshot -c one top.qcow2", "snapshot -c two top.qcow2", "snapshot top.qcow2", "snapshot -a one top.qcow2",
                 "info top.qcow2", "snapshot -d one top.qcow2", "snapshot -l top.qcow2", "snapshot -d two top.qcow2",
                 "snapshot -l top.qcow2", "map --output=json top.qcow2"):
        images.same(line, sizes_masked, 0)
    images.same("check top.qcow2", sizes_masked, 0)


# ---- rebase and commit ----

@pytest.fixture
def chain(images):
    images.same("create -q -f qcow2 -b top.qcow2 -F qcow2 top2.qcow2 12M")
    images.both(qemu_tool("qemu-io"), "-f", "qcow2", "-c", "write -P 99 11M 100k", "-c", "write -P 98 0 128k", "top2.qcow2")
    images.both(images.qemu.path, "convert", "-O", "raw", "top2.qcow2", "ref.raw")
    return images


@pytest.mark.parametrize("options", ("-b base.qcow2 -F qcow2", "-b ''", "-c -b ''", "-b b.raw -F raw"))
def test_rebase(chain, options):
    chain.same(f"rebase {options} top2.qcow2", status=0)
    chain.same("compare top2.qcow2 ref.raw", status=0)
    chain.same("info top2.qcow2", sizes_masked, 0)
    assert run([chain.qemu.path, "check", "-q", "top2.qcow2"], cwd=chain.nandu.folder).status == 0


def test_commit(chain):
    chain.same("commit top2.qcow2", status=0)
    chain.same("compare top2.qcow2 ref.raw", status=0)
    chain.same("compare top.qcow2 ref.raw", status=0)
    chain.same("map --output=json top2.qcow2", places_masked, 0)
    for name in ("top.qcow2", "top2.qcow2"):
        assert run([chain.qemu.path, "check", "-q", name], cwd=chain.nandu.folder).status == 0


@pytest.mark.parametrize("options", ("-b base.qcow2", "-d", "-q -b base.qcow2 -r 1T"))
def test_commit_further_down(chain, options):
    chain.same(f"commit {options} top2.qcow2", status=0)
    chain.same("compare top2.qcow2 ref.raw", status=0)
    if "base" in options:
        chain.same("compare base.qcow2 ref.raw", status=0)


# ---- bench, measure, check ----

def test_bench(images):
    def mask(text):
        return re.sub(r"in [\d.]+ seconds", "in X seconds", text)

    for options in ("-c 100 -d 4", "-w -c 100 -d 2 --flush-interval 2", "-w -c 100 -d 2 --flush-interval 2 --no-drain",
                    "-o 1M -S 64k -s 8k -c 50", "-w --pattern 7 -c 10 -t none", "-i io_uring -c 10", "-n -t none -c 10"):
        images.same(f"bench {options} top.qcow2", mask, 0)


def test_check(images):
    for options in ("", "--output=json", "-r all", "-q"):
        images.same(f"check {options} top.qcow2", sizes_masked, 0)


def test_measure_raw(images):
    for line in ("measure -O raw --size 1M", "measure --output json -O raw --size 5", "measure -f raw b.raw",
                 "measure top.qcow2"):
        images.same(line, status=0)


def test_measure_qcow2(images):
    for line in ("measure -O qcow2 --size 1G", "measure -O qcow2 --output=json -o cluster_size=4k --size 1G",
                 "measure -O qcow2 top.qcow2", "measure -O qcow2 -o refcount_bits=64 base.qcow2"):
        images.same(line, status=0)


def test_amend(images):
    for line in ("amend -o lazy_refcounts=on top.qcow2", "amend -o refcount_bits=8 top.qcow2",
                 "amend -o compat=0.10,refcount_bits=16,lazy_refcounts=off base.qcow2", "info base.qcow2", "info top.qcow2"):
        images.same(line, sizes_masked, 0)
    images.same("amend -o foo=1 top.qcow2", status=1)
    for name in ("top.qcow2", "base.qcow2"):
        assert run([images.qemu.path, "check", "-q", name], cwd=images.nandu.folder).status == 0


def test_bitmaps(images):
    for options in ("--remove top.qcow2 none", "--merge none top.qcow2 b0", "--add top.qcow2", "-g 64k --clear top.qcow2 b0",
                    "-b x --clear top.qcow2 b0", "-F raw --clear top.qcow2 b0", "-g x --add top.qcow2 b9"):
        images.same(f"bitmap {options}", status=1)
    for options in ("--add top.qcow2 b0", "--add --disable -g 32k top.qcow2 b1", "--merge b0 top.qcow2 b1",
                    "--add top.qcow2 b2", "--remove top.qcow2 b2"):
        images.same(f"bitmap {options}", status=0)
    images.same("info top.qcow2", sizes_masked, 0)
    images.same("convert --bitmaps -O qcow2 top.qcow2 copy.qcow2", status=0)
    images.same("convert --bitmaps -O raw top.qcow2 copy.raw", status=1)
    images.same("convert --bitmaps -O qcow2 -f raw b.raw copy2.qcow2", status=1)
    images.same("bitmap --merge b0 -b copy.qcow2 top.qcow2 b1", status=0)
    for name in ("top.qcow2", "copy.qcow2"):
        # By QEMU's own eyes on both.
        told = [json.loads(run([images.qemu.path, "info", "--output=json", name], cwd=side.folder).text)
                for side in (images.qemu, images.nandu)]
        bitmaps = [info["format-specific"]["data"]["bitmaps"] for info in told]
        assert bitmaps[0] == bitmaps[1], name
        assert run([images.qemu.path, "check", "-q", name], cwd=images.nandu.folder).status == 0


# ---- Random sequences ----

@pytest.mark.parametrize("seed", range(6))
def test_random_chains(pair, seed):
    """Images that both make by the same random steps read the same, and both checks find them clean."""
    rng = random.Random(seed)
    qemu_io = qemu_tool("qemu-io")
    names = []
    for step in range(14):
        name, size = f"i{len(names)}.qcow2", rng.randrange(1, 64) << 16
        what = rng.choice(("create", "write", "write", "write", "resize", "rebase", "commit", "snapshot"))
        if what == "create" or not names:
            base = f"-b {names[-1]} -F qcow2 " if names else ""
            pair.same(f"create -q -f qcow2 -o cluster_size={rng.choice((512, 4096, 65536))} {base}{name} {size}", status=0)
            names.append(name)
        elif what == "write":
            length = json.loads(pair.qemu.run(f"info --output=json {names[-1]}").text)["virtual-size"]
            offset = rng.randrange(0, length)
            count = rng.randrange(1, min(length - offset, 1 << 18) + 1)
            command = rng.choice((f"write -P {rng.randrange(256)} {offset} {count}", f"write -z {offset} {count}"))
            pair.both(qemu_io, "-f", "qcow2", "-c", command, names[-1])
        elif what == "resize":
            pair.same(f"resize -q --shrink {names[-1]} {size}")
        elif what == "rebase" and len(names) > 2:
            pair.same(f"rebase -b {names[-3]} -F qcow2 {names[-1]}", status=0)
        elif what == "commit" and len(names) > 1:
            pair.same(f"commit -d {names[-1]}", status=0)
        elif what == "snapshot":
            pair.same(f"snapshot -c s{step} {names[-1]}", status=0)
    for name in names:
        for side in (pair.qemu, pair.nandu):
            assert run([pair.qemu.path, "convert", "-O", "raw", name, name + ".raw"], cwd=side.folder).status == 0
        assert (pair.qemu.folder / (name + ".raw")).read_bytes() == (pair.nandu.folder / (name + ".raw")).read_bytes()
        done = run([pair.qemu.path, "check", name], cwd=pair.nandu.folder)
        assert done.status == 0, done
        assert pair.nandu.run(f"check -q {name}").status == 0


# ---- What the documents say ----

def options_of(text):
    return {name for line in text.splitlines() if line.startswith("  -") for name in re.findall(r"--[a-z-]+", line[:34])}


def test_manual_page():
    """Each option of each command is in the manual page, and no other."""
    program = os.path.join(build_folder(), "nandu")
    with open(os.path.join(TOP, "man", "nandu-img.1"), encoding="utf-8") as f:
        page = re.sub(r"\\f[BIR]", "", f.read().replace("\\-", "-"))
    commands = re.findall(r"^  ([a-z]+) - ", run([program, "img", "--help"]).text, re.M)
    assert len(commands) == 15
    for command in commands:
        section = re.search(rf"^\.SS {command} .*\n((?:(?!\.S[SH]).*\n)*)", page, re.M).group(1)
        entries = {name for entry in re.findall(r"^\.TP\n(.*)", section, re.M) for name in re.findall(r"--[a-z-]+", entry)}
        help_text = run([program, "img", command, "--help"]).text
        assert entries == options_of(help_text) - {"--help"}, command


@pytest.mark.parametrize("words, expected", [("nandu-img co", {"commit", "compare", "convert"}),
                                             ("nandu-img info --outp", {"--output"}),
                                             ("nandu-img convert -O qc", {"qcow2"}),
                                             ("nandu-io -c aio_f", {"aio_flush"})])
def test_completion(tmp_path, words, expected):
    for name in ("nandu-img", "nandu-io"):
        os.symlink(os.path.join(build_folder(), "nandu-img"), tmp_path / name)
    function = "_" + words.split()[0].replace("-", "_")
    script = (f". {TOP}/tools/completion.bash; COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); {function}; "
              'printf "%s\\n" "${COMPREPLY[@]}"')
    done = run(["bash", "-c", script], env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"})
    assert set(done.text.split()) == expected, done
