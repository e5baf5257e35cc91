/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * addrset - a set of addresses of any number
 */
#ifndef ADDRSET_H
#define ADDRSET_H

#include "addr.h"

/* All zero: the empty set */
struct addrset {
	struct addr *slot; /* none: empty */
	unsigned size, n;
	struct addr *map;  /* where @slot is, and what it may become */
	unsigned room;
};

/* addrset_add - false if there is no memory; more of it is mapped as needed, so
 * not while running.  The zero address is in no set. */
bool addrset_add(struct addrset *s, const struct addr *a);

/* addrset_room - for @n addresses; false: no memory
 * addrset_put - as addrset_add(), but false if that was no room
 * addrset_clear - empty it, and keep the room */
bool addrset_room(struct addrset *s, unsigned n);
bool addrset_put(struct addrset *s, const struct addr *a);
void addrset_clear(struct addrset *s);

bool addrset_has(const struct addrset *s, const struct addr *a);

#endif /* ADDRSET_H */
