/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * emit - makes frames for the guest of answers and datagrams
 *
 * The one place that knows what fits a frame.
 */
#ifndef EMIT_H
#define EMIT_H

#include "tap.h"

/* emit_init - from now on fragment packets to the guest that are longer than
 * @mtu; 0: the guest was told of none, and 1500 is assumed */
void emit_init(struct tap *tap, unsigned mtu);

/* emit_narrow - a router in the guest says that no packet longer than @mtu gets to @to:
 * for some minutes what is longer goes there in fragments */
void emit_narrow(struct tap *tap, const struct addr *to, unsigned mtu);

/* emit_answer - send an answer to the guest, never as fragments: a client that
 * asks for an address cannot reassemble them
 * Returns false if there is no room or it does not fit a frame. */
bool emit_answer(struct tap *tap, struct answer *a);

/* emit_echo - send an echo reply of any length, as fragments if need be
 * Returns PASS, or why it was lost. */
enum verdict emit_echo(struct tap *tap, struct answer *a);

/* emit_fits - whether @len bytes of layer 4, its header included, need no
 * fragments */
bool emit_fits(const struct tap *tap, const struct tuple *t, size_t len);

/* emit_loosen - of a packet of @len bytes of layer 4 that is to be sent as @h says: one
 * that most links do not hold, of IPv4, may be fragmented by a router in the guest
 * It may have come in fragments, and its sender does not hear what a router says.  Of
 * datagrams the functions below see to it. */
void emit_loosen(struct tap *tap, struct head *h, size_t len);

/* emit_commit - write the headers of @len bytes of payload that were received
 * into slot @s, and send them: one datagram, or a run of datagrams of @gso_size
 * bytes
 * It must fit, see emit_fits(). */
void emit_commit(struct tap *tap, const struct head *h, struct slot *s,
		 size_t len, uint16_t gso_size);

/* emit_datagram - send a datagram, or a run of datagrams of @gso_size bytes,
 * from @p
 * What does not fit is sent as fragments.  Returns PASS, or why it was lost:
 * nothing waits for room. */
enum verdict emit_datagram(struct tap *tap, const struct head *h,
			   const uint8_t *p, size_t len, uint16_t gso_size);

/* emit_lost - show a datagram that the caller has dropped and counted in the
 * capture, if that has dropped frames */
void emit_lost(struct tap *tap, enum verdict v, const struct head *h,
	       const void *p, size_t len);

#endif /* EMIT_H */
