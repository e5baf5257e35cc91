/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * dhcpv6 - RFC 8415, request in, answer out
 */
#ifndef DHCPV6_H
#define DHCPV6_H

#include "lan.h"
#include "packet.h"

enum { DHCPV6_SERVER = 547, DHCPV6_CLIENT = 546 };

/* dhcpv6_answer - @in is the UDP payload of a packet to port 547 */
bool dhcpv6_answer(const struct lan *lan, const struct packet *p, struct rd in,
		   struct answer *out);

/* dhcpv6_assigns - whether who sends a message of this @type is about to use the
 * address that it is answered */
bool dhcpv6_assigns(uint8_t type);

#endif /* DHCPV6_H */
