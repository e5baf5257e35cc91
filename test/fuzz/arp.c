/* SPDX-License-Identifier: GPL-2.0-or-later */
/* unit: arp neigh addr util log */
#include "arp.h"
#include "answer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct neigh neigh;
	struct rd in = rd_init(data, size), a;
	struct addr spa;

	if (!scene(&in) || !arp_answer(&lan, &neigh, &packet, in, &out))
		return 0;
	REQUIRE(out.arp && out.body.len == ARP_BODY);
	a = rd_init(room, ARP_BODY);
	REQUIRE(rd_be32(&a) == 0x00010800 && rd_be32(&a) == 0x06040002);
	REQUIRE(!memcmp(rd_view(&a, 6), lan.mac.b, 6));
	spa = addr_from4(rd_view(&a, 4));
	REQUIRE(!addr_equal(&spa, &lan.guest4));
	/* what was asked for, and who asked */
	REQUIRE(!memcmp(&spa.b[12], data + 2 + 24, 4));
	REQUIRE(!memcmp(rd_view(&a, 10), data + 2 + 8, 10));
	return 0;
}
