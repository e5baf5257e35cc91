/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Frames, written and read the obvious way, sharing no code with packet.c.
 *
 * wire_parse() is a strict judge of what the guest is given: lengths, sums,
 * flags that must be set.
 */
#include "sim.h"

#include <netinet/in.h>
#include <stdio.h>

static uint64_t add16(uint64_t sum, const uint8_t *p, size_t len)
{
	size_t i;

	for (i = 0; i + 1 < len; i += 2)
		sum += (uint64_t)(p[i] << 8 | p[i + 1]);
	if (len & 1)
		sum += (uint64_t)(p[len - 1] << 8);
	return sum;
}

static uint16_t fold(uint64_t sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)sum;
}

static uint64_t pseudo(const struct addr *src, const struct addr *dst,
		       int proto, size_t len)
{
	size_t skip = addr_is_v4(src) ? 12 : 0;
	uint64_t sum = (uint64_t)proto + (len >> 16) + (len & 0xffff);

	sum = add16(sum, src->b + skip, 16 - skip);
	return add16(sum, dst->b + skip, 16 - skip);
}

/* The sum to store, or 0 if the stored one is right */
uint16_t wire_sum(const struct addr *src, const struct addr *dst, int proto,
		  const uint8_t *p, size_t len)
{
	uint64_t sum = 0;

	if (proto != IPPROTO_ICMP && proto != IPPROTO_IGMP)
		sum = pseudo(src, dst, proto, len);
	return (uint16_t)~fold(add16(sum, p, len));
}

static size_t put_ip(uint8_t *p, const struct seg *s, size_t l4)
{
	memcpy(p, s->dmac.b, 6);
	memcpy(p + 6, s->smac.b, 6);
	if (addr_is_v4(&s->src)) {
		st_be16(p + 12, 0x800);
		p += 14;
		memset(p, 0, 20);
		p[0] = 0x45;
		p[1] = s->tos;
		st_be16(p + 2, (uint16_t)(20 + l4));
		p[6] = s->may_fragment ? 0 : 0x40;
		p[8] = s->ttl ? s->ttl : 64;
		p[9] = s->proto;
		memcpy(p + 12, s->src.b + 12, 4);
		memcpy(p + 16, s->dst.b + 12, 4);
		st_be16(p + 10, (uint16_t)~fold(add16(0, p, 20)));
		return 34;
	}
	st_be16(p + 12, 0x86dd);
	p += 14;
	st_be32(p, 6U << 28 | (uint32_t)s->tos << 20 | s->flow_label);
	st_be16(p + 4, (uint16_t)l4);
	p[6] = s->proto;
	p[7] = s->ttl ? s->ttl : 64;
	memcpy(p + 8, s->src.b, 16);
	memcpy(p + 24, s->dst.b, 16);
	return 54;
}

static size_t put_tcp(uint8_t *p, const struct seg *s)
{
	size_t n = 20;

	memset(p, 0, 20);
	st_be16(p, s->sport);
	st_be16(p + 2, s->dport);
	st_be32(p + 4, s->seq);
	st_be32(p + 8, s->ack);
	p[13] = s->flags;
	st_be16(p + 14, s->win);
	if (s->mss >= 0) {
		p[n] = 2;
		p[n + 1] = 4;
		st_be16(p + n + 2, (uint16_t)s->mss);
		n += 4;
	}
	if (s->ws >= 0) {
		p[n] = 1;
		p[n + 1] = 3;
		p[n + 2] = 3;
		p[n + 3] = (uint8_t)s->ws;
		n += 4;
	}
	if (s->sack_ok) {
		memcpy(p + n, (uint8_t[]){ 4, 2, 1, 1 }, 4);
		n += 4;
	}
	if (s->sacks) {
		memcpy(p + n, (uint8_t[]){ 1, 1, 5,
					   (uint8_t)(2 + 8 * s->sacks) }, 4);
		n += 4;
	}
	for (unsigned i = 0; i < s->sacks; i++, n += 8) {
		st_be32(p + n, s->sack[i][0]);
		st_be32(p + n + 4, s->sack[i][1]);
	}
	p[12] = (uint8_t)(n << 2);
	return n;
}

size_t wire_build(uint8_t *buf, const struct seg *s)
{
	size_t l3 = addr_is_v4(&s->src) ? 34 : 54, l4 = 0;
	uint8_t *p = buf + l3;
	size_t at = 0;
	uint16_t sum;

	if (s->proto == IPPROTO_TCP) {
		l4 = put_tcp(p, s);
		at = 16;
	} else if (s->proto == IPPROTO_UDP) {
		st_be16(p, s->sport);
		st_be16(p + 2, s->dport);
		st_be16(p + 4, (uint16_t)(8 + s->len));
		st_be16(p + 6, 0);
		l4 = 8;
		at = 6;
	} else if (s->proto == IPPROTO_ICMP || s->proto == IPPROTO_ICMPV6 ||
		   s->proto == IPPROTO_IGMP) {
		at = 2;
	}
	if (s->len)
		memcpy(p + l4, s->data, s->len);
	l4 += s->len;
	put_ip(buf, s, l4);
	if (!at || l4 < at + 2)
		return l3 + l4;
	st_be16(p + at, 0);
	if (s->partial)
		sum = fold(pseudo(&s->src, &s->dst, s->proto, l4));
	else
		sum = wire_sum(&s->src, &s->dst, s->proto, p, l4);
	if (!sum && s->proto == IPPROTO_UDP)
		sum = 0xffff;
	st_be16(p + at, sum);
	return l3 + l4;
}

/* --- reading -------------------------------------------------------------- */

static void get_sack(const uint8_t *p, size_t n, struct seg *s)
{
	size_t i;

	s->sacks = (unsigned)n;
	for (i = 0; i < n; i++) {
		s->sack[i][0] = ld_be32(p + 8 * i);
		s->sack[i][1] = ld_be32(p + 8 * i + 4);
	}
}

static const char *get_options(const uint8_t *p, size_t n, struct seg *s)
{
	s->mss = s->ws = -1;
	while (n && *p) {
		size_t l = *p == 1 ? 1 : n > 1 ? p[1] : 0;

		if (!l || l > n || (*p != 1 && l < 2))
			return "bad TCP option";
		if (*p == 2)
			s->mss = ld_be16(p + 2);
		else if (*p == 3)
			s->ws = p[2];
		else if (*p == 4)
			s->sack_ok = true;
		else if (*p == 5 && (l < 10 || l > 34 || (l - 2) % 8))
			return "bad SACK option";
		else if (*p == 5)
			get_sack(p + 2, (l - 2) / 8, s);
		else if (*p == 8)
			s->stamps = true;
		p += l;
		n -= l;
	}
	return NULL;
}

static const char *get_l4(const uint8_t *p, size_t len, struct seg *s)
{
	size_t n;

	if (s->proto == IPPROTO_TCP) {
		n = len >= 20 ? (size_t)(p[12] >> 4) * 4 : 0;
		if (n < 20 || n > len)
			return "bad TCP header length";
		s->sport = ld_be16(p);
		s->dport = ld_be16(p + 2);
		s->seq = ld_be32(p + 4);
		s->ack = ld_be32(p + 8);
		s->flags = p[13];
		s->win = ld_be16(p + 14);
		s->data = p + n;
		s->len = len - n;
		if (get_options(p + 20, n - 20, s))
			return "bad TCP option";
	} else if (s->proto == IPPROTO_UDP) {
		if (len < 8 || ld_be16(p + 4) != len)
			return "bad UDP length";
		s->sport = ld_be16(p);
		s->dport = ld_be16(p + 2);
		s->data = p + 8;
		s->len = len - 8;
		if (!ld_be16(p + 6))
			return addr_is_v4(&s->src) ? NULL : "UDP without sum";
	} else if (s->proto == IPPROTO_ICMP || s->proto == IPPROTO_ICMPV6 ||
		   s->proto == IPPROTO_IGMP) {
		if (len < 8)
			return "short ICMP";
		s->icmp_type = p[0];
		s->icmp_code = p[1];
		s->data = p;
		s->len = len;
	} else {
		return "unknown protocol";
	}
	if (wire_sum(&s->src, &s->dst, s->proto, p, len))
		return "bad layer-4 checksum";
	return NULL;
}

static const char *get_fragment(const uint8_t *p, size_t len, struct seg *s,
				size_t off, bool more)
{
	s->frag = true;
	s->frag_more = more;
	s->frag_off = off;
	s->data = p;
	s->len = len;
	return more && len % 8 ? "fragment of an odd length" : NULL;
}

/* Router Alert, as queries have it: its length */
static size_t get_alert4(const uint8_t *p, size_t len)
{
	bool is = len >= 24 && p[0] == 0x46 && p[9] == IPPROTO_IGMP &&
		  ld_be32(p + 20) == 0x94040000;

	return is ? 4 : 0;
}

static size_t get_alert6(const uint8_t *p, size_t len)
{
	static const uint8_t alert[] = { 0x3a, 0, 5, 2, 0, 0, 1, 0 };

	return len >= 48 && !p[6] && !memcmp(p + 40, alert, 8) ? 8 : 0;
}

const char *wire_parse(const uint8_t *p, size_t len, struct seg *s)
{
	size_t n, alert;
	bool loose;

	memset(s, 0, sizeof(*s));
	s->mss = s->ws = -1;
	if (len < 14)
		return "short frame";
	memcpy(s->dmac.b, p, 6);
	memcpy(s->smac.b, p + 6, 6);
	s->ethertype = ld_be16(p + 12);
	p += 14;
	len -= 14;
	s->data = p;
	s->len = len;
	if (s->ethertype == 0x806)
		return len < 28 ? "short ARP" : NULL;
	if (s->ethertype == 0x800) {
		alert = get_alert4(p, len);
		if (len < 20 || (p[0] != 0x45 && !alert) ||
		    (n = ld_be16(p + 2)) > len || n < 20 + alert)
			return "bad IPv4 header";
		if (fold(add16(0, p, 20 + alert)) != 0xffff)
			return "bad IPv4 checksum";
		loose = n > 1500 && p[9] != IPPROTO_TCP &&
			!(ld_be16(p + 6) & 0x3fff);
		if (!ld_be16(p + 6) != loose || (ld_be16(p + 6) & 0xc000) == 0xc000)
			return loose ? "IPv4: may not be fragmented" :
				       "IPv4: DF not set";
		s->tos = p[1];
		s->ttl = p[8];
		s->proto = p[9];
		s->src = addr_from4(p + 12);
		s->dst = addr_from4(p + 16);
		if (!loose && ld_be16(p + 6) != 0x4000)
			return get_fragment(p + 20, n - 20, s,
					    (ld_be16(p + 6) & 0x1fff) * 8U,
					    ld_be16(p + 6) & 0x2000);
		return get_l4(p + 20 + alert, n - 20 - alert, s);
	}
	if (s->ethertype != 0x86dd)
		return "unknown ethertype";
	if (len < 40 || p[0] >> 4 != 6 || (n = ld_be16(p + 4)) + 40 > len)
		return "bad IPv6 header";
	s->tos = (uint8_t)(ld_be32(p) >> 20);
	s->flow_label = ld_be32(p) & 0xfffff;
	alert = get_alert6(p, len);
	if (n < alert)
		return "bad IPv6 header";
	s->proto = alert ? IPPROTO_ICMPV6 : p[6];
	s->ttl = p[7];
	s->src = addr_from6(p + 8);
	s->dst = addr_from6(p + 24);
	if (s->proto == IPPROTO_FRAGMENT && n >= 8) {
		s->proto = p[40];
		return get_fragment(p + 48, n - 8, s, ld_be16(p + 42) & 0xfff8,
				    ld_be16(p + 42) & 1);
	}
	return get_l4(p + 40 + alert, n - alert, s);
}

/* --- the trace ------------------------------------------------------------ */

const char *wire_flags(uint8_t flags)
{
	static const char name[] = "FSRPAUEC";
	static char buf[9];
	unsigned i, n = 0;

	for (i = 0; i < 8; i++)
		if (flags & 1 << i)
			buf[n++] = name[i];
	if (!n)
		buf[n++] = '-';
	buf[n] = 0;
	return buf;
}

/* Sequence numbers are shown from the last SYN of each side */
static void trace_tcp(char dir, const struct seg *s)
{
	static uint32_t base[2][65536];
	bool out = dir == '<';
	uint16_t g = out ? s->dport : s->sport;
	char opt[80] = "";
	unsigned i, n = 0;

	if (s->flags & TCP_SYN) {
		base[out][g] = s->seq;
		snprintf(opt, sizeof(opt), " mss %d ws %d%s", s->mss, s->ws,
			 s->sack_ok ? " sackok" : "");
	}
	for (i = 0; i < s->sacks; i++)
		n += (unsigned)snprintf(opt + n, sizeof(opt) - n,
					" sack %u-%u",
					s->sack[i][0] - base[!out][g],
					s->sack[i][1] - base[!out][g]);
	trace("%c tcp guest:%u %s %u %s %u +%zu ack %u win %u%s", dir, g,
	      out ? "from" : "to", out ? s->sport : s->dport,
	      wire_flags(s->flags), s->seq - base[out][g], s->len,
	      s->flags & TCP_ACK ? s->ack - base[!out][g] : 0, s->win, opt);
}

void wire_trace(char dir, const uint8_t *p, size_t len)
{
	char a[ADDR_TEXT_LEN], b[ADDR_TEXT_LEN];
	const char *bad;
	struct seg s;
	size_t i;

	if (!sim.verbose)
		return;
	bad = wire_parse(p, len, &s);
	if (s.ethertype == 0x806)
		trace("%c arp op %u, %zu bytes", dir, s.data[7], len);
	else if (s.proto == IPPROTO_TCP)
		trace_tcp(dir, &s);
	else if (s.proto == IPPROTO_UDP)
		trace("%c udp %s:%u > %s:%u +%zu ttl %u", dir,
		      addr_text(&s.src, a), s.sport, addr_text(&s.dst, b),
		      s.dport, s.len, s.ttl);
	else if (s.proto)
		trace("%c icmp %s > %s type %u code %u +%zu", dir,
		      addr_text(&s.src, a), addr_text(&s.dst, b), s.icmp_type,
		      s.icmp_code, s.len);
	if (bad)
		trace("%c   (%s)", dir, bad);
	if (!sim.dump)
		return;
	for (i = 0; i < len; i++)
		printf("%02x%s", p[i],
		       i % 32 == 31 || i + 1 == len ? "\n" : "");
}
