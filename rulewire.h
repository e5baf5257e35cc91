/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * rulewire - the tables of forwarding rules as the control socket carries them
 *
 * Protocol version 2 of the reference's pesto, byte for byte; integers are in
 * network order.  The server greets with all its tables, the client answers
 * with all of them as they shall be: a table that it leaves out is emptied.
 *
 *	greeting := "basil:s" NUL, version, RULEWIRE_NAME, IFNAMSIZ: u32 each;
 *		    { number u8, name, capabilities u32, count u32, RULE... }; 0
 *	update	 := { number u8, count u32, RULE... }; 0
 *	RULE	 := listen, target, ifname: 16 bytes each; first, last, to: u16
 *		    each; protocol u8, flags u8
 *
 * Pure: no descriptor, no state.
 */
#ifndef RULEWIRE_H
#define RULEWIRE_H

#include "cursor.h"
#include "rules.h"

enum {
	RULEWIRE_VERSION = 2,
	RULEWIRE_NAME = 128, /* bytes of a table's name */
	RULEWIRE_TABLES = 3,
	RULEWIRE_RULE = 56,
	/* The longest greeting: 20 + 3 * (137 + 255 * 56) + 1 */
	RULEWIRE_MAX = 44 * 1024,
};

/* Capabilities: what rules of a table may ask for */
enum {
	RULEWIRE_V4 = 1,
	RULEWIRE_V6 = 2,
	RULEWIRE_TCP = 4,
	RULEWIRE_UDP = 8,
	RULEWIRE_SCAN = 16,
	RULEWIRE_IFNAME = 32,
};

struct rulewire_table {
	uint8_t id; /* enum pif: 1 HOST, 3 SPLICE */
	char name[RULEWIRE_NAME];
	uint32_t caps;
	struct rules rules;
};

/* MORE: correct so far, but incomplete */
enum rulewire { RULEWIRE_MORE, RULEWIRE_DONE, RULEWIRE_BAD };

/* rulewire_caps, rulewire_env - convert what a server can do to capabilities,
 * and back; the range of ephemeral ports is not included */
uint32_t rulewire_caps(const struct rules_env *env);
struct rules_env rulewire_env(uint32_t caps);

/* rulewire_greet, rulewire_update - write a greeting, or an update, with the @n
 * tables @t */
void rulewire_greet(struct wr *w, const struct rulewire_table *t, unsigned n);
void rulewire_update(struct wr *w, const struct rulewire_table *t, unsigned n);

/* rulewire_greeted - parse what may be a greeting
 * DONE: @t has its *@n tables (at most RULEWIRE_TABLES), with rules as they
 * were sent: what another server allows is not checked.  BAD: @err has the
 * reason. */
enum rulewire rulewire_greeted(const void *p, size_t len,
			       struct rulewire_table t[RULEWIRE_TABLES],
			       unsigned *n, char err[RULE_ERR]);

/* rulewire_greeting - the length of a greeting with these tables, in bytes */
size_t rulewire_greeting(const struct rulewire_table *t, unsigned n);

/* rulewire_updated - parse what may be an update of the @n tables @t
 * DONE: they have the new rules, each checked as by rules_add().  BAD: @err has
 * the reason.  Unless the result is DONE, the rules are undefined. */
enum rulewire rulewire_updated(const void *p, size_t len,
			       struct rulewire_table *t, unsigned n,
			       const struct rules_env *env, char err[RULE_ERR]);

#endif /* RULEWIRE_H */
