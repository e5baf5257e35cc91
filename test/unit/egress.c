/* SPDX-License-Identifier: GPL-2.0-or-later */
/* unit: util log addrset addr rules */
/* Specifiers and what they decide: "allow SPEC; deny SPEC", and of a destination
 * whether it is allowed. */
#include "egress.h"

#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

static struct egress e;
static struct egress_local local;
static struct egress_heard heard;
static uint64_t now_ms;
static const struct egress_view view = { &local, &heard, &now_ms };
static char err[EGRESS_ERR];

static int setup(void **state)
{
	(void)state;
	memset(&e, 0, sizeof(e));
	memset(&local, 0, sizeof(local));
	memset(&heard, 0, sizeof(heard));
	now_ms = 1000;
	return 0;
}

static void has(const char *text, unsigned len)
{
	struct addr a;

	assert_true(addr_parse(text, &a));
	egress_local_add(&local, &a, len);
}

/* "+SPEC" allows, "-SPEC" denies */
static void add(const char *const *specs)
{
	memset(&e, 0, sizeof(e));
	for (; *specs; specs++)
		if (!egress_add(&e, **specs == '+', *specs + 1, err))
			fail_msg("%s: %s", *specs, err);
}

/* "tcp 192.0.2.1 80", "icmp ::1", "udp 192.0.2.53 53 resolver" */
static bool allows(const char *what)
{
	char proto[8], text[ADDR_TEXT_LEN], resolver[16] = "";
	unsigned port = 7;
	struct egress_dest d;
	struct addr a;

	if (sscanf(what, "%7s %45s %u %15s", proto, text, &port, resolver) < 2 ||
	    !addr_parse(text, &a))
		fail_msg("%s", what);
	d = (struct egress_dest){ &a, (uint16_t)port, *resolver };
	return egress_allows(&e, &view,
			     *proto == 't' ? IPPROTO_TCP :
			     *proto == 'u' ? IPPROTO_UDP :
			     addr_is_v4(&a) ? IPPROTO_ICMP : IPPROTO_ICMPV6,
			     &d);
}

static void decisions(void **state)
{
	static const struct {
		const char *specs[6], *yes[8], *no[8];
	} t[] = {
		/* of what is not named the last rule tells */
		{ { 0 }, { "tcp 192.0.2.1 80", "icmp ::1" }, { 0 } },
		{ { "+192.0.2.1" },
		  { "tcp 192.0.2.1 80", "udp 192.0.2.1 1", "icmp 192.0.2.1" },
		  { "tcp 192.0.2.2 80", "tcp 2001:db8::1 80", "icmp ::1" } },
		{ { "-192.0.2.1" },
		  { "tcp 192.0.2.2 80", "icmp 2001:db8::1" },
		  { "tcp 192.0.2.1 80", "icmp 192.0.2.1" } },
		/* and the first one of all that name it */
		{ { "-192.0.2.7", "+192.0.2.0/24" },
		  { "tcp 192.0.2.6 80", "tcp 192.0.2.255 80" },
		  { "tcp 192.0.2.7 80", "tcp 192.0.3.0 80" } },
		{ { "+192.0.2.7", "-192.0.2.0/24" },
		  { "tcp 192.0.2.7 80", "tcp 192.0.3.0 80" },
		  { "tcp 192.0.2.6 80" } },
		{ { "+192.0.2.7", "-192.0.2.7" }, { "tcp 192.0.2.7 1" }, { 0 } },
		/* prefixes: what is behind their length does not matter */
		{ { "+192.0.2.77/24" }, { "tcp 192.0.2.1 1" }, { "tcp 192.0.3.1 1" } },
		{ { "+0.0.0.0/0" }, { "tcp 192.0.2.1 1" }, { "tcp 2001:db8::1 1" } },
		{ { "+::/0" }, { "tcp 2001:db8::1 1" }, { "tcp 192.0.2.1 1" } },
		{ { "+2001:db8::/32" },
		  { "tcp 2001:db8:1::1 1" }, { "tcp 2001:db9::1 1" } },
		{ { "+[2001:db8::]/32" },
		  { "tcp 2001:db8:1::1 1" }, { "tcp 2001:db9::1 1" } },
		{ { "+[2001:db8::/32]" },
		  { "tcp 2001:db8:1::1 1" }, { "tcp 2001:db9::1 1" } },
		{ { "+::ffff:192.0.2.1" }, { "tcp 192.0.2.1 1" }, { "tcp ::1 1" } },
		{ { "+[::1]" }, { "tcp ::1 1" }, { "tcp ::2 1" } },
		{ { "+::1:80" }, { "tcp ::1:80 9" }, { "tcp ::1 80" } },
		/* ports, of TCP and UDP only */
		{ { "+192.0.2.1:443" },
		  { "tcp 192.0.2.1 443", "udp 192.0.2.1 443" },
		  { "tcp 192.0.2.1 80", "icmp 192.0.2.1 443" } },
		{ { "+[2001:db8::1]:80,443,8000-8080" },
		  { "tcp 2001:db8::1 80", "tcp 2001:db8::1 443",
		    "udp 2001:db8::1 8000", "tcp 2001:db8::1 8080" },
		  { "tcp 2001:db8::1 81", "tcp 2001:db8::1 7999",
		    "tcp 2001:db8::1 8081", "icmp 2001:db8::1" } },
		{ { "+[2001:db8::]/32:1-65535" },
		  { "tcp 2001:db8::1 1", "udp 2001:db8::1 65535" },
		  { "icmp 2001:db8::1" } },
		{ { "+192.0.2.0/24:25" },
		  { "tcp 192.0.2.9 25" }, { "tcp 192.0.2.9 26" } },
		{ { "-any:25" },
		  { "tcp 192.0.2.9 26", "icmp 192.0.2.9 25" },
		  { "tcp 192.0.2.9 25", "udp ::9 25" } },
		/* protocols */
		{ { "+tcp:any" }, { "tcp ::1 1" }, { "udp ::1 1", "icmp ::1" } },
		{ { "+udp:192.0.2.1:53" }, { "udp 192.0.2.1 53" },
		  { "tcp 192.0.2.1 53", "icmp 192.0.2.1 53" } },
		{ { "+icmp:any" }, { "icmp ::1", "icmp 192.0.2.1 0" },
		  { "udp ::1 1" } },
		{ { "+icmp:192.0.2.1" }, { "icmp 192.0.2.1 9" }, { "icmp ::1" } },
		/* words */
		{ { "+any" }, { "tcp ::1 1", "icmp 192.0.2.1" }, { 0 } },
		{ { "-any" }, { 0 }, { "tcp ::1 1", "icmp 192.0.2.1" } },
		{ { "-loopback" }, { "tcp 128.0.0.1 1", "tcp ::2 1" },
		  { "tcp 127.0.0.1 1", "udp 127.9.9.9 1", "tcp ::1 1" } },
		{ { "-private" },
		  { "tcp 9.255.255.255 1", "tcp 11.0.0.0 1", "tcp 172.32.0.0 1",
		    "tcp 192.169.0.0 1", "tcp 127.0.0.1 1", "tcp fe00::1 1",
		    "tcp 100.128.0.0 1" },
		  { "tcp 10.0.0.0 1", "tcp 172.31.255.255 1",
		    "tcp 192.168.1.1 1", "tcp 100.64.0.1 1",
		    "tcp 169.254.169.254 80", "tcp fd00::1 1",
		    "tcp febf::1 1" } },
		{ { "-udp:private" }, { "tcp 10.0.0.0 1", "udp 240.0.0.1 1" },
		  { "udp 224.0.0.251 5353", "udp ff02::fb 5353",
		    "udp 255.255.255.255 9" } },
		{ { "-private:22" }, { "tcp 10.0.0.1 23" },
		  { "tcp 10.0.0.1 22", "tcp fe80::1 22" } },
		{ { "+dns" },
		  { "udp 192.0.2.53 53 resolver", "tcp ::53 853 resolver" },
		  { "udp 192.0.2.53 53", "tcp ::53 80 resolver",
		    "icmp ::53 53 resolver" } },
		{ { "+udp:dns:53" }, { "udp ::53 53 resolver" },
		  { "tcp ::53 53 resolver", "udp ::53 853 resolver" } },
		{ { "+icmp:dns" }, { "icmp ::53 9 resolver" },
		  { "icmp ::53 9", "udp ::53 53 resolver" } },
		{ { "-local" },
		  { "tcp 198.51.99.255 1", "icmp 2001:db8:5:1::1",
		    "tcp 127.0.0.1 1", "tcp ::1 1" },
		  { "tcp 198.51.100.77 1", "udp 203.0.113.9 1",
		    "icmp 2001:db8:5::1" } },
		{ { "+tcp:local:22" }, { "tcp 2001:db8:5::1 22" },
		  { "tcp 2001:db8:5::1 23", "udp 2001:db8:5::1 22",
		    "tcp ::1 22" } },
		{ { "+dns", "-loopback", "-private" },
		  { "udp 10.0.0.53 53 resolver", "tcp 192.0.2.1 1" },
		  { "udp 10.0.0.53 53", "udp 127.0.0.53 54 resolver" } },
	};
	unsigned i, k;

	(void)state;
	has("198.51.100.2", 24);
	has("203.0.113.9", 32);
	has("2001:db8:5::2", 64);
	has("127.0.0.1", 8);
	has("::1", 128);
	has("192.0.2.1", 0);
	has("112.0.0.1", 4);
	assert_int_equal(local.n, 4);
	for (i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		add(t[i].specs);
		for (k = 0; k < 8 && t[i].yes[k]; k++)
			if (!allows(t[i].yes[k]))
				fail_msg("%s: %s", t[i].specs[0], t[i].yes[k]);
		for (k = 0; k < 8 && t[i].no[k]; k++)
			if (allows(t[i].no[k]))
				fail_msg("%s: not %s", t[i].specs[0],
					 t[i].no[k]);
	}
}

static void refusals(void **state)
{
	static const struct {
		const char *spec, *why;
	} t[] = {
		{ "", "destination" }, { "tcp:", "destination" },
		{ "sctp:any", "destination" }, { "any:", "ports" },
		{ "any:0", "ports" }, { "any:65536", "ports" },
		{ "any:2-1", "ports" }, { "any:1,", "ports" },
		{ "any:,1", "ports" }, { "any:1 2", "ports" },
		{ "any:http", "ports" }, { "anyone", "destination" },
		{ "443", "destination" }, { "example", "destination" },
		{ "192.0.2.300", "destination" }, { "example.42", "destination" },
		{ ".org", "destination" }, { "a..b", "destination" },
		{ "a.b*", "destination" }, { "*", "destination" },
		{ "*.org/8", "destination" }, { "a.*.org", "destination" },
		{ "[example.org]", "destination" }, { "ex ample.org", "destination" },
		{ "example.org:0", "ports" }, { "*.", "destination" },
		{ "icmp:any:1", "ports of ICMP" }, { "192.0.2.1/33", "destination" },
		{ "192.0.2.1/", "destination" }, { "192.0.2.1/-1", "destination" },
		{ "192.0.2", "destination" }, { "2001:db8::/129", "destination" },
		{ "::ffff:192.0.2.0/120", "destination" },
		{ "2001:db8::/32:80", "destination" }, { "[::1", "destination" },
		{ "[::1]x", "destination" }, { "[::1]0", "destination" },
		{ "[]", "destination" }, { "[any]", "destination" },
		{ "dns/8", "destination" }, { "::1%eth0", "destination" },
		{ "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
		  "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
		  "destination" },
	};
	unsigned i;

	(void)state;
	for (i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		char want[64];

		assert_true(egress_add(&e, true, "192.0.2.1", err));
		if (egress_add(&e, true, t[i].spec, err))
			fail_msg("%s is taken", t[i].spec);
		snprintf(want, sizeof(want), "Invalid %s in '%.20s", t[i].why,
			 t[i].spec);
		if (strncmp(err, want, strlen(want)))
			fail_msg("%s: %s", t[i].spec, err);
		assert_int_equal(e.n, i + 1);
	}
}

/* What is wrong with ports behind an IPv6 address is said */
static void brackets(void **state)
{
	static const char *const lack[] = { "2001:db8::/32:80", "tcp:::/0:80",
					    "2001:db8:1:2:3:4:5:6:80",
					    "2001:db8::/32:http" },
				 *const other[] = { "2001:db8::/129:80", "a:b:80",
						    "192.0.2.1:80:80",
						    "[2001:db8::1]/129:80" };
	unsigned i;

	(void)state;
	for (i = 0; i < 4; i++) {
		assert_false(egress_add(&e, true, lack[i], err));
		assert_non_null(strstr(err, "needs brackets"));
		assert_non_null(strstr(err, lack[i]));
		assert_false(egress_add(&e, true, other[i], err));
		assert_null(strstr(err, "needs brackets"));
	}
	assert_true(egress_add(&e, true, "[2001:db8:1:2:3:4:5:6]:80", err));
}

static void hear(const char *name, const char *text, unsigned s, bool named)
{
	struct addr a;

	assert_true(addr_parse(text, &a));
	if (egress_hear(&e, &heard, name, &a, now_ms + s * 1000) != named)
		fail_msg("%s, %s", name, text);
}

static void names(void **state)
{
	static const char *const specs[] = { "+Example.org:443", "+*.example.net.",
					     "+tcp:single.", "+192.0.2.9",
					     "+*.lan", NULL };

	(void)state;
	add(specs);
	assert_true(egress_names(&e));
	assert_false(allows("tcp 192.0.2.1 443"));
	hear("example.org", "192.0.2.1", 60, true);
	assert_true(allows("tcp 192.0.2.1 443") && allows("udp 192.0.2.1 443"));
	assert_false(allows("tcp 192.0.2.1 80") || allows("icmp 192.0.2.1"));
	assert_false(allows("tcp 192.0.2.2 443"));
	hear("www.example.org", "192.0.2.2", 60, false);
	hear("example.or", "192.0.2.2", 60, false);
	hear("xexample.org", "192.0.2.2", 60, false);
	hear("example.net", "192.0.2.2", 60, false);
	hear("xexample.net", "192.0.2.2", 60, false);
	hear(".example.net", "192.0.2.2", 60, false);
	hear("a.example.net", "2001:db8::2", 60, true);
	hear("b.a.example.net", "2001:db8::3", 60, true);
	assert_true(allows("udp 2001:db8::2 1") && allows("icmp 2001:db8::3"));
	hear("single", "192.0.2.4", 60, true);
	assert_true(allows("tcp 192.0.2.4 1"));
	assert_false(allows("udp 192.0.2.4 1"));
	hear("lan", "192.0.2.5", 60, false);
	hear("box.lan", "192.0.2.5", 60, true);
	assert_true(allows("udp 192.0.2.5 1"));
	/* What one name may does not hold for another's address */
	assert_false(allows("tcp 2001:db8::2 443") && allows("udp 192.0.2.1 1"));
	/* Addresses that mean the host, or nobody */
	hear("example.org", "127.0.0.1", 60, false);
	hear("example.org", "::1", 60, false);
	hear("example.org", "0.0.0.0", 60, false);
	hear("example.org", "fe80::1", 60, false);
	hear("example.org", "169.254.1.1", 60, false);
	hear("example.org", "224.0.0.1", 60, false);
	hear("example.org", "255.255.255.255", 60, false);
}

/* Each as long as the last answer says, if that is longer than what was said */
static void times(void **state)
{
	static const char *const specs[] = { "+example.org", NULL };

	(void)state;
	add(specs);
	hear("example.org", "192.0.2.1", 60, true);
	hear("example.org", "192.0.2.1", 30, true);
	now_ms += 59999;
	assert_true(allows("tcp 192.0.2.1 80"));
	hear("example.org", "192.0.2.2", 60, true);
	now_ms++;
	assert_false(allows("tcp 192.0.2.1 80"));
	hear("example.org", "192.0.2.1", 1, true);
	assert_true(allows("tcp 192.0.2.1 80"));
	hear("example.org", "192.0.2.1", 60, true);
	now_ms += 59998;
	assert_true(allows("tcp 192.0.2.1 80") && allows("tcp 192.0.2.2 80"));
}

/* Where there is no room for all, the newest are there */
static void many_addresses(void **state)
{
	enum { N = 4 * EGRESS_SETS * EGRESS_WAYS };
	static const char *const specs[] = { "+example.org", NULL };
	char text[ADDR_TEXT_LEN + 8];
	unsigned i, known = 0;

	(void)state;
	add(specs);
	for (i = 0; i < N; i++) {
		snprintf(text, sizeof(text), "10.%u.%u.1", i / 256, i % 256);
		hear("example.org", text, 60 + i, true);
		snprintf(text, sizeof(text), "tcp 10.%u.%u.1 80", i / 256, i % 256);
		assert_true(allows(text));
	}
	for (i = 0; i < N; i++) {
		snprintf(text, sizeof(text), "tcp 10.%u.%u.1 80", i / 256, i % 256);
		known += allows(text);
	}
	assert_true(known > EGRESS_SETS * EGRESS_WAYS / 2);
	assert_true(known <= EGRESS_SETS * EGRESS_WAYS);
}

/* To one with other rules; of any bytes nothing comes but what they say */
static void successor(void **state)
{
	static const char *const was[] = { "+gone.test", "+example.org",
					   "+*.example.net", NULL },
				 *const is[] = { "+dns", "+*.Example.net:80",
						 "+example.org", NULL };
	static uint8_t buf[1 << 17];
	struct wr w = wr_init(buf, sizeof(buf));
	unsigned at = 0, i;
	char text[32];
	struct rd r;

	(void)state;
	add(was);
	for (i = 0; i < 200; i++) {
		snprintf(text, sizeof(text), "10.0.0.%u", i);
		hear("example.org", text, 60, true);
	}
	hear("a.example.net", "192.0.2.1", 30, true);
	hear("gone.test", "192.0.2.3", 60, true);
	hear("example.org", "192.0.2.4", 1, true);
	now_ms += 1000;
	i = 0;
	do {
		at = egress_save(&e, &heard, at, now_ms, &w);
		i++;
	} while (at);
	assert_true(wr_ok(&w) && i > 3);
	memset(&heard, 0, sizeof(heard));
	add(is);
	now_ms = 5000000;
	r = rd_init(buf, w.len);
	egress_load(&e, &heard, now_ms, &r);
	assert_true(rd_ok(&r));
	assert_true(allows("udp 10.0.0.0 1") && allows("tcp 10.0.0.199 1"));
	assert_true(allows("tcp 192.0.2.1 80"));
	assert_false(allows("tcp 192.0.2.1 1") || allows("tcp 192.0.2.3 1") ||
		     allows("tcp 192.0.2.4 1"));
	now_ms += 29000;
	assert_false(allows("tcp 192.0.2.1 80"));
	assert_true(allows("tcp 10.0.0.199 1"));
	for (i = 0; i < w.len; i++) {
		r = rd_init(buf, i);
		egress_load(&e, &heard, now_ms, &r);
	}
}

/* One address may have many names, and a name many ports */
static void one_address(void **state)
{
	static const char *const specs[] = {
		"+tcp:a.test:1,2,3,4,5,6,7,8,9,10", "+tcp:b.test:11", "+tcp:c.test:12",
		"+tcp:d.test:13", "+tcp:e.test:14", "+tcp:f.test:15", NULL };
	char text[64];
	unsigned i;

	(void)state;
	add(specs);
	for (i = 0; i < 6; i++) {
		snprintf(text, sizeof(text), "%c.test", 'a' + i);
		hear(text, "192.0.2.1", 60, true);
	}
	for (i = 1; i <= 15; i++) {
		snprintf(text, sizeof(text), "tcp 192.0.2.1 %u", i);
		if (!allows(text))
			fail_msg("%s", text);
	}
	assert_false(allows("tcp 192.0.2.1 16"));
}

/* One argument has one text, however many rules it makes */
static void texts(void **state)
{
	const char *const specs[] = { "+loopback:1,2", "-any", NULL };
	unsigned i;

	(void)state;
	add(specs);
	assert_int_equal(e.n, 5);
	for (i = 0; i < e.n; i++)
		if (i % 4)
			assert_null(e.r[i].spec);
	assert_string_equal(e.r[0].spec, "loopback:1,2");
	assert_string_equal(e.r[4].spec, "any");
	assert_true(egress_rest(&e));
}

static void too_many(void **state)
{
	unsigned i;

	(void)state;
	for (i = 0; i < EGRESS_MAX - 1; i++)
		assert_true(egress_add(&e, true, "192.0.2.1", err));
	assert_false(egress_add(&e, true, "loopback", err));
	assert_string_equal(err, "Too many destinations (maximum 1024)");
	assert_int_equal(e.n, EGRESS_MAX - 1);
	assert_true(egress_add(&e, true, "::1", err));
}

/* Of more networks than there is room for none is left open */
static void many_networks(void **state)
{
	static const char *const deny[] = { "-local", NULL },
				 *const allow[] = { "+local", NULL };
	char text[ADDR_TEXT_LEN];
	unsigned i;

	(void)state;
	for (i = 0; i <= EGRESS_LOCALS; i++) {
		snprintf(text, sizeof(text), "10.%u.%u.1", i / 256, i % 256);
		has(text, 24);
		has(text, 24);
		assert_int_equal(local.many, i == EGRESS_LOCALS);
	}
	add(deny);
	assert_false(allows("tcp 10.0.7.9 1"));
	assert_false(allows("tcp 10.4.0.1 1"));
	assert_true(allows("tcp 127.0.0.1 1"));
	add(allow);
	assert_true(allows("tcp 10.0.7.9 1"));
	assert_false(allows("tcp 10.4.0.1 1"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(decisions, setup),
		cmocka_unit_test_setup(refusals, setup),
		cmocka_unit_test_setup(brackets, setup),
		cmocka_unit_test_setup(names, setup),
		cmocka_unit_test_setup(times, setup),
		cmocka_unit_test_setup(many_addresses, setup),
		cmocka_unit_test_setup(successor, setup),
		cmocka_unit_test_setup(one_address, setup),
		cmocka_unit_test_setup(texts, setup),
		cmocka_unit_test_setup(too_many, setup),
		cmocka_unit_test_setup(many_networks, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
