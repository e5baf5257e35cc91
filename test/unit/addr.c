/* SPDX-License-Identifier: GPL-2.0-or-later */
/* unit: */
#include "addr.h"
#include "util.h"

#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>

static struct addr A(const char *text)
{
	struct addr a;

	if (!addr_parse(text, &a))
		fail_msg("cannot parse %s", text);
	return a;
}

enum { UNSPEC = 1, LOOP = 2, MULTI = 4, LINK = 8, BCAST = 16, UNI = 32 };

static unsigned classes(const struct addr *a)
{
	return (addr_is_unspecified(a) ? UNSPEC : 0) |
	       (addr_is_loopback(a) ? LOOP : 0) |
	       (addr_is_multicast(a) ? MULTI : 0) |
	       (addr_is_link_local(a) ? LINK : 0) |
	       (addr_is_broadcast(a) ? BCAST : 0) |
	       (addr_is_unicast(a) ? UNI : 0);
}

static void class_of(void **state)
{
	static const struct {
		const char *text;
		unsigned is;
	} t[] = {
		{ "0.0.0.0", UNSPEC },
		{ "::", UNSPEC },
		{ "0.0.0.1", UNI },
		{ "::1", LOOP | UNI },
		{ "::2", UNI },
		{ "1::", UNI },
		{ "127.0.0.1", LOOP | UNI },
		{ "127.255.255.255", LOOP | UNI },
		{ "126.255.255.255", UNI },
		{ "128.0.0.0", UNI },
		{ "223.255.255.255", UNI },
		{ "224.0.0.0", MULTI },
		{ "239.255.255.255", MULTI },
		{ "240.0.0.0", UNI },
		{ "255.255.255.254", UNI },
		{ "255.255.255.255", BCAST },
		{ "169.253.255.255", UNI },
		{ "169.254.0.0", LINK | UNI },
		{ "169.254.255.255", LINK | UNI },
		{ "169.255.0.0", UNI },
		{ "fe7f:ffff::", UNI },
		{ "fe80::", LINK | UNI },
		{ "febf:ffff::", LINK | UNI },
		{ "fec0::", UNI },
		{ "feff::", UNI },
		{ "ff00::", MULTI },
		{ "ff02::1", MULTI },
		{ "2001:db8::7f00:1", UNI },
		/* not v4-mapped, though it ends like a class of IPv4 */
		{ "::7f00:1", UNI },
		{ "::fffe:224.0.0.1", UNI },
	};
	unsigned i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(t); i++) {
		struct addr a = A(t[i].text);

		if (classes(&a) != t[i].is)
			fail_msg("%s: %#x", t[i].text, classes(&a));
	}
}

static void constants(void **state)
{
	struct addr a = A("0.0.0.0"), b = addr_any(true);

	(void)state;
	assert_true(addr_equal(&a, &b));
	assert_true(addr_is_v4(&b));
	assert_false(addr_is_none(&b));
	b = addr_any(false);
	assert_true(addr_is_none(&b));
	assert_false(addr_is_v4(&b));
	a = A("127.0.0.1");
	b = addr_loopback(true);
	assert_true(addr_equal(&a, &b));
	a = A("::1");
	b = addr_loopback(false);
	assert_true(addr_equal(&a, &b));
	a = A("192.0.2.3");
	b = addr_v4(192, 0, 2, 3);
	assert_true(addr_equal(&a, &b));
	b = addr_from6("\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x09");
	a = A("2001:db8::9");
	assert_true(addr_equal(&a, &b));
}

/* The plain twin: bit by bit */
static struct addr mask_slowly(struct addr a, unsigned len)
{
	unsigned first = addr_is_v4(&a) ? 96 : 0, i;

	for (i = first + len; i < 128; i++)
		a.b[i / 8] &= (uint8_t) ~(0x80 >> i % 8);
	return a;
}

static void masks(void **state)
{
	struct addr a[2] = { A("255.255.255.255"),
			     A("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff") };
	unsigned f, len;

	(void)state;
	for (f = 0; f < 2; f++) {
		for (len = 0; len <= (f ? 128U : 32U); len++) {
			struct addr x = addr_mask(&a[f], len);
			struct addr y = mask_slowly(a[f], len);

			assert_memory_equal(&x, &y, sizeof(x));
			assert_true(addr_in_prefix(&a[f], &x, len));
			assert_int_equal(addr_in_prefix(&x, &a[f],
							f ? 128 : 32),
					 len == (f ? 128 : 32));
		}
	}
}

static void prefixes(void **state)
{
	static const struct {
		const char *a, *net;
		unsigned len;
		bool in;
	} t[] = {
		{ "192.0.2.77", "192.0.2.0", 24, true },
		{ "192.0.2.77", "192.0.2.99", 24, true }, /* net unmasked */
		{ "192.0.3.0", "192.0.2.0", 24, false },
		{ "192.0.3.255", "192.0.2.0", 23, true },
		{ "1.2.3.4", "0.0.0.0", 0, true },
		{ "1.2.3.4", "1.2.3.4", 32, true },
		{ "1.2.3.5", "1.2.3.4", 32, false },
		{ "2001:db8::1", "2001:db8::", 64, true },
		{ "2001:db8:0:1::1", "2001:db8::", 64, false },
		{ "2001:db8::1", "::", 0, true },
		{ "1.2.3.4", "::", 0, false }, /* other family */
		{ "::1", "0.0.0.0", 0, false },
	};
	unsigned i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(t); i++) {
		struct addr a = A(t[i].a), net = A(t[i].net);

		if (addr_in_prefix(&a, &net, t[i].len) != t[i].in)
			fail_msg("%s in %s/%u", t[i].a, t[i].net, t[i].len);
	}
}

static void class_prefix(void **state)
{
	static const struct {
		const char *a;
		unsigned len;
	} t[] = {
		{ "10.0.0.1", 8 },     { "127.255.0.1", 8 },
		{ "128.0.0.1", 16 },   { "191.255.0.1", 16 },
		{ "192.0.0.1", 24 },   { "223.255.255.1", 24 },
		{ "224.0.0.1", 32 },   { "255.0.0.1", 32 },
	};
	unsigned i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(t); i++) {
		struct addr a = A(t[i].a);

		assert_int_equal(addr_class_prefix(&a), t[i].len);
	}
}

static void text(void **state)
{
	static const char *const same[] = {
		"0.0.0.0", "255.255.255.255", "192.0.2.1",  "::",
		"::1",	   "2001:db8::1",     "fe80::1:2:3",
		"1111:2222:3333:4444:5555:6666:7777:8888",
	};
	static const char *const bad[] = {
		"",	   "1.2.3",    "1.2.3.4.5", "1.2.3.256", "1.2.3.4 ",
		" 1.2.3.4", "[::1]",   "::1%lo",    ":::",	 "1.2.3.4/8",
		"12345::", "localhost", "80",	     "1:2:3:4:5:6:7",
	};
	struct addr a = A("192.0.2.1"), b = a;
	char buf[ADDR_TEXT_LEN];
	unsigned i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(same); i++) {
		struct addr x = A(same[i]);

		assert_string_equal(addr_text(&x, buf), same[i]);
	}
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		if (addr_parse(bad[i], &a))
			fail_msg("'%s' was taken", bad[i]);
		assert_true(addr_equal(&a, &b));
	}
	a = A("::ffff:192.0.2.1");
	assert_true(addr_equal(&a, &b));
}

static void macs(void **state)
{
	static const char *const bad[] = {
		"",
		"9a:55:9a:55:9a:5",
		"9a:55:9a:55:9a:555",
		"9a-55-9a-55-9a-55",
		"9a:55:9a:55:9a:5g",
		"9a:55:9a:55:9a:55:",
		"9a:55:9a:559:a:55",
		"+a:55:9a:55:9a:55",
		" a:55:9a:55:9a:55",
		"0x:55:9a:55:9a:55",
	};
	struct mac m = { { 1, 2, 3, 4, 5, 6 } }, was = m;
	char buf[MAC_TEXT_LEN];
	unsigned i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		if (mac_parse(bad[i], &m))
			fail_msg("'%s' was taken", bad[i]);
		assert_true(mac_equal(&m, &was));
	}
	assert_true(mac_parse("9A:5b:00:ff:Ef:01", &m));
	assert_memory_equal(m.b, "\x9a\x5b\0\xff\xef\x01", 6);
	assert_string_equal(mac_text(&m, buf), "9a:5b:00:ff:ef:01");
}

int main(void)
{
	static const struct CMUnitTest t[] = {
		cmocka_unit_test(class_of),
		cmocka_unit_test(constants),
		cmocka_unit_test(masks),
		cmocka_unit_test(prefixes),
		cmocka_unit_test(class_prefix),
		cmocka_unit_test(text),
		cmocka_unit_test(macs),
	};

	return cmocka_run_group_tests(t, NULL, NULL);
}
