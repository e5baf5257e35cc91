/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * tcp_conn - state and windows of a connection; internal to tcp*.c
 *
 * Names are those of RFC 9293, as seen from our end towards the guest: what we
 * send are the host's bytes, what we receive are the guest's.
 */
#ifndef TCP_CONN_H
#define TCP_CONN_H

#include "tcp.h"

enum tcp_state {
	TCP_CONNECTING, /* the guest's SYN was taken, connect() is pending */
	TCP_SYN_RCVD,	/* SYN-ACK sent to the guest */
	TCP_SYN_SENT,	/* SYN sent to the guest for an accepted socket */
	TCP_OPEN,	/* handshake done; FINs are recorded in flags */
};

/* Flags of a connection.  Like enum tcp_state they are part of the format of
 * tcp_freeze.c: never renumber them, add new ones at the end. */
enum {
	CONN_GUEST_FIN = 1 << 0, /* the guest's FIN was received in order */
	CONN_SHUT = 1 << 1,	 /* ... and passed on: the socket is shut down
				    for writing */
	CONN_EOF = 1 << 2,	 /* the socket's stream ended at @eof_seq */
	CONN_ACK_NOW = 1 << 3,	 /* in the list @acks of struct tcp */
	CONN_ACK_LATE = 1 << 4,	 /* @ack_due is set */
	CONN_RTO = 1 << 5,	 /* @rto_due is set */
	CONN_PEEK = 1 << 6,	 /* bytes stay in the socket until the guest
				    acknowledges them */
	CONN_PINGPONG = 1 << 7,	 /* requests and answers alternate: delay
				    ACKs */
	CONN_HEARD = 1 << 8,	 /* the guest has sent an acceptable ACK since
				    the last time-out */
	CONN_KEEPALIVE = 1 << 9, /* SO_KEEPALIVE is on */
	CONN_SYN_AGAIN = 1 << 10, /* the SYN was repeated: RTO starts at 3 s */
	CONN_PROBE = 1 << 11,	 /* send into a window that is shut or small:
				    one byte, or what it takes */
	CONN_LARGE = 1 << 12, /* a large read came before, see conn_discard() */
	CONN_STALE = 1 << 13,	 /* @stale_due is set */
	CONN_ROOMY = 1 << 14,	 /* the socket's receive buffer is large, see
				    TCP_LAZY_BUFFER */
	CONN_OFFSET = 1 << 15,	 /* the socket has a peek offset */
	CONN_SACK = 1 << 16,	 /* SACK was agreed on (RFC 2018) */
	CONN_LOSSY = 1 << 17,	 /* @cwnd and @ssthresh hold, see tcp_loss.h */
	CONN_RECOVERY = 1 << 18, /* loss recovery, until @recover is
				    acknowledged */
	CONN_SHUT_GUEST = 1 << 19, /* the guest's window is shut ... */
	CONN_SHUT_HOST = 1 << 20, /* ... or ours is, and the time is counted */
	CONN_RESET = 1 << 21, /* ended, but the guest is still owed an RST */
	CONN_HELD = 1 << 22, /* held while it migrates, see tcp_image.h */
	CONN_HEARS = 1 << 23, /* sock_hear_errors() was called */
	CONN_PATH = 1 << 24, /* much was sent: look at the path MTU, see
				path_look() */
	CONN_ASTRAY = 1 << 25, /* the peek offset could not be set: do not
				  read */
	CONN_FIN_AHEAD = 1 << 26, /* the guest's FIN came behind a hole */
	CONN_FULL = 1 << 27,	 /* the last read filled its room */
};

struct tcp_conn {
	uint32_t snd_una, snd_nxt;
	uint32_t snd_max; /* one past the highest sequence number ever sent */
	uint32_t snd_wnd; /* with the scale factor applied */
	uint32_t snd_wl1; /* highest sequence number that gave @snd_wnd */
	uint32_t recover; /* snd_max when the last loss was detected (RFC
			     6582) */
	/* Retransmission: what is between snd_nxt and @lost is sent again,
	 * except @sack; then snd_nxt returns to snd_max.  What is before @again
	 * has been sent again already. */
	uint32_t lost, again;
	uint32_t cwnd, ssthresh; /* RFC 5681; valid with CONN_LOSSY */
	struct span sack[3]; /* ranges that the guest has behind holes,
				ascending; the first @sacks are valid */
	uint32_t eof_seq; /* sequence number of our FIN, with CONN_EOF */
	uint32_t rcv_nxt;
	uint32_t rcv_edge;  /* right edge of the window we advertised: never
			       moves back */
	uint32_t rcv_acked; /* last acknowledgement sent */
	uint32_t room;	    /* estimate of the free bytes in the socket's send
			       buffer */
	uint32_t room_seen; /* their number when the socket was last asked */
	uint32_t lazy;	    /* bytes acknowledged by the guest that are still in
			       the socket's receive queue */
	uint32_t passed;    /* bytes removed from it since its size was last
			       looked at */
	/* Low 32 bits of loop time in ms.  After an empty ACK @ack_due is the
	 * time until which that ACK could have been delayed. */
	uint32_t rto_due, ack_due, stale_due, active_ms;
	struct chunk_queue out;	 /* accepted from the guest, not yet taken by
				    the socket */
	struct chunk_queue keep; /* without CONN_PEEK: the bytes from snd_una to
				    snd_max */
	struct ahead ahead; /* out-of-order bytes from the guest */
	uint32_t fin_seq; /* sequence number of the guest's FIN, with
			     CONN_FIN_AHEAD */
	uint32_t wnd_most; /* the largest value that @snd_wnd has had */
	struct flow *ack_next, **ack_prev;
	struct mac mac;	 /* source MAC address of frames to the guest */
	uint16_t path_mtu; /* path MTU that the guest was last told of, or 0 */
	uint32_t flags;	 /* CONN_* */
	uint16_t mss;	 /* of segments we send, payload only */
	uint8_t state : 2;     /* enum tcp_state */
	/* writes to the socket: none, one, or TCP_NODELAY is set */
	uint8_t sends : 2;
	/* with CONN_ACK_NOW: may wait for that many turns, less one */
	uint8_t ack_waits : 4;
	uint8_t snd_shift : 4, rcv_shift : 4;
	uint8_t retries : 4;
	/* the pause to the next attempt, see conn_refused(); 0: wait for
	 * EPOLLOUT */
	uint8_t asks : 4;
	uint8_t dup_acks;
	uint8_t sacks : 2;
	uint8_t probes : 6; /* idle intervals of TCP_PROBE_IDLE_MS so far, see
			       probe() */
	uint8_t tos; /* type of service of what the guest sends, without ECN
			bits */
	uint32_t path_ms; /* when the socket was last asked for the path MTU, 0:
			     never */
};

/* Kinds of TCP options; the first two are single bytes without a length */
enum { OPT_END, OPT_NOP, OPT_MSS, OPT_SCALE, OPT_SACK_OK, OPT_SACK };

enum {
	TCP_MSS_MIN = 88,      /* Linux's own floor: below, headers dominate */
	/* Most that we have the guest send per segment where it sends runs:
	 * Linux fills a run of up to 64 KiB less MAX_TCP_HEADER with whole
	 * segments, and four of this size fit, but only three of 16 KiB */
	TCP_MSS_RUNS = 16256,
	TCP_SHIFT = 8,	       /* our window scale */
	TCP_SHIFT_MAX = 14,    /* RFC 7323 2.3 */
	TCP_WINDOW_MIN = 128 << 10, /* least window while the socket takes what
				       comes */
	TCP_WINDOW_MAX = 4 << 20,  /* what Linux lets a send buffer grow to,
				      net.ipv4.tcp_wmem */
	TCP_QUEUE = 700, /* frames, of the 1000 that Linux queues for a link */
	TCP_RTO_MS = 1000,	   /* RFC 6298 2.1, before the first sample */
	TCP_RTO_SYN_MS = 3000,	   /* RFC 6298 5.7, after a repeated SYN */
	TCP_RTO_MIN_MS = 200, /* on top of the round trip: Linux delays its ACKs
				 by up to as much */
	TCP_RTT_EVERY_NS = 10 * 1000 * 1000,
	TCP_RTT_MAX_US = 60 * 1000 * 1000,
	TCP_RTO_HOLE_MS = 20, /* instead of TCP_RTO_MIN_MS on links that lose,
				 see rto_lossy() */
	TCP_RTO_EVEN_MS = 8, /* and where rttvar is below TCP_EVEN_US: a busy
				emulator would stand still for longer */
	TCP_EVEN_US = 1000,
	TCP_RTO_LONE_MS = 60, /* and for a single segment, whose ACK Linux
				 delays by up to 40 ms in most cases */
	TCP_SYN_RETRIES = 7,
	TCP_RETRIES = 10, /* from 200 ms on that is five minutes: a guest may be
			     paused */
	TCP_ACK_DELAY_MS = 10,	   /* stay below the 40 ms by which Linux delays
				      its own */
	TCP_PAST_MS = 60 * 1000, /* as long as Linux's TIME-WAIT */
	TCP_PROBE_IDLE_MS = 30 * 1000,
	TCP_DEAD_MS = 7200 * 1000, /* a connection without any traffic for so
				      long is reset */
	TCP_SILLY = 1460, /* a window of so many bytes is worth a segment */
	TCP_LAZY = 512, /* fewer bytes are not worth a system call, see
			   conn_discard() */
	TCP_STALE_MS = 40,
	TCP_LAZY_BUFFER = 1 << 20, /* receive buffers from this size on can
				      afford more */
	TCP_ASK_MS = TIMER_TICK,
	TCP_ASKS = 6, /* the last pause is 128 ms */
};

static inline struct tcp_conn *conn_of(struct flow *f)
{
	_Static_assert(sizeof(struct tcp_conn) <= FLOW_PRIV, "flow too small");
	return (struct tcp_conn *)(void *)f->priv;
}

/* conn_tap - the index of the side towards the guest; the host's is
 * !conn_tap() */
static inline unsigned conn_tap(const struct flow *f)
{
	return f->side[0].pif == PIF_TAP ? 0 : 1;
}

/* conn_head - bytes of IP and TCP headers of a segment to the guest, without
 * options */
static inline unsigned conn_head(const struct flow *f)
{
	bool v4 = addr_is_v4(&f->side[conn_tap(f)].ours);

	return (v4 ? IP4_HEAD : IP6_HEAD) + TCP_HEAD;
}

static inline int conn_fd(const struct flow *f)
{
	return f->side[!conn_tap(f)].fd;
}

/* conn_init - make a connection in @state of flow @f, whose sides are set
 * Chooses the initial sequence number (RFC 6528) and the MAC address. */
void conn_init(struct tcp *t, struct flow *f, enum tcp_state state);

/* conn_option_bytes - a reader over the options of segment @p
 * conn_option - take the next option: returns its kind, with a reader over its
 * data in *@value, or 0 at the end or if the list is malformed */
struct rd conn_option_bytes(const struct packet *p);
uint8_t conn_option(struct rd *opt, struct rd *value);

/* conn_options - take MSS, window scale and SACK-permitted from the options of
 * @p, the guest's SYN or SYN-ACK
 * conn_syn - take sequence number, window and options from @p, the SYN with
 * which the guest opens the connection; also for another SYN that replaces the
 * first */
void conn_options(struct tcp *t, struct flow *f, const struct packet *p);
void conn_syn(struct tcp *t, struct flow *f, const struct packet *p);

/* conn_mss - the MSS to announce to the guest, in bytes */
uint16_t conn_mss(const struct tcp *t, const struct flow *f);

/* conn_set_mss - set the size of segments to the guest to @mss, but within
 * TCP_MSS_MIN and what its link takes */
void conn_set_mss(const struct tcp *t, struct flow *f, unsigned mss);

/* conn_fit - reduce the size of segments to what fits @frame_max of the
 * transport, which may have become less */
void conn_fit(const struct tcp *t, struct flow *f);

/* conn_window - the window field to send now, scaled; moves the advertised edge
 * Follows RFC 9293 3.8.6.2.2 (silly window syndrome avoidance), and is 0 as
 * long as @out holds bytes that the socket has refused. */
uint16_t conn_window(struct tcp *t, struct flow *f);

/* conn_shut, conn_count_shut - note whether the window that @by controls is
 * @shut now, for tcp_shut_ns(); the inline one skips connections whose window
 * is and was open */
void conn_count_shut(struct tcp *t, struct flow *f, enum tcp_shutter by,
		     bool shut);

static inline void conn_shut(struct tcp *t, struct flow *f,
			     enum tcp_shutter by, bool shut)
{
	if (UNLIKELY(shut || conn_of(f)->flags & CONN_SHUT_GUEST << by))
		conn_count_shut(t, f, by, shut);
}

/* conn_ack_soon - owe the guest an ACK at the end of this turn
 * conn_ack_bulk - likewise, but it may wait for up to 15 turns in which the
 * guest goes on sending, while at least half of the window is left
 * conn_ack_late - owe an ACK within TCP_ACK_DELAY_MS, for data to carry
 * conn_acked - an ACK was sent, no more is owed */
void conn_ack_soon(struct tcp *t, struct flow *f);
void conn_ack_bulk(struct tcp *t, struct flow *f);
void conn_ack_late(struct tcp *t, struct flow *f);
void conn_acked(struct tcp *t, struct flow *f);

/* conn_rtt_begin - new bytes before @seq were sent: time this round trip,
 * unless one is being timed or the last began less than TCP_RTT_EVERY_NS ago
 * conn_rtt_end - all bytes before @ack were acknowledged: if that includes the
 * timed ones, take the sample (conn_rtt_measured())
 * conn_rtt_off - give up timing, as something was retransmitted and the ACK
 * would be ambiguous (Karn's algorithm, RFC 6298 3) */
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

/* conn_rto - (re)start the retransmission timer (RFC 6298)
 * conn_timer - set the flow's timer to the earliest of the connection's
 * deadlines */
void conn_rto(struct tcp *t, struct flow *f);
void conn_timer(struct tcp *t, struct flow *f);

/* conn_send - send @iov (@n entries) to the socket
 * Returns how many bytes it took, 0 instead of -EAGAIN, or -errno.  A soft
 * error is reported to the guest, and sending is tried again, see
 * conn_soft(). */
ssize_t conn_send(struct tcp *t, struct flow *f, const struct iovec *iov,
		  unsigned n);

/* conn_soft - whether the connection survives @err (-errno) of its socket (RFC
 * 1122 4.2.3.9); if so, the guest is sent an ICMP error */
bool conn_soft(struct tcp *t, struct flow *f, int err);

/* conn_fin - take the guest's FIN, all bytes before it having been received
 * Nothing can follow it, so the caller drops what is left in @ahead, but not
 * before it is certain that none of these bytes are given back to the guest. */
void conn_fin(struct flow *f);

/* conn_flush - send what waits in @out and @ahead to the socket, and when all
 * of it is gone pass on the guest's FIN
 * Returns 0, even if bytes are left, or -errno if the socket is broken. */
int conn_flush(struct tcp *t, struct flow *f);

/* conn_waits - whether there is anything for conn_flush() to do */
static inline bool conn_waits(const struct tcp_conn *c)
{
	return c->out.len || c->ahead.first ||
	       c->flags & (CONN_GUEST_FIN | CONN_FIN_AHEAD);
}

/* conn_refused - the socket did not take everything: ask it again before long
 * Linux reports EPOLLOUT when a third of the send buffer is free, which is late
 * on a long path.  So as long as the socket takes something (@took) it is asked
 * again after TCP_ASK_MS, after twice as long each time that it takes nothing,
 * and after TCP_ASKS attempts only on EPOLLOUT. */
void conn_refused(struct tcp *t, struct flow *f, bool took);

/* conn_peek_at - have the next sock_peek() read from @off bytes into the
 * receive queue
 * On failure the connection becomes CONN_ASTRAY: nothing may be read from
 * it. */
void conn_peek_at(struct flow *f, uint32_t off);

/* conn_discard - after the guest has acknowledged something: remove
 * acknowledged bytes from the socket if there are enough to be worth a system
 * call, otherwise do so within TCP_STALE_MS
 * conn_stale - remove them if that time has passed */
void conn_discard(struct tcp *t, struct flow *f);
void conn_stale(struct tcp *t, struct flow *f);

/* conn_remove - remove all that the guest has acknowledged from the socket
 * now */
void conn_remove(struct flow *f);

/* conn_past - the connection with the guest's side @key that has ended well,
 * and not more than TCP_PAST_MS ago; NULL: none */
struct tcp_past *conn_past(struct tcp *t, const struct side *key);

/* conn_remember - copy @p to where conn_past() finds it; may evict an older
 * entry */
void conn_remember(struct tcp *t, const struct tcp_past *p);

/* conn_finished - whether both directions have ended and both FINs were
 * acknowledged */
bool conn_finished(const struct tcp_conn *c);

/* All of these free the flow, except conn_reset():
 * conn_close - close the socket, so that the peer sees FIN, and remember the
 * connection for conn_past()
 * conn_abort - close the socket so that the peer sees RST
 * conn_forget - leave the socket as it is: it is closed already, or somebody
 * else's
 * conn_reset - like conn_abort(), but the guest is owed an RST; until that is
 * sent the flow stays, with CONN_RESET and nothing else */
void conn_close(struct tcp *t, struct flow *f);
void conn_abort(struct tcp *t, struct flow *f);
void conn_forget(struct tcp *t, struct flow *f);
void conn_reset(struct tcp *t, struct flow *f);

#endif /* TCP_CONN_H */
