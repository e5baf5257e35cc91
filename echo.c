/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * echo - carries the guest's echo requests by ping sockets
 *
 * An echo flow is the guest's address, a destination and an identifier.  Its
 * host side is a datagram ping socket, for which the kernel puts an identifier
 * of its own into requests and sums them; replies are received in place and get
 * the guest's identifier back.
 */
#include "echo.h"

#include "emit.h"
#include "freeze.h"
#include "icmp.h"
#include "iov.h"
#include "log.h"

#include <netinet/in.h> /* before linux/: musl has the same structs */

#include <linux/icmp.h>
#include <linux/icmpv6.h>

#include <assert.h>
#include <errno.h>

enum {
	TAP_SIDE,
	HOST_SIDE,

	ICMP_HEAD = 8,
	PIECES = 18,	  /* a frame of 64 KiB in pages, with both ends */
	REPLY_COST = 512, /* bytes of a turn, for each */
};

struct echo_flow {
	struct mac mac; /* source MAC address of frames to the guest */
	struct sock_ip ip; /* of the socket now */
	bool open;	/* the socket is not connected */
	uint64_t bytes[2]; /* that each side has sent */
};
static_assert(sizeof(struct echo_flow) <= FLOW_PRIV, "private data of a flow");

static struct echo_flow *echo_of(struct flow *f)
{
	return (struct echo_flow *)(void *)f->priv;
}

static void finish(struct echo *o, struct flow *f)
{
	sock_close(f->side[HOST_SIDE].fd);
	flow_free(o->flows, f);
}

static bool is_request(const struct packet *p)
{
	return p->icmp_type == (p->kind == PACKET_ICMP4 ? ICMP_ECHO
							: ICMPV6_ECHO_REQUEST);
}

/* Take the header off what a ping socket quotes, which begins with the type:
 * the guest's identifier is in the flow, the sequence number is returned */
static uint16_t take_head(struct sock_error *e)
{
	uint16_t seq = 0;

	if (e->len >= ICMP_HEAD) {
		seq = ld_be16(e->payload + 6);
		e->len -= ICMP_HEAD;
		memmove(e->payload, e->payload + ICMP_HEAD, e->len);
	} else {
		e->len = 0;
	}
	return seq;
}

static uint8_t icmp_proto(const struct side *guest)
{
	return addr_is_v4(&guest->theirs) ? IPPROTO_ICMP : IPPROTO_ICMPV6;
}

/* Our own host has refused the request quoted in @e */
static void refuse(struct echo *o, const struct side *guest, int err,
		   struct sock_error *e)
{
	uint16_t seq = take_head(e);

	icmp_refuse(&o->limit, o->tap, o->fwd, guest, icmp_proto(guest), seq,
		    err, e);
}

static void report(struct echo *o, struct flow *f, struct sock_error *e)
{
	const struct side *guest = &f->side[TAP_SIDE];
	uint16_t seq = take_head(e);

	icmp_report(o->tap, o->fwd, guest, &f->side[HOST_SIDE],
		    icmp_proto(guest), seq, e);
}

/* Report the socket's errors.  Returns the MTU for which the socket has refused
 * a request, which the guest has yet to be told, or 0. */
static uint32_t drain_errors(struct echo *o, struct flow *f)
{
	struct sock_error e;
	uint32_t mtu = 0;

	f->ready[HOST_SIDE] &= (uint16_t)~READY_ERR;
	while (sock_error_next(f->side[HOST_SIDE].fd, &e))
		if (!e.icmp && e.err == EMSGSIZE && e.mtu)
			mtu = e.mtu;
		else
			report(o, f, &e);
	return mtu;
}

static void drop(struct echo *o, enum verdict v, unsigned n)
{
	o->drops[v] += n;
	if (n)
		tap_verdict(o->tap, v);
}

/* A request was not sent; with @mtu because it is too long to be sent without
 * fragments */
static void not_sent(struct echo *o, struct flow *f, const struct sock_dgram *d,
		     int err, uint32_t mtu)
{
	struct sock_error e;

	memset(&e, 0, offsetof(struct sock_error, payload));
	e.err = -err;
	e.mtu = mtu;
	e.len = iov_read(d->iov, d->iov_cnt, 0, e.payload, sizeof(e.payload));
	if (mtu)
		report(o, f, &e);
	else
		refuse(o, &f->side[TAP_SIDE], err, &e);
	drop(o, mtu ? DROP_TOO_BIG : DROP_SOCKET, 1);
}

/* See udp_in.c, too_long() */
static bool sent_cut(struct echo *o, struct flow *f, const struct sock_dgram *d)
{
	bool v4 = addr_is_v4(&f->side[TAP_SIDE].theirs);
	struct sock_ip *ip = &echo_of(f)->ip;

	return lan_exceeds(o->fwd->lan, v4, d->len) && !sock_ip_probes(*ip) &&
	       sock_send_cut(f->side[HOST_SIDE].fd, v4, ip, d) == 1;
}

/* Send requests.  A refusal may be about an earlier one: these are reported to
 * the guest, then this one has a second chance. */
static void send_all(struct echo *o, struct flow *f, struct sock_dgram *d,
		     unsigned n)
{
	int fd = f->side[HOST_SIDE].fd, ret;
	bool again = true;
	uint32_t mtu;

	while (n) {
		ret = sock_send_dgrams(fd, d, n);
		if (ret == -EAGAIN || ret == -ENOBUFS)
			break;
		mtu = 0;
		if (ret < 0 && again && !(mtu = drain_errors(o, f))) {
			again = false;
			continue;
		}
		if (ret < 0) {
			if (!mtu || !sent_cut(o, f, d))
				not_sent(o, f, d, ret, mtu);
			ret = 1;
		}
		again = true;
		d += ret;
		n -= (unsigned)ret;
	}
	drop(o, DROP_SOCKET, n);
}

static struct packet *input(void *owner, struct flow *f, struct packet *list)
{
	bool v4 = addr_is_v4(&f->side[TAP_SIDE].theirs);
	struct iovec iov[ECHO_BATCH][PIECES];
	struct sock_dgram d[ECHO_BATCH];
	struct echo *o = owner;
	struct sock_ip ip;
	unsigned n = 0;
	size_t got;
	bool same;

	for (; list; list = list->next) {
		echo_of(f)->bytes[TAP_SIDE] += list->payload_len;
		if (!is_request(list)) {
			drop(o, DROP_UNWANTED, 1);
			continue;
		}
		ip = sock_ip_of(echo_of(f)->ip, v4, list->ttl, list->tos,
				list->df, list->payload_len - ICMP_HEAD);
		same = sock_ip_equal(&ip, &echo_of(f)->ip);
		if (n == ECHO_BATCH || !same) {
			send_all(o, f, d, n);
			n = 0;
		}
		if (!same)
			sock_set_ip(f->side[HOST_SIDE].fd, v4,
				    &echo_of(f)->ip, ip);
		d[n] = (struct sock_dgram){ .iov = iov[n] };
		if (echo_of(f)->open) {
			d[n].to = f->side[HOST_SIDE].theirs;
			d[n].to_port = 1; /* is not looked at */
		}
		d[n].iov_cnt = packet_iov(list, 0, list->payload_len, iov[n],
					  PIECES, &got);
		d[n].len = got;
		if (got == list->payload_len && list->ttl)
			n++;
		else
			drop(o, DROP_TOO_BIG, 1);
	}
	send_all(o, f, d, n);
	flow_timer(o->flows, f, o->flows->loop->now_ms + ECHO_TIMEOUT_MS);
	return NULL;
}

/* Whether reply @d, at @m, is for the guest: then @a becomes the answer, with
 * the guest's identifier */
static bool is_reply(struct echo *o, struct flow *f, const struct sock_dgram *d,
		     uint8_t *m, struct answer *a)
{
	const struct side *guest = &f->side[TAP_SIDE];
	const struct addr *asked = &f->side[HOST_SIDE].theirs;
	bool v4 = addr_is_v4(&guest->theirs);

	*a = (struct answer){
		.head = { .src = echo_of(f)->mac, .dst = o->fwd->seen->mac,
			  .t = { .src = guest->ours, .dst = guest->theirs,
				 .proto = v4 ? IPPROTO_ICMP
					     : IPPROTO_ICMPV6 } },
		.body = { .buf = m, .len = d->len, .cap = d->len },
	};
	if (d->truncated || d->len < ICMP_HEAD ||
	    m[0] != (v4 ? ICMP_ECHOREPLY : ICMPV6_ECHO_REPLY))
		return false;
	if (echo_of(f)->open && !addr_equal(&d->from, asked))
		return false;
	/* A group was asked, and its members answer with their own addresses */
	if (!addr_equal(&d->from, asked) &&
	    !fwd_guest_view(o->fwd, &d->from, &a->head.t.src))
		return false;
	emit_loosen(o->tap, &a->head, d->len);
	st_be16(m + 4, guest->their_port);
	echo_of(f)->bytes[HOST_SIDE] += d->len;
	flow_answered(o->flows, f);
	return true;
}

static void reply(struct echo *o, struct flow *f, struct slot *s,
		  const struct sock_dgram *d)
{
	static const struct note finished;
	struct answer a;

	if (!is_reply(o, f, d, s->body[0].iov_base, &a)) {
		tap_cancel(o->tap, s);
		return;
	}
	packet_answer_head(s->head, &a);
	tap_commit(o->tap, s, d->len, &finished);
}

/* The first of these replies did not fit its slot or a frame: all of them are
 * moved to where the rest is */
static void spilled(struct echo *o, struct flow *f, struct slot *s,
		    const struct sock_dgram *d, unsigned from, unsigned n)
{
	struct answer a;
	enum verdict v;
	unsigned k;

	for (k = from; k < n; k++) {
		iov_read(s[k].body, s[k].body_cnt, 0, o->rx[k],
			 MIN(s[k].room, d[k].len));
		tap_cancel(o->tap, &s[k]);
	}
	for (k = from; k < n; k++) {
		if (!is_reply(o, f, &d[k], o->rx[k], &a))
			continue;
		v = emit_echo(o->tap, &a);
		if (v != PASS)
			drop(o, v, 1);
	}
}

/* Receive replies; returns how many, or -errno; 0 with @full if the guest has
 * no room */
static int receive(struct echo *o, struct flow *f, bool *full)
{
	struct tuple t = { .src = f->side[TAP_SIDE].ours,
			   .dst = f->side[TAP_SIDE].theirs };
	size_t head = head_len(&t);
	struct sock_dgram d[ECHO_BATCH];
	struct slot s[ECHO_BATCH];
	struct iovec iov[ECHO_BATCH][2];
	unsigned n, k, end;
	int got;

	n = tap_reserve(o->tap, s, ECHO_BATCH, head,
			o->tap->caps.frame_max - head, 0);
	*full = !n;
	if (!n)
		return 0;
	for (k = 0; k < n; k++) {
		iov[k][0] = (struct iovec){ s[k].body[0].iov_base, s[k].room };
		iov[k][1] = (struct iovec){ o->rx[k] + s[k].room,
					    sizeof(o->rx[k]) - s[k].room };
		d[k] = (struct sock_dgram){ .iov = iov[k], .iov_cnt = 2 };
	}
	got = sock_recv_dgrams(f->side[HOST_SIDE].fd, d, n, true);
	end = got > 0 ? (unsigned)got : 0;
	for (k = end; k < n; k++)
		tap_cancel(o->tap, &s[k]);
	for (k = 0; k < end; k++) {
		if (d[k].len > s[k].room || !emit_fits(o->tap, &t, d[k].len)) {
			spilled(o, f, s, d, k, end);
			break;
		}
		reply(o, f, &s[k], &d[k]);
	}
	if (got >= 0 && end < n)
		f->ready[HOST_SIDE] &= (uint16_t)~READY_IN;
	return got;
}

static enum run_verdict ready(void *owner, struct flow *f)
{
	struct echo *o = owner;
	bool full, failed = false;
	int got;

	if (f->ready[HOST_SIDE] & READY_ERR)
		drain_errors(o, f);
	while (f->ready[HOST_SIDE] & READY_IN) {
		if (flow_spent(o->flows, f))
			return RUN_AGAIN;
		got = receive(o, f, &full);
		if (full)
			return RUN_HOLD;
		/* An error hides what is behind it, but only once */
		if (got < 0 && got != -EAGAIN && !failed) {
			drain_errors(o, f);
			failed = true;
		} else if (got < 0) {
			f->ready[HOST_SIDE] &= (uint16_t)~READY_IN;
		} else {
			flow_charge(o->flows, f, (unsigned)got * REPLY_COST);
		}
	}
	return RUN_DONE;
}

/* Replies that have arrived in this very turn are read first, unless the guest
 * takes nothing */
static void expire(void *owner, struct flow *f)
{
	struct echo *o = owner;

	if (!(f->ready[HOST_SIDE] & READY_IN) || !o->tap->up || o->tap->full)
		finish(o, f);
	else
		flow_timer(o->flows, f,
			   o->flows->loop->now_ms + ECHO_TIMEOUT_MS);
}

static void drop_flow(void *owner, struct flow *f)
{
	finish(owner, f);
}

static void count(const struct flow *f, struct flow_count *n)
{
	const struct echo_flow *x = (const struct echo_flow *)(const void *)f->priv;

	n->known = true;
	memcpy(n->bytes, x->bytes, sizeof(n->bytes));
}

static enum flow_state state(const struct flow *f)
{
	return f->lone_prev ? FLOW_UNREPLIED : FLOW_REPLIED;
}

static void freeze(void *owner, struct flow *f, struct wr *w)
{
	const struct echo_flow *x = echo_of(f);
	struct echo *o = owner;

	freeze_due(o->flows, w, f->timer.due_ms);
	wr_u8(w, f->lone_prev != 0);
	wr_u8(w, x->open);
	wr_u8(w, x->ip.ttl);
	wr_u8(w, x->ip.tos);
	wr_u8(w, x->ip.df);
	wr_bytes(w, x->mac.b, sizeof(x->mac.b));
	wr_be64(w, x->bytes[0]);
	wr_be64(w, x->bytes[1]);
}

static bool thaw(void *owner, struct flow *f, struct rd *r)
{
	struct echo_flow *x = echo_of(f);
	struct echo *o = owner;
	uint64_t due = thaw_due(o->flows, r);
	bool lone = rd_u8(r);

	x->open = rd_u8(r) & 1;
	x->ip.ttl = rd_u8(r);
	x->ip.tos = rd_u8(r);
	x->ip.df = rd_u8(r);
	rd_copy(r, x->mac.b, sizeof(x->mac.b));
	x->bytes[0] = rd_be64(r);
	x->bytes[1] = rd_be64(r);
	if (!rd_ok(r) || f->side[HOST_SIDE].fd < 0 ||
	    f->side[TAP_SIDE].pif != PIF_TAP)
		return false;
	flow_timer(o->flows, f, due);
	if (lone)
		flow_lone(o->flows, f);
	return true;
}

static void forget(void *owner, struct flow *f)
{
	struct echo *o = owner;

	flow_free(o->flows, f);
}

static const struct flow_type echo_type = {
	.name = "ICMP",
	.input = input,
	.ready = ready,
	.expire = expire,
	.drop = drop_flow,
	.freeze = freeze,
	.thaw = thaw,
	.forget = forget,
	.state = state,
	.count = count,
};

void echo_init(struct echo *o, struct flows *flows, struct tap *tap,
	       const struct fwd *fwd, const struct neigh *neigh)
{
	/* All but @rx, whose pages cost nothing until touched */
	memset(o, 0, offsetof(struct echo, rx));
	o->flows = flows;
	o->tap = tap;
	o->fwd = fwd;
	o->neigh = neigh;
	flows_type(flows, FLOW_ICMP, &echo_type, o);
}

static int open_socket(struct echo *o, const struct side *host, bool *open)
{
	int fd = sock_ping(o->fwd->env, &host->theirs, host->our_port, open);

	if (fd == -EACCES || fd == -EPERM)
		log_limited(LOG_WARN, "Cannot open \"ping\" socket: is "
			    "net.ipv4.ping_group_range set?");
	else if (fd < 0)
		log_limited(LOG_DBG, "Cannot open \"ping\" socket: %s",
			    util_error(-fd));
	return fd;
}

static enum verdict set_sides(struct echo *o, const struct packet *p,
			      struct side side[2])
{
	const struct lan *lan = o->fwd->lan;

	if (!lan->icmp)
		return DROP_PROTOCOL;
	if (!is_request(p) || p->icmp_code)
		return DROP_UNWANTED;
	if (!addr_is_unicast(&p->t.src) || addr_is_unspecified(&p->t.dst))
		return DROP_ENDPOINT;
	side[TAP_SIDE] = (struct side){
		.ours = p->t.dst, .theirs = p->t.src, .our_port = p->t.sport,
		.their_port = p->t.sport, .pif = PIF_TAP, .fd = -1,
	};
	return fwd_out(o->fwd, &p->t, &side[HOST_SIDE]);
}

struct flow *echo_open(struct echo *o, const struct packet *p,
		       enum verdict *v)
{
	const struct lan *lan = o->fwd->lan;
	bool v4 = addr_is_v4(&p->t.dst);
	struct side side[2];
	struct flow *f;

	*v = set_sides(o, p, side);
	if (*v != PASS)
		return NULL;
	*v = DROP_NO_FLOW;
	f = flow_begin(o->flows, FLOW_ICMP, 1);
	if (!f)
		return NULL;
	memcpy(f->side, side, sizeof(f->side));
	f->side[HOST_SIDE].fd = open_socket(o, &f->side[HOST_SIDE],
					      &echo_of(f)->open);
	if (f->side[HOST_SIDE].fd < 0) {
		struct sock_error e = { .len = 0 };

		e.len = packet_copy(p, 0, e.payload, sizeof(e.payload));
		refuse(o, &side[TAP_SIDE], f->side[HOST_SIDE].fd, &e);
		goto free;
	}
	if (flow_watch(o->flows, f, HOST_SIDE) ||
	    !flow_enter(o->flows, f, TAP_SIDE))
		goto close;
	echo_of(f)->mac = *neigh_mac(o->neigh, &p->t.dst,
				     v4 ? &lan->gw4 : &lan->gw6, &lan->mac);
	echo_of(f)->ip.ttl = addr_is_multicast(&p->t.dst) ? 0 :
			  v4 ? o->fwd->env->ttl4 : o->fwd->env->ttl6;
	flow_timer(o->flows, f, o->flows->loop->now_ms + ECHO_TIMEOUT_MS);
	flow_lone(o->flows, f);
	*v = PASS;
	return f;

close:
	sock_close(f->side[HOST_SIDE].fd);
free:
	flow_free(o->flows, f);
	return NULL;
}
