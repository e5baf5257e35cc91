/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * guest - takes bursts of frames from the guest, answers them or hands them to
 * their flows
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
	unsigned watch;	  /* the watch for events of the transport */
	struct runq queue; /* has @run, and nothing else, while frames wait */
	struct run run;
	unsigned session; /* the last session of the transport that was
			     greeted */
	unsigned mtu;	  /* the MTU that the guest was told last */
	struct timer ra;
	unsigned ra_news; /* router advertisements that are still to be sent at
			     a short interval */
	struct timer call;
	struct timer recall;
	unsigned calls; /* calls since the last change, see call_clients() */
	struct rkap dhcp, dhcpv6; /* the last clients that can be told to
				     renew */
	bool heard6; /* it has sent from a global IPv6 address in this
			session */
	struct flow *touched, **touched_end;
	uint64_t drops[VERDICTS];
	struct icmp_limit limit;
	uint64_t told[4]; /* a bit for each IP protocol that was logged as not
			     carried */
	struct packet_pool pool;
	struct frame frames[PACKET_BATCH];
	struct frags frags; /* last, as most of it is never touched */
};

/* guest_init - set up @g and plant the watch that the transport is started
 * with; all pointers stay the caller's */
void guest_init(struct guest *g, struct loop *l, struct flows *flows,
		struct tap *tap, const struct lan *lan, struct seen *seen,
		struct neigh *neigh);

/* guest_protocols - set the modules that get packets; before the first frame */
void guest_protocols(struct guest *g, struct tcp *tcp, struct udp *udp,
		     struct echo *echo);

/* guest_turn_end - at the end of a turn: greet a new guest, send ACKs that are
 * due, flush the transport, and serve flows again if the guest has room */
void guest_turn_end(struct guest *g);

/* guest_advertise - the contents of router advertisements have changed: send
 * one now, some more soon, as the first may be lost, and then the next one in
 * its time */
void guest_advertise(struct guest *g);

/* guest_farewell - before guest_advertise(), if our own address is another one:
 * end the role of @was as a router */
void guest_farewell(struct guest *g, const struct lan *was);

/* guest_renew - the host's interfaces may have changed, and what DHCP would
 * answer: renew groups, and tell clients that can be told */
void guest_renew(struct guest *g);

/* guest_neighbour - the host has learnt the MAC address @mac of neighbour
 * @addr, as the guest sees that, or has lost it (@mac NULL) */
void guest_neighbour(struct guest *g, const struct addr *addr,
		     const struct mac *mac);

/* guest_save, guest_load - write and read the body of the section with what a
 * successor needs; the latter once the transport is there */
void guest_save(const struct guest *g, struct wr *w);
void guest_load(struct guest *g, struct rd *r);

#endif /* GUEST_H */
