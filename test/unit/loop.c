/* SPDX-License-Identifier: GPL-2.0-or-later */
/* unit: util timer */
/* The real loop on a clock and an epoll_pwait() of our own: time moves when the
 * test says so or the loop waits, so nothing here takes any. */
#include "loop.h"

#include <errno.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

enum { START_MS = 5000, NONE = -2, RUNS = 8 };

static struct loop loop;
static uint64_t clock_ns;
static unsigned clock_reads;
static int waited; /* the time-out that the loop asked for last */
static unsigned naps;
static unsigned looks; /* waits that did not wait */
static unsigned look_us; /* what each takes */

int clock_gettime(clockid_t id, struct timespec *ts)
{
	(void)id;
	clock_reads++;
	ts->tv_sec = (time_t)(clock_ns / 1000000000);
	ts->tv_nsec = (long)(clock_ns % 1000000000);
	return 0;
}

/* Without an event the time passes */
int epoll_pwait(int fd, struct epoll_event *ev, int max, int timeout,
		const sigset_t *set)
{
	int n = epoll_wait(fd, ev, max, 0);

	assert_null(set);
	waited = timeout;
	if (!n && timeout > 0)
		clock_ns += (uint64_t)timeout * 1000000;
	if (!timeout) {
		looks++;
		clock_ns += look_us * 1000ULL;
	}
	return n;
}

int clock_nanosleep(clockid_t id, int flags, const struct timespec *ts,
		    struct timespec *left)
{
	uint64_t until = (uint64_t)ts->tv_sec * 1000000000 +
			 (uint64_t)ts->tv_nsec;

	assert_true(id == CLOCK_MONOTONIC && flags == TIMER_ABSTIME && !left);
	assert_true(until > clock_ns && until - clock_ns <= 1000000);
	clock_ns = until;
	naps++;
	return 0;
}

/* The alarm is an eventfd of the test, which says when it rings */
static unsigned alarms;
static uint64_t alarm_for_ms;

int timerfd_create(int id, int flags)
{
	assert_int_equal(id, CLOCK_MONOTONIC);
	assert_int_equal(flags, TFD_CLOEXEC | TFD_NONBLOCK);
	return eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
}

int timerfd_settime(int fd, int flags, const struct itimerspec *at,
		    struct itimerspec *was)
{
	uint64_t count;

	assert_int_equal(fd, loop.alarm.fd);
	assert_true(!flags && !was && !at->it_interval.tv_sec &&
		    !at->it_interval.tv_nsec);
	(void)!read(fd, &count, sizeof(count));
	alarm_for_ms = (uint64_t)at->it_value.tv_sec * 1000 +
		       (uint64_t)at->it_value.tv_nsec / 1000000;
	alarms++;
	return 0;
}

/* What happened, in order */
static char diary[512];

static void note(char what)
{
	size_t len = strlen(diary);

	assert_true(len + 1 < sizeof(diary));
	diary[len] = what;
	diary[len + 1] = '\0';
}

#define assert_diary(want)                                                     \
	do {                                                                   \
		assert_string_equal(diary, want);                              \
		diary[0] = '\0';                                               \
	} while (0)

static int setup(void **state)
{
	(void)state;
	clock_ns = START_MS * 1000000ULL + 999999;
	diary[0] = '\0';
	waited = NONE;
	naps = looks = look_us = 0;
	assert_int_equal(loop_init(&loop), 0);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	close(loop.epfd);
	return 0;
}

/* --- a queue whose entries do as they are told ---------------------------- */

struct job {
	struct run run;
	char name;
	enum run_verdict verdict;
	size_t bytes;
	struct job *add, *del; /* what it does to others meanwhile */
};

enum { SPARSE_MAX = 4096, BUDGET = 2 * SPARSE_MAX };

static struct runq queue, other;
static struct job job[RUNS];

static enum run_verdict work(void *owner, struct run *r)
{
	struct job *j = container_of(r, struct job, run);
	struct runq *q = owner;

	assert_null(r->prev); /* off the queue while it is served */
	note(j->name);
	runq_charge(q, j->bytes);
	if (j->add)
		runq_add(q, &j->add->run);
	if (j->del)
		runq_del(q, &j->del->run);
	return j->verdict;
}

static int setup_queue(void **state)
{
	unsigned i;

	setup(state);
	memset(job, 0, sizeof(job));
	for (i = 0; i < RUNS; i++)
		job[i].name = (char)('a' + i);
	runq_init(&loop, &queue, SPARSE_MAX, BUDGET, work, &queue);
	return 0;
}

static void add(unsigned n)
{
	unsigned i;

	for (i = 0; i < n; i++)
		runq_add(&queue, &job[i].run);
}

static void in_order(void **state)
{
	(void)state;
	add(4);
	assert_true(loop_turn(&loop));
	assert_diary("abcd");
	assert_int_equal(waited, 0);
	assert_true(loop_turn(&loop));
	assert_diary("");
	assert_int_equal(waited, -1); /* no work, no timer */
}

static void added_once(void **state)
{
	(void)state;
	add(3);
	add(3);
	loop_turn(&loop);
	assert_diary("abc");
	add(1);
	loop_turn(&loop);
	assert_diary("a");
}

/* Who has more to do is served until nobody has, and the loop does not wait */
static void again_until_done(void **state)
{
	(void)state;
	job[1].verdict = RUN_AGAIN;
	job[1].bytes = BUDGET;
	add(3);
	loop_turn(&loop);
	assert_diary("ab");
	loop_turn(&loop);
	assert_int_equal(waited, 0);
	assert_diary("cb");
	job[1].verdict = RUN_DONE;
	loop_turn(&loop);
	assert_int_equal(waited, 0);
	assert_diary("b");
	loop_turn(&loop);
	assert_diary("");
	assert_int_equal(waited, -1);
}

/* @n jobs that are no longer sparse once they were served */
static void add_bulk(unsigned n)
{
	unsigned i;

	for (i = 0; i < n; i++) {
		job[i].verdict = RUN_AGAIN;
		job[i].bytes = SPARSE_MAX;
	}
	add(n);
}

/* A turn ends with its budget, and so does the visit of who is served last: the
 * next one has all of the next turn, and one of them is enough work for it */
static void bulk_in_turn(void **state)
{
	(void)state;
	add_bulk(3);
	loop_turn(&loop);
	assert_diary("ab");
	loop_turn(&loop);
	assert_int_equal(waited, 0);
	assert_diary("ca");
	loop_turn(&loop);
	assert_diary("bb");
	loop_turn(&loop);
	assert_diary("cc");
}

/* Whatever is queued in front of it */
static void sparse_goes_first(void **state)
{
	(void)state;
	add_bulk(4);
	loop_turn(&loop);
	assert_diary("ab");
	runq_add(&queue, &job[5].run);
	loop_turn(&loop);
	assert_diary("cd"); /* they are new as well */
	loop_turn(&loop);
	assert_diary("faa");
	/* And again, as it has hardly moved anything */
	runq_add(&queue, &job[5].run);
	loop_turn(&loop);
	assert_diary("fbb");
}

/* Who goes first too often goes last, until the others had their turn */
static void credit_is_used_up(void **state)
{
	(void)state;
	add_bulk(2);
	loop_turn(&loop);
	assert_diary("ab");
	job[5].bytes = SPARSE_MAX / 2;
	job[5].add = &job[5];
	runq_add(&queue, &job[5].run);
	loop_turn(&loop);
	assert_diary("ffa");
	job[5].add = NULL;
	loop_turn(&loop);
	assert_diary("bb");
	loop_turn(&loop);
	assert_diary("faa");
}

/* Who is never done owes no more than a budget: the number does not wrap */
static void debt_is_bounded(void **state)
{
	unsigned turns;

	(void)state;
	job[0].verdict = RUN_AGAIN;
	job[0].bytes = 1 << 30;
	add(1);
	for (turns = 0; turns < 4; turns++)
		loop_turn(&loop);
	assert_diary("aaaa");
	assert_true(job[0].run.credit < 0);
}

/* Who came with much is no newcomer when it comes back */
static void debt_is_kept(void **state)
{
	(void)state;
	job[0].bytes = 3 * SPARSE_MAX;
	add(1);
	loop_turn(&loop);
	assert_diary("a");
	job[1].verdict = RUN_AGAIN;
	job[1].bytes = SPARSE_MAX;
	runq_add(&queue, &job[1].run);
	loop_turn(&loop);
	assert_diary("bb");
	add(1);
	loop_turn(&loop);
	assert_diary("bb");
	loop_turn(&loop);
	assert_diary("a");
}

static void little_left_is_done_at_once(void **state)
{
	(void)state;
	job[0].verdict = RUN_AGAIN;
	job[0].bytes = SPARSE_MAX / 4;
	add(2);
	loop_turn(&loop);
	assert_diary("aaaabaaa");
}

/* Who has no room is first when there is some, and nobody overtakes it */
static void hold_keeps_place(void **state)
{
	(void)state;
	job[1].verdict = RUN_HOLD;
	add(4);
	loop_turn(&loop);
	assert_diary("ab");
	runq_add(&queue, &job[5].run);
	loop_turn(&loop);
	assert_diary("");
	assert_int_equal(waited, -1); /* nothing here can be done */
	job[1].verdict = RUN_DONE;
	runq_release(&queue);
	loop_turn(&loop);
	assert_int_equal(waited, 0);
	assert_diary("bcdf");
}

static void hold_of_the_last(void **state)
{
	(void)state;
	job[0].verdict = RUN_HOLD;
	add(1);
	loop_turn(&loop);
	runq_add(&queue, &job[1].run);
	runq_release(&queue);
	loop_turn(&loop);
	assert_diary("aa");
	job[0].verdict = RUN_DONE;
	runq_release(&queue);
	loop_turn(&loop);
	assert_diary("ab");
}

/* It was woken while it was served: on the queue once, and at its head */
static void hold_of_the_woken(void **state)
{
	(void)state;
	job[0].verdict = RUN_HOLD;
	job[0].add = &job[0];
	add(3);
	loop_turn(&loop);
	assert_diary("a");
	job[0].verdict = RUN_DONE;
	job[0].add = NULL;
	runq_release(&queue);
	loop_turn(&loop);
	assert_diary("abc");
	loop_turn(&loop);
	assert_diary("");
}

static void held_can_be_deleted(void **state)
{
	(void)state;
	job[0].verdict = RUN_HOLD;
	add(3);
	loop_turn(&loop);
	runq_del(&queue, &job[0].run);
	runq_del(&queue, &job[0].run);
	runq_release(&queue);
	loop_turn(&loop);
	assert_diary("abc");
}

/* One queue's hold is not the other's */
static void hold_is_per_queue(void **state)
{
	(void)state;
	runq_init(&loop, &other, SPARSE_MAX, BUDGET, work, &other);
	job[0].verdict = RUN_HOLD;
	add(2);
	loop_turn(&loop);
	assert_diary("a");
	job[4].verdict = RUN_AGAIN;
	job[4].bytes = BUDGET;
	runq_add(&other, &job[4].run);
	loop_turn(&loop);
	assert_int_equal(waited, 0);
	loop_turn(&loop);
	assert_diary("ee");
}

/* Entries may be queued, and others freed, by the one that is served */
static void changes_while_served(void **state)
{
	(void)state;
	job[0].del = &job[1];
	job[2].add = &job[5];
	job[3].add = &job[3]; /* wakes itself: at the end */
	job[3].bytes = BUDGET / 2;
	job[4].del = &job[4];
	add(5);
	loop_turn(&loop);
	assert_diary("acdefd");
	job[3].add = NULL;
	loop_turn(&loop);
	assert_diary("d");
	loop_turn(&loop);
	assert_diary("");
}

static void deletes_the_last(void **state)
{
	(void)state;
	job[0].del = &job[1];
	add(2);
	loop_turn(&loop);
	assert_diary("a");
	add(2);
	runq_del(&queue, &job[1].run);
	runq_add(&queue, &job[2].run);
	loop_turn(&loop);
	assert_diary("ac");
}

/* The plain twin: an array of names */
static void against_twin(void **state)
{
	char twin[RUNS + 1] = "";
	unsigned i, n = 0;

	(void)state;
	srand(7);
	for (i = 0; i < 20000; i++) {
		struct job *j = &job[rand() % RUNS];
		char *at = memchr(twin, j->name, n);

		switch (rand() % 4) {
		case 0:
			runq_del(&queue, &j->run);
			if (at) {
				memmove(at, at + 1, (size_t)(twin + n - at));
				n--;
			}
			break;
		case 1:
			loop_turn(&loop);
			assert_diary(twin);
			n = 0;
			break;
		default:
			runq_add(&queue, &j->run);
			if (!at)
				twin[n++] = j->name;
		}
		twin[n] = '\0';
	}
}

/* --- watches -------------------------------------------------------------- */

struct seen {
	void *owner;
	uint64_t ref;
	uint32_t events;
	unsigned n;
};

static struct seen seen;
static int fd[3];

static void watcher(void *owner, uint64_t ref, uint32_t events)
{
	seen = (struct seen){ owner, ref, events, seen.n + 1 };
	note('w');
}

static void quitter(void *owner, uint64_t ref, uint32_t events)
{
	(void)owner;
	(void)events;
	loop_quit(&loop, (int)ref);
	note('q');
}

static int setup_watch(void **state)
{
	unsigned i;

	setup_queue(state);
	memset(&seen, 0, sizeof(seen));
	for (i = 0; i < 3; i++) {
		fd[i] = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
		assert_true(fd[i] >= 0);
	}
	return 0;
}

static int teardown_watch(void **state)
{
	unsigned i;

	for (i = 0; i < 3; i++)
		close(fd[i]);
	return teardown(state);
}

static void ring(unsigned i)
{
	assert_int_equal(eventfd_write(fd[i], 1), 0);
}

static void hush(unsigned i)
{
	eventfd_t v;

	assert_int_equal(eventfd_read(fd[i], &v), 0);
}

static void watch_references(void **state)
{
	static const uint64_t ref[] = { 0, 1, 0xffffffff, 1ULL << 55,
					(1ULL << 56) - 1 };
	int me[2];
	unsigned w[2], i;

	(void)state;
	w[0] = loop_watch(&loop, watcher, &me[0]);
	w[1] = loop_watch(&loop, watcher, &me[1]);
	assert_int_not_equal(w[0], w[1]);
	ring(0);
	for (i = 0; i < ARRAY_SIZE(ref); i++) {
		unsigned k = i % 2;

		assert_int_equal(loop_add(&loop, fd[0], w[k], ref[i], EPOLLIN),
				 0);
		loop_turn(&loop);
		assert_ptr_equal(seen.owner, &me[k]);
		assert_true(seen.ref == ref[i]);
		assert_int_equal(seen.events, EPOLLIN);
		assert_int_equal(seen.n, i + 1);
		loop_del(&loop, fd[0]);
		loop_turn(&loop);
		assert_int_equal(seen.n, i + 1);
	}
}

/* As many watches as there can be, none taken for another */
static void watch_numbers(void **state)
{
	static int me[LOOP_WATCHES];
	unsigned w[LOOP_WATCHES], i;

	(void)state;
	ring(0);
	for (i = 0; i < LOOP_WATCHES; i++)
		w[i] = loop_watch(&loop, watcher, &me[i]);
	assert_int_equal(loop_add(&loop, fd[0], w[0], 0, EPOLLIN), 0);
	for (i = LOOP_WATCHES; i--; ) {
		assert_int_equal(loop_mod(&loop, fd[0], w[i], i, EPOLLIN), 0);
		loop_turn(&loop);
		assert_ptr_equal(seen.owner, &me[i]);
		assert_true(seen.ref == i);
	}
}

static void watch_masks(void **state)
{
	unsigned w = loop_watch(&loop, watcher, NULL);

	(void)state;
	assert_int_equal(loop_add(&loop, fd[0], w, 1,
				  EPOLLIN | EPOLLOUT | EPOLLET), 0);
	loop_turn(&loop);
	assert_int_equal(seen.events, EPOLLOUT);
	loop_turn(&loop); /* an edge is told once */
	assert_int_equal(seen.n, 1);
	ring(0);
	loop_turn(&loop);
	assert_int_equal(seen.events, EPOLLIN | EPOLLOUT);
	assert_int_equal(loop_mod(&loop, fd[0], w, 2, 0), 0);
	ring(0);
	loop_turn(&loop);
	assert_int_equal(seen.n, 2);
	/* Asking again tells what is so by now: nothing can be missed */
	assert_int_equal(loop_mod(&loop, fd[0], w, 3, EPOLLIN | EPOLLET), 0);
	loop_turn(&loop);
	assert_int_equal(seen.n, 3);
	assert_true(seen.ref == 3);
}

static void watch_errors(void **state)
{
	unsigned w = loop_watch(&loop, watcher, NULL);

	(void)state;
	assert_int_equal(loop_add(&loop, -1, w, 0, EPOLLIN), -EBADF);
	assert_int_equal(loop_mod(&loop, fd[0], w, 0, EPOLLIN), -ENOENT);
	assert_int_equal(loop_add(&loop, fd[0], w, 0, EPOLLIN), 0);
	assert_int_equal(loop_add(&loop, fd[0], w, 0, EPOLLIN), -EEXIST);
	loop_del(&loop, fd[1]); /* was never in: no harm */
}

static void closed_is_out(void **state)
{
	unsigned w = loop_watch(&loop, watcher, NULL);

	(void)state;
	ring(2);
	assert_int_equal(loop_add(&loop, fd[2], w, 0, EPOLLIN), 0);
	close(fd[2]);
	fd[2] = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	loop_turn(&loop);
	assert_int_equal(seen.n, 0);
	assert_int_equal(waited, -1);
}

static void many_events(void **state)
{
	unsigned w = loop_watch(&loop, watcher, NULL), i;

	(void)state;
	for (i = 0; i < 3; i++) {
		ring(i);
		assert_int_equal(loop_add(&loop, fd[i], w, i, EPOLLIN), 0);
	}
	hush(1);
	loop_turn(&loop);
	assert_int_equal(seen.n, 2);
	assert_diary("ww");
}

/* --- a turn --------------------------------------------------------------- */

static void tick(void *owner, struct timer *t)
{
	const char *name = owner;

	(void)t;
	note(*name);
}

static void turn_end(void *owner)
{
	assert_ptr_equal(owner, &seen);
	note('.');
}

/* Events, then timers, then work that both may have queued, then the end */
static void order_of_a_turn(void **state)
{
	unsigned w = loop_watch(&loop, watcher, NULL);
	struct timer t;

	(void)state;
	loop.turn_end = turn_end;
	loop.turn_owner = &seen;
	timer_init(&t, tick, "t");
	timer_set(&loop.timers, &t, loop.now_ms);
	clock_ns += 2 * TIMER_TICK * 1000000ULL;
	add(2);
	ring(0);
	assert_int_equal(loop_add(&loop, fd[0], w, 0, EPOLLIN | EPOLLET), 0);
	loop_turn(&loop);
	assert_diary("wtab.");
	loop_turn(&loop);
	assert_diary(".");
	assert_int_equal(loop.turns, 2);
}

static void one_clock_read(void **state)
{
	unsigned w = loop_watch(&loop, watcher, NULL), i;

	(void)state;
	assert_int_equal(loop.now_ms, START_MS); /* read by loop_init() */
	assert_true(loop.now_ns == clock_ns);
	for (i = 0; i < 3; i++) {
		ring(i);
		loop_add(&loop, fd[i], w, i, EPOLLIN);
	}
	add(4);
	clock_ns += 7000001;
	clock_reads = 0;
	loop_turn(&loop);
	assert_int_equal(clock_reads, 1);
	assert_true(loop.now_ns == clock_ns);
	assert_int_equal(loop.now_ms, START_MS + 8);
}

/* --- timers --------------------------------------------------------------- */

static uint64_t fired_at[4];

static void fire(void *owner, struct timer *t)
{
	fired_at[(char *)owner - diary] = loop.now_ms;
	(void)t;
}

static void timers_in_turn(void **state)
{
	static const uint64_t after[] = { 3, 50, 1000, 3600 * 1000 };
	struct timer t[4];
	unsigned i, turns = 0;

	(void)state;
	memset(fired_at, 0, sizeof(fired_at));
	for (i = 4; i--; ) {
		timer_init(&t[i], fire, diary + i);
		timer_set(&loop.timers, &t[i], START_MS + after[i]);
	}
	while (!fired_at[3]) {
		loop_turn(&loop);
		assert_true(waited > 0); /* it slept, it did not spin */
		assert_true(++turns < 100);
		for (i = 1; i < 4; i++)
			assert_true(fired_at[i - 1] || !fired_at[i]);
	}
	for (i = 0; i < 4; i++) {
		assert_true(fired_at[i] >= START_MS + after[i]);
		assert_true(fired_at[i] <= START_MS + after[i] + TIMER_TICK);
	}
	loop_turn(&loop);
	assert_int_equal(waited, -1);
}

/* A deadline that passed while others had the CPU */
static void overdue(void **state)
{
	struct timer t;

	(void)state;
	timer_init(&t, tick, "t");
	timer_set(&loop.timers, &t, START_MS + 10);
	clock_ns += 900 * 1000000ULL;
	ring(0);
	loop_add(&loop, fd[0], loop_watch(&loop, watcher, NULL), 0, EPOLLIN);
	loop_turn(&loop);
	assert_diary("wt");
}

/* While the process does not run no time passes: what has come meanwhile is first, and
 * a deadline is as far as it was */
static void stopped(void **state)
{
	struct timer t;

	(void)state;
	timer_init(&t, tick, "t");
	timer_set(&loop.timers, &t, START_MS + 60 * 1000);
	loop_add(&loop, fd[0], loop_watch(&loop, watcher, NULL), 0, EPOLLIN);
	clock_ns += 2 * 3600 * 1000000000ULL;
	ring(0);
	loop_turn(&loop);
	assert_diary("w");
	assert_int_equal(loop.now_ms, START_MS);
	hush(0);
	clock_ns += 1000000;
	loop_clock(&loop);
	assert_int_equal(loop.now_ms, START_MS + 1);
	while (!diary[0]) {
		loop_turn(&loop);
		assert_true(waited >= 0);
	}
	assert_diary("t");
	assert_in_range(loop.now_ms, START_MS + 60 * 1000,
			START_MS + 60 * 1000 + TIMER_TICK);
	/* With nothing to wait for, time is as long as it is */
	clock_ns += 3600 * 1000000000ULL;
	ring(0);
	loop_turn(&loop);
	assert_int_equal(waited, -1);
	assert_true(loop.now_ms >= START_MS + 3600 * 1000);
}

/* Who gets a CPU every few seconds has deadlines all the same */
static void starved(void **state)
{
	struct timer t;
	unsigned i;

	(void)state;
	timer_init(&t, tick, "t");
	timer_set(&loop.timers, &t, START_MS + 10);
	for (i = 0; i < 3 && !diary[0]; i++) {
		clock_ns += 3 * 1000000000ULL;
		loop_turn(&loop);
	}
	assert_diary("t");
}

/* One that was set too late, after timers ran */
static void set_in_the_past(void **state)
{
	struct timer t;

	(void)state;
	loop_turn(&loop);
	timer_init(&t, tick, "t");
	timer_set(&loop.timers, &t, 1);
	while (!diary[0]) {
		loop_turn(&loop);
		assert_true(waited >= 0);
		assert_true(loop.now_ms <= START_MS + 2 * TIMER_TICK);
	}
	assert_diary("t");
}

/* Work keeps the loop from sleeping, not the timers from firing */
static void timer_while_busy(void **state)
{
	struct timer t;

	(void)state;
	timer_init(&t, tick, "t");
	timer_set(&loop.timers, &t, START_MS + 10);
	job[0].verdict = RUN_AGAIN;
	job[0].bytes = BUDGET;
	add(1);
	loop_turn(&loop);
	loop_turn(&loop);
	assert_int_equal(waited, 0);
	assert_diary("aa");
	clock_ns += 20 * 1000000ULL;
	loop_turn(&loop);
	assert_diary("ta");
}

/* Longer than epoll can wait and than the wheel reaches: it sleeps in parts */
static void far_future(void **state)
{
	struct timer t;
	unsigned turns = 0;

	(void)state;
	timer_init(&t, tick, "t");
	timer_set(&loop.timers, &t, START_MS + (1ULL << 33));
	while (!diary[0]) {
		loop_turn(&loop);
		assert_true(waited > 0);
		assert_true(++turns < 1000);
	}
	assert_diary("t");
	assert_true(loop.now_ms >= START_MS + (1ULL << 33));
}

/* --- the end -------------------------------------------------------------- */

static void quit_status(void **state)
{
	unsigned w = loop_watch(&loop, quitter, NULL);

	(void)state;
	loop.turn_end = turn_end;
	loop.turn_owner = &seen;
	ring(0);
	loop_add(&loop, fd[0], w, 42, EPOLLIN);
	add(2);
	assert_false(loop_turn(&loop));
	assert_diary("qab."); /* the turn is finished */
	assert_int_equal(loop.status, 42);
	assert_true(loop.quit);
}

static void quit_does_not_wait(void **state)
{
	(void)state;
	loop_quit(&loop, 1);
	assert_false(loop_turn(&loop));
	assert_int_equal(waited, 0);
	assert_int_equal(loop.status, 1);
	loop_quit(&loop, 0);
	assert_false(loop_turn(&loop));
	assert_int_equal(loop.status, 0);
}

static void leave_says_how(void **state)
{
	(void)state;
	loop_leave(&loop, 3, true);
	assert_false(loop_turn(&loop));
	assert_int_equal(loop.status, 3);
	assert_true(loop.leaves && loop.hurries);
	loop_leave(&loop, 4, false);
	assert_true(loop.leaves && !loop.hurries);
	loop_quit(&loop, 0); /* somebody else has all */
	assert_false(loop.leaves);
}

static int late[2 * LOOP_LATE];
static unsigned late_n;

static void do_late(int n)
{
	late[late_n++] = n;
}

/* Not in the turn that asks for it, nor later than in the next, which comes at
 * once; and in order */
static void late_is_next(void **state)
{
	(void)state;
	late_n = 0;
	loop_late(&loop, do_late, 7);
	loop_late(&loop, do_late, 8);
	loop_turn(&loop);
	assert_int_equal(late_n, 0);
	loop_late(&loop, do_late, 9);
	loop_turn(&loop);
	assert_int_equal(waited, 0);
	assert_int_equal(late_n, 2);
	assert_int_equal(late[0], 7);
	assert_int_equal(late[1], 8);
	loop_turn(&loop);
	assert_int_equal(waited, 0);
	assert_int_equal(late_n, 3);
	assert_int_equal(late[2], 9);
}

static void late_is_full(void **state)
{
	int i;

	(void)state;
	late_n = 0;
	for (i = 0; i <= LOOP_LATE; i++)
		loop_late(&loop, do_late, i);
	assert_int_equal(late_n, 1);
	assert_int_equal(late[0], LOOP_LATE);
	loop_turn(&loop);
	loop_turn(&loop);
	assert_int_equal(late_n, LOOP_LATE + 1);
}

/* What the last turn asks for would not be done at all */
static void late_is_now_at_the_end(void **state)
{
	(void)state;
	late_n = 0;
	loop_late(&loop, do_late, 7);
	loop_turn(&loop);
	assert_int_equal(late_n, 0);
	loop_late(&loop, do_late, 8);
	loop_quit(&loop, 0);
	assert_false(loop_turn(&loop));
	assert_int_equal(late_n, 2);
	assert_int_equal(late[0], 7);
	assert_int_equal(late[1], 8);
	loop.quit = false;
}

/* --- streams -------------------------------------------------------------- */

enum {
	PIECE = 2 * 1448,
	ENOUGH = 200, /* turns, for it to understand */
};

/* @len bytes each time, or what a wire has delivered since the last time */
struct arrival {
	unsigned way;
	size_t len, per_us;
};

static uint64_t delivered_ns;

static void stream(void *owner, uint64_t ref, uint32_t events)
{
	const struct arrival *a = owner;
	size_t us = (size_t)(clock_ns - delivered_ns) / 1000;

	(void)ref;
	(void)events;
	loop_stream(&loop, a->way, a->len + a->per_us * us);
	if (a->per_us)
		delivered_ns = clock_ns;
}

static const struct arrival wire = { 1, 0, 145 }, piece = { 1, PIECE, 0 },
			    ack = { 0, 0, 0 };

/* Another event in each turn from here on */
static void add_stream(unsigned i, const struct arrival *a)
{
	unsigned w = loop_watch(&loop, stream, (void *)(uintptr_t)a);

	ring(i);
	assert_int_equal(loop_add(&loop, fd[i], w, 0, EPOLLIN), 0);
}

/* How often it slept in @n turns, each @us after the last */
static unsigned turns(unsigned n, unsigned us)
{
	unsigned before = naps;

	while (n--) {
		clock_ns += us * 1000ULL;
		loop_turn(&loop);
	}
	return naps - before;
}

static void begin_trickle(void)
{
	delivered_ns = clock_ns;
	add_stream(0, &wire);
	add_stream(1, &ack);
	turns(ENOUGH, 20);
	assert_int_equal(turns(10, 20), 10);
	assert_int_equal(waited, -1); /* after the nap */
}

/* 145 bytes per microsecond are 1.2 Gbit/s */
static void trickle_has_naps(void **state)
{
	(void)state;
	begin_trickle();
	hush(0);
	hush(1);
	assert_int_equal(turns(1, 0), 1);
	ring(0); /* a pause alone is no reason to stop at once */
	assert_int_equal(turns(1, 0), 1);
}

static void few_turns_have_none(void **state)
{
	(void)state;
	add_stream(0, &piece);
	assert_int_equal(turns(10, 20), 0);
}

/* Longer between the turns, or nothing: then it is no stream any more */
static void slow_has_none(void **state)
{
	(void)state;
	begin_trickle();
	hush(0);
	add_stream(2, &piece);
	turns(ENOUGH, 1000);
	assert_int_equal(turns(ENOUGH, 1000), 0);
	hush(2); /* acknowledgements alone */
	turns(ENOUGH, 20);
	assert_int_equal(turns(ENOUGH, 20), 0);
}

/* What comes in large pieces, or so fast that it would in a while */
static void large_has_none(void **state)
{
	static const struct arrival large = { 1, 60000, 0 };

	(void)state;
	add_stream(0, &large);
	assert_int_equal(turns(ENOUGH, 500), 0);
}

static void fast_has_none(void **state)
{
	(void)state;
	add_stream(0, &piece);
	assert_int_equal(turns(ENOUGH, 2), 0);
}

/* With naps more comes at a time, and that is no reason to stop them */
static void fast_trickle_has_naps(void **state)
{
	static const struct arrival fast = { 1, 0, 900 };

	(void)state;
	delivered_ns = clock_ns;
	add_stream(0, &fast);
	turns(ENOUGH, 20);
	assert_int_equal(turns(ENOUGH, 20), ENOUGH);
}

/* Who sends so much and no more before we take it is slowed down by each nap.
 * That is tried again, but ever more seldom. */
static void expect_few(unsigned i, const struct arrival *a)
{
	unsigned first, later;

	add_stream(i, a);
	first = turns(1000, 20);
	assert_true(first > 0);
	turns(20000, 20);
	later = turns(10000, 20);
	assert_true(later > 0);
	assert_true(later < first);
	hush(i);
	turns(ENOUGH, 20);
}

static void waiting_sender_has_few(void **state)
{
	static const struct arrival tiny = { 1, 600, 0 };

	(void)state;
	expect_few(0, &piece);
	/* Another one, that does not wait, and one that does, from the start */
	delivered_ns = clock_ns;
	add_stream(1, &wire);
	turns(20000, 20);
	assert_int_equal(turns(ENOUGH, 20), ENOUGH);
	hush(1);
	turns(ENOUGH, 20);
	expect_few(2, &tiny);
}

/* Requests and answers: the other end waits while we sleep */
static void both_ways_have_none(void **state)
{
	static const struct arrival back = { 0, PIECE, 0 };

	(void)state;
	begin_trickle();
	add_stream(2, &back);
	turns(ENOUGH, 20);
	assert_int_equal(turns(ENOUGH, 20), 0);
}

/* The nap before it cannot be helped */
static void other_event_ends_it(void **state)
{
	(void)state;
	begin_trickle();
	loop_add(&loop, fd[2], loop_watch(&loop, watcher, NULL), 0,
		 EPOLLIN | EPOLLET);
	ring(2);
	assert_int_equal(turns(1, 20), 1);
	assert_diary("w");
	assert_int_equal(turns(10, 20), 0);
	assert_true(turns(ENOUGH, 20) > 0); /* until it is alone again */
}

static void hurry_ends_it(void **state)
{
	(void)state;
	begin_trickle();
	loop_hurry(&loop);
	assert_int_equal(turns(11, 20), 1);
	assert_true(turns(ENOUGH, 20) > 0);
}

/* Only where it would have slept anyway */
static void work_has_no_nap(void **state)
{
	(void)state;
	begin_trickle();
	job[0].verdict = RUN_AGAIN;
	add(1);
	assert_int_equal(turns(10, 20), 0);
	job[0].verdict = RUN_DONE;
	turns(1, 20);
	assert_int_equal(turns(1, 20), 1);
	loop_soon(&loop);
	assert_int_equal(turns(1, 20), 0);
}

/* --- busy polling ---------------------------------------------------------- */

static void watch_edge(unsigned i)
{
	loop_add(&loop, fd[i], loop_watch(&loop, watcher, NULL), 0,
		 EPOLLIN | EPOLLET);
}

/* After a turn with an event, for as long as was said, and then it waits */
static void polls_after_events(void **state)
{
	(void)state;
	watch_edge(0);
	loop_poll(&loop, 50);
	look_us = 2;
	turns(1, 0);
	assert_int_equal(looks, 0); /* nothing has happened yet */
	ring(0);
	turns(1, 0);
	assert_diary("w");
	assert_int_equal(looks, 0);
	turns(1, 0);
	assert_int_equal(looks, 25);
	assert_int_equal(waited, -1);
	turns(1, 0);
	assert_int_equal(looks, 25); /* once */
	loop_poll(&loop, 0);
	ring(0);
	turns(2, 0);
	assert_int_equal(looks, 25);
}

/* What comes meanwhile ends the wait, and another poll begins */
static void poll_finds_events(void **state)
{
	(void)state;
	watch_edge(0);
	loop_poll(&loop, 50);
	look_us = 2;
	ring(0);
	turns(1, 0);
	ring(0);
	turns(1, 0);
	assert_diary("ww");
	assert_int_equal(looks, 1);
	assert_int_equal(waited, 0);
	turns(1, 0);
	assert_int_equal(looks, 26);
}

static void polling_has_no_nap(void **state)
{
	(void)state;
	loop_poll(&loop, 50);
	look_us = 2;
	delivered_ns = clock_ns;
	add_stream(0, &wire);
	add_stream(1, &ack);
	assert_int_equal(turns(2 * ENOUGH, 20), 0);
}

/* --- the alarm ------------------------------------------------------------ */

static void start_alarm(void)
{
	alarms = 0;
	loop_start(&loop);
	loop_add(&loop, fd[0], loop_watch(&loop, watcher, NULL), 0, EPOLLIN);
}

static void stop_alarm(void)
{
	close(loop.spare);
}

/* While events come one after the other, the kernel has one timer for the time
 * of ours, and not one for each wait */
static void busy_has_an_alarm(void **state)
{
	struct timer far, near;
	uint64_t due;
	unsigned i;

	(void)state;
	start_alarm();
	timer_init(&far, tick, "f");
	timer_init(&near, tick, "n");
	timer_set(&loop.timers, &far, START_MS + 10000);
	ring(0);
	for (i = 0; i < 64; i++)
		loop_turn(&loop);
	assert_int_equal(waited, -1);
	assert_int_equal(alarms, 1);
	assert_int_equal(loop.now_ms + alarm_for_ms, timers_next(&loop.timers));
	/* Later: it may ring early */
	timer_set(&loop.timers, &far, START_MS + 11000);
	for (i = 0; i < 64; i++)
		loop_turn(&loop);
	assert_int_equal(waited, -1);
	assert_int_equal(alarms, 1);
	/* What is due before */
	diary[0] = '\0';
	timer_set(&loop.timers, &near, START_MS + 8);
	loop_turn(&loop);
	assert_in_range(waited, 1, 8 + TIMER_TICK);
	hush(0);
	diary[0] = '\0';
	while (loop.timers.tick * TIMER_TICK <= START_MS + 8)
		loop_turn(&loop);
	assert_diary("n");
	loop_turn(&loop);
	assert_int_equal(waited, -1);
	assert_diary("");
	assert_int_equal(alarms, 1);
	/* It rings, and is off */
	clock_ns += alarm_for_ms * 1000000;
	assert_int_equal(eventfd_write(loop.alarm.fd, 1), 0);
	loop_turn(&loop);
	assert_int_equal(waited, -1);
	assert_diary("");
	while (!*diary) {
		loop_turn(&loop);
		assert_true(waited > 0);
	}
	assert_diary("f");
	assert_in_range(loop.now_ms, START_MS + 11000, START_MS + 11000 + TIMER_TICK);
	assert_int_equal(alarms, 1);
	/* It rang while the process was stopped */
	timer_set(&loop.timers, &far, loop.now_ms + 10000);
	ring(0);
	for (i = 0; i < 64; i++)
		loop_turn(&loop);
	assert_int_equal(waited, -1);
	assert_int_equal(alarms, 2);
	hush(0);
	diary[0] = '\0';
	due = far.due_ms;
	clock_ns += 3600 * 1000000000ULL;
	assert_int_equal(eventfd_write(loop.alarm.fd, 1), 0);
	loop_turn(&loop);
	assert_true(loop.now_ms < due);
	while (!*diary)
		loop_turn(&loop);
	assert_diary("f");
	assert_in_range(loop.now_ms, due, due + TIMER_TICK);
	stop_alarm();
}

/* Its descriptor may be needed elsewhere for a moment */
static void lent_alarm(void **state)
{
	struct timer t;
	unsigned i;

	(void)state;
	start_alarm();
	timer_init(&t, tick, "t");
	timer_set(&loop.timers, &t, START_MS + 10000);
	ring(0);
	for (i = 0; i < 64; i++)
		loop_turn(&loop);
	assert_int_equal(waited, -1);
	assert_int_equal(alarms, 1);
	diary[0] = '\0';
	assert_int_equal(loop.alarm.fd, loop.spare);
	assert_true(loop_lend(&loop));
	loop_turn(&loop);
	assert_true(waited > 0); /* it would never ring */
	loop_regain(&loop);
	assert_int_equal(loop.alarm.fd, loop.spare);
	for (i = 0; i < 64; i++)
		loop_turn(&loop);
	assert_int_equal(waited, -1);
	assert_int_equal(alarms, 2);
	stop_alarm();
}

/* Who waits for timers alone needs none, nor what is due soon */
static void rest_has_no_alarm(void **state)
{
	struct timer t;
	unsigned i;

	(void)state;
	start_alarm();
	timer_init(&t, tick, "t");
	for (i = 0; i < 100; i++) {
		diary[0] = '\0';
		timer_set(&loop.timers, &t, loop.now_ms + 1000);
		ring(0);
		loop_turn(&loop);
		hush(0);
		while (!strchr(diary, 't')) {
			loop_turn(&loop);
			assert_true(waited > 0);
		}
	}
	timer_set(&loop.timers, &t, loop.now_ms + 10);
	ring(0);
	for (i = 0; i < 100; i++) {
		diary[0] = '\0';
		loop_turn(&loop);
		assert_true(waited > 0);
	}
	assert_int_equal(alarms, 0);
	stop_alarm();
}

int main(void)
{
#define QUEUE(t) cmocka_unit_test_setup_teardown(t, setup_queue, teardown)
#define WATCH(t) cmocka_unit_test_setup_teardown(t, setup_watch, teardown_watch)
	const struct CMUnitTest tests[] = {
		QUEUE(in_order),
		QUEUE(added_once),
		QUEUE(again_until_done),
		QUEUE(bulk_in_turn),
		QUEUE(sparse_goes_first),
		QUEUE(credit_is_used_up),
		QUEUE(debt_is_bounded),
		QUEUE(debt_is_kept),
		QUEUE(little_left_is_done_at_once),
		QUEUE(hold_keeps_place),
		QUEUE(hold_of_the_last),
		QUEUE(hold_of_the_woken),
		QUEUE(held_can_be_deleted),
		QUEUE(hold_is_per_queue),
		QUEUE(changes_while_served),
		QUEUE(deletes_the_last),
		QUEUE(against_twin),
		WATCH(watch_references),
		WATCH(watch_numbers),
		WATCH(watch_masks),
		WATCH(watch_errors),
		WATCH(closed_is_out),
		WATCH(many_events),
		WATCH(order_of_a_turn),
		WATCH(one_clock_read),
		WATCH(timers_in_turn),
		WATCH(overdue),
		WATCH(stopped),
		WATCH(starved),
		WATCH(set_in_the_past),
		WATCH(timer_while_busy),
		WATCH(far_future),
		WATCH(quit_status),
		WATCH(quit_does_not_wait),
		WATCH(leave_says_how),
		WATCH(late_is_next),
		WATCH(late_is_full),
		WATCH(late_is_now_at_the_end),
		WATCH(polls_after_events),
		WATCH(poll_finds_events),
		WATCH(polling_has_no_nap),
		WATCH(trickle_has_naps),
		WATCH(fast_trickle_has_naps),
		WATCH(waiting_sender_has_few),
		WATCH(few_turns_have_none),
		WATCH(slow_has_none),
		WATCH(large_has_none),
		WATCH(fast_has_none),
		WATCH(both_ways_have_none),
		WATCH(other_event_ends_it),
		WATCH(hurry_ends_it),
		WATCH(work_has_no_nap),
		WATCH(busy_has_an_alarm),
		WATCH(lent_alarm),
		WATCH(rest_has_no_alarm),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
