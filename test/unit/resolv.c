/* SPDX-License-Identifier: GPL-2.0-or-later */
/* unit: ndp neigh dnsname resolvconf renew plan conf options rules egress fwd dnsanswer loop timer log util addrset addr boot events */
/* A resolv.conf of our own that changes in all the ways that are in use.  What
 * the sandbox takes away is taken away here by renaming the directories. */
#include "resolv.h"
#include "guest.h"
#include "log.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static struct loop loop;
static struct conf c;
static struct renew renew;
static struct fwd fwd;
static struct resolv r;
static struct seen seen;
static char top[64], path[128];

/* In place of guest.c's */
static unsigned advertised;

void guest_farewell(struct guest *g, const struct lan *was)
{
	(void)g;
	(void)was;
}

void guest_renew(struct guest *g)
{
	(void)g;
}

void guest_advertise(struct guest *g)
{
	assert_null(g);
	advertised++;
}

static const char *at(const char *name)
{
	static char buf[4][256];
	static unsigned i;

	i = (i + 1) % 4;
	snprintf(buf[i], sizeof(buf[i]), "%s/%s", top, name);
	return buf[i];
}

static void put(const char *name, const char *text)
{
	FILE *f = fopen(at(name), "w");

	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static void replace(const char *name, const char *text)
{
	put("new", text);
	assert_int_equal(rename(at("new"), at(name)), 0);
}

static void point(const char *name, const char *target)
{
	unlink(at(name));
	assert_int_equal(symlink(target, at(name)), 0);
}

static const char *asked(void)
{
	static char text[ADDR_TEXT_LEN];
	const struct fwd_dns *d = &fwd.dns;

	return d->n[0] ? addr_text(&d->host[0][d->current[0]], text) : "none";
}

/* Turn until questions go to @want; the tests' runner knows a hang */
static void until_asked(const char *want)
{
	while (strcmp(asked(), want))
		loop_turn(&loop);
}

/* Until what is under way has been looked at */
static void settle(void)
{
	do
		loop_turn(&loop);
	while (r.timer.due_ms);
}

static int set_up(void **state)
{
	(void)state;
	strcpy(top, "/tmp/resolv.XXXXXX");
	assert_non_null(mkdtemp(top));
	assert_int_equal(mkdir(at("etc"), 0755), 0);
	assert_int_equal(mkdir(at("run"), 0755), 0);
	strcpy(path, at("etc/resolv.conf"));
	memset(&c, 0, sizeof(c));
	c.sock.v4 = c.sock.v6 = c.lan.v4 = c.lan.v6 = true;
	c.dhcp_dns = c.dhcp_search = true;
	assert_int_equal(loop_init(&loop), 0);
	return 0;
}

static int tear_down(void **state)
{
	char line[128];

	(void)state;
	if (r.notify >= 0)
		close(r.notify);
	while (r.dirs)
		close(r.dir[--r.dirs].fd);
	if (r.file >= 0)
		close(r.file);
	close(loop.epfd);
	snprintf(line, sizeof(line), "rm -rf %s", top);
	return system(line);
}

/* As passt.c does it */
static void start(void)
{
	struct resolvconf rc;
	int fd = open(path, O_RDONLY);

	if (fd < 0 || resolvconf_read(&rc, fd))
		resolvconf_begin(&rc);
	close(fd);
	memset(&renew, 0, sizeof(renew));
	renew.host.rc = rc;
	renew_init(&renew, &c);
	fwd_init(&fwd, &renew.plan.lan, &seen, &renew.plan.map, &renew.env);
	renew_start(&renew, &fwd, NULL);
	resolv_open(&r, &loop, &renew, path);
}

/* Paths lead nowhere from now on.  The tests go on in what was there. */
static void sandbox(void)
{
	char was[64];

	strcpy(was, top);
	strcat(top, "-x");
	assert_int_equal(rename(was, top), 0);
}

static void replaced(void **state)
{
	(void)state;
	put("etc/resolv.conf", "nameserver 10.0.0.1\nsearch a\n");
	start();
	assert_string_equal(asked(), "10.0.0.1");
	sandbox();
	replace("etc/resolv.conf", "nameserver 10.0.0.2\nsearch b c\n");
	until_asked("10.0.0.2");
	assert_int_equal(renew.plan.lan.dns4_n, 1);
	assert_true(addr_equal(&renew.plan.lan.dns4[0], &fwd.dns.host[0][0]));
	assert_int_equal(renew.plan.lan.search_n, 2);
	replace("etc/resolv.conf", "nameserver 10.0.0.3\n");
	until_asked("10.0.0.3");
	assert_int_equal(renew.plan.lan.search_n, 0);
}

static void rewritten(void **state)
{
	(void)state;
	put("etc/resolv.conf", "nameserver 10.0.0.1\n");
	start();
	sandbox();
	put("etc/resolv.conf", "nameserver 10.0.0.2\n");
	until_asked("10.0.0.2");
	put("etc/resolv.conf", "nameserver 10.0.0.3\n");
	until_asked("10.0.0.3");
}

/* Before the watch began, and a file that is not there at first */
static void late(void **state)
{
	(void)state;
	start();
	assert_string_equal(asked(), "none");
	sandbox();
	replace("etc/resolv.conf", "nameserver 10.0.0.1\n");
	until_asked("10.0.0.1");
	/* gone, and here again */
	replace("etc/resolv.conf", "nameserver 10.0.0.9\n");
	unlink(at("etc/resolv.conf"));
	settle();
	assert_string_equal(asked(), "10.0.0.1");
	put("etc/resolv.conf", "nameserver 10.0.0.2\n");
	until_asked("10.0.0.2");
}

static void linked(void **state)
{
	(void)state;
	put("run/stub", "nameserver 10.0.0.1\n");
	put("run/other", "nameserver 10.0.0.9\n");
	point("etc/resolv.conf", "../run/stub");
	start();
	assert_string_equal(asked(), "10.0.0.1");
	assert_int_equal(r.file, -1);
	sandbox();
	/* the target changes, in both ways */
	replace("run/stub", "nameserver 10.0.0.2\n");
	until_asked("10.0.0.2");
	put("run/stub", "nameserver 10.0.0.3\n");
	until_asked("10.0.0.3");
	/* the link changes, and what it leads to then */
	point("etc/resolv.conf", ".././run//other");
	until_asked("10.0.0.9");
	replace("run/other", "nameserver 10.0.0.8\n");
	until_asked("10.0.0.8");
	/* it becomes a file */
	replace("etc/resolv.conf", "nameserver 10.0.0.4\n");
	until_asked("10.0.0.4");
}

/* To another file beside it, which is then looked at as well */
static void linked_beside(void **state)
{
	(void)state;
	put("etc/home", "nameserver 10.0.0.1\n");
	put("etc/away", "nameserver 10.0.0.2\n");
	point("etc/resolv.conf", "home");
	start();
	sandbox();
	settle();
	assert_string_equal(asked(), "10.0.0.1");
	point("etc/resolv.conf", "away");
	until_asked("10.0.0.2");
	replace("etc/away", "nameserver 10.0.0.3\n");
	until_asked("10.0.0.3");
	point("etc/resolv.conf", "home");
	until_asked("10.0.0.1");
}

static void chain(void **state)
{
	char target[160];

	(void)state;
	assert_int_equal(mkdir(at("deep"), 0755), 0);
	snprintf(target, sizeof(target), "%s/deep/resolv", top);
	put("deep/resolv", "nameserver 10.0.0.1\n");
	point("etc/resolv.conf", "../run/link");
	point("run/link", target);
	start();
	assert_string_equal(asked(), "10.0.0.1");
	assert_int_equal(r.dirs, 3);
	sandbox();
	put("deep/resolv", "nameserver 10.0.0.2\n");
	until_asked("10.0.0.2");
	/* the link in the middle */
	replace("run/link", "nameserver 10.0.0.3\n");
	until_asked("10.0.0.3");
	/* a directory that nobody has told of: what we know stays */
	point("etc/resolv.conf", "/elsewhere/resolv.conf");
	settle();
	point("etc/resolv.conf", "../../../../../..");
	settle();
	point("etc/resolv.conf", "resolv.conf");
	settle();
	assert_string_equal(asked(), "10.0.0.3");
	replace("etc/resolv.conf", "nameserver 10.0.0.4\n");
	until_asked("10.0.0.4");
}

/* What does not answer is not asked again because its file was touched */
static void touched(void **state)
{
	static const char two[] = "nameserver 10.0.0.1\nnameserver 10.0.0.2\n";

	(void)state;
	put("etc/resolv.conf", two);
	start();
	fwd.dns.current[0] = 1;
	replace("etc/resolv.conf", two);
	settle();
	assert_string_equal(asked(), "10.0.0.2");
}

/* A guest that has learned them by router advertisements is told at once */
static void told(void **state)
{
	(void)state;
	c.lan.ra = c.lan.ndp = true;
	put("etc/resolv.conf", "nameserver fd00::1\nsearch a\n");
	start();
	settle();
	advertised = 0;
	replace("etc/resolv.conf", "# the same\nnameserver fd00::1\nsearch a\n");
	settle();
	assert_int_equal(advertised, 0);
	replace("etc/resolv.conf", "nameserver fd00::2\nsearch a b\n");
	settle();
	assert_int_equal(advertised, 1);
	assert_int_equal(renew.plan.lan.gone.dns6_n, 1);
	assert_int_equal(renew.plan.lan.gone.search_n, 0);
	/* IPv4 is none of a router's business */
	replace("etc/resolv.conf",
		"nameserver fd00::2\nnameserver 10.0.0.1\nsearch a b\n");
	settle();
	assert_int_equal(advertised, 1);
	replace("etc/resolv.conf", "nameserver fd00::2\nsearch b a\n");
	settle();
	assert_int_equal(advertised, 2);
}

/* What a policy refuses to read again stays as it was, and that is told once */
static void refused(void **state)
{
	int err = dup(2), p[2];
	uid_t uid = geteuid();
	char text[1024];
	ssize_t len;

	(void)state;
	put("etc/resolv.conf", "nameserver 10.0.0.1\n");
	start();
	settle();
	assert_string_equal(asked(), "10.0.0.1");
	replace("etc/resolv.conf", "nameserver 10.0.0.2\n");
	assert_int_equal(chmod(at("etc/resolv.conf"), 0), 0);
	assert_int_equal(pipe2(p, O_NONBLOCK | O_CLOEXEC), 0);
	fflush(stderr);
	dup2(p[1], 2);
	log_level(LOG_WARN);
	if (!uid)
		assert_int_equal(seteuid(65534), 0);
	settle();
	timer_set(&loop.timers, &r.timer, loop.now_ms + 1);
	settle();
	assert_int_equal(seteuid(uid), 0);
	log_level(LOG_ERROR);
	dup2(err, 2);
	close(err);
	len = read(p[0], text, sizeof(text) - 1);
	close(p[0]);
	close(p[1]);
	assert_true(len > 0);
	text[len] = '\0';
	assert_non_null(strstr(text, "can't be read again (Permission denied)"));
	assert_ptr_equal(strchr(text, '\n'), text + len - 1);
	assert_string_equal(asked(), "10.0.0.1");
	assert_int_equal(chmod(at("etc/resolv.conf"), 0644), 0);
	replace("etc/resolv.conf", "nameserver 10.0.0.3\n");
	until_asked("10.0.0.3");
}

/* Nothing depends on it: nothing is watched */
static void unwanted(void **state)
{
	(void)state;
	c.dhcp_dns = c.dhcp_search = false;
	start();
	assert_int_equal(r.notify, -1);
	assert_int_equal(r.dirs, 0);
	c.dhcp_dns = c.dhcp_search = c.dns_none = c.search_given = true;
	start();
	assert_int_equal(r.dirs, 0);
	addr_parse("192.0.2.9", &c.map.dns.match[0]);
	c.splice_only = true;
	start();
	assert_int_equal(r.dirs, 0);
	c.splice_only = false;
	start();
	assert_true(r.dirs && r.notify >= 0);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(replaced),	  TEST(rewritten), TEST(late),
		TEST(linked),	  TEST(linked_beside), TEST(chain),
		TEST(touched),	  TEST(told),	   TEST(refused),
		TEST(unwanted),
	};

	log_init("passt");
	log_level(LOG_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
