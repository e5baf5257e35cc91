/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * udp_out - datagrams to the guest; internal to udp*.c
 *
 * They are received straight into slots whose size follows what the flow has shown
 * so far; behind each slot lies a spill, so a longer one is copied once, not lost.
 * Where the guest takes runs, and the last batch was of one size, they are received
 * side by side into one slot.
 *
 * Copied, too, is what a new socket caught between bind() and connect(), which may
 * belong to others, what comes back to a socket that sends to a group, and what
 * comes from strangers.  That has no flow before the guest answers.
 */
#include "udp_out.h"

#include "emit.h"
#include "iov.h"

#include <errno.h>
#include <netinet/in.h>

enum {
	WARM = 256 << 10, /* bytes of one read that are still in the cache when
			     they are sent */
	DGRAM_COST = 256, /* charged for each datagram besides its payload, in
			     bytes */
};

static struct head head_for(const struct udp *u, struct flow *f)
{
	const struct side *g = guest_of(f);

	flow_answers(f);
	return (struct head){
		.src = dgrams_of(f)->mac, .dst = u->fwd->seen->mac,
		.t = { .src = g->ours, .dst = g->theirs, .sport = g->our_port,
		       .dport = g->their_port, .proto = IPPROTO_UDP },
		.lane = f->heavy ? LANE_BULK : LANE_DGRAM,
	};
}

/* Count @len bytes for the guest */
static void count_in(struct flow *f, size_t len)
{
	dgrams_of(f)->bytes[dgrams_of(f)->host] += len;
}

bool udp_out_has_peer(const struct side *host, const struct sock_dgram *d)
{
	return d->from_port == host->their_port &&
	       addr_equal(&d->from, &host->theirs);
}

/* Read the answers of a resolver for names; several may have been joined into a
 * run */
static SELDOM void hear(struct udp *u, struct flow *f, const uint8_t *p,
			const struct sock_dgram *d)
{
	size_t each = d->gso_size ? d->gso_size : d->len, at;

	/* It may not be a resolver any more */
	if (!udp_out_has_peer(host_of(f), d) || !fwd_hears(u->fwd, host_of(f)))
		return;
	for (at = 0; at < d->len; at += each)
		fwd_hear(u->fwd, p + at, MIN(each, d->len - at));
}

/* Send the guest a datagram, or a run, that is not in a slot */
static void pass_on(struct udp *u, struct flow *f, const struct head *h,
		    const uint8_t *p, const struct sock_dgram *d)
{
	struct head one = *h;
	enum verdict v;

	if (UNLIKELY(dgrams_of(f)->heard))
		hear(u, f, p, d);
	one.tos = d->tos;
	v = emit_datagram(u->tap, &one, p, d->len, d->gso_size);
	if (v != PASS)
		udp_flow_drop(u, v, 1);
	count_in(f, d->len);
}

void udp_out_stray(struct udp *u, enum verdict v, uint16_t port,
		   const struct sock_dgram *d, const void *p)
{
	struct head h = {
		.t = { .src = d->from, .dst = d->to, .sport = d->from_port,
		       .dport = port, .proto = IPPROTO_UDP },
	};

	udp_flow_drop(u, v, 1);
	emit_lost(u->tap, v, &h, p, d->len);
}

/* Handle a datagram that arrived at the socket of @f from somebody else than
 * its peer */
static void from_other(struct udp *u, struct flow *f,
		       const struct sock_dgram *d, uint8_t *p);

/* The first of these datagrams did not fit its slot or a frame, or is not of
 * this flow: all of them are moved to @u->rx, and sent from there.  Returns how
 * many are not of this flow. */
static unsigned spilled(struct udp *u, struct flow *f, struct slot *s,
			const struct sock_dgram *d, unsigned from, unsigned n)
{
	const struct head h = head_for(u, f);
	unsigned k, others = 0;
	size_t most = 0;

	for (k = from; k < n; k++) {
		iov_read(s[k].body, s[k].body_cnt, 0, u->rx[k],
			 MIN(s[k].room, d[k].len));
		tap_cancel(u->tap, &s[k]);
		most = MAX(most, d[k].len);
	}
	for (k = from; k < n; k++)
		if (dgrams_of(f)->connected || udp_out_has_peer(host_of(f), &d[k])) {
			pass_on(u, f, &h, u->rx[k], &d[k]);
		} else {
			from_other(u, f, &d[k], u->rx[k]);
			others++;
		}
	while (dgrams_of(f)->want < MIN(most, (size_t)UDP_WANT_MAX))
		dgrams_of(f)->want = (uint16_t)MIN(dgrams_of(f)->want * 2,
						   UDP_WANT_MAX);
	return others;
}

static unsigned prepare(struct udp *u, struct flow *f, struct slot *s,
			struct sock_dgram *d, struct iovec iov[][2])
{
	struct dgrams *x = dgrams_of(f);
	struct tuple t = { .src = guest_of(f)->ours };
	unsigned n = MIN(2U * x->last + 2, (unsigned)UDP_BATCH), k;

	n = tap_reserve(u->tap, s, n, head_len(&t) + UDP_HEAD, x->want, 0);
	for (k = 0; k < n; k++) {
		size_t room = MIN(s[k].room, (size_t)UDP_RX);

		iov[k][0] = (struct iovec){ s[k].body[0].iov_base, room };
		iov[k][1] = (struct iovec){ u->rx[k] + room, UDP_RX - room };
		d[k] = (struct sock_dgram){ .iov = iov[k], .iov_cnt = 2 };
	}
	return n;
}

/* After a read of @n datagrams, of which the socket gave @got (or -errno), with
 * @bytes in sum: decide how many to read next */
static int received(struct flow *f, int got, unsigned n, size_t bytes)
{
	struct dgrams *x = dgrams_of(f);
	unsigned end = got > 0 ? (unsigned)got : 0;

	if (got < 0 && got != -EAGAIN)
		return got;
	x->last = (uint8_t)end;
	/* The next read is for two more than twice this number */
	if (bytes > WARM / UDP_BATCH)
		x->last = (uint8_t)MIN(end, MAX(WARM * end / bytes, 2U) / 2 - 1);
	if (end < n)
		f->ready[x->host] &= (uint16_t)~READY_IN;
	return (int)end;
}

/* Reserve a slot in which datagrams of the same size will lie side by side */
static unsigned prepare_run(struct udp *u, struct flow *f, struct slot *s,
			    struct sock_dgram *d, struct iovec iov[][2])
{
	struct tuple t = { .src = guest_of(f)->ours };
	struct dgrams *x = dgrams_of(f);
	size_t size = x->size, n = MIN(2U * x->last + 2, (unsigned)UDP_RUN), k;

	n = MIN(n, SOCK_GSO_BYTES / size);
	if (!tap_reserve(u->tap, s, 1, head_len(&t) + UDP_HEAD, n * size, 0))
		return 0;
	n = MIN(n, s->room / size);
	for (k = 0; k < n; k++) {
		iov[k][0] = (struct iovec){
			(uint8_t *)s->body[0].iov_base + k * size, size
		};
		iov[k][1] = (struct iovec){ u->rx[k] + size, UDP_RX - size };
		d[k] = (struct sock_dgram){ .iov = iov[k], .iov_cnt = 2 };
	}
	if (!n)
		tap_cancel(u->tap, s);
	return (unsigned)n;
}

/* How many datagrams from the first on make a run, with *@bytes in sum; the
 * last of them may be shorter */
static unsigned run_length(const struct sock_dgram *d, unsigned n, size_t size,
			   size_t *bytes)
{
	unsigned k;

	*bytes = 0;
	for (k = 0; k < n; k++) {
		if (!d[k].len || d[k].len > size || d[k].gso_size ||
		    d[k].tos != d[0].tos)
			return k;
		*bytes += d[k].len;
		if (d[k].len < size)
			return k + 1;
	}
	return n;
}

/* Like receive(), but into one slot */
static int receive_run(struct udp *u, struct flow *f, size_t *bytes)
{
	struct head h = head_for(u, f);
	struct sock_dgram d[UDP_RUN];
	struct iovec iov[UDP_RUN][2];
	size_t size = dgrams_of(f)->size, len;
	unsigned n, run, k, end;
	struct slot s;
	int got;

	/* Another guest may have come, with shorter buffers */
	if (!emit_fits(u->tap, &h.t, UDP_HEAD + size)) {
		dgrams_of(f)->size = 0;
		return 0;
	}
	n = prepare_run(u, f, &s, d, iov);
	if (!n)
		return -ENOSPC;
	got = sock_recv_dgrams(host_of(f)->fd, d, n, false);
	end = got > 0 ? (unsigned)got : 0;
	run = run_length(d, end, size, &len);
	for (k = run; k < end; k++) {
		memcpy(u->rx[k], iov[k][0].iov_base, MIN(d[k].len, size));
		dgrams_of(f)->size = 0;
	}
	h.tos = d[0].tos;
	if (run)
		emit_commit(u->tap, &h, &s, len, (uint16_t)size);
	else
		tap_cancel(u->tap, &s);
	count_in(f, len);
	for (k = run; k < end; k++)
		pass_on(u, f, &h, u->rx[k], &d[k]);
	for (k = 0; k < end; k++)
		*bytes += d[k].len;
	return received(f, got, n, *bytes);
}

/* The size of all of them, 0 if they differ or there is but one */
static uint16_t one_size(const struct sock_dgram *d, unsigned n)
{
	unsigned k;

	for (k = 0; k < n; k++)
		if (d[k].len != d[0].len || d[k].gso_size)
			return 0;
	return n > 1 ? (uint16_t)d[0].len : 0;
}

static bool fits(const struct udp *u, const struct head *h,
		 const struct sock_dgram *d)
{
	return emit_fits(u->tap, &h->t,
			 UDP_HEAD + (d->gso_size ? d->gso_size : d->len));
}

/* Receive straight into slots.  Returns how many messages came, or -errno;
 * *@bytes grows by their bytes, and *@others by the number of those that are
 * not of this flow.  -ENOSPC: the guest has no room. */
static int receive(struct udp *u, struct flow *f, size_t *bytes, unsigned *others)
{
	struct head h = head_for(u, f);
	struct sock_dgram d[UDP_BATCH];
	struct slot s[UDP_BATCH];
	struct iovec iov[UDP_BATCH][2];
	unsigned n = prepare(u, f, s, d, iov), k, end;
	bool mixed = !dgrams_of(f)->connected;
	int got;

	if (!n)
		return -ENOSPC;
	got = sock_recv_dgrams(host_of(f)->fd, d, n, mixed);
	end = got > 0 ? (unsigned)got : 0;
	for (k = end; k < n; k++)
		tap_cancel(u->tap, &s[k]);
	for (k = 0; k < end; k++)
		*bytes += d[k].len;
	for (k = 0; k < end; k++) {
		if (d[k].len > iov[k][0].iov_len || !fits(u, &h, &d[k]) ||
		    (mixed && !udp_out_has_peer(host_of(f), &d[k]))) {
			*others += spilled(u, f, s, d, k, end);
			break;
		}
		h.tos = d[k].tos;
		emit_commit(u->tap, &h, &s[k], d[k].len, d[k].gso_size);
		count_in(f, d[k].len);
	}
	if (dgrams_of(f)->gro && !mixed && end &&
	    emit_fits(u->tap, &h.t, UDP_HEAD + d[0].len))
		dgrams_of(f)->size = one_size(d, end);
	return received(f, got, n, *bytes);
}

/* --- by address --------------------------------------------------------- */

unsigned udp_out_receive(struct udp *u, int fd, struct sock_dgram *d, int *err)
{
	struct iovec iov[UDP_BATCH];
	unsigned k;
	int got;

	for (k = 0; k < UDP_BATCH; k++) {
		iov[k] = (struct iovec){ u->rx[k], UDP_RX };
		d[k] = (struct sock_dgram){ .iov = &iov[k], .iov_cnt = 1 };
	}
	got = sock_recv_dgrams(fd, d, UDP_BATCH, true);
	for (k = 0; (int)k < got; k++)
		d[k].iov = NULL; /* what it points to ends here */
	*err = got < 0 ? got : 0;
	return got < 0 ? 0 : (unsigned)got;
}

bool udp_out_dispatch(struct udp *u, enum pif pif, const struct rule *r,
		      uint16_t port, const struct sock_dgram *d, uint8_t *p)
{
	struct side from = { .ours = d->to, .theirs = d->from,
			     .our_port = port, .their_port = d->from_port,
			     .pif = (uint8_t)pif, .fd = -1 };
	struct side key = from;
	enum verdict v;
	struct flow *f;
	struct head h;
	unsigned i = 0;

	if (UNLIKELY(r && addr_is_none(&r->target) && pif == PIF_HOST &&
		     mcast_sock_takes(&u->mcast, d))) {
		mcast_sock_pass(&u->mcast, d, port,
				(uint16_t)(port - r->first + r->to), p);
		return true;
	}
	f = udp_flow_find(u, &key, &i);
	if (!f && !r)
		return false;
	if (!f)
		f = udp_flow_open_in(u, r, &from, &v);
	if (!f) {
		udp_out_stray(u, v, port, d, p);
	} else if (f->kind == FLOW_UDP_SPLICE) {
		udp_splice_pass(&u->splice, f, i, p, d->len);
	} else {
		h = head_for(u, f);
		pass_on(u, f, &h, p, d);
		udp_flow_active(u, f, dgrams_of(f)->host, 1);
	}
	return true;
}

/* Pass on a datagram of a group's member, of another port of the peer, or of a
 * stranger, each with its own address.  A stranger's does not keep the flow
 * alive. */
static void others_answer(struct udp *u, struct flow *f,
			  const struct sock_dgram *d, const uint8_t *p)
{
	bool asked = addr_equal(&d->from, &host_of(f)->theirs);
	struct head h = head_for(u, f);

	if (!addr_is_unicast(&d->from) || !d->from_port ||
	    (!asked && !fwd_guest_view(u->fwd, &d->from, &h.t.src))) {
		udp_out_stray(u, DROP_ENDPOINT, host_of(f)->our_port, d, p);
		return;
	}
	h.t.sport = d->from_port;
	pass_on(u, f, &h, p, d);
	if (asked || dgrams_of(f)->group)
		udp_flow_active(u, f, dgrams_of(f)->host, 1);
}

static void from_other(struct udp *u, struct flow *f,
		       const struct sock_dgram *d, uint8_t *p)
{
	uint16_t port = host_of(f)->our_port;
	const struct rule *r = listen_rule(u->listen, PIF_HOST, IPPROTO_UDP,
					   &d->to, port);

	if (udp_out_dispatch(u, PIF_HOST, r, port, d, p))
		return;
	if (dgrams_of(f)->connected || mcast_sock_takes(&u->mcast, d))
		udp_out_stray(u, DROP_UNWANTED, port, d, p);
	else
		others_answer(u, f, d, p);
}

/* Receive from a socket whose datagrams may be of other flows */
static int receive_mixed(struct udp *u, struct flow *f, unsigned *others)
{
	struct dgrams *x = dgrams_of(f);
	struct sock_dgram d[UDP_BATCH];
	unsigned n, k;
	int err;

	/* What is read here has no reserved slot yet */
	if (u->tap->full)
		return -ENOSPC;
	n = udp_out_receive(u, host_of(f)->fd, d, &err);
	for (k = 0; k < n; k++) {
		const struct head h = head_for(u, f);

		if (!x->group && udp_out_has_peer(host_of(f), &d[k])) {
			pass_on(u, f, &h, u->rx[k], &d[k]);
		} else {
			from_other(u, f, &d[k], u->rx[k]);
			++*others;
		}
	}
	if (err && err != -EAGAIN)
		return err;
	x->fresh -= MIN(n, x->fresh);
	if (n < UDP_BATCH) {
		f->ready[x->host] &= (uint16_t)~READY_IN;
		x->fresh = 0;
	}
	return (int)n;
}

enum run_verdict udp_out_serve(void *owner, struct flow *f)
{
	struct dgrams *x = dgrams_of(f);
	struct udp *u = owner;
	unsigned n = 0, others = 0;
	bool failed = false;
	int got = 0;

	if (f->ready[x->host] & READY_ERR)
		udp_flow_errors(u, f);
	while (f->ready[x->host] & READY_IN && !flow_spent(u->flows, f)) {
		size_t bytes = 0;

		got = x->fresh || x->group || x->heard ? receive_mixed(u, f, &others)
		      : x->size		   ? receive_run(u, f, &bytes)
					   : receive(u, f, &bytes, &others);
		if (got == -ENOSPC)
			break;
		if (got < 0 && failed) {
			udp_flow_end(u, f);
			return RUN_DONE;
		}
		/* An error hides what is behind it, but only once */
		if (got < 0) {
			udp_flow_errors(u, f);
			failed = true;
			continue;
		}
		failed = false;
		n += (unsigned)got;
		flow_charge(u->flows, f, bytes + (unsigned)got * DGRAM_COST);
	}
	if (n > others)
		udp_flow_active(u, f, x->host, n - others);
	if (UNLIKELY(others))
		udp_flow_others(u, f, others);
	if (got == -ENOSPC)
		return RUN_HOLD;
	return f->ready[x->host] & READY_IN ? RUN_AGAIN : RUN_DONE;
}
