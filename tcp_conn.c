/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * tcp_conn - state and windows of a connection
 *
 * The window offered to the guest follows the free room of the socket's send
 * buffer.  It is never closed on an estimate, because only a refused write
 * makes the kernel report when there is room again.  While the socket takes
 * everything, at least TCP_WINDOW_MIN is offered.  What it then refuses waits
 * in @out, and the window stays closed until @out is empty.
 */
#include "tcp_conn.h"

#include "icmp.h"
#include "iov.h"
#include "log.h"

#include <errno.h>
#include <netinet/in.h>

enum {
	ISS_TICK_SHIFT = 5,  /* RFC 6528: a clock that ticks every 32 ns */
	ISS_APART = 1 << 16, /* distance from the last number of the connection
				before */
};

static uint32_t now_ms(const struct tcp *t)
{
	return (uint32_t)t->flows->loop->now_ms;
}

/* The initial sequence number (RFC 6528).  For a connection that we begin it is
 * beyond what the guest may still expect in TIME-WAIT: the numbers of a fast
 * connection run ahead of the clock (RFC 9293 3.4.3). */
static uint32_t first_number(struct tcp *t, const struct side *tap, bool ours)
{
	uint64_t h = flow_hash(t->flows, IPPROTO_TCP, tap);
	uint32_t seq = (uint32_t)h + (uint32_t)(h >> 32) +
		       (uint32_t)(t->flows->loop->now_ns >> ISS_TICK_SHIFT);
	const struct tcp_past *past = ours ? conn_past(t, tap) : NULL;

	if (past && !seq_after(seq, past->snd_nxt))
		seq = past->snd_nxt + ISS_APART;
	return seq;
}

void conn_init(struct tcp *t, struct flow *f, enum tcp_state state)
{
	struct tcp_conn *c = conn_of(f);
	const struct side *tap = &f->side[conn_tap(f)];
	const struct lan *lan = t->fwd->lan;

	c->state = state;
	c->snd_una = first_number(t, tap, state == TCP_SYN_SENT);
	c->snd_nxt = c->snd_max = c->recover = c->snd_una;
	c->mss = TCP_MSS_DEFAULT;
	c->rcv_shift = TCP_SHIFT;
	if (state == TCP_SYN_SENT) { /* accepted, see sock_accept() */
		c->flags = CONN_OFFSET;
		c->sends = 2;
	}
	c->room = c->room_seen = TCP_WINDOW_MIN;
	c->active_ms = c->ack_due = now_ms(t);
	c->mac = *neigh_mac(t->neigh, &tap->ours,
			    addr_is_v4(&tap->ours) ? &lan->gw4 : &lan->gw6,
			    &lan->mac);
}

uint16_t conn_mss(const struct tcp *t, const struct flow *f)
{
	unsigned mss = lan_mtu(t->fwd->lan) - conn_head(f);

	/* A window of less than one MSS makes a sender wait for its 200 ms
	 * timer.  A sender that hands us runs of segments loses nothing by
	 * short ones. */
	return (uint16_t)(t->tap->caps.tso_in ?
				  MIN(mss, (unsigned)TCP_MSS_RUNS) : mss);
}

void conn_fit(const struct tcp *t, struct flow *f)
{
	size_t max = t->tap->caps.frame_max, head = ETH_HEAD + conn_head(f);
	struct tcp_conn *c = conn_of(f);

	if (head + c->mss > max)
		c->mss = (uint16_t)(max > head + TCP_MSS_MIN ? max - head
							     : TCP_MSS_MIN);
}

void conn_set_mss(const struct tcp *t, struct flow *f, unsigned mss)
{
	unsigned max = lan_mtu(t->fwd->lan) - conn_head(f);

	conn_of(f)->mss = (uint16_t)MIN(MAX(mss, (unsigned)TCP_MSS_MIN), max);
	conn_fit(t, f);
}

struct rd conn_option_bytes(const struct packet *p)
{
	struct rd in = packet_l4(p);
	size_t len;

	rd_skip(&in, 12);
	len = (size_t)(rd_u8(&in) >> 4) * 4;
	rd_skip(&in, TCP_HEAD - 13);
	return rd_sub(&in, len > TCP_HEAD ? len - TCP_HEAD : 0);
}

uint8_t conn_option(struct rd *opt, struct rd *value)
{
	while (rd_left(opt)) {
		uint8_t kind = rd_u8(opt), len;

		if (kind == OPT_END)
			break;
		if (kind == OPT_NOP)
			continue;
		len = rd_u8(opt);
		if (len < 2)
			break;
		*value = rd_sub(opt, len - 2U);
		return kind;
	}
	return 0;
}

void conn_options(struct tcp *t, struct flow *f, const struct packet *p)
{
	struct rd opt = conn_option_bytes(p), value;
	struct tcp_conn *c = conn_of(f);
	unsigned mss = TCP_MSS_DEFAULT;
	bool scale = false;
	uint8_t kind;

	while ((kind = conn_option(&opt, &value))) {
		if (kind == OPT_MSS && rd_left(&value) == 2) {
			mss = rd_be16(&value);
		} else if (kind == OPT_SCALE && rd_left(&value) == 1) {
			uint8_t shift = rd_u8(&value);

			/* RFC 7323 2.3; it may be any byte */
			c->snd_shift = MIN(shift, (uint8_t)TCP_SHIFT_MAX) & 15;
			scale = true;
		} else if (kind == OPT_SACK_OK) {
			c->flags |= CONN_SACK;
		}
	}
	if (!scale)
		c->snd_shift = c->rcv_shift = 0;
	conn_set_mss(t, f, mss);
}

void conn_syn(struct tcp *t, struct flow *f, const struct packet *p)
{
	struct tcp_conn *c = conn_of(f);

	c->rcv_nxt = c->rcv_edge = c->rcv_acked = p->seq + 1;
	c->snd_wl1 = p->seq;
	c->snd_wnd = c->wnd_most = p->window; /* not scaled in a SYN */
	c->snd_shift = 0;
	c->rcv_shift = TCP_SHIFT;
	c->flags &= (uint32_t)~CONN_SACK;
	conn_options(t, f, p);
}

/* Bytes that we are ready to take from the guest now */
static uint32_t can_take(const struct tcp *t, const struct flow *f,
			 const struct tcp_conn *c)
{
	const struct tap_caps *caps = &t->tap->caps;
	uint64_t frames = caps->queue ? caps->queue : TCP_QUEUE;
	uint32_t max = TCP_WINDOW_MAX, want;

	if (c->out.len)
		return 0;
	/* What exceeds the link's queue would be lost there, unless a run of
	 * segments is one frame in it */
	if (!caps->tso_in)
		max = (uint32_t)MIN(frames * c->mss, (uint64_t)max);
	want = MAX(c->room, MAX((uint32_t)TCP_WINDOW_MIN,
				4U * conn_mss(t, f)));
	return MIN(want, max);
}

uint16_t conn_window(struct tcp *t, struct flow *f)
{
	struct tcp_conn *c = conn_of(f);
	uint32_t unit = 1U << c->rcv_shift, max = 65535U << c->rcv_shift;
	uint32_t edge = c->rcv_nxt + MIN(can_take(t, f, c), max);
	uint32_t left = c->rcv_edge - c->rcv_nxt, seg = conn_mss(t, f);

	/* RFC 9293 3.8.6.2.2: a window is enlarged by at least a segment,
	 * unless less than one is left: a sender must never wait for that with
	 * a whole segment */
	if (seq_after(edge, c->rcv_edge) &&
	    (left < seg || edge - c->rcv_edge >= seg))
		c->rcv_edge = edge;
	left = c->rcv_edge - c->rcv_nxt;
	/* Round up, or scaling would take back what was promised */
	left = MIN((left + unit - 1) >> c->rcv_shift, 65535U);
	if (seq_after(c->rcv_nxt + (left << c->rcv_shift), c->rcv_edge))
		c->rcv_edge = c->rcv_nxt + (left << c->rcv_shift);
	conn_shut(t, f, TCP_SHUT_HOST, !left);
	return (uint16_t)left;
}

uint64_t tcp_shut_ns(const struct tcp *t, enum tcp_shutter by)
{
	const struct tcp_shut *s = &t->count.shut[by];

	return s->ns + s->n * (t->flows->loop->now_ns - s->since_ns);
}

void conn_count_shut(struct tcp *t, struct flow *f, enum tcp_shutter by,
		     bool shut)
{
	uint32_t flag = (uint32_t)CONN_SHUT_GUEST << by;
	struct tcp_shut *s = &t->count.shut[by];
	struct tcp_conn *c = conn_of(f);

	if (shut == !!(c->flags & flag))
		return;
	s->ns = tcp_shut_ns(t, by);
	s->since_ns = t->flows->loop->now_ns;
	c->flags ^= flag;
	s->n += shut ? 1 : -1U;
}

void conn_ack_soon(struct tcp *t, struct flow *f)
{
	struct tcp_conn *c = conn_of(f);

	c->ack_waits = 0;
	if (c->flags & CONN_ACK_NOW)
		return;
	c->flags |= CONN_ACK_NOW;
	c->ack_next = t->acks;
	c->ack_prev = &t->acks;
	if (c->ack_next)
		conn_of(c->ack_next)->ack_prev = &c->ack_next;
	t->acks = f;
}

void conn_ack_bulk(struct tcp *t, struct flow *f)
{
	enum { TURNS = 15 };
	struct tcp_conn *c = conn_of(f);
	bool urgent = c->flags & CONN_ACK_NOW && !c->ack_waits;

	conn_ack_soon(t, f);
	if (!urgent && 2 * (c->rcv_nxt - c->rcv_acked) <
			       c->rcv_edge - c->rcv_nxt)
		c->ack_waits = TURNS;
}

void conn_ack_late(struct tcp *t, struct flow *f)
{
	struct tcp_conn *c = conn_of(f);

	if (c->flags & (CONN_ACK_NOW | CONN_ACK_LATE))
		return;
	c->flags |= CONN_ACK_LATE;
	c->ack_due = now_ms(t) + TCP_ACK_DELAY_MS;
	conn_timer(t, f);
}

void conn_acked(struct tcp *t, struct flow *f)
{
	struct tcp_conn *c = conn_of(f);

	(void)t;
	if (c->flags & CONN_ACK_NOW) {
		*c->ack_prev = c->ack_next;
		if (c->ack_next)
			conn_of(c->ack_next)->ack_prev = c->ack_prev;
	}
	c->flags &= ~(CONN_ACK_NOW | CONN_ACK_LATE);
}

/* RFC 6298 2.2, 2.3 */
void conn_rtt_measured(struct tcp *t)
{
	struct tcp_link *l = &t->link;
	uint32_t us = (uint32_t)MIN((t->flows->loop->now_ns - l->sent_ns) / 1000,
				    (uint64_t)TCP_RTT_MAX_US);
	uint32_t off = us > l->srtt_us ? us - l->srtt_us : l->srtt_us - us;

	l->timed = NULL;
	if (!l->srtt_us) {
		l->srtt_us = MAX(us, 1U);
		l->rttvar_us = us / 2;
		return;
	}
	l->rttvar_us = l->rttvar_us - l->rttvar_us / 4 + off / 4;
	l->srtt_us = MAX(l->srtt_us - l->srtt_us / 8 + us / 8, 1U);
}

/* The least time-out on a link that loses frames, where losses should be found
 * soon: only the ACK of a single segment in order may be delayed (RFC 5681
 * 4.2) */
static uint32_t rto_lossy(const struct tcp_link *l, const struct tcp_conn *c)
{
	if (c->snd_nxt - c->snd_una <= c->mss && !c->sacks && !c->dup_acks)
		return TCP_RTO_LONE_MS;
	return l->rttvar_us < TCP_EVEN_US ? TCP_RTO_EVEN_MS : TCP_RTO_HOLE_MS;
}

static uint32_t rto_ms(const struct tcp *t, const struct tcp_conn *c)
{
	const struct tcp_link *l = &t->link;
	uint32_t least = TCP_RTO_MIN_MS;
	uint64_t ms = TCP_RTO_MS;

	if (c->flags & CONN_LOSSY && c->snd_wnd)
		least = rto_lossy(l, c);
	if (c->flags & CONN_SYN_AGAIN)
		ms = TCP_RTO_SYN_MS;
	else if (l->srtt_us)
		ms = l->srtt_us / 1000 +
		     MAX(l->rttvar_us / 250, least);

	if (c->state == TCP_SYN_RCVD || c->state == TCP_SYN_SENT) {
		unsigned n = c->retries;

		ms = TCP_RTO_MS;
		ms <<= n > t->syn_linear ? n - t->syn_linear : 0;
	} else {
		ms <<= c->retries;
	}
	return (uint32_t)MIN(ms, (uint64_t)t->rto_max_ms);
}

void conn_rto(struct tcp *t, struct flow *f)
{
	struct tcp_conn *c = conn_of(f);

	c->flags |= CONN_RTO;
	c->rto_due = now_ms(t) + rto_ms(t, c);
	conn_timer(t, f);
}

void conn_timer(struct tcp *t, struct flow *f)
{
	struct tcp_conn *c = conn_of(f);
	uint64_t now = t->flows->loop->now_ms;
	int32_t left = TCP_PROBE_IDLE_MS -
		       (int32_t)(((uint32_t)now - c->active_ms) %
				 TCP_PROBE_IDLE_MS);

	if (c->flags & CONN_RTO)
		left = MIN(left, (int32_t)(c->rto_due - (uint32_t)now));
	if (c->flags & CONN_ACK_LATE)
		left = MIN(left, (int32_t)(c->ack_due - (uint32_t)now));
	if (c->flags & CONN_STALE)
		left = MIN(left, (int32_t)(c->stale_due - (uint32_t)now));
	if (c->out.len && c->asks)
		left = MIN(left, TCP_ASK_MS << (c->asks - 1));
	flow_timer(t->flows, f, now + (uint64_t)MAX(left, 1));
}

void conn_refused(struct tcp *t, struct flow *f, bool took)
{
	struct tcp_conn *c = conn_of(f);

	if (took)
		c->asks = 1;
	else if (c->asks)
		c->asks = c->asks < TCP_ASKS ? c->asks + 1 : 0;
	if (c->asks) {
		conn_timer(t, f);
	} else if (!(c->flags & CONN_HEARS)) {
		/* Nothing has moved for a while: perhaps a router says why */
		c->flags |= CONN_HEARS;
		sock_hear_errors(conn_fd(f),
				 addr_is_v4(&f->side[!conn_tap(f)].theirs));
	}
}

/* Ask for the room in the send buffer again, if the socket has taken most of
 * what it had */
static void look_for_room(struct flow *f)
{
	struct tcp_conn *c = conn_of(f);
	ssize_t room;

	if (c->room > c->room_seen / 4)
		return;
	room = sock_room(conn_fd(f));
	/* TCP_WINDOW_MIN is offered anyway, so less need not be known */
	c->room = (uint32_t)MIN(MAX(room, (ssize_t)TCP_WINDOW_MIN),
				(ssize_t)TCP_WINDOW_MAX);
	c->room_seen = c->room;
	c->flags |= CONN_PATH;
}

bool conn_soft(struct tcp *t, struct flow *f, int err)
{
	struct sock_error e;

	if (!err || err == -EAGAIN || !sock_lives(conn_fd(f)))
		return false;
	memset(&e, 0, offsetof(struct sock_error, payload));
	icmp_refuse(&t->limit, t->tap, t->fwd, &f->side[conn_tap(f)],
		    IPPROTO_TCP, conn_of(f)->rcv_nxt, err, &e);
	return true;
}

ssize_t conn_send(struct tcp *t, struct flow *f, const struct iovec *iov,
		  unsigned n)
{
	struct tcp_conn *c = conn_of(f);
	ssize_t sent;

	if (c->sends < 2 && (++c->sends == 2 || n > 1 ||
			     !sock_is_few(iov->iov_len))) {
		c->sends = 2;
		(void)sock_nodelay(conn_fd(f));
	}
	sent = sock_send(conn_fd(f), iov, n);
	if (sent < 0 && conn_soft(t, f, (int)sent))
		sent = sock_send(conn_fd(f), iov, n);
	if (sent < 0)
		return sent == -EAGAIN ? 0 : sent;
	c->room -= MIN(c->room, (uint32_t)sent);
	look_for_room(f);
	return sent;
}

/* If a hole was filled, move the bytes behind it from @ahead to @out */
static void join(struct tcp *t, struct tcp_conn *c)
{
	if (!c->out.len)
		c->rcv_nxt += ahead_take(&t->ahead, &c->ahead, c->rcv_nxt,
					 &c->out);
}

void conn_fin(struct flow *f)
{
	struct tcp_conn *c = conn_of(f);

	c->flags &= (uint32_t)~CONN_FIN_AHEAD;
	if (c->flags & CONN_GUEST_FIN)
		return;
	c->flags |= CONN_GUEST_FIN;
	c->rcv_nxt++;
	/* There are no numbers behind the FIN, so the edge is not before it */
	if (seq_before(c->rcv_edge, c->rcv_nxt))
		c->rcv_edge = c->rcv_nxt;
}

static int drain(struct tcp *t, struct flow *f)
{
	enum { PIECES = 64 };
	struct tcp_conn *c = conn_of(f);
	struct iovec iov[PIECES];

	for (join(t, c); c->out.len; join(t, c)) {
		unsigned n = chunk_iov(t->chunks, &c->out, 0, c->out.len, iov,
				       PIECES);
		size_t all = iov_size(iov, n);
		ssize_t sent = conn_send(t, f, iov, n);

		if (sent < 0)
			return (int)sent;
		chunk_drop(t->chunks, &c->out, (size_t)sent);
		if ((size_t)sent < all) {
			conn_refused(t, f, sent > 0);
			return 0;
		}
	}
	f->drains = false;
	if (!(c->flags & CONN_GUEST_FIN))
		conn_ack_soon(t, f); /* the window is open again */
	return 0;
}

int conn_flush(struct tcp *t, struct flow *f)
{
	struct tcp_conn *c = conn_of(f);
	int err = c->out.len || c->ahead.first ? drain(t, f) : 0;

	if (UNLIKELY(c->flags & CONN_FIN_AHEAD) && c->rcv_nxt == c->fin_seq) {
		conn_fin(f);
		ahead_drop(&t->ahead, &c->ahead);
		conn_ack_soon(t, f);
	}
	if (err || c->out.len || !(c->flags & CONN_GUEST_FIN) ||
	    c->flags & CONN_SHUT)
		return err;
	c->flags |= CONN_SHUT;
	/* What stays in the receive queue would have to be removed before
	 * close() anyway; and until then each event that wakes the socket would
	 * report it again */
	if (c->snd_una == c->snd_nxt)
		conn_remove(f);
	err = sock_shut_write(conn_fd(f));
	/* The peer has reset the connection already, which the next read will
	 * show */
	return err == -ENOTCONN ? 0 : err;
}

void conn_peek_at(struct flow *f, uint32_t off)
{
	struct tcp_conn *c = conn_of(f);

	if (!off && !(c->flags & CONN_OFFSET))
		return;
	c->flags |= CONN_OFFSET | CONN_ASTRAY;
	if (!sock_peek_to(conn_fd(f), off))
		c->flags &= (uint32_t)~CONN_ASTRAY;
}

/* How many acknowledged bytes may stay in the socket's receive queue, so that
 * one call removes many.  They count against the peer's window: while the
 * buffer is small they could leave it less than a segment (64 KiB on loopback),
 * which makes a sender wait for its 200 ms timer.  And they pin more than
 * themselves, as the kernel coalesces what arrives: the last byte of such a
 * buffer holds all of it.  So when nothing is in flight, little may stay, not a
 * byte after a read that was large or left something, and nothing for long. */
static uint32_t lazy_limit(const struct tcp_conn *c)
{
	if (c->snd_una != c->snd_max && c->flags & CONN_ROOMY)
		return TCP_LAZY_BUFFER / 4;
	return c->flags & CONN_LARGE ? 1 : TCP_LAZY;
}

void conn_remove(struct flow *f)
{
	struct tcp_conn *c = conn_of(f);
	ssize_t gone;

	if (!c->lazy)
		return;
	if (c->lazy < TCP_LAZY && c->snd_una == c->snd_max)
		c->flags &= (uint32_t)~CONN_LARGE;
	gone = sock_discard(conn_fd(f), c->lazy);
	c->lazy -= gone > 0 ? (uint32_t)gone : 0;
	c->flags &= (uint32_t)~CONN_STALE;
}

void conn_discard(struct tcp *t, struct flow *f)
{
	struct tcp_conn *c = conn_of(f);

	if (c->lazy && c->lazy >= lazy_limit(c)) {
		c->passed += c->lazy;
		conn_remove(f);
		/* The kernel enlarges buffers as they are used */
		if (c->passed < TCP_LAZY_BUFFER)
			return;
		c->passed = 0;
		if (!(c->flags & CONN_ROOMY) &&
		    sock_rcvbuf(conn_fd(f)) >= TCP_LAZY_BUFFER)
			c->flags |= CONN_ROOMY;
	} else if (c->lazy && c->snd_una == c->snd_max) {
		c->stale_due = now_ms(t) + TCP_STALE_MS;
		if (!(c->flags & CONN_STALE)) {
			c->flags |= CONN_STALE;
			conn_timer(t, f);
		}
	}
}

void conn_stale(struct tcp *t, struct flow *f)
{
	struct tcp_conn *c = conn_of(f);

	if (c->flags & CONN_STALE && !seq_before(now_ms(t), c->stale_due))
		conn_remove(f);
}

bool conn_finished(const struct tcp_conn *c)
{
	return c->flags & CONN_SHUT && c->flags & CONN_EOF &&
	       c->snd_una == c->eof_seq + 1 && c->rcv_acked == c->rcv_nxt;
}

/* The set of entries in which @key belongs */
static struct tcp_past *past_set(struct tcp *t, const struct side *key)
{
	uint64_t h = flow_hash(t->flows, IPPROTO_TCP, key);

	return t->past[h % ARRAY_SIZE(t->past)];
}

static uint64_t past_age(const struct tcp *t, const struct tcp_past *p)
{
	return p->side.pif == PIF_TAP ? t->flows->loop->now_ms - p->ended_ms :
					UINT64_MAX;
}

/* Replaces the oldest entry of the set, so that many connections that end at
 * once do not evict each other */
void conn_remember(struct tcp *t, const struct tcp_past *p)
{
	struct tcp_past *set = past_set(t, &p->side);
	struct tcp_past *to = conn_past(t, &p->side);
	unsigned i;

	if (!to)
		for (to = set, i = 1; i < TCP_PAST_WAYS; i++)
			if (past_age(t, &set[i]) > past_age(t, to))
				to = &set[i];
	*to = *p;
}

struct tcp_past *conn_past(struct tcp *t, const struct side *key)
{
	struct tcp_past *set = past_set(t, key), *p;

	for (p = set; p < set + TCP_PAST_WAYS; p++)
		if (past_age(t, p) <= TCP_PAST_MS &&
		    p->side.our_port == key->our_port &&
		    p->side.their_port == key->their_port &&
		    addr_equal(&p->side.ours, &key->ours) &&
		    addr_equal(&p->side.theirs, &key->theirs))
			return p;
	return NULL;
}

static void let_go(struct tcp *t, struct flow *f)
{
	struct tcp_conn *c = conn_of(f);

	conn_rtt_off(t, f);
	conn_acked(t, f);
	conn_shut(t, f, TCP_SHUT_GUEST, false);
	conn_shut(t, f, TCP_SHUT_HOST, false);
	chunk_drop(t->chunks, &c->out, c->out.len);
	chunk_drop(t->chunks, &c->keep, c->keep.len);
	ahead_drop(&t->ahead, &c->ahead);
}

void conn_close(struct tcp *t, struct flow *f)
{
	const struct tcp_past p = { .side = f->side[conn_tap(f)],
				    .snd_nxt = conn_of(f)->snd_nxt,
				    .rcv_nxt = conn_of(f)->rcv_nxt,
				    .ended_ms = t->flows->loop->now_ms };

	/* Unread bytes would make close() send a reset */
	conn_remove(f);
	sock_close(conn_fd(f));
	conn_remember(t, &p);
	let_go(t, f);
	flow_free(t->flows, f);
}

void conn_forget(struct tcp *t, struct flow *f)
{
	let_go(t, f);
	flow_free(t->flows, f);
}

void conn_abort(struct tcp *t, struct flow *f)
{
	if (conn_fd(f) >= 0)
		sock_abort(conn_fd(f));
	conn_forget(t, f);
}

void conn_reset(struct tcp *t, struct flow *f)
{
	if (conn_fd(f) >= 0)
		sock_abort(conn_fd(f));
	f->side[!conn_tap(f)].fd = -1;
	f->ready[!conn_tap(f)] = 0;
	f->drains = false;
	let_go(t, f);
	conn_of(f)->flags = CONN_RESET;
	conn_ack_soon(t, f);
	conn_timer(t, f);
}
