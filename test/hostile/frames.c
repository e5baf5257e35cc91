/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "frames.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

enum { CLOSED, SYN_SENT, ESTABLISHED, FIN_SENT };
enum { FIN = 1, SYN = 2, RST = 4, PSH = 8, ACK = 16, URG = 32 };
enum { ETH = 14, FIRST_PORT = 20000 };

/* How often which, of 100 */
static const uint8_t weight[KINDS] = {
	[K_TCP] = 50, [K_SYN] = 4, [K_UDP] = 11, [K_ECHO] = 3, [K_ERROR] = 4,
	[K_ARP] = 2, [K_NDP] = 4, [K_DHCP] = 4, [K_DHCPV6] = 4, [K_GROUPS] = 3,
	[K_FRAGMENT] = 6, [K_EXTENSION] = 3, [K_ETHERNET] = 2,
};

/* The guest that we are, beside one that behaves */
static const char *const us[] = { "198.51.100.77", "2001:db8:1::77" };
/* The peer with its servers first; the gateway, one beyond it, nobody, groups */
static const char *const them4[] = {
	"198.51.100.10", "198.51.100.1", "203.0.113.2", "203.0.113.66",
	"192.0.2.53", "224.0.0.251", "239.1.2.3", "255.255.255.255",
	"198.51.100.255", "127.0.0.1", "0.0.0.0", "198.51.100.77",
};
static const char *const them6[] = {
	"2001:db8:1::10", "2001:db8:1::1", "2001:db8:2::2", "2001:db8:2::66",
	"fe80::1", "ff02::1", "ff02::fb", "ff02::1:2", "ff05::1:3", "::1", "::",
	"2001:db8:1::77",
};
enum { THEM = sizeof(them4) / sizeof(them4[0]) };

uint32_t frames_random(struct frames *f)
{
	uint64_t z = f->r += 0x9e3779b97f4a7c15;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
	return (uint32_t)(z >> 32);
}

uint32_t frames_below(struct frames *f, uint32_t n)
{
	return (uint32_t)((uint64_t)frames_random(f) * n >> 32);
}

static bool once_in(struct frames *f, uint32_t n)
{
	return !frames_below(f, n);
}

void frames_init(struct frames *f, uint64_t seed, const uint8_t mac[6],
		 bool keep_mac)
{
	memset(f, 0, sizeof(*f));
	f->seed = seed;
	memcpy(f->mac, mac, 6);
	f->keep_mac = keep_mac;
}

/* --- bytes ----------------------------------------------------------------- */

struct at {
	uint8_t *b;
	size_t n;
};

static void p8(struct at *a, unsigned v)
{
	a->b[a->n++] = (uint8_t)v;
}

static void p16(struct at *a, unsigned v)
{
	p8(a, v >> 8);
	p8(a, v);
}

static void p32(struct at *a, uint32_t v)
{
	p16(a, v >> 16);
	p16(a, v & 0xffff);
}

static void bytes(struct at *a, const void *b, size_t n)
{
	memcpy(a->b + a->n, b, n);
	a->n += n;
}

static void zeros(struct at *a, size_t n)
{
	memset(a->b + a->n, 0, n);
	a->n += n;
}

static void noise(struct frames *f, struct at *a, size_t n)
{
	while (n--)
		p8(a, frames_random(f));
}

static void set16(uint8_t *b, unsigned v)
{
	b[0] = (uint8_t)(v >> 8);
	b[1] = (uint8_t)v;
}

static unsigned get16(const uint8_t *b)
{
	return (unsigned)b[0] << 8 | b[1];
}

static uint32_t get32(const uint8_t *b)
{
	return (uint32_t)get16(b) << 16 | get16(b + 2);
}

static uint32_t add(uint32_t sum, const uint8_t *b, size_t n)
{
	for (; n > 1; b += 2, n -= 2)
		sum += get16(b);
	if (n)
		sum += (uint32_t)*b << 8;
	return (sum & 0xffff) + (sum >> 16);
}

static unsigned fold(uint32_t sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	return ~(sum + (sum >> 16)) & 0xffff;
}

/* --- heads ----------------------------------------------------------------- */

static void ethernet(struct frames *f, struct at *a, unsigned type)
{
	static const uint8_t to[] = { 0x9a, 0x55, 0x9a, 0x55, 0x9a, 0x55 };

	(void)f;
	bytes(a, to, 6);
	bytes(a, f->mac, 6);
	p16(a, type);
}

static void put_addr(struct at *a, bool v6, const char *text)
{
	uint8_t b[16];

	inet_pton(v6 ? AF_INET6 : AF_INET, text, b);
	bytes(a, b, v6 ? 16 : 4);
}

/* From us to @to; lengths and sums come when it is complete */
static size_t ip(struct frames *f, struct at *a, bool v6, unsigned proto,
		 const char *from, const char *to)
{
	size_t l3;

	ethernet(f, a, v6 ? 0x86dd : 0x0800);
	l3 = a->n;
	if (v6) {
		p32(a, 0x60000000 | (once_in(f, 8) ? frames_below(f, 1 << 28) : 0));
		p16(a, 0);
		p8(a, proto);
		p8(a, proto == IPPROTO_ICMPV6 ? 255 : 64);
	} else {
		p8(a, 0x45);
		p8(a, once_in(f, 8) ? frames_random(f) : 0);
		p16(a, 0);
		p16(a, frames_random(f));
		p16(a, once_in(f, 2) ? 0x4000 : 0);
		p8(a, once_in(f, 16) ? frames_below(f, 4) : 64);
		p8(a, proto);
		p16(a, 0);
	}
	put_addr(a, v6, from);
	put_addr(a, v6, to);
	return l3;
}

/* The header of @l3 is for what has come behind it, whose own sum is at @off
 * of @l4; 0: it has none */
static void finish(struct at *a, size_t l3, size_t l4, unsigned off)
{
	uint8_t *h = a->b + l3;
	bool v6 = h[0] >> 4 == 6;
	size_t len = a->n - l4;
	uint32_t sum;

	if (v6) {
		set16(h + 4, (unsigned)(a->n - l3 - 40));
	} else {
		set16(h + 2, (unsigned)(a->n - l3));
		set16(h + 10, 0);
		set16(h + 10, fold(add(0, h, 20)));
	}
	if (!off)
		return;
	set16(a->b + l4 + off, 0);
	sum = add(0, a->b + l4, len);
	if (v6 || h[9] == IPPROTO_TCP || h[9] == IPPROTO_UDP) {
		sum += add(0, v6 ? h + 8 : h + 12, v6 ? 32 : 8);
		sum += (uint32_t)len + h[v6 ? 6 : 9];
	}
	set16(a->b + l4 + off, fold(sum));
}

/* Mostly to who answers */
static const char *someone(struct frames *f, bool v6)
{
	unsigned i = once_in(f, 4) ? frames_below(f, THEM) : 0;

	return v6 ? them6[i] : them4[i];
}

static unsigned some_port(struct frames *f)
{
	static const uint16_t known[] = { ECHO_PORT, FLOOD_PORT, CLOSED_PORT,
					  53, 67, 69, 123, 547, 5353, 1, 0 };
	unsigned i = frames_below(f, 16);

	return i < sizeof(known) / sizeof(known[0]) ? known[i] :
						     frames_below(f, 65536);
}

static size_t some_length(struct frames *f, size_t most)
{
	static const uint16_t known[] = { 0, 1, 8, 548, 1432, 1452, 1460, 1472 };
	uint32_t i = frames_below(f, 32);
	size_t n = i < 8 ? known[i] : i < 31 ? frames_below(f, 1400) :
					       frames_below(f, 60000);

	return n < most ? n : most;
}

/* --- TCP ------------------------------------------------------------------- */

static void tcp_options(struct frames *f, struct at *a, bool syn)
{
	size_t start = a->n, most = start + 40;

	if (syn) {
		p8(a, 2);
		p8(a, 4);
		p16(a, once_in(f, 4) ? frames_below(f, 65536) : 1460);
		p8(a, 3);
		p8(a, 3);
		p8(a, once_in(f, 4) ? frames_below(f, 256) : 7);
		p8(a, 1);
		if (once_in(f, 2)) {
			p16(a, 0x0402);
			p16(a, 0x0101);
		}
	}
	while (once_in(f, 4) && a->n + 12 <= most) {
		p8(a, frames_below(f, 10));
		p8(a, once_in(f, 2) ? 10 : frames_below(f, 45));
		noise(f, a, 8);
		p16(a, 0x0101);
	}
	while ((a->n - start) & 3 || (a->n < most && once_in(f, 32)))
		p8(a, !once_in(f, 8));
}

static size_t segment(struct frames *f, struct at *a, const struct conn *c,
		      const char *to, unsigned sport, unsigned dport,
		      unsigned flags, uint32_t seq, uint32_t ack, size_t len)
{
	size_t l3 = ip(f, a, c->v6, IPPROTO_TCP, us[c->v6], to), l4 = a->n;

	p16(a, sport);
	p16(a, dport);
	p32(a, seq);
	p32(a, ack);
	p16(a, 0x5000 | flags);
	p16(a, c->window);
	p16(a, 0);
	p16(a, flags & URG ? frames_below(f, 2000) : 0);
	tcp_options(f, a, flags & SYN);
	if (a->n - l4 > 60)
		a->n = l4 + 60;
	a->b[l4 + 12] = (uint8_t)((a->n - l4) << 2);
	memset(a->b + a->n, (int)(seq & 0xff), len);
	a->n += len;
	finish(a, l3, l4, once_in(f, 16) ? 0 : 16);
	return a->n;
}

static unsigned conn_port(const struct frames *f, const struct conn *c)
{
	return FIRST_PORT + (unsigned)(c - f->conn) +
	       (unsigned)(c->life & 63) * CONNS;
}

static size_t begin(struct frames *f, struct at *a, struct conn *c)
{
	c->life++;
	c->v6 = once_in(f, 2);
	c->to = (uint8_t)frames_below(f, 3);
	c->snd = frames_random(f);
	c->rcv = 0;
	c->window = once_in(f, 4) ? (uint16_t)frames_below(f, 65536) : 65535;
	c->state = SYN_SENT;
	segment(f, a, c, c->v6 ? them6[0] : them4[0], conn_port(f, c),
		ECHO_PORT + c->to, SYN | (once_in(f, 16) ? 0xc0 : 0), c->snd, 0,
		once_in(f, 8) ? some_length(f, 1460) : 0);
	c->snd++;
	return a->n;
}

/* A segment that the connection takes as it is, or that errs in one thing */
static size_t tcp(struct frames *f, struct at *a)
{
	struct conn *c = &f->conn[frames_below(f, CONNS)];
	uint32_t seq = c->snd, ack = c->rcv, forget = frames_below(f, 512);
	unsigned flags = ACK, how = frames_below(f, 40);
	size_t len = once_in(f, 2) ? some_length(f, 1460) : 0;

	if (c->state == CLOSED || !forget)
		return begin(f, a, c);
	if (c->state == SYN_SENT)
		how = how > 3 ? 39 : how;
	if (c->state == SYN_SENT && how == 39) { /* again */
		flags = SYN;
		seq--;
		len = ack = 0;
	} else if (how == 0) {
		flags = RST | (once_in(f, 2) ? ACK : 0);
		seq += once_in(f, 2) ? 0 : frames_below(f, 200000);
	} else if (how == 1) {
		flags = SYN | (once_in(f, 2) ? ACK : 0);
		seq += frames_below(f, 100000);
	} else if (how == 2) {
		flags = frames_below(f, 256);
	} else if (how == 3) {
		seq = frames_random(f);
		ack = frames_random(f);
	} else if (how < 8) { /* behind a hole, or beyond the window */
		seq += 1 + frames_below(f, once_in(f, 4) ? 1 << 24 : 65536);
	} else if (how < 12) { /* again, some of it new */
		seq -= frames_below(f, 3000);
	} else if (how < 14) {
		seq--; /* a probe */
	} else if (how < 17) {
		ack -= frames_below(f, 100000);
	} else if (how == 17) {
		ack += 1 + frames_below(f, 1 << 20);
	} else if (how < 21) {
		c->window = once_in(f, 2) ? 0 : (uint16_t)frames_below(f, 3000);
	} else if (how < 24) {
		c->window = 65535;
	} else if (how == 24) {
		flags |= URG;
	} else if (how == 25 && once_in(f, 4)) {
		flags |= FIN;
	}
	if (how > 17 && flags & ACK && c->state == ESTABLISHED) {
		flags |= len ? PSH : 0;
		c->snd += (uint32_t)len + (flags & FIN);
		c->state = flags & FIN ? FIN_SENT : ESTABLISHED;
	}
	return segment(f, a, c, c->v6 ? them6[0] : them4[0], conn_port(f, c),
		       ECHO_PORT + c->to, flags, seq, ack, len);
}

static size_t syn(struct frames *f, struct at *a)
{
	struct conn c = { .v6 = once_in(f, 2), .window = 1000 };

	return segment(f, a, &c, someone(f, c.v6), 1 + frames_below(f, 19999),
		       some_port(f), SYN, frames_random(f), 0, 0);
}

/* --- what else there is above IP -------------------------------------------- */

static size_t datagram(struct frames *f, struct at *a)
{
	bool v6 = once_in(f, 2);
	size_t l3 = ip(f, a, v6, IPPROTO_UDP, us[v6], someone(f, v6)), l4 = a->n;
	size_t len = some_length(f, 65000);

	/* A flood of flows, and some that last */
	p16(a, once_in(f, 8) ? frames_below(f, 65536) :
			       10000 + frames_below(f, 16));
	p16(a, once_in(f, 2) ? ECHO_PORT : some_port(f));
	p16(a, once_in(f, 16) ? frames_below(f, 65536) : (unsigned)len + 8);
	p16(a, 0);
	memset(a->b + a->n, (int)f->n, len);
	a->n += len;
	finish(a, l3, l4, once_in(f, 8) ? 0 : 6);
	return a->n;
}

static size_t echo(struct frames *f, struct at *a)
{
	bool v6 = once_in(f, 2);
	size_t l3 = ip(f, a, v6, v6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP, us[v6],
		       someone(f, v6)), l4 = a->n;

	p8(a, once_in(f, 8) ? frames_below(f, 256) : v6 ? 128 : 8);
	p8(a, 0);
	p16(a, 0);
	p16(a, once_in(f, 2) ? frames_below(f, 65536) : frames_below(f, 8));
	p16(a, frames_random(f));
	zeros(a, some_length(f, 65000));
	finish(a, l3, l4, 2);
	return a->n;
}

/* About a packet that one of our connections has got, or has not */
static size_t error(struct frames *f, struct at *a)
{
	static const uint8_t types4[] = { 3, 4, 5, 11, 12 };
	struct conn *c = &f->conn[frames_below(f, CONNS)];
	bool v6 = c->v6;
	size_t l3 = ip(f, a, v6, v6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP, us[v6],
		       v6 ? them6[0] : them4[0]), l4 = a->n, q;

	p8(a, v6 ? 1 + frames_below(f, 5) : types4[frames_below(f, 5)]);
	p8(a, frames_below(f, 16));
	p16(a, 0);
	p32(a, once_in(f, 2) ? frames_below(f, 65536) : frames_random(f));
	q = a->n;
	if (v6) {
		p32(a, 0x60000000);
		p16(a, 20);
		p16(a, (once_in(f, 4) ? 17 : 6) << 8 | 64);
	} else {
		p32(a, 0x45000028);
		p32(a, 0);
		p16(a, 64 << 8 | (once_in(f, 4) ? 17 : 6));
		p16(a, 0);
	}
	put_addr(a, v6, v6 ? them6[0] : them4[0]);
	put_addr(a, v6, us[v6]);
	p16(a, ECHO_PORT + c->to);
	p16(a, conn_port(f, c));
	p32(a, c->rcv);
	p32(a, c->snd);
	p32(a, 0x50100000);
	p32(a, 0);
	if (once_in(f, 4))
		a->n = q + frames_below(f, (uint32_t)(a->n - q));
	finish(a, l3, l4, 2);
	return a->n;
}

static size_t arp(struct frames *f, struct at *a)
{
	ethernet(f, a, 0x0806);
	if (once_in(f, 2))
		memset(a->b, 0xff, 6);
	p16(a, 1);
	p16(a, 0x0800);
	p16(a, 0x0604);
	p16(a, 1 + once_in(f, 4));
	bytes(a, f->mac, 6);
	put_addr(a, false, once_in(f, 8) ? someone(f, false) : us[0]);
	zeros(a, 6);
	put_addr(a, false, them4[frames_below(f, THEM)]);
	if (once_in(f, 2))
		zeros(a, 18);
	return a->n;
}

static size_t ndp(struct frames *f, struct at *a)
{
	static const uint8_t types[] = { 135, 135, 135, 136, 133, 134, 137 };
	static const uint8_t options[] = { 1, 2, 3, 4, 5, 14, 25, 31 };
	unsigned type = types[frames_below(f, sizeof(types))], n;
	const char *from = once_in(f, 4) ? "::" :
			   once_in(f, 2) ? "fe80::77" : us[1];
	size_t l3 = ip(f, a, true, IPPROTO_ICMPV6, from,
		       once_in(f, 2) ? "ff02::2" : someone(f, true)), l4 = a->n;

	p8(a, type);
	p8(a, 0);
	p16(a, 0);
	p32(a, type == 136 ? frames_below(f, 8) << 29 : 0);
	if (type == 134)
		zeros(a, 8);
	if (type > 134)
		put_addr(a, true, them6[frames_below(f, THEM)]);
	if (type == 137)
		put_addr(a, true, someone(f, true));
	for (n = frames_below(f, 5); n; n--) {
		unsigned units = 1 + frames_below(f, 5);

		p8(a, options[frames_below(f, sizeof(options))]);
		p8(a, once_in(f, 4) ? frames_below(f, 256) : units);
		noise(f, a, units * 8 - 2);
	}
	finish(a, l3, l4, 2);
	return a->n;
}

static size_t dhcp(struct frames *f, struct at *a)
{
	static const uint8_t asked[] = { 1, 3, 6, 15, 26, 67, 119, 121 };
	size_t l3 = ip(f, a, false, IPPROTO_UDP, once_in(f, 2) ? "0.0.0.0" :
		       us[0], "255.255.255.255"), l4 = a->n;
	unsigned n;

	p16(a, 68);
	p16(a, 67);
	p32(a, 0);
	p32(a, once_in(f, 16) ? frames_random(f) : 0x01010600);
	p32(a, frames_random(f));
	p32(a, once_in(f, 2) ? 0x8000 : 0);
	put_addr(a, false, once_in(f, 2) ? "0.0.0.0" : us[0]);
	zeros(a, 12);
	bytes(a, f->mac, 6);
	zeros(a, 202);
	p32(a, once_in(f, 16) ? 0 : 0x63825363);
	p8(a, 53);
	p8(a, 1);
	p8(a, once_in(f, 4) ? frames_below(f, 20) : once_in(f, 2) ? 1 : 3);
	p8(a, 55);
	p8(a, sizeof(asked));
	bytes(a, asked, sizeof(asked));
	for (n = frames_below(f, 8); n; n--) {
		static const uint8_t kinds[] = { 0, 12, 50, 52, 54, 57, 60, 61,
						 77, 80, 81, 82, 93, 94, 97 };
		unsigned len = frames_below(f, 24);

		p8(a, kinds[frames_below(f, sizeof(kinds))]);
		p8(a, once_in(f, 8) ? frames_below(f, 256) : len);
		noise(f, a, len);
	}
	if (!once_in(f, 8))
		p8(a, 255);
	set16(a->b + l4 + 4, (unsigned)(a->n - l4));
	finish(a, l3, l4, 6);
	return a->n;
}

static void dhcpv6_options(struct frames *f, struct at *a, unsigned n,
			   unsigned depth)
{
	static const uint8_t kinds[] = { 1, 1, 2, 3, 3, 4, 5, 6, 8, 13, 14, 16,
					 17, 23, 24, 25, 26, 39, 59, 61, 82 };

	while (n--) {
		unsigned kind = kinds[frames_below(f, sizeof(kinds))];
		size_t len;

		p16(a, kind);
		p16(a, 0);
		len = a->n;
		if (kind == 3 || kind == 25) {
			noise(f, a, 12);
			if (depth < 3)
				dhcpv6_options(f, a, frames_below(f, 3),
					       depth + 1);
		} else if (kind == 5) {
			put_addr(a, true, someone(f, true));
			noise(f, a, 8);
		} else {
			noise(f, a, frames_below(f, 20));
		}
		set16(a->b + len - 2, once_in(f, 8) ? frames_below(f, 65536) :
						     (unsigned)(a->n - len));
	}
}

static size_t dhcpv6(struct frames *f, struct at *a)
{
	size_t l3 = ip(f, a, true, IPPROTO_UDP, "fe80::77", "ff02::1:2");
	size_t l4 = a->n;

	p16(a, 546);
	p16(a, 547);
	p32(a, 0);
	p8(a, once_in(f, 8) ? frames_random(f) : 1 + frames_below(f, 13));
	noise(f, a, 3);
	dhcpv6_options(f, a, 1 + frames_below(f, 8), 0);
	set16(a->b + l4 + 4, (unsigned)(a->n - l4));
	finish(a, l3, l4, 6);
	return a->n;
}

/* Reports: IGMPv1 to 3, MLDv1 and 2 */
static size_t groups(struct frames *f, struct at *a)
{
	static const uint8_t types4[] = { 0x11, 0x12, 0x16, 0x17, 0x22 };
	static const uint8_t types6[] = { 130, 131, 132, 143 };
	bool v6 = once_in(f, 2);
	unsigned type = v6 ? types6[frames_below(f, 4)] :
			     types4[frames_below(f, 5)], n, s;
	size_t l3 = ip(f, a, v6, v6 ? 0 : IPPROTO_IGMP, v6 ? "fe80::77" : us[0],
		       v6 ? "ff02::16" : "224.0.0.22"), l4;

	if (v6) {
		p32(a, (uint32_t)IPPROTO_ICMPV6 << 24 | 0x0502);
		p32(a, 0x00000100);
	}
	l4 = a->n;
	p8(a, type);
	p8(a, 0);
	p16(a, 0);
	if (type != 0x22 && type != 143) {
		if (v6)
			zeros(a, 4);
		put_addr(a, v6, someone(f, v6));
	} else {
		n = frames_below(f, 6);
		p32(a, once_in(f, 8) ? frames_below(f, 65536) : n);
		while (n--) {
			p8(a, frames_below(f, 8));
			p8(a, once_in(f, 8) ? frames_below(f, 64) : 0);
			s = frames_below(f, 4);
			p16(a, once_in(f, 8) ? frames_below(f, 65536) : s);
			put_addr(a, v6, once_in(f, 2) ? v6 ? "ff02::fb" :
				 "224.0.0.251" : someone(f, v6));
			if (once_in(f, 2))
				a->b[a->n - 1] = (uint8_t)frames_below(f, 64);
			while (s--)
				put_addr(a, v6, someone(f, v6));
		}
	}
	finish(a, l3, l4, 2);
	if (v6) { /* it is the header behind the first that was summed */
		set16(a->b + l4 + 2, 0);
		set16(a->b + l4 + 2, fold(add(0, a->b + l4, a->n - l4) +
			add(0, a->b + l3 + 8, 32) + (uint32_t)(a->n - l4) +
			IPPROTO_ICMPV6));
	}
	return a->n;
}

/* A piece of one of few datagrams, which may belong together */
static size_t fragment(struct frames *f, struct at *a)
{
	bool v6 = once_in(f, 2);
	unsigned at = frames_below(f, once_in(f, 8) ? 8192 : 8) * 8;
	unsigned more = !once_in(f, 3), id = frames_below(f, 8);
	size_t l3, l4, len = once_in(f, 2) ? 64 : some_length(f, 1440);
	unsigned proto = once_in(f, 4) ? frames_below(f, 60) : IPPROTO_UDP;

	l3 = ip(f, a, v6, v6 ? 44 : proto, us[v6], someone(f, v6));
	if (v6) {
		p16(a, proto << 8);
		p16(a, at | more);
		p32(a, once_in(f, 4) ? frames_random(f) : id);
	} else {
		set16(a->b + l3 + 4, once_in(f, 4) ? frames_random(f) : id);
		set16(a->b + l3 + 6, at / 8 | more << 13);
	}
	l4 = a->n;
	if (!at) {
		p16(a, 10000);
		p16(a, ECHO_PORT);
		p32(a, (uint32_t)frames_below(f, 600) << 16);
	}
	zeros(a, len);
	finish(a, l3, l4, 0);
	return a->n;
}

static size_t extension(struct frames *f, struct at *a)
{
	static const uint8_t heads[] = { 0, 43, 44, 50, 51, 59, 60, 135, 139 };
	size_t l3 = ip(f, a, true, 0, us[1], someone(f, true)), l4;
	unsigned n = 1 + frames_below(f, 12), last = once_in(f, 2) ? 17 : 6;
	size_t next = l3 + 6;

	while (n--) {
		unsigned units = once_in(f, 8) ? frames_below(f, 30) : 0;

		a->b[next] = heads[frames_below(f, sizeof(heads))];
		next = a->n;
		p8(a, last);
		p8(a, once_in(f, 16) ? frames_below(f, 256) : units);
		noise(f, a, 6 + units * 8);
	}
	l4 = a->n;
	p16(a, 10000);
	p16(a, ECHO_PORT);
	p16(a, 20);
	p16(a, 0);
	zeros(a, 12);
	finish(a, l3, l4, 0);
	return a->n;
}

static size_t raw(struct frames *f, struct at *a)
{
	static const uint16_t types[] = { 0x0800, 0x86dd, 0x0806, 0x8100, 0x88a8,
					  0x88cc, 0x0001, 0xffff };

	ethernet(f, a, types[frames_below(f, 8)]);
	noise(f, a, frames_below(f, 8) ? frames_below(f, 100) :
					 some_length(f, FRAME_MAX - ETH));
	if (once_in(f, 4))
		a->n = frames_below(f, (uint32_t)a->n + 1);
	return a->n;
}

/* --- spoilt ---------------------------------------------------------------- */

static void mutate(struct frames *f, struct at *a)
{
	static const uint16_t odd[] = { 0, 1, 0x7fff, 0x8000, 0xffff, 0xfffe };
	unsigned n = 1 + frames_below(f, 4);
	size_t span, at;

	while (n-- && a->n) {
		span = a->n < 90 ? a->n : 90;
		at = frames_below(f, (uint32_t)span);
		switch (frames_below(f, 6)) {
		case 0:
			a->b[at] = (uint8_t)frames_random(f);
			break;
		case 1:
			a->b[at] ^= (uint8_t)(1 << frames_below(f, 8));
			break;
		case 2:
			if (at + 2 <= a->n)
				set16(a->b + at, odd[frames_below(f, 6)]);
			break;
		case 3:
			a->n = once_in(f, 4) ? at :
			       1 + frames_below(f, (uint32_t)a->n);
			break;
		case 4:
			if (a->n + 64 < FRAME_MAX)
				noise(f, a, frames_below(f, 64));
			break;
		default:
			at -= at > span - span / 8 ? span / 8 : 0;
			memmove(a->b + at, a->b + frames_below(f,
				(uint32_t)(span - span / 8)), span / 8);
			break;
		}
	}
}

size_t frames_next(struct frames *f, uint8_t *b)
{
	static size_t (*const make[KINDS])(struct frames *, struct at *) = {
		[K_TCP] = tcp, [K_SYN] = syn, [K_UDP] = datagram,
		[K_ECHO] = echo, [K_ERROR] = error, [K_ARP] = arp, [K_NDP] = ndp,
		[K_DHCP] = dhcp, [K_DHCPV6] = dhcpv6, [K_GROUPS] = groups,
		[K_FRAGMENT] = fragment, [K_EXTENSION] = extension,
		[K_ETHERNET] = raw,
	};
	struct at a = { b, 0 };
	uint32_t which;
	unsigned k = 0;

	f->r = f->seed * 0xd1342543de82ef95 + f->n++ * 0x2545f4914f6cdd1d;
	for (which = frames_below(f, 100); which >= weight[k]; k++)
		which -= weight[k];
	make[k](f, &a);
	f->of[k]++;
	if (once_in(f, k == K_TCP ? 16 : 3))
		mutate(f, &a);
	if (f->keep_mac && a.n >= 12)
		memcpy(b + 6, f->mac, 6);
	if (!f->seed && a.n >= 14)
		memcpy(b + 12, "\x88\xb5", 2);
	return a.n;
}

/* --- what comes -------------------------------------------------------------- */

/* Kept as a guest does who takes it all */
static void heard_segment(struct frames *f, const uint8_t *h, size_t len)
{
	unsigned port, flags;
	struct conn *c;
	size_t head;

	if (len < 20)
		return;
	port = get16(h + 2) - FIRST_PORT;
	c = &f->conn[port % CONNS];
	if (port >= 64 * CONNS || conn_port(f, c) != port + FIRST_PORT)
		return;
	flags = h[13];
	head = (size_t)(h[12] >> 4) * 4;
	if (flags & RST) {
		f->resets += c->state != CLOSED;
		c->state = CLOSED;
	} else if (flags & SYN) {
		if (c->state == SYN_SENT) {
			c->state = ESTABLISHED;
			f->established++;
		}
		c->rcv = get32(h + 4) + 1;
	} else if (get32(h + 4) == c->rcv && len >= head) {
		c->rcv += (uint32_t)(len - head) + (flags & FIN);
	}
}

bool frames_heard(struct frames *f, const uint8_t *b, size_t len)
{
	uint8_t me[16];
	bool v6;

	if (len < ETH + 20)
		return false;
	v6 = get16(b + 12) == 0x86dd;
	if (!v6 && get16(b + 12) != 0x0800)
		return false;
	if (v6 && len < ETH + 40)
		return false;
	inet_pton(v6 ? AF_INET6 : AF_INET, us[v6], me);
	if (memcmp(b + ETH + (v6 ? 24 : 16), me, v6 ? 16 : 4))
		return false;
	f->heard++;
	if (b[ETH + (v6 ? 6 : 9)] == IPPROTO_TCP) {
		size_t l4 = ETH + (v6 ? 40 : (size_t)(b[ETH] & 15) * 4);
		size_t end = ETH + (v6 ? 40 + get16(b + ETH + 4) :
					 get16(b + ETH + 2));

		if (end <= len && l4 < end)
			heard_segment(f, b + l4, end - l4);
	}
	return true;
}
