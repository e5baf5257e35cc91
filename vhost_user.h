/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * vhost_user - the vhost-user dialogue: what a front-end says of its guest
 *
 * A front-end (QEMU) is connected by a Unix stream socket.  It tells which
 * features the guest's driver has accepted, passes descriptors of its memory,
 * says where in it the rings are, and hands over an eventfd for each direction
 * of each ring.  Numbers are those of QEMU's docs/interop/vhost-user.
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

/* Feature bits that older headers lack */
enum { NET_GUEST_USO4 = 54, NET_GUEST_USO6, NET_HOST_USO };

/* Numbers of the rings, named as the guest sees them; each further pair
 * follows */
enum { VHOST_RX, VHOST_TX, VHOST_PAIR };
enum {
	VHOST_PAIRS = 64, /* a pair for each CPU of a large guest */
	VHOST_QUEUES = VHOST_PAIRS * VHOST_PAIR,
};
enum { VHOST_FDS = 8 };                    /* most descriptors with a message */

/* A message as it goes over the socket, in host byte order */
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
			uint64_t size, offset; /* in the file */
		} log;
		struct {
			uint32_t way, phase;
		} transfer;
	} __attribute__((packed, aligned(4))) u;
} __attribute__((packed, aligned(4)));

struct vhost_ring {
	uint64_t desc, avail, used; /* addresses, as the front-end has them */
	bool placed;                /* these were set */
	bool enabled;
	bool reported;  /* it was reported that the ring is broken */
	bool logged;    /* what is written to @used is logged, at @used_gpa */
	uint64_t used_gpa;
	struct vhost_bell kick, call, err;
	unsigned kick_watch;
};

struct vhost_user {
	struct loop *loop;
	int look;         /* for vhost_bell_ring(), see vhost_bell_look() */
	int fd;           /* the front-end, -1 */
	unsigned rings;   /* rings up to the last one that a message was
			     about */
	unsigned changes; /* counts changes of features, except VHOST_F_LOG_ALL,
			     of the place of the first pair's rings, and of
			     their start */
	unsigned changes_more; /* counts changes of other rings, and of whether
				  rings are enabled */
	uint64_t
		features; /* VIRTIO_F_*, VIRTIO_NET_F_* that the driver has
			     accepted */
	uint64_t protocol; /* VHOST_USER_PROTOCOL_F_* */
	struct mac guest;  /* MAC address of a migrated guest that is to be
			      announced, or zero */
	struct device_state *state; /* what moves with the guest; NULL: only
				       memory does */
	bool saving;    /* the last transfer of @state was a save */
	bool waits;     /* the front-end waits for its result */
	bool saved;     /* the state was saved: the guest is to run elsewhere */
	struct vhost_bell log_call;
	struct vhost_mem mem;
	struct virtq q[VHOST_QUEUES];
	struct vhost_ring ring[VHOST_QUEUES];
	struct vhost_msg msg; /* the message being received: */
	size_t have;          /* bytes of it that are here, ... */
	int fds[VHOST_FDS];   /* ... and its descriptors */
	unsigned fds_n;
	const char *why;      /* why the front-end is to be hung up on */
};

/* vhost_user_init - set up @v; kicks of rings of each direction go to the
 * watches @watch
 * There is only one @v in a process, see vhost_mem_guard().  Returns 0 or
 * -errno.  @v->state may be set afterwards. */
int vhost_user_init(struct vhost_user *v, struct loop *l,
		    const unsigned watch[VHOST_PAIR]);

/* vhost_user_guard - have a client that connects to the listening socket @fd
 * end a write to a descriptor of the present front-end, should that have
 * blocked (SIGIO)
 * To be called in the process that serves, for its only @v.  Returns 0 or
 * -errno. */
int vhost_user_guard(const struct vhost_user *v, int fd);

/* vhost_user_start - serve a front-end on @fd, which is ours from now on */
void vhost_user_start(struct vhost_user *v, int fd);

/* vhost_user_stop - forget the front-end: close its descriptors, unmap its
 * memory, stop its rings */
void vhost_user_stop(struct vhost_user *v);

/* vhost_user_read - carry out the front-end's requests and answer them
 * To be called between bursts, when no chain of a ring is out.  Returns 0, or
 * -errno if the front-end has gone or talks nonsense: then stop.  @v->why says
 * what was wrong, NULL if it has just left. */
int vhost_user_read(struct vhost_user *v);

/* vhost_user_answer - tell the front-end, which waits, the result of the
 * transfer of the device's state
 * Until then nothing may be read from it.  Returns 0 or -errno as
 * vhost_user_read() does. */
int vhost_user_answer(struct vhost_user *v);

/* vhost_user_has - whether the driver has accepted feature bit @bit */
static inline bool vhost_user_has(const struct vhost_user *v, unsigned bit)
{
	return v->features >> bit & 1;
}

/* vhost_user_ring - whether ring @i may be used */
bool vhost_user_ring(const struct vhost_user *v, unsigned i);

/* vhost_user_runs - whether both rings of the first pair may be used */
bool vhost_user_runs(const struct vhost_user *v);

/* vhost_user_flush - make what was pushed to the rings visible to the guest,
 * and notify it */
void vhost_user_flush(struct vhost_user *v);

/* vhost_user_rests - whether the front-end can be handed over now: nothing is
 * logged, nothing waits to be flushed, and the device's state is not under
 * way */
bool vhost_user_rests(const struct vhost_user *v);

/* vhost_user_save - write the front-end, its memory, and what is here of a
 * message
 * vhost_user_save_rings - write some rings from @from on; returns the next one,
 * 0 after the last
 * Both between bursts, after vhost_user_flush(). */
void vhost_user_save(const struct vhost_user *v, struct wr *w,
		     struct fdlist *fds);
unsigned vhost_user_save_rings(const struct vhost_user *v, unsigned from,
			       struct wr *w, struct fdlist *fds);

/* vhost_user_load, vhost_user_load_rings - read what these have written; 0 or
 * -errno
 * Nothing is written to the guest's memory, and nobody is notified. */
int vhost_user_load(struct vhost_user *v, struct rd *r, struct fdlist *fds);
int vhost_user_load_rings(struct vhost_user *v, struct rd *r,
			  struct fdlist *fds);

/* vhost_user_poke - have ring @i looked at as if the guest had kicked */
void vhost_user_poke(struct vhost_user *v, unsigned i);

#endif /* VHOST_USER_H */
