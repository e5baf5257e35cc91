/* SPDX-License-Identifier: GPL-2.0-or-later */
/* unit: state flow tcp_freeze tcp_conn chunk ahead loop timer iov addr util log sock rules egress fwd neigh lan addrset packet checksum segment */
#include "freeze.h"
#include "tcp_freeze.h"

#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum { PIF = 12 }; /* of side 0 */

#define REQUIRE(x) ((x) ? (void)0 : abort())

static struct loop loop;
static struct flows flows;
static struct chunks chunks;
static struct aheads ahead;
static struct tcp tcp;
static struct tap tap;
static struct fwd fwd;
static struct lan lan = { .mtu = 1500 };

static const struct flow_type type = {
	.freeze = tcp_freeze, .thaw = tcp_thaw, .forget = tcp_forget,
};

/* Nothing is refused here */
bool icmp_refuse(struct icmp_limit *l, struct tap *t, const struct fwd *f,
		 const struct side *guest, uint8_t proto, uint32_t seq, int err,
		 struct sock_error *e)
{
	(void)l;
	(void)t;
	(void)f;
	(void)guest;
	(void)proto;
	(void)seq;
	(void)err;
	(void)e;
	abort();
}

static void start(void)
{
	REQUIRE(!loop_init(&loop) && !flows_init(&flows, &loop) &&
		!chunks_init(&chunks) && !ahead_init(&ahead, &chunks));
	tap.caps.frame_max = 1514;
	fwd.lan = &lan;
	tcp = (struct tcp){ .flows = &flows, .tap = &tap, .fwd = &fwd,
			    .chunks = &chunks, .ahead = ahead, .rto_max_ms = 120000 };
	flows_type(&flows, FLOW_TCP, &type, &tcp);
}

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
		start();
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
