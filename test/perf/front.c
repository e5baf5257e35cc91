/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A stand-in for QEMU and a guest's virtio-net driver: joins a tap of this
 * network namespace to the vhost-user socket of passt.  Frames go through the
 * rings as the tap has them, with the same header, so that offloads pass in
 * both directions.  One thread for each direction; the third waits for the end.
 *
 *	front SOCKET|FD INTERFACE [FEATURES [LANES]]
 *
 * FEATURES is a mask in hexadecimal: of what both sides know, these are taken.
 *
 * Lines of standard input move the guest, as QEMU would: "save" stops the rings and
 * gets what the back-end knows, "load SOCKET" gives that to another one, where the
 * rings go on, and "leave" ends with the one before; "resume" goes on with it.
 */
#include "../vhost.h"
#include "lanes.h"

#include <linux/virtio_config.h>
#include <linux/virtio_net.h>
#include <linux/virtio_ring.h>

#include <ctype.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

#define BIT(n) ((uint64_t)1 << (n))

enum {
	RX, TX, QUEUES,
	ENTRIES = 256,
	VNET = sizeof(struct virtio_net_hdr_mrg_rxbuf),
	FRAME_MAX = 65536 + 18,
	PAGE = 4096,
	BIG = VNET + FRAME_MAX, /* a buffer that holds any frame */
	PIECES = BIG / PAGE + 1,
	STRIDE = PIECES * PAGE,
	RING_BYTES = 16 * PAGE,
	TABLE_BYTES = 2 * PAGE, /* indirect descriptors, of one chain */
	QUEUED_MAX = 256 << 10, /* with lanes: as byte queue limits have it, which
				   Linux has for virtio-net since 6.11 */
	STATE_MAX = 256 << 20,
};

static const uint64_t gpa = BIT(30);
static const uint64_t known =
	BIT(VIRTIO_NET_F_CSUM) | BIT(VIRTIO_NET_F_GUEST_CSUM) |
	BIT(VIRTIO_NET_F_GUEST_TSO4) | BIT(VIRTIO_NET_F_GUEST_TSO6) |
	BIT(VIRTIO_NET_F_GUEST_ECN) | BIT(VIRTIO_NET_F_HOST_TSO4) |
	BIT(VIRTIO_NET_F_HOST_TSO6) | BIT(VIRTIO_NET_F_HOST_ECN) |
	BIT(VIRTIO_NET_F_MRG_RXBUF) | BIT(VIRTIO_RING_F_INDIRECT_DESC) |
	BIT(VIRTIO_RING_F_EVENT_IDX) | BIT(F_GUEST_USO4) | BIT(F_GUEST_USO6) |
	BIT(F_HOST_USO);

struct ring {
	struct vring_desc *desc;
	struct vring_avail *avail;
	struct vring_used *used;
	uint8_t *tables;  /* TABLE_BYTES for each entry */
	uint8_t *buffers; /* STRIDE for each entry */
	uint16_t offered; /* made available */
	uint16_t taken;	  /* of the used ones */
	int kick, call;
	uint16_t base; /* where the back-end goes on */
};

static struct lanes tap;
static int stream, before = -1;
static uint8_t *memory;
static int memory_fd;
static size_t memory_size;
static uint64_t features;
static bool acks;
static struct ring rings[QUEUES];
static unsigned long refused;

static bool has(unsigned bit)
{
	return features >> bit & 1;
}

/* --- the dialogue --------------------------------------------------------- */

static void send_msg(const struct msg *m, int fd)
{
	char control[CMSG_SPACE(sizeof(fd))] = { 0 };
	struct iovec iov = { (void *)m, MSG_HEAD + m->size };
	struct msghdr h = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (fd >= 0) {
		struct cmsghdr *c = (void *)control;

		h.msg_control = control;
		h.msg_controllen = sizeof(control);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(fd));
		memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	}
	if (sendmsg(stream, &h, MSG_NOSIGNAL) != (ssize_t)iov.iov_len)
		err(1, "request %u", m->request);
}

static uint64_t answer(uint32_t request)
{
	struct msg m;

	if (recv(stream, &m, 20, MSG_WAITALL) != 20 || m.request != request)
		errx(1, "no answer to request %u", request);
	return m.u.u64;
}

static uint64_t get(uint32_t request)
{
	struct msg m = { .request = request, .flags = MSG_VERSION };

	send_msg(&m, -1);
	return answer(request);
}

static void set(struct msg *m, uint32_t request, uint32_t size, int fd)
{
	m->request = request;
	m->flags = MSG_VERSION | (acks ? MSG_NEED_REPLY : 0);
	m->size = size;
	send_msg(m, fd);
	if (acks && answer(request))
		errx(1, "request %u was refused", request);
}

static void set_u64(uint32_t request, uint64_t v, int fd)
{
	struct msg m = { .u.u64 = v };

	set(&m, request, sizeof(v), fd);
}

static void set_state(uint32_t request, uint32_t index, uint32_t v)
{
	struct msg m = { .u.state = { index, v } };

	set(&m, request, sizeof(m.u.state), -1);
}

static void negotiate(uint64_t mask)
{
	uint64_t offered = get(GET_FEATURES);

	features = offered & ((mask & known) | BIT(VIRTIO_F_VERSION_1) |
			      BIT(F_PROTOCOL));
	if (!has(VIRTIO_F_VERSION_1))
		errx(1, "not a modern device");
	if (has(F_PROTOCOL) && get(GET_PROTOCOL) & BIT(PROTO_REPLY_ACK)) {
		set_u64(SET_PROTOCOL, get(GET_PROTOCOL) &
			(BIT(PROTO_REPLY_ACK) | BIT(PROTO_DEVICE_STATE)), -1);
		acks = true;
	}
	set(&(struct msg){ 0 }, SET_OWNER, 0, -1);
	set_u64(SET_FEATURES, features, -1);
}

static void make_memory(size_t size)
{
	int fd = memfd_create("guest", MFD_CLOEXEC);

	if (fd < 0 || ftruncate(fd, (off_t)size))
		err(1, "memory");
	memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (memory == MAP_FAILED)
		err(1, "memory");
	memory_fd = fd;
	memory_size = size;
}

static void share_memory(void)
{
	struct msg m = { .u.mem = { .n = 1, .r = { {
		.gpa = gpa, .size = memory_size, .uva = (uintptr_t)memory,
	} } } };

	set(&m, SET_MEM_TABLE, offsetof(struct msg, u.mem.r[1]) - MSG_HEAD,
	    memory_fd);
}

static void start_ring(unsigned i)
{
	struct ring *r = &rings[i];
	struct msg m = { .u.addr = {
		.index = i,
		.desc = (uintptr_t)r->desc,
		.used = (uintptr_t)r->used,
		.avail = (uintptr_t)r->avail,
	} };

	set_state(SET_VRING_NUM, i, ENTRIES);
	set_state(SET_VRING_BASE, i, r->base);
	set(&m, SET_VRING_ADDR, sizeof(m.u.addr), -1);
	set_u64(SET_VRING_CALL, i, r->call);
	set_u64(SET_VRING_KICK, i, r->kick);
	if (has(F_PROTOCOL))
		set_state(SET_VRING_ENABLE, i, 1);
}

/* --- rings ---------------------------------------------------------------- */

static uint64_t guest_address(const void *p)
{
	return gpa + (uint64_t)((const uint8_t *)p - memory);
}

static void lay_out_ring(struct ring *r, uint8_t *at)
{
	r->desc = (void *)at;
	r->avail = (void *)(at + 4 * PAGE);
	r->used = (void *)(at + 8 * PAGE);
	r->tables = at + RING_BYTES;
	r->buffers = r->tables + ENTRIES * TABLE_BYTES;
	/* As QEMU has them */
	r->kick = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	r->call = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
}

static size_t ring_bytes(void)
{
	return RING_BYTES + ENTRIES * (TABLE_BYTES + (size_t)STRIDE);
}

/* Entry @i is @n pieces of the @len bytes at its buffer, the first of @head
 * bytes: by a table of its own, or with those behind it */
static unsigned describe(struct ring *r, unsigned i, size_t head, size_t len,
			 size_t piece, uint16_t flags)
{
	bool indirect = has(VIRTIO_RING_F_INDIRECT_DESC) && len > head;
	struct vring_desc *d = indirect ?
		(void *)(r->tables + i * TABLE_BYTES) : r->desc + i;
	uint8_t *at = r->buffers + (size_t)i * STRIDE;
	unsigned base = indirect ? 0 : i, n = 0;

	while (len) {
		size_t part = n ? piece : head;

		part = part < len ? part : len;
		d[n] = (struct vring_desc){ guest_address(at), (uint32_t)part,
			flags, (uint16_t)(base + n + 1) };
		at += part;
		len -= part;
		if (len)
			d[n].flags |= VRING_DESC_F_NEXT;
		n++;
	}
	if (!indirect)
		return n;
	r->desc[i] = (struct vring_desc){ guest_address(d),
		n * (uint32_t)sizeof(*d), VRING_DESC_F_INDIRECT, 0 };
	return 1;
}

static void offer(struct ring *r, uint16_t id)
{
	r->avail->ring[r->offered++ % ENTRIES] = id;
}

static uint16_t load(const uint16_t *p)
{
	return __atomic_load_n(p, __ATOMIC_ACQUIRE);
}

/* What was offered can be seen; tell of it if that is wanted */
static void publish(struct ring *r)
{
	uint16_t old = r->avail->idx, event;
	bool kick;

	if (old == r->offered)
		return;
	__atomic_store_n(&r->avail->idx, r->offered, __ATOMIC_RELEASE);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	memcpy(&event, &r->used->ring[ENTRIES], sizeof(event));
	kick = has(VIRTIO_RING_F_EVENT_IDX) ?
		vring_need_event(event, r->offered, old) :
		!(load(&r->used->flags) & VRING_USED_F_NO_NOTIFY);
	if (kick && eventfd_write(r->kick, 1))
		err(1, "kick");
}

static bool is_used(const struct ring *r)
{
	return load(&r->used->idx) != r->taken;
}

static void want_calls(struct ring *r, bool on)
{
	if (has(VIRTIO_RING_F_EVENT_IDX)) {
		if (on)
			__atomic_store_n(&r->avail->ring[ENTRIES], r->taken,
					 __ATOMIC_RELEASE);
	} else {
		__atomic_store_n(&r->avail->flags,
				 on ? 0 : VRING_AVAIL_F_NO_INTERRUPT,
				 __ATOMIC_RELEASE);
	}
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
}

/* Until there is one more that was used */
static void await_used(struct ring *r)
{
	struct pollfd p = { .fd = r->call, .events = POLLIN };
	eventfd_t count;

	if (is_used(r))
		return;
	want_calls(r, true);
	while (!is_used(r))
		if (poll(&p, 1, -1) < 0 || eventfd_read(r->call, &count))
			err(1, "call");
	want_calls(r, false);
}

/* The next that was used, which must be there: a frame's come all at once */
static struct vring_used_elem take(struct ring *r)
{
	struct vring_used_elem e;

	if (!is_used(r))
		errx(1, "a frame that was used in part");
	e = r->used->ring[r->taken % ENTRIES];
	if (e.id >= ENTRIES || e.len > STRIDE)
		errx(1, "entry %u used, of %u bytes", e.id, e.len);
	r->taken++;
	return e;
}

/* --- from the tap --------------------------------------------------------- */

/* A frame takes two entries where it is not a table */
static void *tap_to_ring(void *unused)
{
	struct ring *r = &rings[TX];
	unsigned step = has(VIRTIO_RING_F_INDIRECT_DESC) ? 1 : 2, i;
	uint16_t idle[ENTRIES], n = 0;
	size_t sent[ENTRIES], queued = 0;
	ssize_t len;

	(void)unused;
	for (i = 0; i < ENTRIES; i += step)
		idle[n++] = (uint16_t)i;
	want_calls(r, false);
	for (;;) {
		if (!n || (tap.n > 1 && queued >= QUEUED_MAX))
			await_used(r);
		while (is_used(r)) {
			idle[n++] = (uint16_t)take(r).id;
			queued -= sent[idle[n - 1]];
		}
		i = idle[n - 1];
		len = lanes_read(&tap, r->buffers + (size_t)i * STRIDE, BIG);
		if (len < VNET)
			exit(0);
		queued += sent[i] = (size_t)len;
		describe(r, i, VNET, (size_t)len, step == 1 ? 8 * PAGE : BIG,
			 0);
		offer(r, (uint16_t)i);
		n--;
		publish(r);
	}
	return NULL;
}

/* --- to the tap ----------------------------------------------------------- */

/* As drivers do it: a page, to be merged; room for any run, in pages; or what
 * an Ethernet needs */
static unsigned describe_rx(struct ring *r, unsigned i)
{
	if (has(VIRTIO_NET_F_MRG_RXBUF))
		return describe(r, i, PAGE, PAGE, PAGE, VRING_DESC_F_WRITE);
	if (has(VIRTIO_NET_F_GUEST_TSO4) || has(VIRTIO_NET_F_GUEST_TSO6) ||
	    has(F_GUEST_USO4) || has(F_GUEST_USO6))
		return describe(r, i, VNET, BIG, PAGE, VRING_DESC_F_WRITE);
	return describe(r, i, VNET + 1514, VNET + 1514, PAGE,
			VRING_DESC_F_WRITE);
}

static void fill_rx(struct ring *r)
{
	unsigned i, n = describe_rx(r, 0);

	for (i = 0; i + n <= ENTRIES; i += n) {
		describe_rx(r, i);
		offer(r, (uint16_t)i);
	}
	publish(r);
}

/* A driver believes a back-end that vouches for a sum it has not made.  A tap has
 * no word for that; but what is to be finished is not looked at, either, and
 * nobody here will finish it. */
static void vouch(struct virtio_net_hdr *h, const uint8_t *frame, size_t len)
{
	bool v6 = len > 14 && frame[14] >> 4 == 6;
	size_t l4 = v6 ? 54 : 14 + (size_t)(frame[14] & 15) * 4;
	uint8_t proto = frame[v6 ? 20 : 23];

	if (!(h->flags & VIRTIO_NET_HDR_F_DATA_VALID) || len < l4 + 20 ||
	    (proto != IPPROTO_TCP && proto != IPPROTO_UDP))
		return;
	h->flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
	h->csum_start = (uint16_t)l4;
	h->csum_offset = proto == IPPROTO_TCP ? 16 : 6;
}

static void *ring_to_tap(void *unused)
{
	struct ring *r = &rings[RX];
	struct iovec iov[ENTRIES];

	(void)unused;
	want_calls(r, false);
	for (;;) {
		struct virtio_net_hdr_mrg_rxbuf *h;
		unsigned n, i;

		await_used(r);
		for (i = 0, n = 1; i < n; i++) {
			struct vring_used_elem e = take(r);

			iov[i].iov_base = r->buffers + (size_t)e.id * STRIDE;
			iov[i].iov_len = e.len;
			h = iov[0].iov_base;
			n = has(VIRTIO_NET_F_MRG_RXBUF) ? h->num_buffers : 1;
			if (!n || n > ENTRIES)
				errx(1, "a frame of %u buffers", n);
			if (!i && e.len > VNET + 54)
				vouch(&h->hdr, (uint8_t *)(h + 1),
				      e.len - VNET);
			offer(r, (uint16_t)e.id);
		}
		/* Refused while the link is down, as by a guest that boots */
		h = iov[0].iov_base;
		refused += writev(lanes_for(&tap, (uint8_t *)(h + 1),
					    iov[0].iov_len - VNET),
				  iov, (int)n) < 0;
		publish(r);
	}
	return NULL;
}

/* --- set-up --------------------------------------------------------------- */

static void set_up_tap(const char *name, unsigned lanes)
{
	unsigned csum = has(VIRTIO_NET_F_CSUM) ? TUN_F_CSUM : 0, tso = 0;
	unsigned uso = csum && has(F_HOST_USO) ? 0x60 : 0; /* TUN_F_USO4, _USO6 */
	int size = VNET, le = 1;
	unsigned i;

	if (csum && has(VIRTIO_NET_F_HOST_TSO4))
		tso |= TUN_F_TSO4;
	if (csum && has(VIRTIO_NET_F_HOST_TSO6))
		tso |= TUN_F_TSO6;
	if (tso && has(VIRTIO_NET_F_HOST_ECN))
		tso |= TUN_F_TSO_ECN;
	lanes_open(&tap, name, IFF_VNET_HDR, lanes);
	for (i = 0; i < tap.n; i++)
		if (ioctl(tap.fd[i].fd, TUNSETVNETHDRSZ, &size) ||
		    ioctl(tap.fd[i].fd, TUNSETVNETLE, &le))
			err(1, "tap %s", name);
	if (ioctl(tap.fd[0].fd, TUNSETOFFLOAD, csum | tso | uso) &&
	    ioctl(tap.fd[0].fd, TUNSETOFFLOAD, csum | tso))
		err(1, "offloads of tap %s", name);
}

static void open_stream(const char *path)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };

	if (isdigit(*path)) {
		stream = atoi(path);
		return;
	}
	stream = socket(AF_UNIX, SOCK_STREAM, 0);
	strncpy(sa.sun_path, path, sizeof(sa.sun_path) - 1);
	if (stream < 0 || connect(stream, (void *)&sa, sizeof(sa)))
		err(1, "socket %s", path);
}

/* --- the guest moves ------------------------------------------------------- */

static uint8_t *state;
static size_t state_len;

static void start_rings(void)
{
	unsigned i;

	for (i = 0; i < QUEUES; i++)
		start_ring(i);
	/* What was kicked for while nobody looked */
	for (i = 0; i < QUEUES; i++)
		eventfd_write(rings[i].kick, 1);
}

static void stop_rings(void)
{
	unsigned i;

	for (i = 0; i < QUEUES; i++) {
		struct msg m = { .request = GET_VRING_BASE, .flags = MSG_VERSION,
				 .size = 8, .u.state = { i, 0 } };

		send_msg(&m, -1);
		rings[i].base = (uint16_t)(answer(GET_VRING_BASE) >> 32);
	}
}

/* A pipe whose other end is the back-end's; @way 0: it writes */
static int state_pipe(unsigned way)
{
	struct msg m = { .request = SET_DEVICE_STATE_FD,
			 .flags = MSG_VERSION, .size = 8,
			 .u.state = { way, 0 } };
	int fd[2];

	if (pipe(fd))
		err(1, "pipe");
	send_msg(&m, fd[!way]);
	close(fd[!way]);
	if (answer(SET_DEVICE_STATE_FD) != NO_FD)
		errx(1, "state is refused");
	return fd[way];
}

static void save_state(void)
{
	ssize_t n;
	int fd;

	stop_rings();
	fd = state_pipe(0);
	state_len = 0;
	if (!state)
		state = mmap(NULL, STATE_MAX, PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	while ((n = read(fd, state + state_len, STATE_MAX - state_len)) > 0)
		state_len += (size_t)n;
	close(fd);
	printf("saved %zu, %lld\n", state_len, (long long)get(CHECK_DEVICE_STATE));
}

static void open_stream(const char *path);

static void load_state(const char *path)
{
	size_t done = 0;
	ssize_t n = 1;
	int fd;

	before = stream;
	acks = false;
	open_stream(path);
	negotiate(features);
	share_memory();
	fd = state_pipe(1);
	while (done < state_len && n > 0) {
		n = write(fd, state + done, state_len - done);
		done += n > 0 ? (size_t)n : 0;
	}
	close(fd);
	n = (ssize_t)get(CHECK_DEVICE_STATE);
	if (!n)
		start_rings();
	printf("loaded %zd\n", n);
}

static void command(char *line)
{
	line[strcspn(line, "\n")] = '\0';
	if (!strcmp(line, "save")) {
		save_state();
	} else if (!strncmp(line, "load ", 5)) {
		load_state(line + 5);
	} else if (!strcmp(line, "leave")) {
		close(before < 0 ? stream : before);
		puts("left");
	} else if (!strcmp(line, "resume")) {
		if (before >= 0)
			stream = before;
		start_rings();
		puts("resumed");
	}
	fflush(stdout);
}

/* Until it has gone, who is there now */
static void commands(void)
{
	struct pollfd p[2] = { { .fd = stream, .events = POLLIN },
			       { .fd = 0, .events = POLLIN } };
	char line[256], c;

	for (;;) {
		p[0].fd = stream;
		if (poll(p, 2, -1) < 0)
			err(1, "poll");
		if (p[1].revents && !fgets(line, sizeof(line), stdin))
			p[1].fd = -1;
		else if (p[1].revents)
			command(line);
		else if (p[0].revents && recv(stream, &c, 1, 0) <= 0)
			return;
	}
}

int main(int argc, char **argv)
{
	pthread_t t[2];
	unsigned i;

	if (argc < 3 || argc > 5)
		errx(2, "front SOCKET|FD INTERFACE [FEATURES [LANES]]");
	signal(SIGPIPE, SIG_IGN);
	open_stream(argv[1]);
	negotiate(argc > 3 ? strtoull(argv[3], NULL, 16) : UINT64_MAX);
	set_up_tap(argv[2], argc > 4 ? (unsigned)atoi(argv[4]) : 1);
	make_memory(QUEUES * ring_bytes());
	share_memory();
	for (i = 0; i < QUEUES; i++)
		lay_out_ring(&rings[i], memory + i * ring_bytes());
	for (i = 0; i < QUEUES; i++)
		start_ring(i);
	fill_rx(&rings[RX]);
	puts("ready");
	fflush(stdout);
	pthread_create(&t[0], NULL, tap_to_ring, NULL);
	pthread_create(&t[1], NULL, ring_to_tap, NULL);
	commands();
	return 0;
}
