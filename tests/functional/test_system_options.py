"""The command line of nandu-system-riscv64: right use, wrong use, texts that clients parse."""

import json
import os
import re
import signal
import socket
import subprocess
import time

import pytest
from conftest import TOP, run
from qmp import Client, Machine


@pytest.fixture(scope="module")
def system(nandu_system):
    def call(*arguments, **options):
        return run([nandu_system, *arguments], **options)
    return call


def error_of(done):
    assert done.status == 1, done
    assert not done.out, done
    return done.error


# ---- Texts that clients parse ----

def test_version(system, nandu_system, tmp_path):
    assert re.fullmatch(r"nandu-system-riscv64 version \d+\.\d+\.\d+\n", system("--version").text)
    assert system("-version").text == system("--version").text
    qemu = tmp_path / "qemu-system-riscv64"
    qemu.symlink_to(os.path.realpath(nandu_system))
    assert re.match(r"QEMU emulator version 10\.0\.2 \(Nandu \d+\.\d+\.\d+\)\n", run([qemu, "--version"]).text)


def test_names_of_the_program(nandu_system):
    nandu = os.path.realpath(nandu_system)
    assert run([nandu, "system", "riscv64", "-machine", "help"]).text == run([nandu_system, "-machine", "help"]).text
    for arguments in ([], ["nonsense"], ["system", "nonsense"]):
        done = run([nandu, *arguments])
        assert done.status == 1 and "riscv64" in done.error, done
    assert run([nandu, "help"]).status == 0


def test_machine_help(system):
    lines = system("-machine", "help").text.splitlines()
    assert lines[0] == "Supported machines are:"
    assert any(re.match(r"none +empty machine$", line) for line in lines[1:])
    assert system("-M", "?").text.splitlines() == lines


def test_machine_properties(system):
    text = system("-machine", "none,help").text
    assert text.startswith("none-machine options:\n")
    assert re.search(r"^  mem-merge=<bool>", text, re.M)


def test_device_properties(system):
    """A device on PCI has the properties of the virtio device behind it, with their types and defaults."""
    text = system("-device", "virtio-rng-pci,help").text
    assert text.startswith("virtio-rng-pci options:\n")
    assert re.search(r"^  rng=<link<rng-backend>> +- ", text, re.M)
    assert re.search(r"^  event_idx=<bool> .*\(default: on\)$", text, re.M)
    assert re.search(r"^  vectors=<uint32> ", text, re.M)
    assert len(re.findall(r"^  event_idx=", text, re.M)) == 1
    assert "realized" not in text


def test_accel_help(system):
    assert system("-accel", "help").text == "Accelerators supported in QEMU binary:\ntcg\n"


def test_cpu_help(system):
    lines = system("-cpu", "help").text.splitlines()
    assert lines[0] == "Available CPUs:"
    assert "  rv64" in lines and "  max" in lines


def test_device_help(system):
    assert system("-device", "help").status == 0
    assert "nonsense" in error_of(system("-device", "nonsense,help"))


def test_object_help(system):
    lines = system("-object", "help").text.splitlines()
    assert lines[0] == "List of user creatable objects:"
    names = [line.strip() for line in lines[1:]]
    assert names == sorted(names)
    for name in ("iothread", "memory-backend-ram", "rng-random", "secret", "tls-creds-x509", "authz-list"):
        assert name in names
        assert system("-object", f"{name},help").text.startswith(f"{name} options:\n")


def test_chardev_help(system):
    lines = system("-chardev", "help").text.splitlines()
    assert lines[0].startswith("Available chardev backend types:")
    assert {"  socket", "  null", "  pty", "  stdio", "  ringbuf"} <= set(lines)


def test_other_help(system):
    assert system("-netdev", "help").text.startswith("Available netdev backend types:\n")
    assert "none" in system("-display", "help").text
    assert re.search(r"^guest_errors ", system("-d", "help").text, re.M)
    assert system("-trace", "help").text.strip()
    assert system("-smp", "help").text.startswith("smp-opts options:\n  books=<num>\n  clusters=<num>\n")
    assert "  strict=<bool (on/off)>\n" in system("-boot", "help").text
    assert re.match(r"Supported formats: .*\bqcow2 .*\braw\b", system("-drive", "format=help").text)


def test_same_rows_as_the_manual(system):
    listed = set(re.findall(r"^-(\S+)", system("-h").text, re.M)) | {"h"}
    with open(os.path.join(TOP, "man", "nandu-system-riscv64.1"), encoding="utf-8") as f:
        text = f.read().replace("\\-", "-")
    documented = set()
    for entry in re.findall(r"^\.TP\n\.BI? ([^\n]*)", text, re.M):
        documented |= {w.lstrip("-") for w in re.split(r"[,\s]+", entry) if w.startswith("-")}
    assert documented == listed


# ---- Wrong use: one line, exit status 1 ----

WRONG = [
    (["-foo"], r"-foo: invalid option"),
    (["-machin", "none"], r"-machin: invalid option; did you mean -machine\?"),
    (["-machine"], r"-machine: requires an argument"),
    (["-machine", "nono"], r'unsupported machine type: "nono"'),
    (["-machine", "none,foo=1"], r"Property 'none-machine.foo' not found"),
    (["-machine", "none,mem-merge=maybe"], r"mem-merge"),
    (["-machine", "none,accel=nonsense"], r"invalid accelerator nonsense"),
    (["-machine", "none,accel=kvm"], r"KVM is not built yet"),
    (["-cpu", "nonsense"], r"-cpu nonsense: .*nonsense"),
    (["-accel", "nonsense"], r"-accel nonsense: invalid accelerator"),
    (["-accel", "tcg,nonsense=1"], r"-accel tcg,nonsense=1: .*nonsense"),
    (["-accel", "tcg,tb-size=x"], r"-accel tcg,tb-size=x: Parameter 'tb-size' expects integer"),
    (["-accel", "tcg,thread=x"], r"-accel tcg,thread=x: Invalid 'thread' setting x"),
    (["-machine", "virt", "-accel", "tcg,thread=single", "-smp", "2"], r"thread=single.*; use thread=multi"),
    (["-machine", "none", "-drive", "help"], r"-drive help: Must specify either driver or file"),
    (["-machine", "virt", "-device", "virtio-net-pci,bootindex=1", "-device", "virtio-net-device,bootindex=1"],
     r"-device virtio-net-device,bootindex=1: The bootindex 1 has already been used"),
    (["-machine", "virt", "-device", "virtio-net-pci,mac=x"],
     r"Property 'virtio-net-device\.mac' doesn't take value 'x'"),
    (["-machine", "none", "-accel", "kvm"], r"KVM is not built yet"),
    (["-smp", "0"], r"-smp 0: Invalid CPU topology"),
    (["-smp", "x"], r"-smp x: "),
    (["-machine", "none", "-smp", "2"], r"Invalid SMP CPUs 2"),
    (["-m", "foo"], r"-m foo: .*size"),
    (["-m", "128,foo=2"], r"-m 128,foo=2: .*foo"),
    (["-object", "nonsense,id=a"], r"-object nonsense,id=a: .*nonsense"),
    (["-machine", "none", "-object", "iothread"], r"-object iothread: .*'id'"),
    (["-machine", "none", "-object", "iothread,id=a,nonsense=1"], r"-object .*nonsense"),
    (["-machine", "none", "-object", "iothread,id=a", "-object", "iothread,id=a"], r"-object iothread,id=a: .*"),
    (["-machine", "none", "-object", "{'qom-type': 'iothread'"], r"-object \{.*: .*"),
    (["-machine", "none", "-device", "nonsense"], r"-device nonsense: .*nonsense"),
    (["-name", "x,foo=1"], r"-name x,foo=1: .*foo"),
    (["-uuid", "5"], r"-uuid 5: failed to parse UUID string"),
    (["-seed", "x"], r"-seed x: Invalid seed number"),
    (["-action", "foo=bar"], r"-action foo=bar: .*foo"),
    (["-action", "reboot=bar"], r"-action reboot=bar: .*bar"),
    (["-watchdog-action", "bar"], r"-watchdog-action bar: .*bar"),
    (["-machine", "none", "-chardev", "nonsense,id=x"], r"-chardev nonsense,id=x: .*nonsense"),
    (["-machine", "none", "-chardev", "null"], r"-chardev null: .*id"),
    (["-machine", "none", "-chardev", "null,id=x,foo=1"], r"-chardev null,id=x,foo=1: .*foo"),
    (["-machine", "none", "-serial", "nonsense"], r"-serial nonsense: .*nonsense"),
    (["-machine", "none", "-monitor", "nonsense"], r"-monitor nonsense: .*nonsense"),
    (["-machine", "none", "-qmp", "unix:/nonexistent/x,server=on,wait=off"], r"-qmp .*/nonexistent/x"),
    (["-machine", "none", "-mon", "x"], r'-mon x: chardev "x" not found'),
    (["-mon", "chardev=x,mode=nonsense"], r"-mon .*nonsense"),
    (["-echr", "256"], r"-echr 256: expected the code"),
    (["-display", "gtk"], r"-display gtk: displays other than none are not built yet"),
    (["-machine", "none", "-add-fd", "fd=99,set=1"], r"-add-fd fd=99,set=1: .*fd"),
    (["-add-fd", "set=1"], r"-add-fd set=1: .*'fd'"),
    (["-set", "x"], r"-set x: expected GROUP\.ID\.KEY=VALUE"),
    (["-set", "mon.a.mode=control"], r"-set .*no mon \"a\""),
    (["-set", "nonsense.a.b=c"], r"-set .*no option group"),
    (["-readconfig", "/nonexistent"], r"-readconfig /nonexistent: "),
    (["-machine", "none", "-D", "/nonexistent/x"], r"/nonexistent/x"),
    (["-machine", "none", "-d", "nonsense"], r"nonsense"),
    (["-msg", "foo=1"], r"-msg foo=1: .*foo"),
    (["-machine", "none", "-trace", "events=/nonexistent"], r"/nonexistent"),
    (["-sandbox", "foo"], r"-sandbox foo: .*foo|-sandbox foo: .*enable"),
    (["-sandbox", "on,spawn=maybe"], r"-sandbox on,spawn=maybe: .*maybe"),
    (["-run-with", "nonsense=on"], r"-run-with nonsense=on: .*nonsense"),
    (["-machine", "none", "-nodefaults", "-run-with", "user=no.such.user"], r"no\.such\.user"),
    (["-machine", "none", "-nodefaults", "-run-with", "chroot=/nonexistent"], r"/nonexistent"),
    (["-overcommit", "mem-lock=maybe"], r"-overcommit mem-lock=maybe: .*maybe"),
    (["-overcommit", "cpu-pm=on"], r"cpu-pm=on needs KVM"),
    (["-compat", "deprecated-input=maybe"], r"-compat .*maybe"),
    (["-machine", "none", "-pidfile", "/nonexistent/x"], r"/nonexistent/x"),
    (["-machine", "none", "-daemonize", "-nographic"], r"-nographic cannot be used with -daemonize"),
    (["disk.img"], r"disk.img: .*not built yet"),
]


@pytest.mark.parametrize("arguments,pattern", WRONG, ids=lambda v: " ".join(v) if isinstance(v, list) else "")
def test_wrong_use(system, arguments, pattern):
    text = error_of(system(*arguments))
    assert text.startswith("nandu-system-riscv64: "), text
    assert re.search(pattern, text), text


def test_later_options_say_so(system, nandu_system):
    later = re.search(r"not built yet:(.*)", system("-h").text).group(1).split()
    assert len(later) > 40
    for option in later:
        text = error_of(run([nandu_system, option, "x"]))
        assert re.match(rf"nandu-system-riscv64: {option}: .* not built yet in Nandu [\d.]+\n$", text), text


# ---- Right use ----

def test_names(nandu_system, tmp_path):
    uuid = "12345678-9abc-def0-1234-56789abcdef0"
    with Machine(nandu_system, tmp_path, "-name", "a,,b,process=nanduprobe", "-uuid", uuid, "-S") as m:
        c = m.client()
        assert c.command("query-name") == {"name": "a,b"}
        assert c.command("query-uuid") == {"UUID": uuid}
        assert c.command("query-status") == {"running": False, "status": "prelaunch"}
        with open(f"/proc/{m.process.pid}/comm", encoding="ascii") as f:
            assert f.read().strip() == "nanduprobe"
        c.command("cont")
        c.event("RESUME")
        assert c.command("query-status") == {"running": True, "status": "running"}


def test_memory(nandu_system, tmp_path):
    for text, size in (("64", 64 << 20), ("size=1G", 1 << 30), ("2048k", 2 << 20)):
        with Machine(nandu_system, tmp_path, "-m", text) as m:
            c = m.client()
            assert c.command("query-memory-size-summary")["base-memory"] == size
            assert [b["size"] for b in c.command("query-memdev")] == [size]


def test_memory_backend(nandu_system, tmp_path):
    with Machine(nandu_system, tmp_path, "-object", "memory-backend-memfd,id=mem,size=8M",
                 machine="none,memory-backend=mem") as m:
        c = m.client()
        assert c.command("qom-get", path="/machine", property_="memory-backend").endswith("/mem")


def test_json_and_file_arguments(nandu_system, tmp_path):
    (tmp_path / "object").write_text("iothread,id=fromfile\n")
    (tmp_path / "json").write_text('{"qom-type": "iothread", "id": "fromjson"}')
    with Machine(nandu_system, tmp_path, "-object", f"@{tmp_path}/object", "-object", f"@{tmp_path}/json",
                 "-object", '{"qom-type": "iothread", "id": "direct", "poll-max-ns": 5}') as m:
        threads = {t["id"]: t["poll-max-ns"] for t in m.client().command("query-iothreads")}
        assert set(threads) == {"fromfile", "fromjson", "direct"} and threads["direct"] == 5


def test_config_files(system, nandu_system, tmp_path):
    config = tmp_path / "config"
    config.write_text('# a comment\n[name]\n  guest = "from file"\n\n[object "t7"]\n  qom-type = "iothread"\n')
    with Machine(nandu_system, tmp_path, "-readconfig", config, "-set", "object.t7.poll-max-ns=9") as m:
        c = m.client()
        assert c.command("query-name") == {"name": "from file"}
        assert c.command("query-iothreads")[0]["poll-max-ns"] == 9
    # Options that are text on the command line are groups, too.
    config.write_text('[netdev "n0"]\n  type = "user"\n  net = "10.9.0.0/16"\n[chardev "c0"]\n  backend = "null"\n'
                      '[drive "d0"]\n  if = "none"\n  driver = "null-co"\n')
    with Machine(nandu_system, tmp_path, "-readconfig", config, "-set", "netdev.n0.restrict=on", "-netdev",
                 "user,id=n1", "-set", "netdev.n1.net=10.8.0.0/16", "-set", "drive.d0.readonly=on") as m:
        c = m.client()
        networks = c.command("human-monitor-command", command_line="info network")
        assert "n0: index=0,type=user,net=10.9.0.0,restrict=on" in networks
        assert "n1: index=0,type=user,net=10.8.0.0,restrict=off" in networks
        assert "c0" in [x["label"] for x in c.command("query-chardev")]
        assert [x["inserted"]["ro"] for x in c.command("query-block")] == [True]
    done = system("-name", "x", "-object", "iothread,id=t", "-writeconfig", "-", "-object", "nonsense,id=q")
    assert '[name]\n  guest = "x"\n' in done.text and '[object "t"]\n  qom-type = "iothread"' in done.text
    for text, place in (("[nonsense]\n", ":1: "), ("[name]\nguest\n", ":2: "), ('guest = "x"\n', ":1: "),
                        ("[name\n", ":1: ")):
        config.write_text(text)
        assert place in error_of(system("-readconfig", config))


def test_monitors(nandu_system, tmp_path):
    hmp, pretty = tmp_path / "hmp", tmp_path / "pretty"
    with Machine(nandu_system, tmp_path, "-monitor", f"unix:{hmp},server=on,wait=off",
                 "-qmp-pretty", f"unix:{pretty},server=on,wait=off",
                 "-chardev", f"socket,id=c,path={tmp_path}/mon,server=on,wait=off",
                 "-mon", "chardev=c,mode=control") as m:
        m.client()
        Client(f"{tmp_path}/mon").close()
        s = socket.socket(socket.AF_UNIX)
        s.settimeout(30)
        s.connect(str(hmp))
        text = b""
        while b"(qemu) " not in text:
            text += s.recv(4096)
        s.sendall(b"info version\n")
        while b"10.0.2" not in text:
            text += s.recv(4096)
        p = socket.socket(socket.AF_UNIX)
        p.settimeout(30)
        p.connect(str(pretty))
        text = b""
        while not text.rstrip().endswith(b"}") or text.count(b"{") != text.count(b"}"):
            text += p.recv(4096)
        assert b"\n" in text.strip() and json.loads(text)["QMP"]


def test_options_of_chardevs_are_listed(nandu_system, tmp_path):
    with Machine(nandu_system, tmp_path) as m:
        listed = m.client().command("query-command-line-options", option="chardev")[0]["parameters"]
        assert {"path", "server", "reconnect-ms", "tls-creds", "logfile"} <= {p["name"] for p in listed}


def test_escape_key(nandu_system):
    """Ctrl-B x instead of Ctrl-A x ends the program."""
    done = run([nandu_system, "-machine", "none", "-nographic", "-echr", "0x02"], stdin=b"\x01x\x02x")
    assert done.status == 0, done


def test_thread_single(nandu_system, tmp_path):
    """A machine of one vCPU has one thread that runs it, whatever is said."""
    for accel in ("tcg,thread=single", "tcg,thread=multi", "tcg"):
        with Machine(nandu_system, tmp_path, "-machine", "virt", "-bios", "none", "-accel", accel) as m:
            assert len(m.client().command("query-cpus-fast")) == 1


def test_nographic_monitor_waits_for_focus(nandu_system):
    """The terminal is the serial port's until Ctrl-A c; then the monitor says hello, once."""
    done = run([nandu_system, "-machine", "virt", "-bios", "none", "-S", "-nographic"], stdin=b"\x01x")
    assert done.status == 0 and "QEMU" not in done.text, done
    done = run([nandu_system, "-machine", "virt", "-bios", "none", "-S", "-nographic"],
               stdin=b"\x01cinfo status\n\x01c\x01cquit\n")
    assert done.status == 0 and done.text.count("type 'help' for more information") == 1, done
    assert "VM status: paused" in done.text


def test_add_fd(nandu_system, tmp_path):
    path = tmp_path / "out"
    with open(path, "wb") as f:
        with Machine(nandu_system, tmp_path, "-add-fd", f"fd={f.fileno()},set=7,opaque=mine",
                     "-chardev", "file,id=c,path=/dev/fdset/7", pass_fds=(f.fileno(),)) as m:
            sets = m.client().command("query-fdsets")
            assert [s["fdset-id"] for s in sets] == [7] and sets[0]["fds"][0]["opaque"] == "mine"


def test_daemonize(nandu_system, tmp_path):
    pidfile, qmp = tmp_path / "pid", tmp_path / "qmp"
    command = [nandu_system, "-machine", "none,accel=kvm:tcg", "-S", "-no-user-config", "-nodefaults", "-display",
               "none", "-qmp", f"unix:{qmp},server=on,wait=off", "-pidfile", pidfile, "-daemonize"]
    done = run(command)
    assert done.status == 0 and not done.err, done
    pid = int(pidfile.read_text())
    try:
        client = Client(str(qmp), wait=0)       # start-up is over when the parent has ended
        assert os.getsid(pid) != os.getsid(0)
        assert os.readlink(f"/proc/{pid}/cwd") == "/"
        # The file is locked: a second one fails, and says so although it is in the background.
        second = run([*command[:-6], "-pidfile", pidfile, "-daemonize"])
        assert second.status == 1 and str(pidfile) in second.error, second
        client.command("quit")
    finally:
        deadline = time.monotonic() + 30
        while os.path.exists(f"/proc/{pid}") and time.monotonic() < deadline:
            time.sleep(0.02)
    assert not os.path.exists(f"/proc/{pid}")
    assert not pidfile.exists() and not qmp.exists()


def test_signals(nandu_system, tmp_path):
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        with Machine(nandu_system, tmp_path) as m:
            c = m.client()
            m.process.send_signal(number)
            assert c.event("SHUTDOWN")["data"] == {"guest": False, "reason": "host-signal"}
            assert m.process.wait(30) == 0
            assert re.search(rf"nandu-system-riscv64: terminating on signal {number.value} from pid {os.getpid()} \(.+\)",
                             m.output())


def test_messages(nandu_system, tmp_path):
    with Machine(nandu_system, tmp_path, "-msg", "timestamp=on,guest-name=on", "-name", "guest7") as m:
        m.client()
        m.process.terminate()
        m.process.wait(30)
        assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z (guest7 )?nandu-system-riscv64: ", m.output())
        assert "guest7" in m.output()


def test_actions(nandu_system, tmp_path):
    with Machine(nandu_system, tmp_path, "-no-shutdown", "-no-reboot", "-action", "panic=none") as m:
        c = m.client()
        c.command("quit")
        c.event("SHUTDOWN")
        assert m.process.wait(30) == 0


def test_a_reset_can_be_the_end(nandu_system, tmp_path):
    with Machine(nandu_system, tmp_path, "-no-reboot") as m:
        c = m.client()
        c.command("system_reset")
        assert c.event("SHUTDOWN")["data"]["reason"] == "host-qmp-system-reset"
        assert m.process.wait(30) == 0


def test_preconfig(nandu_system, tmp_path):
    with Machine(nandu_system, tmp_path, "--preconfig") as m:
        c = m.client()
        assert c.command("query-status")["status"] == "prelaunch"
        assert c.error("query-current-machine")[0] == "GenericError"
        c.command("x-exit-preconfig")
        assert c.command("query-status")["status"] == "running"
        assert c.error("x-exit-preconfig")[0] == "GenericError"


def test_seed_makes_random_numbers_repeatable(nandu_system, tmp_path):
    # What draws them is tested in tests/unit; here that the option reaches the program.
    with Machine(nandu_system, tmp_path, "-seed", "12", "-object", "rng-builtin,id=r") as m:
        assert m.client().command("query-status")["running"]


# ---- The sandbox ----

def seccomp_mode(pid):
    out = []
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/status", encoding="ascii") as f:
            out.append(re.search(r"^Seccomp:\s+(\d)", f.read(), re.M).group(1))
    return set(out)


@pytest.mark.parametrize("arguments,mode", [([], "2"), (["-sandbox", "off"], "0"), (["-sandbox", "on"], "2"),
    (["-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"], "2")])
def test_sandbox(nandu_system, tmp_path, arguments, mode):
    with open("/proc/self/status", encoding="ascii") as f:
        if "Seccomp:\t0" not in f.read():
            pytest.skip("this test is under a filter itself")
    with Machine(nandu_system, tmp_path, "-object", "iothread,id=t", *arguments, leaks=False) as m:
        c = m.client()
        assert seccomp_mode(m.process.pid) == {mode}
        # Threads that come later are under it, too.
        c.command("object-add", qom_type="iothread", id="later")
        assert seccomp_mode(m.process.pid) == {mode}
        assert len(c.command("query-iothreads")) == 2


def test_run_with_user(nandu_system, tmp_path):
    if os.geteuid():
        pytest.skip("changing the user needs root")
    os.chmod(tmp_path, 0o777)
    with Machine(nandu_system, tmp_path, "-run-with", "user=65534:65534", leaks=False) as m:
        m.client()
        with open(f"/proc/{m.process.pid}/status", encoding="ascii") as f:
            status = f.read()
        assert re.search(r"^Uid:\s+65534\s+65534\s+65534\s+65534$", status, re.M)
        assert re.search(r"^Gid:\s+65534\s+65534\s+65534\s+65534$", status, re.M)
        assert re.search(r"^CapEff:\s+0+$", status, re.M)


def test_run_with_chroot(nandu_system, tmp_path):
    if os.geteuid():
        pytest.skip("chroot needs root")
    with Machine(nandu_system, tmp_path, "-run-with", f"chroot={tmp_path}", leaks=False) as m:
        m.client()
        assert os.path.realpath(f"/proc/{m.process.pid}/root") == str(tmp_path)


def test_async_teardown(nandu_system, tmp_path):
    with Machine(nandu_system, tmp_path, "-run-with", "async-teardown=on") as m:
        m.client()
        children = subprocess.run(["ps", "-o", "pid=,comm=", "--ppid", str(m.process.pid)], check=False,
                                  capture_output=True, text=True).stdout
        assert "cleanup" in children
        child = int(children.split()[0])
    deadline = time.monotonic() + 30
    while os.path.exists(f"/proc/{child}") and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not os.path.exists(f"/proc/{child}")
