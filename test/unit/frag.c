/* SPDX-License-Identifier: GPL-2.0-or-later */
/* unit: packet addr iov checksum */
/* Fragments in any order, again, overlapping, or not at all, against a twin that
 * keeps a list of what came and looks through all of it. */
#include "frag.h"
#include "iov.h"

#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

static struct frags t;
static uint64_t now;

static int fresh(void **state)
{
	(void)state;
	memset(&t, 0xa5, sizeof(t)); /* nothing but what is initialised counts */
	frag_init(&t);
	now = 1000;
	return 0;
}

/* One fragment as a guest sends it */
struct piece {
	bool v4, more;
	uint32_t id;
	size_t off, len;
	uint8_t proto, tos, host; /* @host: the last byte of its source */
};

static uint8_t frame[70000];
static struct frame f = { .iov = &f.one, .iov_cnt = 1 };
static struct packet p;

static enum verdict parse(const struct piece *x, const uint8_t *data)
{
	size_t l3 = x->v4 ? 20 : 48;

	memset(frame, 0, 14 + l3);
	memcpy(frame, "\2\0\0\0\0\1\2\0\0\0\0\2\x08\0", 14);
	if (x->v4) {
		frame[14] = 0x45;
		frame[15] = x->tos;
		st_be16(frame + 16, (uint16_t)(l3 + x->len));
		st_be16(frame + 18, (uint16_t)x->id);
		st_be16(frame + 20, (uint16_t)(x->off / 8 | (x->more ? 0x2000 : 0)));
		frame[22] = 64;
		frame[23] = x->proto;
		memcpy(frame + 26, "\xc0\0\2\x0f\xc0\0\2\2", 8);
		frame[29] = x->host;
	} else {
		memcpy(frame + 12, "\x86\xdd", 2);
		st_be32(frame + 14, 6U << 28 | (uint32_t)x->tos << 20);
		st_be16(frame + 18, (uint16_t)(8 + x->len));
		frame[20] = IPPROTO_FRAGMENT;
		frame[21] = 64;
		memcpy(frame + 22, "\x20\1\xd\xb8", 4);
		frame[37] = x->host;
		memcpy(frame + 38, "\x20\1\xd\xb8", 4);
		frame[53] = 2;
		frame[54] = x->proto;
		st_be16(frame + 56, (uint16_t)(x->off | x->more));
		st_be32(frame + 58, x->id);
	}
	memcpy(frame + 14 + l3, data, x->len);
	f.len = f.one.iov_len = 14 + l3 + x->len;
	f.one.iov_base = frame;
	return packet_parse(&f, &p);
}

static uint8_t bytes[70000];

static enum verdict add(const struct piece *x, struct frame **whole)
{
	*whole = NULL;
	assert_int_equal(parse(x, bytes + x->off), DROP_FRAGMENT);
	return frag_add(&t, &p, now, whole);
}

static void is_whole(const struct frame *w, const struct piece *x, size_t len)
{
	struct packet q;

	assert_non_null(w);
	assert_int_equal(packet_parse(w, &q), x->proto == IPPROTO_UDP ? PASS
							      : DROP_PROTOCOL);
	assert_int_equal(w->len, (x->v4 ? 34 : 54) + len);
	assert_memory_equal((uint8_t *)w->iov->iov_base + w->len - len, bytes,
			    len);
	assert_int_equal(q.t.proto, x->proto);
	assert_true(addr_is_v4(&q.t.src) == x->v4);
	assert_int_equal(q.ttl, 64);
	assert_int_equal(q.smac.b[5], 2);
}

static void in_order_and_not(void **state)
{
	static const unsigned order[][3] = { { 0, 1, 2 }, { 2, 1, 0 },
					     { 1, 2, 0 }, { 2, 0, 1 } };
	struct piece x[3];
	struct frame *w;
	unsigned i, k, v4;

	(void)state;
	st_be16(bytes + 4, 2405); /* of UDP */
	for (v4 = 0; v4 < 2; v4++)
		for (i = 0; i < ARRAY_SIZE(order); i++) {
			for (k = 0; k < 3; k++)
				x[k] = (struct piece){ v4, k < 2, 7, k * 1000,
						       k < 2 ? 1000 : 405, 17, 0, 0 };
			assert_int_equal(add(&x[order[i][0]], &w), PASS);
			assert_null(w);
			assert_int_equal(add(&x[order[i][1]], &w), PASS);
			assert_null(w);
			assert_int_equal(add(&x[order[i][2]], &w), PASS);
			is_whole(w, x, 2405);
			frag_release(&t);
			assert_int_equal(t.end, 0);
		}
	assert_int_equal(t.lost, 0);
}

/* What would be one datagram and is two */
static void keys_are_kept_apart(void **state)
{
	struct piece a = { true, true, 1, 0, 800, 17, 0, 0 }, b;
	struct frame *w;

	(void)state;
	st_be16(bytes + 4, 800 + 8);
	assert_int_equal(add(&a, &w), PASS);
	b = (struct piece){ true, false, 1, 800, 8, 6, 0, 0 };
	assert_int_equal(add(&b, &w), PASS);
	assert_null(w);
	b = (struct piece){ true, false, 2, 800, 8, 17, 0, 0 };
	assert_int_equal(add(&b, &w), PASS);
	assert_null(w);
	b = (struct piece){ true, false, 1, 800, 8, 17, 0, 9 };
	assert_int_equal(add(&b, &w), PASS);
	assert_null(w);
	b = (struct piece){ false, false, 1, 800, 8, 17, 0, 0 };
	assert_int_equal(add(&b, &w), PASS);
	assert_null(w);
	b = (struct piece){ true, false, 1, 800, 8, 17, 0, 0 };
	assert_int_equal(add(&b, &w), PASS);
	is_whole(w, &a, 808);
	/* Those of IPv6 are one, whatever they say comes next */
	a = (struct piece){ false, true, 1, 0, 800, 17, 0, 0 };
	assert_int_equal(add(&a, &w), PASS);
	is_whole(w, &a, 808);
}

static void overlaps_spoil_it(void **state)
{
	static const struct piece bad[] = {
		{ true, true, 5, 400, 800, 17, 0, 0 },  /* into what is here */
		{ true, true, 5, 0, 2000, 17, 0, 0 },	  /* and around it */
		{ true, false, 5, 8, 792, 17, 0, 0 },	  /* an end in its midst */
		{ true, true, 5, 1600, 800, 17, 0, 0 }, /* behind the end */
		{ true, false, 5, 1600, 800, 17, 0, 0 },
		{ true, false, 5, 1200, 200, 17, 0, 0 }, /* another end */
	};
	struct piece a = { true, true, 5, 0, 800, 17, 0, 0 },
		     end = { true, false, 5, 1200, 400, 17, 0, 0 };
	struct frame *w;
	unsigned i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		fresh(NULL);
		assert_int_equal(add(&a, &w), PASS);
		assert_int_equal(add(&end, &w), PASS);
		assert_int_equal(add(&bad[i], &w), DROP_OVERLAP);
		/* And nothing makes it good */
		assert_int_equal(add(&(struct piece){ true, true, 5, 800, 400,
						      17, 0, 0 }, &w), DROP_OVERLAP);
		assert_null(w);
		now += FRAG_WAIT_MS;
		assert_int_equal(add(&a, &w), PASS);
		assert_int_equal(t.lost, 1);
		assert_int_equal(t.end, 1);
	}
	/* An end before what is here, when that came first */
	fresh(NULL);
	a = (struct piece){ true, true, 5, 1600, 800, 17, 0, 0 };
	assert_int_equal(add(&a, &w), PASS);
	assert_int_equal(add(&end, &w), DROP_OVERLAP);
}

static void duplicates_do_not(void **state)
{
	struct piece a = { true, true, 5, 0, 800, 17, 0, 0 },
		     in = { true, true, 5, 80, 160, 17, 0, 0 },
		     end = { true, false, 5, 800, 403, 17, 0, 0 };
	struct frame *w;

	(void)state;
	st_be16(bytes + 4, 1203);
	assert_int_equal(add(&end, &w), PASS);
	assert_int_equal(add(&end, &w), DROP_FRAGMENT);
	assert_int_equal(add(&a, &w), PASS);
	is_whole(w, &a, 1203);
	frag_release(&t);
	assert_int_equal(add(&a, &w), PASS);
	assert_int_equal(add(&a, &w), DROP_FRAGMENT);
	assert_int_equal(add(&in, &w), DROP_FRAGMENT);
	assert_int_equal(add(&end, &w), PASS);
	is_whole(w, &a, 1203);
}

static void lengths_are_checked(void **state)
{
	struct piece a = { true, true, 5, 0, 801, 17, 0, 0 };
	struct frame *w;

	(void)state;
	assert_int_equal(add(&a, &w), DROP_MALFORMED);
	a = (struct piece){ true, true, 5, 8, 0, 17, 0, 0 };
	assert_int_equal(add(&a, &w), DROP_MALFORMED);
	a = (struct piece){ true, false, 5, 65528 - 16, 3, 17, 0, 0 };
	assert_int_equal(add(&a, &w), PASS); /* 65515, and 20 */
	a.len = 4;
	assert_int_equal(add(&a, &w), DROP_MALFORMED);
	a = (struct piece){ false, false, 5, 65528, 7, 17, 0, 0 };
	assert_int_equal(add(&a, &w), PASS);
	a.len = 8;
	assert_int_equal(add(&a, &w), DROP_MALFORMED);
	assert_int_equal(t.lost, 0);
}

static void largest(unsigned v4)
{
	size_t len = v4 ? 65515 : 65535, off, n;
	struct piece x = { v4, true, 9, 0, 0, 17, 0, 0 };
	struct frame *w = NULL;

	st_be16(bytes + 4, (uint16_t)len);
	for (off = 0; off < len; off += n) {
		n = MIN(len - off, (size_t)1480);
		x.off = off;
		x.len = n;
		x.more = off + n < len;
		assert_null(w);
		assert_int_equal(add(&x, &w), PASS);
	}
	is_whole(w, &x, len);
	frag_release(&t);
}

static void all_of_64k(void **state)
{
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(i * 7 + (i >> 8));
	largest(true);
	largest(false);
}

static void congestion_is_told(void **state)
{
	static const struct {
		uint8_t a, b, want;
	} ecn[] = { { 0, 0, 0 }, { 2, 2, 2 }, { 2, 3, 3 }, { 3, 1, 3 },
		    { 1, 1, 1 }, { 0xb8, 0xb8, 0xb8 }, { 0, 3, 0xff },
		    { 3, 0, 0xff } };
	struct frame *w;
	struct packet q;
	unsigned i;

	(void)state;
	st_be16(bytes + 4, 88);
	for (i = 0; i < ARRAY_SIZE(ecn); i++) {
		struct piece a = { i & 1, true, i, 0, 80, 17, ecn[i].a, 0 },
			     b = { i & 1, false, i, 80, 8, 17, ecn[i].b, 0 };

		assert_int_equal(add(&b, &w), PASS);
		if (ecn[i].want == 0xff) {
			assert_int_equal(add(&a, &w), DROP_MALFORMED);
			assert_null(w);
			continue;
		}
		assert_int_equal(add(&a, &w), PASS);
		assert_int_equal(packet_parse(w, &q), PASS);
		assert_int_equal(q.tos, ecn[i].want);
		frag_release(&t);
	}
}

/* More than there is room for: the oldest goes; those that were given do not */
static void flood(void **state)
{
	struct piece a = { true, true, 0, 0, 800, 17, 0, 0 },
		     end = { true, false, 0, 800, 8, 17, 0, 0 };
	struct frame *w, *given[8];
	unsigned i;

	(void)state;
	st_be16(bytes + 4, 808);
	for (i = 0; i < 8; i++) {
		a.id = end.id = i;
		assert_int_equal(add(&a, &w), PASS);
		assert_int_equal(add(&end, &given[i]), PASS);
		assert_non_null(given[i]);
	}
	for (i = 100; i < 1100; i++, now++) {
		a.id = i;
		assert_int_equal(add(&a, &w), PASS);
		assert_null(w);
	}
	assert_int_equal(t.lost, 1000 - (FRAG_MAX - 8));
	for (i = 0; i < 8; i++)
		is_whole(given[i], &end, 808);
	/* The newest are here, what is older is not */
	end.id = 1100 - (FRAG_MAX - 8);
	assert_int_equal(add(&end, &w), PASS);
	is_whole(w, &a, 808);
	frag_release(&t);
	end.id = 1099 - (FRAG_MAX - 8);
	assert_int_equal(add(&end, &w), PASS);
	assert_null(w);
	now += FRAG_WAIT_MS;
	end.id = 1099;
	assert_int_equal(add(&end, &w), PASS);
	assert_null(w);
	assert_int_equal(t.end, FRAG_MAX); /* not yet tidied */
	frag_release(&t);
	assert_int_equal(t.lost, 1000);
}

/* --- the twin ------------------------------------------------------------- */

enum { TWIN_MAX = 400 };

static struct twin {
	bool gone, bad;
	unsigned n;
	struct piece x[TWIN_MAX];
} twin[FRAG_MAX];

/* Whether byte @at is here, and how long it is if that is known */
static bool has(const struct twin *w, size_t at)
{
	unsigned i;

	for (i = 0; i < w->n; i++)
		if (at >= w->x[i].off && at < w->x[i].off + w->x[i].len)
			return true;
	return false;
}

static size_t length(const struct twin *w, size_t *end)
{
	size_t total = 0;
	unsigned i;

	for (*end = i = 0; i < w->n; i++) {
		*end = MAX(*end, w->x[i].off + w->x[i].len);
		if (!w->x[i].more)
			total = w->x[i].off + w->x[i].len;
	}
	return total;
}

static enum verdict twin_add(struct twin *w, const struct piece *x, size_t *whole)
{
	size_t end, total = length(w, &end), at, here = 0;
	/* Units of 8 bytes: the end of the last one is nobody else's */
	size_t last = (x->off + x->len + 7) / 8 * 8;
	bool fits = true;

	*whole = 0;
	if (!x->len || (x->more && x->len % 8) || x->off + x->len > 65515)
		return DROP_MALFORMED;
	for (at = x->off; at < last; at += 8)
		here += has(w, at);
	if (total)
		fits = x->more ? x->off + x->len <= total
			       : x->off + x->len == total;
	else if (!x->more)
		fits = x->off + x->len >= end;
	if (fits && here * 8 == last - x->off)
		return DROP_FRAGMENT;
	if (w->bad || here || !fits) {
		w->bad = true;
		return DROP_OVERLAP;
	}
	w->x[w->n++] = *x;
	total = length(w, &end);
	for (at = 0; at < total; at++)
		if (!has(w, at))
			return PASS;
	*whole = total;
	return PASS;
}

static void as_the_twin_says(void **state)
{
	unsigned round, k, id, n;
	struct frame *w;
	size_t whole;

	(void)state;
	srandom(815);
	memset(bytes, 0x11, sizeof(bytes));
	for (round = 0; round < 400; round++) {
		fresh(NULL);
		memset(twin, 0, sizeof(twin));
		n = 2 + (unsigned)random() % 12; /* pieces of one size, or so */
		for (k = 0; k < TWIN_MAX - 1; k++) {
			size_t size = 8 * (1 + (size_t)(round % 50) * 20);
			size_t i = (size_t)random() % n;
			size_t less = (size_t)random() % 800; /* now and then */
			struct piece x = { true, i + 1 < n, 0, i * size, size,
					   132, 0, 0 };

			id = (unsigned)random() % 3;
			x.id = id;
			if (random() % 40 == 0)
				x.off += 8;
			if (less < 20)
				x.len -= MIN(x.len, less);
			if (x.off + x.len > 65535 || (!x.off && !x.more))
				continue;
			assert_int_equal(parse(&x, bytes), DROP_FRAGMENT);
			if (!twin[id].gone)
				assert_int_equal(frag_add(&t, &p, now, &w),
						 twin_add(&twin[id], &x,
							  &whole));
			else
				continue;
			assert_true(!w == !whole);
			if (!w)
				continue;
			assert_int_equal(w->len, 34 + whole);
			twin[id].gone = true;
			frag_release(&t);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(in_order_and_not, fresh),
		cmocka_unit_test_setup(keys_are_kept_apart, fresh),
		cmocka_unit_test_setup(overlaps_spoil_it, fresh),
		cmocka_unit_test_setup(duplicates_do_not, fresh),
		cmocka_unit_test_setup(lengths_are_checked, fresh),
		cmocka_unit_test_setup(all_of_64k, fresh),
		cmocka_unit_test_setup(congestion_is_told, fresh),
		cmocka_unit_test_setup(flood, fresh),
		cmocka_unit_test_setup(as_the_twin_says, fresh),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
