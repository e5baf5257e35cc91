/* SPDX-License-Identifier: GPL-2.0-or-later */
/* unit: addr util log */
#include "sock.h"

#include "netns.h"
#include "util.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

static struct sock_env env;
static bool no_peek6; /* as Linux 6.9 and 6.10 have it */

static bool not_had(int fd, int level, int opt)
{
	socklen_t len = sizeof(int);
	int family = 0;

	if (!no_peek6 || level != SOL_SOCKET || opt != SO_PEEK_OFF)
		return false;
	syscall(SYS_getsockopt, fd, SOL_SOCKET, SO_DOMAIN, &family, &len);
	errno = EOPNOTSUPP;
	return family == AF_INET6;
}

int setsockopt(int fd, int level, int opt, const void *v, socklen_t len)
{
	return not_had(fd, level, opt) ? -1 :
		(int)syscall(SYS_setsockopt, fd, level, opt, v, len);
}

int getsockopt(int fd, int level, int opt, void *v, socklen_t *len)
{
	return not_had(fd, level, opt) ? -1 :
		(int)syscall(SYS_getsockopt, fd, level, opt, v, len);
}

static int setup(void **state)
{
	enter_netns(state);
	sock_init(&env);
	return 0;
}

static void wait_in(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	assert_int_equal(poll(&p, 1, 5000), 1);
}

static int option(int fd, int level, int opt)
{
	int v = -1;
	socklen_t len = sizeof(v);

	assert_int_equal(getsockopt(fd, level, opt, &v, &len), 0);
	return v;
}

static struct addr lo(bool v4)
{
	return addr_loopback(v4);
}

/* --- probes ------------------------------------------------------------- */

/* What the probe says, the obvious way: two peeks after a setsockopt */
static bool peeks(bool v4)
{
	struct sockaddr_storage ss = { 0 };
	socklen_t len = sizeof(ss);
	char a = 0, b = 0;
	int off = 0, l, c, s;

	ss.ss_family = v4 ? AF_INET : AF_INET6;
	if (v4)
		((struct sockaddr_in *)(void *)&ss)->sin_addr.s_addr =
			htonl(INADDR_LOOPBACK);
	else
		((struct sockaddr_in6 *)(void *)&ss)->sin6_addr =
			in6addr_loopback;
	l = socket(ss.ss_family, SOCK_STREAM, 0);
	assert_int_equal(bind(l, (void *)&ss, v4 ? sizeof(struct sockaddr_in)
						 : sizeof(struct sockaddr_in6)),
			 0);
	assert_int_equal(listen(l, 1), 0);
	assert_int_equal(getsockname(l, (void *)&ss, &len), 0);
	c = socket(ss.ss_family, SOCK_STREAM, 0);
	assert_int_equal(connect(c, (void *)&ss, len), 0);
	s = accept(l, NULL, NULL);
	assert_int_equal(send(c, "xy", 2, 0), 2);
	wait_in(s);
	setsockopt(s, SOL_SOCKET, SO_PEEK_OFF, &off, sizeof(off));
	recv(s, &a, 1, MSG_PEEK);
	recv(s, &b, 1, MSG_PEEK);
	close(l);
	close(c);
	close(s);
	return a == 'x' && b == 'y';
}

static void probes_agree_with_plain_ones(void **state)
{
	(void)state;
	NEED_NETNS();
	assert_true(env.v4);
	assert_int_equal(env.peek_off4, peeks(true));
	assert_true(env.ttl4 > 0);
	if (!env.v6)
		return;
	assert_int_equal(env.peek_off6, peeks(false));
	assert_true(env.ttl6 > 0);
}

static void probes_are_soft_without_loopback(void **state)
{
	struct sock_env e = { 0 };
	int pid, status;

	(void)state;
	NEED_NETNS();
	pid = fork();
	if (!pid) {
		if (!netns_new())
			_exit(2);
		sock_init(&e);
		_exit(e.v4 && !e.peek_off4 && !e.peek_off6 && !e.inherits &&
				      e.gso == env.gso && e.gro == env.gro
			      ? 0
			      : 1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) == 2)
		skip();
	assert_int_equal(WEXITSTATUS(status), 0);
}

/* --- TCP ---------------------------------------------------------------- */

struct ends {
	int listener, client, server;
	struct addr from, to;
	uint16_t from_port, to_port, port;
};

static void connect_ends(const struct sock_env *e, struct ends *n,
			 const struct sock_bind *b, const struct addr *to)
{
	struct addr a;
	int err;

	n->listener = sock_listen(e, b);
	assert_true(n->listener >= 0);
	assert_int_equal(sock_local(n->listener, &a, &n->port), 0);
	assert_int_equal(sock_accept(e, n->listener, &n->from, &n->from_port,
				     &n->to, &n->to_port),
			 -EAGAIN);
	n->client = sock_tcp(e, to);
	assert_true(n->client >= 0);
	err = sock_connect(e, n->client, to, n->port);
	assert_true(!err || err == -EINPROGRESS);
	wait_in(n->listener);
	n->server = sock_accept(e, n->listener, &n->from, &n->from_port,
				&n->to, &n->to_port);
	assert_true(n->server >= 0);
	assert_int_equal(sock_error(n->client), 0);
}

static void close_ends(const struct ends *n)
{
	sock_close(n->client);
	sock_close(n->server);
	sock_close(n->listener);
}

static void check_stream(int fd, bool peek)
{
	assert_int_equal(option(fd, SOL_TCP, TCP_NODELAY), 1);
	assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
	if (peek)
		assert_int_equal(option(fd, SOL_SOCKET, SO_PEEK_OFF), 0);
}

static void connection(const struct sock_env *e, bool v4)
{
	struct sock_bind b = { .addr = lo(v4) };
	struct addr to = lo(v4), a;
	struct ends n;
	uint16_t port;

	connect_ends(e, &n, &b, &to);
	assert_int_equal(option(n.client, SOL_TCP, TCP_NODELAY), 0);
	assert_int_equal(sock_nodelay(n.client), 0);
	check_stream(n.client, false);
	check_stream(n.server, v4 ? e->peek_off4 : e->peek_off6);
	assert_true(addr_equal(&n.from, &to));
	assert_true(addr_equal(&n.to, &to));
	assert_int_equal(n.to_port, n.port);
	assert_int_equal(sock_local(n.client, &a, &port), 0);
	assert_int_equal(port, n.from_port);
	close_ends(&n);
}

static void connects_and_accepts(void **state)
{
	struct sock_env plain = env;

	(void)state;
	NEED_NETNS();
	connection(&env, true);
	connection(&env, false);
	plain.inherits = false;
	connection(&plain, true);
	plain.peek_off4 = plain.peek_off6 = false;
	connection(&plain, false);
}

/* What a dual listener accepts of IPv4 is a socket of IPv6, whose ways it has */
static void peeks_as_it_says(void)
{
	const struct sock_bind b = { .dual = true };
	const struct addr to = lo(true);
	struct sock_env e = env;
	char got[2] = { 0 };
	struct ends n;
	unsigned i;

	sock_init(&e);
	connect_ends(&e, &n, &b, &to);
	assert_true(addr_is_v4(&n.from));
	assert_int_equal(send(n.client, "xy", 2, 0), 2);
	wait_in(n.server);
	for (i = 0; i < 2; i++)
		assert_int_equal(sock_peek(n.server, &(struct iovec){ &got[i], 1 },
					   1), 1);
	if (sock_can_peek(&e, addr_is_v4(&n.from)))
		assert_memory_equal(got, "xy", 2);
	close_ends(&n);
}

static void dual_listeners_peek(void **state)
{
	(void)state;
	NEED_NETNS();
	if (!env.v4 || !env.v6)
		skip();
	peeks_as_it_says();
	no_peek6 = true;
	peeks_as_it_says();
	no_peek6 = false;
}

static bool has_bbr(int fd)
{
	char name[16] = "";
	socklen_t len = sizeof(name);

	assert_int_equal(getsockopt(fd, SOL_TCP, TCP_CONGESTION, name, &len),
			 0);
	return !strcmp(name, "bbr");
}

/* Where BBR is the default; otherwise nothing shows that it was changed */
static void loopback_is_not_paced(void **state)
{
	struct sock_bind b = { .addr = lo(true) };
	struct addr to = lo(true), other = addr_v4(192, 0, 2, 1);
	struct sock_env inside = env;
	struct ends n;
	int fd;

	(void)state;
	NEED_NETNS();
	fd = sock_tcp(&env, &other);
	assert_true(fd >= 0);
	assert_int_equal(has_bbr(fd), env.paced);
	sock_close(fd);
	connect_ends(&env, &n, &b, &to);
	assert_false(has_bbr(n.client) || has_bbr(n.server));
	close_ends(&n);
	inside.inside = true;
	fd = sock_tcp(&inside, &other);
	assert_true(fd >= 0);
	assert_false(has_bbr(fd));
	sock_close(fd);
	connect_ends(&inside, &n, &b, &to);
	assert_false(has_bbr(n.listener) || has_bbr(n.server));
	close_ends(&n);
}

static void dual_listener_gives_mapped_addresses(void **state)
{
	struct sock_bind b = { .dual = true };
	struct addr four = lo(true), six = lo(false);
	struct ends n;

	(void)state;
	NEED_NETNS();
	connect_ends(&env, &n, &b, &four);
	assert_true(addr_equal(&n.from, &four));
	assert_true(addr_equal(&n.to, &four));
	close_ends(&n);
	connect_ends(&env, &n, &b, &six);
	assert_true(addr_equal(&n.from, &six));
	close_ends(&n);
}

static void single_listener_is_of_one_family(void **state)
{
	struct sock_bind b6 = { .addr = addr_any(false) }, b4;
	int six = sock_listen(&env, &b6), four;
	struct addr a;

	(void)state;
	NEED_NETNS();
	b4 = (struct sock_bind){ .addr = addr_any(true) };
	assert_int_equal(sock_local(six, &a, &b4.port), 0);
	/* The same port is free for the other family */
	four = sock_listen(&env, &b4);
	assert_true(four >= 0);
	assert_int_equal(sock_listen(&env, &b4), -EADDRINUSE);
	sock_close(four);
	sock_close(six);
}

static void peeks_move_on(void **state)
{
	struct sock_bind b = { .addr = lo(true) };
	struct addr to = lo(true);
	char in[8] = { 0 }, more[4] = { 0 };
	struct iovec two[2] = { { in, 3 }, { in + 3, 2 } };
	struct iovec one = { more, 4 }, data = { "abcdefghij", 10 };
	struct ends n;

	(void)state;
	NEED_NETNS();
	if (!env.peek_off4)
		skip();
	connect_ends(&env, &n, &b, &to);
	assert_int_equal(sock_peek(n.server, &one, 1), -EAGAIN);
	assert_int_equal(sock_send(n.client, &data, 1), 10);
	wait_in(n.server);
	assert_int_equal(sock_peek(n.server, two, 2), 5);
	assert_string_equal(in, "abcde");
	assert_int_equal(sock_peek(n.server, &one, 1), 4);
	assert_memory_equal(more, "fghi", 4);
	assert_int_equal(sock_unread(n.server), 10);
	/* Nine peeked, two taken out: seven are before the offset */
	assert_int_equal(sock_discard(n.server, 2), 2);
	assert_int_equal(sock_unread(n.server), 8);
	assert_int_equal(option(n.server, SOL_SOCKET, SO_PEEK_OFF), 7);
	assert_int_equal(sock_peek(n.server, &one, 1), 1);
	assert_int_equal(more[0], 'j');
	assert_int_equal(sock_peek_to(n.server, 1), 0);
	assert_int_equal(sock_peek(n.server, &one, 1), 4);
	assert_memory_equal(more, "defg", 4);
	assert_int_equal(sock_recv(n.server, &one, 1), 4);
	assert_memory_equal(more, "cdef", 4);
	assert_int_equal(sock_shut_write(n.client), 0);
	assert_int_equal(sock_discard(n.server, 4), 4);
	wait_in(n.server);
	assert_int_equal(sock_peek(n.server, &one, 1), 0);
	close_ends(&n);
}

static int queued(int fd)
{
	int n = 0;

	assert_int_equal(ioctl(fd, FIONREAD, &n), 0);
	return n;
}

/* Reads end in front of urgent data and go on with them, taking out does not */
static void urgent(int from, int to, bool peek)
{
	unsigned i;
	char in[16] = { 0 };
	struct iovec all = { in, sizeof(in) };

	assert_int_equal(send(from, "abcX", 4, MSG_OOB), 4);
	assert_int_equal(send(from, "defghi", 6, 0), 6);
	for (i = 0; queued(to) < 10 && i < 5000; i++)
		poll(NULL, 0, 1);
	if (peek) {
		assert_int_equal(sock_peek_to(to, 0), 0);
		assert_int_equal(sock_peek(to, &all, 1), 3);
		assert_memory_equal(in, "abc", 3);
		assert_int_equal(sock_peek(to, &all, 1), 7);
		assert_memory_equal(in, "Xdefghi", 7);
		assert_int_equal(sock_discard(to, 5), 5);
		assert_int_equal(sock_recv(to, &all, 1), 5);
		assert_memory_equal(in, "efghi", 5);
		return;
	}
	assert_int_equal(sock_recv(to, &all, 1), 3);
	assert_int_equal(sock_recv(to, &all, 1), 7);
	assert_memory_equal(in, "Xdefghi", 7);
}

static void urgent_in_line(void **state)
{
	struct sock_env plain = env;
	struct sock_bind b = { .addr = lo(true) };
	struct addr to = lo(true);
	struct ends n;
	unsigned i;

	(void)state;
	NEED_NETNS();
	plain.inherits = false;
	for (i = 0; i < 2; i++) {
		connect_ends(i ? &env : &plain, &n, &b, &to);
		urgent(n.client, n.server, i && env.peek_off4);
		urgent(n.server, n.client, i && env.peek_off4);
		close_ends(&n);
	}
}

/* Who connected looks at the same bytes until an offset is set */
static void peeks_stay_without_offset(void **state)
{
	struct sock_bind b = { .addr = lo(true) };
	struct addr to = lo(true);
	char in[4];
	struct iovec one = { in, 4 }, data = { "abcdefghij", 10 };
	struct ends n;

	(void)state;
	NEED_NETNS();
	if (!sock_can_peek(&env, true))
		skip();
	connect_ends(&env, &n, &b, &to);
	assert_int_equal(sock_send(n.server, &data, 1), 10);
	wait_in(n.client);
	assert_int_equal(sock_peek(n.client, &one, 1), 4);
	assert_int_equal(sock_peek(n.client, &one, 1), 4);
	assert_memory_equal(in, "abcd", 4);
	assert_int_equal(sock_discard(n.client, 2), 2);
	assert_int_equal(sock_peek_to(n.client, 2), 0);
	assert_int_equal(sock_peek(n.client, &one, 1), 4);
	assert_memory_equal(in, "efgh", 4);
	assert_int_equal(sock_peek(n.client, &one, 1), 2);
	close_ends(&n);
}

static void room_shrinks(void **state)
{
	static char buf[1 << 16];
	struct iovec v = { buf, sizeof(buf) };
	struct sock_bind b = { .addr = lo(true) };
	struct addr to = lo(true);
	ssize_t before, after, n;
	struct ends e;

	(void)state;
	NEED_NETNS();
	connect_ends(&env, &e, &b, &to);
	before = sock_room(e.client);
	assert_true(before > 0);
	assert_true(sock_rcvbuf(e.client) > 0);
	do
		n = sock_send(e.client, &v, 1);
	while (n > 0);
	assert_int_equal(n, -EAGAIN);
	after = sock_room(e.client);
	assert_true(after >= 0);
	assert_true(after < before);
	close_ends(&e);
	assert_int_equal(sock_room(e.client), -EBADF);
}

static void abort_is_a_reset(void **state)
{
	struct sock_bind b = { .addr = lo(true) };
	struct addr to = lo(true);
	struct ends n;
	char c;

	(void)state;
	NEED_NETNS();
	connect_ends(&env, &n, &b, &to);
	assert_int_equal(sock_keepalive(n.client), 0);
	assert_int_equal(option(n.client, SOL_SOCKET, SO_KEEPALIVE), 1);
	sock_abort(n.server);
	wait_in(n.client);
	assert_int_equal(sock_recv(n.client, &(struct iovec){ &c, 1 }, 1),
			 -ECONNRESET);
	/* And writing afterwards is an error, not a signal */
	assert_int_equal(sock_send(n.client, &(struct iovec){ &c, 1 }, 1),
			 -EPIPE);
	sock_close(n.client);
	sock_close(n.listener);
}

static void abort_needs_no_others(void **state)
{
	struct sock_bind b = { .addr = lo(true) };
	struct addr to = lo(true);
	struct ends n;
	int copy;
	char c;

	(void)state;
	NEED_NETNS();
	connect_ends(&env, &n, &b, &to);
	copy = dup(n.server);
	sock_abort(n.server);
	wait_in(n.client);
	assert_int_equal(sock_recv(n.client, &(struct iovec){ &c, 1 }, 1),
			 -ECONNRESET);
	close(copy);
	sock_close(n.client);
	sock_close(n.listener);
}

static void outbound_address_is_used(void **state)
{
	struct sock_env e = env;
	struct sock_bind b = { .addr = addr_any(true) };
	struct addr to = addr_v4(127, 0, 0, 1), a;
	uint16_t port;
	int fd;

	(void)state;
	NEED_NETNS();
	e.freebind = true;
	e.out4 = addr_v4(127, 0, 0, 9);
	/* Not towards the host itself */
	fd = sock_tcp(&e, &to);
	assert_int_equal(sock_local(fd, &a, &port), 0);
	assert_true(addr_is_unspecified(&a));
	sock_close(fd);
	to = addr_v4(192, 0, 2, 1);
	fd = sock_tcp(&e, &to);
	assert_int_equal(sock_local(fd, &a, &port), 0);
	assert_true(addr_equal(&a, &e.out4));
	sock_close(fd);
	fd = sock_udp(&e, &b, &to, 0, false);
	assert_true(fd >= 0);
	assert_int_equal(sock_local(fd, &a, &port), 0);
	assert_true(addr_equal(&a, &e.out4));
	sock_close(fd);
}

static void freebind_binds_foreign_addresses(void **state)
{
	struct sock_env e = env;
	struct sock_bind b = { .addr = addr_v4(203, 0, 113, 9) };
	int fd;

	(void)state;
	NEED_NETNS();
	assert_int_equal(sock_listen(&e, &b), -EADDRNOTAVAIL);
	assert_int_equal(sock_udp_listen(&e, &b), -EADDRNOTAVAIL);
	e.freebind = true;
	fd = sock_listen(&e, &b);
	assert_true(fd >= 0);
	sock_close(fd);
	fd = sock_udp_listen(&e, &b);
	assert_true(fd >= 0);
	sock_close(fd);
}

static void device_is_bound(void **state)
{
	struct sock_bind b = { .addr = addr_any(true), .ifname = "lo" };
	char name[16] = { 0 };
	socklen_t len = sizeof(name);
	int fd;

	(void)state;
	NEED_NETNS();
	if (!env.bindtodevice)
		skip();
	fd = sock_udp_listen(&env, &b);
	assert_true(fd >= 0);
	assert_int_equal(getsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, name,
				    &len),
			 0);
	assert_string_equal(name, "lo");
	sock_close(fd);
	b.ifname = "nosuch0";
	assert_int_equal(sock_udp_listen(&env, &b), -ENODEV);
}

/* --- UDP ---------------------------------------------------------------- */

/* A listener on @b and a socket connected to @to at its port */
static void udp_pair(const struct sock_bind *b, const struct addr *to, int *l,
		     int *c, uint16_t *port)
{
	struct sock_bind any = { 0 };
	struct addr a;

	*l = sock_udp_listen(&env, b);
	assert_true(*l >= 0);
	assert_int_equal(sock_local(*l, &a, port), 0);
	*c = sock_udp(&env, &any, to, *port, false);
	assert_true(*c >= 0);
}

static void send_one(int fd, const void *p, size_t len)
{
	struct iovec v = { (void *)p, len };
	struct sock_dgram d = { .iov = &v, .iov_cnt = 1, .len = len };

	assert_int_equal(sock_send_dgrams(fd, &d, 1), 1);
}

static void datagrams(const struct sock_bind *b, struct addr to)
{
	char in[4][16];
	struct iovec v[4];
	struct sock_dgram d[4];
	int l, c, i, got;
	uint16_t port, from;
	struct addr a;

	udp_pair(b, &to, &l, &c, &port);
	assert_int_equal(sock_local(c, &a, &from), 0);
	for (i = 0; i < 4; i++) {
		v[i] = (struct iovec){ in[i], sizeof(in[i]) };
		d[i] = (struct sock_dgram){ .iov = &v[i], .iov_cnt = 1 };
	}
	assert_int_equal(sock_recv_dgrams(l, d, 4, true), -EAGAIN);
	send_one(c, "one", 3);
	send_one(c, "", 0);
	send_one(c, "seventeen letters", 17);
	wait_in(l);
	got = sock_recv_dgrams(l, d, 4, true);
	assert_int_equal(got, 3);
	assert_int_equal(d[0].len, 3);
	assert_memory_equal(in[0], "one", 3);
	assert_int_equal(d[1].len, 0);
	assert_int_equal(d[2].len, 16);
	assert_false(d[0].truncated);
	assert_true(d[2].truncated);
	for (i = 0; i < got; i++) {
		assert_true(addr_equal(&d[i].to, &to));
		assert_true(addr_equal(&d[i].from, &a));
		assert_int_equal(d[i].from_port, from);
		assert_int_equal(d[i].gso_size, 0);
	}
	sock_close(l);
	sock_close(c);
}

static void datagrams_have_addresses(void **state)
{
	struct sock_bind four = { .addr = addr_any(true) };
	struct sock_bind six = { .addr = addr_any(false) };
	struct sock_bind dual = { .dual = true };

	(void)state;
	NEED_NETNS();
	datagrams(&four, addr_v4(127, 0, 0, 5));
	datagrams(&six, lo(false));
	datagrams(&dual, addr_v4(127, 0, 0, 5));
	datagrams(&dual, lo(false));
}

/* Lengths of the datagrams that @n received ones stand for */
static unsigned unroll(const struct sock_dgram *d, int n, size_t *len)
{
	unsigned out = 0;
	int i;

	for (i = 0; i < n; i++) {
		size_t left = d[i].len, step = d[i].gso_size;

		do {
			len[out] = step && step < left ? step : left;
			left -= len[out++];
		} while (left);
	}
	return out;
}

static void runs_arrive_whole(void **state)
{
	static char buf[4 * 1000 + 300], in[8][UINT16_MAX];
	struct iovec v = { buf, sizeof(buf) }, iv[8];
	struct sock_dgram run = { .iov = &v, .iov_cnt = 1,
				  .len = sizeof(buf), .gso_size = 1000 };
	struct sock_bind b = { .addr = lo(true) };
	struct addr to = lo(true);
	struct sock_dgram d[8];
	size_t len[16], i;
	int l, c, gro, n;
	uint16_t port;

	(void)state;
	NEED_NETNS();
	if (!env.gso || !env.gro)
		skip();
	for (i = 0; i < sizeof(buf); i++)
		buf[i] = (char)(i * 7);
	/* Until 5.11 the loopback interface cuts them */
	for (gro = 0; gro <= linux_has(5, 11); gro++) {
		udp_pair(&b, &to, &l, &c, &port);
		if (gro)
			assert_true(sock_gro(l));
		for (i = 0; i < 8; i++) {
			iv[i] = (struct iovec){ in[i], sizeof(in[i]) };
			d[i] = (struct sock_dgram){ .iov = &iv[i],
						    .iov_cnt = 1 };
		}
		assert_int_equal(sock_send_dgrams(c, &run, 1), 1);
		wait_in(l);
		n = sock_recv_dgrams(l, d, 8, false);
		assert_int_equal(n, gro ? 1 : 5);
		assert_int_equal(unroll(d, n, len), 5);
		for (i = 0; i < 4; i++)
			assert_int_equal(len[i], 1000);
		assert_int_equal(len[4], 300);
		if (gro)
			assert_memory_equal(in[0], buf, sizeof(buf));
		sock_close(l);
		sock_close(c);
	}
}

static void batch_is_sent_in_order(void **state)
{
	static char in[SOCK_BATCH][4];
	struct iovec v[SOCK_BATCH], out[SOCK_BATCH];
	struct sock_dgram d[SOCK_BATCH], s[SOCK_BATCH];
	struct sock_bind b = { .addr = lo(true) };
	struct addr to = lo(true);
	uint32_t num[SOCK_BATCH];
	uint16_t port;
	unsigned i;
	int l, c;

	(void)state;
	NEED_NETNS();
	udp_pair(&b, &to, &l, &c, &port);
	for (i = 0; i < SOCK_BATCH; i++) {
		num[i] = i * 1234567;
		out[i] = (struct iovec){ &num[i], 4 };
		s[i] = (struct sock_dgram){ .iov = &out[i], .iov_cnt = 1 };
		v[i] = (struct iovec){ in[i], 4 };
		d[i] = (struct sock_dgram){ .iov = &v[i], .iov_cnt = 1 };
	}
	assert_int_equal(sock_send_dgrams(c, s, SOCK_BATCH), SOCK_BATCH);
	wait_in(l);
	assert_int_equal(sock_recv_dgrams(l, d, SOCK_BATCH, false),
			 SOCK_BATCH);
	for (i = 0; i < SOCK_BATCH; i++)
		assert_memory_equal(in[i], &num[i], 4);
	sock_close(l);
	sock_close(c);
}

static void refused(bool v4)
{
	struct sock_bind b = { .addr = lo(v4) }, any = { 0 };
	int l = sock_udp_listen(&env, &b), c;
	struct addr to = lo(v4), a;
	struct sock_error e;
	uint16_t port;

	assert_int_equal(sock_local(l, &a, &port), 0);
	sock_close(l);
	c = sock_udp(&env, &any, &to, port, false);
	assert_false(sock_error_next(c, &e));
	send_one(c, "hello", 5);
	assert_true(sock_error_next(c, &e));
	assert_int_equal(e.err, ECONNREFUSED);
	assert_true(e.icmp);
	assert_int_equal(e.type, v4 ? 3 : 1);
	assert_int_equal(e.code, v4 ? 3 : 4);
	assert_true(addr_equal(&e.offender, &to));
	assert_true(addr_equal(&e.to, &to));
	assert_int_equal(e.to_port, port);
	assert_int_equal(e.len, 5);
	assert_memory_equal(e.payload, "hello", 5);
	assert_false(sock_error_next(c, &e));
	sock_close(c);
}

static void error_queue_tells_all(void **state)
{
	(void)state;
	NEED_NETNS();
	refused(true);
	refused(false);
}

static void too_long_is_told(void **state)
{
	static char big[65536];
	struct iovec v = { big, 65520 };
	struct sock_dgram d = { .iov = &v, .iov_cnt = 1 };
	struct sock_bind b = { .addr = lo(true) };
	struct addr to = lo(true);
	uint16_t port;
	int l, c;

	(void)state;
	NEED_NETNS();
	udp_pair(&b, &to, &l, &c, &port);
	assert_int_equal(sock_send_dgrams(c, &d, 1), -EMSGSIZE);
	sock_close(l);
	sock_close(c);
}

static void another_port_if_allowed(void **state)
{
	struct sock_bind b = { .addr = lo(true) };
	struct addr to = lo(true), a;
	int taken = socket(AF_INET, SOCK_DGRAM, 0), fd;
	struct sockaddr_in sin = { .sin_family = AF_INET,
				   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	uint16_t port;

	(void)state;
	NEED_NETNS();
	assert_int_equal(bind(taken, (void *)&sin, sizeof(sin)), 0);
	assert_int_equal(sock_local(taken, &a, &b.port), 0);
	assert_int_equal(sock_udp(&env, &b, &to, 9, false), -EADDRINUSE);
	fd = sock_udp(&env, &b, &to, 9, true);
	assert_true(fd >= 0);
	assert_int_equal(sock_local(fd, &a, &port), 0);
	assert_int_not_equal(port, b.port);
	sock_close(fd);
	close(taken);
}

static void listener_and_flow_share_a_port(void **state)
{
	struct sock_bind b = { .addr = lo(true) };
	struct addr to = lo(true), a;
	int l, c, s;
	char buf[8];
	struct iovec v = { buf, sizeof(buf) };
	struct sock_dgram d = { .iov = &v, .iov_cnt = 1 };
	uint16_t port, from;

	(void)state;
	NEED_NETNS();
	udp_pair(&b, &to, &l, &c, &port);
	assert_int_equal(sock_local(c, &a, &from), 0);
	b.port = port;
	assert_int_equal(sock_udp(&env, &b, &to, from, false), -EADDRINUSE);
	b.shared = true;
	s = sock_udp(&env, &b, &to, from, false);
	assert_true(s >= 0);
	send_one(c, "x", 1);
	wait_in(s);
	assert_int_equal(sock_recv_dgrams(s, &d, 1, false), 1);
	assert_int_equal(sock_recv_dgrams(l, &d, 1, false), -EAGAIN);
	/* And the answer comes from that port */
	send_one(s, "y", 1);
	wait_in(c);
	assert_int_equal(sock_recv_dgrams(c, &d, 1, false), 1);
	sock_close(l);
	sock_close(c);
	sock_close(s);
}

static void broadcast_needs_an_address(void **state)
{
	struct sock_bind b = { .addr = addr_any(true) }, any = { 0 };
	struct addr to = addr_v4(127, 255, 255, 255), a;
	char buf[8];
	struct iovec v = { buf, 3 };
	struct sock_dgram d = { .iov = &v, .iov_cnt = 1 };
	int l = sock_udp_listen(&env, &b), c;
	uint16_t port;

	(void)state;
	NEED_NETNS();
	assert_int_equal(sock_local(l, &a, &port), 0);
	assert_int_equal(sock_udp(&env, &any, &to, port, false), -EACCES);
	c = sock_udp(&env, &any, &to, 0, false);
	assert_true(c >= 0);
	d.to = to;
	d.to_port = port;
	assert_int_equal(sock_send_dgrams(c, &d, 1), -EACCES);
	sock_group(&env, c, true);
	assert_int_equal(sock_send_dgrams(c, &d, 1), 1);
	wait_in(l);
	d.to_port = 0;
	assert_int_equal(sock_recv_dgrams(l, &d, 1, true), 1);
	assert_true(addr_equal(&d.to, &to));
	sock_close(l);
	sock_close(c);
}

static int received_ttl(int fd, bool v4)
{
	char buf[8], ctrl[256];
	struct iovec v = { buf, sizeof(buf) };
	struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1,
			    .msg_control = ctrl,
			    .msg_controllen = sizeof(ctrl) };
	struct cmsghdr *c;
	int ttl = -1;

	wait_in(fd);
	assert_true(recvmsg(fd, &m, 0) >= 0);
	for (c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c))
		if (c->cmsg_type == (v4 ? IP_TTL : IPV6_HOPLIMIT))
			memcpy(&ttl, CMSG_DATA(c), sizeof(ttl));
	return ttl;
}

static bool option_is(int fd, bool v4, int option, int want)
{
	int v = -1;
	socklen_t len = sizeof(v);

	assert_int_equal(getsockopt(fd, v4 ? SOL_IP : SOL_IPV6, option, &v,
				    &len), 0);
	return v == want;
}

static void ttl_is_sent(void **state)
{
	int v4, l, c, on = 1;
	uint8_t in[16];
	uint16_t port;

	(void)state;
	NEED_NETNS();
	for (v4 = 0; v4 < 2; v4++) {
		struct sock_bind b = { .addr = lo(v4) };
		struct addr to = lo(v4);
		struct iovec room = { in, sizeof(in) };
		struct sock_dgram d = { .iov = &room, .iov_cnt = 1 };
		struct sock_ip ip;

		udp_pair(&b, &to, &l, &c, &port);
		assert_int_equal(setsockopt(l, v4 ? SOL_IP : SOL_IPV6,
					    v4 ? IP_RECVTTL
					       : IPV6_RECVHOPLIMIT,
					    &on, sizeof(on)),
				 0);
		send_one(c, "x", 1);
		assert_int_equal(received_ttl(l, v4),
				 v4 ? env.ttl4 : env.ttl6);
		ip = (struct sock_ip){ .ttl = v4 ? env.ttl4 : env.ttl6 };
		sock_set_ip(c, v4, &ip, (struct sock_ip){ 7, 0xb9,
							  SOCK_DF_SET, 0 });
		assert_int_equal(ip.ttl, 7);
		send_one(c, "x", 1);
		assert_int_equal(received_ttl(l, v4), 7);
		assert_true(option_is(c, v4, v4 ? IP_TOS : IPV6_TCLASS, 0xb9));
		assert_true(option_is(c, v4, v4 ? IP_MTU_DISCOVER
						: IPV6_MTU_DISCOVER,
				      IP_PMTUDISC_DO));
		sock_set_ip(c, v4, &ip, (struct sock_ip){ 7, 0xb9,
							  SOCK_DF_CLEAR, 0 });
		assert_true(option_is(c, v4, v4 ? IP_MTU_DISCOVER
						: IPV6_MTU_DISCOVER,
				      IP_PMTUDISC_DONT));
		sock_hear_tos(l, v4);
		send_one(c, "y", 1);
		wait_in(l);
		assert_int_equal(sock_recv_dgrams(l, &d, 1, false), 1);
		assert_int_equal(d.tos, 0xb9);
		assert_int_equal(d.len, 1);
		sock_close(l);
		sock_close(c);
	}
}

/* --- echo --------------------------------------------------------------- */

static void ping(bool v4, uint16_t want, uint16_t *id)
{
	uint8_t req[12] = { v4 ? 8 : 128, 0, 0, 0, 0, 0, 0, 5, 'd', 'a', 't',
			    'a' };
	uint8_t in[64];
	struct iovec v = { in, sizeof(in) };
	struct sock_dgram d = { .iov = &v, .iov_cnt = 1 };
	struct addr to = lo(v4), a;
	bool open;
	int fd = sock_ping(&env, &to, want, &open), same;

	assert_true(fd >= 0);
	assert_int_equal(sock_local(fd, &a, id), 0);
	send_one(fd, req, sizeof(req));
	wait_in(fd);
	assert_int_equal(sock_recv_dgrams(fd, &d, 1, true), 1);
	assert_int_equal(d.len, sizeof(req));
	assert_int_equal(in[0], v4 ? 0 : 129);
	assert_int_equal(ld_be16(in + 4), *id);
	assert_int_equal(ld_be16(in + 6), 5);
	assert_memory_equal(in + 8, "data", 4);
	assert_true(addr_equal(&d.from, &to));
	/* Once, and no more than once */
	assert_int_equal(sock_recv_dgrams(fd, &d, 1, true), -EAGAIN);
	/* A second socket must live with another identifier */
	same = sock_ping(&env, &to, *id, &open);
	assert_true(same >= 0);
	assert_int_equal(sock_local(same, &a, id), 0);
	sock_close(same);
	sock_close(fd);
}

static void echo_comes_back(void **state)
{
	struct addr to = lo(true);
	uint16_t other;
	bool open;
	int fd = sock_ping(&env, &to, 1, &open);

	(void)state;
	NEED_NETNS();
	if (fd == -EACCES)
		skip();
	sock_close(fd);
	ping(true, 4711, &other);
	assert_int_not_equal(other, 4711);
	ping(false, 4712, &other);
	assert_int_not_equal(other, 4712);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(probes_agree_with_plain_ones),
		cmocka_unit_test(probes_are_soft_without_loopback),
		cmocka_unit_test(connects_and_accepts),
		cmocka_unit_test(dual_listeners_peek),
		cmocka_unit_test(loopback_is_not_paced),
		cmocka_unit_test(dual_listener_gives_mapped_addresses),
		cmocka_unit_test(single_listener_is_of_one_family),
		cmocka_unit_test(peeks_move_on),
		cmocka_unit_test(urgent_in_line),
		cmocka_unit_test(peeks_stay_without_offset),
		cmocka_unit_test(room_shrinks),
		cmocka_unit_test(abort_is_a_reset),
		cmocka_unit_test(abort_needs_no_others),
		cmocka_unit_test(outbound_address_is_used),
		cmocka_unit_test(freebind_binds_foreign_addresses),
		cmocka_unit_test(device_is_bound),
		cmocka_unit_test(datagrams_have_addresses),
		cmocka_unit_test(runs_arrive_whole),
		cmocka_unit_test(batch_is_sent_in_order),
		cmocka_unit_test(error_queue_tells_all),
		cmocka_unit_test(too_long_is_told),
		cmocka_unit_test(another_port_if_allowed),
		cmocka_unit_test(listener_and_flow_share_a_port),
		cmocka_unit_test(broadcast_needs_an_address),
		cmocka_unit_test(ttl_is_sent),
		cmocka_unit_test(echo_comes_back),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
