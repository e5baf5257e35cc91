/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * scan - looks which ports are bound in both namespaces and has listen follow
 *
 * The kernel is asked for listening TCP sockets and unconnected UDP sockets
 * alone, which takes it some microseconds.  /proc/net lists all others as well
 * and is for kernels without NETLINK_SOCK_DIAG.  Our own sockets are recognized
 * by their inodes and left out: otherwise what is forwarded one way would be
 * forwarded back.  If nothing has changed since the last look, nothing is done.
 *
 * To find even no socket the kernel walks large tables.  It is spared that
 * while /proc/net/sockstat has the counts of the last look, but only a few
 * times in a row: one socket may have been closed and another opened.
 */
#include "scan.h"

#include "log.h"

#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	PERIOD_MS = 950, /* a new server is seen within a second */
	PAUSE_MAX = 64,	 /* periods between attempts that keep failing */
	SKIP_MAX = 2,	 /* looks in a row that compare counts only */
	HOST = 0,
	SPLICE = 1,
};

static const struct {
	uint8_t number;
	uint8_t state; /* of sockets that a peer can send to */
	const char *file[2];
} proto[SCAN_PROTOS] = {
	[SCAN_TCP] = { IPPROTO_TCP, TCP_LISTEN,
		       { "/proc/net/tcp", "/proc/net/tcp6" } },
	[SCAN_UDP] = { IPPROTO_UDP, TCP_CLOSE,
		       { "/proc/net/udp", "/proc/net/udp6" } },
};

static enum pif pif_of(unsigned side)
{
	return side == SPLICE ? PIF_SPLICE : PIF_HOST;
}

/* --- what is ours ------------------------------------------------------- */

/* Whether an unconnected UDP socket is to be taken for a flow's: of the sockets
 * with one port as many are left out as there are such sockets of flows, as
 * they look like a server's */
static bool is_flow(struct scan *s, unsigned side, uint16_t port)
{
	uint32_t ours = flow_port(s->flows, pif_of(side), port)->open;
	struct scan_seen *seen;

	if (!ours)
		return false;
	seen = &s->seen[port];
	if (seen->look != s->looks)
		*seen = (struct scan_seen){ .look = s->looks };
	return seen->n++ < ours;
}

static void found(struct scan *s, unsigned side, unsigned p, uint16_t port,
		  uint32_t inode)
{
	if (!port || portmap_has(&s->now[side][p], port))
		return;
	if (listen_owns(s->listen, pif_of(side), proto[p].number, port, inode))
		return;
	if (p == SCAN_UDP && is_flow(s, side, port))
		return;
	portmap_put(&s->now[side][p], port);
}

/* --- by NETLINK_SOCK_DIAG ------------------------------------------------ */

static int ask(struct scan *s, unsigned side, struct nlmsghdr *h, size_t len)
{
	h->nlmsg_len = (uint32_t)len;
	h->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	h->nlmsg_seq = ++s->seq;
	/* #syscalls:pasta sendto */
	return send(s->diag[side], h, len, 0) < 0 ? -errno : 0;
}

/* Ask for TCP sockets with the older request, which covers both families */
static int ask_tcp(struct scan *s, unsigned side)
{
	struct {
		struct nlmsghdr h;
		struct inet_diag_req r;
	} q = {
		.h.nlmsg_type = TCPDIAG_GETSOCK,
		.r = { .idiag_family = AF_INET,
		       .idiag_states = 1U << proto[SCAN_TCP].state },
	};

	return ask(s, side, &q.h, sizeof(q));
}

static int ask_udp(struct scan *s, unsigned side, int family)
{
	struct {
		struct nlmsghdr h;
		struct inet_diag_req_v2 r;
	} q = {
		.h.nlmsg_type = SOCK_DIAG_BY_FAMILY,
		.r = { .sdiag_family = (uint8_t)family,
		       .sdiag_protocol = IPPROTO_UDP,
		       .idiag_states = 1U << proto[SCAN_UDP].state },
	};

	return ask(s, side, &q.h, sizeof(q));
}

/* Read one message of a dump; returns 0 at its end, 1 if there is more to come,
 * -errno */
static int take(struct scan *s, unsigned side, unsigned p, size_t len)
{
	const struct nlmsghdr *h = (const void *)s->buf;

	for (; NLMSG_OK(h, len); h = NLMSG_NEXT(h, len)) {
		const struct inet_diag_msg *m = NLMSG_DATA(h);
		const int *err = NLMSG_DATA(h);

		if (h->nlmsg_seq != s->seq)
			continue;
		if (h->nlmsg_type == NLMSG_ERROR)
			return *err ? *err : -EPROTO;
		/* A dump that failed has -errno in its last message */
		if (h->nlmsg_type == NLMSG_DONE)
			return h->nlmsg_len < NLMSG_LENGTH(sizeof(*err)) ?
				       0 : MIN(*err, 0);
		if (h->nlmsg_len >= NLMSG_LENGTH(sizeof(*m)))
			found(s, side, p, be16toh(m->id.idiag_sport),
			      m->idiag_inode);
	}
	return 1;
}

/* Read the answer to a request, unless sending it failed with @err; returns 0
 * or -errno */
static int answer(struct scan *s, unsigned side, unsigned p, int err)
{
	ssize_t n;
	int ret;

	if (err)
		return err;
	do {
		/* #syscalls:pasta recvfrom */
		n = recv(s->diag[side], s->buf, sizeof(s->buf), MSG_DONTWAIT);
		if (n <= 0)
			return n ? -errno : -EPROTO;
		ret = take(s, side, p, (size_t)n);
	} while (ret > 0);
	return ret;
}

static int dump(struct scan *s, unsigned side, unsigned p)
{
	int err;

	if (p == SCAN_TCP)
		return answer(s, side, p, ask_tcp(s, side));
	err = answer(s, side, p, ask_udp(s, side, AF_INET));
	if (err)
		return err;
	err = answer(s, side, p, ask_udp(s, side, AF_INET6));
	return err == -ENOENT ? 0 : err; /* a kernel without IPv6 */
}

/* --- by /proc ------------------------------------------------------------ */

/* "  sl: ADDRESS:PORT ADDRESS:PORT STATE QUEUES TIMER RETRIES UID TIMEOUT
 * INODE" */
static void take_line(struct scan *s, unsigned side, unsigned p,
		      const char *line)
{
	unsigned port, state;
	unsigned long inode;

	if (sscanf(line,
		   " %*u: %*[0-9A-Fa-f]:%x %*s %x %*s %*s %*s %*s %*s %lu",
		   &port, &state, &inode) == 3 &&
	    state == proto[p].state)
		found(s, side, p, (uint16_t)port, (uint32_t)inode);
}

static int read_file(struct scan *s, unsigned side, unsigned p, int fd)
{
	char *buf = (char *)s->buf, *line, *end;
	size_t have = 0;
	off_t at = 0;
	ssize_t n;

	/* #syscalls:pasta pread64 */
	while ((n = pread(fd, buf + have, sizeof(s->buf) - 1 - have, at)) > 0) {
		at += n;
		have += (size_t)n;
		buf[have] = '\0';
		for (line = buf; (end = strchr(line, '\n')); line = end + 1) {
			*end = '\0';
			take_line(s, side, p, line);
		}
		have -= (size_t)(line - buf);
		memmove(buf, line, have);
	}
	return n < 0 ? -errno : 0;
}

/* --- by /proc/net/sockstat ------------------------------------------------ */

/* Whether a look can be skipped, as the counts are those of the last time.
 * They are read before the look, so that a socket which comes meanwhile differs
 * next time. */
static bool may_skip(struct scan *s, unsigned side)
{
	struct scan_stat *last = &s->last[side], now;
	char text[512];
	bool same;
	ssize_t n;

	/* #syscalls:pasta pread64 */
	n = s->stat[side] < 0 ? 0 :
		pread(s->stat[side], text, sizeof(text) - 1, 0);
	text[MAX(n, 0)] = '\0';
	if (sscanf(text,
		   "sockets: used %u TCP: inuse %u orphan %*u tw %u "
		   "alloc %*u mem %*u UDP: inuse %u",
		   &now.used, &now.tcp, &now.tw, &now.udp) != 4)
		return false;
	same = now.used == last->used && now.tcp == last->tcp &&
	       now.tw == last->tw && now.udp == last->udp;
	now.skipped = same && last->skipped < SKIP_MAX ? last->skipped + 1 : 0;
	*last = now;
	return now.skipped;
}

/* --- all ----------------------------------------------------------------- */

static int read_files(struct scan *s, unsigned side, unsigned p)
{
	const int *fd = &s->proc[side][p * 2];
	int err = read_file(s, side, p, fd[0]);

	return err || fd[1] < 0 ? err : read_file(s, side, p, fd[1]);
}

static int look_at(struct scan *s, unsigned side, unsigned p)
{
	int err;

	s->looks++;
	memset(&s->now[side][p], 0, sizeof(s->now[side][p]));
	err = s->diag[side] >= 0 ? dump(s, side, p) : read_files(s, side, p);
	/* On failure keep what was true a second ago */
	if (err) {
		s->now[side][p] = s->before[side][p];
		s->last[side].skipped = SKIP_MAX;
	}
	return err;
}

/* Which of two errors to act upon: first -EAGAIN, that there is more to do */
static int first(int a, int b)
{
	if (a == -EAGAIN || b == -EAGAIN)
		return -EAGAIN;
	return a ? a : b;
}

static int follow(struct scan *s, unsigned side)
{
	static const struct portmap none;
	struct portmap *tcp = &s->now[!side][SCAN_TCP];
	struct portmap udp = s->now[!side][SCAN_UDP];
	enum pif pif = pif_of(side);
	unsigned i;
	int err, ret;

	/* A TCP port that is taken already makes bind() fail */
	err = listen_scan(s->listen, pif, IPPROTO_TCP, tcp, &none);
	/* Whoever serves TCP may serve UDP on demand, as for QUIC */
	for (i = 0; i < ARRAY_SIZE(udp.w); i++)
		udp.w[i] |= tcp->w[i];
	/* Two UDP sockets can be bound to one port, and ours would take a
	 * server's datagrams: leave out ports that are in use on our side */
	ret = listen_scan(s->listen, pif, IPPROTO_UDP, &udp,
			  &s->now[side][SCAN_UDP]);
	return first(err, ret);
}

static bool wanted(const struct scan *s, uint8_t number)
{
	return listen_scans(s->listen, PIF_HOST, number) ||
	       listen_scans(s->listen, PIF_SPLICE, number);
}

static int look(struct scan *s)
{
	bool udp = wanted(s, IPPROTO_UDP);
	int err = 0, ret;
	unsigned side;

	for (side = HOST; side <= SPLICE; side++) {
		if (may_skip(s, side))
			continue;
		ret = look_at(s, side, SCAN_TCP);
		if (!ret && udp)
			ret = look_at(s, side, SCAN_UDP);
		err = err ? err : ret;
	}
	return err;
}

void scan_look(struct scan *s)
{
	int err = look(s);

	if (err)
		log_limited(LOG_WARN, "Can't tell which ports are bound: %s",
			    util_error(-err));
	if (memcmp(s->now, s->before, sizeof(s->now)))
		s->pause = s->left = 1;
	if (!s->pause || --s->left)
		return;
	/* A port may be somebody else's for a moment or for good: try again,
	 * ever more rarely */
	s->pause = MIN(s->pause * 2, (unsigned)PAUSE_MAX);
	s->left = s->pause;
	err = first(follow(s, HOST), follow(s, SPLICE));
	if (err == -EAGAIN)
		s->pause = s->left = 1;
	else if (!err)
		s->pause = 0;
	memcpy(s->before, s->now, sizeof(s->before));
}

static void tick(void *owner, struct timer *t)
{
	struct scan *s = owner;

	if (!wanted(s, IPPROTO_TCP) && !wanted(s, IPPROTO_UDP))
		return;
	scan_look(s);
	timer_set(&s->loop->timers, t, s->loop->now_ms + PERIOD_MS);
}

void scan_start(struct scan *s)
{
	memset(s->before, 0, sizeof(s->before));
	memset(s->last, 0, sizeof(s->last));
	s->pause = s->left = 1;
	timer_off(&s->timer);
	tick(s, &s->timer);
}

/* --- opening ------------------------------------------------------------- */

struct opening {
	struct scan *s;
	unsigned side;
};

static int open_diag(void *arg)
{
	const struct opening *o = arg;
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC,
			NETLINK_SOCK_DIAG);

	o->s->diag[o->side] = fd;
	return fd < 0 ? -errno : 0;
}

static int open_files(void *arg)
{
	const struct opening *o = arg;
	unsigned i;

	for (i = 0; i < 4; i++)
		o->s->proc[o->side][i] = open(proto[i / 2].file[i % 2],
					      O_RDONLY | O_CLOEXEC);
	return o->s->proc[o->side][0] < 0 ? -errno : 0;
}

static int open_stat(void *arg)
{
	const struct opening *o = arg;

	o->s->stat[o->side] = open("/proc/net/sockstat", O_RDONLY | O_CLOEXEC);
	return 0; /* scan works without */
}

static int in_side(struct scan *s, unsigned side, int (*fn)(void *arg))
{
	struct opening o = { s, side };

	return side == SPLICE ? ns_run(s->ns, fn, &o) : fn(&o);
}

static bool diag_works(struct scan *s, unsigned side)
{
	return !in_side(s, side, open_diag) && !look_at(s, side, SCAN_TCP) &&
	       !look_at(s, side, SCAN_UDP);
}

int scan_init(struct scan *s, struct loop *l, const struct flows *flows,
	      struct listen *listen, const struct ns *ns)
{
	unsigned side;
	int err;

	s->loop = l;
	s->flows = flows;
	s->listen = listen;
	s->ns = ns;
	timer_init(&s->timer, tick, s);
	memset(s->proc, 0xff, sizeof(s->proc));
	for (side = HOST; side <= SPLICE; side++) {
		s->stat[side] = -1;
		(void)in_side(s, side, open_stat);
		if (diag_works(s, side))
			continue;
		if (s->diag[side] >= 0)
			close(s->diag[side]);
		s->diag[side] = -1;
		err = in_side(s, side, open_files);
		if (err)
			return err;
	}
	return 0;
}
