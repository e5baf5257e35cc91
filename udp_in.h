/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * udp_in - datagrams from the guest; internal to udp*.c
 */
#ifndef UDP_IN_H
#define UDP_IN_H

#include "udp_flow.h"

/* udp_in_burst - input() of struct flow_type: send a burst of the guest's
 * datagrams to the host; all are used */
struct packet *udp_in_burst(void *owner, struct flow *f, struct packet *list);

#endif /* UDP_IN_H */
