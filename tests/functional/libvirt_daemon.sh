#!/bin/bash
# Runs a libvirtd of its own and commands against it:  libvirt_daemon.sh FOLDER COMMAND...
#
# In a mount namespace, so that nothing of the machine's libvirt is touched: its folders and its
# configuration are empty, and the users that Debian's package would make are there.  The log goes to
# FOLDER/libvirtd.log.
set -euo pipefail

if [ "${1:-}" != --inside ]; then
    exec unshare --mount --propagation private "$0" --inside "$@"
fi
folder=$2
shift 2

for dir in /run/libvirt /var/lib/libvirt /var/cache/libvirt /var/log/libvirt /etc/libvirt; do
    mkdir -p "$dir"
    mount -t tmpfs -o mode=755 none "$dir"
done
add() { # FILE NAME LINE
    { cat "$1"; grep -q "^$2:" "$1" || echo "$3"; } >"/run/libvirt/$2.$(basename "$1")"
    mount --bind "/run/libvirt/$2.$(basename "$1")" "$1"
}
add /etc/passwd libvirt-qemu 'libvirt-qemu:x:64055:64055::/var/lib/libvirt:/usr/sbin/nologin'
add /etc/group libvirt-qemu 'libvirt-qemu:x:64055:'
add /etc/group kvm 'kvm:x:64056:'
mkdir -p /etc/libvirt/qemu /var/lib/libvirt/qemu
cat >/etc/libvirt/qemu.conf <<END
user = "root"
group = "root"
stdio_handler = "file"
cgroup_controllers = []
END
cat >/run/libvirt/libvirtd.conf <<END
unix_sock_dir = "/run/libvirt"
auth_unix_rw = "none"
log_filters = "1:qemu.qemu_capabilities 1:qemu.qemu_monitor 1:qemu.qemu_process 3:util.json 3:rpc"
log_outputs = "1:file:$folder/libvirtd.log"
END

libvirtd --config /run/libvirt/libvirtd.conf >"$folder/libvirtd.out" 2>&1 &
daemon=$!
trap 'kill "$daemon" 2>/dev/null; wait "$daemon" || true' EXIT
for _ in $(seq 300); do
    [ ! -S /run/libvirt/libvirt-sock ] || break
    kill -0 "$daemon" || { cat "$folder/libvirtd.out" >&2; exit 3; }
    sleep 0.1
done
"$@"
