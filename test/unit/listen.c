/* SPDX-License-Identifier: GPL-2.0-or-later */
/* unit: rules sock flow loop timer addr util log */
/* Real sockets in a namespace of the test's own; "the other one" is the same
 * one, entered by nothing but a call that is counted. */
#include "listen.h"

#include "log.h"

#include "netns.h"

#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

enum { TCP = IPPROTO_TCP, UDP = IPPROTO_UDP };

static struct loop loop;
static struct sock_env env;
static struct listen l;
static struct rules rules;
static unsigned visits;
static bool refuse_visits;

static int visit(void *owner, int (*fn)(void *arg), void *arg)
{
	(void)owner;
	if (refuse_visits)
		return -EPERM;
	visits++;
	return fn(arg);
}

static struct ns ns = { .run = visit };

static unsigned seen_events;

static void event(void *owner, uint64_t ref, uint32_t events)
{
	const struct rule *r;
	enum pif pif;

	(void)owner;
	(void)events;
	assert_true(listen_find(&l, ref, &r, &pif) >= 0);
	seen_events++;
}

static int setup(void **state)
{
	enter_netns(state);
	sock_init(&env);
	ns.env = env;
	return 0;
}

static int fresh(void **state)
{
	(void)state;
	visits = seen_events = 0;
	refuse_visits = false;
	rules.n = 0;
	rules.sockets = 0;
	assert_int_equal(loop_init(&loop), 0);
	assert_int_equal(listen_init(&l, &loop, &env, &ns), 0);
	l.tcp_watch = l.udp_watch = loop_watch(&loop, event, NULL);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	rules.n = 0;
	refuse_visits = false;
	assert_int_equal(listen_set(&l, PIF_HOST, &rules), 0);
	assert_int_equal(listen_set(&l, PIF_SPLICE, &rules), 0);
	close(loop.epfd);
	return 0;
}

static struct addr A(const char *text)
{
	struct addr a;

	assert_true(addr_parse(text, &a));
	return a;
}

/* Append a rule; no @listen: both families */
static void add(const char *listen, uint8_t proto, uint16_t first,
		uint16_t last, uint16_t to, uint8_t flags)
{
	struct rule r = { .proto = proto, .first = first, .last = last,
			  .to = to, .flags = flags };

	if (listen)
		r.listen = A(listen);
	else
		r.flags |= RULE_DUAL;
	rules.r[rules.n++] = r;
	rules.sockets += last - first + 1U;
}

static uint64_t ref(enum pif pif, unsigned i, uint16_t port)
{
	return (uint64_t)(pif == PIF_SPLICE) << 24 | (uint64_t)i << 16 | port;
}

static int fd_of(enum pif pif, unsigned i, uint16_t port)
{
	const struct rule *r;
	enum pif got;
	int fd = listen_find(&l, ref(pif, i, port), &r, &got);

	if (fd >= 0) {
		assert_int_equal(got, pif);
		assert_ptr_equal(r, &l.table[pif == PIF_SPLICE].rules.r[i]);
	}
	return fd;
}

static ino_t inode(int fd)
{
	struct stat st;

	assert_int_equal(fstat(fd, &st), 0);
	return st.st_ino;
}

static bool answers(bool v4, uint16_t port)
{
	struct addr lo = addr_loopback(v4);
	int fd = socket(v4 ? AF_INET : AF_INET6, SOCK_STREAM, 0);
	bool ok = !sock_connect(&env, fd, &lo, port);

	close(fd);
	return ok;
}

static unsigned descriptors(void)
{
	unsigned n = 0;
	int fd;

	for (fd = 0; fd < 1024; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

static void opens_what_rules_say(void **state)
{
	const struct rule *r;
	enum pif pif;
	struct addr a;
	uint16_t port;

	(void)state;
	NEED_NETNS();
	add(NULL, TCP, 7000, 7002, 80, 0);
	add("127.0.0.1", UDP, 7000, 7000, 53, 0);
	assert_int_equal(listen_set(&l, PIF_HOST, &rules), 0);
	assert_true(answers(true, 7000) && answers(false, 7002));
	assert_false(answers(true, 7003));
	assert_int_equal(sock_local(fd_of(PIF_HOST, 1, 7000), &a, &port), 0);
	assert_int_equal(port, 7000);
	assert_true(addr_is_loopback(&a));
	/* What is no listener's reference */
	assert_int_equal(listen_find(&l, ref(PIF_HOST, 0, 7003), &r, &pif), -1);
	assert_int_equal(listen_find(&l, ref(PIF_HOST, 2, 7000), &r, &pif), -1);
	assert_int_equal(listen_find(&l, ref(PIF_SPLICE, 0, 7000), &r, &pif),
			 -1);
	assert_int_equal(visits, 0);
}

static void rule_by_address(void **state)
{
	const struct addr lo = A("127.0.0.1"), lo6 = A("::1"),
			  other = A("127.0.0.9");

	(void)state;
	NEED_NETNS();
	add("127.0.0.1", UDP, 7000, 7001, 53, 0);
	add("::", UDP, 7000, 7000, 54, 0);
	add(NULL, TCP, 7000, 7000, 55, 0);
	assert_int_equal(listen_set(&l, PIF_HOST, &rules), 0);
	assert_int_equal(listen_rule(&l, PIF_HOST, UDP, &lo, 7001)->to, 53);
	assert_int_equal(listen_rule(&l, PIF_HOST, UDP, &lo6, 7000)->to, 54);
	assert_int_equal(listen_rule(&l, PIF_HOST, TCP, &other, 7000)->to, 55);
	assert_null(listen_rule(&l, PIF_HOST, UDP, &other, 7000));
	assert_null(listen_rule(&l, PIF_HOST, UDP, &lo, 7002));
	assert_null(listen_rule(&l, PIF_SPLICE, UDP, &lo, 7000));
}

static void other_namespace_in_one_visit(void **state)
{
	(void)state;
	NEED_NETNS();
	add(NULL, TCP, 7000, 7009, 7000, 0);
	add(NULL, UDP, 7000, 7009, 7000, 0);
	assert_int_equal(listen_set(&l, PIF_SPLICE, &rules), 0);
	assert_int_equal(visits, 1);
	assert_true(answers(true, 7009));
	assert_true(fd_of(PIF_SPLICE, 1, 7004) >= 0);
	refuse_visits = true;
	add(NULL, TCP, 8000, 8000, 8000, 0);
	assert_int_equal(listen_set(&l, PIF_SPLICE, &rules), -EPERM);
	assert_true(answers(true, 7009)); /* as it was */
	assert_false(answers(true, 8000));
}

/* A socket that both tables ask for is the same one afterwards, with a
 * connection that waits in it, under whatever number its rule has now */
static void common_ones_stay(void **state)
{
	struct addr lo = addr_loopback(true);
	int client = socket(AF_INET, SOCK_STREAM, 0), fd;
	unsigned before = descriptors();
	ino_t was;

	(void)state;
	NEED_NETNS();
	add(NULL, TCP, 7000, 7004, 80, 0);
	add(NULL, TCP, 7100, 7100, 80, 0);
	assert_int_equal(listen_set(&l, PIF_HOST, &rules), 0);
	was = inode(fd_of(PIF_HOST, 0, 7003));
	assert_int_equal(sock_connect(&env, client, &lo, 7003), 0);

	rules.n = 0;
	add(NULL, TCP, 7200, 7200, 80, 0);
	add(NULL, TCP, 7003, 7005, 90, RULE_WEAK);
	assert_int_equal(listen_set(&l, PIF_HOST, &rules), 0);
	fd = fd_of(PIF_HOST, 1, 7003);
	assert_int_equal(inode(fd), was);
	assert_int_equal(descriptors(), before + 4);
	assert_true(answers(true, 7005) && answers(true, 7200));
	assert_false(answers(true, 7000) || answers(true, 7100));
	loop_quit(&loop, 0);
	loop_turn(&loop);
	assert_true(seen_events > 0);
	close(client);
}

/* There is no moment without service.  The kernel gives the lowest descriptor
 * that is free: were the old ones closed first, the new ones would have theirs. */
static void new_before_old(void **state)
{
	int fd, old;

	(void)state;
	NEED_NETNS();
	add(NULL, TCP, 7000, 7000, 80, 0);
	assert_int_equal(listen_set(&l, PIF_HOST, &rules), 0);
	old = fd_of(PIF_HOST, 0, 7000);
	rules.n = 0;
	add(NULL, TCP, 7100, 7100, 80, 0);
	assert_int_equal(listen_set(&l, PIF_HOST, &rules), 0);
	fd = fd_of(PIF_HOST, 0, 7100);
	assert_int_not_equal(fd, old);
	assert_true(answers(true, 7100));
	assert_false(answers(true, 7000));
	assert_true(fcntl(old, F_GETFD) < 0);
}

/* A table that is refused leaves the one before as it is */
static void refused_changes_nothing(void **state)
{
	struct rlimit was, low;
	ino_t before;

	(void)state;
	NEED_NETNS();
	add(NULL, TCP, 7000, 7001, 80, 0);
	assert_int_equal(listen_set(&l, PIF_HOST, &rules), 0);
	before = inode(fd_of(PIF_HOST, 0, 7001));
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &was), 0);
	low = was;
	low.rlim_cur = 128;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
	l.limit = low.rlim_cur;
	log_stderr(false);
	rules.n = 0;
	add(NULL, TCP, 7100, 7299, 7100, 0);
	assert_int_equal(listen_set(&l, PIF_HOST, &rules), -EMFILE);
	log_stderr(true);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &was), 0);
	l.limit = was.rlim_cur;
	assert_int_equal(inode(fd_of(PIF_HOST, 0, 7001)), before);
	assert_true(answers(true, 7000));
}

/* The new one cannot be opened before the old one is closed */
static void one_in_the_way(void **state)
{
	(void)state;
	NEED_NETNS();
	add(NULL, TCP, 7000, 7000, 80, 0);
	assert_int_equal(listen_set(&l, PIF_HOST, &rules), 0);
	rules.n = 0;
	add("127.0.0.1", TCP, 7000, 7000, 80, 0);
	assert_int_equal(listen_set(&l, PIF_HOST, &rules), 0);
	assert_true(answers(true, 7000));
	assert_false(answers(false, 7000));
}

static void strict_and_weak(void **state)
{
	const struct sock_bind b = { .dual = true, .port = 7001 };
	int taken = sock_listen(&env, &b);

	(void)state;
	NEED_NETNS();
	log_stderr(false);
	add(NULL, TCP, 7000, 7002, 7000, 0);
	assert_int_equal(listen_set(&l, PIF_HOST, &rules), -EADDRINUSE);
	rules.n = 0;
	add(NULL, TCP, 7000, 7002, 7000, RULE_WEAK);
	assert_int_equal(listen_set(&l, PIF_HOST, &rules), 0);
	assert_true(answers(true, 7000) && answers(true, 7002));
	/* Of a weak rule at least one has to be had */
	rules.n = 0;
	add(NULL, TCP, 7001, 7001, 7001, RULE_WEAK);
	assert_int_equal(listen_set(&l, PIF_HOST, &rules), -EADDRINUSE);
	log_stderr(true);
	close(taken);
}

/* A process that leaves @port in a moment */
static pid_t leaving(uint16_t port)
{
	const struct sock_bind b = { .dual = true, .port = port };
	int fd = sock_listen(&env, &b);
	pid_t pid = fork();

	assert_true(fd >= 0 && pid >= 0);
	if (!pid) {
		usleep(30000);
		_exit(0);
	}
	close(fd);
	return pid;
}

static void port_of_one_that_leaves(void **state)
{
	static const uint8_t flags[] = { 0, RULE_WEAK };
	unsigned i;

	(void)state;
	NEED_NETNS();
	log_stderr(false);
	for (i = 0; i < ARRAY_SIZE(flags); i++) {
		pid_t pid = leaving(7001);

		rules.n = 0;
		add(NULL, TCP, 7001, 7001, 7001, flags[i]);
		/* While running nobody waits */
		assert_int_equal(listen_set(&l, PIF_HOST, &rules), -EADDRINUSE);
		assert_int_equal(listen_start(&l, PIF_HOST, &rules), 0);
		assert_true(fd_of(PIF_HOST, 0, 7001) >= 0);
		assert_int_equal(waitpid(pid, NULL, 0), pid);
		listen_end(&l);
		assert_false(answers(true, 7001));
	}
	log_stderr(true);
}

static void limit_is_found_before(void **state)
{
	static struct rules other;
	struct rlimit was, low;

	(void)state;
	NEED_NETNS();
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &was), 0);
	low = was;
	low.rlim_cur = 128;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
	l.limit = low.rlim_cur;
	log_stderr(false);
	add(NULL, TCP, 7000, 7099, 7000, RULE_WEAK);
	assert_int_equal(listen_set(&l, PIF_HOST, &rules), -EMFILE);
	assert_false(answers(true, 7000));
	/* Each of two fits, both do not */
	rules.r[0].last = 7039;
	other.n = 0;
	assert_int_equal(listen_limit(&rules, &other), 0);
	assert_int_equal(listen_limit(&other, &rules), 0);
	assert_int_equal(listen_limit(&rules, &rules), -EMFILE);
	/* What follows the other side needs nothing yet */
	rules.r[0].last = 7099;
	rules.r[0].flags |= RULE_SCAN;
	assert_int_equal(listen_limit(&rules, &rules), 0);
	assert_int_equal(listen_set(&l, PIF_HOST, &rules), 0);
	log_stderr(true);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &was), 0);
	l.limit = was.rlim_cur;
}

static void follows_the_other_side(void **state)
{
	static struct portmap want, busy, none;
	ino_t was;

	(void)state;
	NEED_NETNS();
	memset(&want, 0, sizeof(want));
	add(NULL, TCP, 1, 9999, 1, RULE_WEAK | RULE_SCAN);
	add(NULL, UDP, 1, 9999, 1, RULE_WEAK | RULE_SCAN);
	assert_false(listen_scans(&l, PIF_SPLICE, TCP));
	assert_int_equal(listen_set(&l, PIF_SPLICE, &rules), 0);
	assert_true(listen_scans(&l, PIF_SPLICE, TCP));
	assert_true(listen_scans(&l, PIF_SPLICE, UDP));
	assert_false(listen_scans(&l, PIF_HOST, TCP));
	visits = 0;
	portmap_put(&want, 7000);
	portmap_put(&want, 7001);
	portmap_put(&want, 10000); /* of no rule */
	listen_scan(&l, PIF_SPLICE, TCP, &want, &none);
	assert_int_equal(visits, 1);
	assert_true(answers(true, 7000) && answers(false, 7001));
	assert_false(answers(true, 10000));
	was = inode(fd_of(PIF_SPLICE, 0, 7001));
	assert_true(listen_owns(&l, PIF_SPLICE, TCP, 7001, (uint32_t)was));
	assert_false(listen_owns(&l, PIF_SPLICE, TCP, 7000, (uint32_t)was));
	assert_false(listen_owns(&l, PIF_SPLICE, UDP, 7001, (uint32_t)was));
	assert_false(listen_owns(&l, PIF_HOST, TCP, 7001, (uint32_t)was));
	assert_false(listen_owns(&l, PIF_SPLICE, TCP, 7001,
				 (uint32_t)was + 1));

	/* Nothing new, nothing to go there for */
	want.w[7000 / 64] &= ~(1ULL << 7000 % 64);
	listen_scan(&l, PIF_SPLICE, TCP, &want, &none);
	assert_int_equal(visits, 1);
	assert_false(answers(true, 7000));
	assert_int_equal(inode(fd_of(PIF_SPLICE, 0, 7001)), was);

	/* Where somebody else is */
	portmap_put(&busy, 7001);
	listen_scan(&l, PIF_SPLICE, UDP, &want, &busy);
	assert_int_equal(visits, 1);
	assert_int_equal(fd_of(PIF_SPLICE, 1, 7001), -1);
	listen_scan(&l, PIF_SPLICE, UDP, &want, &none);
	assert_true(fd_of(PIF_SPLICE, 1, 7001) >= 0);
	listen_scan(&l, PIF_SPLICE, TCP, &none, &none);
	assert_int_equal(fd_of(PIF_SPLICE, 0, 7001), -1);
}

/* What follows the other side does so through a change of rules, also when a
 * rule begins or ends to follow */
static void followers_stay(void **state)
{
	static struct portmap want, none;
	ino_t was;

	(void)state;
	NEED_NETNS();
	memset(&want, 0, sizeof(want));
	portmap_put(&want, 7000);
	add(NULL, TCP, 1, 9999, 1, RULE_WEAK | RULE_SCAN);
	assert_int_equal(listen_set(&l, PIF_HOST, &rules), 0);
	assert_int_equal(listen_scan(&l, PIF_HOST, TCP, &want, &none), 0);
	was = inode(fd_of(PIF_HOST, 0, 7000));

	rules.n = 0;
	add(NULL, UDP, 53, 53, 53, 0);
	add(NULL, TCP, 6000, 8000, 6000, RULE_SCAN);
	assert_int_equal(listen_set(&l, PIF_HOST, &rules), 0);
	assert_int_equal(inode(fd_of(PIF_HOST, 1, 7000)), was);
	assert_false(answers(true, 7001));

	rules.n = 0;
	add(NULL, TCP, 7000, 7001, 7000, 0);
	assert_int_equal(listen_set(&l, PIF_HOST, &rules), 0);
	assert_int_equal(inode(fd_of(PIF_HOST, 0, 7000)), was);
	assert_true(answers(true, 7001));

	rules.r[0].flags |= RULE_SCAN;
	assert_int_equal(listen_set(&l, PIF_HOST, &rules), 0);
	assert_int_equal(listen_scan(&l, PIF_HOST, TCP, &want, &none), 0);
	assert_int_equal(inode(fd_of(PIF_HOST, 0, 7000)), was);
	assert_false(answers(true, 7001));
}

/* The target port counts, not the one that is listened on */
static void follows_translated_ports(void **state)
{
	static struct portmap want, none;

	(void)state;
	NEED_NETNS();
	portmap_put(&want, 81);
	add(NULL, TCP, 7000, 7001, 80, RULE_SCAN);
	assert_int_equal(listen_set(&l, PIF_HOST, &rules), 0);
	listen_scan(&l, PIF_HOST, TCP, &want, &none);
	assert_false(answers(true, 7000));
	assert_true(answers(true, 7001));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(opens_what_rules_say, fresh,
						teardown),
		cmocka_unit_test_setup_teardown(rule_by_address, fresh, teardown),
		cmocka_unit_test_setup_teardown(other_namespace_in_one_visit,
						fresh, teardown),
		cmocka_unit_test_setup_teardown(common_ones_stay, fresh, teardown),
		cmocka_unit_test_setup_teardown(new_before_old, fresh, teardown),
		cmocka_unit_test_setup_teardown(refused_changes_nothing, fresh,
						teardown),
		cmocka_unit_test_setup_teardown(one_in_the_way, fresh, teardown),
		cmocka_unit_test_setup_teardown(port_of_one_that_leaves, fresh,
						teardown),
		cmocka_unit_test_setup_teardown(strict_and_weak, fresh, teardown),
		cmocka_unit_test_setup_teardown(limit_is_found_before, fresh,
						teardown),
		cmocka_unit_test_setup_teardown(follows_the_other_side, fresh,
						teardown),
		cmocka_unit_test_setup_teardown(followers_stay, fresh, teardown),
		cmocka_unit_test_setup_teardown(follows_translated_ports, fresh,
						teardown),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
