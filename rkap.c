/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * rkap - Reconfigure Key Authentication Protocol (RFC 8415, 20.4): how a DHCP
 * client knows that it is us who ask it to renew
 */
#include "rkap.h"

#include <time.h>

/* RFC 8415, 20.4 and 21.11 */
enum {
	PROTOCOL = 3,
	HMAC_MD5 = 1,
	COUNTER = 0, /* replay detection: a counter */
	TYPE_KEY = 1,
	TYPE_DIGEST = 2,
	DIGEST_AT = RKAP_LEN - MD5_LEN,
};

/* The next counter against replay.  It begins at the time of day, so that it
 * increases across restarts, whoever succeeds us. */
static uint64_t next_count(struct rkap *r)
{
	struct timespec ts;
	uint64_t now;

	clock_gettime(CLOCK_REALTIME, &ts);
	now = (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
	r->count = MAX(now, r->count + 1);
	return r->count;
}

bool rkap_keep(struct rkap *r, struct rd request)
{
	size_t n = rd_left(&request);

	r->on = n <= sizeof(r->request);
	if (!r->on)
		return false;
	r->len = (uint16_t)n;
	rd_copy(&request, r->request, n);
	return true;
}

/* Make a new key of the hashed time: to whoever does not know the secret that
 * is as good as random, and no system call is needed */
void rkap_new_key(struct rkap *r)
{
	uint64_t w[2] = { next_count(r) }, half;

	for (; w[1] < 2; w[1]++) {
		half = siphash_words(r->secret, w, ARRAY_SIZE(w));
		memcpy(r->key + w[1] * sizeof(half), &half, sizeof(half));
	}
}

static void put_head(struct rkap *r, struct wr *w, uint8_t type)
{
	wr_u8(w, PROTOCOL);
	wr_u8(w, HMAC_MD5);
	wr_u8(w, COUNTER);
	wr_be64(w, next_count(r));
	wr_u8(w, type);
}

void rkap_put_key(struct rkap *r, struct wr *w)
{
	put_head(r, w, TYPE_KEY);
	wr_bytes(w, r->key, sizeof(r->key));
}

void rkap_put_digest(struct rkap *r, struct wr *w)
{
	put_head(r, w, TYPE_DIGEST);
	wr_fill(w, 0, MD5_LEN);
}

void rkap_sign(const struct rkap *r, struct wr *w, size_t at)
{
	uint8_t digest[MD5_LEN];

	if (!wr_ok(w))
		return;
	md5_hmac(r->key, sizeof(r->key), w->buf, w->len, digest);
	memcpy(w->buf + at + DIGEST_AT, digest, sizeof(digest));
}

void rkap_save(const struct rkap *r, struct wr *w)
{
	wr_u8(w, r->on);
	if (!r->on)
		return;
	wr_bytes(w, r->key, sizeof(r->key));
	wr_be64(w, r->count);
	wr_bytes(w, r->mac.b, sizeof(r->mac.b));
	wr_bytes(w, r->client.b, sizeof(r->client.b));
	wr_bytes(w, r->server.b, sizeof(r->server.b));
	wr_bytes(w, r->told, sizeof(r->told));
	wr_be16(w, r->len);
	wr_bytes(w, r->request, r->len);
}

void rkap_load(struct rkap *r, struct rd *in)
{
	bool on = rd_u8(in) & 1;

	r->on = false;
	if (!on)
		return;
	rd_copy(in, r->key, sizeof(r->key));
	r->count = rd_be64(in);
	rd_copy(in, r->mac.b, sizeof(r->mac.b));
	rd_copy(in, r->client.b, sizeof(r->client.b));
	rd_copy(in, r->server.b, sizeof(r->server.b));
	rd_copy(in, r->told, sizeof(r->told));
	r->len = rd_be16(in);
	if (r->len > sizeof(r->request))
		return;
	rd_copy(in, r->request, r->len);
	r->on = rd_ok(in);
}
