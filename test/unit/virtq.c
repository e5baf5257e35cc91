/* SPDX-License-Identifier: GPL-2.0-or-later */
/* unit: vhost_mem util */
/* A toy guest: two regions of memory that follow each other for the guest, not
 * for us, and a driver that makes chains available in there. */
#include "virtq.h"
#include "../quiet.h"

#include <linux/virtio_ring.h>

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

/* --- the guest's memory --------------------------------------------------- */

enum {
	REGION = 0x10000,
	/* in the first region */
	DESC = 0,
	AVAIL = 0x4000,
	USED = 0x5000,
	TABLE = 0x8000, /* indirect ones */
	DATA = 0xc000,
	CANARY = 0xa5,
	NEXT = VRING_DESC_F_NEXT,
	WRITE = VRING_DESC_F_WRITE,
	INDIRECT = VRING_DESC_F_INDIRECT,
};

#define GPA 0x40000000ULL
#define UVA 0x7f5500000000ULL

/* The second region, what must not be touched, and the first: so that what
 * runs over its end leaves the array */
static _Alignas(16) uint8_t memory[3][REGION];
static struct vhost_mem mem;
static struct virtq q;

static struct vring_desc *desc(unsigned i)
{
	return (struct vring_desc *)(void *)(memory[2] + DESC) + i;
}

static struct vring_avail *avail(void)
{
	return (struct vring_avail *)(void *)(memory[2] + AVAIL);
}

static struct vring_used *used(void)
{
	return (struct vring_used *)(void *)(memory[2] + USED);
}

/* The obvious way from an address to a byte */
static uint8_t *byte_at(uint64_t gpa)
{
	if (gpa >= GPA && gpa < GPA + REGION)
		return memory[2] + (gpa - GPA);
	assert_true(gpa >= GPA + REGION && gpa < GPA + 2 * REGION);
	return memory[0] + (gpa - GPA - REGION);
}

static int place(void)
{
	return virtq_set(&q, UVA + DESC, UVA + AVAIL, UVA + USED);
}

/* All of the driver's indices begin at @at */
static void begin(unsigned size, uint16_t at)
{
	memset(memory, 0, sizeof(memory));
	memset(memory[1], CANARY, REGION);
	mem = (struct vhost_mem){ .n = 2 };
	mem.r[0] = (struct vhost_mapped){
		.gpa = GPA, .len = REGION, .uva = UVA, .at = memory[2]
	};
	/* Apart for the front-end */
	mem.r[1] = (struct vhost_mapped){ .gpa = GPA + REGION,
					  .len = REGION,
					  .uva = UVA + 4 * REGION,
					  .at = memory[0] };
	q = (struct virtq){ .mem = &mem,
			    .size = size,
			    .next = at,
			    .indirect = true };
	avail()->idx = htole16(at);
	used()->idx = htole16(at);
	assert_int_equal(place(), 0);
	assert_true(virtq_ready(&q));
}

static int set_up(void **state)
{
	(void)state;
	begin(8, 0);
	return 0;
}

static int tear_down(void **state)
{
	unsigned i;

	(void)state;
	for (i = 0; i < REGION; i++)
		assert_int_equal(memory[1][i], CANARY);
	return 0;
}

/* --- the driver ----------------------------------------------------------- */

static struct vring_desc made(uint64_t gpa, uint32_t len, unsigned flags,
			      unsigned next)
{
	return (struct vring_desc){ .addr = htole64(gpa),
				    .len = htole32(len),
				    .flags = htole16((uint16_t)flags),
				    .next = htole16((uint16_t)next) };
}

static void put(unsigned i, uint64_t gpa, uint32_t len, unsigned flags,
		unsigned next)
{
	*desc(i) = made(gpa, len, flags, next);
}

/* Entry @i of the indirect table at TABLE */
static void put_table(unsigned i, uint64_t gpa, uint32_t len, unsigned flags,
		      unsigned next)
{
	struct vring_desc d = made(gpa, len, flags, next);

	memcpy(memory[2] + TABLE + i * sizeof(d), &d, sizeof(d));
}

static void offer(unsigned head)
{
	uint16_t idx = le16toh(avail()->idx);

	avail()->ring[idx & (q.size - 1)] = htole16((uint16_t)head);
	avail()->idx = htole16((uint16_t)(idx + 1));
}

static struct virtq_elem elem;
static struct iovec iov[VIRTQ_MAX + 8];

/* Take a chain, which must be @id with @cnt pieces of @len bytes */
static void take(unsigned id, unsigned cnt, size_t len, bool writable)
{
	size_t all = 0;
	unsigned i;

	assert_int_equal(virtq_pop(&q, &elem, iov, ARRAY_SIZE(iov), writable),
			 1);
	assert_int_equal(elem.id, id);
	assert_int_equal(elem.iov_cnt, cnt);
	assert_int_equal(elem.len, len);
	for (i = 0; i < cnt; i++)
		all += iov[i].iov_len;
	assert_int_equal(all, len);
}

static void piece(unsigned i, uint64_t gpa, size_t len)
{
	assert_ptr_equal(iov[i].iov_base, byte_at(gpa));
	assert_int_equal(iov[i].iov_len, len);
}

static void nothing(bool writable)
{
	assert_int_equal(virtq_pop(&q, &elem, iov, ARRAY_SIZE(iov), writable),
			 0);
}

/* It stays broken whatever is done, until it is set again behind the fault */
static void dead(void)
{
	uint16_t idx = used()->idx;

	assert_true(q.broken);
	assert_false(virtq_ready(&q));
	nothing(false);
	nothing(true);
	assert_int_equal(virtq_left(&q), 0);
	virtq_push(&q, 0, 1);
	assert_false(virtq_flush(&q));
	assert_int_equal(used()->idx, idx);
	assert_true(virtq_kicks(&q, false));
	assert_true(virtq_kicks(&q, true));
	q.next = le16toh(avail()->idx);
	assert_int_equal(place(), 0);
	assert_true(virtq_ready(&q));
	assert_int_equal(virtq_left(&q), 0);
}

/* Chain 0 is refused */
static void refused(bool writable)
{
	assert_false(q.broken);
	offer(0);
	nothing(writable);
	dead();
}

/* --- taking --------------------------------------------------------------- */

static void single(void **state)
{
	(void)state;
	nothing(false);
	assert_int_equal(virtq_left(&q), 0);
	put(3, GPA + DATA, 100, 0, 0);
	offer(3);
	assert_int_equal(virtq_left(&q), 1);
	take(3, 1, 100, false);
	piece(0, GPA + DATA, 100);
	nothing(false);
	assert_false(q.broken);
	put(5, GPA + REGION, REGION, WRITE, 0);
	offer(5);
	take(5, 1, REGION, true);
	piece(0, GPA + REGION, REGION);
	nothing(true);
}

static void chain(void **state)
{
	(void)state;
	put(7, GPA + DATA, 12, NEXT, 2);
	put(2, GPA + DATA + 0x100, 1, NEXT, 0);
	put(0, GPA + REGION + 9, 1500, 0, 7); /* without NEXT: no next */
	offer(7);
	take(7, 3, 1513, false);
	piece(0, GPA + DATA, 12);
	piece(1, GPA + DATA + 0x100, 1);
	piece(2, GPA + REGION + 9, 1500);
}

/* What is empty takes no piece, nor is its address looked at */
static void empty(void **state)
{
	(void)state;
	put(0, UINT64_MAX, 0, NEXT, 1);
	put(1, GPA + DATA, 5, NEXT, 2);
	put(2, 0, 0, 0, 0);
	offer(0);
	take(0, 1, 5, false);
	offer(2);
	take(2, 0, 0, false);
}

static void chain_of_all(void **state)
{
	unsigned i;

	(void)state;
	begin(VIRTQ_MAX, 0);
	for (i = 0; i < VIRTQ_MAX; i++)
		put(i, GPA + DATA + i, 1, i + 1 < VIRTQ_MAX ? NEXT : 0, i + 1);
	offer(0);
	take(0, VIRTQ_MAX, VIRTQ_MAX, false);
	for (i = 0; i < VIRTQ_MAX; i++)
		piece(i, GPA + DATA + i, 1);
}

static void spans(void **state)
{
	(void)state;
	put(0, GPA + REGION - 10, 30, NEXT, 1);
	put(1, GPA + REGION - 1, 2, NEXT, 2);
	put(2, GPA + 0x7000, 2 * REGION - 0x7000, 0, 0);
	offer(0);
	take(0, 6, 32 + 2 * REGION - 0x7000, false);
	piece(0, GPA + REGION - 10, 10);
	piece(1, GPA + REGION, 20);
	piece(2, GPA + REGION - 1, 1);
	piece(3, GPA + REGION, 1);
	piece(4, GPA + 0x7000, REGION - 0x7000);
	piece(5, GPA + REGION, REGION);
	put(0, GPA + REGION - 1, 1, 0, 0); /* to the end, not over it */
	offer(0);
	take(0, 1, 1, false);
}

static void regions_swapped(void **state)
{
	struct vhost_mapped r = mem.r[0];

	(void)state;
	mem.r[0] = mem.r[1];
	mem.r[1] = r;
	put(0, GPA + REGION - 10, 30, 0, 0);
	offer(0);
	take(0, 2, 30, false);
	piece(0, GPA + REGION - 10, 10);
	piece(1, GPA + REGION, 20);
}

static void direction(void **state)
{
	static const unsigned kind[] = { 0, WRITE };
	unsigned w;

	(void)state;
	for (w = 0; w < 2; w++) {
		put(0, GPA + DATA, 10, kind[!w], 0);
		refused(w);
		/* in front, behind, and where there is nothing */
		put(0, GPA + DATA, 10, kind[!w] | NEXT, 1);
		put(1, GPA + DATA, 10, kind[w], 0);
		refused(w);
		put(0, GPA + DATA, 10, kind[w] | NEXT, 1);
		put(1, GPA + DATA, 10, kind[!w], 0);
		refused(w);
		put(1, GPA + DATA, 0, kind[!w], 0);
		refused(w);
		put(1, GPA + DATA, 10, kind[w], 0);
		offer(0);
		take(0, 2, 20, w);
	}
}

static void loops(void **state)
{
	(void)state;
	put(0, GPA + DATA, 0, NEXT, 0);
	refused(false);
	put(0, GPA + DATA, 0, NEXT, 1);
	put(1, GPA + DATA, 0, NEXT, 2);
	put(2, GPA + DATA, 0, NEXT, 1);
	refused(false);
	/* One that fills what the caller has: it may wait for ever, or be
	 * found out with more room than any chain needs */
	put(2, GPA + DATA, 1, NEXT, 0);
	offer(0);
	assert_int_equal(virtq_pop(&q, &elem, iov, 16, false), -ENOBUFS);
	assert_int_equal(virtq_pop(&q, &elem, iov, VIRTQ_MAX + 2, false), 0);
	dead();
}

static void out_of_range(void **state)
{
	(void)state;
	offer(8);
	nothing(false);
	dead();
	offer(0xffff);
	nothing(false);
	dead();
	put(0, GPA + DATA, 1, NEXT, 8);
	put(8, GPA + DATA, 1, 0, 0); /* it is there, but not of the ring */
	refused(false);
	put(0, GPA + DATA, 1, NEXT, 0xffff);
	refused(false);
	put(0, GPA + DATA, 1, NEXT, 7);
	put(7, GPA + DATA, 1, 0, 0);
	offer(0);
	take(0, 2, 2, false);
}

static void bad_addresses(void **state)
{
	static const struct {
		uint64_t gpa;
		uint32_t len;
	} bad[] = {
		{ 0, 1 },
		{ GPA - 1, 1 },
		{ GPA - 1, 2 },
		{ GPA + 2 * REGION, 1 },
		{ GPA + 2 * REGION - 1, 2 },
		{ GPA, 2 * REGION + 1 },
		{ GPA, UINT32_MAX },
		{ GPA + DATA, UINT32_MAX },
		{ UINT64_MAX, 1 },
		{ UINT64_MAX, 2 },
		{ UINT64_MAX - GPA, UINT32_MAX },
		{ UVA, 1 },
		{ (1ULL << 32) + GPA, 1 },
	};
	unsigned i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		put(0, bad[i].gpa, bad[i].len, 0, 0);
		refused(false);
		put(0, GPA + DATA, 1, NEXT, 1);
		put(1, bad[i].gpa, bad[i].len, 0, 0);
		refused(false);
	}
	mem.n = 0;
	offer(0);
	nothing(false);
	assert_true(q.broken);
}

/* --- indirect tables ------------------------------------------------------ */

static void indirect(void **state)
{
	(void)state;
	put_table(0, GPA + DATA, 10, NEXT, 20); /* longer than the ring */
	put_table(20, GPA + DATA + 64, 20, NEXT, 3);
	put_table(3, GPA + REGION - 1, 2, 0, 0);
	put(6, GPA + TABLE, 21 * 16, INDIRECT, 0);
	offer(6);
	take(6, 4, 32, false);
	piece(0, GPA + DATA, 10);
	piece(1, GPA + DATA + 64, 20);
	piece(2, GPA + REGION - 1, 1);
	piece(3, GPA + REGION, 1);
	put_table(0, GPA + DATA, 10, WRITE, 0);
	put(6, GPA + TABLE, 16, INDIRECT, 0);
	offer(6);
	take(6, 1, 10, true);
	put(6, GPA + TABLE, 16, INDIRECT | WRITE, 0); /* to be ignored there */
	offer(6);
	take(6, 1, 10, true);
}

/* As the last of a chain; and at any address */
static void indirect_behind(void **state)
{
	struct vring_desc d = made(GPA + DATA + 64, 20, 0, 0);

	(void)state;
	memcpy(memory[2] + TABLE + 7, &d, sizeof(d));
	put(1, GPA + DATA, 10, NEXT, 2);
	put(2, GPA + TABLE + 7, 16, INDIRECT, 0);
	offer(1);
	take(1, 2, 30, false);
	piece(0, GPA + DATA, 10);
	piece(1, GPA + DATA + 64, 20);
}

static void indirect_of_all(void **state)
{
	unsigned i;

	(void)state;
	for (i = 0; i < VIRTQ_MAX; i++)
		put_table(i, GPA + REGION + i, 1, i + 1 < VIRTQ_MAX ? NEXT : 0,
			  i + 1);
	put(0, GPA + TABLE, VIRTQ_MAX * 16, INDIRECT, 0);
	offer(0);
	take(0, VIRTQ_MAX, VIRTQ_MAX, false);
}

/* One of them is the ring's own */
static void indirect_twice(void **state)
{
	(void)state;
	put_table(0, GPA + DATA, 10, 0, 0);
	put(1, GPA + DESC, 16, INDIRECT, 0);
	put(0, GPA + TABLE, 16, INDIRECT, 0);
	offer(1);
	nothing(false);
	dead();
}

static void indirect_refused(void **state)
{
	static const uint32_t lengths[] = { 0, 1, 15, 17, 33, UINT32_MAX };
	unsigned i;

	(void)state;
	put_table(0, GPA + DATA, 10, 0, 0);
	put_table(1, GPA + DATA, 10, 0, 0);
	for (i = 0; i < ARRAY_SIZE(lengths); i++) {
		put(0, GPA + TABLE, lengths[i], INDIRECT, 0);
		refused(false);
	}
	put(0, GPA + TABLE, 16, INDIRECT | NEXT, 1);
	put(1, GPA + DATA, 10, 0, 0);
	refused(false);
	put(0, GPA + TABLE, 16, INDIRECT, 0);
	q.indirect = false;
	refused(false);
	q.indirect = true;
	refused(true); /* wrong direction within */
	offer(0);
	take(0, 1, 10, false);
}

static void indirect_out_of_memory(void **state)
{
	(void)state;
	put(0, GPA - 16, 16, INDIRECT, 0);
	refused(false);
	put(0, GPA + 2 * REGION, 16, INDIRECT, 0);
	refused(false);
	put(0, GPA + 2 * REGION - 16, 32, INDIRECT, 0);
	refused(false);
	put(0, UINT64_MAX - 15, 16, INDIRECT, 0);
	refused(false);
	put(0, UINT64_MAX - 15, 32, INDIRECT, 0);
	refused(false);
	put(0, GPA + REGION - 16, 32, INDIRECT, 0); /* of both regions */
	refused(false);
}

static void indirect_contents(void **state)
{
	(void)state;
	put(0, GPA + TABLE, 32, INDIRECT, 0);
	/* one of the ring, not of the table */
	put_table(0, GPA + DATA, 0, NEXT, 2);
	put(2, GPA + DATA, 10, 0, 0);
	refused(false);
	put_table(0, GPA + DATA, 0, NEXT, 1);
	put_table(1, GPA + DATA, 0, NEXT, 0);
	refused(false);
	put_table(1, GPA - 1, 1, 0, 0);
	refused(false);
	/* a table in a table */
	put_table(0, GPA + TABLE + 16, 16, INDIRECT, 0);
	put_table(1, GPA + DATA, 10, 0, 0);
	refused(false);
	put_table(0, GPA + DATA, 10, NEXT, 1);
	put_table(1, GPA + TABLE, 16, INDIRECT, 0);
	refused(false);
	/* the ring's own: its entry is not for itself */
	put(0, GPA + DESC, 16, INDIRECT, 0);
	refused(false);
}

/* --- indices -------------------------------------------------------------- */

static void too_far_ahead(void **state)
{
	unsigned i;

	(void)state;
	for (i = 0; i < 8; i++)
		put(i, GPA + DATA, 1, 0, 0);
	for (i = 0; i < 8; i++)
		offer(i);
	assert_int_equal(virtq_left(&q), 8);
	for (i = 0; i < 8; i++)
		take(i, 1, 1, false);
	avail()->idx = htole16(17); /* nine */
	nothing(false);
	dead();
	avail()->idx = htole16(26);
	assert_int_equal(virtq_left(&q), 0);
	dead();
	avail()->idx = htole16(25); /* backwards */
	nothing(false);
	dead();
}

static void no_room(void **state)
{
	unsigned max;

	(void)state;
	put(0, GPA + DATA, 1, NEXT, 1);
	put(1, GPA + REGION - 1, 2, NEXT, 2);
	put(2, GPA + DATA, 1, 0, 0);
	put(4, GPA + DATA, 1, 0, 0);
	offer(0);
	offer(4);
	for (max = 0; max < 4; max++) {
		memset(iov, 0, sizeof(iov));
		assert_int_equal(virtq_pop(&q, &elem, iov, max, false),
				 -ENOBUFS);
		assert_false(q.broken);
		assert_int_equal(virtq_left(&q), 2);
		assert_null(iov[max].iov_base);
	}
	assert_int_equal(virtq_pop(&q, &elem, iov, 4, false), 1);
	assert_int_equal(elem.id, 0);
	assert_int_equal(elem.iov_cnt, 4);
	take(4, 1, 1, false);
}

static void rewind_some(void **state)
{
	unsigned i;

	(void)state;
	for (i = 0; i < 5; i++) {
		put(i, GPA + DATA + i, i + 1, 0, 0);
		offer(i);
	}
	take(0, 1, 1, false);
	take(1, 1, 2, false);
	take(2, 1, 3, false);
	virtq_rewind(&q, 0);
	assert_int_equal(virtq_left(&q), 2);
	virtq_rewind(&q, 2);
	assert_int_equal(virtq_left(&q), 4);
	for (i = 1; i < 5; i++)
		take(i, 1, i + 1, false);
	nothing(false);
	virtq_rewind(&q, 5);
	for (i = 0; i < 5; i++)
		take(i, 1, i + 1, false);
	nothing(false);
}

/* --- giving back ---------------------------------------------------------- */

static void used_is(unsigned at, unsigned id, unsigned len)
{
	assert_int_equal(le32toh(used()->ring[at].id), id);
	assert_int_equal(le32toh(used()->ring[at].len), len);
}

static void push_and_flush(void **state)
{
	unsigned i;

	(void)state;
	assert_false(virtq_flush(&q)); /* nothing to tell */
	for (i = 0; i < 3; i++) {
		put(i, GPA + DATA, 100, WRITE, 0);
		offer(i);
		take(i, 1, 100, true);
	}
	virtq_push(&q, 2, 77);
	virtq_push(&q, 0, 0);
	assert_int_equal(used()->idx, 0); /* not before the flush */
	assert_true(virtq_flush(&q));
	assert_int_equal(le16toh(used()->idx), 2);
	used_is(0, 2, 77);
	used_is(1, 0, 0);
	assert_false(virtq_flush(&q));
	virtq_push(&q, 1, UINT32_MAX);
	assert_true(virtq_flush(&q));
	assert_int_equal(le16toh(used()->idx), 3);
	used_is(2, 1, UINT32_MAX);
	used_is(3, 0, 0);
}

/* What is in the guest's ring decides where it goes on */
static void goes_on(void **state)
{
	(void)state;
	begin(8, 0);
	avail()->idx = htole16(101);
	used()->idx = htole16(97);
	q.next = 99;
	assert_int_equal(place(), 0);
	put(4, GPA + DATA, 1, 0, 0);
	avail()->ring[99 % 8] = htole16(4);
	avail()->ring[100 % 8] = htole16(4);
	assert_int_equal(virtq_left(&q), 2);
	take(4, 1, 1, false);
	virtq_push(&q, 4, 0);
	virtq_push(&q, 3, 0);
	assert_true(virtq_flush(&q));
	assert_int_equal(le16toh(used()->idx), 99);
	used_is(97 % 8, 4, 0);
	used_is(98 % 8, 3, 0);
	virtq_unset(&q);
	assert_false(virtq_ready(&q));
	assert_int_equal(q.next, 100);
}

/* Taken up to 8 at a time */
static void wraps(void **state)
{
	unsigned done = 0, i, n;

	(void)state;
	for (i = 0; i < 8; i++)
		put(i, GPA + DATA + i, i + 1, 0, 0);
	while (done < 70000) {
		n = done % 8 + 1;
		for (i = 0; i < n; i++)
			offer((done + i) % 8);
		assert_int_equal(virtq_left(&q), n);
		for (i = 0; i < n; i++) {
			take((done + i) % 8, 1, (done + i) % 8 + 1, false);
			virtq_push(&q, elem.id, done + i);
		}
		nothing(false);
		assert_true(virtq_flush(&q));
		for (i = 0; i < n; i++)
			used_is((done + i) % 8, (done + i) % 8, done + i);
		done += n;
		assert_int_equal(le16toh(used()->idx), (uint16_t)done);
	}
}

/* --- who tells whom ------------------------------------------------------- */

static void *used_event(void)
{
	return &avail()->ring[q.size];
}

static uint16_t avail_event(void)
{
	return (uint16_t)(memory[2][USED + 4 + 8 * q.size] |
			  memory[2][USED + 5 + 8 * q.size] << 8);
}

static void tell_by_flags(void **state)
{
	unsigned i;

	(void)state;
	st_be16(used_event(), 0x1234); /* not negotiated: of no meaning */
	for (i = 0; i < 20; i++) {
		avail()->flags =
			htole16(i % 3 ? 0 : VRING_AVAIL_F_NO_INTERRUPT);
		virtq_push(&q, 0, 0);
		assert_int_equal(virtq_flush(&q), i % 3 != 0);
	}
	avail()->flags = htole16((uint16_t)~VRING_AVAIL_F_NO_INTERRUPT);
	virtq_push(&q, 0, 0);
	assert_true(virtq_flush(&q));
}

/* The plain twin: one of the entries is that which it waits for */
static bool passes(uint16_t event, uint16_t old, uint16_t new)
{
	for (; old != new; old++)
		if (old == event)
			return true;
	return false;
}

static void tell_by_index(void **state)
{
	unsigned step, n, i, told = 0;
	uint16_t at = 65000, event;

	(void)state;
	begin(8, at);
	q.event_idx = true;
	srand(1);
	avail()->flags = htole16(VRING_AVAIL_F_NO_INTERRUPT); /* no meaning */
	for (step = 0; step < 60000; step++) {
		n = (unsigned)rand() % 9;
		event = (uint16_t)(rand() % 8 ? at + rand() % 16 - 4 : rand());
		*(uint16_t *)used_event() = htole16(event);
		for (i = 0; i < n; i++)
			virtq_push(&q, 0, 0);
		assert_int_equal(virtq_flush(&q),
				 passes(event, at, (uint16_t)(at + n)));
		told += passes(event, at, (uint16_t)(at + n));
		at = (uint16_t)(at + n);
		assert_int_equal(le16toh(used()->idx), at);
	}
	assert_in_range(told, 1000, 59000);
}

/* A driver that waits has said which buffer is to wake it: the next one, if it has looked
 * at all before */
static void unread_by_index(void **state)
{
	(void)state;
	begin(8, 0xffff);
	*(uint16_t *)used_event() = htole16(0xfff0);
	assert_false(virtq_unread(&q)); /* it does not say */
	q.event_idx = true;
	*(uint16_t *)used_event() = htole16(0xffff);
	assert_false(virtq_unread(&q));
	virtq_push(&q, 0, 0);
	virtq_push(&q, 0, 0);
	assert_false(virtq_unread(&q)); /* it may not have them yet */
	(void)virtq_flush(&q);
	assert_true(virtq_unread(&q));
	*(uint16_t *)used_event() = htole16(1);
	assert_false(virtq_unread(&q));
	virtq_unset(&q);
	assert_false(virtq_unread(&q));
}

static void kicks_by_flags(void **state)
{
	(void)state;
	put(0, GPA + DATA, 1, 0, 0);
	assert_true(virtq_kicks(&q, false));
	assert_int_equal(le16toh(used()->flags), VRING_USED_F_NO_NOTIFY);
	assert_true(virtq_kicks(&q, true));
	assert_int_equal(used()->flags, 0);
	/* One comes after we looked, before the guest sees that we wait */
	virtq_kicks(&q, false);
	nothing(false);
	offer(0);
	assert_false(virtq_kicks(&q, true));
	assert_int_equal(used()->flags, 0);
	take(0, 1, 1, false);
	assert_true(virtq_kicks(&q, true));
	/* Of what is known, it need not tell */
	offer(0);
	assert_int_equal(virtq_left(&q), 1);
	assert_true(virtq_kicks(&q, true));
	offer(0);
	assert_false(virtq_kicks(&q, true));
	assert_true(virtq_kicks(&q, false));
	assert_int_equal(avail_event(), 0); /* not negotiated */
}

static void kicks_by_index(void **state)
{
	(void)state;
	begin(8, 0xfffe);
	q.event_idx = true;
	put(0, GPA + DATA, 1, 0, 0);
	assert_true(virtq_kicks(&q, true));
	assert_int_equal(avail_event(), 0xfffe);
	offer(0);
	assert_false(virtq_kicks(&q, true));
	take(0, 1, 1, false);
	offer(0);
	assert_true(virtq_kicks(&q, false));
	assert_int_equal(avail_event(), 0xfffe); /* stays where it was */
	assert_int_equal(virtq_left(&q), 1);
	assert_true(virtq_kicks(&q, true)); /* kick for the one behind it */
	assert_int_equal(avail_event(), 0);
	take(0, 1, 1, false);
	virtq_rewind(&q, 1);
	assert_true(virtq_kicks(&q, true));
	assert_int_equal(avail_event(), 0);
	offer(0);
	assert_false(virtq_kicks(&q, true));
	take(0, 1, 1, false);
	take(0, 1, 1, false);
	assert_true(virtq_kicks(&q, true));
	assert_int_equal(avail_event(), 1);
	assert_int_equal(used()->flags, 0); /* has no meaning any more */
}

/* --- the log of dirty pages ------------------------------------------------ */

/* A used ring over three pages, wherever the front-end has it: what has changed of
 * it is marked, and nothing else but for what may have been written again */
static void log_of_used_ring(void **state)
{
	enum { PAGE = 4096, PAGES = 64, AT = 40, ENDS = 4 + 8 * VIRTQ_MAX + 2 };
	static uint8_t bits[PAGES / 8], before[3 * PAGE];
	struct vhost_log log = { .bits = bits, .pages = PAGES };
	unsigned step, i, n, page, changed[3] = { 0 };

	(void)state;
	srand(3);
	begin(VIRTQ_MAX, 0xff00);
	q.log_used = &log;
	q.used_gpa = AT * PAGE;
	for (step = 0; step < 3000; step++) {
		q.event_idx = rand() % 2;
		memcpy(before, used(), ENDS);
		n = (unsigned)rand() % (rand() % 10 ? 4 : 900);
		for (i = 0; i < n; i++)
			virtq_push(&q, (uint16_t)(step + 1), step + 1);
		if (rand() % 2)
			virtq_kicks(&q, rand() % 2);
		virtq_flush(&q);
		for (page = 0; page < 3; page++) {
			size_t at = page * PAGE, len = MIN(PAGE, ENDS - at);
			bool is = memcmp(before + at, (uint8_t *)used() + at,
					 len);
			uint8_t bit = (uint8_t)(1 << (AT + page) % 8);

			changed[page] += is;
			assert_true(!is || bits[AT / 8] & bit);
			/* First its flags and index, last the other index */
			if (is || page != 1)
				bits[AT / 8] &= (uint8_t)~bit;
		}
		for (i = 0; i < PAGES / 8; i++)
			assert_int_equal(bits[i], 0);
	}
	for (page = 0; page < 3; page++)
		assert_in_range(changed[page], 10, 2990);
}

static void log_of_buffers(void **state)
{
	static uint8_t bits[2 * REGION / 4096 / 8 + 1];
	struct vhost_log log = { .bits = bits, .pages = 8 * sizeof(bits) };

	(void)state;
	mem.r[0].gpa = 0;
	mem.r[1].gpa = REGION;
	q.log = &log;
	put(0, REGION - 10, 20, WRITE | NEXT, 1);
	put(1, 0x3fff, 0x1000, WRITE, 0);
	offer(0);
	assert_int_equal(virtq_pop(&q, &elem, iov, ARRAY_SIZE(iov), true), 1);
	virtq_wrote(&q, iov, 0);
	assert_false(log.marked);
	virtq_wrote(&q, iov, 10);
	assert_int_equal(bits[1], 0x80);
	assert_int_equal(bits[2], 0);
	virtq_wrote(&q, iov, 11);
	assert_int_equal(bits[2], 1);
	virtq_wrote(&q, iov, 21);
	assert_int_equal(bits[0], 1 << 3);
	virtq_wrote(&q, iov, 22);
	assert_int_equal(bits[0], 1 << 3 | 1 << 4);
	virtq_wrote(&q, iov, elem.len);
	assert_int_equal(bits[0], 1 << 3 | 1 << 4);
}

/* --- set-up --------------------------------------------------------------- */

static void misplaced(uint64_t d, uint64_t a, uint64_t u)
{
	assert_int_equal(place(), 0);
	assert_int_equal(virtq_set(&q, d, a, u), -EINVAL);
	assert_false(virtq_ready(&q));
	assert_null(q.desc);
	assert_null(q.avail);
	assert_null(q.used);
	nothing(false);
	assert_int_equal(virtq_left(&q), 0);
	virtq_push(&q, 0, 0);
	assert_false(virtq_flush(&q));
	assert_true(virtq_kicks(&q, true));
}

static void set_misaligned(void **state)
{
	unsigned i;

	(void)state;
	for (i = 1; i < 16; i++)
		misplaced(UVA + DESC + i, UVA + AVAIL, UVA + USED);
	misplaced(UVA + DESC, UVA + AVAIL + 1, UVA + USED);
	for (i = 1; i < 4; i++)
		misplaced(UVA + DESC, UVA + AVAIL, UVA + USED + i);
	assert_int_equal(
		virtq_set(&q, UVA + DESC + 16, UVA + AVAIL + 2, UVA + USED + 4),
		0);
	/* It is for us that it must be aligned */
	mem.r[0].at++;
	mem.r[0].len--;
	assert_int_equal(place(), -EINVAL);
	assert_int_equal(
		virtq_set(&q, UVA + DESC + 15, UVA + AVAIL + 1, UVA + USED + 3),
		0);
}

static void set_outside(void **state)
{
	const uint64_t end = UVA + REGION;

	(void)state;
	misplaced(end, UVA + AVAIL, UVA + USED);
	misplaced(UVA + DESC, end, UVA + USED);
	misplaced(UVA + DESC, UVA + AVAIL, end);
	misplaced(0, UVA + AVAIL, UVA + USED);
	misplaced(UINT64_MAX & ~15ULL, UVA + AVAIL, UVA + USED);
	/* All but the last bytes, then all */
	misplaced(end - 8 * 16 + 16, UVA + AVAIL, UVA + USED);
	misplaced(UVA + DESC, end - (6 + 8 * 2) + 2, UVA + USED);
	misplaced(UVA + DESC, UVA + AVAIL, end - (6 + 8 * 8 + 2) + 4);
	assert_int_equal(virtq_set(&q, end - 8 * 16, UVA + AVAIL, UVA + USED),
			 0);
	assert_int_equal(
		virtq_set(&q, UVA + DESC, end - (6 + 8 * 2), UVA + USED), 0);
	assert_int_equal(
		virtq_set(&q, UVA + DESC, UVA + AVAIL, end - (6 + 8 * 8 + 2)),
		0);
	virtq_kicks(&q, true);
	misplaced(GPA + DESC, GPA + AVAIL, GPA + USED);
	q.size = 0;
	assert_int_equal(place(), -EINVAL);
	assert_false(virtq_ready(&q));
}

static void set_again(void **state)
{
	(void)state;
	put(0, GPA - 1, 1, 0, 0);
	offer(0);
	nothing(false);
	assert_true(q.broken);
	/* The mended chain is taken only after the ring is set up again */
	put(0, GPA + DATA, 1, 0, 0);
	nothing(false);
	virtq_unset(&q);
	nothing(false);
	assert_int_equal(place(), 0);
	take(0, 1, 1, false);
	nothing(false);
}

/* --- against a model ------------------------------------------------------ */

/* Numbers of chains never wrap in the model; what of them the driver has made
 * available, the device has taken, the driver has been told of, ... */
enum { SEGMENTS = 4, PIECES = 2 * SEGMENTS, LIVE = 64, STEPS = 30000 };

struct model_chain {
	unsigned id, n;
	struct {
		uint64_t gpa;
		unsigned len;
	} seg[SEGMENTS];
	bool given; /* back, by the device */
	unsigned cnt;
	struct iovec iov[PIECES];
	size_t len;
};

static struct model {
	unsigned size, base; /* what index the first chain has */
	bool writable;
	struct model_chain chain[LIVE]; /* chain n at n % LIVE */
	unsigned offered, known, taken;
	unsigned oldest; /* that is not given back */
	unsigned order[LIVE], pushed, flushed, reaped; /* chains, as given */
	bool busy[LIVE];                               /* descriptors */
	unsigned free;
} m;

static unsigned upto(unsigned n)
{
	return (unsigned)rand() % (n + 1);
}

static struct model_chain *nth(unsigned n)
{
	return &m.chain[n % LIVE];
}

/* Byte for byte: a piece ends where the next byte is elsewhere */
static void model_pieces(struct model_chain *c)
{
	unsigned i, k;

	c->cnt = 0;
	c->len = 0;
	for (i = 0; i < c->n; i++)
		for (k = 0; k < c->seg[i].len; k++) {
			uint8_t *at = byte_at(c->seg[i].gpa + k);
			struct iovec *v = &c->iov[c->cnt];

			c->len++;
			if (k &&
			    at == (uint8_t *)v[-1].iov_base + v[-1].iov_len) {
				v[-1].iov_len++;
				continue;
			}
			*v = (struct iovec){ at, 1 };
			c->cnt++;
		}
}

static unsigned claim(void)
{
	unsigned i = upto(m.size - 1);

	while (m.busy[i])
		i = (i + 1) % m.size;
	m.busy[i] = true;
	m.free--;
	return i;
}

static void model_segments(struct model_chain *c)
{
	unsigned i;

	for (i = 0; i < c->n; i++) {
		c->seg[i].len = rand() % 8 ? upto(200) : 0;
		c->seg[i].gpa = rand() % 4 ? GPA + REGION - upto(200)
					   : GPA + REGION + upto(REGION - 200);
	}
	model_pieces(c);
}

/* The whole chain in the ring's table */
static void model_direct(struct model_chain *c, unsigned write)
{
	unsigned i, at, next = claim();

	c->id = next;
	for (i = 0; i < c->n; i++) {
		bool last = i + 1 == c->n;

		at = next;
		next = last ? upto(UINT16_MAX) : claim();
		put(at, c->seg[i].gpa, c->seg[i].len, write | (last ? 0 : NEXT),
		    next);
	}
}

/* Or in a table of its own, from its last entry to its first but one */
static void model_indirect(struct model_chain *c, unsigned write)
{
	unsigned i, base, at = 0;

	c->id = claim();
	base = c->id * SEGMENTS;
	for (i = 0; i < c->n; i++) {
		bool last = i + 1 == c->n;

		put_table(base + at, c->seg[i].gpa, c->seg[i].len,
			  write | (last ? 0 : NEXT), c->n - 1 - i);
		at = c->n - 1 - i;
	}
	put(c->id, GPA + TABLE + base * 16, c->n * 16, INDIRECT, 0);
}

static void model_offer(void)
{
	struct model_chain *c = nth(m.offered);
	unsigned write = m.writable ? WRITE : 0;

	if (m.free < SEGMENTS)
		return;
	c->n = 1 + upto(SEGMENTS - 1);
	c->given = false;
	model_segments(c);
	if (rand() % 2)
		model_direct(c, write);
	else
		model_indirect(c, write);
	offer(c->id);
	m.offered++;
}

static void model_pop(void)
{
	struct model_chain *c = nth(m.taken);
	unsigned max = upto(PIECES), i;
	int ret = virtq_pop(&q, &elem, iov, max, m.writable);

	if (m.known == m.taken)
		m.known = m.offered;
	if (m.known == m.taken) {
		assert_int_equal(ret, 0);
		return;
	}
	if (c->cnt > max) {
		assert_int_equal(ret, -ENOBUFS);
		return;
	}
	assert_int_equal(ret, 1);
	assert_int_equal(elem.id, c->id);
	assert_int_equal(elem.len, c->len);
	assert_int_equal(elem.iov_cnt, c->cnt);
	for (i = 0; i < c->cnt; i++) {
		assert_ptr_equal(iov[i].iov_base, c->iov[i].iov_base);
		assert_int_equal(iov[i].iov_len, c->iov[i].iov_len);
	}
	m.taken++;
}

/* Any of those that are out */
static void model_push(void)
{
	unsigned i;

	for (i = m.oldest; i < m.taken; i++) {
		if (nth(i)->given || rand() % 3)
			continue;
		virtq_push(&q, (uint16_t)nth(i)->id, i * 7);
		nth(i)->given = true;
		m.order[m.pushed++ % LIVE] = i;
	}
	while (m.oldest < m.taken && nth(m.oldest)->given)
		m.oldest++;
}

static void model_rewind(void)
{
	unsigned n = 0, max = upto(3);

	while (n < max && m.taken - n > m.oldest &&
	       !nth(m.taken - n - 1)->given)
		n++;
	virtq_rewind(&q, n);
	m.taken -= n;
}

static void model_flush(void)
{
	uint16_t old = (uint16_t)(m.base + m.flushed);
	uint16_t new = (uint16_t)(m.base + m.pushed);
	uint16_t event = (uint16_t)(old + upto(6) - 2);
	bool hush = rand() % 2, want;

	*(uint16_t *)used_event() = htole16(event);
	avail()->flags = htole16(hush ? VRING_AVAIL_F_NO_INTERRUPT : 0);
	want = q.event_idx ? passes(event, old, new) : old != new && !hush;
	assert_int_equal(le16toh(used()->idx), old);
	assert_int_equal(virtq_flush(&q), want);
	assert_int_equal(le16toh(used()->idx), new);
	m.flushed = m.pushed;
}

/* The driver takes back what it was told of, if it looks */
static void model_reap(void)
{
	unsigned n, flags, next;

	for (; m.reaped < m.flushed; m.reaped++) {
		n = m.order[m.reaped % LIVE];
		next = nth(n)->id;
		used_is((m.base + m.reaped) % m.size, next, n * 7);
		do {
			m.busy[next] = false;
			m.free++;
			flags = le16toh(desc(next)->flags);
			next = le16toh(desc(next)->next);
		} while (flags & NEXT);
	}
}

static void model_kicks(void)
{
	bool on = rand() % 2, ret = virtq_kicks(&q, on);

	assert_int_equal(ret, !on || m.known == m.offered);
	if (!q.event_idx)
		assert_int_equal(le16toh(used()->flags),
				 on ? 0 : VRING_USED_F_NO_NOTIFY);
	else if (on)
		assert_int_equal(avail_event(), (uint16_t)(m.base + m.known));
}

static void model_left(void)
{
	assert_int_equal(virtq_left(&q), m.offered - m.taken);
	m.known = m.offered;
}

/* What the ring knows is all in the guest's memory, but for the next index */
static void model_set(void)
{
	model_flush();
	assert_int_equal(place(), 0);
	m.known = m.taken;
}

static void model_run(unsigned size, bool writable, bool event_idx)
{
	static void (*const step[])(void) = {
		model_offer, model_offer, model_pop,    model_pop,
		model_pop,   model_push,  model_flush,  model_reap,
		model_left,  model_kicks, model_rewind,
	};
	unsigned i;

	m = (struct model){
		.size = size, .base = 0xff00, .writable = writable, .free = size
	};
	begin(size, 0xff00);
	q.event_idx = event_idx;
	for (i = 0; i < STEPS; i++) {
		step[upto(ARRAY_SIZE(step) - 1)]();
		if (!upto(500))
			model_set();
		assert_false(q.broken);
	}
	assert_true(m.reaped > STEPS / 100);
}

static void against_model(void **state)
{
	unsigned i;

	(void)state;
	srand(20240229);
	for (i = 0; i < 16; i++)
		model_run(4U << i / 4, i & 1, i & 2);
}

int main(void)
{
#define TEST(t) cmocka_unit_test_setup_teardown(t, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(single),
		TEST(chain),
		TEST(empty),
		TEST(chain_of_all),
		TEST(spans),
		TEST(regions_swapped),
		TEST(direction),
		TEST(loops),
		TEST(out_of_range),
		TEST(bad_addresses),
		TEST(indirect),
		TEST(indirect_behind),
		TEST(indirect_of_all),
		TEST(indirect_twice),
		TEST(indirect_refused),
		TEST(indirect_out_of_memory),
		TEST(indirect_contents),
		TEST(too_far_ahead),
		TEST(no_room),
		TEST(rewind_some),
		TEST(push_and_flush),
		TEST(goes_on),
		TEST(wraps),
		TEST(tell_by_flags),
		TEST(tell_by_index),
		TEST(unread_by_index),
		TEST(kicks_by_flags),
		TEST(kicks_by_index),
		TEST(log_of_used_ring),
		TEST(log_of_buffers),
		TEST(set_misaligned),
		TEST(set_outside),
		TEST(set_again),
		TEST(against_model),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
