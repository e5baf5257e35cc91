/* SPDX-License-Identifier: GPL-2.0-or-later */
/* unit: addr util log neigh */
#include "arp.h"
#include "answer.h"

/* RFC 826: hardware Ethernet 1, protocol 0x0800, lengths 6 and 4 */
#define ARP(op) 0, 1, 8, 0, 6, 4, 0, op
enum { AT_HRD = 1, AT_PRO = 3, AT_HLN = 4, AT_PLN = 5, AT_OP = 7 };

static struct neigh neigh;

static bool ask(const uint8_t *req, size_t len)
{
	uint8_t *p = exact(req, len);
	bool r;

	out_reset();
	r = arp_answer(&lan, &neigh, &packet, rd_init(p, len), &out);
	free(p);
	return r;
}

static int start(void **state)
{
	memset(&neigh, 0, sizeof(neigh));
	return setup(state);
}

/* The guest, 192.0.2.15, asks for 192.0.2.@last */
#define REQUEST(last)                                                          \
	ARP(1), GUEST_MAC, 192, 0, 2, 15, 0, 0, 0, 0, 0, 0, 192, 0, 2, last

static void assert_arp_head(struct mac src, struct mac dst)
{
	assert_true(out.arp);
	assert_true(mac_equal(&out.head.src, &src));
	assert_true(mac_equal(&out.head.dst, &dst));
}

static void reply(void **state)
{
	(void)state;
	assert_true(ask(BYTES(REQUEST(77)), ARP_BODY));
	assert_arp_head(our_mac, guest_mac);
	assert_body(
		BYTES(ARP(2), OUR_MAC, 192, 0, 2, 77, GUEST_MAC, 192, 0, 2, 15),
		ARP_BODY);
}

/* Ethernet padding to 60 bytes comes with the body: 18 bytes */
static void reply_padded(void **state)
{
	uint8_t req[46] = { REQUEST(1) };

	(void)state;
	assert_true(ask(req, sizeof(req)));
	assert_int_equal(out.body.len, ARP_BODY);
}

static void neighbour_mac(void **state)
{
	struct addr a = addr_v4(192, 0, 2, 77);

	(void)state;
	assert_true(
		neigh_set(&neigh, &a, &(struct mac){ { NEIGH_MAC } }, false));
	assert_true(ask(BYTES(REQUEST(77)), ARP_BODY));
	assert_memory_equal(out.body.buf + 8, BYTES(NEIGH_MAC), 6);
	/* the frame itself is from us */
	assert_arp_head(our_mac, guest_mac);
	assert_true(ask(BYTES(REQUEST(78)), ARP_BODY));
	assert_memory_equal(out.body.buf + 8, BYTES(OUR_MAC), 6);
}

static void gateway_mac(void **state)
{
	(void)state;
	assert_true(neigh_set(&neigh, &lan.gw4, &(struct mac){ { NEIGH_MAC } },
			      false));
	assert_true(ask(BYTES(REQUEST(78)), ARP_BODY));
	assert_memory_equal(out.body.buf + 8, BYTES(NEIGH_MAC), 6);
}

/* qrap(1) asks with zeroes everywhere and waits for any answer */
static void qrap_probe(void **state)
{
	(void)state;
	assert_true(ask(BYTES(ARP(1), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
			      0, 0, 0, 0, 0, 0),
			ARP_BODY));
	assert_body(BYTES(ARP(2), OUR_MAC, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
			  0, 0),
		    ARP_BODY);
}

/* RFC 5227: sender 0.0.0.0 */
#define PROBE(last)                                                            \
	ARP(1), GUEST_MAC, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 192, 0, 2, last

/* Answered for what would collide, not for what the guest may take */
static void probe(void **state)
{
	struct addr a = addr_v4(192, 0, 2, 77);
	struct mac m = { { NEIGH_MAC } };

	(void)state;
	lan.dns4[0] = addr_v4(192, 0, 2, 53);
	lan.dns4_n = 1;
	assert_false(ask(BYTES(PROBE(15)), ARP_BODY));
	assert_false(ask(BYTES(PROBE(77)), ARP_BODY));
	assert_false(ask(BYTES(PROBE(16)), ARP_BODY));
	assert_true(ask(BYTES(PROBE(1)), ARP_BODY)); /* gateway */
	assert_body(BYTES(ARP(2), OUR_MAC, 192, 0, 2, 1, GUEST_MAC, 0, 0, 0, 0),
		    ARP_BODY);
	assert_true(ask(BYTES(PROBE(2)), ARP_BODY)); /* ours */
	assert_true(ask(BYTES(PROBE(53)), ARP_BODY)); /* resolver */
	assert_true(neigh_set(&neigh, &a, &m, false));
	assert_true(ask(BYTES(PROBE(77)), ARP_BODY));
	assert_memory_equal(out.body.buf + 8, BYTES(NEIGH_MAC), 6);
	/* what the guest was given is its own, whoever had it */
	lan.guest4 = a;
	assert_false(ask(BYTES(PROBE(77)), ARP_BODY));
	/* a question about 0.0.0.0 is no question */
	assert_false(ask(BYTES(ARP(1), GUEST_MAC, 192, 0, 2, 15, 0, 0, 0, 0, 0,
			       0, 0, 0, 0, 0),
			 ARP_BODY));
}

static void own_address(void **state)
{
	(void)state;
	assert_false(ask(BYTES(REQUEST(15)), ARP_BODY));
	lan.guest4 = addr_v4(192, 0, 2, 16);
	assert_false(ask(BYTES(REQUEST(16)), ARP_BODY));
	lan.guest4 = (struct addr){ 0 };
	assert_true(ask(BYTES(REQUEST(16)), ARP_BODY));
}

static void announcement(void **state)
{
	static const uint8_t req[] = {
		ARP(1), GUEST_MAC, 192, 0, 2,   99, 0, 0,
		0,      0,         0,   0, 192, 0,  2, 99
	};

	(void)state;
	assert_false(ask(req, sizeof(req)));
}

static void foreign_formats(void **state)
{
	static const struct {
		size_t at;
		uint8_t v;
	} bad[] = {
		{ AT_HRD - 1, 1 }, { AT_HRD, 6 },    { AT_PRO - 1, 0x86 },
		{ AT_PRO, 6 },     { AT_HLN, 8 },    { AT_PLN, 16 },
		{ AT_OP, 2 },      { AT_OP - 1, 1 }, { AT_OP, 0 },
	};
	uint8_t req[] = { REQUEST(1) };
	size_t i, n;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		uint8_t good = req[bad[i].at];

		req[bad[i].at] = bad[i].v;
		assert_false(ask(req, sizeof(req)));
		req[bad[i].at] = good;
	}
	for (n = 0; n < sizeof(req); n++)
		assert_false(ask(req, n));
	assert_true(ask(req, sizeof(req)));
	lan.v4 = false;
	assert_false(ask(req, sizeof(req)));
}

static void ask_guest(void **state)
{
	struct seen seen = { .v4 = addr_v4(192, 0, 2, 33) };

	(void)state;
	out_reset();
	assert_true(arp_ask(&lan, &seen, &out));
	assert_arp_head(our_mac, everyone_mac);
	assert_body(BYTES(ARP(1), OUR_MAC, 192, 0, 2, 2, 255, 255, 255, 255,
			  255, 255, 192, 0, 2, 33),
		    ARP_BODY);

	seen.v4 = (struct addr){ 0 };
	out_reset();
	assert_true(arp_ask(&lan, &seen, &out));
	assert_memory_equal(out.body.buf + 24, BYTES(192, 0, 2, 15), 4);

	lan.guest4 = (struct addr){ 0 };
	assert_false(arp_ask(&lan, &seen, &out));
	seen.v4 = addr_v4(192, 0, 2, 33);
	lan.v4 = false;
	assert_false(arp_ask(&lan, &seen, &out));
}

static void announce(void **state)
{
	struct addr a = addr_v4(192, 0, 2, 77);
	struct mac m = { { NEIGH_MAC } };

	(void)state;
	out_reset();
	assert_true(arp_announce(&a, &m, &out));
	assert_arp_head(m, everyone_mac);
	assert_body(BYTES(ARP(1), NEIGH_MAC, 192, 0, 2, 77, 0, 0, 0, 0, 0, 0,
			  192, 0, 2, 77),
		    ARP_BODY);
	assert_false(arp_announce(&lan.guest6, &m, &out));
}

static void no_room(void **state)
{
	uint8_t req[] = { REQUEST(1) };

	(void)state;
	out_reset();
	out.body.cap = ARP_BODY - 1;
	assert_false(arp_answer(&lan, &neigh, &packet, rd_init(req, ARP_BODY),
				&out));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(reply, start),
		cmocka_unit_test_setup(reply_padded, start),
		cmocka_unit_test_setup(neighbour_mac, start),
		cmocka_unit_test_setup(gateway_mac, start),
		cmocka_unit_test_setup(qrap_probe, start),
		cmocka_unit_test_setup(probe, start),
		cmocka_unit_test_setup(own_address, start),
		cmocka_unit_test_setup(announcement, start),
		cmocka_unit_test_setup(foreign_formats, start),
		cmocka_unit_test_setup(ask_guest, start),
		cmocka_unit_test_setup(announce, start),
		cmocka_unit_test_setup(no_room, start),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
