/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * tap_tun - a tap device with virtio-net headers
 *
 * With a header the namespace's kernel hands us runs of segments of up to
 * 64 KiB with unfinished checksums, and takes the same from us, whatever the
 * MTU.  Received frames are packed one behind the other, so that a burst of
 * small ones stays in the cache.  A slot's body begins at a fixed offset, its
 * head and virtio-net header end right there: a commit is one write.
 *
 * The device is the one descriptor that is watched level-triggered: there is no
 * asking until it refuses.  A burst is expected to be as long as the last one.
 */
#include "tap_tun.h"

#include "log.h"
#include "iov.h"
#include "segment.h"

#include <linux/if.h>
#include <linux/if_tun.h>
#include <linux/virtio_net.h>

#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

#ifndef TUN_F_USO4 /* Linux 6.2 */
#define TUN_F_USO4 0x20
#define TUN_F_USO6 0x40
#endif

enum {
	VNET = sizeof(struct virtio_net_hdr),
	TSO = TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN,
	USO = TUN_F_USO4 | TUN_F_USO6,
	IP_MAX = 65535,			  /* its length field has 16 bits */
	BODY_MAX = IP_MAX - IP4_HEAD - UDP_HEAD, /* the longest datagram */
	TUN_FRAME = ETH_HEAD + IP_MAX,
};

static struct tap_tun *tun_of(struct tap *t)
{
	return container_of(t, struct tap_tun, tap);
}

static struct note note_in(const uint8_t *p)
{
	struct virtio_net_hdr h;

	memcpy(&h, p, sizeof(h));
	return note_get(&h);
}

static void note_out(uint8_t *p, const struct note *n)
{
	struct virtio_net_hdr h = note_put(n);

	memcpy(p, &h, sizeof(h));
}

static void lost(struct tap_tun *t, const char *what)
{
	if (!t->tap.up)
		return;
	/* Where a command has had the terminal: it is about to end */
	log_stderr(true);
	log_err("Namespace interface gone (%s: %s), exiting", what,
		util_error(errno));
	t->tap.up = false;
	loop_quit(t->tap.loop, 1);
}

/* How many frames to read: where all came that were expected, and the next turn
 * reports more, twice as many */
static unsigned expected(struct tap_tun *t)
{
	uint64_t turn = t->tap.loop->turns;

	if (t->met && turn == t->turn + 1)
		t->expect = MIN(t->expect * 2, (unsigned)PACKET_BATCH);
	t->turn = turn;
	t->met = true;
	return t->expect;
}

static unsigned receive(struct tap *tap, struct frame *f, unsigned max)
{
	struct tap_tun *t = tun_of(tap);
	size_t vnet = t->vnet ? VNET : 0, at = 0;
	unsigned n = 0;

	max = MIN(max, expected(t));
	while (n < max && at < TUN_RX_BYTES) {
		/* #syscalls read */
		ssize_t len = read(t->fd, t->rx + at, vnet + TUN_FRAME);

		if (len < 0 && errno == EINTR)
			continue;
		if (len <= 0) {
			t->met = false;
			t->expect = MAX(n, 1U);
			if (!len || errno != EAGAIN)
				lost(t, "read");
			break;
		}
		if ((size_t)len <= vnet)
			continue;
		f->len = (size_t)len - vnet;
		f->one = (struct iovec){ t->rx + at + vnet, f->len };
		f->iov = &f->one;
		f->iov_cnt = 1;
		if (vnet)
			f->note = note_in(t->rx + at);
		else
			f->note = (struct note){ 0 };
		tap_captured(tap, false, f->iov, 1, f->len, &f->note);
		/* Keep the headers of the next one aligned for the CPU */
		at += ((size_t)len + 15) & ~(size_t)15;
		f++;
		n++;
	}
	return n;
}

static void release(struct tap *tap)
{
	(void)tap;
}

static uint8_t *slot_body(struct tap_tun *t, unsigned i)
{
	return t->tx + (size_t)i * TUN_TX_STRIDE + TUN_TX_HEAD;
}

static void lay_out(struct tap_tun *t, struct slot *s, unsigned i, size_t want)
{
	uint8_t *body = slot_body(t, i);
	size_t max = MIN(want, (size_t)BODY_MAX), used;

	s->head = body - s->head_len;
	s->body = t->body[i];
	s->priv = body;
	if (t->tap.caps.tso || !s->mss || max <= s->mss) {
		s->body[0] = (struct iovec){ body, max };
		s->body_cnt = 1;
		s->room = max;
		return;
	}
	s->body_cnt = segment_layout(s->head, TUN_TX_STRIDE - TUN_TX_HEAD,
				     s->head_len, max, s->mss, s->body,
				     TUN_TX_PIECES, &used);
	s->room = iov_size(s->body, s->body_cnt);
}

static unsigned reserve(struct tap *tap, struct slot *s, unsigned n,
			size_t head, size_t want, size_t mss)
{
	struct tap_tun *t = tun_of(tap);
	unsigned i;

	n = MIN(n, (unsigned)TUN_TX_SLOTS);
	for (i = 0; i < n; i++) {
		s[i].head_len = head;
		s[i].mss = mss;
		lay_out(t, &s[i], i, want);
	}
	return n;
}

static enum verdict send_frame(struct tap_tun *t, const uint8_t *p, size_t len)
{
	ssize_t n;

	do /* #syscalls write */
		n = write(t->fd, p, len);
	while (n < 0 && errno == EINTR);
	if (n >= 0)
		return PASS;
	/* EINVAL: a note it does not like */
	if (errno == EAGAIN || errno == ENOBUFS || errno == ENOSPC ||
	    errno == ENOMEM || errno == EINVAL)
		return DROP_NO_ROOM;
	if (errno != EIO) /* that is an interface that is down */
		lost(t, "write");
	return DROP_CONN;
}

/* One frame or run in a row; what the kernel refuses is lost as on a wire */
static void put(struct tap_tun *t, uint8_t *frame, size_t len,
		const struct note *n)
{
	struct iovec iov = { frame, len };
	size_t vnet = t->vnet ? VNET : 0, all = MAX(len, (size_t)FRAME_MIN);
	enum verdict v;

	memset(frame + len, 0, all - len);
	if (vnet)
		note_out(frame - vnet, n);
	v = send_frame(t, frame - vnet, all + vnet);
	if (v == PASS) {
		tap_captured(&t->tap, true, &iov, 1, len, n);
	} else {
		t->tap.drops[v]++;
		tap_lost(&t->tap, v, &iov, 1, len, n);
	}
}

static void put_pieces(struct tap_tun *t, const struct slot *s, size_t used,
		       const struct note *n)
{
	static const struct note finished;
	uint8_t head[HEAD_MAX];
	size_t off = 0;
	unsigned i;

	memcpy(head, s->head, s->head_len);
	for (i = 0; off < used; i++) {
		size_t len = MIN(s->body[i].iov_len, used - off);
		uint8_t *at = (uint8_t *)s->body[i].iov_base - s->head_len;

		/* The next piece's gap is our tail: write before it is used */
		segment_head(at, head, s->head_len, n, off, len, used);
		put(t, at, s->head_len + len, &finished);
		off += len;
	}
}

static void commit(struct tap *tap, struct slot *s, size_t used,
		   const struct note *n)
{
	struct tap_tun *t = tun_of(tap);
	size_t len = s->head_len + used;
	struct note left = *n;

	if (s->body_cnt > 1 && n->gso_type) {
		put_pieces(t, s, used, n);
		return;
	}
	if (!t->vnet && n->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) {
		segment_finish(s->head, len, n);
		left = (struct note){ 0 };
	}
	put(t, s->head, len, &left);
}

static void cancel(struct tap *tap, struct slot *s)
{
	(void)tap;
	(void)s;
}

static void flush(struct tap *tap)
{
	(void)tap;
}

static const struct tap_ops tun_ops = {
	.receive = receive,
	.release = release,
	.reserve = reserve,
	.commit = commit,
	.cancel = cancel,
	.flush = flush,
};

/* What the kernel may leave to us, most first */
static void ask_offload(struct tap_tun *t)
{
	static const unsigned step[] = { TUN_F_CSUM | TSO | USO,
					 TUN_F_CSUM | TSO, TUN_F_CSUM, 0 };
	unsigned i;

	for (i = 0; i < ARRAY_SIZE(step); i++)
		if (!ioctl(t->fd, TUNSETOFFLOAD, step[i]))
			break;
	t->offload = i < ARRAY_SIZE(step) ? step[i] : 0;
}

static int set_up(struct tap_tun *t)
{
	int size = VNET, le = 1, flags;

	flags = fcntl(t->fd, F_GETFL);
	if (flags < 0 || fcntl(t->fd, F_SETFL, flags | O_NONBLOCK))
		return -errno;
	if (t->vnet) {
		if (ioctl(t->fd, TUNSETVNETHDRSZ, &size))
			return -errno;
		/* Host order is little endian on the CPUs that lack it */
		(void)ioctl(t->fd, TUNSETVNETLE, &le);
		ask_offload(t);
	}
	t->rx = util_map(TUN_RX_BYTES + VNET + TUN_FRAME);
	t->tx = util_map((size_t)TUN_TX_SLOTS * TUN_TX_STRIDE);
	if (!t->rx || !t->tx)
		return -ENOMEM;
	t->expect = 1;
	t->tap.drained = true; /* always: the loop tells of more */
	t->tap.ops = &tun_ops;
	t->tap.caps = (struct tap_caps){
		.tso = t->vnet,
		.uso = t->vnet && t->offload & TUN_F_USO4,
		.tso_in = t->offload & TUN_F_TSO4,
		.frame_max = TUN_FRAME,
	};
	return 0;
}

int tap_tun_open(struct tap_tun *t, int dev_fd, char *name)
{
	struct ifreq ifr = { .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR };

	memset(t, 0, sizeof(*t));
	t->fd = dev_fd;
	t->vnet = true;
	memcpy(ifr.ifr_name, name, IFNAMSIZ);
	if (ioctl(dev_fd, TUNSETIFF, &ifr)) {
		if (errno != EINVAL)
			return -errno;
		t->vnet = false;
		ifr.ifr_flags = IFF_TAP | IFF_NO_PI;
		if (ioctl(dev_fd, TUNSETIFF, &ifr))
			return -errno;
	}
	memcpy(name, ifr.ifr_name, IFNAMSIZ);
	return set_up(t);
}

int tap_tun_adopt(struct tap_tun *t, int fd)
{
	struct ifreq ifr = { 0 };

	memset(t, 0, sizeof(*t));
	t->fd = fd;
	if (ioctl(fd, TUNGETIFF, &ifr))
		return -errno;
	/* Packet information cannot be told: IFF_NO_PI is IFF_NOFILTER here */
	if (!(ifr.ifr_flags & IFF_TAP))
		return -EINVAL;
	t->vnet = ifr.ifr_flags & IFF_VNET_HDR;
	return set_up(t);
}

int tap_tun_start(struct tap_tun *t, struct loop *l, struct pcap *pcap,
		  unsigned watch, unsigned queue)
{
	t->tap.loop = l;
	t->tap.pcap = pcap;
	t->tap.watch = watch;
	t->tap.caps.queue = queue;
	t->tap.up = true;
	t->tap.session = 1;
	return loop_add(l, t->fd, watch, 0, EPOLLIN);
}
