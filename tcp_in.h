/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * tcp_in - segments from the guest; internal to tcp*.c
 */
#ifndef TCP_IN_H
#define TCP_IN_H

#include "tcp_out.h"

/* tcp_in_burst - process a burst of segments of one connection, in order
 * Returns NULL if all were used.  If the connection ended and @f was freed, it
 * returns the segments behind the one that ended it: they belong to whatever
 * has the tuple now. */
struct packet *tcp_in_burst(struct tcp *t, struct flow *f, struct packet *list);

/* tcp_in_open - the three-way handshake with the guest is done, as is the
 * host's: data may flow */
void tcp_in_open(struct tcp *t, struct flow *f);

#endif /* TCP_IN_H */
