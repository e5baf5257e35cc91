/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * tap - the transport interface: frames from and to the guest
 *
 * Thin on purpose: everything that differs between transports is behind the
 * table, everything that does not is in the struct.
 */
#include "tap.h"
#include "iov.h"

unsigned tap_receive(struct tap *t, struct frame *f, unsigned max)
{
	return t->ops->receive(t, f, tap_explains(t) ? 1 : max);
}

void tap_release(struct tap *t)
{
	if (tap_explains(t))
		pcap_release(t->pcap);
	t->ops->release(t);
}

unsigned tap_reserve(struct tap *t, struct slot *s, unsigned n, size_t head,
		     size_t want, size_t mss)
{
	return t->ops->reserve(t, s, n, head, want, mss);
}

void tap_commit(struct tap *t, struct slot *s, size_t used,
		const struct note *n)
{
	t->ops->commit(t, s, used, n);
}

void tap_cancel(struct tap *t, struct slot *s)
{
	t->ops->cancel(t, s);
}

void tap_flush(struct tap *t)
{
	t->ops->flush(t);
}

bool tap_unread(const struct tap *t)
{
	return t->full || (t->ops->unread && t->ops->unread(t));
}

void tap_unsent(struct tap *t, enum verdict v, const struct slot *s,
		size_t used, const struct note *n)
{
	struct iovec iov[64] = { { s->head, s->head_len } };
	size_t got;
	unsigned cnt;

	t->drops[v]++;
	cnt = iov_slice(iov + 1, ARRAY_SIZE(iov) - 1, s->body, s->body_cnt, 0,
			used, &got);
	tap_lost(t, v, iov, cnt + 1, s->head_len + got, n);
}
