/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * icmp - echo flows; ICMP errors built from socket errors
 *
 * An echo flow is the guest's address, a destination and an identifier.  Its
 * host side is a datagram ping socket, whose kernel puts an identifier of its
 * own into requests and sums them; replies are received in place, get the
 * guest's identifier back and an unfinished checksum.
 *
 * An ICMP error is rebuilt, not forwarded: the socket's error queue says type,
 * code, offender and what was quoted, and the quoted packet is written as the
 * guest had sent it.
 */
#include "icmp.h"

#include "iov.h"
#include "log.h"

#include <netinet/in.h> /* before linux: musl has the same structs */

#include <linux/icmp.h>
#include <linux/icmpv6.h>

#include <assert.h>
#include <errno.h>

enum {
	TAP_SIDE,
	HOST_SIDE,

	ICMP_HEAD = 8,
	ERROR4_MAX = 576,  /* RFC 1812 4.3.2.3 */
	ERROR6_MAX = 1280, /* RFC 4443 2.4(c) */
	IP4_MTU_MIN = 68,  /* RFC 791 */
	BATCH = 8,	   /* echo is not bulk */
	PIECES = 18,	   /* a frame of 64 KiB in pages, and its ends */
	REPLY_COST = 512, /* bytes of a turn, for each */
};

struct echo {
	struct mac mac; /* whom the guest takes the destination for */
	uint8_t ttl;	/* of the socket now, 0: unknown */
	bool open;	/* the socket is not connected */
	uint64_t bytes[2]; /* that each side has sent */
};
static_assert(sizeof(struct echo) <= FLOW_PRIV, "private data of a flow");

static struct echo *echo_of(struct flow *f)
{
	return (struct echo *)(void *)f->priv;
}

/* --- errors ------------------------------------------------------------- */

static bool is_error(bool v4, uint8_t type)
{
	if (v4)
		return type == ICMP_DEST_UNREACH ||
		       type == ICMP_TIME_EXCEEDED ||
		       type == ICMP_PARAMETERPROB;
	return type >= ICMPV6_DEST_UNREACH && type <= ICMPV6_PARAMPROB;
}

/* The word behind the checksum: only "too big" has something to say there */
static uint32_t rest(bool v4, const struct sock_error *e)
{
	if (v4 && e->type == ICMP_DEST_UNREACH && e->code == ICMP_FRAG_NEEDED)
		return MIN(e->mtu, 65535);
	if (!v4 && e->type == ICMPV6_PKT_TOOBIG)
		return e->mtu;
	return 0;
}

/* Layer 4 of the quoted packet up to what @payload would follow */
static void quote_l4(struct wr *w, const struct tuple *t, uint32_t seq,
		     size_t len)
{
	bool echo = t->proto == IPPROTO_ICMP || t->proto == IPPROTO_ICMPV6;

	if (echo) {
		wr_u8(w, t->proto == IPPROTO_ICMP ? ICMP_ECHO
						  : ICMPV6_ECHO_REQUEST);
		wr_fill(w, 0, 3);
		wr_be16(w, t->sport);
		wr_be16(w, (uint16_t)seq);
		return;
	}
	wr_be16(w, t->sport);
	wr_be16(w, t->dport);
	if (t->proto == IPPROTO_UDP) {
		wr_be16(w, (uint16_t)(UDP_HEAD + len));
		wr_be16(w, 0);
		return;
	}
	wr_be32(w, seq);
	wr_be32(w, 0);
	wr_u8(w, TCP_HEAD / 4 << 4);
	wr_fill(w, 0, TCP_HEAD - 13);
}

static size_t l4_head(uint8_t proto)
{
	return proto == IPPROTO_TCP ? TCP_HEAD : UDP_HEAD;
}

bool icmp_error(const struct lan *lan, const struct seen *seen,
		const struct tuple *quoted, uint32_t seq,
		const struct sock_error *e, const struct addr *from,
		struct answer *out)
{
	bool v4 = addr_is_v4(&quoted->src);
	const struct head inner = { .t = *quoted };
	size_t ip = head_len(quoted) - ETH_HEAD, l4 = l4_head(quoted->proto);
	size_t max = (v4 ? ERROR4_MAX : ERROR6_MAX) - 2 * ip - ICMP_HEAD - l4;
	uint8_t head[HEAD_MAX];

	if (!e->icmp || !is_error(v4, e->type) || addr_is_none(from) ||
	    addr_is_v4(from) != v4)
		return false;
	/* The quoted length is that of the whole packet, as far as we know */
	packet_put_ip(head, &inner, l4 + e->len);

	out->arp = false;
	out->head = (struct head){
		.src = lan->mac,
		.dst = seen->mac,
		.t = { .src = *from, .dst = quoted->src,
		       .proto = v4 ? IPPROTO_ICMP : IPPROTO_ICMPV6 },
	};
	wr_u8(&out->body, e->type);
	wr_u8(&out->body, e->code);
	wr_be16(&out->body, 0);
	wr_be32(&out->body, rest(v4, e));
	wr_bytes(&out->body, head + ETH_HEAD, ip);
	quote_l4(&out->body, quoted, seq, e->len);
	wr_bytes(&out->body, e->payload, MIN(e->len, max));
	return wr_ok(&out->body);
}

/* Counted by who wanted it sent */
static bool lose(struct tap *tap, enum verdict v, uint8_t *head, size_t len,
		 const struct answer *a)
{
	const struct iovec iov[] = { { head, len },
				     { a->body.buf, a->body.len } };

	tap_lost(tap, v, iov, 2, len + a->body.len, NULL);
	return false;
}

bool icmp_send(struct tap *tap, struct answer *a)
{
	static const struct note finished;
	uint8_t head[HEAD_MAX];
	struct slot s;
	size_t len = packet_answer_head(head, a);

	if (len + a->body.len > tap->caps.frame_max)
		return lose(tap, DROP_TOO_BIG, head, len, a);
	if (!tap_reserve(tap, &s, 1, len, a->body.len, 0))
		return lose(tap, DROP_NO_ROOM, head, len, a);
	if (s.room < a->body.len) {
		tap_cancel(tap, &s);
		return lose(tap, DROP_NO_ROOM, head, len, a);
	}
	memcpy(s.head, head, len);
	iov_write(s.body, s.body_cnt, 0, a->body.buf, a->body.len);
	tap_commit(tap, &s, a->body.len, &finished);
	return true;
}

/* A datagram that did not fit our own interface: then we are the router */
static bool own_too_big(const struct fwd *fwd, bool v4, struct sock_error *e,
			struct addr *from)
{
	if (e->icmp || e->err != EMSGSIZE || !e->mtu)
		return false;
	e->icmp = true;
	e->type = v4 ? ICMP_DEST_UNREACH : ICMPV6_PKT_TOOBIG;
	e->code = v4 ? ICMP_FRAG_NEEDED : 0;
	*from = v4 ? fwd->lan->our4 : fwd->lan->our_ll6;
	return true;
}

/* An error from a resolver whose family is not the guest's, in the guest's
 * words: RFC 7915, 4.2 and 5.2.  What has none is not told. */
static bool translate(bool v4, struct sock_error *e)
{
	enum { NONE = 0xff };
	static const uint8_t unreach4[] = { 1, 10, 1, 1, 3 },
			     unreach6[] = { 0, 0, NONE, 4, NONE, 0, 0, 0,
					    0, 1, 1, 0, 0, 1, NONE, 1 };
	const uint8_t *unreach = v4 ? unreach4 : unreach6;
	unsigned n = v4 ? ARRAY_SIZE(unreach4) : ARRAY_SIZE(unreach6);

	if (v4 ? e->type == ICMPV6_PKT_TOOBIG :
		 e->type == ICMP_DEST_UNREACH && e->code == ICMP_FRAG_NEEDED) {
		e->type = v4 ? ICMP_DEST_UNREACH : ICMPV6_PKT_TOOBIG;
		e->code = v4 ? ICMP_FRAG_NEEDED : 0;
	} else if (e->type == (v4 ? ICMPV6_DEST_UNREACH : ICMP_DEST_UNREACH)) {
		if (e->code >= n || unreach[e->code] == NONE)
			return false;
		e->type = v4 ? ICMP_DEST_UNREACH : ICMPV6_DEST_UNREACH;
		e->code = unreach[e->code];
	} else if (e->type == (v4 ? ICMPV6_TIME_EXCEED : ICMP_TIME_EXCEEDED)) {
		e->type = v4 ? ICMP_TIME_EXCEEDED : ICMPV6_TIME_EXCEED;
	} else {
		return false;
	}
	return true;
}

/* What a packet of the guest's family may have so that the other one fits */
static uint32_t other_mtu(bool v4, uint32_t mtu)
{
	if (v4)
		return mtu > IP4_MTU_MIN + IP6_HEAD - IP4_HEAD ?
			       mtu - (IP6_HEAD - IP4_HEAD) : IP4_MTU_MIN;
	return MAX(mtu + IP6_HEAD - IP4_HEAD, (uint32_t)ERROR6_MAX);
}

bool icmp_report(struct tap *tap, const struct fwd *fwd,
		 const struct side *guest, const struct side *host,
		 uint8_t proto, uint32_t seq, struct sock_error *e)
{
	uint8_t body[ANSWER_MAX];
	struct answer a = { .body = wr_init(body, sizeof(body)) };
	struct tuple t = { .src = guest->theirs, .dst = guest->ours,
			   .sport = guest->their_port,
			   .dport = guest->our_port, .proto = proto };
	bool v4 = addr_is_v4(&t.src);
	bool other = addr_is_v4(&host->theirs) != v4;
	char text[ADDR_TEXT_LEN];
	struct addr from;

	if (own_too_big(fwd, v4, e, &from)) {
		/* as said there */
	} else if (!e->icmp || (other && !translate(v4, e))) {
		return false;
	} else if (addr_equal(&e->offender, &host->theirs)) {
		from = guest->ours;
	} else if (other) {
		/* Who it is has no name there: we have translated */
		from = v4 ? fwd->lan->our4 : fwd->lan->our_ll6;
	} else if (!fwd_guest_view(fwd, &e->offender, &from)) {
		log_limited(LOG_DBG, "ICMP error from %s cannot be shown",
			    addr_text(&e->offender, text));
		return false;
	}
	if (other)
		e->mtu = other_mtu(v4, e->mtu);
	return icmp_error(fwd->lan, fwd->seen, &t, seq, e, &from, &a) &&
	       icmp_send(tap, &a);
}

bool icmp_unroutable(bool v4, int err, struct sock_error *e)
{
	e->err = -err;
	e->icmp = true;
	e->type = v4 ? ICMP_DEST_UNREACH : ICMPV6_DEST_UNREACH;
	switch (err) {
	case -ENETUNREACH:
	case -EINVAL: /* a route of type blackhole */
		e->code = v4 ? ICMP_NET_UNREACH : ICMPV6_NOROUTE;
		return true;
	case -EHOSTUNREACH:
		e->code = v4 ? ICMP_HOST_UNREACH : ICMPV6_ADDR_UNREACH;
		return true;
	case -EACCES:
	case -EPERM:
		e->code = v4 ? ICMP_PKT_FILTERED : ICMPV6_ADM_PROHIBITED;
		return true;
	default:
		return false;
	}
}

static bool is_allowed(struct icmp_limit *l, uint64_t now_ms)
{
	if (now_ms - l->since_ms >= 1000)
		*l = (struct icmp_limit){ .since_ms = now_ms };
	return l->n++ < ICMP_ERRORS_PER_S;
}

bool icmp_refuse(struct icmp_limit *l, struct tap *tap, const struct fwd *fwd,
		 const struct side *guest, uint8_t proto, uint32_t seq, int err,
		 struct sock_error *e)
{
	uint8_t body[ANSWER_MAX];
	struct answer a = { .body = wr_init(body, sizeof(body)) };
	const struct tuple t = { .src = guest->theirs, .dst = guest->ours,
				 .sport = guest->their_port,
				 .dport = guest->our_port, .proto = proto };
	bool v4 = addr_is_v4(&t.src);

	return icmp_unroutable(v4, err, e) &&
	       is_allowed(l, tap->loop->now_ms) &&
	       icmp_error(fwd->lan, fwd->seen, &t, seq, e,
			  v4 ? &fwd->lan->our4 : &fwd->lan->our_ll6, &a) &&
	       icmp_send(tap, &a);
}

/* --- echo --------------------------------------------------------------- */

static void finish(struct icmp *i, struct flow *f)
{
	sock_close(f->side[HOST_SIDE].fd);
	flow_free(i->flows, f);
}

static bool is_request(const struct packet *p)
{
	return p->icmp_type == (p->kind == PACKET_ICMP4 ? ICMP_ECHO
							: ICMPV6_ECHO_REQUEST);
}

/* A ping socket quotes the message from its type on: the guest's identifier
 * comes from the flow, the sequence number from here */
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

/* Our own host does not send @e's message */
static void refuse(struct icmp *i, const struct side *guest, int err,
		   struct sock_error *e)
{
	uint16_t seq = take_head(e);

	icmp_refuse(&i->limit, i->tap, i->fwd, guest, icmp_proto(guest), seq,
		    err, e);
}

static void report(struct icmp *i, struct flow *f, struct sock_error *e)
{
	const struct side *guest = &f->side[TAP_SIDE];
	uint16_t seq = take_head(e);

	icmp_report(i->tap, i->fwd, guest, &f->side[HOST_SIDE],
		    icmp_proto(guest), seq, e);
}

static void drain_errors(struct icmp *i, struct flow *f)
{
	struct sock_error e;

	f->ready[HOST_SIDE] &= (uint16_t)~READY_ERR;
	while (sock_error_next(f->side[HOST_SIDE].fd, &e))
		report(i, f, &e);
}

static void drop(struct icmp *i, enum verdict v, unsigned n)
{
	i->drops[v] += n;
	if (n)
		tap_verdict(i->tap, v);
}

/* A refusal may be about an earlier request: those are told to the guest, then
 * this one has a second chance */
static void send_all(struct icmp *i, struct flow *f, struct sock_dgram *d,
		     unsigned n)
{
	int fd = f->side[HOST_SIDE].fd, ret;
	bool again = true;

	while (n) {
		ret = sock_send_dgrams(fd, d, n);
		if (ret == -EAGAIN || ret == -ENOBUFS)
			break;
		if (ret < 0 && again) {
			drain_errors(i, f);
			again = false;
			continue;
		}
		if (ret < 0) {
			struct sock_error e;

			e.mtu = 0;
			e.len = iov_read(d->iov, d->iov_cnt, 0, e.payload,
					 sizeof(e.payload));
			refuse(i, &f->side[TAP_SIDE], ret, &e);
			drop(i, DROP_SOCKET, 1);
			ret = 1;
		}
		again = true;
		d += ret;
		n -= (unsigned)ret;
	}
	drop(i, DROP_SOCKET, n);
}

static struct packet *input(void *owner, struct flow *f, struct packet *list)
{
	bool v4 = addr_is_v4(&f->side[TAP_SIDE].theirs);
	struct iovec iov[BATCH][PIECES];
	struct sock_dgram d[BATCH];
	struct icmp *i = owner;
	unsigned n = 0;
	size_t got;

	for (; list; list = list->next) {
		echo_of(f)->bytes[TAP_SIDE] += list->payload_len;
		if (!is_request(list)) {
			drop(i, DROP_UNWANTED, 1);
			continue;
		}
		if (n == BATCH || list->ttl != echo_of(f)->ttl) {
			send_all(i, f, d, n);
			n = 0;
		}
		if (list->ttl != echo_of(f)->ttl) {
			echo_of(f)->ttl = list->ttl;
			sock_ttl(f->side[HOST_SIDE].fd, v4, list->ttl);
		}
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
			drop(i, DROP_TOO_BIG, 1);
	}
	send_all(i, f, d, n);
	flow_timer(i->flows, f, i->flows->loop->now_ms + ICMP_TIMEOUT_MS);
	return NULL;
}

/* True: the slot was used */
static bool reply(struct icmp *i, struct flow *f, struct slot *s,
		  const struct sock_dgram *d)
{
	static const struct note finished;
	const struct side *guest = &f->side[TAP_SIDE];
	bool v4 = addr_is_v4(&guest->theirs);
	uint8_t *m = s->body[0].iov_base;
	struct answer a = {
		.head = { .src = echo_of(f)->mac, .dst = i->fwd->seen->mac,
			  .t = { .src = guest->ours, .dst = guest->theirs,
				 .proto = v4 ? IPPROTO_ICMP
					     : IPPROTO_ICMPV6 } },
		.body = { .buf = m, .len = d->len, .cap = d->len },
	};

	if (d->truncated || d->len < ICMP_HEAD ||
	    m[0] != (v4 ? ICMP_ECHOREPLY : ICMPV6_ECHO_REPLY))
		return false;
	if (echo_of(f)->open && !addr_equal(&d->from, &f->side[HOST_SIDE].theirs))
		return false;
	/* A group was asked: its members answer in their own names */
	if (!addr_equal(&d->from, &f->side[HOST_SIDE].theirs) &&
	    !fwd_guest_view(i->fwd, &d->from, &a.head.t.src))
		return false;
	st_be16(m + 4, guest->their_port);
	echo_of(f)->bytes[HOST_SIDE] += d->len;
	packet_answer_head(s->head, &a);
	tap_commit(i->tap, s, d->len, &finished);
	flow_answered(i->flows, f);
	return true;
}

/* How many came, or -errno; 0 with @full: the guest has no room */
static int receive(struct icmp *i, struct flow *f, bool *full)
{
	struct tuple t = { .src = f->side[TAP_SIDE].ours };
	size_t head = head_len(&t);
	struct sock_dgram d[BATCH];
	struct slot s[BATCH];
	unsigned n, k;
	int got;

	n = tap_reserve(i->tap, s, BATCH, head, i->tap->caps.frame_max - head,
			0);
	*full = !n;
	if (!n)
		return 0;
	for (k = 0; k < n; k++)
		d[k] = (struct sock_dgram){ .iov = s[k].body,
					    .iov_cnt = s[k].body_cnt };
	got = sock_recv_dgrams(f->side[HOST_SIDE].fd, d, n, true);
	for (k = 0; k < n; k++)
		if ((int)k >= got || !reply(i, f, &s[k], &d[k]))
			tap_cancel(i->tap, &s[k]);
	if (got >= 0 && (unsigned)got < n)
		f->ready[HOST_SIDE] &= (uint16_t)~READY_IN;
	return got;
}

static enum run_verdict ready(void *owner, struct flow *f)
{
	struct icmp *i = owner;
	bool full, failed = false;
	int got;

	if (f->ready[HOST_SIDE] & READY_ERR)
		drain_errors(i, f);
	while (f->ready[HOST_SIDE] & READY_IN) {
		if (flow_spent(i->flows, f))
			return RUN_AGAIN;
		got = receive(i, f, &full);
		if (full)
			return RUN_HOLD;
		/* An error hides what is behind it, but only once */
		if (got < 0 && got != -EAGAIN && !failed) {
			drain_errors(i, f);
			failed = true;
		} else if (got < 0) {
			f->ready[HOST_SIDE] &= (uint16_t)~READY_IN;
		} else {
			flow_charge(i->flows, f, (unsigned)got * REPLY_COST);
		}
	}
	return RUN_DONE;
}

static void expire(void *owner, struct flow *f)
{
	finish(owner, f);
}

static void count(const struct flow *f, struct flow_count *n)
{
	const struct echo *x = (const struct echo *)(const void *)f->priv;

	n->known = true;
	memcpy(n->bytes, x->bytes, sizeof(n->bytes));
}

static enum flow_state state(const struct flow *f)
{
	return f->lone_prev ? FLOW_UNREPLIED : FLOW_REPLIED;
}

static const struct flow_type echo_type = {
	.name = "ICMP",
	.input = input,
	.ready = ready,
	.expire = expire,
	.drop = expire,
	.state = state,
	.count = count,
};

void icmp_init(struct icmp *i, struct flows *flows, struct tap *tap,
	       const struct fwd *fwd, const struct neigh *neigh)
{
	*i = (struct icmp){ .flows = flows, .tap = tap, .fwd = fwd,
			    .neigh = neigh };
	flows_type(flows, FLOW_ICMP, &echo_type, i);
}

static int open_socket(struct icmp *i, const struct side *host, bool *open)
{
	int fd = sock_ping(i->fwd->env, &host->theirs, host->our_port, open);

	if (fd == -EACCES || fd == -EPERM)
		log_limited(LOG_WARN, "Cannot open \"ping\" socket: is "
			    "net.ipv4.ping_group_range set?");
	else if (fd < 0)
		log_limited(LOG_DBG, "Cannot open \"ping\" socket: %s",
			    util_error(-fd));
	return fd;
}

static enum verdict set_sides(struct icmp *i, const struct packet *p,
			      struct side side[2])
{
	const struct lan *lan = i->fwd->lan;

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
	return fwd_out(i->fwd, &p->t, &side[HOST_SIDE]);
}

struct flow *icmp_open(struct icmp *i, const struct packet *p,
		       enum verdict *v)
{
	const struct lan *lan = i->fwd->lan;
	bool v4 = addr_is_v4(&p->t.dst);
	struct side side[2];
	struct flow *f;

	*v = set_sides(i, p, side);
	if (*v != PASS)
		return NULL;
	*v = DROP_NO_FLOW;
	f = flow_begin(i->flows, FLOW_ICMP, 1);
	if (!f)
		return NULL;
	memcpy(f->side, side, sizeof(f->side));
	f->side[HOST_SIDE].fd = open_socket(i, &f->side[HOST_SIDE],
					      &echo_of(f)->open);
	if (f->side[HOST_SIDE].fd < 0) {
		struct sock_error e = { .len = 0 };

		e.len = packet_copy(p, 0, e.payload, sizeof(e.payload));
		refuse(i, &side[TAP_SIDE], f->side[HOST_SIDE].fd, &e);
		goto free;
	}
	if (flow_watch(i->flows, f, HOST_SIDE) ||
	    !flow_enter(i->flows, f, TAP_SIDE))
		goto close;
	echo_of(f)->mac = *neigh_mac(i->neigh, &p->t.dst,
				     v4 ? &lan->gw4 : &lan->gw6, &lan->mac);
	echo_of(f)->ttl = addr_is_multicast(&p->t.dst) ? 0 :
			  v4 ? i->fwd->env->ttl4 : i->fwd->env->ttl6;
	flow_timer(i->flows, f, i->flows->loop->now_ms + ICMP_TIMEOUT_MS);
	flow_lone(i->flows, f);
	*v = PASS;
	return f;

close:
	sock_close(f->side[HOST_SIDE].fd);
free:
	flow_free(i->flows, f);
	return NULL;
}
