/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * md5 - MD5 (RFC 1321) and HMAC-MD5 (RFC 2104), which the protocols of DHCP prescribe
 */
#include "md5.h"
#include "util.h"

enum { BLOCK = 64, LENGTH_AT = 56 };

struct sum {
	uint32_t word[4];
	uint64_t len;
	uint8_t block[BLOCK]; /* the first len % BLOCK bytes count */
};

/* 2^32 times the absolute value of the sine of 1, 2, ... radians */
static const uint32_t sine[64] = {
	0xd76aa478, 0xe8c7b756, 0x242070db, 0xc1bdceee, 0xf57c0faf, 0x4787c62a,
	0xa8304613, 0xfd469501, 0x698098d8, 0x8b44f7af, 0xffff5bb1, 0x895cd7be,
	0x6b901122, 0xfd987193, 0xa679438e, 0x49b40821, 0xf61e2562, 0xc040b340,
	0x265e5a51, 0xe9b6c7aa, 0xd62f105d, 0x02441453, 0xd8a1e681, 0xe7d3fbc8,
	0x21e1cde6, 0xc33707d6, 0xf4d50d87, 0x455a14ed, 0xa9e3e905, 0xfcefa3f8,
	0x676f02d9, 0x8d2a4c8a, 0xfffa3942, 0x8771f681, 0x6d9d6122, 0xfde5380c,
	0xa4beea44, 0x4bdecfa9, 0xf6bb4b60, 0xbebfbc70, 0x289b7ec6, 0xeaa127fa,
	0xd4ef3085, 0x04881d05, 0xd9d4d039, 0xe6db99e5, 0x1fa27cf8, 0xc4ac5665,
	0xf4292244, 0x432aff97, 0xab9423a7, 0xfc93a039, 0x655b59c3, 0x8f0ccc92,
	0xffeff47d, 0x85845dd1, 0x6fa87e4f, 0xfe2ce6e0, 0xa3014314, 0x4e0811a1,
	0xf7537e82, 0xbd3af235, 0x2ad7d2bb, 0xeb86d391,
};

static uint32_t get_le32(const uint8_t *p)
{
	return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 |
	       (uint32_t)p[3] << 24;
}

static void put_le32(uint8_t *p, uint32_t v)
{
	unsigned i;

	for (i = 0; i < 4; i++)
		p[i] = (uint8_t)(v >> 8 * i);
}

/* mix() is the function of step @i on three words, turn() the word of the block
 * that it adds */
static uint32_t mix(unsigned i, uint32_t b, uint32_t c, uint32_t d)
{
	switch (i / 16) {
	case 0:
		return (b & c) | (~b & d);
	case 1:
		return (b & d) | (c & ~d);
	case 2:
		return b ^ c ^ d;
	default:
		return c ^ (b | ~d);
	}
}

static unsigned turn(unsigned i)
{
	static const unsigned times[4] = { 1, 5, 3, 7 }, plus[4] = { 0, 1, 5, 0 };

	return (times[i / 16] * i + plus[i / 16]) % 16;
}

static void add_block(uint32_t word[4], const uint8_t *p)
{
	static const uint8_t shift[4][4] = { { 7, 12, 17, 22 },
					     { 5, 9, 14, 20 },
					     { 4, 11, 16, 23 },
					     { 6, 10, 15, 21 } };
	uint32_t a = word[0], b = word[1], c = word[2], d = word[3];
	unsigned i;

	for (i = 0; i < 64; i++) {
		uint32_t v = a + mix(i, b, c, d) + get_le32(p + 4 * turn(i)) +
			     sine[i];
		unsigned n = shift[i / 16][i % 4];

		a = d;
		d = c;
		c = b;
		b += v << n | v >> (32 - n);
	}
	word[0] += a;
	word[1] += b;
	word[2] += c;
	word[3] += d;
}

static void begin(struct sum *s)
{
	*s = (struct sum){ .word = { 0x67452301, 0xefcdab89, 0x98badcfe,
				     0x10325476 } };
}

static void add(struct sum *s, const void *p, size_t len)
{
	const uint8_t *from = p;
	size_t i;

	for (i = 0; i < len; i++) {
		s->block[s->len++ % BLOCK] = from[i];
		if (s->len % BLOCK == 0)
			add_block(s->word, s->block);
	}
}

static void end(struct sum *s, uint8_t out[MD5_LEN])
{
	static const uint8_t one = 0x80, zero = 0;
	uint64_t bits = s->len * 8;
	uint8_t tail[8];
	unsigned i;

	add(s, &one, 1);
	while (s->len % BLOCK != LENGTH_AT)
		add(s, &zero, 1);
	put_le32(tail, (uint32_t)bits);
	put_le32(tail + 4, (uint32_t)(bits >> 32));
	add(s, tail, sizeof(tail));
	for (i = 0; i < 4; i++)
		put_le32(out + 4 * i, s->word[i]);
}

void md5(const void *p, size_t len, uint8_t out[MD5_LEN])
{
	struct sum s;

	begin(&s);
	add(&s, p, len);
	end(&s, out);
}

static void pad_key(uint8_t block[BLOCK], const void *key, size_t len)
{
	memset(block, 0, BLOCK);
	if (len > BLOCK)
		md5(key, len, block);
	else
		memcpy(block, key, len);
}

static void add_key(struct sum *s, const uint8_t key[BLOCK], uint8_t with)
{
	uint8_t block[BLOCK];
	unsigned i;

	for (i = 0; i < BLOCK; i++)
		block[i] = key[i] ^ with;
	begin(s);
	add(s, block, BLOCK);
}

void md5_hmac(const void *key, size_t key_len, const void *p, size_t len,
	      uint8_t out[MD5_LEN])
{
	uint8_t padded[BLOCK], inner[MD5_LEN];
	struct sum s;

	pad_key(padded, key, key_len);
	add_key(&s, padded, 0x36);
	add(&s, p, len);
	end(&s, inner);
	add_key(&s, padded, 0x5c);
	add(&s, inner, sizeof(inner));
	end(&s, out);
}
