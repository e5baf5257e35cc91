/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * wheel - any state of timer.c's wheel with TIMERS timers, 1 or 2, and what holds in each
 *
 * The wheel goes by differences, so small times are as good as others: LATE ticks are
 * several times round it.  They are made by masks, not supposed, so that the solver does
 * not see the other bits.
 */
#ifndef WHEEL_H
#define WHEEL_H

#include "prove.h"

#include <timer.c>

enum { LATE = 64 };

static struct timers w;
static struct timer first, second;

/* What fires comes here */
static void expire(void *owner, struct timer *x);

static struct timer *nth(unsigned i)
{
	return i ? &second : &first;
}

/* When a slot wants attention: the first tick of its span, from now on */
static uint64_t when(unsigned level, uint64_t s)
{
	uint64_t pos = (w.tick + TIMER_SLOTS - 1) / TIMER_SLOTS;

	if (!level)
		return w.tick + (s - w.tick) % TIMER_SLOTS;
	return (pos + (s - pos) % TIMER_SLOTS) * TIMER_SLOTS;
}

static bool looks(unsigned level, unsigned s)
{
	return !(w.used[level] >> s & 1) || w.look <= when(level, s);
}

/* What is said of a timer that stands in this slot */
static bool stands(const struct timer *x, unsigned level, unsigned s)
{
	return w.used[level] >> s & 1 &&
	       when(level, s) <= MAX(due_tick(x->filed_ms), w.tick) &&
	       (!x->due_ms || x->due_ms >= x->filed_ms);
}

static uint64_t latest(const struct timer *x)
{
	return MAX(due_tick(x->due_ms), w.tick);
}

static bool bounds(const struct timer *x)
{
	return !x->due_ms || w.next <= latest(x);
}

/* A bound is a time, or that there is none */
static bool bound(uint64_t tick)
{
	return tick < 2 * LATE || tick == UINT64_MAX;
}

static uint64_t any_ms(void)
{
	return any_u64() % (LATE * TIMER_TICK);
}

static uint64_t any_bound(void)
{
	return any_bool() ? UINT64_MAX : any_u64() % (2 * LATE);
}

static void any_state(void)
{
	unsigned i, level;

	w.tick = any_u64() % LATE;
	w.look = any_bound();
	w.next = any_bound();
	ASSUME(w.look >= w.tick);
	ASSUME(!w.next || w.next >= w.look);
	for (level = 0; level < TIMER_LEVELS; level++) {
		w.used[level] = any_u64() % (1 << TIMER_SLOTS);
		ASSUME(looks(level, 0) && looks(level, 1) && looks(level, 2) &&
		       looks(level, 3));
	}
	for (i = 0; i < TIMERS; i++) {
		unsigned s = any_unsigned() % TIMER_SLOTS;

		nth(i)->expire = expire;
		if (any_bool())
			continue;
		nth(i)->filed_ms = any_ms();
		nth(i)->due_ms = any_bool() ? any_ms() : 0;
		level = any_unsigned() % TIMER_LEVELS;
		ASSUME(stands(nth(i), level, s) && bounds(nth(i)));
		nth(i)->next = w.slot[level][s];
		nth(i)->prev = &w.slot[level][s];
		if (nth(i)->next)
			nth(i)->next->prev = &nth(i)->next;
		w.slot[level][s] = nth(i);
	}
}

static void valid(void)
{
	unsigned level = any_unsigned() % TIMER_LEVELS, i, in[TIMERS] = { 0 };
	unsigned s = any_unsigned() % TIMER_SLOTS;
	struct timer *const *at = &w.slot[level][s], *x;

	SHOW(w.look >= w.tick && looks(level, s));
	SHOW(bound(w.look) && bound(w.next));
	SHOW(!w.next || w.next >= w.look);
	for (; (x = *at); at = &x->next) {
		SHOW(x->prev == at);
		SHOW(stands(x, level, s));
		in[x == &second]++;
	}
	for (i = 0; i < TIMERS; i++) {
		SHOW(in[i] <= 1 && (!in[i] || nth(i)->prev));
		SHOW(!nth(i)->due_ms || nth(i)->prev);
		SHOW(bounds(nth(i)));
	}
}

#endif /* WHEEL_H */
