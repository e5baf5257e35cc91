/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * scan - looks which ports are bound in both namespaces and has listen follow
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
	unsigned pause, left; /* looks until what failed is tried again; 0: all
				 is well */
	int diag[2];	/* NETLINK_SOCK_DIAG of our and the other namespace;
			   -1: not to be had */
	int proc[2][4]; /* in its place: /proc/net/tcp, tcp6, udp, udp6; -1 */
	int stat[2];	/* /proc/net/sockstat; -1 */
	struct scan_stat {
		unsigned used, tcp, tw, udp; /* sockets */
		unsigned skipped; /* looks in a row */
	} last[2];
	/* Bound there, by others than us; as of now and as of the last time */
	struct portmap now[2][SCAN_PROTOS], before[2][SCAN_PROTOS];
	uint8_t buf[16 << 10];
	uint32_t looks;
	struct scan_seen { /* in look @look, that may be a flow's; by port */
		uint32_t look, n;
	} seen[65536]; /* zero before scan_init() */
};

/* scan_init - open what it takes to look, 0 or -errno */
int scan_init(struct scan *s, struct loop *l, const struct flows *flows,
	      struct listen *listen, const struct ns *ns);

/* scan_look - look now and have @listen follow if anything has changed */
void scan_look(struct scan *s);

/* scan_start - look now and once a second while there are rules that ask for
 * it: to be called again after rules have changed */
void scan_start(struct scan *s);

#endif /* SCAN_H */
