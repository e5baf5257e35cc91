/* SPDX-License-Identifier: GPL-2.0-or-later */
/* prove: addr FRAG_MAX=1 FRAG_SIZE=512 --unwind 4 --unwindset memcmp.0:17 --slice-formula
 *
 * One more fragment of up to two units, at any offset, while there is one datagram in
 * any state, or none: what is kept lies in its room, and of up to 16 units what is given
 * as a whole is all there, so that nothing is sent that was there before. */
#include "prove.h"

#include <frag.c>

/* Of those that are no longer it is counted what is there */
enum { UNIT = 8, FEW = 2, SHORT = 16 * UNIT };

static struct frags frags;
static struct packet p;

static bool in_room(const uint8_t *at, size_t len)
{
	const uint8_t *from = frags.room[0].head;

	return __CPROVER_same_object(at, from) && at >= from &&
	       (size_t)(at - from) + len <=
		       sizeof(struct frag_room) -
			       offsetof(struct frag_room, head);
}

size_t packet_copy(const struct packet *x, size_t off, void *dst, size_t len)
{
	SHOW(x == &p && !off && len == p.payload_len);
	SHOW(in_room(dst, len) &&
	     (uint8_t *)dst == frags.room[0].body + p.frag_off);
	return len;
}

size_t packet_put_ip(uint8_t *at, const struct head *h, size_t l4_len)
{
	SHOW(in_room(at, head_len(&h->t) + l4_len));
	return head_len(&h->t);
}

static unsigned units(uint32_t bytes)
{
	return (bytes + UNIT - 1) / UNIT;
}

static uint64_t up_to(uint32_t bytes)
{
	unsigned n = units(bytes);

	return n < 64 ? (1ULL << n) - 1 : UINT64_MAX;
}

/* All units but perhaps the last one are whole, and none is behind the end */
static bool sound(const struct frag *f, uint64_t here)
{
	return f->end <= SHORT && !(here & ~up_to(f->end)) &&
	       (!f->end || here >> (units(f->end) - 1) & 1) &&
	       (f->ended || f->end % UNIT == 0) &&
	       f->got == (uint32_t)__builtin_popcountll(here) * UNIT -
				 (units(f->end) * UNIT - f->end);
}

static void step(unsigned end)
{
	struct frag *f = frags.f;
	uint64_t *here = frags.room[0].here;
	struct frame *whole;
	enum verdict v;
	bool small;

	__CPROVER_havoc_object(&frags);
	__CPROVER_havoc_object(&p);
	frags.end = end;
	f->used = any_bool();
	f->lent = frags.end && f->used && any_bool();
	frags.lent = f->lent;
	f->bad = any_bool();
	f->ended = any_bool();
	ASSUME(f->end < FRAG_SIZE);
	small = !frags.end || !f->used ||
		(sound(f, here[0]) &&
		 (!f->ended || f->lent || f->got < f->end));
	p.frag_more = any_bool();
	ASSUME(p.payload_len <= FEW * UNIT && p.frag_off % UNIT == 0);
	v = frag_add(&frags, &p, any_u64(), &whole);
	if (v != PASS) {
		SHOW(!whole);
		return;
	}
	SHOW(frags.end == 1 && f->used && !f->bad && f->end < FRAG_SIZE);
	SHOW(f->lent == !!whole && f->lent == frags.lent);
	if (whole) {
		SHOW(whole->iov_cnt == 1);
		SHOW(whole->iov[0].iov_len == whole->len);
		SHOW(in_room(whole->iov[0].iov_base, whole->len));
	}
	if (!small || f->end > SHORT)
		return;
	SHOW(sound(f, here[0]));
	if (whole)
		SHOW(f->ended && f->got == f->end && here[0] == up_to(f->end));
	else
		SHOW(!f->ended || f->got < f->end);
}

int main(void)
{
	if (any_bool())
		step(1);
	else
		step(0);
	return 0;
}
