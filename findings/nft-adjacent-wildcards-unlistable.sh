#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# nftables 1.1.7: two neighbouring interface wildcards cannot be listed or loaded again
#
# 'iifname { "eth1*", "eth3*" }' is listed as it was given.  'iifname { "eth1*", "eth2*" }',
# whose ranges of names touch, is taken, but listed as a range from an empty string to
# bytes that are no name; in a verdict map the first of the two is listed as ""/32.  nft(8)
# says that by design the output of "list ruleset" may be given to "nft -f": here that
# fails with "Empty string is not allowed" and nothing of the file is loaded.
#
# So a saved set of rules may be no good on the next start.  Seen on 2026-11-29 with Debian
# unstable's 1.1.7-3, and the same with Debian 12's 1.0.6-2+deb12u2.  Needs curl, unshare
# and a kernel with nf_tables; run as root or as a user who may make user namespaces.
set -eu
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
pool=http://deb.debian.org/debian/pool/main
for p in n/nftables/nftables_1.1.7-3 n/nftables/libnftables1_1.1.7-3 \
	libn/libnftnl/libnftnl11_1.3.2-1 libm/libmnl/libmnl0_1.0.5-3+b2 \
	g/gmp/libgmp10_6.3.0+dfsg-5+b2 j/jansson/libjansson4_2.15.1-1 \
	i/iptables/libxtables12_1.8.13-1 libe/libedit/libedit2_3.1-20260512-1 \
	libb/libbsd/libbsd0_0.12.2-3 libm/libmd/libmd0_1.3.0-1 \
	n/ncurses/libtinfo6_6.6+20260608-2 g/glibc/libc6_2.43-7; do
	curl -sSf -O "$pool/${p}_amd64.deb"
	dpkg -x "${p##*/}_amd64.deb" root
done
cat >run.sh <<'EOF2'
lib=root/usr/lib/x86_64-linux-gnu
nft() { $lib/ld-linux-x86-64.so.2 --library-path $lib root/usr/sbin/nft "$@"; }
try() {
	nft flush ruleset
	printf 'table inet t {\n chain c {\n  type filter hook input priority 0\n  %s\n }\n}\n' \
		"$1" | nft -f - && s=0 || s=$?
	nft list ruleset >list
	nft flush ruleset
	nft -f list 2>said && again=0 || again=$?
	echo "$1: $s, with \"\": $(LC_ALL=C grep -ac "\"\"" list), again: $again" \
		"$(sed -n 's/.*Error: //p' said)"
}
try 'iifname { "eth1*", "eth3*" } accept'
try 'iifname { "eth1*", "eth2*" } accept'
try 'iifname vmap { "eth1*" : accept, "eth3*" : drop }'
try 'iifname vmap { "eth1*" : accept, "eth2*" : drop }'
EOF2
unshare -rn timeout 60 bash run.sh >seen 2>err || { cat err; exit 1; }
sed -i 's/ *$//' seen
cat seen
diff seen - <<'EOF2'
iifname { "eth1*", "eth3*" } accept: 0, with "": 0, again: 0
iifname { "eth1*", "eth2*" } accept: 0, with "": 1, again: 1 Empty string is not allowed
iifname vmap { "eth1*" : accept, "eth3*" : drop }: 0, with "": 0, again: 0
iifname vmap { "eth1*" : accept, "eth2*" : drop }: 0, with "": 1, again: 1 Empty string is not allowed
EOF2
echo "as described"
