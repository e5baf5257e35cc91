/* SPDX-License-Identifier: GPL-2.0-or-later */
/* prove: dhcp: PARTS=16 addr boot --unwind 13 --slice-formula
 *
 * The next option wherever a reader stands in any bytes: its value lies in them, and the
 * reader is behind it, so any number of them ends.  One more part of an option, whatever
 * the room for parts has already: all of them are in it in order, or there was no room,
 * which is not forgotten. */
#include "prove.h"

#include <dhcp.c>

enum { BYTES = 12 };

static uint8_t buf[BYTES], room[PARTS];
static struct request r;

void *memmem(const void *in, size_t n, const void *what, size_t len)
{
	(void)in, (void)n, (void)what, (void)len;
	return NULL;
}

static struct rd any_part(void)
{
	size_t at = any_size(), len = any_size();

	ASSUME(at <= BYTES && len <= BYTES - at);
	return rd_init(buf + at, len);
}

static void reads(void)
{
	struct rd in = any_part(), was, v;
	uint8_t code;

	in.bad = any_bool();
	was = in;
	if (!next_option(&in, &code, &v)) {
		SHOW(code == OPT_END || !rd_ok(&in));
		return;
	}
	SHOW(rd_ok(&in) && rd_ok(&v) && in.end == was.end);
	SHOW(code != OPT_PAD && code != OPT_END);
	SHOW(v.p >= was.p + 2 && v.end == in.p && in.p <= in.end);
	SHOW(v.p[-2] == code && v.p[-1] == rd_left(&v));
}

static void adds(void)
{
	size_t first, more, had = any_size(), at = any_size();
	struct rd value = any_part(), v = any_part(), was = value;
	unsigned n = any_unsigned();
	bool bad = any_bool();

	__CPROVER_havoc_object(room);
	ASSUME(had <= PARTS);
	r.joined = wr_init(room, PARTS);
	r.joined.len = had;
	r.joined.bad = bad;
	first = rd_left(&value);
	more = rd_left(&v);
	add_part(&r, n, &value, v);
	SHOW(r.joined.len >= had && r.joined.len <= PARTS);
	if (!n) {
		SHOW(value.p == v.p && value.end == v.end && !value.bad);
		SHOW(r.joined.len == had && r.joined.bad == bad);
		return;
	}
	SHOW(value.p == was.p && value.end == was.end);
	if (n > 1)
		first = 0;
	SHOW(r.joined.bad == (bad || first + more > PARTS - had));
	if (r.joined.bad)
		return;
	SHOW(r.joined.len == had + first + more);
	if (at < first)
		SHOW(room[had + at] == was.p[at]);
	if (at < more)
		SHOW(room[had + first + at] == v.p[at]);
}

int main(void)
{
	__CPROVER_havoc_object(buf);
	if (any_bool())
		reads();
	else
		adds();
	return 0;
}
