#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# aardvark-dns 1.17.1 and host: a container's name is found, and does not exist
#
# Podman's name server answers A and AAAA for the names of containers, also with "no such
# records".  For any other type of the same names it asks the host's resolvers, which do not
# know them: the answer is NXDOMAIN, which is "no such name", whatever the type (RFC 2308, RFC
# 8020).  With the domain, as in db.dns.podman, nobody else is asked, but the answer is the
# same.  host asks for A, AAAA, MX and HTTPS: it prints the address, then "not found:
# 3(NXDOMAIN)", and its status is 1.
#
# A script that asks host thinks that a container is not there, a cache that believes an
# NXDOMAIN may forget the address, and the host's resolvers hear the containers' names.  Seen
# on 2026-11-30 with the versions below.  Needs debootstrap and unshare; run as root.
set -eu
tmp=$(mktemp -d)
trap 'umount "$tmp/root/proc" 2>/dev/null || :; rm -rf --one-file-system "$tmp"' EXIT
debootstrap --variant=minbase --include=aardvark-dns,bind9-host,python3-minimal,iproute2 \
	sid "$tmp/root" >"$tmp/log" 2>&1 || {
	tail -n 5 "$tmp/log"
	exit 1
}
cd "$tmp/root"
# A network as netavark writes it for one container
mkdir networks
printf '127.0.0.2\nid1 10.89.0.2  db\n' >networks/podman1
cat >resolver.py <<'EOF2'
# The host's resolver, which knows no single label, as no resolver does
import socket
TYPES = {1: "A", 15: "MX", 28: "AAAA", 65: "HTTPS"}
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("127.0.0.1", 53))
open("ready", "w").close()
while True:
    q, who = s.recvfrom(4096)
    n, labels = 12, []
    while q[n]:
        labels.append(q[n + 1:n + 1 + q[n]].decode().lower())
        n += 1 + q[n]
    with open("asked", "a") as f:
        print(".".join(labels), TYPES[int.from_bytes(q[n + 1:n + 3], "big")], file=f)
    s.sendto(q[:2] + b"\x81\x83" + q[4:6] + bytes(6) + q[12:n + 5], who)
EOF2
cat >run.sh <<'EOF2'
ip link set lo up
python3 resolver.py &
until [ -e ready ]; do sleep 0.1; done
echo 'nameserver 127.0.0.1' >/etc/resolv.conf
/usr/lib/podman/aardvark-dns --config /networks -p 53 run >&2 &
ask() {
	host "$@" 127.0.0.2 >said && s=0 || s=$?
	sed -n '/^Using/d; /^Name:/d; /^Address/d; /^Aliases/d; /./p' said
	echo "  host $*: status $s"
}
until host -t A db 127.0.0.2 >/dev/null 2>&1; do sleep 0.1; done
for name in db db.dns.podman; do
	for type in A AAAA MX HTTPS; do
		ask -t $type $name
	done
	ask $name
done
echo "the host's resolver was asked for: $(sort -u asked | paste -sd,)"
EOF2
chroot . dpkg-query -W aardvark-dns bind9-host >../seen
mount -t proc proc proc
unshare -n --fork --kill-child timeout 100 chroot . bash /run.sh >>../seen 2>../err || {
	cat ../err
	exit 1
}
cd ..
cat seen
diff seen - <<'EOF2'
aardvark-dns	1.17.1-3
bind9-host	1:9.20.30-1
db has address 10.89.0.2
  host -t A db: status 0
db has no AAAA record
  host -t AAAA db: status 0
Host db not found: 3(NXDOMAIN)
  host -t MX db: status 1
Host db not found: 3(NXDOMAIN)
  host -t HTTPS db: status 1
db has address 10.89.0.2
Host db not found: 3(NXDOMAIN)
Host db not found: 3(NXDOMAIN)
  host db: status 1
db.dns.podman has address 10.89.0.2
  host -t A db.dns.podman: status 0
db.dns.podman has no AAAA record
  host -t AAAA db.dns.podman: status 0
Host db.dns.podman not found: 3(NXDOMAIN)
  host -t MX db.dns.podman: status 1
Host db.dns.podman not found: 3(NXDOMAIN)
  host -t HTTPS db.dns.podman: status 1
db.dns.podman has address 10.89.0.2
Host db.dns.podman not found: 3(NXDOMAIN)
Host db.dns.podman not found: 3(NXDOMAIN)
  host db.dns.podman: status 1
the host's resolver was asked for: db HTTPS,db MX
EOF2
echo "as described"
