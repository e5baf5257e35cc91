/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * udp_flow - flows of datagrams to and from the guest; internal to udp*.c
 */
#ifndef UDP_FLOW_H
#define UDP_FLOW_H

#include "udp.h"

#include <assert.h>

enum { UDP_WANT_MAX = 65527 }; /* an IPv6 packet without jumbo option */

struct dgrams {
	struct mac mac;	  /* whom the guest takes its peer for */
	struct sock_ip ip; /* of the socket now */
	uint8_t host;	  /* which side is the host's */
	uint8_t count[2]; /* datagrams that each side sent, up to 2 */
	uint8_t last;	  /* how many the last read gave */
	bool connected;	  /* the socket */
	bool group;	  /* it sends to many */
	bool asked;	  /* whether it may, and it did not help */
	bool gro, no_gso;
	bool hears_tos;
	uint16_t recent;  /* datagrams since @recent_ms, if not connected */
	uint32_t recent_ms;
	unsigned fresh;	  /* so many may have come before connect() */
	uint16_t want;	  /* room for one datagram, or run */
	uint16_t size;	  /* of each in the last batch, 0: they differed */
	bool dns;	  /* the host's side is a resolver */
	bool heard;	  /* what it says may be, see fwd_may_hear() */
	bool elsewhere;	  /* which is silent, and there is another one */
	uint64_t dns_due; /* when to give up waiting for it, 0: not waiting */
	uint64_t bytes[2]; /* that each side has sent */
};
static_assert(sizeof(struct dgrams) <= FLOW_PRIV, "private data of a flow");

static inline struct dgrams *dgrams_of(struct flow *f)
{
	return (struct dgrams *)(void *)f->priv;
}

static inline struct side *host_of(struct flow *f)
{
	return &f->side[dgrams_of(f)->host];
}

static inline struct side *guest_of(struct flow *f)
{
	return &f->side[!dgrams_of(f)->host];
}

/* udp_flow_drop - @n datagrams were lost */
void udp_flow_drop(struct udp *u, enum verdict v, unsigned n);

/* udp_flow_open_in - where a datagram @from a peer of the host that has no flow
 * belongs, by the listener's rule @r; NULL and *@v: why nowhere */
struct flow *udp_flow_open_in(struct udp *u, const struct rule *r,
			      const struct side *from, enum verdict *v);

/* udp_flow_find - the flow of what is between @key's port of ours and its peer,
 * NULL.  Ours is an address of the host, or any: so are the sockets bound. */
struct flow *udp_flow_find(const struct udp *u, struct side *key, unsigned *i);

/* udp_flow_active - side @i has sent @n more: the flow lives on, and many of them
 * have its socket connected */
void udp_flow_active(struct udp *u, struct flow *f, unsigned i, unsigned n);

/* udp_flow_others - @n have come from somebody else: they may be too many */
void udp_flow_others(struct udp *u, struct flow *f, unsigned n);

/* udp_flow_errors - the guest is told what the socket has to report
 * Returns the MTU that a datagram was too long for which the socket has refused,
 * 0: none was.  Of that the guest has yet to be told. */
uint32_t udp_flow_errors(struct udp *u, struct flow *f);

/* udp_flow_hear_tos - what the host's side marks is marked for the guest
 * Costs a call for each flow: those of the guest's own questions wait until it
 * marks what it sends. */
void udp_flow_hear_tos(struct flow *f);

/* udp_flow_dns_failed - if it asks a resolver: what is asked next opens a flow to
 * another one */
void udp_flow_dns_failed(struct udp *u, struct flow *f, bool silent);

/* udp_flow_end - close its socket and free it */
void udp_flow_end(struct udp *u, struct flow *f);

#endif /* UDP_FLOW_H */
