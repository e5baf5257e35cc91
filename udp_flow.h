/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * udp_flow - datagram flows to and from the guest; internal to udp*.c
 */
#ifndef UDP_FLOW_H
#define UDP_FLOW_H

#include "udp.h"

#include <assert.h>

enum { UDP_WANT_MAX = 65527 }; /* the most that an IPv6 packet holds without the
				  jumbo option */

struct dgrams {
	struct mac mac;	  /* source MAC address of frames to the guest */
	struct sock_ip ip; /* TTL, type of service and DF as set on the
			      socket */
	uint8_t host;	  /* index of the host's side */
	uint8_t count[2]; /* datagrams that each side has sent, counted up to
			     2 */
	uint8_t last;	  /* datagrams that the last read gave, or fewer: see
			     received() */
	bool connected;	  /* the socket is connected */
	bool group;	  /* it sends to a group or a broadcast address */
	bool asked;	  /* SO_BROADCAST was set after a first refusal */
	bool gro, no_gso;
	bool hears_tos;
	uint16_t recent;  /* datagrams since @recent_ms while not connected */
	uint32_t recent_ms;
	unsigned fresh;	  /* so many datagrams may have arrived before
			     connect(), from others */
	uint16_t want;	  /* bytes of room to reserve for one datagram, or
			     run */
	uint16_t size;	  /* size of each datagram of the last batch, 0: they
			     differed */
	bool dns;	  /* the host's side is a resolver */
	bool heard;	  /* its answers may be read for names, see
			     fwd_may_hear() */
	bool elsewhere;	  /* that resolver has failed, and another one is asked
			     now */
	uint64_t dns_due; /* loop time until which an answer is expected, 0: no
			     question is open */
	uint64_t bytes[2]; /* payload bytes that each side has sent */
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

/* udp_flow_drop - count @n datagrams as lost because of @v */
void udp_flow_drop(struct udp *u, enum verdict v, unsigned n);

/* udp_flow_open_in - open a flow, to the guest or spliced, for a datagram of a
 * peer that has none, by the listener's rule @r; @from is the side where it
 * arrived
 * Returns NULL and the reason in *@v if it is to be dropped. */
struct flow *udp_flow_open_in(struct udp *u, const struct rule *r,
			      const struct side *from, enum verdict *v);

/* udp_flow_find - the flow between @key's port of ours and its peer; *@i is the
 * index of its side; NULL: none
 * Our address is looked up as given and then, with @key changed, as any:
 * sockets may be bound either way. */
struct flow *udp_flow_find(const struct udp *u, struct side *key, unsigned *i);

/* udp_flow_active - note that side @i has sent @n more datagrams: the flow's
 * timer is restarted, and the socket is connected if they are many */
void udp_flow_active(struct udp *u, struct flow *f, unsigned i, unsigned n);

/* udp_flow_others - note that @n datagrams have come from somebody else than
 * the peer: if they are many the socket is connected */
void udp_flow_others(struct udp *u, struct flow *f, unsigned n);

/* udp_flow_errors - take the socket's errors and report them to the guest by
 * ICMP
 * Returns an MTU if the socket has refused a datagram as longer than that,
 * which the guest has yet to be told; else 0. */
uint32_t udp_flow_errors(struct udp *u, struct flow *f);

/* udp_flow_hear_tos - receive the type of service with each datagram, to mark
 * what the guest gets
 * This takes a system call for each flow, so flows begun by the guest have it
 * only once the guest marks what it sends. */
void udp_flow_hear_tos(struct flow *f);

/* udp_flow_dns_failed - the resolver that @f asks has failed: it is @silent, or
 * has refused; new flows then go to another one */
void udp_flow_dns_failed(struct udp *u, struct flow *f, bool silent);

/* udp_flow_end - close the socket and free the flow */
void udp_flow_end(struct udp *u, struct flow *f);

#endif /* UDP_FLOW_H */
