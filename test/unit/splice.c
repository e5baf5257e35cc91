/* SPDX-License-Identifier: GPL-2.0-or-later */
/* unit: rules egress fwd dnsanswer flow ns sock loop timer addrset addr util log */
/* A client, the flow and a server, all on the loopback of one namespace: where
 * the other one's sockets would be made there is a call that is counted. */
#include "splice.h"

#include "netns.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>

enum { PORT = 7000, MIB = 1 << 20 };

static struct loop loop;
static struct flows flows;
static struct lan lan;
static struct seen seen;
static struct fwd_map map;
static struct sock_env env;
static struct fwd fwd;
static struct splice s;
static unsigned visits;
static bool refuse_visits;
static const struct rule rule = { .first = PORT, .last = PORT, .to = PORT,
				  .proto = IPPROTO_TCP };

static int visit(void *owner, int (*fn)(void *arg), void *arg)
{
	(void)owner;
	if (refuse_visits)
		return -EPERM;
	visits++;
	return fn(arg);
}

static struct ns ns = { .run = visit };

static int setup(void **state)
{
	enter_netns(state);
	sock_init(&env);
	ns.env = env;
	return 0;
}

static unsigned descriptors(void)
{
	unsigned n = 0;
	int fd;

	for (fd = 0; fd < 4096; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

static unsigned at_start;

static int fresh(void **state)
{
	(void)state;
	visits = 0;
	refuse_visits = false;
	map = (struct fwd_map){ .splice = true, .host_lo_to_ns_lo = true };
	at_start = descriptors();
	assert_int_equal(loop_init(&loop), 0);
	assert_int_equal(flows_init(&flows, &loop), 0);
	fwd_init(&fwd, &lan, &seen, &map, &env);
	splice_init(&s, &flows, &fwd, &ns);
	return 0;
}

/* Descriptors beyond the pools' */
static unsigned extra(void)
{
	const struct splice_pipe *p;
	unsigned n = descriptors() - ns.pool[NS_TCP][0].n - ns.pool[NS_TCP][1].n;

	for (p = s.spare; p; p = p->next)
		n -= 2;
	return n;
}

static void turn(void)
{
	loop_quit(&loop, 0);
	loop_turn(&loop);
	loop.quit = false;
}

static int teardown(void **state)
{
	unsigned n;

	(void)state;
	for (n = 0; n < flows.fresh; n++)
		if (flows.flow[n].kind == FLOW_SPLICE)
			flows.type[FLOW_SPLICE]->expire(&s, &flows.flow[n]);
	assert_int_equal(flows.count, 0);
	for (n = 0; n < 2; n++)
		while (ns.pool[NS_TCP][n].n)
			close(ns.pool[NS_TCP][n].fd[--ns.pool[NS_TCP][n].n]);
	for (; s.spare; s.spare = s.spare->next) {
		close(s.spare->fd[0]);
		close(s.spare->fd[1]);
	}
	while (loop.late_n)
		turn();
	close(loop.epfd);
	assert_int_equal(descriptors(), at_start);
	return 0;
}

static void turns(unsigned n)
{
	while (n--)
		turn();
}

/* Turns until @fd has something to read */
static void await(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	unsigned i;

	for (i = 0; i < 500; i++) {
		turn();
		if (poll(&p, 1, 10))
			return;
	}
	fail();
}

/* Turns until all flows have ended */
static void gone(void)
{
	struct pollfd p = { .fd = loop.epfd, .events = POLLIN };

	for (turn(); flows.count; turn())
		assert_int_equal(poll(&p, 1, 5000), 1);
	while (loop.late_n)
		turn();
}

static int listener(bool v4, uint16_t port)
{
	const struct sock_bind b = { .addr = addr_loopback(v4), .port = port };
	int fd = sock_listen(&env, &b);

	assert_true(fd >= 0);
	return fd;
}

struct link {
	int server_listener, client, server;
	struct flow *f;
};

/* A client whose connection was accepted at a listener of ours */
static void knock(struct link *k, bool v4, enum pif pif)
{
	struct addr lo = addr_loopback(v4);
	struct side from = { .pif = (uint8_t)pif };
	struct addr a;
	uint16_t port;
	int l = listener(v4, 0);

	assert_int_equal(sock_local(l, &a, &port), 0);
	k->client = sock_tcp(&env, &lo);
	assert_int_equal(sock_nodelay(k->client), 0);
	sock_connect(&env, k->client, &lo, port);
	await(l);
	from.fd = sock_accept(&env, l, &from.theirs, &from.their_port,
			      &from.ours, &from.our_port);
	assert_true(from.fd >= 0);
	close(l);
	from.our_port = PORT;
	splice_accepted(&s, &rule, &from);
}

/* The server's buffer has @small bytes, unless that is 0 */
static void join_at(struct link *k, bool v4, enum pif pif, int small)
{
	struct addr a, b;
	uint16_t p, q;

	k->server_listener = listener(v4, PORT);
	if (small)
		assert_int_equal(setsockopt(k->server_listener, SOL_SOCKET,
					    SO_RCVBUF, &small, sizeof(small)), 0);
	knock(k, v4, pif);
	await(k->server_listener);
	k->server = sock_accept(&env, k->server_listener, &a, &p, &b, &q);
	assert_true(k->server >= 0);
	assert_int_equal(flows.count, 1);
	k->f = &flows.flow[flows.fresh - 1];
}

static void join(struct link *k, bool v4, enum pif pif)
{
	join_at(k, v4, pif, 0);
}

static void part(struct link *k)
{
	close(k->server_listener);
	if (k->server >= 0)
		close(k->server);
	if (k->client >= 0)
		close(k->client);
}

/* Byte @i of a stream that repeats nowhere near */
static uint8_t byte(size_t i)
{
	return (uint8_t)(i * 31 + (i >> 8) * 17 + (i >> 16));
}

static size_t feed(int fd, size_t at, size_t end)
{
	uint8_t buf[4096];

	while (at < end) {
		size_t n = MIN(end - at, sizeof(buf)), i;
		ssize_t sent;

		for (i = 0; i < n; i++)
			buf[i] = byte(at + i);
		sent = send(fd, buf, n, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (sent < 0)
			break;
		at += (size_t)sent;
	}
	return at;
}

static size_t eat(int fd, size_t at)
{
	uint8_t buf[4096];
	ssize_t n, i;

	while ((n = recv(fd, buf, sizeof(buf), MSG_DONTWAIT)) > 0) {
		for (i = 0; i < n; i++)
			if (buf[i] != byte(at + (size_t)i))
				fail_msg("byte %zu", at + (size_t)i);
		at += (size_t)n;
	}
	return at;
}

/* Until something happens, or not: the kernel may pace what it has, on a machine
 * that is busy */
static void rest(void)
{
	struct pollfd p = { .fd = loop.epfd, .events = POLLIN };

	poll(&p, 1, 5);
}

/* @size bytes from one end to the other; a lazy reader waits until the writer
 * is stuck */
static void carry(int from, int to, size_t size, bool lazy)
{
	size_t in = 0, out = 0, before;
	unsigned idle = 0;

	while (out < size) {
		before = in + out;
		in = feed(from, in, size);
		turn();
		if (!lazy || before == in + out)
			out = eat(to, out);
		idle = before == in + out ? idle + 1 : 0;
		assert_true(idle < 1000);
		if (idle)
			rest();
	}
	assert_int_equal(out, size);
}

static bool has_ended(int fd)
{
	char c;

	await(fd);
	return recv(fd, &c, 1, MSG_DONTWAIT) == 0;
}

static bool was_reset(int fd)
{
	char c;

	await(fd);
	while (recv(fd, &c, 1, MSG_DONTWAIT) > 0)
		;
	return errno == ECONNRESET;
}

static void both_ways(struct link *k, size_t size, bool lazy)
{
	carry(k->client, k->server, size, lazy);
	carry(k->server, k->client, size, lazy);
}

static void little_and_much(void **state)
{
	static const size_t sizes[] = { 1, 2048, SPLICE_COPY - 1, SPLICE_COPY,
					SPLICE_COPY + 1, 10 * MIB };
	struct link k;
	unsigned i, v;

	(void)state;
	NEED_NETNS();
	for (v = 0; v < 4; v++) {
		join(&k, v & 1, v & 2 ? PIF_SPLICE : PIF_HOST);
		for (i = 0; i < ARRAY_SIZE(sizes); i++)
			both_ways(&k, sizes[i], i & 1);
		part(&k);
		gone();
	}
}

/* Idle connections have two descriptors, and pipes only while bytes are stuck */
static void two_descriptors(void **state)
{
	unsigned before;
	size_t stuck = 0, was, got;
	struct link k;

	(void)state;
	NEED_NETNS();
	before = extra();
	join(&k, true, PIF_HOST);
	both_ways(&k, 4 * MIB, false);
	assert_int_equal(extra(), before + 5); /* three of them the test's */
	do {
		was = stuck;
		rest();
		stuck = feed(k.client, stuck, 64 * MIB);
		turns(3);
	} while (stuck != was);
	assert_int_equal(extra(), before + 7);
	for (got = 0; got < stuck; turn())
		got = eat(k.server, got);
	assert_int_equal(extra(), before + 5);
	part(&k);
	gone();
	assert_int_equal(extra(), before);
}

/* While bulk has no room what comes wakes nobody, and nothing of it is lost; in both
 * ways at once neither waits for the other */
static void full_and_deaf(void **state)
{
	struct pollfd p = { .fd = 0, .events = POLLIN };
	size_t out[2] = { 0 }, back = 0, n, was;
	struct link k;
	unsigned i;
	int woken;

	(void)state;
	NEED_NETNS();
	p.fd = loop.epfd;
	join(&k, true, PIF_HOST);
	both_ways(&k, MIB, false);
	for (n = 0; s.spare || !n || poll(&p, 1, 0); turn())
		n = feed(k.client, n, s.spare ? n + 4L * SPLICE_COPY : n);
	/* Something may yet be under way to the server, and give room */
	for (i = 0, woken = 1; woken; i++, turn()) {
		assert_true(i < 100);
		while (poll(&p, 1, 5))
			turn();
		n = feed(k.client, n, n + 100);
		woken = poll(&p, 1, 5);
	}
	for (i = 0; i < 3; i++) {
		do {
			was = n + back;
			rest();
			n = feed(k.client, n, 64 * MIB);
			back = feed(k.server, back, 64 * MIB);
			turns(3);
		} while (was != n + back);
		for (; out[0] < n; turn())
			out[0] = eat(k.server, out[0]);
		n = feed(k.client, n, n + 1000);
		for (; out[1] < back || out[0] < n; turn()) {
			out[1] = eat(k.client, out[1]);
			out[0] = eat(k.server, out[0]);
		}
	}
	shutdown(k.client, SHUT_WR);
	assert_true(has_ended(k.server));
	part(&k);
	gone();
}

/* What a pipe of the kind has here: quotas and limits differ */
static int pipe_size(int want)
{
	int fd[2], size;

	assert_int_equal(pipe(fd), 0);
	size = want ? fcntl(fd[1], F_SETPIPE_SZ, want) : -1;
	if (size < 0)
		size = fcntl(fd[1], F_GETPIPE_SZ);
	close(fd[0]);
	close(fd[1]);
	return size;
}

/* Little takes no more of the user's quota than any pipe */
static void wide_for_bulk(void **state)
{
	int small = pipe_size(0), wide = pipe_size(SPLICE_PIPE);
	struct link k;

	(void)state;
	NEED_NETNS();
	if (small > wide || small < SPLICE_COPY)
		skip();
	join(&k, true, PIF_HOST);
	both_ways(&k, 2048, false);
	assert_non_null(s.spare);
	assert_true(fcntl(s.spare->fd[1], F_GETPIPE_SZ) < wide);
	both_ways(&k, 10 * MIB, true);
	assert_int_equal(fcntl(s.spare->fd[1], F_GETPIPE_SZ), wide);
	part(&k);
	gone();
}

static void without_pipes(void **state)
{
	struct splice_pipe *all;
	struct link k;

	(void)state;
	NEED_NETNS();
	all = s.unmade;
	s.unmade = NULL;
	join(&k, true, PIF_HOST);
	both_ways(&k, 1000, false);
	both_ways(&k, 3 * MIB, false);
	both_ways(&k, 3 * MIB, true);
	assert_null(s.spare);
	part(&k);
	gone();
	s.unmade = all;
}

/* In the middle of bulk, alone, and in front of the end */
static void urgent(struct link *k, size_t size)
{
	const uint8_t c = byte(size);
	size_t out = 0, end;
	unsigned i;

	for (end = 0; end < size; turn()) {
		end = feed(k->client, end, size);
		out = eat(k->server, out);
	}
	assert_int_equal(send(k->client, &c, 1, MSG_OOB), 1);
	end = feed(k->client, size + 1, size + 100);
	for (i = 0; i < 1000 && out < end; i++, turn()) {
		out = eat(k->server, out);
		if (i > 2 && out < end)
			rest();
	}
	assert_int_equal(out, size + 100);
}

static void urgent_data(void **state)
{
	static const size_t sizes[] = { 3, SPLICE_COPY, 3 * MIB };
	struct splice_pipe *all = s.unmade;
	struct link k;
	unsigned i;

	(void)state;
	NEED_NETNS();
	for (i = 0; i < 2 * ARRAY_SIZE(sizes); i++) {
		s.unmade = i & 1 ? NULL : all;
		join(&k, true, PIF_HOST);
		urgent(&k, sizes[i / 2]);
		urgent(&k, sizes[i / 2]);
		assert_int_equal(send(k.client, "", 1, MSG_OOB), 1);
		shutdown(k.client, SHUT_WR);
		await(k.server);
		assert_int_equal(eat(k.server, 0), 1);
		assert_true(has_ended(k.server));
		part(&k);
		gone();
		s.unmade = all;
	}
}

static void half_close(void **state)
{
	struct link k;

	(void)state;
	NEED_NETNS();
	join(&k, false, PIF_HOST);
	carry(k.client, k.server, 2 * MIB, false);
	shutdown(k.client, SHUT_WR);
	assert_true(has_ended(k.server));
	carry(k.server, k.client, 2 * MIB, true);
	shutdown(k.server, SHUT_WR);
	assert_true(has_ended(k.client));
	gone();
	part(&k);
}

/* The end waits for the bytes before it, wherever they are stuck */
static void end_behind_stuck_bytes(void **state)
{
	size_t sent = 0, was, got = 0;
	struct link k;

	(void)state;
	NEED_NETNS();
	join(&k, true, PIF_HOST);
	do {
		was = sent;
		sent = feed(k.client, sent, 64 * MIB);
		turns(3);
	} while (sent != was);
	close(k.client);
	k.client = -1;
	turns(3);
	while (got < sent) {
		got = eat(k.server, got);
		turn();
	}
	assert_int_equal(got, sent);
	assert_true(has_ended(k.server));
	part(&k);
	gone();
}

static void resets(void **state)
{
	struct link k;
	unsigned i;

	(void)state;
	NEED_NETNS();
	for (i = 0; i < 2; i++) {
		join(&k, true, PIF_HOST);
		both_ways(&k, 100, false);
		sock_abort(i ? k.client : k.server);
		assert_true(was_reset(i ? k.server : k.client));
		if (i)
			k.client = -1;
		else
			k.server = -1;
		gone();
		part(&k);
	}
}

/* The last words of who resets are still heard */
static void words_before_reset(void **state)
{
	struct link k;
	size_t got = 0;
	unsigned i;

	(void)state;
	NEED_NETNS();
	join(&k, true, PIF_HOST);
	assert_int_equal(feed(k.server, 0, 5000), 5000);
	sock_abort(k.server);
	k.server = -1;
	for (i = 0; i < 1000 && got < 5000; i++) {
		await(k.client);
		got = eat(k.client, got);
	}
	assert_int_equal(got, 5000);
	part(&k);
}

static void reset_with_stuck_bytes(void **state)
{
	size_t sent = 0, was;
	unsigned before;
	struct link k;

	(void)state;
	NEED_NETNS();
	before = extra();
	join(&k, true, PIF_HOST);
	do {
		was = sent;
		sent = feed(k.client, sent, 64 * MIB);
		turns(3);
	} while (sent != was);
	sock_abort(k.server);
	k.server = -1;
	assert_true(was_reset(k.client));
	part(&k);
	gone();
	assert_int_equal(extra(), before);
}

/* We exit: neither end takes that for the other's */
static void reset_at_exit(void **state)
{
	struct link k;

	(void)state;
	NEED_NETNS();
	join(&k, true, PIF_HOST);
	both_ways(&k, 100, false);
	while (flows_cut(&flows, false))
		turn();
	assert_true(was_reset(k.server));
	assert_true(was_reset(k.client));
	part(&k);
	gone();
}

/* One that was said is one, and there is nothing to wait for */
static void end_at_exit(void **state)
{
	struct link k;

	(void)state;
	NEED_NETNS();
	join(&k, true, PIF_HOST);
	both_ways(&k, 100, false);
	shutdown(k.client, SHUT_WR);
	assert_true(has_ended(k.server));
	assert_false(flows_cut(&flows, true));
	gone();
	assert_true(was_reset(k.client));
	assert_true(has_ended(k.server));
	part(&k);
}

/* What is in our socket, and not with the server yet, is waited for */
static void reset_behind_all(void **state)
{
	const int small = 4096;
	enum { ALL = 30000 };
	size_t got = 0;
	struct link k;

	(void)state;
	NEED_NETNS();
	join_at(&k, true, PIF_HOST, small);
	assert_int_equal(feed(k.client, 0, ALL), ALL);
	while (sock_undelivered(k.client) ||
	       sock_unread(k.f->side[0].fd))
		turn();
	assert_true(flows_cut(&flows, false));
	do
		got = eat(k.server, got);
	while (flows_cut(&flows, false));
	assert_int_equal(eat(k.server, got), ALL);
	assert_true(was_reset(k.server));
	part(&k);
	gone();
}

static void reset_at_once(void **state)
{
	size_t sent = 0, was;
	struct link k;

	(void)state;
	NEED_NETNS();
	join(&k, true, PIF_HOST);
	do {
		was = sent;
		sent = feed(k.client, sent, 64 * MIB);
		turns(3);
	} while (sent != was);
	assert_false(flows_cut(&flows, true));
	assert_true(eat(k.server, 0) < sent);
	assert_true(was_reset(k.server));
	part(&k);
	gone();
}

static void refused(void **state)
{
	unsigned before, i;
	struct link k;

	(void)state;
	NEED_NETNS();
	before = extra();
	for (i = 0; i < 200; i++) {
		knock(&k, i & 1, i & 2 ? PIF_SPLICE : PIF_HOST);
		assert_true(was_reset(k.client));
		close(k.client);
		gone();
	}
	assert_int_equal(extra(), before);
}

static void client_leaves_early(void **state)
{
	struct link k;

	(void)state;
	NEED_NETNS();
	k.server_listener = listener(true, PORT);
	k.server = -1;
	knock(&k, true, PIF_HOST);
	sock_abort(k.client);
	k.client = -1;
	gone();
	part(&k);
}

/* One visit for a batch of sockets, the next one before it is used up */
static void sockets_in_batches(void **state)
{
	int l[100];
	unsigned i;
	struct link k;

	(void)state;
	NEED_NETNS();
	k.server_listener = listener(true, PORT);
	for (i = 0; i < ARRAY_SIZE(l); i++) {
		knock(&k, true, PIF_HOST);
		l[i] = k.client;
		assert_true(ns.pool[NS_TCP][0].n > 0);
	}
	assert_true(visits <= 5); /* 8, 16, 32, 64 and a rest */
	assert_int_equal(ns.pool[NS_TCP][1].n, 0);
	/* Towards the host there is nothing to visit */
	visits = 0;
	for (i = 0; i < 5; i++) {
		close(l[i]);
		knock(&k, true, PIF_SPLICE);
		l[i] = k.client;
	}
	assert_int_equal(visits, 0);
	for (i = 0; i < ARRAY_SIZE(l); i++)
		close(l[i]);
	close(k.server_listener);
}

static void nobody_may_enter(void **state)
{
	struct link k;

	(void)state;
	NEED_NETNS();
	refuse_visits = true;
	knock(&k, true, PIF_HOST);
	assert_true(was_reset(k.client));
	close(k.client);
	assert_int_equal(flows.count, 0);
}

/* What we have sent ourselves is not for us to forward */
static void no_circles(void **state)
{
	struct side from = { .pif = PIF_SPLICE };
	struct link k;

	(void)state;
	NEED_NETNS();
	k.server_listener = listener(true, PORT);
	knock(&k, true, PIF_HOST);
	await(k.server_listener);
	assert_int_equal(flows.count, 1);
	/* Had our listener been the server */
	from.fd = sock_accept(&env, k.server_listener, &from.theirs,
			      &from.their_port, &from.ours, &from.our_port);
	assert_true(from.fd >= 0);
	splice_accepted(&s, &rule, &from);
	assert_true(was_reset(k.client));
	gone();
	close(k.client);
	close(k.server_listener);
}

static bool is_nodelay(int fd)
{
	int v = 0;
	socklen_t len = sizeof(v);

	assert_int_equal(getsockopt(fd, SOL_TCP, TCP_NODELAY, &v, &len), 0);
	return v;
}

/* Little is not held back: the first bytes of a connection never are */
static void no_delay(void **state)
{
	struct link k;
	char c;

	(void)state;
	NEED_NETNS();
	join(&k, true, PIF_HOST);
	assert_true(is_nodelay(k.f->side[0].fd));
	for (c = 'a'; c < 'c'; c++) {
		char got;

		assert_int_equal(send(k.client, &c, 1, 0), 1);
		await(k.server);
		assert_int_equal(recv(k.server, &got, 1, 0), 1);
		assert_int_equal(got, c);
	}
	assert_true(is_nodelay(k.f->side[1].fd));
	part(&k);
}

#define T(f) cmocka_unit_test_setup_teardown(f, fresh, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(little_and_much),	   T(two_descriptors),
		T(wide_for_bulk), T(without_pipes),	   T(half_close),
		T(end_behind_stuck_bytes), T(resets),
		T(words_before_reset),	   T(reset_with_stuck_bytes),
		T(reset_at_exit),	   T(end_at_exit),
		T(reset_behind_all),	   T(reset_at_once),
		T(refused),		   T(client_leaves_early),
		T(sockets_in_batches),	   T(nobody_may_enter),
		T(no_circles),		   T(no_delay),
		T(urgent_data),		   T(full_and_deaf),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
