/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * passt_repair - sets TCP_REPAIR for a passt that has no right to
 *
 * A migration takes connections apart and puts them together elsewhere, which
 * needs CAP_NET_ADMIN.  passt sends the sockets, and with them a byte with the
 * value for the option; we set it and send the byte back.  Once we are
 * connected that is all we do, and all that the seccomp filter allows.
 */
#include "passt_repair.h"

#include "log.h"
#include "util.h"

#include <linux/capability.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/inotify.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

/* A denied call fails, so that we can report it: there is nothing to protect
 * but this connection */
#define SECCOMP_DENY (SECCOMP_RET_ERRNO | EPERM)
#include "seccomp_repair.h"

enum {
	SOCKETS = 253, /* per message: SCM_MAX_FD of the kernel */
	MISUSE = 2,    /* exit status */
	RETRY_MS = 10,
};

struct batch {
	int8_t mode; /* TCP_REPAIR: 1, 0, or -1: off, no probe */
	int fd[SOCKETS];
	size_t n;
};

static _Noreturn void misuse(const char *what, const char *arg)
{
	log_err("%s: %s", what, arg);
	exit(MISUSE);
}

/* --- finding passt -------------------------------------------------------- */

/* Connect to @path; -1: nobody listens, and we are not @patient.  Other
 * failures end the process. */
static int dial(const char *path, bool patient)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (strlen(path) >= sizeof(sun.sun_path))
		misuse("Invalid socket path", path);
	strcpy(sun.sun_path, path);
	if (fd < 0)
		die("Failed to create AF_UNIX socket: %s", util_error(errno));
	/* passt may be between bind() and listen() */
	while (connect(fd, (struct sockaddr *)&sun, sizeof(sun))) {
		if (errno != ECONNREFUSED)
			die("Failed to connect to %s: %s", path,
			    util_error(errno));
		if (!patient) {
			close(fd);
			return -1;
		}
		poll(NULL, 0, RETRY_MS);
	}
	return fd;
}

static bool is_repair(const char *name)
{
	static const char suffix[] = ".repair";
	size_t len = strlen(name), end = sizeof(suffix) - 1;

	return len > end && !strcmp(name + len - end, suffix);
}

static int dial_in(const char *dir, const char *name, bool patient)
{
	char path[PATH_MAX + NAME_MAX + 2];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return dial(path, patient);
}

/* Connect to a repair socket in the directory that exists already and answers,
 * or -1 */
static int dial_present(const char *path)
{
	DIR *d = opendir(path);
	struct dirent *e;
	int fd = -1;

	while (d && fd < 0 && (e = readdir(d)))
		if (is_repair(e->d_name) && e->d_type == DT_SOCK)
			fd = dial_in(path, e->d_name, false);
	if (d)
		closedir(d);
	return fd;
}

static int dial_created(const char *path, int watch)
{
	uint8_t buf[4096] __attribute__((aligned(8)));
	const struct inotify_event *e;
	ssize_t len, at;

	for (;;) {
		len = read(watch, buf, sizeof(buf));
		if (len <= 0)
			die("Can't watch %s: %s", path, util_error(errno));
		for (at = 0; at < len; at += (ssize_t)(sizeof(*e) + e->len)) {
			e = (const void *)(buf + at);
			if (e->len && is_repair(e->name))
				return dial_in(path, e->name, true);
		}
	}
}

/* Connect to @path: a socket, or a directory in which there is or will be
 * one */
static int find(const char *path)
{
	struct stat st;
	int fd, watch;

	if (stat(path, &st))
		die("Can't stat %s: %s", path, util_error(errno));
	if (S_ISSOCK(st.st_mode))
		return dial(path, true);
	if (!S_ISDIR(st.st_mode))
		misuse("Neither a socket nor a directory", path);
	watch = inotify_init1(IN_CLOEXEC);
	if (watch < 0 || inotify_add_watch(watch, path, IN_CREATE) < 0)
		die("Can't watch %s: %s", path, util_error(errno));
	fd = dial_present(path);
	if (fd < 0)
		fd = dial_created(path, watch);
	close(watch);
	return fd;
}

/* --- confinement ---------------------------------------------------------- */

/* Keep CAP_NET_ADMIN alone, and gain nothing by exec */
static void drop_privileges(void)
{
	struct __user_cap_header_struct h = { _LINUX_CAPABILITY_VERSION_3, 0 };
	struct __user_cap_data_struct d[2] = { 0 };

	if (!syscall(SYS_capget, &h, d)) {
		d[0].permitted &= 1U << CAP_NET_ADMIN;
		d[0].effective = d[0].permitted;
		d[0].inheritable = 0;
		d[1] = (struct __user_cap_data_struct){ 0 };
		if (syscall(SYS_capset, &h, d))
			log_debug("Can't drop capabilities: %s",
				  util_error(errno));
	}
	if (prctl(PR_SET_DUMPABLE, 0) ||
	    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		die("Can't give up new privileges: %s", util_error(errno));
}

/* The last ones are for what libc makes of messages and of the end
 * #syscalls write writev exit_group i686:socketcall s390x:socketcall */
static void allow_little(void)
{
	struct sock_fprog prog = { ARRAY_SIZE(filter_passt),
				   (struct sock_filter *)(uintptr_t)
					   filter_passt };

#ifdef SECCOMP_NONE
	(void)prog;
#else
	if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog))
		die("Can't set the system call filter: %s", util_error(errno));
#endif
}

/* --- repair --------------------------------------------------------------- */

/* Receive a message; false: passt has gone */
static bool receive(int s, struct batch *b)
{
	uint8_t control[CMSG_SPACE(sizeof(b->fd))] __attribute__((aligned(8)));
	struct iovec v = { &b->mode, sizeof(b->mode) };
	struct msghdr m = {
		.msg_iov = &v,
		.msg_iovlen = 1,
		.msg_control = control,
		.msg_controllen = sizeof(control),
	};
	struct cmsghdr *c;
	ssize_t n;

	/* #syscalls recvmsg close */
	do {
		n = recvmsg(s, &m, MSG_CMSG_CLOEXEC);
	} while (n < 0 && errno == EINTR);
	if (!n || (n < 0 && errno == ECONNRESET))
		return false;
	if (n < 0)
		die("Failed to receive message: %s", util_error(errno));
	c = CMSG_FIRSTHDR(&m);
	if (!c || c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS ||
	    m.msg_flags & MSG_CTRUNC)
		die("No sockets in a message");
	b->n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
	memcpy(b->fd, CMSG_DATA(c), b->n * sizeof(int));
	return true;
}

static void set_mode(const struct batch *b)
{
	int mode = b->mode;
	size_t i;

	/* #syscalls setsockopt(.,IPPROTO_TCP,TCP_REPAIR) */
	if (mode < -1 || mode > 1)
		die("Unsupported command %d", mode);
	for (i = 0; i < b->n; i++) {
		if (setsockopt(b->fd[i], IPPROTO_TCP, TCP_REPAIR, &mode,
			       sizeof(mode)))
			die("Setting TCP_REPAIR to %d on socket %d: %s", mode,
			    b->fd[i], util_error(errno));
		close(b->fd[i]);
	}
}

static bool answer(int s, struct batch *b)
{
	struct iovec v = { &b->mode, sizeof(b->mode) };
	struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1 };

	/* #syscalls sendmsg */
	if (sendmsg(s, &m, MSG_NOSIGNAL) == 1)
		return true;
	if (errno != EPIPE && errno != ECONNRESET)
		die("Failed to reply to server: %s", util_error(errno));
	return false;
}

int passt_repair_main(int argc, char **argv)
{
	static struct batch b;
	int s;

	log_init("passt-repair");
	if (argc == 2 && !strcmp(argv[1], "--version")) {
		puts("passt-repair " VERSION);
		return fflush(stdout) ? EXIT_FAILURE : EXIT_SUCCESS;
	}
	if (argc != 2) {
		fprintf(stderr, "Usage: %s PATH\n", argv[0]);
		return MISUSE;
	}
	s = find(argv[1]);
	drop_privileges();
	allow_little();
	while (receive(s, &b)) {
		set_mode(&b);
		if (!answer(s, &b))
			break;
	}
	return EXIT_SUCCESS;
}
