/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * rules - the table of forwarding rules: grammar, conflicts, display
 *
 * There is a table for each side that listens: HOST for -t and -u, SPLICE for
 * -T and -U.  This module knows no sockets: listen opens what a table says.
 */
#ifndef RULES_H
#define RULES_H

#include "addr.h"

#include <stddef.h>

enum { RULES_MAX = 255, RULES_SOCKETS = 5 * 65536, RULE_TEXT = 256 };

/* Flags of a rule, as in the control protocol */
enum { RULE_DUAL = 1, RULE_WEAK = 2, RULE_SCAN = 4 };

struct rule {
	struct addr listen; /* none with RULE_DUAL */
	struct addr target; /* none: the guest */
	char ifname[16];    /* empty: any interface */
	uint16_t first, last;
	uint16_t to;	    /* port that @first is mapped to, and so on */
	uint8_t proto;	    /* IPPROTO_TCP or IPPROTO_UDP */
	uint8_t flags;
};

struct rules {
	bool splice;	   /* table of -T and -U: rules have no addresses */
	unsigned n;
	unsigned sockets;  /* ports of all rules */
	struct rule r[RULES_MAX];
};

/* What the grammar depends on */
struct rules_env {
	bool v4, v6;	   /* families that are on */
	bool tcp, udp;	   /* protocols that are on */
	bool pasta;	   /* "auto" is allowed */
	bool bindtodevice; /* if not, -T and -U make two rules, one for each
			      family */
	uint16_t ephemeral_first, ephemeral_last; /* ip_local_port_range */
};

struct port_range {
	unsigned first, last;
};

/* rules_range - parse PORT or PORT-PORT at *@s and move that behind it; false
 * if it is neither */
bool rules_range(const char **s, struct port_range *r);

/* rules_ephemeral - set the ephemeral range from net.ipv4.ip_local_port_range,
 * or if that cannot be read RFC 6335's 49152 to 65535 */
void rules_ephemeral(struct rules_env *env);

/* rules_add_spec - add the rules of @spec, an argument of -t, -u, -T or -U, to
 * @t
 * @opt is the option's letter.  Returns false if it is refused: then @t is
 * unchanged and @err (RULE_ERR bytes) has the reason in one line. */
enum { RULE_ERR = 2 * RULE_TEXT + 128 };
bool rules_add_spec(struct rules *t, char opt, const char *spec,
		    const struct rules_env *env, char err[RULE_ERR]);

/* rules_add - add one rule, with all checks; an identical one may exist already
 * Returns false, with the reason in @err, if it is refused. */
bool rules_add(struct rules *t, const struct rule *r,
	       const struct rules_env *env, char err[RULE_ERR]);
/* rules_delete - remove the rule equal to @r; false if there is none */
bool rules_delete(struct rules *t, const struct rule *r);

/* rules_conflict - a rule that claims a port of @r as well; NULL: none */
const struct rule *rules_conflict(const struct rules *t, const struct rule *r);

/* rules_ifname_ok - whether a link can have name @s, of less than @size bytes
 * A % would be a pattern for the kernel when it makes a link. */
bool rules_ifname_ok(const char *s, size_t size);

/* rule_text - write a rule as the start-up summary and pesto show it; returns
 * @buf */
const char *rule_text(const struct rule *r, char buf[RULE_TEXT]);

#endif /* RULES_H */
