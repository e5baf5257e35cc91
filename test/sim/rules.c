/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Forwarded ports as they are to be, and who gets in.
 *
 * A port of the guest is forwarded from itself or from one of a few ports above, by a
 * rule for both families or for each, or not at all for a while; the last table has
 * them all.  Some hundred more ports make a change take several steps.  Where there is a
 * namespace, so are ports of the host's for who is there.
 */
#include "sim.h"

#include <netinet/in.h>

enum { SHIFTS = 3, SHIFT = 1000, BALLAST_FIRST = 20000 };

static struct {
	struct rules_pair was, is; /* a change is from one to the other */
	struct rules *made;
	bool inside;	/* that is the namespace's table */
	struct addr us; /* of the host, for rules of an address */
	unsigned ballast;
} r;

static void put(struct rule rule)
{
	if (r.inside && !addr_is_loopback(&rule.listen))
		strcpy(rule.ifname, "lo");
	r.made->r[r.made->n++] = rule;
	r.made->sockets += rule.last - rule.first + 1U;
}

/* For one family, or both */
static void put_bound(struct rule rule, unsigned how)
{
	static const struct addr any6;

	if (how == 0)
		rule.flags = RULE_DUAL;
	if (how == 1)
		rule.listen = addr_any(true);
	if (how == 2)
		rule.listen = any6;
	if (how == 3)
		rule.listen = r.inside ? addr_loopback(true) : r.us;
	put(rule);
}

static uint16_t target(unsigned place)
{
	return (uint16_t)((r.inside ? SERVER_PORT : FORWARD_FIRST) + place);
}

static void put_tcp(unsigned first, unsigned n, bool last)
{
	unsigned at = FORWARD_FIRST + first + SHIFT * (unsigned)rnd_to(SHIFTS);
	struct rule rule = { .proto = IPPROTO_TCP, .first = (uint16_t)at,
			     .last = (uint16_t)(at + n - 1),
			     .to = target(first) };

	if (last ? r.inside || !host_changes() || chance(500) : chance(500)) {
		put_bound(rule, 0);
		return;
	}
	if (last || chance(700))
		put_bound(rule, chance(500) ? 1 : 3);
	if (last || chance(700))
		put_bound(rule, 2);
}

/* Datagrams wait in these sockets, so they stay, of whatever rule they are */
static void put_udp(unsigned first, unsigned n)
{
	put_bound((struct rule){
		.proto = IPPROTO_UDP, .first = (uint16_t)(FORWARD_FIRST + first),
		.last = (uint16_t)(FORWARD_FIRST + first + n - 1),
		.to = target(first),
	}, 0);
}

static void make(struct rules *t, bool inside, bool last)
{
	unsigned at, n;

	r.made = t;
	r.inside = inside;
	*t = (struct rules){ .splice = inside };
	for (at = 0; at < FORWARD_PORTS; at += n) {
		n = (unsigned)rnd_in(1, FORWARD_PORTS - at);
		if (last || chance(800))
			put_tcp(at, n, last);
	}
	for (at = 0; at < FORWARD_PORTS; at += n) {
		n = (unsigned)rnd_in(1, FORWARD_PORTS - at);
		put_udp(at, n);
	}
	if (!inside && r.ballast && chance(500))
		put_bound((struct rule){
			.proto = IPPROTO_TCP, .first = BALLAST_FIRST,
			.last = (uint16_t)(BALLAST_FIRST + rnd_to(r.ballast)),
			.to = BALLAST_FIRST,
		}, 0);
}

unsigned rules_tables(void)
{
	return world.listen->ns ? 2 : 1;
}

void rules_make(struct rules_pair *p, bool last)
{
	unsigned i;

	for (i = 0; i < rules_tables(); i++)
		make(&p->t[i], i, last);
}

void rules_ask(const struct rules_pair *p)
{
	r.was = r.is;
	r.is = *p;
}

const struct rules_pair *rules_now(void)
{
	return &r.is;
}

static const struct rule *find(const struct rules *t, bool v6, uint16_t port)
{
	const struct rule *s;

	for (s = t->r; s < t->r + t->n; s++)
		if (s->proto == IPPROTO_TCP && port >= s->first &&
		    port <= s->last &&
		    (s->flags & RULE_DUAL || addr_is_v4(&s->listen) == !v6))
			return s;
	return NULL;
}

/* The same port of the same socket before and after */
static bool stays(bool inside, bool v6, uint16_t port)
{
	const struct rule *a = find(&r.was.t[inside], v6, port);
	const struct rule *b = find(&r.is.t[inside], v6, port);

	return a && b && a->flags == b->flags &&
	       addr_equal(&a->listen, &b->listen);
}

uint16_t rules_loopback_port(bool v6, uint16_t to)
{
	uint16_t port = rules_port(v6, to);
	const struct rule *s = port ? find(&r.is.t[0], v6, port) : NULL;

	return s && (s->flags & RULE_DUAL || addr_is_unspecified(&s->listen)) ?
		       port : 0;
}

static uint16_t port_of(bool inside, bool v6, uint16_t to)
{
	unsigned i;

	for (i = 0; i < SHIFTS; i++) {
		uint16_t port = (uint16_t)(to + i * SHIFT);

		if (listen_busy(world.listen) ?
			    stays(inside, v6, port) :
			    !!find(&r.is.t[inside], v6, port))
			return port;
	}
	return 0;
}

uint16_t rules_port(bool v6, uint16_t to)
{
	return port_of(false, v6, to);
}

uint16_t rules_inside_port(bool v6, uint16_t to)
{
	return port_of(true, v6, to);
}

static void judge(bool inside, bool v6, const struct addr *to, uint16_t port)
{
	bool want = find(&r.is.t[inside], v6, port), has;

	toy_net.inside = inside;
	has = far_listens(to, port);
	toy_net.inside = false;
	if (has != want)
		sim_fail("port %u of IPv%c%s is %sbound", port, v6 ? '6' : '4',
			 inside ? " inside" : "", want ? "not " : "");
}

void rules_judge(void)
{
	struct addr us[2] = { *host_addr(false), *host_addr(true) };
	struct addr lo[2] = { addr_loopback(true), addr_loopback(false) };
	unsigned port, v6;

	for (port = FORWARD_FIRST - 1;
	     port <= FORWARD_FIRST + SHIFTS * SHIFT; port++)
		for (v6 = 0; v6 < 2; v6++) {
			judge(false, v6, &us[v6], (uint16_t)port);
			if (rules_tables() > 1)
				judge(true, v6, &lo[v6], (uint16_t)port);
		}
	if (listen_count(world.listen) !=
	    r.is.t[0].sockets + r.is.t[1].sockets)
		sim_fail("%u listeners, %u ports", listen_count(world.listen),
			 r.is.t[0].sockets + r.is.t[1].sockets);
}

void rules_start(unsigned ballast)
{
	memset(&r.is, 0, sizeof(r.is));
	r.is.t[0] = world.rules;
	r.us = *host_addr(false);
	r.ballast = ballast;
}

const struct rules *rules_inside(void)
{
	make(&r.is.t[1], true, true);
	return &r.is.t[1];
}
