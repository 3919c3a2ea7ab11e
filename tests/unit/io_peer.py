#!/usr/bin/env python3
"""The other end of channels in test_io.c and test_tls.c, over a socket that is descriptor FD.

io_peer.py websocket FD                 talks WebSocket to an echo server
io_peer.py tls-client FD DIR NAME       TLS with DIR's client certificate to an echo server called NAME
io_peer.py tls-server FD DIR            the same, the other way round: echoes until the client's end

Exits with 0 if all was as it should be.
"""

import base64
import hashlib
import os
import socket
import ssl
import struct
import sys

DATA = bytes(range(256)) * 1000


def read_exactly(stream, size):
    data = stream.read(size)
    assert len(data) == size, f"{len(data)} bytes came instead of {size}"
    return data


class WebSocket:
    """A client that knows nothing of the server's implementation (RFC 6455)."""

    def __init__(self, sock):
        self.sock = sock
        self.stream = sock.makefile("rb")
        key = base64.b64encode(os.urandom(16)).decode()
        sock.sendall((f"GET /any/path HTTP/1.1\r\nhost: localhost\r\nCONNECTION: Upgrade\r\n"
                      f"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nOrigin: null\r\n"
                      f"Sec-WebSocket-Protocol: binary\r\nSec-WebSocket-Key: {key}\r\n\r\n").encode())
        assert self.stream.readline() == b"HTTP/1.1 101 Switching Protocols\r\n"
        headers = {}
        while (line := self.stream.readline()) != b"\r\n":
            name, value = line.decode().split(":", 1)
            headers[name.lower()] = value.strip()
        guid = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        accept = base64.b64encode(hashlib.sha1((key + guid).encode()).digest()).decode()
        assert headers["sec-websocket-accept"] == accept, headers
        assert headers["sec-websocket-protocol"] == "binary", headers
        assert headers["upgrade"].lower() == "websocket", headers

    def send(self, opcode, data, fin=True):
        size = len(data)
        if size < 126:
            length = bytes([0x80 | size])
        elif size < 65536:
            length = b"\xfe" + struct.pack(">H", size)
        else:
            length = b"\xff" + struct.pack(">Q", size)
        mask = os.urandom(4)
        masked = bytes(b ^ mask[i & 3] for i, b in enumerate(data))
        self.sock.sendall(bytes([fin << 7 | opcode]) + length + mask + masked)

    def receive(self):
        first, length = read_exactly(self.stream, 2)
        assert first & 0x70 == 0 and length & 0x80 == 0
        if length == 126:
            length = struct.unpack(">H", read_exactly(self.stream, 2))[0]
        elif length == 127:
            length = struct.unpack(">Q", read_exactly(self.stream, 8))[0]
        return first, read_exactly(self.stream, length)

    def receive_data(self, size):
        data = b""
        while len(data) < size:
            first, part = self.receive()
            assert first == 0x82, hex(first)
            data += part
        return data


def websocket(sock):
    ws = WebSocket(sock)
    ws.send(2, b"hello")
    assert ws.receive_data(5) == b"hello"
    ws.send(2, b"in ", fin=False)
    ws.send(0, b"three ", fin=False)
    ws.send(0, b"parts")
    assert ws.receive_data(14) == b"in three parts"
    ws.send(9, b"ping")
    assert ws.receive() == (0x8a, b"ping")
    ws.send(2, DATA)
    assert ws.receive_data(len(DATA)) == DATA
    ws.send(8, struct.pack(">H", 1000))
    assert ws.receive() == (0x88, struct.pack(">H", 1000))
    assert ws.stream.read() == b""


def context(purpose, folder, name):
    ctx = ssl.SSLContext(purpose)
    ctx.load_verify_locations(f"{folder}/ca-cert.pem")
    ctx.load_cert_chain(f"{folder}/{name}-cert.pem", f"{folder}/{name}-key.pem")
    return ctx


def tls_client(sock, folder, name):
    ctx = context(ssl.PROTOCOL_TLS_CLIENT, folder, "client")
    with ctx.wrap_socket(sock, server_hostname=name, suppress_ragged_eofs=False) as tls:
        stream = tls.makefile("rb")
        for at in range(0, len(DATA), 50000):
            part = DATA[at:at + 50000]
            tls.sendall(part)
            assert read_exactly(stream, len(part)) == part
        tls.unwrap()


def tls_server(sock, folder):
    ctx = context(ssl.PROTOCOL_TLS_SERVER, folder, "server")
    ctx.verify_mode = ssl.CERT_REQUIRED
    with ctx.wrap_socket(sock, server_side=True, suppress_ragged_eofs=False) as tls:
        while data := tls.recv(10000):
            tls.sendall(data)
        tls.unwrap()


def main():
    mode, fd, *rest = sys.argv[1:]
    sock = socket.socket(fileno=int(fd))
    sock.settimeout(60)
    {"websocket": websocket, "tls-client": tls_client, "tls-server": tls_server}[mode](sock, *rest)


if __name__ == "__main__":
    main()
