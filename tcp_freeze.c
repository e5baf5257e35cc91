/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * tcp_freeze - connections as sections of a state
 *
 * Writes everything in struct tcp_conn, in this order; deadlines as the time
 * until then.  The socket itself is handed over as a descriptor, and nothing of
 * it changes except that it is watched anew.
 */
#include "tcp_freeze.h"

#include "freeze.h"
#include "tcp_path.h"

static uint32_t now_ms(const struct tcp *t)
{
	return (uint32_t)t->flows->loop->now_ms;
}

#define WORD(field) offsetof(struct tcp_conn, field)

/* A newer version adds at the end of what tcp_freeze() writes, not here */
static const size_t words[] = {
	WORD(snd_una), WORD(snd_nxt), WORD(snd_max), WORD(snd_wnd),
	WORD(snd_wl1), WORD(recover), WORD(lost), WORD(again), WORD(cwnd),
	WORD(ssthresh), WORD(sack[0].from), WORD(sack[0].to),
	WORD(sack[1].from), WORD(sack[1].to), WORD(sack[2].from),
	WORD(sack[2].to), WORD(eof_seq), WORD(rcv_nxt), WORD(rcv_edge),
	WORD(rcv_acked), WORD(room), WORD(room_seen), WORD(lazy), WORD(passed),
}, times[] = {
	WORD(rto_due), WORD(ack_due), WORD(stale_due), WORD(active_ms),
}, queues[] = {
	WORD(out), WORD(keep),
};

#undef WORD

static uint32_t *word(struct tcp_conn *c, size_t off)
{
	return (uint32_t *)(void *)((char *)c + off);
}

static struct chunk_queue *queue(struct tcp_conn *c, size_t off)
{
	return (struct chunk_queue *)(void *)((char *)c + off);
}

static void put_queue(const struct tcp *t, const struct chunk_queue *q,
		      struct wr *w)
{
	struct iovec iov;
	size_t off;

	wr_be32(w, q->len);
	for (off = 0; off < q->len; off += iov.iov_len) {
		chunk_iov(t->chunks, q, off, q->len - off, &iov, 1);
		wr_bytes(w, iov.iov_base, iov.iov_len);
	}
}

static bool get_queue(struct tcp *t, struct chunk_queue *q, struct rd *r)
{
	size_t len = rd_be32(r);
	const void *bytes = rd_view(r, len);
	struct iovec iov = { (void *)(uintptr_t)bytes, len };

	return bytes && chunk_put(t->chunks, q, &iov, 1, 0, len) == len;
}

/* Write out-of-order runs.  The first one has a place in front of the others,
 * where older versions have their only one. */
static void put_runs(const struct tcp *t, const struct tcp_conn *c,
		     const struct ahead_run *r, struct wr *w)
{
	wr_be16(w, c->ahead.n - !!c->ahead.n);
	while (r && (r = ahead_run(&t->ahead, &c->ahead, r))) {
		wr_be32(w, r->seq);
		put_queue(t, &r->bytes, w);
	}
}

static bool get_run(struct tcp *t, struct tcp_conn *c, uint32_t seq,
		    struct rd *r)
{
	size_t len = rd_be32(r);
	const void *bytes = rd_view(r, len);
	struct iovec iov = { (void *)(uintptr_t)bytes, len };

	if (bytes && len)
		ahead_put(&t->ahead, &c->ahead, seq, &iov, 1, len);
	return bytes;
}

static bool get_runs(struct tcp *t, struct tcp_conn *c, struct rd *r)
{
	unsigned n = rd_be16(r);

	while (n--) {
		uint32_t seq = rd_be32(r);

		if (!get_run(t, c, seq, r))
			return false;
	}
	return true;
}

void tcp_freeze(void *owner, struct flow *f, struct wr *w)
{
	const struct chunk_queue none = { 0 };
	struct tcp_conn *c = conn_of(f);
	const struct ahead_run *r;
	struct tcp *t = owner;
	unsigned i;

	r = ahead_run(&t->ahead, &c->ahead, NULL);
	for (i = 0; i < ARRAY_SIZE(words); i++)
		wr_be32(w, *word(c, words[i]));
	wr_be32(w, r ? r->seq : 0);
	wr_be32(w, c->flags);
	for (i = 0; i < ARRAY_SIZE(times); i++)
		wr_be32(w, *word(c, times[i]) - now_ms(t));
	wr_bytes(w, c->mac.b, sizeof(c->mac.b));
	wr_be16(w, c->mss);
	wr_u8(w, c->state);
	wr_u8(w, c->sends);
	wr_u8(w, c->ack_waits);
	wr_u8(w, c->snd_shift);
	wr_u8(w, c->rcv_shift);
	wr_u8(w, c->retries);
	wr_u8(w, c->asks);
	wr_u8(w, c->dup_acks);
	wr_u8(w, c->sacks);
	for (i = 0; i < ARRAY_SIZE(queues); i++)
		put_queue(t, queue(c, queues[i]), w);
	put_queue(t, r ? &r->bytes : &none, w);
	wr_u8(w, c->tos);
	wr_be16(w, c->path_mtu);
	put_runs(t, c, r, w);
	wr_be32(w, c->fin_seq);
	wr_be32(w, c->ahead.last);
	wr_be32(w, c->wnd_most);
}

static void get_small(struct tcp_conn *c, struct rd *r)
{
	rd_copy(r, c->mac.b, sizeof(c->mac.b));
	c->mss = rd_be16(r);
	c->state = rd_u8(r) & 3;
	c->sends = rd_u8(r) & 3;
	c->ack_waits = rd_u8(r) & 15;
	c->snd_shift = rd_u8(r) & 15;
	c->rcv_shift = rd_u8(r) & 15;
	c->retries = rd_u8(r) & 15;
	c->asks = rd_u8(r) & 15;
	c->dup_acks = rd_u8(r);
	c->sacks = rd_u8(r) & 3;
}

/* Whether the numbers are what the code relies on */
static bool sane(const struct flow *f, const struct tcp_conn *c)
{
	uint32_t flight = c->snd_max - c->snd_una;

	if (f->side[conn_tap(f)].pif != PIF_TAP ||
	    f->side[!conn_tap(f)].pif != PIF_HOST ||
	    (conn_fd(f) < 0 && !(c->flags & CONN_RESET)))
		return false;
	if (c->mss < TCP_MSS_MIN || c->snd_shift > TCP_SHIFT_MAX ||
	    c->rcv_shift > TCP_SHIFT_MAX || c->retries > TCP_RETRIES ||
	    c->asks > TCP_ASKS)
		return false;
	if (c->snd_nxt - c->snd_una > flight || (int32_t)flight < 0)
		return false;
	/* The bytes in flight, and our FIN, which has no byte */
	return c->state != TCP_OPEN || c->flags & (CONN_PEEK | CONN_RESET) ||
	       c->keep.len == flight ||
	       (c->flags & CONN_EOF && c->keep.len + 1 == flight);
}

/* Restore what is kept elsewhere: lists, counters, timers.  The peek offset is
 * the socket's, and is what it was, as nobody has read since.  If we come too
 * late, and our predecessor goes on, it must not be moved back. */
static void resume(struct tcp *t, struct flow *f, uint32_t flags)
{
	struct tcp_conn *c = conn_of(f);
	uint8_t waits = c->ack_waits;

	conn_shut(t, f, TCP_SHUT_GUEST, flags & CONN_SHUT_GUEST);
	conn_shut(t, f, TCP_SHUT_HOST, flags & CONN_SHUT_HOST);
	if (flags & CONN_ACK_NOW)
		conn_ack_soon(t, f);
	c->ack_waits = waits & 15;
	f->drains = c->state == TCP_CONNECTING || c->out.len;
	if (c->state == TCP_CONNECTING)
		flow_lone(t->flows, f);
	conn_fit(t, f);
	conn_timer(t, f);
	flow_wake(t->flows, f);
}

bool tcp_thaw(void *owner, struct flow *f, struct rd *r)
{
	const uint32_t elsewhere = CONN_ACK_NOW | CONN_SHUT_GUEST |
				   CONN_SHUT_HOST;
	struct tcp_conn *c = conn_of(f);
	struct tcp *t = owner;
	uint32_t flags, seq;
	bool ok = true;
	unsigned i;

	for (i = 0; i < ARRAY_SIZE(words); i++)
		*word(c, words[i]) = rd_be32(r);
	seq = rd_be32(r);
	c->flags = rd_be32(r);
	for (i = 0; i < ARRAY_SIZE(times); i++)
		*word(c, times[i]) = rd_be32(r) + now_ms(t);
	get_small(c, r);
	for (i = 0; i < ARRAY_SIZE(queues); i++)
		ok = ok && get_queue(t, queue(c, queues[i]), r);
	ok = ok && get_run(t, c, seq, r);
	if (ok && rd_left(r)) { /* since the version that has path_look() */
		c->tos = rd_u8(r) & (uint8_t)~PATH_ECN;
		c->path_mtu = rd_be16(r);
	}
	if (ok && rd_left(r)) {	/* since the version that keeps more than one
				   run */
		ok = get_runs(t, c, r);
		c->fin_seq = rd_be32(r);
		c->ahead.last = rd_be32(r);
	}
	/* Older versions do not write it: the largest window that is known */
	c->wnd_most = ok && rd_left(r) ? rd_be32(r) : c->snd_wnd;
	flags = c->flags;
	c->flags &= ~elsewhere;
	if (ok && rd_ok(r) && sane(f, c)) {
		resume(t, f, flags);
		return true;
	}
	for (i = 0; i < ARRAY_SIZE(queues); i++)
		chunk_drop(t->chunks, queue(c, queues[i]),
			   queue(c, queues[i])->len);
	ahead_drop(&t->ahead, &c->ahead);
	return false;
}

void tcp_forget(void *owner, struct flow *f)
{
	conn_forget(owner, f);
}

void tcp_save(struct tcp *t, struct wr *w)
{
	const struct tcp_link *l = &t->link;
	size_t at = w->len;
	uint16_t n = 0;
	unsigned i;

	wr_be16(w, 0);
	for (i = 0; i < TCP_PAST_SETS * TCP_PAST_WAYS; i++) {
		const struct tcp_past *p =
			&t->past[i / TCP_PAST_WAYS][i % TCP_PAST_WAYS];
		uint64_t age = t->flows->loop->now_ms - p->ended_ms;

		if (p->side.pif != PIF_TAP || age > TCP_PAST_MS)
			continue;
		freeze_side(w, &p->side);
		wr_be32(w, p->snd_nxt);
		wr_be32(w, p->rcv_nxt);
		wr_be32(w, (uint32_t)age);
		n++;
	}
	wr_patch_be16(w, at, n);
	wr_be32(w, l->srtt_us);
	wr_be32(w, l->rttvar_us);
	wr_be32(w, l->ssthresh);
	wr_be64(w, l->lost_ms ? t->flows->loop->now_ms - l->lost_ms :
				UINT64_MAX);
}

void tcp_load(struct tcp *t, struct rd *r)
{
	uint64_t now = t->flows->loop->now_ms, age;
	struct tcp_link *l = &t->link;
	unsigned n = rd_be16(r);

	while (n-- && rd_ok(r)) {
		struct tcp_past p = { 0 };

		thaw_side(r, &p.side);
		p.snd_nxt = rd_be32(r);
		p.rcv_nxt = rd_be32(r);
		p.ended_ms = now - rd_be32(r);
		if (rd_ok(r))
			conn_remember(t, &p);
	}
	l->srtt_us = rd_be32(r);
	l->rttvar_us = rd_be32(r);
	l->ssthresh = rd_be32(r);
	age = rd_be64(r);
	if (rd_ok(r) && age < now)
		l->lost_ms = now - age;
}
