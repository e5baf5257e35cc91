/* SPDX-License-Identifier: GPL-2.0-or-later */
/* unit: state flow tcp_freeze tcp_conn chunk ahead loop timer iov addr util log sock rules egress fwd dnsanswer neigh lan addrset packet checksum segment */
#include "flows.h"
#include "freeze.h"

#include <sys/socket.h>
#include <unistd.h>

enum { PIF = 12 }; /* of side 0 */

/* What thaws, freezes to something that thaws */
static void connection(struct rd body)
{
	static uint8_t out[1 << 20];
	struct wr w = wr_init(out, sizeof(out));
	int s = socket(AF_INET, SOCK_STREAM, 0), fd[2] = { -1, -1 };
	struct flow *f;
	uint32_t tag;
	struct rd r;

	fd[rd_left(&body) > PIF && body.p[PIF] != PIF_HOST] = s;
	f = thaw_flow(&flows, &body, fd);
	if (f) {
		REQUIRE(freeze_flow(&flows, f, &w));
		freeze_forget(&flows, f);
		r = rd_init(out, w.len);
		REQUIRE(state_next(&r, &tag, &body) && !rd_left(&r));
		f = thaw_flow(&flows, &body, fd);
		REQUIRE(f);
		freeze_forget(&flows, f);
	}
	close(s);
	REQUIRE(!flows.count && !chunks.used && !tcp.acks);
	REQUIRE(!tcp.count.shut[0].n && !tcp.count.shut[1].n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct rd r = rd_init(data, size), body;
	uint32_t tag;

	if (!loop.epfd)
		start_flows();
	if (state_check(&r))
		return 0;
	while (state_next(&r, &tag, &body)) {
		if (tag == STATE_FLOW)
			connection(body);
		if (tag == STATE_TCP)
			tcp_load(&tcp, &body);
	}
	return 0;
}
