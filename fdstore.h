/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * fdstore - descriptors that the service manager keeps while nobody runs
 *
 * sd_notify(3) and sd_listen_fds(3) define the messages.  The store is a set
 * without an order.  So one of its descriptors is a file with the state, at the
 * end of which the others are listed in order, by device and inode.
 */
#ifndef FDSTORE_H
#define FDSTORE_H

#include "fdlist.h"

enum { FDSTORE_MAX = 1 << 18 };

struct fdstore {
	unsigned n;   /* descriptors that were inherited, from 3 on */
	int from;     /* the state of our predecessor, -1: none */
	int notify;   /* socket of the manager, -1 */
	int to;	      /* file for our own state */
	int heard[2]; /* stream whose other end the manager closes when it has
			 read everything */
	unsigned saved, at; /* entries of @id, and the next one */
	struct fdstore_id {
		uint64_t dev, ino;
		int fd;
		bool used;
	} *id, *have; /* FDSTORE_MAX each, mapped: what belongs to the state,
			 what was inherited */
};

/* fdstore_inherit - the first step of all: if @wanted, note the descriptors
 * that the manager has passed */
void fdstore_inherit(struct fdstore *s, bool wanted);

/* fdstore_open - connect to the manager while paths can be opened, and have it
 * empty the store; 0 or -errno
 * @s->from is set if there is a state, and it and its descriptors are
 * complete. */
int fdstore_open(struct fdstore *s);

/* fdstore_feed - append the next descriptors of the state, in order, to @fds
 * fdstore_end - close all inherited descriptors that nobody has taken */
void fdstore_feed(struct fdstore *s, struct fdlist *fds);
void fdstore_end(struct fdstore *s);

/* fdstore_begin - begin our own state
 * fdstore_put - append a piece of it, with @n descriptors (at most 253)
 * fdstore_done - it is complete: give it to the manager, and wait until that
 * has it, ten seconds at most
 * All return 0 or -errno.  Before the last one, there is no state to be found
 * in the store. */
int fdstore_begin(struct fdstore *s);
int fdstore_put(struct fdstore *s, const void *p, size_t len, const int *fd,
		unsigned n);
int fdstore_done(struct fdstore *s);

#endif /* FDSTORE_H */
