/* SPDX-License-Identifier: GPL-2.0-or-later */
/* unit: util log addrset addr cursor timer loop flow sock rules egress dnsanswer */
/* Translations both ways, as a table: the guest's name of an address on the
 * left, the host's on the right. */
#include "fwd.h"

#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

enum {
	TCP = IPPROTO_TCP,
	UDP = IPPROTO_UDP,
	ICMP = IPPROTO_ICMP,
	ICMP6 = IPPROTO_ICMPV6,
	SPORT = 40000,
};

static struct lan lan;
static struct seen seen;
static struct fwd_map map;
static struct sock_env env;
static struct fwd fwd;
static struct rule rule;

static struct addr A(const char *text)
{
	struct addr a = { 0 };

	if (text && !addr_parse(text, &a))
		fail_msg("cannot parse %s", text);
	return a;
}

static void assert_addr(const struct addr *a, const char *want)
{
	char text[ADDR_TEXT_LEN];

	assert_string_equal(addr_text(a, text), want);
}

static int setup(void **state)
{
	(void)state;
	lan = (struct lan){
		.v4 = true, .v6 = true,
		.guest4 = A("192.0.2.15"), .guest6 = A("2001:db8::15"),
		.our4 = A("192.0.2.2"), .our_ll6 = A("fe80::1"),
	};
	/* The guest took other addresses than it was assigned */
	seen = (struct seen){ .v4 = A("192.0.2.77"), .v6 = A("2001:db8::77"),
			      .ll = A("fe80::77") };
	map = (struct fwd_map){
		.host_loopback = { { A("192.0.2.254") }, { A("2001:db8::fe") } },
		.guest_addr = { { A("192.0.2.253") }, { A("2001:db8::fd") } },
		.dns = {
			.match = { A("192.0.2.53"), A("2001:db8::53") },
			.host = { { A("198.51.100.53") },
				  { A("2001:db8:1::53") } },
			.n = { 1, 1 },
		},
	};
	env = (struct sock_env){ .v4 = true, .v6 = true };
	fwd_init(&fwd, &lan, &seen, &map, &env);
	rule = (struct rule){ .first = 8000, .last = 8010, .to = 80,
			      .proto = IPPROTO_TCP };
	return 0;
}

/* --- from the guest ------------------------------------------------------- */

static enum verdict out(const char *dst, uint8_t proto, uint16_t dport,
			struct side *host)
{
	struct addr d = A(dst);
	struct tuple t = { .src = addr_is_v4(&d) ? seen.v4 : seen.v6,
			   .dst = d, .sport = SPORT, .dport = dport,
			   .proto = proto };

	memset(host, 0xa5, sizeof(*host));
	return fwd_out(&fwd, &t, host);
}

static void assert_out(const char *dst, uint8_t proto, uint16_t dport,
		       const char *theirs, const char *ours)
{
	struct side host;

	assert_int_equal(out(dst, proto, dport, &host), PASS);
	assert_addr(&host.theirs, theirs);
	assert_addr(&host.ours, ours);
	assert_int_equal(host.their_port, dport);
	assert_int_equal(host.our_port, proto == TCP ? 0 : SPORT);
	assert_int_equal(host.pif, PIF_HOST);
	assert_int_equal(host.fd, -1);
}

static void out_table(void **state)
{
	static const struct {
		const char *dst;
		uint8_t proto;
		uint16_t dport;
		const char *theirs;
	} t[] = {
		/* an address that means nothing to us */
		{ "198.51.100.1", TCP, 80, "198.51.100.1" },
		{ "198.51.100.1", UDP, 80, "198.51.100.1" },
		{ "198.51.100.1", ICMP, 9, "198.51.100.1" },
		{ "2001:db8:2::1", TCP, 80, "2001:db8:2::1" },
		{ "2001:db8:2::1", UDP, 80, "2001:db8:2::1" },
		{ "2001:db8:2::1", ICMP6, 9, "2001:db8:2::1" },
		{ "fe80::9", TCP, 22, "fe80::9" },
		{ "169.254.9.9", TCP, 22, "169.254.9.9" },
		/* our own, if nothing maps it */
		{ "192.0.2.2", TCP, 22, "192.0.2.2" },
		{ "fe80::1", TCP, 22, "fe80::1" },
		/* groups and broadcasts */
		{ "224.0.0.251", UDP, 5353, "224.0.0.251" },
		{ "ff02::fb", UDP, 5353, "ff02::fb" },
		{ "255.255.255.255", UDP, 9, "255.255.255.255" },
		/* the resolver: two protocols, two ports */
		{ "192.0.2.53", UDP, 53, "198.51.100.53" },
		{ "192.0.2.53", TCP, 53, "198.51.100.53" },
		{ "192.0.2.53", UDP, 853, "198.51.100.53" },
		{ "192.0.2.53", TCP, 853, "198.51.100.53" },
		{ "192.0.2.53", TCP, 52, "192.0.2.53" },
		{ "192.0.2.53", UDP, 54, "192.0.2.53" },
		{ "192.0.2.53", TCP, 443, "192.0.2.53" },
		{ "192.0.2.53", ICMP, 53, "192.0.2.53" },
		{ "2001:db8::53", UDP, 53, "2001:db8:1::53" },
		{ "2001:db8::53", TCP, 53, "2001:db8:1::53" },
		{ "2001:db8::53", UDP, 853, "2001:db8:1::53" },
		{ "2001:db8::53", TCP, 853, "2001:db8:1::53" },
		{ "2001:db8::53", TCP, 854, "2001:db8::53" },
		{ "2001:db8::53", ICMP6, 853, "2001:db8::53" },
		{ "198.51.100.9", UDP, 53, "198.51.100.9" },
		/* the host's loopback */
		{ "192.0.2.254", TCP, 80, "127.0.0.1" },
		{ "192.0.2.254", UDP, 53, "127.0.0.1" },
		{ "192.0.2.254", ICMP, 7, "127.0.0.1" },
		{ "2001:db8::fe", TCP, 80, "::1" },
		{ "2001:db8::fe", UDP, 80, "::1" },
		{ "2001:db8::fe", ICMP6, 7, "::1" },
		/* the guest's address as the host has it: the assigned one */
		{ "192.0.2.253", TCP, 80, "192.0.2.15" },
		{ "192.0.2.253", UDP, 80, "192.0.2.15" },
		{ "2001:db8::fd", TCP, 80, "2001:db8::15" },
		{ "2001:db8::fd", ICMP6, 7, "2001:db8::15" },
	};
	unsigned i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(t); i++)
		assert_out(t[i].dst, t[i].proto, t[i].dport, t[i].theirs,
			   strchr(t[i].theirs, ':') ? "::" : "0.0.0.0");
}

static void out_refused(void **state)
{
	static const char *const dst[] = { "0.0.0.0", "::", "127.0.0.1",
					   "127.0.0.53", "127.255.255.255",
					   "::1" };
	static const uint8_t proto[] = { TCP, UDP, ICMP };
	struct side host;
	unsigned i, j;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(dst); i++)
		for (j = 0; j < ARRAY_SIZE(proto); j++)
			assert_int_equal(out(dst[i], proto[j], 53, &host),
					 DROP_ENDPOINT);
}

/* None of the special addresses is set: "::" in a map means none */
static void out_unmapped(void **state)
{
	struct side host;

	(void)state;
	memset(&map, 0, sizeof(map));
	memset(&fwd.dns, 0, sizeof(fwd.dns));
	assert_out("192.0.2.53", UDP, 53, "192.0.2.53", "0.0.0.0");
	assert_out("192.0.2.254", TCP, 80, "192.0.2.254", "0.0.0.0");
	assert_out("2001:db8::fd", TCP, 80, "2001:db8::fd", "::");
	assert_int_equal(out("::", UDP, 53, &host), DROP_ENDPOINT);
}

/* Names that stand for something which is not there */
static void out_nowhere(void **state)
{
	struct side host;

	(void)state;
	fwd.dns.n[0] = fwd.dns.n[1] = 0;
	assert_int_equal(out("192.0.2.53", UDP, 53, &host), DROP_NO_ROUTE);
	assert_int_equal(out("2001:db8::53", TCP, 853, &host), DROP_NO_ROUTE);
	assert_out("192.0.2.53", TCP, 80, "192.0.2.53", "0.0.0.0");
	lan.guest4 = lan.guest6 = A(NULL);
	assert_int_equal(out("192.0.2.253", TCP, 80, &host), DROP_NO_ROUTE);
	assert_int_equal(out("2001:db8::fd", TCP, 80, &host), DROP_NO_ROUTE);
}

/* One address with several meanings: resolver, then loopback, then guest */
static void out_order(void **state)
{
	(void)state;
	map.host_loopback[0][0] = map.guest_addr[0][0] = fwd.dns.match[0];
	map.host_loopback[1][0] = map.guest_addr[1][0] = fwd.dns.match[1];
	assert_out("192.0.2.53", UDP, 53, "198.51.100.53", "0.0.0.0");
	assert_out("192.0.2.53", UDP, 80, "127.0.0.1", "0.0.0.0");
	assert_out("192.0.2.53", ICMP, 53, "127.0.0.1", "0.0.0.0");
	assert_out("2001:db8::53", TCP, 853, "2001:db8:1::53", "::");
	assert_out("2001:db8::53", TCP, 80, "::1", "::");
}

/* A resolver on the host's loopback, as resolv.conf often has it */
static void out_local_resolver(void **state)
{
	(void)state;
	env.out4 = A("203.0.113.9");
	fwd.dns.host[0][0] = A("127.0.0.53");
	fwd.dns.host[1][0] = A("::1");
	assert_out("192.0.2.53", UDP, 53, "127.0.0.53", "0.0.0.0");
	assert_out("2001:db8::53", UDP, 53, "::1", "::");
}

/* --outbound, except where it could not be answered */
static void out_source(void **state)
{
	(void)state;
	env.out4 = A("203.0.113.9");
	env.out6 = A("2001:db8:9::9");
	assert_out("198.51.100.1", TCP, 80, "198.51.100.1", "203.0.113.9");
	assert_out("198.51.100.1", UDP, 80, "198.51.100.1", "203.0.113.9");
	assert_out("198.51.100.1", ICMP, 1, "198.51.100.1", "203.0.113.9");
	assert_out("192.0.2.53", UDP, 53, "198.51.100.53", "203.0.113.9");
	assert_out("192.0.2.253", TCP, 80, "192.0.2.15", "203.0.113.9");
	assert_out("192.0.2.254", TCP, 80, "127.0.0.1", "0.0.0.0");
	assert_out("2001:db8:2::1", TCP, 80, "2001:db8:2::1", "2001:db8:9::9");
	assert_out("2001:db8::fe", UDP, 80, "::1", "::");
}

/* Several names for one thing */
static void out_several(void **state)
{
	(void)state;
	map.host_loopback[0][1] = A("192.0.2.250");
	map.host_loopback[0][3] = A("192.0.2.251");
	map.guest_addr[1][1] = A("2001:db8::fa");
	assert_out("192.0.2.254", TCP, 80, "127.0.0.1", "0.0.0.0");
	assert_out("192.0.2.250", TCP, 80, "127.0.0.1", "0.0.0.0");
	assert_out("192.0.2.251", UDP, 80, "127.0.0.1", "0.0.0.0");
	assert_out("2001:db8::fa", UDP, 80, "2001:db8::15", "::");
	assert_out("2001:db8::fd", UDP, 80, "2001:db8::15", "::");
}

/* --- resolvers ------------------------------------------------------------- */

static bool failed(const char *guest, uint16_t port, const char *host)
{
	struct side g = { .ours = A(guest), .our_port = port };
	struct side h = { .theirs = A(host), .their_port = port };

	return fwd_dns_failed(&fwd, UDP, &g, &h, false);
}

static void three_resolvers(void)
{
	fwd.dns.host[0][1] = A("198.51.100.54");
	fwd.dns.host[0][2] = A("2001:db8:1::53");
	fwd.dns.n[0] = 3;
}

/* What is denied is where the host would connect to, not what the guest calls it */
static void out_denied(void **state)
{
	static struct egress egress;
	char err[EGRESS_ERR];
	struct side host;

	(void)state;
	egress.n = 0;
	assert_true(egress_add(&egress, true, "dns", err));
	assert_true(egress_add(&egress, false, "loopback", err));
	assert_true(egress_add(&egress, false, "192.0.2.15", err));
	assert_true(egress_add(&egress, false, "udp:198.51.100.53", err));
	map.egress = &egress;
	assert_int_equal(out("192.0.2.254", TCP, 80, &host), DROP_DENIED);
	assert_int_equal(out("2001:db8::fe", UDP, 80, &host), DROP_DENIED);
	assert_int_equal(out("192.0.2.253", ICMP, 9, &host), DROP_DENIED);
	assert_int_equal(out("198.51.100.53", UDP, 80, &host), DROP_DENIED);
	/* Resolvers by all their names, but not other services there */
	assert_out("198.51.100.53", UDP, 53, "198.51.100.53", "0.0.0.0");
	assert_out("192.0.2.53", UDP, 53, "198.51.100.53", "0.0.0.0");
	map.dns.host[0][0] = fwd.dns.host[0][0] = A("127.0.0.1");
	assert_out("192.0.2.254", TCP, 53, "127.0.0.1", "0.0.0.0");
	assert_int_equal(out("192.0.2.254", TCP, 54, &host), DROP_DENIED);
	/* The rest is allowed */
	assert_out("198.51.100.1", TCP, 80, "198.51.100.1", "0.0.0.0");
	assert_out("2001:db8::fd", TCP, 80, "2001:db8::15", "::");
}

static void dns_other_family(void **state)
{
	(void)state;
	env.out4 = A("203.0.113.9");
	env.out6 = A("2001:db8:9::9");
	fwd.dns.host[0][0] = A("2001:db8:1::53");
	fwd.dns.host[1][0] = A("198.51.100.53");
	assert_out("192.0.2.53", UDP, 53, "2001:db8:1::53", "2001:db8:9::9");
	assert_out("192.0.2.53", TCP, 853, "2001:db8:1::53", "2001:db8:9::9");
	assert_out("2001:db8::53", UDP, 53, "198.51.100.53", "203.0.113.9");
	fwd.dns.host[1][0] = A("127.0.0.53");
	assert_out("2001:db8::53", TCP, 53, "127.0.0.53", "0.0.0.0");
}

static void dns_next(void **state)
{
	(void)state;
	three_resolvers();
	assert_true(failed("192.0.2.53", 53, "198.51.100.53"));
	assert_out("192.0.2.53", UDP, 53, "198.51.100.54", "0.0.0.0");
	/* an older flow finds the same: once is enough */
	assert_true(failed("192.0.2.53", 53, "198.51.100.53"));
	assert_out("192.0.2.53", TCP, 53, "198.51.100.54", "0.0.0.0");
	assert_true(failed("192.0.2.53", 53, "198.51.100.54"));
	assert_out("192.0.2.53", UDP, 53, "2001:db8:1::53", "::");
	assert_true(failed("192.0.2.53", 53, "2001:db8:1::53"));
	assert_out("192.0.2.53", UDP, 53, "198.51.100.53", "0.0.0.0");
	/* the other family has but one, and nothing to go to */
	assert_false(failed("2001:db8::53", 53, "2001:db8:1::53"));
	assert_out("2001:db8::53", UDP, 53, "2001:db8:1::53", "::");
}

/* What is not asked as a resolver cannot fail as one */
static void dns_not_asked(void **state)
{
	(void)state;
	three_resolvers();
	assert_false(failed("192.0.2.53", 54, "198.51.100.53"));
	assert_false(failed("192.0.2.53", 853, "198.51.100.53"));
	assert_false(failed("198.51.100.53", 53, "198.51.100.53"));
	assert_out("192.0.2.53", UDP, 53, "198.51.100.53", "0.0.0.0");
	memset(&fwd.dns, 0, sizeof(fwd.dns));
	assert_false(failed("192.0.2.53", 53, "198.51.100.53"));
}

static void dns_replaced(void **state)
{
	struct fwd_dns dns;

	(void)state;
	three_resolvers();
	dns = fwd.dns;
	failed("192.0.2.53", 53, "198.51.100.53");
	fwd_resolvers(&fwd, &dns); /* the same: the silent one stays behind */
	assert_out("192.0.2.53", UDP, 53, "198.51.100.54", "0.0.0.0");
	dns.host[0][0] = A("198.51.100.99");
	fwd_resolvers(&fwd, &dns);
	assert_out("192.0.2.53", UDP, 53, "198.51.100.99", "0.0.0.0");
	dns.n[0] = 0;
	memset(dns.host[0], 0, sizeof(dns.host[0]));
	fwd_resolvers(&fwd, &dns);
	assert_int_equal(out("192.0.2.53", UDP, 53, &(struct side){ 0 }),
			 DROP_NO_ROUTE);
	assert_out("2001:db8::53", UDP, 53, "2001:db8:1::53", "::");
}

/* --- how the guest knows the host's addresses ----------------------------- */

static void assert_view(const char *host, const char *want)
{
	struct addr h = A(host), g;

	if (!want) {
		assert_false(fwd_guest_view(&fwd, &h, &g));
		return;
	}
	assert_true(fwd_guest_view(&fwd, &h, &g));
	assert_addr(&g, want);
}

static void view_table(void **state)
{
	static const struct {
		const char *host, *guest;
	} t[] = {
		{ "198.51.100.1", "198.51.100.1" },
		{ "2001:db8:2::1", "2001:db8:2::1" },
		{ "fe80::9", "fe80::9" },
		/* loopback: these two alone have a name */
		{ "127.0.0.1", "192.0.2.254" },
		{ "::1", "2001:db8::fe" },
		{ "127.0.0.2", NULL },
		{ "127.255.255.254", NULL },
		/* the guest's own, as the host has them */
		{ "192.0.2.15", "192.0.2.253" },
		{ "2001:db8::15", "2001:db8::fd" },
		/* the guest's own, as it took them */
		{ "192.0.2.77", NULL },
		{ "2001:db8::77", NULL },
		{ "0.0.0.0", NULL },
		{ "::", NULL },
		/* the resolver is known by its own address as well */
		{ "198.51.100.53", "198.51.100.53" },
	};
	unsigned i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(t); i++)
		assert_view(t[i].host, t[i].guest);
}

static void view_unmapped(void **state)
{
	(void)state;
	memset(&map, 0, sizeof(map));
	assert_view("127.0.0.1", NULL);
	assert_view("::1", NULL);
	assert_view("192.0.2.15", NULL);
	assert_view("2001:db8::15", NULL);
	assert_view("198.51.100.1", "198.51.100.1");
}

/* A guest that has them as well would answer itself */
static void copied(const char *text)
{
	struct addr a = A(text);

	assert_true(addrset_add(&lan.copies, &a));
}

static void view_of_copies(void **state)
{
	(void)state;
	copied("198.51.100.1");
	copied("2001:db8:2::1");
	copied("192.0.2.15");
	assert_view("198.51.100.1", NULL);
	assert_view("2001:db8:2::1", NULL);
	assert_view("2001:db8:2::2", "2001:db8:2::2");
	/* the one that has a name is still known by it */
	assert_view("192.0.2.15", "192.0.2.253");
}

/* Where the guest's name leads is what has that name */
static void view_undoes_out(void **state)
{
	static const char *const guest[] = { "192.0.2.254", "192.0.2.253",
					     "198.51.100.1", "2001:db8::fe",
					     "2001:db8::fd", "2001:db8:2::1",
					     "fe80::9", "192.0.2.2" };
	struct side host;
	unsigned i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(guest); i++) {
		struct addr g;

		assert_int_equal(out(guest[i], TCP, 80, &host), PASS);
		assert_true(fwd_guest_view(&fwd, &host.theirs, &g));
		assert_addr(&g, guest[i]);
	}
}

/* --- to the guest --------------------------------------------------------- */

static enum verdict in(const char *from, const char *at, struct side *tap)
{
	struct side host = { .pif = PIF_HOST, .fd = 5, .theirs = A(from),
			     .ours = A(at), .their_port = SPORT,
			     .our_port = 8001 };

	memset(tap, 0xa5, sizeof(*tap));
	return fwd_in(&fwd, &rule, &host, tap);
}

/* @ours is what the guest sees as its peer, @theirs the guest */
static void assert_in(const char *from, const char *at, const char *ours,
		      const char *theirs)
{
	struct side tap;

	assert_int_equal(in(from, at, &tap), PASS);
	assert_addr(&tap.ours, ours);
	assert_addr(&tap.theirs, theirs);
	assert_int_equal(tap.our_port, SPORT);
	assert_int_equal(tap.their_port, 81);
	assert_int_equal(tap.pif, PIF_TAP);
	assert_int_equal(tap.fd, -1);
}

static void in_table(void **state)
{
	static const struct {
		const char *from, *at, *ours, *theirs;
	} t[] = {
		/* the guest is where it was seen, whatever was assigned */
		{ "198.51.100.1", "203.0.113.5", "198.51.100.1", "192.0.2.77" },
		{ "2001:db8:2::1", "2001:db8:9::5", "2001:db8:2::1",
		  "2001:db8::77" },
		/* a link-local peer is answered from a link-local address */
		{ "fe80::9", "fe80::5", "fe80::9", "fe80::77" },
		{ "169.254.9.9", "203.0.113.5", "169.254.9.9", "192.0.2.77" },
		/* names of the host */
		{ "127.0.0.1", "127.0.0.1", "192.0.2.254", "192.0.2.77" },
		{ "::1", "::1", "2001:db8::fe", "2001:db8::77" },
		{ "192.0.2.15", "192.0.2.15", "192.0.2.253", "192.0.2.77" },
		{ "2001:db8::15", "2001:db8::15", "2001:db8::fd",
		  "2001:db8::77" },
		/* what the guest could not answer comes from us */
		{ "127.0.0.2", "127.0.0.1", "192.0.2.2", "192.0.2.77" },
		{ "192.0.2.77", "203.0.113.5", "192.0.2.2", "192.0.2.77" },
		{ "2001:db8::77", "2001:db8:9::5", "fe80::1", "fe80::77" },
		/* a group stays one */
		{ "198.51.100.1", "239.1.2.3", "198.51.100.1", "239.1.2.3" },
		{ "fe80::9", "ff02::fb", "fe80::9", "ff02::fb" },
	};
	unsigned i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(t); i++)
		assert_in(t[i].from, t[i].at, t[i].ours, t[i].theirs);
}

static void in_unmapped(void **state)
{
	(void)state;
	memset(&map, 0, sizeof(map));
	assert_in("127.0.0.1", "127.0.0.1", "192.0.2.2", "192.0.2.77");
	assert_in("192.0.2.15", "192.0.2.15", "192.0.2.2", "192.0.2.77");
	assert_in("::1", "::1", "fe80::1", "fe80::77");
	assert_in("2001:db8::15", "::1", "fe80::1", "fe80::77");
}

/* A gateway with a global address stands for us wherever that is answered */
static void in_gateway(void **state)
{
	(void)state;
	memset(&map, 0, sizeof(map));
	lan.gw6 = A("2001:db8::1");
	assert_in("::1", "::1", "2001:db8::1", "2001:db8::77");
	assert_in("2001:db8::15", "2001:db8::15", "2001:db8::1",
		  "2001:db8::77");
	assert_in("fe80::9", "fe80::5", "fe80::9", "fe80::77");
	rule.target = A("fd00::5");
	assert_in("::1", "::1", "2001:db8::1", "fd00::5");
	rule.target = A("fe80::5");
	assert_in("::1", "::1", "fe80::1", "fe80::5");
	rule.target = A(NULL);
	seen.v6 = A(NULL);
	assert_in("::1", "::1", "fe80::1", "fe80::77");
	seen.v6 = lan.gw6; /* the guest has taken it */
	assert_in("::1", "::1", "fe80::1", "fe80::77");
	/* An answer might come from any of the guest's addresses */
	seen.v6 = A("2001:db8::77");
	rule.proto = UDP;
	assert_in("::1", "::1", "fe80::1", "fe80::77");
	lan.fixed6 = true;
	assert_in("::1", "::1", "2001:db8::1", "2001:db8::77");
}

static void in_refused(void **state)
{
	static const char *const from[] = { "0.0.0.0", "::", "224.0.0.1",
					    "255.255.255.255", "ff02::1" };
	struct side host = { .theirs = A("198.51.100.1"),
			     .ours = A("203.0.113.5"), .our_port = 8000 };
	struct side tap;
	unsigned i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(from); i++)
		assert_int_equal(in(from[i], "203.0.113.5", &tap),
				 DROP_ENDPOINT);
	assert_int_equal(fwd_in(&fwd, &rule, &host, &tap), DROP_ENDPOINT);
	host.their_port = 1;
	assert_int_equal(fwd_in(&fwd, &rule, &host, &tap), PASS);
}

/* Nobody to go to, or nobody to come from */
static void in_nowhere(void **state)
{
	struct side tap;

	(void)state;
	lan.our4 = A(NULL);
	assert_int_equal(in("127.0.0.2", "127.0.0.1", &tap), DROP_NO_ROUTE);
	assert_int_equal(in("198.51.100.1", "203.0.113.5", &tap), PASS);
	lan.our_ll6 = A(NULL);
	map.host_loopback[1][0] = A(NULL);
	assert_int_equal(in("::1", "::1", &tap), DROP_NO_ROUTE);

	seen = (struct seen){ .ll = A("fe80::77") };
	assert_int_equal(in("198.51.100.1", "203.0.113.5", &tap),
			 DROP_NO_ROUTE);
	assert_int_equal(in("2001:db8:2::1", "2001:db8:9::5", &tap),
			 DROP_NO_ROUTE);
	/* Without a link-local address the other one has to do */
	seen = (struct seen){ .v6 = A("2001:db8::77") };
	assert_in("fe80::9", "fe80::5", "fe80::9", "2001:db8::77");
}

/* --- rules ---------------------------------------------------------------- */

static void rule_ports(void **state)
{
	static const struct {
		uint16_t first, last, to, at, want;
	} t[] = {
		{ 80, 80, 80, 80, 80 },
		{ 80, 80, 8080, 80, 8080 },
		{ 8000, 8010, 80, 8000, 80 },
		{ 8000, 8010, 80, 8010, 90 },
		{ 1, 65535, 1, 65535, 65535 },
		{ 1, 10, 65526, 10, 65535 },
		{ 65535, 65535, 1, 65535, 1 },
	};
	struct side host = { .theirs = A("198.51.100.1"), .their_port = 1,
			     .ours = A("203.0.113.5") };
	struct side tap;
	unsigned i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(t); i++) {
		rule.first = t[i].first;
		rule.last = t[i].last;
		rule.to = t[i].to;
		host.our_port = t[i].at;
		assert_int_equal(fwd_in(&fwd, &rule, &host, &tap), PASS);
		assert_int_equal(tap.their_port, t[i].want);
	}
}

/* A rule's target takes the guest's place, and that of a group */
static void rule_target(void **state)
{
	(void)state;
	rule.target = A("192.0.2.99");
	assert_in("198.51.100.1", "203.0.113.5", "198.51.100.1", "192.0.2.99");
	assert_in("127.0.0.1", "127.0.0.1", "192.0.2.254", "192.0.2.99");
	assert_in("198.51.100.1", "239.1.2.3", "198.51.100.1", "192.0.2.99");
	seen = (struct seen){ 0 };
	assert_in("198.51.100.1", "203.0.113.5", "198.51.100.1", "192.0.2.99");
	rule.target = A("2001:db8::99");
	assert_in("::1", "::1", "2001:db8::fe", "2001:db8::99");
}

/* --- from socket to socket ----------------------------------------------- */

/* What came from @from to @at at @pif goes to @want; NULL: it does not */
static void assert_splice(enum pif pif, uint8_t proto, const char *from,
			  const char *at, const char *want)
{
	struct side s = { .pif = (uint8_t)pif, .theirs = A(from),
			  .ours = A(at), .their_port = SPORT,
			  .our_port = 8001 };
	bool out = pif == PIF_SPLICE;
	struct side to;

	rule = (struct rule){ .first = 8000, .last = 8009, .to = 80,
			      .proto = proto };
	if (!want) {
		assert_true(fwd_splice(&fwd, &rule, &s, &to) != PASS);
		return;
	}
	assert_true(fwd_splices(&fwd, &rule, &s));
	assert_int_equal(fwd_splice(&fwd, &rule, &s, &to), PASS);
	assert_addr(&to.theirs, want);
	assert_int_equal(to.their_port, 81);
	assert_int_equal(to.pif, out ? PIF_HOST : PIF_SPLICE);
	assert_true(addr_is_unspecified(&to.ours));
	assert_int_equal(addr_is_v4(&to.ours), addr_is_v4(&to.theirs));
	assert_int_equal(to.our_port, proto == UDP ? SPORT : 0);
}

static void splice_inbound(void **state)
{
	(void)state;
	map.splice = true;
	assert_splice(PIF_HOST, TCP, "127.0.0.1", "127.0.0.1", "192.0.2.77");
	assert_splice(PIF_HOST, UDP, "127.5.5.5", "127.0.0.2", "192.0.2.77");
	assert_splice(PIF_HOST, TCP, "127.0.0.1", "203.0.113.5", "192.0.2.77");
	assert_splice(PIF_HOST, UDP, "::1", "::1", "2001:db8::77");
	map.host_lo_to_ns_lo = true;
	assert_splice(PIF_HOST, TCP, "127.0.0.1", "127.0.0.2", "127.0.0.2");
	assert_splice(PIF_HOST, TCP, "::1", "::1", "::1");
	/* The destination decides */
	assert_splice(PIF_HOST, TCP, "127.0.0.1", "203.0.113.5", "192.0.2.77");
	map.host_lo_to_ns_lo = false;
	seen = (struct seen){ 0 };
	assert_splice(PIF_HOST, TCP, "127.0.0.1", "127.0.0.1", NULL);
}

/* Nothing but loopback to loopback leaves the namespace this way */
static void splice_outbound(void **state)
{
	(void)state;
	assert_splice(PIF_SPLICE, TCP, "127.0.0.1", "127.0.0.1", "127.0.0.1");
	assert_splice(PIF_SPLICE, UDP, "127.0.0.1", "127.0.0.2", "127.0.0.2");
	assert_splice(PIF_SPLICE, TCP, "::1", "::1", "::1");
	assert_splice(PIF_SPLICE, TCP, "192.0.2.77", "127.0.0.1", NULL);
	assert_splice(PIF_SPLICE, TCP, "127.0.0.1", "192.0.2.77", NULL);
	assert_splice(PIF_SPLICE, UDP, "192.0.2.77", "192.0.2.77", NULL);
	assert_splice(PIF_SPLICE, UDP, "2001:db8::77", "::1", NULL);
}

static void splice_denied(void **state)
{
	static struct egress egress;
	char err[EGRESS_ERR];

	(void)state;
	egress.n = 0;
	assert_true(egress_add(&egress, true, "dns", err));
	assert_true(egress_add(&egress, false, "any", err));
	map.egress = &egress;
	map.splice = true;
	assert_splice(PIF_SPLICE, TCP, "127.0.0.1", "127.0.0.1", NULL);
	assert_splice(PIF_SPLICE, UDP, "::1", "::1", NULL);
	/* What comes from outside is not the guest's wish */
	assert_splice(PIF_HOST, TCP, "127.0.0.1", "127.0.0.1", "192.0.2.77");
	map.egress = NULL;
	assert_splice(PIF_SPLICE, TCP, "127.0.0.1", "127.0.0.1", "127.0.0.1");
}

static void splice_or_not(void **state)
{
	struct side s = { .pif = PIF_HOST, .theirs = A("127.0.0.1") };

	(void)state;
	assert_false(fwd_splices(&fwd, &rule, &s));
	map.splice = true;
	assert_true(fwd_splices(&fwd, &rule, &s));
	rule.target = A("192.0.2.99");
	assert_false(fwd_splices(&fwd, &rule, &s));
	rule.target = A("::");
	s.theirs = A("198.51.100.1");
	assert_false(fwd_splices(&fwd, &rule, &s));
}

static void splice_only(void **state)
{
	struct side host = { .theirs = A("198.51.100.1"), .their_port = 1,
			     .ours = A("203.0.113.5"), .our_port = 80 };
	struct side tap;

	(void)state;
	map.splice_only = true;
	assert_true(fwd_in(&fwd, &rule, &host, &tap) != PASS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(out_table, setup),
		cmocka_unit_test_setup(out_refused, setup),
		cmocka_unit_test_setup(out_unmapped, setup),
		cmocka_unit_test_setup(out_nowhere, setup),
		cmocka_unit_test_setup(out_order, setup),
		cmocka_unit_test_setup(out_local_resolver, setup),
		cmocka_unit_test_setup(out_source, setup),
		cmocka_unit_test_setup(out_several, setup),
		cmocka_unit_test_setup(out_denied, setup),
		cmocka_unit_test_setup(dns_other_family, setup),
		cmocka_unit_test_setup(dns_next, setup),
		cmocka_unit_test_setup(dns_not_asked, setup),
		cmocka_unit_test_setup(dns_replaced, setup),
		cmocka_unit_test_setup(view_table, setup),
		cmocka_unit_test_setup(view_unmapped, setup),
		cmocka_unit_test_setup(view_of_copies, setup),
		cmocka_unit_test_setup(view_undoes_out, setup),
		cmocka_unit_test_setup(in_table, setup),
		cmocka_unit_test_setup(in_unmapped, setup),
		cmocka_unit_test_setup(in_gateway, setup),
		cmocka_unit_test_setup(in_refused, setup),
		cmocka_unit_test_setup(in_nowhere, setup),
		cmocka_unit_test_setup(rule_ports, setup),
		cmocka_unit_test_setup(rule_target, setup),
		cmocka_unit_test_setup(splice_inbound, setup),
		cmocka_unit_test_setup(splice_outbound, setup),
		cmocka_unit_test_setup(splice_denied, setup),
		cmocka_unit_test_setup(splice_or_not, setup),
		cmocka_unit_test_setup(splice_only, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
