/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * chunk - bounded byte queues in blocks of one shared pool
 *
 * A queue is a chain of blocks.  Freed blocks are used again first, so the pool
 * stays as small as its peak.  When few blocks of that peak are in use, the
 * memory of the free ones is given back to the kernel.
 */
#include "chunk.h"

#include "iov.h"

#include <errno.h>
#include <sys/mman.h>

enum {
	KEEP_BLOCKS = 64, /* as many as a download fills and empties all the
			     time */
	KEEP_PART = 8,	  /* this part of the peak is few */
};

int chunks_init(struct chunks *c)
{
	*c = (struct chunks){ 0 };
	c->mem = util_map((size_t)CHUNK_BLOCK * CHUNK_BLOCKS);
	return c->mem ? 0 : -ENOMEM;
}

static unsigned tail_room(const struct chunk_queue *q)
{
	unsigned end = (q->at + q->len) % CHUNK_BLOCK;

	return q->len && end ? CHUNK_BLOCK - end : 0;
}

size_t chunk_room(const struct chunks *c, const struct chunk_queue *q)
{
	return (size_t)(CHUNK_BLOCKS - c->used) * CHUNK_BLOCK + tail_room(q);
}

static uint8_t *block(const struct chunks *c, uint16_t b)
{
	return c->mem + (size_t)(b - 1) * CHUNK_BLOCK;
}

static bool grow(struct chunks *c, struct chunk_queue *q)
{
	uint16_t b = c->free;

	if (b)
		c->free = c->next[b - 1];
	else if (c->fresh < CHUNK_BLOCKS)
		b = (uint16_t)++c->fresh;
	else
		return false;
	c->used++;
	c->peak = MAX(c->peak, c->used);
	c->clean = MIN(c->clean, c->fresh - c->used);
	c->next[b - 1] = 0;
	if (q->last)
		c->next[q->last - 1] = b;
	else
		q->first = b;
	q->last = b;
	return true;
}

size_t chunk_put(struct chunks *c, struct chunk_queue *q,
		 const struct iovec *iov, unsigned cnt, size_t off, size_t len)
{
	size_t done = 0;

	while (done < len) {
		unsigned room = tail_room(q);
		size_t n;

		if (!room) {
			if (!grow(c, q))
				break;
			room = CHUNK_BLOCK;
		}
		n = iov_read(iov, cnt, off + done,
			     block(c, q->last) + CHUNK_BLOCK - room,
			     MIN((size_t)room, len - done));
		if (!n)
			break;
		q->len += (uint32_t)n;
		done += n;
	}
	return done;
}

unsigned chunk_extend(struct chunks *c, struct chunk_queue *q, size_t len,
		      struct iovec *iov, unsigned max)
{
	size_t room = tail_room(q);
	unsigned n = 0;

	for (; len && n < max && (room || grow(c, q)); room = 0) {
		if (!room)
			room = CHUNK_BLOCK;
		iov[n++] = (struct iovec){
			block(c, q->last) + CHUNK_BLOCK - room, MIN(len, room)
		};
		len -= MIN(len, room);
	}
	return n;
}

/* Free block @b and those that follow it, to be used again in this order */
static void free_from(struct chunks *c, uint16_t b)
{
	uint16_t last = b;

	for (c->used--; c->next[last - 1]; last = c->next[last - 1])
		c->used--;
	c->next[last - 1] = c->free;
	c->free = b;
}

void chunk_extended(struct chunks *c, struct chunk_queue *q, size_t n)
{
	size_t end = q->at + q->len + n;
	uint16_t b = q->first, spare;

	q->len += (uint32_t)n;
	if (!q->len) {
		if (b)
			free_from(c, b);
		*q = (struct chunk_queue){ 0 };
		return;
	}
	for (; end > CHUNK_BLOCK; end -= CHUNK_BLOCK)
		b = c->next[b - 1];
	spare = c->next[b - 1];
	c->next[b - 1] = 0;
	q->last = b;
	if (spare)
		free_from(c, spare);
}

unsigned chunk_iov(const struct chunks *c, const struct chunk_queue *q,
		   size_t off, size_t len, struct iovec *iov, unsigned max)
{
	uint16_t b = q->first;
	unsigned n = 0;

	if (off >= q->len)
		return 0;
	len = MIN(len, q->len - off);
	for (off += q->at; off >= CHUNK_BLOCK; off -= CHUNK_BLOCK)
		b = c->next[b - 1];
	for (; len && n < max; n++) {
		size_t part = MIN(len, CHUNK_BLOCK - off);

		iov[n] = (struct iovec){ block(c, b) + off, part };
		len -= part;
		off = 0;
		b = c->next[b - 1];
	}
	return n;
}

static void forget(uint8_t *mem, size_t len)
{
	/* #syscalls madvise(.,.,MADV_DONTNEED) */
	(void)madvise(mem, len, MADV_DONTNEED);
}

static void give_back(struct chunks *c)
{
	unsigned n = c->fresh - c->used - c->clean;
	uint16_t b;

	if ((c->used ? c->peak : c->fresh) <= KEEP_BLOCKS ||
	    c->used > c->peak / KEEP_PART)
		return;
	c->peak = c->used;
	if (c->used) {
		for (b = c->free; n; n--, b = c->next[b - 1])
			forget(block(c, b), CHUNK_BLOCK);
		c->clean = c->fresh - c->used;
		return;
	}
	forget(c->mem, (size_t)c->fresh * CHUNK_BLOCK);
	c->fresh = c->clean = 0;
	c->free = 0;
}

void chunk_drop(struct chunks *c, struct chunk_queue *q, size_t n)
{
	size_t at = q->at + n;

	q->len -= (uint32_t)n;
	while (q->first && (at >= CHUNK_BLOCK || !q->len)) {
		uint16_t b = q->first;

		q->first = c->next[b - 1];
		c->next[b - 1] = c->free;
		c->free = b;
		c->used--;
		at = at >= CHUNK_BLOCK ? at - CHUNK_BLOCK : 0;
	}
	q->at = (uint16_t)at;
	if (!q->first) {
		*q = (struct chunk_queue){ 0 };
		give_back(c);
	}
}
