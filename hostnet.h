/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * hostnet - what the host's network looks like
 *
 * A look takes three dumps of the kernel, in steps, and keeps of them what is
 * wanted, so that tables of any size can be looked at while running.
 */
#ifndef HOSTNET_H
#define HOSTNET_H

#include "addrset.h"
#include "egress.h"
#include "netlink.h"

/* A template: what the guest's link is modelled on, one a family.  Index 0
 * means none: local mode. */
struct template {
	unsigned ifindex;
	char ifname[16];
	bool multiple;	   /* several default routes, the first was picked */
	struct addr addr;  /* none: the interface has none */
	unsigned prefix;
	struct addr ll;	   /* IPv6 link-local */
	struct addr gw;	   /* none: no default route, or one without gateway */
	unsigned mtu;
};

/* What was seen */
struct hostnet_view {
	struct template t[2]; /* IPv4, IPv6 */
	/* Sums of all messages, to tell that something is different */
	uint64_t routes[2], addrs;
};

struct hostnet {
	struct netlink *nl;
	const char *ifname[2]; /* the template's; NULL or "": by its routes */
	bool on[2];	       /* families that are looked at */
	struct hostnet_view view;
	/* All addresses of the host, but for @many of them; none
	 * unless it has room */
	struct addrset addrs;
	bool many;
	struct egress_local *local; /* its networks; NULL: of no interest */

	unsigned phase, tries;
	unsigned other[2], defaults[2];	/* interface of any route; how many */
	uint32_t object[2]; /* nexthop of the first default route, if only that is told */
	bool near[2]; /* the gateway is in the subnet of that address */
	unsigned ll_prefix;
};

enum { HOSTNET_ADDRS = 16384 };

/* hostnet_begin - look; what was begun has to be done
 * The template of a family is the interface that is named, else that of the first
 * default route of the main table, else of any other route.  Its index is 0 when
 * there is none or it has no usable address.
 * hostnet_step - go on; -EINPROGRESS: there is more to do, 0: @view is complete,
 * or -errno */
int hostnet_begin(struct hostnet *h);
int hostnet_step(struct hostnet *h);

/* hostnet_look - all of it at once */
int hostnet_look(struct hostnet *h);

#endif /* HOSTNET_H */
