/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Toy pipes, and splice() between them and toy sockets.
 *
 * A pipe carries bytes, which are made and judged at the sockets.  What it takes at
 * once is less than its size as often as not, as segments fill its places badly; it may
 * not be had at all, be narrow, or not be widened.
 */
#include "sim.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>

enum { PAGE = 4096, PIPE_SIZE = 16 * PAGE, PIPE_MAX = 256 * PAGE };

struct pipe {
	struct pipe_end {
		struct toy toy; /* first */
		struct pipe *pipe;
		unsigned refs;
	} end[2];
	size_t size, len, at;
	uint8_t *data;
};

static unsigned pipes;

static uint32_t poll_pipe(struct toy *t)
{
	(void)t;
	return 0; /* nobody waits for one */
}

static struct pipe_end *end_of(int fd, unsigned which)
{
	struct pipe_end *e = container_of(toy_get(fd), struct pipe_end, toy);

	if (e->toy.poll != poll_pipe || e != &e->pipe->end[which])
		sim_fail("descriptor %d is no such end of a pipe", fd);
	return e;
}

static void close_end(struct toy *t)
{
	struct pipe_end *e = container_of(t, struct pipe_end, toy);
	struct pipe *p = e->pipe;

	if (--e->refs)
		return;
	toy_close(t);
	if (p->end[0].refs || p->end[1].refs)
		return;
	pipes--;
	free(p->data);
	free(p);
}

static const struct toy_ops ops = { .close = close_end };

size_t pipe_holds(int fd)
{
	return end_of(fd, 1)->pipe->len;
}

unsigned pipe_toys(void)
{
	return 2 * pipes;
}

void pipe_reset(void)
{
	pipes = 0;
}

void pipe_keep(int fd)
{
	if (fd >= 0)
		container_of(toy_get(fd), struct pipe_end, toy)->refs++;
}

int __wrap_pipe2(int fd[2], int flags)
{
	struct pipe *p;
	unsigned i;

	if (!(flags & O_NONBLOCK) || !(flags & O_CLOEXEC))
		sim_fail("a pipe that blocks, or that is inherited");
	if (chance(toy_net.pipe_fails)) {
		errno = chance(500) ? EMFILE : ENFILE;
		return -1;
	}
	p = calloc(1, sizeof(*p));
	p->data = malloc(PIPE_MAX);
	p->size = chance(toy_net.pipe_fails) ? PAGE * rnd_in(1, 2) : PIPE_SIZE;
	pipes++;
	for (i = 0; i < 2; i++) {
		p->end[i].pipe = p;
		p->end[i].refs = 1;
		toy_open(&p->end[i].toy, poll_pipe);
		p->end[i].toy.ops = &ops;
		fd[i] = p->end[i].toy.fd;
	}
	return 0;
}

/* pipe_set_size(): to the next power of two, not less than it holds, EPERM beyond the
 * user's quota */
static int set_size(struct pipe *p, size_t size)
{
	size_t have = PAGE;

	while (have < size)
		have *= 2;
	if (have > PIPE_MAX || (have > p->size && chance(toy_net.pipe_fails))) {
		errno = EPERM;
		return -1;
	}
	if (have < p->len) {
		errno = EBUSY;
		return -1;
	}
	p->size = have;
	return (int)have;
}

int __wrap_fcntl(int fd, int cmd, ...)
{
	va_list ap;
	long arg;

	va_start(ap, cmd);
	arg = va_arg(ap, long);
	va_end(ap);
	if (fd < TOY_FD)
		return __real_fcntl(fd, cmd, arg);
	if (cmd == F_GETPIPE_SZ)
		return (int)end_of(fd, 1)->pipe->size;
	if (cmd == F_SETPIPE_SZ)
		return set_size(end_of(fd, 1)->pipe, (size_t)(int)arg);
	sim_fail("fcntl(%d) of toys", cmd);
}

int __wrap_fcntl64(int fd, int cmd, ...) __attribute__((alias("__wrap_fcntl")));

static ssize_t put(struct pipe *p, const uint8_t *buf, size_t len)
{
	size_t n = MIN(len, p->size - p->len);

	if (p->at) {
		memmove(p->data, p->data + p->at, p->len);
		p->at = 0;
	}
	memcpy(p->data + p->len, buf, n);
	p->len += n;
	sim.progress += !!n;
	return (ssize_t)n;
}

ssize_t __wrap_write(int fd, const void *buf, size_t len)
{
	ssize_t n;

	if (fd < TOY_FD)
		return __real_write(fd, buf, len);
	n = put(end_of(fd, 1)->pipe, buf, len);
	trace("  write fd %d: %zd of %zu", fd, n, len);
	if (n || !len)
		return n;
	errno = EAGAIN;
	return -1;
}

/* From a socket.  How much of a pipe its segments take nobody knows: one place each, and
 * there is one for each page. */
static ssize_t fill(struct pipe *p, int from, size_t len)
{
	static uint8_t buf[PIPE_MAX];
	size_t room = p->size - p->len;

	if (!room)
		return -EAGAIN;
	if (chance(400))
		room = rnd_in(MIN(room, 64), room);
	len = sock_splice_read(from, buf, MIN(len, room));
	return (ssize_t)len > 0 ? put(p, buf, len) : (ssize_t)len;
}

static ssize_t drain(struct pipe *p, int to, size_t len)
{
	struct iovec v = { p->data + p->at, MIN(len, p->len) };
	ssize_t n;

	if (!p->len)
		return -EAGAIN;
	/* Now and then a page goes, and then there is a pause */
	if (chance(200))
		v.iov_len = rnd_in(1, MIN(v.iov_len, (size_t)PAGE));
	n = sock_send(to, &v, 1);
	if (n > 0) {
		p->at += (size_t)n;
		p->len -= (size_t)n;
	}
	return n;
}

ssize_t __wrap_splice(int in, void *in_off, int out, void *out_off, size_t len,
		      unsigned flags)
{
	struct toy *t = toy_get(in);
	bool out_of = t->poll == poll_pipe;
	ssize_t n;

	if (in_off || out_off || !(flags & SPLICE_F_NONBLOCK))
		sim_fail("splice() at an offset, or one that blocks");
	n = out_of ? drain(end_of(in, 0)->pipe, out, len) :
		     fill(end_of(out, 1)->pipe, in, len);
	trace("  splice fd %d to %d: %zd of %zu", in, out, n, len);
	if (n >= 0)
		return n;
	errno = (int)-n;
	return -1;
}
