/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * egress - what the guest may connect to: --allow-out and --deny-out
 *
 * The first rule that names a destination decides.  Of what none does the last rule
 * tells: where it allows, the rest is denied, where it denies, the rest is allowed.
 * Destinations are the host's: what its sockets would connect to, after all
 * translations, so that no other name of the guest's leads around a rule.
 */
#ifndef EGRESS_H
#define EGRESS_H

#include "addr.h"

#include <stddef.h>

enum { EGRESS_MAX = 1024, EGRESS_ERR = 512, EGRESS_LOCALS = 1024 };

enum { EGRESS_TCP = 1, EGRESS_UDP = 2, EGRESS_ICMP = 4, EGRESS_ALL = 7 };

struct egress_rule {
	const char *spec; /* as given; NULL: part of the one before */
	struct addr net;  /* of EGRESS_NET */
	uint8_t len;	  /* of its prefix */
	uint8_t protos;	  /* EGRESS_TCP and so on */
	uint16_t first, last; /* ports; an ICMP message has none */
	enum { EGRESS_NET, EGRESS_ANY, EGRESS_RESOLVER, EGRESS_LOCAL } to;
	bool allow;
};

/* Const after the command line */
struct egress {
	unsigned n;
	struct egress_rule r[EGRESS_MAX];
};

/* The host's own networks: all zero, none */
struct egress_local {
	unsigned n;
	bool many; /* there are more: in doubt an address is of one, and denied */
	struct {
		struct addr net;
		uint8_t len;
	} p[EGRESS_LOCALS];
};

/* egress_local_add - one that @a is of, by the first @len bits; all of a family and
 * loopback are none */
void egress_local_add(struct egress_local *l, const struct addr *a, unsigned len);

/* egress_add - one argument of --allow-out, or of --deny-out if not @allow
 * @spec must last as long as @e.  On refusal @e is unchanged and @err says why in
 * one line; false. */
bool egress_add(struct egress *e, bool allow, const char *spec,
		char err[EGRESS_ERR]);

/* egress_rest - whether what no rule names is allowed */
bool egress_rest(const struct egress *e);

/* Whom the host may send to */
struct egress_dest {
	const struct addr *addr;
	uint16_t port;	/* of TCP and UDP */
	bool resolver; /* the host uses that as such */
};

/* egress_allows - whether the host may send to @to, for the guest
 * @proto is IPPROTO_TCP, _UDP, _ICMP or _ICMPV6; @l may be NULL: none. */
bool egress_allows(const struct egress *e, const struct egress_local *l,
		   uint8_t proto, const struct egress_dest *to);

#endif /* EGRESS_H */
