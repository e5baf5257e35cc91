#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# ConnMan 1.41 gets no lease from dnsmasq at the other end of a veth pair
#
# ConnMan listens for offers on a packet socket and sums UDP itself.  What a
# program on the same machine sends by a veth (or a bridge of them, or a virtio
# card with offload) has an unfinished sum; the kernel says so beside the frame
# (TP_STATUS_CSUMNOTREADY), dhclient and dhcpcd ask for that, ConnMan does not,
# and drops each offer without a word: DHCPDISCOVER and DHCPOFFER for ever.
# After "ethtool -K eth1 tx off" on the server's end the next offer is taken.
#
# So a server that answers such a client must finish its sums, which dnsmasq
# leaves to the kernel.  Seen on 2026-11-28 with Debian 12's connman, dnsmasq
# and Linux 6.18.  Needs apt, unshare, nsenter and ip; run as root.
set -eu
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
chmod 755 .
apt-get -q download connman=1.41-3 dnsmasq-base=2.90-4~deb12u2 \
	dbus-daemon=1.14.10-1~deb12u1 ethtool=1:6.1-1 libdbus-1-3 libip4tc2 \
	libip6tc2 libxtables12 libgnutls30 libglib2.0-0 libreadline8 \
	libp11-kit0 libidn2-0 libmnl0 libnetfilter-conntrack3 libnfnetlink0 \
	libapparmor1 libexpat1 >log 2>&1 || { cat log; exit 1; }
for p in *.deb; do dpkg -x "$p" root; done
cat >bus.conf <<EOF2
<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><type>session</type><listen>unix:path=$tmp/bus</listen>
<policy context="default"><allow send_destination="*"/>
<allow eavesdrop="true"/><allow own="*"/></policy></busconfig>
EOF2
cat >run.sh <<'EOF2'
lib=$PWD/root/usr/lib/x86_64-linux-gnu
export LD_LIBRARY_PATH=$lib:$PWD/root/lib/x86_64-linux-gnu
export DBUS_SYSTEM_BUS_ADDRESS=unix:path=$PWD/bus
mount -t tmpfs none /var/lib
mount -t tmpfs none /run
mkdir -p /run/connman /var/lib/connman
unshare -n sleep 100 &
peer=$!
until [ "$(readlink /proc/$peer/ns/net)" != "$(readlink /proc/self/ns/net)" ]
do sleep 0.1; done
there() { nsenter -n -t "$peer" "$@"; }
ip link add eth0 type veth peer name eth1 netns "$peer"
there ip addr add 192.0.2.1/24 dev eth1
there ip link set eth1 up
there root/usr/sbin/dnsmasq --conf-file=/dev/null --port=0 --no-daemon \
	--dhcp-range=192.0.2.10,192.0.2.20,1h --no-ping --interface=eth1 \
	--dhcp-leasefile=/run/leases --pid-file=/run/dnsmasq 2>said &
root/usr/bin/dbus-daemon --config-file=bus.conf --nofork 2>/dev/null &
until [ -S bus ]; do sleep 0.1; done
root/usr/sbin/connmand -n 2>connmand.log &
count() { grep -c "$1" said || true; }
# 3 s, 5 s and 9 s after the first
for _ in $(seq 300); do
	[ "$(count DHCPOFFER)" -ge 3 ] && break
	sleep 0.1
done
[ "$(count DHCPOFFER)" -ge 3 ] && echo "three offers or more"
echo "requests: $(count DHCPREQUEST)"
there root/sbin/ethtool -K eth1 tx off >/dev/null
for _ in $(seq 600); do
	[ "$(count DHCPACK)" -ge 1 ] && break
	sleep 0.1
done
echo "acknowledged without offload: $(count DHCPACK)"
kill $(jobs -p)
EOF2
unshare -mn bash run.sh >seen 2>err || { cat err; exit 1; }
cat seen
diff seen - <<'EOF2'
three offers or more
requests: 0
acknowledged without offload: 1
EOF2
echo "as described"
