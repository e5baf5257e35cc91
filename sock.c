/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * sock - the host's sockets, for an address and a port
 *
 * An IPv4 address makes an AF_INET socket, an IPv6 address an AF_INET6 socket
 * with V6ONLY set explicitly.  A dual listener serves both, and its IPv4 peers
 * come out v4-mapped, which is our form anyway.  Every socket is non-blocking,
 * so no call here can be interrupted: EINTR needs a sleep.
 *
 * What the kernel can do is tried, not derived from a version number:
 * SO_PEEK_OFF and inheritance through accept() with a real connection over the
 * loopback.  Where there is no loopback (a fresh namespace) the slower way is
 * chosen.
 */
#include "sock.h"

#include "log.h"
#include "util.h"

#include <time.h> /* errqueue.h needs it, but does not include it */

#include <linux/errqueue.h>
#include <linux/sock_diag.h>

#include <errno.h>
#include <limits.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

/* Since Linux 4.18 and 5.0; libc's headers may be older */
#ifndef SOL_UDP
#define SOL_UDP 17
#endif
#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif
#ifndef UDP_GRO
#define UDP_GRO 104
#endif
#ifndef IPV6_MULTICAST_ALL
#define IPV6_MULTICAST_ALL 29
#endif

enum {
	BACKLOG = 4096, /* one connection is accepted for an event: let many
			   wait */
	PROBE_MS = 200, /* a firewall may swallow the probe's connection */
	/* Datagrams wait in the kernel while the guest is full.  There is no
	 * auto-tuning to lose; the kernel cuts this to rmem_max. */
	UDP_QUEUE = 4 << 20,
	/* Control messages: PKTINFO of an IPv6 socket, a traffic class, a hop
	 * limit, and the segment size of UDP_GRO */
	CTRL_RECV = CMSG_SPACE(sizeof(struct in6_pktinfo)) +
		    3 * CMSG_SPACE(sizeof(int)),
	CTRL_SEND = CMSG_SPACE(sizeof(uint16_t)),
	/* These, and an error with its offender */
	CTRL_ERROR = CTRL_RECV + CMSG_SPACE(sizeof(struct in_pktinfo)) +
		     CMSG_SPACE(sizeof(struct sock_extended_err) +
				sizeof(struct sockaddr_in6)),
};

union sa {
	struct sockaddr sa;
	struct sockaddr_in in;
	struct sockaddr_in6 in6;
};

static int result(int r)
{
	return r < 0 ? -errno : r;
}

/* An option that is not listed here may load a program into the kernel, or
 * replace the rules of its firewall.
 *
 * #syscalls setsockopt(.,SOL_SOCKET,SO_REUSEADDR|SO_BROADCAST|SO_KEEPALIVE)
 * #syscalls setsockopt(.,SOL_SOCKET,SO_PEEK_OFF|SO_RCVBUF|SO_LINGER)
 * #syscalls setsockopt(.,SOL_SOCKET,SO_BINDTODEVICE|SO_OOBINLINE|SO_REUSEPORT)
 * #syscalls setsockopt(.,SOL_TCP,TCP_NODELAY|TCP_CONGESTION)
 * #syscalls setsockopt(.,SOL_UDP,UDP_GRO)
 * #syscalls setsockopt(.,SOL_IP,IP_FREEBIND|IP_PKTINFO|IP_RECVERR)
 * #syscalls setsockopt(.,SOL_IP,IP_TTL|IP_MULTICAST_TTL|IP_TOS|IP_RECVTOS)
 * #syscalls setsockopt(.,SOL_IP,IP_MTU_DISCOVER)
 * #syscalls setsockopt(.,SOL_IPV6,IPV6_V6ONLY|IPV6_RECVPKTINFO|IPV6_RECVERR)
 * #syscalls setsockopt(.,SOL_IPV6,IPV6_UNICAST_HOPS|IPV6_MULTICAST_HOPS)
 * #syscalls setsockopt(.,SOL_IPV6,IPV6_MULTICAST_IF|IPV6_MTU_DISCOVER)
 * #syscalls setsockopt(.,SOL_IPV6,IPV6_TCLASS|IPV6_RECVTCLASS|IPV6_RECVHOPLIMIT)
 * #syscalls setsockopt(.,SOL_IP,IP_MULTICAST_IF|IP_MULTICAST_ALL|IP_RECVTTL)
 * #syscalls setsockopt(.,SOL_IPV6,IPV6_MULTICAST_ALL)
 * #syscalls setsockopt(.,SOL_IP,MCAST_JOIN_GROUP|MCAST_JOIN_SOURCE_GROUP|MCAST_MSFILTER)
 * #syscalls setsockopt(.,SOL_IPV6,MCAST_JOIN_GROUP|MCAST_JOIN_SOURCE_GROUP|MCAST_MSFILTER)
 * #syscalls getsockopt */
static int set(int fd, int level, int opt, int v)
{
	return result(setsockopt(fd, level, opt, &v, sizeof(v)));
}

/* Whether an address means nothing without an interface (RFC 4007, 6) */
static bool needs_scope(const struct addr *a)
{
	if (addr_is_v4(a))
		return false;
	return addr_is_link_local(a) ||
	       (a->b[0] == 0xff && (a->b[1] & 0xf) <= 2);
}

static socklen_t put(union sa *s, const struct addr *a, uint16_t port,
		     unsigned scope)
{
	memset(s, 0, sizeof(*s));
	if (addr_is_v4(a)) {
		s->in.sin_family = AF_INET;
		s->in.sin_port = htobe16(port);
		memcpy(&s->in.sin_addr, &a->b[12], 4);
		return sizeof(s->in);
	}
	s->in6.sin6_family = AF_INET6;
	s->in6.sin6_port = htobe16(port);
	memcpy(&s->in6.sin6_addr, a->b, 16);
	if (needs_scope(a))
		s->in6.sin6_scope_id = scope;
	return sizeof(s->in6);
}

static void get(const union sa *s, struct addr *a, uint16_t *port)
{
	*a = (struct addr){ 0 };
	*port = 0;
	if (s->sa.sa_family == AF_INET) {
		*a = addr_from4(&s->in.sin_addr);
		*port = be16toh(s->in.sin_port);
	} else if (s->sa.sa_family == AF_INET6) {
		*a = addr_from6(&s->in6.sin6_addr);
		*port = be16toh(s->in6.sin6_port);
	}
}

static int make(bool v4, int type, int proto)
{
	/* #syscalls socket(AF_INET|AF_INET6,.,0|IPPROTO_ICMP|IPPROTO_ICMPV6) */
	return result(socket(v4 ? AF_INET : AF_INET6,
			     type | SOCK_NONBLOCK | SOCK_CLOEXEC, proto));
}

/* --- marked ones ---------------------------------------------------------- */

/* A request to the process of marker.c, which answers with 0 and a socket, or
 * with -errno */
struct order {
	bool v4;
	int type, proto;
};

union passed {
	struct cmsghdr align;
	uint8_t b[CMSG_SPACE(sizeof(int))];
};

static int order(const struct sock_env *e, const struct order *o)
{
	union passed ctrl;
	int err = -EPIPE, fd;
	struct iovec iov = { &err, sizeof(err) };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1,
			    .msg_control = &ctrl,
			    .msg_controllen = sizeof(ctrl) };
	struct cmsghdr *c;
	ssize_t n;

	if (send(e->maker, o, sizeof(*o), MSG_NOSIGNAL) < 0)
		return -errno;
	do
		n = recvmsg(e->maker, &m, MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n != sizeof(err) || err)
		return n < 0 ? -errno : err;
	c = CMSG_FIRSTHDR(&m);
	if (!c) /* we have no descriptor left for it */
		return -EMFILE;
	memcpy(&fd, CMSG_DATA(c), sizeof(fd));
	return fd;
}

int sock_make(const struct sock_env *e, bool v4, int type, int proto)
{
	const struct order o = { v4, type, proto };
	int fd;

	if (!e->mark)
		return make(v4, type, proto);
	fd = order(e, &o);
	if (fd == -EPIPE)
		log_limited(LOG_ERROR, "Can't mark sockets any more");
	return fd;
}

static void answer(int to, int fd)
{
	int err = fd < 0 ? fd : 0;
	struct iovec iov = { &err, sizeof(err) };
	union passed ctrl = { 0 };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };

	util_pass(&m, &ctrl, &fd, !err);
	(void)sendmsg(to, &m, MSG_NOSIGNAL);
}

void sock_serve(int from, uint32_t mark)
{
	struct order o;
	int fd, err;

	while (recv(from, &o, sizeof(o), 0) == sizeof(o)) {
		fd = make(o.v4, o.type, o.proto);
		/* #syscalls setsockopt(.,SOL_SOCKET,SO_MARK) */
		err = fd < 0 ? fd : set(fd, SOL_SOCKET, SO_MARK, (int)mark);
		answer(from, err < 0 ? err : fd);
		if (fd >= 0)
			close(fd);
	}
}

static int to_device(int fd, const char *name)
{
	if (!name || !*name)
		return 0;
	return result(setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, name,
				 (socklen_t)strlen(name) + 1));
}

static int bind_to(int fd, const struct addr *a, uint16_t port, unsigned scope)
{
	union sa s;
	socklen_t len = put(&s, a, port, scope);

	/* #syscalls bind */
	return result(bind(fd, &s.sa, len));
}

static int connect_to(int fd, const struct addr *a, uint16_t port,
		      unsigned scope)
{
	union sa s;
	socklen_t len = put(&s, a, port, scope);

	/* #syscalls connect */
	return result(connect(fd, &s.sa, len));
}

static int fail(int fd, int err)
{
	close(fd);
	return err;
}

/* --- what the kernel can do --------------------------------------------- */

static bool has_family(bool v4)
{
	int fd = make(v4, SOCK_DGRAM, 0);

	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

static uint8_t default_ttl(bool v4)
{
	int fd = make(v4, SOCK_DGRAM, 0), v = 0;
	socklen_t len = sizeof(v);

	if (fd < 0)
		return 0;
	getsockopt(fd, v4 ? SOL_IP : SOL_IPV6,
		   v4 ? IP_TTL : IPV6_UNICAST_HOPS, &v, &len);
	close(fd);
	return v > 0 && v < 256 ? (uint8_t)v : 0;
}

static bool udp_can(bool v4, int level, int opt, const void *v, socklen_t len)
{
	int fd = make(v4, SOCK_DGRAM, 0);
	bool can;

	if (fd < 0)
		return false;
	can = !setsockopt(fd, level, opt, v, len);
	close(fd);
	return can;
}

static bool wait_for(int fd, short events)
{
	struct pollfd p = { .fd = fd, .events = events };

	return poll(&p, 1, PROBE_MS) == 1 && (p.revents & events);
}

/* Make both ends of a connection over the loopback; false on failure */
static bool pair(bool v4, int *listener, int end[2])
{
	struct addr lo = addr_loopback(v4), a;
	uint16_t port = 0;

	if (bind_to(*listener, &lo, 0, 0) || listen(*listener, 1) ||
	    sock_local(*listener, &a, &port))
		return false;
	end[0] = make(v4, SOCK_STREAM, 0);
	if (end[0] < 0)
		return false;
	connect_to(end[0], &lo, port, 0);
	if (!wait_for(end[0], POLLOUT) || sock_error(end[0]) ||
	    !wait_for(*listener, POLLIN))
		return false;
	end[1] = result(accept4(*listener, NULL, NULL,
				SOCK_NONBLOCK | SOCK_CLOEXEC));
	return end[1] >= 0;
}

static bool peek_moves(int from, int to)
{
	char first = 0, second = 0, third = 0;

	return !set(to, SOL_SOCKET, SO_PEEK_OFF, 0) &&
	       send(from, "12", 2, MSG_NOSIGNAL) == 2 &&
	       wait_for(to, POLLIN) && recv(to, &first, 1, MSG_PEEK) == 1 &&
	       recv(to, &second, 1, MSG_PEEK) == 1 &&
	       !set(to, SOL_SOCKET, SO_PEEK_OFF, 0) &&
	       recv(to, &third, 1, MSG_PEEK) == 1 && first == '1' &&
	       second == '2' && third == '1';
}

static bool is_set(int fd, int level, int opt, int want)
{
	int v = 0;
	socklen_t len = sizeof(v);

	return !getsockopt(fd, level, opt, &v, &len) && v == want;
}

/* Find out, by a connection, whether a peek offset works, and whether accepted
 * sockets inherit options */
static void probe_tcp(bool v4, bool *peek, bool *inherits)
{
	int listener = make(v4, SOCK_STREAM, 0), end[2] = { -1, -1 };
	bool offset;

	*peek = *inherits = false;
	if (listener < 0)
		return;
	set(listener, SOL_TCP, TCP_NODELAY, 1);
	set(listener, SOL_SOCKET, SO_OOBINLINE, 1);
	offset = !set(listener, SOL_SOCKET, SO_PEEK_OFF, 0);
	if (pair(v4, &listener, end)) {
		*inherits = is_set(end[1], SOL_TCP, TCP_NODELAY, 1) &&
			    is_set(end[1], SOL_SOCKET, SO_OOBINLINE, 1) &&
			    (!offset ||
			     is_set(end[1], SOL_SOCKET, SO_PEEK_OFF, 0));
		*peek = peek_moves(end[0], end[1]);
	}
	if (end[1] >= 0)
		close(end[1]);
	if (end[0] >= 0)
		close(end[0]);
	close(listener);
}

/* Whether IPv6 sockets have a peek offset: IPv4 connections of a dual listener
 * are such sockets, whether or not IPv6 has an address here */
static bool dual_peeks(void)
{
	int fd = make(false, SOCK_STREAM, 0);
	bool peeks = fd < 0 || !set(fd, SOL_SOCKET, SO_PEEK_OFF, 0);

	if (fd >= 0)
		close(fd);
	return peeks;
}

static bool paces(bool v4)
{
	int fd = make(v4, SOCK_STREAM, 0);
	char name[16] = ""; /* TCP_CA_NAME_MAX */
	socklen_t len = sizeof(name);

	if (fd < 0)
		return false;
	(void)getsockopt(fd, SOL_TCP, TCP_CONGESTION, name, &len);
	close(fd);
	return !strncmp(name, "bbr", 3);
}

void sock_init(struct sock_env *e)
{
	const int segment = 1400, on = 1;
	bool inherits4, inherits6;

	e->v4 = has_family(true);
	e->v6 = has_family(false);
	e->ttl4 = default_ttl(true);
	e->ttl6 = default_ttl(false);
	probe_tcp(true, &e->peek_off4, &inherits4);
	probe_tcp(false, &e->peek_off6, &inherits6);
	e->peek_off4 = e->peek_off4 && dual_peeks();
	e->inherits = (inherits4 || !e->v4) && (inherits6 || !e->v6) &&
		      (e->v4 || e->v6);
	e->gso = udp_can(e->v4, SOL_UDP, UDP_SEGMENT, &segment,
			 sizeof(segment));
	e->gro = udp_can(e->v4, SOL_UDP, UDP_GRO, &on, sizeof(on));
	e->bindtodevice = udp_can(e->v4, SOL_SOCKET, SO_BINDTODEVICE, "lo", 3);
	e->paced = paces(e->v4);
}

/* --- TCP ---------------------------------------------------------------- */

/* Apply --outbound and --outbound-if to a socket that is to reach @to; the host
 * itself is not reached through either */
static int bind_outbound(const struct sock_env *e, int fd,
			 const struct addr *to, uint16_t port)
{
	bool v4 = addr_is_v4(to), local = addr_is_loopback(to);
	const struct addr *out = v4 ? &e->out4 : &e->out6;
	struct addr any = addr_any(v4);
	int err;

	if (!local) {
		err = to_device(fd, v4 ? e->if4 : e->if6);
		if (err)
			return err;
	}
	if (local || addr_is_none(out))
		out = &any;
	if (addr_is_unspecified(out) && !port)
		return 0;
	return bind_to(fd, out, port, e->scope);
}

/* Set options of a stream socket.  If there may be peek offsets, reading
 * without one would give other bytes than expected. */
static int set_stream(const struct sock_env *e, int fd)
{
	int err = 0;

	sock_nodelay(fd);
	set(fd, SOL_SOCKET, SO_OOBINLINE, 1);
	if (e->peek_off4 || e->peek_off6)
		err = set(fd, SOL_SOCKET, SO_PEEK_OFF, 0);
	return err == -EOPNOTSUPP ? 0 : err; /* of this family */
}

/* Use CUBIC or Reno, which exists and is permitted everywhere */
static void unpace(int fd)
{
	if (setsockopt(fd, SOL_TCP, TCP_CONGESTION, "cubic", 5))
		(void)setsockopt(fd, SOL_TCP, TCP_CONGESTION, "reno", 4);
}

int sock_tcp(const struct sock_env *e, const struct addr *to)
{
	bool v4 = addr_is_v4(to);
	int fd = sock_make(e, v4, SOCK_STREAM, 0), err;

	if (fd < 0)
		return fd;
	/* In advance: when urgent data arrive, a read under way would skip
	 * them */
	set(fd, SOL_SOCKET, SO_OOBINLINE, 1);
	if (e->paced && (e->inside || addr_is_loopback(to)))
		unpace(fd);
	err = bind_outbound(e, fd, to, 0);
	return err ? fail(fd, err) : fd;
}

int sock_nodelay(int fd)
{
	return set(fd, SOL_TCP, TCP_NODELAY, 1);
}

int sock_bind(const struct sock_env *e, int fd, const struct addr *a,
	      uint16_t port)
{
	return bind_to(fd, a, port, e->scope);
}

int sock_connect(const struct sock_env *e, int fd, const struct addr *to,
		 uint16_t port)
{
	return connect_to(fd, to, port, e->scope);
}

/* Make a socket that listens or is bound for several senders */
static int make_bound(const struct sock_env *e, const struct sock_bind *b,
		      int type)
{
	bool v4 = !b->dual && addr_is_v4(&b->addr);
	int fd = b->fresh ? b->fresh - 1 : sock_make(e, v4, type, 0), err;

	if (fd < 0)
		return fd;
	if (type == SOCK_STREAM || b->shared)
		set(fd, SOL_SOCKET, SO_REUSEADDR, 1);
	if (!v4)
		set(fd, SOL_IPV6, IPV6_V6ONLY, !b->dual);
	if (e->freebind)
		set(fd, SOL_IP, IP_FREEBIND, 1);
	err = to_device(fd, b->ifname);
	return err ? fail(fd, err) : fd;
}

static const struct addr *bind_addr(const struct sock_bind *b)
{
	static const struct addr any6;

	return b->dual ? &any6 : &b->addr;
}

/* The scope for binding; a socket with an interface of its own has that scope,
 * and naming another one would bind it elsewhere */
static unsigned scope_of(const struct sock_env *e, const struct sock_bind *b)
{
	return b->ifname && *b->ifname ? 0 : e->scope;
}

int sock_listen(const struct sock_env *e, const struct sock_bind *b)
{
	int fd = make_bound(e, b, SOCK_STREAM), err;

	if (fd < 0)
		return fd;
	err = set_stream(e, fd);
	if (e->paced && e->inside) /* later it may be forbidden */
		unpace(fd);
	if (!err)
		err = bind_to(fd, bind_addr(b), b->port, scope_of(e, b));
	if (!err) /* #syscalls listen */
		err = result(listen(fd, BACKLOG));
	return err ? fail(fd, err) : fd;
}

/* Whether @fd is bound to device @ifname; kernels before 3.8 do not tell */
static bool has_device(int fd, const char *ifname)
{
	char name[16] = "";
	socklen_t len = sizeof(name);

	if (getsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, name, &len))
		return errno != ENODEV;
	return !strncmp(name, ifname, sizeof(name));
}

bool sock_holds(const struct sock_env *e, int fd, const struct sock_bind *b)
{
	union sa s = { 0 };
	socklen_t len = sizeof(s);

	if (b->ifname && *b->ifname)
		return has_device(fd, b->ifname);
	if (b->dual || addr_is_v4(&b->addr) || !addr_is_link_local(&b->addr))
		return true;
	return !e->scope || getsockname(fd, &s.sa, &len) ||
	       s.in6.sin6_scope_id == e->scope;
}

int sock_accept(const struct sock_env *e, int listener, struct addr *from,
		uint16_t *from_port, struct addr *to, uint16_t *to_port)
{
	union sa s = { 0 };
	socklen_t len;
	int fd, err;

	do { /* those that were reset while they waited are nobody's loss
	      * #syscalls accept4 */
		len = sizeof(s);
		fd = accept4(listener, &s.sa, &len,
			     SOCK_NONBLOCK | SOCK_CLOEXEC);
	} while (fd < 0 && errno == ECONNABORTED);
	if (fd < 0)
		return -errno;
	get(&s, from, from_port);
	err = sock_local(fd, to, to_port);
	if (!err && !e->inherits)
		err = set_stream(e, fd);
	if (e->paced && !e->inside && addr_is_loopback(from))
		unpace(fd);
	return err ? fail(fd, err) : fd;
}

static ssize_t receive(int fd, const struct iovec *iov, unsigned cnt, int flags)
{
	struct msghdr m = { .msg_iov = (struct iovec *)iov,
			    .msg_iovlen = cnt };
	ssize_t n;

	/* #syscalls recvfrom recvmsg recv */
	if (cnt == 1)
		n = recv(fd, iov->iov_base, iov->iov_len, flags);
	else
		n = recvmsg(fd, &m, flags);
	return n < 0 ? -errno : n;
}

ssize_t sock_peek(int fd, const struct iovec *iov, unsigned cnt)
{
	return receive(fd, iov, cnt, MSG_PEEK);
}

int sock_peek_to(int fd, unsigned off)
{
	return set(fd, SOL_SOCKET, SO_PEEK_OFF, (int)off);
}

ssize_t sock_discard(int fd, size_t n)
{
	size_t done = 0;
	ssize_t got;

	do {
		got = recv(fd, NULL, n - done, MSG_TRUNC);
		if (got > 0)
			done += (size_t)got;
	} while ((got > 0 && done < n) || (got < 0 && errno == EINTR));
	return got < 0 && !done ? -errno : (ssize_t)done;
}

ssize_t sock_recv(int fd, const struct iovec *iov, unsigned cnt)
{
	return receive(fd, iov, cnt, 0);
}

ssize_t sock_send(int fd, const struct iovec *iov, unsigned cnt)
{
	struct msghdr m = { .msg_iov = (struct iovec *)iov,
			    .msg_iovlen = cnt };
	ssize_t n;

	/* #syscalls sendto sendmsg send */
	if (cnt == 1)
		n = send(fd, iov->iov_base, iov->iov_len, MSG_NOSIGNAL);
	else
		n = sendmsg(fd, &m, MSG_NOSIGNAL);
	return n < 0 ? -errno : n;
}

uint32_t sock_unread(int fd)
{
	int n;

	/* #syscalls ioctl(.,FIONREAD) */
	return ioctl(fd, FIONREAD, &n) ? 0 : (uint32_t)MAX(n, 0);
}

uint32_t sock_undelivered(int fd)
{
	int n;

	/* #syscalls ioctl(.,TIOCOUTQ) */
	return ioctl(fd, TIOCOUTQ, &n) ? 0 : (uint32_t)MAX(n, 0);
}

ssize_t sock_room(int fd)
{
	uint32_t m[SK_MEMINFO_VARS] = { 0 };
	socklen_t len = sizeof(m);
	uint32_t size, queued;

	if (getsockopt(fd, SOL_SOCKET, SO_MEMINFO, m, &len) < 0)
		return -errno;
	size = m[SK_MEMINFO_SNDBUF];
	queued = m[SK_MEMINFO_WMEM_QUEUED];
	return size > queued ? (ssize_t)(size - queued) : 0;
}

size_t sock_rcvbuf(int fd)
{
	uint32_t m[SK_MEMINFO_VARS] = { 0 };
	socklen_t len = sizeof(m);
	int size = 0;

	if (!getsockopt(fd, SOL_SOCKET, SO_MEMINFO, m, &len))
		return m[SK_MEMINFO_RCVBUF];
	len = sizeof(size);
	if (getsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, &len))
		return 0;
	return (size_t)size;
}

unsigned sock_path_mtu(int fd, bool v4)
{
	int mtu = 0;
	socklen_t len = sizeof(mtu);

	if (getsockopt(fd, v4 ? SOL_IP : SOL_IPV6, v4 ? IP_MTU : IPV6_MTU, &mtu,
		       &len))
		return 0;
	return (unsigned)mtu;
}

/* Offsets in struct tcp_info, of which libc's headers have only a part */
enum {
	INFO_CLOSED = 7, /* the first byte */
	INFO_RECEIVED = 128,
	INFO_UNSENT = 144, /* 32 bits */
	INFO_SENT = 200,
	INFO_REPEATED = 208,
	INFO_SIZE = 216,
};

bool sock_count(int fd, struct sock_count *c)
{
	uint8_t info[INFO_SIZE];
	socklen_t len = sizeof(info);
	uint64_t repeated;
	uint32_t unsent;

	if (getsockopt(fd, SOL_TCP, TCP_INFO, info, &len) ||
	    len < sizeof(info))
		return false;
	memcpy(&c->received, info + INFO_RECEIVED, sizeof(c->received));
	memcpy(&c->sent, info + INFO_SENT, sizeof(c->sent));
	memcpy(&repeated, info + INFO_REPEATED, sizeof(repeated));
	memcpy(&unsent, info + INFO_UNSENT, sizeof(unsent));
	c->sent -= repeated;
	c->unsent = unsent;
	return true;
}

bool sock_lives(int fd)
{
	uint8_t state = INFO_CLOSED;
	socklen_t len = sizeof(state);

	return !getsockopt(fd, SOL_TCP, TCP_INFO, &state, &len) &&
	       state != INFO_CLOSED;
}

int sock_shut_write(int fd)
{
	return result(shutdown(fd, SHUT_WR)); /* #syscalls shutdown */
}

int sock_keepalive(int fd)
{
	return set(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
}

int sock_error(int fd)
{
	int v = 0;
	socklen_t len = sizeof(v);

	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &v, &len) < 0)
		return -errno;
	return -v;
}

/* For an ICMP error, Linux first fills the error queue, whether or not that was
 * asked for (IPv4, since 5.9), which is EPOLLERR, and then ends the connection:
 * in between no error is pending */
int sock_connected(int fd, uint32_t events)
{
	int err = 0;

	if (events & (EPOLLERR | EPOLLHUP))
		err = sock_error(fd);
	return err || events & (EPOLLOUT | EPOLLHUP) ? err : -EINPROGRESS;
}

void sock_close(int fd)
{
	close(fd); /* #syscalls close */
}

void sock_abort(int fd)
{
	const struct linger now = { .l_onoff = 1, .l_linger = 0 };
	const struct sockaddr none = { .sa_family = AF_UNSPEC };

	if (connect(fd, &none, sizeof(none)))
		setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	close(fd);
}

/* --- UDP ---------------------------------------------------------------- */

static void set_datagram(int fd, bool v4, bool errors)
{
	int level = v4 ? SOL_IP : SOL_IPV6;

	set(fd, level, v4 ? IP_PKTINFO : IPV6_RECVPKTINFO, 1);
	if (errors)
		set(fd, level, v4 ? IP_RECVERR : IPV6_RECVERR, 1);
	set(fd, SOL_SOCKET, SO_RCVBUF, UDP_QUEUE);
}

/* Whether all groups are heard that the host is a member of.  Linux before 4.20
 * has the option for IPv4 only. */
static void set_groups(int fd, bool v4, bool all)
{
	set(fd, v4 ? SOL_IP : SOL_IPV6,
	    v4 ? IP_MULTICAST_ALL : IPV6_MULTICAST_ALL, all);
}

void sock_group(const struct sock_env *e, int fd, bool v4)
{
	const struct ip_mreqn out = { .imr_ifindex = (int)e->scope4 };

	set(fd, SOL_SOCKET, SO_BROADCAST, 1);
	if (!v4 && e->scope)
		set(fd, SOL_IPV6, IPV6_MULTICAST_IF, (int)e->scope);
	if (v4 && e->scope4) /* refused where the socket has its own interface */
		setsockopt(fd, SOL_IP, IP_MULTICAST_IF, &out, sizeof(out));
	set_groups(fd, v4, false);
}

static void hear_ttl(int fd, bool v4)
{
	set(fd, v4 ? SOL_IP : SOL_IPV6, v4 ? IP_RECVTTL : IPV6_RECVHOPLIMIT, 1);
}

int sock_udp_group(const struct sock_env *e, const struct addr *group,
		   uint16_t port)
{
	bool v4 = addr_is_v4(group);
	const struct sock_bind b = { .addr = *group, .port = port,
				     .ifname = v4 ? e->if4 : e->if6,
				     .shared = true };
	int fd = make_bound(e, &b, SOCK_DGRAM), err;

	if (fd < 0)
		return fd;
	set(fd, SOL_SOCKET, SO_REUSEPORT, 1); /* others may have that alone */
	set_datagram(fd, v4, false);
	set_groups(fd, v4, false);
	sock_hear_tos(fd, v4);
	hear_ttl(fd, v4);
	err = bind_to(fd, group, port, scope_of(e, &b));
	return err ? fail(fd, err) : fd;
}

static socklen_t put_storage(struct sockaddr_storage *s, const struct addr *a)
{
	union sa sa;
	socklen_t len = put(&sa, a, 0, 0);

	memset(s, 0, sizeof(*s));
	memcpy(s, &sa, len);
	return len;
}

/* The first join: it says whether all sources are wanted, so that the network
 * is not told anything else in between */
static int join_first(int fd, const struct addr *group, unsigned ifindex,
		      const struct sock_sources *f)
{
	int level = addr_is_v4(group) ? SOL_IP : SOL_IPV6;
	struct group_source_req one = { .gsr_interface = ifindex };
	struct group_req all = { .gr_interface = ifindex };

	if (f->exclude) {
		put_storage(&all.gr_group, group);
		return result(setsockopt(fd, level, MCAST_JOIN_GROUP, &all,
					 sizeof(all)));
	}
	put_storage(&one.gsr_group, group);
	put_storage(&one.gsr_source, &f->source[0]);
	return result(setsockopt(fd, level, MCAST_JOIN_SOURCE_GROUP, &one,
				 sizeof(one)));
}

static int join_filter(int fd, const struct addr *group, unsigned ifindex,
		       bool exclude, const struct addr *source, unsigned n)
{
	union {
		struct group_filter f;
		uint8_t b[GROUP_FILTER_SIZE(SOCK_SOURCES)];
	} u;
	unsigned i;

	memset(&u, 0, sizeof(u));
	u.f.gf_interface = ifindex;
	put_storage(&u.f.gf_group, group);
	u.f.gf_fmode = exclude ? MCAST_EXCLUDE : MCAST_INCLUDE;
	u.f.gf_numsrc = n;
	for (i = 0; i < n; i++)
		put_storage((struct sockaddr_storage *)(void *)
			    (u.b + GROUP_FILTER_SIZE(i)), &source[i]);
	return result(setsockopt(fd, addr_is_v4(group) ? SOL_IP : SOL_IPV6,
				 MCAST_MSFILTER, &u,
				 (socklen_t)GROUP_FILTER_SIZE(n)));
}

int sock_join(int fd, const struct addr *group, unsigned ifindex,
	      const struct sock_sources *f, bool again)
{
	int err = again ? 0 : join_first(fd, group, ifindex, f);

	if (err || (!again && f->n == (f->exclude ? 0 : 1)))
		return err;
	err = join_filter(fd, group, ifindex, f->exclude, f->source, f->n);
	return err ? join_filter(fd, group, ifindex, true, NULL, 0) : 0;
}

bool sock_port_free(const struct sock_env *e, bool v4, uint16_t port)
{
	const struct addr lo = addr_loopback(v4);
	int fd = sock_make(e, v4, SOCK_DGRAM, 0), err;

	if (fd < 0)
		return false;
	err = bind_to(fd, &lo, port, 0);
	close(fd);
	return !err;
}

static int bind_datagram(const struct sock_env *e, int fd,
			 const struct sock_bind *b, const struct addr *to,
			 uint16_t port)
{
	const struct addr *a = bind_addr(b);

	if (to && (addr_is_unspecified(a) || addr_equal(a, &e->out4) ||
		   addr_equal(a, &e->out6)))
		return bind_outbound(e, fd, to, port);
	return bind_to(fd, a, port, scope_of(e, b));
}

int sock_udp(const struct sock_env *e, const struct sock_bind *b,
	     const struct addr *to, uint16_t to_port, bool any_port)
{
	struct sock_bind as = *b;
	bool v4;
	int fd, err;

	if (to && addr_is_none(&as.addr)) {
		as.addr = addr_any(addr_is_v4(to));
		as.dual = false;
	}
	v4 = !as.dual && addr_is_v4(&as.addr);
	fd = make_bound(e, &as, SOCK_DGRAM);
	if (fd < 0)
		return fd;
	set_datagram(fd, v4, true);
	err = bind_datagram(e, fd, &as, to, as.port);
	if ((err == -EADDRINUSE || err == -EACCES) && any_port)
		err = bind_datagram(e, fd, &as, to, 0);
	if (!err && !as.shared)
		set(fd, SOL_SOCKET, SO_REUSEADDR, 1);
	if (!err && to && to_port)
		err = connect_to(fd, to, to_port, scope_of(e, &as));
	return err ? fail(fd, err) : fd;
}

int sock_udp_fresh(bool v4)
{
	return make(v4, SOCK_DGRAM, 0);
}

int sock_udp_listen(const struct sock_env *e, const struct sock_bind *b)
{
	int fd = make_bound(e, b, SOCK_DGRAM), err;

	if (fd < 0)
		return fd;
	/* It never sends: errors that match its port are for flows */
	set_datagram(fd, !b->dual && addr_is_v4(&b->addr), false);
	if (b->dual || addr_is_v4(&b->addr)) {
		sock_hear_tos(fd, true);
		hear_ttl(fd, true);
	}
	if (b->dual || !addr_is_v4(&b->addr)) {
		sock_hear_tos(fd, false);
		hear_ttl(fd, false);
	}
	if (b->dual) /* IPv6 sockets do not get IPv4's groups by themselves */
		set_groups(fd, true, true);
	err = bind_to(fd, bind_addr(b), b->port, scope_of(e, b));
	if (err)
		return fail(fd, err);
	if (!b->shared)
		set(fd, SOL_SOCKET, SO_REUSEADDR, 1);
	return fd;
}

unsigned sock_waiting(int fd)
{
	enum { TRUESIZE_MIN = 256 }; /* a struct sk_buff alone has about that */
	uint32_t m[SK_MEMINFO_VARS] = { 0 };
	socklen_t len = sizeof(m);

	if (getsockopt(fd, SOL_SOCKET, SO_MEMINFO, m, &len) < 0)
		return UINT_MAX; /* before Linux 4.12 */
	return m[SK_MEMINFO_RMEM_ALLOC] / TRUESIZE_MIN + 1;
}

bool sock_gro(int fd)
{
	return !set(fd, SOL_UDP, UDP_GRO, 1);
}

static void set_ttl(int fd, bool v4, uint8_t ttl)
{
	if (v4) {
		set(fd, SOL_IP, IP_MULTICAST_TTL, ttl);
		set(fd, SOL_IP, IP_TTL, ttl);
	} else {
		set(fd, SOL_IPV6, IPV6_MULTICAST_HOPS, ttl);
		set(fd, SOL_IPV6, IPV6_UNICAST_HOPS, ttl);
	}
}

/* The values for IPv6 are the same */
static int discovery(uint8_t df)
{
	return df == SOCK_DF_SET ? IP_PMTUDISC_DO : IP_PMTUDISC_DONT;
}

void sock_set_ip(int fd, bool v4, struct sock_ip *now, struct sock_ip ip)
{
	int level = v4 ? SOL_IP : SOL_IPV6;

	if (ip.ttl != now->ttl)
		set_ttl(fd, v4, ip.ttl);
	if (ip.tos != now->tos)
		set(fd, level, v4 ? IP_TOS : IPV6_TCLASS, ip.tos);
	if (ip.df != now->df)
		set(fd, level, v4 ? IP_MTU_DISCOVER : IPV6_MTU_DISCOVER,
		    discovery(ip.df));
	*now = ip;
}

void sock_hear_errors(int fd, bool v4)
{
	set(fd, v4 ? SOL_IP : SOL_IPV6, v4 ? IP_RECVERR : IPV6_RECVERR, 1);
}

void sock_hear_tos(int fd, bool v4)
{
	set(fd, v4 ? SOL_IP : SOL_IPV6, v4 ? IP_RECVTOS : IPV6_RECVTCLASS, 1);
}

int sock_local(int fd, struct addr *a, uint16_t *port)
{
	union sa s = { 0 };
	socklen_t len = sizeof(s);

	/* #syscalls getsockname */
	if (getsockname(fd, &s.sa, &len) < 0)
		return -errno;
	get(&s, a, port);
	return 0;
}

/* Space for control messages, aligned as their headers want it */
union ctrl_recv {
	struct cmsghdr align;
	uint8_t b[CTRL_RECV];
};
union ctrl_send {
	struct cmsghdr align;
	uint8_t b[CTRL_SEND];
};

static void take_ctrl(struct sock_dgram *d, struct msghdr *m)
{
	struct in6_pktinfo i6;
	struct in_pktinfo i4;
	struct cmsghdr *c;
	int size;

	for (c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
		const void *v = CMSG_DATA(c);

		if (c->cmsg_level == SOL_UDP && c->cmsg_type == UDP_GRO) {
			memcpy(&size, v, sizeof(size));
			/* A single datagram that happens to be marked is no
			 * run */
			d->gso_size = (size_t)size < d->len ? (uint16_t)size
							    : 0;
		} else if (c->cmsg_level == SOL_IP &&
			   c->cmsg_type == IP_PKTINFO) {
			memcpy(&i4, v, sizeof(i4));
			d->to = addr_from4(&i4.ipi_addr);
		} else if (c->cmsg_level == SOL_IPV6 &&
			   c->cmsg_type == IPV6_PKTINFO) {
			memcpy(&i6, v, sizeof(i6));
			d->to = addr_from6(&i6.ipi6_addr);
		} else if (c->cmsg_level == SOL_IP && c->cmsg_type == IP_TOS) {
			memcpy(&d->tos, v, sizeof(d->tos));
		} else if (c->cmsg_level == SOL_IPV6 &&
			   c->cmsg_type == IPV6_TCLASS) {
			memcpy(&size, v, sizeof(size));
			d->tos = (uint8_t)size;
		} else if ((c->cmsg_level == SOL_IP && c->cmsg_type == IP_TTL) ||
			   (c->cmsg_level == SOL_IPV6 &&
			    c->cmsg_type == IPV6_HOPLIMIT)) {
			memcpy(&size, v, sizeof(size));
			d->ttl = (uint8_t)size;
		}
	}
}

int sock_recv_dgrams(int fd, struct sock_dgram *d, unsigned n, bool addrs)
{
	struct mmsghdr m[SOCK_BATCH];
	union ctrl_recv ctrl[SOCK_BATCH];
	union sa from[SOCK_BATCH];
	unsigned i;
	int got;

	n = MIN(n, (unsigned)SOCK_BATCH);
	for (i = 0; i < n; i++)
		m[i].msg_hdr = (struct msghdr){
			.msg_name = addrs ? &from[i] : NULL,
			.msg_namelen = addrs ? sizeof(from[i]) : 0,
			.msg_iov = d[i].iov,
			.msg_iovlen = d[i].iov_cnt,
			.msg_control = &ctrl[i],
			.msg_controllen = sizeof(ctrl[i]),
		};
	/* #syscalls recvmmsg recvmmsg_time64 */
	got = result(recvmmsg(fd, m, n, 0, NULL));
	for (i = 0; (int)i < got; i++) {
		d[i].len = m[i].msg_len;
		d[i].truncated = m[i].msg_hdr.msg_flags & MSG_TRUNC;
		d[i].gso_size = d[i].tos = d[i].ttl = 0;
		if (addrs) {
			d[i].to = (struct addr){ 0 };
			get(&from[i], &d[i].from, &d[i].from_port);
		}
		take_ctrl(&d[i], &m[i].msg_hdr);
	}
	return got;
}

static void put_dgram(struct msghdr *m, const struct sock_dgram *d,
		      union ctrl_send *ctrl, union sa *to)
{
	struct cmsghdr *c = &ctrl->align;

	*m = (struct msghdr){ .msg_iov = d->iov, .msg_iovlen = d->iov_cnt };
	if (d->gso_size) {
		c->cmsg_level = SOL_UDP;
		c->cmsg_type = UDP_SEGMENT;
		c->cmsg_len = CMSG_LEN(sizeof(d->gso_size));
		memcpy(CMSG_DATA(c), &d->gso_size, sizeof(d->gso_size));
		m->msg_control = ctrl;
		m->msg_controllen = sizeof(*ctrl);
	}
	if (d->to_port) {
		m->msg_name = to;
		m->msg_namelen = put(to, &d->to, d->to_port, 0);
	}
}

int sock_send_dgrams(int fd, const struct sock_dgram *d, unsigned n)
{
	struct mmsghdr m[SOCK_BATCH];
	union ctrl_send ctrl[SOCK_BATCH];
	union sa to[SOCK_BATCH];
	unsigned i;

	/* The usual case: a message header costs the kernel as much as copying
	 * a little */
	if (n == 1 && d->iov_cnt == 1 && !d->gso_size && !d->to_port)
		return send(fd, d->iov->iov_base, d->iov->iov_len,
			    MSG_NOSIGNAL) < 0 ? -errno : 1;
	n = MIN(n, (unsigned)SOCK_BATCH);
	for (i = 0; i < n; i++)
		put_dgram(&m[i].msg_hdr, &d[i], &ctrl[i], &to[i]);
	if (n == 1)
		return sendmsg(fd, &m[0].msg_hdr, MSG_NOSIGNAL) < 0 ? -errno
								    : 1;
	/* #syscalls sendmmsg */
	return result(sendmmsg(fd, m, n, MSG_NOSIGNAL));
}

int sock_send_cut(int fd, bool v4, struct sock_ip *ip,
		  const struct sock_dgram *d)
{
	const struct sock_ip was = *ip;
	struct sock_ip cut = was;
	int ret;

	cut.df = SOCK_DF_CLEAR;
	sock_set_ip(fd, v4, ip, cut);
	ret = sock_send_dgrams(fd, d, 1);
	sock_set_ip(fd, v4, ip, was);
	return ret;
}

/* Read an error from a control message of @len bytes: the kernel may leave out
 * the offender, or give one without a family */
static void take_error(struct sock_error *e, const void *data, size_t len)
{
	struct sock_extended_err ee;
	union sa from = { 0 };
	uint16_t port;

	if (len < sizeof(ee))
		return;
	memcpy(&ee, data, sizeof(ee));
	memcpy(&from, (const uint8_t *)data + sizeof(ee),
	       MIN(len - sizeof(ee), sizeof(from)));
	e->err = (int)ee.ee_errno;
	e->icmp = ee.ee_origin == SO_EE_ORIGIN_ICMP ||
		  ee.ee_origin == SO_EE_ORIGIN_ICMP6;
	if (e->err == EMSGSIZE)
		e->mtu = ee.ee_info;
	if (!e->icmp)
		return;
	e->type = ee.ee_type;
	e->code = ee.ee_code;
	get(&from, &e->offender, &port);
}

static bool queued_error(int fd, struct sock_error *e)
{
	union {
		struct cmsghdr align;
		uint8_t b[CTRL_ERROR];
	} ctrl;
	struct iovec iov = { e->payload, sizeof(e->payload) };
	union sa to = { 0 };
	struct msghdr m = { .msg_name = &to, .msg_namelen = sizeof(to),
			    .msg_iov = &iov, .msg_iovlen = 1,
			    .msg_control = &ctrl,
			    .msg_controllen = sizeof(ctrl) };
	ssize_t n = recvmsg(fd, &m, MSG_ERRQUEUE);
	struct cmsghdr *c;

	if (n < 0)
		return false;
	e->len = (size_t)n;
	get(&to, &e->to, &e->to_port);
	for (c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c))
		if ((c->cmsg_level == SOL_IP && c->cmsg_type == IP_RECVERR) ||
		    (c->cmsg_level == SOL_IPV6 &&
		     c->cmsg_type == IPV6_RECVERR))
			take_error(e, CMSG_DATA(c), c->cmsg_len - CMSG_LEN(0));
	return true;
}

bool sock_error_next(int fd, struct sock_error *e)
{
	memset(e, 0, offsetof(struct sock_error, payload));
	if (queued_error(fd, e))
		return true;
	e->err = -sock_error(fd);
	return e->err != 0;
}

/* --- echo --------------------------------------------------------------- */

int sock_ping(const struct sock_env *e, const struct addr *to, uint16_t id,
	      bool *open)
{
	bool v4 = addr_is_v4(to);
	int fd = sock_make(e, v4, SOCK_DGRAM,
			   v4 ? IPPROTO_ICMP : IPPROTO_ICMPV6);
	int err;

	if (fd < 0)
		return fd;
	set(fd, v4 ? SOL_IP : SOL_IPV6, v4 ? IP_RECVERR : IPV6_RECVERR, 1);
	/* This is on by default for ping sockets: one would get the replies of
	 * the other */
	set(fd, SOL_SOCKET, SO_REUSEADDR, 0);
	if (bind_outbound(e, fd, to, id)) {
		/* the identifier is taken: any will do */
		err = bind_outbound(e, fd, to, 0);
		if (err)
			return fail(fd, err);
	}
	err = connect_to(fd, to, 0, e->scope);
	/* SELinux's usual policy has no connect for this class of sockets; if it
	 * is the network that forbids, sending will say so, too */
	*open = err == -EACCES || err == -EPERM;
	return err && !*open ? fail(fd, err) : fd;
}
