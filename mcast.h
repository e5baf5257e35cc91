/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * mcast - which groups, and sources of them, the guest wants to hear
 *
 * Pure: reports (IGMPv1 to v3, MLDv1 and v2) and the time in, a table and queries
 * out.  This is a router's side of RFC 3376, 6 and RFC 3810, 7, for one link.
 */
#ifndef MCAST_H
#define MCAST_H

#include "lan.h"
#include "packet.h"

enum {
	MCAST_GROUPS = 64,  /* of each family */
	MCAST_SOURCES = 32, /* of each group */
	MCAST_QUERY_S = 125,
	MCAST_ANSWER_S = 10, /* the guest takes so long to answer */
	MCAST_LAST_S = 1,    /* and so long when somebody has left */
	MCAST_ROBUST = 2,    /* as often is asked */
	MCAST_MEMBER_S = MCAST_ROBUST * MCAST_QUERY_S + MCAST_ANSWER_S,
};

struct mcast_source {
	struct addr addr;
	uint64_t until_ms; /* 0: unwanted, where all others are wanted */
	uint8_t asks;	   /* so often it is yet to be asked for */
	bool named;	   /* in the record that is looked at */
};

struct mcast_group {
	struct addr addr; /* none: the entry is free */
	bool exclude;	  /* all sources are wanted but some, else some */
	uint8_t asks;	  /* as those of sources */
	unsigned n;
	uint32_t version; /* another one after each change */
	uint64_t until_ms; /* with @exclude */
	uint64_t ask_ms;   /* when to ask next, 0: never */
	/* Until then somebody may be there who knows no newer version than IGMPv1,
	 * or than IGMPv2 or MLDv1 */
	uint64_t v1_ms, v2_ms;
	struct mcast_source source[MCAST_SOURCES];
};

struct mcast {
	const struct lan *lan;
	uint64_t general_ms[2]; /* when to ask for all; IPv4, IPv6; 0: never */
	unsigned begun[2];	/* so many times it was asked */
	uint32_t version;
	uint64_t refused; /* groups and sources for which there was no room */
	unsigned used[2]; /* entries that ever were; no other is looked at */
	struct mcast_group group[2 * MCAST_GROUPS]; /* IPv4, IPv6 */
};

/* mcast_used - whether there may be something in an entry: memory is touched when it
 * is needed */
static inline bool mcast_used(const struct mcast *m, unsigned i)
{
	return i % MCAST_GROUPS < m->used[i / MCAST_GROUPS];
}

/* mcast_init - @m is all zero; nobody is asked before mcast_start() */
void mcast_init(struct mcast *m, const struct lan *lan);

/* mcast_start - there is a guest, of which nothing is known; for the families that
 * are @on */
void mcast_start(struct mcast *m, const bool on[2], uint64_t now_ms);

/* mcast_is - whether a packet that nobody else wants belongs here */
bool mcast_is(const struct packet *p);

/* mcast_input - @in is the message from its type byte on, all of it
 * PASS: the table may be different now.  Otherwise why it was dropped. */
enum verdict mcast_input(struct mcast *m, const struct packet *p, struct rd in,
			 uint64_t now_ms);

/* mcast_due - when mcast_next() is to be called; 0: not before a report */
uint64_t mcast_due(const struct mcast *m);

/* mcast_next - forget what nobody wants any more, and ask what there is to ask
 * True: @out is a query, and there may be another one. */
bool mcast_next(struct mcast *m, uint64_t now_ms, struct answer *out);

/* mcast_find - a group that is wanted, NULL */
const struct mcast_group *mcast_find(const struct mcast *m,
				     const struct addr *group);

/* mcast_wants - whether what @source sends to @group is wanted */
bool mcast_wants(const struct mcast *m, const struct addr *group,
		 const struct addr *source);

/* mcast_mac - where a group's packets go on an Ethernet (RFC 1112, RFC 2464) */
struct mac mcast_mac(const struct addr *group);

#endif /* MCAST_H */
