/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The namespace's other side: datagrams from socket to socket, and both their ends.
 *
 * Clients of a loopback address, some with one port at two addresses or with two
 * servers, send one by one or in bursts to ports that several of them use; servers on
 * the other side answer, or speak by themselves; both may be away for a while or for
 * good, and be complained of; some of it a filter of packets refuses.  Each datagram has a name: it comes once, whole, from the
 * address that its receiver knows, behind those that came by the same socket.  What is
 * for nobody is sent for nobody; what is lost is not more than calls have failed for.
 * A socket is closed when its flow has been silent for as long as that may last, and not
 * before.
 */
#include "sim.h"

#include <errno.h>
#include <netinet/in.h>

enum {
	CALLS = 16, MOST = 200, BURST = 90, KEY = 120,
	DGRAM_PORT = 14000, STRANGER_PORT = 15000,
	NAMED = 4, /* shorter ones have no room for a name */
	STRANGE = 0xff,
};
/* Rounds of timers */
#define SLACK (100 * MS)

enum wrong { W_NOTHING, W_PORT_ZERO, W_FOREIGN };

/* One direction of a call: 0 to the server */
struct way {
	unsigned total, sent;
	size_t size[MOST];
	struct sock *via[MOST]; /* that it came to, NULL: to none */
	bool seen[MOST];
	bool barred[MOST]; /* a filter of packets has something against it */
	unsigned tried[MOST]; /* how often that was */
	unsigned shorts_due, shorts_seen;
};

static struct call {
	unsigned no;
	bool outbound, v6;
	enum wrong wrong;
	struct addr from, to; /* the client, and whom it calls */
	uint16_t from_port, to_port;
	struct addr server;
	uint16_t server_port;
	uint64_t gap, pause; /* between bursts; and before the last ones */
	unsigned burst, answers;
	uint64_t opens, leaves, comes; /* server: until when it is away, and again */
	uint64_t ends; /* client: when its socket is closed, 0: never */
	struct way way[2];
	struct sock *s[2]; /* of its last flow */
	uint64_t talk; /* the server speaks by itself until then */
	bool talks;
} calls[CALLS];

static unsigned ncalls, busy; /* events that are to come */
static unsigned bars, errs;   /* per mille of datagrams */
static uint64_t refused;      /* by sockets */
static struct call *opening; /* has the first of its two sockets */
static uint64_t last;	     /* when something was sent */
static bool runs;

static bool is_away(const struct call *c)
{
	return sim.now < c->opens ||
	       (sim.now >= c->leaves && sim.now < c->comes);
}

static bool is_denied(const struct call *c)
{
	return c->outbound && policy_denies(IPPROTO_UDP, &c->server,
					    c->server_port);
}

static bool has_ended(const struct call *c)
{
	return c->ends && sim.now >= c->ends;
}

/* --- what is sent ---------------------------------------------------------------- */

static void fill(const struct call *c, unsigned w, unsigned i, uint8_t *p)
{
	size_t k, n = c->way[w].size[i];

	for (k = 0; k < n; k++)
		p[k] = pattern(KEY + 2 * c->no + w, (n < NAMED ? 0 : i) + k);
	if (n < NAMED)
		return;
	p[0] = (uint8_t)c->no;
	p[1] = (uint8_t)w;
	st_be16(p + 2, (uint16_t)i);
}

static size_t some_size(void)
{
	switch (rnd_to(8)) {
	case 0: return rnd_to(NAMED);
	case 1: return rnd_in(NAMED, 65507);
	case 2: return 65507;
	default: return rnd_in(NAMED, 1500);
	}
}

/* What came to a socket of ours is to come out of the other one */
static void put(struct call *c, unsigned w, const struct addr *from,
		uint16_t from_port, const struct addr *to, uint16_t port)
{
	static uint8_t buf[65536];
	struct way *x = &c->way[w];
	unsigned i = x->sent++;
	struct sock *s;

	x->size[i] = some_size();
	fill(c, w, i, buf);
	last = sim.now;
	s = far_datagram(from, from_port, to, port, buf, x->size[i]);
	if (!w && !s)
		sim_fail("call %u: nobody listens on port %u", c->no, port);
	if (!s || c->wrong || is_denied(c))
		return;
	if (w && s != c->s[1])
		sim_fail("call %u: an answer comes to fd %d", c->no, s->toy.fd);
	x->barred[i] = x->size[i] >= NAMED && chance(bars);
	x->via[i] = s;
	x->shorts_due += x->size[i] < NAMED;
}

static void client_sends(struct call *c, unsigned n)
{
	bool was = toy_net.inside;

	toy_net.inside = c->outbound;
	for (; n && c->way[0].sent < c->way[0].total && !has_ended(c); n--)
		put(c, 0, &c->from, c->from_port, &c->to, c->to_port);
	toy_net.inside = was;
}

/* To where the last ones came from, unless that has ended: then it may be another's */
static void server_sends(struct call *c, unsigned n)
{
	const struct sock *s = c->s[1];
	bool was = toy_net.inside;

	toy_net.inside = !c->outbound;
	for (; n && s && s->toy.fd >= 0 && c->way[1].sent < c->way[1].total && !is_away(c); n--)
		put(c, 1, &c->server, c->server_port, &s->local, s->local_port);
	toy_net.inside = was;
}

static void stranger_sends(const struct sock *s, unsigned n)
{
	static const uint8_t strange[64] = { STRANGE };
	struct addr lo = addr_loopback(s->v4);

	while (n--)
		far_datagram(&lo, STRANGER_PORT, &lo, s->local_port, strange,
			     rnd_in(1, sizeof(strange)));
}

static void call_on(void *arg)
{
	struct call *c = arg;
	struct way *x = &c->way[0];
	unsigned left;

	busy--;
	client_sends(c, c->burst);
	left = x->total - x->sent;
	if (!left || has_ended(c))
		return;
	busy++;
	sim_after(left <= c->burst ? c->pause : c->gap, call_on, c);
}

static void answer(void *arg)
{
	busy--;
	server_sends(arg, 1);
}

static void talk_on(void *arg)
{
	struct call *c = arg;

	busy--;
	server_sends(c, c->burst);
	if (sim.now > c->talk || c->way[1].sent == c->way[1].total)
		return;
	busy++;
	sim_after(c->gap, talk_on, c);
}

/* --- the daemon's sockets ---------------------------------------------------------- */

static bool is_client(const struct call *c, const struct sock_bind *b,
		      const struct addr *to, uint16_t port)
{
	return !c->wrong && c->from_port == port && c->to_port == b->port &&
	       addr_equal(&c->from, to) && addr_equal(&c->to, &b->addr);
}

/* First the one for the client, then the server's */
static void *claim(const struct sock_bind *b, const struct addr *to,
		   uint16_t port)
{
	struct call *c;

	for (c = calls; c < calls + ncalls; c++) {
		if (c->outbound != !!b->fresh || !is_client(c, b, to, port))
			continue;
		if (is_denied(c))
			sim_fail("call %u must not go", c->no);
		if (c->s[0] && c->s[0]->toy.fd >= 0)
			sim_fail("call %u: a second flow", c->no);
		opening = c;
		toy_net.dgram_any = false;
		return c;
	}
	c = opening;
	if (!c || port != c->server_port || !addr_equal(to, &c->server) ||
	    c->outbound == !!b->fresh || !addr_is_unspecified(&b->addr))
		return NULL;
	if (b->port && b->port != c->from_port)
		sim_fail("call %u: its port is not that of the client", c->no);
	toy_net.dgram_any = true;
	return c;
}

/* Another one that calls the same port, if there is one */
static struct call *neighbour(const struct call *c)
{
	struct call *o = NULL;
	unsigned tries;

	for (tries = 0; tries < 4; tries++) {
		o = &calls[rnd_to(ncalls)];
		if (o != c && o->outbound == c->outbound &&
		    o->to_port == c->to_port)
			break;
	}
	return o;
}

/* Others, or more of the same, come in between */
static void bound(struct sock *s)
{
	struct call *c = s->app, *other = neighbour(c);
	unsigned n = chance(700) ? (unsigned)rnd_in(1, 3) :
				   (unsigned)rnd_in(1, BURST);
	bool first = s->inside == c->outbound;

	c->s[!first] = s;
	s->used = sim.now;
	if (!chance(300))
		return;
	trace("  something comes before connect()");
	if (!first)
		stranger_sends(s, n);
	else if (other->outbound == c->outbound && chance(800))
		client_sends(other, n);
	else
		client_sends(c, n);
}

static unsigned waiting(const struct sock *s)
{
	const struct dgram *d;
	unsigned n = 0;

	for (d = s->in; d; d = d->next)
		n++;
	return n;
}

/* As udp_keep_alive() has it */
static uint64_t patience(const struct call *c)
{
	const struct udp_patience *p = &world.udp.patience;

	return (MIN(c->s[0]->given, 2U) + MIN(c->s[1]->given, 2U) > 2 ?
			p->stream_ms : p->single_ms) * (uint64_t)MS;
}

static const struct flow *flow_of(const struct sock *s)
{
	const struct flow *f;

	for (f = world.flows.flow; f < world.flows.flow + world.flows.fresh; f++)
		if (f->kind == FLOW_UDP_SPLICE && (f->side[0].fd == s->toy.fd ||
						   f->side[1].fd == s->toy.fd))
			return f;
	return NULL;
}

/* What is told of it while it lasts */
static void judge_counts(const struct call *c, const struct flow *f)
{
	struct flow_count n = { 0 };
	unsigned i;

	udp_splice_count(f, &n);
	for (i = 0; i < 2 && !bars; i++)
		if (!c->s[!i]->refused && n.bytes[i] != c->s[!i]->tx)
			sim_fail("call %u: %llu bytes from side %u, not %llu",
				 c->no, (unsigned long long)n.bytes[i], i,
				 (unsigned long long)c->s[!i]->tx);
	if ((udp_splice_state(f) == FLOW_REPLIED) !=
	    (c->s[0]->given && c->s[1]->given))
		sim_fail("call %u: another state", c->no);
}

/* Two clients of one port cannot both have it where they call the same server */
static bool is_taken(const struct call *c, const struct sock *s)
{
	const struct call *o;

	for (o = calls; o < calls + ncalls; o++)
		if (o != c && o->s[1] && o->s[1]->toy.fd >= 0 &&
		    o->s[1]->inside == s->inside &&
		    o->s[1]->local_port == s->local_port &&
		    o->s[1]->peer_port == s->peer_port &&
		    addr_equal(&o->s[1]->peer, &s->peer) &&
		    addr_equal(&o->s[1]->local, &s->local))
			return true;
	return false;
}

static void closes(struct sock *s)
{
	const struct call *c = s->app;
	const struct flow *f = flow_of(s);
	uint64_t used, idle;

	refused += s->refused;
	if (toy_net.dgram_failed == sim.now) {
		toy_net.dgram_lost += waiting(s);
		return;
	}
	if (!c->s[0] || !c->s[1] || (s != c->s[0] && s != c->s[1]))
		return;
	if (s == c->s[1] && s->used == sim.now && !s->given && is_taken(c, s))
		return;
	if (s->errs && s->complained != sim.now)
		sim_fail("call %u: errors are not taken", c->no);
	used = MAX(c->s[0]->used, c->s[1]->used);
	idle = sim.now - used;
	if (idle + TIMER_TICK * MS < patience(c) || idle > patience(c) + SLACK)
		sim_fail("call %u: its flow ends after %llu ms, not %llu", c->no,
			 (unsigned long long)idle / MS,
			 (unsigned long long)patience(c) / MS);
	if (f)
		judge_counts(c, f);
}

/* --- what comes out of them ---------------------------------------------------- */

static void judge_order(const struct call *c, unsigned w, unsigned i)
{
	const struct way *x = &c->way[w];
	unsigned k;

	for (k = i + 1; k < x->sent; k++)
		if (x->seen[k] && x->via[k] == x->via[i])
			sim_fail("call %u: datagram %u comes behind %u", c->no,
				 i, k);
}

static void judge(struct call *c, unsigned w, const uint8_t *p, size_t len)
{
	static uint8_t want[65536];
	struct way *x = &c->way[w];
	unsigned i = len < NAMED ? 0 : ld_be16(p + 2);

	if (len < NAMED) {
		if (++x->shorts_seen > x->shorts_due)
			sim_fail("call %u: short datagrams come twice", c->no);
		return;
	}
	if (p[0] != c->no || p[1] != w || i >= x->sent || !x->via[i])
		sim_fail("call %u gets what is another's", c->no);
	if (x->seen[i] || x->size[i] != len)
		sim_fail("call %u: datagram %u comes %s", c->no, i,
			 x->seen[i] ? "twice" : "in another length");
	fill(c, w, i, want);
	if (memcmp(want, p, len))
		sim_fail("call %u: datagram %u has wrong bytes", c->no, i);
	judge_order(c, w, i);
	x->seen[i] = true;
}

static void unreachable(struct sock *s)
{
	const struct sock_error e = { .err = ECONNREFUSED, .icmp = true };

	far_error(s, &e);
}

/* Where the server would be is a listener of ours: with a rule each way.  If the flow
 * ended meanwhile, as calls fail, nobody could tell that from a client's. */
static void comes_back(const struct sock *s, const uint8_t *p, size_t len)
{
	toy_net.inside = true;
	if (!far_datagram(&s->local, s->local_port, &s->peer, s->peer_port, p,
			  len))
		sim_fail("nobody listens in the namespace");
	toy_net.inside = false;
}

static void reaches_server(struct call *c, struct sock *s, const uint8_t *p,
			   size_t len)
{
	if (is_away(c) && s->inside && addr_is_loopback(&s->peer) &&
	    !toy_net.dgram_fails && chance(500)) {
		comes_back(s, p, len);
		return;
	}
	if (is_away(c)) {
		unreachable(s);
		return;
	}
	if (!c->talks && c->talk) {
		c->talks = true;
		c->talk += sim.now;
		busy++;
		sim_after(rnd_to(SEC), talk_on, c);
	}
	if (!chance(c->answers))
		return;
	busy++;
	sim_after(chance(50) ? rnd_to(200 * SEC) : rnd_to(5 * MS), answer, c);
}

/* Refused each time; whoever sends tries twice at most, as the first may be an old error */
static bool is_barred(struct sock *s, const uint8_t *p, size_t len, bool told)
{
	struct call *c = s->app;
	struct way *x = &c->way[s == c->s[0]];
	unsigned i = len < NAMED ? MOST : ld_be16(p + 2);

	if (i >= MOST || !x->barred[i])
		return false;
	if (!told)
		return true;
	if (++x->tried[i] == 1) {
		s->given++;
		s->used = sim.now;
		s->barred = true;
		x->via[i] = NULL;
	} else if (x->tried[i] > 2) {
		sim_fail("call %u: a datagram that is refused again and again",
			 c->no);
	}
	return true;
}

static void gets(struct sock *s, const uint8_t *p, size_t len)
{
	struct call *c = s->app;
	unsigned w = s == c->s[0];

	if (s != c->s[!w])
		sim_fail("call %u: by a socket of another flow", c->no);
	if (w && (s->local_port != c->to_port || !addr_equal(&s->local, &c->to)))
		sim_fail("call %u: answered by somebody else", c->no);
	s->given++;
	s->tx += len;
	s->used = sim.now;
	judge(c, w, p, len);
	if (chance(errs))
		unreachable(chance(500) ? s : c->s[w]);
	if (!w)
		reaches_server(c, s, p, len);
	else if (has_ended(c))
		unreachable(s);
}

/* --- errors of no datagram, or of an old one ----------------------------------------- */

static void complain(void *arg)
{
	static const int err[] = { ECONNREFUSED, EHOSTUNREACH, ENETUNREACH,
				   EMSGSIZE, EPROTO };
	struct call *c = &calls[rnd_to(ncalls)];
	struct sock *s = c->s[rnd_to(2)];
	unsigned n = (unsigned)rnd_in(1, 3);

	busy--;
	if (chance(200)) {
		s = sock_last(S_UDP_LISTEN);
		n = 1;
	}
	for (; s && s->toy.fd >= 0 && n; n--) {
		const struct sock_error e = {
			.err = err[rnd_to(ARRAY_SIZE(err))], .icmp = chance(500)
		};

		far_error(s, &e);
	}
	if (sim.now >= last + SEC && chance(500))
		return;
	busy++;
	sim_after(arg ? rnd_to(10 * MS) : rnd_to(2 * SEC), complain, arg);
}

/* --- out of the seed ------------------------------------------------------------------- */

static const struct far_dgrams ends = { claim, bound, is_barred, gets, closes };

/* Loopback has many addresses, of IPv4 */
static struct addr some_loopback(bool v6, unsigned no)
{
	return v6 || chance(600) ? addr_loopback(!v6) :
				   addr_v4(127, 0, 1, (uint8_t)(1 + no));
}

/* The same client, or one with its port at another address */
static void be_like(struct call *c, const struct call *was)
{
	c->outbound = was->outbound;
	c->v6 = was->v6;
	c->to_port = was->to_port;
	if (c->v6 || was->wrong || chance(400))
		return;
	c->from_port = was->from_port;
	c->from = addr_v4(127, 0, 2, (uint8_t)(1 + c->no));
	if (chance(500)) {
		c->from = was->from;
		c->to = addr_v4(127, 0, 3, (uint8_t)(1 + c->no));
	}
}

static void choose_server(struct call *c)
{
	unsigned place = c->to_port - FORWARD_FIRST;

	c->server_port = c->outbound ? (uint16_t)(SERVER_PORT + place) :
				       c->to_port;
	c->server = c->outbound || world.map.host_lo_to_ns_lo ? c->to :
		    c->v6 ? world.seen.v6 : world.seen.v4;
}

static void choose_times(struct call *c)
{
	c->gap = chance(300) ? rnd_to(100 * US) : chance(800) ? rnd_to(50 * MS) :
		 rnd_to(3 * SEC);
	c->pause = chance(600) ? c->gap :
		   chance(500) ? rnd_to(40 * SEC) : rnd_to(150 * SEC);
	c->opens = chance(800) ? 0 : sim.now + rnd_to(3 * SEC);
	c->leaves = c->comes = 0;
	if (chance(200)) {
		c->leaves = sim.now + rnd_to(3 * SEC);
		c->comes = c->leaves + rnd_to(2 * SEC);
	}
	c->ends = chance(850) ? 0 : sim.now + rnd_in(1, 3 * SEC);
	c->talk = chance(700) ? 0 : rnd_in(1, 3 * SEC);
}

static void make_call(struct call *c, unsigned no)
{
	*c = (struct call){ .no = no, .outbound = chance(500),
			    .v6 = chance(300) };
	c->to_port = (uint16_t)(FORWARD_FIRST + rnd_to(FORWARD_PORTS));
	if (no && chance(500))
		be_like(c, c - 1);
	if (addr_is_none(&c->from))
		c->from = some_loopback(c->v6, no);
	if (addr_is_none(&c->to))
		c->to = some_loopback(c->v6, no);
	if (!c->from_port)
		c->from_port = (uint16_t)(DGRAM_PORT + no);
	if (chance(50))
		c->wrong = c->outbound && chance(500) ? W_FOREIGN : W_PORT_ZERO;
	if (c->wrong == W_PORT_ZERO)
		c->from_port = 0;
	if (c->wrong == W_FOREIGN)
		c->from = c->v6 ? world.seen.v6 : world.seen.v4;
	choose_server(c);
	choose_times(c);
	c->burst = chance(500) ? 1 : (unsigned)rnd_in(1, BURST);
	c->way[0].total = (unsigned)rnd_in(1, chance(500) ? 5 : MOST);
	c->way[1].total = MOST;
	c->answers = chance(300) ? 0 : chance(500) ? 1000 : (unsigned)rnd_to(1000);
	trace("call %u: %s, v%c, from port %u to port %u, %u datagrams%s", no,
	      c->outbound ? "out" : "in", c->v6 ? '6' : '4', c->from_port,
	      c->to_port, c->way[0].total,
	      c->wrong ? ", from nowhere" : "");
	busy++;
	sim_after(rnd_to(3 * SEC), call_on, c);
}

void dgrams_start(struct ns *ns)
{
	unsigned i;

	world.udp.splice.ns = ns;
	toy_net.dgrams = &ends;
	toy_net.dgram_fails = chance(700) ? 0 :
			      (unsigned)rnd_to(chance(500) ? 50 : 400);
	bars = chance(200) ? (unsigned)rnd_to(200) : 0;
	errs = chance(300) ? (unsigned)rnd_to(300) : 0;
	refused = 0;
	runs = true;
	opening = NULL;
	busy = 0;
	last = sim.now;
	ncalls = chance(200) ? 0 : (unsigned)rnd_in(1, CALLS);
	for (i = 0; i < ncalls; i++)
		make_call(&calls[i], i);
	if (ncalls && chance(400)) {
		busy++;
		sim_after(rnd_to(SEC), complain, chance(500) ? calls : NULL);
	}
}

/* --- what must hold --------------------------------------------------------------------- */

void dgrams_lose(void)
{
	toy_net.dgram_lost++;
	toy_net.dgram_failed = sim.now;
}

bool dgrams_rest(void)
{
	return !busy && sim.now > last + SEC;
}

static unsigned lost(const struct way *x)
{
	unsigned i, n = x->shorts_due - x->shorts_seen;

	for (i = 0; i < x->sent; i++) {
		if (x->size[i] < NAMED || !x->via[i] || x->seen[i])
			continue;
		trace("datagram %u of %zu is lost", i, x->size[i]);
		n++;
	}
	return n;
}

void dgrams_judge(void)
{
	unsigned i, n = 0;

	for (i = 0; i < ncalls; i++) {
		n += lost(&calls[i].way[0]) + lost(&calls[i].way[1]);
		if (!toy_net.dgram_lost && n)
			sim_fail("call %u: %u there and %u back are lost", i,
				 lost(&calls[i].way[0]), lost(&calls[i].way[1]));
	}
	if (world.udp.drops[DROP_SOCKET] < refused)
		sim_fail("%llu datagrams refused, %llu counted",
			 (unsigned long long)refused,
			 (unsigned long long)world.udp.drops[DROP_SOCKET]);
	if (n > toy_net.dgram_lost)
		sim_fail("%u datagrams lost, of %u calls have failed", n,
			 toy_net.dgram_lost);
}
