/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * tap_vhost - the transport whose frames lie in guest memory
 *
 * From the guest: chains are taken until a burst is full or the ring is empty;
 * only then is the guest asked to kick.  They go back at release, and it is
 * told once a turn.
 *
 * To the guest: slots for runs of TCP take buffers when they are reserved, and
 * what the last one does not fill is given back.  Other slots lie in our own memory:
 * their bodies have to be in a row, which the guest's buffers are not.  They
 * take buffers when they are committed, and reserve sees to it that there are
 * enough.
 */
#include "tap_vhost.h"

#include "iov.h"
#include "log.h"
#include "segment.h"
#include "tap_stream.h"

#include <linux/virtio_config.h>
#include <linux/virtio_net.h>

#include <assert.h>
#include <errno.h>
#include <unistd.h>

enum {
	VNET = sizeof(struct virtio_net_hdr_mrg_rxbuf),
	VNET_SHORT = sizeof(struct virtio_net_hdr), /* of a legacy device */
	IP_MAX = 65535,
	BODY_MAX = IP_MAX - IP4_HEAD - UDP_HEAD, /* the longest datagram */
	FRAME_LONG = ETH_HEAD + IP_MAX,
};

static struct tap_vhost *vhost(struct tap *t)
{
	return container_of(t, struct tap_vhost, tap);
}

static unsigned tx_number(unsigned pair)
{
	return pair * VHOST_PAIR + VHOST_TX;
}

static struct virtq *tx_ring(struct tap_vhost *t, unsigned pair)
{
	return &t->user.q[tx_number(pair)];
}

/* --- from the guest ------------------------------------------------------- */

/* Read the note in front of a frame.  The guest is a stranger: a note that does
 * not fit the frame is ignored. */
static void note_in(const struct iovec *iov, unsigned cnt, struct frame *f)
{
	struct virtio_net_hdr h = { 0 };

	iov_read(iov, cnt, 0, &h, sizeof(h));
	f->note = note_get(&h);
	f->note.flags &= VIRTIO_NET_HDR_F_NEEDS_CSUM;
	f->note.gso_type &= (uint8_t)~VIRTIO_NET_HDR_GSO_ECN;
	if (!segment_note_ok(&f->note, f->len))
		f->note = (struct note){ 0 };
}

/* Lend chain @e, with its pieces at @iov, as a frame; false: not with this
 * burst */
static bool lend(struct tap_vhost *t, struct frame *f,
		 const struct virtq_elem *e, struct iovec *iov, bool *bounced)
{
	unsigned cnt = e->iov_cnt;

	f->len = e->len > t->vnet ? MIN(e->len - t->vnet, (size_t)FRAME_LONG)
				  : 0;
	note_in(iov, cnt, f);
	iov_advance(&iov, &cnt, MIN(t->vnet, e->len));
	if (cnt > VHOST_FRAME_PIECES) {
		if (*bounced)
			return false;
		*bounced = true;
		f->len = iov_read(iov, cnt, 0, t->bounce, f->len);
		f->one = (struct iovec){ t->bounce, f->len };
		iov = &f->one;
		cnt = 1;
	}
	f->iov = iov;
	f->iov_cnt = cnt;
	tap_captured(&t->tap, false, iov, cnt, f->len, &f->note);
	return true;
}

static void no_kicks(struct tap_vhost *t, unsigned pair)
{
	if (t->kicks[pair])
		(void)virtq_kicks(tx_ring(t, pair), false);
	t->kicks[pair] = false;
}

/* The ring is empty or broken: have the guest kick.  True if it will, false if
 * there is more already. */
static bool all_taken(struct tap_vhost *t, unsigned pair)
{
	t->kicks[pair] = true;
	return virtq_kicks(tx_ring(t, pair), true);
}

/* Pieces used by a burst */
struct pieces {
	unsigned used;
	bool bounced;
};

/* Take a frame from @pair's ring.  1; 0: there is none; -ENOBUFS: not with this
 * burst */
static int receive_one(struct tap_vhost *t, unsigned pair, struct frame *f,
		       struct pieces *p)
{
	struct virtq *q = tx_ring(t, pair);
	struct virtq_elem *e = &t->elem[t->elems];
	struct iovec *iov = t->piece + p->used;
	int ret = virtq_pop(q, e, iov, VHOST_PIECES - p->used, false);

	if (ret == -ENOBUFS && !p->used)
		virtq_break(q, "a frame of more pieces than there can be");
	if (ret <= 0)
		return ret;
	if (!lend(t, f, e, iov, &p->bounced)) {
		virtq_rewind(q, 1);
		return -ENOBUFS;
	}
	p->used += e->iov_cnt;
	t->elem_ring[t->elems++] = (uint8_t)pair;
	return 1;
}

/* Take frames from @pair's ring until there are @max in all; true: that were
 * all, and the guest will kick for more */
static bool receive_ring(struct tap_vhost *t, unsigned pair, struct frame *f,
			 unsigned max, struct pieces *p)
{
	int ret;

	no_kicks(t, pair);
	while (t->elems < max) {
		ret = receive_one(t, pair, &f[t->elems], p);
		if (ret < 0)
			return false;
		if (!ret && all_taken(t, pair))
			return true;
	}
	return false;
}

/* Pairs take turns in being first, so that one that is never empty does not
 * keep the others waiting */
static unsigned vhost_receive(struct tap *tap, struct frame *f, unsigned max)
{
	struct tap_vhost *t = vhost(tap);
	struct pieces p = { 0 };
	unsigned i, pair;

	tap->events = 0;
	tap->drained = true;
	if (!tap->up)
		return 0;
	max = MIN(max, (unsigned)PACKET_BATCH);
	for (i = 0; i < t->pairs; i++) {
		pair = (t->next + i) % t->pairs;
		if (vhost_user_ring(&t->user, tx_number(pair)) &&
		    !receive_ring(t, pair, f, max, &p))
			tap->drained = false;
	}
	if (++t->next >= t->pairs)
		t->next = 0;
	return t->elems;
}

static void vhost_release(struct tap *tap)
{
	struct tap_vhost *t = vhost(tap);
	unsigned i;

	for (i = 0; i < t->elems; i++)
		virtq_push(tx_ring(t, t->elem_ring[i]), t->elem[i].id, 0);
	t->elems = 0;
}

/* --- buffers of the guest ------------------------------------------------- */

/* A frame can get @len bytes at most: longer ones are not made any more */
static void never_fits(struct tap_vhost *t, size_t len)
{
	size_t max = len > t->vnet ? len - t->vnet : 0;

	if (max >= t->tap.caps.frame_max)
		return;
	log_limited(LOG_INFORM, "Guest's buffers take frames of %zu bytes", max);
	t->tap.caps.frame_max = max;
}

/* How many buffers the guest has provided */
static unsigned rx_left(struct tap_vhost *t)
{
	unsigned left = virtq_left(&t->user.q[VHOST_RX]);

	t->most = MAX(t->most, left);
	return left;
}

/* Wait for @n buffers, or, as the guest may have no more than these, for others
 * than those that are there */
static void wait_for(struct tap_vhost *t, unsigned n)
{
	struct virtq *q = &t->user.q[VHOST_RX];

	t->wanted = n;
	t->had = rx_left(t);
	t->had_at = q->next;
}

static bool has_room(struct tap_vhost *t)
{
	const struct virtq *q = &t->user.q[VHOST_RX];
	unsigned left = rx_left(t);

	return left >= t->wanted ||
	       (left && left >= t->had && q->next != t->had_at);
}

/* Pop up to @there buffers, until they have @most bytes */
static void pop(struct tap_vhost *t, struct vhost_room *r, unsigned there,
		size_t most)
{
	unsigned max = t->merge ? there : MIN(there, 1U);
	unsigned pieces = VHOST_PIECES - (unsigned)(r->iov - t->taken_iov);

	r->elems = r->iov_cnt = 0;
	r->len = 0;
	while (r->elems < max && r->len < most) {
		struct virtq_elem *e = &r->elem[r->elems];

		if (virtq_pop(&t->user.q[VHOST_RX], e, r->iov + r->iov_cnt,
			      pieces - r->iov_cnt, true) != 1)
			break;
		r->iov_cnt += e->iov_cnt;
		r->len += e->len;
		r->elems++;
		t->buffer_len = MAX(e->len, (size_t)1);
	}
}

/* Take buffers for a frame of @least to @most bytes; false if there are not
 * enough, and then none is taken.  Buffers that were promised to reserved slots
 * are left for these, unless the frame is of such a slot (@promised). */
static bool take(struct tap_vhost *t, size_t least, size_t most, bool promised)
{
	struct virtq *q = &t->user.q[VHOST_RX];
	struct vhost_room *r = &t->room[0];
	unsigned left = rx_left(t), keep = promised ? 0 : t->promised;
	unsigned there = left > keep ? left - keep : 0;

	r->elem = t->taken;
	r->iov = t->taken_iov;
	pop(t, r, there, most);
	if (!t->merge && r->elems)
		never_fits(t, r->len); /* all buffers have the same length */
	if (r->len >= least)
		return true;
	if (r->elems && virtq_ready(q) &&
	    (r->elems < there || r->elems == q->size))
		never_fits(t, r->len);
	virtq_rewind(q, r->elems);
	if (!promised)
		wait_for(t, there + 1);
	return false;
}

static void give_back(struct tap_vhost *t, const struct vhost_room *r)
{
	virtq_rewind(&t->user.q[VHOST_RX], r->elems);
}

/* Give the guest the first @len bytes of @r, which were filled.  Buffers that
 * were not needed are put back; nothing was taken behind them. */
static void hand_over(struct tap_vhost *t, const struct vhost_room *r,
		      size_t len)
{
	struct virtq *q = &t->user.q[VHOST_RX];
	unsigned i;

	if (UNLIKELY(q->log))
		virtq_wrote(q, r->iov, len);
	for (i = 0; len; i++) {
		size_t part = MIN(len, r->elem[i].len);

		virtq_push(q, r->elem[i].id, (uint32_t)part);
		len -= part;
	}
	assert(i == r->elems || t->runs <= 1);
	virtq_rewind(q, r->elems - i);
}

/* How many buffers hold the first @len bytes */
static unsigned buffers(const struct vhost_room *r, size_t len)
{
	size_t have = 0;
	unsigned n;

	for (n = 0; n < r->elems && have < len; n++)
		have += r->elem[n].len;
	return n;
}

/* Write the virtio-net header of a frame of @len bytes */
static void write_vnet(const struct tap_vhost *t, const struct vhost_room *r,
		       size_t len, const struct note *n)
{
	struct virtio_net_hdr_mrg_rxbuf h = {
		.hdr = note_put(n),
		.num_buffers = htole16((uint16_t)buffers(r, t->vnet + len)),
	};

	iov_write(r->iov, r->iov_cnt, 0, &h, t->vnet);
}

/* --- to the guest --------------------------------------------------------- */

/* Bytes that a frame takes in the ring, with its header and padding */
static size_t whole(const struct tap_vhost *t, size_t frame)
{
	return t->vnet + MAX(frame, (size_t)FRAME_MIN);
}

/* How many buffers a frame takes, if they are as long as the last one */
static unsigned estimate(const struct tap_vhost *t, size_t frame)
{
	size_t n = 1;

	if (t->merge && t->buffer_len)
		n = (whole(t, frame) + t->buffer_len - 1) / t->buffer_len;
	return (unsigned)MIN(n, (size_t)t->user.q[VHOST_RX].size);
}

/* There are fewer buffers than that estimate, @there: how many of these does
 * the frame take? More than there are, if they will not do. */
static unsigned look(struct tap_vhost *t, size_t frame, unsigned there)
{
	size_t len = whole(t, frame);

	/* A reserved run uses room[0] */
	if (!t->runs && there && take(t, len, len, false)) {
		give_back(t, &t->room[0]);
		return t->room[0].elems;
	}
	return MAX(estimate(t, frame), there + 1);
}

/* The longest frame as far as the guest's buffers have shown it; SIZE_MAX: they
 * have not */
static size_t frame_most(const struct tap_vhost *t)
{
	size_t max = t->tap.caps.frame_max;

	return max < FRAME_LONG ? max : SIZE_MAX;
}

/* The longest body of a frame: what the guest can never take is not promised,
 * nor waited for */
static size_t body_most(const struct tap_vhost *t, size_t head)
{
	size_t max = frame_most(t);

	return max > head ? MIN(max - head, (size_t)BODY_MAX)
			  : (size_t)BODY_MAX;
}

static void lay_out(struct tap_vhost *t, struct slot *s, size_t head,
		    size_t want, size_t mss, unsigned promised)
{
	uint8_t *body =
		t->tx + (size_t)t->slot_next * VHOST_STRIDE + VHOST_SLOT_HEAD;

	s->head = body - head;
	s->head_len = head;
	s->body = &t->body[t->slot_next];
	s->body_cnt = 1;
	s->room =
		MIN(want, mss ? MIN(mss, (size_t)BODY_MAX) : (size_t)BODY_MAX);
	s->body[0] = (struct iovec){ body, s->room };
	s->mss = mss;
	s->priv = body;
	s->priv_len = promised;
	t->slot_next++;
	t->slot_out++;
	t->promised += promised;
}

static unsigned reserve_here(struct tap_vhost *t, struct slot *s, unsigned n,
			     size_t head, size_t want, size_t mss)
{
	unsigned max = MIN(n, VHOST_SLOTS - t->slot_next), i;
	unsigned each = 0, left;
	size_t frame;

	if (!mss)
		want = MIN(want, body_most(t, head));
	frame = head + MIN(want, mss ? MIN(mss, (size_t)BODY_MAX) :
				       (size_t)BODY_MAX);
	if (t->tap.up && frame > frame_most(t)) {
		max = MIN(max, 1U); /* it never fits, and is lost at commit */
	} else if (t->tap.up) {
		each = estimate(t, frame);
		left = rx_left(t);
		left = left > t->promised ? left - t->promised : 0;
		if (left < each) {
			each = look(t, frame, left);
			max = MIN(max, 1U); /* it says nothing about other
					       frames */
		}
		if (left / each < max) {
			max = left / each;
			wait_for(t, each);
			t->tap.full = true;
		}
	}
	for (i = 0; i < max; i++)
		lay_out(t, &s[i], head, want, mss, each);
	return max;
}

/* Take buffers for one more frame of @most bytes, no less, as others may follow
 * it */
static bool take_next(struct tap_vhost *t, size_t most)
{
	struct vhost_room *r = &t->room[t->runs], *last = r - 1;
	unsigned left = rx_left(t), there;

	there = left > t->promised ? left - t->promised : 0;
	r->elem = last->elem + last->elems;
	r->iov = last->iov + last->iov_cnt;
	pop(t, r, MIN(there, VIRTQ_MAX - (unsigned)(r->elem - t->taken)), most);
	if (r->len >= most)
		return true;
	give_back(t, r);
	return false;
}

/* Make the buffers taken for the next run its slot */
static void lay_out_there(struct tap_vhost *t, struct slot *s, size_t head,
			  size_t want, size_t mss)
{
	const struct vhost_room *r = &t->room[t->runs];

	s->head = t->head[t->runs];
	s->head_len = head;
	s->body = t->body_iov + (r->iov - t->taken_iov);
	s->body_cnt = iov_slice(s->body, r->iov_cnt, r->iov, r->iov_cnt,
				t->vnet + head, want, &s->room);
	s->mss = mss;
	s->priv = NULL;
	s->priv_len = t->runs++;
}

static unsigned reserve_there(struct tap_vhost *t, struct slot *s, unsigned n,
			      size_t head, size_t want, size_t mss)
{
	size_t most;

	want = MIN(want, t->tap.caps.tso ? (size_t)BODY_MAX : mss);
	most = whole(t, head + want);
	n = MIN(n, (unsigned)VHOST_RUNS);
	if (!take(t, whole(t, head + MIN(want, mss)), most, false))
		return 0;
	do
		lay_out_there(t, s++, head, want, mss);
	while (t->runs < n && t->room[t->runs - 1].len >= most &&
	       take_next(t, most));
	return t->runs;
}

static unsigned vhost_reserve(struct tap *tap, struct slot *s, unsigned n,
			      size_t head, size_t want, size_t mss)
{
	struct tap_vhost *t = vhost(tap);
	unsigned got;

	if (tap->up && mss && want && n && !t->runs) {
		got = reserve_there(t, s, n, head, want, mss);
		if (got)
			return got;
		/* A frame that will never fit is not waited for, but lost at
		 * commit */
		if (head + MIN(want, mss) <= tap->caps.frame_max) {
			tap->full = true;
			return 0;
		}
	}
	return reserve_here(t, s, n, head, want, mss);
}

/* Finish the checksum if the guest does not accept unfinished ones; returns the
 * note that is left */
static struct note left_over(const struct tap_vhost *t, const struct iovec *iov,
			     unsigned cnt, size_t len, const struct note *n)
{
	static const struct note finished;

	if (t->csum || !(n->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM))
		return *n;
	segment_finish_iov(iov, cnt, len, n);
	return finished;
}

static void commit_there(struct tap_vhost *t, const struct slot *s, size_t used,
			 const struct note *n)
{
	static const uint8_t zero[FRAME_MIN];
	struct iovec iov[VHOST_PIECES + 1];
	size_t len = s->head_len + used, all = MAX(len, (size_t)FRAME_MIN);
	const struct vhost_room *r = &t->room[s->priv_len];
	unsigned cnt;
	struct note left;

	iov[0] = (struct iovec){ s->head, s->head_len };
	cnt = 1 + iov_slice(iov + 1, VHOST_PIECES, s->body, s->body_cnt, 0,
			    used, NULL);
	left = left_over(t, iov, cnt, len, n);
	tap_captured(&t->tap, true, iov, cnt, len, &left);
	write_vnet(t, r, all, &left);
	iov_write(r->iov, r->iov_cnt, t->vnet, s->head, s->head_len);
	iov_write(r->iov, r->iov_cnt, t->vnet + len, zero, all - len);
	hand_over(t, r, t->vnet + all);
	t->runs--;
}

/* Send a contiguous frame, padded.  It is lost if the guest's buffers are
 * shorter than they used to be. */
static void put(struct tap_vhost *t, uint8_t *frame, size_t len,
		const struct note *n)
{
	struct iovec one = { frame, len };
	size_t all = MAX(len, (size_t)FRAME_MIN);
	const struct vhost_room *r = &t->room[0];
	struct note left = left_over(t, &one, 1, len, n);

	/* A reserved run has the next buffers of the ring, and no frame may
	 * come in between */
	if (t->runs || !take(t, t->vnet + all, t->vnet + all, true)) {
		log_debug("Frame of %zu bytes lost: no buffers for it", len);
		t->tap.drops[DROP_NO_ROOM]++;
		tap_lost(&t->tap, DROP_NO_ROOM, &one, 1, len, &left);
		return;
	}
	tap_captured(&t->tap, true, &one, 1, len, &left);
	memset(frame + len, 0, all - len);
	write_vnet(t, r, all, &left);
	iov_write(r->iov, r->iov_cnt, t->vnet, frame, all);
	hand_over(t, r, t->vnet + all);
}

/* Whether the guest takes a run of this kind as one frame */
static bool takes(const struct tap_vhost *t, const struct note *n)
{
	switch (n->gso_type & ~VIRTIO_NET_HDR_GSO_ECN) {
	case VIRTIO_NET_HDR_GSO_NONE:
		return true;
	case VIRTIO_NET_HDR_GSO_UDP_L4:
		return t->tap.caps.uso;
	default:
		return t->tap.caps.tso;
	}
}

static void commit_here(struct tap_vhost *t, struct slot *s, size_t used,
			const struct note *n)
{
	static const struct note finished;
	size_t len = s->head_len + used, piece;
	unsigned i;

	t->promised -= (unsigned)s->priv_len;
	if (!t->tap.up) {
		tap_unsent(&t->tap, DROP_CONN, s, used, n);
	} else if (takes(t, n)) {
		put(t, s->head, len, n);
	} else {
		for (i = 0;
		     (piece = segment_split(t->split, s->head, len, n, i)); i++)
			put(t, t->split, piece, &finished);
	}
}

static void drop_slot(struct tap_vhost *t)
{
	if (!--t->slot_out)
		t->slot_next = 0;
}

static void vhost_commit(struct tap *tap, struct slot *s, size_t used,
			 const struct note *n)
{
	struct tap_vhost *t = vhost(tap);

	if (!s->priv) {
		commit_there(t, s, used, n);
		return;
	}
	commit_here(t, s, used, n);
	drop_slot(t);
}

static void vhost_cancel(struct tap *tap, struct slot *s)
{
	struct tap_vhost *t = vhost(tap);

	if (!s->priv) {
		give_back(t, &t->room[s->priv_len]);
		t->runs--;
		return;
	}
	t->promised -= (unsigned)s->priv_len;
	drop_slot(t);
}

/* --- the front-end -------------------------------------------------------- */

static bool has_both(const struct tap_vhost *t, unsigned a, unsigned b)
{
	return vhost_user_has(&t->user, a) && vhost_user_has(&t->user, b);
}

/* Find out what the guest's driver can do */
static void learn(struct tap_vhost *t)
{
	const struct vhost_user *v = &t->user;
	struct tap_caps *c = &t->tap.caps;

	t->merge = vhost_user_has(v, VIRTIO_NET_F_MRG_RXBUF);
	t->csum = vhost_user_has(v, VIRTIO_NET_F_GUEST_CSUM);
	t->vnet = t->merge || vhost_user_has(v, VIRTIO_F_VERSION_1)
			  ? VNET
			  : VNET_SHORT;
	c->tso = t->csum &&
		 has_both(t, VIRTIO_NET_F_GUEST_TSO4, VIRTIO_NET_F_GUEST_TSO6);
	c->uso = t->csum && has_both(t, NET_GUEST_USO4, NET_GUEST_USO6);
	c->frame_max = FRAME_LONG;
	c->tso_in = has_both(t, VIRTIO_NET_F_CSUM, VIRTIO_NET_F_HOST_TSO4);
	t->buffer_len = t->most = 0;
}

/* Start a pair: kicks for receive buffers are off until somebody waits for
 * room, and what the guest has sent already is looked at */
static void begin_pair(struct tap_vhost *t, unsigned pair)
{
	unsigned tx = tx_number(pair);

	if (!vhost_user_ring(&t->user, tx))
		return;
	t->kicks[pair] = true;
	(void)virtq_kicks(&t->user.q[tx - VHOST_TX + VHOST_RX], false);
	vhost_user_poke(&t->user, tx);
}

/* Follow changes of the other pairs, which come and go without a new session */
static void settle_pairs(struct tap_vhost *t)
{
	unsigned pair, n = (t->user.rings + 1) / VHOST_PAIR;

	if (!t->tap.up || (t->user.changes_more == t->changes_more &&
			   t->pairs == MAX(n, 1U)))
		return;
	t->changes_more = t->user.changes_more;
	t->pairs = MAX(n, 1U);
	for (pair = 1; pair < t->pairs; pair++)
		begin_pair(t, pair);
}

/* Follow changes of the first pair, whose rings may have started, stopped, or
 * stopped and started again */
static void settle_first(struct tap_vhost *t)
{
	bool up = vhost_user_runs(&t->user);

	if (up == t->tap.up && t->user.changes == t->changes)
		return;
	t->changes = t->user.changes;
	t->tap.up = up;
	t->tap.full = false;
	if (!up)
		return;
	learn(t);
	t->tap.session++;
	t->pairs = 1;
	begin_pair(t, 0);
	t->user.saved = false;
	if (t->user.state && t->user.state->runs)
		t->user.state->runs(t->user.state->owner);
}

/* QEMU tells which MAC address is to be announced to switches after a
 * migration.  We are none, but only this shows a guest that sends nothing. */
static void settle_guest(struct tap_vhost *t)
{
	if (mac_equal(&t->tap.guest, &t->user.guest))
		return;
	t->tap.guest = t->user.guest;
	t->tap.session++;
}

static void settle(struct tap_vhost *t)
{
	settle_first(t);
	settle_pairs(t);
	settle_guest(t);
}

/* While the front-end waits for an answer, watch it for nothing but its end */
static void listen(struct tap_vhost *t)
{
	bool deaf = t->user.waits;

	if (t->deaf != deaf && !loop_mod(t->tap.loop, t->user.fd, t->user_watch,
					 0, deaf ? 0 : EPOLLIN))
		t->deaf = deaf;
}

static void hang_up(struct tap_vhost *t)
{
	/* The guest's state was saved and is elsewhere.  But peers that send to
	 * its old place must not be refused there. */
	bool end = t->one_off && !t->user.saved;

	tap_stream_closed(t->user.why, end);
	vhost_user_stop(&t->user);
	t->deaf = false;
	settle(t);
	if (end)
		loop_leave(t->tap.loop, 0, false);
}

/* --- the end of a turn ----------------------------------------------------- */

/* All buffers that the guest has ever had at once are there, have been for a
 * while, and are not enough: it is not going to give more.  From now on frames
 * are no longer than what these hold. */
static void starved(void *owner, struct timer *timer)
{
	struct tap_vhost *t = owner;
	struct virtq *q = &t->user.q[VHOST_RX];
	unsigned left = rx_left(t);

	(void)timer;
	if (!t->tap.up || !t->tap.full || left < t->most ||
	    left != t->rest || q->next != t->rest_at)
		return;
	(void)take(t, 0, SIZE_MAX, false);
	never_fits(t, t->room[0].len);
	give_back(t, &t->room[0]);
	t->wanted = left;
	loop_soon(t->tap.loop);
}

static void be_patient(struct tap_vhost *t)
{
	const struct virtq *q = &t->user.q[VHOST_RX];
	unsigned left = rx_left(t);

	if (!left || left < t->most)
		timer_off(&t->patience);
	else if (!t->patience.due_ms || left != t->rest ||
		 q->next != t->rest_at)
		timer_set(&t->tap.loop->timers, &t->patience,
			  t->tap.loop->now_ms + VHOST_PATIENCE_MS);
	t->rest = left;
	t->rest_at = q->next;
}

/* Whether the guest still has too few buffers; if so, have it kick when it
 * gives some */
static bool is_full(struct tap_vhost *t)
{
	struct virtq *q = &t->user.q[VHOST_RX];

	if (!t->tap.up)
		return false;
	do
		if (has_room(t)) {
			(void)virtq_kicks(q, false);
			return false;
		}
	while (!virtq_kicks(q, true));
	return true;
}

static void vhost_flush(struct tap *tap)
{
	struct tap_vhost *t = vhost(tap);

	vhost_user_flush(&t->user);
	if (UNLIKELY(t->user.mem.torn)) {
		t->user.why = "its memory has become shorter";
		hang_up(t);
	}
	if (tap->full)
		tap->full = is_full(t);
	if (tap->full)
		be_patient(t);
}

/* Not while frames are lent or reserved, or the guest migrates: that comes to
 * an end */
static bool vhost_save(const struct tap *tap, struct wr *w,
		       struct fdlist *fds)
{
	const struct tap_vhost *t =
		(const struct tap_vhost *)(const void *)tap; /* its first */

	if (t->elems || t->slot_out || t->runs ||
	    !vhost_user_rests(&t->user))
		return false;
	wr_u8(w, t->one_off);
	wr_u8(w, t->user.fd >= 0);
	wr_be32(w, (uint32_t)t->tap.caps.frame_max);
	if (t->user.fd >= 0)
		vhost_user_save(&t->user, w, fds);
	wr_be32(w, t->most);
	wr_be32(w, (uint32_t)MIN(t->buffer_len, (size_t)UINT32_MAX));
	return true;
}

static bool vhost_unread(const struct tap *tap)
{
	const struct tap_vhost *t =
		(const struct tap_vhost *)(const void *)tap; /* its first */

	return virtq_unread(&t->user.q[VHOST_RX]);
}

static const struct tap_ops vhost_ops = {
	.receive = vhost_receive,
	.release = vhost_release,
	.reserve = vhost_reserve,
	.commit = vhost_commit,
	.cancel = vhost_cancel,
	.flush = vhost_flush,
	.unread = vhost_unread,
	.save = vhost_save,
};

static void user_event(void *owner, uint64_t ref, uint32_t events)
{
	struct tap_vhost *t = owner;

	(void)ref;
	if (vhost_user_read(&t->user) || (t->deaf && events & EPOLLHUP)) {
		hang_up(t);
		return;
	}
	settle(t);
	listen(t);
}

static void state_done(void *asker)
{
	struct tap_vhost *t = asker;

	if (vhost_user_answer(&t->user))
		hang_up(t);
	else
		listen(t);
}

/* The guest has provided buffers, which the end of the turn will look at */
static void rx_kick(void *owner, uint64_t ref, uint32_t events)
{
	(void)owner;
	(void)ref;
	(void)events;
}

static int greet(struct tap_vhost *t, int fd)
{
	int err = loop_add(t->tap.loop, fd, t->user_watch, 0, EPOLLIN);

	if (!err)
		vhost_user_start(&t->user, fd);
	return err;
}

static void accept_user(void *owner, uint64_t ref, uint32_t events)
{
	struct tap_vhost *t = owner;
	int fd, err;

	(void)ref;
	(void)events;
	/* The last one may have just gone */
	if (t->user.fd >= 0)
		user_event(t, 0, 0);
	fd = tap_stream_accept(&t->acceptor, t->user.fd >= 0);
	err = fd >= 0 ? greet(t, fd) : 0;
	if (err) {
		tap_stream_closed(util_error(-err), false);
		close(fd);
	}
}

int tap_vhost_init(struct tap_vhost *t, struct loop *l, struct pcap *pcap,
		   unsigned watch, bool one_off)
{
	unsigned kick[VHOST_PAIR];

	memset(t, 0, sizeof(*t));
	t->tap = (struct tap){
		.ops = &vhost_ops,
		.loop = l,
		.pcap = pcap,
		.caps = { .runs = true, .frame_max = FRAME_LONG },
		.watch = watch,
	};
	t->acceptor.fd = -1;
	t->pairs = 1;
	t->one_off = one_off;
	t->user_watch = loop_watch(l, user_event, t);
	timer_init(&t->patience, starved, t);
	kick[VHOST_TX] = watch;
	kick[VHOST_RX] = loop_watch(l, rx_kick, t);
	t->tx = util_map((size_t)VHOST_SLOTS * VHOST_STRIDE);
	t->bounce = util_map(VHOST_STRIDE);
	t->split = util_map(VHOST_STRIDE);
	if (!t->tx || !t->bounce || !t->split)
		return -ENOMEM;
	return vhost_user_init(&t->user, l, kick);
}

void tap_vhost_moves(struct tap_vhost *t, struct device_state *s)
{
	t->user.state = s;
	s->done = state_done;
	s->asker = t;
}

int tap_vhost_listen(struct tap_vhost *t, int fd)
{
	return acceptor_start(&t->acceptor, t->tap.loop, fd, accept_user, t);
}

int tap_vhost_guard(const struct tap_vhost *t, int fd)
{
	return vhost_user_guard(&t->user, fd);
}

int tap_vhost_adopt(struct tap_vhost *t, int fd)
{
	int err = tap_stream_check(fd);

	if (err)
		return err;
	t->one_off = true; /* there is no way to get another */
	return greet(t, fd);
}

/* --- from a predecessor ----------------------------------------------------- */

unsigned tap_vhost_save_rings(const struct tap_vhost *t, unsigned from,
			      struct wr *w, struct fdlist *fds)
{
	return vhost_user_save_rings(&t->user, from, w, fds);
}

/* Like settle(), except what the guest would notice */
static void go_on(struct tap_vhost *t)
{
	size_t frame_max = t->tap.caps.frame_max, buffer_len = t->buffer_len;
	struct vhost_user *v = &t->user;
	unsigned most = t->most;

	t->changes = v->changes;
	t->changes_more = v->changes_more;
	t->pairs = MAX((v->rings + 1) / VHOST_PAIR, 1U);
	t->tap.up = vhost_user_runs(v);
	t->tap.guest = v->guest;
	/* Its rings may be full, and then it has to kick: the end of the turn
	 * looks */
	t->tap.full = t->tap.up;
	t->wanted = 1;
	memset(t->kicks, true, sizeof(t->kicks));
	if (t->tap.up)
		learn(t);
	if (frame_max)
		t->tap.caps.frame_max = MIN(frame_max, (size_t)FRAME_LONG);
	t->most = most;
	t->buffer_len = buffer_len;
}

int tap_vhost_load(struct tap_vhost *t, struct rd *r, struct fdlist *fds)
{
	bool there;
	int err;

	t->one_off |= rd_u8(r) & 1;
	there = rd_u8(r) & 1;
	t->tap.caps.frame_max = rd_be32(r);
	err = there ? greet(t, fdlist_take(fds)) : 0;
	if (!err && there)
		err = vhost_user_load(&t->user, r, fds);
	if (!err && rd_left(r)) { /* older predecessors do not write it */
		t->most = rd_be32(r);
		t->buffer_len = rd_be32(r);
	}
	return err;
}

int tap_vhost_load_rings(struct tap_vhost *t, struct rd *r,
			 struct fdlist *fds)
{
	int err = vhost_user_load_rings(&t->user, r, fds);

	go_on(t);
	return err;
}
