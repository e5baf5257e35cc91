/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * guest - pulls frames, answers them or finds their flow, hands each its batch
 */
#ifndef GUEST_H
#define GUEST_H

#include "echo.h"
#include "frag.h"
#include "lan.h"
#include "neigh.h"
#include "rkap.h"
#include "tap.h"
#include "tcp.h"
#include "tftp.h"
#include "udp.h"

struct guest {
	struct tap *tap;
	struct loop *loop;
	struct flows *flows;
	const struct lan *lan;
	struct seen *seen;
	struct neigh *neigh;
	struct tcp *tcp;
	struct udp *udp;
	struct echo *echo;
	struct tftp tftp;
	unsigned watch;	  /* the transport's events come here */
	struct runq queue; /* of @run alone: frames are waiting */
	struct run run;
	unsigned session; /* last one greeted */
	unsigned mtu;	  /* as told last */
	struct timer ra;
	unsigned ra_news; /* so many more, soon */
	struct timer call;
	struct timer recall;
	unsigned calls; /* since the last change */
	struct rkap dhcp, dhcpv6; /* who can be told to renew */
	bool heard6; /* it has spoken from a global address this session */
	struct flow *touched, **touched_end;
	uint64_t drops[VERDICTS];
	struct icmp_limit limit;
	uint64_t told[4]; /* a bit for each protocol that the log has named */
	struct packet_pool pool;
	struct frame frames[PACKET_BATCH];
	struct frags frags; /* last: most of it is never touched */
};

/* guest_init - plants the watch that the transport is started with */
void guest_init(struct guest *g, struct loop *l, struct flows *flows,
		struct tap *tap, const struct lan *lan, struct seen *seen,
		struct neigh *neigh);

/* guest_protocols - whom packets are given to; before the first frame */
void guest_protocols(struct guest *g, struct tcp *tcp, struct udp *udp,
		     struct echo *echo);

/* guest_turn_end - greet a new guest; ACKs and frames go out */
void guest_turn_end(struct guest *g);

/* guest_advertise - there is news for a router advertisement: one now, and again, as
 * the first may be lost; then the next in its time */
void guest_advertise(struct guest *g);

/* guest_farewell - before that: we were the router of @was, and are another one */
void guest_farewell(struct guest *g, const struct lan *was);

/* guest_renew - the host's interfaces, and what DHCP would answer, may be others now */
void guest_renew(struct guest *g);

/* guest_neighbour - the host learned or lost (@mac NULL) a neighbour */
void guest_neighbour(struct guest *g, const struct addr *addr,
		     const struct mac *mac);

/* guest_save, guest_load - what our successor goes on with, as the body of a section,
 * when its transport is there */
void guest_save(const struct guest *g, struct wr *w);
void guest_load(struct guest *g, struct rd *r);

#endif /* GUEST_H */
