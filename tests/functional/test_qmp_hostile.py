"""QMP clients that misbehave: nothing leaks, memory stays bounded, others are served all the while."""

import os
import random
import socket
import threading
import time

import pytest
from qmp import Client, Closed, Machine

CLIENTS = 1000
NESTING = 100 << 20         # bytes
ALLOWED = 256 << 20         # bytes of memory that a message of up to 64 MiB may cost for a while


class Worker(threading.Thread):
    """A client that behaves, all the while: counts answers, keeps the longest wait."""

    def __init__(self, path):
        super().__init__(daemon=True)
        self.client = Client(path)
        self.answers, self.longest, self.fault = 0, 0.0, None
        self.ended = threading.Event()

    def run(self):
        try:
            while not self.ended.is_set():
                start = time.monotonic()
                assert self.client.command("query-status")["status"] == "running"
                self.longest = max(self.longest, time.monotonic() - start)
                self.answers += 1
                time.sleep(0.002)
        except Exception as fault:              # pylint: disable=broad-except
            self.fault = fault

    def stop(self):
        self.ended.set()
        self.join(60)
        assert self.fault is None, self.fault
        assert self.answers > 10
        self.client.close()


@pytest.fixture
def machine(nandu_system, tmp_path):
    second = tmp_path / "second.sock"
    with Machine(nandu_system, tmp_path, "-qmp", f"unix:{second},server=on,wait=off") as m:
        m.second = str(second)
        m.client().close()
        yield m


def connect(path):
    s = socket.socket(socket.AF_UNIX)
    s.connect(path)             # waits for its turn when many are waiting already
    s.settimeout(60)
    return s


def send_until_closed(s, data):
    try:
        s.sendall(data)
    except (BrokenPipeError, ConnectionResetError):
        pass


def hostile(path, rng, i):
    """One short visit; the socket serves one client at a time, so that each waits for its turn."""
    s = connect(path)
    kind = i % 8
    if kind == 0:
        send_until_closed(s, rng.randbytes(rng.randrange(1, 5000)))
    elif kind == 1:
        send_until_closed(s, b'{"execute": "qmp_cap')
    elif kind == 2:
        pass
    elif kind == 3:
        send_until_closed(s, b'{"execute": "qmp_capabilities"}' + b'{"execute": "query-qmp-schema"}' * 20)
    elif kind == 4:
        send_until_closed(s, b"[" * rng.randrange(1, 100000))
    elif kind == 5:
        send_until_closed(s, b'{"a":' * 2000 + b"1" + b"}" * 2000 + b"\n" + b"\x00\xff\xfe" * 100)
    elif kind == 6:
        s.recv(4096)
        send_until_closed(s, b'{"execute": "qmp_capabilities", "arguments": {"enable": ["oob"]}}\n' +
                          b'{"exec-oob": "nonsense", "id": 1}' * 50)
    else:
        # A descriptor that nobody asked for.
        with open("/dev/null", "rb") as f:
            try:
                socket.send_fds(s, [b'{"execute": "qmp_capabilities"}'], [f.fileno()] * 3)
            except OSError:
                pass
    s.close()


def test_a_thousand_clients(machine, sanitized):
    rng = random.Random(1)
    worker = Worker(machine.path)
    worker.start()
    for i in range(50):
        hostile(machine.second, rng, i)
    client = Client(machine.second)     # all before it are through
    client.close()
    before, descriptors = machine.memory(), machine.descriptors()
    for i in range(CLIENTS):
        hostile(machine.second, rng, i)
    client = Client(machine.second)
    assert client.command("query-status")["running"]
    client.close()
    after = machine.memory()
    worker.stop()
    deadline = time.monotonic() + 30
    while machine.descriptors() > descriptors and time.monotonic() < deadline:
        time.sleep(0.05)
    assert machine.descriptors() <= descriptors
    if not sanitized:           # which keeps what was freed for a while
        assert after < before + (64 << 20), (before, after)


def test_100_mb_of_nesting(machine, sanitized):
    worker = Worker(machine.path)
    worker.start()
    s = connect(machine.second)
    s.recv(4096)
    before, most = machine.memory(), 0
    chunk = b"[" * (1 << 20)

    def drain():
        try:
            while s.recv(65536):
                pass
        except OSError:
            pass

    reader = threading.Thread(target=drain, daemon=True)
    reader.start()
    for _ in range(NESTING >> 20):
        try:
            s.sendall(chunk)
        except (BrokenPipeError, ConnectionResetError):
            break
        most = max(most, machine.memory())
    s.close()
    worker.stop()
    if not sanitized:
        assert most < before + ALLOWED, (before, most)


@pytest.mark.parametrize("start", [b'{"execute": "', b'{"a": [', b"1", b'{"x": "\\u'])
def test_a_message_without_end(machine, sanitized, start):
    """100 MB of one value: refused at its limit, and the memory comes back."""
    s = connect(machine.second)
    s.recv(4096)
    send_until_closed(s, start)
    before, most = machine.memory(), 0
    chunk = (b"0, " if b"[" in start else b"0") * (1 << 18)
    sent = 0
    while sent < NESTING:
        try:
            s.sendall(chunk)
        except (BrokenPipeError, ConnectionResetError):
            break
        sent += len(chunk)
        most = max(most, machine.memory())
    s.close()
    client = Client(machine.second)
    client.command("query-status")
    client.close()
    if not sanitized:
        assert most < before + 4 * ALLOWED, (before, most)


def test_a_client_that_never_reads(machine):
    """Its answers are kept up to a limit; the others don't notice."""
    worker = Worker(machine.path)
    worker.start()
    s = connect(machine.second)
    s.sendall(b'{"execute": "qmp_capabilities"}')
    s.settimeout(1)
    before = machine.memory()
    try:
        for _ in range(2000):
            s.sendall(b'{"execute": "query-qmp-schema"}' * 10)
    except (TimeoutError, OSError):
        pass        # it has stopped reading
    for _ in range(50):
        assert machine.memory() < before + ALLOWED
        time.sleep(0.01)
    s.close()
    worker.stop()


def test_half_a_message_then_the_rest(machine):
    client = Client(machine.second)
    for byte in b'{"execute": "query-name", "id": "slow"}':
        client.send(bytes([byte]))
    assert client.answer() == {"return": {}, "id": "slow"}
    client.close()


def test_disconnect_in_the_middle_of_an_answer(machine):
    for _ in range(50):
        s = connect(machine.second)
        send_until_closed(s, b'{"execute": "qmp_capabilities"}{"execute": "query-qmp-schema"}')
        s.recv(100)
        s.close()
    client = Client(machine.second)
    assert len(client.command("query-qmp-schema")) > 100
    client.close()
    with pytest.raises((Closed, OSError)):
        client.read()


def test_descriptors_of_a_session_are_closed(machine):
    client = Client(machine.second)
    before = machine.descriptors()
    with open(os.devnull, "rb") as f:
        for i in range(20):
            socket.send_fds(client.sock, [b'{"execute": "getfd", "arguments": {"fdname": "f%d"}}' % i],
                            [f.fileno()])
            assert "return" in client.answer()
    assert machine.descriptors() == before + 20
    client.close()
    client = Client(machine.second)
    deadline = time.monotonic() + 30
    while machine.descriptors() > before and time.monotonic() < deadline:
        time.sleep(0.05)
    assert machine.descriptors() <= before
    client.close()
