#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# iperf3 3.22 -Z on a "BIG TCP" loopback: 17 pages at once where send() gets 512 KiB
#
# With gso_ipv4_max_size at its most (524280), what a program gives to send() leaves in
# packets of up to half a megabyte.  What comes by sendfile() or splice() stays near the
# old 64 KiB: the kernel takes pages one by one, and a packet has 17 fragments.  Those
# hold 69632 bytes, which is a segment of 65483 and a short second one, where without BIG
# TCP there was one whole segment in each packet.
#
# So "zero copy" programs, file servers and proxies that splice, gain nothing from BIG TCP,
# and each packet of theirs counts as two segments.  Seen on 2026-11-30 with Debian
# unstable's iperf3 3.22-0.1 on Linux 6.18.  Needs curl, unshare and python3, and Linux
# 6.3; run as root or as a user who may make user namespaces.
set -eu
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
pool=http://deb.debian.org/debian/pool/main
for p in g/glibc/libc6_2.43-7 i/iperf3/iperf3_3.22-0.1 i/iperf3/libiperf0_3.22-0.1 \
	l/lksctp-tools/libsctp1_1.0.21+dfsg-2 o/openssl/libssl3t64_3.6.5-1 \
	z/zlib/zlib1g_1.3.dfsg+really1.3.2-4 libz/libzstd/libzstd1_1.5.7+dfsg-4; do
	curl -sSf -O "$pool/${p}_amd64.deb"
	dpkg -x "${p##*/}_amd64.deb" root
done
cat >lo.py <<'EOF2'
# lo up, with the longest packets of IPv4 TCP (IFLA_GSO_IPV4_MAX_SIZE)
import socket, struct
lo = struct.pack("=BxHiII", 0, 0, socket.if_nametoindex("lo"), 1, 1)
lo += struct.pack("=HHI", 8, 63, 524280)
s = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
s.send(struct.pack("=IHHII", 16 + len(lo), 16, 5, 1, 0) + lo)
assert not struct.unpack_from("=i", s.recv(4096), 16)[0]
EOF2
cat >longest.py <<'EOF2'
# Of the packets on lo while a command runs
import socket, subprocess, sys, threading
s = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(3))
s.bind(("lo", 0))
s.settimeout(0.2)
command = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL)
most = 0
while True:
    try:
        most = max(most, len(s.recv(1 << 20)))
    except TimeoutError:
        if command.poll() is not None:
            break
assert not command.returncode
print("less than 72000" if most < 72000 else "more than 200000" if most > 200000 else most)
EOF2
cat >run.sh <<'EOF2'
lib=root/usr/lib/x86_64-linux-gnu
iperf() { $lib/ld-linux-x86-64.so.2 --library-path $lib root/usr/bin/iperf3 "$@"; }
python3 lo.py
iperf -s -D
until iperf -c 127.0.0.1 -n 1 >/dev/null 2>&1; do sleep 0.1; done
for how in "" -Z; do
	echo "iperf3 $how: $(python3 longest.py $lib/ld-linux-x86-64.so.2 --library-path $lib \
		root/usr/bin/iperf3 -c 127.0.0.1 -n 1G -l 1M $how)"
done
EOF2
unshare -rn --pid --fork --kill-child timeout 60 bash run.sh >seen 2>err || { cat err; exit 1; }
cat seen
diff seen - <<'EOF2'
iperf3 : more than 200000
iperf3 -Z: less than 72000
EOF2
echo "as described"
