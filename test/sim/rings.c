/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The guest's link as vhost-user rings: a front-end and a driver.
 *
 * tap_vhost, vhost_user, virtq and vhost_mem are the real ones, on memory of a
 * file.  What they ask the kernel for besides (the front-end's socket, bells) is a
 * toy.  The driver is as lazy as Linux': it kicks when it is asked to, looks when it
 * is called, and takes its time.  What goes over the link is tap.c's weather again.
 */
#include "../vhost.h"
#include "sim.h"
#include "iov.h"
#include "tap_vhost.h"

#include <linux/virtio_config.h>
#include <linux/virtio_net.h>
#include <linux/virtio_ring.h>

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	PAIRS = 4,
	RINGS = PAIRS * VHOST_PAIR,
	MOST = 256,   /* entries of a ring */
	PIECES = 80,  /* of a chain: more than a flow takes */
	GUARD = 16,   /* bytes behind a piece that nobody is to write to */
	NEW = 0xa5,   /* what is in there */
	OLD = 0xee,   /* in what has been given back */
	OFFSET = 65536, /* of the memory in its file: pages of any machine */
	CONTROL = 0x4000, /* bytes of a ring's own, each */
	TABLE = PIECES * sizeof(struct vring_desc),
	LONG = 65536 + 64, /* room for any frame of the guest */
	REGIONS = 5,
};
#define GPA    0x80000000ULL
#define UVA    0x10000000000ULL
#define BIT(n) (1ULL << (n))

struct pending {
	struct pending *next;
	size_t len;
	struct note note;
	uint8_t data[];
};

struct bell {
	struct toy toy; /* first */
	struct ring *r;
	bool rung;
};

struct chain {
	unsigned n, descs;
	struct iovec at[PIECES];
	uint16_t desc[PIECES];
	size_t len;
	bool out;
};

struct ring {
	unsigned no, size;
	struct vring_desc *desc, *table;
	struct vring_avail *avail;
	struct vring_used *used;
	uint8_t *slab;
	size_t each; /* bytes of @slab for each entry */
	uint16_t idx, kicked, seen;
	uint16_t free[MOST];
	unsigned frees;
	struct chain chain[MOST];
	struct bell *kick, *call;
	bool due;     /* it will look */
	bool enabled;
	struct pending *in, **in_end;
	uint64_t full, longest; /* since when, and for how long it has been at most */
	unsigned waiting;
};

static struct {
	struct tap_vhost t;
	struct toy listener;
	struct line {
		struct line *next;
		struct vhost_msg m;
		size_t at;
		int fd[VHOST_FDS];
		unsigned fds;
	} *say, **say_end;
	struct front {
		struct toy toy; /* first */
		bool gone;
	} *front, *knocks;
	uint64_t features;
	bool protocol, slots; /* with protocol features; memory comes by the piece */
	unsigned pairs;
	size_t vnet;
	bool merge, event, indirect;
	size_t buf_lo, buf_hi; /* buffers to be filled */
	unsigned pieces; /* per mille of chains from the guest that have several */
	unsigned rx_pieces; /* of each one to it: as many buffers at any time */
	bool rx_indirect;
	uint64_t latency; /* ns until it looks, at most */
	uint64_t late; /* until it gives buffers back, 0: at once */
	unsigned batch; /* how many it looks at once */
	bool ordered; /* which it gives back in order */
	bool stuffed;
	bool runs;
	struct ring r[RINGS];
	int file;
	uint8_t *mem;
	size_t size;
	size_t split[REGIONS + 1]; /* where regions end */
	unsigned regions;
	unsigned toys;
	unsigned stopped; /* answers that rings stop, still to come */
	uint16_t base[RINGS];
	uint64_t done; /* as of the last turn */
} g;

static const struct toy_ops ops;

/* --- bells ------------------------------------------------------------------ */

static uint32_t poll_bell(struct toy *t)
{
	return container_of(t, struct bell, toy)->rung ? EPOLLIN : 0;
}

static struct bell *new_bell(struct ring *r)
{
	struct bell *b = calloc(1, sizeof(*b));

	b->r = r;
	b->toy.ops = &ops;
	toy_open(&b->toy, poll_bell);
	g.toys++;
	return b;
}

int vhost_bell_look(void)
{
	return 0; /* no toy bell waits */
}

int vhost_bell_check(int fd, bool on)
{
	(void)toy_get(fd);
	(void)on;
	return 0;
}

void vhost_bell_set(struct vhost_bell *b, int fd)
{
	struct bell *was;

	if (b->fd >= 0) {
		was = container_of(toy_get(b->fd), struct bell, toy);
		if (was->r->kick == was)
			was->r->kick = NULL;
		if (was->r->call == was)
			was->r->call = NULL;
		toy_close(&was->toy);
		g.toys--;
	}
	*b = (struct vhost_bell){ .fd = fd };
}

static void look_soon(struct ring *r);

void vhost_bell_ring(const struct vhost_bell *b, int look)
{
	struct bell *bell;

	(void)look;
	if (b->fd < 0)
		return;
	bell = container_of(toy_get(b->fd), struct bell, toy);
	bell->rung = true;
	toy_wake(&bell->toy, EPOLLIN);
	if (bell == bell->r->call)
		look_soon(bell->r);
}

void vhost_bell_rouse(const struct vhost_bell *b)
{
	(void)b;
}

/* --- rings ------------------------------------------------------------------ */

static bool is_rx(const struct ring *r)
{
	return r->no % VHOST_PAIR == VHOST_RX;
}

static uint16_t used_idx(const struct ring *r)
{
	return le16toh(r->used->idx);
}

static void want_calls(struct ring *r, bool on)
{
	uint16_t at = on ? r->seen : (uint16_t)(r->seen - 1);

	if (g.event)
		r->avail->ring[r->size] = htole16(at);
	else
		r->avail->flags = htole16(on ? 0 : VRING_AVAIL_F_NO_INTERRUPT);
}

static void kick(struct ring *r)
{
	uint16_t old = r->kicked, event;
	bool wanted;

	r->kicked = r->idx;
	if (old == r->idx)
		return;
	memcpy(&event, &r->used->ring[r->size], sizeof(event));
	wanted = g.event ? vring_need_event(le16toh(event), r->idx, old) :
			   !(le16toh(r->used->flags) & VRING_USED_F_NO_NOTIFY);
	if (!wanted || !r->kick)
		return;
	r->kick->rung = true;
	toy_wake(&r->kick->toy, EPOLLIN);
}

/* Pieces in their slab, with what nobody is to touch behind each */
static void cut_up(struct ring *r, unsigned id, size_t len, unsigned n)
{
	struct chain *c = &r->chain[id];
	uint8_t *p = r->slab + id * r->each;
	size_t part;

	c->n = 0;
	c->len = len;
	for (n = (unsigned)MIN(n, len); n; n--) {
		part = n == 1 ? len : rnd_in(1, MIN(2 * len / n, len - n + 1));
		c->at[c->n++] = (struct iovec){ p, part };
		memset(p + part, NEW, GUARD);
		p += part + GUARD;
		len -= part;
	}
}

static struct vring_desc descriptor(const struct ring *r, const struct chain *c,
				    unsigned i)
{
	return (struct vring_desc){
		.addr = htole64(GPA + (uint64_t)((uint8_t *)c->at[i].iov_base -
						 g.mem)),
		.len = htole32((uint32_t)c->at[i].iov_len),
		.flags = htole16((is_rx(r) ? VRING_DESC_F_WRITE : 0) |
				 (i + 1 < c->n ? VRING_DESC_F_NEXT : 0)),
	};
}

static void put_indirect(struct ring *r, unsigned id)
{
	struct chain *c = &r->chain[id];
	struct vring_desc *t = r->table + id * PIECES;
	unsigned i;

	for (i = 0; i < c->n; i++) {
		t[i] = descriptor(r, c, i);
		t[i].next = htole16((uint16_t)(i + 1));
	}
	r->desc[id] = (struct vring_desc){
		.addr = htole64(GPA + (uint64_t)((uint8_t *)t - g.mem)),
		.len = htole32((uint32_t)(c->n * sizeof(*t))),
		.flags = htole16(VRING_DESC_F_INDIRECT),
	};
	c->descs = 1;
}

static void put_direct(struct ring *r, unsigned id)
{
	struct chain *c = &r->chain[id];
	unsigned i;

	for (i = 1; i < c->n; i++)
		c->desc[i] = r->free[--r->frees];
	for (i = 0; i < c->n; i++) {
		r->desc[c->desc[i]] = descriptor(r, c, i);
		if (i + 1 < c->n)
			r->desc[c->desc[i]].next = htole16(c->desc[i + 1]);
	}
	c->descs = c->n;
}

/* A chain for @len bytes, as there is a descriptor at least; its number */
static unsigned begin_chain(struct ring *r, size_t len, bool *indirect)
{
	unsigned id = r->free[--r->frees], n = 1, most;

	r->chain[id].desc[0] = (uint16_t)id;
	if (is_rx(r))
		n = g.rx_pieces;
	else if (chance(g.pieces))
		n = chance(100) ? PIECES : (unsigned)rnd_in(1, 6);
	*indirect = is_rx(r) ? g.rx_indirect :
			       g.indirect && chance(n > 1 ? 800 : 300);
	most = *indirect ? PIECES : MIN(r->frees + 1, (unsigned)PIECES);
	cut_up(r, id, len, MIN(n, most));
	return id;
}

static void expose(struct ring *r, unsigned id, bool indirect)
{
	if (indirect)
		put_indirect(r, id);
	else
		put_direct(r, id);
	r->chain[id].out = true;
	r->avail->ring[r->idx % r->size] = htole16((uint16_t)id);
	__atomic_store_n(&r->avail->idx, htole16(++r->idx), __ATOMIC_RELEASE);
}

static void check_guards(const struct ring *r, const struct chain *c)
{
	unsigned i, k;

	for (i = 0; i < c->n; i++)
		for (k = 0; k < GUARD; k++)
			if (((uint8_t *)c->at[i].iov_base)[c->at[i].iov_len + k]
			    != NEW)
				sim_fail("ring %u: written to behind a buffer",
					 r->no);
}

/* The next that was used; its length.  -1: none */
static int take_used(struct ring *r, size_t *len)
{
	const struct vring_used_elem *u = &r->used->ring[r->seen % r->size];
	unsigned id = le32toh(u->id);

	if (used_idx(r) == r->seen)
		return -1;
	*len = le32toh(u->len);
	if (id >= r->size || !r->chain[id].out)
		sim_fail("ring %u: chain %u is not out", r->no, id);
	if (*len > r->chain[id].len)
		sim_fail("ring %u: %zu bytes of %zu", r->no, *len,
			 r->chain[id].len);
	r->seen++;
	r->chain[id].out = false;
	check_guards(r, &r->chain[id]);
	return (int)id;
}

/* Its descriptors are free; whoever still looks, sees */
static void free_chain(struct ring *r, unsigned id)
{
	struct chain *c = &r->chain[id];
	unsigned i;

	for (i = 0; i < c->n; i++)
		memset(c->at[i].iov_base, OLD, MIN(c->at[i].iov_len, 2048U));
	for (i = 0; i < c->descs; i++) {
		r->free[r->frees++] = i ? c->desc[i] : (uint16_t)id;
		if (!g.ordered) {
			unsigned k = (unsigned)rnd_to(r->frees);
			uint16_t was = r->free[k];

			r->free[k] = r->free[r->frees - 1];
			r->free[r->frees - 1] = was;
		}
	}
}

/* --- the driver: to the guest ------------------------------------------------- */

static void refill(struct ring *r)
{
	bool indirect;
	unsigned id;

	if (!g.runs || g.stuffed)
		return;
	while (r->frees >= (g.rx_indirect ? 1 : MIN(g.rx_pieces, r->size))) {
		id = begin_chain(r, rnd_in(g.buf_lo, g.buf_hi), &indirect);
		expose(r, id, indirect);
	}
	kick(r);
}

static void refill_late(void *arg)
{
	refill(arg);
}

static void unstuff(void *arg)
{
	unsigned i;

	(void)arg;
	g.stuffed = false;
	for (i = 0; i < g.pairs; i++)
		refill(&g.r[i * VHOST_PAIR + VHOST_RX]);
}

/* What padding has made longer */
static size_t trim(const uint8_t *p, size_t len)
{
	size_t real = len;

	if (len != FRAME_MIN)
		return len;
	if (ld_be16(p + 12) == 0x800)
		real = 14U + ld_be16(p + 16);
	else if (ld_be16(p + 12) == 0x86dd)
		real = 54U + ld_be16(p + 18);
	return MIN(real, len);
}

static void judge_header(const struct virtio_net_hdr_mrg_rxbuf *h, size_t len)
{
	bool csum = g.features & BIT(VIRTIO_NET_F_GUEST_CSUM);

	if (h->hdr.flags & ~VIRTIO_NET_HDR_F_NEEDS_CSUM ||
	    (h->hdr.flags && !csum))
		sim_fail("rings: flags are %#x", h->hdr.flags);
	if (h->hdr.gso_type &&
	    !(g.features & (h->hdr.gso_type == VIRTIO_NET_HDR_GSO_UDP_L4 ?
				    BIT(NET_GUEST_USO4) :
				    BIT(VIRTIO_NET_F_GUEST_TSO4))))
		sim_fail("rings: a run of type %#x", h->hdr.gso_type);
	if (h->hdr.gso_type && (!h->hdr.flags || !h->hdr.gso_size))
		sim_fail("rings: a run without a sum or a size");
	if (len < FRAME_MIN)
		sim_fail("rings: a frame of %zu bytes", len);
}

static void deliver(uint8_t *p, size_t len)
{
	struct virtio_net_hdr_mrg_rxbuf h = { 0 };
	size_t head;
	struct note n;

	memcpy(&h, p, g.vnet);
	p += g.vnet;
	len -= g.vnet;
	judge_header(&h, len);
	n = note_get(&h.hdr);
	len = trim(p, len);
	head = len;
	if (n.gso_type)
		head = (size_t)n.csum_start +
		       (n.csum_offset == 16 ? (p[n.csum_start + 12] >> 4) * 4U
					    : 8U);
	toy_tap_deliver(&world.tap, p, head, len, &n);
}

/* A frame, all of whose buffers must have been used at once */
static bool take_frame(struct ring *r)
{
	static uint8_t buf[LONG * 2];
	struct virtio_net_hdr_mrg_rxbuf h;
	unsigned n = 1, i;
	size_t len = 0, part;
	int id;

	for (i = 0; i < n; i++) {
		id = take_used(r, &part);
		if (id < 0 && !i)
			return false;
		if (id < 0)
			sim_fail("ring %u: %u buffers of %u", r->no, i, n);
		if ((!i && part < MIN(g.vnet, r->chain[id].len)) ||
		    len + part > sizeof(buf))
			sim_fail("ring %u: %zu bytes", r->no, part);
		iov_read(r->chain[id].at, r->chain[id].n, 0, buf + len, part);
		len += part;
		if (!i && g.vnet == sizeof(h)) {
			memcpy(&h, buf, sizeof(h));
			n = le16toh(h.num_buffers);
			if (!n || (n > 1 && !g.merge))
				sim_fail("ring %u: %u buffers", r->no, n);
		}
		if (i + 1 < n && part != r->chain[id].len)
			sim_fail("ring %u: a buffer in between is not full",
				 r->no);
		free_chain(r, (unsigned)id);
	}
	if (r->no >= VHOST_PAIR)
		sim_fail("ring %u: a frame", r->no);
	sim.progress++;
	deliver(buf, len);
	return true;
}

static void give_buffers(struct ring *r)
{
	if (!g.stuffed && chance(world.tap.w.stuff)) {
		g.stuffed = true;
		sim_after(rnd_in(20 * US, 20 * MS), unstuff, NULL);
	}
	if (g.late)
		sim_after(rnd_to(g.late), refill_late, r);
	else
		refill(r);
}

/* --- the driver: from the guest ----------------------------------------------- */

static void reclaim(struct ring *r)
{
	size_t len;
	int id;

	while ((id = take_used(r, &len)) >= 0) {
		if (len)
			sim_fail("ring %u: something was written", r->no);
		free_chain(r, (unsigned)id);
	}
}

static void put_frame(struct ring *r, const struct pending *f)
{
	struct virtio_net_hdr_mrg_rxbuf h = { .hdr = note_put(&f->note) };
	struct chain *c;
	bool indirect;
	unsigned id;

	id = begin_chain(r, g.vnet + f->len, &indirect);
	c = &r->chain[id];
	iov_write(c->at, c->n, 0, &h, g.vnet);
	iov_write(c->at, c->n, g.vnet, f->data, f->len);
	expose(r, id, indirect);
}

static void put_some(struct ring *r)
{
	struct pending *f;

	while (r->in && r->frees) {
		f = r->in;
		r->in = f->next;
		put_frame(r, f);
		free(f);
	}
	if (r->in)
		return;
	if (r->in_end != &r->in)
		r->longest = MAX(r->longest, sim.now - r->full);
	r->in_end = &r->in;
}

/* As long as there is room; then it wants to be called when there is some */
static void put_frames(struct ring *r)
{
	if (!g.runs || !r->enabled)
		return;
	do {
		want_calls(r, false);
		reclaim(r);
		put_some(r);
		kick(r);
		if (!r->in)
			return;
		want_calls(r, true);
	} while (used_idx(r) != r->seen);
}

void rings_send(const uint8_t *p, size_t len, const struct note *n)
{
	unsigned at = p[12] == 8 ? 34 : 54;
	unsigned pair = len > at + 1 ? p[at + 1] % g.pairs : 0;
	struct ring *r = &g.r[pair * VHOST_PAIR + VHOST_TX];
	struct pending *f = malloc(sizeof(*f) + len);

	if (!g.runs) { /* nobody's: the guest rests */
		free(f);
		return;
	}
	*f = (struct pending){ .len = len, .note = *n };
	memcpy(f->data, p, len);
	if (!r->in)
		r->full = sim.now;
	*r->in_end = f;
	r->in_end = &f->next;
	put_frames(r);
}

bool rings_wait(void)
{
	unsigned i;

	for (i = 0; i < ARRAY_SIZE(g.r); i++)
		if (g.runs && g.r[i].in)
			return true;
	return false;
}

uint64_t rings_waited(void)
{
	uint64_t longest = 0;
	unsigned i;

	for (i = 0; i < ARRAY_SIZE(g.r); i++)
		longest = MAX(longest, g.r[i].longest);
	return longest;
}

/* --- being called --------------------------------------------------------------- */

/* As NAPI: no calls while it looks */
static void look(void *arg)
{
	struct ring *r = arg;
	unsigned n;

	r->due = false;
	if (!g.runs)
		return;
	if (!is_rx(r)) {
		put_frames(r);
		return;
	}
	want_calls(r, false);
	for (n = 0; n < g.batch && take_frame(r); n++)
		;
	if (n)
		give_buffers(r);
	if (n == g.batch) {
		look_soon(r);
		return;
	}
	want_calls(r, true);
	if (used_idx(r) != r->seen)
		look_soon(r);
}

static void look_soon(struct ring *r)
{
	if (r->due)
		return;
	r->due = true;
	sim_after(rnd_to(g.latency + 1), look, r);
}

/* --- the front-end ---------------------------------------------------------------- */

static uint32_t poll_front(struct toy *t)
{
	bool gone = container_of(t, struct front, toy)->gone;

	return (g.say || gone ? EPOLLIN : 0) |
	       (gone ? EPOLLRDHUP | EPOLLHUP : 0);
}

static uint32_t poll_listener(struct toy *t)
{
	(void)t;
	return g.knocks ? EPOLLIN : 0;
}

static void say_fds(const struct vhost_msg *m, const int *fd, unsigned fds)
{
	struct line *l = calloc(1, sizeof(*l));

	l->m = *m;
	l->m.flags = 1;
	l->fds = fds;
	while (fds--)
		l->fd[fds] = fd[fds];
	*g.say_end = l;
	g.say_end = &l->next;
	toy_wake(&g.front->toy, EPOLLIN);
}

static void say(uint32_t request, uint64_t value)
{
	struct vhost_msg m = { .request = request, .size = sizeof(m.u.u64) };

	m.u.u64 = value;
	say_fds(&m, NULL, 0);
}

static void say_ring(uint32_t request, unsigned i, uint32_t n)
{
	struct vhost_msg m = { .request = request, .size = sizeof(m.u.state) };

	m.u.state.index = i;
	m.u.state.num = n;
	say_fds(&m, NULL, 0);
}

static void say_bell(uint32_t request, unsigned i, const struct bell *b)
{
	struct vhost_msg m = { .request = request, .size = sizeof(m.u.u64) };

	m.u.u64 = i;
	say_fds(&m, &b->toy.fd, 1);
}

static uint64_t user_address(const void *p)
{
	uint64_t off = (uint64_t)((const uint8_t *)p - g.mem);

	return UVA + off; /* all that asks lies in the first region */
}

static void say_memory(void)
{
	struct vhost_msg m = { .request = SET_MEM_TABLE };
	int fd[VHOST_FDS];
	size_t from = 0;
	unsigned i;

	for (i = 0; i < g.regions; i++, from = g.split[i - 1]) {
		struct vhost_region r = {
			.gpa = GPA + from, .size = g.split[i] - from,
			.uva = UVA + from + (uint64_t)i * 0x40000000,
			.offset = OFFSET + from,
		};
		struct vhost_msg one = { .request = ADD_MEM_REG,
					 .size = sizeof(one.u.one) };

		fd[i] = dup(g.file);
		one.u.one.r = r;
		if (g.slots)
			say_fds(&one, &fd[i], 1);
		else
			m.u.mem.r[i] = r;
	}
	m.u.mem.n = i;
	m.size = (uint32_t)(offsetof(struct vhost_msg, u.mem.r[i]) - MSG_HEAD);
	if (!g.slots)
		say_fds(&m, fd, i);
}

static void start_ring(struct ring *r)
{
	struct vhost_msg m = { .request = SET_VRING_ADDR,
			       .size = sizeof(m.u.addr) };

	m.u.addr.index = r->no;
	m.u.addr.desc = user_address(r->desc);
	m.u.addr.avail = user_address(r->avail);
	m.u.addr.used = user_address(r->used);
	say_ring(SET_VRING_NUM, r->no, r->size);
	say_ring(SET_VRING_BASE, r->no, g.base[r->no]);
	say_fds(&m, NULL, 0);
	r->kick = new_bell(r);
	r->call = new_bell(r);
	say_bell(SET_VRING_KICK, r->no, r->kick);
	say_bell(SET_VRING_CALL, r->no, r->call);
	r->enabled = true;
	if (g.protocol)
		say_ring(SET_VRING_ENABLE, r->no, 1);
}

static void start_rings(void)
{
	unsigned i;

	g.runs = true;
	for (i = 0; i < g.pairs * VHOST_PAIR; i++)
		start_ring(&g.r[i]);
	for (i = 0; i < g.pairs * VHOST_PAIR; i++) {
		struct ring *r = &g.r[i];

		want_calls(r, is_rx(r));
		if (is_rx(r))
			refill(r);
		look_soon(r);
	}
}

static void connect_front(void)
{
	struct front *f = calloc(1, sizeof(*f));

	g.front = g.knocks = f;
	g.say = NULL;
	g.say_end = &g.say;
	f->toy.ops = &ops;
	toy_open(&f->toy, poll_front);
	g.toys++;
	toy_wake(&g.listener, EPOLLIN);
	if (g.protocol)
		say(SET_PROTOCOL, BIT(PROTO_MQ) | BIT(PROTO_MEM_SLOTS));
	say(GET_FEATURES, 0);
	say(SET_OWNER, 0);
	say(SET_FEATURES, g.features);
	say_memory();
}

/* --- the toy kernel ------------------------------------------------------------------ */

static int take_front(struct toy *t)
{
	struct front *f = g.knocks;

	(void)t;
	g.knocks = NULL;
	return f ? f->toy.fd : -EAGAIN;
}

static void close_toy(struct toy *t)
{
	if (g.front && t == &g.front->toy)
		g.front = NULL;
	toy_close(t);
	g.toys--;
}

static void pass_fds(struct msghdr *h, const struct line *l)
{
	struct cmsghdr *c = CMSG_FIRSTHDR(h);

	h->msg_controllen = 0;
	if (!l->fds)
		return;
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(l->fds * sizeof(int));
	memcpy(CMSG_DATA(c), l->fd, l->fds * sizeof(int));
	h->msg_controllen = CMSG_SPACE(l->fds * sizeof(int));
}

/* In pieces now and then, as a stream is */
static ssize_t hear(struct toy *t, struct msghdr *h, int flags)
{
	struct line *l = g.say;
	size_t all, n;

	(void)flags;
	if (container_of(t, struct front, toy)->gone)
		return 0;
	if (!l)
		return -EAGAIN;
	all = MSG_HEAD + l->m.size;
	n = MIN(h->msg_iov->iov_len, all - l->at);
	if (chance(100))
		n = rnd_in(1, n);
	memcpy(h->msg_iov->iov_base, (uint8_t *)&l->m + l->at, n);
	h->msg_flags = 0;
	if (!l->at)
		pass_fds(h, l);
	else
		h->msg_controllen = 0;
	l->at += n;
	if (l->at < all)
		return (ssize_t)n;
	g.say = l->next;
	if (!g.say)
		g.say_end = &g.say;
	free(l);
	return (ssize_t)n;
}

/* Between two turns no chain is out: where a ring stops, all that was taken is used */
static void stopped(unsigned i, uint16_t base)
{
	const struct ring *r = &g.r[i];

	if (base != used_idx(r))
		sim_fail("ring %u stops at %u, %u were used", i, base,
			 used_idx(r));
	g.base[i] = base;
	g.stopped--;
}

static ssize_t answered(struct toy *t, const struct msghdr *h, int flags)
{
	size_t len = h->msg_iov->iov_len;
	struct vhost_msg m;

	(void)t;
	(void)flags;
	memcpy(&m, h->msg_iov->iov_base, MIN(len, sizeof(m)));
	if (m.request == GET_FEATURES && g.features & ~m.u.u64)
		sim_fail("features %#llx are not offered",
			 (unsigned long long)(g.features & ~m.u.u64));
	if (m.request == GET_VRING_BASE)
		stopped(m.u.state.index, (uint16_t)m.u.state.num);
	return (ssize_t)len;
}

static const struct toy_ops ops = { take_front, hear, answered, close_toy };

/* --- what happens to it ----------------------------------------------------------------- */

static void clear_ring(struct ring *r)
{
	unsigned i;

	memset(r->avail, 0, CONTROL / 4);
	memset(r->used, 0, CONTROL / 4);
	r->idx = r->kicked = r->seen = 0;
	r->frees = 0;
	for (i = r->size; i; i--)
		r->free[r->frees++] = (uint16_t)(i - 1);
	for (i = 0; i < r->size; i++)
		r->chain[i].out = false;
	g.base[r->no] = 0;
}

static void drop_pending(struct ring *r)
{
	struct pending *f;

	while ((f = r->in)) {
		r->in = f->next;
		free(f);
	}
	r->in_end = &r->in;
}

static void stop_rings(void)
{
	unsigned i;

	g.runs = false;
	for (i = 0; i < g.pairs * VHOST_PAIR; i++) {
		say_ring(GET_VRING_BASE, i, 0);
		g.stopped++;
	}
}

static void go_on(void *arg)
{
	(void)arg;
	if (g.stopped)
		sim_fail("%u rings do not stop", g.stopped);
	start_rings();
}

static void begin_anew(void *arg)
{
	unsigned i;

	for (i = 0; i < g.pairs * VHOST_PAIR; i++) {
		clear_ring(&g.r[i]);
		drop_pending(&g.r[i]);
	}
	g.stuffed = false;
	go_on(arg);
}

static void come_back(void *arg)
{
	unsigned i;

	if (g.front)
		sim_fail("the front-end's socket is still open");
	for (i = 0; i < g.pairs * VHOST_PAIR; i++)
		g.base[i] = used_idx(&g.r[i]);
	connect_front();
	go_on(arg);
}

static void enable(void *arg)
{
	struct ring *r = arg;

	if (!g.runs || !g.front)
		return;
	r->enabled = true;
	say_ring(SET_VRING_ENABLE, r->no, 1);
	put_frames(r);
}

/* A pair behind the first one rests for a while */
static void rest(void)
{
	struct ring *r = &g.r[rnd_in(1, g.pairs - 1) * VHOST_PAIR + VHOST_TX];

	r->enabled = false;
	say_ring(SET_VRING_ENABLE, r->no, 0);
	sim_after(rnd_to(100 * MS), enable, r);
}

void rings_event(void)
{
	uint64_t ns = rnd_in(1, 3000) * MS;

	if (!g.runs)
		return;
	switch (rnd_to(g.pairs > 1 && g.protocol ? 5 : 4)) {
	case 0:
		trace("  the rings stop, and go on");
		stop_rings();
		sim_after(ns, go_on, NULL);
		break;
	case 1:
		trace("  the driver begins anew");
		stop_rings();
		sim_after(ns, begin_anew, NULL);
		break;
	case 2:
		trace("  the front-end leaves, and comes back");
		g.runs = false;
		g.front->gone = true;
		toy_wake(&g.front->toy, 0);
		sim_after(ns, come_back, NULL);
		break;
	case 3:
		if (g.slots)
			break;
		trace("  the memory is told again");
		say_memory();
		break;
	default:
		trace("  a pair rests");
		rest();
	}
}

/* --- out of the seed ---------------------------------------------------------------------- */

static uint8_t *place(size_t *top, size_t len)
{
	uint8_t *p = g.mem + *top;

	*top += (len + 63) / 64 * 64;
	return p;
}

/* Rings and their tables first, so that these lie in one region */
static void lay_out(void)
{
	size_t top = 0, slabs, size = 0;
	unsigned i;

	for (i = 0; i < g.pairs * VHOST_PAIR; i++)
		size += CONTROL + g.r[i].size * (TABLE + g.r[i].each) + 256;
	g.size = size;
	g.file = memfd_create("guest", MFD_CLOEXEC);
	if (g.file < 0 || ftruncate(g.file, (off_t)(OFFSET + size)))
		sim_fail("no memory for a guest");
	g.mem = mmap(NULL, size, PROT_READ | PROT_WRITE,
		     MAP_SHARED | MAP_NORESERVE, g.file, OFFSET);
	if (g.mem == MAP_FAILED)
		sim_fail("no memory for a guest");
	for (i = 0; i < g.pairs * VHOST_PAIR; i++) {
		struct ring *r = &g.r[i];

		r->desc = (void *)place(&top, CONTROL / 2);
		r->avail = (void *)place(&top, CONTROL / 4);
		r->used = (void *)place(&top, CONTROL / 4);
		r->table = (void *)place(&top, r->size * TABLE);
	}
	slabs = top;
	for (i = 0; i < g.pairs * VHOST_PAIR; i++)
		g.r[i].slab = place(&top, g.r[i].size * g.r[i].each);
	g.regions = chance(500) ? 1 : (unsigned)rnd_in(2, REGIONS);
	for (i = 0; i + 1 < g.regions; i++)
		g.split[i] = i ? rnd_in(g.split[i - 1] + 1,
					g.split[i - 1] +
						(size - g.split[i - 1]) / 2) :
				 rnd_in(slabs, slabs + (size - slabs) / 2);
	g.split[i] = size;
}

static void choose_features(void)
{
	const struct tap_caps *c = &world.tap.tap.caps;

	g.protocol = chance(700);
	g.slots = g.protocol && chance(300);
	g.pairs = g.protocol && chance(400) ? (unsigned)rnd_in(2, PAIRS) : 1;
	g.merge = chance(700);
	g.event = chance(700);
	g.indirect = chance(500);
	g.features = BIT(VIRTIO_NET_F_CSUM) | BIT(VIRTIO_NET_F_HOST_TSO4) |
		     BIT(VIRTIO_NET_F_HOST_TSO6);
	if (chance(800))
		g.features |= BIT(VIRTIO_F_VERSION_1);
	if (g.merge)
		g.features |= BIT(VIRTIO_NET_F_MRG_RXBUF);
	if (g.event)
		g.features |= BIT(VIRTIO_RING_F_EVENT_IDX);
	if (g.indirect)
		g.features |= BIT(VIRTIO_RING_F_INDIRECT_DESC);
	if (g.protocol)
		g.features |= BIT(F_PROTOCOL);
	if (g.pairs > 1)
		g.features |= BIT(VIRTIO_NET_F_MQ) | BIT(VIRTIO_NET_F_CTRL_VQ);
	if (c->tso || chance(500))
		g.features |= BIT(VIRTIO_NET_F_GUEST_CSUM);
	if (c->tso)
		g.features |= BIT(VIRTIO_NET_F_GUEST_TSO4) |
			      BIT(VIRTIO_NET_F_GUEST_TSO6);
	if (c->uso)
		g.features |= BIT(NET_GUEST_USO4) | BIT(NET_GUEST_USO6);
	g.vnet = g.merge || g.features & BIT(VIRTIO_F_VERSION_1) ? 12 : 10;
}

/* Frames of the MTU find room, as a driver sees to: longer ones in several buffers
 * or, without these, in one that is long enough */
static void choose_buffers(void)
{
	size_t mtu = lan_mtu(&world.lan);
	bool runs = g.features & BIT(VIRTIO_NET_F_GUEST_TSO4);
	size_t frame = g.vnet + 14 + (runs ? 65535 : MAX(mtu, (size_t)1500));
	unsigned most = 0;

	if (!g.merge)
		g.buf_lo = g.buf_hi = frame;
	else if (chance(600))
		g.buf_lo = g.buf_hi = chance(500) ? 1526 : rnd_in(64, 5000);
	else
		g.buf_hi = rnd_in(g.buf_lo = rnd_in(20, 2000), 5000);
	while (1U << most < MOST && (1U << most) * g.buf_lo < frame)
		most++;
	g.r[VHOST_RX].size = 1U << rnd_in(MIN(MAX(most, 1U), 8U), 8);
	if (!g.merge)
		g.r[VHOST_RX].size = MIN(g.r[VHOST_RX].size, 32U);
	if (g.buf_lo * g.r[VHOST_RX].size < frame)
		g.buf_lo = g.buf_hi = 1526;
}

void rings_config(void)
{
	unsigned i;

	memset(&g, 0, sizeof(g));
	choose_features();
	choose_buffers();
	g.pieces = chance(500) ? (unsigned)rnd_to(1000) : 0;
	g.rx_pieces = chance(600) ? 1 : (unsigned)rnd_in(2, 5);
	g.rx_indirect = g.indirect && chance(500);
	g.latency = chance(300) ? 0 : rnd_in(US, chance(500) ? 50 * US : 2 * MS);
	g.late = chance(600) ? 0 : rnd_in(US, 5 * MS);
	g.batch = (unsigned)rnd_in(1, 64);
	g.ordered = chance(500);
	for (i = 0; i < g.pairs * VHOST_PAIR; i++) {
		struct ring *r = &g.r[i];

		r->no = i;
		if (is_rx(r))
			r->size = g.r[VHOST_RX].size;
		else
			r->size = 1U << rnd_in(1, 8);
		r->each = (is_rx(r) ? g.buf_hi : (size_t)LONG) +
			  (PIECES + 1) * (size_t)GUARD;
		r->in_end = &r->in;
	}
	lay_out();
	for (i = 0; i < g.pairs * VHOST_PAIR; i++)
		clear_ring(&g.r[i]);
	trace("rings: %u pairs of %u, features %#llx, buffers of %zu to %zu, "
	      "latency %llu us, late %llu us", g.pairs, g.r[VHOST_RX].size,
	      (unsigned long long)g.features, g.buf_lo, g.buf_hi,
	      (unsigned long long)g.latency / US,
	      (unsigned long long)g.late / US);
}

struct tap *rings_tap(void)
{
	return &g.t.tap;
}

static bool are_up(void)
{
	return g.t.tap.up;
}

void rings_start(struct loop *l, unsigned watch)
{
	if (tap_vhost_init(&g.t, l, NULL, watch, false))
		sim_fail("tap_vhost_init");
	g.listener.ops = &ops;
	toy_open(&g.listener, poll_listener);
	g.toys++;
	if (tap_vhost_listen(&g.t, g.listener.fd))
		sim_fail("tap_vhost_listen");
	connect_front();
	start_rings();
	world_run(sim.now + SEC, are_up);
	if (!g.t.tap.up)
		sim_fail("the rings do not begin to run");
}

/* What a turn must leave, and whether it did anything */
void rings_turn_end(void)
{
	const struct tap_vhost *t = &g.t;
	uint64_t done = t->tap.count.frames[0] + t->tap.count.frames[1];
	unsigned i;

	if (t->elems || t->slot_out || t->runs || t->promised)
		sim_fail("chains or slots kept over the end of a turn");
	for (i = 0; i < g.pairs * VHOST_PAIR; i++)
		if (g.r[i].enabled && t->user.q[i].broken)
			sim_fail("ring %u: %s", i, t->user.q[i].broken);
	sim.progress += done != g.done;
	g.done = done;
}

unsigned rings_toys(void)
{
	return g.toys;
}
