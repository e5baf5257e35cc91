/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * tcp_loss - loss detection and recovery on the guest's link
 *
 * An emulated network card has few buffers, and loses the tail of what comes at
 * once.  So what matters is to send less at once, and not to wait for the
 * retransmission timer.
 *
 * The link is a queue in which nothing overtakes: what was sent before
 * something that has arrived has arrived as well, or never will.  The
 * algorithms are those of RFC 5681 and RFC 6582, and with SACK RFC 6675.  In
 * recovery the window is opened in slow start as well (as in RFC 6937), since a
 * burst of retransmissions would lose its tail again.
 */
#include "tcp_loss.h"

enum {
	DUP_THRESH = 3, /* RFC 5681, 3.2 */
	CWND_LEAST = 4, /* segments; RFC 5681 has two, for links shared with
			   others */
	LOSSY_MS = 60 * 1000, /* time for which a loss is remembered */
};

static uint32_t overlap(const struct span *s, uint32_t from, uint32_t to)
{
	uint32_t a = seq_before(s->from, from) ? from : s->from;
	uint32_t b = seq_before(to, s->to) ? to : s->to;

	return seq_before(a, b) ? b - a : 0;
}

/* Bytes from @from to @to that the guest is not known to have */
static uint32_t missing(const struct tcp_conn *c, uint32_t from, uint32_t to)
{
	uint32_t n = to - from;
	unsigned i;

	if (!seq_before(from, to))
		return 0;
	for (i = 0; i < c->sacks; i++)
		n -= overlap(&c->sack[i], from, to);
	return n;
}

uint32_t loss_behind(const struct tcp_conn *c)
{
	return c->snd_max - c->snd_una - missing(c, c->snd_una, c->snd_max);
}

static uint32_t highest_sack(const struct tcp_conn *c)
{
	return c->sacks ? c->sack[c->sacks - 1].to : c->snd_una;
}

static bool repeats(const struct tcp_conn *c)
{
	return c->snd_nxt != c->snd_max && seq_before(c->snd_nxt, c->lost);
}

/* Without SACK, each duplicate ACK is for a segment behind the hole */
uint32_t loss_flight(const struct tcp_conn *c)
{
	uint32_t n = missing(c, c->snd_una, c->snd_max), away = 0;

	if (!(c->flags & CONN_SACK) && c->flags & CONN_RECOVERY)
		away = (uint32_t)c->dup_acks * c->mss;
	return n > away ? n - away : 0;
}

/* RFC 6675's pipe: bytes in flight.  Those that are to be sent again are
 * not. */
static uint32_t pipe(const struct tcp_conn *c)
{
	uint32_t n = loss_flight(c), lost = 0;

	if (repeats(c))
		lost = missing(c, c->snd_nxt, c->lost);
	return n > lost ? n - lost : 0;
}

static void go_to(struct flow *f, uint32_t seq)
{
	struct tcp_conn *c = conn_of(f);

	c->snd_nxt = seq;
	if (c->flags & CONN_PEEK)
		conn_peek_at(f, c->lazy + seq - c->snd_una);
}

/* Move snd_nxt past what the guest has, and from the end of what is lost to
 * what is new */
static void place(struct flow *f)
{
	struct tcp_conn *c = conn_of(f);
	uint32_t at = c->snd_nxt;
	unsigned i;

	if (at == c->snd_max)
		return;
	for (i = 0; i < c->sacks; i++)
		if (!seq_before(at, c->sack[i].from) &&
		    seq_before(at, c->sack[i].to))
			at = c->sack[i].to;
	if (seq_after(at, c->again))
		c->again = at;
	if (!seq_before(at, c->lost))
		at = c->snd_max;
	if (at != c->snd_nxt)
		go_to(f, at);
}

/* Bytes from snd_nxt to the end of the hole; UINT32_MAX (no limit) if nothing
 * is being sent again, or the hole reaches snd_max */
static uint32_t hole(const struct tcp_conn *c)
{
	uint32_t end = c->lost;
	unsigned i;

	if (!repeats(c))
		return UINT32_MAX;
	for (i = c->sacks; i > 0; i--)
		if (seq_after(c->sack[i - 1].from, c->snd_nxt))
			end = c->sack[i - 1].from;
	return seq_before(end, c->snd_max) ? end - c->snd_nxt : UINT32_MAX;
}

uint32_t loss_room(struct flow *f)
{
	const struct tcp_conn *c = conn_of(f);
	uint32_t room, used;

	place(f);
	if (!(c->flags & CONN_LOSSY))
		return hole(c);
	used = pipe(c);
	room = c->cwnd > used ? c->cwnd - used : 0;
	/* The segment that the guest waits for is sent whatever else is in
	 * flight */
	if (room < c->mss)
		room = c->snd_nxt == c->snd_una ? c->mss : 0;
	room -= room % c->mss;
	return MIN(room, hole(c));
}

/* --- the window ------------------------------------------------------------ */

static uint64_t now_ms(const struct tcp *t)
{
	return t->flows->loop->now_ms;
}

void loss_open(struct tcp *t, struct flow *f)
{
	struct tcp_conn *c = conn_of(f);
	const struct tcp_link *l = &t->link;

	if (!l->lost_ms || now_ms(t) - l->lost_ms > LOSSY_MS)
		return;
	c->flags |= CONN_LOSSY;
	c->ssthresh = c->cwnd = MAX(l->ssthresh, (uint32_t)CWND_LEAST * c->mss);
}

/* Begin to send everything before @lost again that the guest does not have */
static void back(struct tcp *t, struct flow *f, uint32_t lost)
{
	struct tcp_conn *c = conn_of(f);

	conn_rtt_off(t, f);
	c->lost = lost;
	c->again = c->snd_una;
	if (c->snd_nxt != c->snd_una)
		go_to(f, c->snd_una);
}

void loss_rewind(struct tcp *t, struct flow *f)
{
	struct tcp_conn *c = conn_of(f);

	c->sacks = 0;
	/* Duplicate ACKs caused by the retransmission itself are no loss */
	c->recover = c->snd_max;
	back(t, f, c->snd_max);
}

/* A loss: set the slow start threshold (RFC 5681 3.1, (4)) */
static void less(struct tcp *t, struct tcp_conn *c)
{
	uint32_t flight = c->snd_max - c->snd_una;

	if (c->flags & CONN_LOSSY)
		flight = MIN(flight, c->cwnd);
	c->flags |= CONN_LOSSY;
	c->ssthresh = MAX(flight / 2, (uint32_t)CWND_LEAST * c->mss);
	t->link.ssthresh = c->ssthresh;
	t->link.lost_ms = now_ms(t);
}

static void recover(struct tcp *t, struct flow *f, uint32_t lost)
{
	struct tcp_conn *c = conn_of(f);

	c->flags |= CONN_RECOVERY;
	c->recover = c->snd_max;
	back(t, f, lost);
	c->cwnd = MIN(c->ssthresh, pipe(c) + c->mss);
}

void loss_seen(struct tcp *t, struct flow *f)
{
	struct tcp_conn *c = conn_of(f);
	uint32_t lost = highest_sack(c);

	t->count.fast++;
	less(t, c);
	if (!c->sacks)
		lost = c->snd_una + MIN((uint32_t)c->mss,
					c->snd_max - c->snd_una);
	recover(t, f, lost);
}

void loss_time_out(struct tcp *t, struct flow *f)
{
	struct tcp_conn *c = conn_of(f);

	t->count.timeouts++;
	/* RFC 2018 8: the guest may have dropped what it had SACKed.  The loss
	 * of a single segment says nothing about bursts. */
	if (c->retries > 1)
		c->sacks = 0;
	else if (c->snd_max - c->snd_una > c->mss)
		less(t, c);
	c->dup_acks = 0;
	c->recover = c->snd_max;
	if (c->flags & CONN_LOSSY)
		recover(t, f, c->snd_max);
	else
		back(t, f, c->snd_max);
}

/* Everything before @lost is now known to be lost.  That is no longer in the
 * pipe, but is no reason to fill the pipe at once. */
static void more_lost(struct flow *f, uint32_t lost)
{
	struct tcp_conn *c = conn_of(f);
	uint32_t before = pipe(c), gone, at;

	if (!seq_before(c->lost, lost))
		return;
	c->lost = lost;
	at = seq_before(c->again, c->snd_una) ? c->snd_una : c->again;
	if (c->snd_nxt == c->snd_max && missing(c, at, lost)) {
		c->recover = c->snd_max;
		go_to(f, at);
	}
	gone = before - MIN(pipe(c), before);
	c->cwnd = c->cwnd > gone + c->mss ? c->cwnd - gone : c->mss;
}

/* RFC 6582 3.2 (3): the next hole begins where a partial ACK ends */
static void partial(struct flow *f)
{
	struct tcp_conn *c = conn_of(f);

	if (c->flags & CONN_SACK) {
		more_lost(f, c->recover);
	} else if (c->snd_nxt == c->snd_max) {
		c->lost = c->snd_una + MIN((uint32_t)c->mss,
					   c->snd_max - c->snd_una);
		go_to(f, c->snd_una);
	}
}

static void grow(struct tcp *t, struct tcp_conn *c, uint32_t got)
{
	if (c->cwnd < c->ssthresh)
		c->cwnd = MIN(c->cwnd + got, c->ssthresh);
	else
		c->cwnd += MAX((uint32_t)((uint64_t)c->mss * got / c->cwnd),
			       1U);
	if (c->cwnd >= TCP_WINDOW_MAX)
		c->flags &= ~(uint32_t)CONN_LOSSY;
	(void)t;
}

void loss_acked(struct tcp *t, struct flow *f, uint32_t had, bool newer)
{
	struct tcp_conn *c = conn_of(f);
	uint32_t got = had - MIN(had, loss_flight(c));

	if (!(c->flags & CONN_RECOVERY)) {
		if (now_ms(t) - t->link.lost_ms > LOSSY_MS)
			c->flags &= ~(uint32_t)CONN_LOSSY;
		/* A window that was not used must not grow (RFC 7661) */
		else if (newer && 2 * had >= c->cwnd)
			grow(t, c, got);
		return;
	}
	if (!seq_before(c->snd_una, c->recover)) {
		c->flags &= ~(uint32_t)CONN_RECOVERY;
		c->dup_acks = 0;
		c->cwnd = MIN(c->ssthresh, MAX(pipe(c), (uint32_t)c->mss) +
						   c->mss);
		return;
	}
	c->cwnd = MIN(c->ssthresh, c->cwnd + got);
	if (seq_after(highest_sack(c), c->recover) &&
	    seq_before(c->snd_una, c->again)) {
		/* What was sent later has arrived: the retransmission was
		 * lost */
		less(t, c);
		recover(t, f, highest_sack(c));
		return;
	}
	more_lost(f, highest_sack(c));
	if (newer)
		partial(f);
}

/* --- selective acknowledgements -------------------------------------------- */

static void forget(struct tcp_conn *c)
{
	unsigned i, n = 0;

	for (i = 0; i < c->sacks; i++) {
		struct span s = c->sack[i];

		if (!seq_before(c->snd_una, s.to))
			continue;
		/* It begins where a hole should be: the guest has dropped what
		 * it had */
		if (!seq_before(c->snd_una, s.from)) {
			n = 0;
			break;
		}
		c->sack[n++] = s;
	}
	c->sacks = (uint8_t)n;
}

void loss_past(struct tcp_conn *c, uint32_t n)
{
	/* RFC 6582 3.2 (5): fewer segments than were counted are still behind
	 * the hole */
	if (!(c->flags & CONN_RECOVERY))
		c->dup_acks = 0;
	else
		c->dup_acks -= (uint8_t)MIN(n / c->mss, (uint32_t)c->dup_acks);
	forget(c);
}

/* Add a block: blocks are kept in order, joined where they touch, and only the
 * lowest are kept.  False if it was known. */
static bool add(struct tcp_conn *c, struct span new)
{
	enum { MOST = sizeof(c->sack) / sizeof(c->sack[0]) };
	struct span out[MOST + 1];
	unsigned i = 0, n = 0;

	while (i < c->sacks && seq_before(c->sack[i].to, new.from))
		out[n++] = c->sack[i++];
	if (i < c->sacks && !seq_after(c->sack[i].from, new.from) &&
	    !seq_before(c->sack[i].to, new.to))
		return false;
	for (; i < c->sacks && !seq_after(c->sack[i].from, new.to); i++) {
		if (seq_before(c->sack[i].from, new.from))
			new.from = c->sack[i].from;
		if (seq_after(c->sack[i].to, new.to))
			new.to = c->sack[i].to;
	}
	out[n++] = new;
	while (i < c->sacks && n < MOST)
		out[n++] = c->sack[i++];
	n = MIN(n, (unsigned)MOST);
	memcpy(c->sack, out, n * sizeof(out[0]));
	c->sacks = (uint8_t)n;
	return true;
}

bool loss_sack(struct flow *f, const struct packet *p)
{
	struct rd opt = conn_option_bytes(p), in;
	struct tcp_conn *c = conn_of(f);
	bool new = false;
	uint8_t kind;

	while ((kind = conn_option(&opt, &in)))
		while (kind == OPT_SACK && rd_left(&in) >= 8) {
			struct span s;

			s.from = rd_be32(&in);
			s.to = rd_be32(&in);
			/* RFC 2883: a D-SACK, for what the guest got twice, is
			 * below snd_una */
			if (seq_after(s.from, c->snd_una) &&
			    seq_before(s.from, s.to) &&
			    !seq_after(s.to, c->snd_max))
				new |= add(c, s);
		}
	return new;
}
