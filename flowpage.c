/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * flowpage - the page /flows: what is connected with what
 *
 * A reader's position is an index into the flow table, which is valid whatever
 * flows come or go meanwhile: a flow that is there from the first slice to the
 * last is listed once.  What the kernel knows of a connection is asked for when
 * the flow is listed.
 */
#include "flowpage.h"

#include "addr.h"
#include "sock.h"

#include <assert.h>

enum { LOOK = 256 }; /* entries of the table in one turn: 0.2 ms */

struct place {
	uint32_t at; /* the next entry */
	bool tsv, headed, told;
	bool by_addr;
	uint16_t port; /* 0: any */
	struct addr addr;
};
static_assert(sizeof(struct place) <= sizeof(((struct http_answer *)0)->cursor),
	      "where a reader is");

/* A flow as it is listed */
struct view {
	const struct flow *flow;
	struct side guest, host; /* from that side's view */
	unsigned guest_side;
	struct flow_count count;
};

static struct place *place_of(struct http_answer *a)
{
	return (struct place *)(void *)a->cursor;
}

/* --- what is asked for -----------------------------------------------------
 */

static const char *take_param(struct http_answer *a, const char *name,
			      const char *value)
{
	struct place *p = place_of(a);
	uint64_t port;

	if (!strcmp(name, "format")) {
		p->tsv = !strcmp(value, "tsv");
		if (p->tsv)
			a->type = "text/tab-separated-values; charset=utf-8";
		return p->tsv || !strcmp(value, "json")
			       ? NULL
			       : "format is json or tsv";
	}
	if (!strcmp(name, "port")) {
		if (!util_parse_u64(value, 10, UINT16_MAX, &port) || !port)
			return "port is a number from 1 to 65535";
		p->port = (uint16_t)port;
		return NULL;
	}
	if (strcmp(name, "address"))
		return "Parameters are format, port and address";
	p->by_addr = true;
	return addr_parse(value, &p->addr) ? NULL : "address is not one";
}

static const char *begin(void *owner, char *query, struct http_answer *a)
{
	const char *name, *value, *wrong = NULL;

	(void)owner;
	while (!wrong && http_param(&query, &name, &value))
		wrong = take_param(a, name, value);
	return wrong || !name ? wrong : "That is no parameter";
}

/* --- flows -----------------------------------------------------------------
 */

/* Ask the kernel for a local address or port that it chose itself for a socket
 * that we never bound */
static void look_up(struct side *s)
{
	struct addr a = { 0 };
	uint16_t port = 0;

	if (s->fd < 0 || (s->our_port && !addr_is_none(&s->ours) &&
			  !addr_is_unspecified(&s->ours)))
		return;
	if (sock_local(s->fd, &a, &port))
		return;
	s->ours = a;
	s->our_port = port;
}

/* The side as the guest or the namespace sees it: we are its peer */
static struct side turned(const struct side *s)
{
	struct side t = *s;

	t.ours = s->theirs;
	t.our_port = s->their_port;
	t.theirs = s->ours;
	t.their_port = s->our_port;
	return t;
}

static struct view view(const struct flow *f)
{
	struct view v = { .flow = f, .guest_side = f->side[0].pif == PIF_HOST };
	const struct side *guest = &f->side[v.guest_side];
	struct side inner = *guest;

	v.host = f->side[!v.guest_side];
	look_up(&v.host);
	if (guest->pif == PIF_SPLICE)
		look_up(&inner);
	v.guest = turned(&inner);
	return v;
}

static bool side_has(const struct place *p, const struct side *s, bool *addr)
{
	*addr |= addr_equal(&s->ours, &p->addr) ||
		 addr_equal(&s->theirs, &p->addr);
	return s->our_port == p->port || s->their_port == p->port;
}

static bool wanted(const struct place *p, const struct view *v)
{
	bool addr = false, port;

	port = side_has(p, &v->guest, &addr);
	port |= side_has(p, &v->host, &addr);
	return (addr || !p->by_addr) && (port || !p->port);
}

static const char *proto(const struct flow *f)
{
	switch (flow_proto(f)) {
	case 6:
		return "tcp";
	case 17:
		return "udp";
	default:
		return "icmp";
	}
}

static const char *path(const struct flow *f)
{
	return f->kind == FLOW_SPLICE || f->kind == FLOW_UDP_SPLICE ? "spliced"
								    : "guest";
}

static const char *from(const struct view *v)
{
	return v->guest_side ? "host" : "guest";
}

static uint64_t id(const struct flow *f)
{
	return f->gen;
}

/* --- as text ---------------------------------------------------------------
 */

static void put_u64(struct wr *w, uint64_t v)
{
	char text[20];

	wr_bytes(w, text, (size_t)(util_decimal(text, v, 1) - text));
}

static void put_text(struct wr *w, const char *s)
{
	wr_bytes(w, s, strlen(s));
}

static void put_addr(struct wr *w, const struct addr *a)
{
	char text[ADDR_TEXT_LEN];

	put_text(w, addr_is_none(a) ? "" : addr_text(a, text));
}

static void tab_side(struct wr *w, const struct side *s)
{
	char none[ADDR_TEXT_LEN];
	const struct addr *a[2] = { &s->ours, &s->theirs };
	const uint16_t port[2] = { s->our_port, s->their_port };
	unsigned i;

	for (i = 0; i < 2; i++) {
		wr_u8(w, '\t');
		put_text(w, addr_is_none(a[i]) ? "-" : addr_text(a[i], none));
		wr_u8(w, '\t');
		put_u64(w, port[i]);
	}
}

static void tab_number(struct wr *w, bool known, uint64_t v)
{
	wr_u8(w, '\t');
	if (known)
		put_u64(w, v);
	else
		wr_u8(w, '-');
}

static void put_line(const struct flows *t, const struct view *v, struct wr *w)
{
	const struct flow_count *n = &v->count;
	const char *word[] = { proto(v->flow), path(v->flow), from(v),
			       flow_state_name(flow_state(t, v->flow)) };
	unsigned guest = v->guest_side, i;

	put_u64(w, id(v->flow));
	for (i = 0; i < ARRAY_SIZE(word); i++) {
		wr_u8(w, '\t');
		put_text(w, word[i]);
	}
	tab_side(w, &v->guest);
	tab_side(w, &v->host);
	tab_number(w, n->known, n->bytes[guest]);
	tab_number(w, n->known, n->bytes[!guest]);
	tab_number(w, true, n->queue[guest]);
	tab_number(w, true, n->queue[!guest]);
	tab_number(w, true, flow_age_ms(t, v->flow));
	wr_u8(w, '\n');
}

/* --- as JSON ---------------------------------------------------------------
 */

static void put_side(struct wr *w, const char *name, const struct side *s)
{
	put_text(w, ", \"");
	put_text(w, name);
	put_text(w, "\": {\"address\": \"");
	put_addr(w, &s->ours);
	put_text(w, "\", \"port\": ");
	put_u64(w, s->our_port);
	put_text(w, ", \"peer_address\": \"");
	put_addr(w, &s->theirs);
	put_text(w, "\", \"peer_port\": ");
	put_u64(w, s->their_port);
	wr_u8(w, '}');
}

static void put_way(struct wr *w, const char *name, const struct flow_count *n,
		    unsigned i)
{
	put_text(w, ", \"");
	put_text(w, name);
	put_text(w, "\": {\"bytes\": ");
	if (n->known)
		put_u64(w, n->bytes[i]);
	else
		put_text(w, "null");
	put_text(w, ", \"queue\": ");
	put_u64(w, n->queue[i]);
	wr_u8(w, '}');
}

static void put_word(struct wr *w, const char *name, const char *value)
{
	put_text(w, ", \"");
	put_text(w, name);
	put_text(w, "\": \"");
	put_text(w, value);
	wr_u8(w, '"');
}

static void put_object(const struct flows *t, const struct view *v,
		       struct wr *w)
{
	const struct flow *f = v->flow;
	uint64_t age = flow_age_ms(t, f);

	put_text(w, "{\"id\": ");
	put_u64(w, id(f));
	put_word(w, "protocol", proto(f));
	put_word(w, "path", path(f));
	put_word(w, "from", from(v));
	put_word(w, "state", flow_state_name(flow_state(t, f)));
	put_side(w, "guest", &v->guest);
	put_side(w, "host", &v->host);
	put_way(w, "to_host", &v->count, v->guest_side);
	put_way(w, "to_guest", &v->count, !v->guest_side);
	put_text(w, ", \"age_ms\": ");
	put_u64(w, age);
	wr_u8(w, '}');
}

/* --- the page ---------------------------------------------------------------
 */

static void put_head(const struct flowpage *o, const struct place *p,
		     struct wr *w)
{
	put_text(w, p->tsv ? FLOWPAGE_HEAD : "{\"label\": \"");
	put_text(w, o->label);
	put_text(w, p->tsv ? "\n" : "\", \"flows\": [");
}

static void tell(const struct flows *t, struct place *p, struct view *v,
		 struct wr *w)
{
	t->type[v->flow->kind]->count(v->flow, &v->count);
	if (p->tsv) {
		put_line(t, v, w);
	} else {
		put_text(w, p->told ? ",\n" : "\n");
		put_object(t, v, w);
	}
	p->told = true;
}

static enum http_next next(void *owner, struct http_answer *a, struct wr *w)
{
	const struct flowpage *o = owner;
	const struct flows *t = o->flows;
	struct place *p = place_of(a);
	unsigned looked;

	if (!p->headed)
		put_head(o, p, w);
	p->headed = true;
	for (looked = 0; p->at < t->fresh; looked++) {
		const struct flow *f = &t->flow[p->at];
		struct view v;

		if (looked == LOOK)
			return HTTP_PAUSE;
		p->at++;
		if (f->kind == FLOW_FREE)
			continue;
		v = view(f);
		if (!wanted(p, &v))
			continue;
		tell(t, p, &v, w);
		return HTTP_MORE;
	}
	if (!p->tsv)
		put_text(w, "\n]}\n");
	return HTTP_END;
}

const struct http_page flowpage = {
	.path = "/flows",
	.type = "application/json",
	.begin = begin,
	.next = next,
};
