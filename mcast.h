/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * mcast - which multicast groups, and which sources of them, the guest wants to
 * hear
 *
 * Pure: reports (IGMPv1 to v3, MLDv1 and v2) and the time in, a table and
 * queries out.  This is the router's part of RFC 3376, 6 and RFC 3810, 7, for
 * one link.
 */
#ifndef MCAST_H
#define MCAST_H

#include "lan.h"
#include "packet.h"

enum {
	MCAST_GROUPS = 64,  /* most groups of each family */
	MCAST_SOURCES = 32, /* most sources of each group */
	MCAST_QUERY_S = 125,
	MCAST_ANSWER_S = 10, /* time that the guest has to answer a general
				query */
	MCAST_LAST_S = 1,    /* and a query after somebody has left */
	MCAST_ROBUST = 2,    /* robustness variable: how often a query is
				sent */
	MCAST_MEMBER_S = MCAST_ROBUST * MCAST_QUERY_S + MCAST_ANSWER_S,
};

struct mcast_source {
	struct addr addr;
	uint64_t until_ms; /* 0: the source is excluded, where others are
			      wanted */
	uint8_t asks;	   /* queries for it that are still to be sent */
	bool named;	   /* named by the record being processed */
};

struct mcast_group {
	struct addr addr; /* none: the entry is unused */
	bool exclude;	  /* filter mode: all sources are wanted except some;
			     else only some */
	uint8_t asks;	  /* queries for the group that are still to be sent */
	unsigned n;
	uint32_t version; /* changes with each change of the group */
	uint64_t until_ms; /* end of @exclude mode */
	uint64_t ask_ms;   /* time of the next query, 0: never */
	/* Until these times there may be a member that knows no newer version
	 * than IGMPv1, or than IGMPv2 or MLDv1 */
	uint64_t v1_ms, v2_ms;
	struct mcast_source source[MCAST_SOURCES];
};

struct mcast {
	const struct lan *lan;
	uint64_t general_ms[2]; /* time of the next general query, for IPv4 and
				   IPv6; 0: never */
	unsigned begun[2];	/* general queries sent */
	uint32_t version;
	uint64_t refused; /* groups and sources that there was no room for */
	unsigned used[2]; /* entries ever used, by family; no other is looked
			     at */
	struct mcast_group group[2 * MCAST_GROUPS]; /* IPv4's, then IPv6's */
};

/* mcast_used - whether entry @i may be in use; others are not touched, as that
 * would take memory */
static inline bool mcast_used(const struct mcast *m, unsigned i)
{
	return i % MCAST_GROUPS < m->used[i / MCAST_GROUPS];
}

/* mcast_init - set up @m, which is all zero; nothing is asked before
 * mcast_start() */
void mcast_init(struct mcast *m, const struct lan *lan);

/* mcast_start - there is a guest of which nothing is known: begin to ask it,
 * for the families that are @on */
void mcast_start(struct mcast *m, const bool on[2], uint64_t now_ms);

/* mcast_is - whether packet @p is for mcast_input() */
bool mcast_is(const struct packet *p);

/* mcast_input - process a report; @in is the whole message from its type byte
 * on
 * Returns PASS, after which the table may have changed, or the reason to drop
 * it. */
enum verdict mcast_input(struct mcast *m, const struct packet *p, struct rd in,
			 uint64_t now_ms);

/* mcast_due - when mcast_next() is to be called; 0: not before the next
 * report */
uint64_t mcast_due(const struct mcast *m);

/* mcast_next - forget memberships that have expired, and make the next query
 * that is due
 * Returns true if @out is a query to be sent; then call again, as there may be
 * more. */
bool mcast_next(struct mcast *m, uint64_t now_ms, struct answer *out);

/* mcast_find - the entry of @group, NULL if the guest does not want it */
const struct mcast_group *mcast_find(const struct mcast *m,
				     const struct addr *group);

/* mcast_wants - whether the guest wants what @source sends to @group */
bool mcast_wants(const struct mcast *m, const struct addr *group,
		 const struct addr *source);

/* mcast_mac - the MAC address of a group on Ethernet (RFC 1112, RFC 2464) */
struct mac mcast_mac(const struct addr *group);

#endif /* MCAST_H */
