#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# busybox 1.38.0: "ip link add va type veth peer name vb" makes no vb
#
# iproute2's way to name both ends of a veth pair is taken with status 0 and no word, but
# what follows the type is dropped: the kernel names the other end, veth0.  And where two
# addresses of one network are on an interface, "ip -4 addr flush" deletes the first, with
# which Linux deletes the second, then fails on that with "Cannot assign requested
# address" and status 1, although nothing is left.
#
# A script written for iproute2 goes on, in a minimal guest or container, until it looks
# for vb, or stops (set -e) after a flush that worked.  Seen on 2026-11-29 with Debian
# unstable's busybox-static 1.38.0-3+b1; Debian 12's 1.35.0 does the same.  Needs curl and
# unshare; run as root or as a user who may make user namespaces.
set -eu
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
curl -sSf -O http://deb.debian.org/debian/pool/main/b/busybox/busybox-static_1.38.0-3+b1_amd64.deb
dpkg -x busybox-static_*.deb root
cat >run.sh <<'EOF2'
ip() { "$(find root -path '*bin/busybox' -type f | head -n 1)" ip "$@"; }
# The defaults of another machine are not ours
echo 0 >/proc/sys/net/ipv4/conf/all/promote_secondaries
echo 0 >/proc/sys/net/ipv4/conf/default/promote_secondaries
ip link add va type veth peer name vb && s=0 || s=$?
echo "add: $s"
ip -o link | sed -n 's/^[0-9]*: \([a-z0-9]*\)[@:].*/\1/p' | sort | paste -sd' '
ip addr add 192.0.2.1/24 dev va
ip -4 addr flush dev va && s=0 || s=$?
echo "flush of one: $s"
ip addr add 192.0.2.1/24 dev va
ip addr add 192.0.2.2/24 dev va
ip -4 addr flush dev va 2>&1 && s=0 || s=$?
echo "flush of two: $s, left: $(ip -4 addr show dev va | grep -c inet)"
EOF2
unshare -rn timeout 60 bash run.sh >seen 2>err || { cat err; exit 1; }
cat seen
diff seen - <<'EOF2'
add: 0
lo va veth0
flush of one: 0
ip: can't send flush request: Cannot assign requested address
flush of two: 1, left: 0
EOF2
echo "as described"
