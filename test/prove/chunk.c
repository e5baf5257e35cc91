/* SPDX-License-Identifier: GPL-2.0-or-later */
/* prove: CHUNK_BLOCK=4 CHUNK_BLOCKS=6 KEEP_BLOCKS=1 KEEP_PART=2 --unwind 6
 *
 * A step on a queue of up to two blocks, anywhere in a pool of which up to two are
 * free: what is taken or described lies in blocks of this queue, what goes back to the
 * kernel is nobody's, and the state is such a one again, other queues as they were. */
#include "prove.h"

#include <chunk.c>

enum { MINE = 2, FREE = 2, ALL = MINE + FREE };

static uint8_t mem[CHUNK_BLOCK * CHUNK_BLOCKS];
static struct chunks pool;
static struct chunk_queue q;
/* Those of the queue, of the list of free ones, and one of another queue, if any */
static uint16_t mine[ALL + 1], spare[ALL + 1], other, others_next;
static unsigned mines, spares;

void *util_map(size_t bytes)
{
	(void)bytes;
	return NULL;
}

static unsigned in(const uint16_t *list, unsigned n, uint16_t b)
{
	unsigned i, found = 0;

	for (i = 0; i < n; i++)
		found += list[i] == b;
	return found;
}

/* Whether these are bytes of a block of @list */
static bool inside(const void *p, size_t len, const uint16_t *list, unsigned n)
{
	size_t at = __CPROVER_POINTER_OFFSET(p), b = at / CHUNK_BLOCK + 1;

	return __CPROVER_POINTER_OBJECT(p) ==
		       __CPROVER_POINTER_OBJECT(pool.mem) &&
	       len <= CHUNK_BLOCK - at % CHUNK_BLOCK && b <= pool.fresh &&
	       in(list, n, (uint16_t)b) == 1;
}

/* The blocks of a list, and that it ends */
static unsigned walk(uint16_t b, uint16_t *list)
{
	unsigned n = 0;

	for (; b && n <= ALL; b = pool.next[b - 1]) {
		SHOW(b <= CHUNK_BLOCKS);
		list[n++] = b;
	}
	SHOW(n <= ALL);
	return n;
}

static void valid(void)
{
	unsigned i;

	mines = walk(q.first, mine);
	spares = walk(pool.free, spare);
	for (i = 0; i < mines; i++)
		SHOW(mine[i] <= pool.fresh && in(mine, mines, mine[i]) == 1 &&
		     !in(spare, spares, mine[i]));
	for (i = 0; i < spares; i++)
		SHOW(spare[i] <= pool.fresh &&
		     in(spare, spares, spare[i]) == 1);
	SHOW(q.last == (mines ? mine[mines - 1] : 0));
	SHOW(q.at < CHUNK_BLOCK && !q.len == !mines);
	SHOW(mines == (q.at + q.len + CHUNK_BLOCK - 1) / CHUNK_BLOCK);
	SHOW(pool.fresh <= CHUNK_BLOCKS && pool.fresh - pool.used == spares);
	SHOW(pool.used >= mines && pool.peak >= pool.used);
	SHOW(pool.clean <= spares);
	if (other)
		SHOW(other <= pool.fresh && !in(mine, mines, other) &&
		     !in(spare, spares, other) &&
		     pool.next[other - 1] == others_next);
}

size_t iov_read(const struct iovec *iov, unsigned cnt, size_t off, void *dst,
		size_t len)
{
	(void)iov, (void)cnt, (void)off;
	SHOW(inside(dst, len, &q.last, 1));
	/* Behind what is there */
	SHOW((__CPROVER_POINTER_OFFSET(dst) - q.at - q.len) % CHUNK_BLOCK == 0);
	return len;
}

int madvise(void *p, size_t len, int advice)
{
	(void)advice;
	SHOW(!q.first && pool.used <= pool.peak);
	if (pool.used)
		SHOW(inside(p, len, &other, 1) == 0 && len == CHUNK_BLOCK);
	else
		SHOW(p == pool.mem && len <= sizeof(mem));
	return any_bool() ? 0 : -1;
}

static void any_state(void)
{
	unsigned i, n = any_unsigned(), left = any_unsigned();
	uint16_t b[ALL + 1];

	__CPROVER_havoc_object(&pool);
	pool.mem = mem;
	ASSUME(n <= MINE && left <= FREE && pool.fresh <= CHUNK_BLOCKS);
	ASSUME(n + left <= pool.fresh && pool.peak <= CHUNK_BLOCKS);
	pool.used = pool.fresh - left;
	ASSUME(pool.peak >= pool.used && pool.clean <= left);
	for (i = 0; i <= n + left; i++)
		ASSUME(b[i] && b[i] <= pool.fresh && !in(b, i, b[i]));
	pool.free = left ? b[n] : 0;
	for (i = 0; i < n + left; i++)
		pool.next[b[i] - 1] =
			i + 1 == n || i + 1 == n + left ? 0 : b[i + 1];
	other = pool.used > n ? b[n + left] : 0;
	others_next = other ? pool.next[other - 1] : 0;
	q = (struct chunk_queue){ 0 };
	if (n) {
		q.first = b[0];
		q.last = b[n - 1];
		q.at = (uint16_t)any_unsigned();
		q.len = any_unsigned();
		ASSUME(q.at < CHUNK_BLOCK && q.len &&
		       q.len <= MINE * CHUNK_BLOCK);
		ASSUME(n == (q.at + q.len + CHUNK_BLOCK - 1) / CHUNK_BLOCK);
	}
}

static void put(void)
{
	size_t room = chunk_room(&pool, &q), want = any_size();
	uint32_t had = q.len;
	size_t got;

	ASSUME(want <= 2 * CHUNK_BLOCK);
	got = chunk_put(&pool, &q, NULL, 0, 0, want);
	SHOW(q.len == had + got);
	SHOW(got == MIN(room, want));
	SHOW(chunk_room(&pool, &q) == room - got);
}

static void drop(void)
{
	size_t n = any_size(), at = q.at;
	uint32_t had = q.len;

	ASSUME(n <= had);
	chunk_drop(&pool, &q, n);
	SHOW(q.len == had - n);
	SHOW(!q.len || q.at == (at + n) % CHUNK_BLOCK);
}

static void describe(void)
{
	size_t off = any_size(), len = any_size(), sum = 0;
	struct iovec iov[ALL];
	unsigned max = any_unsigned(), n, i;

	ASSUME(max <= ALL);
	mines = walk(q.first, mine);
	n = chunk_iov(&pool, &q, off, len, iov, max);
	SHOW(n <= max);
	for (i = 0; i < n; i++) {
		SHOW(iov[i].iov_len &&
		     inside(iov[i].iov_base, iov[i].iov_len,
			    &mine[(q.at + off + sum) / CHUNK_BLOCK], 1));
		SHOW(__CPROVER_POINTER_OFFSET(iov[i].iov_base) % CHUNK_BLOCK ==
		     (q.at + off + sum) % CHUNK_BLOCK);
		sum += iov[i].iov_len;
	}
	if (off >= q.len)
		SHOW(!n);
	else
		SHOW(sum == MIN(len, q.len - off) || n == max);
}

/* Room behind what is there, of which some is used: what is not goes back */
static void extend(void)
{
	size_t room = chunk_room(&pool, &q), len = any_size(), used = any_size();
	unsigned max = any_unsigned(), n, i;
	struct chunk_queue was = q;
	struct iovec iov[ALL];
	size_t end = q.at + q.len;

	ASSUME(len <= 2 * CHUNK_BLOCK && max <= ALL);
	n = chunk_extend(&pool, &q, len, iov, max);
	SHOW(n <= max);
	mines = walk(q.first, mine);
	for (i = 0; i < n; i++) {
		SHOW(iov[i].iov_len &&
		     inside(iov[i].iov_base, iov[i].iov_len,
			    &mine[end / CHUNK_BLOCK], 1));
		SHOW(__CPROVER_POINTER_OFFSET(iov[i].iov_base) % CHUNK_BLOCK ==
		     end % CHUNK_BLOCK);
		end += iov[i].iov_len;
	}
	end -= was.at + was.len;
	SHOW(end == MIN(room, len) || n == max);
	ASSUME(used <= end);
	chunk_extended(&pool, &q, used);
	SHOW(q.len == was.len + used);
	SHOW(!was.len || (q.first == was.first && q.at == was.at));
	SHOW(chunk_room(&pool, &q) == room - used);
}

int main(void)
{
	any_state();
	switch (any_unsigned() % 4) {
	case 0:
		put();
		break;
	case 1:
		drop();
		break;
	case 2:
		extend();
		break;
	default:
		describe();
	}
	valid();
	return 0;
}
