/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A fixed amount of work over a clean link, for counting instructions.
 *
 * Nothing is left to chance, and nothing is judged but that it happens: guest
 * and far end do the least that moves the bytes.  What is to be counted runs
 * inside of work_measured(); ceilings.py looks there.
 */
#include "sim.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>

enum {
	FIRST_PORT = 20000, /* guest's ports, one for each connection */
	ENDS = 40000,
	FAR_PORT = 5000,
	BURST = 16, /* datagrams or SYNs at a time */
	DATAGRAM = 1400,
	BIG = 60000, /* a run of segments from the guest */
	SEGMENT = 1448,
	SEGMENT_US = 15, /* each: 0.8 Gbit/s */
	WINDOW_SHIFT = 7,
	ACK_EVERY = 32, /* frames: Linux joins what comes in one go */
	PATIENCE_S = 10,
	MIB = 1 << 20,
};

/* A connection of the guest's; numbers are those on the wire */
static struct end {
	struct sock *s;
	uint32_t seq, una, ack, edge;
	int shift; /* of the window we are told */
	unsigned unacked; /* frames */
	bool fin, step_due, pumps;
	uint64_t to_write; /* by the far end */
} ends[ENDS];
static unsigned nends, nconnects, nup;

/* Arrived at the far end, and at the guest: bytes or datagrams; and wanted */
static uint64_t got[2], want[2];
static unsigned small; /* datagrams at the far end that were questions */

void work_measured(void (*work)(struct end *e, unsigned n), struct end *e,
		   unsigned n);

static bool all_there(void)
{
	return got[0] >= want[0] && got[1] >= want[1];
}

/* What until() waits for may come about while the product sleeps */
static bool (*awaited)(void);

static void look(void)
{
	sim.interrupt |= awaited && awaited();
}

static void until(bool (*done)(void))
{
	awaited = done;
	world_run(sim.now + PATIENCE_S * SEC, done);
	awaited = NULL;
	if (!done())
		sim_fail("work stands still at %llu and %llu",
			 (unsigned long long)got[0],
			 (unsigned long long)got[1]);
}

static void until_there(uint64_t at_far, uint64_t at_guest)
{
	want[0] = got[0] + at_far;
	want[1] = got[1] + at_guest;
	until(all_there);
}

/* --- the guest ------------------------------------------------------------ */

static void say(struct end *e, uint8_t flags, size_t len)
{
	static uint8_t data[BIG];
	struct seg s = { .src = guest_addr[0], .dst = far_addr[0],
			 .proto = IPPROTO_TCP, .dport = FAR_PORT,
			 .sport = (uint16_t)(FIRST_PORT + (e - ends)),
			 .seq = e->seq, .ack = e->ack, .flags = flags,
			 .win = 0xffff, .mss = -1, .ws = -1, .data = data,
			 .len = len, .partial = true };
	size_t i;

	for (i = 0; i < len; i++)
		data[i] = pattern(0, e->seq - 1 + i);
	if (flags & TCP_SYN) {
		s.mss = 1460;
		s.ws = WINDOW_SHIFT;
	}
	e->seq += (uint32_t)len + !!(flags & (TCP_SYN | TCP_FIN));
	e->unacked = 0;
	guest_send(&s);
}

/* All that the window takes */
static void pump(struct end *e)
{
	while ((int32_t)(e->edge - e->seq) >= BIG)
		say(e, TCP_ACK, BIG);
}

static void on_tcp(const struct seg *s)
{
	struct end *e = &ends[s->dport - FIRST_PORT];

	if (s->flags & TCP_RST)
		sim_fail("a reset");
	if (s->flags & TCP_SYN) {
		e->ack = s->seq + 1;
		e->shift = s->ws;
		e->edge = s->ack + s->win;
		nup++;
		say(e, TCP_ACK, 0);
		return;
	}
	if (s->seq != e->ack)
		sim_fail("a segment out of order");
	e->ack += (uint32_t)s->len + !!(s->flags & TCP_FIN);
	e->una = s->ack;
	e->edge = s->ack + ((uint32_t)s->win << e->shift);
	e->fin |= s->flags & TCP_FIN;
	got[1] += s->len;
	if (s->flags & TCP_FIN || (s->len && ++e->unacked == ACK_EVERY))
		say(e, TCP_ACK, 0);
	if (e->pumps)
		pump(e);
}

static void arrived(const uint8_t *p, size_t len)
{
	const char *bad;
	struct seg s;

	bad = wire_parse(p, len, &s);
	if (bad)
		sim_fail("frame to the guest: %s", bad);
	if (s.proto == IPPROTO_TCP)
		on_tcp(&s);
	else if (s.proto == IPPROTO_UDP)
		got[1]++;
	look();
}

/* --- the far end ---------------------------------------------------------- */

static void far_step(void *arg)
{
	struct end *e = arg;

	e->step_due = false;
	got[0] += far_read(e->s, SIZE_MAX);
	e->to_write -= far_write(e->s, (size_t)MIN(e->to_write, (uint64_t)SIZE_MAX / 2));
	if (far_eof(e->s))
		far_fin(e->s);
	look();
}

static void far_kick(struct sock *s)
{
	struct end *e = s->app;

	if (!e || e->step_due)
		return;
	e->step_due = true;
	sim_after(US, far_step, e);
}

static void far_writes(struct end *e, uint64_t n)
{
	e->to_write += n;
	far_kick(e->s);
}

static void connected(void *s)
{
	far_connected(s);
}

static int connecting(struct sock *s)
{
	struct end *e = &ends[nconnects++]; /* SYNs come in order */

	e->s = s;
	s->app = e;
	s->key[0] = 0;
	s->tx_cap = s->rx_cap = 2 * MIB;
	sim_after(20 * US, connected, s);
	return -EINPROGRESS;
}

static void far_gets(struct sock *s, const uint8_t *p, size_t len,
		     const struct addr *to, uint16_t port)
{
	(void)s;
	(void)p;
	(void)to;
	(void)port;
	got[0]++;
	small += len < DATAGRAM;
	look();
}

static const struct far_ops work_far = { connecting, far_kick, far_gets };

/* --- work ----------------------------------------------------------------- */

static bool all_up(void)
{
	return nup == nends;
}

static bool is_closed(void)
{
	return ends[nends - 1].fin && !world_leftovers();
}

/* dial - @n connections at once; the last of them */
static struct end *dial(unsigned n)
{
	while (n--) {
		if (nends == ENDS)
			sim_fail("no port is left");
		say(&ends[nends++], TCP_SYN, 0);
	}
	until(all_up);
	return &ends[nends - 1];
}

static void rr(struct end *e, unsigned n)
{
	while (n--) {
		say(e, TCP_ACK | TCP_PSH, 1);
		until_there(1, 0);
		far_writes(e, 1);
		until_there(0, 1);
	}
}

static void crr(struct end *unused, unsigned n)
{
	(void)unused;
	while (n--) {
		struct end *e = dial(1);

		rr(e, 1);
		say(e, TCP_ACK | TCP_FIN, 0);
		until(is_closed);
	}
}

/* @n MiB */
static void bulk_in(struct end *e, unsigned n)
{
	far_writes(e, (uint64_t)n * MIB);
	until_there(0, (uint64_t)n * MIB);
}

static bool has_room(void)
{
	const struct end *e = &ends[nends - 1];

	return (int32_t)(e->edge - e->seq) >= BIG;
}

static void bulk_out(struct end *e, unsigned n)
{
	uint64_t left = (uint64_t)n * MIB;

	want[0] = got[0] + left;
	want[1] = got[1];
	while (left) {
		size_t len = MIN(left, BIG);

		until(has_room);
		say(e, TCP_ACK, len);
		left -= len;
	}
	until(all_there);
}

/* As a wire of 1 Gbit/s brings it, segment by segment */
static uint64_t to_come;

static void segment_in(void *arg)
{
	uint64_t len = MIN(to_come, SEGMENT);

	to_come -= len;
	if (to_come)
		sim_after(SEGMENT_US * US, segment_in, arg);
	far_writes(arg, len);
}

static void segment_out(void *arg)
{
	size_t len = (size_t)MIN(to_come, SEGMENT);

	to_come -= len;
	if (to_come)
		sim_after(SEGMENT_US * US, segment_out, arg);
	say(arg, TCP_ACK, len);
}

static void trickle_in(struct end *e, unsigned n)
{
	to_come = (uint64_t)n * MIB;
	segment_in(e);
	until_there(0, (uint64_t)n * MIB);
}

static void trickle_out(struct end *e, unsigned n)
{
	to_come = (uint64_t)n * MIB;
	segment_out(e);
	until_there((uint64_t)n * MIB, 0);
}

static void udp_in(struct end *unused, unsigned n)
{
	static const uint8_t data[DATAGRAM];
	struct addr us = addr_v4(198, 51, 100, 1);
	unsigned i;

	(void)unused;
	while (n--) {
		for (i = 0; i < BURST; i++)
			far_datagram(&far_addr[0], FAR_PORT, &us, FORWARD_FIRST,
				     data, DATAGRAM);
		until_there(0, BURST);
	}
}

static void udp_out(struct end *unused, unsigned n)
{
	static const uint8_t data[DATAGRAM];
	struct seg s = { .src = guest_addr[0], .dst = far_addr[0],
			 .proto = IPPROTO_UDP, .sport = FIRST_PORT,
			 .dport = FAR_PORT, .mss = -1, .ws = -1, .data = data,
			 .len = DATAGRAM, .partial = true };
	unsigned i;

	(void)unused;
	while (n--) {
		for (i = 0; i < BURST; i++)
			guest_send(&s);
		until_there(BURST, 0);
	}
}

/* --- a question beside bulk ------------------------------------------------ */

enum {
	/* What may go first: what the link holds, the turn in which the answer
	 * comes */
	BESIDE_MOST = 512 << 10,
	QUESTIONS = 20,
	QUESTION = 100,
};

static struct end *asker;
static uint32_t asked;

static bool is_answered(void)
{
	return asker->ack - asked == QUESTION;
}

/* Bytes that came to the guest between an answer's arrival at our socket and at
 * the guest: the most of several answers */
static uint64_t worst_wait(void)
{
	uint64_t worst = 0, before;
	unsigned i;

	for (i = 0; i < QUESTIONS; i++) {
		asked = asker->ack;
		before = got[1];
		far_writes(asker, QUESTION);
		until(is_answered);
		worst = MAX(worst, got[1] - before);
		say(asker, TCP_ACK, 0);
	}
	return worst;
}

/* However many transfers there are to the guest, whose link is full all the time,
 * an answer waits for so many bytes of theirs */
bool run_beside(unsigned bulk)
{
	uint64_t worst;
	unsigned i;

	sim_reset(1);
	world_config();
	guest_reset();
	world.tap.guest = arrived;
	world.tap.drain = US / 2;
	far_ops = &work_far;
	world_start();
	asker = dial(1);
	for (i = 0; i < bulk; i++)
		far_writes(dial(1), 1ULL << 40);
	until_there(0, 4 * MIB);
	worst = worst_wait();
	printf("beside %u transfers: at most %llu KiB before an answer\n",
	       bulk, (unsigned long long)worst >> 10);
	return world.tap.refusals && worst <= BESIDE_MOST;
}

/* --- the same, in turns ------------------------------------------------------ */

enum load { UPLOADS, DOWNLOADS, SENT, RECEIVED }; /* streams; datagrams */
enum { OF_ALL = 30, DATAGRAMS_US = 20, REST = FORWARD_FIRST + 1 };

static const char *const load_name[] = { "uploads", "downloads",
					 "datagrams out", "datagrams in" };

/* What is asked or answered beside which load.  A question waits for what stands
 * before it on the link, a turn for each burst, besides. */
static const struct {
	uint8_t proto;
	bool answer;
	enum load load;
	unsigned most;
} turns_of[] = {
	{ IPPROTO_TCP, false, UPLOADS, 1 },
	{ IPPROTO_TCP, false, DOWNLOADS, 1 },
	{ IPPROTO_TCP, false, SENT, 1 },
	{ IPPROTO_TCP, false, RECEIVED, 1 },
	{ IPPROTO_UDP, false, UPLOADS, 1 },
	{ IPPROTO_UDP, false, DOWNLOADS, 1 },
	{ IPPROTO_ICMP, false, UPLOADS, 1 },
	{ IPPROTO_ICMP, false, DOWNLOADS, 1 },
	{ IPPROTO_ICMP, false, SENT, 1 },
	{ IPPROTO_TCP, true, UPLOADS, 1 },
	{ IPPROTO_TCP, true, SENT, 1 },
	{ IPPROTO_UDP, true, UPLOADS, 1 },
	{ IPPROTO_UDP, true, SENT, 1 },
};

static uint64_t awaited_tx;
static unsigned awaited_small;
static bool left;
static uint8_t awaited_proto;

static bool stream_there(void)
{
	return asker->s->tx >= awaited_tx;
}

static bool datagram_there(void)
{
	return small >= awaited_small;
}

static bool has_left(void)
{
	return left;
}

static void leaves(const uint8_t *p, size_t len)
{
	struct seg s;

	if (wire_parse(p, len, &s) || s.proto != awaited_proto ||
	    s.len != QUESTION)
		return;
	left = true;
	look();
}

static void datagrams(void *arg)
{
	static const uint8_t data[DATAGRAM];
	struct addr us = addr_v4(198, 51, 100, 1);
	struct seg s = { .src = guest_addr[0], .dst = far_addr[0],
			 .proto = IPPROTO_UDP, .sport = FIRST_PORT,
			 .dport = FAR_PORT, .mss = -1, .ws = -1, .data = data,
			 .len = DATAGRAM, .partial = true };
	const enum load *load = arg;
	unsigned i;

	for (i = 0; i < 4 * BURST; i++)
		if (*load == SENT)
			guest_send(&s);
		else
			far_datagram(&far_addr[0], FAR_PORT, &us, REST, data,
				     DATAGRAM);
	sim_after(DATAGRAMS_US * US, datagrams, arg);
}

static void begin_load(const enum load *load)
{
	unsigned i;

	for (i = 0; i < OF_ALL && *load <= DOWNLOADS; i++) {
		struct end *e = dial(1);

		e->pumps = *load == UPLOADS;
		if (e->pumps)
			pump(e);
		else
			far_writes(e, 1ULL << 40);
	}
	if (*load > DOWNLOADS)
		datagrams((void *)(uintptr_t)load);
	until_there(*load == UPLOADS ? MIB : *load == SENT ? 8 * BURST : 0,
		    *load == DOWNLOADS ? MIB : *load == RECEIVED ? 8 * BURST : 0);
}

/* Turns until a question of the guest is at the far end, or with its socket */
static unsigned question_takes(uint8_t proto)
{
	static const uint8_t data[QUESTION] = { 8 }; /* an echo request */
	struct seg s = { .src = guest_addr[0], .dst = far_addr[0],
			 .proto = proto, .sport = 99, .dport = FAR_PORT,
			 .mss = -1, .ws = -1, .data = data, .len = QUESTION };
	uint64_t turn;
	unsigned ahead;

	awaited_tx = asker->s->tx + QUESTION;
	awaited_small = small + 1;
	if (proto == IPPROTO_TCP)
		say(asker, TCP_ACK | TCP_PSH, QUESTION);
	else
		guest_send(&s);
	sim_events();
	ahead = world.tap.waiting;
	turn = world.loop.turns;
	until(proto == IPPROTO_TCP ? stream_there : datagram_there);
	return (unsigned)(world.loop.turns - turn) - (ahead - !!ahead) /
	       world.tap.lend;
}

/* Turns until what the far end says is on the link */
static unsigned answer_takes(uint8_t proto)
{
	static const uint8_t data[QUESTION];
	struct addr us = addr_v4(198, 51, 100, 1);
	uint64_t turn = world.loop.turns;

	left = false;
	awaited_proto = proto;
	if (proto == IPPROTO_TCP)
		far_write(asker->s, QUESTION);
	else
		far_datagram(&far_addr[0], FAR_PORT, &us, FORWARD_FIRST, data,
			     QUESTION);
	until(has_left);
	return (unsigned)(world.loop.turns - turn);
}

bool run_turns(unsigned i, bool dry)
{
	unsigned n, worst = 0;

	if (dry || i >= ARRAY_SIZE(turns_of))
		return i < ARRAY_SIZE(turns_of);
	sim_reset(1);
	world_config();
	guest_reset();
	world.tap.guest = arrived;
	world.tap.leaves = leaves;
	world.tap.drain = US / 2;
	world.tap.w.delay = 0;
	far_ops = &work_far;
	world_start();
	asker = dial(1);
	begin_load(&turns_of[i].load);
	for (n = 0; n < QUESTIONS; n++) {
		unsigned took = turns_of[i].answer ?
			answer_takes(turns_of[i].proto) :
			question_takes(turns_of[i].proto);

		worst = MAX(worst, took);
		world_run(sim.now + (n + 1) * 7 * US, NULL);
	}
	printf("%s of %s beside %s: %u turns at most\n",
	       turns_of[i].answer ? "answer" : "question",
	       turns_of[i].proto == IPPROTO_TCP ? "TCP" :
	       turns_of[i].proto == IPPROTO_UDP ? "UDP" : "ICMP",
	       load_name[turns_of[i].load], worst);
	return worst <= turns_of[i].most;
}

static const struct {
	const char *name;
	void (*work)(struct end *e, unsigned n);
	bool connection, naps;
} table[] = {
	{ "rr", rr, true, false },
	{ "crr", crr, false, false },
	{ "bulk-in", bulk_in, true, false },
	{ "bulk-out", bulk_out, true, false },
	{ "trickle-in", trickle_in, true, true },
	{ "trickle-out", trickle_out, true, true },
	{ "udp-in", udp_in, false, false },
	{ "udp-out", udp_out, false, false },
};

__attribute__((noinline))
void work_measured(void (*work)(struct end *e, unsigned n), struct end *e,
		   unsigned n)
{
	work(e, n);
}

bool run_work(const char *name, unsigned n, unsigned idle)
{
	struct end *e = NULL;
	unsigned i;

	sim_reset(1);
	world_config();
	guest_reset();
	world.tap.guest = arrived;
	far_ops = &work_far;
	world_start();
	for (i = 0; i < sizeof(table) / sizeof(table[0]); i++)
		if (!strcmp(table[i].name, name))
			break;
	if (i == sizeof(table) / sizeof(table[0]))
		return false;
	for (; idle; idle -= MIN(idle, BURST))
		dial(MIN(idle, BURST));
	if (table[i].connection)
		e = dial(1);
	table[i].work(e, n / 4 + 1); /* what is new only once */
	work_measured(table[i].work, e, n);
	if (!sim.naps == table[i].naps)
		sim_fail("%u naps", sim.naps);
	return true;
}
