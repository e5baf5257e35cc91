/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * checksum - Internet checksums over bytes and iovecs
 *
 * All implementations do the same: add the 32-bit words of the buffer to 64-bit
 * lanes, which cannot overflow before 16 GiB, and fold the lanes once at the
 * end (2^16 is 1 modulo 2^16 - 1, so 32-bit words are as good as 16-bit ones).
 * They differ in how many lanes they have.  Vector code takes multiples of its
 * own size and leaves the tail to the portable loop.  One build serves all
 * CPUs: csum_init() asks the CPU and picks the best implementation.
 */
#include "checksum.h"

#if defined(__x86_64__) || defined(__i386__)
#include <immintrin.h>
#define CSUM_X86 1
#elif defined(__ARM_NEON)
#include <arm_neon.h>
#define CSUM_NEON 1
#endif

/* Shorter pieces are not worth a call through a pointer */
enum { SHORT = 64 };

/* Fold a lane to about 32 bits, so that many can be added without overflow */
static inline uint64_t squeeze(uint64_t lane)
{
	return (lane & 0xffffffff) + (lane >> 32);
}

static uint64_t portable(uint64_t sum, const void *buf, size_t len)
{
	const uint8_t *p = buf;
	uint64_t a = 0, b = 0, w[2];

	for (; len >= sizeof(w); p += sizeof(w), len -= sizeof(w)) {
		memcpy(w, p, sizeof(w));
		a += squeeze(w[0]);
		b += squeeze(w[1]);
	}
	if (len) {
		memset(w, 0, sizeof(w));
		memcpy(w, p, len);
		a += squeeze(w[0]);
		b += squeeze(w[1]);
	}
	return sum + squeeze(a) + squeeze(b);
}

#ifdef CSUM_X86
__attribute__((target("sse2"))) static uint64_t
sse2(uint64_t sum, const void *buf, size_t len)
{
	const __m128i low = _mm_set1_epi64x(0xffffffff);
	__m128i a = _mm_setzero_si128(), b = a, c = a, d = a, v, w;
	const uint8_t *p = buf;
	uint64_t lane[2];

	for (; len >= 32; p += 32, len -= 32) {
		v = _mm_loadu_si128((const void *)p);
		w = _mm_loadu_si128((const void *)(p + 16));
		a = _mm_add_epi64(a, _mm_and_si128(v, low));
		b = _mm_add_epi64(b, _mm_srli_epi64(v, 32));
		c = _mm_add_epi64(c, _mm_and_si128(w, low));
		d = _mm_add_epi64(d, _mm_srli_epi64(w, 32));
	}
	a = _mm_add_epi64(_mm_add_epi64(a, b), _mm_add_epi64(c, d));
	_mm_storeu_si128((void *)lane, a);
	return portable(sum + squeeze(lane[0]) + squeeze(lane[1]), p, len);
}

__attribute__((target("avx2"))) static uint64_t
avx2(uint64_t sum, const void *buf, size_t len)
{
	const __m256i low = _mm256_set1_epi64x(0xffffffff);
	__m256i a = _mm256_setzero_si256(), b = a, c = a, d = a, v, w;
	const uint8_t *p = buf;
	uint64_t lane[4];

	for (; len >= 64; p += 64, len -= 64) {
		v = _mm256_loadu_si256((const void *)p);
		w = _mm256_loadu_si256((const void *)(p + 32));
		a = _mm256_add_epi64(a, _mm256_and_si256(v, low));
		b = _mm256_add_epi64(b, _mm256_srli_epi64(v, 32));
		c = _mm256_add_epi64(c, _mm256_and_si256(w, low));
		d = _mm256_add_epi64(d, _mm256_srli_epi64(w, 32));
	}
	a = _mm256_add_epi64(_mm256_add_epi64(a, b), _mm256_add_epi64(c, d));
	_mm256_storeu_si256((void *)lane, a);
	sum += squeeze(lane[0]) + squeeze(lane[1]);
	sum += squeeze(lane[2]) + squeeze(lane[3]);
	return portable(sum, p, len);
}

static bool has_sse2(void)
{
	return __builtin_cpu_supports("sse2");
}

static bool has_avx2(void)
{
	return __builtin_cpu_supports("avx2");
}
#endif

#ifdef CSUM_NEON
static uint64_t neon(uint64_t sum, const void *buf, size_t len)
{
	uint64x2_t a = vdupq_n_u64(0), b = a;
	const uint8_t *p = buf;
	uint64_t lane[2];

	for (; len >= 32; p += 32, len -= 32) {
		a = vpadalq_u32(a, vreinterpretq_u32_u8(vld1q_u8(p)));
		b = vpadalq_u32(b, vreinterpretq_u32_u8(vld1q_u8(p + 16)));
	}
	vst1q_u64(lane, vaddq_u64(a, b));
	return portable(sum + squeeze(lane[0]) + squeeze(lane[1]), p, len);
}
#endif

static bool always(void)
{
	return true;
}

static const struct impl {
	const char *name;
	csum_fn *fn;
	bool (*have)(void);
} impls[] = {
/* best first */
#ifdef CSUM_X86
	{ "avx2", avx2, has_avx2 },
	{ "sse2", sse2, has_sse2 },
#endif
#ifdef CSUM_NEON
	{ "neon", neon, always },
#endif
	{ "portable", portable, always },
};

static const struct impl *chosen = &impls[ARRAY_SIZE(impls) - 1];

void csum_init(void)
{
	unsigned i;

	for (i = 0; !impls[i].have(); i++)
		;
	chosen = &impls[i];
}

const char *csum_name(void)
{
	return chosen->name;
}

csum_fn *csum_impl(const char *name)
{
	unsigned i;

	for (i = 0; i < ARRAY_SIZE(impls); i++) {
		if (!strcmp(impls[i].name, name))
			return impls[i].have() ? impls[i].fn : NULL;
	}
	return NULL;
}

uint64_t csum_add(uint64_t sum, const void *p, size_t len)
{
	return len < SHORT ? portable(sum, p, len) : chosen->fn(sum, p, len);
}

uint64_t csum_iov(uint64_t sum, const struct iovec *iov, unsigned cnt,
		  size_t off, size_t len)
{
	bool odd = false;

	for (; cnt && len; iov++, cnt--) {
		size_t n = iov->iov_len;
		uint64_t part;

		if (off >= n) {
			off -= n;
			continue;
		}
		n = MIN(n - off, len);
		part = csum_add(0, (const uint8_t *)iov->iov_base + off, n);
		/* At an odd offset the sum of a piece has its bytes swapped
		 * (RFC 1071, 2(B)) */
		sum += odd ? __builtin_bswap16(csum_fold(part)) : part;
		odd ^= n & 1;
		len -= n;
		off = 0;
	}
	return sum;
}

/* All 16 bytes of an address are summed for both families: the ff:ff of a
 * v4-mapped address is a zero in one's complement arithmetic.  So is the upper
 * half of the length, which has 32 bits in IPv6 and 16 in IPv4. */
uint64_t csum_pseudo(const struct addr *src, const struct addr *dst,
		     uint8_t proto, uint32_t len)
{
	return squeeze(src->q[0]) + squeeze(src->q[1]) + squeeze(dst->q[0]) +
	       squeeze(dst->q[1]) + htobe32(len) + htobe16(proto);
}
