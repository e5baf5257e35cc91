/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * loop - epoll, run queues, one clock read a turn
 *
 * A turn: wait, hand each event to its watch, run due timers, serve the run
 * queues, call the end-of-turn function.  Descriptors are
 * registered once with their full mask, mostly edge-triggered; what an event
 * means is kept by its owner as ready bits, and the work is done from a run
 * queue.  The 64-bit epoll reference is an 8-bit watch number and 56 bits of
 * the owner's choice, so a late event for a freed object can be told.
 */
#ifndef LOOP_H
#define LOOP_H

#include "timer.h"
#include "util.h"

#include <sys/epoll.h>

/* Seam: what a watch's owner planted.  @ref is what it gave to loop_add(). */
typedef void watch_fn(void *owner, uint64_t ref, uint32_t events);

/* Embedded in what can be queued */
struct run {
	struct run *next, **prev; /* prev is NULL when not queued */
	int32_t credit; /* bytes that it may still move in @round of its queue
			   and be sparse */
	uint32_t round;
};

/* RUN_DONE: off the queue.  RUN_AGAIN: there is more to do, as soon as it is its
 * turn.  RUN_HOLD: back to where it stood, and nothing of this queue is served
 * until runq_release(). */
enum run_verdict { RUN_DONE, RUN_AGAIN, RUN_HOLD };
typedef enum run_verdict run_fn(void *owner, struct run *r);

/* Round robin with two lists, after fq_codel (RFC 8290 4.2): who has moved no more
 * than @sparse_max bytes in this round is sparse and goes first, everybody else is
 * bulk and gets all that is left of the turn, one after the other.  A round is
 * over when all of bulk have had theirs.  A turn of the loop ends when @budget is
 * used up, however many there are, so that events and other queues are looked at
 * in between. */
struct runq {
	struct run_list {
		struct run *head, **tail;
	} sparse, bulk;
	struct run mark; /* in @bulk: the round ends here */
	uint32_t round;
	int32_t sparse_max, budget; /* bytes */
	int32_t left;	 /* of @budget, in this turn */
	int32_t visit;	 /* of that, for @now */
	struct run *now; /* being served */
	run_fn *serve;
	void *owner;
	struct loop *loop;
	uint32_t bit; /* of @loop's queues */
	bool held;
};

enum {
	LOOP_WATCHES = 25,
	LOOP_QUEUES = 8,
	LOOP_EVENTS = 256,
	LOOP_LATE = 64,
};

struct loop {
	int epfd;
	int spare; /* the alarm's, see loop_lend(); -1: none */
	bool quit;
	bool soon;  /* the next turn does not wait */
	int status; /* exit status once @quit */
	bool leaves, hurries; /* loop_leave() */
	uint64_t now_ns;
	uint64_t now_ms;
	uint64_t gone_ns; /* that has passed without us: CLOCK_MONOTONIC less this is now */
	uint64_t gone_at_ms; /* @now_ms when some of it did */
	struct timers timers;
	struct {
		int fd;		/* @spare, or -1: none */
		int watch;	/* -1: the loop has not started */
		uint64_t rings; /* in ms, UINT64_MAX: it is off */
		unsigned waits; /* with a time-out, in a row */
	} alarm;
	unsigned watches;
	struct {
		watch_fn *fn;
		void *owner;
	} watch[LOOP_WATCHES];
	struct runq *queue[LOOP_QUEUES];
	unsigned queues;
	uint32_t runnable; /* bits of those that have something and are not held */
	void (*turn_end)(void *owner); /* planted by passt.c */
	void *turn_owner;
	uint64_t turns; /* for tests and --stats */
	bool napping;	/* turns begin with a sleep, see loop_stream() */
	bool hurry;
	unsigned streams;	/* so many events of this turn brought */
	size_t stream_len[2];	/* that many bytes, each way */
	struct {
		unsigned turns;
		uint64_t since_ns, len[2];
	} calm; /* turns of nothing else, in a row */
	struct {
		void (*fn)(int fd);
		int fd;
	} late[LOOP_LATE];
	unsigned late_n, late_old; /* how many, and of earlier turns */
};

/* loop_init - 0 or -errno.  Reads the clock once. */
int loop_init(struct loop *l);

/* loop_clock - read it again, for what is done outside of turns
 * While the whole process stands still, as by SIGSTOP or in a frozen cgroup, no time
 * passes: nobody has been silent whom we did not listen to. */
void loop_clock(struct loop *l);

/* loop_start - when all but this has its watch, before the first turn and the
 * filter: busy turns have an alarm in place of time-outs, whose descriptor is there
 * for loop_lend(), and short sleeps are to be short, whatever slack the process
 * inherited */
void loop_start(struct loop *l);

/* loop_watch - plant @fn; returns the watch number for loop_add()
 * At the start, LOOP_WATCHES times at most. */
unsigned loop_watch(struct loop *l, watch_fn *fn, void *owner);

/* loop_lend - give back the descriptor that is kept for when there is none left,
 * so that one more accept() can tell a client so; false: it is gone
 * loop_regain - and then keep one again */
bool loop_lend(struct loop *l);
void loop_regain(struct loop *l);

/* loop_add - register @fd with @events (EPOLLET among them if wanted)
 * @ref is below 2^56.  close() takes it out again.  0 or -errno. */
int loop_add(struct loop *l, int fd, unsigned watch, uint64_t ref,
	     uint32_t events);
/* loop_mod - another mask or reference for a registered @fd */
int loop_mod(struct loop *l, int fd, unsigned watch, uint64_t ref,
	     uint32_t events);
/* loop_del - for a descriptor that stays open */
void loop_del(struct loop *l, int fd);

/* runq_init - a queue of @l served by @serve
 * Of several queues the last one is served first.  LOOP_QUEUES at most. */
void runq_init(struct loop *l, struct runq *q, int32_t sparse_max,
	       int32_t budget, run_fn *serve, void *owner);
/* runq_add - have it served, unless it is queued already */
void runq_add(struct runq *q, struct run *r);
/* runq_del - out of the queue, wherever it stands: before it is freed */
void runq_del(struct runq *q, struct run *r);
/* runq_empty - nobody waits to be served */
static inline bool runq_empty(const struct runq *q)
{
	return !q->sparse.head && q->bulk.head == &q->mark && !q->mark.next;
}
/* runq_charge - who is being served has moved @bytes
 * Each service costs RUN_COST besides. */
enum { RUN_COST = 256 };
static inline void runq_charge(struct runq *q, size_t bytes)
{
	q->left -= (int32_t)bytes;
	q->visit -= (int32_t)bytes;
	q->now->credit -= (int32_t)bytes;
}
/* runq_left - bytes that it may move before it is */
static inline size_t runq_left(const struct runq *q)
{
	return (size_t)MAX(MIN(q->left, q->visit), 0);
}
/* runq_spent - it should return RUN_AGAIN if there is more */
static inline bool runq_spent(const struct runq *q)
{
	return q->left <= 0 || q->visit <= 0;
}
/* runq_release - end what RUN_HOLD began */
void runq_release(struct runq *q);

/* loop_turn - one turn, waiting at most until the next timer
 * Returns false once loop_quit() was called. */
bool loop_turn(struct loop *l);

/* loop_soon - have another turn at once, with whatever events there are */
static inline void loop_soon(struct loop *l)
{
	l->soon = true;
}

/* loop_stream - an event of this turn brought @len bytes of a long transfer one
 * way, 0 or 1, or acknowledged some
 * When all events are such, all bytes go the same way and each turn gets few of
 * them, as from a wire of 1 Gbit/s, the loop sleeps before it looks for more,
 * about 0.1 ms, so that it finds several segments at once: what the interrupt
 * moderation of a network card does.  The first event of another kind ends it. */
static inline void loop_stream(struct loop *l, unsigned way, size_t len)
{
	l->streams++;
	l->stream_len[way] += len;
}

/* loop_hurry - somebody can send only after the next event: no sleep */
static inline void loop_hurry(struct loop *l)
{
	l->hurry = true;
}

/* loop_late - call @fn(@fd) at the end of the next turn, or of the last one; at once if
 * that has much to do.  For what takes long and keeps others waiting: the end of a connection,
 * when its successor is at the door. */
void loop_late(struct loop *l, void (*fn)(int fd), int fd);

/* loop_quit - leave after this turn with @status */
void loop_quit(struct loop *l, int status);

/* loop_leave - the same, but nobody else has what we serve: what is on its way may get
 * there first, unless we are to go @now */
void loop_leave(struct loop *l, int status, bool now);

#endif /* LOOP_H */
