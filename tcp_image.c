/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * tcp_image - a connection and its socket as numbers and bytes, for another host
 */
#include "tcp_image.h"

#include "tcp_conn.h"

#include <errno.h>
#include <netinet/in.h>

/* The receive queue of a new socket takes that much in any case; if there is
 * more, all of it is kept by us */
enum { RECEIVE_MOST = 64 << 10 };

bool tcp_image_can(const struct flow *f)
{
	const struct tcp_conn *c = (const struct tcp_conn *)(const void *)f->priv;

	return f->kind == FLOW_TCP && c->state == TCP_OPEN &&
	       !(c->flags & CONN_RESET);
}

/* --- a connection stands still -------------------------------------------- */

void tcp_image_hold(struct tcp *t, struct flow *f)
{
	struct flows *flows = t->flows;

	(void)sock_deaf(conn_fd(f), true);
	conn_remove(f);
	conn_rtt_off(t, f);
	conn_acked(t, f);
	loop_del(flows->loop, conn_fd(f));
	flow_timer(flows, f, 0);
	runq_del(flow_queue(flows, f), &f->run);
	runq_del(&flows->drain_q, &f->drain);
	conn_of(f)->flags |= CONN_HELD;
}

void tcp_image_resume(struct tcp *t, struct flow *f)
{
	struct tcp_conn *c = conn_of(f);

	c->flags &= (uint32_t)~CONN_HELD;
	(void)sock_deaf(conn_fd(f), false);
	if (c->flags & CONN_PEEK) { /* its whole queue was read, which has moved
				       the peek offset */
		c->flags |= CONN_OFFSET;
		conn_peek_at(f, c->lazy + c->snd_nxt - c->snd_una);
	}
	if (flow_watch(t->flows, f, !conn_tap(f)) || conn_flush(t, f)) {
		conn_reset(t, f);
		return;
	}
	conn_ack_soon(t, f);
	if (c->snd_una != c->snd_max)
		conn_rto(t, f);
	conn_timer(t, f);
	flow_wake(t->flows, f);
}

void tcp_image_reset(struct tcp *t, struct flow *f)
{
	conn_reset(t, f);
}

bool tcp_image_held(const struct flow *f)
{
	const struct tcp_conn *c = (const struct tcp_conn *)(const void *)f->priv;

	return c->flags & CONN_HELD;
}

/* --- to an image ----------------------------------------------------------- */

void tcp_image_get(const struct flow *f, struct tcp_image *i)
{
	struct tcp_conn *c = conn_of((struct flow *)(uintptr_t)f);
	unsigned host = !conn_tap(f);
	struct addr local = { 0 };
	uint16_t port = 0;

	*i = (struct tcp_image){
		.side = { f->side[0], f->side[1] },
		.snd_una = c->snd_una, .snd_max = c->snd_max,
		.rcv_nxt = c->rcv_nxt, .rcv_acked = c->rcv_acked,
		.snd_wnd = (uint16_t)MIN(c->snd_wnd >> c->snd_shift, 65535U),
		.rcv_wnd = (uint16_t)MIN((c->rcv_edge - c->rcv_acked) >>
					 c->rcv_shift, 65535U),
		.mss = c->mss, .snd_shift = c->snd_shift,
		.rcv_shift = c->rcv_shift, .retries = c->retries,
		.guest_fin = c->flags & CONN_GUEST_FIN,
		.shut = c->flags & CONN_SHUT,
		.eof = c->flags & CONN_EOF,
		.fin_sent = c->flags & CONN_EOF && c->snd_max == c->eof_seq + 1,
	};
	i->sock.state = sock_image_state(conn_fd(f));
	i->eof |= sock_image_eof(&i->sock);
	i->rcv_taken = c->rcv_nxt - i->guest_fin - c->out.len -
		       sock_image_queued(conn_fd(f));
	/* The kernel may have chosen our address.  A socket in place of one
	 * that is closed has none. */
	if (!sock_local(conn_fd(f), &local, &port) && port) {
		i->side[host].ours = local;
		i->side[host].our_port = port;
	}
}

static void copy(const struct chunks *chunks, const struct chunk_queue *q,
		 uint8_t *to)
{
	struct iovec iov;
	size_t off;

	for (off = 0; off < q->len; off += iov.iov_len) {
		chunk_iov(chunks, q, off, q->len - off, &iov, 1);
		memcpy(to + off, iov.iov_base, iov.iov_len);
	}
}

/* Whether the connection was ended by a reset, not by both FINs.  If a FIN may
 * still be in the socket, behind what the guest has not taken, only the pending
 * error tells. */
static bool broken(const struct flow *f, const struct tcp_image *i)
{
	const struct tcp_conn *c = (const struct tcp_conn *)(const void *)f->priv;

	return i->sock.state == SOCK_CLOSE &&
	       (!i->shut || (!(c->flags & CONN_EOF) && sock_error(conn_fd(f))));
}

int tcp_image_get_sock(struct tcp *t, const struct flow *f, struct tcp_image *i,
		       uint8_t *buf, size_t cap)
{
	struct tcp_conn *c = conn_of((struct flow *)(uintptr_t)f);
	size_t more = c->out.len + c->keep.len;
	struct sock_image *s = &i->sock;
	uint8_t *end;
	int err;

	if (more > cap)
		return -ENOBUFS;
	err = sock_image_get(conn_fd(f), s, buf, cap - more);
	if (err)
		return err;
	if (broken(f, i))
		return -ENOTCONN;
	end = buf + s->snd_len;
	memmove(end + more, end, s->rcv_len);
	copy(t->chunks, &c->out, end);
	copy(t->chunks, &c->keep, end + c->out.len);
	s->snd_len += c->out.len;
	s->unsent += c->out.len;
	s->rcv_seq -= c->keep.len;
	s->rcv_len += c->keep.len;
	return s->snd_len > SOCK_QUEUE_MAX || s->rcv_len > SOCK_QUEUE_MAX ?
		       -ENOBUFS : 0;
}

/* --- from an image --------------------------------------------------------- */

static unsigned tap_side(const struct tcp_image *i)
{
	return i->side[0].pif == PIF_TAP ? 0 : 1;
}

bool tcp_image_sane(const struct tcp_image *i)
{
	const struct side *tap = &i->side[tap_side(i)];
	const struct side *host = &i->side[!tap_side(i)];

	return tap->pif == PIF_TAP && host->pif == PIF_HOST &&
	       addr_is_v4(&tap->ours) == addr_is_v4(&tap->theirs) &&
	       addr_is_v4(&host->ours) == addr_is_v4(&host->theirs) &&
	       addr_is_unicast(&tap->ours) && addr_is_unicast(&tap->theirs) &&
	       addr_is_unicast(&host->ours) && addr_is_unicast(&host->theirs) &&
	       tap->our_port && tap->their_port && host->our_port &&
	       host->their_port && i->snd_shift <= TCP_SHIFT_MAX &&
	       i->rcv_shift <= TCP_SHIFT_MAX;
}

/* Whether the bytes in flight to the guest are in the image, to be sent
 * again */
static bool consistent(const struct tcp_image *i)
{
	uint32_t flight = i->snd_max - i->snd_una;

	/* A FIN has a number and comes last */
	if (i->fin_sent && flight && flight != i->sock.rcv_len + 1)
		return false;
	return flight <= i->sock.rcv_len + i->fin_sent;
}

size_t tcp_image_kept(const struct tcp *t, const struct tcp_image *i)
{
	bool v4 = addr_is_v4(&i->side[!tap_side(i)].theirs);

	if (sock_can_peek(t->fwd->env, v4) &&
	    i->sock.rcv_len <= RECEIVE_MOST && i->sock.state != SOCK_CLOSE)
		return 0;
	return i->sock.rcv_len;
}

bool tcp_image_is_v4(const struct tcp_image *i)
{
	return addr_is_v4(&i->side[!tap_side(i)].ours);
}

/* If both directions have ended, all that is left of the socket is what the
 * guest is to get */
int tcp_image_fill(const struct tcp *t, const struct tcp_image *i, int fd,
		   const uint8_t *buf, size_t kept)
{
	if (i->sock.state == SOCK_CLOSE)
		return 0;
	return sock_image_put(t->fwd->env, fd, &i->side[!tap_side(i)], &i->sock,
			      buf, kept);
}

static struct flow *begin(struct tcp *t, const struct tcp_image *i, int fd)
{
	unsigned tap = tap_side(i);
	struct flow *f = tap ? flow_accept(t->flows, FLOW_TCP) :
			       flow_begin(t->flows, FLOW_TCP, 1);

	if (!f)
		return NULL;
	f->side[0] = i->side[0];
	f->side[1] = i->side[1];
	f->side[tap].fd = -1;
	f->side[!tap].fd = fd;
	if (flow_enter(t->flows, f, tap))
		return f;
	flow_free(t->flows, f);
	return NULL;
}

static void set_numbers(struct tcp *t, struct flow *f,
			const struct tcp_image *i)
{
	struct tcp_conn *c = conn_of(f);

	conn_init(t, f, TCP_OPEN);
	c->snd_una = c->again = i->snd_una;
	c->snd_nxt = c->snd_max = c->lost = i->snd_max;
	c->recover = i->snd_una - 1;
	c->snd_shift = i->snd_shift & 15;
	c->rcv_shift = i->rcv_shift & 15;
	c->snd_wnd = c->wnd_most = (uint32_t)i->snd_wnd << c->snd_shift;
	c->rcv_nxt = c->snd_wl1 = i->rcv_nxt;
	c->rcv_acked = i->rcv_acked;
	c->rcv_edge = i->rcv_acked + ((uint32_t)i->rcv_wnd << c->rcv_shift);
	if (seq_before(c->rcv_edge, c->rcv_nxt))
		c->rcv_edge = c->rcv_nxt;
	c->sends = 2;
	conn_set_mss(t, f, i->mss);
}

static void set_ends(struct tcp_conn *c, const struct tcp_image *i)
{
	if (i->guest_fin)
		c->flags |= CONN_GUEST_FIN;
	/* A FIN that was not acknowledged is sent again */
	if (i->shut && (i->sock.state == SOCK_FIN_WAIT2 ||
			i->sock.state == SOCK_CLOSE))
		c->flags |= CONN_SHUT;
	if (i->eof) {
		c->flags |= CONN_EOF;
		c->eof_seq = i->fin_sent ? i->snd_max - 1 :
					   i->snd_una + i->sock.rcv_len;
	}
}

/* Set up the queues.  Bytes that the kernel holds have been peeked at as far as
 * they were sent; bytes that we keep are sent again, as if all of them had been
 * sent and lost. */
static bool set_queues(struct tcp *t, struct flow *f, const struct tcp_image *i,
		       const uint8_t *buf, size_t kept)
{
	const struct sock_image *s = &i->sock;
	struct tcp_conn *c = conn_of(f);
	struct iovec out = { (void *)(uintptr_t)(buf + s->snd_len - s->unsent),
			     s->unsent };
	struct iovec keep = { (void *)(uintptr_t)(buf + s->snd_len), kept };
	bool v4 = addr_is_v4(&f->side[!conn_tap(f)].theirs);

	if (chunk_put(t->chunks, &c->out, &out, 1, 0, s->unsent) < s->unsent ||
	    chunk_put(t->chunks, &c->keep, &keep, 1, 0, kept) < kept)
		return false;
	f->drains = c->out.len;
	if (!kept && sock_can_peek(t->fwd->env, v4)) {
		c->flags |= CONN_PEEK;
		return true;
	}
	c->snd_nxt = c->snd_una;
	if (seq_before(c->snd_max, c->snd_una + (uint32_t)kept))
		c->snd_max = c->snd_una + (uint32_t)kept;
	c->lost = c->snd_max;
	return true;
}

struct flow *tcp_image_put(struct tcp *t, const struct tcp_image *i, int fd,
			   const uint8_t *buf, size_t kept)
{
	struct flow *f = consistent(i) ? begin(t, i, fd) : NULL;
	struct tcp_conn *c;

	if (!f)
		return NULL;
	set_numbers(t, f, i);
	c = conn_of(f);
	set_ends(c, i);
	if (!set_queues(t, f, i, buf, kept)) {
		conn_forget(t, f);
		return NULL;
	}
	c->flags |= CONN_HELD;
	return f;
}

struct flow *tcp_image_refuse(struct tcp *t, const struct tcp_image *i)
{
	struct flow *f = begin(t, i, -1);

	if (!f)
		return NULL;
	set_numbers(t, f, i);
	conn_of(f)->flags |= CONN_HELD;
	return f;
}
