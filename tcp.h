/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * tcp - connections between the guest and stream sockets: open, listen,
 * timers
 */
#ifndef TCP_H
#define TCP_H

#include "ahead.h"
#include "flow.h"
#include "fwd.h"
#include "icmp.h"
#include "listen.h"
#include "neigh.h"
#include "splice.h"
#include "tap.h"

/* The table of past connections is set-associative: TCP_PAST_SETS sets of
 * TCP_PAST_WAYS entries */
enum { TCP_PAST_SETS = 128, TCP_PAST_WAYS = 4 };

/* What replaces a flow in TIME-WAIT: enough to acknowledge a repeated FIN */
struct tcp_past {
	struct side side;
	uint32_t snd_nxt, rcv_nxt;
	uint64_t ended_ms; /* loop time at the end; 64 bits, as an entry may
			      stay for weeks */
};

/* What was learnt about the guest's link, shared by all connections (RFC
 * 9040) */
struct tcp_link {
	uint32_t srtt_us, rttvar_us; /* RFC 6298; 0: no sample yet */
	/* The round trip being timed: the flow that at @sent_ns sent the bytes
	 * before @seq; NULL: none */
	struct flow *timed;
	uint32_t seq;
	uint64_t sent_ns;
	uint64_t lost_ms; /* loop time of the last loss, 0: never */
	uint32_t ssthresh; /* slow start threshold after it */
};

/* Total time that receive windows of connections were shut: @n are shut now,
 * and @ns is the sum up to @since_ns */
struct tcp_shut {
	unsigned n;
	uint64_t ns, since_ns;
};

enum tcp_shutter { TCP_SHUT_GUEST, TCP_SHUT_HOST };

struct tcp_count {
	uint64_t repeated; /* bytes retransmitted to the guest */
	uint64_t timeouts, fast; /* losses detected by the retransmission timer,
				    and by the guest's ACKs */
	struct tcp_shut shut[2]; /* windows shut by the guest, and by us when
				    the host's socket takes no more */
};

struct tcp {
	struct flows *flows;
	struct tap *tap;
	struct fwd *fwd;
	struct listen *listen;
	struct splice *splice; /* NULL: every connection goes to the guest */
	const struct neigh *neigh;
	unsigned watch; /* the listeners' watch */
	struct flow *acks; /* flows that owe the guest an ACK, SYN or RST at the
			      end of the turn */
	uint64_t frames;   /* frames that the guest had sent by the end of the
			      last turn */
	unsigned syn_linear, syn_retries; /* net.ipv4.tcp_syn_linear_timeouts,
					     tcp_syn_retries */
	unsigned rto_max_ms;
	struct tcp_link link;
	struct tcp_count count;
	struct icmp_limit limit;
	struct chunks *chunks; /* pool for bytes that a socket did not take at
				  once */
	struct aheads ahead; /* out-of-order bytes from the guest */
	struct tcp_past past[TCP_PAST_SETS][TCP_PAST_WAYS]; /* by hash of the
							       guest's side */
	uint64_t last_ref, last_turn; /* listener and turn of the last accept(),
					 see accepts() */
};

/* tcp_init - set up @t and @chunks, register FLOW_TCP with @flows and a watch
 * for listening sockets with the loop, and tell @listen its number
 * Returns 0 or -errno. */
int tcp_init(struct tcp *t, struct flows *flows, struct tap *tap,
	     struct fwd *fwd, struct listen *listen,
	     const struct neigh *neigh, struct chunks *chunks);

/* tcp_splice - have @s take the connections that are to be spliced */
static inline void tcp_splice(struct tcp *t, struct splice *s)
{
	t->splice = s;
}

/* tcp_open - open a flow for segment @p of the guest, which belongs to none
 * Returns the flow, whose connect() may still be pending.  NULL: the segment
 * was answered, and *@v is PASS, or it is dropped for the reason *@v.  A
 * segment that is no SYN is answered with RST (RFC 9293 3.10.7.1), unless it
 * belongs to a connection that has ended a moment ago, see tcp_out_stray(). */
struct flow *tcp_open(struct tcp *t, const struct packet *p, enum verdict *v);

/* tcp_shut_ns - nanoseconds for which windows were shut by @by, summed over all
 * connections until now */
uint64_t tcp_shut_ns(const struct tcp *t, enum tcp_shutter by);

/* tcp_turn_end - at the end of a turn, send the ACKs that no data carried, and
 * each SYN and RST for which the guest had no room before
 * An ACK of bulk data may wait for more data, see conn_ack_bulk(); the next
 * turn then does not wait for events. */
void tcp_turn_end(struct tcp *t);

#endif /* TCP_H */
