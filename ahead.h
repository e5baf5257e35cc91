/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * ahead - bytes of a stream that came out of order, in runs with holes between
 * them
 *
 * What is kept was promised to the sender (RFC 2018) and is never dropped to
 * make room.  What finds no room is not kept, and the sender will send it
 * again.
 */
#ifndef AHEAD_H
#define AHEAD_H

#include "chunk.h"

enum {
	AHEAD_EACH = 64,   /* most runs of one stream */
	AHEAD_RUNS = 2048, /* most runs of all streams */
	AHEAD_BLOCKS = 1024, /* most blocks of the pool in all of them: 32
				MiB */
	AHEAD_COPY = 8 << 10, /* a run of at most so many bytes is copied to the
				 end of the one that has reached it */
};

struct ahead_run {
	struct chunk_queue bytes;
	uint32_t seq; /* sequence number of the first of @bytes */
	uint16_t next; /* number of the next run + 1, 0: none */
};

struct aheads {
	struct chunks *chunks;
	unsigned blocks; /* blocks in use */
	uint64_t kept, refused; /* bytes since the start */
	uint16_t free, fresh; /* run number + 1; runs ever used */
	struct ahead_run *run;
};

/* The runs of one stream, ascending, never overlapping; all zeroes: none */
struct ahead {
	uint16_t first, n; /* number of the first run + 1, 0: none; how many
			      there are */
	uint32_t last; /* sequence number of what came last */
};

/* The bytes from @from up to, but not including, @to */
struct span {
	uint32_t from, to;
};

/* Compare sequence numbers, modulo 2^32 (RFC 9293 3.4) */
static inline bool seq_before(uint32_t a, uint32_t b)
{
	return (int32_t)(a - b) < 0;
}

static inline bool seq_after(uint32_t a, uint32_t b)
{
	return seq_before(b, a);
}

/* ahead_init - map the table of runs, whose bytes will be in @chunks; 0 or
 * -errno */
int ahead_init(struct aheads *t, struct chunks *chunks);

/* ahead_put - keep the @len bytes in @iov, which begin at @seq, as far as they
 * are not here already and there is room */
void ahead_put(struct aheads *t, struct ahead *a, uint32_t seq,
	       const struct iovec *iov, unsigned cnt, size_t len);

/* ahead_take - move the run that has @seq to @q, which is empty, from @seq on;
 * bytes before @seq are dropped
 * Returns how many bytes were moved, 0 if there is a hole at @seq.  A run that
 * follows without a hole comes with the next call. */
uint32_t ahead_take(struct aheads *t, struct ahead *a, uint32_t seq,
		    struct chunk_queue *q);

/* ahead_spans - fill @s with up to @max ranges behind @seq, in the order that
 * RFC 2018 4 asks for: first the one with the latest bytes, then the lowest
 * Returns how many. */
unsigned ahead_spans(const struct aheads *t, const struct ahead *a, uint32_t seq,
		     struct span *s, unsigned max);

/* ahead_run - the run after @r, or the first if @r is NULL; NULL: no more */
const struct ahead_run *ahead_run(const struct aheads *t,
				  const struct ahead *a,
				  const struct ahead_run *r);

/* ahead_drop - drop all runs of @a */
void ahead_drop(struct aheads *t, struct ahead *a);

#endif /* AHEAD_H */
