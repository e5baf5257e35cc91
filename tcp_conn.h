/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * tcp_conn - states and windows of a connection; internal to tcp*.c
 *
 * Names are those of RFC 9293, seen from our end towards the guest: what we
 * send are the host's bytes, what we receive are the guest's.
 */
#ifndef TCP_CONN_H
#define TCP_CONN_H

#include "tcp.h"

enum tcp_state {
	TCP_CONNECTING, /* guest's SYN taken, connect() pending */
	TCP_SYN_RCVD,	/* SYN-ACK sent to the guest */
	TCP_SYN_SENT,	/* SYN sent to the guest for an accepted socket */
	TCP_OPEN,	/* data flows; ends are told by flags */
};

/* Part of the format of tcp_freeze.c, as enum tcp_state is: new ones go behind */
enum {
	CONN_GUEST_FIN = 1 << 0, /* received in order */
	CONN_SHUT = 1 << 1,	 /* and told to the socket */
	CONN_EOF = 1 << 2,	 /* the socket ended at @eof_seq */
	CONN_ACK_NOW = 1 << 3,	 /* in the list of the turn's ACKs */
	CONN_ACK_LATE = 1 << 4,	 /* @ack_due is set */
	CONN_RTO = 1 << 5,	 /* @rto_due is set */
	CONN_PEEK = 1 << 6,	 /* unacknowledged bytes stay in the socket */
	CONN_PINGPONG = 1 << 7,	 /* requests and answers: delay ACKs */
	CONN_HEARD = 1 << 8,	 /* the guest spoke since the last time-out */
	CONN_KEEPALIVE = 1 << 9, /* SO_KEEPALIVE is on */
	CONN_SYN_AGAIN = 1 << 10, /* SYN was repeated: RTO starts at 3 s */
	CONN_PROBE = 1 << 11,	 /* send one byte into a zero window */
	CONN_LARGE = 1 << 12, /* a large read came before, see conn_discard() */
	CONN_STALE = 1 << 13,	 /* @stale_due is set */
	CONN_ROOMY = 1 << 14,	 /* the receive buffer is large */
	CONN_OFFSET = 1 << 15,	 /* the socket has a peek offset */
	CONN_SACK = 1 << 16,	 /* both ends know RFC 2018 */
	CONN_LOSSY = 1 << 17,	 /* @cwnd and @ssthresh hold, see tcp_loss.h */
	CONN_RECOVERY = 1 << 18, /* until @recover is acknowledged */
	CONN_SHUT_GUEST = 1 << 19, /* the guest's window is shut ... */
	CONN_SHUT_HOST = 1 << 20, /* ... or ours, and that is counted */
	CONN_RESET = 1 << 21, /* over, but for an RST that the guest is owed */
	CONN_HELD = 1 << 22, /* it stands still, see tcp_image.h */
	CONN_HEARS = 1 << 23, /* see sock_hear_errors() */
	CONN_PATH = 1 << 24, /* much was sent: ask what the path holds */
	CONN_ASTRAY = 1 << 25, /* the peek offset is not what it should be */
	CONN_FIN_AHEAD = 1 << 26, /* the guest's FIN came behind a hole */
	CONN_FULL = 1 << 27,	 /* the last read filled its room */
};

struct tcp_conn {
	uint32_t snd_una, snd_nxt;
	uint32_t snd_max; /* one past the highest number ever sent */
	uint32_t snd_wnd; /* scaled */
	uint32_t snd_wl1; /* highest sequence number that gave @snd_wnd */
	uint32_t recover; /* what was sent when the last loss was seen */
	/* From snd_nxt to @lost is repeated, but for @sack; then snd_nxt is
	 * snd_max again.  Up to @again that was done already. */
	uint32_t lost, again;
	uint32_t cwnd, ssthresh; /* RFC 5681, with CONN_LOSSY */
	struct span sack[3]; /* what the guest has behind a hole, in order; the
			        first @sacks are valid */
	uint32_t eof_seq; /* number of our FIN, with CONN_EOF */
	uint32_t rcv_nxt;
	uint32_t rcv_edge;  /* end of the window we advertised: never shrinks */
	uint32_t rcv_acked; /* last acknowledgement sent */
	uint32_t room;	    /* what the socket is believed to take */
	uint32_t room_seen; /* the last value that it told */
	uint32_t lazy;	    /* acknowledged bytes still in the socket's queue */
	uint32_t passed;    /* taken out since the buffer was looked at */
	/* Low 32 bits of the clock; after an empty ACK @ack_due is until when
	 * it could have waited */
	uint32_t rto_due, ack_due, stale_due, active_ms;
	struct chunk_queue out;	 /* accepted from the guest, not yet taken */
	struct chunk_queue keep; /* without CONN_PEEK: snd_una to snd_max */
	struct ahead ahead; /* from the guest, behind holes */
	uint32_t fin_seq; /* number of the guest's FIN, with CONN_FIN_AHEAD */
	struct flow *ack_next, **ack_prev;
	struct mac mac;	 /* Ethernet source that the guest sees */
	uint16_t path_mtu; /* that it was told of last, or 0 */
	uint32_t flags;	 /* CONN_* */
	uint16_t mss;	 /* of what we send */
	uint8_t state : 2;     /* enum tcp_state */
	uint8_t sends : 2;     /* to the socket: 0, 1, TCP_NODELAY is set */
	uint8_t ack_waits : 4; /* with CONN_ACK_NOW: for so many turns, less 1 */
	uint8_t snd_shift : 4, rcv_shift : 4;
	uint8_t retries : 4;
	uint8_t asks : 4; /* see conn_refused(); 0: wait for EPOLLOUT */
	uint8_t dup_acks;
	uint8_t sacks : 2;
	uint8_t probes : 6; /* pauses of TCP_PROBE_IDLE_MS, see probe() */
	uint8_t tos; /* of what the guest sends, but ECN */
	uint32_t path_ms; /* when the socket was asked about the path */
};

/* Kinds of options; the first are one byte long */
enum { OPT_END, OPT_NOP, OPT_MSS, OPT_SCALE, OPT_SACK_OK, OPT_SACK };

enum {
	TCP_MSS_MIN = 88,      /* Linux's own floor: below, headers dominate */
	/* Linux fills a run of up to 64 KiB with whole segments, less
	 * MAX_TCP_HEADER: four of these, but only three of 16 KiB */
	TCP_MSS_RUNS = 16256,
	TCP_SHIFT = 8,	       /* our window scale */
	TCP_SHIFT_MAX = 14,    /* RFC 7323 2.3 */
	TCP_WINDOW_MIN = 128 << 10, /* while the socket takes what comes */
	TCP_WINDOW_MAX = 4 << 20,  /* what Linux lets a send buffer grow to,
				      tcp_wmem */
	TCP_QUEUE = 700, /* frames, of the 1000 that Linux queues for a link */
	TCP_RTO_MS = 1000,	   /* RFC 6298 2.1, before the first sample */
	TCP_RTO_SYN_MS = 3000,	   /* RFC 6298 5.7, after a repeated SYN */
	TCP_RTO_MIN_MS = 200, /* on top of the round trip: Linux delays its ACKs
				 by up to so much */
	TCP_RTT_EVERY_NS = 10 * 1000 * 1000,
	TCP_RTT_MAX_US = 60 * 1000 * 1000,
	TCP_RTO_HOLE_MS = 20, /* the same on links that lose, see rto_lossy() */
	TCP_RTO_EVEN_MS = 8, /* and where round trips differ by less than that:
				a busy emulator stands still for longer */
	TCP_EVEN_US = 1000,
	TCP_RTO_LONE_MS = 60, /* Linux delays most by 40 */
	TCP_SYN_RETRIES = 7,
	TCP_RETRIES = 10, /* from 200 ms on: five minutes, a guest may pause */
	TCP_ACK_DELAY_MS = 10,	   /* Linux delays its own by 40: stay below */
	TCP_PAST_MS = 60 * 1000, /* Linux's TIME-WAIT */
	TCP_PROBE_IDLE_MS = 30 * 1000,
	TCP_DEAD_MS = 7200 * 1000, /* silent for so long: gone */
	TCP_LAZY = 512, /* bytes not worth a call, see conn_discard() */
	TCP_STALE_MS = 40,
	TCP_LAZY_BUFFER = 1 << 20, /* receive buffers that can afford more */
	TCP_ASK_MS = TIMER_TICK,
	TCP_ASKS = 6, /* the last pause is 128 ms */
};

static inline struct tcp_conn *conn_of(struct flow *f)
{
	_Static_assert(sizeof(struct tcp_conn) <= FLOW_PRIV, "flow too small");
	return (struct tcp_conn *)(void *)f->priv;
}

/* conn_tap, conn_host - the index of the side */
static inline unsigned conn_tap(const struct flow *f)
{
	return f->side[0].pif == PIF_TAP ? 0 : 1;
}

/* conn_head - IP and TCP headers of a segment to the guest, without options */
static inline unsigned conn_head(const struct flow *f)
{
	bool v4 = addr_is_v4(&f->side[conn_tap(f)].ours);

	return (v4 ? IP4_HEAD : IP6_HEAD) + TCP_HEAD;
}

static inline int conn_fd(const struct flow *f)
{
	return f->side[!conn_tap(f)].fd;
}

/* conn_init - a flow with both sides set becomes a connection in @state */
void conn_init(struct tcp *t, struct flow *f, enum tcp_state state);

/* conn_option_bytes - where the segment's options are
 * conn_option - the next one's kind and @value, 0 at the end */
struct rd conn_option_bytes(const struct packet *p);
uint8_t conn_option(struct rd *opt, struct rd *value);

/* conn_options - what the options of the guest's SYN or SYN-ACK say
 * conn_syn - @p is the SYN that the guest begins with */
void conn_options(struct tcp *t, struct flow *f, const struct packet *p);
void conn_syn(struct tcp *t, struct flow *f, const struct packet *p);

/* conn_mss - what we tell the guest to send */
uint16_t conn_mss(const struct tcp *t, const struct flow *f);

/* conn_set_mss - what the guest takes, in the bounds of its link */
void conn_set_mss(const struct tcp *t, struct flow *f, unsigned mss);

/* conn_fit - no segments longer than the guest's link takes, if that has shown */
void conn_fit(const struct tcp *t, struct flow *f);

/* conn_window - the window field to send now; moves the advertised edge */
uint16_t conn_window(struct tcp *t, struct flow *f);

/* conn_shut - the window that @by opens and shuts is @shut now */
void conn_count_shut(struct tcp *t, struct flow *f, enum tcp_shutter by,
		     bool shut);

static inline void conn_shut(struct tcp *t, struct flow *f,
			     enum tcp_shutter by, bool shut)
{
	if (UNLIKELY(shut || conn_of(f)->flags & CONN_SHUT_GUEST << by))
		conn_count_shut(t, f, by, shut);
}

/* conn_ack_soon, conn_ack_bulk, conn_ack_late, conn_acked - an ACK is owed by the
 * end of this turn; when the guest makes a pause or this flow a longer one, while
 * the window lasts; within TCP_ACK_DELAY_MS; no more */
void conn_ack_soon(struct tcp *t, struct flow *f);
void conn_ack_bulk(struct tcp *t, struct flow *f);
void conn_ack_late(struct tcp *t, struct flow *f);
void conn_acked(struct tcp *t, struct flow *f);

/* conn_rtt_begin - new bytes before @seq were sent: this may be a round trip to
 * measure, if none is and the last one was not just now; conn_rtt_end - all before @ack was acknowledged;
 * conn_rtt_off - it was repeated, and nobody knows which (Karn's algorithm) */
static inline void conn_rtt_begin(struct tcp *t, struct flow *f, uint32_t seq)
{
	uint64_t now = t->flows->loop->now_ns;

	if (t->link.timed || now - t->link.sent_ns < TCP_RTT_EVERY_NS)
		return;
	t->link.timed = f;
	t->link.seq = seq;
	t->link.sent_ns = now;
}

void conn_rtt_measured(struct tcp *t);

static inline void conn_rtt_end(struct tcp *t, struct flow *f, uint32_t ack)
{
	if (t->link.timed == f && !seq_before(ack, t->link.seq))
		conn_rtt_measured(t);
}

static inline void conn_rtt_off(struct tcp *t, const struct flow *f)
{
	if (t->link.timed == f)
		t->link.timed = NULL;
}

/* conn_rto - (re)start the retransmission timer, conn_timer - look which of the
 * flow's deadlines is next */
void conn_rto(struct tcp *t, struct flow *f);
void conn_timer(struct tcp *t, struct flow *f);

/* conn_send - give @iov to the socket: how much it took, or -errno
 * -EAGAIN is 0. */
ssize_t conn_send(struct tcp *t, struct flow *f, const struct iovec *iov,
		  unsigned n);

/* conn_soft - whether @err of its socket is one that a connection survives; then
 * the guest is told */
bool conn_soft(struct tcp *t, struct flow *f, int err);

/* conn_fin - all before the guest's FIN is here */
void conn_fin(struct tcp *t, struct flow *f);

/* conn_flush - hand what waits for the socket to it, then the guest's FIN
 * 0, or -errno if the socket is broken. */
int conn_flush(struct tcp *t, struct flow *f);

/* conn_waits - whether it would do anything */
static inline bool conn_waits(const struct tcp_conn *c)
{
	return c->out.len || c->ahead.first ||
	       c->flags & (CONN_GUEST_FIN | CONN_FIN_AHEAD);
}

/* conn_refused - the socket did not take all: ask it again before long
 * EPOLLOUT comes when a third of a buffer is free.  On a long wire that much is
 * missed, so while it takes something (@took) it is asked every TCP_ASK_MS, and
 * after pauses of twice the length each time that it does not. */
void conn_refused(struct tcp *t, struct flow *f, bool took);

/* conn_peek_at - have the next sock_peek() read what follows @off bytes
 * If that is refused the connection is CONN_ASTRAY: nothing may be read. */
void conn_peek_at(struct flow *f, uint32_t off);

/* conn_discard - the guest acknowledged something: take such bytes out of the
 * socket, if there are enough; conn_stale - or they stood there for too long */
void conn_discard(struct tcp *t, struct flow *f);
void conn_stale(struct tcp *t, struct flow *f);

/* conn_remove - all that the guest acknowledged, now */
void conn_remove(struct flow *f);

/* conn_past - the connection with this guest's side that ended well and not
 * long ago, NULL */
struct tcp_past *conn_past(struct tcp *t, const struct side *key);

/* conn_remember - conn_past() may find @p from now on */
void conn_remember(struct tcp *t, const struct tcp_past *p);

/* conn_finished - both directions ended and all is acknowledged, by us too */
bool conn_finished(const struct tcp_conn *c);

/* conn_close, conn_abort, conn_forget - free the flow; the peer sees FIN, RST, or
 * nothing, as the socket is somebody else's
 * conn_reset - the peer sees RST, and the guest is owed one: until then the flow
 * stays, with CONN_RESET and nothing else */
void conn_close(struct tcp *t, struct flow *f);
void conn_abort(struct tcp *t, struct flow *f);
void conn_forget(struct tcp *t, struct flow *f);
void conn_reset(struct tcp *t, struct flow *f);

#endif /* TCP_CONN_H */
