/* SPDX-License-Identifier: GPL-2.0-or-later */
/* unit: pasta sandbox netlink nllink nlmsg loop timer addrset addr util log egress rules */
/* isolation, each step in a process of its own, which says by its exit status
 * how far it came.  Skipped where there are no user namespaces. */
#include "isolation.h"
#include "log.h"
#include "util.h"

#include <linux/capability.h>

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { UNAVAILABLE = 77 };

static struct conf c;

static int raw_status(void (*fn)(void))
{
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (!pid) {
		alarm(30);
		log_stderr(false);
		memset(&c, 0, sizeof(c));
		c.fd = c.ready_fd = c.exit_fd = -1;
		fn();
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static int isolated(void (*fn)(void))
{
	int status = raw_status(fn);

	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) == UNAVAILABLE)
		skip();
	return WEXITSTATUS(status);
}

static void need_namespaces(void)
{
	pid_t pid = fork();
	int status;

	if (!pid)
		_exit(unshare(CLONE_NEWUSER) ? 1 : 0);
	if (waitpid(pid, &status, 0) != pid || status)
		_exit(UNAVAILABLE);
}

/* --- start --------------------------------------------------------------- */

static bool is_open(int fd)
{
	return fcntl(fd, F_GETFD) >= 0;
}

static int given;

static void starts(void)
{
	struct given g = { .guest = given, .ready = -1, .exit = -1 };
	int p[2];

	if (pipe(p) || dup2(p[0], given) < 0 || dup2(p[0], 40) < 0)
		_exit(1);
	close(1);
	isolation_start(&g, false);
	if (g.guest != 3 || !is_open(0) || !is_open(1) || !is_open(2))
		_exit(2);
	if (is_open(4) || is_open(40) || (given != 3 && is_open(given) &&
					  given > 2))
		_exit(3);
	/* it is the pipe, and does not leak */
	if (lseek(3, 0, SEEK_CUR) != -1 || errno != ESPIPE ||
	    !(fcntl(3, F_GETFD) & FD_CLOEXEC))
		_exit(4);
	/* the closed one is /dev/null now, as is one that was given */
	if (write(1, "x", 1) != 1)
		_exit(5);
}

static void descriptors(void **state)
{
	static const int fds[] = { 0, 2, 3, 4, 9 };
	unsigned i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(fds); i++) {
		given = fds[i];
		assert_int_equal(isolated(starts), 0);
	}
}

static void starts_without(void)
{
	struct given g = { .guest = -1, .ready = -1, .exit = -1 };
	struct rlimit r;

	if (dup2(0, 3) < 0 || dup2(0, 5) < 0)
		_exit(1);
	isolation_start(&g, false);
	if (g.guest != -1 || g.ready != -1 || is_open(3) || is_open(5))
		_exit(2);
	if (getrlimit(RLIMIT_NOFILE, &r) || r.rlim_cur != r.rlim_max)
		_exit(3);
}

static void no_descriptor(void **state)
{
	(void)state;
	assert_int_equal(isolated(starts_without), 0);
}

static void starts_closed(void)
{
	struct given g = { .guest = 50, .ready = -1, .exit = -1 };

	isolation_start(&g, false);
}

/* Wherever they were, they are the ends that they were */
static void some(int guest, int ready, bool later)
{
	struct given g = { .guest = guest, .ready = ready, .exit = 12 };
	int p[2];
	char b;

	if (pipe(p) || dup2(p[0], 30) < 0 || dup2(p[1], 31) < 0 ||
	    (guest >= 0 && dup2(30, guest) < 0) || dup2(31, ready) < 0 ||
	    dup2(30, 12) < 0)
		_exit(1);
	isolation_start(&g, later);
	if ((guest >= 0 && g.guest != 3) || g.ready < 3 ||
	    is_open(30) != later || !(fcntl(g.ready, F_GETFD) & FD_CLOEXEC))
		_exit(2);
	if (!(fcntl(g.exit, F_GETFD) & FD_CLOEXEC) || (!later && is_open(6)))
		_exit(3);
	if (write(g.ready, "x", 1) != 1 ||
	    read(g.exit, &b, 1) != 1)
		_exit(4);
}

static int ready_at, guest_at;
static bool leave_others;

static void starts_some(void)
{
	some(guest_at, ready_at, leave_others);
}

static void some_descriptors(void **state)
{
	static const int at[] = { 0, 1, 3, 4, 5, 6, 9 };
	unsigned i, k;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(at); i++)
		for (k = 0; k < ARRAY_SIZE(at); k++) {
			guest_at = at[i];
			ready_at = at[k];
			if (i != k)
				assert_int_equal(isolated(starts_some), 0);
		}
	guest_at = -1;
	leave_others = true;
	for (k = 0; k < ARRAY_SIZE(at); k++) {
		ready_at = at[k];
		assert_int_equal(isolated(starts_some), 0);
	}
}

/* Nothing can be written there, or the guest is there */
static void starts_unwritable(void)
{
	struct given g = { .guest = -1, .ready = open("/dev/null", O_RDONLY),
			   .exit = -1 };

	isolation_start(&g, false);
}

static void starts_same(void)
{
	struct given g = { .guest = 1, .ready = 1, .exit = -1 };

	isolation_start(&g, false);
}

static void bad_ready_descriptor(void **state)
{
	(void)state;
	assert_int_equal(isolated(starts_unwritable), 1);
	assert_int_equal(isolated(starts_same), 1);
}

static void closed_descriptor(void **state)
{
	(void)state;
	assert_int_equal(isolated(starts_closed), 1);
}

/* --- sandbox ------------------------------------------------------------- */

static uint64_t permitted(void)
{
	struct __user_cap_header_struct h = { _LINUX_CAPABILITY_VERSION_3, 0 };
	struct __user_cap_data_struct d[2] = { 0 };

	syscall(SYS_capget, &h, d);
	return (uint64_t)d[1].permitted << 32 | d[0].permitted;
}

static void sandboxes(void)
{
	need_namespaces();
	c.foreground = true;
	isolation_user(&c);
	isolation_sandbox(&c, -1);
	if (permitted())
		_exit(2);
	if (!access("/proc", F_OK) || !access("/tmp", F_OK) ||
	    !access("/etc", F_OK) || chdir("..") || !access("proc", F_OK))
		_exit(3);
	if (open("/x", O_CREAT | O_WRONLY, 0600) >= 0)
		_exit(4);
}

static void sandbox(void **state)
{
	(void)state;
	assert_int_equal(isolated(sandboxes), 0);
}

static void runs_as(void)
{
	char map[64] = "";

	/* Root of all users, not of some */
	util_read_file("/proc/self/uid_map", map, sizeof(map));
	if (geteuid() || !strstr(map, "4294967295"))
		_exit(UNAVAILABLE);
	need_namespaces();
	c.runas = true;
	c.uid = 1234;
	c.gid = 2345;
	isolation_user(&c);
	if (getuid() != 1234 || getgid() != 2345 || getgroups(0, NULL))
		_exit(1);
	c.foreground = true;
	isolation_sandbox(&c, -1);
	if (permitted() || !setuid(0))
		_exit(2);
}

static void runas(void **state)
{
	(void)state;
	assert_int_equal(isolated(runs_as), 0);
}

/* --- daemon -------------------------------------------------------------- */

static int report[2];

static void daemonises(void)
{
	int file = memfd_create("pid", 0), keep = dup(file);
	char text[16] = "";
	bool early = false;
	pid_t shown;
	unsigned i;

	need_namespaces();
	isolation_user(&c);
	isolation_sandbox(&c, -1);
	isolation_daemon(&c, file); /* our parent waits for who leaves here */
	if (pread(keep, text, sizeof(text) - 1, 0) > 0)
		early = true; /* somebody was told too soon */
	isolation_detach();
	isolation_ready(&c);
	/* The first process of its namespace; the number is of the outer one */
	for (i = 0; i < 10000 && !text[0]; i++) {
		(void)!pread(keep, text, sizeof(text) - 1, 0);
		usleep(1000);
	}
	shown = atoi(text);
	if (getpid() != 1 || getsid(0) != 1 || shown < 2 || is_open(file) ||
	    !strchr(text, '\n') || early)
		shown = -1;
	(void)!write(report[1], &shown, sizeof(shown));
}

static void daemon_pid(void **state)
{
	pid_t pid = 0;

	(void)state;
	assert_int_equal(pipe(report), 0);
	assert_int_equal(isolated(daemonises), 0);
	assert_int_equal(read(report[0], &pid, sizeof(pid)), sizeof(pid));
	assert_true(pid > 1);
	close(report[0]);
	close(report[1]);
}

static void stays(void)
{
	int file = memfd_create("pid", 0), keep = dup(file);
	char text[16] = "";
	pid_t me = getpid();

	c.foreground = true;
	isolation_daemon(&c, file);
	(void)!pread(keep, text, sizeof(text) - 1, 0);
	if (getpid() != me || atoi(text) != me)
		_exit(1);
}

static void foreground(void **state)
{
	(void)state;
	assert_int_equal(isolated(stays), 0);
}

/* --- filter -------------------------------------------------------------- */

static void filters(void)
{
	/* as seccomp.sh found them beside the calls */
	isolation_filter(MODE_PASST);
	if (prctl(PR_GET_DUMPABLE) == 1)
		_exit(1);
}

static void filters_and_runs(void)
{
	int fds[2];
	char b = 0;

	if (pipe(fds))
		_exit(1);
	isolation_filter(MODE_PASTA);
	if (write(fds[1], "x", 1) != 1 || read(fds[0], &b, 1) != 1 || b != 'x')
		_exit(2);
	close(fds[0]);
}

static int said; /* what stderr is */

/* Two that are denied, one with other arguments than those in the note */
static void makes_a_call(void)
{
	dup2(said, 2);
	log_stderr(true);
	isolation_filter(MODE_PASST);
	syscall(SYS_getppid);
}

static void makes_a_socket(void)
{
	dup2(said, 2);
	log_stderr(true);
	isolation_filter(MODE_PASST);
	if (socket(AF_INET, SOCK_DGRAM, 0) < 0)
		return;
	socket(AF_UNIX, SOCK_DGRAM, 0);
}

static bool dies_of(void (*fn)(void))
{
	int status = raw_status(fn);

	return WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS;
}

static void assert_last_words(void (*fn)(void), int number, const char *name)
{
	char want[128], got[256] = "";

	said = memfd_create("stderr", 0);
	assert_true(dies_of(fn));
	assert_true(pread(said, got, sizeof(got) - 1, 0) > 0);
	close(said);
	snprintf(want, sizeof(want),
		 "Killed by our own filter: system call %d, %s\n", number,
		 name);
	assert_string_equal(got, want);
}

static char top[32], file[48];

/* One directory is left, and no way out of it */
static void confined(void)
{
	int dir, out, probe;

	probe = (int)syscall(444, NULL, 0, 1); /* which version of Landlock */
	if (probe < 1)
		_exit(UNAVAILABLE);
	out = open(file, O_CREAT | O_WRONLY, 0600);
	dir = open(top, O_PATH | O_DIRECTORY);
	isolation_files(&c, false, &dir, 1);
	if (out < 0 || openat(dir, "file", O_RDONLY) < 0 ||
	    write(out, "x", 1) != 1)
		_exit(1);
	if (openat(dir, "../../etc/passwd", O_RDONLY) >= 0 || errno != EACCES)
		_exit(2);
	if (open("/etc/passwd", O_RDONLY) >= 0 || errno != EACCES)
		_exit(3);
	if (openat(dir, "file", O_WRONLY) >= 0 || errno != EACCES)
		_exit(4);
	if (openat(dir, "new", O_CREAT | O_WRONLY, 0600) >= 0 ||
	    !unlinkat(dir, "file", 0))
		_exit(5);
	isolation_files(&c, false, NULL, 0);
	if (openat(dir, "file", O_RDONLY) >= 0)
		_exit(6);
}

static void files(void **state)
{
	int status;

	(void)state;
	strcpy(top, "/tmp/isolation.XXXXXX");
	assert_non_null(mkdtemp(top));
	snprintf(file, sizeof(file), "%s/file", top);
	status = raw_status(confined);
	unlink(file);
	rmdir(top);
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) == UNAVAILABLE)
		skip();
	assert_int_equal(WEXITSTATUS(status), 0);
}

static void filter(void **state)
{
	(void)state;
#if defined(__SANITIZE_ADDRESS__)
	skip();
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
	skip();
#endif
#endif
	/* prctl() is not among those that are needed later */
	assert_true(dies_of(filters));
	assert_last_words(makes_a_call, SYS_getppid, "getppid");
	assert_last_words(makes_a_socket, SYS_socket, "socket");
	assert_int_equal(isolated(filters_and_runs), 0);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(descriptors),
		cmocka_unit_test(no_descriptor),
		cmocka_unit_test(closed_descriptor),
		cmocka_unit_test(some_descriptors),
		cmocka_unit_test(bad_ready_descriptor),
		cmocka_unit_test(sandbox),
		cmocka_unit_test(runas),
		cmocka_unit_test(daemon_pid),
		cmocka_unit_test(foreground),
		cmocka_unit_test(files),
		cmocka_unit_test(filter),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
