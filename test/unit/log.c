/* SPDX-License-Identifier: GPL-2.0-or-later */
/* unit: util */
#include "log.h"
#include "netns.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

enum { SKIPPED = 77, LIMIT = 40960 };

static int real_stderr;
static char out[1 << 20]; /* what was last read() */
static char path[64];

/* There is one log a process, so each test is a process */
#define CHECK(x)                                                               \
	do {                                                                   \
		if (!(x)) {                                                    \
			dprintf(real_stderr, "%s:%d: %s\n", __FILE__,          \
				__LINE__, #x);                                 \
			_exit(1);                                              \
		}                                                              \
	} while (0)

static void run(void (*fn)(void))
{
	int status, fd;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (!pid) {
		real_stderr = dup(STDERR_FILENO);
		fd = memfd_create("stderr", 0);
		dup2(fd, STDERR_FILENO);
		log_init("passt");
		fn();
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) == SKIPPED)
		skip();
	assert_int_equal(WEXITSTATUS(status), 0);
}

static const char *slurp(int fd)
{
	ssize_t n = pread(fd, out, sizeof(out) - 1, 0);

	CHECK(n >= 0);
	out[n] = '\0';
	return out;
}

static const char *on_stderr(void)
{
	return slurp(STDERR_FILENO);
}

static const char *in_file(void)
{
	int fd, got;

	log_fds(&fd, &got);
	CHECK(fd >= 0);
	return slurp(fd);
}

static void open_log(void)
{
	strcpy(path, "/tmp/unit-log-XXXXXX");
	close(mkstemp(path));
	CHECK(!log_file(path, LIMIT, "2026_07", false));
	unlink(path);
}

/* "12.3456: " at @s; what follows, or NULL */
static const char *after_stamp(const char *s)
{
	unsigned i;

	if (*s < '0' || *s > '9')
		return NULL;
	while (*s >= '0' && *s <= '9')
		s++;
	if (*s++ != '.')
		return NULL;
	for (i = 0; i < 4; i++, s++)
		if (*s < '0' || *s > '9')
			return NULL;
	return strncmp(s, ": ", 2) ? NULL : s + 2;
}

static void levels(void)
{
	log_err("e %d", 1);
	log_warn("w");
	log_info("i");
	log_debug("d");
	log_trace("t");
	CHECK(!strcmp(on_stderr(), "e 1\nw\ni\n"));
	log_level(LOG_WARN);
	log_info("no");
	log_warn("yes");
	CHECK(!strcmp(on_stderr(), "e 1\nw\ni\nyes\n"));
}

static void debugging(void)
{
	const char *s;

	open_log();
	log_stderr(false); /* debugging goes to stderr, and nowhere else */
	log_level(LOG_DBG);
	log_debug("d");
	log_info("i");
	log_trace("t");
	s = after_stamp(on_stderr());
	CHECK(s && !strncmp(s, "d\n", 2));
	s = after_stamp(s + 2);
	CHECK(s && !strcmp(s, "i\n"));
	log_level(LOG_TRACE);
	log_trace("t");
	CHECK(strstr(on_stderr(), ": t\n"));
	CHECK(strchr(in_file(), '\n')[1] == '\0');
}

static void evaluated_if_printed(void)
{
	int n = 0;

	log_debug("%d", ++n);
	CHECK(n == 0);
	log_info("%d", ++n);
	CHECK(n == 1);
}

static void one_end_of_line(void)
{
	char big[5000];

	log_info("with\n");
	log_info("without");
	log_info("%s", "");
	CHECK(!strcmp(on_stderr(), "with\nwithout\n\n"));
	memset(big, 'x', sizeof(big));
	big[sizeof(big) - 1] = '\0';
	log_info("%s", big);
	CHECK(strlen(on_stderr()) > 1000 && strlen(out) < sizeof(big));
	CHECK(out[strlen(out) - 1] == '\n');
}

static void keeps_errno(void)
{
	open_log();
	errno = ENOENT;
	log_info("%s %m", "why:");
	CHECK(errno == ENOENT);
	CHECK(!strcmp(on_stderr(), "why: No such file or directory\n"));
}

static void file_lines(void)
{
	char exe[256], want[600];
	const char *s;
	ssize_t n;

	open_log();
	log_err("one");
	log_stderr(false);
	log_warn("two");
	log_info("three\n");
	CHECK(!strcmp(on_stderr(), "one\n"));
	n = readlink("/proc/self/exe", exe, sizeof(exe) - 1);
	exe[n] = '\0';
	snprintf(want, sizeof(want), "passt 2026_07: %s (%d)\n", exe, getpid());
	s = in_file();
	CHECK(!strncmp(s, want, strlen(want)));
	s = after_stamp(s + strlen(want));
	CHECK(s && !strncmp(s, "ERROR:   one\n", 13));
	s = after_stamp(s + 13);
	CHECK(s && !strncmp(s, "WARNING: two\n", 13));
	s = after_stamp(s + 13);
	CHECK(s && !strcmp(s, "info:    three\n"));
	log_sync();
}

static void file_mode(void)
{
	struct stat st;
	int fd, s;

	umask(0);
	strcpy(path, "/tmp/unit-log-XXXXXX");
	fd = mkstemp(path);
	CHECK(write(fd, "old", 3) == 3);
	CHECK(!log_file(path, LIMIT, "v", false)); /* truncates */
	CHECK(!strncmp(in_file(), "passt v: ", 9));
	CHECK(strchr(out, '\n')[1] == '\0');
	unlink(path);
	CHECK(!log_file(path, LIMIT, "v", false)); /* creates, replaces */
	CHECK(!stat(path, &st) && (st.st_mode & 07777) == 0600);
	CHECK(!log_file(path, LIMIT, "w", true)); /* goes on */
	CHECK(!strncmp(in_file(), "passt v: ", 9));
	CHECK(!strncmp(strchr(out, '\n') + 1, "passt w: ", 9));
	unlink(path);
	log_fds(&fd, &s);
	CHECK(s == -1);
	CHECK(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	CHECK(fcntl(fd, F_GETFL) & O_APPEND);
	CHECK(log_file("/no/such/file", LIMIT, "v", false) == -ENOENT);
	log_fds(&s, &fd);
	CHECK(s >= 0); /* the old one stays */
}

static unsigned number(const char *line)
{
	const char *s = strstr(line, "line ");

	CHECK(s && strchr(line, '\n') > s);
	return (unsigned)atoi(s + 5);
}

/* The header, then an unbroken run of numbered lines that ends with @last */
static void check_rotated(unsigned last)
{
	const char *s = in_file(), *mark = strstr(s, " - log truncated at ");
	unsigned n;

	CHECK(strlen(s) <= LIMIT && strlen(s) > LIMIT * 6 / 10);
	CHECK(!strncmp(s, "passt v: ", 9) && mark);
	s = strchr(s, '\n') + 1;
	CHECK(mark < s && !strstr(s, "truncated"));
	n = number(s);
	CHECK(n);
	for (; *s; s = strchr(s, '\n') + 1, n++) {
		CHECK(after_stamp(s));
		CHECK(number(s) == n);
	}
	CHECK(n == last + 1);
}

static void fill(void)
{
	unsigned i, was = 0;
	struct stat st;
	int fd, s;

	log_stderr(false);
	log_fds(&fd, &s);
	for (i = 0; i < 5000; i++) {
		log_info("line %u %.*s", i, (int)(i % 60),
			 "............................................."
			 "...............");
		CHECK(!fstat(fd, &st) && st.st_size <= LIMIT);
		if ((unsigned)st.st_size < was)
			check_rotated(i);
		was = (unsigned)st.st_size;
	}
	CHECK(fcntl(fd, F_GETFL) & O_APPEND);
}

static void rotation(void)
{
	int fd = memfd_create("log", 0);

	CHECK(fd >= 0);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	CHECK(!log_file(path, LIMIT, "v", false));
	fill();
}

/* Lines so long that the cut falls into one with no end in sight */
/* Somebody else has emptied it, as logrotate does with copytruncate: there is room */
static void emptied(void)
{
	unsigned i;
	int fd, s;

	open_log();
	log_stderr(false);
	while (strlen(in_file()) < LIMIT - 200)
		log_info("some line");
	log_fds(&fd, &s);
	CHECK(!ftruncate(fd, 0));
	for (i = 0; i < 100; i++)
		log_info("line %u", i);
	CHECK(!strstr(in_file(), "truncated"));
	CHECK(strstr(out, ": info:    line 0\n"));
	CHECK(strstr(out, ": info:    line 99\n"));
}

static void rotation_of_long_lines(void)
{
	char big[3000];
	unsigned i;

	open_log();
	log_stderr(false);
	memset(big, 'x', sizeof(big));
	big[sizeof(big) - 1] = '\0';
	for (i = 0; i < 100; i++)
		log_info("line %u %s", i, big);
	CHECK(!strncmp(in_file(), "passt 2026_07: ", 15));
	CHECK(strlen(out) <= LIMIT);
	CHECK(strstr(out, " - log truncated at "));
	CHECK(strstr(out, ": info:    line 99 xx"));
}

/* As the manual's smallest limit cannot be undercut from outside, only the
 * library would see this; but nothing must break */
static void tiny_limit(void)
{
	strcpy(path, "/tmp/unit-log-XXXXXX");
	close(mkstemp(path));
	CHECK(!log_file(path, 1000, "v", false));
	unlink(path);
	log_stderr(false);
	log_info("%0900d", 1);
	log_info("%0900d", 2);
	CHECK(strstr(in_file(), " - log truncated at "));
	CHECK(strstr(out, "00002\n") && !strstr(out, "00001\n"));
}

/* Who is nobody in a user namespace makes no files there */
static bool mounts_of_a_user(void)
{
	char uid[32], gid[32];

	snprintf(uid, sizeof(uid), "0 %u 1", geteuid());
	snprintf(gid, sizeof(gid), "0 %u 1", getegid());
	return !unshare(CLONE_NEWUSER | CLONE_NEWNS) &&
	       put_file("/proc/self/uid_map", uid) &&
	       put_file("/proc/self/setgroups", "deny") &&
	       put_file("/proc/self/gid_map", gid);
}

static int bind_syslog(void)
{
	struct sockaddr_un a = { AF_UNIX, "/dev/log" };
	int fd;

	if (unshare(CLONE_NEWNS) && !mounts_of_a_user())
		_exit(SKIPPED);
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mount("tmpfs", "/dev", "tmpfs", 0, NULL))
		_exit(SKIPPED);
	log_open_syslog(); /* there is none yet: nothing happens */
	log_info("unheard");
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);
	CHECK(!bind(fd, (struct sockaddr *)&a, sizeof(a)));
	return fd;
}

static const char *datagram(int fd)
{
	ssize_t n = recv(fd, out, sizeof(out) - 1, 0);

	out[n > 0 ? n : 0] = '\0';
	return out;
}

static void syslog_lines(void)
{
	int fd = bind_syslog(), file, sock, i;

	log_open_syslog();
	log_fds(&file, &sock);
	CHECK(file == -1 && sock >= 0);
	CHECK(fcntl(sock, F_GETFD) & FD_CLOEXEC);
	log_err("one");
	log_stderr(false);
	log_warn("two\n");
	log_info("three");
	CHECK(!strcmp(datagram(fd), "<27> passt: one"));
	CHECK(!strcmp(datagram(fd), "<28> passt: two"));
	CHECK(!strcmp(datagram(fd), "<30> passt: three"));
	CHECK(!strcmp(on_stderr(), "unheard\none\n"));
	for (i = 0; i < 10000; i++) /* nobody reads: we must not block */
		log_info("flood");
	while (*datagram(fd))
		;
	log_level(LOG_DBG);
	log_debug("not for syslog");
	CHECK(!*datagram(fd));
	log_level(LOG_INFORM);
	open_log(); /* the file is preferred */
	log_info("for the file");
	CHECK(!*datagram(fd));
	CHECK(strstr(in_file(), "info:    for the file\n"));
	close(fd);
}

/* Lines to @end until one is lost; from its other end, what follows is whole
 * lines, an account of what is missing, and the next */
static void nobody_reads(int end, int reader)
{
	unsigned i, lost = 0, sent = 20000, seen = 0;
	size_t have = 0;
	char *line, *next;
	ssize_t n;

	CHECK(dup2(end, STDERR_FILENO) == STDERR_FILENO);
	log_init("passt");
	log_start();
	alarm(20); /* instead of for ever */
	for (i = 0; i < sent; i++)
		log_info("line %u .......................................", i);
	fcntl(reader, F_SETFL, O_NONBLOCK);
	do {
		while ((n = read(reader, out + have,
				 sizeof(out) - 1 - have)) > 0)
			have += (size_t)n;
		out[have] = '\0';
		log_info("read");
	} while (!strstr(out, "lost here\nread\n"));
	alarm(0);
	for (line = out, lost = 0; *line; line = next) {
		unsigned v, len = 0;

		next = strchr(line, '\n');
		CHECK(next);
		next++;
		if (sscanf(line, "line %u ..........................."
			   "............\n%n", &v, &len) == 1 &&
		    line + len == next)
			seen++;
		else if (sscanf(line, "%u lines were lost here", &v) == 1)
			lost += v;
	}
	CHECK(lost && lost + seen >= sent);
	CHECK(!(fcntl(end, F_GETFL) & O_NONBLOCK)); /* it is not only ours */
}

static void pipe_nobody_reads(void)
{
	int p[2];

	CHECK(!pipe(p));
	nobody_reads(p[1], p[0]);
}

static void socket_nobody_reads(void)
{
	int p[2];

	CHECK(!socketpair(AF_UNIX, SOCK_STREAM, 0, p));
	nobody_reads(p[1], p[0]);
}

/* Of somebody else: it cannot be opened once more */
static void foreign_pipe_nobody_reads(void)
{
	int p[2];

	CHECK(!pipe(p));
	if (setgid(65534) || setuid(65534))
		_exit(SKIPPED);
	nobody_reads(p[1], p[0]);
}

static void terminal_nobody_reads(void)
{
	int master = posix_openpt(O_RDWR | O_NOCTTY), end;
	struct termios raw;

	if (master < 0 || grantpt(master) || unlockpt(master))
		_exit(SKIPPED);
	end = open(ptsname(master), O_RDWR | O_NOCTTY);
	CHECK(end >= 0);
	tcgetattr(end, &raw);
	cfmakeraw(&raw);
	tcsetattr(end, TCSANOW, &raw);
	nobody_reads(end, master);
}

/* Before the start a slow reader is waited for: an error must not be lost */
static void waits_before_the_start(void)
{
	char drop[4096];
	int p[2], i;
	pid_t pid;

	CHECK(!pipe(p));
	alarm(20);
	pid = fork();
	CHECK(pid >= 0);
	if (pid) {
		dup2(p[1], STDERR_FILENO);
		close(p[0]);
		close(p[1]);
		log_init("passt");
		for (i = 0; i < 20000; i++)
			log_info("......................................");
		log_info("last");
		log_detach();
		close(STDERR_FILENO);
		CHECK(waitpid(pid, &i, 0) == pid && WIFEXITED(i));
		CHECK(!WEXITSTATUS(i));
	} else {
		ssize_t n, end = 0;

		close(p[1]);
		close(STDERR_FILENO);
		while ((n = read(p[0], drop, sizeof(drop))) > 0)
			end = n;
		_exit(end < 5 || memcmp(drop + end - 5, "last\n", 5));
	}
}

/* Nothing that was stderr stays open: a caller waits for its end */
static void detached(void)
{
	int p[2];
	char b;

	CHECK(!pipe(p) && dup2(p[1], STDERR_FILENO) == STDERR_FILENO);
	close(p[1]);
	log_init("passt");
	log_info("x");
	CHECK(read(p[0], &b, 1) == 1 && read(p[0], &b, 1) == 1);
	log_detach();
	close(STDERR_FILENO);
	log_start();
	log_info("y");
	CHECK(read(p[0], &b, 1) == 0);
}

static void from_a_signal(void)
{
	open_log();
	log_signal("got it");
	CHECK(!strcmp(on_stderr(), "got it\n"));
	CHECK(strstr(in_file(), "ERROR:   got it\n"));
}

static void dying(void)
{
	int status;
	pid_t pid;

	open_log();
	log_level(LOG_WARN);
	fflush(stdout);
	pid = fork();
	if (!pid)
		die("Can't do %s", "it");
	CHECK(waitpid(pid, &status, 0) == pid);
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 1);
	CHECK(!strcmp(on_stderr(), "Can't do it\n"));
	CHECK(strstr(in_file(), "ERROR:   Can't do it\n"));
}

static uint64_t second(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec;
}

static void rate(void)
{
	struct log_rate r, s = { 0 };
	unsigned i, n;
	uint64_t at;

	do { /* until it was within one second */
		at = second();
		r = (struct log_rate){ 0 };
		for (i = n = 0; i < 100; i++)
			n += log_allowed(&r);
	} while (second() != at);
	CHECK(n == LOG_RATE);
	CHECK(log_allowed(&s)); /* another call site */
	r.second--;
	CHECK(log_allowed(&r)); /* another second */
}

static void rate_macro(void)
{
	uint64_t at = second();
	unsigned i, n = 0;
	const char *s;

	for (i = 0; i < 100; i++) {
		log_limited(LOG_WARN, "w");
		log_limited(LOG_DBG, "d");
	}
	for (s = on_stderr(); *s; s++)
		n += *s == 'w';
	CHECK(n >= LOG_RATE && n <= LOG_RATE * (1 + second() - at));
	CHECK(!strchr(out, 'd'));
}

#define T(f)                                                                   \
	static void t_##f(void **state)                                        \
	{                                                                      \
		(void)state;                                                   \
		run(f);                                                        \
	}
T(levels)
T(debugging)
T(evaluated_if_printed)
T(one_end_of_line)
T(keeps_errno)
T(file_lines)
T(file_mode)
T(rotation)
T(emptied)
T(rotation_of_long_lines)
T(tiny_limit)
T(syslog_lines)
T(dying)
T(pipe_nobody_reads)
T(socket_nobody_reads)
T(foreign_pipe_nobody_reads)
T(terminal_nobody_reads)
T(waits_before_the_start)
T(detached)
T(from_a_signal)
T(rate)
T(rate_macro)

int main(void)
{
	static const struct CMUnitTest t[] = {
		cmocka_unit_test(t_levels),
		cmocka_unit_test(t_debugging),
		cmocka_unit_test(t_evaluated_if_printed),
		cmocka_unit_test(t_one_end_of_line),
		cmocka_unit_test(t_keeps_errno),
		cmocka_unit_test(t_file_lines),
		cmocka_unit_test(t_file_mode),
		cmocka_unit_test(t_rotation),
		cmocka_unit_test(t_emptied),
		cmocka_unit_test(t_rotation_of_long_lines),
		cmocka_unit_test(t_tiny_limit),
		cmocka_unit_test(t_syslog_lines),
		cmocka_unit_test(t_dying),
		cmocka_unit_test(t_pipe_nobody_reads),
		cmocka_unit_test(t_socket_nobody_reads),
		cmocka_unit_test(t_foreign_pipe_nobody_reads),
		cmocka_unit_test(t_terminal_nobody_reads),
		cmocka_unit_test(t_waits_before_the_start),
		cmocka_unit_test(t_detached),
		cmocka_unit_test(t_from_a_signal),
		cmocka_unit_test(t_rate),
		cmocka_unit_test(t_rate_macro),
	};

	return cmocka_run_group_tests(t, NULL, NULL);
}
