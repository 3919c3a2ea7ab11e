#!/usr/bin/env python3
"""Whole machines: Debian 13 for riscv64 under QEMU 10 and under Nandu, in turn; prints ratios.

    bench/machine.py [--build DIR] [--only NAME]... [--reps N] [--list]

In each repetition both boot the same image (tools/make-guest-image riscv64 bench), run the same commands in it, and
must print the same.  Times are the host's.  A ratio is the median of the repetitions' ratios; above 1 Nandu takes less,
but for "two vCPUs", where each engine's own figure counts: how much more two busy vCPUs do than one.
Writes machine.json to bench/results (--out).
"""

import argparse
import http.server
import json
import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(HERE)
sys.path.insert(0, HERE)
sys.dont_write_bytecode = True

from corpus import binary, c_source, text     # noqa: E402

RAM = 1024          # MiB
TIMEOUT = 600       # seconds, for one step
PROMPT = "root@nandu:"
DOWNLOAD = 256      # MiB

# In the guest, with what is below /mnt; their output is compared.
CC1 = "/usr/libexec/gcc/riscv64-linux-gnu/14/cc1 -quiet -O2 /mnt/source.c -o -"
WORKLOADS = {
    "python3": "python3 /mnt/loops.py 12",
    "sqlite3": "sqlite3 :memory: </mnt/queries.sql",
    "zstd": "zstd -9 -c -q --single-thread /mnt/text.txt",
    "cc1 -O2": CC1,
    # Eight times the same file: once it is read from the disk, then only the hash is left.
    "sha256": "openssl dgst -sha256 -r" + 8 * " /mnt/records.bin",
    "fork/exec": "for i in $(seq 300); do /usr/bin/true; done",
}
BUSY = "python3 -c 'n=0\nfor i in range(3000000): n = n * 3 + i & 0xffffff\nprint(n)'"

# Writes a byte to the serial port: the first guest instructions.
FIRST = """
.globl _start
_start: li t0, 0x10000000
        li t1, 33
        sb t1, 0(t0)
1:      j 1b
"""


class Fault(Exception):
    """Something that the benchmarks need isn't there, or went wrong."""


def need(command, what):
    path = shutil.which(command)
    if not path:
        raise Fault(f"{command} ({what}) is not installed; run: make deps")
    return path


class Guest:
    """One machine with its serial line."""

    def __init__(self, program, folder, *arguments):
        self.path = os.path.join(folder, f"serial-{time.monotonic_ns()}")
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(self.path)
        listener.listen()
        listener.settimeout(TIMEOUT)
        self.start = time.perf_counter()
        self.process = subprocess.Popen(
            [program, "-machine", "virt", "-nodefaults", "-display", "none", "-m", str(RAM), "-serial",
             f"unix:{self.path}", *arguments], stdin=subprocess.DEVNULL)
        self.socket, _ = listener.accept()
        self.socket.settimeout(TIMEOUT)
        listener.close()
        self.text = b""

    def wait(self, word):
        """What came before the word; the time at which it was there."""
        while word.encode() not in self.text:
            data = self.socket.recv(65536)
            if not data:
                raise Fault(f"the machine ended before it printed {word!r}: {self.text[-500:]!r}")
            self.text += data
        now = time.perf_counter()
        before, self.text = self.text.split(word.encode(), 1)
        return before.decode("utf-8", "replace"), now

    def run(self, command):
        """Seconds that a shell command takes, and the hash of its output, which the guest makes later."""
        self.socket.sendall(f"sh /mnt/run {command}\n".encode())
        _, begin = self.wait("@begin@")
        _, end = self.wait("@end@")
        output, _ = self.wait("@status@")
        if not output.strip().endswith("0"):
            raise Fault(f"{command}: failed: {output[-300:]}")
        self.wait(PROMPT)
        return end - begin, output.split()[0]

    def memory(self):
        """Resident bytes beyond the guest's RAM: what is mapped twice counts once."""
        total = size = 0
        with open(f"/proc/{self.process.pid}/smaps", encoding="ascii", errors="replace") as f:
            for line in f:
                if line.startswith("Size:"):
                    size = int(line.split()[1])
                elif line.startswith("Pss:") and size < RAM << 10:
                    total += int(line.split()[1]) << 10
        return total

    def close(self):
        self.process.kill()
        self.process.wait()
        self.socket.close()
        os.unlink(self.path)


class Bench:
    """What both engines get."""

    def __init__(self, args, folder):
        self.folder = folder
        made = subprocess.run([f"{TOP}/tools/make-guest-image", "riscv64", "bench"], stdout=subprocess.PIPE, text=True,
                              env={**os.environ, "BUILD": args.build})
        if made.returncode:
            raise Fault("the guest could not be made")
        self.image = made.stdout.strip().splitlines()[-1]
        self.inputs = self.make_inputs()
        self.first = self.make_first()
        self.server = self.serve()

    def make_inputs(self):
        """A disk of its own with scripts and data."""
        tree = os.path.join(self.folder, "inputs")
        os.mkdir(tree)
        for name in ("loops.py", "queries.sql"):
            shutil.copy(os.path.join(HERE, "scripts", name), tree)
        for name, data in (("text.txt", text(3000000)), ("records.bin", binary(16000000)), ("source.c", c_source(10))):
            with open(os.path.join(tree, name), "wb") as f:
                f.write(data)
        for name, command in WORKLOADS.items():
            self.write(tree, self.file_of(name), command)
        self.write(tree, "busy", BUSY)
        self.write(tree, "busy2", "sh /mnt/busy & sh /mnt/busy; wait")
        self.write(tree, "run", 'echo "@"begin@; sh /mnt/$1 >/tmp/out 2>&1; s=$?; echo "@"end@; '
                   'sha256sum </tmp/out | cut -c 1-64; echo $s; [ $s = 0 ] || tail -n 3 /tmp/out; echo "@"status@')
        path = os.path.join(self.folder, "inputs.img")
        with open(path, "wb") as f:
            f.truncate(64 << 20)
        subprocess.run(["mke2fs", "-q", "-t", "ext4", "-O", "^has_journal", "-d", tree, path], check=True,
                       env={**os.environ, "PATH": os.environ["PATH"] + ":/usr/sbin:/sbin"})
        return path

    @staticmethod
    def write(tree, name, content):
        with open(os.path.join(tree, name), "w", encoding="utf-8") as f:
            f.write(content + "\n")

    @staticmethod
    def file_of(name):
        return re.sub(r"\W+", "-", name)

    def make_first(self):
        path = os.path.join(self.folder, "first")
        with open(path + ".S", "w", encoding="ascii") as f:
            f.write(FIRST)
        subprocess.run([need("riscv64-linux-gnu-gcc", "the cross compiler"), "-nostdlib", "-static", "-Wl,-N,"
                        "-Ttext=0x80000000,--build-id=none,--no-warn-rwx-segments", path + ".S", "-o", path], check=True)
        return path

    def serve(self):
        """An HTTP server for the download: zeros, which nobody need read from a disk."""
        block = bytes(1 << 20)

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                self.send_response(200)
                self.send_header("Content-Length", str(DOWNLOAD << 20))
                self.end_headers()
                for _ in range(DOWNLOAD):
                    self.wfile.write(block)

            def log_message(self, *args):
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return server

    def boot(self, program, disk):
        subprocess.run(["cp", "--sparse=always", "--reflink=auto", f"{self.image}/disk.img", disk], check=True)
        return Guest(program, self.folder, "-smp", "2", "-kernel", f"{self.image}/vmlinux", "-initrd",
                     f"{self.image}/initrd.img", "-append", "root=/dev/vda1 rw console=ttyS0 quiet", "-drive",
                     f"file={disk},format=raw,if=none,id=d0", "-device", "virtio-blk-pci,drive=d0", "-drive",
                     f"file={self.inputs},format=raw,if=none,id=d1,readonly=on", "-device", "virtio-blk-pci,drive=d1",
                     "-device", "virtio-rng-pci", "-netdev", "user,id=n0", "-device",
                     "virtio-net-pci,netdev=n0" + self.no_rom(program))

    @staticmethod
    def no_rom(program):
        """QEMU wants a file for network cards that may not be installed."""
        return ",romfile=" if "qemu" in os.path.basename(program) else ""

    def first_instruction(self, program):
        guest = Guest(program, self.folder, "-bios", "none", "-kernel", self.first)
        try:
            _, end = guest.wait("!")
            return end - guest.start
        finally:
            guest.close()

    def measure(self, program, chosen):
        """{row: (value, hash of the output or None)} of one boot."""
        rows = {}
        if "first instruction" in chosen:
            rows["first instruction"] = (statistics.median(self.first_instruction(program) for _ in range(5)), None)
        guest = self.boot(program, os.path.join(self.folder, "disk.img"))
        try:
            _, end = guest.wait(PROMPT)
            rows["boot to shell"] = (end - guest.start, None)
            # Until everything has started, so that nothing else runs.
            guest.socket.sendall(b"mount -o ro /dev/vdb /mnt; systemctl is-system-running --wait; echo @re'ady@'\n")
            guest.wait("@ready@")
            guest.wait(PROMPT)
            if "memory after boot" in chosen:
                rows["memory after boot"] = (guest.memory(), None)
            for name in WORKLOADS:
                if name in chosen:
                    rows[name] = guest.run(self.file_of(name))
            if "two vCPUs" in chosen:
                one, _ = guest.run("busy")
                two, _ = guest.run("busy2")
                rows["two vCPUs"] = (2 * one / two, None)
            if "download" in chosen:
                rows["download"] = (self.download(guest), None)
            if "memory at the end" in chosen:
                rows["memory at the end"] = (guest.memory(), None)
        finally:
            guest.close()
        return rows

    def download(self, guest):
        url = f"http://10.0.2.2:{self.server.server_port}/file"
        guest.socket.sendall(f"curl -s -o /dev/null {url}; echo @re'ady@'\n".encode())
        begin = time.perf_counter()
        _, end = guest.wait("@ready@")
        guest.wait(PROMPT)
        return end - begin


# Rows: unit, factor for showing, and whether a ratio is taken.
ROWS = {
    "first instruction": ("ms", 1e3), "boot to shell": ("s", 1),
    **{name: ("s", 1) for name in WORKLOADS},
    "two vCPUs": ("x", 1), "download": ("MB/s", None),
    "memory after boot": ("MiB", 2 ** -20), "memory at the end": ("MiB", 2 ** -20),
}


def shown(name, value):
    unit, factor = ROWS[name]
    return (DOWNLOAD * 1.048576 / value if factor is None else value * factor), unit


def summarize(samples, chosen):
    """The table's rows."""
    result = {}
    print(f"{'machine':20} {'QEMU 10':>14} {'Nandu':>14} {'ratio':>8}")
    for name in chosen:
        pairs = [(q[name], n[name]) for q, n in samples]
        theirs = statistics.median(q[0] for q, _ in pairs)
        ours = statistics.median(n[0] for _, n in pairs)
        ratio = None if name == "two vCPUs" else statistics.median(q[0] / n[0] for q, n in pairs)
        wrong = any(q[1] != n[1] for q, n in pairs)
        (q_value, unit), (n_value, _) = shown(name, theirs), shown(name, ours)
        result[name] = {"qemu": q_value, "nandu": n_value, "unit": unit, "ratio": ratio, "wrong": wrong}
        print(f"{name:20} {q_value:9.2f} {unit:4} {n_value:9.2f} {unit:4} {f'{ratio:7.2f}x' if ratio else '':>8}"
              f"{'  WRONG: the outputs differ' if wrong else ''}", flush=True)
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--build", default=os.path.join(TOP, "build"))
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help="only rows whose name contains NAME")
    parser.add_argument("--reps", type=int, default=3)
    parser.add_argument("--out", default=os.path.join(HERE, "results"))
    parser.add_argument("--list", action="store_true", help="list the rows and stop")
    args = parser.parse_args()

    chosen = [name for name in ROWS if not args.only or any(word in name for word in args.only)]
    if args.list:
        print("\n".join(chosen))
        return
    if "boot to shell" not in chosen:
        chosen.insert(0, "boot to shell")
    engines = (need("qemu-system-riscv64", "the peer"),
               os.path.join(os.path.abspath(args.build), "nandu-system-riscv64"))
    if not os.path.exists(engines[1]):
        raise Fault(f"{engines[1]} is not there; run: make build")
    with tempfile.TemporaryDirectory(prefix="nandu-bench-") as folder:
        bench = Bench(args, folder)
        samples = []
        for rep in range(args.reps):
            print(f"repetition {rep + 1} of {args.reps}", file=sys.stderr, flush=True)
            samples.append(tuple(bench.measure(engine, chosen) for engine in engines))
        rows = summarize(samples, chosen)
    os.makedirs(args.out, exist_ok=True)
    with open(os.path.join(args.out, "machine.json"), "w", encoding="utf-8") as f:
        json.dump({"reps": args.reps, "rows": rows}, f, indent=1)
        f.write("\n")


if __name__ == "__main__":
    try:
        main()
    except Fault as fault:
        sys.exit(f"machine.py: {fault}")
