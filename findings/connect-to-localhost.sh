#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Debian unstable: busybox, HAProxy, iperf3 and redis-cli try one address of localhost alone
#
# Localhost is 127.0.0.1 and ::1, and a client is thought to try one after the other, as most
# do.  busybox's wget, nc and telnet, HAProxy with "server s localhost:8000" and iperf3 have
# ::1 alone: where a server listens at 127.0.0.1 it is "connection refused", although curl and
# wget get the page.  redis-cli and nc.traditional have 127.0.0.1 alone, as does Perl's
# IO::Socket::INET, whose manual says so.
#
# So a server that is well may have a health check "wget http://localhost:8000/" that fails,
# in an image with busybox, and a relay that passes a port on for one family alone works for
# those who tried it with curl.  Seen on 2026-11-30 with the versions below.  Needs
# debootstrap and unshare; run as root.
set -eu
tmp=$(mktemp -d)
trap 'umount "$tmp/root/proc" 2>/dev/null || :; rm -rf --one-file-system "$tmp"' EXIT
debootstrap --variant=minbase --include=curl,wget,busybox-static,netcat-openbsd,\
netcat-traditional,ncat,socat,apache2-utils,wrk,iperf3,openssl,redis-tools,gawk,tcl,lua-socket,\
lua5.4,python3,nodejs,ruby,php-cli,perl,lynx,links,w3m,nginx-light,haproxy,iproute2 \
	sid "$tmp/root" >"$tmp/log" 2>&1 || {
	tail -n 5 "$tmp/log"
	exit 1
}
cd "$tmp/root"
cat >serve.py <<'EOF2'
# A server of one address, which counts its connections
import socket, sys
family = socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET
s = socket.create_server((sys.argv[1], 8000), family=family, backlog=100)
n = 0
while True:
    c, _ = s.accept()
    n += 1
    with open("count", "w") as f:
        print(n, file=f)
    try:
        c.sendall(b"HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nhi\n")
    except OSError:
        pass
    c.close()
EOF2
cat >open.py <<'EOF2'
import asyncio
asyncio.run(asyncio.open_connection("localhost", 8000))
EOF2
cat >haproxy.cfg <<'EOF2'
defaults
	mode http
	timeout connect 1s
	timeout client 1s
	timeout server 1s
listen l
	bind 127.0.0.1:8002
	server s localhost:8000
EOF2
cat >nginx.conf <<'EOF2'
pid /nginx.pid; error_log /dev/null; events {}
http { access_log off;
	server { listen 127.0.0.1:8001; location / { proxy_pass http://localhost:8000; } } }
EOF2
# A name, and what makes a connection to port 8000 of localhost
cat >clients <<'EOF2'
curl curl -s http://localhost:8000/
wget wget -qO- -t1 http://localhost:8000/
busybox-wget busybox wget -qO- http://localhost:8000/
busybox-nc busybox nc localhost 8000
busybox-telnet busybox telnet localhost 8000
nc.openbsd nc.openbsd -N localhost 8000
nc.traditional nc.traditional -q 0 localhost 8000
ncat ncat localhost 8000
socat socat -u TCP:localhost:8000 -
ab ab -n 1 http://localhost:8000/
wrk wrk -c 1 -t 1 -d 1 http://localhost:8000/
iperf3 iperf3 -c localhost -p 8000
openssl openssl s_client -connect localhost:8000
redis-cli redis-cli -h localhost -p 8000 ping
bash exec 3<>/dev/tcp/localhost/8000
gawk gawk 'BEGIN { "/inet/tcp/0/localhost/8000" |& getline }'
tcl echo 'socket localhost 8000' | tclsh
lua lua5.4 -e 'require("socket").connect("localhost", 8000)'
create_connection python3 -c 'import socket; socket.create_connection(("localhost", 8000))'
asyncio python3 open.py
node node -e 'require("net").connect(8000, "localhost").on("connect", () => process.exit())'
ruby ruby -rsocket -e 'TCPSocket.new("localhost", 8000)'
php php -r 'fsockopen("localhost", 8000);'
IO::Socket::IP perl -MIO::Socket::IP -e 'IO::Socket::IP->new("localhost:8000")'
IO::Socket::INET perl -MIO::Socket::INET -e 'IO::Socket::INET->new("localhost:8000")'
lynx lynx -dump http://localhost:8000/
links links -dump http://localhost:8000/
w3m w3m -dump http://localhost:8000/
nginx curl -s http://127.0.0.1:8001/
haproxy curl -s http://127.0.0.1:8002/
EOF2
cat >run.sh <<'EOF2'
ip link set lo up
printf '127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n' >/etc/hosts
export HOME=/root LC_ALL=C
# The server takes one after the other: who came before this has been counted
count() {
	curl -sg -m 5 -o /dev/null "http://$1:8000/"
	cat count
}
for at in 127.0.0.1 '[::1]'; do
	a=${at#[}
	python3 serve.py "${a%]}" &
	server=$!
	haproxy -db -f haproxy.cfg >&2 &
	haproxy=$!
	nginx -c /nginx.conf
	until [ "$(ss -Hltn | grep -c ':800[012] ')" = 3 ]; do sleep 0.1; done
	while read -r name command; do
		before=$(count "$at")
		timeout -k 1 5 bash -c "$command" >&2 </dev/null || :
		after=$(count "$at")
		[ $((after - before)) = 1 ] || echo "$name" >>"to $at"
	done <clients
	kill $server $haproxy "$(cat nginx.pid)"
	wait
	while [ -e nginx.pid ]; do sleep 0.1; done
done
sort 'to 127.0.0.1' >four
sort 'to [::1]' >six
echo "both: $(comm -12 four six | paste -sd' ')" | fold -sw 95 | sed 's/ *$//'
echo "127.0.0.1 alone: $(comm -23 four six | paste -sd' ')"
echo "::1 alone: $(comm -13 four six | paste -sd' ')"
EOF2
chroot . dpkg-query -W busybox-static curl haproxy iperf3 netcat-traditional perl-base \
	redis-tools >../seen
mount -t proc proc proc
unshare -n --pid --fork --kill-child timeout 200 chroot . bash /run.sh >>../seen 2>../err || {
	cat ../err
	exit 1
}
cd ..
cat seen
diff seen - <<'EOF2'
busybox-static	1:1.38.0-3+b1
curl	8.23.0-1
haproxy	3.2.26-1
iperf3	3.22-0.1
netcat-traditional	1.10-50.1
perl-base	5.42.3-1
redis-tools	5:8.0.6-3
both: IO::Socket::IP ab asyncio bash create_connection curl gawk links lua lynx nc.openbsd
ncat nginx node openssl php ruby socat tcl w3m wget wrk
127.0.0.1 alone: IO::Socket::INET nc.traditional redis-cli
::1 alone: busybox-nc busybox-telnet busybox-wget haproxy iperf3
EOF2
echo "as described"
