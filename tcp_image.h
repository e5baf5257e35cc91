/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * tcp_image - a connection and its socket as numbers and bytes, for another host
 *
 * What is on its way in the socket and what waits in the connection's queues become
 * one: @buf is what the far end has not acknowledged, then what the guest has not.
 */
#ifndef TCP_IMAGE_H
#define TCP_IMAGE_H

#include "sock_repair.h"
#include "tcp.h"

/* Names of RFC 9293, seen from our end towards the guest */
struct tcp_image {
	struct side side[2];
	uint32_t snd_una, snd_max, rcv_nxt, rcv_acked;
	uint32_t rcv_taken; /* what the far end has acknowledged is before this one */
	uint16_t snd_wnd, rcv_wnd; /* not scaled */
	uint16_t mss;
	uint8_t snd_shift, rcv_shift, retries;
	bool guest_fin; /* the guest has sent its FIN, */
	bool shut;	/* which was passed on */
	bool eof;	/* the far end has sent its FIN, */
	bool fin_sent;	/* which was passed on: the last number before @snd_max */
	struct sock_image sock;
};

/* tcp_image_can - whether @f is a connection that can move: its handshakes are done */
bool tcp_image_can(const struct flow *f);

/* tcp_image_hold - nothing happens to it any more, whatever comes: its socket is deaf
 * tcp_image_resume - it goes on; the socket is out of repair mode
 * tcp_image_reset - it cannot: the guest is told */
void tcp_image_hold(struct tcp *t, struct flow *f);
void tcp_image_resume(struct tcp *t, struct flow *f);
void tcp_image_reset(struct tcp *t, struct flow *f);
bool tcp_image_held(const struct flow *f);

/* tcp_image_get - all of @i but its socket
 * tcp_image_get_sock - that, in repair mode, and the bytes of both queues; as
 * sock_image_get(), and -ENOTCONN: it is broken, and cannot go on here, either */
void tcp_image_get(const struct flow *f, struct tcp_image *i);
int tcp_image_get_sock(struct tcp *t, const struct flow *f, struct tcp_image *i,
		       uint8_t *buf, size_t cap);

/* tcp_image_sane - what was read from somewhere could be one */
bool tcp_image_sane(const struct tcp_image *i);

/* tcp_image_is_v4 - the family of its socket */
bool tcp_image_is_v4(const struct tcp_image *i);

/* tcp_image_kept - how many bytes for the guest are to be left out of the socket */
size_t tcp_image_kept(const struct tcp *t, const struct tcp_image *i);

/* tcp_image_fill - make @fd its socket, as sock_image_put()
 * tcp_image_put - make a connection of it, with @fd, that is held; NULL: there is no
 * room, or the numbers contradict each other; @fd stays the caller's */
int tcp_image_fill(const struct tcp *t, const struct tcp_image *i, int fd,
		   const uint8_t *buf, size_t kept);
struct flow *tcp_image_put(struct tcp *t, const struct tcp_image *i, int fd,
			   const uint8_t *buf, size_t kept);

/* tcp_image_refuse - the same without a socket: all that can be done with it is
 * tcp_image_reset() */
struct flow *tcp_image_refuse(struct tcp *t, const struct tcp_image *i);

#endif /* TCP_IMAGE_H */
