/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * plan - what follows from the user's wishes and from what the host says
 *
 * Three things: struct conf is what was said on the command line, struct host
 * what the host says, and struct plan what the guest gets for both.  The last is
 * a function of the others, so it is made again whenever the host changes.
 * What was given on the command line is never overwritten.
 */
#ifndef PLAN_H
#define PLAN_H

#include "conf.h"
#include "hostnet.h"
#include "resolvconf.h"

struct host {
	struct template t[2]; /* IPv4, IPv6 */
	struct resolvconf rc;
	bool lacks[2]; /* the guest's namespace has no such family */
};

struct plan {
	struct lan lan;
	struct fwd_map map;
	bool local[2];	/* family without template: local mode */
	unsigned scope; /* interface of link-local host addresses, and of groups */
	unsigned scope4; /* that of IPv4's */
};

/* plan_make - pure, but for what it says of nothing */
void plan_make(const struct conf *c, const struct host *h, struct plan *out);

/* plan_keep - what stays when @now takes the place of @was: what the transport and
 * the namespace told, and the name of a resolver's stand-in */
void plan_keep(struct plan *now, const struct plan *was);

/* plan_resolvers - @rc is what resolv.conf(5) says now
 * A text without resolvers leaves those that there are. */
void plan_resolvers(struct host *h, const struct resolvconf *rc);

/* plan_check - die of what a user should know before anything begins; say what
 * is no fault */
void plan_check(const struct conf *c, const struct host *h,
		const struct plan *p);

/* plan_ifname - the name of the interface in the namespace */
void plan_ifname(const struct conf *c, const struct host *h, char name[16]);

#endif /* PLAN_H */
