/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * nslink - addresses and routes of the link in the namespace
 */
#ifndef NSLINK_H
#define NSLINK_H

#include "renew.h"

enum {
	NSLINK_BYTES = 8 << 20, /* of requests; costs memory as it is used */
	NSLINK_MAX = 32768,	/* and so many of them */
	NSLINK_SLOTS = 4 * NSLINK_MAX,
};

/* Requests, as they were or will be sent */
struct nslink_set {
	uint8_t *base;
	size_t len, size;
	unsigned n;
	bool full;
};

/* What an update has done */
struct nslink_done {
	unsigned addresses, routes, old_addresses, old_routes;
};

struct nslink {
	struct netlink *ns;
	unsigned ifindex;
	struct renew *renew;
	bool hold[2]; /* families that stay what they are, whatever there is */
	bool many[2]; /* families with more routes than can be copied: a default one */
	/* What we have set there, what is to be set, and where it stands */
	struct nslink_set have, want;
	uint32_t *index; /* offset and 1, 0: free; hashed by content */
	uint32_t mask;	 /* how much of it is in use, less one */
	struct nslink_done done;
};

/* nslink_configure - addresses and routes of the guest's link (--config-net)
 * @host is asked for what is copied, @ns is told; the plan's lan learns what was
 * copied.  A family that the namespace's kernel does not have, or that is turned
 * off there, is planned without from now on, after a warning.  What else fails is
 * reported.  The pointers stay the caller's.  0 or -errno. */
int nslink_configure(struct nslink *l, struct netlink *host, struct netlink *ns,
		     unsigned ifindex, struct renew *r);

/* nslink_update - the same by another plan, or after what is copied has changed
 * Only what we have set ourselves is taken away, and no route is set where one
 * was that somebody else has taken away.  Addresses that have gone stay as long as
 * they are in @stay, or as we are @patient.  @l->done tells what was set and taken
 * away. */
int nslink_update(struct nslink *l, struct netlink *host,
		  const struct addrset *stay, bool patient);

#endif /* NSLINK_H */
