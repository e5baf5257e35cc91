/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The guest: a plain TCP that does what RFC 9293 says, and judges.
 *
 * Stream positions are 64 bits wide: 0 is the SYN, byte i is 1 + i, the FIN is
 * behind the last byte.  It goes back to the first unacknowledged byte on a
 * timeout (200 ms and doubling) and on three duplicate ACKs; there is no
 * congestion window.  What the product sends is checked on the way: bytes,
 * sums, windows, numbers.
 */
#include "sim.h"

#include <linux/virtio_net.h>
#include <netinet/in.h>
#include <stdlib.h>

enum gstate { G_SYN_SENT, G_SYN_RCVD, G_UP, G_WAIT, G_DEAD };

struct gconn {
	struct gconn *next;
	struct course *p;
	enum gstate state;
	struct addr us, them;
	uint32_t iss, irs;
	/* sending */
	uint64_t una, nxt, max, wnd, wl1, wl2, recover;
	uint64_t written; /* by the application, at most p->bytes[0] */
	bool closing;	  /* FIN behind the last byte */
	unsigned mss, ws, dupacks, backoff, tries;
	uint64_t rto_at; /* 0: off */
	bool rto_due;
	/* receiving */
	uint64_t rcv, fin_at, edge, most, read; /* @most: highest @edge ever */
	uint8_t have[2048 * 1024 / 8]; /* bytes that came early */
	uint8_t theirs[2048 * 1024 / 8]; /* of ours that came early there */
	uint64_t last; /* where what came last began */
	uint64_t early; /* highest of them, 0: none */
	unsigned unacked;
	uint64_t told; /* window field last sent */
	bool fin_seen, shut, ack_due, step_due, sack;
	uint64_t heard;	 /* when anything came last */
	unsigned probes; /* keep-alives without answer */
};

static struct gconn *conns;
struct addr guest_addr[2], far_addr[2];
static const struct mac guest_mac = { { 0x52, 0x54, 0, 0x12, 0x34, 0x56 } };

void guest_reset(void)
{
	conns = NULL;
	policy_reset();
	splice_reset();
	addr_parse("10.0.2.15", &guest_addr[0]);
	addr_parse("2001:db8:1::15", &guest_addr[1]);
	addr_parse("203.0.113.80", &far_addr[0]);
	addr_parse("2001:db8:f::80", &far_addr[1]);
}

void guest_send(struct seg *s)
{
	static uint8_t buf[FRAME_MAX + 64];
	struct note n = { 0 };
	size_t len;

	policy_sent(s, s->proto == IPPROTO_UDP && plan_answers(s->sport));
	s->smac = guest_mac;
	s->dmac = world.lan.mac;
	len = wire_build(buf, s);
	if (s->partial) {
		n.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
		n.csum_start = addr_is_v4(&s->src) ? 34 : 54;
		n.csum_offset = s->proto == IPPROTO_TCP ? 16 : 6;
	}
	toy_tap_send(&world.tap, buf, len, &n);
}

/* --- sending -------------------------------------------------------------- */

static uint64_t fin_pos(const struct gconn *g)
{
	return 1 + g->p->bytes[0];
}

static uint64_t unread(const struct gconn *g)
{
	return g->rcv ? g->rcv - 1 - g->fin_seen - g->read : 0;
}

/* The window we offer: what the application left free */
static uint64_t space(const struct gconn *g)
{
	if (g->shut || unread(g) >= g->p->rcv_cap)
		return 0;
	return g->p->rcv_cap - unread(g);
}

static uint16_t window(struct gconn *g, bool syn)
{
	unsigned shift = syn || g->p->ws < 0 ? 0 : (unsigned)g->p->ws;
	uint64_t w = g->state == G_SYN_SENT ? g->p->rcv_cap : space(g);

	/* No silly windows: an edge that hardly moves does not move at all */
	if (g->rcv + w < g->edge + MIN(g->p->rcv_cap / 2, 536) &&
	    g->edge >= g->rcv && !g->shut)
		w = g->edge - g->rcv;
	w = MIN(w >> shift, 65535);
	g->edge = MAX(g->edge, g->rcv + (w << shift));
	g->most = MAX(g->most, g->edge);
	g->told = w;
	g->p->shut_window |= !w && g->state != G_SYN_SENT;
	return (uint16_t)w;
}

/* unwrap - the 64-bit position nearest to @ref */
static uint64_t unwrap(uint64_t ref, uint32_t rel)
{
	return ref + (uint64_t)(int64_t)(int32_t)(rel - (uint32_t)ref);
}

static bool bit(const uint8_t *bits, uint64_t pos)
{
	return bits[pos / 8] & 1 << pos % 8;
}

static void put_block(const struct gconn *g, struct seg *s, uint64_t from,
		      uint64_t to)
{
	uint32_t *b = s->sack[s->sacks++];

	b[0] = g->irs + (uint32_t)from;
	b[1] = g->irs + (uint32_t)to;
}

/* RFC 2018 4: what came last first, then what else is there */
static void put_sack(const struct gconn *g, struct seg *s)
{
	uint64_t pos = g->rcv, from = g->last, to = g->last;

	if (g->early < g->rcv)
		return;
	if (g->last > g->rcv && bit(g->have, g->last)) {
		while (bit(g->have, from - 1))
			from--;
		while (to <= g->early && bit(g->have, to))
			to++;
		put_block(g, s, from, to);
	}
	while (pos <= g->early && s->sacks < 3) {
		for (; !bit(g->have, pos); pos++)
			;
		for (from = pos; pos <= g->early && bit(g->have, pos); pos++)
			;
		if (g->last < from || g->last >= pos)
			put_block(g, s, from, pos);
	}
}

/* What the product has promised to keep */
static void take_sack(struct gconn *g, const struct seg *s, uint64_t ack)
{
	unsigned i;

	for (i = 0; i < s->sacks; i++) {
		uint64_t from = unwrap(g->una, s->sack[i][0] - g->iss);
		uint64_t to = unwrap(g->una, s->sack[i][1] - g->iss);

		if (!g->sack || from >= to || from <= ack || to > g->max)
			sim_fail("connection %u: SACK of %llu to %llu",
				 g->p->no, (unsigned long long)from,
				 (unsigned long long)to);
		for (; from < to; from++)
			g->theirs[from / 8] |= (uint8_t)(1 << from % 8);
	}
}

static void emit(struct gconn *g, uint64_t pos, size_t len, uint8_t flags)
{
	static uint8_t data[FRAME_MAX];
	struct seg s = { .src = g->us, .dst = g->them, .proto = IPPROTO_TCP,
			 .sport = g->p->gport, .dport = g->p->fport,
			 .seq = g->iss + (uint32_t)pos, .flags = flags,
			 .mss = -1, .ws = -1, .data = data, .len = len };
	size_t i;

	for (i = 0; i < len; i++)
		data[i] = pattern(2 * g->p->no, pos - 1 + i);
	if (flags & TCP_SYN) {
		s.mss = g->p->mss;
		s.ws = g->p->ws;
		s.sack_ok = g->p->sack;
	} else if (g->sack) {
		put_sack(g, &s);
	}
	s.win = window(g, flags & TCP_SYN);
	if (flags & TCP_ACK)
		s.ack = g->irs + (uint32_t)g->rcv;
	s.partial = g->p->big;
	g->unacked = 0;
	g->ack_due = false;
	if (pos < g->max)
		g->p->again += MIN(len, g->max - pos);
	g->max = MAX(g->max, pos + len + (flags & (TCP_SYN | TCP_FIN) ? 1 : 0));
	guest_send(&s);
}

static void send_ack(struct gconn *g)
{
	emit(g, g->nxt, 0, TCP_ACK);
}

static void expire(void *arg);

static void arm(struct gconn *g)
{
	uint64_t rto = (g->state < G_UP ? 1000 * MS : 200 * MS);

	rto = MIN(rto << MIN(g->backoff, 10), 60 * SEC);
	g->rto_at = sim.now + rto;
	if (!g->rto_due) {
		g->rto_due = true;
		sim_after(rto, expire, g);
	}
}

/* Segments from nxt on as far as window, data and Nagle allow */
static void push(struct gconn *g)
{
	if (g->state != G_UP)
		return;
	/* It may run since the window was shut, for a probe */
	if (g->nxt == g->una && g->wnd)
		g->rto_at = 0;
	for (;;) {
		uint64_t end = MIN(1 + g->written, g->una + g->wnd), n = 0, i;
		bool fin, last;

		while (g->nxt < end && bit(g->theirs, g->nxt))
			g->nxt++; /* never again */
		if (end > g->nxt)
			n = MIN(end - g->nxt, g->p->big ? 16 * g->mss : g->mss);
		n = MIN(n, 65000);
		for (i = 1; i < n && !bit(g->theirs, g->nxt + i); i++)
			;
		n = MIN(n, i);
		fin = g->closing && g->nxt + n == fin_pos(g) &&
		      (g->p->fin_with_data || !n);
		if (g->p->nagle && n && n < g->mss && g->nxt > g->una && !fin &&
		    !g->closing)
			break;
		if (!n && !fin)
			break;
		last = g->nxt + n == 1 + g->written;
		emit(g, g->nxt, n, TCP_ACK | (fin ? TCP_FIN : 0) |
				   (last ? TCP_PSH : 0));
		g->nxt += n + fin;
	}
	if (g->nxt > g->una || g->una < 1 + g->written ||
	    (g->closing && g->una <= fin_pos(g))) {
		if (!g->rto_at)
			arm(g);
	} else {
		g->rto_at = 0;
	}
}

static void die(struct gconn *g)
{
	g->state = G_DEAD;
	g->rto_at = 0;
	g->p->guest_done = true;
}

static void retransmit(struct gconn *g)
{
	uint64_t lost = g->nxt - g->una;

	if (g->state == G_SYN_SENT || g->state == G_SYN_RCVD) {
		emit(g, 0, 0, g->state == G_SYN_SENT ? TCP_SYN :
						       TCP_SYN | TCP_ACK);
		return;
	}
	g->p->rexmit += lost && g->wnd;
	g->recover = g->max;
	g->dupacks = 0;
	g->nxt = g->una;
	if (g->wnd || (g->closing && g->una == fin_pos(g))) {
		push(g);
	} else if (!g->p->probe_byte || g->una > g->written) {
		emit(g, g->una - 1, 0, TCP_ACK); /* what Linux probes with */
	} else {
		emit(g, g->una, 1, TCP_ACK); /* what RFC 9293 3.8.6.1 says */
	}
	arm(g);
}

static void expire(void *arg)
{
	struct gconn *g = arg;

	g->rto_due = false;
	if (!g->rto_at || g->state == G_DEAD)
		return;
	if (g->rto_at > sim.now) {
		g->rto_due = true;
		sim_after(g->rto_at - sim.now, expire, g);
		return;
	}
	/* What may not have left yet is not sent again, as by Linux */
	if (g->state == G_UP && rings_wait()) {
		arm(g);
		return;
	}
	g->backoff++;
	if (++g->tries > (g->state == G_SYN_SENT ? 6 : 14)) {
		if (g->p->ending == END_CLEAN)
			sim_fail("connection %u: the guest gives up",
				 g->p->no);
		die(g);
		return;
	}
	g->rto_at = 0;
	/* RFC 2018 8: such a promise may be broken, and on another host it is */
	if (world.migrated)
		memset(g->theirs, 0, sizeof(g->theirs));
	retransmit(g);
	arm(g);
}

static void reset(struct gconn *g)
{
	emit(g, g->nxt, 0, TCP_RST | TCP_ACK);
	die(g);
}

/* --- the application ------------------------------------------------------ */

static void app(void *arg);

static void app_later(struct gconn *g, uint64_t ns)
{
	if (g->step_due)
		return;
	g->step_due = true;
	sim_after(ns, app, g);
}

static void unshut(void *arg)
{
	struct gconn *g = arg;

	g->shut = false;
	if (!g->fin_seen && (g->state == G_UP || g->state == G_WAIT))
		send_ack(g);
	app_later(g, US);
}

static bool aborts(struct course *p, enum ending e)
{
	if (p->ending != e)
		return false;
	p->aborted |= p->got[1] + p->sent[0] >= p->abort_at;
	return p->aborted;
}

static void app_read(struct gconn *g)
{
	struct course *p = g->p;
	uint64_t n = MIN(p->chunk[0], unread(g)), old = g->edge;

	if (g->shut || !n)
		return;
	g->read += n;
	p->got[1] = g->read;
	if (!g->fin_seen && chance(p->pressure)) {
		g->shut = true;
		g->edge = g->rcv;
		sim_after(rnd_in(1, 3000) * MS, unshut, g);
		send_ack(g);
		return;
	}
	/* Tell about a window that grew by two segments or half the buffer,
	 * unless scaling hides it: that would be a duplicate ACK */
	if (!g->fin_seen &&
	    g->rcv + space(g) >= old + MIN(p->rcv_cap / 2, 2 * 1460) &&
	    MIN(space(g) >> MAX(p->ws, 0), 65535) != g->told)
		send_ack(g);
}

static void app_write(struct gconn *g)
{
	struct course *p = g->p;
	bool last;

	g->written += MIN(p->chunk[0], p->bytes[0] - g->written);
	p->sent[0] = g->written;
	last = g->written == p->bytes[0];
	if (last && (!p->waits[0] || g->fin_seen))
		g->closing = true;
	push(g);
}

static bool eof(const struct gconn *g)
{
	return g->fin_seen && g->read == g->fin_at - 1;
}

static void app(void *arg)
{
	struct gconn *g = arg;
	struct course *p = g->p;

	g->step_due = false;
	if (g->state != G_UP && g->state != G_WAIT)
		return;
	if (g->state == G_UP && aborts(p, END_GUEST_RST)) {
		reset(g);
		return;
	}
	if (g->state == G_UP && aborts(p, END_GUEST_GONE)) {
		die(g);
		return;
	}
	app_read(g);
	app_write(g);
	if (eof(g) && !p->guest_eof) {
		p->guest_eof = true;
		p->guest_done = g->state == G_WAIT;
		p->over = sim.now;
		trace("  guest %u: end of file", p->no);
	}
	if (g->written < p->bytes[0] || (unread(g) && !g->shut) ||
	    (eof(g) && !g->closing))
		app_later(g, rnd_in(US, p->pause[0] + US));
}

/* --- receiving ------------------------------------------------------------ */

static void delayed_ack(void *arg)
{
	struct gconn *g = arg;

	if (g->ack_due && g->state != G_DEAD)
		send_ack(g);
}

/* take - data at @pos, already inside the window or before it */
static void take(struct gconn *g, uint64_t pos, const uint8_t *p, size_t len)
{
	uint64_t i, end = pos + len, top = g->rcv + space(g);

	for (i = 0; i < len; i++)
		if (p[i] != pattern(2 * g->p->no + 1, pos - 1 + i))
			sim_fail("connection %u: wrong byte at %llu",
				 g->p->no, (unsigned long long)(pos - 1 + i));
	if (end > 1 + g->p->bytes[1])
		sim_fail("connection %u: more bytes than were sent", g->p->no);
	if (pos < g->rcv)
		g->p->dup_data++;
	end = MIN(end, top);
	g->last = pos;
	if (pos > g->rcv && !g->p->keeps_order)
		return;
	for (; pos < end; pos++) {
		g->have[pos / 8] |= (uint8_t)(1 << pos % 8);
		g->early = MAX(g->early, pos);
	}
	while (g->rcv <= g->early && bit(g->have, g->rcv))
		g->rcv++;
}

static void on_ack(struct gconn *g, const struct seg *s, uint64_t ack,
		   uint64_t pos)
{
	uint64_t wnd = (uint64_t)s->win << g->ws;
	bool update = wnd != g->wnd;

	/* RFC 9293 3.10.7.4, and what acknowledges more is newer (Linux) */
	if (ack > g->una || pos > g->wl1 || (pos == g->wl1 && ack >= g->wl2)) {
		g->wnd = wnd;
		g->wl1 = pos;
		g->wl2 = ack;
	}
	if (ack > g->una) {
		g->una = ack;
		g->nxt = MAX(g->nxt, ack);
		g->backoff = g->dupacks = 0;
		g->rto_at = 0;
	} else if (ack == g->una && !s->len && !update && g->nxt > g->una &&
		   !(s->flags & TCP_FIN) && g->una >= g->recover &&
		   (g->sack ? s->sacks && !g->dupacks++ : ++g->dupacks == 3)) {
		trace("  guest %u: fast retransmit", g->p->no);
		retransmit(g);
	}
	if (g->wnd && g->backoff && update) { /* it opened: no need to wait */
		g->backoff = 0;
		g->rto_at = 0;
	}
	push(g);
}

static void finished(struct gconn *g)
{
	if (g->state != G_UP || !g->fin_seen || !g->closing ||
	    g->una <= fin_pos(g))
		return;
	trace("  guest %u: closed", g->p->no);
	g->state = G_WAIT; /* acknowledges what comes again */
	g->p->guest_done = g->p->guest_eof;
	g->p->over = sim.now;
}

static void on_fin(struct gconn *g, uint64_t at)
{
	if (g->fin_seen) {
		if (at != g->fin_at)
			sim_fail("connection %u: a second FIN", g->p->no);
		return;
	}
	g->fin_at = at;
	if (g->rcv != at)
		return;
	g->rcv++;
	g->fin_seen = true;
	trace("  guest %u: FIN", g->p->no);
}

static void acknowledge(struct gconn *g, bool now)
{
	if (now || !g->p->delack || ++g->unacked >= g->p->ack_every) {
		send_ack(g);
	} else if (!g->ack_due) {
		g->ack_due = true;
		sim_after(g->p->delack * MS, delayed_ack, g);
	}
}

static void on_data(struct gconn *g, const struct seg *s, uint64_t pos)
{
	uint64_t old = g->rcv, end = pos + s->len;

	/* What is kept for us counts as sent, and numbers of ACKs are the end of that,
	 * if it is as good as in the window: see empty_seq() */
	if (end > g->most + 1 +
		  (world.migrated && !s->len ? 1U << MAX(g->p->ws, 0) : 0))
		sim_fail("connection %u: data up to %llu, window up to %llu",
			 g->p->no, (unsigned long long)end,
			 (unsigned long long)g->most);
	if (g->p->mss > 0 && s->len > (size_t)MAX(g->p->mss, 536))
		sim_fail("connection %u: segment of %zu, MSS is %d", g->p->no,
			 s->len, g->p->mss);
	if (g->fin_seen && pos == g->rcv && s->len)
		sim_fail("connection %u: data after FIN", g->p->no);
	if (s->len)
		take(g, pos, s->data, s->len);
	if (s->flags & TCP_FIN && g->rcv >= end)
		on_fin(g, end);
	if (s->len || s->flags & TCP_FIN)
		acknowledge(g, g->rcv == old || g->rcv != end || g->fin_seen);
	if (g->rcv > old)
		app_later(g, rnd_in(US, g->p->pause[0] + US));
}

static void up(struct gconn *g, const struct seg *s)
{
	g->state = G_UP;
	g->p->guest_up = true;
	g->backoff = 0;
	g->rto_at = 0;
	g->wnd = s->win;
	app_later(g, 0);
}

static void take_options(struct gconn *g, const struct seg *s)
{
	if (s->stamps)
		sim_fail("connection %u: options we do not know", g->p->no);
	if (s->sack_ok && g->state == G_SYN_SENT && !g->p->sack)
		sim_fail("connection %u: SACK was not offered", g->p->no);
	g->sack = s->sack_ok && g->p->sack;
	g->irs = s->seq;
	g->rcv = 1;
	g->edge = MAX(g->edge, 1);
	g->mss = s->mss > 0 ? (unsigned)s->mss : 536;
	g->mss = MIN(g->mss, addr_is_v4(&g->us) ? 65480 : 65460);
	g->ws = s->ws >= 0 && g->p->ws >= 0 ? MIN((unsigned)s->ws, 14) : 0;
	if (s->ws < 0)
		g->p->ws = -1;
}

static void in_syn_sent(struct gconn *g, const struct seg *s)
{
	bool ack_ok = s->flags & TCP_ACK && s->ack == g->iss + 1;

	if (s->flags & TCP_RST) {
		if (!ack_ok) /* RFC 9293 3.10.7.3: ignored, and a trap */
			sim_fail("connection %u: RST without a good ACK",
				 g->p->no);
		g->p->guest_rst = true;
		die(g);
		return;
	}
	if (!(s->flags & TCP_SYN) || !ack_ok)
		sim_fail("connection %u: neither SYN-ACK nor RST: %s", g->p->no,
			 wire_flags(s->flags));
	take_options(g, s);
	g->una = g->nxt = 1;
	up(g, s);
	if (!g->p->third_data || !g->p->bytes[0])
		send_ack(g);
	else
		app(g);
}

static void on_reset(struct gconn *g, uint64_t pos)
{
	if (pos != g->rcv) { /* RFC 5961 3: only the exact one counts */
		if (pos > g->rcv && pos < g->edge)
			send_ack(g);
		return;
	}
	trace("  guest %u: reset", g->p->no);
	if (g->state == G_WAIT) /* closed already: nobody is told */
		return;
	g->p->guest_rst = true;
	die(g);
}

static void in_up(struct gconn *g, const struct seg *s)
{
	uint64_t pos = unwrap(g->rcv, s->seq - g->irs);
	uint64_t ack = unwrap(g->una, s->ack - g->iss);
	uint64_t end = pos + s->len + (s->flags & TCP_FIN ? 1 : 0);

	g->heard = sim.now;
	g->probes = g->tries = 0;
	if (s->flags & TCP_SYN) {
		if (g->state == G_SYN_RCVD && s->seq == g->irs)
			emit(g, 0, 0, TCP_SYN | TCP_ACK);
		else if (s->seq == g->irs || g->state == G_WAIT)
			send_ack(g); /* our ACK was lost, or a SYN late */
		else
			sim_fail("connection %u: SYN with number %u, not %u",
				 g->p->no, s->seq, g->irs);
		return;
	}
	if (s->flags & TCP_RST) {
		on_reset(g, pos);
		return;
	}
	if (!(s->flags & TCP_ACK))
		sim_fail("connection %u: segment without ACK", g->p->no);
	if (ack > g->max)
		sim_fail("connection %u: ACK of %llu, sent %llu", g->p->no,
			 (unsigned long long)ack, (unsigned long long)g->max);
	if (g->state == G_SYN_RCVD) {
		if (ack != 1)
			return;
		g->una = g->nxt = 1;
		up(g, s);
	}
	take_sack(g, s, ack);
	if (g->state == G_UP)
		on_ack(g, s, ack, pos);
	if (pos < g->rcv && end <= g->rcv) { /* old, or a keep-alive */
		if (s->len)
			g->p->dup_data++;
		send_ack(g);
	} else {
		on_data(g, s, pos);
	}
	finished(g);
}

/* --- the rest of the stack ------------------------------------------------ */

static struct gconn *new_conn(struct course *p, enum gstate state)
{
	struct gconn *g = calloc(1, sizeof(*g));

	g->p = p;
	p->g = g;
	g->state = state;
	g->us = guest_addr[p->v6];
	g->them = far_addr[p->v6];
	g->iss = p->iss;
	g->mss = 536;
	g->heard = sim.now;
	g->next = conns;
	conns = g;
	return g;
}

/* Linux does so after two hours; we have not got all day */
static void keep_alive(void *arg)
{
	struct gconn *g = arg;

	if (g->state != G_UP)
		return;
	if (sim.now - g->heard >= 75 * SEC) {
		if (++g->probes > 9) {
			if (g->p->ending == END_CLEAN)
				sim_fail("connection %u: keep-alives go "
					 "unanswered", g->p->no);
			die(g);
			return;
		}
		emit(g, g->nxt - 1, 0, TCP_ACK);
	}
	sim_after(75 * SEC, keep_alive, g);
}

void guest_open(struct course *p)
{
	struct gconn *g = new_conn(p, G_SYN_SENT);

	emit(g, 0, 0, TCP_SYN);
	g->nxt = 1;
	arm(g);
	sim_after(75 * SEC, keep_alive, g);
}

static void on_syn(const struct seg *s)
{
	struct course *p = plan_find(false, s->sport, s->dport);
	struct gconn *g;

	if (!p)
		sim_fail("SYN from port %u to %u: nobody's", s->sport,
			 s->dport);
	if (p->ending == END_GUEST_SILENT)
		return;
	if (p->ending == END_GUEST_REFUSES) {
		struct seg r = { .src = s->dst, .dst = s->src,
				 .proto = IPPROTO_TCP, .sport = s->dport,
				 .dport = s->sport, .ack = s->seq + 1,
				 .flags = TCP_RST | TCP_ACK, .mss = -1,
				 .ws = -1 };

		guest_send(&r);
		return;
	}
	g = new_conn(p, G_SYN_RCVD);
	g->them = s->src;
	take_options(g, s);
	emit(g, 0, 0, TCP_SYN | TCP_ACK);
	g->nxt = 1;
	arm(g);
	sim_after(75 * SEC, keep_alive, g);
}

/* RFC 9293 3.10.7.1: no such connection */
static void refuse(const struct seg *s)
{
	struct seg r = { .src = s->dst, .dst = s->src, .proto = IPPROTO_TCP,
			 .sport = s->dport, .dport = s->sport, .mss = -1,
			 .ws = -1, .flags = TCP_RST };

	if (s->flags & TCP_RST)
		return;
	if (s->flags & TCP_ACK) {
		r.seq = s->ack;
	} else {
		r.flags |= TCP_ACK;
		r.ack = s->seq + (uint32_t)s->len +
			!!(s->flags & TCP_SYN) + !!(s->flags & TCP_FIN);
	}
	guest_send(&r);
}

static void on_tcp(const struct seg *s)
{
	struct gconn *g;

	for (g = conns; g; g = g->next)
		if (g->p->gport == s->dport && g->p->fport == s->sport &&
		    addr_equal(&g->them, &s->src))
			break;
	if (g && g->state == G_SYN_SENT)
		in_syn_sent(g, s);
	else if (g && g->state != G_DEAD)
		in_up(g, s);
	else if (g && g->p->ending == END_GUEST_GONE)
		return; /* the guest is off */
	else if (!g && s->flags == TCP_SYN)
		on_syn(s);
	else
		refuse(s);
}

/* Unreachable: the end of a connection in SYN-SENT, as on Linux */
static void on_icmp(const struct seg *s)
{
	bool v4 = s->proto == IPPROTO_ICMP;
	const uint8_t *l4 = s->data + (v4 ? 28 : 48);
	struct gconn *g;

	if (s->icmp_type != (v4 ? 3 : 1) || s->len < (v4 ? 36U : 56U) ||
	    s->data[v4 ? 17 : 14] != IPPROTO_TCP)
		return;
	for (g = conns; g; g = g->next)
		if (g->state == G_SYN_SENT && g->p->gport == ld_be16(l4) &&
		    g->p->fport == ld_be16(l4 + 2)) {
			if (ld_be32(l4 + 4) != g->iss)
				sim_fail("connection %u: ICMP quotes another "
					 "number", g->p->no);
			g->p->guest_icmp = true;
			die(g);
			return;
		}
}

void guest_frame(const uint8_t *p, size_t len)
{
	const char *bad;
	struct seg s;

	bad = wire_parse(p, len, &s);
	if (bad)
		sim_fail("frame to the guest: %s", bad);
	if (s.ethertype == 0x806)
		return;
	if (s.frag && world.rings && s.proto == IPPROTO_UDP) {
		world.tap.refusals++; /* all its buffers do not hold a whole one */
		return;
	}
	if (policy_frame(&s))
		return;
	if (s.proto == IPPROTO_TCP)
		on_tcp(&s);
	else if (s.proto == IPPROTO_ICMP || s.proto == IPPROTO_ICMPV6)
		on_icmp(&s);
	else if (s.proto == IPPROTO_UDP)
		guest_udp(&s);
}
