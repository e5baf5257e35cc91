/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * acceptor - accepts clients of a listening UNIX socket, even when descriptors
 * are few
 */
#ifndef ACCEPTOR_H
#define ACCEPTOR_H

#include "loop.h"

enum { ACCEPTOR_PAUSE_MS = 1000 };

struct acceptor {
	struct loop *loop;
	int fd;
	unsigned watch;
	bool held;   /* by acceptor_hold() */
	bool paused; /* until @timer expires */
	struct timer timer;
};

/* acceptor_start - have @fn called with @owner when a client of @fd, a
 * non-blocking listening socket, waits; 0 or -errno */
int acceptor_start(struct acceptor *a, struct loop *l, int fd, watch_fn *fn,
		   void *owner);

/* acceptor_take - accept the next client; its descriptor or -errno, -EAGAIN
 * while clients are held or paused
 * If there is no descriptor left, the client is closed, which is logged.  If
 * even that does not work, nobody is accepted for ACCEPTOR_PAUSE_MS, so that a
 * waiting client does not keep the loop busy. */
int acceptor_take(struct acceptor *a);

/* acceptor_hold - leave clients waiting (@hold), or no longer */
void acceptor_hold(struct acceptor *a, bool hold);

#endif /* ACCEPTOR_H */
