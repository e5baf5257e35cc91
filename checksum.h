/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * checksum - Internet checksums (RFC 1071) over bytes and iovecs
 *
 * A sum is a 64-bit accumulator of 16-bit words as they lie in memory, and so
 * independent of byte order (RFC 1071, 2(B)): csum_fold() gives the two bytes
 * to store as they are.  Sums of pieces that start at an even offset can simply
 * be added.
 */
#ifndef CHECKSUM_H
#define CHECKSUM_H

#include "addr.h"
#include "util.h"

#include <sys/uio.h>

/* csum_init - choose the fastest code for this CPU; before that, the portable
 * loop is used */
void csum_init(void);

/* csum_name - the code that was chosen: "avx2", "sse2", "neon" or "portable" */
const char *csum_name(void);

/* csum_add - @sum plus the words of @len bytes at @p; an odd last byte is
 * padded with zero */
uint64_t csum_add(uint64_t sum, const void *p, size_t len);

/* csum_words - @sum plus @n words of 32 bits at @p, inlined for a few of
 * them */
static inline uint64_t csum_words(uint64_t sum, const void *p, unsigned n)
{
	const uint8_t *from = p;
	uint32_t w;

	for (; n; n--, from += sizeof(w)) {
		memcpy(&w, from, sizeof(w));
		sum += w;
	}
	return sum;
}

/* csum_iov - csum_add() over @len bytes from offset @off of an iovec, of any
 * alignment */
uint64_t csum_iov(uint64_t sum, const struct iovec *iov, unsigned cnt,
		  size_t off, size_t len);

/* csum_pseudo - the sum of the pseudo-header of a layer-4 packet of @len bytes
 * RFC 9293 3.1 for IPv4, RFC 8200 8.1 for IPv6, according to @src. */
uint64_t csum_pseudo(const struct addr *src, const struct addr *dst,
		     uint8_t proto, uint32_t len);

/* csum_fold - fold @sum to 16 bits without complementing it: what the checksum
 * field of an unfinished packet has (CHECKSUM_PARTIAL) */
static inline uint16_t csum_fold(uint64_t sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)sum;
}

/* csum_finish - the checksum to store, by memcpy() as it is in memory order */
static inline uint16_t csum_finish(uint64_t sum)
{
	return (uint16_t)~csum_fold(sum);
}

/* csum_impl - for the unit test and the benchmark: an implementation by its
 * name, NULL if this CPU or build does not have it */
typedef uint64_t csum_fn(uint64_t sum, const void *p, size_t len);
csum_fn *csum_impl(const char *name);

#endif /* CHECKSUM_H */
