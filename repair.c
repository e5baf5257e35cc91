/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * repair - has a helper, passt-repair(1), set TCP_REPAIR of our sockets
 */
#include "repair.h"

#include "log.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

static void drop(struct repair *r)
{
	if (r->fd >= 0)
		close(r->fd);
	r->fd = -1;
	timer_off(&r->timer);
}

/* End the request with @err and report that; on an error the helper is
 * dropped */
static void finish(struct repair *r, int err)
{
	r->asked = false;
	timer_off(&r->timer);
	if (err) {
		log_warn("TCP_REPAIR helper: %s", util_error(-err));
		drop(r);
	}
	r->done(r->owner, err);
}

static void late(void *owner, struct timer *t)
{
	(void)t;
	finish(owner, -ETIMEDOUT);
}

static int read_answer(struct repair *r)
{
	int8_t mode;
	/* #syscalls:vu recvfrom recv */
	ssize_t n = recv(r->fd, &mode, sizeof(mode), MSG_DONTWAIT);

	if (n < 0)
		return -errno;
	if (!n)
		return -EPIPE;
	return r->asked && mode == r->mode ? 0 : -EPROTO;
}

static void helper_event(void *owner, uint64_t ref, uint32_t events)
{
	struct repair *r = owner;
	int err;

	(void)events;
	if (r->fd < 0 || (int)ref != r->fd)
		return;
	err = read_answer(r);
	if (err == -EAGAIN)
		return;
	if (r->asked) {
		finish(r, err);
		return;
	}
	if (err != -EPIPE)
		log_warn("TCP_REPAIR helper: %s", util_error(-err));
	drop(r);
}

static int watch_helper(struct repair *r, int fd)
{
	return loop_add(r->loop, fd, r->watch, (uint64_t)fd,
			EPOLLIN | EPOLLRDHUP);
}

static void accept_helper(void *owner, uint64_t ref, uint32_t events)
{
	struct repair *r = owner;
	int fd = acceptor_take(&r->acceptor);

	(void)ref;
	(void)events;
	if (fd < 0)
		return;
	if (r->fd >= 0 || watch_helper(r, fd)) {
		log_info("Discarding TCP_REPAIR helper");
		close(fd);
		return;
	}
	log_info("Accepted TCP_REPAIR helper");
	r->fd = fd;
	if (r->came)
		r->came(r->owner);
}

int repair_ask(struct repair *r, enum repair_mode mode, const int *fd,
	       unsigned n)
{
	union {
		struct cmsghdr align;
		uint8_t b[CMSG_SPACE(REPAIR_BATCH * sizeof(int))];
	} control = { 0 };
	struct iovec iov = { &r->mode, sizeof(r->mode) };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (r->fd < 0 || r->asked || !n || n > REPAIR_BATCH)
		return -ENOTCONN;
	util_pass(&m, &control, fd, n);
	r->mode = (int8_t)mode;
	/* #syscalls:vu sendmsg */
	if (sendmsg(r->fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL) != 1) {
		log_warn("TCP_REPAIR helper: %s", util_error(errno));
		drop(r);
		return -EPIPE;
	}
	r->asked = true;
	timer_set(&r->loop->timers, &r->timer, r->loop->now_ms + REPAIR_MS);
	return 0;
}

void repair_end(struct repair *r)
{
	r->asked = false;
	drop(r);
}

void repair_init(struct repair *r)
{
	*r = (struct repair){ .fd = -1 };
	timer_init(&r->timer, late, r);
}

int repair_start(struct repair *r, struct loop *l, int fd)
{
	r->loop = l;
	r->watch = loop_watch(l, helper_event, r);
	if (r->fd >= 0 && watch_helper(r, r->fd))
		drop(r);
	return acceptor_start(&r->acceptor, l, fd, accept_helper, r);
}
