/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * stats - prints what passed and what was dropped, and why (--stats)
 */
#include "stats.h"
#include "log.h"

#include <stdio.h>

enum { HEADER_EVERY = 20, LINE = 1024 };

void stats_init(struct stats *s, unsigned delay_s)
{
	*s = (struct stats){ .delay_ms = delay_s * 1000ULL };
}

static void header(void)
{
	char line[LINE];

	snprintf(line, sizeof(line), "%12s %12s %12s %12s %8s %8s  %s\n",
		 "from guest", "bytes", "to guest", "bytes", "flows", "peak",
		 "drops");
	log_plain(line);
}

static size_t counts(char *line, const struct guest *g)
{
	const struct tap_count *n = &g->tap->count;

	return (size_t)snprintf(line, LINE,
				"%12llu %12llu %12llu %12llu %8u %8u ",
				(unsigned long long)n->frames[0],
				(unsigned long long)n->bytes[0],
				(unsigned long long)n->frames[1],
				(unsigned long long)n->bytes[1],
				g->flows->count, g->flows->peak);
}

static void print(const struct guest *g)
{
	char line[LINE + 2];
	size_t len = counts(line, g);
	unsigned v;

	for (v = 1; v < VERDICTS && len < LINE; v++) {
		uint64_t drops = g->drops[v] + g->tap->drops[v] +
				 g->udp->drops[v] + g->icmp->drops[v];

		if (drops)
			len += (size_t)snprintf(line + len, LINE - len,
						" %s %llu,", verdict_name(v),
						(unsigned long long)drops);
	}
	strcpy(line + MIN(len, LINE - 1), "\n");
	log_plain(line);
}

void stats_turn(struct stats *s, const struct guest *g, uint64_t now_ms)
{
	const struct tap_count *n = &g->tap->count;

	if (now_ms < s->due_ms || n->frames[0] + n->frames[1] == s->frames)
		return;
	s->frames = n->frames[0] + n->frames[1];
	s->due_ms = now_ms + s->delay_ms;
	if (!(s->lines++ % HEADER_EVERY))
		header();
	print(g);
}
