/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * neighwatch - tells the guest about the host's neighbours
 */
#ifndef NEIGHWATCH_H
#define NEIGHWATCH_H

#include "fwd.h"
#include "guest.h"
#include "netlink.h"

struct neighwatch {
	struct netlink *host; /* for requests that are answered at once */
	int fd;		     /* socket for notifications */
	unsigned ifindex[2]; /* interface whose IPv4 and IPv6 neighbours count;
				0: none */
	const struct fwd *fwd;
	struct guest *guest;
};

/* neighwatch_start - give addresses that stand for us our MAC address, and have
 * those of neighbours at @ifindex follow the host's neighbour table
 * The pointers stay the caller's.  Returns 0 or -errno. */
int neighwatch_start(struct neighwatch *w, struct loop *l, struct netlink *host,
		     const struct fwd *fwd, struct guest *guest,
		     const unsigned ifindex[2]);

/* neighwatch_renew - the translations have changed, and perhaps the interfaces:
 * forget all neighbours and begin anew */
void neighwatch_renew(struct neighwatch *w, unsigned if4, unsigned if6);

#endif /* NEIGHWATCH_H */
