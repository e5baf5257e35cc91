/* SPDX-License-Identifier: GPL-2.0-or-later */
/* unit: iov util */
#include "chunk.h"
#include "iov.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <cmocka.h>

enum { QUEUES = 5, TWIN_MAX = 200000 };

static struct chunks pool;
static unsigned given_back;

int madvise(void *mem, size_t len, int advice)
{
	given_back++;
	return (int)syscall(SYS_madvise, mem, len, advice);
}

/* The plain twin: one long array, bytes moved to the front */
static struct twin {
	uint8_t b[TWIN_MAX];
	size_t len;
} twin[QUEUES];

static void same(const struct chunk_queue *q, const struct twin *t, size_t off)
{
	struct iovec iov[TWIN_MAX / CHUNK_BLOCK + 2];
	unsigned n = chunk_iov(&pool, q, off, t->len, iov, ARRAY_SIZE(iov)), i;
	size_t at = off;

	assert_int_equal(q->len, t->len);
	for (i = 0; i < n; i++) {
		assert_true(at + iov[i].iov_len <= t->len);
		assert_int_equal(memcmp(iov[i].iov_base, t->b + at,
					iov[i].iov_len), 0);
		at += iov[i].iov_len;
	}
	assert_int_equal(at, off < t->len ? t->len : off);
}

/* Room for as much, or more, is asked for first */
static void extend(struct chunk_queue *q, const uint8_t *b, size_t len)
{
	struct iovec iov[TWIN_MAX / CHUNK_BLOCK + 8];
	size_t want = len + (rand() % 2 ? (size_t)rand() % 100000 : 0);
	unsigned n = chunk_extend(&pool, q, want, iov, ARRAY_SIZE(iov));

	assert_int_equal(iov_size(iov, n), want);
	assert_int_equal(iov_write(iov, n, 0, b, len), len);
	chunk_extended(&pool, q, len);
}

static void put(struct chunk_queue *q, struct twin *t)
{
	size_t len = (size_t)rand() % (TWIN_MAX - t->len + 1), i, split;
	static uint8_t buf[TWIN_MAX + 1];
	uint32_t x = (uint32_t)rand();
	struct iovec iov[2];

	split = len ? (size_t)rand() % len : 0;
	iov[0] = (struct iovec){ buf, 1 + split };
	iov[1] = (struct iovec){ buf + 1 + split, len - split };
	for (i = 0; i < len; i++)
		buf[1 + i] = (uint8_t)((x = x * 1664525 + 1013904223) >> 24);
	if (rand() % 2)
		assert_int_equal(chunk_put(&pool, q, iov, 2, 1, len), len);
	else
		extend(q, buf + 1, len);
	memcpy(t->b + t->len, buf + 1, len);
	t->len += len;
}

static void drop(struct chunk_queue *q, struct twin *t)
{
	size_t n = rand() % 4 ? (size_t)rand() % (t->len + 1) : t->len;

	chunk_drop(&pool, q, n);
	memmove(t->b, t->b + n, t->len - n);
	t->len -= n;
}

static void against_twin(void **state)
{
	struct chunk_queue q[QUEUES] = { 0 };
	unsigned i, k;

	(void)state;
	srand(2);
	for (i = 0; i < 3000; i++) {
		k = (unsigned)rand() % QUEUES;
		if (rand() % 2)
			put(&q[k], &twin[k]);
		else
			drop(&q[k], &twin[k]);
		same(&q[k], &twin[k],
		     twin[k].len ? (size_t)rand() % twin[k].len : 0);
	}
	for (k = 0; k < QUEUES; k++)
		chunk_drop(&pool, &q[k], q[k].len);
	assert_int_equal(pool.used, 0);
}

static size_t resident(const void *mem, size_t bytes)
{
	static unsigned char page[(size_t)CHUNK_BLOCK * CHUNK_BLOCKS / 4096];
	size_t i, sum = 0;

	assert_int_equal(mincore((void *)(uintptr_t)mem, bytes, page), 0);
	for (i = 0; i < bytes / 4096; i++)
		sum += page[i] & 1;
	return sum * 4096;
}

static void pool_has_an_end(void **state)
{
	static uint8_t block[CHUNK_BLOCK];
	struct iovec iov = { block, sizeof(block) };
	struct chunk_queue a = { 0 }, b = { 0 };
	unsigned i;

	(void)state;
	chunk_put(&pool, &b, &iov, 1, 0, 100);
	for (i = 0; i < CHUNK_BLOCKS - 1; i++)
		assert_int_equal(chunk_put(&pool, &a, &iov, 1, 0, CHUNK_BLOCK),
				 CHUNK_BLOCK);
	assert_int_equal(chunk_put(&pool, &a, &iov, 1, 0, 1), 0);
	assert_int_equal(chunk_room(&pool, &a), 0);
	assert_int_equal(chunk_extend(&pool, &a, 1, &iov, 1), 0);
	chunk_extended(&pool, &a, 0);
	assert_int_equal(a.len, (size_t)(CHUNK_BLOCKS - 1) * CHUNK_BLOCK);
	assert_int_equal(chunk_room(&pool, &b), CHUNK_BLOCK - 100);
	assert_int_equal(chunk_put(&pool, &b, &iov, 1, 0, CHUNK_BLOCK),
			 CHUNK_BLOCK - 100);
	chunk_drop(&pool, &a, a.len);
	assert_int_equal(pool.used, 1);
	/* One that stays does not keep the others in memory */
	assert_true(resident(pool.mem, (size_t)CHUNK_BLOCK * CHUNK_BLOCKS) <=
		    (size_t)CHUNK_BLOCKS / 8 * CHUNK_BLOCK);
	chunk_drop(&pool, &b, b.len);
	assert_int_equal(pool.used, 0);
	assert_int_equal(pool.fresh, 0); /* given back */
}

/* What has gone back once is not given back again with each transfer that comes and goes,
 * however much there has been */
static void memory_goes_back_once(void **state)
{
	enum { SOME = 128 };
	static uint8_t block[CHUNK_BLOCK];
	struct iovec iov = { block, sizeof(block) };
	struct chunk_queue a = { 0 }, b = { 0 };
	unsigned i, before;

	(void)state;
	chunk_put(&pool, &b, &iov, 1, 0, 100);
	for (i = 0; i < CHUNK_BLOCKS - 1; i++)
		chunk_put(&pool, &a, &iov, 1, 0, CHUNK_BLOCK);
	chunk_drop(&pool, &a, a.len);
	before = given_back;
	for (i = 0; i < SOME; i++)
		chunk_put(&pool, &a, &iov, 1, 0, CHUNK_BLOCK);
	chunk_drop(&pool, &a, a.len);
	assert_int_equal(given_back - before, SOME);
	assert_true(resident(pool.mem, (size_t)CHUNK_BLOCK * CHUNK_BLOCKS) <=
		    (size_t)CHUNK_BLOCKS / 8 * CHUNK_BLOCK);
	chunk_drop(&pool, &b, b.len);
	assert_int_equal(pool.fresh, 0);
}

static int start(void **state)
{
	(void)state;
	return chunks_init(&pool);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(against_twin),
		cmocka_unit_test(pool_has_an_end),
		cmocka_unit_test(memory_goes_back_once),
	};

	return cmocka_run_group_tests(tests, start, NULL);
}
