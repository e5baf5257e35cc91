/* SPDX-License-Identifier: GPL-2.0-or-later */
/* unit: addr */
#include "checksum.h"

#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdlib.h>

static const char *const names[] = { "portable", "sse2", "avx2", "neon" };

/* The plain twin: RFC 1071 as it stands, 16 bits in network order at a time */
static uint16_t slow(const uint8_t *p, size_t len)
{
	uint32_t sum = 0;
	size_t i;

	for (i = 0; i < len; i++) {
		sum += i & 1 ? p[i] : (uint32_t)p[i] << 8;
		sum = (sum & 0xffff) + (sum >> 16);
	}
	return htobe16((uint16_t)sum);
}

static uint32_t seed = 1;

static uint8_t chance(void)
{
	seed = seed * 1103515245 + 12345;
	return (uint8_t)(seed >> 16);
}

static void fill(uint8_t *p, size_t n)
{
	while (n--)
		*p++ = chance();
}

/* In a block of its own size, so that ASan sees a read behind the end */
static void one(csum_fn *fn, size_t shift, size_t len)
{
	uint8_t *b = malloc(shift + len + !len);

	fill(b, shift + len);
	assert_int_equal(csum_fold(fn(0, b + shift, len)), slow(b + shift, len));
	memset(b, 0xff, shift + len);
	assert_int_equal(csum_fold(fn(0, b + shift, len)), slow(b + shift, len));
	memset(b, 0, shift + len);
	assert_int_equal(csum_fold(fn(0, b + shift, len)), 0);
	free(b);
}

static void implementations(void **state)
{
	unsigned i, seen = 0;
	size_t len, shift;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(names); i++) {
		csum_fn *fn = csum_impl(names[i]);

		if (!fn)
			continue;
		seen++;
		for (len = 0; len < 300; len++)
			for (shift = 0; shift < 3; shift++)
				one(fn, shift, len);
		for (shift = 0; shift < 3; shift++) {
			one(fn, shift, 65535);
			one(fn, shift, 65536 + shift);
		}
	}
	assert_true(seen);
	assert_non_null(csum_impl("portable"));
	assert_null(csum_impl("abacus"));
}

static void choice(void **state)
{
	static uint8_t b[9000];

	(void)state;
	fill(b, sizeof(b));
	assert_string_equal(csum_name(), "portable");
	assert_int_equal(csum_fold(csum_add(0, b, 9000)), slow(b, 9000));
	csum_init();
	assert_non_null(csum_impl(csum_name()));
#ifdef __x86_64__
	assert_string_not_equal(csum_name(), "portable");
#endif
	assert_int_equal(csum_fold(csum_add(0, b, 9000)), slow(b, 9000));
	assert_int_equal(csum_fold(csum_add(0, b, 9)), slow(b, 9));
}

static void example(void **state)
{
	/* RFC 1071, 3 */
	static const uint8_t rfc[] = { 0x00, 0x01, 0xf2, 0x03,
				       0xf4, 0xf5, 0xf6, 0xf7 };
	/* An IPv4 header whose checksum, 0xb1e6, was set to zero */
	static const uint8_t ip[] = { 0x45, 0,	  0, 0x3c, 0x1c, 0x46, 0x40,
				      0,    0x40, 6, 0,	   0,	 0xac, 0x10,
				      0x0a, 0x63, 0xac, 0x10, 0x0a, 0x0c };

	(void)state;
	assert_int_equal(csum_fold(csum_add(0, rfc, 8)), htobe16(0xddf2));
	assert_int_equal(csum_finish(csum_add(0, ip, 20)), htobe16(0xb1e6));
}

static void sums_add(void **state)
{
	static uint8_t b[4096];
	uint64_t sum = 0;
	unsigned i;

	(void)state;
	fill(b, sizeof(b));
	for (i = 0; i < sizeof(b); i += 64)
		sum = csum_add(sum, b + i, 64);
	assert_int_equal(csum_fold(sum), slow(b, sizeof(b)));
	sum = csum_add(0, b, 1000) + csum_add(0, b + 1000, sizeof(b) - 1000);
	assert_int_equal(csum_fold(sum), slow(b, sizeof(b)));
}

static void folds(void **state)
{
	static const struct {
		uint64_t sum;
		uint16_t fold;
	} t[] = {
		{ 0, 0 },
		{ 0xffff, 0xffff },
		{ 0x10000, 1 },
		{ 0x1fffe, 0xffff },
		{ 0xffffffff, 0xffff },
		{ 0x100000000, 1 },
		{ UINT64_MAX, 0xffff },
		{ UINT64_MAX - 1, 0xfffe },
		{ 0x1fffffffe, 0xffff },
	};
	unsigned i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(t); i++)
		assert_int_equal(csum_fold(t[i].sum), t[i].fold);
	assert_int_equal(csum_finish(0), 0xffff);
	assert_int_equal(csum_finish(0xffff), 0);
}

static void iovecs(void **state)
{
	enum { MANY = 12 };
	unsigned round, i;

	(void)state;
	for (round = 0; round < 2000; round++) {
		struct iovec iov[MANY];
		uint8_t b[MANY * 100];
		size_t total = 0, off, len;

		fill(b, sizeof(b));
		for (i = 0; i < MANY; i++) { /* odd and empty ones among them */
			size_t n = chance() % (chance() % 2 ? 100 : 4);

			iov[i] = (struct iovec){ b + total, n };
			total += n;
		}
		off = chance() % (total / 2 + 1);
		len = total - off - chance() % (total / 2 + 1);
		assert_int_equal(csum_fold(csum_iov(0, iov, MANY, off, len)),
				 slow(b + off, len));
		assert_int_equal(csum_fold(csum_iov(0, iov, MANY, off, 99999)),
				 slow(b + off, total - off));
	}
	assert_int_equal(csum_iov(5, NULL, 0, 0, 7), 5);
}

static uint16_t pseudo(const char *src, const char *dst, uint8_t proto,
		       uint32_t len)
{
	struct addr a, b;

	assert_true(addr_parse(src, &a) && addr_parse(dst, &b));
	return csum_fold(csum_pseudo(&a, &b, proto, len));
}

static void pseudo_headers(void **state)
{
	static const uint8_t four[] = { 192, 0,	  2, 1,	 198, 51,
					100, 255, 0, 17, 0x12, 0x34 };
	static const uint8_t six[40] = { 0x20, 1,    0x0d, 0xb8, [15] = 1,
					 [16] = 0xfe, 0x80, [31] = 0xff,
					 [33] = 1,    0x23, 0x45, [39] = 6 };

	(void)state;
	assert_int_equal(pseudo("192.0.2.1", "198.51.100.255", 17, 0x1234),
			 slow(four, sizeof(four)));
	assert_int_equal(pseudo("2001:db8::1", "fe80::ff", 6, 0x12345),
			 slow(six, sizeof(six)));
}

int main(void)
{
	static const struct CMUnitTest t[] = {
		cmocka_unit_test(choice),   cmocka_unit_test(implementations),
		cmocka_unit_test(example),  cmocka_unit_test(sums_add),
		cmocka_unit_test(folds),    cmocka_unit_test(iovecs),
		cmocka_unit_test(pseudo_headers),
	};

	return cmocka_run_group_tests(t, NULL, NULL);
}
