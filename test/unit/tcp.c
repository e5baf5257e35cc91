/* SPDX-License-Identifier: GPL-2.0-or-later */
/* unit: tcp_in tcp_out tcp_loss tcp_path tcp_freeze tcp_image tcp_conn freeze state sock_repair splice ahead chunk emit icmp flow egress fwd dnsanswer ns listen rules sock neigh tap pcap loop timer segment packet checksum iov addrset addr util log events */
/* Connections of the guest to a server of the host, where the kernel's own order of
 * events matters, or numbers that take long to be reached */
#include "freeze.h"
#include "tcp_conn.h"
#include "tcp_image.h"

#include "toy.h"

#include <sys/eventfd.h>

#define LO4 "192.0.2.254"

enum { GUEST_PORT = 1000, WINDOW = 65535, MSS = 1000 };

static struct tcp tcp;
static struct chunks chunks;
static struct listen listeners;
static int server, client;
static uint16_t port;

static int setup(void **state)
{
	enter_netns(state);
	sock_init(&env);
	return 0;
}

static int fresh(void **state)
{
	struct sockaddr_in in = { .sin_family = AF_INET };
	socklen_t len = sizeof(in);

	(void)state;
	toy_start();
	lan.mtu = 1500;
	assert_int_equal(listen_init(&listeners, &loop, &env, NULL), 0);
	assert_int_equal(tcp_init(&tcp, &flows, &toy.tap, &fwd, &listeners,
				  &neigh, &chunks), 0);
	server = socket(AF_INET, SOCK_STREAM, 0);
	in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_int_equal(bind(server, (struct sockaddr *)&in, sizeof(in)), 0);
	assert_int_equal(listen(server, 1), 0);
	assert_int_equal(getsockname(server, (struct sockaddr *)&in, &len), 0);
	port = ntohs(in.sin_port);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	assert_int_equal(toy.out, 0);
	close(client);
	close(server);
	close(loop.epfd);
	return 0;
}

static void segment(struct toy_packet *t, uint8_t flags, uint32_t seq,
		    uint32_t ack)
{
	const struct head h = { .src = toy_guest_mac, .dst = toy_our_mac, .ttl = 64,
				.t = { .src = seen.v4, .dst = toy_addr(LO4),
				       .sport = GUEST_PORT, .dport = port,
				       .proto = IPPROTO_TCP } };
	struct tcp_head th = { .seq = seq, .ack = ack, .window = WINDOW,
			       .flags = flags };
	struct note n;

	if (flags & TCP_SYN) {
		memcpy(th.opt, (uint8_t[]){ OPT_MSS, 4, MSS >> 8, MSS & 255 }, 4);
		th.opt_len = 4;
	}
	toy_parse(t, packet_put_tcp(t->b, &h, &th, 0, &n), &n);
}

static void acks(struct flow *f, uint32_t ack)
{
	static struct toy_packet t;

	segment(&t, TCP_ACK, 1, ack);
	assert_null(flows.type[FLOW_TCP]->input(&tcp, f, &t.p));
}

static struct flow *connected(void)
{
	static struct toy_packet t;
	enum verdict v;
	struct flow *f;

	segment(&t, TCP_SYN, 0, 0);
	f = tcp_open(&tcp, &t.p, &v);
	assert_non_null(f);
	client = accept(server, NULL, NULL);
	assert_true(client >= 0);
	if (!toy.n) /* connect() has not said so at once */
		toy_turn();
	assert_int_equal(toy.n, 1);
	acks(f, conn_of(f)->snd_max);
	assert_int_equal(conn_of(f)->state, TCP_OPEN);
	toy_turn();
	toy.n = 0;
	return f;
}

/* --- a connection that stands still ----------------------------------------- */

static void hold(void *owner, uint64_t ref, uint32_t events)
{
	(void)ref;
	(void)events;
	tcp_image_hold(&tcp, owner);
}

/* It does from the moment in which it is told to, with events that the loop has
 * already: its socket is about to be taken apart, and answers to nobody */
static void held_in_this_turn(void **state)
{
	struct flow *f;
	int fd;

	(void)state;
	NEED_NETNS();
	f = connected();
	fd = eventfd(1, EFD_NONBLOCK);
	assert_int_equal(loop_add(&loop, fd, loop_watch(&loop, hold, f), 0,
				  EPOLLIN), 0);
	assert_int_equal(send(client, "bytes", 5, 0), 5);
	toy_wait(conn_fd(f), POLLIN);
	toy_turn();
	assert_true(tcp_image_held(f));
	assert_int_equal(toy.n, 0);
	assert_int_equal(f->timer.due_ms, 0);
	close(fd);

	tcp_image_resume(&tcp, f);
	toy_turn();
	assert_int_equal(toy_got(0)->p.payload_len, 5);
	conn_abort(&tcp, f);
}

/* --- late -------------------------------------------------------------------- */

/* A guest that knows no selective acknowledgements has told of no loss for long, or
 * never: then duplicates are those of a new one, whatever has been sent since */
static void loss_after_gigabytes(void **state)
{
	struct tcp_conn *c;
	struct flow *f;
	unsigned i;

	(void)state;
	NEED_NETNS();
	f = connected();
	c = conn_of(f);
	for (i = 0; i < 3; i++) {
		c->snd_max += 1U << 30;
		c->snd_nxt = c->snd_max;
		acks(f, c->snd_max);
		assert_int_equal(c->snd_una, c->snd_max);
		c->lazy = 0; /* nothing of it was in the socket */
	}
	c->snd_max += 10 * MSS;
	c->snd_nxt = c->snd_max;
	for (i = 0; i < 3; i++)
		acks(f, c->snd_una);
	assert_int_equal(tcp.count.fast, 1);
	conn_abort(&tcp, f);
}

/* --- in a successor ------------------------------------------------------------ */

/* What is a silly window depends on what was the largest one */
static void largest_window(void **state)
{
	static uint8_t b[65536];
	struct wr w = wr_init(b, sizeof(b));
	struct rd r, body;
	struct flow *f;
	uint32_t tag;
	int fd[2];

	(void)state;
	NEED_NETNS();
	f = connected();
	assert_int_equal(conn_of(f)->wnd_most, WINDOW);
	conn_of(f)->snd_wnd = 1;
	fd[0] = f->side[0].fd;
	fd[1] = f->side[1].fd;
	assert_true(freeze_flow(&flows, f, &w));
	freeze_forget(&flows, f);
	r = rd_init(b, w.len);
	assert_true(state_next(&r, &tag, &body));
	f = thaw_flow(&flows, &body, fd);
	assert_non_null(f);
	assert_int_equal(conn_of(f)->wnd_most, WINDOW);
	conn_abort(&tcp, f);
}

/* --- when we exit ------------------------------------------------------------- */

/* Bytes from the guest until the socket takes no more; how many */
static size_t stuff(struct flow *f)
{
	static char bytes[65536];
	struct iovec iov = { bytes, sizeof(bytes) };
	size_t all = 0;
	ssize_t n;

	while ((n = conn_send(&tcp, f, &iov, 1)) > 0)
		all += (size_t)n;
	assert_int_equal(n, 0);
	return all;
}

/* What the far end reads in front of a reset, or of an end */
static size_t heard(bool reset)
{
	char buf[65536];
	size_t all = 0;
	ssize_t n;

	while ((n = recv(client, buf, sizeof(buf), 0)) > 0)
		all += (size_t)n;
	assert_int_equal(n, reset ? -1 : 0);
	if (reset)
		assert_int_equal(errno, ECONNRESET);
	return all;
}

/* A guest that has not said its end may have more to say, if nothing is missing of what it
 * has said */
static void reset_at_exit(void **state)
{
	struct flow *f;

	(void)state;
	NEED_NETNS();
	f = connected();
	assert_int_equal(send(conn_fd(f), "bytes", 5, 0), 5);
	while (flows_cut(&flows, false))
		toy_turn();
	assert_int_equal(heard(true), 5);
	tcp_turn_end(&tcp); /* the guest hears of it */
	assert_int_equal(toy.n, 1);
	assert_true(toy_got(0)->p.tcp_flags & TCP_RST);
	assert_int_equal(flows.count, 0);
}

static void end_at_exit(void **state)
{
	struct flow *f;

	(void)state;
	NEED_NETNS();
	f = connected();
	assert_int_equal(send(conn_fd(f), "bytes", 5, 0), 5);
	conn_fin(f);
	assert_int_equal(conn_flush(&tcp, f), 0);
	assert_false(flows_cut(&flows, true));
	assert_int_equal(heard(false), 5);
	tcp_turn_end(&tcp); /* what the far end might have said will not come */
	assert_true(toy_got(0)->p.tcp_flags & TCP_RST);
	assert_int_equal(flows.count, 0);
}

/* What the far end has not got yet is waited for */
static void reset_behind_all(void **state)
{
	const int small = 4096;
	char buf[65536];
	struct flow *f;
	size_t all, got = 0;

	(void)state;
	NEED_NETNS();
	setsockopt(server, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
	f = connected();
	all = stuff(f);
	assert_true(flows_cut(&flows, false));
	while (flows_cut(&flows, false)) {
		ssize_t n = recv(client, buf, sizeof(buf), MSG_DONTWAIT);

		got += (size_t)MAX(n, (ssize_t)0);
	}
	assert_int_equal(got + heard(true), all);
	tcp_turn_end(&tcp);
}

static void reset_at_once(void **state)
{
	const int small = 4096;
	struct flow *f;
	size_t all;

	(void)state;
	NEED_NETNS();
	setsockopt(server, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
	f = connected();
	all = stuff(f);
	assert_false(flows_cut(&flows, true));
	assert_true(heard(true) < all);
	tcp_turn_end(&tcp);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(held_in_this_turn, fresh,
						teardown),
		cmocka_unit_test_setup_teardown(loss_after_gigabytes, fresh,
						teardown),
		cmocka_unit_test_setup_teardown(largest_window, fresh, teardown),
		cmocka_unit_test_setup_teardown(reset_at_exit, fresh, teardown),
		cmocka_unit_test_setup_teardown(end_at_exit, fresh, teardown),
		cmocka_unit_test_setup_teardown(reset_behind_all, fresh,
						teardown),
		cmocka_unit_test_setup_teardown(reset_at_once, fresh, teardown),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
