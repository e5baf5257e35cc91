/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * freeze - flows as sections of a state, and back
 *
 * Ready bits are not saved: when a descriptor is watched again, epoll reports
 * them.
 */
#include "freeze.h"

void freeze_side(struct wr *w, const struct side *s)
{
	wr_u8(w, s->pif);
	freeze_addr(w, &s->ours);
	freeze_addr(w, &s->theirs);
	wr_be16(w, s->our_port);
	wr_be16(w, s->their_port);
}

void thaw_side(struct rd *r, struct side *s)
{
	s->pif = rd_u8(r);
	thaw_addr(r, &s->ours);
	thaw_addr(r, &s->theirs);
	s->our_port = rd_be16(r);
	s->their_port = rd_be16(r);
}

bool freeze_flow(struct flows *t, struct flow *f, struct wr *w)
{
	const struct flow_type *type = t->type[f->kind];
	struct wr was = *w;
	size_t at;

	if (!type->freeze)
		return false;
	at = state_begin(w, STATE_FLOW);
	wr_u8(w, f->kind);
	wr_u8(w, f->begun);
	wr_u8(w, f->hashed);
	wr_u8(w, f->open);
	wr_be64(w, flow_age_ms(t, f));
	freeze_side(w, &f->side[0]);
	freeze_side(w, &f->side[1]);
	type->freeze(t->owner[f->kind], f, w);
	state_end(w, at);
	if (wr_ok(w))
		return true;
	*w = was;
	return false;
}

static bool enter(struct flows *t, struct flow *f, unsigned sides)
{
	unsigned i;

	for (i = 0; i < 2; i++)
		if (sides & 1U << i && !flow_enter(t, f, i))
			return false;
	return true;
}

static bool watch(struct flows *t, struct flow *f, unsigned open)
{
	unsigned i;

	for (i = 0; i < 2; i++) {
		if (f->side[i].fd < 0)
			continue;
		if (flow_watch(t, f, i))
			return false;
		if (open & 1U << i)
			flow_open(t, f, i, true);
	}
	return true;
}

static void unwatch(struct flows *t, const struct flow *f)
{
	unsigned i;

	for (i = 0; i < 2; i++)
		if (f->side[i].fd >= 0)
			loop_del(t->loop, f->side[i].fd);
}

void freeze_forget(struct flows *t, struct flow *f)
{
	unwatch(t, f);
	t->type[f->kind]->forget(t->owner[f->kind], f);
}

struct flow *thaw_flow(struct flows *t, struct rd *body, const int fd[2])
{
	unsigned kind = rd_u8(body), begun = rd_u8(body);
	unsigned hashed = rd_u8(body), open = rd_u8(body);
	uint64_t age = rd_be64(body);
	struct flow *f = NULL;

	if (kind < FLOW_KINDS && t->type[kind] && t->type[kind]->thaw)
		f = flow_new(t, (enum flow_kind)kind);
	if (!f)
		return NULL;
	thaw_side(body, &f->side[0]);
	thaw_side(body, &f->side[1]);
	f->side[0].fd = fd[0];
	f->side[1].fd = fd[1];
	f->begun = begun & 15; /* flow_free() takes off what was added here */
	t->begun += f->begun;
	f->born -= (uint32_t)(age >> FLOW_BORN_SHIFT);
	if (rd_ok(body) && enter(t, f, hashed) && watch(t, f, open) &&
	    t->type[kind]->thaw(t->owner[kind], f, body))
		return f;
	unwatch(t, f);
	flow_free(t, f);
	return NULL;
}
