/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * timer - a hierarchical timing wheel of embedded timers
 *
 * After Varghese and Lauck (1987): 4 levels of 64 slots, a tick of TIMER_TICK
 * milliseconds.  A timer never fires early and at most one tick late.  Moving a
 * deadline later touches nothing: the timer is found in its old slot and filed
 * again.
 */
#ifndef TIMER_H
#define TIMER_H

#include "util.h"

enum { TIMER_TICK = 4, TIMER_BITS = 6, TIMER_SLOTS = 64, TIMER_LEVELS = 4 };

/* More than 1 is for tests that cannot wait: see make check-late */
#ifndef CLOCK_SPEED
#define CLOCK_SPEED 1
#endif

struct timer;
/* Called with the timer already off; it may arm it again or free it. */
typedef void timer_fn(void *owner, struct timer *t);

struct timer {
	struct timer *next, **prev; /* prev is NULL when not filed */
	uint64_t due_ms;	    /* 0: off, though it may still be filed */
	uint64_t filed_ms;	    /* for which deadline it was filed */
	timer_fn *expire;
	void *owner;
};

struct timers {
	uint64_t tick; /* all before this one are done */
	uint64_t look; /* no slot wants attention before this one */
	uint64_t next; /* no timer is due before this one; 0: unknown */
	uint64_t used[TIMER_LEVELS];
	struct timer *slot[TIMER_LEVELS][TIMER_SLOTS];
};

/* timers_init - the wheel starts at @now_ms */
void timers_init(struct timers *w, uint64_t now_ms);

/* timer_init - plant what is called; the timer is off */
void timer_init(struct timer *t, timer_fn *expire, void *owner);

/* timer_set - fire at @due_ms (at least 1), whatever it was set to before */
void timer_set(struct timers *w, struct timer *t, uint64_t due_ms);

/* timer_off - it will not fire; cheap, it may stay filed until its slot */
static inline void timer_off(struct timer *t)
{
	t->due_ms = 0;
}

/* timer_drop - off and out of the wheel: before its memory is given back */
void timer_drop(struct timers *w, struct timer *t);

/* timers_run - call everything due at or before @now_ms */
void timers_run(struct timers *w, uint64_t now_ms);

/* timers_next - when timers_run() has something to look at, UINT64_MAX if never
 * May be earlier than the first deadline, never later. */
uint64_t timers_next(struct timers *w);

#endif /* TIMER_H */
