/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * timer - a hierarchical timing wheel of embedded timers
 *
 * After Varghese and Lauck (1987): 4 levels of 64 slots, with a tick of
 * TIMER_TICK milliseconds.  A timer never fires early, and at most one tick
 * late.  Moving a deadline later touches nothing: the timer is found in its old
 * slot and filed again.
 */
#ifndef TIMER_H
#define TIMER_H

#include "util.h"

enum { TIMER_TICK = 4, TIMER_BITS = 6, TIMER_SLOTS = 64, TIMER_LEVELS = 4 };

/* How fast loop time runs.  More than 1 is for tests that cannot wait: see make
 * check-late */
#ifndef CLOCK_SPEED
#define CLOCK_SPEED 1
#endif

struct timer;
/* What a timer calls.  The timer is off then, and may be set again or freed. */
typedef void timer_fn(void *owner, struct timer *t);

struct timer {
	struct timer *next, **prev; /* prev is NULL when not filed */
	uint64_t due_ms;	    /* 0: off, though it may still be filed */
	uint64_t filed_ms;	    /* the deadline that it was filed for */
	timer_fn *expire;
	void *owner;
};

struct timers {
	uint64_t tick; /* ticks before this one are done */
	uint64_t look; /* no slot has to be looked at before this tick */
	uint64_t next; /* no timer is due before this tick; 0: unknown */
	uint64_t used[TIMER_LEVELS];
	struct timer *slot[TIMER_LEVELS][TIMER_SLOTS];
};

/* timers_init - set up the wheel, to start at @now_ms */
void timers_init(struct timers *w, uint64_t now_ms);

/* timer_init - set up a timer, which is off, to call @expire with @owner */
void timer_init(struct timer *t, timer_fn *expire, void *owner);

/* timer_set - have @t fire at @due_ms, instead of any time set before; 0 counts
 * as 1 */
void timer_set(struct timers *w, struct timer *t, uint64_t due_ms);

/* timer_off - stop @t: it will not fire; cheap, as it may stay filed */
static inline void timer_off(struct timer *t)
{
	t->due_ms = 0;
}

/* timer_drop - stop @t and take it out of the wheel: required before its memory
 * is given back */
void timer_drop(struct timers *w, struct timer *t);

/* timers_run - fire all timers that are due at or before @now_ms */
void timers_run(struct timers *w, uint64_t now_ms);

/* timers_next - the time in ms when timers_run() has something to do next,
 * UINT64_MAX if never
 * It may be earlier than the first deadline, but never later. */
uint64_t timers_next(struct timers *w);

#endif /* TIMER_H */
