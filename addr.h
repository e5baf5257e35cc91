/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * addr - one 16-byte address for both families: prefixes, classes, text
 *
 * IPv4 is v4-mapped (RFC 4291, 2.5.5.2).  The all-zero address is "::", which
 * in configuration means "none"; IPv4's unspecified address is ::ffff:0.0.0.0.
 * Prefix lengths count within the address's own family: 0-32 or 0-128.
 */
#ifndef ADDR_H
#define ADDR_H

#include <linux/types.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

struct addr {
	union {
		uint8_t b[16];
		__be32 w[4];
		uint64_t q[2];
	};
};

struct mac {
	uint8_t b[6];
};

enum { ADDR_TEXT_LEN = 46, MAC_TEXT_LEN = 18 };

static inline bool addr_equal(const struct addr *a, const struct addr *b)
{
	return a->q[0] == b->q[0] && a->q[1] == b->q[1];
}

static inline bool addr_is_v4(const struct addr *a)
{
	static const uint8_t map[4] = { 0, 0, 0xff, 0xff };

	return !a->q[0] && !memcmp(&a->b[8], map, 4);
}

/* addr_is_none - whether @a is all zero: not configured, or unspecified in
 * IPv6 */
static inline bool addr_is_none(const struct addr *a)
{
	return !a->q[0] && !a->q[1];
}

/* addr_hash - hash to 32 bits, without a key: for tables of what the host's
 * kernel says, not of what strangers choose */
static inline uint32_t addr_hash(const struct addr *a)
{
	uint64_t h = (a->q[0] ^ a->q[1] * 0x9e3779b97f4a7c15ULL);

	h ^= h >> 32;
	h *= 0xd6e8feb86659fd93ULL;
	return (uint32_t)(h >> 32);
}

/* addr_from4, addr_from6 - make an address of 4 or 16 bytes in network order */
static inline struct addr addr_from4(const void *b)
{
	struct addr a = { .b = { [10] = 0xff, [11] = 0xff } };

	memcpy(&a.b[12], b, 4);
	return a;
}

static inline struct addr addr_from6(const void *b)
{
	struct addr a;

	memcpy(a.b, b, 16);
	return a;
}

/* addr_v4 - make an address of four numbers: addr_v4(127, 0, 0, 1) */
static inline struct addr addr_v4(uint8_t a, uint8_t b, uint8_t c, uint8_t d)
{
	const uint8_t v[4] = { a, b, c, d };

	return addr_from4(v);
}

/* addr_any - the unspecified address of a family */
struct addr addr_any(bool v4);
/* addr_loopback - 127.0.0.1 or ::1 */
struct addr addr_loopback(bool v4);

/* Classes; each is that of the address's own family */
bool addr_is_unspecified(const struct addr *a); /* 0.0.0.0 or :: */
bool addr_is_loopback(const struct addr *a);	/* 127/8 or ::1 */
bool addr_is_multicast(const struct addr *a);	/* 224/4 or ff00::/8 */
bool addr_is_link_local(const struct addr *a);	/* 169.254/16 or fe80::/10 */
bool addr_is_broadcast(const struct addr *a);	/* 255.255.255.255 */
/* addr_is_unicast - none of: unspecified, multicast, broadcast */
bool addr_is_unicast(const struct addr *a);

/* addr_in_prefix - whether @a lies in @net/@len; false across families */
bool addr_in_prefix(const struct addr *a, const struct addr *net, unsigned len);
/* addr_mask - @a with all bits after the first @len cleared */
struct addr addr_mask(const struct addr *a, unsigned len);
/* addr_class_prefix - the classful prefix length: A 8, B 16, C 24, else 32 */
unsigned addr_class_prefix(const struct addr *a);

/* addr_parse - parse the textual form of either family, as inet_pton() does,
 * without brackets; false if @s is none, and *@a is unchanged */
bool addr_parse(const char *s, struct addr *a);
/* addr_text - write the textual form to @buf and return that */
const char *addr_text(const struct addr *a, char buf[ADDR_TEXT_LEN]);

/* mac_parse - parse exactly aa:bb:cc:dd:ee:ff; false if @s is not that */
bool mac_parse(const char *s, struct mac *m);
const char *mac_text(const struct mac *m, char buf[MAC_TEXT_LEN]);
static inline bool mac_equal(const struct mac *a, const struct mac *b)
{
	return !memcmp(a->b, b->b, sizeof(a->b));
}

/* mac_is_unicast - whether a single station may have @m: it is neither a
 * group's nor all zero */
static inline bool mac_is_unicast(const struct mac *m)
{
	static const struct mac zero;

	return !(m->b[0] & 1) && !mac_equal(m, &zero);
}

#endif /* ADDR_H */
