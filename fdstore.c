/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * fdstore - descriptors that the service manager keeps while nobody runs
 */
#include "fdstore.h"

#include "log.h"
#include "sock.h"
#include "state.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

enum { FIRST = 3, SEND_S = 2, HEARD_S = 10, BATCH = 253, ID = 16, IDS = 256 };

static const char add[] = "FDSTORE=1\nFDNAME=passt\nFDPOLL=0";
static const char barrier[] = "BARRIER=1";
static const char drop[] = "FDSTOREREMOVE=1\nFDNAME=passt";

/* --- what there is ---------------------------------------------------------- */

static bool number(const char *name, uint64_t max, uint64_t *v)
{
	const char *text = getenv(name);

	return text && util_parse_u64(text, 10, max, v);
}

void fdstore_inherit(struct fdstore *s, bool wanted)
{
	uint64_t pid, n;
	unsigned i;

	*s = (struct fdstore){ .from = -1, .notify = -1, .to = -1,
			       .heard = { -1, -1 } };
	if (!wanted || !number("LISTEN_PID", INT32_MAX, &pid) ||
	    pid != (uint64_t)getpid() || !number("LISTEN_FDS", FDSTORE_MAX, &n))
		return;
	for (i = 0; i < n; i++)
		if (fcntl(FIRST + (int)i, F_SETFD, FD_CLOEXEC))
			return;
	s->n = (unsigned)n;
}

static bool id_of(int fd, struct fdstore_id *id)
{
	struct util_stat st;

	if (util_fstat(fd, &st))
		return false;
	*id = (struct fdstore_id){ .dev = st.dev, .ino = st.inode, .fd = fd };
	return true;
}

static int order(const void *a, const void *b)
{
	const struct fdstore_id *x = a, *y = b;

	if (x->ino != y->ino)
		return x->ino < y->ino ? -1 : 1;
	return x->dev == y->dev ? 0 : x->dev < y->dev ? -1 : 1;
}

/* Whether @fd is a saved state: a regular file that begins with the head of
 * state.h.  Files that the guest is sent may be there as well, whatever they
 * begin with; these can't be written to. */
static bool is_state(int fd)
{
	uint8_t head[STATE_HEAD];
	struct util_stat st;
	struct rd r;

	if (util_fstat(fd, &st) || !S_ISREG(st.mode) ||
	    (fcntl(fd, F_GETFL) & O_ACCMODE) != O_RDWR ||
	    pread(fd, head, sizeof(head), 0) != sizeof(head))
		return false;
	r = rd_init(head, sizeof(head));
	return state_check(&r) != -EPROTO;
}

static void look(struct fdstore *s)
{
	unsigned i;

	for (i = 0; i < s->n; i++) {
		int fd = FIRST + (int)i;

		(void)id_of(fd, &s->have[i]);
		if (s->from < 0 && is_state(fd))
			s->from = fd;
	}
	qsort(s->have, s->n, sizeof(*s->have), order);
}

/* Find the descriptor that was saved as @id and set @id->fd; if two of the
 * saved ones are the same file, the second gets a duplicate.  False: it is not
 * there. */
static bool find(struct fdstore *s, struct fdstore_id *id)
{
	struct fdstore_id *h = s->n ? bsearch(id, s->have, s->n, sizeof(*id),
					      order) : NULL;

	if (!h)
		return false;
	id->fd = h->used ? fcntl(h->fd, F_DUPFD_CLOEXEC, FIRST) : h->fd;
	h->used = true;
	return id->fd >= 0;
}

/* Read the section of descriptors, @len bytes at offset @at of the state, and
 * find each of them.  False: one is missing. */
static bool read_ids(struct fdstore *s, uint64_t at, uint32_t len)
{
	uint8_t text[ID];
	struct rd r;

	for (; len >= ID && s->saved < FDSTORE_MAX; len -= ID, at += ID) {
		struct fdstore_id *id = &s->id[s->saved++];

		if (pread(s->from, text, ID, (off_t)at) != ID)
			return false;
		r = rd_init(text, ID);
		id->dev = rd_be64(&r);
		id->ino = rd_be64(&r);
		if (!find(s, id))
			return false;
	}
	return !len;
}

static bool is_known(int fd)
{
	uint8_t head[STATE_HEAD];
	struct rd r;

	if (pread(fd, head, sizeof(head), 0) != sizeof(head))
		return false;
	r = rd_init(head, sizeof(head));
	return !state_check(&r);
}

/* Whether the state has all its sections, the last of which is that of
 * descriptors, and all of these are here */
static bool is_whole(struct fdstore *s)
{
	uint64_t at = STATE_HEAD;
	uint8_t text[STATE_SECTION];
	uint32_t tag, len;
	struct util_stat st;
	bool ids = false;
	struct rd r;

	if (!is_known(s->from) || util_fstat(s->from, &st))
		return false;
	while (at < st.size) {
		if (pread(s->from, text, sizeof(text), (off_t)at) !=
		    sizeof(text))
			return false;
		r = rd_init(text, sizeof(text));
		tag = rd_be32(&r);
		len = rd_be32(&r);
		at += sizeof(text);
		ids = tag == STATE_STORED;
		if (len > st.size - at || (ids && !read_ids(s, at, len)))
			return false;
		at += len;
	}
	return ids && !lseek(s->from, 0, SEEK_SET);
}

/* --- the manager ------------------------------------------------------------- */

static int connect_to(const char *path)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	const struct timeval tv = { .tv_sec = SEND_S };
	size_t len = strlen(path);
	int fd;

	if ((*path != '/' && *path != '@') || len >= sizeof(a.sun_path))
		return -EINVAL;
	memcpy(a.sun_path, path, len);
	if (*path == '@')
		a.sun_path[0] = '\0';
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	(void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv));
	if (!connect(fd, (struct sockaddr *)&a,
		     (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len)))
		return fd;
	len = (size_t)errno;
	close(fd);
	return -(int)len;
}

static int tell(struct fdstore *s, const char *text, const int *fd, unsigned n)
{
	union {
		struct cmsghdr align;
		uint8_t b[CMSG_SPACE(BATCH * sizeof(int))];
	} control = { 0 };
	struct iovec iov = { (void *)(uintptr_t)text, strlen(text) };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };
	ssize_t sent;

	util_pass(&m, &control, fd, n);
	do /* #syscalls:passt sendmsg */
		sent = sendmsg(s->notify, &m, MSG_NOSIGNAL);
	while (sent < 0 && errno == EINTR);
	return sent < 0 ? (errno == EAGAIN ? -ETIMEDOUT : -errno) : 0;
}

int fdstore_open(struct fdstore *s)
{
	const struct timeval tv = { .tv_sec = HEARD_S };
	const char *path = getenv("NOTIFY_SOCKET");

	s->id = util_map(sizeof(*s->id) * FDSTORE_MAX);
	s->have = util_map(sizeof(*s->have) * FDSTORE_MAX);
	if (!s->id || !s->have)
		return -ENOMEM;
	s->notify = path ? connect_to(path) : -ENOENT;
	if (s->notify < 0)
		return s->notify;
	s->to = memfd_create("passt", MFD_CLOEXEC);
	if (s->to < 0 || fcntl(s->to, F_SETFL, O_APPEND) ||
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, s->heard) ||
	    setsockopt(s->heard[0], SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv)))
		return -errno;
	look(s);
	if (s->from >= 0 && !is_whole(s)) {
		log_warn("What the service manager has kept is not complete "
			 "or of a newer version: beginning anew");
		s->from = -1;
	}
	return s->n ? tell(s, drop, NULL, 0) : 0;
}

void fdstore_feed(struct fdstore *s, struct fdlist *fds)
{
	while (s->at < s->saved && fds->n < FDLIST_SECTION)
		fdlist_put(fds, s->id[s->at++].fd);
}

/* Whether @fd is a stream with a far end, to which the end has not been said */
static bool is_open_stream(int fd)
{
	uint8_t state = TCP_CLOSE; /* the first byte of struct tcp_info */
	socklen_t len = sizeof(state);

	return !getsockopt(fd, IPPROTO_TCP, TCP_INFO, &state, &len) &&
	       (state == TCP_ESTABLISHED || state == TCP_CLOSE_WAIT);
}

/* Close a descriptor of the store that nobody wants.  The manager may hold it a
 * while longer: shut the socket down, so that no peer waits for an answer and
 * paths and ports are free.  A stream is reset, as its end would be taken for
 * one. */
static void give_up(int fd)
{
	if (is_open_stream(fd)) {
		sock_abort(fd);
		return;
	}
	(void)shutdown(fd, SHUT_RDWR);
	close(fd);
}

void fdstore_end(struct fdstore *s)
{
	bool taken = s->from >= 0;
	unsigned i;

	for (i = 0; i < s->n; i++)
		if (!taken || !s->have[i].used)
			give_up(s->have[i].fd);
	s->from = -1;
	s->n = s->saved = s->at = 0;
}

/* --- what there will be ---------------------------------------------------------- */

int fdstore_begin(struct fdstore *s)
{
	s->saved = 0;
	/* #syscalls:passt ftruncate */
	return s->to < 0 ? -ENOENT : ftruncate(s->to, 0) ? -errno : 0;
}

static int write_all(int fd, const void *p, size_t len)
{
	ssize_t n;

	for (; len; len -= (size_t)n, p = (const uint8_t *)p + n) {
		/* #syscalls:passt write */
		n = write(fd, p, len);
		if (n < 0)
			return -errno;
	}
	return 0;
}

int fdstore_put(struct fdstore *s, const void *p, size_t len, const int *fd,
		unsigned n)
{
	unsigned i;

	if (s->saved + n > FDSTORE_MAX)
		return -ENOBUFS;
	for (i = 0; i < n; i++)
		if (!id_of(fd[i], &s->id[s->saved++]))
			return -EBADF;
	return n && tell(s, add, fd, n) ? -EPIPE : write_all(s->to, p, len);
}

/* Wait until the manager has read all messages, when it closes its copy of our
 * socket.  It asks the kernel who sent a message, and ignores those of a
 * process that is gone. */
static int be_heard(struct fdstore *s)
{
	int err = tell(s, barrier, &s->heard[1], 1);
	ssize_t n;
	char c;

	close(s->heard[1]);
	if (err)
		return err;
	do /* #syscalls:passt recvfrom */
		n = recv(s->heard[0], &c, sizeof(c), 0);
	while (n < 0 && errno == EINTR);
	return n ? -ETIMEDOUT : 0;
}

int fdstore_done(struct fdstore *s)
{
	uint8_t text[ID * IDS];
	struct wr w = wr_init(text, sizeof(text));
	unsigned i;
	int err;

	wr_be32(&w, STATE_STORED);
	wr_be32(&w, s->saved * ID);
	err = write_all(s->to, text, w.len);
	for (i = 0; i < s->saved && !err;) {
		w = wr_init(text, sizeof(text));
		for (; i < s->saved && w.len < sizeof(text); i++) {
			wr_be64(&w, s->id[i].dev);
			wr_be64(&w, s->id[i].ino);
		}
		err = write_all(s->to, text, w.len);
	}
	if (!err)
		err = tell(s, add, &s->to, 1);
	if (!err)
		err = be_heard(s);
	/* We go on, and the manager may read later what it was told: then it is
	 * not true any more */
	if (err)
		(void)!ftruncate(s->to, 0);
	return err;
}
