#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# glibc 2.43 prefers a unique local address to IPv4; musl, c-ares and Go prefer IPv4
#
# A name has fd00::2 and 10.0.0.2, as that of a container or of a machine in a lab often has,
# and a client both families.  RFC 6724 (2012) puts unique local addresses behind IPv4; musl,
# c-ares and Go have its table.  That of glibc is older, with labels of its own: there fc00::/7
# is IPv6 like any other, and comes first.  With 2001:db8::2 all four say IPv6.
#
# So a program of Debian goes by IPv6 where the same one on Alpine, or a Go or c-ares program
# beside it, goes by IPv4: a port that is published or allowed for one family alone works for
# half of the clients, though the addresses are the same for all.  Seen on 2026-11-30 with
# Debian unstable's libc6 2.43-7, musl-dev 1.2.6-2, libcares2 1.34.9-1 and, for Go, caddy
# 2.11.4-1.  Needs curl, gcc, unshare, ip and python3; run as root or as a user who may make
# user namespaces.
set -eu
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
pool=http://deb.debian.org/debian/pool/main
for p in g/glibc/libc6_2.43-7 m/musl/musl-dev_1.2.6-2 c/c-ares/libcares2_1.34.9-1 \
	c/c-ares/libc-ares-dev_1.34.9-1 c/caddy/caddy_2.11.4-1; do
	curl -sSf -O "$pool/${p}_amd64.deb"
	dpkg -x "${p##*/}_amd64.deb" root
done
cat >try.c <<'EOF2'
#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
#include <sys/socket.h>
int main(void)
{
	const struct addrinfo hints = { .ai_socktype = SOCK_STREAM };
	struct addrinfo *list;

	if (getaddrinfo("db", "80", &hints, &list))
		return 1;
	puts(list->ai_family == AF_INET6 ? "IPv6" : "IPv4");
	return 0;
}
EOF2
cat >cares.c <<'EOF2'
#include <ares.h>
#include <netdb.h>
#include <stdio.h>
#include <sys/socket.h>
static void say(void *arg, int status, int timeouts, struct ares_addrinfo *list)
{
	(void)arg;
	(void)timeouts;
	if (!status)
		puts(list->nodes->ai_family == AF_INET6 ? "IPv6" : "IPv4");
}
int main(void)
{
	const struct ares_addrinfo_hints hints = { .ai_family = AF_UNSPEC,
						   .ai_socktype = SOCK_STREAM };
	const struct ares_options options = { 0 };
	ares_channel_t *c;

	if (ares_library_init(ARES_LIB_INIT_ALL) || ares_init_options(&c, &options, 0))
		return 1;
	ares_getaddrinfo(c, "db", "80", &hints, say, NULL);
	return 0;
}
EOF2
gcc -o try-glibc try.c
lib=root/usr/lib/x86_64-linux-musl
gcc -static -nostdinc -isystem root/usr/include/x86_64-linux-musl -nostdlib -o try-musl \
	"$lib/crt1.o" "$lib/crti.o" try.c "$lib/libc.a" "$lib/crtn.o"
lib=root/usr/lib/x86_64-linux-gnu
gcc -isystem root/usr/include -isystem root/usr/include/x86_64-linux-gnu -o try-cares cares.c \
	"$lib/libcares.so.2" -Wl,--allow-shlib-undefined
cat >serve.py <<'EOF2'
import socket
s = socket.create_server(("::", 8000), family=socket.AF_INET6, dualstack_ipv6=True)
while True:
    c, a = s.accept()
    c.recv(4096)
    family = b"IPv4" if a[0].startswith("::ffff:") else b"IPv6"
    c.sendall(b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\n" + family + b"\n")
    c.close()
EOF2
cat >run.sh <<'EOF2'
ip link set lo up
ip link add eth0 type veth peer name eth1
ip link set eth1 up
ip link set eth0 up
for f in hosts resolv.conf nsswitch.conf gai.conf; do mount --bind $f /etc/$f; done
lib=root/usr/lib/x86_64-linux-gnu
new() { exec $lib/ld-linux-x86-64.so.2 --library-path $lib "$@"; }
export HOME=$PWD
python3 serve.py &
try() {
	echo "$1 and $2"
	ip addr flush dev eth0
	ip addr add "$1/64" dev eth0 nodad
	ip addr add "$2/24" dev eth0
	printf '%s db\n' "$1" "$2" >hosts
	new root/usr/bin/caddy reverse-proxy --from http://127.0.0.1:8001 --to db:8000 >&2 &
	until go=$(curl -sf http://127.0.0.1:8001/); do sleep 0.1; done
	kill $!
	wait $! || :
	echo "  glibc $(new ./try-glibc), musl $(./try-musl), c-ares $(
		new ./try-cares), Go $go"
}
try fd00::2 10.0.0.2
try fd00::2 192.0.2.2
try 2001:db8::2 10.0.0.2
try 2001:db8::2 192.0.2.2
EOF2
printf '127.0.0.1 db\n' >hosts
echo 'nameserver 127.0.0.1' >resolv.conf
echo 'hosts: files dns' >nsswitch.conf
: >gai.conf
unshare -rnm --pid --fork --kill-child timeout 60 bash run.sh >seen 2>err || { cat err; exit 1; }
cat seen
diff seen - <<'EOF2'
fd00::2 and 10.0.0.2
  glibc IPv6, musl IPv4, c-ares IPv4, Go IPv4
fd00::2 and 192.0.2.2
  glibc IPv6, musl IPv4, c-ares IPv4, Go IPv4
2001:db8::2 and 10.0.0.2
  glibc IPv6, musl IPv6, c-ares IPv6, Go IPv6
2001:db8::2 and 192.0.2.2
  glibc IPv6, musl IPv6, c-ares IPv6, Go IPv6
EOF2
echo "as described"
