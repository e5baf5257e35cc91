/* SPDX-License-Identifier: GPL-2.0-or-later */
/* unit: */
#include "iov.h"
#include "util.h"

#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>

/* Every scattering of 7 bytes over entries of these lengths; empty ones too */
static const size_t shapes[][5] = {
	{ 7, 0, 0, 0, 0 }, { 0, 0, 7, 0, 0 }, { 1, 1, 1, 1, 3 },
	{ 3, 0, 4, 0, 0 }, { 0, 6, 0, 1, 0 }, { 2, 2, 2, 1, 0 },
};
enum { BYTES = 7, CNT = 5 };

static const char letters[] = "abcdefg";
static uint8_t flat[BYTES];

static void scatter(struct iovec iov[CNT], unsigned shape)
{
	size_t at = 0;
	unsigned i;

	for (i = 0; i < CNT; i++) {
		iov[i] = (struct iovec){ flat + at, shapes[shape][i] };
		at += shapes[shape][i];
	}
	for (i = 0; i < BYTES; i++)
		flat[i] = (uint8_t)('a' + i);
}

/* How many of @len bytes at @off there are in @have */
static size_t there(size_t have, size_t off, size_t len)
{
	return off >= have ? 0 : MIN(len, have - off);
}

#define EACH_RANGE(s, off, len)                                                \
	for (s = 0; s < ARRAY_SIZE(shapes); s++)                               \
		for (off = 0; off <= BYTES + 1; off++)                         \
			for (len = 0; len <= BYTES + 2; len++)

static void sizes(void **state)
{
	struct iovec iov[CNT];
	unsigned s;

	(void)state;
	for (s = 0; s < ARRAY_SIZE(shapes); s++) {
		scatter(iov, s);
		assert_int_equal(iov_size(iov, CNT), BYTES);
	}
	assert_int_equal(iov_size(NULL, 0), 0);
}

static void reading(void **state)
{
	struct iovec iov[CNT];
	size_t off, len, n;
	unsigned s;

	(void)state;
	EACH_RANGE(s, off, len) {
		char out[16] = "";

		scatter(iov, s);
		n = iov_read(iov, CNT, off, out, len);
		assert_int_equal(n, there(BYTES, off, len));
		assert_memory_equal(out, letters + MIN(off, BYTES), n);
		assert_int_equal(out[n], 0);
	}
}

static void writing(void **state)
{
	struct iovec iov[CNT];
	size_t off, len, n;
	unsigned s;

	(void)state;
	EACH_RANGE(s, off, len) {
		char want[] = "abcdefg";

		scatter(iov, s);
		n = iov_write(iov, CNT, off, "ABCDEFGHIJ", len);
		assert_int_equal(n, there(BYTES, off, len));
		memcpy(want + MIN(off, BYTES), "ABCDEFGHIJ", n);
		assert_memory_equal(flat, want, BYTES);
	}
}

static void slices(void **state)
{
	struct iovec iov[CNT], out[CNT + 1];
	size_t off, len, got;
	unsigned s, n, i;

	(void)state;
	EACH_RANGE(s, off, len) {
		uint8_t *at = flat + MIN(off, BYTES);

		scatter(iov, s);
		n = iov_slice(out, CNT, iov, CNT, off, len, &got);
		assert_int_equal(got, there(BYTES, off, len));
		assert_int_equal(iov_size(out, n), got);
		for (i = 0; i < n; i++) { /* in a row, none of them empty */
			assert_true(out[i].iov_len);
			assert_ptr_equal(out[i].iov_base, at);
			at += out[i].iov_len;
		}
		assert_int_equal(iov_slice(out, CNT, iov, CNT, off, len, NULL),
				 n);
	}
}

static void slice_limit(void **state)
{
	struct iovec iov[CNT], out[3] = { [2] = { NULL, 4711 } };
	size_t got;

	(void)state;
	scatter(iov, 2);
	assert_int_equal(iov_slice(out, 2, iov, CNT, 1, 5, &got), 2);
	assert_int_equal(got, 2);
	assert_ptr_equal(out[0].iov_base, flat + 1);
	assert_int_equal(out[2].iov_len, 4711);
	assert_int_equal(iov_slice(out, 0, iov, CNT, 0, 5, &got), 0);
	assert_int_equal(got, 0);
}

static void advancing(void **state)
{
	struct iovec iov[CNT], *p;
	unsigned s, cnt;
	char out[16];
	size_t n;

	(void)state;
	for (s = 0; s < ARRAY_SIZE(shapes); s++) {
		for (n = 0; n <= BYTES + 1; n++) {
			scatter(iov, s);
			p = iov;
			cnt = CNT;
			iov_advance(&p, &cnt, n);
			assert_int_equal(iov_read(p, cnt, 0, out, 16),
					 there(BYTES, n, 16));
			assert_memory_equal(out, letters + MIN(n, BYTES),
					    there(BYTES, n, 16));
			/* What is first can be sent from */
			assert_true(cnt ? p->iov_len : n >= BYTES);
		}
	}
}

int main(void)
{
	static const struct CMUnitTest t[] = {
		cmocka_unit_test(sizes),   cmocka_unit_test(reading),
		cmocka_unit_test(writing), cmocka_unit_test(slices),
		cmocka_unit_test(slice_limit), cmocka_unit_test(advancing),
	};

	return cmocka_run_group_tests(t, NULL, NULL);
}
