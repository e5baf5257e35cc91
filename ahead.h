/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * ahead - bytes of a stream that came early, in runs with holes between them
 *
 * What is kept was promised to the sender (RFC 2018) and is not thrown away to make
 * room: what finds none is not kept, and comes again.
 */
#ifndef AHEAD_H
#define AHEAD_H

#include "chunk.h"

enum {
	AHEAD_EACH = 64,   /* runs of one stream */
	AHEAD_RUNS = 2048, /* of all */
	AHEAD_BLOCKS = 1024, /* chunks in all of them: 32 MiB */
	AHEAD_COPY = 8 << 10, /* a run so small is copied behind the one that
				 has reached it */
};

struct ahead_run {
	struct chunk_queue bytes;
	uint32_t seq; /* of the first of @bytes */
	uint16_t next; /* run + 1 */
};

struct aheads {
	struct chunks *chunks;
	unsigned blocks; /* in use */
	uint64_t kept, refused; /* bytes */
	uint16_t free, fresh; /* run + 1; how many were used */
	struct ahead_run *run;
};

/* One stream's; all zeroes: nothing.  Runs are in order and never overlap. */
struct ahead {
	uint16_t first, n; /* run + 1 */
	uint32_t last; /* where what came last begins */
};

/* Bytes from @from to before @to */
struct span {
	uint32_t from, to;
};

/* Numbers of a stream, which wrap */
static inline bool seq_before(uint32_t a, uint32_t b)
{
	return (int32_t)(a - b) < 0;
}

static inline bool seq_after(uint32_t a, uint32_t b)
{
	return seq_before(b, a);
}

/* ahead_init - 0 or -errno */
int ahead_init(struct aheads *t, struct chunks *chunks);

/* ahead_put - keep the @len bytes at @seq, found in @iov, as far as they are not
 * there yet and there is room */
void ahead_put(struct aheads *t, struct ahead *a, uint32_t seq,
	       const struct iovec *iov, unsigned cnt, size_t len);

/* ahead_take - move what begins at @seq to @q, which is empty; what is before that
 * is dropped
 * Returns how much it is.  What touches it may come with the next call. */
uint32_t ahead_take(struct aheads *t, struct ahead *a, uint32_t seq,
		    struct chunk_queue *q);

/* ahead_spans - up to @max stretches that begin after @seq, as RFC 2018 4 wants them
 * reported: the one with what came last, then the lowest
 * Returns how many. */
unsigned ahead_spans(const struct aheads *t, const struct ahead *a, uint32_t seq,
		     struct span *s, unsigned max);

/* ahead_run - the run after @r, the first for NULL; NULL: no more */
const struct ahead_run *ahead_run(const struct aheads *t,
				  const struct ahead *a,
				  const struct ahead_run *r);

/* ahead_drop - nothing is kept any more */
void ahead_drop(struct aheads *t, struct ahead *a);

#endif /* AHEAD_H */
