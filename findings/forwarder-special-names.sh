#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# unbound 1.26: a forwarder of "." does not ask for db.test, nor for 10.0.0.1's name
#
# With a forward-zone for "." one expects that all names are asked of the forwarder's server;
# BIND and dnsmasq do that.  unbound has zones of its own that come first (unbound.conf(5)
# lists them): names below test, invalid, home.arpa and onion, and those of private addresses
# and of the networks for documentation, do not exist, whatever the server knows.  PowerDNS's
# recursor has those of addresses, and both answer for localhost themselves; local, internal,
# lan, example and alt are asked for.
#
# So a name of RFC 6761's zone for tests, or the reverse name of a container, is found by one
# developer and not by another, by the resolver of the machine; a zone of one's own there needs
# "local-zone: NAME nodefault".  Seen on 2026-11-30 with the versions below.  Needs
# debootstrap and unshare; run as root.
set -eu
tmp=$(mktemp -d)
trap 'umount "$tmp/root/proc" 2>/dev/null || :; rm -rf --one-file-system "$tmp"' EXIT
debootstrap --variant=minbase --include=unbound,bind9,dnsmasq-base,pdns-recursor,\
python3-minimal,iproute2 sid "$tmp/root" >"$tmp/log" 2>&1 || {
	tail -n 5 "$tmp/log"
	exit 1
}
cd "$tmp/root"
cat >upstream.py <<'EOF2'
# It knows all names: the address 192.0.2.7, the name other.example
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("127.0.0.1", 53))
while True:
    q, who = s.recvfrom(4096)
    n = 12
    while q[n]:
        n += 1 + q[n]
    kind = int.from_bytes(q[n + 1:n + 3], "big")
    data = {1: bytes([192, 0, 2, 7]), 12: b"\5other\7example\0"}.get(kind, b"")
    answer = b"\xc0\x0c" + q[n + 1:n + 5] + b"\0\0\0\x3c" + len(data).to_bytes(2, "big") + data
    s.sendto(q[:2] + b"\x81\x80\0\1" + (b"\0\1" if data else b"\0\0") + bytes(4) +
             q[12:n + 5] + (answer if data else b""), who)
EOF2
cat >ask.py <<'EOF2'
# What a forwarder says for a name
import socket, sys
RCODE = {0: "nothing", 2: "SERVFAIL", 3: "NXDOMAIN", 5: "REFUSED"}
name, kind = sys.argv[2], 12 if sys.argv[2].endswith(".arpa") and sys.argv[2][0].isdigit() else 1
q = b"\0\1\1\0\0\1\0\0\0\0\0\0"
for label in name.split("."):
    q += bytes([len(label)]) + label.encode()
q += b"\0\0" + bytes([kind]) + b"\0\1"
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(20)
s.sendto(q, (sys.argv[1], 53))
a = s.recv(4096)
if not int.from_bytes(a[6:8], "big"):
    print(RCODE.get(a[3] & 15, a[3] & 15))
elif b"\5other" in a or bytes([192, 0, 2, 7]) in a:
    print("asks")
else:
    print("own answer")
EOF2
mkdir -p run/named run/pdns
cat >unbound.conf <<'EOF2'
server:
	interface: 127.0.0.2
	do-not-query-localhost: no
	module-config: "iterator"
	chroot: ""
	username: ""
	do-daemonize: no
	use-syslog: no
	pidfile: ""
remote-control:
	control-enable: no
forward-zone:
	name: "."
	forward-addr: 127.0.0.1
EOF2
cat >named.conf <<'EOF2'
options { directory "/run/named"; listen-on { 127.0.0.3; }; listen-on-v6 { none; };
	forwarders { 127.0.0.1; }; forward only; dnssec-validation no;
	pid-file none; session-keyfile none; };
controls { };
EOF2
cat >pdns.yml <<'EOF2'
incoming:
  listen: ['127.0.0.4']
outgoing:
  dont_query: []
recursor:
  daemon: false
  socket_dir: /run/pdns
  forward_zones_recurse:
    - zone: .
      forwarders: ['127.0.0.1']
dnssec:
  validation: 'off'
EOF2
mkdir -p pdns && mv pdns.yml pdns/recursor.yml
cat >run.sh <<'EOF2'
ip link set lo up
# BIND takes none but addresses of interfaces
ip addr add 127.0.0.3/8 dev lo
printf '127.0.0.1 localhost\n' >/etc/hosts
python3 upstream.py >&2 &
unbound -c /unbound.conf >&2 &
named -g -c /named.conf >&2 &
pdns_recursor --config-dir=/pdns >&2 &
dnsmasq -k -C /dev/null -R -h -z -x "" --listen-address=127.0.0.5 -S 127.0.0.1 >&2 &
for a in 1 2 3 4 5; do
	until ss -Hlun | grep -q " 127.0.0.$a:53 "; do sleep 0.1; done
done
for name in www.example.com db.test db.example db.invalid db.local db.internal db.home.arpa \
	db.lan db.onion db.alt db.localhost db 1.0.0.10.in-addr.arpa 1.2.0.192.in-addr.arpa; do
	printf '%s:' "$name"
	for a in "2 unbound" "3 bind" "4 pdns" "5 dnsmasq"; do
		printf ' %s %s,' "${a#* }" "$(python3 ask.py "127.0.0.${a% *}" "$name")"
	done
	echo
done
EOF2
chroot . dpkg-query -W bind9 dnsmasq-base pdns-recursor unbound >../seen
mount -t proc proc proc
unshare -n --pid --fork --kill-child timeout 200 chroot . bash /run.sh >>../seen 2>../err || {
	cat ../err
	exit 1
}
cd ..
sed -i 's/,$//' seen
cat seen
diff seen - <<'EOF2'
bind9	1:9.20.30-1
dnsmasq-base	2.93-3
pdns-recursor	5.4.9-1
unbound	1.26.2-1
www.example.com: unbound asks, bind asks, pdns asks, dnsmasq asks
db.test: unbound NXDOMAIN, bind asks, pdns asks, dnsmasq asks
db.example: unbound asks, bind asks, pdns asks, dnsmasq asks
db.invalid: unbound NXDOMAIN, bind asks, pdns asks, dnsmasq asks
db.local: unbound asks, bind asks, pdns asks, dnsmasq asks
db.internal: unbound asks, bind asks, pdns asks, dnsmasq asks
db.home.arpa: unbound NXDOMAIN, bind asks, pdns asks, dnsmasq asks
db.lan: unbound asks, bind asks, pdns asks, dnsmasq asks
db.onion: unbound NXDOMAIN, bind asks, pdns asks, dnsmasq asks
db.alt: unbound asks, bind asks, pdns asks, dnsmasq asks
db.localhost: unbound own answer, bind asks, pdns own answer, dnsmasq asks
db: unbound asks, bind asks, pdns asks, dnsmasq asks
1.0.0.10.in-addr.arpa: unbound NXDOMAIN, bind asks, pdns NXDOMAIN, dnsmasq asks
1.2.0.192.in-addr.arpa: unbound NXDOMAIN, bind asks, pdns NXDOMAIN, dnsmasq asks
EOF2
echo "as described"
