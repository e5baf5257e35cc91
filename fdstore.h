/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * fdstore - descriptors that the service manager keeps while nobody runs
 *
 * sd_notify(3) and sd_listen_fds(3) have the words.  The store is a set without an
 * order, so a file in it has the state and says at its end which descriptors belong to
 * that, in order, by device and inode.
 */
#ifndef FDSTORE_H
#define FDSTORE_H

#include "fdlist.h"

enum { FDSTORE_MAX = 1 << 18 };

struct fdstore {
	unsigned n;   /* inherited: from 3 on */
	int from;     /* the state of who was before us, -1: none */
	int notify;   /* the manager, -1 */
	int to;	      /* a file for our own state */
	int heard[2]; /* a stream, whose other end the manager closes at last */
	unsigned saved, at; /* of @id */
	struct fdstore_id {
		uint64_t dev, ino;
		int fd;
		bool used;
	} *id, *have; /* FDSTORE_MAX, mapped; what was saved, what there is */
};

/* fdstore_inherit - first of all: what the manager gives us is kept, if @wanted */
void fdstore_inherit(struct fdstore *s, bool wanted);

/* fdstore_open - where paths lead somewhere: the manager; 0 or -errno
 * @s->from is there if the state is whole and so is what belongs to it.  The manager
 * need not keep it any longer. */
int fdstore_open(struct fdstore *s);

/* fdstore_feed - more of what belongs to the state, in order, to @fds
 * fdstore_end - all that nobody has taken is closed */
void fdstore_feed(struct fdstore *s, struct fdlist *fds);
void fdstore_end(struct fdstore *s);

/* fdstore_begin, fdstore_put - a piece of our state, and what goes with it (at most 253)
 * fdstore_done - that was all; before, there is no state to be found.  0 or -errno
 * The manager has it then: it is waited for, ten seconds at most. */
int fdstore_begin(struct fdstore *s);
int fdstore_put(struct fdstore *s, const void *p, size_t len, const int *fd,
		unsigned n);
int fdstore_done(struct fdstore *s);

#endif /* FDSTORE_H */
