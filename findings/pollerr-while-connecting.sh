#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Linux 7.2: POLLERR and an error, and yet connect() goes on (IPv4 only)
#
# Who connects without waiting polls for POLLOUT and then asks for SO_ERROR; POLLERR is
# thought to be the end.  But an ICMP error to an IPv4 SYN is put into the socket's error
# queue, though IP_RECVERR was never set and ip(7) has it off by default, and that alone is
# POLLERR.  If the ICMP message comes while the system call still has the socket, as from a
# router on the same machine, the connection stays in SYN-SENT; SO_ERROR names the error,
# which is one that would have been forgotten; and when the route is mended the same socket
# is connected by its next SYN.  Over IPv6 nothing wakes the program, and nothing is in the
# queue.  Likewise when the ICMP message does end the connection: the queue is filled before
# SO_ERROR is set, and who is quick is told POLLERR, no error, and takes it for connected.
#
# Seen on 2026-11-30 with Debian unstable's user-mode-linux 7.2um1 (Linux 7.2.7).  Needs
# curl, gcc, a static libc and unshare; run as root or as a user who may make user namespaces.
set -eu
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
pool=http://deb.debian.org/debian/pool/main
for p in u/user-mode-linux/user-mode-linux_7.2um1 g/glibc/libc6_2.43-7 \
	b/busybox/busybox-static_1.35.0-4+deb12u1+b1; do
	curl -sSf -O "$pool/${p}_amd64.deb"
	dpkg -x "${p##*/}_amd64.deb" root
done
cp root/bin/busybox .
cat >try.c <<'EOF2'
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static long ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void say(int s, long since)
{
	struct pollfd p = { .fd = s, .events = POLLOUT };
	int n = poll(&p, 1, 500), err = 0;
	struct tcp_info info = { 0 };
	char data[100], ctrl[500];
	struct iovec v = { data, sizeof(data) };
	struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1, .msg_control = ctrl,
			    .msg_controllen = sizeof(ctrl) };
	socklen_t len = sizeof(info), l = sizeof(err);

	getsockopt(s, IPPROTO_TCP, TCP_INFO, &info, &len);
	getsockopt(s, SOL_SOCKET, SO_ERROR, &err, &l);
	printf("  %s:%s%s%s%s %s, SO_ERROR: %s, error queue: %s\n",
	       ms() - since < 400 ? "at once" : "half a second later",
	       n ? "" : " nothing", p.revents & POLLOUT ? " POLLOUT" : "",
	       p.revents & POLLERR ? " POLLERR" : "", p.revents & POLLHUP ? " POLLHUP" : "",
	       info.tcpi_state == TCP_SYN_SENT ? "SYN-SENT" :
	       info.tcpi_state == TCP_ESTABLISHED ? "ESTABLISHED" : "CLOSE",
	       err ? strerror(err) : "none", recvmsg(s, &m, MSG_ERRQUEUE) < 0 ? "empty" : "one");
}

static void try(int family, struct sockaddr *to, socklen_t len, const char *mend,
		const char *router)
{
	int s = socket(family, SOCK_STREAM | SOCK_NONBLOCK, 0);
	struct pollfd p = { .fd = s, .events = POLLOUT };
	long t = ms();

	printf("IPv%d, IP_RECVERR is off\n", family == AF_INET ? 4 : 6);
	connect(s, to, len);
	say(s, t);
	if (!fork()) {
		execl(mend, mend, router, family == AF_INET ? "4" : "6", NULL);
		_exit(1);
	}
	wait(NULL);
	poll(&p, 0, 600);
	while (poll(&p, 1, 3000) == 1 && !(p.revents & POLLOUT))
		poll(NULL, 0, 100);
	printf("  the route mended:%s\n", p.revents & POLLOUT ? "" : " nothing");
	say(s, ms());
}

int main(int argc, char **argv)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(7) };
	struct sockaddr_in6 b = { .sin6_family = AF_INET6, .sin6_port = htons(7) };

	setvbuf(stdout, NULL, _IONBF, 0);
	inet_pton(AF_INET, "203.0.113.2", &a.sin_addr);
	inet_pton(AF_INET6, "2001:db8:1::2", &b.sin6_addr);
	try(AF_INET, (void *)&a, sizeof(a), argv[1], argv[2]);
	try(AF_INET6, (void *)&b, sizeof(b), argv[1], argv[2]);
	return 0;
}
EOF2
gcc -O1 -static -o try try.c
# The guest's root directory is the host's: what runs there must not need a libc
cat >init <<EOF2
#!$tmp/busybox sh
b=$tmp/busybox
router() { \$b nsenter -t \$pid -n \$b "\$@"; }
\$b insmod \$(\$b find $tmp/root/usr/lib/uml/modules/* -name veth.ko)
\$b mount -t proc proc /proc
\$b ip link add type veth
\$b unshare -n \$b sleep 1000 &
pid=\$!
until ! \$b cmp -s /proc/\$pid/net/dev /proc/net/dev; do \$b usleep 50000; done
\$b ip link set veth1 netns \$pid
for i in all default veth0 veth1; do
	\$b sysctl -w net.ipv6.conf.\$i.accept_dad=0 2>/dev/null
	router sysctl -w net.ipv6.conf.\$i.accept_dad=0 2>/dev/null
done
router sysctl -w net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
\$b ip addr add 192.0.2.1/24 dev veth0
\$b ip addr add 2001:db8::1/64 dev veth0
router ip addr add 192.0.2.2/24 dev veth1
router ip addr add 2001:db8::2/64 dev veth1
\$b ip link set veth0 up
router ip link set lo up
router ip link set veth1 up
router ip route add unreachable 203.0.113.2
router ip -6 route add unreachable 2001:db8:1::2
\$b ip route add default via 192.0.2.2
\$b ip -6 route add default via 2001:db8::2
router nc -ll -p 7 -e \$b sleep 60 &
until router netstat -lnt | \$b grep -q :7; do \$b usleep 50000; done
$tmp/try $tmp/mend \$pid >/dev/console
\$b poweroff -f
EOF2
cat >mend <<EOF2
#!$tmp/busybox sh
pid=\$1
router() { $tmp/busybox nsenter -t \$pid -n $tmp/busybox "\$@"; }
case \$2 in
4)	router ip route del unreachable 203.0.113.2
	router ip addr add 203.0.113.2/32 dev lo ;;
6)	router ip -6 route del unreachable 2001:db8:1::2
	router ip addr add 2001:db8:1::2/128 dev lo ;;
esac
EOF2
chmod +x init mend
cat >run.sh <<'EOF2'
lib=$PWD/root/usr/lib/x86_64-linux-gnu
mkdir memory
mount -t tmpfs tmpfs memory
mount --bind $lib/ld-linux-x86-64.so.2 /lib64/ld-linux-x86-64.so.2
export TMPDIR=$PWD/memory LD_LIBRARY_PATH=$lib
root/usr/bin/linux.uml mem=128M seccomp=auto con=null con0=null,fd:1 ssl=null \
	rootfstype=hostfs ro init=$PWD/init </dev/null >console 2>&1
EOF2
unshare -rm --pid --fork --kill-child timeout 60 bash run.sh >err 2>&1 || { cat err console; exit 1; }
tr -d '\r' <console | sed -n '/^IPv4, /,/^reboot/{/^reboot/d;/^$/d;p}' | tee seen
diff seen - <<'EOF2'
IPv4, IP_RECVERR is off
  at once: POLLERR SYN-SENT, SO_ERROR: No route to host, error queue: one
  the route mended:
  at once: POLLOUT ESTABLISHED, SO_ERROR: none, error queue: empty
IPv6, IP_RECVERR is off
  half a second later: nothing SYN-SENT, SO_ERROR: Network is unreachable, error queue: empty
  the route mended:
  at once: POLLOUT ESTABLISHED, SO_ERROR: none, error queue: empty
EOF2
echo "as described"
