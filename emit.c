/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * emit - answers and datagrams become frames for the guest
 */
#include "emit.h"

#include "iov.h"

#include <linux/virtio_net.h>

enum { SUMMED_MAX = 576 }; /* longer ones are the guest's kernel's to sum */

/* Counted by who wanted it sent */
static bool lose_answer(struct tap *tap, enum verdict v, uint8_t *head,
			size_t len, const struct answer *a)
{
	const struct iovec iov[] = { { head, len },
				     { a->body.buf, a->body.len } };

	tap_lost(tap, v, iov, 2, len + a->body.len, NULL);
	return false;
}

bool emit_answer(struct tap *tap, struct answer *a)
{
	static const struct note finished;
	uint8_t head[HEAD_MAX];
	struct slot s;
	size_t len = packet_answer_head(head, a);

	if (len + a->body.len > tap->caps.frame_max)
		return lose_answer(tap, DROP_TOO_BIG, head, len, a);
	if (!tap_reserve(tap, &s, 1, len, a->body.len, 0))
		return lose_answer(tap, DROP_NO_ROOM, head, len, a);
	if (s.room < a->body.len) {
		tap_cancel(tap, &s);
		return lose_answer(tap, DROP_NO_ROOM, head, len, a);
	}
	memcpy(s.head, head, len);
	iov_write(s.body, s.body_cnt, 0, a->body.buf, a->body.len);
	tap_commit(tap, &s, a->body.len, &finished);
	return true;
}

bool emit_fits(const struct tap *tap, const struct tuple *t, size_t len)
{
	return head_len(t) + UDP_HEAD + len <= tap->caps.frame_max;
}

void emit_lost(struct tap *tap, enum verdict v, const struct head *h,
	       const void *p, size_t len)
{
	struct iovec iov[2] = { [1] = { (void *)(uintptr_t)p, len } };
	uint8_t head[HEAD_MAX];
	struct note n;

	if (!tap_explains(tap))
		return;
	iov[0] = (struct iovec){ head, packet_put_udp(head, h, len, &n) };
	tap_lost(tap, v, iov, 2, iov[0].iov_len + len, &n);
}

void emit_commit(struct tap *tap, const struct head *h, struct slot *s,
		 size_t len, uint16_t gso_size)
{
	struct note n;
	size_t head = packet_put_udp(s->head, h, len, &n);

	if (gso_size && len > gso_size) {
		n.gso_type = VIRTIO_NET_HDR_GSO_UDP_L4;
		n.gso_size = gso_size;
	} else if (len <= SUMMED_MAX) {
		packet_finish_udp(s->head + head - UDP_HEAD,
				  len ? s->body[0].iov_base : NULL, len);
		n = (struct note){ 0 };
	}
	s->bulk = h->bulk;
	tap_commit(tap, s, len, &n);
}

/* A run goes in as many pieces as the slots ask for */
static enum verdict copy_out(struct tap *tap, const struct head *h,
			     const uint8_t *p, size_t len, uint16_t gso_size)
{
	size_t head = head_len(&h->t) + UDP_HEAD, n;
	struct slot s;

	do {
		if (!tap_reserve(tap, &s, 1, head, len, 0))
			return DROP_NO_ROOM;
		n = len;
		if (n > s.room)
			n = gso_size ? s.room - s.room % gso_size : 0;
		if (!n && len) {
			tap_cancel(tap, &s);
			return DROP_NO_ROOM;
		}
		iov_write(s.body, s.body_cnt, 0, p, n);
		emit_commit(tap, h, &s, n, gso_size);
		p += n;
		len -= n;
	} while (len);
	return PASS;
}

enum verdict emit_datagram(struct tap *tap, const struct head *h,
			   const uint8_t *p, size_t len, uint16_t gso_size)
{
	enum verdict v = DROP_TOO_BIG;

	if (emit_fits(tap, &h->t, gso_size ? gso_size : len))
		v = copy_out(tap, h, p, len, gso_size);
	if (v != PASS)
		emit_lost(tap, v, h, p, len);
	return v;
}
