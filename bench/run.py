#!/usr/bin/env python3
"""Runs each benchmark natively, under QEMU 10 and under Nandu, in turn, and prints ratios.

    bench/run.py [--build DIR] [--only NAME]... [--reps N] [--quick] [--list]

The native programs are the same versions, of Debian trixie for amd64.  In each repetition the engines
run one after the other, so that a machine that slows down slows all of them; a ratio is the median of
the repetitions' ratios.  Each run's output must be the same under all engines, else the row is marked
wrong and is in no mean.  Writes bench.json and bench.svg to bench/results (--out).
"""

import argparse
import datetime
import hashlib
import json
import math
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(HERE)
sys.path.insert(0, HERE)
sys.dont_write_bytecode = True

import chart                                    # noqa: E402
from workloads import WORKLOADS, Inputs         # noqa: E402

TIMEOUT = 300       # seconds, for one run
ENVIRONMENT = {"PATH": "/usr/bin:/bin", "HOME": "/nonexistent", "LC_ALL": "C", "TZ": "UTC",
               "PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1", "OPENSSL_CONF": "/dev/null"}


class Fault(Exception):
    """Something that the benchmarks need isn't there."""


def need(command, what):
    path = shutil.which(command)
    if not path:
        raise Fault(f"{command} ({what}) is not installed; run: make deps")
    return path


class Engine:
    """Native programs, or an emulator: says what to run for a program of its tree."""

    def __init__(self, name, arch, tree, prefix, compiler, work):
        self.name, self.arch, self.tree, self.prefix = name, arch, tree, prefix
        self.compiler, self.work = compiler, work

    def start(self, path):
        if self.prefix:
            return [*self.prefix, path]
        library = f"{self.tree}/usr/lib/x86_64-linux-gnu"
        return [f"{self.tree}/lib64/ld-linux-x86-64.so.2", "--library-path",
                f"{library}:{self.tree}/usr/lib", path]

    def program(self, name):
        return self.start(os.path.realpath(f"{self.tree}/usr/bin/{name}"))

    def program_in_root(self, name):
        """The same for a program with absolute paths in it: natively, in a changed root."""
        if self.prefix:
            return self.program(name)
        change = ["chroot"] if os.geteuid() == 0 else ["unshare", "-r", "chroot"]
        return [shutil.which(change[0], path="/usr/sbin:/usr/bin:/sbin:/bin") or change[0],
                *change[1:], self.tree, f"/usr/bin/{name}"]

    def cc1(self):
        """The compiler proper for riscv64: the same work natively, by a cross compiler."""
        folder = "gcc-cross" if not self.prefix else "gcc"
        return self.start(f"{self.tree}/usr/libexec/{folder}/riscv64-linux-gnu/14/cc1")

    def compiled(self, name, cflags):
        """A program of bench/programs, built statically for the engine's architecture."""
        out = os.path.join(self.work, f"{name}-{self.arch}")
        source = os.path.join(HERE, "programs", name + ".c")
        if not os.path.exists(out) or os.path.getmtime(out) < os.path.getmtime(source):
            self.make([self.compiler, "-O2", "-static", *cflags, "-o", out, source, "-lm"])
        return [*self.prefix, out]

    @staticmethod
    def make(command):
        done = subprocess.run(command, capture_output=True, text=True, errors="replace",
                              env={**os.environ, **ENVIRONMENT})
        if done.returncode != 0:
            raise Fault(f"{' '.join(command)}:\n{done.stderr}")


class Measurer:
    """Runs a command through bench/programs/measure.c and hashes its output."""

    def __init__(self, native, work):
        self.tool = native.compiled("measure", ())[0]
        self.work = work

    def run(self, run):
        with tempfile.TemporaryFile(dir=self.work) as out, \
                tempfile.TemporaryFile(dir=self.work) as err, \
                tempfile.TemporaryFile(dir=self.work) as report, open(run.stdin, "rb") as stdin:
            # The report is file descriptor 3 of the measurer.
            process = subprocess.Popen(
                ["/bin/sh", "-c", f'exec "$@" 3>&{report.fileno()}', "sh", self.tool, *run.command],
                stdin=stdin, stdout=out, stderr=err, pass_fds=[report.fileno()],
                env={**ENVIRONMENT, **run.env, "TMPDIR": self.work}, start_new_session=True)
            try:
                process.wait(TIMEOUT)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, 9)
                process.wait()
                return {"error": f"stopped after {TIMEOUT} s"}
            err.seek(0)
            message = err.read()[-2000:].decode("utf-8", "replace").strip()
            report.seek(0)
            fields = report.read().split()
            if process.returncode != 0 or len(fields) != 5:
                return {"error": message or f"status {process.returncode}"}
            if int(fields[4]) != 0:
                return {"error": f"status {int(fields[4])}: {message}"}
            out.seek(0)
            digest = hashlib.sha256()
            while block := out.read(1 << 20):
                digest.update(block)
            return {"seconds": float(fields[0]), "user": float(fields[1]),
                    "system": float(fields[2]), "rss_kib": int(fields[3]),
                    "output": digest.hexdigest()}


def fetch_tree(arch):
    done = subprocess.run([f"{TOP}/tools/fetch-guest-root", arch, "full"], stdout=subprocess.PIPE,
                          text=True)
    if done.returncode != 0:
        raise Fault(f"the {arch} tree could not be fetched")
    return done.stdout.strip().splitlines()[-1]


def compile_python(native, tree):
    """Python's byte code, which a package's set-up would make: else each start compiles modules."""
    stamp = os.path.join(tree, ".nandu-stamp-pyc")
    if os.path.exists(stamp):
        return
    library = os.path.join(tree, "usr/lib/python3.13")
    print(f"compiling {library}", flush=True)
    subprocess.run([*native.program("python3"), "-m", "compileall", "-q", "-j2",
                    "--invalidation-mode", "unchecked-hash", library],
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
    open(stamp, "w", encoding="ascii").close()


def make_engines(args, work):
    trees = {arch: fetch_tree(arch) for arch in ("amd64", "riscv64")}
    cross = need("riscv64-linux-gnu-gcc", "the cross compiler")
    engines = {"native": Engine("native", "amd64", trees["amd64"], [], need("gcc", "the compiler"),
                                work)}
    if "qemu" in args.engines:
        path = shutil.which("qemu-riscv64-static") or need("qemu-riscv64", "QEMU 10's user mode")
        version = subprocess.run([path, "--version"], capture_output=True, text=True).stdout
        match = re.search(r"version (\d+)\.", version)
        if not match or int(match.group(1)) < 10 or "nandu" in version.lower():
            raise Fault(f"{path} is not QEMU 10 or newer: {version.splitlines()[:1]}")
        engines["qemu"] = Engine("qemu", "riscv64", trees["riscv64"],
                                 [path, "-L", trees["riscv64"]], cross, work)
        engines["qemu"].version = version.splitlines()[0]
    if "nandu" in args.engines:
        path = os.path.abspath(os.path.join(args.build, "nandu-riscv64"))
        if not os.path.exists(path):
            raise Fault(f"{path} is not there; run: make build")
        engines["nandu"] = Engine("nandu", "riscv64", trees["riscv64"],
                                  [path, "-L", trees["riscv64"], *args.nandu_option], cross, work)
    compile_python(engines["native"], trees["amd64"])
    compile_python(engines["native"], trees["riscv64"])
    return engines


def median_ratio(samples, over, under):
    """The median over repetitions of seconds(over) / seconds(under)."""
    if over not in samples or under not in samples:
        return None
    return statistics.median(a["seconds"] / b["seconds"]
                             for a, b in zip(samples[over], samples[under]))


def measure(workload, engines, inputs, measurer, reps, warm):
    """All runs of one workload; returns its row."""
    row = {"name": workload.name, "group": workload.group, "note": workload.note, "wrong": None,
           "missing": None, "engines": {}}
    runs = {name: workload.make(engine, inputs) for name, engine in engines.items()}
    samples = {name: [] for name in engines}
    for rep in range(-1 if warm else 0, reps):
        for name, run in runs.items():
            if name not in samples:
                continue
            sample = measurer.run(run)
            if "error" in sample:
                # Without the native run the emulators can still be compared.
                row["missing" if name == "native" else "wrong"] = f"{name}: {sample['error']}"
                del samples[name]
                continue
            row.setdefault("output", sample["output"])
            if sample["output"] != row["output"]:
                row["wrong"] = f"{name}: its output differs"
            if rep >= 0:
                samples[name].append(sample)
    for name, taken in samples.items():
        row["engines"][name] = {
            key: statistics.median(s[key] for s in taken)
            for key in ("seconds", "user", "system", "rss_kib")}
        row["engines"][name]["samples"] = [s["seconds"] for s in taken]
    row["qemu_over_nandu"] = median_ratio(samples, "qemu", "nandu")
    row["nandu_over_native"] = median_ratio(samples, "nandu", "native")
    row["qemu_over_native"] = median_ratio(samples, "qemu", "native")
    if "qemu" in samples and "nandu" in samples:
        row["rss_nandu_over_qemu"] = (row["engines"]["nandu"]["rss_kib"] /
                                      row["engines"]["qemu"]["rss_kib"])
    return row


def geometric_mean(values):
    values = [v for v in values if v]
    return math.exp(sum(map(math.log, values)) / len(values)) if values else None


def summarize(rows):
    means = {}
    for group in dict.fromkeys(row["group"] for row in rows):
        good = [row for row in rows if row["group"] == group and not row["wrong"]]
        means[group] = {key: geometric_mean([row.get(key) for row in good])
                        for key in ("qemu_over_nandu", "nandu_over_native", "qemu_over_native",
                                    "rss_nandu_over_qemu")}
        means[group]["rows"] = len(good)
    return means


def number(value, digits=2, unit=""):
    return "-" if value is None else f"{value:.{digits}f}{unit}"


def seconds(row, engine):
    return number(row["engines"].get(engine, {}).get("seconds"), 3)


def megabytes(row, engine):
    rss = row["engines"].get(engine, {}).get("rss_kib")
    return number(None if rss is None else rss / 1024, 0)


HEADER = (f"{'workload':16} {'native s':>9} {'QEMU s':>8} {'Nandu s':>8} {'QEMU/Nandu':>11} "
          f"{'Nandu/native':>13} {'QEMU MB':>8} {'Nandu MB':>9}")


def line(row):
    text = (f"{row['name']:16} {seconds(row, 'native'):>9} {seconds(row, 'qemu'):>8} "
            f"{seconds(row, 'nandu'):>8} {number(row['qemu_over_nandu'], 2, 'x'):>11} "
            f"{number(row['nandu_over_native'], 1, 'x'):>13} {megabytes(row, 'qemu'):>8} "
            f"{megabytes(row, 'nandu'):>9}")
    if row["wrong"]:
        text += f"  WRONG: {row['wrong'].splitlines()[0]}"
    elif row["missing"]:
        text += f"  no {row['missing'].splitlines()[0]}"
    return text


def print_means(means):
    print()
    print(f"{'geometric mean':16} {'QEMU/Nandu':>11} {'Nandu/native':>13} {'QEMU/native':>12} "
          f"{'RSS Nandu/QEMU':>15}")
    for group, mean in means.items():
        print(f"{group:16} {number(mean['qemu_over_nandu'], 2, 'x'):>11} "
              f"{number(mean['nandu_over_native'], 1, 'x'):>13} "
              f"{number(mean['qemu_over_native'], 1, 'x'):>12} "
              f"{number(mean['rss_nandu_over_qemu'], 2, 'x'):>15}  ({mean['rows']} rows)")


def host():
    name = "unknown"
    with open("/proc/cpuinfo", encoding="utf-8") as f:
        for text in f:
            if text.startswith("model name"):
                name = text.split(":", 1)[1].strip()
                break
    return {"cpu": name, "cpus": os.cpu_count(), "kernel": os.uname().release}


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--build", default=os.path.join(TOP, "build"), help="build folder")
    parser.add_argument("--only", action="append", default=[], metavar="NAME",
                        help="only workloads or classes whose name contains NAME")
    parser.add_argument("--reps", type=int, default=5, help="repetitions (default 5)")
    parser.add_argument("--quick", action="store_true", help="one repetition, no warm-up")
    parser.add_argument("--engines", default="native,qemu,nandu", type=lambda s: s.split(","),
                        help="which to run (default native,qemu,nandu)")
    parser.add_argument("--nandu-option", action="append", default=[], metavar="OPTION",
                        help="pass an option to nandu-riscv64")
    parser.add_argument("--out", default=os.path.join(HERE, "results"), help="where results go")
    parser.add_argument("--list", action="store_true", help="list the workloads and stop")
    return parser.parse_args()


def main():
    args = parse_arguments()
    chosen = [w for w in WORKLOADS
              if not args.only or any(o in w.name or o in w.group for o in args.only)]
    if args.list:
        for workload in chosen:
            print(f"{workload.name:16} {workload.group:10} {workload.note}")
        return 0
    if not chosen:
        raise Fault("no workload has such a name; see --list")
    cache = os.environ.get("NANDU_CACHE") or os.path.join(
        os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "nandu")
    work = os.path.join(cache, "bench")
    os.makedirs(work, exist_ok=True)
    engines = make_engines(args, work)
    inputs = Inputs(os.path.join(work, "inputs"), engines["native"])
    engines = {name: engines[name] for name in ("native", "qemu", "nandu")
               if name in args.engines}
    measurer = Measurer(Engine("native", "amd64", "", [], need("gcc", "the compiler"), work), work)
    reps = 1 if args.quick else max(1, args.reps)

    print(HEADER, flush=True)
    rows = []
    for workload in chosen:
        row = measure(workload, engines, inputs, measurer, reps, not args.quick)
        rows.append(row)
        print(line(row), flush=True)
    means = summarize(rows)
    print_means(means)

    os.makedirs(args.out, exist_ok=True)
    result = {"date": datetime.datetime.now().isoformat(timespec="seconds"), "host": host(),
              "qemu": getattr(engines.get("qemu"), "version", None), "repetitions": reps,
              "rows": rows, "means": means}
    with open(os.path.join(args.out, "bench.json"), "w", encoding="utf-8") as f:
        json.dump(result, f, indent=1)
        f.write("\n")
    if "qemu" in engines and "nandu" in engines:
        with open(os.path.join(args.out, "bench.svg"), "w", encoding="utf-8") as f:
            f.write(chart.draw(result))
    print(f"\nwritten: {os.path.relpath(args.out)}/bench.json and bench.svg")
    return 1 if any(row["wrong"] for row in rows) else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Fault as fault:
        sys.exit(f"bench: {fault}")
    except KeyboardInterrupt:
        sys.exit("bench: stopped")
