/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * tap_tun - a tap device with virtio-net headers
 *
 * One read is one frame, of up to 64 KiB when the namespace's kernel leaves
 * segmentation to us; one write is one frame or a run of segments.
 *
 * The kernel queues what the guest sends in first come, first served, 64 KiB
 * frames of its long transfers before a question.  But a device may have several
 * queues, and a frame comes by the one where the last frame of its flow went in
 * (automq, as for a card with a queue for each CPU).  So they are lanes: the
 * last is for flows that send much, the one before for all others, and what the
 * kernel has not seen a frame for may come by any, by its hash.
 */
#ifndef TAP_TUN_H
#define TAP_TUN_H

#include "tap.h"

enum {
	TUN_LANES = 4,
	TUN_RX_BYTES = 512 << 10, /* frames are packed: small ones stay warm */
	/* Of bulk in a turn, with several lanes; and as long as something came by
	 * the others in one of the last TUN_BESIDE turns, which waits so long */
	TUN_BULK_BYTES = 256 << 10,
	TUN_BULK_BESIDE = 32 << 10,
	TUN_BESIDE = 128,
	TUN_FLOOD = 128, /* turns in which they have more than one takes, and it is
			    no question */
	TUN_TX_SLOTS = 16,	  /* most frames reserved at once */
	TUN_TX_HEAD = 128,	  /* bytes in front of a slot's body */
	/* Longest packet of IPv4 TCP for a kernel that knows BIG TCP, as nllink_big_tcp()
	 * has it for lo: captures there hold it */
	TUN_BIG = 200000,
	TUN_AGAIN_MS = 1000, /* after one for which there was no memory */
	TUN_TX_STRIDE = 200 << 10, /* a slot: head, body of a big packet, slack */
	TUN_TX_PIECES = 128,	  /* without TSO: pieces of one run */
	TUN_FEW = 2048, /* bytes that lie elsewhere and are rather copied than described */
};

struct tap_tun {
	struct tap tap; /* first: ops get a pointer to this */
	struct tun_lane {
		int fd;
		unsigned expect; /* frames to read at once ... */
		bool met;	 /* ... which the last burst had ... */
		uint64_t turn;	 /* ... in this turn of the loop */
	} lane[TUN_LANES];
	unsigned lanes;
	struct frame bulk[PACKET_BATCH]; /* of the last lane, the first @held */
	unsigned held;	 /* are to be received when the others are empty, */
	unsigned passed; /* and have waited so many turns */
	uint64_t beside; /* turn in which others brought something */
	uint64_t crowd;	 /* the last in which bulk was there; they had more than a */
	unsigned crowded; /* turn takes in so many of those in a row */
	bool big;	   /* the kernel takes TUN_BIG */
	uint64_t big_again; /* loop time at which it will be tried again, 0: it is */
	bool vnet;    /* frames have a virtio-net header */
	unsigned offload; /* TUN_F_* in force */
	uint8_t *rx;  /* TUN_RX_BYTES and a frame, mapped */
	uint8_t *rx_bulk; /* TUN_BULK_BYTES and a frame, mapped */
	uint8_t *tx;  /* TUN_TX_SLOTS frames with heads, mapped */
	struct iovec body[TUN_TX_SLOTS][TUN_TX_PIECES];
};

/* tap_tun_open - make or attach to interface @name through @dev_fd
 * @dev_fd are @n times /dev/net/tun of the right namespace, ours afterwards: as
 * many lanes, if the kernel and the device allow.
 * Tries offloads in steps: all; without USO; CSUM and TSO; CSUM; none; and no
 * header at all.  @name is IFNAMSIZ bytes and gets the kernel's choice.
 * 0 or -errno. */
int tap_tun_open(struct tap_tun *t, const int *dev_fd, unsigned n, char *name);

/* tap_tun_adopt - use a tap descriptor that somebody else set up (--fd)
 * Asks the kernel whether it has a header, and for its @name (IFNAMSIZ). 0 or
 * -errno. */
int tap_tun_adopt(struct tap_tun *t, int fd, char *name);

/* tap_tun_load - what another process has saved; then tap_tun_start()
 * 0 or -errno. */
int tap_tun_load(struct tap_tun *t, struct rd *r, struct fdlist *fds);

/* tap_tun_link - what the kernel has said of the interface: its txqueuelen, and
 * whether it knows BIG TCP of IPv4; before the start, unless it was loaded */
static inline void tap_tun_link(struct tap_tun *t, unsigned queue, bool big)
{
	t->tap.caps.queue = queue;
	t->big = big;
}

/* tap_tun_start - register with the loop; from now on frames are taken
 * For an open capture, which holds 64 KiB of a packet, packets are not longer. */
int tap_tun_start(struct tap_tun *t, struct loop *l, struct pcap *pcap,
		  unsigned watch);

#endif /* TAP_TUN_H */
