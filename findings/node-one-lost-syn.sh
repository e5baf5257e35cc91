#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Node 24: with two addresses, a quarter of a second decides that a server is not there
#
# For a name that has an IPv6 and an IPv4 address Node tries one after the other, by what its
# manual calls loosely RFC 8305 (happy eyeballs).  There an attempt goes on while the next one
# begins.  Node gives each but the last 250 ms and closes it.  If the second address refuses,
# as that of a server which listens to one family does, all is over: the first would have
# connected after a second.  One lost SYN is enough, be it that the server's queue is full for
# a moment, as here.  Node's fetch() says so after ten seconds.  A name with one address is
# fine, and so are curl and --network-family-autoselection-attempt-timeout.
#
# So "curl gets it and Node does not, once in a while" needs no fault of a network or relay.
# Seen on 2026-11-30 with the versions below.  Needs debootstrap and unshare; run as root.
set -eu
tmp=$(mktemp -d)
trap 'umount "$tmp/root/proc" 2>/dev/null || :; rm -rf --one-file-system "$tmp"' EXIT
debootstrap --variant=minbase --include=nodejs,python3-minimal,curl,iproute2 \
	sid "$tmp/root" >"$tmp/log" 2>&1 || {
	tail -n 5 "$tmp/log"
	exit 1
}
cd "$tmp/root"
printf '%s\n' '::1 localhost one two' '127.0.0.1 localhost two' >etc/hosts
cat >serve.py <<'EOF2'
# A server of ::1 that is busy when a client's first SYN comes, and half a second longer
import socket, threading, time
s = socket.create_server(("::1", 8000), family=socket.AF_INET6, backlog=0)
held = [socket.create_connection(("::1", 8000))]
open("ready", "w").close()
def waits():
    with open("/proc/net/tcp6") as f:
        return any(l.split()[3] == "02" and l.split()[2].endswith(":1F40") for l in f)
while not waits():
    time.sleep(0.01)
time.sleep(0.5)
def serve(c):
    if b"\r\n\r\n" in c.recv(4096):
        c.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        c.close()
while True:
    threading.Thread(target=serve, args=s.accept()[:1], daemon=True).start()
EOF2
cat >connect.js <<'EOF2'
require("net").connect(8000, process.argv[2])
	.on("connect", function() { console.log("connected"); process.exit() })
	.on("error", e => console.log(e.errors ? e.errors.map(x => x.code).join(", ") : e.code))
EOF2
cat >fetch.js <<'EOF2'
fetch(`http://${process.argv[2]}:8000/`).then(r => console.log(r.status),
					      e => console.log(e.cause.code ?? e.cause))
EOF2
cat >run.sh <<'EOF2'
ip link set lo up
try() {
	python3 serve.py &
	until [ -e ready ]; do sleep 0.1; done
	rm ready
	echo "$*: $("$@" 2>&1)"
	kill $!
	wait $! 2>/dev/null || :
}
try curl -s -m 10 -o /dev/null -w '%{http_code}' http://two:8000/
try node connect.js one
try node connect.js two
try node --network-family-autoselection-attempt-timeout=3000 connect.js two
try node fetch.js one
try node fetch.js two
EOF2
chroot . dpkg-query -W curl nodejs >../seen
mount -t proc proc proc
unshare -n --fork --kill-child timeout 100 chroot . bash /run.sh >>../seen 2>../err || {
	cat ../err
	exit 1
}
cd ..
cat seen
diff seen - <<'EOF2'
curl	8.23.0-1
nodejs	24.22.2+dfsg+~cs24.19.2-1
curl -s -m 10 -o /dev/null -w %{http_code} http://two:8000/: 200
node connect.js one: connected
node connect.js two: ETIMEDOUT, ECONNREFUSED
node --network-family-autoselection-attempt-timeout=3000 connect.js two: connected
node fetch.js one: 200
node fetch.js two: UND_ERR_CONNECT_TIMEOUT
EOF2
echo "as described"
