/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * pasta - makes and enters namespaces, runs a command in them
 */
#ifndef PASTA_H
#define PASTA_H

#include "conf.h"
#include "loop.h"

struct pasta {
	int netns;	/* the guest's network namespace */
	int userns;	/* user namespace that isolation_sandbox() is to enter;
			   -1: none, or we are in it */
	pid_t child;	/* the command's PID, 0: there is none */
	int child_fd;	/* pidfd of the command, or of the process joined, or a
			   signalfd; -1 */
	int self_fd;	/* pidfd of ourselves if there is a command, else -1 */
	bool ended; /* the command or namespace has ended */
	int status_fd;	/* the command's /proc/PID/status, -1 */
	int terminal_fd; /* signalfd for interrupt, hang-up and stop from the
			    terminal */
	unsigned signal; /* a signal that the command may not have got */
	int go_fd;	/* pipe that the command waits at, -1 */
	int watch_fd;	/* inotify on the namespace's directory, or -1 */
	int dir_fd;	/* that directory, or where @path begins; -1 */
	const char *name; /* name of the namespace relative to @dir_fd */
	struct loop *loop;
	struct timer poll; /* polls where inotify does not report it; also for
			      @signal */
	char path[4096];   /* path of the namespace, empty if we made it */
};

/* pasta_map - write the maps of a fresh user namespace: root there is @uid and
 * @gid here
 * @pid is a process in it, 0: ourselves.  Failure is only logged. */
void pasta_map(pid_t pid, uid_t uid, gid_t gid);

/* pasta_hint - text to append to an error message when making namespaces has
 * failed with @err (positive), possibly ""; @user: a user namespace was among
 * them */
const char *pasta_hint(int err, bool user);

/* pasta_inherit - remember what our parent gave us before we change it: the
 * limit of descriptors, ignored and blocked signals; the command gets it
 * back */
void pasta_inherit(void);

/* pasta_open - join or create the namespaces that @c asks for, and bring up lo
 * A command is cloned into new namespaces and waits for pasta_go().  @outside
 * is what isolation_userns() returned: true if we have kept the privileges for
 * this and the user namespace is still to be found, false if we are in it.
 * Failures end the process with one line. */
void pasta_open(struct pasta *p, const struct conf *c, bool outside);

/* pasta_in_ns - run @fn inside the network namespace, in a process that shares
 * our memory and descriptors, with all signals blocked
 * Returns what @fn returned, or -errno if it did not run. */
int pasta_in_ns(struct pasta *p, int (*fn)(void *arg), void *arg);

/* pasta_tun - open /dev/net/tun @n times inside the network namespace
 * Failures end the process with one line. */
void pasta_tun(struct pasta *p, int *fd, unsigned n);

/* pasta_go - everything is set up: let the command run
 * The terminal is the command's from now on: unless debugging, we write no more
 * messages to stderr. */
void pasta_go(struct pasta *p);

/* pasta_watch - have the loop end with the command's status when that ends, or
 * with 0 when the namespace goes (unless --no-netns-quit)
 * An interrupt or hang-up from the terminal is left to a command that handles
 * or ignores it; for any other it is the end, with status 128 plus its number.
 * Where Ctrl-Z would stop another command, it stops this one and us.  May be
 * called any time after pasta_open(), which has opened what it needs.  Returns
 * 0 or -errno. */
int pasta_watch(struct pasta *p, struct loop *l, const struct conf *c);

/* pasta_end - end the command, if it still runs: it has no network any more,
 * and nobody waits for it */
void pasta_end(struct pasta *p);

#endif /* PASTA_H */
