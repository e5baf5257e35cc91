/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * metrics - what is counted: its names, and the text that watchers get
 *
 * One table has everything.  The page /metrics tells it as OpenMetrics text, and
 * stats the same names as JSON.  Modules count in their own structs; here is
 * nothing on the way of a packet.
 */
#ifndef METRICS_H
#define METRICS_H

#include "guest.h"
#include "http.h"
#include "listen.h"

#define METRICS_VERSION "1.0.0"

/* Set by its owner, but for what metrics_start() does */
struct metrics {
	const struct guest *guest;
	const struct listen *listen;
	const char *mode; /* how we were called */
	char label[LAN_NAME]; /* without " and \; empty: the process ID */
	int proc; /* directory, for metrics_start(); -1: none */
	int statm; /* -1: not known */
	size_t page;
	uint64_t start_ns; /* since 1970 */
};

/* What is found by a walk through the flow table, a part at a time */
struct metrics_tally {
	unsigned at; /* the next flow to be looked at */
	uint32_t flows[FLOW_KINDS][FLOW_STATES];
	uint32_t fds;
};

/* metrics_page - /metrics, whose owner is a struct metrics */
extern const struct http_page metrics_page;

/* metrics_start - behind the last fork, before the filter */
void metrics_start(struct metrics *m);

/* metrics_drops - packets dropped for the reason @v */
uint64_t metrics_drops(const struct guest *g, enum verdict v);

/* metrics_tally - look at some more flows; true: that were all
 * @t begins as all zero. */
bool metrics_tally(const struct metrics *m, struct metrics_tally *t);

/* metrics_json - all of it as one JSON object; @t is complete */
void metrics_json(const struct metrics *m, const struct metrics_tally *t,
		  struct wr *w);

#endif /* METRICS_H */
