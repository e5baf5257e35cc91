/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * fwd - forwarding policy: from a tuple on one side to what it is on the
 * other
 */
#ifndef FWD_H
#define FWD_H

#include "egress.h"
#include "flow.h"
#include "lan.h"
#include "rules.h"
#include "sock.h"

enum { FWD_NAMES = 4, FWD_DNS = 2 * LAN_DNS };

/* Resolvers for the guest's questions.  Index 0 is for questions by IPv4, 1 by
 * IPv6 */
struct fwd_dns {
	struct addr match[2];	       /* address by which the guest knows the
					  resolver */
	struct addr host[2][FWD_DNS]; /* resolvers, of either family, in
					 order */
	unsigned n[2], current[2];
};

/* Address translations, const after the command line.  Index 0 is IPv4, 1 IPv6.
 * The lists end with none; of several addresses the guest is shown the
 * first. */
struct fwd_map {
	struct addr host_loopback[2][FWD_NAMES]; /* addresses by which the guest
						    knows our 127.0.0.1 and
						    ::1 */
	struct addr guest_addr[2][FWD_NAMES]; /* addresses by which the guest
						 reaches its own address on the
						 host */
	struct fwd_dns dns; /* the resolvers at the start */
	bool splice;	    /* loopback traffic may go from socket to socket */
	bool host_lo_to_ns_lo;
	bool splice_only;   /* nothing goes over the guest's link */
	const struct egress *egress; /* destinations that the guest may have;
					NULL: any */
};

/* Most TCP connections to resolvers whose answers are read at once: a new one
 * replaces the oldest */
enum { FWD_TOLD = 8 };

struct fwd_told {
	const struct flow *f;
	uint32_t gen;
	bool begun;    /* @next is valid */
	uint32_t next; /* sequence number of the next byte to read */
	uint32_t len;  /* bytes in @b: the length and what is there of a
			  message */
	uint8_t b[2 + UINT16_MAX];
};

struct fwd {
	const struct lan *lan;
	const struct seen *seen;
	const struct fwd_map *map;
	const struct sock_env *env;
	struct fwd_dns dns;
	struct egress_view view; /* what map->egress is applied to */
	struct fwd_told *told; /* FWD_TOLD entries; NULL: no rule has a name,
				  and no answers are read */
	unsigned told_next;
	/* Questions that a resolver has answered with an error, and not at all,
	 * and how often another one was chosen because of that */
	uint64_t dns_refused, dns_silent, dns_switched;
};

/* fwd_out - the host's side for a packet of the guest with tuple @t
 * Fills @host; its @fd is -1.  Returns PASS or the reason to drop it;
 * DROP_DENIED has been logged. */
enum verdict fwd_out(const struct fwd *f, const struct tuple *t,
		     struct side *host);

/* fwd_in - the guest's side for a connection or datagram at a listener with
 * rule @r
 * @host is complete.  Fills @tap; its @fd is -1.  Returns PASS or the reason to
 * drop it. */
enum verdict fwd_in(const struct fwd *f, const struct rule *r,
		    const struct side *host, struct side *tap);

/* fwd_guest_view - the address by which the guest knows the host's side's
 * @host, for ICMP errors and neighbours; false if there is none */
bool fwd_guest_view(const struct fwd *f, const struct addr *host,
		    struct addr *guest);

/* fwd_splices - whether what arrived at a listener goes from socket to socket,
 * past the guest's link
 * @from is the complete side where it arrived, @r the listener's rule. */
bool fwd_splices(const struct fwd *f, const struct rule *r,
		 const struct side *from);

/* fwd_splice - if so, the side in the other namespace for what arrived at @from
 * Fills @to; its @fd is -1 and our address the kernel's choice.  Returns PASS
 * or the reason to drop it. */
enum verdict fwd_splice(const struct fwd *f, const struct rule *r,
			const struct side *from, struct side *to);

/* fwd_is_dns - whether what the guest sends to @guest's address of ours is for
 * a resolver */
bool fwd_is_dns(const struct fwd *f, uint8_t proto, const struct side *guest);

/* fwd_dns_failed - @host, where fwd_out() has sent the guest's @guest, has
 * failed: it is @silent, or refused
 * If it was asked as a resolver and is the current one, new questions go to the
 * next one.  Returns whether the current one is now another than @host.
 * Failures of port 853 (DNS over TLS) do not count, as few resolvers serve
 * it. */
bool fwd_dns_failed(struct fwd *f, uint8_t proto, const struct side *guest,
		    const struct side *host, bool silent);

/* fwd_may_ask - whether the guest may ask any resolver of the host over UDP
 * port 53 */
bool fwd_may_ask(const struct fwd *f);

/* fwd_hears - whether answers from @host are read for the addresses of names in
 * rules: it is a resolver of the host, asked in clear text
 * fwd_may_hear - whether they may be read one day, when other hosts become
 * resolvers
 * fwd_hear - read one such answer, a DNS message of @len bytes */
bool fwd_hears(const struct fwd *f, const struct side *host);
bool fwd_may_hear(const struct fwd *f, const struct side *host);
void fwd_hear(const struct fwd *f, const void *p, size_t len);

/* fwd_listen - connection @flow was opened by the guest to @host: if
 * fwd_hears(), have its answers read
 * fwd_told - the state of that; NULL: they are not read
 * fwd_hear_bytes - read the next @len bytes that @host has sent */
void fwd_listen(struct fwd *f, const struct flow *flow, const struct side *host);
struct fwd_told *fwd_told(const struct fwd *f, const struct flow *flow);
void fwd_hear_bytes(const struct fwd *f, struct fwd_told *told,
		    const struct side *host, const uint8_t *p, size_t len);

/* fwd_save_told, fwd_load_told - write that state for a successor, and read it
 * for @flow, whose answers are then read */
void fwd_save_told(const struct fwd_told *told, struct wr *w);
void fwd_load_told(struct fwd *f, const struct flow *flow, struct rd *r);

/* fwd_save_asked, fwd_load_asked - write which resolvers are current, and make
 * them current again if they are still in the list */
void fwd_save_asked(const struct fwd *f, struct wr *w);
void fwd_load_asked(struct fwd *f, struct rd *r);

/* fwd_resolvers - use the resolvers of @dns from now on
 * A list that has not changed keeps its current one, so that silent ones are
 * not asked again. */
void fwd_resolvers(struct fwd *f, const struct fwd_dns *dns);

/* fwd_init - set up @f; all pointers stay the caller's */
void fwd_init(struct fwd *f, const struct lan *lan, const struct seen *seen,
	      const struct fwd_map *map, const struct sock_env *env);

#endif /* FWD_H */
