/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * events - what was seen of the host and what was done, each as a line of the log
 * and, for who asks later, in a ring of the last ones
 */
#ifndef EVENTS_H
#define EVENTS_H

#include "log.h"

enum { EVENTS = 256, EVENT_TEXT = 384, EVENT_FIELDS = 512 };

struct event {
	uint64_t ms;	  /* of the time of day, since 1970 */
	const char *kind; /* one word */
	char text[EVENT_TEXT];
	/* Pieces of JSON, each with a comma in front: , "family": "IPv4" */
	char fields[EVENT_FIELDS];
};

struct events {
	uint64_t n; /* so many so far: the next one is ring[n % EVENTS] */
	struct event ring[EVENTS];
};

/* events_tell - one more, which the log has at level @l; @kind stays the caller's
 * @e may be NULL: only the log has it then. */
void events_tell(struct events *e, enum log_level l, const char *kind,
		 const char *fmt, ...) PRINTF(4, 5);

/* events_text, events_number - what the last one said, for programs
 * @name stands as it is, @value may be anything; what does not fit is left out. */
void events_text(struct events *e, const char *name, const char *value);
void events_number(struct events *e, const char *name, uint64_t value);

/* events_oldest - the number of the first one that is still there */
static inline uint64_t events_oldest(const struct events *e)
{
	return e->n > EVENTS ? e->n - EVENTS : 0;
}

#endif /* EVENTS_H */
