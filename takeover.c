/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * takeover - a process gives way to its successor (--takeover)
 *
 * The predecessor does all of this at the end of a turn: nothing else happens
 * from the first section to the last word, and nothing has changed unless that
 * is said.  The successor reads from no descriptor before it.
 *
 * A successor must be one of us: it was started in the same namespaces, which
 * it shows by descriptors of these that nobody else can have; it is the same
 * user; and if there is a security module, that has it under the same label.
 */
#include "takeover.h"

#include "log.h"
#include "state.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

/* Same number on all architectures, like all since 5.1 */
#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif

enum {
	NOBODY = 65534, /* the user ID of unmapped users */
	MESSAGE = 64 << 10, /* sections that are sent together */
	MESSAGE_FDS = 128,
	REASON = 200,
};

/* A container of an ordinary user that has the host's network still differs in
 * the last one, if all are in that user's user namespace */
static const char *const place[TAKEOVER_PROOF] = { "/proc/self/ns/user",
						   "/proc/self/ns/net",
						   "/proc/self/ns/pid" };

/* --- both ---------------------------------------------------------------- */

static bool place_of(int fd, struct takeover_place *p)
{
	struct util_stat st = { 0 };

	if (util_fstat(fd, &st))
		return false;
	*p = (struct takeover_place){ st.dev, st.inode };
	return true;
}

static bool same_place(const struct takeover_place *a,
		       const struct takeover_place *b)
{
	return a->dev == b->dev && a->ino == b->ino;
}

static void set_patience(int fd, unsigned seconds)
{
	const struct timeval tv = { .tv_sec = (time_t)seconds };

	/* #syscalls setsockopt(.,SOL_SOCKET,SO_RCVTIMEO|SO_SNDTIMEO) */
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
	(void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv));
}

union control {
	struct cmsghdr align;
	uint8_t buf[CMSG_SPACE(sizeof(int) * (MESSAGE_FDS + FDLIST_SECTION))];
};

/* Send all bytes, with the descriptors beside the first: 0 or -errno */
static int send_all(int fd, const void *p, size_t len, const int *fds,
		    unsigned n)
{
	struct iovec iov = { (void *)(uintptr_t)p, len };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };
	union control c = { 0 };
	ssize_t sent;

	util_pass(&m, &c, fds, n);
	while (iov.iov_len) {
		/* #syscalls sendmsg */
		sent = sendmsg(fd, &m, MSG_NOSIGNAL);
		if (sent < 0 && errno == EINTR)
			continue;
		if (sent < 0)
			return errno == EAGAIN ? -ETIMEDOUT : -errno;
		iov.iov_base = (uint8_t *)iov.iov_base + sent;
		iov.iov_len -= (size_t)sent;
		m.msg_control = NULL;
		m.msg_controllen = 0;
	}
	return 0;
}

static void keep_fds(struct msghdr *m, struct fdlist *fds)
{
	struct cmsghdr *h;
	unsigned n, i;
	int fd;

	for (h = CMSG_FIRSTHDR(m); h; h = CMSG_NXTHDR(m, h)) {
		if (h->cmsg_level != SOL_SOCKET || h->cmsg_type != SCM_RIGHTS)
			continue;
		n = (unsigned)((h->cmsg_len - CMSG_LEN(0)) / sizeof(int));
		for (i = 0; i < n; i++) {
			memcpy(&fd, CMSG_DATA(h) + i * sizeof(fd), sizeof(fd));
			if (fds->n == FDLIST_MAX)
				close(fd);
			fdlist_put(fds, fd);
		}
	}
}

/* Move descriptors that nobody has taken to the front */
static void tidy(struct fdlist *fds)
{
	fds->n -= fds->at;
	memmove(fds->fd, fds->fd + fds->at, fds->n * sizeof(*fds->fd));
	fds->at = 0;
}

static void drop_fds(struct fdlist *fds)
{
	while (fds->at < fds->n)
		close(fds->fd[fds->at++]); /* #syscalls close */
	*fds = (struct fdlist){ 0 };
}

/* Like recvmsg(), or -errno; descriptors are appended to @fds */
static ssize_t receive(int fd, void *p, size_t len, int flags,
		       struct fdlist *fds)
{
	struct iovec iov = { p, len };
	union control c = { 0 };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1,
			    .msg_control = c.buf,
			    .msg_controllen = sizeof(c.buf) };
	ssize_t n;

	do /* #syscalls recvmsg */
		n = recvmsg(fd, &m, flags | MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	keep_fds(&m, fds);
	return m.msg_flags & MSG_CTRUNC ? -EMFILE : n;
}

/* Send a section without a body */
static int say(int fd, enum state_tag tag)
{
	uint8_t text[STATE_SECTION];
	struct wr w = wr_init(text, sizeof(text));

	state_end(&w, state_begin(&w, tag));
	return send_all(fd, text, w.len, NULL, 0);
}

/* Wait for a section without a body: 0 or -errno */
static int hear(int fd, enum state_tag tag, struct fdlist *fds)
{
	uint8_t text[STATE_SECTION];
	size_t have = 0;
	struct rd r;
	ssize_t n;

	while (have < sizeof(text)) {
		n = receive(fd, text + have, sizeof(text) - have, 0, fds);
		if (n <= 0)
			return !n ? -ECONNRESET :
			       n == -EAGAIN ? -ETIMEDOUT : (int)n;
		have += (size_t)n;
	}
	r = rd_init(text, sizeof(text));
	return rd_be32(&r) == tag && !rd_be32(&r) ? 0 : -EPROTO;
}

/* Our label as SO_PEERSEC would give it, "" if there is none */
static void read_label(char label[TAKEOVER_LABEL])
{
	int len = util_read_file("/proc/self/attr/current", label,
				 TAKEOVER_LABEL);

	label[len > 0 ? strcspn(label, "\n") : 0] = '\0';
}

void takeover_init(struct takeover *t, struct loop *l, struct handover *h)
{
	unsigned i;

	t->loop = l;
	t->h = h;
	t->fd = t->control = t->parent = t->giver = -1;
	t->known = true;
	read_label(t->label);
	for (i = 0; i < TAKEOVER_PROOF; i++) {
		t->proof[i] = open(place[i], O_RDONLY | O_CLOEXEC);
		t->known &= place_of(t->proof[i], &t->here[i]);
	}
}

/* --- the one that gives --------------------------------------------------- */

static void hang_up(struct takeover *t)
{
	close(t->fd);
	t->fd = -1;
	timer_off(&t->timer);
	drop_fds(&t->fds);
	if (t->acceptor.loop)
		acceptor_hold(&t->acceptor, false);
}

/* Send an answer that is short enough for any socket's buffer */
static void answer(struct takeover *t, struct wr *w)
{
	struct iovec iov = { w->buf, w->len };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (sendmsg(t->fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL) !=
	    (ssize_t)w->len)
		hang_up(t);
}

static void refuse(struct takeover *t, const char *why)
{
	uint8_t text[TAKEOVER_WORDS];
	struct wr w = wr_init(text, sizeof(text));
	size_t at;

	log_limited(LOG_WARN, "Takeover refused: %s", why);
	if (t->phase == TAKEOVER_ASKED)
		state_head(&w);
	at = state_begin(&w, STATE_REFUSAL);
	wr_bytes(&w, why, strlen(why));
	state_end(&w, at);
	answer(t, &w);
	if (t->fd >= 0)
		hang_up(t);
}

/* Write what a successor has to know before it can take over */
static void introduce(const struct takeover *t, struct wr *w)
{
	size_t at;
	unsigned i;

	state_head(w);
	at = state_begin(w, STATE_OFFER);
	wr_u8(w, (uint8_t)t->h->conf->mode);
	wr_u8(w, t->h->conf->splice_only);
	wr_be64(w, t->ns.dev);
	wr_be64(w, t->ns.ino);
	for (i = 0; i < HANDOVER_SOCKETS; i++)
		wr_u8(w, *t->h->socket[i] >= 0);
	state_end(w, at);
	at = state_begin(w, STATE_LAN);
	handover_lan(t->h, w);
	state_end(w, at);
	state_end(w, state_begin(w, STATE_END));
}

static void offer(struct takeover *t)
{
	struct wr w = wr_init(t->buf, MESSAGE);

	introduce(t, &w);
	t->phase = TAKEOVER_OFFERED;
	timer_set(&t->loop->timers, &t->timer,
		  t->loop->now_ms + TAKEOVER_START_MS);
	answer(t, &w);
}

static const char *objection(const struct takeover *t)
{
	return t->command ? "a command that waits for its end has been started "
			    "by it" : NULL;
}

/* Whether the successor has shown that it is in the namespaces in which we were
 * started.  A process that was put into others, as the command of pasta or a
 * container, can have no descriptors of these. */
static bool is_one_of_us(struct takeover *t)
{
	struct takeover_place p;
	unsigned i;

	for (i = 0; i < TAKEOVER_PROOF; i++) {
		int fd = fdlist_take(&t->fds);
		bool here = place_of(fd, &p) && same_place(&p, &t->here[i]);

		if (fd >= 0)
			close(fd);
		if (!here)
			return false;
	}
	return true;
}

static void asked(struct takeover *t)
{
	struct rd r = rd_init(t->said, t->len);
	const char *why;

	if (t->len < STATE_HEAD)
		return;
	if (t->len > STATE_HEAD || state_check(&r) == -EPROTO) {
		hang_up(t);
		return;
	}
	t->len = 0;
	why = objection(t);
	if (why)
		refuse(t, why);
	else
		offer(t);
}

static void wanted(struct takeover *t)
{
	struct rd r = rd_init(t->said, t->len), body;
	uint32_t tag;

	if (t->len < STATE_SECTION)
		return;
	if (!state_next(&r, &tag, &body) || tag != STATE_TAKE) {
		hang_up(t);
	} else if (!is_one_of_us(t)) {
		refuse(t, "only who was started in the same namespaces may");
	} else {
		t->phase = TAKEOVER_WANTED;
		timer_set(&t->loop->timers, &t->timer,
			  t->loop->now_ms + TAKEOVER_READY_MS);
		loop_soon(t->loop);
	}
}

static void heard(struct takeover *t)
{
	if (t->phase == TAKEOVER_ASKED)
		asked(t);
	else if (t->phase == TAKEOVER_OFFERED)
		wanted(t);
	else /* it has nothing to say now */
		hang_up(t);
}

static void event(void *owner, uint64_t ref, uint32_t events)
{
	struct takeover *t = owner;
	ssize_t n;

	(void)ref;
	(void)events;
	if (t->fd < 0)
		return;
	n = receive(t->fd, t->said + t->len, sizeof(t->said) - t->len,
		    MSG_DONTWAIT, &t->fds);
	if (n == -EAGAIN)
		return;
	if (n <= 0 || t->fds.n > TAKEOVER_PROOF) {
		hang_up(t);
		return;
	}
	t->len += (size_t)n;
	heard(t);
}

static void expire(void *owner, struct timer *timer)
{
	struct takeover *t = owner;

	(void)timer;
	if (t->phase != TAKEOVER_WANTED)
		hang_up(t);
	else
		refuse(t, "a change of forwarding rules or a migration is going "
			  "on");
}

static void begin(struct takeover *t, int fd)
{
	t->fd = fd;
	t->phase = TAKEOVER_ASKED;
	t->len = 0;
	timer_set(&t->loop->timers, &t->timer,
		  t->loop->now_ms + TAKEOVER_READY_MS);
	if (t->acceptor.loop)
		acceptor_hold(&t->acceptor, true);
}

bool takeover_is(uint8_t byte)
{
	return byte == STATE_FIRST;
}

static bool is_same_user(const struct takeover *t, int fd)
{
	struct ucred u;
	socklen_t len = sizeof(u);

	/* #syscalls getsockopt */
	return !getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &u, &len) &&
	       u.uid == t->uid;
}

/* A front-end is often the same user, but then confined under another label */
static bool has_same_label(const struct takeover *t, int fd)
{
	char label[TAKEOVER_LABEL] = "";
	socklen_t len = sizeof(label) - 1;

	if (!t->label[0])
		return true;
	/* Not every security module labels sockets */
	if (getsockopt(fd, SOL_SOCKET, SO_PEERSEC, label, &len))
		return errno == ENOPROTOOPT;
	return !strcmp(label, t->label);
}

/* Whether a client of the control socket may take over.  If others than its
 * owner may connect there to change rules, nobody may.  If we have become
 * another user, the one who started us has no name here. */
static bool may_by_control(const struct takeover *t, int fd)
{
	struct util_stat st = { 0 };

	return t->control >= 0 && !util_fstat(t->control, &st) &&
	       !(st.mode & (S_IWGRP | S_IWOTH)) &&
	       (t->became || is_same_user(t, fd)) && has_same_label(t, fd);
}

bool takeover_adopt(struct takeover *t, int fd, const void *buf, size_t len)
{
	if (t->fd >= 0 || !t->buf || len > sizeof(t->said) ||
	    !may_by_control(t, fd) ||
	    loop_mod(t->loop, fd, t->watch, 0, EPOLLIN))
		return false;
	begin(t, fd);
	memcpy(t->said, buf, len);
	t->len = len;
	heard(t);
	return true;
}

static void accept_one(void *owner, uint64_t ref, uint32_t events)
{
	struct takeover *t = owner;
	int fd = acceptor_take(&t->acceptor);

	(void)ref;
	(void)events;
	if (fd < 0)
		return;
	if (!is_same_user(t, fd) || !has_same_label(t, fd) ||
	    loop_add(t->loop, fd, t->watch, 0, EPOLLIN)) {
		close(fd);
		return;
	}
	begin(t, fd);
}

static socklen_t name_of(struct sockaddr_un *a, long pid)
{
	int n;

	memset(a, 0, sizeof(*a));
	a->sun_family = AF_UNIX;
	n = snprintf(a->sun_path + 1, sizeof(a->sun_path) - 1,
		     "passt/takeover/%ld", pid);
	return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 +
			   (size_t)n);
}

/* Listen on an abstract socket, which belongs to a network namespace, so the
 * guest's cannot reach it.  Our PID is that of the namespace in which @proc was
 * mounted. */
static int listen_by_number(int proc)
{
	struct sockaddr_un a;
	char text[32] = "";
	socklen_t len;
	int fd;

	if (proc < 0 || readlinkat(proc, "self", text, sizeof(text) - 1) < 0)
		return -1;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -1;
	len = name_of(&a, atol(text));
	if (!bind(fd, (struct sockaddr *)&a, len) && !listen(fd, 1))
		return fd;
	log_debug("No takeover by PID: %s", util_error(errno));
	close(fd);
	return -1;
}

void takeover_by(struct takeover *t, const char *path)
{
	t->control = open(path, O_PATH | O_CLOEXEC);
}

void takeover_offer(struct takeover *t, int proc)
{
	unsigned i;
	int fd;

	for (i = 0; i < TAKEOVER_PROOF; i++)
		close(t->proof[i]);
	if (!t->known)
		return;
	if (!t->buf)
		t->buf = util_map(TAKEOVER_BUF);
	if (!t->buf)
		return;
	timer_init(&t->timer, expire, t);
	t->watch = loop_watch(t->loop, event, t);
	t->uid = geteuid();
	/* unmapped users all look the same */
	fd = t->anybody || t->uid == NOBODY ? -1 : listen_by_number(proc);
	if (fd >= 0 && acceptor_start(&t->acceptor, t->loop, fd, accept_one, t))
		close(fd);
}

/* --- at the end of a turn ------------------------------------------------- */

/* Gather sections for one message; returns what handover_save() does */
static int gather(struct takeover *t, struct wr *w)
{
	int more;

	t->fds.at = t->fds.n = 0;
	do
		more = handover_save(t->h, w, &t->fds);
	while (more > 0 && w->len < MESSAGE && t->fds.n < MESSAGE_FDS);
	return more;
}

/* Send all sections: 0 or -errno; -EAGAIN: not now */
static int give_all(struct takeover *t)
{
	struct wr w;
	int more, err;

	handover_begin(t->h);
	do {
		w = wr_init(t->buf, TAKEOVER_BUF);
		more = gather(t, &w);
		if (more < 0)
			return more;
		err = send_all(t->fd, t->buf, w.len, t->fds.fd, t->fds.n);
		if (err)
			return err == -EAGAIN ? -ETIMEDOUT : err;
	} while (more);
	return 0;
}

static int give_way(struct takeover *t)
{
	struct fdlist none = { 0 };
	int err = give_all(t);

	if (!err)
		err = hear(t->fd, STATE_COMMIT, &none);
	drop_fds(&none);
	return err ? err : say(t->fd, STATE_GONE);
}

void takeover_turn_end(struct takeover *t)
{
	int err;

	if (t->fd < 0 || t->phase != TAKEOVER_WANTED)
		return;
	set_patience(t->fd, TAKEOVER_STEP_S);
	err = give_way(t);
	t->fds = (struct fdlist){ 0 }; /* all of them are in use */
	/* What is in the way will have the loop turn */
	if (err == -EAGAIN)
		return;
	/* #syscalls madvise(.,.,MADV_DONTNEED) */
	madvise(t->buf, TAKEOVER_BUF, MADV_DONTNEED);
	if (err) {
		log_warn("Takeover failed, going on: %s", util_error(-err));
		hang_up(t);
		return;
	}
	log_info("Somebody else has taken over, exiting");
	t->phase = TAKEOVER_GIVEN;
	handover_given(t->h);
	loop_quit(t->loop, EXIT_SUCCESS);
}

/* Waits for hang-up; any byte would be nonsense, and no reason to stay */
void takeover_leave(struct takeover *t)
{
	struct fdlist none = { 0 };
	char c;

	if (t->fd < 0 || t->phase != TAKEOVER_GIVEN)
		return;
	set_patience(t->fd, TAKEOVER_LEAVE_S);
	(void)receive(t->fd, &c, sizeof(c), 0, &none);
	drop_fds(&none);
}

int takeover_store(struct takeover *t, struct fdstore *s)
{
	struct wr w;
	int more, err;

	if (!t->buf)
		return -ENOSYS;
	if (t->fd >= 0)
		hang_up(t);
	handover_begin(t->h);
	err = fdstore_begin(s);
	w = wr_init(t->buf, TAKEOVER_BUF);
	introduce(t, &w);
	if (!err)
		err = fdstore_put(s, t->buf, w.len, NULL, 0);
	for (more = 1; more && !err;) {
		w = wr_init(t->buf, TAKEOVER_BUF);
		more = gather(t, &w);
		err = more < 0 ? more : fdstore_put(s, t->buf, w.len, t->fds.fd,
						    t->fds.n);
	}
	t->fds = (struct fdlist){ 0 };
	err = err ? err : fdstore_done(s);
	if (!err)
		handover_given(t->h);
	return err;
}

/* --- the one that takes ---------------------------------------------------- */

static _Noreturn void fail(const char *why)
{
	die("Can't take over: %s", why);
}

static int connect_to(const struct sockaddr_un *a, socklen_t len)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		fail(util_error(errno));
	set_patience(fd, TAKEOVER_STEP_S);
	if (connect(fd, (const struct sockaddr *)a, len))
		die("Can't take over: nobody to take over from there: %s",
		    util_error(errno));
	return fd;
}

/* Anybody may take the name of the socket, but not the PID */
static void check_process(int fd, long pid)
{
	struct ucred u;
	socklen_t len = sizeof(u);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &u, &len))
		fail(util_error(errno));
	if (u.pid != pid || u.uid != geteuid())
		die("Can't take over: it is not process %ld of ours that "
		    "answers", pid);
}

static int connect_by_number(long pid)
{
	struct sockaddr_un a;
	socklen_t len = name_of(&a, pid);
	int fd = connect_to(&a, len);

	check_process(fd, pid);
	return fd;
}

static int connect_by_path(const char *path)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };

	if (strlen(path) >= sizeof(a.sun_path))
		fail("the path is too long");
	strcpy(a.sun_path, path);
	return connect_to(&a, sizeof(a));
}

/* Read more into @buf */
static void read_more(struct takeover *t)
{
	ssize_t n;

	if (t->at) {
		t->end -= t->at;
		memmove(t->buf, t->buf + t->at, t->end);
		t->at = 0;
	}
	tidy(&t->fds);
	if (t->end == TAKEOVER_BUF)
		fail("what is told is too long");
	if (t->store)
		n = read(t->fd, t->buf + t->end, TAKEOVER_BUF - t->end);
	else
		n = receive(t->fd, t->buf + t->end, TAKEOVER_BUF - t->end, 0,
			    &t->fds);
	if (!n)
		fail("it has hung up");
	if (n < 0)
		fail(util_error(n == -EAGAIN ? ETIMEDOUT : (int)-n));
	t->end += (size_t)n;
}

/* A control socket greets everybody: skip that */
static void find_head(struct takeover *t)
{
	struct rd r;

	for (;;) {
		uint8_t *p = memchr(t->buf + t->at, STATE_FIRST,
				    t->end - t->at);

		t->at = p ? (size_t)(p - t->buf) : t->end;
		if (t->end - t->at < STATE_HEAD) {
			read_more(t);
			continue;
		}
		r = rd_init(t->buf + t->at, STATE_HEAD);
		switch (state_check(&r)) {
		case 0:
			t->at += STATE_HEAD;
			return;
		case -ENOTSUP:
			fail("it is of a newer version");
		default:
			t->at++;
		}
	}
}

static bool next_section(struct takeover *t, uint32_t *tag, struct rd *body)
{
	struct rd r = rd_init(t->buf + t->at, t->end - t->at);

	if (!rd_left(&r) || !state_next(&r, tag, body))
		return false;
	t->at = (size_t)(r.p - t->buf);
	return true;
}

static void wait_section(struct takeover *t, uint32_t *tag, struct rd *body)
{
	while (!next_section(t, tag, body))
		read_more(t);
	if (*tag == STATE_REFUSAL)
		die("Can't take over: %.*s",
		    (int)MIN(rd_left(body), (size_t)REASON), (char *)body->p);
}

static void take_offer(struct takeover *t, struct rd *r)
{
	unsigned mode = rd_u8(r), i;

	if (mode != t->h->conf->mode)
		fail("that is another kind of daemon: passt, passt "
		     "--vhost-user or pasta");
	if (rd_u8(r) != t->h->conf->splice_only)
		fail("only one of both has --splice-only");
	t->ns.dev = rd_be64(r);
	t->ns.ino = rd_be64(r);
	for (i = 0; i < HANDOVER_SOCKETS && rd_left(r); i++)
		t->sockets |= (uint8_t)((rd_u8(r) & 1) << i);
	if (!rd_ok(r))
		fail("the offer is none");
}

static void take_lan(struct takeover *t, const struct rd *body)
{
	uint8_t *aside = t->buf + TAKEOVER_BUF - MESSAGE;
	size_t len = rd_left(body);

	if (len > MESSAGE)
		fail("what it tells of the guest's link is too long");
	memcpy(aside, body->p, len);
	t->lan = rd_init(aside, len);
}

bool takeover_by_number(const char *target)
{
	uint64_t pid;

	return util_parse_u64(target, 10, INT32_MAX, &pid);
}

static void hear_offer(struct takeover *t)
{
	struct rd body;
	uint32_t tag;

	find_head(t);
	do {
		wait_section(t, &tag, &body);
		if (tag == STATE_OFFER)
			take_offer(t, &body);
		else if (tag == STATE_LAN)
			take_lan(t, &body);
	} while (tag != STATE_END);
}

void takeover_resume(struct takeover *t, struct fdstore *s)
{
	t->store = s;
	t->fd = s->from;
	t->buf = util_map(TAKEOVER_BUF);
	if (!t->buf)
		fail("there is no memory");
	hear_offer(t);
}

/* Our parent has gone, and we are the child of whoever reaps orphans */
static void orphaned(void *owner, uint64_t ref, uint32_t events)
{
	struct takeover *t = owner;

	(void)ref;
	(void)events;
	if (t->parent >= 0)
		close(t->parent);
	close(t->giver);
	t->parent = t->giver = -1;
}

void takeover_ask(struct takeover *t, const char *target)
{
	uint8_t head[STATE_HEAD];
	struct wr w = wr_init(head, sizeof(head));

	if (!t->known)
		fail("there is no /proc");
	t->buf = util_map(TAKEOVER_BUF);
	if (!t->buf)
		fail("there is no memory");
	t->fd = takeover_by_number(target) ? connect_by_number(atol(target)) :
					     connect_by_path(target);
	if (!t->h->conf->foreground)
		t->parent = (int)syscall(SYS_pidfd_open, getpid(), 0);
	t->orphan = loop_watch(t->loop, orphaned, t);
	state_head(&w);
	if (send_all(t->fd, head, w.len, NULL, 0))
		fail("it has hung up");
	hear_offer(t);
}

void takeover_serves(struct takeover *t, int netns)
{
	struct takeover_place p = { 0 };

	if (netns >= 0 && !place_of(netns, &p))
		return;
	if (t->fd >= 0 && !same_place(&p, &t->ns))
		fail("it serves another namespace");
	t->ns = p;
}

bool takeover_has(const struct takeover *t, unsigned number)
{
	return t->sockets >> number & 1;
}

void takeover_load_lan(struct takeover *t)
{
	if (!handover_load_lan(t->h, &t->lan))
		fail("what it tells of the guest's link is not complete");
}

static int say_take(struct takeover *t)
{
	uint8_t text[STATE_SECTION];
	struct wr w = wr_init(text, sizeof(text));

	state_end(&w, state_begin(&w, STATE_TAKE));
	/* something may be in the predecessor's way for a while */
	set_patience(t->fd, TAKEOVER_READY_MS / 1000 + TAKEOVER_STEP_S);
	return send_all(t->fd, text, w.len, t->proof, ARRAY_SIZE(t->proof));
}

void takeover_take(struct takeover *t)
{
	struct rd body;
	uint32_t tag;
	int err = t->store ? 0 : say_take(t);

	handover_begin(t->h);
	while (!err && !t->h->whole) {
		wait_section(t, &tag, &body);
		/* Times count from when everything was sent */
		if (!t->h->linked)
			loop_clock(t->loop);
		if (t->store) {
			tidy(&t->fds);
			fdstore_feed(t->store, &t->fds);
		} else {
			set_patience(t->fd, TAKEOVER_STEP_S);
		}
		err = handover_load(t->h, tag, &body, &t->fds);
	}
	if (!err && !t->h->linked)
		err = -EPROTO;
	if (err)
		fail(util_error(-err));
	drop_fds(&t->fds);
	munmap(t->buf, TAKEOVER_BUF);
	t->buf = NULL;
	if (t->store) {
		fdstore_end(t->store);
		t->fd = -1;
	}
}

int takeover_commit(struct takeover *t)
{
	int err;

	if (t->store)
		return 0;
	err = say(t->fd, STATE_COMMIT);
	if (!err)
		err = hear(t->fd, STATE_GONE, &t->fds);
	/* Nothing can be said to us from here on, but may have been until now: without
	 * that, both would go
	 * #syscalls shutdown */
	if (err == -ETIMEDOUT && !shutdown(t->fd, SHUT_RDWR) &&
	    !hear(t->fd, STATE_GONE, &t->fds))
		err = 0;
	t->giver = t->fd;
	t->fd = -1;
	if (t->parent < 0 ||
	    loop_add(t->loop, t->parent, t->orphan, 0, EPOLLIN))
		orphaned(t, 0, 0);
	return err;
}
