/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * tcp_in - from the guest; internal to tcp*.c
 */
#ifndef TCP_IN_H
#define TCP_IN_H

#include "tcp_out.h"

/* tcp_in_burst - a burst of segments of one connection, in order
 * May end the connection and free @f: then it returns the segments behind the
 * one that did, which belong to whatever has the tuple now.  NULL: all used. */
struct packet *tcp_in_burst(struct tcp *t, struct flow *f, struct packet *list);

/* tcp_in_open - both handshakes are done, data may flow */
void tcp_in_open(struct tcp *t, struct flow *f);

#endif /* TCP_IN_H */
