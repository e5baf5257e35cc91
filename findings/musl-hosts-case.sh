#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# musl 1.2.6: "web" is not the "Web" of /etc/hosts
#
# The case of letters in host names does not matter, in DNS (RFC 4343) as in a host table
# (RFC 952); glibc and Go's resolver look at /etc/hosts that way.  musl compares the bytes:
# "192.0.2.7 Web" is found as "Web" and not as "web" or "WEB"; it then asks DNS, which seldom
# has it.  LOCALHOST is not 127.0.0.1.
#
# Host names with capitals get into /etc/hosts by "podman run --name Web" or --add-host, and
# clients write the host of a URL in small letters before they look for it, as browsers and
# Node do: then a name that "ping Web" finds is unknown to them, on Alpine alone.  Seen on
# 2026-11-30 with Debian unstable's musl-dev 1.2.6-2 and libc6 2.43-7.  Needs curl, gcc and
# unshare; run as root or as a user who may make user namespaces.
set -eu
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
pool=http://deb.debian.org/debian/pool/main
for p in g/glibc/libc6_2.43-7 m/musl/musl-dev_1.2.6-2; do
	curl -sSf -O "$pool/${p}_amd64.deb"
	dpkg -x "${p##*/}_amd64.deb" root
done
cat >try.c <<'EOF2'
#include <netdb.h>
#include <stdio.h>
int main(int argc, char **argv)
{
	struct addrinfo *list;
	int i;

	for (i = 1; i < argc; i++)
		printf(" %s %s", argv[i], getaddrinfo(argv[i], "80", NULL, &list) ? "no" : "yes");
	puts("");
	return 0;
}
EOF2
gcc -o try-glibc try.c
lib=root/usr/lib/x86_64-linux-musl
gcc -static -nostdinc -isystem root/usr/include/x86_64-linux-musl -nostdlib -o try-musl \
	"$lib/crt1.o" "$lib/crti.o" try.c "$lib/libc.a" "$lib/crtn.o"
printf '127.0.0.1 localhost\n192.0.2.7 Web\n' >hosts
echo 'nameserver 127.0.0.1' >resolv.conf
echo 'hosts: files dns' >nsswitch.conf
cat >run.sh <<'EOF2'
ip link set lo up
for f in hosts resolv.conf nsswitch.conf; do mount --bind $f /etc/$f; done
lib=root/usr/lib/x86_64-linux-gnu
set localhost LOCALHOST Web web WEB
echo "glibc:$($lib/ld-linux-x86-64.so.2 --library-path $lib ./try-glibc "$@")"
echo "musl:$(./try-musl "$@")"
EOF2
unshare -rnm timeout 60 bash run.sh >seen 2>err || { cat err; exit 1; }
cat seen
diff seen - <<'EOF2'
glibc: localhost yes LOCALHOST yes Web yes web yes WEB yes
musl: localhost yes LOCALHOST no Web yes web no WEB no
EOF2
echo "as described"
