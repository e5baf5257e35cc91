/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * chunk - bounded byte queues in blocks of one shared pool
 *
 * For bytes that a socket did not take at once, or that may have to be sent to
 * the guest again.  The pool is mapped once and takes memory as it fills.
 */
#ifndef CHUNK_H
#define CHUNK_H

#include "util.h"

#include <sys/uio.h>

enum {
	CHUNK_BLOCK = 32 << 10,
	CHUNK_BLOCKS = 8192, /* 256 MiB, of which only used blocks take
				memory */
};

struct chunks {
	uint8_t *mem;
	unsigned fresh, used, peak; /* maximum of @used since memory was last
				       given back */
	/* free blocks at the end of @free that take no memory, since it was
	 * given back */
	unsigned clean;
	uint16_t free;		     /* block number + 1, 0: none */
	uint16_t next[CHUNK_BLOCKS]; /* block + 1 */
};

/* A queue of bytes; all zeroes: an empty one */
struct chunk_queue {
	uint16_t first, last; /* block + 1 */
	uint16_t at;	      /* offset of the first byte in block @first */
	uint32_t len;
};

/* chunks_init - map the pool; 0 or -errno */
int chunks_init(struct chunks *c);

/* chunk_room - how many bytes can certainly be appended to @q */
size_t chunk_room(const struct chunks *c, const struct chunk_queue *q);

/* chunk_put - append @len bytes from offset @off of @iov (@cnt entries)
 * Returns how many were appended: less only if the pool is used up. */
size_t chunk_put(struct chunks *c, struct chunk_queue *q,
		 const struct iovec *iov, unsigned cnt, size_t off, size_t len);

/* chunk_extend - describe room for @len bytes at the end of @q in @iov, for the
 * caller to fill
 * Returns the number of entries, at most @max; they cover less than @len if the
 * pool is used up.  chunk_extended() must follow, with no other call for @q in
 * between.
 * chunk_extended - append the first @n bytes of that room, and free the rest */
unsigned chunk_extend(struct chunks *c, struct chunk_queue *q, size_t len,
		      struct iovec *iov, unsigned max);
void chunk_extended(struct chunks *c, struct chunk_queue *q, size_t n);

/* chunk_iov - describe up to @len bytes from offset @off of the queue in @iov,
 * in place
 * Returns the number of entries, at most @max. */
unsigned chunk_iov(const struct chunks *c, const struct chunk_queue *q,
		   size_t off, size_t len, struct iovec *iov, unsigned max);

/* chunk_drop - remove the first @n bytes, at most @q->len */
void chunk_drop(struct chunks *c, struct chunk_queue *q, size_t n);

#endif /* CHUNK_H */
