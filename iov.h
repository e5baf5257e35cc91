/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * iov - measures, trims and copies scattered bytes
 */
#ifndef IOV_H
#define IOV_H

#include <stddef.h>
#include <sys/uio.h>

/* iov_size - the sum of all lengths */
size_t iov_size(const struct iovec *iov, unsigned cnt);

/* iov_read - copy up to @len bytes from offset @off to @dst
 * Returns how many there were. */
size_t iov_read(const struct iovec *iov, unsigned cnt, size_t off, void *dst,
		size_t len);

/* iov_write - copy up to @len bytes of @src to offset @off; returns how many
 * fitted */
size_t iov_write(const struct iovec *iov, unsigned cnt, size_t off,
		 const void *src, size_t len);

/* iov_slice - describe the @len bytes at offset @off in @dst, without copying
 * them
 * Uses at most @max entries and returns their number; *@got, if not NULL,
 * becomes the number of bytes that they cover. */
unsigned iov_slice(struct iovec *dst, unsigned max, const struct iovec *iov,
		   unsigned cnt, size_t off, size_t len, size_t *got);

/* iov_advance - drop the first @n bytes of the array *@iov in place */
void iov_advance(struct iovec **iov, unsigned *cnt, size_t n);

#endif /* IOV_H */
