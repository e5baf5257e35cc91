/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * emit - answers and datagrams become frames for the guest
 *
 * The one place that knows what fits a frame.
 */
#ifndef EMIT_H
#define EMIT_H

#include "tap.h"

/* emit_init - what is longer than @mtu above Ethernet, or than a frame, goes in
 * fragments; 0: the guest has not been told of any */
void emit_init(struct tap *tap, unsigned mtu);

/* emit_narrow - a router in the guest says that no packet longer than @mtu gets to @to:
 * for some minutes what is longer goes there in fragments */
void emit_narrow(struct tap *tap, const struct addr *to, unsigned mtu);

/* emit_answer - one answer to the guest; false: there is no room, or it does not
 * fit a frame.  Never a fragment: who asks for an address cannot put them together. */
bool emit_answer(struct tap *tap, struct answer *a);

/* emit_echo - the same for an echo reply, of any length; PASS, or why it was lost */
enum verdict emit_echo(struct tap *tap, struct answer *a);

/* emit_fits - whether @len bytes of layer 4, its header included, are one frame */
bool emit_fits(const struct tap *tap, const struct tuple *t, size_t len);

/* emit_loosen - of a packet of @len bytes of layer 4 that is to be sent as @h says: one
 * that most links do not hold, of IPv4, may be fragmented by a router in the guest
 * It may have come in fragments, and its sender does not hear what a router says.  Of
 * datagrams the functions below see to it. */
void emit_loosen(struct tap *tap, struct head *h, size_t len);

/* emit_commit - what was received into @s is a datagram that fits, or a run of
 * datagrams of @gso_size */
void emit_commit(struct tap *tap, const struct head *h, struct slot *s,
		 size_t len, uint16_t gso_size);

/* emit_datagram - a datagram, or a run, that lies somewhere else
 * What does not fit goes in fragments.  PASS, or why it was lost: nothing waits
 * for room. */
enum verdict emit_datagram(struct tap *tap, const struct head *h,
			   const uint8_t *p, size_t len, uint16_t gso_size);

/* emit_lost - for who wants to see dropped frames: one that the caller counts */
void emit_lost(struct tap *tap, enum verdict v, const struct head *h,
	       const void *p, size_t len);

#endif /* EMIT_H */
