/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * sock_repair - a connection's socket as numbers and bytes, and back (TCP_REPAIR)
 *
 * A socket in repair mode tells and takes what it knows.  Only CAP_NET_ADMIN may set
 * that mode and end it: see repair.h.
 */
#ifndef SOCK_REPAIR_H
#define SOCK_REPAIR_H

#include "flow.h"
#include "sock.h"

enum { SOCK_QUEUE_MAX = 64 << 20 }; /* bytes of either queue */

/* States as Linux counts them; 0: none */
enum {
	SOCK_ESTABLISHED = 1,
	SOCK_FIN_WAIT1 = 4,
	SOCK_FIN_WAIT2,
	SOCK_TIME_WAIT,
	SOCK_CLOSE,
	SOCK_CLOSE_WAIT,
	SOCK_LAST_ACK,
	SOCK_CLOSING = 11,
};

/* Numbers of RFC 9293, and of struct tcp_repair_window */
struct sock_image {
	uint8_t state;
	uint8_t options; /* TCPI_OPT_* that were agreed on */
	uint8_t snd_shift, rcv_shift;
	bool fin_passed; /* in a stream only: see migrate_stream.c */
	uint32_t snd_seq, rcv_seq; /* of the queues' first bytes */
	uint32_t snd_len, unsent, rcv_len; /* bytes; FINs are none */
	uint32_t mss, stamp;
	uint32_t snd_wl1, snd_wnd, max_wnd, rcv_wnd, rcv_wup;
};

/* sock_image_eof - whether the peer has sent its FIN
 * sock_image_shut - whether ours is to be queued again by who makes a new socket */
bool sock_image_eof(const struct sock_image *i);
static inline bool sock_image_shut(const struct sock_image *i)
{
	return i->state == SOCK_FIN_WAIT1 || i->state == SOCK_FIN_WAIT2 ||
	       i->state == SOCK_LAST_ACK || i->state == SOCK_CLOSING;
}

/* sock_image_state - as it is now, also out of repair mode; 0: it does not say
 * sock_image_queued - how many bytes the far end has not acknowledged */
uint8_t sock_image_state(int fd);
uint32_t sock_image_queued(int fd);

/* sock_deaf - let @fd hear nothing: what arrives is lost on the way and comes again,
 * elsewhere or later; or no longer.  Without that a socket in repair mode would go on
 * and acknowledge what nobody takes any more.  Packets are asked for a hop limit (RFC
 * 5082) that only few systems send with, such as routers.  0 or -errno. */
int sock_deaf(int fd, bool deaf);

/* sock_image_get - what there is in @fd, in repair mode, and at @buf the bytes of its
 * send queue, then of its receive queue
 * 0, -ENOBUFS: that is longer than @cap, or -errno. */
int sock_image_get(int fd, struct sock_image *i, uint8_t *buf, size_t cap);

/* sock_image_make - a socket for sock_image_put() */
int sock_image_make(const struct sock_env *e, bool v4);

/* sock_image_put - make @fd, deaf and in repair mode, what @i says at the addresses of
 * @host; @buf is as above
 * Neither the first @kept bytes of the receive queue get there nor what was unsent: the
 * caller has them.  Nor is it closed in one direction when it should be, unless its FIN
 * was acknowledged.  0 or -errno. */
int sock_image_put(const struct sock_env *e, int fd, const struct side *host,
		   const struct sock_image *i, const uint8_t *buf,
		   size_t kept);

#endif /* SOCK_REPAIR_H */
