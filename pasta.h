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
	int home;	/* of the one we were started in */
	pid_t child;	/* spawned command, 0 if none */
	int child_fd;	/* pidfd of it, or of the joined process; -1 */
	int watch_fd;	/* inotify on the namespace's directory, or -1 */
	struct loop *loop;
	struct timer poll; /* where inotify cannot see it go */
	char path[4096];   /* the namespace's, for the watch */
};

/* pasta_open - join or create the namespaces that @c names
 * With a command: it is cloned into new namespaces and waits for pasta_go().
 * The caller has joined or made the user namespace (isolation_user()).
 * Failures end the process with one line. */
void pasta_open(struct pasta *p, const struct conf *c);

/* pasta_in_ns - run @fn inside the network namespace, on a thread-less clone or
 * by setns() there and back; returns what it returned, or -errno. */
int pasta_in_ns(struct pasta *p, int (*fn)(void *arg), void *arg);

/* pasta_go - everything is up: the command may run */
void pasta_go(struct pasta *p);

/* pasta_watch - leave with the command's status when it ends, with 0 when the
 * namespace goes (unless --no-netns-quit) */
int pasta_watch(struct pasta *p, struct loop *l, const struct conf *c);

#endif /* PASTA_H */
