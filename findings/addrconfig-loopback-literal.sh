#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# glibc 2.43: the first IPv6 address of a machine makes 127.0.0.1 no address
#
# getaddrinfo("127.0.0.1") with AI_ADDRCONFIG, numeric as it is, works where there is lo
# alone, and fails with EAI_ADDRFAMILY ("Address family for hostname not supported") as
# soon as another interface has any IPv6 address, be it the link-local one that the kernel
# makes; the other way round ::1 is refused where there is an IPv4 address and no IPv6
# but lo's.  getaddrinfo(3) says that loopback addresses do not count, but then lo alone
# would allow neither.  musl 1.2.6 takes lo's addresses for configured ones in all cases.
#
# So in a namespace or guest with one family, some programs do not reach services on their
# own loopback: tftp-hpa 7.2 and wget2 2.2.0 do not, netcat-openbsd does.  Seen on
# 2026-11-29 with Debian unstable's libc6 2.43-7, musl-dev 1.2.6-2 and tftp-hpa
# 7.2+20261013-2.  Needs curl, gcc, unshare and ip; run as root or as a user who may make
# user namespaces.
set -eu
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
pool=http://deb.debian.org/debian/pool/main
for p in g/glibc/libc6_2.43-7 m/musl/musl-dev_1.2.6-2 t/tftp-hpa/tftp-hpa_7.2+20261013-2; do
	curl -sSf -O "$pool/${p}_amd64.deb"
	dpkg -x "${p##*/}_amd64.deb" root
done
cat >try.c <<'EOF2'
#include <netdb.h>
#include <stdio.h>
#include <sys/socket.h>
int main(int argc, char **argv)
{
	const struct addrinfo hints = { .ai_flags = AI_ADDRCONFIG,
					.ai_socktype = SOCK_STREAM };
	struct addrinfo *list;
	int i;

	for (i = 1; i < argc; i++)
		printf(" %s %s", argv[i],
		       getaddrinfo(argv[i], "80", &hints, &list) ? "no" : "yes");
	puts("");
	return 0;
}
EOF2
gcc -o try-glibc try.c
lib=root/usr/lib/x86_64-linux-musl
gcc -static -nostdinc -isystem root/usr/include/x86_64-linux-musl -nostdlib -o try-musl \
	"$lib/crt1.o" "$lib/crti.o" try.c "$lib/libc.a" "$lib/crtn.o"
cat >run.sh <<'EOF2'
lib=root/usr/lib/x86_64-linux-gnu
new() { $lib/ld-linux-x86-64.so.2 --library-path $lib "$@"; }
try() {
	echo "$1, glibc:$(new ./try-glibc 127.0.0.1 ::1), musl:$(./try-musl 127.0.0.1 ::1)"
}
ip link set lo up
try "lo alone"
ip link add eth0 type veth peer name eth1
ip link set eth1 up
ip link set eth0 up
until ip -6 addr show dev eth0 | grep -q fe80; do sleep 0.1; done
try "with link-local IPv6"
timeout 5 $lib/ld-linux-x86-64.so.2 --library-path $lib root/usr/bin/tftp 127.0.0.1 \
	-c get file 2>&1 | head -n 1
ip link del eth0
echo 1 >/proc/sys/net/ipv6/conf/default/disable_ipv6
ip link add eth0 type veth peer name eth1
ip link set eth0 up
ip addr add 192.0.2.1/24 dev eth0
try "with IPv4"
EOF2
unshare -rn timeout 60 bash run.sh >seen 2>err || { cat err; exit 1; }
cat seen
diff seen - <<'EOF2'
lo alone, glibc: 127.0.0.1 yes ::1 yes, musl: 127.0.0.1 yes ::1 yes
with link-local IPv6, glibc: 127.0.0.1 no ::1 yes, musl: 127.0.0.1 yes ::1 yes
tftp: 127.0.0.1: Address family for hostname not supported
with IPv4, glibc: 127.0.0.1 yes ::1 no, musl: 127.0.0.1 yes ::1 yes
EOF2
echo "as described"
