"""QMP answers have the shape of QEMU 10's: the same members and types.

tests/golden/qmp-qemu10.json is a session recorded from QEMU (`test_qmp_shape.py --record` with QEMU
installed); tests/golden/qmp-differences.txt lists where Nandu's differ, each with its reason.
"""

import fnmatch
import json
import os
import re
import sys
import tempfile

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)

from qmp import Machine                                                          # noqa: E402

GOLDEN = os.path.join(os.path.dirname(HERE), "golden")
RECORDED = os.path.join(GOLDEN, "qmp-qemu10.json")
DIFFERENCES = os.path.join(GOLDEN, "qmp-differences.txt")

# Queries whose answers are compared; Nandu must have them all.
QUERIES = [
    ("query-version", {}), ("query-status", {}), ("query-name", {}), ("query-uuid", {}),
    ("query-target", {}), ("query-kvm", {}), ("query-machines", {}), ("query-machines", {"compat-props": True}),
    ("query-current-machine", {}), ("query-cpus-fast", {}), ("query-hotpluggable-cpus", {}),
    ("query-memory-size-summary", {}), ("query-cpu-definitions", {}),
    ("query-cpu-model-expansion", {"type": "full", "model": {"name": "rv64"}}),
    ("query-command-line-options", {}), ("query-command-line-options", {"option": "name"}),
    ("query-command-line-options", {"option": "nonsense"}),
    ("query-commands", {}), ("query-chardev", {}), ("query-chardev-backends", {}),
    ("query-fdsets", {}), ("query-iothreads", {}), ("query-memdev", {}),
    ("qom-list", {"path": "/"}), ("qom-list", {"path": "/objects"}), ("qom-list", {"path": "/nonsense"}),
    ("qom-get", {"path": "/machine", "property": "type"}),
    ("qom-get", {"path": "/machine", "property": "nonsense"}),
    ("qom-get", {"path": "/nonsense", "property": "type"}),
    ("qom-list-types", {"implements": "memory-backend"}),
    ("qom-list-types", {"implements": "memory-backend", "abstract": True}),
    ("qom-list-properties", {"typename": "iothread"}), ("qom-list-properties", {"typename": "nonsense"}),
    ("device-list-properties", {"typename": "nonsense"}),
    ("object-add", {"qom-type": "iothread", "id": "t0"}), ("query-iothreads", {}),
    ("object-add", {"qom-type": "iothread", "id": "t0"}),
    ("object-add", {"qom-type": "iothread", "id": "0bad"}),
    ("object-add", {"qom-type": "nonsense", "id": "x"}),
    ("object-add", {"qom-type": "iothread", "id": "t1", "nonsense": 1}),
    ("object-add", {"qom-type": "iothread"}),
    ("qom-get", {"path": "/objects/t0", "property": "poll-max-ns"}),
    ("qom-get", {"path": "t0", "property": "poll-max-ns"}),
    ("qom-set", {"path": "t0", "property": "poll-max-ns", "value": 1000}),
    ("qom-set", {"path": "t0", "property": "poll-max-ns", "value": "text"}),
    ("qom-set", {"path": "t0", "property": "type", "value": "text"}),
    ("qom-list", {"path": "/objects"}),
    ("object-del", {"id": "t0"}), ("object-del", {"id": "t0"}),
    ("object-add", {"qom-type": "memory-backend-ram", "id": "m0", "size": 1048576}), ("query-memdev", {}),
    ("object-del", {"id": "m0"}),
    ("object-add", {"qom-type": "memory-backend-ram", "id": "m0"}),
    ("chardev-add", {"id": "c0", "backend": {"type": "null", "data": {}}}),
    ("chardev-add", {"id": "c0", "backend": {"type": "null", "data": {}}}),
    ("chardev-add", {"id": "c1", "backend": {"type": "ringbuf", "data": {"size": 4096}}}),
    ("chardev-add", {"id": "c2", "backend": {"type": "ringbuf", "data": {"size": 4095}}}),
    ("chardev-add", {"id": "c3", "backend": {"type": "pty", "data": {}}}),
    ("chardev-add", {"id": "c4", "backend": {"type": "nonsense", "data": {}}}),
    ("chardev-add", {"id": "c5", "backend": {"type": "file", "data": {}}}),
    ("chardev-add", {"id": "c6", "backend": {"type": "file", "data": {"out": "/nonexistent/file"}}}),
    ("ringbuf-write", {"device": "c1", "data": "hello"}),
    ("ringbuf-read", {"device": "c1", "size": 10}),
    ("ringbuf-read", {"device": "c0", "size": 10}),
    ("ringbuf-read", {"device": "nonsense", "size": 10}),
    ("query-chardev", {}), ("chardev-remove", {"id": "c0"}), ("chardev-remove", {"id": "c0"}),
    ("chardev-send-break", {"id": "c1"}), ("chardev-send-break", {"id": "nonsense"}),
    ("chardev-remove", {"id": "c1"}), ("chardev-remove", {"id": "c3"}),
    ("add-fd", {}), ("remove-fd", {"fdset-id": 77}), ("getfd", {"fdname": "x"}), ("closefd", {"fdname": "x"}),
    ("human-monitor-command", {"command-line": "info version"}),
    ("human-monitor-command", {"command-line": "nonsense"}),
    ("trace-event-get-state", {"name": "nonsense"}), ("trace-event-get-state", {"name": "*"}),
    ("set-action", {"panic": "none"}), ("set-action", {"reboot": "nonsense"}),
    ("stop", {}), ("query-status", {}), ("cont", {}), ("query-status", {}),
    ("system_wakeup", {}), ("system_reset", {}), ("system_powerdown", {}),
    ("x-exit-preconfig", {}), ("qmp_capabilities", {}),
    ("nonsense", {}), ("query-status", {"nonsense": 1}), ("query-name", {"a": {"b": []}}),
    ("object-del", {"id": 5}), ("object-del", {"id": None}), ("object-del", {}),
]

# Text that isn't a proper command, after the handshake.
RAW = [
    b"{}\n", b"[]\n", b"5\n", b'"text"\n', b'{"execute": 5}\n', b'{"execute": "stop", "nonsense": 1}\n',
    b'{"execute": "stop", "exec-oob": "stop"}\n', b'{"execute": "stop", "arguments": []}\n',
    b'{"execute": "query-status", "id": {"a": [1, 2.5, null]}}\n', b"{'execute': 'query-status'}\n",
    b'{"execute": "query-status",}\n', b'{"execute": "query-name" "id": 1}\n', b"nonsense\n", b"}\n",
    b'{"execute": "query-status", "id": 18446744073709551615}\n',
    b'{"execute": "object-del", "arguments": {"id": "\xff"}}\n',
    b'{"exec-oob": "query-status"}\n', b'{"execute": "query-status", "execute": "stop"}\n',
]


def shape(value):
    """The members and types of a value; of a list that of all its elements."""
    if isinstance(value, dict):
        return {k: shape(v) for k, v in value.items()}
    if isinstance(value, list):
        merged = {}
        for item in value:
            s = shape(item)
            merged[json.dumps(s, sort_keys=True)] = s
        return [merged[k] for k in sorted(merged)]
    if isinstance(value, bool):
        return "bool"
    return {int: "int", float: "number", str: "str", type(None): "null"}[type(value)]


class Schema:
    """Types of query-qmp-schema by their contents, since their names are masked."""

    def __init__(self, entries):
        self.by_name = {e["name"]: e for e in entries}
        self.commands = {e["name"] for e in entries if e["meta-type"] == "command"}
        self.events = {e["name"] for e in entries if e["meta-type"] == "event"}

    def resolve(self, name, seen=()):
        entry = self.by_name[name]
        kind = entry["meta-type"]
        if name in seen:
            return "..."
        seen = (*seen, name)
        if kind == "builtin":
            return name
        if kind == "array":
            return [self.resolve(entry["element-type"], seen)]
        if kind == "enum":
            return {"enum": {m["name"]: m.get("features", []) for m in entry["members"]}}
        if kind == "alternate":
            return {"alternate": [self.resolve(m["type"], seen) for m in entry["members"]]}
        members = {m["name"] + ("?" if "default" in m else ""): self.resolve(m["type"], seen)
                   for m in entry["members"]}
        out = {"object": members}
        if "tag" in entry:
            out["tag"] = entry["tag"]
            out["variants"] = {v["case"]: self.resolve(v["type"], seen) for v in entry["variants"]}
        return out

    def command(self, name):
        entry = self.by_name[name]
        return {"arg": self.resolve(entry["arg-type"]), "ret": self.resolve(entry["ret-type"]),
                "oob": entry.get("allow-oob", False), "features": entry.get("features", [])}

    def event(self, name):
        return self.resolve(self.by_name[name]["arg-type"])


def session(program, folder, only=None):
    """What a program answers: greeting, queries, raw messages, schema."""
    out = {"queries": [], "raw": []}
    with Machine(program, folder) as machine:
        client = machine.client(negotiate=False)
        out["greeting"] = client.greeting
        out["early"] = client.ask("query-status")
        out["capabilities"] = client.ask("qmp_capabilities")
        for name, arguments in QUERIES:
            client.send({"execute": name, "arguments": arguments} if arguments else {"execute": name})
            out["queries"].append([name, arguments, client.answer()])
        for text in RAW:
            client.send(text)
            answer = client.answer()
            # After an error the rest of the line may be one more; the next question shows the end of it.
            client.send({"execute": "query-name", "id": "end"})
            more = []
            while (message := client.answer()).get("id") != "end":
                more.append(message)
            out["raw"].append([text.decode("latin-1"), answer, len(more)])
        entries = client.command("query-qmp-schema")
    schema = Schema(entries)
    only = only or schema
    out["commands"] = {n: schema.command(n) for n in sorted(schema.commands & only.commands)}
    out["events"] = {n: schema.event(n) for n in sorted(schema.events & only.events)}
    return out, schema


def compare(path, ours, theirs, found):
    """Collects where two shapes differ, as paths."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for key in sorted(set(ours) | set(theirs)):
            where = f"{path}/{key}"
            if key not in ours:
                found.append(f"{where} missing")
            elif key not in theirs:
                found.append(f"{where} extra")
            else:
                compare(where, ours[key], theirs[key], found)
    elif isinstance(ours, list) and isinstance(theirs, list):
        if ours and theirs and all(isinstance(x, dict) for x in ours + theirs):
            # Optional members make several shapes: each of ours must be one of theirs.
            for item in ours:
                if item not in theirs:
                    compare(f"{path}/[]", item, theirs[0], found)
        elif len(ours) == len(theirs):
            for a, b in zip(ours, theirs):
                compare(f"{path}/[]", a, b, found)
        elif ours and theirs:
            found.append(f"{path} differs")
    elif ours != theirs:
        found.append(f"{path} differs")


def reasons():
    """(pattern, reason) of each line of the file of differences."""
    out = []
    with open(DIFFERENCES, encoding="utf-8") as f:
        for line in f:
            line = line.strip()
            if line and not line.startswith("#"):
                pattern, reason = re.split(r"\s+:\s+", line, maxsplit=1)
                out.append((pattern, reason))
    return out


@pytest.fixture(scope="module")
def recorded():
    with open(RECORDED, encoding="utf-8") as f:
        return json.load(f)


@pytest.fixture(scope="module")
def ours(nandu_system, tmp_path_factory):
    return session(nandu_system, tmp_path_factory.mktemp("shape"))[0]


def differences(ours, theirs):
    found = []
    compare("greeting", shape(ours["greeting"]), shape(theirs["greeting"]), found)
    for key in ("early", "capabilities"):
        compare(key, ours[key], theirs[key], found)
    for n, ((name, arguments, a), (name2, arguments2, b)) in enumerate(zip(ours["queries"], theirs["queries"])):
        assert (name, arguments) == (name2, arguments2), "record again: the list of queries has changed"
        where = f"query/{name}" + (f"({json.dumps(arguments)})" if arguments else "")
        compare(where, shape(a), shape(b), found)
        if "error" in a and "error" in b:
            compare(where, a, b, found)
    for (text, a, more), (_, b, more2) in zip(ours["raw"], theirs["raw"]):
        compare(f"raw/{text.strip()}", shape(a), shape(b), found)
        if "error" in a and "error" in b:
            compare(f"raw/{text.strip()}", a["error"], b["error"], found)
        if more != more2:
            found.append(f"raw/{text.strip()}/answers differs")
    for kind in ("commands", "events"):
        for name, value in ours[kind].items():
            if name not in theirs[kind]:
                found.append(f"{kind}/{name} extra")
            else:
                compare(f"{kind}/{name}", value, theirs[kind][name], found)
    return found


def test_shape(ours, recorded):
    """Every difference has a reason in the file."""
    patterns = [p for p, _ in reasons()]
    unexplained = [d for d in differences(ours, recorded)
                   if not any(fnmatch.fnmatchcase(d, p.replace("[", "[[]")) for p in patterns)]
    assert not unexplained, "\n".join(unexplained)


def test_reasons_are_needed(ours, recorded):
    """No reason in the file is left over."""
    found = differences(ours, recorded)
    unused = [p for p, _ in reasons() if not any(fnmatch.fnmatchcase(d, p.replace("[", "[[]")) for d in found)]
    assert not unused, "\n".join(unused)


def test_all_queries_exist(ours):
    missing = {name for name, _, answer in ours["queries"]
               if answer.get("error", {}).get("class") == "CommandNotFound"}
    assert missing == {"nonsense", "qmp_capabilities"}


def main():
    """Records QEMU's answers, for the commands and events that Nandu has too."""
    program, nandu = sys.argv[2:4]
    with tempfile.TemporaryDirectory() as folder:
        _, schema = session(nandu, folder)
        out, _ = session(program, folder, schema)
    with open(RECORDED, "w", encoding="utf-8") as f:
        json.dump(out, f, indent=0, sort_keys=True)
        f.write("\n")


if __name__ == "__main__" and sys.argv[1:2] == ["--record"]:
    main()
