/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Toy sockets as images, and back: sock_repair.h without a kernel.
 *
 * What the far application talks to stays the same struct sock; a new socket that
 * is given its image becomes the descriptor of it.
 */
#include "sim.h"
#include "sock_repair.h"

#include <errno.h>

enum { FIRST = 0xfffff000 }; /* numbers of streams wrap */

static struct sock *get(int fd)
{
	return container_of(toy_get(fd), struct sock, toy);
}

bool sock_image_eof(const struct sock_image *i)
{
	return i->state >= SOCK_TIME_WAIT;
}

static uint8_t state_of(const struct sock *s)
{
	bool acked = s->tx_seen == s->tx;

	if (s->state != S_UP)
		return SOCK_CLOSE;
	if (s->fin_tx && s->fin_rx)
		return acked ? SOCK_CLOSE : SOCK_LAST_ACK;
	if (s->fin_tx)
		return acked ? SOCK_FIN_WAIT2 : SOCK_FIN_WAIT1;
	return s->fin_rx ? SOCK_CLOSE_WAIT : SOCK_ESTABLISHED;
}

uint8_t sock_image_state(int fd)
{
	return state_of(get(fd));
}

uint32_t sock_image_queued(int fd)
{
	return (uint32_t)(get(fd)->tx - get(fd)->tx_seen);
}

/* Nothing comes meanwhile: time stands still */
int sock_deaf(int fd, bool deaf)
{
	(void)get(fd);
	(void)deaf;
	return 0;
}

static void write_bytes(uint8_t *p, uint32_t key, uint64_t at, size_t len)
{
	while (len--)
		*p++ = pattern(key, at++);
}

int sock_image_get(int fd, struct sock_image *i, uint8_t *buf, size_t cap)
{
	struct sock *s = get(fd);

	*i = (struct sock_image){
		.state = state_of(s), .mss = 1460,
		.snd_seq = FIRST + (uint32_t)s->tx_seen,
		.rcv_seq = FIRST + (uint32_t)s->rx_read,
		.snd_len = (uint32_t)(s->tx - s->tx_seen),
		.rcv_len = (uint32_t)(s->rx - s->rx_read),
	};
	if (i->snd_len + i->rcv_len >= cap)
		return -ENOBUFS;
	i->unsent = (uint32_t)rnd_to(i->snd_len + 1);
	write_bytes(buf, s->key[0], s->tx_seen, i->snd_len);
	write_bytes(buf + i->snd_len, s->key[1], s->rx_read, i->rcv_len);
	if (s->peeking)
		s->peek = i->rcv_len;
	return 0;
}

int sock_image_make(const struct sock_env *e, bool v4)
{
	struct addr any = addr_any(v4);

	return sock_tcp(e, &any);
}

/* Whose socket has been closed in repair mode */
static struct sock *orphan(const struct side *host)
{
	struct sock *s;

	for (s = sock_all(); s; s = s->all)
		if (s->moves && s->toy.fd < 0 &&
		    s->local_port == host->our_port &&
		    s->peer_port == host->their_port &&
		    addr_equal(&s->peer, &host->theirs))
			return s;
	sim_fail("no connection from port %u to %u", host->our_port,
		 host->their_port);
}

static void read_bytes(const uint8_t *p, uint32_t key, uint64_t at, size_t len)
{
	for (; len--; p++, at++)
		if (*p != pattern(key, at))
			sim_fail("image: wrong byte at %llu",
				 (unsigned long long)at);
}

int sock_image_put(const struct sock_env *e, int fd, const struct side *host,
		   const struct sock_image *i, const uint8_t *buf, size_t kept)
{
	struct sock *blank = get(fd), *s = orphan(host);
	uint64_t had = s->rx_read - (i->rcv_len - (s->rx - s->rx_read));

	(void)e;
	/* What the connection kept is in front, what it could not write behind */
	if (i->snd_seq != FIRST + (uint32_t)s->tx_seen ||
	    i->rcv_seq != FIRST + (uint32_t)had)
		sim_fail("image: %u %u, not of fd %d", i->snd_seq, i->rcv_seq,
			 fd);
	read_bytes(buf, s->key[0], s->tx_seen, i->snd_len);
	read_bytes(buf + i->snd_len, s->key[1], had, i->rcv_len);
	toy_close(&blank->toy);
	toy_open(&s->toy, blank->toy.poll);
	if (s->toy.fd != fd)
		sim_fail("image: fd %d became %d", fd, s->toy.fd);
	s->moves = s->nospace = s->peeking = false;
	s->tx = s->tx_seen + i->snd_len - i->unsent;
	s->tx_waste = s->peek = s->urgent = 0;
	s->fin_tx = i->state == SOCK_FIN_WAIT2;
	s->rx_read = had + kept;
	if (far_ops->kick)
		far_ops->kick(s);
	return 0;
}
