/* SPDX-License-Identifier: GPL-2.0-or-later */
/* unit: tap loop timer pcap segment packet checksum iov addr util */
/* A real tap device in a namespace of its own.  The kernel is the guest: its
 * sockets say whether it took what we wrote, a packet socket shows the frames
 * as they came and sends runs of segments like its TCP would. */
#include "tap_tun.h"
#include "iov.h"
#include "log.h"

#include "netns.h"

#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/virtio_net.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>

#ifndef VIRTIO_NET_HDR_GSO_UDP_L4
#define VIRTIO_NET_HDR_GSO_UDP_L4 5
#endif

enum {
	VNET = sizeof(struct virtio_net_hdr),
	MTU = 1500,
	OUR_PORT = 5000, /* and one more for each device */
	GUEST_PORT = 80,
	SEQ = 0xfffff000, /* wraps within a run */
	BIG = 210000,
};

/* --- the log, kept for asking --------------------------------------------- */

enum log_level log_max = LOG_DBG;
static char said[1024];

void log_stderr(bool on)
{
	(void)on;
}

void log_print(enum log_level l, const char *fmt, ...)
{
	va_list ap;

	(void)l;
	va_start(ap, fmt);
	vsnprintf(said, sizeof(said), fmt, ap);
	va_end(ap);
}

static bool apart; /* see put_elsewhere() */

/* The kernel's, which refuses the next long frame with @refuse_long */
static int refuse_long;

ssize_t write(int fd, const void *p, size_t n)
{
	if (refuse_long && n > VNET + ETH_HEAD + UINT16_MAX) {
		errno = refuse_long;
		refuse_long = 0;
		return -1;
	}
	return syscall(SYS_write, fd, p, n);
}

/* The kernel's, which does not know IFF_TUN_EXCL */
static bool refuse_excl;

#ifdef __GLIBC__
int ioctl(int fd, unsigned long request, ...)
#else
int ioctl(int fd, int request, ...)
#endif
{
	const struct ifreq *r;
	va_list ap;
	void *arg;

	va_start(ap, request);
	arg = va_arg(ap, void *);
	va_end(ap);
	r = arg;
	if (refuse_excl && (unsigned)request == TUNSETIFF &&
	    (unsigned)r->ifr_flags & IFF_TUN_EXCL) {
		errno = EINVAL;
		return -1;
	}
	return (int)syscall(SYS_ioctl, fd, request, arg);
}

/* Likewise, but then write() is asked */
static unsigned described;

ssize_t writev(int fd, const struct iovec *iov, int n)
{
	if (refuse_long && iov_size(iov, (unsigned)n) > VNET + ETH_HEAD + UINT16_MAX) {
		errno = refuse_long;
		return -1;
	}
	described++;
	return syscall(SYS_writev, fd, iov, n);
}

/* --- a tap device, and the guest's end of it ------------------------------ */

static const struct mac our_mac = { { 2, 0, 0, 0, 0, 1 } };
static struct mac guest_mac;
static struct tap_tun t;
static struct loop loop;
static struct pcap pcap = { .fd = -1 };
static unsigned ifindex, events_seen;
static uint16_t our_port = OUR_PORT;
static bool have_v6, takes_big;
static uint8_t lane;

#define NEED_TUN()                                                             \
	do {                                                                   \
		if (!have_netns || access("/dev/net/tun", R_OK | W_OK))        \
			skip();                                                \
	} while (0)

static struct addr A(const char *text)
{
	struct addr a;

	assert_true(addr_parse(text, &a));
	return a;
}

static void on_event(void *owner, uint64_t ref, uint32_t events)
{
	(void)owner;
	(void)events;
	t.tap.refs |= 1U << ref;
	events_seen++;
}

static void wait_in(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	assert_int_equal(poll(&p, 1, 5000), 1);
}

static int open_dev(void)
{
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);

	assert_true(fd >= 0);
	return fd;
}

/* As somebody else would set it up */
static int ready_made(short flags)
{
	struct ifreq r = { .ifr_flags = flags };
	int fd = open_dev();

	strcpy(r.ifr_name, "tap0");
	assert_int_equal(ioctl(fd, TUNSETIFF, &r), 0);
	return fd;
}

static char adopted[IFNAMSIZ];

static int adopt(int fd)
{
	return tap_tun_adopt(&t, fd, adopted);
}

/* struct in6_ifreq of linux/ipv6.h, which does not go with libc's headers */
struct addr6_req {
	struct in6_addr addr;
	uint32_t prefix;
	int ifindex;
};

/* An IPv6 address may be used when the kernel has its local route, which it
 * adds behind our back */
static void wait_for_addr6(int nl, const struct addr *a)
{
	struct {
		struct nlmsghdr n;
		struct rtmsg r;
		char attributes[1024];
	} m;
	ssize_t len;

	do {
		wait_in(nl);
		len = recv(nl, &m, sizeof(m), 0);
		assert_true(len > 0);
	} while (m.n.nlmsg_type != RTM_NEWROUTE || m.r.rtm_type != RTN_LOCAL ||
		 !memmem(&m, (size_t)len, a->b, sizeof(a->b)));
}

static bool set_addr6(void)
{
	struct sockaddr_nl to = { .nl_family = AF_NETLINK,
				  .nl_groups = RTMGRP_IPV6_ROUTE };
	struct addr a = A("2001:db8::15");
	struct addr6_req r = { .prefix = 64, .ifindex = (int)ifindex };
	int nl = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	int fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	bool ok;

	assert_int_equal(bind(nl, (struct sockaddr *)&to, sizeof(to)), 0);
	memcpy(&r.addr, a.b, 16);
	ok = fd >= 0 && !ioctl(fd, SIOCSIFADDR, &r);
	if (ok)
		wait_for_addr6(nl, &a);
	close(fd);
	close(nl);
	return ok;
}

static void bring_up(void)
{
	struct sockaddr_in sin = { .sin_family = AF_INET };
	struct addr g4 = A("192.0.2.15");
	struct ifreq r = { 0 };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	strcpy(r.ifr_name, "tap0");
	assert_int_equal(ioctl(fd, SIOCGIFINDEX, &r), 0);
	ifindex = (unsigned)r.ifr_ifindex;
	assert_int_equal(ioctl(fd, SIOCGIFHWADDR, &r), 0);
	memcpy(guest_mac.b, r.ifr_hwaddr.sa_data, 6);
	r.ifr_mtu = MTU;
	assert_int_equal(ioctl(fd, SIOCSIFMTU, &r), 0);
	/* It need not ask where its neighbours are */
	r.ifr_flags = IFF_UP | IFF_NOARP;
	assert_int_equal(ioctl(fd, SIOCSIFFLAGS, &r), 0);

	memcpy(&sin.sin_addr, &g4.b[12], 4);
	memcpy(&r.ifr_addr, &sin, sizeof(sin));
	assert_int_equal(ioctl(fd, SIOCSIFADDR, &r), 0);
	sin.sin_addr.s_addr = htonl(0xffffff00);
	memcpy(&r.ifr_addr, &sin, sizeof(sin));
	assert_int_equal(ioctl(fd, SIOCSIFNETMASK, &r), 0);
	close(fd);
	have_v6 = set_addr6();
}

static void start(void)
{
	bring_up();
	tap_tun_link(&t, 500, takes_big);
	assert_int_equal(tap_tun_start(&t, &loop, &pcap,
				       loop_watch(&loop, on_event, NULL)), 0);
}

static void begin(bool vnet)
{
	char name[IFNAMSIZ] = "tap0";

	our_port++; /* the guest remembers its connections */
	assert_int_equal(loop_init(&loop), 0);
	if (vnet)
		assert_int_equal(tap_tun_open(&t, (int[]){ open_dev() }, 1, name), 0);
	else
		assert_int_equal(adopt(ready_made(IFF_TAP | IFF_NO_PI)), 0);
	start();
}

static void finish(void)
{
	close(t.lane[0].fd);
	close(loop.epfd);
	t.lane[0].fd = -1;
}

/* A test that failed leaves its device to nobody else */
static int clean_up(void **state)
{
	unsigned i;

	(void)state;
	close(t.lane[0].fd);
	t.lane[0].fd = -1;
	for (i = 1; i < t.lanes; i++)
		close(t.lane[i].fd);
	t.lanes = 0;
	takes_big = apart = false;
	refuse_long = 0;
	return 0;
}

static uint8_t pattern(size_t i)
{
	return (uint8_t)(i * 7 + i / 251);
}

/* --- what goes which way -------------------------------------------------- */

/* A packet between us and the guest; the body is the pattern */
struct way {
	bool v4;
	uint8_t proto;
};

static struct tuple tuple(struct way w, bool to_guest)
{
	struct addr us = A(w.v4 ? "192.0.2.1" : "2001:db8::1");
	struct addr guest = A(w.v4 ? "192.0.2.15" : "2001:db8::15");
	struct tuple k = { us, guest, our_port, GUEST_PORT, w.proto };

	if (!to_guest)
		k = (struct tuple){ guest, us, GUEST_PORT, our_port, w.proto };
	return k;
}

static size_t put_head(uint8_t *at, struct way w, bool to_guest,
		       const struct tcp_head *th, size_t len, struct note *n)
{
	struct head h = { .src = our_mac, .dst = guest_mac, .ttl = 64,
			  .t = tuple(w, to_guest) };

	if (w.proto == IPPROTO_UDP)
		return packet_put_udp(at, &h, len, n);
	return packet_put_tcp(at, &h, th, len, n);
}

static size_t l4_head(struct way w)
{
	return w.proto == IPPROTO_UDP ? UDP_HEAD : TCP_HEAD;
}

/* The body is the pattern from @from on */
static void fill(const struct slot *s, size_t from)
{
	unsigned i;
	size_t j;

	for (i = 0; i < s->body_cnt; i++)
		for (j = 0; j < s->body[i].iov_len; j++)
			((uint8_t *)s->body[i].iov_base)[j] = pattern(from++);
}

/* With @apart: somewhere else, where the slot has other bytes */
static void put_elsewhere(struct slot *s)
{
	static uint8_t other[BIG];
	size_t left = s->room, at = 0;

	if (!apart || !t.tap.caps.apart || !s->mss || !left)
		return;
	iov_read(s->body, s->body_cnt, 0, other, left);
	memset(s->body[0].iov_base, 'x', left);
	for (s->body_cnt = 0; left; s->body_cnt++) {
		size_t part = s->body_cnt == SLOT_APART - 1 ? left : MIN(left, 12345U);

		s->body[s->body_cnt] = (struct iovec){ other + at, part };
		at += part;
		left -= part;
	}
}

/* Through the transport: one frame, or a run when @mss is less than @len */
static void send_to_guest(struct way w, struct tcp_head *th, size_t len,
			  size_t mss)
{
	struct tuple k = tuple(w, true);
	size_t head = head_len(&k) + l4_head(w) + (th ? th->opt_len : 0);
	uint64_t bytes = t.tap.count.bytes[1];
	size_t want = len > mss ? len + mss : len; /* sockets give less */
	struct slot s;
	struct note n;

	assert_int_equal(tap_reserve(&t.tap, &s, 1, head, want,
				     w.proto == IPPROTO_TCP ? mss : 0), 1);
	assert_int_equal(s.room, want);
	assert_int_equal(s.head_len, head);
	fill(&s, 0);
	put_elsewhere(&s);
	assert_int_equal(put_head(s.head, w, true, th, len, &n), head);
	if (len > mss) {
		n.gso_type = w.proto == IPPROTO_UDP ? VIRTIO_NET_HDR_GSO_UDP_L4 :
			     w.v4 ? VIRTIO_NET_HDR_GSO_TCPV4 :
				    VIRTIO_NET_HDR_GSO_TCPV6;
		n.gso_size = (uint16_t)mss;
	}
	s.lane = lane;
	tap_commit(&t.tap, &s, len, &n);
	assert_true(t.tap.drops[DROP_CONN] ||
		    t.tap.count.bytes[1] >= bytes + head + len);
}

/* The next frame of the guest that is ours; others are the kernel's own */
static const struct packet *from_guest(struct way w)
{
	static struct packet p;
	static struct frame f;

	for (;;) {
		if (!tap_receive(&t.tap, &f, 1)) {
			assert_true(t.tap.drained);
			wait_in(t.lane[0].fd);
			continue;
		}
		if (packet_parse(&f, &p) == PASS && p.t.proto == w.proto &&
		    p.t.dport == our_port && addr_is_v4(&p.t.src) == w.v4)
			return &p;
		tap_release(&t.tap);
	}
}

/* The plain twin of all checksums: words by hand, pseudo-header included */
static uint16_t slow_sum(const struct tuple *k, const uint8_t *l4, size_t len)
{
	size_t alen = addr_is_v4(&k->src) ? 4 : 16, i;
	uint32_t sum = k->proto + (uint32_t)len;

	for (i = 16 - alen; i < 16; i++)
		sum += (uint32_t)(k->src.b[i] + k->dst.b[i]) << (i % 2 ? 0 : 8);
	for (i = 0; i < len; i++)
		sum += (uint32_t)l4[i] << (i % 2 ? 0 : 8);
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)sum;
}

static void assert_sums(const struct packet *p)
{
	static uint8_t all[BIG];
	const struct frame *f = p->frame;
	uint32_t sum = 0;
	unsigned i;

	assert_int_equal(f->iov_cnt, 1);
	memcpy(all, f->iov[0].iov_base, f->len);
	assert_int_equal(slow_sum(&p->t, all + p->l4_off,
				  p->payload_off + p->payload_len - p->l4_off),
			 0xffff);
	if (!addr_is_v4(&p->t.src))
		return;
	for (i = p->l3_off; i < p->l4_off; i += 2)
		sum += ld_be16(all + i);
	assert_int_equal((sum & 0xffff) + (sum >> 16), 0xffff);
}

static void assert_payload(const struct packet *p, size_t from, size_t len)
{
	static uint8_t b[BIG];
	size_t i;

	assert_int_equal(p->payload_len, len);
	assert_int_equal(packet_copy(p, 0, b, sizeof(b)), len);
	for (i = 0; i < len; i++)
		if (b[i] != pattern(from + i))
			fail_msg("byte %zu of %zu", i, len);
}

/* --- packet sockets and others of the guest ------------------------------- */

static int packet_socket(bool vnet)
{
	struct sockaddr_ll to = { .sll_family = AF_PACKET,
				  .sll_protocol = htons(ETH_P_ALL),
				  .sll_ifindex = (int)ifindex };
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(ETH_P_ALL));
	int on = vnet, big = 4 << 20;

	assert_true(fd >= 0);
	assert_int_equal(setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, &on,
				    sizeof(on)), 0);
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &big, sizeof(big));
	assert_int_equal(bind(fd, (struct sockaddr *)&to, sizeof(to)), 0);
	return fd;
}

/* The next frame that the guest got from us: its length */
static size_t read_frame(int fd, uint8_t *b, size_t size)
{
	struct sockaddr_ll from;
	socklen_t sl;
	ssize_t len;

	do {
		wait_in(fd);
		sl = sizeof(from);
		len = recvfrom(fd, b, size, 0, (struct sockaddr *)&from, &sl);
		assert_true(len > 0);
	} while (from.sll_pkttype == PACKET_OUTGOING);
	return (size_t)len;
}

/* The same as a packet */
static const struct packet *got_frame(int fd, struct way w,
				      struct virtio_net_hdr *vnet)
{
	static uint8_t b[BIG];
	static struct packet p;
	static struct frame f;
	size_t skip = vnet ? VNET : 0, len = read_frame(fd, b, sizeof(b));

	assert_true(len > skip);
	if (vnet)
		memcpy(vnet, b, VNET);
	f = (struct frame){ .iov = &f.one, .iov_cnt = 1, .len = len - skip,
			    .one = { b + skip, len - skip } };
	assert_int_equal(packet_parse(&f, &p), PASS);
	assert_int_equal(p.t.proto, w.proto);
	return &p;
}

static int guest_socket(struct way w)
{
	struct sockaddr_in6 a6 = { .sin6_family = AF_INET6,
				   .sin6_port = htons(GUEST_PORT) };
	struct sockaddr_in a4 = { .sin_family = AF_INET,
				  .sin_port = htons(GUEST_PORT) };
	int fd = socket(w.v4 ? AF_INET : AF_INET6, SOCK_CLOEXEC |
			(w.proto == IPPROTO_UDP ? SOCK_DGRAM : SOCK_STREAM), 0);
	int on = 1;

	assert_true(fd >= 0);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	assert_int_equal(w.v4 ? bind(fd, (struct sockaddr *)&a4, sizeof(a4)) :
				bind(fd, (struct sockaddr *)&a6, sizeof(a6)),
			 0);
	return fd;
}

static void guest_connect(int fd, struct way w)
{
	struct tuple k = tuple(w, false);
	struct sockaddr_in6 a6 = { .sin6_family = AF_INET6,
				   .sin6_port = htons(our_port) };
	struct sockaddr_in a4 = { .sin_family = AF_INET,
				  .sin_port = htons(our_port) };

	memcpy(&a4.sin_addr, &k.dst.b[12], 4);
	memcpy(&a6.sin6_addr, k.dst.b, 16);
	assert_int_equal(w.v4 ?
			 connect(fd, (struct sockaddr *)&a4, sizeof(a4)) :
			 connect(fd, (struct sockaddr *)&a6, sizeof(a6)), 0);
}

/* Both kinds of device, both families */
static void each(void (*test)(struct way w, bool vnet), uint8_t proto)
{
	unsigned i;

	for (i = 0; i < 4; i++) {
		struct way w = { .v4 = i & 1, .proto = proto };

		begin(i & 2);
		if (w.v4 || have_v6)
			test(w, i & 2);
		assert_false(loop.quit);
		finish();
	}
}

/* --- opening -------------------------------------------------------------- */

static void assert_caps(bool vnet)
{
	assert_int_equal(t.vnet, vnet);
	assert_int_equal(t.tap.caps.tso, vnet);
	assert_int_equal(t.tap.caps.tso_in, vnet);
	assert_int_equal(t.tap.caps.uso, vnet && t.offload & 0x20);
	if (vnet)
		assert_int_equal(t.offload & (TUN_F_CSUM | TUN_F_TSO4 |
					      TUN_F_TSO6),
				 TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6);
	else
		assert_int_equal(t.offload, 0);
	assert_true(t.tap.caps.frame_max >= 65535);
}

static void open_with_header(void **state)
{
	char name[IFNAMSIZ] = "any%d";
	struct ifreq r = { 0 };

	(void)state;
	NEED_TUN();
	assert_int_equal(tap_tun_open(&t, (int[]){ open_dev() }, 1, name), 0);
	assert_string_equal(name, "any0");
	assert_caps(true);
	assert_false(t.tap.up);
	assert_int_equal(ioctl(t.lane[0].fd, TUNGETIFF, &r), 0);
	assert_int_equal(r.ifr_flags & (IFF_TAP | IFF_NO_PI | IFF_VNET_HDR),
			 IFF_TAP | IFF_NO_PI | IFF_VNET_HDR);
	assert_true(fcntl(t.lane[0].fd, F_GETFL) & O_NONBLOCK);
	close(t.lane[0].fd);
}

static void open_refused(void **state)
{
	char taken[IFNAMSIZ] = "tap0", lo[IFNAMSIZ] = "lo";
	int first;

	(void)state;
	NEED_TUN();
	first = ready_made(IFF_TAP | IFF_NO_PI | IFF_VNET_HDR);
	assert_int_equal(tap_tun_open(&t, (int[]){ open_dev() }, 1, taken),
			 -EBUSY);
	close(t.lane[0].fd);
	close(first);
	assert_true(tap_tun_open(&t, (int[]){ open_dev() }, 1, lo) < 0);
	close(t.lane[0].fd);
	t.lane[0].fd = eventfd(0, EFD_CLOEXEC);
	assert_true(tap_tun_open(&t, &t.lane[0].fd, 1, taken) < 0);
	close(t.lane[0].fd);
}

/* Nobody gets a part of the frames of somebody else */
static void open_twice(void **state)
{
	char name[IFNAMSIZ] = "twice";
	int fd[4];
	unsigned i;

	(void)state;
	NEED_TUN();
	for (i = 0; i < ARRAY_SIZE(fd); i++)
		fd[i] = open_dev();
	assert_int_equal(tap_tun_open(&t, fd, 2, name), 0);
	assert_int_equal(tap_tun_open(&t, fd + 2, 2, name), -EBUSY);
	/* unless it was made to stay, and they have gone */
	assert_int_equal(ioctl(fd[0], TUNSETPERSIST, 1), 0);
	for (i = 0; i < ARRAY_SIZE(fd); i++)
		close(fd[i]);
	fd[0] = open_dev();
	fd[1] = open_dev();
	assert_int_equal(tap_tun_open(&t, fd, 2, name), 0);
	assert_int_equal(ioctl(fd[0], TUNSETPERSIST, 0), 0);
	close(fd[0]);
	close(fd[1]);
}

/* What stands in for a kernel may know the oldest flags alone */
static void open_old(void **state)
{
	char name[IFNAMSIZ] = "old%d";

	(void)state;
	NEED_TUN();
	refuse_excl = true;
	assert_int_equal(tap_tun_open(&t, (int[]){ open_dev() }, 1, name), 0);
	refuse_excl = false;
	assert_string_equal(name, "old0");
	close(t.lane[0].fd);
}

static void adopt_with_header(void **state)
{
	(void)state;
	NEED_TUN();
	assert_int_equal(adopt(ready_made(IFF_TAP | IFF_NO_PI | IFF_VNET_HDR)),
			 0);
	assert_string_equal(adopted, "tap0");
	assert_caps(true);
	close(t.lane[0].fd);
}

static void adopt_without_header(void **state)
{
	(void)state;
	NEED_TUN();
	assert_int_equal(adopt(ready_made(IFF_TAP | IFF_NO_PI)), 0);
	assert_caps(false);
	close(t.lane[0].fd);
}

/* Its header may have been of another size: ours is set */
static void adopt_header_size(void **state)
{
	int size = 12;

	(void)state;
	NEED_TUN();
	t.lane[0].fd = ready_made(IFF_TAP | IFF_NO_PI | IFF_VNET_HDR);
	assert_int_equal(ioctl(t.lane[0].fd, TUNSETVNETHDRSZ, &size), 0);
	assert_int_equal(adopt(t.lane[0].fd), 0);
	assert_int_equal(ioctl(t.lane[0].fd, TUNGETVNETHDRSZ, &size), 0);
	assert_int_equal(size, VNET);
	close(t.lane[0].fd);
}

static void adopt_refused(void **state)
{
	(void)state;
	NEED_TUN();
	assert_int_equal(adopt(ready_made(IFF_TUN | IFF_NO_PI)), -EINVAL);
	close(t.lane[0].fd);
	assert_true(adopt(open_dev()) < 0); /* no device behind */
	close(t.lane[0].fd);
	assert_true(adopt(eventfd(0, EFD_CLOEXEC)) < 0);
}

static void starts(void **state)
{
	(void)state;
	NEED_TUN();
	begin(true);
	assert_true(t.tap.up);
	assert_int_equal(t.tap.session, 1);
	assert_int_equal(t.tap.caps.queue, 500);
	assert_ptr_equal(t.tap.loop, &loop);
	finish();
}

/* --- single frames -------------------------------------------------------- */

static void datagram_out(struct way w, bool vnet)
{
	static const size_t size[] = { 0, 1, 17, 18, 19, 1000, 1452, 3, 0 };
	int fd = guest_socket(w), raw = packet_socket(false);
	uint8_t b[MTU];
	unsigned i;

	for (i = 0; i < ARRAY_SIZE(size); i++) {
		const struct packet *p;
		size_t j;

		send_to_guest(w, NULL, size[i], size[i]);
		wait_in(fd);
		assert_int_equal(recv(fd, b, sizeof(b), 0), size[i]);
		for (j = 0; j < size[i]; j++)
			assert_int_equal(b[j], pattern(j));
		p = got_frame(raw, w, NULL);
		assert_int_equal(p->frame->len,
				 MAX((size_t)FRAME_MIN,
				     p->payload_off + size[i]));
		for (j = p->payload_off + size[i]; j < p->frame->len; j++)
			assert_int_equal(((uint8_t *)p->frame->one.iov_base)[j],
					 0);
		assert_true(mac_equal(&p->dmac, &guest_mac));
		assert_true(mac_equal(&p->smac, &our_mac));
		assert_payload(p, 0, size[i]);
		if (!vnet)
			assert_sums(p);
	}
	assert_int_equal(t.tap.count.frames[1], ARRAY_SIZE(size));
	close(fd);
	close(raw);
}

static void datagrams_out(void **state)
{
	(void)state;
	NEED_TUN();
	each(datagram_out, IPPROTO_UDP);
}

static void datagram_in(struct way w, bool vnet)
{
	static const size_t size[] = { 0, 1, 18, 1001, 1452 };
	int fd = guest_socket(w);
	uint8_t b[MTU];
	unsigned i;

	guest_connect(fd, w);
	for (i = 0; i < sizeof(b); i++)
		b[i] = pattern(i);
	for (i = 0; i < ARRAY_SIZE(size); i++) {
		const struct packet *p;

		assert_int_equal(send(fd, b, size[i], 0), size[i]);
		p = from_guest(w);
		assert_int_equal(p->t.sport, GUEST_PORT);
		assert_int_equal(p->frame->len, p->payload_off + size[i]);
		assert_true(mac_equal(&p->smac, &guest_mac));
		assert_payload(p, 0, size[i]);
		if (p->frame->note.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) {
			assert_true(vnet);
			assert_int_equal(p->frame->note.csum_start, p->l4_off);
			assert_int_equal(p->frame->note.csum_offset, 6);
		} else {
			assert_sums(p);
		}
		tap_release(&t.tap);
	}
	assert_true(t.tap.count.frames[0] >= ARRAY_SIZE(size));
	close(fd);
}

static void datagrams_in(void **state)
{
	(void)state;
	NEED_TUN();
	each(datagram_in, IPPROTO_UDP);
}

/* A turn of the loop that does not wait: does it tell of frames? */
static bool told(void)
{
	events_seen = 0;
	loop_quit(&loop, 0);
	loop_turn(&loop);
	loop.quit = false;
	return events_seen;
}

static void burst_in(struct way w, bool vnet)
{
	enum { N = 10, MAX_AT_ONCE = 4 };
	struct frame f[N + 1];
	struct packet p;
	unsigned i, n, next = 0, turns = 0;
	uint16_t b[50] = { 0 };
	int fd = guest_socket(w);

	(void)vnet;
	guest_connect(fd, w);
	while (told()) {
		tap_receive(&t.tap, f, MAX_AT_ONCE);
		tap_release(&t.tap);
	}
	for (i = 0; i < N; i++) {
		b[0] = (uint16_t)i;
		assert_int_equal(send(fd, b, sizeof(b), 0), sizeof(b));
	}
	for (; told(); turns++) {
		n = tap_receive(&t.tap, f, MAX_AT_ONCE);
		assert_true(n && n <= MAX_AT_ONCE);
		/* All of a burst are there until the release */
		for (i = 0; i < n; i++) {
			uint16_t got;

			if (packet_parse(&f[i], &p) != PASS ||
			    p.t.dport != our_port)
				continue;
			packet_copy(&p, 0, &got, sizeof(got));
			assert_int_equal(got, next++);
		}
		tap_release(&t.tap);
	}
	assert_int_equal(next, N);
	/* Bursts get as long as they may: 1, 2, 4 and the rest, if nothing of
	 * the kernel's own is among them */
	assert_true(turns >= N / MAX_AT_ONCE && turns <= 6);
	close(fd);
}

static void bursts_in(void **state)
{
	(void)state;
	NEED_TUN();
	each(burst_in, IPPROTO_UDP);
}

/* Several slots of one reserve are several frames, in order */
static void slots_out(struct way w, bool vnet)
{
	struct tuple k = tuple(w, true);
	size_t head = head_len(&k) + UDP_HEAD;
	struct slot s[TUN_TX_SLOTS + 4];
	int fd = guest_socket(w);
	struct note n;
	unsigned i, cnt;

	(void)vnet;
	cnt = tap_reserve(&t.tap, s, ARRAY_SIZE(s), head, 1 << 20, 0);
	assert_int_equal(cnt, TUN_TX_SLOTS);
	for (i = 0; i < cnt; i++) {
		assert_int_equal(s[i].body_cnt, 1);
		assert_int_equal(s[i].room, 65507);
		memset(s[i].body[0].iov_base, (int)i, s[i].room);
	}
	for (i = 0; i < cnt; i++) {
		if (i % 5 == 4) {
			tap_cancel(&t.tap, &s[i]);
			continue;
		}
		put_head(s[i].head, w, true, NULL, 100 + i, &n);
		tap_commit(&t.tap, &s[i], 100 + i, &n);
	}
	tap_flush(&t.tap);
	for (i = 0; i < cnt; i++) {
		uint8_t b[200];

		if (i % 5 == 4)
			continue;
		wait_in(fd);
		assert_int_equal(recv(fd, b, sizeof(b), 0), 100 + i);
		assert_int_equal(b[0], i);
		assert_int_equal(b[99 + i], i);
	}
	assert_int_equal(recv(fd, &n, sizeof(n), MSG_DONTWAIT), -1);
	close(fd);
}

/* --- lanes ---------------------------------------------------------------- */

enum { LIGHT, BULK };

static void begin_lanes(void)
{
	int fd[TUN_LANES];
	char name[IFNAMSIZ] = "tap0";
	unsigned i;

	for (i = 0; i < TUN_LANES; i++)
		fd[i] = open_dev();
	our_port += 2;
	assert_int_equal(loop_init(&loop), 0);
	assert_int_equal(tap_tun_open(&t, fd, TUN_LANES, name), 0);
	assert_int_equal(t.lanes, TUN_LANES);
	start();
}

/* The two flows, each with a datagram from us, which says what it is */
static void two_flows(struct way w, int fd[2])
{
	unsigned i;

	for (i = 0; i < 2; i++) {
		our_port++;
		fd[i] = guest_socket(w);
		guest_connect(fd[i], w);
		lane = i == BULK ? LANE_BULK : LANE_CONN;
		send_to_guest(w, NULL, 1, 1);
	}
	lane = LANE_OTHER;
}

static void guest_sends(int fd, unsigned n, size_t len)
{
	static uint8_t b[BIG];

	while (n--)
		assert_int_equal(send(fd, b, len, 0), len);
}

/* One turn's frames of both flows, in order, and which was the last one's */
static void turn(unsigned *last, unsigned count[2])
{
	struct frame f[PACKET_BATCH];
	struct packet p;
	unsigned n, i;

	assert_true(loop_turn(&loop));
	n = tap_receive(&t.tap, f, PACKET_BATCH);
	for (i = 0; i < n; i++) {
		if (packet_parse(&f[i], &p) != PASS ||
		    p.t.proto != IPPROTO_UDP || p.t.sport != GUEST_PORT)
			continue;
		*last = p.t.dport == our_port ? BULK : LIGHT;
		count[*last]++;
	}
	tap_release(&t.tap);
}

static void lanes_in(void **state)
{
	struct way w = { .v4 = true, .proto = IPPROTO_UDP };
	unsigned count[2] = { 0, 0 }, last = 0;
	int fd[2];

	(void)state;
	NEED_TUN();
	begin_lanes();
	two_flows(w, fd);

	/* A question passes what the other one has sent before */
	guest_sends(fd[BULK], 20, 1400);
	guest_sends(fd[LIGHT], 1, 100);
	while (!count[LIGHT])
		turn(&last, count);
	assert_true(count[BULK] < 10);
	while (count[BULK] < 20)
		turn(&last, count);

	/* What was sent before the flow was bulk is not overtaken */
	count[LIGHT] = count[BULK] = 0;
	guest_sends(fd[LIGHT], 2 * PACKET_BATCH, 100);
	guest_sends(fd[BULK], 1, 100);
	while (!count[BULK])
		turn(&last, count);
	assert_int_equal(count[LIGHT], 2 * PACKET_BATCH);

	close(fd[LIGHT]);
	close(fd[BULK]);
	finish();
}

/* The most of bulk in a turn, until @n have come */
static unsigned most_at_once(int fd, unsigned n)
{
	unsigned count[2] = { 0, 0 }, last, before, most = 0;

	guest_sends(fd, n, TUN_BULK_BESIDE - 1000);
	while ((before = count[BULK]) < n) {
		turn(&last, count);
		most = MAX(most, count[BULK] - before);
	}
	return most;
}

/* A send buffer above the host's limit is root's */
static bool has_room(int fd, int bytes)
{
	return !setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof(bytes));
}

/* Who asks beside bulk waits for one frame that ends a turn, as long as it asks */
static void bulk_beside(void **state)
{
	struct way w = { .v4 = true, .proto = IPPROTO_UDP };
	struct ifreq r = { .ifr_name = "tap0", .ifr_mtu = 65000 };
	unsigned count[2] = { 0, 0 }, last = 0, i;
	int fd[2];

	(void)state;
	NEED_TUN();
	begin_lanes();
	two_flows(w, fd);
	assert_int_equal(ioctl(fd[BULK], SIOCSIFMTU, &r), 0);
	if (!has_room(fd[BULK], BIG * 10))
		skip();
	guest_sends(fd[LIGHT], 1, 100);
	while (!count[LIGHT])
		turn(&last, count);
	assert_true(most_at_once(fd[BULK], 12) <= 2);
	for (i = 0; i < TUN_BESIDE; i++) {
		loop_soon(&loop);
		assert_true(loop_turn(&loop));
	}
	assert_true(most_at_once(fd[BULK], 12) > 2);
	close(fd[LIGHT]);
	close(fd[BULK]);
	finish();
}

/* Who never stops asking does not keep bulk waiting: each is half of a turn */
static void bulk_beside_flood(void **state)
{
	struct way w = { .v4 = true, .proto = IPPROTO_UDP };
	unsigned count[2] = { 0, 0 }, last = 0, i;
	int fd[2];

	(void)state;
	NEED_TUN();
	begin_lanes();
	two_flows(w, fd);
	if (!has_room(fd[BULK], BIG * 10) || !has_room(fd[LIGHT], BIG * 10))
		skip();
	/* Each has more than a turn takes, always */
	guest_sends(fd[LIGHT], 4 * PACKET_BATCH, 100);
	guest_sends(fd[BULK], 4 * PACKET_BATCH, 100);
	for (i = 0; i < 2 * TUN_FLOOD; i++) {
		unsigned before[2] = { count[LIGHT], count[BULK] };

		turn(&last, count);
		guest_sends(fd[LIGHT], count[LIGHT] - before[LIGHT], 100);
		guest_sends(fd[BULK], count[BULK] - before[BULK], 100);
	}
	assert_in_range(count[BULK], count[LIGHT] / 4, count[LIGHT]);
	close(fd[LIGHT]);
	close(fd[BULK]);
	finish();
}

/* A device of one queue that somebody has made */
static void no_lanes(void **state)
{
	int fd[2], first, on = 1;
	char name[IFNAMSIZ] = "tap0";

	(void)state;
	NEED_TUN();
	first = ready_made(IFF_TAP | IFF_NO_PI | IFF_VNET_HDR);
	assert_int_equal(ioctl(first, TUNSETPERSIST, on), 0);
	close(first);
	fd[0] = open_dev();
	fd[1] = open_dev();
	assert_int_equal(tap_tun_open(&t, fd, 2, name), 0);
	assert_int_equal(t.lanes, 1);
	assert_true(t.vnet);
	assert_int_equal(fcntl(fd[1], F_GETFD), -1);
	assert_int_equal(ioctl(fd[0], TUNSETPERSIST, 0), 0);
	close(fd[0]);
}

static void slots_out_in_order(void **state)
{
	(void)state;
	NEED_TUN();
	each(slots_out, IPPROTO_UDP);
}

/* --- runs of segments ----------------------------------------------------- */

/* What the guest's TCP would hand to its link: 64 KiB less headers */
static void run_in(struct way w, bool vnet)
{
	static uint8_t b[VNET + BIG];
	struct tuple k = tuple(w, false);
	size_t head = head_len(&k) + TCP_HEAD, mss = MTU - (head - ETH_HEAD);
	size_t len = 65535 - head, off = 0, i; /* longest GSO frame */
	struct tcp_head th = { .seq = SEQ, .flags = TCP_ACK | TCP_PSH };
	int fd = packet_socket(true);
	struct virtio_net_hdr h;
	struct note n;
	unsigned frames = 0;

	put_head(b + VNET, w, false, &th, len, &n);
	h = (struct virtio_net_hdr){
		.flags = n.flags, .hdr_len = (uint16_t)head,
		.gso_type = w.v4 ? VIRTIO_NET_HDR_GSO_TCPV4 :
				   VIRTIO_NET_HDR_GSO_TCPV6,
		.gso_size = (uint16_t)mss, .csum_start = n.csum_start,
		.csum_offset = n.csum_offset,
	};
	memcpy(b, &h, VNET);
	for (i = 0; i < len; i++)
		b[VNET + head + i] = pattern(i);
	assert_int_equal(send(fd, b, VNET + head + len, 0), VNET + head + len);

	for (; off < len; frames++) {
		const struct packet *p = from_guest(w);

		assert_int_equal(p->seq, (uint32_t)(SEQ + off));
		if (vnet) {
			assert_int_equal(p->frame->note.gso_type, h.gso_type);
			assert_int_equal(p->frame->note.gso_size, mss);
			assert_int_equal(p->frame->note.csum_start,
					 p->l4_off);
			assert_int_equal(p->frame->note.csum_offset, 16);
		} else {
			assert_sums(p);
			assert_int_equal(p->frame->note.gso_type, 0);
			assert_int_equal(p->frame->note.flags, 0);
		}
		assert_payload(p, off, vnet ? len : MIN(mss, len - off));
		off += p->payload_len;
		tap_release(&t.tap);
	}
	assert_int_equal(frames, vnet ? 1 : (len + mss - 1) / mss);
	close(fd);
}

static void runs_in(void **state)
{
	(void)state;
	NEED_TUN();
	each(run_in, IPPROTO_TCP);
}

/* What the guest's link gets of a run: with a header the run and how to cut it,
 * without one the segments, finished */
static void run_out(struct way w, bool vnet)
{
	struct tuple k = tuple(w, true);
	size_t head = head_len(&k) + TCP_HEAD, mss = MTU - (head - ETH_HEAD);
	size_t len = 40 * mss + 700, off = 0;
	struct tcp_head th = { .seq = SEQ, .ack = 77, .window = 1234,
			       .flags = TCP_ACK | TCP_PSH | TCP_FIN };
	int fd = packet_socket(true);
	struct virtio_net_hdr h;

	send_to_guest(w, &th, len, mss);
	while (off < len) {
		const struct packet *p = got_frame(fd, w, &h);
		size_t want = vnet ? len : MIN(mss, len - off);

		assert_int_equal(p->seq, (uint32_t)(SEQ + off));
		assert_int_equal(p->ack, 77);
		assert_int_equal(p->window, 1234);
		assert_payload(p, off, want);
		off += want;
		assert_int_equal(p->tcp_flags,
				 off == len ? th.flags : TCP_ACK);
		if (vnet) {
			assert_int_equal(h.gso_size, mss);
			assert_int_equal(h.gso_type & ~VIRTIO_NET_HDR_GSO_ECN,
					 w.v4 ? VIRTIO_NET_HDR_GSO_TCPV4 :
						VIRTIO_NET_HDR_GSO_TCPV6);
			assert_true(h.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM);
		} else {
			assert_true(p->frame->len <= ETH_HEAD + MTU);
			assert_int_equal(h.gso_type, VIRTIO_NET_HDR_GSO_NONE);
			assert_sums(p);
		}
	}
	assert_int_equal(t.tap.count.frames[1],
			 vnet ? 1 : (len + mss - 1) / mss);
	close(fd);
}

static void runs_out(void **state)
{
	(void)state;
	NEED_TUN();
	each(run_out, IPPROTO_TCP);
}

/* The guest's own TCP takes the run: it checks every sum that we vouch for */
static void stream_out(struct way w, bool vnet)
{
	struct tuple k = tuple(w, true);
	size_t mss = MTU - (head_len(&k) - ETH_HEAD) - TCP_HEAD;
	size_t len = 40 * mss, off = 0;
	struct tcp_head th = { .seq = SEQ, .window = 65535, .flags = TCP_SYN,
			       .opt = { 2, 4, 0, 0 }, .opt_len = 4 };
	int listener = guest_socket(w), fd;
	const struct packet *p;
	uint8_t b[4096];

	(void)vnet;
	assert_int_equal(listen(listener, 1), 0);
	st_be16(&th.opt[2], (uint16_t)mss);
	send_to_guest(w, &th, 0, mss);
	p = from_guest(w);
	assert_int_equal(p->tcp_flags & (TCP_SYN | TCP_ACK), TCP_SYN | TCP_ACK);
	assert_int_equal(p->ack, SEQ + 1U);
	assert_true(p->window >= len);
	th = (struct tcp_head){ .seq = p->ack, .ack = p->seq + 1,
				.window = 65535, .flags = TCP_ACK };
	tap_release(&t.tap);
	send_to_guest(w, &th, 0, mss);
	wait_in(listener);
	fd = accept(listener, NULL, NULL);
	assert_true(fd >= 0);

	th.flags = TCP_ACK | TCP_PSH;
	send_to_guest(w, &th, len, mss);
	while (off < len) {
		ssize_t got, i;

		wait_in(fd);
		got = recv(fd, b, sizeof(b), 0);
		assert_true(got > 0);
		for (i = 0; i < got; i++)
			assert_int_equal(b[i], pattern(off + (size_t)i));
		off += (size_t)got;
	}
	do {
		p = from_guest(w);
		off = p->ack - (SEQ + 1U);
		tap_release(&t.tap);
	} while (off < len);
	assert_int_equal(off, len);
	close(fd);
	close(listener);
}

static void streams_out(void **state)
{
	(void)state;
	NEED_TUN();
	each(stream_out, IPPROTO_TCP);
}

enum { LARGE = 30000, LONG = 4 * LARGE + 123 };

static void send_long(uint32_t seq)
{
	struct way w = { .v4 = true, .proto = IPPROTO_TCP };
	struct tcp_head th = { .seq = seq, .flags = TCP_ACK | TCP_PSH };

	send_to_guest(w, &th, LONG, LARGE);
}

/* As the guest's packet socket has it: the length field says nothing */
static void got_long(int fd)
{
	static uint8_t b[BIG];
	struct virtio_net_hdr h;
	const uint8_t *ip = b + VNET + ETH_HEAD;

	assert_int_equal(read_frame(fd, b, sizeof(b)),
			 VNET + ETH_HEAD + IP4_HEAD + TCP_HEAD + LONG);
	memcpy(&h, b, sizeof(h));
	assert_int_equal(h.gso_size, LARGE);
	assert_int_equal(h.gso_type, VIRTIO_NET_HDR_GSO_TCPV4);
	assert_int_equal(ld_be16(ip + 2), 0);
	assert_int_equal(ip[IP4_HEAD + TCP_HEAD + LONG - 1], pattern(LONG - 1));
}

static void got_segments(int fd)
{
	struct way w = { .v4 = true, .proto = IPPROTO_TCP };
	struct virtio_net_hdr h;
	size_t off = 0;

	while (off < LONG) {
		const struct packet *p = got_frame(fd, w, &h);
		size_t want = MIN((size_t)LARGE, LONG - off);

		assert_int_equal(h.gso_type, VIRTIO_NET_HDR_GSO_NONE);
		assert_int_equal(p->seq, (uint32_t)(SEQ + off));
		assert_payload(p, off, want);
		assert_sums(p);
		off += want;
		assert_int_equal(p->tcp_flags, off == LONG ?
				 TCP_ACK | TCP_PSH : TCP_ACK);
	}
}

/* Where the kernel knows packets of more than 64 KiB, and there is no capture */
static void long_runs(void **state)
{
	int fd;

	(void)state;
	NEED_TUN();
	if (!linux_has(6, 6))
		skip();
	begin(true);
	assert_int_equal(t.tap.caps.big4, 0);
	finish();
	takes_big = true;
	pcap.fd = 1000;
	begin(true);
	assert_int_equal(t.tap.caps.big4, 0);
	pcap.fd = -1;
	finish();
	begin(false);
	assert_int_equal(t.tap.caps.big4, 0);
	finish();
	begin(true);
	assert_int_equal(t.tap.caps.big4, TUN_BIG);
	fd = packet_socket(true);
	send_long(SEQ);
	assert_int_equal(t.tap.count.frames[1], 1);
	got_long(fd);
	close(fd);
	finish();
}

/* Without memory for one, its segments come; later the next one is tried.  A kernel
 * without any is not asked again. */
static void long_runs_refused(void **state)
{
	int fd;

	(void)state;
	NEED_TUN();
	if (!linux_has(6, 6))
		skip();
	takes_big = true;
	begin(true);
	fd = packet_socket(true);
	refuse_long = ENOBUFS;
	send_long(SEQ);
	assert_int_equal(t.tap.caps.big4, 0);
	assert_int_equal(t.tap.drops[DROP_NO_ROOM], 0);
	got_segments(fd);
	loop.now_ms += TUN_AGAIN_MS - 1;
	tap_flush(&t.tap);
	assert_int_equal(t.tap.caps.big4, 0);
	loop.now_ms++;
	tap_flush(&t.tap);
	assert_int_equal(t.tap.caps.big4, TUN_BIG);
	send_long(SEQ);
	got_long(fd);
	refuse_long = EMSGSIZE;
	send_long(SEQ);
	assert_true(t.tap.up);
	got_segments(fd);
	loop.now_ms += TUN_AGAIN_MS;
	tap_flush(&t.tap);
	assert_int_equal(t.tap.caps.big4, 0);
	close(fd);
	finish();
}

/* What lies elsewhere is sent from there, little of it from here */
static void from_elsewhere(void **state)
{
	unsigned before = described;

	NEED_TUN();
	apart = true;
	each(run_out, IPPROTO_TCP);
	assert_true(described > before);
	streams_out(state);
	long_runs(state);
	takes_big = false;
	long_runs_refused(state);
}

/* A run of datagrams, where the kernel cuts those */
static void datagram_run_out(struct way w, bool vnet)
{
	enum { ONE = 1000, N = 20 };
	int fd = guest_socket(w);
	uint8_t b[2 * ONE];
	unsigned i, j;

	(void)vnet;
	if (t.tap.caps.uso) {
		send_to_guest(w, NULL, N * ONE - 1, ONE);
		for (i = 0; i < N; i++) {
			unsigned len = i == N - 1 ? ONE - 1 : ONE;

			wait_in(fd);
			assert_int_equal(recv(fd, b, sizeof(b), 0), len);
			for (j = 0; j < len; j++)
				assert_int_equal(b[j], pattern(i * ONE + j));
		}
	}
	close(fd);
}

static void datagram_runs_out(void **state)
{
	(void)state;
	NEED_TUN();
	each(datagram_run_out, IPPROTO_UDP);
}

/* --- trouble -------------------------------------------------------------- */

static void set_flags(short flags)
{
	struct ifreq r = { .ifr_flags = flags };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	strcpy(r.ifr_name, "tap0");
	assert_int_equal(ioctl(fd, SIOCSIFFLAGS, &r), 0);
	close(fd);
}

/* A link that is down loses frames, that is all */
static void link_down(void **state)
{
	struct way w = { .v4 = true, .proto = IPPROTO_UDP };
	uint8_t b[64];
	int fd;

	(void)state;
	NEED_TUN();
	begin(true);
	set_flags(IFF_NOARP);
	send_to_guest(w, NULL, 10, 10);
	assert_true(t.tap.up);
	assert_false(loop.quit);
	assert_int_equal(t.tap.drops[DROP_CONN], 1);
	set_flags(IFF_UP | IFF_NOARP);
	fd = guest_socket(w);
	send_to_guest(w, NULL, 20, 20);
	wait_in(fd);
	assert_int_equal(recv(fd, b, sizeof(b), 0), 20);
	close(fd);
	finish();
}

static void delete_link(void)
{
	struct {
		struct nlmsghdr n;
		struct ifinfomsg i;
	} req = {
		.n = { .nlmsg_len = sizeof(req), .nlmsg_type = RTM_DELLINK,
		       .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK },
		.i = { .ifi_index = (int)ifindex },
	};
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	char answer[256];

	assert_int_equal(send(fd, &req, sizeof(req), 0), sizeof(req));
	assert_true(recv(fd, answer, sizeof(answer), 0) > 0);
	close(fd);
}

static void link_gone(void **state)
{
	struct frame f;

	(void)state;
	NEED_TUN();
	begin(true);
	while (tap_receive(&t.tap, &f, 1))
		tap_release(&t.tap);
	delete_link();
	said[0] = '\0';
	assert_int_equal(tap_receive(&t.tap, &f, 1), 0);
	assert_true(t.tap.drained);
	assert_false(t.tap.up);
	assert_true(loop.quit);
	assert_int_equal(loop.status, 1);
	assert_non_null(strstr(said, "gone"));
	/* Said once */
	said[0] = '\0';
	assert_int_equal(tap_receive(&t.tap, &f, 1), 0);
	assert_string_equal(said, "");
	finish();
}

/* A capture holds finished frames, whoever finishes those on the link */
static void captured_frame(struct way w, bool vnet)
{
	enum { FILE_HEAD = 24, RECORD_HEAD = 16 };
	char path[] = "/tmp/tap_tun-XXXXXX";
	uint8_t b[FILE_HEAD + RECORD_HEAD + 1000];
	struct frame f = { .iov = &f.one, .iov_cnt = 1 };
	struct packet p;
	ssize_t len;

	(void)vnet;
	close(mkstemp(path));
	assert_int_equal(pcap_open(&pcap, path, &(struct pcap_conf){ 0 }), 0);
	send_to_guest(w, NULL, 100, 100);
	close(pcap.fd);
	pcap.fd = open(path, O_RDONLY);
	len = read(pcap.fd, b, sizeof(b));
	close(pcap.fd);
	unlink(path);
	pcap.fd = -1;
	assert_true(len > FILE_HEAD + RECORD_HEAD);
	f.len = (size_t)len - FILE_HEAD - RECORD_HEAD;
	f.one = (struct iovec){ b + FILE_HEAD + RECORD_HEAD, f.len };
	assert_int_equal(packet_parse(&f, &p), PASS);
	assert_payload(&p, 0, 100);
	assert_sums(&p);
}

static void captured(void **state)
{
	(void)state;
	NEED_TUN();
	each(captured_frame, IPPROTO_UDP);
}

int main(void)
{
#define TUN(test) cmocka_unit_test_teardown(test, clean_up)
	const struct CMUnitTest tests[] = {
		TUN(open_with_header),
		TUN(open_refused),
		TUN(open_twice),
		TUN(open_old),
		TUN(adopt_with_header),
		TUN(adopt_without_header),
		TUN(adopt_header_size),
		TUN(adopt_refused),
		TUN(starts),
		TUN(datagrams_out),
		TUN(datagrams_in),
		TUN(bursts_in),
		TUN(slots_out_in_order),
		TUN(lanes_in),
		TUN(bulk_beside),
		TUN(bulk_beside_flood),
		TUN(no_lanes),
		TUN(runs_in),
		TUN(runs_out),
		TUN(streams_out),
		TUN(long_runs),
		TUN(long_runs_refused),
		TUN(from_elsewhere),
		TUN(datagram_runs_out),
		TUN(link_down),
		TUN(link_gone),
		TUN(captured),
	};

	return cmocka_run_group_tests(tests, enter_netns, NULL);
}
