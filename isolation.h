/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * isolation - shrink privileges in named steps
 *
 * In this order: start, user, userns, inherited, sandbox, daemon, detach, files, filter, ready
 * (spec: behaviour 1.8).  Each ends the process with one line if it fails and must not.
 */
#ifndef ISOLATION_H
#define ISOLATION_H

#include "conf.h"

/* isolation_start - before anything is opened: drop capabilities that no step
 * needs, close every descriptor but 0-2 and those of @g, which move away from where
 * they were; put /dev/null where 0-2 are closed; raise RLIMIT_NOFILE.
 * @later: leave what we were started with to isolation_inherited(). */
void isolation_start(struct given *g, bool later);

/* isolation_stdio - put /dev/null, opened with @mode, where 0-2 are closed: what is
 * opened next would get what is printed */
void isolation_stdio(int mode);

/* isolation_user - become --runas or nobody
 * Low ports can still be had afterwards, if they could before. */
void isolation_user(const struct conf *c);

/* isolation_marker - a child that only serves its parent on @fd, which becomes 0:
 * no other descriptor, the right to mark sockets, and the filter */
void isolation_marker(int fd);

/* isolation_userns - pasta: join or make the user namespace
 * True means that we had the rights of an administrator, kept those that are
 * needed to set up namespaces and are in no other user namespace yet:
 * pasta_open() finds it, isolation_sandbox() enters it. */
bool isolation_userns(const struct conf *c);

/* isolation_inherited - close what we were started with: a command that was cloned
 * has got it, namespaces that came by it are open */
void isolation_inherited(void);

/* isolation_sandbox - new IPC, mount, UTS (and PID) namespaces and an empty
 * root, or what --sandbox has instead; keep only the capabilities of the mode
 * @userns, if not -1, is entered first and closed.  True: the root is empty. */
bool isolation_sandbox(const struct conf *c, int userns);

/* isolation_daemon - fork unless foreground
 * The parent stays until isolation_ready(), writes the child's PID to @pid_fd
 * (-1: none), tells --ready-fd and leaves with 0; or with 1 if the child ends
 * before.  In the foreground it is written here, that of a successor by
 * isolation_ready(). */
void isolation_daemon(const struct conf *c, int pid_fd);

/* isolation_detach - in the background: /dev/null as 0-2, no more messages to
 * stderr */
void isolation_detach(void);

/* isolation_files - no new privileges; from now on nothing can be opened but, to
 * read it, what is below one of the @n directories @dir
 * Which are outside of an empty root, where ".." would lead anywhere.  Where
 * nothing of that is possible, this is the end unless the root is @empty. */
void isolation_files(const struct conf *c, bool empty, const int *dir,
		     unsigned n);

/* isolation_filter - not dumpable, no new privileges, the seccomp filter */
void isolation_filter(enum mode mode);

/* isolation_ready - the last step: whoever started us may go on */
void isolation_ready(const struct conf *c);

/* isolation_failed - instead of that, "@what: " and what @err means, to the log and to
 * whoever started us; the caller ends */
void isolation_failed(const char *what, int err);

#endif /* ISOLATION_H */
