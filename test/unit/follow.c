/* SPDX-License-Identifier: GPL-2.0-or-later */
/* unit: renew plan conf options resolvconf rules boot egress fwd dnsanswer ndp neigh dnsname nlmsg netlink nllink hostnet nslink neighwatch loop timer addrset addr util log events */
/* From what was seen, and what is, to what there is to do */
#include "follow.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

/* In place of guest.c's and sock.c's */
void guest_advertise(struct guest *g)
{
	(void)g;
}

void guest_farewell(struct guest *g, const struct lan *was)
{
	(void)g;
	(void)was;
}

void guest_renew(struct guest *g)
{
	(void)g;
}

void guest_neighbour(struct guest *g, const struct addr *addr,
		     const struct mac *mac)
{
	(void)g;
	(void)addr;
	(void)mac;
}

int sock_local(int fd, struct addr *a, uint16_t *port)
{
	(void)fd;
	(void)a;
	(void)port;
	return -1;
}

int listen_renew(struct listen *l)
{
	(void)l;
	return 0;
}

/* A host as a few numbers: for each family the interface, the last byte of its
 * address, that of the gateway; sums */
struct brief {
	unsigned ifindex[2], addr[2], gw[2];
	unsigned routes[2], addrs;
};

static const struct brief none;

static const struct row {
	const char *what;
	struct brief was, is;
	bool patient;
	unsigned act;
	unsigned keeps; /* 1: IPv4's template in force is the old one, 2: IPv6's */
} rows[] = {
	{ "nothing",
	  { { 2, 2 }, { 7, 7 }, { 1, 1 }, { 5, 5 }, 9 },
	  { { 2, 2 }, { 7, 7 }, { 1, 1 }, { 5, 5 }, 9 },
	  true, 0, 3 },
	{ "somebody else's route",
	  { { 2, 2 }, { 7, 7 }, { 1, 1 }, { 5, 5 }, 9 },
	  { { 2, 2 }, { 7, 7 }, { 1, 1 }, { 6, 5 }, 9 },
	  true, FOLLOW_COPY, 3 },
	{ "an address of another interface",
	  { { 2, 2 }, { 7, 7 }, { 1, 1 }, { 5, 5 }, 9 },
	  { { 2, 2 }, { 7, 7 }, { 1, 1 }, { 5, 5 }, 8 },
	  true, FOLLOW_COPY | FOLLOW_ADDRESSES, 3 },
	{ "renumbered, one family",
	  { { 2, 2 }, { 7, 7 }, { 1, 1 }, { 5, 5 }, 9 },
	  { { 2, 2 }, { 8, 7 }, { 1, 1 }, { 6, 5 }, 8 },
	  true, FOLLOW_PLAN | FOLLOW_COPY | FOLLOW_ADDRESSES, 2 },
	{ "another gateway",
	  { { 2, 2 }, { 7, 7 }, { 1, 1 }, { 5, 5 }, 9 },
	  { { 2, 2 }, { 7, 7 }, { 3, 1 }, { 6, 5 }, 9 },
	  true, FOLLOW_PLAN | FOLLOW_COPY, 2 },
	{ "a VPN for both",
	  { { 2, 2 }, { 7, 7 }, { 1, 1 }, { 5, 5 }, 9 },
	  { { 4, 4 }, { 6, 6 }, { 0, 0 }, { 6, 6 }, 8 },
	  true, FOLLOW_PLAN | FOLLOW_COPY | FOLLOW_ADDRESSES, 0 },
	{ "gone, just now",
	  { { 2, 2 }, { 7, 7 }, { 1, 1 }, { 5, 5 }, 9 },
	  { { 0, 0 }, { 0, 0 }, { 0, 0 }, { 0, 0 }, 1 },
	  true, FOLLOW_WAIT | FOLLOW_COPY | FOLLOW_ADDRESSES, 3 },
	{ "gone for long",
	  { { 2, 2 }, { 7, 7 }, { 1, 1 }, { 0, 0 }, 1 },
	  { { 0, 0 }, { 0, 0 }, { 0, 0 }, { 0, 0 }, 1 },
	  false, FOLLOW_PLAN | FOLLOW_COPY, 0 },
	{ "IPv6 alone is gone",
	  { { 2, 2 }, { 7, 7 }, { 1, 1 }, { 5, 5 }, 9 },
	  { { 2, 0 }, { 7, 0 }, { 1, 0 }, { 5, 0 }, 8 },
	  true, FOLLOW_WAIT | FOLLOW_COPY | FOLLOW_ADDRESSES, 3 },
	{ "one goes, the other one moves",
	  { { 2, 2 }, { 7, 7 }, { 1, 1 }, { 5, 5 }, 9 },
	  { { 3, 0 }, { 7, 0 }, { 1, 0 }, { 5, 0 }, 8 },
	  true, FOLLOW_WAIT | FOLLOW_PLAN | FOLLOW_COPY | FOLLOW_ADDRESSES, 2 },
	{ "from nothing to IPv4",
	  { { 0, 0 }, { 0, 0 }, { 0, 0 }, { 0, 0 }, 1 },
	  { { 2, 0 }, { 7, 0 }, { 1, 0 }, { 5, 0 }, 9 },
	  true, FOLLOW_PLAN | FOLLOW_COPY | FOLLOW_ADDRESSES, 2 },
	{ "IPv6 comes, too",
	  { { 2, 0 }, { 7, 0 }, { 1, 0 }, { 5, 0 }, 9 },
	  { { 2, 2 }, { 7, 7 }, { 1, 1 }, { 5, 5 }, 10 },
	  true, FOLLOW_PLAN | FOLLOW_COPY | FOLLOW_ADDRESSES, 1 },
	{ "back, before it was given up, is nothing",
	  { { 2, 2 }, { 7, 7 }, { 1, 1 }, { 0, 0 }, 1 },
	  { { 2, 2 }, { 7, 7 }, { 1, 1 }, { 5, 5 }, 9 },
	  true, FOLLOW_COPY | FOLLOW_ADDRESSES, 3 },
	{ "back as another interface, with the same addresses",
	  { { 2, 2 }, { 7, 7 }, { 1, 1 }, { 5, 5 }, 9 },
	  { { 3, 3 }, { 7, 7 }, { 1, 1 }, { 6, 6 }, 8 },
	  true, FOLLOW_PLAN | FOLLOW_COPY | FOLLOW_ADDRESSES, 0 },
	{ "the default route has gone, the interface stays by another one",
	  { { 2, 2 }, { 7, 7 }, { 1, 1 }, { 5, 5 }, 9 },
	  { { 2, 2 }, { 7, 7 }, { 0, 0 }, { 4, 4 }, 9 },
	  true, FOLLOW_PLAN | FOLLOW_COPY, 0 },
	{ "a metric that chooses the same one",
	  { { 2, 2 }, { 7, 7 }, { 1, 1 }, { 5, 5 }, 9 },
	  { { 2, 2 }, { 7, 7 }, { 1, 1 }, { 6, 6 }, 9 },
	  true, FOLLOW_COPY, 3 },
	{ "deprecated: it is no template any more, its place is taken",
	  { { 2, 2 }, { 7, 7 }, { 1, 1 }, { 5, 5 }, 9 },
	  { { 2, 2 }, { 7, 8 }, { 1, 1 }, { 5, 5 }, 8 },
	  true, FOLLOW_PLAN | FOLLOW_COPY | FOLLOW_ADDRESSES, 1 },
	{ "a second address of the template, which is not preferred",
	  { { 2, 2 }, { 7, 7 }, { 1, 1 }, { 5, 5 }, 9 },
	  { { 2, 2 }, { 7, 7 }, { 1, 1 }, { 5, 5 }, 10 },
	  true, FOLLOW_COPY | FOLLOW_ADDRESSES, 3 },
	{ "a VPN has gone, for IPv4 alone",
	  { { 4, 2 }, { 6, 7 }, { 0, 1 }, { 6, 5 }, 9 },
	  { { 2, 2 }, { 7, 7 }, { 1, 1 }, { 5, 5 }, 8 },
	  true, FOLLOW_PLAN | FOLLOW_COPY | FOLLOW_ADDRESSES, 2 },
	{ "gone and back differently in one look",
	  { { 2, 0 }, { 7, 0 }, { 1, 0 }, { 5, 0 }, 9 },
	  { { 0, 2 }, { 0, 7 }, { 0, 1 }, { 0, 5 }, 8 },
	  true, FOLLOW_WAIT | FOLLOW_PLAN | FOLLOW_COPY | FOLLOW_ADDRESSES, 1 },
	{ "nothing and nothing",
	  { { 0, 0 }, { 0, 0 }, { 0, 0 }, { 0, 0 }, 1 },
	  { { 0, 0 }, { 0, 0 }, { 0, 0 }, { 0, 0 }, 1 },
	  false, 0, 3 },
};

static struct hostnet_view spell(const struct brief *b)
{
	struct hostnet_view v = { .addrs = b->addrs };
	unsigned i;

	for (i = 0; i < 2; i++) {
		v.routes[i] = b->routes[i];
		v.t[i].ifindex = b->ifindex[i];
		v.t[i].addr.b[15] = (uint8_t)b->addr[i];
		v.t[i].gw.b[15] = (uint8_t)b->gw[i];
	}
	return v;
}

static void table(void **state)
{
	const struct row *r;

	(void)state;
	for (r = rows; r < rows + ARRAY_SIZE(rows); r++) {
		struct hostnet_view was = spell(&r->was), is = spell(&r->is);
		struct template t[2] = { was.t[0], was.t[1] };
		const bool patient[2] = { r->patient, r->patient };
		unsigned act = follow_decide(&was, &is, patient, t), i;

		if (act != r->act)
			print_error("%s: %u\n", r->what, act);
		assert_int_equal(act, r->act);
		for (i = 0; i < 2; i++)
			assert_memory_equal(&t[i], r->keeps & 1U << i ?
							   &was.t[i] :
							   &is.t[i],
					    sizeof(t[i]));
	}
}

/* A change that is undone before it is looked at is none; one that was kept from
 * the guest is not lost */
static void kept(void **state)
{
	static const bool yes[2] = { true, true }, no[2], first[2] = { false, true };
	struct hostnet_view was = spell(&rows[0].was), gone = spell(&none);
	struct template t[2] = { was.t[0], was.t[1] };

	(void)state;
	assert_true(follow_decide(&was, &gone, yes, t) & FOLLOW_WAIT);
	assert_false(follow_decide(&gone, &was, yes, t) & FOLLOW_PLAN);
	assert_true(follow_decide(&was, &gone, yes, t) & FOLLOW_WAIT);
	assert_int_equal(follow_decide(&gone, &gone, yes, t), FOLLOW_WAIT);
	/* Each for itself */
	assert_int_equal(follow_decide(&gone, &gone, first, t),
			 FOLLOW_WAIT | FOLLOW_PLAN | FOLLOW_COPY);
	assert_int_equal(t[0].ifindex, 0);
	assert_int_equal(t[1].ifindex, 2);
	assert_int_equal(follow_decide(&gone, &gone, no, t),
			 FOLLOW_PLAN | FOLLOW_COPY);
	assert_int_equal(t[1].ifindex, 0);
	assert_int_equal(follow_decide(&gone, &gone, no, t), 0);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(table),
		cmocka_unit_test(kept),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
