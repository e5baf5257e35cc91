/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * sock - the host's sockets, for an address and a port
 *
 * The only file that builds sockaddrs and the only one that talks to sockets:
 * the simulator replaces it by toy sockets.  All sockets are non-blocking and
 * close-on-exec.  Functions that return int give 0 or a descriptor on success
 * and -errno otherwise.  -EAGAIN is never logged, and EINTR never seen.
 */
#ifndef SOCK_H
#define SOCK_H

#include "addr.h"

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/uio.h>

/* What all sockets have in common; const after sock_init() */
struct sock_env {
	bool v4, v6;		/* the kernel has sockets of this family */
	bool freebind;		/* --freebind */
	struct addr out4, out6;	/* --outbound; none: the kernel chooses */
	char if4[16], if6[16];	/* --outbound-if4/6; empty: any */
	unsigned scope;		/* interface index for the host's link-local
				   addresses and for groups; 0: none */
	unsigned scope4;	/* interface index for IPv4 groups */
	bool peek_off4, peek_off6; /* SO_PEEK_OFF works for TCP: Linux 6.11, or
				      6.9 without IPv6 */
	bool inherits;		/* accepted sockets inherit NODELAY, PEEK_OFF
				   and OOBINLINE from their listener */
	bool gso, gro;		/* UDP_SEGMENT (Linux 4.18), UDP_GRO (5.0) */
	bool bindtodevice;	/* SO_BINDTODEVICE is permitted: Linux 5.7, or
				   root */
	bool paced;		/* the default congestion control is BBR */
	bool inside;		/* sockets of this environment are for loopback
				   addresses */
	uint8_t ttl4, ttl6;	/* the default TTL and hop limit of sockets */
	uint32_t mark;		/* --mark: the process at the other end of
				   @maker makes the sockets; 0: no mark */
	int maker;
};

/* sock_make - make a socket with nothing set but the mark of @e */
int sock_make(const struct sock_env *e, bool v4, int type, int proto);

/* sock_lacks - whether @err, a negative errno, means that we have run out of
 * something, so that it says nothing about the network */
static inline bool sock_lacks(int err)
{
	return err == -EMFILE || err == -ENFILE || err == -ENOBUFS ||
	       err == -ENOMEM;
}

/* sock_serve - make marked sockets for the process at the other end of @fd,
 * until that is closed */
void sock_serve(int fd, uint32_t mark);

/* sock_init - find out what the kernel can do; the other fields are the
 * caller's to set */
void sock_init(struct sock_env *e);

/* --- TCP ----------------------------------------------------------------
 *
 * A connection that stays on this machine has no bottleneck to find, and BBR's
 * pacing timers cost it half of its rate.  So where BBR is the default, such
 * connections get CUBIC, or Reno; the functions below do that without being
 * told.
 *
 * Urgent data are read as data in their place (RFC 6093).  But a read ends in
 * front of them, so on a socket that has reported EPOLLPRI a short read does
 * not mean that there is no more. */

/* sock_tcp - make a stream socket that can connect to @to
 * It is bound to the outbound address and device if these are given. */
int sock_tcp(const struct sock_env *e, const struct addr *to);

/* sock_nodelay - set TCP_NODELAY: send small writes without waiting for an ACK
 * (Nagle's algorithm)
 * Accepted sockets have it set.  One that connects needs it before its second
 * write, or one of more than a segment: a first small write goes at once
 * anyway, and many connections have no more. */
int sock_nodelay(int fd);

/* sock_is_few - whether @bytes fit one segment, whoever the peer is */
static inline bool sock_is_few(size_t bytes)
{
	return bytes <= 536; /* RFC 9293 3.7.1 */
}

/* sock_bind - bind @fd to one of our addresses, before it connects */
int sock_bind(const struct sock_env *e, int fd, const struct addr *a,
	      uint16_t port);

/* sock_connect - begin to connect; both 0 and -EINPROGRESS mean success */
int sock_connect(const struct sock_env *e, int fd, const struct addr *to,
		 uint16_t port);

/* What a listening or receiving socket is bound to */
struct sock_bind {
	struct addr addr; /* none if @dual */
	bool dual;	  /* one IPv6 socket for both families */
	uint16_t port;
	const char *ifname; /* SO_BINDTODEVICE, NULL or "": any */
	bool shared;	  /* datagrams: other sockets that share it may have the
			     port as well */
	int fresh;	  /* a descriptor of sock_udp_fresh() + 1, to use; 0:
			     none */
};

/* sock_listen - make a listening stream socket, with a backlog of 4096
 * Options that accepted sockets inherit are set: TCP_NODELAY, SO_OOBINLINE, a
 * peek offset of 0. */
int sock_listen(const struct sock_env *e, const struct sock_bind *b);

/* sock_holds - whether listener @fd is still bound as @b says
 * An interface that was deleted and made again is another one, whatever its
 * name. */
bool sock_holds(const struct sock_env *e, int fd, const struct sock_bind *b);

/* sock_accept - accept the next connection, with its peer's address in *@from
 * and ours in *@to
 * TCP_NODELAY, SO_OOBINLINE and a peek offset of 0 are set.  Returns -EAGAIN if
 * there is none. */
int sock_accept(const struct sock_env *e, int listener, struct addr *from,
		uint16_t *from_port, struct addr *to, uint16_t *to_port);

/* sock_can_peek - whether TCP sockets of this family have a peek offset; if
 * not, use sock_recv() and keep a copy */
static inline bool sock_can_peek(const struct sock_env *e, bool v4)
{
	return v4 ? e->peek_off4 : e->peek_off6;
}

/* sock_peek - read from the peek offset on, which then moves on, and remove
 * nothing
 * Accepted sockets have an offset, of 0.  Others have none before
 * sock_peek_to(), and are read from the first unread byte.  Returns the bytes
 * read, 0 at end of file, -EAGAIN if there is nothing. */
ssize_t sock_peek(int fd, const struct iovec *iov, unsigned cnt);
/* sock_peek_to - set the peek offset, counted from the first unread byte */
int sock_peek_to(int fd, unsigned off);
/* sock_discard - remove up to @n bytes from the receive queue unread; returns
 * how many, or -errno
 * The kernel moves the peek offset back by as much. */
ssize_t sock_discard(int fd, size_t n);
/* sock_recv - read and remove; returns the bytes read, or -errno */
ssize_t sock_recv(int fd, const struct iovec *iov, unsigned cnt);
/* sock_send - send as much as the socket takes; returns the bytes taken, or
 * -errno; never raises SIGPIPE */
ssize_t sock_send(int fd, const struct iovec *iov, unsigned cnt);

/* sock_unread - the bytes in the receive queue of a stream, peeked at or not */
uint32_t sock_unread(int fd);

/* sock_undelivered - the bytes that were sent, and that the peer has not
 * acknowledged */
uint32_t sock_undelivered(int fd);

/* sock_room - the free bytes of the send buffer, from SO_MEMINFO; 0 if it is
 * over-full, -errno if the kernel does not tell */
ssize_t sock_room(int fd);

/* sock_path_mtu - the path MTU of a connection as far as the kernel knows it; 0
 * if it does not tell */
unsigned sock_path_mtu(int fd, bool v4);

/* sock_lives - whether a connection goes on in spite of an error it had: a soft
 * error, as a router has reported it (RFC 1122, 4.2.3.9) */
bool sock_lives(int fd);

/* sock_rcvbuf - the size of the receive buffer now, from SO_MEMINFO or
 * SO_RCVBUF; 0: unknown */
size_t sock_rcvbuf(int fd);

/* sock_count - read from TCP_INFO what a connection has moved (Linux 4.1, 4.19)
 * Returns false, and leaves *@c alone, if the kernel does not count. */
struct sock_count {
	uint64_t received, sent; /* bytes, without retransmissions */
	uint64_t unsent;	 /* bytes that the socket has taken and not sent
				    yet */
};
bool sock_count(int fd, struct sock_count *c);

/* sock_shut_write - shut down the sending direction: the peer sees FIN
 * sock_keepalive - set SO_KEEPALIVE */
int sock_shut_write(int fd);
int sock_keepalive(int fd);
/* sock_error - take the pending error: a negative errno, or 0 */
int sock_error(int fd);
/* sock_connected - the outcome of connect() after epoll has reported @events:
 * 0, -errno, or -EINPROGRESS, in which case another event will come */
int sock_connected(int fd, uint32_t events);
void sock_close(int fd);
/* sock_abort - close @fd so that the peer sees a reset, at once, even if another
 * process has the socket as well: a predecessor, or the service manager */
void sock_abort(int fd);

/* --- UDP ---------------------------------------------------------------- */

/* sock_udp - make a datagram socket bound to @b, with RECVERR and PKTINFO
 * @to, if not NULL, is the peer to connect to; if @b->addr is none, its family
 * decides that of the socket, bound to the outbound address or any.  With
 * @to_port 0 the socket is not connected, and each datagram names its @to.  If
 * the port is in use or not permitted, another one is taken if @any_port.  If
 * not @b->shared nobody else may have the port now, but our own shared sockets
 * may join later. */
int sock_udp(const struct sock_env *e, const struct sock_bind *b,
	     const struct addr *to, uint16_t to_port, bool any_port);
/* sock_udp_fresh - make a datagram socket for @b->fresh of sock_udp(), which
 * owns it then, even on failure */
int sock_udp_fresh(bool v4);
/* sock_group - let @fd send to groups and broadcast addresses, and not receive
 * what is sent to groups
 * Without this, a datagram to a subnet's broadcast address is refused with
 * -EACCES. */
void sock_group(const struct sock_env *e, int fd, bool v4);
/* sock_udp_listen - make a datagram socket that listens for many senders, with
 * PKTINFO
 * If not @b->shared it fails with -EADDRINUSE if anybody has the port, even
 * with SO_REUSEADDR; sock_udp() with @shared may have it afterwards. */
int sock_udp_listen(const struct sock_env *e, const struct sock_bind *b);
/* sock_waiting - an upper bound of the datagrams that wait in the socket or are
 * just being queued */
unsigned sock_waiting(int fd);
/* sock_gro - let runs of datagrams arrive as one; false: not available */
bool sock_gro(int fd);
/* How packets are sent: TTL or hop limit (0: unknown), type of service or
 * traffic class, and whether routers may fragment them */
struct sock_ip {
	uint8_t ttl, tos;
	uint8_t df; /* SOCK_DF_*: as the kernel likes, set, clear */
	uint8_t zero;
};
enum { SOCK_DF_ANY, SOCK_DF_SET, SOCK_DF_CLEAR };

/* sock_ip_of - what to send a packet with that has @len bytes behind its IP
 * header
 * For a packet that is short enough to pass anywhere, @df does not matter: that
 * of @was is kept. */
static inline struct sock_ip sock_ip_of(struct sock_ip was, bool v4,
					uint8_t ttl, uint8_t tos, bool df,
					size_t len)
{
	uint8_t any = len <= (v4 ? 548U : 1232U);

	return (struct sock_ip){
		ttl, tos, any ? was.df : df ? SOCK_DF_SET : SOCK_DF_CLEAR, 0
	};
}

/* sock_ip_probes - whether such packets look for routers or for the path MTU
 * (traceroute)
 * Other senders leave the TTL as their system has it, at 64 or more. */
static inline bool sock_ip_probes(struct sock_ip ip)
{
	return ip.ttl < 32;
}

/* sock_ip_equal - whether @a and @b are equal, in one comparison */
static inline bool sock_ip_equal(const struct sock_ip *a,
				 const struct sock_ip *b)
{
	return !memcmp(a, b, sizeof(*a));
}

/* sock_set_ip - have @fd send with @ip from now on; only what differs from
 * *@now is set, which becomes @ip */
void sock_set_ip(int fd, bool v4, struct sock_ip *now, struct sock_ip ip);

/* sock_hear_errors - set RECVERR on stream @fd: sock_error_next() then tells
 * what ended connect(), and soft errors are reported later, too, see
 * sock_lives() */
void sock_hear_errors(int fd, bool v4);

/* sock_hear_tos - receive the type of service with each datagram */
void sock_hear_tos(int fd, bool v4);
/* sock_local - get the address and port that @fd is bound to */
int sock_local(int fd, struct addr *a, uint16_t *port);

enum { SOCK_BATCH = 64, SOCK_GSO_SEGMENTS = 64, SOCK_GSO_BYTES = 65507 };

/* One datagram, or a run of them when @gso_size is set */
struct sock_dgram {
	struct iovec *iov;
	unsigned iov_cnt;
	size_t len;	    /* received: its bytes; to send: the sum of @iov */
	uint16_t gso_size;
	bool truncated;	    /* received: it was longer than @iov */
	struct addr from, to; /* received, if asked for */
	uint16_t from_port;
	uint16_t to_port;   /* to send: its destination is @to and this port; 0:
			       the connected peer */
	uint8_t tos;	    /* received, after sock_hear_tos() */
	uint8_t ttl;	    /* received by sockets for groups, else 0 */
};

/* sock_recv_dgrams - receive up to @n (at most SOCK_BATCH) datagrams into their
 * iovecs
 * With @addrs, @from, @from_port and @to are filled in, too.  Returns how many,
 * -EAGAIN if there is none, or the socket's error. */
int sock_recv_dgrams(int fd, struct sock_dgram *d, unsigned n, bool addrs);
/* sock_send_dgrams - send up to @n (at most SOCK_BATCH) datagrams, to the
 * connected peer or to where each says
 * Returns how many were taken, or -errno if the first was refused; for a run
 * -EMSGSIZE, -EINVAL and -EIO mean that its datagrams have to be sent one by
 * one. */
int sock_send_dgrams(int fd, const struct sock_dgram *d, unsigned n);
/* sock_send_cut - send one datagram which the kernel may fragment, whatever @ip
 * says; returns what sock_send_dgrams() does */
int sock_send_cut(int fd, bool v4, struct sock_ip *ip,
		  const struct sock_dgram *d);

/* sock_udp_group - make a datagram socket bound to @group and @port, whoever
 * else has that port; it is not a member of the group yet */
int sock_udp_group(const struct sock_env *e, const struct addr *group,
		   uint16_t port);

/* A source filter: which sources of a group are heard, all but these (@exclude)
 * or only these */
enum { SOCK_SOURCES = 32 };
struct sock_sources {
	bool exclude;
	unsigned n;
	struct addr source[SOCK_SOURCES];
};

/* sock_join - make @fd a member of @group on an interface, with filter @f;
 * @again changes the filter of a member
 * If the kernel takes no more sources, all are heard. */
int sock_join(int fd, const struct addr *group, unsigned ifindex,
	      const struct sock_sources *f, bool again);

/* sock_port_free - whether no datagram socket has @port at any address of this
 * family, except at addresses of groups */
bool sock_port_free(const struct sock_env *e, bool v4, uint16_t port);

/* An entry of the error queue about a datagram that we sent; or SO_ERROR alone,
 * then @icmp is false */
struct sock_error {
	int err;	      /* errno, positive */
	bool icmp;	      /* @type, @code, @mtu, @offender are valid */
	uint8_t type, code;   /* of the ICMP or ICMPv6 message */
	uint32_t mtu;	      /* with EMSGSIZE: the MTU */
	struct addr offender;
	struct addr to;	      /* destination of the datagram */
	uint16_t to_port;
	size_t len;	      /* bytes of the datagram that are in @payload */
	uint8_t payload[1232];
};
/* sock_error_next - take the next entry of the error queue, after the last one
 * SO_ERROR; false if there is neither */
bool sock_error_next(int fd, struct sock_error *e);

/* --- echo --------------------------------------------------------------- */

/* sock_ping - make an ICMP or ICMPv6 echo ("ping") socket connected to @to,
 * bound to identifier @id if the kernel lets us, else to one of its choice
 * *@open is set if it could not be connected, because a security module forbids
 * that.  Then each datagram has to name its @to, with a port of 1, and replies
 * may come from others. */
int sock_ping(const struct sock_env *e, const struct addr *to, uint16_t id,
	      bool *open);

#endif /* SOCK_H */
