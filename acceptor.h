/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * acceptor - clients of a listening UNIX socket, also when descriptors are few
 */
#ifndef ACCEPTOR_H
#define ACCEPTOR_H

#include "loop.h"

enum { ACCEPTOR_PAUSE_MS = 1000 };

struct acceptor {
	struct loop *loop;
	int fd;
	unsigned watch;
	bool held;   /* by its owner */
	bool paused; /* until @timer */
	struct timer timer;
};

/* acceptor_start - call @fn when a client of @fd, a non-blocking listening socket,
 * waits; 0 or -errno */
int acceptor_start(struct acceptor *a, struct loop *l, int fd, watch_fn *fn,
		   void *owner);

/* acceptor_take - the next client's descriptor, or -errno, -EAGAIN while clients are
 * left waiting
 * Without a descriptor left the client is closed and told of in the log; where even
 * that does not work nobody is accepted for ACCEPTOR_PAUSE_MS: a client that waits
 * keeps the loop from nothing. */
int acceptor_take(struct acceptor *a);

/* acceptor_hold - leave clients waiting, or no longer */
void acceptor_hold(struct acceptor *a, bool hold);

#endif /* ACCEPTOR_H */
