"""nandu-io against qemu-io: the same commands on the same image, and the same output but for the times."""

import re

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
           "--object secret,id=x,data=y -c length a.qcow2", "a.qcow2",
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
    missing = [line for line in theirs if line not in ours and not line.startswith("zone_")]
    assert not missing, missing


def test_held_requests(pair):
    """blkdebug holds a write until it is told to go on."""
    script = " ".join(f"-c '{c}'" for c in ("break write_aio A", "aio_write -P 7 0 4k", "wait_break A", "read -P 0 64k 4k",
                                            "resume A", "aio_flush", "read -P 7 0 4k", "resume A", "remove_break A"))
    pair.same(f"--image-opts {script} driver=qcow2,file.driver=blkdebug,file.image.driver=file,file.image.filename=a.qcow2",
              times_masked)
