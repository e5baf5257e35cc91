/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * fdlist - descriptors that go with a state, in the order of its sections
 */
#ifndef FDLIST_H
#define FDLIST_H

#include "util.h"

enum {
	FDLIST_MAX = 1024,
	FDLIST_SECTION = 100, /* most that one section comes with */
};

struct fdlist {
	unsigned at, n; /* those before @at are taken */
	bool bad;	/* there was no room, or nothing left */
	int fd[FDLIST_MAX];
};

static inline void fdlist_put(struct fdlist *f, int fd)
{
	if (f->n == FDLIST_MAX)
		f->bad = true;
	else
		f->fd[f->n++] = fd;
}

/* fdlist_take - the next one, the caller's from now on; -1: there is none, which is
 * remembered */
static inline int fdlist_take(struct fdlist *f)
{
	if (f->at < f->n)
		return f->fd[f->at++];
	f->bad = true;
	return -1;
}

#endif /* FDLIST_H */
