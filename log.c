/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * log - messages to stderr and to a log file or syslog
 *
 * The one module with state of its own: there is one log per process and every
 * module writes to it.  A line is formatted once and goes out in one system
 * call a destination.  When the log file would grow beyond its limit the oldest
 * three tenths go: FALLOC_FL_COLLAPSE_RANGE drops whole blocks where the file
 * system can, else the rest is moved.  What is left of the first line after the
 * cut is overwritten by the header, so nothing has to be shifted by less than a
 * block.
 */
#include "log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#ifndef FALLOC_FL_COLLAPSE_RANGE
#define FALLOC_FL_COLLAPSE_RANGE 0x08
#endif

enum {
	LINE = 2048,  /* longest message, the rest is cut off */
	BLOCK = 4096, /* if the file system's is unknown or too large */
	HEADER = 512,
	PREFIX = 64,
};

enum log_level log_max = LOG_INFORM;

static struct {
	char ident[16];
	struct timespec start;
	bool quiet_stderr;
	int file, sock; /* -1: none */
	size_t limit, size;
	off_t block;         /* of the file system: a cut is a multiple of it */
	char header[HEADER]; /* first line of the log file */
} lg = { .file = -1, .sock = -1 };

static const char *const level_name[] = {
	[LOG_ERROR] = "ERROR:   ",  [LOG_WARN] = "WARNING: ",
	[LOG_INFORM] = "info:    ", [LOG_DBG] = "         ",
	[LOG_TRACE] = "         ",
};

static const int level_priority[] = {
	[LOG_ERROR] = LOG_DAEMON | LOG_ERR,
	[LOG_WARN] = LOG_DAEMON | LOG_WARNING,
	[LOG_INFORM] = LOG_DAEMON | LOG_INFO,
	[LOG_DBG] = LOG_DAEMON | LOG_DEBUG,
	[LOG_TRACE] = LOG_DAEMON | LOG_DEBUG,
};

void log_init(const char *ident)
{
	snprintf(lg.ident, sizeof(lg.ident), "%s", ident);
	clock_gettime(CLOCK_MONOTONIC, &lg.start);
}

void log_level(enum log_level max)
{
	log_max = max;
}

void log_stderr(bool on)
{
	lg.quiet_stderr = !on;
}

void log_fds(int *file, int *syslog)
{
	*file = lg.file;
	*syslog = lg.sock;
}

void log_sync(void)
{
	if (lg.file >= 0)
		fsync(lg.file); /* #syscalls fsync */
}

/* Seconds and tenths of milliseconds since the start */
static int stamp(char *buf, size_t size)
{
	struct timespec now;
	long long sec;
	long ns;

	clock_gettime(CLOCK_MONOTONIC, &now); /* #syscalls clock_gettime */
	sec = (long long)(now.tv_sec - lg.start.tv_sec);
	ns = now.tv_nsec - lg.start.tv_nsec;
	if (ns < 0) {
		sec--;
		ns += 1000000000;
	}
	return snprintf(buf, size, "%lld.%04ld", sec, ns / 100000);
}

static struct iovec part(const char *s, size_t len)
{
	return (struct iovec){ (void *)(uintptr_t)s, len };
}

/* --- log file ------------------------------------------------------------ */

int log_file(const char *path, size_t limit, const char *version)
{
	int fd = open(path, O_CREAT | O_TRUNC | O_APPEND | O_RDWR | O_CLOEXEC,
		      0600);
	char exe[HEADER / 2];
	struct stat st;
	ssize_t n;
	int err;

	if (fd < 0)
		return -errno;
	n = readlink("/proc/self/exe", exe, sizeof(exe) - 1);
	exe[n > 0 ? n : 0] = '\0';
	snprintf(lg.header, sizeof(lg.header) - PREFIX, "passt %.128s: %s (%d)",
		 version, exe, (int)getpid());
	n = dprintf(fd, "%s\n", lg.header);
	if (n < 0) {
		err = -errno;
		close(fd);
		return err;
	}
	if (lg.file >= 0)
		close(lg.file);
	lg.file = fd;
	lg.block = fstat(fd, &st) ? 0 : st.st_blksize;
	lg.limit = limit;
	lg.size = (size_t)n;
	return 0;
}

/* Bytes from @from on become the first ones; false if reading failed */
static bool move_down(int fd, off_t from)
{
	static char buf[8 * BLOCK];
	off_t to = 0;
	ssize_t n;

	while ((n = pread(fd, buf, sizeof(buf), from + to)) > 0) {
		if (pwrite(fd, buf, (size_t)n, to) != n)
			return false;
		to += n;
	}
	return !n && !ftruncate(fd, to);
}

/* Overwrite what is left of the first line by the header.  At least that much
 * goes as the header needs, filled up with blanks to the next end of line. */
static bool put_header(int fd)
{
	char line[HEADER + LINE + PREFIX], was[sizeof(line)], t[PREFIX];
	size_t len, end;
	ssize_t n;

	stamp(t, sizeof(t));
	len = (size_t)snprintf(line, HEADER, "%s - log truncated at %s",
			       lg.header, t);
	n = pread(fd, was, sizeof(was), 0);
	if (n < 0)
		return false;
	for (end = len; end < (size_t)n && was[end] != '\n'; end++)
		;
	memset(line + len, ' ', sizeof(line) - len);
	if (end == sizeof(line))
		end--;
	line[end++] = '\n';
	return pwrite(fd, line, end, 0) == (ssize_t)end;
}

static bool cut(int fd, off_t size)
{
	off_t block = lg.block, n = size * 3 / 10;

	if (block < BLOCK || block > size / 5)
		block = BLOCK;
	n = (n + block - 1) / block * block;
	if (n >= size)
		return false;
	if (fallocate(fd, FALLOC_FL_COLLAPSE_RANGE, 0, n) && !move_down(fd, n))
		return false;
	return put_header(fd);
}

/* Make room.  With O_APPEND, pwrite() would append: drop the flag meanwhile */
static void rotate(int fd)
{
	/* #syscalls fcntl lseek pread64 pwrite64 ftruncate fallocate */
	int flags = fcntl(fd, F_GETFL);
	off_t size;

	fcntl(fd, F_SETFL, flags & ~O_APPEND);
	if (!cut(fd, lseek(fd, 0, SEEK_END))) {
		/* Too small to cut, or the disk fails: begin anew */
		if (!ftruncate(fd, 0))
			put_header(fd);
	}
	fcntl(fd, F_SETFL, flags);
	size = lseek(fd, 0, SEEK_END);
	lg.size = size > 0 ? (size_t)size : 0;
}

static void to_file(enum log_level l, const char *msg, size_t len)
{
	char pre[PREFIX];
	struct iovec iov[2];
	size_t n;

	n = (size_t)stamp(pre, sizeof(pre));
	n += (size_t)snprintf(pre + n, sizeof(pre) - n, ": %s", level_name[l]);
	if (lg.size + n + len > lg.limit)
		rotate(lg.file);
	iov[0] = part(pre, n);
	iov[1] = part(msg, len);
	if (writev(lg.file, iov, 2) > 0) /* #syscalls writev */
		lg.size += n + len;
}

/* --- the other destinations ---------------------------------------------- */

void log_open_syslog(void)
{
	struct sockaddr_un to = { AF_UNIX, "/dev/log" };
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return;
	if (connect(fd, (struct sockaddr *)&to, sizeof(to))) {
		close(fd);
		return;
	}
	if (lg.sock >= 0)
		close(lg.sock);
	lg.sock = fd;
}

static void to_syslog(enum log_level l, const char *msg, size_t len)
{
	char pre[PREFIX];
	struct iovec iov[2];
	struct msghdr mh = { .msg_iov = iov, .msg_iovlen = 2 };
	int n = snprintf(pre, sizeof(pre), "<%d> %s: ", level_priority[l],
			 lg.ident);

	iov[0] = part(pre, (size_t)n);
	iov[1] = part(msg, len - 1); /* a datagram needs no end of line */
	/* A log that does not keep up loses messages, it does not stop us */
	/* #syscalls sendmsg */
	(void)sendmsg(lg.sock, &mh, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static void to_stderr(const char *msg, size_t len)
{
	char pre[PREFIX];
	struct iovec iov[2];
	size_t n = 0;

	if (log_max >= LOG_DBG) {
		n = (size_t)stamp(pre, sizeof(pre) - 2);
		memcpy(pre + n, ": ", 2);
		n += 2;
	}
	iov[0] = part(pre, n);
	iov[1] = part(msg, len);
	if (writev(STDERR_FILENO, iov, 2) < 0)
		return; /* there is nobody left to tell */
}

PRINTF(2, 0)
static void print(enum log_level l, const char *fmt, va_list ap)
{
	bool debugging = log_max >= LOG_DBG;
	char msg[LINE + 1];
	int saved = errno, len;

	len = vsnprintf(msg, LINE, fmt, ap);
	if (len < 0)
		return;
	len = MIN(len, LINE - 1);
	/* Exactly one end of line, whether the message brings one or not */
	if (!len || msg[len - 1] != '\n')
		msg[len++] = '\n';
	if (debugging || !lg.quiet_stderr)
		to_stderr(msg, (size_t)len);
	if (!debugging && lg.file >= 0)
		to_file(l, msg, (size_t)len);
	else if (!debugging && lg.sock >= 0)
		to_syslog(l, msg, (size_t)len);
	errno = saved;
}

void log_print(enum log_level l, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	print(l, fmt, ap);
	va_end(ap);
}

void die(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	print(LOG_ERROR, fmt, ap);
	va_end(ap);
	log_sync();
	exit(EXIT_FAILURE);
}

bool log_allowed(struct log_rate *r)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	if (r->second != (uint64_t)now.tv_sec) {
		r->second = (uint64_t)now.tv_sec;
		r->seen = 0;
	}
	return r->seen < LOG_RATE && ++r->seen;
}
