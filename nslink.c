/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * nslink - addresses and routes of the link in the namespace
 *
 * What is copied is requested from the host as messages of the kernel, which
 * become requests for the other namespace with as few changes as possible.
 */
#include "nslink.h"
#include "log.h"
#include "nllink.h"
#include "nlmsg.h"
#include "util.h"

#include <linux/if_addr.h>

#include <errno.h>
#include <sys/socket.h>
#include <time.h>

enum {
	SETTLE_MS = 1000,
	SETTLE_STEP_MS = 1,
	/* A tap device holds 1000 packets by default: at MTU 1500 that is less
	 * than one TCP window, which then overflows it */
	QUEUE = 10000,
	FIRST_SLOTS = 512,
	WORLD = 8, /* a shorter prefix is nobody's network */
};

/* --- configuration of the guest's link ----------------------------------- */

/* What the steps of a configuration have in common */
struct job {
	struct nslink *link;
	struct netlink *host, *ns;
	unsigned from, to; /* interface of the template, and the guest's */
	bool v4, local;
	bool first; /* nothing of ours is there yet */
	bool object; /* there is a default route of which only the nexthop
			object is known */
	bool whole;  /* a default route is copied */
	const struct conf *conf;
	struct lan *lan;
	struct addr ll; /* link-local address of the guest's interface; none: it
			   has none */
};

/* --- what is wanted -------------------------------------------------------- */

/* Add a request to @set; its sequence number is set when it is sent */
static void want(struct nslink_set *set, const struct nlmsghdr *h)
{
	size_t len = NLMSG_ALIGN(h->nlmsg_len);

	if (set->size - set->len < len || set->n == NSLINK_MAX) {
		set->full = true;
		return;
	}
	memset(set->base + set->len, 0, len);
	memcpy(set->base + set->len, h, h->nlmsg_len);
	((struct nlmsghdr *)(set->base + set->len))->nlmsg_seq = 0;
	set->len += len;
	set->n++;
}

static struct nlmsghdr *next(const struct nslink_set *set, size_t *at)
{
	struct nlmsghdr *h = (void *)(set->base + *at);

	if (*at >= set->len)
		return NULL;
	*at += NLMSG_ALIGN(h->nlmsg_len);
	return h;
}

/* Put flags into a request for an address, with NODAD: our caller expects
 * addresses that can be used at once */
static void put_flags(struct nl_request *r, struct ifaddrmsg *m, uint32_t flags)
{
	flags |= IFA_F_NODAD;
	m->ifa_flags = (uint8_t)flags;
	memcpy(r->body, m, sizeof(*m));
	/* Kernels before 3.14 do not know it */
	if (flags > UINT8_MAX)
		nl_put_u32(r, IFA_FLAGS, flags);
}

/* Make a request to copy an address, without label, lifetime and state */
static void copied(struct job *j, const struct nlmsghdr *h,
		   struct nl_request *r)
{
	static const uint8_t keep[] = { IFA_ADDRESS, IFA_LOCAL, IFA_BROADCAST,
					IFA_RT_PRIORITY };
	struct ifaddrmsg m = *(const struct ifaddrmsg *)NLMSG_DATA(h);
	const struct rtattr *a;
	unsigned i;

	m.ifa_index = j->to;
	nl_begin(r, RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, &m, sizeof(m));
	for (i = 0; i < ARRAY_SIZE(keep); i++) {
		a = nlmsg_attr(h, sizeof(m), keep[i]);
		if (a && RTA_PAYLOAD(a) <= 16)
			nl_put(r, keep[i], RTA_DATA(a), RTA_PAYLOAD(a));
	}
	put_flags(r, &m,
		  nlmsg_addr_flags(h) &
			  (IFA_F_HOMEADDRESS | IFA_F_NOPREFIXROUTE));
}

/* Whether an address is copied: not link-local ones, unless the guest has no
 * other */
static bool is_copied(struct job *j, const struct nlmsghdr *h)
{
	const struct ifaddrmsg *m = NLMSG_DATA(h);
	struct addr a;

	if (!nlmsg_is_address(h, j->v4, j->from))
		return false;
	a = nlmsg_local(h);
	return m->ifa_scope < RT_SCOPE_LINK ||
	       (j->v4 && addr_equal(&a, &j->lan->guest4));
}

static void want_address(void *arg, const struct nlmsghdr *h)
{
	struct job *j = arg;
	struct nl_request r;

	if (!is_copied(j, h))
		return;
	copied(j, h, &r);
	want(&j->link->want, &r.h);
}

static int copy_addresses(struct job *j)
{
	return nl_ask(j->host, RTM_GETADDR, j->v4, want_address, j);
}

static int add_address(struct job *j)
{
	const struct addr *a = j->v4 ? &j->lan->guest4 : &j->lan->guest6;
	struct ifaddrmsg m = {
		.ifa_family = j->v4 ? AF_INET : AF_INET6,
		.ifa_prefixlen = (uint8_t)(j->v4 ? j->lan->prefix4 : 64),
		.ifa_index = j->to,
	};
	struct nl_request r;

	if (addr_is_none(a))
		return 0;
	nl_begin(&r, RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, &m, sizeof(m));
	nl_put_addr(&r, IFA_LOCAL, a);
	nl_put_addr(&r, IFA_ADDRESS, a);
	put_flags(&r, &m, 0);
	want(&j->link->want, &r.h);
	return 0;
}

/* Which attributes of a route are removed */
enum { SOURCE = 1, HOPS = 2 };

static bool stays_behind(unsigned type, unsigned what)
{
	switch (type) {
	case RTA_OIF:
	case RTA_GATEWAY:
	case RTA_VIA:
	case RTA_MULTIPATH:
		return what & HOPS;
	case RTA_PREFSRC:
		return what & SOURCE;
	case RTA_NH_ID:     /* the object does not exist there */
	case RTA_CACHEINFO: /* lifetimes are not counted by us */
	case RTA_EXPIRES:
	case RTA_UID:
	case RTA_MARK:
	case RTA_ENCAP: /* the host encapsulates what leaves its sockets */
	case RTA_ENCAP_TYPE:
		return true;
	default:
		return false;
	}
}

/* Remove attributes from @left bytes of them; returns the end of the rest */
static uint8_t *strip_attrs(void *attrs, size_t left, unsigned what)
{
	struct rtattr *a = attrs, *after;
	uint8_t *to = attrs;

	for (; RTA_OK(a, left); a = after) {
		size_t len = MIN((size_t)RTA_ALIGN(a->rta_len), left);

		after = (void *)((uint8_t *)a + len);
		left -= len;
		if (stays_behind(a->rta_type & NLA_TYPE_MASK, what))
			continue;
		memmove(to, a, len);
		to += len;
	}
	return to;
}

static void strip(struct nlmsghdr *h, unsigned what)
{
	uint8_t *attrs = (uint8_t *)h + NLMSG_SPACE(sizeof(struct rtmsg));
	size_t left = h->nlmsg_len - NLMSG_SPACE(sizeof(struct rtmsg));

	h->nlmsg_len = (uint32_t)(strip_attrs(attrs, left, what) -
				  (uint8_t *)h);
}

/* Keep those hops of a multipath route that leave by the template */
static void copy_hops(struct job *j, struct nlmsghdr *h)
{
	uint8_t *end = (uint8_t *)h + h->nlmsg_len, *to, *rest;
	struct rtnexthop *nh, *at;
	struct rtattr *all;
	size_t left;

	nh = nlmsg_first_hop(h, &at, &left);
	if (!nh)
		return;
	to = (uint8_t *)nh;
	all = (void *)(to - RTA_LENGTH(0));
	rest = to + MIN((size_t)RTA_ALIGN(RTA_PAYLOAD(all)),
			(size_t)(end - to));
	for (; nh; nh = nlmsg_next_hop(&at, &left)) {
		struct rtnexthop *copy = (void *)to;
		size_t len = nh->rtnh_len;

		if ((unsigned)nh->rtnh_ifindex != j->from)
			continue;
		memmove(copy, nh, len);
		copy->rtnh_ifindex = (int)j->to;
		copy->rtnh_flags &= RTNH_F_ONLINK;
		to = strip_attrs(RTNH_DATA(copy), len - sizeof(*copy), 0);
		copy->rtnh_len = (uint16_t)(to - (uint8_t *)copy);
	}
	all->rta_len = (uint16_t)(to - (uint8_t *)all);
	memmove(to, rest, (size_t)(end - rest));
	h->nlmsg_len -= (uint32_t)(rest - to);
}

/* Whether a gateway needs the onlink flag, as no address has it in its
 * subnet */
static bool is_outside(const struct job *j, const struct addr *gw)
{
	if (!j->v4)
		return !addr_is_link_local(gw) &&
		       !addr_in_prefix(gw, &j->lan->guest6, 64);
	return !addr_in_prefix(gw, &j->lan->guest4, j->lan->prefix4);
}

/* Whether a hop has a gateway of the other family, or none on the way to the
 * world or a large part of it, as with two routes that stand for a default one,
 * but not with that of multicast groups, which are no neighbours */
static bool hop_leads_nowhere(const struct nlmsghdr *h, const struct rtattr *gw,
			      const struct rtattr *via)
{
	const struct addr to = nlmsg_addr(nlmsg_route_attr(h, RTA_DST));
	const struct rtmsg *m = NLMSG_DATA(h);

	return via || (!gw && m->rtm_dst_len < WORLD &&
		       !addr_is_multicast(&to));
}

static bool leads_nowhere(const struct nlmsghdr *h)
{
	struct rtnexthop *nh, *at;
	size_t left;

	nh = nlmsg_first_hop(h, &at, &left);
	if (!nh)
		return hop_leads_nowhere(h, nlmsg_route_attr(h, RTA_GATEWAY),
					 nlmsg_route_attr(h, RTA_VIA));
	for (; nh; nh = nlmsg_next_hop(&at, &left)) {
		const struct rtattr *a = (void *)RTNH_DATA(nh);
		size_t n = nh->rtnh_len - RTNH_LENGTH(0);

		if (hop_leads_nowhere(h, nlmsg_attr_in(a, n, RTA_GATEWAY),
				      nlmsg_attr_in(a, n, RTA_VIA)))
			return true;
	}
	return false;
}

/* Lead a route to our own address.  The host reaches its destination by an IPv6
 * gateway (RFC 9229), or without one as on a point-to-point link; but the
 * neighbours of a whole world do not fit into a table, and the guest may not
 * have IPv6. */
static void redirect(struct job *j, struct nlmsghdr *h)
{
	const struct addr *gw = j->v4 ? &j->lan->gw4 : &j->lan->gw6;
	struct rtmsg *m = NLMSG_DATA(h);

	if (!leads_nowhere(h) || addr_is_none(gw))
		return;
	strip(h, HOPS);
	nl_append(h, RTA_OIF, &j->to, sizeof(j->to));
	nl_append(h, RTA_GATEWAY, j->v4 ? &gw->b[12] : gw->b, j->v4 ? 4 : 16);
	m->rtm_scope = RT_SCOPE_UNIVERSE;
	m->rtm_flags = is_outside(j, gw) ? RTNH_F_ONLINK : 0;
}

/* Make a request for the guest's link of a route of the host.  The source
 * address is removed, as the guest may not have it; but the route that the
 * kernel itself makes with an address must be recognised as existing
 * already. */
static void rewrite(struct job *j, struct nlmsghdr *h)
{
	struct rtmsg *m = NLMSG_DATA(h);
	const struct rtattr *oif;

	strip(h, m->rtm_protocol != RTPROT_KERNEL ? SOURCE : 0);
	h->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE;
	/* In the host's order.  For IPv6 this flag would join routes that
	 * differ only in their gateway to a multipath route. */
	if (j->v4)
		h->nlmsg_flags |= NLM_F_APPEND;
	m->rtm_flags &= RTNH_F_ONLINK;
	oif = nlmsg_route_attr(h, RTA_OIF);
	if (oif)
		memcpy(RTA_DATA(oif), &j->to, sizeof(j->to));
	copy_hops(j, h);
	redirect(j, h);
}

static void want_route(void *arg, const struct nlmsghdr *orig)
{
	static uint8_t copy[NL_ANSWER] __attribute__((aligned(NLMSG_ALIGNTO)));
	struct nlmsghdr *h = (void *)copy; /* with room for what is appended */
	struct job *j = arg;

	if (!nlmsg_is_route(orig, j->v4))
		return;
	j->object |= nlmsg_is_default(orig) && nlmsg_object(orig);
	if (!nlmsg_uses(orig, j->from))
		return;
	j->whole |= nlmsg_is_default(orig);
	memcpy(copy, orig, orig->nlmsg_len);
	rewrite(j, h);
	want(&j->link->want, h);
}

static int add_default_route(struct job *j)
{
	const struct addr *gw = j->v4 ? &j->lan->gw4 : &j->lan->gw6;
	struct rtmsg m = {
		.rtm_family = j->v4 ? AF_INET : AF_INET6,
		.rtm_table = RT_TABLE_MAIN,
		.rtm_protocol = RTPROT_BOOT,
		.rtm_scope = RT_SCOPE_UNIVERSE,
		.rtm_type = RTN_UNICAST,
	};
	struct nl_request r;

	if (addr_is_none(gw))
		return 0;
	/* with --gateway it may be any address, and it is us in any case */
	if (is_outside(j, gw))
		m.rtm_flags = RTNH_F_ONLINK;
	nl_begin(&r, RTM_NEWROUTE, NLM_F_CREATE, &m, sizeof(m));
	nl_put_addr(&r, RTA_GATEWAY, gw);
	nl_put_u32(&r, RTA_OIF, j->to);
	want(&j->link->want, &r.h);
	return 0;
}

/* Have the guest's router reached where it has an address of ours outside of
 * the guest's subnet, as for a point-to-point link, and there is no default
 * route: what the host sends to the guest's ports from the address that both
 * have comes from there */
static void add_router(struct job *j)
{
	const struct addr *router = &j->lan->our4;
	struct rtmsg m = {
		.rtm_family = AF_INET,
		.rtm_dst_len = 32,
		.rtm_table = RT_TABLE_MAIN,
		.rtm_protocol = RTPROT_BOOT,
		.rtm_scope = RT_SCOPE_LINK,
		.rtm_type = RTN_UNICAST,
	};
	struct nl_request r;

	if (!j->v4 || j->whole || addr_is_none(router) ||
	    !addr_is_none(&j->link->renew->host.t[0].gw) ||
	    !is_outside(j, router))
		return;
	nl_begin(&r, RTM_NEWROUTE, NLM_F_CREATE, &m, sizeof(m));
	nl_put_addr(&r, RTA_DST, router);
	nl_put_u32(&r, RTA_OIF, j->to);
	want(&j->link->want, &r.h);
}

/* Copy routes.  An Internet router has a million of them, too many to be
 * requested at each change. */
static int copy_routes(struct job *j)
{
	struct nslink *l = j->link;
	const struct nslink_set before = l->want;
	int err;

	j->object = j->whole = false;
	err = nl_ask(j->host, RTM_GETROUTE, j->v4, want_route, j);
	if (j->object && !addr_is_none(&l->renew->host.t[!j->v4].gw))
		(void)add_default_route(j);
	add_router(j);
	if (!l->want.full || before.full)
		return err;
	l->want = before;
	l->many[!j->v4] = true;
	log_warn("The host has too many IPv%c routes, the namespace gets a "
		 "default one", j->v4 ? '4' : '6');
	return add_default_route(j);
}

static int hold_family(struct job *j)
{
	struct nslink *l = j->link;
	struct nlmsghdr *h;
	size_t at = 0;

	while ((h = next(&l->have, &at))) {
		const struct rtgenmsg *g = NLMSG_DATA(h);

		if (g->rtgen_family == (j->v4 ? AF_INET : AF_INET6) &&
		    h->nlmsg_type != NLMSG_NOOP)
			want(&l->want, h);
	}
	return l->want.full ? -E2BIG : 0;
}

/* Better a table that is changing than none: there will be another look */
static int want_family(struct job *j)
{
	unsigned i = j->v4 ? 0 : 1;
	bool local = j->local || !j->from;
	int err;

	err = local || j->conf->no_copy_addrs[i] ? add_address(j) :
						   copy_addresses(j);
	if (err && err != -EAGAIN)
		return err;
	if (local || j->conf->no_copy_routes[i] || j->link->many[i])
		err = add_default_route(j);
	else
		err = copy_routes(j);
	if (j->link->want.full)
		err = -E2BIG;
	return err == -EAGAIN ? 0 : err;
}

/* --- from what there is to what is wanted ---------------------------------- */

/* The part of a header that is compared: not sequence number and port */
enum { SAME = offsetof(struct nlmsghdr, nlmsg_seq) };

static bool same(const struct nlmsghdr *a, const struct nlmsghdr *b)
{
	return !memcmp(a, b, SAME) &&
	       !memcmp(NLMSG_DATA(a), NLMSG_DATA(b),
		       a->nlmsg_len - NLMSG_HDRLEN);
}

/* Find @h in the index of @set; if it is not there, the empty place for it */
static uint32_t *find(struct nslink *l, const struct nslink_set *set,
		      const struct nlmsghdr *h)
{
	uint64_t sum = nlmsg_mix(0, NLMSG_DATA(h), h->nlmsg_len - NLMSG_HDRLEN);
	uint32_t i = (uint32_t)sum & l->mask;

	while (l->index[i] &&
	       !same((const void *)(set->base + l->index[i] - 1), h))
		i = (i + 1) & l->mask;
	return &l->index[i];
}

/* Mark requests of @set that are not in @other, by their nlmsg_seq */
static void mark(struct nslink *l, struct nslink_set *set,
		 const struct nslink_set *other)
{
	struct nlmsghdr *h;
	size_t at = 0, was;

	for (l->mask = FIRST_SLOTS - 1; l->mask < 2 * other->n;)
		l->mask = 2 * l->mask + 1;
	memset(l->index, 0, (l->mask + 1) * sizeof(*l->index));
	for (was = at; (h = next(other, &at)); was = at)
		*find(l, other, h) = (uint32_t)was + 1;
	for (at = 0; (h = next(set, &at));)
		h->nlmsg_seq = !*find(l, other, h);
}

/* Send a copy of a request, so that what is remembered stays as it is */
static int send_copy(struct job *j, const struct nlmsghdr *orig, unsigned type,
		     unsigned without)
{
	static uint8_t copy[NL_ANSWER] __attribute__((aligned(NLMSG_ALIGNTO)));
	struct nlmsghdr *h = (void *)copy;

	memcpy(copy, orig, orig->nlmsg_len);
	h->nlmsg_flags |= NLM_F_ACK;
	if (type != h->nlmsg_type)
		h->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
	h->nlmsg_type = (uint16_t)type;
	if (without)
		strip(h, without);
	return nl_talk(j->ns, h, NULL, NULL);
}

static bool is_of(const struct job *j, const struct nlmsghdr *h, unsigned type)
{
	const struct rtgenmsg *g = NLMSG_DATA(h);

	return h->nlmsg_type == type && h->nlmsg_seq &&
	       g->rtgen_family == (j->v4 ? AF_INET : AF_INET6);
}

/* Add new addresses.  One that is refused does not stop the others and is not
 * remembered, so that it is tried again the next time. */
static int add_new_addresses(struct job *j)
{
	struct nlmsghdr *h;
	size_t at = 0;
	int err = 0, ret;

	while ((h = next(&j->link->want, &at))) {
		if (!is_of(j, h, RTM_NEWADDR))
			continue;
		ret = send_copy(j, h, RTM_NEWADDR, 0);
		j->link->done.addresses += !ret;
		if (!ret || ret == -EEXIST)
			continue;
		h->nlmsg_type = NLMSG_NOOP;
		err = err ? err : ret;
	}
	return err;
}

static struct addr destination(const struct nlmsghdr *h)
{
	return nlmsg_addr(nlmsg_route_attr(h, RTA_DST));
}

/* Do not set another route to the same destination: it is the user's business
 * now */
static void leave_to_user(struct job *j, const struct nlmsghdr *gone)
{
	const struct rtmsg *m = NLMSG_DATA(gone), *o;
	struct addr to = destination(gone), a;
	struct nlmsghdr *h;
	size_t at = 0;

	while ((h = next(&j->link->want, &at))) {
		if (!is_of(j, h, RTM_NEWROUTE))
			continue;
		o = NLMSG_DATA(h);
		a = destination(h);
		if (o->rtm_dst_len == m->rtm_dst_len && addr_equal(&a, &to))
			h->nlmsg_seq = 0;
	}
}

/* Remove old routes; one that cannot be removed now is remembered as ours for
 * the next time */
static void remove_old_routes(struct job *j)
{
	struct nlmsghdr *h;
	size_t at = 0;
	int err;

	while ((h = next(&j->link->have, &at))) {
		if (!is_of(j, h, RTM_NEWROUTE))
			continue;
		err = send_copy(j, h, RTM_DELROUTE, SOURCE);
		j->link->done.old_routes += !err;
		if (err == -ESRCH)
			leave_to_user(j, h);
		else if (err)
			want(&j->link->want, h);
	}
}

/* Whether two routes differ only in where they lead to, so that the first one
 * of them counts */
static bool compete(const struct nlmsghdr *a, const struct nlmsghdr *b)
{
	const struct rtmsg *m = NLMSG_DATA(a), *o = NLMSG_DATA(b);
	struct addr to = destination(a), other = destination(b);

	return m->rtm_dst_len == o->rtm_dst_len && m->rtm_tos == o->rtm_tos &&
	       addr_equal(&to, &other) &&
	       nlmsg_u32(nlmsg_route_attr(a, RTA_PRIORITY)) ==
		       nlmsg_u32(nlmsg_route_attr(b, RTA_PRIORITY));
}

/* Insert one route: 0 if it is there.  Whoever asks for our network in a
 * namespace that has a default route means ours; so the first route goes before
 * what is there, and one that competes with @ahead, which is ours as well,
 * behind. */
static int insert_route(struct job *j, struct nlmsghdr *h,
			const struct nlmsghdr *ahead)
{
	const uint16_t flags = h->nlmsg_flags;
	int err;

	if (j->first && !(ahead && compete(ahead, h)))
		h->nlmsg_flags &= (uint16_t)~NLM_F_APPEND;
	err = send_copy(j, h, RTM_NEWROUTE, 0);
	if (err == -EINVAL && nlmsg_route_attr(h, RTA_PREFSRC))
		err = send_copy(j, h, RTM_NEWROUTE, SOURCE);
	h->nlmsg_flags = flags;
	j->link->done.routes += !err;
	return err == -EEXIST ? 0 : err;
}

static bool leads_on(int err)
{
	return err != -ENETUNREACH && err != -EHOSTUNREACH;
}

/* Insert new routes.  A gateway can be used only once there is a route to it,
 * and the order of a dump does not respect that: so go on as long as a round
 * helps.  Routes that could not be inserted are not remembered. */
static void insert_new_routes(struct job *j)
{
	unsigned left = UINT32_MAX, before;
	const struct nlmsghdr *last;
	struct nlmsghdr *h;
	size_t at;
	int err;

	do {
		before = left;
		left = 0;
		last = NULL;
		for (at = 0; (h = next(&j->link->want, &at));) {
			const struct nlmsghdr *ahead = last;

			if (h->nlmsg_type == RTM_NEWROUTE)
				last = h;
			if (!is_of(j, h, RTM_NEWROUTE))
				continue;
			err = insert_route(j, h, ahead);
			left += !leads_on(err);
			h->nlmsg_seq = !leads_on(err);
			if (!err || !leads_on(err))
				continue;
			h->nlmsg_type = NLMSG_NOOP;
			log_limited(LOG_WARN, "Can't copy an IPv%c route: %s",
				    j->v4 ? '4' : '6', util_error(-err));
		}
	} while (left && left < before);
	for (at = 0; left && (h = next(&j->link->want, &at));)
		if (is_of(j, h, RTM_NEWROUTE))
			h->nlmsg_type = NLMSG_NOOP;
	if (left)
		log_debug("%u IPv%c routes lead nowhere, not copied", left,
			  j->v4 ? '4' : '6');
}

/* With @gone the kernel has removed its secondary addresses: add again those
 * that are wanted */
static void restore_secondaries(struct job *j, const struct nlmsghdr *gone)
{
	const struct ifaddrmsg *m = NLMSG_DATA(gone), *o;
	struct addr net = nlmsg_local(gone), a;
	struct nlmsghdr *h;
	size_t at = 0;

	while (j->v4 && (h = next(&j->link->want, &at))) {
		o = NLMSG_DATA(h);
		if (h->nlmsg_type != RTM_NEWADDR || o->ifa_family != AF_INET ||
		    o->ifa_prefixlen != m->ifa_prefixlen)
			continue;
		a = nlmsg_local(h);
		net = addr_mask(&net, m->ifa_prefixlen);
		if (addr_in_prefix(&a, &net, m->ifa_prefixlen))
			(void)send_copy(j, h, RTM_NEWADDR, 0);
	}
}

/* Remove old addresses, except those that the host still has, or may get back,
 * as connections use them; these are remembered for the next time */
static void remove_old_addresses(struct job *j, const struct addrset *stay,
				 bool patient)
{
	struct nlmsghdr *h;
	size_t at = 0;
	int err;

	while ((h = next(&j->link->have, &at))) {
		struct addr a;

		if (!is_of(j, h, RTM_NEWADDR))
			continue;
		a = nlmsg_local(h);
		err = patient || (stay && addrset_has(stay, &a)) ? -EBUSY :
			      send_copy(j, h, RTM_DELADDR, 0);
		if (!err) {
			j->link->done.old_addresses++;
			restore_secondaries(j, h);
		} else if (err != -EADDRNOTAVAIL) {
			want(&j->link->want, h);
		}
	}
}

/* Note which addresses of the host the guest has */
static void note_copies(struct nslink *l, struct addrset *copies)
{
	struct nlmsghdr *h;
	size_t at = 0;

	addrset_clear(copies);
	while ((h = next(&l->have, &at))) {
		struct addr a;

		if (h->nlmsg_type != RTM_NEWADDR)
			continue;
		a = nlmsg_local(h);
		(void)addrset_put(copies, &a);
	}
}

static void swap(struct nslink *l)
{
	struct nslink_set was = l->have;

	l->have = l->want;
	l->want = was;
}

static int remove_address(struct job *j, const struct nlmsghdr *h)
{
	struct ifaddrmsg m = *(const struct ifaddrmsg *)NLMSG_DATA(h);
	struct addr a = nlmsg_local(h);
	struct nl_request r;

	nl_begin(&r, RTM_DELADDR, 0, &m, sizeof(m));
	nl_put_addr(&r, IFA_LOCAL, &a);
	return nl_tell(j->ns, &r);
}

static int renew_address(struct job *j, const struct nlmsghdr *h)
{
	struct nl_request r;

	copied(j, h, &r);
	return nl_tell(j->ns, &r);
}

static int each_link_local(struct job *j, const struct nl_store *addrs,
			   int (*fn)(struct job *j, const struct nlmsghdr *h))
{
	const struct nlmsghdr *h;
	size_t at = 0;
	int err = 0;

	while (!err && (h = nl_next(addrs, &at))) {
		const struct ifaddrmsg *m = NLMSG_DATA(h);

		if (!nlmsg_is_address(h, false, j->to) ||
		    m->ifa_scope != RT_SCOPE_LINK)
			continue;
		err = fn(j, h);
		j->ll = nlmsg_local(h);
	}
	return err;
}

/* Make the link-local address usable at once.  The kernel's own is tentative
 * for up to a second, with or without NODAD set later; so it is replaced by the
 * same one, added with NODAD.  With IFF_NOARP there was no duplicate address
 * detection.  Clearing that makes the kernel begin anew, up to a second later,
 * with every address there is; so there must be none meanwhile. */
static int settle_link_local(struct job *j)
{
	struct nl_store addrs;
	int err;

	err = nl_dump(j->ns, &addrs, RTM_GETADDR, false);
	if (!err)
		err = each_link_local(j, &addrs, remove_address);
	if (!err)
		err = nllink_flags(j->ns, j->to, 0, IFF_NOARP);
	if (!err)
		err = each_link_local(j, &addrs, renew_address);
	nl_drop(&addrs);
	return err;
}

/* Configure a family for the first time */
static int configure_family(struct job *j)
{
	struct nslink *l = j->link;
	int err = 0;

	j->first = true;
	if (!j->v4)
		err = settle_link_local(j);
	if (!err)
		err = want_family(j);
	mark(l, &l->want, &l->have);
	if (!err)
		err = add_new_addresses(j);
	if (!err)
		insert_new_routes(j);
	return err;
}

/* Whether @err means that the kernel lacks the family, or disable_ipv6 is
 * set */
static bool means_unavailable(int err, bool v4)
{
	return err == -EOPNOTSUPP || err == -EAFNOSUPPORT ||
	       (!v4 && err == -EACCES);
}

static int try_family(struct job *j, struct renew *r)
{
	unsigned i = j->v4 ? 0 : 1;
	char f = j->v4 ? '4' : '6';
	struct plan was;
	int err;

	j->from = r->host.t[i].ifindex;
	j->local = r->plan.local[i];
	err = configure_family(j);
	if (means_unavailable(err, j->v4)) {
		log_warn("The namespace has no IPv%c, going on without: %s", f,
			 util_error(-err));
		r->host.lacks[i] = true;
		(void)renew_plan(r, &was);
		return 0;
	}
	if (err)
		log_err("Can't configure IPv%c in the namespace: %s", f,
			util_error(-err));
	return err;
}

static void note_local(void *arg, const struct nlmsghdr *h)
{
	const struct rtmsg *m = NLMSG_DATA(h);
	bool *local = arg;

	*local = h->nlmsg_type == RTM_NEWROUTE && m->rtm_type == RTN_LOCAL;
}

/* Wait until an IPv6 address is local to the namespace.  The kernel's worker
 * takes some time to add the route, and what is sent there before keeps going
 * out to us. */
static void await_own_address(struct job *j, const struct addr *a)
{
	const struct timespec step = { .tv_nsec = SETTLE_STEP_MS * 1000000 };
	struct rtmsg m = { .rtm_family = AF_INET6, .rtm_dst_len = 128 };
	bool local = false;
	struct nl_request r;
	unsigned i;

	for (i = 0; i < SETTLE_MS / SETTLE_STEP_MS; i++) {
		nl_begin(&r, RTM_GETROUTE, 0, &m, sizeof(m));
		nl_put_addr(&r, RTA_DST, a);
		if (addr_is_link_local(a))
			nl_put_u32(&r, RTA_OIF, j->to);
		(void)nl_talk(j->ns, &r.h, note_local, &local);
		if (local)
			return;
		nanosleep(&step, NULL);
	}
}

static void await_own_addresses(struct job *j)
{
	if (!addr_is_none(&j->ll))
		await_own_address(j, &j->ll);
	if (!addr_is_none(&j->lan->guest6))
		await_own_address(j, &j->lan->guest6);
}

static int configure_link(struct netlink *ns, unsigned ifindex,
			  const struct conf *c, const struct lan *lan)
{
	int err;

	err = nllink_set(ns, ifindex, c->ns_mac_set ? &c->ns_mac : NULL,
			 lan->mtu, 0, false);
	if (err) {
		log_err("Can't set MAC address or MTU in the namespace: %s",
			util_error(-err));
		return err;
	}
	if (nllink_queue(ns, ifindex) < QUEUE)
		(void)nllink_set(ns, ifindex, NULL, 0, QUEUE, false);
	/* Without ARP there is no duplicate address detection either */
	err = nllink_flags(ns, ifindex, IFF_UP | (lan->v6 ? IFF_NOARP : 0),
			   IFF_UP | IFF_NOARP);
	if (err)
		log_err("Can't bring up the link in the namespace: %s",
			util_error(-err));
	return err;
}

static struct job job(struct nslink *l, struct netlink *host)
{
	return (struct job){ .link = l,
			     .host = host,
			     .ns = l->ns,
			     .to = l->ifindex,
			     .v4 = true,
			     .conf = l->renew->conf,
			     .lan = &l->renew->plan.lan };
}

static int configure(struct job *j, struct renew *r)
{
	struct lan *lan = j->lan;
	int err;

	err = configure_link(j->ns, j->to, j->conf, lan);
	if (!err && lan->v4)
		err = try_family(j, r);
	j->v4 = false;
	if (!err && lan->v6) {
		err = try_family(j, r);
		if (!err && !lan->v6)
			err = nllink_flags(j->ns, j->to, 0, IFF_NOARP);
		if (!err && lan->v6)
			await_own_addresses(j);
	}
	return err;
}

static bool map(struct nslink *l)
{
	l->have.base = util_map(NSLINK_BYTES);
	l->want.base = util_map(NSLINK_BYTES);
	l->have.size = l->want.size = NSLINK_BYTES;
	l->index = util_map(NSLINK_SLOTS * sizeof(*l->index));
	return l->have.base && l->want.base && l->index &&
	       addrset_room(&l->renew->plan.lan.copies, HOSTNET_ADDRS);
}

int nslink_configure(struct nslink *l, struct netlink *host, struct netlink *ns,
		     unsigned ifindex, struct renew *r)
{
	struct job j;
	int err;

	*l = (struct nslink){ .ns = ns, .ifindex = ifindex, .renew = r };
	if (!map(l))
		return -ENOMEM;
	j = job(l, host);
	err = configure(&j, r);
	swap(l);
	note_copies(l, &r->plan.lan.copies);
	return err;
}

static void update_family(struct job *j, const struct addrset *stay,
			  bool patient)
{
	int err = add_new_addresses(j);

	if (err)
		log_limited(LOG_WARN, "Can't set an IPv%c address in the "
			    "namespace: %s", j->v4 ? '4' : '6',
			    util_error(-err));
	remove_old_routes(j);
	insert_new_routes(j);
	remove_old_addresses(j, stay, patient);
}

int nslink_update(struct nslink *l, struct netlink *host,
		  const struct addrset *stay, bool patient)
{
	struct renew *r = l->renew;
	struct job j = job(l, host);
	const bool on[2] = { r->plan.lan.v4, r->plan.lan.v6 };
	unsigned i;
	int err;

	l->want.len = l->want.n = l->want.full = 0;
	l->done = (struct nslink_done){ 0 };
	for (i = 0; i < 2; i++) {
		j.v4 = !i;
		j.from = r->host.t[i].ifindex;
		j.local = r->plan.local[i];
		err = !on[i]	 ? 0 :
		      l->hold[i] ? hold_family(&j) :
				   want_family(&j);
		if (err)
			return err;
	}
	mark(l, &l->have, &l->want);
	mark(l, &l->want, &l->have);
	for (i = 0; i < 2; i++) {
		j.v4 = !i;
		if (on[i])
			update_family(&j, stay, patient);
	}
	swap(l);
	note_copies(l, &r->plan.lan.copies);
	return 0;
}
