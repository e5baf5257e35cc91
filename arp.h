/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * arp - answers ARP requests (RFC 826): packet in, answer out, no I/O
 */
#ifndef ARP_H
#define ARP_H

#include "lan.h"
#include "neigh.h"
#include "packet.h"

/* arp_answer - answer the guest's ARP packet @p; @in is its body behind the
 * Ethernet header
 * Requests are answered for any address but the guest's own; not so
 * announcements and foreign formats.  A probe (RFC 5227) is answered only for
 * an address that is taken: ours or a neighbour's.  Returns true if @out is to
 * be sent. */
bool arp_answer(const struct lan *lan, const struct neigh *neigh,
		const struct packet *p, struct rd in, struct answer *out);

/* arp_ask - make a request for the guest's address; false if none is known */
bool arp_ask(const struct lan *lan, const struct seen *seen,
	     struct answer *out);

/* arp_announce - make an announcement of neighbour @addr, which has appeared */
bool arp_announce(const struct addr *addr, const struct mac *mac,
		  struct answer *out);

#endif /* ARP_H */
