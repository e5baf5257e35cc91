/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * addrset - a set of addresses of any number
 *
 * Open addressing with linear probing; single addresses are never removed.  At
 * most half of the slots are used: when that is exceeded, a table of twice the
 * size, which lies behind the old one in the same mapping, takes its place.  So
 * a few addresses use a single page, however much room is reserved.
 */
#include "addrset.h"
#include "util.h"

#include <sys/mman.h>

enum { FIRST_SIZE = 256 }; /* addresses: one page */

/* The slot of @a, or the empty one where it would go */
static unsigned find(const struct addrset *s, const struct addr *a)
{
	unsigned i = addr_hash(a) & (s->size - 1);

	while (!addr_is_none(&s->slot[i]) && !addr_equal(&s->slot[i], a))
		i = (i + 1) & (s->size - 1);
	return i;
}

/* Move all addresses to the table of @size slots in @map, which is all empty */
static void move(struct addrset *s, struct addr *map, unsigned size)
{
	struct addrset to = { .map = map, .slot = map + size, .size = size,
			      .room = s->room, .n = s->n };
	unsigned i;

	for (i = 0; i < s->size; i++) {
		struct addr a = s->slot[i];

		if (addr_is_none(&a))
			continue;
		to.slot[find(&to, &a)] = a;
		s->slot[i] = (struct addr){ 0 };
	}
	*s = to;
}

bool addrset_room(struct addrset *s, unsigned n)
{
	struct addr *was = s->map, *map;
	unsigned room = FIRST_SIZE, old = s->room;

	while (room < 2 * n)
		room *= 2;
	if (room <= s->room)
		return true;
	map = util_map(2 * room * sizeof(*map));
	if (!map)
		return false;
	move(s, map, MAX(s->size, (unsigned)FIRST_SIZE));
	s->room = room;
	if (was)
		munmap(was, 2 * old * sizeof(*was));
	return true;
}

bool addrset_put(struct addrset *s, const struct addr *a)
{
	if (addr_is_none(a) || addrset_has(s, a))
		return true;
	if (2 * (s->n + 1) > s->room)
		return false;
	if (2 * (s->n + 1) > s->size)
		move(s, s->map, 2 * s->size);
	s->slot[find(s, a)] = *a;
	s->n++;
	return true;
}

bool addrset_add(struct addrset *s, const struct addr *a)
{
	return addrset_room(s, s->n + 1) && addrset_put(s, a);
}

/* Clear used slots only: a page that was never written takes no memory */
void addrset_clear(struct addrset *s)
{
	unsigned i;

	for (i = 0; s->n && i < s->size; i++)
		if (!addr_is_none(&s->slot[i]))
			s->slot[i] = (struct addr){ 0 };
	s->n = 0;
}

bool addrset_has(const struct addrset *s, const struct addr *a)
{
	return s->n && !addr_is_none(a) &&
	       !addr_is_none(&s->slot[find(s, a)]);
}
