/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * fwd - policy: given a tuple on one side, what the other side must be
 *
 * Also keeps the listening sockets of the rule tables.
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
};

struct fwd {
	const struct lan *lan;
	const struct seen *seen;
	const struct fwd_map *map;
	const struct sock_env *env;
	struct loop *loop;
	unsigned tcp_watch, udp_watch; /* where listeners' events go: tcp_init()
					  and udp_init() set them */
	const struct rules *rules;     /* HOST */
	unsigned base[RULES_MAX]; /* where a rule's ports begin in @fd */
	int *fd; /* descriptor + 1 of each port of each rule, 0: none; mapped */
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

/* fwd_init - the pointers stay the caller's; 0 or -errno
 * TCP and UDP plant the watches of their listeners afterwards. */
int fwd_init(struct fwd *f, struct loop *l, const struct lan *lan,
	      const struct seen *seen, const struct fwd_map *map,
	      const struct sock_env *env);

/* fwd_listen - open the sockets of @rules, which stays the caller's
 * A strict rule that fails ends it: -errno, with a warning for each port.  So
 * does a descriptor limit that is too low, before anything is opened. */
int fwd_listen(struct fwd *f, const struct rules *rules);

/* fwd_listener - what the reference of a listener's event names
 * Returns its descriptor, -1 if it is gone; *@r its rule. */
int fwd_listener(const struct fwd *f, uint64_t ref, const struct rule **r);

#endif /* FWD_H */
