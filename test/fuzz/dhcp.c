/* SPDX-License-Identifier: GPL-2.0-or-later */
/* unit: dhcp dnsname addr util log boot rkap md5 */
#include "dhcp.h"
#include "answer.h"

/* What was kept of the request makes a message that is whole, if it is news */
static void call(struct rkap *client)
{
	struct rd a;

	REQUIRE(!dhcp_call(&lan, client, &out));
	lan.guest4 = addr_v4(192, 0, 2, 16);
	out.body = wr_init(room, sizeof(room));
	REQUIRE(dhcp_call(&lan, client, &out));
	REQUIRE(out.body.len >= 300 && room[240] == 53 && room[242] == 9);
	a = rd_init(room + 240, out.body.len - 240);
	for (;;) {
		uint8_t code = rd_u8(&a);

		if (code == 255)
			break;
		rd_skip(&a, rd_u8(&a));
		REQUIRE(rd_ok(&a));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct siphash_key secret;
	struct rkap client = { .secret = &secret };
	struct rd in = rd_init(data, size), a;
	bool seen[256] = { false };
	uint8_t type = 0;

	if (!scene(&in) || !dhcp_answer(&lan, &packet, in, &client, &out))
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
	/* RFC 6842: only who sent one gets one back.  From sname on there may be one. */
	REQUIRE(!seen[61] || memchr(data + 46, 61, size - 46));
	REQUIRE(type == 2 || type == 5 || type == 6);
	REQUIRE(seen[51] || type == 6 || !ld_be32(room + 16));
	/* a refusal assigns nothing */
	REQUIRE(type != 6 || !seen[1]);
	REQUIRE(type != 6 || !ld_be32(room + 16));
	while (rd_left(&a))
		REQUIRE(!rd_u8(&a));
	REQUIRE(seen[90] == client.on);
	if (client.on)
		call(&client);
	return 0;
}
