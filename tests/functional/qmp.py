"""A QMP client, and a machine emulator that it drives; for the tests."""

import json
import os
import signal
import socket
import subprocess
import time

from conftest import build_folder, built_with_sanitizer

TIMEOUT = 60        # seconds, for one answer


class Closed(Exception):
    """The other side closed the connection."""


class Client:
    """One QMP connection. Events that come in between are collected in .events."""

    def __init__(self, path, negotiate=True, wait=TIMEOUT):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(TIMEOUT)
        end = time.monotonic() + wait
        while True:
            try:
                self.sock.connect(path)
                break
            except OSError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.01)
        self.buffer = b""
        self.events = []
        self.greeting = self.read()
        if negotiate:
            self.command("qmp_capabilities")

    def read(self):
        """The next message, also an event."""
        while b"\n" not in self.buffer:
            data = self.sock.recv(65536)
            if not data:
                raise Closed
            self.buffer += data
        line, self.buffer = self.buffer.split(b"\n", 1)
        return json.loads(line)

    def send(self, data):
        self.sock.sendall(data if isinstance(data, bytes) else (json.dumps(data) + "\n").encode())

    def answer(self):
        while True:
            message = self.read()
            if "event" not in message:
                return message
            self.events.append(message)

    def ask(self, command, **arguments):
        """The whole answer: {"return": ...} or {"error": ...}."""
        message = {"execute": command}
        if arguments:
            message["arguments"] = {k.rstrip("_").replace("_", "-"): v for k, v in arguments.items()}
        self.send(message)
        return self.answer()

    def command(self, command, **arguments):
        message = self.ask(command, **arguments)
        assert "return" in message, message
        return message["return"]

    def error(self, command, **arguments):
        """(class, description)"""
        message = self.ask(command, **arguments)
        assert "error" in message, message
        return message["error"]["class"], message["error"]["desc"]

    def event(self, name):
        """Waits for an event of this name."""
        while True:
            for i, message in enumerate(self.events):
                if message["event"] == name:
                    return self.events.pop(i)
            message = self.read()
            assert "event" in message, message
            self.events.append(message)

    def close(self):
        self.sock.close()


def leak_check(program):
    """(options, environment) with which a sanitized Nandu that ends looks for leaks, and fails for
    them. The search needs system calls that the sandbox denies. Nothing for other programs."""
    environment = dict(os.environ)
    if os.path.dirname(program) != build_folder() or not built_with_sanitizer():
        return [], environment
    environment["ASAN_OPTIONS"] = environment.get("ASAN_OPTIONS", "") + ":detect_leaks=1"
    return ["-sandbox", "off"], environment


class Machine:
    """A running nandu-system (or QEMU) with a QMP socket; use it in a with statement.

    leaks=False: it isn't searched for leaks in a sanitizer build, but has its sandbox there too."""

    def __init__(self, program, folder, *arguments, machine="none", display=True, pass_fds=(),
                 leaks=True):
        self.path = os.path.join(str(folder), f"qmp-{time.monotonic_ns()}.sock")
        self.log = self.path + ".log"
        command = [program, "-machine", machine, "-nodefaults", "-qmp",
                   f"unix:{self.path},server=on,wait=off"]
        if display:
            command += ["-display", "none"]
        options, environment = leak_check(program) if leaks else ([], None)
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen([*command, *options, *map(str, arguments)],
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            pass_fds=pass_fds, env=environment)

    def client(self, **options):
        end = time.monotonic() + TIMEOUT
        while True:
            try:
                return Client(self.path, wait=0, **options)
            except OSError:
                if self.process.poll() is not None:
                    raise AssertionError(f"ended with {self.process.returncode}: {self.output()}") from None
                if time.monotonic() > end:
                    raise
                time.sleep(0.01)

    def output(self):
        with open(self.log, encoding="utf-8", errors="replace") as f:
            return f.read()

    def memory(self):
        """Resident bytes."""
        with open(f"/proc/{self.process.pid}/statm", encoding="ascii") as f:
            return int(f.read().split()[1]) * 4096

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(TIMEOUT)

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        try:
            status = self.stop()
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        if kind is None:
            assert status == 0, (status, self.output())
