/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * device_state - what moves with a guest besides its memory
 *
 * Seam between the vhost-user dialogue, which hears that the guest moves and gets
 * a descriptor for that, and who knows what there is to be told: migrate.c.  The
 * guest's rings stand still meanwhile.
 */
#ifndef DEVICE_STATE_H
#define DEVICE_STATE_H

/* Numbers of VHOST_USER_SET_DEVICE_STATE_FD */
enum device_state_way { DEVICE_SAVE, DEVICE_LOAD };

struct device_state {
	void *owner;
	/* The state is to be written to @fd or read from there, until its end; @fd
	 * is the callee's from now on, also on failure.  The work is done later,
	 * from the loop.  0 or -errno; one that was under way has failed. */
	int (*begin)(void *owner, enum device_state_way way, int fd);
	/* What became of it: 0 once, if all is done (the front-end is about to hear
	 * of it), -EINPROGRESS: @done will be called, or -errno.  -ENODATA: none
	 * was begun. */
	int (*check)(void *owner);
	/* The front-end has gone: what is not done by now will not be */
	void (*end)(void *owner);
	/* The guest runs here.  After a save that means that it was given up.  NULL:
	 * no matter. */
	void (*runs)(void *owner);
	/* Planted by the dialogue; not called from within the above */
	void (*done)(void *asker);
	void *asker;
};

#endif /* DEVICE_STATE_H */
