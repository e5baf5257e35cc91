/* SPDX-License-Identifier: GPL-2.0-or-later */
/* unit: dhcp dnsname addr util log boot */
#include "dhcp.h"
#include "answer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct rd in = rd_init(data, size), a;
	bool seen[256] = { false };
	uint8_t type = 0;

	if (!scene(&in) || !dhcp_answer(&lan, &packet, in, &out))
		return 0;
	REQUIRE(!addr_is_none(&lan.guest4) && data[2] == 1);
	REQUIRE(addr_equal(&out.head.t.src, &lan.our4));
	REQUIRE(out.head.t.sport == 67 && out.head.t.dport == 68);
	REQUIRE(out.body.len >= 300 && out.body.len <= 548);

	/* A server and a file's name, ended, if there is anything to boot */
	REQUIRE(lan.boot_n || (!ld_be32(room + 20) && !room[108]));
	REQUIRE(memchr(room + 108, 0, 128));

	a = rd_init(room, out.body.len);
	REQUIRE(rd_u8(&a) == 2);
	rd_skip(&a, 239);
	for (;;) {
		uint8_t code = rd_u8(&a);
		struct rd v;

		if (code == 255)
			break;
		v = rd_sub(&a, rd_u8(&a));
		REQUIRE(code && rd_ok(&v) && !seen[code]);
		seen[code] = true;
		if (code == 53)
			type = rd_u8(&v);
	}
	REQUIRE(rd_ok(&a) && seen[54]);
	/* RFC 6842: only who sent one gets one back */
	REQUIRE(!seen[61] || memchr(data + 242, 61, size - 242));
	REQUIRE(type == 2 || type == 5 || type == 6);
	REQUIRE(seen[51] || type == 6 || !ld_be32(room + 16));
	/* a refusal assigns nothing */
	REQUIRE(type != 6 || !seen[1]);
	REQUIRE(type != 6 || !ld_be32(room + 16));
	while (rd_left(&a))
		REQUIRE(!rd_u8(&a));
	return 0;
}
