/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * acceptor - clients of a listening UNIX socket, also when descriptors are few
 *
 * The socket is watched level-triggered.  A client that cannot be accepted, as
 * there are no descriptors, would be reported for ever: it is accepted with the
 * descriptor that the loop keeps in reserve, and closed.
 */
#include "acceptor.h"

#include "log.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

static void again(struct acceptor *a)
{
	timer_set(&a->loop->timers, &a->timer,
		  a->loop->now_ms + ACCEPTOR_PAUSE_MS);
}

/* Watch the socket unless accepting is held or paused.  If that fails try again
 * later, or no client would be served any more. */
static void watch(struct acceptor *a)
{
	bool on = !a->held && !a->paused;

	if (loop_mod(a->loop, a->fd, a->watch, 0, on ? EPOLLIN : 0))
		again(a);
}

static void resume(void *owner, struct timer *t)
{
	struct acceptor *a = owner;

	(void)t;
	a->paused = false;
	watch(a);
}

static void pause_clients(struct acceptor *a)
{
	a->paused = true;
	again(a);
	watch(a);
}

static int take(const struct acceptor *a)
{
	/* #syscalls accept4 */
	int fd = accept4(a->fd, NULL, NULL, SOCK_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

/* Accept and close a client for which there is no descriptor; false: that
 * failed */
static bool shed(struct acceptor *a)
{
	int fd;

	if (!loop_lend(a->loop))
		return false;
	fd = take(a);
	if (fd >= 0)
		close(fd); /* #syscalls close */
	loop_regain(a->loop);
	return fd >= 0;
}

int acceptor_take(struct acceptor *a)
{
	int fd = a->held || a->paused ? -EAGAIN : take(a);

	if (fd >= 0 || fd == -EAGAIN || fd == -EINTR || fd == -ECONNABORTED)
		return fd;
	log_limited(LOG_WARN, "Can't accept client: %s", util_error(-fd));
	if ((fd != -EMFILE && fd != -ENFILE) || !shed(a))
		pause_clients(a);
	return fd;
}

void acceptor_hold(struct acceptor *a, bool hold)
{
	if (a->held == hold)
		return;
	a->held = hold;
	watch(a);
}

int acceptor_start(struct acceptor *a, struct loop *l, int fd, watch_fn *fn,
		   void *owner)
{
	a->loop = l;
	a->fd = fd;
	a->held = a->paused = false;
	a->watch = loop_watch(l, fn, owner);
	timer_init(&a->timer, resume, a);
	return loop_add(l, fd, a->watch, 0, EPOLLIN);
}
