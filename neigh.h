/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * neigh - MAC addresses of the host's neighbours, as the guest sees them
 */
#ifndef NEIGH_H
#define NEIGH_H

#include "addr.h"

enum { NEIGH_SLOTS = 1024, NEIGH_MAX = 512 };

struct neigh {
	unsigned n;
	struct neigh_entry {
		struct addr addr; /* none: empty slot */
		struct mac mac;
		bool permanent;
	} e[NEIGH_SLOTS];
};

/* neigh_set - set the MAC address of @addr, which is as the guest sees it
 * Returns false if nothing has changed, the table is full, or there is a
 * permanent entry and this one is not. */
bool neigh_set(struct neigh *n, const struct addr *addr, const struct mac *mac,
	       bool permanent);

/* neigh_has - whether there is an entry for @addr */
bool neigh_has(const struct neigh *n, const struct addr *addr);

/* neigh_forget - remove the entry of @addr, unless it is permanent */
void neigh_forget(struct neigh *n, const struct addr *addr);

/* neigh_clear - remove all entries */
void neigh_clear(struct neigh *n);

/* neigh_mac - the MAC address to show the guest for @addr: that of its own
 * entry, else that of @gw's, else @ours
 * @gw may be the zero address. */
const struct mac *neigh_mac(const struct neigh *n, const struct addr *addr,
			    const struct addr *gw, const struct mac *ours);

#endif /* NEIGH_H */
