/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * egress - what the guest may connect to: --allow-out and --deny-out
 *
 *	SPEC  := [ PROTO ":" ] DEST [ ":" RANGE { "," RANGE } ]
 *	PROTO := "tcp" | "udp" | "icmp"
 *	DEST  := "any" | "dns" | "local" | "loopback" | "private" | NET | NAME
 *	NET   := ADDR [ "/" LENGTH ] | "[" ADDR "]" [ "/" LENGTH ] | "[" NET "]"
 *	NAME  := [ "*." ] LABEL "." { LABEL "." } [ LABEL ]
 *	RANGE := PORT [ "-" PORT ]
 *
 * An IPv6 address needs brackets before ports.
 */
#include "egress.h"

#include "rules.h"
#include "util.h"

#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>
#include <strings.h>

enum {
	PORT_MAX = 65535,
	DNS_PORT = 53,
	DNS_TLS_PORT = 853, /* RFC 7858 */
	NET_TEXT = ADDR_TEXT_LEN + sizeof("[]/128"),
	LABEL_MAX = 63,	    /* RFC 1035 2.3.4 */
	NAME_MAX_LEN = 253,
	DEST_TEXT = NAME_MAX_LEN + sizeof("*."),
	SHOWN = 128, /* longest part of an argument in messages */
};

#define NAME_CHARS                                                             \
	"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"

/* Words that stand for prefixes */
static const struct {
	const char *word, *net[12];
} words[] = {
	{ "loopback", { "127.0.0.0/8", "::1" } },
	{ "private", { "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", /* RFC 1918 */
		       "100.64.0.0/10",	 /* RFC 6598 */
		       "169.254.0.0/16", /* RFC 3927 */
		       "fc00::/7",	 /* RFC 4193 */
		       "fe80::/10",	 /* RFC 4291 */
		       /* What stays on the link, too */
		       "224.0.0.0/4", "ff00::/8", "255.255.255.255" } },
};

/* An argument, while it is parsed */
struct spec {
	struct egress *e;
	unsigned n;	/* rules before this argument */
	struct egress_rule base; /* the rule to copy for each range of ports */
	const char *ports; /* RANGE { "," RANGE }, or NULL */
	const char *dest; /* in the text, which is ... */
	const char *text;
	char *err;
};

/* Put the reason into @err; false, so that callers can return it */
PRINTF(2, 3) static bool refuse(const struct spec *s, const char *fmt, ...)
{
	va_list ap;

	s->e->n = s->n;
	va_start(ap, fmt);
	vsnprintf(s->err, EGRESS_ERR, fmt, ap);
	va_end(ap);
	return false;
}

static bool invalid(const struct spec *s, const char *what)
{
	return refuse(s, "Invalid %s in '%.*s', expected "
		      "[tcp:|udp:|icmp:]DESTINATION[:PORTS]",
		      what, SHOWN, s->text);
}

/* --- rules of it ---------------------------------------------------------- */

static bool add_range(struct spec *s, unsigned first, unsigned last)
{
	struct egress_rule *r = &s->e->r[s->e->n];

	if (s->e->n == EGRESS_MAX)
		return refuse(s, "Too many destinations (maximum %d)",
			      EGRESS_MAX);
	*r = s->base;
	r->first = (uint16_t)first;
	r->last = (uint16_t)last;
	if (s->e->n++ > s->n)
		r->spec = NULL;
	return true;
}

/* Add a rule for each range of ports */
static bool add(struct spec *s)
{
	const char *p = s->ports;
	struct port_range r;

	if (!p && s->base.to == EGRESS_RESOLVER && s->base.protos != EGRESS_ICMP)
		return add_range(s, DNS_PORT, DNS_PORT) &&
		       add_range(s, DNS_TLS_PORT, DNS_TLS_PORT);
	if (!p)
		return add_range(s, 0, PORT_MAX);
	for (;; p++) {
		if (!rules_range(&p, &r) || !r.first || (*p && *p != ','))
			return invalid(s, "ports");
		if (!add_range(s, r.first, r.last))
			return false;
		if (!*p)
			return true;
	}
}

static bool parse_net(const char *text, struct addr *net, uint8_t *len)
{
	size_t n = strcspn(text, "/");
	char addr[ADDR_TEXT_LEN];
	uint64_t v;

	if (n >= sizeof(addr))
		return false;
	memcpy(addr, text, n);
	addr[n] = '\0';
	if (!addr_parse(addr, net))
		return false;
	v = addr_is_v4(net) ? 32 : 128;
	/* For a v4-mapped address it is unclear what the length counts */
	if (text[n] && (!util_parse_u64(text + n + 1, 10, v, &v) ||
			(addr_is_v4(net) && strchr(addr, ':'))))
		return false;
	*net = addr_mask(net, (unsigned)v);
	*len = (uint8_t)v;
	return true;
}

static bool add_net(struct spec *s, const char *text)
{
	s->base.to = EGRESS_NET;
	return parse_net(text, &s->base.net, &s->base.len) ? add(s) :
			invalid(s, "destination");
}

/* Whether @p is a host name.  It must have a dot, so that no misspelt word is
 * one, and no number behind the last one, so that no misspelt address is. */
static bool is_name(const char *p)
{
	const char *last = p, *label;
	size_t n;

	if (!strncmp(p, "*.", 2))
		p += 2;
	else if (!strchr(p, '.'))
		return false;
	if (!*p || strlen(p) > NAME_MAX_LEN)
		return false;
	for (label = p; *label; label += n + (label[n] == '.')) {
		n = strcspn(label, ".");
		if (!n || n > LABEL_MAX || strspn(label, NAME_CHARS) < n)
			return false;
		last = label;
	}
	return strspn(last, "0123456789") < strcspn(last, ".");
}

static bool add_name(struct spec *s, const char *name)
{
	if (!s->base.allow)
		return refuse(s, "'%.*s': a name can't be denied, an address need "
			      "not be asked for", SHOWN, s->text);
	s->base.to = EGRESS_NAME;
	s->base.name = s->dest;
	s->base.name_len = (uint8_t)strlen(name);
	if (name[s->base.name_len - 1] == '.')
		s->base.name_len--;
	return add(s);
}

static bool add_words(struct spec *s, const char *const *net)
{
	for (; *net; net++)
		if (!add_net(s, *net))
			return false;
	return true;
}

/* "[NET]" and "[ADDR]/LENGTH" without the brackets */
static bool unbracket(const char *dest, char text[NET_TEXT])
{
	const char *end = strchr(dest, ']');

	if (!end || (end[1] && end[1] != '/'))
		return false;
	snprintf(text, NET_TEXT, "%.*s%s", (int)(end - dest - 1), dest + 1,
		 end + 1);
	return true;
}

static bool add_dest(struct spec *s, const char *dest)
{
	char text[NET_TEXT];
	unsigned i;

	for (i = 0; i < ARRAY_SIZE(words); i++)
		if (!strcmp(dest, words[i].word))
			return add_words(s, words[i].net);
	s->base.to = EGRESS_ANY;
	if (!strcmp(dest, "any"))
		return add(s);
	s->base.to = EGRESS_LOCAL;
	if (!strcmp(dest, "local"))
		return add(s);
	s->base.to = EGRESS_RESOLVER;
	if (!strcmp(dest, "dns"))
		return add(s);
	if (is_name(dest))
		return add_name(s, dest);
	if (*dest != '[')
		return add_net(s, dest);
	return unbracket(dest, text) ? add_net(s, text) :
				       invalid(s, "destination");
}

/* --- the host's networks ----------------------------------------------------- */

void egress_local_add(struct egress_local *l, const struct addr *a, unsigned len)
{
	struct addr net = addr_mask(a, len);
	unsigned i;

	if (!len || addr_is_none(a) || addr_is_loopback(a))
		return;
	for (i = 0; i < l->n; i++)
		if (l->p[i].len == len && addr_equal(&l->p[i].net, &net))
			return;
	if (l->n == EGRESS_LOCALS) {
		l->many = true;
		return;
	}
	l->p[l->n].net = net;
	l->p[l->n++].len = (uint8_t)len;
}

static bool is_local(const struct egress_local *l, const struct addr *a,
		     bool in_doubt)
{
	unsigned i;

	if (addr_is_loopback(a))
		return false;
	for (i = 0; i < l->n; i++)
		if (addr_in_prefix(a, &l->p[i].net, l->p[i].len))
			return true;
	return l->many && in_doubt;
}

/* --- names ------------------------------------------------------------------- */

bool egress_names(const struct egress *e)
{
	unsigned i;

	for (i = 0; i < e->n; i++)
		if (e->r[i].to == EGRESS_NAME)
			return true;
	return false;
}

bool egress_asks(const struct egress *e)
{
	unsigned i;

	for (i = 0; i < e->n; i++)
		if (e->r[i].to == EGRESS_RESOLVER)
			return true;
	return egress_names(e);
}

/* Whether @name, in lower case, is the name of @r, or below its "*." */
static bool is_named(const struct egress_rule *r, const char *name)
{
	const char *own = r->name;
	size_t n = r->name_len, len = strlen(name);

	if (r->to != EGRESS_NAME)
		return false;
	if (*own == '*') {
		if (len < n) /* something must stand for the '*' */
			return false;
		own++;
		n--;
		name += len - n;
		len = n;
	}
	return len == n && !strncasecmp(own, name, n);
}

/* The first rule of the argument that @rule is part of: names are kept for that
 * one */
static unsigned head_of(const struct egress *e, unsigned rule)
{
	while (!e->r[rule].spec)
		rule--;
	return rule;
}

/* The set of entries for an address; hashed with the rule, otherwise many names
 * of one address would evict each other */
static struct egress_addr *set_of(struct egress_heard *h, unsigned rule,
				  const struct addr *a)
{
	/* FNV-1a: only resolvers choose the addresses, and these are trusted */
	uint32_t sum = (2166136261 ^ rule) * 16777619;
	unsigned i;

	for (i = 0; i < sizeof(a->b); i++)
		sum = (sum ^ a->b[i]) * 16777619;
	return h->e[(sum ^ sum >> 16) % EGRESS_SETS];
}

static void put_heard(struct egress_heard *h, unsigned rule, const struct addr *a,
		      uint64_t until_ms)
{
	struct egress_addr *set = set_of(h, rule, a), *to = set;
	unsigned i;

	for (i = 0; i < EGRESS_WAYS; i++) {
		if (set[i].until_ms && set[i].rule == rule &&
		    addr_equal(&set[i].addr, a)) {
			set[i].until_ms = MAX(set[i].until_ms, until_ms);
			return;
		}
		if (set[i].until_ms < to->until_ms)
			to = &set[i];
	}
	*to = (struct egress_addr){ *a, rule, until_ms };
}

bool egress_hear(const struct egress *e, struct egress_heard *h, const char *name,
		 const struct addr *a, uint64_t until_ms)
{
	bool found = false;
	unsigned i;

	if (!addr_is_unicast(a) || addr_is_loopback(a) || addr_is_link_local(a))
		return false;
	for (i = 0; i < e->n; i++) {
		if (!e->r[i].spec || !is_named(&e->r[i], name))
			continue;
		put_heard(h, i, a, until_ms);
		found = true;
	}
	return found;
}

static bool has_heard(const struct egress_view *v, unsigned rule,
		      const struct addr *a)
{
	const struct egress_addr *set;
	unsigned i;

	if (!v->heard)
		return false;
	set = set_of(v->heard, rule, a);
	for (i = 0; i < EGRESS_WAYS; i++)
		if (set[i].until_ms > *v->now_ms && set[i].rule == rule &&
		    addr_equal(&set[i].addr, a))
			return true;
	return false;
}

unsigned egress_save(const struct egress *e, const struct egress_heard *h,
		     unsigned at, uint64_t now_ms, struct wr *w)
{
	enum { EACH = 64, ALL = EGRESS_SETS * EGRESS_WAYS };
	unsigned n = 0;

	for (; at < ALL && n < EACH; at++) {
		const struct egress_addr *p = &h->e[at / EGRESS_WAYS][at % EGRESS_WAYS];
		const struct egress_rule *r = &e->r[p->rule];

		if (p->until_ms <= now_ms)
			continue;
		wr_u8(w, r->name_len);
		wr_bytes(w, r->name, r->name_len);
		wr_bytes(w, p->addr.b, sizeof(p->addr.b));
		wr_be64(w, p->until_ms - now_ms);
		n++;
	}
	return at < ALL ? at : 0;
}

void egress_load(const struct egress *e, struct egress_heard *h, uint64_t now_ms,
		 struct rd *r)
{
	while (rd_left(r)) {
		uint8_t n = rd_u8(r);
		const char *name = rd_view(r, n);
		uint64_t left_ms;
		struct addr a;
		unsigned i;

		rd_copy(r, a.b, sizeof(a.b));
		left_ms = rd_be64(r);
		left_ms = MIN(left_ms, EGRESS_MOST_S * 1000ULL);
		for (i = 0; i < e->n && rd_ok(r) && left_ms; i++)
			if (e->r[i].spec && e->r[i].to == EGRESS_NAME &&
			    e->r[i].name_len == n &&
			    !strncasecmp(e->r[i].name, name, n))
				put_heard(h, i, &a, now_ms + left_ms);
	}
}

/* --- all of it --------------------------------------------------------------- */

/* Parse the protocol and move *@p behind it */
static uint8_t take_protos(const char **p)
{
	static const char *const name[] = { "tcp:", "udp:", "icmp:" };
	unsigned i;

	for (i = 0; i < ARRAY_SIZE(name); i++) {
		if (strncmp(*p, name[i], strlen(name[i])))
			continue;
		*p += strlen(name[i]);
		return (uint8_t)(1U << i);
	}
	return EGRESS_ALL;
}

/* Whether @p is an IPv6 address without brackets followed by a port */
static bool lacks_brackets(const char *p)
{
	const char *colon = strrchr(p, ':');
	char head[NET_TEXT];
	struct addr net;
	uint8_t len;

	if (!colon || (size_t)(colon - p) >= sizeof(head))
		return false;
	snprintf(head, sizeof(head), "%.*s", (int)(colon - p), p);
	return parse_net(head, &net, &len) && !addr_is_v4(&net);
}

/* The length of DEST, behind which are ports */
static size_t dest_len(const char *p)
{
	struct addr net;
	uint8_t len;
	size_t n;

	if (*p != '[' && parse_net(p, &net, &len))
		return strlen(p);
	n = *p == '[' ? strcspn(p, "]") : 0;
	return n + strcspn(p + n, ":");
}

bool egress_add(struct egress *e, bool allow, const char *spec,
		char err[EGRESS_ERR])
{
	struct spec s = { .e = e, .n = e->n, .text = spec, .err = err,
			  .base = { .spec = spec, .allow = allow } };
	const char *p = spec;
	char dest[DEST_TEXT];
	size_t n;

	s.base.protos = take_protos(&p);
	s.dest = p;
	n = dest_len(p);
	if (p[n] && lacks_brackets(p))
		return refuse(&s, "Invalid destination in '%.*s', an IPv6 "
			      "address needs brackets before ports, like "
			      "[2001:db8::]/32:443", SHOWN, spec);
	if (n >= sizeof(dest))
		return invalid(&s, "destination");
	memcpy(dest, p, n);
	dest[n] = '\0';
	if (p[n]) {
		s.ports = p + n + 1;
		s.base.protos &= EGRESS_TCP | EGRESS_UDP;
		if (!s.base.protos)
			return invalid(&s, "ports of ICMP");
	}
	return add_dest(&s, dest);
}

bool egress_rest(const struct egress *e)
{
	return !e->n || !e->r[e->n - 1].allow;
}

static bool names(const struct egress *e, const struct egress_rule *r,
		  const struct egress_view *v, const struct egress_dest *to)
{
	switch (r->to) {
	case EGRESS_NET:
		return addr_in_prefix(to->addr, &r->net, r->len);
	case EGRESS_RESOLVER:
		return to->resolver;
	case EGRESS_LOCAL:
		return v->local && is_local(v->local, to->addr, !r->allow);
	case EGRESS_NAME:
		return has_heard(v, head_of(e, (unsigned)(r - e->r)), to->addr);
	default:
		return true;
	}
}

bool egress_allows(const struct egress *e, const struct egress_view *v,
		   uint8_t proto, const struct egress_dest *to)
{
	uint8_t bit = proto == IPPROTO_TCP ? EGRESS_TCP :
		      proto == IPPROTO_UDP ? EGRESS_UDP : EGRESS_ICMP;
	uint16_t port = bit == EGRESS_ICMP ? 0 : to->port;
	const struct egress_rule *r;

	for (r = e->r; r < e->r + e->n; r++)
		if (r->protos & bit && r->first <= port && port <= r->last &&
		    names(e, r, v, to))
			return r->allow;
	return egress_rest(e);
}
