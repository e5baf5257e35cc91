/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The host's addresses, which change, and what follow.c asks the kernel for.
 *
 * A family has one address at a time, or none.  A look takes some steps, and sees
 * what there is at one of them; now and then one fails.  While an address is gone
 * nothing reaches the far end of its sockets, or comes from there.
 */
#include "../still.h"
#include "sim.h"
#include "follow.h"

#include <errno.h>

enum { OTHERS = 3, OUTAGES = 64, LOOK_STEPS = 30 };

static struct {
	struct addr now[2], base[2]; /* none: there is no such address */
	struct outage {
		struct addr addr;
		uint64_t from, to; /* to 0: for the time being */
		bool unseen; /* it had not been there for long enough */
	} out[OUTAGES];
	unsigned outages, left; /* changes to come */
	uint64_t changed;	/* the last time */
	bool runs;
	/* notifications */
	struct toy toy;
	bool told, overrun;
	/* the look that is under way, and what the last one saw */
	unsigned steps, seen_at;
	struct addr sees[2], seen[2];
	bool may_fail, failed;
} h;

static struct follow follow;
static struct renew renew;
static struct neighwatch neighbours;

void host_reset(void)
{
	memset(&h, 0, sizeof(h));
	h.base[0] = addr_v4(198, 51, 100, 1);
	addr_parse("2001:db8:51::1", &h.base[1]);
	h.now[0] = h.base[0];
	h.now[1] = h.base[1];
}

const struct addr *host_addr(bool v6)
{
	return &h.now[v6];
}

static struct outage *outage(const struct addr *a)
{
	unsigned i;

	for (i = 0; i < h.outages; i++)
		if (!h.out[i].to && addr_equal(&h.out[i].addr, a))
			return &h.out[i];
	return NULL;
}

bool host_lacks(const struct addr *a)
{
	return outage(a);
}

/* One that was there for a moment, which no look saw, has not been back */
uint64_t host_outage(const struct addr *a, uint64_t from, uint64_t to)
{
	uint64_t longest = 0, since = 0;
	unsigned i;

	for (i = 0; i < h.outages; i++) {
		const struct outage *o = &h.out[i];
		uint64_t end = o->to ? MIN(o->to, to) : to;

		if (!addr_equal(&o->addr, a))
			continue;
		if (!o->unseen || !since)
			since = o->from;
		if (end > MAX(from, since))
			longest = MAX(longest, end - MAX(from, since));
	}
	return longest;
}

bool host_saw(const struct addr *a)
{
	const struct outage *o = outage(a);

	return o && !o->unseen;
}

uint64_t host_patience(void)
{
	return h.may_fail ? FOLLOW_ERROR_MS / 2ULL * MS :
			    FOLLOW_PATIENCE_MS * 8ULL / 10 * MS;
}

bool host_rest(void)
{
	return !h.left && (!h.runs || sim.now > h.changed + 15 * SEC);
}

bool host_changes(void)
{
	return h.runs;
}

unsigned host_toys(void)
{
	return h.runs;
}

/* --- changes ----------------------------------------------------------------- */

static void set(bool v6, const struct addr *a)
{
	struct outage *o = outage(a);
	char text[ADDR_TEXT_LEN];

	if (!addr_is_none(&h.now[v6]))
		h.out[h.outages++] = (struct outage){
			h.now[v6], sim.now, 0,
			!addr_equal(&h.now[v6], &h.seen[v6])
		};
	if (o)
		o->to = sim.now;
	h.now[v6] = *a;
	h.changed = sim.now;
	trace("  the host's IPv%c address is %s", v6 ? '6' : '4',
	      addr_is_none(a) ? "gone" : addr_text(a, text));
	h.told = true;
	h.overrun = chance(100);
	toy_wake(&h.toy, EPOLLIN);
}

/* The last byte is its own */
static struct addr other(bool v6)
{
	struct addr a = h.base[v6];

	a.b[15] = (uint8_t)(a.b[15] + rnd_to(OTHERS));
	return a;
}

static void last_change(void)
{
	unsigned i;

	for (i = 0; i < 2; i++)
		if (!addr_equal(&h.now[i], &h.base[i]))
			set(i, &h.base[i]);
}

/* Now and then while the last one is being looked at */
static uint64_t until_next(void)
{
	switch (rnd_to(5)) {
	case 0: return rnd_in(1, 900) * MS;
	case 1: return rnd_in(12, 60) * SEC;
	case 2: return rnd_in(FOLLOW_SETTLE_MS - 5, FOLLOW_SETTLE_MS + 20) * MS;
	default: return rnd_in(200, 7000) * MS;
	}
}

static void change(void *arg)
{
	static const struct addr none;
	bool v6 = chance(500);
	struct addr a = chance(600) ? h.base[v6] : other(v6);

	if (--h.left) {
		if (!addr_is_none(&h.now[v6]) && chance(600))
			a = none;
		if (!addr_equal(&a, &h.now[v6]))
			set(v6, &a);
		sim_after(until_next(), change, arg);
		return;
	}
	last_change();
}

static uint32_t poll_host(struct toy *t)
{
	(void)t;
	return h.told ? EPOLLIN : 0;
}

void host_start(unsigned changes)
{
	struct hostnet look = { .on = { true, true } };
	int err;

	if (!changes)
		return;
	h.runs = true;
	h.left = changes;
	world.listen->follows = true;
	renew = (struct renew){ 0 };
	follow = (struct follow){ .loop = &world.loop, .renew = &renew,
				  .neigh = &neighbours, .flows = &world.flows,
				  .listen = world.listen };
	err = follow_start(&follow, &look);
	if (err)
		sim_fail("follow_start: %s", strerror(-err));
	h.may_fail = chance(200);
	sim_after(until_next(), change, NULL);
}

/* --- netlink.h, hostnet.h ---------------------------------------------------- */

int nl_open(struct netlink *n)
{
	n->fd = -1;
	return 0;
}

int nl_listen(unsigned groups)
{
	(void)groups;
	toy_open(&h.toy, poll_host);
	return h.toy.fd;
}

int nl_read(int fd, nl_fn *fn, void *arg)
{
	bool overrun = h.overrun;

	(void)fd;
	(void)fn;
	(void)arg;
	h.told = h.overrun = false;
	sim.progress++;
	return overrun ? -ENOBUFS : 0;
}

static void see(struct hostnet *n)
{
	unsigned i;

	n->view = (struct hostnet_view){ .addrs = 0 };
	addrset_clear(&n->addrs);
	for (i = 0; i < 2; i++) {
		const struct addr *a = &h.now[i];

		h.sees[i] = *a;
		n->view.routes[i] = !addr_is_none(a);
		if (addr_is_none(a))
			continue;
		n->view.addrs += a->b[15] << 8 * i;
		n->view.t[i] = (struct template){ .ifindex = 2, .addr = *a };
		(void)addrset_put(&n->addrs, a);
	}
}

int hostnet_begin(struct hostnet *n)
{
	(void)n;
	h.steps = (unsigned)rnd_in(1, LOOK_STEPS);
	h.seen_at = (unsigned)rnd_in(1, h.steps);
	return 0;
}

/* Never twice in a row */
int hostnet_step(struct hostnet *n)
{
	sim.progress++;
	h.failed = h.may_fail && !h.failed && chance(10);
	if (h.failed)
		return -ENOMEM;
	if (h.steps == h.seen_at)
		see(n);
	if (--h.steps)
		return -EINPROGRESS;
	memcpy(h.seen, h.sees, sizeof(h.seen));
	return 0;
}

int hostnet_look(struct hostnet *n)
{
	see(n);
	memcpy(h.seen, h.sees, sizeof(h.seen));
	return 0;
}

/* --- renew.h: the guest's network stays what it is ---------------- */

bool renew_plan(struct renew *r, struct plan *was)
{
	(void)r;
	(void)was;
	guest_renew(&world.guest);
	guest_advertise(&world.guest);
	return false;
}
