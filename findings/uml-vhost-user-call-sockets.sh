#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# User-mode Linux 7.2 as vhost-user front-end: notifications go to sockets that block
#
# VHOST_USER_SET_VRING_CALL brings a descriptor to write to when buffers are used: one
# thinks of an eventfd, as QEMU has it, that does not block.  User-mode Linux sends one end
# of a stream socketpair, and it blocks; so does the eventfd of its kicks.  So a back-end
# that takes eventfds only has no interrupts with it, and one that just writes may have to
# wait for a kernel that does not read.
#
# Seen on 2026-11-30 with Debian unstable's user-mode-linux 7.2um1.  Needs curl, python3 and
# unshare; run as root or as a user who may make user namespaces.
set -eu
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
pool=http://deb.debian.org/debian/pool/main
for p in u/user-mode-linux/user-mode-linux_7.2um1 g/glibc/libc6_2.43-7 \
	b/busybox/busybox-static_1.35.0-4+deb12u1+b1; do
	curl -sSf -O "$pool/${p}_amd64.deb"
	dpkg -x "${p##*/}_amd64.deb" root
done
# The guest's root directory is the host's: what runs there must not need a libc
cp root/bin/busybox .
modules=$(echo "$tmp"/root/usr/lib/uml/modules/*)
cat >init <<EOF2
#!$tmp/busybox sh
for m in failover net_failover virtio_net; do
	$tmp/busybox insmod \$($tmp/busybox find $modules -name \$m.ko)
done
$tmp/busybox sleep 60
EOF2
chmod +x init
cat >backend.py <<'EOF2'
# As little of vhost-user as the front-end needs to hand over its descriptors
import fcntl, os, socket, stat, struct
GET_FEATURES, GET_PROTOCOL, SET_KICK, SET_CALL = 1, 15, 12, 13
listener = socket.socket(socket.AF_UNIX)
listener.bind("sock")
listener.listen()
print("listening", flush=True)
s, _ = listener.accept()
seen = {}
while len(seen) < 2:
    head, fds, _, _ = socket.recv_fds(s, 12, 8)
    request, flags, size = struct.unpack("<III", head)
    body = s.recv(size) if size else b""
    for fd in fds:
        mode = os.fstat(fd).st_mode
        kind = "socket" if stat.S_ISSOCK(mode) else os.readlink(f"/proc/self/fd/{fd}")
        wait = fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_NONBLOCK
        if request in (SET_KICK, SET_CALL):
            seen[request] = f"{kind}, {'not ' if wait else ''}blocking"
    if request == GET_FEATURES:      # version 1, and protocol features
        answer = struct.pack("<Q", 1 << 32 | 1 << 30)
    elif request == GET_PROTOCOL:
        answer = struct.pack("<Q", 0)
    else:
        continue
    s.sendall(struct.pack("<III", request, 5, len(answer)) + answer)
with open("seen", "w") as f:
    print("call:", seen[SET_CALL], file=f)
    print("kick:", seen[SET_KICK], file=f)
EOF2
cat >run.sh <<'EOF2'
lib=$PWD/root/usr/lib/x86_64-linux-gnu
python3 backend.py >said &
until grep -q listening said 2>/dev/null; do sleep 0.05; done
mkdir memory
mount -t tmpfs tmpfs memory
mount --bind $lib/ld-linux-x86-64.so.2 /lib64/ld-linux-x86-64.so.2
export TMPDIR=$PWD/memory LD_LIBRARY_PATH=$lib
root/usr/bin/linux.uml mem=128M seccomp=auto con=null con0=null,fd:1 ssl=null \
	virtio_uml.device=$PWD/sock:1 rootfstype=hostfs ro init=$PWD/init </dev/null >console 2>&1 &
unset LD_LIBRARY_PATH
wait %1
EOF2
unshare -rm --pid --fork --kill-child timeout 60 bash run.sh >err 2>&1 || { cat err console; exit 1; }
cat seen
diff seen - <<'EOF2'
call: socket, blocking
kick: anon_inode:[eventfd], blocking
EOF2
echo "as described"
