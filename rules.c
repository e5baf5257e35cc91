/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * rules - the table of forwarding rules: grammar, conflicts, display
 *
 *	SPEC   := "none" | [ LISTEN "/" ] CHUNK { "," CHUNK }
 *	LISTEN := ADDR [ "%" IFNAME ] | [ "*" | "[*]" ] [ "%" IFNAME ]
 *	ADDR   := IPv4 | IPv6 | "[" IPv4-or-IPv6 "]"
 *	CHUNK  := "all" [ ":" ADDR ] | "auto" | "~" RANGE | RANGE [ ":" TARGET ]
 *	TARGET := [ ADDR "/" ] RANGE | ADDR
 *	RANGE  := PORT [ "-" PORT ]
 *
 * Blanks may stand around a CHUNK and before a PORT, which may have a plus: so
 * strtoul() has it, by which others read them.
 *
 * Exclusions hold for the whole specifier whatever their place, so it is walked
 * three times: read everything and collect the exclusions; make rules of the
 * ports that were named; mark those ports as taken, too, and let "all" have
 * what is left.  Rules are only ever appended meanwhile: to refuse is to
 * restore two numbers.
 */
#include "rules.h"
#include "log.h"
#include "util.h"

#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>

enum {
	PORT_MAX = 65535,
	LISTEN_TEXT = ADDR_TEXT_LEN + 2 + 1 + 16,
	CHUNK_TEXT = 128, /* the longest chunk that makes sense has less than
			     80 */
};

/* Write the reason to @err and return false, so that callers can return that */
PRINTF(2, 3) static bool refuse(char err[RULE_ERR], const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(err, RULE_ERR, fmt, ap);
	va_end(ap);
	return false;
}

/* --- rules and their table ----------------------------------------------- */

static bool is_v4(const struct rule *r)
{
	return addr_is_v4(&r->listen);
}

static unsigned ports(const struct rule *r)
{
	return (unsigned)r->last - r->first + 1;
}

static bool equal(const struct rule *a, const struct rule *b)
{
	return addr_equal(&a->listen, &b->listen) &&
	       addr_equal(&a->target, &b->target) &&
	       !strncmp(a->ifname, b->ifname, sizeof(a->ifname)) &&
	       a->first == b->first && a->last == b->last && a->to == b->to &&
	       a->proto == b->proto && a->flags == b->flags;
}

static bool addrs_overlap(const struct rule *a, const struct rule *b)
{
	if ((a->flags | b->flags) & RULE_DUAL)
		return true;
	if (is_v4(a) != is_v4(b))
		return false;
	return addr_is_unspecified(&a->listen) ||
	       addr_is_unspecified(&b->listen) ||
	       addr_equal(&a->listen, &b->listen);
}

static bool conflict(const struct rule *a, const struct rule *b)
{
	return a->proto == b->proto && a->first <= b->last &&
	       b->first <= a->last && addrs_overlap(a, b);
}

const struct rule *rules_conflict(const struct rules *t, const struct rule *r)
{
	unsigned i;

	for (i = 0; i < t->n; i++)
		if (conflict(r, &t->r[i]))
			return &t->r[i];
	return NULL;
}

bool rules_ifname_ok(const char *s, size_t size)
{
	size_t len = strnlen(s, size);

	return len && len < size && strcspn(s, "/:% \t\n\v\f\r") == len &&
	       strcmp(s, ".") && strcmp(s, "..");
}

static bool check_ports(const struct rule *r, char *err)
{
	if (r->first > r->last)
		return refuse(err, "Forwarding rule with bad range of ports");
	if (!r->first)
		return refuse(err, "Forwarding rule attempts to map from "
				   "port 0");
	if (!r->to || r->to + ports(r) - 1 > PORT_MAX)
		return refuse(err, "Forwarding rule attempts to map to port 0");
	return true;
}

static bool check_proto(const struct rule *r, const struct rules_env *env,
			char *err)
{
	bool tcp = r->proto == IPPROTO_TCP;
	const char *name = tcp ? "TCP" : "UDP";

	if (!tcp && r->proto != IPPROTO_UDP)
		return refuse(err, "Unsupported protocol %u in forwarding rule",
			      r->proto);
	if (!(tcp ? env->tcp : env->udp))
		return refuse(err,
			      "Can't add %s forwarding rule, %s not enabled",
			      name, name);
	if (r->flags & ~(RULE_DUAL | RULE_WEAK | RULE_SCAN))
		return refuse(err, "Unknown flags in forwarding rule");
	if (r->flags & RULE_SCAN && !env->pasta)
		return refuse(err, "'auto' port forwarding is only allowed for "
				   "pasta");
	return true;
}

static bool check_listen(const struct rules *t, const struct rule *r,
			 const struct rules_env *env, char *err)
{
	bool dual = r->flags & RULE_DUAL;

	if (dual && !addr_is_none(&r->listen))
		return refuse(err, "Dual-stack forwarding rule with address");
	if ((dual || is_v4(r)) && !env->v4)
		return refuse(err, "IPv4 forward, but IPv4 not enabled");
	if (!is_v4(r) && !env->v6)
		return refuse(err, "IPv6 forward, but IPv6 not enabled");
	if (r->ifname[0] && !rules_ifname_ok(r->ifname, sizeof(r->ifname)))
		return refuse(err, "Invalid interface name in forwarding rule");
	/* Else whoever can reach the namespace could use what is the host's */
	if (t->splice && strcmp(r->ifname, "lo") &&
	    !addr_is_loopback(&r->listen))
		return refuse(err, "Forwarding rule of a namespace must be "
				   "bound to loopback");
	return true;
}

static bool check_target(const struct rules *t, const struct rule *r, char *err)
{
	char text[ADDR_TEXT_LEN];

	if (addr_is_none(&r->target))
		return true;
	addr_text(&r->target, text);
	if (t->splice)
		return refuse(err,
			      "Target address %s not allowed for a "
			      "namespace's rule",
			      text);
	if (!addr_is_unicast(&r->target))
		return refuse(err, "Target address %s is not unicast", text);
	if (r->flags & RULE_DUAL)
		return refuse(err,
			      "Target address %s needs a listener of its "
			      "own family, use '%s'",
			      text,
			      addr_is_v4(&r->target) ? "0.0.0.0/" : "[::]/");
	if (addr_is_v4(&r->target) != is_v4(r))
		return refuse(err,
			      "Target address %s is not of the family of "
			      "the listening address",
			      text);
	return true;
}

bool rules_add(struct rules *t, const struct rule *r,
	       const struct rules_env *env, char err[RULE_ERR])
{
	char a[RULE_TEXT], b[RULE_TEXT];
	unsigned i;

	if (!check_proto(r, env, err) || !check_ports(r, err) ||
	    !check_listen(t, r, env, err) || !check_target(t, r, err))
		return false;
	for (i = 0; i < t->n; i++) {
		if (equal(r, &t->r[i]))
			return true;
		if (conflict(r, &t->r[i]))
			return refuse(err,
				      "Forwarding configuration conflict: "
				      "%s versus %s",
				      rule_text(r, a), rule_text(&t->r[i], b));
	}
	if (t->n >= RULES_MAX)
		return refuse(err, "Too many forwarding rules (maximum %d)",
			      RULES_MAX);
	if (t->sockets + ports(r) > RULES_SOCKETS)
		return refuse(err, "Too many forwarded ports (maximum %d)",
			      RULES_SOCKETS);
	t->r[t->n++] = *r;
	t->sockets += ports(r);
	return true;
}

bool rules_delete(struct rules *t, const struct rule *r)
{
	unsigned i;

	for (i = 0; i < t->n && !equal(r, &t->r[i]); i++)
		;
	if (i == t->n)
		return false;
	t->sockets -= ports(r);
	t->n--;
	memmove(&t->r[i], &t->r[i + 1], (t->n - i) * sizeof(t->r[0]));
	return true;
}

static void put_range(char *buf, size_t size, unsigned first, unsigned last)
{
	if (first == last)
		snprintf(buf, size, "%u", first);
	else
		snprintf(buf, size, "%u-%u", first, last);
}

const char *rule_text(const struct rule *r, char buf[RULE_TEXT])
{
	char listen[ADDR_TEXT_LEN] = "*", text[ADDR_TEXT_LEN];
	char from[16], to[16], target[ADDR_TEXT_LEN + 4] = "";

	if (!(r->flags & RULE_DUAL))
		addr_text(&r->listen, listen);
	addr_text(&r->target, text);
	if (!addr_is_none(&r->target)) /* upstream prints no brackets either */
		snprintf(target, sizeof(target), "%s:", text);
	put_range(from, sizeof(from), r->first, r->last);
	put_range(to, sizeof(to), r->to, r->to + ports(r) - 1);
	snprintf(buf, RULE_TEXT, "%s [%s]%s%.15s:%s  =>  %s%s %s%s",
		 r->proto == IPPROTO_TCP ? "TCP" : "UDP", listen,
		 r->ifname[0] ? "%" : "", r->ifname, from, target, to,
		 r->flags & RULE_WEAK ? " (best effort)" : "",
		 r->flags & RULE_SCAN ? " (auto-scan)" : "");
	return buf;
}

void rules_ephemeral(struct rules_env *env)
{
	unsigned first, last;
	char buf[64];

	env->ephemeral_first = 49152;
	env->ephemeral_last = PORT_MAX;
	if (util_read_file("/proc/sys/net/ipv4/ip_local_port_range", buf,
			   sizeof(buf)) < 0 ||
	    sscanf(buf, "%u %u", &first, &last) != 2 || first > last ||
	    last > PORT_MAX)
		return;
	env->ephemeral_first = (uint16_t)first;
	env->ephemeral_last = (uint16_t)last;
}

/* --- text ---------------------------------------------------------------- */

struct chunk {
	enum { ALL, AUTO, EXCLUDE, PORTS } kind;
	struct port_range from, to;
	struct addr target; /* none: the guest */
};

static const char blank[] = " \t";

static bool take_port(const char **s, unsigned *port)
{
	const char *digits = *s + strspn(*s, blank), *p;
	unsigned v = 0;

	digits += *digits == '+';
	for (p = digits; *p >= '0' && *p <= '9'; p++) {
		v = v * 10 + (unsigned)(*p - '0');
		if (v > PORT_MAX)
			return false;
	}
	if (p == digits)
		return false;
	*s = p;
	*port = v;
	return true;
}

bool rules_range(const char **s, struct port_range *r)
{
	if (!take_port(s, &r->first))
		return false;
	r->last = r->first;
	if (**s != '-')
		return true;
	++*s;
	return take_port(s, &r->last) && r->last >= r->first;
}

/* Parse a range that is all of @s */
static bool parse_range(const char *s, struct port_range *r)
{
	return rules_range(&s, r) && !*s;
}

/* Parse ADDR of the grammar, and remove its closing bracket from @s */
static bool parse_addr(char *s, struct addr *a)
{
	size_t len = strlen(s);

	if (*s != '[')
		return addr_parse(s, a);
	if (s[len - 1] != ']')
		return false;
	s[len - 1] = '\0';
	return addr_parse(s + 1, a);
}

/* Parse ADDR of a target.  The all-zero address is refused: it stands for "no
 * address" in a rule. */
static bool parse_target_addr(char *s, struct addr *a)
{
	return parse_addr(s, a) && !addr_is_none(a);
}

static bool parse_target(char *s, struct chunk *c)
{
	char *slash = strchr(s, '/');

	s += strspn(s, blank);
	if (!slash && parse_range(s, &c->to))
		return true;
	if (!slash) {
		c->to = c->from;
		return parse_target_addr(s, &c->target);
	}
	*slash = '\0';
	return parse_target_addr(s, &c->target) &&
	       parse_range(slash + 1, &c->to);
}

static bool parse_ports(char *s, struct chunk *c)
{
	const char *p = s;

	c->kind = PORTS;
	if (!rules_range(&p, &c->from))
		return false;
	c->to = c->from;
	if (!*p)
		return true;
	return *p == ':' && parse_target(s + (p - s) + 1, c) &&
	       c->to.last - c->to.first == c->from.last - c->from.first;
}

static bool parse_chunk(char *s, struct chunk *c)
{
	char *end = s + strlen(s);

	s += strspn(s, blank);
	while (end > s && strchr(blank, end[-1]))
		*--end = '\0';
	memset(c, 0, sizeof(*c));
	if (!strcmp(s, "auto")) {
		c->kind = AUTO;
		return true;
	}
	if (!strcmp(s, "all") || !strncmp(s, "all:", 4)) {
		c->kind = ALL;
		return !s[3] || parse_target_addr(s + 4, &c->target);
	}
	if (*s == '~') {
		c->kind = EXCLUDE;
		return parse_range(s + 1, &c->from);
	}
	return parse_ports(s, c);
}

/* --- specifiers ---------------------------------------------------------- */

struct spec {
	struct rules *t;
	const struct rules_env *env;
	char *err;
	const char *text, *chunks; /* the specifier; its part behind LISTEN */
	struct rule base[2];       /* what all its rules begin as */
	unsigned bases;
	bool named, all; /* a chunk of that kind was read */
	struct addr all_target;
	uint8_t taken[(PORT_MAX + 1) / 8];
};

/* The length of ADDR in text of the form "ADDR:PORT", 0 if it has another
 * form */
static size_t address_before_port(const char *s)
{
	size_t n = *s == '[' ? strcspn(s, "]") + 1 : strcspn(s, ":");
	char text[LISTEN_TEXT];
	struct addr a;

	if (n >= sizeof(text) || n >= strlen(s) || s[n] != ':')
		return 0;
	memcpy(text, s, n);
	text[n] = '\0';
	return !strcmp(text, "*") || parse_addr(text, &a) ? n : 0;
}

/* Refuse the specifier.  If it has a form that container engines use,
 * ADDR:PORT:PORT or PORT/tcp, suggest how to write it here. */
static bool invalid(const struct spec *s)
{
	const char *text = s->text, *ports;
	size_t len = strlen(text), n = 0;
	bool tcp = s->base[0].proto == IPPROTO_TCP, named = false;

	if (!s->t->splice)
		n = address_before_port(text);
	if (len > 4)
		named = !strcmp(text + len - 4, "/tcp") ||
			!strcmp(text + len - 4, "/udp");
	if (!n && !named)
		return refuse(s->err, "Invalid port specifier '%s'", text);
	if (named) {
		len -= 4;
		tcp = text[len + 1] == 't';
	}
	ports = text + n + (n ? 1 : 0);
	return refuse(s->err,
		      "Invalid port specifier '%s', did you mean "
		      "'-%c %.*s%s%.*s'?",
		      text, s->t->splice ? (tcp ? 'T' : 'U') : (tcp ? 't' : 'u'),
		      (int)n, text, n ? "/" : "", (int)(text + len - ports),
		      ports);
}

static bool is_taken(const struct spec *s, unsigned port)
{
	return s->taken[port / 8] >> port % 8 & 1;
}

static void take(struct spec *s, unsigned first, unsigned last)
{
	for (; first <= last; first++)
		s->taken[first / 8] |= (uint8_t)(1 << first % 8);
}

/* Add a rule for @run on each listening address of the specifier */
static bool add_run(struct spec *s, const struct chunk *c, struct port_range run,
		    uint8_t flags)
{
	unsigned i;

	for (i = 0; i < s->bases; i++) {
		struct rule r = s->base[i];

		r.first = (uint16_t)run.first;
		r.last = (uint16_t)run.last;
		r.to = (uint16_t)(c->to.first + run.first - c->from.first);
		r.target = c->target;
		r.flags |= flags;
		if (!rules_add(s->t, &r, s->env, s->err))
			return false;
	}
	return true;
}

/* Add rules for the ports of @c that are not taken, one per run of them */
static bool add_chunk(struct spec *s, const struct chunk *c, uint8_t flags)
{
	unsigned port = c->from.first;

	while (port <= c->from.last) {
		struct port_range run = { port, port };

		if (is_taken(s, port++))
			continue;
		while (port <= c->from.last && !is_taken(s, port))
			port++;
		run.last = port - 1;
		if (!add_run(s, c, run, flags))
			return false;
	}
	return true;
}

static bool read_all(struct spec *s, const struct chunk *c)
{
	if (s->all && !addr_equal(&s->all_target, &c->target))
		return invalid(s);
	s->all = true;
	s->all_target = c->target;
	return true;
}

static bool read_chunk(struct spec *s, const struct chunk *c)
{
	unsigned i;

	switch (c->kind) {
	case ALL:
		return read_all(s, c);
	case AUTO:
		if (!s->env->pasta)
			return refuse(s->err, "'auto' port forwarding is only "
					      "allowed for pasta");
		for (i = 0; i < s->bases; i++)
			s->base[i].flags |= RULE_SCAN;
		return true;
	case EXCLUDE:
		take(s, c->from.first, c->from.last);
		return true;
	case PORTS:
		s->named = true;
		return true;
	}
	return false;
}

enum pass { READ, ADD, TAKE };

static bool walk(struct spec *s, enum pass pass)
{
	const char *p = s->chunks;
	char text[CHUNK_TEXT];
	struct chunk c;

	for (;; p++) {
		size_t n = strcspn(p, ",");

		if (n >= sizeof(text))
			return invalid(s);
		memcpy(text, p, n);
		text[n] = '\0';
		if (!parse_chunk(text, &c))
			return invalid(s);
		if (pass == READ && !read_chunk(s, &c))
			return false;
		if (pass == ADD && c.kind == PORTS && !add_chunk(s, &c, 0))
			return false;
		if (pass == TAKE && c.kind == PORTS)
			take(s, c.from.first, c.from.last);
		p += n;
		if (!*p)
			return true;
	}
}

static bool add_all(struct spec *s)
{
	struct chunk c = { .from = { 1, PORT_MAX },
			   .to = { 1, PORT_MAX },
			   .target = s->all_target };

	if (s->named && !s->all)
		return true;
	walk(s, TAKE);
	take(s, s->env->ephemeral_first, s->env->ephemeral_last);
	return add_chunk(s, &c, RULE_WEAK);
}

/* --- listening address --------------------------------------------------- */

/* Listen on any address: of both families if both are enabled, else of the
 * enabled one */
static void listen_any(const struct rules_env *env, struct rule *r)
{
	if (env->v4 && env->v6)
		r->flags |= RULE_DUAL;
	else
		r->listen = addr_any(env->v4);
}

/* Parse LISTEN of the grammar, from @s to @end */
static bool parse_listen(const struct rules_env *env, const char *s,
			 const char *end, struct rule *r)
{
	size_t len = (size_t)(end - s);
	char text[LISTEN_TEXT], *percent;

	if (len >= sizeof(text))
		return false;
	memcpy(text, s, len);
	text[len] = '\0';
	percent = strchr(text, '%');
	if (percent) {
		*percent++ = '\0';
		if (!rules_ifname_ok(percent, sizeof(r->ifname)))
			return false;
		strcpy(r->ifname, percent);
	}
	if (*text && strcmp(text, "*") && strcmp(text, "[*]"))
		return parse_addr(text, &r->listen);
	listen_any(env, r);
	return true;
}

/* Listening addresses in the namespace: any address on interface lo.  Without
 * SO_BINDTODEVICE the wildcard would be open to the namespace's network: then
 * the loopback address of each family. */
static void namespace_bases(struct spec *s, char opt)
{
	struct rule r = { .proto = s->base[0].proto };

	if (s->env->bindtodevice) {
		strcpy(s->base[0].ifname, "lo");
		return;
	}
	log_warn("Can't bind to interface lo, -%c %s is for 127.0.0.1 and ::1 "
		 "only",
		 opt, s->text);
	s->bases = 0;
	r.listen = addr_loopback(true);
	if (s->env->v4)
		s->base[s->bases++] = r;
	r.listen = addr_loopback(false);
	if (s->env->v6)
		s->base[s->bases++] = r;
}

/* Find LISTEN, if any.  A slash may also belong to a target: then what stands
 * before it does not parse as LISTEN. */
static bool read_listen(struct spec *s, char opt)
{
	const char *slash = strchr(s->text, '/');
	struct rule r = s->base[0];

	s->chunks = s->text;
	s->bases = 1;
	if (slash && parse_listen(s->env, s->text, slash, &r)) {
		s->chunks = slash + 1;
		if (s->t->splice && slash > s->text)
			return refuse(s->err,
				      "Listening address not allowed for "
				      "-%c %s",
				      opt, s->text);
		s->base[0] = r;
	} else {
		listen_any(s->env, &s->base[0]);
	}
	return true;
}

static bool none(const struct rules *t, uint8_t proto, char opt, char *err)
{
	unsigned i;

	for (i = 0; i < t->n; i++) {
		if (t->r[i].proto == proto)
			return refuse(err,
				      "-%c none conflicts with previous "
				      "options",
				      opt);
	}
	return true;
}

bool rules_add_spec(struct rules *t, char opt, const char *spec,
		    const struct rules_env *env, char err[RULE_ERR])
{
	struct spec s = { .t = t, .env = env, .err = err };
	unsigned n = t->n, sockets = t->sockets;

	spec += strspn(spec, blank);
	s.text = spec;

	s.base[0].proto = opt == 't' || opt == 'T' ? IPPROTO_TCP : IPPROTO_UDP;
	if (!strcmp(spec, "none"))
		return none(t, s.base[0].proto, opt, err);
	if (!read_listen(&s, opt))
		return false;
	if (t->splice)
		namespace_bases(&s, opt);
	if (walk(&s, READ) && walk(&s, ADD) && add_all(&s))
		return true;
	t->n = n;
	t->sockets = sockets;
	return false;
}
