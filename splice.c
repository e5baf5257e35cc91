/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * splice - stream flows between two sockets, past the guest's link
 *
 * A flow has two ways, one from each side to the other.  A few bytes are copied
 * through a buffer, in two calls.  When that was full, a pipe is borrowed and
 * the kernel moves pages.  Whatever the destination does not take at once waits
 * in a pipe, which is lent until it is empty; an idle connection has none.  If
 * no pipe is available, bytes are peeked at, sent, and then removed as far as
 * they were sent: slower, but nothing has to be kept.
 *
 * The state of a socket is in the flow's ready bits: IN until it has said
 * EAGAIN, OUT until it has refused bytes.  An end is passed on as soon as the
 * bytes before it are gone, a failure as a reset.
 *
 * A read ends in front of urgent data, and splice() does not get past them:
 * while there are any (READY_PRI), bytes are copied.
 */
#include "splice.h"

#include "freeze.h"
#include "log.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

enum {
	WAY_MAX = 256 << 10, /* bytes of one way, then the other has its turn */
	KEEP = 4,	  /* pipes that stay open while nobody needs them */
	READABLE = READY_IN | READY_RDHUP | READY_HUP,
};

/* One way, from a side to the other */
struct way {
	struct splice_pipe *pipe; /* lent while it holds bytes */
	size_t held;
	bool bulk; /* the last read was a large one */
	bool deaf; /* events of its source are turned off, see listen_to() */
	bool eof, shut;
};

struct ways {
	struct way way[2];
	bool connected;
	bool sent;	/* something was sent to the side that we connected
			   ... */
	bool nodelay;	/* ... which has TCP_NODELAY */
};
static_assert(sizeof(struct ways) <= FLOW_PRIV, "private data of a flow");

static struct ways *ways_of(struct flow *f)
{
	return (struct ways *)(void *)f->priv;
}

/* --- pipes -------------------------------------------------------------- */

static bool make_pipe(struct splice *s)
{
	struct splice_pipe *p = s->unmade;
	int size;

	/* #syscalls:pasta pipe2
	 * #syscalls:pasta fcntl(.,F_SETPIPE_SZ|F_GETPIPE_SZ)
	 * #syscalls:pasta fcntl64(.,F_SETPIPE_SZ|F_GETPIPE_SZ) */
	if (!p || pipe2(p->fd, O_NONBLOCK | O_CLOEXEC))
		return false;
	/* 16 pages, or less beyond a user's quota */
	size = fcntl(p->fd[1], F_GETPIPE_SZ);
	if (size < SPLICE_COPY) {
		close(p->fd[0]);
		close(p->fd[1]);
		return false;
	}
	p->size = (size_t)size;
	p->widened = false;
	s->unmade = p->next;
	p->next = s->spare;
	s->spare = p;
	s->spares++;
	return true;
}

/* Enlarge a pipe for bulk.  Only for that: the capacity of pipes counts towards
 * a quota that all of a user's daemons share.  Each slot of a pipe takes a
 * page. */
static void widen(struct splice_pipe *p)
{
	size_t want = SPLICE_PIPE;
	int size = -1;

	p->widened = true;
	for (; size < 0 && want > p->size; want /= 2)
		size = fcntl(p->fd[1], F_SETPIPE_SZ, want);
	if (size > 0)
		p->size = (size_t)size;
}

static bool have_pipe(struct splice *s)
{
	return s->spare || make_pipe(s);
}

static struct splice_pipe *borrow(struct splice *s)
{
	struct splice_pipe *p = s->spare;

	s->spare = p->next;
	s->spares--;
	return p;
}

static void unmake(struct splice *s, struct splice_pipe *p)
{
	close(p->fd[0]);
	close(p->fd[1]);
	p->next = s->unmade;
	s->unmade = p;
}

static void give_back(struct splice *s, struct splice_pipe *p)
{
	if (s->spares == KEEP) {
		unmake(s, p);
		return;
	}
	p->next = s->spare;
	s->spare = p;
	s->spares++;
}

/* --- bytes -------------------------------------------------------------- */

static void not_readable(struct flow *f, unsigned i)
{
	f->ready[i] &= (uint16_t)~(READABLE | READY_PRI);
}

static void not_writable(struct flow *f, unsigned i)
{
	f->ready[i] &= (uint16_t)~READY_OUT;
}

/* From now on nothing sent to side 1 waits until what was sent before is
 * acknowledged.  Side 0 was accepted, and has TCP_NODELAY anyway. */
static void no_delay(struct flow *f, unsigned i)
{
	struct ways *x = ways_of(f);

	if (i || x->nodelay)
		return;
	x->nodelay = true;
	(void)sock_nodelay(f->side[1].fd);
}

/* Send what is in the pipe of way @i, as far as the destination takes it */
static int drain(struct splice *s, struct flow *f, unsigned i)
{
	struct way *w = &ways_of(f)->way[i];
	ssize_t n;

	no_delay(f, i);
	while (w->held) {
		/* #syscalls:pasta splice */
		n = splice(w->pipe->fd[0], NULL, f->side[!i].fd, NULL, w->held,
			   SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
		if (n < 0 && errno == EAGAIN) {
			not_writable(f, !i);
			return 0;
		}
		if (n <= 0)
			return n ? -errno : -EIO;
		w->held -= (size_t)n;
	}
	give_back(s, w->pipe);
	w->pipe = NULL;
	return 0;
}

/* The destination did not take everything: put the rest into a pipe, which is
 * available */
static int keep(struct splice *s, struct flow *f, unsigned i,
		const uint8_t *rest, size_t len)
{
	struct way *w = &ways_of(f)->way[i];

	w->pipe = borrow(s);
	/* #syscalls:pasta write */
	if (write(w->pipe->fd[1], rest, len) != (ssize_t)len) {
		w->held = len; /* or less: it is not used again */
		return -EIO;
	}
	w->held = len;
	return drain(s, f, i);
}

static ssize_t send_some(struct flow *f, unsigned i, const void *p, size_t len)
{
	const struct iovec iov = { (void *)p, len };
	ssize_t sent = sock_send(f->side[i].fd, &iov, 1);

	if (sent == -EAGAIN) {
		not_writable(f, i);
		return 0;
	}
	return sent;
}

/* The state for reading answers on way @i, if it comes from a resolver that the
 * guest asks; else NULL */
static struct fwd_told *told_by(struct splice *s, const struct flow *f, unsigned i)
{
	return i && UNLIKELY(s->fwd->told) ? fwd_told(s->fwd, f) : NULL;
}

static void hear(struct splice *s, const struct flow *f, unsigned i, size_t len)
{
	struct fwd_told *told = told_by(s, f, i);

	if (told)
		fwd_hear_bytes(s->fwd, told, &f->side[1], s->buf, len);
}

/* Copy once.  Returns the bytes moved; 0 at the way's @eof, or if there is
 * nothing to read or no room; or -errno */
static ssize_t copy(struct splice *s, struct flow *f, unsigned i)
{
	struct way *w = &ways_of(f)->way[i];
	const struct iovec iov = { s->buf, sizeof(s->buf) };
	ssize_t n = sock_recv(f->side[i].fd, &iov, 1), sent;

	if (n == -EAGAIN)
		not_readable(f, i);
	w->eof = !n;
	if (n <= 0)
		return n == -EAGAIN ? 0 : n;
	hear(s, f, i, (size_t)n);
	if (ways_of(f)->sent || !sock_is_few((size_t)n))
		no_delay(f, i);
	ways_of(f)->sent |= !i;
	sent = send_some(f, !i, s->buf, (size_t)n);
	if (sent < 0)
		return sent;
	if (sent < n) {
		int err = keep(s, f, i, s->buf + sent, (size_t)(n - sent));

		return err ? err : n;
	}
	w->bulk = n == (ssize_t)sizeof(s->buf);
	/* A short read has drained the socket, unless its end comes next */
	if (!w->bulk && !(f->ready[i] & (READY_RDHUP | READY_HUP | READY_PRI)))
		not_readable(f, i);
	return n;
}

static ssize_t move(struct splice *s, struct flow *f, unsigned i)
{
	struct way *w = &ways_of(f)->way[i];
	struct splice_pipe *p = borrow(s);
	ssize_t n;
	int err;

	if (!p->widened)
		widen(p);
	n = splice(f->side[i].fd, NULL, p->fd[1], NULL, p->size,
		   SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
	if (n > 0) {
		w->pipe = p;
		w->held = (size_t)n;
		w->bulk = n >= SPLICE_COPY;
		err = drain(s, f, i);
		return err ? err : n;
	}
	err = n ? errno : 0;
	give_back(s, p);
	/* The end of the stream, or urgent data followed by the end */
	if (!n)
		return copy(s, f, i);
	if (err == EAGAIN)
		not_readable(f, i);
	return err == EAGAIN ? 0 : -err;
}

/* Move bytes without a pipe */
static ssize_t look_and_take(struct splice *s, struct flow *f, unsigned i)
{
	const struct iovec iov = { s->buf, sizeof(s->buf) };
	int fd = f->side[i].fd;
	ssize_t n, sent;

	/* Accepted sockets have a peek offset, which moves on by itself */
	n = sock_peek_to(fd, 0);
	if (n && n != -EOPNOTSUPP && n != -ENOPROTOOPT)
		return n;
	no_delay(f, i);
	n = sock_peek(fd, &iov, 1);
	if (n == -EAGAIN)
		not_readable(f, i);
	ways_of(f)->way[i].eof = !n;
	if (n <= 0)
		return n == -EAGAIN ? 0 : n;
	sent = send_some(f, !i, s->buf, (size_t)n);
	if (sent <= 0)
		return sent;
	hear(s, f, i, (size_t)sent);
	return sock_discard(fd, (size_t)sent);
}

static ssize_t step(struct splice *s, struct flow *f, unsigned i)
{
	if (!have_pipe(s))
		return look_and_take(s, f, i);
	if (!ways_of(f)->way[i].bulk || f->ready[i] & READY_PRI ||
	    told_by(s, f, i))
		return copy(s, f, i);
	return move(s, f, i);
}

static int pass_end(struct flow *f, unsigned i)
{
	struct ways *x = ways_of(f);
	int err;

	x->way[i].shut = true;
	if (x->way[!i].shut) /* close() will tell */
		return 0;
	err = sock_shut_write(f->side[!i].fd);
	/* The peer has reset the connection already, which the next read will
	 * show */
	return err == -ENOTCONN ? 0 : err;
}

/* Turn off events of the source while bulk waits for room, as each segment that
 * arrives would be a wake-up for nothing; but not while the source itself takes
 * no bytes */
static int listen_to(struct splice *s, struct flow *f, unsigned i)
{
	struct way *w = &ways_of(f)->way[i];
	bool deaf = w->held && w->bulk && !(f->ready[!i] & READY_OUT) &&
		    f->ready[i] & READY_OUT;
	int err;

	if (deaf == w->deaf)
		return 0;
	err = flow_hear(s->flows, f, i, !deaf);
	if (!err)
		w->deaf = deaf;
	return deaf ? 0 : err;
}

/* Move what can be moved from side @i: 0, or -errno; *@moved grows */
static int serve_way(struct splice *s, struct flow *f, unsigned i,
		     size_t *moved)
{
	struct way *w = &ways_of(f)->way[i];
	ssize_t n;
	int err;

	while (!w->shut && f->ready[!i] & READY_OUT && *moved < WAY_MAX) {
		if (w->held) {
			err = drain(s, f, i);
			if (err)
				return err;
		} else if (w->eof) {
			return pass_end(f, i);
		} else if (f->ready[i] & READABLE) {
			n = step(s, f, i);
			if (n < 0)
				return (int)n;
			*moved += (size_t)n;
		} else {
			break;
		}
	}
	return 0;
}

/* --- flows -------------------------------------------------------------- */

static void release(struct splice *s, struct way *w)
{
	if (!w->pipe)
		return;
	/* Not to be used again: it has bytes of this connection */
	unmake(s, w->pipe);
	w->pipe = NULL;
}

static void finish(struct splice *s, struct flow *f, void (*end)(int fd))
{
	unsigned i;

	for (i = 0; i < 2; i++) {
		release(s, &ways_of(f)->way[i]);
		if (f->side[i].fd >= 0)
			loop_late(s->flows->loop, end, f->side[i].fd);
	}
	flow_free(s->flows, f);
}

static void fail(struct splice *s, struct flow *f, int err)
{
	char name[FLOW_NAME];

	if (log_max >= LOG_DBG)
		log_debug("%s: %s", flow_name(s->flows, f, name, sizeof(name)),
			  util_error(-err));
	finish(s, f, sock_abort);
}

/* Like sock_connected(); the side that asked for it may have gone */
static int has_connected(struct flow *f)
{
	if (f->ready[0] & (READY_ERR | READY_HUP))
		return -ECONNRESET;
	return sock_connected(f->side[1].fd, f->ready[1]);
}

/* The pending error, 0: none.  An error that is in the error queue only does
 * not end the connection. */
static int broken(struct flow *f, unsigned i)
{
	if (!(f->ready[i] & READY_ERR))
		return 0;
	f->ready[i] &= (uint16_t)~READY_ERR;
	return sock_error(f->side[i].fd);
}

static enum run_verdict ready(void *owner, struct flow *f)
{
	struct ways *x = ways_of(f);
	struct splice *s = owner;
	size_t moved[2] = { 0 };
	int err = 0;

	if (!x->connected) {
		err = has_connected(f);
		if (err == -EINPROGRESS)
			return RUN_DONE;
		x->connected = !err;
	}
	if (!err)
		err = serve_way(s, f, 0, &moved[0]);
	if (!err)
		err = serve_way(s, f, 1, &moved[1]);
	if (!err)
		err = listen_to(s, f, 0);
	if (!err)
		err = listen_to(s, f, 1);
	flow_charge(s->flows, f, moved[0] + moved[1]);
	/* Not before: what arrived before a reset can still be read */
	if (!err)
		err = broken(f, 0);
	if (!err)
		err = broken(f, 1);
	if (err) {
		fail(s, f, err);
		return RUN_DONE;
	}
	if (x->way[0].shut && x->way[1].shut) {
		finish(s, f, sock_close);
		return RUN_DONE;
	}
	return MAX(moved[0], moved[1]) >= WAY_MAX ? RUN_AGAIN : RUN_DONE;
}

static void expire(void *owner, struct flow *f)
{
	finish(owner, f, sock_abort);
}

/* What the guest's side has sent */
static const struct way *from_guest(const struct flow *f)
{
	const struct ways *x = (const struct ways *)(const void *)f->priv;

	return &x->way[f->side[0].pif != PIF_SPLICE];
}

static uint64_t owes(void *owner, const struct flow *f)
{
	const struct way *w = from_guest(f);

	(void)owner;
	return w->held || !w->eof ? 1 + w->held : 0;
}

/* Reset at once, as there may be no other turn */
static bool cut(void *owner, struct flow *f, bool now)
{
	struct splice *s = owner;
	bool open[2];
	unsigned i;

	for (i = 0; i < 2; i++) {
		const struct way *w = &ways_of(f)->way[!i];

		open[i] = !w->eof || w->held;
		if (open[i] && !now &&
		    (w->held || sock_undelivered(f->side[i].fd)))
			return true;
	}
	for (i = 0; i < 2; i++)
		if (open[i]) {
			sock_abort(f->side[i].fd);
			f->side[i].fd = -1;
		}
	finish(s, f, sock_close);
	return false;
}

static enum flow_state state(const struct flow *f)
{
	const struct ways *x = (const struct ways *)(const void *)f->priv;
	unsigned guest = f->side[0].pif == PIF_SPLICE ? 0 : 1;

	if (!x->connected)
		return guest ? FLOW_SYN_RECV : FLOW_SYN_SENT;
	return flow_closing(x->way[guest].eof, x->way[!guest].eof);
}

static void count(const struct flow *f, struct flow_count *n)
{
	const struct ways *x = (const struct ways *)(const void *)f->priv;
	struct sock_count k = { 0 };

	n->known = sock_count(f->side[1].fd, &k);
	n->bytes[0] = k.sent;
	n->bytes[1] = k.received;
	n->queue[0] = x->way[0].held + k.unsent;
	n->queue[1] = x->way[1].held;
}

/* --- to a successor ----------------------------------------------------- */

static void freeze(void *owner, struct flow *f, struct wr *w)
{
	const struct ways *x = ways_of(f);
	unsigned i;

	(void)owner;
	for (i = 0; i < 2; i++) {
		wr_be64(w, x->way[i].held);
		wr_u8(w, x->way[i].bulk);
		wr_u8(w, x->way[i].eof);
		wr_u8(w, x->way[i].shut);
	}
	wr_u8(w, x->connected);
	wr_u8(w, x->sent);
	wr_u8(w, x->nodelay);
}

static bool thaw(void *owner, struct flow *f, struct rd *r)
{
	struct ways *x = ways_of(f);
	struct splice *s = owner;
	unsigned i;

	for (i = 0; i < 2; i++) {
		x->way[i].held = rd_be64(r);
		x->way[i].bulk = rd_u8(r) & 1;
		x->way[i].eof = rd_u8(r) & 1;
		x->way[i].shut = rd_u8(r) & 1;
	}
	x->connected = rd_u8(r) & 1;
	x->sent = rd_u8(r) & 1;
	x->nodelay = rd_u8(r) & 1;
	if (!rd_ok(r) || f->side[0].fd < 0 || f->side[1].fd < 0)
		return false;
	flow_wake(s->flows, f);
	return true;
}

static void forget(void *owner, struct flow *f)
{
	struct splice *s = owner;

	release(s, &ways_of(f)->way[0]);
	release(s, &ways_of(f)->way[1]);
	flow_free(s->flows, f);
}

void splice_pipes(const struct flow *f, int fd[2][2])
{
	const struct ways *x = (const struct ways *)(const void *)f->priv;
	unsigned i;

	for (i = 0; i < 2; i++) {
		const struct splice_pipe *p = x->way[i].pipe;

		fd[i][0] = p ? p->fd[0] : -1;
		fd[i][1] = p ? p->fd[1] : -1;
	}
}

static bool adopt(struct splice *s, struct way *w, const int fd[2])
{
	struct splice_pipe *p = s->unmade;
	int size = fd[0] < 0 ? 0 : fcntl(fd[1], F_GETPIPE_SZ);

	/* There are as many as in whom they come from */
	if (fd[0] < 0 || !p || size < SPLICE_COPY) {
		close(fd[0]);
		close(fd[1]);
		return fd[0] < 0 && !w->held;
	}
	s->unmade = p->next;
	*p = (struct splice_pipe){ .fd = { fd[0], fd[1] },
				   .size = (size_t)size };
	w->pipe = p;
	return true;
}

bool splice_adopt(struct splice *s, struct flow *f, int fd[2][2])
{
	bool first = adopt(s, &ways_of(f)->way[0], fd[0]);

	return adopt(s, &ways_of(f)->way[1], fd[1]) && first;
}

static int connect_side(struct splice *s, struct side *to)
{
	bool inside = to->pif == PIF_SPLICE;
	const struct sock_env *env = inside ? &s->ns->env : s->fwd->env;
	int fd = inside ? ns_socket(s->ns, NS_TCP, addr_is_v4(&to->theirs)) :
			  sock_tcp(env, &to->theirs);
	int err;

	if (fd < 0)
		return fd;
	to->fd = fd;
	err = sock_connect(env, fd, &to->theirs, to->their_port);
	if (err && err != -EINPROGRESS)
		return err;
	return sock_local(fd, &to->ours, &to->our_port);
}

void splice_accepted(struct splice *s, const struct rule *r,
		     const struct side *from)
{
	struct flow *f = NULL;
	struct side to;
	int err;

	/* With a rule each way on one port we would be our own client */
	if (!flow_sent(s->flows, FLOW_SPLICE, from) &&
	    fwd_splice(s->fwd, r, from, &to) == PASS)
		f = from->pif == PIF_SPLICE ?
			    flow_begin(s->flows, FLOW_SPLICE, 2) :
			    flow_accept(s->flows, FLOW_SPLICE);
	if (!f) {
		sock_abort(from->fd);
		return;
	}
	f->side[0] = *from;
	f->side[1] = to;
	if (from->pif == PIF_SPLICE)
		fwd_listen(s->fwd, f, &f->side[1]);
	err = connect_side(s, &f->side[1]);
	(void)flow_enter(s->flows, f, 1);
	/* Adding tells what happened before, so nothing is lost in between */
	if (!err)
		err = flow_watch(s->flows, f, 0);
	if (!err)
		err = flow_watch(s->flows, f, 1);
	if (err)
		fail(s, f, err);
	if (to.pif == PIF_SPLICE)
		ns_refill(s->ns, NS_TCP, addr_is_v4(&to.theirs));
}

void splice_init(struct splice *s, struct flows *flows, struct fwd *fwd,
		 struct ns *ns)
{
	static const struct flow_type type = {
		.name = "TCP (spliced)", .ready = ready, .expire = expire,
		.freeze = freeze, .thaw = thaw, .forget = forget,
		.owes = owes, .cut = cut,
		.state = state, .count = count, .free_queue = true,
	};
	unsigned i;

	memset(s, 0, offsetof(struct splice, buf));
	s->flows = flows;
	s->fwd = fwd;
	s->ns = ns;
	for (i = 0; i < SPLICE_PIPES; i++) {
		s->pipe[i].next = s->unmade;
		s->unmade = &s->pipe[i];
	}
	flows_type(flows, FLOW_SPLICE, &type, s);
}
