/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * renew - the plan that is in force, and the way to the next one
 */
#ifndef RENEW_H
#define RENEW_H

#include "guest.h"
#include "plan.h"

struct renew {
	const struct conf *conf;
	struct host host; /* as known: to be changed before renew_plan() */
	/* In force.  What uses @plan.lan, @plan.map or @env has a pointer:
	 * values change in their place, between turns. */
	struct plan plan;
	struct sock_env env;
	struct fwd *fwd;     /* NULL before renew_start() */
	struct guest *guest;
};

/* renew_init - the first plan, and no one to be told */
void renew_init(struct renew *r, const struct conf *c);

/* renew_start - who is told from now on; the pointers stay the caller's */
void renew_start(struct renew *r, struct fwd *fwd, struct guest *guest);

/* renew_plan - @r->host has changed: plan again
 * What the guest knows by router advertisements is corrected at once; by DHCP it
 * asks itself.  *@was gets what was in force; false: nothing is new. */
bool renew_plan(struct renew *r, struct plan *was);

#endif /* RENEW_H */
