/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * dhcpv6 - answers DHCPv6 requests (RFC 8415): packet in, answer out, no I/O
 */
#ifndef DHCPV6_H
#define DHCPV6_H

#include "lan.h"
#include "packet.h"
#include "rkap.h"

enum { DHCPV6_SERVER = 547, DHCPV6_CLIENT = 546 };

/* dhcpv6_answer - answer packet @p to port 547; @in is its UDP payload
 * @c is the client that can be told to renew, and may become the one that asks;
 * or NULL.  Returns true if @out is to be sent. */
bool dhcpv6_answer(const struct lan *lan, const struct packet *p, struct rd in,
		   struct rkap *c, struct answer *out);

/* dhcpv6_call - make a Reconfigure for @c, unless its request would be answered
 * as it was; true if @out is to be sent */
bool dhcpv6_call(const struct lan *lan, struct rkap *c, struct answer *out);

/* dhcpv6_assigns - whether a client that sends a message of this @type is about
 * to use the address in the answer */
bool dhcpv6_assigns(uint8_t type);

#endif /* DHCPV6_H */
