/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * renew - the plan that is in force, and the way to the next one
 */
#include "renew.h"
#include "ndp.h"

void renew_init(struct renew *r, const struct conf *c)
{
	r->conf = c;
	r->env = c->sock;
	plan_make(c, &r->host, &r->plan);
	r->env.scope = r->plan.scope;
	r->env.scope4 = r->plan.scope4;
}

void renew_start(struct renew *r, struct fwd *fwd, struct guest *guest)
{
	r->fwd = fwd;
	r->guest = guest;
}

bool renew_plan(struct renew *r, struct plan *was)
{
	struct plan *now = &r->plan;
	bool router;

	*was = *now;
	plan_make(r->conf, &r->host, now);
	plan_keep(now, was);
	r->env.scope = now->scope;
	r->env.scope4 = now->scope4;
	if (!r->fwd)
		return memcmp(now, was, sizeof(*now));
	fwd_resolvers(r->fwd, &now->map.dns);
	guest_renew(r->guest);
	router = !addr_equal(&now->lan.our_ll6, &was->lan.our_ll6);
	if (router)
		guest_farewell(r->guest, &was->lan);
	if (ndp_changed(&now->lan, &was->lan) || router)
		guest_advertise(r->guest);
	return memcmp(now, was, sizeof(*now));
}
