/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * conf - the configuration as a whole
 *
 * Options were stored one by one by options.c.  Here is what concerns several
 * of them: combinations are checked and the forwarding rules are made, so that
 * a mistake ends the process before it has touched anything.  What nobody
 * specified is left to plan.c.
 */
#include "conf.h"
#include "log.h"
#include "options.h"

#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>

enum {
	LOG_SIZE_DEFAULT = 1 << 20,
	DUID_EPOCH = 946684800, /* 2000-01-01 in seconds since 1970 */
};

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
	/* With --takeover the predecessor hands over the connection to the
	 * guest */
	g->guest = options_find(argc, argv, "takeover") ?
			   -1 : find_fd(argc, argv, "fd");
	g->store = options_find(argc, argv, "fd-store");
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

/* A successor joins the namespace of its predecessor by name or PID; a pasta
 * that starts a command would make a new one */
static void check_takeover(const struct conf *c)
{
	if (!c->takeover[0])
		return;
	if (c->spawn)
		die("--takeover needs --netns or PID as the running pasta has "
		    "it");
}

/* Descriptors that we inherit by number are not in the store; and the rings of
 * a vhost-user guest would be one file many times, which the service manager
 * keeps once */
static void check_store(const struct conf *c)
{
	if (!c->fd_store)
		return;
	if (c->mode == MODE_VHOST)
		die("--fd-store conflicts with --vhost-user");
	if (c->fd >= 0 || c->ready_fd >= 0 || c->exit_fd >= 0)
		die("--fd-store conflicts with --fd, --ready-fd and --exit-fd");
}

static enum log_level level(const struct conf *c)
{
	if (c->trace)
		return LOG_TRACE;
	if (c->debug)
		return LOG_DBG;
	return c->quiet ? LOG_WARN : LOG_INFORM;
}

/* Whether two paths name one file, so that one use would overwrite the other.
 * If they can't be looked at, as they may not exist yet, their text is
 * compared.  A device such as /dev/null and a pipe may be named twice. */
static bool is_same_file(const char *a, const char *b)
{
	struct stat s, t;

	if (stat(a, &s) || stat(b, &t))
		return !strcmp(a, b);
	return s.st_dev == t.st_dev && s.st_ino == t.st_ino &&
	       (S_ISREG(s.st_mode) || S_ISSOCK(s.st_mode));
}

struct named {
	const char *option, *path;
};

static void check_pair(const struct named *a, const struct named *b)
{
	if (*a->path && *b->path && is_same_file(a->path, b->path))
		die("%s and %s are the same file: %s", a->option, b->option,
		    b->path);
}

/* Check the names that pcap.c makes for the parts of a capture, all but the
 * first */
static void check_parts(const struct conf *c, const struct named *other)
{
	char path[sizeof(c->pcap) + 12];
	const struct named part = { "--pcap", path };
	unsigned i;

	for (i = 1; c->capture.limit && i < c->capture.files; i++) {
		snprintf(path, sizeof(path), "%s.%u", c->pcap, i);
		check_pair(&part, other);
	}
}

static void check_files(const struct conf *c)
{
	const struct named f[] = {
		{ "--pcap", c->pcap },
		{ "--log-file", c->log_file },
		{ "--pid", c->pid_file },
		{ "--socket", c->socket },
		{ "--conf-path", c->control },
		{ "--metrics-socket", c->metrics },
		{ "--repair-path", strcmp(c->repair, "none") ? c->repair : "" },
	};
	unsigned i, j;

	for (i = 1; i < ARRAY_SIZE(f); i++) {
		check_parts(c, &f[i]);
		for (j = 0; j < i; j++)
			check_pair(&f[j], &f[i]);
	}
}

/* Warn of options for a family that the guest has not.  Podman always gives
 * some of them: these are not mentioned. */
static void check_useless(const struct conf *c)
{
	const struct lan *l = &c->lan;
	bool i = l->v4; /* the family that is off */
	const struct fwd_map *m = &c->map;
	const struct {
		const char *option;
		bool given, told;
	} list[] = {
		{ "address", i ? l->fixed6 : l->fixed4, true },
		{ "netmask", !i && c->prefix_given, true },
		{ "gateway", c->gw_given[i], true },
		{ "dns", c->dns_given[i], true },
		{ "dns-forward", !addr_is_none(&m->dns.match[i]), false },
		{ "map-host-loopback", !addr_is_none(m->host_loopback[i]),
		  true },
		{ "map-guest-addr", !addr_is_none(m->guest_addr[i]), false },
	}, *o;

	if (l->v4 == l->v6)
		return;
	if (*(i ? c->sock.if6 : c->sock.if4))
		die("--outbound-if%u conflicts with --ipv%u-only", i ? 6 : 4,
		    i ? 4 : 6);
	for (o = list; o < list + ARRAY_SIZE(list); o++)
		if (o->given && (o->told || level(c) >= LOG_INFORM))
			log_at(o->told ? LOG_WARN : LOG_INFORM,
			       "--%s of IPv%u does nothing with --ipv%u-only",
			       o->option, i ? 6 : 4, i ? 4 : 6);
}

static void check(struct conf *c)
{
	check_store(c);
	check_takeover(c);
	if (c->stats_on && !c->foreground)
		die("Can't display statistics if not running in foreground");
	if (c->no_copy_given[0] && !c->config_net)
		die("--no-copy-routes needs --config-net");
	if (c->no_copy_given[1] && !c->config_net)
		die("--no-copy-addrs needs --config-net");
	check_pidns(c);
	check_splice(c);
	check_pcap(c);
	check_files(c);
	check_useless(c);
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

/* Check --mtu: TCP divides by a segment size that is made from it, and the
 * kernel has no IPv6 on a link with a smaller MTU than RFC 8200 demands */
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
	/* Setters log no errors, but notices, which --quiet is to suppress */
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
	c->lan.duid_time = (uint32_t)(time(NULL) - DUID_EPOCH);
	if (!c->label[0] && options_label(c->lan.hostname))
		strcpy(c->label, c->lan.hostname);
	c->one_off |= c->fd >= 0;
	log_level(level(c));
}
