/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A vhost-user front-end and the driver behind it.  Frames go through the rings
 * with any notes beside them; and now and then one thing of what the back-end
 * relies on is wrong while all else goes on: what is in the rings, where they
 * are, how long, the memory that they lie in, eventfds, the dialogue.  Some
 * thousand frames later all of it is thrown away, and a new session begins.
 */
#include "../vhost.h"
#include "way.h"

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_config.h>
#include <linux/virtio_net.h>
#include <linux/virtio_ring.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#define BIT(n) ((uint64_t)1 << (n))

enum {
	RX, TX, QUEUES,
	ENTRIES_MAX = 256,
	CHAIN = 4, /* descriptors of one frame */
	VNET = sizeof(struct virtio_net_hdr_mrg_rxbuf),
	PAGE = 4096,
	RING_BYTES = 16 * PAGE,
	BUFFER = VNET + FRAME_MAX + 1, /* of each frame: also an indirect table */
	TABLE = (BUFFER + 15) & ~15,
	STRIDE = TABLE + 256,
	MEMORY = QUEUES * (RING_BYTES + ENTRIES_MAX / CHAIN * STRIDE),
	EPISODE = 2000, /* frames from what was spoilt to a new session */
	STUCK = 20,     /* times that nothing moved */
	REQUESTS = 46, /* a few more than there are */
};

static const uint64_t gpa = BIT(30);

struct ring {
	struct vring_desc *desc;
	struct vring_avail *avail;
	struct vring_used *used;
	uint8_t *buffers;
	uint16_t offered, taken;
	int kick, call;
	uint16_t idle[ENTRIES_MAX], idle_n; /* TX */
};

static int front = -1, memory_fd = -1;
static uint8_t *memory;
static uint64_t features;
static unsigned entries = ENTRIES_MAX;
static struct ring ring[QUEUES];
static bool gone;
static unsigned spoilt; /* so many frames are left of this session */
static bool untouchable; /* its memory's file is short */
static unsigned stuck;

static bool has(unsigned bit)
{
	return features >> bit & 1;
}

/* --- the dialogue ------------------------------------------------------------ */

static void tell(const struct msg *m, const int *fds, unsigned n)
{
	char control[CMSG_SPACE(8 * sizeof(int))] = { 0 };
	struct iovec iov = { (void *)m, MSG_HEAD + m->size };
	struct msghdr h = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (n) {
		struct cmsghdr *c = (void *)control;

		h.msg_control = control;
		h.msg_controllen = CMSG_SPACE(n * sizeof(int));
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(n * sizeof(int));
		memcpy(CMSG_DATA(c), fds, n * sizeof(int));
	}
	if (sendmsg(front, &h, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
		gone |= errno != EAGAIN;
}

static uint64_t ask(uint32_t request)
{
	struct msg m = { .request = request, .flags = MSG_VERSION };

	tell(&m, NULL, 0);
	if (recv(front, &m, 20, MSG_WAITALL) != 20)
		gone = true;
	return m.u.u64;
}

static void say(uint32_t request, uint64_t v, int fd)
{
	struct msg m = { .request = request, .flags = MSG_VERSION, .size = 8,
			 .u.u64 = v };

	tell(&m, &fd, fd >= 0);
}

static uint64_t state(uint32_t index, uint32_t v)
{
	return (uint64_t)v << 32 | index;
}

static void say_memory(void)
{
	struct msg m = { .request = SET_MEM_TABLE, .flags = MSG_VERSION,
			 .size = 40, .u.mem.n = 1 };

	m.u.mem.r[0].gpa = gpa;
	m.u.mem.r[0].size = MEMORY;
	m.u.mem.r[0].uva = (uintptr_t)memory;
	tell(&m, &memory_fd, 1);
}

static struct msg where(unsigned i)
{
	struct msg m = { .request = SET_VRING_ADDR, .flags = MSG_VERSION,
			 .size = 40 };

	m.u.addr.index = i;
	m.u.addr.desc = (uintptr_t)ring[i].desc;
	m.u.addr.used = (uintptr_t)ring[i].used;
	m.u.addr.avail = (uintptr_t)ring[i].avail;
	return m;
}

static void start(unsigned i)
{
	struct msg m = where(i);

	say(SET_VRING_NUM, state(i, entries), -1);
	say(SET_VRING_BASE, state(i, 0), -1);
	tell(&m, NULL, 0);
	say(SET_VRING_CALL, i, ring[i].call);
	say(SET_VRING_KICK, i, ring[i].kick);
	say(SET_VRING_ENABLE, state(i, 1), -1);
}

/* --- the driver --------------------------------------------------------------- */

static uint64_t guest_address(const void *p)
{
	return gpa + (uint64_t)((const uint8_t *)p - memory);
}

static uint8_t *buffer(const struct ring *r, unsigned id)
{
	return r->buffers + (size_t)(id / CHAIN) * STRIDE;
}

static void offer(struct ring *r, unsigned id)
{
	r->avail->ring[r->offered++ % entries] = (uint16_t)id;
}

static void publish(struct ring *r)
{
	if (r->avail->idx == r->offered)
		return;
	__atomic_store_n(&r->avail->idx, r->offered, __ATOMIC_RELEASE);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (!(r->used->flags & VRING_USED_F_NO_NOTIFY))
		(void)!eventfd_write(r->kick, 1);
}

/* A receive buffer is a page, or a frame's room in a chain */
static void describe_rx(struct ring *r, unsigned id)
{
	uint32_t most = has(VIRTIO_NET_F_MRG_RXBUF) ? PAGE : VNET + 1514;

	r->desc[id] = (struct vring_desc){ guest_address(buffer(r, id)), VNET,
		VRING_DESC_F_WRITE | VRING_DESC_F_NEXT, (uint16_t)(id + 1) };
	r->desc[id + 1] = (struct vring_desc){
		guest_address(buffer(r, id) + VNET), most - VNET,
		VRING_DESC_F_WRITE, 0 };
}

/* In one to four pieces, by a table or without */
static void describe_tx(struct ring *r, unsigned id, uint32_t len,
			struct frames *f)
{
	unsigned n = f ? 1 + frames_below(f, CHAIN) : 1, i;
	bool table = f && has(VIRTIO_RING_F_INDIRECT_DESC) &&
		     frames_below(f, 2);
	uint8_t *b = buffer(r, id);
	struct vring_desc *d = table ? (void *)(b + TABLE) : r->desc + id;
	uint32_t at = 0, part;

	for (i = 0; i < n; i++) {
		part = i + 1 == n ? len - at :
		       i ? (len - at) / 2 :
			   frames_below(f, 2) ? VNET : frames_below(f, len + 1);
		d[i] = (struct vring_desc){ guest_address(b + at), part,
			i + 1 < n ? VRING_DESC_F_NEXT : 0,
			(uint16_t)((table ? 0 : id) + i + 1) };
		at += part;
	}
	if (table)
		r->desc[id] = (struct vring_desc){ guest_address(d),
			n * (uint32_t)sizeof(*d), VRING_DESC_F_INDIRECT, 0 };
}

/* What the back-end says of an entry may be what we have spoilt */
static bool take(struct ring *r, struct vring_used_elem *e)
{
	if (__atomic_load_n(&r->used->idx, __ATOMIC_ACQUIRE) == r->taken)
		return false;
	*e = r->used->ring[r->taken++ % entries];
	return true;
}

static void lay_out(unsigned i)
{
	struct ring *r = &ring[i];
	uint8_t *at = memory + i * (MEMORY / QUEUES);
	unsigned id;

	if (r->kick >= 0 && r->buffers) {
		close(r->kick);
		close(r->call);
	}
	*r = (struct ring){ .desc = (void *)at, .avail = (void *)(at + 4 * PAGE),
			    .used = (void *)(at + 8 * PAGE),
			    .buffers = at + RING_BYTES };
	r->kick = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	r->call = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	for (id = 0; id < entries; id += CHAIN) {
		if (i == TX) {
			r->idle[r->idle_n++] = (uint16_t)id;
		} else {
			describe_rx(r, id);
			offer(r, id);
		}
	}
	publish(r);
}

static bool rings_open(const char *path, struct frames *f)
{
	uint64_t wanted = BIT(VIRTIO_F_VERSION_1) | BIT(F_PROTOCOL) |
			  (frames_random(f) & (BIT(VIRTIO_NET_F_CSUM) |
			   BIT(VIRTIO_NET_F_HOST_TSO4) |
			   BIT(VIRTIO_NET_F_HOST_TSO6) |
			   BIT(VIRTIO_NET_F_MRG_RXBUF) |
			   BIT(VIRTIO_RING_F_INDIRECT_DESC)));

	if (front >= 0)
		close(front);
	if (memory) {
		munmap(memory, MEMORY);
		close(memory_fd);
	}
	memory = NULL;
	gone = untouchable = false;
	spoilt = stuck = 0;
	front = unix_connect(path);
	if (front < 0)
		return false;
	memory_fd = memfd_create("guest", MFD_CLOEXEC);
	if (memory_fd < 0 || ftruncate(memory_fd, MEMORY))
		err(1, "memory");
	memory = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, MAP_SHARED,
		      memory_fd, 0);
	if (memory == MAP_FAILED)
		err(1, "memory");
	if (frames_below(f, 2))
		wanted |= BIT(F_HOST_USO);
	entries = ENTRIES_MAX >> frames_below(f, 3);
	features = ask(GET_FEATURES) & wanted;
	if (gone)
		return false;
	say(SET_PROTOCOL, 0, -1);
	tell(&(struct msg){ .request = SET_OWNER, .flags = MSG_VERSION },
	     NULL, 0);
	say(SET_FEATURES, features, -1);
	say_memory();
	lay_out(RX);
	lay_out(TX);
	start(RX);
	start(TX);
	return !gone;
}

static void reclaim(struct ring *r)
{
	struct vring_used_elem e;

	while (!untouchable && take(r, &e))
		if (e.id < entries && r->idle_n < entries / CHAIN)
			r->idle[r->idle_n++] = (uint16_t)(e.id / CHAIN * CHAIN);
}

static bool rings_room(void)
{
	if (!ring[TX].idle_n)
		reclaim(&ring[TX]);
	return !untouchable && !gone && ring[TX].idle_n;
}

static void any_note(struct frames *f, struct virtio_net_hdr *h, size_t len)
{
	static const uint8_t types[] = { 0, 1, 3, 4, 5, 0x81, 0x84, 77 };

	h->flags = (uint8_t)frames_below(f, 4);
	h->gso_type = types[frames_below(f, 8)];
	h->hdr_len = (uint16_t)frames_below(f, 100);
	h->gso_size = (uint16_t)(frames_below(f, 2) ? frames_below(f, 1600) :
						     frames_below(f, 65536));
	h->csum_start = (uint16_t)(frames_below(f, 2) ? 34 :
				   frames_below(f, (uint32_t)len + 20));
	h->csum_offset = (uint16_t)(frames_below(f, 2) ? 16 :
				    frames_below(f, 65536));
}

static void rings_send(const uint8_t *b, size_t len, struct frames *f)
{
	struct ring *r = &ring[TX];
	unsigned id = r->idle[--r->idle_n];
	struct virtio_net_hdr_mrg_rxbuf *h = (void *)buffer(r, id);

	memset(h, 0, sizeof(*h));
	if (f && !frames_below(f, 4))
		any_note(f, &h->hdr, len);
	memcpy(h + 1, b, len);
	describe_tx(r, id, (uint32_t)(VNET + len), f);
	offer(r, id);
	stuck = 0;
	if (f && spoilt && !--spoilt)
		gone = true;
}

static void rings_flush(void)
{
	if (!untouchable)
		publish(&ring[TX]);
}

static bool drained(void)
{
	char b[512];
	ssize_t n;

	while ((n = recv(front, b, sizeof(b), MSG_DONTWAIT)) > 0)
		;
	return n < 0 && errno == EAGAIN;
}

static ssize_t rings_receive(uint8_t *b)
{
	struct ring *r = &ring[RX];
	struct virtio_net_hdr_mrg_rxbuf *h;
	struct vring_used_elem e;
	unsigned n = 1, i;
	size_t len = 0, part;

	if (gone)
		return -1;
	for (i = 0; i < n && !untouchable; i++) {
		if (!take(r, &e))
			break;
		if (e.id >= entries)
			continue;
		h = (void *)buffer(r, e.id);
		if (!i && has(VIRTIO_NET_F_MRG_RXBUF))
			n = h->num_buffers < 64 ? h->num_buffers : 1;
		part = e.len < PAGE ? e.len : PAGE;
		part -= i || part < VNET ? 0 : VNET;
		if (len + part <= FRAME_MAX)
			memcpy(b + len, (uint8_t *)h + (i ? 0 : VNET), part);
		len += len + part <= FRAME_MAX ? part : 0;
		if (!spoilt)
			describe_rx(r, e.id / CHAIN * CHAIN);
		offer(r, e.id / CHAIN * CHAIN);
	}
	if (len) {
		publish(r);
		return (ssize_t)len;
	}
	return drained() ? 0 : -1;
}

/* Where nothing moves any more because of what was spoilt, that is enough */
static struct pollfd rings_poll(void)
{
	eventfd_t n;

	if (spoilt && ++stuck == STUCK)
		gone = true;
	(void)!eventfd_read(ring[TX].call, &n);
	(void)!eventfd_read(ring[RX].call, &n);
	return (struct pollfd){ ring[TX].call, POLLIN, 0 };
}

/* --- spoilt ------------------------------------------------------------------- */

static uint64_t some_place(struct frames *f)
{
	switch (frames_below(f, 6)) {
	case 0:
		return 0;
	case 1:
		return gpa + frames_below(f, MEMORY);
	case 2:
		return gpa + MEMORY - frames_below(f, 64);
	case 3:
		return (uintptr_t)memory + frames_below(f, MEMORY);
	case 4:
		return UINT64_MAX - frames_below(f, 70000);
	default:
		return (uint64_t)frames_random(f) << 32 | frames_random(f);
	}
}

static void words(struct frames *f, void *at, size_t size, unsigned n)
{
	uint16_t *b = at;

	while (n--)
		b[frames_below(f, (uint32_t)(size / 2))] =
			(uint16_t)frames_random(f);
}

static void spoil_desc(struct frames *f, struct ring *r)
{
	unsigned n;

	for (n = 0; n < 8; n++) {
		struct vring_desc *d = &r->desc[frames_below(f, entries)];

		switch (frames_below(f, 5)) {
		case 0:
			d->addr = some_place(f);
			break;
		case 1:
			d->len = frames_random(f) >> frames_below(f, 32);
			break;
		case 2:
			d->flags = (uint16_t)frames_below(f, 8);
			break;
		case 3: /* a ring in the ring */
			d->next = (uint16_t)(d - r->desc);
			d->flags |= VRING_DESC_F_NEXT;
			break;
		default:
			words(f, d, sizeof(*d), 3);
			break;
		}
	}
}

/* An end of a pipe, a file, nothing; an eventfd that is full */
static int some_fd(struct frames *f)
{
	int p[2], fd;

	switch (frames_below(f, 5)) {
	case 0:
		if (pipe2(p, O_CLOEXEC | O_NONBLOCK))
			err(1, "pipe");
		fd = frames_below(f, 2);
		close(p[!fd]);
		return p[fd];
	case 1:
		return dup(memory_fd);
	case 2:
		fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		(void)!eventfd_write(fd, UINT64_MAX - 1);
		return fd;
	case 3:
		return eventfd(0, EFD_CLOEXEC | EFD_SEMAPHORE);
	default:
		return open("/dev/null", O_RDWR | O_CLOEXEC);
	}
}

static void spoil_bells(struct frames *f, unsigned i)
{
	int fd = some_fd(f);

	say(frames_below(f, 2) ? SET_VRING_KICK : SET_VRING_CALL,
	    i | (frames_below(f, 4) ? 0 : 0x100), fd);
	close(fd);
}

static void spoil_memory(struct frames *f)
{
	unsigned n = 1 + frames_below(f, 8), i;
	struct msg m = { .request = SET_MEM_TABLE, .flags = MSG_VERSION,
			 .size = 8 + n * 32 };
	int fds[8];

	m.u.mem.n = frames_below(f, 8) ? n : frames_below(f, 20);
	for (i = 0; i < n; i++) {
		fds[i] = memory_fd;
		m.u.mem.r[i].gpa = i ? some_place(f) : gpa;
		m.u.mem.r[i].size = frames_below(f, 2) ? MEMORY :
				    frames_below(f, MEMORY);
		m.u.mem.r[i].uva = i ? some_place(f) : (uintptr_t)memory;
		m.u.mem.r[i].offset = frames_below(f, 4) ? 0 :
				      frames_random(f);
	}
	if (frames_below(f, 3)) {
		tell(&m, fds, n);
		return;
	}
	/* One, as by ADD_MEM_REG and REM_MEM_REG: padding, then a region */
	m.request = frames_below(f, 2) ? ADD_MEM_REG : REM_MEM_REG;
	m.size = 40;
	tell(&m, fds, frames_below(f, 2));
}

static void spoil_message(struct frames *f)
{
	struct msg m = { .request = frames_below(f, REQUESTS),
			 .flags = frames_below(f, 4) ? MSG_VERSION |
				  frames_below(f, 2) * 8 : frames_random(f),
			 .size = frames_below(f, 64) * 4 };
	int fds[8];
	unsigned n = frames_below(f, 3) ? 0 : frames_below(f, 4), i;

	words(f, m.u.bytes, 64, 16);
	if (frames_below(f, 2))
		m.u.state[0] = frames_below(f, 3);
	for (i = 0; i < n; i++)
		fds[i] = some_fd(f);
	tell(&m, fds, n);
	for (i = 0; i < n; i++)
		close(fds[i]);
}

static void spoil_place(struct frames *f, unsigned i)
{
	struct msg m = where(i);

	switch (frames_below(f, 4)) {
	case 0:
		m.u.addr.desc = some_place(f);
		break;
	case 1:
		m.u.addr.used = some_place(f);
		break;
	case 2:
		m.u.addr.avail = some_place(f);
		break;
	default: /* each in the other's place */
		m.u.addr.desc = (uintptr_t)ring[i].avail;
		m.u.addr.avail = (uintptr_t)ring[i].desc;
		break;
	}
	tell(&m, NULL, 0);
}

/* Less of it than was said; nothing of it is looked at by us from now on */
static void spoil_file(struct frames *f)
{
	(void)!ftruncate(memory_fd, frames_below(f, 2) ? 0 :
			 frames_below(f, MEMORY));
	untouchable = true;
	(void)!eventfd_write(ring[TX].kick, 1);
}

static void rings_spoil(struct frames *f)
{
	unsigned i = frames_below(f, QUEUES);
	struct ring *r = &ring[i];

	spoilt = 1 + frames_below(f, EPISODE);
	switch (frames_below(f, 15)) {
	case 0:
	case 1:
		spoil_desc(f, r);
		break;
	case 2:
		r->offered = (uint16_t)(r->offered + frames_below(f, 65536));
		break;
	case 3:
		words(f, r->avail, 4 + 2 * entries, 16);
		break;
	case 4:
		words(f, r->used, 4 + 8 * entries, 16);
		break;
	case 5:
		say(SET_VRING_NUM, state(i, frames_below(f, 2) ?
				   1U << frames_below(f, 16) :
				   frames_random(f) >> frames_below(f, 32)), -1);
		break;
	case 6:
		spoil_place(f, i);
		break;
	case 7:
		say(SET_VRING_BASE, state(i, frames_below(f, 1 << 17)), -1);
		break;
	case 8:
		spoil_memory(f);
		break;
	case 9:
		spoil_bells(f, i);
		break;
	case 10:
		say(GET_VRING_BASE, state(i, 0), -1);
		if (frames_below(f, 2))
			start(i);
		break;
	case 11:
		spoil_file(f);
		break;
	case 12:
		say(SET_FEATURES, features ^ frames_random(f), -1);
		break;
	case 13:
		spoil_message(f);
		break;
	default: /* both sides of the rings are written all the time */
		words(f, r->buffers, 64 * STRIDE, 10000);
		say(SET_VRING_ENABLE, state(i, frames_below(f, 2)), -1);
		break;
	}
}

const struct way rings = {
	"rings", rings_open, rings_room, rings_send, rings_flush,
	rings_receive, rings_poll, rings_spoil, 1 << 13,
};
