/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * virtq - split virtqueues over checked guest memory (virtio 1.2, 2.7)
 *
 * Byte order is little endian: a guest that wants its own on a big-endian
 * machine is a legacy one.  Indices run freely and wrap at 2^16.
 */
#include "virtq.h"

#include <linux/virtio_ring.h>

#include <errno.h>

/* Load once, and not before the index that covers it */
static uint16_t load16(const void *p)
{
	return le16toh(__atomic_load_n((const uint16_t *)p, __ATOMIC_ACQUIRE));
}

static void store16(void *p, uint16_t v)
{
	__atomic_store_n((uint16_t *)p, htole16(v), __ATOMIC_RELEASE);
}

/* --- set-up --------------------------------------------------------------- */

static uint16_t *used_event(const struct virtq *q)
{
	return &q->avail->ring[q->size];
}

/* Behind the last entry */
static uint16_t *avail_event(const struct virtq *q)
{
	return (uint16_t *)(void *)&q->used->ring[q->size];
}

int virtq_set(struct virtq *q, uint64_t desc, uint64_t avail, uint64_t used)
{
	size_t n = q->size, event = sizeof(uint16_t);

	virtq_unset(q);
	if (!n)
		return -EINVAL;
	q->desc = vhost_mem_find_user(q->mem, desc, n * sizeof(*q->desc));
	q->avail = vhost_mem_find_user(
		q->mem, avail,
		sizeof(*q->avail) + n * sizeof(q->avail->ring[0]) + event);
	q->used = vhost_mem_find_user(q->mem, used,
				  sizeof(*q->used) +
					  n * sizeof(q->used->ring[0]) + event);
	if (!q->desc || (uintptr_t)q->desc % 16 || !q->avail ||
	    (uintptr_t)q->avail % 2 || !q->used || (uintptr_t)q->used % 4) {
		virtq_unset(q);
		return -EINVAL;
	}
	q->filled = q->told = load16(&q->used->idx);
	q->seen = q->next;
	q->broken = NULL;
	return 0;
}

void virtq_unset(struct virtq *q)
{
	q->desc = NULL;
	q->avail = NULL;
	q->used = NULL;
}

/* --- taking --------------------------------------------------------------- */

unsigned virtq_left(struct virtq *q)
{
	if (!virtq_ready(q))
		return 0;
	q->seen = load16(&q->avail->idx);
	if ((uint16_t)(q->seen - q->next) > q->size) {
		virtq_break(q, "more chains available than it has entries");
		return 0;
	}
	return (uint16_t)(q->seen - q->next);
}

/* State of a walk along a chain */
struct walk {
	struct virtq_elem *e;
	struct iovec *iov;
	unsigned max;
	const struct vring_desc *table;
	unsigned size; /* entries of @table */
	unsigned left; /* descriptors that the chain may still have */
	bool writable;
	bool indirect; /* @table is not the ring's */
};

enum step { MORE, LAST, TOO_MANY, BAD };

/* Add a descriptor's range to the iovec.  It may reach over the end of a region
 * into the next. */
static enum step add(const struct virtq *q, struct walk *w, uint64_t gpa,
		     uint32_t len)
{
	const struct vhost_mapped *r;
	uint64_t off, part;
	unsigned i;

	while (len) {
		for (i = 0; i < q->mem->n; i++)
			if (gpa - q->mem->r[i].gpa < q->mem->r[i].len)
				break;
		if (i == q->mem->n)
			return BAD;
		if (w->e->iov_cnt == w->max)
			return TOO_MANY;
		r = &q->mem->r[i];
		off = gpa - r->gpa;
		part = MIN((uint64_t)len, r->len - off);
		w->iov[w->e->iov_cnt++] = (struct iovec){ r->at + off, part };
		w->e->len += part;
		gpa += part;
		len -= (uint32_t)part;
	}
	return MORE;
}

/* Follow one descriptor; *@at becomes the number of the next */
static enum step follow(const struct virtq *q, struct walk *w, unsigned *at)
{
	struct vring_desc d;
	enum step step;
	uint16_t flags;

	if (*at >= w->size || !w->left--)
		return BAD;
	memcpy(&d, w->table + *at, sizeof(d));
	__asm__ volatile("" ::: "memory"); /* the copy must not be read again
					      from guest memory */
	flags = le16toh(d.flags);
	if (flags & VRING_DESC_F_INDIRECT) {
		uint32_t len = le32toh(d.len);

		if (!q->indirect || w->indirect || !len ||
		    flags & VRING_DESC_F_NEXT || len % sizeof(d))
			return BAD;
		w->table = vhost_mem_find(q->mem, le64toh(d.addr), len);
		if (!w->table)
			return BAD;
		w->size = len / sizeof(d);
		w->indirect = true;
		*at = 0;
		return MORE;
	}
	if (!(flags & VRING_DESC_F_WRITE) == w->writable)
		return BAD;
	step = add(q, w, le64toh(d.addr), le32toh(d.len));
	*at = le16toh(d.next);
	return step == MORE && !(flags & VRING_DESC_F_NEXT) ? LAST : step;
}

int virtq_pop(struct virtq *q, struct virtq_elem *e, struct iovec *iov,
	      unsigned max, bool writable)
{
	struct walk w = { .e = e,
			  .iov = iov,
			  .max = max,
			  .table = q->desc,
			  .size = q->size,
			  .left = VIRTQ_MAX + 1,
			  .writable = writable };
	enum step step;
	unsigned at;

	if (q->seen == q->next && !virtq_left(q))
		return 0;
	if (!virtq_ready(q))
		return 0;
	at = load16(&q->avail->ring[q->next & (q->size - 1)]);
	*e = (struct virtq_elem){ .id = (uint16_t)at };
	do
		step = follow(q, &w, &at);
	while (step == MORE);
	if (step == TOO_MANY)
		return -ENOBUFS;
	if (step == BAD) {
		virtq_break(q, "a chain of descriptors makes no sense");
		return 0;
	}
	q->next++;
	return 1;
}

void virtq_rewind(struct virtq *q, unsigned n)
{
	q->next = (uint16_t)(q->next - n);
}

/* --- the log of dirty pages ------------------------------------------------ */

void virtq_wrote(const struct virtq *q, const struct iovec *iov, size_t len)
{
	size_t part;

	for (; len; iov++) {
		part = MIN(len, iov->iov_len);
		if (part)
			vhost_log_mark(q->log,
				       vhost_mem_gpa(q->mem, iov->iov_base),
				       part);
		len -= part;
	}
}

/* Log that @len bytes at @p, in the used ring, were written */
static void wrote_used(const struct virtq *q, const void *p, size_t len)
{
	size_t off = (size_t)((const uint8_t *)p - (const uint8_t *)q->used);

	vhost_log_mark(q->log_used, q->used_gpa + off, len);
}

/* Log that its entries from @old to @q->filled were written */
static void wrote_entries(const struct virtq *q, uint16_t old)
{
	unsigned at = old & (q->size - 1);
	unsigned n = MIN((unsigned)(uint16_t)(q->filled - old), q->size);
	unsigned first = MIN(n, q->size - at);

	wrote_used(q, &q->used->ring[at], first * sizeof(q->used->ring[0]));
	if (n > first)
		wrote_used(q, q->used->ring,
			   (n - first) * sizeof(q->used->ring[0]));
}

static void store_used(const struct virtq *q, void *p, uint16_t v)
{
	store16(p, v);
	if (UNLIKELY(q->log_used))
		wrote_used(q, p, sizeof(v));
}

/* --- giving back ---------------------------------------------------------- */

void virtq_push(struct virtq *q, uint16_t id, uint32_t len)
{
	struct vring_used_elem *u;

	if (!virtq_ready(q))
		return;
	u = &q->used->ring[q->filled++ & (q->size - 1)];
	u->id = htole32(id);
	u->len = htole32(len);
}

bool virtq_flush(struct virtq *q)
{
	uint16_t old = q->told;

	if (!virtq_ready(q) || q->filled == old)
		return false;
	store_used(q, &q->used->idx, q->filled);
	if (UNLIKELY(q->log_used))
		wrote_entries(q, old);
	q->told = q->filled;
	/* Either we see that the guest waits, or it sees the new index
	 * (2.7.10) */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (q->event_idx)
		return vring_need_event(load16(used_event(q)), q->filled, old);
	return !(load16(&q->avail->flags) & VRING_AVAIL_F_NO_INTERRUPT);
}

bool virtq_unread(const struct virtq *q)
{
	return virtq_ready(q) && q->event_idx &&
	       load16(used_event(q)) != q->told;
}

bool virtq_kicks(struct virtq *q, bool on)
{
	if (!virtq_ready(q))
		return true;
	if (!q->event_idx)
		store_used(q, &q->used->flags,
			   on ? 0 : VRING_USED_F_NO_NOTIFY);
	else if (on)
		store_used(q, avail_event(q), q->seen);
	/* The event index stays old, and is not reached again within this
	 * round */
	if (!on)
		return true;
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return load16(&q->avail->idx) == q->seen;
}
