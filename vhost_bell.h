/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * vhost_bell - descriptors by which the other side of a ring is told of news
 *
 * An eventfd as a rule; User-mode Linux has pipes and sockets.  Nobody but the
 * front-end may be kept waiting by one that is full: who has not read what made
 * it full is told already.
 */
#ifndef VHOST_BELL_H
#define VHOST_BELL_H

#include <stdbool.h>

struct vhost_bell {
	int fd;     /* -1: there is none */
	bool socket;
	bool ready; /* a write to it did not wait when we got it; else ask first */
};

/* vhost_bell_look - an empty epoll instance to ask with, or -errno
 * Before the filter. */
int vhost_bell_look(void);

/* vhost_bell_check - 0 if @fd may be one, -EINVAL or another -errno
 * With @listen it is listened to, which only eventfds are made for. */
int vhost_bell_check(int fd, bool listen);

/* vhost_bell_set - @b is @fd, which has been checked and is ours, or -1
 * What it was is closed. */
void vhost_bell_set(struct vhost_bell *b, int fd);

/* vhost_bell_ring - tell, unless there is no @b or no room
 * @look is empty before and after. */
void vhost_bell_ring(const struct vhost_bell *b, int look);

/* vhost_bell_rouse - who is in vhost_bell_ring(), or about to be, is not to wait
 * For signal handlers: it is not restarted.  What was ready is so again. */
void vhost_bell_rouse(const struct vhost_bell *b);

#endif /* VHOST_BELL_H */
