/* SPDX-License-Identifier: GPL-2.0-or-later */
/* unit: */
#include "state.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static uint8_t buf[256];

static void known_bytes(void **state)
{
	static const uint8_t want[] =
		"\xb1passt\r\n\0\0\0\1\0\0\0\1"
		"\0\0\0\1\0\0\0\x0b\x2a"
		"\0\0\0\2\0\0\0\2\1\2"
		"\0\0\0\0\0\0\0\0";
	struct wr w = wr_init(buf, sizeof(buf));
	size_t outer, inner;

	(void)state;
	state_head(&w);
	outer = state_begin(&w, STATE_FLOW);
	wr_u8(&w, 42);
	inner = state_begin(&w, STATE_TCP);
	wr_be16(&w, 0x0102);
	state_end(&w, inner);
	state_end(&w, outer);
	state_end(&w, state_begin(&w, STATE_END));
	assert_true(wr_ok(&w));
	assert_int_equal(w.len, sizeof(want) - 1);
	assert_memory_equal(buf, want, w.len);
}

static void sections_read(void **state)
{
	static const uint8_t in[] = { 0, 0, 0, 99, 0, 0, 0, 1, 7,
				      0, 0, 0, 1, 0, 0, 0, 0 };
	struct rd r = rd_init(in, sizeof(in)), body;
	uint32_t tag;

	(void)state;
	assert_true(state_next(&r, &tag, &body));
	assert_int_equal(tag, 99);
	assert_int_equal(rd_u8(&body), 7);
	assert_true(state_next(&r, &tag, &body));
	assert_int_equal(tag, STATE_FLOW);
	assert_int_equal(rd_left(&body), 0);
	assert_false(state_next(&r, &tag, &body));
	assert_true(rd_ok(&r));
}

/* Wherever it ends too early */
static void cut_off(void **state)
{
	static const uint8_t in[] = { 0, 0, 0, 9, 0, 0, 0, 2, 7, 8 };
	struct rd body;
	uint32_t tag;
	size_t n;

	(void)state;
	for (n = 1; n < sizeof(in); n++) {
		struct rd r = rd_init(in, n);

		assert_false(state_next(&r, &tag, &body));
		assert_false(rd_ok(&r));
	}
}

static int check(const char *head, size_t len)
{
	struct rd r = rd_init(head, len);

	return state_check(&r);
}

static void versions(void **state)
{
	(void)state;
	assert_int_equal(check("\xb1passt\r\n\0\0\0\1\0\0\0\1", 16), 0);
	assert_int_equal(check("\xb1passt\r\n\0\0\0\7\0\0\0\1", 16), 0);
	assert_int_equal(check("\xb1passt\r\n\0\0\0\7\0\0\0\2", 16), -ENOTSUP);
	assert_int_equal(check("\xb1passt\r\n\0\0\0\1\0\0\0\2", 16), -EPROTO);
	assert_int_equal(check("\xb1passt\r\n\0\0\0\1\0\0\0\0", 16), -EPROTO);
	assert_int_equal(check("\xb1passt\n\n\0\0\0\1\0\0\0\1", 16), -EPROTO);
	assert_int_equal(check("\xb1passt\r\n\0\0\0\1\0\0\0", 15), -EPROTO);
	assert_int_equal(check("", 0), -EPROTO);
}

static void no_room(void **state)
{
	struct wr w = wr_init(buf, 9);
	size_t at = state_begin(&w, STATE_FLOW);

	(void)state;
	wr_be16(&w, 1);
	state_end(&w, at);
	assert_false(wr_ok(&w));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(known_bytes),
		cmocka_unit_test(sections_read),
		cmocka_unit_test(cut_off),
		cmocka_unit_test(versions),
		cmocka_unit_test(no_room),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
