/* SPDX-License-Identifier: GPL-2.0-or-later */
/* unit: listen rules flow sock loop timer addr util log events */
/* Two namespaces and real sockets in both: what is bound in one has to be
 * listened on in the other, and nothing that is ours. */
#include "scan.h"

#include "refuse.h"

#include <linux/filter.h>
#include <linux/netlink.h>
#include <linux/seccomp.h>

#include <errno.h>
#include <netinet/in.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

/* The low half of an argument */
#define ARG(n)                                                                 \
	(offsetof(struct seccomp_data, args[n]) +                              \
	 (__BYTE_ORDER == __BIG_ENDIAN) * sizeof(uint32_t))

enum { TCP = IPPROTO_TCP, UDP = IPPROTO_UDP, PORTS = 30000 };

static struct loop loop;
static struct flows flows;
static struct sock_env env;
static struct listen l;
static struct scan s;
static int home = -1, other = -1;

static int visit(void *owner, int (*fn)(void *arg), void *arg)
{
	int ret;

	(void)owner;
	assert_int_equal(setns(other, CLONE_NEWNET), 0);
	ret = fn(arg);
	assert_int_equal(setns(home, CLONE_NEWNET), 0);
	return ret;
}

static struct ns ns = { .run = visit };

static int setup(void **state)
{
	enter_netns(state);
	sock_init(&env);
	ns.env = env;
	if (!have_netns)
		return 0;
	home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	have_netns = !unshare(CLONE_NEWNET) && lo_up();
	other = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	assert_int_equal(setns(home, CLONE_NEWNET), 0);
	return 0;
}

static void event(void *owner, uint64_t ref, uint32_t events)
{
	(void)owner;
	(void)ref;
	(void)events;
}

static const struct flow_type type = { .name = "UDP" };

static int fresh(void **state)
{
	struct rules rules = { .n = 2, .r = {
		{ .first = 1, .last = PORTS, .to = 1, .proto = TCP,
		  .flags = RULE_DUAL | RULE_WEAK | RULE_SCAN },
		{ .first = 1, .last = PORTS, .to = 1, .proto = UDP,
		  .flags = RULE_DUAL | RULE_WEAK | RULE_SCAN },
	} };

	(void)state;
	memset(&s, 0, sizeof(s));
	assert_int_equal(loop_init(&loop), 0);
	assert_int_equal(flows_init(&flows, &loop), 0);
	flows_type(&flows, FLOW_UDP, &type, NULL);
	assert_int_equal(listen_init(&l, &loop, &env, &ns), 0);
	l.tcp_watch = l.udp_watch = loop_watch(&loop, event, NULL);
	if (!have_netns)
		return 0;
	assert_int_equal(listen_start(&l, PIF_HOST, &rules), 0);
	assert_int_equal(listen_start(&l, PIF_SPLICE, &rules), 0);
	assert_int_equal(scan_init(&s, &loop, &flows, &l, &ns), 0);
	return 0;
}

static int teardown(void **state)
{
	static const struct rules none;

	(void)state;
	assert_int_equal(listen_start(&l, PIF_HOST, &none), 0);
	assert_int_equal(listen_start(&l, PIF_SPLICE, &none), 0);
	close(loop.epfd);
	return 0;
}

/* --- servers ------------------------------------------------------------ */

struct server {
	enum pif pif;
	uint8_t proto;
	const char *addr;
	uint16_t port;
};

static int serve_here(void *arg)
{
	const struct server *v = arg;
	struct sock_bind b = { .port = v->port, .shared = true };

	assert_true(addr_parse(v->addr, &b.addr));
	return v->proto == TCP ? sock_listen(&env, &b) :
				 sock_udp_listen(&env, &b);
}

static int serve(enum pif pif, uint8_t proto, const char *addr, uint16_t port)
{
	struct server v = { pif, proto, addr, port };
	int fd = pif == PIF_HOST ? serve_here(&v) :
				   visit(NULL, serve_here, &v);

	assert_true(fd >= 0);
	return fd;
}

static unsigned count(enum pif pif, uint8_t proto)
{
	unsigned port, n = 0;

	for (port = 1; port <= PORTS; port++)
		n += listen_has_port(&l, pif, proto, (uint16_t)port);
	return n;
}

static void check_counts(unsigned host_tcp, unsigned host_udp,
			 unsigned splice_tcp, unsigned splice_udp)
{
	assert_int_equal(count(PIF_HOST, TCP), host_tcp);
	assert_int_equal(count(PIF_HOST, UDP), host_udp);
	assert_int_equal(count(PIF_SPLICE, TCP), splice_tcp);
	assert_int_equal(count(PIF_SPLICE, UDP), splice_udp);
}

/* --- tests --------------------------------------------------------------- */

static void both_directions(void)
{
	int fd[] = {
		serve(PIF_HOST, TCP, "127.0.0.1", 1001),
		serve(PIF_HOST, TCP, "::", 1002),
		serve(PIF_HOST, UDP, "0.0.0.0", 1003),
		serve(PIF_SPLICE, TCP, "0.0.0.0", 2001),
		serve(PIF_SPLICE, TCP, "::1", 2002),
		serve(PIF_SPLICE, UDP, "::1", 2003),
		serve(PIF_SPLICE, UDP, "127.0.0.1", 2004),
	};
	unsigned i;

	scan_look(&s);
	assert_true(listen_has_port(&l, PIF_SPLICE, TCP, 1001));
	assert_true(listen_has_port(&l, PIF_SPLICE, TCP, 1002));
	assert_true(listen_has_port(&l, PIF_SPLICE, UDP, 1003));
	assert_true(listen_has_port(&l, PIF_HOST, TCP, 2001));
	assert_true(listen_has_port(&l, PIF_HOST, TCP, 2002));
	assert_true(listen_has_port(&l, PIF_HOST, UDP, 2003));
	assert_true(listen_has_port(&l, PIF_HOST, UDP, 2004));
	/* And UDP where TCP is served */
	assert_true(listen_has_port(&l, PIF_SPLICE, UDP, 1001));
	assert_true(listen_has_port(&l, PIF_HOST, UDP, 2001));
	check_counts(2, 4, 2, 3);
	/* What we have opened is not found there and sent back */
	scan_look(&s);
	scan_look(&s);
	check_counts(2, 4, 2, 3);
	for (i = 0; i < ARRAY_SIZE(fd); i++)
		close(fd[i]);
	scan_look(&s);
	check_counts(0, 0, 0, 0);
}

static void by_diag(void **state)
{
	(void)state;
	NEED_NETNS();
	assert_true(s.diag[0] >= 0 && s.diag[1] >= 0);
	both_directions();
}

static int open_proc(void *arg)
{
	static const char *const name[] = { "/proc/thread-self/net/tcp",
					    "/proc/thread-self/net/tcp6",
					    "/proc/thread-self/net/udp",
					    "/proc/thread-self/net/udp6" };
	int *fd = arg;
	unsigned i;

	for (i = 0; i < 4; i++) {
		fd[i] = open(name[i], O_RDONLY | O_CLOEXEC);
		assert_true(fd[i] >= 0);
	}
	return 0;
}

static void by_proc(void **state)
{
	(void)state;
	NEED_NETNS();
	open_proc(s.proc[0]);
	visit(NULL, open_proc, s.proc[1]);
	s.diag[0] = s.diag[1] = -1;
	both_directions();
}

/* socket() refuses NETLINK_SOCK_DIAG, as on a kernel without it */
static bool forbid_diag(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
			 offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_socket, 0, 5),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, ARG(0)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AF_NETLINK, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, ARG(2)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, NETLINK_SOCK_DIAG, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPROTONOSUPPORT),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog prog = { ARRAY_SIZE(code), code };

	return !prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) &&
	       !prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog);
}

/* Found out at the start, in a process of its own since that stays */
static void falls_back_to_proc(void **state)
{
	int status;
	pid_t pid;

	(void)state;
	NEED_NETNS();
	pid = fork();
	assert_true(pid >= 0);
	if (!pid) {
		assert_true(forbid_diag());
		assert_int_equal(scan_init(&s, &loop, &flows, &l, &ns), 0);
		assert_true(s.diag[0] < 0 && s.diag[1] < 0);
		both_directions();
		_exit(0); /* else cmocka goes on, and the tests fail */
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

/* More than one answer of the kernel */
static void many_ports(void **state)
{
	int fd[600];
	unsigned i;

	(void)state;
	NEED_NETNS();
	for (i = 0; i < ARRAY_SIZE(fd); i++)
		fd[i] = serve(PIF_HOST, TCP, "127.0.0.1",
			      (uint16_t)(5000 + i));
	scan_look(&s);
	check_counts(0, 0, ARRAY_SIZE(fd), ARRAY_SIZE(fd));
	for (i = 0; i < ARRAY_SIZE(fd); i++)
		close(fd[i]);
}

/* Looks until @port is, or is not, open in the namespace */
static void look_until(uint16_t port, bool open)
{
	unsigned i;

	for (i = 0; listen_has_port(&l, PIF_SPLICE, TCP, port) != open; i++) {
		assert_true(i < 100);
		scan_look(&s);
	}
}

/* A look that fails anywhere says nothing: what is open stays open, and what is left of
 * its answer does not spoil the looks that follow */
static void failed_looks(const char *call, int err)
{
	enum { MANY = 600, FIRST = 5000, MORE = 100 };
	unsigned k, i;
	bool hit = true;
	int fd[MANY], more;

	for (i = 0; i < MANY; i++)
		fd[i] = serve(PIF_HOST, TCP, "127.0.0.1",
			      (uint16_t)(FIRST + i));
	look_until(FIRST, true);
	for (k = 1; hit; k++) {
		check_counts(0, 0, MANY, MANY);
		more = serve(PIF_HOST, TCP, "127.0.0.1", (uint16_t)(MORE + k));
		refuse_call(call, k, err);
		scan_look(&s);
		hit = refuse_end();
		for (i = 0; i < MANY; i += 7)
			assert_true(listen_has_port(&l, PIF_SPLICE, TCP,
						    (uint16_t)(FIRST + i)));
		look_until((uint16_t)(MORE + k), true);
		close(more);
		look_until((uint16_t)(MORE + k), false);
	}
	assert_true(k > 3);
	for (i = 0; i < MANY; i++)
		close(fd[i]);
}

static void looks_that_fail(void **state)
{
	(void)state;
	NEED_NETNS();
	failed_looks("recv", ENOBUFS);
	failed_looks("send", ENOMEM);
}

/* What a kernel without UDP_DIAG says, and one that fails in the middle: an end with an
 * error is no end */
static void look_that_ends_in_error(void **state)
{
	struct {
		struct nlmsghdr h;
		int err;
	} done = { { .nlmsg_len = NLMSG_LENGTH(sizeof(int)),
		     .nlmsg_type = NLMSG_DONE }, -ENOENT };
	int fd, more, diag, pair[2];

	(void)state;
	NEED_NETNS();
	fd = serve(PIF_HOST, TCP, "127.0.0.1", 5000);
	look_until(5000, true);
	more = serve(PIF_HOST, TCP, "127.0.0.1", 5001); /* worth a look */
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
	diag = s.diag[0];
	s.diag[0] = pair[0];
	done.h.nlmsg_seq = s.seq + 1;
	assert_int_equal(send(pair[1], &done, sizeof(done), 0), sizeof(done));
	scan_look(&s);
	assert_true(listen_has_port(&l, PIF_SPLICE, TCP, 5000));
	s.diag[0] = diag;
	look_until(5001, true);
	close(pair[0]);
	close(pair[1]);
	close(fd);
	close(more);
}

/* A port that is served on both sides is nobody's to forward */
static void served_on_both_sides(void **state)
{
	int a[2], b[2];

	(void)state;
	NEED_NETNS();
	a[0] = serve(PIF_HOST, TCP, "127.0.0.1", 1001);
	a[1] = serve(PIF_HOST, UDP, "127.0.0.1", 1001);
	b[0] = serve(PIF_SPLICE, TCP, "127.0.0.1", 1001);
	b[1] = serve(PIF_SPLICE, UDP, "127.0.0.1", 1001);
	scan_look(&s);
	check_counts(0, 0, 0, 0);
	/* When one of them goes, the other is for both sides */
	close(b[0]);
	close(b[1]);
	scan_look(&s);
	check_counts(0, 0, 1, 1);
	close(a[0]);
	close(a[1]);
}

/* Who has a port without being seen as a server does not keep it from being
 * followed when it is gone */
static void tried_again(void **state)
{
	struct sockaddr_in taken = { .sin_family = AF_INET,
				     .sin_port = htons(1001) };
	int fd, in_the_way;
	unsigned i;

	(void)state;
	NEED_NETNS();
	fd = serve(PIF_SPLICE, TCP, "127.0.0.1", 1001);
	in_the_way = socket(AF_INET, SOCK_STREAM, 0);
	assert_int_equal(bind(in_the_way, (void *)&taken, sizeof(taken)), 0);
	scan_look(&s);
	check_counts(0, 1, 0, 0);
	close(in_the_way);
	for (i = 0; i < 4; i++)
		scan_look(&s);
	check_counts(1, 1, 0, 0);
	close(fd);
}

static void connected_is_no_server(void **state)
{
	struct addr lo = addr_loopback(true);
	struct sock_bind b = { .addr = lo, .port = 1001 };
	int fd;

	(void)state;
	NEED_NETNS();
	fd = sock_udp(&env, &b, &lo, 9, false);
	assert_true(fd >= 0);
	scan_look(&s);
	check_counts(0, 0, 0, 0);
	close(fd);
}

/* The socket of a flow that sends to a group looks like a server's */
static void own_flow_is_no_server(void **state)
{
	struct flow *f = flow_new(&flows, FLOW_UDP);
	int server;

	(void)state;
	NEED_NETNS();
	f->side[1].pif = PIF_HOST;
	f->side[1].our_port = 5353;
	f->side[1].fd = serve(PIF_HOST, UDP, "0.0.0.0", 5353);
	assert_int_equal(flow_watch(&flows, f, 1), 0);
	flow_open(&flows, f, 1, true);
	scan_look(&s);
	check_counts(0, 0, 0, 0);
	/* But who shares the port with it is one */
	server = serve(PIF_HOST, UDP, "0.0.0.0", 5353);
	scan_look(&s);
	check_counts(0, 0, 0, 1);
	close(server);
	close(f->side[1].fd);
	flow_free(&flows, f);
}

/* As many sockets as before are a reason not to look again, but not for long:
 * this one has another port now */
static void same_number(uint8_t proto)
{
	unsigned looks;
	int fd;

	fd = serve(PIF_SPLICE, proto, "127.0.0.1", 1001);
	scan_look(&s);
	assert_true(listen_has_port(&l, PIF_HOST, proto, 1001));
	close(fd);
	fd = serve(PIF_SPLICE, proto, "127.0.0.1", 1002);
	for (looks = 0; !listen_has_port(&l, PIF_HOST, proto, 1002); looks++) {
		assert_true(listen_has_port(&l, PIF_HOST, proto, 1001));
		scan_look(&s);
	}
	assert_int_equal(looks, 3);
	assert_false(listen_has_port(&l, PIF_HOST, proto, 1001));
	/* One less is seen at once */
	close(fd);
	scan_look(&s);
	check_counts(0, 0, 0, 0);
}

static void same_number_of_sockets(void **state)
{
	(void)state;
	NEED_NETNS();
	assert_true(s.stat[0] >= 0 && s.stat[1] >= 0);
	same_number(TCP);
	same_number(UDP);
}

static void without_numbers(void **state)
{
	int fd;

	(void)state;
	NEED_NETNS();
	close(s.stat[1]);
	s.stat[1] = -1;
	fd = serve(PIF_SPLICE, UDP, "127.0.0.1", 1001);
	scan_look(&s);
	scan_look(&s);
	close(fd);
	fd = serve(PIF_SPLICE, UDP, "127.0.0.1", 1002);
	scan_look(&s);
	assert_true(listen_has_port(&l, PIF_HOST, UDP, 1002));
	check_counts(0, 1, 0, 0);
	close(fd);
}

static void on_the_clock(void **state)
{
	int fd;

	(void)state;
	NEED_NETNS();
	scan_start(&s);
	fd = serve(PIF_HOST, TCP, "127.0.0.1", 1001);
	assert_false(listen_has_port(&l, PIF_SPLICE, TCP, 1001));
	timers_run(&loop.timers, loop.now_ms + 1000);
	assert_true(listen_has_port(&l, PIF_SPLICE, TCP, 1001));
	close(fd);
}

/* Without a rule that asks for it there is no timer to wake us */
static void not_on_the_clock(void **state)
{
	static const struct rules none;

	(void)state;
	NEED_NETNS();
	assert_int_equal(listen_start(&l, PIF_HOST, &none), 0);
	assert_int_equal(listen_start(&l, PIF_SPLICE, &none), 0);
	scan_start(&s);
	assert_int_equal(s.timer.due_ms, 0);
}

#define T(f) cmocka_unit_test_setup_teardown(f, fresh, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(by_diag),		   T(by_proc),
		T(falls_back_to_proc),
		T(many_ports),		   T(served_on_both_sides),
		T(look_that_ends_in_error), T(looks_that_fail),
		T(tried_again),		   T(connected_is_no_server),
		T(own_flow_is_no_server),  T(same_number_of_sockets),
		T(without_numbers),	   T(on_the_clock),
		T(not_on_the_clock),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
