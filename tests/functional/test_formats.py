"""Images of vdi, vpc, vmdk, vhdx, qed and luks: converted by nandu-img and by qemu-img, each reads what the other one made;
kinds that QEMU only reads, made here byte by byte; logs that have to be replayed; damaged images."""

import os
import random
import shutil
import struct

import pytest
from conftest import build_folder, run

SIZE = 6 << 20
FORMATS = [
    ("vdi", ""), ("vdi", "static=on"), ("vpc", "force_size=on"), ("vpc", "subformat=fixed,force_size=on"),
    ("vmdk", ""), ("vmdk", "subformat=monolithicFlat"), ("vmdk", "subformat=twoGbMaxExtentSparse"),
    ("vmdk", "subformat=twoGbMaxExtentFlat"), ("vmdk", "subformat=streamOptimized"), ("vmdk", "zeroed_grain=on"),
    ("vmdk", "adapter_type=lsilogic,compat6=on"), ("vhdx", ""), ("vhdx", "subformat=fixed"),
    ("vhdx", "block_size=1M,log_size=2M"), ("qed", ""), ("qed", "cluster_size=4k,table_size=8"),
]
SECRET = ["--object", "secret,id=s,data=letmein"]


@pytest.fixture(name="nandu_img")
def fixture_nandu_img(tmp_path):
    path = tmp_path / "nandu-img"
    os.symlink(os.path.join(build_folder(), "nandu-img"), path)
    return str(path)


@pytest.fixture(name="qemu_img")
def fixture_qemu_img():
    path = shutil.which("qemu-img")
    if not path:
        pytest.skip("qemu-img is not installed")
    return path


def good(*command):
    done = run(command)
    assert done.status == 0, (command, done)
    return done


def make_disk(path, seed):
    """Data, zeroes and holes, some of them in the middle of blocks."""
    dice = random.Random(seed)
    disk = bytearray(SIZE)
    for _ in range(12):
        size = dice.choice([512, 4096, 70000, 300000])
        at = dice.randrange(0, SIZE - size)
        disk[at:at + size] = dice.randbytes(size)
    path.write_bytes(disk)


@pytest.mark.parametrize("fmt,options", FORMATS)
def test_both_ways(fmt, options, nandu_img, qemu_img, tmp_path):
    raw = tmp_path / "disk.raw"
    make_disk(raw, f"{fmt}{options}")
    with_options = ["-o", options] if options else []
    for maker, reader in ((nandu_img, qemu_img), (qemu_img, nandu_img)):
        image = tmp_path / f"image-{os.path.basename(maker)}.{fmt}"
        back = tmp_path / "back.raw"
        good(maker, "convert", "-f", "raw", "-O", fmt, *with_options, raw, image)
        good(reader, "convert", "-f", fmt, "-O", "raw", image, back)
        assert back.read_bytes() == raw.read_bytes(), maker
        good(reader, "compare", "-f", "raw", "-F", fmt, raw, image)


@pytest.mark.parametrize("size", ["1M", "100M", "127G", "1000000", "2040G", "3T"])
@pytest.mark.parametrize("options", ["subformat=dynamic", "force_size=on"])
def test_vpc_sizes(size, options, nandu_img, qemu_img, tmp_path):
    """Sizes that have a geometry: the same as QEMU's, and what is too large is refused."""
    def virtual_size(tool):
        image = tmp_path / "image.vpc"
        done = run([tool, "create", "-f", "vpc", "-o", options, image, size])
        return done.status, image.read_bytes()[40:60] if done.status == 0 else b""

    assert virtual_size(nandu_img) == virtual_size(qemu_img)


def test_luks(nandu_img, qemu_img, tmp_path):
    raw, back = tmp_path / "disk.raw", tmp_path / "back.raw"
    make_disk(raw, "luks")
    for maker, reader in ((nandu_img, qemu_img), (qemu_img, nandu_img)):
        for fmt, prefix, more in (("luks", "", ""), ("qcow2", "encrypt.", ",encrypt.format=luks")):
            image = tmp_path / f"image-{os.path.basename(maker)}.{fmt}"
            good(maker, "convert", *SECRET, "-f", "raw", "-O", fmt, "-o",
                 f"{prefix}key-secret=s,{prefix}iter-time=10{more}", raw, image)
            good(reader, "convert", *SECRET, "--image-opts", "-O", "raw",
                 f"driver={fmt},{prefix}key-secret=s{more},file.filename={image}", back)
            assert back.read_bytes() == raw.read_bytes(), (maker, fmt)
            assert b"letmein" not in image.read_bytes()


def test_luks_slots(nandu_img, qemu_img, tmp_path):
    image = tmp_path / "image.luks"
    new = ["--object", "secret,id=n,data=sesame"]
    good(nandu_img, "create", *SECRET, "-f", "luks", "-o", "key-secret=s,iter-time=10", image, "1M")
    good(nandu_img, "amend", *SECRET, *new, "--image-opts", "-o", "state=active,new-secret=n,iter-time=10",
         f"driver=luks,key-secret=s,file.filename={image}")
    good(qemu_img, "amend", *SECRET, *new, "--image-opts", "-o", "state=inactive,old-secret=s",
         f"driver=luks,key-secret=n,file.filename={image}")
    opened = [run([nandu_img, "convert", *SECRET, *new, "--image-opts", "-O", "raw",
                   f"driver=luks,key-secret={secret},file.filename={image}", tmp_path / "out"]) for secret in "sn"]
    assert [done.status for done in opened] == [1, 0], opened
    assert "Invalid password" in opened[0].error


def test_qcow2_slots(nandu_img, qemu_img, tmp_path):
    image = tmp_path / "image.qcow2"
    new = ["--object", "secret,id=n,data=sesame"]
    opts = "driver=qcow2,encrypt.format=luks,encrypt.key-secret={},file.filename=" + str(image)
    good(nandu_img, "create", *SECRET, "-f", "qcow2", "-o",
         "encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10", image, "1M")
    good(nandu_img, "amend", *SECRET, *new, "--image-opts", "-o",
         "encrypt.state=active,encrypt.new-secret=n,encrypt.iter-time=10", opts.format("s"))
    for tool in (qemu_img, nandu_img):
        good(tool, "convert", *new, "--image-opts", "-O", "raw", opts.format("n"), tmp_path / "out")
        good(tool, "check", *new, "--image-opts", opts.format("n"))


# Kinds that nobody but ESX makes.

def make_cowd():
    """1 MiB, grains of a sector, of which the first and the 2000th are there."""
    head = b"COWD" + struct.pack("<7I", 1, 3, 2048, 1, 4, 1, 100) + bytes(16)
    directory, table = struct.pack("<I", 5), bytearray(4096 * 4)
    table[0:4] = struct.pack("<I", 37)
    table[8000:8004] = struct.pack("<I", 38)
    return head.ljust(2048, b"\0") + directory.ljust(512, b"\0") + bytes(table) + b"A" * 512 + b"B" * 512


def make_sesparse():
    """16 MiB, grains of 4 KiB: the first one, one of zeroes, and the 5th."""
    words = [0xcafebabe, 0x0000000200000001, 32768, 8, 64, 0, 0, 0, 0, 0, 1, 1, 2, 1, 3, 1, 8, 8, 16, 64, 80, 1, 81, 1,
             128, 64]
    header = struct.pack(f"<{len(words)}Q", *words).ljust(512, b"\0")
    volatile = struct.pack("<3Q", 0xcafecafe, 0, 0).ljust(512, b"\0")
    directory = struct.pack("<Q", 0x1000000000000000).ljust(8 * 512, b"\0")
    table = bytearray(64 * 512)
    table[0:8] = struct.pack("<Q", 0x3000000000000000)
    table[8:16] = struct.pack("<Q", 0x2000000000000000)
    table[32:40] = struct.pack("<Q", 0x3000000000000000 | 1 << 48)
    data = bytearray(128 * 512 + 64 * 512)
    for at, part in ((0, header), (512, volatile), (8 * 512, directory), (16 * 512, table),
                     (128 * 512, b"C" * 4096 + b"D" * 4096)):
        data[at:at + len(part)] = part
    return bytes(data)


def descriptor(kind, line):
    return (f'# Disk DescriptorFile\nversion=1\nCID=12345678\nparentCID=ffffffff\ncreateType="{kind}"\n'
            f'{line}\n').encode()


@pytest.mark.parametrize("kind", ["vmfsSparse", "seSparse", "vmfs"])
def test_esx(kind, nandu_img, qemu_img, tmp_path):
    extents = {"vmfsSparse": ("VMFSSPARSE", make_cowd(), 2048), "seSparse": ("SESPARSE", make_sesparse(), 32768),
               "vmfs": ("VMFS", random.Random(1).randbytes(1 << 20), 2048)}
    name, data, sectors = extents[kind]
    (tmp_path / "extent").write_bytes(data)
    (tmp_path / "image.vmdk").write_bytes(descriptor(kind, f'RW {sectors} {name} "extent"'))
    for tool in ("nandu", "qemu"):
        good(nandu_img if tool == "nandu" else qemu_img, "convert", "-f", "vmdk", "-O", "raw", tmp_path / "image.vmdk",
             tmp_path / tool)
    ours = (tmp_path / "nandu").read_bytes()
    assert ours == (tmp_path / "qemu").read_bytes()
    assert len(ours) == sectors * 512 and any(ours)


def test_stream_with_footer(nandu_img, qemu_img, tmp_path):
    """A stream that was written without going back: only its footer says where the directory is."""
    raw, image = tmp_path / "disk.raw", tmp_path / "image.vmdk"
    make_disk(raw, "footer")
    good(nandu_img, "convert", "-f", "raw", "-O", "vmdk", "-o", "subformat=streamOptimized", raw, image)
    data = bytearray(image.read_bytes())
    header = bytes(data[:512])
    data[56:64] = b"\xff" * 8
    data += struct.pack("<QII", 1, 0, 3).ljust(512, b"\0") + header + bytes(512)
    image.write_bytes(data)
    for tool in (nandu_img, qemu_img):
        good(tool, "convert", "-f", "vmdk", "-O", "raw", image, tmp_path / "back")
        assert (tmp_path / "back").read_bytes() == raw.read_bytes()


# VHDX: a log that wasn't replayed.

def crc32c(data):
    crc = 0xffffffff
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82f63b78 if crc & 1 else 0)
    return crc ^ 0xffffffff


def seal(data):
    return data[:4] + struct.pack("<I", crc32c(data[:4] + bytes(4) + data[8:])) + data[8:]


def put_log(image, at, sector):
    """A log entry that writes sector at at, as if the machine had stopped before it was written."""
    data = bytearray(image.read_bytes())
    guid = bytes(range(16))
    for place in (64 << 10, 128 << 10):
        header = data[place:place + 4096]
        header[48:64] = guid
        data[place:place + 4096] = seal(bytes(header))
        log, = struct.unpack_from("<Q", header, 72)
    entry = struct.pack("<4sIIIQII16sQQ", b"loge", 0, 8192, 0, 7, 1, 0, guid, len(data), len(data))
    entry += struct.pack("<4sIQQQ", b"desc", struct.unpack("<I", sector[4092:])[0], struct.unpack("<Q", sector[:8])[0], at, 7)
    entry = entry.ljust(4096, b"\0") + b"data" + struct.pack("<I", 0) + sector[8:4092] + struct.pack("<I", 7)
    data[log:log + 8192] = seal(entry)
    image.write_bytes(data)


@pytest.mark.parametrize("tool", ["nandu", "qemu"])
def test_vhdx_log(tool, nandu_img, qemu_img, tmp_path):
    raw, image = tmp_path / "disk.raw", tmp_path / "image.vhdx"
    make_disk(raw, "log")
    good(nandu_img if tool == "nandu" else qemu_img, "convert", "-f", "raw", "-O", "vhdx", raw, image)
    data = bytearray(image.read_bytes())
    regions = [struct.unpack_from("<16sQII", data, (192 << 10) + 16 + 32 * i) for i in range(2)]
    bat = next(offset for guid, offset, _, _ in regions if guid[:4] == bytes.fromhex("6677c22d"))
    sector = bytes(data[bat:bat + 4096])
    assert any(sector)
    data[bat:bat + 4096] = bytes(4096)
    image.write_bytes(data)
    put_log(image, bat, sector)
    for theirs in (False, True):
        done = run([qemu_img if theirs else nandu_img, "convert", "-f", "vhdx", "-O", "raw", image, tmp_path / "back"])
        assert done.status == 1 and "log that needs to be replayed" in done.error
    done = run([nandu_img, "check", "-f", "vhdx", "-r", "all", image])
    assert done.status == 0, done
    for reader in (nandu_img, qemu_img):
        good(reader, "convert", "-f", "vhdx", "-O", "raw", image, tmp_path / "back")
        assert (tmp_path / "back").read_bytes() == raw.read_bytes()


# Damage.

@pytest.mark.parametrize("fmt,at,value,says", [
    ("vdi", 0x40, b"\0\0\0\0", "signature"),
    ("vdi", 0x180, b"\xff\xff\xff\x1f", "block map"),
    ("vpc", 512, b"x", "dynamic disk header"),
    ("vpc", 512 + 32, b"\0\0\0\3", "block size"),
    ("vmdk", 20, b"\xff" * 8, "granularity"),
    ("vmdk", 12, b"\xff" * 7 + b"\0", "size"),
    ("vhdx", 192 << 10, b"nope", ""),
    ("qed", 4, b"\1\0\0\0", "cluster size"),
    ("qed", 0x28, b"\xff" * 7 + b"\0", "L1 table"),
])
def test_damage(fmt, at, value, says, nandu_img, tmp_path):
    image = tmp_path / f"image.{fmt}"
    good(nandu_img, "create", "-f", fmt, image, "8M")
    with open(image, "r+b") as file:
        file.seek(at)
        file.write(value)
        if fmt == "vhdx":
            file.seek(256 << 10)
            file.write(value)
    done = run([nandu_img, "convert", "-f", fmt, "-O", "raw", image, tmp_path / "out"])
    assert done.status == 1, done
    assert len(done.error.splitlines()) == 1 and str(image) in done.error and says.lower() in done.error.lower(), done


@pytest.mark.parametrize("fmt", ["vdi", "vpc", "vmdk", "vhdx", "qed"])
def test_cut_off(fmt, nandu_img, tmp_path):
    """Of any length: an error, or data; never a signal."""
    image = tmp_path / f"image.{fmt}"
    make_disk(tmp_path / "disk.raw", fmt)
    good(nandu_img, "convert", "-f", "raw", "-O", fmt, tmp_path / "disk.raw", image)
    for length in (0, 100, 512, 4096, 70000, 1 << 20, 3 << 20):
        if length < image.stat().st_size:
            os.truncate(image, length) if length else image.write_bytes(b"")
            done = run([nandu_img, "convert", "-f", fmt, "-O", "raw", image, tmp_path / "out"])
            assert done.status in (0, 1), (length, done)
            good(nandu_img, "convert", "-f", "raw", "-O", fmt, tmp_path / "disk.raw", image)
