/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * virtq - split virtqueues over checked guest memory (virtio 1.2, 2.7)
 *
 * The guest may write to its memory at any time.  So each descriptor is copied
 * once, its range is then checked against the regions, and what is handed out
 * is an iovec of our own.  A ring that contradicts itself is broken: it yields
 * nothing more until it is set up again.
 */
#ifndef VIRTQ_H
#define VIRTQ_H

#include "util.h"
#include "vhost_mem.h"

#include <sys/uio.h>

enum {
	VIRTQ_MAX = 1024, /* most entries of a ring: QEMU's
			     VIRTQUEUE_MAX_SIZE */
};

struct virtq {
	const struct vhost_mem *mem;
	unsigned size; /* a power of two, 0: not set */
	/* All three are set or none.  They are in guest memory: only virtq.c
	 * may use them. */
	struct vring_desc *desc;
	struct vring_avail *avail;
	struct vring_used *used;
	uint16_t next;   /* index of @avail up to which chains were taken */
	uint16_t seen;   /* index up to which it is known to be filled */
	uint16_t filled; /* index of @used up to which it was filled ... */
	uint16_t told;   /* ... and up to which the guest was told */
	bool event_idx;  /* VIRTIO_RING_F_EVENT_IDX */
	bool indirect;   /* VIRTIO_RING_F_INDIRECT_DESC */
	const char *broken; /* why it is broken; NULL: it is not */
	/* While the guest migrates, else NULL: the logs for what is written to
	 * buffers, and to the used ring, whose guest address for that is
	 * @used_gpa */
	struct vhost_log *log, *log_used;
	uint64_t used_gpa;
};

/* A chain of descriptors that was taken */
struct virtq_elem {
	uint16_t id;
	unsigned iov_cnt; /* pieces */
	size_t len;       /* bytes */
};

/* virtq_set - set the addresses of the rings, as the front-end has them;
 * @q->size is set
 * Goes on at @q->next, and at the used index that is in guest memory.  Returns
 * 0, or -EINVAL for ranges that are outside of @q->mem or not aligned. */
int virtq_set(struct virtq *q, uint64_t desc, uint64_t avail, uint64_t used);

/* virtq_unset - forget the addresses; @q->next stays */
void virtq_unset(struct virtq *q);

/* virtq_ready - whether chains may be taken */
static inline bool virtq_ready(const struct virtq *q)
{
	return q->used && !q->broken;
}

/* virtq_pop - take the next chain, as at most @max entries of @iov
 * @writable says which kind of descriptors it must consist of; any other makes
 * the ring broken.  Returns 1; 0 if there is none or the ring is broken;
 * -ENOBUFS if it has more than @max pieces, and then it is not taken. */
int virtq_pop(struct virtq *q, struct virtq_elem *e, struct iovec *iov,
	      unsigned max, bool writable);

/* virtq_break - mark the ring as broken for the reason @why: it yields nothing
 * more */
static inline void virtq_break(struct virtq *q, const char *why)
{
	q->broken = why;
}

/* virtq_left - how many chains are available */
unsigned virtq_left(struct virtq *q);

/* virtq_rewind - give back the last @n chains as if they had not been taken */
void virtq_rewind(struct virtq *q, unsigned n);

/* virtq_push - return chain @id as used, with @len bytes written to it
 * The guest sees this after virtq_flush(). */
void virtq_push(struct virtq *q, uint16_t id, uint32_t len);

/* virtq_wrote - log that the first @len bytes of @iov, which virtq_pop() gave,
 * were written
 * Only if there is a @q->log, and before virtq_flush(). */
void virtq_wrote(const struct virtq *q, const struct iovec *iov, size_t len);

/* virtq_unread - whether the guest has yet to look at some of what was
 * published, as far as it tells: only with VIRTIO_RING_F_EVENT_IDX, and once it
 * has had time to */
bool virtq_unread(const struct virtq *q);

/* virtq_flush - publish what was pushed; true: the guest wants to be
 * notified */
bool virtq_flush(struct virtq *q);

/* virtq_kicks - choose whether the guest is to kick for chains beyond those
 * that virtq_pop() or virtq_left() have seen
 * With @on, false means that there are such chains already: look again. */
bool virtq_kicks(struct virtq *q, bool on);

#endif /* VIRTQ_H */
