"""What goes wrong below images: full disks, read-only file systems, devices, folders, files that shrink, input and
output errors.  One line says what and where, the exit status tells of it, and the image is no worse for it."""

import os
import re
import shutil
import subprocess

import pytest
from conftest import build_folder, run

MiB = 1 << 20
NOBODY = 65534


def tool(name, *arguments, **options):
    return run([os.path.join(build_folder(), f"nandu-{name}"), *arguments], timeout=60, **options)


def img(*arguments, **options):
    return tool("img", *arguments, **options)


def io(path, *commands, options=()):
    return tool("io", *options, *[w for c in commands for w in ("-c", c)], path)


def fails(result, text, status=1):
    assert result.status == status, result
    assert text in result.error, result
    assert result.error.count("\n") == 1, result.error
    assert "GLib" not in result.error and "assertion" not in result.error


def mount(folder, *options):
    folder.mkdir()
    done = run(["mount", "-t", "tmpfs", *options, "none", folder])
    if done.status:
        pytest.skip(f"no right to mount a file system: {done.error.strip()}")
    return folder


@pytest.fixture
def small(tmp_path):
    """A file system of 1 MiB."""
    yield mount(tmp_path / "small", "-o", "size=1M")
    run(["umount", "-l", tmp_path / "small"])


@pytest.fixture
def read_only(tmp_path):
    """A read-only file system with an image of each kind."""
    folder = mount(tmp_path / "read-only")
    assert img("create", "-q", "-f", "qcow2", folder / "a.qcow2", "1M").status == 0
    assert img("create", "-q", "-f", "raw", folder / "a.raw", "1M").status == 0
    assert run(["mount", "-o", "remount,ro", folder]).status == 0
    yield folder
    run(["umount", "-l", folder])


@pytest.fixture
def raw(tmp_path):
    path = tmp_path / "a.raw"
    path.write_bytes(bytes(range(1, 251)) * 33555)
    return path


# ---- Full disks ----

def test_full_disk(small, raw):
    full = "No space left on device"
    fails(img("create", "-q", "-f", "raw", "-o", "preallocation=full", small / "x.raw", "4M"), full)
    os.unlink(small / "x.raw")
    done = img("convert", "-f", "raw", "-O", "qcow2", raw, small / "x.qcow2")
    assert done.status == 1 and re.fullmatch(rf"nandu-img: error while writing at byte \d+: {full}\n", done.error), done


def test_full_disk_later(small):
    image = small / "x.qcow2"
    assert img("create", "-q", "-f", "qcow2", image, "4M").status == 0
    assert io(image, "write -P 1 0 256k", "flush").status == 0
    done = io(image, "write -P 2 256k 2M")
    assert done.status == 1 and "write failed: No space left on device" in done.text
    # Leaks at most, and what was flushed is there.
    assert img("check", "-q", image).status in (0, 3)
    assert io(image, "read -P 1 0 256k", options=["-r"]).status == 0


def test_full_disk_keeps_earlier_writes(small):
    """Tables of what was written before get space: that which the failed write took is given back."""
    image = small / "x.qcow2"
    assert img("create", "-q", "-f", "qcow2", image, "4M").status == 0
    done = io(image, "write -P 1 0 256k", "write -P 2 256k 2M", "flush")
    assert "write failed: No space left on device" in done.text and "Input/output" not in done.text
    assert io(image, "read -P 1 0 256k", options=["-r"]).status == 0
    assert img("check", "-q", image).status in (0, 3)


@pytest.mark.parametrize("mode", ["falloc", "full"])
def test_preallocation(small, tmp_path, mode):
    image = tmp_path / "x.qcow2"
    assert img("create", "-q", "-f", "qcow2", "-o", f"preallocation={mode}", image, "70M").status == 0
    assert os.stat(image).st_blocks * 512 >= 70 * MiB
    assert img("check", "-q", image).status == 0
    assert img("resize", "-q", f"--preallocation={mode}", image, "90M").status == 0
    assert os.stat(image).st_blocks * 512 >= 90 * MiB
    assert img("check", "-q", image).status == 0
    fails(img("create", "-q", "-f", "qcow2", "-o", f"preallocation={mode}", small / "x.qcow2", "4M"), "No space left on device")


# ---- What may not be written ----

@pytest.mark.parametrize("command", ["check -r all", "resize A 2M", "snapshot -c s", "amend -o lazy_refcounts=on",
                                     "commit"])
def test_read_only_file_system(read_only, command):
    image = str(read_only / "a.qcow2")
    words = command.replace("A", image).split()
    if image not in words:
        words.append(image)
    fails(img(*words), f"Could not open '{image}': Read-only file system")


def test_read_only_targets(read_only, raw):
    fails(img("create", "-q", "-f", "qcow2", read_only / "n", "1M"), "/n': Read-only file system")
    fails(img("convert", "-O", "qcow2", "-f", "raw", raw, read_only / "n"), "/n': Read-only file system")
    fails(io(read_only / "a.raw", "write 0 1", options=["-f", "raw"]), "a.raw': Read-only file system")
    assert io(read_only / "a.qcow2", "read 0 4k", options=["-r"]).status == 0
    assert img("info", read_only / "a.qcow2").status == 0


def test_missing_permission(tmp_path, raw):
    if os.geteuid():
        pytest.skip("needs root, to become somebody else")
    for folder in list(raw.parents)[:-1]:
        if folder.stat().st_uid == os.geteuid() and str(folder).startswith("/tmp/"):
            folder.chmod(folder.stat().st_mode | 0o111)
    other = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    program = os.path.join(build_folder(), "nandu-img")
    if run([*other, program, "--version"]).status:
        pytest.skip("nobody may not run the program")
    raw.chmod(0o444)
    fails(run([*other, program, "resize", "-f", "raw", raw, "1M"]), "a.raw': Permission denied")
    fails(run([*other, program, "create", "-q", "-f", "qcow2", raw.parent / "x", "1M"]), "x': Permission denied")
    raw.chmod(0)
    fails(run([*other, program, "info", raw]), "a.raw': Permission denied")


# ---- What isn't a file ----

def test_folder(tmp_path, raw):
    fails(img("info", tmp_path), f"'file' driver requires '{tmp_path}' to be a regular file")
    fails(img("create", "-q", "-f", "qcow2", tmp_path, "1M"), "Is a directory")
    fails(img("convert", "-f", "raw", "-O", "raw", raw, tmp_path), "Is a directory")
    fails(img("info", raw / "x"), "Not a directory")
    fails(img("info", tmp_path / "nothing"), "No such file or directory")


def test_fifo(tmp_path, raw):
    path = tmp_path / "fifo"
    os.mkfifo(path)
    fails(img("info", path), f"'file' driver requires '{path}' to be a regular file")
    fails(io(path, "read 0 1", options=["-f", "raw"]), "to be a regular file")
    assert img("convert", "-f", "raw", "-O", "raw", raw, path).status == 1


def test_character_device():
    done = img("info", "/dev/zero")
    assert done.status == 0 and "virtual size: 0 B" in done.text and "protocol type: host_device" in done.text
    fails(img("info", "--image-opts", "driver=file,filename=/dev/null"), "'/dev/null' to be a regular file")
    fails(img("info", "--image-opts", "driver=host_device,filename=/etc/passwd"),
          "requires '/etc/passwd' to be either a character or block device")
    done = io("/dev/zero", "read 0 512", options=["-r", "-f", "raw"])
    assert done.status == 1 and "read failed: Input/output error" in done.text


@pytest.fixture
def loop_device(tmp_path):
    if not shutil.which("losetup"):
        pytest.skip("losetup is not installed")
    path = tmp_path / "device.img"
    with open(path, "wb") as file:
        file.truncate(16 * MiB)
    done = run(["losetup", "-f", "--show", path])
    if done.status:
        pytest.skip(f"no loop device: {done.error.strip()}")
    yield done.text.strip()
    run(["losetup", "-d", done.text.strip()])


@pytest.mark.parametrize("options", [[], ["-n"], ["-n", "-i", "native"], ["-n", "-i", "io_uring"]])
def test_block_device(loop_device, options):
    done = io(loop_device, "write -P 3 1000 70000", "write -z 64k 64k", "write -z -u 128k 64k", "write -P 4 1M 64k",
              "discard 256k 64k", "write -f -P 5 2M 4k", "flush", "read -P 3 1000 64000", "read -P 0 64k 128k",
              "read -P 4 1M 64k", "read -P 5 2M 4k", "length", options=["-f", "raw", *options])
    if "no Linux AIO" in done.error or "no io_uring" in done.error:
        pytest.skip(done.error)
    assert done.status == 0 and "16 MiB" in done.text and "verification" not in done.text, done


def test_image_on_block_device(loop_device, tmp_path):
    assert img("create", "-q", "-f", "qcow2", loop_device, "64M").status == 0
    assert io(loop_device, "write -P 7 40M 1M", "flush").status == 0
    assert "file format: qcow2" in img("info", loop_device).text
    assert img("check", "-q", loop_device).status == 0
    assert img("convert", "-f", "qcow2", "-O", "raw", loop_device, tmp_path / "out.raw").status == 0
    with open(tmp_path / "out.raw", "rb") as file:
        file.seek(40 * MiB)
        assert file.read(MiB) == b"\7" * MiB
    fails(img("resize", "-f", "raw", loop_device, "32M"), "Cannot grow device files")
    fails(img("create", "-f", "raw", loop_device, "1G"), "Cannot grow device files")


# ---- What changes meanwhile ----

def interact(path, *options):
    program = os.path.join(build_folder(), "nandu-io")
    return subprocess.Popen([program, *options, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, text=True)


def command(process, line, answer):
    process.stdin.write(line + "\n")
    process.stdin.flush()
    text = ""
    while answer not in text:
        more = process.stdout.readline()
        assert more, text
        text += more
    return text


def test_file_shrinks(tmp_path):
    path = tmp_path / "a.raw"
    path.write_bytes(b"\1" * (4 * MiB))
    process = interact(path, "-f", "raw")
    command(process, "read -P 1 0 64k", "64 KiB, 1 ops")
    os.truncate(path, MiB)
    text = command(process, "read -P 0 2M 64k", "64 KiB, 1 ops")    # as of a hole
    assert "verification failed" not in text
    command(process, "write -P 3 3M 64k", "64 KiB, 1 ops")
    command(process, "read -P 3 3M 64k", "64 KiB, 1 ops")
    process.stdin.close()
    assert process.wait(20) == 0


def test_lock_names_holder(tmp_path):
    path = tmp_path / "a.qcow2"
    assert img("create", "-q", "-f", "qcow2", path, "1M").status == 0
    process = interact(path)
    command(process, "read 0 64k", "64 KiB, 1 ops")
    done = img("resize", path, "2M")
    if done.status == 0:
        pytest.skip("nandu-io shares its image")
    fails(done, f"process {process.pid} (nandu-io) uses the image '{path}'")
    process.stdin.close()
    process.wait(20)
    assert img("resize", "-q", path, "2M").status == 0


def test_locks_go_with_the_process(tmp_path):
    """Also those of a file that io_uring knows by a number."""
    path = tmp_path / "a.raw"
    path.write_bytes(b"\1" * MiB)
    for _ in range(5):
        done = io(path, "write -r 0 64k", "close", f"open -o driver=raw {path}", "read -r 0 64k",
                  options=["-f", "raw", "-i", "io_uring"])
        if "no io_uring" in done.error:
            pytest.skip(done.error)
        assert done.status == 0, done
        assert img("resize", "-q", "-f", "raw", path, "1M").status == 0


# ---- Input and output errors ----

@pytest.fixture
def layers(tmp_path):
    base, top = tmp_path / "base.qcow2", tmp_path / "top.qcow2"
    assert img("create", "-q", "-f", "qcow2", base, "4M").status == 0
    assert io(base, "write -P 1 0 4M").status == 0
    assert img("create", "-q", "-f", "qcow2", "-b", base, "-F", "qcow2", top).status == 0
    assert io(top, "write -P 2 1M 1M").status == 0
    return base, top


def failing(path, event, **more):
    rule = {"event": event, **more}
    return f"driver=qcow2,file.driver=blkdebug,file.image.filename={path}," + ",".join(
        f"file.inject-error.0.{k}={v}" for k, v in rule.items())


def test_read_errors(layers, tmp_path):
    _, top = layers
    bad = failing(top, "read_aio")
    out = tmp_path / "out"
    done = img("convert", "--image-opts", "-O", "raw", bad, out)
    assert done.status == 1 and re.search(r"error while reading at byte \d+: Input/output error", done.error), done
    fails(img("compare", "--image-opts", bad, f"driver=qcow2,file.filename={top}"),
          f"Error while reading offset 1048576 of {bad}: Input/output error", 4)
    done = img("convert", "--salvage", "--image-opts", "-O", "raw", bad, out)
    assert done.status == 0 and "warning: error while reading offset" in done.error
    fails(img("measure", "--image-opts", "-O", "qcow2", failing(top, "l2_load")), "Input/output error")
    assert img("commit", "--image-opts", bad).status == 1


@pytest.mark.parametrize("event", ["l2_alloc_write", "l2_update", "refblock_update", "refblock_alloc_write", "write_aio",
                                   "flush_to_os", "flush_to_disk", "l1_update", "cow_write"])
@pytest.mark.parametrize("error", [5, 28])
def test_write_errors(layers, event, error):
    """After whatever failed: nothing that was there is gone, leaks at most."""
    base, top = layers
    tool("io", "--image-opts", "-c", "write -P 3 3000k 50k", "-c", "discard 2M 64k", "-c", "flush",
         failing(top, event, errno=error))
    assert img("check", "-q", top).status in (0, 3)
    assert img("check", "-q", base).status == 0
    done = io(top, "read -P 2 1M 1M", "read -P 1 0 1M", options=["-r"])
    assert done.status == 0 and "verification" not in done.text, done


def test_quorum_needs_a_majority_to_flush(tmp_path):
    paths = [tmp_path / f"{i}.raw" for i in range(3)]
    for path in paths:
        path.write_bytes(bytes(MiB))

    def flush(*bad):
        children = [f"children.{i}.driver=raw,children.{i}.file." +
                    (f"driver=blkdebug,children.{i}.file.image.filename={path},"
                     f"children.{i}.file.inject-error.0.event=flush_to_disk" if i in bad else f"filename={path}")
                    for i, path in enumerate(paths)]
        return tool("io", "--image-opts", "-c", "write 0 4k", "-c", "flush",
                    "driver=quorum,vote-threshold=2," + ",".join(children)).status

    assert flush() == 0
    assert flush(2) == 0
    assert flush(1, 2) == 1
