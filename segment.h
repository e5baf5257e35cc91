/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * segment - turns a frame that promises offload into frames that need none
 *
 * Two ways.  segment_layout() is asked before the payload is read: it lays the
 * room out so that each piece has a gap in front for its own headers; then
 * segment_head() fills the gaps and nothing is copied.  segment_split() is for
 * payload that already lies in a row.
 */
#ifndef SEGMENT_H
#define SEGMENT_H

#include "packet.h"

/* segment_layout - @want bytes as pieces of @mss (the last may be shorter)
 * Piece i is iov[i], preceded by @gap bytes.  Stops when @room or @max is used
 * up, never making a short piece for that reason.  Returns the number of
 * pieces; *@used is the room they take including gaps. */
unsigned segment_layout(void *buf, size_t room, size_t gap, size_t want,
			size_t mss, struct iovec *iov, unsigned max,
			size_t *used);

/* segment_head - headers of the segment holding payload [@off, @off + @len)
 * @head/@head_len is the head of the whole run of @total bytes, @n its note.
 * Writes @head_len bytes at @dst, which lie right in front of the payload, and
 * finishes all checksums: IPv4 total length and header sum, UDP length, TCP
 * sequence number; FIN and PSH stay with the last segment, CWR with the first.
 * @dst may be @head. */
void segment_head(uint8_t *dst, const uint8_t *head, size_t head_len,
		  const struct note *n, size_t off, size_t len, size_t total);

/* segment_finish - store the checksum that @n promises
 * @frame is the whole frame in a row. */
void segment_finish(uint8_t *frame, size_t len, const struct note *n);

/* segment_finish_iov - the same for a scattered frame */
void segment_finish_iov(const struct iovec *iov, unsigned cnt, size_t len,
			const struct note *n);

/* segment_split - copy segment @i of a frame that lies in a row to @dst
 * Returns its length, 0 when there is no such segment or the note cannot be
 * that of a run.  @dst has room for head and gso_size; a frame that is no run
 * is its own and only segment. */
size_t segment_split(uint8_t *dst, const uint8_t *frame, size_t len,
		     const struct note *n, unsigned i);

/* segment_note_ok - whether a stranger's note fits its frame
 * Range check of gso_type, gso_size, csum_start and csum_offset. */
bool segment_note_ok(const struct note *n, size_t frame_len);

#endif /* SEGMENT_H */
