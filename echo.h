/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * echo - carries the guest's echo requests by ping sockets
 */
#ifndef ECHO_H
#define ECHO_H

#include "flow.h"
#include "fwd.h"
#include "icmp.h"
#include "neigh.h"
#include "tap.h"

enum { ECHO_BATCH = 8 }; /* datagrams at once: echo is not bulk */

struct echo {
	struct icmp_limit limit;
	struct flows *flows;
	struct tap *tap;
	const struct fwd *fwd;
	const struct neigh *neigh;
	uint64_t drops[VERDICTS]; /* datagrams lost after they had a flow */
	uint8_t rx[ECHO_BATCH][1 << 16]; /* buffers for what does not fit its
					    slot */
};

enum { ECHO_TIMEOUT_MS = 60 * 1000 };

/* echo_init - set up @o and register FLOW_ICMP with @flows */
void echo_init(struct echo *o, struct flows *flows, struct tap *tap,
	       const struct fwd *fwd, const struct neigh *neigh);

/* echo_open - open a flow for the guest's echo request @p, which is then to be
 * given to its input()
 * Returns NULL and the reason in *@v if it is to be dropped. */
struct flow *echo_open(struct echo *o, const struct packet *p,
		       enum verdict *v);

#endif /* ECHO_H */
