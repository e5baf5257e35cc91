/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * fdlist - descriptors that accompany a state, in the order of its sections
 */
#ifndef FDLIST_H
#define FDLIST_H

#include "util.h"

enum {
	FDLIST_MAX = 1024,
	FDLIST_SECTION = 100, /* most that one section has */
};

struct fdlist {
	unsigned at, n; /* @n in the list; those before @at were taken */
	bool bad;	/* one did not fit, or one too many was asked for */
	int fd[FDLIST_MAX];
};

/* fdlist_put - append @fd, which stays the caller's; sets @bad if the list is
 * full */
static inline void fdlist_put(struct fdlist *f, int fd)
{
	if (f->n == FDLIST_MAX)
		f->bad = true;
	else
		f->fd[f->n++] = fd;
}

/* fdlist_take - the next descriptor, which is the caller's from now on; -1 if
 * there is none, and @bad is set */
static inline int fdlist_take(struct fdlist *f)
{
	if (f->at < f->n)
		return f->fd[f->at++];
	f->bad = true;
	return -1;
}

#endif /* FDLIST_H */
