/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * timer - a hierarchical timing wheel of embedded timers
 *
 * @tick is the next tick to be processed.  A timer due within 64 ticks is filed
 * in level 0; one due within 64^2 in level 1, in the slot of 64 ticks that
 * covers its deadline, and so on.  When @tick reaches the start of such a slot,
 * its timers are filed again, one level down.  Bitmaps of used slots let the
 * wheel jump over idle time, and two bounds, @look and @next, save searching
 * them in each turn of the loop.
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
	/* Beyond the horizon of the wheel, 18 hours: file it there and again
	 * when that is reached */
	if (left >> (TIMER_BITS * TIMER_LEVELS))
		due = w->tick + (1ULL << (TIMER_BITS * TIMER_LEVELS)) - 1;

	w->next = MIN(w->next, due); /* 0, unknown, stays so */
	w->look = MIN(w->look, due >> (TIMER_BITS * level)
				       << (TIMER_BITS * level));
	s = (due >> (TIMER_BITS * level)) % TIMER_SLOTS;
	t->filed_ms = t->due_ms;
	t->next = w->slot[level][s];
	t->prev = &w->slot[level][s];
	if (t->next)
		t->next->prev = &t->next;
	w->slot[level][s] = t;
	w->used[level] |= 1ULL << s;
}

/* Move the list of a slot to @list, to which its first element then points
 * back */
static void take(struct timers *w, unsigned level, unsigned s,
		 struct timer **list)
{
	*list = w->slot[level][s];
	if (*list)
		(*list)->prev = list;
	w->slot[level][s] = NULL;
	w->used[level] &= ~(1ULL << s);
}

/* The tick at which the next of the slots @bits of @level is due, @w->tick or
 * later.  @bits is not 0. */
static uint64_t slot_tick(const struct timers *w, unsigned level, uint64_t bits)
{
	uint64_t shift = TIMER_BITS * level, pos = w->tick >> shift;
	unsigned from;

	/* Within the span of a slot, that slot was emptied at its start: its
	 * bit stands for the next round */
	if (pos << shift != w->tick)
		pos++;
	from = pos % TIMER_SLOTS;
	if (from)
		bits = bits >> from | bits << (TIMER_SLOTS - from);
	return (pos + (unsigned)__builtin_ctzll(bits)) << shift;
}

static uint64_t next_tick(const struct timers *w)
{
	uint64_t best = UINT64_MAX;
	unsigned level;

	for (level = 0; level < TIMER_LEVELS; level++)
		if (w->used[level])
			best = MIN(best, slot_tick(w, level, w->used[level]));
	return best;
}

void timers_init(struct timers *w, uint64_t now_ms)
{
	*w = (struct timers){ .tick = now_ms / TIMER_TICK + 1,
			      .look = UINT64_MAX };
}

void timer_init(struct timer *t, timer_fn *expire, void *owner)
{
	*t = (struct timer){ .expire = expire, .owner = owner };
}

void timer_set(struct timers *w, struct timer *t, uint64_t due_ms)
{
	t->due_ms = due_ms ? due_ms : 1;
	if (t->prev && t->filed_ms <= t->due_ms) {
		/* It may have been off, or due later, when @next was
		 * computed */
		w->next = MIN(w->next, MAX(due_tick(t->due_ms), w->tick));
		return;
	}
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

/* Trace each timer with its function, for tests */
#if CLOCK_SPEED > 1
#include "log.h"
#define TELL(t) log_trace("Timer at %td", (char *)(t)->expire - (char *)timers_run)
#else
#define TELL(t) (void)0
#endif

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
		TELL(t);
		t->expire(t->owner, t);
	}
}

void timers_run(struct timers *w, uint64_t now_ms)
{
	uint64_t now = now_ms / TIMER_TICK;
	struct timer *list;

	while (w->look <= now) {
		w->tick = w->look;
		cascade(w);
		take(w, 0, w->tick % TIMER_SLOTS, &list);
		/* What is armed from here on is due at the next tick at the
		 * earliest */
		w->tick++;
		fire(w, &list);
		w->look = next_tick(w);
		w->next = 0;
	}
	if (w->tick <= now)
		w->tick = now + 1;
}

/* The tick at which a slot of a coarse level needs us, @tick being the start of
 * its span.  If it has a few timers only, the first deadline among them, so
 * that we sleep until then and do not wake up just to file them again. */
static uint64_t slot_due(const struct timers *w, unsigned level, uint64_t tick)
{
	enum { FEW = 8 };
	unsigned s = (tick >> (TIMER_BITS * level)) % TIMER_SLOTS, n = 0;
	uint64_t due = UINT64_MAX, others = w->used[level] & ~(1ULL << s);
	const struct timer *t = w->slot[level][s];

	for (; t && n < FEW; t = t->next, n++)
		if (t->due_ms)
			due = MIN(due, due_tick(t->due_ms));
	if (t || due == UINT64_MAX)
		return tick;
	/* Later slots of the level may be due before that */
	if (others)
		due = MIN(due, slot_tick(w, level, others));
	return MAX(due, tick);
}

static SELDOM uint64_t next_due(const struct timers *w)
{
	uint64_t best = UINT64_MAX;
	unsigned level;

	for (level = 0; level < TIMER_LEVELS; level++) {
		uint64_t tick;

		if (!w->used[level])
			continue;
		tick = slot_tick(w, level, w->used[level]);
		if (level)
			tick = slot_due(w, level, tick);
		best = MIN(best, tick);
	}
	return best;
}

uint64_t timers_next(struct timers *w)
{
	if (!w->next)
		w->next = next_due(w);
	return w->next == UINT64_MAX ? w->next : w->next * TIMER_TICK;
}
