/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * listen - the listening sockets of the rule tables
 *
 * There are two tables: PIF_HOST, whose sockets are in our namespace, and
 * PIF_SPLICE, whose sockets are in the namespace of the guest.  A table can be
 * replaced while running, in steps.  Rules that follow what is bound on the
 * other side (RULE_SCAN) have sockets only where listen_scan() says so.
 */
#ifndef LISTEN_H
#define LISTEN_H

#include "cursor.h"
#include "fdlist.h"
#include "flow.h"
#include "ns.h"
#include "rules.h"

struct events;

/* A set of ports: a bit for each */
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
	uint32_t inode; /* if there is a namespace: to recognise our own sockets
			   in a scan */
};

/* What a rule waited for when it was last looked at: nothing; for its address
 * or interface to appear; that its ports, on an address or interface that
 * exists, can be had */
enum { LISTEN_READY, LISTEN_ABSENT, LISTEN_REFUSED };

struct listen_table {
	struct rules rules;
	unsigned base[RULES_MAX]; /* index in @slot of a rule's first port */
	unsigned slots;		  /* slots in use */
	struct listener *slot;	  /* RULES_SOCKETS, mapped */
	uint64_t *open;		  /* a bit for each slot that has a socket */
	uint64_t *paused;	  /* and for each whose socket is not watched
				     now */
	uint8_t waits[RULES_MAX]; /* LISTEN_READY and so on */
};

/* A change from one table to the next, phase by phase.  REPLACE and RETRY
 * happen only if something could not be opened before; after OPEN the new rules
 * are in force. */
struct listen_change {
	enum {
		LISTEN_IDLE,
		LISTEN_OPEN,	/* open what the old table does not have */
		LISTEN_REPLACE, /* open what an old socket was in the way of */
		LISTEN_LEAVE,	/* move or close the sockets of the old table */
		LISTEN_RETRY,	/* open the rest, and log what fails */
	} phase;
	unsigned side;
	int left; /* cost that this step may still have */
	unsigned rule, n; /* the next slot to look at, @n, and its rule */
	unsigned failed;  /* ports of that rule that failed */
	unsigned absent;  /* ports whose address or interface does not exist */
	int rule_err;	  /* why the last one failed */
	int fd;		  /* the last descriptor that was opened */
	bool again;	  /* something failed that may succeed later */
	bool quiet;	  /* failures are not logged */
	int err;
};

/* Where listen_renew() has got to */
struct listen_renewal {
	int left; /* cost that this step may still have */
	unsigned rule, n;
	unsigned opened; /* ports of that rule that were opened */
	bool lost;	 /* it had sockets whose interface has gone */
	bool absent;	 /* its address or interface does not exist */
	bool refused;	 /* that exists, and yet a port could not be opened */
	bool again;	 /* so it was with any of the rules */
};

struct listen {
	struct loop *loop;
	const struct sock_env *env;
	struct ns *ns; /* NULL: there is no namespace, and no table
			  PIF_SPLICE */
	uint64_t limit; /* RLIMIT_NOFILE as of the start */
	unsigned tcp_watch, udp_watch; /* watches for events of listeners, set
					  by tcp_init() and udp_init() */
	struct events *events; /* NULL: only the log is told */
	const struct flows *flows; /* flows whose ports are ours, set by
				      udp_init() */
	struct listen_table table[2]; /* HOST, SPLICE: the tables in force */
	struct listen_table other; /* during a change, the next table or the
				      last one of its side; else empty */
	struct listen_change change;
	bool follows; /* listen_renew() will be called: a rule whose address or
			 interface the host does not have waits for it */
	struct listen_renewal renewal;
	struct timer resume; /* ends the pauses of listen_pause() */
};

/* listen_init - map the tables; @loop, @env and @ns stay the caller's
 * Returns 0 or -errno.  TCP and UDP set the numbers of their watches
 * afterwards. */
int listen_init(struct listen *l, struct loop *loop, const struct sock_env *env,
		struct ns *ns);

/* listen_limit - whether RLIMIT_NOFILE allows for the sockets of both tables
 * Returns 0, or -EMFILE after an error message. */
int listen_limit(const struct rules *host, const struct rules *splice);

/* listen_fits - like listen_limit(), while running */
int listen_fits(const struct listen *l, const struct rules *host,
		const struct rules *splice);

/* listen_left - how many descriptors the tables in force leave for
 * connections */
unsigned listen_left(const struct listen *l);

/* listen_count - how many listening sockets there are */
unsigned listen_count(const struct listen *l);

/* listen_rules - the table of @pif that is in force */
const struct rules *listen_rules(const struct listen *l, enum pif pif);

/* listen_lacks - whether rule @i of the table of @pif lacks sockets that might
 * be opened by now: any port, or if it is a weak rule all of them
 * A rule that waits or has RULE_SCAN lacks nothing. */
bool listen_lacks(const struct listen *l, enum pif pif, unsigned i);

/* listen_begin - begin to make @rules, of which a copy is kept, the table of
 * @pif
 * listen_fits() has been asked before.  Nothing happens until listen_step(),
 * which has to be called until it is done. */
void listen_begin(struct listen *l, enum pif pif, const struct rules *rules);

/* listen_step - go on with the change, with at most LISTEN_STEP sockets
 * What the old table and the new one have in common is not touched.  New
 * sockets are opened before old ones are closed, unless an old one is in their
 * way or descriptors run short.  listen_rules() become the new ones at once.
 * Returns -EINPROGRESS until done; then 0, or the error of a strict rule that
 * did not get all of its ports, after warnings, with all others open.  If the
 * other namespace cannot be entered, the table stays what it was. */
enum { LISTEN_STEP = 128 };
int listen_step(struct listen *l);

/* listen_renew - the host may have other addresses or interfaces: open what has
 * waited for one, and reopen what was bound to an interface that was made again
 * Concerns PIF_HOST only.  Returns 0 when done; -EINPROGRESS: call again, a
 * little later; -EAGAIN: some ports are in use or descriptors ran out, so call
 * again after a while. */
int listen_renew(struct listen *l);

/* listen_start - make @rules the table of @pif in one go, before the loop runs
 * If a rule fails because its port is in use, it is tried again for 0.2 s
 * before that is an error.  Returns what listen_step() does. */
int listen_start(struct listen *l, enum pif pif, const struct rules *rules);

/* listen_end - close all listening sockets: others may be waiting for the
 * ports */
void listen_end(struct listen *l);

/* listen_find - find the listener that @ref, the reference of an event, names
 * Returns its descriptor, with its rule in *@r and its side in *@pif; -1 if it
 * is gone. */
int listen_find(const struct listen *l, uint64_t ref, const struct rule **r,
		enum pif *pif);

/* listen_port - the port of the listener that @ref names */
static inline uint16_t listen_port(uint64_t ref)
{
	return (uint16_t)ref;
}

/* listen_pause - do not watch the listener that @ref names for LISTEN_PAUSE_MS
 * For when what waits there cannot be taken now and would be reported in every
 * turn. */
enum { LISTEN_PAUSE_MS = 100 };
void listen_pause(struct listen *l, uint64_t ref);

/* listen_rule - the rule of the listener that gets what is sent to @to and
 * @port on @pif; NULL if there is none */
const struct rule *listen_rule(const struct listen *l, enum pif pif,
			       uint8_t proto, const struct addr *to,
			       uint16_t port);

/* listen_has_port - whether a listener is bound to @port on @pif, at whatever
 * address */
bool listen_has_port(const struct listen *l, enum pif pif, uint8_t proto,
		     uint16_t port);

/* listen_scans - whether a rule of @proto on @pif follows what is bound on the
 * other side, so that it has to be scanned */
bool listen_scans(const struct listen *l, enum pif pif, uint8_t proto);

/* listen_scan - open and close what the rules with RULE_SCAN ask for
 * @want are the ports bound on the other side; ports in @busy are not opened.
 * Returns 0, -EAGAIN if there is more to do than one call does, or the error of
 * a port that could not be opened. */
int listen_scan(struct listen *l, enum pif pif, uint8_t proto,
		const struct portmap *want, const struct portmap *busy);

/* listen_owns - whether the socket with @inode, bound to @port on @pif, is a
 * listener of ours */
bool listen_owns(const struct listen *l, enum pif pif, uint8_t proto,
		 uint16_t port, uint32_t inode);

/* listen_busy - whether a change is under way, so that nothing can be saved */
static inline bool listen_busy(const struct listen *l)
{
	return l->change.phase != LISTEN_IDLE;
}

/* listen_save_rules, listen_load_rules - write and read the table of @pif
 * without its sockets; the latter returns false if the data are not sane */
void listen_save_rules(const struct listen *l, enum pif pif, struct wr *w);
bool listen_load_rules(struct listen *l, struct rd *r);

/* listen_save - write sockets of the table of @pif from slot @from on, as many
 * as one section holds; returns the slot to go on with, 0 if there are no more
 * listen_load - read such a section and take its sockets into service; 0 or
 * -errno */
unsigned listen_save(const struct listen *l, enum pif pif, unsigned from,
		     struct wr *w, struct fdlist *fds);
int listen_load(struct listen *l, struct rd *r, struct fdlist *fds);

#endif /* LISTEN_H */
