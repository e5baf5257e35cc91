/* SPDX-License-Identifier: GPL-2.0-or-later */
/* unit: addr util log */
/* Messages as bytes; the names in them begin at fixed places. */
#include "dnsanswer.h"
#include "cursor.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

enum { HEAD = 12, TYPE_A = 1, TYPE_CNAME = 5, TYPE_TXT = 16, TYPE_AAAA = 28 };

static uint8_t buf[1024];
static struct wr w;
static struct dnsanswer a;

static void name(const char *text)
{
	while (*text) {
		size_t n = strcspn(text, ".");

		wr_u8(&w, (uint8_t)n);
		wr_bytes(&w, text, n);
		text += n + (text[n] == '.');
	}
	wr_u8(&w, 0);
}

static void pointer(size_t at)
{
	wr_be16(&w, (uint16_t)(0xc000 | at));
}

/* A response with @answers records to come to a question for @text */
static void begin(const char *text, unsigned answers)
{
	w = wr_init(buf, sizeof(buf));
	wr_be16(&w, 0x1234);
	wr_be16(&w, 0x8180);
	wr_be16(&w, 1);
	wr_be16(&w, (uint16_t)answers);
	wr_be32(&w, 0);
	name(text);
	wr_be16(&w, TYPE_A);
	wr_be16(&w, 1);
}

static void record(unsigned type, unsigned class, uint32_t ttl, size_t len)
{
	wr_be16(&w, (uint16_t)type);
	wr_be16(&w, (uint16_t)class);
	wr_be32(&w, ttl);
	wr_be16(&w, (uint16_t)len);
}

static void address(uint32_t ttl, uint8_t last)
{
	record(TYPE_A, 1, ttl, 4);
	wr_be32(&w, 0xc0000200U | last);
}

/* Of exactly as many bytes as there are, so that reading more is seen */
static bool read_it(size_t len)
{
	uint8_t *copy = malloc(len);
	bool ok;

	assert_true(wr_ok(&w) && len <= w.len);
	memcpy(copy, buf, len);
	ok = dnsanswer_read(&a, copy, len);
	free(copy);
	return ok;
}

static void is(unsigned i, const char *text)
{
	struct addr want;

	assert_true(addr_parse(text, &want));
	assert_true(i < a.n);
	assert_true(addr_equal(&a.addr[i], &want));
}

static void addresses(void **state)
{
	static const uint8_t six[16] = { 0x20, 1, 0xd, 0xb8, [15] = 7 };

	(void)state;
	begin("WWW.Example.org", 3);
	pointer(HEAD);
	address(300, 1);
	name("www.eXample.org");
	address(20, 2);
	pointer(HEAD);
	record(TYPE_AAAA, 1, 60, 16);
	wr_bytes(&w, six, 16);
	assert_true(read_it(w.len));
	assert_string_equal(a.name, "www.example.org");
	assert_int_equal(a.n, 3);
	is(0, "192.0.2.1");
	is(1, "192.0.2.2");
	is(2, "2001:db8::7");
	assert_int_equal(a.ttl_s, 20);
}

static void aliases(void **state)
{
	size_t at;

	(void)state;
	/* In whatever order; what the time is of those in between counts */
	begin("a.test", 4);
	name("c.test");
	address(100, 3);
	name("other.test");
	address(1, 9);
	name("b.test");
	record(TYPE_CNAME, 1, 7, 8);
	name("c.test");
	pointer(HEAD);
	record(TYPE_CNAME, 1, 50, 8);
	name("b.test");
	assert_true(read_it(w.len));
	assert_string_equal(a.name, "a.test");
	assert_int_equal(a.n, 1);
	is(0, "192.0.2.3");
	assert_int_equal(a.ttl_s, 7);

	/* In circles, and to nowhere */
	begin("a.test", 2);
	pointer(HEAD);
	record(TYPE_CNAME, 1, 50, 8);
	name("b.test");
	name("b.test");
	record(TYPE_CNAME, 1, 50, 2);
	pointer(HEAD);
	assert_false(read_it(w.len));
	begin("a.test", 1);
	pointer(HEAD);
	record(TYPE_CNAME, 1, 50, 2);
	at = w.len;
	pointer(at); /* to itself */
	assert_false(read_it(w.len));
}

static void not_answers(void **state)
{
	static const struct {
		size_t at;
		uint8_t value;
	} bad[] = {
		{ 2, 0x01 },	/* a question */
		{ 2, 0x91 },	/* of another opcode */
		{ 3, 0x83 },	/* no such name */
		{ 5, 0 }, { 5, 2 }, /* questions */
		{ 7, 0 },	/* answers */
		{ HEAD + 1, '*' }, { HEAD + 1, 0 }, { HEAD + 1, '/' },
		{ HEAD, 64 },	/* a label of no kind */
		{ HEAD, 0xc0 }, /* a pointer forward */
		{ HEAD + 12 + 1, HEAD + 2 }, /* of another name */
		{ HEAD + 12 + 3, TYPE_TXT }, /* another type */
		{ HEAD + 12 + 5, 3 }, /* another class */
		{ HEAD + 12 + 11, 3 }, /* an address too short */
		{ HEAD + 12 + 11, 5 }, /* or longer than the message */
	};
	unsigned i;

	(void)state;
	for (i = 0; i <= ARRAY_SIZE(bad); i++) {
		begin("a.test", 1);
		pointer(HEAD);
		address(60, 1);
		if (i < ARRAY_SIZE(bad))
			buf[bad[i].at] = bad[i].value;
		if (read_it(w.len) != (i == ARRAY_SIZE(bad)))
			fail_msg("%u", i);
	}
}

/* Cut anywhere; a record that is whole counts */
static void cut(void **state)
{
	size_t len, whole;

	(void)state;
	begin("a.test", 2);
	pointer(HEAD);
	address(60, 1);
	whole = w.len;
	pointer(HEAD);
	address(60, 2);
	for (len = 0; len <= w.len; len++) {
		assert_int_equal(read_it(len), len >= whole);
		if (len >= whole)
			assert_int_equal(a.n, len < w.len ? 1 : 2);
	}
}

static void limits(void **state)
{
	char text[300];
	unsigned i;

	(void)state;
	/* A name of 253 bytes is the longest */
	for (i = 0; i < 253; i++)
		text[i] = i % 50 == 49 ? '.' : 'x';
	text[253] = '\0';
	begin(text, 1);
	pointer(HEAD);
	address(60, 1);
	assert_true(read_it(w.len));
	assert_string_equal(a.name, text);
	/* More addresses than are looked at, and times that are none */
	begin("a.test", DNSANSWER_ADDRS + 1);
	for (i = 0; i <= DNSANSWER_ADDRS && w.len + 16 <= sizeof(buf); i++) {
		pointer(HEAD);
		address(UINT32_MAX, (uint8_t)i);
	}
	assert_true(read_it(w.len));
	assert_true(a.n <= DNSANSWER_ADDRS);
	assert_int_equal(a.ttl_s, 0);
}

/* A name by so many pointers, each to the one before */
static bool jumps(unsigned n)
{
	size_t at = HEAD, next;

	begin("a.test", 2);
	pointer(HEAD);
	record(TYPE_TXT, 1, 60, 2 * (size_t)(n - 1));
	for (; n > 1; n--, at = next) {
		next = w.len;
		pointer(at);
	}
	pointer(at);
	address(60, 1);
	return read_it(w.len);
}

/* As many as a name may have labels, not as many as there is room for */
static void pointers(void **state)
{
	(void)state;
	assert_true(jumps(1));
	assert_true(jumps(127));
	assert_false(jumps(128));
	assert_false(jumps(400));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(addresses), cmocka_unit_test(aliases),
		cmocka_unit_test(not_answers), cmocka_unit_test(cut),
		cmocka_unit_test(limits), cmocka_unit_test(pointers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
