/* SPDX-License-Identifier: GPL-2.0-or-later */
/* prove: --unwind 10
 *
 * A read of any kind and size, and a write, from any state that there can be, so
 * any number of them: in their buffers, here of up to 8 bytes, and a verdict that
 * stays. */
#include "prove.h"

#include "cursor.h"

enum { LONGEST = 8 };

/* The end of it is that of what may be touched */
static uint8_t buf[LONGEST];

static void reads(void)
{
	size_t at = any_size(), n = any_size(), left;
	uint8_t copy[LONGEST];
	bool bad = any_bool();
	struct rd r, sub;
	const void *p;

	ASSUME(at <= LONGEST);
	r = rd_init(buf + at, LONGEST - at);
	r.bad = bad;
	left = rd_left(&r);
	switch (any_unsigned() % 6) {
	case 0:
		p = rd_view(&r, n);
		SHOW(!p == !rd_ok(&r));
		break;
	case 1:
		(void)rd_u8(&r);
		break;
	case 2:
		(void)rd_be16(&r);
		break;
	case 3:
		(void)rd_be32(&r);
		break;
	case 4:
		ASSUME(n <= LONGEST);
		rd_copy(&r, copy, n);
		break;
	default:
		sub = rd_sub(&r, n);
		SHOW(rd_left(&sub) <= left);
		(void)rd_be64(&sub);
	}
	SHOW(rd_left(&r) <= left);
	SHOW(!bad || !rd_ok(&r));
}

static void writes(void)
{
	size_t at = any_size(), n = any_size();
	bool bad = any_bool();
	uint8_t src[LONGEST];
	struct wr w;

	ASSUME(at <= LONGEST);
	w = wr_init(buf, LONGEST);
	w.len = at;
	w.bad = bad;
	switch (any_unsigned() % 7) {
	case 0:
		(void)wr_room(&w, n);
		break;
	case 1:
		ASSUME(n <= LONGEST);
		wr_bytes(&w, src, n);
		break;
	case 2:
		wr_fill(&w, 7, n);
		break;
	case 3:
		wr_be32(&w, 1);
		break;
	case 4:
		wr_be64(&w, 1);
		break;
	case 5:
		ASSUME(n <= SIZE_MAX - 4);
		wr_patch_be32(&w, n, 1);
		break;
	default:
		wr_patch_u8(&w, n, 1);
	}
	SHOW(w.len <= LONGEST && w.len >= at);
	SHOW(!bad || (!wr_ok(&w) && w.len == at));
}

int main(void)
{
	reads();
	writes();
	return 0;
}
