/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * dhcp - RFC 2131 and BOOTP, request in, answer out
 */
#ifndef DHCP_H
#define DHCP_H

#include "lan.h"
#include "packet.h"

enum { DHCP_SERVER = 67, DHCP_CLIENT = 68 };

/* dhcp_answer - @in is the UDP payload of a packet to port 67 */
bool dhcp_answer(const struct lan *lan, const struct packet *p, struct rd in,
		 struct answer *out);

#endif /* DHCP_H */
