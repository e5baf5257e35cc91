/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * timer - a hierarchical timing wheel of embedded timers
 *
 * @tick is the next tick to be done.  A timer due within 64 ticks stands in
 * level 0; one due within 64^2 in level 1, in the slot of 64 ticks that holds
 * its deadline, and so on.  When @tick reaches the start of such a slot, its
 * timers are filed again, one level down.  Bitmaps of used slots let the wheel
 * jump over idle time.
 */
#include "timer.h"

static uint64_t due_tick(uint64_t ms)
{
	return (ms + TIMER_TICK - 1) / TIMER_TICK;
}

static void unfile(struct timer *t)
{
	if (!t->prev)
		return;
	*t->prev = t->next;
	if (t->next)
		t->next->prev = t->prev;
	t->prev = NULL;
}

static void file(struct timers *w, struct timer *t)
{
	uint64_t due = MAX(due_tick(t->due_ms), w->tick), left = due - w->tick;
	unsigned level = 0, s;

	while (level < TIMER_LEVELS - 1 &&
	       left >> (TIMER_BITS * (level + 1)))
		level++;
	/* Beyond the horizon of 18 hours: look again when it is reached */
	if (left >> (TIMER_BITS * TIMER_LEVELS))
		due = w->tick + (1ULL << (TIMER_BITS * TIMER_LEVELS)) - 1;

	s = (due >> (TIMER_BITS * level)) % TIMER_SLOTS;
	t->filed_ms = t->due_ms;
	t->next = w->slot[level][s];
	t->prev = &w->slot[level][s];
	if (t->next)
		t->next->prev = &t->next;
	w->slot[level][s] = t;
	w->used[level] |= 1ULL << s;
}

/* Take the list of a slot; its first element then points back to @list */
static void take(struct timers *w, unsigned level, unsigned s,
		 struct timer **list)
{
	*list = w->slot[level][s];
	if (*list)
		(*list)->prev = list;
	w->slot[level][s] = NULL;
	w->used[level] &= ~(1ULL << s);
}

/* The next tick at or after @w->tick at which a slot wants attention */
static uint64_t next_tick(const struct timers *w)
{
	uint64_t best = UINT64_MAX;
	unsigned level;

	for (level = 0; level < TIMER_LEVELS; level++) {
		unsigned shift = TIMER_BITS * level, from;
		uint64_t pos = w->tick >> shift, bits = w->used[level];

		if (!bits)
			continue;
		/* Inside a slot's span that slot was taken: it is the last */
		if (pos << shift != w->tick)
			pos++;
		from = pos % TIMER_SLOTS;
		if (from)
			bits = bits >> from | bits << (TIMER_SLOTS - from);
		pos += (unsigned)__builtin_ctzll(bits);
		best = MIN(best, pos << shift);
	}
	return best;
}

void timers_init(struct timers *w, uint64_t now_ms)
{
	*w = (struct timers){ .tick = now_ms / TIMER_TICK + 1 };
}

void timer_init(struct timer *t, timer_fn *expire, void *owner)
{
	*t = (struct timer){ .expire = expire, .owner = owner };
}

void timer_set(struct timers *w, struct timer *t, uint64_t due_ms)
{
	t->due_ms = due_ms ? due_ms : 1;
	if (t->prev && t->filed_ms <= t->due_ms)
		return;
	unfile(t);
	file(w, t);
}

void timer_drop(struct timers *w, struct timer *t)
{
	(void)w;
	t->due_ms = 0;
	unfile(t);
}

static void cascade(struct timers *w)
{
	struct timer *list, *t;
	unsigned level;

	for (level = TIMER_LEVELS - 1; level; level--) {
		unsigned shift = TIMER_BITS * level;

		if (w->tick & ((1ULL << shift) - 1))
			continue;
		take(w, level, (w->tick >> shift) % TIMER_SLOTS, &list);
		while ((t = list)) {
			unfile(t);
			if (t->due_ms)
				file(w, t);
		}
	}
}

static void fire(struct timers *w, struct timer **list)
{
	struct timer *t;

	while ((t = *list)) {
		unfile(t);
		if (!t->due_ms)
			continue;
		if (due_tick(t->due_ms) >= w->tick) {
			file(w, t);
			continue;
		}
		t->due_ms = 0;
		t->expire(t->owner, t);
	}
}

void timers_run(struct timers *w, uint64_t now_ms)
{
	uint64_t now = now_ms / TIMER_TICK, next;
	struct timer *list;

	while ((next = next_tick(w)) <= now) {
		w->tick = next;
		cascade(w);
		take(w, 0, next % TIMER_SLOTS, &list);
		/* What is armed from here on waits for the next tick */
		w->tick = next + 1;
		fire(w, &list);
	}
	if (w->tick <= now)
		w->tick = now + 1;
}

uint64_t timers_next(const struct timers *w)
{
	uint64_t next = next_tick(w);

	return next == UINT64_MAX ? next : next * TIMER_TICK;
}
