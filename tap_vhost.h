/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * tap_vhost - the transport whose frames lie in guest memory
 *
 * Frames from the guest are lent where they lie.  Runs of TCP segments to the
 * guest are read from their socket into the guest's own buffers, as many merged
 * as they take; everything else is made in our memory and copied when it is
 * complete.  There is one front-end at a time, as with a stream.
 */
#ifndef TAP_VHOST_H
#define TAP_VHOST_H

#include "acceptor.h"
#include "tap.h"
#include "vhost_user.h"

enum {
	VHOST_PIECES =
		VIRTQ_MAX,       /* most pieces of a burst from the guest, and
				    of runs to it */
	VHOST_FRAME_PIECES = 64, /* most pieces of a frame: a flow takes no
				    more */
	VHOST_RUNS = 5,          /* runs to the guest that are reserved at
				    once */
	VHOST_SLOTS = 16,        /* most slots in our memory at once */
	VHOST_SLOT_HEAD = 128,   /* bytes for headers in front of a slot's
				    body */
	VHOST_STRIDE = 68 << 10, /* bytes of a slot: head, 64 KiB of body,
				    slack */
	VHOST_PATIENCE_MS = 200, /* see starved() */
};

/* Buffers of the guest that a frame takes, following those of the frame
 * before */
struct vhost_room {
	struct virtq_elem *elem;
	struct iovec *iov;
	unsigned elems, iov_cnt;
	size_t len;
};

struct tap_vhost {
	struct tap tap; /* must be first: ops get a pointer to this */
	struct vhost_user user;
	struct acceptor acceptor; /* its descriptor is -1 with --fd */
	bool one_off;  /* exit with status 0 when the front-end leaves */
	unsigned user_watch;
	bool deaf;     /* the front-end's messages are not looked at */
	size_t vnet; /* bytes of the virtio-net header */
	bool merge;  /* a frame may take several buffers (MRG_RXBUF) */
	bool csum;   /* the guest accepts unfinished checksums */
	/* From the guest: pairs of rings whose transmit rings are served,
	 * ... */
	unsigned pairs, next; /* ... which of them kick; the next burst begins
				 at @next */
	bool kicks[VHOST_PAIRS];
	/* Chains that are lent, their rings, and their pieces */
	struct virtq_elem elem[PACKET_BATCH];
	uint8_t elem_ring[PACKET_BATCH];
	unsigned elems;
	struct iovec piece[VHOST_PIECES];
	uint8_t *bounce;  /* for a frame of too many pieces */
	unsigned changes, changes_more; /* @user's counters when last looked
					   at */
	/* To the guest */
	uint8_t *tx; /* VHOST_SLOTS slots, mapped */
	struct iovec body[VHOST_SLOTS];
	uint8_t *split; /* buffer for a segment of a run that the guest does not
			   take, mapped */
	unsigned slot_next, slot_out;
	unsigned promised; /* buffers that reserved slots may take */
	unsigned wanted;   /* when full: buffers that would be enough, ... */
	unsigned had;	   /* ... how many there were, which was too few, ... */
	uint16_t had_at;   /* ... and the first of these */
	unsigned most;     /* most buffers that were there at once in this
			      session */
	struct timer patience; /* runs while a guest has no more than those: */
	unsigned rest;	   /* buffers that were there when it began, ... */
	uint16_t rest_at;  /* ... and the first of these */
	size_t buffer_len; /* length of the last one that was taken */
	/* Reserved runs, as slots; if there is none, the first is for a frame
	 * that was made in our memory */
	unsigned runs;
	struct vhost_room room[VHOST_RUNS];
	uint8_t head[VHOST_RUNS][HEAD_MAX];
	/* Buffers of all of them */
	struct virtq_elem taken[VIRTQ_MAX];
	struct iovec taken_iov[VHOST_PIECES], body_iov[VHOST_PIECES];
};

/* tap_vhost_init - set up @t; 0 or -errno
 * One of tap_vhost_listen(), _adopt() and _load() must follow. */
int tap_vhost_init(struct tap_vhost *t, struct loop *l, struct pcap *pcap,
		   unsigned watch, bool one_off);

/* tap_vhost_moves - set what moves with a guest besides its memory */
void tap_vhost_moves(struct tap_vhost *t, struct device_state *s);

/* tap_vhost_listen - accept front-ends on @fd, which is listening already, see
 * tap_stream_bind(); 0 or -errno */
int tap_vhost_listen(struct tap_vhost *t, int fd);

/* tap_vhost_guard - see vhost_user_guard(): no front-end keeps us from serving
 * the next client of @fd */
int tap_vhost_guard(const struct tap_vhost *t, int fd);

/* tap_vhost_load - take over a predecessor's front-end, from what save() of the
 * table has written
 * tap_vhost_save_rings, tap_vhost_load_rings - then its rings, like
 * vhost_user_save_rings() and vhost_user_load_rings() */
unsigned tap_vhost_save_rings(const struct tap_vhost *t, unsigned from,
			      struct wr *w, struct fdlist *fds);
int tap_vhost_load(struct tap_vhost *t, struct rd *r, struct fdlist *fds);
int tap_vhost_load_rings(struct tap_vhost *t, struct rd *r,
			 struct fdlist *fds);

/* tap_vhost_adopt - make @fd the front-end (--fd); no other will follow
 * Returns 0 or -errno, see tap_stream_check(). */
int tap_vhost_adopt(struct tap_vhost *t, int fd);

#endif /* TAP_VHOST_H */
