/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * frag - reassembles fragments of the guest to datagrams
 *
 * Pure: fragments and the time in, frames out.  It has memory for FRAG_MAX
 * datagrams, whatever arrives; if more are under way, the oldest is dropped.
 */
#ifndef FRAG_H
#define FRAG_H

#include "packet.h"

enum {
	FRAG_MAX = 64, /* datagrams at a time; 4 MiB */
	FRAG_WAIT_MS = 30 * 1000,
	FRAG_SIZE = 1 << 16,
};

/* A datagram that is being reassembled */
struct frag {
	struct tuple key; /* without ports, and for IPv6 without the protocol */
	uint32_t id;
	bool used;
	bool lent;   /* complete, and lent until frag_release() */
	bool bad;    /* fragments overlapped: all further ones are dropped */
	bool ended;  /* the last fragment has come: @end is the length of the
			datagram */
	uint8_t ecn; /* a bit for each ECN value seen (RFC 3168 5.3) */
	uint32_t got, end; /* bytes received; where the farthest ends */
	uint64_t since_ms;
	struct head head; /* from the first fragment */
	struct frame whole;
};

/* The data of its fragments, behind room for the headers of the whole */
struct frag_room {
	uint64_t here[FRAG_SIZE / 8 / 64]; /* a bit for each 8 bytes that are
					      here */
	uint8_t head[ETH_HEAD + IP6_HEAD];
	uint8_t body[FRAG_SIZE];
};

struct frags {
	uint64_t lost; /* datagrams that were never completed */
	unsigned end;  /* entries from here on are unused */
	unsigned lent;
	struct frag f[FRAG_MAX];
	struct frag_room room[FRAG_MAX];
};

/* frag_init - set up @t, with no datagram under way */
void frag_init(struct frags *t);

/* frag_add - take fragment @p, for which packet_parse() has returned
 * DROP_FRAGMENT
 * Returns PASS if it was kept, otherwise the reason to drop it.  If it
 * completes its datagram, *@whole is a frame to be parsed like any other, valid
 * until frag_release(); else NULL. */
enum verdict frag_add(struct frags *t, const struct packet *p, uint64_t now_ms,
		      struct frame **whole);

/* frag_release - give back the frames that frag_add() returned */
void frag_release(struct frags *t);

#endif /* FRAG_H */
