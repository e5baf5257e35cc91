/* SPDX-License-Identifier: GPL-2.0-or-later */
/* unit: virtq vhost_bell vhost_mem loop timer util */
/* A front-end of few words: each test says what is to be sent, looks at what
 * comes back, and must leave neither descriptors nor mappings behind. */
#include "vhost_user.h"
#include "../quiet.h"
#include "../vhost.h"

#include <linux/virtio_config.h>
#include <linux/virtio_net.h>
#include <linux/virtio_ring.h>

#include <dirent.h>
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

/* --- the two ends --------------------------------------------------------- */

enum {
	MEM = 0x20000, /* of the guest */
	RING = 16,     /* entries */
	/* in there, and as much further for the second ring */
	DESC = 0,
	AVAIL = 0x1000,
	USED = 0x2000,
	EACH = 0x4000,
	DATA = 0x10000,
};

#define BIT(n) (1ULL << (n))
#define GPA    0x80000000ULL
#define UVA    0x7f1200000000ULL

static struct loop loop;
static struct vhost_user v;
static int them = -1, memfd = -1;
static int kick[VHOST_PAIR], call[VHOST_PAIR], err[VHOST_PAIR];
static uint8_t *guest; /* @memfd */
static uint64_t features;
static unsigned fds_before, maps_before, kicks[VHOST_PAIR], ended;

static unsigned count_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	unsigned n = 0;

	assert_non_null(d);
	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

static unsigned count_maps(void)
{
	FILE *f = fopen("/proc/self/maps", "re");
	char line[512];
	unsigned n = 0;

	assert_non_null(f);
	while (fgets(line, sizeof(line), f))
		n += !!strstr(line, "memfd:vhost-unit");
	fclose(f);
	return n;
}

static void on_kick(void *owner, uint64_t ref, uint32_t events)
{
	assert_int_equal(ref, 0);
	assert_int_equal(events, EPOLLIN);
	++*(unsigned *)owner;
}

/* As the transport has it */
static void on_message(void *owner, uint64_t ref, uint32_t events)
{
	(void)owner;
	(void)ref;
	(void)events;
	if (!vhost_user_read(&v))
		return;
	vhost_user_stop(&v);
	ended++;
}

static void turn(void)
{
	loop_soon(&loop);
	assert_true(loop_turn(&loop));
}

static int new_memfd(size_t size)
{
	int fd = memfd_create("vhost-unit", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)size), 0);
	return fd;
}

static uint8_t *map_memfd(int fd)
{
	void *p = mmap(NULL, MEM, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	assert_true(p != MAP_FAILED);
	return p;
}

static int new_eventfd(void)
{
	int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);

	assert_true(fd >= 0);
	return fd;
}

static void connect_them(void)
{
	int fd[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd),
			 0);
	them = fd[1];
	vhost_user_start(&v, fd[0]);
}

static int set_up(void **state)
{
	unsigned watch[VHOST_PAIR], i;

	(void)state;
	fds_before = count_fds();
	maps_before = count_maps();
	assert_int_equal(loop_init(&loop), 0);
	for (i = 0; i < VHOST_PAIR; i++) {
		kicks[i] = 0;
		watch[i] = loop_watch(&loop, on_kick, &kicks[i]);
		kick[i] = new_eventfd();
		call[i] = new_eventfd();
		err[i] = new_eventfd();
	}
	memfd = new_memfd(MEM);
	guest = map_memfd(memfd);
	features = ended = 0;
	assert_int_equal(vhost_user_init(&v, &loop, watch), 0);
	connect_them();
	return 0;
}

static void close_ours(void)
{
	unsigned i;

	for (i = 0; i < VHOST_PAIR; i++) {
		close(kick[i]);
		close(call[i]);
		close(err[i]);
	}
	munmap(guest, MEM);
	close(memfd);
	close(them);
	close(loop.epfd);
	close(v.look);
}

static int tear_down(void **state)
{
	(void)state;
	vhost_user_stop(&v);
	assert_int_equal(v.fd, -1);
	assert_false(vhost_user_runs(&v));
	close_ours();
	assert_int_equal(count_fds(), fds_before);
	assert_int_equal(count_maps(), maps_before);
	return 0;
}

/* --- saying things -------------------------------------------------------- */

struct text {
	struct vhost_msg m;
	int fds[VHOST_FDS + 1];
	unsigned n; /* of @fds */
};

static struct text text(unsigned request, size_t size)
{
	return (struct text){ .m = { .request = request,
				     .flags = MSG_VERSION,
				     .size = (uint32_t)size } };
}

static struct text text_u64(unsigned request, uint64_t n)
{
	struct text t = text(request, sizeof(t.m.u.u64));

	t.m.u.u64 = n;
	return t;
}

static struct text text_state(unsigned request, unsigned i, unsigned n)
{
	struct text t = text(request, sizeof(t.m.u.state));

	t.m.u.state.index = i;
	t.m.u.state.num = n;
	return t;
}

static struct text text_fd(unsigned request, unsigned i, int fd)
{
	struct text t = text_u64(request, i | (fd < 0 ? NO_FD : 0));

	if (fd >= 0)
		t.fds[t.n++] = fd;
	return t;
}

static struct text text_addr(unsigned i)
{
	struct text t = text(SET_VRING_ADDR, sizeof(t.m.u.addr));

	t.m.u.addr.index = i;
	t.m.u.addr.desc = UVA + DESC + i * EACH;
	t.m.u.addr.avail = UVA + AVAIL + i * EACH;
	t.m.u.addr.used = UVA + USED + i * EACH;
	return t;
}

/* @n regions, all of one file */
static struct text text_mem(const struct vhost_region *r, unsigned n, int fd)
{
	struct text t = text(SET_MEM_TABLE, 8 + n * sizeof(*r));
	unsigned i;

	t.m.u.mem.n = n;
	for (i = 0; i < n; i++) {
		t.m.u.mem.r[i] = r[i];
		t.fds[t.n++] = fd;
	}
	return t;
}

static struct text text_reg(unsigned request, const struct vhost_region *r,
			    int fd)
{
	struct text t = text(request, sizeof(t.m.u.one));

	t.m.u.one.r = *r;
	if (fd >= 0)
		t.fds[t.n++] = fd;
	return t;
}

static struct text need_reply(struct text t)
{
	t.m.flags |= MSG_NEED_REPLY;
	return t;
}

static const struct vhost_region all = { GPA, MEM, UVA, 0 };

/* @len bytes from @at on, with @n descriptors */
static void send_part(const void *at, size_t len, const int *fds, unsigned n)
{
	union {
		char buf[CMSG_SPACE((VHOST_FDS + 1) * sizeof(int))];
		struct cmsghdr align;
	} u;
	struct iovec iov = { (void *)(uintptr_t)at, len };
	struct msghdr h = { .msg_iov = &iov, .msg_iovlen = 1 };
	struct cmsghdr *c;

	if (n) {
		h.msg_control = u.buf;
		h.msg_controllen = CMSG_SPACE(n * sizeof(int));
		c = CMSG_FIRSTHDR(&h);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(n * sizeof(int));
		memcpy(CMSG_DATA(c), fds, n * sizeof(int));
	}
	assert_int_equal(sendmsg(them, &h, MSG_NOSIGNAL), len);
}

static size_t whole(const struct text *t)
{
	return MSG_HEAD + t->m.size;
}

static int say(struct text t)
{
	send_part(&t.m, whole(&t), t.fds, t.n);
	return vhost_user_read(&v);
}

static void silence(void)
{
	char c;

	assert_int_equal(recv(them, &c, 1, MSG_DONTWAIT), -1);
	assert_int_equal(errno, EAGAIN);
}

/* An answer to @request of @size bytes is next */
static struct vhost_msg hear(unsigned request, size_t size)
{
	struct vhost_msg m;

	memset(&m, 0, sizeof(m));
	assert_int_equal(recv(them, &m, MSG_HEAD + size, MSG_DONTWAIT),
			 MSG_HEAD + size);
	assert_int_equal(m.request, request);
	assert_int_equal(m.flags, MSG_VERSION | MSG_REPLY);
	assert_int_equal(m.size, size);
	return m;
}

static uint64_t ask(unsigned request)
{
	assert_int_equal(say(text(request, 0)), 0);
	return hear(request, 8).u.u64;
}

static void done(struct text t)
{
	assert_int_equal(say(t), 0);
	silence();
}

/* What it said with MSG_NEED_REPLY was right, or not: the dialogue goes on */
static void acked(struct text t, unsigned verdict)
{
	assert_int_equal(say(need_reply(t)), 0);
	assert_int_equal(hear(t.m.request, 8).u.u64, verdict);
	silence();
}

/* Without, a mistake is the end */
static void fatal(struct text t, int error)
{
	assert_int_equal(say(t), error);
	silence();
	vhost_user_stop(&v);
	close(them);
	connect_them();
}

/* --- the way to running rings --------------------------------------------- */

static void negotiate(uint64_t but)
{
	features = ask(GET_FEATURES) & ~but;
	done(text_u64(SET_PROTOCOL, ask(GET_PROTOCOL)));
	done(text(SET_OWNER, 0));
	done(text_u64(SET_FEATURES, features));
}

static void give_memory(void)
{
	done(text_mem(&all, 1, memfd));
}

static void start_ring(unsigned i, unsigned base)
{
	done(text_state(SET_VRING_NUM, i, RING));
	done(text_state(SET_VRING_BASE, i, base));
	done(text_addr(i));
	done(text_fd(SET_VRING_KICK, i, kick[i]));
	done(text_fd(SET_VRING_CALL, i, call[i]));
	done(text_fd(SET_VRING_ERR, i, err[i]));
	done(text_state(SET_VRING_ENABLE, i, 1));
}

static void run(void)
{
	negotiate(BIT(VIRTIO_RING_F_EVENT_IDX));
	give_memory();
	start_ring(VHOST_RX, 0);
	assert_false(vhost_user_runs(&v));
	start_ring(VHOST_TX, 0);
	assert_true(vhost_user_runs(&v));
}

static uint64_t rung(int fd)
{
	uint64_t n = 0;

	return read(fd, &n, sizeof(n)) == sizeof(n) ? n : 0;
}

static void hush(void)
{
	unsigned i;

	for (i = 0; i < VHOST_PAIR; i++) {
		rung(kick[i]);
		rung(call[i]);
		rung(err[i]);
	}
}

static void ring_bell(int fd)
{
	uint64_t one = 1;

	assert_int_equal(write(fd, &one, sizeof(one)), sizeof(one));
}

/* The driver's part, in guest memory at @at: a chain of one descriptor */
static void offer_in(uint8_t *at, unsigned i, unsigned id, uint64_t gpa)
{
	struct vring_desc *d = (void *)(at + DESC + i * EACH);
	struct vring_avail *a = (void *)(at + AVAIL + i * EACH);
	uint16_t idx = le16toh(a->idx);

	d[id] = (struct vring_desc){
		.addr = htole64(gpa),
		.len = htole32(100),
		.flags = htole16(i == VHOST_RX ? VRING_DESC_F_WRITE : 0),
	};
	a->ring[idx % RING] = htole16((uint16_t)id);
	a->idx = htole16((uint16_t)(idx + 1));
}

static void offer(unsigned i, unsigned id)
{
	offer_in(guest, i, id, GPA + DATA + id * 0x100);
}

static uint16_t used_idx(unsigned i)
{
	struct vring_used *u = (void *)(guest + USED + i * EACH);

	return le16toh(u->idx);
}

/* Take chain @id; where it is for us */
static uint8_t *take(unsigned i, unsigned id)
{
	struct virtq_elem e;
	struct iovec iov[2];

	assert_int_equal(virtq_pop(&v.q[i], &e, iov, 2, i == VHOST_RX), 1);
	assert_int_equal(e.id, id);
	assert_int_equal(e.len, 100);
	assert_int_equal(e.iov_cnt, 1);
	return iov->iov_base;
}

static void nothing(unsigned i)
{
	struct virtq_elem e;
	struct iovec iov[2];

	assert_int_equal(virtq_pop(&v.q[i], &e, iov, 2, i == VHOST_RX), 0);
}

/* --- happy paths ---------------------------------------------------------- */

static void negotiation(void **state)
{
	static const unsigned need[] = {
		VIRTIO_NET_F_CSUM,
		VIRTIO_NET_F_GUEST_CSUM,
		VIRTIO_NET_F_GUEST_TSO4,
		VIRTIO_NET_F_GUEST_TSO6,
		VIRTIO_NET_F_HOST_TSO4,
		VIRTIO_NET_F_HOST_TSO6,
		VIRTIO_NET_F_MRG_RXBUF,
		VIRTIO_RING_F_INDIRECT_DESC,
		VIRTIO_RING_F_EVENT_IDX,
		VIRTIO_F_VERSION_1,
		F_LOG_ALL,
		F_PROTOCOL,
	};
	unsigned i, changes = v.changes;

	(void)state;
	negotiate(0);
	for (i = 0; i < ARRAY_SIZE(need); i++) {
		assert_true(features & BIT(need[i]));
		assert_true(vhost_user_has(&v, need[i]));
	}
	assert_false(vhost_user_has(&v, VIRTIO_NET_F_CTRL_VQ));
	assert_true(v.changes != changes);
	assert_true(v.protocol & BIT(PROTO_REPLY_ACK));
	assert_true(v.protocol & BIT(PROTO_MEM_SLOTS));
	assert_true(v.protocol & BIT(PROTO_LOG_SHMFD));
	assert_int_equal(ask(GET_QUEUE_NUM), VHOST_PAIRS);
	assert_int_equal(ask(GET_MEM_SLOTS), VHOST_REGIONS);
	done(text_u64(SEND_RARP, 0x563412005452));
	for (i = 0; i < VHOST_PAIR; i++) {
		assert_true(v.q[i].event_idx);
		assert_true(v.q[i].indirect);
	}
	done(text_u64(SET_FEATURES, BIT(F_PROTOCOL)));
	assert_false(v.q[0].event_idx || v.q[1].indirect);
}

static void not_offered(void **state)
{
	(void)state;
	fatal(text_u64(SET_FEATURES, BIT(VIRTIO_NET_F_CTRL_VQ)), -EINVAL);
	fatal(text_u64(SET_FEATURES, UINT64_MAX), -EINVAL);
	fatal(text_u64(SET_PROTOCOL, BIT(63)), -EINVAL);
	negotiate(0);
	acked(text_u64(SET_FEATURES, features | BIT(63)), 1);
	acked(text_u64(SET_PROTOCOL, BIT(PROTO_DEVICE_STATE)), 1);
	assert_int_equal(v.features, features);
}

/* Several queues are for those who handle the control queue themselves */
static void pairs_are_asked_for(void **state)
{
	uint64_t both = BIT(VIRTIO_NET_F_MQ) | BIT(VIRTIO_NET_F_CTRL_VQ);

	(void)state;
	assert_int_equal(ask(GET_FEATURES) & both, 0);
	done(text_u64(SET_PROTOCOL, ask(GET_PROTOCOL) & ~BIT(0)));
	assert_int_equal(ask(GET_FEATURES) & both, 0);
	done(text_u64(SET_PROTOCOL, BIT(0)));
	features = ask(GET_FEATURES);
	assert_int_equal(features & both, both);
	done(text_u64(SET_FEATURES, features));
	give_memory();
	start_ring(VHOST_RX, 0);
	start_ring(VHOST_TX, 0);
	assert_true(vhost_user_runs(&v));
	assert_false(vhost_user_ring(&v, VHOST_QUEUES - 1));
}

/* One thing after the other, and only all of them make it run */
static void running(void **state)
{
	struct text step[] = {
		text_mem(&all, 1, memfd),
		text_state(SET_VRING_NUM, 0, RING),
		text_state(SET_VRING_NUM, 1, RING),
		text_addr(0),
		text_addr(1),
		text_state(SET_VRING_ENABLE, 0, 1),
		text_state(SET_VRING_ENABLE, 1, 1),
		text_fd(SET_VRING_KICK, 0, kick[0]),
		text_fd(SET_VRING_KICK, 1, kick[1]),
	};
	unsigned i;

	(void)state;
	negotiate(0);
	for (i = 0; i < ARRAY_SIZE(step); i++) {
		assert_false(vhost_user_runs(&v));
		acked(step[i], 0);
	}
	assert_true(vhost_user_runs(&v)); /* nobody need be called */
	vhost_user_flush(&v);
	done(text_state(SET_VRING_ENABLE, 0, 0));
	assert_false(vhost_user_runs(&v));
	done(text_state(SET_VRING_ENABLE, 0, 1));
	assert_true(vhost_user_runs(&v));
}

/* Without VHOST_USER_F_PROTOCOL_FEATURES rings are enabled from the start */
static void enabled_from_start(void **state)
{
	unsigned i;

	(void)state;
	negotiate(BIT(F_PROTOCOL));
	give_memory();
	for (i = 0; i < VHOST_PAIR; i++) {
		assert_false(vhost_user_runs(&v));
		done(text_state(SET_VRING_NUM, i, RING));
		done(text_addr(i));
		done(text_fd(SET_VRING_KICK, i, kick[i]));
	}
	assert_true(vhost_user_runs(&v));
}

static void data(void **state)
{
	uint8_t *at;

	(void)state;
	run();
	hush();
	guest[DATA + 3 * 0x100 + 99] = 0x77;
	offer(VHOST_TX, 3);
	at = take(VHOST_TX, 3);
	assert_int_equal(at[99], 0x77);
	offer(VHOST_RX, 5);
	at = take(VHOST_RX, 5);
	at[1] = 0x55;
	assert_int_equal(guest[DATA + 5 * 0x100 + 1], 0x55);
	virtq_push(&v.q[VHOST_RX], 5, 2);
	vhost_user_flush(&v);
	assert_int_equal(rung(call[VHOST_RX]), 1);
	assert_int_equal(rung(call[VHOST_TX]), 0);
	assert_int_equal(used_idx(VHOST_RX), 1);
	assert_int_equal(used_idx(VHOST_TX), 0);
	virtq_push(&v.q[VHOST_TX], 3, 0);
	vhost_user_flush(&v);
	vhost_user_flush(&v);
	assert_int_equal(rung(call[VHOST_TX]), 1);
	assert_int_equal(rung(call[VHOST_RX]), 0);
	assert_int_equal(rung(err[VHOST_RX]), 0);
}

/* Each write is an event, though nobody reads */
static void kicked(void **state)
{
	unsigned i;

	(void)state;
	run();
	turn();
	assert_int_equal(kicks[VHOST_RX] + kicks[VHOST_TX], 0);
	for (i = 1; i < 4; i++) {
		ring_bell(kick[VHOST_TX]);
		turn();
		turn();
		assert_int_equal(kicks[VHOST_TX], i);
	}
	ring_bell(kick[VHOST_RX]);
	vhost_user_poke(&v, VHOST_TX);
	turn();
	assert_int_equal(kicks[VHOST_RX], 1);
	assert_int_equal(kicks[VHOST_TX], 4);
	/* One that was kicked before we had it */
	done(text_fd(SET_VRING_KICK, VHOST_RX, kick[VHOST_TX]));
	turn();
	assert_int_equal(kicks[VHOST_RX], 2);
	ring_bell(kick[VHOST_RX]);
	turn();
	assert_int_equal(kicks[VHOST_RX], 2); /* the old one is out */
}

/* Another call eventfd is told at once: of what the old one missed */
static void call_changes(void **state)
{
	(void)state;
	run();
	assert_int_equal(rung(call[VHOST_RX]), 1);
	done(text_fd(SET_VRING_CALL, VHOST_RX, -1));
	virtq_push(&v.q[VHOST_RX], 0, 0);
	vhost_user_flush(&v);
	assert_int_equal(rung(call[VHOST_RX]), 0);
	done(text_fd(SET_VRING_CALL, VHOST_RX, call[VHOST_TX]));
	assert_int_equal(rung(call[VHOST_TX]), 2);
	virtq_push(&v.q[VHOST_RX], 0, 0);
	vhost_user_flush(&v);
	assert_int_equal(rung(call[VHOST_TX]), 1);
	assert_int_equal(rung(call[VHOST_RX]), 0);
}

/* The guest's mistake is told once, and the other ring may go on */
static void broken(void **state)
{
	(void)state;
	run();
	hush();
	offer_in(guest, VHOST_TX, 0, GPA - 1);
	nothing(VHOST_TX);
	assert_false(vhost_user_runs(&v));
	vhost_user_flush(&v);
	vhost_user_flush(&v);
	assert_int_equal(rung(err[VHOST_TX]), 1);
	assert_int_equal(rung(err[VHOST_RX]), 0);
	offer(VHOST_RX, 1);
	take(VHOST_RX, 1);
	/* It is not mended by other memory, but by being set up again */
	give_memory();
	assert_false(vhost_user_runs(&v));
	assert_true(v.q[VHOST_TX].broken);
	assert_int_equal(say(text_state(GET_VRING_BASE, VHOST_TX, 0)), 0);
	assert_int_equal(hear(GET_VRING_BASE, 8).u.state.num, 0);
	offer(VHOST_TX, 2);
	start_ring(VHOST_TX, 1);
	assert_true(vhost_user_runs(&v));
	take(VHOST_TX, 2);
}

/* What was there is zero now, which the rings find odd or empty */
static void truncated(void **state)
{
	struct virtq_elem e;
	struct iovec iov[4];

	(void)state;
	assert_int_equal(vhost_mem_guard(&v.mem), 0); /* cmocka has its own */
	run();
	offer(VHOST_TX, 1);
	take(VHOST_TX, 1);
	assert_false(v.mem.torn);
	assert_int_equal(ftruncate(memfd, 0), 0);
	while (virtq_pop(&v.q[VHOST_TX], &e, iov, 4, false) == 1)
		virtq_push(&v.q[VHOST_TX], e.id, 0);
	vhost_user_flush(&v);
	assert_true(v.mem.torn);
	vhost_user_stop(&v);
	assert_false(v.mem.torn);
	close(them);
	connect_them();
	assert_int_equal(ftruncate(memfd, MEM), 0);
	run();
	offer(VHOST_TX, 1);
	take(VHOST_TX, 1);
	assert_false(v.mem.torn);
}

/* --- how it comes --------------------------------------------------------- */

/* In two parts, at each place; descriptors come with the first or the second */
static void split(void **state)
{
	struct text t = text_mem(&all, 1, memfd);
	unsigned before, late;
	size_t at;

	(void)state;
	before = count_fds();
	for (at = 1; at < whole(&t); at++)
		for (late = 0; late < 2; late++) {
			send_part(&t.m, at, t.fds, late ? 0 : t.n);
			assert_int_equal(vhost_user_read(&v), 0);
			assert_int_equal(v.mem.n, 0);
			send_part((uint8_t *)&t.m + at, whole(&t) - at, t.fds,
				  late ? t.n : 0);
			assert_int_equal(vhost_user_read(&v), 0);
			assert_int_equal(v.mem.n, 1);
			assert_int_equal(count_fds(), before + 1);
			done(text_mem(NULL, 0, -1));
			assert_int_equal(v.mem.n, 0);
			assert_int_equal(count_fds(), before);
		}
}

static void byte_by_byte(void **state)
{
	struct text t = text_mem(&all, 1, memfd);
	size_t at;

	(void)state;
	for (at = 0; at < whole(&t); at++) {
		assert_int_equal(v.mem.n, 0);
		send_part((uint8_t *)&t.m + at, 1, t.fds, !at);
		assert_int_equal(vhost_user_read(&v), 0);
	}
	assert_int_equal(v.mem.n, 1);
	/* The descriptors of one, each with a byte of its own */
	t = text_mem((struct vhost_region[]){ all, all, all }, 3, memfd);
	for (at = 0; at < whole(&t); at++)
		send_part((uint8_t *)&t.m + at, 1, t.fds, at % 50 == 7);
	assert_int_equal(vhost_user_read(&v), 0);
	assert_int_equal(v.mem.n, 3);
	assert_int_equal(v.fds_n, 0);
}

static size_t append(uint8_t *to, struct text t)
{
	memcpy(to, &t.m, whole(&t));
	return whole(&t);
}

static void many_in_one_write(void **state)
{
	uint8_t buf[4096];
	size_t len = 0;

	(void)state;
	len += append(buf + len, text(GET_FEATURES, 0));
	len += append(buf + len, text_u64(SET_FEATURES, BIT(F_PROTOCOL)));
	len += append(buf + len, text_state(SET_VRING_NUM, 0, 8));
	len += append(buf + len, text_state(SET_VRING_BASE, 0, 1234));
	len += append(buf + len, text_state(GET_VRING_BASE, 0, 0));
	len += append(buf + len, text(GET_PROTOCOL, 0));
	send_part(buf, len - 5, NULL, 0); /* the last one is not there yet */
	assert_int_equal(vhost_user_read(&v), 0);
	hear(GET_FEATURES, 8);
	assert_int_equal(hear(GET_VRING_BASE, 8).u.state.num, 1234);
	silence();
	send_part(buf + len - 5, 5, NULL, 0);
	assert_int_equal(vhost_user_read(&v), 0);
	hear(GET_PROTOCOL, 8);
	assert_int_equal(v.features, BIT(F_PROTOCOL));
	assert_int_equal(v.q[0].size, 8);
}

/* More than are served at once: what is left makes another event */
static void too_many_at_once(void **state)
{
	uint8_t buf[200 * MSG_HEAD];
	size_t len = 0;
	unsigned i, watch = loop_watch(&loop, on_message, NULL);

	(void)state;
	assert_int_equal(loop_add(&loop, v.fd, watch, 0, EPOLLIN), 0);
	for (i = 0; i < 200; i++)
		len += append(buf + len, text(GET_QUEUE_NUM, 0));
	send_part(buf, len, NULL, 0);
	for (i = 0; i < 10; i++)
		turn();
	for (i = 0; i < 200; i++)
		assert_int_equal(hear(GET_QUEUE_NUM, 8).u.u64,
			 VHOST_PAIRS);
	silence();
}

static void acks(void **state)
{
	(void)state;
	/* Not before it was agreed on */
	done(need_reply(text(SET_OWNER, 0)));
	fatal(need_reply(text_state(SET_VRING_NUM, VHOST_QUEUES, 8)), -EINVAL);
	/* From the message on that agrees on it, as User-mode Linux has it */
	acked(text_u64(SET_PROTOCOL, BIT(PROTO_REPLY_ACK)), 0);
	done(text_u64(SET_PROTOCOL, 0));
	negotiate(0);
	acked(text(SET_OWNER, 0), 0);
	acked(text_state(SET_VRING_NUM, VHOST_QUEUES, 8), 1);
	acked(text_state(SET_VRING_NUM, 1, 8), 0);
	acked(text(200, 0), 1);
	acked(text_state(GET_VRING_BASE, VHOST_QUEUES, 0), 1);
	/* The answer is acknowledgement enough */
	assert_int_equal(say(need_reply(text(GET_QUEUE_NUM, 0))), 0);
	assert_int_equal(hear(GET_QUEUE_NUM, 8).u.u64,
			 VHOST_PAIRS);
	silence();
	done(text(SET_OWNER, 0));
	fatal(text_state(SET_VRING_NUM, VHOST_QUEUES, 8), -EINVAL);
}

/* --- a front-end that errs ------------------------------------------------ */

/* Bytes of payload that each needs, and descriptors it may have */
static const struct {
	unsigned request, size, fds;
} needs[] = {
	{ GET_FEATURES, 0, 0 },    { SET_FEATURES, 8, 0 },
	{ SET_OWNER, 0, 0 },       { RESET_OWNER, 0, 0 },
	{ SET_MEM_TABLE, 8, 8 },   { SET_LOG_BASE, 16, 1 },
	{ SET_LOG_FD, 0, 1 },      { SET_VRING_NUM, 8, 0 },
	{ SET_VRING_ADDR, 40, 0 }, { SET_VRING_BASE, 8, 0 },
	{ GET_VRING_BASE, 8, 0 },  { SET_VRING_KICK, 8, 1 },
	{ SET_VRING_CALL, 8, 1 },  { SET_VRING_ERR, 8, 1 },
	{ GET_PROTOCOL, 0, 0 },    { SET_PROTOCOL, 8, 0 },
	{ GET_QUEUE_NUM, 0, 0 },   { SET_VRING_ENABLE, 8, 0 },
	{ SEND_RARP, 6, 0 },       { GET_MEM_SLOTS, 0, 0 },
	{ ADD_MEM_REG, 40, 1 },    { REM_MEM_REG, 40, 1 },
	{ SET_DEVICE_STATE_FD, 8, 1 },
};

static void bad_sizes(void **state)
{
	struct text t;
	unsigned i, size;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(needs); i++)
		for (size = 0; size < needs[i].size; size++) {
			t = text(needs[i].request, size);
			fatal(t, -EINVAL);
		}
	/* Fewer than it says there are */
	t = text_mem(&all, 1, memfd);
	for (t.m.size = 8; t.m.size < 40; t.m.size++)
		fatal(t, -EINVAL);
	t.m.size = 44; /* more is no matter */
	done(t);
	assert_int_equal(v.mem.n, 1);
}

static void too_many_fds(void **state)
{
	struct text t;
	unsigned i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(needs); i++) {
		t = text(needs[i].request, 40);
		while (t.n < MIN(needs[i].fds + 1, VHOST_FDS))
			t.fds[t.n++] = memfd;
		fatal(t, -EINVAL);
	}
	t = text_mem(&all, 1, memfd);
	while (t.n <= VHOST_FDS)
		t.fds[t.n++] = memfd;
	fatal(t, -EPROTO);
	/* Not at once */
	send_part(&t.m, 1, t.fds, 4);
	send_part((uint8_t *)&t.m + 1, 1, t.fds, 4);
	send_part((uint8_t *)&t.m + 2, 1, t.fds, 1);
	assert_int_equal(vhost_user_read(&v), -EPROTO);
	silence();
}

static void unknown(void **state)
{
	static const unsigned numbers[] = {
		0,  20,  21,  22,  23,  24,      25,        26,
		27, 28, 29, 30,  31,  32,  33,  34,      35,        39,
		40, 41, 64, 100, 255, 256, 257, 1 << 16, INT32_MAX, UINT32_MAX,
	};
	unsigned i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(numbers); i++)
		fatal(text(numbers[i], 0), -EOPNOTSUPP);
	negotiate(0);
	for (i = 0; i < ARRAY_SIZE(numbers); i++)
		acked(text_fd(numbers[i], 0, kick[0]), 1);
}

static void bad_headers(void **state)
{
	struct text t = text(GET_QUEUE_NUM, 0);
	unsigned version;

	(void)state;
	for (version = 0; version < 4; version++) {
		t.m.flags = version;
		if (version != MSG_VERSION)
			fatal(t, -EPROTO);
	}
	t = text(GET_QUEUE_NUM, sizeof(t.m.u)); /* all there is room for */
	assert_int_equal(say(t), 0);
	hear(GET_QUEUE_NUM, 8);
	/* The header alone is enough to refuse it */
	for (t.m.size++; t.m.size; t.m.size *= 2) {
		send_part(&t.m, MSG_HEAD, NULL, 0);
		assert_int_equal(vhost_user_read(&v), -EPROTO);
		vhost_user_stop(&v);
		close(them);
		connect_them();
	}
}

static void ends(void **state)
{
	struct text t = text_mem(&all, 1, memfd);
	size_t at;

	(void)state;
	for (at = 0; at < whole(&t); at++) {
		if (at)
			send_part(&t.m, at, t.fds, t.n);
		close(them);
		assert_int_equal(vhost_user_read(&v), -ECONNRESET);
		vhost_user_stop(&v);
		connect_them();
	}
	done(t); /* what was there is forgotten */
	assert_int_equal(v.mem.n, 1);
}

/* It is gone before it has its answer, or does not take any */
static void answers_unheard(void **state)
{
	struct text t = text(GET_FEATURES, 0);
	unsigned i;
	int ret = 0;

	(void)state;
	send_part(&t.m, whole(&t), NULL, 0);
	close(them);
	assert_int_equal(vhost_user_read(&v), -EPIPE);
	vhost_user_stop(&v);
	connect_them();
	for (i = 0; !ret && i < 100000; i++)
		ret = say(t);
	assert_int_equal(ret, -EAGAIN);
}

/* --- rings ---------------------------------------------------------------- */

static void bad_ring_index(void **state)
{
	static const unsigned indices[] = { VHOST_QUEUES, 255, 256, 257,
					    UINT32_MAX };
	unsigned i, k;
	struct text t;

	(void)state;
	negotiate(0);
	give_memory();
	for (i = 0; i < ARRAY_SIZE(indices); i++) {
		k = indices[i];
		acked(text_state(SET_VRING_NUM, k, 8), 1);
		acked(text_state(SET_VRING_BASE, k, 8), 1);
		acked(text_state(SET_VRING_ENABLE, k, 1), 1);
		acked(text_state(GET_VRING_BASE, k, 0), 1);
		t = text_addr(0);
		t.m.u.addr.index = k;
		acked(t, 1);
	}
	for (k = VHOST_QUEUES; k < 256; k++) {
		acked(text_fd(SET_VRING_KICK, k, kick[0]), 1);
		acked(text_fd(SET_VRING_CALL, k, call[0]), 1);
		acked(text_fd(SET_VRING_CALL, k, -1), 1);
		acked(text_fd(SET_VRING_ERR, k, err[0]), 1);
	}
}

static void bad_ring_size(void **state)
{
	static const unsigned sizes[] = {
		0,    3,       6,         7, VIRTQ_MAX - 1, VIRTQ_MAX + 1,
		2048, 1 << 31, UINT32_MAX
	};
	unsigned i;

	(void)state;
	negotiate(0);
	for (i = 0; i < ARRAY_SIZE(sizes); i++)
		acked(text_state(SET_VRING_NUM, 0, sizes[i]), 1);
	assert_int_equal(v.q[0].size, 0);
	for (i = 1; i <= VIRTQ_MAX; i *= 2) {
		acked(text_state(SET_VRING_NUM, 0, i), 0);
		assert_int_equal(v.q[0].size, i);
	}
}

static void bad_ring_state(void **state)
{
	(void)state;
	negotiate(0);
	acked(text_state(SET_VRING_BASE, 0, 65536), 1);
	acked(text_state(SET_VRING_BASE, 0, UINT32_MAX), 1);
	acked(text_state(SET_VRING_BASE, 0, 65535), 0);
	assert_int_equal(v.q[0].next, 65535);
	acked(text_state(SET_VRING_ENABLE, 0, 2), 1);
	acked(text_state(SET_VRING_ENABLE, 0, UINT32_MAX), 1);
	assert_false(v.ring[0].enabled);
	/* Nobody polls */
	acked(text_fd(SET_VRING_KICK, 0, -1), 1);
	/* There should be a descriptor */
	acked(text_u64(SET_VRING_KICK, 0), 1);
	acked(text_u64(SET_VRING_CALL, 0), 1);
	acked(text_u64(SET_VRING_ERR, 0), 1);
	/* Both one and none: none */
	acked((struct text){ .m = text_u64(SET_VRING_CALL, NO_FD).m,
			     .fds = { call[0] },
			     .n = 1 },
	      0);
	assert_int_equal(v.ring[0].call.fd, -1);
	acked(text_fd(SET_VRING_KICK, 0, memfd), 1); /* can't be watched */
}

static void bad_ring_address(void **state)
{
	struct text t = text_addr(0);

	(void)state;
	negotiate(0);
	acked(t, 1); /* no memory yet, no size */
	give_memory();
	acked(t, 1);
	acked(text_state(SET_VRING_NUM, 0, RING), 0);
	acked(t, 0);
	t.m.u.addr.desc += 8;
	acked(t, 1);
	t = text_addr(0);
	t.m.u.addr.avail++;
	acked(t, 1);
	t = text_addr(0);
	t.m.u.addr.used += 2;
	acked(t, 1);
	t = text_addr(0);
	t.m.u.addr.desc = GPA; /* it is the front-end's that is asked for */
	acked(t, 1);
	t.m.u.addr.desc = UVA + MEM - 16;
	acked(t, 1);
	t.m.u.addr.desc = UINT64_MAX - 15;
	acked(t, 1);
	assert_false(virtq_ready(&v.q[0]));
	acked(text_addr(0), 0);
	assert_true(virtq_ready(&v.q[0]));
}

/* It counts from when it is said, ring or no ring */
static void base_of_a_ring(void **state)
{
	(void)state;
	run();
	offer(VHOST_TX, 1);
	offer(VHOST_TX, 2);
	done(text_state(SET_VRING_BASE, VHOST_TX, 2));
	assert_true(vhost_user_runs(&v));
	nothing(VHOST_TX);
	done(text_state(SET_VRING_BASE, VHOST_TX, 1));
	take(VHOST_TX, 2);
	nothing(VHOST_TX);
	assert_false(v.q[VHOST_TX].broken);
}

/* A ring that is given another size must be placed again */
static void size_unplaces(void **state)
{
	(void)state;
	run();
	done(text_state(SET_VRING_NUM, 0, 1024));
	assert_false(vhost_user_runs(&v));
	give_memory();
	assert_false(vhost_user_runs(&v));
	done(text_state(SET_VRING_NUM, 0, RING));
	done(text_addr(0));
	assert_true(vhost_user_runs(&v));
}

static void stops(void **state)
{
	unsigned before = 0, i, changes;

	(void)state;
	run();
	for (i = 0; i < 3; i++) {
		offer(VHOST_TX, i);
		take(VHOST_TX, i);
		virtq_push(&v.q[VHOST_TX], (uint16_t)i, 0);
	}
	vhost_user_flush(&v);
	before = count_fds();
	changes = v.changes;
	assert_int_equal(say(text_state(GET_VRING_BASE, VHOST_TX, 99)), 0);
	assert_int_equal(hear(GET_VRING_BASE, 8).u.state.num, 3);
	assert_int_equal(count_fds(), before - 3);
	assert_true(v.changes != changes);
	assert_false(vhost_user_runs(&v));
	nothing(VHOST_TX);
	hush();
	ring_bell(kick[VHOST_TX]);
	vhost_user_flush(&v);
	vhost_user_poke(&v, VHOST_TX);
	turn();
	assert_int_equal(kicks[VHOST_TX], 0);
	assert_int_equal(rung(kick[VHOST_TX]), 1);
	give_memory(); /* does not place it */
	assert_false(virtq_ready(&v.q[VHOST_TX]));
	/* The other one goes on; and this one, where it was */
	offer(VHOST_RX, 1);
	take(VHOST_RX, 1);
	offer(VHOST_TX, 7);
	start_ring(VHOST_TX, 3);
	assert_true(vhost_user_runs(&v));
	take(VHOST_TX, 7);
	nothing(VHOST_TX);
	virtq_push(&v.q[VHOST_TX], 7, 0);
	vhost_user_flush(&v);
	assert_int_equal(used_idx(VHOST_TX), 4);
}

static void reset_owner(void **state)
{
	unsigned before;

	(void)state;
	before = count_fds();
	run();
	assert_int_equal(count_fds(), before + 7);
	done(text(RESET_OWNER, 0));
	assert_int_equal(count_fds(), before + 1); /* the memory's */
	assert_false(vhost_user_runs(&v));
	start_ring(VHOST_RX, 0);
	start_ring(VHOST_TX, 0);
	assert_true(vhost_user_runs(&v));
}

/* --- memory --------------------------------------------------------------- */

static void bad_regions(void **state)
{
	static const struct vhost_region bad[] = {
		{ GPA, 0, UVA, 0 },
		{ GPA, 0, UVA, 0x1000 },
		{ GPA, MEM + 1, UVA, 0 },
		{ GPA, MEM, UVA, 1 },
		{ GPA, 1, UVA, MEM },
		{ GPA, UINT64_MAX, UVA, 0 },
		{ GPA, MEM, UVA, UINT64_MAX },
		{ GPA, MEM, UVA, UINT64_MAX - MEM + 1 },
		{ GPA, UINT64_MAX - 0xfff, UVA, 0x1000 },
		{ GPA, UINT64_MAX - 0xfff, UVA, 0x2000 },
		{ UINT64_MAX, MEM, UVA, 0 },
		{ UINT64_MAX - MEM + 1, MEM, UVA, 0 },
		{ GPA, MEM, UINT64_MAX, 0 },
		{ GPA, MEM, UINT64_MAX - MEM + 1, 0 },
	};
	unsigned i;

	(void)state;
	negotiate(0);
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		struct vhost_region two[] = { all, bad[i] };

		acked(text_mem(&bad[i], 1, memfd), 1);
		assert_int_equal(v.mem.n, 0);
		acked(text_reg(ADD_MEM_REG, &bad[i], memfd), 1);
		assert_int_equal(v.mem.n, 0);
		acked(text_mem(two, 2, memfd), 1);
		assert_int_equal(v.mem.n, 1);
		done(text_mem(NULL, 0, -1));
	}
}

static void bad_tables(void **state)
{
	struct vhost_region r[VHOST_FDS];
	struct text t;
	unsigned i;
	int fd[2];

	(void)state;
	for (i = 0; i < VHOST_FDS; i++)
		r[i] = all;
	negotiate(0);
	acked(text_mem(r, VHOST_FDS, memfd), 0);
	assert_int_equal(v.mem.n, VHOST_FDS);
	/* Nothing is lost by what can't be understood */
	for (t = text_mem(r, 8, memfd), t.m.u.mem.n = 0; t.m.u.mem.n < 8;
	     t.m.u.mem.n++)
		acked(t, 1);
	for (t.m.u.mem.n = 9; t.m.u.mem.n; t.m.u.mem.n <<= 1)
		acked(t, 1);
	assert_int_equal(v.mem.n, VHOST_FDS);
	acked(text_reg(ADD_MEM_REG, &all, -1), 1);
	/* What can't be mapped */
	assert_int_equal(pipe(fd), 0);
	acked(text_reg(ADD_MEM_REG, &all, fd[0]), 1);
	acked(text_reg(ADD_MEM_REG, &all, them), 1);
	close(fd[0]);
	close(fd[1]);
	acked(text_reg(ADD_MEM_REG, &all, kick[0]), 1);
	assert_int_equal(v.mem.n, VHOST_FDS);
}

static void too_many_regions(void **state)
{
	struct vhost_region r = { GPA, 0x1000, UVA, 0 };
	unsigned i;

	(void)state;
	negotiate(0);
	for (i = 0; i < VHOST_REGIONS; i++) {
		acked(text_reg(ADD_MEM_REG, &r, memfd), 0);
		r.gpa += 0x1000;
		r.uva += 0x1000;
	}
	acked(text_reg(ADD_MEM_REG, &r, memfd), 1);
	assert_int_equal(v.mem.n, VHOST_REGIONS);
	assert_int_equal(count_maps(), 1 + VHOST_REGIONS);
	r.gpa -= 0x1000 * 10;
	r.uva -= 0x1000 * 10;
	acked(text_reg(REM_MEM_REG, &r, -1), 0);
	acked(text_reg(REM_MEM_REG, &r, -1), 1);
	assert_int_equal(count_maps(), VHOST_REGIONS);
	acked(text_reg(ADD_MEM_REG, &r, memfd), 0);
	assert_int_equal(v.mem.n, VHOST_REGIONS);
}

/* All of it, in the order that they come in, with offsets */
static void regions_one_by_one(void **state)
{
	const struct vhost_region front = { GPA, 0x8000, UVA, 0 };
	const struct vhost_region back = { GPA + 0x8000, MEM - 0x8000,
					   UVA + 0x8000, 0x8000 };
	struct vhost_region other;

	(void)state;
	run();
	done(text_mem(NULL, 0, -1));
	assert_false(vhost_user_runs(&v));
	acked(text_reg(ADD_MEM_REG, &back, memfd), 0);
	assert_false(vhost_user_runs(&v));
	acked(text_reg(ADD_MEM_REG, &front, memfd), 0);
	assert_true(vhost_user_runs(&v));
	guest[DATA + 0x100 + 7] = 0x39;
	offer(VHOST_TX, 1);
	assert_int_equal(take(VHOST_TX, 1)[7], 0x39);
	other = front;
	other.size--;
	acked(text_reg(REM_MEM_REG, &other, memfd), 1);
	other = front;
	other.gpa++;
	acked(text_reg(REM_MEM_REG, &other, memfd), 1);
	other = front;
	other.uva++;
	acked(text_reg(REM_MEM_REG, &other, memfd), 1);
	assert_true(vhost_user_runs(&v));
	/* What the buffers are in, then what the rings are in */
	acked(text_reg(REM_MEM_REG, &back, memfd), 0);
	assert_true(vhost_user_runs(&v));
	acked(text_reg(REM_MEM_REG, &front, memfd), 0);
	assert_false(vhost_user_runs(&v));
	nothing(VHOST_TX);
	assert_false(v.q[VHOST_TX].broken);
	assert_int_equal(count_maps(), 1);
	acked(text_reg(ADD_MEM_REG, &all, memfd), 0);
	assert_true(vhost_user_runs(&v));
	offer(VHOST_TX, 2);
	take(VHOST_TX, 2);
}

/* The rings go on in the new memory, where they were */
static void table_replaced(void **state)
{
	struct vhost_region moved = { GPA + MEM, MEM, UVA, 0 };
	int fd = new_memfd(MEM);
	uint8_t *new = map_memfd(fd);

	(void)state;
	run();
	offer(VHOST_TX, 1);
	take(VHOST_TX, 1);
	virtq_push(&v.q[VHOST_TX], 1, 0);
	vhost_user_flush(&v);
	hush();
	memcpy(new, guest, MEM);
	acked(text_mem(&moved, 1, fd), 0);
	assert_int_equal(count_maps(), 3);
	assert_true(vhost_user_runs(&v));
	memset(guest, 0xff, MEM); /* of no meaning any more */
	nothing(VHOST_TX);
	new[DATA + 99] = 0x42;
	offer_in(new, VHOST_TX, 2, GPA + MEM + DATA);
	assert_int_equal(take(VHOST_TX, 2)[99], 0x42);
	virtq_push(&v.q[VHOST_TX], 2, 0);
	vhost_user_flush(&v);
	assert_int_equal(rung(call[VHOST_TX]), 1);
	assert_int_equal(new[USED + EACH + 2], 2);
	assert_int_equal(new[USED + EACH + 4 + 8], 2);
	/* Where it was before is not to be found */
	offer_in(new, VHOST_TX, 3, GPA + DATA);
	nothing(VHOST_TX);
	assert_true(v.q[VHOST_TX].broken);
	munmap(new, MEM);
	close(fd);
}

/* --- life ----------------------------------------------------------------- */

static void again(void **state)
{
	unsigned i, changes, before;

	(void)state;
	before = count_fds();
	for (i = 0; i < 3; i++) {
		memset(guest, 0, MEM);
		run();
		offer(VHOST_TX, 1);
		take(VHOST_TX, 1);
		changes = v.changes;
		vhost_user_stop(&v);
		assert_true(v.changes > changes);
		assert_false(vhost_user_runs(&v));
		assert_int_equal(v.features, 0);
		assert_int_equal(v.mem.n, 0);
		assert_int_equal(count_maps(), 1);
		assert_int_equal(count_fds(), before - 1);
		kicks[VHOST_TX] = 0;
		ring_bell(kick[VHOST_TX]);
		turn();
		assert_int_equal(kicks[VHOST_TX], 0);
		vhost_user_stop(&v); /* twice is no harm */
		close(them);
		connect_them();
		hush();
	}
	run();
	ring_bell(kick[VHOST_TX]);
	turn();
	assert_int_equal(kicks[VHOST_TX], 1);
}

/* With the socket in the loop, as it is in the daemon */
static void in_the_loop(void **state)
{
	struct text t = text(GET_FEATURES, 0);
	unsigned watch = loop_watch(&loop, on_message, NULL);
	int kept = dup(v.fd); /* then closing does not take it out of epoll */

	(void)state;
	assert_true(kept >= 0);
	run();
	assert_int_equal(loop_add(&loop, v.fd, watch, 0, EPOLLIN), 0);
	send_part(&t.m, whole(&t), NULL, 0);
	turn();
	assert_int_equal(hear(GET_FEATURES, 8).u.u64 & features, features);
	turn();
	assert_int_equal(ended, 0);
	shutdown(them, SHUT_WR);
	turn();
	assert_int_equal(ended, 1);
	assert_int_equal(v.fd, -1);
	turn();
	assert_int_equal(ended, 1);
	close(kept);
}

/* Pushed in the same turn, and the front-end speaks before it is flushed */
static void pushed_and_stopped(void **state)
{
	(void)state;
	run();
	offer(VHOST_RX, 1);
	take(VHOST_RX, 1);
	virtq_push(&v.q[VHOST_RX], 1, 50);
	assert_int_equal(say(text_state(GET_VRING_BASE, VHOST_RX, 0)), 0);
	assert_int_equal(hear(GET_VRING_BASE, 8).u.state.num, 1);
	assert_int_equal(used_idx(VHOST_RX), 1);
}

/* Another back-end may not know that kicks can be off, and the guest need not know
 * that there is another one */
static void kicks_after_the_stop(void **state)
{
	const struct vring_used *u = (void *)(guest + USED + VHOST_TX * EACH);
	const uint16_t *event = (const void *)&u->ring[RING];

	(void)state;
	run();
	offer(VHOST_TX, 0);
	take(VHOST_TX, 0);
	assert_true(virtq_kicks(&v.q[VHOST_TX], false));
	assert_int_equal(le16toh(u->flags), VRING_USED_F_NO_NOTIFY);
	assert_int_equal(say(text_state(GET_VRING_BASE, VHOST_TX, 0)), 0);
	assert_int_equal(hear(GET_VRING_BASE, 8).u.state.num, 1);
	assert_int_equal(le16toh(u->flags), 0);
	negotiate(0);
	start_ring(VHOST_TX, 1);
	offer(VHOST_TX, 1);
	take(VHOST_TX, 1);
	assert_true(virtq_kicks(&v.q[VHOST_TX], false));
	assert_int_equal(le16toh(*event), 0);
	assert_int_equal(say(text_state(GET_VRING_BASE, VHOST_TX, 0)), 0);
	assert_int_equal(hear(GET_VRING_BASE, 8).u.state.num, 2);
	assert_int_equal(le16toh(*event), 2);
}

static void pushed_and_moved(void **state)
{
	(void)state;
	run();
	offer(VHOST_RX, 1);
	take(VHOST_RX, 1);
	virtq_push(&v.q[VHOST_RX], 1, 50);
	give_memory();
	assert_int_equal(used_idx(VHOST_RX), 1);
}

/* --- migration ------------------------------------------------------------ */

enum { PAGE = 4096, LOG = 0x20000, LOG_OFFSET = 8 };
/* It is as far up as that of a large machine */
static int log_fd;
static uint8_t *bits;

static struct text text_log(uint64_t size, int fd)
{
	struct text t = text(SET_LOG_BASE, sizeof(t.m.u.log));

	t.m.u.log.size = size;
	t.m.u.log.offset = LOG_OFFSET;
	if (fd >= 0)
		t.fds[t.n++] = fd;
	return t;
}

static bool takes_log(struct text t)
{
	assert_int_equal(say(need_reply(t)), 0);
	return !hear(SET_LOG_BASE, 8).u.u64;
}

static void give_log(void)
{
	void *p;

	log_fd = new_memfd(LOG_OFFSET + LOG);
	p = mmap(NULL, LOG_OFFSET + LOG, PROT_READ | PROT_WRITE, MAP_SHARED,
		 log_fd, 0);
	assert_true(p != MAP_FAILED);
	bits = (uint8_t *)p + LOG_OFFSET;
	assert_true(takes_log(text_log(LOG, log_fd)));
}

static void drop_log(void)
{
	munmap(bits - LOG_OFFSET, LOG_OFFSET + LOG);
	close(log_fd);
}

/* Take what is marked away: was it @gpa's page, or nothing with 0? */
static void marked(uint64_t gpa)
{
	static const uint8_t none[LOG];

	if (gpa) {
		assert_true(bits[gpa / PAGE / 8] & 1 << gpa / PAGE % 8);
		bits[gpa / PAGE / 8] &= (uint8_t)~(1 << gpa / PAGE % 8);
	}
	assert_memory_equal(bits, none, LOG);
}

static struct text text_logged(unsigned i, uint64_t gpa)
{
	struct text t = text_addr(i);

	t.m.u.addr.flags = !!gpa;
	t.m.u.addr.log = gpa;
	return t;
}

/* As a transport does it */
static void answer_with(unsigned i)
{
	struct iovec iov;
	struct virtq_elem e;

	offer(VHOST_RX, i);
	assert_int_equal(virtq_pop(&v.q[VHOST_RX], &e, &iov, 1, true), 1);
	if (v.q[VHOST_RX].log)
		virtq_wrote(&v.q[VHOST_RX], &iov, 10);
	virtq_push(&v.q[VHOST_RX], (uint16_t)e.id, 10);
	vhost_user_flush(&v);
}

/* While all goes on, and it ends again */
static void logs(void **state)
{
	const uint64_t ring = GPA + (3 << 20);
	unsigned changes;

	(void)state;
	run();
	done(text_u64(SET_FEATURES, features & ~BIT(F_LOG_ALL)));
	changes = v.changes;
	give_log();
	answer_with(0);
	marked(0); /* not asked for */
	done(text_u64(SET_FEATURES, features | BIT(F_LOG_ALL)));
	answer_with(1);
	marked(GPA + DATA);
	done(text_logged(VHOST_RX, ring));
	done(text_logged(VHOST_TX, ring + PAGE));
	answer_with(2);
	assert_true(bits[ring / PAGE / 8] & 1 << ring / PAGE % 8);
	bits[ring / PAGE / 8] = 0;
	marked(GPA + DATA);
	done(text_u64(SET_FEATURES, features & ~BIT(F_LOG_ALL)));
	answer_with(3);
	marked(ring);
	done(text_logged(VHOST_RX, 0));
	answer_with(4);
	marked(0);
	assert_int_equal(v.changes, changes);
	assert_int_equal(used_idx(VHOST_RX), 5);
	/* Wherever the front-end wants it, if it is in the log */
	done(text_logged(VHOST_RX, (uint64_t)LOG * 8 * PAGE));
	answer_with(5);
	done(text_logged(VHOST_RX, UINT64_MAX - PAGE + 1));
	answer_with(6);
	marked(0);
	drop_log();
}

/* It is told, once a turn */
static void log_calls(void **state)
{
	int fd = new_eventfd();

	(void)state;
	run();
	give_log();
	acked((struct text){ .m = text(SET_LOG_FD, 0).m, .fds = { memfd },
			     .n = 1 }, 1);
	acked(text(SET_LOG_FD, 0), 1);
	acked((struct text){ .m = text(SET_LOG_FD, 0).m, .fds = { fd },
			     .n = 1 }, 0);
	answer_with(1);
	vhost_user_flush(&v);
	assert_int_equal(rung(fd), 1);
	vhost_user_flush(&v);
	assert_int_equal(rung(fd), 0);
	close(fd);
	drop_log();
}

/* What has no bits for all of memory, or is none */
static void log_refused(void **state)
{
	const uint64_t least = (GPA + MEM) / PAGE / 8;
	struct vhost_region r = { GPA + MEM, MEM, UVA + MEM, 0 };
	struct text t;

	(void)state;
	run();
	give_log();
	acked(text_log(LOG, -1), 1);
	acked(text_log(LOG + 1, log_fd), 1);
	acked(text_log(LOG, kick[0]), 1);
	acked(text_log(0, log_fd), 1);
	t = text_log(LOG, log_fd);
	t.m.u.log.offset = UINT64_MAX;
	acked(t, 1);
	assert_true(takes_log(text_log(least, log_fd)));
	acked(text_log(least - 1, log_fd), 1);
	assert_int_equal(v.mem.log.pages, least * 8);
	/* Nor is there to be more memory then */
	acked(text_reg(ADD_MEM_REG, &r, memfd), 1);
	acked(text_mem(&r, 1, memfd), 1);
	done(text_u64(SET_FEATURES, features & ~BIT(F_LOG_ALL)));
	acked(text_mem(&r, 1, memfd), 0);
	acked(text_u64(SET_FEATURES, features | BIT(F_LOG_ALL)), 1);
	assert_true(takes_log(text_log(LOG, log_fd)));
	acked(text_u64(SET_FEATURES, features | BIT(F_LOG_ALL)), 0);
	fatal(text_log(LOG, -1), -EBADF);
	assert_null(v.mem.log.bits);
	drop_log();
}

static void guest_is_announced(void **state)
{
	static const struct mac mac = { { 0x52, 0x54, 0, 0x12, 0x34, 0x56 } };

	(void)state;
	run();
	acked(text_u64(SEND_RARP, htole64(0x563412005452)), 0);
	assert_true(mac_equal(&v.guest, &mac));
}

/* What was begun, and what becomes of it */
static struct {
	unsigned begun, ended;
	enum device_state_way way;
	int fd, begin, check;
} moved;

static int moved_begin(void *owner, enum device_state_way way, int fd)
{
	assert_ptr_equal(owner, &moved);
	moved.begun++;
	moved.way = way;
	moved.fd = fd;
	if (moved.begin)
		close(fd);
	return moved.begin;
}

static int moved_check(void *owner)
{
	assert_ptr_equal(owner, &moved);
	return moved.check;
}

static void moved_end(void *owner)
{
	assert_ptr_equal(owner, &moved);
	moved.ended++;
}

static struct device_state state_of_device = { .owner = &moved,
					       .begin = moved_begin,
					       .check = moved_check,
					       .end = moved_end };

static uint64_t transfer(unsigned way, unsigned phase, int fd)
{
	struct text t = text(SET_DEVICE_STATE_FD, sizeof(t.m.u.transfer));

	t.m.u.transfer.way = way;
	t.m.u.transfer.phase = phase;
	if (fd >= 0)
		t.fds[t.n++] = fd;
	assert_int_equal(say(t), 0);
	return hear(SET_DEVICE_STATE_FD, 8).u.u64;
}

enum { TAKEN = 0x100, NOT_TAKEN = 0x101 };

static void state_moves(void **state)
{
	unsigned way;
	int fd[2];

	(void)state;
	memset(&moved, 0, sizeof(moved));
	v.state = &state_of_device;
	negotiate(0);
	assert_true(v.protocol & BIT(PROTO_DEVICE_STATE));
	for (way = DEVICE_SAVE; way <= DEVICE_LOAD; way++) {
		assert_int_equal(pipe(fd), 0);
		assert_int_equal(transfer(way, 0, fd[1]), TAKEN);
		assert_int_equal(moved.way, way);
		assert_int_equal(write(moved.fd, "x", 1), 1);
		close(moved.fd);
		close(fd[0]);
		close(fd[1]);
		moved.check = 0;
		assert_int_equal(ask(CHECK_DEVICE_STATE), 0);
		assert_int_equal(v.saved, way == DEVICE_SAVE);
		moved.check = -EIO;
		assert_int_equal(ask(CHECK_DEVICE_STATE), EIO);
		assert_false(v.saved);
	}
	assert_int_equal(moved.begun, 2);
	moved.begin = -EBUSY;
	assert_int_equal(transfer(DEVICE_SAVE, 0, memfd), NOT_TAKEN);
	assert_int_equal(moved.begun, 3);
	/* What makes no sense is nobody's */
	assert_int_equal(transfer(DEVICE_SAVE, 1, memfd), NOT_TAKEN);
	assert_int_equal(transfer(2, 0, memfd), NOT_TAKEN);
	assert_int_equal(transfer(DEVICE_SAVE, 0, -1), NOT_TAKEN);
	give_memory();
	start_ring(VHOST_RX, 0);
	start_ring(VHOST_TX, 0);
	assert_int_equal(transfer(DEVICE_SAVE, 0, memfd), NOT_TAKEN);
	assert_int_equal(moved.begun, 3);
	assert_int_equal(moved.ended, 0);
	vhost_user_stop(&v);
	vhost_user_stop(&v);
	assert_int_equal(moved.ended, 1);
	assert_ptr_equal(v.state, &state_of_device);
	v.state = NULL;
}

/* The answer comes when it is known, and what is sent meanwhile waits */
static void state_takes_its_time(void **state)
{
	struct text t = text(GET_QUEUE_NUM, 0);

	(void)state;
	memset(&moved, 0, sizeof(moved));
	v.state = &state_of_device;
	negotiate(0);
	moved.check = -EINPROGRESS;
	done(text(CHECK_DEVICE_STATE, 0));
	done(t);
	assert_int_equal(vhost_user_answer(&v), 0);
	silence();
	assert_true(v.waits);
	moved.check = -EPIPE;
	assert_int_equal(vhost_user_answer(&v), 0);
	assert_int_equal(hear(CHECK_DEVICE_STATE, 8).u.u64, EPIPE);
	silence();
	assert_int_equal(vhost_user_answer(&v), 0); /* once */
	silence();
	assert_int_equal(vhost_user_read(&v), 0);
	hear(GET_QUEUE_NUM, 8);
	/* Nobody is there to hear it */
	moved.check = -EINPROGRESS;
	done(text(CHECK_DEVICE_STATE, 0));
	close(them);
	moved.check = 0;
	assert_int_equal(vhost_user_answer(&v), -EPIPE);
	vhost_user_stop(&v);
	assert_false(v.waits);
	v.state = NULL;
	connect_them();
}

/* Without anybody who has it there is none */
static void state_of_nobody(void **state)
{
	(void)state;
	negotiate(0);
	assert_false(v.protocol & BIT(PROTO_DEVICE_STATE));
	assert_int_equal(transfer(DEVICE_SAVE, 0, memfd), NOT_TAKEN);
	assert_int_equal(ask(CHECK_DEVICE_STATE), ENODATA);
}

/* It is refused, nothing is written there, and the one before stays */
static void kick_is_a_file(void **state)
{
	(void)state;
	run();
	memset(guest, 0, 64);
	acked(text_fd(SET_VRING_KICK, 0, memfd), 1);
	assert_true(vhost_user_runs(&v));
	vhost_user_poke(&v, 0);
	assert_int_equal(guest[0], 0);
}

int main(void)
{
#define TEST(t) cmocka_unit_test_setup_teardown(t, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(negotiation),
		TEST(not_offered),
		TEST(pairs_are_asked_for),
		TEST(running),
		TEST(enabled_from_start),
		TEST(data),
		TEST(kicked),
		TEST(call_changes),
		TEST(broken),
		TEST(truncated),
		TEST(split),
		TEST(byte_by_byte),
		TEST(many_in_one_write),
		TEST(too_many_at_once),
		TEST(acks),
		TEST(bad_sizes),
		TEST(too_many_fds),
		TEST(unknown),
		TEST(bad_headers),
		TEST(ends),
		TEST(answers_unheard),
		TEST(bad_ring_index),
		TEST(bad_ring_size),
		TEST(bad_ring_state),
		TEST(bad_ring_address),
		TEST(base_of_a_ring),
		TEST(size_unplaces),
		TEST(stops),
		TEST(reset_owner),
		TEST(bad_regions),
		TEST(bad_tables),
		TEST(too_many_regions),
		TEST(regions_one_by_one),
		TEST(table_replaced),
		TEST(again),
		TEST(in_the_loop),
		TEST(pushed_and_stopped),
		TEST(kicks_after_the_stop),
		TEST(pushed_and_moved),
		TEST(logs),
		TEST(log_calls),
		TEST(log_refused),
		TEST(guest_is_announced),
		TEST(state_moves),
		TEST(state_takes_its_time),
		TEST(state_of_nobody),
		TEST(kick_is_a_file),
	};

	signal(SIGPIPE, SIG_IGN); /* as the daemon has it */
	return cmocka_run_group_tests(tests, NULL, NULL);
}
