/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * udp_splice - datagram flows between two sockets, past the guest's link
 *
 * Each side has a connected socket of its own.  Batches go from one to the
 * other through the buffers of udp.c.  An error that a socket reports is about
 * what the other side has sent; there is nobody to report it to, so it is taken
 * and forgotten.
 */
#include "udp_splice.h"

#include "freeze.h"
#include "log.h"

#include <assert.h>
#include <errno.h>

enum { DGRAM_COST = 256 }; /* bytes of a turn besides those of the payload */

struct dgrams {
	uint8_t count[2];
	uint8_t last[2];   /* datagrams of the last read */
	unsigned fresh[2]; /* so many may have arrived before connect(), from
			      others */
	uint64_t bytes[2]; /* bytes that each side has sent */
};
static_assert(sizeof(struct dgrams) <= FLOW_PRIV, "private data of a flow");

static struct dgrams *dgrams_of(const struct flow *f)
{
	return (struct dgrams *)(void *)f->priv;
}

/* Short patience until both have spoken and one of them more than once */
void udp_keep_alive(struct flows *flows, const struct udp_patience *p,
		    struct flow *f, uint8_t count[2], unsigned i, unsigned n)
{
	bool stream;

	count[i] = (uint8_t)MIN(count[i] + n, 2U);
	stream = count[0] + count[1] > 2; /* neither alone can be more than 2 */
	/* A flow that the guest began was answered; or a peer that began one
	 * has an answer and goes on.  Before that its address may be forged. */
	if (f->begun ? n && i : stream)
		flow_answered(flows, f);
	flow_timer(flows, f, flows->loop->now_ms +
			     (stream ? p->stream_ms : p->single_ms));
}

/* --- moving ------------------------------------------------------------- */

void udp_splice_forget(struct flow *f, unsigned i)
{
	struct sock_error e;

	f->ready[i] &= (uint16_t)~READY_ERR;
	while (sock_error_next(f->side[i].fd, &e))
		;
}

/* Read what goes to side @to from the host for names, if the host's side is a
 * resolver that the guest has asked */
static SELDOM void hear(struct udp_splice *s, const struct flow *f, unsigned to,
			const struct sock_dgram *d, unsigned n)
{
	unsigned k;

	if (to || f->side[0].pif != PIF_SPLICE ||
	    !fwd_hears(s->fwd, &f->side[1]))
		return;
	for (k = 0; k < n; k++)
		fwd_hear(s->fwd, d[k].iov->iov_base, d[k].len);
}

/* Send @n datagrams to side @i.  An error may be about an earlier datagram, so
 * each has a second chance. */
static void send_all(struct udp_splice *s, struct flow *f, unsigned i,
		     const struct sock_dgram *d, unsigned n)
{
	bool again = true;
	unsigned k = 0;
	int sent;

	if (UNLIKELY(s->fwd->told))
		hear(s, f, i, d, n);
	while (k < n) {
		sent = sock_send_dgrams(f->side[i].fd, d + k, n - k);
		if (sent == -EAGAIN || sent == -ENOBUFS)
			break;
		if (sent < 0 && again) {
			udp_splice_forget(f, i);
			again = false;
			continue;
		}
		if (sent < 0)
			s->drops[DROP_SOCKET]++;
		again = true;
		k += sent < 0 ? 1 : (unsigned)sent;
	}
	s->drops[DROP_SOCKET] += n - k;
}

static void heard(struct udp_splice *s, struct flow *f, unsigned i, unsigned n)
{
	udp_keep_alive(s->flows, s->patience, f, dgrams_of(f)->count, i, n);
}

void udp_splice_pass(struct udp_splice *s, struct flow *f, unsigned i,
		     void *p, size_t len)
{
	struct iovec iov = { p, len };
	const struct sock_dgram d = { .iov = &iov, .iov_cnt = 1, .len = len };

	send_all(s, f, !i, &d, 1);
	dgrams_of(f)->bytes[i] += len;
	heard(s, f, i, 1);
}

/* Move one batch from side @i; returns how many, or -errno.  Each entry for a
 * datagram costs time even if it stays empty; one entry more than datagrams
 * come tells that there are no others. */
static int move(struct udp_splice *s, struct flow *f, unsigned i)
{
	uint8_t *last = &dgrams_of(f)->last[i];
	unsigned most = MIN(2U * *last + 2, (unsigned)UDP_BATCH), k;
	struct sock_dgram d[UDP_BATCH];
	struct iovec iov[UDP_BATCH];
	int n;

	for (k = 0; k < most; k++) {
		iov[k] = (struct iovec){ s->rx[k], UDP_RX };
		d[k] = (struct sock_dgram){ .iov = &iov[k], .iov_cnt = 1 };
	}
	n = sock_recv_dgrams(f->side[i].fd, d, most, false);
	if (n < 0 && n != -EAGAIN)
		return n;
	if (n < (int)most)
		f->ready[i] &= (uint16_t)~READY_IN;
	if (n <= 0)
		return 0;
	*last = (uint8_t)n;
	for (k = 0; k < (unsigned)n; k++) {
		iov[k].iov_len = d[k].len;
		dgrams_of(f)->bytes[i] += d[k].len;
		flow_charge(s->flows, f, d[k].len + DGRAM_COST);
	}
	send_all(s, f, !i, d, (unsigned)n);
	heard(s, f, i, (unsigned)n);
	return n;
}

bool udp_splice_serve(struct udp_splice *s, struct flow *f, unsigned i)
{
	bool failed = false;

	if (f->ready[i] & READY_ERR)
		udp_splice_forget(f, i);
	while (f->ready[i] & READY_IN && !udp_splice_fresh(f, i) &&
	       !flow_spent(s->flows, f)) {
		if (move(s, f, i) >= 0) {
			failed = false;
			continue;
		}
		/* An error hides what is behind it, but only once */
		if (failed) {
			udp_splice_finish(s, f);
			return false;
		}
		udp_splice_forget(f, i);
		failed = true;
	}
	return true;
}

bool udp_splice_fresh(const struct flow *f, unsigned i)
{
	return dgrams_of(f)->fresh[i];
}

void udp_splice_settled(struct flow *f, unsigned i, unsigned n)
{
	unsigned *fresh = &dgrams_of(f)->fresh[i];

	*fresh = n < UDP_BATCH ? 0 : *fresh - MIN(n, *fresh);
}

/* --- flows -------------------------------------------------------------- */

void udp_splice_finish(struct udp_splice *s, struct flow *f)
{
	unsigned i;

	for (i = 0; i < 2; i++)
		if (f->side[i].fd >= 0)
			sock_close(f->side[i].fd);
	flow_free(s->flows, f);
}

static int open_side(struct udp_splice *s, struct flow *f, unsigned i,
		     const char *ifname)
{
	struct side *side = &f->side[i];
	bool inside = side->pif == PIF_SPLICE, v4 = addr_is_v4(&side->ours);
	struct sock_bind b = { .addr = side->ours, .port = side->our_port,
			       .ifname = ifname, .shared = true };
	int fd;

	if (inside) {
		fd = ns_socket(s->ns, NS_UDP, v4);
		if (fd < 0)
			return fd;
		b.fresh = fd + 1;
	}
	fd = sock_udp(inside ? &s->ns->env : s->fwd->env, &b, &side->theirs,
		      side->their_port, i);
	if (fd < 0)
		return fd;
	side->fd = fd;
	dgrams_of(f)->fresh[i] = sock_waiting(fd);
	return 0;
}

/* Open the socket to the destination.  Two clients with different addresses may
 * have the same port: then the second gets another one. */
static int open_target(struct udp_splice *s, struct flow *f)
{
	const struct side was = f->side[1];
	struct side *to = &f->side[1];
	unsigned tries;
	int err = -EADDRINUSE;

	for (tries = 0; tries < 2; tries++) {
		err = open_side(s, f, 1, NULL);
		if (!err)
			err = sock_local(to->fd, &to->ours, &to->our_port);
		if (err || flow_enter(s->flows, f, 1))
			return err;
		sock_close(to->fd);
		*to = was;
		to->our_port = 0;
		err = -EADDRINUSE;
	}
	return err;
}

static int start(struct udp_splice *s, struct flow *f, const struct rule *r)
{
	int err = -EEXIST;

	if (flow_enter(s->flows, f, 0))
		err = open_side(s, f, 0, r->ifname);
	if (!err)
		err = open_target(s, f);
	if (!err)
		err = flow_watch(s->flows, f, 0);
	if (!err)
		err = flow_watch(s->flows, f, 1);
	return err;
}

struct flow *udp_splice_open(struct udp_splice *s, const struct rule *r,
			     const struct side *from, enum verdict *v)
{
	char name[FLOW_NAME];
	struct side to;
	struct flow *f;
	int err;

	/* With a rule for the same port in each direction we would be our own
	 * client */
	*v = flow_sent(s->flows, FLOW_UDP_SPLICE, from)
		     ? DROP_ENDPOINT
		     : fwd_splice(s->fwd, r, from, &to);
	if (*v != PASS)
		return NULL;
	*v = DROP_NO_FLOW;
	f = from->pif == PIF_SPLICE ?
		    flow_begin(s->flows, FLOW_UDP_SPLICE, 2) :
		    flow_admit(s->flows, FLOW_UDP_SPLICE);
	if (!f)
		return NULL;
	f->side[0] = *from;
	f->side[1] = to;
	err = start(s, f, r);
	if (err) {
		log_limited(LOG_DBG, "%s: no socket: %s",
			    flow_name(s->flows, f, name, sizeof(name)),
			    util_error(-err));
		udp_splice_finish(s, f);
		return NULL;
	}
	heard(s, f, 0, 0);
	flow_lone(s->flows, f);
	ns_refill(s->ns, NS_UDP, addr_is_v4(&to.theirs));
	*v = PASS;
	return f;
}

enum flow_state udp_splice_state(const struct flow *f)
{
	const uint8_t *count = dgrams_of(f)->count;

	return count[0] && count[1] ? FLOW_REPLIED : FLOW_UNREPLIED;
}

void udp_splice_count(const struct flow *f, struct flow_count *n)
{
	n->known = true;
	memcpy(n->bytes, dgrams_of(f)->bytes, sizeof(n->bytes));
}

void udp_splice_freeze(struct udp_splice *s, const struct flow *f,
		       struct wr *w)
{
	const struct dgrams *x = dgrams_of(f);
	unsigned i;

	freeze_due(s->flows, w, f->timer.due_ms);
	for (i = 0; i < 2; i++) {
		wr_u8(w, x->count[i]);
		wr_be32(w, x->fresh[i]);
		wr_be64(w, x->bytes[i]);
	}
	wr_u8(w, f->lone_prev != 0);
}

bool udp_splice_thaw(struct udp_splice *s, struct flow *f, struct rd *r)
{
	struct dgrams *x = dgrams_of(f);
	uint64_t due = thaw_due(s->flows, r);
	unsigned i;

	for (i = 0; i < 2; i++) {
		x->count[i] = rd_u8(r);
		x->fresh[i] = rd_be32(r);
		x->bytes[i] = rd_be64(r);
	}
	if (!rd_ok(r) || f->side[0].fd < 0 || f->side[1].fd < 0)
		return false;
	flow_timer(s->flows, f, due);
	if (rd_left(r) && rd_u8(r))
		flow_lone(s->flows, f);
	return true;
}
