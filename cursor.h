/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * cursor - a bounded reader and a bounded writer with a sticky verdict
 *
 * Reading past the end yields zeroes and NULL views and makes rd_ok() false for
 * good; writing past the end writes nothing and makes wr_ok() false for good.
 * So a parser reads everything it wants and checks the verdict once.
 */
#ifndef CURSOR_H
#define CURSOR_H

#include "util.h"

struct rd {
	const uint8_t *p, *end;
	bool bad;
};

static inline struct rd rd_init(const void *p, size_t len)
{
	return (struct rd){ p, (const uint8_t *)p + len, false };
}

static inline bool rd_ok(const struct rd *r)
{
	return !r->bad;
}

static inline size_t rd_left(const struct rd *r)
{
	return r->bad ? 0 : (size_t)(r->end - r->p);
}

/* rd_has - whether @n more bytes are left; if not, the reader turns bad */
static inline bool rd_has(struct rd *r, size_t n)
{
	if (r->bad || n > (size_t)(r->end - r->p))
		r->bad = true;
	return !r->bad;
}

/* rd_view - a pointer to the next @n bytes in place, which are then behind the
 * cursor; NULL, and the reader turns bad, if there are fewer */
static inline const void *rd_view(struct rd *r, size_t n)
{
	if (!rd_has(r, n))
		return NULL;
	r->p += n;
	return r->p - n;
}

static inline void rd_skip(struct rd *r, size_t n)
{
	(void)rd_view(r, n);
}

static inline uint8_t rd_u8(struct rd *r)
{
	return rd_has(r, 1) ? *r->p++ : 0;
}

static inline uint16_t rd_be16(struct rd *r)
{
	if (!rd_has(r, 2))
		return 0;
	r->p += 2;
	return ld_be16(r->p - 2);
}

static inline uint32_t rd_be32(struct rd *r)
{
	if (!rd_has(r, 4))
		return 0;
	r->p += 4;
	return ld_be32(r->p - 4);
}

static inline uint64_t rd_be64(struct rd *r)
{
	if (!rd_has(r, 8))
		return 0;
	r->p += 8;
	return ld_be64(r->p - 8);
}

/* rd_copy - copy the next @n bytes to @dst; if there are fewer, fill it with
 * zeroes */
static inline void rd_copy(struct rd *r, void *dst, size_t n)
{
	const void *p = rd_view(r, n);

	if (p)
		memcpy(dst, p, n);
	else
		memset(dst, 0, n);
}

/* rd_sub - a reader over the next @n bytes, which are then behind @r's cursor;
 * if there are fewer, both readers are bad */
static inline struct rd rd_sub(struct rd *r, size_t n)
{
	const uint8_t *p = rd_view(r, n);
	struct rd s = { p, p ? p + n : p, !p };

	return s;
}

struct wr {
	uint8_t *buf;
	size_t len, cap;
	bool bad;
};

static inline struct wr wr_init(void *buf, size_t cap)
{
	return (struct wr){ buf, 0, cap, false };
}

static inline bool wr_ok(const struct wr *w)
{
	return !w->bad;
}

/* wr_room - append @n bytes for the caller to fill; NULL, and the writer turns
 * bad, if there is no room for them */
static inline void *wr_room(struct wr *w, size_t n)
{
	uint8_t *p = w->buf + w->len;

	if (w->bad || n > w->cap - w->len) {
		w->bad = true;
		return NULL;
	}
	w->len += n;
	return p;
}

static inline void wr_bytes(struct wr *w, const void *src, size_t n)
{
	void *p = wr_room(w, n);

	if (p && n)
		memcpy(p, src, n);
}

static inline void wr_fill(struct wr *w, uint8_t v, size_t n)
{
	void *p = wr_room(w, n);

	if (p)
		memset(p, v, n);
}

static inline void wr_u8(struct wr *w, uint8_t v)
{
	wr_bytes(w, &v, 1);
}

static inline void wr_be16(struct wr *w, uint16_t v)
{
	v = htobe16(v);
	wr_bytes(w, &v, 2);
}

static inline void wr_be32(struct wr *w, uint32_t v)
{
	v = htobe32(v);
	wr_bytes(w, &v, 4);
}

static inline void wr_be64(struct wr *w, uint64_t v)
{
	v = htobe64(v);
	wr_bytes(w, &v, 8);
}

/* wr_patch_u8, wr_patch_be16, wr_patch_be32 - overwrite what was written at
 * offset @off before; do nothing if that is not so */
static inline void wr_patch_u8(struct wr *w, size_t off, uint8_t v)
{
	if (off < w->len)
		w->buf[off] = v;
}

static inline void wr_patch_be16(struct wr *w, size_t off, uint16_t v)
{
	if (off + 2 <= w->len)
		st_be16(w->buf + off, v);
}

static inline void wr_patch_be32(struct wr *w, size_t off, uint32_t v)
{
	if (off + 4 <= w->len)
		st_be32(w->buf + off, v);
}

#endif /* CURSOR_H */
