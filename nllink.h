/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * nllink - asks the kernel about one link, and changes it
 *
 * Functions that return int give 0 or -errno.
 */
#ifndef NLLINK_H
#define NLLINK_H

#include "netlink.h"

struct nlmsg_link;
struct nlmsg_hop;

/* nllink_get - describe the link named @name, or if that is NULL the one with
 * @ifindex */
int nllink_get(struct netlink *n, unsigned ifindex, const char *name,
	       struct nlmsg_link *l);

/* nllink_index - the index of the link named @ifname, 0 if there is none */
unsigned nllink_index(struct netlink *n, const char *ifname);

/* nllink_mac - get the link's MAC address; -ENOENT if it has none */
int nllink_mac(struct netlink *n, unsigned ifindex, struct mac *mac);

/* nllink_hop - describe nexthop object @id; of a group, its first member */
int nllink_hop(struct netlink *n, uint32_t id, struct nlmsg_hop *hop);

/* nllink_queue - the length of the link's transmit queue (txqueuelen), 0 if
 * unknown */
unsigned nllink_queue(struct netlink *n, unsigned ifindex);

/* nllink_set - set MAC address, MTU, txqueuelen, and bring the link up
 * What is NULL, 0 or false is left alone. */
int nllink_set(struct netlink *n, unsigned ifindex, const struct mac *mac,
	       unsigned mtu, unsigned queue, bool up);

/* nllink_flags - set those flags of @mask that are in @flags, and clear the
 * others of @mask */
int nllink_flags(struct netlink *n, unsigned ifindex, unsigned flags,
		 unsigned mask);

/* nllink_big_tcp - allow IPv4 TCP packets of up to 195 KiB (BIG TCP) on the
 * link, if the kernel knows them (6.3) and nobody has chosen another size
 * Not for IPv6: there a hop-by-hop option has the length (RFC 2675), and
 * filters of captures and firewalls may not find TCP behind it. */
int nllink_big_tcp(struct netlink *n, unsigned ifindex);

/* nllink_knows_big_tcp - whether the kernel knows such packets */
bool nllink_knows_big_tcp(struct netlink *n, unsigned ifindex);

/* nllink_unqueue - remove the link's queueing discipline; before it is brought
 * up */
int nllink_unqueue(struct netlink *n, unsigned ifindex);

#endif /* NLLINK_H */
