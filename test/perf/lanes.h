/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A tap as a guest's network card with a queueing discipline before it: what one
 * transfer has queued does not stand before what others send.  The kernel sends a
 * frame by the queue where the last frame of its flow went in, so empty ACKs go in
 * by the last one, which is read when the others are empty.  A flow with both
 * would overtake itself, so this is for measurements of flows that have not.
 */
#ifndef LANES_H
#define LANES_H

#include <linux/if.h>
#include <linux/if_tun.h>

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { LANES_MAX = 8 };

struct lanes {
	struct pollfd fd[LANES_MAX]; /* one that blocks, or several */
	unsigned n;
};

static inline void lanes_open(struct lanes *l, const char *name, short flags,
			      unsigned n)
{
	struct ifreq ifr = { .ifr_flags = IFF_TAP | IFF_NO_PI | flags };

	if (n > LANES_MAX)
		errx(2, "%u lanes", n);
	if (n > 1)
		ifr.ifr_flags |= IFF_MULTI_QUEUE;
	strncpy(ifr.ifr_name, name, IFNAMSIZ - 1);
	for (l->n = 0; l->n < n; l->n++) {
		int fd = open("/dev/net/tun",
			      O_RDWR | (n > 1 ? O_NONBLOCK : 0));

		if (fd < 0 || ioctl(fd, TUNSETIFF, &ifr))
			err(1, "tap %s", name);
		l->fd[l->n] = (struct pollfd){ .fd = fd, .events = POLLIN };
	}
}

/* The next frame, the first lanes first */
static inline ssize_t lanes_read(struct lanes *l, void *b, size_t size)
{
	unsigned i;
	ssize_t n;

	if (l->n == 1)
		return read(l->fd[0].fd, b, size);
	for (;;) {
		if (poll(l->fd, l->n, -1) < 0)
			return -1;
		for (i = 0; i < l->n; i++) {
			if (!l->fd[i].revents)
				continue;
			n = read(l->fd[i].fd, b, size);
			if (n >= 0 || errno != EAGAIN)
				return n;
		}
	}
}

static inline int is_empty_ack(const uint8_t *frame, size_t len)
{
	size_t l4 = 14 + (size_t)(frame[14] & 15) * 4;

	return len >= l4 + 20 && frame[14] >> 4 == 4 &&
	       frame[23] == IPPROTO_TCP && frame[l4 + 13] == 16 &&
	       (size_t)(frame[16] << 8 | frame[17]) + 14 ==
		       l4 + (size_t)(frame[l4 + 12] >> 4) * 4;
}

/* Where a frame for the guest goes in */
static inline int lanes_for(const struct lanes *l, const uint8_t *frame,
			    size_t len)
{
	unsigned i = 0;

	if (l->n > 1)
		i = is_empty_ack(frame, len) ? l->n - 1 : l->n - 2;
	return l->fd[i].fd;
}

#endif /* LANES_H */
