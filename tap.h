/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * tap - the transport interface: frames from and to the guest
 *
 * Pull, never push: a transport is asked for frames.  Reserve can fail, commit
 * cannot: room towards the guest is taken before bytes leave a socket.  Every
 * frame carries a note of unfinished work in both directions; a transport whose
 * peer cannot finish it has segment.c do so.  No protocol asks which transport
 * it talks to: what it may count on is in struct tap_caps.
 */
#ifndef TAP_H
#define TAP_H

#include "cursor.h"
#include "fdlist.h"
#include "loop.h"
#include "packet.h"
#include "pcap.h"

struct tap;

enum {
	SLOT_APART = 16, /* entries, see tap_commit() */
};

/* Room for one outgoing frame, or for a run of equal segments.  Between
 * tap_reserve() and tap_commit() or tap_cancel() nothing returns to the loop, and
 * while a slot with a segment size is out none of another reserve is committed. */
struct slot {
	uint8_t *head;	    /* as many bytes as were asked for, in a row */
	size_t head_len;
	struct iovec *body; /* where the payload goes, in order */
	unsigned body_cnt;
	size_t room;	    /* the sum of @body: all that was wanted, or a
			       whole segment at least, or one byte if no
			       segment size was given */
	size_t mss;	    /* as asked for; 0: one datagram, or a run whose
			       segment size only tap_commit()'s note knows */
	uint8_t lane;	    /* enum lane: what the guest sends on the same flow may
			       overtake what it sends on others, or be overtaken;
			       LANE_OTHER at first */
	void *priv;	    /* the transport's */
	size_t priv_len;
};

/* Seam: one const table per transport */
struct tap_ops {
	unsigned (*receive)(struct tap *t, struct frame *f, unsigned max);
	void (*release)(struct tap *t);
	unsigned (*reserve)(struct tap *t, struct slot *s, unsigned n,
			    size_t head, size_t want, size_t mss);
	void (*commit)(struct tap *t, struct slot *s, size_t used,
		       const struct note *n);
	void (*cancel)(struct tap *t, struct slot *s);
	void (*flush)(struct tap *t);
	/* See tap_unread(); NULL: never */
	bool (*unread)(const struct tap *t);
	/* What a successor needs to go on between two turns; nothing changes.  False:
	 * not now, but in one of the next turns. */
	bool (*save)(const struct tap *t, struct wr *w, struct fdlist *fds);
};

/* What the guest's side of the link can do, as far as protocols may care */
struct tap_caps {
	bool tso;	 /* a run of TCP segments costs as much as one */
	bool uso;	 /* so does a run of datagrams of one size: UDP_GRO on */
	bool tso_in;	 /* its TCP hands us runs of segments as one frame */
	bool runs;	 /* several slots with a segment size can be out at once, and
			     cost no more than one after the other */
	bool apart;	 /* tap_commit() copies all: the body may lie elsewhere */
	unsigned big4;	 /* longest packet of a run of TCP segments over IPv4, if that
			     may have more than 65535 bytes, else 0; may change */
	unsigned queue;	 /* frames that the link holds towards us, 0: no limit */
	size_t frame_max; /* longest frame that the guest takes, as far as it
			     is known: may become less */
};

struct tap_count {
	uint64_t frames[2], bytes[2]; /* [0] from the guest, [1] to the guest */
};

/* Whom no packet longer than @mtu reaches */
struct tap_path {
	struct addr to;
	unsigned mtu; /* 0: none */
	uint64_t until_ms;
};
enum { TAP_PATHS = 16 };

struct tap {
	const struct tap_ops *ops;
	struct loop *loop;
	struct pcap *pcap;
	struct tap_caps caps;
	struct tap_count count;
	uint64_t drops[VERDICTS]; /* frames to the guest that the link lost */
	unsigned watch;	  /* guest.c's: input, room and hang-up come there */
	bool up;	  /* a guest is there; false: frames are dropped */
	bool full;	  /* the guest had less room than a reserve asked for;
			     flush clears it */
	unsigned session; /* counts guests: a change means say hello */
	struct mac guest; /* its address, if not it but QEMU says so; or zero */
	uint32_t events;  /* that the loop has told, for the transport to use
			     up if it needs them */
	uint32_t refs;	  /* and of which of its descriptors: bits by reference */
	unsigned mtu;	  /* what goes to the guest is fragmented to, 0: what a
			     frame holds */
	uint32_t frag_id; /* of the last that was */
	struct tap_path path[TAP_PATHS]; /* see emit_narrow(); */
	bool narrow;	  /* there are some */
	bool drained;	  /* after tap_receive(): what is left, if anything, the
			     loop reports; else call again */
};

/* tap_receive - up to @max frames; they stay valid until tap_release()
 * 0 when there is none for now.  Whether to call again after the release is for
 * @drained to say, not for the number of frames. */
unsigned tap_receive(struct tap *t, struct frame *f, unsigned max);

/* tap_release - the frames of the last tap_receive() are done with */
void tap_release(struct tap *t);

/* tap_reserve - room for @n frames with @head header bytes each
 * Each slot has @want bytes of body if they are to be had and never more; a
 * transport may give less, but a whole segment of @mss at least.  With @mss 0 the
 * body is one stretch.  Returns how many slots there are, which may be less than
 * @n because a transport has no more of them at once.  None means that the guest
 * has no room: leave the data where it is and have the run queue held.  Whether
 * the guest lacks room, @full says.  While no guest is connected there is room.
 * What is longer than @frame_max may find a slot, too: it is lost at commit. */
unsigned tap_reserve(struct tap *t, struct slot *s, unsigned n, size_t head,
		     size_t want, size_t mss);

/* tap_commit - send the first @used body bytes behind the head
 * With @apart, @body of a slot with a segment size may have been made to describe what lies
 * elsewhere, by up to SLOT_APART entries: that is not looked at any more on return.
 * @n must have gso_type and gso_size set if @used is longer than the segment
 * size.  Cannot fail.  Slots of one reserve are committed in order; of those with a
 * segment size all but the last are full, and the others have been cancelled. */
void tap_commit(struct tap *t, struct slot *s, size_t used,
		const struct note *n);

/* tap_cancel - give back a slot that was not used */
void tap_cancel(struct tap *t, struct slot *s);

/* tap_flush - hand over what commit has gathered; once a turn */
void tap_flush(struct tap *t);

/* tap_unread - whether the guest, or who stands between, has not looked at all that it was
 * sent: after a while it stands still.  A system call, perhaps. */
bool tap_unread(const struct tap *t);

/* tap_captured - for transports: @iov went over the link, whole frame */
static inline void tap_captured(struct tap *t, bool out,
				const struct iovec *iov, unsigned cnt,
				size_t len, const struct note *n)
{
	t->count.frames[out]++;
	t->count.bytes[out] += len;
	if (UNLIKELY(t->pcap && t->pcap->fd >= 0))
		pcap_frame(t->pcap, out, iov, cnt, len, n);
}

/* tap_explains - whether anybody wants to see dropped frames
 * Then they come one by one, so that a verdict is about the last of them.
 * tap_verdict - that one was dropped
 * tap_lost - a frame for the guest was, which none but us has counted */
static inline bool tap_explains(const struct tap *t)
{
	return UNLIKELY(t->pcap && t->pcap->drops);
}

static inline void tap_verdict(struct tap *t, enum verdict v)
{
	if (tap_explains(t))
		pcap_verdict(t->pcap, v);
}

/* tap_unsent - for transports: tap_commit() could not send it; counted */
void tap_unsent(struct tap *t, enum verdict v, const struct slot *s,
		size_t used, const struct note *n);

static inline void tap_lost(struct tap *t, enum verdict v,
			    const struct iovec *iov, unsigned cnt, size_t len,
			    const struct note *n)
{
	if (tap_explains(t))
		pcap_lost(t->pcap, v, iov, cnt, len, n);
}

#endif /* TAP_H */
