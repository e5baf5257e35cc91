/* SPDX-License-Identifier: GPL-2.0-or-later */
/* unit: */
#include "siphash.h"

#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>

/* The authors' test vectors: key 00..0f, input 00, 01, ... of so many words */
static const uint64_t vectors[] = {
	0x726fdb47dd0e0e31, 0x93f5f5799a932462, 0x3f2acc7f57c29bdb,
	0xb8ad50c6f649af94, 0x7127512f72f27cce, 0x0e3ea96b5304a7d0,
	0xe612a3cb9ecba951, 0xb78dbfaf3a8d83bd,
};

static const struct siphash_key key = { { 0x0706050403020100,
					  0x0f0e0d0c0b0a0908 } };

static void official(void **state)
{
	uint64_t w[8];
	unsigned n, i;

	(void)state;
	for (i = 0; i < 8; i++)
		w[i] = 0x0706050403020100 + i * 0x0808080808080808;
	for (n = 0; n < 8; n++)
		assert_int_equal(siphash_words(&key, w, n), vectors[n]);
}

static void depends_on_all(void **state)
{
	uint64_t w[5] = { 0 }, was = siphash_words(&key, w, 5);
	struct siphash_key k;
	unsigned bit;

	(void)state;
	for (bit = 0; bit < 5 * 64; bit++) {
		w[bit / 64] ^= 1ULL << bit % 64;
		assert_int_not_equal(siphash_words(&key, w, 5), was);
		w[bit / 64] ^= 1ULL << bit % 64;
	}
	for (bit = 0; bit < 128; bit++) {
		k = key;
		k.k[bit / 64] ^= 1ULL << bit % 64;
		assert_int_not_equal(siphash_words(&k, w, 5), was);
	}
	assert_int_not_equal(siphash_words(&key, w, 4), was);
}

int main(void)
{
	static const struct CMUnitTest t[] = {
		cmocka_unit_test(official),
		cmocka_unit_test(depends_on_all),
	};

	return cmocka_run_group_tests(t, NULL, NULL);
}
