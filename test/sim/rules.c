/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Forwarded ports as they are to be, and who gets in.
 *
 * A port of the guest is forwarded from itself or from one of a few ports above, by a
 * rule for both families or for each, or not at all for a while; the last table has
 * them all.  Some hundred more ports make a change take several steps.
 */
#include "sim.h"

#include <netinet/in.h>

enum { SHIFTS = 3, SHIFT = 1000, BALLAST_FIRST = 20000 };

static struct {
	struct rules was, is; /* a change is from one to the other */
	struct rules *made;
	struct addr us; /* of the host, for rules of an address */
	unsigned ballast;
} r;

static void put(struct rule rule)
{
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
		rule.listen = r.us;
	put(rule);
}

static void put_tcp(unsigned first, unsigned n, bool last)
{
	unsigned to = FORWARD_FIRST + first;
	unsigned at = to + SHIFT * (unsigned)rnd_to(SHIFTS);
	struct rule rule = { .proto = IPPROTO_TCP, .first = (uint16_t)at,
			     .last = (uint16_t)(at + n - 1),
			     .to = (uint16_t)to };

	if (last ? !host_changes() || chance(500) : chance(500)) {
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
		.to = (uint16_t)(FORWARD_FIRST + first),
	}, 0);
}

void rules_make(struct rules *t, bool last)
{
	unsigned at, n;

	r.made = t;
	t->n = t->sockets = 0;
	for (at = 0; at < FORWARD_PORTS; at += n) {
		n = (unsigned)rnd_in(1, FORWARD_PORTS - at);
		if (last || chance(800))
			put_tcp(at, n, last);
	}
	for (at = 0; at < FORWARD_PORTS; at += n) {
		n = (unsigned)rnd_in(1, FORWARD_PORTS - at);
		put_udp(at, n);
	}
	if (r.ballast && chance(500))
		put_bound((struct rule){
			.proto = IPPROTO_TCP, .first = BALLAST_FIRST,
			.last = (uint16_t)(BALLAST_FIRST + rnd_to(r.ballast)),
			.to = BALLAST_FIRST,
		}, 0);
}

void rules_ask(const struct rules *t)
{
	r.was = r.is;
	r.is = *t;
}

const struct rules *rules_now(void)
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
static bool stays(bool v6, uint16_t port)
{
	const struct rule *a = find(&r.was, v6, port);
	const struct rule *b = find(&r.is, v6, port);

	return a && b && a->flags == b->flags &&
	       addr_equal(&a->listen, &b->listen);
}

uint16_t rules_loopback_port(bool v6, uint16_t to)
{
	uint16_t port = rules_port(v6, to);
	const struct rule *s = port ? find(&r.is, v6, port) : NULL;

	return s && (s->flags & RULE_DUAL || addr_is_unspecified(&s->listen)) ?
		       port : 0;
}

uint16_t rules_port(bool v6, uint16_t to)
{
	unsigned i;

	for (i = 0; i < SHIFTS; i++) {
		uint16_t port = (uint16_t)(to + i * SHIFT);

		if (listen_busy(world.listen) ? stays(v6, port) :
						!!find(&r.is, v6, port))
			return port;
	}
	return 0;
}

void rules_judge(void)
{
	struct addr us[2] = { *host_addr(false), *host_addr(true) };
	unsigned port, v6;

	for (port = FORWARD_FIRST - 1;
	     port <= FORWARD_FIRST + SHIFTS * SHIFT; port++)
		for (v6 = 0; v6 < 2; v6++)
			if (far_listens(&us[v6], (uint16_t)port) !=
			    !!find(&r.is, v6, (uint16_t)port))
				sim_fail("port %u of IPv%c is %sbound", port,
					 v6 ? '6' : '4',
					 find(&r.is, v6, (uint16_t)port) ?
					 "not " : "");
	if (listen_count(world.listen) != r.is.sockets + world.inside_ports)
		sim_fail("%u listeners, %u ports", listen_count(world.listen),
			 r.is.sockets + world.inside_ports);
}

void rules_start(unsigned ballast)
{
	r.is = world.rules;
	r.us = *host_addr(false);
	r.ballast = ballast;
}
