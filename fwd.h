/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * fwd - policy: given a tuple on one side, what the other side must be
 */
#ifndef FWD_H
#define FWD_H

#include "egress.h"
#include "flow.h"
#include "lan.h"
#include "rules.h"
#include "sock.h"

enum { FWD_NAMES = 4, FWD_DNS = 2 * LAN_DNS };

/* Where the guest's questions go; index 0 what came by IPv4, 1 by IPv6 */
struct fwd_dns {
	struct addr match[2];	       /* guest's name for the resolver */
	struct addr host[2][FWD_DNS]; /* resolvers of both families, in order */
	unsigned n[2], current[2];
};

/* Translations, const after the command line; index 0 IPv4, 1 IPv6.  Of several
 * names, none behind the last, the first is what the guest is shown. */
struct fwd_map {
	struct addr host_loopback[2][FWD_NAMES]; /* guest's names for our
						    127.0.0.1, ::1 */
	struct addr guest_addr[2][FWD_NAMES]; /* guest's names for its own
						 address as the host has it */
	struct fwd_dns dns; /* to begin with */
	bool splice;	    /* loopback traffic may bypass the guest */
	bool host_lo_to_ns_lo;
	bool splice_only;   /* and there is no other way */
	const struct egress *egress; /* where the guest may go; NULL: anywhere */
};

/* Of what resolvers answer by TCP, so many connections are heard: the oldest gives way */
enum { FWD_TOLD = 8 };

struct fwd_told {
	const struct flow *f;
	uint32_t gen;
	bool begun;    /* where bytes may come again: */
	uint32_t next; /* number of the one that comes next */
	uint32_t len;  /* of what is here of a message and its length */
	uint8_t b[2 + UINT16_MAX];
};

struct fwd {
	const struct lan *lan;
	const struct seen *seen;
	const struct fwd_map *map;
	const struct sock_env *env;
	struct fwd_dns dns;
	struct egress_view view; /* what it is of addresses, with map->egress */
	struct fwd_told *told; /* FWD_TOLD of them; NULL: no names, nobody is heard */
	unsigned told_next;
	/* Questions that a resolver did not answer: with an error, not at all;
	 * and how often another one was taken for that */
	uint64_t dns_refused, dns_silent, dns_switched;
};

/* fwd_out - from a packet of the guest to the side of the host
 * Fills @host but @fd.  PASS or why not; DROP_DENIED has been logged. */
enum verdict fwd_out(const struct fwd *f, const struct tuple *t,
		     struct side *host);

/* fwd_in - from a connection or datagram at a listener to the guest's side
 * @host is complete; @r is the listener's rule.  Fills @tap but @fd. */
enum verdict fwd_in(const struct fwd *f, const struct rule *r,
		    const struct side *host, struct side *tap);

/* fwd_guest_view - how the guest knows a host-side address, for ICMP errors
 * and neighbours; false if it cannot be shown. */
bool fwd_guest_view(const struct fwd *f, const struct addr *host,
		    struct addr *guest);

/* fwd_splices - whether what came to a listener goes from socket to socket,
 * past the guest's link
 * @from is complete, @r is the listener's rule. */
bool fwd_splices(const struct fwd *f, const struct rule *r,
		 const struct side *from);

/* fwd_splice - for that: from the side where it came to the one in the other
 * namespace
 * Fills @to but @fd; our address there is the kernel's choice.  PASS or why
 * not. */
enum verdict fwd_splice(const struct fwd *f, const struct rule *r,
			const struct side *from, struct side *to);

/* fwd_is_dns - whether what the guest sends to @guest is for a resolver */
bool fwd_is_dns(const struct fwd *f, uint8_t proto, const struct side *guest);

/* fwd_dns_failed - @host, where fwd_out() has sent @guest, does not answer, is
 * @silent or says so
 * If it was asked as a resolver, the next one gets new questions.  True: there
 * is another one than @host.  Port 853 tells nothing: few serve it. */
bool fwd_dns_failed(struct fwd *f, uint8_t proto, const struct side *guest,
		    const struct side *host, bool silent);

/* fwd_may_ask - whether the guest may ask a resolver of the host, in clear text */
bool fwd_may_ask(const struct fwd *f);

/* fwd_hears - whether what @host answers tells where the names of rules are: it is a
 * resolver of the host, and asked in clear text
 * fwd_may_hear - whether it may be so some day, as others become resolvers
 * fwd_hear - one such answer, a DNS message */
bool fwd_hears(const struct fwd *f, const struct side *host);
bool fwd_may_hear(const struct fwd *f, const struct side *host);
void fwd_hear(const struct fwd *f, const void *p, size_t len);

/* fwd_listen - the guest asks by the connection @flow, whose side of the host is @host
 * fwd_told - where what comes there is kept; NULL: it is not heard
 * fwd_hear_bytes - the next bytes that @host sends */
void fwd_listen(struct fwd *f, const struct flow *flow, const struct side *host);
struct fwd_told *fwd_told(const struct fwd *f, const struct flow *flow);
void fwd_hear_bytes(const struct fwd *f, struct fwd_told *told,
		    const struct side *host, const uint8_t *p, size_t len);

/* fwd_save_told, fwd_load_told - the same for a successor; as fwd_listen(), before */
void fwd_save_told(const struct fwd_told *told, struct wr *w);
void fwd_load_told(struct fwd *f, const struct flow *flow, struct rd *r);

/* fwd_save_asked, fwd_load_asked - which resolvers are asked, if it has those, too */
void fwd_save_asked(const struct fwd *f, struct wr *w);
void fwd_load_asked(struct fwd *f, struct rd *r);

/* fwd_resolvers - other resolvers from now on
 * Where they are the same, those found silent are not asked again. */
void fwd_resolvers(struct fwd *f, const struct fwd_dns *dns);

/* fwd_init - the pointers stay the caller's */
void fwd_init(struct fwd *f, const struct lan *lan, const struct seen *seen,
	      const struct fwd_map *map, const struct sock_env *env);

#endif /* FWD_H */
