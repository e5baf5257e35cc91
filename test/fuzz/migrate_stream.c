/* SPDX-License-Identifier: GPL-2.0-or-later */
/* unit: addr log util */
/* What was read is written as the same bytes, but for what nobody reads */
#include "migrate_stream.h"

#include <stdlib.h>

#define REQUIRE(x) ((x) ? (void)0 : abort())

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint8_t once[STREAM_FLOW + STREAM_SOCK], twice[sizeof(once)];
	struct rd r = rd_init(data, size);
	struct tcp_image i, j;
	struct seen seen;
	struct wr w;

	if (stream_get_head(&r))
		return 0;
	stream_get_seen(&r, &seen);
	while (rd_left(&r)) {
		stream_get_flow(&r, &i);
		if (!stream_get_sock(&r, &i.sock))
			break;
		w = wr_init(once, sizeof(once));
		stream_put_flow(&w, &i);
		stream_put_sock(&w, &i.sock);
		REQUIRE(wr_ok(&w) && w.len == sizeof(once));
		r = rd_init(once, sizeof(once));
		stream_get_flow(&r, &j);
		REQUIRE(stream_get_sock(&r, &j.sock));
		w = wr_init(twice, sizeof(twice));
		stream_put_flow(&w, &j);
		stream_put_sock(&w, &j.sock);
		REQUIRE(!memcmp(once, twice, sizeof(once)));
		break;
	}
	return 0;
}
