/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * frag - fragments of the guest become datagrams again
 *
 * Reassembly by RFC 791 and RFC 8200, 4.5.  By RFC 5722 a datagram is discarded
 * if fragments of it overlap, as one of them is forged or two datagrams have
 * the same identification, and so are its later fragments.  A fragment of which
 * all bytes are here already is a duplicate and harmless.
 *
 * Fragments begin at multiples of 8 bytes, so a bitmap has a bit for each such
 * unit; only the last unit of a datagram may be shorter.  The bytes are copied
 * to their place at once: under vhost-user the guest's memory is not looked at
 * again.
 */
#include "frag.h"

#include <netinet/in.h>

void frag_init(struct frags *t)
{
	memset(t, 0, offsetof(struct frags, f));
}

static bool is_same(const struct frag *f, const struct packet *p)
{
	return f->used && !f->lent && f->id == p->frag_id &&
	       addr_equal(&f->key.src, &p->t.src) &&
	       addr_equal(&f->key.dst, &p->t.dst) &&
	       (!addr_is_v4(&p->t.src) || f->key.proto == p->t.proto);
}

static void give_up(struct frags *t, struct frag *f)
{
	t->lost++;
	f->used = false;
}

static void expire(struct frags *t, uint64_t now_ms)
{
	unsigned i;

	for (i = 0; i < t->end; i++)
		if (t->f[i].used && !t->f[i].lent &&
		    now_ms - t->f[i].since_ms >= FRAG_WAIT_MS)
			give_up(t, &t->f[i]);
}

/* Find a place: a free one, a new one, or that of the oldest datagram, which is
 * given up.  NULL: all are lent; as a burst has FRAG_MAX frames at most, that
 * does not happen. */
static struct frag *place(struct frags *t)
{
	struct frag *oldest = NULL;
	unsigned i;

	for (i = 0; i < t->end; i++) {
		struct frag *f = &t->f[i];

		if (!f->used)
			return f;
		if (!f->lent && (!oldest || f->since_ms < oldest->since_ms))
			oldest = f;
	}
	if (t->end < FRAG_MAX)
		return &t->f[t->end++];
	if (oldest)
		give_up(t, oldest);
	return oldest;
}

static struct frag_room *room_of(struct frags *t, const struct frag *f)
{
	return &t->room[f - t->f];
}

static struct frag *find(struct frags *t, const struct packet *p,
			 uint64_t now_ms)
{
	struct frag *f;
	unsigned i;

	for (i = 0; i < t->end; i++)
		if (is_same(&t->f[i], p))
			return &t->f[i];
	f = place(t);
	if (!f)
		return NULL;
	*f = (struct frag){ .key = p->t, .id = p->frag_id, .used = true,
			    .since_ms = now_ms };
	memset(room_of(t, f)->here, 0, sizeof(room_of(t, f)->here));
	return f;
}

/* How many of the units from @from up to, not including, @to are here */
static unsigned count(const uint64_t *here, unsigned from, unsigned to)
{
	unsigned n = 0, i;

	for (i = from; i < to; i++)
		n += here[i / 64] >> (i % 64) & 1;
	return n;
}

static void mark(uint64_t *here, unsigned from, unsigned to)
{
	unsigned i;

	for (i = from; i < to; i++)
		here[i / 64] |= 1ULL << (i % 64);
}

/* RFC 3168, 5.3: if one fragment is marked CE, the datagram is.  False: some
 * fragments are marked CE and others not ECN-capable, so it is dropped. */
static bool merge_ecn(struct frag *f)
{
	enum { NOT_ECT = 1 << 0, CE = 3, HAS_CE = 1 << CE };

	if ((f->ecn & (NOT_ECT | HAS_CE)) == (NOT_ECT | HAS_CE))
		return false;
	if (f->ecn & HAS_CE)
		f->head.tos |= CE;
	return true;
}

/* Make a frame of the whole datagram.  What stood between the IP header and the
 * fragments' data (options, extension headers) nobody looks at. */
static void build(struct frag *f, struct frag_room *r)
{
	size_t head = head_len(&f->head.t);
	uint8_t *at = r->body - head;

	packet_put_ip(at, &f->head, f->end);
	f->whole = (struct frame){ .iov = &f->whole.one, .iov_cnt = 1,
				   .len = head + f->end,
				   .one = { at, head + f->end } };
}

/* Judge a fragment by itself: it must not be empty, be a multiple of 8 bytes
 * unless it is the last, and not exceed the largest datagram; with TTL 0 it is
 * unwanted */
static enum verdict check(const struct packet *p)
{
	size_t end = (size_t)p->frag_off + p->payload_len;

	if (!p->payload_len || (p->frag_more && p->payload_len % 8) ||
	    end + p->frag_head >= FRAG_SIZE)
		return DROP_MALFORMED;
	return p->ttl ? PASS : DROP_UNWANTED;
}

/* Whether the fragment agrees with what is known of the datagram's end; if not,
 * one of them is forged */
static bool agrees(const struct frag *f, const struct packet *p)
{
	uint32_t end = p->frag_off + p->payload_len;

	if (f->ended)
		return p->frag_more ? end <= f->end : end == f->end;
	return p->frag_more || end >= f->end;
}

static void keep(struct frag *f, struct frag_room *r, const struct packet *p)
{
	uint32_t end = p->frag_off + p->payload_len;

	packet_copy(p, 0, r->body + p->frag_off, p->payload_len);
	mark(r->here, p->frag_off / 8U, (end + 7) / 8);
	f->got += p->payload_len;
	f->end = MAX(f->end, end);
	f->ended |= !p->frag_more;
	f->ecn |= (uint8_t)(1U << (p->tos & 3));
	if (!p->frag_off)
		f->head = (struct head){
			.src = p->smac, .dst = p->dmac, .t = p->t,
			.flow_label = p->flow_label,
			.ttl = p->ttl, .tos = p->tos,
		};
}

enum verdict frag_add(struct frags *t, const struct packet *p, uint64_t now_ms,
		      struct frame **whole)
{
	enum verdict v = check(p);
	unsigned from = p->frag_off / 8U, to, here;
	struct frag_room *r;
	struct frag *f;

	*whole = NULL;
	if (v != PASS)
		return v;
	expire(t, now_ms);
	f = find(t, p, now_ms);
	if (!f)
		return DROP_NO_ROOM;
	r = room_of(t, f);
	to = (p->frag_off + p->payload_len + 7) / 8;
	here = count(r->here, from, to);
	if (here == to - from && agrees(f, p))
		return DROP_FRAGMENT;
	if (f->bad || here || !agrees(f, p)) {
		f->bad = true;
		return DROP_OVERLAP;
	}
	keep(f, r, p);
	if (!f->ended || f->got < f->end)
		return PASS;
	if (!merge_ecn(f)) {
		f->used = false;
		return DROP_MALFORMED;
	}
	build(f, r);
	f->lent = true;
	t->lent++;
	*whole = &f->whole;
	return PASS;
}

void frag_release(struct frags *t)
{
	unsigned i;

	for (i = 0; t->lent && i < t->end; i++)
		if (t->f[i].lent) {
			t->f[i].used = t->f[i].lent = false;
			t->lent--;
		}
	while (t->end && !t->f[t->end - 1].used)
		t->end--;
}
