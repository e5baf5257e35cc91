/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * ndp - answers neighbour discovery (RFC 4861, RFC 8106): packet in, answer
 * out, no I/O
 */
#ifndef NDP_H
#define NDP_H

#include "lan.h"
#include "neigh.h"
#include "packet.h"

/* ndp_is - whether an ICMPv6 type is for ndp_answer(): 133 to 136 */
static inline bool ndp_is(uint8_t type)
{
	return type >= 133 && type <= 136;
}

/* ndp_answer - answer packet @p; @in is the ICMPv6 message from its type byte
 * on
 * A neighbour solicitation gets an advertisement from the address that was
 * asked for, but one of duplicate address detection only if the address is ours
 * or a neighbour's.  A router solicitation gets a router advertisement.
 * Everything else is ignored.  Returns true if @out is to be sent. */
bool ndp_answer(const struct lan *lan, const struct neigh *neigh,
		const struct packet *p, struct rd in, struct answer *out);

/* ndp_advertise - make an unsolicited router advertisement to ff02::1 */
bool ndp_advertise(const struct lan *lan, const struct seen *seen,
		   struct answer *out);

/* ndp_farewell - make the advertisement by which the router of @was, whose
 * address is now another one, ceases to be one (RFC 4861, 6.2.5) */
bool ndp_farewell(const struct lan *was, struct answer *out);

/* ndp_changed - compare the link's configurations @now and @was
 * Notes in @now what is no longer advertised, so that it is advertised with a
 * lifetime of 0.  Returns whether there is anything new to advertise. */
bool ndp_changed(struct lan *now, const struct lan *was);

/* ndp_ask - make a neighbour solicitation for the guest's address, to its
 * solicited-node group */
bool ndp_ask(const struct lan *lan, const struct seen *seen,
	     struct answer *out);

/* ndp_call - make an echo request to all nodes from an address of the guest's
 * prefix, so that the guest answers from an address of that scope; false if no
 * prefix is known */
bool ndp_call(const struct lan *lan, struct answer *out);

/* ndp_claims - whether @p is the guest's duplicate address detection (RFC 4862,
 * 5.4) for an address of its prefix, *@a, which it is about to use; @in as for
 * ndp_answer() */
bool ndp_claims(const struct lan *lan, const struct packet *p, struct rd in,
		struct addr *a);

/* ndp_announce - make an unsolicited neighbour advertisement for a neighbour
 * that has appeared */
bool ndp_announce(const struct lan *lan, const struct addr *addr,
		  const struct mac *mac, struct answer *out);

/* RFC 4861 6.2.1: at most 600 s between advertisements, and at least a third of
 * that; 6.2.4: three when something is new, at least 3 s apart (10,
 * MIN_DELAY_BETWEEN_RAS) */
enum {
	NDP_RA_MAX_MS = 600 * 1000,
	NDP_RA_MIN_MS = NDP_RA_MAX_MS / 3,
	NDP_RA_NEWS = 3,
	NDP_RA_NEWS_MS = 3000,
};

#endif /* NDP_H */
