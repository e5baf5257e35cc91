/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * state - what a process knows, as bytes for its successor
 *
 * A header with a version, then sections: a tag, a length, and a body, which
 * may contain sections.  All numbers are in network order.  A reader skips
 * sections it does not know, and whatever follows the part of a body that it
 * knows; so a newer writer only adds.  It takes what is missing at the end of a
 * body for zero; so a newer reader understands an older writer.  Where that is
 * not enough, the header says which version a reader must know at least.
 */
#ifndef STATE_H
#define STATE_H

#include "cursor.h"

enum {
	STATE_VERSION = 1,
	STATE_FIRST = 0xb1, /* first byte of a state */
	STATE_HEAD = 16,
	STATE_SECTION = 8,
};

/* Part of the format: a number is never reused for something else */
enum state_tag {
	STATE_END, /* the last section: without it the state is truncated */
	STATE_FLOW, /* freeze.h */
	STATE_TCP,  /* tcp_freeze.h: what all connections share */
	/* handover.h */
	STATE_LAN = 16,
	STATE_LINK,
	STATE_SOCKETS,
	STATE_RULES,
	STATE_LISTENERS,
	STATE_KEY,
	STATE_DESCRIPTORS, /* of the flow in the next section */
	STATE_GUEST,
	STATE_RINGS,
	STATE_CAPTURE,
	STATE_NAMES,
	STATE_RESOLVERS,
	STATE_TOLD, /* of the flow in the last section */
	STATE_TRANSFERS,
	/* takeover.h: the messages of the dialogue */
	STATE_OFFER = 32,
	STATE_REFUSAL,
	STATE_TAKE,
	STATE_COMMIT,
	STATE_GONE,
	STATE_STORED, /* fdstore.h: the last section of a stored file */
};

/* state_head - write the header */
void state_head(struct wr *w);

/* state_check - read the header: 0; -EPROTO if this is no state; -ENOTSUP if it
 * requires a version that we do not know */
int state_check(struct rd *r);

/* state_begin - begin a section; its result must be passed to state_end()
 * state_end - end the section, filling in its length */
size_t state_begin(struct wr *w, enum state_tag tag);
void state_end(struct wr *w, size_t begun);

/* state_next - read the next section: *@tag, and a reader over its @body
 * Returns false at the end, or if the section is incomplete; in the latter case
 * rd_ok(@r) is false. */
bool state_next(struct rd *r, uint32_t *tag, struct rd *body);

#endif /* STATE_H */
