/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * vhost_bell - descriptors by which the other side of a ring is notified
 *
 * All front-ends that we know have non-blocking eventfds, so notifying is one
 * write.  We do not make one non-blocking that is not: this is a property of
 * the open file, and somebody may be in a read() of it.  Nor does the kernel
 * have a write to an eventfd that does not block just once (RWF_NOWAIT is
 * refused).  So such a one is polled first, by epoll, which the filter allows
 * anyway.  To a socket, as User-mode Linux has them, one can send without
 * waiting.
 *
 * A front-end may make a descriptor blocking later.  We do not look for that:
 * the next client that connects interrupts a write that blocks, see
 * vhost_bell_rouse().
 */
#include "vhost_bell.h"

#include "util.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

int vhost_bell_look(void)
{
	int fd = epoll_create1(EPOLL_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

int vhost_bell_check(int fd, bool listen)
{
	struct util_stat st;
	int err = util_fstat(fd, &st);

	if (err)
		return err;
	/* An eventfd has no file type.  Writing to other things could take any
	 * time. */
	if (st.mode & S_IFMT &&
	    (listen || !(S_ISFIFO(st.mode) || S_ISSOCK(st.mode))))
		return -EINVAL;
	return 0;
}

void vhost_bell_set(struct vhost_bell *b, int fd)
{
	struct util_stat st;

	/* The signal handler may look at @b at any time */
	b->ready = false;
	if (b->fd >= 0)
		close(b->fd);
	b->fd = fd;
	b->socket = fd >= 0 && !util_fstat(fd, &st) && S_ISSOCK(st.mode);
	/* #syscalls:vu fcntl(.,F_GETFL) fcntl64(.,F_GETFL) */
	b->ready = fd >= 0 && fcntl(fd, F_GETFL) & O_NONBLOCK;
}

static bool has_room(int fd, int look)
{
	struct epoll_event e = { .events = EPOLLOUT };
	bool room;

	/* #syscalls epoll_ctl epoll_pwait */
	if (epoll_ctl(look, EPOLL_CTL_ADD, fd, &e))
		return false;
	room = epoll_pwait(look, &e, 1, 0, NULL) == 1 && e.events == EPOLLOUT;
	epoll_ctl(look, EPOLL_CTL_DEL, fd, NULL);
	return room;
}

void vhost_bell_ring(const struct vhost_bell *b, int look)
{
	uint64_t one = 1;

	/* #syscalls write */
	if (b->socket) /* #syscalls:vu sendto send */
		(void)!send(b->fd, &one, sizeof(one), MSG_DONTWAIT | MSG_NOSIGNAL);
	else if (b->fd >= 0 && (b->ready || has_room(b->fd, look)))
		(void)!write(b->fd, &one, sizeof(one));
}

void vhost_bell_rouse(const struct vhost_bell *b)
{
	int flags = b->ready ? fcntl(b->fd, F_GETFL) : -1;

	/* #syscalls:vu fcntl(.,F_SETFL) fcntl64(.,F_SETFL) */
	if (flags >= 0 && !(flags & O_NONBLOCK))
		(void)fcntl(b->fd, F_SETFL, flags | O_NONBLOCK);
}
