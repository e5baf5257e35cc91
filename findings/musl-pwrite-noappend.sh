#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# musl 1.2.6: pwrite() writes where it is told, also with O_APPEND
#
# On Linux pwrite() to a file that is open with O_APPEND appends, whatever the offset
# (pwrite(2), BUGS), and musl 1.2.5 and glibc do that.  musl 1.2.6 asks for
# pwritev2() with RWF_NOAPPEND first, which Linux knows since 6.9: the same program
# overwrites the begin of the file instead.  And a system call filter that lists
# pwrite64 alone, as it did for any libc so far, kills or fails such a program.
#
# Seen on 2026-11-29 with Debian unstable's 1.2.6-2 beside Debian 13's 1.2.5-3.
# Needs curl, gcc, strace and Linux 6.9 or later.
set -eu
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
pool=http://deb.debian.org/debian/pool/main/m/musl
cat >try.c <<'EOF'
#include <fcntl.h>
#include <unistd.h>
int main(void)
{
	int fd = open("file", O_RDWR | O_CREAT | O_TRUNC | O_APPEND, 0600);

	return write(fd, "begin", 5) != 5 || pwrite(fd, "B", 1, 0) != 1;
}
EOF
try() {
	rm -f file
	strace -o calls "$2"
	echo "$1: $(cat file), $(grep -o '^pwrite[a-z0-9]*' calls | paste -sd+)"
}
gcc -o try try.c
try glibc ./try
for version in 1.2.5-3 1.2.6-2; do
	curl -sSf -O "$pool/musl-dev_${version}_amd64.deb"
	dpkg -x "musl-dev_${version}_amd64.deb" "$version"
	lib=$version/usr/lib/x86_64-linux-musl
	gcc -static -nostdinc -isystem "$version/usr/include/x86_64-linux-musl" \
		-nostdlib -o "try-$version" "$lib/crt1.o" "$lib/crti.o" try.c \
		"$lib/libc.a" "$lib/crtn.o"
	try "$version" "./try-$version"
done >seen
cat seen
diff seen - <<'EOF'
1.2.5-3: beginB, pwrite64
1.2.6-2: Begin, pwritev2
EOF
echo "as described"
