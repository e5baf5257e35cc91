/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * addrset - a set of any number of addresses
 */
#ifndef ADDRSET_H
#define ADDRSET_H

#include "addr.h"

/* A set; all zero: the empty one */
struct addrset {
	struct addr *slot; /* none: the slot is empty */
	unsigned size, n;
	struct addr *map;  /* the mapping in which @slot is, and may grow */
	unsigned room;
};

/* addrset_add - add @a, mapping more memory as needed; false if there is none
 * Not for use while running.  The zero address is in no set. */
bool addrset_add(struct addrset *s, const struct addr *a);

/* addrset_room - make room for @n addresses; false: no memory
 * addrset_put - add @a; false if there is no room for it
 * addrset_clear - empty the set, but keep its room */
bool addrset_room(struct addrset *s, unsigned n);
bool addrset_put(struct addrset *s, const struct addr *a);
void addrset_clear(struct addrset *s);

bool addrset_has(const struct addrset *s, const struct addr *a);

#endif /* ADDRSET_H */
