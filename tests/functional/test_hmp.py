"""The monitor for people: on terminals, sockets, a mux; what it prints is compared with QEMU."""

import os
import pty
import re
import select
import socket
import subprocess
import time

import pytest
from qmp import Machine

# Lines whose output is QEMU's to the letter.
SAME = [
    "", "   ", "nonsense", "info nonsense", "help nonsense", "help info nonsense",
    "info status", "stop", "info status", "s", "cont", "c", "info status", "  info   status  ",
    "info name", "info uuid", "info cpus", "info iothreads", "info memdev", "info kvm",
    "info hotpluggable-cpus", "info memory_size_summary", "info history", "info qom-tree /nonsense",
    "stop 1", "info version x", "quit now", "c x",
    "print 1+2", "p 1+2", "print /x 10", "print/d 0x10", "p/u -1", "p/o 8", "p/c 65", "p/c 10",
    "print/d (1<<4)", "p 1 2", "p 1/0", "p x", "p", "p (1", "p/x 7&3+1", "p/x 2*3|8", "p/d -5/2",
    "chardev-add", "chardev-add null", "chardev-add ringbuf,id=r", "ringbuf_write r \"a\\n b\"",
    "ringbuf_read r 100", "ringbuf_read r", "ringbuf_read r x", "ringbuf_read r 1 2",
    "ringbuf_write nonsense x", "ringbuf_read nonsense 5", "ringbuf_write r \"\\x\"",
    "chardev-change r null", "chardev-remove r", "chardev-remove r", "chardev-send-break nonsense",
    "object_add", "object_add nonsense", "object_add iothread", "object_add iothread,id=i0",
    "object_add iothread,id=i0", "object_del nonsense",
    "qom-list", "qom-list /nonsense", "qom-get /objects/i0 poll-max-ns",
    "qom-get /objects/i0 nonsense", "qom-get /nonsense x",
    "qom-set /objects/i0 poll-max-ns 7", "qom-get /objects/i0 poll-max-ns",
    "qom-set -j /objects/i0 poll-max-ns 8", "qom-get /objects/i0 poll-max-ns", "object_del i0",
    "object_del i0", "object_add memory-backend-ram,id=m0,size=1M", "info memdev",
    "qom-get /objects/m0 policy", "qom-set /objects/m0 merge 5",
    "getfd", "getfd x", "closefd", "closefd x", "log none", "trace-event", "trace-event nonsense",
    "trace-event nonsense bar", "info trace-events nonsense", "info trace-events nonsense*",
    "system_reset", "system_powerdown", "system_wakeup", "exit_preconfig", "watchdog_action",
    "watchdog_action pause", "logfile /tmp",
]
# The same in fewer or in more words.
SIMILAR = {"logfile /tmp": "/tmp", "trace-event nonsense on": 'unknown event "nonsense"',
           "ringbuf_write r \"\\x\"": "unsupported escape code"}


def test_lines_are_qemus(nandu_system, qemu_system, tmp_path):
    wrong = []
    with Machine(nandu_system, tmp_path) as ours, Machine(qemu_system, tmp_path) as theirs:
        a, b = ours.client(), theirs.client()
        for line in SAME:
            x = a.command("human-monitor-command", command_line=line)
            y = b.command("human-monitor-command", command_line=line)
            if x != y and not (line in SIMILAR and SIMILAR[line] in x):
                wrong.append((line, x, y))
    assert not wrong, "\n".join(map(str, wrong))


def test_help_lists_what_is_there(nandu_system, qemu_system, tmp_path):
    """Each command is in QEMU too, with as many names, and help on each works."""
    with Machine(nandu_system, tmp_path) as ours, Machine(qemu_system, tmp_path) as theirs:
        a, b = ours.client(), theirs.client()
        for prefix in ("", "info "):
            text = a.command("human-monitor-command", command_line="help " + prefix)
            theirs_text = b.command("human-monitor-command", command_line="help " + prefix)
            rows = [line for line in text.split("\r\n") if line and not line.startswith("\t")]
            assert len(rows) > 10
            for row in rows:
                name = row[len(prefix):].split(" ")[0]
                assert f"\r\n{prefix}{name} " in "\r\n" + theirs_text, name
                for one in name.split("|"):
                    said = a.command("human-monitor-command", command_line=f"help {prefix}{one}")
                    assert said.startswith(row) or one in ("log", "info"), (one, said)


def test_objects_and_help_of_types(nandu_system, tmp_path):
    with Machine(nandu_system, tmp_path) as m:
        c = m.client()
        def hmp(line):
            return c.command("human-monitor-command", command_line=line)
        assert "\r\n  iothread\r\n" in hmp("object_add help")
        assert "poll-max-ns=<int>" in hmp("object_add iothread,help")
        assert hmp("object_add iothread,id=i0") == ""
        assert re.match(r"i0:\r\n  thread_id=\d+\r\n", hmp("info iothreads"))
        assert hmp("info qom-tree /objects") == "/objects (container)\r\n  /i0 (iothread)\r\n"
        assert hmp("info qom-tree").startswith("/machine (none-machine)\r\n")
        assert "guest_errors" in hmp("help log") and "guest_errors" in hmp("log help")
        log = m.path + ".hmp.log"
        assert hmp(f"logfile {log}") == "" and hmp("log unimp,guest_errors") == ""
        assert os.path.exists(log)
        lines = hmp("info trace-events").split("\r\n")
        states = dict(line.split(" : state ") for line in lines if line)
        assert states
        name = sorted(states)[0]
        assert hmp(f"trace-event {name} on") == ""
        assert hmp(f"info trace-events {name}") == f"{name} : state 1\r\n"
        assert c.command("trace-event-get-state", name=name) == [{"name": name, "state": "enabled"}]
        c.command("trace-event-set-state", name="*", enable=False)
        assert hmp(f"info trace-events {name}") == f"{name} : state 0\r\n"
        pty_line = hmp("chardev-add pty,id=p")
        assert re.fullmatch(r"char device redirected to /dev/pts/\d+ \(label p\)\r\n", pty_line)
        assert hmp("chardev-remove p") == ""


class Terminal:
    """A program on a terminal."""

    def __init__(self, program, *arguments):
        self.fd, inside = pty.openpty()
        self.process = subprocess.Popen([program, "-machine", "none", *arguments], stdin=inside,
                                        stdout=inside, stderr=inside, start_new_session=True)
        os.close(inside)
        self.seen = ""

    def wait_for(self, text, timeout=20):
        """What came up to the text and with it."""
        end = time.monotonic() + timeout
        while text not in self.seen:
            ready, _, _ = select.select([self.fd], [], [], max(0, end - time.monotonic()))
            assert ready, (text, self.seen)
            self.seen += os.read(self.fd, 65536).decode().replace("\r", "")
        at = self.seen.index(text) + len(text)
        before, self.seen = self.seen[:at], self.seen[at:]
        return before

    def type(self, keys):
        os.write(self.fd, keys.encode())

    def line(self, text):
        """What a line prints, without its echo."""
        self.type(text + "\r")
        self.wait_for("\n")
        return self.wait_for("(qemu) ")[:-len("(qemu) ")]

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        self.process.terminate()
        self.process.wait(20)
        os.close(self.fd)


BANNER = re.compile(r"QEMU 10\.0\.2 monitor .*Nandu .*"
                    r" - type 'help' for more information\n\(qemu\) ")


def test_terminal(nandu_system):
    with Terminal(nandu_system, "-display", "none", "-monitor", "stdio") as t:
        assert BANNER.fullmatch(t.wait_for("(qemu) "))
        assert t.line("info status") == "VM status: running\n"
        assert t.line("stop") == ""
        t.type("info sta\t")
        t.wait_for("info status ")
        assert t.line("") == "VM status: paused\n"
        t.type("\x10\x10\x10\x10")      # the oldest line
        t.wait_for("info status")
        t.type("\x01\x0b")
        assert t.line("print 5").endswith("0x5\n")
        t.type("object_add rng-\t")
        assert "rng-builtin  rng-random" in t.wait_for("(qemu) object_add rng-")
        t.type("b\t")
        t.wait_for("builtin ")
        t.type("\x15")
        assert "0: 'info status'\n1: 'stop'\n2: 'info status '\n" in t.line("info history")
        t.type("quit\r")
        assert t.process.wait(20) == 0


def test_mux(nandu_system):
    """Two monitors share a terminal; Ctrl-A c goes from one to the other."""
    with Terminal(nandu_system, "-display", "none", "-chardev", "stdio,id=s,mux=on,signal=off",
                  "-mon", "s", "-mon", "s") as t:
        t.wait_for("(qemu) ")
        time.sleep(0.3)
        t.type("\x01c")
        t.wait_for("(qemu) ")
        t.type("info sta")
        t.wait_for("info sta")
        t.type("\x01c")
        t.wait_for("(qemu) ")
        assert t.line("info name") == ""
        t.type("\x01c")
        t.wait_for("(qemu) info sta")
        t.type("tus\r")
        assert "VM status: running\n" in t.wait_for("(qemu) ")
        t.type("\x01x")
        assert t.process.wait(20) == 0


def test_socket(nandu_system, tmp_path):
    """One client after the other; each begins anew."""
    path = tmp_path / "hmp"
    with Machine(nandu_system, tmp_path, "-monitor", f"unix:{path},server=on,wait=off") as m:
        m.client().close()
        for _ in range(3):
            s = socket.socket(socket.AF_UNIX)
            s.settimeout(20)
            s.connect(str(path))
            f = s.makefile("rwb", buffering=0)
            text = b""
            while not text.endswith(b"(qemu) "):
                text += f.read(1)
            f.write(b"info status\ninfo history\nnonsense")
            text = b""
            while b"nonsense" not in text:
                text += s.recv(100)
            assert text.count(b"VM status: running\r\n") == 1
            assert b"0: 'info status'\r\n1: 'info history'\r\n" in text
            s.close()


@pytest.mark.parametrize("text", ["\0\1\2\3\4\x7f\x80\xff" * 100, "\x1b[" * 500, "help\n" * 300,
                                  "x" * 100000 + "\n", "\x01\x0bprint " + "(" * 3000 + "1\n",
                                  "info qom-tree /" + "a/" * 2000 + "\n", "\t" * 500],
                         ids=["control", "escape", "help", "long", "nested", "path", "tabs"])
def test_garbage(nandu_system, text):
    command = [nandu_system, "-machine", "none", "-display", "none", "-monitor", "stdio"]
    done = subprocess.run(command, input=text.encode("latin-1") + b"\x03\nquit\n",
                          capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done
    assert done.stdout.startswith(b"QEMU 10.0.2 monitor")
