#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# iproute2 7.3.0: "ip monitor route" is not told of IPv4 routes that go with their link
#
# With a link that is set down or deleted its routes go.  Linux says so of each IPv6 route
# (RTM_DELROUTE), and of no IPv4 route.  Where an interface loses its last IPv4 address, the
# route of its own network is told, and one by a gateway there goes unsaid; the same route of
# IPv6 stays.  What one deletes by "ip route del" is told of both families.
#
# So a program that keeps a copy of the routing table by notifications, and was tried with IPv6
# or with "ip route del", goes on with IPv4 routes that are no more; it must look at the table
# again when a link or an address changes.  Seen on 2026-11-30 with Debian unstable's iproute2
# 7.3.0-1 on Linux 6.18.  Needs curl and unshare; run as root or as a user who may make user
# namespaces.
set -eu
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
pool=http://deb.debian.org/debian/pool/main
for p in g/glibc/libc6_2.43-7 i/iproute2/iproute2_7.3.0-1 libb/libbpf/libbpf1_1.7.0-1 \
	libc/libcap2/libcap2_2.78-1+b1 d/db5.3/libdb5.3t64_5.3.28+dfsg2-11+b1 \
	e/elfutils/libelf1t64_0.196-1 libm/libmnl/libmnl0_1.0.5-3+b2 \
	libs/libselinux/libselinux1_3.11-2.1+b1 libt/libtirpc/libtirpc3t64_1.3.7+ds-1 \
	i/iptables/libxtables12_1.8.13-1 p/pcre2/libpcre2-8-0_10.49-1 \
	z/zlib/zlib1g_1.3.dfsg+really1.3.2-4 libz/libzstd/libzstd1_1.5.7+dfsg-4 \
	k/krb5/libgssapi-krb5-2_1.22.1-3 k/krb5/libkrb5-3_1.22.1-3 k/krb5/libk5crypto3_1.22.1-3 \
	k/krb5/libkrb5support0_1.22.1-3 e/e2fsprogs/libcom-err2_1.47.4-1+b2 \
	k/keyutils/libkeyutils1_1.6.3-6+b2 o/openssl/libssl3t64_3.6.5-1; do
	curl -sSf -O "$pool/${p}_amd64.deb"
	dpkg -x "${p##*/}_amd64.deb" root
done
cat >run.sh <<'EOF2'
lib=root/usr/lib/x86_64-linux-gnu
ip=$(find root -path '*bin/ip' -type f | head -n 1)
ip() { $lib/ld-linux-x86-64.so.2 --library-path $lib "$ip" "$@"; }
family() { case $1 in *::*) echo -6 ;; *) echo -4 ;; esac; }
ip link set lo up
try() {
	ip link add eth0 type veth peer name eth1
	ip link set eth1 up
	ip link set eth0 up
	ip addr add 192.0.2.1/24 dev eth0
	ip addr add 2001:db8::1/64 dev eth0 nodad
	ip route add 198.51.100.0/24 via 192.0.2.2
	ip -6 route add 2001:db8:1::/64 via 2001:db8::2
	: >monitor
	ip monitor route >monitor &
	until grep -q 203.0.113.1 monitor; do
		ip route replace 203.0.113.1 dev lo
		sleep 0.1
	done
	eval "$1"
	ip route replace 203.0.113.2 dev lo
	until grep -q 203.0.113.2 monitor; do sleep 0.1; done
	kill $!
	wait $! 2>/dev/null || :
	echo "$1"
	for route in 192.0.2.0/24 198.51.100.0/24 2001:db8::/64 2001:db8:1::/64; do
		echo "  $route: $(ip "$(family $route)" route show $route | grep -q . && echo there ||
			echo gone), $(
			grep -q "^Deleted $route " monitor && echo said || echo not said)"
	done
	ip link del eth0 2>/dev/null
	ip route flush dev lo
}
try "ip link set eth0 down"
try "ip link del eth0"
try "ip addr del 192.0.2.1/24 dev eth0; ip addr del 2001:db8::1/64 dev eth0"
try "ip route del 198.51.100.0/24; ip route del 2001:db8:1::/64"
EOF2
unshare -rn --pid --fork --kill-child timeout 60 bash run.sh >seen 2>err || { cat err; exit 1; }
cat seen
diff seen - <<'EOF2'
ip link set eth0 down
  192.0.2.0/24: gone, not said
  198.51.100.0/24: gone, not said
  2001:db8::/64: gone, said
  2001:db8:1::/64: gone, said
ip link del eth0
  192.0.2.0/24: gone, not said
  198.51.100.0/24: gone, not said
  2001:db8::/64: gone, said
  2001:db8:1::/64: gone, said
ip addr del 192.0.2.1/24 dev eth0; ip addr del 2001:db8::1/64 dev eth0
  192.0.2.0/24: gone, said
  198.51.100.0/24: gone, not said
  2001:db8::/64: gone, said
  2001:db8:1::/64: there, not said
ip route del 198.51.100.0/24; ip route del 2001:db8:1::/64
  192.0.2.0/24: there, not said
  198.51.100.0/24: gone, said
  2001:db8::/64: there, not said
  2001:db8:1::/64: gone, said
EOF2
echo "as described"
