/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * icmp - ICMP errors for the guest, made from socket errors
 *
 * An ICMP error is made anew, not forwarded: the socket's error queue tells
 * type, code, offender and what was quoted, and the quoted packet is written as
 * the guest has sent it.
 */
#include "icmp.h"

#include "emit.h"
#include "log.h"

#include <netinet/in.h> /* before linux/: musl has the same structs */

#include <linux/icmp.h>
#include <linux/icmpv6.h>

#include <errno.h>

enum {
	ICMP_HEAD = 8,
	ERROR4_MAX = 576,  /* RFC 1812 4.3.2.3 */
	ERROR6_MAX = 1280, /* RFC 4443 2.4(c) */
	IP4_MTU_MIN = 68,  /* RFC 791 */
	ERROR_QUOTED = 128, /* bytes that we look at of an error from the
			       guest */
};

static bool is_error(bool v4, uint8_t type)
{
	if (v4)
		return type == ICMP_DEST_UNREACH ||
		       type == ICMP_TIME_EXCEEDED ||
		       type == ICMP_PARAMETERPROB;
	return type >= ICMPV6_DEST_UNREACH && type <= ICMPV6_PARAMPROB;
}

/* The word behind the checksum, which only "too big" uses */
static uint32_t rest(bool v4, const struct sock_error *e)
{
	if (v4 && e->type == ICMP_DEST_UNREACH && e->code == ICMP_FRAG_NEEDED)
		return MIN(e->mtu, 65535);
	if (!v4 && e->type == ICMPV6_PKT_TOOBIG)
		return e->mtu;
	return 0;
}

/* Write layer 4 of the quoted packet up to where @payload follows */
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

/* Read the quoted IP header up to layer 4; false for a fragment that is not the
 * first */
static bool quoted_ip(struct rd *r, bool v4, struct tuple *t)
{
	enum { IP4_OFFSET = 0x1fff, IP6_OFFSET = 0xfff8 };
	const uint8_t *h = rd_view(r, v4 ? IP4_HEAD : IP6_HEAD);

	if (!h || h[0] >> 4 != (v4 ? 4 : 6))
		return false;
	t->proto = v4 ? h[9] : h[6];
	t->src = v4 ? addr_from4(h + 12) : addr_from6(h + 8);
	t->dst = v4 ? addr_from4(h + 16) : addr_from6(h + 24);
	if (v4) {
		rd_skip(r, (h[0] & 15U) * 4 - MIN((h[0] & 15U) * 4, IP4_HEAD));
		return !(ld_be16(h + 6) & IP4_OFFSET);
	}
	if (t->proto != IPPROTO_FRAGMENT)
		return true;
	h = rd_view(r, IP6_FRAG_HEAD);
	t->proto = h ? h[0] : 0;
	return h && !(ld_be16(h + 2) & IP6_OFFSET);
}

/* Read what an error from the guest quotes, up to what is behind the ports */
static bool quoted(struct rd *r, bool v4, struct tuple *t)
{
	rd_skip(r, ICMP_HEAD);
	if (!quoted_ip(r, v4, t))
		return false;
	if (t->proto == (v4 ? IPPROTO_ICMP : IPPROTO_ICMPV6)) {
		rd_skip(r, 4);
		t->sport = t->dport = rd_be16(r);
		return rd_ok(r);
	}
	t->sport = rd_be16(r);
	t->dport = rd_be16(r);
	return rd_ok(r) &&
	       (t->proto == IPPROTO_TCP || t->proto == IPPROTO_UDP);
}

bool icmp_refused(const struct packet *p, struct tuple *t)
{
	bool v4 = p->kind == PACKET_ICMP4;
	uint8_t in[ERROR_QUOTED];
	struct rd r = rd_init(in, packet_copy(p, 0, in, sizeof(in)));

	if (v4 ? p->icmp_type != ICMP_DEST_UNREACH ||
			 p->icmp_code == ICMP_FRAG_NEEDED
	       : p->kind != PACKET_ICMP6 || p->icmp_type != ICMPV6_DEST_UNREACH)
		return false;
	return quoted(&r, v4, t);
}

bool icmp_too_long(const struct packet *p, struct tuple *t, uint32_t *seq,
		   unsigned *mtu)
{
	bool v4 = p->kind == PACKET_ICMP4;
	uint8_t in[ERROR_QUOTED];
	struct rd r = rd_init(in, packet_copy(p, 0, in, sizeof(in))), word = r;

	if (v4 ? p->icmp_type != ICMP_DEST_UNREACH ||
			 p->icmp_code != ICMP_FRAG_NEEDED
	       : p->kind != PACKET_ICMP6 || p->icmp_type != ICMPV6_PKT_TOOBIG)
		return false;
	rd_skip(&word, 4);
	*mtu = rd_be32(&word);
	if (v4) /* RFC 1191, 4: the upper half is unused */
		*mtu &= UINT16_MAX;
	if (!quoted(&r, v4, t))
		return false;
	*seq = t->proto == IPPROTO_TCP ? rd_be32(&r) : 0;
	/* Routers from before that RFC do not tell an MTU */
	return rd_ok(&r) && *mtu >= IP4_MTU_MIN;
}

bool icmp_unknown(const struct lan *lan, const struct seen *seen,
		  const struct packet *p, struct answer *out)
{
	bool v4 = addr_is_v4(&p->t.src);

	if (!addr_is_unicast(&p->t.src) || !addr_is_unicast(&p->t.dst))
		return false;
	out->arp = false;
	out->head = (struct head){
		.src = lan->mac,
		.dst = seen->mac,
		.t = { .src = p->t.dst, .dst = p->t.src,
		       .proto = v4 ? IPPROTO_ICMP : IPPROTO_ICMPV6 },
	};
	wr_u8(&out->body, v4 ? ICMP_DEST_UNREACH : ICMPV6_PARAMPROB);
	wr_u8(&out->body, v4 ? ICMP_PROT_UNREACH : ICMPV6_UNK_NEXTHDR);
	wr_be16(&out->body, 0);
	wr_be32(&out->body, v4 ? 0 : p->proto_off);
	wr_bytes(&out->body, p->hdr + p->l3_off,
		 (size_t)(p->hdr_len - p->l3_off));
	return wr_ok(&out->body);
}

/* Whether a datagram did not fit our own interface: then we are the router */
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

/* Translate an error from a resolver of the other family to the guest's (RFC
 * 7915, 4.2 and 5.2); false if it has no equivalent */
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

/* The MTU for the guest's family, so that a packet of the other one fits */
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
		/* The router has no address in the guest's family: we have
		 * translated */
		from = v4 ? fwd->lan->our4 : fwd->lan->our_ll6;
	} else if (!fwd_guest_view(fwd, &e->offender, &from)) {
		log_limited(LOG_DBG, "ICMP error from %s cannot be shown",
			    addr_text(&e->offender, text));
		return false;
	}
	if (other)
		e->mtu = other_mtu(v4, e->mtu);
	return icmp_error(fwd->lan, fwd->seen, &t, seq, e, &from, &a) &&
	       emit_answer(tap, &a);
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

bool icmp_allowed(struct icmp_limit *l, uint64_t now_ms)
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

	return addr_is_unicast(&t.dst) && icmp_unroutable(v4, err, e) &&
	       icmp_allowed(l, tap->loop->now_ms) &&
	       icmp_error(fwd->lan, fwd->seen, &t, seq, e,
			  v4 ? &fwd->lan->our4 : &fwd->lan->our_ll6, &a) &&
	       emit_answer(tap, &a);
}
