/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The namespace's side: connections from socket to socket, and both their ends.
 *
 * Clients of the host's loopback address find the ports of the rules that rules.c has,
 * and servers in the namespace; clients there find a table of its own, and servers on
 * the host.  Both ends know which bytes come at each place.  What one writes the other
 * reads, all of it if nobody resets; an end comes after the last byte, a reset is passed
 * on.  No more connections are lost than calls have failed.
 */
#include "sim.h"

#include <errno.h>
#include <netinet/in.h>

enum { PAIRS = 16, CLIENT_PORT = 13000, KEY = 40 };

enum fate {
	F_CLEAN, F_RESET, /* an end aborts */
	F_CLOSE,   /* or closes while it is written to */
	F_REFUSED, F_UNREACHABLE, F_TIMEOUT, /* by the server's host */
	FATES,
};

static const char *const fate_name[FATES] = {
	"clean", "reset", "closes early", "refused", "unreachable",
	"connect times out",
};

struct end {
	struct pair *pair;
	struct sock *s;
	unsigned side; /* 0: the client's */
	uint64_t bytes, sent, got;
	uint64_t pause, rtt;
	size_t chunk, tx_cap, rx_cap;
	unsigned refuse, urgent;
	bool waits; /* ends only after the other one's end */
	bool polite; /* or once it has all bytes of the other one */
	uint64_t sleeps; /* does nothing until then */
	bool stubborn; /* reads nothing before it has written all */
	bool eof, fin, rst, aborted, done, due;
};

static struct pair {
	unsigned no;
	bool outbound, v6, begun, sync;
	bool nowhere; /* no rule is for the loopback address */
	enum fate fate;
	unsigned who;	   /* aborts or closes */
	uint64_t abort_at; /* bytes written and read by then */
	uint64_t knocks;   /* when */
	struct end end[2];
} pairs[PAIRS];
static unsigned npairs, visit_fails;
static struct splice splice_state;
static struct ns ns;
static bool runs;

static const struct addr *lo(bool v6)
{
	static struct addr a[2];

	a[v6] = addr_loopback(!v6);
	return &a[v6];
}

/* --- both ends ------------------------------------------------------------- */

static void step(void *arg);
static void knock(void *arg);

static void later(struct end *e)
{
	if (e->due || e->done)
		return;
	e->due = true;
	sim_after(e->rtt / 2 + rnd_in(US, e->pause + US), step, e);
}

static void kicked(struct sock *s)
{
	later(s->app);
}

static void finish(struct end *e)
{
	e->done = true;
	trace("  pair %u.%u: %s", e->pair->no, e->side,
	      e->rst ? "reset" : e->aborted ? "has aborted" : "closed");
}

static void attach(struct end *e, struct sock *s)
{
	e->s = s;
	s->app = e;
	s->kicked = kicked;
	/* [0]: what goes to it, so what its other end writes */
	s->key[0] = KEY + 2 * e->pair->no + !e->side;
	s->key[1] = KEY + 2 * e->pair->no + e->side;
	s->tx_cap = e->tx_cap;
	s->rx_cap = e->rx_cap;
	s->refuse = e->refuse;
}

static void write_some(struct end *e)
{
	size_t n = MIN(e->chunk, e->bytes - e->sent);

	e->sent += chance(e->urgent) ? far_urgent(e->s, n) : far_write(e->s, n);
	if (e->sent < e->bytes || e->fin || (e->waits && !e->eof) ||
	    (e->polite && e->got < e->pair->end[!e->side].bytes))
		return;
	if (e->pair->fate == F_RESET && e->pair->who == e->side) {
		later(e);
		return;
	}
	e->fin = true;
	if (e->pair->fate == F_CLOSE && e->pair->who == e->side) {
		e->aborted = true;
		far_close(e->s);
		finish(e);
	} else {
		far_fin(e->s);
	}
}

static void read_some(struct end *e)
{
	if (e->stubborn && e->sent < e->bytes)
		return;
	e->got += far_read(e->s, rnd_in(1, e->chunk));
	if (far_eof(e->s) && !e->eof) {
		e->eof = true;
		trace("  pair %u.%u: end of file", e->pair->no, e->side);
	}
}

/* A reset is passed on at once, whatever else there is to be done */
static void is_told(void *arg)
{
	const struct pair *p = arg;
	unsigned i;

	for (i = 0; i < 2; i++)
		if (p->end[i].s && p->end[i].s->toy.fd >= 0)
			sim_fail("pair %u: side %u is open after a reset",
				 p->no, i);
}

static void abort_end(struct end *e)
{
	e->aborted = true;
	far_reset(e->s, 0);
	finish(e);
	sim_after(SEC, is_told, e->pair);
}

/* A client that is tired of waiting */
static void give_up(void *arg)
{
	struct end *e = arg;

	if (!e->done && e->s && !e->s->rst_tx && e->s->toy.fd >= 0)
		abort_end(e);
}

static bool aborts(struct end *e)
{
	struct pair *p = e->pair;

	if (p->fate != F_RESET || p->who != e->side ||
	    e->got + e->sent < p->abort_at)
		return false;
	abort_end(e);
	return true;
}

/* The port was closed before it was accepted: as if it had never knocked */
static void knock_again(struct end *e)
{
	e->s->kicked = NULL;
	e->s->app = NULL;
	e->sent = e->got = 0;
	e->eof = e->fin = false;
	e->pair->begun = false;
	sim_after(rnd_in(1, 100) * MS, knock, e->pair);
}

static void step(void *arg)
{
	struct end *e = arg;
	struct sock *s = e->s;

	e->due = false;
	if (e->done || s->state == S_CONNECTING || s->state == S_NEW)
		return;
	if (s->rst_tx && s->toy.fd < 0 && !s->orphan) {
		knock_again(e);
		return;
	}
	if (s->rst_tx) {
		e->rst = true;
		finish(e);
		return;
	}
	if (sim.now < e->sleeps || aborts(e))
		return;
	read_some(e);
	write_some(e);
	if (e->done)
		return;
	if (e->eof && e->fin) {
		if (s->orphan || s->rx == s->rx_read)
			finish(e);
		return;
	}
	if (s->tx > s->tx_seen ||
	    (e->sent < e->bytes && s->rx - s->rx_read < s->rx_cap))
		later(e);
}

static void awake(void *arg)
{
	struct end *e = arg;

	if (e->s)
		later(e);
}

/* --- a connection begins ------------------------------------------------------ */

static void knock(void *arg)
{
	struct pair *p = arg;
	struct end *e = &p->end[0];
	uint16_t to = (uint16_t)(FORWARD_FIRST + p->no);
	uint16_t port = p->outbound ? rules_inside_port(p->v6, to) :
				      rules_loopback_port(p->v6, to);
	struct sock *s = NULL;

	toy_net.inside = p->outbound;
	if (port)
		s = far_connect(lo(p->v6), (uint16_t)(CLIENT_PORT + p->no),
				lo(p->v6), port);
	toy_net.inside = false;
	if (!s && !p->outbound && clients_rest() && host_rest()) {
		p->begun = p->nowhere = e->done = true;
		return;
	}
	if (!s) {
		sim_after(rnd_in(1, 100) * MS, knock, p);
		return;
	}
	trace("  pair %u knocks", p->no);
	p->begun = true;
	attach(e, s);
	later(e);
	if (p->fate == F_RESET && chance(400)) {
		p->end[!p->who].sleeps = sim.now + 3 * SEC;
		sim_after(3 * SEC, awake, &p->end[!p->who]);
	}
	if (p->fate == F_TIMEOUT && chance(500))
		sim_after(rnd_in(1, 100) * SEC, give_up, e);
}

static void answer(void *arg)
{
	struct pair *p = arg;
	struct end *e = &p->end[1];

	if (!p->v6 && !e->s->errs && chance(50)) {
		far_queues_error(e->s, ECONNREFUSED);
		sim_after(rnd_to(100 * US), answer, p);
		return;
	}
	if (p->fate == F_REFUSED || p->fate == F_TIMEOUT) {
		far_refused(e->s, p->fate == F_REFUSED ? ECONNREFUSED :
							 ETIMEDOUT);
		e->done = true;
		return;
	}
	far_connected(e->s);
	later(e);
}

static bool is_ours(const struct sock *s)
{
	return s->inside || (addr_is_loopback(&s->peer) &&
			     s->peer_port >= SERVER_PORT &&
			     s->peer_port < SERVER_PORT + PAIRS);
}

/* The product connects, right after it has accepted */
bool splice_connect(struct sock *s, int *err)
{
	struct sock *from = toy_net.accepted;
	struct end *e;
	struct pair *p;

	if (!runs || !is_ours(s))
		return false;
	if (!from || from->kicked != kicked)
		sim_fail("a connection to port %u of the %s without a client",
			 s->peer_port, s->inside ? "namespace" : "host");
	p = ((struct end *)from->app)->pair;
	e = &p->end[1];
	if (e->s || s->inside == p->outbound ||
	    s->peer_port != (p->outbound ? SERVER_PORT : FORWARD_FIRST) + p->no)
		sim_fail("pair %u connects to port %u of the %s", p->no,
			 s->peer_port, s->inside ? "namespace" : "host");
	if (p->outbound && policy_denies(IPPROTO_TCP, &s->peer, s->peer_port))
		sim_fail("pair %u must not go", p->no);
	toy_net.accepted = NULL;
	attach(e, s);
	*err = -EINPROGRESS;
	if (p->fate == F_UNREACHABLE) {
		e->done = true;
		*err = -ENETUNREACH;
	} else if (p->sync && p->fate < F_REFUSED) {
		later(e);
		*err = 0;
	} else {
		sim_after(p->fate == F_TIMEOUT ? 127 * SEC : e->rtt, answer, p);
	}
	return true;
}

/* --- out of the seed ------------------------------------------------------------ */

static uint64_t some_bytes(void)
{
	switch (rnd_to(7)) {
	case 0: return 0;
	case 1: return rnd_in(1, 10);
	case 2: return rnd_in(1, 3000);
	case 3: return rnd_in(300 * 1000, 3000 * 1000);
	default: return rnd_in(1, 200 * 1000);
	}
}

static void make_end(struct pair *p, unsigned side)
{
	struct end *e = &p->end[side];

	*e = (struct end){ .pair = p, .side = side, .bytes = some_bytes() };
	e->chunk = chance(300) ? rnd_in(1, 2000) : rnd_in(1000, 400 * 1000);
	e->chunk = MAX(e->chunk, p->end[0].bytes / 100);
	e->chunk = MAX(e->chunk, e->bytes / 100);
	e->pause = chance(200) ? rnd_to(50 * MS) :
		   chance(500) ? rnd_to(500 * US) : 0;
	if (e->pause > MS) /* six hours are all there is */
		e->chunk = MAX(e->chunk, 20);
	e->rtt = chance(500) ? rnd_to(100 * US) : rnd_to(5 * MS);
	e->tx_cap = chance(300) ? rnd_in(4608, 20000) :
				  rnd_in(10000, 1000 * 1000);
	e->rx_cap = chance(300) ? rnd_in(2304, 20000) :
				  rnd_in(10000, 2000 * 1000);
	e->refuse = chance(200) ? (unsigned)rnd_to(300) : 0;
	e->urgent = chance(200) ? (unsigned)rnd_to(600) : 0;
}

static void make_pair(struct pair *p, unsigned no)
{
	*p = (struct pair){ .no = no, .outbound = chance(500),
			    .v6 = chance(400), .sync = chance(200) };
	p->fate = chance(600) ? F_CLEAN : (enum fate)rnd_to(FATES);
	p->who = (unsigned)rnd_to(2);
	make_end(p, 0);
	make_end(p, 1);
	if (p->fate == F_CLEAN && chance(500))
		p->end[rnd_to(2)].waits = true;
	else if (p->fate == F_CLEAN)
		p->end[0].polite = p->end[1].polite = chance(700);
	if (p->fate == F_CLEAN && chance(300))
		p->end[rnd_to(2)].stubborn = true;
	p->abort_at = rnd_to((p->end[0].bytes + p->end[1].bytes) / 2 + 1);
	if (p->fate == F_RESET) /* before it has ended */
		p->abort_at = MIN(p->abort_at, p->end[p->who].bytes);
	trace("pair %u: %s, v%c, %s by %u, %llu bytes, %llu back, buffers %zu "
	      "%zu, %zu %zu", no, p->outbound ? "out" : "in", p->v6 ? '6' : '4',
	      fate_name[p->fate], p->who, (unsigned long long)p->end[0].bytes,
	      (unsigned long long)p->end[1].bytes, p->end[0].tx_cap,
	      p->end[0].rx_cap, p->end[1].tx_cap, p->end[1].rx_cap);
	sim_after(chance(500) ? 1 : rnd_to(3 * SEC), knock, p);
}

/* Whoever may enter: all sockets that @fn makes are of the namespace.  That fails, but not
 * while rules change, or a table would be the old one. */
static int visit(void *owner, int (*fn)(void *arg), void *arg)
{
	int ret;

	(void)owner;
	if (!listen_busy(world.listen) && chance(visit_fails)) {
		toy_net.failed++;
		dgrams_lose();
		return -ENOMEM;
	}
	toy_net.inside = true;
	ret = fn(arg);
	toy_net.inside = false;
	return ret;
}

static void listen_inside(void)
{
	int err = listen_start(world.listen, PIF_SPLICE, rules_inside());

	if (err)
		sim_fail("listeners of the namespace: %d", err);
}

void splice_reset(void)
{
	runs = false;
	pipe_reset();
}

void splice_start(void)
{
	unsigned i;

	runs = true;
	ns = (struct ns){ .run = visit };
	sock_init(&ns.env);
	visit_fails = 0;
	world.splice = &splice_state;
	world.kept = splice_toys;
	world.listen->ns = &ns;
	world.map.splice = true;
	world.map.host_lo_to_ns_lo = chance(500);
	splice_init(&splice_state, &world.flows, &world.fwd, &ns);
	tcp_splice(&world.tcp, &splice_state);
	listen_inside();
	toy_net.pipe_fails = chance(700) ? 0 : chance(400) ? 1000 :
			     (unsigned)rnd_to(1000);
	toy_net.splice_fails = chance(200) ? (unsigned)rnd_to(200) : 0;
	visit_fails = chance(200) ? (unsigned)rnd_to(300) : 0;
	npairs = (unsigned)rnd_in(1, PAIRS);
	for (i = 0; i < npairs; i++)
		make_pair(&pairs[i], i);
	dgrams_start(&ns);
}

/* --- what must hold -------------------------------------------------------------- */

static unsigned pooled(void)
{
	unsigned kind, n = 0;

	for (kind = 0; kind < NS_KINDS; kind++)
		n += ns.pool[kind][0].n + ns.pool[kind][1].n;
	return n;
}

unsigned splice_toys(void)
{
	/* Pipes that are spare are kept, and nothing else is */
	return runs ? pooled() + 2 * splice_state.spares : 0;
}

bool splice_rest(void)
{
	unsigned i;

	for (i = 0; runs && i < npairs; i++) {
		const struct pair *p = &pairs[i];

		if (!p->begun || !p->end[0].done ||
		    (p->end[1].s && !p->end[1].done))
			return false;
	}
	return !runs || dgrams_rest();
}

#define must(p, cond)                                                          \
	do {                                                                   \
		if (!(cond))                                                   \
			sim_fail("pair %u (%s): not %s", (p)->no,              \
				 fate_name[(p)->fate], #cond);                 \
	} while (0)

static bool lost(const struct pair *p)
{
	return p->end[0].rst && !p->end[1].aborted && !p->end[0].got && !p->end[1].got &&
	       (!p->end[1].s || p->end[1].rst || p->end[1].s->state != S_UP);
}

static bool judge_pair(const struct pair *p)
{
	const struct end *a = &p->end[0], *b = &p->end[1];
	const struct end *other = &p->end[!p->who];

	if (p->nowhere)
		return true;
	if (p->outbound && policy_denies(IPPROTO_TCP, lo(p->v6),
					 (uint16_t)(SERVER_PORT + p->no))) {
		must(p, !b->s && (a->rst || a->aborted));
		return true;
	}
	if (toy_net.failed && p->fate < F_REFUSED && lost(p))
		return false;
	if (p->fate == F_CLEAN) {
		must(p, a->eof && b->eof && !a->rst && !b->rst);
		must(p, b->got == a->bytes && a->got == b->bytes);
	} else if (p->fate == F_RESET) {
		must(p, !p->end[p->who].aborted || !other->s || other->rst ||
			other->s->state != S_UP);
	} else if (p->fate == F_CLOSE) {
		must(p, !other->s || other->rst || other->eof);
	} else {
		must(p, (a->rst || a->aborted) && !a->eof && !a->got);
	}
	return true;
}

static void judge_pipes(void)
{
	const struct splice_pipe *q;
	unsigned n = 0;

	for (q = splice_state.unmade; q; q = q->next)
		n++;
	for (q = splice_state.spare; q; q = q->next) {
		n++;
		if (pipe_holds(q->fd[1]))
			sim_fail("a spare pipe holds %zu bytes",
				 pipe_holds(q->fd[1]));
	}
	if (n != SPLICE_PIPES || pipe_toys() != 2 * splice_state.spares)
		sim_fail("%u places for pipes, %u ends are open", n,
			 pipe_toys());
}

void splice_judge(void)
{
	unsigned i, gone = 0;

	if (!runs)
		return;
	for (i = 0; i < npairs; i++)
		gone += !judge_pair(&pairs[i]);
	if (gone > toy_net.failed)
		sim_fail("%u connections lost, %u calls failed", gone,
			 toy_net.failed);
	judge_pipes();
	dgrams_judge();
}
