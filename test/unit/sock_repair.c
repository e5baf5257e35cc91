/* SPDX-License-Identifier: GPL-2.0-or-later */
/* unit: sock addr log util */
/* Connections that move from a socket to another one, in a namespace of the test's */
#include "sock_repair.h"

#include "refuse.h"
#include "util.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>

enum { CAP = 16 << 20, MUCH = 300 << 10 };

static struct sock_env env;
static uint8_t buf[CAP], bytes[CAP], got[CAP];

static int start(void **state)
{
	size_t i;

	enter_netns(state);
	sock_init(&env);
	for (i = 0; i < CAP; i++)
		bytes[i] = (uint8_t)(i * 167 >> 3);
	return 0;
}

struct pair {
	int ours, peer;
	struct side host;
};

static void wait_for(int fd, short what)
{
	struct pollfd p = { fd, what, 0 };

	assert_int_equal(poll(&p, 1, 5000), 1);
}

static struct pair connected(bool v4)
{
	struct sock_bind b = { .addr = addr_loopback(v4) };
	struct pair p;
	struct addr a;
	uint16_t port;
	int l = sock_listen(&env, &b);

	assert_true(l >= 0);
	assert_int_equal(sock_local(l, &a, &port), 0);
	p.ours = sock_tcp(&env, &a);
	assert_true(p.ours >= 0);
	(void)sock_connect(&env, p.ours, &a, port);
	wait_for(p.ours, POLLOUT);
	wait_for(l, POLLIN);
	p.host = (struct side){ .theirs = a, .their_port = port };
	p.peer = sock_accept(&env, l, &a, &port, &a, &port);
	assert_true(p.peer >= 0);
	assert_int_equal(sock_local(p.ours, &p.host.ours, &p.host.our_port), 0);
	sock_close(l);
	return p;
}

static bool repair(int fd, int mode)
{
	return !setsockopt(fd, SOL_TCP, TCP_REPAIR, &mode, sizeof(mode));
}

/* The socket dies without a word; another one takes its place, but for the first
 * @kept bytes to be received */
static struct sock_image move(struct pair *p, size_t kept)
{
	struct sock_image i;
	int fd, err;

	assert_int_equal(sock_deaf(p->ours, true), 0);
	assert_true(repair(p->ours, 1));
	assert_int_equal(sock_image_get(p->ours, &i, buf, CAP), 0);
	sock_close(p->ours);

	fd = sock_image_make(&env, addr_is_v4(&p->host.ours));
	assert_true(fd >= 0);
	assert_int_equal(sock_deaf(fd, true), 0);
	assert_true(repair(fd, 1));
	err = sock_image_put(&env, fd, &p->host, &i, buf, kept);
	assert_int_equal(err, 0);
	assert_int_equal(sock_deaf(fd, false), 0);
	assert_true(repair(fd, 0));
	p->ours = fd;
	return i;
}

static size_t send_all(int fd, size_t at, size_t len)
{
	struct iovec iov = { bytes + at, len };
	ssize_t n;
	size_t done = 0;

	while (done < len) {
		iov = (struct iovec){ bytes + at + done, len - done };
		n = sock_send(fd, &iov, 1);
		if (n <= 0)
			break;
		done += (size_t)n;
	}
	return done;
}

static void expect(int fd, size_t at, size_t len)
{
	size_t done = 0;

	while (done < len) {
		struct iovec iov = { got + done, len - done };
		ssize_t n;

		wait_for(fd, POLLIN);
		n = sock_recv(fd, &iov, 1);
		if (n <= 0 && n != -EAGAIN)
			fail_msg("%zd after %zu of %zu bytes", n, done, len);
		done += n > 0 ? (size_t)n : 0;
	}
	assert_memory_equal(got, bytes + at, len);
}

static void expect_end(int fd)
{
	struct iovec iov = { got, 1 };

	wait_for(fd, POLLIN);
	assert_int_equal(sock_recv(fd, &iov, 1), 0);
}

static void both_ways(struct pair *p, size_t from, size_t to)
{
	assert_int_equal(send_all(p->ours, from, 1000), 1000);
	expect(p->peer, from, 1000);
	assert_int_equal(send_all(p->peer, to, 1000), 1000);
	expect(p->ours, to, 1000);
}

static void finish(struct pair *p)
{
	sock_close(p->ours);
	sock_close(p->peer);
}

static void idle(bool v4)
{
	struct pair p = connected(v4);
	struct sock_image i;

	both_ways(&p, 0, 5000);
	i = move(&p, 0);
	assert_int_equal(i.state, SOCK_ESTABLISHED);
	assert_int_equal(i.snd_len + i.rcv_len + i.unsent, 0);
	assert_true(i.options & TCPI_OPT_TIMESTAMPS);
	assert_true(i.options & TCPI_OPT_SACK);
	assert_true(i.options & TCPI_OPT_WSCALE);
	both_ways(&p, 1000, 6000);
	(void)move(&p, 0);
	both_ways(&p, 2000, 7000);
	finish(&p);
}

static void idle4(void **state)
{
	(void)state;
	NEED_NETNS();
	idle(true);
}

static void idle6(void **state)
{
	(void)state;
	NEED_NETNS();
	idle(false);
}

/* Nobody reads, on either side */
static void full_queues(void **state)
{
	struct pair p;
	size_t out, in, rest;
	struct sock_image i;

	(void)state;
	NEED_NETNS();
	p = connected(true);
	out = send_all(p.ours, 0, CAP);
	in = send_all(p.peer, 0, MUCH);
	poll(NULL, 0, 20); /* so that some of it is on its way */
	i = move(&p, 0);
	assert_true(i.snd_len > 0 && i.unsent > 0 && i.rcv_len > 0);
	rest = i.unsent;
	expect(p.peer, 0, out - rest);
	while (rest) {
		size_t n = send_all(p.ours, out - rest, rest);

		rest -= n;
		expect(p.peer, out - rest - n, n);
	}
	expect(p.ours, 0, in);
	both_ways(&p, 4, 9);
	finish(&p);
}

/* What the caller keeps is not in the socket */
static void kept(void **state)
{
	struct pair p;

	(void)state;
	NEED_NETNS();
	p = connected(false);
	assert_int_equal(send_all(p.peer, 0, 5000), 5000);
	wait_for(p.ours, POLLIN);
	assert_int_equal(move(&p, 1234).rcv_len, 5000);
	expect(p.ours, 1234, 5000 - 1234);
	assert_int_equal(move(&p, 0).rcv_len, 0);
	assert_int_equal(send_all(p.peer, 0, 5000), 5000);
	poll(NULL, 0, 10);
	(void)move(&p, 5000);
	both_ways(&p, 4, 9);
	finish(&p);
}

static void wait_state(int fd, uint8_t want)
{
	struct tcp_info info = { 0 };
	socklen_t len = sizeof(info);
	unsigned i;

	for (i = 0; i < 500 && info.tcpi_state != want; i++) {
		poll(NULL, 0, 10);
		assert_int_equal(getsockopt(fd, SOL_TCP, TCP_INFO, &info, &len),
				 0);
	}
	assert_int_equal(info.tcpi_state, want);
}

/* The peer has ended; what it sent before is there */
static void close_wait(void **state)
{
	struct sock_image i;
	struct pair p;

	(void)state;
	NEED_NETNS();
	p = connected(true);
	assert_int_equal(send_all(p.peer, 0, 5000), 5000);
	assert_int_equal(sock_shut_write(p.peer), 0);
	wait_state(p.ours, SOCK_CLOSE_WAIT);
	i = move(&p, 0);
	assert_true(sock_image_eof(&i));
	assert_int_equal(i.rcv_len, 5000);
	expect(p.ours, 0, 5000);
	assert_int_equal(send_all(p.ours, 0, 3000), 3000);
	expect(p.peer, 0, 3000);
	assert_int_equal(sock_shut_write(p.ours), 0);
	expect_end(p.peer);
	finish(&p);
}

static void fin_wait2(void **state)
{
	struct sock_image i;
	struct pair p;

	(void)state;
	NEED_NETNS();
	p = connected(true);
	assert_int_equal(send_all(p.ours, 0, 3000), 3000);
	assert_int_equal(sock_shut_write(p.ours), 0);
	wait_state(p.ours, SOCK_FIN_WAIT2);
	i = move(&p, 0);
	assert_int_equal(i.state, SOCK_FIN_WAIT2);
	wait_state(p.ours, SOCK_FIN_WAIT2);
	expect(p.peer, 0, 3000);
	expect_end(p.peer);
	assert_int_equal(send_all(p.peer, 0, 5000), 5000);
	expect(p.ours, 0, 5000);
	assert_int_equal(sock_shut_write(p.peer), 0);
	expect_end(p.ours);
	finish(&p);
}

/* Our FIN waits behind what the peer does not take yet; @both: and it has ended */
static void fin_waits(bool both, uint8_t want)
{
	struct sock_image i;
	struct pair p = connected(true);
	size_t out = send_all(p.ours, 0, CAP), rest;

	assert_int_equal(send_all(p.peer, 0, 700), 700);
	if (both) {
		assert_int_equal(sock_shut_write(p.peer), 0);
		wait_state(p.ours, SOCK_CLOSE_WAIT);
	}
	assert_int_equal(sock_shut_write(p.ours), 0);
	poll(NULL, 0, 20);
	i = move(&p, 0);
	assert_int_equal(i.state, want);
	expect(p.peer, 0, out - i.unsent);
	for (rest = i.unsent; rest;) {
		size_t n = send_all(p.ours, out - rest, rest);

		rest -= n;
		expect(p.peer, out - rest - n, n);
	}
	assert_int_equal(sock_shut_write(p.ours), 0);
	expect_end(p.peer);
	expect(p.ours, 0, 700);
	finish(&p);
}

static void fin_wait1(void **state)
{
	(void)state;
	NEED_NETNS();
	fin_waits(false, SOCK_FIN_WAIT1);
}

static void last_ack(void **state)
{
	(void)state;
	NEED_NETNS();
	fin_waits(true, SOCK_LAST_ACK);
}

/* A deaf one acknowledges nothing; later it gets what it has missed */
static void deaf(void **state)
{
	struct pollfd q;
	struct pair p;

	(void)state;
	NEED_NETNS();
	p = connected(true);
	assert_int_equal(sock_deaf(p.ours, true), 0);
	assert_int_equal(send_all(p.peer, 0, 500), 500);
	q = (struct pollfd){ p.ours, POLLIN, 0 };
	assert_int_equal(poll(&q, 1, 20), 0);
	assert_int_equal(sock_deaf(p.ours, false), 0);
	expect(p.ours, 0, 500);
	finish(&p);
}

static void too_long(void **state)
{
	struct sock_image i;
	struct pair p;

	(void)state;
	NEED_NETNS();
	p = connected(true);
	assert_int_equal(send_all(p.ours, 0, 5000), 5000);
	assert_int_equal(send_all(p.peer, 0, 5000), 5000);
	wait_for(p.ours, POLLIN);
	assert_true(repair(p.ours, 1));
	assert_int_equal(sock_image_get(p.ours, &i, buf, 4999), -ENOBUFS);
	assert_true(repair(p.ours, 0));
	expect(p.ours, 0, 5000);
	finish(&p);
}

/* --- refused ------------------------------------------------------------- */

/* Whatever the kernel refuses to tell: that is said, and nothing has happened to the
 * connection */
static void nothing_told(void **state)
{
	struct sock_image i;
	unsigned k, fine = 0;
	bool hit = true;
	struct pair p;
	int err;

	(void)state;
	NEED_NETNS();
	p = connected(true);
	assert_int_equal(send_all(p.peer, 0, 5000), 5000);
	wait_for(p.ours, POLLIN);
	assert_int_equal(sock_deaf(p.ours, true), 0);
	assert_true(repair(p.ours, 1));
	for (k = 1; hit; k++) {
		refuse_call(NULL, k, EPERM);
		err = sock_image_get(p.ours, &i, buf, CAP);
		hit = refuse_end();
		assert_true(err == 0 || (hit && err == -EPERM));
		fine += hit && !err;
		if (err)
			continue;
		assert_int_equal(i.rcv_len, 5000);
		assert_memory_equal(buf, bytes, 5000);
	}
	assert_true(k > 10);
	assert_int_equal(fine, 1); /* that the peek offset is where it was */
	assert_int_equal(sock_deaf(p.ours, false), 0);
	assert_true(repair(p.ours, 0));
	expect(p.ours, 0, 5000);
	both_ways(&p, 4, 9);
	finish(&p);
}

/* A new socket that is refused something, closed in repair mode: the far end has heard
 * nothing, and the next one takes its place */
static void nothing_taken(void **state)
{
	unsigned k, fine = 0;
	struct sock_image i;
	bool hit = true;
	struct pair p;
	int fd, err;

	(void)state;
	NEED_NETNS();
	p = connected(true);
	assert_int_equal(sock_deaf(p.peer, true), 0);
	assert_int_equal(send_all(p.ours, 0, 500), 500);
	assert_int_equal(sock_deaf(p.ours, true), 0);
	assert_true(repair(p.ours, 1));
	assert_int_equal(sock_image_get(p.ours, &i, buf, CAP), 0);
	assert_int_equal(i.snd_len - i.unsent, 500);
	sock_close(p.ours);
	for (k = 1; hit; k++) {
		fd = sock_image_make(&env, true);
		assert_true(fd >= 0);
		assert_int_equal(sock_deaf(fd, true), 0);
		assert_true(repair(fd, 1));
		refuse_call(NULL, k, EPERM);
		err = sock_image_put(&env, fd, &p.host, &i, buf, 0);
		hit = refuse_end();
		assert_true(err == 0 || (hit && err == -EPERM));
		fine += hit && !err;
		if (hit)
			sock_close(fd);
	}
	assert_true(k > 10);
	assert_int_equal(fine, 1); /* TCP_MAXSEG as it was */
	p.ours = fd;
	assert_int_equal(sock_deaf(p.ours, false), 0);
	assert_true(repair(p.ours, 0));
	assert_int_equal(sock_deaf(p.peer, false), 0);
	expect(p.peer, 0, 500);
	both_ways(&p, 4, 9);
	finish(&p);
}

/* Much that is on its way, so that the new socket's buffer has to be larger than at
 * first; @refusals of what is written into it */
static void much_unacknowledged(int err, unsigned refusals)
{
	struct sock_image i;
	struct pair p = connected(true);
	size_t out, rest;

	assert_int_equal(sock_deaf(p.peer, true), 0);
	out = send_all(p.ours, 0, MUCH);
	refuse_call("send", refusals ? 1 : 0, err);
	refuse.more = refusals - 1;
	i = move(&p, 0);
	assert_int_equal(refuse_end(), refusals > 0);
	assert_true(i.snd_len - i.unsent > 32 << 10);
	assert_int_equal(sock_deaf(p.peer, false), 0);
	rest = i.unsent;
	expect(p.peer, 0, out - rest);
	while (rest) {
		size_t n = send_all(p.ours, out - rest, rest);

		rest -= n;
		expect(p.peer, out - rest - n, n);
	}
	both_ways(&p, 4, 9);
	finish(&p);
}

static void much_is_on_its_way(void **state)
{
	(void)state;
	NEED_NETNS();
	much_unacknowledged(0, 0);
}

/* There is no block of memory that is so long, or the buffer is too small */
static void memory_is_scarce(void **state)
{
	(void)state;
	NEED_NETNS();
	much_unacknowledged(ENOMEM, 9);
	much_unacknowledged(ENOBUFS, 3);
	much_unacknowledged(EAGAIN, 1);
}

static void no_memory(void **state)
{
	static const int errors[] = { ENOMEM, EAGAIN };
	struct sock_image i;
	struct pair p;
	unsigned k;
	int fd;

	(void)state;
	NEED_NETNS();
	p = connected(true);
	assert_int_equal(send_all(p.peer, 0, 5000), 5000);
	wait_for(p.ours, POLLIN);
	assert_int_equal(sock_deaf(p.ours, true), 0);
	assert_true(repair(p.ours, 1));
	assert_int_equal(sock_image_get(p.ours, &i, buf, CAP), 0);
	sock_close(p.ours);
	for (k = 0; k < ARRAY_SIZE(errors); k++) {
		fd = sock_image_make(&env, true);
		assert_true(repair(fd, 1));
		refuse_call("send", 1, errors[k]);
		refuse.more = 1000;
		assert_int_equal(sock_image_put(&env, fd, &p.host, &i, buf, 0),
				 -errors[k]);
		assert_true(refuse_end());
		sock_close(fd);
	}
	sock_close(p.peer);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(idle4),
		cmocka_unit_test(idle6),
		cmocka_unit_test(full_queues),
		cmocka_unit_test(kept),
		cmocka_unit_test(close_wait),
		cmocka_unit_test(fin_wait2),
		cmocka_unit_test(fin_wait1),
		cmocka_unit_test(last_ack),
		cmocka_unit_test(deaf),
		cmocka_unit_test(too_long),
		cmocka_unit_test(nothing_told),
		cmocka_unit_test(nothing_taken),
		cmocka_unit_test(much_is_on_its_way),
		cmocka_unit_test(memory_is_scarce),
		cmocka_unit_test(no_memory),
	};

	return cmocka_run_group_tests(tests, start, NULL);
}
