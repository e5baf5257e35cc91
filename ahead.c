/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * ahead - bytes of a stream that came out of order, in runs with holes between
 * them
 *
 * A run is a chunk queue; so when a hole is filled, the bytes behind it move on
 * as they are, without a copy and without needing memory.
 */
#include "ahead.h"

#include <errno.h>

int ahead_init(struct aheads *t, struct chunks *chunks)
{
	*t = (struct aheads){ .chunks = chunks };
	t->run = util_map(sizeof(*t->run) * AHEAD_RUNS);
	return t->run ? 0 : -ENOMEM;
}

static struct ahead_run *run_of(struct aheads *t, uint16_t no)
{
	return no ? &t->run[no - 1] : NULL;
}

static uint32_t run_end(const struct ahead_run *r)
{
	return r->seq + r->bytes.len;
}

const struct ahead_run *ahead_run(const struct aheads *t,
				  const struct ahead *a,
				  const struct ahead_run *r)
{
	uint16_t no = r ? r->next : a->first;

	return no ? &t->run[no - 1] : NULL;
}

/* Insert an empty run in front of the one that *@link names; NULL if there are
 * too many */
static struct ahead_run *insert(struct aheads *t, struct ahead *a,
				uint16_t *link, uint32_t seq)
{
	uint16_t no = t->free;

	if (a->n == AHEAD_EACH)
		return NULL;
	if (no)
		t->free = t->run[no - 1].next;
	else if (t->fresh < AHEAD_RUNS)
		no = ++t->fresh;
	else
		return NULL;
	t->run[no - 1] = (struct ahead_run){ .seq = seq, .next = *link };
	*link = no;
	a->n++;
	return &t->run[no - 1];
}

static unsigned blocks_of(const struct chunk_queue *q)
{
	return (q->at + q->len + CHUNK_BLOCK - 1) / CHUNK_BLOCK;
}

static void cut(struct aheads *t, struct ahead_run *r, uint32_t n)
{
	unsigned before = blocks_of(&r->bytes);

	chunk_drop(t->chunks, &r->bytes, n);
	r->seq += n;
	t->blocks -= before - blocks_of(&r->bytes);
}

/* Remove the run that *@link names, whose bytes were dropped or given away */
static void take_out(struct aheads *t, struct ahead *a, uint16_t *link)
{
	uint16_t no = *link;
	struct ahead_run *r = run_of(t, no);

	*link = r->next;
	r->next = t->free;
	t->free = no;
	a->n--;
}

static uint32_t append(struct aheads *t, struct ahead_run *r,
		       const struct iovec *iov, unsigned cnt, size_t off,
		       size_t len)
{
	unsigned before = blocks_of(&r->bytes);
	size_t room = (size_t)(AHEAD_BLOCKS - t->blocks + before) * CHUNK_BLOCK -
		      r->bytes.at - r->bytes.len;
	size_t n = chunk_put(t->chunks, &r->bytes, iov, cnt, off,
			     MIN(len, room));

	t->blocks += blocks_of(&r->bytes) - before;
	return (uint32_t)n;
}

/* If @r has reached the next run, append that to it, if it is small */
static void join(struct aheads *t, struct ahead *a, struct ahead_run *r)
{
	struct ahead_run *next = run_of(t, r->next);
	struct iovec iov[2];
	unsigned n;

	if (!next || next->seq != run_end(r) || next->bytes.len > AHEAD_COPY)
		return;
	n = chunk_iov(t->chunks, &next->bytes, 0, next->bytes.len, iov, 2);
	cut(t, next, append(t, r, iov, n, 0, next->bytes.len));
	if (!next->bytes.len)
		take_out(t, a, &r->next);
}

/* The link to the first run that begins behind @at; *@prev becomes the run
 * before that, if there is one */
static uint16_t *find(struct aheads *t, struct ahead *a, uint32_t at,
		      struct ahead_run **prev)
{
	uint16_t *link = &a->first;
	struct ahead_run *r;

	for (r = run_of(t, *link); r && !seq_after(r->seq, at);
	     r = run_of(t, *link)) {
		*prev = r;
		link = &r->next;
	}
	return link;
}

/* Keep bytes from @at on, up to @end or the next run; returns how many were
 * dealt with */
static uint32_t fill(struct aheads *t, struct ahead *a, uint32_t at, uint32_t end,
		     const struct iovec *iov, unsigned cnt, size_t off)
{
	struct ahead_run *r = NULL, *next;
	uint16_t *link = find(t, a, at, &r);
	uint32_t n;

	if (r && seq_before(at, run_end(r)))
		return run_end(r) - at; /* these bytes are here already */
	next = run_of(t, *link);
	if (next && seq_before(next->seq, end))
		end = next->seq;
	if (!r || run_end(r) != at)
		r = insert(t, a, link, at);
	if (!r)
		return 0;
	n = append(t, r, iov, cnt, off, end - at);
	t->kept += n;
	if (!r->bytes.len)
		take_out(t, a, link);
	else
		join(t, a, r);
	return n;
}

void ahead_put(struct aheads *t, struct ahead *a, uint32_t seq,
	       const struct iovec *iov, unsigned cnt, size_t len)
{
	uint32_t at = seq, end = seq + (uint32_t)len, n;

	a->last = seq;
	for (; seq_before(at, end); at += n) {
		n = fill(t, a, at, end, iov, cnt, at - seq);
		if (!n) {
			t->refused += end - at;
			break;
		}
	}
}

uint32_t ahead_take(struct aheads *t, struct ahead *a, uint32_t seq,
		    struct chunk_queue *q)
{
	struct ahead_run *r;

	while ((r = run_of(t, a->first)) && !seq_after(r->seq, seq)) {
		cut(t, r, MIN(seq - r->seq, r->bytes.len));
		*q = r->bytes;
		t->blocks -= blocks_of(q);
		take_out(t, a, &a->first);
		if (q->len)
			return q->len;
	}
	return 0;
}

/* The range of @r and the runs that follow it without a hole; *@r becomes the
 * first run behind them */
static struct span stretch(const struct aheads *t, const struct ahead *a,
			   const struct ahead_run **r)
{
	struct span s = { (*r)->seq, run_end(*r) };

	while ((*r = ahead_run(t, a, *r)) && (*r)->seq == s.to)
		s.to = run_end(*r);
	return s;
}

unsigned ahead_spans(const struct aheads *t, const struct ahead *a, uint32_t seq,
		     struct span *s, unsigned max)
{
	const struct ahead_run *r = ahead_run(t, a, NULL);
	bool recent = false;
	unsigned n = 1; /* s[0] is for the range with the latest bytes */

	while (r) {
		struct span one = stretch(t, a, &r);

		if (!seq_after(one.from, seq))
			continue;
		if (!seq_before(a->last, one.from) && seq_before(a->last, one.to)) {
			s[0] = one;
			recent = true;
		} else if (n < max) {
			s[n++] = one;
		}
		if (recent && n == max)
			break;
	}
	if (recent)
		return n;
	/* The latest bytes were not kept */
	memmove(s, s + 1, (n - 1) * sizeof(*s));
	return n - 1;
}

void ahead_drop(struct aheads *t, struct ahead *a)
{
	while (a->first) {
		struct ahead_run *r = run_of(t, a->first);

		cut(t, r, r->bytes.len);
		take_out(t, a, &a->first);
	}
}
