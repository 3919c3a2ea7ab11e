"""All tests of single instructions, by name."""

import hashlib
import os

import isa_code
import isa_flow
import isa_fp
import isa_int
import isa_memory
import isa_signals
import isa_system
from rv_encodings import INSNS

GOLDEN = os.path.join(os.path.dirname(os.path.abspath(__file__)), "golden.txt")

# What has no test of its own name, and where it is exercised.
ELSEWHERE = {"ecall": "every test", "c.ebreak": "ebreak", 
             "cbo.inval": "nowhere: Linux does not let programs use it, QEMU does"}


def all_tests():
    """name -> function that makes the Program; every instruction of the table is there."""
    found = {}
    for part in (isa_int, isa_fp, isa_memory, isa_flow, isa_system, isa_signals, isa_code):
        for name, make in part.tests():
            assert name not in found, name
            found[name] = make
    missing = [name for name in INSNS if name not in found and name not in ELSEWHERE]
    assert not missing, missing
    return found


def golden_line(name, output):
    return f"{name} {len(output)} {hashlib.sha256(output).hexdigest()}\n"


def read_golden():
    """name -> its line"""
    with open(GOLDEN, encoding="ascii") as f:
        return {line.split()[0]: line for line in f if line[:1] != "#"}
