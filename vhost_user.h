/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * vhost_user - the vhost-user dialogue: what a front-end says of its guest
 *
 * A front-end (QEMU) is on a Unix stream socket.  It tells which features the
 * guest's driver has taken, passes descriptors of its memory, says where in
 * there the rings are and hands an eventfd for either direction of each.
 * Numbers are those of QEMU's docs/interop/vhost-user.
 */
#ifndef VHOST_USER_H
#define VHOST_USER_H

#include "addr.h"
#include "cursor.h"
#include "device_state.h"
#include "fdlist.h"
#include "loop.h"
#include "vhost_bell.h"
#include "virtq.h"

/* Bits that older headers lack */
enum { NET_GUEST_USO4 = 54, NET_GUEST_USO6, NET_HOST_USO };

/* As the guest calls them, and so on for each further pair */
enum { VHOST_RX, VHOST_TX, VHOST_PAIR };
enum {
	VHOST_PAIRS = 64, /* one for each CPU of a large guest */
	VHOST_QUEUES = VHOST_PAIRS * VHOST_PAIR,
};
enum { VHOST_FDS = 8 };                    /* most descriptors of a message */

/* As it goes over the socket, in host byte order */
struct vhost_msg {
	uint32_t request, flags, size;
	union {
		uint64_t u64;
		struct {
			uint32_t index, num;
		} state;
		struct {
			uint32_t index, flags;
			uint64_t desc, used, avail, log;
		} addr;
		struct {
			uint32_t n, padding;
			struct vhost_region r[VHOST_FDS];
		} mem;
		struct {
			uint64_t padding;
			struct vhost_region r;
		} one;
		struct {
			uint64_t size, offset; /* of its file */
		} log;
		struct {
			uint32_t way, phase;
		} transfer;
	} __attribute__((packed, aligned(4))) u;
} __attribute__((packed, aligned(4)));

struct vhost_ring {
	uint64_t desc, avail, used; /* addresses of the front-end */
	bool placed;                /* these are set */
	bool enabled;
	bool reported;  /* that it is broken */
	bool logged;    /* what is written to @used, as @used_gpa */
	uint64_t used_gpa;
	struct vhost_bell kick, call, err;
	unsigned kick_watch;
};

struct vhost_user {
	struct loop *loop;
	int look;         /* see vhost_bell_look() */
	int fd;           /* the front-end, -1 */
	unsigned rings;   /* up to the last that was spoken of */
	unsigned changes; /* of features, but for VHOST_F_LOG_ALL, of where the
			     first pair's rings are, of their start */
	unsigned changes_more; /* of other rings, or whether they are enabled */
	uint64_t
		features; /* VIRTIO_F_*, VIRTIO_NET_F_*: what the driver took */
	uint64_t protocol; /* VHOST_USER_PROTOCOL_F_* */
	struct mac guest;  /* whose new place is to be known, or zero */
	struct device_state *state; /* NULL: nothing but memory moves */
	bool saving;    /* what was begun with @state last */
	bool waits;     /* it is to hear what became of that */
	bool saved;     /* all of it: the guest is to run elsewhere */
	struct vhost_bell log_call;
	struct vhost_mem mem;
	struct virtq q[VHOST_QUEUES];
	struct vhost_ring ring[VHOST_QUEUES];
	struct vhost_msg msg; /* in the making: */
	size_t have;          /* bytes of it, */
	int fds[VHOST_FDS];   /* what came with it */
	unsigned fds_n;
	const char *why;      /* it is to be hung up on */
};

/* vhost_user_init - @watch are told of kicks, one for each direction
 * For one @v of a process, as vhost_mem_guard().  0 or -errno.  Then @v->state
 * may be set. */
int vhost_user_init(struct vhost_user *v, struct loop *l,
		    const unsigned watch[VHOST_PAIR]);

/* vhost_user_guard - who connects to @fd, a listening socket, frees us from a write to
 * what a front-end gave us, should that have come to wait (SIGIO)
 * In the process that serves, for one @v of it.  0 or -errno. */
int vhost_user_guard(const struct vhost_user *v, int fd);

/* vhost_user_start - a front-end is on @fd, which is ours from now on */
void vhost_user_start(struct vhost_user *v, int fd);

/* vhost_user_stop - forget it: descriptors, memory, rings */
void vhost_user_stop(struct vhost_user *v);

/* vhost_user_read - do what it asks for and answer
 * To be called between bursts: no chain of a ring may be out.  0, or -errno if
 * it is gone or talks nonsense: then stop.  @v->why says what was wrong, NULL if
 * it has just left. */
int vhost_user_read(struct vhost_user *v);

/* vhost_user_answer - it was told to wait for what became of the device's state,
 * and that is known now
 * Until then there is nothing to be read from it.  As vhost_user_read(). */
int vhost_user_answer(struct vhost_user *v);

/* vhost_user_has - whether the driver took feature bit @bit */
static inline bool vhost_user_has(const struct vhost_user *v, unsigned bit)
{
	return v->features >> bit & 1;
}

/* vhost_user_ring - whether ring @i may be used */
bool vhost_user_ring(const struct vhost_user *v, unsigned i);

/* vhost_user_runs - whether both rings of the first pair may be used */
bool vhost_user_runs(const struct vhost_user *v);

/* vhost_user_flush - the guest may have what was pushed to its rings */
void vhost_user_flush(struct vhost_user *v);

/* vhost_user_rests - whether it can go to a successor: nothing is logged, and the
 * device's state is not on its way */
bool vhost_user_rests(const struct vhost_user *v);

/* vhost_user_save - the front-end, its memory, of a message what is here
 * vhost_user_save_rings - some rings from @from on; the next one, 0: that was all
 * Between bursts, behind vhost_user_flush(). */
void vhost_user_save(const struct vhost_user *v, struct wr *w,
		     struct fdlist *fds);
unsigned vhost_user_save_rings(const struct vhost_user *v, unsigned from,
			       struct wr *w, struct fdlist *fds);

/* vhost_user_load, vhost_user_load_rings - what these saved; 0 or -errno
 * Nothing is written to the guest's memory or told to anybody. */
int vhost_user_load(struct vhost_user *v, struct rd *r, struct fdlist *fds);
int vhost_user_load_rings(struct vhost_user *v, struct rd *r,
			  struct fdlist *fds);

/* vhost_user_poke - have ring @i looked at as if the guest had kicked */
void vhost_user_poke(struct vhost_user *v, unsigned i);

#endif /* VHOST_USER_H */
