/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * hostnet - what the host's network looks like
 */
#ifndef HOSTNET_H
#define HOSTNET_H

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
	struct mac mac;
	bool has_mac;
};

/* hostnet_template - choose and describe the template interface of a family
 * @ifname, if not NULL or empty, is taken; else the first default route of the
 * main table, else any other route.  @t->ifindex is 0 when there is none or it
 * has no usable address. */
int hostnet_template(struct netlink *n, bool v4, const char *ifname,
		     struct template *t);

#endif /* HOSTNET_H */
