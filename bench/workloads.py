"""The benchmarks: real programs of Debian, and a few small C programs.

A workload is a row of WORKLOADS: its name, its class, and a function that is given the engine (which
says where its programs are) and the inputs, and returns what to run.
"""

import os
from dataclasses import dataclass, field
from typing import Callable

from corpus import binary, c_source, text, write

HERE = os.path.dirname(os.path.abspath(__file__))

# Classes: their geometric means are what is kept.
INTEGER = "integer"
STARTUP = "start-up"
FLOAT = "scalar FP"
SYSTEM = "system"


@dataclass
class Run:
    """What one engine runs: the command, and the file that is its standard input."""
    command: list
    stdin: str = "/dev/null"
    env: dict = field(default_factory=dict)


@dataclass
class Workload:
    name: str
    group: str
    make: Callable
    note: str = ""


class Inputs:
    """Input files, made when first asked for."""

    def __init__(self, folder, native):
        self.folder = folder
        self.native = native        # the engine that makes keys
        os.makedirs(folder, exist_ok=True)

    def text(self, megabytes):
        return write(self.folder, "text.txt", lambda n: text(n * 1000000), megabytes)

    def binary(self, megabytes):
        return write(self.folder, "records.bin", lambda n: binary(n * 1000000), megabytes)

    def c_source(self, functions):
        return write(self.folder, "source.c", c_source, functions)

    def rsa_key(self, bits):
        path = os.path.join(self.folder, f"rsa-{bits}.pem")
        if not os.path.exists(path):
            self.native.make([*self.native.program("openssl"), "genrsa", "-traditional", "-out",
                              path + ".part", str(bits)])
            os.rename(path + ".part", path)
        return path


def script(name):
    return os.path.join(HERE, "scripts", name)


def simple(program, *args, stdin=None):
    """A program with arguments; those that are functions are asked for their input file."""
    def make(engine, inputs):
        values = [a(inputs) if callable(a) else str(a) for a in args]
        return Run([*engine.program(program), *values],
                   stdin(inputs) if stdin else "/dev/null")
    return make


def compiled(program, *args, cflags=()):
    def make(engine, inputs):
        return Run([*engine.compiled(program, cflags), *map(str, args)])
    return make


def cc1(engine, inputs):
    return Run([*engine.cc1(), "-quiet", "-O2", "-fpreprocessed", inputs.c_source(15), "-o", "-"])


def nodejs(engine, inputs):
    # Debian's node reads parts of itself from absolute paths.
    return Run([*engine.program_in_root("node"), "-", "10"], script("loops.js"))


def forkexec(engine, inputs):
    child = engine.compiled("forkexec", ())
    return Run([*child, "300", *child, "child"])


def syscalls(engine, inputs):
    return Run([*engine.compiled("syscalls", ()), "50000", inputs.text(1)])


WORKLOADS = [
    Workload("python3", INTEGER, simple("python3", script("loops.py"), 24),
             "calls, objects, dicts, lists"),
    Workload("perl", INTEGER, simple("perl", script("loops.pl"), 80000), "regular expressions, hashes"),
    Workload("lua", INTEGER, simple("lua5.4", script("loops.lua"), 13), "tables, strings, closures"),
    Workload("gawk", INTEGER, simple("gawk", "-f", script("loops.awk"), lambda i: i.text(3)),
             "fields and patterns of 3 MB"),
    Workload("sqlite3", INTEGER, simple("sqlite3", ":memory:", stdin=lambda i: script("queries.sql")),
             "joins and updates in memory"),
    Workload("gzip", INTEGER, simple("gzip", "-6c", lambda i: i.text(16)), "-6, 16 MB"),
    Workload("xz", INTEGER, simple("xz", "-6c", "-T1", lambda i: i.text(2)), "-6, 2 MB"),
    Workload("zstd", INTEGER, simple("zstd", "-9", "-c", "-q", "--single-thread", lambda i: i.text(3)),
             "-9, 3 MB"),
    Workload("openssl sha256", INTEGER, simple("openssl", "dgst", "-sha256", "-r",
                                               stdin=lambda i: i.binary(160)), "160 MB"),
    Workload("openssl aes", INTEGER,
             simple("openssl", "enc", "-aes-256-cbc", "-K", "0123456789abcdef" * 4,
                    "-iv", "0123456789abcdef" * 2, "-in", lambda i: i.binary(160)),
             "AES-256-CBC, 160 MB"),
    Workload("openssl rsa", INTEGER, simple("openssl", "rsa", "-check", "-noout", "-in",
                                            lambda i: i.rsa_key(3072)), "check of a 3072-bit key"),
    Workload("cc1 -O2", INTEGER, cc1, "a C file of 15 functions"),
    Workload("nodejs", INTEGER, nodejs, "JIT-compiled JavaScript"),
    Workload("python3 -c pass", STARTUP, simple("python3", "-c", "pass"), "start-up"),
    Workload("nbody", FLOAT, compiled("nbody", 1500000), "double: multiply-add, sqrt, divide"),
    Workload("spectral", FLOAT, compiled("spectral", 2000), "double: convert, divide"),
    Workload("mandelbrot", FLOAT, compiled("mandelbrot", 800, cflags=("-ffp-contract=off",)),
             "float and double, compares"),
    Workload("syscalls", SYSTEM, syscalls, "23 system calls and a signal, 50,000 times"),
    Workload("fork/exec", SYSTEM, forkexec, "a static program, 300 times"),
]
