/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * segment - turns a frame that promises offload into frames that need none
 *
 * The head of a GSO frame is the template of all its segments' heads: only
 * lengths, the TCP sequence number and a few flags differ.  Its checksum field
 * holds the sum of the pseudo-header with the length of the whole frame.  Since
 * one's complement sums can be subtracted, each segment replaces that length by
 * its own, and the addresses need not be summed.
 */
#include "segment.h"
#include "checksum.h"
#include "iov.h"

#include <linux/virtio_net.h>

enum {
	UDP_SUM = 6,    /* offset of its checksum, by which UDP is known */
	TCP_CWR = 0x80, /* RFC 3168 6.1.2 */
};

unsigned segment_layout(void *buf, size_t room, size_t gap, size_t want,
			size_t mss, struct iovec *iov, unsigned max,
			size_t *used)
{
	uint8_t *p = buf;
	unsigned n = 0;

	for (*used = 0; want && n < max; n++) {
		size_t len = mss ? MIN(want, mss) : want;

		if (gap > room - *used || len > room - *used - gap)
			break;
		iov[n].iov_base = p + *used + gap;
		iov[n].iov_len = len;
		*used += gap + len;
		want -= len;
	}
	return n;
}

static uint16_t sum_of(const struct note *n, uint64_t sum)
{
	uint16_t v = csum_finish(sum);

	/* RFC 768: a sum of zero is sent as all ones, zero means "no
	 * checksum" */
	return !v && n->csum_offset == UDP_SUM ? 0xffff : v;
}

static bool is_udp(const struct note *n)
{
	return n->gso_type == VIRTIO_NET_HDR_GSO_UDP_L4;
}

/* Set the length in either kind of IP header, @len bytes with that header, and
 * the checksum of IPv4 */
static void set_ip_len(uint8_t *ip, size_t len)
{
	uint16_t sum = 0;

	if (ip[0] >> 4 == 6) {
		st_be16(ip + 4, (uint16_t)(len - IP6_HEAD));
		return;
	}
	st_be16(ip + 2, (uint16_t)len);
	memcpy(ip + 10, &sum, sizeof(sum));
	sum = csum_finish(csum_add(0, ip, (ip[0] & 15U) * 4));
	memcpy(ip + 10, &sum, sizeof(sum));
}

static void set_tcp(uint8_t *tcp, size_t off, size_t len, size_t total)
{
	st_be32(tcp + 4, ld_be32(tcp + 4) + (uint32_t)off);
	if (off + len < total)
		tcp[13] &= (uint8_t) ~(TCP_FIN | TCP_PSH);
	if (off)
		tcp[13] &= (uint8_t)~TCP_CWR;
}

void segment_head(uint8_t *dst, const uint8_t *head, size_t head_len,
		  const struct note *n, size_t off, size_t len, size_t total)
{
	size_t l4_head = head_len - n->csum_start;
	uint8_t *l4 = dst + n->csum_start;
	uint64_t sum = 0;
	uint16_t v;

	if (dst != head)
		memcpy(dst, head, head_len);
	if (!(n->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM))
		return;

	if (len != total) {
		set_ip_len(dst + ETH_HEAD, head_len - ETH_HEAD + len);
		if (is_udp(n))
			st_be16(l4 + 4, (uint16_t)(l4_head + len));
		else
			set_tcp(l4, off, len, total);
		sum += (uint32_t)~htobe32((uint32_t)(l4_head + total));
		sum += htobe32((uint32_t)(l4_head + len));
	}
	v = sum_of(n, csum_add(sum, l4, l4_head + len));
	memcpy(l4 + n->csum_offset, &v, sizeof(v));
}

static bool sum_fits(const struct note *n, size_t len)
{
	return (size_t)n->csum_start + n->csum_offset + 2 <= len;
}

void segment_finish(uint8_t *frame, size_t len, const struct note *n)
{
	uint8_t *l4 = frame + n->csum_start;
	uint16_t v;

	if (!(n->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) || !sum_fits(n, len))
		return;
	v = sum_of(n, csum_add(0, l4, len - n->csum_start));
	memcpy(l4 + n->csum_offset, &v, sizeof(v));
}

void segment_finish_iov(const struct iovec *iov, unsigned cnt, size_t len,
			const struct note *n)
{
	size_t start = n->csum_start;
	uint16_t v;

	if (!(n->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) || !sum_fits(n, len))
		return;
	v = sum_of(n, csum_iov(0, iov, cnt, start, len - start));
	iov_write(iov, cnt, start + n->csum_offset, &v, sizeof(v));
}

/* Whether the frame can be segmented: its heads are complete and where the note
 * says */
static bool is_run(const uint8_t *frame, size_t len, const struct note *n)
{
	size_t l4 = is_udp(n) ? UDP_HEAD : TCP_HEAD, ip = IP6_HEAD;

	if (!n->gso_size || !(n->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) ||
	    n->hdr_len >= len || n->csum_start + l4 > n->hdr_len ||
	    n->csum_start + (size_t)n->csum_offset + 2 > n->hdr_len)
		return false;
	if (n->csum_start < ETH_HEAD + IP4_HEAD)
		return false;
	if (frame[ETH_HEAD] >> 4 != 6)
		ip = (frame[ETH_HEAD] & 15U) * 4;
	return ip >= IP4_HEAD && ETH_HEAD + ip <= n->csum_start;
}

size_t segment_split(uint8_t *dst, const uint8_t *frame, size_t len,
		     const struct note *n, unsigned i)
{
	size_t total, off, piece;

	if (n->gso_type == VIRTIO_NET_HDR_GSO_NONE) {
		if (i)
			return 0;
		memcpy(dst, frame, len);
		segment_finish(dst, len, n);
		return len;
	}
	if (!is_run(frame, len, n))
		return 0;
	total = len - n->hdr_len;
	off = (size_t)i * n->gso_size;
	if (off >= total)
		return 0;
	piece = MIN(total - off, (size_t)n->gso_size);
	memcpy(dst + n->hdr_len, frame + n->hdr_len + off, piece);
	segment_head(dst, frame, n->hdr_len, n, off, piece, total);
	return n->hdr_len + piece;
}

static bool gso_ok(const struct note *n)
{
	bool ecn = n->gso_type & VIRTIO_NET_HDR_GSO_ECN;

	switch (n->gso_type & ~VIRTIO_NET_HDR_GSO_ECN) {
	case VIRTIO_NET_HDR_GSO_NONE:
		return !ecn;
	case VIRTIO_NET_HDR_GSO_TCPV4:
	case VIRTIO_NET_HDR_GSO_TCPV6:
		return n->gso_size;
	case VIRTIO_NET_HDR_GSO_UDP:
	case VIRTIO_NET_HDR_GSO_UDP_L4:
		return n->gso_size && !ecn;
	default:
		return false;
	}
}

bool segment_note_ok(const struct note *n, size_t frame_len)
{
	if (n->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM &&
	    (n->csum_start < ETH_HEAD || !sum_fits(n, frame_len)))
		return false;
	return gso_ok(n);
}
