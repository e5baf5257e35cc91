/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * hostfwd - the requests of slirp4netns' API socket: add, list and remove ports
 *
 *   { "execute": "add_hostfwd", "arguments": { "proto": "tcp", ... } }
 *
 * Of JSON (RFC 8259) this takes an object of scalars and of one more such object,
 * strings without escapes and whole numbers: all that a request can be.
 */
#include "hostfwd.h"

#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>

/* The members of a request that we know */
enum field { EXECUTE, PROTO, HOST_ADDR, HOST_PORT, GUEST_ADDR, GUEST_PORT, ID };

static const char *const names[] = {
	[EXECUTE] = "execute",	     [PROTO] = "proto",
	[HOST_ADDR] = "host_addr",   [HOST_PORT] = "host_port",
	[GUEST_ADDR] = "guest_addr", [GUEST_PORT] = "guest_port",
	[ID] = "id",
};

struct word {
	const char *at;
	size_t len; /* 0: not in the request */
};

struct json {
	const char *at, *end;
	struct word field[ARRAY_SIZE(names)];
};

/* --- a request ----------------------------------------------------------- */

static void skip(struct json *j)
{
	while (j->at < j->end && strchr(" \t\r\n", *j->at) && *j->at)
		j->at++;
}

static bool take(struct json *j, char c)
{
	skip(j);
	if (j->at == j->end || *j->at != c)
		return false;
	j->at++;
	return true;
}

static bool string(struct json *j, struct word *w)
{
	if (!take(j, '"'))
		return false;
	for (w->at = j->at; j->at < j->end && *j->at != '"'; j->at++)
		if (*j->at == '\\' || (unsigned char)*j->at < ' ')
			return false;
	w->len = (size_t)(j->at - w->at);
	return take(j, '"');
}

/* Take a number, true, false or null */
static bool bare(struct json *j, struct word *w)
{
	skip(j);
	for (w->at = j->at; j->at < j->end &&
			    (*j->at == '-' || (*j->at >= '0' && *j->at <= '9') ||
			     (*j->at >= 'a' && *j->at <= 'z'));
	     j->at++)
		;
	w->len = (size_t)(j->at - w->at);
	return w->len;
}

static bool is(const struct word *w, const char *text)
{
	return w->len == strlen(text) && !memcmp(w->at, text, w->len);
}

static bool members(struct json *j, bool inner);

static bool value(struct json *j, const struct word *name, bool inner)
{
	struct word w;
	unsigned i;

	skip(j);
	if (j->at < j->end && *j->at == '{')
		return !inner && is(name, "arguments") && members(j, true);
	if (j->at < j->end && *j->at == '"' ? !string(j, &w) : !bare(j, &w))
		return false;
	for (i = 0; i < ARRAY_SIZE(names); i++)
		if (is(name, names[i]) && inner == (i != EXECUTE))
			j->field[i] = w;
	return true;
}

static bool members(struct json *j, bool inner)
{
	struct word name;

	if (!take(j, '{'))
		return false;
	if (take(j, '}'))
		return true;
	do {
		if (!string(j, &name) || !take(j, ':') ||
		    !value(j, &name, inner))
			return false;
	} while (take(j, ','));
	return take(j, '}');
}

static bool parse(struct json *j)
{
	if (!members(j, false))
		return false;
	skip(j);
	return j->at == j->end;
}

/* --- what it asks for ---------------------------------------------------- */

static bool number(const struct word *w, uint64_t max, uint64_t *v)
{
	char text[24];

	snprintf(text, sizeof(text), "%.*s",
		 w->len < sizeof(text) ? (int)w->len : 0, w->at ? w->at : "");
	return util_parse_u64(text, 10, max, v) && *v;
}

static bool port(const struct word *w, uint16_t *v)
{
	uint64_t n;

	if (!number(w, UINT16_MAX, &n))
		return false;
	*v = (uint16_t)n;
	return true;
}

/* Parse an address of IPv4; without one, @a is left alone */
static bool address(const struct word *w, struct addr *a)
{
	char text[ADDR_TEXT_LEN];

	if (!w->len)
		return true;
	if (w->len >= sizeof(text))
		return false;
	snprintf(text, sizeof(text), "%.*s", (int)w->len, w->at);
	return addr_parse(text, a) && addr_is_v4(a);
}

/* Read an entry from the request; returns NULL, or the name of the field that
 * is wrong */
static const char *read_entry(const struct json *j, struct hostfwd_entry *e)
{
	const struct word *f = j->field;

	e->udp = is(&f[PROTO], "udp");
	if (!e->udp && !is(&f[PROTO], "tcp"))
		return names[PROTO];
	if (!address(&f[HOST_ADDR], &e->host))
		return names[HOST_ADDR];
	if (!port(&f[HOST_PORT], &e->host_port))
		return names[HOST_PORT];
	if (!address(&f[GUEST_ADDR], &e->guest))
		return names[GUEST_ADDR];
	if (!port(&f[GUEST_PORT], &e->guest_port))
		return names[GUEST_PORT];
	return NULL;
}

/* --- the answer ---------------------------------------------------------- */

struct answer {
	char *text;
	size_t len;
};

static void __attribute__((format(printf, 2, 3)))
say(struct answer *a, const char *fmt, ...)
{
	size_t room = HOSTFWD_ANSWER - a->len;
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(a->text + a->len, room, fmt, ap);
	va_end(ap);
	if (n > 0)
		a->len += MIN((size_t)n, room - 1);
}

/* Answer with an error.  In @why, which is text of others, quotes, backslashes
 * and control characters are replaced. */
static void refuse(struct answer *a, const char *verb, const char *what,
		   char *why)
{
	char *c;

	for (c = why; *c; c++)
		if (*c == '"' || *c == '\\' || (unsigned char)*c < ' ')
			*c = '\'';
	say(a, "{\"error\":{\"desc\":\"bad request: %s%s%s\"}}", verb, what,
	    why);
}

static void bad_field(struct answer *a, const char *verb, const char *field)
{
	char text[32];

	snprintf(text, sizeof(text), "%s", field);
	refuse(a, verb, "bad arguments.", text);
}

static bool is_taken(const struct hostfwd *h, const struct hostfwd_entry *e)
{
	const struct hostfwd_entry *o;

	for (o = h->entry; o < h->entry + h->n; o++)
		if (o->udp == e->udp && o->host_port == e->host_port &&
		    addr_equal(&o->host, &e->host))
			return true;
	return false;
}

static void add(struct hostfwd *h, const struct json *j, struct answer *a)
{
	struct hostfwd_entry e = { .host = addr_any(true), .guest = h->guest };
	const char *wrong = read_entry(j, &e);
	char why[HOSTFWD_WHY] = "is there, or there are too many";

	if (wrong) {
		bad_field(a, "add_hostfwd: ", wrong);
	} else if (h->n == HOSTFWD_MAX || is_taken(h, &e) || !h->change(h->owner, &e, true, why)) {
		refuse(a, "add_hostfwd: ", "", why);
	} else {
		e.id = ++h->last_id;
		h->entry[h->n++] = e;
		say(a, "{\"return\":{\"id\":%u}}", e.id);
	}
}

static void entries(const struct hostfwd *h, struct answer *a)
{
	char host[ADDR_TEXT_LEN], guest[ADDR_TEXT_LEN];
	const struct hostfwd_entry *e;

	say(a, "\"entries\":[");
	for (e = h->entry; e < h->entry + h->n; e++)
		say(a, "%s{\"id\":%u,\"proto\":\"%s\",\"host_addr\":\"%s\","
		       "\"host_port\":%u,\"guest_addr\":\"%s\","
		       "\"guest_port\":%u}", e > h->entry ? "," : "", e->id,
		    e->udp ? "udp" : "tcp", addr_text(&e->host, host),
		    e->host_port, addr_text(&e->guest, guest), e->guest_port);
	say(a, "]");
}

/* List the entries twice: in "return", as slirp4netns documents it, and beside
 * it, as slirp4netns 1.2 does */
static void list(const struct hostfwd *h, struct answer *a)
{
	say(a, "{\"return\":{");
	entries(h, a);
	say(a, "},");
	entries(h, a);
	say(a, "}");
}

static void drop(struct hostfwd *h, const struct json *j, struct answer *a)
{
	static const char verb[] = "remove_hostfwd: ";
	struct hostfwd_entry *e = h->entry;
	char why[HOSTFWD_WHY] = "";
	uint64_t id;

	if (!number(&j->field[ID], UINT32_MAX, &id))
		id = 0;
	while (e < h->entry + h->n && e->id != id)
		e++;
	if (e == h->entry + h->n) {
		bad_field(a, verb, names[ID]);
	} else if (!h->change(h->owner, e, false, why)) {
		refuse(a, verb, "", why);
	} else {
		h->n--;
		memmove(e, e + 1, (size_t)((char *)&h->entry[h->n] - (char *)e));
		say(a, "{\"return\":{}}");
	}
}

size_t hostfwd_request(struct hostfwd *h, const char *text, size_t len,
		       char answer[HOSTFWD_ANSWER])
{
	struct json j = { .at = text, .end = text + len };
	const struct word *verb = &j.field[EXECUTE];
	struct answer a = { .text = answer };
	char none[] = "";

	if (!parse(&j))
		refuse(&a, "cannot parse JSON", "", none);
	else if (!verb->len)
		refuse(&a, "no execute found", "", none);
	else if (is(verb, "add_hostfwd"))
		add(h, &j, &a);
	else if (is(verb, "list_hostfwd"))
		list(h, &a);
	else if (is(verb, "remove_hostfwd"))
		drop(h, &j, &a);
	else
		refuse(&a, "unknown execute", "", none);
	return a.len;
}
