/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Setters first, then the table, then the three that walk it.  A setter gets
 * its row, so that one serves many options: the row says which field, what
 * goes there and what is said when the argument is bad.  Nothing here looks at
 * two options at once: that is conf.c's business, when all were read.
 *
 * test/lint reads the table out of this file: .name and .letter stand on the
 * first line of a row.
 */
#include "options.h"
#include "boot.h"
#include "log.h"
#include "loop.h"

#include <errno.h>
#include <getopt.h>
#include <grp.h>
#include <inttypes.h>
#include <limits.h>
#include <net/if.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#ifndef VERSION
#define VERSION "unknown"
#endif

enum {
	DIRECT = 256,
	ROWS_MAX = 128,
	HELP_COLUMN = 30,
	NAME_MAX_LEN = 32, /* longest of an option */
	FAR = 1000,
};

/* Kinds of addresses: a row of the table says which its option refuses */
enum {
	UNSPECIFIED = 1 << 0,
	LOOPBACK = 1 << 1,
	MULTICAST = 1 << 2,
	BROADCAST = 1 << 3,
	COMPATIBLE = 1 << 4, /* ::a.b.c.d */
	LOOPBACK6 = 1 << 5,
};

static _Noreturn void refuse(const struct option_row *o, const char *arg)
{
	if (o->refusal)
		die("%s%s", o->refusal, arg);
	die("Invalid --%s: %s", o->name, arg);
}

static void *field(struct conf *c, const struct option_row *o)
{
	return (char *)c + o->off;
}

static bool is_none(const char *arg)
{
	return !strcmp(arg, "none");
}

/* --- generic ------------------------------------------------------------ */

static void set_bool(struct conf *c, const struct option_row *o,
		     const char *arg)
{
	(void)arg;
	*(bool *)field(c, o) = o->value;
}

/* Store text in an array of @value bytes; the empty string means "not given" */
static void set_text(struct conf *c, const struct option_row *o,
		     const char *arg)
{
	if (strlen(arg) >= (size_t)o->value)
		refuse(o, arg);
	strcpy(field(c, o), arg);
}

static void set_path(struct conf *c, const struct option_row *o,
		     const char *arg)
{
	if (!*arg)
		refuse(o, arg);
	set_text(c, o, arg);
}

static void set_mac(struct conf *c, const struct option_row *o, const char *arg)
{
	struct mac *m = field(c, o);

	if (!mac_parse(arg, m) || !mac_is_unicast(m))
		refuse(o, arg);
}

static unsigned kinds(const struct addr *a)
{
	bool v4 = addr_is_v4(a);
	unsigned k = 0;

	if (addr_is_unspecified(a))
		k |= UNSPECIFIED;
	if (addr_is_loopback(a))
		k |= LOOPBACK | (v4 ? 0 : LOOPBACK6);
	if (addr_is_multicast(a))
		k |= MULTICAST;
	if (addr_is_broadcast(a))
		k |= BROADCAST;
	if (!a->q[0] && !a->w[2])
		k |= COMPATIBLE;
	return k;
}

static bool parse_address(const char *s, long denied, struct addr *a)
{
	return addr_parse(s, a) && !(kinds(a) & (unsigned long)denied);
}

static struct addr address(const struct option_row *o, const char *arg)
{
	struct addr a;

	if (!parse_address(arg, o->value, &a))
		refuse(o, arg);
	return a;
}

/* Store an address in the element of its family, IPv4 first */
static void set_pair(struct addr pair[2], const struct option_row *o,
		     const char *arg)
{
	struct addr a = address(o, arg);

	pair[addr_is_v4(&a) ? 0 : 1] = a;
}

/* --- process ------------------------------------------------------------ */

static _Noreturn void leave(void)
{
	exit(fflush(stdout) ? EXIT_FAILURE : EXIT_SUCCESS);
}

static void show_help(struct conf *c, const struct option_row *o,
		      const char *arg)
{
	(void)o;
	(void)arg;
	options_usage(c->mode, program_invocation_name);
	leave();
}

static void show_version(struct conf *c, const struct option_row *o,
			 const char *arg)
{
	(void)o;
	(void)arg;
	printf("%s %s\n", c->mode == MODE_PASTA ? "pasta" : "passt", VERSION);
	puts("Copyright: the authors named in its history\n"
	     "License: GNU GPL version 2 or later\n"
	     "    <https://www.gnu.org/licenses/old-licenses/gpl-2.0.html>\n"
	     "This is free software: you may change and redistribute it.\n"
	     "There is NO WARRANTY, to the extent permitted by law.");
	leave();
}

static void show_capabilities(struct conf *c, const struct option_row *o,
			      const char *arg)
{
	(void)c;
	(void)o;
	(void)arg;
	puts("{\n  \"type\": \"net\"\n}");
	leave();
}

static void set_level(struct conf *c, const struct option_row *o,
		      const char *arg)
{
	(void)arg;
	c->quiet = o->value == LOG_WARN;
	c->debug = o->value >= LOG_DBG;
	if (o->value != LOG_DBG)
		c->trace = o->value == LOG_TRACE;
}

static void warn_stderr(struct conf *c, const struct option_row *o,
			const char *arg)
{
	(void)c;
	(void)o;
	(void)arg;
	log_info("--stderr will be dropped soon");
}

static void set_stats(struct conf *c, const struct option_row *o,
		      const char *arg)
{
	bool plain = !strcmp(arg, "json"), delayed = !strncmp(arg, "json,", 5);
	uint64_t v = 1;

	if (!plain && !util_parse_u64(arg + (delayed ? 5 : 0), 0, INT_MAX, &v))
		refuse(o, arg);
	c->stats_json = plain || delayed;
	c->stats_on = true;
	c->stats_s = (unsigned)v;
}

bool options_label(const char *s)
{
	size_t len = strlen(s);

	if (!len || len >= LAN_NAME)
		return false;
	for (; *s; s++)
		if (*s <= ' ' || *s > '~' || *s == '"' || *s == '\\')
			return false;
	return true;
}

static void set_label(struct conf *c, const struct option_row *o,
		      const char *arg)
{
	if (!options_label(arg))
		refuse(o, arg);
	strcpy(c->label, arg);
}

/* Parse a number of bytes, with or without a unit; ends the process unless it
 * is @least or more */
static size_t parse_size(const struct option_row *o, const char *arg,
			 uint64_t least)
{
	uint64_t v;

	if (!util_parse_size(arg, SIZE_MAX / 2, &v) || v < least)
		die("Invalid --%s: %s (bytes, or with K, M or G; at least %lluK)",
		    o->name, arg, (unsigned long long)least >> 10);
	return (size_t)v;
}

static void set_log_size(struct conf *c, const struct option_row *o,
			 const char *arg)
{
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);

	c->log_size = parse_size(o, arg, 5 * MAX((uint64_t)BUFSIZ, page));
}

static void set_mark(struct conf *c, const struct option_row *o,
		     const char *arg)
{
	uint64_t v;

	if (!util_parse_u64(arg, 0, UINT32_MAX, &v) || !v)
		refuse(o, arg);
	c->mark = (uint32_t)v;
}

static void set_busy_poll(struct conf *c, const struct option_row *o,
			  const char *arg)
{
	uint64_t v;

	if (!util_parse_u64(arg, 10, LOOP_POLL_US, &v))
		die("Invalid --%s: %s (microseconds, at most %d)", o->name, arg,
		    LOOP_POLL_US);
	c->busy_poll = (unsigned)v;
}

static void set_pcap_size(struct conf *c, const struct option_row *o,
			  const char *arg)
{
	c->capture.limit = parse_size(o, arg, PCAP_SIZE_MIN);
}

static void set_pcap_files(struct conf *c, const struct option_row *o,
			   const char *arg)
{
	uint64_t v;

	if (!util_parse_u64(arg, 10, PCAP_FILES, &v) || !v)
		refuse(o, arg);
	c->capture.files = (unsigned)v;
}

/* No user has (uid_t)-1, which means "leave alone" to setresuid() */
static bool parse_id(const char *s, uint64_t *id)
{
	return util_parse_u64(s, 0, UINT32_MAX - 1, id);
}

static bool parse_user(const char *s, uid_t *uid, gid_t *gid)
{
	uint64_t id;

	if (parse_id(s, &id)) {
		*uid = (uid_t)id;
		*gid = (gid_t)id;
		return true;
	}
#ifndef NO_NSS /* a static binary has no way to ask for names */
	const struct passwd *pw = getpwnam(s);

	if (pw && pw->pw_uid) {
		*uid = pw->pw_uid;
		*gid = pw->pw_gid;
		return true;
	}
#endif
	return false;
}

static bool parse_group(const char *s, gid_t *gid)
{
	uint64_t id;

	if (parse_id(s, &id)) {
		*gid = (gid_t)id;
		return true;
	}
#ifndef NO_NSS
	const struct group *gr = getgrnam(s);

	if (gr) {
		*gid = gr->gr_gid;
		return true;
	}
#endif
	return false;
}

static void set_runas(struct conf *c, const struct option_row *o,
		      const char *arg)
{
	size_t len = strcspn(arg, ":");
	char user[256];

	if (len >= sizeof(user))
		refuse(o, arg);
	memcpy(user, arg, len);
	user[len] = '\0';
	if (!parse_user(user, &c->uid, &c->gid) ||
	    (arg[len] && !parse_group(arg + len + 1, &c->gid)))
		refuse(o, arg);
	c->runas = true;
}

/* Of --fd and --socket-path the last one counts */
static void set_fd(struct conf *c, const struct option_row *o, const char *arg)
{
	uint64_t v;

	if (!util_parse_u64(arg, 0, INT_MAX, &v))
		refuse(o, arg);
	c->fd = (int)v;
	c->socket[0] = '\0';
}

static void set_ready_fd(struct conf *c, const struct option_row *o,
			 const char *arg)
{
	uint64_t v;

	if (!util_parse_u64(arg, 0, INT_MAX, &v))
		refuse(o, arg);
	c->ready_fd = (int)v;
}

static void set_exit_fd(struct conf *c, const struct option_row *o,
			const char *arg)
{
	uint64_t v;

	if (!util_parse_u64(arg, 0, INT_MAX, &v))
		refuse(o, arg);
	c->exit_fd = (int)v;
}

static void set_sandbox(struct conf *c, const struct option_row *o,
			const char *arg)
{
	static const char *const grade[] = {
		[SANDBOX_AUTO] = "auto",
		[SANDBOX_STRICT] = "strict",
		[SANDBOX_NONE] = "none",
	};
	unsigned i;

	for (i = 0; strcmp(arg, grade[i]);)
		if (++i == ARRAY_SIZE(grade))
			refuse(o, arg);
	c->sandbox = (enum sandbox_grade)i;
}

static void set_socket(struct conf *c, const struct option_row *o,
		       const char *arg)
{
	set_path(c, o, arg);
	c->fd = -1;
}

static void set_vhost(struct conf *c, const struct option_row *o,
		      const char *arg)
{
	(void)o;
	(void)arg;
	c->mode = MODE_VHOST; /* conf_mode() has seen it */
}

static void set_repair(struct conf *c, const struct option_row *o,
		       const char *arg)
{
	if (c->mode != MODE_VHOST && !is_none(arg))
		die("--%s is for vhost-user mode only", o->name);
	set_path(c, o, arg);
}

/* --- namespace ---------------------------------------------------------- */

/* Turn "fd:N", a descriptor that we were started with, into a path; false: @arg
 * has another form */
static bool descriptor_path(char path[32], const struct option_row *o,
			    const char *arg)
{
	uint64_t fd;

	if (strncmp(arg, "fd:", 3))
		return false;
	if (!util_parse_u64(arg + 3, 10, INT_MAX, &fd))
		refuse(o, arg);
	snprintf(path, 32, "/proc/self/fd/%d", (int)fd);
	return true;
}

static void set_netns(struct conf *c, const struct option_row *o,
		      const char *arg)
{
	const char *dir = strchr(arg, '/') ? "" : "/run/netns/";
	char path[32];

	if (descriptor_path(path, o, arg)) {
		dir = "";
		arg = path;
	}
	if (!*arg || strlen(dir) + strlen(arg) >= sizeof(c->netns))
		refuse(o, arg);
	strcpy(c->netns, dir);
	strcat(c->netns, arg);
}

static void set_userns(struct conf *c, const struct option_row *o,
		       const char *arg)
{
	char path[32];

	set_path(c, o, descriptor_path(path, o, arg) ? path : arg);
	c->netns_only = false;
}

static void set_netns_only(struct conf *c, const struct option_row *o,
			   const char *arg)
{
	(void)o;
	(void)arg;
	c->netns_only = true;
	c->userns[0] = '\0';
}

/* Any name but lo, which each namespace has already */
static void set_ns_ifname(struct conf *c, const struct option_row *o,
			  const char *arg)
{
	if (!rules_ifname_ok(arg, sizeof(c->ns_ifname)) || !strcmp(arg, "lo"))
		refuse(o, arg);
	strcpy(c->ns_ifname, arg);
}

static void set_config_net(struct conf *c, const struct option_row *o,
			   const char *arg)
{
	(void)o;
	(void)arg;
	c->config_net = true;
	c->lan.ra = false;
}

/* --no-copy-routes has @value 0, --no-copy-addrs 1; either applies to both
 * families */
static void set_no_copy(struct conf *c, const struct option_row *o,
			const char *arg)
{
	bool *what = field(c, o);

	(void)arg;
	log_info("--%s is deprecated", o->name);
	c->no_copy_given[o->value] = true;
	what[0] = true;
	what[1] = true;
}

static void set_ns_mac(struct conf *c, const struct option_row *o,
		       const char *arg)
{
	set_mac(c, o, arg);
	c->ns_mac_set = true;
}

static void set_splice_only(struct conf *c, const struct option_row *o,
			    const char *arg)
{
	(void)o;
	(void)arg;
	c->splice_only = true;
	c->map.host_lo_to_ns_lo = true;
	c->map.splice_only = true;
	c->lan.icmp = false;
}

/* --- addresses ---------------------------------------------------------- */

static void set_mtu(struct conf *c, const struct option_row *o, const char *arg)
{
	uint64_t v;

	if (!util_parse_u64(arg, 0, UINT64_MAX, &v))
		refuse(o, arg);
	if (v > MTU_MAX)
		die("MTU %" PRIu64 " too large (max %d)", v, MTU_MAX);
	c->lan.mtu = (uint16_t)v;
	c->mtu_given = true;
}

static _Noreturn void redundant(void)
{
	die("Redundant prefix length specification");
}

static void set_guest4(struct conf *c, const struct addr *a, bool cidr,
		       unsigned len)
{
	if (cidr && c->prefix_given)
		redundant();
	c->cidr_given = cidr;
	c->lan.guest4 = *a;
	c->lan.fixed4 = true;
	if (cidr)
		c->lan.prefix4 = len;
	else if (!c->prefix_given)
		c->lan.prefix4 = addr_class_prefix(a);
}

static void set_address(struct conf *c, const struct option_row *o,
			const char *arg)
{
	size_t n = strcspn(arg, "/");
	char text[ADDR_TEXT_LEN];
	uint64_t len = 0, mapped; /* 96 if the length counts ::ffff:0:0/96 */
	struct addr a;
	bool v4;

	if (n >= sizeof(text))
		refuse(o, arg);
	memcpy(text, arg, n);
	text[n] = '\0';
	if (!parse_address(text, o->value, &a))
		refuse(o, arg);
	v4 = addr_is_v4(&a);
	mapped = v4 && strchr(text, ':') ? 96 : 0;
	if (arg[n] && (!util_parse_u64(arg + n + 1, 10,
				       v4 ? mapped + 32 : 128, &len) ||
		       len < mapped))
		die("Invalid prefix length: %s", arg);
	len -= arg[n] ? mapped : 0;
	c->no_copy_addrs[v4 ? 0 : 1] = true;
	if (v4) {
		set_guest4(c, &a, arg[n], (unsigned)len);
		return;
	}
	/* The length is only checked: the guest's prefix is 64 bits, as SLAAC
	 * needs them */
	c->lan.guest6 = a;
	c->lan.fixed6 = true;
}

static bool mask_length(const struct addr *a, uint64_t *len)
{
	uint32_t mask = ld_be32(&a->b[12]);

	*len = (uint64_t)__builtin_popcount(mask);
	return mask == (uint32_t)(UINT64_C(0xffffffff) << (32 - *len));
}

static void set_netmask(struct conf *c, const struct option_row *o,
			const char *arg)
{
	struct addr a;
	uint64_t len;
	bool ok;

	if (strchr(arg, '.'))
		ok = parse_address(arg, 0, &a) && addr_is_v4(&a) &&
		     mask_length(&a, &len);
	else
		ok = util_parse_u64(arg, 0, 32, &len);
	if (!ok)
		refuse(o, arg);
	if (c->cidr_given)
		redundant();
	c->lan.prefix4 = (unsigned)len;
	c->prefix_given = true;
}

static void set_gateway(struct conf *c, const struct option_row *o,
			const char *arg)
{
	struct addr a = address(o, arg);
	unsigned i = addr_is_v4(&a) ? 0 : 1;

	*(i ? &c->lan.gw6 : &c->lan.gw4) = a;
	c->gw_given[i] = true;
	c->no_copy_routes[i] = true;
}

static void set_interface(struct conf *c, const struct option_row *o,
			  const char *arg)
{
	set_path(c, o, arg);
	if (!if_nametoindex(arg))
		die("Invalid interface name %s: %s", arg, util_error(errno));
}

static void set_outbound(struct conf *c, const struct option_row *o,
			 const char *arg)
{
	struct addr a = address(o, arg);

	*(addr_is_v4(&a) ? &c->sock.out4 : &c->sock.out6) = a;
}

/* @value: the only family, 4 or 6 */
static void set_family(struct conf *c, const struct option_row *o,
		       const char *arg)
{
	(void)arg;
	c->lan.v4 = o->value == 4;
	c->lan.v6 = o->value == 6;
}

static void set_no_icmp(struct conf *c, const struct option_row *o,
			const char *arg)
{
	(void)o;
	(void)arg;
	c->lan.icmp = false;
	c->lan.ndp = false;
}

/* --- names -------------------------------------------------------------- */

bool options_add_dns(struct lan *l, const struct addr *a)
{
	bool v4 = addr_is_v4(a);
	struct addr *list = v4 ? l->dns4 : l->dns6;
	unsigned *n = v4 ? &l->dns4_n : &l->dns6_n, i;

	for (i = 0; i < *n; i++)
		if (addr_equal(&list[i], a))
			return true;
	if (*n == LAN_DNS)
		return false;
	list[(*n)++] = *a;
	return true;
}

bool options_add_search(struct lan *l, const char *s, size_t len)
{
	if (!len || len >= LAN_NAME || l->search_n >= LAN_SEARCH)
		return false;
	memcpy(l->search[l->search_n], s, len);
	l->search[l->search_n++][len] = '\0';
	return true;
}

static void clear_dns(struct conf *c)
{
	c->lan.dns4_n = 0;
	c->lan.dns6_n = 0;
	memset(c->map.dns.match, 0, sizeof(c->map.dns.match));
	memset(c->dns_host, 0, sizeof(c->dns_host));
	memset(c->dns_given, 0, sizeof(c->dns_given));
}

static void set_dns(struct conf *c, const struct option_row *o, const char *arg)
{
	struct addr a;

	c->dns_none = is_none(arg);
	if (c->dns_none) {
		clear_dns(c);
		return;
	}
	a = address(o, arg);
	if (!options_add_dns(&c->lan, &a))
		log_warn("--dns: no more than %u for an IP version, %s is left "
			 "out", LAN_DNS, arg);
	c->dns_given[addr_is_v4(&a) ? 0 : 1] = true;
}

static void set_dns_forward(struct conf *c, const struct option_row *o,
			    const char *arg)
{
	set_pair(c->map.dns.match, o, arg);
}

static void set_dns_host(struct conf *c, const struct option_row *o,
			 const char *arg)
{
	set_pair(c->dns_host, o, arg);
}

static void set_search(struct conf *c, const struct option_row *o,
		       const char *arg)
{
	const char *s = arg + strspn(arg, " \t");
	size_t len;

	c->search_given = true;
	if (is_none(arg)) {
		c->lan.search_n = 0;
		return;
	}
	if (!*s)
		refuse(o, arg);
	while (*s) {
		len = strcspn(s, " \t");
		if (!options_add_search(&c->lan, s, len))
			refuse(o, arg);
		s += len;
		s += strspn(s, " \t");
	}
}

/* --- network boot ------------------------------------------------------- */

static void set_dhcp_boot(struct conf *c, const struct option_row *o,
			  const char *arg)
{
	struct lan *l = &c->lan;

	if (l->boot_n == LAN_BOOT)
		die("--dhcp-boot may be given %d times", LAN_BOOT);
	if (!boot_parse(arg, &l->boot[l->boot_n]))
		refuse(o, arg);
	l->boot_n++;
}

/* --- translation and forwarding ----------------------------------------- */

/* Put an address first in the list of its family.  The guest may use any of
 * them and is shown the first; what there is no room for is what came first. */
static void add_name(struct addr names[2][FWD_NAMES],
		     const struct option_row *o, const char *arg)
{
	struct addr a = address(o, arg), *list = names[addr_is_v4(&a) ? 0 : 1];
	unsigned i = 0;

	while (i < FWD_NAMES - 1 && !addr_is_none(&list[i]) &&
	       !addr_equal(&list[i], &a))
		i++;
	memmove(list + 1, list, i * sizeof(*list));
	list[0] = a;
}

static void set_map_host(struct conf *c, const struct option_row *o,
			 const char *arg)
{
	if (is_none(arg)) {
		memset(c->map.host_loopback, 0, sizeof(c->map.host_loopback));
		c->map_gw = false;
		return;
	}
	add_name(c->map.host_loopback, o, arg);
}

static void set_map_guest(struct conf *c, const struct option_row *o,
			  const char *arg)
{
	if (is_none(arg))
		memset(c->map.guest_addr, 0, sizeof(c->map.guest_addr));
	else
		add_name(c->map.guest_addr, o, arg);
}

static void set_ports(struct conf *c, const struct option_row *o,
		      const char *arg)
{
	if (c->specs == ARRAY_SIZE(c->spec))
		die("Too many options --%s", o->name);
	c->spec[c->specs].opt = o->letter;
	c->spec[c->specs++].arg = arg;
}

/* @value is 1 for the option that allows, 0 for the one that denies */
static void set_egress(struct conf *c, const struct option_row *o,
		       const char *arg)
{
	char err[EGRESS_ERR];

	if (!egress_add(&c->egress, o->value, arg, err))
		die("--%s: %s", o->name, err);
	c->map.egress = &c->egress;
}

/* --- the table ---------------------------------------------------------- */

const struct option_row option_table[] = {
	{ .name = "help", .letter = 'h', .modes = IN_ALL, .set = show_help,
	  .head = "Process", .help = "Show this and exit" },
	{ .name = "version", .modes = IN_ALL, .set = show_version,
	  .help = "Show the version and exit" },
	{ .name = "print-capabilities", .modes = IN_STREAMS | ANYWHERE,
	  .set = show_capabilities,
	  .help = "Describe the vhost-user back-end as JSON\nand exit" },
	{ .name = "foreground", .letter = 'f', .modes = IN_ALL, .set = set_bool,
	  .off = offsetof(struct conf, foreground), .value = true,
	  .help = "Do not run in the background" },
	{ .name = "quiet", .letter = 'q', .modes = IN_ALL, .set = set_level,
	  .value = LOG_WARN, .help = "Only warnings and errors" },
	{ .name = "debug", .letter = 'd', .modes = IN_ALL, .set = set_level,
	  .value = LOG_DBG,
	  .help = "Be verbose, on stderr, not in the\nsystem log" },
	{ .name = "trace", .modes = IN_ALL, .set = set_level,
	  .value = LOG_TRACE, .help = "Be even more verbose" },
	{ .name = "stats", .arg = "DELAY|json[,DELAY]", .modes = IN_ALL,
	  .set = set_stats,
	  .help = "Show counters on stderr, at most every\nDELAY seconds, as a "
		  "table or a JSON object\na line; needs -f" },
	{ .name = "stderr", .letter = 'e', .modes = IN_ALL, .set = warn_stderr,
	  .help = "No effect, for compatibility" },
	{ .name = "log-file", .letter = 'l', .arg = "PATH", .modes = IN_ALL,
	  .set = set_path, .off = offsetof(struct conf, log_file),
	  .value = sizeof(((struct conf *)0)->log_file),
	  .help = "Log to this file instead of the system\nlog" },
	{ .name = "log-size", .arg = "BYTES", .modes = IN_ALL,
	  .set = set_log_size,
	  .help = "Cut the log file at this size, with\nK, M or G in units of 1024 (default: 1M)" },
	{ .name = "pcap", .letter = 'p', .arg = "FILE", .modes = IN_ALL,
	  .set = set_path, .off = offsetof(struct conf, pcap),
	  .value = sizeof(((struct conf *)0)->pcap),
	  .help = "Capture the guest's frames" },
	{ .name = "pcap-drops", .modes = IN_ALL, .set = set_bool,
	  .off = offsetof(struct conf, capture.drops), .value = true,
	  .help = "Capture dropped frames, too, each with the\nreason as a comment, "
		  "in pcapng format" },
	{ .name = "pcap-size", .arg = "BYTES", .modes = IN_ALL,
	  .set = set_pcap_size,
	  .help = "Begin the next file at this size, at\nleast 1M: FILE, FILE.1, and so on in turn" },
	{ .name = "pcap-files", .arg = "N", .modes = IN_ALL,
	  .set = set_pcap_files,
	  .help = "Number of these files (default: 2, with\n--pcap-size)" },
	{ .name = "pid", .letter = 'P', .arg = "FILE", .modes = IN_ALL,
	  .set = set_path, .off = offsetof(struct conf, pid_file),
	  .value = sizeof(((struct conf *)0)->pid_file),
	  .help = "Write the process ID to this file" },
	{ .name = "ready-fd", .arg = "FD", .modes = IN_ALL,
	  .set = set_ready_fd,
	  .help = "Inherited descriptor that gets a newline\nwhen all is set "
		  "up, and closes with us" },
	{ .name = "exit-fd", .arg = "FD", .modes = IN_ALL, .set = set_exit_fd,
	  .help = "Inherited descriptor: exit when its other\nend is closed" },
	{ .name = "runas", .arg = "USER[:GROUP]", .modes = IN_ALL,
	  .set = set_runas, .refusal = "Invalid --runas option: ",
	  .help = "Names or numbers to change to\n"
		  "(default: nobody if started as root)" },
	{ .name = "sandbox", .arg = "GRADE", .modes = IN_ALL,
	  .set = set_sandbox,
	  .help = "strict: end if a part of it is refused;\nnone: do without "
		  "(default: auto, with what\nthere is)" },
	{ .name = "chroot-fallback", .modes = IN_ALL, .set = set_bool,
	  .off = offsetof(struct conf, chroot_fallback), .value = true,
	  .help = "With --sandbox=strict, where pivot_root()\ndoes not work, "
		  "use chroot()" },
	{ .name = "busy-poll", .arg = "USEC", .modes = IN_ALL,
	  .set = set_busy_poll,
	  .help = "After work, look for more for so long before\nsleeping, at most "
		  "1000: faster answers for\nmore CPU time (default: 0)" },
	{ .name = "mark", .arg = "N", .modes = IN_ALL, .set = set_mark,
	  .help = "Mark the host's sockets (SO_MARK); needs\nCAP_NET_ADMIN or "
		  "CAP_NET_RAW" },
	{ .name = "conf-path", .letter = 'c', .arg = "PATH", .modes = IN_ALL,
	  .set = set_path, .off = offsetof(struct conf, control),
	  .value = sizeof(((struct conf *)0)->control),
	  .refusal = "Invalid configuration path: ",
	  .help = "UNIX socket for pesto, to show and change\nforwarding rules" },

	{ .name = "takeover", .arg = "PID|PATH", .modes = IN_ALL,
	  .set = set_path, .off = offsetof(struct conf, takeover),
	  .value = sizeof(((struct conf *)0)->takeover),
	  .help = "Take the place of the process with this PID\nor control "
		  "socket, which ends" },

	{ .name = "fd-store", .modes = IN_PASST, .set = set_bool,
	  .off = offsetof(struct conf, fd_store), .value = true,
	  .help = "At SIGTERM leave guest and connections with\nthe service "
		  "manager; at start, take over what\nit has" },

	{ .name = "metrics-socket", .arg = "PATH", .modes = IN_ALL,
	  .set = set_path, .off = offsetof(struct conf, metrics),
	  .value = sizeof(((struct conf *)0)->metrics),
	  .refusal = "Invalid metrics path: ",
	  .help = "UNIX socket that serves metrics by HTTP, to\nPrometheus, "
		  "curl or pesto" },
	{ .name = "label", .arg = "NAME", .modes = IN_ALL, .set = set_label,
	  .help = "Our name in these metrics (default: that of\n"
		  "--hostname, or the process ID)" },

	{ .name = "socket", .letter = 's', .arg = "PATH",
	  .modes = IN_STREAMS, .set = set_socket,
	  .off = offsetof(struct conf, socket),
	  .value = sizeof(((struct conf *)0)->socket),
	  .refusal = "Invalid socket path: ", .head = "Guest's channel",
	  .help = "UNIX socket for the guest (default: the\nfirst free of "
		  "/tmp/passt_1.socket to\n/tmp/passt_99.socket)" },
	{ .name = "socket-path", .letter = 's', .arg = "PATH" },
	{ .name = "fd", .letter = 'F', .arg = "FD", .modes = IN_ALL,
	  .set = set_fd,
	  .help = "Inherited, connected descriptor for the\nguest; implies "
		  "--one-off" },
	{ .name = "one-off", .letter = '1', .modes = IN_STREAMS | SAYS_PASST,
	  .set = set_bool, .off = offsetof(struct conf, one_off), .value = true,
	  .help = "Exit when the guest disconnects" },
	{ .name = "vhost-user", .modes = IN_STREAMS | ANYWHERE,
	  .set = set_vhost,
	  .help = "Be a vhost-user back-end: frames\nstay in the guest's memory" },
	{ .name = "repair-path", .arg = "PATH", .modes = IN_STREAMS | ANYWHERE,
	  .set = set_repair, .off = offsetof(struct conf, repair),
	  .value = sizeof(((struct conf *)0)->repair),
	  .help = "UNIX socket of passt-repair, or none\n(with --vhost-user; "
		  "default: PATH.repair)" },
	{ .name = "migrate-exit", .modes = IN_VHOST, .set = set_bool,
	  .off = offsetof(struct conf, migrate_exit), .value = true,
	  .help = "Exit after migration to elsewhere\n"
		  "(with --vhost-user; deprecated)" },
	{ .name = "migrate-no-linger", .modes = IN_VHOST, .set = set_bool,
	  .off = offsetof(struct conf, migrate_no_linger), .value = true,
	  .help = "Close sockets after migration\n"
		  "(with --vhost-user; deprecated)" },

	{ .name = "ns-ifname", .letter = 'I', .arg = "NAME", .modes = IN_PASTA,
	  .set = set_ns_ifname, .refusal = "Invalid interface name: ",
	  .head = "Namespace",
	  .help = "Interface in the namespace\n(default: that of the "
		  "template, or tap0)" },
	{ .name = "ns-mac-addr", .arg = "MAC", .modes = IN_PASTA,
	  .set = set_ns_mac, .off = offsetof(struct conf, ns_mac),
	  .refusal = "Invalid MAC address: ",
	  .help = "MAC address of that interface\n(default: random)" },
	{ .name = "netns", .arg = "PATH|NAME", .modes = IN_PASTA,
	  .set = set_netns, .refusal = "Invalid network namespace: ",
	  .help = "Network namespace to join" },
	{ .name = "userns", .arg = "PATH", .modes = IN_PASTA,
	  .set = set_userns, .off = offsetof(struct conf, userns),
	  .value = sizeof(((struct conf *)0)->userns),
	  .refusal = "Invalid user namespace: ",
	  .help = "User namespace to join\n(default: that of PID)" },
	{ .name = "netns-only", .modes = IN_PASTA, .set = set_netns_only,
	  .help = "Stay in the user namespace\n(default with --netns alone)" },
	{ .name = "no-netns-quit", .modes = IN_PASTA, .set = set_bool,
	  .off = offsetof(struct conf, no_netns_quit), .value = true,
	  .help = "Stay when the namespace goes" },
	{ .name = "no-pidns", .modes = IN_PASTA, .set = set_bool,
	  .off = offsetof(struct conf, no_pidns), .value = true,
	  .help = "Leave the command in our PID namespace" },
	{ .name = "config-net", .modes = IN_PASTA, .set = set_config_net,
	  .help = "Configure interface, addresses and\nroutes in the "
		  "namespace" },
	{ .name = "no-copy-routes", .modes = IN_PASTA, .set = set_no_copy,
	  .off = offsetof(struct conf, no_copy_routes), .value = 0,
	  .help = "Only a default route (deprecated)" },
	{ .name = "no-copy-addrs", .modes = IN_PASTA, .set = set_no_copy,
	  .off = offsetof(struct conf, no_copy_addrs), .value = 1,
	  .help = "Only one address (deprecated)" },

	{ .name = "ipv4-only", .letter = '4', .modes = IN_ALL,
	  .set = set_family, .value = 4, .head = "Guest's network",
	  .help = "No IPv6" },
	{ .name = "ipv6-only", .letter = '6', .modes = IN_ALL,
	  .set = set_family, .value = 6, .help = "No IPv4" },
	{ .name = "interface", .letter = 'i', .arg = "NAME", .modes = IN_ALL,
	  .set = set_interface, .off = offsetof(struct conf, ifname),
	  .value = sizeof(((struct conf *)0)->ifname),
	  .refusal = "Invalid interface name: ",
	  .help = "Template for addresses and routes\n(default: where the "
		  "default route leads)" },
	{ .name = "address", .letter = 'a', .arg = "ADDR[/LEN]",
	  .modes = IN_ALL, .set = set_address,
	  .value = UNSPECIFIED | LOOPBACK | MULTICAST | BROADCAST,
	  .refusal = "Invalid guest address: ",
	  .help = "Address of the guest, one a family\n(default: the "
		  "template's)" },
	{ .name = "netmask", .letter = 'n', .arg = "MASK", .modes = IN_ALL,
	  .set = set_netmask, .refusal = "Invalid prefix length: ",
	  .help = "Its IPv4 mask, dotted or length" },
	{ .name = "gateway", .letter = 'g', .arg = "ADDR", .modes = IN_ALL,
	  .set = set_gateway,
	  .value = UNSPECIFIED | LOOPBACK | MULTICAST | BROADCAST,
	  .refusal = "Invalid gateway address: ",
	  .help = "Its default gateway, one a family\n(default: the "
		  "template's)" },
	{ .name = "mac-addr", .letter = 'M', .arg = "MAC", .modes = IN_ALL,
	  .set = set_mac, .off = offsetof(struct conf, lan.mac),
	  .refusal = "Invalid MAC address: ",
	  .help = "Our MAC address as the guest sees it\n(default: "
		  "9a:55:9a:55:9a:55)" },
	{ .name = "mtu", .letter = 'm', .arg = "MTU", .modes = IN_ALL,
	  .set = set_mtu, .refusal = "Invalid MTU: ",
	  .help = "MTU to advertise (default: 65520;\n0: none)" },
	{ .name = "hostname", .letter = 'H', .arg = "NAME", .modes = IN_ALL,
	  .set = set_text, .off = offsetof(struct conf, lan.hostname),
	  .value = LAN_NAME, .refusal = "Invalid hostname: ",
	  .help = "Name to give to the guest" },
	{ .name = "fqdn", .arg = "NAME", .modes = IN_ALL, .set = set_text,
	  .off = offsetof(struct conf, lan.fqdn), .value = LAN_NAME,
	  .refusal = "Invalid FQDN: ",
	  .help = "Fully qualified name to give to it" },
	{ .name = "no-dhcp", .modes = IN_ALL, .set = set_bool,
	  .off = offsetof(struct conf, lan.dhcp), .value = false,
	  .help = "No DHCP server" },
	{ .name = "no-dhcpv6", .modes = IN_ALL, .set = set_bool,
	  .off = offsetof(struct conf, lan.dhcpv6), .value = false,
	  .help = "No DHCPv6 server" },
	{ .name = "no-ndp", .modes = IN_ALL, .set = set_bool,
	  .off = offsetof(struct conf, lan.ndp), .value = false,
	  .help = "No answers to neighbour discovery" },
	{ .name = "no-ra", .modes = IN_ALL, .set = set_bool,
	  .off = offsetof(struct conf, lan.ra), .value = false,
	  .help = "No router advertisements" },

	{ .name = "dhcp-boot", .arg = "[ARCH=]FILE[,ADDR]", .modes = IN_ALL,
	  .set = set_dhcp_boot, .refusal = "Invalid boot file: ",
	  .help = "File or URL to boot, at ADDR (default:\nhere), perhaps for "
		  "one kind of client:\nbios, efi64, ipxe...; can be repeated" },
	{ .name = "tftp", .arg = "DIR", .modes = IN_ALL, .set = set_path,
	  .off = offsetof(struct conf, tftp),
	  .value = sizeof(((struct conf *)0)->tftp),
	  .refusal = "Invalid TFTP directory: ",
	  .help = "Files for the guest's TFTP clients, at\nour addresses" },

	{ .name = "dns", .letter = 'D', .arg = "ADDR", .modes = IN_ALL,
	  .set = set_dns, .refusal = "Cannot use DNS address ",
	  .head = "Name resolution", .value = UNSPECIFIED | BROADCAST,
	  .help = "Resolver to advertise, or none; can be\nrepeated "
		  "(default: /etc/resolv.conf)" },
	{ .name = "dns-forward", .arg = "ADDR", .modes = IN_ALL,
	  .set = set_dns_forward, .value = UNSPECIFIED | LOOPBACK | BROADCAST,
	  .refusal = "Invalid DNS forwarding address: ",
	  .help = "What the guest asks here goes to the\nhost's resolver" },
	{ .name = "dns-host", .arg = "ADDR", .modes = IN_ALL,
	  .set = set_dns_host, .value = UNSPECIFIED | BROADCAST,
	  .refusal = "Invalid host nameserver address: ",
	  .help = "The host's resolver (default: those of\n"
		  "/etc/resolv.conf, in turn)" },
	{ .name = "search", .letter = 'S', .arg = "LIST", .modes = IN_ALL,
	  .set = set_search, .refusal = "Cannot use DNS search domain ",
	  .help = "Search domains, or none; can be repeated\n(default: "
		  "/etc/resolv.conf)" },
	{ .name = "no-dhcp-dns", .modes = IN_STREAMS, .set = set_bool,
	  .off = offsetof(struct conf, dhcp_dns), .value = false,
	  .help = "Do not advertise resolvers" },
	{ .name = "no-dhcp-search", .modes = IN_STREAMS, .set = set_bool,
	  .off = offsetof(struct conf, dhcp_search), .value = false,
	  .help = "Do not advertise search domains" },
	{ .name = "dhcp-dns", .modes = IN_PASTA, .set = set_bool,
	  .off = offsetof(struct conf, dhcp_dns), .value = true,
	  .help = "Advertise resolvers" },
	{ .name = "dhcp-search", .modes = IN_PASTA, .set = set_bool,
	  .off = offsetof(struct conf, dhcp_search), .value = true,
	  .help = "Advertise search domains" },

	{ .name = "tcp-ports", .letter = 't', .arg = "SPEC", .modes = IN_ALL,
	  .set = set_ports, .head = "Traffic",
	  .help = "Forward TCP ports of the host: none, all,\nauto (pasta "
		  "only), or like 22,80:8080 or\n192.0.2.1%eth0/1-99,~5; can "
		  "be repeated\n(default: none, pasta: auto)" },
	{ .name = "udp-ports", .letter = 'u', .arg = "SPEC", .modes = IN_ALL,
	  .set = set_ports, .help = "The same for UDP" },
	{ .name = "tcp-ns", .letter = 'T', .arg = "SPEC", .modes = IN_PASTA,
	  .set = set_ports,
	  .help = "Forward TCP ports of the namespace to\nthe host (default: "
		  "auto)" },
	{ .name = "udp-ns", .letter = 'U', .arg = "SPEC", .modes = IN_PASTA,
	  .set = set_ports, .help = "The same for UDP" },
	{ .name = "outbound", .letter = 'o', .arg = "ADDR", .modes = IN_ALL,
	  .set = set_outbound, .refusal = "Invalid or redundant outbound "
					  "address: ",
	  .value = UNSPECIFIED | MULTICAST | BROADCAST | COMPATIBLE | LOOPBACK6,
	  .help = "Source of the guest's traffic, one a\nfamily" },
	{ .name = "outbound-if4", .arg = "NAME", .modes = IN_ALL,
	  .set = set_path, .off = offsetof(struct conf, sock.if4),
	  .value = sizeof(((struct conf *)0)->sock.if4),
	  .refusal = "Invalid interface name: ",
	  .help = "Interface of its IPv4 traffic" },
	{ .name = "outbound-if6", .arg = "NAME", .modes = IN_ALL,
	  .set = set_path, .off = offsetof(struct conf, sock.if6),
	  .value = sizeof(((struct conf *)0)->sock.if6),
	  .refusal = "Invalid interface name: ",
	  .help = "Interface of its IPv6 traffic" },
	{ .name = "allow-out", .arg = "DEST", .modes = IN_ALL,
	  .set = set_egress, .value = true,
	  .help = "Allow connections there, and deny all that\nno rule matches: "
		  "[tcp:|udp:|icmp:]DEST[:PORTS]\nwith an address, a prefix, "
		  "any, dns, local,\nloopback, private, a name or *.NAME; can be\n"
		  "repeated, the first rule that matches counts" },
	{ .name = "deny-out", .arg = "DEST", .modes = IN_ALL,
	  .set = set_egress, .value = false,
	  .help = "Deny connections there, and allow the rest" },
	{ .name = "map-host-loopback", .arg = "ADDR", .modes = IN_ALL,
	  .set = set_map_host,
	  .value = UNSPECIFIED | LOOPBACK | MULTICAST,
	  .refusal = "Invalid address to remap to host: ",
	  .help = "An address of the guest's for the host's\nloopback, or none; can be "
		  "repeated\n(default: the gateway)" },
	{ .name = "map-guest-addr", .arg = "ADDR", .modes = IN_ALL,
	  .set = set_map_guest,
	  .value = UNSPECIFIED | LOOPBACK | MULTICAST,
	  .refusal = "Invalid address to remap to host: ",
	  .help = "An address of the guest's for the host\nwhere both have the same "
		  "one; can be\nrepeated (default: none)" },
	{ .name = "no-map-gw", .modes = IN_ALL, .set = set_bool,
	  .off = offsetof(struct conf, map_gw), .value = false,
	  .help = "The gateway does not stand for the host" },
	{ .name = "no-follow", .modes = IN_ALL, .set = set_bool,
	  .off = offsetof(struct conf, no_follow), .value = true,
	  .help = "Keep what was copied from the host when its\nnetwork changes" },
	{ .name = "host-lo-to-ns-lo", .modes = IN_PASTA, .set = set_bool,
	  .off = offsetof(struct conf, map.host_lo_to_ns_lo), .value = true,
	  .help = "From loopback to loopback" },
	{ .name = "no-splice", .modes = IN_PASTA, .set = set_bool,
	  .off = offsetof(struct conf, map.splice), .value = false,
	  .help = "No bypass for inbound loopback traffic" },
	{ .name = "splice-only", .modes = IN_PASTA, .set = set_splice_only,
	  .help = "Nothing but this bypass, no interface" },
	{ .name = "freebind", .modes = IN_ALL, .set = set_bool,
	  .off = offsetof(struct conf, sock.freebind), .value = true,
	  .help = "Bind to addresses that we do not have" },
	{ .name = "no-tcp", .modes = IN_ALL, .set = set_bool,
	  .off = offsetof(struct conf, lan.tcp), .value = false,
	  .help = "No TCP" },
	{ .name = "no-udp", .modes = IN_ALL, .set = set_bool,
	  .off = offsetof(struct conf, lan.udp), .value = false,
	  .help = "No UDP" },
	{ .name = "no-mcast", .modes = IN_ALL, .set = set_bool,
	  .off = offsetof(struct conf, no_mcast), .value = true,
	  .help = "Join no multicast groups for the guest" },
	{ .name = "no-icmp", .modes = IN_ALL, .set = set_no_icmp,
	  .help = "No echo, no neighbour discovery" },
};

const unsigned option_count = ARRAY_SIZE(option_table);
_Static_assert(ARRAY_SIZE(option_table) < ROWS_MAX, "room for getopt");

/* --- reading it --------------------------------------------------------- */

/* The table as getopt_long() wants it.  The code of a long option is DIRECT
 * plus the index of its row; a row without help text is an alias and has the
 * code of the row before. */
struct getopt_tables {
	char letters[2 * ROWS_MAX + 3];
	struct option longs[ROWS_MAX];
};

static void translate(struct getopt_tables *g)
{
	unsigned i, code = 0;
	char *s = g->letters;

	*s++ = '+'; /* stop at the first word that is no option */
	*s++ = ':'; /* return ':' for a missing argument */
	for (i = 0; i < option_count; i++) {
		const struct option_row *o = &option_table[i];

		if (o->help)
			code = DIRECT + i;
		g->longs[i] = (struct option){
			o->name, o->arg ? required_argument : no_argument, NULL,
			(int)code
		};
		if (o->help && o->letter)
			*s++ = o->letter;
		if (o->help && o->letter && o->arg)
			*s++ = ':';
	}
	g->longs[option_count] = (struct option){ 0 };
	*s = '\0';
}

static const struct option_row *row(int code)
{
	unsigned i;

	if (code >= DIRECT)
		return &option_table[code - DIRECT];
	for (i = 0; i < option_count; i++)
		if (option_table[i].letter == code)
			return &option_table[i];
	return NULL;
}

static const char *mode_names(unsigned modes)
{
	if (modes & SAYS_PASST)
		return "passt";
	switch (modes & IN_ALL) {
	case IN_PASTA:
		return "pasta";
	case IN_VHOST:
		return "vhost-user";
	case IN_PASST:
		return "passt";
	default:
		return "passt / vhost-user";
	}
}

/* How many letters are to be changed, swapped, added or left out to make @a of
 * @b (optimal string alignment).  FAR if either is longer than any option. */
static unsigned distance(const char *a, const char *b)
{
	unsigned row[3][NAME_MAX_LEN + 1], n = (unsigned)strlen(b), i, j;

	if (strlen(a) > NAME_MAX_LEN || n > NAME_MAX_LEN)
		return FAR;
	for (j = 0; j <= n; j++)
		row[0][j] = j;
	for (i = 1; a[i - 1]; i++) {
		unsigned *now = row[i % 3], *last = row[(i + 2) % 3];

		now[0] = i;
		for (j = 1; j <= n; j++) {
			now[j] = MIN(MIN(last[j], now[j - 1]) + 1,
				     last[j - 1] + (a[i - 1] != b[j - 1]));
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] &&
			    a[i - 2] == b[j - 1])
				now[j] = MIN(now[j], row[(i + 1) % 3][j - 2] + 1);
		}
	}
	return row[(i + 2) % 3][n];
}

/* The option of @mode whose name is nearest to @name, or NULL if more than a
 * third of the letters differ */
static const char *nearest(enum mode mode, const char *name)
{
	unsigned best = (unsigned)strlen(name) / 3 + 1, modes = 0, i;
	const char *found = NULL;

	for (i = 0; i < option_count; i++) {
		const struct option_row *o = &option_table[i];
		unsigned d = distance(name, o->name);

		if (o->help)
			modes = o->modes;
		if (d < best && modes & (ANYWHERE | 1U << mode)) {
			best = d;
			found = o->name;
		}
	}
	return found;
}

/* Say what is wrong with @word and end.  getopt_long() would print more than it
 * returns, but what it prints depends on the libc. */
static _Noreturn void complain(enum mode mode, const char *word, int code)
{
	const char *name = word + 2, *near;
	size_t len = strcspn(name, "=");
	char text[NAME_MAX_LEN + 1];
	unsigned hits = 0, i;

	if (strncmp(word, "--", 2))
		die("%s -- '%c', see --help",
		    code == ':' ? "option requires an argument" :
				  "invalid option", optopt);
	for (i = 0; i < option_count; i++)
		hits += !strncmp(option_table[i].name, name, len);
	if (code == ':')
		die("option '%s' requires an argument, see --help", word);
	if (optopt)
		die("option '--%.*s' doesn't allow an argument, see --help",
		    (int)len, name);
	if (hits > 1)
		die("option '%s' is ambiguous, see --help", word);
	snprintf(text, sizeof(text), "%.*s", (int)MIN(len, sizeof(text)), name);
	near = nearest(mode, text);
	if (near)
		die("unrecognized option '--%.*s', did you mean --%s? See "
		    "--help", (int)len, name, near);
	die("unrecognized option '--%.*s', see --help", (int)len, name);
}

int options_run(struct conf *c, int argc, char **argv)
{
	const struct option_row *o;
	struct getopt_tables g;
	const char *word;
	int code;

	translate(&g);
	optind = 0; /* start over after conf_mode() */
	opterr = 0;
	while (word = argv[MAX(optind, 1)],
	       (code = getopt_long(argc, argv, g.letters, g.longs, NULL)) >= 0) {
		o = row(code);
		if (!o)
			complain(c->mode, word, code);
		/* "-T 80" as one word: a line of a file that was not split */
		if (optarg && code < DIRECT)
			optarg += strspn(optarg, " \t");
		if (!(o->modes & (ANYWHERE | 1U << c->mode)))
			die("--%s is for %s mode only", o->name,
			    mode_names(o->modes));
		o->set(c, o, optarg);
	}
	return optind;
}

const char *options_find(int argc, char **argv, const char *name)
{
	const struct option_row *o;
	const char *found = NULL;
	struct getopt_tables g;
	int code;

	translate(&g);
	optind = 0;
	opterr = 0;
	while ((code = getopt_long(argc, argv, g.letters, g.longs, NULL)) >= 0) {
		o = row(code);
		if (o && !strcmp(o->name, name))
			found = optarg ? optarg : "";
	}
	return found;
}

/* --- --help ------------------------------------------------------------- */

static void print_row(FILE *f, unsigned i)
{
	const struct option_row *o = &option_table[i];
	const char *s, *end;
	int n;

	n = o->letter ? fprintf(f, "  -%c, --%s", o->letter, o->name) :
			fprintf(f, "      --%s", o->name);
	while (++i < option_count && !option_table[i].help)
		n += fprintf(f, ", --%s", option_table[i].name);
	if (o->arg)
		n += fprintf(f, " %s", o->arg);
	if (n >= HELP_COLUMN) {
		fputc('\n', f);
		n = 0;
	}
	for (s = o->help; *s; s = end + (*end == '\n')) {
		end = strchrnul(s, '\n');
		fprintf(f, "%*s%.*s\n", HELP_COLUMN - n, "", (int)(end - s), s);
		n = 0;
	}
}

void options_usage(enum mode mode, const char *argv0)
{
	unsigned in = mode == MODE_PASTA ? IN_PASTA : IN_STREAMS, i;
	FILE *f = stdout;
	const char *head = NULL;

	if (mode == MODE_PASTA)
		fprintf(f, "Usage: %s [OPTION]... [COMMAND [ARG]...]\n"
			   "       %s [OPTION]... PID\n"
			   "       %s [OPTION]... --netns PATH|NAME\n",
			argv0, argv0, argv0);
	else
		fprintf(f, "Usage: %s [OPTION]...\n", argv0);
	for (i = 0; i < option_count; i++) {
		const struct option_row *o = &option_table[i];

		if (o->head)
			head = o->head;
		if (!o->help || !(o->modes & in))
			continue;
		if (head)
			fprintf(f, "\n%s:\n", head);
		head = NULL;
		print_row(f, i);
	}
}
