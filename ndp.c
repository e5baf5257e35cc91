/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * As with ARP, we advertise whatever address the guest solicits.  We are also
 * its router: the advertisement has prefix, MTU, resolvers and search list of
 * the configuration, with the usual lifetimes, and takes back what is no longer
 * in there.  An address that is solicited answers as itself, as with Linux:
 * GRUB takes the sender for the neighbour.  Everything else comes from our
 * link-local address.  The hop limit is 255 as RFC 4861 demands, and nothing
 * with another one is believed.
 */
#include "ndp.h"
#include "dnsname.h"

#include <netinet/in.h>

enum { ECHO_REQUEST = 128, RS = 133, RA, NS, NA };

enum {
	OPT_SOURCE = 1, /* link-layer address of the sender */
	OPT_TARGET = 2, /* link-layer address of the target */
	OPT_PREFIX = 3,
	OPT_MTU = 5,
	OPT_RDNSS = 25, /* RFC 8106 */
	OPT_DNSSL = 31,
};

enum {
	HOP_LIMIT = 255,
	NA_ROUTER = 0x80,
	NA_SOLICITED = 0x40,
	NA_OVERRIDE = 0x20,
	RA_MANAGED = 0x80, /* addresses by DHCPv6 */
	RA_OTHER = 0x40,   /* the rest by DHCPv6 */
	ON_LINK_AUTO = 0xc0,           /* prefix: on link, and for SLAAC */
	PREFIX_LEN = 64,               /* what SLAAC needs */
	UNIT = 8,                      /* options are counted in these */
	MESSAGE_MAX = 1280 - IP6_HEAD, /* fits the smallest IPv6 MTU */
};

/* In seconds; the defaults of RFC 4861, 6.2.1, and RFC 8106, 5.1.  What may
 * change has the lifetimes of RFC 9096, 3.2. */
enum {
	ROUTER_S = UINT16_MAX, /* the longest: RFC 8319 */
	PREFIX_VALID_S = 30 * 86400,
	PREFIX_PREFERRED_S = 7 * 86400,
	LEASE_VALID_S = 90 * 60,
	LEASE_PREFERRED_S = 45 * 60,
	DNS_S = 3 * NDP_RA_MAX_MS / 1000,
};

static const struct addr all_nodes = { { .b = { 0xff, 2, [15] = 1 } } };

/* RFC 4291, 2.7.1: the last three bytes are those of the address */
static const struct addr solicited_node = {
	{ .b = { 0xff, 2, [11] = 1, [12] = 0xff } }
};
enum { SOLICITED_NODE_LEN = 104 };

/* Address the message to @dst, with MAC address @mac unless @dst is a group */
static void address(const struct lan *lan, const struct addr *dst,
		    const struct mac *mac, struct answer *out)
{
	struct head *h = &out->head;

	*h = (struct head){
		.src = lan->mac,
		.t = { .src = lan->our_ll6,
		       .dst = *dst,
		       .proto = IPPROTO_ICMPV6 },
		.ttl = HOP_LIMIT,
	};
	out->arp = false;
	if (addr_is_multicast(dst)) /* RFC 2464, 7 */
		h->dst = (struct mac){ { 0x33, 0x33, dst->b[12], dst->b[13],
					 dst->b[14], dst->b[15] } };
	else
		h->dst = *mac;
}

/* Write type, code, and a checksum of zero */
static void put_start(struct wr *w, uint8_t type)
{
	wr_u8(w, type);
	wr_u8(w, 0);
	wr_be16(w, 0);
}

static void put_mac(struct wr *w, uint8_t opt, const struct mac *mac)
{
	wr_u8(w, opt);
	wr_u8(w, 1);
	wr_bytes(w, mac->b, sizeof(mac->b));
}

static void put_na(struct wr *w, uint8_t flags, const struct addr *target,
		   const struct mac *mac)
{
	put_start(w, NA);
	wr_u8(w, flags);
	wr_fill(w, 0, 3);
	wr_bytes(w, target->b, sizeof(target->b));
	put_mac(w, OPT_TARGET, mac);
}

struct lifetime {
	uint32_t valid_s, preferred_s;
};

static struct lifetime lifetime(const struct lan *lan)
{
	if (lan->leases)
		return (struct lifetime){ LEASE_VALID_S, LEASE_PREFERRED_S };
	return (struct lifetime){ PREFIX_VALID_S, PREFIX_PREFERRED_S };
}

static void put_prefix(struct wr *w, const struct addr *guest,
		       struct lifetime t)
{
	struct addr prefix = addr_mask(guest, PREFIX_LEN);

	wr_u8(w, OPT_PREFIX);
	wr_u8(w, 4);
	wr_u8(w, PREFIX_LEN);
	wr_u8(w, ON_LINK_AUTO);
	wr_be32(w, t.valid_s);
	wr_be32(w, t.preferred_s);
	wr_be32(w, 0);
	wr_bytes(w, prefix.b, sizeof(prefix.b));
}

static void put_mtu(struct wr *w, uint16_t mtu)
{
	wr_u8(w, OPT_MTU);
	wr_u8(w, 1);
	wr_be16(w, 0);
	wr_be32(w, mtu);
}

static void put_rdnss(struct wr *w, const struct addr *list, unsigned n,
		      uint32_t lifetime_s)
{
	unsigned i;

	if (!n)
		return;
	wr_u8(w, OPT_RDNSS);
	wr_u8(w, (uint8_t)(1 + 2 * n));
	wr_be16(w, 0);
	wr_be32(w, lifetime_s);
	for (i = 0; i < n; i++)
		wr_bytes(w, list[i].b, sizeof(list[i].b));
}

/* Write a search list; names that do not fit are left out, and without any
 * there is no option */
static void put_dnssl(struct wr *w, const char list[LAN_SEARCH][LAN_NAME],
		      unsigned n, uint32_t lifetime_s)
{
	size_t start = w->len, names;
	unsigned i;

	if (w->cap - w->len <= UNIT)
		return;
	wr_u8(w, OPT_DNSSL);
	wr_u8(w, 0);
	wr_be16(w, 0);
	wr_be32(w, lifetime_s);

	names = w->len;
	for (i = 0; i < n; i++)
		dnsname_put(w, list[i]);
	if (w->len == names) {
		w->len = start;
		return;
	}

	/* Pad with zero to seven bytes: a whole unit of zeroes would be an
	 * option of length 0, because of which the guest drops the message */
	wr_fill(w, 0, (start - w->len) % UNIT);
	wr_patch_u8(w, start + 1, (uint8_t)((w->len - start) / UNIT));
}

/* A search list means nothing without resolvers */
static unsigned searched(const struct lan *lan)
{
	return lan->dns6_n ? lan->search_n : 0;
}

static void put_ra_head(struct wr *w, const struct lan *lan, uint16_t router_s)
{
	w->cap = MIN(w->cap, (size_t)MESSAGE_MAX);
	put_start(w, RA);
	wr_u8(w, HOP_LIMIT);
	wr_u8(w, lan->dhcpv6 ? RA_MANAGED | RA_OTHER : 0);
	wr_be16(w, router_s);
	wr_be32(w, 0);          /* reachable time: unspecified */
	wr_be32(w, 0);          /* retransmission timer: unspecified */
}

static bool put_ra(const struct lan *lan, struct answer *out)
{
	const struct lifetime none = { 0 };
	struct wr *w = &out->body;

	put_ra_head(w, lan, ROUTER_S);
	if (!addr_is_none(&lan->guest6))
		put_prefix(w, &lan->guest6, lifetime(lan));
	if (!addr_is_none(&lan->gone.prefix6))
		put_prefix(w, &lan->gone.prefix6, none);
	put_mac(w, OPT_SOURCE, &lan->mac);
	if (lan_mtu_told(lan) >= MTU_MIN6) /* less would be ignored */
		put_mtu(w, lan_mtu_told(lan));
	put_rdnss(w, lan->dns6, lan->dns6_n, DNS_S);
	put_rdnss(w, lan->gone.dns6, lan->gone.dns6_n, 0);
	put_dnssl(w, lan->search, searched(lan), DNS_S);
	put_dnssl(w, lan->gone.search, lan->gone.search_n, 0);
	return wr_ok(w);
}

/* Whether options are valid (RFC 4861, 6.1.1 and 7.1.1): none has length 0, and
 * a sender without an address has no link-layer address option */
static bool options_valid(const struct packet *p, struct rd in)
{
	bool nobody = addr_is_unspecified(&p->t.src);

	while (rd_left(&in)) {
		unsigned type = rd_u8(&in), units = rd_u8(&in);

		if (!units || (nobody && type == OPT_SOURCE))
			return false;
		rd_skip(&in, units * UNIT - 2);
	}
	return rd_ok(&in);
}

static bool answer_ns(const struct lan *lan, const struct neigh *neigh,
		      const struct packet *p, struct rd in, struct answer *out)
{
	uint8_t flags = NA_ROUTER | NA_OVERRIDE;
	const struct addr *to = &p->t.src;
	struct addr target;

	rd_copy(&in, target.b, sizeof(target.b));
	if (!rd_ok(&in) || !options_valid(p, in) || !addr_is_unicast(&target) ||
	    addr_is_multicast(to))
		return false;
	if (!addr_is_unspecified(to)) {
		flags |= NA_SOLICITED;
	} else if (!addr_in_prefix(&p->t.dst, &solicited_node,
				   SOLICITED_NODE_LEN)) {
		return false; /* 7.1.1 */
	} else {
		/* Duplicate address detection: is the address taken? */
		if (addr_equal(&target, &lan->guest6) ||
		    !(lan_is_ours(lan, &target) || neigh_has(neigh, &target)))
			return false;
		to = &all_nodes; /* RFC 4861, 7.2.4 */
	}

	address(lan, to, &p->smac, out);
	out->head.t.src = target;
	put_na(&out->body, flags, &target,
	       neigh_mac(neigh, &target, &lan->gw6, &lan->mac));
	return wr_ok(&out->body);
}

static bool answer_rs(const struct lan *lan, const struct packet *p,
		      struct rd in, struct answer *out)
{
	const struct addr *to = &p->t.src;

	if (!lan->ra || !options_valid(p, in) || addr_is_multicast(to))
		return false;
	if (addr_is_unspecified(to))
		to = &all_nodes;

	address(lan, to, &p->smac, out);
	return put_ra(lan, out);
}

/* Without a link-local address we have no source address */
static bool mute(const struct lan *lan)
{
	return !lan->v6 || addr_is_none(&lan->our_ll6);
}

bool ndp_answer(const struct lan *lan, const struct neigh *neigh,
		const struct packet *p, struct rd in, struct answer *out)
{
	uint8_t type = rd_u8(&in), code = rd_u8(&in);

	rd_skip(&in, 6); /* checksum, reserved */
	/* A lower hop limit means that it does not come from this link */
	if (!rd_ok(&in) || code || p->ttl != HOP_LIMIT || mute(lan))
		return false;

	if (type == NS)
		return answer_ns(lan, neigh, p, in, out);
	if (type == RS)
		return answer_rs(lan, p, in, out);
	return false;
}

bool ndp_advertise(const struct lan *lan, const struct seen *seen,
		   struct answer *out)
{
	(void)seen; /* goes to all nodes, whoever they are */

	if (mute(lan) || !lan->ra)
		return false;
	address(lan, &all_nodes, NULL, out);
	return put_ra(lan, out);
}

bool ndp_farewell(const struct lan *was, struct answer *out)
{
	if (mute(was) || !was->ra)
		return false;
	address(was, &all_nodes, NULL, out);
	put_ra_head(&out->body, was, 0);
	put_mac(&out->body, OPT_SOURCE, &was->mac);
	return wr_ok(&out->body);
}

/* --- changes -------------------------------------------------------------- */

static bool has_server(const struct lan *lan, const struct addr *a)
{
	unsigned i;

	for (i = 0; i < lan->dns6_n; i++)
		if (addr_equal(&lan->dns6[i], a))
			return true;
	return false;
}

static bool has_domain(const struct lan *lan, const char *name)
{
	unsigned i;

	for (i = 0; i < searched(lan); i++)
		if (!strcmp(lan->search[i], name))
			return true;
	return false;
}

/* Add the resolvers of a list that @now does not have to those that have
 * gone */
static void retire_servers(struct lan *now, const struct addr *list,
			       unsigned n)
{
	struct lan_gone *g = &now->gone;
	unsigned i;

	for (i = 0; i < n && g->dns6_n < LAN_DNS; i++)
		if (!has_server(now, &list[i]))
			g->dns6[g->dns6_n++] = list[i];
}

static void retire_domains(struct lan *now,
			       const char list[LAN_SEARCH][LAN_NAME],
			       unsigned n)
{
	struct lan_gone *g = &now->gone;
	unsigned i;

	for (i = 0; i < n && g->search_n < LAN_SEARCH; i++)
		if (!has_domain(now, list[i]))
			strcpy(g->search[g->search_n++], list[i]);
}

static bool retire_prefix(struct lan *now, const struct lan *was)
{
	struct addr old = addr_mask(&was->guest6, PREFIX_LEN);
	struct addr *gone = &now->gone.prefix6;

	if (addr_in_prefix(&now->guest6, gone, PREFIX_LEN))
		*gone = (struct addr){ 0 };
	if (addr_in_prefix(&now->guest6, &old, PREFIX_LEN))
		return false;
	if (!addr_is_none(&was->guest6))
		*gone = old;
	return true;
}

/* Whether the lists differ, or their order */
static bool differ(const struct lan *a, const struct lan *b)
{
	unsigned i;

	if (a->dns6_n != b->dns6_n || searched(a) != searched(b))
		return true;
	for (i = 0; i < searched(a); i++)
		if (strcmp(a->search[i], b->search[i]))
			return true;
	return memcmp(a->dns6, b->dns6, a->dns6_n * sizeof(a->dns6[0]));
}

bool ndp_changed(struct lan *now, const struct lan *was)
{
	const struct lan_gone *g = &was->gone;

	/* The latest first: what does not fit has gone long ago */
	now->gone = (struct lan_gone){ .prefix6 = g->prefix6 };
	retire_servers(now, was->dns6, was->dns6_n);
	retire_servers(now, g->dns6, g->dns6_n);
	retire_domains(now, was->search, searched(was));
	retire_domains(now, g->search, g->search_n);
	return retire_prefix(now, was) || differ(now, was);
}

bool ndp_ask(const struct lan *lan, const struct seen *seen, struct answer *out)
{
	struct addr group = solicited_node;
	const struct addr *who = &seen->v6;
	struct wr *w = &out->body;

	if (addr_is_none(who))
		who = &lan->guest6;
	if (addr_is_none(who))
		who = &seen->ll;
	if (mute(lan) || addr_is_none(who))
		return false;

	memcpy(&group.b[13], &who->b[13], 3);
	address(lan, &group, NULL, out);
	put_start(w, NS);
	wr_be32(w, 0);
	wr_bytes(w, who->b, sizeof(who->b));
	put_mac(w, OPT_SOURCE, &lan->mac); /* a must in multicast: 4.3 */
	return wr_ok(w);
}

bool ndp_call(const struct lan *lan, struct answer *out)
{
	const uint8_t *m = lan->mac.b;
	struct addr from = addr_mask(&lan->guest6, PREFIX_LEN);
	struct wr *w = &out->body;

	if (mute(lan) || addr_is_none(&lan->guest6) ||
	    addr_is_link_local(&lan->guest6))
		return false;

	/* the interface identifier of our MAC address (RFC 4291, appendix A) */
	st_be32(from.b + 8, (uint32_t)(m[0] ^ 2) << 24 | (uint32_t)m[1] << 16 |
				    (uint32_t)m[2] << 8 | 0xff);
	st_be32(from.b + 12, 0xfe000000 | (uint32_t)m[3] << 16 |
				     (uint32_t)m[4] << 8 | m[5]);
	address(lan, &all_nodes, NULL, out);
	out->head.t.src = from;
	put_start(w, ECHO_REQUEST);
	wr_be32(w, 0); /* identifier, sequence number */
	return wr_ok(w);
}

bool ndp_claims(const struct lan *lan, const struct packet *p, struct rd in,
		struct addr *a)
{
	if (rd_u8(&in) != NS || rd_u8(&in) || p->ttl != HOP_LIMIT)
		return false;
	rd_skip(&in, 6); /* checksum, reserved */
	rd_copy(&in, a->b, sizeof(a->b));
	if (!rd_ok(&in) || !options_valid(p, in) ||
	    !addr_is_unspecified(&p->t.src) ||
	    !addr_in_prefix(&p->t.dst, &solicited_node, SOLICITED_NODE_LEN))
		return false;
	return addr_is_unicast(a) && !addr_is_link_local(a) &&
	       !addr_is_none(&lan->guest6) &&
	       addr_in_prefix(a, &lan->guest6, PREFIX_LEN);
}

bool ndp_announce(const struct lan *lan, const struct addr *addr,
		  const struct mac *mac, struct answer *out)
{
	if (mute(lan) || addr_is_v4(addr))
		return false;

	address(lan, &all_nodes, NULL, out);
	out->head.t.src = *addr;
	/* Still with the router flag: without it the guest would drop a
	 * gateway */
	put_na(&out->body, NA_ROUTER | NA_OVERRIDE, addr, mac);
	return wr_ok(&out->body);
}
