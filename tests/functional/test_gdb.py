"""The gdb stub of user mode ("-g"): gdb-multiarch on a cross-compiled program, and, for what gdb does
only at a terminal (an interrupt, a lost connection), a small client of the protocol."""

import os
import re
import shutil
import socket
import subprocess
import time

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
NANDU = os.environ.get("NANDU_RISCV64", "")
GDB = shutil.which("gdb-multiarch")
CC = shutil.which("riscv64-linux-gnu-gcc")
SYSROOT = "/usr/riscv64-linux-gnu"
TIMEOUT = 20

pytestmark = [
    pytest.mark.skipif(not os.path.exists(NANDU), reason="nandu-riscv64 is not built"),
    pytest.mark.skipif(not GDB, reason="gdb-multiarch is not installed"),
    pytest.mark.skipif(not CC, reason="gcc-riscv64-linux-gnu is not installed"),
]


@pytest.fixture(scope="module")
def programs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("gdb")
    source = os.path.join(HERE, "gdb_guest.c")
    for name, flags in (("static", ["-static"]), ("dynamic", [])):
        subprocess.run([CC, "-g", "-O0", *flags, "-o", folder / name, source, "-lpthread"],
                       check=True)
    return folder


def line_of(mark):
    with open(os.path.join(HERE, "gdb_guest.c"), encoding="utf-8") as f:
        return next(n for n, line in enumerate(f, 1) if f"/* {mark} */" in line)


class Guest:
    """A guest that waits for a debugger on a Unix socket."""

    def __init__(self, tmp_path, program, *args, options=()):
        self.socket = str(tmp_path / "gdb.sock")
        self.program = str(program)
        self.process = subprocess.Popen([NANDU, "-g", self.socket, *options, self.program, *args],
                                        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT, text=True)
        deadline = time.monotonic() + TIMEOUT
        while not self.listens():
            assert self.process.poll() is None, self.process.stdout.read()
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def listens(self):
        with open("/proc/net/unix", encoding="ascii") as f:
            return any(line.split()[3] == "00010000" and line.endswith(f" {self.socket}\n")
                       for line in f)

    def gdb(self, *commands):
        """Runs gdb with the commands; returns what it printed."""
        argv = [GDB, "-nx", "-batch", "-iex", "set debuginfod enabled off",
                "-ex", "set confirm off", "-ex", "set pagination off",
                "-ex", f"target remote {self.socket}"]
        for command in commands:
            argv += ["-ex", command]
        run = subprocess.run(argv + [self.program], stdin=subprocess.DEVNULL, text=True,
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=TIMEOUT)
        return run.stdout

    def wait(self):
        out, _ = self.process.communicate(timeout=TIMEOUT)
        return self.process.returncode, out

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()


class Client:
    """Just enough of the remote protocol."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(TIMEOUT)
        self.socket.connect(path)
        self.data = b""

    def send(self, text):
        payload = text.encode()
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

    def register(self, number):
        return int.from_bytes(bytes.fromhex(self.ask(f"p{number:x}")), "little")

    def close(self):
        self.socket.close()


A0, A2, A7, PC = 10, 12, 17, 32         # register numbers


def symbol(program, name):
    table = subprocess.run(["riscv64-linux-gnu-nm", program], text=True, check=True,
                           stdout=subprocess.PIPE).stdout
    return int(re.search(rf"^(\w+) . {name}$", table, re.M).group(1), 16)


def test_step_and_finish(tmp_path, programs):
    with Guest(tmp_path, programs / "static") as guest:
        out = guest.gdb("handle SIGUSR1 nostop", "break main", "continue", "next", "next",
                        "info locals",
                        "break add", "continue", "step", "step", "print sum", "bt", "finish",
                        "delete", "tbreak scale", "continue", "finish",
                        "print $pc", "info registers sp", "continue")
        code, text = guest.wait()
    assert "Breakpoint 1, main" in out
    assert "Breakpoint 2, add (a=0, b=1)" in out
    assert "$1 = 1" in out
    assert re.search(r"#1 .* in main", out)
    assert re.search(r"Value returned is \$2 = 1\b", out)
    assert "scale (x=1.5, y=2)" in out
    assert re.search(r"Value returned is \$3 = 3\.5\b", out)
    assert re.search(r"\$4 = .*<main\+\d+>", out)
    assert "exited with code 027]" in out
    assert (code, text) == (23, "done 6 3.5 108\n")


def test_registers(tmp_path, programs):
    with Guest(tmp_path, programs / "static") as guest:
        out = guest.gdb("handle SIGUSR1 nostop", "break add", "continue",
                        "print/x $zero", "print $a1", "print $x11 == $a1", "set $a1 = 42",
                        "print $a1", "set $ft0.double = 2.25", "print $ft0.double",
                        "print/x $ft0", "set $fcsr = 0x61", "print $frm", "print $fflags",
                        "set $frm = 0", "print/x $fcsr", "stepi", "stepi", "stepi", "stepi",
                        "print $ft0.double", "print/x $fcsr", "info all-registers",
                        "p $pc = $pc", "delete", "continue")
        code, _ = guest.wait()
    printed = dict(re.findall(r"^\$(\d+) = (.*)$", out, re.M))
    assert printed["1"] == "0x0"
    assert printed["2"] == "1"
    assert printed["3"] == "1"
    assert printed["4"] == "42"
    assert printed["5"] == "2.25"
    assert "double = 0x2" in printed["6"] or "0x4002000000000000" in printed["6"]
    assert (printed["7"], printed["8"], printed["9"]) == ("3", "1", "0x1")
    assert printed["10"] == "2.25"
    assert printed["11"] == "0x1"
    assert code == 23


def test_memory_and_calls(tmp_path, programs):
    with Guest(tmp_path, programs / "static") as guest:
        out = guest.gdb("handle SIGUSR1 nostop", "break add", "continue", "delete",
                        "print counter = 55", "print counter",
                        "print add(20, 22)", "print scale(2, 2)", "x/2i $pc",
                        "print *(int *)0", "set var b = 100",
                        "find &counter, +4, 55", "continue")
        _, text = guest.wait()
    assert "$2 = 55" in out
    assert "$3 = 42" in out
    assert "$4 = 4.5" in out
    assert "Cannot access memory at address 0x0" in out
    assert "<counter>" in out
    assert text.startswith("done ")


def test_code_is_patched(tmp_path, programs):
    """A write to code that was translated already takes effect."""
    with Guest(tmp_path, programs / "static") as guest:
        out = guest.gdb("break add", "continue", "continue", "delete",
                        # c.li a0, 5; c.jr ra
                        "set var *(unsigned short *)add = 0x4515",
                        "set var *((unsigned short *)add + 1) = 0x8082",
                        "print add(1, 1)")
        guest.process.kill()
    assert "$1 = 5" in out


def test_watch(tmp_path, programs):
    with Guest(tmp_path, programs / "static") as guest:
        out = guest.gdb("watch counter", "continue", "continue", "delete",
                        "rwatch counter", "continue", "delete", "awatch counter", "continue",
                        "delete", "continue")
        code, text = guest.wait()
    values = re.findall(r"(Old value|New value|Value) = (\d+)", out)
    assert values[:4] == [("Old value", "0"), ("New value", "7"),
                          ("Old value", "7"), ("New value", "8")]
    assert "Hardware read watchpoint" in out
    assert ("Value", "8") in values[4:]
    assert "Hardware access (read/write) watchpoint" in out
    assert (code, text) == (23, "done 6 3.5 108\n")


def test_signals(tmp_path, programs):
    with Guest(tmp_path, programs / "static") as guest:
        out = guest.gdb("continue", "print $_siginfo.si_signo", f"break {line_of('handler')}",
                        "continue", "bt", "continue")
        code, text = guest.wait()
    assert "Program received signal SIGUSR1" in out
    assert "$1 = 10" in out
    assert re.search(r"handler \(sig=10\)", out)
    assert "<signal handler called>" in out
    assert (code, text) == (23, "done 6 3.5 108\n")


def test_signal_is_withheld(tmp_path, programs):
    with Guest(tmp_path, programs / "static") as guest:
        out = guest.gdb("continue", "signal 0")
        code, text = guest.wait()
    assert "Program received signal SIGUSR1" in out
    assert (code, text) == (23, "done 6 3.5 8\n")


def test_signal_is_passed(tmp_path, programs):
    with Guest(tmp_path, programs / "static") as guest:
        out = guest.gdb("handle SIGUSR1 nostop noprint pass", "continue")
        code, text = guest.wait()
    assert "received signal" not in out
    assert (code, text) == (23, "done 6 3.5 108\n")


def test_signal_is_sent(tmp_path, programs):
    with Guest(tmp_path, programs / "static") as guest:
        out = guest.gdb("break printf", "continue", "signal 0", "signal SIGUSR1")
        _, text = guest.wait()
    assert "Breakpoint 1" in out
    assert "exited with code 027" in out
    assert text in ("done 6 3.5 8\n", "done 6 3.5 108\n")


def test_crash(tmp_path, programs):
    with Guest(tmp_path, programs / "static", "crash") as guest:
        out = guest.gdb("continue", "print $_siginfo._sifields._sigfault.si_addr", "frame",
                        "continue")
        code, _ = guest.wait()
    assert "Program received signal SIGSEGV" in out
    assert "$1 = (void *) 0x8" in out
    assert "/* crash */" in out
    assert "Program terminated with signal SIGSEGV" in out
    assert code == -11


def test_threads(tmp_path, programs):
    with Guest(tmp_path, programs / "static", "threads") as guest:
        out = guest.gdb(f"break {line_of('worker')}", "continue", "info threads",
                        "thread apply all -q print $_thread", "continue", "continue", "delete",
                        "next", "info threads", "continue")
        code, text = guest.wait()
    assert out.count("hit Breakpoint 1, worker") == 3
    lists = re.findall(r"^[ *]+\d+ +Thread ", out, re.M)
    assert len(lists) >= 8
    assert "$4" in out
    assert (code, text) == (0, "threads 6\n")


def test_step_locks_others(tmp_path, programs):
    """With scheduler-locking only one thread moves."""
    with Guest(tmp_path, programs / "static", "threads") as guest:
        out = guest.gdb(f"break {line_of('worker')}", "continue", "delete",
                        "set scheduler-locking on", "print counter", "next", "print counter == n",
                        "set scheduler-locking off", "continue")
        code, text = guest.wait()
    assert "$1 = 0" in out
    assert "$2 = 1" in out
    assert (code, text) == (0, "threads 6\n")


@pytest.mark.parametrize("what, text", [("fork", "fork 11\n"), ("spawn", "spawn 9\n")])
def test_children_run_free(tmp_path, programs, what, text):
    with Guest(tmp_path, programs / "static", what) as guest:
        out = guest.gdb("break both", "break execve", "catch syscall exit", "watch counter",
                        "continue", "continue", "delete", "continue")
        result = guest.wait()
    assert "exited normally" in out
    assert result == (0, text)


def test_descriptors_are_apart(tmp_path, programs):
    """The guest neither sees nor closes the stub's descriptors."""
    with Guest(tmp_path, programs / "static", "files") as guest:
        out = guest.gdb("break both", "continue", "bt", "delete", "continue")
        result = guest.wait()
    assert re.search(r"#1 .* run_files", out)
    assert "exited normally" in out
    assert result == (0, "files 3 3\n")


def test_dynamic(tmp_path, programs):
    """A dynamic PIE: gdb finds the program and its libraries through the stub."""
    with Guest(tmp_path, programs / "dynamic", options=("-L", SYSROOT)) as guest:
        argv = guest.program
        guest.program = ""
        out = guest.gdb("break main", "continue", "info sharedlibrary", "info auxv",
                        "info proc", "monitor help", "monitor maps", "monitor nonsense",
                        "break raise", "continue", "bt", "delete", "continue", "continue")
        code, text = guest.wait()
    assert "Breakpoint 1, main" in out
    assert re.search(r"Yes.*libc\.so\.6", out)
    assert "AT_ENTRY" in out
    assert "the guest's memory map" in out
    assert os.path.basename(argv) in out
    assert "No such command" in out
    assert re.search(r"raise .*\n.*#1 .* main", out, re.S)
    assert (code, text) == (23, "done 6 3.5 108\n")


def test_tcp_port(tmp_path, programs):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen([NANDU, "-g", str(port), str(programs / "static")],
                               stdout=subprocess.PIPE, text=True)
    try:
        for _ in range(500):
            with socket.socket() as s:
                if s.connect_ex(("127.0.0.1", port)) == 0:
                    s.settimeout(TIMEOUT)
                    s.sendall(b"$D#44")
                    out, _ = process.communicate(timeout=TIMEOUT)
                    break
            time.sleep(0.01)
        assert (process.returncode, out) == (23, "done 6 3.5 108\n")
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("what, code", [("spin", 5), ("sleep", 6)])
def test_interrupt(tmp_path, programs, what, code):
    """Ctrl-C stops a guest that computes and one that waits in a system call."""
    with Guest(tmp_path, programs / "static", what) as guest:
        client = Client(guest.socket)
        assert client.ask("?").startswith("T05thread:")
        for _ in range(3):
            client.send("vCont;c")
            time.sleep(0.1)
            client.socket.sendall(b"\x03")
            assert client.receive().startswith("T02thread:")
        address = symbol(guest.program, "spin")
        assert client.ask(f"M{address:x},4:00000000") == "OK"
        client.send("vCont;c")
        if what == "sleep":
            # A signal takes it out of pause; the debugger hides it from the guest.
            time.sleep(0.1)
            guest.process.send_signal(10)
            stop = client.receive()
            assert stop.startswith("T1ethread:")
            client.send("vCont;C1e")
            assert client.receive() == "X1e"
            assert guest.wait()[0] == -10
        else:
            assert client.receive() == f"W{code:02x}"
            assert guest.wait()[0] == code
        client.close()


def thread_of(stop):
    return re.search(r"thread:([^;]+);", stop).group(1)


def test_storm(tmp_path, programs):
    """No signal and no hit is lost when many threads stop at the same time."""
    with Guest(tmp_path, programs / "static", "storm") as guest:
        out = guest.gdb("handle SIGUSR2 nostop print", "break both", "ignore 1 100000", "continue",
                        "info breakpoints")
        result = guest.wait()
    assert out.count("received signal SIGUSR2") == 54
    assert "breakpoint already hit 900 times" in out
    assert result == (0, "storm 54900\n")


def test_step_packets(tmp_path, programs):
    """Steps as the stub does them: gdb itself steps riscv64 programs with breakpoints."""
    with Guest(tmp_path, programs / "static") as guest:
        client = Client(guest.socket)
        add, handler = (symbol(guest.program, name) for name in ("add", "handler"))
        thread = thread_of(client.ask("?"))
        assert client.ask(f"Z0,{add:x},2") == "OK"
        stop = client.ask("vCont;c")
        assert stop.startswith("T05")
        assert client.register(PC) == add
        assert client.ask(f"z0,{add:x},2") == "OK"
        assert client.ask(f"vCont;s:{thread}").startswith("T05")
        assert client.register(PC) == add + 2
        # Through the function in one go: it ends at the return.
        assert client.ask(f"vCont;r{add:x},{add + 0x22:x}:{thread}").startswith("T05")
        assert not add <= client.register(PC) < add + 0x22
        # Into a handler: before its first instruction.
        assert client.ask("vCont;c").startswith("T1e")
        assert client.ask(f"vCont;S1e:{thread}").startswith("T05")
        assert client.register(PC) == handler
        assert client.register(A0) == 10
        assert client.ask("c") == "W17"
        assert guest.wait() == (23, "done 6 3.5 108\n")
        client.close()


def test_catch_syscalls(tmp_path, programs):
    with Guest(tmp_path, programs / "static") as guest:
        client = Client(guest.socket)
        thread = thread_of(client.ask("?"))
        assert client.ask("QPassSignals:1e") == "OK"
        assert client.ask("QCatchSyscalls:1;40;5d") == "OK"      # write, exit
        stop = client.ask("vCont;c")
        assert "syscall_entry:40;" in stop
        assert (client.register(A7), client.register(A2)) == (64, 15)
        # A step from here ends behind the call.
        pc = client.register(PC)
        assert "syscall_return:40;" in client.ask(f"vCont;s:{thread}")
        assert (client.register(A0), client.register(PC)) == (15, pc)
        assert client.ask("QCatchSyscalls:1") == "OK"            # all
        assert "syscall_entry:5e;" in client.ask("vCont;c")      # exit_group
        assert client.ask("QCatchSyscalls:0") == "OK"
        assert client.ask("vCont;c") == "W17"
        assert guest.wait() == (23, "done 6 3.5 108\n")
        client.close()


def test_detach_and_lost_connection(tmp_path, programs):
    with Guest(tmp_path, programs / "static", "spin") as guest:
        client = Client(guest.socket)
        assert client.ask("?").startswith("T05")
        assert client.ask("Z0,deadbeee,2") == "OK"
        client.send("vCont;c")
        client.close()                              # the guest goes on

        client = Client(guest.socket)               # another debugger stops it
        assert client.ask("?").startswith("T05thread:")
        assert client.ask("D") == "OK"
        client.close()
        assert guest.process.poll() is None

        client = Client(guest.socket)
        assert client.ask("?").startswith("T05thread:")
        assert client.ask("vKill;1") == "OK"
        assert guest.wait()[0] == -9


@pytest.mark.parametrize("where, message", [
    ("0", "neither a port"),
    ("65536", "neither a port"),
    ("x", "neither a port"),
    ("/nonexistent/socket", "No such file"),
    ("/" + "x" * 200, "at most"),
])
def test_bad_address(programs, where, message):
    run = subprocess.run([NANDU, "-g", where, str(programs / "static")], text=True,
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=TIMEOUT)
    assert run.returncode == 1
    assert message in run.stderr
    assert len(run.stderr.splitlines()) == 1
    assert not run.stdout
