/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * resolv - follows the host's resolv.conf while we run
 */
#ifndef RESOLV_H
#define RESOLV_H

#include "events.h"
#include "loop.h"
#include "renew.h"

enum { RESOLV_DIRS = 4, RESOLV_HOPS = 4, RESOLV_PATH = 256 };

struct resolv {
	struct loop *loop;
	struct renew *renew;
	struct events *events; /* NULL: only the log is told */
	struct timer timer;
	int notify; /* inotify, -1: the file is read from time to time */
	int file;   /* the file, if it is a mount of its own, which its
		       directory would not show; else -1 */
	int file_watch;
	bool refused; /* reading it was refused the last time, and that was
			 logged */
	const char *path;
	unsigned dirs;
	struct {
		int fd, watch;
		char path[RESOLV_PATH];
	} dir[RESOLV_DIRS]; /* directories of the file and of symbolic links'
			       targets */
	unsigned hops;
	struct {
		unsigned dir;
		char name[RESOLV_PATH];
	} hop[RESOLV_HOPS]; /* @path, what that links to, and so on */
};

/* resolv_open - begin to follow @path, which is absolute and without "..", if
 * anything depends on it
 * Whenever it changes, the plan is made again.  To be called before the
 * sandbox: later only directories opened now can be looked into.  The pointers
 * stay the caller's. */
void resolv_open(struct resolv *r, struct loop *l, struct renew *renew,
		 const char *path);

#endif /* RESOLV_H */
