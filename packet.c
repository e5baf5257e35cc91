/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * packet - frame to checked headers and tuple; tuple to headers
 *
 * Parsing reads the private copy only.  Two ends are kept apart: the end of the
 * copy, beyond which a chain of IPv6 extension headers may go, and the end of
 * the packet, which the IP header states without Ethernet's padding.  The
 * latter is kept as an offset into the frame until layer 4 has found where its
 * payload begins.
 */
#include "packet.h"
#include "checksum.h"
#include "iov.h"

#include <linux/if_ether.h>
#include <linux/virtio_net.h>
#include <netinet/in.h>

enum {
	IP4_DF = 0x4000,
	IP4_MORE = 0x2000,
	IP4_OFFSET = 0x1fff, /* in units of 8 bytes, as IPv6 has it */
	IP6_MORE = 1,
	IP6_OFFSET = 0xfff8,
	IGMP_HEAD = 8,
	ICMP_HEAD = 8, /* with the rest of the header: echo has its id there */
	IP6_AH = 51,
	IP6_MOBILITY = 135,
	IP6_HIP = 139,
	IP6_SHIM6 = 140,
};

static const char *const names[VERDICTS] = {
	[PASS] = "passed",
	[DROP_SHORT] = "short",
	[DROP_ETHERTYPE] = "ethertype",
	[DROP_FRAGMENT] = "fragment",
	[DROP_OVERLAP] = "overlapping fragment",
	[DROP_REASSEMBLY] = "reassembly",
	[DROP_CHECKSUM] = "checksum",
	[DROP_LOOPBACK] = "loopback",
	[DROP_EXTENSION] = "extension header",
	[DROP_PROTOCOL] = "protocol",
	[DROP_MALFORMED] = "malformed",
	[DROP_ENDPOINT] = "endpoint",
	[DROP_NO_ROUTE] = "no route",
	[DROP_DENIED] = "denied",
	[DROP_NO_FLOW] = "no flow",
	[DROP_NO_ROOM] = "no room",
	[DROP_SOCKET] = "socket",
	[DROP_UNWANTED] = "unwanted",
	[DROP_TOO_BIG] = "too big",
	[DROP_CONN] = "not connected",
};

const char *verdict_name(enum verdict v)
{
	return v < VERDICTS ? names[v] : "unknown";
}

/* --- from the guest ----------------------------------------------------- */

/* State of parsing, header by header */
struct parse {
	struct packet *p;
	struct rd in;  /* reads the private copy */
	size_t end;    /* of the packet, from the start of the frame */
	uint8_t proto; /* of the next header */
	bool fragment; /* a fragment header was seen */
};

static size_t at(const struct parse *s)
{
	return (size_t)(s->in.p - s->p->hdr);
}

/* Cut the packet where its IP header says that it ends: what follows is
 * padding.  False: it ends beyond the frame. */
static bool cut(struct parse *s, size_t end)
{
	if (end > s->end)
		return false;
	s->end = end;
	if (s->p->hdr_len > end)
		s->p->hdr_len = (uint16_t)end;
	s->in.end = s->p->hdr + s->p->hdr_len;
	return true;
}

static bool loopback(const struct tuple *t)
{
	return addr_is_loopback(&t->src) || addr_is_loopback(&t->dst);
}

static void set_payload(struct parse *s, size_t off, size_t end)
{
	s->p->payload_off = (uint16_t)off;
	s->p->payload_len = (uint32_t)(end - off);
}

/* The shortest header of a layer-4 protocol */
static size_t l4_least(uint8_t proto)
{
	switch (proto) {
	case IPPROTO_TCP:
		return TCP_HEAD;
	case IPPROTO_UDP:
		return UDP_HEAD;
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		return ICMP_HEAD;
	default:
		return 0;
	}
}

static enum verdict skip_extensions(struct parse *s);

/* Note what is behind the IP header as a fragment.  A first fragment must have
 * all headers up to layer 4: without, it is made to get past filters (RFC 3128,
 * RFC 7112). */
static enum verdict parse_fragment(struct parse *s, uint32_t id, size_t off,
				   bool more)
{
	struct packet *p = s->p;
	enum verdict v;

	s->fragment = true;
	p->frag_id = id;
	p->frag_off = (uint16_t)off;
	p->frag_more = more;
	p->t.proto = s->proto;
	set_payload(s, at(s), s->end);
	if (!off) {
		v = addr_is_v4(&p->t.src) ? PASS : skip_extensions(s);
		if (v != PASS)
			return v;
		if (at(s) + l4_least(s->proto) > s->end)
			return DROP_SHORT;
	}
	return DROP_FRAGMENT;
}

static enum verdict parse_ip4(struct parse *s)
{
	struct packet *p = s->p;
	const uint8_t *h = rd_view(&s->in, IP4_HEAD);
	size_t head, total, frag;

	if (!h)
		return DROP_SHORT;
	head = (h[0] & 15U) * 4;
	total = ld_be16(h + 2);
	if (h[0] >> 4 != 4 || head < IP4_HEAD || total < head)
		return DROP_MALFORMED;
	if (!cut(s, p->l3_off + total))
		return DROP_SHORT;
	frag = ld_be16(h + 6);
	p->df = frag & IP4_DF;
	p->tos = h[1];
	p->ttl = h[8];
	s->proto = h[9];
	p->t.src = addr_from4(h + 12);
	p->t.dst = addr_from4(h + 16);
	rd_skip(&s->in, head - IP4_HEAD);
	if (!rd_ok(&s->in))
		return DROP_SHORT;
	if (loopback(&p->t))
		return DROP_LOOPBACK;
	if (!UNLIKELY(frag & (IP4_MORE | IP4_OFFSET)))
		return PASS;
	p->frag_head = (uint16_t)head;
	return parse_fragment(s, ld_be16(h + 4), (frag & IP4_OFFSET) * 8,
			      frag & IP4_MORE);
}

/* Skip one extension header of the generic form: next header, length in units
 * of 8 bytes without the first 8 */
static enum verdict skip_extension(struct parse *s)
{
	const uint8_t *h = s->in.p;
	size_t len;

	if (at(s) + 8 > s->end)
		return DROP_SHORT;
	if (rd_left(&s->in) < 8)
		return DROP_EXTENSION;
	len = (h[1] + 1U) * 8;
	if (at(s) + len > s->end)
		return DROP_SHORT;
	s->proto = h[0];
	s->p->proto_off = (uint8_t)(at(s) - s->p->l3_off);
	rd_skip(&s->in, len);
	return rd_ok(&s->in) ? PASS : DROP_EXTENSION;
}

/* Parse a fragment header.  PASS: it is that of an atomic fragment (RFC 6946),
 * which is the whole datagram. */
static enum verdict parse_frag6(struct parse *s)
{
	const uint8_t *h = s->in.p;
	size_t frag;

	if (at(s) + IP6_FRAG_HEAD > s->end)
		return DROP_SHORT;
	if (s->fragment || !rd_view(&s->in, IP6_FRAG_HEAD))
		return DROP_EXTENSION;
	s->proto = h[0];
	frag = ld_be16(h + 2);
	if (!(frag & (IP6_MORE | IP6_OFFSET)))
		return PASS;
	s->p->frag_head = (uint16_t)(at(s) - s->p->l3_off - IP6_HEAD -
				     IP6_FRAG_HEAD);
	return parse_fragment(s, ld_be32(h + 4), frag & IP6_OFFSET,
			      frag & IP6_MORE);
}

static enum verdict skip_extensions(struct parse *s)
{
	bool first = true;
	enum verdict v;

	for (;; first = false) {
		switch (s->proto) {
		case IPPROTO_HOPOPTS:
			if (!first) /* RFC 8200, 4.1: first or never */
				return DROP_EXTENSION;
			break;
		case IPPROTO_ROUTING:
		case IPPROTO_DSTOPTS:
			break;
		case IPPROTO_FRAGMENT:
			v = parse_frag6(s);
			if (v != PASS)
				return v;
			continue;
		case IP6_AH:
		case IP6_MOBILITY:
		case IP6_HIP:
		case IP6_SHIM6:
			return DROP_EXTENSION;
		default:
			return PASS;
		}
		v = skip_extension(s);
		if (v != PASS)
			return v;
	}
}

static enum verdict parse_ip6(struct parse *s)
{
	struct packet *p = s->p;
	const uint8_t *h = rd_view(&s->in, IP6_HEAD);
	uint32_t word;

	if (!h)
		return DROP_SHORT;
	word = ld_be32(h);
	if (word >> 28 != 6)
		return DROP_MALFORMED;
	if (!cut(s, p->l3_off + IP6_HEAD + (size_t)ld_be16(h + 4)))
		return DROP_SHORT;

	p->tos = (uint8_t)(word >> 20);
	p->flow_label = word & 0xfffff;
	s->proto = h[6];
	p->proto_off = 6;
	p->ttl = h[7];
	p->df = true; /* RFC 8200, 4.5: no router fragments */
	p->t.src = addr_from6(h + 8);
	p->t.dst = addr_from6(h + 24);
	/* We store IPv4 addresses as v4-mapped ones: the guest cannot use these
	 * itself */
	if (addr_is_v4(&p->t.src) || addr_is_v4(&p->t.dst))
		return DROP_ENDPOINT;
	if (loopback(&p->t))
		return DROP_LOOPBACK;
	return skip_extensions(s);
}

/* View the next @n bytes of the copy.  DROP_SHORT: the packet ends before.
 * DROP_EXTENSION: the copy does, which takes many extension headers. */
static enum verdict view_l4(struct parse *s, size_t n, const uint8_t **h)
{
	if (at(s) + n > s->end)
		return DROP_SHORT;
	*h = rd_view(&s->in, n);
	return *h ? PASS : DROP_EXTENSION;
}

static enum verdict parse_tcp(struct parse *s)
{
	struct packet *p = s->p;
	const uint8_t *h;
	enum verdict v = view_l4(s, TCP_HEAD, &h);
	size_t len;

	if (v != PASS)
		return v;
	len = (h[12] >> 4) * 4U;
	if (len < TCP_HEAD || p->l4_off + len > s->end)
		return DROP_MALFORMED;
	rd_skip(&s->in, len - TCP_HEAD);
	if (!rd_ok(&s->in))
		return DROP_EXTENSION;

	p->kind = PACKET_TCP;
	p->t.sport = ld_be16(h);
	p->t.dport = ld_be16(h + 2);
	p->seq = ld_be32(h + 4);
	p->ack = ld_be32(h + 8);
	p->tcp_flags = h[13];
	p->window = ld_be16(h + 14);
	set_payload(s, p->l4_off + len, s->end);
	return PASS;
}

static enum verdict parse_udp(struct parse *s)
{
	struct packet *p = s->p;
	const struct note *n = &p->frame->note;
	const uint8_t *h;
	enum verdict v = view_l4(s, UDP_HEAD, &h);
	size_t len;

	if (v != PASS)
		return v;
	len = ld_be16(h + 4);
	if (len < UDP_HEAD || p->l4_off + len > s->end)
		return DROP_MALFORMED;

	p->kind = PACKET_UDP;
	p->t.sport = ld_be16(h);
	p->t.dport = ld_be16(h + 2);
	set_payload(s, p->l4_off + (size_t)UDP_HEAD, p->l4_off + len);
	(void)cut(s, p->l4_off + len);
	if (n->gso_type == VIRTIO_NET_HDR_GSO_UDP_L4 &&
	    n->gso_size < p->payload_len)
		p->gso_size = n->gso_size;
	return PASS;
}

static enum verdict parse_icmp(struct parse *s, enum packet_kind kind,
			       uint8_t echo_request, uint8_t echo_reply)
{
	struct packet *p = s->p;
	const uint8_t *h;
	enum verdict v = view_l4(s, ICMP_HEAD, &h);

	if (v != PASS)
		return v;
	p->kind = (uint8_t)kind;
	p->icmp_type = h[0];
	p->icmp_code = h[1];
	if (h[0] == echo_request || h[0] == echo_reply)
		p->t.sport = p->t.dport = ld_be16(h + 4);
	set_payload(s, p->l4_off, s->end);
	return PASS;
}

static enum verdict parse_igmp(struct parse *s)
{
	const uint8_t *h;
	enum verdict v = view_l4(s, IGMP_HEAD, &h);

	if (v != PASS)
		return v;
	s->p->kind = PACKET_IGMP;
	s->p->icmp_type = h[0];
	set_payload(s, s->p->l4_off, s->end);
	return PASS;
}

static enum verdict parse_l4(struct parse *s)
{
	struct packet *p = s->p;
	bool v4 = addr_is_v4(&p->t.src);

	p->l4_off = (uint16_t)at(s);
	p->t.proto = s->proto;
	if (s->proto == IPPROTO_TCP)
		return parse_tcp(s);
	if (s->proto == IPPROTO_UDP)
		return parse_udp(s);
	if (s->proto == IPPROTO_ICMP && v4)
		return parse_icmp(s, PACKET_ICMP4, 8, 0);
	if (s->proto == IPPROTO_ICMPV6 && !v4)
		return parse_icmp(s, PACKET_ICMP6, 128, 129);
	if (s->proto == IPPROTO_IGMP && v4)
		return parse_igmp(s);
	return DROP_PROTOCOL;
}

static enum verdict parse_arp(struct parse *s)
{
	s->p->kind = PACKET_ARP;
	s->p->l4_off = ETH_HEAD;
	if (s->end < ETH_HEAD + ARP_BODY)
		return DROP_SHORT;
	set_payload(s, ETH_HEAD, s->end);
	return PASS;
}

/* Clear all fields before @hdr, as what no header of this packet states is
 * zero, and copy the frame's first bytes to @hdr */
static void reset(struct packet *p, const struct frame *f)
{
	memset(p, 0, offsetof(struct packet, hdr));
	p->frame = f;
	p->hdr_len = (uint16_t)iov_read(f->iov, f->iov_cnt, 0, p->hdr,
					MIN(f->len, (size_t)PACKET_HDR));
	p->l3_off = ETH_HEAD;
}

enum verdict packet_parse(const struct frame *f, struct packet *p)
{
	struct parse s = { .p = p, .end = f->len };
	uint16_t type;
	enum verdict v;

	reset(p, f);
	s.in = rd_init(p->hdr, p->hdr_len);
	rd_copy(&s.in, p->dmac.b, sizeof(p->dmac.b));
	rd_copy(&s.in, p->smac.b, sizeof(p->smac.b));
	type = rd_be16(&s.in);
	if (!rd_ok(&s.in))
		return DROP_SHORT;

	if (type == ETH_P_IP)
		v = parse_ip4(&s);
	else if (type == ETH_P_IPV6)
		v = parse_ip6(&s);
	else
		return type == ETH_P_ARP ? parse_arp(&s) : DROP_ETHERTYPE;
	return v == PASS ? parse_l4(&s) : v;
}

unsigned packet_iov(const struct packet *p, size_t off, size_t len,
		    struct iovec *iov, unsigned max, size_t *got)
{
	const struct frame *f = p->frame;

	off = MIN(off, (size_t)p->payload_len);
	len = MIN(len, p->payload_len - off);
	off += p->payload_off;
	if (off + len > f->iov->iov_len || !len || !max)
		return iov_slice(iov, max, f->iov, f->iov_cnt, off, len, got);
	*iov = (struct iovec){ (uint8_t *)f->iov->iov_base + off, len };
	*got = len;
	return 1;
}

/* Bytes that are in the private copy are taken from there: what was checked and
 * what the caller gets are the same, whatever the guest writes meanwhile */
size_t packet_copy(const struct packet *p, size_t off, void *dst, size_t len)
{
	const struct frame *f = p->frame;
	size_t own = 0;

	if (off >= p->payload_len)
		return 0;
	len = MIN(len, p->payload_len - off);
	off += p->payload_off;
	if (off < p->hdr_len) {
		own = MIN(len, p->hdr_len - off);
		memcpy(dst, p->hdr + off, own);
	}
	if (own == len)
		return len;
	return own + iov_read(f->iov, f->iov_cnt, off + own,
			      (uint8_t *)dst + own, len - own);
}

bool packet_sum_ok(const struct packet *p)
{
	size_t len = p->payload_off - p->l4_off + (size_t)p->payload_len;
	const struct frame *f = p->frame;
	uint64_t sum = 0;

	/* No checksum: allowed with IPv4 (RFC 768), not with IPv6 (RFC 8200,
	 * 8.1) */
	if (p->kind == PACKET_UDP && !ld_be16(p->hdr + p->l4_off + 6))
		return addr_is_v4(&p->t.src);
	if (p->kind != PACKET_ICMP4 && p->kind != PACKET_IGMP)
		sum = csum_pseudo(&p->t.src, &p->t.dst, p->t.proto,
				  (uint32_t)len);
	return !csum_finish(csum_iov(sum, f->iov, f->iov_cnt, p->l4_off, len));
}

struct rd packet_l4(const struct packet *p)
{
	return rd_init(p->hdr + p->l4_off, (size_t)(p->hdr_len - p->l4_off));
}

/* --- towards the guest -------------------------------------------------- */

static size_t put_eth(uint8_t *b, const struct head *h, uint16_t type)
{
	memcpy(b, h->dst.b, 6);
	memcpy(b + 6, h->src.b, 6);
	st_be16(b + 12, type);
	return ETH_HEAD;
}

static void put_frag4(uint8_t *b, const struct head *h)
{
	st_be16(b, (uint16_t)h->frag_id);
	st_be16(b + 2, (uint16_t)(h->frag_off / 8 |
				  (h->frag_more ? IP4_MORE : 0)));
}

/* Written as whole words, which the checksum reads back as such */
static size_t put_ip4(uint8_t *b, const struct head *h, size_t l4_len)
{
	uint32_t ttl = h->ttl ? h->ttl : 255, len = (uint32_t)(IP4_HEAD + l4_len);
	uint16_t sum;

	st_be32(b, 0x45U << 24 | (uint32_t)h->tos << 16 |
			   (len <= UINT16_MAX ? len : 0));
	st_be32(b + 4, IP4_DF);
	if (UNLIKELY(h->frag_id))
		put_frag4(b + 4, h);
	st_be32(b + 8, ttl << 24 | (uint32_t)h->t.proto << 16);
	memcpy(b + 12, &h->t.src.b[12], 4);
	memcpy(b + 16, &h->t.dst.b[12], 4);
	sum = csum_finish(csum_words(0, b, IP4_HEAD / 4));
	memcpy(b + 10, &sum, sizeof(sum));
	return IP4_HEAD;
}

static size_t put_frag6(uint8_t *b, const struct head *h)
{
	b[0] = h->t.proto;
	b[1] = 0;
	st_be16(b + 2, (uint16_t)(h->frag_off | (h->frag_more ? IP6_MORE : 0)));
	st_be32(b + 4, h->frag_id);
	return IP6_FRAG_HEAD;
}

static size_t put_ip6(uint8_t *b, const struct head *h, size_t l4_len)
{
	size_t frag = h->frag_id ? IP6_FRAG_HEAD : 0;

	st_be32(b,
		6U << 28 | (uint32_t)h->tos << 20 | (h->flow_label & 0xfffff));
	st_be16(b + 4, (uint16_t)(frag + l4_len));
	b[6] = frag ? IPPROTO_FRAGMENT : h->t.proto;
	b[7] = h->ttl ? h->ttl : 255;
	memcpy(b + 8, h->t.src.b, 16);
	memcpy(b + 24, h->t.dst.b, 16);
	return IP6_HEAD + (frag ? put_frag6(b + IP6_HEAD, h) : 0);
}

size_t packet_put_ip(uint8_t *b, const struct head *h, size_t l4_len)
{
	if (addr_is_v4(&h->t.src)) {
		put_eth(b, h, ETH_P_IP);
		return ETH_HEAD + put_ip4(b + ETH_HEAD, h, l4_len);
	}
	put_eth(b, h, ETH_P_IPV6);
	return ETH_HEAD + put_ip6(b + ETH_HEAD, h, l4_len);
}

/* Have whoever finishes the frame compute the checksum at @offset of layer 4 */
static void leave_sum(struct note *n, size_t start, size_t offset, size_t head)
{
	*n = (struct note){
		.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
		.hdr_len = (uint16_t)head,
		.csum_start = (uint16_t)start,
		.csum_offset = (uint16_t)offset,
	};
}

static uint16_t seed(const struct tuple *t, size_t l4_len)
{
	return csum_fold(
		csum_pseudo(&t->src, &t->dst, t->proto, (uint32_t)l4_len));
}

size_t packet_put_udp(uint8_t *b, const struct head *h, size_t payload,
		      struct note *n)
{
	size_t len = UDP_HEAD + payload, l4 = packet_put_ip(b, h, len);
	uint16_t sum = seed(&h->t, len);

	st_be16(b + l4, h->t.sport);
	st_be16(b + l4 + 2, h->t.dport);
	st_be16(b + l4 + 4, (uint16_t)len);
	memcpy(b + l4 + 6, &sum, sizeof(sum));
	leave_sum(n, l4, 6, l4 + UDP_HEAD);
	return l4 + UDP_HEAD;
}

size_t packet_put_tcp(uint8_t *b, const struct head *h,
		      const struct tcp_head *th, size_t payload, struct note *n)
{
	size_t head = TCP_HEAD + (size_t)th->opt_len;
	size_t l4 = packet_put_ip(b, h, head + payload);
	uint16_t sum = seed(&h->t, head + payload);
	uint8_t *tcp = b + l4;

	st_be16(tcp, h->t.sport);
	st_be16(tcp + 2, h->t.dport);
	st_be32(tcp + 4, th->seq);
	st_be32(tcp + 8, th->ack);
	tcp[12] = (uint8_t)(head / 4 << 4);
	tcp[13] = th->flags;
	st_be16(tcp + 14, th->window);
	memcpy(tcp + 16, &sum, sizeof(sum));
	st_be16(tcp + 18, 0);
	memcpy(tcp + TCP_HEAD, th->opt, th->opt_len);
	leave_sum(n, l4, 16, l4 + head);
	return l4 + head;
}

void packet_finish_udp(uint8_t *udp, const uint8_t *payload, size_t len)
{
	uint64_t sum = csum_add(csum_add(0, udp, UDP_HEAD), payload, len);
	uint16_t v = csum_finish(sum);

	/* RFC 768: a sum of zero is sent as all ones, zero means "no
	 * checksum" */
	if (!v)
		v = 0xffff;
	memcpy(udp + 6, &v, sizeof(v));
}

/* Set the checksum of a message of @len bytes.  ICMP and IGMP have no
 * pseudo-header, ICMPv6 has one (RFC 4443, 2.3). */
static void finish_icmp(const struct tuple *t, uint8_t *m, size_t len)
{
	uint16_t sum = 0;

	if (len < 4)
		return;
	memcpy(m + 2, &sum, sizeof(sum));
	if (t->proto == IPPROTO_ICMPV6)
		sum = seed(t, len);
	sum = csum_finish(csum_add(sum, m, len));
	memcpy(m + 2, &sum, sizeof(sum));
}

/* Write headers with the Router Alert option (RFC 2113, RFC 2711), which IGMP
 * and MLD need.  No other packet of ours has options, so it is inserted behind
 * the usual header. */
static size_t put_alert(uint8_t *b, const struct head *h, size_t len)
{
	static const uint8_t option4[4] = { 0x94, 4 };
	const uint8_t option6[8] = { h->t.proto, 0, 5, 2, 0, 0, 1, 0 };
	size_t ip = packet_put_ip(b, h, len);
	uint8_t *at = b + ETH_HEAD;
	uint16_t sum = 0;

	if (!addr_is_v4(&h->t.src)) {
		st_be16(at + 4, (uint16_t)(sizeof(option6) + len));
		at[6] = IPPROTO_HOPOPTS;
		memcpy(b + ip, option6, sizeof(option6));
		return ip + sizeof(option6);
	}
	memcpy(b + ip, option4, sizeof(option4));
	at[0]++; /* one word longer */
	st_be16(at + 2, (uint16_t)(IP4_HEAD + sizeof(option4) + len));
	memcpy(at + 10, &sum, sizeof(sum));
	sum = csum_finish(csum_add(0, at, IP4_HEAD + sizeof(option4)));
	memcpy(at + 10, &sum, sizeof(sum));
	return ip + sizeof(option4);
}

size_t packet_answer_head(uint8_t *b, struct answer *a)
{
	const struct head *h = &a->head;
	struct wr *body = &a->body;
	struct note n;
	size_t len;

	if (a->arp)
		return put_eth(b, h, ETH_P_ARP);
	if (h->t.proto == IPPROTO_UDP) {
		len = packet_put_udp(b, h, body->len, &n);
		packet_finish_udp(b + len - UDP_HEAD, body->buf, body->len);
		return len;
	}
	finish_icmp(&h->t, body->buf, body->len);
	if (a->alert)
		return put_alert(b, h, body->len);
	return packet_put_ip(b, h, body->len);
}
