/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What the fuzzers of the answerers share.  The first two bytes of an input
 * choose configuration and packet, the rest is the request.  An answer must
 * not only be made without a fault, it must be one that a guest can parse.
 */
#ifndef TEST_FUZZ_ANSWER_H
#define TEST_FUZZ_ANSWER_H

#include "lan.h"
#include "log.h"
#include "packet.h"

#include <netinet/in.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* First byte */
enum {
	WITH_NAMES = 1,   /* resolvers, host name and search list */
	WITH_LONGEST = 2, /* those, as long as can be */
	NO_GUEST = 4,     /* no address to assign */
	PREFIX_0 = 8,
	NO_MTU = 16,
	FAR_GATEWAY = 32, /* outside of the subnet */
	WITH_BOOT = 64,   /* files and URLs, one as long as can be */
	SHORT_FRAMES = 128,
};

/* Second byte */
enum {
	HOPPED = 1,       /* hop limit below 255 */
	FROM_NOWHERE = 2, /* unspecified source */
	TO_US = 4,        /* unicast destination */
};

static struct lan lan;
static struct packet packet;
static struct answer out;
static uint8_t room[ANSWER_MAX];

#define REQUIRE(x)                                                             \
	do {                                                                   \
		if (!(x))                                                      \
			abort();                                               \
	} while (0)

static inline void names(bool longest)
{
	unsigned i;

	lan.dns4_n = lan.dns6_n = LAN_DNS;
	lan.search_n = longest ? LAN_SEARCH : 2;
	strcpy(lan.search[0], "example.org");
	strcpy(lan.search[1], "lab.example.org.");
	strcpy(lan.hostname, "box");
	strcpy(lan.fqdn, "box.example.org");
	if (!longest)
		return;
	for (i = 0; i < LAN_SEARCH; i++) {
		char *s = lan.search[i];

		memset(s, 'a' + (int)i, 253);
		s[63] = s[127] = s[191] = '.';
		s[253] = 0;
	}
	memcpy(lan.hostname, lan.search[0], LAN_NAME);
	memcpy(lan.fqdn, lan.search[1], LAN_NAME);
}

static inline void boot_entry(uint16_t arch, struct addr server,
			      const char *file)
{
	struct lan_boot *b = &lan.boot[lan.boot_n++];

	*b = (struct lan_boot){ .arch = { arch, 0xffff, 0xffff },
				.any = arch == 0xffff,
				.server = server };
	strcpy(b->file, file);
}

static inline void boots(void)
{
	const uint8_t six[16] = { 0x20, 1, 0xd, 0xb8, [15] = 9 };
	const struct addr none = { 0 }, v4 = addr_v4(203, 0, 113, 9),
			  v6 = addr_from6(six);
	char longest[sizeof(lan.boot[0].file)];

	memset(longest, 'f', sizeof(longest) - 1);
	longest[sizeof(longest) - 1] = 0;
	boot_entry(LAN_BOOT_IPXE, none, "http://192.0.2.9/menu.ipxe");
	boot_entry(0, v4, "bios/pxelinux.0");
	boot_entry(6, v6, "efi32/grub.efi");
	boot_entry(7, none, longest);
	boot_entry(16, none, "http://[2001:db8::9]/shim.efi");
	boot_entry(0xffff, none, "default");
}

/* Set the scene from the first two bytes; false if there are fewer */
static inline bool scene(struct rd *in)
{
	const uint8_t ll[16] = { 0xfe, 0x80, [15] = 1 };
	const uint8_t peer[16] = { 0xfe, 0x80, [15] = 2 };
	const uint8_t group[16] = { 0xff, 2, [13] = 1, [15] = 2 };
	static const size_t short_frames = 1514;
	const uint8_t guest[16] = { 0x20, 1, 0xd, 0xb8, [15] = 0x15 };
	uint8_t c = rd_u8(in), p = rd_u8(in);

	log_level(LOG_ERROR);
	lan = (struct lan){ .v4 = true, .v6 = true, .ra = true };
	lan.mac = (struct mac){ { 0x9a, 0x55, 0x9a, 0x55, 0x9a, 0x55 } };
	lan.mtu = c & NO_MTU ? 0 : MTU_DEFAULT;
	lan.frame_max = c & SHORT_FRAMES ? &short_frames : NULL;
	lan.prefix4 = c & PREFIX_0 ? 0 : 24;
	lan.our4 = addr_v4(192, 0, 2, 2);
	lan.gw4 = addr_v4(192, 0, c & FAR_GATEWAY ? 3 : 2, 1);
	lan.gw6 = lan.our_ll6 = addr_from6(ll);
	if (!(c & NO_GUEST)) {
		lan.guest4 = addr_v4(192, 0, 2, 15);
		lan.guest6 = addr_from6(guest);
	}
	if (c & (WITH_NAMES | WITH_LONGEST))
		names(c & WITH_LONGEST);
	if (c & WITH_BOOT)
		boots();

	packet = (struct packet){ .ttl = p & HOPPED ? 64 : 255 };
	if (!(p & FROM_NOWHERE))
		packet.t.src = addr_from6(peer);
	packet.t.dst = addr_from6(p & TO_US ? ll : group);
	out.body = wr_init(room, sizeof(room));
	return rd_ok(in);
}

#endif /* TEST_FUZZ_ANSWER_H */
