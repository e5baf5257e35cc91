/* SPDX-License-Identifier: GPL-2.0-or-later */
/* unit: */
#include "timer.h"

#include <stdarg.h>
#include <setjmp.h>
#include <stdlib.h>
#include <cmocka.h>

enum { N = 500 };

struct probe {
	struct timer t;
	uint64_t set_to; /* the plain twin: what it must fire for */
	unsigned fired;
};

static uint64_t now;
static struct probe probe[N];

static void fired(void *owner, struct timer *t)
{
	struct probe *p = container_of(t, struct probe, t);

	assert_ptr_equal(owner, probe);
	assert_true(p->set_to);
	assert_true(now >= p->set_to);
	p->fired++;
	p->set_to = 0;
}

static void reset(struct timers *w, uint64_t start)
{
	unsigned i;

	now = start;
	timers_init(w, now);
	memset(probe, 0, sizeof(probe));
	for (i = 0; i < N; i++)
		timer_init(&probe[i].t, fired, probe);
}

/* None early, none more than a tick late, none lost, none twice */
static void against_twin(void **state)
{
	struct timers w;
	unsigned round, i;

	(void)state;
	srand(1);
	reset(&w, 123456789);
	for (round = 0; round < 20000; round++) {
		struct probe *p = &probe[rand() % N];
		static const unsigned span[] = { 3, 300, 20000, 3000000,
						 200000000 };

		switch (rand() % 4) {
		case 0:
			timer_off(&p->t);
			p->set_to = 0;
			break;
		case 1:
			timer_drop(&w, &p->t);
			p->set_to = 0;
			break;
		default:
			p->set_to = now + (unsigned)rand() %
						  span[rand() % 5];
			timer_set(&w, &p->t, p->set_to);
		}
		now += (unsigned)rand() % (rand() % 50 ? 10 : 100000);
		timers_run(&w, now);
		for (i = 0; i < N; i++)
			assert_true(!probe[i].set_to ||
				    probe[i].set_to + TIMER_TICK > now);
	}
}

static void next_is_never_late(void **state)
{
	struct timers w;
	unsigned i;

	(void)state;
	for (i = 0; i < 2000; i++) {
		uint64_t due, steps = 0;

		reset(&w, (uint64_t)rand() * 7);
		due = now + (unsigned)rand() % 100000000;
		probe[0].set_to = due;
		timer_set(&w, &probe[0].t, due);
		while (!probe[0].fired) {
			uint64_t next = timers_next(&w);

			assert_true(next < due + TIMER_TICK);
			now = MAX(now, next);
			timers_run(&w, now);
			assert_true(++steps < 4); /* one for most, not one a level */
		}
		assert_true(timers_next(&w) == UINT64_MAX);
	}
}

/* A deadline that comes back from a later one, or from none, is in time, too: the
 * timer may still be filed for an earlier one */
static void sooner_again(void **state)
{
	struct timers w;
	unsigned round, i;

	(void)state;
	srand(1);
	reset(&w, 123456789);
	for (round = 0; round < 20000; round++) {
		struct probe *p = &probe[rand() % 4];
		uint64_t next;

		p->set_to = rand() % 3 ? now + (unsigned)rand() %
						 (rand() % 2 ? 30000 : 10) : 0;
		if (p->set_to)
			timer_set(&w, &p->t, p->set_to);
		else
			timer_off(&p->t);
		next = timers_next(&w);
		/* Nobody is waked for nothing again and again */
		assert_true(next > now);
		for (i = 0; i < 4; i++)
			assert_true(!probe[i].set_to ||
				    next <= probe[i].set_to + TIMER_TICK);
		now += (unsigned)rand() % (rand() % 50 ? 10 : 1000);
		timers_run(&w, now);
	}
}

static void later_touches_nothing(void **state)
{
	struct timers w, before;

	(void)state;
	reset(&w, 1000);
	timer_set(&w, &probe[0].t, 2000);
	before = w;
	timer_set(&w, &probe[0].t, 5000);
	assert_memory_equal(&w, &before, sizeof(w));
	probe[0].set_to = 5000;
	for (now = 1000; now < 6000; now++)
		timers_run(&w, now);
	assert_int_equal(probe[0].fired, 1);
}

static void rearm(void *owner, struct timer *t)
{
	struct timers *w = owner;
	struct probe *p = container_of(t, struct probe, t);

	if (++p->fired < 5)
		timer_set(w, t, 1); /* long ago: not again in the same run */
}

static void arms_itself(void **state)
{
	struct timers w;

	(void)state;
	reset(&w, 1000);
	timer_init(&probe[0].t, rearm, &w);
	timer_set(&w, &probe[0].t, 1004);
	timers_run(&w, 1010);
	assert_in_range(probe[0].fired, 1, 2);
	timers_run(&w, 1100);
	assert_int_equal(probe[0].fired, 5);
}

static void drop_other(void *owner, struct timer *t)
{
	unsigned i;

	for (i = 0; i < 3; i++)
		if (&probe[i].t != t)
			timer_drop(owner, &probe[i].t);
	probe[0].fired++;
}

/* A connection that ends takes its neighbours' timers out of the same slot */
static void drops_neighbour(void **state)
{
	struct timers w;
	unsigned i;

	(void)state;
	reset(&w, 1000);
	for (i = 0; i < 3; i++) {
		timer_init(&probe[i].t, drop_other, &w);
		timer_set(&w, &probe[i].t, 1040);
	}
	timers_run(&w, 2000);
	assert_int_equal(probe[0].fired, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(against_twin),
		cmocka_unit_test(next_is_never_late),
		cmocka_unit_test(sooner_again),
		cmocka_unit_test(later_touches_nothing),
		cmocka_unit_test(arms_itself),
		cmocka_unit_test(drops_neighbour),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
