/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A kernel that refuses the call of the test's choice.  These come before libc's;
 * what is not refused goes on to the kernel.
 */
#ifndef TEST_UNIT_REFUSE_H
#define TEST_UNIT_REFUSE_H

#include "netns.h"

#include <sys/epoll.h>
#include <sys/syscall.h>

static struct {
	const char *only; /* calls of that name, NULL: all of those below */
	unsigned at;	  /* is refused, as counted from 1 on; 0: none is */
	unsigned more;	  /* so are these many behind it */
	int err;
	unsigned calls;
	void (*connects)(void); /* is told before each connect() */
} refuse;

static inline void refuse_call(const char *only, unsigned at, int err)
{
	refuse.only = only;
	refuse.at = at;
	refuse.more = refuse.calls = 0;
	refuse.err = err;
}

/* Whether the call to be refused was made; none is from now on */
static inline bool refuse_end(void)
{
	bool was = refuse.at && refuse.calls >= refuse.at;

	refuse.at = 0;
	return was;
}

static inline bool refused(const char *name)
{
	if (!refuse.at || (refuse.only && strcmp(refuse.only, name)))
		return false;
	if (++refuse.calls < refuse.at ||
	    refuse.calls > refuse.at + refuse.more)
		return false;
	errno = refuse.err;
	return true;
}

static inline unsigned descriptors(void)
{
	unsigned n = 0;
	int fd;

	for (fd = 0; fd < 1024; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

#ifdef __GLIBC__
#define FLAGS int
#else
#define FLAGS unsigned
#endif

#define CALL(name, ...) \
	(refused(#name) ? -1 : syscall(SYS_##name, __VA_ARGS__))

int socket(int family, int type, int proto)
{
	return (int)CALL(socket, family, type, proto);
}

int bind(int fd, const struct sockaddr *sa, socklen_t len)
{
	return (int)CALL(bind, fd, sa, len);
}

int connect(int fd, const struct sockaddr *sa, socklen_t len)
{
	if (refuse.connects)
		refuse.connects();
	return (int)CALL(connect, fd, sa, len);
}

int shutdown(int fd, int how)
{
	return (int)CALL(shutdown, fd, how);
}

int setsockopt(int fd, int level, int opt, const void *v, socklen_t len)
{
	return (int)CALL(setsockopt, fd, level, opt, v, len);
}

int getsockopt(int fd, int level, int opt, void *v, socklen_t *len)
{
	return (int)CALL(getsockopt, fd, level, opt, v, len);
}

int getsockname(int fd, struct sockaddr *sa, socklen_t *len)
{
	return (int)CALL(getsockname, fd, sa, len);
}

ssize_t send(int fd, const void *p, size_t len, int flags)
{
	return refused("send") ? -1 : syscall(SYS_sendto, fd, p, len, flags,
					      NULL, 0);
}

ssize_t recv(int fd, void *p, size_t len, int flags)
{
	return refused("recv") ? -1 : syscall(SYS_recvfrom, fd, p, len, flags,
					      NULL, NULL);
}

ssize_t sendto(int fd, const void *p, size_t len, int flags,
	       const struct sockaddr *to, socklen_t size)
{
	return CALL(sendto, fd, p, len, flags, to, size);
}

ssize_t recvmsg(int fd, struct msghdr *m, int flags)
{
	return CALL(recvmsg, fd, m, flags);
}

ssize_t sendmsg(int fd, const struct msghdr *m, int flags)
{
	return CALL(sendmsg, fd, m, flags);
}

int sendmmsg(int fd, struct mmsghdr *m, unsigned n, FLAGS flags)
{
	return (int)CALL(sendmmsg, fd, m, n, flags);
}

int recvmmsg(int fd, struct mmsghdr *m, unsigned n, FLAGS flags,
	     struct timespec *t)
{
	return (int)CALL(recvmmsg, fd, m, n, flags, t);
}

int epoll_ctl(int ep, int op, int fd, struct epoll_event *e)
{
	return (int)CALL(epoll_ctl, ep, op, fd, e);
}

#undef CALL
#undef FLAGS

#endif /* TEST_UNIT_REFUSE_H */
