/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * virtq - split virtqueues over checked guest memory (virtio 1.2, 2.7)
 *
 * The guest may write to its memory at any time.  So each descriptor is copied
 * once, its range is checked against the regions then, and what is handed out
 * is an iovec of our own.  A ring that contradicts itself is broken: it gives
 * nothing more until it is set up again.
 */
#ifndef VIRTQ_H
#define VIRTQ_H

#include "util.h"
#include "vhost_mem.h"

#include <sys/uio.h>

enum {
	VIRTQ_MAX = 1024, /* entries of a ring, as QEMU's VIRTQUEUE_MAX_SIZE */
};

struct virtq {
	const struct vhost_mem *mem;
	unsigned size; /* a power of two, 0: not set */
	/* All three or none.  In guest memory: through virtq.c only. */
	struct vring_desc *desc;
	struct vring_avail *avail;
	struct vring_used *used;
	uint16_t next;   /* of @avail: up to where it is taken */
	uint16_t seen;   /* up to where it is known to be filled */
	uint16_t filled; /* of @used: up to where it is filled ... */
	uint16_t told;   /* ... and up to where that is told */
	bool event_idx;  /* VIRTIO_RING_F_EVENT_IDX */
	bool indirect;   /* VIRTIO_RING_F_INDIRECT_DESC */
	const char *broken; /* why it is; NULL: it is not */
	/* While the guest is migrated, else NULL: where its front-end is told what
	 * was written to buffers, and to the used ring, by the address that it
	 * has for that */
	struct vhost_log *log, *log_used;
	uint64_t used_gpa;
};

/* One chain of descriptors that was taken */
struct virtq_elem {
	uint16_t id;
	unsigned iov_cnt; /* pieces */
	size_t len;       /* bytes */
};

/* virtq_set - where the rings are; @q->size is set
 * Goes on where @q->next says, with the guest's own idea of what was used.
 * 0, -EINVAL for ranges outside of @q->mem or not aligned. */
int virtq_set(struct virtq *q, uint64_t desc, uint64_t avail, uint64_t used);

/* virtq_unset - forget the guest's memory; @q->next stays */
void virtq_unset(struct virtq *q);

/* virtq_ready - whether chains may be taken */
static inline bool virtq_ready(const struct virtq *q)
{
	return q->used && !q->broken;
}

/* virtq_pop - take the next chain, as at most @max pieces in @iov
 * @writable says which kind of descriptors it must have; others in front or
 * behind make the ring broken.  1; 0 if there is none or the ring is broken;
 * -ENOBUFS if it has more than @max pieces, then it stays. */
int virtq_pop(struct virtq *q, struct virtq_elem *e, struct iovec *iov,
	      unsigned max, bool writable);

/* virtq_break - it gives nothing more, for the reason @why */
static inline void virtq_break(struct virtq *q, const char *why)
{
	q->broken = why;
}

/* virtq_left - how many chains there are to take */
unsigned virtq_left(struct virtq *q);

/* virtq_rewind - the last @n chains were not taken */
void virtq_rewind(struct virtq *q, unsigned n);

/* virtq_push - done with chain @id, @len bytes were written to it
 * The guest sees it after virtq_flush(). */
void virtq_push(struct virtq *q, uint16_t id, uint32_t len);

/* virtq_wrote - the first @len bytes of @iov, which virtq_pop() gave, were filled
 * If there is a @q->log, and before virtq_flush(). */
void virtq_wrote(const struct virtq *q, const struct iovec *iov, size_t len);

/* virtq_unread - whether it has yet to look at some of what it may have, as far as it
 * tells: with VIRTIO_RING_F_EVENT_IDX, and when there was time to */
bool virtq_unread(const struct virtq *q);

/* virtq_flush - the guest may have what was pushed; true: it wants to be told
 */
bool virtq_flush(struct virtq *q);

/* virtq_kicks - whether the guest is to tell of chains beyond those that
 * virtq_pop() or virtq_left() know of
 * With @on, false means that there are some already: look again. */
bool virtq_kicks(struct virtq *q, bool on);

#endif /* VIRTQ_H */
