/* SPDX-License-Identifier: GPL-2.0-or-later */
/* unit: addr log util */
#include "rules.h"
#include "log.h"
#include "util.h"

#include <netinet/in.h>
#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

/* Everything on but what is named; ports from @first to @last are ephemeral */
enum { V4 = 1, V6 = 2, TCP = 4, UDP = 8, PASTA = 16, BIND = 32 };
#define ENV(off, first, last)                                                  \
	{                                                                      \
		!((off) & V4),	 !((off) & V6),	   !((off) & TCP),             \
		!((off) & UDP),	 !((off) & PASTA), !((off) & BIND),            \
		first,		 last                                          \
	}

static const struct rules_env env = ENV(0, 32768, 60999);
static const struct rules_env upper = ENV(0, 49152, 65535);
static const struct rules_env only4 = ENV(V6, 32768, 60999);
static const struct rules_env only6 = ENV(V4, 32768, 60999);
static const struct rules_env no_tcp = ENV(TCP, 32768, 60999);
static const struct rules_env no_udp = ENV(UDP, 32768, 60999);
static const struct rules_env passt = ENV(PASTA, 32768, 60999);
static const struct rules_env no_bind = ENV(BIND, 32768, 60999);
static const struct rules_env no_bind4 = ENV(BIND | V6, 32768, 60999);
static const struct rules_env no_bind6 = ENV(BIND | V4, 32768, 60999);

static struct rules t;
static char shown[RULES_MAX * RULE_TEXT], err[RULE_ERR];

/* All rules of @t, one a line */
static const char *show(void)
{
	unsigned i, sockets = 0;
	char *p = shown;

	*p = '\0';
	for (i = 0; i < t.n; i++) {
		char text[RULE_TEXT];

		p += sprintf(p, "%s\n", rule_text(&t.r[i], text));
		sockets += (unsigned)t.r[i].last - t.r[i].first + 1;
	}
	assert_int_equal(t.sockets, sockets);
	return shown;
}

/* The specifiers of @list, separated by blanks, each with its letter in front:
 * "t80 u53".  Stops at the first refusal. */
static bool add_all(const char *list, const struct rules_env *e)
{
	char copy[1024], *save, *w;

	memset(&t, 0, sizeof(t));
	snprintf(copy, sizeof(copy), "%s", list);
	*err = '\0';
	for (w = strtok_r(copy, " ", &save); w; w = strtok_r(NULL, " ", &save)) {
		static struct rules was;

		t.splice = *w == 'T' || *w == 'U';
		was = t;
		if (rules_add_spec(&t, *w, w + 1, e, err))
			continue;
		/* A refusal changes nothing that counts */
		assert_int_equal(t.n, was.n);
		assert_int_equal(t.sockets, was.sockets);
		assert_memory_equal(t.r, was.r, was.n * sizeof(t.r[0]));
		return false;
	}
	return true;
}

static const struct good {
	const char *specs;
	const struct rules_env *env;
	const char *rules;
} good[] = {
	/* ports and ranges */
	{ "t80", &env, "TCP [*]:80  =>  80 \n" },
	{ "u80", &env, "UDP [*]:80  =>  80 \n" },
	{ "t1", &env, "TCP [*]:1  =>  1 \n" },
	{ "t65535", &env, "TCP [*]:65535  =>  65535 \n" },
	{ "t1-65535", &env, "TCP [*]:1-65535  =>  1-65535 \n" },
	{ "t22-22", &env, "TCP [*]:22  =>  22 \n" },
	{ "t0080", &env, "TCP [*]:80  =>  80 \n" },
	{ "t22,80", &env, "TCP [*]:22  =>  22 \nTCP [*]:80  =>  80 \n" },
	{ "t80 u80", &env, "TCP [*]:80  =>  80 \nUDP [*]:80  =>  80 \n" },
	{ "t[*]/80", &env, "TCP [*]:80  =>  80 \n" },
	{ "t[*]%eth0/80", &env, "TCP [*]%eth0:80  =>  80 \n" },
	/* targets */
	{ "t80:8080", &env, "TCP [*]:80  =>  8080 \n" },
	{ "t80-82:8080-8082", &env, "TCP [*]:80-82  =>  8080-8082 \n" },
	{ "t65534-65535:1-2", &env, "TCP [*]:65534-65535  =>  1-2 \n" },
	{ "t1-2:65534-65535", &env, "TCP [*]:1-2  =>  65534-65535 \n" },
	{ "t0.0.0.0/80:192.0.2.1", &env,
	  "TCP [0.0.0.0]:80  =>  192.0.2.1:80 \n" },
	{ "t0.0.0.0/80:[192.0.2.1]", &env,
	  "TCP [0.0.0.0]:80  =>  192.0.2.1:80 \n" },
	{ "t0.0.0.0/80-81:192.0.2.1/90-91", &env,
	  "TCP [0.0.0.0]:80-81  =>  192.0.2.1:90-91 \n" },
	{ "t[::]/80:2001:db8::1", &env,
	  "TCP [::]:80  =>  2001:db8::1:80 \n" },
	{ "t[::]/80:2001:db8::1/90", &env,
	  "TCP [::]:80  =>  2001:db8::1:90 \n" },
	{ "t::/80:[2001:db8::1]/90", &env,
	  "TCP [::]:80  =>  2001:db8::1:90 \n" },
	/* one family only: its wildcard may have a target, slash or not */
	{ "t80:192.0.2.1/90", &only4,
	  "TCP [0.0.0.0]:80  =>  192.0.2.1:90 \n" },
	{ "t22,80:[2001:db8::1]/90", &only6,
	  "TCP [::]:22  =>  22 \nTCP [::]:80  =>  2001:db8::1:90 \n" },
	/* listening addresses */
	{ "t/80", &env, "TCP [*]:80  =>  80 \n" },
	{ "t*/80", &env, "TCP [*]:80  =>  80 \n" },
	{ "t%eth0/80", &env, "TCP [*]%eth0:80  =>  80 \n" },
	{ "t*%eth0/80", &env, "TCP [*]%eth0:80  =>  80 \n" },
	{ "t%abcdefghijklmno/80", &env,
	  "TCP [*]%abcdefghijklmno:80  =>  80 \n" },
	{ "t%.../80", &env, "TCP [*]%...:80  =>  80 \n" },
	{ "t192.0.2.1/80", &env, "TCP [192.0.2.1]:80  =>  80 \n" },
	{ "t[192.0.2.1]/80", &env, "TCP [192.0.2.1]:80  =>  80 \n" },
	{ "t192.0.2.1%eth0/80,81:82", &env,
	  "TCP [192.0.2.1]%eth0:80  =>  80 \n"
	  "TCP [192.0.2.1]%eth0:81  =>  82 \n" },
	{ "t2001:db8::1/80", &env, "TCP [2001:db8::1]:80  =>  80 \n" },
	{ "t[2001:db8::1]/80", &env, "TCP [2001:db8::1]:80  =>  80 \n" },
	{ "tfe80::1%eth0/80", &env, "TCP [fe80::1]%eth0:80  =>  80 \n" },
	{ "t[fe80::1]%eth0/80", &env, "TCP [fe80::1]%eth0:80  =>  80 \n" },
	{ "t0.0.0.0/80", &env, "TCP [0.0.0.0]:80  =>  80 \n" },
	{ "t::/80", &env, "TCP [::]:80  =>  80 \n" },
	{ "t80", &only4, "TCP [0.0.0.0]:80  =>  80 \n" },
	{ "t*%lo/80", &only6, "TCP [::]%lo:80  =>  80 \n" },
	/* a bare IPv6 address that could also be a port with its target */
	{ "t1234:abcd::1/80", &env, "TCP [1234:abcd::1]:80  =>  80 \n" },
	/* exclusions: any place, overlapping, at the ends, split the target */
	{ "t20-30,~25", &env,
	  "TCP [*]:20-24  =>  20-24 \nTCP [*]:26-30  =>  26-30 \n" },
	{ "t~25,20-30:120-130", &env,
	  "TCP [*]:20-24  =>  120-124 \nTCP [*]:26-30  =>  126-130 \n" },
	{ "t20-30,~24-26,~25-27,~0-20,~30-65535", &env,
	  "TCP [*]:21-23  =>  21-23 \nTCP [*]:28-29  =>  28-29 \n" },
	{ "t0-2,~0", &env, "TCP [*]:1-2  =>  1-2 \n" },
	{ "t65530-65535,~65535", &env,
	  "TCP [*]:65530-65534  =>  65530-65534 \n" },
	{ "t80,~80", &env, "" },
	{ "t~1-65535", &env, "" },
	/* everything: not the ephemeral ports, best effort */
	{ "tall", &env,
	  "TCP [*]:1-32767  =>  1-32767  (best effort)\n"
	  "TCP [*]:61000-65535  =>  61000-65535  (best effort)\n" },
	{ "tall", &upper, "TCP [*]:1-49151  =>  1-49151  (best effort)\n" },
	{ "tall,all", &upper, "TCP [*]:1-49151  =>  1-49151  (best effort)\n" },
	{ "t~22", &upper,
	  "TCP [*]:1-21  =>  1-21  (best effort)\n"
	  "TCP [*]:23-49151  =>  23-49151  (best effort)\n" },
	{ "tall,~22", &upper,
	  "TCP [*]:1-21  =>  1-21  (best effort)\n"
	  "TCP [*]:23-49151  =>  23-49151  (best effort)\n" },
	{ "t192.0.2.1%eth0/all", &upper,
	  "TCP [192.0.2.1]%eth0:1-49151  =>  1-49151  (best effort)\n" },
	{ "t0.0.0.0/all:192.0.2.9", &upper,
	  "TCP [0.0.0.0]:1-49151  =>  192.0.2.9:1-49151  (best effort)\n" },
	{ "t::/all:[2001:db8::9],~1", &upper,
	  "TCP [::]:2-49151  =>  2001:db8::9:2-49151  (best effort)\n" },
	/* "all" beside named ports is not dropped */
	{ "t20001:20002,all", &upper,
	  "TCP [*]:20001  =>  20002 \n"
	  "TCP [*]:1-20000  =>  1-20000  (best effort)\n"
	  "TCP [*]:20002-49151  =>  20002-49151  (best effort)\n" },
	{ "tall,20001,~5", &upper,
	  "TCP [*]:20001  =>  20001 \n"
	  "TCP [*]:1-4  =>  1-4  (best effort)\n"
	  "TCP [*]:6-20000  =>  6-20000  (best effort)\n"
	  "TCP [*]:20002-49151  =>  20002-49151  (best effort)\n" },
	{ "t60000,all", &upper, /* named, so ephemeral does not matter */
	  "TCP [*]:60000  =>  60000 \n"
	  "TCP [*]:1-49151  =>  1-49151  (best effort)\n" },
	/* scanning */
	{ "tauto", &upper,
	  "TCP [*]:1-49151  =>  1-49151  (best effort) (auto-scan)\n" },
	{ "t80-82,auto", &env, "TCP [*]:80-82  =>  80-82  (auto-scan)\n" },
	{ "tauto,80-82", &env, "TCP [*]:80-82  =>  80-82  (auto-scan)\n" },
	{ "t192.0.2.1/auto,~1", &upper,
	  "TCP [192.0.2.1]:2-49151  =>  2-49151  (best effort) (auto-scan)\n" },
	{ "tauto,all,80:81", &upper,
	  "TCP [*]:80  =>  81  (auto-scan)\n"
	  "TCP [*]:1-79  =>  1-79  (best effort) (auto-scan)\n"
	  "TCP [*]:81-49151  =>  81-49151  (best effort) (auto-scan)\n" },
	/* none */
	{ "tnone", &env, "" },
	{ "tnone tnone t80", &env, "TCP [*]:80  =>  80 \n" },
	{ "u80 tnone", &env, "UDP [*]:80  =>  80 \n" },
	{ "tnone", &no_tcp, "" },
	{ "Tnone", &no_tcp, "" },
	/* from the namespace */
	{ "T80 U53", &env, "TCP [*]%lo:80  =>  80 \nUDP [*]%lo:53  =>  53 \n" },
	{ "T/80", &env, "TCP [*]%lo:80  =>  80 \n" },
	{ "T80:81", &only4, "TCP [0.0.0.0]%lo:80  =>  81 \n" },
	{ "T80", &only6, "TCP [::]%lo:80  =>  80 \n" },
	{ "T80", &no_bind,
	  "TCP [127.0.0.1]:80  =>  80 \nTCP [::1]:80  =>  80 \n" },
	{ "T80,~1,auto", &no_bind4,
	  "TCP [127.0.0.1]:80  =>  80  (auto-scan)\n" },
	{ "T80", &no_bind6, "TCP [::1]:80  =>  80 \n" },
	{ "T/80", &no_bind4, "TCP [127.0.0.1]:80  =>  80 \n" },
	{ "Tauto", &upper,
	  "TCP [*]%lo:1-49151  =>  1-49151  (best effort) (auto-scan)\n" },
	/* a disabled protocol does not hinder the other one */
	{ "u80", &no_tcp, "UDP [*]:80  =>  80 \n" },
	{ "t80", &no_udp, "TCP [*]:80  =>  80 \n" },
	/* an identical rule is neither error nor conflict */
	{ "t80 t80", &env, "TCP [*]:80  =>  80 \n" },
	{ "t80,80,80:80", &env, "TCP [*]:80  =>  80 \n" },
	{ "t192.0.2.1/80 t[192.0.2.1]/80-80", &env,
	  "TCP [192.0.2.1]:80  =>  80 \n" },
	{ "tall tall", &upper, "TCP [*]:1-49151  =>  1-49151  (best effort)\n" },
	{ "T80 T80", &no_bind,
	  "TCP [127.0.0.1]:80  =>  80 \nTCP [::1]:80  =>  80 \n" },
	/* no conflicts: families, addresses, neighbouring ranges */
	{ "t0.0.0.0/80 t::/80", &env,
	  "TCP [0.0.0.0]:80  =>  80 \nTCP [::]:80  =>  80 \n" },
	{ "t0.0.0.0/80 t2001:db8::1/80 t::1/80", &env,
	  "TCP [0.0.0.0]:80  =>  80 \nTCP [2001:db8::1]:80  =>  80 \n"
	  "TCP [::1]:80  =>  80 \n" },
	{ "t192.0.2.1/80 t192.0.2.2/80", &env,
	  "TCP [192.0.2.1]:80  =>  80 \nTCP [192.0.2.2]:80  =>  80 \n" },
	{ "t80-89 t90 t79", &env,
	  "TCP [*]:80-89  =>  80-89 \nTCP [*]:90  =>  90 \n"
	  "TCP [*]:79  =>  79 \n" },
	/* as Podman, */
	{ "t8080-8080:80-80 t127.0.0.1/8081-8082:81-82 t::1/9000-9000:90-90",
	  &env,
	  "TCP [*]:8080  =>  80 \n"
	  "TCP [127.0.0.1]:8081-8082  =>  81-82 \n"
	  "TCP [::1]:9000  =>  90 \n" },
	{ "u192.0.2.5%eth0/53-53:5353-5353 ufe80::5%eth0/53-53:5353-5353", &env,
	  "UDP [192.0.2.5]%eth0:53  =>  5353 \n"
	  "UDP [fe80::5]%eth0:53  =>  5353 \n" },
	{ "t0.0.0.0/8080 t[::]/8080 t0.0.0.0/90-92 t[::]/90-92", &env,
	  "TCP [0.0.0.0]:8080  =>  8080 \nTCP [::]:8080  =>  8080 \n"
	  "TCP [0.0.0.0]:90-92  =>  90-92 \nTCP [::]:90-92  =>  90-92 \n" },
	/* RootlessKit, */
	{ "t0.0.0.0/8080:80 t::/8080:80 u127.0.0.1/53:5353", &env,
	  "TCP [0.0.0.0]:8080  =>  80 \nTCP [::]:8080  =>  80 \n"
	  "UDP [127.0.0.1]:53  =>  5353 \n" },
	/* and libvirt write them */
	{ "t2001:db8:ac10:fd01::1:10/22,443-445:1443-1445", &env,
	  "TCP [2001:db8:ac10:fd01::1:10]:22  =>  22 \n"
	  "TCP [2001:db8:ac10:fd01::1:10]:443-445  =>  1443-1445 \n" },
	{ "t1.2.3.4%eth0/2200:22,8000-8010,~8005-8007", &env,
	  "TCP [1.2.3.4]%eth0:2200  =>  22 \n"
	  "TCP [1.2.3.4]%eth0:8000-8004  =>  8000-8004 \n"
	  "TCP [1.2.3.4]%eth0:8008-8010  =>  8008-8010 \n" },
	{ "t%eth0/~25,~80-81", &upper,
	  "TCP [*]%eth0:1-24  =>  1-24  (best effort)\n"
	  "TCP [*]%eth0:26-79  =>  26-79  (best effort)\n"
	  "TCP [*]%eth0:82-49151  =>  82-49151  (best effort)\n" },
	{ "t1.2.3.4/all u%eth0/all", &upper,
	  "TCP [1.2.3.4]:1-49151  =>  1-49151  (best effort)\n"
	  "UDP [*]%eth0:1-49151  =>  1-49151  (best effort)\n" },
	/* two ports may become one */
	{ "t80:90,81:90", &env,
	  "TCP [*]:80  =>  90 \nTCP [*]:81  =>  90 \n" },
};

static void accepted(void **state)
{
	unsigned i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(good); i++) {
		if (!add_all(good[i].specs, good[i].env))
			fail_msg("%s: %s", good[i].specs, err);
		if (strcmp(show(), good[i].rules))
			fail_msg("%s:\n%s", good[i].specs, shown);
	}
}

#define INVALID(s) "Invalid port specifier '" s "'"
#define FROM_0	   "Forwarding rule attempts to map from port 0"
#define TO_0	   "Forwarding rule attempts to map to port 0"
#define CONFLICT   "Forwarding configuration conflict: "

static const struct bad {
	const char *specs;
	const struct rules_env *env;
	const char *err;
} bad[] = {
	/* shape */
	{ "t", &env, INVALID("") },
	{ "t,", &env, INVALID(",") },
	{ "t80,", &env, INVALID("80,") },
	{ "t,80", &env, INVALID(",80") },
	{ "t80,,81", &env, INVALID("80,,81") },
	{ "tx", &env, INVALID("x") },
	{ "t80x", &env, INVALID("80x") },
	{ "t-80", &env, INVALID("-80") },
	{ "t0x50", &env, INVALID("0x50") },
	{ "t80-", &env, INVALID("80-") },
	{ "t80-81-82", &env, INVALID("80-81-82") },
	{ "t81-80", &env, INVALID("81-80") },
	{ "t65536", &env, INVALID("65536") },
	{ "t1-65536", &env, INVALID("1-65536") },
	{ "t4294967376", &env, INVALID("4294967376") },
	{ "t18446744073709551696", &env, INVALID("18446744073709551696") },
	{ "tAll", &env, INVALID("All") },
	{ "tallx", &env, INVALID("allx") },
	{ "tautomatic", &env, INVALID("automatic") },
	{ "tauto:1.2.3.4", &env, INVALID("auto:1.2.3.4") },
	{ "tall:", &env, INVALID("all:") },
	{ "tall:80", &env, INVALID("all:80") },
	{ "tall:1.2.3.4/80", &env, INVALID("all:1.2.3.4/80") },
	{ "t0.0.0.0/all:192.0.2.1,all", &env,
	  INVALID("0.0.0.0/all:192.0.2.1,all") },
	{ "t~", &env, INVALID("~") },
	{ "t~x", &env, INVALID("~x") },
	{ "t~80:81", &env, INVALID("~80:81") },
	{ "t~81-80", &env, INVALID("~81-80") },
	{ "t~65536", &env, INVALID("~65536") },
	{ "tnone,80", &env, INVALID("none,80") },
	{ "t80,none", &env, INVALID("80,none") },
	{ "t1.2.3.4/none", &env, INVALID("1.2.3.4/none") },
	/* targets */
	{ "t80:", &env, INVALID("80:") },
	{ "t80:x", &env, INVALID("80:x") },
	{ "t80:65536", &env, INVALID("80:65536") },
	{ "t80:81-82", &env, INVALID("80:81-82") },
	{ "t80-81:82", &env, INVALID("80-81:82") },
	{ "t80-81:90-92", &env, INVALID("80-81:90-92") },
	{ "t80:81:82", &env, INVALID("80:81:82") },
	{ "t0.0.0.0/80:1.2.3.4/", &env, INVALID("0.0.0.0/80:1.2.3.4/") },
	{ "t0.0.0.0/80:/80", &env, INVALID("0.0.0.0/80:/80") },
	{ "t0.0.0.0/80:1.2.3.4/81/82", &env,
	  INVALID("0.0.0.0/80:1.2.3.4/81/82") },
	{ "t0.0.0.0/80-81:1.2.3.4/90", &env,
	  INVALID("0.0.0.0/80-81:1.2.3.4/90") },
	{ "t0.0.0.0/80:[1.2.3.4", &env, INVALID("0.0.0.0/80:[1.2.3.4") },
	{ "t0.0.0.0/80:[", &env, INVALID("0.0.0.0/80:[") },
	{ "t0.0.0.0/80:[]", &env, INVALID("0.0.0.0/80:[]") },
	{ "t::/80:[::]", &env, INVALID("::/80:[::]") },
	{ "t0.0.0.0/80:0.0.0.0", &env, "Target address 0.0.0.0 is not unicast" },
	{ "t0.0.0.0/80:224.0.0.1", &env,
	  "Target address 224.0.0.1 is not unicast" },
	{ "t::/80:ff02::1/81", &env, "Target address ff02::1 is not unicast" },
	{ "t0.0.0.0/80:255.255.255.255", &env,
	  "Target address 255.255.255.255 is not unicast" },
	{ "t80:192.0.2.1", &env,
	  "Target address 192.0.2.1 needs a listener of its own family, "
	  "use '0.0.0.0/'" },
	{ "t%eth0/80:2001:db8::1", &env,
	  "Target address 2001:db8::1 needs a listener of its own family, "
	  "use '[::]/'" },
	{ "tall:192.0.2.1", &env,
	  "Target address 192.0.2.1 needs a listener of its own family, "
	  "use '0.0.0.0/'" },
	{ "t0.0.0.0/80:2001:db8::1", &env,
	  "Target address 2001:db8::1 is not of the family of the listening "
	  "address" },
	{ "t::1/80:192.0.2.1", &env,
	  "Target address 192.0.2.1 is not of the family of the listening "
	  "address" },
	/* listening addresses */
	{ "t1.2.3.4/", &env, INVALID("1.2.3.4/") },
	{ "t/", &env, INVALID("/") },
	{ "t1.2.3/80", &env, INVALID("1.2.3/80") },
	{ "tx/80", &env, INVALID("x/80") },
	{ "t**/80", &env, INVALID("**/80") },
	{ "t[]/80", &env, INVALID("[]/80") },
	{ "t[::1/80", &env, INVALID("[::1/80") },
	{ "t::1]/80", &env, INVALID("::1]/80") },
	{ "t[fe80::1%eth0]/80", &env, INVALID("[fe80::1%eth0]/80") },
	{ "t%/80", &env, INVALID("%/80") },
	{ "t%./80", &env, INVALID("%./80") },
	{ "t%../80", &env, INVALID("%../80") },
	{ "t%abcdefghijklmnop/80", &env, INVALID("%abcdefghijklmnop/80") },
	{ "t%a\tb/80", &env, INVALID("%a\tb/80") },
	{ "t1.2.3.4/5.6.7.8/80", &env, INVALID("1.2.3.4/5.6.7.8/80") },
	/* port 0 */
	{ "t0", &env, FROM_0 },
	{ "t0-80", &env, FROM_0 },
	{ "t0:80", &env, FROM_0 },
	{ "t80:0", &env, TO_0 },
	{ "t80-81:0-1", &env, TO_0 },
	/* what is off */
	{ "t80", &no_tcp, "Can't add TCP forwarding rule, TCP not enabled" },
	{ "Tauto", &no_tcp, "Can't add TCP forwarding rule, TCP not enabled" },
	{ "u80", &no_udp, "Can't add UDP forwarding rule, UDP not enabled" },
	{ "t1.2.3.4/80", &only6, "IPv4 forward, but IPv4 not enabled" },
	{ "t0.0.0.0/80", &only6, "IPv4 forward, but IPv4 not enabled" },
	{ "t::1/80", &only4, "IPv6 forward, but IPv6 not enabled" },
	{ "t::/80", &only4, "IPv6 forward, but IPv6 not enabled" },
	{ "tauto", &passt, "'auto' port forwarding is only allowed for pasta" },
	{ "t80,auto", &passt,
	  "'auto' port forwarding is only allowed for pasta" },
	/* none */
	{ "t80 tnone", &env, "-t none conflicts with previous options" },
	{ "u80 unone", &env, "-u none conflicts with previous options" },
	{ "T80 Tnone", &env, "-T none conflicts with previous options" },
	{ "U80 Unone", &env, "-U none conflicts with previous options" },
	/* from the namespace */
	{ "T127.0.0.1/80", &env,
	  "Listening address not allowed for -T 127.0.0.1/80" },
	{ "U[::1]/80", &env, "Listening address not allowed for -U [::1]/80" },
	{ "T%eth0/80", &no_bind,
	  "Listening address not allowed for -T %eth0/80" },
	{ "T*/80", &env, "Listening address not allowed for -T */80" },
	{ "T80:192.0.2.1", &env,
	  "Target address 192.0.2.1 not allowed for a namespace's rule" },
	/* conflicts */
	{ "t80 t80:81", &env,
	  CONFLICT "TCP [*]:80  =>  81  versus TCP [*]:80  =>  80 " },
	{ "t80,80:81", &env,
	  CONFLICT "TCP [*]:80  =>  81  versus TCP [*]:80  =>  80 " },
	{ "t80-90 t90-91", &env,
	  CONFLICT "TCP [*]:90-91  =>  90-91  versus "
		   "TCP [*]:80-90  =>  80-90 " },
	{ "t80-90 t79-80", &env,
	  CONFLICT "TCP [*]:79-80  =>  79-80  versus "
		   "TCP [*]:80-90  =>  80-90 " },
	{ "t80-90 t85", &env,
	  CONFLICT "TCP [*]:85  =>  85  versus TCP [*]:80-90  =>  80-90 " },
	{ "u80 t80 t80,auto", &env,
	  CONFLICT "TCP [*]:80  =>  80  (auto-scan) versus "
		   "TCP [*]:80  =>  80 " },
	{ "t80 t192.0.2.1/80", &env,
	  CONFLICT "TCP [192.0.2.1]:80  =>  80  versus TCP [*]:80  =>  80 " },
	{ "t2001:db8::1/80 t80", &env,
	  CONFLICT "TCP [*]:80  =>  80  versus "
		   "TCP [2001:db8::1]:80  =>  80 " },
	{ "t80 t0.0.0.0/80", &env,
	  CONFLICT "TCP [0.0.0.0]:80  =>  80  versus TCP [*]:80  =>  80 " },
	{ "t80 t::/80", &env,
	  CONFLICT "TCP [::]:80  =>  80  versus TCP [*]:80  =>  80 " },
	{ "t0.0.0.0/80 t127.0.0.1/80", &env,
	  CONFLICT "TCP [127.0.0.1]:80  =>  80  versus "
		   "TCP [0.0.0.0]:80  =>  80 " },
	{ "t::1/80 t::/80", &env,
	  CONFLICT "TCP [::]:80  =>  80  versus TCP [::1]:80  =>  80 " },
	{ "t192.0.2.1%eth0/80 t192.0.2.1%eth1/80", &env, /* names: no help */
	  CONFLICT "TCP [192.0.2.1]%eth1:80  =>  80  versus "
		   "TCP [192.0.2.1]%eth0:80  =>  80 " },
	/* all or nothing: 79 must not stay */
	{ "t80 t79,80:81", &env,
	  CONFLICT "TCP [*]:80  =>  81  versus TCP [*]:80  =>  80 " },
	{ "t8080 tall", &upper,
	  CONFLICT "TCP [*]:1-49151  =>  1-49151  (best effort) versus "
		   "TCP [*]:8080  =>  8080 " },
};

static void refused(void **state)
{
	unsigned i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		if (add_all(bad[i].specs, bad[i].env))
			fail_msg("%s was taken:\n%s", bad[i].specs, show());
		if (strcmp(err, bad[i].err))
			fail_msg("%s: %s", bad[i].specs, err);
	}
}

static void blanks(void **state)
{
	static const char *const list[] = { "80 -81", "%a b/80", " ", "80, ,81",
					    "1.2.3.4 /80", "++80", "+", "- 80",
					    "8 0" };
	static const struct {
		const char *spec, *rules;
	} taken[] = {
		{ " 80", "TCP [*]:80  =>  80 \n" },
		{ "\t80 ", "TCP [*]:80  =>  80 \n" },
		{ "+80", "TCP [*]:80  =>  80 \n" },
		{ "80, 81", "TCP [*]:80  =>  80 \nTCP [*]:81  =>  81 \n" },
		{ "80 ,81", "TCP [*]:80  =>  80 \nTCP [*]:81  =>  81 \n" },
		{ "80-81: 90-91", "TCP [*]:80-81  =>  90-91 \n" },
		{ " 80- 82, ~ 81",
		  "TCP [*]:80  =>  80 \nTCP [*]:82  =>  82 \n" },
		{ " 0.0.0.0/ 80: 192.0.2.1/ 90",
		  "TCP [0.0.0.0]:80  =>  192.0.2.1:90 \n" },
		{ " none", "" },
	};
	unsigned i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(taken); i++) {
		memset(&t, 0, sizeof(t));
		if (!rules_add_spec(&t, 't', taken[i].spec, &env, err))
			fail_msg("%s", err);
		assert_string_equal(show(), taken[i].rules);
	}
	memset(&t, 0, sizeof(t));
	for (i = 0; i < ARRAY_SIZE(list); i++) {
		assert_false(rules_add_spec(&t, 't', list[i], &env, err));
		assert_int_equal(strncmp(err, "Invalid port specifier", 22), 0);
	}
}

/* What users of container engines write */
static void hints(void **state)
{
	static const struct {
		char opt;
		const char *spec, *hint;
	} list[] = {
		{ 't', "127.0.0.1:8080:80", "-t 127.0.0.1/8080:80" },
		{ 't', "127.0.0.1:8080", "-t 127.0.0.1/8080" },
		{ 'u', "[::1]:53:53", "-u [::1]/53:53" },
		{ 't', "*:80", "-t */80" },
		{ 't', "8080:80/tcp", "-t 8080:80" },
		{ 't', "53:53/udp", "-u 53:53" },
		{ 'T', "53/udp", "-U 53" },
		{ 't', "192.0.2.1:53:53/udp", "-u 192.0.2.1/53:53" },
		{ 't', "/tcp", NULL },
		{ 'T', "127.0.0.1:80", NULL },
		{ 't', "localhost:80", NULL },
		{ 't', "[::1:80", NULL },
	};
	char want[256];
	unsigned i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(list); i++) {
		memset(&t, 0, sizeof(t));
		t.splice = list[i].opt == 'T';
		snprintf(want, sizeof(want), "Invalid port specifier '%s'%s%s%s",
			 list[i].spec, list[i].hint ? ", did you mean '" : "",
			 list[i].hint ? list[i].hint : "",
			 list[i].hint ? "'?" : "");
		assert_false(rules_add_spec(&t, list[i].opt, list[i].spec, &env,
					    err));
		assert_string_equal(err, want);
	}
}

static void long_texts(void **state)
{
	static char big[100000];
	unsigned i;

	(void)state;
	memset(&t, 0, sizeof(t));
	memset(big, '8', sizeof(big) - 1);
	assert_false(rules_add_spec(&t, 't', big, &env, err));
	assert_int_equal(strlen(err), RULE_ERR - 1);
	big[50000] = '/';
	assert_false(rules_add_spec(&t, 't', big, &env, err));
	big[0] = '%';
	assert_false(rules_add_spec(&t, 't', big, &env, err));
	memset(big, 0, sizeof(big));
	for (i = 0; i < 10000; i++) /* long, but right */
		strcpy(big + 3 * i, i == 9999 ? "90" : "~9,");
	assert_true(rules_add_spec(&t, 't', big, &env, err));
	assert_string_equal(show(), "TCP [*]:90  =>  90 \n");
}

static void too_many_rules(void **state)
{
	char spec[16];
	unsigned i;

	(void)state;
	memset(&t, 0, sizeof(t));
	for (i = 1; i < RULES_MAX; i++) {
		snprintf(spec, sizeof(spec), "%u", i);
		assert_true(rules_add_spec(&t, i % 2 ? 't' : 'u', spec, &env,
					   err));
	}
	assert_false(rules_add_spec(&t, 't', "1000,1001", &env, err));
	assert_string_equal(err, "Too many forwarding rules (maximum 255)");
	assert_int_equal(t.n, RULES_MAX - 1);
	assert_true(rules_add_spec(&t, 't', "1000", &env, err));
	assert_true(rules_add_spec(&t, 't', "1000", &env, err));
	assert_false(rules_add_spec(&t, 't', "1001", &env, err));
	assert_int_equal(t.n, RULES_MAX);
}

static void too_many_ports(void **state)
{
	char spec[32];
	unsigned i;

	(void)state;
	memset(&t, 0, sizeof(t));
	for (i = 1; i <= 5; i++) {
		snprintf(spec, sizeof(spec), "127.0.0.%u/1-65535", i);
		assert_true(rules_add_spec(&t, 't', spec, &env, err));
	}
	assert_int_equal(t.sockets, 5 * 65535);
	assert_true(rules_add_spec(&t, 'u', "1-5", &env, err));
	assert_false(rules_add_spec(&t, 'u', "6", &env, err));
	assert_string_equal(err, "Too many forwarded ports (maximum 327680)");
	assert_int_equal(t.sockets, RULES_SOCKETS);
	assert_int_equal(t.n, 6);
}

/* What the control protocol may bring and no text can say */
static void strange_rules(void **state)
{
	static const struct rule sane = { .flags = RULE_DUAL,
					  .proto = IPPROTO_TCP,
					  .first = 80,
					  .last = 81,
					  .to = 80 };
	struct rule r;

	(void)state;
#define REFUSED(e, text, ...)                                                  \
	do {                                                                   \
		memset(&t, 0, sizeof(t));                                      \
		r = sane;                                                      \
		__VA_ARGS__;                                                   \
		assert_false(rules_add(&t, &r, e, err));                       \
		assert_string_equal(err, text);                                \
		assert_int_equal(t.n, 0);                                      \
	} while (0)
	memset(&t, 0, sizeof(t));
	assert_true(rules_add(&t, &sane, &env, err));
	REFUSED(&env, "Forwarding rule with bad range of ports", r.first = 82);
	REFUSED(&env, TO_0, r.to = 65535); /* wraps */
	REFUSED(&env, TO_0, r.to = 0);
	REFUSED(&env, FROM_0, r.first = 0);
	REFUSED(&env, FROM_0, r.first = r.last = 0);
	REFUSED(&env, "Unsupported protocol 132 in forwarding rule",
		r.proto = 132);
	REFUSED(&env, "Unknown flags in forwarding rule", r.flags = 0x81);
	REFUSED(&passt, "'auto' port forwarding is only allowed for pasta",
		r.flags |= RULE_SCAN);
	REFUSED(&env, "Dual-stack forwarding rule with address",
		r.listen = addr_v4(1, 2, 3, 4));
	REFUSED(&only4, "IPv6 forward, but IPv6 not enabled", (void)0);
	REFUSED(&only6, "IPv4 forward, but IPv4 not enabled", (void)0);
	REFUSED(&env, "Invalid interface name in forwarding rule",
		memset(r.ifname, 'x', sizeof(r.ifname)));
	REFUSED(&env, "Invalid interface name in forwarding rule",
		strcpy(r.ifname, "a/b"));
	REFUSED(&env, "Forwarding rule of a namespace must be bound to "
		      "loopback", t.splice = true);
	REFUSED(&env, "Forwarding rule of a namespace must be bound to "
		      "loopback", t.splice = true, strcpy(r.ifname, "eth0"));
	memset(&t, 0, sizeof(t));
	r = sane;
	r.first = r.last = r.to = 65535;
	assert_true(rules_add(&t, &r, &env, err));
}

static void deleting(void **state)
{
	struct rule r;

	(void)state;
	assert_true(add_all("t80-82 t22 u53,all", &upper));
	r = t.r[1];
	assert_true(rules_delete(&t, &r));
	assert_false(rules_delete(&t, &r));
	assert_string_equal(show(),
			    "TCP [*]:80-82  =>  80-82 \n"
			    "UDP [*]:53  =>  53 \n"
			    "UDP [*]:1-52  =>  1-52  (best effort)\n"
			    "UDP [*]:54-49151  =>  54-49151  (best effort)\n");
	r = t.r[3];
	r.flags &= (uint8_t)~RULE_WEAK;
	assert_false(rules_delete(&t, &r));
	r = t.r[3];
	r.to++;
	assert_false(rules_delete(&t, &r));
	while (t.n) {
		r = t.r[t.n / 2];
		assert_true(rules_delete(&t, &r));
		show();
	}
	assert_int_equal(t.sockets, 0);
}

static void longest_text(void **state)
{
	struct rule r = { .proto = IPPROTO_UDP,
			  .flags = RULE_WEAK | RULE_SCAN,
			  .first = 10000,
			  .last = 65535,
			  .to = 10000 };
	char text[RULE_TEXT];

	(void)state;
	memset(&r.listen, 0xfe, sizeof(r.listen));
	memset(&r.target, 0xfe, sizeof(r.target));
	memset(r.ifname, 'x', 15);
	assert_string_equal(rule_text(&r, text),
			    "UDP [fefe:fefe:fefe:fefe:fefe:fefe:fefe:fefe]"
			    "%xxxxxxxxxxxxxxx:10000-65535  =>  "
			    "fefe:fefe:fefe:fefe:fefe:fefe:fefe:fefe:"
			    "10000-65535  (best effort) (auto-scan)");
}

static void ephemeral(void **state)
{
	struct rules_env e = { .v4 = true };
	unsigned first = 49152, last = 65535;
	FILE *f = fopen("/proc/sys/net/ipv4/ip_local_port_range", "r");

	(void)state;
	if (f) {
		assert_int_equal(fscanf(f, "%u\t%u", &first, &last), 2);
		fclose(f);
	}
	rules_ephemeral(&e);
	assert_int_equal(e.ephemeral_first, first);
	assert_int_equal(e.ephemeral_last, last);
	assert_true(e.v4);
}

int main(void)
{
	static const struct CMUnitTest list[] = {
		cmocka_unit_test(accepted),
		cmocka_unit_test(refused),
		cmocka_unit_test(blanks),
		cmocka_unit_test(hints),
		cmocka_unit_test(long_texts),
		cmocka_unit_test(too_many_rules),
		cmocka_unit_test(too_many_ports),
		cmocka_unit_test(strange_rules),
		cmocka_unit_test(deleting),
		cmocka_unit_test(longest_text),
		cmocka_unit_test(ephemeral),
	};

	log_stderr(false);
	return cmocka_run_group_tests(list, NULL, NULL);
}
