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
	struct events *events; /* NULL: nobody is told but the log */
	struct timer timer;
	int notify; /* inotify, -1: look from time to time */
	int file;   /* the file, if a mount of its own hides it from the
		       directory that it is in, else -1 */
	int file_watch;
	bool refused; /* to be read, the last time: that was told */
	const char *path;
	unsigned dirs;
	struct {
		int fd, watch;
		char path[RESOLV_PATH];
	} dir[RESOLV_DIRS]; /* that of the file, those of links' targets */
	unsigned hops;
	struct {
		unsigned dir;
		char name[RESOLV_PATH];
	} hop[RESOLV_HOPS]; /* @path, what it leads to, and so on */
};

/* resolv_open - begin to follow @path, absolute and without "..", if anything
 * depends on it
 * What it says from now on is planned with.  Before the sandbox: later only the
 * directories opened now can be looked into.  The pointers stay the caller's. */
void resolv_open(struct resolv *r, struct loop *l, struct renew *renew,
		 const char *path);

#endif /* RESOLV_H */
