/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * hostnet - what the host's network looks like
 *
 * Routes first, as they tell the template and its gateway, then the addresses,
 * among which the gateway helps to choose.  Each message is looked at as it
 * comes, so nothing is gathered.
 */
#include "hostnet.h"
#include "nllink.h"
#include "nlmsg.h"
#include "util.h"

#include <linux/if_addr.h>

#include <errno.h>
#include <sys/socket.h>

enum { IDLE, ROUTES4, ROUTES6, ADDRS };

enum { TRIES = 4 }; /* when the kernel's tables change meanwhile */

/* --- sums ------------------------------------------------------------------
 */

/* A checksum of a message without its lifetimes, which differ each time */
static uint64_t sum_of(const struct nlmsghdr *h, size_t fixed, unsigned skip)
{
	const struct rtattr *a =
		(const void *)((const uint8_t *)h + NLMSG_SPACE(fixed));
	size_t left = h->nlmsg_len - NLMSG_SPACE(fixed);
	uint64_t sum = nlmsg_mix(h->nlmsg_type, NLMSG_DATA(h), fixed);

	for (; RTA_OK(a, left); a = RTA_NEXT(a, left))
		if (a->rta_type != skip)
			sum = nlmsg_mix(sum, a, a->rta_len);
	return sum;
}

/* --- networks of the host ------------------------------------------------------
 */

/* Take a network from a route, as an address need not have a prefix of its own:
 * those of DHCPv6 have none.  Only what the kernel, a router or a DHCP client
 * says of the link itself: routes that somebody has added, as for a tunnel, say
 * nothing about neighbours. */
static void note_link(struct hostnet *h, const struct nlmsghdr *m)
{
	const struct rtmsg *r = NLMSG_DATA(m);
	struct addr dst = nlmsg_addr(nlmsg_route_attr(m, RTA_DST));

	if (h->local && !nlmsg_route_attr(m, RTA_GATEWAY) &&
	    !nlmsg_route_attr(m, RTA_VIA) &&
	    !nlmsg_route_attr(m, RTA_MULTIPATH) &&
	    (r->rtm_protocol == RTPROT_KERNEL || r->rtm_protocol == RTPROT_RA ||
	     r->rtm_protocol == RTPROT_DHCP))
		egress_local_add(h->local, &dst, r->rtm_dst_len);
}

static void note_network(struct hostnet *h, const struct nlmsghdr *m)
{
	const struct ifaddrmsg *a = NLMSG_DATA(m);
	struct addr net = nlmsg_addr(nlmsg_attr(m, sizeof(*a), IFA_ADDRESS));
	struct addr own = nlmsg_local(m);

	if (!h->local)
		return;
	egress_local_add(h->local, &net, a->ifa_prefixlen);
	if (!addr_equal(&own, &net) || !a->ifa_prefixlen) /* the peer's */
		egress_local_add(h->local, &own, addr_is_v4(&own) ? 32 : 128);
}

/* --- routes ----------------------------------------------------------------
 */

static bool suggests_template(const struct nlmsghdr *h)
{
	struct addr dst = nlmsg_addr(nlmsg_route_attr(h, RTA_DST));
	unsigned ifindex = nlmsg_ifindex(h);

	return ifindex > 1 &&
	       (nlmsg_is_default(h) || !addr_is_link_local(&dst));
}

static bool is_named(const struct hostnet *h, unsigned i)
{
	return h->ifname[i] && h->ifname[i][0];
}

/* Choose the template by the first default route, else by any route */
static void choose(struct hostnet *h, unsigned i, const struct nlmsghdr *m)
{
	struct template *t = &h->view.t[i];

	if (!suggests_template(m))
		return;
	if (!nlmsg_is_default(m)) {
		if (!h->other[i])
			h->other[i] = nlmsg_ifindex(m);
		return;
	}
	if (!h->defaults[i]++) {
		t->ifindex = nlmsg_ifindex(m);
		t->gw = nlmsg_gateway(m, t->ifindex);
	}
	t->multiple = h->defaults[i] > 1;
}

static void read_route(struct hostnet *h, unsigned i, const struct nlmsghdr *m)
{
	struct template *t = &h->view.t[i];

	if (!nlmsg_is_route(m, !i))
		return;
	h->view.routes[i] += sum_of(m, sizeof(struct rtmsg), RTA_CACHEINFO);
	note_link(h, m);
	if (nlmsg_is_default(m) && !h->defaults[i] && !h->object[i])
		h->object[i] = nlmsg_object(m);
	if (!is_named(h, i))
		choose(h, i, m);
	else if (nlmsg_is_default(m) && nlmsg_uses(m, t->ifindex) &&
		 !h->defaults[i]++)
		t->gw = nlmsg_gateway(m, t->ifindex);
}

/* --- addresses -------------------------------------------------------------
 */

/* Whether the gateway is in the subnet of this address: one that was added for
 * some service, with a prefix of its own, is not the host's main address */
static bool has_gateway(const struct nlmsghdr *m, const struct template *t)
{
	const struct ifaddrmsg *a = NLMSG_DATA(m);
	struct addr net = nlmsg_addr(nlmsg_attr(m, sizeof(*a), IFA_ADDRESS));

	return !addr_is_none(&t->gw) &&
	       addr_in_prefix(&t->gw, &net, a->ifa_prefixlen);
}

/* Prefer the address with the gateway in its subnet, then the longest prefix,
 * then the first */
static void prefer(struct hostnet *h, unsigned i, const struct nlmsghdr *m)
{
	const struct ifaddrmsg *a = NLMSG_DATA(m);
	struct template *t = &h->view.t[i];
	struct addr addr;
	bool near;

	if (i && a->ifa_scope == RT_SCOPE_LINK &&
	    a->ifa_prefixlen > h->ll_prefix) {
		t->ll = nlmsg_local(m);
		h->ll_prefix = a->ifa_prefixlen;
	}
	/* The guest has no use for the others */
	addr = nlmsg_local(m);
	if ((i && a->ifa_scope >= RT_SCOPE_LINK) || addr_is_loopback(&addr))
		return;
	near = has_gateway(m, t);
	if (!addr_is_none(&t->addr) && near <= h->near[i] &&
	    (near != h->near[i] || a->ifa_prefixlen <= t->prefix))
		return;
	h->near[i] = near;
	t->addr = addr;
	t->prefix = a->ifa_prefixlen;
}

static void read_address(struct hostnet *h, const struct nlmsghdr *m)
{
	struct addr a;
	unsigned i;

	if (m->nlmsg_type != RTM_NEWADDR)
		return;
	h->view.addrs += sum_of(m, sizeof(struct ifaddrmsg), IFA_CACHEINFO);
	note_network(h, m);
	a = nlmsg_local(m);
	if (h->addrs.size && !addrset_put(&h->addrs, &a))
		h->many = true;
	for (i = 0; i < 2; i++)
		if (h->on[i] && h->view.t[i].ifindex &&
		    nlmsg_is_address(m, !i, h->view.t[i].ifindex))
			prefer(h, i, m);
}

/* --- a look ----------------------------------------------------------------
 */

static void on_message(void *arg, const struct nlmsghdr *m)
{
	struct hostnet *h = arg;

	if (h->phase == ADDRS)
		read_address(h, m);
	else
		read_route(h, h->phase == ROUTES6, m);
}

/* After the dump of routes: look up the nexthop object of the default route */
static void look_up(struct hostnet *h, unsigned i)
{
	struct template *t = &h->view.t[i];
	struct nlmsg_hop hop;

	if (!h->object[i] || nllink_hop(h->nl, h->object[i], &hop))
		return;
	if (!is_named(h, i) && hop.ifindex > 1)
		t->ifindex = hop.ifindex;
	if (hop.ifindex == t->ifindex)
		t->gw = hop.gw;
}

static int describe(struct hostnet *h, unsigned i)
{
	struct template *t = &h->view.t[i];
	bool bare = addr_is_none(&t->addr) && addr_is_none(&t->ll);
	struct nlmsg_link l;
	int err;

	err = t->ifindex ? nllink_get(h->nl, t->ifindex, NULL, &l) : -ENODEV;
	if (err == -ENODEV || (bare && !h->given[i])) {
		*t = (struct template){ 0 };
		return 0;
	}
	memcpy(t->ifname, l.name, sizeof(t->ifname));
	t->mtu = l.mtu;
	return err;
}

static int ask(struct hostnet *h)
{
	if (h->phase == ADDRS)
		return nl_dump_begin(h->nl, RTM_GETADDR, AF_UNSPEC);
	return nl_dump_begin(h->nl, RTM_GETROUTE,
			     h->phase == ROUTES4 ? AF_INET : AF_INET6);
}

static void forget_routes(struct hostnet *h, unsigned i)
{
	struct template *t = &h->view.t[i];

	h->view.routes[i] = 0;
	h->other[i] = h->defaults[i] = h->object[i] = 0;
	*t = (struct template){ 0 };
	if (h->on[i] && is_named(h, i))
		t->ifindex = nllink_index(h->nl, h->ifname[i]);
}

static void forget_addresses(struct hostnet *h)
{
	unsigned i;

	h->view.addrs = 0;
	h->near[0] = h->near[1] = h->many = false;
	h->ll_prefix = 0;
	addrset_clear(&h->addrs);
	for (i = 0; i < 2; i++)
		h->view.t[i].addr = h->view.t[i].ll = (struct addr){ 0 };
}

/* Begin or repeat a phase; families that are off are skipped */
static int enter(struct hostnet *h, unsigned phase)
{
	while (phase < ADDRS && !h->on[phase == ROUTES6])
		forget_routes(h, phase++ == ROUTES6);
	if (phase != h->phase)
		h->tries = 0;
	h->phase = phase;
	if (phase == ADDRS)
		forget_addresses(h);
	else
		forget_routes(h, phase == ROUTES6);
	return ask(h);
}

static int next_phase(struct hostnet *h)
{
	unsigned i = h->phase == ROUTES6;
	int err = 0;

	if (h->phase < ADDRS) {
		look_up(h, i);
		if (!is_named(h, i) && !h->view.t[i].ifindex)
			h->view.t[i].ifindex = h->other[i];
		err = enter(h, h->phase + 1);
		return err ? err : -EINPROGRESS;
	}
	h->phase = IDLE;
	for (i = 0; !err && i < 2; i++)
		err = describe(h, i);
	return err;
}

int hostnet_begin(struct hostnet *h)
{
	h->phase = IDLE;
	if (h->local)
		h->local->n = h->local->many = 0;
	return enter(h, ROUTES4);
}

int hostnet_step(struct hostnet *h)
{
	int err = nl_dump_step(h->nl, on_message, h);

	/* Better a table that is changing than none */
	if (err == -EAGAIN && ++h->tries == TRIES)
		err = 0;
	if (err == -EAGAIN) {
		err = enter(h, h->phase);
		return err ? err : -EINPROGRESS;
	}
	return err ? err : next_phase(h);
}

int hostnet_look(struct hostnet *h)
{
	int err = hostnet_begin(h);

	while (!err && (err = hostnet_step(h)) == -EINPROGRESS)
		err = 0;
	return err;
}
