/* SPDX-License-Identifier: GPL-2.0-or-later */
/* unit: frag packet addr iov checksum */
/* The input is frames, each with its length in front: two bytes, of which the
 * first bits say that time passes, or that what was given is given back. */
#include "frag.h"

#include <assert.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct frags t;

static void check(struct frame *whole)
{
	static struct packet q;

	assert(whole->len <= ETH_HEAD + IP6_HEAD + 65535);
	assert(whole->iov_cnt == 1 && whole->iov->iov_len == whole->len);
	if (packet_parse(whole, &q) == PASS)
		(void)packet_sum_ok(&q);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct packet p;
	struct rd r = rd_init(data, size);
	uint64_t now = 0;
	unsigned n;

	frag_init(&t);
	for (n = 0; rd_left(&r) > 2; n++) {
		uint16_t word = rd_be16(&r);
		size_t len = MIN((size_t)word & 0x3fff, rd_left(&r));
		struct frame f = { .iov = &f.one, .iov_cnt = 1, .len = len };
		struct frame *whole = NULL;
		uint8_t *copy = malloc(len);

		if (len)
			memcpy(copy, rd_view(&r, len), len);
		f.one = (struct iovec){ copy, len };
		now += word & 0x8000 ? 10000 : 1;
		if (word & 0x4000 || n % FRAG_MAX == FRAG_MAX - 1)
			frag_release(&t);
		if (packet_parse(&f, &p) == DROP_FRAGMENT &&
		    frag_add(&t, &p, now, &whole) == PASS && whole)
			check(whole);
		free(copy);
	}
	return 0;
}
