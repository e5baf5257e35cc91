/* SPDX-License-Identifier: GPL-2.0-or-later */
/* unit: timer log util */
/* A loop that fails on demand */
#include "acceptor.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

static struct loop loop;
static struct acceptor a;
static uint32_t watched;
static int fails;

unsigned loop_watch(struct loop *l, watch_fn *fn, void *owner)
{
	(void)l, (void)fn, (void)owner;
	return 0;
}

int loop_add(struct loop *l, int fd, unsigned watch, uint64_t ref,
	     uint32_t events)
{
	(void)l, (void)fd, (void)watch, (void)ref;
	watched = events;
	return 0;
}

int loop_mod(struct loop *l, int fd, unsigned watch, uint64_t ref,
	     uint32_t events)
{
	if (fails)
		return fails;
	return loop_add(l, fd, watch, ref, events);
}

bool loop_lend(struct loop *l)
{
	(void)l;
	return false;
}

void loop_regain(struct loop *l)
{
	(void)l;
}

/* accept4() fails with this, 0: a client is there */
static int accept_error;

int accept4(int fd, struct sockaddr *addr, socklen_t *len, int flags)
{
	(void)fd, (void)addr, (void)len, (void)flags;
	errno = accept_error;
	return accept_error ? -1 : 99;
}

static void nothing(void *owner, uint64_t ref, uint32_t events)
{
	(void)owner, (void)ref, (void)events;
}

static int begin(void **state)
{
	(void)state;
	loop = (struct loop){ .now_ms = 1000 };
	timers_init(&loop.timers, loop.now_ms);
	fails = accept_error = 0;
	assert_int_equal(acceptor_start(&a, &loop, 3, nothing, NULL), 0);
	return 0;
}

static void pass(unsigned ms)
{
	loop.now_ms += ms;
	timers_run(&loop.timers, loop.now_ms);
}

static void test_hold(void **state)
{
	(void)state;
	assert_int_equal(watched, EPOLLIN);
	acceptor_hold(&a, true);
	assert_int_equal(watched, 0);
	acceptor_hold(&a, false);
	assert_int_equal(watched, EPOLLIN);
}

/* Whoever waits would wait for ever */
static void test_released_in_vain(void **state)
{
	(void)state;
	acceptor_hold(&a, true);
	fails = -ENOMEM;
	acceptor_hold(&a, false);
	assert_int_equal(watched, 0);
	pass(ACCEPTOR_PAUSE_MS + TIMER_TICK);
	fails = 0;
	pass(ACCEPTOR_PAUSE_MS + TIMER_TICK);
	assert_int_equal(watched, EPOLLIN);
}

/* Its owner has a client already */
static void test_held_in_vain(void **state)
{
	(void)state;
	fails = -ENOMEM;
	acceptor_hold(&a, true);
	assert_int_equal(watched, EPOLLIN);
	assert_int_equal(acceptor_take(&a), -EAGAIN);
	fails = 0;
	pass(ACCEPTOR_PAUSE_MS + TIMER_TICK);
	assert_int_equal(watched, 0);
}

static void test_pause(void **state)
{
	(void)state;
	accept_error = ENOMEM;
	assert_int_equal(acceptor_take(&a), -ENOMEM);
	assert_int_equal(watched, 0);
	accept_error = 0;
	pass(ACCEPTOR_PAUSE_MS + TIMER_TICK);
	assert_int_equal(watched, EPOLLIN);
	assert_int_equal(acceptor_take(&a), 99);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_hold, begin),
		cmocka_unit_test_setup(test_released_in_vain, begin),
		cmocka_unit_test_setup(test_held_in_vain, begin),
		cmocka_unit_test_setup(test_pause, begin),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
