/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * flow - the flow table: two sides each, hash, generations, life cycle
 *
 * A flow joins two sides; it knows no protocol.  Each of its sockets is
 * registered with epoll once, edge-triggered: an event sets ready bits of its
 * side and queues the flow, and the type's ready() does the work when the run
 * queue serves it.  The epoll reference names index, side and generation, so an
 * event for a flow that has ended, or whose entry was reused, is ignored.
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
	FLOW_HASH = 1 << (FLOW_BITS + 2), /* two entries a flow: at most half
					     full */
	FLOW_HASH_STEP = 5, /* bits by which the part in use grows: twice, from
			       512 entries to all */
	/* Bytes that a flow may move in a round and still be sparse (see struct
	 * runq), and the budget of all flows in a turn: towards the guest,
	 * where frames wait for the end of the turn, and from socket to socket,
	 * where pages are only moved */
	FLOW_SPARSE = 32 << 10,
	FLOW_BUDGET = 256 << 10,
	FLOW_FREE_BUDGET = 1 << 20,
	/* Per-flow leaky bucket, see flow_weigh(): it drains at FLOW_HEAVY_RATE
	 * bytes per millisecond, with a resolution of FLOW_TICK_MS.  Above
	 * FLOW_HEAVY bytes the flow becomes heavy, below FLOW_LIGHT it may
	 * become light again. */
	FLOW_HEAVY_RATE = 512,
	FLOW_TICK_MS = 16,
	FLOW_HEAVY = FLOW_SPARSE,
	FLOW_LIGHT = FLOW_HEAVY / 4,
	FLOW_PRIV = 192,
	FLOW_KEEP = 1024, /* entries in use below which flows_tidy() frees
			     nothing */
	LONE_FIRST = FLOW_MAX + 1, /* @lone_prev of the first of a list */
};

/* Which interface a side is on.  The control and migration protocols send these
 * numbers, so they must not change. */
enum pif { PIF_NONE, PIF_HOST, PIF_TAP, PIF_SPLICE };

/* One side of a flow, seen from us: @ours is our endpoint, @theirs the peer's.
 * On the TAP side the peer is the guest. */
struct side {
	struct addr ours, theirs;
	uint16_t our_port, their_port;
	uint8_t pif;
	int fd; /* -1: none */
};

enum flow_kind { FLOW_FREE, FLOW_TCP, FLOW_SPLICE, FLOW_UDP, FLOW_UDP_SPLICE,
		 FLOW_ICMP, FLOW_KINDS };

/* The state of a flow as the socket in the guest or the namespace would have
 * it: a state of TCP (RFC 9293), or whether its datagrams have been answered */
enum flow_state {
	FLOW_SYN_SENT, /* the guest's end began */
	FLOW_SYN_RECV, /* the host's end began */
	FLOW_ESTABLISHED,
	FLOW_FIN_WAIT,	 /* the guest has ended its direction */
	FLOW_CLOSE_WAIT, /* the host's side has ended its direction */
	FLOW_LAST_ACK,	 /* both have */
	FLOW_UNREPLIED,
	FLOW_REPLIED,
	FLOW_STATES
};

/* What a flow has moved.  [i] is for what came from side i; @queue is how much
 * of that is still in our buffers or our sockets' on its way to the other side,
 * as far as we know. */
struct flow_count {
	bool known; /* @bytes are valid: not every kernel counts */
	uint64_t bytes[2], queue[2];
};

/* Readiness that epoll has reported and nobody has used up yet, for each side.
 * A bit is cleared by whoever finds that the socket has no more. */
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
	uint8_t begun : 4;  /* descriptors charged to the guest's share, see
			       flow_begin(); 0: begun from outside */
	uint8_t odd : 4;    /* see flow_odd() */
	uint8_t hashed : 2; /* bit i: side i is in the hash */
	uint8_t bound : 2;  /* bit i: side i counts in struct flow_port's
			       @bound, and in its @open */
	uint8_t open : 2;
	bool drains : 1;    /* EPOLLOUT and failures queue it for type->drain(),
			       not for type->ready() */
	bool heavy : 1;	    /* the guest sends much, see flow_weigh() */
	uint32_t gen;
	uint32_t born; /* see flow_age_ms() */
	struct run run, drain;
	struct timer timer; /* type->expire() */
	struct packet *inbox; /* this burst's, for type->input() */
	uint32_t sent; /* level of the leaky bucket in bytes, see
			  flow_weigh() */
	uint32_t lone_next;   /* index of the next lone flow plus one, 0: this
				 is the last */
	uint32_t lone_prev;   /* index of the previous one plus one; LONE_FIRST:
				 this is the first; 0: the flow is not lone, see
				 flow_lone() */
	uint16_t weighed; /* low bits of the time of the last flow_weigh(), in
			     FLOW_TICK_MS */
	struct flow *touched; /* next in guest.c's list of flows with an inbox;
				 while FLOW_FREE, next in the free list */
	union {
		uint64_t align;
		uint8_t priv[FLOW_PRIV]; /* the protocol's own state */
	};
};

/* Seam: one const table per kind of flow.  @owner is what flows_type() was
 * given, the protocol's module state. */
struct flow_type {
	const char *name;
	/* Take a burst of packets, in order.  Returns those behind the packet
	 * that ended the flow, which belong to whatever gets the tuple next (a
	 * new SYN, say); NULL: all were used. */
	struct packet *(*input)(void *owner, struct flow *f,
				struct packet *list);
	enum run_verdict (*ready)(void *owner, struct flow *f);
	/* Called for flow_drain(), and while @drains is set for events of room
	 * or failure: work that only goes towards the host.  Its queue is not
	 * held when the guest has no room, so whatever also concerns the guest
	 * must be left to ready(). */
	void (*drain)(void *owner, struct flow *f);
	void (*expire)(void *owner, struct flow *f);
	/* End the flow, because another flow needs its place or the address of
	 * its socket has gone.  NULL for streams from socket to socket. */
	void (*drop)(void *owner, struct flow *f);
	/* For a takeover, see freeze.h; all three are NULL for kinds that
	 * cannot be handed over.  freeze() appends the protocol's part of the
	 * flow to @w and changes nothing.  thaw() reads that into a new flow
	 * whose sides are set, entered in the hash and watched; it returns
	 * false if the data are not sane, and the flow is then the caller's to
	 * free, with nothing else left of it. */
	void (*freeze)(void *owner, struct flow *f, struct wr *w);
	bool (*thaw)(void *owner, struct flow *f, struct rd *r);
	/* End the flow like drop(), but leave its descriptors open and as they
	 * are: another process uses them now */
	void (*forget)(void *owner, struct flow *f);
	/* The guest has answered with an ICMP error: the destination cannot be
	 * reached there.  May end @f, which has no inbox at this time. */
	void (*refused)(void *owner, struct flow *f);
	/* The guest has answered with an ICMP error: a link behind it takes no
	 * packets of more than @mtu bytes.  @seq is where the segment began
	 * that was longer. */
	void (*narrow)(void *owner, struct flow *f, uint32_t seq, unsigned mtu);
	/* For streams, when the process is about to exit.  owes() returns 0
	 * once the guest has ended its direction and every byte has got to the
	 * host; otherwise a nonzero number that changes whenever more has been
	 * delivered.  cut() resets the flow towards each side to which the
	 * other one has not said its end, as the close would be taken for one.
	 * A reset loses what is on its way: unless it has to be @now, cut()
	 * returns true instead, to be called again, while there is such. */
	uint64_t (*owes)(void *owner, const struct flow *f);
	bool (*cut)(void *owner, struct flow *f, bool now);
	enum flow_state (*state)(const struct flow *f);
	/* Fill @n, which is all zero, for flow listings; may ask the kernel */
	void (*count)(const struct flow *f, struct flow_count *n);
	bool free_queue; /* its ready() is served even while the guest has no
			    room: socket to socket */
};

/* How many datagram sockets of flows, and of mcast_sock.c, are bound to a port,
 * and how many of these take datagrams from anybody, as a server's socket
 * does */
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
	struct flow *flow; /* FLOW_MAX entries, mapped */
	uint32_t *hash;	   /* FLOW_HASH of (index << 1 | side) + 1, mapped */
	uint32_t hash_mask; /* entries of @hash in use, less one */
	unsigned entered;   /* sides that are entered */
	struct flow_port (*port)[65536]; /* [0] of PIF_HOST, [1] of PIF_SPLICE;
					    mapped */
	struct flow *free;
	unsigned fresh; /* entries from here on are unused */
	unsigned count, peak;
	uint64_t made[FLOW_KINDS]; /* flows made since the start */
	unsigned tidy; /* with fewer flows than that, flows_tidy() gives back
			  memory */
	uint32_t gen;  /* generation of the newest flow */
	unsigned fds;	       /* descriptors that all flows have, or are about
				  to have */
	unsigned share, begun; /* of these, most that flows begun by the guest
				  may have, and most for others, 0: no limit;
				  and what the guest's have */
	unsigned admitted; /* descriptors that lone flows begun from outside may
			      have, 0: no limit */
	struct flow_lone {
		struct flow *first, *last; /* oldest first; NULL: none */
		unsigned fds;
	} lone[2]; /* flows that are lone, see flow_lone(): [0] begun by the
		      guest, [1] from outside */
};

/* flows_init - map the tables, draw the hash key and set up the run queues on
 * @l
 * Returns 0 or -errno. */
int flows_init(struct flows *t, struct loop *l);

/* flows_type - register @type as the table for flows of @kind, called with
 * @owner */
void flows_type(struct flows *t, enum flow_kind kind,
		const struct flow_type *type, void *owner);

/* flow_new - allocate a flow of @kind, zeroed, with both descriptors -1
 * Returns NULL if the table is full.  The flow is in no hash and no queue yet;
 * the caller completes or frees it before it returns to the loop. */
struct flow *flow_new(struct flows *t, enum flow_kind kind);

/* flows_share - limit all flows together to @fds descriptors
 * Flows that the guest begins may use seven eighths of them, and so may those
 * begun from outside: an eighth is left to the other.  Where @fds exceeds the
 * size of the flow table, the table's size is divided instead. */
void flows_share(struct flows *t, unsigned fds);

/* flow_begin - like flow_new(), for a flow that the guest begins
 * @fds descriptors are charged to the guest's share until the flow is freed.
 * If the share is used up, the guest's oldest lone flow is dropped to make
 * room, see flow_lone().  Returns NULL if no flow may be dropped in this turn,
 * or if the table is full. */
struct flow *flow_begin(struct flows *t, enum flow_kind kind, unsigned fds);

/* flow_admit - like flow_new(), for a flow that anybody outside may begin with
 * a single packet, and with a forged source address
 * Lone flows begun from outside may use an eighth of the descriptors.  Beyond
 * that, or if flows from outside have used up their share, the oldest of the
 * lone ones is dropped to make room.  Returns NULL if none may be dropped in
 * this turn, or if the table is full. */
struct flow *flow_admit(struct flows *t, enum flow_kind kind);

/* flow_accept - like flow_new(), for a connection from outside that was
 * accepted
 * Nothing is dropped for it.  Returns NULL, after a warning, if flows from
 * outside have used up their share, or if the table is full. */
struct flow *flow_accept(struct flows *t, enum flow_kind kind);

/* flow_lone - mark @f as not yet answered: flow_begin() and flow_admit() may
 * drop it for another flow's sake, but not while it has an inbox or ready bits
 * flow_answered - the peer has answered: @f is no longer lone; harmless to
 * repeat
 * flow_met - like flow_answered(), but @f must be lone
 * flows_yield - whether the guest has a lone flow, which can be dropped in this
 * turn or the next */
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

/* flows_owed - the sum of type->owes() of all flows; 0: everything was
 * delivered
 * flows_cut - call type->cut() for all flows; true: again */
uint64_t flows_owed(const struct flows *t);
bool flows_cut(struct flows *t, bool now);

/* flow_enter - enter side @i in the hash, so that flow_find() finds it
 * Returns false if another flow has the same tuple.  The tuple of a side that
 * was entered must not change. */
bool flow_enter(struct flows *t, struct flow *f, unsigned i);

/* flow_enter_free - like flow_enter(), but choose another @our_port while the
 * tuple is taken, as a NAT would: two listeners may lead to one port of the
 * guest
 * Returns false if no free port was found in 64 attempts. */
bool flow_enter_free(struct flows *t, struct flow *f, unsigned i);

/* flow_leave - remove side @i from the hash; harmless if it was not entered */
void flow_leave(struct flows *t, struct flow *f, unsigned i);

/* flow_find - look up the flow of protocol @proto that has a side equal to @key
 * Sets *@i to the index of that side; @key's @fd is ignored.  NULL if there is
 * none. */
struct flow *flow_find(const struct flows *t, uint8_t proto,
		       const struct side *key, unsigned *i);

/* flow_sent - whether a flow of @kind has a side that is the mirror image of @s
 * Then what arrived at @s was sent by ourselves, and goes in circles. */
bool flow_sent(const struct flows *t, enum flow_kind kind,
	       const struct side *s);

/* flow_port - the counts of datagram sockets bound to @port on @pif, PIF_HOST
 * or PIF_SPLICE
 * flow_watch() counts the sockets of flows. */
static inline struct flow_port *flow_port(const struct flows *t, uint8_t pif,
					  uint16_t port)
{
	return &t->port[pif == PIF_SPLICE][port];
}

/* flow_open - record whether the datagram socket of side @i takes datagrams
 * from anybody (@open), or from its peer only */
void flow_open(struct flows *t, struct flow *f, unsigned i, bool open);

/* flow_queue - the run queue that serves flows of @f's kind */
static inline struct runq *flow_queue(struct flows *t, const struct flow *f)
{
	return t->type[f->kind]->free_queue ? &t->free_q : &t->guest_q;
}

/* flow_charge - account @bytes of payload that @f, being served, has moved
 * flow_spent - whether @f has used up its visit or the turn its budget: ready()
 * returns RUN_AGAIN if there is more to do */
static inline void flow_charge(struct flows *t, const struct flow *f,
			       size_t bytes)
{
	runq_charge(flow_queue(t, f), bytes);
}

static inline bool flow_spent(struct flows *t, const struct flow *f)
{
	return runq_spent(flow_queue(t, f));
}

/* flow_left - how many bytes @f may still move in this visit */
static inline size_t flow_left(struct flows *t, const struct flow *f)
{
	return runq_left(flow_queue(t, f));
}

/* flow_watch - register the descriptor of side @i with the loop,
 * edge-triggered: for IN, and if it is a stream also for PRI, OUT and RDHUP
 * Returns 0 or -errno. */
int flow_watch(struct flows *t, struct flow *f, unsigned i);

/* flow_hear - choose what epoll reports about side @i, a stream that is
 * watched: everything (@all), or only its end and failure
 * Turning everything on again makes epoll report whatever is the case by then.
 * Returns 0 or -errno. */
int flow_hear(struct flows *t, const struct flow *f, unsigned i, bool all);

/* flow_wake - have type->ready() called in this turn or the next */
void flow_wake(struct flows *t, struct flow *f);

/* flow_drain - have type->drain() called in this turn or the next */
void flow_drain(struct flows *t, struct flow *f);

/* flow_weigh - after @f->sent has grown by what the guest sent: let the bucket
 * leak for the time that has passed, and mark @f as heavy if it is above
 * FLOW_HEAVY */
static inline void flow_weigh(const struct flows *t, struct flow *f)
{
	uint16_t now = (uint16_t)(t->loop->now_ms / FLOW_TICK_MS);
	uint32_t ticks = (uint16_t)(now - f->weighed);

	f->weighed = now;
	f->sent -= MIN(f->sent, ticks * FLOW_TICK_MS * FLOW_HEAVY_RATE);
	f->sent = MIN(f->sent, 2U * FLOW_HEAVY);
	if (f->sent > FLOW_HEAVY)
		f->heavy = true;
}

/* flow_answers - something goes to the guest that it has probably waited for: a
 * heavy flow becomes light again if its bucket is nearly empty
 * A pause alone does not make it light.  What the guest sends next could then
 * come by another lane, and overtake what it sent before. */
static inline void flow_answers(struct flow *f)
{
	if (f->sent < FLOW_LIGHT)
		f->heavy = false;
}

/* flow_odd - the guest has sent something that a working peer would not send
 * flow_even - the guest has made regular progress
 * flow_rude - whether at least one in four has been odd lately: what comes of
 * @f may wait behind other traffic */
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

/* flow_timer - have type->expire() called at @due_ms of loop time; 0: not at
 * all */
void flow_timer(struct flows *t, struct flow *f, uint64_t due_ms);

/* flow_free - return @f to the table, out of hash, timer wheel and run queues
 * The descriptors are the protocol's, which has closed or given them away
 * before. */
void flow_free(struct flows *t, struct flow *f);

/* flows_shrink - give back memory that a flood of flows has left behind
 * flows_tidy - call flows_shrink() once there are few enough flows to make the
 * walk through the table worthwhile
 * Both must run at the end of a turn, when nothing outside of the table points
 * to a free flow. */
void flows_shrink(struct flows *t);

static inline void flows_tidy(struct flows *t)
{
	if (UNLIKELY(t->count < t->tidy))
		flows_shrink(t);
}

/* flow_hash - keyed hash (SipHash) of protocol and side @s, for the table and
 * for initial sequence numbers */
uint64_t flow_hash(const struct flows *t, uint8_t proto,
		   const struct side *s);

/* kind_proto, flow_proto - the IP protocol of a kind of flow, and of @f; echo
 * is ICMP for both families */
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

/* flow_closing - the state of an established connection, by which ends have
 * ended their direction */
static inline enum flow_state flow_closing(bool guest, bool host)
{
	if (guest)
		return host ? FLOW_LAST_ACK : FLOW_FIN_WAIT;
	return host ? FLOW_CLOSE_WAIT : FLOW_ESTABLISHED;
}

/* flow_index - the number of @f in the table */
static inline unsigned flow_index(const struct flows *t, const struct flow *f)
{
	return (unsigned)(f - t->flow);
}

/* flow_age_ms - milliseconds since @f began, in steps of 16 */
enum { FLOW_BORN_SHIFT = 4 }; /* so that 32 bits last for two years */
static inline uint64_t flow_age_ms(const struct flows *t, const struct flow *f)
{
	uint32_t now = (uint32_t)(t->loop->now_ms >> FLOW_BORN_SHIFT);

	return (uint64_t)(now - f->born) << FLOW_BORN_SHIFT;
}

/* flow_state - the state of @f, a flow in use
 * flow_state_name - a state's name as ss(8) and conntrack(8) write it:
 * "syn-sent" */
static inline enum flow_state flow_state(const struct flows *t,
					 const struct flow *f)
{
	return t->type[f->kind]->state(f);
}

const char *flow_state_name(enum flow_state s);

/* flow_name - describe @f for messages, "Flow 12 (TCP): HOST [192.0.2.1]:80 ->
 * ..."
 * Writes to @buf of @size bytes, of which FLOW_NAME are enough, and returns
 * it. */
const char *flow_name(const struct flows *t, const struct flow *f, char *buf,
		      size_t size);
enum { FLOW_NAME = 256 };

#endif /* FLOW_H */
