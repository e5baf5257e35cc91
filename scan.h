/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * scan - finds out which ports are bound in both namespaces, and has listen
 * follow
 */
#ifndef SCAN_H
#define SCAN_H

#include "flow.h"
#include "listen.h"
#include "ns.h"

enum { SCAN_TCP, SCAN_UDP, SCAN_PROTOS };

struct scan {
	struct loop *loop;
	const struct flows *flows;
	struct listen *listen;
	const struct ns *ns;
	struct timer timer;
	uint32_t seq;
	unsigned pause, left; /* looks until what has failed is tried again; 0:
				 nothing has failed */
	int diag[2];	/* NETLINK_SOCK_DIAG sockets of our and the other
			   namespace; -1: not available */
	int proc[2][4]; /* instead: /proc/net/tcp, tcp6, udp, udp6; -1 */
	int stat[2];	/* /proc/net/sockstat; -1 */
	struct scan_stat {
		unsigned used, tcp, tw, udp; /* numbers of sockets */
		unsigned skipped; /* looks skipped in a row */
	} last[2];
	/* Ports bound in each namespace by others than us, now and at the last
	 * look */
	struct portmap now[2][SCAN_PROTOS], before[2][SCAN_PROTOS];
	uint8_t buf[16 << 10];
	uint32_t looks;
	struct scan_seen { /* sockets seen in look @look that may be flows'; by
			      port */
		uint32_t look, n;
	} seen[65536]; /* all zero before scan_init() */
};

/* scan_init - open what is needed to look; 0 or -errno */
int scan_init(struct scan *s, struct loop *l, const struct flows *flows,
	      struct listen *listen, const struct ns *ns);

/* scan_look - look now, and have @listen follow if anything has changed */
void scan_look(struct scan *s);

/* scan_start - look now, and then once a second while there are rules with
 * RULE_SCAN; to be called again when rules have changed */
void scan_start(struct scan *s);

#endif /* SCAN_H */
