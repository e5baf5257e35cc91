/* SPDX-License-Identifier: GPL-2.0-or-later */
/* unit: */
#include "util.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static void numbers(void **state)
{
	static const struct {
		const char *text;
		int base;
		uint64_t max;
		bool ok;
		uint64_t value;
	} t[] = {
		{ "0", 10, 9, true, 0 },
		{ "9", 10, 9, true, 9 },
		{ "10", 10, 9, false, 0 },
		{ "", 10, 9, false, 0 },
		{ " ", 10, 9, false, 0 },
		{ " 7", 10, 9, true, 7 },
		{ "+7", 10, 9, true, 7 },
		{ "7 ", 10, 9, false, 0 },
		{ "7x", 10, 9, false, 0 },
		{ "x", 10, 9, false, 0 },
		{ "-0", 10, 9, true, 0 },
		{ "-1", 10, UINT64_MAX, false, 0 },
		{ "-18446744073709551615", 10, 9, false, 0 },
		{ "18446744073709551615", 10, UINT64_MAX, true, UINT64_MAX },
		{ "18446744073709551616", 10, UINT64_MAX, false, 0 },
		{ "0x10", 0, 99, true, 16 },
		{ "010", 0, 99, true, 8 },
		{ "010", 10, 99, true, 10 },
		{ "0x10", 10, 99, false, 0 },
	};
	unsigned i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(t); i++) {
		uint64_t v = 4711;
		bool ok = util_parse_u64(t[i].text, t[i].base, t[i].max, &v);

		if (ok != t[i].ok || v != (ok ? t[i].value : 4711))
			fail_msg("'%s' in base %d: %d, %llu", t[i].text,
				 t[i].base, ok, (unsigned long long)v);
	}
}

static void size(void **state)
{
	static const struct {
		const char *text;
		uint64_t max;
		bool ok;
		uint64_t value;
	} t[] = {
		{ "", 9, false, 0 },
		{ "K", 9999, false, 0 },
		{ "7", 9, true, 7 },
		{ "1K", 1024, true, 1024 },
		{ "1k", 1024, true, 1024 },
		{ "1K", 1023, false, 0 },
		{ "3M", UINT64_MAX, true, 3 << 20 },
		{ "0x10m", UINT64_MAX, true, 16 << 20 },
		{ "2G", UINT64_MAX, true, 2ULL << 30 },
		{ "1T", UINT64_MAX, false, 0 },
		{ "1KB", UINT64_MAX, false, 0 },
		{ "1 K", UINT64_MAX, false, 0 },
		{ "1KK", UINT64_MAX, false, 0 },
		{ "-1K", UINT64_MAX, false, 0 },
		{ "17179869183G", UINT64_MAX, true, 17179869183ULL << 30 },
		{ "17179869184G", UINT64_MAX, false, 0 },
		{ "0000000000000000000000000000000000001K", UINT64_MAX, false, 0 },
	};
	unsigned i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(t); i++) {
		uint64_t v = 0;
		bool ok = util_parse_size(t[i].text, t[i].max, &v);

		if (ok != t[i].ok || (ok && v != t[i].value))
			fail_msg("'%s': %d, %llu", t[i].text, ok,
				 (unsigned long long)v);
	}
}

static void number_keeps_errno(void **state)
{
	uint64_t v;

	(void)state;
	errno = EXDEV;
	util_parse_u64("99999999999999999999999", 10, 9, &v);
	assert_int_equal(errno, EXDEV);
}

static void byte_order(void **state)
{
	uint8_t b[8] = { 0, 1, 2, 3, 4, 5 };

	(void)state;
	assert_int_equal(ld_be16(b + 1), 0x0102);
	assert_int_equal(ld_be32(b + 1), 0x01020304);
	st_be16(b + 1, 0xa1b2);
	st_be32(b + 3, 0xc3d4e5f6);
	assert_memory_equal(b, "\0\xa1\xb2\xc3\xd4\xe5\xf6\0", 8);
}

static void files(void **state)
{
	int fd = memfd_create("util", 0);
	char path[64], buf[8];

	(void)state;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	assert_int_equal(util_read_file(path, buf, sizeof(buf)), 0);
	assert_string_equal(buf, "");
	assert_int_equal(write(fd, "1234567890", 10), 10);
	assert_int_equal(util_read_file(path, buf, sizeof(buf)), 7);
	assert_string_equal(buf, "1234567");
	close(fd);
	assert_int_equal(util_read_file("/no/such", buf, sizeof(buf)),
			 -ENOENT);
	assert_int_equal(util_read_file("/", buf, sizeof(buf)), -EISDIR);
	assert_string_equal(buf, "");
}

/* As fstat() has it */
static void about_a_file(void **state)
{
	int fd = memfd_create("util", 0);
	struct util_stat st;
	struct stat plain;

	(void)state;
	assert_int_equal(ftruncate(fd, 12345), 0);
	assert_int_equal(util_fstat(fd, &st), 0);
	assert_int_equal(fstat(fd, &plain), 0);
	assert_int_equal(st.mode, plain.st_mode);
	assert_int_equal(st.block, plain.st_blksize);
	assert_int_equal(st.size, 12345);
	assert_int_equal(st.inode, plain.st_ino);
	close(fd);
	assert_int_equal(util_fstat(-1, &st), -EBADF);
}

/* Word for word what strerror() of glibc says, or nothing */
static void errors(void **state)
{
	int err, known = 0;

	(void)state;
	for (err = -1; err < 200; err++) {
		const char *text = util_error(err);

		if (!strcmp(text, "Unknown error"))
			continue;
#ifdef __GLIBC__
		assert_string_equal(text, strerror(err));
#endif
		known++;
	}
	assert_in_range(known, 60, 140);
	assert_string_equal(util_error(EADDRINUSE), "Address already in use");
	assert_string_equal(util_error(ENOSYS), "Function not implemented");
	assert_string_equal(util_error(0), "Unknown error");
	assert_string_equal(util_error(INT_MAX), "Unknown error");
	assert_string_equal(util_error(INT_MIN), "Unknown error");
}

static void memory(void **state)
{
	/* More than there is: nothing of it may be taken before it is used */
	size_t size = SIZE_MAX >> (sizeof(size_t) > 4 ? 28 : 4), i;
	uint8_t *p = util_map(size);

	(void)state;
	assert_non_null(p);
	for (i = 0; i < size; i += size / 16 + 1)
		assert_int_equal(p[i], 0);
	munmap(p, size);
	assert_null(util_map(SIZE_MAX - 0xffff)); /* also of 32 bits */
}

static void randomness(void **state)
{
	uint8_t a[32] = { 0 }, b[32] = { 0 };

	(void)state;
	assert_true(util_random(a, sizeof(a)));
	assert_true(util_random(b, sizeof(b)));
	assert_memory_not_equal(a, b, sizeof(a));
	assert_true(util_random(a, 0));
}

int main(void)
{
	static const struct CMUnitTest t[] = {
		cmocka_unit_test(numbers),
		cmocka_unit_test(size),
		cmocka_unit_test(number_keeps_errno),
		cmocka_unit_test(byte_order),
		cmocka_unit_test(files),
		cmocka_unit_test(about_a_file),
		cmocka_unit_test(errors),
		cmocka_unit_test(memory),
		cmocka_unit_test(randomness),
	};

	return cmocka_run_group_tests(t, NULL, NULL);
}
