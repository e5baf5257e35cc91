/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * state - what a process knows, as bytes for its successor
 *
 * A head with a version, then sections: a tag, a length, a body, which may have
 * sections in it.  All numbers are in network order.  A reader skips sections that
 * it does not know and what follows the part of a body that it knows, so a newer
 * writer only adds; and takes what is missing at the end of a body for zero, so a
 * newer reader understands an older one.  Where that is not enough, the head says
 * which version must be known at least.
 */
#ifndef STATE_H
#define STATE_H

#include "cursor.h"

enum {
	STATE_VERSION = 1,
	STATE_FIRST = 0xb1, /* byte of all */
	STATE_HEAD = 16,
	STATE_SECTION = 8,
};

/* Part of the format: never used again for something else */
enum state_tag {
	STATE_END, /* nothing is behind; without one it was cut off */
	STATE_FLOW, /* freeze.h */
	STATE_TCP,  /* tcp_freeze.h: what all connections share */
	/* handover.h */
	STATE_LAN = 16,
	STATE_LINK,
	STATE_SOCKETS,
	STATE_RULES,
	STATE_LISTENERS,
	STATE_KEY,
	STATE_DESCRIPTORS, /* of the flow that comes next */
	STATE_GUEST,
	STATE_RINGS,
	STATE_CAPTURE,
	STATE_NAMES,
	STATE_RESOLVERS,
	STATE_TOLD, /* of the flow that came last */
	/* takeover.h: what the two say to each other */
	STATE_OFFER = 32,
	STATE_REFUSAL,
	STATE_TAKE,
	STATE_COMMIT,
	STATE_GONE,
	STATE_STORED, /* fdstore.h: at the end of a file */
};

/* state_head - begin with it */
void state_head(struct wr *w);

/* state_check - read it: 0, -EPROTO: this is no state, -ENOTSUP: of a version that
 * we do not know */
int state_check(struct rd *r);

/* state_begin - begin a section; what it returns goes to state_end() */
size_t state_begin(struct wr *w, enum state_tag tag);
void state_end(struct wr *w, size_t begun);

/* state_next - the next section; false: there is none, or (then rd_ok(@r) is false)
 * not all of it is there */
bool state_next(struct rd *r, uint32_t *tag, struct rd *body);

#endif /* STATE_H */
