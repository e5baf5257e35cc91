/* SPDX-License-Identifier: GPL-2.0-or-later */
/* unit: follow renew plan conf options resolvconf rules boot egress fwd dnsanswer ndp neigh dnsname loop timer addrset addr util log events */
/* What is reset when, on a clock of our own: the host is what the test says, its
 * notifications are bytes in a socket, and flows are entries of a table. */
#include "follow.h"

#include "../still.h"
#include "clock.h"

#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

enum { FLOWS = 3, SECOND = 1000 };

static struct loop loop;
static struct events events;
static struct renew renew;
static struct flow flow[FLOWS];
static struct flows flows;
static struct follow follow;
static int notify[2];
static bool has[FLOWS]; /* addresses of the host */
static bool many;
static uint64_t dropped_ms[FLOWS];
static uint64_t looks;

/* --- in place of what is below ------------------------------------------------ */

static struct addr address(unsigned i)
{
	char text[] = "192.0.2.0";
	struct addr a;

	text[8] = (char)('1' + i);
	assert_true(addr_parse(text, &a));
	return a;
}

static void look(struct hostnet *h)
{
	unsigned i;

	looks++;
	addrset_clear(&h->addrs);
	h->many = many;
	h->view = (struct hostnet_view){ .t[0].ifindex = 2, .t[0].mtu = 1500 };
	h->view.t[0].addr = address(8);
	for (i = 0; i < FLOWS; i++) {
		struct addr a = address(i);

		if (!has[i])
			continue;
		if (h->addrs.room) /* the first look has none */
			assert_true(addrset_put(&h->addrs, &a));
		h->view.addrs |= 1U << i;
	}
}

int hostnet_begin(struct hostnet *h)
{
	look(h);
	return 0;
}

int hostnet_step(struct hostnet *h)
{
	(void)h;
	return 0;
}

int hostnet_look(struct hostnet *h)
{
	look(h);
	return 0;
}

int nl_listen(uint32_t groups)
{
	(void)groups;
	return notify[0];
}

int nl_open(struct netlink *n)
{
	(void)n;
	return 0;
}

int nl_read(int fd, nl_fn *fn, void *arg)
{
	char sink[64];

	(void)fn;
	(void)arg;
	while (recv(fd, sink, sizeof(sink), MSG_DONTWAIT) > 0)
		;
	return 0;
}

int listen_renew(struct listen *l)
{
	(void)l;
	return 0;
}

void guest_advertise(struct guest *g)
{
	(void)g;
}

void guest_farewell(struct guest *g, const struct lan *was)
{
	(void)g;
	(void)was;
}

void guest_renew(struct guest *g)
{
	(void)g;
}

int sock_local(int fd, struct addr *a, uint16_t *port)
{
	*a = address((unsigned)fd);
	*port = 1;
	return 0;
}

static void drop(void *owner, struct flow *f)
{
	(void)owner;
	dropped_ms[f - flow] = clock_ms;
	f->kind = FLOW_FREE;
}

static const struct flow_type type = { .drop = drop };

/* --- time ----------------------------------------------------------------------- */

/* Connections with addresses of their own, all of which the host has */
static int setup(void **state)
{
	static struct conf conf;
	struct hostnet first = { 0 };
	unsigned i;

	(void)state;
	log_stderr(false);
	clock_ms = 100 * SECOND;
	looks = 0;
	many = false;
	assert_false(socketpair(AF_UNIX, SOCK_DGRAM, 0, notify));
	assert_false(loop_init(&loop));
	loop_start(&loop);
	flows = (struct flows){ .loop = &loop, .flow = flow, .fresh = FLOWS };
	for (i = 0; i < FLOWS; i++) {
		has[i] = true;
		dropped_ms[i] = 0;
		flow[i] = (struct flow){ .kind = FLOW_TCP };
		flow[i].side[0] = (struct side){ .pif = PIF_TAP, .fd = -1 };
		flow[i].side[1] = (struct side){ .pif = PIF_HOST,
						 .fd = (int)i };
	}
	flows.type[FLOW_TCP] = &type;
	memset(&events, 0, sizeof(events));
	renew_init(&renew, &conf);
	follow = (struct follow){ .loop = &loop, .renew = &renew,
				  .flows = &flows, .events = &events };
	look(&first);
	memcpy(renew.host.t, first.view.t, sizeof(first.view.t));
	assert_false(follow_start(&follow, &first));
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	close(notify[0]);
	close(notify[1]);
	close(loop.epfd);
	return 0;
}

/* In steps that no timer of interest hides in */
static void wait_ms(uint64_t ms)
{
	uint64_t end = clock_ms + ms;

	for (; clock_ms < end; clock_ms += 20)
		assert_true(loop_turn(&loop));
}

static void change(unsigned i, bool to)
{
	has[i] = to;
	assert_int_equal(send(notify[1], "x", 1, 0), 1);
}

/* --- tests ------------------------------------------------------------------------ */

/* Ten seconds, and not many more */
static void test_gone(void **state)
{
	uint64_t start = clock_ms;

	(void)state;
	wait_ms(20 * SECOND);
	start = clock_ms;
	change(0, false);
	wait_ms(60 * SECOND);
	assert_in_range(dropped_ms[0] - start, 10 * SECOND, 11 * SECOND);
	assert_int_equal(dropped_ms[1], 0);
	assert_int_equal(dropped_ms[2], 0);
}

/* One that goes while another one is waited for has as long */
static void test_one_after_the_other(void **state)
{
	uint64_t start;

	(void)state;
	wait_ms(20 * SECOND);
	start = clock_ms;
	change(0, false);
	wait_ms(6 * SECOND);
	change(1, false);
	wait_ms(3 * SECOND);
	change(2, false);
	wait_ms(60 * SECOND);
	assert_in_range(dropped_ms[0] - start, 10 * SECOND, 11 * SECOND);
	assert_in_range(dropped_ms[1] - start, 16 * SECOND, 26 * SECOND);
	assert_in_range(dropped_ms[2] - start, 19 * SECOND, 29 * SECOND);
}

/* However often, as long as it comes back */
static void test_flaps(void **state)
{
	unsigned i;

	(void)state;
	for (i = 0; i < 20; i++) {
		change(0, false);
		wait_ms(7 * SECOND);
		change(0, true);
		wait_ms(2 * SECOND);
	}
	wait_ms(60 * SECOND);
	assert_int_equal(dropped_ms[0], 0);
	/* And then it does not: 10 s, or 20 where it was waited for already */
	change(0, false);
	wait_ms(5 * SECOND);
	change(0, true);
	wait_ms(2 * SECOND);
	i = (unsigned)(clock_ms / SECOND);
	change(0, false);
	wait_ms(60 * SECOND);
	assert_in_range(dropped_ms[0], (i + 10) * SECOND, (i + 21) * SECOND);
}

/* Ten times a second for a minute: looks are counted, nothing is reset, and then
 * there is peace */
static void test_storm(void **state)
{
	uint64_t before;
	unsigned i;

	(void)state;
	wait_ms(20 * SECOND);
	before = looks;
	for (i = 0; i < 600; i++) {
		change(0, i & 1);
		wait_ms(100);
	}
	assert_in_range(looks - before, 30, 80);
	assert_int_equal(dropped_ms[0], 0);
	wait_ms(2 * SECOND);
	before = looks;
	wait_ms(600 * SECOND);
	assert_int_equal(looks, before);
	assert_int_equal(dropped_ms[0], 0);
}

/* Where not all are known none is missed; that is told once */
static void test_too_many(void **state)
{
	uint64_t before;
	unsigned i;

	(void)state;
	wait_ms(20 * SECOND);
	many = true;
	before = events.n;
	for (i = 0; i < 3; i++) {
		change(i, false);
		wait_ms(20 * SECOND);
	}
	for (i = 0; i < FLOWS; i++)
		assert_int_equal(dropped_ms[i], 0);
	assert_int_equal(events.n - before, 1);
	assert_non_null(strstr(events.ring[before].text, "more than 16384"));
}

int main(void)
{
#define T(t) cmocka_unit_test_setup_teardown(t, setup, teardown)
	static const struct CMUnitTest tests[] = {
		T(test_gone), T(test_one_after_the_other), T(test_flaps),
		T(test_storm), T(test_too_many),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
