/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * control - the socket that shows and changes forwarding rules (--conf-path)
 *
 * One client is served at a time; others wait in the backlog until it has gone
 * and what it asked for is done.  Nothing that it does, or fails to do, keeps
 * the loop waiting: after CONTROL_MS it loses its connection.  A client whose
 * first byte is a 'G', instead of a table's number, is a reader of pages and
 * handed to http, and one that begins as a state does is handed to takeover;
 * the next one is then greeted.
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
	struct timer steps; /* steps of a change */
	struct rules_env env;
	struct http *http; /* gets readers of pages ... */
	struct takeover *takeover; /* ... and this our successor; NULL: none may
				      come */
	void (*changed)(void *owner); /* planted by passt.c: the rules have
					 changed */
	void *owner;
	unsigned watch;
	struct acceptor acceptor;
	int fd; /* the client, -1: none */
	enum {
		CONTROL_GREETS,
		CONTROL_READS,
		CONTROL_APPLIES, /* goes on even if the client has gone */
		CONTROL_ANSWERS,
	} phase;
	struct timer timer;
	unsigned n; /* tables: HOST, and SPLICE if there is a namespace */
	struct rulewire_table table[2];
	unsigned next; /* the next of them to be applied */
	int err;
	size_t at, len; /* @buf has @len bytes, of which those before @at were
			   sent */
	uint8_t buf[RULEWIRE_MAX];
};

/* control_start - serve clients of @fd, a listening UNIX socket; 0 or -errno
 * @env is what rules may ask for, @http is initialised.  The pointers stay the
 * caller's. */
int control_start(struct control *c, struct loop *l, struct listen *listen,
		  const struct rules_env *env, struct http *http, int fd);

#endif /* CONTROL_H */
