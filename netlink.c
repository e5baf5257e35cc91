/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * netlink - rtnetlink requests, dumps and notifications
 *
 * One function sends a request and hands out every message of the answer, be
 * it an acknowledgement, one message or a dump of any length.  What has to be
 * looked at twice, or is asked here and told there, is gathered in a mapping
 * first, which grows as needed.  The kernel's messages are walked with its own
 * macros: it is not a stranger.
 */
#include "netlink.h"
#include "log.h"
#include "util.h"

#include <linux/if.h>
#include <linux/if_addr.h>
#include <linux/if_arp.h>
#include <linux/neighbour.h>
#include <linux/netlink.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>

#include <errno.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#ifndef NETLINK_CAP_ACK
#define NETLINK_CAP_ACK 10
#endif
#ifndef SOL_NETLINK
#define SOL_NETLINK 270
#endif

enum {
	ANSWER = 64 << 10, /* the kernel fills at most 32 KiB at a time */
	STORE = 256 << 10, /* first size of a gathered dump */
	SETTLE_MS = 1000,
	SETTLE_STEP_MS = 1,
	DUMP_TRIES = 8,	   /* when the kernel's tables change meanwhile */
	/* A tap device holds 1000 packets by default: at MTU 1500 that is less
	 * than one TCP window, which then overflows it */
	QUEUE = 10000,
	NUD_USABLE = NUD_PERMANENT | NUD_NOARP | NUD_REACHABLE | NUD_PROBE |
		     NUD_STALE | NUD_DELAY,
};

/* Room for every request but copied routes, which are sent as they came */
struct request {
	struct nlmsghdr h;
	uint8_t body[256];
};

typedef void message_fn(void *arg, const struct nlmsghdr *h);

/* --- requests ------------------------------------------------------------ */

static void begin(struct request *r, unsigned type, unsigned flags,
		  const void *fixed, size_t size)
{
	memset(r, 0, sizeof(*r));
	r->h.nlmsg_type = (uint16_t)type;
	r->h.nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags);
	r->h.nlmsg_len = (uint32_t)NLMSG_LENGTH(size);
	memcpy(r->body, fixed, size);
}

/* To a message that has room behind it */
static void append(void *message, unsigned type, const void *data, size_t len)
{
	struct nlmsghdr *h = message;
	size_t at = NLMSG_ALIGN(h->nlmsg_len);
	struct rtattr a = { (uint16_t)RTA_LENGTH(len), (uint16_t)type };

	memcpy((uint8_t *)h + at, &a, sizeof(a));
	memcpy((uint8_t *)h + at + sizeof(a), data, len);
	h->nlmsg_len = (uint32_t)(at + RTA_ALIGN(a.rta_len));
}

static void put(struct request *r, unsigned type, const void *data, size_t len)
{
	append(r, type, data, len);
}

static void put_u32(struct request *r, unsigned type, uint32_t v)
{
	put(r, type, &v, sizeof(v));
}

static void put_addr(struct request *r, unsigned type, const struct addr *a)
{
	if (addr_is_v4(a))
		put(r, type, &a->b[12], 4);
	else
		put(r, type, a->b, 16);
}

static int send_request(struct netlink *n, struct nlmsghdr *h)
{
	static const struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };
	ssize_t sent;

	h->nlmsg_seq = ++n->seq;
	h->nlmsg_pid = 0;
	do {
		/* #syscalls sendto send */
		sent = sendto(n->fd, h, h->nlmsg_len, 0,
			      (const struct sockaddr *)&kernel, sizeof(kernel));
	} while (sent < 0 && errno == EINTR);
	return sent < 0 ? -errno : 0;
}

/* One datagram of messages; its length, 0 if it is not from the kernel */
static ssize_t receive(int fd, void *buf, size_t size)
{
	struct sockaddr_nl from = { 0 };
	struct iovec iov = { buf, size };
	struct msghdr m = {
		.msg_name = &from,
		.msg_namelen = sizeof(from),
		.msg_iov = &iov,
		.msg_iovlen = 1,
	};
	ssize_t got;

	do {
		got = recvmsg(fd, &m, 0); /* #syscalls recvmsg */
	} while (got < 0 && errno == EINTR);
	if (got < 0)
		return -errno;
	if (m.msg_flags & MSG_TRUNC)
		return -EMSGSIZE;
	return from.nl_pid ? 0 : got;
}

static int verdict(const struct nlmsghdr *h)
{
	int err;

	if (h->nlmsg_len < NLMSG_LENGTH(sizeof(err)))
		return -EPROTO;
	memcpy(&err, NLMSG_DATA(h), sizeof(err));
	return err;
}

/* The answer to @h, each message to @fn.  -EAGAIN: a dump that was not
 * consistent, to be repeated. */
static int talk(struct netlink *n, struct nlmsghdr *h, message_fn *fn,
		void *arg)
{
	static uint8_t buf[ANSWER] __attribute__((aligned(NLMSG_ALIGNTO)));
	bool torn = false;
	int err = send_request(n, h);

	while (!err) {
		ssize_t got = receive(n->fd, buf, sizeof(buf));
		const struct nlmsghdr *a = (const void *)buf;

		if (got < 0)
			return (int)got;
		for (; NLMSG_OK(a, got); a = NLMSG_NEXT(a, got)) {
			if (a->nlmsg_seq != n->seq)
				continue; /* left from one that failed */
			torn |= a->nlmsg_flags & NLM_F_DUMP_INTR;
			if (a->nlmsg_type == NLMSG_ERROR)
				return verdict(a);
			if (a->nlmsg_type == NLMSG_DONE) {
				err = verdict(a);
				return err < 0 ? err : torn ? -EAGAIN : 0;
			}
			if (fn)
				fn(arg, a);
			if (!(a->nlmsg_flags & NLM_F_MULTI))
				return 0;
		}
	}
	return err;
}

static int tell(struct netlink *n, struct request *r)
{
	r->h.nlmsg_flags |= NLM_F_ACK;
	return talk(n, &r->h, NULL, NULL);
}

/* --- gathered dumps ------------------------------------------------------ */

struct store {
	uint8_t *base;
	size_t len, size;
	bool full; /* no memory: what did not fit is missing */
};

static void gather(void *arg, const struct nlmsghdr *h)
{
	struct store *s = arg;
	size_t len = NLMSG_ALIGN(h->nlmsg_len);
	void *p;

	while (s->size - s->len < len) {
		p = mremap(s->base, s->size, 2 * s->size, MREMAP_MAYMOVE);
		s->full |= p == MAP_FAILED;
		if (s->full)
			return;
		s->base = p;
		s->size *= 2;
	}
	memcpy(s->base + s->len, h, h->nlmsg_len);
	s->len += len;
}

static int dump(struct netlink *n, struct store *s, unsigned type, bool v4)
{
	/* All fixed headers begin with the family, the rest is zero */
	struct rtmsg fixed = { .rtm_family = v4 ? AF_INET : AF_INET6 };
	struct request r;
	unsigned i;
	int err;

	*s = (struct store){ .base = util_map(STORE), .size = STORE };
	if (!s->base)
		return -ENOMEM;
	for (i = 0; i < DUMP_TRIES; i++) {
		begin(&r, type, NLM_F_DUMP, &fixed, sizeof(fixed));
		s->len = 0;
		err = talk(n, &r.h, gather, s);
		if (err != -EAGAIN)
			break;
	}
	/* Better a table that is changing than none */
	if (err == -EAGAIN)
		err = 0;
	return s->full ? -ENOMEM : err;
}

static void drop(struct store *s)
{
	if (s->base)
		munmap(s->base, s->size);
	s->base = NULL;
}

/* The message at offset *@at, NULL behind the last one */
static struct nlmsghdr *next(const struct store *s, size_t *at)
{
	struct nlmsghdr *h = (void *)(s->base + *at);

	if (*at >= s->len)
		return NULL;
	*at += NLMSG_ALIGN(h->nlmsg_len);
	return h;
}

/* --- reading messages ---------------------------------------------------- */

static const struct rtattr *attr_in(const struct rtattr *a, size_t left,
				    unsigned type)
{
	for (; RTA_OK(a, left); a = RTA_NEXT(a, left)) {
		if ((a->rta_type & NLA_TYPE_MASK) == type)
			return a;
	}
	return NULL;
}

/* Attribute @type of a message whose fixed header has @size bytes */
static const struct rtattr *attr(const struct nlmsghdr *h, size_t size,
				 unsigned type)
{
	size_t at = NLMSG_SPACE(size);

	if (h->nlmsg_len < at)
		return NULL;
	return attr_in((const void *)((const uint8_t *)h + at),
		       h->nlmsg_len - at, type);
}

static uint32_t attr_u32(const struct rtattr *a)
{
	uint32_t v = 0;

	if (a && RTA_PAYLOAD(a) >= sizeof(v))
		memcpy(&v, RTA_DATA(a), sizeof(v));
	return v;
}

static struct addr attr_addr(const struct rtattr *a)
{
	if (a && RTA_PAYLOAD(a) == 4)
		return addr_from4(RTA_DATA(a));
	if (a && RTA_PAYLOAD(a) == 16)
		return addr_from6(RTA_DATA(a));
	return (struct addr){ 0 };
}

static bool attr_mac(const struct rtattr *a, struct mac *mac)
{
	static const struct mac zero;

	if (!a || RTA_PAYLOAD(a) != sizeof(*mac))
		return false;
	memcpy(mac, RTA_DATA(a), sizeof(*mac));
	return !mac_equal(mac, &zero);
}

/* --- links --------------------------------------------------------------- */

struct link {
	unsigned ifindex, queue;
	bool has_mac;
	struct mac mac;
	char name[IFNAMSIZ];
};

static void read_link(void *arg, const struct nlmsghdr *h)
{
	const struct ifinfomsg *i = NLMSG_DATA(h);
	const struct rtattr *name;
	struct link *l = arg;

	if (h->nlmsg_type != RTM_NEWLINK)
		return;
	l->ifindex = (unsigned)i->ifi_index;
	l->queue = attr_u32(attr(h, sizeof(*i), IFLA_TXQLEN));
	l->has_mac = attr_mac(attr(h, sizeof(*i), IFLA_ADDRESS), &l->mac);
	name = attr(h, sizeof(*i), IFLA_IFNAME);
	if (name)
		snprintf(l->name, sizeof(l->name), "%.*s",
			 (int)RTA_PAYLOAD(name), (char *)RTA_DATA(name));
}

/* By @name if it is given, else by @ifindex */
static int get_link(struct netlink *n, unsigned ifindex, const char *name,
		    struct link *l)
{
	struct ifinfomsg i = { .ifi_index = name ? 0 : (int)ifindex };
	struct request r;
	int err;

	*l = (struct link){ 0 };
	begin(&r, RTM_GETLINK, 0, &i, sizeof(i));
	if (name)
		put(&r, IFLA_IFNAME, name, strnlen(name, IFNAMSIZ - 1) + 1);
	err = talk(n, &r.h, read_link, l);
	if (!err && !l->ifindex)
		err = -ENODEV;
	return err;
}

unsigned nl_link_index(struct netlink *n, const char *ifname)
{
	struct link l;

	return get_link(n, 0, ifname, &l) ? 0 : l.ifindex;
}

int nl_link_mac(struct netlink *n, unsigned ifindex, struct mac *mac)
{
	struct link l;
	int err = get_link(n, ifindex, NULL, &l);

	if (err)
		return err;
	if (!l.has_mac)
		return -ENOENT;
	*mac = l.mac;
	return 0;
}

unsigned nl_link_queue(struct netlink *n, unsigned ifindex)
{
	struct link l;

	return get_link(n, ifindex, NULL, &l) ? 0 : l.queue;
}

int nl_link_set(struct netlink *n, unsigned ifindex, const struct mac *mac,
		unsigned mtu, unsigned queue, bool up)
{
	struct ifinfomsg i = {
		.ifi_index = (int)ifindex,
		.ifi_flags = up ? IFF_UP : 0,
		.ifi_change = up ? IFF_UP : 0,
	};
	struct request r;

	begin(&r, RTM_NEWLINK, 0, &i, sizeof(i));
	if (mac)
		put(&r, IFLA_ADDRESS, mac, sizeof(*mac));
	if (mtu)
		put_u32(&r, IFLA_MTU, mtu);
	if (queue)
		put_u32(&r, IFLA_TXQLEN, queue);
	return tell(n, &r);
}

int nl_link_unqueue(struct netlink *n, unsigned ifindex)
{
	static const char kind[] = "noqueue";
	struct tcmsg m = { .tcm_ifindex = (int)ifindex,
			   .tcm_parent = TC_H_ROOT };
	struct request r;

	begin(&r, RTM_NEWQDISC, NLM_F_CREATE | NLM_F_REPLACE, &m, sizeof(m));
	put(&r, TCA_KIND, kind, sizeof(kind));
	return tell(n, &r);
}

/* Set @flags, those of @mask that are not in @flags are cleared */
static int link_flags(struct netlink *n, unsigned ifindex, unsigned flags,
		      unsigned mask)
{
	struct ifinfomsg i = {
		.ifi_index = (int)ifindex,
		.ifi_flags = flags,
		.ifi_change = mask,
	};
	struct request r;

	begin(&r, RTM_NEWLINK, 0, &i, sizeof(i));
	return tell(n, &r);
}

/* --- routes -------------------------------------------------------------- */

/* A route to somewhere, as opposed to cache entries and other tables */
static bool is_route(const struct nlmsghdr *h, bool v4)
{
	const struct rtmsg *m = NLMSG_DATA(h);

	return h->nlmsg_type == RTM_NEWROUTE &&
	       m->rtm_family == (v4 ? AF_INET : AF_INET6) &&
	       m->rtm_table == RT_TABLE_MAIN && m->rtm_type == RTN_UNICAST &&
	       !(m->rtm_flags & RTM_F_CLONED);
}

static bool is_default(const struct nlmsghdr *h)
{
	return !((const struct rtmsg *)NLMSG_DATA(h))->rtm_dst_len;
}

static const struct rtattr *route_attr(const struct nlmsghdr *h, unsigned type)
{
	return attr(h, sizeof(struct rtmsg), type);
}

/* The next hop at *@at of a multipath route with *@left bytes to go */
static struct rtnexthop *next_hop(struct rtnexthop **at, size_t *left)
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

static struct rtnexthop *first_hop(const struct nlmsghdr *h,
				   struct rtnexthop **at, size_t *left)
{
	const struct rtattr *a = route_attr(h, RTA_MULTIPATH);

	if (!a)
		return NULL;
	*at = RTA_DATA(a);
	*left = RTA_PAYLOAD(a);
	return next_hop(at, left);
}

/* The interface it leaves by, the first of several; 0: none.  The kernel
 * spells nexthop objects out in the same attributes. */
static unsigned route_ifindex(const struct nlmsghdr *h)
{
	unsigned ifindex = attr_u32(route_attr(h, RTA_OIF));
	struct rtnexthop *nh, *at;
	size_t left;

	if (ifindex)
		return ifindex;
	nh = first_hop(h, &at, &left);
	return nh ? (unsigned)nh->rtnh_ifindex : 0;
}

/* Whether it leaves by @ifindex, among others unless @only */
static bool route_uses(const struct nlmsghdr *h, unsigned ifindex, bool only)
{
	unsigned hits = 0, misses = 0;
	struct rtnexthop *nh, *at;
	size_t left;

	nh = first_hop(h, &at, &left);
	if (!nh)
		return attr_u32(route_attr(h, RTA_OIF)) == ifindex;
	for (; nh; nh = next_hop(&at, &left)) {
		if ((unsigned)nh->rtnh_ifindex == ifindex)
			hits++;
		else
			misses++;
	}
	return hits && !(only && misses);
}

/* The gateway of a route by @ifindex; of several the heaviest */
static struct addr route_gateway(const struct nlmsghdr *h, unsigned ifindex)
{
	struct addr gw = attr_addr(route_attr(h, RTA_GATEWAY)), a;
	struct rtnexthop *nh, *at;
	int hops = -1;
	size_t left;

	nh = first_hop(h, &at, &left);
	for (; nh; nh = next_hop(&at, &left)) {
		if ((unsigned)nh->rtnh_ifindex != ifindex ||
		    nh->rtnh_hops < hops)
			continue;
		a = attr_addr(attr_in(RTNH_DATA(nh),
				      nh->rtnh_len - RTNH_LENGTH(0),
				      RTA_GATEWAY));
		if (addr_is_none(&a))
			continue;
		gw = a;
		hops = nh->rtnh_hops;
	}
	return gw;
}

static bool suggests_template(const struct nlmsghdr *h)
{
	struct addr dst = attr_addr(route_attr(h, RTA_DST));
	unsigned ifindex = route_ifindex(h);

	return ifindex > 1 && (is_default(h) || !addr_is_link_local(&dst));
}

/* By default route, else by any; 0: there is none */
static unsigned choose(const struct store *routes, bool v4, bool *multiple)
{
	unsigned first = 0, other = 0, defaults = 0;
	const struct nlmsghdr *h;
	size_t at = 0;

	while ((h = next(routes, &at))) {
		if (!is_route(h, v4) || !suggests_template(h))
			continue;
		if (is_default(h)) {
			if (!defaults++)
				first = route_ifindex(h);
		} else if (!other) {
			other = route_ifindex(h);
		}
	}
	*multiple = defaults > 1;
	return first ? first : other;
}

static struct addr find_gateway(const struct store *routes, bool v4,
				unsigned ifindex)
{
	const struct nlmsghdr *h;
	size_t at = 0;

	while ((h = next(routes, &at))) {
		if (is_route(h, v4) && is_default(h) &&
		    route_uses(h, ifindex, false))
			return route_gateway(h, ifindex);
	}
	return (struct addr){ 0 };
}

/* --- addresses ----------------------------------------------------------- */

static uint32_t addr_flags(const struct nlmsghdr *h)
{
	const struct ifaddrmsg *m = NLMSG_DATA(h);
	const struct rtattr *a = attr(h, sizeof(*m), IFA_FLAGS);

	return a ? attr_u32(a) : m->ifa_flags;
}

/* An address of @ifindex that may be used for new connections */
static bool is_address(const struct nlmsghdr *h, bool v4, unsigned ifindex)
{
	const struct ifaddrmsg *m = NLMSG_DATA(h);

	return h->nlmsg_type == RTM_NEWADDR &&
	       m->ifa_family == (v4 ? AF_INET : AF_INET6) &&
	       m->ifa_index == ifindex && !(addr_flags(h) & IFA_F_DEPRECATED);
}

/* Ours, not the peer's of a point-to-point link */
static struct addr local_address(const struct nlmsghdr *h)
{
	const struct rtattr *a = attr(h, sizeof(struct ifaddrmsg), IFA_LOCAL);

	if (!a)
		a = attr(h, sizeof(struct ifaddrmsg), IFA_ADDRESS);
	return attr_addr(a);
}

/* Whether the gateway is in the subnet of this address: one that was added for
 * some service, with a prefix of its own, is not where the host is */
static bool has_gateway(const struct nlmsghdr *h, const struct template *t)
{
	const struct ifaddrmsg *m = NLMSG_DATA(h);
	struct addr net = attr_addr(attr(h, sizeof(*m), IFA_ADDRESS));

	return !addr_is_none(&t->gw) &&
	       addr_in_prefix(&t->gw, &net, m->ifa_prefixlen);
}

/* With the gateway in its subnet, then with the longest prefix, then the first */
static void find_addresses(const struct store *addrs, bool v4,
			   struct template *t)
{
	bool best = false, has;
	const struct nlmsghdr *h;
	unsigned ll_prefix = 0;
	size_t at = 0;

	while ((h = next(addrs, &at))) {
		const struct ifaddrmsg *m = NLMSG_DATA(h);

		if (!is_address(h, v4, t->ifindex))
			continue;
		if (v4 || m->ifa_scope < RT_SCOPE_LINK) {
			has = has_gateway(h, t);
			if (addr_is_none(&t->addr) || has > best ||
			    (has == best && m->ifa_prefixlen > t->prefix)) {
				best = has;
				t->addr = local_address(h);
				t->prefix = m->ifa_prefixlen;
			}
		} else if (m->ifa_scope == RT_SCOPE_LINK &&
			   m->ifa_prefixlen > ll_prefix) {
			t->ll = local_address(h);
			ll_prefix = m->ifa_prefixlen;
		}
	}
}

/* --- template ------------------------------------------------------------ */

static int describe(struct netlink *n, bool v4, struct template *t)
{
	struct store addrs;
	struct link l;
	int err;

	err = get_link(n, t->ifindex, NULL, &l);
	if (err)
		return err;
	memcpy(t->ifname, l.name, sizeof(t->ifname));
	t->mac = l.mac;
	t->has_mac = l.has_mac;
	err = dump(n, &addrs, RTM_GETADDR, v4);
	if (!err)
		find_addresses(&addrs, v4, t);
	drop(&addrs);
	return err;
}

int nl_template(struct netlink *n, bool v4, const char *ifname,
		struct template *t)
{
	struct store routes;
	int err;

	*t = (struct template){ 0 };
	err = dump(n, &routes, RTM_GETROUTE, v4);
	if (err)
		goto out;
	if (ifname && ifname[0])
		t->ifindex = nl_link_index(n, ifname);
	else
		t->ifindex = choose(&routes, v4, &t->multiple);
	if (!t->ifindex)
		goto out;
	t->gw = find_gateway(&routes, v4, t->ifindex);
	err = describe(n, v4, t);
	if (err || (addr_is_none(&t->addr) && addr_is_none(&t->ll)))
		*t = (struct template){ 0 };
out:
	drop(&routes);
	return err;
}

/* --- configuration of the guest's link ----------------------------------- */

/* What the steps of nl_configure() have in common */
struct job {
	struct netlink *host, *ns;
	unsigned from, to; /* interfaces: template's and guest's */
	bool v4;
	const struct conf *conf;
	struct lan *lan;
	struct addr ll; /* of the guest's interface; none: it has none */
};

/* NODAD: the caller expects addresses that can be used as soon as we return */
static void put_flags(struct request *r, struct ifaddrmsg *m, uint32_t flags)
{
	flags |= IFA_F_NODAD;
	m->ifa_flags = (uint8_t)flags;
	memcpy(r->body, m, sizeof(*m));
	/* Kernels before 3.14 do not know it */
	if (flags > UINT8_MAX)
		put_u32(r, IFA_FLAGS, flags);
}

/* Label, lifetime and state stay behind */
static int copy_address(struct job *j, const struct nlmsghdr *h)
{
	static const uint8_t keep[] = { IFA_ADDRESS, IFA_LOCAL, IFA_BROADCAST,
					IFA_RT_PRIORITY };
	struct ifaddrmsg m = *(const struct ifaddrmsg *)NLMSG_DATA(h);
	const struct rtattr *a;
	struct request r;
	unsigned i;

	m.ifa_index = j->to;
	begin(&r, RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, &m, sizeof(m));
	for (i = 0; i < ARRAY_SIZE(keep); i++) {
		a = attr(h, sizeof(m), keep[i]);
		if (a && RTA_PAYLOAD(a) <= 16)
			put(&r, keep[i], RTA_DATA(a), RTA_PAYLOAD(a));
	}
	put_flags(&r, &m,
		  addr_flags(h) & (IFA_F_HOMEADDRESS | IFA_F_NOPREFIXROUTE));
	return tell(j->ns, &r);
}

/* Addresses of the link stay behind, unless the guest has no other */
static bool is_copied(struct job *j, const struct nlmsghdr *h)
{
	const struct ifaddrmsg *m = NLMSG_DATA(h);
	struct addr a;

	if (!is_address(h, j->v4, j->from))
		return false;
	a = local_address(h);
	return m->ifa_scope < RT_SCOPE_LINK ||
	       (j->v4 && addr_equal(&a, &j->lan->guest4));
}

static int copy_addresses(struct job *j)
{
	const struct nlmsghdr *h;
	struct store addrs;
	struct addr a;
	size_t at = 0;
	int err;

	err = dump(j->host, &addrs, RTM_GETADDR, j->v4);
	while (!err && (h = next(&addrs, &at))) {
		if (!is_copied(j, h))
			continue;
		err = copy_address(j, h);
		if (err == -EEXIST)
			err = 0;
		a = local_address(h);
		if (!err && !addrset_add(&j->lan->copies, &a))
			err = -ENOMEM;
	}
	drop(&addrs);
	return err;
}

static int add_address(struct job *j)
{
	const struct addr *a = j->v4 ? &j->lan->guest4 : &j->lan->guest6;
	struct ifaddrmsg m = {
		.ifa_family = j->v4 ? AF_INET : AF_INET6,
		.ifa_prefixlen = (uint8_t)(j->v4 ? j->lan->prefix4 : 64),
		.ifa_index = j->to,
	};
	struct request r;
	int err;

	if (addr_is_none(a))
		return 0;
	begin(&r, RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, &m, sizeof(m));
	put_addr(&r, IFA_LOCAL, a);
	put_addr(&r, IFA_ADDRESS, a);
	put_flags(&r, &m, 0);
	err = tell(j->ns, &r);
	return err == -EEXIST ? 0 : err;
}

/* What of a route is not copied */
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
	case RTA_NH_ID:	    /* the object is not known there */
	case RTA_CACHEINFO: /* lifetimes are not ours to count */
	case RTA_EXPIRES:
	case RTA_UID:
	case RTA_MARK:
		return true;
	default:
		return false;
	}
}

static void strip(struct nlmsghdr *h, unsigned what)
{
	uint8_t *to = (uint8_t *)h + NLMSG_SPACE(sizeof(struct rtmsg));
	struct rtattr *a = (void *)to, *after;
	size_t left = h->nlmsg_len - NLMSG_SPACE(sizeof(struct rtmsg));

	for (; RTA_OK(a, left); a = after) {
		size_t len = MIN((size_t)RTA_ALIGN(a->rta_len), left);

		after = (void *)((uint8_t *)a + len);
		left -= len;
		if (stays_behind(a->rta_type & NLA_TYPE_MASK, what))
			continue;
		memmove(to, a, len);
		to += len;
	}
	h->nlmsg_len = (uint32_t)(to - (uint8_t *)h);
}

/* Whether a gateway can be used only if the kernel is told that it is there */
static bool is_outside(const struct job *j, const struct addr *gw)
{
	if (!j->v4)
		return !addr_is_link_local(gw) &&
		       !addr_in_prefix(gw, &j->lan->guest6, 64);
	return !addr_in_prefix(gw, &j->lan->guest4, j->lan->prefix4);
}

/* One hop by a gateway of the other family, or a default route without any */
static bool hop_leads_nowhere(const struct nlmsghdr *h,
			      const struct rtattr *gw, const struct rtattr *via)
{
	return via || (!gw && is_default(h));
}

static bool leads_nowhere(const struct nlmsghdr *h)
{
	struct rtnexthop *nh, *at;
	size_t left;

	nh = first_hop(h, &at, &left);
	if (!nh)
		return hop_leads_nowhere(h, route_attr(h, RTA_GATEWAY),
					 route_attr(h, RTA_VIA));
	for (; nh; nh = next_hop(&at, &left)) {
		const struct rtattr *a = (void *)RTNH_DATA(nh);
		size_t n = nh->rtnh_len - RTNH_LENGTH(0);

		if (hop_leads_nowhere(h, attr_in(a, n, RTA_GATEWAY),
				      attr_in(a, n, RTA_VIA)))
			return true;
	}
	return false;
}

/* What the host reaches by IPv6 (RFC 9229), or without a gateway as at the end
 * of a line, is behind our address in there: neighbours of a whole world do not
 * fit a table, and without IPv6 there are none */
static void redirect(struct job *j, struct nlmsghdr *h)
{
	const struct addr *gw = j->v4 ? &j->lan->gw4 : &j->lan->gw6;
	struct rtmsg *m = NLMSG_DATA(h);

	if (!leads_nowhere(h) || addr_is_none(gw))
		return;
	strip(h, HOPS);
	append(h, RTA_OIF, &j->to, sizeof(j->to));
	append(h, RTA_GATEWAY, j->v4 ? &gw->b[12] : gw->b, j->v4 ? 4 : 16);
	m->rtm_scope = RT_SCOPE_UNIVERSE;
	m->rtm_flags = is_outside(j, gw) ? RTNH_F_ONLINK : 0;
}

/* A route of the host becomes a request for the guest's link.  The source
 * address goes, as the guest may not have it; but the route that the kernel
 * itself makes with an address is to be recognised as the one that is there. */
static void rewrite(struct job *j, struct nlmsghdr *h)
{
	struct rtmsg *m = NLMSG_DATA(h);
	struct rtnexthop *nh, *at;
	const struct rtattr *oif;
	size_t left;

	strip(h, m->rtm_protocol != RTPROT_KERNEL ? SOURCE : 0);
	h->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE;
	/* In the host's order.  For IPv6 this flag would make multipath routes
	 * of those that differ in their gateway only. */
	if (j->v4)
		h->nlmsg_flags |= NLM_F_APPEND;
	m->rtm_flags &= RTNH_F_ONLINK;
	oif = route_attr(h, RTA_OIF);
	if (oif)
		memcpy(RTA_DATA(oif), &j->to, sizeof(j->to));
	nh = first_hop(h, &at, &left);
	for (; nh; nh = next_hop(&at, &left)) {
		nh->rtnh_ifindex = (int)j->to;
		nh->rtnh_flags &= RTNH_F_ONLINK;
	}
	redirect(j, h);
}

/* What is not to be copied gets type 0; how many are left */
static unsigned select_routes(struct job *j, struct store *s)
{
	struct nlmsghdr *h;
	unsigned n = 0;
	size_t at = 0;

	while ((h = next(s, &at))) {
		if (is_route(h, j->v4) && route_uses(h, j->from, true))
			n++;
		else
			h->nlmsg_type = 0;
	}
	return n;
}

/* Insert one route: true if it is done with, false to try again later */
static bool insert_route(struct job *j, const struct nlmsghdr *orig)
{
	static uint8_t copy[ANSWER] __attribute__((aligned(NLMSG_ALIGNTO)));
	struct nlmsghdr *h = (void *)copy; /* and room for what is appended */
	int err;

	memcpy(copy, orig, orig->nlmsg_len);
	rewrite(j, h);
	err = talk(j->ns, h, NULL, NULL);
	if (err == -EINVAL && route_attr(h, RTA_PREFSRC)) {
		strip(h, SOURCE);
		err = talk(j->ns, h, NULL, NULL);
	}
	if (err == -ENETUNREACH || err == -EHOSTUNREACH)
		return false;
	if (err && err != -EEXIST)
		log_warn("Can't copy an IPv%c route: %s", j->v4 ? '4' : '6',
			 util_error(-err));
	return true;
}

/* A gateway can be used only once there is a route to it, and the order of the
 * dump does not tell: go on as long as a round helps */
static int copy_routes(struct job *j)
{
	struct store routes;
	struct nlmsghdr *h;
	unsigned left = 0, before;
	size_t at;
	int err;

	err = dump(j->host, &routes, RTM_GETROUTE, j->v4);
	if (!err)
		left = select_routes(j, &routes);
	do {
		before = left;
		for (at = 0; !err && (h = next(&routes, &at));) {
			if (h->nlmsg_type && insert_route(j, h)) {
				h->nlmsg_type = 0;
				left--;
			}
		}
	} while (left && left < before);
	if (left)
		log_debug("%u IPv%c routes lead nowhere, not copied", left,
			  j->v4 ? '4' : '6');
	drop(&routes);
	return err;
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
	struct request r;
	int err;

	if (addr_is_none(gw))
		return 0;
	/* With --gateway it may lie anywhere, and still it is us */
	if (is_outside(j, gw))
		m.rtm_flags = RTNH_F_ONLINK;
	begin(&r, RTM_NEWROUTE, NLM_F_CREATE, &m, sizeof(m));
	put_addr(&r, RTA_GATEWAY, gw);
	put_u32(&r, RTA_OIF, j->to);
	err = tell(j->ns, &r);
	return err == -EEXIST ? 0 : err;
}

static int remove_address(struct job *j, const struct nlmsghdr *h)
{
	struct ifaddrmsg m = *(const struct ifaddrmsg *)NLMSG_DATA(h);
	struct addr a = local_address(h);
	struct request r;

	begin(&r, RTM_DELADDR, 0, &m, sizeof(m));
	put_addr(&r, IFA_LOCAL, &a);
	return tell(j->ns, &r);
}

static int each_link_local(struct job *j, const struct store *addrs,
			   int (*fn)(struct job *j, const struct nlmsghdr *h))
{
	const struct nlmsghdr *h;
	size_t at = 0;
	int err = 0;

	while (!err && (h = next(addrs, &at))) {
		const struct ifaddrmsg *m = NLMSG_DATA(h);

		if (!is_address(h, false, j->to) ||
		    m->ifa_scope != RT_SCOPE_LINK)
			continue;
		err = fn(j, h);
		j->ll = local_address(h);
	}
	return err;
}

/* The kernel's own link-local address is tentative for as long as a second,
 * with or without NODAD set later: have the same again, born without.  With
 * IFF_NOARP it was not looked for on the link.  Clearing that has the kernel
 * begin again with every address there is, up to a second later, so there is
 * none meanwhile. */
static int settle_link_local(struct job *j)
{
	struct store addrs;
	int err;

	err = dump(j->ns, &addrs, RTM_GETADDR, false);
	if (!err)
		err = each_link_local(j, &addrs, remove_address);
	if (!err)
		err = link_flags(j->ns, j->to, 0, IFF_NOARP);
	if (!err)
		err = each_link_local(j, &addrs, copy_address);
	drop(&addrs);
	return err;
}

static int configure_family(struct job *j)
{
	unsigned i = j->v4 ? 0 : 1;
	bool local = j->conf->local[i] || !j->from;
	int err = 0;

	if (!j->v4)
		err = settle_link_local(j);
	if (!err)
		err = local || j->conf->no_copy_addrs[i] ? add_address(j) :
							   copy_addresses(j);
	if (!err)
		err = local || j->conf->no_copy_routes[i] ?
			      add_default_route(j) :
			      copy_routes(j);
	return err;
}

/* No such family in this kernel, or disable_ipv6 is set */
static bool means_unavailable(int err, bool v4)
{
	return err == -EOPNOTSUPP || err == -EAFNOSUPPORT ||
	       (!v4 && err == -EACCES);
}

static int try_family(struct job *j, const struct template *t, bool *on)
{
	char f = j->v4 ? '4' : '6';
	int err;

	j->from = t ? t->ifindex : 0;
	err = configure_family(j);
	if (means_unavailable(err, j->v4)) {
		log_warn("The namespace has no IPv%c, going on without: %s", f,
			 util_error(-err));
		*on = false;
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

/* An IPv6 address is not the namespace's own before the kernel's worker has got
 * round to it, and what was sent there earlier keeps going out to us */
static void await_own_address(struct job *j, const struct addr *a)
{
	const struct timespec step = { .tv_nsec = SETTLE_STEP_MS * 1000000 };
	struct rtmsg m = { .rtm_family = AF_INET6, .rtm_dst_len = 128 };
	bool local = false;
	struct request r;
	unsigned i;

	for (i = 0; i < SETTLE_MS / SETTLE_STEP_MS; i++) {
		begin(&r, RTM_GETROUTE, 0, &m, sizeof(m));
		put_addr(&r, RTA_DST, a);
		if (addr_is_link_local(a))
			put_u32(&r, RTA_OIF, j->to);
		(void)talk(j->ns, &r.h, note_local, &local);
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

	err = nl_link_set(ns, ifindex, c->ns_mac_set ? &c->ns_mac : NULL,
			  lan->mtu, 0, false);
	if (err) {
		log_err("Can't set MAC address or MTU in the namespace: %s",
			util_error(-err));
		return err;
	}
	if (nl_link_queue(ns, ifindex) < QUEUE)
		(void)nl_link_set(ns, ifindex, NULL, 0, QUEUE, false);
	/* Without ARP there is no duplicate address detection either */
	err = link_flags(ns, ifindex, IFF_UP | (lan->v6 ? IFF_NOARP : 0),
			 IFF_UP | IFF_NOARP);
	if (err)
		log_err("Can't bring up the link in the namespace: %s",
			util_error(-err));
	return err;
}

int nl_configure(struct netlink *host, struct netlink *ns, unsigned ifindex,
		 const struct conf *c, const struct template *t4,
		 const struct template *t6, struct lan *lan)
{
	struct job j = { .host = host, .ns = ns, .to = ifindex, .v4 = true,
			 .conf = c, .lan = lan };
	int err;

	err = configure_link(ns, ifindex, c, lan);
	if (!err && lan->v4)
		err = try_family(&j, t4, &lan->v4);
	j.v4 = false;
	if (!err && lan->v6) {
		err = try_family(&j, t6, &lan->v6);
		if (!err && !lan->v6)
			err = link_flags(ns, ifindex, 0, IFF_NOARP);
		if (!err && lan->v6)
			await_own_addresses(&j);
	}
	return err;
}

/* --- neighbours ---------------------------------------------------------- */

struct neigh_call {
	nl_neigh_fn *fn;
	void *owner;
};

static void report_neigh(void *arg, const struct nlmsghdr *h)
{
	const struct ndmsg *m = NLMSG_DATA(h);
	const struct neigh_call *call = arg;
	struct addr a;
	struct mac mac;
	bool gone;

	if ((h->nlmsg_type != RTM_NEWNEIGH && h->nlmsg_type != RTM_DELNEIGH) ||
	    h->nlmsg_len < NLMSG_LENGTH(sizeof(*m)) ||
	    (m->ndm_family != AF_INET && m->ndm_family != AF_INET6) ||
	    m->ndm_flags & NTF_PROXY)
		return;
	a = attr_addr(attr(h, sizeof(*m), NDA_DST));
	if (addr_is_none(&a) || !addr_is_unicast(&a))
		return;
	gone = h->nlmsg_type == RTM_DELNEIGH || !(m->ndm_state & NUD_USABLE);
	if (!gone && !attr_mac(attr(h, sizeof(*m), NDA_LLADDR), &mac))
		return; /* of a link that is not Ethernet */
	call->fn(call->owner, (unsigned)m->ndm_ifindex, &a, gone ? NULL : &mac);
}

int nl_neigh_open(void)
{
	struct sockaddr_nl a = {
		.nl_family = AF_NETLINK,
		.nl_groups = RTMGRP_NEIGH,
	};
	int fd, err;

	fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK,
		    NETLINK_ROUTE);
	if (fd < 0)
		return -errno;
	if (bind(fd, (const struct sockaddr *)&a, sizeof(a))) {
		err = -errno;
		close(fd);
		return err;
	}
	return fd;
}

int nl_neigh_dump(struct netlink *n, bool v4, nl_neigh_fn *fn, void *owner)
{
	struct ndmsg m = { .ndm_family = v4 ? AF_INET : AF_INET6 };
	struct neigh_call call = { fn, owner };
	struct request r;
	int err;

	begin(&r, RTM_GETNEIGH, NLM_F_DUMP, &m, sizeof(m));
	err = talk(n, &r.h, report_neigh, &call);
	/* What changed meanwhile is reported by the other socket */
	return err == -EAGAIN ? 0 : err;
}

int nl_neigh_read(int fd, nl_neigh_fn *fn, void *owner)
{
	static uint8_t buf[ANSWER] __attribute__((aligned(NLMSG_ALIGNTO)));
	struct neigh_call call = { fn, owner };
	ssize_t got;

	while ((got = receive(fd, buf, sizeof(buf))) >= 0) {
		const struct nlmsghdr *h = (const void *)buf;

		for (; NLMSG_OK(h, got); h = NLMSG_NEXT(h, got))
			report_neigh(&call, h);
	}
	return got == -EAGAIN ? 0 : (int)got;
}

/* --- sockets ------------------------------------------------------------- */

int nl_open(struct netlink *n)
{
	int on = 1;

	n->seq = 0;
	n->fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	if (n->fd < 0)
		return -errno;
	/* Since 4.2: refusals need not repeat the request */
	(void)setsockopt(n->fd, SOL_NETLINK, NETLINK_CAP_ACK, &on, sizeof(on));
	return 0;
}

void nl_close(struct netlink *n)
{
	close(n->fd);
	n->fd = -1;
}
