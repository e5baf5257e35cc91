/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A name is encoded into a buffer of its own first, so that a bad one leaves no
 * trace in the writer.  Packing then looks at each of its endings, the longest
 * first, for one that an earlier name has too, and points there.
 */
#include "dnsname.h"

enum { LABEL_MAX = 63, POINTER = 0xc0, POINTER_REACH = 0x3fff };

/* Encode @name in @out; returns its length, or 0 if it is no name */
static size_t encode(const char *name, uint8_t out[DNSNAME_MAX])
{
	struct wr w = wr_init(out, DNSNAME_MAX);
	const char *end = name + strlen(name);

	if (end > name && end[-1] == '.')
		end--;
	if (end == name)
		return 0;

	while (name <= end) {
		const char *dot = memchr(name, '.', (size_t)(end - name));
		size_t n = (size_t)((dot ? dot : end) - name);

		if (!n || n > LABEL_MAX)
			return 0;
		wr_u8(&w, (uint8_t)n);
		wr_bytes(&w, name, n);
		name += n + 1;
	}
	wr_u8(&w, 0);
	return wr_ok(&w) ? w.len : 0;
}

static bool append(struct wr *w, const uint8_t *wire, size_t n)
{
	if (!n || !wr_ok(w) || n > w->cap - w->len)
		return false;
	wr_bytes(w, wire, n);
	return true;
}

bool dnsname_put(struct wr *w, const char *name)
{
	uint8_t wire[DNSNAME_MAX];

	return append(w, wire, encode(name, wire));
}

/* Whether the name at @at in @w, with pointers followed, is @wire.  We wrote
 * all of it and pointers only lead back, so this ends. */
static bool same(const struct wr *w, size_t at, const uint8_t *wire)
{
	for (;;) {
		const uint8_t *p = w->buf + at;

		if (*p >= POINTER) {
			at = ld_be16(p) & POINTER_REACH;
			continue;
		}
		if (*p != *wire || memcmp(p + 1, wire + 1, *p))
			return false;
		if (!*p)
			return true;
		at += *p + 1U;
		wire += *p + 1U;
	}
}

/* The offset in @w of a name, or of the end of a name, that equals @wire;
 * w->len: there is none */
static size_t find(const struct wr *w, const uint8_t *wire)
{
	size_t at = 0;

	while (at < w->len) {
		uint8_t n = w->buf[at];

		if (n >= POINTER) {
			at += 2;
			continue;
		}
		if (n && same(w, at, wire))
			return at;
		at += n + 1U;
	}
	return w->len;
}

bool dnsname_pack(struct wr *w, const char *name)
{
	uint8_t wire[DNSNAME_MAX];
	size_t n = encode(name, wire), i, at;

	for (i = 0; i < n && wire[i]; i += wire[i] + 1U) {
		at = find(w, wire + i);
		if (at == w->len || at > POINTER_REACH)
			continue;
		/* There is room for two bytes: an ending has a label and the
		 * root, at least 3 */
		st_be16(wire + i, (uint16_t)(POINTER << 8 | at));
		n = i + 2;
		break;
	}
	return append(w, wire, n);
}
