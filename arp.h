/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * arp - RFC 826 request in, answer out, no I/O
 */
#ifndef ARP_H
#define ARP_H

#include "lan.h"
#include "neigh.h"
#include "packet.h"

/* arp_answer - @in is the packet's body after Ethernet
 * Answers a request for any address but the guest's own, an announcement or
 * a foreign format; a probe (RFC 5227) only for an address that is taken: ours
 * or a neighbour's.  True: @out is to be sent. */
bool arp_answer(const struct lan *lan, const struct neigh *neigh,
		const struct packet *p, struct rd in, struct answer *out);

/* arp_ask - who has the guest's address?  False: none is known */
bool arp_ask(const struct lan *lan, const struct seen *seen,
	     struct answer *out);

/* arp_announce - tell the guest about a neighbour that appeared */
bool arp_announce(const struct addr *addr, const struct mac *mac,
		  struct answer *out);

#endif /* ARP_H */
