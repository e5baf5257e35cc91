/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * As little as a daemon could do on a path, in its place between the same
 * counterparts: no rules, no timers, no limits, no errors, nothing for a second
 * guest.  What it takes is the kernel's, and nobody can take less with these calls.
 *
 *	floor splice FROM TO PORT bulk|copy|udp HOW
 *				what comes to PORT in the namespace FROM goes to
 *				PORT in TO: by splice(), by recv() and send(), or
 *				datagrams of one client
 *	floor tap NETNS NAME MTU tcp|udp HOW
 *				makes the tap; TCP connections or one UDP flow of the
 *				guest, to whom they are for
 *	floor unix PATH MTU tcp|udp HOW
 *				the same through the stream socket of QEMU
 *	floor unix PATH MTU PORT HOW
 *				datagrams to PORT go to the guest, who was first seen
 *				to send a frame
 *
 * HOW is "wait": by one epoll, as whoever serves several must; "block": each call
 * waits for what has to come next, a thread for each way of bulk; or "keep": as
 * "wait", and what the guest has not acknowledged stays in the socket, as for a
 * guest that may lose frames.  None may be lost here, and the guest has the
 * neighbours it needs.  Up to the setup it is root, then user 1000.
 */
#include "checksum.h"

#include <linux/if_tun.h>
#include <linux/virtio_net.h>

#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/ip.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

enum {
	USER = 1000,
	PIPE_BYTES = 1 << 20,
	BUF_BYTES = 1 << 18,
	DESCRIPTORS = 1024,
	EVENTS = 64,
	BATCH = 32,		/* datagrams a call */
	HEAD_ROOM = 128,	/* before what is read, where a page begins */
	PARTS_MAX = 256,
	TURN_BYTES = 256 << 10,	/* in a read, at most */
	LONG_SEGMENTS = 3,	/* in a packet for the tap */
};

static bool block, keep;

static void enter(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || setns(fd, CLONE_NEWNET))
		err(1, "%s", path);
	close(fd);
}

static void ready(void)
{
	if (setresgid(USER, USER, USER) || setresuid(USER, USER, USER))
		err(1, "user %d", USER);
	puts("ready");
	fflush(stdout);
}

static struct sockaddr_in address(uint32_t addr, uint16_t port)
{
	return (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = port,
				     .sin_addr.s_addr = addr };
}

static int dial(int type, const struct sockaddr_in *sa)
{
	int s = socket(AF_INET, type, 0);

	if (s < 0 || connect(s, (const void *)sa, sizeof(*sa)))
		err(1, "port %u", ntohs(sa->sin_port));
	return s;
}

static int bound(int type, uint16_t port)
{
	struct sockaddr_in sa = address(htonl(INADDR_ANY), port);
	int s = socket(AF_INET, type, 0), one = 1;

	if (s < 0 || setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) ||
	    bind(s, (void *)&sa, sizeof(sa)) ||
	    (type == SOCK_STREAM && listen(s, SOMAXCONN)))
		err(1, "port %u", ntohs(port));
	return s;
}

static void watch(int epoll, int fd, uint32_t events)
{
	struct epoll_event e = { events, { .fd = fd } };

	if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &e))
		err(1, "epoll");
}

/* --- from socket to socket ---------------------------------------------- */

/* By descriptor: where its bytes go, and the pipe that holds them */
static struct end {
	int to, pipe[2];
	size_t held;
	bool over;
} end[DESCRIPTORS];

static char buf[BUF_BYTES];

static void open_pipe(int fd)
{
	if (pipe2(end[fd].pipe, block ? 0 : O_NONBLOCK) ||
	    /* Or less: a user's pipes have a limit in sum */
	    (fcntl(end[fd].pipe[1], F_SETPIPE_SZ, PIPE_BYTES) < 0 && errno != EPERM))
		err(1, "pipe");
}

/* A thread stays: what it took is read at the end */
static void *way(void *of)
{
	struct end *e = of;
	int fd = (int)(e - end);
	ssize_t n, held;

	while ((held = splice(fd, NULL, e->pipe[1], NULL, PIPE_BYTES, 0)) > 0)
		for (n = held; n > 0 && held; held -= n)
			n = splice(e->pipe[0], NULL, e->to, NULL, held, 0);
	shutdown(e->to, SHUT_WR);
	pause();
	return NULL;
}

/* Whether @fd has ended */
static bool pass_spliced(int fd)
{
	struct end *e = &end[fd];
	ssize_t n;

	for (;;) {
		while (e->held) {
			n = splice(e->pipe[0], NULL, e->to, NULL, e->held,
				   SPLICE_F_NONBLOCK);
			if (n <= 0)
				return n < 0 && errno != EAGAIN;
			e->held -= n;
		}
		n = splice(fd, NULL, e->pipe[1], NULL, PIPE_BYTES, SPLICE_F_NONBLOCK);
		if (n <= 0)
			return !n || errno != EAGAIN;
		e->held = n;
	}
}

static bool pass_copied(int fd)
{
	ssize_t n = recv(fd, buf, sizeof(buf), 0);

	return n <= 0 || send(end[fd].to, buf, n, MSG_NOSIGNAL) != n;
}

static void over(int fd, bool spliced)
{
	int to = end[fd].to;

	end[fd].over = true;
	if (!end[to].over) {
		shutdown(to, SHUT_WR);
		return;
	}
	for (int i = 0; i < 2; i++, fd = to) {
		if (spliced) {
			close(end[fd].pipe[0]);
			close(end[fd].pipe[1]);
		}
		close(fd);
		end[fd].to = -1;
	}
}

static void relay_wait(int listener, const struct sockaddr_in *far, bool spliced)
{
	int epoll = epoll_create1(0);
	struct epoll_event e[EVENTS];

	watch(epoll, listener, EPOLLIN);
	for (;;) {
		int n = epoll_wait(epoll, e, EVENTS, -1);

		for (int i = 0; i < n; i++) {
			int a = e[i].data.fd, b;
			bool (*pass)(int fd) = spliced ? pass_spliced : pass_copied;

			if (a == listener) {
				a = accept4(listener, NULL, NULL, spliced ? SOCK_NONBLOCK : 0);
				b = dial(SOCK_STREAM, far);
				if (spliced)
					fcntl(b, F_SETFL, O_NONBLOCK);
				end[a] = (struct end){ .to = b };
				end[b] = (struct end){ .to = a };
				for (int k = 0; k < 2; k++, a = b) {
					if (spliced)
						open_pipe(a);
					watch(epoll, a, spliced ? EPOLLIN | EPOLLOUT | EPOLLET :
								  EPOLLIN);
				}
				continue;
			}
			if (end[a].to < 0)
				continue;
			b = end[a].to;
			if (e[i].events & EPOLLIN && !end[a].over && pass(a)) {
				if (!spliced && !end[b].over)
					epoll_ctl(epoll, EPOLL_CTL_DEL, a, NULL);
				over(a, spliced);
			} else if (spliced && e[i].events & EPOLLOUT && !end[b].over &&
				   pass(b)) {
				over(b, spliced);
			}
		}
	}
}

static void relay_block(int listener, const struct sockaddr_in *far, bool spliced)
{
	pthread_t t;

	for (;;) {
		int a = accept(listener, NULL, NULL), b = dial(SOCK_STREAM, far);
		ssize_t n;

		end[a].to = b;
		end[b].to = a;
		if (spliced) {
			open_pipe(a);
			open_pipe(b);
			pthread_create(&t, NULL, way, &end[a]);
			pthread_create(&t, NULL, way, &end[b]);
			continue;
		}
		while ((n = recv(a, buf, sizeof(buf), 0)) > 0 &&
		       send(b, buf, n, MSG_NOSIGNAL) == n &&
		       (n = recv(b, buf, sizeof(buf), 0)) > 0 &&
		       send(a, buf, n, MSG_NOSIGNAL) == n)
			;
		close(b);
		close(a);
	}
}

static void relay_udp(int near, int far)
{
	struct sockaddr_in client;
	socklen_t len = sizeof(client);
	ssize_t n = recvfrom(near, buf, sizeof(buf), 0, (void *)&client, &len);
	int epoll = epoll_create1(0), from = near;
	struct epoll_event e;

	if (connect(near, (void *)&client, len))
		err(1, "client");
	send(far, buf, n, 0);
	watch(epoll, near, EPOLLIN);
	watch(epoll, far, EPOLLIN);
	for (;;) {
		if (block)
			from = from == near ? far : near;
		else if (epoll_wait(epoll, &e, 1, -1) == 1)
			from = e.data.fd;
		n = recv(from, buf, sizeof(buf), 0);
		send(from == near ? far : near, buf, n, 0);
	}
}

static void relay(char **arg)
{
	struct sockaddr_in far = address(htonl(INADDR_LOOPBACK), htons(atoi(arg[2])));
	bool spliced = !strcmp(arg[3], "bulk");
	int near, to;

	enter(arg[0]);
	near = bound(strcmp(arg[3], "udp") ? SOCK_STREAM : SOCK_DGRAM, far.sin_port);
	enter(arg[1]);
	if (!strcmp(arg[3], "udp")) {
		to = dial(SOCK_DGRAM, &far);
		ready();
		relay_udp(near, to);
	}
	ready();
	(block ? relay_block : relay_wait)(near, &far, spliced);
}

/* --- the guest's link --------------------------------------------------- */

static struct {
	int fd;
	bool stream;	/* each frame behind its length, with a full checksum */
	unsigned mss;
	uint8_t mac[ETH_ALEN], guest_mac[ETH_ALEN];
} link_ = { .mac = { 2, 0, 0, 0, 0, 1 } };

/* A frame to be sent: its headers end where the payload begins */
static struct part {
	char *payload;
	struct iovec iov;
} part[PARTS_MAX];

static void make_parts(size_t size)
{
	size_t room = (HEAD_ROOM + size + 4095) / 4096 * 4096;
	char *p = aligned_alloc(4096, PARTS_MAX * room);

	for (unsigned i = 0; p && i < PARTS_MAX; i++, p += room)
		part[i].payload = p + HEAD_ROOM;
}

static int open_tap(const char *netns, const char *name)
{
	struct ifreq r = { .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR };
	int home = open("/proc/self/ns/net", O_RDONLY), fd;

	enter(netns);
	fd = open("/dev/net/tun", O_RDWR);
	strncpy(r.ifr_name, name, IFNAMSIZ - 1);
	if (fd < 0 || ioctl(fd, TUNSETIFF, &r) ||
	    ioctl(fd, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO4) || setns(home, CLONE_NEWNET))
		err(1, "tap");
	close(home);
	return fd;
}

static int open_unix(const char *path)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int s = socket(AF_UNIX, SOCK_STREAM, 0), fd;

	strncpy(sa.sun_path, path, sizeof(sa.sun_path) - 1);
	if (s < 0 || bind(s, (void *)&sa, sizeof(sa)) || chown(path, USER, USER) ||
	    listen(s, 1))
		err(1, "%s", path);
	ready();
	fd = accept(s, NULL, NULL);
	close(s);
	return fd;
}

/* What a packet of either protocol needs to be one; @l4 is complete but for its
 * checksum, which lies at @check */
struct tuple {
	uint32_t us, guest;
	uint16_t our_port, guest_port;
};

static void put_heads(struct part *p, const struct tuple *t, uint8_t proto,
		      const void *l4, size_t l4_len, size_t check, size_t len)
{
	size_t total = sizeof(struct iphdr) + l4_len + len;
	struct iphdr ip = { .version = 4, .ihl = 5, .ttl = 64, .protocol = proto,
			    .saddr = t->us, .daddr = t->guest };
	struct ether_header eth = { .ether_type = htons(ETHERTYPE_IP) };
	uint64_t sum = csum_words(0, &ip.saddr, 2) + htons(proto) + htons(l4_len + len);
	char *to = p->payload - l4_len;
	uint16_t fold;

	/* A longer packet has no length of its own */
	ip.tot_len = total > 0xffff ? 0 : htons(total);
	ip.check = csum_finish(csum_words(0, &ip, 5));
	memcpy(to, l4, l4_len);
	if (link_.stream)
		fold = csum_finish(csum_add(csum_words(sum, l4, l4_len / 4), p->payload, len));
	else
		fold = csum_fold(sum);
	memcpy(to + check, &fold, sizeof(fold));
	memcpy(to -= sizeof(ip), &ip, sizeof(ip));
	memcpy(eth.ether_dhost, link_.guest_mac, ETH_ALEN);
	memcpy(eth.ether_shost, link_.mac, ETH_ALEN);
	memcpy(to -= sizeof(eth), &eth, sizeof(eth));
	if (link_.stream) {
		uint32_t prefix = htonl(sizeof(eth) + total);

		memcpy(to -= sizeof(prefix), &prefix, sizeof(prefix));
	} else {
		size_t start = sizeof(eth) + sizeof(ip);
		struct virtio_net_hdr v = {
			.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
			.csum_start = start, .csum_offset = check,
		};

		if (len > link_.mss) {
			v.gso_type = VIRTIO_NET_HDR_GSO_TCPV4;
			v.gso_size = link_.mss;
			v.hdr_len = start + l4_len;
		}
		memcpy(to -= sizeof(v), &v, sizeof(v));
	}
	p->iov = (struct iovec){ to, (size_t)(p->payload - to) + len };
}

static void put_parts(unsigned n)
{
	struct iovec iov[PARTS_MAX];
	struct msghdr h = { .msg_iov = iov, .msg_iovlen = n };

	for (unsigned i = 0; i < n; i++)
		iov[i] = part[i].iov;
	if (link_.stream ? sendmsg(link_.fd, &h, MSG_NOSIGNAL) < 0 :
			   write(link_.fd, iov->iov_base, iov->iov_len) < 0)
		err(1, "link");
}

/* --- TCP of the guest ----------------------------------------------------- */

enum { SCALE = 7 };

static struct conn {
	int fd;		/* or 0 */
	struct tuple t;
	uint32_t seq, acked, ack, window, taken;
	unsigned scale;
	bool readable, guest_over;
} conn[65536];	/* by the guest's port, as it lies in memory */

static uint16_t port_of[DESCRIPTORS];

static void put_tcp(struct part *p, struct conn *c, uint8_t flags, size_t len)
{
	struct {
		struct tcphdr h;
		uint8_t options[8];
	} tcp = { { .th_sport = c->t.our_port, .th_dport = c->t.guest_port,
		    .th_seq = htonl(c->seq), .th_ack = htonl(c->ack), .th_off = 5,
		    .th_flags = flags, .th_win = htons(0xffff) },
		  { 2, 4, link_.mss >> 8, link_.mss & 255, 3, 3, SCALE, 0 } };
	size_t l4_len = sizeof(tcp.h);

	if (flags & TH_SYN) {
		l4_len = sizeof(tcp);
		tcp.h.th_off = sizeof(tcp) / 4;
	}
	put_heads(p, &c->t, IPPROTO_TCP, &tcp, l4_len, offsetof(struct tcphdr, th_sum), len);
	c->seq += len + !!(flags & (TH_SYN | TH_FIN));
}

static void say(struct conn *c, uint8_t flags)
{
	put_tcp(&part[0], c, flags, 0);
	put_parts(1);
}

static void take_acked(struct conn *c)
{
	uint32_t n = c->acked - 1 - c->taken;

	if (keep && n && recv(c->fd, NULL, n, MSG_TRUNC | MSG_DONTWAIT) > 0)
		c->taken += n;
}

/* What there is for the guest, as far as its window goes */
static void to_guest(struct conn *c)
{
	size_t piece = link_.stream ? link_.mss : (size_t)LONG_SEGMENTS * link_.mss;

	while (c->readable) {
		size_t room = c->acked + c->window - c->seq, given = 0;
		struct iovec iov[PARTS_MAX];
		struct msghdr h = { .msg_iov = iov };
		unsigned k = 0;
		ssize_t n;

		room = MIN(room, link_.stream ? TURN_BYTES / piece * piece : piece);
		for (; given < room && k < PARTS_MAX; k++) {
			iov[k].iov_base = part[k].payload;
			iov[k].iov_len = MIN(piece, room - given);
			given += iov[k].iov_len;
		}
		h.msg_iovlen = k;
		if (!given)
			return;
		n = recvmsg(c->fd, &h, (block ? 0 : MSG_DONTWAIT) |
				       (keep ? MSG_PEEK : 0));
		if (n < (ssize_t)given)
			c->readable = false;
		if (n < 0 && errno == EAGAIN)
			return;
		if (n <= 0) {
			say(c, TH_ACK | TH_FIN);
			close(c->fd);
			c->fd = 0;
			return;
		}
		for (k = 0; n > 0; k++) {
			size_t len = MIN((size_t)n, piece);

			put_tcp(&part[k], c, TH_ACK | TH_PUSH, len);
			n -= (ssize_t)len;
		}
		put_parts(k);
	}
}

static void greet(int epoll, struct conn *c, const struct iphdr *ip,
		  const struct tcphdr *h)
{
	struct sockaddr_in sa = address(ip->daddr, h->th_dport);
	const uint8_t *o = (const uint8_t *)(h + 1), *stop = (const uint8_t *)h + h->th_off * 4;
	int zero = 0;

	*c = (struct conn){ .fd = dial(SOCK_STREAM, &sa), .ack = ntohl(h->th_seq) + 1,
			    .t = { ip->daddr, ip->saddr, h->th_dport, h->th_sport } };
	for (; o < stop && *o; o += *o == 1 ? 1 : o[1])
		if (*o == 3)
			c->scale = o[2];
	if (c->fd >= DESCRIPTORS)
		errx(1, "descriptors");
	port_of[c->fd] = h->th_sport;
	if (keep && setsockopt(c->fd, SOL_SOCKET, SO_PEEK_OFF, &zero, sizeof(zero)))
		err(1, "SO_PEEK_OFF");
	say(c, TH_SYN | TH_ACK);
	if (!block)
		watch(epoll, c->fd, EPOLLIN | EPOLLET);
}

static void from_guest(int epoll, const struct iphdr *ip, const struct tcphdr *h)
{
	struct conn *c = &conn[h->th_sport];
	const char *data = (const char *)h + h->th_off * 4;
	ssize_t len = (const char *)ip + ntohs(ip->tot_len) - data;

	if (h->th_flags & TH_SYN)
		greet(epoll, c, ip, h);
	if (!c->fd || h->th_flags & TH_SYN)
		return;
	c->acked = ntohl(h->th_ack);
	c->window = ntohs(h->th_win) << c->scale;
	if (len > 0 && ntohl(h->th_seq) == c->ack) {
		if (send(c->fd, data, len, MSG_NOSIGNAL) != len)
			err(1, "send");
		c->ack += len;
		c->readable |= block;
	}
	if (h->th_flags & TH_FIN && ntohl(h->th_seq) + len == c->ack) {
		c->ack++;
		shutdown(c->fd, SHUT_WR);
		/* Or, where it waits for the end, with our own */
		if (!block)
			say(c, TH_ACK);
		c->readable |= block;
	}
	if (!block) {
		take_acked(c);
		to_guest(c);
	} else if (c->readable) {
		to_guest(c);
		c->readable = false;
	}
}

/* --- UDP of the guest ----------------------------------------------------- */

static struct {
	int fd;
	struct tuple t;
} flow;

static void put_udp(struct part *p, size_t len)
{
	struct udphdr h = { .uh_sport = flow.t.our_port, .uh_dport = flow.t.guest_port,
			    .uh_ulen = htons(sizeof(h) + len) };

	put_heads(p, &flow.t, IPPROTO_UDP, &h, sizeof(h), offsetof(struct udphdr, uh_sum), len);
}

static void answer(void)
{
	ssize_t n = recv(flow.fd, part[0].payload, link_.mss, 0);

	if (n < 0)
		return;
	put_udp(&part[0], n);
	put_parts(1);
}

static void ask(int epoll, const struct iphdr *ip, const struct udphdr *h)
{
	if (!flow.fd) {
		struct sockaddr_in sa = address(ip->daddr, h->uh_dport);

		flow.fd = dial(SOCK_DGRAM, &sa);
		flow.t = (struct tuple){ ip->daddr, ip->saddr, h->uh_dport, h->uh_sport };
		if (!block)
			watch(epoll, flow.fd, EPOLLIN);
	}
	if (h->uh_sport != flow.t.guest_port)
		return;
	send(flow.fd, h + 1, ntohs(h->uh_ulen) - sizeof(*h), 0);
	if (block)
		answer();
}

/* Without end */
static void datagrams_in(int s, size_t mtu)
{
	static struct mmsghdr m[BATCH];
	struct iovec iov[BATCH];
	int n;

	flow.t = (struct tuple){ inet_addr("198.51.100.1"), inet_addr("198.51.100.2"),
				 htons(9), flow.t.guest_port };
	for (unsigned i = 0; i < BATCH; i++) {
		iov[i] = (struct iovec){ part[i].payload, mtu };
		m[i].msg_hdr = (struct msghdr){ .msg_iov = &iov[i], .msg_iovlen = 1 };
	}
	while ((n = recvmmsg(s, m, BATCH, MSG_WAITFORONE, NULL)) > 0) {
		for (int i = 0; i < n; i++)
			put_udp(&part[i], m[i].msg_len);
		put_parts(n);
	}
}

/* --- frames of the guest -------------------------------------------------- */

static void frame(int epoll, const char *f, size_t len)
{
	const struct iphdr *ip = (const void *)(f + sizeof(struct ether_header));
	const void *l4 = ip + 1;

	memcpy(link_.guest_mac, f + ETH_ALEN, ETH_ALEN);
	if (len < sizeof(struct ether_header) + sizeof(*ip) + sizeof(struct udphdr) ||
	    f[12] != 8 || f[13] != 0)
		return;
	if (ip->protocol == IPPROTO_TCP)
		from_guest(epoll, ip, l4);
	else if (ip->protocol == IPPROTO_UDP)
		ask(epoll, ip, l4);
}

static void read_link(int epoll)
{
	static size_t held;
	ssize_t n = read(link_.fd, buf + held, sizeof(buf) - held);
	size_t off = 0;
	uint32_t len;

	if (n <= 0)
		exit(0);
	if (!link_.stream) {
		frame(epoll, buf + sizeof(struct virtio_net_hdr),
		      n - sizeof(struct virtio_net_hdr));
		return;
	}
	held += n;
	for (; held - off > sizeof(len); off += sizeof(len) + len) {
		memcpy(&len, buf + off, sizeof(len));
		len = ntohl(len);
		if (held - off < sizeof(len) + len)
			break;
		frame(epoll, buf + off + sizeof(len), len);
	}
	memmove(buf, buf + off, held - off);
	held -= off;
}

static void serve(void)
{
	int epoll = epoll_create1(0);
	struct epoll_event e[EVENTS];

	watch(epoll, link_.fd, EPOLLIN);
	for (;;) {
		int n = block ? 1 : epoll_wait(epoll, e, EVENTS, -1);

		for (int i = 0; i < n; i++) {
			int fd = block ? link_.fd : e[i].data.fd;

			if (fd == link_.fd) {
				read_link(epoll);
			} else if (fd == flow.fd) {
				answer();
			} else if (conn[port_of[fd]].fd == fd) {
				conn[port_of[fd]].readable = true;
				to_guest(&conn[port_of[fd]]);
			}
		}
	}
}

int main(int argc, char **argv)
{
	const char *what = argc > 5 ? argv[1] : "", *mtu = argv[argc > 6 ? 4 : 3], *kind;
	int s = -1;

	csum_init();
	signal(SIGPIPE, SIG_IGN);
	block = argc > 5 && !strcmp(argv[argc - 1], "block");
	keep = argc > 5 && !strcmp(argv[argc - 1], "keep");
	if (!strcmp(what, "splice") && argc == 7)
		relay(argv + 2);
	if (argc < 6 || (strcmp(what, "tap") && strcmp(what, "unix")))
		errx(2, "see the top of floor.c");
	kind = argv[argc - 2];
	link_.stream = !strcmp(what, "unix");
	link_.mss = (unsigned)atoi(mtu) - sizeof(struct iphdr) - sizeof(struct tcphdr);
	make_parts((size_t)(link_.stream ? 1 : LONG_SEGMENTS) * (size_t)atoi(mtu));
	if (atoi(kind)) {
		flow.t.guest_port = htons(atoi(kind));
		s = bound(SOCK_DGRAM, flow.t.guest_port);
	}
	if (link_.stream) {
		link_.fd = open_unix(argv[2]);
	} else {
		link_.fd = open_tap(argv[2], argv[3]);
		ready();
	}
	if (s >= 0) {
		read_link(-1);
		datagrams_in(s, (size_t)atoi(mtu));
	}
	serve();
}
