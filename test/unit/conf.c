/* SPDX-License-Identifier: GPL-2.0-or-later */
/* unit: plan summary resolvconf options egress rules log util addr boot */
#include "summary.h"
#include "log.h"
#include "options.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static struct conf c;
static struct plan p; /* after parse() as it was said */
static struct template t4, t6;
static const struct template none;
static char out[65536];
static char words[8192], *argv[512];
static int argc;

/* Split @line at blanks; 'a b' is one word */
static void split(const char *line)
{
	char *s = words, *end;

	assert_true(strlen(line) < sizeof(words));
	strcpy(words, line);
	for (argc = 0; *(s += strspn(s, " ")); s = end) {
		bool quote = *s == '\'';

		s += quote;
		end = s + strcspn(s, quote ? "'" : " ");
		if (*end)
			*end++ = '\0';
		assert_true(argc + 1 < (int)ARRAY_SIZE(argv));
		argv[argc++] = s;
	}
	argv[argc] = NULL;
}

static void reset(void)
{
	memset(&c, 0, sizeof(c));
	c.sock.v4 = c.sock.v6 = c.sock.bindtodevice = true;
	log_level(LOG_INFORM);
}

static void parse(const char *line)
{
	reset();
	split(line);
	conf_parse(&c, argc, argv);
	p = (struct plan){ .lan = c.lan, .map = c.map };
}

static void parse_without_v6(const char *line)
{
	reset();
	c.sock.v6 = false;
	split(line);
	conf_parse(&c, argc, argv);
	p = (struct plan){ .lan = c.lan, .map = c.map };
}

static struct host h;
static char ns_ifname[16];

/* As passt.c does it */
static void plan(const struct template *for4, const struct template *for6)
{
	h = (struct host){ .t = { *for4, *for6 } };
	plan_make(&c, &h, &p);
	plan_check(&c, &h, &p);
	plan_ifname(&c, &h, ns_ifname);
}

static void finish(const char *line)
{
	parse(line);
	plan(&t4, &t6);
}

/* Run @fn in a child; its exit status, what it wrote in @out */
static int captured(void (*fn)(const char *), const char *line)
{
	size_t used = 0;
	int fds[2], status;
	ssize_t n;
	pid_t pid;

	assert_int_equal(pipe(fds), 0);
	fflush(stdout);
	pid = fork();
	if (!pid) {
		dup2(fds[1], 1);
		dup2(fds[1], 2);
		close(fds[0]);
		close(fds[1]);
		fn(line);
		_exit(42);
	}
	close(fds[1]);
	while ((n = read(fds[0], out + used, sizeof(out) - 1 - used)) > 0)
		used += (size_t)n;
	out[used] = '\0';
	close(fds[0]);
	waitpid(pid, &status, 0);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void dies(const char *line, const char *says)
{
	char want[1024];
	int status = captured(finish, line);

	snprintf(want, sizeof(want), "%s\n", says);
	if (status != 1 || strcmp(out, want))
		print_error("%s\n=> %d %s", line, status, out);
	assert_int_equal(status, 1);
	assert_string_equal(out, want);
}

static void works(const char *line)
{
	int status = captured(finish, line);

	if (status != 42)
		print_error("%s\n=> %d %s", line, status, out);
	assert_int_equal(status, 42);
}

static struct addr ip(const char *s)
{
	struct addr a;

	assert_true(addr_parse(s, &a));
	return a;
}

static void is(const struct addr *a, const char *want)
{
	char text[ADDR_TEXT_LEN];

	if (!want) {
		assert_true(addr_is_none(a));
		return;
	}
	assert_string_equal(addr_text(a, text), want);
}

static int templates(void **state)
{
	(void)state;
	t4 = (struct template){ .ifindex = 2, .ifname = "eth0", .prefix = 20,
				.addr = ip("192.0.2.15"),
				.gw = ip("192.0.2.1") };
	t6 = (struct template){ .ifindex = 3, .ifname = "eth1", .prefix = 64,
				.addr = ip("2001:db8::15"),
				.ll = ip("fe80::15"), .gw = ip("fe80::1") };
	return 0;
}

/* --- modes -------------------------------------------------------------- */

static enum mode mode(const char *line, int *fd)
{
	struct given g;
	enum mode m;

	split(line);
	m = conf_mode(argc, argv, &g);
	*fd = g.guest;
	return m;
}

static void mode_names(void **state)
{
	int fd;

	(void)state;
	assert_int_equal(mode("/usr/bin/passt -f", &fd), MODE_PASST);
	assert_int_equal(fd, -1);
	assert_int_equal(mode("/opt/passt/pasta.avx2", &fd), MODE_PASTA);
	assert_int_equal(mode("/opt/pasta/passt", &fd), MODE_PASST);
	assert_int_equal(mode("pasta --vhost", &fd), MODE_VHOST);
	assert_int_equal(mode("passt -F 4 --fd=0", &fd), MODE_PASST);
	assert_int_equal(fd, 0);
	assert_int_equal(mode("passt -qfF0x10", &fd), MODE_PASST);
	assert_int_equal(fd, 16);
	assert_int_equal(mode("passt -F x", &fd), MODE_PASST);
	assert_int_equal(fd, -1);
}

static void descriptors_of_options(void **state)
{
	struct given g;

	(void)state;
	split("pasta --ready-fd 5 --fd=6 --exit-fd 8 x --ready-fd 7");
	conf_mode(argc, argv, &g);
	assert_true(g.guest == 6 && g.ready == 5 && g.exit == 8);
	split("passt --ready-fd x");
	conf_mode(argc, argv, &g);
	assert_true(g.guest == -1 && g.ready == -1 && g.exit == -1);
}

static void no_mode(const char *line)
{
	int fd;

	mode(line, &fd);
}

static void unknown_mode(void **state)
{
	(void)state;
	assert_int_equal(captured(no_mode, "slirp --help"), 1);
	assert_string_equal(out, "Cannot determine mode, invoke as \"passt\" or "
				 "\"pasta\"\n");
}

static void scans_end_at_command(void **state)
{
	int fd;

	(void)state;
	assert_int_equal(mode("pasta tail -F x", &fd), MODE_PASTA);
	assert_int_equal(fd, -1);
	assert_int_equal(mode("pasta -f echo --vhost-user -F 7", &fd),
			 MODE_PASTA);
	assert_int_equal(fd, -1);
	assert_int_equal(mode("pasta -H --vhost-user true", &fd), MODE_PASTA);
}

static void pasta_targets(void **state)
{
	(void)state;
	parse("pasta");
	assert_true(c.spawn && !c.argv && c.foreground && c.quiet);
	parse("pasta -d");
	assert_true(c.spawn && !c.quiet);
	parse("pasta 1234");
	assert_true(!c.spawn && c.pid == 1234 && !c.foreground);
	parse("pasta 1234 -q");
	assert_true(c.spawn && !c.pid);
	assert_string_equal(c.argv[0], "1234");
	parse("pasta -4 sh -c -6");
	assert_true(c.spawn && p.lan.v4 && !p.lan.v6);
	assert_string_equal(c.argv[2], "-6");
	assert_null(c.argv[3]);
	parse("pasta --netns x");
	assert_true(!c.spawn && c.netns_only);
	assert_string_equal(c.netns, "/run/netns/x");
	parse("pasta --netns ./x --userns /proc/1/ns/user");
	assert_true(!c.netns_only);
	assert_string_equal(c.netns, "./x");
	parse("pasta --userns /u --netns-only 5");
	assert_true(c.netns_only && !c.userns[0]);
	parse("pasta --netns-only --userns /u 5");
	assert_true(!c.netns_only && c.userns[0]);
	parse("pasta --fd 7");
	assert_true(!c.spawn && c.fd == 7 && c.one_off);
	dies("pasta --netns x true", "Both --netns and PID or command given");
	dies("pasta --netns x 12", "Both --netns and PID or command given");
	dies("pasta 2147483648", "Invalid PID 2147483648");
	dies("passt x", "Extra non-option argument: x");
}

/* --- refusals, word for word -------------------------------------------- */

static void refusals(void **state)
{
	static const char *const t[][2] = {
		{ "passt --stats 1",
		  "Can't display statistics if not running in foreground" },
		{ "passt -f --stats 1x", "Invalid --stats: 1x" },
		{ "passt -f --stats=-1", "Invalid --stats: -1" },
		{ "passt -f --stats json,", "Invalid --stats: json," },
		{ "passt -f --stats jsonx", "Invalid --stats: jsonx" },
		{ "passt --label=", "Invalid --label: " },
		{ "passt --label a\"b", "Invalid --label: a\"b" },
		{ "passt --busy-poll 1001",
		  "Invalid --busy-poll: 1001 (microseconds, at most 1000)" },
		{ "passt --pcap-size 1023K",
		  "Invalid --pcap-size: 1023K (bytes, or with K, M or G; at "
		  "least 1024K)" },
		{ "passt --runas :", "Invalid --runas option: :" },
		{ "passt --runas root", "Invalid --runas option: root" },
		{ "passt --runas 1:", "Invalid --runas option: 1:" },
		{ "passt --runas nobody:nogroup:",
		  "Invalid --runas option: nobody:nogroup:" },
		{ "passt -m 65522", "MTU 65522 too large (max 65521)" },
		{ "passt -m 1500x", "Invalid MTU: 1500x" },
		{ "passt -m ''", "Invalid MTU: " },
		{ "passt -a 127.0.0.1", "Invalid guest address: 127.0.0.1" },
		{ "passt -a 0.0.0.0", "Invalid guest address: 0.0.0.0" },
		{ "passt -a 224.0.0.1", "Invalid guest address: 224.0.0.1" },
		{ "passt -a ::1", "Invalid guest address: ::1" },
		{ "passt -a ::ffff:127.0.0.1",
		  "Invalid guest address: ::ffff:127.0.0.1" },
		{ "passt -a ::ffff:1.2.3.4/24",
		  "Invalid prefix length: ::ffff:1.2.3.4/24" },
		{ "passt -a ::ffff:1.2.3.4/129",
		  "Invalid prefix length: ::ffff:1.2.3.4/129" },
		{ "passt -a 1.2.3.4/33",
		  "Invalid prefix length: 1.2.3.4/33" },
		{ "passt -a 1.2.3.4/", "Invalid prefix length: 1.2.3.4/" },
		{ "passt -a fd00::1/129",
		  "Invalid prefix length: fd00::1/129" },
		{ "passt -a 1.2.3.4/24 -n 24",
		  "Redundant prefix length specification" },
		{ "passt -n 24 -a 1.2.3.4/24",
		  "Redundant prefix length specification" },
		{ "passt -n 33", "Invalid prefix length: 33" },
		{ "passt -n 255.0.255.0",
		  "Invalid prefix length: 255.0.255.0" },
		{ "passt -n 0.0.0.255", "Invalid prefix length: 0.0.0.255" },
		{ "passt -M 9a:55:9a:55:9a",
		  "Invalid MAC address: 9a:55:9a:55:9a" },
		{ "passt -M 9a-55-9a-55-9a-55",
		  "Invalid MAC address: 9a-55-9a-55-9a-55" },
		{ "passt -M 01:00:5e:00:00:01",
		  "Invalid MAC address: 01:00:5e:00:00:01" },
		{ "passt -M 00:00:00:00:00:00",
		  "Invalid MAC address: 00:00:00:00:00:00" },
		{ "passt -g 127.0.0.1", "Invalid gateway address: 127.0.0.1" },
		{ "passt -g 255.255.255.255",
		  "Invalid gateway address: 255.255.255.255" },
		{ "passt -g 224.0.0.1", "Invalid gateway address: 224.0.0.1" },
		{ "passt -g ff02::2", "Invalid gateway address: ff02::2" },
		{ "passt -i nowhere0",
		  "Invalid interface name nowhere0: No such device" },
		{ "passt -o ::", "Invalid or redundant outbound address: ::" },
		{ "passt -o ::1", "Invalid or redundant outbound address: ::1" },
		{ "passt -o ::1.2.3.4",
		  "Invalid or redundant outbound address: ::1.2.3.4" },
		{ "passt -o ff02::1",
		  "Invalid or redundant outbound address: ff02::1" },
		{ "passt -D x", "Cannot use DNS address x" },
		{ "passt -D ''", "Cannot use DNS address " },
		{ "passt --dns-forward 127.0.0.1",
		  "Invalid DNS forwarding address: 127.0.0.1" },
		{ "passt --dns-host 0.0.0.0",
		  "Invalid host nameserver address: 0.0.0.0" },
		{ "passt -S ''", "Cannot use DNS search domain " },
		{ "passt -S a -S b -S c -S d -S e -S f -S g",
		  "Cannot use DNS search domain g" },
		{ "passt --map-host-loopback 127.0.0.1",
		  "Invalid address to remap to host: 127.0.0.1" },
		{ "passt --map-guest-addr ff02::1",
		  "Invalid address to remap to host: ff02::1" },
		{ "passt -s ''", "Invalid socket path: " },
		{ "passt -F 2147483648", "Invalid --fd: 2147483648" },
		{ "passt -F x", "Invalid --fd: x" },
		{ "pasta -c '' true", "Invalid configuration path: " },
		{ "pasta --no-splice --splice-only",
		  "--splice-only conflicts with --no-splice" },
		{ "pasta --host-lo-to-ns-lo --no-splice",
		  "--host-lo-to-ns-lo conflicts with --no-splice" },
		{ "pasta --takeover 1", "--takeover needs --netns or PID as "
					"the running pasta has it" },
		{ "passt -q -D none -t 70000", NULL },
		{ "passt -q -D none -t auto",
		  "'auto' port forwarding is only allowed for pasta" },
		{ "passt -q -D none -t 80 -t none",
		  "-t none conflicts with previous options" },
	};
	unsigned i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(t); i++) {
		if (t[i][1]) {
			dies(t[i][0], t[i][1]);
			continue;
		}
		assert_int_equal(captured(finish, t[i][0]), 1);
		assert_ptr_equal(strchr(out, '\n'), out + strlen(out) - 1);
	}
}

/* The least depends on the libc and on the machine */
static void log_sizes(void **state)
{
	unsigned least = 5 * MAX((unsigned)BUFSIZ,
				 (unsigned)sysconf(_SC_PAGESIZE));
	char word[2][16] = { "x" }, line[64], says[128];
	unsigned i;

	(void)state;
	snprintf(word[1], sizeof(word[1]), "%u", least - 1);
	for (i = 0; i < ARRAY_SIZE(word); i++) {
		snprintf(line, sizeof(line), "passt --log-size %s", word[i]);
		snprintf(says, sizeof(says), "Invalid --log-size: %s (bytes, or "
			 "with K, M or G; at least %uK)", word[i], least >> 10);
		dies(line, says);
	}
	snprintf(line, sizeof(line), "passt --log-size %u", least);
	works(line);
}

static void lengths(void **state)
{
	static const struct {
		const char *opt, *says;
		unsigned max;
	} t[] = {
		{ "-s", "Invalid socket path: ", 107 },
		{ "-c", "Invalid configuration path: ", 107 },
		{ "-H", "Invalid hostname: ", 253 },
		{ "--fqdn", "Invalid FQDN: ", 253 },
		{ "-S", "Cannot use DNS search domain ", 253 },
		{ "--outbound-if4", "Invalid interface name: ", 15 },
	};
	char line[512], want[512], x[300];
	unsigned i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(t); i++) {
		memset(x, 'x', sizeof(x));
		x[t[i].max + 1] = '\0';
		snprintf(line, sizeof(line), "passt %s %s", t[i].opt, x);
		snprintf(want, sizeof(want), "%s%s\n", t[i].says, x);
		assert_int_equal(captured(parse, line), 1);
		assert_string_equal(out, want);
		x[t[i].max] = '\0';
		snprintf(line, sizeof(line), "passt %s %s", t[i].opt, x);
		if (strcmp(t[i].opt, "-c"))
			assert_int_equal(captured(parse, line), 42);
	}
}

static void deprecated(void **state)
{
	(void)state;
	assert_int_equal(captured(parse, "passt -e"), 42);
	assert_string_equal(out, "--stderr will be dropped soon\n");
	works("passt -e -q -D none");
	assert_string_equal(out, "");
	works("pasta --quiet --no-copy-addrs --config-net 1");
	assert_string_equal(out, "");
	assert_int_equal(captured(parse, "pasta --no-copy-routes 1"), 1);
	assert_non_null(strstr(out, "--no-copy-routes needs --config-net\n"));
	parse("pasta --no-copy-addrs --config-net 1");
	assert_true(c.no_copy_addrs[0] && c.no_copy_addrs[1]);
	/* -g and -a imply it without needing --config-net */
	parse("pasta -g 192.0.2.9 -a fd00::1 1");
	assert_true(c.no_copy_routes[0] && !c.no_copy_routes[1]);
	assert_true(!c.no_copy_addrs[0] && c.no_copy_addrs[1]);
}

/* What a line of a file becomes when it is one word */
static void one_word(void **state)
{
	(void)state;
	parse("pasta '-m 1500' '-a 192.0.2.7' '-T 3000,3001' -t ' 80' "
	      "'-I  net0' --mtu ' +1400' 1");
	assert_int_equal(p.lan.mtu, 1400);
	is(&p.lan.guest4, "192.0.2.7");
	assert_int_equal(c.ns.r[1].first, 3001);
	assert_string_equal(c.ns_ifname, "net0");
	is(&p.lan.guest4, "192.0.2.7");
	parse("passt -a ::ffff:192.0.2.7 -g ::ffff:192.0.2.1");
	is(&p.lan.guest4, "192.0.2.7");
	is(&p.lan.gw4, "192.0.2.1");
	assert_true(addr_is_none(&p.lan.guest6));
}

/* --- what is stored ----------------------------------------------------- */

static void levels(void **state)
{
	(void)state;
	parse("passt -q -d");
	assert_true(c.debug && !c.quiet && log_max == LOG_DBG);
	parse("passt --trace -q");
	assert_true(!c.debug && !c.trace && c.quiet && log_max == LOG_WARN);
	parse("passt -q --trace");
	assert_true(c.debug && c.trace && !c.quiet && log_max == LOG_TRACE);
	parse("passt");
	assert_true(log_max == LOG_INFORM);
	parse("passt --stats 0 -f");
	assert_true(c.stats_on && !c.stats_s && !c.stats_json);
	parse("passt --stats json -f");
	assert_true(c.stats_on && c.stats_s == 1 && c.stats_json);
	parse("passt --stats=json,7 -f");
	assert_true(c.stats_on && c.stats_s == 7 && c.stats_json);
	parse("passt -H web --label other");
	assert_string_equal(c.label, "other");
	parse("passt -H web");
	assert_string_equal(c.label, "web");
	parse("passt");
	assert_string_equal(c.label, "");
}

static void ids(void **state)
{
	(void)state;
	parse("passt --runas 0x10");
	assert_true(c.runas && c.uid == 16 && c.gid == 16);
	parse("passt --runas 107:0");
	assert_true(c.uid == 107 && c.gid == 0);
	parse("passt --runas nobody");
	assert_true(c.uid == 65534 && c.gid == 65534);
	parse("passt --runas nobody:root");
	assert_true(c.uid == 65534 && c.gid == 0);
}

static void channel(void **state)
{
	(void)state;
	parse("passt -s /x --fd 0");
	assert_true(c.fd == 0 && !c.socket[0] && c.one_off);
	parse("passt --fd 0 -s /x");
	assert_true(c.fd == -1 && !c.one_off);
	assert_string_equal(c.socket, "/x");
	parse("passt --socket-path /y -1");
	assert_string_equal(c.socket, "/y");
	assert_true(c.one_off);
	parse("passt --ready-fd 0x10");
	assert_int_equal(c.ready_fd, 16);
	parse("passt --repair-path none");
	assert_string_equal(c.repair, "none");
}

static void prefixes(void **state)
{
	static const struct {
		const char *args;
		unsigned prefix;
	} t[] = {
		{ "-a 10.0.0.1", 8 },
		{ "-a 172.16.0.1", 16 },
		{ "-a 192.168.0.1", 24 },
		{ "-a 10.0.0.1/20", 20 },
		{ "-a 10.0.0.1/0", 0 },
		{ "-n 0 -a 10.0.0.1", 0 },
		{ "-a 10.0.0.1 -n 255.255.240.0", 20 },
		{ "-n 0x14 -a 10.0.0.1", 20 },
		{ "-n 0.0.0.0 -a 10.0.0.1", 0 },
		{ "-n 255.255.255.255 -a 10.0.0.1", 32 },
		{ "-a 10.0.0.1/24 -a 10.0.0.2 -n 16", 16 },
		{ "-a 10.0.0.1/24 -a 192.0.2.2", 24 },
		{ "-a ::ffff:10.0.0.1/123", 27 },
		{ "-a ::ffff:10.0.0.1/96", 0 },
		{ "-a ::ffff:10.0.0.1", 8 },
		{ "-n 12", 12 }, /* of the template's address */
		{ "", 20 },
	};
	char line[128];
	unsigned i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(t); i++) {
		snprintf(line, sizeof(line), "passt -q -D none %s", t[i].args);
		finish(line);
		assert_int_equal(p.lan.prefix4, t[i].prefix);
	}
}

static void dns_options(void **state)
{
	parse("passt -D 192.0.2.1 -D 192.0.2.2 -D 192.0.2.3 -D 192.0.2.4 "
	      "-D fd00::53");
	(void)state;
	assert_int_equal(p.lan.dns4_n, 3);
	assert_int_equal(p.lan.dns6_n, 1);
	parse("passt --dns-forward 192.0.2.9 --dns-host 1.1.1.1 -D 192.0.2.1 "
	      "-D none");
	assert_true(c.dns_none && !p.lan.dns4_n && !c.dns_given[0]);
	is(&p.map.dns.match[0], NULL);
	is(&p.map.dns.host[0][0], NULL);
	parse("passt -D none -D fd00::53");
	assert_true(!c.dns_none && p.lan.dns6_n == 1);
	parse("passt -S 'a  b c.'");
	assert_int_equal(p.lan.search_n, 3);
	assert_string_equal(p.lan.search[1], "b");
	assert_string_equal(p.lan.search[2], "c.");
	parse("passt -S a -S none -S none. -H host");
	assert_int_equal(p.lan.search_n, 1);
	assert_string_equal(p.lan.search[0], "none.");
	parse("passt -S a -S b -S c -S d -S 'e f' -H host");
	assert_int_equal(p.lan.search_n, 6);
	assert_string_equal(p.lan.search[5], "f");
	assert_string_equal(p.lan.hostname, "host");
}

static void mappings(void **state)
{
	(void)state;
	finish("passt -q -D none");
	is(&p.map.host_loopback[0][0], "192.0.2.1");
	is(&p.map.host_loopback[1][0], "fe80::1");
	finish("passt -q -D none --no-map-gw");
	is(&p.map.host_loopback[0][0], NULL);
	finish("passt -q -D none --map-host-loopback none");
	is(&p.map.host_loopback[1][0], NULL);
	finish("passt -q -D none --map-host-loopback none "
	       "--map-host-loopback 10.9.9.9");
	is(&p.map.host_loopback[0][0], "10.9.9.9");
	is(&p.map.host_loopback[1][0], NULL);
	finish("passt -q -D none --map-host-loopback 10.1.1.1 "
	       "--map-host-loopback 10.2.2.2");
	is(&p.map.host_loopback[0][0], "10.2.2.2");
	is(&p.map.host_loopback[0][1], "10.1.1.1");
	is(&p.map.host_loopback[0][2], NULL);
	is(&p.map.host_loopback[1][0], "fe80::1");
	finish("passt -q -D none --map-guest-addr 10.1.1.1 "
	       "--map-guest-addr none");
	is(&p.map.guest_addr[0][0], NULL);
	finish("passt -q -D none --map-guest-addr 10.1.1.1 "
	       "--map-guest-addr fd00::1 --map-guest-addr 10.1.1.2 "
	       "--map-guest-addr 10.1.1.1 --map-guest-addr 10.1.1.3 "
	       "--map-guest-addr 10.1.1.4");
	is(&p.map.guest_addr[0][0], "10.1.1.4");
	is(&p.map.guest_addr[0][1], "10.1.1.3");
	is(&p.map.guest_addr[0][2], "10.1.1.1");
	is(&p.map.guest_addr[0][3], "10.1.1.2");
	is(&p.map.guest_addr[1][0], "fd00::1");
	is(&p.map.guest_addr[1][1], NULL);
	finish("passt -q --map-host-loopback 10.1.1.1 --map-host-loopback "
	       "10.1.1.2 --map-host-loopback 10.1.1.3 --map-host-loopback "
	       "10.1.1.4 --map-host-loopback 10.1.1.5");
	is(&p.map.host_loopback[0][0], "10.1.1.5");
	is(&p.map.host_loopback[0][3], "10.1.1.2");
}

/* --- templates ---------------------------------------------------------- */

static void from_template(void **state)
{
	(void)state;
	finish("passt -q -D none");
	is(&p.lan.guest4, "192.0.2.15");
	is(&p.lan.gw4, "192.0.2.1");
	is(&p.lan.our4, "192.0.2.1");
	is(&p.lan.guest6, "2001:db8::15");
	is(&p.lan.our_ll6, "fe80::1");
	assert_true(p.lan.dhcp && p.lan.dhcpv6 && !p.local[0] && !p.local[1]);
	assert_true(!p.lan.fixed4 && !p.lan.fixed6);
	assert_int_equal(p.scope, 3);
	assert_int_equal(p.lan.mtu, 65520);
	assert_true(p.lan.duid_time > 700000000);
	finish("passt -q -D none -a 10.0.0.5/24 -g 10.0.0.1 -g 2001:db8::1 "
	       "-a 2001:db8::5/64 -m 0x5dc");
	is(&p.lan.guest4, "10.0.0.5");
	is(&p.lan.our4, "10.0.0.1");
	is(&p.lan.guest6, "2001:db8::5");
	is(&p.lan.gw6, "2001:db8::1");
	is(&p.lan.our_ll6, "fe80::15"); /* the gateway is not link-local */
	assert_true(p.lan.fixed4 && p.lan.fixed6);
	assert_int_equal(p.lan.mtu, 1500);
}

static void odd_templates(void **state)
{
	struct addr zero = { .q = { 0, 0 } };

	(void)state;
	t4.gw = zero; /* a tunnel: default route without gateway */
	t6.gw = zero;
	t6.addr = zero;
	finish("passt -q -D none");
	assert_true(p.lan.dhcp);
	is(&p.lan.gw4, "192.0.0.1"); /* its prefix has 20 bits */
	is(&p.lan.our4, "192.0.0.1");
	assert_false(p.lan.dhcpv6);
	is(&p.lan.our_ll6, "fe80::15");
	is(&p.lan.gw6, "fe80::15");
	is(&p.map.host_loopback[0][0], NULL); /* it may be a neighbour's */
	finish("passt -q -D none -g 192.0.0.1");
	is(&p.map.host_loopback[0][0], "192.0.0.1");
	/* never the guest's own address */
	finish("passt -q -D none -a 192.0.2.1/24");
	is(&p.lan.gw4, "192.0.2.2");
	is(&p.map.host_loopback[0][0], "192.0.2.2");
	finish("passt -q -D none -a 10.64.64.64/32");
	is(&p.lan.gw4, "169.254.2.2");
	is(&p.map.host_loopback[0][0], "169.254.2.2");
	finish("passt -q -D none -a 169.254.2.2/32");
	is(&p.lan.gw4, "169.254.2.3");
	finish("passt -q -D none -a 10.0.0.4/31");
	is(&p.lan.gw4, "10.0.0.5");
	finish("passt -q -D none -a 10.0.0.5/31");
	is(&p.lan.gw4, "10.0.0.4");
	finish("passt -q -D none -a 10.0.0.5/30");
	is(&p.lan.gw4, "10.0.0.6");
	t6.ll = zero;
	finish("passt -q -D none -a 2001:db8::5");
	is(&p.lan.our_ll6, "fe80::1");
	assert_true(p.lan.dhcpv6);
	templates(NULL);
	t4.multiple = true;
	assert_int_equal(captured(finish, "passt -D none"), 42);
	assert_string_equal(out, "Multiple default IPv4 routes, picked first\n");
	templates(NULL);
}

static void local_mode(void **state)
{
	(void)state;
	t4 = t6 = none;
	finish("pasta -q --config-net 1");
	is(&p.lan.guest4, "169.254.2.1");
	is(&p.lan.gw4, "169.254.2.2");
	is(&p.lan.our4, "169.254.2.2");
	is(&p.map.host_loopback[0][0], "169.254.2.2");
	assert_int_equal(p.lan.prefix4, 16);
	is(&p.lan.guest6, NULL);
	is(&p.lan.gw6, "fe80::1");
	is(&p.lan.our_ll6, "fe80::1");
	assert_true(p.local[0] && p.local[1] && p.lan.dhcp && !p.lan.dhcpv6);
	assert_string_equal(ns_ifname, "tap0");
	/* What was asked for is what the guest gets */
	finish("passt -q -a 10.0.2.15 -n 24 -g 10.0.2.2 -a fd00::5 -g fe80::9");
	is(&p.lan.guest4, "10.0.2.15");
	is(&p.lan.gw4, "10.0.2.2");
	is(&p.lan.our4, "10.0.2.2");
	assert_int_equal(p.lan.prefix4, 24);
	is(&p.lan.guest6, "fd00::5");
	is(&p.lan.our_ll6, "fe80::9");
	assert_true(p.lan.dhcpv6);
	finish("passt -q -n 30");
	is(&p.lan.guest4, "169.254.2.1");
	assert_int_equal(p.lan.prefix4, 30);
	captured(finish, "passt -D none");
	assert_string_equal(out, "No network on the host, use local mode\n");
	captured(finish, "passt -4 -D none");
	assert_string_equal(out, "IPv4: no external interface as template, use "
				 "local mode\n");
	works("pasta --splice-only 1");
	assert_null(strstr(out, "local mode"));
	dies("passt -4 -D none -q --outbound-if4 lo",
	     "External interface not usable");
	templates(NULL);
	finish("passt -q --outbound-if4 lo");
}

static void families(void **state)
{
	(void)state;
	finish("passt -q -D none -4 -6");
	assert_true(!p.lan.v4 && p.lan.v6);
	parse_without_v6("passt -6 -4 -D none -q");
	plan(&t4, &t6);
	assert_true(p.lan.v4 && !p.lan.v6);
	is(&p.map.host_loopback[1][0], NULL);
	parse_without_v6("passt -D none -q -t 80");
	plan(&t4, &none);
	assert_true(p.lan.v4 && !p.lan.v6 && !p.local[1]);
	assert_int_equal(c.host.n, 1);
	dies("passt -D none -q -4 -t ::/80", "IPv6 forward, but IPv6 not enabled");
}

/* One that writes over another one's file, under whatever name it has */
static void same_file(void **state)
{
	char dir[] = "/tmp/conf.XXXXXX", line[300], says[300], a[64], b[64];
	FILE *f;

	(void)state;
	dies("passt -p a -l a", "--pcap and --log-file are the same file: a");
	dies("passt -P a -l a", "--log-file and --pid are the same file: a");
	dies("passt -P a -p a", "--pcap and --pid are the same file: a");
	dies("passt -s a -p a", "--pcap and --socket are the same file: a");
	dies("passt -c a -s a", "--socket and --conf-path are the same file: a");
	dies("passt -c a --metrics-socket a",
	     "--conf-path and --metrics-socket are the same file: a");
	dies("passt --vhost-user -c a --repair-path a",
	     "--conf-path and --repair-path are the same file: a");
	dies("passt -p a --pcap-size 1M -l a.1",
	     "--pcap and --log-file are the same file: a.1");
	works("passt -q -p a --pcap-size 1M -l a.2");
	works("passt -q -p a -l a.1 --repair-path none -P none");
	works("passt -q -p /dev/null -l /dev/null -P /dev/null");
	works("passt -q -p a -l b -P c -c d -s e --metrics-socket f");

	assert_non_null(mkdtemp(dir));
	snprintf(a, sizeof(a), "%s/a", dir);
	snprintf(b, sizeof(b), "%s/b", dir);
	f = fopen(a, "w");
	assert_non_null(f);
	fclose(f);
	snprintf(line, sizeof(line), "passt -q -p %s -l %s", a, b);
	works(line);
	assert_int_equal(symlink(a, b), 0);
	snprintf(says, sizeof(says),
		 "--pcap and --log-file are the same file: %s", b);
	dies(line, says);
	unlink(a);
	assert_int_equal(mkfifo(a, 0600), 0);
	works(line);
	unlink(a);
	unlink(b);
	rmdir(dir);
}

/* It may be given, but not be thought to help */
static void other_family(void **state)
{
	(void)state;
	works("passt -4 -a 2001:db8::1 -g 2001:db8::2 -D 2001:db8::3 "
	      "--dns-forward 2001:db8::4 --map-host-loopback 2001:db8::5 "
	      "--map-guest-addr 2001:db8::6 -n 24 -D 192.0.2.3");
	assert_string_equal(out,
			    "--address of IPv6 does nothing with --ipv4-only\n"
			    "--gateway of IPv6 does nothing with --ipv4-only\n"
			    "--dns of IPv6 does nothing with --ipv4-only\n"
			    "--dns-forward of IPv6 does nothing with "
			    "--ipv4-only\n"
			    "--map-host-loopback of IPv6 does nothing with "
			    "--ipv4-only\n"
			    "--map-guest-addr of IPv6 does nothing with "
			    "--ipv4-only\n"
			    "Couldn't get any nameserver address\n");
	works("pasta -6 -a 192.0.2.1 -n 24 -g 192.0.2.2 -D 192.0.2.3 true");
	assert_string_equal(out,
			    "--address of IPv4 does nothing with --ipv6-only\n"
			    "--netmask of IPv4 does nothing with --ipv6-only\n"
			    "--gateway of IPv4 does nothing with --ipv6-only\n"
			    "--dns of IPv4 does nothing with --ipv6-only\n");
	dies("pasta -4 --outbound-if6 lo true",
	     "--outbound-if6 conflicts with --ipv4-only");
	dies("pasta -6 --outbound-if4 lo true",
	     "--outbound-if4 conflicts with --ipv6-only");
	/* By Podman, and for the host's side */
	works("pasta -q -D none -6 --dns-forward 192.0.2.4 --map-guest-addr "
	      "192.0.2.6 --dns-host 192.0.2.5 -o 192.0.2.8 1");
	assert_string_equal(out, "");
	works("passt -q -a 192.0.2.1 -a 2001:db8::1 -g 2001:db8::2 -n 24");
	assert_string_equal(out, "");
}

static void only_v6(void **state)
{
	(void)state;
	assert_int_equal(captured(parse_without_v6, "passt -6"), 1);
	assert_string_equal(out,
			    "IPv6 not available but --ipv6-only given\n");
}

/* Before anything was opened */
static void rules_at_once(void **state)
{
	(void)state;
	assert_int_equal(captured(parse, "passt -t 80-79"), 1);
	assert_string_equal(out, "Invalid port specifier '80-79'\n");
	assert_int_equal(captured(parse, "passt -4 -u ::/80"), 1);
	assert_string_equal(out, "IPv6 forward, but IPv6 not enabled\n");
	parse("passt -t 22,80");
	assert_int_equal(c.host.n, 2);
}

static void small_mtu(void **state)
{
	(void)state;
	dies("passt -q -D none -m 40", "MTU 40 is too small (minimum 68)");
	dies("passt -q -D none -4 -m 67", "MTU 67 is too small (minimum 68)");
	dies("passt -q -D none -6 -m 1279",
	     "MTU 1279 is too small for IPv6 (minimum 1280)");
	dies("passt -q -D none -m 1279 -t ::/80",
	     "MTU 1279 is too small for IPv6 (minimum 1280): IPv4 only\n"
	     "IPv6 forward, but IPv6 not enabled");
	works("passt -q -D none -m 1279");
	assert_non_null(strstr(out, "IPv4 only"));
	finish("passt -q -D none -m 1279");
	assert_true(p.lan.v4 && !p.lan.v6);
	works("passt -q -D none -4 -m 68");
	assert_string_equal(out, "");
	works("passt -q -D none -m 0");
	assert_string_equal(out, "");
	works("passt -q -D none -m 1280");
	assert_string_equal(out, "");
}

static void interface_names(void **state)
{
	(void)state;
	finish("pasta -q 1");
	assert_string_equal(ns_ifname, "eth0");
	finish("pasta -q -6 1");
	assert_string_equal(ns_ifname, "eth1");
	finish("pasta -q -I abc 1");
	assert_string_equal(ns_ifname, "abc");
	dies("pasta -I a/b 1", "Invalid interface name: a/b");
	dies("pasta -I tap%d 1", "Invalid interface name: tap%d");
	dies("pasta -I lo 1", "Invalid interface name: lo");
	dies("pasta -I 'a b' 1", "Invalid interface name: a b");
	dies("pasta -I 0123456789abcdef 1",
	     "Invalid interface name: 0123456789abcdef");
	snprintf(t4.ifname, sizeof(t4.ifname), "lo");
	finish("pasta -q 1");
	assert_string_equal(ns_ifname, "tap0");
	templates(NULL);
}

/* --- resolv.conf -------------------------------------------------------- */

static void resolves(const char *text)
{
	struct resolvconf rc;
	struct plan was;

	resolvconf_begin(&rc);
	resolvconf_add(&rc, text, strlen(text));
	resolvconf_end(&rc);
	plan_resolvers(&h, &rc);
	was = p;
	plan_make(&c, &h, &p);
	plan_keep(&p, &was);
}

static void feed(const char *line, const char *text)
{
	parse(line);
	h = (struct host){ .t = { t4, t6 } };
	plan_make(&c, &h, &p);
	resolves(text);
}

static void resolv(void **state)
{
	(void)state;
	feed("passt", "# nameserver 9.9.9.9\n nameserver 8.8.8.8\n"
		      "nameserver 10.0.0.53\nnameserver  10.0.0.54\n"
		      "nameserver fe80::5%eth0\nnameserverx 10.0.0.55\n"
		      "nameserver\t10.0.0.56 # three\nnameserver 10.0.0.57\n"
		      "search four.example\n"
		      "search one.example\t two.example  three.example\n");
	assert_int_equal(p.lan.dns4_n, 3);
	is(&p.lan.dns4[0], "10.0.0.53");
	is(&p.lan.dns4[2], "10.0.0.56");
	is(&p.map.dns.host[0][0], "10.0.0.53");
	is(&p.lan.dns6[0], "fe80::5");
	is(&p.map.dns.host[1][0], "fe80::5");
	assert_int_equal(p.lan.search_n, 3);
	assert_string_equal(p.lan.search[2], "three.example");
	is(&p.map.dns.match[0], NULL);
	feed("passt", "search a b c d e f g h");
	assert_int_equal(p.lan.search_n, 6);
	feed("passt", "nameserver");
	feed("passt", "nameserver \nsearch \nnameserver x\n");
	assert_true(!p.lan.dns4_n && !p.lan.search_n);
}

static void resolv_loopback(void **state)
{
	static const char stub[] = "nameserver 127.0.0.53\n";
	static const char gw[] = "nameserver 192.0.2.1\n";

	(void)state;
	/* shown as the gateway, which then stands for the resolver */
	feed("passt", stub);
	assert_int_equal(p.lan.dns4_n, 1);
	is(&p.lan.dns4[0], "192.0.2.1");
	is(&p.map.dns.match[0], "192.0.2.1");
	is(&p.map.dns.host[0][0], "127.0.0.53");
	feed("passt", "nameserver 0.0.0.0\n");
	is(&p.lan.dns4[0], "192.0.2.1");
	is(&p.map.dns.match[0], "192.0.2.1");
	feed("passt --no-map-gw", "nameserver 0.0.0.0\n");
	assert_int_equal(p.lan.dns4_n, 0);
	/* the gateway is the resolver: not the host's loopback */
	feed("passt", gw);
	is(&p.lan.dns4[0], "192.0.2.1");
	is(&p.map.dns.match[0], "192.0.2.1");
	is(&p.map.dns.host[0][0], "192.0.2.1");
	feed("passt --no-map-gw", gw);
	is(&p.lan.dns4[0], "192.0.2.1");
	is(&p.map.dns.match[0], NULL);
	/* no way to it */
	feed("passt --no-map-gw", stub);
	assert_int_equal(p.lan.dns4_n, 0);
	is(&p.map.dns.host[0][0], "127.0.0.53");
	feed("passt --no-map-gw --dns-forward 192.0.2.9", stub);
	is(&p.lan.dns4[0], "192.0.2.9");
	is(&p.map.dns.match[0], "192.0.2.9");
	is(&p.map.dns.host[0][0], "127.0.0.53");
	feed("passt --dns-forward 192.0.2.9", "nameserver 10.0.0.1\n");
	is(&p.lan.dns4[0], "10.0.0.1");
	feed("passt", "nameserver ::1\n");
	is(&p.lan.dns6[0], "fe80::1");
	is(&p.map.dns.match[1], "fe80::1");
}

static void resolv_given(void **state)
{
	static const char both[] = "nameserver 10.0.0.1\nnameserver fd00::1\n"
				   "search a b\n";

	(void)state;
	feed("passt -D 1.1.1.1", both);
	assert_int_equal(p.lan.dns4_n, 1);
	is(&p.lan.dns4[0], "1.1.1.1");
	is(&p.lan.dns6[0], "fd00::1");
	feed("passt -D none -S x", both);
	assert_true(!p.lan.dns4_n && !p.lan.dns6_n && p.lan.search_n == 1);
	feed("passt -S none --dns-host 8.8.8.8", both);
	assert_int_equal(p.lan.search_n, 0);
	is(&p.map.dns.host[0][0], "8.8.8.8");
	feed("passt -D none --dns-forward 192.0.2.9", both);
	is(&p.map.dns.host[0][0], "10.0.0.1");
	is(&p.map.dns.match[0], "192.0.2.9");
	feed("passt -4", both);
	assert_int_equal(p.lan.dns6_n, 0);
}

static void asked(unsigned i, const char *want)
{
	const struct fwd_dns *d = &p.map.dns;
	char got[FWD_DNS * ADDR_TEXT_LEN] = "", text[ADDR_TEXT_LEN];
	unsigned k;

	assert_int_equal(d->current[i], 0);
	for (k = 0; k < d->n[i]; k++) {
		strcat(got, k ? " " : "");
		strcat(got, addr_text(&d->host[i][k], text));
	}
	assert_string_equal(got, want);
}

/* Who is asked next when one does not answer */
static void resolv_order(void **state)
{
	static const char all[] = "nameserver 10.0.0.1\nnameserver fd00::1\n"
				  "nameserver 10.0.0.2\nnameserver fd00::2\n"
				  "nameserver 10.0.0.1\nnameserver 10.0.0.3\n"
				  "nameserver 10.0.0.4\n";

	(void)state;
	feed("passt", all);
	asked(0, "10.0.0.1 10.0.0.2 10.0.0.3 fd00::1 fd00::2");
	asked(1, "fd00::1 fd00::2 10.0.0.1 10.0.0.2 10.0.0.3");
	feed("passt", "nameserver 10.0.0.1\n");
	asked(0, "10.0.0.1");
	asked(1, "10.0.0.1");
	/* the guest's families are not the resolvers' */
	feed("passt -6", "nameserver 10.0.0.1\n");
	asked(1, "10.0.0.1");
	assert_true(!p.lan.dns4_n && !p.lan.dns6_n);
	feed("passt --dns-host 1.1.1.1", all);
	asked(0, "1.1.1.1");
	asked(1, "fd00::1 fd00::2 1.1.1.1");
	feed("passt --dns-host 1.1.1.1 --dns-host 2606::1", all);
	asked(0, "1.1.1.1");
	asked(1, "2606::1");
	feed("passt --dns-host 1.1.1.1", "");
	asked(0, "1.1.1.1");
	asked(1, "1.1.1.1");
	feed("passt", "");
	c.sock.v6 = false;
	resolves(all);
	asked(0, "10.0.0.1 10.0.0.2 10.0.0.3");
	asked(1, "10.0.0.1 10.0.0.2 10.0.0.3");
}

static void resolv_changes(void **state)
{
	(void)state;
	feed("passt", "nameserver 10.0.0.1\nnameserver fd00::1\nsearch a b\n");
	resolves("nameserver 10.0.0.2\nsearch c\n");
	asked(0, "10.0.0.2");
	assert_int_equal(p.lan.dns4_n, 1);
	is(&p.lan.dns4[0], "10.0.0.2");
	assert_int_equal(p.lan.dns6_n, 0);
	assert_int_equal(p.lan.search_n, 1);
	assert_string_equal(p.lan.search[0], "c");
	/* a file in the making */
	resolves("# nothing yet\n");
	asked(0, "10.0.0.2");
	asked(1, "10.0.0.2");
	is(&p.lan.dns4[0], "10.0.0.2");
	assert_int_equal(p.lan.search_n, 0);
	/* who was told the stand-in still asks there */
	resolves("nameserver 127.0.0.53\n");
	is(&p.lan.dns4[0], "192.0.2.1");
	resolves("nameserver 10.0.0.3\n");
	is(&p.lan.dns4[0], "10.0.0.3");
	is(&p.map.dns.match[0], "192.0.2.1");
	asked(0, "10.0.0.3");
	/* what was given stays */
	feed("passt -D 1.1.1.1 -S x --dns-host 9.9.9.9", "nameserver 10.0.0.1\n");
	resolves("nameserver 10.0.0.2\nnameserver fd00::2\nsearch y\n");
	assert_int_equal(p.lan.dns4_n, 1);
	is(&p.lan.dns4[0], "1.1.1.1");
	is(&p.lan.dns6[0], "fd00::2");
	asked(0, "9.9.9.9");
	assert_int_equal(p.lan.search_n, 1);
	assert_string_equal(p.lan.search[0], "x");
	/* and what is not advertised is not */
	feed("passt --no-dhcp-dns --no-dhcp-search", "");
	resolves("nameserver 10.0.0.2\nsearch y\n");
	assert_true(!p.lan.dns4_n && !p.lan.search_n);
	asked(0, "10.0.0.2");
}

static void advertising(void **state)
{
	(void)state;
	finish("pasta -q -D 1.1.1.1 1");
	assert_true(p.lan.dns4_n == 1 && !p.lan.dns6_n);
	finish("passt -q -D 1.1.1.1 -S a --no-dhcp-dns --no-dhcp-search");
	assert_true(!p.lan.dns4_n && !p.lan.search_n);
	finish("pasta -q 1");
	assert_true(!p.lan.dns4_n && !p.lan.dns6_n && !p.lan.search_n);
	finish("pasta -q --dns 1.1.1.1 -S a --dhcp-search --splice-only 1");
	assert_true(!p.lan.dns4_n && !p.lan.search_n && !p.lan.icmp);
	assert_true(p.map.host_lo_to_ns_lo);
}

/* --- rules -------------------------------------------------------------- */

static unsigned scans(const struct rules *r, uint8_t proto)
{
	unsigned i, n = 0;

	for (i = 0; i < r->n; i++)
		n += r->r[i].proto == proto && r->r[i].flags & RULE_SCAN;
	return n;
}

static void default_rules(void **state)
{
	(void)state;
	finish("passt -q -D none");
	assert_true(!c.host.n && !c.ns.n);
	finish("pasta -q 1");
	assert_true(scans(&c.host, IPPROTO_TCP) && scans(&c.ns, IPPROTO_TCP));
	assert_true(scans(&c.host, IPPROTO_UDP) && scans(&c.ns, IPPROTO_UDP));
	finish("pasta -q --no-tcp 1");
	assert_true(!scans(&c.host, IPPROTO_TCP) && !scans(&c.ns, IPPROTO_TCP));
	assert_true(scans(&c.host, IPPROTO_UDP) && scans(&c.ns, IPPROTO_UDP));
	finish("pasta -q --no-udp 1");
	assert_true(!scans(&c.host, IPPROTO_UDP) && scans(&c.ns, IPPROTO_TCP));
	finish("pasta -q -t none -U none 1");
	assert_true(!scans(&c.host, IPPROTO_TCP) && scans(&c.host, IPPROTO_UDP));
	assert_true(scans(&c.ns, IPPROTO_TCP) && !scans(&c.ns, IPPROTO_UDP));
	finish("pasta -q -t none -t 80 -u 53 -T 22 -U none 1");
	assert_int_equal(c.host.n, 2);
	assert_int_equal(c.ns.n, 1);
	assert_int_equal(c.host.r[0].first, 80);
	finish("pasta -q -6 1");
	assert_true(c.host.n && c.ns.n);
	dies("passt -q -D none --no-tcp -t 80",
	     "Can't add TCP forwarding rule, TCP not enabled");
}

/* --- callers ------------------------------------------------------------ */

static void podman(void **state)
{
	(void)state;
	finish("/usr/bin/pasta --config-net -t 8080-8080:80-80 "
	       "-t 127.0.0.1/8081-8082:81-82 -t ::1/9000-9000:90-90 "
	       "-u 5353-5353:53-53 --dns-forward 169.254.1.1 -T none -U none "
	       "--no-map-gw --quiet --netns /run/user/1000/netns/netns-1 "
	       "--map-guest-addr 169.254.1.2");
	assert_true(c.config_net && c.quiet && !c.map_gw && c.netns_only);
	assert_true(!c.foreground && !c.spawn && !p.lan.ra);
	assert_int_equal(c.host.n, 4);
	assert_int_equal(c.ns.n, 0);
	assert_int_equal(c.host.r[0].to, 80);
	is(&p.map.dns.match[0], "169.254.1.1");
	is(&p.map.guest_addr[0][0], "169.254.1.2");
	is(&p.map.host_loopback[0][0], NULL);
	assert_string_equal(c.netns, "/run/user/1000/netns/netns-1");
	finish("pasta --config-net -t none -u none -T none -U none "
	       "--dns-forward 169.254.1.1 --no-map-gw --quiet "
	       "--netns /proc/77/ns/net --map-guest-addr 169.254.1.2");
	assert_true(!c.host.n && !c.ns.n);
	/* containers.conf, then the command line: the last one wins */
	finish("pasta --config-net -a 10.0.2.15 -n 24 -g 10.0.2.2 -m 1500 "
	       "-I a0 -a 10.0.3.15 -n 16 -g 10.0.3.2 -m 9000 -I b0 "
	       "--ns-mac-addr 9a:dd:31:ea:92:98 --pid /tmp/p "
	       "-t 192.0.2.5%eth0/8080-8081:80-81 --dns-forward 10.0.2.3 "
	       "-u none -T none -U none --no-map-gw -q --netns /n "
	       "--map-guest-addr 10.9.9.9");
	is(&p.lan.guest4, "10.0.3.15");
	is(&p.lan.gw4, "10.0.3.2");
	assert_int_equal(p.lan.prefix4, 16);
	assert_int_equal(p.lan.mtu, 9000);
	assert_string_equal(ns_ifname, "b0");
	assert_true(c.ns_mac_set && c.ns_mac.b[5] == 0x98);
	assert_string_equal(c.host.r[0].ifname, "eth0");
}

static void podman_is_silent(void **state)
{
	(void)state;
	works("pasta --config-net --dns-forward 169.254.1.1 -t none -u none "
	      "-T none -U none --no-map-gw --quiet --netns /n "
	      "--map-guest-addr 169.254.1.2");
	if (strcmp(out, "Couldn't get any nameserver address\n"))
		assert_string_equal(out, ""); /* a host with a resolver */
	assert_int_equal(captured(parse, "pasta --map-guest-adr x"), 1);
	assert_non_null(strstr(out, "unrecognized option '--map-guest-adr"));
}

static void rootlesskit(void **state)
{
	(void)state;
	finish("pasta --stderr --ns-ifname=tap0 --mtu=65520 --config-net "
	       "--address=10.0.2.100 --netmask=24 --gateway=10.0.2.2 "
	       "--dns-forward=10.0.2.3 --no-map-gw --ipv4-only "
	       "--tcp-ports=auto --udp-ports=auto --host-lo-to-ns-lo 4711");
	assert_true(c.pid == 4711 && p.map.host_lo_to_ns_lo && !p.lan.v6);
	assert_int_equal(p.lan.prefix4, 24);
	assert_true(scans(&c.host, IPPROTO_TCP) == c.host.n / 2);
	is(&p.lan.guest4, "10.0.2.100");
	finish("pasta --stderr --ns-ifname=tap0 --mtu=65520 --config-net "
	       "--address=10.0.2.100 --netmask=24 --gateway=10.0.2.2 "
	       "--dns-forward=10.0.2.3 --tcp-ports=none --udp-ports=none "
	       "--userns=/proc/9/ns/user --netns=/x/netns");
	assert_true(!c.netns_only && c.userns[0] && !c.host.n);
}

static void libvirt(void **state)
{
	(void)state;
	finish("passt --one-off --socket /run/x/1-vm-net0.socket "
	       "--pid /run/x/1-vm-net0-passt.pid --mtu 1500 --interface lo "
	       "--log-file /tmp/f --hostname h --fqdn h.example "
	       "--address 172.17.2.4 --netmask 24 "
	       "--address 2001:db8:ac10:fd01::1:10 "
	       "--tcp-ports 2001:db8:ac10:fd01::1:10/22,443-460:1443-1460 "
	       "--tcp-ports 1.2.3.4%lo/2200:22,8000-8010,~8005-8007 "
	       "--udp-ports all");
	assert_true(c.one_off && c.fd == -1 && p.lan.prefix4 == 24);
	assert_string_equal(c.pid_file, "/run/x/1-vm-net0-passt.pid");
	assert_string_equal(c.ifname, "lo");
	assert_string_equal(p.lan.fqdn, "h.example");
	assert_int_equal(c.specs, 3);
	assert_true(c.host.n > 5);
	finish("passt -q --one-off --socket /s --pid /p "
	       "--tcp-ports %lo/~25,~80-81 --udp-ports ~53");
	assert_int_equal(c.host.r[0].first, 1);
	assert_int_equal(c.host.r[0].last, 24);
	assert_true(c.host.r[0].flags & RULE_WEAK);
	finish("passt --vhost-user --one-off --socket /s --pid /p");
	assert_true(c.mode == MODE_VHOST && c.one_off && !c.foreground);
}

static void qemu(void **state)
{
	(void)state;
	finish("passt --quiet --mtu 1400 --address 10.0.0.9 --netmask "
	       "255.255.255.0 --mac-addr 52:54:00:12:34:56 --gateway 10.0.0.1 "
	       "--interface lo --outbound 127.0.0.3 --outbound 127.0.0.2 "
	       "--outbound-if4 lo "
	       "--dns 10.0.0.53 --fqdn a.b --no-dhcp-dns "
	       "--no-dhcp-search --map-host-loopback 10.0.0.1 "
	       "--map-guest-addr 10.0.0.2 --dns-forward 10.0.0.3 "
	       "--dns-host 10.0.0.53 --no-icmp --no-dhcp --no-ndp --no-dhcpv6 "
	       "--no-ra --freebind --ipv4-only --search 'a b c' "
	       "--tcp-ports 22,80:8080,443 --udp-ports 53 "
	       "--pid /tmp/passt-AAAAAA.pid --fd 3");
	assert_true(c.fd == 3 && c.one_off && c.quiet && c.sock.freebind);
	assert_true(!p.lan.icmp && !p.lan.dhcp && !p.lan.ra);
	assert_int_equal(p.lan.search_n, 0);
	assert_int_equal(c.host.n, 4);
	is(&c.sock.out4, "127.0.0.2");
	finish("passt --quiet --no-tcp --no-udp --ipv6-only --pid /tmp/p "
	       "--interface lo --outbound-if6 lo --fd 3");
	assert_true(!p.lan.tcp && !p.lan.udp && !p.lan.v4);
}

static void others(void **state)
{
	(void)state;
	/* muvm, libkrun, crun, libguestfs, qemus */
	finish("passt -q -f --fd 9 -t 8080-8080:80-80 -u "
	       "127.0.0.1/53-53:53-53");
	assert_true(c.foreground && c.fd == 9 && c.host.n == 2);
	finish("passt -f --fd 4");
	finish("passt -t all -u all --no-dhcp-dns --no-map-gw --fd 5");
	assert_true(c.host.n >= 2 && c.host.r[0].flags & RULE_WEAK);
	finish("passt --one-off --socket /s --pid /p --address 169.254.2.15 "
	       "--netmask 16 --mac-addr 52:56:00:00:00:02 "
	       "--gateway 169.254.2.2");
	assert_int_equal(p.lan.prefix4, 16);
	finish("passt -4 -a 20.20.20.21 -g 20.20.20.1 -n 255.255.255.0 -m 1500 "
	       "-t 22,80 -u 53 -H QEMU -M 02:aa:bb:cc:dd:ee --runas 107:107 "
	       "-P /p -s /s -l /l -q");
	assert_true(c.runas && c.uid == 107 && c.gid == 107);
	assert_string_equal(c.log_file, "/l");
}

/* --- summary ------------------------------------------------------------ */

static void summarise(const char *line)
{
	finish(line);
	strcpy(c.socket, "/tmp/passt_1.socket");
	summary_print(&c, &h, &p, ns_ifname);
}

static void summary(void **state)
{
	static const char *const want[] = {
		"Template interface: eth0 (IPv4), eth1 (IPv6)\n",
		"MAC:\n    host: 9a:55:9a:55:9a:55\n",
		"    NAT to host 127.0.0.1: 192.0.2.1\n",
		("DHCP:\n    assign: 192.0.2.15\n    mask: 255.255.240.0\n"
		 "    router: 192.0.2.1\nDNS:\n    1.1.1.1\n"
		 "DNS search list:\n    a.example\n"),
		("NDP/DHCPv6:\n    assign: 2001:db8::15\n    router: fe80::1\n"
		 "    our link-local: fe80::1\nDNS:\n    fd00::53\n"),
		"Inbound forwarding rules (HOST):\n    TCP ",
		",addr.path=/tmp/passt_1.socket\n",
	};
	unsigned i;

	(void)state;
	captured(summarise, "passt -D 1.1.1.1 -D fd00::53 -S a.example -t 80");
	for (i = 0; i < ARRAY_SIZE(want); i++) {
		if (!strstr(out, want[i]))
			print_error("no %s in %s", want[i], out);
		assert_non_null(strstr(out, want[i]));
	}
	captured(summarise, "passt -q -D 1.1.1.1 -D fd00::53");
	assert_string_equal(out, "");
	captured(summarise, "pasta --no-dhcpv6 --netns x");
	assert_non_null(strstr(out, "\nNDP:\n"));
	assert_non_null(strstr(out, "Namespace interface: eth0\n"));
	assert_non_null(strstr(out, "Outbound forwarding rules (SPLICE):\n"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(mode_names),
		cmocka_unit_test(descriptors_of_options),
		cmocka_unit_test(unknown_mode),
		cmocka_unit_test(scans_end_at_command),
		cmocka_unit_test(pasta_targets),
		cmocka_unit_test(refusals),
		cmocka_unit_test(log_sizes),
		cmocka_unit_test(lengths),
		cmocka_unit_test(deprecated),
		cmocka_unit_test(one_word),
		cmocka_unit_test(levels),
		cmocka_unit_test(ids),
		cmocka_unit_test(channel),
		cmocka_unit_test(prefixes),
		cmocka_unit_test(dns_options),
		cmocka_unit_test(mappings),
		cmocka_unit_test(from_template),
		cmocka_unit_test(odd_templates),
		cmocka_unit_test(local_mode),
		cmocka_unit_test(families),
		cmocka_unit_test(same_file),
		cmocka_unit_test(other_family),
		cmocka_unit_test(only_v6),
		cmocka_unit_test(rules_at_once),
		cmocka_unit_test(small_mtu),
		cmocka_unit_test(interface_names),
		cmocka_unit_test(resolv),
		cmocka_unit_test(resolv_loopback),
		cmocka_unit_test(resolv_given),
		cmocka_unit_test(resolv_order),
		cmocka_unit_test(resolv_changes),
		cmocka_unit_test(advertising),
		cmocka_unit_test(default_rules),
		cmocka_unit_test(podman),
		cmocka_unit_test(podman_is_silent),
		cmocka_unit_test(rootlesskit),
		cmocka_unit_test(libvirt),
		cmocka_unit_test(qemu),
		cmocka_unit_test(others),
		cmocka_unit_test(summary),
	};

	log_init("passt");
	return cmocka_run_group_tests(tests, templates, NULL);
}
