/* SPDX-License-Identifier: GPL-2.0-or-later */
/* unit: addr util log dnsname boot rkap md5 */
#include "dhcp.h"
#include "answer.h"
#include "boot.h"
#include "log.h"

#include <netinet/in.h>

enum { DISCOVER = 1, REQUEST = 3, DECLINE = 4, RELEASE = 7, INFORM = 8 };
#define COOKIE 0x63, 0x82, 0x53, 0x63

/* RFC 2131, 2: where the fields are */
static const uint8_t request_head[240] = {
	[0] = 1,
	1,
	6,
	3,
	0xde,
	0xad,
	0xbe,
	0xef,
	0x01,
	0x02,
	0,
	0,
	[28] = GUEST_MAC, /* chaddr */
	[44] = 's',
	'n',
	[108] = 'f',
	[236] = COOKIE,
};
/* op 2, no hops, same xid, no secs, yiaddr; no sname and no file */
static const uint8_t reply_head[240] = {
	[0] = 2,
	1,
	6,
	0,
	0xde,
	0xad,
	0xbe,
	0xef,
	[16] = 192,
	0,
	2,
	15,
	[28] = GUEST_MAC,
	[236] = COOKIE,
};

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
		.src = addr_v4(0, 0, 0, 0),
		.dst = addr_v4(255, 255, 255, 255),
		.sport = 68,
		.dport = 67,
		.proto = IPPROTO_UDP,
	};
	return 0;
}

static bool ask(void)
{
	uint8_t *p = exact(req, req_len);
	bool r;

	out_reset();
	r = dhcp_answer(&lan, &packet, rd_init(p, req_len), &client, &out);
	free(p);
	return r;
}

static void request(const uint8_t *opt, size_t len)
{
	memcpy(req, request_head, sizeof(request_head));
	memcpy(req + 240, opt, len);
	req_len = 240 + len;
}
#define REQUEST_WITH(...)                                                      \
	request(BYTES(__VA_ARGS__), sizeof((uint8_t[]){ __VA_ARGS__ }))

static void assert_to(struct addr to)
{
	assert_head(guest_mac, addr_v4(192, 0, 2, 2), to, IPPROTO_UDP, 67, 68);
	assert_int_equal(out.head.flow_label, 0);
}

/* The answer is @head, options @opt, and zeroes up to 300 bytes */
static void assert_reply(const uint8_t *head, const uint8_t *opt, size_t len)
{
	uint8_t want[600] = { 0 };

	memcpy(want, head, 240);
	memcpy(want + 240, opt, len);
	assert_body(want, MAX(240 + len, 300U));
}
#define ASSERT_REPLY(head, ...)                                                \
	assert_reply(head, BYTES(__VA_ARGS__),                                 \
		     sizeof((uint8_t[]){ __VA_ARGS__ }))

/* RFC 2132: code, length, value */
#define MASK    1, 4, 255, 255, 255, 0
#define ROUTER  3, 4, 192, 0, 2, 1
#define DNS     6, 4, 192, 0, 2, 53
#define HOST    12, 3, 'b', 'o', 'x'
#define DOMAIN                                                                 \
	15, 11, 'e', 'x', 'a', 'm', 'p', 'l', 'e', '.', 'o', 'r', 'g'
#define MTU     26, 2, 0xff, 0xf0
#define LEASE   51, 4, 255, 255, 255, 255
#define TYPE(t) 53, 1, t
#define SERVER  54, 4, 192, 0, 2, 2
#define RAPID   80, 0
#define WANT(d) 50, 4, 192, 0, 2, d
#define OFFER   2
#define ACK     5
#define NAK     6
/* RFC 4702: flags E, two rcodes of 255, name in wire form */
#define FQDN                                                                   \
	81, 20, 4, 255, 255, 3, 'b', 'o', 'x', 7, 'e', 'x', 'a', 'm', 'p',     \
		'l', 'e', 3, 'o', 'r', 'g', 0
/* RFC 3397 */
#define SEARCH                                                                 \
	119, 13, 7, 'e', 'x', 'a', 'm', 'p', 'l', 'e', 3, 'o', 'r', 'g', 0
#define END 255

static void discover(void **state)
{
	(void)state;
	REQUEST_WITH(TYPE(DISCOVER), END);
	assert_true(ask());
	assert_to(addr_v4(192, 0, 2, 15));
	ASSERT_REPLY(reply_head, MASK, ROUTER, MTU, LEASE, TYPE(OFFER), SERVER,
		     END);
}

/* siaddr, file, 66 and 67, of which only the former are for all */
static void boots(void **state)
{
	uint8_t head[240];

	(void)state;
	assert_true(boot_parse("a.efi", &lan.boot[0]));
	lan.boot_n = 1;
	memcpy(head, reply_head, sizeof(head));
	memcpy(head + 20, &lan.our4.b[12], 4);
	memcpy(head + 108, "a.efi", 5);
	REQUEST_WITH(TYPE(DISCOVER), 55, 2, 67, 66, 93, 2, 0, 7, END);
	assert_true(ask());
	ASSERT_REPLY(head, TYPE(OFFER), 67, 5, 'a', '.', 'e', 'f', 'i', 66, 9,
		     '1', '9', '2', '.', '0', '.', '2', '.', '2', MASK, ROUTER,
		     LEASE, SERVER, END);
	REQUEST_WITH(TYPE(DISCOVER), 55, 1, 1, END);
	assert_true(ask());
	ASSERT_REPLY(head, TYPE(OFFER), MASK, ROUTER, LEASE, SERVER, END);
}

/* EDK2: HTTPClient there and back */
static void boots_http(void **state)
{
	uint8_t head[240];

	(void)state;
	assert_true(boot_parse("efi64=http://x,192.0.2.9", &lan.boot[0]));
	lan.boot_n = 1;
	memcpy(head, reply_head, sizeof(head));
	memcpy(head + 20, BYTES(192, 0, 2, 9), 4);
	memcpy(head + 108, "http://x", 8);
	REQUEST_WITH(TYPE(DISCOVER), 55, 1, 67, 60, 10, 'H', 'T', 'T', 'P',
		     'C', 'l', 'i', 'e', 'n', 't', 93, 2, 0, 16, END);
	assert_true(ask());
	ASSERT_REPLY(head, TYPE(OFFER), 67, 8, 'h', 't', 't', 'p', ':', '/',
		     '/', 'x', MASK, ROUTER, LEASE, SERVER, 60, 10, 'H', 'T',
		     'T', 'P', 'C', 'l', 'i', 'e', 'n', 't', END);
	/* another architecture: nothing */
	REQUEST_WITH(TYPE(DISCOVER), 93, 2, 0, 19, 55, 1, 67, END);
	assert_true(ask());
	ASSERT_REPLY(reply_head, TYPE(OFFER), MASK, ROUTER, LEASE, SERVER, END);
}

static void discover_all(void **state)
{
	(void)state;
	advertise_all();
	REQUEST_WITH(TYPE(DISCOVER), END);
	assert_true(ask());
	ASSERT_REPLY(reply_head, MASK, ROUTER, DNS, HOST, DOMAIN, MTU, LEASE,
		     TYPE(OFFER), SERVER, FQDN, SEARCH, END);
	assert_int_equal(out.body.len, 240 + 93);
}

static void nothing_optional(void **state)
{
	(void)state;
	lan.mtu = 0;
	lan.dns4_n = 0;
	REQUEST_WITH(TYPE(REQUEST), END);
	assert_true(ask());
	ASSERT_REPLY(reply_head, MASK, ROUTER, LEASE, TYPE(ACK), SERVER, END);
}

static void broadcast_flag(void **state)
{
	uint8_t head[240];

	(void)state;
	memcpy(head, reply_head, 240);
	head[10] = 0x80;
	REQUEST_WITH(TYPE(DISCOVER), END);
	req[10] = 0x80;
	assert_true(ask());
	assert_to(addr_v4(255, 255, 255, 255));
	ASSERT_REPLY(head, MASK, ROUTER, MTU, LEASE, TYPE(OFFER), SERVER, END);
}

/* What libkrun's init sends, and waits 100 ms for */
static void rapid_commit(void **state)
{
	(void)state;
	REQUEST_WITH(TYPE(DISCOVER), RAPID, END);
	assert_true(ask());
	ASSERT_REPLY(reply_head, MASK, ROUTER, MTU, LEASE, TYPE(ACK), SERVER,
		     RAPID, END);
	/* it means nothing in a REQUEST */
	REQUEST_WITH(TYPE(REQUEST), RAPID, END);
	assert_true(ask());
	ASSERT_REPLY(reply_head, MASK, ROUTER, MTU, LEASE, TYPE(ACK), SERVER,
		     END);
}

static void bootp(void **state)
{
	uint8_t zero[60] = { 0 };

	(void)state;
	request(zero, sizeof(zero));
	assert_true(ask());
	ASSERT_REPLY(reply_head, MASK, ROUTER, MTU, LEASE, TYPE(ACK), SERVER,
		     END);
	/* no NAK, whatever it thinks its address is */
	req[12] = 10;
	assert_true(ask());
	assert_int_equal(out.body.buf[12], 10);
	assert_memory_equal(out.body.buf + 16, BYTES(192, 0, 2, 15), 4);
	/* and no options at all are all right as well */
	req_len = 240;
	assert_true(ask());
}

static void list_order(void **state)
{
	(void)state;
	advertise_all();
	/* without 53 in the list it comes first; unknown 200 and the second 6
	 * are passed over; what no message may lack follows */
	REQUEST_WITH(TYPE(REQUEST), 55, 7, 26, 6, 200, 6, 0, 1, 3, END);
	assert_true(ask());
	ASSERT_REPLY(reply_head, TYPE(ACK), MTU, DNS, MASK, ROUTER, LEASE,
		     SERVER, END);
	REQUEST_WITH(TYPE(REQUEST), 55, 3, 3, 53, 119, END);
	assert_true(ask());
	ASSERT_REPLY(reply_head, ROUTER, TYPE(ACK), SEARCH, MASK, LEASE, SERVER,
		     END);
	/* 255 in a list is no option of ours */
	REQUEST_WITH(TYPE(REQUEST), 55, 2, 255, 1, END);
	assert_true(ask());
	assert_memory_equal(out.body.buf + 240, BYTES(TYPE(ACK), MASK), 9);
}

/* Who lists nothing gets everything, who lists something no more than that: an
 * MTU of 65520 is an error to iPXE.  RFC 4702: a name for who sent one. */
static void not_asked_for(void **state)
{
	(void)state;
	advertise_all();
	lan.gw4 = addr_v4(198, 51, 100, 1);
	REQUEST_WITH(TYPE(DISCOVER), 55, 1, 200, END);
	assert_true(ask());
	ASSERT_REPLY(reply_head, TYPE(OFFER), MASK, 3, 4, 198, 51, 100, 1,
		     LEASE, SERVER, END);
	REQUEST_WITH(TYPE(DISCOVER), 81, 4, 0, 0, 0, 'x', 55, 1, 200, END);
	assert_true(ask());
	ASSERT_REPLY(reply_head, TYPE(OFFER), MASK, 3, 4, 198, 51, 100, 1,
		     LEASE, SERVER, FQDN, END);
	REQUEST_WITH(TYPE(DISCOVER), 55, 0, END);
	assert_true(ask());
	assert_memory_equal(out.body.buf + 240 + 12, BYTES(DNS, HOST), 11);
}

/* RFC 6842: in every answer */
#define CLIENT 61, 7, 1, GUEST_MAC

static void client_identifier(void **state)
{
	uint8_t head[240];

	(void)state;
	REQUEST_WITH(TYPE(DISCOVER), CLIENT, 55, 1, 1, END);
	assert_true(ask());
	ASSERT_REPLY(reply_head, TYPE(OFFER), MASK, ROUTER, LEASE, SERVER,
		     CLIENT, END);
	memcpy(head, reply_head, 240);
	memset(head + 16, 0, 4);
	REQUEST_WITH(TYPE(REQUEST), CLIENT, WANT(16), END);
	assert_true(ask());
	ASSERT_REPLY(head, TYPE(NAK), SERVER, CLIENT, END);
	/* the longest one still leaves room for what must be there */
	memcpy(req, request_head, sizeof(request_head));
	memcpy(req + 240, BYTES(TYPE(DISCOVER), 61, 255), 5);
	memset(req + 245, 'c', 255);
	req[500] = END;
	req_len = 501;
	longest_name(lan.hostname, 'h');
	assert_true(ask());
	assert_int_equal(out.body.len, 240 + 12 + 4 + 6 + 3 + 6 + 257 + 1);
}

/* RFC 3396: what does not fit into one option, or was cut for other reasons */
static void in_parts(void **state)
{
	unsigned i;

	(void)state;
	advertise_all();
	REQUEST_WITH(55, 2, 26, 6, TYPE(REQUEST), 61, 3, 1, 2, 3, 55, 0, 55, 2, 1,
		     3, 61, 1, 4, END);
	assert_true(ask());
	ASSERT_REPLY(reply_head, TYPE(ACK), MTU, DNS, MASK, ROUTER, LEASE,
		     SERVER, 61, 4, 1, 2, 3, 4, END);
	/* what we do not read may be of any length */
	REQUEST_WITH(END);
	req_len = 240;
	while (req_len < 240 + 6 * 257) {
		memcpy(req + req_len, BYTES(43, 255), 2);
		memset(req + req_len + 2, 'v', 255);
		req_len += 257;
	}
	memcpy(req + req_len, BYTES(TYPE(DISCOVER), END), 4);
	req_len += 4;
	assert_true(ask());
	/* what we read may not, and an identifier has to fit into answers */
	req[240] = 61;
	assert_true(ask());
	req[240 + 257] = 61;
	assert_false(ask());
	for (i = 0; i < 6; i++)
		req[240 + i * 257] = i < 4 ? 55 : 43;
	assert_true(ask());
	req[240 + 4 * 257] = 55;
	assert_false(ask());
}

static void put_in(size_t at, const uint8_t *opt, size_t len)
{
	memcpy(req + at, opt, len);
}
#define PUT_IN(at, ...)                                                        \
	put_in(at, BYTES(__VA_ARGS__), sizeof((uint8_t[]){ __VA_ARGS__ }))
enum { SNAME_AT = 44, FILE_AT = 108 };
#define OVERLOAD(n) 52, 1, n

/* RFC 2131, 4.1, RFC 2132, 9.3: options where others have names */
static void overloaded(void **state)
{
	(void)state;
	/* of the file field alone, then of both, in this order */
	REQUEST_WITH(TYPE(DISCOVER), OVERLOAD(1), 55, 1, 26, END);
	PUT_IN(SNAME_AT, 55, 1, 12, END);
	PUT_IN(FILE_AT, 0, 55, 1, 3, END);
	assert_true(ask());
	ASSERT_REPLY(reply_head, TYPE(OFFER), MTU, ROUTER, MASK, LEASE, SERVER,
		     END);
	PUT_IN(240, TYPE(DISCOVER), OVERLOAD(3), 55, 1, 1, END);
	PUT_IN(SNAME_AT, 55, 1, 26, END);
	assert_true(ask());
	ASSERT_REPLY(reply_head, TYPE(OFFER), MASK, ROUTER, MTU, LEASE, SERVER,
		     END);
	/* of sname alone; a field need not have an end */
	PUT_IN(240, OVERLOAD(2), END);
	PUT_IN(SNAME_AT, TYPE(REQUEST), WANT(15), 200, 53);
	assert_true(ask());
	ASSERT_REPLY(reply_head, MASK, ROUTER, MTU, LEASE, TYPE(ACK), SERVER,
		     END);
	/* and no option goes beyond it */
	req[SNAME_AT + 10] = 54;
	assert_false(ask());
	/* options in there are none that say so themselves */
	PUT_IN(240, TYPE(DISCOVER), OVERLOAD(1), END);
	PUT_IN(FILE_AT, OVERLOAD(3), END);
	assert_true(ask());
	/* names are names */
	PUT_IN(240, TYPE(DISCOVER), OVERLOAD(0), END);
	PUT_IN(FILE_AT, 53, 200);
	assert_true(ask());
}

/* Option 15: the first search domain, else that of the guest's name */
static void domain(void **state)
{
	(void)state;
	strcpy(lan.fqdn, "box.lab.example.");
	REQUEST_WITH(TYPE(REQUEST), 55, 2, 53, 15, END);
	assert_true(ask());
	assert_memory_equal(out.body.buf + 243, BYTES(15, 11, 'l', 'a', 'b'),
			    5);
	assert_memory_equal(out.body.buf + 243 + 13, BYTES(MASK), 6);
	strcpy(lan.search[0], ".");
	strcpy(lan.search[1], "ab.");
	strcpy(lan.search[2], "cd");
	lan.search_n = 3;
	assert_true(ask());
	assert_memory_equal(out.body.buf + 243, BYTES(15, 2, 'a', 'b', MASK),
			    10);
	lan.search_n = 0;
	strcpy(lan.fqdn, "box");
	assert_true(ask());
	assert_memory_equal(out.body.buf + 243, BYTES(MASK), 6);
}

/* RFC 3442: a gateway outside the subnet needs a route of its own */
#define ROUTES 121, 14, 32, 198, 51, 100, 1, 0, 0, 0, 0, 0, 198, 51, 100, 1

static void classless_routes(void **state)
{
	(void)state;
	lan.gw4 = addr_v4(198, 51, 100, 1);
	REQUEST_WITH(TYPE(REQUEST), END);
	assert_true(ask());
	ASSERT_REPLY(reply_head, MASK, 3, 4, 198, 51, 100, 1, MTU, LEASE,
		     TYPE(ACK), SERVER, ROUTES, END);
	/* everything is inside of /0, and shifting by 32 is not defined */
	lan.prefix4 = 0;
	assert_true(ask());
	ASSERT_REPLY(reply_head, 1, 4, 0, 0, 0, 0, 3, 4, 198, 51, 100, 1, MTU,
		     LEASE, TYPE(ACK), SERVER, END);
	lan.prefix4 = 32;
	assert_true(ask());
	ASSERT_REPLY(reply_head, 1, 4, 255, 255, 255, 255, 3, 4, 198, 51, 100,
		     1, MTU, LEASE, TYPE(ACK), SERVER, ROUTES, END);
	lan.prefix4 = 1;
	assert_true(ask());
	assert_memory_equal(out.body.buf + 240, BYTES(1, 4, 128, 0, 0, 0), 6);
}

/* A day, to be renewed after 120 s */
static void leased(void **state)
{
	(void)state;
	lan.leases = true;
	REQUEST_WITH(TYPE(DISCOVER), 55, 2, 51, 58, END);
	assert_true(ask());
	assert_memory_equal(out.body.buf + 240,
			    BYTES(TYPE(OFFER), 51, 4, 0, 1, 0x51, 0x80, 58, 4,
				  0, 0, 0, 120), 15);
}

/* RFC 2131, 4.3.2 */
static void selecting(void **state)
{
	(void)state;
	REQUEST_WITH(TYPE(REQUEST), SERVER, WANT(15), END);
	assert_true(ask());
	assert_int_equal(out.body.buf[240 + 6 + 6 + 4 + 6 + 2], ACK);
	/* someone else's offer was taken */
	REQUEST_WITH(TYPE(REQUEST), 54, 4, 192, 0, 2, 9, WANT(15), END);
	assert_false(ask());
	REQUEST_WITH(TYPE(REQUEST), 54, 4, 192, 0, 2, 9, WANT(16), END);
	assert_false(ask());
}

static void refused(void **state)
{
	uint8_t head[240];

	(void)state;
	memcpy(head, reply_head, 240);
	memset(head + 16, 0, 4); /* no address in a NAK: table 3 */
	/* SELECTING */
	REQUEST_WITH(TYPE(REQUEST), SERVER, WANT(16), END);
	assert_true(ask());
	assert_to(addr_v4(255, 255, 255, 255));
	ASSERT_REPLY(head, TYPE(NAK), SERVER, END);
	/* INIT-REBOOT */
	REQUEST_WITH(TYPE(REQUEST), WANT(16), END);
	assert_true(ask());
	ASSERT_REPLY(head, TYPE(NAK), SERVER, END);
	/* RENEWING: ciaddr is not repeated */
	REQUEST_WITH(TYPE(REQUEST), 55, 2, 54, 1, END);
	memcpy(req + 12, BYTES(192, 0, 2, 16), 4);
	assert_true(ask());
	assert_to(addr_v4(255, 255, 255, 255));
	ASSERT_REPLY(head, TYPE(NAK), SERVER, END);
}

static void init_reboot(void **state)
{
	(void)state;
	REQUEST_WITH(TYPE(REQUEST), WANT(15), END);
	assert_true(ask());
	ASSERT_REPLY(reply_head, MASK, ROUTER, MTU, LEASE, TYPE(ACK), SERVER,
		     END);
}

static void renewing(void **state)
{
	uint8_t head[240];

	(void)state;
	memcpy(head, reply_head, 240);
	memcpy(head + 12, BYTES(192, 0, 2, 15), 4);
	REQUEST_WITH(TYPE(REQUEST), END);
	memcpy(req + 12, BYTES(192, 0, 2, 15), 4);
	assert_true(ask());
	assert_to(addr_v4(192, 0, 2, 15));
	ASSERT_REPLY(head, MASK, ROUTER, MTU, LEASE, TYPE(ACK), SERVER, END);
}

/* Who listens at its address alone hears a refusal, too */
static void refused_while_renewing(void **state)
{
	(void)state;
	REQUEST_WITH(TYPE(REQUEST), END);
	memcpy(req + 12, BYTES(192, 0, 2, 16), 4);
	packet.t.src = addr_v4(192, 0, 2, 16);
	packet.t.dst = addr_v4(192, 0, 2, 2);
	assert_true(ask());
	assert_to(packet.t.src);
	assert_memory_equal(out.body.buf + 240, BYTES(TYPE(NAK)), 3);
	packet.t.dst = addr_v4(255, 255, 255, 255); /* REBINDING */
	assert_true(ask());
	assert_to(addr_v4(255, 255, 255, 255));
	packet.t.dst = addr_v4(192, 0, 2, 2);
	packet.t.src = addr_v4(192, 0, 2, 17);
	assert_true(ask());
	assert_to(addr_v4(255, 255, 255, 255));
}

/* --- who can be called: RFC 3203, RFC 6704 ---------------------------------- */

#define NONCE     145, 2, 7, 1 /* any, and HMAC-MD5 */
#define NONCE_NOT 145, 2, 7, 2
#define AUTH_HEAD 90, 28, 3, 1, 0

/* Option 90 of the answer, or NULL */
static const uint8_t *auth(void)
{
	size_t at = 240;

	while (at < out.body.len && out.body.buf[at] != END) {
		if (out.body.buf[at] == 90)
			return out.body.buf + at;
		at += 2U + out.body.buf[at + 1];
	}
	return NULL;
}

static uint64_t assert_auth(uint8_t type)
{
	const uint8_t *a = auth();

	assert_non_null(a);
	assert_memory_equal(a, BYTES(AUTH_HEAD), 5);
	assert_int_equal(a[13], type);
	return ld_be64(a + 5);
}

/* A lease with a key, which goes to @key */
static uint64_t lease_with_key(uint8_t key[16])
{
	REQUEST_WITH(TYPE(REQUEST), NONCE, WANT(15), 55, 2, 1, 3, END);
	assert_true(ask());
	memcpy(key, auth() + 14, 16);
	return assert_auth(1);
}

static bool call(void)
{
	out_reset();
	return dhcp_call(&lan, &client, &out);
}

static void called(void **state)
{
	uint8_t head[240] = { 2, 1, 6, 0, 0xde, 0xad, 0xbe, 0xef,
			      [12] = 192, 0, 2, 15, [28] = GUEST_MAC,
			      [236] = COOKIE };
	uint8_t key[16], other[16], digest[16], want[16], *a;
	uint64_t count, later;

	(void)state;
	count = lease_with_key(key);
	assert_true(client.on);
	assert_false(call()); /* no news */
	lan.guest4 = addr_v4(198, 51, 100, 15);
	lan.our4 = lan.gw4 = addr_v4(198, 51, 100, 1);
	assert_true(call());
	assert_to(addr_v4(192, 0, 2, 15));
	later = assert_auth(2);
	assert_true(later > count);
	assert_memory_equal(out.body.buf, head, 240);
	assert_memory_equal(out.body.buf + 240,
			    BYTES(TYPE(9), SERVER, AUTH_HEAD), 3 + 6 + 5);
	assert_int_equal(out.body.len, 300);
	a = out.body.buf + 240 + 3 + 6;
	assert_int_equal(a[30], END);
	memcpy(digest, a + 14, 16);
	memset(a + 14, 0, 16);
	md5_hmac(key, 16, out.body.buf, out.body.len, want);
	assert_memory_equal(digest, want, 16);
	assert_true(call()); /* once more, as something else */
	assert_true(assert_auth(2) > later);
	assert_memory_not_equal(auth() + 14, digest, 16);

	/* It does, is refused, and begins anew with another key */
	REQUEST_WITH(TYPE(REQUEST), NONCE, END);
	memcpy(req + 12, BYTES(192, 0, 2, 15), 4);
	assert_true(ask());
	assert_null(auth());
	assert_memory_equal(out.body.buf + 240, BYTES(TYPE(NAK)), 3);
	assert_false(call());
	REQUEST_WITH(TYPE(REQUEST), NONCE, CLIENT, END);
	assert_true(ask());
	assert_true(assert_auth(1) > later);
	memcpy(other, auth() + 14, 16);
	assert_memory_not_equal(key, other, 16);
	lan.mtu = 1500;
	assert_true(call());
	assert_memory_equal(out.body.buf + 249, BYTES(CLIENT, AUTH_HEAD), 14);
}

/* It keeps its key while it renews; what it does not ask for is no news to it */
static void called_for_news(void **state)
{
	uint8_t key[16];

	(void)state;
	lease_with_key(key);
	advertise_all();
	lan.mtu = 1400;
	assert_false(call());
	lan.prefix4 = 25;
	assert_true(call());
	REQUEST_WITH(TYPE(REQUEST), NONCE, 55, 2, 1, 6, END);
	memcpy(req + 12, BYTES(192, 0, 2, 15), 4);
	assert_true(ask());
	assert_null(auth());
	assert_memory_equal(client.key, key, 16);
	assert_false(call());
	lan.dns4[0] = addr_v4(192, 0, 2, 54);
	assert_true(call());
	lan.v4 = false;
	assert_false(call());
}

static void not_called(void **state)
{
	static const uint8_t last[] = { DECLINE, RELEASE };
	uint8_t key[16];
	unsigned i;

	(void)state;
	/* An offer says that we can, and gives no key; without a lease no key */
	REQUEST_WITH(TYPE(DISCOVER), NONCE, 55, 1, 1, END);
	assert_true(ask());
	assert_null(auth());
	assert_non_null(memmem(out.body.buf + 240, 60, BYTES(145, 1, 1), 3));
	REQUEST_WITH(TYPE(INFORM), NONCE, END);
	assert_true(ask());
	assert_null(auth());
	REQUEST_WITH(TYPE(REQUEST), NONCE_NOT, END);
	assert_true(ask());
	assert_null(auth());
	assert_false(client.on);
	/* at once */
	REQUEST_WITH(TYPE(DISCOVER), NONCE, RAPID, END);
	assert_true(ask());
	assert_auth(1);
	assert_true(client.on);
	/* another firmware of the same machine, which does not know of it */
	REQUEST_WITH(TYPE(REQUEST), END);
	assert_true(ask());
	assert_null(auth());
	assert_false(client.on);
	for (i = 0; i < sizeof(last); i++) {
		lease_with_key(key);
		REQUEST_WITH(TYPE(last[i]), END);
		req[33]++; /* another client */
		assert_false(ask());
		assert_true(client.on);
		req[33]--;
		assert_false(ask());
		assert_false(client.on);
	}
	/* more than is kept */
	lease_with_key(key);
	memcpy(req + req_len, BYTES(61, 3, 1, 2, 3), 5);
	req_len = RKAP_REQUEST + 1;
	assert_true(ask());
	assert_null(auth());
	assert_false(client.on);
	req_len--;
	assert_true(ask());
	assert_auth(1);
	/* nobody to keep it for */
	out_reset();
	assert_true(dhcp_answer(&lan, &packet, rd_init(req, req_len), NULL,
				&out));
	assert_null(auth());
}

/* By a successor */
static void called_later(void **state)
{
	uint8_t key[16], room[2048];
	struct wr w = wr_init(room, sizeof(room));
	uint64_t count;
	size_t n;

	(void)state;
	count = lease_with_key(key);
	client.count = count + (1ULL << 60); /* its clock was wrong */
	rkap_save(&client, &w);
	for (n = 0; n < w.len; n++) {
		struct rd part = rd_init(room, n);

		rkap_load(&client, &part);
		assert_false(client.on);
	}
	memset(&client, 0xa5, sizeof(client));
	rkap_load(&client, &(struct rd){ room, room + w.len, false });
	assert_false(call());
	lan.prefix4 = 25;
	assert_true(call());
	assert_int_equal(assert_auth(2), count + (1ULL << 60) + 1);
	client.on = false;
	w.len = 0;
	rkap_save(&client, &w);
	assert_int_equal(w.len, 1);
	client.on = true;
	rkap_load(&client, &(struct rd){ room, room + w.len, false });
	assert_false(client.on);
	memset(room, 0xff, sizeof(room)); /* a request of 65535 bytes */
	rkap_load(&client, &(struct rd){ room, room + sizeof(room), false });
	assert_false(client.on);
}

/* RFC 2131, 4.3.5: to ciaddr, without address and lease */
static void inform(void **state)
{
	uint8_t head[240];

	(void)state;
	memcpy(head, reply_head, 240);
	memcpy(head + 12, BYTES(192, 0, 2, 40), 4);
	memset(head + 16, 0, 4);
	REQUEST_WITH(TYPE(INFORM), END);
	memcpy(req + 12, BYTES(192, 0, 2, 40), 4);
	assert_true(ask());
	assert_to(addr_v4(192, 0, 2, 40));
	ASSERT_REPLY(head, MASK, ROUTER, MTU, TYPE(ACK), SERVER, END);

	/* who left it out is where the packet came from */
	memset(req + 12, 0, 4);
	packet.t.src = addr_v4(192, 0, 2, 41);
	assert_true(ask());
	assert_to(addr_v4(192, 0, 2, 41));
	packet.t.src = addr_v4(0, 0, 0, 0);
	assert_true(ask());
	assert_to(addr_v4(255, 255, 255, 255));
}

/* 548 bytes are all that every client takes: RFC 2131, 2 */
static void too_much(void **state)
{
	static const uint8_t tail[] = { MTU, LEASE, TYPE(ACK), SERVER, END };

	(void)state;
	longest_name(lan.hostname, 'h');  /* 255 bytes with code and length */
	longest_name(lan.search[0], 's'); /* 257 */
	longest_name(lan.fqdn, 'f');      /* 260 > 257: never */
	lan.search_n = 1;
	REQUEST_WITH(TYPE(REQUEST), END);
	assert_true(ask());
	/* mask, router, host name, MTU ... and no room for the search list */
	assert_int_equal(out.body.len, 240 + 6 + 6 + 255 + sizeof(tail));
	assert_memory_equal(out.body.buf + 252, BYTES(12, 253, 'h'), 3);
	assert_memory_equal(out.body.buf + 240 + 12 + 255, tail, sizeof(tail));

	/* the other way round if the client likes it so */
	REQUEST_WITH(TYPE(REQUEST), 55, 3, 119, 12, 26, END);
	assert_true(ask());
	assert_memory_equal(out.body.buf + 240,
			    BYTES(TYPE(ACK), 119, 255, 63, 's'), 7);
	/* no room for the host name */
	assert_int_equal(out.body.len, 240 + 257 + 6 + 6 + sizeof(tail));
}

/* However much the client likes other options better */
static void never_left_out(void **state)
{
	(void)state;
	lan.dns4_n = LAN_DNS;
	lan.gw4 = addr_v4(198, 51, 100, 1);
	longest_name(lan.hostname, 'h');
	REQUEST_WITH(TYPE(REQUEST), 55, 8, 12, 121, 6, 1, 3, 26, 51, 53, END);
	assert_true(ask());
	/* 255 + 16 + 14 + 6 = 291, and 15 are kept: no router, no MTU */
	assert_int_equal(out.body.len, 240 + 291 + 15 + 1);
	assert_memory_equal(out.body.buf + 240 + 291,
			    BYTES(LEASE, TYPE(ACK), SERVER, END), 16);
}

/* No more than the link carries */
static void mtu_of_link(void **state)
{
	size_t max = 14 + 2022;

	(void)state;
	lan.frame_max = &max;
	REQUEST_WITH(TYPE(REQUEST), END);
	assert_true(ask());
	assert_non_null(memmem(out.body.buf, out.body.len,
			       BYTES(26, 2, 0x7, 0xe6), 4));
	max = 10;
	assert_true(ask());
	assert_null(memmem(out.body.buf, out.body.len, BYTES(26, 2), 2));
}

/* 307 bytes of options and their end fit exactly, 308 do not */
static void exact_fit(void **state)
{
	(void)state;
	lan.dns4_n = LAN_DNS;
	memset(lan.hostname, 'h', 253);
	lan.mtu = 0;
	lan.gw4 = addr_v4(198, 51, 100, 1);
	REQUEST_WITH(TYPE(REQUEST), END);
	/* mask 6, router 6, DNS 14, lease 6, type 3, server 6, routes 16 */
	lan.hostname[307 - 57 - 2] = 0;
	assert_true(ask());
	assert_int_equal(out.body.len, 548);
	assert_int_equal(out.body.buf[547], END);
	assert_int_equal(out.body.buf[531], 121);
	/* one more, and the last one is left out */
	lan.hostname[307 - 57 - 2] = 'h';
	lan.hostname[307 - 57 - 1] = 0;
	assert_true(ask());
	assert_int_equal(out.body.len, 548 + 1 - 16);
	assert_int_equal(out.body.buf[532], END);
}

static void search_packed(void **state)
{
	(void)state;
	strcpy(lan.search[0], "a.bc");
	strcpy(lan.search[1], "d.bc.");
	strcpy(lan.search[2], "..");
	lan.search_n = 3;
	REQUEST_WITH(TYPE(REQUEST), 55, 2, 53, 119, END);
	assert_true(ask());
	/* offsets count within the option's value */
	assert_memory_equal(out.body.buf + 240,
			    BYTES(TYPE(ACK), 119, 10, 1, 'a', 2, 'b', 'c', 0, 1,
				  'd', 0xc0, 2, MASK),
			    3 + 12 + 6);
}

static void silent(void **state)
{
	static const uint8_t types[] = { 0,       2, DECLINE, 5,  6,
					 RELEASE, 9, 13,      255 };
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(types); i++) {
		REQUEST_WITH(TYPE(types[i]), END);
		assert_false(ask());
	}
}

/* By a relay in the guest, from a network of its own: its address is not for
 * others, nor is a refusal, and who has the key is not forgotten for them */
static void relayed(void **state)
{
	static const uint8_t types[] = { 1, 3, 8 };
	unsigned i;

	(void)state;
	for (i = 0; i < sizeof(types); i++) {
		uint8_t opt[] = { 53, 1, types[i], 50, 4, 198, 51, 100, 9 };

		request(opt, types[i] == 3 ? sizeof(opt) : 3);
		memcpy(req + 24, (uint8_t[]){ 198, 51, 100, 7 }, 4);
		assert_false(ask());
	}
}

static void malformed(void **state)
{
	size_t n;

	(void)state;
	REQUEST_WITH(TYPE(DISCOVER), 61, 3, 1, 2, 3, END);
	assert_true(ask());
	for (n = 0; n < 240; n++) {
		req_len = n;
		assert_false(ask());
	}
	/* cut in the type, and in the client's identifier; else all is there */
	for (n = 240; n <= 249; n++) {
		req_len = n;
		assert_int_equal(ask(), n == 240 || n == 243 || n >= 248);
	}
	req[0] = 2; /* a reply */
	assert_false(ask());
	req[0] = 1;
	req[2] = 17; /* chaddr has 16 bytes */
	assert_false(ask());
	req[2] = 16;
	assert_true(ask());

	/* pads, and garbage behind the end */
	REQUEST_WITH(0, 0, TYPE(DISCOVER), 0, END, 53, 200);
	assert_true(ask());
	/* options that are too short for what they are */
	REQUEST_WITH(53, 0, END);
	assert_false(ask());
	REQUEST_WITH(TYPE(REQUEST), 50, 3, 192, 0, 2, END);
	assert_false(ask());
	REQUEST_WITH(TYPE(REQUEST), 54, 0, END);
	assert_false(ask());
	/* a list of nothing */
	REQUEST_WITH(TYPE(REQUEST), 55, 0, END);
	assert_true(ask());
}

static void disabled(void **state)
{
	struct lan good;

	(void)state;
	REQUEST_WITH(TYPE(DISCOVER), END);
	good = lan;
	lan.v4 = false;
	assert_false(ask());
	lan = good;
	lan.guest4 = (struct addr){ 0 };
	assert_false(ask());
	lan = good;
	lan.gw4 = (struct addr){ 0 };
	assert_false(ask());
	lan = good;
	lan.our4 = (struct addr){ 0 };
	assert_false(ask());
	lan = good;
	assert_true(ask());
	out_reset();
	out.body.cap = 280;
	assert_false(dhcp_answer(&lan, &packet, rd_init(req, req_len),
				 &client, &out));
	out_reset();
	out.body.cap = 100;
	assert_false(dhcp_answer(&lan, &packet, rd_init(req, req_len),
				 &client, &out));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(discover, start),
		cmocka_unit_test_setup(discover_all, start),
		cmocka_unit_test_setup(nothing_optional, start),
		cmocka_unit_test_setup(broadcast_flag, start),
		cmocka_unit_test_setup(rapid_commit, start),
		cmocka_unit_test_setup(bootp, start),
		cmocka_unit_test_setup(list_order, start),
		cmocka_unit_test_setup(not_asked_for, start),
		cmocka_unit_test_setup(client_identifier, start),
		cmocka_unit_test_setup(in_parts, start),
		cmocka_unit_test_setup(overloaded, start),
		cmocka_unit_test_setup(domain, start),
		cmocka_unit_test_setup(classless_routes, start),
		cmocka_unit_test_setup(leased, start),
		cmocka_unit_test_setup(selecting, start),
		cmocka_unit_test_setup(refused, start),
		cmocka_unit_test_setup(init_reboot, start),
		cmocka_unit_test_setup(renewing, start),
		cmocka_unit_test_setup(refused_while_renewing, start),
		cmocka_unit_test_setup(called, start),
		cmocka_unit_test_setup(called_for_news, start),
		cmocka_unit_test_setup(not_called, start),
		cmocka_unit_test_setup(called_later, start),
		cmocka_unit_test_setup(inform, start),
		cmocka_unit_test_setup(too_much, start),
		cmocka_unit_test_setup(never_left_out, start),
		cmocka_unit_test_setup(mtu_of_link, start),
		cmocka_unit_test_setup(exact_fit, start),
		cmocka_unit_test_setup(boots, start),
		cmocka_unit_test_setup(boots_http, start),
		cmocka_unit_test_setup(search_packed, start),
		cmocka_unit_test_setup(silent, start),
		cmocka_unit_test_setup(relayed, start),
		cmocka_unit_test_setup(malformed, start),
		cmocka_unit_test_setup(disabled, start),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
