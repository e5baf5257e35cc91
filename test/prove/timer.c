/* SPDX-License-Identifier: GPL-2.0-or-later */
/* prove: TIMER_BITS=2 TIMER_SLOTS=4 TIMER_LEVELS=2 --unwind 3 --slice-formula
 *
 * One of two timers is set or dropped, or the wheel asked, from any state: it does not ask
 * for attention later than one is due, nor earlier than it has something to look at; and
 * the state is such a one again.  turn.c has the wheel turned. */
enum { TIMERS = 2 };

#include "wheel.h"

static void expire(void *owner, struct timer *x)
{
	(void)owner, (void)x;
	SHOW(!"there is no turn");
}

static void set(struct timer *x)
{
	uint64_t ms = any_ms();

	timer_set(&w, x, ms);
	SHOW(x->due_ms == MAX(ms, 1));
	valid();
}

static void drop(struct timer *x)
{
	timer_drop(&w, x);
	SHOW(!x->prev && !x->due_ms);
	valid();
}

static void ask(const struct timer *x)
{
	uint64_t ms = timers_next(&w);

	SHOW(ms == UINT64_MAX || ms / TIMER_TICK >= w.look);
	SHOW(!x->due_ms || ms / TIMER_TICK <= latest(x));
	valid();
}

int main(void)
{
	struct timer *x = nth(any_bool());

	any_state();
	switch (any_unsigned() % 3) {
	case 0:
		set(x);
		break;
	case 1:
		drop(x);
		break;
	default:
		ask(x);
	}
	return 0;
}
