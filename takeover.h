/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * takeover - a process gives way to its successor (--takeover)
 *
 * Both ends of the dialogue, which doc/architecture.md describes under
 * "Hand-over".  What is handed over is for handover.h to say.
 */
#ifndef TAKEOVER_H
#define TAKEOVER_H

#include "acceptor.h"
#include "fdstore.h"
#include "handover.h"

enum {
	TAKEOVER_START_MS = 30000, /* longest time from OFFER to TAKE, in which
				      the successor starts */
	TAKEOVER_READY_MS = 5000,  /* longest wait for what is in the way of a
				      hand-over */
	TAKEOVER_STEP_S = 2, /* how long each waits for the other while nothing
				else is done */
	TAKEOVER_LEAVE_S = 10, /* how long a predecessor waits for the command
				  that took over to end */
	TAKEOVER_BUF = 32 << 20, /* longest section; mapped, but takes no memory
				    until used */
	TAKEOVER_WORDS = 512,	/* longest message before the sections */
	TAKEOVER_PROOF = 3,	/* descriptors by which a successor shows where
				   it was started */
	TAKEOVER_LABEL = 256,	/* longest label of a security module */
};

/* Identifies a namespace */
struct takeover_place {
	uint64_t dev, ino;
};

struct takeover {
	struct loop *loop;
	struct handover *h;
	/* The user, network and PID namespace in which we were started, and the
	 * namespace that we serve, all zero if there is none */
	struct takeover_place here[TAKEOVER_PROOF], ns;
	bool known;   /* @here is known */
	bool became;  /* we have become another user than the one who started
			 us: of --runas, or nobody in particular if @anybody */
	bool anybody;
	bool command; /* we have a command whose status we have to return */
	uint8_t *buf; /* TAKEOVER_BUF, mapped */
	struct fdlist fds;
	/* The predecessor's */
	unsigned uid; /* user of a successor by PID */
	int control;  /* the file of the control socket, -1: none */
	char label[TAKEOVER_LABEL]; /* our label of a security module, or "" */
	struct acceptor acceptor; /* accepts successors by PID */
	unsigned watch;
	struct timer timer;
	int fd; /* the successor, or for that the predecessor; -1: none */
	enum { TAKEOVER_ASKED, TAKEOVER_OFFERED, TAKEOVER_WANTED,
	       TAKEOVER_GIVEN } phase;
	uint8_t said[TAKEOVER_WORDS];
	size_t len; /* bytes in @said */
	/* The successor's */
	int proof[TAKEOVER_PROOF]; /* descriptors of our namespaces, to be
				      sent */
	size_t at, end;	   /* the bytes of @buf from @at to @end are not used
			      yet */
	uint8_t sockets;   /* which sockets the predecessor has: bits by number
			      of handover.h */
	struct rd lan;	   /* the guest's link, kept at the end of @buf */
	int parent;	   /* pidfd of the process that was started, whose child
			      we are in the background; -1 */
	int giver;	   /* the predecessor, which waits for the end of that;
			      -1 */
	unsigned orphan;   /* the watch of @parent */
	struct fdstore *store; /* where the state comes from; NULL: from a
				  process */
};

/* takeover_init - the first step of all: remember where we were started
 * @t->became and @t->anybody are for the caller to set afterwards. */
void takeover_init(struct takeover *t, struct loop *l, struct handover *h);

/* takeover_serves - set the guest's namespace, @netns, -1: there is none
 * A successor ends with one line if its predecessor serves another one. */
void takeover_serves(struct takeover *t, int netns);

/* --- the predecessor */

/* takeover_by - let a successor come to the control socket @path, as long as
 * only the owner of its file may connect there */
void takeover_by(struct takeover *t, const char *path);

/* takeover_offer - let a successor come: by our PID if @proc, a descriptor of
 * /proc, is not -1, and by takeover_adopt()
 * To be called after the sandbox and before the filter, with @h complete. */
void takeover_offer(struct takeover *t, int proc);

/* takeover_is - whether a client whose first byte is @byte wants to take over
 * takeover_adopt - take such a client: @fd, which is registered with the loop
 * and has sent the @len bytes at @buf, is ours then
 * The latter returns false, and @fd stays the caller's, if there is one already
 * or this one may not. */
bool takeover_is(uint8_t byte);
bool takeover_adopt(struct takeover *t, int fd, const void *buf, size_t len);

/* takeover_turn_end - at the end of a turn: give way to a successor if one has
 * asked for it and nothing is in the way
 * On success the loop quits.  Whatever goes wrong, we go on as if nothing had
 * happened. */
void takeover_turn_end(struct takeover *t);

/* takeover_leave - the last step of all: after giving way, stay until the
 * command that took over has ended, TAKEOVER_LEAVE_S at most
 * Only then a service manager finds out who the service is, with the successor
 * a child of its own.  Told before that, it would take the successor for
 * somebody else's process. */
void takeover_leave(struct takeover *t);

/* takeover_store - leave the state in @s instead, at the end of a turn
 * Returns 0, and the process has to end; -EAGAIN: not now, but in one of the
 * next turns; or another -errno. */
int takeover_store(struct takeover *t, struct fdstore *s);

/* --- the successor: failures end the process with one line */

/* takeover_by_number - whether @target is a PID, not a path */
bool takeover_by_number(const char *target);

/* takeover_ask - ask the process with PID @target, or at the control socket
 * @target, for an offer */
void takeover_ask(struct takeover *t, const char *target);

/* takeover_resume - instead of takeover_ask(), read the offer from @s, which
 * has been checked to be whole */
void takeover_resume(struct takeover *t, struct fdstore *s);

/* takeover_has - whether the predecessor has the socket with this number of
 * handover.h */
bool takeover_has(const struct takeover *t, unsigned number);

/* takeover_load_lan - make the plan the same as the predecessor's as far as the
 * guest would notice */
void takeover_load_lan(struct takeover *t);

/* takeover_take - take over all that the predecessor has; from now on it waits
 * for us */
void takeover_take(struct takeover *t);

/* takeover_commit - tell the predecessor to go
 * Behind the filter, where nothing is left that could fail.  Returns 0 if it
 * has gone, -errno if it has not: then we have to end. */
int takeover_commit(struct takeover *t);

#endif /* TAKEOVER_H */
