/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Toy transport: a guest's link with little room and bad weather.
 *
 * What is committed waits for the flush, then in a short queue that the guest
 * drains at its own speed; a full queue, and now and then an empty one, refuses
 * a reserve.  Runs of segments are cut the obvious way and unfinished sums are
 * checked before they are finished.
 */
#include "sim.h"
#include "iov.h"

#include <linux/virtio_net.h>
#include <netinet/in.h>
#include <stdlib.h>

enum { BIG = 200000 }; /* longest packet of a run, where the kernel knows them */

struct tframe {
	struct tframe *next;
	struct toy_tap *tap;
	bool to_guest;
	struct frame f;
	struct iovec iov[4];
	struct note note;
	size_t len;
	uint8_t data[];
};

/* One slot's memory: head and body, with distance between pieces */
struct tslot {
	struct iovec body[64];
	uint8_t mem[];
};

static struct toy_tap *tap_of(struct tap *t)
{
	return container_of(t, struct toy_tap, tap);
}

static unsigned room(const struct toy_tap *t)
{
	unsigned used = t->queued + sim.slots_out;

	if (t->stuffed)
		return 0;
	return t->tap.caps.queue - MIN(t->tap.caps.queue, used);
}

static uint32_t poll_tap(struct toy *toy)
{
	struct toy_tap *t = container_of(toy, struct toy_tap, toy);

	return (t->in ? EPOLLIN : 0) | (room(t) ? EPOLLOUT : 0);
}

/* --- the wire ------------------------------------------------------------- */

static struct tframe *new_frame(struct toy_tap *t, const uint8_t *p,
				size_t len)
{
	struct tframe *f = calloc(1, sizeof(*f) + len);

	f->tap = t;
	f->len = len;
	memcpy(f->data, p, len);
	return f;
}

static void append(struct tframe ***end, struct tframe *f)
{
	f->next = NULL;
	**end = f;
	*end = &f->next;
}

static void arrive(void *arg)
{
	struct tframe *f = arg;
	struct toy_tap *t = f->tap;

	if (!t->tap.up) {
		free(f);
		return;
	}
	if (f->to_guest) {
		wire_trace('<', f->data, f->len);
		t->guest(f->data, f->len);
		free(f);
		return;
	}
	if (world.rings) {
		rings_send(f->data, f->len, &f->note);
		free(f);
		return;
	}
	append(&t->in_end, f);
	t->waiting++;
	toy_wake(&t->toy, EPOLLIN);
}

/* At most three in a row for each port: the product gives up after some */
static bool lost(struct toy_tap *t, const struct tframe *f, bool to_guest)
{
	unsigned at = f->len > 12 && f->data[12] == 8 ? 34 : 54, key = 0;

	if (f->len > at + 4)
		key = ld_be16(f->data + at + (to_guest ? 2 : 0)) % 64;
	if (t->drops_row[to_guest][key] < 3 && chance(t->w.loss[!to_guest])) {
		t->drops_row[to_guest][key]++;
		return true;
	}
	t->drops_row[to_guest][key] = 0;
	return false;
}

/* The tail of a burst finds no buffer */
static bool overrun(struct toy_tap *t)
{
	if (!t->w.card)
		return false;
	t->card_due = MAX(t->card_due, sim.now);
	if (t->card_due - sim.now >= t->w.card * t->w.card_ns)
		return true;
	t->card_due += t->w.card_ns;
	return false;
}

static void travel(struct toy_tap *t, struct tframe *f, bool to_guest)
{
	uint64_t ns = t->w.delay;

	f->to_guest = to_guest;
	if (chance(t->w.dup)) {
		struct tframe *g = new_frame(t, f->data, f->len);

		g->note = f->note;
		g->to_guest = to_guest;
		sim_after(ns + rnd_to(t->w.jitter + 1), arrive, g);
	}
	if ((to_guest && overrun(t)) || lost(t, f, to_guest)) {
		trace("%c (lost:)", to_guest ? '<' : '>');
		wire_trace(to_guest ? '<' : '>', f->data, f->len);
		free(f);
		return;
	}
	if (chance(t->w.reorder))
		ns += rnd_to(t->w.jitter + 1);
	sim_after(ns, arrive, f);
}

/* --- towards the guest ---------------------------------------------------- */

static void unstuff(void *arg)
{
	struct toy_tap *t = arg;

	t->stuffed = false;
	toy_wake(&t->toy, EPOLLOUT);
}

static void drain(void *arg)
{
	struct toy_tap *t = arg;
	struct tframe *f = t->queue;

	t->draining = f;
	if (!f)
		return;
	t->queue = f->next;
	if (!t->queue)
		t->queue_end = &t->queue;
	t->queued--;
	t->to_guest++;
	travel(t, f, true);
	sim_after(t->drain, drain, t);
	if (t->wants_room && t->queued <= t->tap.caps.queue / 2) {
		t->wants_room = false;
		toy_wake(&t->toy, EPOLLOUT);
	}
}

/* What an unfinished sum's field must hold: the pseudo-header of the run */
static uint16_t pseudo_sum(const uint8_t *p, int proto, size_t l4_len)
{
	bool v4 = p[12] == 8;
	struct addr src = v4 ? addr_from4(p + 26) : addr_from6(p + 22);
	struct addr dst = v4 ? addr_from4(p + 30) : addr_from6(p + 38);
	uint32_t sum;

	if (proto == IPPROTO_ICMP)
		return 0;
	sum = (uint16_t)~wire_sum(&src, &dst, proto, NULL, 0);
	sum += (uint32_t)l4_len;
	sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)((sum & 0xffff) + (sum >> 16));
}

/* Check the promise of an unfinished sum, then keep it */
static void finish(uint8_t *p, size_t len, uint16_t seed, uint16_t want,
		   const struct note *n)
{
	uint8_t *l4 = p + n->csum_start;
	bool v4 = p[12] == 8;
	struct addr src = v4 ? addr_from4(p + 26) : addr_from6(p + 22);
	struct addr dst = v4 ? addr_from4(p + 30) : addr_from6(p + 38);
	int proto = p[v4 ? 23 : 20];
	unsigned at = proto == IPPROTO_UDP ? 6 : proto == IPPROTO_TCP ? 16 : 2;
	uint16_t sum;

	if (n->csum_start != (v4 ? 34 : 54) || n->csum_offset != at)
		sim_fail("note: checksum at %u + %u", n->csum_start,
			 n->csum_offset);
	if (seed % 0xffff != want % 0xffff)
		sim_fail("note: seed of the checksum is %04x, not %04x", seed,
			 want);
	st_be16(l4 + at, 0);
	sum = wire_sum(&src, &dst, proto, l4, len - n->csum_start);
	if (!sum && proto == IPPROTO_UDP)
		sum = 0xffff;
	st_be16(l4 + at, sum);
}

static void fix_lengths(uint8_t *p, size_t len, size_t off, bool last)
{
	bool v4 = p[12] == 8;
	uint8_t *l4 = p + (v4 ? 34 : 54);
	uint64_t sum = 0;
	unsigned i;

	if (v4) {
		st_be16(p + 16, (uint16_t)(len - 14));
		st_be16(p + 24, 0);
		/* The head is that of the first one, which was looked at */
		if (off && len - 14 <= 1500 && p[23] == IPPROTO_UDP) {
			st_be16(p + 18, 0);
			st_be16(p + 20, 0x4000);
		}
		for (i = 14; i < 34; i += 2)
			sum += ld_be16(p + i);
		while (sum >> 16)
			sum = (sum & 0xffff) + (sum >> 16);
		st_be16(p + 24, (uint16_t)~sum);
	} else {
		st_be16(p + 18, (uint16_t)(len - 54));
	}
	if (p[v4 ? 23 : 20] == IPPROTO_UDP) {
		st_be16(l4 + 4, (uint16_t)(len - (size_t)(l4 - p)));
		return;
	}
	st_be32(l4 + 4, ld_be32(l4 + 4) + (uint32_t)off);
	if (!last)
		l4[13] &= (uint8_t)~(TCP_FIN | TCP_PSH);
}

/* What the length field of IPv4 cannot say is 0 */
static void check_length(const uint8_t *p, size_t len)
{
	size_t ip = len - 14;

	if (p[12] == 8 && p[13] == 0 && ld_be16(p + 16) != (ip > 65535 ? 0 : ip))
		sim_fail("length %u of %zu bytes", ld_be16(p + 16), ip);
}

/* One frame, or a run cut into segments of gso_size */
static void cut(struct toy_tap *t, const uint8_t *p, size_t head, size_t len,
		const struct note *n)
{
	size_t size = n->gso_type ? n->gso_size : len - head, off = 0;
	static uint8_t buf[FRAME_MAX + 256];

	check_length(p, len);
	do {
		size_t part = MIN(size, len - head - off);

		memcpy(buf, p, head);
		memcpy(buf + head, p + head + off, part);
		if (n->gso_type)
			fix_lengths(buf, head + part, off,
				    head + off + part == len);
		if (n->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM)
			finish(buf, head + part,
			       ld_be16(p + n->csum_start + n->csum_offset),
			       pseudo_sum(p, p[p[12] == 8 ? 23 : 20],
					  len - n->csum_start), n);
		append(&t->gathered_end, new_frame(t, buf, head + part));
		off += part;
	} while (off < len - head);
}

static void lay_out(struct toy_tap *t, struct slot *s, size_t head,
		    size_t want, size_t mss)
{
	size_t most = MIN(want, (want > UINT16_MAX ? (size_t)BIG : (size_t)FRAME_MAX) - head);
	size_t gap = head + 7;
	struct tslot *m;
	unsigned i = 0;

	if (mss && t->tap.caps.tso)
		most = MIN(most, MAX(t->tso_room, mss));
	else if (mss)
		most = MIN(most, mss * t->pieces);
	m = malloc(sizeof(*m) + head + most + 64 * gap);
	s->head = m->mem + 1; /* no alignment is promised */
	s->head_len = head;
	s->body = m->body;
	s->mss = mss;
	s->room = most;
	s->priv = m;
	if (mss && !t->tap.caps.tso) {
		size_t left = most;
		uint8_t *p = s->head + head;

		for (; left; i++, left -= m->body[i - 1].iov_len) {
			m->body[i] = (struct iovec){ p, MIN(left, mss) };
			p += m->body[i].iov_len + gap;
		}
	} else {
		m->body[i++] = (struct iovec){ s->head + head, most };
	}
	s->body_cnt = i;
}

static unsigned reserve(struct tap *tap, struct slot *s, unsigned n,
			size_t head, size_t want, size_t mss)
{
	struct toy_tap *t = tap_of(tap);
	unsigned i, have;

	if (!t->stuffed && chance(t->w.stuff)) {
		t->stuffed = true;
		sim_after(rnd_in(20 * US, 20 * MS), unstuff, t);
	}
	have = tap->up ? MIN(n, room(t)) : n;
	for (i = 0; i < have; i++)
		lay_out(t, &s[i], head, want, mss);
	sim.slots_out += have;
	if (have < n) {
		t->wants_room = tap->full = true;
		t->refusals += !have;
	}
	return have;
}

static void give_back(struct slot *s)
{
	free(s->priv);
	s->priv = NULL;
	if (!sim.slots_out--)
		sim_fail("more slots given back than reserved");
}

/* A link may have said while the slot was out that it takes them no more */
static size_t most_of(const struct toy_tap *t, const struct slot *s,
		      const struct note *n)
{
	if (!t->big || n->gso_type != VIRTIO_NET_HDR_GSO_TCPV4 || s->mss < 16384)
		return t->tap.caps.frame_max;
	return 14 + BIG;
}

static void commit(struct tap *tap, struct slot *s, size_t used,
		   const struct note *n)
{
	struct toy_tap *t = tap_of(tap);
	static uint8_t buf[BIG + 2 * FRAME_MAX];

	if (used > s->room)
		sim_fail("commit of %zu bytes into room for %zu", used,
			 s->room);
	if (s->mss && used > s->mss && (!n->gso_type || !n->gso_size))
		sim_fail("a run of %zu bytes without gso", used);
	if (n->gso_type && s->mss && n->gso_size != s->mss)
		sim_fail("gso_size %u, reserved with %zu", n->gso_size,
			 s->mss);
	if (s->head_len + used > most_of(t, s, n))
		sim_fail("frame of %zu bytes", s->head_len + used);
	memcpy(buf, s->head, s->head_len);
	iov_read(s->body, s->body_cnt, 0, buf + s->head_len, used);
	if (t->tap.up)
		cut(t, buf, s->head_len, s->head_len + used, n);
	give_back(s);
	sim.progress++;
}

static void cancel(struct tap *tap, struct slot *s)
{
	(void)tap;
	give_back(s);
}

/* rings.c's: what it took out of a ring goes the same way */
void toy_tap_deliver(struct toy_tap *t, const uint8_t *p, size_t head,
		     size_t len, const struct note *n)
{
	struct tframe *f;

	cut(t, p, head, len, n);
	while ((f = t->gathered)) {
		t->gathered = f->next;
		t->to_guest++;
		travel(t, f, true);
	}
	t->gathered_end = &t->gathered;
}

static void flush(struct tap *tap)
{
	struct toy_tap *t = tap_of(tap);
	struct tframe *f;

	while ((f = t->gathered)) {
		t->gathered = f->next;
		if (t->leaves)
			t->leaves(f->data, f->len);
		append(&t->queue_end, f);
		t->queued++;
	}
	t->gathered_end = &t->gathered;
	if (t->queue && !t->draining) {
		t->draining = true;
		sim_after(t->drain, drain, t);
	}
	if (room(t))
		tap->full = false;
	if (t->big)
		tap->caps.big4 = chance(950) ? BIG : 0;
}

/* --- from the guest ------------------------------------------------------- */

void toy_tap_send(struct toy_tap *t, const uint8_t *p, size_t len,
		  const struct note *n)
{
	struct tframe *f = new_frame(t, p, len);

	if (n)
		f->note = *n;
	wire_trace('>', p, len);
	t->from_guest++;
	travel(t, f, false);
}

/* Lent in up to four pieces, cut anywhere */
static void lend(struct tframe *f)
{
	size_t at = 0;
	unsigned n = 0;

	while (at < f->len) {
		size_t part = n == 3 || chance(600) ? f->len - at :
						      rnd_in(1, f->len - at);

		f->iov[n++] = (struct iovec){ f->data + at, part };
		at += part;
	}
	f->f = (struct frame){ .note = f->note, .iov = f->iov, .iov_cnt = n,
			       .len = f->len };
}

static unsigned receive(struct tap *tap, struct frame *out, unsigned max)
{
	struct toy_tap *t = tap_of(tap);
	struct tframe **end = &t->lent;
	unsigned n = 0;

	if (t->lent)
		sim_fail("receive before release");
	max = MIN(max, t->lend);
	while (n < max && t->in) {
		struct tframe *f = t->in;

		t->in = f->next;
		t->waiting--;
		lend(f);
		append(&end, f);
		out[n] = f->f;
		tap_captured(tap, false, out[n].iov, out[n].iov_cnt, f->len,
			     &f->note);
		n++;
		sim.progress++;
	}
	if (!t->in)
		t->in_end = &t->in;
	tap->drained = !t->in && n < max;
	return n;
}

static void release(struct tap *tap)
{
	struct toy_tap *t = tap_of(tap);
	struct tframe *f;

	while ((f = t->lent)) {
		t->lent = f->next;
		memset(f->data, 0xee, f->len); /* whoever still looks, sees */
		free(f);
	}
}

static bool unread(const struct tap *tap)
{
	return ((const struct toy_tap *)(const void *)tap)->unread;
}

static const struct tap_ops ops = {
	.receive = receive,
	.release = release,
	.reserve = reserve,
	.commit = commit,
	.cancel = cancel,
	.flush = flush,
	.unread = unread,
};

void toy_tap_up(struct toy_tap *t, bool up)
{
	t->tap.session += up && !t->tap.up;
	t->tap.up = up;
	toy_wake(&t->toy, 0);
}

void toy_tap_init(struct toy_tap *t, struct loop *l, unsigned watch)
{
	t->tap.ops = &ops;
	t->tap.loop = l;
	t->tap.watch = watch;
	t->tap.up = true;
	t->tap.session = 1;
	if (!t->tap.caps.frame_max)
		t->tap.caps.frame_max = FRAME_MAX;
	t->gathered_end = &t->gathered;
	t->queue_end = &t->queue;
	t->in_end = &t->in;
	if (world.rings)
		return;
	toy_open(&t->toy, poll_tap);
	loop_add(l, t->toy.fd, watch, 0,
		 EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET);
}

/* pcap.h: no capture */
void pcap_frame(struct pcap *p, bool out, const struct iovec *iov, unsigned cnt,
		size_t len, const struct note *n)
{
	(void)p;
	(void)out;
	(void)iov;
	(void)cnt;
	(void)len;
	(void)n;
}

void pcap_verdict(struct pcap *p, enum verdict v)
{
	(void)p;
	(void)v;
}

void pcap_lost(struct pcap *p, enum verdict v, const struct iovec *iov,
	       unsigned cnt, size_t len, const struct note *n)
{
	(void)v;
	pcap_frame(p, true, iov, cnt, len, n);
}

void pcap_release(struct pcap *p)
{
	(void)p;
}
