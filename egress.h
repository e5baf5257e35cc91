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

#include "cursor.h"
#include "addr.h"

#include <stddef.h>

enum { EGRESS_MAX = 1024, EGRESS_ERR = 512, EGRESS_LOCALS = 1024 };

/* How long an address of a name is good for at least, as programs go on with one for
 * longer than they are told to, and at most */
enum { EGRESS_LEAST_S = 3600, EGRESS_MOST_S = 24 * 3600 };

enum { EGRESS_TCP = 1, EGRESS_UDP = 2, EGRESS_ICMP = 4, EGRESS_ALL = 7 };

struct egress_rule {
	const char *spec; /* as given; NULL: part of the one before */
	struct addr net;  /* of EGRESS_NET */
	uint8_t len;	  /* of its prefix */
	uint8_t protos;	  /* EGRESS_TCP and so on */
	uint16_t first, last; /* ports; an ICMP message has none */
	const char *name; /* of EGRESS_NAME: so many bytes of @spec, "*." in front
			     stands for all that end so */
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

/* Which addresses names have, as the guest was told; by hash, the first that ends gives
 * way */
enum { EGRESS_SETS = 1024, EGRESS_WAYS = 4 };

struct egress_heard {
	struct egress_addr {
		struct addr addr;
		unsigned rule; /* by whose name; the first of its argument */
		uint64_t until_ms; /* loop time; 0: none */
	} e[EGRESS_SETS][EGRESS_WAYS];
};

/* egress_add - one argument of --allow-out, or of --deny-out if not @allow
 * @spec must last as long as @e.  On refusal @e is unchanged and @err says why in
 * one line; false. */
bool egress_add(struct egress *e, bool allow, const char *spec,
		char err[EGRESS_ERR]);

/* egress_rest - whether what no rule names is allowed */
bool egress_rest(const struct egress *e);

/* egress_names - whether a rule has a name */
bool egress_names(const struct egress *e);

/* egress_asks - whether it matters who is a resolver of the host */
bool egress_asks(const struct egress *e);

/* egress_hear - @name, lower case and without a dot at its end, has the address @a,
 * until @until_ms
 * Not of an address that means the host itself, or nobody in particular.  False: no
 * rule has that name. */
bool egress_hear(const struct egress *e, struct egress_heard *h, const char *name,
		 const struct addr *a, uint64_t until_ms);

/* What changes while we are running; NULL: nothing is known of it */
struct egress_view {
	const struct egress_local *local;
	struct egress_heard *heard;
	const uint64_t *now_ms; /* of the loop, if anything may be heard */
};

/* Whom the host may send to */
struct egress_dest {
	const struct addr *addr;
	uint16_t port;	/* of TCP and UDP */
	bool resolver; /* the host uses that as such */
};

/* egress_allows - whether the host may send to @to, for the guest
 * @proto is IPPROTO_TCP, _UDP, _ICMP or _ICMPV6. */
bool egress_allows(const struct egress *e, const struct egress_view *v,
		   uint8_t proto, const struct egress_dest *to);

/* egress_save, egress_load - what was heard, for a successor with rules of its own
 * From place @at on, some of it; returns where to go on, 0: that was all. */
unsigned egress_save(const struct egress *e, const struct egress_heard *h,
		     unsigned at, uint64_t now_ms, struct wr *w);
void egress_load(const struct egress *e, struct egress_heard *h, uint64_t now_ms,
		 struct rd *r);

#endif /* EGRESS_H */
