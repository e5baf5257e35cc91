/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * sandbox - keep a process away from files: an empty root, or Landlock
 *
 * Mechanisms only; which refusal ends us is isolation's to decide.
 */
#ifndef SANDBOX_H
#define SANDBOX_H

#include "util.h"

struct sandbox {
	bool new_user;	/* try a user namespace first, */
	bool need_user; /* without which the rest cannot be had */
	bool new_pid;	/* for the next child */
	bool may_cover; /* where pivot_root() is refused: chroot() */
};

/* What the kernel refused, and why; @what is NULL: nothing */
struct sandbox_denied {
	const char *what;
	int err; /* errno */
};

/* sandbox_enter - new IPC, mount, UTS namespaces and an empty, read-only root
 * True means that the root is empty.  @d is set if anything was refused, also
 * if something else did. */
bool sandbox_enter(const struct sandbox *s, struct sandbox_denied *d);

/* sandbox_has_landlock - the kernel has it (Linux 5.13) and lets us */
bool sandbox_has_landlock(void);

/* sandbox_files - no new privileges; from now on nothing can be opened but, to
 * read it, what is below one of the @n directories @dir
 * 0, or -errno where the kernel does not have or allow it. */
int sandbox_files(const int *dir, unsigned n);

#endif /* SANDBOX_H */
