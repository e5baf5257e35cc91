/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Options were stored one by one by options.c; here is what concerns several of
 * them, and what nobody said: conf_parse() checks combinations and makes the
 * rules, so that a mistake ends the process before it has touched anything;
 * conf_finish() fills the gaps in the order template, translations, resolvers,
 * because each step reads the one before.  A family without template is in
 * local mode: the guest gets a link-local network that is complete enough to
 * start with.  Whatever was given on the command line is never overwritten.
 */
#include "conf.h"
#include "log.h"
#include "options.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

enum {
	LOG_SIZE_DEFAULT = 1 << 20,
	DUID_EPOCH = 946684800, /* 2000-01-01 in seconds since 1970 */
};

static const char *const family[] = { "IPv4", "IPv6" };

/* --- the command line --------------------------------------------------- */

static int find_fd(int argc, char **argv, const char *name)
{
	const char *arg = options_find(argc, argv, name);
	uint64_t v;

	return arg && util_parse_u64(arg, 0, INT_MAX, &v) ? (int)v : -1;
}

enum mode conf_mode(int argc, char **argv, struct given *g)
{
	const char *base;

	if (argc < 1 || !argv[0])
		die("Cannot determine mode, invoke as \"passt\" or \"pasta\"");
	g->guest = find_fd(argc, argv, "fd");
	g->ready = find_fd(argc, argv, "ready-fd");
	g->exit = find_fd(argc, argv, "exit-fd");
	if (options_find(argc, argv, "vhost-user"))
		return MODE_VHOST;
	base = strrchr(argv[0], '/');
	base = base ? base + 1 : argv[0];
	if (strstr(base, "pasta"))
		return MODE_PASTA;
	if (strstr(base, "passt"))
		return MODE_PASST;
	die("Cannot determine mode, invoke as \"passt\" or \"pasta\"");
}

static void defaults(struct conf *c)
{
	bool pasta = c->mode == MODE_PASTA;
	struct lan *l = &c->lan;

	c->fd = c->ready_fd = c->exit_fd = -1;
	c->log_size = LOG_SIZE_DEFAULT;
	c->map_gw = true;
	c->map.splice = pasta;
	c->dhcp_dns = !pasta;
	c->dhcp_search = !pasta;
	l->v4 = l->v6 = true;
	l->mac = (struct mac){ { 0x9a, 0x55, 0x9a, 0x55, 0x9a, 0x55 } };
	l->mtu = MTU_DEFAULT;
	l->tcp = l->udp = l->icmp = true;
	l->dhcp = l->dhcpv6 = l->ndp = l->ra = true;
}

static bool all_digits(const char *s)
{
	return *s && !s[strspn(s, "0123456789")];
}

static void parse_pid(struct conf *c, const char *arg)
{
	uint64_t v;

	if (!util_parse_u64(arg, 10, INT_MAX, &v) || !v)
		die("Invalid PID %s", arg);
	c->pid = (pid_t)v;
}

/* Where pasta goes: a named namespace, that of a process, or a new one */
static void choose_target(struct conf *c, int argc, char **argv)
{
	if (c->netns[0]) {
		if (argc)
			die("Both --netns and PID or command given");
		c->netns_only |= !c->userns[0];
		return;
	}
	if (argc == 1 && all_digits(argv[0])) {
		parse_pid(c, argv[0]);
		return;
	}
	if (!argc && c->fd >= 0) /* the channel is there already */
		return;
	c->spawn = true;
	c->argv = argc ? argv : NULL;
	/* The terminal belongs to the command */
	c->foreground = true;
	c->quiet = !c->debug;
}

static void check_pidns(const struct conf *c)
{
	if (c->no_pidns && !c->spawn)
		die("--no-pidns is for a command, not for PID or --netns");
}

static void check_splice(const struct conf *c)
{
	if (c->map.splice || c->mode != MODE_PASTA)
		return;
	if (c->splice_only)
		die("--splice-only conflicts with --no-splice");
	if (c->map.host_lo_to_ns_lo)
		die("--host-lo-to-ns-lo conflicts with --no-splice");
}

static void check_pcap(struct conf *c)
{
	struct pcap_conf *p = &c->capture;

	if (p->files && !p->limit)
		die("--pcap-files needs --pcap-size");
	if ((p->drops || p->limit) && !c->pcap[0])
		die("--pcap-%s needs --pcap", p->drops ? "drops" : "size");
	if (!p->files)
		p->files = 2;
}

static void check(struct conf *c)
{
	if (c->stats_on && !c->foreground)
		die("Can't display statistics if not running in foreground");
	if (c->no_copy_given[0] && !c->config_net)
		die("--no-copy-routes needs --config-net");
	if (c->no_copy_given[1] && !c->config_net)
		die("--no-copy-addrs needs --config-net");
	check_pidns(c);
	check_splice(c);
	check_pcap(c);
}

static void check_families(struct conf *c)
{
	if (!c->sock.v6 && c->lan.v6) {
		if (!c->lan.v4)
			die("IPv6 not available but --ipv6-only given");
		c->lan.v6 = false;
	}
	if (!c->sock.v4 && c->lan.v4) {
		if (!c->lan.v6)
			die("IPv4 not available");
		c->lan.v4 = false;
	}
}

static enum log_level level(const struct conf *c)
{
	if (c->trace)
		return LOG_TRACE;
	if (c->debug)
		return LOG_DBG;
	return c->quiet ? LOG_WARN : LOG_INFORM;
}

/* --- rules -------------------------------------------------------------- */

static struct rules *table(struct conf *c, char opt)
{
	return opt == 'T' || opt == 'U' ? &c->ns : &c->host;
}

static void add_spec(struct conf *c, char opt, const char *arg,
		     const struct rules_env *env)
{
	char err[RULE_ERR];

	if (!rules_add_spec(table(c, opt), opt, arg, env, err))
		die("%s", err);
}

static bool given(const struct conf *c, char opt)
{
	unsigned i;

	for (i = 0; i < c->specs; i++)
		if (c->spec[i].opt == opt)
			return true;
	return false;
}

/* What TCP divides by is made from the MTU, and the kernel has no IPv6 on a link
 * with a small one */
static void check_mtu(struct lan *l)
{
	if (!l->mtu)
		return;
	if (l->mtu < MTU_MIN4)
		die("MTU %u is too small (minimum %d)", l->mtu, MTU_MIN4);
	if (!l->v6 || l->mtu >= MTU_MIN6)
		return;
	if (!l->v4)
		die("MTU %u is too small for IPv6 (minimum %d)", l->mtu,
		    MTU_MIN6);
	log_warn("MTU %u is too small for IPv6 (minimum %d): IPv4 only",
		 l->mtu, MTU_MIN6);
	l->v6 = false;
}

static void add_rules(struct conf *c)
{
	struct rules_env env = { .v4 = c->lan.v4,
				 .v6 = c->lan.v6,
				 .tcp = c->lan.tcp,
				 .udp = c->lan.udp,
				 .pasta = c->mode == MODE_PASTA,
				 .bindtodevice = c->sock.bindtodevice };
	const char *opt;
	unsigned i;

	rules_ephemeral(&env);
	c->rules_env = env;
	c->ns.splice = true;
	for (i = 0; i < c->specs; i++)
		add_spec(c, c->spec[i].opt, c->spec[i].arg, &env);
	if (!env.pasta)
		return;
	for (opt = "tuTU"; *opt; opt++) {
		bool on = *opt == 't' || *opt == 'T' ? env.tcp : env.udp;

		if (on && !given(c, *opt))
			add_spec(c, *opt, "auto", &env);
	}
}

void conf_parse(struct conf *c, int argc, char **argv)
{
	struct given unused;
	int first;

	c->mode = conf_mode(argc, argv, &unused);
	defaults(c);
	/* What setters have to say is no fault */
	if (options_find(argc, argv, "quiet"))
		log_level(LOG_WARN);
	first = options_run(c, argc, argv);
	if (c->mode == MODE_PASTA)
		choose_target(c, argc - first, argv + first);
	else if (first < argc)
		die("Extra non-option argument: %s", argv[first]);
	check(c);
	check_families(c);
	check_mtu(&c->lan);
	add_rules(c);
	if (!c->label[0] && options_label(c->lan.hostname))
		strcpy(c->label, c->lan.hostname);
	c->one_off |= c->fd >= 0;
	log_level(level(c));
}

/* --- template ----------------------------------------------------------- */

/* The outbound interface is the template unless there is an explicit one */
static void check_outbound(const struct conf *c, bool v4,
			   const struct template *t)
{
	const char *name = v4 ? c->sock.if4 : c->sock.if6;

	if (name[0] && !c->ifname[0] && !t->ifindex)
		die("External interface not usable");
}

/* What a guest gets whose host has no network: RFC 3927 and RFC 4291 give
 * addresses that collide with nobody's. */
static struct template local_template(bool v4)
{
	struct template t = { 0 };

	if (v4) {
		t.addr = addr_v4(169, 254, 2, 1);
		t.prefix = 16;
		t.gw = addr_v4(169, 254, 2, 2);
		return t;
	}
	addr_parse("fe80::1", &t.gw);
	return t;
}

/* Where the host has no router for IPv4, such as behind one that speaks IPv6
 * alone (RFC 9229) or at the end of a line, the guest has one all the same: us */
static struct addr own_router(const struct addr *guest, unsigned prefix)
{
	struct addr a = addr_mask(guest, prefix);

	if (prefix == 32) /* DHCP adds a route to it */
		return addr_v4(169, 254, 2, addr_is_link_local(guest) ? 3 : 2);
	if (prefix == 31) { /* RFC 3021: the other one */
		a = *guest;
		a.b[15] ^= 1;
		return a;
	}
	a.b[15] |= 1;
	if (addr_equal(&a, guest))
		a.b[15] ^= 3;
	return a;
}

static void adopt4(struct conf *c, const struct template *t)
{
	struct lan *l = &c->lan;

	if (!l->fixed4) {
		l->guest4 = t->addr;
		if (!c->prefix_given)
			l->prefix4 = t->prefix;
	}
	if (!c->gw_given[0])
		l->gw4 = t->gw;
	if (addr_is_none(&l->gw4))
		l->gw4 = own_router(&l->guest4, l->prefix4);
	l->our4 = l->gw4;
}

static void adopt6(struct conf *c, const struct template *t)
{
	struct lan *l = &c->lan;

	if (!l->fixed6)
		l->guest6 = t->addr;
	if (!c->gw_given[1])
		l->gw6 = t->gw;
	if (addr_is_link_local(&l->gw6))
		l->our_ll6 = l->gw6;
	else if (!addr_is_none(&t->ll))
		l->our_ll6 = t->ll;
	else /* a tunnel without one: neighbours need some name for us */
		addr_parse("fe80::1", &l->our_ll6);
	if (addr_is_none(&l->gw6))
		l->gw6 = l->our_ll6;
	if (addr_is_none(&l->guest6))
		l->dhcpv6 = false;
}

static void adopt(struct conf *c, bool v4, const struct template *t)
{
	struct template local = local_template(v4);
	unsigned i = v4 ? 0 : 1;

	if (!(v4 ? c->lan.v4 : c->lan.v6))
		return;
	check_outbound(c, v4, t);
	if (t->ifindex && t->multiple)
		log_info("Multiple default %s routes, picked first", family[i]);
	if (!t->ifindex) {
		c->local[i] = true;
		c->no_copy_routes[i] = true;
		c->no_copy_addrs[i] = true;
		t = &local;
	}
	if (v4)
		adopt4(c, t);
	else
		adopt6(c, t);
}

static void note_local(const struct conf *c)
{
	unsigned i;

	if (c->local[0] && c->local[1])
		log_info("No network on the host, use local mode");
	else
		for (i = 0; i < 2; i++)
			if (c->local[i])
				log_info("%s: no external interface as "
					 "template, use local mode",
					 family[i]);
}

static void name_interface(struct conf *c, const struct template *t4,
			   const struct template *t6)
{
	const char *name = "tap0";

	if (c->mode != MODE_PASTA || c->ns_ifname[0])
		return;
	if (c->lan.v4 && t4->ifindex)
		name = t4->ifname;
	else if (c->lan.v6 && t6->ifindex)
		name = t6->ifname;
	if (!strcmp(name, "lo")) /* it has one already */
		name = "tap0";
	snprintf(c->ns_ifname, sizeof(c->ns_ifname), "%s", name);
}

/* The guest reaches the host's loopback through its gateway's address */
static void map_gateway(struct conf *c)
{
	struct addr *map4 = &c->map.host_loopback[0][0];
	struct addr *map6 = &c->map.host_loopback[1][0];

	if (!c->map_gw)
		return;
	if (c->lan.v4 && addr_is_none(map4))
		*map4 = c->lan.gw4;
	if (c->lan.v6 && addr_is_none(map6))
		*map6 = c->lan.gw6;
}

/* --- resolv.conf -------------------------------------------------------- */

static bool is_host_loopback(const struct conf *c, const struct addr *a)
{
	const struct addr *names = c->map.host_loopback[addr_is_v4(a) ? 0 : 1];
	unsigned i;

	for (i = 0; i < FWD_NAMES; i++)
		if (addr_equal(a, &names[i]))
			return true;
	return addr_is_loopback(a);
}

/* What the guest is told instead of a resolver that only the host can reach;
 * none: nothing.  Its questions to that address are then for the resolver, even
 * when that has another address later. */
static struct addr stand_in(struct conf *c, unsigned i, const struct addr *a)
{
	struct addr *match = &c->map.dns.match[i];

	if (!is_host_loopback(c, a))
		return *a;
	if (addr_is_none(match))
		*match = c->map.host_loopback[i][0];
	return *match;
}

static void add_host(struct conf *c, unsigned i, const struct addr *a)
{
	struct fwd_dns *d = &c->map.dns;

	if (addr_is_v4(a) ? c->sock.v4 : c->sock.v6)
		d->host[i][d->n[i]++] = *a;
}

/* Where questions that come by family @i go.  A resolver that was given is the
 * only one of its family, and what it is given for asks no other. */
static void order(struct conf *c, const struct resolvconf *rc, unsigned i)
{
	struct fwd_dns *d = &c->map.dns;
	const struct addr *given = c->dns_host;
	unsigned k;

	memset(d->host[i], 0, sizeof(d->host[i]));
	d->n[i] = d->current[i] = 0;
	if (!addr_is_none(&given[i])) {
		add_host(c, i, &given[i]);
		return;
	}
	for (k = 0; k < rc->n[i]; k++)
		add_host(c, i, &rc->ns[i][k]);
	if (!addr_is_none(&given[!i])) {
		add_host(c, i, &given[!i]);
		return;
	}
	for (k = 0; k < rc->n[!i]; k++)
		add_host(c, i, &rc->ns[!i][k]);
}

/* Is the list of this family shown to the guest?  A pasta user who names a
 * resolver means it, one who does not asks with --dhcp-dns. */
static bool advertised(const struct conf *c, unsigned i)
{
	return c->dhcp_dns || (c->mode == MODE_PASTA && c->dns_given[i]);
}

static void show_resolvers(struct conf *c, const struct resolvconf *rc,
			   unsigned i)
{
	unsigned *n = i ? &c->lan.dns6_n : &c->lan.dns4_n, k;

	if (c->dns_given[i] || !(i ? c->lan.v6 : c->lan.v4))
		return;
	*n = 0;
	for (k = 0; k < rc->n[i] && !c->dns_none; k++) {
		struct addr shown = stand_in(c, i, &rc->ns[i][k]);

		if (!addr_is_none(&shown))
			options_add_dns(&c->lan, &shown);
	}
}

static void show_search(struct conf *c, const struct resolvconf *rc)
{
	struct lan *l = &c->lan;

	if (!c->search_given) {
		memcpy(l->search, rc->search, sizeof(l->search));
		l->search_n = rc->search_n;
	}
	if (!c->dhcp_search && !(c->mode == MODE_PASTA && c->search_given))
		l->search_n = 0;
}

void conf_resolv(struct conf *c, const struct resolvconf *rc)
{
	struct lan *l = &c->lan;
	unsigned i;

	for (i = 0; i < 2; i++) {
		if (!rc->n[0] && !rc->n[1] && c->map.dns.n[i])
			continue;
		order(c, rc, i);
		show_resolvers(c, rc, i);
	}
	if (!advertised(c, 0))
		l->dns4_n = 0;
	if (!advertised(c, 1))
		l->dns6_n = 0;
	show_search(c, rc);
}

/* Not a fault: many hosts have one family alone */
static void note_resolvers(const struct conf *c)
{
	const struct fwd_dns *d = &c->map.dns;
	const struct lan *l = &c->lan;
	bool forward = !addr_is_none(&d->match[0]) ||
		       !addr_is_none(&d->match[1]);

	if (c->dns_none)
		return;
	if ((c->dhcp_dns && !l->dns4_n && !l->dns6_n) ||
	    (forward && !d->n[0] && !d->n[1]))
		log_info("Couldn't get any nameserver address");
	if (!c->dhcp_dns)
		return;
	if (l->v4 && l->dhcp && !l->dns4_n)
		log_info("No IPv4 nameserver available for DHCP");
	if (l->v6 && (l->ndp || l->dhcpv6) && !l->dns6_n)
		log_info("No IPv6 nameserver available for NDP/DHCPv6");
}

static void find_resolvers(struct conf *c, const char *path)
{
	struct lan *l = &c->lan;
	struct resolvconf rc;
	int fd;

	if (c->splice_only) {
		l->dns4_n = l->dns6_n = l->search_n = 0;
		return;
	}
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || resolvconf_read(&rc, fd))
		resolvconf_begin(&rc);
	if (fd >= 0)
		close(fd);
	conf_resolv(c, &rc);
	note_resolvers(c);
}

void conf_finish(struct conf *c, const struct template *t4,
		 const struct template *t6)
{
	if (!c->splice_only) {
		adopt(c, true, t4);
		adopt(c, false, t6);
		note_local(c);
		name_interface(c, t4, t6);
		map_gateway(c);
	}
	c->sock.scope = t6->ifindex;
	find_resolvers(c, "/etc/resolv.conf");
	c->lan.duid_time = (uint32_t)(time(NULL) - DUID_EPOCH);
}

/* --- the summary -------------------------------------------------------- */

static void show(const char *what, const struct addr *a)
{
	char text[ADDR_TEXT_LEN];

	if (!addr_is_none(a))
		log_info("    %s: %s", what, addr_text(a, text));
}

/* "what: x (IPv4), y (IPv6)", of those that are not empty */
static void show_both(const char *what, const char *x, const char *y)
{
	if (*x || *y)
		log_info("%s: %s%s%s%s%s", what, x, *x ? " (IPv4)" : "",
			 *x && *y ? ", " : "", y, *y ? " (IPv6)" : "");
}

static void show_outbound(const struct conf *c)
{
	char text4[ADDR_TEXT_LEN] = "", text6[ADDR_TEXT_LEN] = "";

	show_both("Outbound interface", c->sock.if4, c->sock.if6);
	if (!addr_is_none(&c->sock.out4))
		addr_text(&c->sock.out4, text4);
	if (!addr_is_none(&c->sock.out6))
		addr_text(&c->sock.out6, text6);
	show_both("Outbound address", text4, text6);
}

static void show_mac(const struct conf *c)
{
	char text[MAC_TEXT_LEN];
	unsigned i;

	log_info("MAC:");
	log_info("    host: %s", mac_text(&c->lan.mac, text));
	for (i = 0; i < FWD_NAMES; i++)
		if (c->lan.v4)
			show("NAT to host 127.0.0.1",
			     &c->map.host_loopback[0][i]);
	for (i = 0; i < FWD_NAMES; i++)
		if (c->lan.v6)
			show("NAT to host ::1", &c->map.host_loopback[1][i]);
}

static void show_dns(const struct lan *l, bool v4)
{
	const struct addr *list = v4 ? l->dns4 : l->dns6;
	unsigned n = v4 ? l->dns4_n : l->dns6_n, i;
	char text[ADDR_TEXT_LEN];

	if (n)
		log_info("DNS:");
	for (i = 0; i < n; i++)
		log_info("    %s", addr_text(&list[i], text));
	if (l->search_n)
		log_info("DNS search list:");
	for (i = 0; i < l->search_n; i++)
		log_info("    %s", l->search[i]);
}

static void show4(const struct lan *l)
{
	struct addr mask;

	if (!l->v4)
		return;
	if (l->dhcp) {
		mask = addr_v4(255, 255, 255, 255);
		mask = addr_mask(&mask, l->prefix4);
		log_info("DHCP:");
		show("assign", &l->guest4);
		show("mask", &mask);
		show("router", &l->gw4);
	}
	show_dns(l, true);
}

static void show6(const struct lan *l)
{
	bool ndp = l->ndp && l->ra;

	if (!l->v6)
		return;
	if (ndp || l->dhcpv6) {
		log_info("%s:", !l->dhcpv6 ? "NDP" :
				ndp	   ? "NDP/DHCPv6" :
					     "DHCPv6");
		show("assign", &l->guest6);
		show("router", &l->gw6);
		show("our link-local", &l->our_ll6);
	}
	show_dns(l, false);
}

static void show_rules(const char *title, const struct rules *t)
{
	char text[RULE_TEXT];
	unsigned i;

	if (t->n)
		log_info("%s:", title);
	for (i = 0; i < t->n; i++)
		log_info("    %s", rule_text(&t->r[i], text));
}

static void show_hint(const struct conf *c)
{
	if (c->mode == MODE_PASTA || !c->socket[0])
		return;
	log_info("You can start QEMU with:");
	if (c->mode == MODE_PASST)
		log_info("    -device virtio-net-pci,netdev=s -netdev stream,"
			 "id=s,server=off,addr.type=unix,addr.path=%s",
			 c->socket);
	else
		log_info("    -chardev socket,id=c,path=%s "
			 "-netdev vhost-user,id=n,chardev=c "
			 "-device virtio-net-pci,netdev=n "
			 "-machine memory-backend=m "
			 "-object memory-backend-memfd,id=m,size=RAM",
			 c->socket);
}

void conf_print(const struct conf *c, const struct template *t4,
		const struct template *t6)
{
	if (log_max < LOG_INFORM)
		return;
	if (c->control[0])
		log_info("Configuration socket: %s", c->control);
	if (c->metrics[0])
		log_info("Metrics socket: %s", c->metrics);
	if (!c->splice_only) {
		show_both("Template interface",
			  c->lan.v4 && t4->ifindex ? t4->ifname : "",
			  c->lan.v6 && t6->ifindex ? t6->ifname : "");
		show_outbound(c);
		if (c->mode == MODE_PASTA)
			log_info("Namespace interface: %s", c->ns_ifname);
		show_mac(c);
		show4(&c->lan);
		show6(&c->lan);
	}
	show_rules("Inbound forwarding rules (HOST)", &c->host);
	show_rules("Outbound forwarding rules (SPLICE)", &c->ns);
	show_hint(c);
}
