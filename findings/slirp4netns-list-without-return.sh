#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# slirp4netns 1.2.0 lists its forwarded ports without "return"
#
# Its manual, section API SOCKET, shows {"return": {"entries": [...]}} as the
# answer to list_hostfwd, and the answers to add_hostfwd and remove_hostfwd do have
# that member.  That to list_hostfwd is {"entries": [...]}.
#
# A client written by the manual, or one that takes an answer with neither "return"
# nor "error" for a failure, sees no ports; a server that is written by it is not
# understood by clients that were tried with the real one.  Seen on 2026-11-28 with
# Debian 12's package.  Needs apt, unshare and python3 at /usr/bin; run as root or
# as a user who may make user namespaces and open /dev/net/tun.
set -eu
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
chmod 755 .
apt-get -q download slirp4netns=1.2.0-1 libslirp0=4.7.0-1 \
	libseccomp2=2.5.4-1+deb12u1 >log 2>&1 || { cat log; exit 1; }
for p in *.deb; do dpkg -x "$p" root; done
cat >ask.py <<'EOF'
import json, socket
for request in ({"execute": "add_hostfwd", "arguments": {
                    "proto": "tcp", "host_addr": "127.0.0.1",
                    "host_port": 18080, "guest_port": 80}},
                {"execute": "list_hostfwd"},
                {"execute": "remove_hostfwd", "arguments": {"id": 1}}):
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(10)
        s.connect("api")
        s.sendall(json.dumps(request).encode())
        s.shutdown(socket.SHUT_WR)
        print(request["execute"], *json.load(s.makefile()))
EOF
cat >run.sh <<'EOF'
export LD_LIBRARY_PATH=$(dirname "$(find "$PWD/root" -name 'libslirp.so.0')")
zcat root/usr/share/man/man1/slirp4netns.1.gz | tr -d '\\' |
	sed -n 's/^\({"return": {"entries"\).*/manual: \1/p'
unshare -rn sleep 60 & guest=$!
for _ in $(seq 50); do
	[ "$(readlink /proc/$guest/ns/net)" = "$(readlink /proc/self/ns/net)" ] ||
		break
	sleep 0.1
done
root/usr/bin/slirp4netns -c -a "$PWD/api" $guest tap0 >&2 & daemon=$!
for _ in $(seq 50); do [ -S api ] && break; sleep 0.1; done
/usr/bin/python3 ask.py
kill $daemon $guest
EOF
timeout 60 bash run.sh >seen 2>err || { cat err; exit 1; }
cat seen
diff seen - <<'EOF'
manual: {"return": {"entries"
add_hostfwd return
list_hostfwd entries
remove_hostfwd return
EOF
echo "as described"
