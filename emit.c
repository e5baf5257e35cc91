/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * emit - makes frames for the guest of answers and datagrams
 *
 * Fragments are cut from a datagram that has its checksum.  IPv4's
 * identification is a count of the datagrams that are fragmented, or may be:
 * others need none (RFC 6864).  It begins with a random number, and nobody but
 * the guest sees it (RFC 7739).
 */
#include "emit.h"

#include "iov.h"
#include "lan.h"

#include <linux/virtio_net.h>

enum {
	SUMMED_MAX = 576, /* checksums of longer ones are left to the guest's
			     kernel */
	MTU_ETHER = 1500, /* of a guest that was told none */
	PATH_MS = 600 * 1000, /* RFC 8201, 4 */
};

void emit_init(struct tap *tap, unsigned mtu)
{
	tap->mtu = mtu ? mtu : MTU_ETHER;
	if (!util_random(&tap->frag_id, sizeof(tap->frag_id)))
		tap->frag_id = 0; /* whoever sees identifications learns no more
				     from this one */
}

/* The index of the path to @to, TAP_PATHS if nothing is known of it */
static unsigned find_path(const struct tap *tap, const struct addr *to)
{
	const struct tap_path *p = tap->path;
	unsigned i = 0;

	while (i < TAP_PATHS && (p[i].until_ms <= tap->loop->now_ms ||
				 !addr_equal(&p[i].to, to)))
		i++;
	return i;
}

void emit_narrow(struct tap *tap, const struct addr *to, unsigned mtu)
{
	unsigned i = find_path(tap, to), n;
	struct tap_path *p = tap->path;

	if (!addr_is_v4(to))
		mtu = MAX(mtu, (unsigned)MTU_MIN6);
	if (i < TAP_PATHS)
		mtu = MIN(mtu, p[i].mtu);
	else
		for (i = 0, n = 1; n < TAP_PATHS; n++)
			if (p[n].until_ms < p[i].until_ms)
				i = n;
	p[i] = (struct tap_path){ .to = *to, .mtu = mtu,
				  .until_ms = tap->loop->now_ms + PATH_MS };
	tap->narrow = true;
}

/* Of the family of @t: IPv6 has at least 1280 (RFC 8200, 5) */
static size_t mtu_of(const struct tap *tap, const struct tuple *t)
{
	size_t most = tap->caps.frame_max - ETH_HEAD, mtu = tap->mtu;
	unsigned i = TAP_PATHS;

	if (!mtu)
		mtu = most;
	if (!addr_is_v4(&t->src))
		mtu = MAX(mtu, (size_t)MTU_MIN6);
	if (UNLIKELY(tap->narrow))
		i = find_path(tap, &t->dst);
	if (i < TAP_PATHS)
		mtu = MIN(mtu, (size_t)tap->path[i].mtu);
	return MIN(mtu, most);
}

bool emit_fits(const struct tap *tap, const struct tuple *t, size_t len)
{
	return head_len(t) - ETH_HEAD + len <= mtu_of(tap, t);
}

/* That of the first of @n */
static uint32_t take_ids(struct tap *tap, unsigned n)
{
	uint32_t id = tap->frag_id + 1;

	if (id + n < id || !id) /* which would say that it is no fragment */
		id = 1;
	tap->frag_id = id + n - 1;
	return id;
}

/* RFC 6864: who may fragment it needs one for that */
static void loosen(struct tap *tap, struct head *h, unsigned n)
{
	h->frag_id = take_ids(tap, n);
}

static bool is_long(const struct head *h, size_t len)
{
	return len > MTU_ETHER - IP4_HEAD && addr_is_v4(&h->t.src);
}

void emit_loosen(struct tap *tap, struct head *h, size_t len)
{
	if (UNLIKELY(is_long(h, len)))
		loosen(tap, h, 1);
}

/* One frame of @h's headers and the @len bytes at @off of layer 4 */
static bool put(struct tap *tap, const struct head *h, const struct iovec *l4,
		unsigned cnt, size_t off, size_t len)
{
	size_t head = h->frag_id ? frag_head_len(&h->t) : head_len(&h->t);
	static const struct note finished;
	struct iovec part[2];
	struct slot s;
	size_t done = 0;
	unsigned n, i;

	if (!tap_reserve(tap, &s, 1, head, len, 0))
		return false;
	if (s.room < len) {
		tap_cancel(tap, &s);
		return false;
	}
	packet_put_ip(s.head, h, len);
	n = iov_slice(part, ARRAY_SIZE(part), l4, cnt, off, len, NULL);
	for (i = 0; i < n; i++)
		done += iov_write(s.body, s.body_cnt, done, part[i].iov_base,
				  part[i].iov_len);
	s.lane = h->lane;
	tap_commit(tap, &s, len, &finished);
	return true;
}

/* The whole of layer 4, of two pieces at most, with its sum */
static enum verdict put_all(struct tap *tap, const struct head *h,
			    const struct iovec *l4, unsigned cnt)
{
	size_t len = iov_size(l4, cnt), mtu = mtu_of(tap, &h->t), off, step, n;
	size_t head = frag_head_len(&h->t) - ETH_HEAD;
	bool v4 = addr_is_v4(&h->t.src);
	struct head part = *h;

	if (emit_fits(tap, &h->t, len)) { /* the last one of a run, or an echo */
		if (!part.frag_id)
			emit_loosen(tap, &part, len);
		return put(tap, &part, l4, cnt, 0, len) ? PASS : DROP_NO_ROOM;
	}
	if (mtu < head + 8 || len > (v4 ? 65535 - IP4_HEAD : 65535))
		return DROP_TOO_BIG;
	step = (mtu - head) & ~(size_t)7;
	part.frag_id = take_ids(tap, 1);
	for (off = 0; off < len; off += n) {
		n = MIN(step, len - off);
		part.frag_off = (uint16_t)off;
		part.frag_more = off + n < len;
		if (!put(tap, &part, l4, cnt, off, n))
			return DROP_NO_ROOM;
	}
	return PASS;
}

/* Capture an answer that was dropped; the caller counts it */
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

enum verdict emit_echo(struct tap *tap, struct answer *a)
{
	const struct iovec body = { a->body.buf, a->body.len };
	uint8_t head[HEAD_MAX];
	enum verdict v;

	packet_answer_head(head, a); /* for the checksum */
	v = put_all(tap, &a->head, &body, 1);
	if (v != PASS)
		lose_answer(tap, v, head, head_len(&a->head.t), a);
	return v;
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
	size_t each = gso_size ? MIN(len, (size_t)gso_size) : len, head;
	struct head loose;
	struct note n;

	if (UNLIKELY(is_long(h, UDP_HEAD + each))) {
		loose = *h;
		loosen(tap, &loose, (unsigned)((len + each - 1) / each));
		h = &loose;
	}
	head = packet_put_udp(s->head, h, len, &n);
	if (gso_size && len > gso_size) {
		n.gso_type = VIRTIO_NET_HDR_GSO_UDP_L4;
		n.gso_size = gso_size;
	} else if (len <= SUMMED_MAX) {
		packet_finish_udp(s->head + head - UDP_HEAD,
				  len ? s->body[0].iov_base : NULL, len);
		n = (struct note){ 0 };
	}
	s->lane = h->lane;
	tap_commit(tap, s, len, &n);
}

/* Copy a datagram or run to slots; a run is sent in as many pieces as the slots
 * require */
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

/* Send a datagram that does not fit, as fragments */
static enum verdict cut_up(struct tap *tap, const struct head *h,
			   const uint8_t *p, size_t len)
{
	uint8_t head[HEAD_MAX], *udp;
	struct iovec l4[2] = { [1] = { (void *)(uintptr_t)p, len } };
	struct note n;

	udp = head + packet_put_udp(head, h, len, &n) - UDP_HEAD;
	packet_finish_udp(udp, p, len);
	l4[0] = (struct iovec){ udp, UDP_HEAD };
	return put_all(tap, h, l4, 2);
}

enum verdict emit_datagram(struct tap *tap, const struct head *h,
			   const uint8_t *p, size_t len, uint16_t gso_size)
{
	size_t size = gso_size ? gso_size : len, off = 0;
	enum verdict v = PASS;

	if (emit_fits(tap, &h->t, UDP_HEAD + size))
		v = copy_out(tap, h, p, len, gso_size);
	else
		for (; off < len && v == PASS; off += size)
			v = cut_up(tap, h, p + off, MIN(size, len - off));
	if (v != PASS)
		emit_lost(tap, v, h, p, len);
	return v;
}
