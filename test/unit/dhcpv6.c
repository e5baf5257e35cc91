/* SPDX-License-Identifier: GPL-2.0-or-later */
/* unit: addr util log dnsname boot rkap md5 */
#include "dhcpv6.h"
#include "answer.h"
#include "boot.h"
#include "log.h"

#include <netinet/in.h>

/* RFC 8415, 7.3 */
enum {
	SOLICIT = 1,
	ADVERTISE = 2,
	REQUEST = 3,
	CONFIRM = 4,
	RENEW = 5,
	REBIND = 6,
	REPLY = 7,
	RELEASE = 8,
	DECLINE = 9,
	INFORMATION = 11,
};

#define XID     0xfe, 0xdc, 0xba
#define FOREVER 255, 255, 255, 255
/* 21.2: code 1, a DUID of the guest's: type 3 (LL), Ethernet, its MAC */
#define CLIENT_ID 0, 1, 0, 10, 0, 3, 0, 1, GUEST_MAC
/* 21.3 and 11.2: code 2, 14 bytes: type 1 (LLT), Ethernet, time, our MAC */
#define SERVER_ID 0, 2, 0, 14, 0, 1, 0, 1, 0x12, 0x34, 0x56, 0x78, OUR_MAC
#define OTHER_ID  0, 2, 0, 14, 0, 1, 0, 1, 0x12, 0x34, 0x56, 0x79, OUR_MAC
#define LONGER_ID 0, 2, 0, 15, 0, 1, 0, 1, 0x12, 0x34, 0x56, 0x78, OUR_MAC, 0
/* 21.4 and 21.6: code 3, IAID, T1, T2; code 5 with lifetimes */
#define IA_EMPTY 0, 3, 0, 12, 0, 0, 0xab, 0xcd, 0, 0, 0, 1, 0, 0, 0, 2
#define IA(last)                                                               \
	0, 3, 0, 40, 0, 0, 0xab, 0xcd, 0, 0, 0, 1, 0, 0, 0, 2, 0, 5, 0, 24,    \
		NET6(last), 0, 0, 0, 3, 0, 0, 0, 4
/* 21.5: code 4, IAID only */
#define IA_TA(last)                                                            \
	0, 4, 0, 32, 0, 0, 0xab, 0xce, 0, 5, 0, 24, NET6(last), 0, 0, 0, 3, 0, \
		0, 0, 4
/* RFC 8415 21.21: code 25, as IA_NA; 21.22: code 26, a prefix */
#define IA_PD                                                                  \
	0, 25, 0, 41, 0, 0, 0xab, 0xcf, 0, 0, 0, 1, 0, 0, 0, 2, 0, 26, 0, 25,  \
		0, 0, 0, 3, 0, 0, 0, 4, 56, NET6(0)
#define RAPID    0, 14, 0, 0
/* 21.7: code 6; 23 is for resolvers */
#define LIST_DNS 0, 6, 0, 2, 0, 23
/* what we assign: 12 + 4 + 24 bytes */
#define IA_OURS(hi, lo)                                                        \
	0, 3, 0, 40, 0, 0, hi, lo, FOREVER, FOREVER, 0, 5, 0, 24, NET6(0x15),  \
		FOREVER, FOREVER
#define LONG(a, b, c, d) a, b, c, d
#define IA_MOVED(t1, t2, lease)                                                \
	0, 3, 0, 68, 0, 0, 0xab, 0xcd, t1, t2, 0, 5, 0, 24, NET6(0x15), lease, \
		lease, 0, 5, 0, 24, NET6(0x16), 0, 0, 0, 0, 0, 0, 0, 0
/* 21.13: code 13, 2 + 32 bytes, 4 is NotOnLink */
#define NOT_ON_LINK                                                            \
	0, 13, 0, 34, 0, 4, 'P', 'r', 'e', 'f', 'i', 'x', ' ', 'n', 'o', 't',  \
		' ', 'a', 'p', 'p', 'r', 'o', 'p', 'r', 'i', 'a', 't', 'e',    \
		' ', 'f', 'o', 'r', ' ', 'l', 'i', 'n', 'k', '.'
#define SUCCESS 0, 13, 0, 2, 0, 0
/* 2 + 18 bytes, 2 is NoAddrsAvail */
#define NO_ADDRS                                                               \
	0, 13, 0, 20, 0, 2, 'N', 'o', ' ', 'm', 'o', 'r', 'e', ' ', 'a', 'd',  \
		'd', 'r', 'e', 's', 's', 'e', 's', '.'
/* 2 + 14 bytes, 3 is NoBinding */
#define NO_BINDING                                                             \
	0, 13, 0, 16, 0, 3, 'N', 'o', 't', ' ', 'f', 'r', 'o', 'm', ' ', 'h',  \
		'e', 'r', 'e', '.'
/* 2 + 12 bytes, 6 is NoPrefixAvail */
#define NO_PREFIX                                                              \
	0, 13, 0, 14, 0, 6, 'N', 'o', ' ', 'p', 'r', 'e', 'f', 'i', 'x', 'e',  \
		's', '.'
/* IA_PD, IA_TA and a second IA_NA, with the reason why not */
#define PD_REFUSED                                                             \
	0, 25, 0, 30, 0, 0, 0xab, 0xcf, 0, 0, 0, 1, 0, 0, 0, 2, NO_PREFIX
#define TA_REFUSED 0, 4, 0, 28, 0, 0, 0xab, 0xce, NO_ADDRS
#define NA_REFUSED                                                             \
	0, 3, 0, 36, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0, NO_ADDRS
#define SECOND_NA 0, 3, 0, 12, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0
/* 12 + 38 bytes */
#define IA_REFUSED                                                             \
	0, 3, 0, 50, 0, 0, 0xab, 0xcd, 0, 0, 0, 1, 0, 0, 0, 2, NOT_ON_LINK
/* RFC 3646: 23 and 24; RFC 4704: 39 */
#define DNS 0, 23, 0, 16, NET6(0x53)
#define SEARCH                                                                 \
	0, 24, 0, 13, 7, 'e', 'x', 'a', 'm', 'p', 'l', 'e', 3, 'o', 'r', 'g', 0
#define FQDN(flags)                                                            \
	0, 39, 0, 18, flags, 3, 'b', 'o', 'x', 7, 'e', 'x', 'a', 'm', 'p',     \
		'l', 'e', 3, 'o', 'r', 'g', 0

static uint8_t req[2048];
static size_t req_len;
static const struct siphash_key secret = { { 1, 2 } };
static struct rkap client;

static int start(void **state)
{
	log_level(LOG_ERROR);
	setup(state);
	client = (struct rkap){ .secret = &secret };
	packet.t = (struct tuple){
		.src = ADDR6(LL6(0x15)),
		.dst = ADDR6(0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 2),
		.sport = 546,
		.dport = 547,
		.proto = IPPROTO_UDP,
	};
	return 0;
}

static bool ask(void)
{
	uint8_t *p = exact(req, req_len);
	bool r;

	out_reset();
	r = dhcpv6_answer(&lan, &packet, rd_init(p, req_len), &client,
			  &out);
	free(p);
	return r;
}

static bool ask_with(const uint8_t *b, size_t len)
{
	memcpy(req, b, len);
	req_len = len;
	return ask();
}
#define ASK(...)                                                               \
	ask_with(BYTES(__VA_ARGS__), sizeof((uint8_t[]){ __VA_ARGS__ }))
#define ASSERT_BODY(...)                                                       \
	assert_body(BYTES(__VA_ARGS__), sizeof((uint8_t[]){ __VA_ARGS__ }))

static void solicit(void **state)
{
	(void)state;
	assert_true(ASK(SOLICIT, XID, CLIENT_ID, IA_EMPTY, 0, 8, 0, 2, 0, 0));
	assert_head(guest_mac, ADDR6(LL6(1)), ADDR6(LL6(0x15)), IPPROTO_UDP,
		    547, 546);
	/* the low 20 bits of the transaction */
	assert_int_equal(out.head.flow_label, 0xedcba);
	ASSERT_BODY(ADVERTISE, XID, SERVER_ID, IA_OURS(0xab, 0xcd), CLIENT_ID);
}

static void solicit_any_address(void **state)
{
	(void)state;
	/* a hint may be any; who asks for no address gets none */
	assert_true(ASK(SOLICIT, XID, CLIENT_ID, IA(0x99)));
	ASSERT_BODY(ADVERTISE, XID, SERVER_ID, IA_OURS(0xab, 0xcd), CLIENT_ID);
	assert_true(ASK(SOLICIT, XID, CLIENT_ID));
	ASSERT_BODY(ADVERTISE, XID, SERVER_ID, CLIENT_ID);
}

/* What we have not is refused one by one */
static void nothing_to_give(void **state)
{
	(void)state;
	assert_true(ASK(SOLICIT, XID, CLIENT_ID, IA_PD));
	ASSERT_BODY(ADVERTISE, XID, SERVER_ID, PD_REFUSED, CLIENT_ID);
	assert_true(ASK(SOLICIT, XID, CLIENT_ID, IA_TA(0x16)));
	ASSERT_BODY(ADVERTISE, XID, SERVER_ID, TA_REFUSED, CLIENT_ID);
	assert_true(ASK(SOLICIT, XID, CLIENT_ID, IA_PD, IA_EMPTY, SECOND_NA));
	ASSERT_BODY(ADVERTISE, XID, SERVER_ID, PD_REFUSED, IA_OURS(0xab, 0xcd),
		    NA_REFUSED, CLIENT_ID);
	assert_true(ASK(REQUEST, XID, CLIENT_ID, SERVER_ID, SECOND_NA, IA(0x15),
			IA_TA(0x15), IA_PD));
	ASSERT_BODY(REPLY, XID, SERVER_ID, 0, 3, 0, 40, 0, 0, 0, 7, FOREVER,
		    FOREVER, 0, 5, 0, 24, NET6(0x15), FOREVER, FOREVER, 0, 3, 0,
		    36, 0, 0, 0xab, 0xcd, 0, 0, 0, 1, 0, 0, 0, 2, NO_ADDRS,
		    TA_REFUSED, PD_REFUSED, CLIENT_ID);
	assert_true(ASK(RENEW, XID, CLIENT_ID, SERVER_ID, IA(0x15), IA_PD));
	ASSERT_BODY(REPLY, XID, SERVER_ID, IA_OURS(0xab, 0xcd), PD_REFUSED,
		    CLIENT_ID);
}

/* 18.3.1: two messages instead of four, if there is an address in it */
static void rapid_commit(void **state)
{
	(void)state;
	assert_true(ASK(SOLICIT, XID, CLIENT_ID, IA_EMPTY, RAPID));
	ASSERT_BODY(REPLY, XID, SERVER_ID, IA_OURS(0xab, 0xcd), CLIENT_ID,
		    RAPID);
	assert_true(ASK(SOLICIT, XID, CLIENT_ID, IA_PD, RAPID));
	ASSERT_BODY(ADVERTISE, XID, SERVER_ID, PD_REFUSED, CLIENT_ID);
	assert_true(ASK(REQUEST, XID, CLIENT_ID, SERVER_ID, IA(0x15), RAPID));
	ASSERT_BODY(REPLY, XID, SERVER_ID, IA_OURS(0xab, 0xcd), CLIENT_ID);
}

/* 18.3.7, 18.3.8: thanks, and no binding for what we did not give */
static void taken_back(void **state)
{
	static const uint8_t types[] = { RELEASE, DECLINE };
	size_t i;

	(void)state;
	advertise_all();
	for (i = 0; i < sizeof(types); i++) {
		uint8_t t = types[i];

		assert_true(ASK(t, XID, CLIENT_ID, SERVER_ID, IA(0x15)));
		ASSERT_BODY(REPLY, XID, SERVER_ID, CLIENT_ID, SUCCESS);
		assert_true(ASK(t, XID, CLIENT_ID, SERVER_ID, IA(0x16)));
		ASSERT_BODY(REPLY, XID, SERVER_ID, 0, 3, 0, 32, 0, 0, 0xab,
			    0xcd, 0, 0, 0, 1, 0, 0, 0, 2, NO_BINDING, CLIENT_ID,
			    SUCCESS);
		assert_true(ASK(t, XID, CLIENT_ID, SERVER_ID, IA_TA(0x15)));
		ASSERT_BODY(REPLY, XID, SERVER_ID, 0, 4, 0, 24, 0, 0, 0xab,
			    0xce, NO_BINDING, CLIENT_ID, SUCCESS);
		assert_false(ASK(t, XID, CLIENT_ID, OTHER_ID, IA(0x15)));
		assert_false(ASK(t, XID, CLIENT_ID, IA(0x15)));
		assert_false(ASK(t, XID, SERVER_ID, IA(0x15)));
		assert_false(dhcpv6_assigns(t));
	}
	assert_true(dhcpv6_assigns(SOLICIT) && dhcpv6_assigns(RENEW));
	assert_false(dhcpv6_assigns(INFORMATION) || dhcpv6_assigns(255));
}

/* 18.3.3: a verdict, not an address; about nothing there is none */
static void confirm(void **state)
{
	(void)state;
	advertise_all();
	assert_true(ASK(CONFIRM, XID, CLIENT_ID, IA(0x15)));
	ASSERT_BODY(REPLY, XID, SERVER_ID, CLIENT_ID, SUCCESS);
	assert_true(ASK(CONFIRM, XID, CLIENT_ID, IA(0x15), IA(0x16)));
	ASSERT_BODY(REPLY, XID, SERVER_ID, CLIENT_ID, NOT_ON_LINK);
	assert_false(ASK(CONFIRM, XID, CLIENT_ID, IA_EMPTY));
	assert_false(ASK(CONFIRM, XID, CLIENT_ID, IA_PD));
}

/* RFC 5970; EDK2's HTTP boot wants its class back */
static void boots(void **state)
{
	(void)state;
	assert_true(boot_parse("/a", &lan.boot[0]));
	assert_true(boot_parse("efi64=http://x", &lan.boot[1]));
	lan.boot_n = 2;
	assert_true(ASK(INFORMATION, XID, CLIENT_ID, 0, 6, 0, 2, 0, 59));
	ASSERT_BODY(REPLY, XID, SERVER_ID, CLIENT_ID, 0, 59, 0, 18, 't', 'f',
		    't', 'p', ':', '/', '/', '[', 'f', 'e', '8', '0', ':', ':',
		    '1', ']', '/', 'a');
	assert_true(ASK(INFORMATION, XID, CLIENT_ID, 0, 6, 0, 2, 0, 59, 0, 61,
			0, 2, 0, 16, 0, 16, 0, 16, 0, 0, 1, 0x57, 0, 10, 'H',
			'T', 'T', 'P', 'C', 'l', 'i', 'e', 'n', 't'));
	ASSERT_BODY(REPLY, XID, SERVER_ID, CLIENT_ID, 0, 59, 0, 8, 'h', 't',
		    't', 'p', ':', '/', '/', 'x', 0, 16, 0, 16, 0, 0, 1, 0x57,
		    0, 10, 'H', 'T', 'T', 'P', 'C', 'l', 'i', 'e', 'n', 't');
	/* who does not ask */
	assert_true(ASK(INFORMATION, XID, CLIENT_ID, LIST_DNS));
	ASSERT_BODY(REPLY, XID, SERVER_ID, CLIENT_ID);
}

/* 21.7, and RFC 4704 6: what is listed, and a name for who sent one */
static void listed(void **state)
{
	(void)state;
	advertise_all();
	assert_true(ASK(INFORMATION, XID, CLIENT_ID, LIST_DNS));
	ASSERT_BODY(REPLY, XID, SERVER_ID, CLIENT_ID, DNS);
	assert_true(ASK(INFORMATION, XID, CLIENT_ID, 0, 6, 0, 5, 0, 99, 0, 24,
			0));
	ASSERT_BODY(REPLY, XID, SERVER_ID, CLIENT_ID, SEARCH);
	assert_true(ASK(INFORMATION, XID, CLIENT_ID, LIST_DNS, 0, 39, 0, 1, 0));
	ASSERT_BODY(REPLY, XID, SERVER_ID, CLIENT_ID, DNS, FQDN(0));
	assert_true(ASK(INFORMATION, XID, CLIENT_ID, 0, 6, 0, 0));
	ASSERT_BODY(REPLY, XID, SERVER_ID, CLIENT_ID, DNS, SEARCH, FQDN(0));
}

static void all_options(void **state)
{
	(void)state;
	advertise_all();
	assert_true(ASK(REQUEST, XID, SERVER_ID, CLIENT_ID, IA(0x15)));
	ASSERT_BODY(REPLY, XID, SERVER_ID, IA_OURS(0xab, 0xcd), CLIENT_ID, DNS,
		    SEARCH, FQDN(0));
	/* the client wants a record updated: S; not by us: O */
	assert_true(ASK(REQUEST, XID, SERVER_ID, CLIENT_ID, IA(0x15), 0, 39, 0,
			2, 1, 0));
	ASSERT_BODY(REPLY, XID, SERVER_ID, IA_OURS(0xab, 0xcd), CLIENT_ID, DNS,
		    SEARCH, FQDN(2));
	assert_true(ASK(REQUEST, XID, SERVER_ID, CLIENT_ID, 0, 39, 0, 1, 4));
	ASSERT_BODY(REPLY, XID, SERVER_ID, CLIENT_ID, DNS, SEARCH, FQDN(0));
}

static void search_names(void **state)
{
	(void)state;
	/* the root and what is no name are left out, the last dot is none */
	strcpy(lan.search[0], ".");
	strcpy(lan.search[1], "a.bc.");
	strcpy(lan.search[2], "a..bc");
	strcpy(lan.search[3], "bc");
	lan.search_n = 4;
	assert_true(ASK(INFORMATION, XID, CLIENT_ID));
	ASSERT_BODY(REPLY, XID, SERVER_ID, CLIENT_ID, 0, 24, 0, 10, 1, 'a', 2,
		    'b', 'c', 0, 2, 'b', 'c', 0);
	lan.search_n = 1;
	strcpy(lan.fqdn, "a..b");
	assert_true(ASK(INFORMATION, XID, CLIENT_ID));
	ASSERT_BODY(REPLY, XID, SERVER_ID, CLIENT_ID);
}

static void requests(void **state)
{
	static const uint8_t types[] = { REQUEST, RENEW };
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(types); i++) {
		uint8_t t = types[i];

		assert_true(ASK(t, XID, CLIENT_ID, SERVER_ID, IA(0x15)));
		ASSERT_BODY(REPLY, XID, SERVER_ID, IA_OURS(0xab, 0xcd),
			    CLIENT_ID);
		assert_true(ASK(t, XID, CLIENT_ID, SERVER_ID, IA_EMPTY));
		assert_false(ASK(t, XID, CLIENT_ID, IA(0x15)));
		assert_false(ASK(t, XID, CLIENT_ID, OTHER_ID, IA(0x15)));
		assert_false(ASK(t, XID, CLIENT_ID, LONGER_ID, IA(0x15)));
		assert_false(ASK(t, XID, CLIENT_ID, 0, 2, 0, 0, IA(0x15)));
		assert_false(ASK(t, XID, SERVER_ID, IA(0x15)));
	}
}

/* RFC 8415, 16.2, 16.5 and 16.7: not with a server's identifier, even ours */
static void to_any_server(void **state)
{
	static const uint8_t types[] = { SOLICIT, CONFIRM, REBIND };
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(types); i++) {
		uint8_t t = types[i];

		assert_true(ASK(t, XID, CLIENT_ID, IA(0x15)));
		assert_int_equal(out.body.buf[0],
				 t == SOLICIT ? ADVERTISE : REPLY);
		assert_false(ASK(t, XID, CLIENT_ID, SERVER_ID, IA(0x15)));
		assert_false(ASK(t, XID, CLIENT_ID, OTHER_ID, IA(0x15)));
		assert_false(ASK(t, XID, IA(0x15)));
	}
}

/* 16.12: no IA; the server's identifier must be ours if there is one */
static void information(void **state)
{
	(void)state;
	advertise_all();
	assert_true(ASK(INFORMATION, XID, CLIENT_ID));
	ASSERT_BODY(REPLY, XID, SERVER_ID, CLIENT_ID, DNS, SEARCH, FQDN(0));
	assert_true(ASK(INFORMATION, XID, CLIENT_ID, SERVER_ID));
	assert_true(ASK(INFORMATION, XID));
	ASSERT_BODY(REPLY, XID, SERVER_ID, DNS, SEARCH, FQDN(0));
	assert_false(ASK(INFORMATION, XID, CLIENT_ID, OTHER_ID));
	assert_false(ASK(INFORMATION, XID, CLIENT_ID, IA_EMPTY));
	assert_false(ASK(INFORMATION, XID, CLIENT_ID, IA_TA(0x15)));
}

static void not_on_link(void **state)
{
	(void)state;
	assert_true(ASK(REQUEST, XID, CLIENT_ID, SERVER_ID, IA(0x16)));
	ASSERT_BODY(REPLY, XID, SERVER_ID, IA_REFUSED, CLIENT_ID);
	/* each for itself: the address is still to be had */
	assert_true(ASK(REQUEST, XID, CLIENT_ID, SERVER_ID, IA_TA(0x16),
			IA(0x16), IA(0x15)));
	ASSERT_BODY(REPLY, XID, SERVER_ID, 0, 4, 0, 42, 0, 0, 0xab, 0xce,
		    NOT_ON_LINK, IA_REFUSED, IA_OURS(0xab, 0xcd), CLIENT_ID);
}

/* What it had ends, and it gets what there is now */
static void moved(void **state)
{
	(void)state;
	assert_true(ASK(RENEW, XID, CLIENT_ID, SERVER_ID, IA(0x16)));
	ASSERT_BODY(REPLY, XID, SERVER_ID, IA_MOVED(FOREVER, FOREVER, FOREVER),
		    CLIENT_ID);
	lan.leases = true; /* 120 s, 192 s, a day */
	assert_true(ASK(REBIND, XID, CLIENT_ID, IA(0x16)));
	ASSERT_BODY(REPLY, XID, SERVER_ID,
		    IA_MOVED(LONG(0, 0, 0, 120), LONG(0, 0, 0, 192),
			     LONG(0, 1, 0x51, 0x80)),
		    CLIENT_ID);
}

static void silent(void **state)
{
	unsigned t;

	(void)state;
	for (t = 0; t < 256; t++) {
		bool with = t == REQUEST || t == RENEW || t == RELEASE ||
			    t == DECLINE || t == INFORMATION;
		bool without = t == SOLICIT || t == REBIND || t == INFORMATION;

		assert_int_equal(ASK(t, XID, CLIENT_ID, SERVER_ID), with);
		assert_int_equal(ASK(t, XID, CLIENT_ID), without);
	}
}

static void addresses(void **state)
{
	static const struct addr none;

	(void)state;
	packet.t.dst = lan.our_ll6; /* must be a group: 16 */
	assert_false(ASK(SOLICIT, XID, CLIENT_ID));
	packet.t.dst = ADDR6(GROUP6(1));
	assert_true(ASK(SOLICIT, XID, CLIENT_ID));
	packet.t.src = none;
	assert_false(ASK(SOLICIT, XID, CLIENT_ID));
	packet.t.src = ADDR6(GROUP6(1));
	assert_false(ASK(SOLICIT, XID, CLIENT_ID));
	/* back to where it came from, link-local or not */
	packet.t.src = ADDR6(NET6(0x44));
	assert_true(ASK(SOLICIT, XID, CLIENT_ID));
	assert_true(addr_equal(&out.head.t.dst, &packet.t.src));
	lan.guest6 = none;
	assert_false(ASK(SOLICIT, XID, CLIENT_ID));
	lan.guest6 = ADDR6(NET6(0x15));
	lan.our_ll6 = none;
	assert_false(ASK(SOLICIT, XID, CLIENT_ID));
	lan.our_ll6 = ADDR6(LL6(1));
	lan.v6 = false;
	assert_false(ASK(SOLICIT, XID, CLIENT_ID));
}

static void client_id_length(void **state)
{
	(void)state;
	assert_false(ASK(SOLICIT, XID, 0, 1, 0, 0));
	memcpy(req, BYTES(SOLICIT, XID, 0, 1, 0, 130, 0, 4), 10);
	memset(req + 10, 7, 200);
	req_len = 8 + 130; /* 11.1: type and 128 bytes */
	assert_true(ask());
	assert_int_equal(out.body.len, 4 + 18 + 4 + 130);
	assert_memory_equal(out.body.buf + 22, req + 4, 134);
	req[7] = 131;
	req_len = 8 + 131;
	assert_false(ask());
}

static void truncated(void **state)
{
	static const uint8_t good[] = { REQUEST, XID, CLIENT_ID, SERVER_ID,
					IA(0x15) };
	uint8_t b[sizeof(good)];
	size_t n;

	(void)state;
	/* all is there, or as much as a whole option less */
	for (n = 0; n <= sizeof(good); n++)
		assert_int_equal(ask_with(good, n),
				 n == 4 + 14 + 18 || n == sizeof(good));
	/* an address that is longer than its IA, an IA shorter than its head */
	memcpy(b, good, sizeof(b));
	b[4 + 14 + 18 + 4 + 12 + 3] = 25;
	assert_false(ask_with(b, sizeof(b)));
	b[4 + 14 + 18 + 4 + 12 + 3] = 23;
	assert_false(ask_with(b, sizeof(b)));
	assert_false(ASK(REQUEST, XID, CLIENT_ID, SERVER_ID, 0, 3, 0, 11, 0, 0,
			 0, 0, 0, 0, 0, 0, 0, 0, 0));
	assert_false(
		ASK(REQUEST, XID, CLIENT_ID, SERVER_ID, 0, 4, 0, 3, 0, 0, 0));
	assert_false(ASK(SOLICIT, XID, CLIENT_ID, 0, 3, 0, 32, 0, 0, 0, 7, 0, 0,
			 0, 0, 0, 0, 0, 0, 0, 5, 0, 16, NET6(0x15)));
	assert_false(ASK(SOLICIT, XID, CLIENT_ID, 0, 39, 0, 0));
	assert_false(ASK(SOLICIT, XID, CLIENT_ID, 0, 99, 255, 255));
}

/* All of the longest that can be configured stays within 1280 */
static void fits(void **state)
{
	unsigned i;

	(void)state;
	advertise_all();
	lan.dns6_n = LAN_DNS;
	lan.search_n = LAN_SEARCH;
	for (i = 0; i < LAN_SEARCH; i++)
		longest_name(lan.search[i], (char)('a' + i));
	longest_name(lan.fqdn, 'f');
	assert_true(ASK(SOLICIT, XID, CLIENT_ID, IA_EMPTY));
	/* 4, server 18, IA 44, client 14, DNS 52, search 4 + 4 * 255 names;
	 * no room for another 260 */
	assert_int_equal(out.body.len, 4 + 18 + 44 + 14 + 52 + 4 + 1020);
	assert_true(out.body.len <= 1280 - 48);
	lan.search_n = 3;
	assert_true(ASK(SOLICIT, XID, CLIENT_ID, IA_EMPTY));
	assert_int_equal(out.body.len, 132 + 4 + 765 + 4 + 1 + 255);

	out_reset();
	out.body.cap = 60;
	assert_false(dhcpv6_answer(&lan, &packet, rd_init(req, req_len),
				   &client, &out));
}

/* --- who can be called: RFC 8415, 18.3.11 and 20.4 -------------------------- */

#define ACCEPT    0, 20, 0, 0
#define AUTH_HEAD 0, 11, 0, 28, 3, 1, 0

/* Option 11 of the answer, or NULL */
static const uint8_t *auth(void)
{
	size_t at = 4;

	while (at + 4 <= out.body.len) {
		if (ld_be16(out.body.buf + at) == 11)
			return out.body.buf + at;
		at += 4U + ld_be16(out.body.buf + at + 2);
	}
	return NULL;
}

static uint64_t assert_auth(uint8_t type)
{
	const uint8_t *a = auth();

	assert_non_null(a);
	assert_memory_equal(a, BYTES(AUTH_HEAD), 7);
	assert_int_equal(a[15], type);
	return ld_be64(a + 7);
}

static bool call(void)
{
	out_reset();
	return dhcpv6_call(&lan, &client, &out);
}

/* The message of type 10, that the client is to send one of @type */
static uint64_t assert_called(uint8_t type, const uint8_t key[16])
{
	const uint8_t want[] = { 10, 0, 0, 0, SERVER_ID, CLIENT_ID, 0, 19, 0, 1,
				 type, AUTH_HEAD };
	uint8_t digest[16], sum[16], *at = out.body.buf + sizeof(want) + 9;
	uint64_t count = assert_auth(2);

	assert_head(guest_mac, ADDR6(LL6(1)), ADDR6(LL6(0x15)), IPPROTO_UDP,
		    547, 546);
	assert_int_equal(out.body.len, sizeof(want) + 25);
	assert_memory_equal(out.body.buf, want, sizeof(want));
	memcpy(digest, at, 16);
	memset(at, 0, 16);
	md5_hmac(key, 16, out.body.buf, out.body.len, sum);
	assert_memory_equal(digest, sum, 16);
	return count;
}

static void called(void **state)
{
	uint8_t key[16];
	uint64_t count, later;

	(void)state;
	assert_true(ASK(SOLICIT, XID, CLIENT_ID, IA_EMPTY, ACCEPT));
	ASSERT_BODY(ADVERTISE, XID, SERVER_ID, IA_OURS(0xab, 0xcd), CLIENT_ID,
		    ACCEPT);
	assert_false(client.on);
	assert_true(ASK(REQUEST, XID, CLIENT_ID, SERVER_ID, IA(0x15), ACCEPT));
	count = assert_auth(1);
	memcpy(key, auth() + 16, 16);
	assert_true(client.on);
	assert_false(call()); /* no news */
	lan.guest6 = ADDR6(NET6(0x16));
	assert_true(call());
	later = assert_called(RENEW, key);
	assert_true(later > count);
	assert_true(call());
	assert_true(assert_called(RENEW, key) > later);

	/* It does, and keeps its key, whether it says that it accepts or not */
	assert_true(ASK(RENEW, XID, CLIENT_ID, SERVER_ID, IA(0x15)));
	assert_null(auth());
	assert_false(call());
	assert_true(ASK(REBIND, XID, CLIENT_ID, IA(0x15), ACCEPT));
	assert_null(auth());
	assert_false(call());
	lan.guest6 = ADDR6(NET6(0x17));
	assert_true(call());
	assert_called(RENEW, key);
	lan.guest6 = (struct addr){ 0 };
	assert_false(call());
}

/* By what it asks: no address, and that is no news to it */
static void called_for_news(void **state)
{
	uint8_t key[16];

	(void)state;
	assert_true(ASK(INFORMATION, XID, CLIENT_ID, LIST_DNS, ACCEPT));
	assert_auth(1);
	memcpy(key, auth() + 16, 16);
	lan.guest6 = ADDR6(NET6(0x16));
	strcpy(lan.search[0], "example.org");
	lan.search_n = 1;
	assert_false(call());
	lan.dns6[0] = ADDR6(NET6(0x53));
	lan.dns6_n = 1;
	assert_true(call());
	assert_called(INFORMATION, key);
}

static void not_called(void **state)
{
	static const uint8_t last[] = { RELEASE, DECLINE };
	unsigned i;

	(void)state;
	/* Who does not accept it, is nobody, or has a key of an earlier life's */
	assert_true(ASK(REQUEST, XID, CLIENT_ID, SERVER_ID, IA(0x15)));
	assert_null(auth());
	assert_true(ASK(INFORMATION, XID, LIST_DNS, ACCEPT));
	assert_null(auth());
	assert_true(ASK(RENEW, XID, CLIENT_ID, SERVER_ID, IA(0x15), ACCEPT));
	assert_null(auth());
	assert_true(ASK(CONFIRM, XID, CLIENT_ID, IA(0x15), ACCEPT));
	assert_null(auth());
	assert_false(client.on);
	/* at once, and again without */
	assert_true(ASK(SOLICIT, XID, CLIENT_ID, IA_EMPTY, RAPID, ACCEPT));
	assert_auth(1);
	assert_true(client.on);
	assert_true(ASK(REQUEST, XID, CLIENT_ID, SERVER_ID, IA(0x15)));
	assert_null(auth());
	assert_false(client.on);
	for (i = 0; i < sizeof(last); i++) {
		assert_true(ASK(REQUEST, XID, CLIENT_ID, SERVER_ID, IA(0x15),
				ACCEPT));
		assert_true(ASK(last[i], XID, 0, 1, 0, 3, 0, 3, 7, SERVER_ID,
				IA(0x15)));
		assert_true(client.on);
		assert_true(ASK(last[i], XID, CLIENT_ID, SERVER_ID, IA(0x15)));
		assert_false(client.on);
	}
	/* nobody to keep it for */
	out_reset();
	assert_true(ASK(REQUEST, XID, CLIENT_ID, SERVER_ID, IA(0x15), ACCEPT));
	out_reset();
	assert_true(dhcpv6_answer(&lan, &packet, rd_init(req, req_len), NULL,
				  &out));
	assert_null(auth());
}

/* A successor may get anything */
static void called_by_nonsense(void **state)
{
	(void)state;
	assert_true(ASK(REQUEST, XID, CLIENT_ID, SERVER_ID, IA(0x15), ACCEPT));
	client.told[0]++;
	assert_true(call());
	client.request[0] = 200;
	assert_false(call());
	client.request[0] = REPLY;
	assert_false(call());
	client.request[0] = REQUEST;
	client.len = 3;
	assert_false(call());
	client.len = 0;
	assert_false(call());
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(solicit, start),
		cmocka_unit_test_setup(solicit_any_address, start),
		cmocka_unit_test_setup(nothing_to_give, start),
		cmocka_unit_test_setup(rapid_commit, start),
		cmocka_unit_test_setup(taken_back, start),
		cmocka_unit_test_setup(confirm, start),
		cmocka_unit_test_setup(listed, start),
		cmocka_unit_test_setup(all_options, start),
		cmocka_unit_test_setup(search_names, start),
		cmocka_unit_test_setup(requests, start),
		cmocka_unit_test_setup(to_any_server, start),
		cmocka_unit_test_setup(information, start),
		cmocka_unit_test_setup(not_on_link, start),
		cmocka_unit_test_setup(moved, start),
		cmocka_unit_test_setup(silent, start),
		cmocka_unit_test_setup(addresses, start),
		cmocka_unit_test_setup(client_id_length, start),
		cmocka_unit_test_setup(truncated, start),
		cmocka_unit_test_setup(fits, start),
		cmocka_unit_test_setup(boots, start),
		cmocka_unit_test_setup(called, start),
		cmocka_unit_test_setup(called_for_news, start),
		cmocka_unit_test_setup(not_called, start),
		cmocka_unit_test_setup(called_by_nonsense, start),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
