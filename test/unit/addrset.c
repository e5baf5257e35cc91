/* SPDX-License-Identifier: GPL-2.0-or-later */
/* unit: addr util */
#include "addrset.h"
#include "util.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <stdlib.h>

static struct addr number(uint32_t n)
{
	struct addr a = { .b = { 0xfd } };

	if (n % 2)
		return addr_v4(10, (uint8_t)(n >> 16), (uint8_t)(n >> 8),
			       (uint8_t)n);
	st_be32(&a.b[n % 3 * 4 + 4], n + 1);
	return a;
}

static void empty(void **state)
{
	struct addrset s = { 0 };
	struct addr none = { 0 }, a = number(1);

	(void)state;
	assert_false(addrset_has(&s, &a));
	assert_true(addrset_add(&s, &none));
	assert_int_equal(s.n, 0);
	assert_true(addrset_add(&s, &a));
	assert_false(addrset_has(&s, &none));
}

/* Beside a list: what is in one is in the other */
static void any_number(void **state)
{
	enum { MAX = 20000 };
	static bool in[MAX];
	struct addrset s = { 0 };
	unsigned i, n = 0;
	struct addr a;

	(void)state;
	srand(1);
	for (i = 0; i < MAX; i++) {
		uint32_t v = (uint32_t)rand() % MAX;

		a = number(v);
		n += !in[v];
		in[v] = true;
		assert_true(addrset_add(&s, &a));
		assert_int_equal(s.n, n);
	}
	for (i = 0; i < MAX; i++) {
		a = number(i);
		assert_int_equal(addrset_has(&s, &a), in[i]);
	}
}

/* Cleared and filled, with room and without more */
static void room(void **state)
{
	struct addrset s = { 0 };
	unsigned round, i;
	struct addr a;

	(void)state;
	assert_true(addrset_room(&s, 1000));
	for (round = 0; round < 3; round++) {
		for (i = 0; i < 1024; i++) {
			a = number(2 * i + round);
			assert_true(addrset_put(&s, &a));
		}
		assert_int_equal(s.n, 1024);
		a = number(9999);
		assert_false(addrset_put(&s, &a));
		for (i = 0; i < 1024; i++) {
			a = number(2 * i + round);
			assert_true(addrset_has(&s, &a));
		}
		addrset_clear(&s);
		assert_int_equal(s.n, 0);
		for (i = 0; i < s.size; i++)
			assert_true(addr_is_none(&s.slot[i]));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(empty),
		cmocka_unit_test(any_number),
		cmocka_unit_test(room),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
