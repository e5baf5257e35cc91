/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * stats - prints what passed and what was dropped, and why (--stats)
 */
#ifndef STATS_H
#define STATS_H

#include "metrics.h"

enum { STATS_LINE = 8192 };

struct stats {
	const struct metrics *metrics;
	bool json;
	bool walks; /* through the flow table, for the next line */
	uint64_t delay_ms, due_ms;
	uint64_t frames; /* as of the last line */
	unsigned lines;	 /* since the header */
	struct metrics_tally tally;
	char line[STATS_LINE + 1];
};

/* stats_init - a line every @delay_s seconds at most, perhaps as @json */
void stats_init(struct stats *s, const struct metrics *m, unsigned delay_s,
		bool json);

/* stats_turn - print if it is time and something happened
 * True: it has more to do, in the next turn. */
bool stats_turn(struct stats *s, uint64_t now_ms);

#endif /* STATS_H */
