/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * dhcpv6 - RFC 8415, request in, answer out
 */
#ifndef DHCPV6_H
#define DHCPV6_H

#include "lan.h"
#include "packet.h"
#include "rkap.h"

enum { DHCPV6_SERVER = 547, DHCPV6_CLIENT = 546 };

/* dhcpv6_answer - @in is the UDP payload of a packet to port 547
 * @c: the client that can be called, which this may make of who asks; or NULL */
bool dhcpv6_answer(const struct lan *lan, const struct packet *p, struct rd in,
		   struct rkap *c, struct answer *out);

/* dhcpv6_call - a Reconfigure for @c, unless it would be answered what it knows.
 * True: @out is to be sent. */
bool dhcpv6_call(const struct lan *lan, struct rkap *c, struct answer *out);

/* dhcpv6_assigns - whether who sends a message of this @type is about to use the
 * address that it is answered */
bool dhcpv6_assigns(uint8_t type);

#endif /* DHCPV6_H */
