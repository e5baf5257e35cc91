/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * addr - classes, prefixes and text of 16-byte addresses
 *
 * IPv4 is the prefix ::ffff:0:0/96, so an IPv4 prefix length plus 96 is one of
 * IPv6, and one loop serves both.  Only address classes and text know two
 * families.
 */
#include "addr.h"

#include <arpa/inet.h>
#include <stdio.h>

enum { V4_BITS = 96 }; /* where an IPv4 address begins in the 16 bytes */

struct addr addr_any(bool v4)
{
	return v4 ? addr_v4(0, 0, 0, 0) : (struct addr){ 0 };
}

struct addr addr_loopback(bool v4)
{
	struct addr six = { .b = { [15] = 1 } };

	return v4 ? addr_v4(127, 0, 0, 1) : six;
}

bool addr_is_unspecified(const struct addr *a)
{
	return addr_is_none(a) || (addr_is_v4(a) && !a->w[3]);
}

bool addr_is_loopback(const struct addr *a)
{
	struct addr six = addr_loopback(false);

	return addr_is_v4(a) ? a->b[12] == 127 : addr_equal(a, &six);
}

bool addr_is_multicast(const struct addr *a)
{
	return addr_is_v4(a) ? a->b[12] >> 4 == 14 : a->b[0] == 0xff;
}

bool addr_is_link_local(const struct addr *a)
{
	if (addr_is_v4(a))
		return a->b[12] == 169 && a->b[13] == 254;
	return a->b[0] == 0xfe && a->b[1] >> 6 == 2;
}

bool addr_is_broadcast(const struct addr *a)
{
	return addr_is_v4(a) && a->w[3] == (__be32)0xffffffff;
}

bool addr_is_unicast(const struct addr *a)
{
	return !addr_is_unspecified(a) && !addr_is_multicast(a) &&
	       !addr_is_broadcast(a);
}

static struct addr mask_bits(const struct addr *a, unsigned bits)
{
	struct addr m = *a;
	unsigned i = bits / 8;

	if (bits >= 128)
		return m;
	m.b[i] &= (uint8_t)(0xff00 >> bits % 8);
	memset(&m.b[i + 1], 0, sizeof(m.b) - i - 1);
	return m;
}

struct addr addr_mask(const struct addr *a, unsigned len)
{
	return mask_bits(a, addr_is_v4(a) ? V4_BITS + len : len);
}

bool addr_in_prefix(const struct addr *a, const struct addr *net, unsigned len)
{
	struct addr x, y;

	if (addr_is_v4(a) != addr_is_v4(net))
		return false;
	x = addr_mask(a, len);
	y = addr_mask(net, len);
	return addr_equal(&x, &y);
}

unsigned addr_class_prefix(const struct addr *a)
{
	unsigned first = a->b[12];

	if (first < 128)
		return 8;
	if (first < 192)
		return 16;
	return first < 224 ? 24 : 32;
}

bool addr_parse(const char *s, struct addr *a)
{
	struct addr out;
	uint8_t four[4];

	if (inet_pton(AF_INET, s, four) == 1)
		out = addr_from4(four);
	else if (inet_pton(AF_INET6, s, out.b) != 1)
		return false;
	*a = out;
	return true;
}

const char *addr_text(const struct addr *a, char buf[ADDR_TEXT_LEN])
{
	if (addr_is_v4(a))
		inet_ntop(AF_INET, &a->b[12], buf, ADDR_TEXT_LEN);
	else
		inet_ntop(AF_INET6, a->b, buf, ADDR_TEXT_LEN);
	return buf;
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

bool mac_parse(const char *s, struct mac *m)
{
	struct mac out;
	unsigned i;

	if (strlen(s) != MAC_TEXT_LEN - 1)
		return false;
	for (i = 0; i < 6; i++, s += 3) {
		int hi = hex_digit(s[0]), lo = hex_digit(s[1]);

		if (hi < 0 || lo < 0 || s[2] != (i < 5 ? ':' : '\0'))
			return false;
		out.b[i] = (uint8_t)(hi << 4 | lo);
	}
	*m = out;
	return true;
}

const char *mac_text(const struct mac *m, char buf[MAC_TEXT_LEN])
{
	snprintf(buf, MAC_TEXT_LEN, "%02x:%02x:%02x:%02x:%02x:%02x", m->b[0],
		 m->b[1], m->b[2], m->b[3], m->b[4], m->b[5]);
	return buf;
}
