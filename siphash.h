/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * siphash - SipHash-2-4 (Aumasson and Bernstein, 2012) over 64-bit words
 *
 * Words are hashed in host byte order: the result never leaves the process.
 */
#ifndef SIPHASH_H
#define SIPHASH_H

#include <stddef.h>
#include <stdint.h>

struct siphash_key {
	uint64_t k[2];
};

static inline uint64_t siphash_rotl(uint64_t x, int b)
{
	return (x << b) | (x >> (64 - b));
}

static inline void siphash_round(uint64_t v[4])
{
	v[0] += v[1];
	v[1] = siphash_rotl(v[1], 13) ^ v[0];
	v[0] = siphash_rotl(v[0], 32);
	v[2] += v[3];
	v[3] = siphash_rotl(v[3], 16) ^ v[2];
	v[0] += v[3];
	v[3] = siphash_rotl(v[3], 21) ^ v[0];
	v[2] += v[1];
	v[1] = siphash_rotl(v[1], 17) ^ v[2];
	v[2] = siphash_rotl(v[2], 32);
}

/* siphash_words - keyed hash of @n words */
static inline uint64_t siphash_words(const struct siphash_key *key,
				     const uint64_t *w, size_t n)
{
	uint64_t v[4] = { key->k[0] ^ 0x736f6d6570736575ULL,
			  key->k[1] ^ 0x646f72616e646f6dULL,
			  key->k[0] ^ 0x6c7967656e657261ULL,
			  key->k[1] ^ 0x7465646279746573ULL };
	uint64_t last = (uint64_t)(n * 8) << 56;
	size_t i;

	for (i = 0; i <= n; i++) {
		uint64_t m = i < n ? w[i] : last;

		v[3] ^= m;
		siphash_round(v);
		siphash_round(v);
		v[0] ^= m;
	}
	v[2] ^= 0xff;
	for (i = 0; i < 4; i++)
		siphash_round(v);
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}

#endif /* SIPHASH_H */
