/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * dhcp - answers DHCP (RFC 2131) and BOOTP requests: packet in, answer out, no
 * I/O
 */
#ifndef DHCP_H
#define DHCP_H

#include "lan.h"
#include "packet.h"
#include "rkap.h"

enum { DHCP_SERVER = 67, DHCP_CLIENT = 68 };

/* dhcp_answer - answer packet @p to port 67; @in is its UDP payload
 * @c is the client that can be told to renew, and may become the one that asks;
 * or NULL.  Returns true if @out is to be sent. */
bool dhcp_answer(const struct lan *lan, const struct packet *p, struct rd in,
		 struct rkap *c, struct answer *out);

/* dhcp_call - make a FORCERENEW (RFC 3203) for @c, unless its request would be
 * answered as it was; true if @out is to be sent */
bool dhcp_call(const struct lan *lan, struct rkap *c, struct answer *out);

#endif /* DHCP_H */
