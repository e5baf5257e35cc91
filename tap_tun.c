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
	IP_MAX = 65535,			  /* IP's length field has 16 bits */
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
	/* The command may have had the terminal, but it is about to end */
	log_stderr(true);
	log_err("Namespace interface gone (%s: %s), exiting", what,
		util_error(errno));
	t->tap.up = false;
	loop_quit(t->tap.loop, 1);
}

/* How many frames to read from a lane: twice as many as before, if all that
 * were expected have come and the next turn reports more */
static unsigned expected(struct tun_lane *l, uint64_t turn)
{
	if (l->met && turn == l->turn + 1)
		l->expect = MIN(l->expect * 2, (unsigned)PACKET_BATCH);
	l->turn = turn;
	l->met = true;
	return l->expect;
}

static void fill(struct tap_tun *t, struct frame *f, uint8_t *at, size_t len)
{
	size_t vnet = t->vnet ? VNET : 0;

	f->len = len - vnet;
	f->one = (struct iovec){ at + vnet, f->len };
	f->iov = &f->one;
	f->iov_cnt = 1;
	if (vnet)
		f->note = note_in(at);
	else
		f->note = (struct note){ 0 };
	tap_captured(&t->tap, false, f->iov, 1, f->len, &f->note);
}

/* Read up to @max frames to *@at, which moves behind them, as long as a frame
 * begins before @end */
static unsigned take(struct tap_tun *t, struct tun_lane *l, struct frame *f,
		     unsigned max, uint8_t **at, const uint8_t *end)
{
	size_t vnet = t->vnet ? VNET : 0;
	unsigned n = 0;

	while (n < max && *at < end) {
		/* #syscalls read */
		ssize_t len = read(l->fd, *at, vnet + TUN_FRAME);

		if (len < 0 && errno == EINTR)
			continue;
		if (len <= 0) {
			l->met = false;
			l->expect = MAX(n, 1U);
			if (!len || errno != EAGAIN)
				lost(t, "read");
			break;
		}
		if ((size_t)len <= vnet)
			continue;
		fill(t, f + n, *at, (size_t)len);
		/* Keep the headers of the next one aligned for the CPU */
		*at += ((size_t)len + 15) & ~(size_t)15;
		n++;
	}
	return n;
}

static void take_bulk(struct tap_tun *t, unsigned max)
{
	struct tun_lane *l = &t->lane[t->lanes - 1];
	uint64_t turn = t->tap.loop->turns;
	bool beside = turn - t->beside < TUN_BESIDE && t->crowded < TUN_FLOOD;
	uint8_t *at = t->rx_bulk;

	max = MIN(max, expected(l, turn));
	t->held = take(t, l, t->bulk, max, &at,
		       at + (beside ? TUN_BULK_BESIDE : TUN_BULK_BYTES));
}

/* Read the other lanes, completely if held bulk waits for that; true: there is
 * more.  The lane of connections comes first: a flood of anything else comes by
 * the others, and the ACKs of connections would wait as long as its frames
 * take. */
static bool take_others(struct tap_tun *t, uint32_t ready, struct frame *f,
			unsigned max, unsigned *n)
{
	const uint8_t *end = t->rx + TUN_RX_BYTES;
	uint8_t *at = t->rx;
	bool more = false;

	while (ready) {
		unsigned i = 31 - (unsigned)__builtin_clz(ready);
		unsigned room = max - *n, got;
		const uint8_t *stop = end;

		ready &= ~(1U << i);
		if (ready) { /* leave something for the lanes behind it */
			room /= 2;
			stop = at + (end - at) / 2;
		}
		if (!t->held)
			room = MIN(room, expected(&t->lane[i],
						  t->tap.loop->turns));
		got = take(t, &t->lane[i], f + *n, room, &at, stop);
		more |= got == room || at >= stop;
		*n += got;
	}
	return more;
}

static void give_bulk(struct tap_tun *t, struct frame *f)
{
	unsigned i;

	for (i = 0; i < t->held; i++) {
		f[i] = t->bulk[i];
		f[i].iov = &f[i].one;
	}
	t->held = t->passed = 0;
}

/* Whether held bulk has to wait: while the others have @more than a turn takes,
 * but not for ever.  If they go on like that, nobody waits for an answer there,
 * and from then on half of each turn is for bulk. */
static bool bulk_waits(struct tap_tun *t, bool more)
{
	enum { PATIENCE = 16 };
	uint64_t turn = t->tap.loop->turns;

	if (!more || turn - t->crowd > TUN_BESIDE)
		t->crowded = 0;
	t->crowded += more;
	t->crowd = turn;
	return more && t->crowded < TUN_FLOOD && t->passed++ < PATIENCE;
}

/* Receive from several lanes.  Bulk is read before the other lanes, but given
 * out after them: so a flow that has begun to send much keeps its order, as
 * what it sent before has arrived by then. */
static unsigned receive_lanes(struct tap_tun *t, struct frame *f, unsigned max)
{
	uint32_t bulk = 1U << (t->lanes - 1), ready = t->tap.refs;
	unsigned n = 0;
	bool more;

	t->tap.refs = 0;
	if (t->held)
		ready |= bulk - 1;
	else if (ready & bulk)
		take_bulk(t, ready == bulk ? max : max / 2);
	more = take_others(t, ready & (bulk - 1), f, max - t->held, &n);
	if (n)
		t->beside = t->tap.loop->turns;
	if (t->held && !bulk_waits(t, more)) {
		unsigned held = t->held;

		give_bulk(t, f + n);
		n += held;
	}
	t->tap.drained = !t->held;
	return n;
}

static unsigned receive(struct tap *tap, struct frame *f, unsigned max)
{
	struct tap_tun *t = tun_of(tap);
	uint8_t *at = t->rx;

	if (t->lanes > 1)
		return receive_lanes(t, f, max);
	max = MIN(max, expected(&t->lane[0], tap->loop->turns));
	return take(t, &t->lane[0], f, max, &at, at + TUN_RX_BYTES);
}

static void release(struct tap *tap)
{
	(void)tap;
}

/* The number of a lane.  If there are fewer than TUN_LANES, the last is for
 * bulk and the one before for all others. */
static unsigned lane_of(const struct tap_tun *t, enum lane lane)
{
	unsigned from_end = LANE_BULK - lane;

	if (lane < LANE_CONN && t->lanes < TUN_LANES)
		from_end = LANE_BULK - LANE_CONN;
	return t->lanes > from_end ? t->lanes - 1 - from_end : 0;
}

static uint8_t *slot_body(struct tap_tun *t, unsigned i)
{
	return t->tx + (size_t)i * TUN_TX_STRIDE + TUN_TX_HEAD;
}

static void lay_out(struct tap_tun *t, struct slot *s, unsigned i, size_t want)
{
	uint8_t *body = slot_body(t, i);
	size_t max = MIN(want, s->mss ? (size_t)TUN_BIG : (size_t)BODY_MAX), used;

	s->lane = LANE_OTHER;
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

static enum verdict send_frame(struct tap_tun *t, int fd, const uint8_t *p,
			       size_t len)
{
	ssize_t n;

	do /* #syscalls write */
		n = write(fd, p, len);
	while (n < 0 && errno == EINTR);
	if (n >= 0)
		return PASS;
	/* EINVAL: the kernel does not like the note */
	if (errno == EAGAIN || errno == ENOBUFS || errno == ENOSPC ||
	    errno == ENOMEM || errno == EINVAL || errno == EMSGSIZE)
		return DROP_NO_ROOM;
	if (errno != EIO) /* EIO: the interface is down */
		lost(t, "write");
	return DROP_CONN;
}

/* Send a contiguous frame or run; what the kernel refuses is lost, as on a
 * wire */
static void put(struct tap_tun *t, int fd, uint8_t *frame, size_t len,
		const struct note *n)
{
	struct iovec iov = { frame, len };
	size_t vnet = t->vnet ? VNET : 0, all = MAX(len, (size_t)FRAME_MIN);
	enum verdict v;

	memset(frame + len, 0, all - len);
	if (vnet)
		note_out(frame - vnet, n);
	v = send_frame(t, fd, frame - vnet, all + vnet);
	if (v == PASS) {
		tap_captured(&t->tap, true, &iov, 1, len, n);
	} else {
		t->tap.drops[v]++;
		tap_lost(&t->tap, v, &iov, 1, len, n);
	}
}

static void put_pieces(struct tap_tun *t, int fd, const struct slot *s,
		       size_t used, const struct note *n)
{
	static const struct note finished;
	uint8_t head[HEAD_MAX];
	size_t off = 0;
	unsigned i;

	memcpy(head, s->head, s->head_len);
	for (i = 0; off < used; i++) {
		size_t len = MIN(s->body[i].iov_len, used - off);
		uint8_t *at = (uint8_t *)s->body[i].iov_base - s->head_len;

		/* The gap of the next piece is our tail: write this one
		 * first */
		segment_head(at, head, s->head_len, n, off, len, used);
		put(t, fd, at, s->head_len + len, &finished);
		off += len;
	}
}

/* Send a packet of more than 64 KiB.  The kernel needs contiguous pages for it,
 * of which there may be none left, and before Linux 6.6 its tun does not try
 * (EMSGSIZE).  The packet is then sent as segments, and shorter ones are made
 * from then on. */
static void put_big(struct tap_tun *t, int fd, struct slot *s, size_t used,
		    const struct note *n)
{
	size_t len = s->head_len + used, off;
	struct iovec iov = { s->head, len };

	note_out(s->head - VNET, n);
	if (send_frame(t, fd, s->head - VNET, len + VNET) == PASS) {
		tap_captured(&t->tap, true, &iov, 1, len, n);
		return;
	}
	t->big = errno != EMSGSIZE;
	t->big_again = t->tap.loop->now_ms + TUN_AGAIN_MS;
	t->tap.caps.big4 = 0;
	s->body_cnt = 0;
	for (off = 0; off < used; off += n->gso_size)
		s->body[s->body_cnt++] = (struct iovec){
			(uint8_t *)s->priv + off, MIN(used - off, n->gso_size)
		};
	put_pieces(t, fd, s, used, n);
}

static bool send_apart(struct tap_tun *t, int fd, const struct slot *s,
		       size_t used, const struct note *n)
{
	struct iovec iov[1 + SLOT_APART];
	unsigned cnt;
	ssize_t sent;

	note_out(s->head - VNET, n);
	iov[0] = (struct iovec){ s->head - VNET, VNET + s->head_len };
	cnt = 1 + iov_slice(iov + 1, SLOT_APART, s->body, s->body_cnt, 0, used,
			    NULL);
	do /* #syscalls:pasta writev */
		sent = writev(fd, iov, (int)cnt);
	while (sent < 0 && errno == EINTR);
	if (sent < 0)
		return false;
	iov[0] = (struct iovec){ s->head, s->head_len };
	tap_captured(&t->tap, true, iov, cnt, s->head_len + used, n);
	return true;
}

/* Send a slot whose body lies elsewhere.  False: it was copied to the slot, and
 * is to be sent from there, perhaps because the kernel has refused it, which is
 * handled there. */
static bool put_apart(struct tap_tun *t, int fd, struct slot *s, size_t used,
		      const struct note *n)
{
	if (used > TUN_FEW && send_apart(t, fd, s, used, n))
		return true;
	iov_read(s->body, s->body_cnt, 0, s->priv, used);
	s->body[0] = (struct iovec){ s->priv, used };
	s->body_cnt = 1;
	return false;
}

static void commit(struct tap *tap, struct slot *s, size_t used,
		   const struct note *n)
{
	struct tap_tun *t = tun_of(tap);
	int fd = t->lane[lane_of(t, s->lane)].fd;
	size_t len = s->head_len + used;
	struct note left = *n;

	if (used && s->body[0].iov_base != s->priv &&
	    put_apart(t, fd, s, used, n))
		return;
	if (UNLIKELY(len > TUN_FRAME)) {
		put_big(t, fd, s, used, n);
		return;
	}
	if (s->body_cnt > 1 && n->gso_type) {
		put_pieces(t, fd, s, used, n);
		return;
	}
	if (!t->vnet && n->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) {
		segment_finish(s->head, len, n);
		left = (struct note){ 0 };
	}
	put(t, fd, s->head, len, &left);
}

static void cancel(struct tap *tap, struct slot *s)
{
	(void)tap;
	(void)s;
}

static void flush(struct tap *tap)
{
	struct tap_tun *t = tun_of(tap);

	if (UNLIKELY(t->big_again) && tap->loop->now_ms >= t->big_again) {
		t->big_again = 0;
		tap->caps.big4 = t->big ? TUN_BIG : 0;
	}
}

/* Not while frames are held: these are given out in one of the next turns */
static bool save(const struct tap *tap, struct wr *w, struct fdlist *fds)
{
	const struct tap_tun *t =
		(const struct tap_tun *)(const void *)tap; /* its first */
	unsigned i;

	if (t->held)
		return false;
	wr_be32(w, tap->caps.queue);
	wr_u8(w, (uint8_t)t->lanes);
	wr_u8(w, t->big);
	for (i = 0; i < t->lanes; i++)
		fdlist_put(fds, t->lane[i].fd);
	return true;
}

static const struct tap_ops tun_ops = {
	.receive = receive,
	.release = release,
	.reserve = reserve,
	.commit = commit,
	.cancel = cancel,
	.flush = flush,
	.save = save,
};

/* Turn on what the kernel may leave to us, trying the most first */
static void ask_offload(struct tap_tun *t)
{
	static const unsigned step[] = { TUN_F_CSUM | TSO | USO,
					 TUN_F_CSUM | TSO, TUN_F_CSUM, 0 };
	unsigned i;

	for (i = 0; i < ARRAY_SIZE(step); i++)
		if (!ioctl(t->lane[0].fd, TUNSETOFFLOAD, step[i]))
			break;
	t->offload = i < ARRAY_SIZE(step) ? step[i] : 0;
}

static int set_up(struct tap_tun *t)
{
	int fd = t->lane[0].fd, size = VNET, le = 1;

	if (t->vnet) {
		if (ioctl(fd, TUNSETVNETHDRSZ, &size))
			return -errno;
		/* Host order is little endian on the CPUs that lack it */
		(void)ioctl(fd, TUNSETVNETLE, &le);
		ask_offload(t);
	}
	t->rx = util_map(TUN_RX_BYTES + VNET + TUN_FRAME);
	t->rx_bulk = util_map(TUN_BULK_BYTES + VNET + TUN_FRAME);
	t->tx = util_map((size_t)TUN_TX_SLOTS * TUN_TX_STRIDE);
	if (!t->rx || !t->rx_bulk || !t->tx)
		return -ENOMEM;
	t->tap.drained = true; /* the loop tells of more */
	t->tap.ops = &tun_ops;
	t->tap.caps = (struct tap_caps){
		.tso = t->vnet,
		.uso = t->vnet && t->offload & TUN_F_USO4,
		.tso_in = t->offload & TUN_F_TSO4,
		.runs = true,
		.apart = t->vnet,
		.frame_max = TUN_FRAME,
	};
	return 0;
}

static int add_lane(struct tap_tun *t, int fd)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK))
		return -errno;
	t->lane[t->lanes++] = (struct tun_lane){ .fd = fd, .expect = 1 };
	return 0;
}

/* Attach @fd to interface @name: 0 or -errno */
static int attach(int fd, char *name, int flags)
{
	struct ifreq ifr = { .ifr_flags = (short)(IFF_TAP | IFF_NO_PI | flags) };

	memcpy(ifr.ifr_name, name, IFNAMSIZ);
	if (ioctl(fd, TUNSETIFF, &ifr))
		return -errno;
	memcpy(name, ifr.ifr_name, IFNAMSIZ);
	return 0;
}

/* Attach with as many features as the kernel, and a device that exists already,
 * allow */
static int attach_somehow(int fd, char *name, bool lanes, int how, int *flags)
{
	static const int step[] = { IFF_VNET_HDR | IFF_MULTI_QUEUE,
				    IFF_VNET_HDR, 0 };
	unsigned i;
	int err = -EINVAL;

	for (i = lanes ? 0 : 1; i < ARRAY_SIZE(step) && err == -EINVAL; i++) {
		*flags = step[i];
		err = attach(fd, name, *flags | how);
	}
	return err;
}

static bool is_persistent(int fd)
{
	struct ifreq ifr = { 0 };

	return !ioctl(fd, TUNGETIFF, &ifr) && ifr.ifr_flags & IFF_PERSIST;
}

/* Attach the first queue.  A device that exists must be persistent; otherwise
 * somebody else uses it, and by another queue we would get a part of the
 * frames. */
static int attach_first(int fd, char *name, bool lanes, int *flags)
{
	int err = attach_somehow(fd, name, lanes, IFF_TUN_EXCL, flags);
	bool there = err == -EBUSY;

	if (err) /* an emulated kernel may not know IFF_TUN_EXCL */
		err = attach_somehow(fd, name, lanes, 0, flags);
	return there && !err && !is_persistent(fd) ? -EBUSY : err;
}

int tap_tun_open(struct tap_tun *t, const int *dev_fd, unsigned n, char *name)
{
	unsigned i;
	int flags, err;

	memset(t, 0, sizeof(*t));
	t->lane[0].fd = dev_fd[0];
	err = attach_first(dev_fd[0], name, n > 1, &flags);
	if (!err)
		err = add_lane(t, dev_fd[0]);
	if (err)
		return err;
	t->vnet = flags & IFF_VNET_HDR;
	for (i = 1; i < MIN(n, (unsigned)TUN_LANES); i++)
		if (!(flags & IFF_MULTI_QUEUE) ||
		    attach(dev_fd[i], name, flags) || add_lane(t, dev_fd[i]))
			close(dev_fd[i]);
	return set_up(t);
}

/* Use a device that somebody else has set up */
static int adopt_first(struct tap_tun *t, int fd, char *name)
{
	struct ifreq ifr = { 0 };

	memset(t, 0, sizeof(*t));
	t->lane[0].fd = fd;
	if (ioctl(fd, TUNGETIFF, &ifr))
		return -errno;
	/* Packet information cannot be told: IFF_NO_PI is IFF_NOFILTER here */
	if (!(ifr.ifr_flags & IFF_TAP))
		return -EINVAL;
	t->vnet = ifr.ifr_flags & IFF_VNET_HDR;
	memcpy(name, ifr.ifr_name, IFNAMSIZ);
	return add_lane(t, fd);
}

int tap_tun_adopt(struct tap_tun *t, int fd, char *name)
{
	int err = adopt_first(t, fd, name);

	return err ? err : set_up(t);
}

int tap_tun_load(struct tap_tun *t, struct rd *r, struct fdlist *fds)
{
	unsigned queue = rd_be32(r), lanes = rd_u8(r), i;
	char name[IFNAMSIZ];
	int err;

	if (!rd_ok(r) || !lanes || lanes > TUN_LANES)
		return -EPROTO;
	err = adopt_first(t, fdlist_take(fds), name);
	for (i = 1; i < lanes && !err; i++)
		err = add_lane(t, fdlist_take(fds));
	if (!err)
		err = set_up(t);
	tap_tun_link(t, queue, rd_left(r) && rd_u8(r)); /* older predecessors do
							   not write it */
	return err;
}

int tap_tun_start(struct tap_tun *t, struct loop *l, struct pcap *pcap,
		  unsigned watch)
{
	unsigned i;
	int err = 0;

	t->tap.loop = l;
	t->tap.pcap = pcap;
	t->tap.watch = watch;
	t->tap.caps.big4 = t->big && t->vnet && pcap->fd < 0 ? TUN_BIG : 0;
	t->tap.up = true;
	t->tap.session = 1;
	for (i = 0; i < t->lanes && !err; i++)
		err = loop_add(l, t->lane[i].fd, watch, i, EPOLLIN);
	return err;
}
