/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * state - what a process knows, as bytes for its successor
 */
#include "state.h"

#include <errno.h>

static const char magic[8] = { '\xb1', 'p', 'a', 's', 's', 't', '\r', '\n' };

void state_head(struct wr *w)
{
	wr_bytes(w, magic, sizeof(magic));
	wr_be32(w, STATE_VERSION);
	wr_be32(w, STATE_VERSION); /* oldest that a reader must know */
}

int state_check(struct rd *r)
{
	const void *m = rd_view(r, sizeof(magic));
	uint32_t version = rd_be32(r), oldest = rd_be32(r);

	if (!rd_ok(r) || memcmp(m, magic, sizeof(magic)) || !oldest ||
	    oldest > version)
		return -EPROTO;
	return oldest > STATE_VERSION ? -ENOTSUP : 0;
}

size_t state_begin(struct wr *w, enum state_tag tag)
{
	wr_be32(w, tag);
	wr_be32(w, 0);
	return w->len;
}

void state_end(struct wr *w, size_t begun)
{
	if (wr_ok(w))
		wr_patch_be32(w, begun - 4, (uint32_t)(w->len - begun));
}

bool state_next(struct rd *r, uint32_t *tag, struct rd *body)
{
	if (!rd_left(r))
		return false;
	*tag = rd_be32(r);
	*body = rd_sub(r, rd_be32(r));
	return rd_ok(r);
}
