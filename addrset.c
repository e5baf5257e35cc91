/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * addrset - a set of addresses of any number
 *
 * Open addressing with linear probing; nothing is ever removed.  At most half of
 * the slots are used: then a table of twice the size takes its place.
 */
#include "addrset.h"
#include "util.h"

#include <sys/mman.h>

enum { FIRST_SIZE = 256 }; /* a page */

/* The slot of @a, or the empty one where it belongs */
static unsigned find(const struct addrset *s, const struct addr *a)
{
	unsigned i = addr_hash(a) & (s->size - 1);

	while (!addr_is_none(&s->slot[i]) && !addr_equal(&s->slot[i], a))
		i = (i + 1) & (s->size - 1);
	return i;
}

/* To a table of @size slots */
static bool resize(struct addrset *s, unsigned size)
{
	struct addrset big = { .size = size, .n = s->n };
	unsigned i;

	big.slot = util_map(big.size * sizeof(*big.slot));
	if (!big.slot)
		return false;
	for (i = 0; i < s->size; i++)
		if (!addr_is_none(&s->slot[i]))
			big.slot[find(&big, &s->slot[i])] = s->slot[i];
	if (s->slot)
		munmap(s->slot, s->size * sizeof(*s->slot));
	*s = big;
	return true;
}

bool addrset_room(struct addrset *s, unsigned n)
{
	unsigned size = FIRST_SIZE;

	while (size < 2 * n)
		size *= 2;
	return size <= s->size || resize(s, size);
}

bool addrset_put(struct addrset *s, const struct addr *a)
{
	if (addr_is_none(a) || addrset_has(s, a))
		return true;
	if (2 * (s->n + 1) > s->size)
		return false;
	s->slot[find(s, a)] = *a;
	s->n++;
	return true;
}

bool addrset_add(struct addrset *s, const struct addr *a)
{
	return addrset_room(s, s->n + 1) && addrset_put(s, a);
}

void addrset_clear(struct addrset *s)
{
	if (s->n)
		memset(s->slot, 0, s->size * sizeof(*s->slot));
	s->n = 0;
}

bool addrset_has(const struct addrset *s, const struct addr *a)
{
	return s->n && !addr_is_none(a) &&
	       !addr_is_none(&s->slot[find(s, a)]);
}
