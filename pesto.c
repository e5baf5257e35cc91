/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * pesto - changes and shows the forwarding rules of a running passt or pasta
 *
 * The server sends all its tables, the edits are applied to our copy in the
 * order of the command line, and all tables are sent back.  A server of ours
 * then answers what came of it; that of upstream passt just closes the
 * connection.
 */
#include "pesto.h"

#include "fetch.h"
#include "flowtab.h"
#include "log.h"
#include "rulewire.h"
#include "top.h"

#include <errno.h>
#include <getopt.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#ifndef VERSION
#define VERSION "unknown"
#endif

enum { EDITS = 1024 };

/* An edit of the command line; they are applied in order */
struct edit {
	enum { ADD, DELETE, REPLACE, CLEAR } verb;
	char opt; /* -t, -u, -T or -U */
	const char *arg;
};

struct pesto {
	const char *path;
	int verb;    /* of the next edits on the command line */
	bool listed; /* ... there was one since -A or -D */
	bool show, json, debug;
	int watch; /* 0: rules, else the option for something else */
	char filter[128]; /* of flows */
	unsigned edits;
	struct edit edit[EDITS];
	bool replaced[RULEWIRE_TABLES]; /* emptied by a REPLACE already */
	unsigned n;
	struct rulewire_table table[RULEWIRE_TABLES];
	struct rules scratch;
	uint8_t buf[RULEWIRE_MAX];
};

static struct pesto the;

static const char usage_text[] =
	"  -A, --add                  Add what follows to the rules\n"
	"  -D, --delete               Delete what follows from the rules\n"
	"  -C, --clear TABLE          Delete all rules of a table: HOST, for -t and\n"
	"                             -u, or SPLICE, for -T and -U\n"
	"  -t, --tcp-ports SPEC       TCP ports to forward to the guest; without -A\n"
	"                             or -D in front they take the place of all\n"
	"                             rules of the table\n"
	"  -u, --udp-ports SPEC       UDP ports to forward to the guest\n"
	"  -T, --tcp-ns SPEC          TCP ports to forward out of the namespace\n"
	"  -U, --udp-ns SPEC          UDP ports to forward out of the namespace\n"
	"                             SPEC is as for passt and pasta; see there, or\n"
	"                             the manual page\n"
	"  -s, --show                 Show the rules, before and after a change\n"
	"      --json                 Show them as JSON\n"
	"      --flows                List live flows, with --json as JSON\n"
	"      --top                  Watch them on a terminal, the busy ones first\n"
	"      --port N               Only flows that have this port on some side\n"
	"      --address ADDR         Only those that have this address\n"
	"      --events               Tell what happened to the host's network and\n"
	"                             what was done, and go on with what happens;\n"
	"                             with --json an object a line\n"
	"      --metrics              Show what is counted, as OpenMetrics text\n"
	"                             For these PATH may also be a socket of\n"
	"                             --metrics-socket\n"
	"  -d, --debug                Tell what is received\n"
	"  -h, --help                 Show this help and exit\n"
	"      --version              Show the version and exit\n";

static const struct option options[] = {
	{ "add", no_argument, NULL, 'A' },
	{ "delete", no_argument, NULL, 'D' },
	{ "clear", required_argument, NULL, 'C' },
	{ "tcp-ports", required_argument, NULL, 't' },
	{ "udp-ports", required_argument, NULL, 'u' },
	{ "tcp-ns", required_argument, NULL, 'T' },
	{ "udp-ns", required_argument, NULL, 'U' },
	{ "show", no_argument, NULL, 's' },
	{ "json", no_argument, NULL, 'j' },
	{ "flows", no_argument, NULL, 'f' },
	{ "top", no_argument, NULL, 'o' },
	{ "port", required_argument, NULL, 'p' },
	{ "address", required_argument, NULL, 'a' },
	{ "events", no_argument, NULL, 'e' },
	{ "metrics", no_argument, NULL, 'm' },
	{ "debug", no_argument, NULL, 'd' },
	{ "help", no_argument, NULL, 'h' },
	{ "version", no_argument, NULL, 'v' },
	{ 0 },
};

/* --- the command line ---------------------------------------------------- */

static void usage(FILE *to, const char *argv0)
{
	fprintf(to, "Usage: %s [OPTION]... PATH\n\n%s", argv0, usage_text);
}

static void show_version(void)
{
	puts("pesto " VERSION "\n"
	     "Copyright: the authors named in its history\n"
	     "License: GNU GPL version 2 or later\n"
	     "    <https://www.gnu.org/licenses/old-licenses/gpl-2.0.html>\n"
	     "This is free software: you may change and redistribute it.\n"
	     "There is NO WARRANTY, to the extent permitted by law.");
}

static void add_edit(struct pesto *p, int verb, int opt, const char *arg)
{
	if (p->edits == EDITS)
		die("Too many options (maximum %d)", EDITS);
	p->edit[p->edits++] = (struct edit){ verb, (char)opt, arg };
}

static void add_filter(struct pesto *p, int opt, const char *arg)
{
	char text[ADDR_TEXT_LEN];
	size_t len = strlen(p->filter);
	struct addr a;
	uint64_t port;

	if (opt == 'p' && (!util_parse_u64(arg, 10, UINT16_MAX, &port) || !port))
		die("Invalid port: %s", arg);
	if (opt == 'a' && !addr_parse(arg, &a))
		die("Invalid address: %s", arg);
	if (opt == 'p')
		snprintf(p->filter + len, sizeof(p->filter) - len,
			 "&port=%u", (unsigned)port);
	else
		snprintf(p->filter + len, sizeof(p->filter) - len,
			 "&address=%s", addr_text(&a, text));
}

static _Noreturn void leave(void)
{
	exit(fflush(stdout) ? EXIT_FAILURE : EXIT_SUCCESS);
}

/* End unless -A or -D was followed by a rule */
static void check_verb(const struct pesto *p)
{
	if (p->verb != REPLACE && !p->listed)
		die("%s needs a rule behind it: -t, -u, -T or -U",
		    p->verb == ADD ? "-A" : "-D");
}

static void set_verb(struct pesto *p, int verb)
{
	check_verb(p);
	p->verb = verb;
	p->listed = false;
}

static void set_watch(struct pesto *p, int what)
{
	if (p->watch && p->watch != what)
		die("Only one of --flows, --top, --events and --metrics can be "
		    "shown");
	p->watch = what;
}

static void take_option(struct pesto *p, int c, const char *argv0)
{
	switch (c) {
	case 'A':
	case 'D':
		set_verb(p, c == 'A' ? ADD : DELETE);
		break;
	case 'C':
		add_edit(p, CLEAR, c, optarg);
		break;
	case 's':
		p->show = true;
		break;
	case 'j':
		p->json = true;
		break;
	case 'e':
	case 'm':
	case 'f':
	case 'o':
		set_watch(p, c);
		break;
	case 'p':
	case 'a':
		add_filter(p, c, optarg);
		break;
	case 'd':
		p->debug = true;
		break;
	case 'h':
		usage(stdout, argv0);
		leave();
	case 'v':
		show_version();
		leave();
	case '?':
		fprintf(stderr, "Try '%s --help'\n", argv0);
		exit(EXIT_FAILURE);
	default:
		add_edit(p, p->verb, c, optarg);
		p->listed = true;
	}
}

static void parse(struct pesto *p, int argc, char **argv)
{
	int c;

	p->verb = REPLACE;
	while ((c = getopt_long(argc, argv, "ADC:t:u:T:U:sdh", options,
				NULL)) != -1)
		take_option(p, c, argv[0]);
	if (argc - optind != 1) {
		usage(stderr, argv[0]);
		exit(EXIT_FAILURE);
	}
	check_verb(p);
	p->path = argv[optind];
}

/* --- the connection ------------------------------------------------------ */

/* Receive more bytes behind the @len that are in @buf; returns how many, 0 at
 * the end */
static size_t receive(int fd, void *buf, size_t len, size_t size)
{
	ssize_t n;

	do
		n = recv(fd, (uint8_t *)buf + len, size - len, 0);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		die("Failed to read from server: %s", fetch_error());
	return (size_t)n;
}

static void take_greeting(struct pesto *p, int fd)
{
	enum rulewire ret = RULEWIRE_MORE;
	char err[RULE_ERR];
	size_t len = 0, n;

	while (ret == RULEWIRE_MORE) {
		n = receive(fd, p->buf, len, sizeof(p->buf));
		if (!n)
			die("Unexpected end of the server's configuration");
		len += n;
		ret = rulewire_greeted(p->buf, len, p->table, &p->n, err);
	}
	if (ret == RULEWIRE_BAD)
		die("%s", err);
}

static void tell_tables(const struct pesto *p)
{
	static const char *const cap[] = { "IPv4", "IPv6", "TCP",
					   "UDP",  "scan", "ifname" };
	unsigned i, k;

	fputs("Connected to passt/pasta control socket\n", stderr);
	for (i = 0; i < p->n; i++) {
		const struct rulewire_table *t = &p->table[i];

		fprintf(stderr, "PIF %u: %s, %u rules, capabilities 0x%x:",
			t->id, t->name, t->rules.n, t->caps);
		for (k = 0; k < ARRAY_SIZE(cap); k++)
			if (t->caps & 1U << k)
				fprintf(stderr, " %s", cap[k]);
		fputc('\n', stderr);
	}
}

static void send_all(int fd, const uint8_t *p, size_t len)
{
	ssize_t n;

	for (; len; p += n, len -= (size_t)n) {
		n = send(fd, p, len, MSG_NOSIGNAL);
		if (n < 0 && errno == EINTR)
			n = 0;
		if (n < 0)
			die("Failed to send new rules: %s", fetch_error());
	}
}

/* --- edits --------------------------------------------------------------- */

static struct rulewire_table *by_name(struct pesto *p, const char *name)
{
	unsigned i;

	for (i = 0; i < p->n; i++)
		if (!strcmp(p->table[i].name, name))
			return &p->table[i];
	return NULL;
}

static struct rulewire_table *table_of(struct pesto *p, char opt)
{
	bool ns = opt == 'T' || opt == 'U';
	struct rulewire_table *t = by_name(p, ns ? "SPLICE" : "HOST");

	if (!t)
		die("Can't use -%c, no %s interface", opt,
		    ns ? "outbound" : "inbound");
	return t;
}

static void clear(struct rules *r)
{
	r->n = r->sockets = 0;
}

static void clear_named(struct pesto *p, const char *name)
{
	struct rulewire_table *t = by_name(p, name);

	if (!t)
		die("Unsupported pif name %s", name);
	clear(&t->rules);
}

/* Delete a rule.  It is no error if there is none, unless another rule overlaps
 * it. */
static void delete_rule(struct rules *t, const struct rule *r)
{
	char a[RULE_TEXT], b[RULE_TEXT];
	const struct rule *other;

	if (rules_delete(t, r))
		return;
	other = rules_conflict(t, r);
	if (other)
		die("Specifier %s conflicts with rule %s, but doesn't match "
		    "it, can't delete", rule_text(r, a), rule_text(other, b));
}

/* Add the rules of a specifier; rules_add() skips those that are there
 * already */
static void add_spec(struct rules *t, const struct edit *e, uint32_t caps)
{
	struct rules_env env = rulewire_env(caps);
	char err[RULE_ERR];

	if (!strcmp(e->arg, "none"))
		return;
	rules_ephemeral(&env);
	if (!rules_add_spec(t, e->opt, e->arg, &env, err)) {
		log_err("%s", err);
		die("Unable to add -%c %s", e->opt, e->arg);
	}
}

static void delete_spec(struct pesto *p, struct rulewire_table *t,
			const struct edit *e)
{
	unsigned i;

	p->scratch = (struct rules){ .splice = t->rules.splice };
	add_spec(&p->scratch, e, t->caps);
	for (i = 0; i < p->scratch.n; i++)
		delete_rule(&t->rules, &p->scratch.r[i]);
}

static void replace(struct pesto *p, struct rulewire_table *t,
		    const struct edit *e)
{
	bool *replaced = &p->replaced[t - p->table];

	if (!*replaced)
		clear(&t->rules);
	*replaced = true;
	add_spec(&t->rules, e, t->caps);
}

static void apply(struct pesto *p, const struct edit *e)
{
	if (e->verb == CLEAR)
		clear_named(p, e->arg);
	else if (e->verb == ADD)
		add_spec(&table_of(p, e->opt)->rules, e,
			 table_of(p, e->opt)->caps);
	else if (e->verb == DELETE)
		delete_spec(p, table_of(p, e->opt), e);
	else
		replace(p, table_of(p, e->opt), e);
}

/* --- what came of them ---------------------------------------------------- */

/* Whether one of our edits adds the rule that the server prints as @line */
static bool is_asked(struct pesto *p, const char *line)
{
	char text[RULE_TEXT];
	unsigned i, k;

	for (i = 0; i < p->edits; i++) {
		const struct edit *e = &p->edit[i];
		const struct rulewire_table *t;

		if (e->verb != ADD && e->verb != REPLACE)
			continue;
		t = table_of(p, e->opt);
		p->scratch = (struct rules){ .splice = t->rules.splice };
		add_spec(&p->scratch, e, t->caps);
		for (k = 0; k < p->scratch.n; k++)
			if (!strcmp(rule_text(&p->scratch.r[k], text), line))
				return true;
	}
	return false;
}

/* Print a failure that the server reports: a line that says what went wrong,
 * then one for each rule that has not got all its ports.  Such rules of others
 * are not printed, and are no failure of ours. */
static int take_failure(struct pesto *p, char *text)
{
	const char *what = strsep(&text, "\n"), *rule;
	bool failed = !text || !*text;

	if (failed)
		fprintf(stderr, "%s\n", what);
	while ((rule = strsep(&text, "\n")) && *rule) {
		if (!is_asked(p, rule))
			continue;
		if (!failed)
			fprintf(stderr, "%s\n", what);
		fprintf(stderr, "  %s\n", rule);
		failed = true;
	}
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

/* Read the server's answer to the update: nothing, "ok", or what went wrong;
 * returns the exit status */
static int take_status(struct pesto *p, int fd)
{
	size_t len = 0, n;

	if (shutdown(fd, SHUT_WR))
		die("Failed to send new rules: %s", fetch_error());
	while ((n = receive(fd, p->buf, len, sizeof(p->buf))))
		len = MIN(len + n, sizeof(p->buf) - 1);
	p->buf[len] = '\0';
	if (!len || (len >= 3 && !memcmp(p->buf, "ok\n", 3)))
		return EXIT_SUCCESS;
	return take_failure(p, (char *)p->buf);
}

static int update(struct pesto *p, int fd)
{
	struct wr w = wr_init(p->buf, sizeof(p->buf));

	rulewire_update(&w, p->table, p->n);
	send_all(fd, p->buf, w.len);
	return take_status(p, fd);
}

/* --- what is shown ------------------------------------------------------- */

static void show_text(const struct pesto *p, const char *what)
{
	char text[RULE_TEXT];
	unsigned i, k;

	printf("%s configuration (%s)\n", what, p->path);
	for (i = 0; i < p->n; i++) {
		const struct rulewire_table *t = &p->table[i];

		printf("  %s\n", t->name);
		for (k = 0; k < t->rules.n; k++)
			printf("    %s\n", rule_text(&t->rules.r[k], text));
	}
}

/* Print a string with escapes: names of interfaces may have any bytes */
static void put_json_string(const char *s)
{
	putchar('"');
	for (; *s; s++) {
		uint8_t c = (uint8_t)*s;

		if (c == '"' || c == '\\')
			printf("\\%c", c);
		else if (c < 0x20 || c > 0x7e)
			printf("\\u%04x", c);
		else
			putchar(c);
	}
	putchar('"');
}

static void put_json_rule(const struct rule *r)
{
	char text[ADDR_TEXT_LEN];
	unsigned span = (uint16_t)(r->last - r->first);

	printf("{\"protocol\": \"%s\", \"address\": ",
	       r->proto == IPPROTO_TCP ? "tcp" : "udp");
	put_json_string(r->flags & RULE_DUAL ? "*" :
					       addr_text(&r->listen, text));
	if (r->ifname[0]) {
		printf(", \"interface\": ");
		put_json_string(r->ifname);
	}
	printf(", \"first\": %u, \"last\": %u", r->first, r->last);
	if (!addr_is_none(&r->target))
		printf(", \"target\": \"%s\"", addr_text(&r->target, text));
	printf(", \"to_first\": %u, \"to_last\": %u, \"best_effort\": %s, "
	       "\"auto\": %s}", r->to, r->to + span,
	       r->flags & RULE_WEAK ? "true" : "false",
	       r->flags & RULE_SCAN ? "true" : "false");
}

static void put_json_table(const struct rulewire_table *t)
{
	unsigned k;

	printf("    ");
	put_json_string(t->name);
	printf(": [");
	for (k = 0; k < t->rules.n; k++) {
		printf(k ? ",\n      " : "\n      ");
		put_json_rule(&t->rules.r[k]);
	}
	printf(k ? "\n    ]" : "]");
}

/* Print all tables as one member @key of the object */
static void show_json(const struct pesto *p, const char *key)
{
	unsigned i;

	printf("  \"%s\": {\n", key);
	for (i = 0; i < p->n; i++) {
		put_json_table(&p->table[i]);
		printf(i + 1 < p->n ? ",\n" : "\n");
	}
	printf("  }");
}

static void show_before(const struct pesto *p)
{
	if (p->json)
		printf("{\n");
	if (p->json && p->edits)
		show_json(p, "previous");
	else if (!p->json)
		show_text(p, p->edits ? "Previous" : "passt/pasta");
	fflush(stdout); /* before messages about the edits */
}

static void show_after(const struct pesto *p)
{
	if (p->json) {
		printf(p->edits ? ",\n" : "");
		show_json(p, "rules");
		printf("\n}\n");
	} else if (p->edits) {
		show_text(p, "Updated");
	}
}

/* --- what is watched ------------------------------------------------------ */

static void show_page(const struct pesto *p, const char *page,
		      const char *filter)
{
	char target[256], *text;

	snprintf(target, sizeof(target), "%s%s%s", page, *filter ? "?" : "",
		 *filter ? filter + 1 : "");
	text = fetch_page(p->path, target, NULL);
	fputs(text, stdout);
	free(text);
}

/* Flush standard output, and report an earlier error of writing, too; returns
 * the exit status */
static int told(int status)
{
	if (!fflush(stdout) && !ferror(stdout))
		return status;
	log_err("Failed to write to standard output");
	return EXIT_FAILURE;
}

/* Print an event with its time, seconds since 1970 at the begin of @line, as
 * local time */
static void print_event(const char *line, const char *end)
{
	char when[32], *dot;
	time_t t = (time_t)strtoll(line, &dot, 10);
	struct tm tm;

	if (*dot == '.' && localtime_r(&t, &tm) &&
	    strftime(when, sizeof(when), "%Y-%m-%d %H:%M:%S", &tm)) {
		fputs(when, stdout);
		line = dot;
	}
	printf("%.*s\n", (int)(end - line), line);
}

static void print_events(const char *text)
{
	const char *end;

	for (; *text; text = end + (*end == '\n')) {
		end = text + strcspn(text, "\n");
		print_event(text, end);
	}
}

/* Print events as they come */
static int follow(const struct pesto *p)
{
	const char *target = p->json ? "/events?follow" :
				       "/events?follow&format=text";
	struct fetch f;
	const char *text;

	fetch_open(&f, p->path, target);
	while ((text = fetch_more(&f))) {
		if (p->json)
			fputs(text, stdout);
		else
			print_events(text);
		if (told(EXIT_SUCCESS))
			return EXIT_FAILURE;
	}
	return EXIT_SUCCESS;
}

static int watch(const struct pesto *p)
{
	struct flowtab t = { 0 };

	if (p->edits || p->show ||
	    (p->json && p->watch != 'f' && p->watch != 'e'))
		die("Rules are changed and shown without that");
	if (p->filter[0] && p->watch != 'f' && p->watch != 'o')
		die("--port and --address are for --flows and --top");
	if (p->watch == 'e')
		return follow(p);
	if (p->watch == 'o')
		return told(top_run(p->path, p->filter));
	if (p->watch == 'm') {
		show_page(p, "/metrics", "");
	} else if (p->json) {
		show_page(p, "/flows", p->filter);
	} else {
		flowtab_fetch(&t, p->path, p->filter);
		flowtab_print(&t);
	}
	return told(EXIT_SUCCESS);
}

/* --- all of it ------------------------------------------------------------- */

int pesto_main(int argc, char **argv)
{
	int status = EXIT_SUCCESS, fd;
	struct pesto *p = &the;
	unsigned i;

	log_init("pesto");
	parse(p, argc, argv);
	if (p->watch)
		return watch(p);
	if (p->filter[0])
		die("--port and --address are for --flows and --top");
	p->show |= !p->edits || p->json;
	fd = fetch_connect(p->path);
	take_greeting(p, fd);
	if (p->debug)
		tell_tables(p);
	if (p->show)
		show_before(p);
	for (i = 0; i < p->edits; i++)
		apply(p, &p->edit[i]);
	if (p->show)
		show_after(p);
	if (p->edits)
		status = update(p, fd);
	close(fd);
	return told(status);
}
