/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * isolation - gives up privileges, in named steps
 *
 * In this order: start, user, userns, inherited, sandbox, daemon, detach,
 * files, filter, ready (spec: behaviour 1.8).  Each step ends the process with
 * one line if it fails and must not.
 */
#ifndef ISOLATION_H
#define ISOLATION_H

#include "conf.h"

/* isolation_start - before anything is opened: drop capabilities that no step
 * needs, close every descriptor except 0-2 and those of @g, which are moved;
 * put /dev/null where 0-2 are closed; raise RLIMIT_NOFILE
 * With @later other inherited descriptors are left to isolation_inherited(). */
void isolation_start(struct given *g, bool later);

/* isolation_stdio - put /dev/null, opened with @mode, where 0-2 are closed:
 * otherwise the next file opened would get what is printed */
void isolation_stdio(int mode);

/* isolation_user - become the user of --runas, or nobody if started by root
 * Low ports can still be bound afterwards if they could before. */
void isolation_user(const struct conf *c);

/* isolation_marker - in a child that serves its parent on @fd: move that to 0,
 * close all others, keep only the right to mark sockets, and set the filter */
void isolation_marker(int fd);

/* isolation_userns - pasta: join or make the user namespace
 * Returns true if we have an administrator's rights instead: those needed to
 * set up namespaces were kept, and no other user namespace was entered yet.
 * pasta_open() then finds it, and isolation_sandbox() enters it. */
bool isolation_userns(const struct conf *c);

/* isolation_inherited - close the descriptors that we were started with, once
 * the command was cloned, which has them, and namespaces given by descriptor
 * are open */
void isolation_inherited(void);

/* isolation_sandbox - move to new IPC, mount, UTS (and PID) namespaces and an
 * empty root, or what --sandbox has instead; keep only the capabilities of the
 * mode
 * @userns, if not -1, is entered first and closed.  Returns whether the root is
 * empty. */
bool isolation_sandbox(const struct conf *c, int userns);

/* isolation_daemon - fork unless in the foreground
 * The parent stays until the child calls isolation_ready(), writes the child's
 * PID to @pid_fd (-1: none), tells --ready-fd and exits with 0; or with 1 if
 * the child ends or fails before.  In the foreground the PID is written here,
 * that of a successor by isolation_ready(). */
void isolation_daemon(const struct conf *c, int pid_fd);

/* isolation_detach - in the background: put /dev/null in the place of 0-2, and
 * end messages to stderr */
void isolation_detach(void);

/* isolation_files - gain no new privileges; from now on nothing can be opened,
 * except that files below the @n directories @dir can be read
 * These directories are outside of the empty root, and ".." would lead
 * anywhere.  If the kernel refuses all of this, the process ends, unless the
 * root is @empty. */
void isolation_files(const struct conf *c, bool empty, const int *dir,
		     unsigned n);

/* isolation_filter - become undumpable, gain no new privileges, and set the
 * system call filter of @mode */
void isolation_filter(enum mode mode);

/* isolation_ready - the last step: tell whoever started us that we are ready */
void isolation_ready(const struct conf *c);

/* isolation_failed - instead of isolation_ready(): give "@what: " and the text
 * of @err to the log and to whoever started us; the caller exits */
void isolation_failed(const char *what, int err);

#endif /* ISOLATION_H */
