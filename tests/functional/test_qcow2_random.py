"""Random sequences of what is done with qcow2 images, by nandu-img, nandu-io and QEMU's in turn on the same image.

After each step the other program's reading of the disk is compared with a model; at the end both read the disk and
the snapshots, and both checks find nothing. A sequence is a seed: NANDU_QCOW2_SEED is the first, NANDU_QCOW2_SEQUENCES
how many (make check-qcow2-random COUNT=...).
"""

import json
import os
import random
import shutil
import subprocess

import pytest
from conftest import build_folder

pytestmark = pytest.mark.skipif(not shutil.which("qemu-img"), reason="QEMU isn't there to compare with")

KiB, MiB = 1 << 10, 1 << 20
MAX_SIZE = 3 * MiB
STEPS = 14
FIRST = int(os.environ.get("NANDU_QCOW2_SEED", "1"))
COUNT = int(os.environ.get("NANDU_QCOW2_SEQUENCES", "6"))

LAYOUTS = ["", "compat=0.10", "cluster_size=512", "cluster_size=4k", "cluster_size=4k,refcount_bits=1",
           "cluster_size=512,refcount_bits=64", "cluster_size=4k,lazy_refcounts=on", "extended_l2=on,cluster_size=16k",
           "extended_l2=on", "compression_type=zstd,cluster_size=8k", "preallocation=metadata",
           "preallocation=falloc,cluster_size=4k", "preallocation=full", "data_file=data.raw,cluster_size=4k",
           "cluster_size=2M"]
UNITS = [1, 512, 4096, 65536]


class Sequence:
    def __init__(self, folder, seed):
        self.choice = random.Random(seed)
        self.seed, self.folder = seed, folder
        self.log = []
        self.layout = self.choice.choice(LAYOUTS)
        self.snapshots = {}             # name -> contents
        self.bitmaps = set()
        self.backed = False
        self.version = 2 if "0.10" in self.layout else 3
        self.serial = 0

    # ---- Programs ----

    def run(self, who, program, *arguments, fails=False):
        name = f"qemu-{program}" if who == "qemu" else self.folder / f"nandu-{program}"
        command = [str(a) for a in (name, *arguments)]
        self.log.append(" ".join(command))
        done = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, timeout=300)
        if not fails:
            assert done.returncode == 0, self.story(done.stdout + done.stderr)
            assert "failed" not in done.stdout + done.stderr, self.story(done.stdout + done.stderr)
        return done

    def story(self, why):
        return "\n".join([f"seed {self.seed}, layout '{self.layout}'", *self.log, why])

    def either(self):
        return self.choice.choice(["nandu", "qemu"])

    def read(self, who, snapshot=None):
        out = self.folder / "read.raw"
        out.unlink(missing_ok=True)
        self.run(who, "img", "convert", *(["-l", f"snapshot.name={snapshot}"] if snapshot else []), "-O", "raw",
                 "disk.qcow2", out)
        return out.read_bytes()

    def compare(self, who, expected, snapshot=None):
        found = self.read(who, snapshot)
        if snapshot and who == "qemu":  # which shows a snapshot as large as the disk is now
            size = min(len(found), len(expected))
            found, expected = found[:size], expected[:size]
        if found != expected:
            first = next((i for i, (a, b) in enumerate(zip(found, expected)) if a != b), min(len(found), len(expected)))
            raise AssertionError(self.story(f"{who} reads byte {first} of {snapshot or 'the disk'} as it isn't; "
                                            f"{len(found)} bytes, not {len(expected)}"))

    # ---- Images ----

    def make_base(self, name, size):
        contents = bytearray(size)
        (self.folder / name).unlink(missing_ok=True)
        form = "raw" if name.endswith("raw") else "qcow2"
        self.run(self.either(), "img", "create", "-q", "-f", form, name, size)
        commands = []
        for _ in range(4):
            pattern, at = self.choice.randrange(1, 256), self.choice.randrange(0, size // 512) * 512
            length = min(self.choice.randrange(1, 800) * 512, size - at)
            contents[at:at + length] = bytes([pattern]) * length
            commands += ["-c", f"write -P {pattern} {at} {length}"]
        self.run(self.either(), "io", "-f", form, *commands, name)
        return form, contents

    def create(self):
        size = self.choice.randrange(MiB // 512, MAX_SIZE // 512) * 512
        self.disk = bytearray(size)
        options = ["-o", self.layout] if self.layout else []
        if self.choice.random() < 0.5 and "data_file" not in self.layout and "preallocation" not in self.layout:
            form, contents = self.make_base(self.choice.choice(["base.raw", "base.qcow2"]), size)
            name = "base." + form
            options += ["-b", name, "-F", form]
            self.disk = contents
            self.backed = name
        self.run(self.either(), "img", "create", "-q", "-f", "qcow2", *options, "disk.qcow2", size)

    def pick(self):
        unit, size = self.choice.choice(UNITS), len(self.disk)
        at = self.choice.randrange(0, max(size // unit, 1)) * unit
        return at, min(self.choice.randrange(1, 30) * unit, size - at)

    # ---- Steps ----

    def change(self):
        commands, unknown, who = [], [], self.either()
        for _ in range(self.choice.randrange(1, 7)):
            at, length = self.pick()
            kind = self.choice.randrange(0, 10)
            if kind < 5:
                pattern = self.choice.randrange(0, 256)
                commands.append(f"{self.choice.choice(['write', 'aio_write', 'writev', 'write -f'])} -P {pattern} {at} "
                                f"{length}")
                self.disk[at:at + length] = bytes([pattern]) * length
                commands.append("aio_flush")
            elif kind < 7:
                commands.append(f"write -z {self.choice.choice(['', '-u'])} {at} {length}")
                self.disk[at:at + length] = bytes(length)
            elif kind == 7:
                commands.append(f"discard {at} {length}")
                unknown.append((at, length))
            elif kind == 8 and "data_file" not in self.layout and len(self.disk) >= 2 * MiB:
                commands.append("write -c -P 77 0 2M")
                who = "nandu"           # QEMU doesn't compress where there are clusters already
                self.disk[0:2 * MiB] = b"M" * (2 * MiB)
            else:
                commands.append("flush")
        self.run(who, "io", "-f", "qcow2", "-d", self.choice.choice(["unmap", "ignore"]),
                 *sum((["-c", c] for c in commands), []), "disk.qcow2")
        if unknown:
            # What is there after a discard, and wasn't written again, is the image's affair.
            found = self.read(who)
            for at, length in unknown:
                self.disk[at:at + length] = found[at:at + length]

    def snapshot(self):
        if "data_file" in self.layout or "refcount_bits=1" in self.layout:
            return
        kind, names = self.choice.randrange(0, 3), sorted(self.snapshots)
        if not names or (kind == 0 and len(names) < 4):
            self.serial += 1
            self.run(self.either(), "img", "snapshot", "-c", f"s{self.serial}", "disk.qcow2")
            self.snapshots[f"s{self.serial}"] = bytes(self.disk)
            return
        name = self.choice.choice(names)
        if kind == 1:
            # QEMU doesn't where there are bitmaps, or another size and version 2.
            size_differs = len(self.snapshots[name]) != len(self.disk)
            who = "nandu" if self.bitmaps or size_differs else self.either()
            self.run(who, "img", "snapshot", "-a", name, "disk.qcow2")
            self.disk = bytearray(self.snapshots[name])
        else:
            self.run(self.either(), "img", "snapshot", "-d", name, "disk.qcow2")
            del self.snapshots[name]

    def resize(self):
        size = self.choice.randrange(1, MAX_SIZE // 512) * 512
        # Version 2 has no clusters of zeroes that would hide what the backing image has behind the old end.
        if self.version == 2 and (self.snapshots or size > len(self.disk)):
            return
        # What is behind the end in the last cluster comes to light when QEMU makes it larger.
        who = "nandu" if size > len(self.disk) else self.either()
        self.run(who, "img", "resize", "-q", "-f", "qcow2", "--shrink", "disk.qcow2", size)
        self.disk = self.disk[:size] + bytes(max(size - len(self.disk), 0))

    def bitmap(self):
        if self.version == 2 or "data_file" in self.layout:
            return
        names = sorted(self.bitmaps)
        if not names or self.choice.random() < 0.4:
            self.serial += 1
            name = f"b{self.serial}"
            self.run(self.either(), "img", "bitmap", "--add", "-g", self.choice.choice([512, 65536]), "disk.qcow2",
                     name)
            self.bitmaps.add(name)
            return
        name = self.choice.choice(names)
        what = self.choice.choice(["--remove", "--clear", "--enable", "--disable"])
        self.run(self.either(), "img", "bitmap", what, "disk.qcow2", name)
        if what == "--remove":
            self.bitmaps.remove(name)

    def amend(self):
        if self.layout and self.version == 3 and "lazy" not in self.layout:
            return
        kind = self.choice.randrange(0, 4)
        if kind == 0 and not self.bitmaps and all(len(s) == len(self.disk) for s in self.snapshots.values()):
            # QEMU leaves flags of shared clusters behind that its own check finds.
            who = "nandu" if self.snapshots else self.either()
            if self.version == 3:
                self.run(who, "img", "amend", "-o", "lazy_refcounts=off", "disk.qcow2")
                self.run(who, "img", "amend", "-o", "refcount_bits=16", "disk.qcow2")
            self.run(who, "img", "amend", "-o", "compat=0.10", "disk.qcow2")
            self.version = 2
        elif kind == 1:
            self.run(self.either(), "img", "amend", "-o", "compat=1.1", "disk.qcow2")
            self.version = 3
        elif self.version == 3:
            options = self.choice.choice(["refcount_bits=64", "refcount_bits=32", "lazy_refcounts=on",
                                          "lazy_refcounts=off"])
            self.run(self.either(), "img", "amend", "-o", options, "disk.qcow2")

    def below(self):
        """Commit, or another backing image. Snapshots would see what is below change."""
        if not self.backed or self.snapshots:
            return
        size = len(self.disk)
        if self.choice.random() < 0.5:
            self.run(self.either(), "img", "commit", "-q", "-f", "qcow2", "disk.qcow2")
            return
        name = self.choice.choice(["other.raw", "other.qcow2", ""])
        if name:
            form, _ = self.make_base(name, max(size // 512 * 512, 512))
            self.run(self.either(), "img", "rebase", "-f", "qcow2", "-b", name, "-F", form, "disk.qcow2")
        else:
            self.run(self.either(), "img", "rebase", "-f", "qcow2", "-b", "", "disk.qcow2")
        self.backed = False             # once

    def copy(self):
        if self.snapshots or "data_file" in self.layout or "preallocation" in self.layout:
            return
        who = self.either()
        layout = "" if "compat" in self.layout else self.layout
        options = ["-o", "compat=0.10" if self.version == 2 else layout] if self.version == 2 or layout else []
        keep = ["--bitmaps"] if self.bitmaps and self.choice.random() < 0.5 and self.version == 3 else []
        self.run(who, "img", "convert", *keep, *(["-c"] if self.choice.random() < 0.3 else []), "-O", "qcow2", *options,
                 "disk.qcow2", "copy.qcow2")
        os.replace(self.folder / "copy.qcow2", self.folder / "disk.qcow2")
        self.backed = False
        self.bitmaps = self.bitmaps if keep else set()

    def check(self):
        for who in ("nandu", "qemu"):
            done = self.run(who, "img", "check", "disk.qcow2", fails=True)
            assert done.returncode == 0, self.story(done.stdout + done.stderr)

    def go(self):
        self.create()
        steps = [self.change] * 8 + [self.snapshot] * 3 + [self.resize] * 2 + [self.bitmap] * 2 + \
            [self.amend, self.below, self.copy]
        for _ in range(STEPS):
            self.choice.choice(steps)()
            self.compare(self.either(), self.disk)
            if self.choice.random() < 0.3:
                self.check()
        self.check()
        for who in ("nandu", "qemu"):
            self.compare(who, self.disk)
            for name, contents in self.snapshots.items():
                self.compare(who, contents, name)
        info = json.loads(self.run("qemu", "img", "info", "--output=json", "disk.qcow2").stdout)
        found = {b["name"] for b in info["format-specific"]["data"].get("bitmaps", []) if "in-use" not in b["flags"]}
        assert found == self.bitmaps, self.story(f"bitmaps: {found}")


@pytest.mark.parametrize("seed", range(FIRST, FIRST + COUNT))
def test_random(tmp_path, seed):
    for program in ("img", "io"):
        os.symlink(os.path.join(build_folder(), "nandu-img"), tmp_path / f"nandu-{program}")
    Sequence(tmp_path, seed).go()
    shutil.rmtree(tmp_path)
