/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * migrate_stream - connections as bytes between two hosts, and back
 */
#include "migrate_stream.h"

#include "tcp_conn.h"

#include <errno.h>

static const uint64_t magic = 0xb1bb1d1b0bb1d1b0;

enum {
	STREAM_VERSION = 2,
	/* what has happened; the first two are of handshakes */
	ESTABLISHED = 1 << 2,
	SOCK_FIN = 1 << 3,
	SOCK_FIN_SENT = 1 << 4,
	TAP_FIN = 1 << 5,
	TAP_FIN_SENT = 1 << 6,
	TAP_FIN_ACKED = 1 << 7,
	/* what is due */
	ACK_TO_TAP = 1 << 3,
	ACK_FROM_TAP = 1 << 4,
	FIN_FIRST = 1 << 7, /* ours: where the send queue begins, see below */
	BUFFER_SHIFT = 8,
	MSS_UNIT = 4,
};

void stream_put_head(struct wr *w)
{
	wr_be64(w, magic);
	wr_be32(w, STREAM_VERSION);
	wr_be32(w, STREAM_VERSION); /* who knows this one can read it */
}

int stream_get_head(struct rd *r)
{
	uint64_t m = rd_be64(r);
	uint32_t version = rd_be32(r), oldest = rd_be32(r);

	if (!rd_ok(r) || m != magic || !oldest || oldest > version)
		return -EPROTO;
	return oldest <= STREAM_VERSION && version >= STREAM_VERSION ? 0 : -ENOTSUP;
}

static void put_addr(struct wr *w, const struct addr *a)
{
	wr_bytes(w, a->b, sizeof(a->b));
}

static void get_addr(struct rd *r, struct addr *a)
{
	rd_copy(r, a->b, sizeof(a->b));
}

void stream_put_seen(struct wr *w, const struct seen *s)
{
	put_addr(w, &s->v6);
	put_addr(w, &s->ll);
	wr_bytes(w, &s->v4.b[12], 4);
	wr_bytes(w, s->mac.b, sizeof(s->mac.b));
}

void stream_get_seen(struct rd *r, struct seen *s)
{
	uint8_t v4[4];

	get_addr(r, &s->v6);
	get_addr(r, &s->ll);
	rd_copy(r, v4, sizeof(v4));
	s->v4 = addr_v4(v4[0], v4[1], v4[2], v4[3]);
	rd_copy(r, s->mac.b, sizeof(s->mac.b));
}

/* Ports are as in the sender's memory */
static void put_port(struct wr *w, uint16_t port)
{
	wr_bytes(w, &port, sizeof(port));
}

static uint16_t get_port(struct rd *r)
{
	uint16_t port;

	rd_copy(r, &port, sizeof(port));
	return port;
}

static void put_side(struct wr *w, const struct side *s)
{
	put_addr(w, &s->ours);
	put_addr(w, &s->theirs);
	put_port(w, s->our_port);
	put_port(w, s->their_port);
}

static void get_side(struct rd *r, struct side *s)
{
	get_addr(r, &s->ours);
	get_addr(r, &s->theirs);
	s->our_port = get_port(r);
	s->their_port = get_port(r);
	s->fd = -1;
}

static uint8_t events(const struct tcp_image *i)
{
	unsigned e = ESTABLISHED;

	if (i->eof)
		e |= SOCK_FIN;
	if (i->fin_sent)
		e |= TAP_FIN_SENT;
	if (i->fin_sent && i->snd_una == i->snd_max)
		e |= TAP_FIN_ACKED;
	if (i->guest_fin)
		e |= TAP_FIN;
	if (i->shut)
		e |= SOCK_FIN_SENT;
	return (uint8_t)e;
}

void stream_put_flow(struct wr *w, const struct tcp_image *i)
{
	unsigned due = FIN_FIRST;

	if (i->rcv_nxt != i->rcv_acked)
		due |= ACK_TO_TAP;
	if (i->snd_una != i->snd_max)
		due |= ACK_FROM_TAP;
	wr_u8(w, i->side[0].pif);
	wr_u8(w, i->side[1].pif);
	put_side(w, &i->side[0]);
	put_side(w, &i->side[1]);
	wr_u8(w, i->retries);
	wr_u8(w, i->snd_shift);
	wr_u8(w, i->rcv_shift);
	wr_u8(w, events(i));
	wr_be32(w, (uint32_t)i->mss / MSS_UNIT * MSS_UNIT);
	wr_be32(w, TCP_WINDOW_MIN >> BUFFER_SHIFT);
	wr_u8(w, (uint8_t)due);
	wr_u8(w, (uint8_t)i->rcv_acked);
	wr_be16(w, i->snd_wnd);
	wr_be16(w, i->rcv_wnd);
	wr_be32(w, i->snd_max);
	wr_be32(w, i->snd_una);
	wr_be32(w, i->rcv_nxt);
	wr_be32(w, i->rcv_acked);
	wr_be32(w, i->rcv_taken);
}

void stream_get_flow(struct rd *r, struct tcp_image *i)
{
	uint32_t mss;
	uint8_t e, due;

	*i = (struct tcp_image){ 0 };
	i->side[0].pif = rd_u8(r);
	i->side[1].pif = rd_u8(r);
	get_side(r, &i->side[0]);
	get_side(r, &i->side[1]);
	i->retries = rd_u8(r);
	i->snd_shift = rd_u8(r);
	i->rcv_shift = rd_u8(r);
	e = rd_u8(r);
	mss = rd_be32(r);
	i->mss = (uint16_t)MIN(mss, (uint32_t)UINT16_MAX);
	rd_skip(r, 4);
	due = rd_u8(r);
	rd_skip(r, 1);
	i->snd_wnd = rd_be16(r);
	i->rcv_wnd = rd_be16(r);
	i->snd_max = rd_be32(r);
	i->snd_una = rd_be32(r);
	i->rcv_nxt = rd_be32(r);
	i->rcv_acked = rd_be32(r);
	i->rcv_taken = rd_be32(r);
	i->eof = e & SOCK_FIN;
	i->fin_sent = e & TAP_FIN_SENT;
	i->guest_fin = e & TAP_FIN;
	i->shut = e & SOCK_FIN_SENT;
	i->sock.fin_passed = !(due & FIN_FIRST);
}

/* A FIN that was sent is queued again by whoever makes a new socket.  passt takes its
 * number for a byte's: what it says of the queue begins one too late, so that nobody
 * acknowledges the FIN then.  We write where it begins, and say so for the sake of our
 * reader. */
void stream_put_sock(struct wr *w, const struct sock_image *s)
{
	wr_be32(w, s->snd_seq);
	wr_be32(w, s->rcv_seq);
	wr_be32(w, s->snd_len);
	wr_be32(w, s->unsent);
	wr_be32(w, s->rcv_len);
	wr_be32(w, s->mss);
	wr_be32(w, s->stamp);
	wr_be32(w, s->snd_wl1);
	wr_be32(w, s->snd_wnd);
	wr_be32(w, s->max_wnd);
	wr_be32(w, s->rcv_wnd);
	wr_be32(w, s->rcv_wup);
	wr_u8(w, s->snd_shift);
	wr_u8(w, s->rcv_shift);
	wr_u8(w, s->state);
	wr_u8(w, s->options);
}

bool stream_get_sock(struct rd *r, struct sock_image *s)
{
	s->snd_seq = rd_be32(r);
	s->rcv_seq = rd_be32(r);
	s->snd_len = rd_be32(r);
	s->unsent = rd_be32(r);
	s->rcv_len = rd_be32(r);
	s->mss = rd_be32(r);
	s->stamp = rd_be32(r);
	s->snd_wl1 = rd_be32(r);
	s->snd_wnd = rd_be32(r);
	s->max_wnd = rd_be32(r);
	s->rcv_wnd = rd_be32(r);
	s->rcv_wup = rd_be32(r);
	s->snd_shift = rd_u8(r);
	s->rcv_shift = rd_u8(r);
	s->state = rd_u8(r);
	s->options = rd_u8(r);
	if (s->fin_passed && sock_image_shut(s))
		s->snd_seq--;
	s->fin_passed = false;
	if (!s->state)
		s->snd_len = s->unsent = s->rcv_len = 0;
	return rd_ok(r) && s->snd_len <= SOCK_QUEUE_MAX &&
	       s->rcv_len <= SOCK_QUEUE_MAX && s->unsent <= s->snd_len;
}
