/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * sock_repair - a connection's socket as numbers and bytes, and back
 * (TCP_REPAIR)
 *
 * A socket in repair mode tells and accepts all of its state.  Only
 * CAP_NET_ADMIN may set that mode and end it: see repair.h.
 */
#ifndef SOCK_REPAIR_H
#define SOCK_REPAIR_H

#include "flow.h"
#include "sock.h"

enum { SOCK_QUEUE_MAX = 64 << 20 }; /* most bytes of either queue */

/* Linux's numbers of TCP states; 0: none */
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
	uint8_t options; /* TCPI_OPT_* of the options agreed on */
	uint8_t snd_shift, rcv_shift;
	bool fin_passed; /* only in a migration stream: see migrate_stream.c */
	uint32_t snd_seq, rcv_seq; /* sequence numbers of the first bytes of the
				      queues */
	uint32_t snd_len, unsent, rcv_len; /* in bytes, without FINs */
	uint32_t mss, stamp;
	uint32_t snd_wl1, snd_wnd, max_wnd, rcv_wnd, rcv_wup;
};

/* sock_image_eof - whether the peer has sent its FIN
 * sock_image_shut - whether we have sent a FIN, so that whoever makes a new
 * socket has to queue it again */
bool sock_image_eof(const struct sock_image *i);
static inline bool sock_image_shut(const struct sock_image *i)
{
	return i->state == SOCK_FIN_WAIT1 || i->state == SOCK_FIN_WAIT2 ||
	       i->state == SOCK_LAST_ACK || i->state == SOCK_CLOSING;
}

/* sock_image_state - the socket's TCP state now, in repair mode or not; 0:
 * unknown
 * sock_image_queued - how many bytes sent the far end has not acknowledged */
uint8_t sock_image_state(int fd);
uint32_t sock_image_queued(int fd);

/* sock_deaf - have @fd drop everything that arrives (@deaf), or no longer
 * What was dropped is retransmitted, to the new place or later.  Otherwise a
 * socket in repair mode would go on receiving, and acknowledge bytes that
 * nobody takes any more.  The means is to require a hop limit (RFC 5082) that
 * only few systems send with, such as routers.  Returns 0 or -errno. */
int sock_deaf(int fd, bool deaf);

/* sock_image_get - fill @i from @fd, which is in repair mode, and copy the
 * bytes of its send queue, then of its receive queue to @buf
 * Returns 0, -ENOBUFS if these are more than @cap bytes, or -errno. */
int sock_image_get(int fd, struct sock_image *i, uint8_t *buf, size_t cap);

/* sock_image_make - make a socket for sock_image_put(); the descriptor or
 * -errno */
int sock_image_make(const struct sock_env *e, bool v4);

/* sock_image_put - give @fd, which is deaf and in repair mode, the state @i and
 * the addresses of @host; @buf is as sock_image_get() left it
 * Not put into the socket are the first @kept bytes of the receive queue and
 * what was unsent: these are left to the caller.  Nor is a direction closed
 * that should be, unless its FIN was acknowledged.  Returns 0 or -errno. */
int sock_image_put(const struct sock_env *e, int fd, const struct side *host,
		   const struct sock_image *i, const uint8_t *buf,
		   size_t kept);

#endif /* SOCK_REPAIR_H */
