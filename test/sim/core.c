/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The toy kernel's clock, epoll and descriptors.
 *
 * loop.c runs unchanged: the linker sends its epoll and clock calls here.
 * epoll_pwait() runs the simulation's events until a descriptor is ready or the
 * timeout is over, and moves the clock.  Readiness follows Linux: a wake-up
 * puts a descriptor on the ready list if its key matches the mask, and what is
 * reported is what poll() says when the list is read.
 */
#include "sim.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

struct sim sim;

static struct event {
	uint64_t at, no;
	event_fn *fn;
	void *arg;
} *heap;
static unsigned events, heap_max;
static uint64_t event_no;
static struct toy *toys[TOY_MAX];
static unsigned toys_end, toys_free; /* the lowest free one, or less */
/* On the ready list.  Bits, because idle ones are to cost little time. */
static uint64_t armed[TOY_MAX / 64];

/* splitmix64 (Steele, Lea, Flood 2014) */
uint64_t rnd(void)
{
	uint64_t z = sim.state += 0x9e3779b97f4a7c15ULL;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
	return z ^ (z >> 31);
}

/* Seconds after which the host was started: soon milliseconds are more than 31 bits,
 * or 32, hold */
static const uint64_t boot[] = { 2147480, 1000, 4294960, 1000 };

void sim_reset(uint64_t seed)
{
	sim.state = seed;
	sim.state = rnd() ^ seed << 32; /* neighbours have nothing in common */
	sim.seed = seed;
	sim.now = boot[seed % ARRAY_SIZE(boot)] * SEC;
	sim.horizon = sim.now;
	sim.progress = sim.last_progress = 0;
	sim.idle = sim.turns = sim.slots_out = sim.naps = 0;
	sim.max_turns = 10 * 1000 * 1000;
	events = 0;
	event_no = 0;
	memset(toys, 0, sizeof(toys));
	memset(armed, 0, sizeof(armed));
	toys_end = toys_free = 0;
}

void sim_fail(const char *fmt, ...)
{
	va_list ap;

	fflush(stdout);
	fprintf(stderr, "%s%s", sim.name ? sim.name : "sim",
		sim.line ? ":" : ": ");
	if (sim.line)
		fprintf(stderr, "%u: ", sim.line);
	fprintf(stderr, "at %.6f s: ", (double)sim.now / 1e9 - 1000);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	if (sim.catch)
		longjmp(sim.stop, 1);
	fflush(NULL);
	_exit(1);
}

void trace(const char *fmt, ...)
{
	va_list ap;

	if (!sim.verbose)
		return;
	printf("%12.6f ", (double)sim.now / 1e9 - 1000);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	putchar('\n');
}

uint64_t rnd_to(uint64_t n)
{
	return n ? rnd() % n : 0;
}

uint64_t rnd_in(uint64_t lo, uint64_t hi)
{
	return lo + rnd_to(hi - lo + 1);
}

bool chance(unsigned per_mille)
{
	return per_mille && rnd_to(1000) < per_mille;
}

/* --- events --------------------------------------------------------------- */

static bool before(const struct event *a, const struct event *b)
{
	return a->at < b->at || (a->at == b->at && a->no < b->no);
}

void sim_after(uint64_t ns, event_fn *fn, void *arg)
{
	struct event e = { sim.now + ns, event_no++, fn, arg };
	unsigned i = events++;

	if (events > heap_max) {
		heap_max = heap_max ? 2 * heap_max : 256;
		heap = realloc(heap, heap_max * sizeof(*heap));
	}
	for (; i && before(&e, &heap[(i - 1) / 2]); i = (i - 1) / 2)
		heap[i] = heap[(i - 1) / 2];
	heap[i] = e;
}

static struct event pop(void)
{
	struct event top = heap[0], e = heap[--events];
	unsigned i = 0, c;

	while ((c = 2 * i + 1) < events) {
		if (c + 1 < events && before(&heap[c + 1], &heap[c]))
			c++;
		if (!before(&heap[c], &e))
			break;
		heap[i] = heap[c];
		i = c;
	}
	heap[i] = e;
	return top;
}

void sim_events(void)
{
	while (events && heap[0].at <= sim.now) {
		struct event e = pop();

		sim.progress++;
		e.fn(e.arg);
	}
}

/* --- descriptors ---------------------------------------------------------- */

static void arm(const struct toy *t, bool on)
{
	unsigned i = (unsigned)(t->fd - TOY_FD);
	uint64_t bit = 1ULL << i % 64;

	armed[i / 64] = (armed[i / 64] & ~bit) | (on ? bit : 0);
}

void toy_open(struct toy *t, uint32_t (*poll)(struct toy *t))
{
	unsigned i;

	for (i = toys_free; i < TOY_MAX && toys[i]; i++)
		;
	if (i == TOY_MAX)
		sim_fail("out of toy descriptors");
	if (i >= toys_end)
		toys_end = i + 1;
	toys[i] = t;
	toys_free = i + 1;
	t->fd = TOY_FD + (int)i;
	t->poll = poll;
	t->watched = false;
	arm(t, false);
	sim.progress++;
}

void toy_close(struct toy *t)
{
	toys[t->fd - TOY_FD] = NULL;
	toys_free = MIN(toys_free, (unsigned)(t->fd - TOY_FD));
	t->watched = false;
	arm(t, false);
	t->fd = -1;
	sim.progress++;
}

struct toy *toy_get(int fd)
{
	if (fd < TOY_FD || fd >= TOY_FD + TOY_MAX || !toys[fd - TOY_FD])
		sim_fail("descriptor %d is not open", fd);
	return toys[fd - TOY_FD];
}

unsigned toy_count(void)
{
	unsigned i, n = 0;

	for (i = 0; i < toys_end; i++)
		n += !!toys[i];
	return n;
}

void toy_wake(struct toy *t, uint32_t key)
{
	if (t->watched && (!key || (key & t->mask)))
		arm(t, true);
}

/* --- what the linker puts in the kernel's place --------------------------- */

int __wrap_epoll_create1(int flags)
{
	(void)flags;
	return TOY_FD - 1;
}

int __wrap_epoll_ctl(int epfd, int op, int fd, struct epoll_event *ev)
{
	struct toy *t = toy_get(fd);

	(void)epfd;
	if ((op == EPOLL_CTL_ADD) == t->watched) {
		errno = op == EPOLL_CTL_ADD ? EEXIST : ENOENT;
		return -1;
	}
	sim.progress++;
	if (op == EPOLL_CTL_ADD && t->unwatchable) {
		errno = ENOMEM;
		return -1;
	}
	t->watched = op != EPOLL_CTL_DEL;
	arm(t, false);
	if (!t->watched)
		return 0;
	t->mask = ev->events | EPOLLERR | EPOLLHUP;
	t->data = ev->data.u64;
	arm(t, t->poll(t) & t->mask);
	return 0;
}

static int collect(struct epoll_event *ev, int max)
{
	static unsigned start;
	unsigned i;
	int n = 0;

	start++;
	for (i = 0; i < toys_end && n < max; i++) {
		unsigned at = (start + i) % toys_end;
		uint64_t word = armed[at / 64];
		struct toy *t = toys[at];
		uint32_t now;

		if (!word && !(at % 64)) /* nor is the rest of it */
			i += MIN(64, toys_end - at) - 1;
		if (!(word & 1ULL << at % 64))
			continue;
		arm(t, false);
		now = t->poll(t) & t->mask;
		if (!now)
			continue;
		arm(t, !(t->mask & EPOLLET));
		ev[n].events = now;
		ev[n++].data.u64 = t->data;
		if (sim.verbose)
			trace("  event fd %d:%s%s%s%s%s", t->fd,
			      now & EPOLLIN ? " IN" : "",
			      now & EPOLLOUT ? " OUT" : "",
			      now & EPOLLRDHUP ? " RDHUP" : "",
			      now & EPOLLHUP ? " HUP" : "",
			      now & EPOLLERR ? " ERR" : "");
	}
	return n;
}

/* A turn that has work, does none and would do the same again is a spin */
static void watch_turns(int timeout)
{
	if (sim.slots_out)
		sim_fail("%u slots kept over the end of a turn", sim.slots_out);
	if (++sim.turns > sim.max_turns)
		sim_fail("%u turns: too many", sim.turns);
	if (!timeout && sim.progress == sim.last_progress)
		sim.idle++;
	else
		sim.idle = 0;
	if (sim.idle > 100)
		sim_fail("spin: %u turns that changed nothing", sim.idle);
	sim.last_progress = sim.progress;
}

int __wrap_epoll_pwait(int epfd, struct epoll_event *ev, int max, int timeout,
		       const sigset_t *set)
{
	uint64_t until = sim.horizon;
	int n;

	(void)epfd;
	(void)set;
	watch_turns(timeout);
	sim.now += 2 * US; /* a turn takes time */
	if (timeout >= 0)
		until = MIN(until, sim.now + (uint64_t)timeout * MS);
	for (;;) {
		sim_events();
		n = collect(ev, max);
		if (n || sim.interrupt) {
			sim.interrupt = false;
			return n;
		}
		if (!events || heap[0].at > until)
			break;
		sim.now = heap[0].at;
	}
	sim.now = MAX(sim.now, until);
	return 0;
}

/* The process stands still, the world does not */
void sim_stop(uint64_t ns)
{
	uint64_t until = sim.now + ns;

	while (events && heap[0].at <= until) {
		sim.now = MAX(sim.now, heap[0].at);
		sim_events();
	}
	sim.now = until;
	sim.interrupt = true;
}

/* Until a time, that is: TIMER_ABSTIME */
int __wrap_clock_nanosleep(int clock, int flags, const struct timespec *ts,
			   struct timespec *left)
{
	uint64_t until = (uint64_t)ts->tv_sec * SEC + (uint64_t)ts->tv_nsec;

	(void)clock;
	(void)flags;
	(void)left;
	while (events && heap[0].at <= until) {
		sim.now = MAX(sim.now, heap[0].at);
		sim_events();
	}
	sim.now = MAX(sim.now, until);
	sim.naps++;
	return 0;
}

int __wrap_clock_gettime(int clock, struct timespec *ts)
{
	(void)clock;
	ts->tv_sec = (time_t)(sim.now / SEC);
	ts->tv_nsec = (long)(sim.now % SEC);
	return 0;
}

/* Whose descriptor it is answers; ours are not the kernel's */
static ssize_t answer(ssize_t n)
{
	sim.progress += n > 0;
	if (n >= 0)
		return n;
	errno = (int)-n;
	return -1;
}

int __wrap_accept4(int fd, struct sockaddr *addr, socklen_t *len, int flags)
{
	if (fd < TOY_FD)
		return __real_accept4(fd, addr, len, flags);
	return (int)answer(toy_get(fd)->ops->accept(toy_get(fd)));
}

ssize_t __wrap_recvmsg(int fd, struct msghdr *h, int flags)
{
	if (fd < TOY_FD)
		return __real_recvmsg(fd, h, flags);
	return answer(toy_get(fd)->ops->receive(toy_get(fd), h, flags));
}

ssize_t __wrap_sendmsg(int fd, const struct msghdr *h, int flags)
{
	if (fd < TOY_FD)
		return __real_sendmsg(fd, h, flags);
	return answer(toy_get(fd)->ops->send(toy_get(fd), h, flags));
}

ssize_t __wrap_send(int fd, const void *buf, size_t len, int flags)
{
	struct iovec v = { .iov_base = (void *)(uintptr_t)buf, .iov_len = len };
	struct msghdr h = { .msg_iov = &v, .msg_iovlen = 1 };

	return fd < TOY_FD ? __real_send(fd, buf, len, flags) :
			     __wrap_sendmsg(fd, &h, flags);
}

int __wrap_close(int fd)
{
	if (fd < TOY_FD)
		return __real_close(fd);
	toy_get(fd)->ops->close(toy_get(fd));
	return 0;
}

/* By these names where time has 64 bits by choice */
ssize_t __wrap___recvmsg64(int fd, struct msghdr *h, int flags)
	__attribute__((alias("__wrap_recvmsg")));
ssize_t __wrap___sendmsg64(int fd, const struct msghdr *h, int flags)
	__attribute__((alias("__wrap_sendmsg")));
int __wrap___clock_gettime64(int clock, struct timespec *ts)
	__attribute__((alias("__wrap_clock_gettime")));
int __wrap___clock_nanosleep_time64(int clock, int flags,
				    const struct timespec *ts,
				    struct timespec *left)
	__attribute__((alias("__wrap_clock_nanosleep")));

bool __wrap_util_random(void *buf, size_t n)
{
	uint8_t *p = buf;

	while (n--)
		*p++ = (uint8_t)rnd();
	return true;
}
