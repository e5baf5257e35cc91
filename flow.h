/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * flow - table, two sides, hash, generations, life cycle
 *
 * A flow joins two sides; it knows no protocol.  Its sockets are registered
 * once and edge-triggered: an event sets ready bits and queues the flow, the
 * type's ready() does the work from the run queue.  An epoll reference names
 * index, side and generation, so an event for a flow that is gone misses.
 */
#ifndef FLOW_H
#define FLOW_H

#include "addr.h"
#include "cursor.h"
#include "loop.h"
#include "packet.h"
#include "siphash.h"

enum {
	FLOW_BITS = 17,
	FLOW_MAX = (1 << FLOW_BITS) - 1,
	FLOW_HASH = 1 << (FLOW_BITS + 2), /* two entries a flow, half full */
	FLOW_HASH_STEP = 5, /* bits: it grows to that size in two steps */
	/* Bytes with which a flow is still sparse, and of all flows in a turn:
	 * towards the guest, whose frames wait so long; from socket to socket,
	 * where pages are moved */
	FLOW_SPARSE = 32 << 10,
	FLOW_BUDGET = 256 << 10,
	FLOW_FREE_BUDGET = 1 << 20,
	/* Who sends faster than that, bytes a millisecond, in more than small
	 * bursts, is heavy */
	FLOW_HEAVY_RATE = 512,
	FLOW_TICK_MS = 16,
	FLOW_HEAVY = FLOW_SPARSE,
	FLOW_LIGHT = FLOW_HEAVY / 4,
	FLOW_PRIV = 192,
	FLOW_KEEP = 1024, /* so many stay in memory */
	LONE_FIRST = FLOW_MAX + 1, /* the number of none */
};

/* Numbers of the control and migration protocols */
enum pif { PIF_NONE, PIF_HOST, PIF_TAP, PIF_SPLICE };

/* One side of a flow, from our point of view: we are @ours, the peer @theirs.
 * On the TAP side the guest is @theirs. */
struct side {
	struct addr ours, theirs;
	uint16_t our_port, their_port;
	uint8_t pif;
	int fd; /* -1: none */
};

enum flow_kind { FLOW_FREE, FLOW_TCP, FLOW_SPLICE, FLOW_UDP, FLOW_UDP_SPLICE,
		 FLOW_ICMP, FLOW_KINDS };

/* What a flow is, seen from the socket in the guest or the namespace: states of
 * TCP (RFC 9293), or whether datagrams were answered */
enum flow_state {
	FLOW_SYN_SENT, /* it began */
	FLOW_SYN_RECV, /* the host's side did */
	FLOW_ESTABLISHED,
	FLOW_FIN_WAIT,	 /* it has ended its direction */
	FLOW_CLOSE_WAIT, /* the host's side has */
	FLOW_LAST_ACK,	 /* both have */
	FLOW_UNREPLIED,
	FLOW_REPLIED,
	FLOW_STATES
};

/* What a flow has moved: [i] came from side i.  In a queue is what is ours, or of
 * our socket, and on its way to the other one, as far as we know. */
struct flow_count {
	bool known; /* @bytes are: the kernel may not count */
	uint64_t bytes[2], queue[2];
};

/* What events have told and nobody has used up yet, for each side */
enum {
	READY_IN = EPOLLIN,
	READY_PRI = EPOLLPRI, /* urgent data have come: reads may end early */
	READY_OUT = EPOLLOUT,
	READY_ERR = EPOLLERR,
	READY_HUP = EPOLLHUP,
	READY_RDHUP = EPOLLRDHUP, /* 0x2000 */
};

struct flow {
	struct side side[2]; /* [0] began it */
	uint16_t ready[2];
	uint8_t kind;	    /* enum flow_kind */
	uint8_t begun : 4;  /* descriptors of the guest's share */
	uint8_t odd : 4;    /* see flow_odd() */
	uint8_t hashed : 2; /* bit i: side i is in the hash */
	uint8_t bound : 2;  /* bit i: see struct flow_port */
	uint8_t open : 2;
	bool drains : 1;    /* events of room or failure go to type->drain() first */
	bool heavy : 1;	    /* see flow_weigh() */
	uint8_t weighed;    /* when, in FLOW_TICK_MS */
	uint32_t gen;
	uint32_t born; /* see flow_age_ms() */
	struct run run, drain;
	struct timer timer; /* type->expire() */
	struct packet *inbox; /* this burst's, for type->input() */
	uint32_t sent; /* bytes, see flow_weigh() */
	uint32_t lone_next;   /* number of a flow and one, 0: the last */
	uint32_t lone_prev;   /* likewise; LONE_FIRST, 0: it is not flow_lone() */
	struct flow *touched; /* guest.c's list of flows with an inbox; free
				 list while FLOW_FREE */
	union {
		uint64_t align;
		uint8_t priv[FLOW_PRIV]; /* the protocol's */
	};
};

/* Seam: one const table per flow kind.  @owner is the protocol's state. */
struct flow_type {
	const char *name;
	/* A burst of packets in order.  Returns those that are not its: after a
	 * connection ended, the next SYN of the same tuple.  NULL: all used. */
	struct packet *(*input)(void *owner, struct flow *f,
				struct packet *list);
	enum run_verdict (*ready)(void *owner, struct flow *f);
	/* With @drains: what only goes to the host.  It is not held when the guest
	 * is full, so what concerns the guest, too, is left to ready(). */
	void (*drain)(void *owner, struct flow *f);
	void (*expire)(void *owner, struct flow *f);
	/* End it: another one gets its place, or the address of its socket has
	 * gone.  Streams from socket to socket have none. */
	void (*drop)(void *owner, struct flow *f);
	/* For who moves, see freeze.h; kinds that can't have none of the three.
	 * freeze() appends what is its own, and nothing changes.  thaw() reads it
	 * to a new flow whose sides are set, entered and watched; false: there is
	 * something wrong with it, and nothing is left but the flow. */
	void (*freeze)(void *owner, struct flow *f, struct wr *w);
	bool (*thaw)(void *owner, struct flow *f, struct rd *r);
	/* End it as drop(), but leave its descriptors as they are */
	void (*forget)(void *owner, struct flow *f);
	/* The guest has answered with an ICMP error that it is not to be had there.
	 * May end @f, which has no inbox now. */
	void (*refused)(void *owner, struct flow *f);
	/* It has answered that a link behind it takes no more than @mtu bytes of a packet;
	 * @seq is the segment's that was longer */
	void (*narrow)(void *owner, struct flow *f, uint32_t seq, unsigned mtu);
	/* Streams, when we are about to go: 0 if the guest has ended it and all has got to
	 * the host, else a number that is another one once more has; and to end it so that
	 * nobody takes that for its end, if something has not */
	uint64_t (*owes)(void *owner, const struct flow *f);
	void (*cut)(void *owner, struct flow *f);
	enum flow_state (*state)(const struct flow *f);
	/* For who watches, so it may ask the kernel; @n is all zero */
	void (*count)(const struct flow *f, struct flow_count *n);
	bool free_queue; /* served while the guest is full: no tap involved */
};

/* Datagram sockets of flows that have this port, and those among them that take
 * what anybody sends, as a server's does; so do those of mcast_sock.c */
struct flow_port {
	uint32_t bound, open;
};

struct flows {
	struct loop *loop;
	unsigned watch;
	struct runq guest_q, free_q, drain_q;
	const struct flow_type *type[FLOW_KINDS];
	void *owner[FLOW_KINDS];
	struct siphash_key key;
	struct flow *flow; /* FLOW_MAX, mapped */
	uint32_t *hash;	   /* FLOW_HASH of (index << 1 | side) + 1, mapped */
	uint32_t hash_mask; /* how many of them are in use, less one */
	unsigned entered;   /* sides that are in the hash */
	struct flow_port (*port)[65536]; /* PIF_HOST, PIF_SPLICE; mapped */
	struct flow *free;
	unsigned fresh; /* entries from here on are not in use */
	unsigned count, peak;
	uint64_t made[FLOW_KINDS]; /* since the start */
	unsigned tidy; /* with fewer than that memory may be given back */
	uint32_t gen;  /* of the last one */
	unsigned fds;	       /* descriptors that flows have, or are to have */
	unsigned share, begun; /* of which the guest may take so many, and others
				  may, 0: any; and it has taken */
	unsigned admitted; /* so many may others' lone flows have, 0: any */
	struct flow_lone {
		struct flow *first, *last; /* oldest first; or NULL */
		unsigned fds;
	} lone[2]; /* flow_lone(): the guest's, others' */
};

/* flows_init - 0 or -errno */
int flows_init(struct flows *t, struct loop *l);

/* flows_type - what to call for flows of @kind */
void flows_type(struct flows *t, enum flow_kind kind,
		const struct flow_type *type, void *owner);

/* flow_new - a zeroed flow with both descriptors -1, NULL if the table is full
 * It is in no hash and no queue.  Nothing returns to the loop before it is
 * either complete or freed. */
struct flow *flow_new(struct flows *t, enum flow_kind kind);

/* flows_share - flows may have @fds descriptors: an eighth is for what the guest does
 * not begin, and one for what others do not; and so is one each of the table */
void flows_share(struct flows *t, unsigned fds);

/* flow_begin - the same for what the guest begins, which takes @fds descriptors
 * of its share; others have the rest.  When it is used up the
 * oldest flow that is flow_lone() gives way, if nothing has happened to it in this
 * turn; NULL if there is none. */
struct flow *flow_begin(struct flows *t, enum flow_kind kind, unsigned fds);

/* flow_admit - the same for what anybody may begin from outside, by one packet and in
 * any name.  Those that are flow_lone() may have an eighth of what there is, and then
 * the oldest of them gives way. */
struct flow *flow_admit(struct flows *t, enum flow_kind kind);

/* flow_accept - the same for a connection from outside, which gives way to nobody */
struct flow *flow_accept(struct flows *t, enum flow_kind kind);

/* flow_lone - @f has not been answered: it may be ended for another one's sake,
 * but not while it has an inbox
 * flow_answered - it has been; harmless to say again
 * flow_met - the same of one that was flow_lone()
 * flows_yield - whether any of the guest's may give way, in this turn or the next */
void flow_lone(struct flows *t, struct flow *f);
void flow_met(struct flows *t, struct flow *f);

static inline bool flows_yield(const struct flows *t)
{
	return t->lone[0].first;
}

static inline void flow_answered(struct flows *t, struct flow *f)
{
	if (UNLIKELY(f->lone_prev))
		flow_met(t, f);
}

/* flows_owed - the sum of what they owe, flows_cut - cut them, see flow_type */
uint64_t flows_owed(const struct flows *t);
void flows_cut(struct flows *t);

/* flow_enter - make side @i findable; false if its tuple is taken
 * The tuple of a side that was entered must not change. */
bool flow_enter(struct flows *t, struct flow *f, unsigned i);

/* flow_enter_free - the same, with another @our_port if the tuple is taken, as a
 * NAT would have it: two listeners may lead to one port of the guest */
bool flow_enter_free(struct flows *t, struct flow *f, unsigned i);

/* flow_leave - the opposite; harmless if it was not entered */
void flow_leave(struct flows *t, struct flow *f, unsigned i);

/* flow_find - the flow with a side of these values, NULL; *@i says which
 * @key's @fd is not looked at. */
struct flow *flow_find(const struct flows *t, uint8_t proto,
		       const struct side *key, unsigned *i);

/* flow_sent - whether what arrived at @s was sent from the other end, by a flow
 * of @kind: then it goes in circles */
bool flow_sent(const struct flows *t, enum flow_kind kind,
	       const struct side *s);

/* flow_port - datagram sockets of flows with @port at @pif, HOST or SPLICE
 * Those count that were given to flow_watch(). */
static inline struct flow_port *flow_port(const struct flows *t, uint8_t pif,
					  uint16_t port)
{
	return &t->port[pif == PIF_SPLICE][port];
}

/* flow_open - whether the datagram socket of side @i takes what anybody sends */
void flow_open(struct flows *t, struct flow *f, unsigned i, bool open);

/* flow_charge - in its ready(): so many bytes of payload were moved
 * flow_spent - and then: it is the turn of others, return RUN_AGAIN */
static inline struct runq *flow_queue(struct flows *t, const struct flow *f)
{
	return t->type[f->kind]->free_queue ? &t->free_q : &t->guest_q;
}

static inline void flow_charge(struct flows *t, const struct flow *f,
			       size_t bytes)
{
	runq_charge(flow_queue(t, f), bytes);
}

static inline bool flow_spent(struct flows *t, const struct flow *f)
{
	return runq_spent(flow_queue(t, f));
}

/* flow_left - bytes until then */
static inline size_t flow_left(struct flows *t, const struct flow *f)
{
	return runq_left(flow_queue(t, f));
}

/* flow_watch - register side @i's descriptor, edge-triggered, for IN and with a
 * stream also PRI, OUT and RDHUP.  0 or -errno. */
int flow_watch(struct flows *t, struct flow *f, unsigned i);

/* flow_hear - whether all that happens to side @i, a stream that is watched, makes
 * events, or its end and failure alone.  Once it is heard again, all that is so is
 * told. */
int flow_hear(struct flows *t, const struct flow *f, unsigned i, bool all);

/* flow_wake - have type->ready() called in this turn or the next */
void flow_wake(struct flows *t, struct flow *f);

/* flow_drain - have type->drain() called in this turn or the next */
void flow_drain(struct flows *t, struct flow *f);

/* flow_weigh - @sent has grown by what the guest sends: whether that is much
 * A bucket that leaks. */
static inline void flow_weigh(const struct flows *t, struct flow *f)
{
	uint8_t now = (uint8_t)(t->loop->now_ms / FLOW_TICK_MS);
	uint32_t ticks = (uint8_t)(now - f->weighed);

	f->weighed = now;
	f->sent -= MIN(f->sent, ticks * FLOW_TICK_MS * FLOW_HEAVY_RATE);
	f->sent = MIN(f->sent, 2U * FLOW_HEAVY);
	if (f->sent > FLOW_HEAVY)
		f->heavy = true;
}

/* flow_answers - something goes to the guest that it is likely to have waited for:
 * it is light if it had made a pause.  Nothing else says so, since what it sends
 * next may overtake what it sent before. */
static inline void flow_answers(struct flow *f)
{
	if (f->sent < FLOW_LIGHT)
		f->heavy = false;
}

/* flow_odd - the guest has sent what nobody sends whose end of it is in order
 * flow_even - it has got on
 * flow_rude - what comes of it may wait: if one in four is odd */
enum { FLOW_ODD_STEP = 3, FLOW_ODD_MAX = 15, FLOW_RUDE = 9 };

static inline void flow_odd(struct flow *f)
{
	f->odd = (uint8_t)MIN(f->odd + FLOW_ODD_STEP, FLOW_ODD_MAX) & 15;
}

static inline void flow_even(struct flow *f)
{
	if (UNLIKELY(f->odd))
		f->odd = (uint8_t)(f->odd - 1) & 15;
}

static inline bool flow_rude(const struct flow *f)
{
	return UNLIKELY(f->odd >= FLOW_RUDE);
}

/* flow_timer - call type->expire() at @due_ms; 0: never */
void flow_timer(struct flows *t, struct flow *f, uint64_t due_ms);

/* flow_free - end it: hash, timer, run queue.  Descriptors are the protocol's,
 * which has closed them. */
void flow_free(struct flows *t, struct flow *f);

/* flows_shrink - give back the memory that a flood of flows has left
 * flows_tidy() does it when it is worth the walk through the table.  Nothing but
 * what is in the table points to free flows meanwhile: the end of a turn. */
void flows_shrink(struct flows *t);

static inline void flows_tidy(struct flows *t)
{
	if (UNLIKELY(t->count < t->tidy))
		flows_shrink(t);
}

/* flow_hash - the keyed hash of side @i, for initial sequence numbers */
uint64_t flow_hash(const struct flows *t, uint8_t proto,
		   const struct side *s);

static inline uint8_t kind_proto(unsigned kind)
{
	static const uint8_t proto[FLOW_KINDS] = {
		[FLOW_TCP] = 6, [FLOW_SPLICE] = 6,
		[FLOW_UDP] = 17, [FLOW_UDP_SPLICE] = 17, [FLOW_ICMP] = 1,
	};

	return proto[kind];
}

static inline uint8_t flow_proto(const struct flow *f)
{
	return kind_proto(f->kind);
}

/* flow_closing - the state of a connection by the directions that have ended */
static inline enum flow_state flow_closing(bool guest, bool host)
{
	if (guest)
		return host ? FLOW_LAST_ACK : FLOW_FIN_WAIT;
	return host ? FLOW_CLOSE_WAIT : FLOW_ESTABLISHED;
}

static inline unsigned flow_index(const struct flows *t, const struct flow *f)
{
	return (unsigned)(f - t->flow);
}

/* flow_age_ms - how long ago it began */
enum { FLOW_BORN_SHIFT = 4 }; /* so that 32 bits last for two years */
static inline uint64_t flow_age_ms(const struct flows *t, const struct flow *f)
{
	uint32_t now = (uint32_t)(t->loop->now_ms >> FLOW_BORN_SHIFT);

	return (uint64_t)(now - f->born) << FLOW_BORN_SHIFT;
}

/* flow_state - where it stands; it is in use
 * flow_state_name - as ss(8) and conntrack(8) have it: "syn-sent" */
static inline enum flow_state flow_state(const struct flows *t,
					 const struct flow *f)
{
	return t->type[f->kind]->state(f);
}

const char *flow_state_name(enum flow_state s);

/* flow_name - "Flow 12 (TCP): HOST [192.0.2.1]:80 -> ..." for messages */
const char *flow_name(const struct flows *t, const struct flow *f, char *buf,
		      size_t size);
enum { FLOW_NAME = 256 };

#endif /* FLOW_H */
