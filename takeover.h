/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * takeover - a process gives way to its successor (--takeover)
 *
 * Both ends of the dialogue; doc/architecture.md, "Hand-over", has it.  What is
 * handed over is for handover.h to say.
 */
#ifndef TAKEOVER_H
#define TAKEOVER_H

#include "acceptor.h"
#include "fdstore.h"
#include "handover.h"

enum {
	TAKEOVER_START_MS = 30000, /* from offer to take: it starts meanwhile */
	TAKEOVER_READY_MS = 5000,  /* what is in the way is done by then */
	TAKEOVER_STEP_S = 2, /* that either waits for the other while nothing
				else is done */
	TAKEOVER_LEAVE_S = 10, /* that one who has given all waits for the end
				  of the command that took it */
	TAKEOVER_BUF = 32 << 20, /* the longest section; mapped, not used */
	TAKEOVER_WORDS = 512,	/* as long as what is said before that */
	TAKEOVER_PROOF = 3,	/* descriptors that show who it is */
	TAKEOVER_LABEL = 256,	/* of a security module */
};

/* Which namespace it is */
struct takeover_place {
	uint64_t dev, ino;
};

struct takeover {
	struct loop *loop;
	struct handover *h;
	/* Where we were started: user, network and process namespace; and that which
	 * we serve, all 0 if it is none */
	struct takeover_place here[TAKEOVER_PROOF], ns;
	bool known;   /* the first of these are */
	bool became;  /* we are another user than who started us: --runas, or if
			 @anybody one that is nobody in particular */
	bool anybody;
	bool command; /* there is one that waits for us */
	uint8_t *buf; /* TAKEOVER_BUF, mapped */
	struct fdlist fds;
	/* The one that gives */
	unsigned uid; /* whose successor comes */
	int control;  /* the file of its socket, -1: none */
	char label[TAKEOVER_LABEL]; /* that a security module has for us, or "" */
	struct acceptor acceptor; /* of those */
	unsigned watch;
	struct timer timer;
	int fd; /* of the successor, -1: none */
	enum { TAKEOVER_ASKED, TAKEOVER_OFFERED, TAKEOVER_WANTED,
	       TAKEOVER_GIVEN } phase;
	uint8_t said[TAKEOVER_WORDS];
	size_t len; /* of @said */
	/* The one that takes */
	int proof[TAKEOVER_PROOF]; /* our namespaces, to be shown */
	size_t at, end;	   /* of @buf: not used yet */
	uint8_t sockets;   /* bits by number of struct handover: it has such */
	struct rd lan;	   /* at the end of @buf */
	int parent;	   /* of which we are the child in the background, -1 */
	int giver;	   /* who waits for the end of that, -1 */
	unsigned orphan;   /* the watch of @parent */
	struct fdstore *store; /* where all comes from, NULL: a process */
};

/* takeover_init - first of all, where we are is remembered; then @t->became and
 * @t->anybody are for the caller to set */
void takeover_init(struct takeover *t, struct loop *l, struct handover *h);

/* takeover_serves - @netns is the namespace of the guest, -1: there is none
 * Who takes over ends with one line if it is another one there. */
void takeover_serves(struct takeover *t, int netns);

/* --- the one that gives */

/* takeover_by - one may come to the control socket @path, as long as nobody but its
 * owner may */
void takeover_by(struct takeover *t, const char *path);

/* takeover_offer - a successor may come: to us, by PID if @proc, a descriptor of
 * /proc, is not -1; besides to takeover_adopt()
 * After the sandbox, before the filter; @h is complete. */
void takeover_offer(struct takeover *t, int proc);

/* takeover_is - whether who begins with @byte wants to take over
 * takeover_adopt - then @fd is ours, of which the @len bytes @buf were read; false:
 * there is another one */
bool takeover_is(uint8_t byte);
bool takeover_adopt(struct takeover *t, int fd, const void *buf, size_t len);

/* takeover_turn_end - give way, if that is wanted and possible now
 * Whatever goes wrong, we go on as if nothing had been; else the loop quits. */
void takeover_turn_end(struct takeover *t);

/* takeover_leave - last of all: who has given way stays until the command that took
 * over has ended
 * A service manager finds out then who the service is, and that it is a child of the
 * manager: told before, it would take the service for somebody else's process. */
void takeover_leave(struct takeover *t);

/* takeover_store - leave all in @s instead: 0, -EAGAIN: not now, but in one of the next
 * turns, or another -errno
 * At the end of a turn; then the process is to end. */
int takeover_store(struct takeover *t, struct fdstore *s);

/* --- the one that takes: failures end the process with one line */

/* takeover_by_number - whether @target is a PID, not a path */
bool takeover_by_number(const char *target);

/* takeover_ask - from the process with the PID, or the control socket, @target */
void takeover_ask(struct takeover *t, const char *target);

/* takeover_resume - from what is in @s, whole; in place of takeover_ask() */
void takeover_resume(struct takeover *t, struct fdstore *s);

/* takeover_has - whether it has a socket of this number of struct handover */
bool takeover_has(const struct takeover *t, unsigned number);

/* takeover_load_lan - the plan is the same as there, where the guest would see it */
void takeover_load_lan(struct takeover *t);

/* takeover_take - from now on it waits for us; all it has is ours as well */
void takeover_take(struct takeover *t);

/* takeover_commit - and now it has gone, 0; -errno: it has not, so we have to
 * Behind the filter, where nothing is left that could fail. */
int takeover_commit(struct takeover *t);

#endif /* TAKEOVER_H */
