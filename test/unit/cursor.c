/* SPDX-License-Identifier: GPL-2.0-or-later */
/* unit: */
#include "cursor.h"

#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>

static const uint8_t in[] = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 };

static void reads(void **state)
{
	struct rd r = rd_init(in, sizeof(in));
	uint8_t b[2];

	(void)state;
	assert_int_equal(rd_u8(&r), 1);
	assert_int_equal(rd_be16(&r), 0x0203);
	assert_int_equal(rd_be32(&r), 0x04050607);
	assert_int_equal(rd_left(&r), 3);
	rd_copy(&r, b, 2);
	assert_memory_equal(b, "\x08\x09", 2);
	assert_ptr_equal(rd_view(&r, 1), in + 9);
	assert_int_equal(rd_left(&r), 0);
	assert_true(rd_ok(&r));
	assert_non_null(rd_view(&r, 0));
	assert_true(rd_ok(&r));
}

static void verdict_sticks(void **state)
{
	struct rd r = rd_init(in, 3);
	uint8_t b[4] = { 9, 9, 9, 9 };

	(void)state;
	assert_int_equal(rd_be32(&r), 0);
	assert_false(rd_ok(&r));
	/* The three bytes that are there are not given out any more */
	assert_int_equal(rd_left(&r), 0);
	assert_int_equal(rd_u8(&r), 0);
	assert_int_equal(rd_be16(&r), 0);
	assert_null(rd_view(&r, 0));
	rd_copy(&r, b, sizeof(b));
	assert_memory_equal(b, "\0\0\0\0", 4);
	rd_skip(&r, 1);
	assert_false(rd_ok(&r));
}

static void huge_lengths(void **state)
{
	struct rd r = rd_init(in, sizeof(in)), s;
	struct wr w = wr_init((void *)(uintptr_t)in, sizeof(in));

	(void)state;
	s = r;
	assert_null(rd_view(&s, SIZE_MAX));
	s = r;
	rd_skip(&s, SIZE_MAX);
	assert_false(rd_ok(&s));
	assert_null(wr_room(&w, SIZE_MAX));
	assert_int_equal(w.len, 0);
}

static void sub_readers(void **state)
{
	struct rd r = rd_init(in, sizeof(in)), s = rd_sub(&r, 4);

	(void)state;
	assert_int_equal(rd_be32(&s), 0x01020304);
	assert_int_equal(rd_u8(&s), 0);
	assert_false(rd_ok(&s));
	assert_true(rd_ok(&r)); /* the outer one is not spoilt */
	assert_int_equal(rd_u8(&r), 5);
	s = rd_sub(&r, 6);
	assert_false(rd_ok(&s));
	assert_int_equal(rd_left(&s), 0);
	assert_int_equal(rd_u8(&s), 0);
	assert_false(rd_ok(&r));
}

static void empty(void **state)
{
	struct rd r = rd_init(in, 0);

	(void)state;
	assert_true(rd_ok(&r));
	assert_int_equal(rd_left(&r), 0);
	assert_int_equal(rd_u8(&r), 0);
	assert_false(rd_ok(&r));
}

static void writes(void **state)
{
	uint8_t b[12] = { 0 };
	struct wr w = wr_init(b, sizeof(b));

	(void)state;
	wr_u8(&w, 1);
	wr_be16(&w, 0x0203);
	wr_be32(&w, 0x04050607);
	wr_bytes(&w, "\x08\x09", 2);
	wr_bytes(&w, NULL, 0);
	wr_fill(&w, 0xaa, 3);
	assert_true(wr_ok(&w));
	assert_int_equal(w.len, 12);
	assert_memory_equal(b, "\1\2\3\4\5\6\7\x08\x09\xaa\xaa\xaa", 12);
	wr_patch_u8(&w, 0, 0x11);
	wr_patch_be16(&w, 10, 0xbbcc);
	assert_memory_equal(b, "\x11\2\3\4\5\6\7\x08\x09\xaa\xbb\xcc", 12);
}

static void full_writer(void **state)
{
	uint8_t b[6] = { 9, 9, 9, 9, 9, 9 };
	struct wr w = wr_init(b, 4);

	(void)state;
	wr_u8(&w, 1);
	wr_be32(&w, 0xffffffff);
	assert_false(wr_ok(&w));
	assert_int_equal(w.len, 1);
	wr_u8(&w, 2); /* would fit, but comes after a gap */
	assert_int_equal(w.len, 1);
	assert_null(wr_room(&w, 0));
	assert_memory_equal(b, "\1\x09\x09\x09\x09\x09", 6);
}

static void patch_outside(void **state)
{
	uint8_t b[4] = { 9, 9, 9, 9 };
	struct wr w = wr_init(b, 4);

	(void)state;
	wr_be16(&w, 0);
	wr_patch_u8(&w, 2, 1);
	wr_patch_be16(&w, 1, 0x0101);
	assert_memory_equal(b, "\0\0\x09\x09", 4);
}

int main(void)
{
	static const struct CMUnitTest t[] = {
		cmocka_unit_test(reads),	cmocka_unit_test(verdict_sticks),
		cmocka_unit_test(huge_lengths), cmocka_unit_test(sub_readers),
		cmocka_unit_test(empty),	cmocka_unit_test(writes),
		cmocka_unit_test(full_writer),	cmocka_unit_test(patch_outside),
	};

	return cmocka_run_group_tests(t, NULL, NULL);
}
