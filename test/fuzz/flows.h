/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A table of flows, all of which are TCP's, without a guest
 */
#ifndef TEST_FUZZ_FLOWS_H
#define TEST_FUZZ_FLOWS_H

#include "tcp_freeze.h"

#include <stdlib.h>

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

static void start_flows(void)
{
	REQUIRE(!loop_init(&loop) && !flows_init(&flows, &loop) &&
		!chunks_init(&chunks) && !ahead_init(&ahead, &chunks));
	tap.caps.frame_max = 1514;
	fwd.lan = &lan;
	tcp = (struct tcp){ .flows = &flows, .tap = &tap, .fwd = &fwd,
			    .chunks = &chunks, .ahead = ahead, .rto_max_ms = 120000 };
	flows_type(&flows, FLOW_TCP, &type, &tcp);
}

#endif /* TEST_FUZZ_FLOWS_H */
