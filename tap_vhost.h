/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * tap_vhost - the transport whose frames lie in guest memory
 *
 * Frames are lent where the guest has them.  Runs of TCP segments towards the
 * guest are read from their socket into the guest's own buffers, merged as many as
 * they take; everything else is made here and copied when it is complete.  One
 * front-end at a time, as with a stream.
 */
#ifndef TAP_VHOST_H
#define TAP_VHOST_H

#include "acceptor.h"
#include "tap.h"
#include "vhost_user.h"

enum {
	VHOST_PIECES =
		VIRTQ_MAX,       /* of a burst from the guest; of runs to it */
	VHOST_FRAME_PIECES = 64, /* of one frame: a flow takes no more */
	VHOST_RUNS = 5,          /* runs to the guest that are out at once */
	VHOST_SLOTS = 16,        /* frames made here at once */
	VHOST_SLOT_HEAD = 128,   /* bytes in front of a slot's body */
	VHOST_STRIDE = 68 << 10, /* a slot: head, 64 KiB of body, slack */
	VHOST_PATIENCE_MS = 200, /* see starved() */
};

/* Buffers of the guest that one frame takes, behind those of the frame before */
struct vhost_room {
	struct virtq_elem *elem;
	struct iovec *iov;
	unsigned elems, iov_cnt;
	size_t len;
};

struct tap_vhost {
	struct tap tap; /* first: ops get a pointer to this */
	struct vhost_user user;
	struct acceptor acceptor; /* its descriptor is -1 with --fd */
	bool one_off;  /* leave with status 0 when the front-end does */
	unsigned user_watch;
	bool deaf;     /* what the front-end may send is not looked at */
	size_t vnet; /* bytes of virtio-net header */
	bool merge;  /* a frame may take several buffers */
	bool csum;   /* the guest takes unfinished checksums */
	/* From the guest: of these pairs' rings, which it is to kick for ... */
	unsigned pairs, next; /* ... and where the next burst begins */
	bool kicks[VHOST_PAIRS];
	/* Chains that are out, of which rings, and their pieces */
	struct virtq_elem elem[PACKET_BATCH];
	uint8_t elem_ring[PACKET_BATCH];
	unsigned elems;
	struct iovec piece[VHOST_PIECES];
	uint8_t *bounce;  /* a frame of too many pieces */
	unsigned changes, changes_more; /* as of the last look at @user */
	/* To the guest */
	uint8_t *tx; /* VHOST_SLOTS frames with heads, mapped */
	struct iovec body[VHOST_SLOTS];
	uint8_t *split; /* a segment of a run that the guest does not
			   take, mapped */
	unsigned slot_next, slot_out;
	unsigned promised; /* buffers that slots which are out may take */
	unsigned wanted;   /* when full: buffers that would be enough, */
	unsigned had;	   /* how many there were that were not, */
	uint16_t had_at;   /* and which: the first of them */
	unsigned most;     /* buffers that there were at once in this session */
	struct timer patience; /* with a guest that has no more than those: */
	unsigned rest;	   /* so many there were when it began, */
	uint16_t rest_at;  /* and which */
	size_t buffer_len; /* of the last one that was taken */
	/* Runs that are out, as slots; if there is none the first is for a frame
	 * that was made here */
	unsigned runs;
	struct vhost_room room[VHOST_RUNS];
	uint8_t head[VHOST_RUNS][HEAD_MAX];
	/* Of all of them */
	struct virtq_elem taken[VIRTQ_MAX];
	struct iovec taken_iov[VHOST_PIECES], body_iov[VHOST_PIECES];
};

/* tap_vhost_init - 0 or -errno; then one of the next two */
int tap_vhost_init(struct tap_vhost *t, struct loop *l, struct pcap *pcap,
		   unsigned watch, bool one_off);

/* tap_vhost_moves - @s is what moves with a guest besides its memory */
void tap_vhost_moves(struct tap_vhost *t, struct device_state *s);

/* tap_vhost_listen - accept front-ends on @fd (already listening, see
 * tap_stream_bind()) */
int tap_vhost_listen(struct tap_vhost *t, int fd);

/* tap_vhost_guard - no front-end keeps us from a client of @fd, as it is
 * vhost_user_guard() */
int tap_vhost_guard(const struct tap_vhost *t, int fd);

/* tap_vhost_save_rings, tap_vhost_load, tap_vhost_load_rings - the front-end of a
 * predecessor: first what the table's save() gave, then rings, as vhost_user.h */
unsigned tap_vhost_save_rings(const struct tap_vhost *t, unsigned from,
			      struct wr *w, struct fdlist *fds);
int tap_vhost_load(struct tap_vhost *t, struct rd *r, struct fdlist *fds);
int tap_vhost_load_rings(struct tap_vhost *t, struct rd *r,
			 struct fdlist *fds);

/* tap_vhost_adopt - @fd is the front-end (--fd); no other will follow
 * 0 or -errno, as tap_stream_adopt(). */
int tap_vhost_adopt(struct tap_vhost *t, int fd);

#endif /* TAP_VHOST_H */
