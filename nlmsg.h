/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * nlmsg - reads the kernel's messages about links, addresses, routes and
 * neighbours
 *
 * An attribute that is missing or too short reads as zero.
 */
#ifndef NLMSG_H
#define NLMSG_H

#include "addr.h"

#include <linux/if.h>
#include <linux/rtnetlink.h>
#include <stddef.h>

/* nlmsg_attr - the attribute of @type of a message whose fixed header has @size
 * bytes, NULL if there is none
 * nlmsg_attr_in - likewise, among @left bytes of attributes at @a */
const struct rtattr *nlmsg_attr(const struct nlmsghdr *h, size_t size,
				unsigned type);
const struct rtattr *nlmsg_attr_in(const struct rtattr *a, size_t left,
				   unsigned type);

/* nlmsg_u32, nlmsg_addr, nlmsg_mac - the value of attribute @a, which may be
 * NULL; the last returns false if there is none, or only zeroes */
uint32_t nlmsg_u32(const struct rtattr *a);
struct addr nlmsg_addr(const struct rtattr *a);
bool nlmsg_mac(const struct rtattr *a, struct mac *mac);

/* IFLA_GSO_IPV4_MAX_SIZE of Linux 6.3, which headers may lack */
enum { NLMSG_GSO_IPV4_MAX_SIZE = 63 };

struct nlmsg_link {
	unsigned ifindex, queue, mtu;
	unsigned gso_ipv4; /* longest IPv4 TCP packet, 0: unknown */
	bool has_mac;
	struct mac mac;
	char name[IFNAMSIZ];
};

/* nlmsg_read_link - nl_fn: fill @arg, a struct nlmsg_link, from a message about
 * a link */
void nlmsg_read_link(void *arg, const struct nlmsghdr *h);

/* nlmsg_is_route - whether @h is a unicast route of this family in the main
 * table, not an entry of a cache
 * nlmsg_is_default - whether that is a default route
 * nlmsg_route_attr - its attribute of @type, NULL if there is none */
bool nlmsg_is_route(const struct nlmsghdr *h, bool v4);
bool nlmsg_is_default(const struct nlmsghdr *h);
const struct rtattr *nlmsg_route_attr(const struct nlmsghdr *h, unsigned type);

/* nlmsg_first_hop - the first hop of a multipath route, NULL if it is none
 * nlmsg_next_hop - the next one, at *@at with *@left bytes to go; NULL: no
 * more */
struct rtnexthop *nlmsg_first_hop(const struct nlmsghdr *h,
				  struct rtnexthop **at, size_t *left);
struct rtnexthop *nlmsg_next_hop(struct rtnexthop **at, size_t *left);

/* nlmsg_ifindex - the interface that a route leaves by, of several hops that of
 * the first; 0: none
 * The kernel describes nexthop objects in the same attributes as well, unless
 * net.ipv4.nexthop_compat_mode is 0. */
unsigned nlmsg_ifindex(const struct nlmsghdr *h);

/* nlmsg_object - in that case, the number of the nexthop object that the route
 * refers to; else 0 */
uint32_t nlmsg_object(const struct nlmsghdr *h);

/* A nexthop object; of a group only @first, its first member */
struct nlmsg_hop {
	unsigned ifindex;
	uint32_t first;
	struct addr gw;
};

/* nlmsg_read_hop - nl_fn: fill @arg, a struct nlmsg_hop, from a message about a
 * nexthop object */
void nlmsg_read_hop(void *arg, const struct nlmsghdr *h);

/* nlmsg_uses - whether a route has a hop that leaves by @ifindex */
bool nlmsg_uses(const struct nlmsghdr *h, unsigned ifindex);

/* nlmsg_gateway - the gateway of a route by @ifindex; of several hops the one
 * with the highest weight */
struct addr nlmsg_gateway(const struct nlmsghdr *h, unsigned ifindex);

/* nlmsg_is_address - whether @h is an address of @ifindex that may be used for
 * new connections, as it is not deprecated
 * nlmsg_addr_flags - its IFA_F_* flags
 * nlmsg_local - the address itself, not the peer's of a point-to-point link */
bool nlmsg_is_address(const struct nlmsghdr *h, bool v4, unsigned ifindex);
uint32_t nlmsg_addr_flags(const struct nlmsghdr *h);
struct addr nlmsg_local(const struct nlmsghdr *h);

struct nlmsg_neigh {
	unsigned ifindex;
	struct addr addr;
	struct mac mac;
	bool gone; /* the neighbour is no longer known; @mac is not valid */
};

/* nlmsg_read_neigh - fill @n from @h; false if that says nothing about a
 * neighbour */
bool nlmsg_read_neigh(struct nlmsg_neigh *n, const struct nlmsghdr *h);

/* nlmsg_mix - continue checksum @sum with @n bytes, to tell messages apart */
uint64_t nlmsg_mix(uint64_t sum, const void *p, size_t n);

#endif /* NLMSG_H */
