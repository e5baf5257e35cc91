/* SPDX-License-Identifier: GPL-2.0-or-later */
/* unit: tcp_conn tcp_path icmp emit udp_splice flow chunk ahead neigh fwd dnsanswer egress rules listen ns sock tap pcap loop timer segment packet checksum iov addrset addr util log events */
/* The table of past connections */
#include "tcp_conn.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static struct loop loop;
static struct flows flows;
static struct lan lan = { .mtu = 1500 };
static struct fwd fwd = { .lan = &lan };
static struct neigh neigh;
static struct tcp tcp = { .flows = &flows, .fwd = &fwd, .neigh = &neigh };

static struct tcp_past past(unsigned no)
{
	return (struct tcp_past){
		.side = { .pif = PIF_TAP, .ours = addr_v4(192, 0, 2, 1),
			  .theirs = addr_v4(192, 0, 2, 2), .our_port = 80,
			  .their_port = (uint16_t)(1024 + no) },
		.snd_nxt = no, .rcv_nxt = ~no,
		.ended_ms = loop.now_ms,
	};
}

static bool known(unsigned no)
{
	struct tcp_past want = past(no), *p = conn_past(&tcp, &want.side);

	return p && p->snd_nxt == no && p->rcv_nxt == ~no;
}

static void remember(unsigned no)
{
	struct tcp_past p = past(no);

	conn_remember(&tcp, &p);
}

static int setup(void **state)
{
	(void)state;
	memset(tcp.past, 0, sizeof(tcp.past));
	flows.loop = &loop;
	loop.now_ms = 100 * 1000;
	return 0;
}

/* Of some that end at once none takes another one's place, whatever the hash */
static void some(void **state)
{
	unsigned round, no;

	(void)state;
	for (round = 0; round < 1000; round++) {
		flows.key.k[0] = round;
		setup(NULL);
		for (no = 0; no < TCP_PAST_WAYS; no++)
			remember(no);
		for (no = 0; no < TCP_PAST_WAYS; no++)
			assert_true(known(no));
	}
}

/* And of more than there are places the last ones stay */
static void many(void **state)
{
	unsigned no, n = 4000;

	(void)state;
	for (no = 0; no < n; no++) {
		loop.now_ms++;
		remember(no);
		assert_true(known(no));
	}
	for (no = n - TCP_PAST_WAYS; no < n; no++)
		assert_true(known(no));
}

/* The same ports again: one place, in which the last one is */
static void again(void **state)
{
	struct tcp_past p = past(7), *q;

	(void)state;
	remember(7);
	p.snd_nxt = 1234;
	conn_remember(&tcp, &p);
	assert_non_null(conn_past(&tcp, &p.side));
	assert_int_equal(conn_past(&tcp, &p.side)->snd_nxt, 1234);
	conn_past(&tcp, &p.side)->side.pif = PIF_NONE; /* a reset came */
	q = conn_past(&tcp, &p.side);
	assert_null(q);
}

/* For a minute; its place is taken before that of one that is younger */
static void age(void **state)
{
	unsigned no;

	(void)state;
	remember(0);
	loop.now_ms += TCP_PAST_MS;
	assert_true(known(0));
	loop.now_ms++;
	assert_false(known(0));
	for (no = 1; no <= TCP_PAST_WAYS; no++)
		remember(no);
	for (no = 1; no <= TCP_PAST_WAYS; no++)
		assert_true(known(no));
}

/* For no other one, when milliseconds have been through all of 32 bits */
static void long_after(void **state)
{
	(void)state;
	remember(0);
	loop.now_ms += 1ULL << 32;
	assert_false(known(0));
}

/* The same ports again: whoever waits in TIME-WAIT takes a SYN for a new one by its number,
 * however many there have been */
static void numbers_go_on(void **state)
{
	static const uint32_t ahead[] = { 0, 1, 1000, 1 << 20, 1 << 30, INT32_MAX };
	struct flow f = { .kind = FLOW_TCP };
	struct tcp_past p = past(1);
	unsigned i;

	(void)state;
	f.side[1] = p.side;
	conn_init(&tcp, &f, TCP_SYN_SENT);
	p.snd_nxt = conn_of(&f)->snd_una;
	for (i = 0; i < ARRAY_SIZE(ahead); i++) {
		setup(NULL);
		p.snd_nxt += ahead[i];
		p.ended_ms = loop.now_ms;
		conn_remember(&tcp, &p);
		conn_init(&tcp, &f, TCP_SYN_SENT);
		assert_true(seq_after(conn_of(&f)->snd_una, p.snd_nxt));
		p.snd_nxt -= ahead[i];
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(some, setup),
		cmocka_unit_test_setup(many, setup),
		cmocka_unit_test_setup(again, setup),
		cmocka_unit_test_setup(age, setup),
		cmocka_unit_test_setup(long_after, setup),
		cmocka_unit_test_setup(numbers_go_on, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
