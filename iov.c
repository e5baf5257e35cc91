/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * iov - walk, trim and copy scattered bytes
 *
 * Every function but iov_advance() walks as iov_slice() does: skip what lies
 * before the offset, then take pieces.  Empty entries are allowed and never
 * appear in a slice.
 */
#include "iov.h"

#include <stdint.h>
#include <string.h>

size_t iov_size(const struct iovec *iov, unsigned cnt)
{
	size_t sum = 0;
	unsigned i;

	for (i = 0; i < cnt; i++)
		sum += iov[i].iov_len;
	return sum;
}

/* Copy between @flat and the iovec; @in: from @flat into the iovec */
static size_t copy(const struct iovec *iov, unsigned cnt, size_t off,
		   uint8_t *flat, size_t len, int in)
{
	size_t done = 0;

	for (; cnt && done < len; iov++, cnt--) {
		uint8_t *p = iov->iov_base;
		size_t n = iov->iov_len;

		if (off >= n) {
			off -= n;
			continue;
		}
		n -= off;
		if (n > len - done)
			n = len - done;
		if (in)
			memcpy(p + off, flat + done, n);
		else
			memcpy(flat + done, p + off, n);
		done += n;
		off = 0;
	}
	return done;
}

size_t iov_read(const struct iovec *iov, unsigned cnt, size_t off, void *dst,
		size_t len)
{
	return copy(iov, cnt, off, dst, len, 0);
}

size_t iov_write(const struct iovec *iov, unsigned cnt, size_t off,
		 const void *src, size_t len)
{
	/* @src is only read; the cast is for the shared loop */
	return copy(iov, cnt, off, (uint8_t *)(uintptr_t)src, len, 1);
}

unsigned iov_slice(struct iovec *dst, unsigned max, const struct iovec *iov,
		   unsigned cnt, size_t off, size_t len, size_t *got)
{
	size_t left = len;
	unsigned n = 0;

	for (; cnt && left && n < max; iov++, cnt--) {
		size_t piece = iov->iov_len;

		if (off >= piece) {
			off -= piece;
			continue;
		}
		piece -= off;
		if (piece > left)
			piece = left;
		dst[n].iov_base = (uint8_t *)iov->iov_base + off;
		dst[n++].iov_len = piece;
		left -= piece;
		off = 0;
	}
	if (got)
		*got = len - left;
	return n;
}

void iov_advance(struct iovec **iov, unsigned *cnt, size_t n)
{
	while (*cnt && n >= (*iov)->iov_len) {
		n -= (*iov)->iov_len;
		(*iov)++;
		(*cnt)--;
	}
	if (*cnt) {
		(*iov)->iov_base = (uint8_t *)(*iov)->iov_base + n;
		(*iov)->iov_len -= n;
	}
}
