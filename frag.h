/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * frag - fragments of the guest become datagrams again
 *
 * Pure: fragments and the time in, frames out.  Memory is that of FRAG_MAX
 * datagrams, whatever comes; when more are under way the oldest goes.
 */
#ifndef FRAG_H
#define FRAG_H

#include "packet.h"

enum {
	FRAG_MAX = 64, /* datagrams at a time, 4 MiB */
	FRAG_WAIT_MS = 30 * 1000,
	FRAG_SIZE = 1 << 16,
};

/* One that is being put together */
struct frag {
	struct tuple key; /* without ports; of IPv6 without protocol, too */
	uint32_t id;
	bool used;
	bool lent;   /* complete, until frag_release() */
	bool bad;    /* what else comes of it is thrown away */
	bool ended;  /* the last fragment is here: @end is that of the datagram */
	uint8_t ecn; /* a bit for each value that was seen */
	uint32_t got, end; /* bytes: all, and where the farthest ends */
	uint64_t since_ms;
	struct head head; /* of the first fragment */
	struct frame whole;
};

/* What its fragments carry, behind room for the headers of the whole */
struct frag_room {
	uint64_t here[FRAG_SIZE / 8 / 64]; /* a bit for each 8 bytes */
	uint8_t head[ETH_HEAD + IP6_HEAD];
	uint8_t body[FRAG_SIZE];
};

struct frags {
	uint64_t lost; /* datagrams that were never complete */
	unsigned end;  /* those from here on were never used */
	unsigned lent;
	struct frag f[FRAG_MAX];
	struct frag_room room[FRAG_MAX];
};

/* frag_init - nothing is under way */
void frag_init(struct frags *t);

/* frag_add - @p, of which packet_parse() has said DROP_FRAGMENT
 * PASS: it was kept.  If the datagram is complete now, *@whole is a frame to be
 * parsed as any other, ours until frag_release(); else NULL.  Otherwise why it was
 * dropped. */
enum verdict frag_add(struct frags *t, const struct packet *p, uint64_t now_ms,
		      struct frame **whole);

/* frag_release - the frames that were given are done with */
void frag_release(struct frags *t);

#endif /* FRAG_H */
