/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * pasta - make and enter namespaces, spawn a command in them
 */
#ifndef PASTA_H
#define PASTA_H

#include "conf.h"
#include "loop.h"

struct pasta {
	int netns;	/* descriptor of the target network namespace */
	int userns;	/* of the user namespace that isolation_sandbox() is to
			   enter, -1: none, or we are in it */
	pid_t child;	/* spawned command, 0 if none */
	int child_fd;	/* pidfd of it, or a signalfd, or of the joined
			   process; -1 */
	int self_fd;	/* pidfd of ourselves, if there is a command, -1 */
	bool ended; /* what we are there for */
	int status_fd;	/* its /proc/PID/status, -1 */
	int terminal_fd; /* signalfd: interrupts, hang-ups, stops */
	unsigned signal; /* that the command may not have heard */
	int go_fd;	/* the command waits at the other end, -1 */
	int watch_fd;	/* inotify on the namespace's directory, or -1 */
	int dir_fd;	/* that directory, or where paths begin; -1 */
	const char *name; /* of the namespace from there */
	struct loop *loop;
	struct timer poll; /* where inotify cannot see it go; for @signal */
	char path[4096];   /* the namespace's, empty if we made it */
};

/* pasta_map - write the maps of a fresh user namespace: root there is @uid and
 * @gid here
 * @pid is a process in it, 0: ourselves.  Failure is a warning. */
void pasta_map(pid_t pid, uid_t uid, gid_t gid);

/* pasta_hint - what to say to somebody for whom making namespaces failed with @err,
 * besides that: to be appended, possibly ""; @user: one for users was among them */
const char *pasta_hint(int err, bool user);

/* pasta_inherit - note what our parent gave us, before we change it: the limit of
 * descriptors, ignored and blocked signals.  A command gets it back. */
void pasta_inherit(void);

/* pasta_open - join or create the namespaces that @c names, bring up lo
 * With a command: it is cloned into new namespaces and waits for pasta_go().
 * @outside is what isolation_user() gave: true, we have kept the privileges for
 * this and sort out the user namespace as well; false, we are in it.
 * Failures end the process with one line. */
void pasta_open(struct pasta *p, const struct conf *c, bool outside);

/* pasta_in_ns - run @fn inside the network namespace, on a process that shares
 * our memory and descriptors; returns what it returned, or -errno
 * Signals wait meanwhile. */
int pasta_in_ns(struct pasta *p, int (*fn)(void *arg), void *arg);

/* pasta_tun - /dev/net/tun, opened @n times inside the network namespace
 * Failures end the process with one line. */
void pasta_tun(struct pasta *p, int *fd, unsigned n);

/* pasta_go - everything is up: the command may run
 * The terminal is the command's now: unless debugging, messages to stderr end. */
void pasta_go(struct pasta *p);

/* pasta_watch - leave with the command's status when it ends, with 0 when the
 * namespace goes (unless --no-netns-quit)
 * An interrupt or hang-up of the terminal is for a command that handles or
 * ignores it; for any other it is the end, with status 128 and its number.
 * Where Ctrl-Z would stop another command, it stops this one and us.
 * Any time after pasta_open(): what it needs is open. */
int pasta_watch(struct pasta *p, struct loop *l, const struct conf *c);

/* pasta_end - the command, if it still runs, ends with us: it has no network
 * any more, and nobody waits for it */
void pasta_end(struct pasta *p);

#endif /* PASTA_H */
