/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * stats - prints what passed and what was dropped, and why (--stats)
 */
#ifndef STATS_H
#define STATS_H

#include "guest.h"

struct stats {
	uint64_t delay_ms, due_ms;
	uint64_t frames; /* as of the last line */
	unsigned lines;	 /* since the header */
};

/* stats_init - a line every @delay_s seconds at most */
void stats_init(struct stats *s, unsigned delay_s);

/* stats_turn - print if it is time and something happened */
void stats_turn(struct stats *s, const struct guest *g, uint64_t now_ms);

#endif /* STATS_H */
