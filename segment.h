/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * segment - turns frames that need offload into frames that need none
 *
 * There are two ways.  segment_layout() is called before the payload is read:
 * it divides the room so that each piece has a gap in front for its own
 * headers; segment_head() then fills the gaps, and nothing is copied.
 * segment_split() is for contiguous payload.
 */
#ifndef SEGMENT_H
#define SEGMENT_H

#include "packet.h"

/* segment_layout - lay out @want bytes in @buf as pieces of @mss bytes, of
 * which the last may be shorter
 * Piece i is iov[i], with @gap bytes in front of it.  Stops when @room or @max
 * entries are used up, but never makes a short piece because of that.  Returns
 * the number of pieces; *@used is the room that they take, including gaps. */
unsigned segment_layout(void *buf, size_t room, size_t gap, size_t want,
			size_t mss, struct iovec *iov, unsigned max,
			size_t *used);

/* segment_head - write the headers of the segment with payload [@off, @off +
 * @len)
 * @head, of @head_len bytes, is the header of the whole run of @total bytes,
 * and @n its note.  Writes @head_len bytes to @dst, directly in front of the
 * payload, and finishes total length and header checksum of IPv4, UDP's length,
 * TCP's sequence number and flags (FIN and PSH only in the last segment, CWR
 * only in the first), and the layer-4 checksum.  @dst may be @head. */
void segment_head(uint8_t *dst, const uint8_t *head, size_t head_len,
		  const struct note *n, size_t off, size_t len, size_t total);

/* segment_finish - finish the checksum that @n leaves, in the contiguous frame
 * @frame */
void segment_finish(uint8_t *frame, size_t len, const struct note *n);

/* segment_finish_iov - likewise, in a scattered frame */
void segment_finish_iov(const struct iovec *iov, unsigned cnt, size_t len,
			const struct note *n);

/* segment_split - copy segment @i of a contiguous frame to @dst, which has room
 * for the headers and gso_size
 * A frame that is no run is its own and only segment.  Returns the length, 0 if
 * there is no such segment or @n cannot be the note of a run. */
size_t segment_split(uint8_t *dst, const uint8_t *frame, size_t len,
		     const struct note *n, unsigned i);

/* segment_note_ok - whether a note from the guest fits its frame: gso_type,
 * gso_size, csum_start and csum_offset are in range */
bool segment_note_ok(const struct note *n, size_t frame_len);

#endif /* SEGMENT_H */
