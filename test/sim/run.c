/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Scenarios from seeds: connections, datagrams, weather, and what must hold.
 *
 * Everything comes out of the seed.  A scenario is over when every flow, timer
 * and descriptor is gone; then each plan is compared with what became of it.
 */
#include "sim.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>

/* One seed of RINGS_SHARE has rings, one of POLICY_SHARE an outbound policy, one of
 * SPLICE_SHARE a namespace */
enum { PLANS = 8, UFLOWS = 4, ECHO_PORT = 7000,
       ASK_PORT = 41000, HOURS = 6, RINGS_SHARE = 4, POLICY_SHARE = 7,
       SPLICE_SHARE = 9 };

/* No connection is kept for longer when its address has gone: patience, and perhaps
 * once more, looks, one that failed */
#define KEPT_MAX (40 * SEC)

struct uflow {
	unsigned no, total, sent, back;
	bool v6, inbound, seen[64];
	uint16_t gport, fport;
	size_t size[64];
	uint64_t gap;
	bool burst;
};

static struct course plans[PLANS];
static struct uflow uflows[UFLOWS];
static unsigned nplans, nuflows, started, chunks_kept;
static unsigned changes; /* of the host */

struct course *plan_find(bool guest_opens, uint16_t fport, uint16_t gport)
{
	unsigned i;

	for (i = 0; i < nplans; i++)
		if (plans[i].guest_opens == guest_opens &&
		    plans[i].fport == fport &&
		    (guest_opens || plans[i].gport == gport))
			return &plans[i];
	return NULL;
}

/* --- the far application -------------------------------------------------- */

static void far_step(void *arg);
static void far_finish(struct course *p);
static void knock_again(struct course *p);

static void far_later(struct course *p)
{
	if (p->far_step_due || p->far_done)
		return;
	p->far_step_due = true;
	sim_after(p->rtt / 2 + rnd_in(US, p->pause[1] + US), far_step, p);
}

static void far_kick(struct sock *s)
{
	if (s->app)
		far_later(s->app);
}

static void attach(struct course *p, struct sock *s)
{
	p->s = s;
	s->app = p;
	s->key[0] = 2 * p->no;
	s->key[1] = 2 * p->no + 1;
	s->tx_cap = p->tx_cap;
	s->rx_cap = p->rx_cap;
	s->refuse = p->refuse;
}

/* Nothing gets through while the host has not got the socket's address.  For so long
 * none is kept, unless that was never seen; and in the end both kernels give up. */
static bool is_cut_off(struct course *p, event_fn *again)
{
	const struct addr *ours = &p->s->local;
	uint64_t ns = host_outage(ours, p->begun, sim.now);

	if (!host_lacks(ours))
		return false;
	if (ns <= KEPT_MAX) {
		sim_after(SEC, again, p);
		return true;
	}
	if (p->s->toy.fd >= 0 && host_saw(ours))
		sim_fail("connection %u is kept, and its address gone", p->no);
	far_reset(p->s, ETIMEDOUT);
	p->far_rst = true;
	far_finish(p);
	return true;
}

static void answer(void *arg)
{
	struct course *p = arg;

	if (is_cut_off(p, answer))
		return;
	if (p->complaints && !p->v6 && !p->s->errs && chance(p->complaints)) {
		far_queues_error(p->s, ECONNREFUSED);
		sim_after(rnd_to(100 * US), answer, p);
		return;
	}
	if (p->ending == END_REFUSED)
		far_refused(p->s, ECONNREFUSED);
	else if (p->ending == END_TIMEOUT)
		far_refused(p->s, ETIMEDOUT);
	else
		far_connected(p->s);
	p->far_up = p->s->state == S_UP;
	p->far_done = !p->far_up;
	far_later(p);
}

static void refuse_again(void *arg)
{
	far_refused(arg, ECONNREFUSED);
}

static int connecting(struct sock *s)
{
	struct course *p = plan_find(true, s->peer_port, 0);

	int err;

	if (splice_connect(s, &err))
		return err;
	if (policy_connect(s))
		return -EINPROGRESS;
	if (!p)
		sim_fail("connect to port %u: nobody's", s->peer_port);
	if (p->far_done || (p->guest_up && p->s->orphan)) {
		/* a late SYN, or one whose answers were all lost */
		sim_after(p->rtt, refuse_again, s);
		return -EINPROGRESS;
	}
	if (p->s && !p->s->orphan)
		sim_fail("connection %u: a second connect", p->no);
	attach(p, s);
	if (p->ending == END_UNREACHABLE || addr_is_none(host_addr(p->v6))) {
		p->far_done = true;
		return -ENETUNREACH;
	}
	if (p->sync_connect && p->ending != END_REFUSED &&
	    p->ending != END_TIMEOUT) {
		p->far_up = true;
		far_later(p);
		return 0;
	}
	sim_after(p->ending == END_TIMEOUT ? 127 * SEC : p->rtt, answer, p);
	return -EINPROGRESS;
}

static void far_finish(struct course *p)
{
	p->far_done = true;
	p->over = sim.now;
	trace("  far %u: %s", p->no, p->far_rst ? "reset" : "closed");
}

static void far_aborts(struct course *p)
{
	trace("  far %u: aborts", p->no);
	p->aborted = true;
	far_reset(p->s, 0);
	far_finish(p);
}

static void far_reads(struct course *p)
{
	p->got[0] += far_read(p->s, rnd_in(1, p->chunk[1]));
	if (far_eof(p->s) && !p->far_got_eof) {
		p->far_got_eof = true;
		trace("  far %u: end of file", p->no);
	}
}

static void far_writes(struct course *p)
{
	size_t n = MIN(p->chunk[1], p->bytes[1] - p->sent[1]);

	p->sent[1] += p->urgent && chance(p->urgent) ? far_urgent(p->s, n) :
						       far_write(p->s, n);
	if (p->sent[1] < p->bytes[1] || p->far_fin_sent ||
	    (p->waits[1] && !p->far_got_eof))
		return;
	p->far_fin_sent = true;
	if (p->ending == END_FAR_CLOSE) {
		far_close(p->s);
		far_finish(p);
	} else {
		far_fin(p->s);
	}
}

static void far_step(void *arg)
{
	struct course *p = arg;
	struct sock *s = p->s;

	p->far_step_due = false;
	if (!p->far_done && is_cut_off(p, far_step)) {
		p->far_step_due = !p->far_done;
		return;
	}
	if (p->far_done || s->state == S_CONNECTING || s->state == S_NEW)
		return;
	if (s->rst_tx && s->toy.fd < 0 && !s->orphan) {
		knock_again(p);
		return;
	}
	if (s->rst_tx) {
		p->far_rst = true;
		far_finish(p);
		return;
	}
	if (p->ending == END_FAR_RST &&
	    p->got[0] + p->sent[1] >= p->abort_at) {
		far_aborts(p);
		return;
	}
	far_reads(p);
	far_writes(p);
	if (p->far_done)
		return;
	if (p->far_got_eof && p->far_fin_sent) {
		/* Its kernel still has to hear that our bytes were read */
		if (s->orphan || s->rx == s->rx_read)
			far_finish(p);
		return;
	}
	if (s->tx > s->tx_seen ||
	    (p->sent[1] < p->bytes[1] && s->rx - s->rx_read < s->rx_cap))
		far_later(p);
}

/* --- UDP: echo at both ends ----------------------------------------------- */

static void udp_fill(const struct uflow *u, uint8_t *p, unsigned i)
{
	size_t k;

	for (k = 0; k < u->size[i]; k++)
		p[k] = pattern(100 + u->no, i + k);
	if (u->size[i] >= 2) {
		p[0] = (uint8_t)u->no;
		p[1] = (uint8_t)i;
	}
}

static void udp_judge(struct uflow *u, const uint8_t *p, size_t len,
		      const char *where)
{
	static uint8_t want[65536];
	unsigned i = len >= 2 ? p[1] : 0;

	if (len < 2) /* too short to have a name */
		return;
	if (i >= u->total || len != u->size[i])
		sim_fail("UDP %u %s: datagram of %zu bytes", u->no, where, len);
	udp_fill(u, want, i);
	if (memcmp(want, p, len))
		sim_fail("UDP %u %s: datagram %u has wrong bytes", u->no,
			 where, i);
	if (world.tap.w.dup)
		u->seen[i] = false;
}

static void udp_back(struct uflow *u, const uint8_t *p, size_t len)
{
	udp_judge(u, p, len, "back");
	if (len >= 2 && u->seen[p[1]])
		sim_fail("UDP %u: datagram %u came twice", u->no, p[1]);
	if (len >= 2)
		u->seen[p[1]] = true;
	u->back++;
}

/* Who calls another address of the host is another caller: the guest, which has one
 * address, is shown another port */
static struct uflow *uflow_find(bool inbound, uint16_t gport, uint16_t fport)
{
	bool any = inbound && host_changes();
	unsigned i;

	for (i = 0; i < nuflows; i++)
		if (uflows[i].inbound == inbound && uflows[i].gport == gport &&
		    (uflows[i].fport == fport || any))
			return &uflows[i];
	sim_fail("datagram between ports %u and %u: nobody's", gport, fport);
}

struct query {
	struct uflow *u;
	struct addr to;
	uint16_t port;
	size_t len;
	uint8_t data[];
};

static void echo(void *arg)
{
	struct query *e = arg;

	far_datagram(&far_addr[e->u->v6], e->u->fport, &e->to, e->port,
		     e->data, e->len);
	free(e);
}

bool plan_answers(uint16_t gport)
{
	return gport >= FORWARD_FIRST && gport < FORWARD_FIRST + FORWARD_PORTS;
}

/* The product sent a datagram to the far end */
static void far_gets(struct sock *s, const uint8_t *p, size_t len,
		     const struct addr *to, uint16_t port)
{
	struct uflow *u;
	struct query *e;

	if (policy_gets(s, to, port, plan_answers(s->local_port)))
		return;
	if (port >= ECHO_PORT) {
		u = uflow_find(false, s->local_port, port);
		udp_judge(u, p, len, "there");
		e = malloc(sizeof(*e) + len + 1);
		*e = (struct query){ u, s->local, s->local_port, len };
		memcpy(e->data, p, len);
		sim_after(rnd_in(100 * US, 2 * MS), echo, e);
		return;
	}
	if (!addr_equal(to, &far_addr[!addr_is_v4(to)]))
		sim_fail("datagram to a stranger");
	udp_back(uflow_find(true, s->local_port, port), p, len);
}

void guest_udp(const struct seg *s)
{
	struct seg r = { .src = s->dst, .dst = s->src, .proto = IPPROTO_UDP,
			 .sport = s->dport, .dport = s->sport,
			 .data = s->data, .len = s->len };
	bool v6 = !addr_is_v4(&s->src);
	struct uflow *u;

	if (!addr_equal(&s->src, &far_addr[v6]) ||
	    !addr_equal(&s->dst, &guest_addr[v6]))
		sim_fail("datagram to the guest has foreign addresses");
	if (s->dport >= ASK_PORT) {
		udp_back(uflow_find(false, s->dport, s->sport), s->data,
			 s->len);
		return;
	}
	u = uflow_find(true, s->dport, s->sport);
	udp_judge(u, s->data, s->len, "there");
	guest_send(&r);
}

static void udp_send(void *arg)
{
	struct uflow *u = arg;
	static uint8_t buf[65536];
	unsigned n = u->burst ? u->total : 1;

	for (; n && u->sent < u->total; n--, u->sent++) {
		struct seg s = { .src = guest_addr[u->v6],
				 .dst = far_addr[u->v6], .proto = IPPROTO_UDP,
				 .sport = u->gport, .dport = u->fport,
				 .data = buf, .len = u->size[u->sent] };

		udp_fill(u, buf, u->sent);
		if (!u->inbound)
			guest_send(&s);
		else if (addr_is_none(host_addr(u->v6)))
			continue;
		else if (!far_datagram(&far_addr[u->v6], u->fport,
				       host_addr(u->v6), u->gport, buf, s.len))
			sim_fail("no socket for a datagram to %u", u->gport);
	}
	if (u->sent < u->total)
		sim_after(u->gap, udp_send, u);
}

static const struct far_ops run_far = { connecting, far_kick, far_gets };

/* --- out of the seed ------------------------------------------------------ */

static uint32_t some_bytes(void)
{
	switch (rnd_to(6)) {
	case 0: return 0;
	case 1: return (uint32_t)rnd_in(1, 10);
	case 2: return (uint32_t)rnd_in(1, 3000);
	case 3: return (uint32_t)rnd_in(1, 300 * 1000);
	default: return (uint32_t)rnd_in(1, 60 * 1000);
	}
}

static void make_weather(void)
{
	struct link_weather *w = &world.tap.w;
	struct toy_tap *t = &world.tap;

	w->delay = rnd_in(5, 500) * US;
	w->clean = chance(300);
	if (!w->clean) {
		w->loss[0] = chance(600) ? (unsigned)rnd_to(101) : 0;
		w->loss[1] = chance(600) ? (unsigned)rnd_to(101) : 0;
		w->dup = chance(300) ? (unsigned)rnd_to(100) : 0;
		w->reorder = chance(400) ? (unsigned)rnd_to(300) : 0;
		w->jitter = rnd_in(10, 5000) * US;
		w->stuff = chance(400) ? (unsigned)rnd_to(100) : 0;
		w->card = chance(200) ? (unsigned)rnd_in(2, 30) : 0;
		w->card_ns = rnd_in(1, 200) * US;
	}
	t->tap.caps.tso = t->tap.caps.tso_in = chance(500);
	t->tap.caps.uso = t->tap.caps.tso && chance(700);
	t->tap.caps.runs = chance(700);
	t->tap.caps.apart = t->tap.caps.tso && t->tap.caps.runs;
	t->tap.caps.queue = (unsigned)rnd_in(2, 200);
	t->pieces = (unsigned)rnd_in(1, 40);
	t->tso_room = chance(700) ? 65000 : rnd_in(1, 65000);
	t->big = t->tap.caps.uso && t->tap.caps.runs && t->tso_room == 65000;
	if (t->big)
		t->tso_room = 200000;
	t->lend = (unsigned)rnd_in(1, 64);
	t->drain = rnd_in(1, 50) * US;
	world.lan.mtu = chance(500) ? 1500 : chance(300) ? 9000 : MTU_DEFAULT;
	if (t->big) /* runs of large segments are longer */
		world.lan.mtu = MTU_DEFAULT;
	world.env.peek_off4 = chance(700);
	world.env.peek_off6 = chance(700);
	world.env.inherits = chance(500);
	world.env.gso = chance(500);
	world.env.gro = chance(500);
}

static int some_mss(bool v6)
{
	int most = (int)world.lan.mtu - (v6 ? 60 : 40);

	if (world.tap.big && chance(800))
		return most;
	switch (rnd_to(8)) {
	case 0: return -1;
	case 1: return (int)rnd_to(4);
	case 2: return (int)rnd_in(4, 536);
	case 3: return most;
	default: return 1460;
	}
}

static enum ending some_ending(bool guest_opens, bool alone)
{
	static const enum ending out[] = {
		END_GUEST_RST, END_FAR_RST, END_FAR_CLOSE, END_GUEST_GONE,
		END_REFUSED, END_UNREACHABLE, END_TIMEOUT, END_NO_SOCKET,
	}, in[] = {
		END_GUEST_RST, END_FAR_RST, END_FAR_CLOSE, END_GUEST_GONE,
		END_GUEST_REFUSES, END_GUEST_SILENT,
	};

	if (chance(600))
		return END_CLEAN;
	return guest_opens ? out[rnd_to(alone ? 8 : 7)] : in[rnd_to(6)];
}

static void some_side(struct course *p, unsigned side)
{
	p->chunk[side] = chance(300) ? rnd_in(1, 2000) :
				       rnd_in(1000, 200 * 1000);
	p->pause[side] = changes && chance(500) ? rnd_to(3 * SEC) :
			 chance(200) ? rnd_to(50 * MS) :
			 chance(500) ? rnd_to(500 * US) : 0;
	/* A byte at a time for minutes teaches nothing new */
	p->chunk[side] = MAX(p->chunk[side], p->bytes[0] / 100);
	p->chunk[side] = MAX(p->chunk[side], p->bytes[1] / 100);
}

static void make_plan(struct course *p, unsigned no)
{
	unsigned i;

	*p = (struct course){ .no = no };
	p->v6 = chance(400);
	p->guest_opens = chance(600);
	p->ending = some_ending(p->guest_opens, nplans == 1);
	p->complaints = p->ending == END_REFUSED ? 300 : 50;
	for (i = 0; i < 2; i++)
		p->bytes[i] = some_bytes();
	for (i = 0; i < 2; i++)
		some_side(p, i);
	p->abort_at = (uint32_t)rnd_to((p->bytes[0] + p->bytes[1]) / 2 + 1);
	if (p->ending == END_CLEAN && chance(600))
		p->waits[rnd_to(2)] = true;
	p->start = rnd_to(changes && chance(500) ? 60 * SEC :
			  chance(500)		 ? 1 :
						   2 * SEC);
	p->gport = p->guest_opens ? (uint16_t)(40000 + no) :
				    (uint16_t)(FORWARD_FIRST + no);
	p->fport = (uint16_t)(5000 + no);
	p->mss = some_mss(p->v6);
	p->ws = chance(300) ? -1 : (int)rnd_to(15);
	p->rcv_cap = chance(300) ? rnd_in(600, 8000) :
				   rnd_in(8000, 200 * 1000);
	if (p->ws > 0) /* a smaller one could never be told */
		p->rcv_cap = MAX(p->rcv_cap, (size_t)4 << p->ws);
	p->delack = chance(500) ? 40 : 0;
	p->ack_every = (unsigned)rnd_in(1, 4);
	p->keeps_order = chance(500);
	p->sack = chance(p->keeps_order ? 700 : 300);
	p->third_data = chance(300);
	p->nagle = chance(500);
	p->probe_byte = chance(500);
	p->fin_with_data = chance(500);
	p->big = world.tap.tap.caps.tso && chance(600);
	p->pressure = chance(200) && p->rcv_cap > 20000 ? 30 : 0;
	p->iss = chance(300) ? 0xffffffff - (uint32_t)rnd_to(70000) :
			       (uint32_t)rnd();
	p->tx_cap = chance(300) ? rnd_in(4608, 10000) : /* Linux's least */
				  rnd_in(10000, 400 * 1000);
	p->rx_cap = chance(300) ? rnd_in(2304, 10000) :
				  rnd_in(10000, 400 * 1000);
	/* Several runs in one read; on rings few guests take runs at all, and big ones
	 * need large windows, too */
	if (p->ws > 4 && chance(world.tap.big ? 800 : world.rings ? 500 : 200)) {
		p->rcv_cap = p->rx_cap = 1000 * 1000;
		p->bytes[0] = p->bytes[1] = rnd_in(300, 1000) * 1000;
		p->chunk[0] = p->chunk[1] = 500 * 1000;
	}
	p->refuse = chance(300) ? (unsigned)rnd_to(300) : 0;
	p->rtt = chance(500) ? rnd_to(200 * US) : rnd_to(50 * MS);
	p->sync_connect = chance(200);
	p->urgent = chance(200) ? (unsigned)rnd_to(600) : 0;
}

static void make_uflow(struct uflow *u, unsigned no)
{
	size_t most = (size_t)lan_mtu(&world.lan) - 48, size = rnd_to(most + 1);
	unsigned i;

	*u = (struct uflow){ .no = no, .v6 = chance(400),
			     .inbound = chance(500), .burst = chance(400) };
	u->total = (unsigned)rnd_in(1, 60);
	for (i = 0; i < u->total; i++)
		u->size[i] = chance(600) ? size : rnd_to(most + 1);
	u->gap = chance(800) ? rnd_to(50 * MS) : rnd_to(20 * SEC);
	u->gport = u->inbound ? (uint16_t)(FORWARD_FIRST + no) :
				(uint16_t)(ASK_PORT + no);
	u->fport = u->inbound ? (uint16_t)(6000 + no) :
				(uint16_t)(ECHO_PORT + no);
}

/* A client of the port as the rules have it; until there is one it tries again */
static void knock(void *arg)
{
	struct course *p = arg;
	uint16_t port = rules_port(p->v6, p->gport);
	struct sock *s;

	s = !port || addr_is_none(host_addr(p->v6)) ? NULL :
		far_connect(&far_addr[p->v6], p->fport, host_addr(p->v6), port);
	if (!s && (!port || !host_rest())) {
		sim_after(rnd_in(1, 100) * MS, knock, p);
		return;
	}
	if (!s)
		sim_fail("nobody listens on port %u", port);
	attach(p, s);
	p->begun = sim.now;
	p->far_up = true;
	far_later(p);
}

/* The port was closed before it was accepted: as if it had never knocked */
static void knock_again(struct course *p)
{
	trace("  far %u: nobody there any more", p->no);
	p->s->app = NULL;
	p->got[0] = p->sent[1] = 0;
	p->far_up = p->far_fin_sent = p->far_got_eof = false;
	sim_after(rnd_in(1, 100) * MS, knock, p);
}

static void start(void *arg)
{
	struct course *p = arg;

	started++;
	p->begun = sim.now;
	if (p->guest_opens) {
		if (p->ending == END_NO_SOCKET) {
			toy_net.open_fails = 1000;
			p->far_done = true;
		}
		p->denied = policy_denies(IPPROTO_TCP, &far_addr[p->v6],
					  p->fport);
		p->far_done |= p->denied;
		guest_open(p);
		return;
	}
	knock(p);
}

/* --- what must hold ------------------------------------------------------- */

#define must(p, cond)                                                          \
	do {                                                                   \
		if (!(cond))                                                   \
			sim_fail("connection %u (%s): not %s", (p)->no,        \
				 ending_name[(p)->ending], #cond);             \
	} while (0)

static const char *const ending_name[ENDINGS] = {
	[END_CLEAN] = "clean", [END_GUEST_RST] = "guest aborts",
	[END_FAR_RST] = "far aborts", [END_FAR_CLOSE] = "far closes early",
	[END_REFUSED] = "refused", [END_UNREACHABLE] = "unreachable",
	[END_TIMEOUT] = "connect times out", [END_NO_SOCKET] = "no socket",
	[END_GUEST_REFUSES] = "guest refuses",
	[END_GUEST_SILENT] = "guest is silent", [END_GUEST_GONE] = "guest gone",
};

/* Rings are short of buffers: a frame is lost before it is known what fits */
static bool is_clean(void)
{
	return world.tap.w.clean && !world.link->drops[DROP_NO_ROOM];
}

/* What a guest that is off does not acknowledge is lost as far as one can see, and
 * others of the link are then repeated sooner */
static bool one_is_gone(void)
{
	unsigned i;

	for (i = 0; i < nplans; i++)
		if (plans[i].ending == END_GUEST_GONE)
			return true;
	return false;
}

/* Timers are there for losses: without, applications set the pace.  Who begins anew
 * somewhere has to lose something again to know.  What a guest that is gone has of the
 * memory it has until it is given up. */
static uint64_t longest(const struct course *p)
{
	if (is_clean() && !p->pressure && !chunks_kept && !host_changes())
		return 60 * SEC;
	return (3600 + (chunks_kept && one_is_gone() ? 7200 : 0) +
		world.moved) * SEC;
}

static void judge_clean(const struct course *p)
{
	must(p, p->guest_up);
	must(p, p->got[0] == p->bytes[0]);
	must(p, p->got[1] == p->bytes[1]);
	must(p, p->guest_eof);
	must(p, p->far_got_eof);
	must(p, !p->guest_rst);
	must(p, !p->far_rst);
	must(p, p->guest_done);
	must(p, p->far_done);
	must(p, p->over - p->begun < longest(p));
	/* Who is acknowledged late, behind what others send, sends again */
	if (!is_clean() || p->pressure || chunks_kept || world.migrated ||
	    host_changes() || rings_waited() > 100 * MS)
		return;
	must(p, !p->rexmit);
	/* A window that goes to zero tells that data were dropped (trap 6) */
	must(p, !p->dup_data || p->shut_window || one_is_gone());
}

/* Its address was gone for long, or there was none when it began */
static bool may_be_cut(const struct course *p)
{
	return host_changes() && p->s &&
	       (addr_is_none(&p->s->local) ||
		host_outage(&p->s->local, p->begun, sim.now) >
			host_patience());
}

static void judge_plan(const struct course *p)
{
	if (p->denied) {
		must(p, p->guest_done && !p->guest_up && !p->s);
		must(p, p->guest_icmp || !is_clean());
		return;
	}
	if (may_be_cut(p)) {
		must(p, (p->guest_done || !p->g) && p->far_done);
		return;
	}
	/* Every SYN was lost, or the link was down */
	if (!p->guest_opens && !p->g && p->far_rst && !is_clean())
		return;
	switch (p->ending) {
	case END_CLEAN:
		judge_clean(p);
		break;
	case END_GUEST_RST:
		must(p, !p->aborted || p->far_rst || p->far_got_eof);
		must(p, p->guest_done && p->far_done);
		break;
	case END_FAR_RST:
		/* A guest that had closed already is not to be bothered */
		must(p, !p->aborted || p->guest_rst || !p->g ||
			(p->guest_eof && p->far_fin_sent &&
			 p->got[1] == p->bytes[1]));
		must(p, (p->guest_done || !p->g) && p->far_done);
		break;
	case END_FAR_CLOSE:
		must(p, p->guest_rst || p->guest_eof);
		must(p, p->guest_done);
		break;
	case END_REFUSED:
	case END_UNREACHABLE:
		must(p, (p->guest_rst || p->guest_icmp) && !p->guest_up);
		break;
	case END_TIMEOUT:
	case END_NO_SOCKET:
		must(p, !p->guest_up && p->guest_done);
		break;
	case END_GUEST_REFUSES:
	case END_GUEST_SILENT:
		must(p, p->far_rst && !p->far_got_eof);
		break;
	default:
		must(p, p->far_done);
	}
}

/* Each frame of the guest comes once; so the link has never been down, nor is it now */
static bool arrives(void)
{
	const struct link_weather *w = &world.tap.w;

	return !w->loss[1] && !w->dup && world.link->session == 1 &&
	       world.link->up;
}

/* And each for it */
static bool is_lossless(void)
{
	return arrives() && !world.tap.w.loss[0] && !world.tap.w.card &&
	       !world.tap.refusals && !world.link->drops[DROP_NO_ROOM];
}

static void judge_uflow(const struct uflow *u, bool all)
{
	bool denied = !u->inbound && policy_denies(IPPROTO_UDP,
						   &far_addr[u->v6], u->fport);

	if (denied ? u->back : all && u->back != u->total)
		sim_fail("UDP %u: %u of %u datagrams came back", u->no, u->back,
			 u->total);
}

static void judge(void)
{
	bool told = is_lossless();
	unsigned i;

	if (world.flows.count)
		sim_fail("%u flows remain", world.flows.count);
	rules_judge();
	clients_judge();
	splice_judge();
	if (world_leftovers())
		sim_fail("%u descriptors remain", world_leftovers());
	if (world.chunks.used != chunks_kept)
		sim_fail("%u chunks remain", world.chunks.used - chunks_kept);
	if (world.tcp.acks || !runq_empty(&world.flows.guest_q))
		sim_fail("a flow that is gone is queued");
	for (i = 0; i < nplans; i++)
		judge_plan(&plans[i]);
	for (i = 0; i < nuflows; i++)
		judge_uflow(&uflows[i], told && !host_changes() &&
						!toy_net.open_fails);
	policy_judge(arrives(), told, !host_changes() && !toy_net.open_fails &&
					      !toy_net.failed);
}

static bool all_over(void)
{
	unsigned i;


	if (started < nplans || world.flows.count || world_leftovers() ||
	    !clients_rest() || !host_rest() || !policy_rest() ||
	    !splice_rest())
		return false;
	for (i = 0; i < nplans; i++)
		if (!plans[i].guest_done &&
		    (plans[i].guest_opens || plans[i].g))
			return false;
	for (i = 0; i < nplans; i++)
		if (!plans[i].far_done)
			return false;
	for (i = 0; i < nuflows; i++)
		if (uflows[i].sent < uflows[i].total)
			return false;
	return true;
}

/* The guest goes away and comes back, its connections with it */
static void tap_up(void *arg)
{
	(void)arg;
	trace("  the link is up");
	toy_tap_up(&world.tap, true);
}

static void tap_down(void *arg)
{
	(void)arg;
	trace("  the link is down");
	toy_tap_up(&world.tap, false);
	sim_after(rnd_in(1, 5000) * MS, tap_up, NULL);
}

static void rings_change(void *arg)
{
	rings_event();
	if (chance(500))
		sim_after(rnd_to(8 * SEC), rings_change, arg);
}

static void describe(const struct course *p)
{
	trace("plan %u: %s opens, %s, v%c, %u bytes out, %u in, %s, mss %d, "
	      "ws %d, window %zu, buffers %zu %zu, guest port %u",
	      p->no, p->guest_opens ? "guest" : "far", ending_name[p->ending],
	      p->v6 ? '6' : '4', p->bytes[0], p->bytes[1],
	      p->waits[0] ? "guest closes second" :
	      p->waits[1] ? "far closes second" : "closes at once",
	      p->mss, p->ws, p->rcv_cap, p->tx_cap, p->rx_cap, p->gport);
}

static bool has(enum ending e)
{
	return nplans && plans[0].ending == e; /* which is alone then */
}

void run_seed(uint64_t seed)
{
	const struct link_weather *w = &world.tap.w;
	unsigned i;

	sim_reset(seed);
	world_config();
	guest_reset();
	far_ops = &run_far;
	make_weather();
	world.rings = sim.rings || seed % RINGS_SHARE == 0;
	if (world.rings)
		rings_config();
	world_start();
	toy_net.gso_fails = chance(200) ? 300 : 0;
	toy_net.udp_refuse = chance(200) ? 100 : 0;
	toy_net.accept_fails = chance(200) ? 200 : 0;
	changes = sim.host || chance(150) ? (unsigned)rnd_in(1, 12) : 0;
	nplans = chance(500) ? 1 : (unsigned)rnd_in(0, PLANS);
	nuflows = chance(600) ? 0 : (unsigned)rnd_in(1, UFLOWS);
	started = 0;
	for (i = 0; i < nplans; i++) {
		make_plan(&plans[i], i);
		describe(&plans[i]);
		sim_after(plans[i].start, start, &plans[i]);
	}
	if (!w->clean && chance(100))
		sim_after(rnd_to(2 * SEC),
			  world.rings ? rings_change : tap_down, NULL);
	else if (!w->clean && world.rings && chance(300))
		sim_after(rnd_to(2 * SEC), rings_change, NULL);
	if (chance(50)) /* hardly any memory for what sockets refuse */
		world.chunks.fresh = CHUNK_BLOCKS - (unsigned)rnd_in(1, 8);
	chunks_kept = world.chunks.used = world.chunks.fresh;
	for (i = 0; i < nuflows; i++) {
		make_uflow(&uflows[i], i);
		sim_after(rnd_to(100 * MS), udp_send, &uflows[i]);
	}
	world.moves = chance(400) ? (unsigned)rnd_in(1, 300) : 0;
	/* What has no room in memory is reset */
	world.far_moves = !chunks_kept && chance(500);
	host_start(has(END_NO_SOCKET) ? 0 : changes);
	rules_start(chance(200) ? 400 : 0);
	if ((sim.splice || seed % SPLICE_SHARE == 0) && !has(END_NO_SOCKET))
		splice_start();
	/* Who has no descriptor has none for rules */
	clients_start((sim.control || chance(changes ? 500 : 150)) &&
				      !toy_net.open_fails &&
				      !has(END_NO_SOCKET) ?
			      (unsigned)rnd_in(1, 12) : 0);
	if (sim.policy || seed % POLICY_SHARE == 0)
		policy_start();
	trace("weather: loss %u %u, dup %u, reorder %u, stuff %u, delay %llu "
	      "us, %s, room %u, mtu %u, peek %d %d, %u chunks", w->loss[0],
	      w->loss[1],
	      w->dup, w->reorder, w->stuff,
	      (unsigned long long)(w->delay / US),
	      world.tap.tap.caps.tso ? "tso" : "no tso",
	      world.tap.tap.caps.queue, world.lan.mtu, world.env.peek_off4,
	      world.env.peek_off6, CHUNK_BLOCKS - world.chunks.fresh);
	world_run(sim.now + HOURS * 3600 * SEC, all_over);
	trace("over after %u turns", sim.turns);
	judge();
}

/* --- what losses cost -------------------------------------------------------- */

enum { LOSSY_BYTES = 2000 * 1000 };

/* A stream over a link that loses, to the guest or from it, and KB/s of virtual time
 * that it must reach.  Time-outs would show: each costs 200 ms. */
static const struct lossy {
	const char *name;
	unsigned loss[2], card;
	bool sack;
	uint64_t rtt;
	unsigned least;
	bool out;
	unsigned reorder;
} lossy[] = {
	{ "no loss", { 0 }, 0, true, 200 * US, 100000, false, 0 },
	{ "no loss, far", { 0 }, 0, true, 50 * MS, 2500, false, 0 },
	{ "0.1%, SACK", { 1, 1 }, 0, true, 200 * US, 100000, false, 0 },
	{ "0.1%, SACK, far", { 1, 1 }, 0, true, 50 * MS, 2500, false, 0 },
	{ "1%, SACK", { 10, 10 }, 0, true, 200 * US, 50000, false, 0 },
	{ "1%, SACK, far", { 10, 10 }, 0, true, 50 * MS, 2500, false, 0 },
	{ "1%", { 10, 10 }, 0, false, 200 * US, 30000, false, 0 },
	{ "5%, SACK", { 50, 50 }, 0, true, 200 * US, 8000, false, 0 },
	{ "5%", { 50, 50 }, 0, false, 200 * US, 4500, false, 0 },
	{ "8 buffers, SACK", { 0 }, 8, true, 200 * US, 22000, false, 0 },
	{ "8 buffers", { 0 }, 8, false, 200 * US, 4000, false, 0 },
	{ "8 buffers, SACK, far", { 0 }, 8, true, 50 * MS, 2500, false, 0 },
	{ "out, no loss", { 0 }, 0, true, 200 * US, 100000, true, 0 },
	{ "out, 0.1%, SACK", { 1, 1 }, 0, true, 200 * US, 100000, true, 0 },
	{ "out, 0.1%", { 1, 1 }, 0, false, 200 * US, 100000, true, 0 },
	{ "out, 1%, SACK", { 10, 10 }, 0, true, 200 * US, 100000, true, 0 },
	{ "out, 1%", { 10, 10 }, 0, false, 200 * US, 100000, true, 0 },
	{ "out, 5%, SACK", { 50, 50 }, 0, true, 200 * US, 200, true, 0 },
	{ "out, 5%", { 50, 50 }, 0, false, 200 * US, 700, true, 0 },
	{ "out, 1% late, SACK", { 0 }, 0, true, 200 * US, 100000, true, 10 },
	{ "out, 1% late", { 0 }, 0, false, 200 * US, 100000, true, 10 },
};

bool run_lossy(unsigned i, bool dry)
{
	struct course *p = &plans[0];
	const struct lossy *l = &lossy[i];
	double s;

	if (i >= ARRAY_SIZE(lossy) || dry)
		return i < ARRAY_SIZE(lossy);
	sim_reset(i + 1);
	world_config();
	guest_reset();
	far_ops = &run_far;
	world.lan.mtu = 1500;
	world.tap.tap.caps.tso = world.tap.tap.caps.tso_in = false;
	world.tap.tap.caps.queue = 500;
	world.tap.w.loss[0] = l->loss[0];
	world.tap.w.loss[1] = l->loss[1];
	world.tap.w.card = l->card;
	world.tap.w.reorder = l->reorder;
	world.tap.w.jitter = 300 * US;
	world.tap.w.card_ns = 20 * US;
	world_start();
	rules_start(0);
	nplans = 1;
	*p = (struct course){ .gport = 40000, .fport = 5000, .mss = 1460, .ws = 7,
			    .guest_opens = true, .ending = END_CLEAN,
			    .bytes = { l->out ? LOSSY_BYTES : 0,
				       l->out ? 0 : LOSSY_BYTES },
			    .rcv_cap = 200 * 1000,
			    .delack = 40, .ack_every = 2, .keeps_order = true,
			    .sack = l->sack, .chunk = { 100000, 100000 },
			    .tx_cap = 400 * 1000, .rx_cap = 400 * 1000,
			    .rtt = l->rtt };
	start(p);
	world_run(sim.now + 3600 * SEC, all_over);
	judge();
	s = (double)(p->over - p->begun) / SEC;
	printf("%-28s %8.0f KB/s, %.3f s", l->name, LOSSY_BYTES / s / 1000, s);
	if (l->out)
		printf(", %llu KB again", (unsigned long long)p->again / 1000);
	putchar('\n');
	fflush(stdout);
	if (LOSSY_BYTES / s / 1000 < l->least)
		sim_fail("less than %u KB/s", l->least);
	return true;
}
