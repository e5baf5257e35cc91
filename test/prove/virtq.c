/* SPDX-License-Identifier: GPL-2.0-or-later */
/* prove: --unwind 5
 *
 * A descriptor of any address and length, in memory of two regions anywhere: each
 * piece that is taken lies in one of them, and in the room for pieces, of which any
 * number may be used already. */
#include "prove.h"

#include "virtq.h"

#include <linux/virtio_ring.h>

#include "../../virtq.c"

enum { PIECES = 3, DATA = 16 };

static struct vhost_mem mem;
static uint8_t low[DATA], high[DATA];

static _Bool inside(const struct iovec *v)
{
	const uint8_t *p = v->iov_base;
	unsigned i;

	for (i = 0; i < 2; i++)
		if (__CPROVER_POINTER_OBJECT(p) ==
		    __CPROVER_POINTER_OBJECT(mem.r[i].at))
			return __CPROVER_POINTER_OFFSET(p) + v->iov_len <=
			       mem.r[i].len;
	return 0;
}

int main(void)
{
	struct virtq q = { .mem = &mem };
	struct virtq_elem e = { 0 };
	struct iovec iov[PIECES];
	struct walk w = { .e = &e, .iov = iov, .max = PIECES };
	uint32_t len = (uint32_t)any_unsigned();
	unsigned i, had = any_unsigned();

	ASSUME(had <= PIECES);
	e.iov_cnt = had;
	mem.n = 2;
	for (i = 0; i < 2; i++) {
		mem.r[i].at = i ? high : low;
		mem.r[i].gpa = any_u64();
		mem.r[i].len = any_u64();
		ASSUME(mem.r[i].len && mem.r[i].len <= DATA);
		ASSUME(mem.r[i].gpa <= UINT64_MAX - DATA);
	}
	if (add(&q, &w, any_u64(), len) == MORE)
		SHOW(e.len == len);
	SHOW(e.iov_cnt <= PIECES);
	for (i = had; i < e.iov_cnt; i++)
		SHOW(inside(&iov[i]));
	return 0;
}
