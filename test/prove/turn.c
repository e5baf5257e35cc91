/* SPDX-License-Identifier: GPL-2.0-or-later */
/* prove: timer: TIMER_BITS=2 TIMER_SLOTS=4 TIMER_LEVELS=2 --unwind 3 --slice-formula
 *
 * The wheel is turned to the next slot that wants it, or not so far, from any state with
 * a timer, which may set or drop itself when it fires: not early, nor later than the tick
 * for which it was or could be filed; and the state is such a one again.  As the wheel
 * stops at each such slot, the same goes for any number of them. */
enum { TIMERS = 1 };

#include "wheel.h"

static uint64_t was, began, now_ms;
static bool fired, touched;

static void expire(void *owner, struct timer *x)
{
	(void)owner;
	SHOW(x == &first && !x->prev && !x->due_ms);
	SHOW(was && was <= now_ms && !fired);
	fired = true;
	touched = any_bool();
	if (touched && any_bool())
		timer_set(&w, x, any_ms());
	else if (touched)
		timer_drop(&w, x);
}

int main(void)
{
	uint64_t now;

	any_state();
	was = first.due_ms;
	began = w.tick;
	now_ms = any_ms();
	now = now_ms / TIMER_TICK;
	ASSUME(now <= w.look);
	timers_run(&w, now_ms);
	SHOW(w.tick > now && w.look > now);
	SHOW(fired == (was && MAX(due_tick(was), began) <= now));
	SHOW(touched || first.due_ms == (fired ? 0 : was));
	valid();
	return 0;
}
