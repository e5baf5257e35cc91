/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What the tests of the answerers share: one configuration with addresses for
 * documentation (RFC 5737, RFC 3849), a request in a buffer of exactly its own
 * size, so that ASan sees each byte read too far, and an answer to look at.
 */
#ifndef TEST_UNIT_ANSWER_H
#define TEST_UNIT_ANSWER_H

#include "lan.h"
#include "neigh.h"
#include "packet.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

#define OUR_MAC   0x9a, 0x55, 0x9a, 0x55, 0x9a, 0x55
#define GUEST_MAC 0x52, 0x54, 0x00, 0x12, 0x34, 0x56
#define NEIGH_MAC 0x02, 0x00, 0x00, 0x00, 0x00, 0x77
/* 2001:db8::, fe80:: and what follows */
#define NET6(last)   0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last
#define LL6(last)    0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last
#define GROUP6(last) 0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last
#define BYTES(...)                                                             \
	(const uint8_t[])                                                      \
	{                                                                      \
		__VA_ARGS__                                                    \
	}
#define ADDR6(...) ((struct addr){ { .b = { __VA_ARGS__ } } })

static const struct mac our_mac = { { OUR_MAC } };
static const struct mac guest_mac = { { GUEST_MAC } };
static const struct mac everyone_mac = { { 255, 255, 255, 255, 255, 255 } };

static struct lan lan;
static struct packet packet;
static struct answer out;
static uint8_t out_room[ANSWER_MAX];

static inline int setup(void **state)
{
	(void)state;
	lan = (struct lan){
		.v4 = true,
		.v6 = true,
		.mac = our_mac,
		.mtu = 65520,
		.guest4 = addr_v4(192, 0, 2, 15),
		.prefix4 = 24,
		.guest6 = ADDR6(NET6(0x15)),
		.gw4 = addr_v4(192, 0, 2, 1),
		.our4 = addr_v4(192, 0, 2, 2),
		.gw6 = ADDR6(LL6(1)),
		.our_ll6 = ADDR6(LL6(1)),
		.tcp = true,
		.udp = true,
		.icmp = true,
		.dhcp = true,
		.dhcpv6 = true,
		.ndp = true,
		.ra = true,
		.duid_time = 0x12345678,
	};
	packet = (struct packet){
		.smac = guest_mac,
		.dmac = our_mac,
		.ttl = 255,
	};
	return 0;
}

/* A configuration with everything that can be handed out */
static inline void advertise_all(void)
{
	lan.dns4[0] = addr_v4(192, 0, 2, 53);
	lan.dns4_n = 1;
	lan.dns6[0] = ADDR6(NET6(0x53));
	lan.dns6_n = 1;
	strcpy(lan.search[0], "example.org");
	lan.search_n = 1;
	strcpy(lan.hostname, "box");
	strcpy(lan.fqdn, "box.example.org");
}

/* The longest name there is: 253 characters, 255 bytes of wire form; names of
 * different @c share no ending */
static inline void longest_name(char *name, char c)
{
	memset(name, c, 253);
	name[63] = name[127] = name[191] = '.';
	name[253] = 0;
}

static inline void out_reset(void)
{
	memset(&out, 0xa5, sizeof(out)); /* answers state all that they mean */
	memset(out_room, 0xa5, sizeof(out_room));
	out.body = wr_init(out_room, sizeof(out_room));
}

/* A private copy of @len bytes at @req, to be freed */
static inline uint8_t *exact(const void *req, size_t len)
{
	uint8_t *p = malloc(len ? len : 1);

	assert_non_null(p);
	memcpy(p, req, len);
	return p;
}

static inline void assert_body(const uint8_t *want, size_t len)
{
	assert_int_equal(out.body.len, len);
	assert_memory_equal(out.body.buf, want, len);
}

static inline void assert_head(struct mac dst, struct addr from, struct addr to,
			       uint8_t proto, uint16_t sport, uint16_t dport)
{
	assert_false(out.arp);
	assert_true(mac_equal(&out.head.src, &our_mac));
	assert_true(mac_equal(&out.head.dst, &dst));
	assert_true(addr_equal(&out.head.t.src, &from));
	assert_true(addr_equal(&out.head.t.dst, &to));
	assert_int_equal(out.head.t.proto, proto);
	assert_int_equal(out.head.t.sport, sport);
	assert_int_equal(out.head.t.dport, dport);
	assert_int_equal(out.head.ttl, 255);
	assert_int_equal(out.head.tos, 0);
}

#endif /* TEST_UNIT_ANSWER_H */
