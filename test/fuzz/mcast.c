/* SPDX-License-Identifier: GPL-2.0-or-later */
/* unit: mcast packet addr iov checksum util log */
/* The input is messages, each with a byte of length in front and one that says
 * which family it is of and how much time passes.  Sums are made right. */
#include "mcast.h"
#include "checksum.h"
#include "log.h"

#include <netinet/in.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define REQUIRE(x)                                                             \
	do {                                                                   \
		if (!(x))                                                      \
			abort();                                               \
	} while (0)

static struct mcast m;
static struct lan lan;

static void check(uint64_t now)
{
	const struct mcast_group *g = m.group;
	unsigned i, k;

	for (i = 0; i < 2 * MCAST_GROUPS; i++) {
		REQUIRE(g[i].n <= MCAST_SOURCES);
		if (addr_is_none(&g[i].addr))
			continue;
		REQUIRE(addr_is_multicast(&g[i].addr));
		REQUIRE(addr_is_v4(&g[i].addr) == (i < MCAST_GROUPS));
		REQUIRE(g[i].exclude ? g[i].until_ms > now : g[i].n > 0);
		REQUIRE(!g[i].ask_ms || g[i].ask_ms > now);
		for (k = 0; k < g[i].n; k++) {
			const struct mcast_source *s = &g[i].source[k];

			REQUIRE(addr_is_unicast(&s->addr));
			REQUIRE(s->until_ms ? s->until_ms > now : g[i].exclude);
		}
	}
	REQUIRE(mcast_due(&m) > now);
}

static void ask(uint64_t now)
{
	uint8_t room[ANSWER_MAX], head[HEAD_MAX];
	unsigned n = 0;

	for (;;) {
		struct answer out = { .body = wr_init(room, sizeof(room)) };

		if (!mcast_next(&m, now, &out))
			break;
		REQUIRE(wr_ok(&out.body) && out.alert && out.head.ttl == 1);
		REQUIRE(packet_answer_head(head, &out) <= sizeof(head));
		REQUIRE(++n <= 4 * MCAST_GROUPS + 2);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct rd r = rd_init(data, size);
	const bool on[2] = { true, true };
	uint64_t now = 1000;

	log_level(LOG_ERROR);
	lan.our4 = addr_v4(192, 0, 2, 1);
	lan.our_ll6 = (struct addr){ { .b = { 0xfe, 0x80, [15] = 1 } } };
	memset(&m, 0, sizeof(m));
	mcast_init(&m, &lan);
	mcast_start(&m, on, now);
	while (rd_left(&r) > 2) {
		size_t most = rd_u8(&r), len = MIN(most, rd_left(&r) - 1);
		uint8_t how = rd_u8(&r), *copy = malloc(len ? len : 1);
		bool v4 = how & 1;
		struct packet p = { .kind = v4 ? PACKET_IGMP : PACKET_ICMP6,
				    .ttl = 1, .payload_len = (uint32_t)len };
		uint64_t sum = 0;
		uint16_t s;

		if (len)
			memcpy(copy, rd_view(&r, len), len);
		p.t.src = v4 ? addr_v4(192, 0, 2, 15) : lan.our_ll6;
		p.t.dst = v4 ? addr_v4(224, 0, 0, 22) : lan.our_ll6;
		p.icmp_type = len ? copy[0] : 0;
		if (len >= 4) {
			memset(copy + 2, 0, 2);
			if (!v4)
				sum = csum_pseudo(&p.t.src, &p.t.dst,
						  IPPROTO_ICMPV6,
						  (uint32_t)len);
			s = csum_finish(csum_add(sum, copy, len));
			memcpy(copy + 2, &s, 2);
		}
		now += (how >> 1) * UINT64_C(500);
		ask(now);
		(void)mcast_input(&m, &p, rd_init(copy, len), now);
		ask(now);
		check(now);
		free(copy);
	}
	return 0;
}
