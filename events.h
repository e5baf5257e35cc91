/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * events - what was seen of the host and what was done: each event is a line in
 * the log, and kept for a while in a ring for those who ask
 */
#ifndef EVENTS_H
#define EVENTS_H

#include "log.h"

enum { EVENTS = 256, EVENT_TEXT = 384, EVENT_FIELDS = 512 };

struct event {
	uint64_t ms;	  /* wall-clock time, since 1970 */
	const char *kind; /* one word */
	char text[EVENT_TEXT];
	/* Members of a JSON object, each with a comma in front: , "family":
	 * "IPv4" */
	char fields[EVENT_FIELDS];
};

struct events {
	uint64_t n; /* events so far: the next one goes to */
	struct event ring[EVENTS];
};

/* events_tell - add an event and log it at level @l; @kind stays the caller's
 * @e may be NULL: then it is only logged. */
void events_tell(struct events *e, enum log_level l, const char *kind,
		 const char *fmt, ...) PRINTF(4, 5);

/* events_text, events_number - add a field to the last event, for programs
 * @name is used as it is; @value may be any text.  A field that does not fit is
 * left out. */
void events_text(struct events *e, const char *name, const char *value);
void events_number(struct events *e, const char *name, uint64_t value);

/* events_oldest - the number of the oldest event that is still there */
static inline uint64_t events_oldest(const struct events *e)
{
	return e->n > EVENTS ? e->n - EVENTS : 0;
}

#endif /* EVENTS_H */
