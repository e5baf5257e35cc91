/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * freeze - flows as sections of a state, and back
 *
 * To be called between turns of the loop only, when no flow has an inbox.
 */
#ifndef FREEZE_H
#define FREEZE_H

#include "flow.h"
#include "state.h"

/* freeze_flow - append @f to @w as a section, and leave @f unchanged: it goes
 * on until freeze_forget()
 * Returns false if there is not enough room, or if flows of this kind cannot be
 * handed over. */
bool freeze_flow(struct flows *t, struct flow *f, struct wr *w);

/* freeze_forget - end @f in this process, as it goes on in another one
 * Its descriptors stay open, are no longer watched and belong to the caller;
 * nobody at their other ends notices. */
void freeze_forget(struct flows *t, struct flow *f);

/* thaw_flow - make a flow from @body, a section that freeze_flow() wrote
 * @fd are its descriptors, -1 where it had none.  Returns NULL if the section
 * is not sane, the table is full, or the tuple is taken; then @fd stay the
 * caller's. */
struct flow *thaw_flow(struct flows *t, struct rd *body, const int fd[2]);

/* freeze_addr, thaw_addr - write and read an address */
static inline void freeze_addr(struct wr *w, const struct addr *a)
{
	wr_bytes(w, a->b, sizeof(a->b));
}

static inline void thaw_addr(struct rd *r, struct addr *a)
{
	rd_copy(r, a->b, sizeof(a->b));
}

/* freeze_due, thaw_due - write and read a time, as the milliseconds until then;
 * 0 (never) stays 0 */
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

/* freeze_side, thaw_side - write and read a side without its descriptor */
void freeze_side(struct wr *w, const struct side *s);
void thaw_side(struct rd *r, struct side *s);

#endif /* FREEZE_H */
