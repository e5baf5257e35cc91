/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * util - small arithmetic that every module may use
 */
#ifndef UTIL_H
#define UTIL_H

#include <endian.h>
#include <linux/types.h>
#include <stddef.h>
#include <stdint.h>
#include <stdbool.h>
#include <string.h>

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define container_of(p, type, member)                                          \
	((type *)(void *)((char *)(p)-offsetof(type, member)))
#define MIN(a, b)    ((a) < (b) ? (a) : (b))
#define MAX(a, b)    ((a) > (b) ? (a) : (b))
#define UNLIKELY(x)  __builtin_expect(!!(x), 0)
#define PRINTF(f, a) __attribute__((format(printf, f, a)))
/* Of what a frequent caller seldom needs, so that it need not make room for it */
#define SELDOM       __attribute__((noinline, cold))

/* Unaligned loads and stores in network and in little-endian order */
static inline uint16_t ld_be16(const void *p)
{
	uint16_t v;

	memcpy(&v, p, sizeof(v));
	return be16toh(v);
}

static inline uint32_t ld_be32(const void *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return be32toh(v);
}

static inline uint64_t ld_be64(const void *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return be64toh(v);
}

static inline void st_be16(void *p, uint16_t v)
{
	v = htobe16(v);
	memcpy(p, &v, sizeof(v));
}

static inline void st_be32(void *p, uint32_t v)
{
	v = htobe32(v);
	memcpy(p, &v, sizeof(v));
}

/* util_parse_u64 - the whole of @s as a number in @base (strtoul rules)
 * False if @s is empty, has a tail, or the number is above @max. */
bool util_parse_u64(const char *s, int base, uint64_t max, uint64_t *out);

/* util_parse_size - the same for bytes, of which K, M or G behind the number
 * make powers of 1024 */
bool util_parse_size(const char *s, uint64_t max, uint64_t *out);

/* util_decimal - @v to @to, with zeroes in front to make it @digits (20 at most)
 * Returns the end, which is not terminated.  For signal handlers, too. */
char *util_decimal(char *to, uint64_t v, unsigned digits);

/* util_error - what errno @err means, without allocation or system call
 * strerror() makes either, which the filter does not know. */
const char *util_error(int err);

/* util_read_file - the first @size - 1 bytes of @path, NUL terminated
 * Returns the length or -errno. */
int util_read_file(const char *path, char *buf, size_t size);

/* What is behind a descriptor */
struct util_stat {
	uint32_t mode, block; /* as st_mode, st_blksize */
	uint64_t size, inode, dev;
};

/* util_fstat - 0 or -errno
 * One call on all machines, where fstat() of libc takes one of three. */
int util_fstat(int fd, struct util_stat *st);

/* util_pass - have @m carry @n descriptors (SCM_RIGHTS), if there are any
 * @control is zero, aligned as a struct cmsghdr, has CMSG_SPACE() of them, and stays
 * as it is until @m is sent. */
struct msghdr;
void util_pass(struct msghdr *m, void *control, const int *fd, unsigned n);

/* util_map - @bytes of zeroed memory that cost nothing until touched
 * For tables of run time: there is no heap.  NULL if the kernel refuses.  Never in huge
 * pages, of which the first byte would cost 2 MiB.
 * util_spare_memory - the same for what has been linked in; before it is touched */
void *util_map(size_t bytes);
void util_spare_memory(void);

/* util_random - @n unpredictable bytes, or false
 * Before the filter only. */
bool util_random(void *buf, size_t n);

#endif /* UTIL_H */
