/* SPDX-License-Identifier: GPL-2.0-or-later */
/* unit: sock addr util log */
/* Which namespace a socket belongs to is asked of the kernel: a port that is
 * bound in one is free in the other. */
#include "ns.h"

#include "netns.h"

#include <netinet/in.h>

static int home = -1, other = -1;
static unsigned visits;
static bool refuse_visits;

static int visit(void *owner, int (*fn)(void *arg), void *arg)
{
	int ret;

	(void)owner;
	if (refuse_visits)
		return -EPERM;
	visits++;
	assert_int_equal(setns(other, CLONE_NEWNET), 0);
	ret = fn(arg);
	assert_int_equal(setns(home, CLONE_NEWNET), 0);
	return ret;
}

static struct ns ns;

static int setup(void **state)
{
	enter_netns(state);
	if (!have_netns)
		return 0;
	home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	have_netns = !unshare(CLONE_NEWNET) && lo_up();
	other = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	assert_int_equal(setns(home, CLONE_NEWNET), 0);
	return 0;
}

static int fresh(void **state)
{
	(void)state;
	ns = (struct ns){ .run = visit };
	sock_init(&ns.env);
	visits = 0;
	refuse_visits = false;
	return 0;
}

static int teardown(void **state)
{
	unsigned k, v;

	(void)state;
	for (k = 0; k < NS_KINDS; k++)
		for (v = 0; v < 2; v++)
			while (ns.pool[k][v].n)
				close(ns.pool[k][v].fd[--ns.pool[k][v].n]);
	return 0;
}

static int bind_port(int fd, bool v4)
{
	struct sockaddr_in a4 = { .sin_family = AF_INET,
				  .sin_port = htons(7000) };
	struct sockaddr_in6 a6 = { .sin6_family = AF_INET6,
				   .sin6_port = htons(7000) };

	return v4 ? bind(fd, (void *)&a4, sizeof(a4)) :
		    bind(fd, (void *)&a6, sizeof(a6));
}

static void made_there(void **state)
{
	unsigned k, v;

	(void)state;
	NEED_NETNS();
	for (k = 0; k < NS_KINDS; k++)
		for (v = 0; v < 2; v++) {
			int type = k == NS_TCP ? SOCK_STREAM : SOCK_DGRAM;
			int here = socket(v ? AF_INET : AF_INET6, type, 0);
			int there = ns_socket(&ns, k, v), twice;

			assert_true(there >= 0);
			assert_int_equal(bind_port(here, v), 0);
			assert_int_equal(bind_port(there, v), 0);
			twice = ns_socket(&ns, k, v);
			assert_int_equal(bind_port(twice, v), -1);
			close(here);
			close(there);
			close(twice);
		}
	assert_int_equal(visits, 4);
}

static void one_visit_for_many(void **state)
{
	unsigned i, size;

	(void)state;
	NEED_NETNS();
	ns_refill(&ns, NS_UDP, true);
	assert_int_equal(visits, 1);
	assert_int_equal(ns.pool[NS_UDP][0].n, NS_POOL_MIN);
	for (size = NS_POOL_MIN; size <= NS_POOL; size *= 2) {
		unsigned before = visits;

		assert_int_equal(ns.pool[NS_UDP][0].n, size);
		for (i = 0; visits == before; i++) {
			int fd = ns_socket(&ns, NS_UDP, true);

			assert_true(fd >= 0);
			close(fd);
			ns_refill(&ns, NS_UDP, true);
		}
		assert_true(i > size * 3 / 4);
	}
	assert_int_equal(ns.pool[NS_UDP][0].n, NS_POOL);
	assert_int_equal(ns.pool[NS_UDP][1].n, 0);
}

static void refused(void **state)
{
	(void)state;
	NEED_NETNS();
	refuse_visits = true;
	assert_int_equal(ns_socket(&ns, NS_TCP, true), -EPERM);
	refuse_visits = false;
	ns_refill(&ns, NS_TCP, true);
	refuse_visits = true;
	close(ns_socket(&ns, NS_TCP, true)); /* there are some left */
}

#define T(f) cmocka_unit_test_setup_teardown(f, fresh, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(made_there), T(one_visit_for_many), T(refused),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
