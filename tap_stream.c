/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * tap_stream - length-prefixed frames over a Unix stream socket
 *
 * Receiving: one recv() takes what is there, frames are lent where they lie,
 * and a partial one is moved, if need be, before the next recv().
 *
 * Sending: reserve lays frames out in @tx, each with a gap in front for prefix
 * and head; commit fills the gaps and queues the bytes.  Frames that lie side
 * by side share an iovec, so that flush is one sendmsg().  What the socket does
 * not take stays queued; @tx is used from its start again when all is sent.
 */
#include "tap_stream.h"
#include "iov.h"
#include "log.h"
#include "segment.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum {
	PREFIX = 4,
	ASIDE = 128, /* see doc/performance.md, "Where bytes lie" */
	GONE = EPOLLRDHUP | EPOLLHUP | EPOLLERR,
	PATHS = 99, /* /tmp/passt_1.socket and so on */
};

static struct tap_stream *stream(struct tap *t)
{
	return container_of(t, struct tap_stream, tap);
}

/* --- towards the guest -------------------------------------------------- */

/* Free room of @tx: all of it if nothing is queued, else what is behind the
 * last frame.  While slots are reserved, their bytes stay. */
static void reuse(struct tap_stream *t)
{
	if (t->slot_out)
		return;
	if (t->iov_at == t->iov_end)
		t->tx_top = 0;
	t->tx_used = t->tx_top;
	t->slot_next = 0;
}

static void empty_queue(struct tap_stream *t)
{
	t->iov_at = t->iov_end = 0;
	t->tap.full = false;
	reuse(t);
}

static void advance(struct tap_stream *t, size_t n)
{
	struct iovec *v = t->iov + t->iov_at;
	unsigned cnt = t->iov_end - t->iov_at;

	iov_advance(&v, &cnt, n);
	t->iov_at = t->iov_end - cnt;
}

static uint32_t events(bool out)
{
	return EPOLLIN | EPOLLRDHUP | EPOLLET | (out ? EPOLLOUT : 0);
}

/* Choose whether EPOLLOUT is reported; otherwise each frame that the guest
 * takes would be an event */
static void watch_room(struct tap_stream *t, bool out)
{
	if (t->watch_out != out && t->fd >= 0 &&
	    !loop_mod(t->tap.loop, t->fd, t->tap.watch, 0, events(out)))
		t->watch_out = out;
}

/* A short count needs no second try: the socket reports when it has room */
static void stream_flush(struct tap *tap)
{
	struct tap_stream *t = stream(tap);
	struct msghdr m = {
		.msg_iov = t->iov + t->iov_at,
		.msg_iovlen = t->iov_end - t->iov_at,
	};
	ssize_t n;

	if (m.msg_iovlen) {
		do /* #syscalls sendmsg */
			n = sendmsg(t->fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL);
		while (n < 0 && errno == EINTR);
		if (n >= 0)
			advance(t, (size_t)n);
		else if (errno != EAGAIN && errno != ENOBUFS && errno != ENOMEM)
			/* the guest has gone, as receive will find out, after
			 * what it has sent before */
			t->iov_at = t->iov_end;
	}
	watch_room(t, t->iov_at != t->iov_end);
	if (t->iov_at == t->iov_end)
		empty_queue(t);
}

static size_t padding(size_t frame)
{
	return frame < FRAME_MIN ? FRAME_MIN - frame : 0;
}

/* Most pieces of a slot.  Segments shorter than the shortest frame would be
 * padded into the gap of the next one: then a slot has one piece only. */
static unsigned pieces_max(size_t head, size_t mss)
{
	return head + mss < FRAME_MIN ? 1 : STREAM_PIECES;
}

/* Bytes that a slot takes if it gets all that is wanted */
static size_t slot_size(size_t head, size_t want, size_t mss)
{
	size_t pieces = 1, max = pieces_max(head, mss);

	if (mss && want > mss) {
		pieces = MIN((want + mss - 1) / mss, max);
		want = MIN(want, pieces * mss);
	}
	return pieces * (PREFIX + head) + want + FRAME_MIN;
}

static bool lay_out(struct tap_stream *t, struct slot *s, size_t head,
		    size_t want, size_t mss)
{
	size_t gap = PREFIX + head, room = STREAM_TX_BYTES - t->tx_used, used;
	uint8_t *p = t->tx + t->tx_used;
	struct iovec *body;

	if (t->slot_next == STREAM_SLOTS ||
	    t->iov_end + t->slot_out >= STREAM_TX_IOV || room < gap + FRAME_MIN)
		return false;
	room -= FRAME_MIN; /* in case the last piece needs padding */
	body = t->body[t->slot_next];
	body[0] = (struct iovec){ p + gap, 0 };
	s->body_cnt = 1;
	used = gap;
	if (want)
		s->body_cnt = segment_layout(p, room, gap, want, mss, body,
					     pieces_max(head, mss), &used);
	if (!s->body_cnt)
		return false;

	s->head = p + PREFIX;
	s->head_len = head;
	s->body = body;
	s->room = used - s->body_cnt * gap;
	s->mss = mss;
	s->priv = p;
	s->priv_len = used;
	t->tx_used += used + padding(head + body[s->body_cnt - 1].iov_len);
	t->slot_next++;
	t->slot_out++;
	return true;
}

static unsigned stream_reserve(struct tap *tap, struct slot *s, unsigned n,
			       size_t head, size_t want, size_t mss)
{
	struct tap_stream *t = stream(tap);
	unsigned i;

	assert(head <= HEAD_MAX);
	/* If it is known to be full, the loop will report room */
	if (!tap->full && t->iov_at != t->iov_end &&
	    (t->tx_used + n * slot_size(head, want, mss) > STREAM_TX_BYTES ||
	     t->iov_end + t->slot_out + n > STREAM_TX_IOV))
		stream_flush(tap);

	for (i = 0; i < n && lay_out(t, &s[i], head, want, mss); i++)
		;
	if (i < n)
		tap->full = true;
	return i;
}

/* Pad and prefix a finished frame; returns its end */
static uint8_t *seal(struct tap_stream *t, uint8_t *frame, size_t len)
{
	size_t pad = padding(len);
	struct iovec all = { frame, len + pad };

	memset(frame + len, 0, pad);
	st_be32(frame - PREFIX, (uint32_t)(len + pad));
	tap_captured(&t->tap, true, &all, 1, len + pad, NULL);
	return frame + len + pad;
}

static uint8_t *fill_run(struct tap_stream *t, const struct slot *s,
			 size_t used, const struct note *n)
{
	uint8_t head[HEAD_MAX], *end = s->head;
	const struct iovec *v = s->body;
	size_t off, len;

	memcpy(head, s->head, s->head_len);
	for (off = 0; off < used; off += len, v++) {
		uint8_t *frame = (uint8_t *)v->iov_base - s->head_len;

		len = MIN(used - off, v->iov_len);
		segment_head(frame, head, s->head_len, n, off, len, used);
		end = seal(t, frame, s->head_len + len);
	}
	return end;
}

static uint8_t *fill_one(struct tap_stream *t, const struct slot *s,
			 size_t used, const struct note *n)
{
	size_t len = s->head_len + used;

	segment_finish(s->head, len, n);
	return seal(t, s->head, len);
}

static void enqueue(struct tap_stream *t, uint8_t *p, const uint8_t *end)
{
	struct iovec *v = &t->iov[t->iov_end];
	size_t len = (size_t)(end - p);

	if (t->iov_at != t->iov_end &&
	    (uint8_t *)v[-1].iov_base + v[-1].iov_len == p) {
		v[-1].iov_len += len;
	} else {
		*v = (struct iovec){ p, len };
		t->iov_end++;
	}
	t->tx_top = MAX(t->tx_top, (size_t)(end - t->tx));
}

static void stream_cancel(struct tap *tap, struct slot *s)
{
	struct tap_stream *t = stream(tap);

	(void)s;
	t->slot_out--;
	reuse(t);
}

static void stream_commit(struct tap *tap, struct slot *s, size_t used,
			  const struct note *n)
{
	struct tap_stream *t = stream(tap);
	bool run = s->mss && used > s->mss;

	assert(used <= s->room);
	if (!tap->up)
		tap_unsent(tap, DROP_CONN, s, used, n);
	else if (run)
		enqueue(t, s->priv, fill_run(t, s, used, n));
	else if (s->head_len + used <= FRAME_MAX)
		enqueue(t, s->priv, fill_one(t, s, used, n));
	else
		tap_unsent(tap, DROP_TOO_BIG, s, used, n);
	stream_cancel(tap, s);
}

/* --- from the guest ----------------------------------------------------- */

void tap_stream_closed(const char *why, bool one_off)
{
	log_limited(why ? LOG_WARN : LOG_INFORM,
		    "Client connection closed%s%s%s", why ? ": " : "",
		    why ? why : "", one_off ? ", exiting" : "");
}

static void serve(struct tap_stream *t, int fd);

static void hang_up(struct tap_stream *t, const char *why)
{
	close(t->fd); /* #syscalls close */
	t->fd = -1;
	t->tap.up = false;
	/* The next guest does not want the rest of this one's bytes */
	t->rx_at = t->rx_end = 0;
	empty_queue(t);
	tap_stream_closed(why, t->one_off);
	if (t->one_off)
		loop_leave(t->tap.loop, 0, false);
	if (t->next >= 0)
		serve(t, t->next);
	t->next = -1;
}

/* Lend frames that are complete in @rx.  A bad length ends this, and the guest
 * is hung up on once the frames before it were given out. */
static unsigned take(struct tap_stream *t, struct frame *f, unsigned max)
{
	unsigned n = 0;

	for (; n < max && t->rx_end - t->rx_at >= PREFIX; n++, f++) {
		uint8_t *p = t->rx + t->rx_at;
		size_t len = ld_be32(p);

		if (len < ETH_HEAD || len > FRAME_MAX) {
			if (n)
				break;
			log_limited(LOG_WARN, "Bad frame size from guest, "
					      "resetting connection");
			hang_up(t, NULL);
			break;
		}
		if (t->rx_end - t->rx_at - PREFIX < len)
			break;
		t->rx_at += PREFIX + len;
		f->note = (struct note){ 0 };
		f->one = (struct iovec){ p + PREFIX, len };
		f->iov = &f->one;
		f->iov_cnt = 1;
		f->len = len;
		tap_captured(&t->tap, false, f->iov, 1, len, NULL);
	}
	return n;
}

/* Whether no frame can be lent before more bytes have arrived */
static bool is_partial(const struct tap_stream *t)
{
	size_t have = t->rx_end - t->rx_at, len;

	if (have < PREFIX)
		return true;
	len = ld_be32(t->rx + t->rx_at);
	return len >= ETH_HEAD && len <= FRAME_MAX && have - PREFIX < len;
}

/* Move a partial frame to the front, where the cache is warm, if that is cheap
 * or the room behind it gets short */
static void make_room(struct tap_stream *t)
{
	enum { CHEAP = 256, SHORT = STREAM_RX_BYTES / 2 };
	size_t have = t->rx_end - t->rx_at;

	if (!t->rx_at || (have > CHEAP && STREAM_RX_BYTES - t->rx_end > SHORT))
		return;
	memmove(t->rx, t->rx + t->rx_at, have);
	t->rx_at = 0;
	t->rx_end = have;
}

/* Read more bytes behind the partial frame; false if there are none, or no
 * guest.  A short read has drained the socket, and an event will report more;
 * but not a hang-up that was reported together with these bytes. */
static bool fill(struct tap_stream *t)
{
	size_t room;
	ssize_t n;

	make_room(t);
	room = STREAM_RX_BYTES - t->rx_end;
	do /* #syscalls recvfrom recv */
		n = recv(t->fd, t->rx + t->rx_end, room, MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	if (n > 0) {
		t->rx_end += (size_t)n;
		t->empty = (size_t)n < room && !t->ending;
		return true;
	}
	if (!n || errno != EAGAIN)
		hang_up(t, !n || errno == ECONNRESET ? NULL : util_error(errno));
	return false;
}

static unsigned stream_receive(struct tap *tap, struct frame *f, unsigned max)
{
	struct tap_stream *t = stream(tap);
	unsigned n = 0;

	if (tap->events)
		t->empty = false;
	t->ending |= tap->events & GONE;
	tap->events = 0;
	while (t->fd >= 0) {
		n = take(t, f, max);
		if (n || t->fd < 0 || t->empty || !fill(t))
			break;
	}
	tap->drained = !n || (t->empty && is_partial(t));
	return n;
}

static void stream_release(struct tap *tap)
{
	(void)tap; /* the next receive overwrites what was lent */
}

static void save_sending(const struct tap_stream *t, struct wr *w)
{
	unsigned i, cnt = t->iov_end - t->iov_at;
	const struct iovec *v = t->iov + t->iov_at;

	wr_be32(w, (uint32_t)iov_size(v, cnt));
	for (i = 0; i < cnt; i++)
		wr_bytes(w, v[i].iov_base, v[i].iov_len);
}

static bool stream_save(const struct tap *tap, struct wr *w,
			struct fdlist *fds)
{
	const struct tap_stream *t =
		(const struct tap_stream *)(const void *)tap; /* its first */
	uint32_t have = (uint32_t)(t->rx_end - t->rx_at);

	wr_u8(w, t->one_off);
	wr_u8(w, t->fd >= 0);
	wr_u8(w, t->next >= 0);
	if (t->fd >= 0)
		fdlist_put(fds, t->fd);
	if (t->next >= 0)
		fdlist_put(fds, t->next);
	wr_be32(w, have);
	wr_bytes(w, t->rx + t->rx_at, have);
	save_sending(t, w);
	return true;
}

static bool stream_unread(const struct tap *tap)
{
	const struct tap_stream *t =
		(const struct tap_stream *)(const void *)tap; /* its first */
	int n = 0;

	/* #syscalls ioctl(.,TIOCOUTQ) */
	return t->fd >= 0 && !ioctl(t->fd, TIOCOUTQ, &n) && n;
}

static const struct tap_ops stream_ops = {
	.receive = stream_receive,
	.release = stream_release,
	.reserve = stream_reserve,
	.commit = stream_commit,
	.cancel = stream_cancel,
	.flush = stream_flush,
	.unread = stream_unread,
	.save = stream_save,
};

/* --- connection --------------------------------------------------------- */

static int greet(struct tap_stream *t, int fd)
{
	int big = INT_MAX / 2, err;

	err = loop_add(t->tap.loop, fd, t->tap.watch, 0, events(false));
	if (err)
		return err;
	/* As much as the kernel grants.
	 * #syscalls setsockopt(.,SOL_SOCKET,SO_SNDBUF|SO_RCVBUF) */
	(void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &big, sizeof(big));
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &big, sizeof(big));
	t->fd = fd;
	t->empty = t->ending = t->watch_out = false;
	t->tap.up = true;
	t->tap.session++;
	return 0;
}

/* Log who is at the other end.  PID 0, which is not worth logging, is a process
 * in another PID namespace. */
static void log_peer(const char *what, int fd)
{
	struct ucred c = { 0 };
	socklen_t len = sizeof(c);

	/* #syscalls getsockopt */
	(void)getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &c, &len);
	if (c.pid)
		log_info("%s connection from PID %i", what, c.pid);
	else
		log_info("%s connection", what);
}

int tap_stream_accept(struct acceptor *a, bool busy)
{
	static struct log_rate rate; /* a client may come again and again */
	int fd = acceptor_take(a);

	if (fd < 0)
		return fd;
	if (log_max >= LOG_INFORM && log_allowed(&rate))
		log_peer(busy ? "discarding" : "accepted", fd);
	if (!busy)
		return fd;
	close(fd);
	return -EBUSY;
}

static void serve(struct tap_stream *t, int fd)
{
	int err = greet(t, fd);

	if (!err)
		return;
	log_warn("Can't serve client: %s", util_error(-err));
	close(fd);
}

/* Whether the guest has left, but what it sent last was not processed yet */
static bool is_leaving(const struct tap_stream *t)
{
	return t->ending || t->tap.events & GONE;
}

static void accept_guest(void *owner, uint64_t ref, uint32_t events)
{
	struct tap_stream *t = owner;
	bool busy = t->fd >= 0, wait = busy && !t->one_off &&
				       t->next < 0 && is_leaving(t);
	int fd = tap_stream_accept(&t->acceptor, busy && !wait);

	(void)ref;
	(void)events;
	if (fd < 0)
		return;
	if (wait)
		t->next = fd;
	else
		serve(t, fd);
}

int tap_stream_init(struct tap_stream *t, struct loop *l, struct pcap *pcap,
		    unsigned watch, bool one_off)
{
	t->tap = (struct tap){
		.ops = &stream_ops,
		.loop = l,
		.pcap = pcap,
		.caps = { .runs = true, .frame_max = FRAME_MAX },
		.watch = watch,
	};
	t->acceptor.fd = t->fd = t->next = -1;
	t->one_off = one_off;
	t->rx_at = t->rx_end = 0;
	t->tx_used = t->tx_top = 0;
	t->slot_next = t->slot_out = 0;
	t->iov_at = t->iov_end = 0;
	t->rx = util_map(ASIDE + STREAM_RX_BYTES);
	t->tx = util_map(STREAM_TX_BYTES);
	if (!t->rx || !t->tx)
		return -ENOMEM;
	t->rx += ASIDE;
	return 0;
}

int tap_stream_listen(struct tap_stream *t, int fd)
{
	return acceptor_start(&t->acceptor, t->tap.loop, fd, accept_guest, t);
}

int tap_stream_check(int fd)
{
	socklen_t len = sizeof(int);
	int type;

	/* A pipe could be watched, and would look like a guest that has left */
	if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len))
		/* A security module may forbid to ask: it will do as well */
		return errno == EACCES || errno == EPERM ? 0 : -errno;
	return type == SOCK_STREAM ? 0 : -EPROTOTYPE;
}

int tap_stream_adopt(struct tap_stream *t, int fd)
{
	int err = tap_stream_check(fd);

	if (err)
		return err;
	t->one_off = true; /* there is no way to get another */
	return greet(t, fd);
}

/* Read up to @max bytes to @p; returns how many, or more than @max if they do
 * not fit */
static size_t load_bytes(struct rd *r, uint8_t *p, size_t max)
{
	size_t len = rd_be32(r);

	if (len > max || len > rd_left(r))
		return max + 1;
	rd_copy(r, p, len);
	return len;
}

int tap_stream_load(struct tap_stream *t, struct rd *r, struct fdlist *fds)
{
	bool guest, next;
	int err = 0;

	t->one_off |= rd_u8(r) & 1;
	guest = rd_u8(r) & 1;
	next = rd_u8(r) & 1;
	if (guest)
		err = greet(t, fdlist_take(fds));
	if (next)
		t->next = fdlist_take(fds);
	t->rx_end = load_bytes(r, t->rx, STREAM_RX_BYTES);
	t->tx_top = load_bytes(r, t->tx, STREAM_TX_BYTES);
	if (!rd_ok(r) || t->rx_end > STREAM_RX_BYTES ||
	    t->tx_top > STREAM_TX_BYTES)
		return -EPROTO;
	t->tx_used = t->tx_top;
	if (t->tx_top)
		t->iov[t->iov_end++] = (struct iovec){ t->tx, t->tx_top };
	return err;
}

/* --- the listening socket, at start ------------------------------------- */

static int unix_socket(void)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	return fd < 0 ? -errno : fd;
}

/* 1 if somebody answers at @a, 0 if not, or -errno */
static int is_served(const struct sockaddr_un *a)
{
	int fd = unix_socket(), served;

	if (fd < 0)
		return fd;
	served = !connect(fd, (const struct sockaddr *)a, sizeof(*a)) ||
		 (errno != ENOENT && errno != ECONNREFUSED && errno != EACCES);
	close(fd);
	return served;
}

/* A user who mistypes a path does not want to lose the file that is there.  An
 * empty file has nothing to lose: callers let mktemp make the name. */
static void remove_stale(const char *path)
{
	struct stat st;

	if (!lstat(path, &st) &&
	    (S_ISSOCK(st.st_mode) || (S_ISREG(st.st_mode) && !st.st_size)))
		(void)unlink(path);
}

static int bind_path(const char *path)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd, err;

	if (strlen(path) >= sizeof(a.sun_path))
		return -ENAMETOOLONG;
	strcpy(a.sun_path, path);
	err = is_served(&a);
	if (err)
		return err < 0 ? err : -EADDRINUSE;

	fd = unix_socket();
	if (fd < 0)
		return fd;
	remove_stale(path);
	if (bind(fd, (struct sockaddr *)&a, sizeof(a)) || listen(fd, 0)) {
		err = -errno;
		close(fd);
		return err;
	}
	log_info("UNIX domain socket bound at %s", path);
	return fd;
}

int tap_stream_bind(char *path)
{
	int i, fd = -EADDRINUSE;

	if (*path)
		return bind_path(path);
	for (i = 1; i <= PATHS && fd < 0; i++) {
		sprintf(path, "/tmp/passt_%i.socket", i);
		fd = bind_path(path);
	}
	return fd;
}
