/* SPDX-License-Identifier: GPL-2.0-or-later */
/* unit: util log addr timer loop */
#include "flow.h"
#include "log.h"

#include <setjmp.h>
#include <limits.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

enum { N = 3000, TCP = 6, UDP = 17 };

static struct loop loop;
static struct flows flows;
static unsigned readied, expired;
static struct flow *last;

static enum run_verdict on_ready(void *owner, struct flow *f)
{
	assert_ptr_equal(owner, &loop);
	readied++;
	last = f;
	return RUN_DONE;
}

static unsigned drained;

static void on_drain(void *owner, struct flow *f)
{
	assert_ptr_equal(owner, &loop);
	drained++;
	last = f;
}

static void on_expire(void *owner, struct flow *f)
{
	(void)owner;
	expired++;
	last = f;
}

static const struct flow_type type = { .name = "test", .ready = on_ready,
				       .drain = on_drain,
				       .expire = on_expire };

static struct side random_side(uint8_t pif)
{
	/* Few values, so that tuples share most fields */
	return (struct side){
		.ours = addr_v4(192, 0, 2, (uint8_t)(rand() % 3)),
		.theirs = addr_v4(198, 51, 100, (uint8_t)(rand() % 5)),
		.our_port = (uint16_t)(rand() % 20),
		.their_port = (uint16_t)(rand() % 50),
		.pif = pif,
		.fd = -1,
	};
}

static bool same(const struct side *a, const struct side *b)
{
	return addr_equal(&a->ours, &b->ours) &&
	       addr_equal(&a->theirs, &b->theirs) &&
	       a->our_port == b->our_port && a->their_port == b->their_port &&
	       a->pif == b->pif;
}

/* The plain twin: look at every flow */
static struct flow *slow_find(struct flow **all, uint8_t proto,
			      const struct side *key)
{
	unsigned i, s;

	for (i = 0; i < N; i++)
		for (s = 0; all[i] && s < 2; s++)
			if (all[i]->hashed & 1U << s &&
			    flow_proto(all[i]) == proto &&
			    same(&all[i]->side[s], key))
				return all[i];
	return NULL;
}

static void finds_what_was_entered(void **state)
{
	static struct flow *all[N];
	unsigned round, i;

	(void)state;
	srand(3);
	for (round = 0; round < 20000; round++) {
		struct flow **f = &all[rand() % N];
		struct side key = random_side(PIF_TAP);
		uint8_t proto = rand() % 2 ? TCP : UDP;

		if (*f) {
			flow_free(&flows, *f);
			*f = NULL;
		} else {
			bool taken = slow_find(all, proto, &key);

			*f = flow_new(&flows, proto == TCP ? FLOW_TCP :
							     FLOW_UDP);
			(*f)->side[0] = key;
			(*f)->side[1] = random_side(PIF_HOST);
			assert_int_equal(flow_enter(&flows, *f, 0), !taken);
			flow_enter(&flows, *f, 1);
		}
		key = random_side(rand() % 2 ? PIF_TAP : PIF_HOST);
		assert_ptr_equal(flow_find(&flows, proto, &key, &i),
				 slow_find(all, proto, &key));
	}
	for (i = 0; i < N; i++)
		if (all[i])
			flow_free(&flows, all[i]);
	assert_int_equal(flows.count, 0);
	for (i = 0; i < FLOW_HASH; i++)
		assert_int_equal(flows.hash[i], 0);
}

static void finds_all_there_are(void)
{
	struct flow *f = flows.flow;
	unsigned i, found;

	for (; f < flows.flow + flows.fresh; f++)
		for (i = 0; f->kind != FLOW_FREE && i < 2; i++) {
			assert_ptr_equal(flow_find(&flows, TCP, &f->side[i],
						   &found), f);
			assert_int_equal(found, i);
		}
}

static void finds_as_many_as_there_can_be(void **state)
{
	unsigned i, n;

	(void)state;
	for (n = 0; n < FLOW_MAX; n++) {
		struct flow *f = flow_new(&flows, FLOW_TCP);

		for (i = 0; i < 2; i++) {
			f->side[i].our_port = (uint16_t)n;
			f->side[i].their_port = (uint16_t)(n >> 16);
			f->side[i].pif = i ? PIF_HOST : PIF_TAP;
			assert_true(flow_enter(&flows, f, i));
			assert_false(flow_enter(&flows, f, i));
		}
		if (!(n & (n - 1)) || n == FLOW_MAX - 1)
			finds_all_there_are();
	}
	assert_int_equal(flows.entered, 2 * FLOW_MAX);
	for (n = 0; n < FLOW_MAX; n++)
		flow_free(&flows, &flows.flow[n]);
	assert_int_equal(flows.entered, 0);
	for (i = 0; i < FLOW_HASH; i++)
		assert_int_equal(flows.hash[i], 0);
}

static void table_has_an_end(void **state)
{
	unsigned i;

	(void)state;
	for (i = 0; i < FLOW_MAX; i++)
		assert_non_null(flow_new(&flows, FLOW_TCP));
	assert_null(flow_new(&flows, FLOW_TCP));
	for (i = 0; i < FLOW_MAX; i++)
		flow_free(&flows, &flows.flow[i]);
	assert_int_equal(flows.count, 0);
	assert_int_equal(flows.peak, FLOW_MAX);
}

static size_t resident(const void *mem, size_t bytes)
{
	static unsigned char page[FLOW_MAX];
	size_t i, n = (bytes + 4095) / 4096, sum = 0;

	assert_true(n <= sizeof(page));
	assert_int_equal(mincore((void *)(uintptr_t)mem, bytes, page), 0);
	for (i = 0; i < n; i++)
		sum += page[i] & 1;
	return sum * 4096;
}

static struct flow *numbered(unsigned n)
{
	struct flow *f = flow_new(&flows, FLOW_TCP);
	unsigned i;

	for (i = 0; i < 2; i++) {
		f->side[i].our_port = (uint16_t)n;
		f->side[i].their_port = (uint16_t)(n >> 16);
		f->side[i].pif = i ? PIF_HOST : PIF_TAP;
		assert_true(flow_enter(&flows, f, i));
	}
	return f;
}

static void flood(unsigned first, unsigned n)
{
	while (n--)
		numbered(first + n);
}

static void flood_goes(unsigned stay)
{
	unsigned n;

	for (n = 0; n < flows.fresh; n++)
		if (flows.flow[n].kind != FLOW_FREE && n != stay) {
			flow_free(&flows, &flows.flow[n]);
			flows_tidy(&flows);
		}
}

/* What a flood took is given back, and what was there before and after it is found */
static void memory_goes_back(void **state)
{
	enum { STAY = 5000, MANY = 100000 };
	struct flow *f;

	(void)state;
	flows_tidy(&flows);
	assert_int_equal(flows.fresh, 0);
	flood(1000000, MANY);
	assert_true(resident(flows.flow, sizeof(*f) * FLOW_MAX) >
		    MANY * sizeof(*f));
	flood_goes(STAY);
	assert_int_equal(flows.count, 1);
	assert_true(resident(flows.flow, sizeof(*f) * FLOW_MAX) <
		    (STAY + 1000) * sizeof(*f));
	assert_true(resident(flows.hash, sizeof(uint32_t) * FLOW_HASH) <=
		    64 << 10);
	finds_all_there_are();
	f = numbered(1);
	assert_ptr_equal(f, flows.flow);
	flow_free(&flows, f);
	flood(2000000, MANY);
	finds_all_there_are();
	flood_goes(FLOW_MAX);
	assert_int_equal(flows.count, 0);
	assert_true(resident(flows.flow, sizeof(*f) * FLOW_MAX) <=
		    FLOW_KEEP * sizeof(*f));
}

static void event_reaches_its_flow_only(void **state)
{
	struct flow *f = flow_new(&flows, FLOW_TCP);
	int sv[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, sv), 0);
	f->side[1].fd = sv[0];
	assert_int_equal(flow_watch(&flows, f, 1), 0);
	readied = 0;
	loop_turn(&loop);
	assert_int_equal(readied, 1);
	assert_ptr_equal(last, f);
	assert_int_equal(f->ready[1], READY_OUT);
	assert_int_equal(f->ready[0], 0);

	/* Another flow takes its place before the event is seen */
	assert_int_equal(write(sv[1], "x", 1), 1);
	flow_free(&flows, f);
	assert_ptr_equal(flow_new(&flows, FLOW_TCP), f);
	readied = 0;
	loop_turn(&loop);
	assert_int_equal(readied, 0);
	assert_int_equal(f->ready[1], 0);
	flow_free(&flows, f);
	close(sv[0]);
	close(sv[1]);
}

static void timer_reaches_its_flow(void **state)
{
	struct flow *f = flow_new(&flows, FLOW_TCP);

	(void)state;
	expired = 0;
	flow_timer(&flows, f, loop.now_ms + 5);
	while (!expired)
		loop_turn(&loop);
	assert_ptr_equal(last, f);
	flow_timer(&flows, f, loop.now_ms + 5);
	flow_free(&flows, f);
	assert_null(f->timer.prev);
}

/* As RUN_HOLD does */
static void hold_guest(void)
{
	flows.guest_q.held = true;
	loop.runnable &= ~flows.guest_q.bit;
}

static void held_queue_keeps_its_order(void **state)
{
	(void)state;
	struct flow *a = flow_new(&flows, FLOW_TCP);
	struct flow *b = flow_new(&flows, FLOW_TCP);

	flow_wake(&flows, a);
	flow_wake(&flows, b);
	flow_wake(&flows, a); /* once is enough */
	hold_guest();
	timer_set(&loop.timers, &a->timer, 1);
	readied = 0;
	loop_turn(&loop);
	assert_int_equal(readied, 0);
	runq_release(&flows.guest_q);
	loop_turn(&loop);
	assert_int_equal(readied, 2);
	assert_ptr_equal(last, b);
	flow_free(&flows, a);
	flow_free(&flows, b);
}

/* Work that only goes to the host does not wait for the guest */
static void held_queue_lets_drain(void **state)
{
	struct flow *f = flow_new(&flows, FLOW_TCP);
	int fd[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
	f->side[1].fd = fd[0];
	f->drains = true;
	hold_guest();
	readied = drained = 0;
	assert_int_equal(flow_watch(&flows, f, 1), 0);
	loop_turn(&loop);
	assert_int_equal(drained, 1);
	assert_int_equal(readied, 0);
	assert_ptr_equal(last, f);
	flow_drain(&flows, f);
	flow_wake(&flows, f);
	flow_free(&flows, f); /* out of both */
	assert_true(runq_empty(&flows.drain_q));
	assert_true(runq_empty(&flows.guest_q));
	runq_release(&flows.guest_q);
	close(fd[0]);
	close(fd[1]);
}

static int start(void **state)
{
	(void)state;
	if (loop_init(&loop) || flows_init(&flows, &loop))
		return -1;
	flows_type(&flows, FLOW_TCP, &type, &loop);
	flows_type(&flows, FLOW_UDP, &type, &loop);
	return 0;
}

/* --- the guest's share ---------------------------------------------------- */

/* Much at once is heavy, and so is what goes on */
static void heavy_until_a_pause(void **state)
{
	struct flow *f;

	(void)state;
	f = flow_new(&flows, FLOW_TCP);
	assert_non_null(f);
	loop.now_ms = 100000 / FLOW_TICK_MS * FLOW_TICK_MS;
	flow_weigh(&flows, f);
	assert_false(f->heavy);
	f->sent += FLOW_HEAVY;
	flow_weigh(&flows, f);
	assert_false(f->heavy);
	f->sent += 1;
	flow_weigh(&flows, f);
	assert_true(f->heavy);

	loop.now_ms += FLOW_HEAVY / 2 / FLOW_HEAVY_RATE;
	flow_weigh(&flows, f);
	assert_true(f->heavy); /* still */
	loop.now_ms += FLOW_HEAVY / FLOW_HEAVY_RATE;
	f->sent += 100;
	flow_weigh(&flows, f);
	assert_true(f->heavy); /* this may be the begin of more */
	flow_answers(f);
	assert_false(f->heavy);

	/* Also one that is as long as eight bits can tell */
	f->sent += 2 * FLOW_HEAVY;
	flow_weigh(&flows, f);
	loop.now_ms += 256 * FLOW_TICK_MS;
	flow_weigh(&flows, f);
	flow_answers(f);
	assert_false(f->heavy);

	/* However much it was */
	f->sent += 1 << 30;
	flow_weigh(&flows, f);
	flow_answers(f);
	assert_true(f->heavy);
	loop.now_ms += 2 * FLOW_HEAVY / FLOW_HEAVY_RATE;
	flow_weigh(&flows, f);
	flow_answers(f);
	assert_false(f->heavy);
	flow_free(&flows, f);
}

static void on_drop(void *owner, struct flow *f)
{
	(void)owner;
	last = f;
	flow_free(&flows, f);
}

static const struct flow_type droppable = { .name = "test", .drop = on_drop };

static struct flow *lone(void)
{
	struct flow *f = flow_begin(&flows, FLOW_UDP, 1);

	if (f)
		flow_lone(&flows, f);
	return f;
}

/* The oldest that nobody has answered gives way, and nobody else */
static void gives_way(void **state)
{
	struct flow *f[4], *stays;
	struct packet p;
	unsigned i;

	(void)state;
	flows_type(&flows, FLOW_UDP, &droppable, NULL);
	flows.share = flows.begun + 5;
	log_stderr(false);
	stays = flow_begin(&flows, FLOW_TCP, 1);
	for (i = 0; i < 4; i++)
		assert_non_null(f[i] = lone());
	flow_answered(&flows, f[0]);
	flow_answered(&flows, f[0]); /* says nothing new */
	f[1]->inbox = &p;
	f[2]->ready[1] = READY_OUT; /* it has been, in this turn */
	assert_non_null(flow_begin(&flows, FLOW_TCP, 1));
	assert_ptr_equal(last, f[3]);
	assert_null(flow_begin(&flows, FLOW_TCP, 1));
	assert_non_null(flow_new(&flows, FLOW_TCP)); /* from outside */
	f[2]->ready[1] = 0;
	assert_non_null(flow_begin(&flows, FLOW_TCP, 1));
	assert_ptr_equal(last, f[2]);
	assert_null(flow_begin(&flows, FLOW_TCP, 1));
	f[1]->inbox = NULL;
	assert_non_null(flow_begin(&flows, FLOW_TCP, 1));
	assert_ptr_equal(last, f[1]);
	assert_null(flow_begin(&flows, FLOW_TCP, 1));
	flow_free(&flows, stays);
	assert_non_null(flow_begin(&flows, FLOW_TCP, 1));
	assert_null(flows.lone[0].first);
	assert_null(flows.lone[0].last);
	assert_int_equal(flows.lone[0].fds, 0);
	log_stderr(true);
}

/* Who comes from outside leaves the guest something, be it by connections or datagrams */
static void outside_has_a_share(void **state)
{
	struct flow *f, *first, *silent;

	(void)state;
	flows_type(&flows, FLOW_UDP, &droppable, NULL);
	flows_type(&flows, FLOW_SPLICE, &droppable, NULL);
	log_stderr(false);
	flows_share(&flows, 32);
	flows.share = flows.fds - flows.begun + 4;
	last = NULL;
	assert_non_null(first = flow_accept(&flows, FLOW_SPLICE));
	assert_non_null(silent = flow_admit(&flows, FLOW_UDP));
	flow_lone(&flows, silent);
	assert_null(flow_accept(&flows, FLOW_SPLICE)); /* it has two */
	assert_non_null(f = flow_accept(&flows, FLOW_TCP));
	assert_null(flow_accept(&flows, FLOW_TCP));
	assert_null(last);
	assert_non_null(flow_admit(&flows, FLOW_UDP)); /* in the place of another */
	assert_ptr_equal(last, silent);
	assert_null(flow_admit(&flows, FLOW_UDP));
	flow_free(&flows, f);
	assert_non_null(flow_admit(&flows, FLOW_UDP));
	flow_free(&flows, first);
	assert_non_null(flow_accept(&flows, FLOW_SPLICE));
	assert_null(flow_accept(&flows, FLOW_TCP));
	log_stderr(true);
}

/* So do those that anybody may begin, one eighth of all, and only for each other */
static void strangers_give_way(void **state)
{
	struct flow *f[4], *guests;
	unsigned i, was = flows.count;

	(void)state;
	flows_type(&flows, FLOW_UDP, &droppable, NULL);
	flows_share(&flows, 32);
	last = NULL;
	assert_non_null(guests = lone());
	for (i = 0; i < 4; i++) {
		assert_non_null(f[i] = flow_admit(&flows, FLOW_UDP));
		flow_lone(&flows, f[i]);
	}
	assert_null(last);
	flow_answered(&flows, f[0]);
	assert_non_null(f[0] = flow_admit(&flows, FLOW_UDP));
	flow_lone(&flows, f[0]);
	assert_null(last);
	assert_int_equal(flows.count, was + 6);
	f[1]->ready[0] = READY_IN;
	assert_non_null(flow_admit(&flows, FLOW_UDP));
	assert_ptr_equal(last, f[2]);
	assert_int_equal(flows.count, was + 6);
	assert_true(guests->lone_prev);
	assert_int_equal(flows.lone[1].fds, 3);
}

/* A guest that takes nothing of what it is answered does not make us look for long */
static void looks_at_few(void **state)
{
	enum { MANY = 1000 };
	static struct flow *f[MANY];
	unsigned i;

	(void)state;
	flows_type(&flows, FLOW_UDP, &droppable, NULL);
	flows.share = flows.begun + MANY;
	log_stderr(false);
	for (i = 0; i < MANY; i++) {
		assert_non_null(f[i] = lone());
		f[i]->ready[1] = i < MANY - 1 ? READY_IN : 0;
	}
	assert_null(lone());
	f[100]->ready[1] = 0;
	assert_non_null(lone());
	assert_ptr_equal(last, f[100]);
	log_stderr(true);
}

/* The guest has seven eighths of the table, however many descriptors there are */
static void shares_the_table(void **state)
{
	static struct flow *f[FLOW_MAX];
	unsigned made = 0, i;

	(void)state;
	flows_share(&flows, 0);
	assert_int_equal(flows.share, 1);
	flows_share(&flows, 800);
	assert_int_equal(flows.share, 700);
	flows_share(&flows, UINT_MAX);
	flows_type(&flows, FLOW_UDP, &droppable, NULL);
	log_stderr(false);
	while (made < FLOW_MAX && (f[made] = flow_begin(&flows, FLOW_TCP, 1)))
		made++;
	log_stderr(true);
	assert_true(made < FLOW_MAX - FLOW_MAX / 16);
	assert_non_null(f[made] = flow_new(&flows, FLOW_TCP));
	for (i = 0; i <= made; i++)
		flow_free(&flows, f[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(finds_what_was_entered),
		cmocka_unit_test(finds_as_many_as_there_can_be),
		cmocka_unit_test(table_has_an_end),
		cmocka_unit_test(memory_goes_back),
		cmocka_unit_test(event_reaches_its_flow_only),
		cmocka_unit_test(timer_reaches_its_flow),
		cmocka_unit_test(held_queue_keeps_its_order),
		cmocka_unit_test(heavy_until_a_pause),
		cmocka_unit_test(gives_way),
		cmocka_unit_test(outside_has_a_share),
		cmocka_unit_test(strangers_give_way),
		cmocka_unit_test(shares_the_table),
		cmocka_unit_test(looks_at_few),
		cmocka_unit_test(held_queue_lets_drain),
	};

	return cmocka_run_group_tests(tests, start, NULL);
}
