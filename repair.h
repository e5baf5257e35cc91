/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * repair - has somebody who may set sockets' TCP_REPAIR: passt-repair(1)
 *
 * It connects to a socket of ours, is sent the sockets, and with them a byte, which
 * it sends back when that is done.
 */
#ifndef REPAIR_H
#define REPAIR_H

#include "acceptor.h"

/* Of TCP_REPAIR; what ends with a probe makes the other end tell where it is */
enum repair_mode { REPAIR_OFF_QUIET = -1, REPAIR_OFF, REPAIR_ON };

enum {
	REPAIR_BATCH = 253, /* SCM_MAX_FD of the kernel */
	REPAIR_MS = 5000, /* for so long it may take */
};

struct repair {
	struct loop *loop; /* NULL: there is no socket for it */
	struct acceptor acceptor;
	unsigned watch;
	int fd; /* the helper, -1 */
	int8_t mode;
	bool asked;
	struct timer timer;
	/* The caller's: one has come; and what was asked for has been done, or
	 * (-errno) it has not, and the helper is gone */
	void (*came)(void *owner);
	void (*done)(void *owner, int err);
	void *owner;
};

/* repair_init - there will be no helper, unless repair_start()
 * repair_start - helpers may connect to @fd, a listening socket, if @r->fd is not
 * one; 0 or -errno */
void repair_init(struct repair *r);
int repair_start(struct repair *r, struct loop *l, int fd);

/* repair_ask - have @n (at most REPAIR_BATCH) sockets set to @mode; @r->done() is
 * called when they are, not before this returns.  0 or -errno. */
int repair_ask(struct repair *r, enum repair_mode mode, const int *fd,
	       unsigned n);

/* repair_end - the helper has done its work: it may go */
void repair_end(struct repair *r);

static inline bool repair_there(const struct repair *r)
{
	return r->fd >= 0;
}

#endif /* REPAIR_H */
