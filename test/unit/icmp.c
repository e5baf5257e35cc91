/* SPDX-License-Identifier: GPL-2.0-or-later */
/* unit: emit flow egress fwd dnsanswer rules sock neigh tap pcap loop timer segment packet checksum iov addrset addr util log */
#include "icmp.h"
#include "emit.h"

#include "toy.h"

static int setup(void **state)
{
	enter_netns(state);
	sock_init(&env);
	return 0;
}

static int fresh(void **state)
{
	(void)state;
	toy_start();
	return 0;
}

/* --- errors ------------------------------------------------------------- */

static uint8_t room[ANSWER_MAX];
static struct answer out;

static struct tuple tuple(const char *src, uint16_t sport, const char *dst,
			  uint16_t dport, uint8_t proto)
{
	return (struct tuple){ .src = toy_addr(src), .dst = toy_addr(dst),
			       .sport = sport, .dport = dport,
			       .proto = proto };
}

static bool error(const struct tuple *t, uint32_t seq,
		  const struct sock_error *e, const char *from)
{
	struct addr a = toy_addr(from);

	out = (struct answer){ .body = wr_init(room, sizeof(room)) };
	return icmp_error(&lan, &seen, t, seq, e, &a, &out);
}

static struct sock_error about(int err, uint8_t type, uint8_t code, size_t len)
{
	struct sock_error e = { .err = err, .icmp = true, .type = type,
				.code = code, .len = len };
	size_t i;

	for (i = 0; i < len; i++)
		e.payload[i] = (uint8_t)i;
	return e;
}

static void port_unreachable(void **state)
{
	static const uint8_t want[] = {
		3, 3, 0, 0, 0, 0, 0, 0,
		/* IPv4: 20 + 8 + 5, DF, TTL 255, UDP, sum */
		0x45, 0, 0, 33, 0, 0, 0x40, 0, 255, 17, 0x4b, 0x47,
		192, 0, 2, 15, 198, 51, 100, 7,
		/* UDP */
		0x13, 0x88, 0, 53, 0, 13, 0, 0,
		0, 1, 2, 3, 4,
	};
	struct tuple t = tuple("192.0.2.15", 5000, "198.51.100.7", 53, 17);
	struct sock_error e = about(ECONNREFUSED, 3, 3, 5);

	(void)state;
	assert_true(error(&t, 0, &e, "198.51.100.7"));
	assert_int_equal(out.body.len, sizeof(want));
	/* All but the quoted header's sum, which is summed here */
	assert_memory_equal(room, want, 18);
	assert_memory_equal(room + 20, want + 20, sizeof(want) - 20);
	assert_int_equal(csum_finish(csum_add(0, room + 8, 20)), 0);
	assert_int_equal(out.head.t.proto, IPPROTO_ICMP);
	assert_true(addr_equal(&out.head.t.src, &t.dst));
	assert_true(addr_equal(&out.head.t.dst, &t.src));
	assert_true(mac_equal(&out.head.src, &lan.mac));
	assert_true(mac_equal(&out.head.dst, &seen.mac));
}

static void time_exceeded_quotes_tcp(void **state)
{
	static const uint8_t want[] = {
		3, 0, 0, 0, 0, 0, 0, 0,
		0x60, 0, 0, 0, 0, 20, 6, 255,
		0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x15,
		0x20, 1, 0xd, 0xb8, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1,
		0x80, 0, 1, 0xbb, 0x12, 0x34, 0x56, 0x78, 0, 0, 0, 0,
		0x50, 0, 0, 0, 0, 0, 0, 0,
	};
	struct tuple t = tuple("2001:db8::15", 32768, "2001:db8:1::1", 443, 6);
	struct sock_error e = about(EHOSTUNREACH, 3, 0, 0);

	(void)state;
	assert_true(error(&t, 0x12345678, &e, "2001:db8:2::2"));
	assert_int_equal(out.body.len, sizeof(want));
	assert_memory_equal(room, want, sizeof(want));
	assert_int_equal(out.head.t.proto, IPPROTO_ICMPV6);
}

static void echo_is_quoted(void **state)
{
	static const uint8_t want[] = { 8, 0, 0, 0, 0x12, 0x67, 0, 9, 0, 1 };
	struct tuple t = tuple("192.0.2.15", 0x1267, "198.51.100.7", 0x1267,
			       1);
	struct sock_error e = about(EHOSTUNREACH, 11, 0, 2);

	(void)state;
	assert_true(error(&t, 9, &e, "198.51.100.1"));
	assert_int_equal(out.body.len, 28 + sizeof(want));
	assert_memory_equal(room + 28, want, sizeof(want));
	assert_int_equal(ld_be16(room + 10), 20 + sizeof(want));
}

static void mtu_is_told(void **state)
{
	struct tuple t4 = tuple("192.0.2.15", 1, "198.51.100.7", 2, 17);
	struct tuple t6 = tuple("2001:db8::15", 1, "2001:db8:1::1", 2, 17);
	struct sock_error e = about(EMSGSIZE, 3, 4, 0);

	(void)state;
	e.mtu = 1400;
	assert_true(error(&t4, 0, &e, "198.51.100.7"));
	assert_int_equal(ld_be32(room + 4), 1400);
	e.mtu = 100000; /* what does not fit is as much as fits */
	assert_true(error(&t4, 0, &e, "198.51.100.7"));
	assert_int_equal(ld_be32(room + 4), 65535);
	e.type = 2;
	e.code = 0;
	assert_true(error(&t6, 0, &e, "2001:db8:1::1"));
	assert_int_equal(ld_be32(room + 4), 100000);
	/* Nobody else has a word there */
	e.type = 1;
	assert_true(error(&t6, 0, &e, "2001:db8:1::1"));
	assert_int_equal(ld_be32(room + 4), 0);
}

static void length_is_limited(void **state)
{
	struct tuple t4 = tuple("192.0.2.15", 1, "198.51.100.7", 2, 17);
	struct tuple t6 = tuple("2001:db8::15", 1, "2001:db8:1::1", 2, 17);
	struct sock_error e = about(ECONNREFUSED, 3, 3, 1232);

	(void)state;
	assert_true(error(&t4, 0, &e, "198.51.100.7"));
	assert_int_equal(20 + out.body.len, 576);
	/* The quoted lengths are those of the packet, not of the quotation */
	assert_int_equal(ld_be16(room + 10), 20 + 8 + 1232);
	assert_int_equal(ld_be16(room + 32), 8 + 1232);
	e.type = 1;
	e.code = 4;
	assert_true(error(&t6, 0, &e, "2001:db8:1::1"));
	assert_int_equal(40 + out.body.len, 1280);
}

static void not_everything_is_an_error(void **state)
{
	struct tuple t4 = tuple("192.0.2.15", 1, "198.51.100.7", 2, 17);
	struct tuple t6 = tuple("2001:db8::15", 1, "2001:db8:1::1", 2, 17);
	struct sock_error e = about(ECONNREFUSED, 3, 3, 0);

	(void)state;
	assert_false(error(&t4, 0, &e, "2001:db8:1::1"));
	assert_false(error(&t4, 0, &e, "::"));
	e.type = 5; /* redirect */
	assert_false(error(&t4, 0, &e, "198.51.100.7"));
	assert_false(error(&t6, 0, &e, "2001:db8:1::1"));
	e.type = 128;
	assert_false(error(&t6, 0, &e, "2001:db8:1::1"));
	e.type = 3;
	e.icmp = false;
	assert_false(error(&t4, 0, &e, "198.51.100.7"));
}

/* --- reports ------------------------------------------------------------ */

static const struct side *sides(const char *guest, const char *known,
				const char *real)
{
	static struct side s[2];

	s[0] = (struct side){ .ours = toy_addr(known),
			      .theirs = toy_addr(guest), .our_port = 53,
			      .their_port = 4000, .pif = PIF_TAP };
	s[1] = (struct side){ .theirs = toy_addr(real), .their_port = 5353,
			      .pif = PIF_HOST };
	return s;
}

static bool report(const struct side *s, struct sock_error *e)
{
	return icmp_report(&toy.tap, &fwd, &s[0], &s[1], 17, 0, e);
}

static void peer_is_shown_as_the_guest_knows_it(void **state)
{
	const struct side *s = sides("192.0.2.15", "192.0.2.53", "127.0.0.53");
	struct sock_error e = about(ECONNREFUSED, 3, 3, 4);
	struct toy_packet *g;

	(void)state;
	e.offender = toy_addr("127.0.0.53");
	assert_true(report(s, &e));
	g = toy_got(0);
	assert_true(addr_equal(&g->p.t.src, &s->ours));
	assert_true(addr_equal(&g->p.t.dst, &s->theirs));
	/* The quoted one is the guest's packet, too */
	assert_int_equal(ld_be16(toy_payload(g) + 28), 4000);
	assert_int_equal(ld_be16(toy_payload(g) + 30), 53);
}

static void router_is_shown_itself(void **state)
{
	const struct side *s = sides("192.0.2.15", "198.51.100.7",
				     "198.51.100.7");
	struct sock_error e = about(EHOSTUNREACH, 11, 0, 0);
	struct addr lo = addr_loopback(true), router;

	(void)state;
	e.offender = router = toy_addr("203.0.113.1");
	assert_true(report(s, &e));
	assert_true(addr_equal(&toy_got(0)->p.t.src, &router));
	/* Loopback has a name for the guest ... */
	e.offender = lo;
	assert_true(report(s, &e));
	assert_true(addr_equal(&toy_got(1)->p.t.src, &map.host_loopback[0][0]));
	/* ... or is not shown */
	map.host_loopback[0][0] = (struct addr){ 0 };
	assert_false(report(s, &e));
	assert_int_equal(toy.n, 2);
}

static void own_mtu_is_ours_to_tell(void **state)
{
	const struct side *s = sides("2001:db8::15", "2001:db8:1::1",
				     "2001:db8:1::1");
	struct sock_error e = { .err = EMSGSIZE, .mtu = 1300 };
	struct toy_packet *g;

	(void)state;
	assert_true(report(s, &e));
	g = toy_got(0);
	assert_int_equal(g->p.icmp_type, 2);
	assert_int_equal(ld_be32(toy_payload(g) + 4), 1300);
	assert_true(addr_equal(&g->p.t.src, &lan.our_ll6));
	/* Any other plain error says nothing to a guest */
	e = (struct sock_error){ .err = ENETDOWN };
	assert_false(report(s, &e));
}

/* The guest's errors, cut anywhere: nothing is read that is not there */
static void quotes_may_be_cut(void **state)
{
	static const uint8_t msg[] = {
		3, 3, 0, 0, 0, 0, 0, 0,
		0x46, 0, 0, 32, 0, 0, 0x40, 0, 64, 17, 0, 0,
		203, 0, 113, 80, 192, 0, 2, 15, 1, 1, 1, 0,
		0x17, 0x70, 0x1f, 0x40,
	};
	uint8_t *copy, whole[sizeof(msg)];
	struct packet p = { .kind = PACKET_ICMP4, .icmp_type = 3,
			    .icmp_code = 3 };
	struct frame f = { .iov = &f.one, .iov_cnt = 1 };
	struct tuple t;
	size_t len;

	(void)state;
	for (len = 0; len <= sizeof(msg); len++) {
		copy = malloc(len ? len : 1);
		memcpy(copy, msg, len);
		f.one = (struct iovec){ copy, len };
		f.len = p.payload_len = len;
		p.frame = &f;
		assert_int_equal(icmp_refused(&p, &t), len == sizeof(msg));
		free(copy);
	}
	memcpy(whole, msg, sizeof(msg));
	assert_int_equal(t.sport, 6000);
	assert_int_equal(t.dport, 8000);
	assert_int_equal(t.proto, IPPROTO_UDP);
	assert_true(addr_is_v4(&t.src) && t.src.b[15] == 80);
	f.one.iov_base = whole;
	p.icmp_code = 4;
	assert_false(icmp_refused(&p, &t));
	p.icmp_type = 11;
	assert_false(icmp_refused(&p, &t));
}

static bool refuse(const char *guest, const char *to)
{
	struct sock_error e = { .len = 0 };
	struct icmp_limit limit = { .n = 0 };
	const struct side *s = sides(guest, to, to);

	return icmp_refuse(&limit, &toy.tap, &fwd, s, IPPROTO_UDP, 0, -EACCES,
			   &e);
}

static void what_is_for_many_is_not_refused(void **state)
{
	(void)state;
	assert_true(refuse("192.0.2.15", "203.0.113.7"));
	assert_true(refuse("2001:db8::15", "2001:db8:7::7"));
	assert_false(refuse("192.0.2.15", "255.255.255.255"));
	assert_false(refuse("192.0.2.15", "224.0.0.1"));
	assert_false(refuse("2001:db8::15", "ff02::1"));
	assert_int_equal(toy.n, 2);
}

static void no_room_is_no_answer(void **state)
{
	const struct side *s = sides("192.0.2.15", "192.0.2.53", "127.0.0.53");
	struct sock_error e = about(ECONNREFUSED, 3, 3, 4);

	(void)state;
	e.offender = toy_addr("127.0.0.53");
	toy.room = 0;
	assert_false(report(s, &e));
	toy.room = 1;
	toy.body_max = 20;
	assert_false(report(s, &e));
	assert_int_equal(toy.out, 0);
	toy.body_max = 65507;
	toy.tap.caps.frame_max = 60;
	e = about(ECONNREFUSED, 3, 3, 4);
	e.offender = toy_addr("127.0.0.53");
	assert_false(report(s, &e));
	assert_int_equal(toy.n, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(port_unreachable, fresh),
		cmocka_unit_test_setup(time_exceeded_quotes_tcp, fresh),
		cmocka_unit_test_setup(echo_is_quoted, fresh),
		cmocka_unit_test_setup(mtu_is_told, fresh),
		cmocka_unit_test_setup(length_is_limited, fresh),
		cmocka_unit_test_setup(not_everything_is_an_error, fresh),
		cmocka_unit_test_setup(peer_is_shown_as_the_guest_knows_it,
				       fresh),
		cmocka_unit_test_setup(router_is_shown_itself, fresh),
		cmocka_unit_test_setup(own_mtu_is_ours_to_tell, fresh),
		cmocka_unit_test_setup(what_is_for_many_is_not_refused, fresh),
		cmocka_unit_test_setup(no_room_is_no_answer, fresh),
		cmocka_unit_test_setup(quotes_may_be_cut, fresh),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
