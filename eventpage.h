/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * eventpage - the page /events: what happened to the host's network, and what was
 * done
 *
 * A line for each event, as JSON, or with ?format=text as
 *
 *	SECONDS.MILLISECONDS KIND TEXT
 *
 * The last EVENTS of them, and with ?follow those that come, for as long as the
 * reader stays.  Who reads slower than they come is told how many he has missed.
 */
#ifndef EVENTPAGE_H
#define EVENTPAGE_H

#include "events.h"
#include "http.h"

struct eventpage {
	struct http *http;
	struct events *events;
	uint64_t told; /* how many there were when readers were woken last */
};

/* eventpage - /events, whose owner is a struct eventpage */
extern const struct http_page eventpage;

/* eventpage_turn_end - who follows has something to read, if there is more */
static inline void eventpage_turn_end(struct eventpage *p)
{
	if (!p->http || p->told == p->events->n)
		return;
	p->told = p->events->n;
	http_wake(p->http, &eventpage);
}

#endif /* EVENTPAGE_H */
