"""The object tree over QMP and -object: the same names, types, answers and errors as QEMU 10, and what
bad options and properties are told."""

import json
import os
import re
import subprocess

import pytest

from conftest import run
from qmp import leak_check

OPTIONS = ["-machine", "none", "-display", "none", "-nodefaults"]


class Qmp:
    """A program with a QMP session on its standard input and output."""

    def __init__(self, program, *args):
        options, environment = leak_check(program)
        self.process = subprocess.Popen([program, *OPTIONS, *options, "-qmp", "stdio", *args],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.DEVNULL, env=environment)
        self.process.stdout.readline()
        self.execute("qmp_capabilities")

    def execute(self, name, **arguments):
        """The answer: {"return": ...} or {"error": ...}."""
        arguments = {key.replace("_", "-"): value for key, value in arguments.items()}
        self.process.stdin.write(json.dumps({"execute": name, "arguments": arguments}).encode() + b"\n")
        self.process.stdin.flush()
        while True:
            line = self.process.stdout.readline()
            assert line, f"no answer to {name} {arguments}; status {self.process.wait()}"
            answer = json.loads(line)
            if "event" not in answer:
                return answer

    def returns(self, name, **arguments):
        answer = self.execute(name, **arguments)
        assert "return" in answer, (name, arguments, answer)
        return answer["return"]

    def quit(self):
        self.execute("quit")
        status = self.process.wait(30)
        self.process.stdin.close()
        self.process.stdout.close()
        return status


@pytest.fixture
def qmp(nandu_system):
    session = Qmp(nandu_system)
    yield session
    assert session.quit() == 0


@pytest.fixture
def both(nandu_system, qemu_system):
    sessions = Qmp(nandu_system), Qmp(qemu_system)
    yield sessions
    assert [session.quit() for session in sessions] == [0, 0]


# ---- The same as QEMU ----

TYPES = ["authz-list", "authz-simple", "iothread", "main-loop", "memory-backend-file",
         "memory-backend-memfd", "memory-backend-ram", "rng-builtin", "rng-random", "secret",
         "throttle-group", "tls-creds-anon", "tls-creds-psk", "tls-creds-x509"]

# What QEMU has and Nandu hasn't: threads for preallocation come with the processors that they are bound to.
MISSING_PROPERTIES = {"prealloc-context"}

# Deprecated in QEMU: nothing is loaded when it is set.
MISSING_PROPERTIES |= {"loaded"}


@pytest.mark.parametrize("name", TYPES)
def test_properties(both, name):
    ours, theirs = ({entry["name"]: entry["type"] for entry in
                     session.returns("qom-list-properties", typename=name)} for session in both)
    assert {key: value for key, value in theirs.items() if key not in MISSING_PROPERTIES} == ours


@pytest.mark.parametrize("name", TYPES)
def test_help(nandu_system, qemu_system, name):
    ours, theirs = (run([program, "-object", f"{name},help"]) for program in (nandu_system, qemu_system))
    assert ours.status == 0 and ours.error == "", ours

    def options(result):
        return [line.split(" - ")[0].rstrip() for line in result.text.splitlines()
                if not line.strip().startswith("prealloc-context")]
    assert options(ours) == options(theirs)


def test_list_help(nandu_system, qemu_system):
    ours, theirs = (run([program, "-object", "help"]).text.splitlines()
                    for program in (nandu_system, qemu_system))
    assert ours[0] == theirs[0]
    assert set(TYPES) <= {line.strip() for line in ours[1:]}
    # QEMU's object-add takes it by this name, its list has it by another.
    assert set(ours) - set(theirs) == {"  authz-listfile"}
    assert ours[1:] == sorted(ours[1:])


MiB = 1 << 20

# Same class and text; Nandu may add what was meant.
SAME_ERRORS = [
    ("qom-list", {"path": "/foo"}),
    ("qom-list", {"path": ""}),
    ("qom-list", {}),
    ("qom-get", {"path": "/foo", "property": "x"}),
    ("qom-get", {"path": "/", "property": "x"}),
    ("qom-set", {"path": "/", "property": "x", "value": 1}),
    ("qom-set", {"path": "/", "property": "type", "value": "x"}),
    ("qom-set", {"path": "/foo", "property": "x", "value": 1}),
    ("qom-list-properties", {"typename": "foo"}),
    ("device-list-properties", {"typename": "foo"}),
    ("device-list-properties", {"typename": "iothread"}),
    ("device-list-properties", {"typename": "device"}),
    ("object-add", {"id": "x"}),
    ("object-add", {"qom-type": "foo", "id": "x"}),
    ("object-add", {"qom-type": 5, "id": "x"}),
    ("object-add", {"qom-type": "iothread"}),
    ("object-add", {"qom-type": "iothread", "id": 5}),
    ("object-add", {"qom-type": "iothread", "id": ""}),
    ("object-add", {"qom-type": "iothread", "id": "1"}),
    ("object-add", {"qom-type": "iothread", "id": "x", "poll-max-ns": "1"}),
    ("object-add", {"qom-type": "iothread", "id": "x", "poll-max-ns": -1}),
    ("object-add", {"qom-type": "iothread", "id": "x", "foo": 1}),
    ("object-add", {"qom-type": "iothread", "id": "x", "thread-pool-min": 10, "thread-pool-max": 5}),
    ("object-add", {"qom-type": "main-loop", "id": "x", "aio-max-batch": -5}),
    ("object-add", {"qom-type": "memory-backend-ram", "id": "x"}),
    ("object-add", {"qom-type": "memory-backend-ram", "id": "x", "size": 0}),
    ("object-add", {"qom-type": "memory-backend-ram", "id": "x", "size": 1 << 62}),
    ("object-add", {"qom-type": "memory-backend-ram", "id": "x", "size": 4096, "policy": "bind"}),
    ("object-add", {"qom-type": "memory-backend-ram", "id": "x", "size": 4096, "policy": "foo"}),
    ("object-add", {"qom-type": "memory-backend-ram", "id": "x", "size": 4096, "host-nodes": [0]}),
    ("object-add", {"qom-type": "memory-backend-ram", "id": "x", "size": 4096, "prealloc": True,
                    "reserve": False}),
    ("object-add", {"qom-type": "memory-backend-file", "id": "x", "size": 4096}),
    ("object-add", {"qom-type": "memory-backend-file", "id": "x", "size": 4096,
                    "mem-path": "/nonexistent/x"}),
    ("object-add", {"qom-type": "memory-backend-file", "id": "x", "size": 4096, "mem-path": "/tmp",
                    "rom": "on"}),
    ("object-add", {"qom-type": "rng-random", "id": "x", "filename": "/nonexistent"}),
    ("object-add", {"qom-type": "throttle-group", "id": "x",
                    "limits": {"iops-total": 9, "iops-read": 5}}),
    ("object-add", {"qom-type": "throttle-group", "id": "x",
                    "limits": {"iops-total": 9, "iops-total-max": 5}}),
    ("object-add", {"qom-type": "throttle-group", "id": "x", "limits": {"iops-size": 9}}),
    ("object-add", {"qom-type": "throttle-group", "id": "x", "limits": {"bps-total": -9}}),
    ("object-add", {"qom-type": "throttle-group", "id": "x", "limits": {"foo": 9}}),
    ("object-del", {"id": "foo"}),
]


def test_errors(both):
    for name, arguments in SAME_ERRORS:
        ours, theirs = (session.execute(name, **arguments).get("error") for session in both)
        assert ours and theirs, (name, arguments, ours, theirs)
        text = re.sub(r"; did you mean '[^']*'\?$", "", ours["desc"])
        assert (ours["class"], text) == (theirs["class"], theirs["desc"]), (name, arguments)
    # Nothing half-made has stayed.
    assert both[0].returns("qom-list", path="/objects") == [{"name": "type", "type": "string"}]


# The same answers, in any order of members and rows.
SAME_ANSWERS = [
    ("object-add", {"qom-type": "iothread", "id": "io", "poll-grow": 3}),
    ("qom-list", {"path": "/objects"}),
    ("qom-list", {"path": "objects"}),
    ("qom-list", {"path": "io"}),
    ("qom-get", {"path": "//objects//io/", "property": "poll-max-ns"}),
    ("qom-set", {"path": "io", "property": "poll-max-ns", "value": 5}),
    ("qom-get", {"path": "objects/io", "property": "poll-max-ns"}),
    ("qom-get", {"path": "/objects", "property": "io"}),
    ("qom-get", {"path": "/objects/io", "property": "type"}),
    ("object-add", {"qom-type": "memory-backend-ram", "id": "m", "size": MiB, "share": True}),
    ("object-add", {"qom-type": "memory-backend-memfd", "id": "d", "size": MiB, "merge": False}),
    ("qom-set", {"path": "m", "property": "prealloc", "value": True}),
    ("qom-get", {"path": "m", "property": "host-nodes"}),
    ("query-memdev", {}),
    ("object-add", {"qom-type": "throttle-group", "id": "t", "limits": {"iops-total": 10},
                    "x-bps-read": 5}),
    ("qom-get", {"path": "t", "property": "limits"}),
    ("qom-set", {"path": "t", "property": "limits", "value": {"iops-total": 7}}),
    ("qom-get", {"path": "t", "property": "limits"}),
    ("object-add", {"qom-type": "rng-random", "id": "r"}),
    ("qom-get", {"path": "r", "property": "filename"}),
    ("qom-get", {"path": "r", "property": "opened"}),
    ("object-add", {"qom-type": "main-loop", "id": "ml"}),
    ("qom-get", {"path": "ml", "property": "thread-pool-max"}),
    ("object-add", {"qom-type": "main-loop", "id": "ml2"}),
    ("object-del", {"id": "ml"}),
    ("object-del", {"id": "io"}),
    ("query-iothreads", {}),
    ("qom-list-types", {"implements": "foo"}),
    ("qom-list-types", {"implements": "memory-backend", "abstract": True}),
]


def in_order(value):
    """For comparison: lists are sets here. Back ends that need other systems are QEMU's alone."""
    if isinstance(value, list):
        return sorted((in_order(item) for item in value
                       if not (isinstance(item, dict) and item.get("name") in
                               ("memory-backend-shm", "prealloc-context"))), key=json.dumps)
    if isinstance(value, dict):
        return dict(sorted((key, in_order(item)) for key, item in value.items()))
    return value


def test_answers(both):
    for name, arguments in SAME_ANSWERS:
        ours, theirs = (in_order(session.execute(name, **arguments)) for session in both)
        assert ours == theirs, (name, arguments)


# ---- Nandu by itself ----

def test_iothreads(qmp):
    qmp.returns("object-add", qom_type="iothread", id="a", poll_max_ns=1000)
    qmp.returns("object-add", qom_type="iothread", id="b")
    threads = {info["id"]: info for info in qmp.returns("query-iothreads")}
    assert threads["a"]["poll-max-ns"] == 1000
    assert threads["b"]["poll-max-ns"] == 32768
    numbers = {info["thread-id"] for info in threads.values()}
    assert len(numbers) == 2 and qmp.process.pid not in numbers
    with open(f"/proc/{qmp.process.pid}/task/{threads['a']['thread-id']}/comm", encoding="ascii") as file:
        assert "a" in file.read()
    before = len(os.listdir(f"/proc/{qmp.process.pid}/task"))
    qmp.returns("qom-set", path="/objects/b", property="thread-pool-min", value=5)
    assert len(os.listdir(f"/proc/{qmp.process.pid}/task")) == before + 5
    qmp.returns("object-del", id="a")
    assert [info["id"] for info in qmp.returns("query-iothreads")] == ["b"]


def test_many(qmp):
    for number in range(200):
        qmp.returns("object-add", qom_type="memory-backend-ram", id=f"m{number}", size=4096)
    assert len(qmp.returns("query-memdev")) == 200
    for number in range(200):
        qmp.returns("object-del", id=f"m{number}")
    assert qmp.returns("query-memdev") == []


def test_types(qmp):
    types = {entry["name"]: entry for entry in qmp.returns("qom-list-types", abstract=True)}
    for entry in types.values():
        assert "parent" not in entry or entry["parent"] in types, entry
    assert types["memory-backend"]["abstract"] is True
    assert "abstract" not in types["iothread"]
    devices = qmp.returns("qom-list-types", implements="device")
    for entry in devices:
        for prop in qmp.returns("device-list-properties", typename=entry["name"]):
            assert {"name", "type"} <= set(prop)


FORMS = [
    ("memory-backend-ram,id=m,size=1M", {"size": MiB}),
    ("qom-type=memory-backend-ram,id=m,size=0x1000,share=yes", {"size": 4096, "share": True}),
    ('{"qom-type":"memory-backend-ram","id":"m","size":4096,"dump":false}', {"size": 4096, "dump": False}),
    ("memory-backend-memfd,id=m,size=1.5M,merge=off", {"size": 3 * MiB // 2, "merge": False}),
    ("iothread,id=m,poll-max-ns=0", {"poll-max-ns": 0}),
    ("throttle-group,id=m,limits.iops-total=5,limits.bps-read=6", {"x-iops-total": 5, "x-bps-read": 6}),
]


@pytest.mark.parametrize("option, values", FORMS)
def test_forms(nandu_system, option, values):
    session = Qmp(nandu_system, "-object", option)
    for name, value in values.items():
        assert session.returns("qom-get", path="/objects/m", property=name) == value
    assert session.quit() == 0


BAD = [
    ("", "'qom-type' is missing"),
    ("iothread", "'id' is missing"),
    ("iothread,id=9", "'id' expects an identifier"),
    ("foo,id=a", "'qom-type' does not accept value 'foo'"),
    ("iothred,id=a", "did you mean 'iothread'?"),
    ("foo,help", "'foo'"),
    ("iothread,id=a,foo=1", "'foo'"),
    ("iothread,id=a,pol-max-ns=1", "did you mean 'poll-max-ns'?"),
    ("iothread,id=a,poll-max-ns=-1", "poll-max-ns"),
    ("iothread,id=a,poll-max-ns=abc", "'poll-max-ns' expects"),
    ("iothread,id=a,poll-max-ns=9999999999999999999", "'poll-max-ns'"),
    ("memory-backend-ram,id=a", "'size' is missing"),
    ("memory-backend-ram,id=a,size=abc", "'size' expects a size"),
    ("memory-backend-ram,id=a,size=4k,share=x", "'share' expects 'on' or 'off'"),
    ("memory-backend-ram,id=a,size=4k,policy=x", "'policy' does not accept value 'x'"),
    ("memory-backend-ram,id=a,size=4k,host-nodes=x", "'host-nodes' expects"),
    ("throttle-group,id=a,limits.foo=4", "'limits.foo'"),
    ('{"qom-type":"iothread","id":"x","foo":1}', "'foo' is unexpected"),
    ('{"qom-type":"iothread"', "JSON"),
]


@pytest.mark.parametrize("option, word", BAD)
def test_bad_option(nandu_system, option, word):
    result = run([nandu_system, *OPTIONS, "-object", option])
    assert result.status == 1, result
    assert result.text == "" and result.error.count("\n") == 1, result
    assert "-object" in result.error and word in result.error, result


def test_twice(nandu_system):
    result = run([nandu_system, *OPTIONS, "-object", "rng-builtin,id=a", "-object", "rng-builtin,id=a"])
    assert result.status == 1 and "duplicate" in result.error, result
