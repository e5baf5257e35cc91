/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * udp - datagrams between a flow's two sides, coalesced and split as offload
 * allows
 */
#ifndef UDP_H
#define UDP_H

#include "flow.h"
#include "fwd.h"
#include "icmp.h"
#include "listen.h"
#include "mcast_sock.h"
#include "neigh.h"
#include "tap.h"
#include "udp_splice.h"

enum { UDP_RUN = 64 }; /* most datagrams that are received as one run */

struct udp {
	struct flows *flows;
	struct tap *tap;
	struct fwd *fwd;
	struct listen *listen;
	const struct neigh *neigh;
	unsigned watch; /* listeners' */
	struct udp_patience patience;
	struct udp_splice splice;
	struct icmp_limit limit;
	uint64_t drops[VERDICTS]; /* datagrams lost after they had a flow, or
				     because a listener's got none */
	uint8_t rx[UDP_RUN][UDP_RX]; /* what cannot go straight to a slot */
	struct mcast_sock mcast; /* all zero at first */
};

/* udp_init - registers FLOW_UDP and FLOW_UDP_SPLICE with @flows and a watch for
 * listeners, which @listen is told; its namespace is the other one
 * Time-outs are net.netfilter.nf_conntrack_udp_timeout(_stream), else 30 s and
 * 120 s (RFC 4787 4.3 wants at least 2 minutes for the latter). */
void udp_init(struct udp *u, struct flows *flows, struct tap *tap,
	      struct fwd *fwd, struct listen *listen,
	      const struct neigh *neigh);

/* udp_end - close the sockets of all flows: others may want their ports */
void udp_end(struct udp *u);

/* udp_open - a flow for the guest's datagram @p; NULL and *@v: why not */
struct flow *udp_open(struct udp *u, const struct packet *p, enum verdict *v);

#endif /* UDP_H */
