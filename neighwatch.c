/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * neighwatch - tells the guest of the neighbours that the host has
 */
#include "neighwatch.h"
#include "nlmsg.h"

#include <errno.h>

static void neighbour(void *owner, const struct nlmsghdr *h)
{
	struct neighwatch *w = owner;
	struct nlmsg_neigh n;
	struct addr shown;

	if (!nlmsg_read_neigh(&n, h) ||
	    n.ifindex != w->ifindex[addr_is_v4(&n.addr) ? 0 : 1])
		return;
	if (fwd_guest_view(w->fwd, &n.addr, &shown))
		guest_neighbour(w->guest, &shown, n.gone ? NULL : &n.mac);
}

/* Ask for all neighbours.  What changes meanwhile is reported by the other
 * socket. */
static void dump(struct neighwatch *w)
{
	unsigned i;

	for (i = 0; i < 2; i++)
		if (w->ifindex[i])
			(void)nl_ask(w->host, RTM_GETNEIGH, !i, neighbour, w);
}

static void event(void *owner, uint64_t ref, uint32_t events)
{
	struct neighwatch *w = owner;

	(void)ref;
	(void)events;
	if (nl_read(w->fd, neighbour, w) == -ENOBUFS)
		dump(w);
}

static void set_ours(struct neighwatch *w, const struct addr names[FWD_NAMES])
{
	unsigned i;

	for (i = 0; i < FWD_NAMES && !addr_is_none(&names[i]); i++)
		neigh_set(w->guest->neigh, &names[i], &w->fwd->lan->mac, true);
}

static void set_names(struct neighwatch *w)
{
	const struct fwd_map *m = w->fwd->map;
	unsigned i;

	for (i = 0; i < 2; i++) {
		set_ours(w, m->host_loopback[i]);
		set_ours(w, m->guest_addr[i]);
		neigh_set(w->guest->neigh, &m->dns.match[i], &w->fwd->lan->mac,
			  true);
	}
}

void neighwatch_renew(struct neighwatch *w, unsigned if4, unsigned if6)
{
	w->ifindex[0] = if4;
	w->ifindex[1] = if6;
	neigh_clear(w->guest->neigh);
	set_names(w);
	if (w->fd >= 0)
		dump(w);
}

int neighwatch_start(struct neighwatch *w, struct loop *l, struct netlink *host,
		     const struct fwd *fwd, struct guest *guest,
		     const unsigned ifindex[2])
{
	int err;

	*w = (struct neighwatch){ .host = host,
				  .fd = -1,
				  .fwd = fwd,
				  .guest = guest,
				  .ifindex = { ifindex[0], ifindex[1] } };
	set_names(w);
	w->fd = nl_listen(RTMGRP_NEIGH);
	if (w->fd < 0)
		return 0; /* our own MAC will do */
	err = loop_add(l, w->fd, loop_watch(l, event, w), 0, EPOLLIN);
	if (!err)
		dump(w);
	return err;
}
