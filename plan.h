/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * plan - what follows from the user's wishes and from what the host says
 *
 * There are three things: struct conf is what the command line says, struct
 * host what the host says, and struct plan what the guest gets because of both.
 * The plan is a function of the others, so it is made again whenever the host
 * changes.  What the command line gives is never overwritten.
 */
#ifndef PLAN_H
#define PLAN_H

#include "conf.h"
#include "hostnet.h"
#include "resolvconf.h"

struct host {
	struct template t[2]; /* IPv4, IPv6 */
	struct resolvconf rc;
	bool lacks[2]; /* the guest's namespace does not have this family */
};

struct plan {
	struct lan lan;
	struct fwd_map map;
	bool local[2];	/* this family has no template: local mode */
	unsigned scope; /* interface for the host's link-local addresses and for
			   groups */
	unsigned scope4; /* interface for IPv4 groups */
};

/* plan_make - make *@out of @c and @h; no side effects but log messages */
void plan_make(const struct conf *c, const struct host *h, struct plan *out);

/* plan_keep - when @now replaces @was, keep what the transport and the
 * namespace have told, and the address that stands in for a resolver */
void plan_keep(struct plan *now, const struct plan *was);

/* plan_resolvers - take @rc, the contents of resolv.conf(5), into @h
 * If it has no resolvers, the former ones are kept. */
void plan_resolvers(struct host *h, const struct resolvconf *rc);

/* plan_check - before anything is opened: die of what makes the plan
 * impossible, and log what the user should know */
void plan_check(const struct conf *c, const struct host *h,
		const struct plan *p);

/* plan_ifname - write the name that the interface in the namespace should have
 * to @name */
void plan_ifname(const struct conf *c, const struct host *h, char name[16]);

#endif /* PLAN_H */
