/* SPDX-License-Identifier: GPL-2.0-or-later */
/* prove: addr boot --unwind 13
 *
 * An option of any code, bytes and length, or one of which less is there than it says,
 * while any others have been there: what is remembered of it lies in it. */
#include "prove.h"

#include "../../dhcp.c"

enum { BYTES = 12 };

/* The end of it is that of what may be read */
static uint8_t buf[BYTES];

void *memmem(const void *in, size_t n, const void *what, size_t len)
{
	SHOW(in && (!n || __CPROVER_r_ok(in, n)));
	SHOW(what && __CPROVER_r_ok(what, len));
	return any_bool() ? (void *)in : NULL;
}

void *(memchr)(const void *in, int what, size_t n)
{
	(void)what;
	SHOW(in && (!n || __CPROVER_r_ok(in, n)));
	return any_bool() ? (void *)in : NULL;
}

static bool inside(const uint8_t *p, size_t len)
{
	if (!p)
		return !len;
	return __CPROVER_same_object(p, buf) &&
	       (size_t)(p - buf) + len <= BYTES;
}

int main(void)
{
	size_t at = any_size(), says = any_size(), left;
	struct request r;
	struct rd in;

	__CPROVER_havoc_object(buf);
	ASSUME(at <= BYTES);
	r.list = r.client = r.boot.arch = NULL;
	r.list_len = r.client_len = r.boot.arch_len = 0;
	in = rd_init(buf + at, BYTES - at);
	left = rd_left(&in);
	(void)parse_option(&r, (uint8_t)any_unsigned(), rd_sub(&in, says));
	SHOW(rd_left(&in) == (says <= left ? left - says : 0));
	SHOW(inside(r.list, r.list_len));
	SHOW(inside(r.client, r.client_len));
	SHOW(inside(r.boot.arch, r.boot.arch_len));
	return 0;
}
