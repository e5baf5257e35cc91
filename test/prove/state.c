/* SPDX-License-Identifier: GPL-2.0-or-later */
/* prove: --unwind 9
 *
 * The next section of a state, wherever a reader stands in any bytes: its body lies in
 * them, and the one behind it begins behind it, so any number of them ends.  What is
 * written is read again, or there was no room. */
#include "prove.h"

#include "../../state.c"

enum { BYTES = 2 * STATE_SECTION + 8 };

/* The end of it is that of what may be read */
static uint8_t buf[BYTES];

static void reads(void)
{
	size_t at = any_size(), left;
	uint32_t tag;
	struct rd r, body;

	__CPROVER_havoc_object(buf);
	ASSUME(at <= BYTES);
	left = BYTES - at;
	r = rd_init(buf + at, left);
	r.bad = any_bool();
	if (any_bool()) {
		SHOW(state_check(&r) < 0 || rd_left(&r) == left - STATE_HEAD);
		return;
	}
	if (!state_next(&r, &tag, &body)) {
		SHOW(!left || !rd_ok(&r));
		return;
	}
	SHOW(rd_ok(&r) && rd_ok(&body));
	SHOW(body.p == buf + at + STATE_SECTION && body.end == r.p);
	SHOW(rd_left(&r) + rd_left(&body) + STATE_SECTION == left);
	SHOW(tag == ld_be32(buf + at));
	SHOW(rd_left(&body) == ld_be32(buf + at + 4));
}

static void writes(void)
{
	size_t room = any_size(), at = any_size(), n = any_size(), begun;
	enum state_tag tag = any_unsigned();
	struct rd r, body;
	struct wr w;
	uint32_t got;

	ASSUME(room <= BYTES && at <= room && n <= 8);
	w = wr_init(buf, room);
	w.len = at;
	w.bad = any_bool();
	begun = state_begin(&w, tag);
	wr_fill(&w, 1, n);
	state_end(&w, begun);
	SHOW(w.len >= at && w.len <= room);
	if (!wr_ok(&w))
		return;
	r = rd_init(buf + at, w.len - at);
	SHOW(state_next(&r, &got, &body) && !rd_left(&r));
	SHOW(got == (uint32_t)tag && rd_left(&body) == n);
}

int main(void)
{
	if (any_bool())
		reads();
	else
		writes();
	return 0;
}
