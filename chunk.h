/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * chunk - bounded byte queues in blocks of one shared pool
 *
 * Bytes that a socket did not take at once, or that the guest may want again.
 * The pool is mapped once and touched as it fills.
 */
#ifndef CHUNK_H
#define CHUNK_H

#include "util.h"

#include <sys/uio.h>

enum {
	CHUNK_BLOCK = 32 << 10,
	CHUNK_BLOCKS = 8192, /* 256 MiB, of which only used ones exist */
};

struct chunks {
	uint8_t *mem;
	unsigned fresh, used, peak; /* @used at most, since memory went back */
	unsigned clean; /* free ones, the last of @free, that have none since then */
	uint16_t free;		     /* block + 1, 0: none */
	uint16_t next[CHUNK_BLOCKS]; /* block + 1 */
};

/* An empty queue is all zeroes */
struct chunk_queue {
	uint16_t first, last; /* block + 1 */
	uint16_t at;	      /* of the first byte in @first */
	uint32_t len;
};

/* chunks_init - 0 or -errno */
int chunks_init(struct chunks *c);

/* chunk_room - bytes that @q can take for sure */
size_t chunk_room(const struct chunks *c, const struct chunk_queue *q);

/* chunk_put - append @len bytes found at @off of @iov
 * Returns how many were taken: less only if the pool is used up. */
size_t chunk_put(struct chunks *c, struct chunk_queue *q,
		 const struct iovec *iov, unsigned cnt, size_t off, size_t len);

/* chunk_extend - room for @len bytes behind the last, for who fills it himself
 * Returns the number of entries, at most @max; they cover less if the pool is used up.
 * chunk_extended - the first @n bytes of it are there, the rest goes back; nothing else is
 * done with @q in between */
unsigned chunk_extend(struct chunks *c, struct chunk_queue *q, size_t len,
		      struct iovec *iov, unsigned max);
void chunk_extended(struct chunks *c, struct chunk_queue *q, size_t n);

/* chunk_iov - describe up to @len bytes at @off of the queue in place
 * Returns the number of entries, at most @max. */
unsigned chunk_iov(const struct chunks *c, const struct chunk_queue *q,
		   size_t off, size_t len, struct iovec *iov, unsigned max);

/* chunk_drop - the first @n bytes are done with */
void chunk_drop(struct chunks *c, struct chunk_queue *q, size_t n);

#endif /* CHUNK_H */
