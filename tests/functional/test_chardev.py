"""Character devices of the whole program: terminals, sockets with something on top, options."""

import base64
import contextlib
import hashlib
import json
import os
import pty
import re
import select
import shutil
import signal
import socket
import ssl
import subprocess
import termios
import time

import pytest

from conftest import run
from qmp import Client, Machine

TIMEOUT = 60


def read_until(fd, text, timeout=TIMEOUT):
    """What comes from a descriptor, up to and with the text."""
    data = b""
    end = time.monotonic() + timeout
    while text not in data:
        ready, _, _ = select.select([fd], [], [], max(0, end - time.monotonic()))
        assert ready, f"{text!r} didn't come: {data!r}"
        more = os.read(fd, 65536)
        assert more, f"{text!r} didn't come: {data!r}"
        data += more
    return data


def connect(address):
    sock = socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET)
    sock.connect(address)       # blocking: waits for its turn
    sock.settimeout(TIMEOUT)
    return sock


def port_of(client, chardev):
    """Where a chardev with port 0 listens."""
    for info in client.command("query-chardev"):
        if info["label"] == chardev:
            return "127.0.0.1", int(re.search(r":(\d+),server=on$", info["filename"]).group(1))
    raise AssertionError(f"there is no chardev {chardev}")


def test_help(nandu_system, qemu_system):
    ours = run([nandu_system, "-chardev", "help"])
    theirs = run([qemu_system, "-chardev", "help"])
    assert ours.status == theirs.status == 0
    assert ours.text.splitlines()[0] == theirs.text.splitlines()[0]
    assert set(ours.text.splitlines()) <= set(theirs.text.splitlines())
    assert "  socket" in ours.text.splitlines()


@pytest.mark.parametrize("option, words", [
    (["-chardev", "null"], "-chardev null: chardev: no id specified"),
    (["-chardev", "sokcet,id=a"], "did you mean 'socket'?"),
    (["-chardev", "socket,id=a,path=/x,sever=on"], "'sever' for chardev socket; did you mean 'server'?"),
    (["-chardev", "null,id=a", "-chardev", "null,id=a"], "Chardev with id 'a' already exists"),
    (["-chardev", "null,id=1a"], "1a"),
    (["-chardev", "spicevmc,id=a,name=x"], "there is no SPICE server"),
    (["-serial", "vc"], "-serial vc: 'vc' isn't supported"),
    (["-serial", "bogus"], "-serial bogus: 'bogus' is not a valid char driver"),
    (["-monitor", "chardev:x"], "-monitor chardev:x: chardev \"x\" not found"),
    (["-monitor", "unix:/nonexistent/x"], "'/nonexistent/x': No such file or directory"),
    (["-serial", "stdio", "-monitor", "stdio"], "cannot use stdio by multiple character devices"),
    (["-serial", "stdio", "-daemonize"], "stdio"),
])
def test_bad_options(nandu_system, option, words):
    result = run([nandu_system, "-machine", "none", "-display", "none", "-nodefaults", *option])
    assert result.status == 1, result
    assert words in result.error, result
    assert len(result.error.splitlines()) == 1, result


def test_monitor_on_pty(nandu_system, tmp_path):
    with Machine(nandu_system, tmp_path, "-monitor", "pty") as machine:
        client = machine.client()
        name = re.search(r"^char device redirected to (/dev/pts/\d+) \(label compat_monitor\d\)$",
                         machine.output(), re.MULTILINE).group(1)
        for _ in range(2):
            fd = os.open(name, os.O_RDWR | os.O_NOCTTY)
            os.write(fd, b"info status\r")
            read_until(fd, b"VM status")
            os.close(fd)
        client.close()


class Terminal:
    """The program on a terminal of its own."""

    def __init__(self, *command):
        self.master, slave = pty.openpty()
        self.before = termios.tcgetattr(slave)
        self.process = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave)
        self.slave = slave

    def end(self):
        status = self.process.wait(TIMEOUT)
        after = termios.tcgetattr(self.slave)
        os.close(self.master)
        os.close(self.slave)
        # Flag by flag: the kernel sets bits of its own in others.
        assert after[:4] == self.before[:4]
        return status


def test_terminal_is_restored(nandu_system):
    terminal = Terminal(nandu_system, "-machine", "none", "-display", "none", "-nodefaults", "-monitor",
                        "stdio")
    read_until(terminal.master, b"(qemu) ")
    assert termios.tcgetattr(terminal.slave)[3] & (termios.ECHO | termios.ICANON) == 0
    terminal.process.send_signal(signal.SIGTERM)
    assert terminal.end() == 0


def test_mux_keys_on_terminal(nandu_system):
    terminal = Terminal(nandu_system, "-machine", "none", "-display", "none", "-nodefaults", "-serial",
                        "mon:stdio")
    os.write(terminal.master, b"\x01h")
    read_until(terminal.master, b"Ctrl-A x    end the program")
    os.write(terminal.master, b"\x01x")
    read_until(terminal.master, b"Terminated")
    assert terminal.end() == 0


def test_wait_for_client(nandu_system, tmp_path):
    path = str(tmp_path / "s")
    process = subprocess.Popen([nandu_system, "-machine", "none", "-display", "none", "-nodefaults", "-qmp",
                                f"unix:{path},server=on"], stderr=subprocess.PIPE)
    read_until(process.stderr.fileno(), f"waiting for connection on: disconnected:unix:{path},server=on\n"
               .encode())
    client = Client(path)
    client.command("quit")
    assert process.wait(TIMEOUT) == 0
    assert not os.path.exists(path)


def test_wait_is_interrupted(nandu_system, tmp_path):
    path = str(tmp_path / "s")
    terminal = Terminal(nandu_system, "-machine", "none", "-display", "none", "-nodefaults", "-monitor",
                        "stdio", "-serial", f"unix:{path},server=on")
    read_until(terminal.master, b"waiting for connection")
    terminal.process.send_signal(signal.SIGTERM)
    assert terminal.end() == 1
    assert not os.path.exists(path)


def test_named_descriptor(nandu_system, tmp_path):
    with Machine(nandu_system, tmp_path) as machine:
        client = machine.client()
        ours, theirs = socket.socketpair()
        message = json.dumps({"execute": "getfd", "arguments": {"fdname": "pair"}}).encode()
        socket.send_fds(client.sock, [message], [theirs.fileno()])
        theirs.close()
        assert client.answer() == {"return": {}}
        backend = {"type": "socket", "data": {"addr": {"type": "fd", "data": {"str": "pair"}},
                                              "server": False}}
        client.command("chardev-add", id="p", backend=backend)
        assert client.error("chardev-add", id="q", backend=backend)[1].startswith("Failed to add chardev 'q'")
        client.command("chardev-remove", id="p")
        assert ours.recv(1) == b""
        client.close()


def test_nothing_leaks(nandu_system, tmp_path):
    """Clients come, say something or nothing, and go."""
    path = str(tmp_path / "s")
    with Machine(nandu_system, tmp_path, "-chardev", f"socket,id=s,path={path},server=on,wait=off",
                 "-monitor", f"unix:{tmp_path}/m,server=on,wait=off") as machine:
        client = machine.client()
        before = machine.descriptors()
        for i in range(201):
            for where in (path, f"{tmp_path}/m"):
                sock = connect(where)
                if i % 2:
                    sock.sendall(b"\x00\xffhelp\n" * 100)
                sock.close()
        for i in range(20):
            client.command("chardev-add", id="x", backend={"type": "pty", "data": {}})
            client.command("chardev-change", id="x", backend={"type": "ringbuf", "data": {}})
            client.command("chardev-remove", id="x")
        end = time.monotonic() + TIMEOUT
        while machine.descriptors() > before and time.monotonic() < end:
            time.sleep(0.05)
        assert machine.descriptors() <= before
        client.close()


def test_telnet(nandu_system, tmp_path):
    with Machine(nandu_system, tmp_path, "-monitor", "telnet:127.0.0.1:0,server=on,wait=off") as machine:
        client = machine.client()
        sock = connect(port_of(client, "compat_monitor1"))
        data = read_until(sock.fileno(), b"(qemu) ")
        assert data.startswith(b"\xff\xfb\x01\xff\xfb\x03\xff\xfb\x00\xff\xfd\x00")
        sock.sendall(b"\xff\xfd\x01\xff\xfd\x03info status\r")
        read_until(sock.fileno(), b"VM status")
        sock.close()
        client.close()


def websocket_frame(opcode, payload):
    mask = b"\x11\x22\x33\x44"
    assert len(payload) < 126
    body = bytes(b ^ mask[i % 4] for i, b in enumerate(payload))
    return bytes([0x80 | opcode, 0x80 | len(payload)]) + mask + body


def test_websocket(nandu_system, tmp_path):
    with Machine(nandu_system, tmp_path, "-chardev",
                 "socket,id=ws,host=127.0.0.1,port=0,server=on,wait=off,websocket=on",
                 "-mon", "chardev=ws,mode=control") as machine:
        client = machine.client()
        where = port_of(client, "ws")
        garbage = connect(where)
        garbage.sendall(b"\x16\x03\x01garbage\r\n\r\n")
        while garbage.recv(4096):
            pass
        garbage.close()

        sock = connect(where)
        key = base64.b64encode(os.urandom(16)).decode()
        sock.sendall((f"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                      f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n"
                      f"Sec-WebSocket-Protocol: binary\r\n\r\n").encode())
        accept = base64.b64encode(hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode())
                                  .digest())
        data = read_until(sock.fileno(), b"\r\n\r\n")
        assert accept in data
        if b'"QMP"' not in data:
            read_until(sock.fileno(), b'"QMP"')
        sock.sendall(websocket_frame(2, b'{"execute": "qmp_capabilities"}'))
        read_until(sock.fileno(), b'"return"')
        sock.close()
        client.close()


def make_certificates(folder):
    """A CA, and a server's and two clients' certificates."""
    if not shutil.which("certtool"):
        pytest.skip("certtool (gnutls-bin) is not installed")

    def certtool(*arguments):
        subprocess.run(["certtool", *arguments], check=True, capture_output=True, cwd=folder)

    def template(name, text):
        (folder / name).write_text(text)

    certtool("--generate-privkey", "--key-type=ecdsa", "--outfile", "ca-key.pem")
    template("ca.cfg", "cn = ca\nca\ncert_signing_key\nexpiration_days = 10\n")
    certtool("--generate-self-signed", "--load-privkey", "ca-key.pem", "--template", "ca.cfg", "--outfile",
             "ca-cert.pem")
    for name, purpose in (("server", "tls_www_server"), ("alice", "tls_www_client"),
                          ("mallory", "tls_www_client")):
        certtool("--generate-privkey", "--key-type=ecdsa", "--outfile", f"{name}-key.pem")
        template(f"{name}.cfg", f"cn = {name}\ndns_name = localhost\n{purpose}\nsigning_key\n"
                                "encryption_key\nexpiration_days = 10\n")
        certtool("--generate-certificate", "--load-privkey", f"{name}-key.pem", "--load-ca-certificate",
                 "ca-cert.pem", "--load-ca-privkey", "ca-key.pem", "--template", f"{name}.cfg",
                 "--outfile", f"{name}-cert.pem")


def test_tls(nandu_system, tmp_path):
    make_certificates(tmp_path)

    def session(name, where):
        context = ssl.create_default_context(cafile=tmp_path / "ca-cert.pem")
        if name:
            context.load_cert_chain(tmp_path / f"{name}-cert.pem", tmp_path / f"{name}-key.pem")
        return context.wrap_socket(connect(where), server_hostname="localhost")

    with Machine(nandu_system, tmp_path, "-object", f"tls-creds-x509,id=t,endpoint=server,dir={tmp_path}",
                 "-object", "authz-simple,id=z,identity=CN=alice",
                 "-chardev", "socket,id=s,host=127.0.0.1,port=0,server=on,wait=off,tls-creds=t,tls-authz=z",
                 "-mon", "chardev=s,mode=control") as machine:
        client = machine.client()
        where = port_of(client, "s")
        with connect(where) as plain:
            plain.sendall(b'{"execute": "qmp_capabilities"}\n')
            with contextlib.suppress(ConnectionError):
                while plain.recv(4096):
                    pass
        for name in (None, "mallory"):
            with pytest.raises((ssl.SSLError, ConnectionError, AssertionError)):
                with session(name, where) as sock:
                    assert sock.recv(4096)
        with session("alice", where) as sock:
            data = b""
            while b'"QMP"' not in data:
                data += sock.recv(4096)
            sock.sendall(b'{"execute": "qmp_capabilities"}\n')
            assert b"return" in sock.recv(4096)
        client.close()


def test_logfile(nandu_system, tmp_path):
    with Machine(nandu_system, tmp_path, "-chardev",
                 f"socket,id=m,path={tmp_path}/m,server=on,wait=off,logfile={tmp_path}/log",
                 "-mon", "m,mode=control") as machine:
        client = machine.client()
        other = Client(f"{tmp_path}/m")
        other.command("query-status")
        other.close()
        client.close()
    lines = (tmp_path / "log").read_text(encoding="utf-8").splitlines()
    assert "QMP" in json.loads(lines[0])
    assert "running" in json.loads(lines[2])["return"]
