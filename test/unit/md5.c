/* SPDX-License-Identifier: GPL-2.0-or-later */
/* unit: */
#include "md5.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static void assert_hex(const uint8_t sum[MD5_LEN], const char *want)
{
	char text[3], got[2 * MD5_LEN + 1] = "";
	unsigned i;

	for (i = 0; i < MD5_LEN; i++) {
		static const char digit[] = "0123456789abcdef";

		text[0] = digit[sum[i] >> 4];
		text[1] = digit[sum[i] & 15];
		text[2] = 0;
		strcat(got, text);
	}
	assert_string_equal(got, want);
}

/* RFC 1321, A.5 */
static void plain(void **state)
{
	static const char *const known[][2] = {
		{ "", "d41d8cd98f00b204e9800998ecf8427e" },
		{ "a", "0cc175b9c0f1b6a831c399e269772661" },
		{ "abc", "900150983cd24fb0d6963f7d28e17f72" },
		{ "message digest", "f96b697d7cb7938d525a2f31aaf161d0" },
		{ "abcdefghijklmnopqrstuvwxyz",
		  "c3fcd3d76192e4007dfb496cca67e13b" },
		{ "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
		  "0123456789", "d174ab98d277d9f5a5611c2c9f419d9f" },
		{ "1234567890123456789012345678901234567890"
		  "1234567890123456789012345678901234567890",
		  "57edf4a22be3c955ac49da2e2107b67a" },
	};
	uint8_t sum[MD5_LEN];
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		md5(known[i][0], strlen(known[i][0]), sum);
		assert_hex(sum, known[i][1]);
	}
}

/* Around the end of a block, where the length takes another: by md5sum */
static void long_ones(void **state)
{
	static const struct {
		size_t len;
		const char *sum;
	} known[] = {
		{ 55, "04364420e25c512fd958a70738aa8f72" },
		{ 56, "668a72d5ba17f08e62dabcafad6db14b" },
		{ 63, "7dc2ca208106a2f703567bdff99d8981" },
		{ 64, "c1bb4f81d892b2d57947682aeb252456" },
		{ 65, "1bc932052302d074bdec39795fe00cf6" },
		{ 119, "ab347a5f68c8a443cfcddc633f12c24f" },
		{ 120, "fb98667f98096de92620b64f46e1c5b5" },
		{ 128, "d69cb61a6ee87200676eb0d4b90edbcb" },
		{ 100000, "d5816f35916d1d9482fb0f1ec201101d" },
	};
	uint8_t sum[MD5_LEN], *p;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		p = malloc(known[i].len);
		assert_non_null(p);
		memset(p, 'x', known[i].len);
		md5(p, known[i].len, sum);
		free(p);
		assert_hex(sum, known[i].sum);
	}
}

/* RFC 2202, 2 */
static void keyed(void **state)
{
	uint8_t sum[MD5_LEN], key[80], data[50];
	unsigned i;

	(void)state;
	memset(key, 0x0b, 16);
	md5_hmac(key, 16, "Hi There", 8, sum);
	assert_hex(sum, "9294727a3638bb1c13f48ef8158bfc9d");
	md5_hmac("Jefe", 4, "what do ya want for nothing?", 28, sum);
	assert_hex(sum, "750c783e6ab0b503eaa86e310a5db738");
	memset(key, 0xaa, sizeof(key));
	memset(data, 0xdd, sizeof(data));
	md5_hmac(key, 16, data, sizeof(data), sum);
	assert_hex(sum, "56be34521d144c88dbb8c733f0e8b3f6");
	md5_hmac(key, 80, "Test Using Larger Than Block-Size Key - Hash Key First",
		 54, sum);
	assert_hex(sum, "6b1ab7fe4bd7bf8f0b62e6ce61b9d0cd");
	md5_hmac(key, 80, "Test Using Larger Than Block-Size Key and Larger Than "
		 "One Block-Size Data", 73, sum);
	assert_hex(sum, "6f630fad67cda0ee1fb1f562db3aa53e");
	memset(key, 0x0c, 16);
	md5_hmac(key, 16, "Test With Truncation", 20, sum);
	assert_hex(sum, "56461ef2342edc00f9bab995690efd4c");
	for (i = 0; i < 25; i++)
		key[i] = (uint8_t)(i + 1);
	memset(data, 0xcd, sizeof(data));
	md5_hmac(key, 25, data, sizeof(data), sum);
	assert_hex(sum, "697eaf0aca3a3aea3a75164746ffaa79");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(plain),
		cmocka_unit_test(long_ones),
		cmocka_unit_test(keyed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
