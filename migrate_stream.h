/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * migrate_stream - connections as bytes between two hosts, and back
 *
 * Version 2 of passt's format: a header, what was seen of the guest, and the
 * number of connections; then a record of each; then, in the same order, a
 * record of each one's socket, followed by the bytes of its two queues.
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

/* stream_put_head - write the header
 * stream_get_head - read it: 0; -EPROTO if this is no such stream; -ENOTSUP if
 * it is of a version that we do not know */
void stream_put_head(struct wr *w);
int stream_get_head(struct rd *r);

/* stream_put_seen, stream_get_seen - write and read what was seen of the
 * guest */
void stream_put_seen(struct wr *w, const struct seen *s);
void stream_get_seen(struct rd *r, struct seen *s);

/* stream_put_flow, stream_get_flow - write and read a connection's record: all
 * but @i->sock, of which only the state */
void stream_put_flow(struct wr *w, const struct tcp_image *i);
void stream_get_flow(struct rd *r, struct tcp_image *i);

/* stream_put_sock, stream_get_sock - write and read a socket's record; the
 * latter returns false if it is not sane
 * With state 0 there are neither queues nor other numbers: that connection
 * could not be saved. */
void stream_put_sock(struct wr *w, const struct sock_image *s);
bool stream_get_sock(struct rd *r, struct sock_image *s);

#endif /* MIGRATE_STREAM_H */
