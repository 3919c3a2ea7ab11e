"""The QMP protocol: negotiation, errors as QEMU's, order, descriptors, events."""

import array
import json
import os
import socket
import subprocess
import time

import pytest
from qmp import Client, Closed, Machine

# Requests whose answers are compared with QEMU's.
REQUESTS = [
    '[1]', '"x"', '{}', '{"a": 1}', '{"execute": 1}', '{"execute": "nonsense"}', '{"id": 1}',
    '{"execute": "nonsense", "id": {"a": [1, null]}}',
    '{"execute": "query-status", "foo": 1}',
    '{"execute": "query-status", "arguments": 1}',
    '{"execute": "query-status", "arguments": {"x": 1}}',
    '{"execute": "query-status", "id": "x"}',
    '{"exec-oob": "query-status", "id": 1}',
    '{"exec-oob": "query-yank", "id": 1}',
    '{"execute": "query-yank"}',
    '{"execute": "qmp_capabilities"}',
    '{"execute": "closefd", "arguments": {"fdname": "x"}}',
    '{"execute": "closefd", "arguments": {}}',
    '{"execute": "closefd", "arguments": {"fdname": 1}}',
    '{"execute": "getfd", "arguments": {"fdname": "x"}}',
    '{"execute": "add-fd"}',
    '{"execute": "remove-fd", "arguments": {"fdset-id": 3}}',
    '{"execute": "remove-fd", "arguments": {"fdset-id": 3, "fd": 77}}',
    '{"execute": "remove-fd", "arguments": {"fdset-id": "x"}}',
    '{"execute": "query-fdsets"}',
    '{"execute": "human-monitor-command", "arguments": {"command-line": "nonsense"}}',
    '{"execute": "human-monitor-command", "arguments": {"command-line": ""}}',
    '{"execute": "human-monitor-command", "arguments": {"command-line": "info status"}}',
    '{"execute": "human-monitor-command",'
    ' "arguments": {"command-line": "info name", "cpu-index": 3}}',
    '{"execute": "trace-event-get-state", "arguments": {"name": "nonsense"}}',
    '{"execute": "trace-event-set-state", "arguments": {"name": "nonsense", "enable": true}}',
    '{"execute": "trace-event-get-state", "arguments": {"name": "nonsense*"}}',
    '{"execute": "query-name"}', '{"execute": "query-uuid"}',
    '}', ']', '{"execute": nonsense}', "{'execute': 'query-status'}", '{"execute" "x"}',
]
# The same, but bytes that aren't text are shown as numbers: QEMU repeats them as they are.
UNPRINTABLE = ['"', '\xff', '\x01']


def pipe(program, text, *arguments):
    """What a program with QMP on its standard input and output says, message by message."""
    done = subprocess.run([program, "-machine", "none", "-display", "none", *arguments],
                          input=text.encode("latin-1"), capture_output=True, timeout=60,
                          check=False)
    assert done.returncode == 0, done
    return done.stdout


def test_answers_are_qemus(nandu_system, qemu_system, tmp_path):
    wrong = []
    with Machine(nandu_system, tmp_path) as ours, Machine(qemu_system, tmp_path) as theirs:
        clients = [m.client(negotiate=False) for m in (ours, theirs)]
        for c in clients:
            c.command("qmp_capabilities", enable=["oob"])
        for request in REQUESTS:
            got = []
            for c in clients:
                c.send(request.encode("latin-1") + b"\n\n")
                got.append(c.answer())
            if got[0] != got[1]:
                wrong.append((request, *got))
    assert not wrong, "\n".join(map(str, wrong))


def test_negotiation_comes_first(nandu_system, qemu_system, tmp_path):
    with Machine(nandu_system, tmp_path) as ours, Machine(qemu_system, tmp_path) as theirs:
        a, b = ours.client(negotiate=False), theirs.client(negotiate=False)
        assert a.greeting["QMP"]["version"]["qemu"] == b.greeting["QMP"]["version"]["qemu"]
        assert a.greeting["QMP"]["capabilities"] == b.greeting["QMP"]["capabilities"]
        assert a.greeting["QMP"]["version"]["package"].startswith("Nandu ")
        for request in ("query-status", "nonsense", "quit"):
            assert a.ask(request) == b.ask(request)
        assert a.error("qmp_capabilities", enable=["nonsense"])[0] == "GenericError"
        a.send({"exec-oob": "query-yank"})
        b.send({"exec-oob": "query-yank"})
        assert a.answer() == b.answer()
        # Clients at once have a negotiation each, and so has the next one of the same socket.
        a.command("qmp_capabilities")
        a.close()
        c = ours.client(negotiate=False)
        assert c.error("query-status")[0] == "CommandNotFound"


def test_input_that_ends(nandu_system):
    """What was asked for is answered, in order, although the end of the input is there already."""
    requests = ["qmp_capabilities", "query-qmp-schema", "stop", "query-status", "query-commands",
                "quit"]
    out = pipe(nandu_system, "".join(json.dumps({"execute": r, "id": r}) for r in requests), "-qmp",
               "stdio")
    messages = [json.loads(line) for line in out.splitlines()]
    ids = [m["id"] for m in messages if "id" in m]
    assert ids == requests
    events = [m["event"] for m in messages if "event" in m]
    assert events == ["STOP", "SHUTDOWN"]
    stop = next(i for i, m in enumerate(messages) if m.get("id") == "stop")
    assert messages[stop - 1]["event"] == "STOP"
    assert all(line.endswith(b"\r") for line in out.rstrip(b"\n").split(b"\n"))


@pytest.mark.parametrize("option", [["-qmp-pretty", "stdio"],
                                    ["-chardev", "stdio,id=c", "-mon", "c,mode=control,pretty=on"]])
def test_pretty(nandu_system, option):
    out = pipe(nandu_system, '{"execute": "qmp_capabilities"}{"execute": "quit"}', *option).decode()
    assert out.startswith('{\r\n    "QMP": {\r\n')
    decoder, messages = json.JSONDecoder(), []
    while out.strip():
        out = out.strip()
        message, end = decoder.raw_decode(out)
        messages.append(message)
        out = out[end:]
    assert [next(iter(m)) for m in messages][:3] == ["QMP", "return", "return"]


def test_several_clients(nandu_system, tmp_path):
    second = tmp_path / "second"
    with Machine(nandu_system, tmp_path, "-qmp", f"unix:{second},server=on,wait=off") as m:
        a, b = m.client(), Client(str(second))
        a.command("stop")
        assert b.event("STOP")["timestamp"]["seconds"] > 1_000_000_000
        assert a.event("STOP")
        b.command("cont")
        assert a.event("RESUME") and b.event("RESUME")
        b.close()
        for _ in range(20):
            b = Client(str(second))
            assert b.command("query-status")["running"]
            b.close()
        assert a.command("query-status")["running"]


def test_preconfig(nandu_system, qemu_system, tmp_path):
    with Machine(nandu_system, tmp_path, "--preconfig") as ours, \
            Machine(qemu_system, tmp_path, "--preconfig") as theirs:
        a, b = ours.client(), theirs.client()
        for command in ("query-status", "query-name", "stop", "query-chardev"):
            x, y = a.ask(command), b.ask(command)
            assert ("error" in x) == ("error" in y), command
            if "error" in x:
                assert x == y
        line = "system_reset"
        assert "permitted only after" in a.command("human-monitor-command", command_line=line)
        a.command("x-exit-preconfig")
        a.command("stop")


# ---- Descriptors ----

def send_with_fd(client, message, fd):
    control = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [fd]).tobytes())]
    client.sock.sendmsg([json.dumps(message).encode()], control)


def test_getfd_for_a_chardev(nandu_system, tmp_path):
    with Machine(nandu_system, tmp_path) as m:
        c = m.client()
        ours, theirs = socket.socketpair()
        send_with_fd(c, {"execute": "getfd", "arguments": {"fdname": "peer"}}, theirs.fileno())
        assert c.answer() == {"return": {}}
        theirs.close()
        addr = {"type": "fd", "data": {"str": "peer"}}
        backend = {"type": "socket", "data": {"addr": addr, "server": False}}
        c.command("chardev-add", id="s", backend=backend)
        assert c.error("closefd", fdname="peer")[0] == "GenericError"      # the chardev has it now
        c.command("chardev-remove", id="s")
        ours.settimeout(10)
        assert ours.recv(1) == b""


def test_fdset_for_a_file(nandu_system, tmp_path):
    path = tmp_path / "log"
    with Machine(nandu_system, tmp_path) as m:
        c = m.client()
        fd = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
        send_with_fd(c, {"execute": "add-fd", "arguments": {"fdset-id": 5, "opaque": "mine"}}, fd)
        os.close(fd)
        added = c.answer()["return"]
        assert added["fdset-id"] == 5
        assert c.command("query-fdsets") == [
            {"fdset-id": 5, "fds": [{"fd": added["fd"], "opaque": "mine"}]}]
        backend = {"type": "file", "data": {"out": "/dev/fdset/5"}}
        c.command("chardev-add", id="f", backend=backend)
        c.command("remove-fd", fdset_id=5, fd=added["fd"])
        assert c.command("query-fdsets") == []


# ---- Out of band ----

def test_out_of_band_overtakes(nandu_system, tmp_path):
    """A chardev that connects to nobody keeps its command waiting; others are answered then."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(0)
    port = listener.getsockname()[1]
    full = [socket.socket() for _ in range(4)]      # the listener's queue: more are not answered
    for s in full:
        s.setblocking(False)
        s.connect_ex(("127.0.0.1", port))
    time.sleep(0.1)
    with Machine(nandu_system, tmp_path) as m:
        c = m.client(negotiate=False)
        c.command("qmp_capabilities", enable=["oob"])
        addr = {"type": "inet", "data": {"host": "127.0.0.1", "port": str(port)}}
        c.send({"execute": "chardev-add", "id": "slow", "arguments": {
            "id": "s", "backend": {"type": "socket", "data": {"addr": addr, "server": False}}}})
        c.send({"execute": "query-status", "id": "next"})
        c.send({"exec-oob": "query-yank", "id": "now"})
        assert c.answer()["id"] == "now"
        listener.close()
        for s in full:
            s.close()
        assert c.answer()["id"] == "slow"
        assert c.answer()["id"] == "next"


def test_quit(nandu_system, tmp_path):
    with Machine(nandu_system, tmp_path) as m:
        c = m.client()
        c.command("quit")
        assert c.event("SHUTDOWN")["data"] == {"guest": False, "reason": "host-qmp-quit"}
        with pytest.raises((Closed, ConnectionResetError)):
            c.read()
        assert m.process.wait(10) == 0
