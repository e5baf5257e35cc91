/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * vhost_user - the vhost-user dialogue: what a front-end says of its guest
 *
 * A message is gathered, in whatever pieces it comes, and looked up in a table.
 * Its handler returns the length of its answer, that there is none, or an
 * error.  A mistake costs the front-end its connection or, if it has asked for
 * replies, is refused.
 */
#include "vhost_user.h"

#include "log.h"

#include <linux/virtio_config.h>
#include <linux/virtio_net.h>
#include <linux/virtio_ring.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#define BIT(n)         ((uint64_t)1 << (n))

enum {
	HEAD = 12,
	/* of the header's flags */
	MSG_VERSION = 1,
	VERSION_MASK = 3,
	REPLY = 1 << 2,
	NEED_REPLY = 1 << 3,
	/* of the payload that comes with an eventfd */
	INDEX_MASK = 0xff,
	NO_FD = 1 << 8,
	/* of a ring's addresses */
	ADDR_LOG = 1 << 0,
	/* of the answer about a transfer of the device's state */
	STATE_REFUSED = 1,
	STATE_NO_FD = 1 << 8, /* bit of the answer: the front-end's own
				 descriptor is used */
	STATE_STOPPED = 0,    /* the only phase */
	/* protocol features */
	PROTO_MQ = 0,
	PROTO_LOG_SHMFD = 1,
	PROTO_RARP = 2,
	PROTO_REPLY_ACK = 3,
	PROTO_MEM_SLOTS = 15,
	PROTO_DEVICE_STATE = 19,
	F_LOG_ALL = 26,  /* VHOST_F_LOG_ALL */
	F_PROTOCOL = 30, /* VHOST_USER_F_PROTOCOL_FEATURES */
	MESSAGES = 64,   /* messages at a time: then the guest has its turn */
	SET_VRING_KICK = 12,
	CHECK_DEVICE_STATE = 43,
	/* of a state */
	SAVE_RINGS = 32, /* at once: FDLIST_SECTION */
	RING_PLACED = 1, RING_ENABLED = 2, RING_REPORTED = 4, RING_BROKEN = 8,
	RING_KICK = 16, RING_CALL = 32, RING_ERR = 64,
};

static const uint64_t offered =
	BIT(VIRTIO_NET_F_CSUM) | BIT(VIRTIO_NET_F_GUEST_CSUM) |
	BIT(VIRTIO_NET_F_GUEST_TSO4) | BIT(VIRTIO_NET_F_GUEST_TSO6) |
	BIT(VIRTIO_NET_F_GUEST_ECN) | BIT(VIRTIO_NET_F_HOST_TSO4) |
	BIT(VIRTIO_NET_F_HOST_TSO6) | BIT(VIRTIO_NET_F_HOST_ECN) |
	BIT(VIRTIO_NET_F_MRG_RXBUF) | BIT(VIRTIO_F_ANY_LAYOUT) |
	BIT(VIRTIO_RING_F_INDIRECT_DESC) | BIT(VIRTIO_RING_F_EVENT_IDX) |
	BIT(F_LOG_ALL) | BIT(F_PROTOCOL) | BIT(VIRTIO_F_VERSION_1) |
	BIT(NET_GUEST_USO4) | BIT(NET_GUEST_USO6) | BIT(NET_HOST_USO);

/* Offered only to a front-end that knows pairs of rings, as it then handles the
 * control queue.  Others (User-mode Linux) would hand us that queue as one more
 * ring. */
static const uint64_t offered_mq =
	BIT(VIRTIO_NET_F_MQ) | BIT(VIRTIO_NET_F_CTRL_VQ);

/* Inflight descriptors are not offered: when a ring stops, no chain is taken,
 * so its index is enough.  QEMU's network device does not ask for them. */
static const uint64_t offered_protocol =
	BIT(PROTO_MQ) | BIT(PROTO_LOG_SHMFD) | BIT(PROTO_RARP) |
	BIT(PROTO_REPLY_ACK) | BIT(PROTO_MEM_SLOTS);

/* --- descriptors ---------------------------------------------------------- */

static void drop_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

/* Take the first of the message's descriptors, which is the caller's then; -1:
 * none is left */
static int take_fd(struct vhost_user *v)
{
	unsigned i;
	int fd;

	for (i = 0; i < v->fds_n; i++) {
		fd = v->fds[i];
		v->fds[i] = -1;
		if (fd >= 0)
			return fd;
	}
	return -1;
}

static void drop_fds(struct vhost_user *v)
{
	unsigned i;

	for (i = 0; i < v->fds_n; i++)
		drop_fd(&v->fds[i]);
	v->fds_n = 0;
}

/* The front-end has it as well, so closing would not remove it from epoll */
static void drop_kick(struct vhost_user *v, unsigned i)
{
	if (v->ring[i].kick.fd >= 0)
		loop_del(v->loop, v->ring[i].kick.fd);
	vhost_bell_set(&v->ring[i].kick, -1);
}

/* --- features ------------------------------------------------------------- */

static int reply_u64(struct vhost_user *v, uint64_t value)
{
	v->msg.u.u64 = value;
	return sizeof(v->msg.u.u64);
}

static uint64_t offers(const struct vhost_user *v)
{
	return offered | (v->protocol & BIT(PROTO_MQ) ? offered_mq : 0);
}

/* After any change of what is logged: set the pointers that rings look at when
 * they write */
static void follow_log(struct vhost_user *v)
{
	struct vhost_log *l = v->mem.log.bits ? &v->mem.log : NULL;
	unsigned i;

	for (i = 0; i < VHOST_QUEUES; i++) {
		v->q[i].log = vhost_user_has(v, F_LOG_ALL) ? l : NULL;
		v->q[i].log_used = v->ring[i].logged ? l : NULL;
		v->q[i].used_gpa = v->ring[i].used_gpa;
	}
}

/* Whether the log covers all memory: other pages would be missing at the
 * guest's new place */
static bool is_covered(const struct vhost_user *v, uint64_t features)
{
	return !(features & BIT(F_LOG_ALL)) || !v->mem.log.bits ||
	       vhost_log_covers(&v->mem.log, &v->mem);
}

static int get_features(struct vhost_user *v)
{
	return reply_u64(v, offers(v));
}

static void take_features(struct vhost_user *v, uint64_t features)
{
	unsigned i;

	v->features = features;
	for (i = 0; i < VHOST_QUEUES; i++) {
		v->q[i].event_idx = vhost_user_has(v, VIRTIO_RING_F_EVENT_IDX);
		v->q[i].indirect =
			vhost_user_has(v, VIRTIO_RING_F_INDIRECT_DESC);
		if (!vhost_user_has(v, F_PROTOCOL))
			v->ring[i].enabled = true;
	}
}

static int set_features(struct vhost_user *v)
{
	uint64_t features = v->msg.u.u64;

	if (features & ~offers(v) || !is_covered(v, features))
		return -EINVAL;
	/* Set again for each pair, and when a migration begins or ends */
	v->changes += !!((features ^ v->features) & ~BIT(F_LOG_ALL));
	take_features(v, features);
	follow_log(v);
	return 0;
}

static uint64_t offers_protocol(const struct vhost_user *v)
{
	return offered_protocol | (v->state ? BIT(PROTO_DEVICE_STATE) : 0);
}

static int get_protocol(struct vhost_user *v)
{
	return reply_u64(v, offers_protocol(v));
}

static int set_protocol(struct vhost_user *v)
{
	if (v->msg.u.u64 & ~offers_protocol(v))
		return -EINVAL;
	v->protocol = v->msg.u.u64;
	return 0;
}

static int get_queue_num(struct vhost_user *v)
{
	return reply_u64(v, VHOST_PAIRS);
}

static int do_nothing(struct vhost_user *v)
{
	(void)v;
	return 0;
}

/* --- memory --------------------------------------------------------------- */

static int place(struct vhost_user *v, unsigned i)
{
	struct vhost_ring *r = &v->ring[i];

	return r->placed ? virtq_set(&v->q[i], r->desc, r->avail, r->used) : 0;
}

/* After memory has changed, find all rings again; a ring outside of it stops */
static void place_all(struct vhost_user *v)
{
	unsigned i;

	for (i = 0; i < v->rings; i++) {
		const char *broken = v->q[i].broken;

		(void)place(v, i);
		v->q[i].broken = broken;
	}
}

static int set_mem_table(struct vhost_user *v)
{
	unsigned i, n = v->msg.u.mem.n;
	int err = 0, fd;

	if (n > VHOST_FDS || v->fds_n != n ||
	    v->msg.size < offsetof(struct vhost_msg, u.mem.r[n]) - HEAD)
		return -EINVAL;
	vhost_mem_clear(&v->mem);
	for (i = 0; i < n && !err; i++) {
		struct vhost_region r = v->msg.u.mem.r[i];

		fd = take_fd(v);
		err = vhost_mem_add(&v->mem, &r, fd);
		if (err)
			drop_fd(&fd);
	}
	place_all(v);
	return err ? err : is_covered(v, v->features) ? 0 : -EINVAL;
}

static int get_mem_slots(struct vhost_user *v)
{
	return reply_u64(v, VHOST_REGIONS);
}

static int add_mem_reg(struct vhost_user *v)
{
	struct vhost_region r = v->msg.u.one.r;
	int fd = take_fd(v), err;

	if (fd < 0)
		return -EBADF;
	err = vhost_mem_add(&v->mem, &r, fd);
	if (err)
		drop_fd(&fd);
	place_all(v);
	return err ? err : is_covered(v, v->features) ? 0 : -EINVAL;
}

static int rem_mem_reg(struct vhost_user *v)
{
	struct vhost_region gone = v->msg.u.one.r;
	int err = vhost_mem_del(&v->mem, &gone);

	if (!err)
		place_all(v);
	return err;
}

/* --- rings ---------------------------------------------------------------- */

static void changed(struct vhost_user *v, unsigned i)
{
	if (i < VHOST_PAIR)
		v->changes++;
	else
		v->changes_more++;
}

static bool is_ring(struct vhost_user *v, unsigned i)
{
	if (i >= VHOST_QUEUES)
		return false;
	v->rings = MAX(v->rings, i + 1);
	return true;
}

static int set_vring_num(struct vhost_user *v)
{
	unsigned i = v->msg.u.state.index, n = v->msg.u.state.num;

	if (!is_ring(v, i) || !n || n > VIRTQ_MAX || n & (n - 1))
		return -EINVAL;
	virtq_unset(&v->q[i]);
	v->ring[i].placed = false;
	v->q[i].size = n;
	return 0;
}

/* Whether the ring is where it was: addresses are set again when a migration
 * begins or ends */
static bool is_there(const struct vhost_user *v, unsigned i)
{
	const struct vhost_ring *r = &v->ring[i];

	return virtq_ready(&v->q[i]) && r->desc == v->msg.u.addr.desc &&
	       r->avail == v->msg.u.addr.avail && r->used == v->msg.u.addr.used;
}

static int set_vring_addr(struct vhost_user *v)
{
	unsigned i = v->msg.u.addr.index;
	struct vhost_ring *r;

	if (!is_ring(v, i))
		return -EINVAL;
	r = &v->ring[i];
	r->logged = v->msg.u.addr.flags & ADDR_LOG;
	r->used_gpa = v->msg.u.addr.log;
	follow_log(v);
	if (is_there(v, i))
		return 0;
	r->desc = v->msg.u.addr.desc;
	r->avail = v->msg.u.addr.avail;
	r->used = v->msg.u.addr.used;
	r->placed = true;
	r->reported = false;
	changed(v, i);
	return place(v, i);
}

static int set_vring_base(struct vhost_user *v)
{
	unsigned i = v->msg.u.state.index;

	if (!is_ring(v, i) || v->msg.u.state.num > UINT16_MAX)
		return -EINVAL;
	v->q[i].next = v->q[i].seen = (uint16_t)v->msg.u.state.num;
	return 0;
}

/* Stop a ring.  It asks for kicks: whoever serves it next may never say whether
 * it wants them. */
static void stop_ring(struct vhost_user *v, unsigned i)
{
	(void)virtq_kicks(&v->q[i], true);
	virtq_unset(&v->q[i]);
	changed(v, i);
	v->ring[i].placed = false;
	drop_kick(v, i);
	vhost_bell_set(&v->ring[i].err, -1);
	vhost_bell_set(&v->ring[i].call, -1);
}

static int get_vring_base(struct vhost_user *v)
{
	unsigned i = v->msg.u.state.index;

	if (!is_ring(v, i))
		return -EINVAL;
	stop_ring(v, i);
	v->msg.u.state.num = v->q[i].next;
	return sizeof(v->msg.u.state);
}

/* The ring that the message's eventfd is for, or -errno.  *@fd is -1 if there
 * is to be none. */
static int eventfd_for(struct vhost_user *v, int *fd)
{
	bool kick = v->msg.request == SET_VRING_KICK;
	unsigned i = v->msg.u.u64 & INDEX_MASK;
	int err;

	*fd = -1;
	if (!is_ring(v, i))
		return -EINVAL;
	if (v->msg.u.u64 & NO_FD)
		return (int)i;
	*fd = take_fd(v);
	err = *fd < 0 ? -EINVAL : vhost_bell_check(*fd, kick);
	if (!err)
		return (int)i;
	drop_fd(fd);
	return err;
}

/* Watch a kick descriptor, edge-triggered: it is never read, as each write to
 * it is an event */
static int listen_kick(struct vhost_user *v, unsigned i, int fd)
{
	struct vhost_ring *r = &v->ring[i];
	int err;

	vhost_bell_set(&r->kick, fd);
	err = loop_add(v->loop, fd, r->kick_watch, 0, EPOLLIN | EPOLLET);
	if (err)
		vhost_bell_set(&r->kick, -1);
	return err;
}

static int set_vring_kick(struct vhost_user *v)
{
	int fd, i = eventfd_for(v, &fd);

	if (i < 0)
		return i;
	if (fd < 0)
		return -EOPNOTSUPP; /* we would have to poll */
	drop_kick(v, (unsigned)i);
	changed(v, (unsigned)i);
	return listen_kick(v, (unsigned)i, fd);
}

static int set_vring_call(struct vhost_user *v)
{
	int fd, i = eventfd_for(v, &fd);

	if (i < 0)
		return i;
	vhost_bell_set(&v->ring[i].call, fd);
	/* nobody was notified of what was pushed in between */
	vhost_bell_ring(&v->ring[i].call, v->look);
	return 0;
}

static int set_vring_err(struct vhost_user *v)
{
	int fd, i = eventfd_for(v, &fd);

	if (i < 0)
		return i;
	vhost_bell_set(&v->ring[i].err, fd);
	return 0;
}

static int set_vring_enable(struct vhost_user *v)
{
	unsigned i = v->msg.u.state.index;

	if (!is_ring(v, i) || v->msg.u.state.num > 1)
		return -EINVAL;
	v->ring[i].enabled = v->msg.u.state.num;
	if (i >= VHOST_PAIR)
		v->changes_more++;
	return 0;
}

static int reset_owner(struct vhost_user *v)
{
	unsigned i;

	for (i = 0; i < v->rings; i++)
		stop_ring(v, i);
	return 0;
}

/* --- migration ------------------------------------------------------------ */

/* A front-end does not look at the answer to this when it migrates, so a log
 * that cannot be used ends the dialogue */
static int set_log_base(struct vhost_user *v)
{
	int fd = take_fd(v), err;

	if (fd < 0)
		return -EBADF;
	err = vhost_log_set(&v->mem, fd, v->msg.u.log.size,
			    v->msg.u.log.offset);
	drop_fd(&fd);
	follow_log(v);
	return err ? err : reply_u64(v, 0);
}

static int set_log_fd(struct vhost_user *v)
{
	int fd = take_fd(v), err;

	if (fd < 0)
		return -EBADF;
	err = vhost_bell_check(fd, false);
	if (err)
		drop_fd(&fd);
	else
		vhost_bell_set(&v->log_call, fd);
	return err;
}

/* Note the MAC address of a migrated guest; its IP addresses are learnt from
 * its packets, or from whoever ran it before */
static int send_rarp(struct vhost_user *v)
{
	memcpy(&v->guest, &v->msg.u, sizeof(v->guest));
	return 0;
}

static int begin_transfer(struct vhost_user *v)
{
	uint32_t way = v->msg.u.transfer.way;
	int fd;

	if (!v->state || way > DEVICE_LOAD ||
	    v->msg.u.transfer.phase != STATE_STOPPED)
		return -EINVAL;
	if (vhost_user_runs(v))
		return -EBUSY;
	fd = take_fd(v);
	if (fd < 0)
		return -EBADF;
	v->saving = way == DEVICE_SAVE;
	v->saved = false;
	return v->state->begin(v->state->owner, way, fd);
}

static int set_device_state_fd(struct vhost_user *v)
{
	int err = begin_transfer(v);

	if (err)
		log_limited(LOG_WARN, "vhost-user: no transfer of the device's "
				      "state: %s", util_error(-err));
	return reply_u64(v, STATE_NO_FD | (err ? STATE_REFUSED : 0));
}

static int check_device_state(struct vhost_user *v)
{
	int err = v->state ? v->state->check(v->state->owner) : -ENODATA;

	v->waits = err == -EINPROGRESS;
	if (v->waits)
		return 0;
	v->saved = v->saving && !err;
	return reply_u64(v, (uint64_t)-err);
}

/* --- the dialogue --------------------------------------------------------- */

#define SIZE(field) sizeof(((struct vhost_msg *)0)->u.field)

static const struct request {
	/* > 0: bytes of answer in the message's payload */
	int (*serve)(struct vhost_user *v);
	size_t size;  /* least bytes of payload */
	unsigned fds; /* most descriptors */
} requests[] = {
	[1] = { get_features, 0, 0 },
	[2] = { set_features, SIZE(u64), 0 },
	[3] = { do_nothing, 0, 0 }, /* SET_OWNER */
	[4] = { reset_owner, 0, 0 },
	[5] = { set_mem_table, offsetof(struct vhost_msg, u.mem.r) - HEAD,
		VHOST_FDS },
	[6] = { set_log_base, SIZE(log), 1 },
	[7] = { set_log_fd, 0, 1 },
	[8] = { set_vring_num, SIZE(state), 0 },
	[9] = { set_vring_addr, SIZE(addr), 0 },
	[10] = { set_vring_base, SIZE(state), 0 },
	[11] = { get_vring_base, SIZE(state), 0 },
	[SET_VRING_KICK] = { set_vring_kick, SIZE(u64), 1 },
	[13] = { set_vring_call, SIZE(u64), 1 },
	[14] = { set_vring_err, SIZE(u64), 1 },
	[15] = { get_protocol, 0, 0 },
	[16] = { set_protocol, SIZE(u64), 0 },
	[17] = { get_queue_num, 0, 0 },
	[18] = { set_vring_enable, SIZE(state), 0 },
	[19] = { send_rarp, sizeof(struct mac), 0 },
	[36] = { get_mem_slots, 0, 0 },
	[37] = { add_mem_reg, SIZE(one), 1 },
	[38] = { rem_mem_reg, SIZE(one), 1 },
	[42] = { set_device_state_fd, SIZE(transfer), 1 },
	[CHECK_DEVICE_STATE] = { check_device_state, 0, 0 },
};

/* The front-end is to be hung up on because of @why */
static int end(struct vhost_user *v, int err, const char *why)
{
	v->why = why;
	return err;
}

static int answer(struct vhost_user *v, size_t size)
{
	size_t len = HEAD + size;
	ssize_t n;

	v->msg.flags = MSG_VERSION | REPLY;
	v->msg.size = (uint32_t)size;
	/* #syscalls:vu sendto send */
	n = send(v->fd, &v->msg, len, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (n == (ssize_t)len)
		return 0;
	return end(v, n < 0 ? -errno : -EIO, "it does not take an answer");
}

/* Call the handler of a message, or refuse it */
static int dispatch(struct vhost_user *v)
{
	uint32_t number = v->msg.request;
	const struct request *r;
	int ret;

	if (number >= ARRAY_SIZE(requests) || !requests[number].serve) {
		log_limited(LOG_WARN, "vhost-user: unknown request %u", number);
		return -EOPNOTSUPP;
	}
	r = &requests[number];
	ret = v->msg.size < r->size || v->fds_n > r->fds ? -EINVAL
							 : r->serve(v);
	if (ret < 0)
		log_limited(LOG_WARN, "vhost-user: request %u failed: %s",
			    number, util_error(-ret));
	return ret;
}

static int serve(struct vhost_user *v)
{
	bool asked = v->msg.flags & NEED_REPLY;
	int ret = dispatch(v);

	if (v->waits)
		return 0;
	if (ret > 0)
		return answer(v, (size_t)ret);
	/* User-mode Linux asks for a reply with the very message that accepts
	 * the feature */
	if (asked && v->protocol & BIT(PROTO_REPLY_ACK)) {
		v->msg.u.u64 = ret < 0;
		return answer(v, sizeof(v->msg.u.u64));
	}
	return ret ? end(v, ret, "a request that can't be served") : 0;
}

/* Descriptors of @h become the message's */
static int gather_fds(struct vhost_user *v, struct msghdr *h)
{
	int err = h->msg_flags & MSG_CTRUNC ? -EPROTO : 0;
	struct cmsghdr *c;

	for (c = CMSG_FIRSTHDR(h); c; c = CMSG_NXTHDR(h, c)) {
		const uint8_t *data = CMSG_DATA(c);
		size_t left = c->cmsg_len - CMSG_LEN(0);
		int fd;

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		for (; left >= sizeof(fd); left -= sizeof(fd)) {
			memcpy(&fd, data, sizeof(fd));
			data += sizeof(fd);
			if (v->fds_n < VHOST_FDS) {
				v->fds[v->fds_n++] = fd;
			} else {
				close(fd);
				err = -EPROTO;
			}
		}
	}
	return err ? end(v, err, "too many descriptors with a message") : 0;
}

/* Read up to @want more bytes of the message: 1, 0 if there are none for now,
 * or -errno */
static int gather(struct vhost_user *v, size_t want)
{
	union {
		char buf[CMSG_SPACE(VHOST_FDS * sizeof(int))];
		struct cmsghdr align;
	} control;
	struct iovec iov = { (uint8_t *)&v->msg + v->have, want };
	struct msghdr h = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.buf,
		.msg_controllen = sizeof(control.buf),
	};
	ssize_t n;
	int err;

	do /* #syscalls:vu recvmsg */
		n = recvmsg(v->fd, &h, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n < 0 && errno == EAGAIN)
		return 0;
	if (n < 0)
		return end(v, -errno,
			   errno == ECONNRESET ? NULL : util_error(errno));
	err = gather_fds(v, &h);
	if (err || !n)
		return err ? err : -ECONNRESET;
	v->have += (size_t)n;
	return 1;
}

/* Read the next message; 1: it is complete */
static int next_message(struct vhost_user *v)
{
	int ret;

	for (;;) {
		size_t all = HEAD;

		if (v->have >= HEAD) {
			if (v->msg.size > sizeof(v->msg.u) ||
			    (v->msg.flags & VERSION_MASK) != MSG_VERSION)
				return end(v, -EPROTO, "a message too long, or "
						       "of another version");
			all += v->msg.size;
			if (v->have == all)
				return 1;
		}
		ret = gather(v, all - v->have);
		if (ret <= 0)
			return ret;
	}
}

int vhost_user_read(struct vhost_user *v)
{
	unsigned i;
	int ret;

	/* In case a ring stops: what was pushed in this turn */
	vhost_user_flush(v);
	for (i = 0; i < MESSAGES && !v->waits; i++) {
		ret = next_message(v);
		if (ret <= 0)
			return ret;
		ret = serve(v);
		drop_fds(v);
		v->have = 0;
		if (ret)
			return ret;
	}
	return 0;
}

int vhost_user_answer(struct vhost_user *v)
{
	int ret;

	if (!v->waits)
		return 0;
	v->msg.request = CHECK_DEVICE_STATE;
	ret = check_device_state(v);
	return ret ? answer(v, (size_t)ret) : 0;
}

/* --- life ----------------------------------------------------------------- */

static void reset(struct vhost_user *v, struct loop *l, int look,
		  const unsigned watch[VHOST_PAIR])
{
	const struct vhost_bell none = { .fd = -1 };
	struct device_state *state = v->state;
	unsigned i;

	memset(v, 0, sizeof(*v));
	v->loop = l;
	v->look = look;
	v->state = state;
	v->log_call = none;
	v->fd = -1;
	for (i = 0; i < VHOST_QUEUES; i++) {
		v->q[i].mem = &v->mem;
		v->ring[i].call = v->ring[i].kick = v->ring[i].err = none;
		v->ring[i].kick_watch = watch[i % VHOST_PAIR];
	}
}

int vhost_user_init(struct vhost_user *v, struct loop *l,
		    const unsigned watch[VHOST_PAIR])
{
	int look = vhost_bell_look();

	v->state = NULL;
	reset(v, l, look, watch);
	return look < 0 ? look : vhost_mem_guard(&v->mem);
}

/* The one whose bells may block, for the signal handler */
static const struct vhost_user *belled;

static void on_next(int sig)
{
	unsigned i;
	int err = errno;

	(void)sig;
	for (i = 0; i < VHOST_QUEUES; i++) {
		vhost_bell_rouse(&belled->ring[i].kick);
		vhost_bell_rouse(&belled->ring[i].call);
		vhost_bell_rouse(&belled->ring[i].err);
	}
	vhost_bell_rouse(&belled->log_call);
	errno = err;
}

int vhost_user_guard(const struct vhost_user *v, int fd)
{
	struct sigaction sa = { .sa_handler = on_next };
	int flags = fcntl(fd, F_GETFL);

	belled = v;
	return flags < 0 || sigaction(SIGIO, &sa, NULL) ||
			       fcntl(fd, F_SETOWN, getpid()) ||
			       fcntl(fd, F_SETFL, flags | O_ASYNC) ?
		       -errno : 0;
}

void vhost_user_start(struct vhost_user *v, int fd)
{
	v->fd = fd;
}

void vhost_user_stop(struct vhost_user *v)
{
	const unsigned watch[VHOST_PAIR] = { v->ring[VHOST_RX].kick_watch,
					       v->ring[VHOST_TX].kick_watch };
	unsigned changes = v->changes + 1, more = v->changes_more + 1;

	(void)reset_owner(v);
	drop_fds(v);
	vhost_mem_clear(&v->mem);
	vhost_log_clear(&v->mem.log);
	vhost_bell_set(&v->log_call, -1);
	if (v->fd >= 0)
		loop_del(v->loop, v->fd);
	if (v->fd >= 0 && v->state)
		v->state->end(v->state->owner);
	drop_fd(&v->fd);
	reset(v, v->loop, v->look, watch);
	v->changes = changes;
	v->changes_more = more;
}

bool vhost_user_ring(const struct vhost_user *v, unsigned i)
{
	return v->ring[i].enabled && v->ring[i].kick.fd >= 0 &&
	       virtq_ready(&v->q[i]);
}

bool vhost_user_runs(const struct vhost_user *v)
{
	return vhost_user_ring(v, VHOST_RX) && vhost_user_ring(v, VHOST_TX);
}

static void report(struct vhost_user *v, unsigned i)
{
	struct vhost_ring *r = &v->ring[i];

	log_limited(LOG_WARN, "vhost-user: ring %u is broken: %s", i,
		    v->q[i].broken);
	r->reported = true;
	vhost_bell_ring(&r->err, v->look);
	vhost_bell_set(&r->err, -1);
}

void vhost_user_flush(struct vhost_user *v)
{
	unsigned i;

	for (i = 0; i < v->rings; i++) {
		if (virtq_flush(&v->q[i]))
			vhost_bell_ring(&v->ring[i].call, v->look);
		if (UNLIKELY(v->q[i].broken && !v->ring[i].reported))
			report(v, i);
	}
	if (UNLIKELY(v->log_call.fd >= 0) && v->mem.log.marked) {
		v->mem.log.marked = false;
		vhost_bell_ring(&v->log_call, v->look);
	}
}

/* --- to a successor -------------------------------------------------------- */

bool vhost_user_rests(const struct vhost_user *v)
{
	unsigned i;

	if (v->waits || v->saved ||
	    (v->mem.log.bits && vhost_user_has(v, F_LOG_ALL)))
		return false;
	for (i = 0; i < v->rings; i++)
		if (v->q[i].log_used || v->q[i].filled != v->q[i].told)
			return false;
	return true;
}

static void put_region(const struct vhost_mapped *r, struct wr *w,
		       struct fdlist *fds)
{
	wr_be64(w, r->gpa);
	wr_be64(w, r->len);
	wr_be64(w, r->uva);
	wr_be64(w, (uint64_t)(r->at - (uint8_t *)r->map.all));
	fdlist_put(fds, r->fd);
}

void vhost_user_save(const struct vhost_user *v, struct wr *w,
		     struct fdlist *fds)
{
	unsigned i;

	fdlist_put(fds, v->fd);
	wr_be64(w, v->features);
	wr_be64(w, v->protocol);
	wr_bytes(w, v->guest.b, sizeof(v->guest.b));
	wr_u8(w, (uint8_t)v->mem.n);
	for (i = 0; i < v->mem.n; i++)
		put_region(&v->mem.r[i], w, fds);
	wr_be16(w, (uint16_t)v->have);
	wr_bytes(w, &v->msg, v->have);
	wr_u8(w, (uint8_t)v->fds_n);
	for (i = 0; i < v->fds_n; i++)
		fdlist_put(fds, v->fds[i]);
}

static void put_bell(const struct vhost_bell *b, struct fdlist *fds)
{
	if (b->fd >= 0)
		fdlist_put(fds, b->fd);
}

static void put_ring(const struct vhost_user *v, unsigned i, struct wr *w,
		     struct fdlist *fds)
{
	const struct vhost_ring *r = &v->ring[i];

	wr_u8(w, (uint8_t)((r->placed ? RING_PLACED : 0) |
			   (r->enabled ? RING_ENABLED : 0) |
			   (r->reported ? RING_REPORTED : 0) |
			   (v->q[i].broken ? RING_BROKEN : 0) |
			   (r->kick.fd >= 0 ? RING_KICK : 0) |
			   (r->call.fd >= 0 ? RING_CALL : 0) |
			   (r->err.fd >= 0 ? RING_ERR : 0)));
	wr_be16(w, (uint16_t)v->q[i].size);
	wr_be16(w, v->q[i].next);
	wr_be64(w, r->desc);
	wr_be64(w, r->avail);
	wr_be64(w, r->used);
	put_bell(&r->kick, fds);
	put_bell(&r->call, fds);
	put_bell(&r->err, fds);
}

unsigned vhost_user_save_rings(const struct vhost_user *v, unsigned from,
			       struct wr *w, struct fdlist *fds)
{
	unsigned end = MIN(v->rings, from + SAVE_RINGS), i;

	wr_u8(w, (uint8_t)from);
	wr_u8(w, (uint8_t)(end - from));
	for (i = from; i < end; i++)
		put_ring(v, i, w, fds);
	return end < v->rings ? end : 0;
}

static int get_region(struct vhost_user *v, struct rd *r, struct fdlist *fds)
{
	struct vhost_region region;
	int fd = fdlist_take(fds), err;

	region.gpa = rd_be64(r);
	region.size = rd_be64(r);
	region.uva = rd_be64(r);
	region.offset = rd_be64(r);
	err = rd_ok(r) && fd >= 0 ? vhost_mem_add(&v->mem, &region, fd) :
				    -EPROTO;
	if (err)
		drop_fd(&fd);
	return err;
}

/* Load the beginning of a message, of which the rest is still to come */
static int get_message(struct vhost_user *v, struct rd *r, struct fdlist *fds)
{
	unsigned n;

	v->have = rd_be16(r);
	if (v->have > sizeof(v->msg))
		return -EPROTO;
	rd_copy(r, &v->msg, v->have);
	n = rd_u8(r);
	if (n > VHOST_FDS)
		return -EPROTO;
	while (v->fds_n < n)
		v->fds[v->fds_n++] = fdlist_take(fds);
	return 0;
}

int vhost_user_load(struct vhost_user *v, struct rd *r, struct fdlist *fds)
{
	uint64_t features = rd_be64(r);
	unsigned n;
	int err = 0;

	v->protocol = rd_be64(r);
	/* We are older than the version that offered them: the guest cannot be
	 * told */
	if (v->protocol & ~offers_protocol(v) || features & ~offers(v))
		return -ENOTSUP;
	take_features(v, features);
	rd_copy(r, v->guest.b, sizeof(v->guest.b));
	for (n = rd_u8(r); n && !err; n--)
		err = get_region(v, r, fds);
	return err ? err : get_message(v, r, fds);
}

static int get_ring(struct vhost_user *v, unsigned i, struct rd *r,
		    struct fdlist *fds)
{
	struct vhost_ring *ring = &v->ring[i];
	unsigned flags = rd_u8(r), n = rd_be16(r);
	int err = 0;

	v->q[i].next = v->q[i].seen = rd_be16(r);
	ring->desc = rd_be64(r);
	ring->avail = rd_be64(r);
	ring->used = rd_be64(r);
	if (!rd_ok(r) || n > VIRTQ_MAX || n & (n - 1))
		return -EPROTO;
	v->q[i].size = n;
	ring->placed = flags & RING_PLACED;
	ring->enabled = flags & RING_ENABLED;
	ring->reported = flags & RING_REPORTED;
	/* its memory may be gone: then it stands still, as before */
	(void)place(v, i);
	if (flags & RING_BROKEN)
		virtq_break(&v->q[i], "as it was before a takeover");
	if (flags & RING_KICK)
		err = listen_kick(v, i, fdlist_take(fds));
	if (flags & RING_CALL)
		vhost_bell_set(&ring->call, fdlist_take(fds));
	if (flags & RING_ERR)
		vhost_bell_set(&ring->err, fdlist_take(fds));
	return err;
}

int vhost_user_load_rings(struct vhost_user *v, struct rd *r,
			  struct fdlist *fds)
{
	unsigned i = rd_u8(r), end = i + rd_u8(r);
	int err = 0;

	for (; i < end && !err; i++)
		err = is_ring(v, i) ? get_ring(v, i, r, fds) : -EPROTO;
	return err;
}

void vhost_user_poke(struct vhost_user *v, unsigned i)
{
	vhost_bell_ring(&v->ring[i].kick, v->look);
}
