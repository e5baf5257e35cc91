/* SPDX-License-Identifier: GPL-2.0-or-later */
/* unit: renew plan conf options resolvconf rules boot egress fwd dnsanswer ndp neigh dnsname nlmsg nllink hostnet nslink addrset addr util log events */
/* netlink and what stands on it against the real kernel: two network namespaces, "host" with links
 * made by ip(8), and "guest" with one that is configured after them.
 * Skipped where namespaces or ip(8) are not to be had. */
#include "nslink.h"
#include "log.h"
#include "refuse.h"
#include "nllink.h"
#include "nlmsg.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

/* In place of guest.c's */
void guest_farewell(struct guest *g, const struct lan *was)
{
	(void)g;
	(void)was;
}

void guest_renew(struct guest *g)
{
	(void)g;
}

void guest_advertise(struct guest *g)
{
	(void)g;
}

static int host_ns = -1, guest_ns = -1, home_ns = -1;
static struct netlink host, guest;

static void enter(int ns)
{
	assert_int_equal(setns(ns, CLONE_NEWNET), 0);
}

static void run(int ns, const char *cmd)
{
	enter(ns);
	assert_int_equal(system(cmd), 0);
	enter(home_ns);
}

/* Number of lines that a command prints */
static unsigned count(int ns, const char *cmd)
{
	unsigned n = 0;
	FILE *f;
	int c;

	enter(ns);
	f = popen(cmd, "r");
	assert_non_null(f);
	while ((c = fgetc(f)) != EOF)
		n += c == '\n';
	pclose(f);
	enter(home_ns);
	return n;
}

static void write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY);

	if (fd < 0)
		return;
	(void)!write(fd, text, strlen(text));
	close(fd);
}

/* A user namespace of our own, if we are not root */
static bool be_root(void)
{
	unsigned uid = getuid(), gid = getgid();
	char map[32];

	if (!unshare(CLONE_NEWNET))
		return true;
	if (unshare(CLONE_NEWUSER | CLONE_NEWNET))
		return false;
	snprintf(map, sizeof(map), "0 %u 1", uid);
	write_file("/proc/self/uid_map", map);
	write_file("/proc/self/setgroups", "deny");
	snprintf(map, sizeof(map), "0 %u 1", gid);
	write_file("/proc/self/gid_map", map);
	return true;
}

static int this_ns(void)
{
	return open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
}

static int set_up(void **state)
{
	(void)state;
	if (system("ip -V >/dev/null 2>&1") || !be_root())
		return 0;
	home_ns = this_ns();
	if (unshare(CLONE_NEWNET))
		return 0;
	guest_ns = this_ns();
	if (system("ip link add g0 type veth") || nl_open(&guest))
		return 0;
	if (unshare(CLONE_NEWNET) || nl_open(&host))
		return 0;
	host_ns = this_ns();
	assert_int_equal(setns(home_ns, CLONE_NEWNET), 0);
	return 0;
}

static void need(void)
{
	if (host_ns < 0)
		skip();
}

/* Links h0 and h1 of the host, g0 of the guest, all new.  Their other ends only
 * give them a carrier. */
static void fresh(const char *host_cmd)
{
	need();
	run(host_ns, "ip link del h0 2>/dev/null; ip link del h1 2>/dev/null;"
		     "ip link add h0 type veth peer p0 &&"
		     "ip link add h1 type veth peer p1 &&"
		     "ip link set lo up && ip link set p0 up &&"
		     "ip link set p1 up && ip link set h1 up &&"
		     "ip link set h0 address 02:00:00:00:00:07 up");
	run(guest_ns, "ip link del g0; ip link add g0 type veth peer q0 &&"
		      "ip link set q0 up");
	run(host_ns, host_cmd);
}

static struct addr parse(const char *s)
{
	struct addr a;

	assert_true(addr_parse(s, &a));
	return a;
}

static void expect(const struct addr *a, const char *s)
{
	char text[ADDR_TEXT_LEN];

	assert_string_equal(addr_is_none(a) ? "none" : addr_text(a, text), s);
}

/* --- links --------------------------------------------------------------- */

static void links(void **state)
{
	struct mac mac, other = { { 2, 0, 0, 0, 0, 9 } };
	unsigned i;

	(void)state;
	fresh("true");
	i = nllink_index(&host, "h0");
	assert_int_not_equal(i, 0);
	assert_int_equal(nllink_index(&host, "nosuch"), 0);
	assert_int_equal(nllink_mac(&host, i, &mac), 0);
	assert_int_equal(mac.b[5], 7);
	assert_int_equal(nllink_mac(&host, 1, &mac), -ENOENT); /* lo */
	assert_int_equal(nllink_mac(&host, 99999, &mac), -ENODEV);
	assert_int_equal(nllink_set(&host, i, &other, 1300, 77, false), 0);
	assert_int_equal(nllink_queue(&host, i), 77);
	assert_int_equal(nllink_mac(&host, i, &mac), 0);
	assert_true(mac_equal(&mac, &other));
	assert_int_equal(count(host_ns, "ip link show h0 | grep 'mtu 1300'"),
			 1);
	assert_int_equal(nllink_set(&host, 99999, NULL, 0, 0, true), -ENODEV);
}

/* --- templates ----------------------------------------------------------- */

static int template(struct netlink *n, bool v4, const char *name,
		    struct template *t)
{
	struct hostnet h = { .nl = n, .on = { v4, !v4 } };
	int err;

	h.ifname[!v4] = name;
	err = hostnet_look(&h);
	*t = h.view.t[!v4];
	assert_int_equal(h.view.t[v4].ifindex, 0);
	return err;
}

static void template_default(void **state)
{
	struct template t;

	(void)state;
	fresh("ip addr add 192.0.2.1/25 dev h1 &&"
	      "ip addr add 192.0.2.130/25 dev h0 &&"
	      "ip addr add 192.0.2.131/26 dev h0 &&"
	      "ip addr add 192.0.2.140/26 dev h0 &&"
	      "ip route add default via 192.0.2.129 dev h0");
	assert_int_equal(template(&host, true, NULL, &t), 0);
	assert_string_equal(t.ifname, "h0");
	expect(&t.addr, "192.0.2.131"); /* longest, first among equals */
	assert_int_equal(t.prefix, 26);
	expect(&t.gw, "192.0.2.129");
	assert_int_equal(t.mtu, 1500);
	assert_false(t.multiple);
	/* by name: no default route there */
	assert_int_equal(template(&host, true, "h1", &t), 0);
	assert_string_equal(t.ifname, "h1");
	expect(&t.gw, "none");
	assert_int_equal(template(&host, true, "nosuch", &t), 0);
	assert_int_equal(t.ifindex, 0);
}

/* Addresses that were added for a service are not where the host is */
static void template_service(void **state)
{
	struct template t;

	(void)state;
	fresh("ip addr add 192.0.2.77/32 dev h0 &&"
	      "ip addr add 192.0.2.5/24 dev h0 &&"
	      "ip addr add 10.0.0.5/28 dev h0 &&"
	      "ip addr add 192.0.2.6/25 dev h0 &&"
	      "ip route add default via 192.0.2.1 dev h0");
	assert_int_equal(template(&host, true, NULL, &t), 0);
	expect(&t.addr, "192.0.2.6");
	assert_int_equal(t.prefix, 25);
	run(host_ns, "ip addr del 192.0.2.6/25 dev h0");
	assert_int_equal(template(&host, true, NULL, &t), 0);
	expect(&t.addr, "192.0.2.5");
	/* none has it: as ever */
	run(host_ns, "ip route replace default via 10.9.9.9 dev h0 onlink");
	assert_int_equal(template(&host, true, NULL, &t), 0);
	expect(&t.addr, "192.0.2.77");
}

static void template_other(void **state)
{
	struct template t;

	(void)state;
	/* link-local route first: ignored; no address on h0: no template */
	fresh("ip route add 169.254.0.0/16 dev h0 &&"
	      "ip addr add 198.51.100.1/24 dev h1");
	assert_int_equal(template(&host, true, "", &t), 0);
	assert_string_equal(t.ifname, "h1");
	expect(&t.gw, "none");
	run(host_ns, "ip addr flush dev h1; ip route add 203.0.113.0/24 dev h1");
	assert_int_equal(template(&host, true, "", &t), 0);
	assert_int_equal(t.ifindex, 0);
}

static void template_multipath(void **state)
{
	struct template t;

	(void)state;
	fresh("ip addr add 192.0.2.2/24 dev h0 &&"
	      "ip addr add 198.51.100.2/24 dev h1 &&"
	      "ip route add default"
	      " nexthop via 192.0.2.1 dev h0 weight 1"
	      " nexthop via 192.0.2.9 dev h0 weight 3"
	      " nexthop via 198.51.100.1 dev h1 weight 9");
	assert_int_equal(template(&host, true, NULL, &t), 0);
	assert_string_equal(t.ifname, "h0");
	expect(&t.gw, "192.0.2.9"); /* the heaviest of this interface */
	run(host_ns, "ip route add default via 198.51.100.1 metric 50");
	assert_int_equal(template(&host, true, NULL, &t), 0);
	assert_true(t.multiple);
}

static void template_nexthop_object(void **state)
{
	struct template t;

	(void)state;
	fresh("ip addr add 192.0.2.2/24 dev h0");
	enter(host_ns);
	if (system("ip nexthop replace id 7 via 192.0.2.3 dev h0 2>/dev/null "
		   "&& ip route add default nhid 7")) {
		enter(home_ns);
		skip();
	}
	enter(home_ns);
	assert_int_equal(template(&host, true, NULL, &t), 0);
	assert_string_equal(t.ifname, "h0");
	expect(&t.gw, "192.0.2.3");
}

static void template_v6(void **state)
{
	struct template t;

	(void)state;
	fresh("ip -6 addr add 2001:db8::5/64 dev h0 nodad preferred_lft 0 &&"
	      "ip -6 addr add 2001:db8::6/64 dev h0 nodad &&"
	      "ip -6 addr add fd00::7/48 dev h0 nodad &&"
	      "ip -6 route add default via fe80::99 dev h0");
	assert_int_equal(template(&host, false, NULL, &t), 0);
	assert_string_equal(t.ifname, "h0");
	expect(&t.addr, "2001:db8::6");
	expect(&t.ll, "fe80::ff:fe00:7");
	expect(&t.gw, "fe80::99");
	/* link-local only will do */
	run(host_ns, "ip -6 addr flush dev h0 scope global");
	assert_int_equal(template(&host, false, NULL, &t), 0);
	assert_string_equal(t.ifname, "h0");
	expect(&t.addr, "none");
	expect(&t.ll, "fe80::ff:fe00:7");
}

/* --- networks of the host --------------------------------------------------- */

static bool is_local(const struct egress_local *l, const char *net)
{
	struct addr a = parse(net);
	unsigned i;

	for (i = 0; i < l->n; i++)
		if (addr_equal(&l->p[i].net, &a))
			return true;
	return false;
}

/* Of addresses, and of what routers and clients of DHCP say of a link; not what
 * somebody leads into a tunnel */
static void networks(void **state)
{
	static struct egress_local l;
	struct hostnet h = { .nl = &host, .on = { true, true }, .local = &l };

	(void)state;
	fresh("ip addr add 192.0.2.1/25 dev h1 &&"
	      "ip addr add 198.51.100.1 peer 198.51.100.9/32 dev h0 &&"
	      "ip -6 addr add 2001:db8:7::5/128 dev h0 nodad &&"
	      "ip -6 addr add 2001:db8:8::5/64 dev h1 nodad noprefixroute &&"
	      "ip -6 route add 2001:db8:7::/64 dev h0 proto ra &&"
	      "ip -6 route add 2001:db8:9::/64 via fe80::1 dev h0 proto ra &&"
	      "ip route add 0.0.0.0/1 dev h1 &&"
	      "ip route add default dev h1 proto kernel");
	assert_int_equal(hostnet_look(&h), 0);
	assert_true(is_local(&l, "192.0.2.0"));
	assert_true(is_local(&l, "198.51.100.1"));
	assert_true(is_local(&l, "198.51.100.9"));
	assert_true(is_local(&l, "2001:db8:7::"));
	assert_true(is_local(&l, "2001:db8:7::5"));
	assert_true(is_local(&l, "2001:db8:8::"));
	assert_true(is_local(&l, "fe80::"));
	assert_false(is_local(&l, "2001:db8:9::"));
	assert_false(is_local(&l, "0.0.0.0"));
	assert_false(is_local(&l, "127.0.0.0"));
	assert_false(is_local(&l, "::1"));
	/* another look sees another host */
	run(host_ns, "ip addr flush dev h1");
	assert_int_equal(hostnet_look(&h), 0);
	assert_false(is_local(&l, "192.0.2.0"));
	assert_true(is_local(&l, "2001:db8:7::"));
}

/* --- configuration ------------------------------------------------------- */

static struct conf c;
static struct renew now;
static struct nslink nslink;

/* What @c wishes, on this host */
static int configure(void)
{
	c.lan.v4 = c.lan.v6 = true;
	now = (struct renew){ 0 };
	assert_int_equal(template(&host, true, NULL, &now.host.t[0]), 0);
	assert_int_equal(template(&host, false, NULL, &now.host.t[1]), 0);
	renew_init(&now, &c);
	return nslink_configure(&nslink, &host, &guest,
				nllink_index(&guest, "g0"), &now);
}

static void copy_many(void **state)
{
	struct addr a = { 0 };
	FILE *f;
	unsigned i;

	(void)state;
	fresh("ip addr add 10.0.0.2/8 dev h0 label h0:lab &&"
	      "ip addr add 198.51.100.2/24 dev h1 &&"
	      "ip -6 addr add 2001:db8::6/64 dev h0 nodad &&"
	      "ip -6 addr add 2001:db8::8/64 dev h0 nodad preferred_lft 0 &&"
	      "ip -6 route add default via 2001:db8::1 dev h0 &&"
	      "ip route add default via 10.1.1.1 src 10.0.0.2 &&"
	      "ip route add 203.0.113.0/24 dev h1 &&"
	      "ip route add 203.0.114.0/24 nexthop via 10.0.0.8 dev h0"
	      " nexthop via 198.51.100.7 dev h1 &&"
	      "ip route add 203.0.115.0/24 nexthop via 10.0.0.8 dev h0"
	      " nexthop via 10.0.0.9 dev h0");
	enter(host_ns);
	f = popen("ip -batch -", "w");
	assert_non_null(f);
	for (i = 0; i < 2000; i++)
		fprintf(f, "route add 11.%u.%u.0/24 via 10.0.0.%u\n", i / 256,
			i % 256, 3 + i % 200);
	assert_int_equal(pclose(f), 0);
	enter(home_ns);
	c = (struct conf){ .lan.mtu = 9000 };
	assert_int_equal(configure(), 0);
	assert_true(now.plan.lan.v4 && now.plan.lan.v6);

	assert_int_equal(count(guest_ns, "ip route | grep ^11"), 2000);
	assert_int_equal(count(guest_ns, "ip route | grep '^default via "
					 "10.1.1.1 dev g0'"),
			 1);
	assert_int_equal(count(guest_ns, "ip route | grep 203.0.113"), 0);
	/* by two interfaces: the hop that is left */
	assert_int_equal(count(guest_ns, "ip route | grep '^203.0.114.0/24 via "
					 "10.0.0.8 dev g0'"),
			 1);
	assert_int_equal(count(guest_ns, "ip route | grep 'nexthop .* g0'"), 2);
	/* the connected route is there once */
	assert_int_equal(count(guest_ns, "ip route | grep ^10.0.0.0/8"), 1);
	assert_int_equal(count(guest_ns, "ip -4 addr show dev g0 | grep inet"),
			 1);
	assert_int_equal(count(guest_ns, "ip -4 addr | grep lab"), 0);
	assert_int_equal(count(guest_ns, "ip -6 addr show dev g0 scope global|"
					 " grep 2001:db8::6/64.*nodad"),
			 1);
	assert_int_equal(count(guest_ns, "ip -6 addr | grep 2001:db8::8"), 0);
	assert_int_equal(now.plan.lan.copies.n, 2);
	addr_parse("10.0.0.2", &a);
	assert_true(addrset_has(&now.plan.lan.copies, &a));
	addr_parse("2001:db8::6", &a);
	assert_true(addrset_has(&now.plan.lan.copies, &a));
	assert_int_equal(count(guest_ns, "ip -6 addr show dev g0 scope link |"
					 " grep 'inet6 fe80.*nodad'"),
			 1);
	assert_int_equal(count(guest_ns, "ip addr show dev g0 | grep tent"), 0);
	assert_int_equal(count(guest_ns, "ip -6 route | grep '^default via "
					 "2001:db8::1'"),
			 1);
	assert_int_equal(count(guest_ns, "ip link show g0 | grep 'mtu 9000' |"
					 " grep 'qlen 10000'"),
			 1);
	assert_int_equal(count(guest_ns, "ip link show g0 | grep NOARP"), 0);
}

/* The host's default route leaves by two interfaces, the guest has one */
static void copy_hops(void **state)
{
	(void)state;
	fresh("ip addr add 10.0.0.2/24 dev h0 &&"
	      "ip addr add 198.51.100.2/24 dev h1 &&"
	      "ip -6 addr add 2001:db8::6/64 dev h0 nodad &&"
	      "ip route add default nexthop via 10.0.0.8 dev h0"
	      " nexthop via 198.51.100.7 dev h1"
	      " nexthop via 10.0.0.9 dev h0 onlink weight 7 &&"
	      "ip -6 route add default nexthop via 2001:db8::8 dev h0"
	      " nexthop via fe80::9 dev h1");
	c = (struct conf){ 0 };
	assert_int_equal(configure(), 0);
	assert_int_equal(count(guest_ns, "ip route | grep -A2 ^default |"
					 " grep 'nexthop via 10.0.0.[89] dev "
					 "g0'"),
			 2);
	assert_int_equal(count(guest_ns, "ip route | grep '10.0.0.9.*weight 7 "
					 "onlink'"),
			 1);
	assert_int_equal(count(guest_ns, "ip route | grep 198.51.100"), 0);
	assert_int_equal(count(guest_ns, "ip -6 route | grep '^default via "
					 "2001:db8::8 dev g0'"),
			 1);
	/* and it goes as it came */
	run(host_ns, "ip route del default");
	assert_int_equal(nslink_update(&nslink, &host, NULL, false), 0);
	assert_int_equal(count(guest_ns, "ip route | grep ^default"), 0);
}

/* The kernel tells no more of a route than the number of its nexthop */
static void copy_objects(void **state)
{
	struct template t;

	(void)state;
	fresh("ip addr add 10.0.0.2/24 dev h0 &&"
	      "ip addr add 198.51.100.2/24 dev h1 &&"
	      "ip -6 addr add 2001:db8::6/64 dev h0 nodad");
	enter(host_ns);
	if (system("ip nexthop replace id 7 via 10.0.0.8 dev h0 2>/dev/null &&"
		   "ip nexthop replace id 8 via 2001:db8::8 dev h0 &&"
		   "ip nexthop replace id 9 via 198.51.100.7 dev h1 &&"
		   "ip nexthop replace id 10 group 7/9 &&"
		   "ip route add default nhid 10 &&"
		   "ip -6 route add default nhid 8")) {
		enter(home_ns);
		skip();
	}
	write_file("/proc/sys/net/ipv4/nexthop_compat_mode", "0");
	enter(home_ns);
	assert_int_equal(template(&host, true, NULL, &t), 0);
	assert_string_equal(t.ifname, "h0");
	expect(&t.gw, "10.0.0.8");
	assert_int_equal(template(&host, true, "h1", &t), 0);
	expect(&t.gw, "none");
	c = (struct conf){ 0 };
	assert_int_equal(configure(), 0);
	assert_int_equal(count(guest_ns, "ip route | grep '^default via "
					 "10.0.0.8 dev g0'"),
			 1);
	assert_int_equal(count(guest_ns, "ip -6 route | grep '^default via "
					 "2001:db8::8 dev g0'"),
			 1);
	enter(host_ns);
	write_file("/proc/sys/net/ipv4/nexthop_compat_mode", "1");
	enter(home_ns);
}

/* What the host wraps is not to be wrapped by the guest, too */
static void copy_wrapped(void **state)
{
	(void)state;
	fresh("ip addr add 10.0.0.2/24 dev h0 &&"
	      "ip route add default via 10.0.0.1");
	enter(host_ns);
	if (system("ip route add 9.0.0.0/24 encap ip dst 10.0.0.7"
		   " via 10.0.0.3 2>/dev/null &&"
		   "ip route add 8.0.0.0/24 nexthop encap ip dst 10.0.0.7"
		   " via 10.0.0.3 nexthop via 10.0.0.4")) {
		enter(home_ns);
		skip();
	}
	enter(home_ns);
	c = (struct conf){ 0 };
	assert_int_equal(configure(), 0);
	assert_int_equal(count(guest_ns, "ip route | grep '^9.0.0.0/24 via "
					 "10.0.0.3 dev g0'"),
			 1);
	assert_int_equal(count(guest_ns, "ip route | grep 'nexthop via "
					 "10.0.0.[34] dev g0'"),
			 2);
	assert_int_equal(count(guest_ns, "ip route | grep encap"), 0);
}

/* More than can be copied: one leads where all of them do */
static void copy_too_many(void **state)
{
	FILE *f;
	unsigned i;

	(void)state;
	fresh("ip addr add 10.0.0.2/8 dev h0 &&"
	      "ip -6 addr add 2001:db8::6/64 dev h0 nodad &&"
	      "ip -6 route add 2001:db8:7::/48 via fe80::1 dev h0 &&"
	      "ip route add default via 10.1.1.1");
	enter(host_ns);
	f = popen("ip -batch -", "w");
	assert_non_null(f);
	for (i = 0; i < NSLINK_MAX; i++)
		fprintf(f, "route add 11.%u.%u.%u/30 via 10.0.0.3\n",
			i >> 14, i >> 6 & 255, (i & 63) << 2);
	assert_int_equal(pclose(f), 0);
	enter(home_ns);
	c = (struct conf){ 0 };
	log_level(LOG_ERROR);
	assert_int_equal(configure(), 0);
	log_level(LOG_INFORM);
	assert_int_equal(count(guest_ns, "ip route"), 2);
	assert_int_equal(count(guest_ns, "ip route | grep '^default via "
					 "10.1.1.1 dev g0'"),
			 1);
	assert_int_equal(count(guest_ns, "ip -6 route | grep 2001:db8:7::"), 1);
	run(host_ns, "ip route add 12.0.0.0/8 via 10.0.0.3");
	assert_int_equal(nslink_update(&nslink, &host, NULL, false), 0);
	assert_int_equal(count(guest_ns, "ip route"), 2);
}

/* The default route comes first in the dump and needs a later one */
static void copy_dependent(void **state)
{
	(void)state;
	fresh("ip addr add 10.0.0.2/24 dev h0 &&"
	      "ip route add 9.0.0.0/24 via 10.0.0.1 &&"
	      "ip route add 8.0.0.0/24 via 10.0.0.1 &&"
	      "ip route add 172.16.9.9 dev h0 scope link &&"
	      "ip route add default via 172.16.9.9 dev h0 &&"
	      "ip route add 7.0.0.0/8 via 172.16.9.9 dev h0");
	c = (struct conf){ 0 };
	assert_int_equal(configure(), 0);
	assert_int_equal(count(guest_ns, "ip route | grep '^default via "
					 "172.16.9.9'"),
			 1);
	assert_int_equal(count(guest_ns, "ip route"),
			 count(host_ns, "ip route"));
}

/* In a namespace that has a default route already, ours counts */
static void copy_before(void **state)
{
	(void)state;
	fresh("ip addr add 10.0.0.2/24 dev h0 &&"
	      "ip route add default via 10.0.0.1 &&"
	      "ip route append default via 10.0.0.7 &&"
	      "ip route append default via 10.0.0.8");
	run(guest_ns, "ip link set lo up && ip route add default dev lo");
	c = (struct conf){ 0 };
	assert_int_equal(configure(), 0);
	assert_int_equal(count(guest_ns, "ip route | sed -n 1p |"
					 " grep '^default via 10.0.0.1 dev g0'"),
			 1);
	assert_int_equal(count(guest_ns, "ip route | sed -n 2,4p |"
					 " tr '\\n' ' ' | grep "
					 "'lo .*10.0.0.7 .*10.0.0.8 '"),
			 1);
	run(guest_ns, "ip link set lo down");
}

/* By a router that has IPv6 alone (RFC 9229), or at the end of a line: the next
 * hop is one that we answer for */
static void copy_without_gateway(void **state)
{
	static const char by_us[] = "ip route | grep '^default via 10.0.0.1 "
				    "dev g0 *$'";

	(void)state;
	fresh("ip addr add 10.0.0.2/24 dev h0 &&"
	      "ip -4 route add default via inet6 fe80::1 dev h0 &&"
	      "ip route add 11.0.0.0/8 via inet6 fe80::1 dev h0 &&"
	      "ip route add 12.0.0.0/8 dev h0 &&"
	      "ip route add 128.0.0.0/1 dev h0 &&"
	      "ip route add 224.0.0.0/4 dev h0 &&"
	      "ip -6 route add 2000::/3 dev h0 &&"
	      "ip -6 addr add 2001:db8::6/64 dev h0 nodad &&"
	      "ip -6 route add default dev h0");
	c = (struct conf){ .lan.gw6 = parse("fe80::9"),
			   .gw_given = { false, true } };
	assert_int_equal(configure(), 0);
	assert_int_equal(count(guest_ns, by_us), 1);
	assert_int_equal(count(guest_ns, "ip route | grep '^11.0.0.0/8 via "
					 "10.0.0.1 dev g0'"),
			 1);
	assert_int_equal(count(guest_ns, "ip route | grep '^12.0.0.0/8 dev g0 "
					 "scope link'"),
			 1);
	assert_int_equal(count(guest_ns, "ip route | grep '^224.0.0.0/4 dev g0 "
					 "scope link'"),
			 1);
	/* a part of the world, as of what stands for a default route */
	assert_int_equal(count(guest_ns, "ip route | grep '^128.0.0.0/1 via "
					 "10.0.0.1 dev g0'"),
			 1);
	assert_int_equal(count(guest_ns, "ip -6 route | grep '^2000::/3 via "
					 "fe80::9 dev g0'"),
			 1);
	assert_int_equal(count(guest_ns, "ip -6 route | grep '^default via "
					 "fe80::9 dev g0'"),
			 1);
	assert_int_equal(count(guest_ns, "ip -6 route | grep '^default'"), 1);

	fresh("ip addr add 10.0.0.2/24 dev h0 &&"
	      "ip route add default dev h0 scope link");
	assert_int_equal(configure(), 0);
	assert_int_equal(count(guest_ns, by_us), 1);
	fresh("ip addr add 10.0.0.2/24 dev h0 &&"
	      "ip -4 route add default nexthop via inet6 fe80::1 dev h0"
	      " nexthop via inet6 fe80::2 dev h0");
	assert_int_equal(configure(), 0);
	assert_int_equal(count(guest_ns, by_us), 1);
	/* outside of the subnet */
	fresh("ip addr add 10.0.0.2/32 dev h0 &&"
	      "ip route add default dev h0 scope link");
	assert_int_equal(configure(), 0);
	assert_int_equal(count(guest_ns, "ip route | grep '^default via "
					 "169.254.2.2 dev g0 onlink'"),
			 1);
	c.no_copy_routes[0] = true;
	fresh("ip addr add 10.0.0.2/32 dev h0 &&"
	      "ip route add default dev h0 scope link");
	assert_int_equal(configure(), 0);
	assert_int_equal(count(guest_ns, "ip route | grep '^default via "
					 "169.254.2.2 dev g0 onlink'"),
			 1);
}

static void single(void **state)
{
	(void)state;
	fresh("ip addr add 10.0.0.2/24 dev h0 &&"
	      "ip route add default via 10.0.0.1 &&"
	      "ip -6 addr add 2001:db8::6/64 dev h0 nodad");
	c = (struct conf){
		.no_copy_addrs = { true, true },
		.no_copy_routes = { true, true },
		.ns_mac_set = true,
		.ns_mac = { { 2, 0, 0, 0, 0, 0x55 } },
		.lan.guest4 = parse("192.0.2.7"),
		.lan.prefix4 = 28,
		.lan.gw4 = parse("198.51.100.1"), /* elsewhere */
		.lan.guest6 = parse("2001:db8:1::7"),
		.lan.gw6 = parse("fe80::1"),
		.gw_given = { true, true },
		.lan.fixed4 = true,
		.lan.fixed6 = true,
	};
	assert_int_equal(configure(), 0);
	assert_int_equal(count(guest_ns, "ip addr | grep 192.0.2.7/28"), 1);
	assert_int_equal(count(guest_ns, "ip addr | grep 10.0.0.2"), 0);
	assert_int_equal(count(guest_ns, "ip addr | grep 2001:db8:1::7/64"), 1);
	assert_int_equal(count(guest_ns, "ip route | grep '^default via "
					 "198.51.100.1 dev g0'"),
			 1);
	assert_int_equal(count(guest_ns, "ip -6 route | grep '^default via "
					 "fe80::1 dev g0'"),
			 1);
	assert_int_equal(count(guest_ns, "ip link show g0 | grep :55"), 1);
}

/* disable_ipv6 in the namespace: IPv4 goes on */
static void without_v6(void **state)
{
	(void)state;
	fresh("ip addr add 10.0.0.2/24 dev h0 &&"
	      "ip route add default via 10.0.0.1 &&"
	      "ip -6 addr add 2001:db8::6/64 dev h0 nodad");
	enter(guest_ns);
	write_file("/proc/sys/net/ipv6/conf/g0/disable_ipv6", "1");
	enter(home_ns);
	c = (struct conf){ 0 };
	log_level(LOG_ERROR);
	assert_int_equal(configure(), 0);
	log_level(LOG_INFORM);
	assert_true(now.plan.lan.v4);
	assert_false(now.plan.lan.v6);
	assert_int_equal(count(guest_ns, "ip route | grep ^default"), 1);
}

/* --- what fails ------------------------------------------------------------ */

/* As the host is, so is the guest: one of two states */
static void expect_state(unsigned b)
{
	static const char *const addrs[2] = { "10.0.0.3/24|2001:db8::6/64",
					      "10.0.[012].[456]/24|2001:db8::7/64" };
	static const char *const dst[2] = { "9.0.0.0", "8.0.0.0" };
	char cmd[128];
	unsigned i;

	for (i = 0; i < 2; i++) {
		snprintf(cmd, sizeof(cmd), "ip addr show dev g0 | grep -E '%s'",
			 addrs[i]);
		assert_int_equal(count(guest_ns, cmd), i == b ? 2 + 2 * b : 0);
		snprintf(cmd, sizeof(cmd), "ip route | grep '^%s'", dst[i]);
		assert_int_equal(count(guest_ns, cmd), i == b);
	}
	assert_int_equal(count(guest_ns, "ip addr show dev g0 | grep 10.0.0.2"),
			 1);
}

static void become(unsigned b)
{
	run(host_ns, b ? "ip addr del 10.0.0.3/24 dev h0 &&"
			 "ip addr add 10.0.0.4/24 dev h0 &&"
			 "ip addr add 10.0.1.5/24 dev h0 &&"
			 "ip addr add 10.0.2.6/24 dev h0 &&"
			 "ip -6 addr del 2001:db8::6/64 dev h0 &&"
			 "ip -6 addr add 2001:db8::7/64 dev h0 nodad &&"
			 "ip route add 8.0.0.0/24 via 10.0.0.1 &&"
			 "ip route del 9.0.0.0/24 via 10.0.0.1"
		       : "ip addr del 10.0.0.4/24 dev h0 &&"
			 "ip addr del 10.0.1.5/24 dev h0 &&"
			 "ip addr del 10.0.2.6/24 dev h0 &&"
			 "ip addr add 10.0.0.3/24 dev h0 &&"
			 "ip -6 addr del 2001:db8::7/64 dev h0 &&"
			 "ip -6 addr add 2001:db8::6/64 dev h0 nodad &&"
			 "ip route add 9.0.0.0/24 via 10.0.0.1 &&"
			 "ip route del 8.0.0.0/24 via 10.0.0.1");
}

/* Whatever an update misses for an error is made up for by a later one, where the kernel
 * has done what it was asked and only its answer was lost, too */
static void updates_meet_errors(const char *call, int err)
{
	unsigned k, i, b = 0;
	bool hit = true;

	for (k = 1; hit; k++) {
		b = !b;
		become(b);
		refuse_call(call, k, err);
		(void)nslink_update(&nslink, &host, NULL, false);
		hit = refuse_end();
		for (i = 0; i < 4; i++)
			(void)nslink_update(&nslink, &host, NULL, false);
		expect_state(b);
	}
	assert_in_range(k, 12, 60);
	if (b)
		become(0);
	assert_int_equal(nslink_update(&nslink, &host, NULL, false), 0);
	expect_state(0);
}

static void updates_fail(void **state)
{
	(void)state;
	fresh("ip addr add 10.0.0.2/24 dev h0 &&"
	      "ip addr add 10.0.0.3/24 dev h0 &&"
	      "ip -6 addr add 2001:db8::6/64 dev h0 nodad &&"
	      "ip route add 9.0.0.0/24 via 10.0.0.1");
	c = (struct conf){ 0 };
	assert_int_equal(configure(), 0);
	expect_state(0);
	log_level(LOG_ERROR);
	updates_meet_errors("sendto", ENOBUFS);
	updates_meet_errors("recvmsg", ENOMEM);
	log_level(LOG_INFORM);
}

/* --- neighbours ---------------------------------------------------------- */

static struct addr last;
static unsigned seen, gone;

static void heard(void *arg, const struct nlmsghdr *h)
{
	struct nlmsg_neigh n;

	assert_ptr_equal(arg, &seen);
	if (!nlmsg_read_neigh(&n, h))
		return;
	assert_int_not_equal(n.ifindex, 0);
	if (n.gone)
		gone++;
	else
		seen++;
	last = n.addr;
}

static void neighbours(void **state)
{
	int fd;

	(void)state;
	fresh("ip addr add 10.0.0.2/24 dev h0");
	enter(host_ns);
	fd = nl_listen(RTMGRP_NEIGH);
	enter(home_ns);
	assert_true(fd >= 0);
	assert_int_equal(nl_read(fd, heard, &seen), 0);
	seen = gone = 0;
	run(host_ns, "ip neigh replace 10.0.0.3 lladdr 02:00:00:00:00:33 dev h0"
		     " nud permanent");
	assert_int_equal(nl_read(fd, heard, &seen), 0);
	assert_int_equal(seen, 1);
	expect(&last, "10.0.0.3");
	assert_int_equal(nl_ask(&host, RTM_GETNEIGH, true, heard, &seen), 0);
	assert_int_equal(seen, 2);
	run(host_ns, "ip neigh del 10.0.0.3 dev h0");
	assert_int_equal(nl_read(fd, heard, &seen), 0);
	assert_true(gone >= 1);
	assert_int_equal(nl_read(fd, heard, &seen), 0);
	close(fd);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(links),
		cmocka_unit_test(template_default),
		cmocka_unit_test(template_service),
		cmocka_unit_test(template_other),
		cmocka_unit_test(template_multipath),
		cmocka_unit_test(template_nexthop_object),
		cmocka_unit_test(template_v6),
		cmocka_unit_test(networks),
		cmocka_unit_test(copy_many),
		cmocka_unit_test(copy_hops),
		cmocka_unit_test(copy_objects),
		cmocka_unit_test(copy_wrapped),
		cmocka_unit_test(copy_too_many),
		cmocka_unit_test(copy_dependent),
		cmocka_unit_test(copy_before),
		cmocka_unit_test(copy_without_gateway),
		cmocka_unit_test(single),
		cmocka_unit_test(without_v6),
		cmocka_unit_test(updates_fail),
		cmocka_unit_test(neighbours),
	};

	return cmocka_run_group_tests(tests, set_up, NULL);
}
