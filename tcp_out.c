/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * tcp_out - towards the guest
 *
 * The socket's receive queue is our retransmission buffer: bytes are peeked at
 * and taken out when the guest has acknowledged them.  Where the kernel cannot
 * peek at an offset, they are read at once and a copy is kept.  Going back is
 * moving snd_nxt, and the peek offset with it.
 */
#include "tcp_out.h"

#include "iov.h"
#include "log.h"

#include <linux/virtio_net.h>

#include <errno.h>
#include <netinet/in.h>

enum {
	RUN_MAX = 65535 - IP6_HEAD - TCP_HEAD, /* IP's length has 16 bits */
	SYN_WINDOW = 65535,
	RUNS = 5,	/* most that one read fills: a turn, at any MTU */
	RUNS_IOV = 256, /* of them together, or there is but one */
	ASIDE = 256 << 10, /* more than a run */
	TAKE_IOV = 64, /* blocks; RUNS of the longest fill half as many */
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

/* A segment without payload */
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

/* A number that the guest finds acceptable: after going back, snd_nxt is an old
 * one, whose window RFC 9293 has it ignore.  Past a window that it took back,
 * the window's end, unless only scaling took it. */
static uint32_t empty_seq(const struct tcp_conn *c)
{
	uint32_t end = c->snd_una + c->snd_wnd;

	if (!seq_before(end, c->snd_max) ||
	    c->snd_max - end < 1U << c->snd_shift)
		return c->snd_max;
	return end;
}

/* What came behind holes */
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
	conn_ack_soon(t, f); /* when there is room, see tcp_turn_end() */
	return false;
}

/* A RST counts at the number that comes next (RFC 5961 3.2), which with the guest is
 * behind all that it was sent, or, if it was short of memory or lost something, behind
 * what it has acknowledged: it would have to ask there, and Linux limits how often it
 * does. */
static bool put_reset(struct tcp *t, struct flow *f)
{
	struct tcp_conn *c = conn_of(f);
	struct tcp_head th = { .seq = c->snd_nxt, .ack = c->rcv_nxt,
			       .flags = TCP_RST | TCP_ACK };

	if (c->state == TCP_OPEN)
		th.seq = empty_seq(c);
	/* A guest that was sent nothing yet takes the RST by its ack number */
	if (c->state == TCP_CONNECTING)
		th.seq = 0;
	if (c->state == TCP_SYN_SENT)
		th.flags = TCP_RST;
	if (!put(t, f, &th))
		return false;
	if (c->state != TCP_OPEN || c->snd_una == th.seq)
		return true;
	/* If there is no room for both, the other one is all that is owed */
	c->snd_nxt = c->snd_max = c->snd_una;
	th.seq = c->snd_una;
	return put(t, f, &th);
}

bool tcp_out_reset(struct tcp *t, struct flow *f)
{
	struct tcp_conn *c = conn_of(f);

	/* A guest that has yet to answer our SYN will have to ask */
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

/* Bytes that the guest's window leaves, one if it is to be probed */
static uint32_t window_left(const struct tcp_conn *c)
{
	uint32_t end = c->snd_una + c->snd_wnd;

	if (seq_before(c->snd_nxt, end))
		return end - c->snd_nxt;
	return c->flags & CONN_PROBE && c->snd_nxt == c->snd_una ? 1 : 0;
}

/* The longest run.  Big ones are of large segments: a router in the namespace whose
 * next link takes none has to cut them, and that into few.  What has been lost, perhaps
 * as it was too big for somebody, comes in others. */
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

/* It was sent before */
static bool repeats(const struct tcp_conn *c)
{
	return seq_before(c->snd_nxt, c->snd_max);
}

/* How much to send next: whole segments, as many as fit one run.  Not more than
 * is known to be left when the end was seen. */
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
	/* At the largest MTU one segment is all that fits */
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

	/* It carries an ACK, or would have, had that waited */
	if (c->rcv_nxt != c->rcv_acked || seq_before(now_ms(t), c->ack_due))
		c->flags |= CONN_PINGPONG;
	c->rcv_acked = c->rcv_nxt;
	if (!c->ahead.first) /* what came early is still to be reported */
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

/* A short read drained the socket; if the peer's FIN is known to be there, the
 * read also reached the end of the stream.  Not so where urgent data have been:
 * as long as they are kept for a repetition, every read ends in front of them.
 * An event of theirs that is on its way sets READY_IN again. */
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

/* What is kept and comes at snd_nxt, where it lies if the transport can send that */
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

/* Up to @len bytes, to where they are kept */
static ssize_t take(struct tcp *t, struct flow *f, size_t len)
{
	struct tcp_conn *c = conn_of(f);
	struct iovec iov[TAKE_IOV];
	unsigned n = chunk_extend(t->chunks, &c->keep, len, iov, TAKE_IOV);
	ssize_t got = sock_recv(conn_fd(f), iov, n);

	chunk_extended(t->chunks, &c->keep, got > 0 ? (size_t)got : 0);
	return got;
}

/* Where to peek, for sockets without an offset; one moves on by itself.  If this
 * may be the last time, what is done with goes instead: it must, before the
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

/* Where a read begins, the guest decides by its window, and what is inside of a message
 * may be anybody's: what was heard is skipped, what is behind a gap is not heard. */
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

/* A slot may be memory of the guest, which could write there what it likes */
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

/* Read up to the slots' @room at snd_nxt; 0 is end of file, or -errno.  There is one
 * slot, or the bytes stay in the socket, or where they are kept: see send_runs(). */
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
		/* Or little of much, as the guest's window has it */
		if (got >= TCP_LAZY || (size_t)got == room)
			c->flags |= CONN_LARGE;
		if ((size_t)got == room)
			c->flags |= CONN_FULL;
	} else {
		if (repeats(c)) { /* not more than is there */
			if (!t->tap->caps.apart)
				fill_kept(t, f, s);
			return (ssize_t)room;
		}
		/* If there was no room, that is what a timer runs for */
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

static bool at_end(const struct tcp_conn *c)
{
	return c->flags & CONN_EOF && !seq_before(c->snd_nxt, c->eof_seq);
}

/* Nothing to send is known without asking the socket */
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

/* The peer's reset where no read will tell it: reset, too, and true */
static bool broken(struct tcp *t, struct flow *f)
{
	return f->ready[!conn_tap(f)] & READY_ERR && take_error(t, f);
}

/* The guest takes nothing now: the timer will ask whether its window opened */
static enum run_verdict wait_window(struct tcp *t, struct flow *f)
{
	struct tcp_conn *c = conn_of(f);

	/* What the guest was not sent yet a reset would have cost it anyway */
	if (broken(t, f))
		return RUN_DONE;
	if (!(c->flags & CONN_RTO))
		conn_rto(t, f);
	loop_hurry(t->flows->loop);
	return RUN_DONE;
}

/* How many runs of @want bytes to read at once: where much comes, as many as it may
 * move now.  Each read looks for its place in all that the guest has not acknowledged. */
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

/* Slots for @n runs, as many as can be had and read at once; *@room is that of all */
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

/* What was read, or the end of all */
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

/* One read: RUN_AGAIN if there may be more.  What a connection survives is told once,
 * so an error that is not the @first is of another kind: memory that the guest has taken
 * away, which is told each time. */
static enum run_verdict serve_run(struct tcp *t, struct flow *f, bool *first)
{
	struct tcp_conn *c = conn_of(f);
	size_t head = ETH_HEAD + conn_head(f), size;
	uint32_t want, room = UINT32_MAX;
	struct slot s[RUNS];
	ssize_t got = 0;
	unsigned n, i;
	bool fin;

	if (UNLIKELY(head + c->mss > t->tap->caps.frame_max))
		conn_fit(t, f);
	if (c->flags & CONN_LOSSY || c->snd_nxt != c->snd_max)
		room = loss_room(f);
	want = at_end(c) ? 0 : next_run(t, f, room);
	if (!window_left(c) || (!want && !at_end(c)))
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
	/* Alone: U-Boot overlooks a FIN that comes with data */
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
