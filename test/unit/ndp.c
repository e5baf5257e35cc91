/* SPDX-License-Identifier: GPL-2.0-or-later */
/* unit: addr util log neigh dnsname */
#include "ndp.h"
#include "answer.h"

#include <netinet/in.h>

/* RFC 4861: type, code, checksum (zero: the sender sums), then 4 bytes */
#define RS_HEAD 133, 0, 0x12, 0x34, 0, 0, 0, 0
#define NS_HEAD 135, 0, 0x12, 0x34, 0, 0, 0, 0
#define ALL_MAC 0x33, 0x33, 0, 0, 0, 1

/* 4.2: type 134, code, checksum, hop limit 255, flags M and O, lifetime 65535,
 * reachable and retransmission time 0 */
#define RA_HEAD 134, 0, 0, 0, 255, 0xc0, 255, 255, 0, 0, 0, 0, 0, 0, 0, 0
/* 4.6.2: type 3, 4 units, 64 bits, L and A, valid for 30 days, preferred for 7,
 * reserved, prefix */
#define RA_PREFIX                                                              \
	3, 4, 64, 0xc0, 0, 0x27, 0x8d, 0, 0, 0x09, 0x3a, 0x80, 0, 0, 0, 0,     \
		0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0
/* 4.6.1: source link-layer address */
#define RA_SOURCE 1, 1, OUR_MAC
/* 4.6.4: type 5, 1 unit, reserved, 65520 */
#define RA_MTU 5, 1, 0, 0, 0, 0, 0xff, 0xf0
/* RFC 8106, 5.1: three times the longest interval, 600 s */
#define DNS_TIME 0, 0, 0x07, 0x08
/* Type 25, 1 + 2 units, reserved, that time, one address */
#define RA_RDNSS 25, 3, 0, 0, DNS_TIME, NET6(0x53)

/* The group of whoever has @x as its last byte */
#define SOLICITED6(x) 0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, 0, 0, x

static const struct mac all_mac = { { ALL_MAC } };
static struct neigh neigh;

static int start(void **state)
{
	setup(state);
	memset(&neigh, 0, sizeof(neigh));
	packet.t.src = ADDR6(LL6(0x15));
	packet.t.dst = ADDR6(GROUP6(2));
	packet.t.proto = IPPROTO_ICMPV6;
	return 0;
}

static bool ask(const uint8_t *req, size_t len)
{
	uint8_t *p = exact(req, len);
	bool r;

	out_reset();
	r = ndp_answer(&lan, &neigh, &packet, rd_init(p, len), &out);
	free(p);
	return r;
}

static void assert_from(struct addr from, struct mac dst, struct addr to)
{
	assert_head(dst, from, to, IPPROTO_ICMPV6, 0, 0);
	assert_int_equal(out.head.flow_label, 0);
}

static void assert_ndp_head(struct mac dst, struct addr to)
{
	assert_from(ADDR6(LL6(1)), dst, to);
}

static void ns(void **state)
{
	(void)state;
	assert_true(ask(BYTES(NS_HEAD, NET6(0x77), 1, 1, GUEST_MAC), 32));
	/* from the target: GRUB notes the sender, ndisc6 believes no other */
	assert_from(ADDR6(NET6(0x77)), guest_mac, ADDR6(LL6(0x15)));
	/* 4.4: type 136, router + solicited + override, target and its MAC */
	assert_body(
		BYTES(136, 0, 0, 0, 0xe0, 0, 0, 0, NET6(0x77), 2, 1, OUR_MAC),
		32);
	/* the option is not needed */
	assert_true(ask(BYTES(NS_HEAD, NET6(0x77)), 24));
	/* the guest's own address, asked for from a real one */
	assert_true(ask(BYTES(NS_HEAD, NET6(0x15)), 24));
}

/* From "::": is the address free? */
static void ns_dad(void **state)
{
	struct addr a = ADDR6(NET6(0x77));
	struct mac m = { { NEIGH_MAC } };

	(void)state;
	packet.t.src = (struct addr){ 0 };
	packet.t.dst = ADDR6(SOLICITED6(1));
	assert_false(ask(BYTES(NS_HEAD, NET6(0x15)), 24));
	assert_false(ask(BYTES(NS_HEAD, NET6(0x77)), 24));
	assert_false(ask(BYTES(NS_HEAD, LL6(0x15)), 24));
	/* 7.2.4: to all nodes, not solicited */
	assert_true(ask(BYTES(NS_HEAD, LL6(1)), 24));
	assert_from(ADDR6(LL6(1)), all_mac, ADDR6(GROUP6(1)));
	assert_body(BYTES(136, 0, 0, 0, 0xa0, 0, 0, 0, LL6(1), 2, 1, OUR_MAC),
		    32);
	assert_true(neigh_set(&neigh, &a, &m, false));
	assert_true(ask(BYTES(NS_HEAD, NET6(0x77)), 24));
	assert_memory_equal(out.body.buf + 24, BYTES(2, 1, NEIGH_MAC), 8);
	/* 7.1.1: who has no address does not say where it is; other options may be */
	assert_true(ask(BYTES(NS_HEAD, LL6(1), 14, 1, 0, 0, 0, 0, 0, 0), 32));
	assert_false(ask(BYTES(NS_HEAD, LL6(1), 1, 1, GUEST_MAC), 32));
	assert_false(ask(BYTES(NS_HEAD, LL6(1), 14, 1, 0, 0, 0, 0, 0, 0, 1, 1,
			       GUEST_MAC),
			 40));
	/* and asks the group of who may have it */
	packet.t.dst = ADDR6(GROUP6(1));
	assert_false(ask(BYTES(NS_HEAD, LL6(1)), 24));
	packet.t.dst = ADDR6(LL6(1));
	assert_false(ask(BYTES(NS_HEAD, LL6(1)), 24));
	packet.t.dst = ADDR6(SOLICITED6(1));
	lan.guest6 = a;
	assert_false(ask(BYTES(NS_HEAD, NET6(0x77)), 24));
}

static void ns_neighbour(void **state)
{
	struct addr a = ADDR6(NET6(0x77));

	(void)state;
	assert_true(
		neigh_set(&neigh, &a, &(struct mac){ { NEIGH_MAC } }, false));
	assert_true(ask(BYTES(NS_HEAD, NET6(0x77)), 24));
	assert_memory_equal(out.body.buf + 24, BYTES(2, 1, NEIGH_MAC), 8);
	assert_true(mac_equal(&out.head.src, &our_mac));
	assert_true(ask(BYTES(NS_HEAD, NET6(0x78)), 24));
	assert_memory_equal(out.body.buf + 24, BYTES(2, 1, OUR_MAC), 8);

	assert_true(neigh_set(&neigh, &lan.gw6, &(struct mac){ { GUEST_MAC } },
			      false));
	assert_true(ask(BYTES(NS_HEAD, NET6(0x78)), 24));
	assert_memory_equal(out.body.buf + 24, BYTES(2, 1, GUEST_MAC), 8);
}

static void ns_refused(void **state)
{
	static const uint8_t good[] = { NS_HEAD, NET6(0x77), 14,       1, 0,
					0,       0,          0,        0, 0,
					1,       1,          GUEST_MAC };
	uint8_t req[sizeof(good)];
	size_t n;

	(void)state;
	for (n = 0; n <= sizeof(good); n++)
		assert_int_equal(ask(good, n), n >= 24 && n % 8 == 0);

	packet.t.src = ADDR6(GROUP6(1));
	assert_false(ask(good, sizeof(good)));
	packet.t.src = ADDR6(LL6(0x15));

	/* 7.1.1: hop limit, code, target, option length */
	packet.ttl = 254;
	assert_false(ask(good, sizeof(good)));
	packet.ttl = 255;
	memcpy(req, good, sizeof(req));
	req[1] = 1;
	assert_false(ask(req, sizeof(req)));
	memcpy(req, good, sizeof(req));
	req[8] = 0xff;
	assert_false(ask(req, sizeof(req)));
	memcpy(req, good, sizeof(req));
	req[25] = 0;
	assert_false(ask(req, sizeof(req)));
	req[25] = 3;
	assert_false(ask(req, sizeof(req)));
	req[25] = 255;
	assert_false(ask(req, sizeof(req)));

	lan.our_ll6 = (struct addr){ 0 };
	assert_false(ask(good, sizeof(good)));
	lan.our_ll6 = ADDR6(LL6(1));
	lan.v6 = false;
	assert_false(ask(good, sizeof(good)));
}

static void rs(void **state)
{
	(void)state;
	assert_true(ask(BYTES(RS_HEAD, 1, 1, GUEST_MAC), 16));
	assert_ndp_head(guest_mac, ADDR6(LL6(0x15)));
	assert_body(BYTES(RA_HEAD, RA_PREFIX, RA_SOURCE, RA_MTU), 64);
}

static void ra_all(void **state)
{
	(void)state;
	advertise_all();
	assert_true(ask(BYTES(RS_HEAD), 8));
	/* RFC 8106, 5.2: type 31; 8 + 13 bytes of name + 3 of padding */
	assert_body(BYTES(RA_HEAD, RA_PREFIX, RA_SOURCE, RA_MTU, RA_RDNSS, 31,
			  3, 0, 0, DNS_TIME, 7, 'e', 'x', 'a', 'm',
			  'p', 'l', 'e', 3, 'o', 'r', 'g', 0, 0, 0, 0),
		    64 + 24 + 24);
}

/* Names of a multiple of 8 bytes want no padding: "abcdef" takes 8 */
static void dnssl_padding(void **state)
{
	(void)state;
	advertise_all();
	strcpy(lan.search[0], "abcdef");
	assert_true(ask(BYTES(RS_HEAD), 8));
	assert_int_equal(out.body.len, 64 + 24 + 16);
	assert_memory_equal(out.body.buf + 88,
			    BYTES(31, 2, 0, 0, DNS_TIME, 6, 'a', 'b',
				  'c', 'd', 'e', 'f', 0),
			    16);
	/* one more: seven zeroes */
	strcpy(lan.search[0], "abcdefg");
	assert_true(ask(BYTES(RS_HEAD), 8));
	assert_int_equal(out.body.len, 64 + 24 + 24);
	assert_memory_equal(out.body.buf + 96,
			    BYTES(7, 'a', 'b', 'c', 'd', 'e', 'f', 'g', 0, 0, 0,
				  0, 0, 0, 0, 0),
			    16);
}

static void dnssl_names(void **state)
{
	(void)state;
	advertise_all();
	/* bad names are left out, a trailing dot is none */
	strcpy(lan.search[0], ".");
	strcpy(lan.search[1], "ab.");
	strcpy(lan.search[2], "a..b");
	strcpy(lan.search[3], "cd");
	lan.search_n = 4;
	assert_true(ask(BYTES(RS_HEAD), 8));
	assert_int_equal(out.body.len, 88 + 16);
	assert_memory_equal(out.body.buf + 88,
			    BYTES(31, 2, 0, 0, DNS_TIME, 2, 'a', 'b',
				  0, 2, 'c', 'd', 0),
			    16);
	/* no name at all: no option */
	lan.search_n = 1;
	assert_true(ask(BYTES(RS_HEAD), 8));
	assert_int_equal(out.body.len, 88);
	/* nor without resolvers */
	strcpy(lan.search[0], "ab");
	lan.dns6_n = 0;
	assert_true(ask(BYTES(RS_HEAD), 8));
	assert_int_equal(out.body.len, 64);
}

/* Three resolvers and six names of 255 bytes would be 1710 bytes */
static void ra_fits(void **state)
{
	unsigned i;
	size_t at;

	(void)state;
	advertise_all();
	lan.dns6_n = LAN_DNS;
	lan.search_n = LAN_SEARCH;
	for (i = 0; i < LAN_SEARCH; i++)
		longest_name(lan.search[i], (char)('a' + i));
	assert_true(ask(BYTES(RS_HEAD), 8));
	/* 64 + RDNSS 56 + DNSSL 8 + four names 1020 + 4 of padding */
	assert_int_equal(out.body.len, 1152);
	assert_true(out.body.len <= 1280 - 40);
	for (at = 16; at < out.body.len; at += out.body.buf[at + 1] * 8U)
		assert_int_not_equal(out.body.buf[at + 1], 0);
	assert_int_equal(at, out.body.len);
}

/* What is advertised no longer is taken back, with a lifetime of 0 */
static void withdrawn(void **state)
{
	struct lan was;

	(void)state;
	advertise_all();
	was = lan;
	assert_false(ndp_changed(&lan, &was));
	assert_true(ask(BYTES(RS_HEAD), 8));
	assert_int_equal(out.body.len, 64 + 24 + 24);

	lan.dns6[0] = ADDR6(NET6(0x54));
	strcpy(lan.search[0], "abcdef");
	assert_true(ndp_changed(&lan, &was));
	assert_true(ask(BYTES(RS_HEAD), 8));
	assert_body(BYTES(RA_HEAD, RA_PREFIX, RA_SOURCE, RA_MTU, 25, 3, 0, 0,
			  DNS_TIME, NET6(0x54), 25, 3, 0, 0, 0, 0, 0, 0,
			  NET6(0x53), 31, 2, 0, 0, DNS_TIME, 6, 'a', 'b', 'c',
			  'd', 'e', 'f', 0, 31, 3, 0, 0, 0, 0, 0, 0, 7, 'e',
			  'x', 'a', 'm', 'p', 'l', 'e', 3, 'o', 'r', 'g', 0, 0,
			  0, 0),
		    64 + 24 + 24 + 16 + 24);

	/* one comes back; without resolvers there is no search list */
	was = lan;
	lan.dns6[0] = ADDR6(NET6(0x53));
	assert_true(ndp_changed(&lan, &was));
	assert_int_equal(lan.gone.dns6_n, 1);
	assert_true(addr_equal(&lan.gone.dns6[0], &was.dns6[0]));
	assert_int_equal(lan.gone.search_n, 1);
	was = lan;
	lan.dns6_n = 0;
	assert_true(ndp_changed(&lan, &was));
	assert_int_equal(lan.gone.dns6_n, 2);
	assert_int_equal(lan.gone.search_n, 2);
	assert_string_equal(lan.gone.search[0], "abcdef");
}

static void prefix_withdrawn(void **state)
{
	struct lan was = lan;

	(void)state;
	was = lan;
	lan.guest6.b[7] = 9;
	assert_true(ndp_changed(&lan, &was));
	assert_true(ask(BYTES(RS_HEAD), 8));
	assert_int_equal(out.body.len, 64 + 32);
	assert_memory_equal(out.body.buf + 48,
			    BYTES(3, 4, 64, 0xc0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
				  0, 0, NET6(0)),
			    32);
	/* and here again */
	was = lan;
	lan.guest6.b[7] = 0;
	assert_true(ndp_changed(&lan, &was));
	assert_int_equal(lan.gone.prefix6.b[7], 9);
	was = lan;
	assert_false(ndp_changed(&lan, &was));
	assert_int_equal(lan.gone.prefix6.b[7], 9);
	/* an address where there was none */
	was.guest6 = (struct addr){ 0 };
	assert_true(ndp_changed(&lan, &was));
	assert_int_equal(lan.gone.prefix6.b[7], 9);
}

/* RFC 4861, 6.2.5: who was the router says so itself */
static void farewell(void **state)
{
	(void)state;
	out_reset();
	assert_true(ndp_farewell(&lan, &out));
	assert_memory_equal(out.body.buf + 4, BYTES(255, 0xc0, 0, 0), 4);
	assert_int_equal(out.body.len, 16 + 8);
	lan.ra = false;
	assert_false(ndp_farewell(&lan, &out));
}

/* RFC 9096, 3.2: 90 and 45 minutes, where it may change */
static void leased(void **state)
{
	(void)state;
	lan.leases = true;
	assert_true(ask(BYTES(RS_HEAD), 8));
	assert_memory_equal(out.body.buf + 16,
			    BYTES(3, 4, 64, 0xc0, 0, 0, 0x15, 0x18, 0, 0, 0x0a,
				  0x8c), 12);
}

/* The longest that can be and has been, all at once */
static void withdrawn_fits(void **state)
{
	struct lan was;
	unsigned i;
	size_t at;

	(void)state;
	advertise_all();
	lan.dns6_n = LAN_DNS;
	lan.search_n = LAN_SEARCH;
	for (i = 0; i < LAN_DNS; i++)
		lan.dns6[i] = ADDR6(NET6((uint8_t)i));
	for (i = 0; i < LAN_SEARCH; i++)
		longest_name(lan.search[i], (char)('a' + i));
	was = lan;
	lan.guest6.b[7] = 9;
	for (i = 0; i < LAN_DNS; i++)
		lan.dns6[i].b[0] = 0x30;
	for (i = 0; i < LAN_SEARCH; i++) {
		longest_name(lan.search[i], (char)('A' + i));
		/* any rest may be left for the second list */
		lan.search[i][200 + 7 * i] = '\0';
	}
	assert_true(ndp_changed(&lan, &was));
	assert_true(ask(BYTES(RS_HEAD), 8));
	assert_true(out.body.len <= 1280 - 40);
	for (at = 16; at < out.body.len; at += out.body.buf[at + 1] * 8U)
		assert_int_not_equal(out.body.buf[at + 1], 0);
	assert_int_equal(at, out.body.len);
}

static void ra_bare(void **state)
{
	(void)state;
	/* local mode has no prefix; -m 0 no MTU */
	lan.guest6 = (struct addr){ 0 };
	lan.mtu = 0;
	assert_true(ask(BYTES(RS_HEAD), 8));
	assert_body(BYTES(RA_HEAD, RA_SOURCE), 24);
}

/* No more than the link carries, and no number that has no meaning */
static void ra_mtu_of_link(void **state)
{
	size_t max = 14 + 2022;
	const uint8_t *mtu = BYTES(5, 1, 0, 0, 0, 0, 0x7, 0xe6);

	(void)state;
	lan.frame_max = &max;
	assert_true(ask(BYTES(RS_HEAD), 8));
	assert_non_null(memmem(out.body.buf, out.body.len, mtu, 8));
	max = 14 + 1279;
	assert_true(ask(BYTES(RS_HEAD), 8));
	assert_null(memmem(out.body.buf, out.body.len, mtu, 4));
	max = 14 + 65535;
	assert_true(ask(BYTES(RS_HEAD), 8));
	mtu = BYTES(5, 1, 0, 0, 0, 0, 65520 >> 8, 65520 & 0xff);
	assert_non_null(memmem(out.body.buf, out.body.len, mtu, 8));
}

/* Nobody is sent to a DHCPv6 server that does not answer */
static void ra_unmanaged(void **state)
{
	(void)state;
	lan.dhcpv6 = false;
	assert_true(ask(BYTES(RS_HEAD), 8));
	assert_int_equal(out.body.buf[5], 0);
}

static void rs_unspecified(void **state)
{
	(void)state;
	packet.t.src = (struct addr){ 0 };
	assert_true(ask(BYTES(RS_HEAD), 8));
	assert_ndp_head(all_mac, ADDR6(GROUP6(1)));
	/* 6.1.1: who has no address does not say where it is */
	assert_false(ask(BYTES(RS_HEAD, 1, 1, GUEST_MAC), 16));
	assert_false(ask(BYTES(RS_HEAD, 14, 1, 0, 0, 0, 0, 0, 0, 1, 1,
			       GUEST_MAC),
			 24));
	assert_true(ask(BYTES(RS_HEAD, 14, 1, 0, 0, 0, 0, 0, 0), 16));
}

static void rs_refused(void **state)
{
	static const uint8_t good[] = { RS_HEAD, 1, 1, GUEST_MAC };
	uint8_t req[sizeof(good)];
	size_t n;

	(void)state;
	for (n = 0; n <= sizeof(good); n++)
		assert_int_equal(ask(good, n), n >= 8 && n % 8 == 0);
	memcpy(req, good, sizeof(req));
	req[9] = 0;
	assert_false(ask(req, sizeof(req)));
	req[9] = 1;
	req[1] = 1;
	assert_false(ask(req, sizeof(req)));
	packet.ttl = 1;
	assert_false(ask(good, sizeof(good)));
	packet.ttl = 255;
	packet.t.src = ADDR6(GROUP6(1));
	assert_false(ask(good, sizeof(good)));
	packet.t.src = ADDR6(LL6(0x15));
	lan.ra = false;
	assert_false(ask(good, sizeof(good)));
}

static void others(void **state)
{
	uint8_t req[64] = { 135 };
	unsigned type;

	(void)state;
	assert_false(ask(req, 24)); /* "::" is nobody's address */
	/* the target of a NS */
	memcpy(req + 8, BYTES(NET6(0x77)), 16);
	for (type = 0; type < 256; type++) {
		req[0] = (uint8_t)type;
		assert_int_equal(ask(req, 24), type == 135);
		assert_int_equal(ndp_is((uint8_t)type),
				 type >= 133 && type <= 136);
	}
}

static void advertise(void **state)
{
	struct seen seen = { .mac = guest_mac };

	(void)state;
	out_reset();
	assert_true(ndp_advertise(&lan, &seen, &out));
	assert_ndp_head(all_mac, ADDR6(GROUP6(1)));
	assert_body(BYTES(RA_HEAD, RA_PREFIX, RA_SOURCE, RA_MTU), 64);
	lan.ra = false;
	assert_false(ndp_advertise(&lan, &seen, &out));
	lan.ra = true;
	lan.v6 = false;
	assert_false(ndp_advertise(&lan, &seen, &out));
}

static void ask_guest(void **state)
{
	struct seen seen = { .v6 = ADDR6(NET6(0x33)), .ll = ADDR6(LL6(0x44)) };
	/* RFC 4291, 2.7.1: ff02::1:ff00:33; RFC 2464, 7: 33:33:ff:00:00:33 */
	struct addr group =
		ADDR6(0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, 0, 0, 0x33);

	(void)state;
	out_reset();
	assert_true(ndp_ask(&lan, &seen, &out));
	assert_ndp_head((struct mac){ { 0x33, 0x33, 0xff, 0, 0, 0x33 } },
			group);
	assert_body(BYTES(135, 0, 0, 0, 0, 0, 0, 0, NET6(0x33), 1, 1, OUR_MAC),
		    32);

	seen.v6 = (struct addr){ 0 };
	out_reset();
	assert_true(ndp_ask(&lan, &seen, &out));
	assert_memory_equal(out.body.buf + 8, BYTES(NET6(0x15)), 16);
	lan.guest6 = (struct addr){ 0 };
	out_reset();
	assert_true(ndp_ask(&lan, &seen, &out));
	assert_memory_equal(out.body.buf + 8, BYTES(LL6(0x44)), 16);
	seen.ll = (struct addr){ 0 };
	assert_false(ndp_ask(&lan, &seen, &out));
}

/* To all nodes from our address in the guest's prefix, by EUI-64 */
static void call(void **state)
{
	(void)state;
	out_reset();
	assert_true(ndp_call(&lan, &out));
	assert_from(ADDR6(0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0x98, 0x55, 0x9a,
			  0xff, 0xfe, 0x55, 0x9a, 0x55),
		    all_mac, ADDR6(GROUP6(1)));
	assert_body(BYTES(128, 0, 0, 0, 0, 0, 0, 0), 8);
	lan.guest6 = ADDR6(LL6(0x15));
	assert_false(ndp_call(&lan, &out));
	lan.guest6 = (struct addr){ 0 };
	assert_false(ndp_call(&lan, &out));
}

static bool claims(const uint8_t *msg, size_t len)
{
	struct addr a;

	return ndp_claims(&lan, &packet, rd_init(msg, len), &a) &&
	       addr_equal(&a, &ADDR6(NET6(0x77)));
}

/* An address of the prefix, from "::" in a message that RFC 4861 7.1.1 lets stand */
static void claim(void **state)
{
	(void)state;
	assert_false(claims(BYTES(NS_HEAD, NET6(0x77)), 24)); /* it has one */
	packet.t.src = (struct addr){ 0 };
	assert_false(claims(BYTES(NS_HEAD, NET6(0x77)), 24)); /* of nobody */
	packet.t.dst = ADDR6(SOLICITED6(1));
	assert_true(claims(BYTES(NS_HEAD, NET6(0x77)), 24));
	assert_false(claims(BYTES(NS_HEAD, NET6(0x77)), 23));
	assert_false(claims(BYTES(136, NS_HEAD, NET6(0x77)), 25));
	assert_false(claims(BYTES(NS_HEAD, LL6(0x77)), 24));
	assert_false(claims(BYTES(NS_HEAD, GROUP6(0x77)), 24));
	assert_false(claims(BYTES(NS_HEAD, NET6(0x77), 1, 1, GUEST_MAC), 32));
	packet.ttl = 254;
	assert_false(claims(BYTES(NS_HEAD, NET6(0x77)), 24));
	packet.ttl = 255;
	lan.guest6 = ADDR6(LL6(0x15));
	assert_false(claims(BYTES(NS_HEAD, NET6(0x77)), 24));
	lan.guest6 = (struct addr){ 0 };
	assert_false(claims(BYTES(NS_HEAD, NET6(0x77)), 24));
}

static void announce(void **state)
{
	struct addr a = ADDR6(NET6(0x77));
	struct mac m = { { NEIGH_MAC } };

	(void)state;
	out_reset();
	assert_true(ndp_announce(&lan, &a, &m, &out));
	assert_from(a, all_mac, ADDR6(GROUP6(1)));
	/* router and override, but nobody solicited it */
	assert_body(
		BYTES(136, 0, 0, 0, 0xa0, 0, 0, 0, NET6(0x77), 2, 1, NEIGH_MAC),
		32);
	assert_false(ndp_announce(&lan, &lan.guest4, &m, &out));
	lan.v6 = false;
	assert_false(ndp_announce(&lan, &a, &m, &out));
}

/* SLAAC needs 64 bits of prefix and no bit of the guest's own */
static void prefix_masked(void **state)
{
	(void)state;
	memset(lan.guest6.b, 0xff, 16);
	lan.guest6.b[0] = 0x2f;
	assert_true(ask(BYTES(RS_HEAD), 8));
	assert_memory_equal(out.body.buf + 32,
			    BYTES(0x2f, 255, 255, 255, 255, 255, 255, 255, 0, 0,
				  0, 0, 0, 0, 0, 0),
			    16);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(ns, start),
		cmocka_unit_test_setup(ns_dad, start),
		cmocka_unit_test_setup(ns_neighbour, start),
		cmocka_unit_test_setup(ns_refused, start),
		cmocka_unit_test_setup(rs, start),
		cmocka_unit_test_setup(ra_all, start),
		cmocka_unit_test_setup(dnssl_padding, start),
		cmocka_unit_test_setup(dnssl_names, start),
		cmocka_unit_test_setup(ra_fits, start),
		cmocka_unit_test_setup(withdrawn, start),
		cmocka_unit_test_setup(prefix_withdrawn, start),
		cmocka_unit_test_setup(farewell, start),
		cmocka_unit_test_setup(leased, start),
		cmocka_unit_test_setup(withdrawn_fits, start),
		cmocka_unit_test_setup(ra_mtu_of_link, start),
		cmocka_unit_test_setup(ra_bare, start),
		cmocka_unit_test_setup(ra_unmanaged, start),
		cmocka_unit_test_setup(rs_unspecified, start),
		cmocka_unit_test_setup(rs_refused, start),
		cmocka_unit_test_setup(others, start),
		cmocka_unit_test_setup(advertise, start),
		cmocka_unit_test_setup(ask_guest, start),
		cmocka_unit_test_setup(call, start),
		cmocka_unit_test_setup(claim, start),
		cmocka_unit_test_setup(announce, start),
		cmocka_unit_test_setup(prefix_masked, start),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
