/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Where the guest may go: rules out of the seed, a plain model of them, and questions.
 *
 * The model shares no code with egress.c or fwd.c: it has rules as the manual tells of
 * them, names of the guest's with the host's address of each, and compares bits.  The
 * guest sends SYNs, datagrams and echo requests to many places.  What must not go never
 * reaches the toy kernel and is answered with an error, what may go never is; that holds
 * for all other connections and datagrams of the seed, too.  Resolvers and networks of
 * the host change meanwhile.
 */
#include "sim.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>

enum { RULES = 24, SPEC = 128, ASKS = 60, ASK_PORT = 42000, GENS = 3, DNS = 3,
       NETS = 6 };
enum { TCP = 1, UDP = 2, PING = 4 };
enum { MAY = 1, MUST_NOT = 2, NO_WAY = 4 /* there is no resolver */ };

struct policy_rule {
	enum { W_ANY, W_DNS, W_LOCAL, W_LOOPBACK, W_PRIVATE, W_NET } what;
	bool allow;
	unsigned protos; /* 0: none was named */
	struct addr net;
	unsigned len;
	unsigned ranges;
	uint16_t first[3], last[3];
};

struct policy_net {
	struct addr a;
	unsigned len;
};

/* One packet of the guest, and what came of it */
struct ask {
	uint8_t proto;
	struct addr to;
	uint16_t port;
	unsigned gen; /* when it was sent */
	bool sent, refused;
	bool there; /* it went: the host saw it, or it was answered (TCP) */
};

static struct {
	bool runs;
	unsigned n, asks, gen, gens, sent_asks;
	struct policy_rule r[RULES];
	char spec[RULES][SPEC];
	struct ask ask[ASKS];
	struct fwd_dns dns[GENS];
	struct policy_net net[GENS][NETS]; /* of the host */
	uint64_t last; /* when it was asked */
	uint64_t denied_least, denied_most; /* frames */
} pol;
static struct egress egress;
static struct egress_local local;

/* The guest's names, and whom the host knows by them */
static const struct place {
	const char *name, *host; /* NULL: the same */
} places[] = {
	{ "203.0.113.80", NULL }, { "203.0.113.81", NULL },
	{ "203.0.112.80", NULL }, { "8.8.8.8", NULL }, { "10.1.2.3", NULL },
	{ "11.0.0.1", NULL }, { "172.15.0.1", NULL }, { "172.16.0.1", NULL }, { "172.31.255.9", NULL },
	{ "172.32.0.1", NULL }, { "192.168.7.1", NULL }, { "192.169.0.1", NULL },
	{ "100.64.0.9", NULL }, { "100.128.0.1", NULL },
	{ "169.254.9.9", NULL }, { "10.0.2.2", "127.0.0.1" },
	{ "10.0.2.98", "127.0.0.1" }, { "10.0.2.99", "10.0.2.15" },
	{ "10.0.2.3", NULL }, { "9.9.9.9", NULL }, { "198.51.100.53", NULL },
	{ "2001:db8:f::80", NULL }, { "2001:db8:f::81", NULL },
	{ "2001:db8:e::80", NULL }, { "2001:db9::1", NULL },
	{ "fd00::1", NULL }, { "fe00::1", NULL }, { "fe80::1", "::1" },
	{ "fe90::9", NULL }, { "fec0::1", NULL }, { "2001:db8:1::98", "::1" },
	{ "2001:db8:1::99", "2001:db8:1::15" }, { "2001:db8:1::3", NULL },
	{ "2620:fe::fe", NULL }, { "2620:fe::9", NULL },
};
static const char *const resolvers[] = {
	"9.9.9.9", "198.51.100.53", "127.0.0.1", "192.168.7.1", "2620:fe::fe",
	"2620:fe::9", "fd00::1",
};
static const uint16_t ports[] = { 53, 853, 1, 22, 80, 443, 8080, 30000, 30001,
				  65535 };

static struct addr parse(const char *text)
{
	struct addr a;

	if (!addr_parse(text, &a))
		sim_fail("bad address %s", text);
	return a;
}

/* --- the model ---------------------------------------------------------------- */

static bool same_bits(const uint8_t *a, const uint8_t *b, unsigned n)
{
	unsigned i;

	for (i = 0; i < n; i++)
		if ((a[i / 8] ^ b[i / 8]) >> (7 - i % 8) & 1)
			return false;
	return true;
}

static bool within(const struct addr *a, const struct addr *net, unsigned len)
{
	unsigned skip = addr_is_v4(net) ? 12 : 0;

	return addr_is_v4(a) == addr_is_v4(net) &&
	       same_bits(a->b + skip, net->b + skip, len);
}

static bool is_loopback(const struct addr *a)
{
	static const uint8_t one[16] = { [15] = 1 };

	return addr_is_v4(a) ? a->b[12] == 127 : !memcmp(a->b, one, 16);
}

static bool is_private(const struct addr *a)
{
	uint8_t p = a->b[12], q = a->b[13];

	if (!addr_is_v4(a))
		return a->b[0] == 0xfc || a->b[0] == 0xfd || a->b[0] == 0xff ||
		       (a->b[0] == 0xfe && a->b[1] >= 0x80 && a->b[1] <= 0xbf);
	return p == 10 || (p == 172 && q >= 16 && q <= 31) ||
	       (p == 192 && q == 168) || (p == 100 && q >= 64 && q <= 127) ||
	       (p == 169 && q == 254) || (p >= 224 && p <= 239) ||
	       (ld_be32(a->b + 12) == 0xffffffff);
}

static bool is_resolver(const struct addr *a, unsigned gen)
{
	const struct fwd_dns *d = &pol.dns[gen];
	unsigned i;

	for (i = 0; i < d->n[0] + d->n[1]; i++)
		if (addr_equal(a, i < d->n[0] ? &d->host[0][i] :
						&d->host[1][i - d->n[0]]))
			return true;
	return false;
}

/* In a network of the host, of which loopback is none, and all addresses are none */
static bool is_local(const struct addr *a, unsigned gen)
{
	const struct policy_net *n = pol.net[gen];
	unsigned i;

	for (i = 0; i < NETS; i++, n++)
		if (n->len && !is_loopback(&n->a) && within(a, &n->a, n->len))
			return !is_loopback(a);
	return false;
}

static bool names_place(const struct policy_rule *r, const struct addr *to,
			unsigned gen)
{
	switch (r->what) {
	case W_DNS:
		return is_resolver(to, gen);
	case W_LOCAL:
		return is_local(to, gen);
	case W_LOOPBACK:
		return is_loopback(to);
	case W_PRIVATE:
		return is_private(to);
	case W_NET:
		return within(to, &r->net, r->len);
	default:
		return true;
	}
}

static bool names_port(const struct policy_rule *r, unsigned proto, uint16_t port)
{
	unsigned i;

	if (proto == PING)
		return !r->ranges && (r->what != W_DNS || r->protos);
	if (!r->ranges)
		return r->what != W_DNS || port == 53 || port == 853;
	for (i = 0; i < r->ranges; i++)
		if (port >= r->first[i] && port <= r->last[i])
			return true;
	return false;
}

static unsigned bit_of(uint8_t proto)
{
	return proto == IPPROTO_TCP ? TCP : proto == IPPROTO_UDP ? UDP : PING;
}

static bool allows(uint8_t proto, const struct addr *to, uint16_t port,
		   unsigned gen)
{
	const struct policy_rule *r;
	unsigned bit = bit_of(proto);

	for (r = pol.r; r < pol.r + pol.n; r++)
		if ((!r->protos || r->protos == bit) &&
		    names_port(r, bit, port) && names_place(r, to, gen))
			return r->allow;
	return !pol.n || !pol.r[pol.n - 1].allow;
}

/* The host's address at place @i of those that the guest may mean by @to; false: there
 * are no more */
static bool meant(uint8_t proto, const struct addr *to, uint16_t port,
		  unsigned gen, unsigned i, struct addr *host)
{
	const struct fwd_dns *d = &pol.dns[gen];
	unsigned v6 = !addr_is_v4(to);
	const struct place *p;

	if (bit_of(proto) != PING && (port == 53 || port == 853) &&
	    addr_equal(to, &d->match[v6])) {
		if (i < d->n[v6])
			*host = d->host[v6][i];
		return i < d->n[v6];
	}
	*host = *to;
	for (p = places; p < places + ARRAY_SIZE(places); p++) {
		struct addr name = parse(p->name);

		if (p->host && addr_equal(to, &name))
			*host = parse(p->host);
	}
	return !i;
}

/* What is possible for a packet to @to from generation @from on */
static unsigned verdict(uint8_t proto, const struct addr *to, uint16_t port,
			unsigned from, unsigned until)
{
	unsigned v = 0, gen, i;
	struct addr host;

	for (gen = from; gen <= until; gen++) {
		for (i = 0; meant(proto, to, port, gen, i, &host); i++)
			v |= allows(proto, &host, port, gen) ? MAY : MUST_NOT;
		v |= i ? 0 : NO_WAY;
	}
	return v;
}

bool policy_denies(uint8_t proto, const struct addr *to, uint16_t port)
{
	return pol.runs && verdict(proto, to, port, 0, 0) == MUST_NOT;
}

/* --- rules out of the seed ------------------------------------------------------- */

static struct addr some_host(void)
{
	const struct place *p = &places[rnd_to(ARRAY_SIZE(places))];

	return chance(200) ? parse(resolvers[rnd_to(ARRAY_SIZE(resolvers))]) :
			     parse(p->host && chance(700) ? p->host : p->name);
}

static uint16_t some_port(void)
{
	switch (rnd_to(4)) {
	case 0: return (uint16_t)rnd_in(4998, 5010); /* of run.c */
	case 1: return (uint16_t)rnd_in(6998, 7006);
	default: return ports[rnd_to(ARRAY_SIZE(ports))];
	}
}

static void some_ranges(struct policy_rule *r)
{
	unsigned i;

	if (r->protos == PING || chance(500))
		return;
	r->ranges = (unsigned)rnd_in(1, 3);
	for (i = 0; i < r->ranges; i++) {
		r->first[i] = some_port();
		r->last[i] = chance(500) ? r->first[i] :
				   (uint16_t)rnd_in(r->first[i],
						    MIN(65535, r->first[i] + 3000));
	}
}

static void some_net(struct addr *net, unsigned *len)
{
	unsigned bits;

	*net = some_host();
	bits = addr_is_v4(net) ? 32 : 128;
	*len = chance(400) ? bits : (unsigned)rnd_to(bits + 1);
}

/* Half of them stay; what run.c connects to does not change its place */
static void some_nets(unsigned gen)
{
	struct policy_net *n = pol.net[gen];
	unsigned i;

	for (i = 0; i < NETS; i++, n++) {
		if (gen && i < NETS / 2) {
			*n = pol.net[0][i];
			continue;
		}
		do
			some_net(&n->a, &n->len);
		while (i >= NETS / 2 && (within(&far_addr[0], &n->a, n->len) ||
					 within(&far_addr[1], &n->a, n->len)));
	}
}

static void use_nets(void)
{
	const struct policy_net *n = pol.net[pol.gen];
	unsigned i;

	memset(&local, 0, sizeof(local));
	for (i = 0; i < NETS; i++, n++)
		egress_local_add(&local, &n->a, n->len);
}

static int put_net(char *p, const struct policy_rule *r)
{
	bool v4 = addr_is_v4(&r->net), full = r->len == (v4 ? 32 : 128);
	bool brackets = (!v4 && r->ranges) || chance(200);
	char text[ADDR_TEXT_LEN];

	addr_text(&r->net, text);
	if (!brackets && full && chance(500))
		return sprintf(p, "%s", text);
	if (!brackets)
		return sprintf(p, "%s/%u", text, r->len);
	return sprintf(p, chance(500) ? "[%s]/%u" : "[%s/%u]", text, r->len);
}

static void write_spec(const struct policy_rule *r, char *p)
{
	static const char *const word[] = { "any", "dns", "local", "loopback",
					    "private" };
	unsigned i;

	if (r->protos)
		p += sprintf(p, r->protos == TCP ? "tcp:" :
				r->protos == UDP ? "udp:" : "icmp:");
	p += r->what == W_NET ? put_net(p, r) : sprintf(p, "%s", word[r->what]);
	for (i = 0; i < r->ranges; i++) {
		p += sprintf(p, "%c%u", i ? ',' : ':', r->first[i]);
		if (r->last[i] != r->first[i] || chance(100))
			p += sprintf(p, "-%u", r->last[i]);
	}
}

static void add_rule(void)
{
	struct policy_rule *r = &pol.r[pol.n];
	char *spec = pol.spec[pol.n++], err[EGRESS_ERR];

	*r = (struct policy_rule){ .allow = chance(500), .what = W_NET };
	if (chance(450))
		r->what = chance(100) ? W_ANY : 1 + rnd_to(4);
	r->protos = chance(600) ? 0 : 1U << rnd_to(3);
	if (r->what == W_NET)
		some_net(&r->net, &r->len);
	some_ranges(r);
	write_spec(r, spec);
	trace("policy: %s %s", r->allow ? "allow" : "deny", spec);
	if (!egress_add(&egress, r->allow, spec, err))
		sim_fail("%s: %s", spec, err);
}

static void some_resolvers(struct fwd_dns *d)
{
	unsigned v6, i;

	memset(d, 0, sizeof(*d));
	d->match[0] = parse("10.0.2.3");
	d->match[1] = parse("2001:db8:1::3");
	for (v6 = 0; v6 < 2; v6++) {
		d->n[v6] = (unsigned)rnd_to(DNS + 1);
		for (i = 0; i < d->n[v6]; i++) /* of either family */
			d->host[v6][i] = parse(resolvers[rnd_to(
				ARRAY_SIZE(resolvers))]);
	}
}

static void next_resolvers(void *arg)
{
	(void)arg;
	trace("  other resolvers and networks");
	fwd_resolvers(&world.fwd, &pol.dns[++pol.gen]);
	use_nets();
}

/* --- the guest asks ---------------------------------------------------------------- */

static void ask(void *arg)
{
	struct ask *a = arg;
	static const uint8_t echo6[] = { 128, 0, 0, 0 }, echo4[] = { 8, 0, 0, 0 };
	uint8_t data[16] = { 0 };
	bool v6 = !addr_is_v4(&a->to);
	uint16_t no = (uint16_t)(ASK_PORT + (a - pol.ask));
	struct seg s = { .src = guest_addr[v6], .dst = a->to, .proto = a->proto,
			 .sport = no, .dport = a->port, .flags = TCP_SYN,
			 .seq = (uint32_t)rnd(), .win = 60000, .mss = 1460,
			 .ws = -1, .data = data };

	if (a->proto != IPPROTO_TCP && a->proto != IPPROTO_UDP) {
		memcpy(data, v6 ? echo6 : echo4, 4);
		st_be16(data + 4, no);
		s.len = sizeof(data);
	} else if (a->proto == IPPROTO_UDP) {
		s.len = sizeof(data);
	}
	a->gen = pol.gen;
	a->sent = true;
	pol.sent_asks++;
	pol.last = sim.now;
	guest_send(&s);
}

static void make_ask(struct ask *a)
{
	static const uint8_t proto[] = { IPPROTO_TCP, IPPROTO_UDP, IPPROTO_ICMP };

	*a = (struct ask){ .proto = proto[rnd_to(3)],
			   .port = ports[rnd_to(ARRAY_SIZE(ports))],
			   .to = parse(places[rnd_to(ARRAY_SIZE(places))].name) };
	if (chance(200)) {
		a->to = parse(chance(500) ? "10.0.2.3" : "2001:db8:1::3");
		a->port = ports[rnd_to(2)];
	}
	if (a->proto == IPPROTO_ICMP) {
		a->port = 0;
		if (!addr_is_v4(&a->to))
			a->proto = IPPROTO_ICMPV6;
	}
	sim_after(rnd_to(10 * SEC), ask, a);
}

void policy_reset(void)
{
	memset(&pol, 0, sizeof(pol));
}

void policy_start(void)
{
	unsigned i;

	pol.runs = true;
	memset(&egress, 0, sizeof(egress));
	for (i = chance(500) ? 1 + rnd_to(4) : 1 + rnd_to(RULES); i; i--)
		add_rule();
	world.map.egress = &egress;
	world.map.host_loopback[0][1] = parse("10.0.2.98");
	world.map.host_loopback[1][1] = parse("2001:db8:1::98");
	world.map.guest_addr[0][0] = parse("10.0.2.99");
	world.map.guest_addr[1][0] = parse("2001:db8:1::99");
	world.fwd.view.local = &local;
	for (i = 0; i < GENS; i++) {
		some_resolvers(&pol.dns[i]);
		some_nets(i);
	}
	use_nets();
	fwd_resolvers(&world.fwd, &pol.dns[0]);
	pol.gens = (unsigned)rnd_in(1, GENS);
	for (i = 1; i < pol.gens; i++)
		sim_after(rnd_to(10 * SEC), next_resolvers, NULL);
	pol.asks = (unsigned)rnd_in(1, ASKS);
	for (i = 0; i < pol.asks; i++)
		make_ask(&pol.ask[i]);
}

bool policy_rest(void)
{
	return !pol.runs ||
	       (pol.sent_asks == pol.asks && pol.gen + 1 == pol.gens &&
		sim.now > pol.last + SEC);
}

/* --- what the host's kernel is asked for ---------------------------------------- */

static struct ask *ask_of(uint16_t port)
{
	return port < ASK_PORT || port >= ASK_PORT + pol.asks ?
		       NULL : &pol.ask[port - ASK_PORT];
}

static void judge_way(uint8_t proto, const struct addr *to, uint16_t port)
{
	char text[ADDR_TEXT_LEN];

	if (!allows(proto, to, port, pol.gen))
		sim_fail("protocol %u to %s, port %u, must not go", proto,
			 addr_text(to, text), port);
}

static bool may_mean(const struct ask *a, const struct addr *to)
{
	struct addr host;
	unsigned gen, i;

	for (gen = a->gen; gen <= pol.gen; gen++)
		for (i = 0; meant(a->proto, &a->to, a->port, gen, i, &host); i++)
			if (addr_equal(&host, to))
				return true;
	return false;
}

static bool asks_for(const struct ask *a, uint8_t proto, const struct addr *to,
		     uint16_t port)
{
	return a->sent && bit_of(a->proto) == bit_of(proto) &&
	       a->port == port && may_mean(a, to);
}

static void refuse(void *arg)
{
	far_refused(arg, ECONNREFUSED);
}

bool policy_connect(struct sock *s)
{
	const struct ask *a;

	if (!pol.runs)
		return false;
	judge_way(IPPROTO_TCP, &s->peer, s->peer_port);
	for (a = pol.ask; a < pol.ask + pol.asks; a++)
		if (asks_for(a, IPPROTO_TCP, &s->peer, s->peer_port)) {
			sim_after(rnd_to(20 * MS), refuse, s);
			return true;
		}
	return false;
}

static void answer(void *arg)
{
	struct sock *s = arg;

	if (s->toy.fd >= 0)
		far_datagram(&s->last, s->last_port, &s->local, s->local_port,
			     "yes", 3);
}

bool policy_gets(struct sock *s, const struct addr *to, uint16_t port,
		 bool inbound)
{
	uint8_t proto = s->kind != S_PING  ? IPPROTO_UDP :
			addr_is_v4(to) ? IPPROTO_ICMP : IPPROTO_ICMPV6;
	struct ask *a;

	if (!pol.runs)
		return false;
	if (!inbound)
		judge_way(proto, to, port);
	a = ask_of(s->local_port);
	if (!a)
		return false;
	if (!asks_for(a, proto, to, port))
		sim_fail("ask %u went somewhere else", s->local_port - ASK_PORT);
	a->there = true;
	if (proto == IPPROTO_UDP && chance(500))
		sim_after(rnd_to(20 * MS), answer, s);
	return true;
}

/* --- what the guest sends and is told -------------------------------------------- */

void policy_sent(const struct seg *s, bool inbound)
{
	bool echo = (s->proto == IPPROTO_ICMP || s->proto == IPPROTO_ICMPV6) &&
		    s->len && (s->data[0] == 8 || s->data[0] == 128);
	unsigned v;

	if (!pol.runs || inbound ||
	    !(s->proto == IPPROTO_UDP || echo ||
	      (s->proto == IPPROTO_TCP && s->flags == TCP_SYN)))
		return;
	v = verdict(s->proto, &s->dst, echo ? 0 : s->dport, 0, pol.gens - 1);
	pol.denied_least += v == MUST_NOT;
	pol.denied_most += !!(v & MUST_NOT);
}

/* An error of ours: communication administratively prohibited, with what the guest
 * has sent */
static bool prohibited(const struct seg *s)
{
	bool v4 = s->proto == IPPROTO_ICMP, is_echo;
	const uint8_t *ip = s->data + 8, *l4 = ip + (v4 ? 20 : 40);
	struct addr to;
	uint8_t proto;
	struct ask *a;
	uint16_t port;

	if (s->icmp_type != (v4 ? 3 : 1) || s->icmp_code != (v4 ? 13 : 1))
		return false;
	if (s->len < (v4 ? 36U : 56U))
		sim_fail("an error that quotes too little");
	to = v4 ? addr_from4(ip + 16) : addr_from6(ip + 24);
	proto = ip[v4 ? 9 : 6];
	is_echo = bit_of(proto) == PING;
	port = is_echo ? 0 : ld_be16(l4 + 2);
	a = ask_of(ld_be16(is_echo ? l4 + 4 : l4));
	if (a && (a->proto != proto || a->port != port ||
		  !addr_equal(&a->to, &to)))
		sim_fail("an error quotes another packet");
	if (!(verdict(proto, &to, port, a ? a->gen : 0, pol.gen) & MUST_NOT))
		sim_fail("protocol %u to port %u is refused and may go", proto,
			 port);
	if (a)
		a->refused = true;
	return a;
}

bool policy_frame(const struct seg *s)
{
	struct ask *a;

	if (!pol.runs)
		return false;
	if (s->proto == IPPROTO_ICMP || s->proto == IPPROTO_ICMPV6)
		return prohibited(s);
	a = ask_of(s->dport);
	if (!a)
		return false;
	if (a->proto != s->proto || !addr_equal(&a->to, &s->src) ||
	    a->port != s->sport)
		sim_fail("an answer to ask %u from somebody else",
			 (unsigned)(a - pol.ask));
	a->there = true;
	return true;
}

/* Nothing gets lost on the way to us if it @arrives, nothing on the way to the guest if
 * it @hears; if it has ways out, it @goes */
void policy_judge(bool arrives, bool hears, bool goes)
{
	uint64_t denied = world.guest.drops[DROP_DENIED];
	struct ask *a;

	if (!pol.runs)
		return;
	if (arrives && (denied < pol.denied_least || denied > pol.denied_most))
		sim_fail("%llu packets denied, not %llu to %llu",
			 (unsigned long long)denied,
			 (unsigned long long)pol.denied_least,
			 (unsigned long long)pol.denied_most);
	for (a = pol.ask; arrives && a < pol.ask + pol.asks; a++) {
		unsigned v = verdict(a->proto, &a->to, a->port, a->gen, pol.gen);

		if (goes && v == MAY && !a->there &&
		    (hears || a->proto != IPPROTO_TCP))
			sim_fail("ask %u did not go, and may",
				 (unsigned)(a - pol.ask));
		if (hears && v == MUST_NOT && !a->refused)
			sim_fail("ask %u was not answered, and denied",
				 (unsigned)(a - pol.ask));
	}
}
