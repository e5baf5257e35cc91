/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * eventpage - the page /events: what has happened to the host's network, and
 * what was done
 *
 * A line for each event, as JSON, or with ?format=text as
 *
 * 	SECONDS.MILLISECONDS KIND TEXT
 *
 * It has the last EVENTS of them, and with ?follow also those to come, for as
 * long as the reader stays.  A reader who is slower than events come is told
 * how many were missed.
 */
#ifndef EVENTPAGE_H
#define EVENTPAGE_H

#include "events.h"
#include "http.h"

struct eventpage {
	struct http *http;
	struct events *events;
	uint64_t told; /* number of events when readers were last woken */
};

/* eventpage - the page; its owner is a struct eventpage */
extern const struct http_page eventpage;

/* eventpage_turn_end - at the end of a turn: wake readers that follow if there
 * are new events */
static inline void eventpage_turn_end(struct eventpage *p)
{
	if (!p->http || p->told == p->events->n)
		return;
	p->told = p->events->n;
	http_wake(p->http, &eventpage);
}

#endif /* EVENTPAGE_H */
