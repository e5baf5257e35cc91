/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * control - the socket that shows and changes forwarding rules (--conf-path)
 *
 * One client at a time; others wait in the backlog until it has gone and what it
 * asked for is done.  Nothing it does, or leaves undone, keeps the loop waiting:
 * what it costs is its own connection, after CONTROL_MS.  A client whose first
 * byte is a 'G' instead of a table's number wants to watch: it is http's from then
 * on, and the next one is greeted.  Likewise takeover's is who begins as a state.
 */
#ifndef CONTROL_H
#define CONTROL_H

#include "acceptor.h"
#include "http.h"
#include "listen.h"
#include "rulewire.h"
#include "takeover.h"

enum { CONTROL_MS = 5000 };

struct control {
	struct loop *loop;
	struct listen *listen;
	struct timer steps; /* of a change */
	struct rules_env env;
	struct http *http; /* whose clients come here, too ... */
	struct takeover *takeover; /* ... and our successor, NULL: no such */
	void (*changed)(void *owner); /* planted by passt.c: other rules now */
	void *owner;
	unsigned watch;
	struct acceptor acceptor;
	int fd; /* of the client, -1: none */
	enum {
		CONTROL_GREETS,
		CONTROL_READS,
		CONTROL_APPLIES, /* whether or not the client is still there */
		CONTROL_ANSWERS,
	} phase;
	struct timer timer;
	unsigned n; /* tables: HOST, with a namespace SPLICE */
	struct rulewire_table table[2];
	unsigned next; /* of them, to be applied */
	int err;
	size_t at, len; /* @buf has @len bytes, those before @at are sent */
	uint8_t buf[RULEWIRE_MAX];
};

/* control_start - serve clients of @fd, a listening UNIX socket
 * @env is what rules may ask for, @http is initialised.  The pointers stay the
 * caller's.  0 or -errno. */
int control_start(struct control *c, struct loop *l, struct listen *listen,
		  const struct rules_env *env, struct http *http, int fd);

#endif /* CONTROL_H */
