/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * nslink - addresses and routes of the link in the namespace
 */
#ifndef NSLINK_H
#define NSLINK_H

#include "renew.h"

enum {
	NSLINK_BYTES = 8 << 20, /* bytes of requests; takes memory as it is
				   used */
	NSLINK_MAX = 32768,	/* most requests */
	NSLINK_SLOTS = 4 * NSLINK_MAX,
};

/* A set of requests, as they were or will be sent */
struct nslink_set {
	uint8_t *base;
	size_t len, size;
	unsigned n;
	bool full;
};

/* What an update has added and removed */
struct nslink_done {
	unsigned addresses, routes, old_addresses, old_routes;
};

struct nslink {
	struct netlink *ns;
	unsigned ifindex;
	struct renew *renew;
	bool hold[2]; /* families to be left as they are */
	bool many[2]; /* families with too many routes to copy: they get a
			 default route */
	/* What we have set there; what is to be set, and how far that has
	 * got */
	struct nslink_set have, want;
	uint32_t *index; /* hash table of offset + 1, 0: free; by content */
	uint32_t mask;	 /* its entries in use, less one */
	struct nslink_done done;
};

/* nslink_configure - configure the guest's link for the plan of @r
 * (--config-net): MAC address, MTU, addresses and routes
 * What is to be copied is read from @host and set by @ns; the plan's lan learns
 * which addresses were copied.  A family that the namespace's kernel does not
 * have, or that is turned off there, is dropped from the plan with a warning.
 * Other failures are logged.  The pointers stay the caller's.  Returns 0 or
 * -errno. */
int nslink_configure(struct nslink *l, struct netlink *host, struct netlink *ns,
		     unsigned ifindex, struct renew *r);

/* nslink_update - change that to what the current plan and the host's state ask
 * for
 * Only what we have set ourselves is removed, and no route is set to a
 * destination whose route of ours somebody else has removed.  Addresses to be
 * removed stay as long as they are in @stay, or @patient is true.  @l->done
 * tells what was added and removed.  Returns 0 or -errno. */
int nslink_update(struct nslink *l, struct netlink *host,
		  const struct addrset *stay, bool patient);

#endif /* NSLINK_H */
