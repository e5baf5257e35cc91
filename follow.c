/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * follow - what the host's network becomes while we run, the guest's becomes
 *
 * While a change settles the socket of notifications is not watched, and its
 * buffer is small: what does not fit is not even made by the kernel.
 */
#include "follow.h"
#include "log.h"

#include <linux/rtnetlink.h>

#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	STEPS = 8, /* steps of a look in one turn: 256 KiB, a millisecond */
	STEP_MS = 4,
	FLOWS = 1024,      /* flows looked at in one turn */
	BUFFER = 32 << 10, /* of notifications */
	GROUPS = RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR |
		 RTMGRP_IPV4_ROUTE | RTMGRP_IPV6_ROUTE,
};

static const char *const family[] = { "IPv4", "IPv6" };

static uint64_t now(const struct follow *f)
{
	return f->loop->now_ms;
}

static void set(struct follow *f, struct timer *t, unsigned ms)
{
	timer_set(&f->loop->timers, t, now(f) + ms);
}

/* --- the decision ----------------------------------------------------------
 */

static bool same_template(const struct template *a, const struct template *b)
{
	return a->ifindex == b->ifindex && addr_equal(&a->addr, &b->addr) &&
	       a->prefix == b->prefix && addr_equal(&a->ll, &b->ll) &&
	       addr_equal(&a->gw, &b->gw) && a->mtu == b->mtu;
}

unsigned follow_decide(const struct hostnet_view *was,
		       const struct hostnet_view *is, const bool patient[2],
		       struct template t[2])
{
	unsigned act = 0, i;

	if (was->addrs != is->addrs)
		act |= FOLLOW_ADDRESSES | FOLLOW_COPY;
	for (i = 0; i < 2; i++) {
		const struct template *new = &is->t[i];

		if (was->routes[i] != is->routes[i])
			act |= FOLLOW_COPY;
		if (same_template(&t[i], new))
			continue;
		if (!new->ifindex && patient[i]) {
			act |= FOLLOW_WAIT;
			continue;
		}
		act |= FOLLOW_PLAN | FOLLOW_COPY;
		t[i] = *new;
	}
	return act;
}

static void start_pass(struct follow *f, struct follow_pass *p, uint64_t due_ms)
{
	p->at = 0;
	timer_set(&f->loop->timers, &p->timer, due_ms);
}

/* --- what is done ----------------------------------------------------------
 */

static void tell_address(struct events *e, const char *name,
			 const struct addr *a)
{
	char text[ADDR_TEXT_LEN];

	if (!addr_is_none(a))
		events_text(e, name, addr_text(a, text));
}

/* Log a line if a family has changed */
static void tell(struct events *e, const struct plan *was,
		 const struct plan *is, const struct template *t, unsigned i)
{
	const struct addr *guest = i ? &is->lan.guest6 : &is->lan.guest4;
	const struct addr *gw = i ? &is->lan.gw6 : &is->lan.gw4;
	char text[2][ADDR_TEXT_LEN];

	if (addr_equal(guest, i ? &was->lan.guest6 : &was->lan.guest4) &&
	    addr_equal(gw, i ? &was->lan.gw6 : &was->lan.gw4) &&
	    was->local[i] == is->local[i])
		return;
	if (!(i ? is->lan.v6 : is->lan.v4))
		return;
	events_tell(e, LOG_INFORM, "host",
		    "The host's %s network has changed: %s%s, address %s, "
		    "router %s",
		    family[i], is->local[i] ? "none, local mode" : "interface ",
		    is->local[i] ? "" : t->ifname,
		    addr_is_none(guest) ? "none" : addr_text(guest, text[0]),
		    addr_is_none(gw) ? "none" : addr_text(gw, text[1]));
	events_text(e, "family", family[i]);
	if (!is->local[i])
		events_text(e, "interface", t->ifname);
	tell_address(e, "address", guest);
	tell_address(e, "router", gw);
}

/* Log that a family has gone, and is kept for a while, and when it is back */
static void tell_wait(struct follow *f, const struct hostnet_view *is)
{
	unsigned i;

	for (i = 0; i < 2; i++) {
		bool kept = f->renew->host.t[i].ifindex && !is->t[i].ifindex;

		if (kept == f->kept[i])
			continue;
		f->kept[i] = kept;
		if (kept)
			events_tell(f->events, LOG_INFORM, "gone",
				    "The host's %s network is gone, kept for "
				    "%u s", family[i], FOLLOW_PATIENCE_MS / 1000);
		else if (is->t[i].ifindex)
			events_tell(f->events, LOG_INFORM, "back",
				    "The host's %s network is back", family[i]);
		else
			continue;
		events_text(f->events, "family", family[i]);
	}
}

/* Addresses change with containers as well, so this is not logged by default */
static void tell_addresses(struct follow *f, unsigned came, unsigned gone)
{
	if ((!came && !gone) || !f->done_ms) /* the first look */
		return;
	events_tell(f->events, LOG_DBG, "addresses",
		    "Addresses of the host: %u new, %u gone", came, gone);
	events_number(f->events, "new", came);
	events_number(f->events, "gone", gone);
}

static void tell_many(struct follow *f)
{
	if (f->look.many && !f->many) {
		events_tell(f->events, LOG_WARN, "addresses",
			    "The host has more than %u addresses: connections "
			    "of those that go are not reset", HOSTNET_ADDRS);
		events_number(f->events, "more_than", HOSTNET_ADDRS);
	}
	f->many = f->look.many;
}

/* Log what was done in the namespace */
static void tell_link(struct events *e, const struct nslink_done *d)
{
	if (!d->addresses && !d->routes && !d->old_addresses && !d->old_routes)
		return;
	events_tell(e, LOG_INFORM, "guest",
		    "In the namespace: addresses +%u -%u, routes +%u -%u",
		    d->addresses, d->old_addresses, d->routes, d->old_routes);
	events_number(e, "new_addresses", d->addresses);
	events_number(e, "gone_addresses", d->old_addresses);
	events_number(e, "new_routes", d->routes);
	events_number(e, "gone_routes", d->old_routes);
}

static void plan_again(struct follow *f)
{
	struct renew *r = f->renew;
	struct plan was;
	unsigned i;

	if (!renew_plan(r, &was))
		return;
	for (i = 0; i < 2; i++)
		tell(f->events, &was, &r->plan, &r->host.t[i], i);
}

/* Remember addresses that have gone; they may be back by the time it matters.
 * If not all addresses are known, none are missed. */
static void note_gone(struct follow *f)
{
	struct addrset *gone = f->streams.timer.due_ms ? &f->late : &f->gone;
	struct addrset was = f->here;
	unsigned i, lost = 0;

	tell_many(f);
	f->here = f->look.addrs;
	f->look.addrs = was;
	for (i = 0; i < was.size && !f->look.many; i++) {
		if (addr_is_none(&was.slot[i]) ||
		    addrset_has(&f->here, &was.slot[i]))
			continue;
		lost++;
		(void)addrset_put(gone, &was.slot[i]);
		f->late_ms = now(f);
		start_pass(f, &f->datagrams, now(f) + 1);
	}
	if (!f->look.many && f->here.n + lost >= was.n)
		tell_addresses(f, f->here.n + lost - was.n, lost);
}

/* Note since when each family has had no template; it is patient if that is not
 * long */
static void be_patient(struct follow *f, const struct hostnet_view *is,
		       bool patient[2])
{
	unsigned i;

	for (i = 0; i < 2; i++) {
		if (is->t[i].ifindex)
			f->lost_ms[i] = 0;
		else if (!f->lost_ms[i])
			f->lost_ms[i] = now(f);
		patient[i] = !f->lost_ms[i] ||
			     now(f) - f->lost_ms[i] < FOLLOW_PATIENCE_MS;
	}
}

/* Look again when the first family has been without a template for long */
static void give_up_later(struct follow *f)
{
	uint64_t due = UINT64_MAX;
	unsigned i;

	for (i = 0; i < 2; i++)
		if (f->lost_ms[i] && f->renew->host.t[i].ifindex)
			due = MIN(due, f->lost_ms[i] + FOLLOW_PATIENCE_MS);
	if (due != UINT64_MAX)
		timer_set(&f->loop->timers, &f->lost, MAX(due, now(f) + 1));
}

/* Update the link in the namespace; addresses stay until it is certain that
 * nobody needs them */
static void update_link(struct follow *f)
{
	bool patient = f->streams.timer.due_ms || f->purge.due_ms ||
		       f->look.many;
	unsigned i;
	int err;

	if (!f->link)
		return;
	for (i = 0; i < 2; i++) /* it may come back */
		f->link->hold[i] = f->renew->host.t[i].ifindex &&
				   !f->seen.t[i].ifindex;
	err = nslink_update(f->link, &f->nl, &f->here, patient);
	if (err)
		log_limited(LOG_WARN, "Can't follow in the namespace: %s",
			    util_error(-err));
	tell_link(f->events, &f->link->done);
}

static void act(struct follow *f, const struct hostnet_view *is)
{
	struct template *t = f->renew->host.t;
	bool patient[2];
	unsigned todo;

	be_patient(f, is, patient);
	todo = follow_decide(&f->seen, is, patient, t);
	f->seen = *is;
	tell_wait(f, is);
	if (todo & FOLLOW_WAIT)
		give_up_later(f);
	if (todo & FOLLOW_ADDRESSES)
		note_gone(f);
	if (todo & (FOLLOW_ADDRESSES | FOLLOW_PLAN) && !f->streams.timer.due_ms)
		start_pass(f, &f->streams, now(f) + FOLLOW_PATIENCE_MS);
	if (todo & FOLLOW_PLAN)
		plan_again(f);
	if (todo & (FOLLOW_PLAN | FOLLOW_COPY))
		update_link(f);
	/* Addresses that stand for us may have changed, and neighbours are
	 * those of another link */
	if (todo & FOLLOW_PLAN)
		neighwatch_renew(f->neigh, t[0].ifindex, t[1].ifindex);
}

/* --- flows whose address has gone ------------------------------------------
 */

/* The side of @f with a socket of the host; NULL: none */
static const struct side *host_side(const struct flow *f)
{
	unsigned i;

	for (i = 0; i < 2; i++)
		if (f->side[i].pif == PIF_HOST && f->side[i].fd >= 0)
			return &f->side[i];
	return NULL;
}

static bool is_orphan(const struct follow *f, const struct side *s, bool stream)
{
	struct addr ours;
	uint16_t port;

	if (!s || sock_local(s->fd, &ours, &port) ||
	    addrset_has(&f->here, &ours))
		return false;
	/* An address of @late has not been gone for long enough for streams */
	if (addrset_has(&f->late, &ours))
		return !stream;
	return addrset_has(&f->gone, &ours);
}

/* Whether a flow began too lately to be dropped: its address must have been
 * there since, for too short a time to be seen */
static bool is_younger(const struct follow *f, const struct flow *flow)
{
	return flow_age_ms(f->flows, flow) < FOLLOW_PATIENCE_MS;
}

static void look_at_flow(struct follow *f, struct follow_pass *p,
			 struct flow *flow)
{
	const struct flow_type *type = f->flows->type[flow->kind];

	if (flow->kind == FLOW_FREE || !type->drop ||
	    p->stream != (flow_proto(flow) == IPPROTO_TCP) ||
	    (p->stream && is_younger(f, flow)) ||
	    !is_orphan(f, host_side(flow), p->stream))
		return;
	type->drop(f->flows->owner[flow->kind], flow);
	p->dropped++;
}

/* While a look is under way no other request may be sent */
static void purge(void *owner, struct timer *timer)
{
	struct follow *f = owner;

	if (f->looking)
		set(f, timer, FOLLOW_FAREWELL_MS);
	else
		update_link(f);
}

/* Addresses have not come back and their flows were reset: remove them from the
 * namespace, once the guest has heard of the resets */
static void forget(struct follow *f)
{
	struct addrset was = f->gone;

	addrset_clear(&was);
	f->gone = f->late;
	f->late = was;
	if (f->gone.n) {
		start_pass(f, &f->streams, MAX(f->late_ms + FOLLOW_PATIENCE_MS,
					       now(f) + 1));
		return;
	}
	set(f, &f->purge, FOLLOW_FAREWELL_MS);
}

static void pass(struct follow *f, struct follow_pass *p)
{
	unsigned end = MIN(p->at + FLOWS, f->flows->fresh);

	for (; p->at < end; p->at++)
		look_at_flow(f, p, &f->flows->flow[p->at]);
	if (p->at < f->flows->fresh) {
		set(f, &p->timer, STEP_MS);
		return;
	}
	if (p->dropped) {
		events_tell(f->events, LOG_INFORM, "reset",
			    "Reset for want of their address: %u %s", p->dropped,
			    p->stream ? "connections" : "flows of datagrams");
		events_text(f->events, "what",
			    p->stream ? "connections" : "datagrams");
		events_number(f->events, "count", p->dropped);
	}
	p->dropped = 0;
	if (p->stream)
		forget(f);
}

/* Datagrams have nothing to lose: the next one begins a flow from an address
 * that exists.  A connection is given up only when its address does not come
 * back. */
static void drop_datagrams(void *owner, struct timer *timer)
{
	struct follow *f = owner;

	(void)timer;
	pass(f, &f->datagrams);
}

/* Whether an address may be back already: wait for a look that is under way,
 * due or has failed, but not for a later one, as in a storm there is always
 * another */
static bool may_be_back(struct follow *f)
{
	if (!f->looking && !f->timer.due_ms)
		return false;
	if (!f->await) /* a look that began before the address came back would
			  not show it */
		f->await = f->looks + 1 + f->looking;
	return f->looks < f->await;
}

static void drop_streams(void *owner, struct timer *timer)
{
	struct follow *f = owner;

	if (!f->streams.at && may_be_back(f)) {
		set(f, timer, FOLLOW_SETTLE_MS);
		return;
	}
	f->await = 0;
	pass(f, &f->streams);
}

/* --- listeners ---------------------------------------------------------------
 */

/* After each look: an interface that was made again may look as the old one */
static void bind_listeners(void *owner, struct timer *timer)
{
	struct follow *f = owner;

	int err = listen_renew(f->listen);

	if (err == -EINPROGRESS)
		set(f, timer, STEP_MS);
	else if (err)
		set(f, timer, FOLLOW_ERROR_MS);
}

/* --- looks -----------------------------------------------------------------
 */

static int watch(struct follow *f, bool on)
{
	f->deaf = !on;
	return loop_mod(f->loop, f->fd, f->watch, 0, on ? EPOLLIN : EPOLLET);
}

static void ignore(void *arg, const struct nlmsghdr *h)
{
	(void)arg;
	(void)h;
}

static void done(struct follow *f, int err)
{
	f->looking = false;
	f->done_ms = now(f);
	if (err) {
		log_limited(LOG_WARN, "Can't look at the host's network: %s",
			    util_error(-err));
		f->pause_ms = FOLLOW_ERROR_MS;
		f->again = true;
	} else {
		f->looks++;
		if (f->look.local)
			*f->local = *f->look.local;
		act(f, &f->look.view);
	}
	bind_listeners(f, &f->bind);
	if (!f->again)
		return;
	f->again = false;
	set(f, &f->timer, f->pause_ms);
}

static void begin(struct follow *f)
{
	int err;

	/* What has come until now is no reason for another look */
	while (nl_read(f->fd, ignore, NULL) == -ENOBUFS)
		;
	if (watch(f, true)) { /* nothing would be heard any more */
		f->pause_ms = FOLLOW_ERROR_MS;
		f->again = true;
	}
	f->looking = true;
	err = hostnet_begin(&f->look);
	if (err)
		done(f, err);
}

static void go_on(void *owner, struct timer *timer)
{
	struct follow *f = owner;
	unsigned i;
	int err;

	if (!f->looking)
		begin(f);
	for (i = 0; f->looking && i < STEPS; i++) {
		err = hostnet_step(&f->look);
		if (err != -EINPROGRESS)
			done(f, err);
	}
	if (f->looking)
		set(f, timer, STEP_MS);
}

/* The more often there is something new, the longer it is let settle */
static void on_change(void *owner, uint64_t ref, uint32_t events)
{
	struct follow *f = owner;

	(void)ref;
	(void)events;
	if (f->deaf) /* and now it is full, too, which is reported in any case */
		return;
	(void)watch(f, false);
	if (!f->looking && now(f) - f->done_ms > FOLLOW_CALM_MS)
		f->pause_ms = FOLLOW_SETTLE_MS;
	else
		f->pause_ms = MIN(2 * f->pause_ms, (unsigned)FOLLOW_BUSY_MS);
	if (f->looking)
		f->again = true;
	else
		set(f, &f->timer, f->pause_ms);
}

/* It did not come back: look what there is now */
static void give_up(void *owner, struct timer *timer)
{
	struct follow *f = owner;

	(void)timer;
	if (!f->looking && !f->timer.due_ms)
		act(f, &f->seen);
}

/* --- start ------------------------------------------------------------------
 */

static int open_watch(struct follow *f)
{
	const int size = BUFFER;
	int err;

	f->fd = nl_listen(GROUPS);
	if (f->fd < 0)
		return f->fd;
	(void)setsockopt(f->fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	f->watch = loop_watch(f->loop, on_change, f);
	err = loop_add(f->loop, f->fd, f->watch, 0, EPOLLIN);
	return err ? err : nl_open(&f->nl);
}

int follow_start(struct follow *f, const struct hostnet *look)
{
	int err;

	f->look = *look;
	f->seen = look->view;
	f->pause_ms = FOLLOW_SETTLE_MS;
	timer_init(&f->timer, go_on, f);
	timer_init(&f->lost, give_up, f);
	timer_init(&f->datagrams.timer, drop_datagrams, f);
	timer_init(&f->streams.timer, drop_streams, f);
	f->streams.stream = true;
	timer_init(&f->purge, purge, f);
	timer_init(&f->bind, bind_listeners, f);
	f->look.nl = &f->nl;
	err = open_watch(f);
	if (err)
		return err;
	if (!addrset_room(&f->look.addrs, HOSTNET_ADDRS) ||
	    !addrset_room(&f->here, HOSTNET_ADDRS) ||
	    !addrset_room(&f->gone, HOSTNET_ADDRS) ||
	    !addrset_room(&f->late, HOSTNET_ADDRS))
		return -ENOMEM;
	/* What happened while we were busy starting, and all addresses */
	err = hostnet_look(&f->look);
	if (err)
		return err;
	f->seen.addrs = ~f->look.view.addrs;
	if (f->look.local)
		*f->local = *f->look.local;
	act(f, &f->look.view);
	bind_listeners(f, &f->bind);
	return 0;
}
