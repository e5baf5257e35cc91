#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Debian unstable: a UDP server at all addresses answers from another one than was asked
#
# A machine has two addresses, and a server listens at 0.0.0.0.  By TCP it is there at both.
# By UDP the kernel chooses the answer's source by the route to the client, unless the program
# looks at each datagram's destination (IP_PKTINFO): asked at 127.0.0.2 socat, ncat,
# nc.openbsd, asyncio, Node, unbound and NSD answer from 127.0.0.1, and a client whose socket
# is connected never hears it.  dnsmasq, Knot, chrony, snmpd and tftpd-hpa answer from where
# they were asked.  "iperf3 -u" to the server's second address is connected by TCP, then waits
# half a minute and says "unable to read from stream socket".
#
# So a service works at the first address of a machine or guest and not at the next, and a
# forwarder in front of it is taken for the cause.  Seen on 2026-11-30 with the versions below.
# Needs debootstrap and unshare; run as root.
set -eu
tmp=$(mktemp -d)
trap 'umount "$tmp/root/proc" 2>/dev/null || :; rm -rf --one-file-system "$tmp"' EXIT
debootstrap --variant=minbase --include=netcat-openbsd,ncat,socat,tftpd-hpa,\
dnsmasq-base,unbound,nsd,knot,chrony,snmpd,iperf3,python3,nodejs,iproute2 \
	sid "$tmp/root" >"$tmp/log" 2>&1 || {
	tail -n 5 "$tmp/log"
	exit 1
}
cd "$tmp/root"
cat >ask.py <<'EOF2'
# Where does the answer come from?
import socket, sys
dns = bytes.fromhex("000101000001000000000000") + b"\1a\4test\0\0\1\0\1"
questions = {
    "echo": b"hello\n", "dns": dns, "tftp": b"\0\1file\0octet\0", "ntp": b"\x23" + bytes(47),
    "snmp": bytes.fromhex("302602010004067075626c6963a01902010102010002010030"
                          "0e300c06082b060102010101000500")}
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("127.0.0.1", 0))
s.settimeout(5)
s.sendto(questions[sys.argv[1]], ("127.0.0.2", 7000))
try:
    print(s.recvfrom(2000)[1][0])
except TimeoutError:
    print("no answer")
EOF2
cat >asyncio_echo.py <<'EOF2'
import asyncio
class Echo(asyncio.DatagramProtocol):
    def connection_made(self, t):
        self.t = t
    def datagram_received(self, data, addr):
        self.t.sendto(data, addr)
async def main():
    await asyncio.get_running_loop().create_datagram_endpoint(Echo, ("0.0.0.0", 7000))
    await asyncio.sleep(1000)
asyncio.run(main())
EOF2
cat >echo.js <<'EOF2'
const s = require("dgram").createSocket("udp4");
s.on("message", (data, from) => s.send(data, from.port, from.address));
s.bind(7000);
EOF2
mkdir -p data run/knot run/nsd knot
echo hi >data/file
zone='@ 60 SOA a.test. a.test. 1 60 60 60 60
@ 60 NS a.test.
a 60 A 192.0.2.7'
echo "$zone" >test.zone
cat >unbound.conf <<'EOF2'
server:
	interface: 0.0.0.0
	port: 7000
	chroot: ""
	username: ""
	do-daemonize: no
	use-syslog: no
	pidfile: ""
	local-zone: "test." static
	local-data: "a.test. A 192.0.2.7"
remote-control:
	control-enable: no
EOF2
cat >nsd.conf <<'EOF2'
server:
	port: 7000
	username: ""
	pidfile: ""
	xfrdfile: ""
	zonelistfile: "/run/nsd/zones"
remote-control:
	control-enable: no
zone:
	name: test
	zonefile: /test.zone
EOF2
cat >knot.conf <<'EOF2'
server:
    listen: 0.0.0.0@7000
    rundir: /run/knot
database:
    storage: /knot
zone:
  - domain: test
    file: /test.zone
    storage: /
EOF2
printf '%s\n' 'local stratum 10' 'allow all' 'port 7000' 'cmdport 0' 'bindcmdaddress /' \
	'pidfile /run/chronyd.pid' >chrony.conf
echo 'rocommunity public' >snmpd.conf
cat >servers <<'EOF2'
socat-UDP-LISTEN echo socat UDP4-LISTEN:7000 EXEC:cat
socat-UDP-RECVFROM echo socat UDP4-RECVFROM:7000,fork EXEC:cat
nc.openbsd echo sh -c 'echo answer | nc.openbsd -4 -u -l 7000'
ncat echo ncat -4 -u -l 7000 -e /bin/cat
asyncio echo python3 asyncio_echo.py
node echo node echo.js
dnsmasq dns dnsmasq -k -C /dev/null -p 7000 -R -h -x "" -A /test/192.0.2.7
unbound dns unbound -c /unbound.conf
nsd dns nsd -d -c /nsd.conf
knot dns knotd -c /knot.conf
tftpd-hpa tftp in.tftpd -L -a 0.0.0.0:7000 -u root -s /data
chrony ntp chronyd -d -x -u root -f /chrony.conf
snmpd snmp snmpd -f -C -c /snmpd.conf -Lo udp:7000
EOF2
cat >one.sh <<'EOF2'
# NAME KIND COMMAND, in namespaces of its own
ip link set lo up
read -r name kind command
bash -c "exec $command" >&2 </dev/null &
for _ in $(seq 100); do
	[ "$(ss -Hlun 'sport = 7000')$(ss -Hun 'sport = 7000')" ] && break
	sleep 0.1
done
echo "$name: $(python3 ask.py "$kind")"
EOF2
cat >iperf3.sh <<'EOF2'
ip link set lo up
iperf3 -s -p 7000 >&2 &
until [ "$(ss -Hltn 'sport = 7000')" ]; do sleep 0.1; done
for a in 127.0.0.1 127.0.0.2; do
	timeout 5 iperf3 -u -n 1000 -c $a -p 7000 >&2 && s=0 || s=$?
	echo "iperf3 -u -c $a: $s"
done
EOF2
chroot . dpkg-query -W chrony dnsmasq-base iperf3 knot ncat netcat-openbsd nodejs nsd \
	python3.14 snmpd socat tftpd-hpa unbound >../seen
mount -t proc proc proc
new() { unshare -n --pid --fork --kill-child timeout 30 chroot . bash "$@" 2>>../err; }
while read -r line; do
	echo "== $line" >>../err
	new /one.sh <<<"$line" >>../seen || { cat ../err; exit 1; }
done <servers
new /iperf3.sh >>../seen || { cat ../err; exit 1; }
cd ..
cat seen
diff seen - <<'EOF2'
chrony	4.9-2
dnsmasq-base	2.93-3
iperf3	3.22-0.1
knot	3.5.8-1
ncat	7.991+dfsg-1
netcat-openbsd	1.239-1
nodejs	24.22.2+dfsg+~cs24.19.2-1
nsd	4.15.4-1
python3.14	3.14.10-1
snmpd	5.9.5.2+dfsg-3
socat	1.8.1.3-2
tftpd-hpa	7.2+20261013-2
unbound	1.26.2-1
socat-UDP-LISTEN: 127.0.0.1
socat-UDP-RECVFROM: 127.0.0.1
nc.openbsd: 127.0.0.1
ncat: 127.0.0.1
asyncio: 127.0.0.1
node: 127.0.0.1
dnsmasq: 127.0.0.2
unbound: 127.0.0.1
nsd: 127.0.0.1
knot: 127.0.0.2
tftpd-hpa: 127.0.0.2
chrony: 127.0.0.2
snmpd: 127.0.0.2
iperf3 -u -c 127.0.0.1: 0
iperf3 -u -c 127.0.0.2: 124
EOF2
echo "as described"
