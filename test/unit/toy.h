/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A guest made of memory for the tests of datagram protocols: what they send
 * to it is kept frame by frame, and what it sends is a packet in a row.  Around
 * it the real loop, flow table, policy and sockets, in a namespace of its own.
 */
#ifndef TEST_UNIT_TOY_H
#define TEST_UNIT_TOY_H

#include "netns.h"

#include "checksum.h"
#include "fwd.h"
#include "neigh.h"
#include "packet.h"
#include "segment.h"
#include "tap.h"

#include <linux/virtio_net.h>
#include <netinet/in.h>
#include <poll.h>

enum { TOY_SLOTS = 48, TOY_SLOT = 70000, TOY_FRAMES = 256 };

struct toy_frame {
	struct note n;
	size_t len;
	uint8_t b[TOY_SLOT];
};

struct toy {
	struct tap tap;
	unsigned room;	 /* most slots that are given */
	size_t body_max; /* most bytes of a slot */
	unsigned asked;	 /* slots, the last time */
	unsigned out, next, end;
	struct iovec body[TOY_SLOTS];
	uint8_t slot[TOY_SLOTS][TOY_SLOT];
	unsigned n;
	struct toy_frame frame[TOY_FRAMES];
};

static struct toy toy;
static struct loop loop;
static struct flows flows;
static struct lan lan;
static struct seen seen;
static struct fwd_map map;
static struct sock_env env;
static struct fwd fwd;
static struct neigh neigh;
static struct rules rules;

static const struct mac toy_our_mac = { { 2, 0, 0, 0, 0, 1 } };
static const struct mac toy_guest_mac = { { 2, 0, 0, 0, 0, 2 } };

static unsigned toy_reserve(struct tap *t, struct slot *s, unsigned n,
			    size_t head, size_t want, size_t mss)
{
	unsigned i;

	assert_ptr_equal(t, &toy.tap);
	assert_int_equal(toy.out, 0); /* reserves do not nest */
	toy.asked = n;
	n = MIN(n, MIN(toy.room, (unsigned)TOY_SLOTS));
	for (i = 0; i < n; i++) {
		size_t room = MIN(want, toy.body_max);

		toy.body[i] = (struct iovec){ toy.slot[i] + head, room };
		s[i] = (struct slot){ .head = toy.slot[i], .head_len = head,
				      .body = &toy.body[i], .body_cnt = 1,
				      .room = room, .mss = mss };
	}
	toy.out = n;
	toy.next = 0;
	return n;
}

static void toy_commit(struct tap *t, struct slot *s, size_t used,
		       const struct note *n)
{
	struct toy_frame *f = &toy.frame[toy.n++];
	unsigned i = (unsigned)((s->head - toy.slot[0]) / TOY_SLOT);

	(void)t;
	assert_true(toy.n <= TOY_FRAMES);
	assert_true(used <= s->room);
	assert_true(toy.out > 0);
	assert_true(i >= toy.next); /* in order */
	toy.next = i + 1;
	toy.out--;
	f->n = *n;
	f->len = s->head_len + used;
	memcpy(f->b, s->head, f->len);
}

static void toy_cancel(struct tap *t, struct slot *s)
{
	(void)t;
	(void)s;
	assert_true(toy.out > 0);
	toy.out--;
}

static const struct tap_ops toy_ops = {
	.reserve = toy_reserve,
	.commit = toy_commit,
	.cancel = toy_cancel,
};

static inline struct addr toy_addr(const char *s)
{
	struct addr a;

	assert_true(addr_parse(s, &a));
	return a;
}

/* Both loopbacks are shown to the guest as .254 and ::fe */
static inline void toy_start(void)
{
	toy.room = TOY_SLOTS;
	toy.body_max = 65507;
	toy.out = toy.n = 0;
	toy.tap = (struct tap){ .ops = &toy_ops, .loop = &loop, .up = true,
				.caps.frame_max = FRAME_MAX };
	lan = (struct lan){
		.v4 = true, .v6 = true, .mac = toy_our_mac,
		.guest4 = toy_addr("192.0.2.15"),
		.guest6 = toy_addr("2001:db8::15"),
		.our4 = toy_addr("192.0.2.2"),
		.our_ll6 = toy_addr("fe80::1"),
		.tcp = true, .udp = true, .icmp = true,
	};
	seen = (struct seen){ .mac = toy_guest_mac, .v4 = lan.guest4,
			      .v6 = lan.guest6, .ll = toy_addr("fe80::15") };
	map = (struct fwd_map){
		.host_loopback = { { toy_addr("192.0.2.254") },
				   { toy_addr("2001:db8::fe") } },
	};
	memset(&neigh, 0, sizeof(neigh));
	memset(&rules, 0, sizeof(rules));
	assert_int_equal(loop_init(&loop), 0);
	assert_int_equal(flows_init(&flows, &loop), 0);
	fwd_init(&fwd, &lan, &seen, &map, &env);
}

/* One turn, which must not wait */
static inline void toy_turn(void)
{
	runq_release(&flows.guest_q);
	loop_quit(&loop, 0);
	loop_turn(&loop);
	loop.quit = false;
}

static inline void toy_wait(int fd, short events)
{
	struct pollfd p = { .fd = fd, .events = events };

	assert_int_equal(poll(&p, 1, 5000), 1);
}

/* --- what the guest sends ----------------------------------------------- */

struct toy_packet {
	struct packet p;
	struct frame f;
	uint8_t b[TOY_SLOT];
};

static inline void toy_parse(struct toy_packet *t, size_t len,
			     const struct note *n)
{
	t->f = (struct frame){ .note = *n, .len = len, .iov_cnt = 1,
			       .one = { t->b, len } };
	t->f.iov = &t->f.one;
	assert_int_equal(packet_parse(&t->f, &t->p), PASS);
}

static inline void toy_udp(struct toy_packet *t, const char *src,
			   uint16_t sport, const char *dst, uint16_t dport,
			   const void *payload, size_t len)
{
	struct head h = { .src = toy_guest_mac, .dst = toy_our_mac, .ttl = 64,
			  .t = { .src = toy_addr(src), .dst = toy_addr(dst),
				 .sport = sport, .dport = dport,
				 .proto = IPPROTO_UDP } };
	struct note n;
	size_t head = packet_put_udp(t->b, &h, len, &n);

	memcpy(t->b + head, payload, len);
	toy_parse(t, head + len, &n);
}

/* --- what the guest got ------------------------------------------------- */

/* Frame @i, its checksum finished and checked, as a packet */
static inline struct toy_packet *toy_got(unsigned i)
{
	static struct toy_packet t[4];
	static unsigned turn;
	struct toy_packet *p = &t[turn++ % 4];
	static const struct note none;
	struct tuple *u = &p->p.t;
	size_t l4;
	uint64_t sum;

	assert_true(i < toy.n);
	memcpy(p->b, toy.frame[i].b, toy.frame[i].len);
	assert_true(segment_note_ok(&toy.frame[i].n, toy.frame[i].len));
	segment_finish(p->b, toy.frame[i].len, &toy.frame[i].n);
	toy_parse(p, toy.frame[i].len, &none);
	l4 = p->f.len - p->p.l4_off;
	sum = u->proto == IPPROTO_ICMP
		      ? 0
		      : csum_pseudo(&u->src, &u->dst, u->proto, (uint32_t)l4);
	assert_int_equal(csum_finish(csum_add(sum, p->b + p->p.l4_off, l4)),
			 0);
	assert_true(mac_equal(&p->p.dmac, &toy_guest_mac));
	return p;
}

static inline const uint8_t *toy_payload(const struct toy_packet *t)
{
	return t->b + t->p.payload_off;
}

#endif /* TEST_UNIT_TOY_H */
