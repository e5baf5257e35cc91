/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * loop - epoll, run queues, one clock read a turn
 *
 * Events only set ready bits and queue things.  The work is done from the run
 * queues, a bounded number of bytes a turn, so that neither one connection nor
 * any number of them keeps the others, or the guest's own frames, waiting.
 * While any queue is runnable, epoll is polled, not waited for.
 */
#include "loop.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/prctl.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

enum {
	REF_BITS = 56,
	NAP_NS = 50 * 1000,
	SLACK_NS = 50 * 1000, /* Linux's default */
	CALM_TURNS = 32, /* turns that are judged together */
	/* Bytes per microsecond between which a nap is worth it and not too
	 * long, 0.2 and 8 Gbit/s; and bytes per turn beyond which it is not
	 * needed */
	CALM_SLOW = 24,
	CALM_FAST = 1000,
	CALM_LARGE = 32 * 1024,
	RATE = 16, /* of these in a byte per microsecond, for means */
	/* How often such turns are judged before naps are tried again that have
	 * slowed a sender down: twice as often each time */
	SHUN_LEAST = 4,
	SHUN_MOST = 256,
	GONE_MS = 1000,	  /* a turn that is later than this was kept from
			     running */
	ALARM_WAITS = 16, /* waits in a row that end before their time-out */
	ALARM_MS = 64,	  /* the alarm is not set for less */
};

static uint64_t clock_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts); /* #syscalls clock_gettime */
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

void loop_clock(struct loop *l)
{
	l->now_ns = clock_ns() * CLOCK_SPEED - l->gone_ns;
	l->now_ms = l->now_ns / 1000000;
}

int loop_init(struct loop *l)
{
	*l = (struct loop){ .epfd = epoll_create1(EPOLL_CLOEXEC),
			    .spare = -1,
			    .alarm = { .fd = -1, .watch = -1,
				       .rings = UINT64_MAX } };

	if (l->epfd < 0)
		return -errno;
	loop_clock(l);
	timers_init(&l->timers, l->now_ms);
	return 0;
}

bool loop_lend(struct loop *l)
{
	if (l->spare < 0)
		return false;
	close(l->spare);
	l->alarm.fd = -1;
	l->alarm.rings = UINT64_MAX;
	return true;
}

/* Timers are due, or were moved meanwhile: this turn will look at them */
static void ring(void *owner, uint64_t ref, uint32_t events)
{
	struct loop *l = owner;

	(void)ref;
	(void)events;
	l->alarm.rings = UINT64_MAX;
	loop_stream(l, 0, 0); /* this event must not end a stream */
}

static int open_alarm(struct loop *l)
{
	/* #syscalls timerfd_create */
	int fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);

	/* Edge-triggered: setting it again makes read() unnecessary */
	if (fd < 0 ||
	    !loop_add(l, fd, (unsigned)l->alarm.watch, 0, EPOLLIN | EPOLLET))
		return fd;
	close(fd);
	return -1;
}

void loop_regain(struct loop *l)
{
	l->alarm.fd = l->alarm.watch < 0 ? -1 : open_alarm(l);
	l->spare = l->alarm.fd;
	/* #syscalls fcntl(.,F_DUPFD_CLOEXEC) fcntl64(.,F_DUPFD_CLOEXEC) */
	if (l->spare < 0)
		l->spare = fcntl(l->epfd, F_DUPFD_CLOEXEC, 0);
}

void loop_start(struct loop *l)
{
	l->alarm.watch = (int)loop_watch(l, ring, l);
	loop_regain(l);
	prctl(PR_SET_TIMERSLACK, SLACK_NS);
}

void loop_poll(struct loop *l, unsigned us)
{
	l->poll_ns = us * 1000ULL;
}

unsigned loop_watch(struct loop *l, watch_fn *fn, void *owner)
{
	assert(l->watches < LOOP_WATCHES);
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

/* --- run queues ---------------------------------------------------------- */

static void put_last(struct run_list *l, struct run *r)
{
	r->next = NULL;
	r->prev = l->tail;
	*l->tail = r;
	l->tail = &r->next;
}

static void put_first(struct run_list *l, struct run *r)
{
	r->next = l->head;
	r->prev = &l->head;
	if (r->next)
		r->next->prev = &r->next;
	else
		l->tail = &r->next;
	l->head = r;
}

static void take_out(struct runq *q, struct run *r)
{
	*r->prev = r->next;
	if (r->next)
		r->next->prev = r->prev;
	else if (q->sparse.tail == &r->next)
		q->sparse.tail = r->prev;
	else
		q->bulk.tail = r->prev;
	r->prev = NULL;
}

void runq_init(struct loop *l, struct runq *q, int32_t sparse_max,
	       int32_t budget, run_fn *serve, void *owner)
{
	assert(l->queues < LOOP_QUEUES);
	*q = (struct runq){ .sparse_max = sparse_max, .budget = budget,
			    .round = 1, .serve = serve, .owner = owner,
			    .loop = l, .bit = 1U << l->queues };
	q->sparse.tail = &q->sparse.head;
	q->bulk.tail = &q->bulk.head;
	put_last(&q->bulk, &q->mark);
	l->queue[l->queues++] = q;
}

/* Whether @r is sparse.  An entry that has overdrawn its credit pays that off
 * round by round, so one that brings much each time is not a newcomer each
 * time. */
static bool is_sparse(const struct runq *q, struct run *r)
{
	if (r->round != q->round) {
		r->round = q->round;
		r->credit = MIN(MAX(r->credit, -q->budget), 0) + q->sparse_max;
	}
	return r->credit > 0;
}

void runq_add(struct runq *q, struct run *r)
{
	if (r->prev)
		return;
	put_last(is_sparse(q, r) ? &q->sparse : &q->bulk, r);
	if (!q->held)
		q->loop->runnable |= q->bit;
}

void runq_del(struct runq *q, struct run *r)
{
	if (!r->prev)
		return;
	take_out(q, r);
	if (runq_empty(q))
		q->loop->runnable &= ~q->bit;
}

void runq_release(struct runq *q)
{
	if (!q->held)
		return;
	q->held = false;
	if (!runq_empty(q))
		q->loop->runnable |= q->bit;
}

/* The next entry to be served, NULL: none */
static struct run *pick(struct runq *q)
{
	if (q->sparse.head)
		return q->sparse.head;
	if (q->bulk.head == &q->mark) {
		if (!q->mark.next)
			return NULL;
		q->round++;
		take_out(q, &q->mark);
		put_last(&q->bulk, &q->mark);
	}
	return q->bulk.head;
}

/* Take @r, which is not done, out of the queue, to be put back where it
 * belongs.  It may have been woken meanwhile.  Its debt is bounded, so that the
 * credit cannot overflow. */
static void regain(struct runq *q, struct run *r)
{
	runq_del(q, r);
	r->credit = MAX(r->credit, -q->budget);
}

static void serve(struct runq *q)
{
	struct run_list *from;
	struct run *r;

	q->left = q->budget;
	while (q->left > 0 && (r = pick(q))) {
		from = q->sparse.head == r ? &q->sparse : &q->bulk;
		take_out(q, r);
		q->now = r;
		q->visit = from == &q->sparse ? r->credit : q->budget;
		runq_charge(q, RUN_COST);
		switch (q->serve(q->owner, r)) {
		case RUN_DONE: /* it may have been freed */
			break;
		case RUN_AGAIN:
			regain(q, r);
			if (q->visit > 0 && q->left > 0)
				put_first(from, r);
			else
				put_last(&q->bulk, r);
			break;
		case RUN_HOLD:
			q->held = true;
			regain(q, r);
			put_first(from, r);
			q->loop->runnable &= ~q->bit;
			return;
		}
	}
	if (runq_empty(q)) {
		q->round++;
		q->loop->runnable &= ~q->bit;
	} else {
		q->loop->runnable |= q->bit;
	}
}

static void serve_all(struct loop *l)
{
	uint32_t todo = UINT32_MAX, now;

	while ((now = l->runnable & todo)) {
		unsigned i = 31 - (unsigned)__builtin_clz(now);

		serve(l->queue[i]);
		todo = (1U << i) - 1;
	}
}

/* --- turns --------------------------------------------------------------- */

/* Whether the alarm makes a time-out of @ms, at @next, unnecessary.  A wait
 * with a time-out starts a timer of the kernel and stops it again, which a busy
 * loop pays in every turn for deadlines that are far off.  The alarm is set
 * once instead; it may ring early, as deadlines are moved. */
static bool alarm_serves(struct loop *l, uint64_t next, uint64_t ms)
{
	const struct itimerspec at = {
		.it_value = { .tv_sec = (time_t)(ms / 1000),
			      .tv_nsec = (long)(ms % 1000 * 1000000) },
	};

	if (l->alarm.rings <= next)
		return true;
	if (l->alarm.fd < 0 || ms < ALARM_MS || ++l->alarm.waits < ALARM_WAITS)
		return false;
	l->alarm.waits = 0;
	/* #syscalls timerfd_settime timerfd_settime64 */
	if (timerfd_settime(l->alarm.fd, 0, &at, NULL))
		return false;
	l->alarm.rings = next;
	return true;
}

static int wait_ms(struct loop *l)
{
	uint64_t next, ms;

	if (l->quit || l->soon || l->late_n || l->runnable)
		return 0;
	next = timers_next(&l->timers);
	if (next == UINT64_MAX)
		return -1;
	if (next <= l->now_ms)
		return 0;
	ms = (next - l->now_ms + CLOCK_SPEED - 1) / CLOCK_SPEED;
	if (alarm_serves(l, next, ms))
		return -1;
	return (int)MIN(ms, INT_MAX);
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

/* Make the calls of earlier turns; those of this turn wait for the next one, if
 * there is one.  Otherwise a connection that was to be reset would only be
 * closed, which looks like its regular end. */
static void do_late(struct loop *l)
{
	unsigned i;

	if (l->quit)
		l->late_old = l->late_n;
	for (i = 0; i < l->late_old; i++)
		l->late[i].fn(l->late[i].fd);
	l->late_n -= l->late_old;
	memmove(l->late, l->late + l->late_old, l->late_n * sizeof(*l->late));
	l->late_old = l->late_n;
}

/* Sleeps until an absolute time: a relative sleep that is interrupted by a stop
 * signal and continued takes a system call of its own */
static void nap(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	ts.tv_nsec += NAP_NS;
	if (ts.tv_nsec >= 1000000000) {
		ts.tv_nsec -= 1000000000;
		ts.tv_sec++;
	}
	/* #syscalls clock_nanosleep clock_nanosleep_time64 */
	clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL);
}

/* Judge turns with @rate, in units of 1/RATE byte per microsecond.  Naps slow
 * down a sender that sends no more until we have taken what is there, as its
 * buffer is small.  Such a one is left alone for a while.  Rates vary, so means
 * of about four are compared. */
static void judge_naps(struct loop *l, uint64_t rate)
{
	uint64_t *mean = l->calm.mean;

	if (!l->napping) {
		mean[0] = mean[0] ? mean[0] - mean[0] / 4 + rate / 4 : rate;
		if (!mean[1] || l->calm.shun)
			mean[1] = mean[0];
		return;
	}
	mean[1] = mean[1] - mean[1] / 4 + rate / 4;
	if (mean[1] * 4 < mean[0] * 3) {
		l->calm.shuns = MIN(MAX(l->calm.shuns * 2, SHUN_LEAST), SHUN_MOST);
		l->calm.shun = l->calm.shuns;
	} else if (rate * 4 >= mean[0] * 3) {
		l->calm.shuns = 0;
	}
}

/* Whether naps are worth it.  They are not for requests and answers, where
 * nobody sends while we sleep. */
static bool worth_nap(struct loop *l)
{
	uint64_t us = (l->now_ns - l->calm.since_ns) / 1000;
	uint64_t len = l->calm.len[0] + l->calm.len[1];
	uint64_t rate = len * RATE / MAX(us, 1U);

	judge_naps(l, rate);
	if (l->poll_ns || (l->calm.len[0] && l->calm.len[1]) ||
	    rate < CALM_SLOW * RATE || rate > CALM_FAST * RATE ||
	    (!l->napping && len > CALM_TURNS * CALM_LARGE))
		return false;
	if (!l->calm.shun)
		return true;
	l->calm.shun--;
	return false;
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

/* Judge a turn of @n events.  A turn without events, which a timer or
 * loop_soon() has caused, says nothing. */
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

/* Whether a wait of @ms that began at @was has ended much later than it should.
 * That counts only once: a process that is late in every turn gets no extra
 * time. */
static SELDOM bool has_been_gone(const struct loop *l, uint64_t was, int ms)
{
	uint64_t until = ms < 0 ? l->alarm.rings :
				  was + (uint64_t)ms * CLOCK_SPEED;

	return was != l->gone_at_ms && l->now_ms > until &&
	       l->now_ms - until > GONE_MS * CLOCK_SPEED;
}

/* Read the clock after a wait of @ms.  If the process was stopped, time is set
 * back: what the guest and the host have said meanwhile is read in this turn,
 * but timers would run before it counts. */
static void clock_after(struct loop *l, int ms)
{
	uint64_t ns = l->now_ns, was = l->now_ms;

	loop_clock(l);
	if (UNLIKELY(l->now_ms - was > GONE_MS * CLOCK_SPEED) &&
	    has_been_gone(l, was, ms)) {
		l->gone_ns += l->now_ns - ns;
		l->now_ns = ns;
		l->now_ms = l->gone_at_ms = was;
	}
}

/* Busy polling, see loop_poll().  Returns the number of events, 0: none came. */
static SELDOM int look(struct loop *l, struct epoll_event *ev)
{
	uint64_t until = clock_ns() + l->poll_ns;
	int n;

	do
		n = epoll_pwait(l->epfd, ev, LOOP_EVENTS, 0, NULL);
	while (!n && clock_ns() < until);
	return n;
}

bool loop_turn(struct loop *l)
{
	struct epoll_event ev[LOOP_EVENTS];
	int n = 0, i, ms = wait_ms(l);

	if (l->napping && ms)
		nap();
	if (UNLIKELY(l->busy) && ms)
		n = look(l, ev);
	/* #syscalls epoll_pwait */
	if (!n)
		n = epoll_pwait(l->epfd, ev, LOOP_EVENTS, ms, NULL);
	l->busy = n > 0 && l->poll_ns;
	l->soon = false;
	if (!n && ms > 0)
		l->alarm.waits = 0;
	clock_after(l, ms);
	for (i = 0; i < n; i++) {
		uint64_t data = ev[i].data.u64;
		unsigned w = data >> REF_BITS;

		l->watch[w].fn(l->watch[w].owner,
			       data & ((1ULL << REF_BITS) - 1), ev[i].events);
	}
	timers_run(&l->timers, l->now_ms);
	serve_all(l);
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
	l->leaves = false;
}

void loop_leave(struct loop *l, int status, bool now)
{
	loop_quit(l, status);
	l->leaves = true;
	l->hurries = now;
}
