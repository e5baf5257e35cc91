/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * util - small things that every module may use
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
/* For a function that a frequent caller seldom needs: it is not inlined, so
 * that the caller need not make room for it */
#define SELDOM       __attribute__((noinline, cold))

/* Unaligned loads and stores in network byte order */
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

/* util_parse_u64 - parse all of @s as a number in @base (by the rules of
 * strtoul())
 * Returns false if @s is empty, has anything behind the number, or the number
 * is above @max. */
bool util_parse_u64(const char *s, int base, uint64_t max, uint64_t *out);

/* util_parse_size - likewise for a number of bytes, which K, M or G behind it
 * multiply by powers of 1024 */
bool util_parse_size(const char *s, uint64_t max, uint64_t *out);

/* util_decimal - write @v in decimal to @to, with leading zeroes to make it
 * @digits long (20 at most)
 * Returns the end, which is not terminated.  May be used in signal handlers. */
char *util_decimal(char *to, uint64_t v, unsigned digits);

/* util_error - the text of errno @err, without allocation or system call
 * strerror() does either, which the filter does not allow. */
const char *util_error(int err);

/* util_read_file - read the first @size - 1 bytes of @path into @buf, NUL
 * terminated
 * Returns the length or -errno. */
int util_read_file(const char *path, char *buf, size_t size);

/* What is behind a descriptor */
struct util_stat {
	uint32_t mode, block; /* st_mode, st_blksize */
	uint64_t size, inode, dev;
};

/* util_fstat - fstat() by one system call on all machines, where libc uses one
 * of three; 0 or -errno */
int util_fstat(int fd, struct util_stat *st);

/* util_pass - have @m carry @n descriptors (SCM_RIGHTS), if @n is not 0
 * @control is all zero, aligned like a struct cmsghdr, has CMSG_SPACE() of
 * them, and must stay valid until @m is sent. */
struct msghdr;
void util_pass(struct msghdr *m, void *control, const int *fd, unsigned n);

/* util_map - map @bytes of zeroed memory, which takes none until it is touched;
 * NULL if the kernel refuses
 * For tables of run time, as there is no heap.  Never in huge pages, of which
 * the first byte would take 2 MiB.
 * util_spare_memory - make the same true of memory that was linked in; to be
 * called before that is touched */
void *util_map(size_t bytes);
void util_spare_memory(void);

/* util_random - fill @buf with @n unpredictable bytes; false on failure
 * Only before the filter is set. */
bool util_random(void *buf, size_t n);

#endif /* UTIL_H */
