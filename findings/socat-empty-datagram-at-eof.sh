#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# socat 1.8.1: a file sent by UDP ends with an empty datagram
#
# "socat -u OPEN:file UDP4:..." of 1.7.4 and 1.8.0 sends one datagram for a short file
# and ends.  1.8.1.3 sends another, of no bytes, when the file is at its end, without
# shut-null.  A receiver that counts datagrams, or takes what recv() says with 0 for the
# end of a stream, behaves in another way.
#
# Seen on 2026-11-29 with Debian unstable's 1.8.1.3-2 beside Debian 12's 1.7.4.4-2 and 13's
# 1.8.0.3-1+deb13u1.  Needs curl, unshare and /usr/bin/python3; run as root or as a user
# who may make user namespaces.
set -eu
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
pool=http://deb.debian.org/debian/pool/main
for p in s/socat/socat_1.7.4.4-2 s/socat/socat_1.8.0.3-1+deb13u1 s/socat/socat_1.8.1.3-2 \
	g/glibc/libc6_2.43-7 o/openssl/libssl3t64_3.6.5-1 t/tcp-wrappers/libwrap0_7.6.q-37 \
	z/zlib/zlib1g_1.3.dfsg+really1.3.2-4 libz/libzstd/libzstd1_1.5.7+dfsg-4; do
	curl -sSf -O "$pool/${p}_amd64.deb"
	file=${p##*/}
	case $file in
	socat_*) dpkg -x "${file}_amd64.deb" "${file#socat_}" ;;
	*) dpkg -x "${file}_amd64.deb" libs ;;
	esac
done
printf hello >file
cat >run.sh <<'EOF'
ip link set lo up
lib=libs/usr/lib/x86_64-linux-gnu
for version in 1.*; do
	/usr/bin/python3 - <<'PY' &
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("127.0.0.1", 7000))
open("ready", "w").close()
s.settimeout(2)
sizes = []
try:
    while True:
        sizes.append(str(len(s.recv(100))))
except TimeoutError:
    print("datagrams of", " and ".join(sizes), "bytes")
PY
	until [ -e ready ]; do sleep 0.1; done
	rm ready
	program=$version/usr/bin/socat
	[ -e "$program" ] || program=${program}1
	printf '%s: ' "$version"
	$lib/ld-linux-x86-64.so.2 --library-path $lib "$program" \
		-u OPEN:file UDP4:127.0.0.1:7000
	wait
done
EOF
unshare -rn bash run.sh >seen
cat seen
diff seen - <<'EOF'
1.7.4.4-2: datagrams of 5 bytes
1.8.0.3-1+deb13u1: datagrams of 5 bytes
1.8.1.3-2: datagrams of 5 and 0 bytes
EOF
echo "as described"
