/* SPDX-License-Identifier: GPL-2.0-or-later */
/* unit: chunk iov util */
/* Pieces of a stream in any order, again and overlapping, against a twin that has a
 * mark for each byte. */
#include "ahead.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

enum { STREAM = 200 * 1000, WINDOW = 60 * 1000, MOST = 4 };

static struct chunks pool;
static struct aheads t;
static uint8_t bytes[STREAM];

/* The plain twin; the stream's first number is just below 2^31 */
static bool have[STREAM];
static const uint32_t first = 0x7fffff00;

static void put(struct ahead *a, size_t at, size_t len)
{
	size_t part = len / 3;
	struct iovec iov[2] = { { bytes + at, part },
				{ bytes + at + part, len - part } };

	ahead_put(&t, a, first + (uint32_t)at, iov, 2, len);
	memset(have + at, true, len);
}

/* What is there, byte for byte; runs do not overlap */
static void same(const struct ahead *a, size_t from)
{
	const struct ahead_run *r = NULL;
	size_t at = from, n = 0;

	while ((r = ahead_run(&t, a, r))) {
		struct iovec iov[WINDOW / CHUNK_BLOCK + 2];
		unsigned i, cnt = chunk_iov(&pool, &r->bytes, 0, r->bytes.len,
					    iov, ARRAY_SIZE(iov));
		size_t pos = r->seq - first;

		assert_true(pos >= at && r->bytes.len);
		for (; at < pos; at++)
			assert_false(have[at]);
		for (i = 0; i < cnt; at += iov[i++].iov_len)
			assert_memory_equal(iov[i].iov_base, bytes + at,
					    iov[i].iov_len);
		assert_int_equal(at, pos + r->bytes.len);
		for (; pos < at; pos++)
			assert_true(have[pos]);
		n++;
	}
	assert_int_equal(n, a->n);
	for (; at < MIN(from + WINDOW, STREAM); at++)
		assert_false(have[at]);
}

static void spans(const struct ahead *a, size_t from)
{
	struct span s[MOST];
	unsigned n = ahead_spans(&t, a, first + (uint32_t)from, s, MOST), i;
	size_t at, low = from, to, last = a->last - first;

	for (i = 0; i < n; i++) {
		at = s[i].from - first;
		to = s[i].to - first;
		assert_true(at > from && at < to);
		assert_true(to == STREAM || !have[to]);
		assert_false(have[at - 1]);
		for (; at < to; at++)
			assert_true(have[at]);
		if (!i && last > from && have[last]) {
			assert_true(s[0].from - first <= last && last < to);
			continue;
		}
		/* In order, and none between but perhaps the first */
		for (at = low; at < s[i].from - first; at++)
			assert_true(!have[at] || at == from ||
				    (at >= s[0].from - first &&
				     at < s[0].to - first) || have[from]);
		low = to;
	}
}

static void against_twin(void **state)
{
	struct ahead a = { 0 };
	size_t from = 0;
	unsigned i;

	(void)state;
	srand(3);
	for (i = 0; i < STREAM; i++)
		bytes[i] = (uint8_t)rand();
	for (i = 0; from < STREAM - WINDOW; i++) {
		struct chunk_queue q = { 0 };
		size_t at = from + 1 + (size_t)rand() % (WINDOW - 1);
		size_t len = 1 + (size_t)rand() % (i % 8 ? 1500 : 20000);

		put(&a, at, MIN(len, from + WINDOW - at));
		if (i % 20 == 19) { /* the hole is filled */
			size_t n = 1 + (size_t)rand() % 3000, to = from + n;

			memset(have + from, true, n);
			from = to;
			while (ahead_take(&t, &a, first + (uint32_t)from, &q)) {
				assert_true(have[from]);
				from += q.len;
				chunk_drop(&pool, &q, q.len);
			}
			assert_true(from == STREAM || !have[from]);
		}
		if (i % 4 == 0)
			same(&a, from);
		spans(&a, from);
		assert_true(t.blocks == pool.used);
	}
	assert_int_equal(t.refused, 0);
	assert_true(t.kept > WINDOW);
	ahead_drop(&t, &a);
	assert_int_equal(pool.used, 0);
	assert_int_equal(t.blocks, 0);
}

static void backwards(void **state)
{
	struct chunk_queue q = { 0 };
	struct ahead a = { 0 };
	size_t at, from = 1448;

	(void)state;
	for (at = 100 * 1448; at; at -= 1448)
		put(&a, at, 1448);
	assert_int_equal(t.refused, 0);
	assert_true(a.n < 20);
	while (ahead_take(&t, &a, first + (uint32_t)from, &q)) {
		from += q.len;
		chunk_drop(&pool, &q, q.len);
	}
	assert_int_equal(from, 101 * 1448);
	assert_int_equal(pool.used, 0);
}

static void limits(void **state)
{
	static struct ahead a[AHEAD_RUNS / AHEAD_EACH + 1];
	struct span s[MOST];
	unsigned i, k;

	(void)state;
	/* Of one: the others lose nothing, and what it has still grows */
	for (i = 0; i < 2 * AHEAD_EACH; i++)
		put(&a[0], 10 + 2 * i, 1);
	assert_int_equal(a[0].n, AHEAD_EACH);
	assert_int_equal(t.refused, AHEAD_EACH);
	put(&a[0], 11, 1);
	assert_int_equal(t.refused, AHEAD_EACH);
	assert_int_equal(ahead_spans(&t, &a[0], first, s, MOST), MOST);
	/* What was refused is not reported as what came last */
	put(&a[0], 1000, 1); /* in place of two that met */
	put(&a[0], 2000, 1);
	assert_int_equal(t.refused, AHEAD_EACH + 1);
	assert_int_equal(ahead_spans(&t, &a[0], first, s, MOST), MOST - 1);
	assert_int_equal(s[0].from, first + 10);
	assert_int_equal(s[0].to, first + 13);
	/* Of all */
	for (k = 1; k < ARRAY_SIZE(a); k++)
		for (i = 0; i < AHEAD_EACH; i++)
			put(&a[k], 10 + 2 * i, 1);
	assert_true(t.blocks <= AHEAD_BLOCKS);
	assert_true(t.fresh <= AHEAD_RUNS);
	for (k = 0; k < ARRAY_SIZE(a); k++)
		ahead_drop(&t, &a[k]);
	assert_int_equal(t.blocks, 0);
	assert_int_equal(pool.used, 0);
	/* Memory */
	t.refused = 0;
	for (k = 0; k < ARRAY_SIZE(a); k++)
		for (i = 0; i < 32; i++)
			put(&a[k], 1 + i * 6000, 5999);
	assert_int_equal(t.blocks, AHEAD_BLOCKS);
	assert_true(t.refused);
	for (k = 0; k < ARRAY_SIZE(a); k++)
		ahead_drop(&t, &a[k]);
	assert_int_equal(t.blocks, 0);
	assert_int_equal(pool.used, 0);
	assert_int_equal(pool.fresh, 0); /* given back */
}

static int start(void **state)
{
	(void)state;
	return chunks_init(&pool) || ahead_init(&t, &pool);
}

static int fresh(void **state)
{
	(void)state;
	t = (struct aheads){ .chunks = &pool, .run = t.run };
	memset(have, 0, sizeof(have));
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(against_twin, fresh),
		cmocka_unit_test_setup(backwards, fresh),
		cmocka_unit_test_setup(limits, fresh),
	};

	return cmocka_run_group_tests(tests, start, NULL);
}
