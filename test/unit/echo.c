/* SPDX-License-Identifier: GPL-2.0-or-later */
/* unit: emit icmp flow egress fwd dnsanswer rules sock neigh tap pcap loop timer segment packet checksum iov addrset addr util log */
#include "echo.h"

#include "refuse.h"
#include "toy.h"

static struct echo echo;

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
	echo_init(&echo, &flows, &toy.tap, &fwd, &neigh);
	return 0;
}

static void request(struct toy_packet *t, const char *dst, uint16_t id,
		    uint16_t seq, uint8_t type, size_t len)
{
	struct addr to = toy_addr(dst);
	bool v4 = addr_is_v4(&to);
	static uint8_t body[1 << 16];
	struct answer a = {
		.head = { .src = toy_guest_mac, .dst = toy_our_mac, .ttl = 64,
			  .t = { .src = v4 ? seen.v4 : seen.v6,
				 .dst = to,
				 .proto = v4 ? IPPROTO_ICMP
					     : IPPROTO_ICMPV6 } },
		.body = wr_init(body, sizeof(body)),
	};
	static const struct note n;
	size_t head;

	wr_u8(&a.body, type);
	wr_fill(&a.body, 0, 3);
	wr_be16(&a.body, id);
	wr_be16(&a.body, seq);
	wr_fill(&a.body, 0x5a, len);
	head = packet_answer_head(t->b, &a);
	memcpy(t->b + head, body, a.body.len);
	toy_parse(t, head + a.body.len, &n);
}

static struct flow *open_echo(struct toy_packet *t)
{
	enum verdict v;
	struct flow *f = echo_open(&echo, &t->p, &v);

	if (!f && v == DROP_NO_FLOW)
		skip(); /* ping_group_range */
	assert_non_null(f);
	assert_int_equal(v, PASS);
	return f;
}

static struct packet *input(struct flow *f, struct packet *list)
{
	return flows.type[FLOW_ICMP]->input(&echo, f, list);
}

static void check_reply(unsigned i, const char *from, uint16_t id,
			uint16_t seq, size_t len)
{
	struct toy_packet *g = toy_got(i);
	struct addr a = toy_addr(from);
	bool v4 = addr_is_v4(&a);
	size_t k;

	assert_true(addr_equal(&g->p.t.src, &a));
	assert_true(addr_equal(&g->p.t.dst, v4 ? &seen.v4 : &seen.v6));
	assert_int_equal(g->p.icmp_type, v4 ? 0 : 129);
	assert_int_equal(g->p.t.sport, id);
	assert_int_equal(ld_be16(toy_payload(g) + 6), seq);
	assert_int_equal(g->p.payload_len, 8 + len);
	for (k = 0; k < len; k++)
		assert_int_equal(toy_payload(g)[8 + k], 0x5a);
}

static void ask(const char *dst, uint8_t type)
{
	static struct toy_packet one, two;
	unsigned n = toy.n;
	struct flow *f;

	request(&one, dst, 77, 1, type, 56);
	request(&two, dst, 77, 2, type, 1001);
	one.p.next = &two.p;
	f = open_echo(&one);
	assert_null(input(f, &one.p));
	toy_wait(f->side[1].fd, POLLIN);
	toy_turn();
	toy_turn();
	assert_int_equal(toy.n, n + 2);
	check_reply(n, dst, 77, 1, 56);
	check_reply(n + 1, dst, 77, 2, 1001);
	assert_int_equal(toy.out, 0);
	flows.type[FLOW_ICMP]->expire(&echo, f);
}

static void echo_is_answered(void **state)
{
	(void)state;
	NEED_NETNS();
	ask("192.0.2.254", 8);
	ask("2001:db8::fe", 128);
	assert_int_equal(flows.count, 0);
}

static void same_identifier_twice(void **state)
{
	static struct toy_packet one, two;
	struct flow *f, *g;

	(void)state;
	NEED_NETNS();
	/* As fping does: a second host with the same identifier */
	map.guest_addr[0][0] = toy_addr("192.0.2.253");
	lan.guest4 = toy_addr("127.0.0.2");
	request(&one, "192.0.2.254", 99, 1, 8, 0);
	request(&two, "192.0.2.253", 99, 5, 8, 0);
	f = open_echo(&one);
	g = open_echo(&two);
	assert_ptr_not_equal(f, g);
	input(g, &two.p);
	input(f, &one.p);
	toy_wait(f->side[1].fd, POLLIN);
	toy_wait(g->side[1].fd, POLLIN);
	toy_turn();
	toy_turn();
	assert_int_equal(toy.n, 2);
	assert_int_equal(toy_got(0)->p.t.sport, 99);
	assert_int_equal(toy_got(1)->p.t.sport, 99);
	assert_false(addr_equal(&toy_got(0)->p.t.src, &toy_got(1)->p.t.src));
}

static void full_guest_loses_nothing(void **state)
{
	static struct toy_packet one;
	struct flow *f;

	(void)state;
	NEED_NETNS();
	request(&one, "192.0.2.254", 77, 3, 8, 8);
	f = open_echo(&one);
	input(f, &one.p);
	toy_wait(f->side[1].fd, POLLIN);
	toy.room = 0;
	toy_turn();
	toy_turn();
	assert_int_equal(toy.n, 0);
	toy.room = 2;
	toy_turn();
	assert_int_equal(toy.n, 1);
	check_reply(0, "192.0.2.254", 77, 3, 8);
}

static void only_requests_open_flows(void **state)
{
	static struct toy_packet t;
	enum verdict v;

	(void)state;
	request(&t, "192.0.2.254", 77, 1, 0, 0);
	assert_null(echo_open(&echo, &t.p, &v));
	assert_int_equal(v, DROP_UNWANTED);
	request(&t, "192.0.2.254", 77, 1, 13, 0);
	assert_null(echo_open(&echo, &t.p, &v));
	assert_int_equal(v, DROP_UNWANTED);
	request(&t, "192.0.2.254", 77, 1, 8, 0);
	t.p.t.src = addr_any(true);
	assert_null(echo_open(&echo, &t.p, &v));
	assert_int_equal(v, DROP_ENDPOINT);
	lan.icmp = false;
	request(&t, "192.0.2.254", 77, 1, 8, 0);
	assert_null(echo_open(&echo, &t.p, &v));
	assert_int_equal(v, DROP_PROTOCOL);
	assert_int_equal(flows.count, 0);
}

static void one_flow_for_each_key(void **state)
{
	static struct toy_packet t;
	struct side key;
	struct flow *f;
	unsigned i;

	(void)state;
	NEED_NETNS();
	request(&t, "192.0.2.254", 5, 1, 8, 0);
	f = open_echo(&t);
	key = (struct side){ .ours = t.p.t.dst, .theirs = t.p.t.src,
			     .our_port = 5, .their_port = 5, .pif = PIF_TAP };
	assert_ptr_equal(flow_find(&flows, IPPROTO_ICMP, &key, &i), f);
	assert_int_equal(i, 0);
	assert_true(f->timer.due_ms >= loop.now_ms + ECHO_TIMEOUT_MS);
}

/* --- refused ------------------------------------------------------------- */

/* The guest is told, in the name of its peer, if that is what it should know */
static bool told(unsigned n)
{
	return toy.n > n && toy_got(toy.n - 1)->p.icmp_type == 3;
}

/* Where the group may not have ping sockets (net.ipv4.ping_group_range), or there is
 * no descriptor, no memory, no way */
static void begins_are_refused(void **state)
{
	static const int refusals[] = { EACCES, EMFILE, ENOMEM, ENETUNREACH };
	static struct toy_packet t;
	unsigned k, i, before, refused_n = 0;
	bool hit;

	(void)state;
	NEED_NETNS();
	request(&t, "192.0.2.254", 77, 1, 8, 8);
	flows.type[FLOW_ICMP]->expire(&echo, open_echo(&t));
	before = descriptors();
	for (i = 0; i < ARRAY_SIZE(refusals); i++) {
		for (k = 1, hit = true; hit; k++) {
			enum verdict v = PASS;
			unsigned n = toy.n;
			struct flow *f;

			refuse_call(NULL, k, refusals[i]);
			f = echo_open(&echo, &t.p, &v);
			hit = refuse_end();
			assert_int_equal(v, f ? PASS : DROP_NO_FLOW);
			assert_int_equal(flows.count, !!f);
			assert_int_equal(toy.out, 0);
			if (k == 1 && refusals[i] == ENETUNREACH)
				assert_true(told(n));
			if (f) {
				assert_null(input(f, &t.p));
				toy_wait(f->side[1].fd, POLLIN);
				toy_turn();
				toy_turn();
				check_reply(toy.n - 1, "192.0.2.254", 77, 1, 8);
				flows.type[FLOW_ICMP]->expire(&echo, f);
			} else {
				refused_n++;
			}
			assert_int_equal(descriptors(), before);
		}
		assert_in_range(k, 5, 20);
	}
	assert_true(refused_n > 8);
}

/* Connections of such sockets are forbidden by some security modules: then who answers
 * is looked at here */
static void connect_is_forbidden(void **state)
{
	static struct toy_packet t;
	enum verdict v;
	struct flow *f;
	unsigned i;

	(void)state;
	NEED_NETNS();
	for (i = 0; i < 2; i++) {
		const char *dst = i ? "2001:db8::fe" : "192.0.2.254";

		request(&t, dst, 77, 1, i ? 128 : 8, 8);
		flows.type[FLOW_ICMP]->expire(&echo, open_echo(&t));
		refuse_call("connect", 1, EACCES);
		f = echo_open(&echo, &t.p, &v);
		assert_true(refuse_end());
		assert_non_null(f);
		assert_null(input(f, &t.p));
		toy_wait(f->side[1].fd, POLLIN);
		toy_turn();
		toy_turn();
		assert_int_equal(toy.n, i + 1);
		check_reply(i, dst, 77, 1, 8);
		flows.type[FLOW_ICMP]->expire(&echo, f);
	}
	assert_int_equal(flows.count, 0);
}

/* An error of the socket is about what was sent before: once it costs nothing */
static void errors_of_the_socket(void **state)
{
	static struct toy_packet t;
	unsigned n;
	struct flow *f;

	(void)state;
	NEED_NETNS();
	request(&t, "192.0.2.254", 77, 1, 8, 8);
	f = open_echo(&t);
	refuse_call("send", 1, ECONNREFUSED);
	assert_null(input(f, &t.p));
	assert_true(refuse_end());
	assert_int_equal(echo.drops[DROP_SOCKET], 0);
	refuse_call("recvmmsg", 1, ECONNREFUSED);
	toy_wait(f->side[1].fd, POLLIN);
	toy_turn();
	toy_turn();
	assert_true(refuse_end());
	assert_int_equal(toy.n, 1);
	check_reply(0, "192.0.2.254", 77, 1, 8);

	/* Again at once: it rests until there is more */
	assert_null(input(f, &t.p));
	refuse_call("recvmmsg", 1, ECONNREFUSED);
	refuse.more = 100;
	toy_wait(f->side[1].fd, POLLIN);
	toy_turn();
	toy_turn();
	toy_turn();
	assert_int_equal(refuse.calls, 2);
	assert_true(refuse_end());
	assert_null(input(f, &t.p));
	toy_wait(loop.epfd, POLLIN);
	toy_turn();
	toy_turn();
	assert_int_equal(toy.n, 3);

	/* What cannot be sent is lost by name; if there is no way the guest is told */
	refuse_call("send", 1, ENOBUFS);
	assert_null(input(f, &t.p));
	assert_true(refuse_end());
	assert_int_equal(echo.drops[DROP_SOCKET], 1);
	n = toy.n;
	refuse_call("send", 1, EHOSTUNREACH);
	refuse.more = 1;
	assert_null(input(f, &t.p));
	assert_true(refuse_end());
	assert_int_equal(echo.drops[DROP_SOCKET], 2);
	assert_true(told(n));
	assert_int_equal(toy.out, 0);
}

/* What is no request is not the socket's: the one behind it goes on */
static void others_are_no_requests(void **state)
{
	static struct toy_packet bad, good;
	struct flow *f;

	(void)state;
	NEED_NETNS();
	request(&good, "192.0.2.254", 77, 1, 8, 8);
	f = open_echo(&good);
	request(&bad, "192.0.2.254", 77, 1, 0, 8);
	bad.p.next = &good.p;
	assert_null(input(f, &bad.p));
	assert_int_equal(echo.drops[DROP_UNWANTED], 1);
	toy_wait(f->side[1].fd, POLLIN);
	toy_turn();
	toy_turn();
	assert_int_equal(toy.n, 1);
	check_reply(0, "192.0.2.254", 77, 1, 8);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(echo_is_answered, fresh),
		cmocka_unit_test_setup(same_identifier_twice, fresh),
		cmocka_unit_test_setup(full_guest_loses_nothing, fresh),
		cmocka_unit_test_setup(only_requests_open_flows, fresh),
		cmocka_unit_test_setup(one_flow_for_each_key, fresh),
		cmocka_unit_test_setup(begins_are_refused, fresh),
		cmocka_unit_test_setup(connect_is_forbidden, fresh),
		cmocka_unit_test_setup(errors_of_the_socket, fresh),
		cmocka_unit_test_setup(others_are_no_requests, fresh),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
