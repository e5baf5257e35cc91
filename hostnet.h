/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * hostnet - what the host's network looks like
 *
 * A look takes three dumps from the kernel, in steps, and keeps only what is
 * wanted of them; so tables of any size can be looked at while running.
 */
#ifndef HOSTNET_H
#define HOSTNET_H

#include "addrset.h"
#include "egress.h"
#include "netlink.h"

/* A template: what the guest's link is modelled on, for one family.  With
 * @ifindex 0 there is none: local mode. */
struct template {
	unsigned ifindex;
	char ifname[16];
	bool multiple;	   /* there are several default routes, and the first
			      was taken */
	struct addr addr;  /* none: the interface has no usable address */
	unsigned prefix;
	struct addr ll;	   /* IPv6 link-local */
	struct addr gw;	   /* none: there is no default route, or it has no
			      gateway */
	unsigned mtu;
};

/* What a look has seen */
struct hostnet_view {
	struct template t[2]; /* IPv4, IPv6 */
	/* Checksums of all messages, to tell whether anything has changed */
	uint64_t routes[2], addrs;
};

struct hostnet {
	struct netlink *nl;
	const char *ifname[2]; /* interface to use as the template; NULL or "":
				  find it by its routes */
	bool on[2];	       /* families to look at */
	bool given[2];	       /* the guest's address is given, so the template
				  needs none */
	struct hostnet_view view;
	/* All addresses of the host; if there is not room for all of them @many
	 * is set.  Stays empty unless the caller has made room. */
	struct addrset addrs;
	bool many;
	struct egress_local *local; /* filled with the host's networks; NULL:
				       not wanted */

	unsigned phase, tries;
	unsigned other[2], defaults[2];	/* interface of any route; number of
					   default routes */
	uint32_t object[2]; /* nexthop object of the first default route, if the
			       route says no more */
	bool near[2]; /* the gateway is in the subnet of the address chosen */
	unsigned ll_prefix;
};

enum { HOSTNET_ADDRS = 16384 };

/* hostnet_begin - begin a look, which has to be completed; 0 or -errno
 * A family's template is the interface named, else that of the first default
 * route of the main table, else that of any other route.  Its @ifindex is 0 if
 * there is none, or if it has no usable address and needs one.
 * hostnet_step - go on with it: -EINPROGRESS if there is more to do, 0 when
 * @view is complete, or -errno */
int hostnet_begin(struct hostnet *h);
int hostnet_step(struct hostnet *h);

/* hostnet_look - take a complete look at once; 0 or -errno */
int hostnet_look(struct hostnet *h);

#endif /* HOSTNET_H */
