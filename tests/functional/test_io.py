"""nandu-io against qemu-io: the same commands on the same image, and the same output but for the times."""

import os
import pty
import re
import select
import time

import pytest
from conftest import run
from test_img import Pair, qemu_tool


def times_masked(text):
    text = re.sub(r"[\d.:]+( sec)? \([\d.e+-]+ [A-Za-z]+/sec and [\d.]+ ops/sec\)", "TIME", text)
    return re.sub(r"^(\d+,1),.*", r"\1,TIME", text, flags=re.M)


@pytest.fixture
def pair(tmp_path):
    both = Pair(tmp_path, "qemu-io")
    both.both(qemu_tool("qemu-img"), "create", "-q", "-f", "qcow2", "a.qcow2", "1M")
    both.both(qemu_tool("qemu-img"), "create", "-q", "-f", "raw", "r.raw", "1M")
    return both


SCRIPTS = {
    "reads and writes": "write -P 5 0 4k; read -P 5 0 4k; read -v 0 40; read -C 0 4k; write -q 0 4k; write 0 4097; "
                        "write 1 512; write -p 3 4; w 0 512; r 0 512",
    "pattern": "write -P 5 0 4k; read -P 6 0 4k; read -P 5 -s 4 -l 100 0 512; read -P 5 -s 4 0 512",
    "beyond the end": "read 2M 4k; write 2M 4k; discard 0 3G; write 0 3G",
    "asynchronous beyond the end": "aio_write 0 64M; aio_flush",
    "mistakes": "write 0; write; write x 4k; write 0 x; foo; read -Z 0 1; readv 0; read -s 4 0 512; sleep x; sigraise x; "
                "write -s nofile 0 4k; write -P 300 0 4k; write -z -P 3 0 4k; write -u 0 4k; write -n 0 4k",
    "zeroes": "write -z 0 64k; write -z -u 0 64k; write -f 0 4k; write -z -n 0 4k; write -P 1 0 512; write -z 512 512; "
              "read -v 496 48",
    "compressed": "write -c 128k 64k; read -P 0xcd 128k 64k",
    "vectors": "readv 0 4k 8k; writev -P 3 64k 512 1k; writev 0 1 2 3; readv -v 0 8 8",
    "asynchronous": "aio_write -P 4 0 64k; aio_flush; aio_read -P 4 0 64k; aio_flush; aio_write -C 0 4k; aio_flush; "
                    "aio_write -q 0 512; aio_flush",
    "space": "write 0 64k; discard 0 64k; discard -C 0 64k; discard -q 0 64k; flush; length; map; alloc 0; alloc 0 64k; "
             "alloc 64k 128k; truncate 2M; length; truncate -m full 3M; info; map; alloc 1M 64; truncate 9",
    "files": "close; length; open a.qcow2; length; open b.qcow2; open -r a.qcow2; close; close",
    "ranges": "read 0 -1; readv 0 1g 2g; readv 0 1g 1g 1g; aio_read 0 3g; aio_write 0 3g; aio_write -z 0 3g; aio_flush; read 0 3g; "
              "write -z 0 3g; alloc -1; alloc 2M; alloc 0 2M; read 9e 1; read 9EB 1; read 16E 1; read 1e3 1; read . 1; read nan 1; "
              "read 0x10 0x10; read 010 1; read 1.5k 512; read -- 0 1; write 0 4k -q; write -qP 5 0 4k; aio_write -z 0 4k 4k",
    "contradictions": "write -r -z 0 4k; aio_write -r -z 0 4k; read -b -r 0 512; write -b -z 0 4k; write -b 100 4k; read -b 0 5; "
                      "write -f -b 0 4k; write -f -c 0 4k; write -s a.qcow2 -P 3 0 4k; aio_write -u 0 4k; aio_write -P 3 -z 0 4k",
    "registered": "write -r 0 64k; read -r -P 0xcd 0 64k; writev -r -P 3 0 4k 4k; readv -r -P 3 0 4k 4k; write -r -c 128k 64k",
    "counts": "r 0; w; o; flush 1; aio_flush 1; quit 1",
    "more counts": "map x; length x; info x; sleep; break x; remove_break; sigraise; truncate; abort x; close 1; zone_report 0; zap 0",
    "file as pattern": "write -s / 0 4k; write -s /dev/null 0 4k; write -s r.raw 64k 4k; read -P 0 64k 4k",
    "zones": "zone_append 0 4k 5; zone_append 0 4k x; zone_append x 4k 4k; zone_append 2M 4k 4k; zone_append 0 2g 2g; "
             "zone_append -p 0 4k; zone_append 0 4k; zone_report 0 1; zone_report -1 4; zone_report 0 4294967296; zone_open 1M 1; "
             "zone_open 0 2M; zone_open -x 1; zone_close 0 4k; zone_finish 0 4k; zone_reset 0 4k; zrs 0 4k; zo 0 x; zc 0 1; zf 0 1",
    "asynchronous failures": "aio_write 2M 4k; aio_flush; aio_read 2M 4k; aio_flush; aio_read -P 3 0 4k; aio_flush; aio_read -i 0 4k; "
                             "aio_write -i 0 4k; aio_write -i -z 0 4k; aio_write -x 0 4k; aio_write x 4k; aio_read; aio_read 0",
    "truncations": "truncate -m foo 1M; truncate -m metadata 3M; map; truncate -m falloc 4M; truncate 1M; map; truncate -x 1M; "
                   "truncate -m off 2M; length",
    "caches": "reopen -c foo; reopen -c unsafe; write 0 4k; flush; reopen -c directsync; write 0 4k; reopen -x; reopen a; reopen -c",
    "open's options": "close; open -r a.qcow2; write 0 4k; close; open -n a.qcow2; write 0 4k; close; open -s a.qcow2; "
                      "write -P 77 0 4k; read -P 77 0 4k; close; open a.qcow2; read -P 77 0 4k; close; open -C a.qcow2; read 0 4k; "
                      "close; open -t foo a.qcow2; open -i foo a.qcow2; open -d foo a.qcow2; open -d off a.qcow2; discard 0 64k; "
                      "close; open -U a.qcow2; open -o driver=qcow2 a.qcow2; length; close; open -o driver=foo a.qcow2; open a b; "
                      "open -o driver=null-co,size=1M,read-zeroes=on; length; read -P 0 0 4k; write 0 4k; close; open -C -r a.qcow2",
    "signals": "sigraise x; sigraise 99; sigraise 1k; sigraise 0; sigraise 65; sleep 1; sleep x; sleep -1; sigraise 15",
    "breakpoints": "break write_aio A; remove_break A; resume A; quit; length",
    "reopen": "reopen; write 0 4k; reopen -r; write 0 1; length",
    "reopen and write": "reopen -r; reopen -w; write 0 1; reopen -o lazy-refcounts=on; write 512k 1; read 0 4k; reopen -r -w",
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_commands(pair, name):
    commands = " ".join(f"-c '{c.strip()}'" for c in SCRIPTS[name].split(";"))
    pair.same(f"{commands} a.qcow2", times_masked)
    check = run([qemu_tool("qemu-img"), "check", "-q", "a.qcow2"], cwd=pair.nandu.folder)
    assert check.status == 0
    qemu_img = qemu_tool("qemu-img")
    assert run([qemu_img, "compare", "-q", pair.qemu.folder / "a.qcow2", "a.qcow2"], cwd=pair.nandu.folder).status == 0


OPTIONS = ("-c length nofile", "-r -c 'write 0 1' a.qcow2", "-r -c 'read 0 1' a.qcow2", "-f raw -c length r.raw",
           "-n -c 'write 0 4k' a.qcow2", "-t foo -c length a.qcow2", "-t writethrough -c 'write 0 512' a.qcow2",
           "-d ignore -c 'discard 0 64k' a.qcow2", "--image-opts -c length driver=qcow2,file.filename=a.qcow2",
           "-C -c 'read 0 4k' a.qcow2", "-U -r -c length a.qcow2", "-k -n -c 'read 0 4k' a.qcow2",
           "-i threads -c 'read 0 4k' a.qcow2", "-i io_uring -c 'read 0 4k' a.qcow2", "-m -c 'write 0 4k' a.qcow2",
           "--object secret,id=x,data=y -c length a.qcow2", "a.qcow2", "-i foo a.qcow2", "-d foo a.qcow2", "-f foo a.qcow2",
           "-U -c length a.qcow2", "-C -r a.qcow2", "-C -s -c 'write 0 4k' a.qcow2", "-s -r -c 'write 0 4k' a.qcow2", "-n -m -c "
           "'write 0 4k' a.qcow2", "-k a.qcow2", "--image-opts -f raw a.qcow2", "--object foo a.qcow2", "--object secret a.qcow2",
           "-c 'open -o driver=qcow2,file.filename=a.qcow2' -c length")


@pytest.mark.parametrize("line", OPTIONS)
def test_options(pair, line):
    pair.same(line, times_masked)


def test_temporary_snapshot(pair):
    pair.same("-s -c 'write -P 1 0 4k' -c 'read -P 1 0 4k' a.qcow2", times_masked, 0)
    pair.same("-c 'read -P 1 0 4k' a.qcow2", times_masked, 1)


def test_interactive(pair, tmp_path):
    for side in (pair.qemu, pair.nandu):
        done = run([side.path, "a.qcow2"], stdin="length\nwrite 0 4k\nfoo\nquit\n", cwd=side.folder)
        text = times_masked(done.text)
        assert text.startswith("qemu-io> 1 MiB\nqemu-io> wrote 4096/4096 bytes at offset 0\n4 KiB, 1 ops; TIME\n"), text
        assert done.error == 'command "foo" not found\n'


def test_help_lists_all(pair):
    ours = pair.nandu.run("-c help a.qcow2").text.splitlines()
    theirs = pair.qemu.run("-c help a.qcow2").text.splitlines()
    missing = [line for line in theirs if line not in ours]
    assert not missing, missing


def test_held_requests(pair):
    """blkdebug holds a write until it is told to go on."""
    script = " ".join(f"-c '{c}'" for c in ("break write_aio A", "aio_write -P 7 0 4k", "wait_break A", "read -P 0 64k 4k",
                                            "resume A", "aio_flush", "read -P 7 0 4k", "resume A", "remove_break A"))
    pair.same(f"--image-opts {script} driver=qcow2,file.driver=blkdebug,file.image.driver=file,file.image.filename=a.qcow2",
              times_masked)


class Terminal:
    """A program on a pseudo-terminal."""

    def __init__(self, *command, cwd):
        self.pid, self.fd = pty.fork()
        if not self.pid:
            os.chdir(cwd)
            os.execv(command[0], command)
        self.text = b""

    def read(self, until, seconds=30):
        """What came since the last call, up to and with the text."""
        end = time.monotonic() + seconds
        while until not in self.text:
            if not select.select([self.fd], [], [], max(0, end - time.monotonic()))[0]:
                raise AssertionError((until, self.text))
            try:
                self.text += os.read(self.fd, 4096)
            except OSError:
                raise AssertionError((until, self.text)) from None
        got, self.text = self.text.split(until, 1)
        return got

    def write(self, text):
        os.write(self.fd, text)

    def status(self):
        """The exit status, when it has ended."""
        try:
            while os.read(self.fd, 4096):
                pass
        except OSError:
            pass
        status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        os.close(self.fd)
        return status


def test_terminal(pair):
    """Lines are edited, come back from the history, and are completed."""
    t = Terminal(pair.nandu.path, "a.qcow2", cwd=pair.nandu.folder)
    t.read(b"qemu-io> ")
    t.write(b"lengthh\x7f\r")
    assert b"1 MiB" in t.read(b"qemu-io> ")
    t.write(b"write 0 4k\rread -P 0xcd 0 4k\r")      # the second one is typed ahead
    assert b"wrote 4096/4096" in t.read(b"qemu-io> ")
    assert b"read 4096/4096" in t.read(b"qemu-io> ")
    t.write(b"\x1b[A\x1b[A\x1b[A\r")                  # three lines back
    assert b"1 MiB" in t.read(b"qemu-io> ")
    t.write(b"foo\x03")                              # given up
    t.read(b"qemu-io> ")
    t.write(b"le\t\r")
    assert b"1 MiB" in t.read(b"qemu-io> ")
    t.write(b"sig\t0\x15nonsense\r")
    assert b'command "nonsense" not found' in t.read(b"qemu-io> ")
    t.write(b"\x04")                                 # the end; a line has failed
    assert t.status() == 1


@pytest.mark.parametrize("end,status", [(b"quit\r", 0), (b"\x04", 0), (b"sigraise 15\r", -15)])
def test_terminal_ends(pair, end, status):
    t = Terminal(pair.nandu.path, cwd=pair.nandu.folder)
    t.read(b"qemu-io> ")
    t.write(end)
    assert t.status() == status
