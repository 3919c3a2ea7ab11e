"""Nodes of the block graph: -blockdev, -drive, QMP, and locks that QEMU and Nandu respect of each other."""

import json
import os
import shutil
import subprocess

import pytest
from conftest import build_folder, run
from qmp import Machine

MiB = 1 << 20
ARGUMENTS = ["-nodefaults", "-display", "none", "-S"]


@pytest.fixture
def image(tmp_path):
    path = tmp_path / "disk.img"
    with open(path, "wb") as file:
        file.truncate(8 * MiB)
    return path


@pytest.fixture
def machine(nandu_system, tmp_path):
    with Machine(nandu_system, tmp_path) as m:
        yield m


def file_node(path, name="file0", **more):
    return {"driver": "file", "node-name": name, "filename": str(path), **more}


def add(client, **options):
    client.send({"execute": "blockdev-add", "arguments": options})
    answer = client.answer()
    assert "return" in answer, answer


def add_error(client, **options):
    client.send({"execute": "blockdev-add", "arguments": options})
    return client.answer()["error"]["desc"]


def nodes(client, **arguments):
    return {n["node-name"]: n for n in client.command("query-named-block-nodes", **arguments)}


def refused(nandu_system, *arguments, machine="none"):
    """The message of a start that fails."""
    result = run([nandu_system, "-M", machine, *ARGUMENTS, *arguments], timeout=30)
    assert result.status == 1, result
    assert result.error.count("\n") == 1, result.error
    return result.error.split(": ", 1)[1].rstrip("\n")


# ---- QMP ----

def test_add_and_delete(machine, image):
    client = machine.client()
    add(client, **file_node(image))
    add(client, driver="raw", **{"node-name": "raw0", "file": "file0"})
    seen = nodes(client)
    assert set(seen) == {"file0", "raw0"}
    assert seen["raw0"]["image"]["virtual-size"] == 8 * MiB
    assert seen["raw0"]["image"]["format"] == "raw" and seen["raw0"]["drv"] == "raw"
    assert seen["file0"]["file"] == str(image)
    assert not seen["raw0"]["ro"] and seen["raw0"]["detect_zeroes"] == "off"
    assert client.error("blockdev-del", node_name="file0") == (
        "GenericError", "Node file0 is in use: by node 'raw0'")
    client.command("blockdev-del", node_name="raw0")
    client.command("blockdev-del", node_name="file0")
    assert nodes(client) == {}
    assert client.error("blockdev-del", node_name="file0")[1] == "Failed to find node with node-name='file0'"


def test_children_in_place(machine, image):
    client = machine.client()
    before = machine.descriptors()
    add(client, driver="raw", **{"node-name": "disk", "read-only": True, "cache": {"no-flush": True},
                                 "file": {"driver": "file", "filename": str(image)}})
    seen = nodes(client)
    (child,) = [n for name, n in seen.items() if name != "disk"]
    assert child["node-name"].startswith("#block")
    assert child["ro"] and child["cache"]["no-flush"] and not child["cache"]["direct"]
    client.command("blockdev-del", node_name="disk")
    assert nodes(client) == {}
    assert machine.descriptors() == before


@pytest.mark.parametrize("options, message", [
    ({"driver": "file", "node-name": "a", "filename": "/nonexistent/x"},
     "Could not open '/nonexistent/x': No such file or directory"),
    ({"driver": "file", "filename": "/x"}, "'node-name' must be specified for the root node"),
    ({"driver": "file", "node-name": "a", "filename": "/"}, "Could not open '/': Is a directory"),
    ({"driver": "file", "node-name": "a", "filename": ""}, "The 'file' block driver requires a file name"),
    ({"driver": "host_device", "node-name": "a", "filename": "/etc/passwd"},
     "'host_device' driver requires '/etc/passwd' to be either a character or block device"),
    ({"driver": "null-co", "node-name": "a b"}, "Invalid node-name: 'a b'"),
    ({"driver": "null-co", "node-name": "x" * 32}, "Node name too long"),
    ({"driver": "null-co", "node-name": "taken"}, "Duplicate nodes with node-name='taken'"),
    ({"driver": "raw", "node-name": "a", "file": "none"}, "Cannot find device='' nor node-name='none'"),
    ({"driver": "raw", "node-name": "a"}, "Parameter 'file' is missing"),
    ({"driver": "null-co", "node-name": "a", "detect-zeroes": "unmap"}, "setting detect-zeroes to unmap is not"),
    ({"driver": "null-co", "node-name": "a", "force-share": True}, "force-share=on can only be used with read-only"),
    ({"driver": "null-co", "node-name": "a", "size": -1}, "size -1 is negative"),
    ({"driver": "raw", "node-name": "a", "file": "taken", "offset": 1 << 30, "size": 1},
     "The sum of offset and size must be smaller"),
    ({"driver": "nonsense", "node-name": "a"}, "does not accept value 'nonsense'"),
    ({"driver": "null-co", "node-name": "a", "nonsense": 1}, "Parameter 'nonsense' is unexpected"),
])
def test_refusals(machine, options, message):
    client = machine.client()
    before = machine.descriptors()
    add(client, driver="null-co", **{"node-name": "taken"})
    assert message in add_error(client, **options)
    assert set(nodes(client)) == {"taken"}
    assert machine.descriptors() == before


@pytest.mark.parametrize("aio, direct", [("threads", False), ("threads", True), ("io_uring", False),
                                         ("io_uring", True), ("native", True)])
def test_aio(machine, image, aio, direct):
    client = machine.client()
    add(client, **file_node(image, aio=aio, cache={"direct": direct}))
    assert nodes(client)["file0"]["cache"]["direct"] == direct


def test_native_needs_direct(machine, image):
    assert add_error(machine.client(), **file_node(image, aio="native")) == (
        "aio=native was specified, but it requires cache.direct=on, which was not specified.")


def test_resize(machine, image):
    client = machine.client()
    add(client, driver="raw", **{"node-name": "disk", "file": file_node(image)})
    client.command("block_resize", node_name="disk", size=12 * MiB)
    assert os.path.getsize(image) == 12 * MiB
    assert nodes(client)["disk"]["image"]["virtual-size"] == 12 * MiB
    client.command("block_resize", node_name="disk", size=4 * MiB + 512)
    assert os.path.getsize(image) == 4 * MiB + 512
    assert client.error("block_resize", node_name="none", size=1)[1] == "Cannot find device='' nor node-name='none'"
    assert client.error("block_resize", size=1)[0] == "GenericError"
    assert client.error("block_resize", node_name="disk", size=-1)[0] == "GenericError"
    assert client.error("block_resize", device="none", size=1)[1] == "Cannot find device='none' nor node-name=''"


def test_read_only_is_not_resized(machine, image):
    client = machine.client()
    add(client, driver="raw", **{"node-name": "disk", "read-only": True, "file": file_node(image)})
    assert client.error("block_resize", node_name="disk", size=1)[1] == "Block node 'disk' is read-only"
    assert os.path.getsize(image) == 8 * MiB


def test_reopen(machine, image):
    client = machine.client()
    disk = {"driver": "raw", "node-name": "disk", "read-only": True, "file": file_node(image)}
    add(client, **disk)
    assert nodes(client)["disk"]["ro"] and nodes(client)["file0"]["ro"]
    disk["read-only"] = False
    client.command("blockdev-reopen", options=[disk])
    assert not nodes(client)["disk"]["ro"] and not nodes(client)["file0"]["ro"]
    client.command("block_resize", node_name="disk", size=MiB)
    disk["detect-zeroes"] = "on"
    client.command("blockdev-reopen", options=[disk])
    assert nodes(client)["disk"]["detect_zeroes"] == "on"
    del disk["detect-zeroes"]
    client.command("blockdev-reopen", options=[disk])
    assert nodes(client)["disk"]["detect_zeroes"] == "off"
    for bad, message in [
            ({**disk, "offset": 512}, "Cannot change the option 'offset' of node 'disk'"),
            ({**disk, "file": "disk"}, "Cannot change the option 'file' of node 'disk'"),
            ({**disk, "driver": "null-co"}, None),
            ({**disk, "node-name": "nobody"}, "Cannot find device='' nor node-name='nobody'")]:
        error = client.error("blockdev-reopen", options=[bad])[1]
        assert message is None or error == message
    assert nodes(client)["disk"]["image"]["virtual-size"] == MiB


def test_reopen_is_all_or_nothing(machine, image):
    client = machine.client()
    add(client, driver="null-co", **{"node-name": "a"})
    add(client, **file_node(image, "b"))
    error = client.error("blockdev-reopen", options=[
        {"driver": "null-co", "node-name": "a", "read-only": True},
        file_node("/elsewhere", "b", **{"read-only": True})])[1]
    assert error == "Cannot change the option 'filename' of node 'b'"
    assert not nodes(client)["a"]["ro"] and not nodes(client)["b"]["ro"]


def test_reopen_cache_and_aio(machine, image):
    client = machine.client()
    disk = {"driver": "raw", "node-name": "disk", "file": file_node(image)}
    add(client, **disk)
    direct = {"driver": "raw", "node-name": "disk", "cache": {"direct": True},
              "file": file_node(image, aio="native")}
    answer = client.ask("blockdev-reopen", options=[direct])
    if "error" in answer:
        pytest.skip(answer["error"]["desc"])
    assert all(nodes(client)[n]["cache"]["direct"] for n in ("disk", "file0"))
    # The second one fails, and so the first one stays.
    add(client, **file_node("/dev/null", "other", driver="host_device"))
    error = client.error("blockdev-reopen", options=[
        disk, file_node("/dev/null", "other", driver="host_device", aio="native")])[1]
    assert "aio=native was specified, but it requires cache.direct=on" in error
    assert nodes(client)["file0"]["cache"]["direct"]
    client.command("blockdev-reopen", options=[disk])
    assert not nodes(client)["file0"]["cache"]["direct"]
    for more, message in [({"locking": "off"}, "Cannot change the option 'locking' of node 'file0'"),
                          ({"aio": "native"}, "requires cache.direct=on")]:
        assert message in client.error("blockdev-reopen", options=[file_node(image, **more)])[1]


def test_options_left_out_are_not_reset(machine, image):
    client = machine.client()
    add(client, **file_node(image, locking="off"))
    error = client.error("blockdev-reopen", options=[file_node(image)])[1]
    assert error == "Option 'locking' of node 'file0' cannot be reset to its default value"


def test_statistics(machine, image):
    client = machine.client()
    add(client, driver="raw", **{"node-name": "disk", "file": file_node(image)})
    client.send({"execute": "query-blockstats", "arguments": {"query-nodes": True}})
    stats = {s["node-name"]: s for s in client.answer()["return"]}
    assert stats["disk"]["parent"]["node-name"] == "file0"
    assert stats["file0"]["driver-specific"] == {
        "driver": "file", "discard-nb-ok": 0, "discard-nb-failed": 0, "discard-bytes-ok": 0}
    assert client.command("query-blockstats") == []
    assert client.command("query-block") == []


# ---- The command line ----

def test_blockdev_option(nandu_system, tmp_path, image):
    flat = f"driver=raw,node-name=flat,file.driver=file,file.filename={image},read-only=on"
    text = json.dumps({"driver": "null-co", "node-name": "json", "size": 4096, "read-zeroes": True})
    with Machine(nandu_system, tmp_path, "-blockdev", flat, "-blockdev", text) as machine:
        seen = nodes(machine.client())
        assert seen["flat"]["ro"] and seen["json"]["image"]["virtual-size"] == 4096


@pytest.mark.parametrize("option, message", [
    (["-blockdev", "driver=null-co"], "'node-name' must be specified for the root node"),
    (["-blockdev", "driver=nonsense,node-name=x"], "does not accept value 'nonsense'"),
    (["-blockdev", "node-name=x"], "Parameter 'driver' is missing"),
    (["-blockdev", "driver=raw,node-name=x,file=y"], "Cannot find device='' nor node-name='y'"),
    (["-drive", "file=/nonexistent,if=none"], "Could not open '/nonexistent': No such file or directory"),
    (["-drive", "driver=file,filename=/dev/null,if=none"], "'file' driver requires '/dev/null' to be a regular file"),
    (["-drive", "if=nonsense"], "unsupported bus type 'nonsense'"),
    (["-drive", "if=none,id=a", "-drive", "if=none,id=a"], "Device with id 'a' already exists"),
    (["-drive", "if=none,index=1,unit=2"], "index cannot be used with bus and unit"),
    (["-drive", "if=none,index=1", "-drive", "if=none,index=1"], "drive with bus=0, unit=1 (index=1) exists"),
    (["-drive", "if=none,media=paper"], "'paper' invalid media"),
    (["-drive", "if=none,cache=big"], "invalid cache option 'big'"),
    (["-drive", "if=none,werror=maybe"], "'maybe' invalid write error action"),
    (["-drive", "if=none,rerror=enospc"], "'enospc' invalid read error action"),
    (["-drive", "if=none,discard=perhaps"], "Invalid discard option 'perhaps'"),
    (["-drive", "file=nonsense:x,if=none"], "Unknown protocol 'nonsense'"),
    (["-drive", "file=json:{],if=none"], "Could not parse the JSON options"),
    (["-drive", "file=null-co://,if=none,format=raw,driver=raw"], "Cannot specify both 'driver' and 'format'"),
])
def test_bad_options(nandu_system, option, message):
    assert message in refused(nandu_system, *option)


def test_drive_options(nandu_system, tmp_path, image):
    drives = [
        f"file={image},if=none,format=raw,id=one,cache=none,aio=native,discard=unmap,detect-zeroes=unmap,readonly=on",
        "file=null-co://,if=none,id=two,format=raw,cache=unsafe,node-name=mine",
        'file=json:{"driver":"null-co"\\,"size":65536},if=none,id=three'.replace("\\,", ",,"),
        "file.driver=null-co,file.size=65536,driver=raw,if=none,id=four,cache=directsync",
        "if=none,media=cdrom",
    ]
    with Machine(nandu_system, tmp_path, *[w for d in drives for w in ("-drive", d)]) as machine:
        client = machine.client()
        seen = {b["device"]: b for b in client.command("query-block")}
        assert list(seen) == ["one", "two", "three", "four", "none4"]
        one = seen["one"]["inserted"]
        assert one["ro"] and one["cache"] == {"writeback": True, "direct": True, "no-flush": False}
        assert one["detect_zeroes"] == "unmap"
        assert seen["two"]["inserted"]["node-name"] == "mine"
        assert seen["two"]["inserted"]["cache"]["no-flush"]
        assert seen["three"]["inserted"]["image"]["virtual-size"] == 65536
        assert seen["four"]["inserted"]["cache"]["direct"]
        assert "inserted" not in seen["none4"] and seen["none4"]["removable"]


def test_drive_statistics(nandu_system, tmp_path, image):
    drive = f"file={image},format=raw,if=none,id=d,stats-account-invalid=off,stats-intervals.0=1,stats-intervals.1=60"
    with Machine(nandu_system, tmp_path, "-drive", drive, "-drive", "if=none,id=e", "-device",
                 "virtio-blk-pci,drive=d,id=v", machine="virt") as machine:
        client = machine.client()
        stats = {s["device"]: s["stats"] for s in client.command("query-blockstats")}
        assert [t["interval_length"] for t in stats["d"]["timed_stats"]] == [1, 60]
        assert not stats["d"]["account_invalid"] and stats["d"]["account_failed"]
        assert stats["e"]["account_invalid"] and stats["e"]["timed_stats"] == []
    for wrong, message in [("stats-intervals.0=x", "Invalid interval length: x"),
                           ("stats-intervals.0=0", "Invalid interval length: 0"),
                           ("stats-intervals.0=1,stats-intervals.1=1", "Interval 1 is given twice"),
                           ("stats-account-failed=maybe", "'stats-account-failed' expects 'on' or 'off'")]:
        assert message in refused(nandu_system, "-drive", f"file={image},format=raw,if=none,{wrong}")


def test_sizes_in_options(nandu_system, tmp_path, image):
    drives = ["driver=null-co,size=1G,id=a,if=none", f"file={image},driver=raw,offset=64k,size=1M,id=b,if=none",
              "file.driver=null-co,file.size=1.5M,driver=raw,id=c,if=none"]
    with Machine(nandu_system, tmp_path, *[w for d in drives for w in ("-drive", d)]) as machine:
        seen = {b["device"]: b["inserted"]["image"]["virtual-size"] for b in machine.client().command("query-block")}
        assert seen == {"a": 1 << 30, "b": MiB, "c": 3 * MiB // 2}
    for option in ("-1", "junk", "8E", "1.5"):
        assert "Parameter 'size' expects a size" in refused(nandu_system, "-drive", f"driver=null-co,size={option},if=none")
    # -blockdev's are numbers.
    assert "Parameter 'size' expects integer" in refused(nandu_system, "-blockdev",
                                                         "driver=null-co,size=1G,node-name=x")


def test_children_by_number(nandu_system, tmp_path, image):
    drive = ("driver=quorum,vote-threshold=1,if=none,id=q,children.0.driver=raw,children.1.driver=raw,"
             f"children.0.file.filename={image},children.1.file.driver=null-co,children.1.file.size=8M")
    with Machine(nandu_system, tmp_path, "-drive", drive) as machine:
        assert machine.client().command("query-block")[0]["inserted"]["drv"] == "quorum"


@pytest.fixture
def qcow2(tmp_path):
    path = tmp_path / "disk.qcow2"
    assert run([os.path.join(build_folder(), "nandu-img"), "create", "-q", "-f", "qcow2", path, "8M"]).status == 0
    return path


def test_temporary_image(nandu_system, tmp_path, qcow2, monkeypatch):
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    before = qcow2.read_bytes()
    drive = f"file={qcow2},if=none,id=d,node-name=base,discard=unmap,detect-zeroes=unmap,snapshot=on,cache=none"
    with Machine(nandu_system, tmp_path, "-drive", drive) as machine:
        client = machine.client()
        assert list(folder.iterdir()) == []     # it has no name any more
        top = client.command("query-block")[0]["inserted"]
        assert top["drv"] == "qcow2" and not top["ro"] and top["backing_file"] == str(qcow2)
        assert top["backing_file_depth"] == 1 and top["detect_zeroes"] == "unmap"
        assert top["cache"] == {"writeback": True, "direct": False, "no-flush": True}
        assert top["file"].startswith(f"{folder}/")
        base = nodes(client)["base"]
        assert base["ro"] and base["drv"] == "qcow2" and base["cache"]["direct"] and base["detect_zeroes"] == "off"
        client.command("block_resize", device="d", size=16 * MiB)
    assert qcow2.read_bytes() == before


def test_temporary_images_of_all_drives(nandu_system, tmp_path, image, qcow2):
    with Machine(nandu_system, tmp_path, "-snapshot", "-drive", f"file={image},format=raw,if=none,id=a", "-drive",
                 f"file={qcow2},if=none,id=b,snapshot=off", "-drive", "if=none,id=c") as machine:
        seen = {b["device"]: b.get("inserted", {}).get("backing_file_depth") for b in
                machine.client().command("query-block")}
        assert seen == {"a": 1, "b": 0, "c": None}


def test_no_room_for_a_temporary_image(nandu_system, qcow2):
    result = run([nandu_system, "-M", "none", *ARGUMENTS, "-drive", f"file={qcow2},if=none,snapshot=on"],
                 extra_env={"TMPDIR": "/nonexistent"}, timeout=30)
    assert result.status == 1 and result.error.count("\n") == 1
    assert "Could not make a temporary image in '/nonexistent': No such file or directory" in result.error


def test_drive_copies_on_read(nandu_system, tmp_path, qcow2):
    with Machine(nandu_system, tmp_path, "-drive", f"file={qcow2},if=none,id=d,copy-on-read=on", "-drive",
                 "file=null-co://,format=raw,if=none,id=r,readonly=on,copy-on-read=on") as machine:
        client = machine.client()
        assert "disabling copy-on-read on read-only drive" in machine.output()
        seen = {b["device"]: b["inserted"]["drv"] for b in client.command("query-block")}
        assert seen == {"d": "qcow2", "r": "raw"}
        assert sorted(n["drv"] for n in nodes(client).values()) == ["copy-on-read", "file", "null-co", "qcow2", "raw"]
        client.command("block_resize", device="d", size=16 * MiB)
        client.command("human-monitor-command", command_line="drive_del d")
        assert [b["device"] for b in client.command("query-block")] == ["r"]


def test_default_interface(nandu_system, tmp_path, image):
    with Machine(nandu_system, tmp_path, "-drive", f"file={image},format=raw", "-S", machine="virt") as machine:
        (disk,) = machine.client().command("query-block")
        assert disk["device"] == "virtio0" and "virtio" in disk["qdev"] and disk["io-status"] == "ok"
    message = refused(nandu_system, "-drive", f"file={image},format=raw,if=ide", machine="virt")
    assert "machine type does not support if=ide,bus=0,unit=0" in message


def test_guessed_raw_warns(nandu_system, tmp_path, image):
    with Machine(nandu_system, tmp_path, "-drive", f"file={image},if=none") as machine:
        machine.client()
        assert "Image format was not specified for" in machine.output()


def test_descriptor_set(nandu_system, tmp_path, image):
    fd = os.open(image, os.O_RDWR)
    try:
        with Machine(nandu_system, tmp_path, "-add-fd", f"fd={fd},set=7", "-blockdev",
                     "driver=file,node-name=f,filename=/dev/fdset/7", pass_fds=(fd,)) as machine:
            assert nodes(machine.client())["f"]["image"]["virtual-size"] == 8 * MiB
    finally:
        os.close(fd)


# ---- HMP ----

def test_hmp(nandu_system, tmp_path, image):
    with Machine(nandu_system, tmp_path, "-drive", f"file={image},format=raw,if=virtio,readonly=on,cache=none",
                 "-drive", "if=none,media=cdrom", "-S", machine="virt") as machine:
        client = machine.client()

        def hmp(line):
            return client.command("human-monitor-command", command_line=line).replace("\r\n", "\n")

        blocks = hmp("info block").split("\n\n")
        assert blocks[0].startswith("virtio0 (#block") and f"): {image} (raw, read-only)\n" in blocks[0]
        assert "\n    Attached to:      /machine/" in blocks[0]
        assert blocks[0].endswith("\n    Cache mode:       writeback, direct")
        assert blocks[1] == "none0: [not inserted]\n    Removable device: not locked, tray closed\n"
        assert hmp("info block nobody") == "Error: Device 'nobody' not found\n"
        assert f": {image} (file, read-only)" in hmp("info block -n")
        assert hmp("info blockstats").startswith("virtio0: rd_bytes=0 wr_bytes=0 rd_operations=0 ")
        assert hmp("drive_add 0 if=none,id=more,file.driver=null-co,driver=raw") == "OK\n"
        assert "more (#block" in hmp("info block")
        assert hmp("block_resize virtio0 1").startswith("Error: Block node '#block")
        assert hmp("drive_del virtio0") == "Error: Device 'virtio0' is in use\n"
        assert hmp("drive_del more") == ""
        assert "more" not in hmp("info block")


# ---- Locks ----

def qemu_io(*arguments):
    if not shutil.which("qemu-io"):
        pytest.skip("qemu-io is not installed")
    return subprocess.run(["qemu-io", *map(str, arguments)], capture_output=True, text=True, timeout=60, check=False)


def test_unused_node_is_free(machine, image):
    """What no device uses needs nothing of its file."""
    add(machine.client(), driver="raw", **{"node-name": "disk", "file": file_node(image)})
    assert qemu_io("-f", "raw", "-c", "write 0 512", image).returncode == 0


def test_exclusion(nandu_system, qemu_system, tmp_path, image):
    """A disk of a machine: neither of us lets the other one have it, too, or write to it."""
    drive = ["-drive", f"file={image},format=raw,if=virtio", "-S"]
    with Machine(nandu_system, tmp_path, *drive, machine="virt") as ours:
        ours.client()
        theirs = qemu_io("-f", "raw", "-c", "write 0 512", image)
        assert theirs.returncode == 1 and 'Failed to get "write" lock' in theirs.stderr
        assert qemu_io("-f", "raw", "-U", "-r", "-c", "read 0 512", image).returncode == 0
    assert qemu_io("-f", "raw", "-c", "write 0 512", image).returncode == 0
    with Machine(qemu_system, tmp_path, *drive, machine="virt") as theirs:
        theirs.client()
        message = refused(nandu_system, *drive[:2], machine="virt")
        assert f'Failed to get "write" lock: process {theirs.process.pid} (qemu-system-ris)' in message
        assert str(image) in message
    with Machine(nandu_system, tmp_path, *drive, machine="virt") as first:
        first.client()
        message = refused(nandu_system, *drive[:2], machine="virt")
        assert f'Failed to get "write" lock: process {first.process.pid} (nandu' in message
    with Machine(nandu_system, tmp_path, *drive, machine="virt") as again:
        again.client()


def test_sharing(nandu_system, tmp_path, image):
    """Readers don't mind each other; locking=off asks nobody."""
    reader = ["-drive", f"file={image},format=raw,if=virtio,readonly=on", "-S"]
    writer = ["-drive", f"file={image},format=raw,if=virtio", "-S"]
    unlocked = ["-drive", f"file={image},format=raw,if=virtio,file.locking=off", "-S"]
    with Machine(nandu_system, tmp_path, *reader, machine="virt") as first, \
            Machine(nandu_system, tmp_path, *reader, machine="virt") as second:
        first.client()
        second.client()
        assert 'Failed to get "write" lock' in refused(nandu_system, *writer, machine="virt")
    with Machine(nandu_system, tmp_path, *writer, machine="virt") as first, \
            Machine(nandu_system, tmp_path, *unlocked, machine="virt") as second:
        first.client()
        second.client()


def test_two_nodes_of_one_process(nandu_system, image):
    drives = [w for unit in (0, 1) for w in ("-drive", f"file={image},format=raw,if=virtio,index={unit}")]
    assert "another node of this process uses the image" in refused(nandu_system, *drives, machine="virt")


def test_two_users_of_one_node(nandu_system, image):
    message = refused(nandu_system, "-blockdev", f"driver=file,node-name=d,filename={image}",
                      "-device", "virtio-blk-pci,drive=d", "-device", "virtio-blk-pci,drive=d", machine="virt")
    assert "Permission conflict on node 'd': permission 'write' is required by" in message
