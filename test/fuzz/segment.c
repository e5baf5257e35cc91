/* SPDX-License-Identifier: GPL-2.0-or-later */
/* unit: segment packet addr iov checksum */
#include "segment.h"
#include "cursor.h"
#include "iov.h"

#include <assert.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* In a row or in two pieces, the same sum is stored */
static void finish(const uint8_t *frame, size_t len, const struct note *n)
{
	uint8_t *a = malloc(len), *b = malloc(len);
	struct iovec v[2] = { { b, len / 3 }, { b + len / 3, len - len / 3 } };

	memcpy(a, frame, len);
	memcpy(b, frame, len);
	segment_finish(a, len, n);
	segment_finish_iov(v, 2, len, n);
	assert(!memcmp(a, b, len));
	free(a);
	free(b);
}

/* Segments have the payload, in order, whatever the head says */
static void split(const uint8_t *frame, size_t len, const struct note *n)
{
	size_t room = n->gso_type ? (size_t)n->hdr_len + n->gso_size : len;
	uint8_t *a = malloc(room), *whole = malloc(len);
	size_t off = n->gso_type ? n->hdr_len : 0, got;
	unsigned i;

	memcpy(whole, frame, len);
	for (i = 0; i < 65536; i++) {
		got = segment_split(a, whole, len, n, i);
		if (!got)
			break;
		assert(got <= room);
		if (!n->gso_type)
			continue;
		assert(got > n->hdr_len && got - n->hdr_len <= len - off);
		/* a checksum may lie anywhere, but not in the payload */
		assert(!memcmp(a + n->hdr_len, frame + off, got - n->hdr_len));
		off += got - n->hdr_len;
	}
	assert(!i || !n->gso_type || off == len);
	assert(!memcmp(whole, frame, len));
	free(a);
	free(whole);
}

static void layout(size_t room, size_t gap, size_t want, size_t mss)
{
	uint8_t *buf = malloc(room);
	struct iovec v[64];
	size_t used, sum = 0;
	unsigned n, i;

	n = segment_layout(buf, room, gap, want, mss, v, 64, &used);
	assert(n <= 64 && used <= room);
	for (i = 0; i < n; i++) {
		size_t len = v[i].iov_len;

		memset((uint8_t *)v[i].iov_base - gap, 0, gap + len);
		sum += len;
		assert(len == (mss ? MIN(mss, want) : want));
		want -= len;
	}
	assert(used == sum + n * gap);
	free(buf);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct rd r = rd_init(data, size);
	struct note n;

	n.flags = rd_u8(&r);
	n.gso_type = rd_u8(&r);
	n.hdr_len = rd_be16(&r);
	n.gso_size = rd_be16(&r);
	n.csum_start = rd_be16(&r);
	n.csum_offset = rd_be16(&r);
	if (!rd_ok(&r) || rd_left(&r) < ETH_HEAD || rd_left(&r) > FRAME_MAX)
		return 0;
	layout(n.hdr_len, n.flags, n.gso_size, n.csum_start);
	/* finish does its own range check, split does too: ask both anyway */
	(void)segment_note_ok(&n, rd_left(&r));
	finish(r.p, rd_left(&r), &n);
	split(r.p, rd_left(&r), &n);
	return 0;
}
