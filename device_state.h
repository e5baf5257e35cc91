/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * device_state - what moves with a guest besides its memory
 *
 * A seam between the vhost-user dialogue, which is told that the guest moves
 * and gets a descriptor for that, and migrate.c, which knows what there is to
 * transfer.  The guest's rings stand still meanwhile.
 */
#ifndef DEVICE_STATE_H
#define DEVICE_STATE_H

/* Numbers of VHOST_USER_SET_DEVICE_STATE_FD */
enum device_state_way { DEVICE_SAVE, DEVICE_LOAD };

struct device_state {
	void *owner;
	/* Begin to write the state to @fd, or to read it from there to its end.
	 * @fd is the callee's from now on, even on failure.  The work is done
	 * later, from the loop.  Returns 0 or -errno.  A transfer that was
	 * under way has failed then. */
	int (*begin)(void *owner, enum device_state_way way, int fd);
	/* The result: 0, once, if all is done (the front-end is about to be
	 * told); -EINPROGRESS: @done will be called; -ENODATA: none was begun;
	 * or another -errno. */
	int (*check)(void *owner);
	/* The front-end has gone: abandon what is not done */
	void (*end)(void *owner);
	/* The guest runs here.  After a save this means that it does not move
	 * after all.  May be NULL. */
	void (*runs)(void *owner);
	/* Planted by the dialogue, to be told that a transfer has ended; not
	 * called from within the above */
	void (*done)(void *asker);
	void *asker;
};

#endif /* DEVICE_STATE_H */
