"""Networks: options, and a Linux guest that uses them: DHCP, HTTP, forwarding, TFTP, IPv6, links, dumps, taps."""

import hashlib
import http.server
import os
import re
import shutil
import socket
import struct
import subprocess
import threading
import time

import pytest

from conftest import run
from net_guest import Guest, free_port, make_initrd
from qmp import Machine
from test_machine import kernel, opensbi  # noqa: F401  (fixtures)

MiB = 1 << 20
NIC = ["-device", "virtio-net-device,netdev=n0,id=nic0"]


@pytest.fixture(scope="module")
def initrd(kernel, tmp_path_factory):  # noqa: F811
    return make_initrd(kernel, tmp_path_factory.mktemp("net") / "initrd")


@pytest.fixture
def guest(nandu_system, opensbi, kernel, initrd, tmp_path):  # noqa: F811
    def start(*arguments, program=nandu_system, **options):
        return Guest(program, tmp_path, kernel, initrd, *arguments, **options)
    return start


class Files(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        pass


class Server(http.server.ThreadingHTTPServer):
    def __init__(self, folder, address="127.0.0.1"):
        self.address_family = socket.AF_INET6 if ":" in address else socket.AF_INET
        super().__init__((address, 0), lambda *a: Files(*a, directory=folder))
        self.port = self.server_address[1]
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def __exit__(self, *what):
        self.shutdown()
        super().__exit__(*what)


def make_file(path, size):
    """The sha256 of a new file's random bytes."""
    digest = hashlib.sha256()
    with open(path, "wb") as f:
        for _ in range(size // MiB):
            data = os.urandom(MiB)
            digest.update(data)
            f.write(data)
    return digest.hexdigest()


# ---- A guest on netdev user ----

@pytest.mark.parametrize("device", ["virtio-net-device", "virtio-net-pci"])
def test_http(guest, tmp_path, device):
    digest = make_file(tmp_path / "data", 300 * MiB)
    with Server(tmp_path) as server, guest("-netdev", "user,id=n0", "-device", f"{device},netdev=n0") as g:
        lease = g.dhcp()
        assert (lease["ip"], lease["router"], lease["dns"]) == ("10.0.2.15", "10.0.2.2", "10.0.2.3")
        assert "0% packet loss" in g.sh("ping -c 3 -W 10 10.0.2.2")
        assert g.sh("cat /sys/class/net/eth0/address").strip() == "52:54:00:12:34:56"
        got = g.sh(f"wget -q -O - http://10.0.2.2:{server.port}/data | sha256sum")
        assert digest in got
        start = time.monotonic()
        g.sh(f"wget -q -O /dev/null http://10.0.2.2:{server.port}/data")
        print(f"{300 * MiB / 1e6 / (time.monotonic() - start):.0f} MB/s")


def test_upload(guest):
    """The guest sends large segments."""
    digest = hashlib.sha256()
    with socket.create_server(("127.0.0.1", 0)) as server:
        with guest("-netdev", "user,id=n0", *NIC) as g:
            g.dhcp()
            g.sh("for i in $(seq 40); do cat /bin/busybox; done >/tmp/data")
            expected = g.sh("sha256sum </tmp/data").split()[0]

            def take():
                connection, _ = server.accept()
                with connection:
                    while data := connection.recv(1 << 20):
                        digest.update(data)
            taker = threading.Thread(target=take)
            taker.start()
            g.sh(f"nc 10.0.2.2 {server.getsockname()[1]} </tmp/data")
            taker.join(60)
    assert digest.hexdigest() == expected


@pytest.mark.parametrize("how", ["option", "monitor"])
def test_hostfwd(guest, how):
    port = free_port(socket.SOCK_STREAM)
    rule = f"tcp:127.0.0.1:{port}-:7"
    with guest("-netdev", "user,id=n0" + (f",hostfwd={rule}" if how == "option" else ""), *NIC) as g:
        qmp = g.machine.client()
        if how == "monitor":
            assert qmp.command("human-monitor-command", command_line=f"hostfwd_add n0 {rule}") == ""
        assert re.search(rf"TCP\[HOST_FORWARD\] .* {port} ", qmp.command("human-monitor-command",
                                                                     command_line="info usernet"))
        g.dhcp()
        g.serve_echo(7)
        text = os.urandom(100000)
        with socket.create_connection(("127.0.0.1", port)) as s:
            s.settimeout(60)
            threading.Thread(target=lambda: (s.sendall(text), s.shutdown(socket.SHUT_WR))).start()
            got = b""
            while data := s.recv(65536):
                got += data
        assert got == text
        assert "removed" in qmp.command("human-monitor-command", command_line=f"hostfwd_remove tcp:127.0.0.1:{port}")
        with pytest.raises(OSError):
            socket.create_connection(("127.0.0.1", port))


def test_options_of_user(guest, tmp_path):
    (tmp_path / "tftp").mkdir()
    digest = make_file(tmp_path / "tftp" / "file", MiB)
    options = ("user,id=n0,net=192.168.76.0/24,host=192.168.76.9,dhcpstart=192.168.76.20,dns=192.168.76.7,"
               f"hostname=tester,domainname=example.org,dnssearch=a.example,dnssearch=b.example,bootfile=boot.img,"
               f"tftp={tmp_path / 'tftp'}")
    with guest("-netdev", options, *NIC) as g:
        g.sh("ip link set eth0 up; udhcpc -q -n -f -t 10 -i eth0 -s /etc/dhcp -O search -O bootfile -O hostname")
        told = dict(re.findall(r"^(\w+)='(.*)'$", g.sh("cat /tmp/dhcp"), re.M))
        expected = {"ip": "192.168.76.20", "router": "192.168.76.9", "dns": "192.168.76.7", "hostname": "tester",
                    "domain": "example.org", "search": "a.example b.example"}
        assert {key: told.get(key) for key in expected} == expected
        assert "boot.img" in (told.get("boot_file"), told.get("bootfile"))
        g.sh("tftp -g -r file -l /tmp/file 192.168.76.9")
        assert digest in g.sh("sha256sum /tmp/file")


def test_tftp_server_name(guest):
    """By itself, since libslirp 4.7 never frees that name: a search for leaks finds it."""
    with guest("-netdev", "user,id=n0,tftp-server-name=server.example", *NIC, leaks=False) as g:
        g.sh("ip link set eth0 up; udhcpc -q -n -f -t 10 -i eth0 -s /etc/dhcp -O tftp")
        assert "tftp='server.example'" in g.sh("cat /tmp/dhcp")


def test_ipv6(guest, tmp_path):
    digest = make_file(tmp_path / "data", 4 * MiB)
    try:
        server = Server(tmp_path, "::1")
    except OSError:
        pytest.skip("the host has no IPv6")
    with server, guest("-netdev", "user,id=n0", *NIC) as g:
        g.sh("ip link set eth0 up; for i in $(seq 100); do ip -6 addr show dev eth0 | grep -v tentative | "
             "grep fec0:: && break; sleep 0.2; done; ip -6 addr show dev eth0 | grep fec0::")
        assert "0% packet loss" in g.sh("ping6 -c 2 -W 10 fec0::2")
        assert digest in g.sh(f"wget -q -O - 'http://[fec0::2]:{server.port}/data' | sha256sum")


def test_restrict_and_guestfwd(guest, tmp_path):
    path = tmp_path / "fwd"
    with Server(tmp_path) as server, \
            guest("-chardev", f"socket,id=c,path={path},server=on,wait=off", "-netdev",
                  "user,id=n0,restrict=on,guestfwd=tcp:10.0.2.100:1234-chardev:c", *NIC) as g:
        g.dhcp()
        status, _ = g.try_sh(f"wget -q -T 3 -O - http://10.0.2.2:{server.port}/")
        assert status != 0
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(60)
            s.connect(str(path))
            g.sh("(echo from the guest; sleep 2) | nc 10.0.2.100 1234 >/tmp/got &")
            assert s.recv(100) == b"from the guest\n"
            s.sendall(b"from the host\n")
            g.sh("for i in $(seq 100); do grep host /tmp/got && break; sleep 0.1; done; grep 'from the host' /tmp/got")


def test_guestfwd_command(guest):
    with guest("-sandbox", "on,spawn=allow", "-netdev", "user,id=n0,guestfwd=tcp:10.0.2.100:1234-cmd:tr a-z A-Z", *NIC,
               leaks=False) as g:
        g.dhcp()
        assert "LOUD" in g.sh("(echo loud; sleep 1) | nc 10.0.2.100 1234 & sleep 3; wait")


# ---- Links, dumps, commands ----

def read_pcap(path):
    with open(path, "rb") as f:
        data = f.read()
    magic, major, minor, _, _, size, link = struct.unpack_from("<IHHiIII", data)
    assert (magic, major, minor, link) == (0xa1b2c3d4, 2, 4, 1)
    packets, at = [], 24
    while at < len(data):
        seconds, micro, n, full = struct.unpack_from("<4I", data, at)
        assert n == min(full, size) and micro < 1000000 and abs(seconds - time.time()) < 3600
        packets.append(data[at + 16:at + 16 + n])
        at += 16 + n
    return packets


def test_dump(guest, tmp_path):
    files = {queue: tmp_path / f"{queue}.pcap" for queue in ("all", "rx", "tx")}
    dumps = [word for queue, path in files.items()
             for word in ("-object", f"filter-dump,id={queue},netdev=n0,file={path},queue={queue}")]
    short = tmp_path / "short.pcap"
    with guest("-netdev", "user,id=n0", *NIC, *dumps) as g:
        qmp = g.machine.client()
        g.dhcp()
        qmp.command("object-add", qom_type="filter-dump", id="short", netdev="n0", file=str(short), maxlen=60)
        assert "type=filter-dump" in qmp.command("human-monitor-command", command_line="info network")
        g.sh("ping -c 2 -W 10 10.0.2.2")
        qmp.command("qom-set", path="/objects/all", property="status", value="off")
        size = files["all"].stat().st_size
        g.sh("ping -c 2 -W 10 10.0.2.2")
        assert files["all"].stat().st_size == size
        qmp.command("object-del", id="short")
    packets = {name: read_pcap(path) for name, path in files.items()}
    mac = bytes.fromhex("525400123456")
    assert packets["rx"] and all(p[6:12] == mac for p in packets["rx"])
    assert packets["tx"] and all(p[6:12] != mac for p in packets["tx"])
    requests = [p for p in packets["all"] if p[12:14] == b"\x08\0" and p[23] == 1]
    assert [p[34] for p in requests] == [8, 0, 8, 0]
    assert all(len(p) <= 60 for p in read_pcap(short))
    if shutil.which("tcpdump"):
        assert b"ICMP echo reply" in run(["tcpdump", "-nr", files["all"]]).out


def test_link(guest):
    with guest("-netdev", "user,id=n0", *NIC) as g:
        qmp = g.machine.client()
        g.dhcp()
        for name in "n0", "nic0":
            qmp.command("set_link", name=name, up=False)
            g.wait_carrier(False)
            assert g.try_sh("ping -c 1 -W 1 10.0.2.2")[0] != 0
            qmp.command("set_link", name=name, up=True)
            g.wait_carrier(True)
            assert "0% packet loss" in g.sh("ping -c 2 -W 10 10.0.2.2")
        assert qmp.error("set_link", name="nobody", up=True) == ("DeviceNotFound", "Device 'nobody' not found")
        info = qmp.command("query-rx-filter", name="nic0")[0]
        assert (info["main-mac"], info["promiscuous"], info["broadcast-allowed"]) == ("52:54:00:12:34:56", False, True)
        g.sh("ip link set eth0 promisc on")
        assert qmp.event("NIC_RX_FILTER_CHANGED")["data"]["name"] == "nic0"
        assert qmp.command("query-rx-filter")[0]["promiscuous"]
        qmp.command("netdev_del", id="n0")
        g.wait_carrier(False)


def test_stop(guest, tmp_path):
    """What comes while the machine is stopped waits."""
    port = free_port(socket.SOCK_STREAM)
    with guest("-netdev", f"user,id=n0,hostfwd=tcp:127.0.0.1:{port}-:7", *NIC) as g:
        qmp = g.machine.client()
        g.dhcp()
        g.serve_echo(7)
        with socket.create_connection(("127.0.0.1", port)) as s:
            s.settimeout(60)
            s.sendall(b"one")
            assert s.recv(100) == b"one"
            qmp.command("stop")
            s.sendall(b"two")
            time.sleep(0.5)
            qmp.command("cont")
            assert s.recv(100) == b"two"


def test_hub(guest, tmp_path):
    """Two guests' cards and a user network on a hub."""
    with guest("-net", "user", "-net", "nic,macaddr=52:54:00:00:00:07", "-netdev", "hubport,id=h,hubid=0",
               "-device", "virtio-net-device,netdev=h") as g:
        text = g.machine.client().command("human-monitor-command", command_line="info network")
        assert text.count("type=nic") == 2 and "type=user" in text
        assert "52:54:00:00:00:07" in g.sh("cat /sys/class/net/eth*/address")
        assert g.dhcp()["router"] == "10.0.2.2"
        g.sh("ping -c 2 -W 10 10.0.2.2")


def pair_of_options(kind, folder):
    """What -netdev of two machines that are to be connected says."""
    if kind == "stream":
        address = f"addr.type=unix,addr.path={folder}/s"
        return f"stream,server=on,{address}", f"stream,{address},reconnect-ms=50"
    if kind == "socket":
        port = free_port(socket.SOCK_STREAM)
        return f"socket,listen=127.0.0.1:{port}", f"socket,connect=127.0.0.1:{port}"
    if kind == "dgram":
        ends = [f"{folder}/d{i}" for i in range(2)]
        return [f"dgram,local.type=unix,local.path={ends[i]},remote.type=unix,remote.path={ends[not i]}"
                for i in range(2)]
    ports = [free_port(socket.SOCK_DGRAM) for _ in range(2)]
    return [f"socket,udp=127.0.0.1:{ports[not i]},localaddr=127.0.0.1:{ports[i]}" for i in range(2)]


@pytest.mark.parametrize("kind,other", [("stream", "nandu"), ("socket", "nandu"), ("dgram", "nandu"), ("udp", "nandu"),
                                        ("stream", "qemu"), ("dgram", "qemu")])
def test_two_machines(nandu_system, opensbi, kernel, initrd, tmp_path, kind, other):  # noqa: F811
    second = nandu_system if other == "nandu" else shutil.which("qemu-system-riscv64")
    if not second:
        pytest.skip("qemu-system-riscv64 is not installed")
    options = pair_of_options(kind, tmp_path)
    guests = []
    for i, program in enumerate((nandu_system, second)):
        folder = tmp_path / str(i)
        folder.mkdir()
        guests.append(Guest(program, folder, kernel, initrd, "-netdev", f"{options[i]},id=n0", "-device",
                            f"virtio-net-device,netdev=n0,mac=52:54:00:00:00:0{i + 1}"))
    with guests[0] as a, guests[1] as b:
        for i, g in enumerate((a, b)):
            g.sh(f"ip addr add 10.1.1.{i + 1}/24 dev eth0; ip link set eth0 up")
        assert " 0% packet loss" in a.sh("ping -c 3 -s 1400 -W 20 10.1.1.2")
        b.sh("(sleep 1000 | nc -l -p 7 >/tmp/got) & sleep 1")
        sent = a.sh("head -c 3000000 /dev/urandom >/tmp/sent; sha256sum </tmp/sent")
        a.sh("nc 10.1.1.2 7 </tmp/sent")
        assert b.sh("until [ $(wc -c </tmp/got) = 3000000 ]; do sleep 0.2; done; sha256sum </tmp/got") == sent
        # QEMU keeps the connection of a netdev that is gone.
        if (kind, other) == ("stream", "nandu"):
            qmp = a.machine.client()
            qmp.command("set_link", name="n0", up=False)
            assert a.try_sh("ping -c 1 -W 1 10.1.1.2")[0] != 0
            qmp.command("set_link", name="n0", up=True)
            b.machine.client().command("netdev_del", id="n0")
            assert qmp.event("NETDEV_STREAM_DISCONNECTED")["data"] == {"netdev-id": "n0"}


def test_stream_events(nandu_system, tmp_path):
    path = tmp_path / "s"
    with Machine(nandu_system, tmp_path, "-netdev", f"stream,id=n0,server=on,addr.type=unix,addr.path={path}") as m:
        qmp = m.client()
        for _ in range(2):
            with socket.socket(socket.AF_UNIX) as peer:
                peer.connect(str(path))
                assert qmp.event("NETDEV_STREAM_CONNECTED")["data"]["netdev-id"] == "n0"
            qmp.event("NETDEV_STREAM_DISCONNECTED")
        qmp.command("netdev_add", type="dgram", id="n1", local={"type": "inet", "host": "127.0.0.1", "port": "0"},
                    remote={"type": "inet", "host": "127.0.0.1", "port": "9"})
        assert "n1: index=0,type=dgram,udp=127.0.0.1:0/127.0.0.1:9" in qmp.command(
            "human-monitor-command", command_line="info network")


def test_nic(guest):
    with guest("-nic", "user,model=virtio-net-device,mac=52:54:00:01:02:03,net=10.9.0.0/24") as g:
        assert g.dhcp()["ip"] == "10.9.0.15"
        assert g.sh("cat /sys/class/net/eth0/address").strip() == "52:54:00:01:02:03"


# ---- tap ----

@pytest.fixture
def tap_program(nandu_system, tmp_path):
    """Runs Nandu in a network name space of its own, with an interface tap0 that has an address."""
    probe = run(["unshare", "-n", "sh", "-c",
                 "ip tuntap add dev tap0 mode tap multi_queue && ip addr add 10.8.0.1/24 dev tap0"])
    if probe.status != 0:
        pytest.skip(f"no network name space with a tap can be made here: {probe.error.strip()}")

    def make(mode=""):
        path = tmp_path / "nandu-in-namespace"
        path.write_text(f"""#!/bin/sh
exec unshare -n sh -c 'ip link set lo up
ip tuntap add dev tap0 mode tap {mode}
ip addr add 10.8.0.1/24 dev tap0
ip link set tap0 up
exec {nandu_system} "$@"' sh "$@"
""")
        path.chmod(0o755)
        return str(path)
    return make


@pytest.mark.parametrize("options", ["", ",vnet_hdr=off", ",queues=2"])
def test_tap(guest, tap_program, tmp_path, options):
    digest = make_file(tmp_path / "data", 100 * MiB)
    program = tap_program("multi_queue" if "queues" in options else "")
    device = "virtio-net-device,netdev=n0" + (",mq=on" if "queues" in options else "")
    with guest("-smp", "2", "-netdev", f"tap,id=n0,ifname=tap0,script=no,downscript=no{options}", "-device", device,
               program=program) as g:
        server = subprocess.Popen(["nsenter", "-t", str(g.machine.process.pid), "-n", "python3", "-m", "http.server",
                                   "-d", str(tmp_path), "-b", "10.8.0.1", "8000"], stderr=subprocess.DEVNULL,
                                  stdout=subprocess.DEVNULL)
        try:
            g.sh("ip addr add 10.8.0.2/24 dev eth0; ip link set eth0 up")
            g.sh("ping -c 2 -W 10 10.8.0.1")
            g.sh("for i in $(seq 50); do wget -q -O /dev/null http://10.8.0.1:8000/ && break; sleep 0.2; done")
            start = time.monotonic()
            assert digest in g.sh("wget -q -O - http://10.8.0.1:8000/data | sha256sum")
            print(f"{100 * MiB / 1e6 / (time.monotonic() - start):.0f} MB/s with sha256")
        finally:
            server.kill()
            server.wait()


def test_tap_scripts(nandu_system, tap_program, tmp_path):
    script = tmp_path / "script"
    script.write_text(f"#!/bin/sh\necho $1 >>{tmp_path}/$(basename $0 .sh)\n")
    script.chmod(0o755)
    for name in "up", "down":
        (tmp_path / f"{name}.sh").symlink_to(script)
    with Machine(tap_program(), tmp_path, "-netdev",
                 f"tap,id=t,ifname=tap1,script={tmp_path}/up.sh,downscript={tmp_path}/down.sh") as machine:
        qmp = machine.client()
        assert (tmp_path / "up").read_text() == "tap1\n"
        assert not (tmp_path / "down").exists()
        qmp.command("netdev_del", id="t")
        assert (tmp_path / "down").read_text() == "tap1\n"


# ---- Options ----

@pytest.mark.parametrize("option,message", [
    ("user", "Parameter 'id' is missing"),
    ("foo,id=x", "does not accept value 'foo'"),
    ("user,id=x,foo=y", "'foo'"),
    ("user,id=1x", "expects an identifier"),
    ("user,id=x,net=1.2.3.4/99", "Invalid netmask provided (must be in range 4-32)"),
    ("user,id=x,net=nonsense", "Failed to parse netmask"),
    ("user,id=x,host=1.2.3.4", "Host doesn't belong to network"),
    ("user,id=x,host=10.0.2.3", "DNS must be different from host"),
    ("user,id=x,dhcpstart=1.2.3.4", "DHCP doesn't belong to network"),
    ("user,id=x,ipv4=off,ipv6=off", "IPv4 and IPv6 disabled"),
    ("user,id=x,ipv4=off,net=10.0.0.0/8", "IPv4 disabled but"),
    ("user,id=x,ipv6=off,ipv6-net=fec0::/64", "IPv6 disabled but"),
    ("user,id=x,ipv6-net=fec0::/200", "IPv6 prefix length"),
    ("user,id=x,ipv6-host=::1", "IPv6 Host doesn't belong to network"),
    ("user,id=x,domainname=", "cannot be empty"),
    ("user,id=x,hostname=" + "x" * 256, "cannot exceed 255 bytes"),
    ("user,id=x,smb=/tmp", "SMB are not built"),
    ("user,id=x,hostfwd=tcp:zz", "Missing : separator"),
    ("user,id=x,hostfwd=sctp::1-:2", "Bad protocol name"),
    ("user,id=x,hostfwd=tcp::xx", "Bad host port separator"),
    ("user,id=x,hostfwd=tcp::1-:99999", "Bad guest port"),
    ("user,id=x,hostfwd=tcp:999.1:1-:9", "Bad host address"),
    ("user,id=x,guestfwd=foo", "Invalid guest forwarding rule 'foo'"),
    ("user,id=x,guestfwd=tcp:10.0.2.100:80-chardev:nobody", "chardev \"nobody\" not found"),
    ("user,id=x,guestfwd=tcp:1.1.1.1:80-cmd:cat", "Conflicting/invalid host:port"),
    ("tap,id=x,fd=99", "Can't use file descriptor 99"),
    ("tap,id=x,fd=0", "isn't a tap"),
    ("tap,id=x,fd=3,queues=2", "invalid with fd="),
    ("tap,id=x,vhost=on", "vhost is not built"),
    ("tap,id=x,br=br0", "are not built"),
    ("tap,id=x,ifname=much-too-long-a-name", "too long"),
    ("tap,id=x,queues=1000", "can have 1 to 256 queues"),
    ("hubport,id=x", "'hubid' is missing"),
    ("hubport,id=x,hubid=0,netdev=x", "not found"),
    ('{"type": "user", "id": "x", "hostfwd": ["tcp::1-:1"]}', "hostfwd"),
    ('{"type": "user"', "-netdev"),
])
def test_bad_netdev(nandu_system, option, message):
    done = run([nandu_system, "-machine", "none", "-nodefaults", "-display", "none", "-netdev", option])
    assert done.status == 1 and message in done.error and done.error.count("\n") == 1, done


@pytest.mark.parametrize("arguments,message", [
    (["-device", "virtio-net-device,netdev=zz"], "can't find value 'zz'"),
    (["-device", "virtio-net-device,mac=zz"], "doesn't take value 'zz'"),
    (["-device", "virtio-net-device,mac=01:00:00:00:00:00"], "that of a group"),
    (["-device", "virtio-net-device,rx_queue_size=100"], "power of 2"),
    (["-device", "virtio-net-device,duplex=triple"], "'half' or 'full'"),
    (["-netdev", "user,id=a", *["-device", "virtio-net-device,netdev=a"] * 2], "it's in use"),
    (["-netdev", "user,id=a", "-netdev", "tap,id=a"], "Duplicate ID 'a'"),
    (["-nic", "user,model=e1000"], "e1000"),
    (["-nic", "user,nonsense=1"], "nonsense"),
    (["-net", "nic,nonsense=1"], "takes model"),
    (["-object", "filter-dump,id=f,netdev=nobody,file=/dev/null"], "expects a network backend id"),
    (["-netdev", "user,id=a", "-object", "filter-dump,id=f,netdev=a"], "file"),
    (["-netdev", "user,id=a", "-object", "filter-dump,id=f,netdev=a,file=/nonexistent/x"], "can't open"),
    (["-netdev", "user,id=a", "-object", "filter-dump,id=f,netdev=a,file=/dev/null,position=x"], "'head', 'tail'"),
])
def test_bad_nic(nandu_system, arguments, message):
    done = run([nandu_system, "-machine", "virt", "-nodefaults", "-display", "none", *arguments])
    assert done.status == 1 and message in done.error, done


def test_commands(nandu_system, tmp_path):
    with Machine(nandu_system, tmp_path, "-netdev", '{"type": "user", "id": "j", "dnssearch": [{"str": "a.b"}]}') as m:
        qmp = m.client()
        qmp.command("netdev_add", type="user", id="q", hostfwd=[{"str": "udp:127.0.0.1:0-:9"}])
        assert qmp.error("netdev_add", type="user", id="q") == ("GenericError", "Duplicate ID 'q' for netdev")
        assert qmp.error("netdev_del", id="none")[0] == "DeviceNotFound"
        hmp = [qmp.command("human-monitor-command", command_line=line) for line in (
            "netdev_add user,id=h,net=10.7.0.0/16,restrict=on", "info network", "info usernet",
            "hostfwd_add nobody tcp::1-:1", "hostfwd_remove tcp::1", "netdev_del h", "info network")]
        assert "h: index=0,type=user,net=10.7.0.0,restrict=on" in hmp[1]
        assert "(q)" in hmp[2] and "HOST_FORWARD" in hmp[2]
        assert "unrecognized netdev id" in hmp[3] and "not found" in hmp[4]
        assert "h:" not in hmp[6]
        qmp.command("netdev_del", id="q")
        qmp.command("netdev_del", id="j")
        assert qmp.command("query-rx-filter") == []
