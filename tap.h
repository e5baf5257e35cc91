/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * tap - the transport interface: frames from and to the guest
 *
 * Pull, never push: a transport is asked for frames.  Reserve can fail, commit
 * cannot: room towards the guest is taken before bytes leave a socket.  Every
 * frame carries a note of unfinished work, in both directions; a transport
 * whose peer cannot finish it has segment.c do it.  Protocols do not ask which
 * transport they talk to: what they may count on is in struct tap_caps.
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
	SLOT_APART = 16, /* entries of a body that lies elsewhere, see
			    tap_commit() */
};

/* Room for one outgoing frame, or for a run of equal segments.  From
 * tap_reserve() to tap_commit() or tap_cancel() nothing returns to the loop,
 * and while a slot with a segment size is out, no slot of another reserve may
 * be committed. */
struct slot {
	uint8_t *head;	    /* @head_len contiguous bytes for the headers */
	size_t head_len;
	struct iovec *body; /* where the payload goes */
	unsigned body_cnt;
	size_t room;	    /* the sum of @body: what was asked for, or less,
			       but at least one whole segment; at least one byte
			       if no segment size was given */
	size_t mss;	    /* segment size as asked for; 0: one datagram, or a
			       run whose segment size only tap_commit()'s note
			       states */
	uint8_t lane;	    /* enum lane by which the guest's frames of this
			       flow should come; frames of different lanes may
			       overtake each other.  LANE_OTHER at first */
	void *priv;	    /* the transport's own */
	size_t priv_len;
};

/* Seam: one const table per transport; the functions below say what each
 * does */
struct tap_ops {
	unsigned (*receive)(struct tap *t, struct frame *f, unsigned max);
	void (*release)(struct tap *t);
	unsigned (*reserve)(struct tap *t, struct slot *s, unsigned n,
			    size_t head, size_t want, size_t mss);
	void (*commit)(struct tap *t, struct slot *s, size_t used,
		       const struct note *n);
	void (*cancel)(struct tap *t, struct slot *s);
	void (*flush)(struct tap *t);
	/* For tap_unread(); NULL: it is always false */
	bool (*unread)(const struct tap *t);
	/* Append to @w and @fds what a successor process needs to go on with
	 * this link, and change nothing.  False: not now, but in one of the
	 * next turns. */
	bool (*save)(const struct tap *t, struct wr *w, struct fdlist *fds);
};

/* What the guest's end of the link can do, as far as protocols may care */
struct tap_caps {
	bool tso;	 /* it takes runs of TCP segments (TSO) at the cost of
			    one */
	bool uso;	 /* and runs of datagrams of equal size (USO): use
			    UDP_GRO */
	bool tso_in;	 /* its TCP hands us runs of segments as one frame */
	bool runs;	 /* several slots with a segment size can be reserved at
			    once, at the cost of one after the other */
	bool apart;	 /* tap_commit() copies everything: a body may lie
			    elsewhere */
	unsigned big4;	 /* longest IPv4 packet of a run of TCP segments (BIG
			    TCP) if more than 65535 bytes are possible, else 0;
			    may change */
	unsigned queue;	 /* frames that the link queues towards us, 0:
			    unknown */
	size_t frame_max; /* longest frame that the guest takes, as far as
			     known; may become less */
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
	uint64_t drops[VERDICTS]; /* frames to the guest that were lost on the
				     link, by reason */
	unsigned watch;	  /* guest.c's watch: input, room and hang-up are
			     reported there */
	bool up;	  /* a guest is connected; if not, frames are dropped */
	bool full;	  /* the guest had less room than a reserve asked for;
			     cleared by flush */
	unsigned session; /* counts guests: when it changes, announce
			     ourselves */
	struct mac guest; /* its MAC address if QEMU has told it, else zero */
	uint32_t events;  /* events that the loop has reported, for the
			     transport to use up if it needs them */
	uint32_t refs;	  /* and for which of its descriptors: a bit for each
			     epoll reference */
	unsigned mtu;	  /* packets to the guest are fragmented to this MTU; 0:
			     to what a frame holds */
	uint32_t frag_id; /* identification of the last packet that was
			     fragmented */
	struct tap_path path[TAP_PATHS]; /* see emit_narrow(); */
	bool narrow;	  /* there are some */
	bool drained;	  /* set by tap_receive(): the loop will report what is
			     left, if anything; if false, call again */
};

/* tap_receive - take up to @max frames from the guest into @f
 * Returns how many; 0 if there is none for now.  The frames are the transport's
 * and stay valid until tap_release().  Whether to call again after that is for
 * @drained to say, not for the number of frames. */
unsigned tap_receive(struct tap *t, struct frame *f, unsigned max);

/* tap_release - give back the frames of the last tap_receive() */
void tap_release(struct tap *t);

/* tap_reserve - reserve room for up to @n frames to the guest, each with @head
 * contiguous header bytes
 * A slot's body has @want bytes if possible and never more; a transport may
 * give less, but at least one whole segment of @mss bytes.  With @mss 0 the
 * body is contiguous.  Returns the number of slots, which may be less than @n
 * because a transport has no more of them at once.  With 0 leave the data where
 * they are and have the run queue held; @full then says whether it is the guest
 * that has no room.  While no guest is connected there is always room.  A frame
 * longer than @frame_max may get a slot, but is lost at commit. */
unsigned tap_reserve(struct tap *t, struct slot *s, unsigned n, size_t head,
		     size_t want, size_t mss);

/* tap_commit - send the head and the first @used bytes of the body; cannot fail
 * @n describes the work left to do; it must have gso_type and gso_size set if
 * @used is longer than the segment size.  Where the transport's caps have
 * @apart, the caller may have made the @body of a slot with a segment size
 * describe bytes that lie elsewhere, in up to SLOT_APART entries; they are no
 * longer used on return.  Slots of one reserve are committed in order.  Of
 * those with a segment size all but the last must be full, and the unused ones
 * have been cancelled before. */
void tap_commit(struct tap *t, struct slot *s, size_t used,
		const struct note *n);

/* tap_cancel - give back a slot without sending anything */
void tap_cancel(struct tap *t, struct slot *s);

/* tap_flush - send what tap_commit() has gathered; called once a turn */
void tap_flush(struct tap *t);

/* tap_unread - whether the guest, or whoever is in between, has not looked at
 * everything that it was sent; if that lasts, it stands still
 * May take a system call. */
bool tap_unread(const struct tap *t);

/* tap_captured - for transports: count and capture the whole frame in @iov, of
 * @len bytes, which went over the link, to the guest if @out */
static inline void tap_captured(struct tap *t, bool out,
				const struct iovec *iov, unsigned cnt,
				size_t len, const struct note *n)
{
	t->count.frames[out]++;
	t->count.bytes[out] += len;
	if (UNLIKELY(t->pcap && t->pcap->fd >= 0))
		pcap_frame(t->pcap, out, iov, cnt, len, n);
}

/* tap_explains - whether the capture is to show dropped frames
 * If so, tap_receive() gives one frame at a time, so that a verdict is about
 * the last one.
 * tap_verdict - record that the last frame received was dropped, because of
 * @v */
static inline bool tap_explains(const struct tap *t)
{
	return UNLIKELY(t->pcap && t->pcap->drops);
}

static inline void tap_verdict(struct tap *t, enum verdict v)
{
	if (tap_explains(t))
		pcap_verdict(t->pcap, v);
}

/* tap_unsent - for transports: count and capture a frame that tap_commit()
 * could not send, because of @v */
void tap_unsent(struct tap *t, enum verdict v, const struct slot *s,
		size_t used, const struct note *n);

/* tap_lost - capture a frame for the guest that was dropped because of @v; the
 * caller has counted it */
static inline void tap_lost(struct tap *t, enum verdict v,
			    const struct iovec *iov, unsigned cnt, size_t len,
			    const struct note *n)
{
	if (tap_explains(t))
		pcap_lost(t->pcap, v, iov, cnt, len, n);
}

#endif /* TAP_H */
