#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Debian's Caddy 2.11.4, built with Go 1.26, resolves and listens as Go 1.18 did
#
# Go chooses what has changed since by the version in a module's go.mod.  Debian builds without
# modules, and then all of it is as it was in the oldest version that Go still imitates, that
# of Go 1.18 and before ("go version -m" shows it as DefaultGODEBUG).  So Debian's Caddy asks DNS
# without EDNS, where Go does it with since 1.19, and listens with plain TCP, where it is MPTCP
# since 1.24.  The GODEBUG below makes it what "go build" in a module makes of today's programs.
#
# With EDNS Go takes FORMERR, which is what a server without EDNS has to say (RFC 6891, 7), for
# the end, and does not ask again without it: no name is found.  So a Go program from elsewhere
# may fail at a resolver where Debian's works, and tests of DNS or sockets with Debian's Go
# programs see another Go than users have.  Seen on 2026-11-30 with Debian unstable's caddy
# 2.11.4-1.  Needs curl, unshare, ss, python3 and a kernel with MPTCP; run as root or as a
# user who may make user namespaces.
set -eu
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
pool=http://deb.debian.org/debian/pool/main
for p in g/glibc/libc6_2.43-7 c/caddy/caddy_2.11.4-1; do
	curl -sSf -O "$pool/${p}_amd64.deb"
	dpkg -x "${p##*/}_amd64.deb" root
done
cat >resolver.py <<'EOF2'
# A resolver without EDNS, which must say FORMERR to a question with it (RFC 6891, 7)
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("127.0.0.1", 53))
open("ready", "w").close()
while True:
    q, who = s.recvfrom(4096)
    n = 12
    while q[n]:
        n += 1 + q[n]
    question = q[12:n + 5]
    edns = q[10:12] != b"\0\0"
    with open("asked", "a") as f:
        print("with EDNS" if edns else "without EDNS", file=f)
    if edns:
        head, answer = b"\x81\x81\0\1\0\0\0\0\0\0", b""
    elif q[n + 2] == 1:
        head = b"\x81\x80\0\1\0\1\0\0\0\0"
        answer = b"\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4" + bytes([127, 0, 0, 1])
    else:
        head, answer = b"\x81\x80\0\1\0\0\0\0\0\0", b""
    s.sendto(q[:2] + head + question + answer, who)
EOF2
cat >run.sh <<'EOF2'
ip link set lo up
for f in hosts resolv.conf nsswitch.conf; do mount --bind $f /etc/$f; done
lib=root/usr/lib/x86_64-linux-gnu
caddy() { exec $lib/ld-linux-x86-64.so.2 --library-path $lib root/usr/bin/caddy "$@"; }
export HOME=$PWD
python3 resolver.py &
python3 -m http.server -b 127.0.0.1 8000 >&2 &
until [ -e ready ] && curl -sfo /dev/null http://127.0.0.1:8000/; do sleep 0.1; done
try() {
	echo "$1:"
	: >asked
	caddy reverse-proxy --from http://127.0.0.1:8001 --to db.example:8000 >&2 &
	until curl -so /dev/null http://127.0.0.1:8001/; do sleep 0.1; done
	echo "  listens by MPTCP: $(ss -HMln | grep -q :8001 && echo yes || echo no)"
	echo "  a page: $(curl -so /dev/null -w '%{http_code}' http://127.0.0.1:8001/)"
	echo "  asks $(sort -u asked | paste -sd' ')"
	kill $!
	wait $! || :
}
try "as packaged"
export GODEBUG=netedns0=1,multipathtcp=1
try "with $GODEBUG"
EOF2
printf '127.0.0.1 localhost\n' >hosts
echo 'nameserver 127.0.0.1' >resolv.conf
echo 'hosts: files dns' >nsswitch.conf
unshare -rnm --pid --fork --kill-child timeout 60 bash run.sh >seen 2>err || { cat err; exit 1; }
cat seen
diff seen - <<'EOF2'
as packaged:
  listens by MPTCP: no
  a page: 200
  asks without EDNS
with netedns0=1,multipathtcp=1:
  listens by MPTCP: yes
  a page: 502
  asks with EDNS
EOF2
echo "as described"
