/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * sock - the host's sockets, for an address and a port
 *
 * The only file that builds sockaddrs and the only one that talks to sockets:
 * the simulator puts toy sockets in its place.  All sockets are non-blocking
 * and close-on-exec.  Functions that return int give 0 or a descriptor, or
 * -errno.  -EAGAIN is never logged and EINTR never seen.
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

/* Const after sock_init(): what all sockets have in common */
struct sock_env {
	bool v4, v6;		/* the kernel gives sockets of this family */
	bool freebind;		/* --freebind */
	struct addr out4, out6;	/* --outbound; none: kernel's choice */
	char if4[16], if6[16];	/* --outbound-if4/6; empty: any */
	unsigned scope;		/* interface of link-local host addresses, and of
				   groups; 0: none */
	unsigned scope4;	/* the same of IPv4's groups */
	bool peek_off4, peek_off6; /* SO_PEEK_OFF for TCP: 6.11, or 6.9 where there
				      is no IPv6 */
	bool inherits;		/* accepted sockets inherit NODELAY, PEEK_OFF
				   and OOBINLINE from their listener */
	bool gso, gro;		/* UDP_SEGMENT 4.18, UDP_GRO 5.0 */
	bool bindtodevice;	/* SO_BINDTODEVICE permitted: 5.7 or root */
	bool paced;		/* the default congestion control is BBR */
	bool inside;		/* what is made here connects loopback addresses */
	uint8_t ttl4, ttl6;	/* what sockets send without sock_set_ip() */
	uint32_t mark;		/* --mark: @maker makes them; 0: we do */
	int maker;
};

/* sock_make - a socket without anything set but the mark of @e */
int sock_make(const struct sock_env *e, bool v4, int type, int proto);

/* sock_lacks - whether @err, negative, says that we have run out of something: of the
 * network it says nothing */
static inline bool sock_lacks(int err)
{
	return err == -EMFILE || err == -ENFILE || err == -ENOBUFS ||
	       err == -ENOMEM;
}

/* sock_serve - make marked sockets for who has the other end of @fd, until that
 * is closed */
void sock_serve(int fd, uint32_t mark);

/* sock_init - probe what the kernel can do; the other fields are the caller's */
void sock_init(struct sock_env *e);

/* --- TCP ----------------------------------------------------------------
 *
 * A connection that stays on this machine has no bottleneck to find, and BBR's timers
 * cost it half of its rate: where that is the default it gets CUBIC, or Reno, without
 * a word in the functions below.
 *
 * Urgent data are data like others, in their place (RFC 6093).  But a read ends
 * in front of them, so on a socket that polls EPOLLPRI a short one says nothing:
 * there may be more, or not. */

/* sock_tcp - a stream socket for connecting to @to's family
 * Bound to the outbound address and device if given. */
int sock_tcp(const struct sock_env *e, const struct addr *to);

/* sock_nodelay - do not wait with little until what was sent is acknowledged
 * Accepted sockets have it.  One that connects needs it before it sends more
 * than a segment, or a second time: a first few bytes go at once, and many
 * connections have no more. */
int sock_nodelay(int fd);

/* sock_is_few - not more than a segment, whoever the peer is */
static inline bool sock_is_few(size_t bytes)
{
	return bytes <= 536; /* RFC 9293 3.7.1 */
}

/* sock_bind - to one of our addresses, before it connects */
int sock_bind(const struct sock_env *e, int fd, const struct addr *a,
	      uint16_t port);

/* sock_connect - begin; 0 or -EINPROGRESS are success */
int sock_connect(const struct sock_env *e, int fd, const struct addr *to,
		 uint16_t port);

/* What a listening or receiving socket is bound to */
struct sock_bind {
	struct addr addr; /* none with @dual, else of one family */
	bool dual;	  /* one IPv6 socket for both families */
	uint16_t port;
	const char *ifname; /* SO_BINDTODEVICE, NULL or "": any */
	bool shared;	  /* datagrams: also with those who share it */
	int fresh;	  /* use sock_udp_fresh()'s descriptor, + 1; 0: none */
};

/* sock_listen - a listening stream socket, backlog 4096
 * Options that children inherit are set: NODELAY, PEEK_OFF 0. */
int sock_listen(const struct sock_env *e, const struct sock_bind *b);

/* sock_holds - whether what listens is still bound as @b says: an interface that was
 * made again is another one, whatever its name */
bool sock_holds(const struct sock_env *e, int fd, const struct sock_bind *b);

/* sock_accept - next connection with its two ends, -EAGAIN if there is none
 * NODELAY and PEEK_OFF 0 are set on the result. */
int sock_accept(const struct sock_env *e, int listener, struct addr *from,
		uint16_t *from_port, struct addr *to, uint16_t *to_port);

/* sock_can_peek - false: no peek offset, sock_recv() with a copy kept is the
 * way */
static inline bool sock_can_peek(const struct sock_env *e, bool v4)
{
	return v4 ? e->peek_off4 : e->peek_off6;
}

/* sock_peek - read at the peek offset, which moves on
 * Accepted sockets have one, of 0.  Others have none before sock_peek_to():
 * then it reads from the first unread byte on.  0 is end of file; -EAGAIN
 * nothing there. */
ssize_t sock_peek(int fd, const struct iovec *iov, unsigned cnt);
/* sock_peek_to - set the peek offset, counted from the first unread byte */
int sock_peek_to(int fd, unsigned off);
/* sock_discard - take @n bytes out of the receive queue unread; how many were
 * there, or -errno
 * The peek offset moves back by as much (the kernel does that). */
ssize_t sock_discard(int fd, size_t n);
/* sock_recv - read and consume */
ssize_t sock_recv(int fd, const struct iovec *iov, unsigned cnt);
/* sock_send - as much as the socket takes; never raises SIGPIPE */
ssize_t sock_send(int fd, const struct iovec *iov, unsigned cnt);

/* sock_room - bytes that the send buffer has left, from SO_MEMINFO
 * 0 when it is over-full; -errno if the kernel does not say. */
ssize_t sock_room(int fd);

/* sock_path_mtu - what the path of a connection holds, as far as the kernel knows; 0
 * if it does not say */
unsigned sock_path_mtu(int fd, bool v4);

/* sock_lives - a connection goes on, whatever error it had: that was a router's
 * complaint (RFC 1122, 4.2.3.9) */
bool sock_lives(int fd);

/* sock_rcvbuf - size of the receive buffer now, from SO_MEMINFO or SO_RCVBUF */
size_t sock_rcvbuf(int fd);

/* sock_count - what a connection has moved, as the kernel counts (4.1, 4.19)
 * False: it does not. */
struct sock_count {
	uint64_t received, sent; /* not what was repeated */
	uint64_t unsent;	 /* of what it has taken */
};
bool sock_count(int fd, struct sock_count *c);

int sock_shut_write(int fd);
int sock_keepalive(int fd);
/* sock_error - take the pending error, as a negative errno or 0 */
int sock_error(int fd);
/* sock_connected - what came of connect() as epoll says @events: 0, -errno, or
 * -EINPROGRESS, then there will be another event */
int sock_connected(int fd, uint32_t events);
void sock_close(int fd);
/* sock_abort - close so that the peer sees a reset */
void sock_abort(int fd);

/* --- UDP ---------------------------------------------------------------- */

/* sock_udp - a datagram socket bound to @b (with NULL @b->addr: the outbound
 * address or any) with RECVERR and PKTINFO
 * @to, if not NULL, is what it is connected to, which decides the family.  With
 * @to_port 0 it decides the family only, and each datagram names its @to.  If
 * binding to the port is refused another port is taken when @any_port.  Afterwards
 * others of ours can have the port, too, if they are to be @b->shared. */
int sock_udp(const struct sock_env *e, const struct sock_bind *b,
	     const struct addr *to, uint16_t to_port, bool any_port);
/* sock_udp_fresh - a datagram socket for sock_udp() to do the rest with, even
 * if that fails */
int sock_udp_fresh(bool v4);
/* sock_group - from now on it may send to groups and broadcast addresses, and hears
 * nothing that is sent to groups
 * Without that a datagram to a subnet's broadcast address is refused: -EACCES. */
void sock_group(const struct sock_env *e, int fd, bool v4);
/* sock_udp_listen - a datagram socket for many senders, with PKTINFO
 * -EADDRINUSE if anybody has the port, even with SO_REUSEADDR, unless it is to
 * be @b->shared.  Afterwards sock_udp() can have it, too. */
int sock_udp_listen(const struct sock_env *e, const struct sock_bind *b);
/* sock_waiting - how many datagrams wait in it or are just being put there, at
 * most */
unsigned sock_waiting(int fd);
/* sock_gro - let runs of datagrams arrive as one; false: not available */
bool sock_gro(int fd);
/* How packets are sent: TTL or hop limit (0: not known), type of service or traffic
 * class, and whether they may be fragmented on their way */
struct sock_ip {
	uint8_t ttl, tos;
	uint8_t df; /* as the kernel likes, or as below */
	uint8_t zero;
};
enum { SOCK_DF_ANY, SOCK_DF_SET, SOCK_DF_CLEAR };

/* sock_ip_of - for a packet with @len bytes behind the headers of layer 4
 * Where it is short enough to pass anywhere, @was knows about @df. */
static inline struct sock_ip sock_ip_of(struct sock_ip was, bool v4,
					uint8_t ttl, uint8_t tos, bool df,
					size_t len)
{
	uint8_t any = len <= (v4 ? 548U : 1232U);

	return (struct sock_ip){
		ttl, tos, any ? was.df : df ? SOCK_DF_SET : SOCK_DF_CLEAR, 0
	};
}

/* sock_ip_probes - who sends that looks for routers or the path's MTU
 * Others leave the TTL as their system has it, at 64 or more. */
static inline bool sock_ip_probes(struct sock_ip ip)
{
	return ip.ttl < 32;
}

/* sock_ip_equal - one comparison for each packet */
static inline bool sock_ip_equal(const struct sock_ip *a,
				 const struct sock_ip *b)
{
	return !memcmp(a, b, sizeof(*a));
}

/* sock_set_ip - from now on; what @now says already is not set again */
void sock_set_ip(int fd, bool v4, struct sock_ip *now, struct sock_ip ip);

/* sock_hear_errors - of a stream: sock_error_next() tells what ended connect(), and
 * later errors are reported that do not end it, see sock_lives() */
void sock_hear_errors(int fd, bool v4);

/* sock_hear_tos - datagrams that come tell their type of service */
void sock_hear_tos(int fd, bool v4);
/* sock_local - the address and port it is bound to */
int sock_local(int fd, struct addr *a, uint16_t *port);

enum { SOCK_BATCH = 64, SOCK_GSO_SEGMENTS = 64, SOCK_GSO_BYTES = 65507 };

/* One datagram, or a run of them when @gso_size is set */
struct sock_dgram {
	struct iovec *iov;
	unsigned iov_cnt;
	size_t len;	    /* received: how much; to send: sum of @iov */
	uint16_t gso_size;
	bool truncated;	    /* received: there was more than room */
	struct addr from, to; /* received, if asked for */
	uint16_t from_port;
	uint16_t to_port;   /* to send: @to and this, 0: to the connected peer */
	uint8_t tos;	    /* received, if sock_hear_tos() */
	uint8_t ttl;	    /* received by what hears groups, else 0 */
};

/* sock_recv_dgrams - up to @n (at most SOCK_BATCH) datagrams into their iovecs
 * @addrs: fill @from, @from_port and @to as well.  Returns how many, -EAGAIN
 * for none, or the socket's error. */
int sock_recv_dgrams(int fd, struct sock_dgram *d, unsigned n, bool addrs);
/* sock_send_dgrams - to the connected peer
 * Returns how many were taken, or -errno if the first was refused: -EMSGSIZE,
 * -EINVAL or -EIO for a run mean "send them one by one". */
int sock_send_dgrams(int fd, const struct sock_dgram *d, unsigned n);
/* sock_send_cut - one of them, which the kernel may fragment, whatever @ip says */
int sock_send_cut(int fd, bool v4, struct sock_ip *ip,
		  const struct sock_dgram *d);

/* sock_udp_group - a datagram socket for what comes to @group and @port, whoever
 * else has that port; it is no member yet */
int sock_udp_group(const struct sock_env *e, const struct addr *group,
		   uint16_t port);

/* Which sources of a group are heard: all but these, or these */
enum { SOCK_SOURCES = 32 };
struct sock_sources {
	bool exclude;
	unsigned n;
	struct addr source[SOCK_SOURCES];
};

/* sock_join - be a member of @group on an interface; @again: with another filter
 * Where the kernel takes no more sources, all are heard. */
int sock_join(int fd, const struct addr *group, unsigned ifindex,
	      const struct sock_sources *f, bool again);

/* sock_port_free - whether nobody has @port at any address, for datagrams; those at
 * addresses of groups do not count */
bool sock_port_free(const struct sock_env *e, bool v4, uint16_t port);

/* What the error queue says about a datagram that we sent (or a plain
 * SO_ERROR, then @icmp is false) */
struct sock_error {
	int err;	      /* positive errno */
	bool icmp;	      /* @type, @code, @mtu, @offender are valid */
	uint8_t type, code;   /* of the ICMP or ICMPv6 message */
	uint32_t mtu;	      /* fragmentation needed, packet too big */
	struct addr offender;
	struct addr to;	      /* destination of the datagram */
	uint16_t to_port;
	size_t len;	      /* bytes of the datagram in @payload */
	uint8_t payload[1232];
};
/* sock_error_next - one entry of the error queue, then SO_ERROR, then false */
bool sock_error_next(int fd, struct sock_error *e);

/* --- echo --------------------------------------------------------------- */

/* sock_ping - an ICMP or ICMPv6 datagram socket connected to @to
 * *@open: it is not, as a security module forbids that.  Then each datagram has to
 * name its @to, with a port of 1, and replies may come from others.
 * Bound to identifier @id if the kernel lets us, else to one of its choice. */
int sock_ping(const struct sock_env *e, const struct addr *to, uint16_t id,
	      bool *open);

#endif /* SOCK_H */
