/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * fwd - policy: given a tuple on one side, what the other side must be
 */
#ifndef FWD_H
#define FWD_H

#include "flow.h"
#include "lan.h"
#include "rules.h"
#include "sock.h"

/* Translations, const after the command line; index 0 IPv4, 1 IPv6 */
struct fwd_map {
	struct addr host_loopback[2]; /* guest's name for our 127.0.0.1, ::1 */
	struct addr guest_addr[2];    /* guest's name for its own address as it
					 exists on the host */
	struct addr dns_match[2];     /* guest's name for the resolver */
	struct addr dns_host[2];      /* the resolver */
	bool splice;		      /* loopback traffic may bypass the guest */
	bool host_lo_to_ns_lo;
	bool splice_only;	      /* and there is no other way */
};

struct fwd {
	const struct lan *lan;
	const struct seen *seen;
	const struct fwd_map *map;
	const struct sock_env *env;
};

/* fwd_out - from a packet of the guest to the side of the host
 * Fills @host but @fd.  PASS or why not. */
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

/* fwd_init - the pointers stay the caller's */
void fwd_init(struct fwd *f, const struct lan *lan, const struct seen *seen,
	      const struct fwd_map *map, const struct sock_env *env);

#endif /* FWD_H */
