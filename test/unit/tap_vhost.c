/* SPDX-License-Identifier: GPL-2.0-or-later */
/* unit: vhost_user virtq vhost_bell vhost_mem tap_stream acceptor tap loop timer pcap segment packet checksum iov addr util */
/* A front-end that says what starts two rings, and a toy driver on these: what
 * lies in its memory is compared with what the transport was given or lent. */
#include "tap_vhost.h"
#include "iov.h"
#include "../quiet.h"
#include "../vhost.h"
#include "segment.h"

#include <linux/virtio_config.h>
#include <linux/virtio_net.h>
#include <linux/virtio_ring.h>

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

/* --- a guest's memory ----------------------------------------------------- */

enum {
	RX = VHOST_RX,
	TX = VHOST_TX,
	RINGS = 2 * VHOST_PAIR,
	RING = 256,
	MEM = 16 << 20,
	OFFSET = 0x1000, /* of the memory in its file */
	/* in there, and as much further for the second ring */
	DESC = 0,
	AVAIL = 0x1000,
	USED = 0x2000,
	EACH = 0x4000,
	DATA = 0x10000,
	NEW = 0xee, /* what nobody has written to */
	GUARD = 64, /* of these behind each buffer */
	KICK = 0,   /* eventfds */
	CALL,
	ERR,
	HEAD_TCP4 = ETH_HEAD + IP4_HEAD + TCP_HEAD,
	MSS = 1400,
	LONG = 1526,  /* a buffer as Linux has it */
	HUGE = 65562, /* as it has it without MRG_RXBUF */
	BIG = 70000,
};

#define GPA    0x80000000ULL
#define UVA    0x7f1200000000ULL

#define BIT(n) (1ULL << (n))
#define V1     BIT(VIRTIO_F_VERSION_1)
#define MERGE  BIT(VIRTIO_NET_F_MRG_RXBUF)
#define CSUM   BIT(VIRTIO_NET_F_GUEST_CSUM)
#define TSO4   BIT(VIRTIO_NET_F_GUEST_TSO4)
#define TSO    (TSO4 | BIT(VIRTIO_NET_F_GUEST_TSO6))
#define USO4   BIT(F_GUEST_USO4)
#define USO    (USO4 | BIT(F_GUEST_USO6))
#define EVENT  BIT(VIRTIO_RING_F_EVENT_IDX)
#define INDIR  BIT(VIRTIO_RING_F_INDIRECT_DESC)
#define LOGS   BIT(F_LOG_ALL)
#define USUAL  (V1 | MERGE | CSUM | TSO | USO)
#define PROTO  BIT(F_PROTOCOL)

static struct loop loop;
static struct pcap pcap = { .fd = -1 };
static struct tap_vhost t;
static int them, memfd, ev[3][RINGS];
static uint8_t *guest;      /* as the driver sees it */
static uint64_t has;        /* features */
static size_t vnet, brk_at; /* header, first byte that nobody has */
static unsigned kicks;
static struct frame f[PACKET_BATCH];

static struct {
	unsigned desc; /* descriptors that were used up */
	uint16_t used; /* up to where it has looked */
	size_t at[RING], len[RING];
} drv[RINGS];

static struct vring_desc *desc(unsigned q)
{
	return (void *)(guest + DESC + q * EACH);
}

static struct vring_avail *avail(unsigned q)
{
	return (void *)(guest + AVAIL + q * EACH);
}

static struct vring_used *used(unsigned q)
{
	return (void *)(guest + USED + q * EACH);
}

static uint16_t used_idx(unsigned q)
{
	return le16toh(used(q)->idx);
}

static void expose(unsigned q, unsigned id)
{
	struct vring_avail *a = avail(q);
	uint16_t idx = le16toh(a->idx);

	a->ring[idx % RING] = htole16((uint16_t)id);
	a->idx = htole16((uint16_t)(idx + 1));
}

/* A chain of @len bytes that follow each other, in pieces of @piece */
static unsigned chain(unsigned q, size_t len, size_t piece)
{
	unsigned first = drv[q].desc % RING;
	uint16_t flags = q % VHOST_PAIR == RX ? VRING_DESC_F_WRITE : 0;
	size_t done = 0, part;

	assert_true(brk_at + len + GUARD <= MEM);
	memset(guest + brk_at, NEW, len + GUARD);
	do {
		unsigned at = drv[q].desc++ % RING;

		part = MIN(piece, len - done);
		desc(q)[at] = (struct vring_desc){
			.addr = htole64(GPA + brk_at + done),
			.len = htole32((uint32_t)part),
			.flags = htole16(flags),
			.next = htole16((uint16_t)((at + 1) % RING)),
		};
		done += part;
		if (done < len)
			desc(q)[at].flags |= htole16(VRING_DESC_F_NEXT);
	} while (done < len);
	drv[q].at[first] = brk_at;
	drv[q].len[first] = len;
	brk_at += len + GUARD;
	return first;
}

static bool next_used(unsigned q, struct vring_used_elem *e)
{
	const struct vring_used_elem *u;

	if (used_idx(q) == drv[q].used)
		return false;
	u = &used(q)->ring[drv[q].used++ % RING];
	*e = (struct vring_used_elem){ le32toh(u->id), le32toh(u->len) };
	return true;
}

/* Would the driver kick for the next chain? */
static bool wants_kick(unsigned q)
{
	uint16_t event;

	memcpy(&event, &used(q)->ring[RING], sizeof(event));
	if (has & EVENT)
		return event == avail(q)->idx;
	return !(le16toh(used(q)->flags) & VRING_USED_F_NO_NOTIFY);
}

static uint64_t rung(int fd)
{
	uint64_t n = 0;

	return read(fd, &n, sizeof(n)) == sizeof(n) ? n : 0;
}

static void ring_bell(int fd)
{
	uint64_t one = 1;

	assert_int_equal(write(fd, &one, sizeof(one)), sizeof(one));
}

/* --- the front-end -------------------------------------------------------- */

static void turn(void)
{
	loop_soon(&loop);
	(void)loop_turn(&loop);
}

static void send_msg(struct vhost_msg *m, int fd)
{
	union {
		char buf[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} u;
	struct iovec iov = { m, MSG_HEAD + m->size };
	struct msghdr h = { .msg_iov = &iov, .msg_iovlen = 1 };
	struct cmsghdr *c;

	if (fd >= 0) {
		h.msg_control = u.buf;
		h.msg_controllen = sizeof(u.buf);
		c = CMSG_FIRSTHDR(&h);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	}
	assert_int_equal(sendmsg(them, &h, MSG_NOSIGNAL), iov.iov_len);
}

/* And have it served */
static void say(unsigned request, unsigned i, uint64_t n)
{
	struct vhost_msg m = { .request = request, .flags = 1, .size = 8 };
	uint64_t at = UVA + i * EACH;
	int fd = -1;

	switch (request) {
	case SET_FEATURES:
		m.u.u64 = n;
		break;
	case SET_MEM_TABLE:
		m.size += sizeof(m.u.mem.r[0]);
		m.u.mem.n = 1;
		m.u.mem.r[0] = (struct vhost_region){ GPA, MEM, UVA, OFFSET };
		fd = memfd;
		break;
	case SET_VRING_ADDR:
		m.size = sizeof(m.u.addr);
		m.u.addr.index = i;
		m.u.addr.desc = at + DESC;
		m.u.addr.avail = at + AVAIL;
		m.u.addr.used = at + USED;
		break;
	case SET_VRING_KICK:
	case SET_VRING_CALL:
	case SET_VRING_ERR:
		m.u.u64 = i;
		fd = ev[request - SET_VRING_KICK][i];
		break;
	default:
		m.u.state.index = i;
		m.u.state.num = (uint32_t)n;
	}
	send_msg(&m, fd);
	turn();
}

enum { RINGS_FROM = 3 };
static const struct line {
	unsigned request, ring, n;
} talk[] = {
	{ SET_OWNER, 0, 0 },         { SET_FEATURES, 0, 0 },
	{ SET_MEM_TABLE, 0, 0 },     { SET_VRING_NUM, RX, RING },
	{ SET_VRING_ADDR, RX, 0 },   { SET_VRING_CALL, RX, 0 },
	{ SET_VRING_ERR, RX, 0 },    { SET_VRING_KICK, RX, 0 },
	{ SET_VRING_NUM, TX, RING }, { SET_VRING_ADDR, TX, 0 },
	{ SET_VRING_CALL, TX, 0 },   { SET_VRING_ERR, TX, 0 },
	{ SET_VRING_KICK, TX, 0 },   { SET_VRING_ENABLE, RX, 1 },
	{ SET_VRING_ENABLE, TX, 1 },
};

/* Lines from @from on, and what they are to lead to */
static void say_all(unsigned from)
{
	unsigned i, session = t.tap.session;

	for (i = from; i < ARRAY_SIZE(talk); i++) {
		const struct line *l = &talk[i];

		assert_false(t.tap.up);
		assert_int_equal(t.tap.session, session);
		say(l->request, l->ring,
		    l->request == SET_FEATURES ? has : l->n);
	}
	assert_true(t.tap.up);
	assert_int_equal(t.tap.session, session + 1);
}

static void begin(uint64_t features)
{
	unsigned q;

	has = features | PROTO;
	vnet = features & (V1 | MERGE) ? 12 : 10;
	say_all(0);
	turn();
	for (q = 0; q < VHOST_PAIR; q++)
		(void)rung(ev[CALL][q]);
	kicks = 0;
}

/* Where it stopped */
static unsigned stop_ring(unsigned q)
{
	struct vhost_msg m = { .request = 0 };

	say(GET_VRING_BASE, q, 0);
	assert_int_equal(recv(them, &m, MSG_HEAD + 8, MSG_DONTWAIT),
			 MSG_HEAD + 8);
	assert_int_equal(m.request, GET_VRING_BASE);
	assert_int_equal(m.u.state.index, q);
	return m.u.state.num;
}

static void on_input(void *owner, uint64_t ref, uint32_t events)
{
	(void)owner;
	assert_int_equal(ref, 0);
	t.tap.events |= events;
	kicks++;
}

static void make_memory(void)
{
	memfd = memfd_create("vhost-unit", MFD_CLOEXEC);
	assert_true(memfd >= 0);
	assert_int_equal(ftruncate(memfd, OFFSET + MEM), 0);
	guest = mmap(NULL, MEM, PROT_READ | PROT_WRITE, MAP_SHARED, memfd,
		     OFFSET);
	assert_true(guest != MAP_FAILED);
	brk_at = DATA;
	memset(drv, 0, sizeof(drv));
}

/* qemu-user swaps what is written to an eventfd, but not if it was passed to us:
 * one that it takes for a file has the same bytes at both ends */
static int bell(void)
{
	int known = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	int fd = fcntl(known, F_DUPFD_CLOEXEC, 0);

	close(known);
	return fd;
}

static int set_up(void **state)
{
	unsigned i, watch;
	int fd[2];

	(void)state;
	for (i = 0; i < 3 * RINGS; i++)
		ev[i / RINGS][i % RINGS] = bell();
	make_memory();
	assert_int_equal(loop_init(&loop), 0);
	loop.quit = false;
	watch = loop_watch(&loop, on_input, NULL);
	assert_int_equal(tap_vhost_init(&t, &loop, &pcap, watch, false), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
	assert_int_equal(tap_vhost_adopt(&t, fd[0]), 0);
	them = fd[1];
	return 0;
}

static int tear_down(void **state)
{
	unsigned i;

	(void)state;
	close(them);
	turn();
	assert_int_equal(t.user.fd, -1);
	assert_int_equal(t.promised, 0);
	for (i = 0; i < 3 * RINGS; i++)
		close(ev[i / RINGS][i % RINGS]);
	munmap(guest, MEM);
	munmap(t.tx, (size_t)VHOST_SLOTS * VHOST_STRIDE);
	munmap(t.bounce, VHOST_STRIDE);
	munmap(t.split, VHOST_STRIDE);
	close(memfd);
	close(loop.epfd);
	return 0;
}

/* --- frames from the guest ------------------------------------------------ */

static const struct note none;

/* Any two lengths differ in all their bytes */
static uint8_t pattern(size_t i, size_t len)
{
	return (uint8_t)(i * 31 + len);
}

/* To the order of the wire, and from it */
static struct virtio_net_hdr wire(const struct virtio_net_hdr *h)
{
	struct virtio_net_hdr w = *h;

	w.hdr_len = htole16(h->hdr_len);
	w.gso_size = htole16(h->gso_size);
	w.csum_start = htole16(h->csum_start);
	w.csum_offset = htole16(h->csum_offset);
	return w;
}

/* One with header @h on ring @q; its chain's number */
static unsigned send_on(unsigned q, const struct virtio_net_hdr *h, size_t len,
			size_t piece)
{
	unsigned id = chain(q, vnet + len, piece);
	uint8_t *b = guest + drv[q].at[id];
	struct virtio_net_hdr le;
	size_t i;

	memset(b, 0, vnet);
	if (h) {
		le = wire(h);
		memcpy(b, &le, sizeof(le));
	}
	for (i = 0; i < len; i++)
		b[vnet + i] = pattern(i, len);
	expose(q, id);
	return id;
}

static unsigned send_in(const struct virtio_net_hdr *h, size_t len,
			size_t piece)
{
	return send_on(TX, h, len, piece);
}

static void same_note(const struct note *a, const struct note *b)
{
	assert_int_equal(a->flags, b->flags);
	assert_int_equal(a->gso_type, b->gso_type);
	assert_int_equal(a->gso_size, b->gso_size);
	assert_int_equal(a->hdr_len, b->hdr_len);
	assert_int_equal(a->csum_start, b->csum_start);
	assert_int_equal(a->csum_offset, b->csum_offset);
}

static void is_frame(const struct frame *x, size_t len, const struct note *n)
{
	static uint8_t b[BIG];
	size_t i;

	assert_int_equal(x->len, len);
	assert_in_range(x->iov_cnt, 0, VHOST_FRAME_PIECES);
	assert_int_equal(iov_read(x->iov, x->iov_cnt, 0, b, len), len);
	for (i = 0; i < len; i++)
		assert_int_equal(b[i], pattern(i, len));
	same_note(&x->note, n);
}

/* Where we have the driver's byte at @at */
static void *ours(size_t at)
{
	return t.user.mem.r[0].at + at;
}

/* @n frames in one burst, which is over then or not */
static void burst(unsigned max, unsigned n, bool drained)
{
	assert_int_equal(tap_receive(&t.tap, f, max), n);
	assert_int_equal(t.tap.drained, drained);
}

static const struct virtio_net_hdr tso_hdr = {
	.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
	.gso_type = VIRTIO_NET_HDR_GSO_TCPV4 | VIRTIO_NET_HDR_GSO_ECN,
	.hdr_len = 54,
	.gso_size = 1000,
	.csum_start = 34,
	.csum_offset = 16,
};

static const struct note tso_note = {
	.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
	.gso_type = VIRTIO_NET_HDR_GSO_TCPV4,
	.hdr_len = 54,
	.gso_size = 1000,
	.csum_start = 34,
	.csum_offset = 16,
};

static void lends(uint64_t features, size_t header)
{
	struct virtio_net_hdr more = tso_hdr;
	unsigned id;

	begin(features);
	assert_int_equal(vnet, header);
	more.flags |= VIRTIO_NET_HDR_F_DATA_VALID;
	send_in(&tso_hdr, 2000, BIG);
	id = send_in(&more, 1999, header);
	send_in(NULL, 60, 20);
	burst(64, 3, true);
	is_frame(&f[0], 2000, &tso_note);
	is_frame(&f[2], 60, &none);
	assert_int_equal(f[0].iov_cnt, 1);
	assert_ptr_equal(f[0].iov->iov_base, ours(DATA + header));
	/* A header of its own, and too many pieces behind it */
	is_frame(&f[1], 1999, &tso_note);
	assert_ptr_not_equal(f[1].iov->iov_base, ours(drv[TX].at[id] + header));
	tap_release(&t.tap);
	assert_int_equal(t.tap.count.frames[0], 3);
	assert_int_equal(t.tap.count.bytes[0], 2000 + 1999 + 60);
}

static void header_of_modern_driver(void **state)
{
	(void)state;
	lends(V1, 12);
}

static void header_of_modern_driver_that_merges(void **state)
{
	(void)state;
	lends(V1 | MERGE, 12);
}

static void header_of_legacy_driver(void **state)
{
	(void)state;
	lends(0, 10);
}

static void header_of_legacy_driver_that_merges(void **state)
{
	(void)state;
	lends(MERGE, 12);
}

static void note_that_does_not_fit_is_dropped(void **state)
{
	static const struct virtio_net_hdr bad[] = {
		{ .flags = 1, .csum_start = 83, .csum_offset = 16 },
		{ .flags = 1, .csum_start = 13, .csum_offset = 16 },
		{ .flags = 1, .csum_start = 0xffff, .csum_offset = 0xffff },
		{ .gso_type = VIRTIO_NET_HDR_GSO_TCPV4 },
		{ .gso_type = 2, .gso_size = 10 },
		{ .gso_type = 127, .gso_size = 10 },
	};
	struct virtio_net_hdr good = bad[0];
	unsigned i;

	(void)state;
	begin(USUAL);
	good.csum_start--;
	send_in(&good, 100, BIG);
	burst(64, 1, true);
	is_frame(&f[0], 100,
		 &(struct note){
			 .flags = 1, .csum_start = 82, .csum_offset = 16 });
	tap_release(&t.tap);
	for (i = 0; i < ARRAY_SIZE(bad); i++)
		send_in(&bad[i], 100, BIG);
	burst(64, i, true);
	while (i--)
		is_frame(&f[i], 100, &none);
	tap_release(&t.tap);
}

static void frames_in_crumbs_one_a_burst(void **state)
{
	(void)state;
	begin(USUAL);
	send_in(NULL, 65, 1);
	send_in(NULL, 64, 1);
	send_in(NULL, 66, 1);
	send_in(NULL, 67, BIG);
	burst(64, 2, false);
	is_frame(&f[0], 65, &none); /* not where it was: one piece too many */
	assert_int_equal(f[0].iov_cnt, 1);
	is_frame(&f[1], 64, &none);
	assert_int_equal(f[1].iov_cnt, 64);
	tap_release(&t.tap);
	burst(64, 2, true);
	is_frame(&f[0], 66, &none);
	assert_int_equal(f[0].iov_cnt, 1);
	is_frame(&f[1], 67, &none);
	tap_release(&t.tap);
	burst(64, 0, true);
	assert_int_equal(t.tap.count.frames[0], 4);
	assert_int_equal(t.tap.count.bytes[0], 65 + 64 + 66 + 67);
}

static void start_second_pair(void)
{
	unsigned q;

	for (q = VHOST_PAIR; q < RINGS; q++) {
		say(SET_VRING_NUM, q, RING);
		say(SET_VRING_ADDR, q, 0);
		say(SET_VRING_CALL, q, 0);
		say(SET_VRING_KICK, q, 0);
		say(SET_VRING_ENABLE, q, 1);
	}
}

/* It comes and goes without a new session, and nobody waits for the other */
static void second_pair(void **state)
{
	enum { TX2 = VHOST_PAIR + TX };
	unsigned session, i;

	(void)state;
	begin(USUAL);
	session = t.tap.session;
	send_on(TX2, NULL, 100, BIG);
	burst(64, 0, true);
	start_second_pair();
	turn();
	assert_int_equal(kicks, 1); /* for what was there already */
	burst(64, 1, true);
	is_frame(&f[0], 100, &none);
	tap_release(&t.tap);
	assert_true(wants_kick(TX));
	assert_true(wants_kick(TX2));
	assert_false(wants_kick(VHOST_PAIR + RX));
	for (i = 0; i < 4; i++) {
		send_on(TX, NULL, 200 + i, BIG);
		send_on(TX2, NULL, 300 + i, BIG);
	}
	for (i = 0; i < 2; i++) { /* either is first once */
		burst(4, 4, false);
		is_frame(&f[3], f[0].len + 3, &none);
		tap_release(&t.tap);
	}
	burst(64, 0, true);
	tap_flush(&t.tap);
	assert_int_equal(used_idx(TX), 4);
	assert_int_equal(used_idx(TX2), 5);
	say(SET_VRING_ENABLE, TX2, 0);
	send_on(TX2, NULL, 60, BIG);
	burst(64, 0, true);
	assert_int_equal(t.tap.session, session);
}

static void frames_shorter_than_header(void **state)
{
	size_t len;
	unsigned id;

	(void)state;
	begin(USUAL);
	for (len = 0; len <= vnet + 1; len++) {
		id = chain(TX, len, 5);
		memset(guest + drv[TX].at[id], 0xff, len);
		expose(TX, id);
	}
	burst(64, (unsigned)len, true);
	while (len--) {
		assert_int_equal(f[len].len, len > vnet ? 1 : 0);
		same_note(&f[len].note, &none);
	}
	tap_release(&t.tap);
}

static void frames_longer_than_any(void **state)
{
	(void)state;
	begin(USUAL);
	send_in(NULL, 69000, 5000);
	send_in(NULL, 69001, 500); /* must not run over what it is copied to */
	burst(64, 2, true);
	assert_int_equal(f[0].len, t.tap.caps.frame_max);
	assert_int_equal(f[1].len, t.tap.caps.frame_max);
	assert_int_equal(f[1].iov->iov_len, t.tap.caps.frame_max);
	tap_release(&t.tap);
}

static void no_more_than_asked_for(void **state)
{
	unsigned i;

	(void)state;
	begin(USUAL);
	for (i = 0; i < 100; i++)
		send_in(NULL, 60 + i, BIG);
	burst(10, 10, false);
	is_frame(&f[9], 69, &none);
	tap_release(&t.tap);
	burst(1000, 64, false); /* there is no room for more */
	is_frame(&f[0], 70, &none);
	is_frame(&f[63], 133, &none);
	tap_release(&t.tap);
	burst(26, 26, false); /* nobody has looked behind them */
	tap_release(&t.tap);
	burst(26, 0, true);
}

/* One chain over and over: more in all than a burst's */
static void no_more_pieces_than_there_is_room_for(void **state)
{
	unsigned i, id;

	(void)state;
	begin(USUAL);
	id = send_in(NULL, 48, 1); /* 60 pieces */
	for (i = 1; i < 20; i++)
		expose(TX, id);
	burst(64, 17, false);
	is_frame(&f[16], 48, &none);
	tap_release(&t.tap);
	burst(64, 3, true);
	is_frame(&f[2], 48, &none);
	tap_release(&t.tap);
}

static void chain_without_end_breaks_ring(void **state)
{
	unsigned id;

	(void)state;
	begin(USUAL);
	send_in(NULL, 60, BIG);
	id = send_in(NULL, 60, BIG);
	desc(TX)[id].flags |= htole16(VRING_DESC_F_NEXT);
	desc(TX)[id].next = htole16((uint16_t)id);
	burst(64, 1, false);
	is_frame(&f[0], 60, &none);
	tap_release(&t.tap);
	tap_flush(&t.tap);
	assert_int_equal(rung(ev[ERR][TX]), 0);
	burst(64, 0, false);
	burst(64, 0, true);
	tap_flush(&t.tap);
	assert_int_equal(rung(ev[ERR][TX]), 1);
	assert_int_equal(used_idx(TX), 1);
}

/* While there is more, the driver is not to kick; then it is, again */
static void kicks_only_when_drained(uint64_t features)
{
	unsigned i;

	begin(features);
	burst(64, 0, true);
	assert_true(wants_kick(TX));
	for (i = 0; i < 3; i++) {
		send_in(NULL, 60, BIG);
		send_in(NULL, 60, BIG);
		send_in(NULL, 60, BIG);
		burst(2, 2, false);
		assert_false(wants_kick(TX));
		tap_release(&t.tap);
		tap_flush(&t.tap);
		assert_false(wants_kick(TX));
		burst(2, 1, true);
		assert_true(wants_kick(TX));
		tap_release(&t.tap);
		burst(2, 0, true);
		assert_true(wants_kick(TX));
	}
	/* It does so, and we hear it */
	ring_bell(ev[KICK][TX]);
	turn();
	assert_int_equal(kicks, 1);
	assert_int_equal(t.tap.events & EPOLLIN, EPOLLIN);
}

static void kicks_by_flag(void **state)
{
	(void)state;
	kicks_only_when_drained(USUAL);
}

static void kicks_by_index(void **state)
{
	(void)state;
	kicks_only_when_drained(USUAL | EVENT);
}

static void returns_in_order(unsigned from, unsigned n)
{
	struct vring_used_elem e;
	unsigned i;

	for (i = from; i < from + n; i++) {
		assert_true(next_used(TX, &e));
		assert_int_equal(e.id, i);
		assert_int_equal(e.len, 0);
	}
	assert_false(next_used(TX, &e));
}

static void release_tells_once_a_flush(void **state)
{
	unsigned i;

	(void)state;
	begin(USUAL);
	for (i = 0; i < 5; i++)
		assert_int_equal(send_in(NULL, 60, BIG), i);
	burst(3, 3, false);
	tap_release(&t.tap);
	burst(3, 2, true);
	returns_in_order(0, 0);
	tap_release(&t.tap);
	returns_in_order(0, 0); /* all at once, when it is told */
	assert_int_equal(rung(ev[CALL][TX]), 0);
	tap_flush(&t.tap);
	returns_in_order(0, 5);
	assert_int_equal(rung(ev[CALL][TX]), 1);
	tap_flush(&t.tap);
	assert_int_equal(rung(ev[CALL][TX]), 0);
	/* It may not want to hear of it */
	avail(TX)->flags = htole16(VRING_AVAIL_F_NO_INTERRUPT);
	send_in(NULL, 60, BIG);
	burst(3, 1, true);
	tap_release(&t.tap);
	tap_flush(&t.tap);
	returns_in_order(5, 1);
	assert_int_equal(rung(ev[CALL][TX]), 0);
	assert_int_equal(rung(ev[CALL][RX]), 0);
}

static void release_tells_at_event_index(void **state)
{
	unsigned i;

	(void)state;
	begin(USUAL | EVENT);
	avail(TX)->ring[RING] = htole16(3);
	for (i = 0; i < 6; i++) {
		send_in(NULL, 60, BIG);
		burst(3, 1, true);
		tap_release(&t.tap);
		tap_flush(&t.tap);
		assert_int_equal(rung(ev[CALL][TX]), i == 3);
	}
}

/* --- frames to the guest -------------------------------------------------- */

/* What was sent last, in a row */
static struct {
	uint8_t b[BIG];
	size_t len;
	struct note n;
} w;

/* What the driver found */
static struct {
	uint8_t raw[BIG], *b;
	size_t len;
	struct virtio_net_hdr_mrg_rxbuf h;
	unsigned n, first; /* buffers */
} got;

enum { TCP = 1, V6 = 2 };

static size_t head_size(unsigned kind)
{
	return ETH_HEAD + (kind & V6 ? IP6_HEAD : IP4_HEAD) +
	       (size_t)(kind & TCP ? TCP_HEAD : UDP_HEAD);
}

static void make(unsigned kind, size_t len, size_t gso)
{
	struct head h = { .t = { .sport = 1, .dport = 2 } };
	struct tcp_head th = { .flags = TCP_ACK | TCP_PSH, .seq = 4096 };
	size_t head = head_size(kind), i;

	h.t.src =
		kind & V6 ? addr_from6("0123456789abcde") : addr_v4(1, 2, 3, 4);
	h.t.dst = h.t.src;
	h.t.proto = kind & TCP ? IPPROTO_TCP : IPPROTO_UDP;
	memset(&w.n, 0, sizeof(w.n));
	if (kind & TCP)
		packet_put_tcp(w.b, &h, &th, len, &w.n);
	else
		packet_put_udp(w.b, &h, len, &w.n);
	if (gso && len > gso) {
		w.n.gso_type = !(kind & TCP) ? VIRTIO_NET_HDR_GSO_UDP_L4
			       : kind & V6   ? VIRTIO_NET_HDR_GSO_TCPV6
					     : VIRTIO_NET_HDR_GSO_TCPV4;
		w.n.gso_size = (uint16_t)gso;
	}
	for (i = 0; i < len; i++)
		w.b[head + i] = pattern(i, len) | 1;
	w.len = head + len;
}

/* What a protocol does with a slot */
static void fill(struct slot *s, unsigned kind, size_t len, size_t gso)
{
	assert_true(len <= s->room);
	assert_int_equal(s->head_len, head_size(kind));
	make(kind, len, gso);
	memcpy(s->head, w.b, s->head_len);
	assert_int_equal(
		iov_write(s->body, s->body_cnt, 0, w.b + s->head_len, len),
		len);
	tap_commit(&t.tap, s, len, &w.n);
}

static unsigned reserve(struct slot *s, unsigned n, unsigned kind, size_t want,
			size_t mss)
{
	unsigned k = tap_reserve(&t.tap, s, n, head_size(kind), want, mss), i;

	for (i = 0; i < k; i++) {
		assert_int_equal(s[i].mss, mss);
		assert_int_equal(s[i].room, iov_size(s[i].body, s[i].body_cnt));
		assert_in_range(s[i].room, mss ? MIN(mss, want) : want, want);
	}
	return k;
}

/* TCP: a run; UDP: one datagram */
static bool send_one(unsigned kind, size_t want, size_t len)
{
	size_t mss = kind & TCP ? MSS : 0;
	struct slot s;

	if (!reserve(&s, 1, kind, want, mss))
		return false;
	fill(&s, kind, len, mss);
	return true;
}

/* Buffers of @len bytes; the first one's number */
static unsigned give(unsigned n, size_t len)
{
	unsigned first = drv[RX].desc % RING;

	while (n--)
		expose(RX, chain(RX, len, BIG));
	return first;
}

/* The next frame that the driver finds, in as many buffers as it says */
static bool hear(void)
{
	struct vring_used_elem e = { 0 };

	if (used_idx(RX) == drv[RX].used)
		return false;
	got.len = got.n = 0;
	do {
		assert_true(next_used(RX, &e));
		assert_in_range(e.len, 1, drv[RX].len[e.id]);
		memcpy(got.raw + got.len, guest + drv[RX].at[e.id], e.len);
		assert_int_equal(guest[drv[RX].at[e.id] + drv[RX].len[e.id]],
				 NEW);
		got.len += e.len;
		if (!got.n++)
			got.first = e.id;
		memset(&got.h, 0, sizeof(got.h));
		memcpy(&got.h, got.raw, vnet);
		got.h.hdr = wire(&got.h.hdr);
		got.h.num_buffers = le16toh(got.h.num_buffers);
	} while (has & MERGE && got.n < got.h.num_buffers);
	got.b = got.raw + vnet;
	got.len -= vnet;
	if (vnet == 12)
		assert_int_equal(got.h.num_buffers, got.n);
	return true;
}

/* It is this one, padded */
static void is_heard(const uint8_t *b, size_t len, const struct note *n)
{
	const struct note heard = {
		.flags = got.h.hdr.flags,
		.gso_type = got.h.hdr.gso_type,
		.hdr_len = got.h.hdr.hdr_len,
		.gso_size = got.h.hdr.gso_size,
		.csum_start = got.h.hdr.csum_start,
		.csum_offset = got.h.hdr.csum_offset,
	};
	size_t i;

	assert_int_equal(got.len, MAX(len, (size_t)FRAME_MIN));
	assert_memory_equal(got.b, b, len);
	for (i = len; i < got.len; i++)
		assert_int_equal(got.b[i], 0);
	same_note(&heard, n);
}

/* What was sent last is what the driver has, in @n buffers, and no more */
static void arrived(unsigned n)
{
	tap_flush(&t.tap);
	assert_true(hear());
	is_heard(w.b, w.len, &w.n);
	assert_int_equal(got.n, n);
	assert_false(hear());
}

static unsigned plain_sum(const uint8_t *p, size_t len, size_t sum)
{
	size_t i;

	for (i = 0; i < len; i++)
		sum += i & 1 ? p[i] : p[i] * 256U;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (unsigned)sum;
}

/* RFC 1071, word for word */
static bool sum_is_right(const uint8_t *b, size_t len)
{
	const uint8_t *ip = b + ETH_HEAD;
	bool v4 = ip[0] >> 4 == 4;
	size_t head = v4 ? IP4_HEAD : IP6_HEAD;
	size_t l4 = len - ETH_HEAD - head;
	unsigned sum = plain_sum(v4 ? ip + 12 : ip + 8, v4 ? 8 : 32,
				 l4 + (v4 ? ip[9] : ip[6]));

	return plain_sum(ip + head, l4, sum) == 0xffff;
}

static void call_told_once_a_flush(void **state)
{
	(void)state;
	begin(USUAL);
	give(8, LONG);
	assert_true(send_one(0, 100, 100));
	assert_true(send_one(TCP, 100, 100));
	assert_true(send_one(0, 100, 100));
	assert_false(hear());
	assert_int_equal(rung(ev[CALL][RX]), 0);
	tap_flush(&t.tap);
	assert_true(hear() && hear() && hear());
	assert_int_equal(rung(ev[CALL][RX]), 1);
	tap_flush(&t.tap);
	assert_int_equal(rung(ev[CALL][RX]), 0);
	assert_int_equal(rung(ev[CALL][TX]), 0);
}

static void slots_in_order_padded_or_cancelled(void **state)
{
	struct slot s[5];
	unsigned i, first;

	(void)state;
	begin(USUAL);
	give(5, LONG);
	assert_int_equal(reserve(s, 5, 0, 100, 0), 5);
	for (i = 0; i < 5; i++) {
		assert_int_equal(s[i].body_cnt, 1);
		assert_int_equal(s[i].room, 100);
		assert_ptr_equal(s[i].head + s[i].head_len,
				 s[i].body->iov_base);
		/* Must not shine through */
		memset(s[i].head, 0xff, s[i].head_len + 100);
	}
	fill(&s[0], 0, 100, 0);
	arrived(1);
	tap_cancel(&t.tap, &s[1]);
	first = got.first + 1;
	for (i = 2; i < 4; i++) {
		fill(&s[i], 0, i - 2, 0); /* of 42 and 43 bytes */
		arrived(1);
		assert_int_equal(got.len, FRAME_MIN);
		assert_int_equal(got.first, first++); /* none left out */
	}
	tap_cancel(&t.tap, &s[4]);
	assert_false(hear());
	assert_int_equal(t.tap.count.frames[1], 3);
	assert_false(t.tap.full);
	assert_int_equal(reserve(s, 2, 0, 100, 0), 2);
	assert_int_equal(t.promised, 2);
	tap_cancel(&t.tap, &s[1]);
	tap_cancel(&t.tap, &s[0]);
}

static void slots_of_longest_datagrams(void **state)
{
	static struct slot s[VHOST_SLOTS];
	unsigned i;

	(void)state;
	begin(USUAL);
	give(2, BIG);
	assert_int_equal(reserve(s, 2, 0, 65507, 0), 2);
	fill(&s[0], 0, 65507, 0);
	arrived(1);
	fill(&s[1], 0, 10, 0);
	arrived(1);
	/* In buffers like the last one each takes one of them, all of them
	 * together as many as there are slots */
	give(VHOST_SLOTS, BIG);
	assert_int_equal(reserve(s, VHOST_SLOTS, 0, 65507, 0), VHOST_SLOTS);
	for (i = 0; i < VHOST_SLOTS; i++) {
		memset(s[i].body->iov_base, 0xff, s[i].room);
		fill(&s[i], 0, 65507 - i, 0);
		arrived(1);
	}
	assert_false(t.tap.full);
}

static void slot_takes_several_buffers(void **state)
{
	unsigned first;

	(void)state;
	begin(USUAL);
	first = give(30, 1000);
	assert_true(send_one(0, 5000, 4946)); /* 12 + 42 + 4946 */
	arrived(5);
	assert_true(send_one(0, 5000, 4947));
	arrived(6);
	assert_int_equal(got.first, first + 5);
	assert_true(send_one(V6, 5000, 1));
	arrived(1);
	assert_int_equal(got.first, first + 11);
}

/* The piece @k of the body is what is left of buffer @id behind @skip bytes */
static void is_piece(const struct slot *s, unsigned k, unsigned id, size_t skip)
{
	assert_true(k < s->body_cnt);
	assert_ptr_equal(s->body[k].iov_base, ours(drv[RX].at[id] + skip));
	if (k + 1 < s->body_cnt)
		assert_int_equal(s->body[k].iov_len, drv[RX].len[id] - skip);
}

static void run_lies_in_merged_buffers(void **state)
{
	struct slot s;
	unsigned first, k;

	(void)state;
	begin(USUAL);
	first = give(20, 2048);
	assert_int_equal(reserve(&s, 1, TCP, 10000, MSS), 1);
	assert_int_equal(s.room, 10000);
	assert_int_equal(s.body_cnt, 5);
	is_piece(&s, 0, first, 12 + HEAD_TCP4);
	for (k = 1; k < 5; k++)
		is_piece(&s, k, first + k, 0);
	fill(&s, TCP, 5000, MSS);
	arrived(3);
	assert_int_equal(got.first, first);
	/* Two were not used: now they are */
	assert_int_equal(reserve(&s, 1, TCP, 10000, MSS), 1);
	is_piece(&s, 0, first + 3, 12 + HEAD_TCP4);
	fill(&s, TCP, 10000, MSS);
	arrived(5);
	assert_int_equal(got.first, first + 3);
	/* Given back */
	assert_int_equal(reserve(&s, 1, TCP | V6, 20000, MSS), 1);
	is_piece(&s, 0, first + 8, 12 + HEAD_TCP4 + 20);
	tap_cancel(&t.tap, &s);
	assert_true(send_one(0, 100, 100));
	arrived(1);
	assert_int_equal(got.first, first + 8);
	assert_int_equal(t.tap.count.bytes[1], 5054 + 10054 + 142);
}

/* One behind the other; what is not used comes next */
static void several_runs_at_once(void **state)
{
	struct slot s[VHOST_RUNS + 1];
	unsigned first, i;

	(void)state;
	begin(USUAL);
	first = give(20, 2048);
	assert_int_equal(reserve(s, VHOST_RUNS + 1, TCP, 6000, MSS), VHOST_RUNS);
	for (i = 0; i < VHOST_RUNS; i++) {
		assert_int_equal(s[i].room, 6000);
		is_piece(&s[i], 0, first + 3 * i, 12 + HEAD_TCP4);
	}
	assert_false(t.tap.ops->save(&t.tap, NULL, NULL));
	for (i = 2; i < VHOST_RUNS; i++)
		tap_cancel(&t.tap, &s[i]);
	fill(&s[0], TCP, 6000, MSS);
	arrived(3);
	fill(&s[1], TCP, 100, MSS);
	arrived(1);
	assert_int_equal(got.first, first + 3);
	/* 16 are left, which is five and one */
	assert_int_equal(reserve(s, 2, TCP, 6000, MSS), 2);
	is_piece(&s[0], 0, first + 4, 12 + HEAD_TCP4);
	fill(&s[0], TCP, 6000, MSS);
	fill(&s[1], TCP, 6000, MSS);
	tap_flush(&t.tap);
	assert_true(hear());
	assert_int_equal(got.n, 3);
	arrived(3);
	/* 10, each run takes four: two, and of the rest a short one */
	assert_int_equal(reserve(s, 3, TCP, 8000, MSS), 2);
	tap_cancel(&t.tap, &s[0]);
	tap_cancel(&t.tap, &s[1]);
	assert_false(t.tap.full);
	assert_true(send_one(0, 100, 100));
	arrived(1);
	assert_int_equal(got.first, first + 10);
}

/* One that has no room for all that is wanted is the last */
static void several_runs_of_unlike_buffers(void **state)
{
	struct slot s[3];

	(void)state;
	begin(USUAL & ~MERGE);
	give(1, HUGE);
	give(1, 3000);
	give(1, HUGE);
	assert_int_equal(reserve(s, 3, TCP, 10000, MSS), 1);
	fill(&s[0], TCP, 10000, MSS);
	arrived(1);
	assert_int_equal(reserve(s, 2, TCP, 10000, MSS), 1);
	fill(&s[0], TCP, s[0].room, MSS);
	arrived(1);
}

/* 200 pieces each, of 1024 */
static void several_runs_of_many_pieces(void **state)
{
	struct slot s[3];
	unsigned id, i;

	(void)state;
	begin(USUAL);
	id = chain(RX, 2000, 10);
	for (i = 0; i < 20; i++)
		expose(RX, id);
	assert_int_equal(reserve(s, 3, TCP, 3800, MSS), 2);
	tap_cancel(&t.tap, &s[0]);
	tap_cancel(&t.tap, &s[1]);
	assert_int_equal(virtq_left(&t.user.q[RX]), 20);
	assert_true(t.tap.caps.frame_max > 60000);
	assert_int_equal(reserve(s, 3, TCP, 1900, MSS), 3);
	for (i = 0; i < 3; i++)
		tap_cancel(&t.tap, &s[i]);
	assert_int_equal(virtq_left(&t.user.q[RX]), 20);
}

/* All buffers that are left */
static void use_up(void)
{
	while (virtq_left(&t.user.q[RX])) {
		assert_true(send_one(0, 1, 1));
		arrived(1);
	}
}

static void run_of_every_length(void **state)
{
	size_t len, size;

	(void)state;
	begin(USUAL);
	for (size = 99; size < 3000; size += size / 2) {
		for (len = 0; len < 4 * MSS; len += 1 + len / 3) {
			unsigned fit = (unsigned)(4 * MSS / size) + 2;
			size_t all = 12 + MAX(HEAD_TCP4 + len, 60UL);

			if (brk_at > MEM / 2)
				brk_at = DATA;
			give(fit, size);
			assert_true(send_one(TCP, 4 * MSS, len));
			arrived((unsigned)((all + size - 1) / size));
			use_up();
		}
	}
}

static void head_is_longer_than_first_buffers(void **state)
{
	unsigned first;
	struct slot s;

	(void)state;
	begin(USUAL);
	first = give(1, 40);
	give(1, 30);
	give(4, 2048);
	assert_int_equal(reserve(&s, 1, TCP, 4000, MSS), 1);
	assert_int_equal(s.body_cnt, 3);
	is_piece(&s, 0, first + 1, 12 + HEAD_TCP4 - 40);
	is_piece(&s, 1, first + 2, 0);
	is_piece(&s, 2, first + 3, 0);
	fill(&s, TCP, 4000, MSS);
	arrived(4);
	assert_int_equal(got.first, first);
}

static void padding_goes_over_buffers(void **state)
{
	(void)state;
	begin(USUAL);
	give(1, 68);
	give(1, 2);
	give(2, 2048);
	assert_true(send_one(TCP, 1, 1)); /* 12 + 55, to become 12 + 60 */
	arrived(3);
	assert_true(send_one(TCP, MSS, 0));
	arrived(1);
}

static void run_in_one_chain_without_merging(void **state)
{
	struct slot s;

	(void)state;
	begin(USUAL & ~MERGE);
	expose(RX, chain(RX, HUGE, 4096));
	expose(RX, chain(RX, HUGE, 999));
	give(1, HUGE);
	assert_int_equal(reserve(&s, 1, TCP, 65000, MSS), 1);
	assert_int_equal(s.room, 65000);
	assert_ptr_equal(s.body->iov_base, ours(DATA + 12 + HEAD_TCP4));
	assert_int_equal(s.body->iov_len, 4096 - 12 - HEAD_TCP4);
	fill(&s, TCP, 64000, MSS);
	arrived(1);
	assert_int_equal(reserve(&s, 1, TCP | V6, 65000, MSS), 1);
	assert_int_equal(s.body_cnt, 66);
	fill(&s, TCP | V6, 65000, MSS);
	arrived(1);
	assert_int_equal(got.first, 17); /* behind the first one's pieces */
}

static void run_ends_with_chain_without_merging(void **state)
{
	struct slot s;

	(void)state;
	begin(USUAL & ~MERGE);
	give(4, LONG);
	assert_int_equal(reserve(&s, 1, TCP, 10000, MSS), 1);
	assert_int_equal(s.room, LONG - 12 - HEAD_TCP4);
	fill(&s, TCP, s.room, MSS);
	arrived(1);
	assert_true(send_one(0, 1000, 1000));
	arrived(1);
}

static void frame_too_long_for_buffer_is_lost(void **state)
{
	(void)state;
	begin(USUAL & ~MERGE);
	give(2, LONG);
	assert_true(send_one(0, 3000, 3000));
	tap_flush(&t.tap);
	assert_false(hear());
	assert_true(send_one(0, 100, 100));
	arrived(1);
	assert_int_equal(got.first, 0);
	assert_int_equal(t.promised, 0);
}

static void learns_what_guest_takes(void **state)
{
	static const struct {
		uint64_t features;
		bool tso, uso, tso_in;
	} c[] = {
		{ USUAL, true, true, false },
		{ CSUM | TSO, true, false, false },
		{ TSO | USO, false, false, false },
		{ CSUM | TSO4 | USO4, false, false, false },
		{ BIT(VIRTIO_NET_F_CSUM) | BIT(VIRTIO_NET_F_HOST_TSO4), false,
		  false, true },
		{ BIT(VIRTIO_NET_F_HOST_TSO4), false, false, false },
	};
	unsigned i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(c); i++) {
		if (i) {
			stop_ring(RX);
			has = c[i].features | PROTO;
			say(SET_FEATURES, 0, has);
			say(SET_VRING_ENABLE, RX, 0);
			say(SET_VRING_ENABLE, TX, 0);
			say_all(RINGS_FROM);
		} else {
			begin(c[i].features);
		}
		assert_int_equal(t.tap.caps.tso, c[i].tso);
		assert_int_equal(t.tap.caps.uso, c[i].uso);
		assert_int_equal(t.tap.caps.tso_in, c[i].tso_in);
	}
}

static void one_segment_without_tso(void **state)
{
	struct slot s;

	(void)state;
	begin(V1 | MERGE | CSUM | TSO4);
	give(20, 500);
	assert_int_equal(reserve(&s, 1, TCP, 10000, MSS), 1);
	assert_int_equal(s.room, MSS);
	fill(&s, TCP, MSS, MSS);
	arrived(3);
	assert_true(send_one(TCP, 10000, 7));
	arrived(1);
}

/* All of it is done by us: nothing is left for the driver */
static void sums_are_complete(void **state)
{
	static uint8_t whole[BIG];
	unsigned kind;
	size_t len;

	(void)state;
	begin(V1 | MERGE);
	for (kind = 0; kind < 4; kind++) {
		for (len = 0; len <= MSS; len += 1 + len / 2) {
			give(20, 101); /* pieces of odd lengths */
			assert_true(send_one(kind, MSS, len));
			assert_int_equal(w.n.flags, 1);
			memcpy(whole, w.b, w.len);
			segment_finish(whole, w.len, &w.n);
			tap_flush(&t.tap);
			assert_true(hear());
			is_heard(whole, w.len, &none);
			assert_true(sum_is_right(got.b, w.len));
			assert_false(sum_is_right(w.b, w.len));
			while (virtq_left(&t.user.q[RX]))
				assert_true(send_one(0, 1, 1));
			tap_flush(&t.tap);
			while (hear())
				;
		}
	}
}

static void header_of_ten_bytes_to_legacy_guest(void **state)
{
	(void)state;
	begin(CSUM);
	give(3, LONG);
	assert_true(send_one(0, 1000, 1000));
	arrived(1);
	assert_true(send_one(TCP, 10000, MSS));
	arrived(1);
	assert_true(send_one(TCP, 0, 0));
	arrived(1);
}

static void udp_run(uint64_t features, bool whole)
{
	static uint8_t one[BIG];
	unsigned kind, i;
	struct slot s;
	size_t n;

	begin(features);
	for (kind = 0; kind <= V6; kind += V6) {
		give(10, LONG);
		assert_int_equal(reserve(&s, 1, kind, 6000, 0), 1);
		assert_int_equal(s.room, 6000);
		fill(&s, kind, 4500, 1000);
		if (whole) {
			arrived(3);
			continue;
		}
		tap_flush(&t.tap);
		for (i = 0; i < 5; i++) {
			n = segment_split(one, w.b, w.len, &w.n, i);
			assert_true(hear());
			is_heard(one, n, &none);
			assert_true(sum_is_right(got.b, n));
		}
		assert_false(hear());
	}
}

static void udp_run_in_one(void **state)
{
	(void)state;
	udp_run(USUAL, true);
}

static void udp_run_is_split_without_uso(void **state)
{
	(void)state;
	udp_run(USUAL & ~USO, false);
}

static void udp_run_is_split_without_csum(void **state)
{
	(void)state;
	udp_run(USUAL & ~CSUM, false);
}

/* --- no room -------------------------------------------------------------- */

/* The driver kicks if it is asked to; the turn ends */
static void refill(unsigned n, size_t len)
{
	bool kick = wants_kick(RX);

	give(n, len);
	if (kick)
		ring_bell(ev[KICK][RX]);
	turn();
	tap_flush(&t.tap);
}

static void is_full(bool full)
{
	assert_int_equal(t.tap.full, full);
	assert_int_equal(wants_kick(RX), full);
}

/* Nor is a guest that has no more waited for: others have taken those, and what is there
 * again may do */
static void other_buffers_may_do(void **state)
{
	struct slot s;
	unsigned i;

	(void)state;
	begin(USUAL);
	give(4, 1000);
	assert_true(send_one(0, 100, 100)); /* now it is known how long they are */
	assert_int_equal(reserve(&s, 1, 0, 4000, 0), 0);
	tap_flush(&t.tap);
	is_full(true);
	for (i = 0; i < 3; i++)
		assert_true(send_one(0, 100, 100));
	tap_flush(&t.tap);
	is_full(true);
	refill(4, 2000); /* fewer than five */
	is_full(false);
	assert_true(send_one(0, 100, 100));
	assert_true(send_one(0, 4000, 4000));
}

/* Until what the timers are set for */
static void later(unsigned ms)
{
	loop.now_ms += ms;
	timers_run(&loop.timers, loop.now_ms);
	tap_flush(&t.tap);
}

/* One that never gives more at once is not waited for for ever: frames become shorter */
static void no_more_buffers_than_those(void **state)
{
	struct slot s;

	(void)state;
	begin(USUAL);
	give(4, 1000);
	assert_true(send_one(0, 100, 100));
	assert_int_equal(reserve(&s, 1, 0, 4000, 0), 0);
	tap_flush(&t.tap);
	is_full(true);
	assert_int_equal(t.patience.due_ms, 0); /* it owes one: perhaps it sleeps */
	refill(1, 1000);
	is_full(true);
	later(VHOST_PATIENCE_MS - 10);
	is_full(true);
	assert_int_equal(t.tap.caps.frame_max, ETH_HEAD + 65535);
	later(20);
	is_full(false);
	assert_int_equal(t.tap.caps.frame_max, 4000 - 12);
	assert_int_equal(tap_reserve(&t.tap, &s, 1, head_size(0), 4000, 0), 1);
	assert_int_equal(s.room, 4000 - 12 - head_size(0));
	tap_cancel(&t.tap, &s);
	assert_true(send_one(0, s.room, s.room));
}

/* A process with all that @t has, as takeover.c makes it */
static void hand_to(struct tap_vhost *next, struct loop *l, unsigned watch)
{
	static uint8_t link[8192], rings[8192];
	struct wr to = wr_init(link, sizeof(link)), v = wr_init(rings, sizeof(rings));
	static struct fdlist fds;
	struct rd r;
	unsigned i;

	memset(&fds, 0, sizeof(fds));
	assert_true(t.tap.ops->save(&t.tap, &to, &fds));
	assert_int_equal(tap_vhost_save_rings(&t, 0, &v, &fds), 0);
	assert_true(wr_ok(&to) && wr_ok(&v) && !fds.bad);
	for (i = 0; i < fds.n; i++)
		fds.fd[i] = fcntl(fds.fd[i], F_DUPFD_CLOEXEC, 0);
	assert_int_equal(tap_vhost_init(next, l, &pcap, watch, false), 0);
	r = rd_init(link, to.len);
	assert_int_equal(tap_vhost_load(next, &r, &fds), 0);
	assert_true(rd_ok(&r) && !rd_left(&r));
	r = rd_init(rings, v.len);
	assert_int_equal(tap_vhost_load_rings(next, &r, &fds), 0);
	assert_true(rd_ok(&r) && !rd_left(&r) && !fds.bad);
	assert_int_equal(fds.at, fds.n);
}

/* A guest that had more of them, and stands still, is waited for by a successor, too */
static void successor_knows_how_many_there_were(void **state)
{
	static struct tap_vhost next;
	static struct loop l;
	struct slot s;
	unsigned i;

	(void)state;
	begin(USUAL);
	give(8, 1000);
	for (i = 0; i < 6; i++)
		assert_true(send_one(0, 100, 100));
	assert_int_equal(reserve(&s, 1, 0, 4000, 0), 0);
	tap_flush(&t.tap);
	is_full(true);
	assert_int_equal(loop_init(&l), 0);
	hand_to(&next, &l, loop_watch(&l, on_input, NULL));
	tap_flush(&next.tap);
	assert_int_equal(tap_reserve(&next.tap, &s, 1, head_size(0), 4000, 0), 0);
	tap_flush(&next.tap);
	assert_true(next.tap.full);
	l.now_ms += VHOST_PATIENCE_MS + 10;
	timers_run(&l.timers, l.now_ms);
	tap_flush(&next.tap);
	assert_true(next.tap.full);
	assert_int_equal(next.tap.caps.frame_max, t.tap.caps.frame_max);
	vhost_user_stop(&next.user);
	close(l.epfd);
}

/* Fewer than there would have to be of such as the last one may do, if they are longer;
 * and more, if they are shorter */
static void buffers_of_other_lengths(void **state)
{
	struct slot s, many[4];

	(void)state;
	begin(USUAL);
	give(1, 100);
	assert_true(send_one(0, 30, 30)); /* it takes 42 of these for 4000 bytes */
	give(1, 5000);
	give(3, 100); /* one is promised, not four */
	assert_int_equal(reserve(many, 4, 0, 4000, 0), 1);
	fill(&many[0], 0, 4000, 0);
	assert_true(send_one(0, 30, 30));
	assert_true(send_one(0, 30, 30));
	assert_true(send_one(0, 30, 30));
	give(3, 2000);
	assert_true(send_one(0, 4000, 4000));
	assert_false(t.tap.full);
	give(1, 1000);
	assert_int_equal(reserve(&s, 1, 0, 4000, 0), 0);
	tap_flush(&t.tap);
	is_full(true);
	refill(4, 1000);
	is_full(false);
	assert_true(send_one(0, 4000, 4000));
}

static void slots_wait_for_room(uint64_t features)
{
	struct slot s[8];
	unsigned i;

	begin(features);
	give(3, 1000);
	assert_int_equal(reserve(s, 3, 0, 100, 0), 3);
	assert_false(t.tap.full);
	for (i = 0; i < 3; i++)
		fill(&s[i], 0, 100, 0);
	assert_int_equal(reserve(s, 1, 0, 100, 0), 0);
	assert_true(t.tap.full);
	tap_flush(&t.tap);
	is_full(true);
	tap_flush(&t.tap);
	is_full(true);
	refill(1, 1000);
	is_full(false);
	/* 12 + 42 + 4000 bytes are five of these */
	assert_int_equal(reserve(s, 1, 0, 4000, 0), 0);
	tap_flush(&t.tap);
	for (i = 1; i < 5; i++) {
		is_full(true);
		refill(1, 1000);
	}
	is_full(false);
	assert_true(send_one(0, 4000, 4000));
	tap_flush(&t.tap);
	assert_true(hear() && hear() && hear() && hear());
	is_heard(w.b, w.len, &w.n);
	assert_false(hear());
}

static void slots_wait_for_room_by_flag(void **state)
{
	(void)state;
	slots_wait_for_room(USUAL);
}

static void slots_wait_for_room_by_index(void **state)
{
	(void)state;
	slots_wait_for_room(USUAL | EVENT);
}

/* As many as there is room for; what was asked for besides may wait */
static void fewer_slots_than_asked_for(void **state)
{
	struct slot s[20];
	unsigned i;

	(void)state;
	begin(USUAL);
	give(2, LONG);
	assert_int_equal(reserve(s, 5, 0, 100, 0), 2);
	assert_true(t.tap.full);
	fill(&s[0], 0, 100, 0);
	fill(&s[1], 0, 100, 0);
	refill(30, LONG);
	is_full(false);
	/* Nor are there more slots than these */
	assert_int_equal(reserve(s, 20, 0, 100, 0), VHOST_SLOTS);
	assert_false(t.tap.full);
	assert_int_equal(reserve(&s[VHOST_SLOTS], 1, 0, 100, 0), 0);
	for (i = 0; i < VHOST_SLOTS; i++)
		tap_cancel(&t.tap, &s[i]);
	tap_flush(&t.tap);
	is_full(false);
	assert_int_equal(reserve(s, 16, 0, 100, 0), VHOST_SLOTS);
	for (i = 0; i < VHOST_SLOTS; i++)
		tap_cancel(&t.tap, &s[i]);
}

/* All that there was is used up, so it is full until there is more */
static void all_slots_that_there_were(void **state)
{
	struct slot s[5];

	(void)state;
	begin(USUAL);
	give(2, LONG);
	assert_int_equal(reserve(s, 5, 0, 100, 0), 2);
	fill(&s[0], 0, 100, 0);
	fill(&s[1], 0, 100, 0);
	tap_flush(&t.tap);
	is_full(true);
	refill(1, LONG);
	is_full(false);
}

/* The first frame shows how long the buffers are */
static void buffers_known_by_one(void **state)
{
	struct slot s;

	(void)state;
	begin(USUAL & ~(MERGE | TSO | USO));
	give(2, LONG);
	assert_int_equal(reserve(&s, 1, 0, 100, 0), 1);
	fill(&s, 0, 100, 0);
	assert_int_equal(t.tap.caps.frame_max, LONG - 12);
}

/* A segment that no buffer will ever hold finds a slot and is lost; from then on
 * it is known what the guest takes */
static void segment_longer_than_any_buffer(void **state)
{
	struct slot s;

	(void)state;
	begin(USUAL & ~(MERGE | TSO | USO));
	give(2, LONG);
	assert_int_equal(t.tap.caps.frame_max, ETH_HEAD + 65535);
	assert_int_equal(reserve(&s, 1, 0, 9000, 9000), 1);
	assert_int_equal(t.tap.caps.frame_max, LONG - 12);
	fill(&s, 0, 9000, 0);
	tap_flush(&t.tap);
	assert_false(hear());
	assert_int_equal(reserve(&s, 1, 0, MSS, MSS), 1);
	fill(&s, 0, MSS, 0);
	tap_flush(&t.tap);
	assert_true(hear());
	is_heard(w.b, w.len, &w.n);
	/* Nor is room waited for, but for what fits */
	assert_int_equal(reserve(&s, 1, 0, MSS, MSS), 1);
	fill(&s, 0, MSS, 0);
	tap_flush(&t.tap);
	assert_true(hear());
	assert_int_equal(reserve(&s, 1, 0, MSS, MSS), 0);
	assert_true(t.tap.full);
}

/* What a frame wanted that was too long for any buffer is forgotten */
static void goes_on_after_a_frame_too_long(void **state)
{
	struct slot s[20];
	unsigned i;

	(void)state;
	begin(USUAL & ~MERGE);
	give(RING, LONG);
	assert_true(send_one(0, 3000, 3000));
	assert_false(t.tap.full);
	assert_int_equal(reserve(s, 17, 0, 100, 0), VHOST_SLOTS);
	for (i = 0; i < VHOST_SLOTS; i++)
		fill(&s[i], 0, 100, 0);
	tap_flush(&t.tap);
	is_full(false);
	while (hear())
		;
}

/* The ring was promised to others, who have used it when it is filled again */
static void run_waits_for_what_was_promised(void **state)
{
	struct slot s[16], run;
	unsigned i;

	(void)state;
	begin(USUAL);
	give(RING, 120);
	assert_true(send_one(0, 1, 1));
	tap_flush(&t.tap);
	assert_true(hear());
	give(1, 120);
	assert_int_equal(reserve(s, 16, 0, 1866, 0), 16);
	assert_int_equal(t.promised, RING);
	assert_int_equal(reserve(&run, 1, TCP, MSS, MSS), 0);
	for (i = 0; i < 16; i++)
		fill(&s[i], 0, 1866, 0);
	tap_flush(&t.tap);
	is_full(true);
	while (hear())
		;
	refill(200, 120);
	is_full(false);
}

static void run_waits_for_room(uint64_t features)
{
	unsigned n = 0;

	begin(features);
	/* 12 + 54 + 1400 bytes are three of these */
	while (!send_one(TCP, 10000, MSS)) {
		tap_flush(&t.tap);
		is_full(true);
		tap_flush(&t.tap);
		is_full(true);
		refill(1, 500);
		is_full(false); /* one more: let it see */
		assert_in_range(++n, 1, 3);
	}
	assert_int_equal(n, 3);
	arrived(3);
	assert_false(t.tap.full);
}

static void run_waits_for_room_by_flag(void **state)
{
	(void)state;
	run_waits_for_room(USUAL);
}

static void run_waits_for_room_by_index(void **state)
{
	(void)state;
	run_waits_for_room(USUAL | EVENT);
}

/* The ring is filled with what is of no use: what is sent is lost, again and again
 */
static void too_short(uint64_t features, size_t len)
{
	unsigned i;

	begin(features);
	give(RING, len);
	for (i = 0; i < 3; i++) {
		assert_true(send_one(TCP, 10000, MSS));
		tap_flush(&t.tap);
		assert_false(t.tap.full);
		turn();
		tap_flush(&t.tap);
		assert_int_equal(virtq_left(&t.user.q[RX]), RING);
		assert_false(loop.soon);
	}
	assert_false(hear());
	assert_int_equal(kicks, 0);
	assert_int_equal(rung(ev[CALL][RX]), 0);
	assert_int_equal(t.tap.count.frames[1], 0);
}

static void short_buffers_do_not_spin(void **state)
{
	(void)state;
	too_short(USUAL, 5);
}

static void short_buffers_do_not_spin_by_index(void **state)
{
	(void)state;
	too_short(USUAL | EVENT, 5);
}

static void short_chains_do_not_spin_without_merging(void **state)
{
	(void)state;
	too_short(USUAL & ~MERGE, 1000);
}

static void broken_ring_takes_nothing(void **state)
{
	(void)state;
	begin(USUAL);
	give(1, 1000);
	desc(RX)[give(2, 1000)].flags = 0; /* not for us to write to */
	assert_false(send_one(TCP, 10000, MSS));
	tap_flush(&t.tap);
	assert_true(t.tap.full);
	assert_int_equal(rung(ev[ERR][RX]), 1);
	assert_false(send_one(0, 100, 100));
	assert_false(hear());
	/* The other one goes on */
	send_in(NULL, 60, BIG);
	burst(64, 1, true);
	tap_release(&t.tap);
	tap_flush(&t.tap);
	assert_int_equal(used_idx(TX), 1);
}

/* The next frame has @len bytes behind its head and begins in buffer @first */
static void heard_next(unsigned kind, size_t len, unsigned first)
{
	assert_true(hear());
	make(kind, len, kind & TCP ? MSS : 0);
	is_heard(w.b, w.len, &w.n);
	assert_int_equal(got.first, first);
}

static void run_leaves_promised_buffers(void **state)
{
	struct slot s[4], run;
	unsigned i;

	(void)state;
	begin(USUAL);
	give(5, LONG);
	assert_int_equal(reserve(s, 4, 0, 100, 0), 4);
	assert_int_equal(reserve(&run, 1, TCP, 10000, MSS), 1);
	assert_int_equal(run.room, LONG - 12 - HEAD_TCP4);
	fill(&run, TCP, run.room, MSS);
	assert_int_equal(reserve(&run, 1, TCP, 10000, MSS), 0);
	assert_true(t.tap.full);
	for (i = 0; i < 4; i++)
		fill(&s[i], 0, 90 + i, 0);
	tap_flush(&t.tap);
	assert_true(t.tap.full);
	heard_next(TCP, LONG - 12 - HEAD_TCP4, 0);
	for (i = 0; i < 4; i++)
		heard_next(0, 90 + i, 1 + i);
	assert_false(hear());
	refill(100, LONG);
	is_full(false);
}

/* What was promised is counted in buffers like those that were seen last */
static void run_leaves_promised_short_buffers(void **state)
{
	struct slot s[2], run;

	(void)state;
	begin(USUAL);
	give(1 + 2 * 12 + 15, 100);
	assert_true(send_one(0, 1, 1));
	arrived(1);
	/* 12 + 42 + 1100 bytes are twelve of them, and 12 + 54 + 1400 fifteen
	 */
	assert_int_equal(reserve(s, 2, 0, 1100, 0), 2);
	assert_int_equal(reserve(&run, 1, TCP, 10000, MSS), 1);
	assert_int_equal(run.room, 1500 - 12 - HEAD_TCP4);
	fill(&run, TCP, MSS, MSS);
	fill(&s[0], 0, 1100, 0);
	fill(&s[1], 0, 1099, 0);
	tap_flush(&t.tap);
	heard_next(TCP, MSS, 1);
	heard_next(0, 1100, 16);
	heard_next(0, 1099, 28);
	assert_false(hear());
}

static void second_run_is_made_here(void **state)
{
	struct slot a, b;

	(void)state;
	begin(USUAL);
	give(5, LONG);
	assert_int_equal(reserve(&a, 1, TCP, 2000, MSS), 1);
	assert_int_equal(reserve(&b, 1, TCP, 2000, MSS), 1);
	assert_int_equal(a.room, 2000);
	assert_int_equal(b.room, MSS);
	assert_int_equal(b.body_cnt, 1);
	fill(&a, TCP, 2000, MSS);
	fill(&b, TCP, 1000, MSS);
	tap_flush(&t.tap);
	heard_next(TCP, 2000, 0);
	heard_next(TCP, 1000, 2);
	assert_false(hear());
}

/* --- while it is migrated ------------------------------------------------- */

enum { PAGE = 4096, LOG = (GPA + MEM) / PAGE / 8, FEW = 8, ENOUGH = 1 << 20 };
static int log_fd;
static uint8_t *bits, before[MEM];
static unsigned there; /* buffers that the driver has not got back */

static void log_begins(void)
{
	struct vhost_msg m = { .request = SET_LOG_BASE, .flags = 1,
			       .size = sizeof(m.u.log), .u.log.size = LOG };
	unsigned q;

	log_fd = memfd_create("log", MFD_CLOEXEC);
	assert_int_equal(ftruncate(log_fd, LOG), 0);
	bits = mmap(NULL, LOG, PROT_READ | PROT_WRITE, MAP_SHARED, log_fd, 0);
	assert_true(bits != MAP_FAILED);
	send_msg(&m, log_fd);
	turn();
	assert_int_equal(recv(them, &m, MSG_HEAD + 8, 0), MSG_HEAD + 8);
	has |= LOGS;
	say(SET_FEATURES, 0, has);
	for (q = 0; q < VHOST_PAIR; q++) {
		m = (struct vhost_msg){ .request = SET_VRING_ADDR, .flags = 1,
					.size = sizeof(m.u.addr) };
		m.u.addr.index = q;
		m.u.addr.flags = 1;
		m.u.addr.desc = UVA + q * EACH + DESC;
		m.u.addr.avail = UVA + q * EACH + AVAIL;
		m.u.addr.used = UVA + q * EACH + USED;
		m.u.addr.log = GPA + q * EACH + USED;
		send_msg(&m, -1);
		turn();
	}
	assert_true(t.tap.up);
}

static void log_ends(void)
{
	munmap(bits, LOG);
	close(log_fd);
}

static void remember(void)
{
	memcpy(before, guest, brk_at + PAGE);
}

/* The plain twin: what differs from @before is marked, and nothing else is, but
 * for where the same may have been written again, in a used ring */
static void log_is_right(void)
{
	size_t at, page;

	for (at = 0; at < brk_at; at += PAGE) {
		bool is = memcmp(guest + at, before + at, PAGE);
		bool ring = at % EACH == USED && at < DATA;

		page = (GPA + at) / PAGE;
		if (ring && !is)
			bits[page / 8] &= (uint8_t)~(1 << page % 8);
		assert_int_equal(!!(bits[page / 8] & 1 << page % 8), is);
		bits[page / 8] &= (uint8_t)~(1 << page % 8);
	}
	for (page = 0; page < LOG; page++)
		assert_int_equal(bits[page], 0);
}

/* A buffer in pieces that lie anywhere, by a table of its own */
static void give_indirect(size_t len)
{
	unsigned n = 1 + (unsigned)rand() % 5, i, at = drv[RX].desc++ % RING;
	struct vring_desc *d;

	brk_at = (brk_at + 15) / 16 * 16;
	d = (void *)(guest + brk_at);
	desc(RX)[at] = (struct vring_desc){
		.addr = htole64(GPA + brk_at),
		.len = htole32(n * (uint32_t)sizeof(*d)),
		.flags = htole16(VRING_DESC_F_INDIRECT),
	};
	brk_at += n * sizeof(*d);
	for (i = 0; i < n; i++) {
		uint16_t next = i + 1 < n ? VRING_DESC_F_NEXT : 0;

		brk_at += (size_t)rand() % (2 * PAGE);
		d[i] = (struct vring_desc){
			.addr = htole64(GPA + brk_at),
			.len = htole32((uint32_t)(len / n + 1)),
			.flags = htole16(VRING_DESC_F_WRITE | next),
			.next = htole16((uint16_t)(i + 1)),
		};
		memset(guest + brk_at, NEW, len / n + 1);
		brk_at += len / n + 1;
	}
	expose(RX, at);
}

static void driver_gives(void)
{
	unsigned n = (unsigned)rand() % 4;
	size_t len = has & MERGE ? 60 + (size_t)rand() % 2000 : 9200;

	if (has & EVENT)
		avail(RX)->ring[RING] = (uint16_t)rand();
	for (; n && there < FEW; n--, there++)
		if (has & INDIR && rand() % 2)
			give_indirect(len);
		else
			expose(RX, chain(RX, len, has & MERGE ? BIG : PAGE));
	for (n = (unsigned)rand() % 3; n; n--)
		send_in(NULL, 60 + (size_t)rand() % 1500, 700);
	remember();
}

static void device_works(void)
{
	unsigned kind = rand() % 2 ? TCP : 0;
	size_t want = 1 + (size_t)rand() % (rand() % 2 ? 100 : 9000);
	size_t mss = kind & TCP ? MSS : 0;
	struct slot s;

	if (rand() % 2 && reserve(&s, 1, kind, want, mss))
		fill(&s, kind, s.room - s.room / 4, mss);
	if (rand() % 2) {
		(void)tap_receive(&t.tap, f, 1 + (unsigned)rand() % 4);
		tap_release(&t.tap);
	}
	tap_flush(&t.tap);
}

static void driver_takes(void)
{
	struct vring_used_elem e;

	while (next_used(RX, &e))
		there--;
	while (next_used(TX, &e))
		;
}

static void logged(uint64_t features)
{
	unsigned session;

	srand(2);
	there = 0;
	begin(features);
	session = t.tap.session;
	log_begins();
	assert_int_equal(t.tap.session, session);
	while (brk_at < ENOUGH) {
		driver_gives();
		device_works();
		log_is_right();
		driver_takes();
	}
	assert_true(t.tap.count.frames[1] > 10);
	assert_true(t.tap.count.frames[0] > 10);
	log_ends();
}

static void log_of_merged_buffers(void **state)
{
	(void)state;
	logged(USUAL);
}

static void log_of_indirect_descriptors(void **state)
{
	(void)state;
	logged(USUAL | INDIR | EVENT);
}

static void log_of_long_chains(void **state)
{
	(void)state;
	logged((USUAL & ~MERGE) | EVENT);
}

static void log_of_what_is_made_here(void **state)
{
	(void)state;
	logged(V1 | MERGE | INDIR);
}

/* What was under way when a ring stops is in the log when that is answered */
static void log_is_complete_when_ring_stops(void **state)
{
	unsigned q;

	(void)state;
	begin(USUAL);
	log_begins();
	give(3, LONG);
	send_in(NULL, 60, BIG);
	remember();
	assert_true(send_one(TCP, 2000, 2000));
	burst(64, 1, true);
	tap_release(&t.tap);
	assert_int_equal(stop_ring(RX), 2);
	assert_int_equal(stop_ring(TX), 1);
	for (q = 0; q < VHOST_PAIR; q++)
		assert_int_equal(used_idx(q), q == RX ? 2 : 1);
	log_is_right();
	log_ends();
}

static void truncated_log_is_a_hang_up(void **state)
{
	(void)state;
	if (getenv("FOREIGN")) /* of test/builds: qemu-user has no such fault */
		skip();
	assert_int_equal(vhost_mem_guard(&t.user.mem), 0); /* cmocka has its own */
	begin(USUAL);
	log_begins();
	give(3, LONG);
	assert_int_equal(ftruncate(log_fd, 0), 0);
	assert_true(send_one(0, 100, 100));
	tap_flush(&t.tap);
	assert_int_equal(t.user.fd, -1);
	assert_true(loop.quit);
	log_ends();
}

/* Who is announced is greeted, once */
static void guest_is_announced(void **state)
{
	static const struct mac mac = { { 2, 0, 0, 0, 0, 9 } };
	struct vhost_msg m = { .request = SEND_RARP, .flags = 1, .size = 8 };
	unsigned i, session;

	(void)state;
	begin(USUAL);
	session = t.tap.session;
	memcpy(&m.u, &mac, sizeof(mac));
	for (i = 0; i < 3; i++) {
		send_msg(&m, -1);
		turn();
		assert_int_equal(t.tap.session, session + 1);
	}
	assert_true(mac_equal(&t.tap.guest, &mac));
}

static struct {
	unsigned runs, ended;
	int check;
} moved;

static int moved_begin(void *owner, enum device_state_way way, int fd)
{
	(void)owner;
	(void)way;
	close(fd);
	return 0;
}

static int moved_check(void *owner)
{
	(void)owner;
	return moved.check;
}

static void moved_runs(void *owner)
{
	(void)owner;
	moved.runs++;
}

static void moved_end(void *owner)
{
	(void)owner;
	moved.ended++;
}

static struct device_state device = { .begin = moved_begin,
				      .check = moved_check,
				      .runs = moved_runs,
				      .end = moved_end };

static void check_state(unsigned verdict)
{
	struct vhost_msg m = { .request = CHECK_DEVICE_STATE, .flags = 1 };

	send_msg(&m, -1);
	turn();
	if (moved.check == -EINPROGRESS)
		return;
	assert_int_equal(recv(them, &m, MSG_HEAD + 8, MSG_DONTWAIT),
			 MSG_HEAD + 8);
	assert_int_equal(m.u.u64, verdict);
}

static void save_state(void)
{
	struct vhost_msg m = { .request = CHECK_DEVICE_STATE - 1, .flags = 1,
			       .size = 8 };

	stop_ring(RX);
	stop_ring(TX);
	send_msg(&m, memfd);
	turn();
	assert_int_equal(recv(them, &m, MSG_HEAD + 8, MSG_DONTWAIT),
			 MSG_HEAD + 8);
	assert_int_equal(m.u.u64, 0x100);
}

static void set_up_device(void)
{
	memset(&moved, 0, sizeof(moved));
	tap_vhost_moves(&t, &device);
	assert_int_equal(moved.runs, 0);
	begin(USUAL);
	assert_int_equal(moved.runs, 1);
}

/* Who has left for another place leaves us here, for who still sends to this */
static void saved_guest_ends_no_one_off(void **state)
{
	(void)state;
	set_up_device();
	save_state();
	check_state(0);
	close(them);
	turn();
	assert_int_equal(t.user.fd, -1);
	assert_int_equal(moved.ended, 1);
	assert_false(loop.quit);
	them = -1;
}

/* If it goes on here in spite of that, it is as before */
static void saved_guest_that_stays(void **state)
{
	(void)state;
	set_up_device();
	save_state();
	check_state(0);
	say(SET_VRING_NUM, RX, RING);
	say(SET_VRING_ADDR, RX, 0);
	say(SET_VRING_KICK, RX, 0);
	say(SET_VRING_NUM, TX, RING);
	say(SET_VRING_ADDR, TX, 0);
	assert_int_equal(moved.runs, 1);
	say(SET_VRING_KICK, TX, 0);
	assert_int_equal(moved.runs, 2);
	close(them);
	turn();
	assert_true(loop.quit);
	them = -1;
}

/* Nothing spins while the front-end waits and sends more; its end is seen */
static void state_takes_its_time(void **state)
{
	struct vhost_msg m = { .request = 1, .flags = 1 };
	unsigned i;

	(void)state;
	set_up_device();
	save_state();
	for (i = 0; i < 2; i++) {
		moved.check = -EINPROGRESS;
		check_state(0);
		send_msg(&m, -1);
		loop.soon = false;
		turn();
		assert_int_equal(epoll_wait(loop.epfd, &(struct epoll_event){ 0 },
					    1, 0), 0);
		if (i)
			break;
		moved.check = -EIO;
		device.done(device.asker);
		assert_int_equal(recv(them, &m, MSG_HEAD + 8, MSG_DONTWAIT),
				 MSG_HEAD + 8);
		assert_int_equal(m.u.u64, EIO);
		turn();
		assert_int_equal(recv(them, &m, MSG_HEAD + 8, MSG_DONTWAIT),
				 MSG_HEAD + 8);
		assert_int_equal(m.request, 1);
		m = (struct vhost_msg){ .request = 1, .flags = 1 };
	}
	close(them);
	turn();
	assert_int_equal(t.user.fd, -1);
	assert_int_equal(moved.ended, 1);
	device.done(device.asker); /* too late */
	them = -1;
}

/* --- life ----------------------------------------------------------------- */

static void session_follows_rings(void **state)
{
	unsigned q, base;

	(void)state;
	assert_false(t.tap.up);
	assert_int_equal(t.tap.session, 0);
	begin(USUAL);
	assert_int_equal(t.tap.session, 1);
	for (q = 0; q < VHOST_PAIR; q++) {
		give(3, LONG);
		assert_true(send_one(0, 100, 100));
		arrived(1);
		send_in(NULL, 60 + q, BIG);
		burst(64, 1, true);
		is_frame(&f[0], 60 + q, &none);
		tap_release(&t.tap);
		tap_flush(&t.tap);
		base = stop_ring(q);
		assert_int_equal(base, q + 1);
		assert_false(t.tap.up);
		assert_int_equal(t.tap.session, q + 1);
		burst(64, 0, true);
		say(SET_VRING_NUM, q, RING);
		say(SET_VRING_BASE, q, base);
		say(SET_VRING_ADDR, q, 0);
		assert_false(t.tap.up);
		say(SET_VRING_KICK, q, 0);
		assert_true(t.tap.up);
		assert_int_equal(t.tap.session, q + 2);
		say(SET_VRING_CALL, q, 0);
	}
	assert_int_equal(used_idx(TX), 2);
	assert_int_equal(used_idx(RX), 2);
}

/* What the driver is yet to see is shown to it before the front-end's word */
static void stop_and_new_memory_lose_nothing(void **state)
{
	(void)state;
	begin(USUAL);
	give(3, LONG);
	assert_true(send_one(0, 100, 100));
	say(SET_MEM_TABLE, 0, 0);
	assert_true(t.tap.up);
	arrived(1);
	assert_true(send_one(0, 101, 101));
	assert_int_equal(stop_ring(RX), 2);
	arrived(1);
}

/* What was sent before we were there to hear the kick */
static void looks_at_what_is_there_already(void **state)
{
	(void)state;
	begin(USUAL);
	stop_ring(TX);
	send_in(NULL, 77, BIG);
	(void)rung(ev[KICK][TX]);
	say(SET_VRING_ENABLE, TX, 0);
	say(SET_VRING_BASE, TX, 0);
	say_all(RINGS_FROM + 5);
	turn();
	assert_int_equal(kicks, 1);
	burst(64, 1, true);
	is_frame(&f[0], 77, &none);
	tap_release(&t.tap);
}

static void hang_up_ends_one_off(void **state)
{
	(void)state;
	begin(USUAL);
	give(3, LONG);
	tap_flush(&t.tap);
	t.tap.full = true;
	assert_false(loop.quit);
	close(them);
	turn();
	assert_true(loop.quit);
	assert_int_equal(loop.status, 0);
	assert_false(t.tap.up);
	assert_false(t.tap.full);
	assert_int_equal(t.tap.session, 1);
	assert_int_equal(t.user.fd, -1);
	burst(64, 0, true);
	tap_flush(&t.tap);
	assert_true(send_one(0, 100, 100));
	assert_true(send_one(TCP, 100, 100));
	them = -1;
}

static void nonsense_is_a_hang_up(void **state)
{
	(void)state;
	begin(USUAL);
	say(SET_VRING_NUM, 7, 3);
	assert_true(loop.quit);
	assert_false(t.tap.up);
}

static void while_not_up_frames_are_counted(void **state)
{
	struct slot s[20];
	unsigned i;

	(void)state;
	/* Up to the last word */
	has = USUAL | PROTO;
	for (i = 0; i < ARRAY_SIZE(talk) - 1; i++)
		say(talk[i].request, talk[i].ring,
		    talk[i].request == SET_FEATURES ? has : talk[i].n);
	give(10, LONG);
	assert_int_equal(reserve(s, 3, 0, 100, 0), 3);
	fill(&s[0], 0, 100, 0);
	fill(&s[1], 0, 10, 0);
	tap_cancel(&t.tap, &s[2]);
	assert_true(send_one(TCP, 10000, 1000));
	assert_int_equal(t.tap.count.frames[1], 0);
	assert_int_equal(t.tap.drops[DROP_CONN], 3);
	assert_int_equal(reserve(s, 20, 0, 100, 0), VHOST_SLOTS);
	assert_false(t.tap.full);
	for (i = 0; i < VHOST_SLOTS; i++)
		tap_cancel(&t.tap, &s[i]);
	tap_flush(&t.tap);
	burst(64, 0, true);
	say(SET_VRING_ENABLE, TX, 1);
	assert_true(t.tap.up);
	tap_flush(&t.tap);
	assert_int_equal(used_idx(RX), 0);
	assert_int_equal(virtq_left(&t.user.q[RX]), 10);
}

int main(void)
{
#define TEST(t) cmocka_unit_test_setup_teardown(t, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(session_follows_rings),
		TEST(stop_and_new_memory_lose_nothing),
		TEST(looks_at_what_is_there_already),
		TEST(hang_up_ends_one_off),
		TEST(nonsense_is_a_hang_up),
		TEST(while_not_up_frames_are_counted),
		TEST(header_of_modern_driver),
		TEST(header_of_modern_driver_that_merges),
		TEST(header_of_legacy_driver),
		TEST(header_of_legacy_driver_that_merges),
		TEST(note_that_does_not_fit_is_dropped),
		TEST(frames_in_crumbs_one_a_burst),
		TEST(second_pair),
		TEST(frames_shorter_than_header),
		TEST(frames_longer_than_any),
		TEST(no_more_than_asked_for),
		TEST(no_more_pieces_than_there_is_room_for),
		TEST(chain_without_end_breaks_ring),
		TEST(kicks_by_flag),
		TEST(kicks_by_index),
		TEST(release_tells_once_a_flush),
		TEST(release_tells_at_event_index),
		TEST(call_told_once_a_flush),
		TEST(slots_in_order_padded_or_cancelled),
		TEST(slots_of_longest_datagrams),
		TEST(slot_takes_several_buffers),
		TEST(run_lies_in_merged_buffers),
		TEST(several_runs_at_once),
		TEST(several_runs_of_unlike_buffers),
		TEST(several_runs_of_many_pieces),
		TEST(run_of_every_length),
		TEST(head_is_longer_than_first_buffers),
		TEST(padding_goes_over_buffers),
		TEST(run_in_one_chain_without_merging),
		TEST(run_ends_with_chain_without_merging),
		TEST(frame_too_long_for_buffer_is_lost),
		TEST(learns_what_guest_takes),
		TEST(one_segment_without_tso),
		TEST(sums_are_complete),
		TEST(header_of_ten_bytes_to_legacy_guest),
		TEST(udp_run_in_one),
		TEST(udp_run_is_split_without_uso),
		TEST(udp_run_is_split_without_csum),
		TEST(other_buffers_may_do),
		TEST(buffers_of_other_lengths),
		TEST(slots_wait_for_room_by_flag),
		TEST(slots_wait_for_room_by_index),
		TEST(no_more_buffers_than_those),
		TEST(successor_knows_how_many_there_were),
		TEST(fewer_slots_than_asked_for),
		TEST(all_slots_that_there_were),
		TEST(buffers_known_by_one),
		TEST(segment_longer_than_any_buffer),
		TEST(goes_on_after_a_frame_too_long),
		TEST(run_waits_for_what_was_promised),
		TEST(run_waits_for_room_by_flag),
		TEST(run_waits_for_room_by_index),
		TEST(short_buffers_do_not_spin),
		TEST(short_buffers_do_not_spin_by_index),
		TEST(short_chains_do_not_spin_without_merging),
		TEST(broken_ring_takes_nothing),
		TEST(run_leaves_promised_buffers),
		TEST(run_leaves_promised_short_buffers),
		TEST(second_run_is_made_here),
		TEST(log_of_merged_buffers),
		TEST(log_of_indirect_descriptors),
		TEST(log_of_long_chains),
		TEST(log_of_what_is_made_here),
		TEST(log_is_complete_when_ring_stops),
		TEST(truncated_log_is_a_hang_up),
		TEST(guest_is_announced),
		TEST(saved_guest_ends_no_one_off),
		TEST(saved_guest_that_stays),
		TEST(state_takes_its_time),
	};

	signal(SIGPIPE, SIG_IGN); /* as the daemon has it */
	return cmocka_run_group_tests(tests, NULL, NULL);
}
