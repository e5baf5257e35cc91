/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * tcp_path - what is known about the path beyond the host; internal to
 * tcp*.c
 */
#ifndef TCP_PATH_H
#define TCP_PATH_H

#include "tcp_conn.h"

enum {
	PATH_ECN = 3, /* bits of the type of service that each end negotiates
			 for itself */
	/* least time between two looks at the path MTU */
	PATH_LOOK_MS = 1000,
};

/* path_open - give the socket, which is about to connect, the TTL and type of
 * service of the guest's SYN @p */
void path_open(struct tcp *t, struct flow *f, const struct packet *p);

/* path_mark - from segment @p on the guest sends with another type of service:
 * set it on the socket */
void path_mark(struct flow *f, const struct packet *p);

/* path_look - with CONN_PATH set: if the host's kernel has learnt a path MTU
 * below that of the host's link, tell the guest by an ICMP error */
void path_look(struct tcp *t, struct flow *f);

#endif /* TCP_PATH_H */
