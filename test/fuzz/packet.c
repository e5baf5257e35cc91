/* SPDX-License-Identifier: GPL-2.0-or-later */
/* unit: packet addr iov checksum */
#include "packet.h"
#include "iov.h"

#include <assert.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Byte 0: where the frame is cut in two; 1: gso_type; 2, 3: gso_size */
enum { OPTIONS = 4 };

static void check(const struct packet *p, const uint8_t *whole, size_t len)
{
	uint8_t *copy = malloc(p->payload_len + 1);
	struct iovec v[2];
	struct rd r = packet_l4(p);
	size_t got;
	unsigned n;

	assert(p->kind < PACKET_KINDS);
	assert(p->hdr_len <= PACKET_HDR && p->hdr_len <= len);
	assert(p->l3_off <= p->l4_off && p->l4_off <= p->hdr_len);
	assert(p->payload_off <= len && p->payload_len <= len - p->payload_off);
	assert(p->gso_size <= p->payload_len);
	assert(rd_left(&r) == (size_t)(p->hdr_len - p->l4_off));

	got = packet_copy(p, 0, copy, p->payload_len + 1);
	assert(got == p->payload_len);
	assert(!memcmp(copy, whole + p->payload_off, got));
	n = packet_iov(p, 0, SIZE_MAX, v, 2, &got);
	assert(got == p->payload_len && iov_size(v, n) == got);
	free(copy);

	if (p->kind == PACKET_ARP)
		return;
	assert(addr_is_v4(&p->t.src) == addr_is_v4(&p->t.dst));
	assert(!addr_is_loopback(&p->t.src) && !addr_is_loopback(&p->t.dst));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct packet p;
	const uint8_t *whole = data + OPTIONS;
	struct iovec v[2];
	struct frame f = { .iov = v, .iov_cnt = 2 };
	size_t cut;
	unsigned i;

	if (size < OPTIONS || size > OPTIONS + FRAME_MAX)
		return 0;
	f.len = size - OPTIONS;
	f.note.gso_type = data[1];
	f.note.gso_size = ld_be16(data + 2);
	cut = MIN(f.len, (size_t)data[0]);
	v[0].iov_len = cut;
	v[1].iov_len = f.len - cut;
	for (i = 0; i < 2; i++) {
		v[i].iov_base = malloc(v[i].iov_len);
		if (v[i].iov_len)
			memcpy(v[i].iov_base, whole + i * cut, v[i].iov_len);
	}
	memset(&p, 0xff, sizeof(p));
	if (packet_parse(&f, &p) == PASS)
		check(&p, whole, f.len);
	free(v[0].iov_base);
	free(v[1].iov_base);
	return 0;
}
