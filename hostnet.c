/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * hostnet - what the host's network looks like
 */
#include "hostnet.h"
#include "nllink.h"
#include "nlmsg.h"

static bool suggests_template(const struct nlmsghdr *h)
{
	struct addr dst = nlmsg_addr(nlmsg_route_attr(h, RTA_DST));
	unsigned ifindex = nlmsg_ifindex(h);

	return ifindex > 1 &&
	       (nlmsg_is_default(h) || !addr_is_link_local(&dst));
}

/* By default route, else by any; 0: there is none */
static unsigned choose(const struct nl_store *routes, bool v4, bool *multiple)
{
	unsigned first = 0, other = 0, defaults = 0;
	const struct nlmsghdr *h;
	size_t at = 0;

	while ((h = nl_next(routes, &at))) {
		if (!nlmsg_is_route(h, v4) || !suggests_template(h))
			continue;
		if (nlmsg_is_default(h)) {
			if (!defaults++)
				first = nlmsg_ifindex(h);
		} else if (!other) {
			other = nlmsg_ifindex(h);
		}
	}
	*multiple = defaults > 1;
	return first ? first : other;
}

static struct addr find_gateway(const struct nl_store *routes, bool v4,
				unsigned ifindex)
{
	const struct nlmsghdr *h;
	size_t at = 0;

	while ((h = nl_next(routes, &at))) {
		if (nlmsg_is_route(h, v4) && nlmsg_is_default(h) &&
		    nlmsg_uses(h, ifindex, false))
			return nlmsg_gateway(h, ifindex);
	}
	return (struct addr){ 0 };
}

/* Whether the gateway is in the subnet of this address: one that was added for
 * some service, with a prefix of its own, is not where the host is */
static bool has_gateway(const struct nlmsghdr *h, const struct template *t)
{
	const struct ifaddrmsg *m = NLMSG_DATA(h);
	struct addr net = nlmsg_addr(nlmsg_attr(h, sizeof(*m), IFA_ADDRESS));

	return !addr_is_none(&t->gw) &&
	       addr_in_prefix(&t->gw, &net, m->ifa_prefixlen);
}

/* With the gateway in its subnet, then with the longest prefix, then the first
 */
static void find_addresses(const struct nl_store *addrs, bool v4,
			   struct template *t)
{
	bool best = false, has;
	const struct nlmsghdr *h;
	unsigned ll_prefix = 0;
	size_t at = 0;

	while ((h = nl_next(addrs, &at))) {
		const struct ifaddrmsg *m = NLMSG_DATA(h);

		if (!nlmsg_is_address(h, v4, t->ifindex))
			continue;
		if (v4 || m->ifa_scope < RT_SCOPE_LINK) {
			has = has_gateway(h, t);
			if (addr_is_none(&t->addr) || has > best ||
			    (has == best && m->ifa_prefixlen > t->prefix)) {
				best = has;
				t->addr = nlmsg_local(h);
				t->prefix = m->ifa_prefixlen;
			}
		} else if (m->ifa_scope == RT_SCOPE_LINK &&
			   m->ifa_prefixlen > ll_prefix) {
			t->ll = nlmsg_local(h);
			ll_prefix = m->ifa_prefixlen;
		}
	}
}

/* --- template ------------------------------------------------------------ */

static int describe(struct netlink *n, bool v4, struct template *t)
{
	struct nl_store addrs;
	struct nlmsg_link l;
	int err;

	err = nllink_get(n, t->ifindex, NULL, &l);
	if (err)
		return err;
	memcpy(t->ifname, l.name, sizeof(t->ifname));
	t->mac = l.mac;
	t->has_mac = l.has_mac;
	err = nl_dump(n, &addrs, RTM_GETADDR, v4);
	if (!err)
		find_addresses(&addrs, v4, t);
	nl_drop(&addrs);
	return err;
}

int hostnet_template(struct netlink *n, bool v4, const char *ifname,
		     struct template *t)
{
	struct nl_store routes;
	int err;

	*t = (struct template){ 0 };
	err = nl_dump(n, &routes, RTM_GETROUTE, v4);
	if (err)
		goto out;
	if (ifname && ifname[0])
		t->ifindex = nllink_index(n, ifname);
	else
		t->ifindex = choose(&routes, v4, &t->multiple);
	if (!t->ifindex)
		goto out;
	t->gw = find_gateway(&routes, v4, t->ifindex);
	err = describe(n, v4, t);
	if (err || (addr_is_none(&t->addr) && addr_is_none(&t->ll)))
		*t = (struct template){ 0 };
out:
	nl_drop(&routes);
	return err;
}
