/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * migrate_stream - connections as bytes between two hosts, and back
 *
 * Version 2 of what passt sends: a head, what was seen of the guest, the number of
 * connections; a record of each; then, in the same order, a record of each one's
 * socket, with the bytes of its two queues behind.
 */
#ifndef MIGRATE_STREAM_H
#define MIGRATE_STREAM_H

#include "cursor.h"
#include "lan.h"
#include "tcp_image.h"

enum {
	STREAM_HEAD = 16,
	STREAM_SEEN = 42,
	STREAM_COUNT = 4,
	STREAM_FLOW = 112,
	STREAM_SOCK = 52,
};

/* stream_put_head; stream_get_head - 0, -EPROTO: this is no such stream, -ENOTSUP: of
 * a version that we do not know */
void stream_put_head(struct wr *w);
int stream_get_head(struct rd *r);

void stream_put_seen(struct wr *w, const struct seen *s);
void stream_get_seen(struct rd *r, struct seen *s);

/* stream_put_flow; stream_get_flow - all but @i->sock, and of that the state */
void stream_put_flow(struct wr *w, const struct tcp_image *i);
void stream_get_flow(struct rd *r, struct tcp_image *i);

/* stream_put_sock; stream_get_sock - false: it cannot be one.  With state 0 there are
 * neither queues nor other numbers: that connection could not be saved */
void stream_put_sock(struct wr *w, const struct sock_image *s);
bool stream_get_sock(struct rd *r, struct sock_image *s);

#endif /* MIGRATE_STREAM_H */
