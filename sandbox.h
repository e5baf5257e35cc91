/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * sandbox - keeps a process away from files: an empty root, or Landlock
 *
 * These are mechanisms only; which refusal is fatal is for isolation to
 * decide.
 */
#ifndef SANDBOX_H
#define SANDBOX_H

#include "util.h"

struct sandbox {
	bool new_user;	/* make a user namespace first, ... */
	bool need_user; /* ... without which the rest is not permitted */
	bool new_pid;	/* also a PID namespace, for the next child */
	bool may_cover; /* use chroot() where pivot_root() is refused */
};

/* What the kernel has refused, and why; @what is NULL: nothing */
struct sandbox_denied {
	const char *what;
	int err; /* errno */
};

/* sandbox_enter - move to new IPC, mount and UTS namespaces and an empty,
 * read-only root
 * Returns whether the root is empty.  @d is set if anything was refused, even
 * if something else served instead. */
bool sandbox_enter(const struct sandbox *s, struct sandbox_denied *d);

/* sandbox_has_landlock - whether the kernel has Landlock (Linux 5.13) and lets
 * us use it */
bool sandbox_has_landlock(void);

/* sandbox_files - gain no new privileges; from now on nothing can be opened,
 * except that files below the @n directories @dir can be read
 * Returns 0, or -errno if the kernel does not have Landlock or allow it. */
int sandbox_files(const int *dir, unsigned n);

#endif /* SANDBOX_H */
