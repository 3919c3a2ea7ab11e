"""LUKS images by nandu-img, qemu-img and cryptsetup, each reading what the others made: ciphers, hashes, key slots, detached
headers; and qcow2 images with the old AES encryption."""

import os
import random
import re
import shutil
import struct

import pytest
from conftest import build_folder, run
from test_img import qemu_tool

SECRET = ["--object", "secret,id=s,data=letmein"]
OTHER = ["--object", "secret,id=n,data=sesame"]
SIZE = 200 << 10


@pytest.fixture
def nandu_img():
    return os.path.join(build_folder(), "nandu-img")


@pytest.fixture
def qemu_img():
    return qemu_tool("qemu-img")


def good(*command):
    done = run(command)
    assert done.status == 0, (command, done)
    return done


@pytest.fixture(scope="module")
def cryptsetup():
    path = shutil.which("cryptsetup", path=os.environ["PATH"] + ":/sbin:/usr/sbin")
    if not path:
        pytest.skip("cryptsetup is not installed")

    def call(*arguments, password="letmein"):
        return run([path, "-q", *map(str, arguments)], stdin=password)
    return call


@pytest.fixture
def disk(tmp_path):
    path = tmp_path / "disk.raw"
    path.write_bytes(random.Random(5).randbytes(SIZE))
    return path


# cipher, mode with IVs, bits of the key, hash: what QEMU knows and cryptsetup can name. qemu-img can't use keys of 192 bits.
KINDS = [
    ("aes", "xts-plain64", 256, "sha256"), ("aes", "xts-plain64", 512, "sha512"), ("aes", "xts-plain", 512, "sha1"),
    ("aes", "cbc-essiv:sha256", 256, "sha256"), ("aes", "cbc-plain", 128, "ripemd160"), ("aes", "cbc-plain64", 256, "sha1"),
    ("aes", "cbc-plain64", 192, "sha256"), ("aes", "ecb", 256, "sha256"),
    ("serpent", "xts-plain64", 512, "sha512"), ("serpent", "cbc-essiv:sha256", 256, "sha256"),
    ("serpent", "cbc-plain64", 128, "sha256"), ("twofish", "xts-plain64", 256, "sha256"),
    ("twofish", "cbc-plain64", 256, "ripemd160"), ("cast5", "cbc-plain64", 128, "sha256"),
]


def is_known_to_cryptsetup(done):
    """Ciphers that it has only by the kernel aren't there without that."""
    return not re.search("not available|not supported|cannot be used|Cannot initialize|setup failed", done.error, re.I)


@pytest.mark.parametrize("cipher,mode,bits,digest", KINDS)
def test_made_by_cryptsetup(cryptsetup, nandu_img, qemu_img, disk, tmp_path, cipher, mode, bits, digest):
    """The header is cryptsetup's; the data are written by one program and read by the other."""
    image, back = tmp_path / "image.luks", tmp_path / "back.raw"
    with open(image, "wb") as f:
        f.truncate(SIZE + (4 << 20))
    done = cryptsetup("luksFormat", "--type", "luks1", "--cipher", f"{cipher}-{mode}", "--key-size", bits, "--hash", digest,
                      "--pbkdf-force-iterations", 1000, image)
    if done.status:
        assert is_known_to_cryptsetup(done) is False, done
        pytest.skip(f"cryptsetup: {done.error.strip()}")
    dump = cryptsetup("luksDump", image).text
    payload = int(re.search(r"Payload offset:\s*(\d+)", dump).group(1)) * 512
    os.truncate(image, payload + SIZE)
    options = f"driver=luks,key-secret=s,file.filename={image}"
    good(nandu_img, "convert", "-n", *SECRET, "--image-opts", "--target-image-opts", f"driver=raw,file.filename={disk}", options)
    good(nandu_img, "convert", *SECRET, "--image-opts", "-O", "raw", options, back)
    assert back.read_bytes() == disk.read_bytes()
    if bits % 192 and mode != "ecb":        # a mode without IVs is one of which qemu-img wants a name
        good(qemu_img, "convert", *SECRET, "--image-opts", "-O", "raw", options, back)
        assert back.read_bytes() == disk.read_bytes()
    told = good(nandu_img, "info", *SECRET, "--image-opts", options).text
    assert f"payload offset: {payload}" in told and f"hash alg: {digest}" in told, told


CREATE = ["", "cipher-alg=aes-128,cipher-mode=cbc,ivgen-alg=essiv", "cipher-alg=aes-256,cipher-mode=cbc,ivgen-alg=plain",
          "cipher-alg=serpent-256,hash-alg=sha512", "cipher-alg=twofish-256,hash-alg=ripemd160", "hash-alg=sha1"]


@pytest.mark.parametrize("options", CREATE)
def test_opened_by_cryptsetup(cryptsetup, nandu_img, tmp_path, options):
    image = tmp_path / "image.luks"
    if "essiv" in options:
        options = options.replace("aes-128", "aes-256")
    good(nandu_img, "create", "-q", *SECRET, "-f", "luks", "-o", "key-secret=s,iter-time=10" + (options and "," + options), image,
         "1M")
    dump = cryptsetup("luksDump", image)
    assert dump.status == 0 and "Key Slot 0: ENABLED" in dump.text and "Key Slot 1: DISABLED" in dump.text
    done = cryptsetup("open", "--test-passphrase", image)
    if done.status and not is_known_to_cryptsetup(done):
        pytest.skip(f"cryptsetup: {done.error.strip()}")
    assert done.status == 0, done
    assert cryptsetup("open", "--test-passphrase", image, password="wrong").status == 2


CROSS = ["cipher-alg=cast5-128,cipher-mode=cbc,ivgen-alg=plain64", "cipher-alg=serpent-128,cipher-mode=xts,hash-alg=sha1",
         "cipher-alg=serpent-256,cipher-mode=cbc,ivgen-alg=essiv", "cipher-alg=twofish-256,cipher-mode=cbc,ivgen-alg=plain",
         "cipher-alg=twofish-128,cipher-mode=xts,hash-alg=ripemd160", "cipher-alg=aes-128,cipher-mode=ecb"]


@pytest.mark.parametrize("options", CROSS)
def test_crosswise(nandu_img, qemu_img, disk, tmp_path, options):
    image, back = tmp_path / "image.luks", tmp_path / "back.raw"
    for maker, reader in ((nandu_img, qemu_img), (qemu_img, nandu_img)):
        image.unlink(missing_ok=True)
        good(maker, "convert", *SECRET, "-f", "raw", "-O", "luks", "-o", f"key-secret=s,iter-time=10,{options}", disk, image)
        good(reader, "convert", *SECRET, "--image-opts", "-O", "raw", f"driver=luks,key-secret=s,file.filename={image}", back)
        assert back.read_bytes() == disk.read_bytes(), maker


def opens(nandu_img, cryptsetup, image, secrets, words):
    """Which of the passwords do, by nandu-img and by cryptsetup, which agree."""
    ours = [run([nandu_img, "compare", *SECRET, *OTHER, "--image-opts", f"driver=luks,key-secret={s},file.filename={image}",
                 f"driver=luks,key-secret={s},file.filename={image}"]).status == 0 for s in secrets]
    assert ours == [cryptsetup("open", "--test-passphrase", image, password=w).status == 0 for w in words]
    return ours


def test_slots(cryptsetup, nandu_img, tmp_path):
    """Slots that nandu-img and cryptsetup fill and erase."""
    image = tmp_path / "image.luks"

    def slots():
        return "".join(re.findall(r"Key Slot \d: (.)", cryptsetup("luksDump", image).text))

    def amend(options, secret="s"):
        return run([nandu_img, "amend", *SECRET, *OTHER, "--image-opts", "-o", options,
                    f"driver=luks,key-secret={secret},file.filename={image}"])

    def passwords():
        return opens(nandu_img, cryptsetup, image, "sn", ["letmein", "sesame"])

    good(nandu_img, "create", "-q", *SECRET, "-f", "luks", "-o", "key-secret=s,iter-time=10", image, "1M")
    assert amend("state=active,new-secret=n,iter-time=10,keyslot=5").status == 0
    assert (slots(), passwords()) == ("EDDDDEDD", [True, True])
    assert "Refusing to overwrite active keyslot 5" in amend("state=active,new-secret=n,keyslot=5").error
    assert cryptsetup("luksKillSlot", image, 0, password="sesame").status == 0
    assert (slots(), passwords()) == ("DDDDDEDD", [False, True])
    assert "the only active keyslot" in amend("state=inactive,keyslot=5", "n").error
    assert "All the active keyslots match" in amend("state=inactive,old-secret=n", "n").error
    key = tmp_path / "new"
    key.write_text("letmein")
    assert cryptsetup("luksAddKey", "--key-slot", 7, "--pbkdf-force-iterations", 1000, image, key,
                      password="sesame").status == 0
    assert (slots(), passwords()) == ("DDDDDEDE", [True, True])
    assert amend("state=inactive,old-secret=n").status == 0
    assert (slots(), passwords()) == ("DDDDDDDE", [True, False])
    assert "is already erased" in amend("state=inactive,keyslot=2").error


def test_detached_header(nandu_img, qemu_img, disk, tmp_path):
    header, data, back = tmp_path / "header.luks", tmp_path / "data", tmp_path / "back.raw"
    good(nandu_img, "create", "-q", *SECRET, "-f", "luks", "-o", "key-secret=s,iter-time=10,detached-header=on", header, "1M")
    data.write_bytes(bytes(SIZE))
    options = f"driver=luks,key-secret=s,file.filename={data},header.driver=file,header.filename={header}"
    for writer, reader in ((nandu_img, qemu_img), (qemu_img, nandu_img)):
        good(writer, "convert", "-n", *SECRET, "--image-opts", "--target-image-opts", f"driver=raw,file.filename={disk}", options)
        good(reader, "convert", *SECRET, "--image-opts", "-O", "raw", options, back)
        assert back.read_bytes() == disk.read_bytes()
        assert "detached header: true" in good(reader, "info", *SECRET, "--image-opts", options).text
        disk.write_bytes(random.Random(6).randbytes(SIZE))


def test_old_aes(nandu_img, qemu_img, disk, tmp_path):
    """The password's first bytes are the key; sector numbers are the disk's."""
    image, back = tmp_path / "image.qcow2", tmp_path / "back.raw"
    qemu_io, nandu_io = qemu_tool("qemu-io"), nandu_img.replace("nandu-img", "nandu-io")
    key = "encrypt.format=aes,encrypt.key-secret=s"
    options = f"driver=qcow2,{key},file.filename={image}"
    for long in (SECRET, ["--object", "secret,id=s,data=0123456789abcdefXYZ"]):
        for one, other in ((nandu_img, qemu_img), (qemu_img, nandu_img)):
            image.unlink(missing_ok=True)
            good(one, "convert", *long, "-f", "raw", "-O", "qcow2", "-o", key, disk, image)
            assert struct.unpack_from(">I", image.read_bytes(), 32) == (1,)
            good(other, "convert", *long, "--image-opts", "-O", "raw", options, back)
            assert back.read_bytes()[:SIZE] == disk.read_bytes()
            for tool in (nandu_io, qemu_io):
                commands = [x for c in ("write -P 5 100 5000", "write -z 64k 64k", "read -P 5 100 5000") for x in ("-c", c)]
                good(tool, *long, "--image-opts", *commands, options)
            same = [good(tool, "convert", *long, "--image-opts", "-O", "raw", options, back) and back.read_bytes()
                    for tool in (one, other)]
            assert same[0] == same[1]
            good(nandu_img, "check", *long, "--image-opts", options)
    good(nandu_img, "create", "-q", *SECRET, "-f", "qcow2", "-o", "encryption=on,encrypt.key-secret=s", image, "1M")
    assert "format: aes" in good(qemu_img, "info", image).text


MEASURED = ["", "encrypt.format=luks,encrypt.key-secret=s", "encrypt.format=aes,encrypt.key-secret=s",
            "encrypt.format=luks,encrypt.key-secret=s,cluster_size=2M,encrypt.cipher-alg=aes-128"]


@pytest.mark.parametrize("options", MEASURED)
def test_measure(nandu_img, qemu_img, options):
    texts = [good(tool, "measure", *SECRET, "-O", "qcow2", *(["-o", options] if options else []), "--size", "10M").text
             for tool in (nandu_img, qemu_img)]
    assert texts[0] == texts[1]


@pytest.mark.parametrize("fmt,prefix", [("luks", ""), ("qcow2", "encrypt.")])
def test_large_requests(nandu_img, tmp_path, fmt, prefix):
    """Requests that are encrypted in threads of the pool, many at once, with neighbours in the same clusters."""
    image = tmp_path / "image"
    luks = ",encrypt.format=luks" if prefix else ""
    good(nandu_img, "create", "-q", *SECRET, "-f", fmt, "-o", f"{prefix}key-secret=s,{prefix}iter-time=10{luks}", image, "32M")
    starts = [i * 1234567 for i in range(20)]
    lengths = [1 << 20 if i % 2 else 700001 for i in range(20)]
    writes = [f"aio_write -P {i + 1} {at} {n}" for i, (at, n) in enumerate(zip(starts, lengths))]
    reads = [f"read -P {i + 1} {at} {n}" for i, (at, n) in enumerate(zip(starts, lengths))]
    commands = [*writes, "aio_flush", *reads, *[r.replace("read", "aio_read") for r in reads], "aio_flush"]
    done = good(nandu_img.replace("nandu-img", "nandu-io"), *SECRET, "--image-opts", *[x for c in commands for x in ("-c", c)],
                f"driver={fmt},{prefix}key-secret=s{luks},file.filename={image}")
    assert "failed" not in done.text, done.text
