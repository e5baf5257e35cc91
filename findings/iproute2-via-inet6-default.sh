#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# iproute2 6.1.0: "ip route add default via inet6 ADDR" is a route of IPv6
#
# RFC 9229 has IPv4 routes whose next hop is an IPv6 address, which ip writes as
# "default via inet6 fe80::1 dev eth0" when it lists them.  The same words given
# to "ip route add" without -4 make an IPv6 default route, status 0 and no word;
# the IPv4 table stays as it was.  With "ip -4" the route is that of IPv4.
#
# So a listing of IPv4 routes cannot be fed back line by line.  Seen on
# 2026-11-28 with Debian 12's iproute2.  Needs apt, unshare; run as root or as a
# user who may make user namespaces.
set -eu
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
apt-get -q download iproute2=6.1.0-3 >log 2>&1 || { cat log; exit 1; }
dpkg -x iproute2_*.deb root
cat >run.sh <<'EOF'
ip=$(find root -path '*bin/ip' -type f | head -n 1)
$ip link add eth0 type veth peer name eth1
$ip link set eth0 up
$ip link set eth1 up
$ip addr add 192.0.2.1/24 dev eth0
count() { $ip "$1" route show default | grep -c . || true; }
$ip route add default via inet6 fe80::1 dev eth0
echo "status $?, IPv4 $(count -4), IPv6 $(count -6)"
$ip -6 route del default
$ip -4 route add default via inet6 fe80::1 dev eth0
echo "status $?, IPv4 $(count -4), IPv6 $(count -6)"
$ip -4 route show default | sed 's/ *$//'
EOF
unshare -rn bash run.sh >seen 2>err || { cat err; exit 1; }
cat seen
diff seen - <<'EOF'
status 0, IPv4 0, IPv6 1
status 0, IPv4 1, IPv6 0
default via inet6 fe80::1 dev eth0
EOF
echo "as described"
