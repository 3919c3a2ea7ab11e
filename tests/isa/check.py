#!/usr/bin/env python3
"""Runs the tests of single instructions by hand.

    tests/isa/check.py [--golden] [--mode MODE] [--save FOLDER] [NAME...]

NAME may hold * and ?.  Without --golden each program runs under Nandu in the given mode (interp,
tier1, far; default: interp and tier1) and under QEMU, and the results are compared.  --golden runs
QEMU only and writes tests/isa/golden.txt.  --save keeps the ELF files.
"""

import argparse
import fnmatch
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import runner           # noqa: E402
from suite import GOLDEN, all_tests, golden_line    # noqa: E402


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--golden", action="store_true")
    parser.add_argument("--mode", action="append", choices=sorted(runner.MODES))
    parser.add_argument("--save")
    parser.add_argument("names", nargs="*", default=["*"])
    args = parser.parse_args()
    oracle = runner.qemu()
    if not oracle:
        sys.exit("check.py: qemu-riscv64 is not installed")
    lines = []
    bad = 0
    for name, make in all_tests().items():
        if not any(fnmatch.fnmatchcase(name, pattern) for pattern in args.names):
            continue
        program = make()
        if args.save:
            path = os.path.join(args.save, name)
            with open(path, "wb") as f:
                f.write(program.elf())
            os.chmod(path, 0o755)
        right = runner.run_program(oracle, program)
        if right.status or len(right.output) != program.expected_size():
            print(f"{name}: QEMU: {right.how_it_ended()}, {len(right.output)} bytes of "
                  f"{program.expected_size()}")
            bad += 1
            continue
        lines.append(golden_line(name, right.output))
        for mode in [] if args.golden else args.mode or ["interp", "tier1"]:
            got = runner.run_program(runner.nandu(*runner.MODES[mode]), program)
            if got.status:
                print(f"{name} ({mode}): {got.how_it_ended()}")
            for line in program.differences(right.output, got.output):
                print(f"{name} ({mode}): {line}")
            bad += bool(got.status) or right.output != got.output
    if args.golden and args.names == ["*"]:
        with open(GOLDEN, "w", encoding="ascii") as f:
            f.write("# Written by check.py --golden: test, bytes of output, SHA-256 of it.\n")
            f.writelines(lines)
    print(f"{len(lines)} programs, {bad} bad")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
