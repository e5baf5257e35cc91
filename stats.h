/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * stats - prints what passed, what was dropped, and why (--stats)
 */
#ifndef STATS_H
#define STATS_H

#include "metrics.h"

enum { STATS_LINE = 8192 };

struct stats {
	const struct metrics *metrics;
	bool json;
	bool walks; /* walking through the flow table for the next line */
	uint64_t delay_ms, due_ms;
	uint64_t frames; /* frames at the last line */
	unsigned lines;	 /* lines since the header */
	struct metrics_tally tally;
	char line[STATS_LINE + 1];
};

/* stats_init - print a line at most every @delay_s seconds, perhaps as @json */
void stats_init(struct stats *s, const struct metrics *m, unsigned delay_s,
		bool json);

/* stats_turn - print a line if it is time and something has happened
 * Returns true if it has more to do in the next turn. */
bool stats_turn(struct stats *s, uint64_t now_ms);

#endif /* STATS_H */
