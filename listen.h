/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * listen - the listening sockets of the rule tables
 *
 * Two tables: PIF_HOST, whose sockets are in our namespace, and PIF_SPLICE,
 * whose sockets are in the namespace of the guest.  A table can be replaced
 * while running.  Rules that follow what is bound on the other side (RULE_SCAN)
 * have sockets only where listen_scan() says so.
 */
#ifndef LISTEN_H
#define LISTEN_H

#include "flow.h"
#include "ns.h"
#include "rules.h"

/* A bit for each port */
struct portmap {
	uint64_t w[65536 / 64];
};

static inline bool portmap_has(const struct portmap *m, unsigned port)
{
	return m->w[port / 64] >> port % 64 & 1;
}

static inline void portmap_put(struct portmap *m, unsigned port)
{
	m->w[port / 64] |= 1ULL << port % 64;
}

struct listener {
	int fd;
	uint32_t inode; /* with a namespace: to know our own in a scan */
};

struct listen_table {
	struct rules rules;
	unsigned base[RULES_MAX]; /* where a rule's ports begin in @slot */
	struct listener *slot;	  /* RULES_SOCKETS, mapped */
	uint64_t *open;		  /* a bit for each slot that has a socket */
};

struct listen {
	struct loop *loop;
	const struct sock_env *env;
	struct ns *ns; /* NULL: none, and no table PIF_SPLICE */
	uint64_t limit; /* descriptors, as of the start */
	unsigned tcp_watch, udp_watch; /* where events go: tcp_init() and
					  udp_init() set them */
	const struct flows *flows; /* whose sockets are no one else's; the same */
	struct listen_table table[2]; /* HOST, SPLICE */
	struct listen_table spare;    /* the next one of either */
};

/* listen_init - the pointers stay the caller's; 0 or -errno
 * TCP and UDP plant the watches of their listeners afterwards. */
int listen_init(struct listen *l, struct loop *loop, const struct sock_env *env,
		struct ns *ns);

/* listen_limit - whether there may be descriptors enough for both tables
 * 0, or -EMFILE after an error message. */
int listen_limit(const struct rules *host, const struct rules *splice);

/* listen_left - how many descriptors there are for connections */
unsigned listen_left(const struct listen *l);

/* listen_set - @rules, of which a copy is kept, become the table of @pif
 * What is common to the old table and the new stays open; new sockets open
 * before old ones close, unless an old one is in their way.  Returns the error
 * of a strict rule that has not got all of its ports, after a warning for each
 * of them; the others are open then.  A descriptor limit that is too low is
 * found before anything is changed: -EMFILE. */
int listen_set(struct listen *l, enum pif pif, const struct rules *rules);

/* listen_rules - the table of @pif as it is */
const struct rules *listen_rules(const struct listen *l, enum pif pif);

/* listen_start - the same before the loop runs: where a rule fails since a port is
 * in use, that is tried again for a fifth of a second before it is an error */
int listen_start(struct listen *l, enum pif pif, const struct rules *rules);

/* listen_end - close all: others may be waiting for the ports */
void listen_end(struct listen *l);

/* listen_find - what the reference of a listener's event names
 * Returns its descriptor, -1 if it is gone; *@r is its rule, *@pif its side. */
int listen_find(const struct listen *l, uint64_t ref, const struct rule **r,
		enum pif *pif);

/* listen_rule - of the listener that gets what comes to @to and @port at @pif,
 * NULL if there is none */
const struct rule *listen_rule(const struct listen *l, enum pif pif,
			       uint8_t proto, const struct addr *to,
			       uint16_t port);

/* listen_has_port - whether a listener is bound to @port at @pif, at any address */
bool listen_has_port(const struct listen *l, enum pif pif, uint8_t proto,
		     uint16_t port);

/* listen_scans - whether a rule of @proto at @pif has to be told what is bound */
bool listen_scans(const struct listen *l, enum pif pif, uint8_t proto);

/* listen_scan - open and close what rules with RULE_SCAN ask for
 * @want are ports bound on the other side; what is in @busy is not opened.
 * 0, or why something could not be opened. */
int listen_scan(struct listen *l, enum pif pif, uint8_t proto,
		const struct portmap *want, const struct portmap *busy);

/* listen_owns - whether @inode, bound to @port at @pif, is a listener of ours */
bool listen_owns(const struct listen *l, enum pif pif, uint8_t proto,
		 uint16_t port, uint32_t inode);

#endif /* LISTEN_H */
