/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * echo - echo requests of the guest, by ping sockets
 */
#ifndef ECHO_H
#define ECHO_H

#include "flow.h"
#include "fwd.h"
#include "icmp.h"
#include "neigh.h"
#include "tap.h"

enum { ECHO_BATCH = 8 }; /* echo is not bulk */

struct echo {
	struct icmp_limit limit;
	struct flows *flows;
	struct tap *tap;
	const struct fwd *fwd;
	const struct neigh *neigh;
	uint64_t drops[VERDICTS]; /* datagrams lost after their flow was found */
	uint8_t rx[ECHO_BATCH][1 << 16]; /* what does not fit its slot */
};

enum { ECHO_TIMEOUT_MS = 60 * 1000 };

/* echo_init - registers FLOW_ICMP with @flows */
void echo_init(struct echo *o, struct flows *flows, struct tap *tap,
	       const struct fwd *fwd, const struct neigh *neigh);

/* echo_open - a flow for the guest's echo request @p; NULL and *@v: why not
 * The packet itself is handed to its input() afterwards. */
struct flow *echo_open(struct echo *o, const struct packet *p,
		       enum verdict *v);

#endif /* ECHO_H */
