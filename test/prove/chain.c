/* SPDX-License-Identifier: GPL-2.0-or-later */
/* prove: --unwind 2 --slice-formula
 *
 * One descriptor of a chain, of the ring or an indirect table, from any state in which
 * one can be looked at: it is read inside of its table, and the state is such a one
 * again, with fewer left.  So chains of any length end, and stay where they belong;
 * virtq.c has their pieces. */
#include "prove.h"

#include "virtq.h"

#include <linux/virtio_ring.h>

#include "../../virtq.c"

enum { ENTRIES = 4, BYTES = ENTRIES * sizeof(struct vring_desc) };

static struct vhost_mem mem;
/* The end of it is that of what may be read */
static struct vring_desc ring[ENTRIES], table[ENTRIES];

/* Any bytes, wherever it says that they are */
void *vhost_mem_find(const struct vhost_mem *m, uint64_t gpa, uint64_t len)
{
	(void)m, (void)gpa;
	SHOW(len && len % sizeof(struct vring_desc) == 0);
	ASSUME(len <= BYTES);
	return any_bool() ? NULL : (uint8_t *)table + BYTES - len;
}

int main(void)
{
	struct virtq q = { .mem = &mem, .indirect = any_bool() };
	unsigned at = any_unsigned(), was = any_unsigned();
	struct virtq_elem e = { 0 };
	struct walk w = { .e = &e, .left = was };

	__CPROVER_havoc_object(ring);
	__CPROVER_havoc_object(table);
	w.size = any_unsigned();
	w.indirect = any_bool();
	w.writable = any_bool();
	ASSUME(w.size && w.size <= ENTRIES && was <= VIRTQ_MAX + 1);
	w.table = (w.indirect ? table : ring) + ENTRIES - w.size;
	if (follow(&q, &w, &at) == BAD)
		return 0;
	SHOW(was && w.left == was - 1);
	SHOW(w.size && w.size <= ENTRIES);
	SHOW(w.table == (w.indirect ? table : ring) + ENTRIES - w.size);
	return 0;
}
