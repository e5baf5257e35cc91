/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * tcp_out - segments to the guest
 *
 * The socket's receive queue is our retransmission queue: bytes are peeked at,
 * and removed when the guest has acknowledged them.  Where the kernel cannot
 * peek at an offset, they are read at once and a copy is kept.  To go back is
 * to move snd_nxt, and the peek offset with it.
 */
#include "tcp_out.h"

#include "iov.h"
#include "log.h"

#include <linux/virtio_net.h>

#include <errno.h>
#include <netinet/in.h>

enum {
	RUN_MAX = 65535 - IP6_HEAD - TCP_HEAD, /* IP's length field has 16
						  bits */
	SYN_WINDOW = 65535,
	RUNS = 5,	/* most runs filled by one read: a turn's budget, at any
			   MTU */
	RUNS_IOV = 256, /* most iovec entries of these; otherwise one run is
			   read */
	ASIDE = 256 << 10, /* more than a run */
	TAKE_IOV = 64, /* blocks of the pool; RUNS of the longest runs fill half
			  as many */
};

static uint32_t now_ms(const struct tcp *t)
{
	return (uint32_t)t->flows->loop->now_ms;
}

static struct head head_for(const struct tcp *t, struct flow *f)
{
	const struct side *s = &f->side[conn_tap(f)];

	return (struct head){
		.src = conn_of(f)->mac,
		.dst = t->fwd->seen->mac,
		.t = { .src = s->ours, .dst = s->theirs,
		       .sport = s->our_port, .dport = s->their_port,
		       .proto = IPPROTO_TCP },
		.lane = f->heavy ? LANE_BULK :
			flow_rude(f) ? LANE_OTHER : LANE_CONN,
	};
}

static uint8_t gso_type(const struct flow *f)
{
	return addr_is_v4(&f->side[conn_tap(f)].ours) ?
		       VIRTIO_NET_HDR_GSO_TCPV4 :
		       VIRTIO_NET_HDR_GSO_TCPV6;
}

/* Send a segment without payload; false if the guest has no room */
static bool put(struct tcp *t, struct flow *f, struct tcp_head *th)
{
	const struct head h = head_for(t, f);
	size_t head = ETH_HEAD + conn_head(f) + th->opt_len;
	struct slot s;
	struct note n;

	if (!tap_reserve(t->tap, &s, 1, head, 0, 0))
		return false;
	packet_put_tcp(s.head, &h, th, 0, &n);
	s.lane = h.lane;
	tap_commit(t->tap, &s, 0, &n);
	return true;
}

/* The sequence number for an empty segment, one that the guest finds
 * acceptable.  That is snd_max: after going back snd_nxt is an old number,
 * whose window the guest ignores by RFC 9293.  If the guest has taken back part
 * of its window, it is the window's end, unless only scaling has cut that. */
static uint32_t empty_seq(const struct tcp_conn *c)
{
	uint32_t end = c->snd_una + c->snd_wnd;

	if (!seq_before(end, c->snd_max) ||
	    c->snd_max - end < 1U << c->snd_shift)
		return c->snd_max;
	return end;
}

/* Add a SACK option for what came behind holes */
static void put_sack(const struct tcp *t, const struct tcp_conn *c,
		     struct tcp_head *th)
{
	enum { MOST = 4 }; /* that 40 bytes hold */
	struct span s[MOST];
	unsigned n = ahead_spans(&t->ahead, &c->ahead, c->rcv_nxt, s, MOST), i;
	const uint8_t head[] = { OPT_NOP, OPT_NOP, OPT_SACK,
				 (uint8_t)(2 + 8 * n) };

	if (!n)
		return;
	memcpy(th->opt, head, sizeof(head));
	for (i = 0; i < n; i++) {
		st_be32(&th->opt[4 + 8 * i], s[i].from);
		st_be32(&th->opt[8 + 8 * i], s[i].to);
	}
	th->opt_len = (uint8_t)(4 + 8 * n);
}

bool tcp_out_ack(struct tcp *t, struct flow *f)
{
	struct tcp_conn *c = conn_of(f);
	struct tcp_head th;

	th.seq = empty_seq(c);
	th.ack = c->rcv_nxt;
	th.window = conn_window(t, f);
	th.flags = TCP_ACK;
	th.opt_len = 0;
	if (c->ahead.first && c->flags & CONN_SACK)
		put_sack(t, c, &th);
	if (!put(t, f, &th))
		return false;
	if (c->rcv_nxt != c->rcv_acked)
		c->ack_due = now_ms(t) + TCP_ACK_DELAY_MS;
	c->rcv_acked = c->rcv_nxt;
	conn_acked(t, f);
	return true;
}

void tcp_out_probe(struct tcp *t, struct flow *f)
{
	struct tcp_conn *c = conn_of(f);
	struct tcp_head th = { .seq = c->snd_una - 1, .ack = c->rcv_nxt,
			       .window = conn_window(t, f), .flags = TCP_ACK };

	put(t, f, &th);
}

bool tcp_out_syn(struct tcp *t, struct flow *f)
{
	struct tcp_conn *c = conn_of(f);
	bool answer = c->state == TCP_SYN_RCVD;
	struct tcp_head th = {
		.seq = c->snd_una,
		.ack = answer ? c->rcv_nxt : 0,
		.flags = answer ? TCP_SYN | TCP_ACK : TCP_SYN,
		.window = SYN_WINDOW, /* never scaled */
		.opt = { OPT_MSS, 4, 0, 0 },
		.opt_len = 4,
	};

	st_be16(&th.opt[2], conn_mss(t, f));
	if (!answer || c->rcv_shift) {
		memcpy(&th.opt[4], (uint8_t[]){ OPT_NOP, OPT_SCALE, 3,
						TCP_SHIFT }, 4);
		th.opt_len = 8;
	}
	if (!answer || c->flags & CONN_SACK) {
		memcpy(&th.opt[th.opt_len], (uint8_t[]){ OPT_NOP, OPT_NOP,
							 OPT_SACK_OK, 2 }, 4);
		th.opt_len += 4;
	}
	c->snd_nxt = c->snd_una + 1;
	if (c->snd_max == c->snd_una)
		conn_rtt_begin(t, f, c->snd_nxt);
	else
		conn_rtt_off(t, f);
	c->snd_max = c->snd_nxt;
	c->rcv_edge = c->rcv_nxt + SYN_WINDOW;
	c->rcv_acked = c->rcv_nxt;
	conn_rto(t, f);
	if (put(t, f, &th)) {
		conn_acked(t, f);
		return true;
	}
	conn_ack_soon(t, f); /* once there is room, see tcp_turn_end() */
	return false;
}

/* Send RST; false if the guest has no room.  A RST counts only at the number
 * that the receiver expects next (RFC 5961 3.2).  For the guest this is behind
 * everything it was sent or, if it was short of memory or frames were lost,
 * behind what it has acknowledged: so one is sent at each.  Otherwise the guest
 * would have to send a challenge ACK, and Linux limits how often it does. */
static bool put_reset(struct tcp *t, struct flow *f)
{
	struct tcp_conn *c = conn_of(f);
	struct tcp_head th = { .seq = c->snd_nxt, .ack = c->rcv_nxt,
			       .flags = TCP_RST | TCP_ACK };

	if (c->state == TCP_OPEN)
		th.seq = empty_seq(c);
	/* A guest that was sent nothing yet accepts the RST by its
	 * acknowledgement number */
	if (c->state == TCP_CONNECTING)
		th.seq = 0;
	if (c->state == TCP_SYN_SENT)
		th.flags = TCP_RST;
	if (!put(t, f, &th))
		return false;
	if (c->state != TCP_OPEN || c->snd_una == th.seq)
		return true;
	/* If there is no room for the second one, only that is still owed */
	c->snd_nxt = c->snd_max = c->snd_una;
	th.seq = c->snd_una;
	return put(t, f, &th);
}

bool tcp_out_reset(struct tcp *t, struct flow *f)
{
	struct tcp_conn *c = conn_of(f);

	/* A guest that has not answered our SYN yet will get its RST when it
	 * does */
	if (put_reset(t, f) || c->state == TCP_SYN_SENT) {
		conn_abort(t, f);
		return true;
	}
	if (!(c->flags & CONN_RESET))
		conn_reset(t, f);
	return false;
}

static void put_stray(struct tcp *t, const struct packet *p,
		      struct tcp_head *th)
{
	const struct lan *lan = t->fwd->lan;
	struct head h = {
		.dst = p->smac,
		.t = { .src = p->t.dst, .dst = p->t.src, .sport = p->t.dport,
		       .dport = p->t.sport, .proto = IPPROTO_TCP },
	};
	struct slot s;
	struct note n;

	h.src = *neigh_mac(t->neigh, &p->t.dst,
			   addr_is_v4(&p->t.dst) ? &lan->gw4 : &lan->gw6,
			   &lan->mac);
	if (!tap_reserve(t->tap, &s, 1, head_len(&h.t) + TCP_HEAD, 0, 0))
		return;
	packet_put_tcp(s.head, &h, th, 0, &n);
	tap_commit(t->tap, &s, 0, &n);
}

void tcp_out_refuse(struct tcp *t, const struct packet *p)
{
	struct tcp_head th = { .seq = p->ack, .flags = TCP_RST };

	if (p->tcp_flags & TCP_RST)
		return;
	if (!(p->tcp_flags & TCP_ACK)) {
		th.seq = 0;
		th.flags = TCP_RST | TCP_ACK;
		th.ack = p->seq + p->payload_len +
			 !!(p->tcp_flags & TCP_SYN) +
			 !!(p->tcp_flags & TCP_FIN);
	}
	put_stray(t, p, &th);
}

bool tcp_out_stray(struct tcp *t, const struct packet *p)
{
	const struct side key = { .ours = p->t.dst, .theirs = p->t.src,
				  .our_port = p->t.dport,
				  .their_port = p->t.sport, .pif = PIF_TAP };
	bool syn = (p->tcp_flags & (TCP_SYN | TCP_ACK | TCP_RST)) == TCP_SYN;
	struct tcp_past *past = conn_past(t, &key);
	struct tcp_head th = { .flags = TCP_ACK };

	if (past && p->tcp_flags & TCP_RST) {
		past->side.pif = PIF_NONE;
		return true;
	}
	/* RFC 9293 3.10.7.4: a newer SYN begins another connection */
	if (syn && (!past || seq_after(p->seq, past->rcv_nxt)))
		return false;
	if (!past) {
		tcp_out_refuse(t, p);
		return true;
	}
	/* TIME-WAIT: our last ACK was lost, or this is late.  A bare ACK needs
	 * no answer. */
	if (!p->payload_len && !(p->tcp_flags & (TCP_FIN | TCP_SYN)))
		return true;
	th.seq = past->snd_nxt;
	th.ack = past->rcv_nxt;
	put_stray(t, p, &th);
	return true;
}

/* Bytes that the guest's window has room for; 1 if a closed window is to be
 * probed */
static uint32_t window_left(const struct tcp_conn *c)
{
	uint32_t end = c->snd_una + c->snd_wnd;

	if (seq_before(c->snd_nxt, end))
		return end - c->snd_nxt;
	return c->flags & CONN_PROBE && c->snd_nxt == c->snd_una ? 1 : 0;
}

static bool at_end(const struct tcp_conn *c)
{
	return c->flags & CONN_EOF && !seq_before(c->snd_nxt, c->eof_seq);
}

/* Silly window syndrome avoidance (RFC 9293 3.8.6.2.1): whether to wait with the
 * @left bytes of the window, since they are less than a segment and less than
 * half of the largest window.  All that is queued is sent at once if it fits; so
 * is what fits when the timer has expired (CONN_PROBE). */
static SELDOM bool silly(struct flow *f, uint32_t left)
{
	const struct tcp_conn *c = conn_of(f);
	uint32_t sent = c->flags & CONN_PEEK ?
				c->lazy + c->snd_nxt - c->snd_una : 0;

	if (!left)
		return true;
	if (left >= MIN((uint32_t)c->mss, c->wnd_most / 2) ||
	    c->flags & CONN_PROBE || c->snd_nxt != c->snd_max)
		return false;
	if (c->flags & CONN_EOF)
		return !at_end(c) && c->eof_seq - c->snd_nxt > left;
	return sock_unread(conn_fd(f)) > sent + left;
}

/* The longest run to send.  Longer ones than 64 KiB are made only of large
 * segments: a router in the namespace whose next link does not take them has to
 * cut them, into few.  What is retransmitted, perhaps because it was too long
 * for somebody, is sent in shorter runs. */
static uint32_t run_max(struct tcp *t, struct flow *f)
{
	enum { LARGE = 16384 };
	const struct tcp_conn *c = conn_of(f);
	uint32_t big = t->tap->caps.big4;

	if (!big || c->mss < LARGE || c->flags & CONN_LOSSY ||
	    c->snd_nxt != c->snd_max || !addr_is_v4(&f->side[conn_tap(f)].ours))
		return RUN_MAX;
	return MIN(big - IP4_HEAD - TCP_HEAD,
		   MAX((uint32_t)flow_left(t->flows, f), (uint32_t)RUN_MAX));
}

/* Whether what comes next was sent before */
static bool repeats(const struct tcp_conn *c)
{
	return seq_before(c->snd_nxt, c->snd_max);
}

/* How many bytes to send next: whole segments, as many as fit one run.  When
 * the end of the stream was seen, not more than is known to be left. */
static uint32_t next_run(struct tcp *t, struct flow *f, uint32_t room)
{
	const struct tcp_conn *c = conn_of(f);
	uint32_t want = MIN(window_left(c), room), run = run_max(t, f);

	run -= run % c->mss;

	if (c->flags & CONN_EOF)
		want = MIN(want, c->eof_seq - c->snd_nxt);
	if (!(c->flags & CONN_PEEK)) {
		if (repeats(c))
			want = MIN(want, c->snd_max - c->snd_nxt);
		else
			want = (uint32_t)MIN((size_t)want,
					     chunk_room(t->chunks, &c->keep));
	}
	/* At the largest MTU a run is one segment */
	return MIN(want, MAX(run, (uint32_t)c->mss));
}

static void send_run(struct tcp *t, struct flow *f, struct slot *s, size_t len,
		     bool fin)
{
	struct tcp_conn *c = conn_of(f);
	struct head h;
	struct tcp_head th = {
		.seq = c->snd_nxt, .ack = c->rcv_nxt,
		.window = conn_window(t, f),
		.flags = TCP_ACK | (len ? TCP_PSH : 0) | (fin ? TCP_FIN : 0),
	};
	struct note n;

	if (len)
		flow_answers(f);
	h = head_for(t, f);
	flow_charge(t->flows, f, len);
	packet_put_tcp(s->head, &h, &th, len, &n);
	if (len > c->mss) {
		n.gso_type = gso_type(f);
		n.gso_size = c->mss;
	}
	s->lane = h.lane;
	tap_commit(t->tap, s, len, &n);

	/* It carries an ACK that was owed, or would have, had that been
	 * delayed */
	if (c->rcv_nxt != c->rcv_acked || seq_before(now_ms(t), c->ack_due))
		c->flags |= CONN_PINGPONG;
	c->rcv_acked = c->rcv_nxt;
	if (!c->ahead.first) /* a SACK is still owed */
		conn_acked(t, f);
	c->snd_nxt += (uint32_t)len + fin;
	if (seq_after(c->snd_nxt, c->snd_max)) {
		if (c->snd_nxt - c->snd_max == len + fin)
			conn_rtt_begin(t, f, c->snd_nxt);
		else
			t->count.repeated += len + fin -
					     (c->snd_nxt - c->snd_max);
		c->snd_max = c->snd_nxt;
	} else {
		t->count.repeated += len;
	}
	c->flags &= ~CONN_PROBE;
	c->active_ms = now_ms(t);
	if (!(c->flags & CONN_RTO))
		conn_rto(t, f);
}

static void saw_end(struct tcp_conn *c, uint32_t seq)
{
	c->flags |= CONN_EOF;
	c->eof_seq = seq;
}

/* After a short read of @got bytes.  It has drained the socket, and if the
 * peer's FIN is known to have arrived, it has reached the end of the stream.
 * Not so where there were urgent data: as long as these are kept for
 * retransmission, every read ends in front of them.  If an event for them is
 * under way, it sets READY_IN again. */
static void read_short(struct tcp *t, struct flow *f, uint32_t got)
{
	uint16_t *ready = &f->ready[!conn_tap(f)];
	struct tcp_conn *c = conn_of(f);

	if (*ready & READY_PRI)
		return;
	*ready &= (uint16_t)~READY_IN;
	if (got >= TCP_MSS_DEFAULT)
		loop_stream(t->flows->loop, 1, got);
	if (*ready & READY_RDHUP && !(*ready & READY_ERR))
		saw_end(c, c->snd_nxt + got);
}

/* Fill a slot with kept bytes from snd_nxt on, without copying them if the
 * transport allows that */
static void fill_kept(struct tcp *t, struct flow *f, struct slot *s)
{
	struct tcp_conn *c = conn_of(f);
	uint32_t off = c->snd_nxt - c->snd_una;
	struct iovec iov[SLOT_APART];
	size_t done = 0;
	unsigned i, n;

	if (t->tap->caps.apart) {
		s->body_cnt = chunk_iov(t->chunks, &c->keep, off, s->room,
					s->body, SLOT_APART);
		return;
	}
	n = chunk_iov(t->chunks, &c->keep, off, s->room, iov, SLOT_APART);
	for (i = 0; i < n; i++)
		done += iov_write(s->body, s->body_cnt, done, iov[i].iov_base,
				  iov[i].iov_len);
}

/* Read up to @len bytes from the socket to the queue @keep */
static ssize_t take(struct tcp *t, struct flow *f, size_t len)
{
	struct tcp_conn *c = conn_of(f);
	struct iovec iov[TAKE_IOV];
	unsigned n = chunk_extend(t->chunks, &c->keep, len, iov, TAKE_IOV);
	ssize_t got = sock_recv(conn_fd(f), iov, n);

	chunk_extended(t->chunks, &c->keep, got > 0 ? (size_t)got : 0);
	return got;
}

/* Set the peek offset where it does not move by itself.  If this may be the
 * last time, acknowledged bytes are removed instead, as they must be before the
 * socket is closed. */
static void find_place(struct flow *f)
{
	struct tcp_conn *c = conn_of(f);
	uint32_t flight = c->snd_nxt - c->snd_una;

	if (c->flags & CONN_OFFSET && !(c->flags & CONN_ASTRAY))
		return;
	if (!(c->flags & CONN_OFFSET) && !flight &&
	    f->ready[!conn_tap(f)] & READY_RDHUP)
		conn_remove(f);
	conn_peek_at(f, c->lazy + flight);
}

static ssize_t peek_runs(struct flow *f, const struct slot *s, unsigned n)
{
	struct iovec iov[RUNS_IOV];
	unsigned i, cnt = 0;

	for (i = 0; i < n; i++) {
		memcpy(iov + cnt, s[i].body, s[i].body_cnt * sizeof(*iov));
		cnt += s[i].body_cnt;
	}
	return sock_peek(conn_fd(f), iov, cnt);
}

/* --- what resolvers answer ------------------------------------------------ */

/* Read answers of a resolver for the names in them.  The guest decides by its
 * window where a read begins, and inside of a message may be anybody's text.
 * So what was read before is skipped, and what comes behind a gap is not
 * read. */
static void hear(struct tcp *t, struct flow *f, struct fwd_told *told,
		 const uint8_t *p, size_t len)
{
	uint32_t seq = conn_of(f)->snd_nxt, known;

	if (!told->begun)
		told->next = seq;
	told->begun = true;
	known = told->next - seq;
	if (seq_after(seq, told->next) || known >= len)
		return;
	told->next += (uint32_t)len - known;
	fwd_hear_bytes(t->fwd, told, &f->side[!conn_tap(f)], p + known,
		       len - known);
}

/* Read by way of a buffer of ours: a slot may be memory of the guest, which
 * could write its own answer there */
static SELDOM ssize_t fill_aside(struct tcp *t, struct flow *f, struct fwd_told *told,
				 const struct slot *s)
{
	static uint8_t b[ASIDE];
	struct iovec iov = { b, MIN(s->room, sizeof(b)) };
	ssize_t got = conn_of(f)->flags & CONN_PEEK ?
			sock_peek(conn_fd(f), &iov, 1) :
			sock_recv(conn_fd(f), &iov, 1);

	if (got <= 0)
		return got;
	iov_write(s->body, s->body_cnt, 0, b, (size_t)got);
	hear(t, f, told, b, (size_t)got);
	return got;
}

/* Read up to @room bytes from snd_nxt on into @n slots.  Returns the bytes
 * read, 0 at the end of the stream, or -errno.  There is one slot, or the bytes
 * stay in the socket, or in @keep, see send_runs(). */
static ssize_t fill(struct tcp *t, struct flow *f, struct slot *s, unsigned n,
		    size_t room)
{
	struct fwd_told *told = fwd_told(t->fwd, f);
	bool apart = t->tap->caps.apart && !told;
	struct tcp_conn *c = conn_of(f);
	ssize_t got;

	c->flags &= ~CONN_FULL;

	if (c->flags & CONN_PEEK) {
		find_place(f);
		if (c->flags & CONN_ASTRAY)
			return -EBADFD;
		got = told	? fill_aside(t, f, told, s)
		      : n > 1 ? peek_runs(f, s, n)
			      : sock_peek(conn_fd(f), s->body, s->body_cnt);
		/* ... or a small part of much, because the guest's window is
		 * small */
		if (got >= TCP_LAZY || (size_t)got == room)
			c->flags |= CONN_LARGE;
		if ((size_t)got == room)
			c->flags |= CONN_FULL;
	} else {
		if (repeats(c)) { /* @room is not more than what is kept */
			if (!t->tap->caps.apart)
				fill_kept(t, f, s);
			return (ssize_t)room;
		}
		/* If the timer was running because there was no room, it need
		 * not any more */
		if (c->snd_una == c->snd_max)
			c->flags &= ~CONN_RTO;
		got = apart ? take(t, f, room)
		      : told ? fill_aside(t, f, told, s)
			     : sock_recv(conn_fd(f), s->body, s->body_cnt);
		if (got > 0 && !apart)
			chunk_put(t->chunks, &c->keep, s->body, s->body_cnt, 0,
				  (size_t)got);
		if ((size_t)got == room)
			c->flags |= CONN_FULL;
	}
	if (got == -EAGAIN)
		f->ready[!conn_tap(f)] &= (uint16_t)~(READY_IN | READY_ERR);
	else if (got > 0 && (size_t)got < room)
		read_short(t, f, (uint32_t)got);
	else if (!got)
		saw_end(c, c->snd_nxt);
	return got;
}

/* Whether it is known without asking the socket that there is nothing to
 * send */
static bool idle(const struct tcp_conn *c, uint16_t ready)
{
	enum { WANT = READY_IN | READY_RDHUP | READY_ERR | READY_HUP };

	if (c->flags & CONN_EOF)
		return c->snd_nxt == c->eof_seq + 1;
	return !(ready & WANT) && c->snd_nxt == c->snd_max;
}

static SELDOM bool take_error(struct tcp *t, struct flow *f)
{
	int err = sock_error(conn_fd(f));

	f->ready[!conn_tap(f)] &= (uint16_t)~READY_ERR;
	if (!err || conn_soft(t, f, err))
		return false;
	tcp_out_reset(t, f);
	return true;
}

/* Whether the peer has reset the connection, which no read would report; the
 * guest was then sent a reset as well */
static bool broken(struct tcp *t, struct flow *f)
{
	return f->ready[!conn_tap(f)] & READY_ERR && take_error(t, f);
}

/* The guest's window is closed: the timer will probe it */
static enum run_verdict wait_window(struct tcp *t, struct flow *f)
{
	struct tcp_conn *c = conn_of(f);

	/* Bytes that were not sent to the guest yet are lost by a reset in any
	 * case */
	if (broken(t, f))
		return RUN_DONE;
	if (!(c->flags & CONN_RTO))
		conn_rto(t, f);
	loop_hurry(t->flows->loop);
	return RUN_DONE;
}

/* How many runs of @want bytes to fill by one read: if there is much to read,
 * as many as may be sent in this visit, because each read walks along all that
 * the guest has not acknowledged */
static unsigned count_runs(struct tcp *t, struct flow *f, uint32_t want)
{
	const struct tcp_conn *c = conn_of(f);
	size_t most;

	if (!t->tap->caps.runs || !(c->flags & CONN_FULL) ||
	    !(c->flags & CONN_PEEK || t->tap->caps.apart) ||
	    c->flags & (CONN_EOF | CONN_LOSSY | CONN_PROBE) ||
	    c->snd_nxt != c->snd_max || !want || fwd_told(t->fwd, f))
		return 1;
	most = MIN(window_left(c) / want, (flow_left(t->flows, f) + want - 1) / want);
	if (!(c->flags & CONN_PEEK))
		most = MIN(most, chunk_room(t->chunks, &c->keep) / want);
	return (unsigned)MAX(MIN(most, (size_t)RUNS), (size_t)1);
}

/* Reserve slots for up to @n runs that can be filled by one read; returns how
 * many.  *@room becomes the sum of theirs. */
static unsigned reserve_runs(struct tcp *t, struct slot *s, unsigned n,
			     size_t head, uint32_t want, uint16_t mss,
			     size_t *room)
{
	unsigned got = tap_reserve(t->tap, s, n, head, want, mss), cnt = 0, i;

	*room = 0;
	for (i = 0; i < got; i++) {
		cnt += s[i].body_cnt;
		if (i && (cnt > RUNS_IOV || s[i - 1].room % mss))
			break;
		*room += s[i].room;
	}
	for (n = i; i < got; i++)
		tap_cancel(t->tap, &s[i]);
	return n;
}

/* Send @len bytes that were read, or the FIN */
static void send_runs(struct tcp *t, struct flow *f, struct slot *s, unsigned n,
		      size_t len, bool fin)
{
	bool kept = t->tap->caps.apart && !(conn_of(f)->flags & CONN_PEEK);
	unsigned used = 0, i;
	size_t part, all = 0;

	while (used < n && all < len)
		all += s[used++].room;
	if (fin)
		used = 1;
	for (i = used; i < n; i++)
		tap_cancel(t->tap, &s[i]);
	for (i = 0; i < used; i++) {
		part = MIN(len, s[i].room);
		if (kept && part)
			fill_kept(t, f, &s[i]);
		send_run(t, f, &s[i], part, fin);
		len -= part;
	}
}

/* Read once and send that; RUN_AGAIN if there may be more.  A soft error is
 * reported once by the socket, so an error that is not the @first is of another
 * kind: memory that the guest has taken away, which is reported each time. */
static enum run_verdict serve_run(struct tcp *t, struct flow *f, bool *first)
{
	struct tcp_conn *c = conn_of(f);
	size_t head = ETH_HEAD + conn_head(f), size;
	uint32_t want, room = UINT32_MAX, left = window_left(c);
	struct slot s[RUNS];
	ssize_t got = 0;
	unsigned n, i;
	bool fin;

	if (UNLIKELY(head + c->mss > t->tap->caps.frame_max))
		conn_fit(t, f);
	if (c->flags & CONN_LOSSY || c->snd_nxt != c->snd_max)
		room = loss_room(f);
	want = at_end(c) ? 0 : next_run(t, f, room);
	if ((UNLIKELY(left < TCP_SILLY) && silly(f, left)) ||
	    (!want && !at_end(c)))
		return wait_window(t, f);
	n = reserve_runs(t, s, count_runs(t, f, want), head, want, c->mss,
			 &size);
	if (!n)
		return RUN_HOLD;
	if (want)
		got = fill(t, f, s, n, size);
	if (got < 0) {
		for (i = 0; i < n; i++)
			tap_cancel(t->tap, &s[i]);
		if (got == -EAGAIN)
			return RUN_DONE;
		if (*first && !(c->flags & CONN_ASTRAY) &&
		    conn_soft(t, f, (int)got)) {
			*first = false;
			return RUN_AGAIN;
		}
		tcp_out_reset(t, f);
		return RUN_DONE;
	}
	*first = true;
	/* In a segment of its own: U-Boot overlooks a FIN that comes with
	 * data */
	fin = !got && c->flags & CONN_EOF && c->snd_nxt == c->eof_seq;
	send_runs(t, f, s, n, (size_t)got, fin);
	return RUN_AGAIN;
}

enum run_verdict tcp_out_serve(struct tcp *t, struct flow *f)
{
	enum run_verdict v;
	bool first = true;

	do {
		if (idle(conn_of(f), f->ready[!conn_tap(f)])) {
			(void)broken(t, f);
			return RUN_DONE;
		}
		v = serve_run(t, f, &first);
	} while (v == RUN_AGAIN && !flow_spent(t->flows, f));
	return v;
}
