#!/usr/bin/env python3
"""Disk images: Nandu's tools against QEMU 10's.

    bench/storage.py [--build DIR] [--reps N] [--size MIB] [--folder DIR] [--quick] [--only GROUP]...

Each workload is run by both in turn, once before it counts; a ratio is the median of the repetitions' ratios (above 1: Nandu
is faster). Files are in a temporary folder of DIR (default: bench/, a real disk, which is used past the host's cache) and in
one of /dev/shm. Writes storage.json to bench/results (--out).
"""

import argparse
import json
import math
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(HERE)


GROUPS = ("convert", "packed", "requests", "stable", "start")


class Bench:
    def __init__(self, args, folder, shm):
        self.reps = args.reps
        self.mib = args.size
        self.folder = folder
        self.shm = shm
        self.rows = []
        qemu = shutil.which("qemu-img")
        if not qemu:
            sys.exit("storage.py: qemu-img (the peer) is not installed; run: make deps")
        self.tools = {"qemu": qemu, "nandu": os.path.join(args.build, "nandu-img")}
        self.io = {"qemu": shutil.which("qemu-io"), "nandu": os.path.join(args.build, "nandu-io")}

    def run(self, program, *args, folder=None):
        start = time.perf_counter()
        done = subprocess.run([program, *args], cwd=folder or self.folder, capture_output=True, text=True, check=False)
        seconds = time.perf_counter() - start
        if done.returncode:
            sys.exit(f"storage.py: {program} {' '.join(args)}: {done.stderr}")
        return seconds, done.stdout

    def prepare(self, *args):
        """What isn't measured is QEMU's work for both."""
        self.run(self.tools["qemu"], *args)

    def compare(self, group, name, *args, seconds=lambda wall, _: wall, before=None, folder=None):
        """Runs the command by both, in turn and in turned order. The first time doesn't count: memory comes from the host."""
        times = {"qemu": [], "nandu": []}
        for rep in range(self.reps + 1):
            for who in sorted(times, reverse=rep % 2):
                if before:
                    before()
                sample = seconds(*self.run(self.tools[who], *args, folder=folder))
                if rep:
                    times[who].append(sample)
        row = {"group": group, "name": name, "qemu": statistics.median(times["qemu"]),
               "nandu": statistics.median(times["nandu"]),
               "ratio": statistics.median(q / n for q, n in zip(times["qemu"], times["nandu"]))}
        self.rows.append(row)
        print(f"{group:8} {name:44} {row['qemu'] * 1e3:10.1f} ms {row['nandu'] * 1e3:10.1f} ms {row['ratio']:7.2f}x", flush=True)

    # ---- Workloads ----

    def make_sources(self, folder):
        """Half text, a quarter noise, a quarter holes; and an image on top of it with an overwritten sixteenth."""
        rng = random.Random(1)
        with open(os.path.join(TOP, "docs", "architecture.md"), "rb") as f:
            text = f.read()
        text = (text * (1 + (1 << 20) // len(text)))[:1 << 20]
        with open(os.path.join(folder, "src.raw"), "wb") as f:
            f.truncate(self.mib << 20)
            for i in range(self.mib):
                f.seek(i << 20)
                if i % 4 == 0:
                    f.write(rng.randbytes(1 << 20))
                elif i % 4 < 3:
                    f.write(text)
        qemu = self.tools["qemu"]
        self.run(qemu, "convert", "-f", "raw", "-O", "qcow2", "src.raw", "src.qcow2", folder=folder)
        self.run(qemu, "create", "-q", "-f", "qcow2", "-b", "src.qcow2", "-F", "qcow2", "top.qcow2", folder=folder)
        self.run(self.io["qemu"], "-f", "qcow2", *[x for i in range(0, self.mib, 8) for x in ("-c", f"write -P 7 {i}M 512k")],
                 "top.qcow2", folder=folder)

    def remove(self, name, folder=None):
        path = os.path.join(folder or self.folder, name)
        return lambda: os.path.exists(path) and os.unlink(path)

    def convert(self):
        cases = (("raw to qcow2", "raw", "src.raw", "qcow2"), ("qcow2 to raw", "qcow2", "src.qcow2", "raw"),
                 ("qcow2 with backing to qcow2", "qcow2", "top.qcow2", "qcow2"))
        for where, folder, cache in (("disk", self.folder, ("-T", "none", "-t", "none")), ("tmpfs", self.shm, ())):
            for name, form, source, target in cases:
                self.compare("convert", f"{name}, {where}", "convert", *cache, "-f", form, "-O", target, source, "out",
                             before=self.remove("out", folder), folder=folder)
        for name, form, source, _ in cases:
            self.compare("convert", f"{name.rsplit(' to ', 1)[0]} to nothing (null-co), tmpfs", "convert", "-n", "-f", form,
                         "--target-image-opts", source, f"driver=null-co,size={self.mib << 20}", folder=self.shm)

    def compressed(self):
        for kind in ("zlib", "zstd"):
            self.compare("packed", f"raw to compressed qcow2, {kind}", "convert", "-c", "-f", "raw", "-O", "qcow2",
                         "-o", f"compression_type={kind}", "src.raw", "out", before=self.remove("out", self.shm), folder=self.shm)

    def requests(self, count):
        def own_time(_, out):
            return float(out.rsplit("completed in ", 1)[1].split()[0]) or 1e-6

        null = ["--image-opts", "driver=null-co,size=1073741824,read-zeroes=on"]
        raw, qcow2 = ["-f", "raw", "-t", "none", "full.raw"], ["-f", "qcow2", "-t", "none", "full.qcow2"]
        images = (("null-co", self.folder, null, 20), ("raw, disk", self.folder, raw, 1), ("qcow2, disk", self.folder, qcow2, 1),
                  ("raw, tmpfs", self.shm, raw, 5), ("qcow2, tmpfs", self.shm, qcow2, 5))
        for name, folder, where, times in images:
            for write in ([], ["-w"]):
                for depth in (1, 32):
                    # A step that no power of 2 divides comes by everywhere, as if at random.
                    self.compare("requests", f"{'write' if write else 'read'}, {name}, depth {depth}", "bench", *write,
                                 "-c", str(count * times), "-d", str(depth), "-S", str(4096 * 7919), *where, seconds=own_time,
                                 folder=folder)

    def large_image(self):
        self.prepare("create", "-q", "-f", "qcow2", "large.qcow2", "1T")
        for i in range(10):
            writes = [x for k in range(20) for x in ("-c", f"write -P {i + 1} {(k * 50 + i * 7) << 30} 64k")]
            self.run(self.io["qemu"], "-f", "qcow2", *writes, "large.qcow2")
            self.prepare("snapshot", "-c", f"s{i}", "large.qcow2")
        self.compare("start", "create 1 TiB", "create", "-q", "-f", "qcow2", "new.qcow2", "1T", before=self.remove("new.qcow2"))
        self.compare("start", "info of 1 TiB with 10 snapshots", "info", "large.qcow2")
        self.compare("start", "map of 1 TiB with 10 snapshots", "map", "--output=json", "large.qcow2")

    def stable_writes(self, count):
        """Writes that are on stable storage when they end: QEMU's against Nandu's, and Nandu's with FUA against a write and a
        flush each. Jobs are processes with a file of their own."""
        for depth in (1, 16):
            self.compare("stable", f"write, raw, depth {depth}", "bench", "-w", "-c", str(count), "-d", str(depth), "-f", "raw",
                         "-t", "directsync", "job0.raw")
        for jobs, depth in ((1, 1), (1, 16), (16, 1), (16, 16)):
            samples = []
            for _ in range(self.reps):
                flush = self.jobs(jobs, depth, count // jobs, "-t", "none", "--flush-interval", "1", "--no-drain")
                samples.append((flush, self.jobs(jobs, depth, count // jobs, "-t", "directsync")))
            flush, fua = (statistics.median(sample[i] for sample in samples) for i in (0, 1))
            row = {"group": "FUA", "name": f"{jobs} job{'s' if jobs > 1 else ''}, depth {depth}", "flush": flush, "fua": fua,
                   "ratio": statistics.median(a / b for a, b in samples)}
            self.rows.append(row)
            print(f"{'FUA':8} {row['name'] + ', against write+flush':44} {flush * 1e3:10.1f} ms {fua * 1e3:10.1f} ms "
                  f"{row['ratio']:7.2f}x", flush=True)

    def jobs(self, jobs, depth, count, *options):
        """Seconds for all of them."""
        start = time.perf_counter()
        processes = [subprocess.Popen([self.tools["nandu"], "bench", "-q", "-w", "-d", str(depth), "-c", str(count), "-f", "raw",
                                       "-i", "io_uring", *options, f"job{i}.raw"], cwd=self.folder, stdout=subprocess.DEVNULL)
                     for i in range(jobs)]
        if any([process.wait() for process in processes]):
            sys.exit("storage.py: nandu-img bench failed")
        return time.perf_counter() - start

    def all(self, quick, groups):
        print(f"{'':8} {'':44} {'QEMU 10':>13} {'Nandu':>13} {'ratio':>8}")
        if groups & {"convert", "packed"}:
            for folder in (self.folder, self.shm):
                self.make_sources(folder)
        if "convert" in groups:
            self.convert()
        if "packed" in groups:
            self.compressed()
        for folder in (self.folder, self.shm):
            for name in ("src.qcow2", "src.raw", "top.qcow2", "out"):
                self.remove(name, folder)()
        for i in range(16):
            self.prepare("create", "-q", "-f", "raw", "-o", "preallocation=full", f"job{i}.raw", "64M")
        for folder in (self.folder, self.shm):
            for form in ("raw", "qcow2"):
                self.run(self.tools["qemu"], "create", "-q", "-f", form, "-o", "preallocation=full", f"full.{form}", "256M",
                         folder=folder)
        if "requests" in groups:
            self.requests(1000 if quick else 10000)
        if "stable" in groups:
            self.stable_writes(64 if quick else 8192)
        if "start" in groups:
            self.large_image()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", default=os.path.join(TOP, "build"))
    parser.add_argument("--reps", type=int, default=5)
    parser.add_argument("--size", type=int, default=1024, help="MiB of what is converted")
    parser.add_argument("--folder", default=HERE)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", action="append", choices=GROUPS, metavar="GROUP", help=f"of {', '.join(GROUPS)}")
    parser.add_argument("--out", default=os.path.join(HERE, "results"))
    args = parser.parse_args()
    args.build = os.path.abspath(args.build)

    with tempfile.TemporaryDirectory(dir=args.folder) as folder, tempfile.TemporaryDirectory(dir="/dev/shm") as shm:
        bench = Bench(args, folder, shm)
        bench.all(args.quick, set(args.only or GROUPS))
    means = {}
    for group in dict.fromkeys(row["group"] for row in bench.rows):
        ratios = [row["ratio"] for row in bench.rows if row["group"] == group]
        means[group] = math.exp(statistics.fmean(math.log(r) for r in ratios))
        print(f"{group:8} {'geometric mean':44} {'':13} {'':13} {means[group]:9.2f}x")
    os.makedirs(args.out, exist_ok=True)
    with open(os.path.join(args.out, "storage.json"), "w", encoding="utf-8") as f:
        json.dump({"reps": args.reps, "mib": args.size, "rows": bench.rows, "means": means}, f, indent=1)
        f.write("\n")


if __name__ == "__main__":
    main()
