/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * neigh - MAC addresses of the host's neighbours, as the guest sees them
 *
 * Open addressing with linear probing.  At most half of the slots are used, so
 * every search ends soon at an empty one.  Deleting moves followers down into
 * the hole instead of leaving a tombstone, so searches stay short for good.
 */
#include "neigh.h"

static unsigned home(const struct addr *a)
{
	return addr_hash(a) % NEIGH_SLOTS;
}

/* The index of the entry of @a, or of the empty one where it would go */
static unsigned find(const struct neigh *n, const struct addr *a)
{
	unsigned i = home(a);

	while (!addr_is_none(&n->e[i].addr) && !addr_equal(&n->e[i].addr, a))
		i = (i + 1) % NEIGH_SLOTS;
	return i;
}

bool neigh_set(struct neigh *n, const struct addr *addr, const struct mac *mac,
	       bool permanent)
{
	struct neigh_entry *e;
	bool fresh;

	if (addr_is_none(addr))
		return false;
	e = &n->e[find(n, addr)];
	fresh = addr_is_none(&e->addr);
	if (fresh && n->n >= NEIGH_MAX)
		return false;
	if (!fresh && e->permanent && !permanent)
		return false;
	if (!fresh && e->permanent == permanent && mac_equal(&e->mac, mac))
		return false;
	n->n += fresh;
	*e = (struct neigh_entry){ *addr, *mac, permanent };
	return true;
}

bool neigh_has(const struct neigh *n, const struct addr *addr)
{
	return !addr_is_none(addr) && !addr_is_none(&n->e[find(n, addr)].addr);
}

/* Whether slot @x lies in the circular range (@from, @to] */
static bool between(unsigned from, unsigned x, unsigned to)
{
	return from < to ? from < x && x <= to : from < x || x <= to;
}

void neigh_forget(struct neigh *n, const struct addr *addr)
{
	unsigned hole = find(n, addr), i = hole;

	if (addr_is_none(addr) || addr_is_none(&n->e[hole].addr) ||
	    n->e[hole].permanent)
		return;
	for (;;) {
		i = (i + 1) % NEIGH_SLOTS;
		if (addr_is_none(&n->e[i].addr))
			break;
		/* An entry stays if a search for it, from its home slot on,
		 * does not pass the hole */
		if (between(hole, home(&n->e[i].addr), i))
			continue;
		n->e[hole] = n->e[i];
		hole = i;
	}
	memset(&n->e[hole], 0, sizeof(n->e[hole]));
	n->n--;
}

void neigh_clear(struct neigh *n)
{
	memset(n, 0, sizeof(*n));
}

const struct mac *neigh_mac(const struct neigh *n, const struct addr *addr,
			    const struct addr *gw, const struct mac *ours)
{
	const struct neigh_entry *e = &n->e[find(n, addr)];

	if (!addr_is_none(&e->addr))
		return &e->mac;
	e = &n->e[find(n, gw)];
	return addr_is_none(&e->addr) ? ours : &e->mac;
}
