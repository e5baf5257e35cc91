/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * tcp_in - segments from the guest
 *
 * RFC 9293 3.10.7 with the checks of RFC 5961: sequence number, RST, SYN, ACK,
 * data, FIN.  The in-order payload of a whole burst is collected and given to
 * the socket in one call.  What the socket does not take waits in the
 * connection's queue and is acknowledged all the same, because it cannot be
 * lost any more.  What comes behind a hole and is inside the window is kept,
 * and so is the number of a FIN there.
 */
#include "tcp_in.h"

#include "iov.h"
#include "log.h"
#include "tcp_path.h"

#include <errno.h>

enum { BURST_IOV = 256 };

/* What was collected from a burst */
struct burst {
	struct iovec iov[BURST_IOV];
	unsigned n;
	size_t len;
	unsigned gaps; /* segments that came behind a hole */
	uint32_t began; /* rcv_nxt + snd_una at its begin: shows progress */
	bool odd; /* a segment was not acceptable */
	bool ack; /* owe an ACK at the end of this turn */
	bool bulk; /* owe an ACK when the guest makes a pause */
	bool wake; /* there may be something to send to the guest now */
};

enum outcome { NEXT, ENDED };

/* Answer a segment that is not acceptable with an ACK that tells our state (RFC
 * 5961) */
static void challenge(struct burst *b)
{
	b->ack = b->odd = true;
}

/* Whether RST @p means that the guest's kernel has forgotten a connection which
 * the guest has closed.  Such a reset answers our probe, ACK or FIN, since the
 * guest had everything else, and acknowledges nothing, or what it answers (lwIP);
 * one of its own accord would acknowledge what the guest had before. */
static bool has_forgotten(const struct tcp_conn *c, const struct packet *p)
{
	bool all = c->snd_una == c->snd_max ||
		   (c->flags & CONN_EOF && c->snd_una == c->eof_seq);

	return all && c->flags & CONN_GUEST_FIN &&
	       (!(p->tcp_flags & TCP_ACK) || p->ack != c->snd_una);
}

/* Close the socket without a reset: what the guest has sent is still under way
 * to the host */
static enum outcome leave(struct tcp *t, struct flow *f)
{
	if (!(conn_of(f)->flags & CONN_SHUT))
		return NEXT;
	conn_remove(f);
	sock_close(conn_fd(f));
	conn_forget(t, f);
	return ENDED;
}

static enum outcome take_rst(struct tcp *t, struct flow *f,
			     const struct packet *p, struct burst *b)
{
	struct tcp_conn *c = conn_of(f);

	/* RFC 5961 3.2: a RST counts only at exactly rcv_nxt; elsewhere in the
	 * window the sender is challenged */
	if (p->seq == c->rcv_nxt) {
		if (has_forgotten(c, p))
			return leave(t, f);
		conn_abort(t, f);
		return ENDED;
	}
	/* It may have filled the window, and sent a byte more to probe it */
	if (!seq_before(p->seq, c->rcv_nxt) &&
	    !seq_after(p->seq, c->rcv_edge + 1))
		challenge(b);
	return NEXT;
}

/* Take the guest's window.  A keep-alive carries an old number but a valid
 * window; a segment that acknowledges more is newer whatever its number; of
 * equal ones the last to arrive is the newest. */
static void take_window(struct tcp *t, struct flow *f, const struct packet *p,
			bool newer, struct burst *b)
{
	struct tcp_conn *c = conn_of(f);
	uint32_t wnd = (uint32_t)p->window << c->snd_shift, was = c->snd_wnd;

	if (!newer && seq_before(p->seq + 1, c->snd_wl1))
		return;
	if (seq_after(p->seq, c->snd_wl1))
		c->snd_wl1 = p->seq;
	if (wnd > was) {
		b->wake = true;
		c->wnd_most = MAX(c->wnd_most, wnd);
	}
	c->snd_wnd = wnd;
	conn_shut(t, f, TCP_SHUT_GUEST, !wnd);
	/* How long the window was closed says nothing about the time-out */
	if (UNLIKELY(!was && wnd)) {
		c->retries = 0;
		c->flags &= (uint32_t)~CONN_RTO;
		if (c->snd_una != c->snd_max)
			conn_rto(t, f);
	}
	/* Linux closes its window when it drops what was in flight */
	if (!wnd && seq_before(c->snd_una, c->snd_nxt)) {
		loss_rewind(t, f);
		conn_rto(t, f);
	}
}

static void acknowledged(struct tcp *t, struct flow *f, uint32_t ack)
{
	struct tcp_conn *c = conn_of(f);
	uint32_t n = ack - c->snd_una;
	bool jumped = seq_before(c->snd_nxt, ack);

	c->snd_una = ack;
	if (jumped)
		c->snd_nxt = ack;
	if (seq_after(ack, c->recover)) /* or it would be ahead again once
					   numbers have wrapped */
		c->recover = ack;
	c->retries = 0;
	if (c->dup_acks | c->sacks)
		loss_past(c, n);
	conn_rtt_end(t, f, ack);
	c->flags &= (uint32_t)~(CONN_PROBE | CONN_SYN_AGAIN);

	/* Our FIN has a number, but no byte in a queue */
	if (c->flags & CONN_EOF && ack == c->eof_seq + 1)
		n--;
	if (c->flags & CONN_PEEK) {
		c->lazy += n;
		if (jumped)
			conn_peek_at(f, c->lazy);
	} else {
		chunk_drop(t->chunks, &c->keep, n);
	}
	if (c->snd_una == c->snd_max)
		c->flags &= (uint32_t)~CONN_RTO;
	else
		conn_rto(t, f);
}

/* Fast retransmission (RFC 5681 3.2), with the lower threshold of RFC 5827 if
 * few segments are in flight.  A lone FIN is left to the timer: the guest has
 * everything else. */
static void duplicate_ack(struct tcp *t, struct flow *f, struct burst *b)
{
	struct tcp_conn *c = conn_of(f);
	uint32_t flight = (c->snd_max - c->snd_una + c->mss - 1) / c->mss;
	uint32_t limit = flight > 3 ? 3 : flight > 1 ? flight - 1 : 1;
	uint32_t behind = c->dup_acks;

	if (c->sacks)
		behind = MAX(behind, loss_behind(c) / c->mss);
	if (c->flags & CONN_EOF && c->snd_una == c->eof_seq)
		return;
	if (!c->snd_wnd) /* it has dropped a zero-window probe */
		return;
	b->wake = true;
	if (c->flags & CONN_RECOVERY || behind < limit)
		return;
	/* Retransmissions cause duplicate ACKs of their own */
	if (!(c->flags & CONN_SACK) && seq_before(c->snd_una, c->recover))
		return;
	loss_seen(t, f);
	conn_rto(t, f);
}

/* Take an acceptable ACK.  With SACK, a duplicate ACK is one that reports
 * something new (RFC 6675 2), otherwise one that reports nothing. */
static void take_news(struct tcp *t, struct flow *f, const struct packet *p,
		      struct burst *b)
{
	struct tcp_conn *c = conn_of(f);
	uint32_t wnd = (uint32_t)p->window << c->snd_shift;
	bool newer = seq_after(p->ack, c->snd_una), dup;
	bool lossy = c->flags & CONN_LOSSY;
	uint32_t had = lossy ? loss_flight(c) : 0;

	if (newer) {
		acknowledged(t, f, p->ack);
		b->wake = true;
	}
	if (c->flags & CONN_SACK)
		dup = loss_sack(f, p);
	else
		dup = !newer && !p->payload_len && wnd == c->snd_wnd &&
		      !(p->tcp_flags & (TCP_SYN | TCP_FIN));
	if (dup && c->dup_acks < UINT8_MAX)
		c->dup_acks++;
	if (lossy)
		loss_acked(t, f, had, newer);
	if (dup && c->snd_una != c->snd_max)
		duplicate_ack(t, f, b);
}

static bool take_ack(struct tcp *t, struct flow *f, const struct packet *p,
		     struct burst *b)
{
	struct tcp_conn *c = conn_of(f);
	bool newer = seq_after(p->ack, c->snd_una);

	/* It acknowledges what was never sent, or long ago (RFC 5961 5) */
	if (seq_after(p->ack, c->snd_max) ||
	    seq_before(p->ack, c->snd_una - (65535U << TCP_SHIFT_MAX))) {
		challenge(b);
		return false;
	}
	c->flags |= CONN_HEARD;
	if (c->snd_una != c->snd_max && !seq_before(p->ack, c->snd_una))
		take_news(t, f, p, b);
	if (p->ack == c->snd_una)
		take_window(t, f, p, newer, b);
	return true;
}

/* Decide how soon new data are acknowledged.  RFC 9293 3.8.6.3: every second
 * full segment, and whenever less than two segments are left of the window, but
 * only once all that came together was taken.  A short segment is acknowledged
 * at the end of the turn, as its sender may have to wait for that before it
 * sends more (Nagle), unless an answer is likely to carry the ACK. */
static void see_ack(const struct tcp *t, struct flow *f, const struct packet *p,
		    struct burst *b)
{
	const struct tcp_conn *c = conn_of(f);
	uint32_t seg = MIN(c->mss, conn_mss(t, f));

	if (!(c->flags & CONN_PINGPONG) && p->payload_len < seg)
		b->ack = true;
	else if (c->rcv_nxt - c->rcv_acked >= 2 * seg ||
		 c->rcv_edge - c->rcv_nxt < 2 * seg)
		b->bulk = true;
}

/* Keep what is inside the window of a segment behind a hole */
static void take_ahead(struct tcp *t, struct flow *f, const struct packet *p,
		       struct burst *b)
{
	struct tcp_conn *c = conn_of(f);
	uint32_t from = p->seq, to = from + p->payload_len;
	size_t len;
	unsigned n;

	b->gaps++;
	if (c->flags & CONN_GUEST_FIN || !seq_before(from, c->rcv_edge))
		return;
	if (p->tcp_flags & TCP_FIN && !(c->flags & CONN_FIN_AHEAD) &&
	    !seq_after(to, c->rcv_edge)) {
		c->flags |= CONN_FIN_AHEAD;
		c->fin_seq = to;
	}
	if (seq_after(to, c->rcv_edge))
		to = c->rcv_edge;
	n = packet_iov(p, 0, to - from, b->iov + b->n, BURST_IOV - b->n, &len);
	ahead_put(&t->ahead, &c->ahead, from, b->iov + b->n, n, len);
}

/* Take what of the segment is new and inside the window; true if that includes
 * its end */
static bool take_data(struct tcp *t, struct flow *f, const struct packet *p,
		      struct burst *b)
{
	struct tcp_conn *c = conn_of(f);
	uint32_t skip = c->rcv_nxt - p->seq, len = p->payload_len;
	uint32_t room = c->rcv_edge - c->rcv_nxt;
	unsigned n;
	size_t got;

	if (seq_after(p->seq, c->rcv_nxt)) {
		take_ahead(t, f, p, b);
		return false;
	}
	if (skip > len) {
		challenge(b);
		return false;
	}
	if (len == skip) {
		if (len)
			challenge(b);
		return true;
	}
	if (c->flags & CONN_GUEST_FIN) { /* data behind the guest's own FIN */
		challenge(b);
		return false;
	}
	len = MIN(len - skip, room);
	n = packet_iov(p, skip, len, b->iov + b->n, BURST_IOV - b->n, &got);
	b->n += n;
	b->len += got;
	c->rcv_nxt += (uint32_t)got;
	if (skip || got < p->payload_len - skip)
		challenge(b);
	else
		see_ack(t, f, p, b);
	return got == p->payload_len - skip;
}

static void take_fin(struct flow *f, struct burst *b)
{
	const struct tcp_conn *c = conn_of(f);

	conn_fin(f);
	/* Our FIN is likely to follow and can carry the ACK; if it was sent
	 * already, this ACK is the last thing we have to say */
	if (c->flags & CONN_EOF && c->snd_una == c->eof_seq + 1)
		b->ack = true;
}

/* The guest has sent a keep-alive: the number before rcv_nxt and at most one
 * byte (RFC 9293 3.8.4) */
static void keepalive(struct flow *f, const struct packet *p, struct burst *b)
{
	struct tcp_conn *c = conn_of(f);

	b->ack = true;
	if (p->payload_len <= 1 && !(c->flags & CONN_KEEPALIVE)) {
		c->flags |= CONN_KEEPALIVE;
		(void)sock_keepalive(conn_fd(f));
	}
}

void tcp_in_open(struct tcp *t, struct flow *f)
{
	struct tcp_conn *c = conn_of(f);
	unsigned host = !conn_tap(f);

	c->state = TCP_OPEN;
	c->flags &= (uint32_t)~(CONN_RTO);
	c->retries = 0;
	c->recover = c->snd_una - 1;
	if (sock_can_peek(t->fwd->env, addr_is_v4(&f->side[host].theirs)))
		c->flags |= CONN_PEEK;
	conn_rtt_end(t, f, c->snd_una);
	loss_open(t, f);
	conn_timer(t, f);
	flow_wake(t->flows, f);
}

/* Before the handshake is done: a repeated SYN, or the first one of another attempt by the
 * same port, as the guest says nothing when it gives one up.  The former may have fewer
 * options than before: our answer to another one may be on its way, else the last one is
 * what the guest goes by. */
static void take_syn(struct tcp *t, struct flow *f, const struct packet *p)
{
	const struct tcp_conn *c = conn_of(f);

	if (c->state == TCP_CONNECTING || p->seq + 1 != c->rcv_nxt)
		conn_syn(t, f, p);
}

/* Handle a segment in SYN-RECEIVED or SYN-SENT.  True if it is to be processed
 * further, as one of an open connection.  *@o says whether the flow still
 * exists. */
static bool handshake(struct tcp *t, struct flow *f, const struct packet *p,
		      enum outcome *o)
{
	struct tcp_conn *c = conn_of(f);
	bool ack = p->tcp_flags & TCP_ACK, syn = p->tcp_flags & TCP_SYN;

	*o = NEXT;
	if (ack && p->ack != c->snd_max) {
		tcp_out_refuse(t, p);
		return false;
	}
	if (p->tcp_flags & TCP_RST) {
		/* In SYN-SENT the acknowledgement number proves that the RST is
		 * genuine, otherwise its sequence number does */
		if (c->state == TCP_SYN_SENT ? ack : p->seq == c->rcv_nxt) {
			conn_abort(t, f);
			*o = ENDED;
		}
		return false;
	}
	if (c->state == TCP_SYN_RCVD) {
		if (syn && !ack) { /* SYN-ACK was lost */
			take_syn(t, f, p);
			tcp_out_syn(t, f);
			return false;
		}
		if (syn || !ack || seq_after(p->seq, c->rcv_nxt))
			return false;
		c->snd_una++;
		c->snd_wl1 = p->seq;
		tcp_in_open(t, f);
		return true;
	}
	if (!syn || !ack)
		return false;
	c->rcv_nxt = c->rcv_acked = p->seq + 1;
	c->rcv_edge = c->rcv_nxt;
	c->snd_una++;
	conn_options(t, f, p);
	c->snd_wnd = c->wnd_most = p->window; /* not scaled in a SYN */
	c->snd_wl1 = p->seq;
	tcp_in_open(t, f);
	conn_ack_soon(t, f);
	return false;
}

static enum outcome take(struct tcp *t, struct flow *f, const struct packet *p,
			 struct burst *b)
{
	struct tcp_conn *c = conn_of(f);
	enum outcome o;

	c->active_ms = (uint32_t)t->flows->loop->now_ms;
	if (c->state == TCP_CONNECTING) {
		/* Repeated SYNs are not answered before connect() has
		 * succeeded; a RST takes the SYN back */
		if ((p->tcp_flags & (TCP_SYN | TCP_ACK | TCP_RST)) == TCP_SYN)
			take_syn(t, f, p);
		if (!(p->tcp_flags & TCP_RST) || p->seq != c->rcv_nxt)
			return NEXT;
		conn_abort(t, f);
		return ENDED;
	}
	if (c->state != TCP_OPEN && !handshake(t, f, p, &o))
		return o;

	if (p->tcp_flags & TCP_RST)
		return take_rst(t, f, p, b);
	if (p->tcp_flags & TCP_SYN || !(p->tcp_flags & TCP_ACK)) {
		if (p->tcp_flags & TCP_SYN)
			challenge(b);
		return NEXT;
	}
	if (!take_ack(t, f, p, b))
		return NEXT;
	if (p->payload_len <= 1 && p->seq + 1 == c->rcv_nxt &&
	    !(p->tcp_flags & TCP_FIN))
		keepalive(f, p, b);
	else if ((p->payload_len || p->tcp_flags & TCP_FIN) &&
		 take_data(t, f, p, b) && p->tcp_flags & TCP_FIN)
		take_fin(f, b);

	if (conn_finished(c)) {
		conn_close(t, f);
		return ENDED;
	}
	return NEXT;
}

/* Give what was collected to the socket; false: the socket is broken and @f was
 * freed, or will be */
static bool deliver(struct tcp *t, struct flow *f, struct burst *b)
{
	struct tcp_conn *c = conn_of(f);
	ssize_t sent = 0;
	int err;

	if (b->len && !c->out.len) {
		sent = conn_send(t, f, b->iov, b->n);
		if (sent < 0) {
			tcp_out_reset(t, f);
			return false;
		}
	}
	if (b->len > (size_t)sent) {
		size_t left = b->len - (size_t)sent, put;
		bool first = !c->out.len;

		put = chunk_put(t->chunks, &c->out, b->iov, b->n, (size_t)sent,
				left);
		/* The pool is used up: the rest is not acknowledged, so not
		 * lost */
		if (put < left) {
			c->rcv_nxt -= (uint32_t)(left - put);
			if (c->flags & CONN_GUEST_FIN) {
				c->flags &= (uint32_t)~CONN_GUEST_FIN;
				c->rcv_nxt--;
			}
		}
		f->drains = true;
		if (first)
			conn_refused(t, f, true);
	}
	if (UNLIKELY(c->ahead.first) && c->flags & CONN_GUEST_FIN)
		ahead_drop(&t->ahead, &c->ahead);
	b->len = 0;
	b->n = 0;
	if (c->out.len || !conn_waits(c))
		return true;
	err = conn_flush(t, f);
	if (err)
		tcp_out_reset(t, f);
	return !err;
}

/* After a burst: decide which ACKs are owed, and whether there is something to
 * send.  Duplicate ACKs are counted by the guest, so without SACK a hole is
 * reported as often as RFC 5681 requires for fast retransmission, but no more;
 * with SACK one ACK reports what is missing. */
static void settle(struct tcp *t, struct flow *f, const struct burst *b)
{
	enum { DUP_ACKS = 3 };
	struct tcp_conn *c = conn_of(f);
	bool sack = c->flags & CONN_SACK;
	unsigned i;

	for (i = 0; !sack && i < MIN(b->gaps, (unsigned)DUP_ACKS); i++)
		if (!tcp_out_ack(t, f))
			break;
	if (UNLIKELY(b->odd))
		flow_odd(f);
	else if (c->rcv_nxt + c->snd_una != b->began)
		flow_even(f);
	if (b->ack || (sack && b->gaps))
		conn_ack_soon(t, f);
	else if (b->bulk)
		conn_ack_bulk(t, f);
	else if (c->rcv_nxt != c->rcv_acked)
		conn_ack_late(t, f);
	if (c->lazy)
		conn_discard(t, f);
	if (b->wake)
		flow_wake(t->flows, f);
	if (UNLIKELY(c->flags & CONN_PATH))
		path_look(t, f);
}

struct packet *tcp_in_burst(struct tcp *t, struct flow *f, struct packet *list)
{
	const struct tcp_conn *c = conn_of(f);
	struct packet *p, *next;
	struct burst b;

	if (c->flags & (CONN_RESET | CONN_HELD))
		return NULL;
	b.n = b.gaps = 0;
	b.len = 0;
	b.began = c->rcv_nxt + c->snd_una;
	b.ack = b.bulk = b.wake = b.odd = false;
	for (p = list; p; p = next) {
		next = p->next;
		/* There must be room for all pieces of a scattered frame */
		if (b.n + p->frame->iov_cnt > BURST_IOV && !deliver(t, f, &b))
			return p;
		if (p->tcp_flags & TCP_RST && b.len && !deliver(t, f, &b))
			return p;
		if (UNLIKELY((p->tos & ~PATH_ECN) != c->tos)) {
			if (b.len && !deliver(t, f, &b))
				return p;
			path_mark(f, p);
		}
		if (take(t, f, p, &b) == ENDED)
			return next;
	}
	if (deliver(t, f, &b))
		settle(t, f, &b);
	return NULL;
}
