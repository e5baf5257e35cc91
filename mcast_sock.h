/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * mcast_sock - the host's membership in groups that the guest has joined, and
 * what is received by it
 *
 * A membership has no port, but a socket has one.  So a group is followed by
 * sockets for the ports that service discovery uses, those of forwarding rules,
 * and those from and to which the guest sends to it.
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
	MCAST_KNOWN = 4, /* ports of service discovery */
	MCAST_NOTED = 8, /* and most other ports of a group */
	MCAST_PORTS = 1 + MCAST_KNOWN + MCAST_NOTED,
	MCAST_SOCKS = 768, /* most sockets in all */
	MCAST_NOTES = 64,
	MCAST_SENT = 4096,
	MCAST_WAYS = 8,
	MCAST_SETTLE_MS = 100, /* shortest time between changes of
				  memberships */
	MCAST_ECHO_MS = 2000, /* within that time the host returns to us what we
				 sent */
};

/* The sockets of one group */
struct mcast_member {
	struct addr group; /* none: the entry is unused */
	uint32_t version;  /* version of the table's entry when it was last
			      followed */
	unsigned ifindex;
	/* The first one has no port: it makes the host a member, so that
	 * listeners get what is sent to the group */
	struct {
		int fd; /* 0: none (which standard input always is) */
		uint16_t port;
	} sock[MCAST_PORTS];
};

struct mcast_note {
	struct addr group;
	uint16_t port;
	uint32_t used; /* the highest was used last */
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
	uint8_t (*rx)[UDP_RX]; /* at least UDP_BATCH buffers, for use within a
				  call */
	unsigned watch;
	unsigned socks;
	bool again; /* look at all ports again */
	uint32_t synced; /* version of the table that sockets follow */
	uint64_t synced_ms;
	uint32_t noted;
	struct timer timer;
	struct mcast table;
	struct mcast_member member[2 * MCAST_GROUPS]; /* by the index of the
							 table's groups */
	struct mcast_note note[MCAST_NOTES];
	/* What was sent and has not come back yet, by hash, in sets of
	 * MCAST_WAYS */
	struct mcast_sent {
		uint64_t hash;
		uint32_t ms, n;
	} sent[MCAST_SENT];
};

/* mcast_sock_init - set up @m, turned off; all pointers stay the caller's */
void mcast_sock_init(struct mcast_sock *m, struct flows *flows,
		     struct tap *tap, const struct fwd *fwd,
		     const struct listen *listen, const struct neigh *neigh,
		     uint64_t *drops, uint8_t (*rx)[UDP_RX]);

/* mcast_sock_start - turn it on, before the first guest */
void mcast_sock_start(struct mcast_sock *m);

/* mcast_sock_greet - there is a guest of which nothing is known, or the host's
 * network is another one: ask the guest again */
void mcast_sock_greet(struct mcast_sock *m);

/* mcast_sock_renew - the host's interfaces may have changed: join again where
 * needed */
void mcast_sock_renew(struct mcast_sock *m);

/* mcast_sock_input - process a report, see mcast_is(); PASS, or the reason to
 * drop it */
enum verdict mcast_sock_input(struct mcast_sock *m, const struct packet *p);

/* mcast_sock_sends - note that the guest sends to a group with tuple @t: its
 * ports follow the group */
void mcast_sock_sends(struct mcast_sock *m, const struct tuple *t);

/* mcast_sock_sent - note that @p was sent to the group of side @host
 * The copy that comes back is not for the guest, whose own kernel has given it
 * to its members. */
void mcast_sock_sent(struct mcast_sock *m, const struct side *host,
		     const struct packet *p);

/* mcast_sock_takes - whether @d, which arrived at a listener, is for
 * mcast_sock_pass() */
static inline bool mcast_sock_takes(const struct mcast_sock *m,
				    const struct sock_dgram *d)
{
	return m->on && addr_is_multicast(&d->to);
}

/* mcast_sock_pass - pass @d with payload @p, which was sent to a group and
 * @port of the host, on to that group and port @to of the guest, unless the
 * guest has sent it */
void mcast_sock_pass(struct mcast_sock *m, const struct sock_dgram *d,
		     uint16_t port, uint16_t to, const uint8_t *p);

/* mcast_sock_known - whether @port is one of service discovery, which many
 * sockets share */
bool mcast_sock_known(uint16_t port);

#endif /* MCAST_SOCK_H */
