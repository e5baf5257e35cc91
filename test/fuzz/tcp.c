/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Connections whole: what the guest and the host do as a script of bytes, over the
 * simulator's toys.  See test/sim/sim.mk for what is linked.
 *
 * Whatever is done, each byte that either side gets must be that of its place, no
 * window may be exceeded and no number acknowledged that was not sent.  A guest that
 * has told no lies gets all in the end, and nothing remains of anything. */
#include "../sim/sim.h"
#include "log.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/mman.h>

enum { CONNS = 4, STEPS = 300, FAR_PORT = 5000, MOST = 3000, ROUNDS = 40 };

static struct conn {
	bool v6, guest_opens;
	uint16_t gport, fport;
	uint32_t iss, irs;
	bool known;	    /* @irs is */
	bool reset, lied;   /* by the guest's side */
	bool twice;	    /* of these ports: the last one's may still be on its way */
	bool fin;	    /* it has sent one, behind @sent bytes */
	uint32_t sent;	    /* bytes up to where it has */
	uint32_t acked;	    /* of which they have all these */
	uint32_t got;	    /* of theirs, in order */
	bool got_fin;
	uint32_t told, edge; /* the most it has acknowledged; its windows' end */
	unsigned ws;
	struct sock *s;
} conns[CONNS];
static unsigned connect_how;
static bool good; /* the guest answers as it should */

/* --- what an iteration leaves ------------------------------------------------- */

union block {
	struct {
		union block *next, *prev;
	} l;
	max_align_t align;
};
static union block all = { { &all, &all } };

void *arena_calloc(size_t n, size_t size);
void *arena_malloc(size_t size);
void arena_free(void *p);
void *__real_util_map(size_t len);
void *__wrap_util_map(size_t len);

void *arena_calloc(size_t n, size_t size)
{
	union block *b = calloc(1, sizeof(*b) + n * size);

	b->l.next = all.l.next;
	b->l.prev = &all;
	b->l.next->l.prev = all.l.next = b;
	return b + 1;
}

void *arena_malloc(size_t size)
{
	return arena_calloc(1, size);
}

void arena_free(void *p)
{
	union block *b = p;

	if (!b--)
		return;
	b->l.prev->l.next = b->l.next;
	b->l.next->l.prev = b->l.prev;
	free(b);
}

static struct {
	void *p;
	size_t len;
} maps[64];
static unsigned nmaps;

void *__wrap_util_map(size_t len)
{
	void *p = __real_util_map(len);

	if (p && nmaps < ARRAY_SIZE(maps)) {
		maps[nmaps].p = p;
		maps[nmaps++].len = len;
	}
	return p;
}

static void clean_up(void)
{
	while (all.l.next != &all)
		arena_free(all.l.next + 1);
	while (nmaps) {
		nmaps--;
		munmap(maps[nmaps].p, maps[nmaps].len);
	}
	if (world.loop.spare > 2)
		__real_close(world.loop.spare);
}

/* LeakSanitizer would not see these */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
	return "detect_leaks=0";
}

/* --- the guest ------------------------------------------------------------------ */

struct addr guest_addr[2], far_addr[2];
static const struct mac guest_mac = { { 0x52, 0x54, 0, 0x12, 0x34, 0x56 } };

/* A segment at @pos (bytes, 0 is the first), acknowledging @ack of theirs */
static void send_at(struct conn *c, uint32_t pos, size_t len, uint32_t ack,
		    struct seg *s)
{
	static uint8_t data[MOST], frame[MOST + SEG_HEAD];
	uint32_t end = pos + (uint32_t)len;
	size_t i;

	for (i = 0; i < len; i++)
		data[i] = pattern((unsigned)(c - conns), pos + i);
	s->smac = guest_mac;
	s->dmac = world.lan.mac;
	s->src = guest_addr[c->v6];
	s->dst = far_addr[c->v6];
	s->proto = IPPROTO_TCP;
	s->sport = c->gport;
	s->dport = c->fport;
	s->seq = c->iss + (s->flags & TCP_SYN ? 0 : 1 + pos);
	s->ack = s->flags & TCP_ACK ? c->irs + 1 + ack : 0;
	s->data = data;
	s->len = len;
	if (s->flags & TCP_ACK) {
		uint32_t edge = ack + ((uint32_t)s->win << c->ws);

		if ((int32_t)(edge - c->edge) > 0)
			c->edge = edge;
		if ((int32_t)(ack - c->got - c->got_fin) > 0)
			c->lied = true;
		if ((int32_t)(ack - c->told) > 0)
			c->told = ack;
	}
	if (s->flags & TCP_FIN && (c->fin ? end != c->sent :
					    (int32_t)(end - c->sent) < 0))
		c->lied = true;
	if (c->fin && len && (int32_t)(end - c->sent) > 0)
		c->lied = true;
	if ((len || s->flags & TCP_FIN) && (int32_t)(end - c->sent) > 0)
		c->sent = end;
	c->fin |= !!(s->flags & TCP_FIN);
	c->reset |= !!(s->flags & TCP_RST);
	toy_tap_send(&world.tap, frame, wire_build(frame, s), NULL);
}

static void send_ack(struct conn *c)
{
	struct seg s = { .flags = TCP_ACK, .win = 65535, .mss = -1, .ws = -1 };

	send_at(c, c->sent + c->fin, 0, c->got + c->got_fin, &s);
}

static void take(struct conn *c, const struct seg *s)
{
	uint32_t pos = s->seq - c->irs - 1, end = pos + (uint32_t)s->len;
	uint64_t most = c->s ? c->s->rx : 0;
	size_t i;

	if (c->twice)
		return;
	if ((int32_t)(end - (uint32_t)most) > 0)
		sim_fail("bytes up to %u of %u", end, (uint32_t)most);
	if ((int32_t)(end - c->edge - 1) > 0)
		sim_fail("bytes up to %u, the window's end was %u", end, c->edge);
	for (i = 0; i < s->len; i++)
		if (s->data[i] != pattern(100 + (unsigned)(c - conns), pos + i))
			sim_fail("wrong byte at %zu", pos + i);
	if ((int32_t)(pos - c->got) <= 0 && (int32_t)(end - c->got) > 0)
		c->got = end;
	if (s->flags & TCP_FIN && !c->s->fin_rx)
		sim_fail("an end that is none");
	if (s->flags & TCP_FIN && end == c->got)
		c->got_fin = true;
}

static void heard_tcp(struct conn *c, const struct seg *s)
{
	if (s->flags & TCP_RST) {
		c->reset = true;
		return;
	}
	if (s->flags & TCP_SYN) {
		if (c->known && s->seq != c->irs) { /* another of these ports */
			c->got = c->told = c->edge = 0;
			c->got_fin = false;
			c->lied = true;
		}
		c->irs = s->seq;
		c->known = true;
		return;
	}
	if (!c->known)
		sim_fail("a segment before the handshake");
	if (s->flags & TCP_ACK &&
	    (int32_t)(s->ack - c->iss - 1 - c->sent - c->fin) > 0)
		sim_fail("more is acknowledged than was sent");
	if (s->flags & TCP_ACK && (int32_t)(s->ack - c->iss - 1 - c->acked) > 0)
		c->acked = s->ack - c->iss - 1 -
			   (c->fin && s->ack == c->iss + 2 + c->sent);
	if (s->len || s->flags & TCP_FIN)
		take(c, s);
	if (good && (s->len || s->flags & TCP_FIN))
		send_ack(c);
}

void guest_frame(const uint8_t *p, size_t len)
{
	struct seg s;
	const char *bad = wire_parse(p, len, &s);
	unsigned i;

	if (bad)
		sim_fail("frame to the guest: %s", bad);
	if (s.ethertype == 0x806 || s.proto != IPPROTO_TCP)
		return;
	for (i = 0; i < CONNS; i++)
		if (conns[i].gport == s.dport && conns[i].fport == s.sport)
			heard_tcp(&conns[i], &s);
}

/* --- the far end ------------------------------------------------------------------ */

static void attach(struct conn *c, struct sock *s)
{
	c->twice |= c->s != NULL;
	c->lied |= c->twice;
	c->s = s;
	s->key[0] = (unsigned)(c - conns);
	s->key[1] = 100 + (unsigned)(c - conns);
}

static int far_connected_by(struct sock *s)
{
	unsigned i;

	for (i = 0; i < CONNS; i++)
		if (conns[i].fport == s->peer_port)
			attach(&conns[i], s);
	switch (connect_how % 4) {
	case 0: return 0;
	case 1: return -ENETUNREACH;
	default: return -EINPROGRESS;
	}
}

static void nothing(struct sock *s)
{
	(void)s;
}

static const struct far_ops far = { .connect = far_connected_by,
				    .kick = nothing };

/* --- the script --------------------------------------------------------------------- */

static uint32_t some_place(struct rd *r, unsigned how, const uint32_t known[3])
{
	if (how < 3)
		return known[how];
	return known[how % 3] + (uint32_t)(int16_t)rd_be16(r);
}

static void segment(struct conn *c, struct rd *r)
{
	uint8_t flags = rd_u8(r), how = rd_u8(r), what = rd_u8(r);
	uint32_t mine[3] = { c->sent, c->acked, c->acked - 1 };
	uint32_t theirs[3] = { c->got + c->got_fin, c->told, c->got };
	struct seg s = { .flags = flags & 0x3f, .mss = -1, .ws = -1 };
	uint32_t pos = some_place(r, how & 7, mine);
	uint32_t ack = some_place(r, how >> 4 & 7, theirs);
	size_t len = 0;

	s.win = what & 4 ? rd_be16(r) : 65535;
	if (what & 1)
		len = what & 2 ? rd_be16(r) % MOST : rd_u8(r);
	if (flags & TCP_SYN) {
		len = 0;
		s.mss = what & 8 ? rd_be16(r) : 1460;
		s.ws = what & 16 ? rd_u8(r) % 16 : -1;
		s.sack_ok = what & 32;
		c->ws = s.ws > 0 ? MIN((unsigned)s.ws, 14U) : 0;
	} else if (what & 64) {
		s.sacks = 1;
		s.sack[0][0] = c->irs + 1 + c->got + rd_be16(r);
		s.sack[0][1] = s.sack[0][0] + rd_be16(r);
	}
	send_at(c, pos, len, ack, &s);
}

static void open_one(struct conn *c)
{
	struct addr us = addr_v4(198, 51, 100, 1);
	struct seg s = { .flags = TCP_SYN, .win = 65535, .mss = 1460,
			 .ws = -1, .sack_ok = true };

	if (c->v6)
		addr_parse("2001:db8:51::1", &us);
	if (c->guest_opens) {
		send_at(c, 0, 0, 0, &s);
	} else if (!c->s) {
		struct sock *far_end = far_connect(&far_addr[c->v6], c->fport,
						   &us, c->gport);

		if (!far_end)
			sim_fail("nobody listens");
		attach(c, far_end);
	}
}

/* What it takes to have one, in one step */
static void set_up(struct conn *c)
{
	struct seg s = { .flags = TCP_SYN | TCP_ACK, .win = 65535, .mss = 1460,
			 .ws = -1, .sack_ok = true };

	connect_how = 0;
	open_one(c);
	world_run(sim.now + 5 * MS, NULL);
	if (!c->guest_opens && c->known)
		send_at(c, 0, 0, 0, &s);
	else if (c->known)
		send_ack(c);
	world_run(sim.now + 5 * MS, NULL);
}

static void far_does(struct conn *c, unsigned what, struct rd *r)
{
	struct sock *s = c->s;

	if (!s)
		return;
	switch (what) {
	case 0: far_write(s, rd_be16(r)); break;
	case 1: far_urgent(s, rd_u8(r)); break;
	case 2: far_read(s, rd_be16(r)); break;
	case 3: far_fin(s); break;
	case 4: far_close(s); break;
	case 5: far_reset(s, 0); break;
	case 6: far_connected(s); break;
	case 7: far_refused(s, ECONNREFUSED); break;
	case 8: s->tx_cap = 4608 + rd_be16(r); break;
	case 9: s->rx_cap = 2304 + rd_be16(r); break;
	case 10: s->refuse = rd_u8(r); break;
	default: s->path_mtu = 68 + rd_be16(r) % 9000;
	}
}

static void happens(unsigned what, struct rd *r)
{
	switch (what) {
	case 0: world_run(sim.now + rd_u8(r) * 10 * US, NULL); break;
	case 1: world_run(sim.now + rd_u8(r) * MS, NULL); break;
	case 2: world_run(sim.now + rd_u8(r) * SEC, NULL); break;
	case 3: world.tap.stuffed = !world.tap.stuffed;
		toy_wake(&world.tap.toy, EPOLLOUT);
		break;
	case 4: toy_tap_up(&world.tap, !world.tap.tap.up); break;
	case 5: connect_how = rd_u8(r); break;
	case 6: toy_net.peek_fails = rd_u8(r) % 4; break;
	case 7: toy_net.discard_fails = rd_u8(r) % 4; break;
	case 8: toy_net.open_fails = rd_u8(r) % 4; break;
	case 9: toy_net.accept_fails = rd_u8(r); break;
	case 10: world_move(); break;
	default: world.tap.drain = (1 + rd_u8(r)) * US;
	}
}

static void step(struct rd *r)
{
	uint8_t op = rd_u8(r);
	struct conn *c = &conns[op & 3];

	switch (op >> 2 & 7) {
	case 0: open_one(c); break;
	case 1: set_up(c); break;
	case 2:
	case 3: segment(c, r); break;
	case 4:
	case 5: far_does(c, rd_u8(r) % 12, r); break;
	case 6: send_ack(c); break;
	default: happens(rd_u8(r) % 12, r);
	}
	if (op & 32)
		world_run(sim.now + 200 * US, NULL);
}

/* --- how it ends -------------------------------------------------------------------------- */

static bool lives(const struct conn *c)
{
	return c->known && !c->reset && !c->lied && c->s && !c->s->rst_tx &&
	       c->s->state == S_UP && c->s->toy.fd >= 0 && !c->s->err;
}

/* Again what they have not got, with a window for all */
static void repeat(struct conn *c)
{
	struct seg s = { .flags = TCP_ACK, .win = 65535, .mss = -1, .ws = -1 };
	uint32_t pos = c->acked;

	send_ack(c);
	for (; (int32_t)(c->sent - pos) > 0; pos += 1000) {
		struct seg one = s;
		uint32_t len = MIN(c->sent - pos, 1000U);

		if (c->fin && pos + len == c->sent)
			one.flags |= TCP_FIN;
		send_at(c, pos, len, c->got + c->got_fin, &one);
		if (pos - c->acked > 8000)
			break;
	}
	if (c->fin && c->acked == c->sent) { /* perhaps it was lost */
		s.flags |= TCP_FIN;
		send_at(c, c->sent, 0, c->got + c->got_fin, &s);
	}
}

static bool all_there(void)
{
	const struct conn *c;

	for (c = conns; c < conns + CONNS; c++)
		if (lives(c) && (c->got != (uint32_t)c->s->rx ||
				 c->s->tx_seen != c->sent))
			return false;
	return true;
}

static void make_good(void)
{
	unsigned i, k;

	good = true;
	world.tap.stuffed = false;
	toy_wake(&world.tap.toy, EPOLLOUT);
	toy_tap_up(&world.tap, true);
	toy_net.peek_fails = toy_net.discard_fails = toy_net.open_fails = 0;
	toy_net.accept_fails = 0;
	world.tap.drain = 5 * US;
	for (k = 0; k < ROUNDS && !all_there(); k++) {
		for (i = 0; i < CONNS; i++) {
			if (conns[i].s)
				far_read(conns[i].s, SIZE_MAX);
			if (lives(&conns[i]))
				repeat(&conns[i]);
		}
		world_run(sim.now + 4 * SEC, NULL);
	}
	for (i = 0; i < CONNS; i++) {
		struct conn *c = &conns[i];

		if (!lives(c))
			continue;
		if (c->got != (uint32_t)c->s->rx)
			sim_fail("connection %u: the guest got %u of %llu", i,
				 c->got, (unsigned long long)c->s->rx);
		if (c->s->tx_seen != c->sent)
			sim_fail("connection %u: the far end got %llu of %u", i,
				 (unsigned long long)c->s->tx_seen, c->sent);
	}
}

static bool over(void)
{
	return !world.flows.count && !world_leftovers();
}

static void end_all(void)
{
	struct seg s = { .flags = TCP_RST | TCP_ACK, .win = 0, .mss = -1,
			 .ws = -1 };
	unsigned i;

	good = false;
	for (i = 0; i < CONNS; i++) {
		struct seg one = s;

		if (conns[i].s)
			far_reset(conns[i].s, 0);
		send_at(&conns[i], conns[i].acked, 0, conns[i].got, &one);
	}
	world_run(sim.now + 3 * 3600 * SEC, over);
	if (!over() || world.chunks.used || world.tcp.acks)
		sim_fail("%u flows, %u descriptors, %u chunks remain",
			 world.flows.count, world_leftovers(),
			 world.chunks.used);
}

static void begin(uint8_t how)
{
	unsigned i;

	sim_reset(1);
	world_config();
	addr_parse("10.0.2.15", &guest_addr[0]);
	addr_parse("2001:db8:1::15", &guest_addr[1]);
	addr_parse("203.0.113.80", &far_addr[0]);
	addr_parse("2001:db8:f::80", &far_addr[1]);
	far_ops = &far;
	world.tap.w.delay = 10 * US;
	world.tap.tap.caps.tso = how & 1;
	world.env.peek_off4 = world.env.peek_off6 = how & 2;
	world.lan.mtu = how & 4 ? 1500 : MTU_DEFAULT;
	world.tap.tap.caps.queue = how & 8 ? 4 : 64;
	world_start();
	memset(conns, 0, sizeof(conns));
	for (i = 0; i < CONNS; i++)
		conns[i] = (struct conn){
			.v6 = i & 1, .guest_opens = i < 2,
			.gport = (uint16_t)(i < 2 ? 40000 + i :
						    FORWARD_FIRST + i),
			.fport = (uint16_t)(FAR_PORT + i),
			.iss = how & 16 ? 0xfffffff0 : 1000,
		};
	good = false;
	connect_how = how & 32;
	sim.max_turns = 1000 * 1000;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct rd r = rd_init(data, size);
	unsigned i;

	log_level(LOG_ERROR);
	sim.catch = true;
	if (setjmp(sim.stop))
		abort();
	begin(rd_u8(&r));
	for (i = 0; i < STEPS && rd_left(&r); i++)
		step(&r);
	world_run(sim.now + MS, NULL);
	make_good();
	end_all();
	clean_up();
	return 0;
}
