"""Runs generated programs under Nandu and under QEMU, the oracle."""

import os
import shutil
import subprocess
import tempfile

# QEMU's "max" has misaligned atomics within 16 bytes (Zama16b), Nandu's doesn't.
QEMU_CPU = "max,zama16b=off"


def qemu():
    """The oracle's command, or None if it isn't installed."""
    for name in ("qemu-riscv64-static", "qemu-riscv64"):
        path = shutil.which(name)
        if path:
            return [path, "-cpu", QEMU_CPU]
    return None


def nandu(*options):
    """Nandu's command for riscv64; NANDU_RISCV64 or NANDU_BUILD say which one."""
    program = os.environ.get("NANDU_RISCV64")
    if not program:
        top = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
        build = os.environ.get("NANDU_BUILD") or os.path.join(top, "build")
        program = os.path.join(build, "nandu-riscv64")
    return [program, "-cpu", "max", *options]


MODES = {
    "interp": ["-dbt", "interp=on"],
    "tier1": [],
    "far": ["-dbt", "far=on"],
}


class Result:
    def __init__(self, status, output, error):
        self.status = status
        self.output = output
        self.error = error

    def how_it_ended(self):
        text = f"exit status {self.status}" if self.status >= 0 else f"signal {-self.status}"
        error = self.error.decode("utf-8", "replace").strip()
        return f"{text}{': ' + error[-2000:] if error else ''}"


def run(command, elf, timeout=60, folder=None):
    """Runs an ELF file given as bytes; returns a Result (status -SIGNAL if killed)."""
    fd, path = tempfile.mkstemp(prefix="nandu-isa-", dir=folder)
    try:
        with os.fdopen(fd, "wb") as f:
            f.write(elf)
        os.chmod(path, 0o755)
        try:
            done = subprocess.run(command + [path], stdin=subprocess.DEVNULL, capture_output=True,
                                  timeout=timeout, check=False)
        except subprocess.TimeoutExpired as late:
            return Result(124, late.stdout or b"", f"no end after {timeout} s".encode())
        return Result(done.returncode, done.stdout, done.stderr)
    finally:
        os.unlink(path)


def run_program(command, program, timeout=60):
    """As run(), of a Program; its output must have the size that it says."""
    return run(command, program.elf(), timeout)
