/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Scripts: packets in, packets expected, what sockets do, time.  See README.
 *
 * Lines are executed one after the other; a line that expects something lets
 * virtual time pass until it is there.  Every frame that reaches the guest must
 * be expected.  TCP numbers count from the SYN of each side, which is 0.
 */
#include "sim.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>

struct got {
	struct got *next;
	uint64_t at;
	size_t len;
	struct seg s;
	uint8_t data[];
};

/* A datagram that reached the far end */
struct got_dgram {
	struct got_dgram *next;
	uint16_t from, to;
	struct addr src, dst;
	uint8_t ttl, tos, df;
	size_t len;
	uint8_t data[];
};

enum { HEX_MAX = 4096 };
struct hex {
	size_t n;
	uint8_t v[HEX_MAX], mask[HEX_MAX];
	bool open; /* whatever follows */
};

static struct {
	struct got *in, **in_end;
	struct got_dgram *dgrams, **dgrams_end;
	struct sock *s; /* the stream that "far" and "sock" speak of */
	char connect[16]; /* what the next connect() does */
	bool v6, greet, judge_off;
	uint16_t gport, fport;
	uint32_t iss, peer_iss;
	bool peer_known;
	uint64_t mark, frame_at; /* when the last line was done */
	struct addr us[2];
	bool started;
} sc;

static char *cursor; /* rest of the line */

static char *word(void)
{
	char *w;

	while (*cursor == ' ' || *cursor == '\t')
		cursor++;
	if (!*cursor)
		return NULL;
	w = cursor;
	while (*cursor && *cursor != ' ' && *cursor != '\t')
		cursor++;
	if (*cursor)
		*cursor++ = '\0';
	return w;
}

static char *need(const char *what)
{
	char *w = word();

	if (!w)
		sim_fail("%s is missing", what);
	return w;
}

/* One of 32 bits may have a sign or not, also where long has no more */
static long number(const char *w)
{
	char *end;
	long v = (long)strtoll(w, &end, 0);

	if (end == w || *end)
		sim_fail("%s is not a number", w);
	return v;
}

static uint64_t duration(const char *w, char **end)
{
	double v = strtod(w, end);
	uint64_t unit = 0;

	if (!strncmp(*end, "us", 2))
		unit = US;
	else if (!strncmp(*end, "ms", 2))
		unit = MS;
	else if (**end == 's')
		unit = SEC;
	else if (**end == 'h')
		unit = 3600 * SEC;
	if (!unit)
		sim_fail("%s is not a time", w);
	*end += unit == US || unit == MS ? 2 : 1;
	/* The nearest nanosecond: i386's registers have 0.998 ms as a little less */
	return (uint64_t)(v * (double)unit + 0.5);
}

static uint64_t need_time(void)
{
	char *end;

	return duration(need("time"), &end);
}

static bool is(const char *a, const char *b)
{
	return a && !strcmp(a, b);
}

/* --- bytes ---------------------------------------------------------------- */

static void put(struct hex *h, const void *p, size_t n)
{
	if (h->n + n > HEX_MAX)
		sim_fail("too many bytes");
	memcpy(h->v + h->n, p, n);
	memset(h->mask + h->n, 0xff, n);
	h->n += n;
}

static void put_addr(struct hex *h, const struct addr *a)
{
	if (addr_is_v4(a))
		put(h, a->b + 12, 4);
	else
		put(h, a->b, 16);
}

static bool put_name(struct hex *h, const char *w)
{
	static const uint8_t guest_mac[6] = { 0x52, 0x54, 0, 0x12, 0x34, 0x56 };
	struct addr a;

	if (is(w, "guestmac"))
		put(h, guest_mac, 6);
	else if (is(w, "ourmac"))
		put(h, world.lan.mac.b, 6);
	else if (is(w, "guest4") || is(w, "guest6"))
		put_addr(h, &guest_addr[w[5] == '6']);
	else if (is(w, "far4") || is(w, "far6"))
		put_addr(h, &far_addr[w[3] == '6']);
	else if (is(w, "our4"))
		put_addr(h, &world.lan.our4);
	else if (is(w, "ourll6"))
		put_addr(h, &world.lan.our_ll6);
	else if (!strncmp(w, "seq+", 4))
		put(h, &(uint32_t){ htobe32(sc.peer_iss + (uint32_t)number(w + 4)) },
		    4);
	else if (*w == '@' && addr_parse(w + 1, &a))
		put_addr(h, &a);
	else
		return false;
	return true;
}

static void put_hex(struct hex *h, const char *w)
{
	const char *star = strchr(w, '*');
	size_t from = h->n, n = star ? (size_t)(star - w) : strlen(w), i;
	long times = star ? number(star + 1) : 1;

	if (n % 2)
		sim_fail("%s: odd number of digits", w);
	for (i = 0; i < n; i += 2) {
		char two[3] = { w[i] == '.' ? '0' : w[i],
				w[i + 1] == '.' ? '0' : w[i + 1], 0 };
		uint8_t v = (uint8_t)strtoul(two, NULL, 16);

		put(h, &v, 1);
		h->mask[h->n - 1] = (uint8_t)((w[i] == '.' ? 0 : 0xf0) |
					      (w[i + 1] == '.' ? 0 : 0x0f));
	}
	for (n = h->n - from; times > 1; times--) {
		put(h, h->v + from, n);
		memcpy(h->mask + h->n - n, h->mask + from, n);
	}
}

/* The rest of the line */
static void get_hex(struct hex *h)
{
	char *w;

	h->n = 0;
	h->open = false;
	while ((w = word())) {
		if (is(w, "*"))
			h->open = true;
		else if (*w == '"')
			put(h, w + 1, strcspn(w + 1, "\""));
		else if (!put_name(h, w))
			put_hex(h, w);
	}
}

static void match(const struct hex *h, const uint8_t *p, size_t len)
{
	size_t i;

	for (i = 0; i < h->n && i < len; i++)
		if ((p[i] ^ h->v[i]) & h->mask[i])
			sim_fail("byte %zu is %02x, not %02x", i, p[i],
				 h->v[i]);
	if (len < h->n || (len > h->n && !h->open))
		sim_fail("%zu bytes, not %zu", len, h->n);
}

/* --- the world's side ----------------------------------------------------- */

static void arrived(const uint8_t *p, size_t len)
{
	struct got *g = calloc(1, sizeof(*g) + len);
	const char *bad;

	memcpy(g->data, p, len);
	g->len = len;
	g->at = sim.now;
	bad = wire_parse(g->data, len, &g->s);
	if (bad)
		sim_fail("frame to the guest: %s", bad);
	*sc.in_end = g;
	sc.in_end = &g->next;
	sim.interrupt = true;
}

static void connect_later(void *arg)
{
	far_connected(arg);
}

static int connecting(struct sock *s)
{
	sc.s = s;
	s->key[1] = 1;
	if (is(sc.connect, "sync"))
		return 0;
	if (is(sc.connect, "unreachable"))
		return -ENETUNREACH;
	if (is(sc.connect, "ok"))
		sim_after(MS, connect_later, s);
	else if (!is(sc.connect, "wait"))
		sim_fail("connect cannot \"%s\"", sc.connect);
	return -EINPROGRESS;
}

static void datagram(struct sock *s, const uint8_t *p, size_t len,
		     const struct addr *to, uint16_t port)
{
	struct got_dgram *d = malloc(sizeof(*d) + len + 1);

	*d = (struct got_dgram){ .from = s->local_port, .to = port,
				 .src = s->local, .dst = *to,
				 .ttl = s->ip.ttl, .tos = s->ip.tos,
				 .df = s->ip.df,
				 .len = len };
	memcpy(d->data, p, len);
	*sc.dgrams_end = d;
	sc.dgrams_end = &d->next;
	/* IP_MULTICAST_LOOP */
	if (world.mcast && addr_is_multicast(to))
		far_datagram(&sc.us[!addr_is_v4(to)], s->local_port, to, port,
			     p, len);
}

static const struct far_ops script_far = { .connect = connecting,
					   .datagram = datagram };

static void begin(void)
{
	if (sc.started)
		return;
	sc.started = true;
	world.tap.w.clean = true;
	world_start();
	world_run(sim.now + 2 * MS, NULL);
	if (sc.greet)
		return;
	sc.in = NULL;
	sc.in_end = &sc.in;
	world.guest.heard6 = true; /* nor what follows a greeting later */
}

static bool frame_came(void)
{
	return sc.in;
}

static struct got *take_frame(uint64_t wait)
{
	uint64_t until = sim.now + wait;
	struct got *g;

	world_run(until, frame_came);
	g = sc.in;
	if (!g)
		return NULL;
	sc.in = g->next;
	if (!sc.in)
		sc.in_end = &sc.in;
	return g;
}

/* --- packets -------------------------------------------------------------- */

static uint8_t flags_of(const char *w)
{
	static const char name[] = "FSRPAUEC";
	uint8_t f = 0;

	for (; *w && *w != '-'; w++) {
		const char *at = strchr(name, *w);

		if (!at)
			sim_fail("no TCP flag %c", *w);
		f |= (uint8_t)(1 << (at - name));
	}
	return f;
}

/* SEQ or SEQ+LEN */
static void seq_of(char *w, uint32_t *seq, size_t *len)
{
	char *plus = strchr(w + 1, '+');

	*len = 0;
	if (plus) {
		*plus = '\0';
		*len = (size_t)number(plus + 1);
	}
	*seq = (uint32_t)number(w);
}

static void send_sack(struct seg *s)
{
	uint32_t seq, *b = s->sack[s->sacks++];
	size_t len;

	seq_of(need("first of the block+length"), &seq, &len);
	b[0] = sc.peer_iss + seq;
	b[1] = b[0] + (uint32_t)len;
}

static void send_tcp(void)
{
	static uint8_t data[FRAME_MAX];
	struct seg s = { .src = guest_addr[sc.v6], .dst = far_addr[sc.v6],
			 .proto = IPPROTO_TCP, .sport = sc.gport,
			 .dport = sc.fport, .win = 65535, .mss = -1, .ws = -1,
			 .data = data };
	uint32_t seq;
	char *w;
	size_t i;

	s.flags = flags_of(need("flags"));
	seq_of(need("sequence number"), &seq, &s.len);
	s.seq = sc.iss + seq;
	for (i = 0; i < s.len; i++)
		data[i] = pattern(0, (uint64_t)(int32_t)seq - 1 + i);
	while ((w = word())) {
		if (is(w, "ack"))
			s.ack = sc.peer_iss + (uint32_t)number(need("ack"));
		else if (is(w, "rawack"))
			s.ack = (uint32_t)number(need("ack"));
		else if (is(w, "win"))
			s.win = (uint16_t)number(need("window"));
		else if (is(w, "mss"))
			s.mss = (int)number(need("MSS"));
		else if (is(w, "ws"))
			s.ws = (int)number(need("scale"));
		else if (is(w, "sackok"))
			s.sack_ok = true;
		else if (is(w, "sack"))
			send_sack(&s);
		else if (is(w, "ttl"))
			s.ttl = (uint8_t)number(need("TTL"));
		else if (is(w, "tos"))
			s.tos = (uint8_t)number(need("type"));
		else
			sim_fail("what is %s?", w);
	}
	guest_send(&s);
}

/* src A, dst A, ttl N, len N, hex ...: what UDP and ICMP have in common */
static void send_dgram(uint8_t proto)
{
	static struct hex h;
	struct seg s = { .src = guest_addr[sc.v6], .dst = far_addr[sc.v6],
			 .proto = proto };
	char *w;

	if (proto == IPPROTO_UDP) {
		s.sport = (uint16_t)number(need("source port"));
		s.dport = (uint16_t)number(need("destination port"));
	}
	h.n = 0;
	while ((w = word())) {
		if (is(w, "src") || is(w, "dst")) {
			if (!addr_parse(need("address"),
					*w == 's' ? &s.src : &s.dst))
				sim_fail("bad address");
		} else if (is(w, "ttl")) {
			s.ttl = (uint8_t)number(need("TTL"));
		} else if (is(w, "tos")) {
			s.tos = (uint8_t)number(need("TOS"));
		} else if (is(w, "nodf")) {
			s.may_fragment = true;
		} else if (is(w, "len")) {
			long n = number(need("length")), i;

			for (i = 0; i < n; i++)
				h.v[h.n++ % HEX_MAX] = (uint8_t)(i * 7);
		} else if (is(w, "hex")) {
			get_hex(&h);
		} else {
			sim_fail("what is %s?", w);
		}
	}
	if (proto == IPPROTO_ICMP && !addr_is_v4(&s.src))
		s.proto = IPPROTO_ICMPV6;
	s.data = h.v;
	s.len = h.n;
	guest_send(&s);
}

static void send_frame(void)
{
	static struct hex h;
	char *w = need("kind of packet");

	if (is(w, "tcp")) {
		send_tcp();
	} else if (is(w, "udp")) {
		send_dgram(IPPROTO_UDP);
	} else if (is(w, "icmp")) {
		send_dgram(IPPROTO_ICMP);
	} else if (is(w, "igmp")) {
		send_dgram(IPPROTO_IGMP);
	} else if (is(w, "raw")) {
		get_hex(&h);
		toy_tap_send(&world.tap, h.v, h.n, NULL);
	} else {
		sim_fail("cannot send %s", w);
	}
}

static void check(const char *what, long long is_now, const char *want)
{
	long long v;
	bool ok;

	if (*want == '>' || *want == '<') {
		v = number(want + 1);
		ok = *want == '>' ? is_now > v : is_now < v;
	} else {
		v = number(want);
		ok = is_now == v;
	}
	if (!ok)
		sim_fail("%s is %lld, not %s", what, is_now, want);
}

static void expect_sack(const struct seg *s, unsigned i, char *w)
{
	uint32_t seq;
	size_t len;

	seq_of(w, &seq, &len);
	if (i >= s->sacks)
		sim_fail("%u blocks", s->sacks);
	if (s->sack[i][0] - sc.iss != seq ||
	    s->sack[i][1] - s->sack[i][0] != len)
		sim_fail("block %u of %u is %d+%u", i, s->sacks,
			 (int)(s->sack[i][0] - sc.iss),
			 s->sack[i][1] - s->sack[i][0]);
}

static void expect_tcp(const struct got *g)
{
	const struct seg *s = &g->s;
	char *flags = need("flags"), *w;
	uint32_t seq;
	unsigned sacks = 0;
	size_t len, i;
	uint8_t mask = strchr(flags, 'P') ? 0xff : (uint8_t)~TCP_PSH;

	if (s->proto != IPPROTO_TCP)
		sim_fail("not TCP");
	if ((s->flags ^ flags_of(flags)) & mask)
		sim_fail("flags are %s, not %s", wire_flags(s->flags), flags);
	if (s->dport != sc.gport || s->sport != sc.fport)
		sim_fail("ports are %u > %u", s->sport, s->dport);
	if (s->flags & TCP_SYN && !sc.peer_known) {
		sc.peer_iss = s->seq;
		sc.peer_known = true;
	}
	w = need("sequence number");
	if (*w == '=') {
		check("raw sequence number", s->seq, w + 1);
		len = 0;
		seq = 0;
	} else {
		seq_of(w, &seq, &len);
		if (s->seq - sc.peer_iss != seq)
			sim_fail("sequence number is %d, not %d",
				 (int)(s->seq - sc.peer_iss), (int)seq);
	}
	if (s->len != len)
		sim_fail("%zu bytes of payload, not %zu", s->len, len);
	for (i = 0; i < len; i++)
		if (s->data[i] != pattern(1, (uint64_t)(int32_t)seq - 1 + i))
			sim_fail("wrong byte %zu", i);
	while ((w = word())) {
		if (is(w, "ack"))
			check("ack", s->flags & TCP_ACK ?
				     (int32_t)(s->ack - sc.iss) : 0,
			      need("ack"));
		else if (is(w, "win"))
			check("window", s->win, need("window"));
		else if (is(w, "mss"))
			check("MSS", s->mss, need("MSS"));
		else if (is(w, "ws"))
			check("scale", s->ws, need("scale"));
		else if (is(w, "sackok") || is(w, "nosackok"))
			check("SACK-permitted", s->sack_ok,
			      *w == 's' ? "1" : "0");
		else if (is(w, "sack"))
			expect_sack(s, sacks++,
				    need("first of the block+length"));
		else
			sim_fail("what is %s?", w);
	}
	if (sacks && sacks != s->sacks)
		sim_fail("%u blocks", s->sacks);
}

static void expect_dgram(const struct got *g, bool udp)
{
	static struct hex h;
	const struct seg *s = &g->s;
	struct addr a;
	char *w;

	if (udp != (s->proto == IPPROTO_UDP) || s->proto == IPPROTO_TCP)
		sim_fail("protocol is %u", s->proto);
	if (s->frag)
		sim_fail("a fragment");
	if (udp) {
		check("source port", s->sport, need("source port"));
		check("destination port", s->dport, need("destination port"));
	}
	while ((w = word())) {
		if (is(w, "src") || is(w, "dst")) {
			const struct addr *have = *w == 's' ? &s->src : &s->dst;
			char text[ADDR_TEXT_LEN];

			if (!addr_parse(need("address"), &a) ||
			    !addr_equal(&a, have))
				sim_fail("%s is %s", w, addr_text(have, text));
		} else if (is(w, "ttl")) {
			check("TTL", s->ttl, need("TTL"));
		} else if (is(w, "tos")) {
			check("TOS", s->tos, need("TOS"));
		} else if (is(w, "len")) {
			check("length", (long long)s->len, need("length"));
		} else if (is(w, "hex")) {
			get_hex(&h);
			match(&h, s->data, s->len);
		} else {
			sim_fail("what is %s?", w);
		}
	}
}

/* OFF LEN more|last */
static void expect_fragment(const struct seg *s)
{
	if (!s->frag)
		sim_fail("not a fragment");
	check("offset", (long long)s->frag_off, need("offset"));
	check("length", (long long)s->len, need("length"));
	if (s->frag_more != is(need("more or last"), "more"))
		sim_fail("%s follow", s->frag_more ? "others" : "none");
}

static void expect_kind(const struct got *g)
{
	static struct hex h;
	char *w = need("kind of packet");

	if (is(w, "tcp")) {
		expect_tcp(g);
	} else if (is(w, "udp")) {
		expect_dgram(g, true);
	} else if (is(w, "icmp") || is(w, "igmp")) {
		expect_dgram(g, false);
	} else if (is(w, "frag")) {
		expect_fragment(&g->s);
	} else if (is(w, "arp")) {
		if (g->s.ethertype != 0x806)
			sim_fail("not ARP");
		get_hex(&h);
		match(&h, g->s.data, MIN(g->s.len, (size_t)28));
	} else if (is(w, "raw")) {
		get_hex(&h);
		match(&h, g->data, g->len);
	} else {
		sim_fail("cannot expect %s", w);
	}
}

/* An optional [T1..T2] since the last line */
static void expect_frame(void)
{
	uint64_t from = 0, to = 50 * MS;
	struct got *g;
	char *end;

	while (*cursor == ' ')
		cursor++;
	if (*cursor == '[') {
		from = duration(cursor + 1, &end);
		if (strncmp(end, "..", 2))
			sim_fail("a time is [T1..T2]");
		to = duration(end + 2, &end);
		cursor = end + (*end == ']');
	}
	g = take_frame(to - MIN(to, sim.now - sc.mark));
	if (!g)
		sim_fail("no frame came: %s", cursor);
	if (g->at < sc.mark + from && from)
		sim_fail("frame came after %.6f s",
			 (double)(int64_t)(g->at - sc.mark) / 1e9);
	expect_kind(g);
	sc.frame_at = g->at;
}

/* --- far end, sockets, time ----------------------------------------------- */

static void on_connect_to(void)
{
	sc.gport = (uint16_t)number(need("port"));
	sc.fport = 5000;
	sc.peer_known = false;
	sc.s = far_connect(&far_addr[sc.v6], sc.fport, &sc.us[sc.v6],
			   sc.gport);
	if (!sc.s)
		sim_fail("nobody listens");
	sc.s->key[1] = 1;
}

/* @heard: whether there is a socket that takes it */
static void far_dgram(bool heard)
{
	static struct hex h;
	uint16_t from = (uint16_t)number(need("from port"));
	uint16_t to = (uint16_t)number(need("to port"));
	struct addr us = sc.us[sc.v6];
	char *w = need("len or hex");
	long n;

	if (is(w, "at")) { /* local address */
		if (!addr_parse(need("address"), &us))
			sim_fail("bad address");
		w = need("len or hex");
	}
	h.n = 0;
	if (is(w, "len")) {
		for (n = number(need("length")); n; n--)
			put(&h, &(uint8_t){ (uint8_t)n }, 1);
	} else {
		get_hex(&h);
	}
	if (!!far_datagram(&far_addr[sc.v6], from, &us, to, h.v, h.n) != heard)
		sim_fail("it is%s heard", heard ? " not" : "");
}

static void far_got_dgram(void)
{
	static struct hex h;
	struct got_dgram *d;
	char *w;

	world_run(sim.now + 2 * MS, NULL);
	d = sc.dgrams;
	if (!d)
		sim_fail("no datagram");
	sc.dgrams = d->next;
	if (!sc.dgrams)
		sc.dgrams_end = &sc.dgrams;
	check("from port", d->from, need("from port"));
	check("to port", d->to, need("to port"));
	while ((w = word())) {
		if (is(w, "len")) {
			check("length", (long long)d->len, need("length"));
		} else if (is(w, "ttl")) {
			check("TTL", d->ttl, need("TTL"));
		} else if (is(w, "tos")) {
			check("TOS", d->tos, need("TOS"));
		} else if (is(w, "df")) {
			check("DF", d->df, need("0: kernel's, 1: set, 2: clear"));
		} else if (is(w, "dst") || is(w, "src")) {
			const struct addr *have = *w == 'd' ? &d->dst : &d->src;
			char text[ADDR_TEXT_LEN];
			struct addr a;

			if (!addr_parse(need("address"), &a) ||
			    !addr_equal(&a, have))
				sim_fail("%s is %s", w, addr_text(have, text));
		} else {
			get_hex(&h);
			match(&h, d->data, d->len);
		}
	}
}

static const struct {
	const char *name;
	int err;
	uint8_t type[2], code[2]; /* ICMP, ICMPv6 */
} errors[] = {
	{ "refused", ECONNREFUSED, { 3, 1 }, { 3, 4 } },
	{ "hostunreach", EHOSTUNREACH, { 3, 1 }, { 1, 3 } },
	{ "netunreach", ENETUNREACH, { 3, 1 }, { 0, 0 } },
	{ "toobig", EMSGSIZE, { 3, 2 }, { 4, 0 } },
	{ "expired", EHOSTUNREACH, { 11, 3 }, { 0, 0 } },
};

/* far error NAME [mtu N] [from A] [plain] [queued N] payload of N bytes */
static void far_error_cmd(void)
{
	struct sock *s = sock_last(S_UDP);
	struct sock_error e = { .icmp = true };
	char *w = need("error");
	unsigned i;

	if (!s)
		s = sock_last(S_PING);
	if (!s)
		sim_fail("no datagram socket");
	for (i = 0; i < ARRAY_SIZE(errors) && !is(w, errors[i].name); i++)
		;
	if (i == ARRAY_SIZE(errors))
		sim_fail("no error %s", w);
	e.err = errors[i].err;
	e.type = errors[i].type[!s->v4];
	e.code = errors[i].code[!s->v4];
	e.offender = e.to = s->kind == S_PING ? s->peer : s->last;
	e.to_port = s->last_port;
	while ((w = word())) {
		if (is(w, "mtu"))
			e.mtu = (uint32_t)number(need("MTU"));
		else if (is(w, "from"))
			addr_parse(need("address"), &e.offender);
		else if (is(w, "plain"))
			e.icmp = false;
		else if (is(w, "queued"))
			for (e.len = (size_t)number(need("length")), i = 0;
			     i < e.len && i < sizeof(e.payload); i++)
				e.payload[i] = (uint8_t)(i * 7);
	}
	e.len = MIN(e.len, sizeof(e.payload));
	far_error(s, &e);
}

static struct sock *stream(void)
{
	if (!sc.s)
		sim_fail("there is no connection");
	return sc.s;
}

/* A router's word about a connection: an error for who wants to hear it */
static void far_complains(const char *w)
{
	unsigned i;

	for (i = 0; i < ARRAY_SIZE(errors) && !is(w, errors[i].name); i++)
		;
	if (i == ARRAY_SIZE(errors))
		sim_fail("no error %s", w);
	far_queues_error(stream(), errors[i].err);
	if (!stream()->hears)
		return;
	stream()->err = errors[i].err;
	toy_wake(&stream()->toy, 0);
}

static void far_cmd(void)
{
	char *w = need("what the far end does");
	size_t n;

	if (is(w, "connect")) {
		on_connect_to();
	} else if (is(w, "datagram")) {
		far_dgram(true);
	} else if (is(w, "nobody")) {
		far_dgram(false);
	} else if (is(w, "error")) {
		far_error_cmd();
	} else if (is(w, "complains")) {
		far_complains(need("error"));
	} else if (is(w, "path")) {
		stream()->path_mtu = (unsigned)number(need("MTU"));
	} else if (is(w, "gets")) {
		far_got_dgram();
	} else if (is(w, "silent")) {
		world_run(sim.now + 2 * MS, NULL);
		if (sc.dgrams)
			sim_fail("a datagram came");
	} else if (is(w, "answers")) {
		w = need("how");
		if (is(w, "refused"))
			far_refused(stream(), ECONNREFUSED);
		else if (is(w, "hostunreach"))
			far_refused(stream(), EHOSTUNREACH);
		else
			far_connected(stream());
	} else if (is(w, "writes")) {
		n = (size_t)number(need("length"));
		if ((is(word(), "urgent") ? far_urgent : far_write)(stream(),
								    n) != n)
			sim_fail("the receive buffer has no room");
	} else if (is(w, "reads")) {
		n = (size_t)number(need("length"));
		world_run(sim.now + 2 * MS, NULL);
		if (far_read(stream(), n) != n)
			sim_fail("there are not %zu bytes", n);
	} else if (is(w, "has")) {
		world_run(sim.now + 2 * MS, NULL);
		check("bytes for the far end",
		      (long long)(stream()->tx - stream()->tx_seen),
		      need("length"));
	} else if (is(w, "fin")) {
		far_fin(stream());
	} else if (is(w, "resets")) {
		far_reset(stream(), 0);
	} else if (is(w, "closes")) {
		far_close(stream());
	} else if (is(w, "eof")) {
		world_run(sim.now + 2 * MS, NULL);
		if (!far_eof(stream()) || stream()->rst_tx)
			sim_fail("not the end of file at the far end");
	} else if (is(w, "open")) {
		world_run(sim.now + 2 * MS, NULL);
		if (stream()->fin_tx || stream()->rst_tx)
			sim_fail("the far end saw the end");
	} else if (is(w, "reset")) {
		world_run(sim.now + 2 * MS, NULL);
		if (!stream()->rst_tx)
			sim_fail("the far end saw no reset");
	} else {
		sim_fail("the far end cannot %s", w);
	}
}

static void sock_cmd(void)
{
	char *w = need("what of the socket");

	if (is(w, "sndbuf")) {
		stream()->tx_cap = (size_t)number(need("size"));
	} else if (is(w, "keepalive")) {
		if (!stream()->keepalive)
			sim_fail("no SO_KEEPALIVE");
	} else if (is(w, "tos")) {
		check("type of service", stream()->ip.tos, need("type"));
	} else if (is(w, "queue")) {
		world_run(sim.now + 2 * MS, NULL);
		check("bytes in the socket's queue",
		      (long long)(stream()->rx - stream()->rx_read),
		      need("bytes"));
	} else if (is(w, "gone")) {
		world_run(sim.now + 2 * MS, NULL);
		if (stream()->toy.fd >= 0)
			sim_fail("the socket is still there");
	} else {
		sim_fail("no \"sock %s\"", w);
	}
}

static void dns_match(const char *text)
{
	struct addr a;

	if (!addr_parse(text, &a))
		sim_fail("bad address");
	world.map.dns.match[!addr_is_v4(&a)] = a;
}

/* For questions of either family */
static void dns_host(const char *text)
{
	struct fwd_dns *d = &world.map.dns;
	unsigned i;

	for (i = 0; i < 2; i++)
		if (!addr_parse(text, &d->host[i][d->n[i]++]))
			sim_fail("bad address");
}

static void add_resolver(const char *text)
{
	struct addr *to = strchr(text, ':') ?
				  &world.lan.dns6[world.lan.dns6_n++] :
				  &world.lan.dns4[world.lan.dns4_n++];

	if (!addr_parse(text, to))
		sim_fail("bad address %s", text);
}

static void map_guest(const char *text)
{
	struct addr a;

	if (!addr_parse(text, &a))
		sim_fail("bad address %s", text);
	world.map.guest_addr[!addr_is_v4(&a)][0] = a;
}

/* What is to be known before the start, or happens to the next socket */
static bool option(const char *w)
{
	if (is(w, "mtu"))
		world.lan.mtu = (uint16_t)number(need("MTU"));
	else if (is(w, "host-mtu"))
		world.lan.host_mtu[0] = world.lan.host_mtu[1] =
			(unsigned)number(need("MTU"));
	else if (is(w, "tso"))
		world.tap.tap.caps.tso = world.tap.tap.caps.uso =
			world.tap.tap.caps.tso_in = is(need("on"), "on");
	else if (is(w, "peek"))
		world.env.peek_off4 = world.env.peek_off6 =
			is(need("on"), "on");
	else if (is(w, "gso"))
		world.env.gso = world.env.gro = is(need("on"), "on");
	else if (is(w, "fixed"))
		world.lan.fixed4 = world.lan.fixed6 = true;
	else if (is(w, "greet"))
		sc.greet = true;
	else if (is(w, "mcast"))
		world.mcast = true;
	else if (is(w, "dns"))
		add_resolver(need("address"));
	else if (is(w, "search"))
		strcpy(world.lan.search[world.lan.search_n++], need("domain"));
	else if (is(w, "hostname"))
		strcpy(world.lan.hostname, need("name"));
	else if (is(w, "fqdn"))
		strcpy(world.lan.fqdn, need("name"));
	else if (is(w, "map-guest"))
		map_guest(need("address"));
	else if (is(w, "dns-forward"))
		dns_match(need("address"));
	else if (is(w, "dns-host"))
		dns_host(need("address"));
	else if (is(w, "no-guest-addr"))
		world.lan.guest6 = world.seen.v6 = (struct addr){ 0 };
	else
		return false;
	return true;
}

static void tap_cmd(void)
{
	char *w = need("what of the tap");

	if (is(w, "up") || is(w, "down")) {
		toy_tap_up(&world.tap, is(w, "up"));
	} else if (is(w, "full") || is(w, "room")) {
		world.tap.stuffed = is(w, "full");
		if (!world.tap.stuffed)
			toy_wake(&world.tap.toy, EPOLLOUT);
	} else if (is(w, "unread") || is(w, "read")) {
		world.tap.unread = is(w, "unread");
	} else {
		sim_fail("no \"tap %s\"", w);
	}
}

static void next_cmd(void)
{
	char *w = need("what comes next");

	if (is(w, "connect"))
		snprintf(sc.connect, sizeof(sc.connect), "%s", need("how"));
	else if (is(w, "sndbuf"))
		toy_net.tx_cap = (size_t)number(need("size"));
	else if (is(w, "rcvbuf"))
		toy_net.rx_cap = (size_t)number(need("size"));
	else if (is(w, "nosocket"))
		toy_net.open_fails = (unsigned)number(need("how often"));
	else if (is(w, "peekfails"))
		toy_net.peek_fails = (unsigned)number(need("how often"));
	else if (is(w, "discardfails"))
		toy_net.discard_fails = (unsigned)number(need("how often"));
	else if (is(w, "bindfails"))
		toy_net.bound_fails = (unsigned)number(need("how often"));
	else if (is(w, "acceptfails"))
		sock_accept_fails(-(int)number(need("errno")));
	else
		sim_fail("no \"next %s\"", w);
}

static void quiet(uint64_t ns)
{
	struct got *g;

	world_run(sim.now + ns, NULL);
	g = sc.in;
	if (g)
		sim_fail("a frame came after %.6f s",
			 (double)(g->at - sc.mark) / 1e9);
}

static bool named(const struct sock_sources *f, const struct addr *a)
{
	unsigned i;

	for (i = 0; i < f->n && !addr_equal(&f->source[i], a); i++)
		;
	return i < f->n;
}

/* The filter that all who joined @group have, NULL: nobody has; how many have ports */
static const struct sock_sources *members(const struct addr *group,
					  unsigned *ports)
{
	const struct sock_sources *f = NULL;
	struct sock *s;

	for (s = sock_all(); s; s = s->all) {
		if (s->kind != S_GROUP || s->toy.fd < 0 ||
		    !addr_equal(&s->group, group))
			continue;
		*ports += s->local_port != 0;
		if (f && (f->exclude != s->filter.exclude ||
			  f->n != s->filter.n))
			sim_fail("filters differ");
		f = &s->filter;
	}
	return f;
}

/* member A none | member A PORTS all [but A ...] | member A PORTS only A ... */
static void member_cmd(void)
{
	const struct sock_sources *f;
	unsigned ports = 0, n = 0;
	struct addr group, a;
	char *w;

	world_run(sim.now + 200 * MS, NULL);
	if (!addr_parse(need("group"), &group))
		sim_fail("bad address");
	f = members(&group, &ports);
	w = need("none or number of ports");
	if (is(w, "none") != !f)
		sim_fail("%u ports follow", ports);
	if (!f)
		return;
	check("number of ports", ports, w);
	if (is(need("all or only"), "all") != f->exclude)
		sim_fail("%s but %u sources", f->exclude ? "all" : "none", f->n);
	if (f->exclude && (w = word()) && !is(w, "but"))
		sim_fail("what is %s?", w);
	for (; (w = word()); n++)
		if (!addr_parse(w, &a) || !named(f, &a))
			sim_fail("%s is not in the filter", w);
	if (n != f->n)
		sim_fail("there are %u sources", f->n);
}

static void command(char *w)
{
	if (is(w, "conn")) {
		sc.gport = (uint16_t)number(need("guest port"));
		sc.fport = (uint16_t)number(need("far port"));
		sc.peer_known = false;
	} else if (is(w, "v6")) {
		sc.v6 = true;
	} else if (is(w, "v4")) {
		sc.v6 = false;
	} else if (is(w, "iss")) {
		sc.iss = (uint32_t)number(need("number"));
	} else if (is(w, "again")) { /* a new connection of the same ports */
		sc.peer_known = false;
	} else if (is(w, ">")) {
		send_frame();
	} else if (is(w, "<")) {
		expect_frame();
	} else if (is(w, "wait")) {
		world_run(sim.now + need_time(), NULL);
	} else if (is(w, "quiet")) {
		quiet(need_time());
	} else if (is(w, "stop")) {
		sim_stop(need_time());
	} else if (is(w, "skip")) {
		world_run(sim.now + need_time(), NULL);
		sc.in = NULL;
		sc.in_end = &sc.in;
	} else if (is(w, "far")) {
		far_cmd();
	} else if (is(w, "sock")) {
		sock_cmd();
	} else if (is(w, "tap")) {
		tap_cmd();
	} else if (is(w, "next")) {
		next_cmd();
	} else if (is(w, "member")) {
		member_cmd();
	} else if (is(w, "blocks")) {
		world.chunks.fresh = CHUNK_BLOCKS - (unsigned)number(need("number"));
		world.chunks.used = world.chunks.fresh;
	} else if (is(w, "share")) {
		world.flows.share = (unsigned)number(need("number"));
	} else if (is(w, "flows")) {
		world_run(sim.now + 2 * MS, NULL);
		check("number of flows", world.flows.count, need("number"));
	} else if (is(w, "sockets")) {
		world_run(sim.now + 2 * MS, NULL);
		check("number of sockets", world_leftovers(), need("number"));
	} else {
		sim_fail("what is %s?", w);
	}
}

static void line(char *text)
{
	char *end = strchr(text, '\n'), *hash = strchr(text, '#'), *w;

	if (end)
		*end = '\0';
	if (hash)
		*hash = '\0';
	cursor = text;
	w = word();
	if (!w)
		return;
	if (sim.verbose)
		trace("%s %s", w, cursor);
	if (is(w, "opt")) {
		if (sc.started || !option(need("option")))
			sim_fail("not an option here");
		return;
	}
	begin();
	command(w);
	if (!is(w, ">") && word())
		sim_fail("the line goes on");
	sc.mark = is(w, "<") ? sc.frame_at : sim.now;
}

void run_script(const char *path)
{
	FILE *f = fopen(path, "r");
	static char buf[16384];

	sim_reset(1);
	sim.name = path;
	world_config();
	guest_reset();
	memset(&sc, 0, sizeof(sc));
	sc.in_end = &sc.in;
	sc.dgrams_end = &sc.dgrams;
	sc.us[0] = addr_v4(198, 51, 100, 1);
	addr_parse("2001:db8:51::1", &sc.us[1]);
	sc.gport = 40000;
	sc.fport = 5000;
	sc.iss = 1000;
	strcpy(sc.connect, "ok");
	far_ops = &script_far;
	world.tap.guest = arrived;
	world.tap.w.delay = 10 * US;
	world.tap.lend = 64;
	if (!f)
		sim_fail("%s", strerror(errno));
	while (fgets(buf, sizeof(buf), f)) {
		sim.line++;
		line(buf);
	}
	fclose(f);
	quiet(100 * MS);
}
