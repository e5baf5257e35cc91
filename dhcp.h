/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * dhcp - RFC 2131 and BOOTP, request in, answer out
 */
#ifndef DHCP_H
#define DHCP_H

#include "lan.h"
#include "packet.h"
#include "rkap.h"

enum { DHCP_SERVER = 67, DHCP_CLIENT = 68 };

/* dhcp_answer - @in is the UDP payload of a packet to port 67
 * @c: the client that can be called, which this may make of who asks; or NULL */
bool dhcp_answer(const struct lan *lan, const struct packet *p, struct rd in,
		 struct rkap *c, struct answer *out);

/* dhcp_call - a FORCERENEW (RFC 3203) for @c, unless it would be answered what it
 * knows.  True: @out is to be sent. */
bool dhcp_call(const struct lan *lan, struct rkap *c, struct answer *out);

#endif /* DHCP_H */
