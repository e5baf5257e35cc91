#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Caddy 2.11 and both netcats: a second server on a port that is taken starts, and shares it
#
# A server that finds its port taken says "Address already in use" and ends: one thinks that
# who has the port has all of its connections.  Caddy, nc.openbsd and nc.traditional set
# SO_REUSEPORT on what they listen with; neither manual nor --help says so.  Another one of
# the same user starts without a word, and the kernel deals new connections out between the
# two: with two directories, by two "caddy file-server", pages are those of the one or of the
# other by chance.
#
# So a server that was forgotten is not noticed, "nc -l" is no test whether a port is free, and
# answers that change from try to try look like the fault of whoever forwards the port.  Seen
# on 2026-11-30 with Debian unstable's caddy 2.11.4-1, netcat-openbsd 1.239-1 and
# netcat-traditional 1.10-50.1.  Needs curl, unshare, ip, ss and python3; run as root or as a
# user who may make user namespaces.
set -eu
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
pool=http://deb.debian.org/debian/pool/main
for p in c/caddy/caddy_2.11.4-1 n/netcat-openbsd/netcat-openbsd_1.239-1 \
	n/netcat/netcat-traditional_1.10-50.1 libb/libbsd/libbsd0_0.12.2-3 \
	libm/libmd/libmd0_1.3.0-1 g/glibc/libc6_2.43-7; do
	curl -sSf -O "$pool/${p}_amd64.deb"
	dpkg -x "${p##*/}_amd64.deb" root
done
for d in one two; do
	mkdir $d
	echo $d >$d/page
done
cat >run.sh <<'EOF2'
ip link set lo up
lib=root/usr/lib/x86_64-linux-gnu
run() { exec $lib/ld-linux-x86-64.so.2 --library-path $lib "$@"; }
python() { exec python3 -m http.server "$@" 8000; }
openbsd() { run root/usr/bin/nc.openbsd -l 127.0.0.1 8000; }
traditional() { run root/usr/bin/nc.traditional -l -s 127.0.0.1 -p 8000; }
caddy() { run root/usr/bin/caddy file-server --listen 127.0.0.1:8000 "$@"; }
count() { ss -Hltn 'sport = 8000' | wc -l; }
export HOME=$PWD
# What the two are, and how each of them is told its directory
try() {
	"$1" ${2:+$2 one} >/dev/null 2>said1 </dev/null &
	first=$!
	until [ "$(count)" = 1 ]; do sleep 0.1; done
	"$1" ${2:+$2 two} >/dev/null 2>said2 </dev/null &
	second=$!
	until [ "$(count)" = 2 ] || ! kill -0 $second 2>/dev/null; do sleep 0.1; done
	echo "$1: $(count) listening, said: $(grep -o 'Address already in use' said2 | head -n 1)"
	if [ "$1" = caddy ]; then
		echo "  pages: $(for _ in $(seq 100); do
			curl -sS --noproxy '*' http://127.0.0.1:8000/page
		done | sort -u | paste -sd' ')"
	fi
	kill $first $second 2>/dev/null || true
	wait
	until [ "$(count)" = 0 ]; do sleep 0.1; done
}
try python -d
try openbsd ""
try traditional ""
try caddy --root
EOF2
unshare -rn --pid --fork --kill-child timeout 60 bash run.sh >seen 2>err || { cat err; exit 1; }
sed -i 's/ *$//' seen
cat seen
diff seen - <<'EOF2'
python: 1 listening, said: Address already in use
openbsd: 2 listening, said:
traditional: 2 listening, said:
caddy: 2 listening, said:
  pages: one two
EOF2
echo "as described"
