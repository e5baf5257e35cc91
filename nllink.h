/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * nllink - asks and tells the kernel about one link
 *
 * 0 or -errno, where nothing else is said.
 */
#ifndef NLLINK_H
#define NLLINK_H

#include "netlink.h"

struct nlmsg_link;
struct nlmsg_hop;

/* nllink_get - describe the link @name if it is given, else @ifindex */
int nllink_get(struct netlink *n, unsigned ifindex, const char *name,
	       struct nlmsg_link *l);

/* nllink_index - of @ifname, 0 if there is none */
unsigned nllink_index(struct netlink *n, const char *ifname);

int nllink_mac(struct netlink *n, unsigned ifindex, struct mac *mac);

/* nllink_hop - what nexthop object @id says, or the first one of its group */
int nllink_hop(struct netlink *n, uint32_t id, struct nlmsg_hop *hop);

/* nllink_queue - length of its queue, 0 if there is none */
unsigned nllink_queue(struct netlink *n, unsigned ifindex);

/* nllink_set - change what is given
 * @mac may be NULL, @mtu and @queue 0, @up false: left alone. */
int nllink_set(struct netlink *n, unsigned ifindex, const struct mac *mac,
	       unsigned mtu, unsigned queue, bool up);

/* nllink_flags - set @flags; those of @mask that are not in @flags are cleared */
int nllink_flags(struct netlink *n, unsigned ifindex, unsigned flags,
		 unsigned mask);

/* nllink_big_tcp - packets of IPv4 TCP of up to 195 KiB, where the kernel knows them
 * (6.3) and nobody has chosen another size
 * Not of IPv6: there a hop-by-hop option tells their length (RFC 2675), behind which
 * filters of captures and firewalls may find no TCP. */
int nllink_big_tcp(struct netlink *n, unsigned ifindex);

/* nllink_knows_big_tcp - whether the kernel takes such packets */
bool nllink_knows_big_tcp(struct netlink *n, unsigned ifindex);

/* nllink_unqueue - no queueing discipline; before the interface is up */
int nllink_unqueue(struct netlink *n, unsigned ifindex);

#endif /* NLLINK_H */
