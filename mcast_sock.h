/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * mcast_sock - the host's membership in groups that the guest has joined, and
 * what comes of it
 *
 * A membership names no port, and a socket has one.  So a group is followed by the
 * ports that discovery uses, those of forwarding rules, and those to and from which
 * the guest sends to it.
 */
#ifndef MCAST_SOCK_H
#define MCAST_SOCK_H

#include "fwd.h"
#include "listen.h"
#include "mcast.h"
#include "neigh.h"
#include "tap.h"
#include "udp_splice.h"

enum {
	MCAST_KNOWN = 4, /* ports of discovery */
	MCAST_NOTED = 8, /* and as many others of a group */
	MCAST_PORTS = 1 + MCAST_KNOWN + MCAST_NOTED,
	MCAST_SOCKS = 768, /* in all */
	MCAST_NOTES = 64,
	MCAST_SENT = 4096,
	MCAST_WAYS = 8,
	MCAST_SETTLE_MS = 100, /* between changes of memberships */
	MCAST_ECHO_MS = 2000, /* the host gives us what we sent within that time */
};

/* The sockets of one group */
struct mcast_member {
	struct addr group; /* none: there are no sockets */
	uint32_t version;  /* of the table's group, as it was joined */
	unsigned ifindex;
	/* The first has no port: by its membership listeners get the group's */
	struct {
		int fd; /* 0: none, as standard input is always open */
		uint16_t port;
	} sock[MCAST_PORTS];
};

struct mcast_note {
	struct addr group;
	uint16_t port;
	uint32_t used; /* the highest was last */
};

/* All zero before mcast_sock_start() */
struct mcast_sock {
	bool on;
	struct flows *flows;
	struct loop *loop;
	struct tap *tap;
	const struct fwd *fwd;
	const struct listen *listen;
	const struct neigh *neigh;
	uint64_t *drops;
	uint8_t (*rx)[UDP_RX]; /* UDP_BATCH of them, to be used in passing */
	unsigned watch;
	unsigned socks;
	bool again; /* what follows is to be looked at */
	uint32_t synced; /* the table's version */
	uint64_t synced_ms;
	uint32_t noted;
	struct timer timer;
	struct mcast table;
	struct mcast_member member[2 * MCAST_GROUPS]; /* as the table's groups */
	struct mcast_note note[MCAST_NOTES];
	/* What was sent and has not come back, by hash, in sets of MCAST_WAYS */
	struct mcast_sent {
		uint64_t hash;
		uint32_t ms, n;
	} sent[MCAST_SENT];
};

/* mcast_sock_init - off; the pointers stay the caller's */
void mcast_sock_init(struct mcast_sock *m, struct flows *flows,
		     struct tap *tap, const struct fwd *fwd,
		     const struct listen *listen, const struct neigh *neigh,
		     uint64_t *drops, uint8_t (*rx)[UDP_RX]);

/* mcast_sock_start - on, before the first guest */
void mcast_sock_start(struct mcast_sock *m);

/* mcast_sock_greet - there is a guest of which nothing is known, or the host's
 * network is another one */
void mcast_sock_greet(struct mcast_sock *m);

/* mcast_sock_renew - the host's interfaces may be others now */
void mcast_sock_renew(struct mcast_sock *m);

/* mcast_sock_input - what mcast_is(); PASS or why not */
enum verdict mcast_sock_input(struct mcast_sock *m, const struct packet *p);

/* mcast_sock_sends - the guest sends to a group, to and from these ports */
void mcast_sock_sends(struct mcast_sock *m, const struct tuple *t);

/* mcast_sock_sent - @p was sent to the group of side @host: what comes back of it
 * is not for the guest, whose kernel has given it to who asked for that */
void mcast_sock_sent(struct mcast_sock *m, const struct side *host,
		     const struct packet *p);

/* mcast_sock_takes - whether @d, which came to a listener, is for mcast_sock_pass() */
static inline bool mcast_sock_takes(const struct mcast_sock *m,
				    const struct sock_dgram *d)
{
	return m->on && addr_is_multicast(&d->to);
}

/* mcast_sock_pass - what came to a group and @port of the host goes to that group
 * and the guest's port @to, if it did not come from there */
void mcast_sock_pass(struct mcast_sock *m, const struct sock_dgram *d,
		     uint16_t port, uint16_t to, const uint8_t *p);

/* mcast_sock_known - whether @port is one that all share who look for services */
bool mcast_sock_known(uint16_t port);

#endif /* MCAST_SOCK_H */
