/* SPDX-License-Identifier: GPL-2.0-or-later */
/* unit: dhcpv6 dnsname addr util log boot rkap md5 */
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

/* What was kept of the request makes a message that is whole, if it is news */
static void call(struct rkap *client)
{
	REQUIRE(!dhcpv6_call(&lan, client, &out));
	lan.guest6.b[15]++;
	out.body = wr_init(room, sizeof(room));
	if (!dhcpv6_call(&lan, client, &out))
		return;
	REQUIRE(out.body.len <= 1280 - IP6_HEAD - UDP_HEAD);
	REQUIRE(room[0] == 10 && addr_equal(&out.head.t.dst, &packet.t.src));
	walk(rd_init(room + 4, out.body.len - 4), 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct siphash_key secret;
	struct rkap client = { .secret = &secret };
	struct rd in = rd_init(data, size), a;
	uint8_t type;

	if (!scene(&in) || !dhcpv6_answer(&lan, &packet, in, &client, &out))
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
	if (client.on)
		call(&client);
	return 0;
}
