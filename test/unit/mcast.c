/* SPDX-License-Identifier: GPL-2.0-or-later */
/* unit: packet addr iov checksum util log */
/* Messages as on the wire, byte by byte, and the tables of RFC 3376, 6.4 */
#include "mcast.h"
#include "answer.h"
#include "checksum.h"
#include "log.h"

#include <netinet/in.h>

#define GROUP 239, 1, 2, 3
#define GROUP6_ 0xff, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x12, 0x34
#define A4(n) 192, 0, 2, n

static struct mcast m;
static uint64_t now;
static const struct addr group = { { .b = { [10] = 0xff, 0xff, GROUP } } };
static const struct addr group6 = { { .b = { GROUP6_ } } };

static struct addr src(uint8_t n)
{
	return addr_v4(192, 0, 2, n);
}

static int fresh(void **state)
{
	const bool on[2] = { true, true };

	setup(state);
	log_level(LOG_ERROR);
	memset(&m, 0, sizeof(m));
	now = 1000000;
	mcast_init(&m, &lan);
	mcast_start(&m, on, now);
	out_reset();
	while (mcast_next(&m, now, &out))
		out_reset();
	packet = (struct packet){ .kind = PACKET_IGMP, .ttl = 1 };
	packet.t.src = addr_v4(192, 0, 2, 15);
	packet.t.dst = addr_v4(224, 0, 0, 22);
	return 0;
}

/* A message without its sum */
static enum verdict hear(const uint8_t *msg, size_t len)
{
	uint8_t *p = exact(msg, len);
	enum verdict v;
	uint64_t sum = 0;
	uint16_t s;

	memset(p + 2, 0, 2);
	if (packet.kind == PACKET_ICMP6)
		sum = csum_pseudo(&packet.t.src, &packet.t.dst, IPPROTO_ICMPV6,
				  (uint32_t)len);
	s = csum_finish(csum_add(sum, p, len));
	memcpy(p + 2, &s, 2);
	packet.icmp_type = p[0];
	packet.payload_len = (uint32_t)len;
	v = mcast_input(&m, &packet, rd_init(p, len), now);
	free(p);
	return v;
}
#define HEAR(...) hear(BYTES(__VA_ARGS__), sizeof(BYTES(__VA_ARGS__)))

/* One record of IGMPv3 with up to 4 sources of 192.0.2.0/24, ended by 0 */
static void record(uint8_t type, const uint8_t *sources)
{
	uint8_t msg[8 + 8 + 16] = { 0x22, [7] = 1, type, [12] = GROUP };
	size_t n = 0;

	for (; sources[n]; n++)
		memcpy(msg + 16 + 4 * n, BYTES(A4(sources[n])), 4);
	msg[11] = (uint8_t)n;
	assert_int_equal(hear(msg, 16 + 4 * n), PASS);
}
#define RECORD(type, ...) record(type, BYTES(__VA_ARGS__))
enum { IS_IN = 1, IS_EX, TO_IN, TO_EX, ALLOW, BLOCK };

/* "1 3": what of 192.0.2.1 to .4 is wanted; "*" behind it: and all others */
static const char *wanted(void)
{
	static char text[16];
	char *p = text;
	uint8_t n;

	for (n = 1; n <= 4; n++) {
		struct addr a = src(n);

		if (mcast_wants(&m, &group, &a))
			*p++ = (char)('0' + n);
	}
	{
		struct addr a = src(99);

		if (mcast_wants(&m, &group, &a))
			*p++ = '*';
	}
	*p = 0;
	return text;
}

/* The next query that is due; its body's length, 0: none */
static size_t asked(void)
{
	out_reset();
	return mcast_next(&m, now, &out) ? out.body.len : 0;
}

static void no_more(void)
{
	out_reset();
	assert_false(mcast_next(&m, now, &out));
}

static void general(void **state)
{
	const bool on[2] = { true, true };

	(void)state;
	mcast_start(&m, on, now);
	assert_int_equal(asked(), 12);
	/* RFC 3376, 4.1: 1 s, any group, QRV 2, QQIC 125, no sources */
	assert_body(BYTES(0x11, 10, 0, 0, 0, 0, 0, 0, 2, 125, 0, 0), 12);
	assert_true(addr_equal(&out.head.t.src, &lan.our4));
	assert_int_equal(out.head.ttl, 1);
	assert_true(out.alert);
	assert_true(mac_equal(&out.head.dst,
			      &(struct mac){ { 1, 0, 0x5e, 0, 0, 1 } }));
	/* RFC 3810, 5.1: 1000 ms */
	assert_int_equal(asked(), 28);
	assert_body(BYTES(130, 0, 0, 0, 0x03, 0xe8, 0, 0, 0, 0, 0, 0, 0, 0, 0,
			  0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 125, 0, 0), 28);
	assert_true(addr_equal(&out.head.t.src, &lan.our_ll6));
	no_more();
	assert_int_equal(mcast_due(&m), now + 31000);
	/* From then on 10 s */
	now += 31000;
	assert_int_equal(asked(), 12);
	assert_body(BYTES(0x11, 100, 0, 0, 0, 0, 0, 0, 2, 125, 0, 0), 12);
	assert_int_equal(asked(), 28);
	assert_body(BYTES(130, 0, 0, 0, 0x27, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0,
			  0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 125, 0, 0), 28);
	assert_int_equal(mcast_due(&m), now + 125000);
}

static void headers(void **state)
{
	uint8_t b[HEAD_MAX];

	(void)state;
	HEAR(0x16, 0, 0, 0, GROUP);
	HEAR(0x17, 0, 0, 0, GROUP);
	assert_int_equal(asked(), 12);
	assert_body(BYTES(0x11, 10, 0, 0, GROUP, 2, 125, 0, 0), 12);
	assert_int_equal(packet_answer_head(b, &out), 38);
	assert_memory_equal(b, BYTES(1, 0, 0x5e, 1, 2, 3, OUR_MAC, 8, 0,
				     0x46, 0, 0, 36, 0, 0, 0x40, 0, 1, 2),
			    24);
	assert_memory_equal(b + 26, BYTES(A4(2), GROUP, 0x94, 4, 0, 0), 12);
	assert_int_equal(csum_finish(csum_add(0, b + 14, 24)), 0);
	assert_int_equal(csum_finish(csum_add(0, out.body.buf, 12)), 0);
}

static void headers6(void **state)
{
	uint8_t b[HEAD_MAX];

	(void)state;
	packet.kind = PACKET_ICMP6;
	packet.t.src = ADDR6(LL6(0x15));
	packet.t.dst = ADDR6(GROUP6(0x16));
	assert_int_equal(HEAR(131, 0, 0, 0, 0, 0, 0, 0, GROUP6_), PASS);
	assert_non_null(mcast_find(&m, &group6));
	assert_int_equal(HEAR(132, 0, 0, 0, 0, 0, 0, 0, GROUP6_), PASS);
	assert_int_equal(asked(), 28);
	assert_body(BYTES(130, 0, 0, 0, 0x03, 0xe8, 0, 0, GROUP6_, 2, 125, 0, 0),
		    28);
	assert_int_equal(packet_answer_head(b, &out), 62);
	assert_memory_equal(b, BYTES(0x33, 0x33, 0, 0, 0x12, 0x34, OUR_MAC,
				     0x86, 0xdd, 0x60, 0, 0, 0, 0, 36, 0, 1),
			    22);
	/* RFC 2711: ICMPv6 next, Router Alert for MLD, PadN */
	assert_memory_equal(b + 54, BYTES(58, 0, 5, 2, 0, 0, 1, 0), 8);
	assert_int_equal(csum_finish(csum_add(csum_pseudo(&out.head.t.src,
		&out.head.t.dst, IPPROTO_ICMPV6, 28), out.body.buf, 28)), 0);
	now += 2000;
	while (asked())
		;
	assert_null(mcast_find(&m, &group6));
}

static void records6(void **state)
{
	struct addr a = ADDR6(NET6(7)), b = ADDR6(NET6(8));

	(void)state;
	packet.kind = PACKET_ICMP6;
	packet.t.src = (struct addr){ 0 };
	/* auxiliary data are skipped, and a second record is read */
	assert_int_equal(HEAR(143, 0, 0, 0, 0, 0, 0, 2, ALLOW, 1, 0, 1, GROUP6_,
			      NET6(7), 1, 2, 3, 4, IS_EX, 0, 0, 0,
			      GROUP6(0xfb)), PASS);
	assert_true(mcast_wants(&m, &group6, &a));
	assert_false(mcast_wants(&m, &group6, &b));
	a = ADDR6(GROUP6(0xfb));
	assert_true(mcast_wants(&m, &a, &b));
}

/* RFC 3376, 6.4.1 and 6.4.2: from, what is said, to, whether anything is asked.
 * What is asked for is gone when nobody has answered. */
static void table(void **state)
{
	static const struct {
		bool exclude;
		const char *from;   /* wanted or, with @exclude, not */
		uint8_t type, b[4];
		const char *soon, *later;
	} row[] = {
		{ false, "12", IS_IN, { 2, 3 }, "123", "123" },
		{ false, "12", ALLOW, { 2, 3 }, "123", "123" },
		{ false, "12", IS_EX, { 2, 3 }, "124*", "124*" },
		{ false, "12", BLOCK, { 2, 3 }, "12", "1" },
		{ false, "12", TO_EX, { 2, 3 }, "124*", "14*" },
		{ false, "12", TO_IN, { 2, 3 }, "123", "23" },
		{ false, "12", BLOCK, { 1, 2 }, "12", "" },
		{ true, "12", IS_IN, { 2, 3 }, "234*", "234*" },
		{ true, "12", ALLOW, { 2, 3 }, "234*", "234*" },
		{ true, "12", IS_EX, { 2, 3 }, "134*", "134*" },
		{ true, "12", BLOCK, { 2, 3 }, "34*", "4*" },
		{ true, "12", TO_EX, { 2, 3 }, "134*", "14*" },
		{ true, "12", TO_IN, { 2, 3 }, "234*", "23" },
		{ true, "12", TO_IN, { 0 }, "34*", "" },
	};
	unsigned i, k;

	for (i = 0; i < ARRAY_SIZE(row); i++) {
		fresh(state);
		RECORD(row[i].exclude ? IS_EX : IS_IN, 1, 2, 0);
		record(row[i].type, row[i].b);
		if (!(row[i].exclude && row[i].type == IS_EX))
			assert_string_equal(wanted(), row[i].soon);
		for (k = 0; k < 3; k++, now += 1000)
			while (asked())
				;
		if (!(row[i].exclude && row[i].type == IS_EX))
			assert_string_equal(wanted(), row[i].later);
	}
}

/* Twice, a second apart; who is still there ends it */
static void asks(void **state)
{
	(void)state;
	RECORD(IS_IN, 1, 2, 3, 0);
	RECORD(BLOCK, 1, 3, 0);
	assert_int_equal(asked(), 20);
	assert_body(BYTES(0x11, 10, 0, 0, GROUP, 2, 125, 0, 2, A4(1), A4(3)),
		    20);
	no_more();
	assert_int_equal(mcast_due(&m), now + 1000);
	now += 1000;
	RECORD(IS_IN, 3, 0);
	assert_int_equal(asked(), 16);
	assert_body(BYTES(0x11, 10, 0, 0, GROUP, 2, 125, 0, 1, A4(1)), 16);
	no_more();
	now += 1000;
	no_more();
	assert_string_equal(wanted(), "23");
}

static void lasts(void **state)
{
	(void)state;
	HEAR(0x16, 0, 0, 0, GROUP);
	now += 259999;
	while (asked())
		;
	assert_string_equal(wanted(), "1234*");
	now++;
	while (asked())
		;
	assert_null(mcast_find(&m, &group));
	/* some are wanted for longer than the rest */
	RECORD(IS_EX, 1, 0);
	now += 200000;
	RECORD(ALLOW, 2, 0);
	now += 60000;
	while (asked())
		;
	assert_string_equal(wanted(), "2");
}

/* RFC 3376, 7.3.2: what an older host cannot have meant */
static void versions(void **state)
{
	(void)state;
	HEAR(0x16, 0, 0, 0, GROUP);
	RECORD(BLOCK, 1, 0);
	RECORD(TO_EX, 2, 0);
	assert_string_equal(wanted(), "1234*");
	HEAR(0x12, 0, 0, 0, GROUP);
	HEAR(0x17, 0, 0, 0, GROUP);
	no_more();
	assert_string_equal(wanted(), "1234*");
}

static void strangers(void **state)
{
	(void)state;
	assert_int_equal(mcast_input(&m, &packet, rd_init(NULL, 0), now),
			 DROP_CHECKSUM);
	assert_int_equal(HEAR(0x11, 100, 0, 0, 0, 0, 0, 0), DROP_UNWANTED);
	assert_int_equal(HEAR(0x22, 0, 0, 0, 0, 0, 0, 2, IS_EX, 0, 0, 0, GROUP),
			 DROP_MALFORMED);
	/* that of a link, and none at all */
	HEAR(0x16, 0, 0, 0, 224, 0, 0, 1);
	HEAR(0x16, 0, 0, 0, 192, 0, 2, 1);
	assert_int_equal(m.group[1].addr.q[1], 0);
	packet.t.src = addr_v4(224, 0, 0, 5);
	assert_int_equal(HEAR(0x16, 0, 0, 0, GROUP), DROP_ENDPOINT);
	packet.kind = PACKET_ICMP6;
	packet.t.src = ADDR6(NET6(1));
	assert_int_equal(HEAR(131, 0, 0, 0, 0, 0, 0, 0, GROUP6_),
			 DROP_ENDPOINT);
	packet.t.src = ADDR6(LL6(1));
	packet.ttl = 2;
	assert_int_equal(HEAR(131, 0, 0, 0, 0, 0, 0, 0, GROUP6_),
			 DROP_ENDPOINT);
	packet.ttl = 1;
	/* solicited-node groups are the link's own */
	HEAR(131, 0, 0, 0, 0, 0, 0, 0, 0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1,
	     0xff, 1, 2, 3);
	assert_int_equal(m.group[MCAST_GROUPS].addr.q[0], 0);
}

static void limits(void **state)
{
	unsigned n, known = 0;
	struct addr a;

	(void)state;
	for (n = 0; n < MCAST_GROUPS + 10; n++) {
		a = addr_v4(239, 0, 1, (uint8_t)n);
		HEAR(0x16, 0, 0, 0, 239, 0, 1, (uint8_t)n);
		known += mcast_find(&m, &a) != NULL;
	}
	assert_int_equal(known, MCAST_GROUPS);
	assert_int_equal(m.refused, 10);
	fresh(state);
	for (n = 1; n <= MCAST_SOURCES + 10; n++)
		RECORD(ALLOW, (uint8_t)n, 0);
	a = src(MCAST_SOURCES);
	assert_true(mcast_wants(&m, &group, &a));
	a = src(MCAST_SOURCES + 1);
	assert_false(mcast_wants(&m, &group, &a));
	/* which makes room for others */
	RECORD(TO_EX, 0);
	assert_int_equal(mcast_find(&m, &group)->n, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(general, fresh),
		cmocka_unit_test_setup(headers, fresh),
		cmocka_unit_test_setup(headers6, fresh),
		cmocka_unit_test_setup(records6, fresh),
		cmocka_unit_test_setup(table, fresh),
		cmocka_unit_test_setup(asks, fresh),
		cmocka_unit_test_setup(lasts, fresh),
		cmocka_unit_test_setup(versions, fresh),
		cmocka_unit_test_setup(strangers, fresh),
		cmocka_unit_test_setup(limits, fresh),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
