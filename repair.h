/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * repair - has sockets put into repair mode by a helper that may do that:
 * passt-repair(1)
 *
 * The helper connects to a socket of ours.  It is sent the sockets with a byte,
 * which it sends back when it has set TCP_REPAIR.
 */
#ifndef REPAIR_H
#define REPAIR_H

#include "acceptor.h"

/* Values of TCP_REPAIR; REPAIR_OFF ends with a window probe, which makes the
 * far end tell where it is */
enum repair_mode { REPAIR_OFF_QUIET = -1, REPAIR_OFF, REPAIR_ON };

enum {
	REPAIR_BATCH = 253, /* the kernel's SCM_MAX_FD */
	REPAIR_MS = 5000, /* time that the helper has for an answer */
};

struct repair {
	struct loop *loop; /* NULL: repair_start() was not called */
	struct acceptor acceptor;
	unsigned watch;
	int fd; /* the helper, -1 */
	int8_t mode;
	bool asked;
	struct timer timer;
	/* Planted by the user: a helper has connected; and a request was
	 * carried out, or (@err is -errno) failed, and the helper is gone */
	void (*came)(void *owner);
	void (*done)(void *owner, int err);
	void *owner;
};

/* repair_init - set up @r without a socket for helpers
 * repair_start - let helpers connect to @fd, a listening socket; one may be
 * there already as @r->fd.  0 or -errno */
void repair_init(struct repair *r);
int repair_start(struct repair *r, struct loop *l, int fd);

/* repair_ask - have TCP_REPAIR of @n sockets, at most REPAIR_BATCH, set to
 * @mode
 * @r->done() is called with the result, and not before this returns.  Returns 0
 * or -errno. */
int repair_ask(struct repair *r, enum repair_mode mode, const int *fd,
	       unsigned n);

/* repair_end - hang up on the helper, whose work is done */
void repair_end(struct repair *r);

/* repair_there - whether a helper is connected */
static inline bool repair_there(const struct repair *r)
{
	return r->fd >= 0;
}

#endif /* REPAIR_H */
