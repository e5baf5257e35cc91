/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * way - how frames reach the daemon, and how that is spoilt
 */
#ifndef WAY_H
#define WAY_H

#include "frames.h"

#include <poll.h>
#include <sys/types.h>

enum { WAIT_MS = 10 };

struct way {
	const char *name;
	/* Join the daemon, again after an end; false: it is not there */
	bool (*open)(const char *where, struct frames *f);
	bool (*room)(void);
	/* One frame, if there is room; @hostile for more choices, or NULL */
	void (*send)(const uint8_t *b, size_t len, struct frames *hostile);
	void (*flush)(void);
	/* The next frame from the daemon, 0: none; -1: it has hung up */
	ssize_t (*receive)(uint8_t *b);
	/* What to wait for */
	struct pollfd (*poll)(void);
	/* Do something to the link itself */
	void (*spoil)(struct frames *f);
	unsigned every; /* so many frames */
};

extern const struct way rings;

int unix_connect(const char *path);

#endif /* WAY_H */
