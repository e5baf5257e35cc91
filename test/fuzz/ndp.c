/* SPDX-License-Identifier: GPL-2.0-or-later */
/* unit: ndp neigh dnsname addr util log */
#include "ndp.h"
#include "answer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct neigh neigh;
	struct rd in = rd_init(data, size), a;
	struct addr claimed;
	uint8_t asked, type;

	if (!scene(&in))
		return 0;
	if (ndp_claims(&lan, &packet, in, &claimed))
		REQUIRE(addr_is_unicast(&claimed) && packet.ttl == 255);
	asked = rd_left(&in) ? *in.p : 0;
	if (!ndp_answer(&lan, &neigh, &packet, in, &out))
		return 0;

	REQUIRE(packet.ttl == 255 && out.head.t.proto == IPPROTO_ICMPV6);
	if (asked == 133)
		REQUIRE(addr_equal(&out.head.t.src, &lan.our_ll6));
	else if (addr_is_unspecified(&packet.t.src)) /* a solicited-node group */
		REQUIRE(packet.t.dst.b[0] == 0xff && packet.t.dst.b[12] == 0xff);
	REQUIRE(addr_is_unicast(&out.head.t.src));
	REQUIRE(!addr_is_unspecified(&out.head.t.dst));
	REQUIRE(out.body.len <= 1280 - IP6_HEAD);

	a = rd_init(room, out.body.len);
	type = rd_u8(&a);
	REQUIRE(!rd_u8(&a) && !rd_be16(&a)); /* code, checksum */
	REQUIRE(asked == 135 ? type == 136 : asked == 133 && type == 134);
	rd_skip(&a, type == 136 ? 20 : 12);
	while (rd_left(&a)) {
		unsigned units;

		rd_skip(&a, 1);
		units = rd_u8(&a);
		REQUIRE(units);
		rd_skip(&a, units * 8 - 2);
	}
	REQUIRE(rd_ok(&a));
	return 0;
}
