/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * metrics - what is counted: names, and the text that readers get
 *
 * One table has everything.  The page /metrics shows it as OpenMetrics text,
 * and stats shows the same names as JSON.  Modules count in their own structs;
 * nothing here is on a packet's way.
 */
#ifndef METRICS_H
#define METRICS_H

#include "guest.h"
#include "http.h"
#include "listen.h"

#define METRICS_VERSION "1.0.0"

/* Set by its owner, except what metrics_start() sets */
struct metrics {
	const struct guest *guest;
	const struct listen *listen;
	const char *mode; /* "passt", "pasta" or "vhost-user" */
	char label[LAN_NAME]; /* without " and \; empty: the process ID is
				 used */
	int proc; /* descriptor of /proc, for metrics_start(); -1: none */
	int statm; /* /proc/self/statm, -1: none */
	size_t page;
	uint64_t start_ns; /* since 1970 */
};

/* What a walk through the flow table counts, a part at a time */
struct metrics_tally {
	unsigned at; /* the next flow to look at */
	uint32_t flows[FLOW_KINDS][FLOW_STATES];
	uint32_t fds;
};

/* metrics_page - the page /metrics; its owner is a struct metrics */
extern const struct http_page metrics_page;

/* metrics_start - open what is needed; after the last fork, before the
 * filter */
void metrics_start(struct metrics *m);

/* metrics_drops - how many packets were dropped because of @v */
uint64_t metrics_drops(const struct guest *g, enum verdict v);

/* metrics_tally - look at some more flows; true: that were all
 * @t is all zero before the first call. */
bool metrics_tally(const struct metrics *m, struct metrics_tally *t);

/* metrics_json - write everything as one JSON object; @t is complete */
void metrics_json(const struct metrics *m, const struct metrics_tally *t,
		  struct wr *w);

#endif /* METRICS_H */
