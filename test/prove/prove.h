/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * prove - words for CBMC: any value, what is supposed, what must hold
 */
#ifndef PROVE_H
#define PROVE_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/uio.h>

/* What is not initialized may have any value */
#define ASSUME(x) __CPROVER_assume(x)
#define SHOW(x) __CPROVER_assert(x, #x)

static inline size_t any_size(void)
{
	size_t any;

	return any;
}

static inline unsigned any_unsigned(void)
{
	unsigned any;

	return any;
}

static inline uint64_t any_u64(void)
{
	uint64_t any;

	return any;
}

static inline _Bool any_bool(void)
{
	_Bool any;

	return any;
}

/* --- what several modules call and no proof looks at; what is reached without being
 * here or in the harness is no proof --- */

unsigned iov_slice(struct iovec *dst, unsigned max, const struct iovec *iov,
		   unsigned cnt, size_t off, size_t len, size_t *got)
{
	(void)dst, (void)max, (void)iov, (void)cnt, (void)off, (void)len;
	(void)got;
	return 0;
}

struct vhost_log;
struct vhost_mem;

/* Where virtq.c looks for memory is chain.c's; from there on both are the same */
void *vhost_mem_find(const struct vhost_mem *m, uint64_t gpa, uint64_t len);

void *vhost_mem_find_user(const struct vhost_mem *m, uint64_t uva, uint64_t len)
{
	return vhost_mem_find(m, uva, len);
}

void vhost_log_mark(struct vhost_log *l, uint64_t gpa, uint64_t len)
{
	(void)l, (void)gpa, (void)len;
}

uint64_t vhost_mem_gpa(const struct vhost_mem *m, const void *at)
{
	(void)m, (void)at;
	return 0;
}

#endif /* PROVE_H */
