#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Debian 13: "listen on localhost" is 127.0.0.1, ::1 or both, also within one language
#
# /etc/hosts of Debian, as that of most, has both for localhost.  Told to listen there, PHP,
# Node, Ruby's TCPServer, Python's http.server, nc of OpenBSD and ncat have ::1 alone; socat,
# nc.traditional, Python's wsgiref and socket.create_server() 127.0.0.1 alone; asyncio, Ruby's
# Socket.tcp_server_sockets and nginx both.  So "localhost:8000" of the one and "127.0.0.1:8000"
# of the other do not meet, and whoever passes a loopback port on, by ssh -L, a container's
# published port or a reverse proxy, must try both addresses, however simple the server.
#
# Seen on 2026-11-30 with the versions below.  Needs debootstrap and unshare; run as root.
set -eu
tmp=$(mktemp -d)
trap 'umount "$tmp/root/proc" 2>/dev/null || :; rm -rf --one-file-system "$tmp"' EXIT
debootstrap --variant=minbase --include=php-cli,python3,nodejs,ruby,netcat-openbsd,\
netcat-traditional,ncat,socat,nginx-light,iproute2 trixie "$tmp/root" >"$tmp/log" 2>&1 || {
	tail -n 5 "$tmp/log"
	exit 1
}
cat >"$tmp/root/run.sh" <<'EOF'
ip link set lo up
printf '127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n' >/etc/hosts
echo 'pid /nginx.pid; events {} http { server { listen localhost:8000; } }' >nginx.conf
cat >serve.py <<'C'
import asyncio
async def main():
    server = await asyncio.start_server(lambda r, w: 0, "localhost", 8000)
    await server.serve_forever()
asyncio.run(main())
C
try() {
	printf '%s: ' "$1"
	shift
	"$@" >log 2>&1 </dev/null &
	for _ in $(seq 100); do
		at=$(ss -Hltn 'sport = 8000' | awk '{print $4}' | sort)
		[ "$at" ] && break
		sleep 0.2
	done
	sleep 0.5
	at=$(ss -Hltn 'sport = 8000' | awk '{sub(/:8000$/, "", $4); print $4}' | sort)
	echo $at
	kill -9 $!
	wait $! 2>/dev/null
	while [ "$(ss -Hltn 'sport = 8000')" ]; do sleep 0.1; done
}
try "php -S" php -S localhost:8000
try node node -e 'require("net").createServer().listen(8000, "localhost")'
try "ruby TCPServer" ruby -rsocket -e 'TCPServer.new("localhost", 8000); sleep'
try "ruby tcp_server_sockets" \
	ruby -rsocket -e 'x = Socket.tcp_server_sockets("localhost", 8000); sleep'
try "python http.server" python3 -m http.server -b localhost 8000
try "python wsgiref" python3 -c 'from wsgiref.simple_server import *
make_server("localhost", 8000, demo_app).serve_forever()'
try "python create_server" python3 -c 'import socket, time
s = socket.create_server(("localhost", 8000)); time.sleep(1000)'
try "python asyncio" python3 serve.py
try nc.openbsd nc.openbsd -l localhost 8000
try nc.traditional nc.traditional -l -s localhost -p 8000
try ncat ncat -l localhost 8000
try socat socat -u TCP-LISTEN:8000,bind=localhost -
try nginx nginx -c /nginx.conf -g 'daemon off; master_process off;'
EOF
chroot "$tmp/root" dpkg-query -W php8.4-cli nodejs ruby3.3 python3.13 netcat-openbsd \
	netcat-traditional ncat socat nginx >"$tmp/seen"
mount -t proc proc "$tmp/root/proc"
unshare -n chroot "$tmp/root" bash /run.sh >>"$tmp/seen"
cat "$tmp/seen"
diff "$tmp/seen" - <<'EOF'
ncat	7.95+dfsg-3
netcat-openbsd	1.229-1
netcat-traditional	1.10-50
nginx	1.26.3-3+deb13u10
nodejs	20.19.2+dfsg-1+deb13u3
php8.4-cli	8.4.27-1~deb13u1
python3.13	3.13.5-2+deb13u5
ruby3.3	3.3.8-2
socat	1.8.0.3-1+deb13u1
php -S: [::1]
node: [::1]
ruby TCPServer: [::1]
ruby tcp_server_sockets: 127.0.0.1 [::1]
python http.server: [::1]
python wsgiref: 127.0.0.1
python create_server: 127.0.0.1
python asyncio: 127.0.0.1 [::1]
nc.openbsd: [::1]
nc.traditional: 127.0.0.1
ncat: [::1]
socat: 127.0.0.1
nginx: 127.0.0.1 [::1]
EOF
echo "as described"
