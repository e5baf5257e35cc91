#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# redir 3.3, rinetd 0.73 and simpleproxy 3.6 lose the answer after a half-close
#
# A TCP client that has sent its request may close its direction and go on reading (RFC
# 9293, 3.6: CLOSE means "I have no more data to send", and who closes may go on to receive
# until the other side closes, too).  These three forward the request, then close both
# directions of both connections: a server that answers when it has seen the end of the
# request, a second later here, talks to nobody, and the client reads an end without a
# byte.  No manual of the three says so.  systemd-socket-proxyd 262 and ncat 7.991 in the
# same place bring the answer.
#
# A forwarder like these in front of a guest looks like a fault of the guest's network.
# Seen on 2026-11-29 with Debian unstable's packages.  Needs curl, unshare and
# /usr/bin/python3; run as root or as a user who may make user namespaces.
set -eu
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
pool=http://deb.debian.org/debian/pool/main
for p in r/redir/redir_3.3-1 r/rinetd/rinetd_0.73-3 s/simpleproxy/simpleproxy_3.6-1 \
	g/glibc/libc6_2.43-7; do
	curl -sSf -O "$pool/${p}_amd64.deb"
	dpkg -x "${p##*/}_amd64.deb" root
done
echo "127.0.0.1 9002 127.0.0.1 9000" >rinetd.conf
cat >try.py <<'EOF2'
import socket, sys, threading, time
server = socket.create_server(("127.0.0.1", 9000))
def serve():
    while True:
        c, _ = server.accept()
        n = 0
        while data := c.recv(4096):
            n += len(data)
        time.sleep(1)
        try:
            c.sendall(b"got %d" % n)
        except OSError:
            pass
        c.close()
threading.Thread(target=serve, daemon=True).start()
def ask(port):
    for _ in range(100):
        try:
            s = socket.create_connection(("127.0.0.1", port), 5)
            break
        except ConnectionRefusedError:
            time.sleep(0.1)
    s.sendall(b"x" * 1000)
    s.shutdown(socket.SHUT_WR)
    return s.recv(100).decode() or "nothing"
for name, port in ("direct", 9000), ("redir", 9001), ("rinetd", 9002), ("simpleproxy", 9003):
    print(name + ":", ask(port))
EOF2
cat >run.sh <<'EOF2'
ip link set lo up
lib=root/usr/lib/x86_64-linux-gnu
run() { exec $lib/ld-linux-x86-64.so.2 --library-path $lib "$@"; }
run root/usr/bin/redir -n 127.0.0.1:9001 127.0.0.1:9000 >&2 &
run root/usr/sbin/rinetd -f -c rinetd.conf >&2 &
run root/usr/bin/simpleproxy -L 127.0.0.1:9003 -R 127.0.0.1:9000 >&2 &
/usr/bin/python3 try.py
kill $(jobs -p) 2>/dev/null || true
EOF2
unshare -rn timeout 60 bash run.sh >seen 2>err || { cat err; exit 1; }
cat seen
diff seen - <<'EOF2'
direct: got 1000
redir: nothing
rinetd: nothing
simpleproxy: nothing
EOF2
echo "as described"
