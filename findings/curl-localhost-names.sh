#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# curl 8.23 does not look for app.localhost in /etc/hosts
#
# /etc/hosts has "127.0.0.7 app.localhost", as a container with an extra host or a developer
# with several local servers may have it.  curl knows without asking anybody that localhost
# and all names below it are ::1 and 127.0.0.1, as a name server should (RFC 6761, 6.3), and
# goes there; wget, busybox, Python, Node, Ruby, PHP and Caddy go by the file.  "curl --resolve"
# is heard.
#
# So one looks for the fault of a network or of a file that is right, and curl cannot tell
# whether such a name works for others.  Seen on 2026-11-30 with the versions below.  Needs
# debootstrap and unshare; run as root.
set -eu
tmp=$(mktemp -d)
trap 'umount "$tmp/root/proc" 2>/dev/null || :; rm -rf --one-file-system "$tmp"' EXIT
debootstrap --variant=minbase --include=curl,wget,wget2,busybox-static,python3,nodejs,ruby,php-cli,\
caddy,lynx,links,w3m,apache2-utils,iproute2 sid "$tmp/root" >"$tmp/log" 2>&1 || {
	tail -n 5 "$tmp/log"
	exit 1
}
cd "$tmp/root"
cat >serve.py <<'EOF2'
import socket, threading
def serve(a):
    s = socket.create_server((a, 8000), family=socket.AF_INET6 if ":" in a else socket.AF_INET)
    while True:
        c, _ = s.accept()
        c.recv(4096)
        with open("reached", "a") as f:
            print(a, file=f)
        c.sendall(b"HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nhi\n")
        c.close()
for a in "127.0.0.1", "::1", "127.0.0.7":
    threading.Thread(target=serve, args=[a]).start()
EOF2
cat >clients <<'EOF2'
curl curl -s http://app.localhost:8000/
curl_--resolve curl -s --resolve app.localhost:8000:127.0.0.7 http://app.localhost:8000/
wget wget -qO- http://app.localhost:8000/
wget2 wget2 -qO- http://app.localhost:8000/
busybox busybox wget -qO- http://app.localhost:8000/
python python3 -c 'import urllib.request as u; u.urlopen("http://app.localhost:8000/")'
node node -e 'fetch("http://app.localhost:8000/")'
ruby ruby -rnet/http -e 'Net::HTTP.get(URI("http://app.localhost:8000/"))'
php php -r 'file_get_contents("http://app.localhost:8000/");'
lynx lynx -dump http://app.localhost:8000/
links links -dump http://app.localhost:8000/
w3m w3m -dump http://app.localhost:8000/
ab ab -n 1 http://app.localhost:8000/
caddy curl -s http://127.0.0.1:8001/
EOF2
cat >run.sh <<'EOF2'
ip link set lo up
printf '127.0.0.1 localhost\n::1 localhost\n127.0.0.7 app.localhost\n' >/etc/hosts
export HOME=/root
python3 serve.py &
caddy reverse-proxy --from http://127.0.0.1:8001 --to app.localhost:8000 >&2 &
until curl -s http://127.0.0.1:8001/ >&2; do sleep 0.2; done
while read -r name command; do
	: >reached
	timeout -k 1 5 bash -c "$command" >&2 </dev/null || :
	echo "${name/_/ }: $(sort -u reached | paste -sd' ')"
done <clients
EOF2
chroot . dpkg-query -W busybox-static caddy curl nodejs wget wget2 >../seen
mount -t proc proc proc
unshare -n --pid --fork --kill-child timeout 100 chroot . bash /run.sh >>../seen 2>../err || {
	cat ../err
	exit 1
}
cd ..
cat seen
diff seen - <<'EOF2'
busybox-static	1:1.38.0-3+b1
caddy	2.11.4-1
curl	8.23.0-1
nodejs	24.22.2+dfsg+~cs24.19.2-1
wget	1.25.0-3
wget2	2.2.0+ds-3+b1
curl: ::1
curl --resolve: 127.0.0.7
wget: 127.0.0.7
wget2: 127.0.0.7
busybox: 127.0.0.7
python: 127.0.0.7
node: 127.0.0.7
ruby: 127.0.0.7
php: 127.0.0.7
lynx: 127.0.0.7
links: 127.0.0.7
w3m: 127.0.0.7
ab: 127.0.0.7
caddy: 127.0.0.7
EOF2
echo "as described"
