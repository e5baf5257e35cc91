/* SPDX-License-Identifier: GPL-2.0-or-later */
/* unit: rules sock flow loop timer addr util log events */
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

/* As control does it, but at once */
static int set(enum pif pif, const struct rules *r)
{
	int err;

	listen_begin(&l, pif, r);
	do
		err = listen_step(&l);
	while (err == -EINPROGRESS);
	return err;
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
	assert_int_equal(set(PIF_HOST, &rules), 0);
	assert_int_equal(set(PIF_SPLICE, &rules), 0);
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

static uint64_t ref(enum pif pif, int fd, uint16_t port)
{
	return (uint64_t)(pif == PIF_SPLICE) << 47 | (uint64_t)fd << 16 | port;
}

/* The descriptor of rule @i for @port, -1: it has none */
static int fd_of(enum pif pif, unsigned i, uint16_t port)
{
	const struct rule *r, *want = &l.table[pif == PIF_SPLICE].rules.r[i];
	enum pif got;
	int fd;

	for (fd = 0; fd < 1024; fd++)
		if (listen_find(&l, ref(pif, fd, port), &r, &got) >= 0 &&
		    r == want) {
			assert_int_equal(got, pif);
			return fd;
		}
	return -1;
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

	for (fd = 0; fd < 4096; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

static void opens_what_rules_say(void **state)
{
	const struct rule *r;
	enum pif pif;
	struct addr a;
	uint16_t port;
	int fd;

	(void)state;
	NEED_NETNS();
	add(NULL, TCP, 7000, 7002, 80, 0);
	add("127.0.0.1", UDP, 7000, 7000, 53, 0);
	assert_int_equal(set(PIF_HOST, &rules), 0);
	assert_true(answers(true, 7000) && answers(false, 7002));
	assert_false(answers(true, 7003));
	assert_int_equal(sock_local(fd_of(PIF_HOST, 1, 7000), &a, &port), 0);
	assert_int_equal(port, 7000);
	assert_true(addr_is_loopback(&a));
	/* What is no listener's reference */
	fd = fd_of(PIF_HOST, 0, 7000);
	assert_int_equal(listen_find(&l, ref(PIF_HOST, fd, 7001), &r, &pif), -1);
	assert_int_equal(listen_find(&l, ref(PIF_HOST, loop.epfd, 7000), &r,
				     &pif), -1);
	assert_int_equal(listen_find(&l, ref(PIF_SPLICE, fd, 7000), &r, &pif),
			 -1);
	assert_int_equal(listen_find(&l, UINT64_MAX >> 8, &r, &pif), -1);
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
	assert_int_equal(set(PIF_HOST, &rules), 0);
	assert_int_equal(listen_rule(&l, PIF_HOST, UDP, &lo, 7001)->to, 53);
	assert_int_equal(listen_rule(&l, PIF_HOST, UDP, &lo6, 7000)->to, 54);
	assert_int_equal(listen_rule(&l, PIF_HOST, TCP, &other, 7000)->to, 55);
	assert_null(listen_rule(&l, PIF_HOST, UDP, &other, 7000));
	assert_null(listen_rule(&l, PIF_HOST, UDP, &lo, 7002));
	assert_null(listen_rule(&l, PIF_SPLICE, UDP, &lo, 7000));
}

static void other_namespace_by_visits(void **state)
{
	(void)state;
	NEED_NETNS();
	add(NULL, TCP, 7000, 7009, 7000, 0);
	add(NULL, UDP, 7000, 7009, 7000, 0);
	assert_int_equal(set(PIF_SPLICE, &rules), 0);
	assert_int_equal(visits, 1); /* for each step */
	assert_true(answers(true, 7007));
	assert_true(fd_of(PIF_SPLICE, 1, 7004) >= 0);
	refuse_visits = true;
	add(NULL, TCP, 8000, 8000, 8000, 0);
	assert_int_equal(set(PIF_SPLICE, &rules), -EPERM);
	assert_true(answers(true, 7007)); /* as it was */
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
	assert_int_equal(set(PIF_HOST, &rules), 0);
	was = inode(fd_of(PIF_HOST, 0, 7003));
	assert_int_equal(sock_connect(&env, client, &lo, 7003), 0);

	rules.n = 0;
	add(NULL, TCP, 7200, 7200, 80, 0);
	add(NULL, TCP, 7003, 7005, 90, RULE_WEAK);
	assert_int_equal(set(PIF_HOST, &rules), 0);
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
	assert_int_equal(set(PIF_HOST, &rules), 0);
	old = fd_of(PIF_HOST, 0, 7000);
	rules.n = 0;
	add(NULL, TCP, 7100, 7100, 80, 0);
	assert_int_equal(set(PIF_HOST, &rules), 0);
	fd = fd_of(PIF_HOST, 0, 7100);
	assert_int_not_equal(fd, old);
	assert_true(answers(true, 7100));
	assert_false(answers(true, 7000));
	assert_true(fcntl(old, F_GETFD) < 0);
}

/* The new one cannot be opened before the old one is closed */
static void one_in_the_way(void **state)
{
	(void)state;
	NEED_NETNS();
	add(NULL, TCP, 7000, 7000, 80, 0);
	assert_int_equal(set(PIF_HOST, &rules), 0);
	rules.n = 0;
	add("127.0.0.1", TCP, 7000, 7000, 80, 0);
	assert_int_equal(set(PIF_HOST, &rules), 0);
	assert_true(answers(true, 7000));
	assert_false(answers(false, 7000));
}

/* What is in nobody's way stays, though another rule of its port can't be had: not yet,
 * or not at all */
static void none_in_the_way(void **state)
{
	struct addr lo = addr_loopback(true);
	const struct sock_bind b = { .addr = A("127.0.0.2"), .port = 7000 };
	int taken = sock_listen(&env, &b), client = socket(AF_INET, SOCK_STREAM, 0);
	bool follows;
	ino_t was;

	(void)state;
	NEED_NETNS();
	log_stderr(false);
	add("127.0.0.1", TCP, 7000, 7000, 80, 0);
	assert_int_equal(set(PIF_HOST, &rules), 0);
	was = inode(fd_of(PIF_HOST, 0, 7000));
	assert_int_equal(sock_connect(&env, client, &lo, 7000), 0);
	add("127.0.0.2", TCP, 7000, 7000, 80, 0);
	assert_int_equal(set(PIF_HOST, &rules), -EADDRINUSE);
	assert_int_equal(inode(fd_of(PIF_HOST, 0, 7000)), was);
	add("192.0.2.1", TCP, 7000, 7000, 80, 0);
	follows = l.follows;
	l.follows = true;
	assert_int_equal(set(PIF_HOST, &rules), -EADDRINUSE);
	assert_int_equal(inode(fd_of(PIF_HOST, 0, 7000)), was);
	l.follows = follows;
	log_stderr(true);
	close(client);
	close(taken);
}

static void strict_and_weak(void **state)
{
	const struct sock_bind b = { .dual = true, .port = 7001 };
	int taken = sock_listen(&env, &b);

	(void)state;
	NEED_NETNS();
	log_stderr(false);
	add(NULL, TCP, 7000, 7002, 7000, 0);
	assert_int_equal(set(PIF_HOST, &rules), -EADDRINUSE);
	rules.n = 0;
	add(NULL, TCP, 7000, 7002, 7000, RULE_WEAK);
	assert_int_equal(set(PIF_HOST, &rules), 0);
	assert_true(answers(true, 7000) && answers(true, 7002));
	/* Of a weak rule at least one has to be had */
	rules.n = 0;
	add(NULL, TCP, 7001, 7001, 7001, RULE_WEAK);
	assert_int_equal(set(PIF_HOST, &rules), -EADDRINUSE);
	log_stderr(true);
	close(taken);
}

/* A process that leaves @port soon after *@told is closed */
static pid_t leaving(uint16_t port, int *told)
{
	const struct sock_bind b = { .dual = true, .port = port };
	int fd = sock_listen(&env, &b), p[2];
	pid_t pid;
	char c;

	assert_int_equal(pipe(p), 0);
	pid = fork();
	assert_true(fd >= 0 && pid >= 0);
	if (!pid) {
		close(p[1]);
		if (!read(p[0], &c, 1))
			usleep(10000);
		_exit(0);
	}
	close(fd);
	close(p[0]);
	*told = p[1];
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
		int told;
		pid_t pid = leaving(7001, &told);

		rules.n = 0;
		add(NULL, TCP, 7001, 7001, 7001, flags[i]);
		/* While running nobody waits */
		assert_int_equal(set(PIF_HOST, &rules), -EADDRINUSE);
		close(told);
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
	static struct rules none;
	struct rlimit was, low;

	(void)state;
	NEED_NETNS();
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &was), 0);
	low = was;
	low.rlim_cur = 128;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
	log_stderr(false);
	add(NULL, TCP, 7000, 7099, 7000, RULE_WEAK);
	assert_int_equal(listen_limit(&rules, &none), -EMFILE);
	assert_int_equal(listen_fits(&l, &rules, &none), 0); /* as it was */
	l.limit = low.rlim_cur;
	assert_int_equal(listen_fits(&l, &rules, &none), -EMFILE);
	/* Each of two fits, both do not */
	rules.r[0].last = 7039;
	assert_int_equal(listen_fits(&l, &rules, &none), 0);
	assert_int_equal(listen_fits(&l, &none, &rules), 0);
	assert_int_equal(listen_fits(&l, &rules, &rules), -EMFILE);
	/* What follows the other side needs nothing yet */
	rules.r[0].last = 7099;
	rules.r[0].flags |= RULE_SCAN;
	assert_int_equal(listen_fits(&l, &rules, &rules), 0);
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
	assert_int_equal(set(PIF_SPLICE, &rules), 0);
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
	assert_int_equal(set(PIF_HOST, &rules), 0);
	assert_int_equal(listen_scan(&l, PIF_HOST, TCP, &want, &none), 0);
	was = inode(fd_of(PIF_HOST, 0, 7000));

	rules.n = 0;
	add(NULL, UDP, 53, 53, 53, 0);
	add(NULL, TCP, 6000, 8000, 6000, RULE_SCAN);
	assert_int_equal(set(PIF_HOST, &rules), 0);
	assert_int_equal(inode(fd_of(PIF_HOST, 1, 7000)), was);
	assert_false(answers(true, 7001));

	rules.n = 0;
	add(NULL, TCP, 7000, 7001, 7000, 0);
	assert_int_equal(set(PIF_HOST, &rules), 0);
	assert_int_equal(inode(fd_of(PIF_HOST, 0, 7000)), was);
	assert_true(answers(true, 7001));

	rules.r[0].flags |= RULE_SCAN;
	assert_int_equal(set(PIF_HOST, &rules), 0);
	assert_int_equal(listen_scan(&l, PIF_HOST, TCP, &want, &none), 0);
	assert_int_equal(inode(fd_of(PIF_HOST, 0, 7000)), was);
	assert_false(answers(true, 7001));
}

/* Who opens thousands of ports at once is followed bit by bit */
static void follows_many_in_parts(void **state)
{
	static struct portmap want, none;
	unsigned port, before = descriptors();
	struct rlimit lim;

	(void)state;
	NEED_NETNS();
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &lim), 0);
	lim.rlim_cur = lim.rlim_max;
	if (lim.rlim_max < 2048 || setrlimit(RLIMIT_NOFILE, &lim))
		skip();
	for (port = 7000; port < 8100; port++)
		portmap_put(&want, port);
	add(NULL, TCP, 1, 9999, 1, RULE_SCAN);
	assert_int_equal(set(PIF_HOST, &rules), 0);
	assert_int_equal(listen_scan(&l, PIF_HOST, TCP, &want, &none), -EAGAIN);
	assert_int_equal(descriptors(), before + 1024);
	assert_int_equal(listen_scan(&l, PIF_HOST, TCP, &want, &none), 0);
	assert_true(answers(true, 8099));
	assert_int_equal(listen_scan(&l, PIF_HOST, TCP, &none, &none), -EAGAIN);
	assert_int_equal(descriptors(), before + 1100 - 1024);
	assert_int_equal(listen_scan(&l, PIF_HOST, TCP, &none, &none), 0);
	assert_int_equal(descriptors(), before);
}

/* The target port counts, not the one that is listened on */
static void follows_translated_ports(void **state)
{
	static struct portmap want, none;

	(void)state;
	NEED_NETNS();
	portmap_put(&want, 81);
	add(NULL, TCP, 7000, 7001, 80, RULE_SCAN);
	assert_int_equal(set(PIF_HOST, &rules), 0);
	listen_scan(&l, PIF_HOST, TCP, &want, &none);
	assert_false(answers(true, 7000));
	assert_true(answers(true, 7001));
}

/* --- in steps ------------------------------------------------------------- */

/* Sockets that were opened and closed since the last call */
static unsigned changed(void)
{
	static uint8_t was[8192];
	unsigned n = 0;
	int fd;

	for (fd = 0; fd < (int)sizeof(was); fd++) {
		uint8_t is = fcntl(fd, F_GETFD) >= 0;

		n += is != was[fd];
		was[fd] = is;
	}
	return n;
}

/* A step is LISTEN_STEP sockets, and the table in force is the old one until all
 * of the new are open */
static void steps_are_short(void **state)
{
	unsigned steps = 0, most = 0;
	int err;

	(void)state;
	NEED_NETNS();
	add(NULL, TCP, 7000, 7299, 7000, 0);
	assert_int_equal(set(PIF_HOST, &rules), 0);
	rules.n = 0;
	add(NULL, TCP, 7290, 7599, 7290, 0);
	listen_begin(&l, PIF_HOST, &rules);
	changed();
	do {
		err = listen_step(&l);
		most = MAX(most, changed());
		steps++;
		if (listen_rules(&l, PIF_HOST)->r[0].first == 7000)
			assert_true(answers(true, 7000));
		else
			assert_true(answers(true, 7599));
		assert_true(answers(true, 7295));
		changed();
	} while (err == -EINPROGRESS);
	assert_int_equal(err, 0);
	assert_true(most <= LISTEN_STEP + 1);
	assert_true(steps >= 590 / LISTEN_STEP);
	assert_false(answers(true, 7289));
}

/* Either table serves its events meanwhile, and knows its own sockets */
static void both_tables_serve(void **state)
{
	const struct addr lo = A("127.0.0.1");
	const struct rule *r = NULL;
	enum pif pif;
	int old, fd;

	(void)state;
	NEED_NETNS();
	add(NULL, TCP, 7000, 7000, 80, 0);
	assert_int_equal(set(PIF_HOST, &rules), 0);
	old = fd_of(PIF_HOST, 0, 7000);
	rules.n = 0;
	add(NULL, TCP, 7100, 7399, 81, 0);
	listen_begin(&l, PIF_HOST, &rules);
	assert_int_equal(listen_step(&l), -EINPROGRESS);
	fd = l.other.slot[0].fd;
	assert_int_equal(listen_find(&l, ref(PIF_HOST, fd, 7100), &r, &pif), fd);
	assert_int_equal(r->to, 81);
	assert_int_equal(listen_find(&l, ref(PIF_HOST, old, 7000), &r, &pif),
			 old);
	assert_int_equal(r->to, 80);
	assert_true(listen_owns(&l, PIF_HOST, TCP, 7100, (uint32_t)inode(fd)));
	assert_true(listen_has_port(&l, PIF_HOST, TCP, 7100));
	assert_false(listen_has_port(&l, PIF_SPLICE, TCP, 7100));
	assert_int_equal(listen_rule(&l, PIF_HOST, TCP, &lo, 7100)->to, 81);
	assert_int_equal(listen_rule(&l, PIF_HOST, TCP, &lo, 7000)->to, 80);
	while (listen_step(&l) == -EINPROGRESS)
		;
	assert_null(listen_rule(&l, PIF_HOST, TCP, &lo, 7000));
	assert_int_equal(listen_find(&l, ref(PIF_HOST, old, 7000), &r, &pif),
			 -1);
}

/* There are not descriptors enough for old and new at once, and connections need
 * some, too: an eighth stays free until the old ones are closed */
static void few_descriptors(void **state)
{
	struct rlimit was, low;
	unsigned before = descriptors(), most = 0;
	int err;

	(void)state;
	NEED_NETNS();
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &was), 0);
	low = was;
	low.rlim_cur = l.limit = 256;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
	add(NULL, TCP, 7000, 7149, 7000, 0);
	assert_int_equal(set(PIF_HOST, &rules), 0);
	rules.n = 0;
	add(NULL, TCP, 7200, 7349, 7200, 0);
	listen_begin(&l, PIF_HOST, &rules);
	do {
		err = listen_step(&l);
		most = MAX(most, descriptors());
	} while (err == -EINPROGRESS);
	assert_int_equal(err, 0);
	assert_true(most <= 256 - 256 / 8 + 1);
	assert_int_equal(descriptors(), before + 150);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &was), 0);
}

/* It may be impossible to enter the other namespace in the middle of it */
static void namespace_gone_meanwhile(void **state)
{
	unsigned before;
	int err;

	(void)state;
	NEED_NETNS();
	add(NULL, TCP, 7000, 7000, 80, 0);
	assert_int_equal(set(PIF_SPLICE, &rules), 0);
	before = descriptors();
	rules.n = 0;
	add(NULL, TCP, 7100, 7399, 81, 0);
	listen_begin(&l, PIF_SPLICE, &rules);
	assert_int_equal(listen_step(&l), -EINPROGRESS);
	refuse_visits = true;
	do
		err = listen_step(&l);
	while (err == -EINPROGRESS);
	assert_int_equal(err, -EPERM);
	assert_int_equal(descriptors(), before);
	assert_true(answers(true, 7000));
	assert_int_equal(listen_rules(&l, PIF_SPLICE)->r[0].first, 7000);
}

/* A follower's socket was to move, but the other side closed its own before */
static void follower_gone_meanwhile(void **state)
{
	static struct portmap want, none;

	(void)state;
	NEED_NETNS();
	memset(&want, 0, sizeof(want));
	portmap_put(&want, 7000);
	add(NULL, TCP, 7000, 7300, 7000, RULE_SCAN);
	assert_int_equal(set(PIF_HOST, &rules), 0);
	assert_int_equal(listen_scan(&l, PIF_HOST, TCP, &want, &none), 0);
	rules.r[0].flags &= (uint8_t)~RULE_SCAN;
	listen_begin(&l, PIF_HOST, &rules);
	assert_int_equal(listen_step(&l), -EINPROGRESS);
	assert_int_equal(listen_scan(&l, PIF_HOST, TCP, &none, &none), 0);
	while (listen_step(&l) == -EINPROGRESS)
		;
	assert_true(answers(true, 7000) && answers(true, 7300));
}

/* Of many ports that fail not each has a line */
static void complaints_are_few(void **state)
{
	unsigned lines = 0;
	char text[65536];
	FILE *log = tmpfile();
	int saved = dup(STDERR_FILENO);
	char *p = text;

	(void)state;
	NEED_NETNS();
	add("127.0.0.9", TCP, 7000, 7999, 7000, 0);
	rules.r[0].listen = A("192.0.2.1"); /* nobody's */
	fflush(stderr);
	dup2(fileno(log), STDERR_FILENO);
	assert_int_equal(set(PIF_HOST, &rules), -EADDRNOTAVAIL);
	dup2(saved, STDERR_FILENO);
	close(saved);
	rewind(log);
	text[fread(text, 1, sizeof(text) - 1, log)] = '\0';
	fclose(log);
	for (; (p = strchr(p, '\n')); p++)
		lines++;
	assert_int_equal(lines, 9);
	assert_non_null(strstr(text, "[192.0.2.1]:7007: "));
	assert_non_null(strstr(text, "Listen failed for 1000 of 1000 ports"));
}

/* --- what comes later --------------------------------------------------------- */

static int renew(void)
{
	int err;

	do
		err = listen_renew(&l);
	while (err == -EINPROGRESS);
	return err;
}

/* An address that there is not yet, as long as somebody will say when there is */
static void waits_for_address(void **state)
{
	(void)state;
	NEED_NETNS();
	add("192.0.2.1", TCP, 7000, 7299, 7000, 0);
	add("127.0.0.1", TCP, 7100, 7100, 7100, 0);
	assert_int_equal(set(PIF_HOST, &rules), -EADDRNOTAVAIL);
	l.follows = true;
	assert_int_equal(set(PIF_HOST, &rules), 0);
	assert_int_equal(listen_count(&l), 1);
	renew();
	assert_int_equal(listen_count(&l), 1);
	if (system("ip addr add 192.0.2.1/32 dev lo"))
		skip();
	renew();
	assert_int_equal(listen_count(&l), 301);
	assert_true(listen_rule(&l, PIF_HOST, TCP, &rules.r[0].listen, 7299));
	assert_int_equal(system("ip addr del 192.0.2.1/32 dev lo"), 0);
	renew();
	assert_int_equal(listen_count(&l), 301);
}

/* When it is there the port may be somebody else's, or descriptors be too few: that
 * passes, and until then whoever asks is told that the port is not there */
static void refused_for_now(void **state)
{
	const struct sockaddr_in sa = { .sin_family = AF_INET,
					.sin_port = htobe16(7001) };
	struct rlimit most, few;
	int other, next;

	(void)state;
	NEED_NETNS();
	other = socket(AF_INET, SOCK_STREAM, 0);
	assert_int_equal(bind(other, (const struct sockaddr *)&sa, sizeof(sa)), 0);
	assert_int_equal(listen(other, 1), 0);
	l.follows = true;
	add("192.0.2.3", TCP, 7000, 7002, 7000, 0);
	assert_int_equal(set(PIF_HOST, &rules), 0);
	assert_false(listen_lacks(&l, PIF_HOST, 0)); /* it waits */
	if (system("ip addr add 192.0.2.3/32 dev lo"))
		skip();
	assert_int_equal(renew(), -EAGAIN);
	assert_int_equal(listen_count(&l), 2);
	assert_true(listen_lacks(&l, PIF_HOST, 0));
	assert_int_equal(renew(), -EAGAIN);
	close(other);
	next = dup(STDIN_FILENO);
	close(next);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &most), 0);
	few = (struct rlimit){ (rlim_t)next, most.rlim_max };
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
	assert_int_equal(renew(), -EAGAIN);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &most), 0);
	assert_int_equal(renew(), 0);
	assert_int_equal(listen_count(&l), 3);
	assert_false(listen_lacks(&l, PIF_HOST, 0));
	assert_int_equal(renew(), 0);
	assert_int_equal(system("ip addr del 192.0.2.3/32 dev lo"), 0);
}

/* So does a successor, which hears of it as soon as there is one */
static void successor_waits(void **state)
{
	uint8_t b[4096];
	struct wr w = wr_init(b, sizeof(b));
	struct rd r;

	(void)state;
	NEED_NETNS();
	add("192.0.2.2", TCP, 7000, 7009, 7000, 0);
	add("127.0.0.1", TCP, 7100, 7100, 7100, RULE_WEAK);
	l.follows = true;
	assert_int_equal(set(PIF_HOST, &rules), 0);
	listen_save_rules(&l, PIF_HOST, &w);
	assert_true(wr_ok(&w));
	listen_end(&l);
	r = rd_init(b, w.len);
	assert_true(listen_load_rules(&l, &r));
	if (system("ip addr add 192.0.2.2/32 dev lo"))
		skip();
	renew();
	assert_int_equal(listen_count(&l), 10);
	assert_int_equal(system("ip addr del 192.0.2.2/32 dev lo"), 0);
}

/* Do sockets tell the interface that they are bound to? */
static bool device_is_told(void)
{
	char name[16] = "";
	socklen_t len = sizeof(name);
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	bool told = fd >= 0 &&
		    !setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, "lo", 3) &&
		    !getsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, name, &len) &&
		    !strcmp(name, "lo");

	close(fd);
	return told;
}

/* Each time it is made again; a table that takes the place of another during that
 * is renewed from its beginning.  Where nobody tells, as in qemu-user 7.2, which
 * passes the kernel four bytes for the name, what is open is left as it is. */
static void waits_for_interface(void **state)
{
	bool told = device_is_told();
	unsigned i;

	(void)state;
	NEED_NETNS();
	assert_true(told || getenv("FOREIGN")); /* of test/builds */
	l.follows = true;
	add(NULL, TCP, 7000, 7299, 7000, 0);
	strcpy(rules.r[0].ifname, "later0");
	assert_int_equal(set(PIF_HOST, &rules), 0);
	assert_int_equal(listen_count(&l), 0);
	for (i = 0; i < 2; i++) {
		if (system("ip link add later0 type veth peer name later1"))
			skip();
		assert_int_equal(listen_renew(&l), -EINPROGRESS);
		assert_int_equal(set(PIF_HOST, &rules), 0);
		renew();
		assert_int_equal(listen_count(&l), 300);
		assert_int_equal(system("ip link del later0"), 0);
		renew();
		assert_int_equal(listen_count(&l), told ? 0 : 300);
		if (!told)
			break;
	}
}

/* --- pauses --------------------------------------------------------------- */

/* What one turn of the loop, which need not wait, has to say */
static unsigned events(void)
{
	seen_events = 0;
	loop_soon(&loop);
	loop_turn(&loop);
	return seen_events;
}

/* The kernel refuses to watch them, once */
static void refused(void)
{
	int epfd = loop.epfd;

	timer_off(&l.resume);
	loop.epfd = -1;
	l.resume.expire(&l, &l.resume);
	loop.epfd = epfd;
	assert_int_not_equal(l.resume.due_ms, 0);
}

/* Any number can be readable for ever.  They are watched again after a while, and
 * a new table does not forget it. */
static void pauses(void **state)
{
	const struct addr lo = addr_loopback(true);
	int client[40], fd[40];
	unsigned i;

	(void)state;
	NEED_NETNS();
	add(NULL, TCP, 7000, 7039, 80, 0);
	assert_int_equal(set(PIF_HOST, &rules), 0);
	for (i = 0; i < 40; i++) {
		client[i] = socket(AF_INET, SOCK_STREAM, 0);
		assert_int_equal(sock_connect(&env, client[i], &lo,
					      (uint16_t)(7000 + i)), 0);
		fd[i] = fd_of(PIF_HOST, 0, (uint16_t)(7000 + i));
	}
	assert_int_equal(events(), 40);
	for (i = 0; i < 40; i++)
		listen_pause(&l, ref(PIF_HOST, fd[i], (uint16_t)(7000 + i)));
	assert_int_equal(events(), 0);

	rules.n = 0;
	add(NULL, TCP, 6000, 6099, 80, 0);
	add(NULL, TCP, 7000, 7019, 80, 0);
	assert_int_equal(set(PIF_HOST, &rules), 0);
	assert_int_equal(events(), 0);
	refused();
	while (!seen_events)
		loop_turn(&loop);
	assert_int_equal(events(), 20);
	/* One that is gone */
	listen_pause(&l, ref(PIF_HOST, fd[30], 7030));
	assert_int_equal(events(), 20);
	for (i = 0; i < 40; i++)
		close(client[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(opens_what_rules_say, fresh,
						teardown),
		cmocka_unit_test_setup_teardown(rule_by_address, fresh, teardown),
		cmocka_unit_test_setup_teardown(other_namespace_by_visits,
						fresh, teardown),
		cmocka_unit_test_setup_teardown(common_ones_stay, fresh, teardown),
		cmocka_unit_test_setup_teardown(new_before_old, fresh, teardown),
		cmocka_unit_test_setup_teardown(one_in_the_way, fresh, teardown),
		cmocka_unit_test_setup_teardown(none_in_the_way, fresh, teardown),
		cmocka_unit_test_setup_teardown(port_of_one_that_leaves, fresh,
						teardown),
		cmocka_unit_test_setup_teardown(strict_and_weak, fresh, teardown),
		cmocka_unit_test_setup_teardown(limit_is_found_before, fresh,
						teardown),
		cmocka_unit_test_setup_teardown(follows_the_other_side, fresh,
						teardown),
		cmocka_unit_test_setup_teardown(followers_stay, fresh, teardown),
		cmocka_unit_test_setup_teardown(follows_many_in_parts, fresh,
						teardown),
		cmocka_unit_test_setup_teardown(follows_translated_ports, fresh,
						teardown),
		cmocka_unit_test_setup_teardown(steps_are_short, fresh, teardown),
		cmocka_unit_test_setup_teardown(both_tables_serve, fresh,
						teardown),
		cmocka_unit_test_setup_teardown(few_descriptors, fresh, teardown),
		cmocka_unit_test_setup_teardown(namespace_gone_meanwhile, fresh,
						teardown),
		cmocka_unit_test_setup_teardown(follower_gone_meanwhile, fresh,
						teardown),
		cmocka_unit_test_setup_teardown(complaints_are_few, fresh,
						teardown),
		cmocka_unit_test_setup_teardown(waits_for_address, fresh,
						teardown),
		cmocka_unit_test_setup_teardown(refused_for_now, fresh, teardown),
		cmocka_unit_test_setup_teardown(successor_waits, fresh, teardown),
		cmocka_unit_test_setup_teardown(waits_for_interface, fresh,
						teardown),
		cmocka_unit_test_setup_teardown(pauses, fresh, teardown),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
