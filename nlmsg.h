/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * nlmsg - reads the kernel's messages about links, addresses, routes, neighbours
 *
 * An attribute that is not there, or too short, is zero.
 */
#ifndef NLMSG_H
#define NLMSG_H

#include "addr.h"

#include <linux/if.h>
#include <linux/rtnetlink.h>
#include <stddef.h>

/* nlmsg_attr - attribute @type of a message whose fixed header has @size bytes,
 * NULL if it has none; nlmsg_attr_in - among @left bytes of attributes */
const struct rtattr *nlmsg_attr(const struct nlmsghdr *h, size_t size,
				unsigned type);
const struct rtattr *nlmsg_attr_in(const struct rtattr *a, size_t left,
				   unsigned type);

/* The value of an attribute, which may be NULL */
uint32_t nlmsg_u32(const struct rtattr *a);
struct addr nlmsg_addr(const struct rtattr *a);
bool nlmsg_mac(const struct rtattr *a, struct mac *mac);

/* IFLA_ of Linux 6.3, which headers may lack */
enum { NLMSG_GSO_IPV4_MAX_SIZE = 63 };

struct nlmsg_link {
	unsigned ifindex, queue, mtu;
	unsigned gso_ipv4; /* longest packet of IPv4 TCP, 0: not told */
	bool has_mac;
	struct mac mac;
	char name[IFNAMSIZ];
};

/* nlmsg_read_link - @arg is a struct nlmsg_link that a message about one fills */
void nlmsg_read_link(void *arg, const struct nlmsghdr *h);

/* nlmsg_is_route - a route to somewhere, as opposed to cache entries and other
 * tables */
bool nlmsg_is_route(const struct nlmsghdr *h, bool v4);
bool nlmsg_is_default(const struct nlmsghdr *h);
const struct rtattr *nlmsg_route_attr(const struct nlmsghdr *h, unsigned type);

/* nlmsg_first_hop - of a multipath route, NULL if it is none; then
 * nlmsg_next_hop - the one at *@at with *@left bytes to go */
struct rtnexthop *nlmsg_first_hop(const struct nlmsghdr *h,
				  struct rtnexthop **at, size_t *left);
struct rtnexthop *nlmsg_next_hop(struct rtnexthop **at, size_t *left);

/* nlmsg_ifindex - the interface a route leaves by, the first of several; 0: none
 * The kernel spells nexthop objects out in the same attributes, */
unsigned nlmsg_ifindex(const struct nlmsghdr *h);

/* nlmsg_object - unless net.ipv4.nexthop_compat_mode is 0: the number of the object
 * that tells all; 0: none */
uint32_t nlmsg_object(const struct nlmsghdr *h);

/* What such an object says, or the first one of its group */
struct nlmsg_hop {
	unsigned ifindex;
	uint32_t first;
	struct addr gw;
};

/* nlmsg_read_hop - @arg is a struct nlmsg_hop that a message about one fills */
void nlmsg_read_hop(void *arg, const struct nlmsghdr *h);

/* nlmsg_uses - whether it leaves by @ifindex, or by others as well */
bool nlmsg_uses(const struct nlmsghdr *h, unsigned ifindex);

/* nlmsg_gateway - of a route by @ifindex; of several the heaviest */
struct addr nlmsg_gateway(const struct nlmsghdr *h, unsigned ifindex);

/* nlmsg_is_address - one of @ifindex that may be used for new connections
 * nlmsg_local - ours, not the peer's of a point-to-point link */
bool nlmsg_is_address(const struct nlmsghdr *h, bool v4, unsigned ifindex);
uint32_t nlmsg_addr_flags(const struct nlmsghdr *h);
struct addr nlmsg_local(const struct nlmsghdr *h);

struct nlmsg_neigh {
	unsigned ifindex;
	struct addr addr;
	struct mac mac;
	bool gone; /* without @mac: it is not known any more */
};

/* nlmsg_read_neigh - what is said of a neighbour; false: nothing */
bool nlmsg_read_neigh(struct nlmsg_neigh *n, const struct nlmsghdr *h);

/* nlmsg_mix - @sum and @n bytes more, to tell messages apart */
uint64_t nlmsg_mix(uint64_t sum, const void *p, size_t n);

#endif /* NLMSG_H */
