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

/* What the rules of a table may ask for */
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

/* MORE: complete so far, but not at the end */
enum rulewire { RULEWIRE_MORE, RULEWIRE_DONE, RULEWIRE_BAD };

/* rulewire_caps, rulewire_env - what a server can do, there and back; the range of
 * ephemeral ports is not part of it */
uint32_t rulewire_caps(const struct rules_env *env);
struct rules_env rulewire_env(uint32_t caps);

/* rulewire_greet, rulewire_update - write the greeting or the update for @t */
void rulewire_greet(struct wr *w, const struct rulewire_table *t, unsigned n);
void rulewire_update(struct wr *w, const struct rulewire_table *t, unsigned n);

/* rulewire_greeted - read what may be a greeting
 * DONE: *@n of RULEWIRE_TABLES tables @t, whose rules are as sent: what another
 * server allows is its own business.  BAD: @err says why. */
enum rulewire rulewire_greeted(const void *p, size_t len,
			       struct rulewire_table t[RULEWIRE_TABLES],
			       unsigned *n, char err[RULE_ERR]);

/* rulewire_greeting - bytes of such a greeting */
size_t rulewire_greeting(const struct rulewire_table *t, unsigned n);

/* rulewire_updated - read what may be an update of the @n tables @t
 * DONE: their rules are the new ones, each checked as rules_add() does.  BAD:
 * @err says why.  Unless it is done, the rules are undefined. */
enum rulewire rulewire_updated(const void *p, size_t len,
			       struct rulewire_table *t, unsigned n,
			       const struct rules_env *env, char err[RULE_ERR]);

#endif /* RULEWIRE_H */
