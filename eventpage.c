/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * eventpage - the page /events
 */
#include "eventpage.h"

#include <assert.h>
#include <stdio.h>

struct place {
	uint64_t at; /* the next event */
	bool text, follow;
};
static_assert(sizeof(struct place) <= sizeof(((struct http_answer *)0)->cursor),
	      "where a reader is");
static_assert(EVENT_TEXT + EVENT_FIELDS + 100 <= HTTP_PIECE,
	      "an event is a piece");

static struct place *place_of(struct http_answer *a)
{
	return (struct place *)(void *)a->cursor;
}

static const char *take_param(struct http_answer *a, const char *name,
			      const char *value)
{
	struct place *p = place_of(a);

	if (!strcmp(name, "follow") && !*value) {
		p->follow = a->stays = true;
		return NULL;
	}
	if (strcmp(name, "format"))
		return "Parameters are format and follow";
	p->text = !strcmp(value, "text");
	if (p->text)
		a->type = "text/plain; charset=utf-8";
	return p->text || !strcmp(value, "json") ? NULL :
						   "format is json or text";
}

static const char *begin(void *owner, char *query, struct http_answer *a)
{
	const struct eventpage *o = owner;
	const char *name, *value, *wrong = NULL;

	while (!wrong && http_param(&query, &name, &value))
		wrong = take_param(a, name, value);
	place_of(a)->at = events_oldest(o->events);
	return wrong || !name ? wrong : "That is no parameter";
}

/* Write text with "?" for what is not printable ASCII, which can only be part
 * of an interface's name */
static void put_string(struct wr *w, const char *s)
{
	for (; *s; s++)
		if (*s < 0x20 || *s > 0x7e || *s == '"' || *s == '\\')
			wr_u8(w, '?');
		else
			wr_u8(w, (uint8_t)*s);
}

static void put_time(struct wr *w, uint64_t ms)
{
	http_print(w, "%llu.%03u", (unsigned long long)(ms / 1000),
		   (unsigned)(ms % 1000));
}

static void put(struct wr *w, const struct place *p, const struct event *v)
{
	if (p->text) {
		put_time(w, v->ms);
		http_print(w, " %s ", v->kind);
		put_string(w, v->text);
	} else {
		http_print(w, "{\"number\": %llu, \"time\": ",
			   (unsigned long long)p->at);
		put_time(w, v->ms);
		http_print(w, ", \"event\": \"%s\", \"text\": \"", v->kind);
		put_string(w, v->text);
		http_print(w, "\"%s}", v->fields);
	}
	wr_u8(w, '\n');
}

static void put_gap(struct wr *w, struct place *p, const struct events *e)
{
	uint64_t oldest = events_oldest(e), lost = oldest - p->at;
	struct event gap = { .ms = e->ring[oldest % EVENTS].ms, .kind = "lost" };

	snprintf(gap.text, sizeof(gap.text), "%llu events came too fast",
		 (unsigned long long)lost);
	snprintf(gap.fields, sizeof(gap.fields), ", \"lost\": %llu",
		 (unsigned long long)lost);
	p->at = oldest - 1; /* the last one that was lost */
	put(w, p, &gap);
	p->at = oldest;
}

static enum http_next next(void *owner, struct http_answer *a, struct wr *w)
{
	const struct events *e = ((const struct eventpage *)owner)->events;
	struct place *p = place_of(a);

	if (p->at == e->n)
		return p->follow ? HTTP_WAIT : HTTP_END;
	if (p->at < events_oldest(e)) {
		put_gap(w, p, e);
		return HTTP_MORE;
	}
	put(w, p, &e->ring[p->at % EVENTS]);
	p->at++;
	return HTTP_MORE;
}

const struct http_page eventpage = {
	.path = "/events",
	.type = "application/jsonl",
	.begin = begin,
	.next = next,
};
