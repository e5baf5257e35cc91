/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * freeze - flows as sections of a state, and back
 *
 * Between turns of the loop only, when no flow has an inbox.
 */
#ifndef FREEZE_H
#define FREEZE_H

#include "flow.h"
#include "state.h"

/* freeze_flow - append @f; false: there was not enough room, or it is of a kind that
 * can't be.  Nothing has changed: it goes on, until it is forgotten. */
bool freeze_flow(struct flows *t, struct flow *f, struct wr *w);

/* freeze_forget - end @f here, as it goes on elsewhere: its descriptors stay open,
 * are not watched any more, and the caller's; who is at their other ends hears nothing
 * of it */
void freeze_forget(struct flows *t, struct flow *f);

/* thaw_flow - make a flow of what freeze_flow() wrote, the section's @body
 * Its descriptors are @fd, -1 for those that it had not.  NULL: that is none, the
 * table is full or its tuple is taken; then @fd stay with the caller. */
struct flow *thaw_flow(struct flows *t, struct rd *body, const int fd[2]);

/* freeze_addr, thaw_addr - an address among other fields */
static inline void freeze_addr(struct wr *w, const struct addr *a)
{
	wr_bytes(w, a->b, sizeof(a->b));
}

static inline void thaw_addr(struct rd *r, struct addr *a)
{
	rd_copy(r, a->b, sizeof(a->b));
}

/* freeze_due, thaw_due - a time as how long it is until then; 0: never */
static inline void freeze_due(const struct flows *t, struct wr *w,
			      uint64_t due_ms)
{
	uint64_t now = t->loop->now_ms;

	wr_be64(w, !due_ms ? 0 : due_ms > now ? due_ms - now : 1);
}

static inline uint64_t thaw_due(const struct flows *t, struct rd *r)
{
	uint64_t wait = rd_be64(r);

	return wait ? t->loop->now_ms + wait : 0;
}

/* freeze_side, thaw_side - all of it but the descriptor */
void freeze_side(struct wr *w, const struct side *s);
void thaw_side(struct rd *r, struct side *s);

#endif /* FREEZE_H */
