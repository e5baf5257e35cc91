/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * mcast - which multicast groups, and which sources of them, the guest wants to
 * hear
 *
 * There may be several hosts behind the guest's link (bridges, nested
 * machines), so all of a router's part is here: when one leaves a group, the
 * others are asked before that is believed.  Queries are of the newest versions
 * only, which older hosts read as queries of theirs.  Other queriers are not
 * listened to: a bridge that snoops hears us, and forwards reports to us.
 *
 * A source is wanted until its timer expires.  In a group where all sources but
 * some are wanted, these have no timer (RFC 3376, 6.2.3).  So a set is a list
 * with a number for each source, and the tables of 6.4 say what happens to
 * those that a record names, those that it does not, and those that are new.
 */
#include "mcast.h"

#include "checksum.h"
#include "log.h"

#include <netinet/in.h>

enum {
	IGMP_QUERY = 0x11,
	IGMP1_REPORT = 0x12,
	IGMP2_REPORT = 0x16,
	IGMP2_LEAVE = 0x17,
	IGMP3_REPORT = 0x22,
	MLD_QUERY = 130,
	MLD1_REPORT = 131,
	MLD1_DONE = 132,
	MLD2_REPORT = 143,
};

/* Types of records, RFC 3376 4.2.12 and RFC 3810 5.2.12 */
enum { IS_IN = 1, IS_EX, TO_IN, TO_EX, ALLOW, BLOCK };

#define SECONDS(n) ((n) * UINT64_C(1000))

static unsigned family(const struct addr *a)
{
	return addr_is_v4(a) ? 0 : 1;
}

static void free_group(struct mcast *m, struct mcast_group *g)
{
	*g = (struct mcast_group){ 0 };
	m->version++;
}

void mcast_init(struct mcast *m, const struct lan *lan)
{
	m->lan = lan;
}

void mcast_start(struct mcast *m, const bool on[2], uint64_t now_ms)
{
	struct mcast_group *g = m->group;
	unsigned i;

	for (i = 0; i < 2 * MCAST_GROUPS; i++)
		if (mcast_used(m, i) && !addr_is_none(&g[i].addr))
			free_group(m, &g[i]);
	for (i = 0; i < 2; i++) {
		m->general_ms[i] = on[i] ? MAX(now_ms, UINT64_C(1)) : 0;
		m->begun[i] = 0;
	}
}

/* --- the table ----------------------------------------------------------- */

static struct mcast_group *group_of(struct mcast *m, const struct addr *a)
{
	struct mcast_group *g = &m->group[family(a) * MCAST_GROUPS];
	unsigned i;

	for (i = 0; i < m->used[family(a)]; i++)
		if (addr_equal(&g[i].addr, a))
			return &g[i];
	return NULL;
}

const struct mcast_group *mcast_find(const struct mcast *m,
				     const struct addr *group)
{
	return group_of((struct mcast *)(uintptr_t)m, group);
}

static struct mcast_source *source_of(struct mcast_group *g,
				      const struct addr *a)
{
	unsigned i;

	for (i = 0; i < g->n; i++)
		if (addr_equal(&g->source[i].addr, a))
			return &g->source[i];
	return NULL;
}

bool mcast_wants(const struct mcast *m, const struct addr *group,
		 const struct addr *source)
{
	struct mcast_group *g = group_of((struct mcast *)(uintptr_t)m, group);
	const struct mcast_source *s = g ? source_of(g, source) : NULL;

	return g && (s ? s->until_ms != 0 : g->exclude);
}

static void changed(struct mcast *m, struct mcast_group *g)
{
	g->version = ++m->version;
}

static void refuse(struct mcast *m, const struct addr *group)
{
	char text[ADDR_TEXT_LEN];

	if (!m->refused++)
		log_warn("No room for more of what the guest joins: %s",
			 addr_text(group, text));
}

/* Whether a group is carried: not one of the guest's link alone, for which the
 * host has nothing */
static bool is_carried(const struct addr *a)
{
	static const struct addr solicited = {
		{ .b = { 0xff, 2, [11] = 1, [12] = 0xff } }
	};

	if (!addr_is_multicast(a))
		return false;
	if (addr_is_v4(a)) /* all hosts, all routers, IGMPv3's */
		return memcmp(&a->b[12], "\xe0\0\0", 3) ||
		       (a->b[15] != 1 && a->b[15] != 2 && a->b[15] != 22);
	if ((a->b[1] & 15) < 2 || addr_in_prefix(a, &solicited, 104))
		return false;
	/* likewise for MLD: ff02::1, ::2, ::16 */
	return a->b[1] != 2 || memcmp(&a->b[2], solicited.b + 2, 9) ||
	       memcmp(&a->b[11], "\0\0\0\0", 4) ||
	       (a->b[15] != 1 && a->b[15] != 2 && a->b[15] != 0x16);
}

static struct mcast_group *new_group(struct mcast *m, const struct addr *a)
{
	const struct addr none = { 0 };
	struct mcast_group *g = &m->group[family(a) * MCAST_GROUPS];
	unsigned i;

	for (i = 0; i < m->used[family(a)]; i++)
		if (addr_equal(&g[i].addr, &none))
			break;
	if (i == MCAST_GROUPS) {
		refuse(m, a);
		return NULL;
	}
	m->used[family(a)] = MAX(m->used[family(a)], i + 1);
	g[i] = (struct mcast_group){ .addr = *a };
	changed(m, &g[i]);
	return &g[i];
}

static struct mcast_source *new_source(struct mcast *m, struct mcast_group *g,
				       const struct addr *a)
{
	struct mcast_source *s = &g->source[g->n];

	if (g->n == MCAST_SOURCES) {
		refuse(m, &g->addr);
		return NULL;
	}
	g->n++;
	*s = (struct mcast_source){ .addr = *a };
	changed(m, g);
	return s;
}

static void free_source(struct mcast *m, struct mcast_group *g,
			struct mcast_source *s)
{
	*s = g->source[--g->n];
	changed(m, g);
}

static void want(struct mcast *m, struct mcast_group *g,
		 struct mcast_source *s, uint64_t until_ms)
{
	if (!s->until_ms)
		changed(m, g);
	s->until_ms = until_ms;
	s->asks = 0;
}

/* Ask whether anybody wants a source: a host that does answers within this
 * time */
static void ask_source(struct mcast_group *g, struct mcast_source *s,
		       uint64_t now)
{
	uint64_t last = now + SECONDS(MCAST_LAST_S * MCAST_ROBUST);

	if (s->until_ms <= last)
		return;
	s->until_ms = last;
	s->asks = MCAST_ROBUST;
	g->ask_ms = now;
}

static void ask_group(struct mcast_group *g, uint64_t now)
{
	uint64_t last = now + SECONDS(MCAST_LAST_S * MCAST_ROBUST);

	if (g->until_ms <= last)
		return;
	g->until_ms = last;
	g->asks = MCAST_ROBUST;
	g->ask_ms = now;
}

/* --- reports ------------------------------------------------------------- */

/* How a record changes the table (RFC 3376, 6.4).  @rank says whether a source
 * is named by the record and known, named and new, or not named. */
enum rank { KNOWN, NEW, UNNAMED };

static void included(struct mcast *m, struct mcast_group *g,
		     struct mcast_source *s, enum rank rank, unsigned type,
		     uint64_t now)
{
	switch (type) {
	case IS_IN:
	case ALLOW:
	case TO_IN:
		if (rank != UNNAMED)
			want(m, g, s, now + SECONDS(MCAST_MEMBER_S));
		else if (type == TO_IN)
			ask_source(g, s, now);
		break;
	case TO_EX:
		if (rank == KNOWN)
			ask_source(g, s, now);
		break;
	case BLOCK:
		if (rank == KNOWN)
			ask_source(g, s, now);
		break;
	}
}

static void excluded(struct mcast *m, struct mcast_group *g,
		     struct mcast_source *s, enum rank rank, unsigned type,
		     uint64_t now)
{
	switch (type) {
	case IS_IN:
	case ALLOW:
	case TO_IN:
		if (rank != UNNAMED)
			want(m, g, s, now + SECONDS(MCAST_MEMBER_S));
		else if (type == TO_IN)
			ask_source(g, s, now);
		break;
	case IS_EX:
		if (rank == NEW)
			want(m, g, s, now + SECONDS(MCAST_MEMBER_S));
		break;
	case TO_EX:
	case BLOCK:
		if (rank == NEW)
			want(m, g, s, g->until_ms);
		if (rank != UNNAMED)
			ask_source(g, s, now);
		break;
	}
}

/* Mark the record's sources that are known, and add as many new ones as there
 * is room for */
static void name(struct mcast *m, struct mcast_group *g, unsigned type,
		 struct rd in, unsigned *fresh)
{
	bool v4 = addr_is_v4(&g->addr), adds = g->exclude || type != BLOCK;
	struct mcast_source *s;
	unsigned i;

	for (i = 0; i < g->n; i++)
		g->source[i].named = false;
	*fresh = g->n;
	while (rd_left(&in)) {
		const void *b = rd_view(&in, v4 ? 4 : 16);
		struct addr a;

		if (!b)
			return;
		a = v4 ? addr_from4(b) : addr_from6(b);
		s = source_of(g, &a);
		if (!s && adds && addr_is_unicast(&a) &&
		    addr_is_v4(&a) == v4)
			s = new_source(m, g, &a);
		if (s)
			s->named = true;
	}
}

static void apply(struct mcast *m, struct mcast_group *g, unsigned type,
		  struct rd sources, uint64_t now)
{
	bool all = type == IS_EX || type == TO_EX, was = g->exclude;
	struct mcast_source *s;
	unsigned fresh, i;

	/* Sources that it does not name make room for those that it does */
	if (all && !rd_left(&sources))
		while (g->n)
			free_source(m, g, &g->source[g->n - 1]);
	name(m, g, type, sources, &fresh);
	for (i = 0; i < g->n; i++) {
		enum rank rank = i >= fresh ? NEW : UNNAMED;

		s = &g->source[i];
		if (rank == UNNAMED && s->named)
			rank = KNOWN;
		if (was)
			excluded(m, g, s, rank, type, now);
		else
			included(m, g, s, rank, type, now);
	}
	if (all) {
		for (i = g->n; i-- > 0;)
			if (!g->source[i].named)
				free_source(m, g, &g->source[i]);
		if (!was)
			changed(m, g);
		g->exclude = true;
		g->until_ms = now + SECONDS(MCAST_MEMBER_S);
		g->asks = 0;
	} else if (was && type == TO_IN) {
		ask_group(g, now);
	}
	if (!g->exclude && !g->n)
		free_group(m, g);
}

/* Whether a record counts if there are older hosts, which cannot say the same,
 * or would not understand our query (RFC 3376, 7.3.2) */
static bool understood(const struct mcast_group *g, unsigned *type,
		       struct rd *sources, uint64_t now)
{
	bool v1 = now < g->v1_ms, v2 = v1 || now < g->v2_ms;

	if ((v1 && *type == TO_IN) || (v2 && *type == BLOCK))
		return false;
	if (v2 && *type == TO_EX)
		*sources = rd_init(NULL, 0);
	return true;
}

static void record(struct mcast *m, const struct addr *group, unsigned type,
		   struct rd sources, uint64_t now)
{
	struct mcast_group *g;

	if (!is_carried(group) || type < IS_IN || type > BLOCK ||
	    !m->general_ms[family(group)])
		return;
	g = group_of(m, group);
	if (!g) {
		if (type == BLOCK || (type != IS_EX && type != TO_EX &&
				      !rd_left(&sources)))
			return;
		g = new_group(m, group);
	}
	if (g && understood(g, &type, &sources, now))
		apply(m, g, type, sources, now);
}

static bool records(struct mcast *m, struct rd in, bool v4, uint64_t now)
{
	size_t len = v4 ? 4 : 16;
	unsigned n;

	rd_skip(&in, 6);
	for (n = rd_be16(&in); n; n--) {
		unsigned type = rd_u8(&in), aux = rd_u8(&in);
		size_t cnt = rd_be16(&in);
		const void *b = rd_view(&in, len);
		struct rd sources = rd_sub(&in, cnt * len);
		struct addr group;

		rd_skip(&in, aux * 4);
		if (!rd_ok(&in))
			return false;
		group = v4 ? addr_from4(b) : addr_from6(b);
		if (addr_is_v4(&group) == v4)
			record(m, &group, type, sources, now);
	}
	return rd_ok(&in);
}

/* A report of IGMPv1, IGMPv2 or MLDv1: one group, all sources */
static bool old_report(struct mcast *m, struct rd in, bool v4, unsigned type,
		       bool v1, uint64_t now)
{
	struct mcast_group *g;
	struct addr group;
	const void *b;

	rd_skip(&in, v4 ? 4 : 8);
	b = rd_view(&in, v4 ? 4 : 16);
	if (!b)
		return false;
	group = v4 ? addr_from4(b) : addr_from6(b);
	if (addr_is_v4(&group) != v4)
		return false;
	record(m, &group, type, rd_init(NULL, 0), now);
	g = type == IS_EX ? group_of(m, &group) : NULL;
	if (g)
		*(v1 ? &g->v1_ms : &g->v2_ms) = now + SECONDS(MCAST_MEMBER_S);
	return true;
}

bool mcast_is(const struct packet *p)
{
	return p->kind == PACKET_IGMP ||
	       (p->kind == PACKET_ICMP6 &&
		((p->icmp_type >= MLD_QUERY && p->icmp_type <= MLD1_DONE) ||
		 p->icmp_type == MLD2_REPORT));
}

static bool sum_ok(const struct packet *p, const struct rd *in)
{
	uint64_t sum = 0;

	if (p->kind != PACKET_IGMP)
		sum = csum_pseudo(&p->t.src, &p->t.dst, IPPROTO_ICMPV6,
				  (uint32_t)rd_left(in));
	return !csum_finish(csum_add(sum, in->p, rd_left(in)));
}

/* Whether a report is from a host on this very link (RFC 3810, 5.2.13) */
static bool is_near(const struct packet *p)
{
	if (p->kind == PACKET_IGMP)
		return addr_is_unicast(&p->t.src) ||
		       addr_is_unspecified(&p->t.src);
	return p->ttl == 1 && (addr_is_link_local(&p->t.src) ||
			       addr_is_unspecified(&p->t.src));
}

enum verdict mcast_input(struct mcast *m, const struct packet *p, struct rd in,
			 uint64_t now)
{
	bool v4 = p->kind == PACKET_IGMP, ok;

	if (!is_near(p))
		return DROP_ENDPOINT;
	if (rd_left(&in) < p->payload_len)
		return DROP_MALFORMED;
	if (!sum_ok(p, &in))
		return DROP_CHECKSUM;
	switch (p->icmp_type) {
	case IGMP1_REPORT:
		ok = v4 && old_report(m, in, v4, IS_EX, true, now);
		break;
	case IGMP2_REPORT:
	case MLD1_REPORT:
		ok = old_report(m, in, v4, IS_EX, false, now);
		break;
	case IGMP2_LEAVE:
	case MLD1_DONE:
		ok = old_report(m, in, v4, TO_IN, false, now);
		break;
	case IGMP3_REPORT:
	case MLD2_REPORT:
		ok = records(m, in, v4, now);
		break;
	default: /* other queriers, routing protocols */
		return DROP_UNWANTED;
	}
	return ok ? PASS : DROP_MALFORMED;
}

/* --- queries, and the end ------------------------------------------------ */

struct mac mcast_mac(const struct addr *a)
{
	if (addr_is_v4(a))
		return (struct mac){ { 1, 0, 0x5e, a->b[13] & 0x7f, a->b[14],
				       a->b[15] } };
	return (struct mac){ { 0x33, 0x33, a->b[12], a->b[13], a->b[14],
			       a->b[15] } };
}

/* Write a query up to its sources: maximum response time, group, QRV and QQIC
 * of RFC 3376 4.1 and RFC 3810 5.1 */
static void query(const struct mcast *m, const struct addr *group, bool v4,
		  unsigned answer_s, struct answer *out)
{
	static const struct addr all6 = { { .b = { 0xff, 2, [15] = 1 } } };
	struct wr *w = &out->body;
	struct head *h = &out->head;

	*h = (struct head){
		.src = m->lan->mac,
		.t = { .src = v4 ? m->lan->our4 : m->lan->our_ll6,
		       .dst = group ? *group :
			      v4    ? addr_v4(224, 0, 0, 1) : all6,
		       .proto = v4 ? IPPROTO_IGMP : IPPROTO_ICMPV6 },
		.ttl = 1,
	};
	h->dst = mcast_mac(&h->t.dst);
	out->arp = false;
	out->alert = true;
	wr_u8(w, v4 ? IGMP_QUERY : MLD_QUERY);
	wr_u8(w, (uint8_t)(v4 ? answer_s * 10 : 0));
	wr_be16(w, 0);
	if (!v4) {
		wr_be16(w, (uint16_t)(answer_s * 1000));
		wr_be16(w, 0);
	}
	if (group)
		wr_bytes(w, v4 ? &group->b[12] : group->b, v4 ? 4 : 16);
	else
		wr_fill(w, 0, v4 ? 4 : 16);
	wr_u8(w, MCAST_ROBUST);
	wr_u8(w, MCAST_QUERY_S);
}

static bool ask_all(struct mcast *m, unsigned i, uint64_t now,
		    struct answer *out)
{
	unsigned s = MCAST_QUERY_S, answer_s = MCAST_ANSWER_S;

	/* At the start soon (RFC 3376, 8.6), so that nobody is for long without
	 * what it had before us */
	if (++m->begun[i] == 1)
		answer_s = MCAST_LAST_S;
	if (m->begun[i] < MCAST_ROBUST)
		s /= 4;
	m->general_ms[i] = now + SECONDS(s);
	if (addr_is_none(i ? &m->lan->our_ll6 : &m->lan->our4))
		return false;
	query(m, NULL, i == 0, answer_s, out);
	wr_be16(&out->body, 0);
	return true;
}

/* Make a query for the group, or for sources of it that somebody does not want
 * any more */
static bool ask_again(struct mcast *m, struct mcast_group *g, uint64_t now,
		      struct answer *out)
{
	bool v4 = addr_is_v4(&g->addr), whole = g->asks, more = false;
	uint16_t n = 0;
	unsigned i;

	if (whole)
		more = --g->asks;
	for (i = 0; i < g->n; i++) {
		g->source[i].named = !whole && g->source[i].asks;
		if (whole) /* who wants them says so now */
			g->source[i].asks = 0;
		if (!g->source[i].named)
			continue;
		n++;
		more |= --g->source[i].asks != 0;
	}
	g->ask_ms = more ? now + SECONDS(MCAST_LAST_S) : 0;
	if (!whole && !n)
		return false;
	query(m, &g->addr, v4, MCAST_LAST_S, out);
	wr_be16(&out->body, n);
	for (i = 0; n && i < g->n; i++)
		if (g->source[i].named)
			wr_bytes(&out->body,
				 v4 ? &g->source[i].addr.b[12]
				    : g->source[i].addr.b, v4 ? 4 : 16);
	return !addr_is_none(v4 ? &m->lan->our4 : &m->lan->our_ll6);
}

static void expire(struct mcast *m, struct mcast_group *g, uint64_t now)
{
	struct mcast_source *s;
	unsigned i;

	for (i = g->n; i-- > 0;) {
		s = &g->source[i];
		if (!s->until_ms || s->until_ms > now)
			continue;
		if (g->exclude && g->until_ms > now) {
			s->until_ms = 0;
			s->asks = 0;
			changed(m, g);
		} else {
			free_source(m, g, s);
		}
	}
	if (g->exclude && g->until_ms <= now) {
		for (i = g->n; i-- > 0;)
			if (!g->source[i].until_ms)
				free_source(m, g, &g->source[i]);
		g->exclude = false;
		g->asks = 0;
		changed(m, g);
	}
	if (!g->exclude && !g->n)
		free_group(m, g);
}

static uint64_t sooner(uint64_t a, uint64_t b)
{
	return !a ? b : !b ? a : MIN(a, b);
}

static uint64_t due(const struct mcast_group *g)
{
	uint64_t t = sooner(g->ask_ms, g->exclude ? g->until_ms : 0);
	unsigned i;

	for (i = 0; i < g->n; i++)
		t = sooner(t, g->source[i].until_ms);
	return t;
}

uint64_t mcast_due(const struct mcast *m)
{
	uint64_t t = sooner(m->general_ms[0], m->general_ms[1]);
	const struct mcast_group *g = m->group;
	unsigned i;

	for (i = 0; i < 2 * MCAST_GROUPS; i++)
		if (mcast_used(m, i) && !addr_is_none(&g[i].addr))
			t = sooner(t, due(&g[i]));
	return t;
}

bool mcast_next(struct mcast *m, uint64_t now, struct answer *out)
{
	struct mcast_group *g = m->group;
	unsigned i;

	for (i = 0; i < 2 * MCAST_GROUPS; i++) {
		if (!mcast_used(m, i) || addr_is_none(&g[i].addr))
			continue;
		if (due(&g[i]) && due(&g[i]) <= now)
			expire(m, &g[i], now);
		if (g[i].ask_ms && g[i].ask_ms <= now &&
		    ask_again(m, &g[i], now, out))
			return true;
	}
	for (i = 0; i < 2; i++)
		if (m->general_ms[i] && m->general_ms[i] <= now &&
		    ask_all(m, i, now, out))
			return true;
	return false;
}
