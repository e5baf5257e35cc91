/* SPDX-License-Identifier: GPL-2.0-or-later */
/* unit: addr */
#include "neigh.h"
#include "util.h"

#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>

static const struct mac ours = { { 0x9a, 0x55, 0x9a, 0x55, 0x9a, 0x55 } };
static const struct addr no_gw;
static struct neigh n;

static int fresh(void **state)
{
	(void)state;
	memset(&n, 0, sizeof(n));
	return 0;
}

static struct addr host(unsigned i)
{
	struct addr a = addr_v4(10, 0, (uint8_t)(i >> 8), (uint8_t)i);

	/* Every other one IPv6 */
	return i % 2 ? (struct addr){ .b = { 0xfe, 0x80, [14] = (uint8_t)(i >> 8),
					     (uint8_t)i } } :
		       a;
}

static struct mac mac(unsigned i)
{
	return (struct mac){ { 2, 0, 0, 0, (uint8_t)(i >> 8), (uint8_t)i } };
}

static bool shows(unsigned i, const struct mac *want)
{
	struct addr a = host(i);

	return mac_equal(neigh_mac(&n, &a, &no_gw, &ours), want);
}

static bool learn(unsigned i, unsigned m, bool permanent)
{
	struct addr a = host(i);
	struct mac x = mac(m);

	return neigh_set(&n, &a, &x, permanent);
}

static void forget(unsigned i)
{
	struct addr a = host(i);

	neigh_forget(&n, &a);
}

static void learning(void **state)
{
	struct mac one = mac(1), two = mac(2);

	(void)state;
	assert_true(shows(7, &ours));
	assert_true(learn(7, 1, false));
	assert_true(shows(7, &one));
	assert_true(shows(8, &ours));
	assert_false(learn(7, 1, false)); /* nothing new: no announcement */
	assert_true(learn(7, 2, false));
	assert_true(shows(7, &two));
	assert_int_equal(n.n, 1);
	forget(8);
	forget(7);
	forget(7);
	assert_true(shows(7, &ours));
	assert_int_equal(n.n, 0);
}

static void permanent_entries(void **state)
{
	struct mac one = mac(1), two = mac(2);

	(void)state;
	assert_true(learn(7, 1, true));
	assert_false(learn(7, 2, false));
	forget(7);
	assert_true(shows(7, &one));
	assert_false(learn(7, 1, true));
	assert_true(learn(7, 2, true));
	assert_true(shows(7, &two));
	/* What was learnt may become permanent */
	assert_true(learn(9, 1, false));
	assert_true(learn(9, 1, true));
	forget(9);
	assert_true(shows(9, &one));
}

static void gateway(void **state)
{
	struct addr a = host(1), gw = host(2);
	struct mac m = mac(2), own = mac(1);

	(void)state;
	assert_true(mac_equal(neigh_mac(&n, &a, &gw, &ours), &ours));
	neigh_set(&n, &gw, &m, false);
	assert_true(mac_equal(neigh_mac(&n, &a, &gw, &ours), &m));
	neigh_set(&n, &a, &own, false);
	assert_true(mac_equal(neigh_mac(&n, &a, &gw, &ours), &own));
}

static void zero_address(void **state)
{
	struct mac m = mac(1);

	(void)state;
	assert_false(neigh_set(&n, &no_gw, &m, false));
	neigh_forget(&n, &no_gw);
	assert_true(mac_equal(neigh_mac(&n, &no_gw, &no_gw, &ours), &ours));
	assert_int_equal(n.n, 0);
}

static void full(void **state)
{
	unsigned i;

	(void)state;
	for (i = 0; i < NEIGH_MAX; i++)
		assert_true(learn(i, i, false));
	assert_false(learn(NEIGH_MAX, 1, false));
	assert_true(shows(NEIGH_MAX, &ours));
	assert_true(learn(3, 99, false)); /* known ones still change */
	forget(4);
	assert_true(learn(NEIGH_MAX, 1, false));
	assert_int_equal(n.n, NEIGH_MAX);
}

/* Random learning and forgetting against an array indexed by host */
static void like_an_array(void **state)
{
	enum { HOSTS = 700 };
	static int twin[HOSTS];
	uint32_t seed = 7;
	unsigned i, count = 0, round;

	(void)state;
	for (i = 0; i < HOSTS; i++)
		twin[i] = -1;
	for (round = 0; round < 20000; round++) {
		unsigned who, what;

		seed = seed * 1664525 + 1013904223;
		who = (seed >> 8) % HOSTS;
		what = seed >> 28;
		if (what < 7) {
			forget(who);
			count -= twin[who] >= 0;
			twin[who] = -1;
		} else {
			bool want = twin[who] != (int)what &&
				    (twin[who] >= 0 || count < NEIGH_MAX);

			assert_int_equal(learn(who, what, false), want);
			if (want) {
				count += twin[who] < 0;
				twin[who] = (int)what;
			}
		}
		assert_int_equal(n.n, count);
		if (round % 100)
			continue;
		for (i = 0; i < HOSTS; i++) {
			struct mac m = twin[i] < 0 ? ours :
						     mac((unsigned)twin[i]);

			assert_true(shows(i, &m));
		}
	}
}

int main(void)
{
	static const struct CMUnitTest t[] = {
		cmocka_unit_test_setup(learning, fresh),
		cmocka_unit_test_setup(permanent_entries, fresh),
		cmocka_unit_test_setup(gateway, fresh),
		cmocka_unit_test_setup(zero_address, fresh),
		cmocka_unit_test_setup(full, fresh),
		cmocka_unit_test_setup(like_an_array, fresh),
	};

	return cmocka_run_group_tests(t, NULL, NULL);
}
