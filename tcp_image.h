/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * tcp_image - a connection and its socket as numbers and bytes, for another
 * host
 *
 * Bytes in the socket's queues and bytes in the connection's own queues become
 * one: a buffer @buf holds what the far end has not acknowledged, followed by
 * what the guest has not acknowledged.
 */
#ifndef TCP_IMAGE_H
#define TCP_IMAGE_H

#include "sock_repair.h"
#include "tcp.h"

/* Names are those of RFC 9293, as seen from our end towards the guest */
struct tcp_image {
	struct side side[2];
	uint32_t snd_una, snd_max, rcv_nxt, rcv_acked;
	uint32_t rcv_taken; /* the far end has acknowledged everything before
			       this number */
	uint16_t snd_wnd, rcv_wnd; /* as in a header: to be shifted by the
				      scale */
	uint16_t mss;
	uint8_t snd_shift, rcv_shift, retries;
	bool guest_fin; /* the guest's FIN was received ... */
	bool shut;	/* ... and passed on to the socket */
	bool eof;	/* the far end's FIN was received ... */
	bool fin_sent;	/* ... and sent to the guest: it is the last number
			   before @snd_max */
	struct sock_image sock;
};

/* tcp_image_can - whether @f is a connection that can move: its handshakes are
 * done and it is not about to be reset */
bool tcp_image_can(const struct flow *f);

/* tcp_image_hold - suspend @f: its socket becomes deaf, see sock_deaf(), and
 * neither segments, events nor timers have an effect
 * tcp_image_resume - let @f go on; its socket has left repair mode
 * tcp_image_reset - give @f up: guest and socket are reset
 * tcp_image_held - whether @f is suspended */
void tcp_image_hold(struct tcp *t, struct flow *f);
void tcp_image_resume(struct tcp *t, struct flow *f);
void tcp_image_reset(struct tcp *t, struct flow *f);
bool tcp_image_held(const struct flow *f);

/* tcp_image_get - fill @i from @f, except @sock
 * tcp_image_get_sock - add @sock, from the socket in repair mode, and at @buf
 * the bytes of both queues, @cap at most
 * The latter returns 0 or an error of sock_image_get(); -ENOTCONN if the
 * connection was reset by its peer, so that it cannot go on here either. */
void tcp_image_get(const struct flow *f, struct tcp_image *i);
int tcp_image_get_sock(struct tcp *t, const struct flow *f, struct tcp_image *i,
		       uint8_t *buf, size_t cap);

/* tcp_image_sane - whether an image read from a stream has valid addresses,
 * ports and scales */
bool tcp_image_sane(const struct tcp_image *i);

/* tcp_image_is_v4 - whether its socket is an IPv4 one */
bool tcp_image_is_v4(const struct tcp_image *i);

/* tcp_image_kept - how many bytes for the guest are not to be put into the
 * socket, but kept by us: none, or all */
size_t tcp_image_kept(const struct tcp *t, const struct tcp_image *i);

/* tcp_image_fill - make @fd the socket of @i, like sock_image_put(); 0 or
 * -errno
 * tcp_image_put - make a suspended connection of @i and the socket @fd; @buf
 * and @kept as before
 * The latter returns NULL, and @fd stays the caller's, if the numbers of @i
 * contradict each other, its tuple is taken, or there is no room. */
int tcp_image_fill(const struct tcp *t, const struct tcp_image *i, int fd,
		   const uint8_t *buf, size_t kept);
struct flow *tcp_image_put(struct tcp *t, const struct tcp_image *i, int fd,
			   const uint8_t *buf, size_t kept);

/* tcp_image_refuse - make a suspended connection of @i without a socket, or
 * NULL: only tcp_image_reset() may be called for it */
struct flow *tcp_image_refuse(struct tcp *t, const struct tcp_image *i);

#endif /* TCP_IMAGE_H */
