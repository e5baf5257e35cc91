/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * log - messages to stderr and to a log file or syslog
 *
 * The one module with state of its own: there is one log per process, and every
 * module writes to it.  A line is formatted once and goes out in one system
 * call for each destination; after the formatting nothing is called that a
 * signal handler may not call.
 *
 * Once the daemon runs, no reader may hold it up.  O_NONBLOCK belongs to the
 * open file, and that of stderr is not ours.  So where possible it is opened
 * again; for a socket there is a flag for each message; and for everything else
 * a private epoll instance tells whether there is room.  What a destination
 * does not take is lost for it; how much that was is written when it takes
 * lines again.
 *
 * When the log file would grow beyond its limit, the oldest three tenths are
 * dropped, in whole pages, and the rest is moved.  (Some file systems could
 * collapse it; not tmpfs or btrfs, and it would be one more system call in the
 * filter.)  What is left of the first line after the cut is overwritten by the
 * header.
 */
#include "log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

enum {
	LINE = 2048,  /* longest message; the rest is cut off */
	PAGE = 4096,
	HEADER = 512,
	PREFIX = 64,
};

enum log_level log_max = LOG_INFORM;

/* How to write to a destination without waiting */
enum way {
	WAY_PLAIN,  /* write(): it may wait, or the open file is ours and
		       non-blocking */
	WAY_SOCKET,
	WAY_LOOK, /* poll for room first */
};

struct dest {
	int fd; /* -1: none */
	enum way way;
	int look;   /* an epoll instance */
	bool split; /* the last line is not whole */
	uint64_t lost;
};

static struct {
	char ident[16];
	struct timespec start;
	bool quiet_stderr;
	struct dest err, file, sock;
	struct dest running; /* what @err becomes in log_start() */
	int cut;	     /* the file opened again, without O_APPEND */
	size_t limit, size;
	char header[HEADER]; /* first line of the log file */
} lg = {
	.err = { .fd = STDERR_FILENO },
	.file = { .fd = -1 },
	.sock = { .fd = -1, .way = WAY_SOCKET },
	.running = { .fd = -1, .look = -1 },
	.cut = -1,
};

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

/* --- stderr ---------------------------------------------------------------- */

/* Poll stderr for room: it is a pipe or terminal that cannot be opened again */
static void watch_room(struct dest *d)
{
	struct epoll_event e = { .events = EPOLLOUT };

	d->fd = STDERR_FILENO;
	d->look = epoll_create1(EPOLL_CLOEXEC);
	if (d->look >= 0 &&
	    !epoll_ctl(d->look, EPOLL_CTL_ADD, STDERR_FILENO, &e))
		d->way = WAY_LOOK;
}

/* Open stderr again.  Not a file: there a second file position would overwrite
 * what the first has written. */
static void open_stderr(struct dest *d)
{
	int flags = O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC;
	struct stat st;

	if (fstat(STDERR_FILENO, &st))
		return;
	d->fd = STDERR_FILENO;
	if (S_ISSOCK(st.st_mode)) {
		d->way = WAY_SOCKET;
	} else if (S_ISFIFO(st.st_mode) || S_ISCHR(st.st_mode)) {
		d->fd = open("/proc/self/fd/2", flags);
		if (d->fd < 0)
			watch_room(d);
	}
}

void log_init(const char *ident)
{
	snprintf(lg.ident, sizeof(lg.ident), "%s", ident);
	clock_gettime(CLOCK_MONOTONIC, &lg.start);
	open_stderr(&lg.running);
}

void log_start(void)
{
	if (lg.running.fd >= 0)
		lg.err = lg.running;
}

void log_detach(void)
{
	lg.quiet_stderr = true;
	if (lg.running.look >= 0)
		close(lg.running.look);
	if (lg.running.fd > STDERR_FILENO)
		close(lg.running.fd);
	lg.running = lg.err = (struct dest){ .fd = STDERR_FILENO, .look = -1 };
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
	*file = lg.file.fd;
	*syslog = lg.sock.fd;
}

void log_sync(void)
{
	if (lg.file.fd >= 0)
		fsync(lg.file.fd); /* #syscalls fsync */
}

/* Write the time since the start, in seconds with four decimals */
static char *stamp(char *to)
{
	struct timespec now;
	uint64_t t;

	clock_gettime(CLOCK_MONOTONIC, &now); /* #syscalls clock_gettime */
	t = (uint64_t)(now.tv_sec - lg.start.tv_sec) * 10000 +
	    (uint64_t)(now.tv_nsec / 100000) -
	    (uint64_t)(lg.start.tv_nsec / 100000);
	to = util_decimal(to, t / 10000, 1);
	*to++ = '.';
	return util_decimal(to, t % 10000, 4);
}

/* --- log file ------------------------------------------------------------ */

/* Open the log, non-blocking as it may be a FIFO with a slow reader */
static int open_file(const char *path, bool on, int *cut)
{
	int flags = O_CREAT | O_APPEND | O_RDWR | O_CLOEXEC | O_NONBLOCK;
	int fd = open(path, flags | (on ? 0 : O_TRUNC), 0600);

	if (fd >= 0)
		*cut = open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK);
	return fd;
}

int log_file(const char *path, size_t limit, const char *version, bool on)
{
	int cut = -1, fd = open_file(path, on, &cut), err;
	struct stat was = { 0 };
	char exe[HEADER / 2];
	ssize_t n;

	if (fd < 0)
		return -errno;
	fstat(fd, &was);
	n = readlink("/proc/self/exe", exe, sizeof(exe) - 1);
	exe[n > 0 ? n : 0] = '\0';
	snprintf(lg.header, sizeof(lg.header) - PREFIX, "%s %.128s: %s (%d)",
		 lg.ident, version, exe, (int)getpid());
	n = dprintf(fd, "%s\n", lg.header);
	if (n < 0) {
		err = -errno;
		close(fd);
		if (cut >= 0)
			close(cut);
		return err;
	}
	if (lg.file.fd >= 0)
		close(lg.file.fd);
	if (lg.cut >= 0)
		close(lg.cut);
	lg.file.fd = fd;
	lg.cut = cut;
	lg.limit = limit;
	lg.size = (size_t)was.st_size + (size_t)n;
	return 0;
}

/* pwrite() is a call of its own in each libc: musl's of 2026 is pwritev2() */
static bool put_at(int fd, const void *p, size_t len, off_t at)
{
	/* #syscalls lseek _llseek */
	return lseek(fd, at, SEEK_SET) == at &&
	       write(fd, p, len) == (ssize_t)len;
}

/* Move the bytes from @from on to the beginning; returns how many, or -1 */
static off_t move_down(int fd, off_t from)
{
	static char buf[8 * PAGE];
	off_t to = 0;
	ssize_t n;

	while ((n = pread(fd, buf, sizeof(buf), from + to)) > 0) {
		if (!put_at(fd, buf, (size_t)n, to))
			return -1;
		to += n;
	}
	return n || ftruncate(fd, to) ? -1 : to;
}

/* Overwrite what is left of the first line by the header.  At least as much is
 * overwritten as the header needs, filled with blanks up to the next end of
 * line. */
static size_t put_header(int fd)
{
	char line[HEADER + LINE + PREFIX], was[sizeof(line)];
	size_t len, end;
	ssize_t n;

	len = (size_t)(stamp(stpcpy(stpcpy(line, lg.header),
				    " - log truncated at ")) - line);
	n = pread(fd, was, sizeof(was), 0);
	if (n < 0)
		return 0;
	for (end = len; end < (size_t)n && was[end] != '\n'; end++)
		;
	memset(line + len, ' ', sizeof(line) - len);
	if (end == sizeof(line))
		end--;
	line[end++] = '\n';
	return put_at(fd, line, end, 0) ? end : 0;
}

/* Cut the file; returns the new size, 0 on failure */
static size_t cut(int fd, off_t size)
{
	off_t n = size * 3 / 10;

	n = (n + PAGE - 1) / PAGE * PAGE;
	if (n >= size)
		return 0;
	size = move_down(fd, n);
	return size > 0 && put_header(fd) ? (size_t)size : 0;
}

/* Make room for @more bytes, unless another process has cut the file meanwhile.
 * The file is open twice, as O_APPEND allows no other position than the end. */
static void rotate(size_t more)
{
	off_t end = lseek(lg.cut, 0, SEEK_END);

	if (end >= 0)
		lg.size = (size_t)end;
	if (lg.size + more <= lg.limit)
		return;
	/* #syscalls pread64 ftruncate */
	lg.size = cut(lg.cut, (off_t)lg.size);
	/* Too small to cut, or the disk fails: begin anew */
	if (!lg.size && !ftruncate(lg.cut, 0))
		lg.size = put_header(lg.cut);
}

/* --- lines ----------------------------------------------------------------- */

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
	if (lg.sock.fd >= 0)
		close(lg.sock.fd);
	lg.sock.fd = fd;
}

static bool has_room(const struct dest *d)
{
	struct epoll_event e;

	/* #syscalls epoll_pwait */
	return epoll_pwait(d->look, &e, 1, 0, NULL) > 0;
}

static bool put(struct dest *d, const char *text, size_t len)
{
	ssize_t n;

	if (d->way == WAY_SOCKET) /* #syscalls sendto */
		n = sendto(d->fd, text, len, MSG_DONTWAIT | MSG_NOSIGNAL, NULL,
			   0);
	else if (d->way == WAY_LOOK && !has_room(d))
		n = -1;
	else
		n = write(d->fd, text, len); /* #syscalls write */
	if (n <= 0)
		return false;
	d->split = (size_t)n < len;
	return !d->split;
}

static char *prefix(const struct dest *d, enum log_level l, char *to)
{
	if (d == &lg.sock) {
		*to++ = '<';
		to = util_decimal(to, (unsigned)level_priority[l], 1);
		return stpcpy(stpcpy(stpcpy(to, "> "), lg.ident), ": ");
	}
	if (d == &lg.file)
		return stpcpy(stpcpy(stamp(to), ": "), level_name[l]);
	return log_max < LOG_DBG ? to : stpcpy(stamp(to), ": ");
}

/* Write a line to a destination.  There is room for a prefix in front of @msg,
 * which ends with a newline; a datagram does not need that. */
static bool to_dest(struct dest *d, enum log_level l, char *msg, size_t len)
{
	char pre[PREFIX];
	size_t n = (size_t)(prefix(d, l, pre) - pre);

	if (d->split && !put(d, "\n", 1))
		return false;
	memcpy(msg - n, pre, n);
	if (d == &lg.sock)
		len--;
	if (d == &lg.file && lg.size + n + len > lg.limit)
		rotate(n + len);
	if (!put(d, msg - n, n + len))
		return false;
	if (d == &lg.file)
		lg.size += n + len;
	return true;
}

static void deliver(struct dest *d, enum log_level l, char *msg, size_t len)
{
	char note[2 * PREFIX], *end;

	if (d->lost) {
		end = stpcpy(util_decimal(note + PREFIX, d->lost, 1),
			     " lines were lost here\n");
		if (to_dest(d, LOG_WARN, note + PREFIX,
			    (size_t)(end - note) - PREFIX))
			d->lost = 0;
	}
	if (d->lost || !to_dest(d, l, msg, len))
		d->lost++;
}

static void send_line(enum log_level l, char *msg, size_t len)
{
	bool debugging = log_max >= LOG_DBG;

	/* Exactly one newline, whether the message has one or not */
	if (!len || msg[len - 1] != '\n')
		msg[len++] = '\n';
	if (debugging || !lg.quiet_stderr)
		deliver(&lg.err, l, msg, len);
	if (!debugging && lg.file.fd >= 0)
		deliver(&lg.file, l, msg, len);
	else if (!debugging && lg.sock.fd >= 0)
		deliver(&lg.sock, l, msg, len);
}

PRINTF(2, 0)
static void print(enum log_level l, const char *fmt, va_list ap)
{
	char line[PREFIX + LINE + 1];
	int saved = errno, len;

	len = vsnprintf(line + PREFIX, LINE, fmt, ap);
	if (len >= 0)
		send_line(l, line + PREFIX, (size_t)MIN(len, LINE - 1));
	errno = saved;
}

void log_signal(const char *text)
{
	char line[PREFIX + LINE + 1];
	size_t len = MIN(strlen(text), (size_t)LINE - 1);

	memcpy(line + PREFIX, text, len);
	send_line(LOG_ERROR, line + PREFIX, len);
}

void log_plain(const char *text)
{
	size_t len = strlen(text);

	if ((lg.err.split && !put(&lg.err, "\n", 1)) ||
	    !put(&lg.err, text, len))
		lg.err.lost++;
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
