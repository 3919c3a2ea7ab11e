"""Fixtures of the tests that run whole programs.

What is missing on a machine (the tree of Debian riscv64 programs, QEMU, the cross compiler) skips the
tests that need it, with the reason.
"""

import functools
import json
import os
import resource
import shutil
import subprocess
import sys

import pytest

TESTS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
TOP = os.path.dirname(TESTS)
sys.path.insert(0, os.path.join(TESTS, "isa"))

# Programs that die by a signal, of which there are many, leave no core files.
resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))

TIMEOUT = 120       # seconds, for one program
CACHE = os.environ.get("NANDU_CACHE") or os.path.join(
    os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "nandu")


class Result:
    """How a program ended: status (-SIGNAL if killed), out and err as bytes."""

    def __init__(self, status, out, err):
        self.status = status
        self.out = out
        self.err = err

    @property
    def text(self):
        return self.out.decode("utf-8", "replace")

    @property
    def error(self):
        return self.err.decode("utf-8", "replace")

    def __repr__(self):
        return f"<status {self.status}, out {self.out[-2000:]!r}, err {self.err[-2000:]!r}>"


def run(command, stdin=None, env=None, cwd=None, timeout=TIMEOUT, extra_env=None):
    """Runs a command; stdin is bytes, text or None."""
    if isinstance(stdin, str):
        stdin = stdin.encode()
    environment = dict(os.environ if env is None else env)
    environment.update(extra_env or {})
    source = {"stdin": subprocess.DEVNULL} if stdin is None else {"input": stdin}
    try:
        done = subprocess.run([str(c) for c in command], capture_output=True, env=environment,
                              cwd=cwd, timeout=timeout, check=False, **source)
    except subprocess.TimeoutExpired as late:
        pytest.fail(f"no end after {timeout} s: {command}\nout: {late.stdout!r}\n"
                    f"err: {late.stderr!r}")
    return Result(done.returncode, done.stdout, done.stderr)


def build_folder():
    return os.path.abspath(os.environ.get("NANDU_BUILD") or os.path.join(TOP, "build"))


@pytest.fixture(scope="session")
def nandu():
    """Path of nandu-riscv64."""
    path = os.environ.get("NANDU_RISCV64") or os.path.join(build_folder(), "nandu-riscv64")
    if not os.access(path, os.X_OK):
        pytest.fail(f"{path} is not built")
    os.environ["NANDU_RISCV64"] = path      # tests/isa/runner.py looks there
    return path


@pytest.fixture(scope="session")
def nandu_system():
    """Path of nandu-system-riscv64."""
    path = os.path.join(build_folder(), "nandu-system-riscv64")
    if not os.access(path, os.X_OK):
        pytest.fail(f"{path} is not built")
    return path


@pytest.fixture(scope="session")
def qemu_system():
    """Path of qemu-system-riscv64 10, the oracle."""
    path = shutil.which("qemu-system-riscv64")
    if not path:
        pytest.skip("qemu-system-riscv64 is not installed")
    text = subprocess.run([path, "--version"], capture_output=True, text=True, check=False).stdout
    if "version 10." not in text:
        pytest.skip(f"qemu-system-riscv64 is not QEMU 10: {text.splitlines()[:1]}")
    return path


@pytest.fixture(scope="session")
def qemu():
    """Path of qemu-riscv64, the oracle."""
    for name in ("qemu-riscv64-static", "qemu-riscv64"):
        path = shutil.which(name)
        if path:
            return path
    pytest.skip("qemu-riscv64 is not installed")


@pytest.fixture(scope="session")
def cross_gcc():
    path = shutil.which("riscv64-linux-gnu-gcc")
    if not path:
        pytest.skip("riscv64-linux-gnu-gcc is not installed")
    return path


@functools.lru_cache(maxsize=None)
def built_with_sanitizer():
    path = os.path.join(build_folder(), "meson-info", "intro-buildoptions.json")
    try:
        with open(path, encoding="utf-8") as f:
            return any(o["name"] == "b_sanitize" and o["value"] != "none" for o in json.load(f))
    except OSError:
        return False


@pytest.fixture(scope="session")
def sanitized():
    """True if Nandu was built with a sanitizer, which is slower and takes more memory."""
    return built_with_sanitizer()


def _tree(arch):
    root = os.environ.get("NANDU_GUEST_ROOT") if arch == "riscv64" else None
    root = root or os.path.join(CACHE, f"guest-{arch}-trixie")
    if not os.path.isdir(os.path.join(root, "usr")):
        pytest.skip(f"there is no tree of Debian {arch} programs; make it with: "
                    f"tools/fetch-guest-root {arch}")
    return root


def base_environment(folder):
    """What a program sees in place of the caller's environment."""
    return {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "HOME": str(folder), "TZ": "UTC",
            "TMPDIR": str(folder)}


class Guest:
    """Runs programs of the riscv64 tree under Nandu."""

    name = "nandu"

    def __init__(self, nandu, root):
        self.nandu = nandu
        self.root = root
        self.options = []

    def path(self, program):
        """Of a program of the tree, on the host."""
        return self.root + program if program.startswith("/usr/") else program

    def command(self, program, *args):
        return [self.nandu, "-L", self.root, *self.options, self.path(program), *args]

    def run(self, program, *args, folder, env=None, **kwargs):
        environment = base_environment(folder)
        for name in ("ASAN_OPTIONS", "UBSAN_OPTIONS"):
            if name in os.environ:
                environment[name] = os.environ[name]
        environment.update(env or {})
        return run(self.command(program, *args), env=environment, cwd=folder, **kwargs)


class Native:
    """Runs the same programs' amd64 builds on the host: in a tree of their own (chroot in a mount
    namespace) where that is allowed, else by their own dynamic linker, with children that are the
    host's."""

    name = "native"

    # Its arguments: the tree, then the command.
    ENTER = ('root=$1; shift; for d in /proc /dev /sys /tmp; do mount --rbind $d "$root$d" || exit 125; '
             'done; dir=$PWD; exec chroot "$root" /bin/sh -c \'cd "$0" && exec "$@"\' "$dir" "$@"')

    def __init__(self, root):
        self.root = root
        self.unshare = ["unshare", "-m"] if os.geteuid() == 0 else ["unshare", "-rm"]
        self.chroot = False
        probe = subprocess.run(self.enter(["/usr/bin/true"]), cwd="/tmp", capture_output=True,
                               check=False)
        self.chroot = probe.returncode == 0

    def enter(self, command):
        return [*self.unshare, "/bin/sh", "-c", self.ENTER, "enter", self.root, *command]

    def need_chroot(self):
        if not self.chroot:
            pytest.skip("the host doesn't allow chroot in a namespace, which the native programs need")

    def path(self, program):
        return self.root + program if program.startswith("/usr/") else program

    def command(self, program, *args):
        """For a child of a program that runs in the same way."""
        if self.chroot:
            return [program, *args]
        path = os.path.realpath(self.path(program))
        with open(path, "rb") as f:
            static = b"ld-linux" not in f.read(1024)
        if static:
            return [path, *args]
        libraries = ":".join(os.path.join(self.root, d) for d in
                             ("usr/lib/x86_64-linux-gnu", "usr/lib"))
        return [os.path.join(self.root, "usr/lib64/ld-linux-x86-64.so.2"), "--library-path",
                libraries, "--argv0", program, path, *args]

    def run(self, program, *args, folder, env=None, **kwargs):
        environment = base_environment(folder)
        if self.chroot and str(folder).startswith("/tmp/"):
            environment.update(env or {})
            # sbin is where chroot is on the host.
            outer = {**environment, "PATH": "/usr/bin:/bin:/usr/sbin:/sbin"}
            command = self.enter(["/usr/bin/env", "PATH=" + environment["PATH"], program, *args])
            return run(command, env=outer, cwd=folder, **kwargs)
        environment.update({"PYTHONHOME": self.root + "/usr",
                            "PERL5LIB": ":".join(self.root + d for d in
                                                 ("/usr/share/perl/5.40", "/usr/share/perl5",
                                                  "/usr/lib/x86_64-linux-gnu/perl/5.40",
                                                  "/usr/lib/x86_64-linux-gnu/perl-base")),
                            "OPENSSL_CONF": self.root + "/etc/ssl/openssl.cnf",
                            "OPENSSL_MODULES": self.root + "/usr/lib/x86_64-linux-gnu/ossl-modules"})
        environment.update(env or {})
        return run(self.command(program, *args), env=environment, cwd=folder, **kwargs)


@pytest.fixture(scope="session")
def guest(nandu):
    return Guest(nandu, _tree("riscv64"))


@pytest.fixture(scope="session")
def native():
    return Native(_tree("amd64"))
