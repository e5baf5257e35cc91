/* SPDX-License-Identifier: GPL-2.0-or-later */
/* unit: virtq vhost_bell vhost_mem loop timer util */
/* A front-end and its guest's driver, both of them made of the input's bytes.
 * What a session can't do is reach beyond the guest's memory, or leave a
 * descriptor open when it is over. */
#include "vhost_user.h"
#include "../quiet.h"

#include <linux/virtio_ring.h>

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
	HEAD = 12,
	MEM = 0x10000, /* of the guest */
	SMALL = 4096 + 512,
	FDS = VHOST_FDS + 1,
	OUT = 256,    /* chains taken and not given back, at most */
	TOUCH = 4096, /* bytes from either end of a piece */
	LEAK = 40,    /* descriptors that are looked at */
};

/* What there is to pass: by two bits of the input each */
enum { MEMFD, SMALL_MEMFD, EVENTFD, PIPE, KINDS };

/* --- the input ------------------------------------------------------------ */

static const uint8_t *in;
static size_t in_left;

static unsigned u8(void)
{
	if (!in_left)
		return 0;
	in_left--;
	return *in++;
}

static unsigned u16(void)
{
	unsigned low = u8();

	return low | u8() << 8;
}

/* --- the world ------------------------------------------------------------ */

static struct loop loop;
static struct vhost_user v;
static uint8_t *guest; /* MEMFD */
static int kind[KINDS], them;
static struct chain {
	unsigned ring;
	uint16_t id;
} out[OUT];
static unsigned out_n;
static volatile uint8_t sink;

static void on_kick(void *owner, uint64_t ref, uint32_t events)
{
	(void)ref;
	(void)events;
	++*(unsigned *)owner;
}

static int new_memfd(size_t size)
{
	int fd = memfd_create("fuzz", MFD_CLOEXEC);

	assert(fd >= 0 && !ftruncate(fd, (off_t)size));
	return fd;
}

/* A device whose state moves at once, or never */
static unsigned moves;

static int moves_begin(void *owner, enum device_state_way way, int fd)
{
	(void)owner;
	assert(way == DEVICE_SAVE || way == DEVICE_LOAD);
	assert(!vhost_user_runs(&v));
	close(fd);
	return moves++ % 4 ? 0 : -EBUSY;
}

static int moves_check(void *owner)
{
	(void)owner;
	return moves++ % 3 ? 0 : -EINPROGRESS;
}

static void moves_end(void *owner)
{
	(void)owner;
}

static struct device_state device = { .begin = moves_begin,
				      .check = moves_check,
				      .end = moves_end };

/* Once */
static void make_world(void)
{
	static unsigned kicks[VHOST_PAIR];
	unsigned watch[VHOST_PAIR], i;
	int fd[2];

	signal(SIGPIPE, SIG_IGN); /* as the daemon has it */
	assert(!loop_init(&loop));
	for (i = 0; i < VHOST_PAIR; i++)
		watch[i] = loop_watch(&loop, on_kick, &kicks[i]);
	assert(!vhost_user_init(&v, &loop, watch));
	v.state = &device;
	kind[MEMFD] = new_memfd(MEM);
	kind[SMALL_MEMFD] = new_memfd(SMALL);
	kind[EVENTFD] = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	assert(!pipe2(fd, O_NONBLOCK | O_CLOEXEC));
	kind[PIPE] = fd[1]; /* which is written to, and nobody reads */
	guest = mmap(NULL, MEM, PROT_READ | PROT_WRITE, MAP_SHARED, kind[MEMFD],
		     0);
	assert(guest != MAP_FAILED);
}

/* --- the front-end -------------------------------------------------------- */

struct text {
	struct {
		uint32_t request, flags, size;
		uint8_t payload[sizeof(((struct vhost_msg *)0)->u) + 8];
	} m;
	int fds[FDS];
	unsigned n;
};

static void send_part(struct text *t, size_t from, size_t to)
{
	union {
		char buf[CMSG_SPACE(FDS * sizeof(int))];
		struct cmsghdr align;
	} u;
	struct iovec iov = { (uint8_t *)&t->m + from, to - from };
	struct msghdr h = { .msg_iov = &iov, .msg_iovlen = 1 };
	struct cmsghdr *c;

	if (t->n) {
		h.msg_control = u.buf;
		h.msg_controllen = CMSG_SPACE(t->n * sizeof(int));
		c = CMSG_FIRSTHDR(&h);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(t->n * sizeof(int));
		memcpy(CMSG_DATA(c), t->fds, t->n * sizeof(int));
		t->n = 0;
	}
	(void)!sendmsg(them, &h, MSG_NOSIGNAL | MSG_DONTWAIT);
}

/* Every answer is a whole message, and as it should be */
static void hear(void)
{
	struct vhost_msg m;

	while (recv(them, &m, HEAD, MSG_DONTWAIT) == HEAD) {
		assert(m.flags == 5 && m.size == 8);
		assert(recv(them, &m.u, m.size, MSG_DONTWAIT) == 8);
	}
}

/* Request, flags, number of descriptors, their kinds, length, payload.  The
 * spare bits of the flags: 0x10 in two parts, 0x20 not read yet, 0x40 too long,
 * 0x80 the length is that of the text */
static bool say(void)
{
	static struct text t;
	unsigned flags, kinds = 0, i;
	size_t len, cut;

	t.m.request = u8();
	flags = u8();
	t.n = u8() % (FDS + 1);
	for (i = 0; i < t.n; i++) {
		kinds = i % 4 ? kinds >> 2 : u8();
		t.fds[i] = kind[kinds % KINDS];
	}
	len = u8() + (flags & 0x40 ? sizeof(t.m.payload) - 255 : 0);
	for (i = 0; i < len; i++)
		t.m.payload[i] = (uint8_t)u8();
	t.m.flags = flags & 0xf;
	t.m.size = (uint32_t)len + (flags & 0x80 ? u8() : 0);
	cut = flags & 0x10 ? u8() % (HEAD + len) : 0;
	if (cut) {
		send_part(&t, 0, cut);
		if (vhost_user_read(&v))
			return false;
	}
	send_part(&t, cut, HEAD + len);
	return flags & 0x20 || !vhost_user_read(&v);
}

/* --- the driver ----------------------------------------------------------- */

/* Anything anywhere */
static bool scribble(void)
{
	unsigned at = u16(), len = u8() % 64;

	while (len--)
		guest[at++ % MEM] = (uint8_t)u8();
	return true;
}

/* A descriptor where the ring's table is, and its number in the other ring */
static bool offer(void)
{
	unsigned which = u8(), id = u16();
	struct virtq *q = &v.q[which & 1];
	const struct vhost_mapped *r = &v.mem.r[which >> 2 & 1];
	struct vring_desc d;
	uint16_t idx;

	d.addr = r->gpa + u16();
	d.len = u16();
	d.flags = (uint16_t)u8();
	d.next = (uint16_t)u16();
	if (!q->used || !v.mem.n)
		return true;
	q->desc[id & (q->size - 1)] = d;
	if (!(which & 2)) {
		idx = q->avail->idx;
		q->avail->ring[idx & (q->size - 1)] = (uint16_t)id;
		q->avail->idx = (uint16_t)(idx + 1);
	}
	return true;
}

/* --- the device ----------------------------------------------------------- */

static void touch(const struct iovec *iov, bool write)
{
	volatile uint8_t *p = iov->iov_base;
	size_t i;

	for (i = 0; i < iov->iov_len; i++) {
		/* Not a second each, if it is the whole memory many times */
		if (i == TOUCH && iov->iov_len > 2 * TOUCH)
			i = iov->iov_len - TOUCH;
		if (write)
			p[i] = (uint8_t)(p[i] + 1);
		else
			sink = p[i];
	}
}

/* Pages are longer than regions: so ask, too */
static bool is_inside(const struct iovec *iov)
{
	const uint8_t *p = iov->iov_base;
	unsigned i;

	for (i = 0; i < v.mem.n; i++)
		if (p >= v.mem.r[i].at &&
		    p + iov->iov_len <= v.mem.r[i].at + v.mem.r[i].len)
			return iov->iov_len;
	return false;
}

static void check(const struct virtq_elem *e, const struct iovec *iov,
		  bool write)
{
	size_t len = 0;
	unsigned i;

	for (i = 0; i < e->iov_cnt; i++) {
		assert(is_inside(&iov[i]));
		len += iov[i].iov_len;
	}
	assert(len == e->len);
	for (i = 0; i < MIN(e->iov_cnt, 16U); i++)
		touch(&iov[i], write);
}

/* What is filled is marked where the log has a bit for it */
static void fill(const struct virtq *q, const struct iovec *iov, size_t len)
{
	struct vhost_log *l = q->log;
	uint64_t page;

	if (!l || !len)
		return;
	assert(l == &v.mem.log && l->bits);
	virtq_wrote(q, iov, len);
	page = vhost_mem_gpa(&v.mem, iov->iov_base) / 4096;
	if (page < l->pages)
		assert(l->bits[page / 8] & 1 << page % 8 || v.mem.torn);
}

static bool pop(void)
{
	static struct iovec iov[VIRTQ_MAX];
	unsigned how = u8(), ring = how & 1, max = how & 2 ? VIRTQ_MAX : how;
	struct virtq *q = &v.q[ring];
	struct virtq_elem e;
	int ret;

	if (!vhost_user_runs(&v) || out_n == OUT)
		return true;
	ret = virtq_pop(q, &e, iov, max, ring == VHOST_RX);
	assert(ret == 1 || ret == 0 || ret == -ENOBUFS);
	if (ret != 1)
		return true;
	assert(e.iov_cnt <= max);
	check(&e, iov, ring == VHOST_RX);
	if (ring == VHOST_RX)
		fill(q, iov, MIN(e.len, (size_t)how << 4));
	if (how & 4)
		virtq_rewind(q, 1);
	else
		out[out_n++] = (struct chain){ ring, e.id };
	return true;
}

static bool push(void)
{
	unsigned n = u8();

	while (out_n && n--) {
		out_n--;
		virtq_push(&v.q[out[out_n].ring], out[out_n].id, n);
	}
	return true;
}

static bool flush(void)
{
	unsigned how = u8();
	struct virtq *q = &v.q[how & 1];

	vhost_user_flush(&v);
	if (how & 32 && vhost_user_answer(&v))
		return false;
	if (!vhost_user_runs(&v))
		return true;
	if (how & 2)
		assert(virtq_left(q) <= q->size);
	if (how & 4)
		(void)virtq_kicks(q, how & 8);
	if (how & 16)
		vhost_user_poke(&v, how & 1);
	return true;
}

static bool turn(void)
{
	loop_soon(&loop);
	return loop_turn(&loop);
}

/* Memory that is taken away: zeroes, from then on */
static bool tear(void)
{
	assert(!ftruncate(kind[SMALL_MEMFD], (off_t)u8() * 16));
	return true;
}

/* --- a session ------------------------------------------------------------ */

/* Those with the lowest numbers: what is passed takes the next that is free */
static uint64_t open_fds(void)
{
	uint64_t set = 0;
	int i;

	for (i = 0; i < LEAK; i++)
		set |= (uint64_t)(fcntl(i, F_GETFD) >= 0) << i;
	return set;
}

static bool step(void)
{
	static bool (*const steps[])(void) = { say,   say, scribble, offer,
					       offer, pop, push,     flush };
	unsigned what = u8();

	if (what == 0xff)
		return turn();
	if (what == 0xfe)
		return tear();
	if (what % ARRAY_SIZE(steps) < 2) {
		/* Between bursts: no chain is out */
		out_n = 0;
	}
	return steps[what % ARRAY_SIZE(steps)]();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint64_t before;
	int fd[2];

	if (!guest)
		make_world();
	before = open_fds();
	in = data;
	in_left = size;
	out_n = moves = 0;
	memset(guest, 0, MEM);
	assert(!ftruncate(kind[SMALL_MEMFD], SMALL));
	assert(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd));
	them = fd[1];
	vhost_user_start(&v, fd[0]);
	while (in_left && step())
		hear();
	vhost_user_stop(&v);
	close(them);
	assert(!v.mem.n && !vhost_user_runs(&v));
	assert(open_fds() == before);
	return 0;
}
