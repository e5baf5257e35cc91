/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * tcp_path - what is known of the way beyond the host; internal to tcp*.c
 */
#ifndef TCP_PATH_H
#define TCP_PATH_H

#include "tcp_conn.h"

enum {
	PATH_ECN = 3, /* of the type of service: negotiated by each end itself */
	PATH_LOOK_MS = 1000,
};

/* path_open - the socket, about to connect, sends as the guest's SYN @p was sent */
void path_open(struct tcp *t, struct flow *f, const struct packet *p);

/* path_mark - what the guest sends has another type of service from @p on */
void path_mark(struct flow *f, const struct packet *p);

/* path_look - CONN_PATH is set: when the host's kernel has learnt that the path holds
 * less than the host's link, the guest does */
void path_look(struct tcp *t, struct flow *f);

#endif /* TCP_PATH_H */
