/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * emit - answers and datagrams become frames for the guest
 *
 * The one place that knows what fits a frame.
 */
#ifndef EMIT_H
#define EMIT_H

#include "tap.h"

/* emit_answer - one answer to the guest; false: there is no room, or it does not
 * fit a frame, or the guest */
bool emit_answer(struct tap *tap, struct answer *a);

/* emit_fits - whether a datagram of @len bytes is one frame */
bool emit_fits(const struct tap *tap, const struct tuple *t, size_t len);

/* emit_commit - what was received into @s is a datagram that fits, or a run of
 * datagrams of @gso_size */
void emit_commit(struct tap *tap, const struct head *h, struct slot *s,
		 size_t len, uint16_t gso_size);

/* emit_datagram - a datagram, or a run, that lies somewhere else
 * PASS, or why it was lost: nothing waits for room. */
enum verdict emit_datagram(struct tap *tap, const struct head *h,
			   const uint8_t *p, size_t len, uint16_t gso_size);

/* emit_lost - for who wants to see dropped frames: one that the caller counts */
void emit_lost(struct tap *tap, enum verdict v, const struct head *h,
	       const void *p, size_t len);

#endif /* EMIT_H */
