/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * loop - epoll, run queues, one clock read a turn
 *
 * Events only set marks and queue things; the work is done from the run queues,
 * each entry once a turn, so that no connection keeps the others or the guest's
 * own frames waiting.  While anything is runnable, epoll is polled, not waited
 * for.
 */
#include "loop.h"

#include <errno.h>
#include <limits.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

enum {
	REF_BITS = 56,
	NAP_NS = 50 * 1000,
	SLACK_NS = 50 * 1000, /* Linux's default */
	CALM_TURNS = 32, /* are judged together */
	/* Bytes a microsecond, between which a nap is worth it and not too long:
	 * 0.2 and 2.5 Gbit/s; and bytes a turn that need none */
	CALM_SLOW = 24,
	CALM_FAST = 320,
	CALM_LARGE = 32 * 1024,
};

static void read_clock(struct loop *l)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts); /* #syscalls clock_gettime */
	l->now_ns = (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
	l->now_ms = l->now_ns / 1000000;
}

int loop_init(struct loop *l)
{
	*l = (struct loop){ .epfd = epoll_create1(EPOLL_CLOEXEC) };

	if (l->epfd < 0)
		return -errno;
	read_clock(l);
	timers_init(&l->timers, l->now_ms);
	return 0;
}

void loop_start(void)
{
	prctl(PR_SET_TIMERSLACK, SLACK_NS);
}

unsigned loop_watch(struct loop *l, watch_fn *fn, void *owner)
{
	l->watch[l->watches].fn = fn;
	l->watch[l->watches].owner = owner;
	return l->watches++;
}

static int control(struct loop *l, int op, int fd, unsigned watch,
		   uint64_t ref, uint32_t events)
{
	struct epoll_event e = {
		.events = events,
		.data.u64 = (uint64_t)watch << REF_BITS | ref,
	};

	/* #syscalls epoll_ctl */
	return epoll_ctl(l->epfd, op, fd, &e) ? -errno : 0;
}

int loop_add(struct loop *l, int fd, unsigned watch, uint64_t ref,
	     uint32_t events)
{
	return control(l, EPOLL_CTL_ADD, fd, watch, ref, events);
}

int loop_mod(struct loop *l, int fd, unsigned watch, uint64_t ref,
	     uint32_t events)
{
	return control(l, EPOLL_CTL_MOD, fd, watch, ref, events);
}

void loop_del(struct loop *l, int fd)
{
	(void)control(l, EPOLL_CTL_DEL, fd, 0, 0, 0);
}

void runq_init(struct loop *l, struct runq *q, run_fn *serve, void *owner)
{
	*q = (struct runq){ .serve = serve, .owner = owner, .next = l->queues };
	q->tail = &q->head;
	l->queues = q;
}

void runq_add(struct runq *q, struct run *r)
{
	if (r->prev)
		return;
	r->next = NULL;
	r->prev = q->tail;
	*q->tail = r;
	q->tail = &r->next;
}

void runq_del(struct runq *q, struct run *r)
{
	if (!r->prev)
		return;
	*r->prev = r->next;
	if (r->next)
		r->next->prev = r->prev;
	else
		q->tail = r->prev;
	r->prev = NULL;
}

void runq_release(struct runq *q)
{
	q->held = false;
}

static void put_first(struct runq *q, struct run *r)
{
	r->next = q->head;
	r->prev = &q->head;
	if (r->next)
		r->next->prev = &r->next;
	else
		q->tail = &r->next;
	q->head = r;
}

/* Each entry once: those that come back are for the next turn */
static void serve(struct runq *q)
{
	struct run end = { 0 }, *r;

	if (q->held || !q->head)
		return;
	runq_add(q, &end);
	while (!q->held && (r = q->head) != &end) {
		runq_del(q, r);
		switch (q->serve(q->owner, r)) {
		case RUN_DONE:
			break;
		case RUN_AGAIN:
			runq_add(q, r);
			break;
		case RUN_HOLD:
			q->held = true;
			runq_del(q, r);
			put_first(q, r);
			break;
		}
	}
	runq_del(q, &end);
}

static int wait_ms(struct loop *l)
{
	const struct runq *q;
	uint64_t next;

	if (l->quit || l->soon || l->late_n)
		return 0;
	for (q = l->queues; q; q = q->next)
		if (q->head && !q->held)
			return 0;
	next = timers_next(&l->timers);
	if (next == UINT64_MAX)
		return -1;
	return next <= l->now_ms ? 0 : (int)MIN(next - l->now_ms, INT_MAX);
}

void loop_late(struct loop *l, void (*fn)(int fd), int fd)
{
	if (l->late_n == LOOP_LATE) {
		fn(fd);
		return;
	}
	l->late[l->late_n].fn = fn;
	l->late[l->late_n++].fd = fd;
}

static void do_late(struct loop *l)
{
	unsigned i;

	for (i = 0; i < l->late_old; i++)
		l->late[i].fn(l->late[i].fd);
	l->late_n -= l->late_old;
	memmove(l->late, l->late + l->late_old, l->late_n * sizeof(*l->late));
	l->late_old = l->late_n;
}

static void nap(void)
{
	const struct timespec ts = { .tv_nsec = NAP_NS };

	/* #syscalls clock_nanosleep clock_nanosleep_time64 nanosleep */
	nanosleep(&ts, NULL);
}

/* Whether it is worth waiting for more.  Requests and answers are not: nobody
 * sends while we sleep. */
static bool worth_nap(const struct loop *l)
{
	uint64_t us = (l->now_ns - l->calm.since_ns) / 1000;
	uint64_t len = l->calm.len[0] + l->calm.len[1];

	return (!l->calm.len[0] || !l->calm.len[1]) &&
	       len >= CALM_SLOW * us && len <= CALM_FAST * us &&
	       len <= CALM_TURNS * CALM_LARGE;
}

static void count_calm(struct loop *l)
{
	if (l->calm.turns) {
		l->calm.len[0] += l->stream_len[0];
		l->calm.len[1] += l->stream_len[1];
		if (l->calm.turns++ < CALM_TURNS)
			return;
		l->napping = worth_nap(l);
	}
	l->calm.turns = 1;
	l->calm.since_ns = l->now_ns;
	l->calm.len[0] = l->calm.len[1] = 0;
}

/* After a turn of @n events.  One without, when a timer or somebody impatient
 * had it look, says nothing. */
static void watch_streams(struct loop *l, unsigned n)
{
	if (n && l->streams == n && !l->hurry) {
		count_calm(l);
	} else if (n || l->hurry) {
		l->calm.turns = 0;
		l->napping = false;
	}
	l->streams = 0;
	l->stream_len[0] = l->stream_len[1] = 0;
	l->hurry = false;
}

bool loop_turn(struct loop *l)
{
	struct epoll_event ev[LOOP_EVENTS];
	int n, i, ms = wait_ms(l);
	struct runq *q;

	if (l->napping && ms)
		nap();
	/* #syscalls epoll_wait epoll_pwait */
	n = epoll_wait(l->epfd, ev, LOOP_EVENTS, ms);
	l->soon = false;
	read_clock(l);
	for (i = 0; i < n; i++) {
		uint64_t data = ev[i].data.u64;
		unsigned w = data >> REF_BITS;

		l->watch[w].fn(l->watch[w].owner,
			       data & ((1ULL << REF_BITS) - 1), ev[i].events);
	}
	timers_run(&l->timers, l->now_ms);
	for (q = l->queues; q; q = q->next)
		serve(q);
	if (l->turn_end)
		l->turn_end(l->turn_owner);
	if (l->late_n)
		do_late(l);
	watch_streams(l, (unsigned)MAX(n, 0));
	l->turns++;
	return !l->quit;
}

void loop_quit(struct loop *l, int status)
{
	l->quit = true;
	l->status = status;
}
