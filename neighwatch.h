/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * neighwatch - tells the guest of the neighbours that the host has
 */
#ifndef NEIGHWATCH_H
#define NEIGHWATCH_H

#include "fwd.h"
#include "guest.h"
#include "netlink.h"

struct neighwatch {
	struct netlink *host; /* for requests that are done at once */
	int fd;		     /* of notifications */
	unsigned ifindex[2]; /* where IPv4 and IPv6 neighbours count; 0: none */
	const struct fwd *fwd;
	struct guest *guest;
};

/* neighwatch_start - names that stand for us have our MAC address, those of
 * neighbours at @ifindex follow the host's table
 * The pointers stay the caller's.  0 or -errno. */
int neighwatch_start(struct neighwatch *w, struct loop *l, struct netlink *host,
		     const struct fwd *fwd, struct guest *guest,
		     const unsigned ifindex[2]);

/* neighwatch_renew - the translations have changed, and perhaps where neighbours
 * count: what was known of them is forgotten */
void neighwatch_renew(struct neighwatch *w, unsigned if4, unsigned if6);

#endif /* NEIGHWATCH_H */
