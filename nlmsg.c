/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * nlmsg - reads the kernel's messages about links, addresses, routes,
 * neighbours
 */
#include "nlmsg.h"
#include "util.h"

#include <linux/if_addr.h>
#include <linux/neighbour.h>
#include <linux/nexthop.h>

#include <stdio.h>
#include <sys/socket.h>

/* --- reading messages ---------------------------------------------------- */

const struct rtattr *nlmsg_attr_in(const struct rtattr *a, size_t left,
				   unsigned type)
{
	size_t len;

	for (; RTA_OK(a, left); a = (const void *)((const uint8_t *)a + len)) {
		if ((a->rta_type & NLA_TYPE_MASK) == type)
			return a;
		len = MIN((size_t)RTA_ALIGN(a->rta_len), left);
		left -= len;
	}
	return NULL;
}

/* Whether a message is of @type and holds its fixed header of @size bytes */
static bool is(const struct nlmsghdr *h, unsigned type, size_t size)
{
	return h->nlmsg_type == type && h->nlmsg_len >= NLMSG_LENGTH(size);
}

const struct rtattr *nlmsg_attr(const struct nlmsghdr *h, size_t size,
				unsigned type)
{
	size_t at = NLMSG_SPACE(size);

	if (h->nlmsg_len < at)
		return NULL;
	return nlmsg_attr_in((const void *)((const uint8_t *)h + at),
			     h->nlmsg_len - at, type);
}

uint32_t nlmsg_u32(const struct rtattr *a)
{
	uint32_t v = 0;

	if (a && RTA_PAYLOAD(a) >= sizeof(v))
		memcpy(&v, RTA_DATA(a), sizeof(v));
	return v;
}

struct addr nlmsg_addr(const struct rtattr *a)
{
	if (a && RTA_PAYLOAD(a) == 4)
		return addr_from4(RTA_DATA(a));
	if (a && RTA_PAYLOAD(a) == 16)
		return addr_from6(RTA_DATA(a));
	return (struct addr){ 0 };
}

bool nlmsg_mac(const struct rtattr *a, struct mac *mac)
{
	static const struct mac zero;

	if (!a || RTA_PAYLOAD(a) != sizeof(*mac))
		return false;
	memcpy(mac, RTA_DATA(a), sizeof(*mac));
	return !mac_equal(mac, &zero);
}

/* --- links --------------------------------------------------------------- */

void nlmsg_read_link(void *arg, const struct nlmsghdr *h)
{
	const struct ifinfomsg *i = NLMSG_DATA(h);
	const struct rtattr *name;
	struct nlmsg_link *l = arg;

	if (!is(h, RTM_NEWLINK, sizeof(*i)))
		return;
	l->ifindex = (unsigned)i->ifi_index;
	l->queue = nlmsg_u32(nlmsg_attr(h, sizeof(*i), IFLA_TXQLEN));
	l->mtu = nlmsg_u32(nlmsg_attr(h, sizeof(*i), IFLA_MTU));
	l->gso_ipv4 =
		nlmsg_u32(nlmsg_attr(h, sizeof(*i), NLMSG_GSO_IPV4_MAX_SIZE));
	l->has_mac =
		nlmsg_mac(nlmsg_attr(h, sizeof(*i), IFLA_ADDRESS), &l->mac);
	name = nlmsg_attr(h, sizeof(*i), IFLA_IFNAME);
	if (name)
		snprintf(l->name, sizeof(l->name), "%.*s",
			 (int)RTA_PAYLOAD(name), (char *)RTA_DATA(name));
}

/* --- routes -------------------------------------------------------------- */

bool nlmsg_is_route(const struct nlmsghdr *h, bool v4)
{
	const struct rtmsg *m = NLMSG_DATA(h);

	return is(h, RTM_NEWROUTE, sizeof(*m)) &&
	       m->rtm_family == (v4 ? AF_INET : AF_INET6) &&
	       m->rtm_table == RT_TABLE_MAIN && m->rtm_type == RTN_UNICAST &&
	       !(m->rtm_flags & RTM_F_CLONED);
}

bool nlmsg_is_default(const struct nlmsghdr *h)
{
	return !((const struct rtmsg *)NLMSG_DATA(h))->rtm_dst_len;
}

const struct rtattr *nlmsg_route_attr(const struct nlmsghdr *h, unsigned type)
{
	return nlmsg_attr(h, sizeof(struct rtmsg), type);
}

struct rtnexthop *nlmsg_next_hop(struct rtnexthop **at, size_t *left)
{
	struct rtnexthop *nh = *at;
	size_t len;

	if (*left < sizeof(*nh) || nh->rtnh_len < sizeof(*nh) ||
	    nh->rtnh_len > *left)
		return NULL;
	len = MIN((size_t)RTNH_ALIGN(nh->rtnh_len), *left);
	*left -= len;
	*at = (void *)((uint8_t *)nh + len);
	return nh;
}

struct rtnexthop *nlmsg_first_hop(const struct nlmsghdr *h,
				  struct rtnexthop **at, size_t *left)
{
	const struct rtattr *a = nlmsg_route_attr(h, RTA_MULTIPATH);

	if (!a)
		return NULL;
	*at = RTA_DATA(a);
	*left = RTA_PAYLOAD(a);
	return nlmsg_next_hop(at, left);
}

unsigned nlmsg_ifindex(const struct nlmsghdr *h)
{
	unsigned ifindex = nlmsg_u32(nlmsg_route_attr(h, RTA_OIF));
	struct rtnexthop *nh, *at;
	size_t left;

	if (ifindex)
		return ifindex;
	nh = nlmsg_first_hop(h, &at, &left);
	return nh ? (unsigned)nh->rtnh_ifindex : 0;
}

uint32_t nlmsg_object(const struct nlmsghdr *h)
{
	return nlmsg_ifindex(h) ? 0 : nlmsg_u32(nlmsg_route_attr(h, RTA_NH_ID));
}

void nlmsg_read_hop(void *arg, const struct nlmsghdr *h)
{
	struct nlmsg_hop *hop = arg;

	if (!is(h, RTM_NEWNEXTHOP, sizeof(struct nhmsg)))
		return;
	hop->ifindex =
		nlmsg_u32(nlmsg_attr(h, sizeof(struct nhmsg), NHA_OIF));
	hop->gw = nlmsg_addr(nlmsg_attr(h, sizeof(struct nhmsg), NHA_GATEWAY));
	/* Of a group, the ID of its first member, with which struct nexthop_grp
	 * begins */
	hop->first =
		nlmsg_u32(nlmsg_attr(h, sizeof(struct nhmsg), NHA_GROUP));
}

bool nlmsg_uses(const struct nlmsghdr *h, unsigned ifindex)
{
	struct rtnexthop *nh, *at;
	size_t left;

	nh = nlmsg_first_hop(h, &at, &left);
	if (!nh)
		return nlmsg_u32(nlmsg_route_attr(h, RTA_OIF)) == ifindex;
	while (nh && (unsigned)nh->rtnh_ifindex != ifindex)
		nh = nlmsg_next_hop(&at, &left);
	return nh;
}

struct addr nlmsg_gateway(const struct nlmsghdr *h, unsigned ifindex)
{
	struct addr gw = nlmsg_addr(nlmsg_route_attr(h, RTA_GATEWAY)), a;
	struct rtnexthop *nh, *at;
	int hops = -1;
	size_t left;

	nh = nlmsg_first_hop(h, &at, &left);
	for (; nh; nh = nlmsg_next_hop(&at, &left)) {
		if ((unsigned)nh->rtnh_ifindex != ifindex ||
		    nh->rtnh_hops < hops)
			continue;
		a = nlmsg_addr(nlmsg_attr_in(RTNH_DATA(nh),
					     nh->rtnh_len - RTNH_LENGTH(0),
					     RTA_GATEWAY));
		if (addr_is_none(&a))
			continue;
		gw = a;
		hops = nh->rtnh_hops;
	}
	return gw;
}
/* --- addresses ----------------------------------------------------------- */

uint32_t nlmsg_addr_flags(const struct nlmsghdr *h)
{
	const struct ifaddrmsg *m = NLMSG_DATA(h);
	const struct rtattr *a = nlmsg_attr(h, sizeof(*m), IFA_FLAGS);

	return a ? nlmsg_u32(a) : m->ifa_flags;
}

bool nlmsg_is_address(const struct nlmsghdr *h, bool v4, unsigned ifindex)
{
	const struct ifaddrmsg *m = NLMSG_DATA(h);

	return is(h, RTM_NEWADDR, sizeof(*m)) &&
	       m->ifa_family == (v4 ? AF_INET : AF_INET6) &&
	       m->ifa_index == ifindex &&
	       !(nlmsg_addr_flags(h) & IFA_F_DEPRECATED);
}

struct addr nlmsg_local(const struct nlmsghdr *h)
{
	const struct rtattr *a =
		nlmsg_attr(h, sizeof(struct ifaddrmsg), IFA_LOCAL);

	if (!a)
		a = nlmsg_attr(h, sizeof(struct ifaddrmsg), IFA_ADDRESS);
	return nlmsg_addr(a);
}

/* --- neighbours ---------------------------------------------------------- */

enum {
	NUD_USABLE = NUD_PERMANENT | NUD_NOARP | NUD_REACHABLE | NUD_PROBE |
		     NUD_STALE | NUD_DELAY,
};

bool nlmsg_read_neigh(struct nlmsg_neigh *n, const struct nlmsghdr *h)
{
	const struct ndmsg *m = NLMSG_DATA(h);

	if ((!is(h, RTM_NEWNEIGH, sizeof(*m)) &&
	     !is(h, RTM_DELNEIGH, sizeof(*m))) ||
	    (m->ndm_family != AF_INET && m->ndm_family != AF_INET6) ||
	    m->ndm_flags & NTF_PROXY)
		return false;
	n->ifindex = (unsigned)m->ndm_ifindex;
	n->addr = nlmsg_addr(nlmsg_attr(h, sizeof(*m), NDA_DST));
	if (addr_is_none(&n->addr) || !addr_is_unicast(&n->addr))
		return false;
	n->gone = h->nlmsg_type == RTM_DELNEIGH || !(m->ndm_state & NUD_USABLE);
	/* A neighbour on a link that is not Ethernet has no MAC address */
	return nlmsg_mac(nlmsg_attr(h, sizeof(*m), NDA_LLADDR), &n->mac) ||
	       n->gone;
}

/* --- sums ---------------------------------------------------------------- */

uint64_t nlmsg_mix(uint64_t sum, const void *p, size_t n)
{
	const uint8_t *b = p;
	uint64_t w;

	for (; n; b += MIN(n, sizeof(w)), n -= MIN(n, sizeof(w))) {
		w = 0;
		memcpy(&w, b, MIN(n, sizeof(w)));
		sum = (sum ^ w) * 0x9e3779b97f4a7c15ULL;
		sum ^= sum >> 29;
	}
	return sum;
}
