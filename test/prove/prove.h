/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * prove - words for CBMC: any value, what is supposed, what must hold
 */
#ifndef PROVE_H
#define PROVE_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

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


/* @len bytes of which nothing is known */
static inline void *any_bytes(size_t len)
{
	void *p = malloc(len);

	ASSUME(p != NULL);
	return p;
}

#endif /* PROVE_H */
