/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * plan - what follows from the user's wishes and from what the host says
 *
 * The gaps are filled in the order template, translations, resolvers, because
 * each step reads the one before.  A family for which the host has no template
 * interface is in local mode: the guest gets a link-local network that is
 * complete enough to start with.
 */
#include "plan.h"
#include "log.h"
#include "options.h"

#include <stdio.h>

static const char *const family[] = { "IPv4", "IPv6" };

/* --- template ----------------------------------------------------------- */

/* What the guest gets in local mode: link-local addresses (RFC 3927, RFC 4291)
 * that collide with nobody's */
static struct template local_template(bool v4)
{
	struct template t = { 0 };

	if (v4) {
		t.addr = addr_v4(169, 254, 2, 1);
		t.prefix = 16;
		t.gw = addr_v4(169, 254, 2, 2);
		return t;
	}
	addr_parse("fe80::1", &t.gw);
	return t;
}

/* The router that the guest is told of where the host has none for IPv4, such
 * as behind one that speaks IPv6 alone (RFC 9229) or on a point-to-point link:
 * an address of ours in the guest's prefix, or a link-local one if that is a
 * single address */
static struct addr own_router(const struct addr *guest, unsigned prefix)
{
	struct addr a = addr_mask(guest, prefix);

	if (prefix == 32) /* DHCP adds a route to it */
		return addr_v4(169, 254, 2, addr_is_link_local(guest) ? 3 : 2);
	if (prefix == 31) { /* RFC 3021: the other of two addresses */
		a = *guest;
		a.b[15] ^= 1;
		return a;
	}
	a.b[15] |= 1;
	if (addr_equal(&a, guest))
		a.b[15] ^= 3;
	return a;
}

static void adopt4(const struct conf *c, const struct template *t,
		   struct lan *l)
{
	if (!l->fixed4) {
		l->guest4 = t->addr;
		if (!c->prefix_given)
			l->prefix4 = t->prefix;
	}
	if (!c->gw_given[0])
		l->gw4 = t->gw;
	if (addr_is_none(&l->gw4))
		l->gw4 = own_router(&l->guest4, l->prefix4);
	l->our4 = l->gw4;
}

static void adopt6(const struct conf *c, const struct template *t,
		   struct lan *l)
{
	if (!l->fixed6)
		l->guest6 = t->addr;
	if (!c->gw_given[1])
		l->gw6 = t->gw;
	if (addr_is_link_local(&l->gw6))
		l->our_ll6 = l->gw6;
	else if (!addr_is_none(&t->ll))
		l->our_ll6 = t->ll;
	else /* the interface has none, as some tunnels: the guest's neighbour
		needs some address of us */
		addr_parse("fe80::1", &l->our_ll6);
	if (addr_is_none(&l->gw6))
		l->gw6 = l->our_ll6;
	if (addr_is_none(&l->guest6))
		l->dhcpv6 = false;
}

static void adopt(const struct conf *c, bool v4, const struct template *t,
		  struct plan *p)
{
	struct template local = local_template(v4);

	if (!(v4 ? p->lan.v4 : p->lan.v6))
		return;
	p->lan.host_mtu[!v4] = t->mtu;
	if (!t->ifindex) {
		p->local[!v4] = true;
		t = &local;
	}
	if (v4)
		adopt4(c, t, &p->lan);
	else
		adopt6(c, t, &p->lan);
}

/* Whether the guest's router has an address, made by own_router(), that a
 * neighbour of the host may have: the host has no router in that prefix */
static bool is_borrowed(const struct conf *c, const struct template *t,
			const struct lan *l)
{
	return t->ifindex && addr_is_none(&t->gw) && !c->gw_given[0] &&
	       !l->fixed4 && addr_in_prefix(&l->gw4, &t->addr, t->prefix);
}

/* Have the guest's gateway address stand for the host's loopback (--map-gw) */
static void map_gateway(const struct conf *c, const struct host *h,
			struct plan *p)
{
	struct addr *map4 = &p->map.host_loopback[0][0];
	struct addr *map6 = &p->map.host_loopback[1][0];

	if (!c->map_gw)
		return;
	if (p->lan.v4 && addr_is_none(map4) &&
	    !is_borrowed(c, &h->t[0], &p->lan))
		*map4 = p->lan.gw4;
	if (p->lan.v6 && addr_is_none(map6))
		*map6 = p->lan.gw6;
}

/* --- resolv.conf -------------------------------------------------------- */

static bool is_host_loopback(const struct fwd_map *m, const struct addr *a)
{
	const struct addr *names = m->host_loopback[addr_is_v4(a) ? 0 : 1];
	unsigned i;

	for (i = 0; i < FWD_NAMES; i++)
		if (addr_equal(a, &names[i]))
			return true;
	/* resolv.conf(5) has 0.0.0.0 for the host itself, as connect() has */
	return addr_is_loopback(a) || addr_is_unspecified(a);
}

/* The address that the guest is told for resolver @a of the host.  A loopback
 * address only the host can reach: in its place stands the address of
 * --dns-forward, or else the one that is mapped to the host's loopback, and
 * becomes the address whose queries are forwarded.  None: the guest is not
 * told. */
static struct addr stand_in(struct fwd_map *m, unsigned i, const struct addr *a)
{
	struct addr *match = &m->dns.match[i];

	if (!is_host_loopback(m, a))
		return *a;
	if (addr_is_none(match))
		*match = m->host_loopback[i][0];
	return *match;
}

static void add_host(const struct conf *c, struct fwd_dns *d, unsigned i,
		     const struct addr *a)
{
	if (addr_is_v4(a) ? c->sock.v4 : c->sock.v6)
		d->host[i][d->n[i]++] = *a;
}

/* List the resolvers that queries which come by family @i are forwarded to:
 * first those of family @i, then those of the other.  A resolver given by
 * --dns-host is the only one for queries of its own family; for those of the
 * other it replaces the host's resolvers of its family. */
static void order(const struct conf *c, const struct resolvconf *rc,
		  struct fwd_dns *d, unsigned i)
{
	const struct addr *given = c->dns_host;
	unsigned k;

	if (!addr_is_none(&given[i])) {
		add_host(c, d, i, &given[i]);
		return;
	}
	for (k = 0; k < rc->n[i]; k++)
		add_host(c, d, i, &rc->ns[i][k]);
	if (!addr_is_none(&given[!i])) {
		add_host(c, d, i, &given[!i]);
		return;
	}
	for (k = 0; k < rc->n[!i]; k++)
		add_host(c, d, i, &rc->ns[!i][k]);
}

/* Whether the guest is told the resolvers of this family.  A pasta user who
 * names a resolver (--dns) means it; one who does not asks for the host's with
 * --dhcp-dns. */
static bool advertised(const struct conf *c, unsigned i)
{
	return c->dhcp_dns || (c->mode == MODE_PASTA && c->dns_given[i]);
}

static void show_resolvers(const struct conf *c, const struct resolvconf *rc,
			   struct plan *p, unsigned i)
{
	unsigned *n = i ? &p->lan.dns6_n : &p->lan.dns4_n, k;

	if (c->dns_given[i] || !(i ? p->lan.v6 : p->lan.v4))
		return;
	*n = 0;
	for (k = 0; k < rc->n[i] && !c->dns_none; k++) {
		struct addr shown = stand_in(&p->map, i, &rc->ns[i][k]);

		if (!addr_is_none(&shown))
			(void)options_add_dns(&p->lan, &shown);
	}
}

static void show_search(const struct conf *c, const struct resolvconf *rc,
			struct lan *l)
{
	if (!c->search_given) {
		memcpy(l->search, rc->search, sizeof(l->search));
		l->search_n = rc->search_n;
	}
	if (!c->dhcp_search && !(c->mode == MODE_PASTA && c->search_given))
		l->search_n = 0;
}

static void resolve(const struct conf *c, const struct resolvconf *rc,
		    struct plan *p)
{
	struct lan *l = &p->lan;
	unsigned i;

	for (i = 0; i < 2; i++)
		order(c, rc, &p->map.dns, i);
	if (c->splice_only) {
		l->dns4_n = l->dns6_n = l->search_n = 0;
		return;
	}
	for (i = 0; i < 2; i++)
		show_resolvers(c, rc, p, i);
	if (!advertised(c, 0))
		l->dns4_n = 0;
	if (!advertised(c, 1))
		l->dns6_n = 0;
	show_search(c, rc, l);
}

void plan_resolvers(struct host *h, const struct resolvconf *rc)
{
	const struct resolvconf was = h->rc;

	h->rc = *rc;
	if (rc->n[0] || rc->n[1])
		return;
	memcpy(h->rc.ns, was.ns, sizeof(was.ns));
	memcpy(h->rc.n, was.n, sizeof(was.n));
}

/* --- all of it ------------------------------------------------------------ */

void plan_make(const struct conf *c, const struct host *h, struct plan *p)
{
	memset(p, 0, sizeof(*p));
	p->lan = c->lan;
	p->map = c->map;
	p->lan.v4 &= !h->lacks[0];
	p->lan.v6 &= !h->lacks[1];
	p->lan.leases = !c->no_follow;
	p->scope = h->t[1].ifindex;
	p->scope4 = h->t[0].ifindex;
	if (!c->splice_only) {
		adopt(c, true, &h->t[0], p);
		adopt(c, false, &h->t[1], p);
		map_gateway(c, h, p);
	}
	resolve(c, &h->rc, p);
}

/* The guest still uses the resolver's address that it was told by the previous
 * plan: keep it as the one whose queries are forwarded, even where the new
 * resolver needs no stand-in */
void plan_keep(struct plan *now, const struct plan *was)
{
	unsigned i;

	now->lan.frame_max = was->lan.frame_max;
	now->lan.copies = was->lan.copies;
	for (i = 0; i < 2; i++)
		if (addr_is_none(&now->map.dns.match[i]))
			now->map.dns.match[i] = was->map.dns.match[i];
}

void plan_ifname(const struct conf *c, const struct host *h, char name[16])
{
	const char *s = "tap0";

	if (c->ns_ifname[0])
		s = c->ns_ifname;
	else if (c->lan.v4 && h->t[0].ifindex)
		s = h->t[0].ifname;
	else if (c->lan.v6 && h->t[1].ifindex)
		s = h->t[1].ifname;
	if (!strcmp(s, "lo")) /* it has one already */
		s = "tap0";
	snprintf(name, 16, "%s", s);
}

/* --- what there is to say ------------------------------------------------- */

/* An outbound interface is the template as well, unless -i names another, and
 * must then be usable */
static void check_outbound(const struct conf *c, const struct host *h,
			   unsigned i)
{
	const char *name = i ? c->sock.if6 : c->sock.if4;

	if (name[0] && !c->ifname[0] && !h->t[i].ifindex)
		die("External interface not usable");
}

static void note_local(const bool local[2])
{
	unsigned i;

	if (local[0] && local[1])
		log_info("No network on the host, use local mode");
	else
		for (i = 0; i < 2; i++)
			if (local[i])
				log_info("%s: no external interface as "
					 "template, use local mode",
					 family[i]);
}

/* Log which resolvers there are not.  That is no error: many hosts have one
 * family alone. */
static void note_resolvers(const struct conf *c, const struct plan *p)
{
	const struct fwd_dns *d = &p->map.dns;
	const struct lan *l = &p->lan;
	bool forward =
		!addr_is_none(&d->match[0]) || !addr_is_none(&d->match[1]);

	if (c->dns_none)
		return;
	if ((c->dhcp_dns && !l->dns4_n && !l->dns6_n) ||
	    (forward && !d->n[0] && !d->n[1]))
		log_info("Couldn't get any nameserver address");
	if (!c->dhcp_dns)
		return;
	if (l->v4 && l->dhcp && !l->dns4_n)
		log_info("No IPv4 nameserver available for DHCP");
	if (l->v6 && (l->ndp || l->dhcpv6) && !l->dns6_n)
		log_info("No IPv6 nameserver available for NDP/DHCPv6");
}

void plan_check(const struct conf *c, const struct host *h,
		const struct plan *p)
{
	const bool on[2] = { p->lan.v4, p->lan.v6 };
	unsigned i;

	if (c->splice_only)
		return;
	for (i = 0; i < 2; i++) {
		if (!on[i])
			continue;
		check_outbound(c, h, i);
		if (h->t[i].ifindex && h->t[i].multiple)
			log_info("Multiple default %s routes, picked first",
				 family[i]);
	}
	note_local(p->local);
	note_resolvers(c, p);
}
