#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# A search list has an end in the middle, and another one for glibc, musl, c-ares and Go
#
# With "search first.example two.example" db is looked for as db.first.example, then as
# db.two.example, which exists.  All four go on after NXDOMAIN.  musl ends with any other
# answer: also if the first name exists without an address (a wildcard for mail is enough), and
# then says that db has none.  c-ares ends with SERVFAIL, which glibc and Go pass over, and
# REFUSED is the end for all.
#
# So a name that is found on Debian may be unknown on Alpine, and whether one broken or foreign
# domain in the list matters depends on the program.  Seen on 2026-11-30 with Debian unstable's
# libc6 2.43-7, musl-dev 1.2.6-2, libcares2 1.34.9-1 and, for Go, caddy 2.11.4-1.  Needs curl,
# gcc, unshare and python3; run as root or as a user who may make user namespaces.
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
#include <netdb.h>
#include <stdio.h>
#include <sys/socket.h>
int main(int argc, char **argv)
{
	const struct addrinfo hints = { .ai_family = AF_INET, .ai_socktype = SOCK_STREAM };
	struct addrinfo *list;

	puts(getaddrinfo(argv[argc - 1], "80", &hints, &list) ? "no" : "yes");
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
	(void)list;
	puts(status ? "no" : "yes");
}
int main(int argc, char **argv)
{
	const struct ares_addrinfo_hints hints = { .ai_family = AF_INET,
						   .ai_socktype = SOCK_STREAM };
	const struct ares_options options = { .evsys = ARES_EVSYS_DEFAULT };
	ares_channel_t *c;

	if (ares_library_init(ARES_LIB_INIT_ALL) ||
	    ares_init_options(&c, &options, ARES_OPT_EVENT_THREAD))
		return 1;
	ares_getaddrinfo(c, argv[argc - 1], "80", &hints, say, NULL);
	ares_queue_wait_empty(c, -1);
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
cat >resolver.py <<'EOF2'
# It knows db.two.example, and for all names in the other domains it says one thing
import socket
SAY = {b"nxdomain": 3, b"nodata": 0, b"servfail": 2, b"refused": 5}
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("127.0.0.1", 53))
open("ready", "w").close()
while True:
    q, who = s.recvfrom(4096)
    n, labels = 12, []
    while q[n]:
        labels.append(q[n + 1:n + 1 + q[n]].lower())
        n += 1 + q[n]
    head, answer = b"\x81\x83\0\1\0\0\0\0\0\0", b""
    if labels == [b"db", b"two", b"example"] and q[n + 2] == 1:
        head = b"\x81\x80\0\1\0\1\0\0\0\0"
        answer = b"\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4" + bytes([127, 0, 0, 1])
    elif labels == [b"db", b"two", b"example"]:
        head = b"\x81\x80\0\1\0\0\0\0\0\0"
    elif labels[-2] in SAY:
        head = b"\x81" + bytes([0x80 | SAY[labels[-2]]]) + b"\0\1\0\0\0\0\0\0"
    s.sendto(q[:2] + head + q[12:n + 5] + answer, who)
EOF2
cat >run.sh <<'EOF2'
ip link set lo up
for f in hosts resolv.conf nsswitch.conf; do mount --bind $f /etc/$f; done
lib=root/usr/lib/x86_64-linux-gnu
new() { exec $lib/ld-linux-x86-64.so.2 --library-path $lib "$@"; }
export HOME=$PWD
python3 resolver.py &
until [ -e ready ]; do sleep 0.1; done
python3 -m http.server -b 127.0.0.1 8000 >&2 &
until curl -sfo /dev/null http://127.0.0.1:8000/; do sleep 0.1; done
for first in nxdomain nodata servfail refused; do
	printf '%s\n' 'nameserver 127.0.0.1' "search $first.example two.example" >resolv.conf
	new root/usr/bin/caddy reverse-proxy --from http://127.0.0.1:8001 --to db:8000 >&2 &
	until curl -so /dev/null http://127.0.0.1:8001/; do sleep 0.2; done
	echo "$first: glibc $(new ./try-glibc db), musl $(./try-musl db), c-ares $(
		new ./try-cares db), Go $(curl -sfo page http://127.0.0.1:8001/ && echo yes || echo no)"
	kill $!
	wait $! || :
done
EOF2
printf '127.0.0.1 localhost\n' >hosts
: >resolv.conf
echo 'hosts: files dns' >nsswitch.conf
unshare -rnm --pid --fork --kill-child timeout 60 bash run.sh >seen 2>err || { cat err; exit 1; }
cat seen
diff seen - <<'EOF2'
nxdomain: glibc yes, musl yes, c-ares yes, Go yes
nodata: glibc yes, musl no, c-ares yes, Go yes
servfail: glibc yes, musl no, c-ares no, Go yes
refused: glibc no, musl no, c-ares no, Go no
EOF2
echo "as described"
