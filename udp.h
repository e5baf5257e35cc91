/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * udp - datagrams between a flow's two sides; runs of equal ones are joined and
 * split where the kernel's or the guest's offloads allow it
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

enum { UDP_RUN = 64 }; /* most datagrams received as one run */

struct udp {
	struct flows *flows;
	struct tap *tap;
	struct fwd *fwd;
	struct listen *listen;
	const struct neigh *neigh;
	unsigned watch; /* the listeners' watch */
	struct udp_patience patience;
	struct udp_splice splice;
	struct icmp_limit limit;
	uint64_t drops[VERDICTS]; /* datagrams lost after they had a flow, or at
				     a listener because they could get none */
	uint8_t rx[UDP_RUN][UDP_RX]; /* buffers for what cannot be received into
					a slot */
	struct mcast_sock mcast; /* all zero at first */
};

/* udp_init - set up @u, register FLOW_UDP and FLOW_UDP_SPLICE with @flows and a
 * watch for listening sockets with the loop, and tell @listen its number;
 * datagrams are spliced to the namespace of @listen
 * A silent flow lasts for net.netfilter.nf_conntrack_udp_timeout, or _stream
 * once datagrams have gone both ways; without these, 30 s and 120 s (RFC 4787
 * 4.3 asks for at least 2 minutes in the latter case). */
void udp_init(struct udp *u, struct flows *flows, struct tap *tap,
	      struct fwd *fwd, struct listen *listen,
	      const struct neigh *neigh);

/* udp_end - close the sockets of all datagram flows at exit: others may be
 * waiting for their ports */
void udp_end(struct udp *u);

/* udp_open - open a flow for datagram @p of the guest, which belongs to none
 * Returns NULL and the reason in *@v if it is to be dropped; an ICMP error was
 * then sent if it was the host that refused it. */
struct flow *udp_open(struct udp *u, const struct packet *p, enum verdict *v);

#endif /* UDP_H */
