#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# iperf3 3.22: with a rate, "-k 10" sends as many blocks as there is time for in a second
#
# -n and -k are the number of bytes and of blocks (packets) to transmit, "instead of -t".  That
# holds for TCP.  With -b, and UDP has a rate by default (1 Mbit/s), the count is looked at when
# a second is over: "-u -k 10 -l 1000" and "-u -k 1 -l 1000" send some 130 datagrams each, and
# with "-b 100M" it is 12,500.  TCP with -b is the same.  "-b 0" makes the number right.
#
# So who counts packets at the other end of something finds more than there should be, and
# ten packets are no way to look whether a path works for ten.  Seen on 2026-11-30 with Debian
# unstable's iperf3 3.22-0.1.  Needs curl, unshare and python3; run as root or as a user who
# may make user namespaces.
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
cat >run.sh <<'EOF2'
ip link set lo up
lib=root/usr/lib/x86_64-linux-gnu
iperf() { $lib/ld-linux-x86-64.so.2 --library-path $lib root/usr/bin/iperf3 "$@"; }
iperf -s -D
until iperf -c 127.0.0.1 -n 1 >/dev/null 2>&1; do sleep 0.1; done
try() {
	iperf -J -c 127.0.0.1 -l 1000 "$@" >report
	python3 - "$*" <<'PY'
import json, sys
n = json.load(open("report"))["end"]["sum_sent"]["bytes"] / 1000
print(sys.argv[1] + ":", 10 if n == 10 else "about 130" if 100 < n < 160 else
      "more than 5000" if n > 5000 else n)
PY
}
try -k 10
try -k 10 -b 1M
try -n 10000 -b 1M
try -u -k 10 -b 0
try -u -k 10
try -u -k 1
try -u -n 1000
try -u -k 10 -R
try -u -k 10 -b 100M
EOF2
unshare -rn --pid --fork --kill-child timeout 60 bash run.sh >seen 2>err || { cat err; exit 1; }
cat seen
diff seen - <<'EOF2'
-k 10: 10
-k 10 -b 1M: about 130
-n 10000 -b 1M: about 130
-u -k 10 -b 0: 10
-u -k 10: about 130
-u -k 1: about 130
-u -n 1000: about 130
-u -k 10 -R: about 130
-u -k 10 -b 100M: more than 5000
EOF2
echo "as described"
