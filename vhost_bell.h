/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * vhost_bell - descriptors by which the other side of a ring is notified
 *
 * Usually an eventfd; User-mode Linux has pipes and sockets.  A full one must
 * not keep anybody but its own front-end waiting: whoever has not read what
 * made it full has been notified already.
 */
#ifndef VHOST_BELL_H
#define VHOST_BELL_H

#include <stdbool.h>

struct vhost_bell {
	int fd;     /* -1: there is none */
	bool socket;
	bool ready; /* it was non-blocking when we got it; otherwise poll before
		       each write */
};

/* vhost_bell_look - make an empty epoll instance, for vhost_bell_ring() to poll
 * with; the descriptor or -errno
 * To be called before the filter is set. */
int vhost_bell_look(void);

/* vhost_bell_check - whether @fd may be a bell: 0, -EINVAL or another -errno
 * With @listen we will listen to it, and it must be an eventfd. */
int vhost_bell_check(int fd, bool listen);

/* vhost_bell_set - make @fd, which was checked and is ours, the descriptor of
 * @b, -1: none; the former one is closed */
void vhost_bell_set(struct vhost_bell *b, int fd);

/* vhost_bell_ring - notify, unless @b has no descriptor or that is full
 * @look is empty before and after. */
void vhost_bell_ring(const struct vhost_bell *b, int look);

/* vhost_bell_rouse - for signal handlers: make @b non-blocking again if a
 * front-end has changed that, so that a write in vhost_bell_ring() does not
 * wait
 * The handler must be installed without SA_RESTART. */
void vhost_bell_rouse(const struct vhost_bell *b);

#endif /* VHOST_BELL_H */
