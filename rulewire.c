/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * rulewire - the tables of forwarding rules as the control socket carries them
 *
 * Whenever more of a message has come it is read from its first byte again: a
 * handful of counts tell how long it has to be, so that costs nothing, and no
 * state is kept that a client could leave unfinished.  Rules are looked at once
 * all of them have arrived.
 */
#include "rulewire.h"

#include <stdarg.h>
#include <stdio.h>

enum { IFNAME = 16 };

static const char magic[8] = "basil:s";

PRINTF(2, 3) static enum rulewire bad(char err[RULE_ERR], const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(err, RULE_ERR, fmt, ap);
	va_end(ap);
	return RULEWIRE_BAD;
}

uint32_t rulewire_caps(const struct rules_env *env)
{
	return (env->v4 ? RULEWIRE_V4 : 0U) | (env->v6 ? RULEWIRE_V6 : 0U) |
	       (env->tcp ? RULEWIRE_TCP : 0U) | (env->udp ? RULEWIRE_UDP : 0U) |
	       (env->pasta ? RULEWIRE_SCAN : 0U) |
	       (env->bindtodevice ? RULEWIRE_IFNAME : 0U);
}

struct rules_env rulewire_env(uint32_t caps)
{
	return (struct rules_env){
		.v4 = caps & RULEWIRE_V4,
		.v6 = caps & RULEWIRE_V6,
		.tcp = caps & RULEWIRE_TCP,
		.udp = caps & RULEWIRE_UDP,
		.pasta = caps & RULEWIRE_SCAN,
		.bindtodevice = caps & RULEWIRE_IFNAME,
	};
}

/* --- writing ------------------------------------------------------------- */

static void put_rule(struct wr *w, const struct rule *r)
{
	wr_bytes(w, r->listen.b, sizeof(r->listen.b));
	wr_bytes(w, r->target.b, sizeof(r->target.b));
	wr_bytes(w, r->ifname, IFNAME);
	wr_be16(w, r->first);
	wr_be16(w, r->last);
	wr_be16(w, r->to);
	wr_u8(w, r->proto);
	wr_u8(w, r->flags);
}

static void put_rules(struct wr *w, const struct rules *rules)
{
	unsigned i;

	wr_be32(w, rules->n);
	for (i = 0; i < rules->n; i++)
		put_rule(w, &rules->r[i]);
}

void rulewire_greet(struct wr *w, const struct rulewire_table *t, unsigned n)
{
	unsigned i;

	wr_bytes(w, magic, sizeof(magic));
	wr_be32(w, RULEWIRE_VERSION);
	wr_be32(w, RULEWIRE_NAME);
	wr_be32(w, IFNAME);
	for (i = 0; i < n; i++) {
		wr_u8(w, t[i].id);
		wr_bytes(w, t[i].name, RULEWIRE_NAME);
		wr_be32(w, t[i].caps);
		put_rules(w, &t[i].rules);
	}
	wr_u8(w, 0);
}

void rulewire_update(struct wr *w, const struct rulewire_table *t, unsigned n)
{
	unsigned i;

	for (i = 0; i < n; i++) {
		wr_u8(w, t[i].id);
		put_rules(w, &t[i].rules);
	}
	wr_u8(w, 0);
}

/* --- reading ------------------------------------------------------------- */

static bool has_nul(const char *s, size_t n)
{
	return memchr(s, '\0', n) != NULL;
}

/* Read a rule; false if the name of its interface has no terminating NUL */
static bool get_rule(struct rd *in, struct rule *r)
{
	bool ok;

	rd_copy(in, r->listen.b, sizeof(r->listen.b));
	rd_copy(in, r->target.b, sizeof(r->target.b));
	rd_copy(in, r->ifname, IFNAME);
	r->first = rd_be16(in);
	r->last = rd_be16(in);
	r->to = rd_be16(in);
	r->proto = rd_u8(in);
	r->flags = rd_u8(in);
	ok = has_nul(r->ifname, IFNAME);
	if (ok) /* control.c compares tables with memcmp() */
		memset(r->ifname + strlen(r->ifname), 0,
		       IFNAME - strlen(r->ifname));
	return ok;
}

/* Read a count and as many rules; @rules becomes a reader of them */
static enum rulewire get_count(struct rd *in, struct rd *rules, char *err)
{
	uint32_t count = rd_be32(in);

	if (!rd_ok(in))
		return RULEWIRE_MORE;
	if (count > RULES_MAX)
		return bad(err, "Too many forwarding rules (%u, maximum %d)",
			   count, RULES_MAX);
	*rules = rd_sub(in, count * RULEWIRE_RULE);
	return rd_ok(in) ? RULEWIRE_DONE : RULEWIRE_MORE;
}

static struct rulewire_table *find(struct rulewire_table *t, unsigned n,
				   uint8_t id)
{
	unsigned i;

	for (i = 0; i < n; i++)
		if (t[i].id == id)
			return &t[i];
	return NULL;
}

static bool same_name(const struct rulewire_table *t, unsigned n,
		      const char *name)
{
	unsigned i;

	for (i = 0; i < n; i++)
		if (!strcmp(t[i].name, name))
			return true;
	return false;
}

static enum rulewire get_hello(struct rd *in, char *err)
{
	const void *got = rd_view(in, sizeof(magic));
	uint32_t version = rd_be32(in), name = rd_be32(in),
		 ifname = rd_be32(in);

	if (got && memcmp(got, magic, sizeof(magic)))
		return bad(err, "Bad magic number from server");
	if (!rd_ok(in))
		return RULEWIRE_MORE;
	if (!version)
		return bad(err, "Unsupported experimental server protocol");
	if (version > RULEWIRE_VERSION)
		return bad(err, "Unknown server protocol version %u > %d",
			   version, RULEWIRE_VERSION);
	if (version < RULEWIRE_VERSION) /* its rules have another length */
		return bad(err, "Server protocol version %u is too old",
			   version);
	if (name != RULEWIRE_NAME)
		return bad(err, "Server has unexpected pif name size "
				"(%u not %d)", name, RULEWIRE_NAME);
	if (ifname != IFNAME)
		return bad(err, "Server has unexpected IFNAMSIZ (%u not %d)",
			   ifname, IFNAME);
	return RULEWIRE_DONE;
}

static enum rulewire get_table(struct rd *in, struct rulewire_table *t,
			       unsigned n, char *err)
{
	struct rulewire_table *new = &t[n];
	struct rd rules = { 0 }; /* gcc 12 with -flto warns otherwise */
	enum rulewire ret;

	if (n == RULEWIRE_TABLES)
		return bad(err, "Server has too many tables");
	rd_copy(in, new->name, RULEWIRE_NAME);
	new->caps = rd_be32(in);
	if (!rd_ok(in))
		return RULEWIRE_MORE;
	if (!has_nul(new->name, RULEWIRE_NAME))
		return bad(err, "Server has a table name without end");
	if (find(t, n, new->id) || same_name(t, n, new->name))
		return bad(err, "Server has table %s (%u) twice", new->name,
			   new->id);
	ret = get_count(in, &rules, err);
	if (ret != RULEWIRE_DONE)
		return ret;
	new->rules = (struct rules){ .splice = !strcmp(new->name, "SPLICE") };
	while (rd_left(&rules)) {
		struct rule *r = &new->rules.r[new->rules.n++];

		if (!get_rule(&rules, r))
			return bad(err, "Server has an interface name without "
					"end");
		new->rules.sockets += (uint16_t)(r->last - r->first) + 1U;
	}
	return RULEWIRE_DONE;
}

enum rulewire rulewire_greeted(const void *p, size_t len,
			       struct rulewire_table t[RULEWIRE_TABLES],
			       unsigned *n, char err[RULE_ERR])
{
	struct rd in = rd_init(p, len);
	enum rulewire ret = get_hello(&in, err);
	uint8_t id;

	*n = 0;
	while (ret == RULEWIRE_DONE) {
		id = rd_u8(&in);
		if (!rd_ok(&in))
			return RULEWIRE_MORE;
		if (!id)
			return RULEWIRE_DONE;
		if (*n < RULEWIRE_TABLES)
			t[*n].id = id;
		ret = get_table(&in, t, *n, err);
		++*n;
	}
	return ret;
}

size_t rulewire_greeting(const struct rulewire_table *t, unsigned n)
{
	size_t len = sizeof(magic) + 3 * sizeof(uint32_t) + 1;

	for (; n--; t++)
		len += 1 + RULEWIRE_NAME + 2 * sizeof(uint32_t) +
		       t->rules.n * RULEWIRE_RULE;
	return len;
}

/* Tell whether all of an update is there, and set @view to where the rules of
 * each table are */
static enum rulewire measure(struct rd *in, struct rulewire_table *t,
			     unsigned n, struct rd view[RULEWIRE_TABLES],
			     char *err)
{
	unsigned seen = 0, i;
	enum rulewire ret;
	uint8_t id;

	for (;;) {
		id = rd_u8(in);
		if (!rd_ok(in))
			return RULEWIRE_MORE;
		if (!id)
			return RULEWIRE_DONE;
		if (!find(t, n, id))
			return bad(err, "There is no forwarding table %u", id);
		i = (unsigned)(find(t, n, id) - t);
		if (seen & 1U << i)
			return bad(err, "Forwarding table %s given twice",
				   t[i].name);
		seen |= 1U << i;
		ret = get_count(in, &view[i], err);
		if (ret != RULEWIRE_DONE)
			return ret;
	}
}

static enum rulewire take_rules(struct rules *rules, struct rd in,
				const struct rules_env *env, char *err)
{
	struct rule r;

	rules->n = rules->sockets = 0;
	while (rd_left(&in)) {
		if (!get_rule(&in, &r))
			return bad(err, "Interface name without end in "
					"forwarding rule");
		if (!rules_add(rules, &r, env, err))
			return RULEWIRE_BAD;
	}
	return RULEWIRE_DONE;
}

enum rulewire rulewire_updated(const void *p, size_t len,
			       struct rulewire_table *t, unsigned n,
			       const struct rules_env *env, char err[RULE_ERR])
{
	struct rd in = rd_init(p, len), view[RULEWIRE_TABLES];
	enum rulewire ret;
	unsigned i;

	for (i = 0; i < RULEWIRE_TABLES; i++)
		view[i] = rd_init(p, 0);
	ret = measure(&in, t, MIN(n, (unsigned)RULEWIRE_TABLES), view, err);
	for (i = 0; ret == RULEWIRE_DONE && i < n; i++)
		ret = take_rules(&t[i].rules, view[i], env, err);
	return ret;
}
