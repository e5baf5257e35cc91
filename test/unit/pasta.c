/* SPDX-License-Identifier: GPL-2.0-or-later */
/* unit: isolation sandbox netlink nllink nlmsg loop timer addrset addr util log egress rules */
/* pasta in real namespaces: each test is a process of its own that does what
 * passt.c would do and leaves with the status of the loop.  Skipped where there
 * are no user namespaces. */
#include "pasta.h"
#include "isolation.h"
#include "log.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { UNAVAILABLE = 77 };

static struct conf c;
static struct pasta p;
static struct loop l;

/* Status of @fn in a process of its own */
static int isolated(void (*fn)(void))
{
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (!pid) {
		alarm(30);
		log_level(LOG_ERROR);
		signal(SIGPIPE, SIG_IGN);
		memset(&c, 0, sizeof(c));
		c.mode = MODE_PASTA;
		c.fd = -1;
		c.foreground = true;
		if (loop_init(&l))
			_exit(UNAVAILABLE);
		fn();
		_exit(99); /* fn() should have left */
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) == UNAVAILABLE)
		skip();
	return WEXITSTATUS(status);
}

static bool namespaces(void)
{
	pid_t pid = fork();
	int status;

	if (!pid)
		_exit(unshare(CLONE_NEWUSER | CLONE_NEWNET) ? 1 : 0);
	return waitpid(pid, &status, 0) == pid && !status;
}

static void start(char **argv)
{
	if (!namespaces())
		_exit(UNAVAILABLE);
	c.spawn = argv;
	c.argv = argv;
	isolation_user(&c);
	pasta_open(&p, &c, isolation_userns(&c));
}

static _Noreturn void finish(void)
{
	if (pasta_watch(&p, &l, &c))
		_exit(98);
	pasta_go(&p);
	while (loop_turn(&l))
		;
	_exit(l.status);
}

/* --- commands ------------------------------------------------------------ */

static void exits_five(void)
{
	static char *argv[] = { "sh", "-c", "exit 5", NULL };

	start(argv);
	finish();
}

static void status_of_command(void **state)
{
	(void)state;
	assert_int_equal(isolated(exits_five), 5);
}

static void killed(void)
{
	static char *argv[] = { "sleep", "60", NULL };

	start(argv);
	if (pasta_watch(&p, &l, &c))
		_exit(98);
	pasta_go(&p);
	kill(p.child, SIGKILL);
	while (loop_turn(&l))
		;
	_exit(l.status);
}

static void signal_of_command(void **state)
{
	(void)state;
	assert_int_equal(isolated(killed), 128 + SIGKILL);
}

static void missing(void)
{
	static char *argv[] = { "/nosuch", NULL };

	log_stderr(false);
	start(argv);
	finish();
}

static void no_command(void **state)
{
	(void)state;
	assert_int_equal(isolated(missing), 127);
}

/* What the command finds: it is root, the first process, lo is up, the host
 * has our name, and nothing of us is open or blocked */
static void inspected(void)
{
	static char *argv[] = {
		"sh", "-c",
		"test $(id -u) = 0 || exit 11;"
		"test $$ = 1 || exit 12;"
		"test \"$(hostname)\" = guest.example || exit 13;"
		"grep -q '^ *lo:' /proc/net/dev || exit 14;"
		"test $(($(cat /sys/class/net/lo/flags 2>/dev/null ||"
		" echo 1) & 1)) = 1 || exit 15;"
		"test ! -e /proc/self/fd/4 || exit 16;"
		"grep -q 'SigBlk:.*0000000000000000' /proc/self/status ||"
		" exit 17;"
		/* SIGPIPE; what else is ignored we may have inherited */
		"i=$(sed -n 's/^SigIgn:[^0-9a-f]*/0x/p' /proc/self/status);"
		"test $((i & 0x1000)) = 0 || exit 18;"
		"test \"$(echo $(cat /proc/sys/net/ipv4/ping_group_range))\" ="
		" '0 0' || exit 19",
		NULL,
	};

	strcpy(c.lan.hostname, "guest.example");
	start(argv);
	finish();
}

static void command_environment(void **state)
{
	(void)state;
	assert_int_equal(isolated(inspected), 0);
}

static void shell(void)
{
	int fd;

	setenv("SHELL", "/bin/sh", 1);
	/* $0 says whether it is a login shell */
	fd = memfd_create("script", 0);
	if (fd < 0 || write(fd, "case $0 in -*) exit 6; esac\n", 28) != 28 ||
	    lseek(fd, 0, SEEK_SET) || dup2(fd, 0))
		_exit(UNAVAILABLE);
	if (!namespaces())
		_exit(UNAVAILABLE);
	c.spawn = true;
	isolation_user(&c);
	pasta_open(&p, &c, isolation_userns(&c));
	finish();
}

static void login_shell(void **state)
{
	(void)state;
	assert_int_equal(isolated(shell), 6);
}

static int ends[2];

static void abandons(void)
{
	static char *argv[] = { "sh", "-c", "echo ran >&1", NULL };

	if (dup2(ends[1], 1) < 0)
		_exit(UNAVAILABLE);
	close(ends[1]);
	start(argv);
	_exit(4); /* without pasta_go() */
}

/* We fail: the command must not run, nor stay */
static void abandoned(void **state)
{
	char b;

	(void)state;
	assert_int_equal(pipe(ends), 0);
	assert_int_equal(isolated(abandons), 4);
	close(ends[1]);
	assert_int_equal(read(ends[0], &b, 1), 0);
	close(ends[0]);
}

/* --- inside -------------------------------------------------------------- */

static ino_t this_netns(void)
{
	struct stat st;

	return stat("/proc/self/ns/net", &st) ? 0 : st.st_ino;
}

static int look_around(void *arg)
{
	*(ino_t *)arg = this_netns();
	return -EXDEV;
}

static int opens(void *arg)
{
	(void)arg;
	return open("/dev/null", O_RDONLY);
}

static void visits(void)
{
	static char *argv[] = { "true", NULL };
	ino_t here = this_netns(), there = 0;
	sigset_t before, after;
	int fd;

	start(argv);
	sigprocmask(SIG_SETMASK, NULL, &before);
	if (pasta_in_ns(&p, look_around, &there) != -EXDEV)
		_exit(1);
	sigprocmask(SIG_SETMASK, NULL, &after);
	if (!there || there == here || this_netns() != here)
		_exit(2);
	if (sigismember(&before, SIGTERM) != sigismember(&after, SIGTERM))
		_exit(3);
	/* descriptors are shared */
	fd = pasta_in_ns(&p, opens, NULL);
	if (fd < 0 || fcntl(fd, F_GETFD) < 0)
		_exit(4);
	p.netns = fd; /* not a namespace */
	if (pasta_in_ns(&p, opens, NULL) != -EINVAL)
		_exit(5);
	_exit(0);
}

static void in_ns(void **state)
{
	(void)state;
	assert_int_equal(isolated(visits), 0);
}

/* --- the end of a namespace ---------------------------------------------- */

static int leash = -1;

/* A process in namespaces of its own, which ends when @leash is closed: we may
 * not be allowed to kill it */
static pid_t holder(void)
{
	int ready[2], end[2];
	pid_t pid;
	char b = 0;

	if (!namespaces() || pipe2(ready, O_CLOEXEC) || pipe2(end, O_CLOEXEC))
		_exit(UNAVAILABLE);
	pid = fork();
	if (!pid) {
		close(end[1]);
		if (unshare(CLONE_NEWUSER | CLONE_NEWNET))
			_exit(1);
		(void)!write(ready[1], "", 1);
		(void)!read(end[0], &b, 1);
		_exit(0);
	}
	leash = end[1];
	close(end[0]);
	if (read(ready[0], &b, 1) != 1)
		_exit(UNAVAILABLE);
	return pid;
}

static void joins_process(void)
{
	c.pid = holder();
	isolation_user(&c);
	pasta_open(&p, &c, isolation_userns(&c));
	if (pasta_watch(&p, &l, &c))
		_exit(98);
	close(leash);
	while (loop_turn(&l))
		;
	_exit(l.status ? l.status : 40);
}

static void process_ends(void **state)
{
	(void)state;
	assert_int_equal(isolated(joins_process), 40);
}

/* By name, in a directory, among other files that are deleted as well; before
 * or after the watch begins */
static char dir[32];

static void joins_name(bool early)
{
	char other[64], target[64];
	pid_t pid = holder();

	snprintf(c.netns, sizeof(c.netns), "%s/name", dir);
	snprintf(c.userns, sizeof(c.userns), "/proc/%d/ns/user", (int)pid);
	snprintf(other, sizeof(other), "%s/nam", dir);
	snprintf(target, sizeof(target), "/proc/%d/ns/net", (int)pid);
	if (symlink(target, c.netns) || symlink(target, other))
		_exit(UNAVAILABLE);
	isolation_user(&c);
	pasta_open(&p, &c, isolation_userns(&c));
	if (early)
		unlink(c.netns);
	if (pasta_watch(&p, &l, &c))
		_exit(98);
	unlink(other);
	if (!early && (!loop_turn(&l) || unlink(c.netns)))
		_exit(3);
	while (loop_turn(&l))
		;
	_exit(l.status ? l.status : 41);
}

static void joins_early(void)
{
	joins_name(true);
}

static void joins_late(void)
{
	joins_name(false);
}

static void name_goes(void **state)
{
	(void)state;
	if (!namespaces())
		skip();
	strcpy(dir, "/tmp/unit-pasta-XXXXXX");
	assert_non_null(mkdtemp(dir));
	assert_int_equal(chmod(dir, 0777), 0); /* also for nobody */
	assert_int_equal(isolated(joins_early), 41);
	assert_int_equal(isolated(joins_late), 41);
	assert_int_equal(rmdir(dir), 0);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(status_of_command),
		cmocka_unit_test(signal_of_command),
		cmocka_unit_test(no_command),
		cmocka_unit_test(command_environment),
		cmocka_unit_test(login_shell),
		cmocka_unit_test(abandoned),
		cmocka_unit_test(in_ns),
		cmocka_unit_test(process_ends),
		cmocka_unit_test(name_goes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
