/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * ndp - neighbour discovery (RFC 4861, RFC 8106), request in, answer out
 */
#ifndef NDP_H
#define NDP_H

#include "lan.h"
#include "neigh.h"
#include "packet.h"

/* ndp_is - whether an ICMPv6 type belongs here: 133 to 136 */
static inline bool ndp_is(uint8_t type)
{
	return type >= 133 && type <= 136;
}

/* ndp_answer - @in is the ICMPv6 message from its type byte on
 * NS gets a NA, from the address that was asked for; duplicate address detection
 * only where the address is ours or a neighbour's.  RS gets a RA; everything
 * else is used up silently. */
bool ndp_answer(const struct lan *lan, const struct neigh *neigh,
		const struct packet *p, struct rd in, struct answer *out);

/* ndp_advertise - an unsolicited RA to ff02::1 */
bool ndp_advertise(const struct lan *lan, const struct seen *seen,
		   struct answer *out);

/* ndp_farewell - from the router of @was, another one now: that it is none (RFC
 * 4861, 6.2.5) */
bool ndp_farewell(const struct lan *was, struct answer *out);

/* ndp_changed - @now holds from now on, @was did until now
 * Notes in @now what is no longer advertised, so that it is advertised with a
 * lifetime of 0.  True if there is anything new to tell. */
bool ndp_changed(struct lan *now, const struct lan *was);

/* ndp_ask - NS for the guest's address, to its solicited-node group */
bool ndp_ask(const struct lan *lan, const struct seen *seen,
	     struct answer *out);

/* ndp_call - an echo request to all nodes, from an address of the guest's prefix:
 * who answers does so from an address of that scope.  False: no prefix is known.
 */
bool ndp_call(const struct lan *lan, struct answer *out);

/* ndp_claims - whether the guest looks if nobody has an address of its prefix, which it
 * is then about to have (RFC 4862, 5.4): @a.  @in is as for ndp_answer(). */
bool ndp_claims(const struct lan *lan, const struct packet *p, struct rd in,
		struct addr *a);

/* ndp_announce - an unsolicited NA for a neighbour that appeared */
bool ndp_announce(const struct lan *lan, const struct addr *addr,
		  const struct mac *mac, struct answer *out);

/* RFC 4861 6.2.1: at most 600 s between RAs, at least a third of that; 6.2.4: of what
 * is new three, which are no closer than 3 s (10, MIN_DELAY_BETWEEN_RAS) */
enum {
	NDP_RA_MAX_MS = 600 * 1000,
	NDP_RA_MIN_MS = NDP_RA_MAX_MS / 3,
	NDP_RA_NEWS = 3,
	NDP_RA_NEWS_MS = 3000,
};

#endif /* NDP_H */
