/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * tap_tun - a tap device with virtio-net headers
 *
 * One read() is one frame, of up to 64 KiB if the namespace's kernel leaves
 * segmentation to us; one write() is one frame or a run of segments.
 *
 * The kernel queues what the guest sends first come, first served: 64 KiB
 * frames of its long transfers in front of a question.  But a device may have
 * several queues, and a frame comes by the queue where the last frame of its
 * flow was written (automq, as for a network card with a queue for each CPU).
 * So the queues are lanes: the last is for flows that send much, the others for
 * other kinds of traffic, see enum lane.  A flow that nothing was written for
 * yet may come by any lane, by its hash.
 */
#ifndef TAP_TUN_H
#define TAP_TUN_H

#include "tap.h"

enum {
	TUN_LANES = 4,
	TUN_RX_BYTES = 512 << 10, /* frames are packed, so that small ones stay
				     in the cache */
	/* Most bytes of bulk to read in a turn if there are several lanes: in
	 * general; and while something has come by the other lanes within the
	 * last TUN_BESIDE turns, as that has to wait for bulk */
	TUN_BULK_BYTES = 256 << 10,
	TUN_BULK_BESIDE = 32 << 10,
	TUN_BESIDE = 128,
	TUN_FLOOD = 128, /* turns in a row in which the other lanes have more
			    than a turn takes: then it is a flood, and bulk gets
			    its share */
	TUN_TX_SLOTS = 16,	  /* most slots reserved at once */
	TUN_TX_HEAD = 128,	  /* bytes for headers in front of a slot's
				     body */
	/* Longest IPv4 TCP packet for a kernel that knows BIG TCP, the same as
	 * nllink_big_tcp() sets for lo: captures there have room for it */
	TUN_BIG = 200000,
	TUN_AGAIN_MS = 1000, /* no such packets for so long after one that there
				was no memory for */
	TUN_TX_STRIDE = 200 << 10, /* bytes of a slot: head, body of a big
				      packet, slack */
	TUN_TX_PIECES = 128,	  /* without TSO: most pieces of a run */
	TUN_FEW = 2048, /* a body that lies elsewhere is copied if it is no
			   longer, described otherwise */
};

struct tap_tun {
	struct tap tap; /* must be first: ops get a pointer to this */
	struct tun_lane {
		int fd;
		unsigned expect; /* frames to read at once */
		bool met;	 /* the last burst had as many */
		uint64_t turn;	 /* turn of the loop of that burst */
	} lane[TUN_LANES];
	unsigned lanes;
	struct frame bulk[PACKET_BATCH]; /* frames of the last lane that are
					    held back */
	unsigned held;	 /* how many, until the other lanes are empty */
	unsigned passed; /* turns that they have waited */
	uint64_t beside; /* turn in which other lanes last brought something */
	uint64_t crowd;	 /* last turn in which bulk was read or held */
	unsigned crowded; /* consecutive such turns in which the other lanes had
			     more than a turn takes */
	bool big;	   /* the kernel takes packets of TUN_BIG */
	uint64_t big_again; /* loop time at which to try such a packet again; 0:
			       now */
	bool vnet;    /* frames have a virtio-net header */
	unsigned offload; /* TUN_F_* that are on */
	uint8_t *rx;  /* buffer of TUN_RX_BYTES and a frame, mapped */
	uint8_t *rx_bulk; /* buffer of TUN_BULK_BYTES and a frame, mapped */
	uint8_t *tx;  /* TUN_TX_SLOTS slots, mapped */
	struct iovec body[TUN_TX_SLOTS][TUN_TX_PIECES];
};

/* tap_tun_open - make interface @name, or attach to it, by @dev_fd
 * @dev_fd are @n descriptors of /dev/net/tun of the right namespace, ours
 * afterwards; each becomes a lane if the kernel and the device allow that.
 * Offloads are tried in steps: all; without USO; CSUM and TSO; CSUM; none; and
 * finally no header at all.  @name has IFNAMSIZ bytes and gets the kernel's
 * choice.  Returns 0 or -errno. */
int tap_tun_open(struct tap_tun *t, const int *dev_fd, unsigned n, char *name);

/* tap_tun_adopt - use a tap descriptor that somebody else has set up (--fd)
 * Asks the kernel whether it has a header, and for its @name (IFNAMSIZ bytes).
 * Returns 0 or -errno. */
int tap_tun_adopt(struct tap_tun *t, int fd, char *name);

/* tap_tun_load - take over a device as another process has saved it; 0 or
 * -errno
 * tap_tun_start() must follow. */
int tap_tun_load(struct tap_tun *t, struct rd *r, struct fdlist *fds);

/* tap_tun_link - set what the kernel has said of the interface: its txqueuelen,
 * and whether it knows BIG TCP for IPv4
 * Before tap_tun_start(), unless the device was loaded. */
static inline void tap_tun_link(struct tap_tun *t, unsigned queue, bool big)
{
	t->tap.caps.queue = queue;
	t->big = big;
}

/* tap_tun_start - register with the loop; from now on frames are taken
 * No packets of more than 64 KiB are made if a capture is open, which has no
 * room for them.  Returns 0 or -errno. */
int tap_tun_start(struct tap_tun *t, struct loop *l, struct pcap *pcap,
		  unsigned watch);

#endif /* TAP_TUN_H */
