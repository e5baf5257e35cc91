/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * egress - what the guest may connect to: --allow-out and --deny-out
 *
 * The first rule that matches a destination decides.  If none does, the last
 * rule decides: if it allows, the rest is denied, and if it denies, the rest is
 * allowed.  Destinations are those of the host's sockets, after all
 * translations, so that no alias the guest knows leads around a rule.
 */
#ifndef EGRESS_H
#define EGRESS_H

#include "cursor.h"
#include "addr.h"

#include <stddef.h>

enum { EGRESS_MAX = 1024, EGRESS_ERR = 512, EGRESS_LOCALS = 1024 };

/* For how long an address counts as that of a name: at least for so long, as
 * programs use one for longer than its TTL, and at most */
enum { EGRESS_LEAST_S = 3600, EGRESS_MOST_S = 24 * 3600 };

enum { EGRESS_TCP = 1, EGRESS_UDP = 2, EGRESS_ICMP = 4, EGRESS_ALL = 7 };

struct egress_rule {
	const char *spec; /* the argument as given; NULL: this rule is of the
			     same argument as the one before */
	struct addr net;  /* with EGRESS_NET: the prefix */
	uint8_t len;	  /* its length */
	uint8_t protos;	  /* bits EGRESS_TCP, _UDP, _ICMP */
	uint16_t first, last; /* range of ports; not for ICMP */
	const char *name; /* with EGRESS_NAME: @name_len bytes of @spec; a
			     leading "*." matches all names below */
	uint8_t name_len;
	enum { EGRESS_NET, EGRESS_ANY, EGRESS_RESOLVER, EGRESS_LOCAL,
	       EGRESS_NAME } to;
	bool allow;
};

/* Const after the command line */
struct egress {
	unsigned n;
	struct egress_rule r[EGRESS_MAX];
};

/* The host's own networks; all zero: none */
struct egress_local {
	unsigned n;
	bool many; /* there are more than fit: in doubt an address counts as
		      local where local is denied */
	struct {
		struct addr net;
		uint8_t len;
	} p[EGRESS_LOCALS];
};

/* egress_local_add - add the network that has the first @len bits of @a
 * An empty prefix and loopback addresses are not added. */
void egress_local_add(struct egress_local *l, const struct addr *a, unsigned len);

/* Which addresses names have, according to the answers that the guest got;
 * set-associative by hash, and the entry that ends first is replaced */
enum { EGRESS_SETS = 1024, EGRESS_WAYS = 4 };

struct egress_heard {
	struct egress_addr {
		struct addr addr;
		unsigned rule; /* the rule with the name: the first of its
				  argument */
		uint64_t until_ms; /* loop time until which it counts; 0:
				      unused */
	} e[EGRESS_SETS][EGRESS_WAYS];
};

/* egress_add - add the rules of @spec, an argument of --allow-out, or of
 * --deny-out if not @allow
 * @spec must live as long as @e.  Returns false if it is refused: then @e is
 * unchanged and @err has the reason in one line. */
bool egress_add(struct egress *e, bool allow, const char *spec,
		char err[EGRESS_ERR]);

/* egress_rest - whether destinations that no rule matches are allowed */
bool egress_rest(const struct egress *e);

/* egress_names - whether any rule has a name */
bool egress_names(const struct egress *e);

/* egress_asks - whether any rule depends on which hosts are resolvers */
bool egress_asks(const struct egress *e);

/* egress_hear - record that @name, in lower case and without a dot at its end,
 * has address @a, until @until_ms of loop time
 * Loopback and link-local addresses, and those that are not unicast, are not
 * recorded.  Returns whether a rule has that name and the address was
 * recorded. */
bool egress_hear(const struct egress *e, struct egress_heard *h, const char *name,
		 const struct addr *a, uint64_t until_ms);

/* What a decision depends on besides the rules; NULL: nothing is known of it */
struct egress_view {
	const struct egress_local *local;
	struct egress_heard *heard;
	const uint64_t *now_ms; /* loop time, if @heard is set */
};

/* A destination */
struct egress_dest {
	const struct addr *addr;
	uint16_t port;	/* for TCP and UDP */
	bool resolver; /* it is a resolver of the host */
};

/* egress_allows - whether the host may send to @to for the guest
 * @proto is IPPROTO_TCP, _UDP, _ICMP or _ICMPV6. */
bool egress_allows(const struct egress *e, const struct egress_view *v,
		   uint8_t proto, const struct egress_dest *to);

/* egress_save - write some of what was heard, from entry @at on, for a
 * successor; returns the entry to go on with, 0 if that was all
 * egress_load - read that, as far as names are in our own rules */
unsigned egress_save(const struct egress *e, const struct egress_heard *h,
		     unsigned at, uint64_t now_ms, struct wr *w);
void egress_load(const struct egress *e, struct egress_heard *h, uint64_t now_ms,
		 struct rd *r);

#endif /* EGRESS_H */
