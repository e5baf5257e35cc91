/* SPDX-License-Identifier: GPL-2.0-or-later */
/* unit: dhcpv6 dnsname addr util log boot */
#include "dhcpv6.h"
#include "answer.h"

/* Codes and lengths add up, to the options inside of an IA */
static void walk(struct rd a, unsigned depth)
{
	while (rd_left(&a)) {
		uint16_t code = rd_be16(&a);
		struct rd v = rd_sub(&a, rd_be16(&a));

		REQUIRE(rd_ok(&v));
		if (code != 3 && code != 4 && code != 25)
			continue;
		REQUIRE(!depth);
		rd_skip(&v, code == 4 ? 4 : 12);
		REQUIRE(rd_ok(&v));
		walk(v, depth + 1);
	}
	REQUIRE(rd_ok(&a));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct rd in = rd_init(data, size), a;
	uint8_t type;

	if (!scene(&in) || !dhcpv6_answer(&lan, &packet, in, &out))
		return 0;
	REQUIRE(addr_is_multicast(&packet.t.dst));
	REQUIRE(addr_equal(&out.head.t.src, &lan.our_ll6));
	REQUIRE(addr_equal(&out.head.t.dst, &packet.t.src));
	REQUIRE(out.head.flow_label < 1 << 20);
	REQUIRE(out.body.len <= 1280 - IP6_HEAD - UDP_HEAD);

	a = rd_init(room, out.body.len);
	type = rd_u8(&a);
	REQUIRE(type == 7 || (type == 2 && data[2] == 1));
	REQUIRE(!memcmp(rd_view(&a, 3), data + 3, 3));
	walk(a, 0);
	return 0;
}
