"""The gdb stub of machines: gdb-multiarch on a program for harts (gdb_machine.S) and on Debian's kernel, and a small
client of the protocol for what gdb does only at a terminal and for comparing replies with QEMU's."""

import os
import random
import re
import shutil
import socket
import struct
import subprocess
import time

import pytest

from conftest import TOP, run
from qmp import Machine

HERE = os.path.dirname(os.path.abspath(__file__))
GDB = shutil.which("gdb-multiarch")
TIMEOUT = 60

pytestmark = pytest.mark.skipif(not GDB, reason="gdb-multiarch is not installed")


@pytest.fixture(scope="module")
def program(cross_gcc, tmp_path_factory):
    path = tmp_path_factory.mktemp("gdb") / "program.elf"
    subprocess.run([cross_gcc, "-g", "-nostdlib", "-static", "-march=rv64imac_zicsr", "-mabi=lp64", "-Wl,-N",
                    "-Wl,-Ttext=0x80000000", "-Wl,--build-id=none", "-o", path,
                    os.path.join(HERE, "gdb_machine.S")], check=True)
    return path


class Debugged(Machine):
    """A machine that waits for gdb on a Unix socket."""

    def __init__(self, emulator, folder, *arguments, program=None, stopped=True):
        self.socket = os.path.join(str(folder), f"gdb-{time.monotonic_ns()}.sock")
        self.program = program
        options = ["-bios", "none", "-kernel", program] if program else []
        super().__init__(emulator, folder, "-gdb", f"unix:{self.socket},server=on,wait=off",
                         *(["-S"] if stopped else []), *options, *arguments, machine="virt")

    def gdb(self, *commands, timeout=TIMEOUT):
        """Runs gdb with the commands; what it printed, by command."""
        end = time.monotonic() + TIMEOUT
        while not os.path.exists(self.socket):
            assert self.process.poll() is None and time.monotonic() < end, self.output()
            time.sleep(0.01)
        argv = [GDB, "-nx", "-batch", "-iex", "set debuginfod enabled off"]
        for command in ["set confirm off", "set pagination off", "set architecture riscv:rv64",
                        f"target remote {self.socket}"]:
            argv += ["-ex", command]
        for command in commands:
            argv += ["-ex", "echo \\n@@\\n", "-ex", command]
        argv += ["-ex", "echo \\n@@\\n"]
        if self.program:
            argv.append(str(self.program))
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, text=True, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=timeout, check=False)
        print(done.stdout)
        parts = done.stdout.split("\n@@\n")
        assert len(parts) == len(commands) + 2, done.stdout
        return [part.strip() for part in parts[1:-1]]


class Packets:
    """Just enough of the protocol."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(TIMEOUT)
        end = time.monotonic() + TIMEOUT
        while True:
            try:
                self.socket.connect(path)
                break
            except OSError:
                assert time.monotonic() < end
                time.sleep(0.01)
        self.data = b""

    def send(self, text):
        payload = text.encode("latin-1")
        self.socket.sendall(b"+$" + payload + b"#%02x" % (sum(payload) & 0xff))

    def receive(self):
        while True:
            packet = re.search(rb"\$([^#]*)#..", self.data)
            if packet:
                self.data = self.data[packet.end():]
                return packet.group(1).decode("latin-1")
            more = self.socket.recv(65536)
            if not more:
                return None
            self.data += more

    def ask(self, text):
        self.send(text)
        return self.receive()

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def number(text):
    """The value that "print" printed."""
    return int(text.split("=")[-1].split()[0], 0)


def memory_of(machine, qmp, address, size):
    path = machine.path + ".memory"
    qmp.command("pmemsave", val=address, size=size, filename=path)
    with open(path, "rb") as f:
        return f.read()


# ---- Where it is, and the registers ----

def test_reset_vector(nandu_system, tmp_path):
    with Debugged(nandu_system, tmp_path, "-smp", "2") as machine:
        out = machine.gdb("p/x $pc", "info threads", "stepi", "p/x $pc", "p $priv", "p/x $misa", "p $mhartid",
                          "set $mscratch=0x1234", "p/x $mscratch", "set $t0=77", "p $t0", "set $mhartid=3",
                          "thread 2", "p $mhartid", "p/x $mscratch")
        assert number(out[0]) == 0x1000
        assert "Thread 1.1 (CPU#0 [running])" in out[1] and "Thread 1.2 (CPU#1 [running])" in out[1]
        assert number(out[3]) == 0x1004
        assert number(out[4]) == 3
        assert number(out[5]) >> 62 == 2
        assert number(out[6]) == 0
        assert number(out[8]) == 0x1234
        assert number(out[10]) == 77
        assert "Could not write register" in out[11]
        assert number(out[13]) == 1
        assert number(out[14]) == 0
        # gdb was attached to what runs: at its end it detached.
        assert machine.client().command("query-status") == {"running": True, "status": "running"}


def test_threads_are_halted(nandu_system, tmp_path, program):
    """A hart that waits for an interrupt is shown so, and still waits after it was looked at."""
    with Debugged(nandu_system, tmp_path, program=program) as machine:
        out = machine.gdb("hbreak call", "c", "delete", "set $mie=0", "set $pc=idle", "detach")
        assert "Breakpoint 1, call" in out[1]
        qmp = machine.client()
        time.sleep(0.2)
        before = memory_of(machine, qmp, 0x80000000, 0x3000)
        out = machine.gdb("info threads", "p $pc == (long)&after_idle", "detach")
        assert "CPU#0 [halted ]" in out[0] and out[1].endswith("1")
        time.sleep(0.2)
        assert memory_of(machine, qmp, 0x80000000, 0x3000) == before


# ---- Stops ----

def test_breakpoints(nandu_system, tmp_path, program):
    with Debugged(nandu_system, tmp_path, program=program) as machine:
        out = machine.gdb("break store", "hbreak store_done", "c", "p *(long *)&counter", "c", "p *(long *)&counter",
                          "delete 2", "c", "c", "p *(long *)&counter", "x/i $pc", "x/2i 0x1000")
        assert "Breakpoint 1, store" in out[2] and number(out[3]) == 0
        assert "Breakpoint 2, store_done" in out[4] and number(out[5]) == 1
        assert "Breakpoint 1, store" in out[7] and "Breakpoint 1, store" in out[8]
        assert number(out[9]) == 2
        assert "sd" in out[10]              # nothing was put into memory
        assert machine.client().command("query-status")["running"]


def test_watchpoints(nandu_system, tmp_path, program):
    with Debugged(nandu_system, tmp_path, program=program) as machine:
        out = machine.gdb("watch *(long *)&counter", "c", "p $pc == (long)&store_done", "c", "delete",
                          "rwatch *(long *)&counter", "c", "p $pc == (long)&load + 2 || $pc == (long)&load + 4", "delete",
                          "awatch *(long *)&sum", "c", "p $pc == (long)&add + 4", "c", "delete",
                          "watch *(char *)((long)&counter + 3)", "break idle", "c", "p $pc == (long)&idle")
        assert "Old value = 0" in out[1] and "New value = 1" in out[1]
        assert out[2].endswith("= 1")
        assert "Old value = 1" in out[3] and "New value = 2" in out[3]
        assert "Value = 2" in out[6] and out[7].endswith("= 1")
        assert "awatch" not in out[10] and "New value" in out[10] and out[11].endswith("= 1")
        assert "New value" in out[12]
        assert "Breakpoint" in out[16] and out[17].endswith("= 1")   # that byte stays 0


def test_watch_of_many_harts(nandu_system, tmp_path, program):
    with Debugged(nandu_system, tmp_path, "-smp", "2", program=program) as machine:
        out = machine.gdb("watch *(long *)&other", "c", "info threads", "p $mhartid", "c", "delete", "detach")
        assert "New value = 1" in out[1] and "* 2    Thread 1.2" in out[2] and number(out[3]) == 1
        assert "New value = 2" in out[4]


def test_steps(nandu_system, tmp_path, program):
    with Debugged(nandu_system, tmp_path, program=program) as machine:
        out = machine.gdb("break call", "c", "p/x $mip & 8", "delete", "stepi", "p $pc == (long)&trap", "p $mcause",
                          "stepi 3", "stepi", "p $pc == (long)&after_call", "break idle", "c", "delete", "stepi",
                          "p $pc == (long)&after_idle", "set $mie = 0", "set $pc = (long)&idle", "stepi",
                          "p $pc == (long)&after_idle", "set $mie = 8", "set $mstatus = $mstatus | 8",
                          "stepi", "p $pc == (long)&loop", "maintenance packet Qqemu.sstep=1",
                          "stepi", "p $pc == (long)&trap", "p/x $mcause")
        assert number(out[2]) == 8
        assert out[5].endswith("= 1") and number(out[6]) == 11
        assert out[9].endswith("= 1")
        assert out[14].endswith("= 1"), "over wfi, with something pending"
        assert out[18].endswith("= 1"), "over wfi, with nothing pending"
        assert out[22].endswith("= 1"), "the interrupt waits"
        assert '"OK"' in out[23]
        assert out[25].endswith("= 1") and number(out[26]) == 1 << 63 | 3


def test_time_stands_still_in_steps(nandu_system, tmp_path, program):
    with Debugged(nandu_system, tmp_path, program=program) as machine:
        out = machine.gdb("break idle", "c", "p $time", "stepi", "stepi", "p $time")
        assert number(out[2]) == number(out[5])


def test_one_of_two(nandu_system, tmp_path, program):
    with Debugged(nandu_system, tmp_path, "-smp", "2", program=program) as machine:
        out = machine.gdb("break again", "c", "p $_thread", "delete", "set scheduler-locking on", "thread 1",
                          "p $pc", "thread 2", "stepi", "stepi", "p (long)$pc - (long)&again", "thread 1", "p $pc",
                          "set scheduler-locking off", "break store thread 1", "c", "p $_thread")
        assert number(out[2]) == 2
        assert 4 <= number(out[10]) <= 8
        assert out[6].split("=")[-1] == out[12].split("=")[-1]
        assert number(out[16]) == 1


def test_write_memory(nandu_system, tmp_path, program):
    """Code that was translated is changed by the debugger."""
    with Debugged(nandu_system, tmp_path, program=program) as machine:
        # addi t2, t2, 1 becomes 5
        out = machine.gdb("break store", "c", "c", "set {short}((long)&store - 2) = 0x0395", "c", "p *(long *)&counter",
                          "c", "p *(long *)&counter", "set {long}0xffffffff00000000 = 1")
        assert number(out[5]) == 2 and number(out[7]) == 7
        assert "Cannot access memory" in out[8]


# ---- The machine around it ----

def test_physical_mode(nandu_system, tmp_path, kernel):
    path, symbols = kernel
    with Debugged(nandu_system, tmp_path, "-kernel", path, "-m", "256", "-append", "nokaslr") as machine:
        start = symbols["start_kernel"]
        physical = start - symbols["_start"] + 0x80200000
        out = machine.gdb(f"hbreak *{start:#x}", "c", "p/x $pc", "p $priv", "p ($satp >> 60) & 15", "x/4xw $pc",
                          "maintenance packet Qqemu.PhyMemMode:1", "maintenance packet qqemu.PhyMemMode",
                          "maint flush dcache", f"x/4xw {physical:#x}", "maintenance packet Qqemu.PhyMemMode:0",
                          "maint flush dcache", "stepi", "stepi", "p $sp", f"monitor gva2gpa {start:#x}",
                          f"monitor x /2i {start:#x}", "monitor info mem", "delete", "detach")
        assert number(out[2]) == start
        assert number(out[3]) == 1
        assert number(out[4]) in (8, 9, 10)
        assert '"1"' in out[7]
        assert out[5].split(":")[1] == out[9].split(":")[1]
        assert out[15] == f"gpa: {physical:#x}"
        assert len(out[16].splitlines()) == 2 and out[16].startswith(f"{start:#018x}:")
        mappings = [(int(m[1], 16), int(m[2], 16), int(m[3], 16), m[4]) for m in
                    re.finditer(r"^([0-9a-f]{16}) ([0-9a-f]{16}) ([0-9a-f]{16}) (\S{7})$", out[17], re.M)]
        found = [m for m in mappings if m[0] <= start < m[0] + m[2]]
        assert len(found) == 1 and found[0][1] + start - found[0][0] == physical and "x" in found[0][3]
        assert machine.client().command("query-status")["running"]


def test_detach_and_come_back(nandu_system, tmp_path, program):
    with Debugged(nandu_system, tmp_path, program=program) as machine:
        machine.gdb("watch *(long *)&counter", "break idle", "c", "detach")
        qmp = machine.client()
        assert qmp.command("query-status")["running"]
        first = memory_of(machine, qmp, 0x80000000, 0x3000)
        time.sleep(0.1)
        assert memory_of(machine, qmp, 0x80000000, 0x3000) != first
        out = machine.gdb("p *(long *)&counter > 100", "kill")
        assert out[0].endswith("= 1")
        assert qmp.event("SHUTDOWN")["data"] == {"guest": True, "reason": "guest-shutdown"}
        assert machine.process.wait(TIMEOUT) == 0


def test_lost_connection(nandu_system, tmp_path, program):
    """A debugger that dies leaves no breakpoints; the machine stays stopped."""
    with Debugged(nandu_system, tmp_path, program=program) as machine:
        qmp = machine.client()
        with Packets(machine.socket) as gdb:
            assert gdb.ask("?").startswith("T05thread:")
            assert gdb.ask("Z0,80000000,4") == "OK"
        assert qmp.command("query-status") == {"running": False, "status": "prelaunch"}
        qmp.command("cont")
        qmp.event("RESUME")
        time.sleep(0.1)
        assert qmp.command("query-status")["running"]


def test_run_states(nandu_system, tmp_path, program):
    with Debugged(nandu_system, tmp_path, program=program) as machine:
        qmp = machine.client()
        with Packets(machine.socket) as gdb:
            assert gdb.ask("?") == "T05thread:01;" or "thread:" in gdb.ask("?")
            gdb.send("vCont;c")
            qmp.event("RESUME")
            gdb.socket.sendall(b"\x03")
            assert re.match(r"T02thread:", gdb.receive())
            qmp.event("STOP")
            assert qmp.command("query-status") == {"running": False, "status": "paused"}
            gdb.send("c")
            qmp.event("RESUME")
            qmp.command("stop")
            assert re.match(r"T02thread:", gdb.receive())
            # The other way: somebody lets it run while gdb has it stopped; whatever gdb says then stops it.
            qmp.command("cont")
            assert qmp.command("query-status")["running"]
            assert re.fullmatch("[0-9a-f]{16}", gdb.ask("p20"))
            assert qmp.command("query-status") == {"running": False, "status": "paused"}
            assert gdb.ask("Z1,80000000,4") == "OK"
            qmp.command("system_reset")
            qmp.event("RESET")
            gdb.send("c")
            assert re.match(r"T05thread:.*hwbreak", gdb.receive())
            assert qmp.command("query-status") == {"running": False, "status": "debug"}
            qmp.command("quit")
            machine.process.wait(TIMEOUT)


def test_end_is_told(nandu_system, tmp_path, program):
    with Debugged(nandu_system, tmp_path, program=program) as machine:
        qmp = machine.client()
        with Packets(machine.socket) as gdb:
            gdb.ask("?")
            gdb.send("c")
            qmp.event("RESUME")
            qmp.command("quit")
            assert gdb.receive() == "W00"


def test_monitor_and_hmp(nandu_system, tmp_path, program):
    with Debugged(nandu_system, tmp_path, program=program) as machine:
        qmp = machine.client()
        other = tmp_path / "other.sock"
        hmp = lambda line: qmp.command("human-monitor-command", command_line=line)
        out = machine.gdb("monitor info status", "monitor nonsense", "monitor xp /2xw 0x1000")
        assert out[0] == "VM status: paused (prelaunch)"
        assert out[1].startswith("unknown command: 'nonsense'")
        assert out[2].startswith("0000000000001000: 0x")
        assert "gdb: filename=" in hmp("info chardev")
        assert hmp(f"gdbserver unix:{other},server=on,wait=off") == \
            f"Waiting for gdb connection on device 'unix:{other},server=on,wait=off'\r\n"
        with Packets(str(other)) as gdb:
            assert "thread" in gdb.ask("?")
        assert hmp("gdbserver none") == "Disabled gdbserver\r\n"
        assert "gdb:" not in hmp("info chardev")
        assert hmp("gdbserver nonsense:x").startswith("Error: Could not open gdbserver on device 'nonsense:x'")


def test_no_vcpu(nandu_system):
    done = run([nandu_system, "-machine", "none", "-nodefaults", "-display", "none", "-gdb", "tcp::0"])
    assert done.status == 1 and "without any CPU" in done.error and done.error.count("\n") == 1


# ---- Against QEMU ----

PACKETS = ["?", "qAttached", "qC", "qfThreadInfo", "qqemu.sstepbits", "qqemu.sstep", "qqemu.PhyMemMode", "qqemu.Supported",
           "Qqemu.sstep=5", "qqemu.sstep", "Qqemu.PhyMemMode:1", "qqemu.PhyMemMode", "Qqemu.PhyMemMode:0", "g", "p0", "p20",
           "P5=efcdab8967452301", "p5", "m1000,8", "M80001000,4:01020304", "m80001000,4", "Z0,80000000,4",
           "z0,80000000,4", "Z2,80000000,4", "z2,80000000,4", "Hg1", "Hg9", "T1", "T9", "qNonsense", "vNonsense",
           "qThreadExtraInfo,1", "!", "Hc0", "D"]


def test_packets_are_qemus(nandu_system, qemu_system, tmp_path, program):
    replies = []
    for emulator in (nandu_system, qemu_system):
        with Debugged(emulator, tmp_path, program=program) as machine, Packets(machine.socket) as gdb:
            replies.append({packet: gdb.ask(packet) for packet in PACKETS})
    ours, theirs = replies
    # Numbers may have leading zeros.
    plain = lambda text: re.sub(r"\b0+(?=[0-9a-f])", "", text) if "thread" in text or text[:1] in "mQ" else text
    # Errors are told by their E.
    same = {p for p in PACKETS if plain(ours[p]) == plain(theirs[p]) or (ours[p][:1] == theirs[p][:1] == "E")}
    assert set(PACKETS) - same == set(), [(p, ours[p], theirs[p]) for p in PACKETS if p not in same]


def test_random_packets(nandu_system, tmp_path, program):
    """Nothing that a debugger says ends the program, nor does it end the connection without a word."""
    generator = random.Random(1)
    names = ["m", "M", "X", "p", "P", "g", "G", "Z0,", "z1,", "Z2,", "Z4,", "H", "T", "qXfer:features:read:target.xml:", "q",
             "Qqemu.sstep=", "Qqemu.PhyMemMode:", "qRcmd,", "vCont?", "vAttach;", "qThreadExtraInfo,"]
    letters = "0123456789abcdef,;:=.-p~?"
    with Debugged(nandu_system, tmp_path, "-smp", "2", program=program) as machine:
        with Packets(machine.socket) as gdb:
            for _ in range(2000):
                text = generator.choice(names) + "".join(generator.choices(letters, k=generator.randrange(24)))
                reply = gdb.ask(text)
                while reply and reply[0] == "O" and reply != "OK":
                    reply = gdb.receive()
                assert reply is not None, text
            assert gdb.ask("qqemu.sstepbits").startswith("ENABLE=1")
        assert machine.client().command("query-status")["status"] == "prelaunch"


# ---- Debian's kernel ----

def token_table(image):
    """(tokens, where their table begins, where it ends) of a kernel's compressed symbol table."""
    digits, at = b"\0".join(b"%d" % i for i in range(10)) + b"\0", -1
    while (at := image.find(digits, at + 1)) >= 0:
        for start in range(at & ~7, max(at - 4096, 0), -8):
            tokens, offsets, end = [], [], start
            while len(tokens) < 256 and (stop := image.find(b"\0", end, end + 64)) >= 0:
                offsets.append(end - start)
                tokens.append(image[end:stop])
                end = stop + 1
            index = (end + 7) & ~7      # behind it is a table of where each token begins
            if len(tokens) == 256 and struct.unpack_from("<256H", image, index) == tuple(offsets):
                return tokens, start, index + 512
    raise AssertionError("the kernel has no table of symbols")


def find_symbols(image, wanted):
    """{name: address}, from the tables that scripts/kallsyms.c of Linux 6.12 writes: number of names, names (a length
    and that many tokens each), markers (where each 256th name is), tokens, offsets, base."""
    tokens, tokens_at, offsets_at = token_table(image)
    markers = []
    at = tokens_at - 4
    while not struct.unpack_from("<I", image, at)[0]:
        at -= 4
    while not markers or markers[0]:
        markers.insert(0, struct.unpack_from("<I", image, at)[0])
        at -= 4
    names_at = at + 4 - markers[-1]
    while not (256 * (len(markers) - 1) < struct.unpack_from("<Q", image, names_at - 8)[0] <= 256 * len(markers)
               and names_at % 8 == 0):
        names_at -= 1
    count, = struct.unpack_from("<Q", image, names_at - 8)
    base, = struct.unpack_from("<Q", image, (offsets_at + 4 * count + 7) & ~7)
    found = {}
    for i in range(count):
        length = image[names_at]
        names_at += 1
        if length & 0x80:
            length = length & 0x7f | image[names_at] << 7
            names_at += 1
        name = b"".join(tokens[t] for t in image[names_at:names_at + length])[1:].decode()
        names_at += length
        if name in wanted:
            found[name] = base + struct.unpack_from("<I", image, offsets_at + 4 * i)[0]
    return found


@pytest.fixture(scope="module")
def kernel():
    """(path, {symbol: address})"""
    done = subprocess.run([os.path.join(TOP, "tools", "fetch-guest-kernel"), "-q"], capture_output=True, text=True,
                          check=False)
    if done.returncode or not os.path.exists("/usr/lib/riscv64-linux-gnu/opensbi/generic/fw_dynamic.bin"):
        pytest.skip("no kernel or no firmware: " + done.stderr[-200:])
    path = done.stdout.strip()
    with open(path, "rb") as f:
        symbols = find_symbols(f.read(), {"start_kernel", "_start", "rest_init", "jiffies"})
    return path, symbols


def test_start_kernel(nandu_system, tmp_path, kernel):
    path, symbols = kernel
    serial = tmp_path / "serial"
    with Debugged(nandu_system, tmp_path, "-kernel", path, "-m", "512", "-smp", "2", "-append",
                  "nokaslr console=ttyS0 panic=-1", "-serial", f"file:{serial}", "-no-reboot") as machine:
        out = machine.gdb(f"break *{symbols['start_kernel']:#x}", "c", "p/x $pc", "delete",
                          f"watch *(long *){symbols['jiffies']:#x}", "c", "c", "info threads", "delete", "detach",
                          timeout=120)
        assert number(out[2]) == symbols["start_kernel"]
        assert "New value" in out[5] and "New value" in out[6]
        assert "CPU#1" in out[7]
        assert machine.process.wait(120) == 0       # it goes on to its panic for want of a root
    assert b"Kernel panic" in serial.read_bytes()
