/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Toy sockets: sock.h without a kernel.
 *
 * Streams carry no bytes, only counts: a byte's value is a function of its
 * place (pattern()), so what the product writes is judged as it comes, and
 * what it reads is made on the spot.  The behaviour is Linux': tcp_poll()'s
 * masks, wake-ups and SOCK_NOSPACE, errors that are reported once, a reset for
 * a close with unread bytes, a receive queue that outlives a reset.
 */
#include "sim.h"
#include "iov.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

const struct far_ops *far_ops;
struct toy_net toy_net;
static struct sock *all;
static uint16_t ephemeral;

void sock_reset(void)
{
	memset(&toy_net, 0, sizeof(toy_net));
	host_reset();
	all = NULL;
	ephemeral = 50000;
}

/* A call that fails, of those that the namespace's connections need */
static bool fails(void)
{
	bool f = chance(toy_net.splice_fails);

	toy_net.failed += f;
	return f;
}

struct sock *sock_all(void)
{
	return all;
}

static struct sock *get(int fd)
{
	return container_of(toy_get(fd), struct sock, toy);
}

/* --- what poll() says ----------------------------------------------------- */

static size_t used(const struct sock *s)
{
	return (size_t)(s->tx - s->tx_seen) + s->tx_waste;
}

/* sk_stream_is_writeable(): a third of the buffer must be free */
static bool writable(const struct sock *s)
{
	return used(s) < s->tx_cap && s->tx_cap - used(s) >= used(s) / 2;
}

static uint32_t poll_stream(struct sock *s)
{
	uint32_t m = 0;
	bool rcv_shut = s->fin_rx || s->state == S_DOWN;
	bool snd_shut = s->fin_tx || s->state == S_DOWN;

	if (s->state == S_NEW || s->state == S_DOWN || (rcv_shut && snd_shut))
		m |= EPOLLHUP;
	if (rcv_shut)
		m |= EPOLLIN | EPOLLRDHUP;
	if (s->err || s->errs)
		m |= EPOLLERR;
	if (s->state == S_CONNECTING)
		return m;
	if (s->rx > s->rx_read)
		m |= EPOLLIN;
	if (s->rx_read < s->urgent)
		m |= EPOLLPRI;
	if (snd_shut || writable(s))
		m |= EPOLLOUT;
	else
		s->nospace = true;
	return m;
}

static uint32_t poll_sock(struct toy *t)
{
	struct sock *s = container_of(t, struct sock, toy);

	switch (s->kind) {
	case S_TCP:
		return poll_stream(s);
	case S_LISTEN:
		return s->queue ? EPOLLIN : 0;
	default:
		return EPOLLOUT | (s->in ? EPOLLIN : 0) |
		       (s->err || s->errs ? EPOLLERR : 0);
	}
}

static struct sock *make(enum sock_kind k, bool v4)
{
	struct sock *s = calloc(1, sizeof(*s));

	s->kind = k;
	s->v4 = v4;
	s->inside = toy_net.inside;
	s->toy.fd = -1;
	s->local = s->peer = addr_any(v4);
	s->tx_cap = toy_net.tx_cap ? toy_net.tx_cap : 1 << 18;
	s->rx_cap = toy_net.rx_cap ? toy_net.rx_cap : 1 << 18;
	s->refuse = toy_net.refuse;
	s->in_end = &s->in;
	s->all = all;
	all = s;
	return s;
}

/* make_fd - a socket with a descriptor, or the error that was ordered */
static int make_fd(enum sock_kind k, bool v4, struct sock **out)
{
	if (toy_net.open_fails) {
		toy_net.open_fails--;
		return toy_net.open_err ? toy_net.open_err : -EMFILE;
	}
	*out = make(k, v4);
	toy_open(&(*out)->toy, poll_sock);
	return (*out)->toy.fd;
}

struct sock *sock_last(enum sock_kind k)
{
	struct sock *s = NULL;

	for (s = all; s; s = s->all)
		if (s->kind == k && s->toy.fd >= 0)
			return s;
	return NULL;
}

void sock_accept_fails(int err)
{
	struct sock *s;

	for (s = all; s; s = s->all)
		if (s->kind == S_LISTEN && s->toy.fd >= 0)
			s->accept_err = err;
}

static void kick(struct sock *s)
{
	sim.progress++;
	if (s->kicked)
		s->kicked(s);
	else if (far_ops && far_ops->kick)
		far_ops->kick(s);
}

/* --- the far end ---------------------------------------------------------- */

void far_connected(struct sock *s)
{
	if (s->state != S_CONNECTING)
		return;
	s->state = S_UP;
	trace("  fd %d connected", s->toy.fd);
	toy_wake(&s->toy, 0);
}

void far_refused(struct sock *s, int err)
{
	if (s->state != S_CONNECTING)
		return;
	trace("  fd %d refused: %s", s->toy.fd, strerror(err));
	s->state = S_DOWN;
	s->err = err;
	toy_wake(&s->toy, 0);
}

size_t far_write(struct sock *s, size_t n)
{
	size_t room = s->rx_cap - MIN(s->rx_cap, (size_t)(s->rx - s->rx_read));

	if (s->state != S_UP || s->fin_rx)
		return 0;
	if (s->orphan) { /* nobody reads any more: tcp_rcv_state_process() */
		s->rst_tx = true;
		kick(s);
		return 0;
	}
	n = MIN(n, room);
	s->rx += n;
	if (n) {
		trace("  far writes %zu to fd %d", n, s->toy.fd);
		toy_wake(&s->toy, EPOLLIN);
	}
	return n;
}

size_t far_urgent(struct sock *s, size_t n)
{
	uint64_t before = s->rx;

	n = far_write(s, n);
	if (s->rx == before)
		return n;
	s->urgent = s->rx;
	trace("  the last one is urgent");
	toy_wake(&s->toy, EPOLLIN | EPOLLPRI);
	return n;
}

size_t far_read(struct sock *s, size_t n)
{
	if (s->rst_tx)
		return 0;
	n = MIN(n, (size_t)(s->tx - s->tx_seen));
	s->tx_seen += n;
	if (s->tx_seen == s->tx)
		s->tx_waste = 0;
	if (n)
		trace("  far reads %zu from fd %d", n, s->toy.fd);
	if (s->nospace && writable(s)) {
		s->nospace = false;
		toy_wake(&s->toy, EPOLLOUT);
	}
	return n;
}

void far_fin(struct sock *s)
{
	if (s->fin_rx || s->state != S_UP)
		return;
	trace("  far FIN to fd %d", s->toy.fd);
	s->fin_rx = true;
	toy_wake(&s->toy, 0);
}

void far_reset(struct sock *s, int err)
{
	if (s->state == S_DOWN || s->orphan) {
		s->state = S_DOWN;
		return;
	}
	trace("  far resets fd %d", s->toy.fd);
	s->err = err ? err : s->fin_rx ? EPIPE : ECONNRESET;
	s->state = S_DOWN;
	toy_wake(&s->toy, 0);
}

/* far_close - close(), as Linux does it: reset if there are unread bytes */
void far_close(struct sock *s)
{
	if (s->tx > s->tx_seen)
		far_reset(s, 0);
	else
		far_fin(s);
	s->far_closed = true;
}

static bool hears(const struct sock *l, const struct addr *to, uint16_t port)
{
	return l->toy.fd >= 0 && l->local_port == port &&
	       l->inside == toy_net.inside &&
	       (l->dual || (l->v4 == addr_is_v4(to) &&
			    (addr_is_unspecified(&l->local) ||
			     addr_equal(&l->local, to))));
}

/* What the kernel does for who is bound to a group: there are members, filters */
static bool is_for(const struct sock *s, const struct addr *from,
		   const struct addr *to, uint16_t port)
{
	unsigned i;

	if (s->kind != S_GROUP || !s->local_port || !hears(s, to, port) ||
	    !addr_equal(&s->group, to))
		return false;
	for (i = 0; i < s->filter.n; i++)
		if (addr_equal(&s->filter.source[i], from))
			return !s->filter.exclude;
	return s->filter.exclude;
}

static struct sock *listener(const struct addr *to, uint16_t port)
{
	struct sock *l;

	for (l = all; l; l = l->all)
		if (l->kind == S_LISTEN && hears(l, to, port))
			break;
	return l;
}

bool far_listens(const struct addr *to, uint16_t port)
{
	return !host_lacks(to) && listener(to, port);
}

struct sock *far_connect(const struct addr *from, uint16_t from_port,
			 const struct addr *to, uint16_t port)
{
	struct sock *l = listener(to, port), *s, **end;

	if (!l || host_lacks(to))
		return NULL;
	s = make(S_TCP, addr_is_v4(from));
	s->state = S_UP;
	s->peer = *from;
	s->peer_port = from_port;
	s->local = *to;
	s->local_port = port;
	for (end = &l->queue; *end; end = &(*end)->next)
		;
	*end = s;
	toy_wake(&l->toy, EPOLLIN);
	return s;
}

struct sock *far_datagram(const struct addr *from, uint16_t from_port,
			  const struct addr *to, uint16_t port, const void *p,
			  size_t len)
{
	struct sock *s, *best = NULL;
	struct dgram *d;

	for (s = host_lacks(to) ? NULL : all; s; s = s->all) {
		if ((s->kind == S_UDP || s->kind == S_PING) && s->toy.fd >= 0 &&
		    s->inside == toy_net.inside &&
		    s->local_port == port && s->peer_port == from_port &&
		    addr_equal(&s->peer, from) &&
		    (addr_is_unspecified(&s->local) ||
		     addr_equal(&s->local, to))) {
			best = s;
			break;
		}
		/* Of those that are not connected the last one */
		if ((s->kind == S_UDP_LISTEN ||
		     (s->kind == S_UDP && !s->peer_port)) &&
		    !best && hears(s, to, port) &&
		    !(s->deaf && addr_is_multicast(to)))
			best = s;
		if (!best && is_for(s, from, to, port))
			best = s;
	}
	trace("  datagram of %zu to port %u: fd %d", len, port,
	      best ? best->toy.fd : -1);
	if (!best)
		return NULL;
	d = malloc(sizeof(*d) + len + 1);
	*d = (struct dgram){ .from = *from, .to = *to, .from_port = from_port,
			     .len = len };
	memcpy(d->data, p, len);
	*best->in_end = d;
	best->in_end = &d->next;
	toy_wake(&best->toy, EPOLLIN);
	return best;
}

static void put_error(struct sock *s, const struct sock_error *e)
{
	s->errq = realloc(s->errq, (s->errs + 1) * sizeof(*s->errq));
	s->errq[s->errs++] = *e;
}

void far_error(struct sock *s, const struct sock_error *e)
{
	trace("  error %s for fd %d", strerror(e->err), s->toy.fd);
	if (e->icmp)
		put_error(s, e);
	s->err = e->err;
	s->complained = sim.now;
	toy_wake(&s->toy, 0);
}

/* --- sock.h: TCP ---------------------------------------------------------- */

void sock_init(struct sock_env *e)
{
	e->v4 = e->v6 = true;
	e->ttl4 = e->ttl6 = 64;
}

int sock_tcp(const struct sock_env *e, const struct addr *to)
{
	struct sock *s = NULL;

	(void)e;
	if ((toy_net.inside || addr_is_loopback(to)) && fails())
		return -EMFILE;
	return make_fd(S_TCP, addr_is_v4(to), &s);
}

int sock_connect(const struct sock_env *e, int fd, const struct addr *to,
		 uint16_t port)
{
	struct sock *s = get(fd);
	int err;

	(void)e;
	if (addr_is_unspecified(&s->local) && host_changes())
		s->local = *host_addr(!s->v4);
	if (s->kind == S_UDP) {
		if (addr_is_none(host_addr(!s->v4)))
			return -ENETUNREACH;
		s->peer = *to;
		s->peer_port = port;
		trace("  connect fd %d port %u", fd, port);
		return 0;
	}
	if (s->state != S_NEW)
		sim_fail("connect: fd %d in state %d", fd, s->state);
	s->peer = *to;
	s->peer_port = port;
	s->local_port = ++ephemeral;
	s->state = S_CONNECTING;
	err = far_ops->connect(s);
	trace("  connect fd %d port %u: %d", fd, port, err);
	if (!err)
		far_connected(s);
	else if (err != -EINPROGRESS)
		s->state = S_NEW;
	sim.progress++;
	return err;
}

/* As one of its kind is bound already */
static bool in_use(enum sock_kind k, const struct sock_bind *b)
{
	struct sock *s;

	for (s = all; s; s = s->all)
		if (s->kind == k && s->toy.fd >= 0 &&
		    s->inside == toy_net.inside &&
		    s->local_port == b->port &&
		    (s->dual || b->dual ||
		     (s->v4 == addr_is_v4(&b->addr) &&
		      (addr_is_unspecified(&s->local) ||
		       addr_is_unspecified(&b->addr) ||
		       addr_equal(&s->local, &b->addr)))))
			return true;
	return false;
}

static int listen_on(enum sock_kind k, const struct sock_bind *b)
{
	struct sock *s = NULL;
	int fd;

	if (in_use(k, b))
		return -EADDRINUSE;
	if (host_lacks(&b->addr))
		return -EADDRNOTAVAIL;
	fd = make_fd(k, !b->dual && addr_is_v4(&b->addr), &s);

	if (fd < 0)
		return fd;
	s->dual = b->dual;
	s->local = b->addr;
	s->local_port = b->port;
	return fd;
}

int sock_listen(const struct sock_env *e, const struct sock_bind *b)
{
	(void)e;
	return listen_on(S_LISTEN, b);
}

bool sock_holds(const struct sock_env *e, int fd, const struct sock_bind *b)
{
	(void)e;
	(void)fd;
	(void)b;
	return true;
}

int sock_accept(const struct sock_env *e, int listener, struct addr *from,
		uint16_t *from_port, struct addr *to, uint16_t *to_port)
{
	struct sock *l = get(listener), *s = l->queue;

	(void)e;
	if (!s)
		return -EAGAIN;
	if (l->accept_err) {
		int err = l->accept_err;

		l->accept_err = 0;
		return err;
	}
	if (world.loop.spare >= 0 && addr_is_loopback(&s->peer) && fails())
		return -EMFILE;
	if (chance(toy_net.accept_fails))
		return -ECONNABORTED; /* the queue stays: another try works */
	l->queue = s->next;
	toy_open(&s->toy, poll_sock);
	*from = s->peer;
	*from_port = s->peer_port;
	*to = s->local;
	*to_port = s->local_port;
	s->peeking = true;
	toy_net.accepted = s;
	trace("  accept fd %d from port %u", s->toy.fd, s->peer_port);
	kick(s);
	return s->toy.fd;
}

int sock_nodelay(int fd)
{
	(void)get(fd);
	return 0;
}

/* What recv() gives when there is nothing (left) to read */
static ssize_t nothing(struct sock *s)
{
	int err = s->err;

	if (s->fin_rx) /* SOCK_DONE is asked before sk_err */
		return 0;
	s->err = 0;
	if (err)
		return -err;
	if (s->state == S_DOWN)
		return 0; /* the error was taken before: RCV_SHUTDOWN */
	return s->state == S_NEW ? -ENOTCONN : -EAGAIN;
}

static ssize_t fill(struct sock *s, size_t off, const struct iovec *iov,
		    unsigned cnt)
{
	size_t have = (size_t)(s->rx - s->rx_read), n = 0, i;

	if (off >= have)
		return nothing(s);
	have -= off;
	/* A read ends at the mark, unless it begins there */
	if (s->rx_read + off + 1 < s->urgent)
		have = MIN(have, s->urgent - 1 - s->rx_read - off);
	for (; cnt && have; cnt--, iov++)
		for (i = 0; i < iov->iov_len && have; i++, have--)
			((uint8_t *)iov->iov_base)[i] =
				pattern(s->key[1], s->rx_read + off + n++);
	sim.progress += !!n;
	return (ssize_t)n;
}

ssize_t sock_peek(int fd, const struct iovec *iov, unsigned cnt)
{
	struct sock *s = get(fd);
	ssize_t n;

	n = fill(s, s->peek, iov, cnt);
	if (n > 0 && s->peeking)
		s->peek += (size_t)n;
	trace("  peek fd %d: %zd, now at %zu", fd, n, s->peek);
	return n;
}

int sock_peek_to(int fd, unsigned off)
{
	struct sock *s = get(fd);

	if (toy_net.peek_fails) {
		toy_net.peek_fails--;
		return -ENOMEM;
	}
	s->peek = off;
	s->peeking = true;
	trace("  peek fd %d to %u", fd, off);
	return 0;
}

static ssize_t consume(struct sock *s, size_t n)
{
	s->rx_read += n;
	s->peek -= MIN(s->peek, n);
	if (n)
		kick(s);
	return (ssize_t)n;
}

ssize_t sock_splice_read(int fd, uint8_t *p, size_t len)
{
	struct sock *s = get(fd);
	size_t have = (size_t)(s->rx - s->rx_read), i;

	/* It stands still in front of the mark (tcp_read_sock()) */
	if (s->rx_read < s->urgent)
		have = MIN(have, s->urgent - 1 - s->rx_read);
	len = MIN(len, have);
	if (!len)
		return nothing(s);
	for (i = 0; i < len; i++)
		p[i] = pattern(s->key[1], s->rx_read + i);
	return consume(s, len);
}

ssize_t sock_discard(int fd, size_t n)
{
	struct sock *s = get(fd);
	size_t have = (size_t)(s->rx - s->rx_read);

	trace("  discard fd %d: %zu of %zu", fd, n, have);
	if (toy_net.discard_fails) {
		toy_net.discard_fails--;
		return -ENOMEM;
	}
	if (!have && n)
		return nothing(s);
	return consume(s, MIN(n, have));
}

static struct dgram *take(struct sock *s)
{
	struct dgram *d = s->in;

	if (!d)
		return NULL;
	s->in = d->next;
	if (!s->in)
		s->in_end = &s->in;
	sim.progress++;
	return d;
}

ssize_t sock_recv(int fd, const struct iovec *iov, unsigned cnt)
{
	struct sock *s = get(fd);
	struct dgram *d;
	ssize_t n;

	if (s->kind != S_TCP) {
		d = take(s);
		if (!d)
			return -EAGAIN;
		n = (ssize_t)iov_write(iov, cnt, 0, d->data, d->len);
		free(d);
		return n;
	}
	n = fill(s, 0, iov, cnt);
	trace("  recv fd %d: %zd", fd, n);
	return n > 0 ? consume(s, (size_t)n) : n;
}

static void refused_for_now(void *arg)
{
	struct sock *s = arg;

	if (s->nospace && s->toy.fd >= 0) {
		s->nospace = false;
		toy_wake(&s->toy, EPOLLOUT);
	}
}

/* judge - bytes must be those of this place in the stream */
static void judge(struct sock *s, const struct iovec *iov, unsigned cnt,
		  size_t len)
{
	uint64_t at = s->tx, end = s->tx + len;
	size_t i;

	for (; at < end && cnt; cnt--, iov++)
		for (i = 0; i < iov->iov_len && at < end; i++, at++)
			if (((uint8_t *)iov->iov_base)[i] !=
			    pattern(s->key[0], at))
				sim_fail("fd %d: wrong byte at %llu",
					 s->toy.fd, (unsigned long long)at);
}

static ssize_t send_stream(struct sock *s, const struct iovec *iov,
			   unsigned cnt)
{
	size_t len = iov_size(iov, cnt), n;

	if (s->err) {
		int err = s->err;

		s->err = 0;
		return -err;
	}
	if (s->state == S_CONNECTING)
		return -EAGAIN;
	if (s->state != S_UP || s->fin_tx)
		return -EPIPE;
	n = MIN(len, s->tx_cap - MIN(s->tx_cap, used(s)));
	if (n && chance(s->refuse)) { /* short of memory, for a while */
		n = rnd_to(n);
		sim_after(rnd_in(50 * US, 30 * MS), refused_for_now, s);
	}
	if (n < len)
		s->nospace = true;
	if (!n && len)
		return -EAGAIN;
	judge(s, iov, cnt, n);
	s->tx += n;
	s->tx_waste += 64; /* the kernel's own overhead */
	if (s->far_closed) {
		far_reset(s, 0);
		return (ssize_t)n;
	}
	kick(s);
	return (ssize_t)n;
}

static void to_far(struct sock *s, const uint8_t *p, size_t len,
		   const struct addr *to, uint16_t port)
{
	sim.progress++;
	s->last = *to;
	s->last_port = port;
	trace("  fd %d sends datagram of %zu", s->toy.fd, len);
	if (s->app)
		toy_net.dgrams->gets(s, p, len);
	else if (far_ops->datagram)
		far_ops->datagram(s, p, len, to, port);
}

ssize_t sock_send(int fd, const struct iovec *iov, unsigned cnt)
{
	struct sock *s = get(fd);
	static uint8_t buf[65536];
	ssize_t n;

	if (s->kind == S_TCP) {
		n = send_stream(s, iov, cnt);
		trace("  send fd %d: %zd of %zu", fd, n, iov_size(iov, cnt));
		return n;
	}
	if (host_lacks(&s->local))
		return -EINVAL;
	n = (ssize_t)iov_read(iov, cnt, 0, buf, sizeof(buf));
	to_far(s, buf, (size_t)n, &s->peer, s->peer_port);
	return n;
}

uint32_t sock_unread(int fd)
{
	const struct sock *s = get(fd);

	return (uint32_t)(s->rx - s->rx_read);
}

uint32_t sock_undelivered(int fd)
{
	return (uint32_t)used(get(fd));
}

ssize_t sock_room(int fd)
{
	struct sock *s = get(fd);

	return (ssize_t)(s->tx_cap - MIN(s->tx_cap, used(s)));
}

size_t sock_rcvbuf(int fd)
{
	return get(fd)->rx_cap;
}

bool sock_count(int fd, struct sock_count *c)
{
	(void)fd;
	(void)c;
	return false;
}

int sock_shut_write(int fd)
{
	struct sock *s = get(fd);

	if (s->state != S_UP)
		return -ENOTCONN;
	trace("  shutdown fd %d", fd);
	s->fin_tx = true;
	toy_wake(&s->toy, 0);
	kick(s);
	return 0;
}

int sock_keepalive(int fd)
{
	get(fd)->keepalive++;
	return 0;
}

int sock_error(int fd)
{
	struct sock *s = get(fd);
	int err = s->err;

	s->err = 0;
	return -err;
}

int sock_connected(int fd, uint32_t events)
{
	int err = events & (EPOLLERR | EPOLLHUP) ? sock_error(fd) : 0;

	return err || events & (EPOLLOUT | EPOLLHUP) ? err : -EINPROGRESS;
}

static void gone(struct sock *s, bool reset)
{
	if (s->kind == S_UDP && s->app)
		toy_net.dgrams->closes(s);
	trace("  %s fd %d", reset ? "abort" : "close", s->toy.fd);
	toy_close(&s->toy);
	for (; s->kind == S_LISTEN && s->queue; s->queue = s->queue->next) {
		s->queue->rst_tx = true;
		kick(s->queue);
	}
	/* One that is closed already will not come again */
	if (s->kind != S_TCP || (s->moves && !(s->fin_rx && far_eof(s))))
		return;
	s->orphan = true;
	if (s->moves) {
		kick(s);
		return;
	}
	if (reset || s->rx > s->rx_read)
		s->rst_tx = true;
	else
		s->fin_tx = true;
	kick(s);
}

void sock_close(int fd)
{
	if (fd < TOY_FD)
		close(fd);
	else
		gone(get(fd), false);
}

void sock_abort(int fd)
{
	gone(get(fd), true);
}

/* --- sock.h: UDP, echo ---------------------------------------------------- */

/* Of one datagram at least, which the socket was to be for */
static bool dgram_fails(void)
{
	if (!chance(toy_net.dgram_fails))
		return false;
	toy_net.dgram_lost++;
	toy_net.dgram_failed = sim.now;
	return true;
}

/* One of dgrams.c, which may get something between bind() and connect() */
static int udp_of(void *app, const struct sock_bind *b, const struct addr *to,
		  uint16_t to_port, bool any_port)
{
	bool v4 = addr_is_v4(to), busy = chance(toy_net.dgram_fails);
	struct sock *s = NULL;
	int fd = b->fresh - 1;

	if (fd >= 0)
		s = get(fd);
	else if (dgram_fails())
		return -EMFILE;
	else
		fd = make_fd(S_UDP, v4, &s);
	if (fd < 0)
		return fd;
	if (s->kind != S_UDP || s->v4 != v4 || s->local_port || s->app ||
	    s->inside != !!b->fresh || !b->shared)
		sim_fail("fd %d is not one to be bound", fd);
	if (busy && !any_port && toy_net.dgram_any)
		sim_fail("fd %d: no other port will do", fd);
	if (busy && !any_port) {
		toy_net.dgram_lost++;
		toy_net.dgram_failed = sim.now;
		sock_close(fd);
		return -EADDRINUSE;
	}
	s->local = b->addr;
	s->local_port = b->port && !busy ? b->port : ++ephemeral;
	s->app = app;
	s->toy.unwatchable = dgram_fails();
	toy_net.inside = s->inside;
	toy_net.dgrams->bound(s);
	toy_net.inside = false;
	s->peer = *to;
	s->peer_port = to_port;
	if (addr_is_unspecified(&s->local))
		s->local = addr_is_loopback(to) ? addr_loopback(v4) : *to;
	trace("  fd %d is bound to %u, connected to %u", fd, s->local_port,
	      to_port);
	return fd;
}

int sock_udp(const struct sock_env *e, const struct sock_bind *b,
	     const struct addr *to, uint16_t to_port, bool any_port)
{
	struct sock *s = NULL;
	void *app;
	int fd;

	(void)e;
	app = toy_net.dgrams && b && to && to_port ?
		      toy_net.dgrams->claim(b, to, to_port) : NULL;
	if (app)
		return udp_of(app, b, to, to_port, any_port);
	if (b && b->fresh)
		sim_fail("a socket of the namespace for nobody");
	if (toy_net.bound_fails && b && b->port) {
		toy_net.bound_fails--;
		if (!any_port)
			return -EADDRINUSE;
		b = NULL;
	}
	fd = make_fd(S_UDP, to ? addr_is_v4(to) : addr_is_v4(&b->addr), &s);
	if (fd < 0)
		return fd;
	if (to && to_port) {
		s->peer = *to;
		s->peer_port = to_port;
	}
	if (b && !addr_is_none(&b->addr))
		s->local = b->addr;
	s->local_port = b && b->port ? b->port : ++ephemeral;
	return fd;
}

void sock_group(const struct sock_env *e, int fd, bool v4)
{
	(void)e;
	(void)v4;
	get(fd)->deaf = true;
}

int sock_udp_fresh(bool v4)
{
	struct sock *s;

	return dgram_fails() ? -EMFILE : make_fd(S_UDP, v4, &s);
}

int sock_udp_listen(const struct sock_env *e, const struct sock_bind *b)
{
	(void)e;
	return listen_on(S_UDP_LISTEN, b);
}

int sock_make(const struct sock_env *e, bool v4, int type, int proto)
{
	struct sock *s;

	(void)type;
	(void)proto;
	(void)e;
	return make_fd(S_GROUP, v4, &s);
}

int sock_udp_group(const struct sock_env *e, const struct addr *group,
		   uint16_t port)
{
	const struct sock_bind b = { .addr = *group, .port = port };

	(void)e;
	return listen_on(S_GROUP, &b);
}

int sock_join(int fd, const struct addr *group, unsigned ifindex,
	      const struct sock_sources *f, bool again)
{
	struct sock *s = get(fd);

	if (!ifindex || addr_is_none(&s->group) == again)
		sim_fail("joined twice, or not at all");
	s->group = *group;
	s->filter = *f;
	return 0;
}

bool sock_port_free(const struct sock_env *e, bool v4, uint16_t port)
{
	(void)e;
	(void)v4;
	(void)port;
	return true;
}

bool sock_gro(int fd)
{
	return get(fd)->gro = world.env.gro;
}

void sock_set_ip(int fd, bool v4, struct sock_ip *now, struct sock_ip ip)
{
	(void)v4;
	get(fd)->ip = *now = ip;
}

void sock_hear_errors(int fd, bool v4)
{
	(void)v4;
	get(fd)->hears = true;
}

unsigned sock_path_mtu(int fd, bool v4)
{
	(void)v4;
	return get(fd)->path_mtu;
}

bool sock_lives(int fd)
{
	return get(fd)->state == S_UP;
}

void sock_hear_tos(int fd, bool v4)
{
	(void)fd;
	(void)v4;
}

int sock_local(int fd, struct addr *a, uint16_t *port)
{
	struct sock *s = get(fd);

	*a = addr_is_unspecified(&s->local) ? *host_addr(!s->v4) : s->local;
	*port = s->local_port;
	return 0;
}

/* UDP_GRO: datagrams of one size, the last may be shorter, come as one */
static void join(struct sock *s, struct sock_dgram *d, size_t size)
{
	/* One packet's, as the kernel gathers them */
	size_t room = MIN(iov_size(d->iov, d->iov_cnt),
			  s->v4 ? 65507UL : 65487UL);
	unsigned n = 1;

	while (s->gro && s->in && size && n < 64 && s->in->len <= size &&
	       s->in->len && d->len + s->in->len <= room &&
	       addr_equal(&s->in->from, &d->from) &&
	       s->in->from_port == d->from_port) {
		struct dgram *g = take(s);
		bool last = g->len < size;

		d->len += iov_write(d->iov, d->iov_cnt, d->len, g->data,
				    g->len);
		d->gso_size = (uint16_t)size;
		free(g);
		n++;
		if (last)
			break;
	}
}

unsigned sock_waiting(int fd)
{
	const struct dgram *g;
	unsigned n = 1;

	for (g = get(fd)->in; g; g = g->next)
		n++;
	return n;
}

int sock_recv_dgrams(int fd, struct sock_dgram *d, unsigned n, bool addrs)
{
	struct sock *s = get(fd);
	unsigned i;

	(void)addrs;
	if (n > SOCK_BATCH)
		sim_fail("sock_recv_dgrams: %u at a time", n);
	if (s->err) {
		int err = s->err;

		s->err = 0;
		return -err;
	}
	if (s->app && chance(toy_net.dgram_fails)) {
		toy_net.dgram_failed = sim.now;
		return -ENOMEM;
	}
	for (i = 0; i < n && s->in; i++) {
		struct dgram *g = take(s);

		d[i].gso_size = 0;
		d[i].from = g->from;
		d[i].from_port = g->from_port;
		d[i].to = g->to;
		d[i].len = iov_write(d[i].iov, d[i].iov_cnt, 0, g->data,
				     g->len);
		d[i].truncated = d[i].len < g->len;
		join(s, &d[i], g->len);
		free(g);
	}
	trace("  fd %d: %u datagrams", fd, i);
	return i ? (int)i : -EAGAIN;
}

/* What goes in one packet, if it has to */
static size_t link_room(const struct sock *s)
{
	bool v4 = addr_is_v4(&s->peer);
	unsigned mtu = world.lan.host_mtu[!v4];

	return !mtu || s->ip.df != SOCK_DF_SET ? 65507 :
						 mtu - (v4 ? 28 : 48);
}

static int refused_df(struct sock *s)
{
	bool v4 = addr_is_v4(&s->peer);
	struct sock_error e = { .err = EMSGSIZE,
				.mtu = world.lan.host_mtu[!v4] };

	put_error(s, &e);
	return -EMSGSIZE;
}

static int send_one(struct sock *s, const struct sock_dgram *d, bool first)
{
	static uint8_t buf[65536];
	size_t n = iov_read(d->iov, d->iov_cnt, 0, buf, sizeof(buf));
	size_t size = d->gso_size ? d->gso_size : n, off = 0;

	if (d->gso_size && (!world.env.gso || chance(toy_net.gso_fails) ||
			    n > SOCK_GSO_BYTES ||
			    n > (size_t)d->gso_size * SOCK_GSO_SEGMENTS))
		return world.env.gso ? -EIO : -EINVAL;
	if (host_lacks(&s->local))
		return -EINVAL;
	if (n > 65507)
		return -EMSGSIZE;
	if (size > link_room(s))
		return refused_df(s);
	if (s->app && toy_net.dgrams->bars(s, buf, n, first))
		return -EPERM;
	do {
		to_far(s, buf + off, MIN(size, n - off),
		       d->to_port ? &d->to : &s->peer,
		       d->to_port ? d->to_port : s->peer_port);
		off += size;
	} while (off < n);
	return 0;
}

/* One of dgrams.c is full, or there is no memory: whoever sends does not wait */
static int refused(struct sock *s, unsigned n)
{
	bool counted = s->barred; /* if this is its second chance */

	s->barred = false;
	if (!s->app || !chance(toy_net.dgram_fails) || counted)
		return 0;
	s->refused += n;
	s->given += n;
	s->used = sim.now;
	toy_net.dgram_lost += n;
	return chance(500) ? -EAGAIN : -ENOBUFS;
}

int sock_send_dgrams(int fd, const struct sock_dgram *d, unsigned n)
{
	struct sock *s = get(fd);
	unsigned i;
	int err = s->err;

	if (err) {
		s->err = 0;
		return -err;
	}
	err = refused(s, n);
	if (err)
		return err;
	for (i = 0; i < n; i++) {
		/* What the first one has met with is told of the next */
		if (i && s->err)
			return (int)i;
		err = i && chance(toy_net.udp_refuse) ? -EAGAIN :
							send_one(s, &d[i], !i);
		if (err)
			return i ? (int)i : err;
	}
	return (int)n;
}

int sock_send_cut(int fd, bool v4, struct sock_ip *ip,
		  const struct sock_dgram *d)
{
	struct sock *s = get(fd);
	int ret;

	(void)v4;
	s->ip.df = SOCK_DF_CLEAR;
	ret = sock_send_dgrams(fd, d, 1);
	s->ip = *ip;
	return ret;
}

void far_queues_error(struct sock *s, int err)
{
	const struct sock_error e = { .err = err, .icmp = true };

	if (s->state != S_CONNECTING)
		return;
	trace("  fd %d is about to be refused", s->toy.fd);
	put_error(s, &e);
	toy_wake(&s->toy, 0);
}

bool sock_error_next(int fd, struct sock_error *e)
{
	struct sock *s = get(fd);

	if (s->errs) {
		*e = s->errq[0];
		memmove(s->errq, s->errq + 1, --s->errs * sizeof(*s->errq));
		sim.progress++;
		return true;
	}
	if (!s->err)
		return false;
	memset(e, 0, sizeof(*e));
	e->err = s->err;
	s->err = 0;
	return true;
}

int sock_ping(const struct sock_env *e, const struct addr *to, uint16_t id,
	      bool *open)
{
	*open = false;
	struct sock *s = NULL;
	int fd = make_fd(S_PING, addr_is_v4(to), &s);

	(void)e;
	if (fd < 0)
		return fd;
	s->peer = *to;
	s->local_port = id;
	if (toy_net.bound_fails) {
		toy_net.bound_fails--;
		s->local_port = ++ephemeral;
	}
	return fd;
}
