/* SPDX-License-Identifier: GPL-2.0-or-later */
/* unit: */
#include "dnsname.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#define BYTES(...)                                                             \
	(const uint8_t[])                                                      \
	{                                                                      \
		__VA_ARGS__                                                    \
	}

static uint8_t room[1024];
static struct wr w;

static int setup(void **state)
{
	(void)state;
	memset(room, 0xa5, sizeof(room));
	w = wr_init(room, sizeof(room));
	return 0;
}

static void assert_wire(const uint8_t *want, size_t len)
{
	assert_true(wr_ok(&w));
	assert_int_equal(w.len, len);
	assert_memory_equal(room, want, len);
}

/* The plain twin of packing: the name at *@at as text, *@at moves behind it */
static void unpack(size_t *at, char *text)
{
	size_t p = *at, hops = 0;
	char *start = text;
	bool jumped = false;

	while (room[p]) {
		if (room[p] >= 0xc0) {
			size_t to = (room[p] & 0x3fU) << 8 | room[p + 1];

			if (!jumped)
				*at = p + 2;
			jumped = true;
			assert_true(to < p);
			assert_true(++hops < 10);
			p = to;
			continue;
		}
		if (text != start)
			*text++ = '.';
		memcpy(text, room + p + 1, room[p]);
		text += room[p];
		p += room[p] + 1U;
	}
	*text = 0;
	if (!jumped)
		*at = p + 1;
}

static void plain(void **state)
{
	(void)state;
	assert_true(dnsname_put(&w, "a.bc"));
	assert_true(dnsname_put(&w, "d."));
	assert_wire(BYTES(1, 'a', 2, 'b', 'c', 0, 1, 'd', 0), 9);
}

static void refusals(void **state)
{
	static const char *const bad[] = { "", ".", "..", ".a", "a..b", "a.." };
	char name[260];
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_false(dnsname_put(&w, bad[i]));
		assert_false(dnsname_pack(&w, bad[i]));
	}
	/* a label of 64 */
	memset(name, 'x', 64);
	name[64] = 0;
	assert_false(dnsname_put(&w, name));
	/* 4 + 3 * 63 + 62 = 254 characters would be 256 bytes */
	memset(name, 'x', 254);
	name[63] = name[127] = name[191] = '.';
	name[254] = 0;
	assert_int_equal(strlen(name + 192), 62);
	assert_false(dnsname_put(&w, name));
	assert_int_equal(w.len, 0);
	/* a label of 63, 255 bytes and a trailing dot are all right */
	name[253] = 0;
	assert_true(dnsname_put(&w, name));
	assert_int_equal(w.len, DNSNAME_MAX);
	name[253] = '.';
	assert_true(dnsname_put(&w, name));
	assert_int_equal(w.len, 2 * DNSNAME_MAX);
	assert_memory_equal(room, room + DNSNAME_MAX, DNSNAME_MAX);
}

static void no_room(void **state)
{
	(void)state;
	w.cap = 7;
	assert_true(dnsname_put(&w, "ab"));
	assert_false(dnsname_put(&w, "cd"));
	assert_wire(BYTES(2, 'a', 'b', 0), 4);
	/* what fits later is taken still */
	assert_true(dnsname_put(&w, "c"));
	assert_wire(BYTES(2, 'a', 'b', 0, 1, 'c', 0), 7);
	assert_false(dnsname_pack(&w, "ab"));
	assert_int_equal(room[7], 0xa5);
}

/* RFC 3397, 2 has this very example: eng.apple.com. marketing.apple.com. */
static void packed(void **state)
{
	static const uint8_t want[] = {
		3,   'e', 'n', 'g', 5,   'a', 'p', 'p',  'l',
		'e', 3,   'c', 'o', 'm', 0,   9,   'm',  'a',
		'r', 'k', 'e', 't', 'i', 'n', 'g', 0xc0, 0x04,
	};

	(void)state;
	assert_true(dnsname_pack(&w, "eng.apple.com."));
	assert_true(dnsname_pack(&w, "marketing.apple.com."));
	assert_wire(want, sizeof(want));
}

static void packed_whole(void **state)
{
	(void)state;
	assert_true(dnsname_pack(&w, "a.b"));
	assert_true(dnsname_pack(&w, "a.b"));
	assert_true(dnsname_pack(&w, "b"));
	/* through a pointer: x, then what is at 5, which is at 0 */
	assert_true(dnsname_pack(&w, "x.a.b"));
	assert_wire(BYTES(1, 'a', 1, 'b', 0, 0xc0, 0, 0xc0, 2, 1, 'x', 0xc0, 0),
		    13);
	/* an ending has to end where the other one does */
	assert_true(dnsname_pack(&w, "a"));
	assert_memory_equal(room + 13, BYTES(1, 'a', 0), 3);
}

static void unpacked(void **state)
{
	static const char *const names[] = {
		"example.org", "lab.example.org",     "a.lab.example.org",
		"org",         "lab.example.com",     "com",
		"example.org", "b.a.lab.example.org", "ample.org",
		"example",     "lab.example.org.com", "e.x.a.m.p.l.e",
		"p.l.e",       "a.b.c.d.e.f.p.l.e",
	};
	size_t i, at = 0, before;
	char text[256];

	(void)state;
	for (i = 0; i < ARRAY_SIZE(names); i++) {
		before = w.len;
		assert_true(dnsname_pack(&w, names[i]));
		assert_true(w.len - before <= strlen(names[i]) + 2);
	}
	for (i = 0; i < ARRAY_SIZE(names); i++) {
		unpack(&at, text);
		assert_string_equal(text, names[i]);
	}
	assert_int_equal(at, w.len);
}

/* The last label of one is shorter than the first of the other */
static void packed_longest(void **state)
{
	char name[254];

	(void)state;
	memset(name, 'a', 253);
	name[63] = name[127] = name[191] = '.';
	name[253] = 0;
	assert_true(dnsname_pack(&w, name));
	memset(name, 'b', 63);
	assert_true(dnsname_pack(&w, name));
	assert_int_equal(w.len, 255 + 64 + 2);
	assert_memory_equal(room + 255 + 64, BYTES(0xc0, 64), 2);
	memset(name + 192, 'b', 61);
	assert_true(dnsname_pack(&w, name));
	assert_int_equal(w.len, 255 + 66 + 255);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(plain, setup),
		cmocka_unit_test_setup(refusals, setup),
		cmocka_unit_test_setup(no_room, setup),
		cmocka_unit_test_setup(packed, setup),
		cmocka_unit_test_setup(packed_whole, setup),
		cmocka_unit_test_setup(packed_longest, setup),
		cmocka_unit_test_setup(unpacked, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
