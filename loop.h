/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * loop - epoll, run queues, one clock read a turn
 *
 * One turn: wait for events, hand each to its watch, run the timers that are
 * due, serve the run queues, call the end-of-turn function.  A descriptor is
 * registered once with its full mask, mostly edge-triggered.  Its owner keeps
 * what an event means as ready bits, and does the work from a run queue.  The
 * 64-bit epoll reference is an 8-bit watch number and 56 bits of the owner's
 * choice, by which a late event for an object that was freed can be
 * recognised.
 */
#ifndef LOOP_H
#define LOOP_H

#include "timer.h"
#include "util.h"

#include <sys/epoll.h>

/* Seam: the function that a watch's owner planted with loop_watch().  @ref is
 * what the owner gave to loop_add(), @events the epoll mask. */
typedef void watch_fn(void *owner, uint64_t ref, uint32_t events);

/* Embedded in an object that can be queued in a run queue */
struct run {
	struct run *next, **prev; /* prev is NULL when not queued */
	int32_t credit; /* bytes it may still move in @round and be sparse: the
			   deficit counter */
	uint32_t round;
};

/* What a run function returns.  RUN_DONE: the entry leaves the queue.
 * RUN_AGAIN: it has more to do and is served again when its turn comes.
 * RUN_HOLD: it goes back to where it stood, and nothing of this queue is served
 * until runq_release(). */
enum run_verdict { RUN_DONE, RUN_AGAIN, RUN_HOLD };
typedef enum run_verdict run_fn(void *owner, struct run *r);

/* Deficit round robin with two lists, after fq_codel (RFC 8290 4.2).  An entry
 * that has moved no more than @sparse_max bytes in this round is sparse and
 * goes first; the others are bulk, served one after the other, each with all
 * that is left of the turn's budget.  A round is over when every bulk entry has
 * had its visit.  The queue stops for this turn when @budget bytes are used up,
 * however many entries wait, so that events and other queues are looked at in
 * between. */
struct runq {
	struct run_list {
		struct run *head, **tail;
	} sparse, bulk;
	struct run mark; /* entry of @bulk that marks the end of the round */
	uint32_t round;
	int32_t sparse_max, budget; /* bytes */
	int32_t left;	 /* of @budget, for the rest of this turn */
	int32_t visit;	 /* of that, for the rest of the visit of @now */
	struct run *now; /* the entry being served */
	run_fn *serve;
	void *owner;
	struct loop *loop;
	uint32_t bit; /* of @loop's @runnable */
	bool held;
};

enum {
	LOOP_WATCHES = 25,
	LOOP_QUEUES = 8,
	LOOP_EVENTS = 256,
	LOOP_POLL_US = 1000, /* most for loop_poll() */
	LOOP_LATE = 64,
};

struct loop {
	int epfd;
	int spare; /* a descriptor kept in reserve, the alarm's if there is one,
		      see loop_lend(); -1: lent */
	bool quit;
	bool soon;  /* the next turn does not wait */
	int status; /* exit status once @quit */
	bool leaves, hurries; /* set by loop_leave(): nobody takes over, and
				 exit without delay */
	uint64_t now_ns;
	uint64_t now_ms;
	uint64_t gone_ns; /* time that the process was stopped, subtracted from
			     CLOCK_MONOTONIC, see loop_clock() */
	uint64_t gone_at_ms; /* @now_ms when that last happened */
	struct timers timers;
	struct {
		int fd;		/* @spare, or -1: none */
		int watch;	/* -1: the loop has not started */
		uint64_t rings; /* loop time in ms, UINT64_MAX: it is not set */
		unsigned waits; /* waits with a time-out since one last
				   expired */
	} alarm;
	unsigned watches;
	struct {
		watch_fn *fn;
		void *owner;
	} watch[LOOP_WATCHES];
	struct runq *queue[LOOP_QUEUES];
	unsigned queues;
	uint32_t runnable; /* a bit for each queue that is neither empty nor
			      held */
	void (*turn_end)(void *owner); /* planted by passt.c */
	void *turn_owner;
	uint64_t turns; /* turns so far, for tests and --stats */
	uint64_t poll_ns; /* see loop_poll() */
	bool busy;	/* with @poll_ns: the last turn had events */
	bool napping;	/* turns begin with a sleep, see loop_stream() */
	bool hurry;
	unsigned streams;	/* events of this turn that loop_stream() was
				   called for */
	size_t stream_len[2];	/* and their bytes, each way */
	struct {
		unsigned turns;
		uint64_t since_ns, len[2];
		uint64_t mean[2]; /* rates without naps, and with them */
		unsigned shun; /* judgements until naps are tried again */
		unsigned shuns; /* the last pause of this kind, 0: they did not
				   slow the sender down */
	} calm; /* consecutive turns that had no other events */
	struct {
		void (*fn)(int fd);
		int fd;
	} late[LOOP_LATE];
	unsigned late_n, late_old; /* entries of @late, and those of earlier
				      turns */
};

/* loop_init - create the epoll set and read the clock for the first time
 * Returns 0 or -errno. */
int loop_init(struct loop *l);

/* loop_clock - read CLOCK_MONOTONIC into @now_ns and @now_ms; loop_turn() does
 * this once a turn, so only work outside of turns needs it
 * Time during which the whole process was stopped (SIGSTOP, a frozen cgroup)
 * does not count: nobody was silent whom we did not listen to.  loop_turn()
 * takes it that way when a wait ends more than a second late, but not in two
 * turns in a row. */
void loop_clock(struct loop *l);

/* loop_start - the last step before the first turn and the system call filter,
 * when all others have their watches
 * Opens the alarm, a timerfd that replaces time-outs of epoll_pwait() in busy
 * turns and is the descriptor for loop_lend().  Also resets the timer slack
 * that the process inherited, so that short sleeps are short. */
void loop_start(struct loop *l);

/* loop_watch - plant @fn, to be called with @owner; returns the watch number
 * for loop_add()
 * Only at the start, and LOOP_WATCHES times at most. */
unsigned loop_watch(struct loop *l, watch_fn *fn, void *owner);

/* loop_lend - close the descriptor kept in reserve, so that when none is left
 * one more accept() can succeed and the client be turned away
 * Returns false if it is not there.
 * loop_regain - open it again */
bool loop_lend(struct loop *l);
void loop_regain(struct loop *l);

/* loop_add - register @fd for @events, with EPOLLET if wanted, under a number
 * from loop_watch()
 * @ref is passed to the watch function and must be below 2^56.  close() removes
 * the registration.  Returns 0 or -errno. */
int loop_add(struct loop *l, int fd, unsigned watch, uint64_t ref,
	     uint32_t events);
/* loop_mod - change events or reference of a registered @fd; 0 or -errno */
int loop_mod(struct loop *l, int fd, unsigned watch, uint64_t ref,
	     uint32_t events);
/* loop_del - unregister a descriptor that stays open */
void loop_del(struct loop *l, int fd);

/* runq_init - set up @q as a queue of @l, whose entries @serve is called for
 * with @owner; @sparse_max and @budget are bytes, see struct runq
 * Queues are served in reverse order of their initialisation.  At most
 * LOOP_QUEUES. */
void runq_init(struct loop *l, struct runq *q, int32_t sparse_max,
	       int32_t budget, run_fn *serve, void *owner);
/* runq_add - queue @r to be served; harmless if it is queued already */
void runq_add(struct runq *q, struct run *r);
/* runq_del - remove @r from the queue, if it is there; required before it is
 * freed */
void runq_del(struct runq *q, struct run *r);
/* runq_empty - whether no entry waits to be served */
static inline bool runq_empty(const struct runq *q)
{
	return !q->sparse.head && q->bulk.head == &q->mark && !q->mark.next;
}
/* runq_charge - account @bytes that the entry being served has moved
 * Each visit is charged RUN_COST besides. */
enum { RUN_COST = 256 };
static inline void runq_charge(struct runq *q, size_t bytes)
{
	q->left -= (int32_t)bytes;
	q->visit -= (int32_t)bytes;
	q->now->credit -= (int32_t)bytes;
}
/* runq_left - bytes that the entry being served may still move in this visit */
static inline size_t runq_left(const struct runq *q)
{
	return (size_t)MAX(MIN(q->left, q->visit), 0);
}
/* runq_spent - whether these are used up: the run function should return, with
 * RUN_AGAIN if it has more to do */
static inline bool runq_spent(const struct runq *q)
{
	return q->left <= 0 || q->visit <= 0;
}
/* runq_release - serve the queue again after a RUN_HOLD */
void runq_release(struct runq *q);

/* loop_turn - run one turn, waiting no longer than until the next timer is due
 * Returns false once loop_quit() or loop_leave() was called. */
bool loop_turn(struct loop *l);

/* loop_soon - do not wait in the next turn, whether there are events or not */
static inline void loop_soon(struct loop *l)
{
	l->soon = true;
}

/* loop_stream - an event of this turn moved @len bytes of a long transfer in
 * direction @way (0 or 1), or acknowledged such bytes
 * If all events of 32 turns are of this kind, all bytes go the same way, and
 * each turn gets few of them, as from a wire of 1 Gbit/s, then each following
 * turn sleeps for about 0.1 ms before it looks for events and finds several
 * segments at once, like the interrupt moderation of a network card.  The first
 * event of another kind ends this, and a transfer that it slows down. */
static inline void loop_stream(struct loop *l, unsigned way, size_t len)
{
	l->streams++;
	l->stream_len[way] += len;
}

/* loop_hurry - somebody waits for us before it can send more: end such
 * sleeps */
static inline void loop_hurry(struct loop *l)
{
	l->hurry = true;
}

/* loop_poll - busy polling: after a turn that had events, look for more for @us
 * before waiting, at most LOOP_POLL_US; 0, as at first, turns it off
 * Then no turn begins with a sleep. */
void loop_poll(struct loop *l, unsigned us);

/* loop_late - call @fn(@fd) at the end of the next turn, or of this one if it
 * is the last; immediately if LOOP_LATE calls are waiting already
 * For something slow that would keep others waiting, such as closing a
 * connection while its successor is about to connect. */
void loop_late(struct loop *l, void (*fn)(int fd), int fd);

/* loop_quit - end the loop after this turn, with exit status @status */
void loop_quit(struct loop *l, int status);

/* loop_leave - like loop_quit(), when no other process takes over what we
 * serve: bytes that are under way may be delivered first, unless @now */
void loop_leave(struct loop *l, int status, bool now);

#endif /* LOOP_H */
