/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * listen - the listening sockets of the rule tables
 *
 * Two tables: PIF_HOST, whose sockets are in our namespace, and PIF_SPLICE,
 * whose sockets are in the namespace of the guest.  A table can be replaced
 * while running, in steps.  Rules that follow what is bound on the other side
 * (RULE_SCAN) have sockets only where listen_scan() says so.
 */
#ifndef LISTEN_H
#define LISTEN_H

#include "cursor.h"
#include "fdlist.h"
#include "flow.h"
#include "ns.h"
#include "rules.h"

struct events;

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

/* What a rule has waited for when it was last looked at: nothing, an address or
 * interface, that what there is now can be used */
enum { LISTEN_READY, LISTEN_ABSENT, LISTEN_REFUSED };

struct listen_table {
	struct rules rules;
	unsigned base[RULES_MAX]; /* where a rule's ports begin in @slot */
	unsigned slots;		  /* in use */
	struct listener *slot;	  /* RULES_SOCKETS, mapped */
	uint64_t *open;		  /* a bit for each slot that has a socket */
	uint64_t *paused;	  /* and for each that is not watched */
	uint8_t waits[RULES_MAX]; /* what for, see above */
};

/* The way from one table to the next.  REPLACE and RETRY only if something could
 * not be opened before; after OPEN the new rules are those in force. */
struct listen_change {
	enum {
		LISTEN_IDLE,
		LISTEN_OPEN,	/* what the old table has not */
		LISTEN_REPLACE, /* where the old table was in the way */
		LISTEN_LEAVE,	/* the old table: move or close its sockets */
		LISTEN_RETRY,	/* the rest, and tell what failed */
	} phase;
	unsigned side;
	int left; /* that this step may cost */
	unsigned rule, n; /* the next slot to look at, and its rule */
	unsigned failed;  /* ports of that rule */
	unsigned absent;  /* and those whose address or interface is not there */
	int rule_err;	  /* the last one's reason */
	int fd;		  /* the last one that was opened */
	bool again;	  /* something failed that may be possible later */
	bool quiet;	  /* what fails is not told of */
	int err;
};

/* What listen_renew() is at */
struct listen_renewal {
	int left; /* that this step may cost */
	unsigned rule, n;
	unsigned opened; /* ports of that rule */
	bool lost;	 /* it had sockets, whose interface has gone */
	bool absent;	 /* there is none */
	bool refused;	 /* there is one, and yet a port could not be had */
	bool again;	 /* so it was with any rule */
};

struct listen {
	struct loop *loop;
	const struct sock_env *env;
	struct ns *ns; /* NULL: none, and no table PIF_SPLICE */
	uint64_t limit; /* descriptors, as of the start */
	unsigned tcp_watch, udp_watch; /* where events go: tcp_init() and
					  udp_init() set them */
	struct events *events; /* NULL: nobody is told but the log */
	const struct flows *flows; /* whose sockets are no one else's; the same */
	struct listen_table table[2]; /* HOST, SPLICE: what is in force */
	struct listen_table other; /* of the side that changes, the next one or the
				      last one; else empty */
	struct listen_change change;
	bool follows; /* listen_renew() will be called: what binds to an address or
			 interface that the host has not got waits for it */
	struct listen_renewal renewal;
	struct timer resume; /* of those that are paused */
};

/* listen_init - the pointers stay the caller's; 0 or -errno
 * TCP and UDP plant the watches of their listeners afterwards. */
int listen_init(struct listen *l, struct loop *loop, const struct sock_env *env,
		struct ns *ns);

/* listen_limit - whether there may be descriptors enough for both tables
 * 0, or -EMFILE after an error message. */
int listen_limit(const struct rules *host, const struct rules *splice);

/* listen_fits - the same while running */
int listen_fits(const struct listen *l, const struct rules *host,
		const struct rules *splice);

/* listen_left - how many descriptors there are for connections */
unsigned listen_left(const struct listen *l);

/* listen_count - how many have listeners */
unsigned listen_count(const struct listen *l);

/* listen_rules - the table of @pif as it is */
const struct rules *listen_rules(const struct listen *l, enum pif pif);

/* listen_lacks - whether its rule @i has not got what it should have, which may be had by
 * now: all ports, or of a weak one any; one that waits or follows lacks nothing */
bool listen_lacks(const struct listen *l, enum pif pif, unsigned i);

/* listen_begin - @rules, of which a copy is kept, are to become the table of @pif
 * listen_fits() has been asked.  Nothing happens before listen_step(), which is
 * called until it is done. */
void listen_begin(struct listen *l, enum pif pif, const struct rules *rules);

/* listen_step - go on, with LISTEN_STEP sockets at most; -EINPROGRESS: not done
 * What is common to the old table and the new is not touched; new sockets open
 * before old ones close, unless an old one is in their way, or too few
 * descriptors are left.  listen_rules() become the new ones all at once.
 * When done: 0 or the error of a strict rule that has not got all of its ports,
 * after warnings; the others are open then.  If the other namespace cannot be
 * entered, the table stays what it was. */
enum { LISTEN_STEP = 128 };
int listen_step(struct listen *l);

/* listen_renew - the host may have other addresses or interfaces: open what has
 * waited for one, and anew what was bound to one that was made again
 * Only of PIF_HOST.  -EINPROGRESS: call again, a little later.  -EAGAIN: some ports
 * are in use, or there was no descriptor: call again in a while. */
int listen_renew(struct listen *l);

/* listen_start - all of it before the loop runs: where a rule fails since a port is
 * in use, that is tried again for a fifth of a second before it is an error */
int listen_start(struct listen *l, enum pif pif, const struct rules *rules);

/* listen_end - close all: others may be waiting for the ports */
void listen_end(struct listen *l);

/* listen_find - what the reference of a listener's event names
 * Returns its descriptor, -1 if it is gone; *@r is its rule, *@pif its side. */
int listen_find(const struct listen *l, uint64_t ref, const struct rule **r,
		enum pif *pif);

/* listen_port - its port */
static inline uint16_t listen_port(uint64_t ref)
{
	return (uint16_t)ref;
}

/* listen_pause - do not watch the listener that @ref names for LISTEN_PAUSE_MS: what
 * waits there cannot be taken now, and would be reported for ever */
enum { LISTEN_PAUSE_MS = 100 };
void listen_pause(struct listen *l, uint64_t ref);

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
 * 0, or why something could not be opened; -EAGAIN: there is more to do than one
 * call does. */
int listen_scan(struct listen *l, enum pif pif, uint8_t proto,
		const struct portmap *want, const struct portmap *busy);

/* listen_owns - whether @inode, bound to @port at @pif, is a listener of ours */
bool listen_owns(const struct listen *l, enum pif pif, uint8_t proto,
		 uint16_t port, uint32_t inode);

/* listen_busy - whether a change is on its way: then nothing can be saved */
static inline bool listen_busy(const struct listen *l)
{
	return l->change.phase != LISTEN_IDLE;
}

/* listen_save_rules, listen_load_rules - the table of @pif, without sockets
 * False: that is none. */
void listen_save_rules(const struct listen *l, enum pif pif, struct wr *w);
bool listen_load_rules(struct listen *l, struct rd *r);

/* listen_save - sockets of the table of @pif, from slot @from on, as many as go into
 * one section; the slot to go on with, 0: there are no more
 * listen_load - take them into service; 0 or -errno */
unsigned listen_save(const struct listen *l, enum pif pif, unsigned from,
		     struct wr *w, struct fdlist *fds);
int listen_load(struct listen *l, struct rd *r, struct fdlist *fds);

#endif /* LISTEN_H */
