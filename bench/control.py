#!/usr/bin/env python3
"""Start of a machine emulator to its QMP greeting: time and memory, Nandu against QEMU 10.

    bench/control.py [--build DIR] [--reps N]

The two run in turn; a ratio is the median of the repetitions' ratios (above 1: Nandu takes less).
Writes control.json to bench/results (--out).
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(HERE)
ARGUMENTS = ["-machine", "none", "-nodefaults", "-display", "none", "-qmp", "stdio"]


def measure(program):
    """(seconds until the greeting, resident bytes then)"""
    start = time.perf_counter()
    with subprocess.Popen([program, *ARGUMENTS], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        greeting = process.stdout.readline()
        seconds = time.perf_counter() - start
        assert b'"QMP"' in greeting, greeting
        with open(f"/proc/{process.pid}/status", encoding="ascii") as f:
            memory = next(int(line.split()[1]) << 10 for line in f if line.startswith("VmRSS:"))
        process.kill()
    return seconds, memory


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", default=os.path.join(TOP, "build"))
    parser.add_argument("--reps", type=int, default=20)
    parser.add_argument("--out", default=os.path.join(HERE, "results"))
    args = parser.parse_args()

    qemu = shutil.which("qemu-system-riscv64")
    nandu = os.path.join(args.build, "nandu-system-riscv64")
    if not qemu:
        sys.exit("control.py: qemu-system-riscv64 (the peer) is not installed; run: make deps")
    measure(qemu), measure(nandu)       # once, so that both are in the page cache
    rows = [(measure(qemu), measure(nandu)) for _ in range(args.reps)]

    result = {}
    print(f"{'start to QMP greeting':24} {'QEMU 10':>12} {'Nandu':>12} {'ratio':>8}")
    for i, (name, unit, scale) in enumerate((("time", "ms", 1e3), ("memory", "MiB", 2 ** -20))):
        theirs = statistics.median(q[i] for q, _ in rows) * scale
        ours = statistics.median(n[i] for _, n in rows) * scale
        ratio = statistics.median(q[i] / n[i] for q, n in rows)
        result[name] = {"qemu": theirs, "nandu": ours, "unit": unit, "ratio": ratio}
        print(f"{name:24} {theirs:8.1f} {unit:3} {ours:8.1f} {unit:3} {ratio:7.2f}x")
    os.makedirs(args.out, exist_ok=True)
    with open(os.path.join(args.out, "control.json"), "w", encoding="utf-8") as f:
        json.dump({"reps": args.reps, "rows": result}, f, indent=1)
        f.write("\n")


if __name__ == "__main__":
    main()
