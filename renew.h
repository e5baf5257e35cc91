/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * renew - the plan in force, and the way to the next one
 */
#ifndef RENEW_H
#define RENEW_H

#include "guest.h"
#include "plan.h"

struct renew {
	const struct conf *conf;
	struct host host; /* what the host says; to be changed before
			     renew_plan() */
	/* The plan in force.  Users of @plan.lan, @plan.map and @env have
	 * pointers to these: the values change in place, between turns. */
	struct plan plan;
	struct sock_env env;
	struct fwd *fwd;     /* NULL before renew_start() */
	struct guest *guest;
};

/* renew_init - make the first plan; nobody is told of it */
void renew_init(struct renew *r, const struct conf *c);

/* renew_start - set whom to tell about later plans; the pointers stay the
 * caller's */
void renew_start(struct renew *r, struct fwd *fwd, struct guest *guest);

/* renew_plan - make the plan again, after @r->host has changed
 * What the guest knows from router advertisements is corrected at once, and
 * DHCP clients that can be told are told.  *@was becomes the former plan;
 * returns whether the new one differs. */
bool renew_plan(struct renew *r, struct plan *was);

#endif /* RENEW_H */
