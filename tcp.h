/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * tcp - connections between the guest and stream sockets: open, listen, timers
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

/* A place in the table of past connections, and how many may have the same one */
enum { TCP_PAST_SETS = 128, TCP_PAST_WAYS = 4 };

/* Instead of a flow in TIME-WAIT: what is needed to acknowledge a FIN again */
struct tcp_past {
	struct side side;
	uint32_t snd_nxt, rcv_nxt;
	uint64_t ended_ms; /* it may stay in its place for weeks */
};

/* What was learnt of the guest's link, which all connections share (RFC 9040) */
struct tcp_link {
	uint32_t srtt_us, rttvar_us; /* RFC 6298; 0: nothing measured yet */
	/* What is measured now: NULL, or the flow that sent what is before @seq
	 * at @sent_ns */
	struct flow *timed;
	uint32_t seq;
	uint64_t sent_ns;
	uint64_t lost_ms; /* when something was lost, 0: never */
	uint32_t ssthresh; /* and how much would have been right then */
};

/* Time during which windows of connections were shut, summed up: of @n they are
 * now, and @ns is as of @since_ns */
struct tcp_shut {
	unsigned n;
	uint64_t ns, since_ns;
};

enum tcp_shutter { TCP_SHUT_GUEST, TCP_SHUT_HOST };

struct tcp_count {
	uint64_t repeated; /* bytes that the guest was sent again */
	uint64_t timeouts, fast; /* what was seen to be lost: by the timer, by
				    what the guest acknowledges */
	struct tcp_shut shut[2]; /* by the guest; by us, as the host's socket
				    takes no more */
};

struct tcp {
	struct flows *flows;
	struct tap *tap;
	struct fwd *fwd;
	struct listen *listen;
	struct splice *splice; /* NULL: everything goes to the guest */
	const struct neigh *neigh;
	unsigned watch; /* listeners' */
	struct flow *acks; /* flows that owe the guest an ACK, SYN or RST this turn */
	uint64_t frames;   /* that the guest had sent when the last one ended */
	unsigned syn_linear, syn_retries; /* net.ipv4.tcp_syn_* */
	unsigned rto_max_ms;
	struct tcp_link link;
	struct tcp_count count;
	struct icmp_limit limit;
	struct chunks *chunks; /* bytes a socket did not take at once */
	struct aheads ahead; /* and those that came before their turn */
	struct tcp_past past[TCP_PAST_SETS][TCP_PAST_WAYS]; /* by hash */
	uint64_t last_ref, last_turn; /* of a connection that was accepted */
};

/* tcp_init - registers FLOW_TCP with @flows and a watch for listeners, which
 * @listen is told
 * @chunks is initialised.  0 or -errno. */
int tcp_init(struct tcp *t, struct flows *flows, struct tap *tap,
	     struct fwd *fwd, struct listen *listen,
	     const struct neigh *neigh, struct chunks *chunks);

/* tcp_splice - hand loopback connections to @s */
static inline void tcp_splice(struct tcp *t, struct splice *s)
{
	t->splice = s;
}

/* tcp_open - a flow for a SYN of the guest; NULL: it was answered or dropped
 * Anything but a SYN is answered with RST (RFC 9293 3.10.7.1). */
struct flow *tcp_open(struct tcp *t, const struct packet *p, enum verdict *v);

/* tcp_shut_ns - nanoseconds for which windows were shut, until now */
uint64_t tcp_shut_ns(const struct tcp *t, enum tcp_shutter by);

/* tcp_turn_end - send the ACKs that no data carried, and SYN and RST for which the
 * guest had no room
 * One of bulk data may wait for more, see conn_ack_bulk(): then the next turn
 * comes at once. */
void tcp_turn_end(struct tcp *t);

#endif /* TCP_H */
