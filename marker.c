/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * marker - a process that keeps the right to mark sockets (--mark)
 *
 * To mark a socket takes a capability in the user namespace that owns the
 * host's network.  We leave that namespace, with all capabilities in it, before
 * the guest's first connection, and would not keep one that also lets a process
 * see all packets of the host.  So a child keeps it: a few lines behind the
 * seccomp filter that can do no more than make and mark a socket, and that end
 * when we do.
 */
#include "marker.h"

#include "isolation.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

int marker_start(struct sock_env *e, uint32_t mark)
{
	int ends[2], fd;
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends))
		return -errno;
	pid = fork();
	if (pid < 0)
		return -errno;
	if (!pid) {
		isolation_marker(ends[1]);
		sock_serve(0, mark);
		_exit(0);
	}
	close(ends[1]);
	e->mark = mark;
	e->maker = ends[0];
	fd = sock_make(e, e->v4, SOCK_DGRAM, 0);
	if (fd < 0)
		return fd;
	close(fd);
	return 0;
}
