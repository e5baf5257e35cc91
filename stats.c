/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * stats - prints what passed and what was dropped, and why (--stats)
 */
#include "stats.h"
#include "log.h"

#include <stdio.h>

enum { HEADER_EVERY = 20 };

void stats_init(struct stats *s, const struct metrics *m, unsigned delay_s,
		bool json)
{
	s->metrics = m;
	s->json = json;
	s->delay_ms = delay_s * 1000ULL;
}

static void header(struct wr *w)
{
	http_print(w, "%12s %12s %12s %12s %8s %8s  %s\n", "from guest",
		   "bytes", "to guest", "bytes", "flows", "peak", "drops");
}

static void table(const struct guest *g, struct wr *w)
{
	const struct tap_count *n = &g->tap->count;
	unsigned v;

	http_print(w, "%12llu %12llu %12llu %12llu %8u %8u ",
		   (unsigned long long)n->frames[0],
		   (unsigned long long)n->bytes[0],
		   (unsigned long long)n->frames[1],
		   (unsigned long long)n->bytes[1], g->flows->count,
		   g->flows->peak);
	for (v = 1; v < VERDICTS; v++) {
		uint64_t drops = metrics_drops(g, v);

		if (drops)
			http_print(w, " %s %llu,", verdict_name(v),
				   (unsigned long long)drops);
	}
	http_print(w, "\n");
}

static bool is_due(struct stats *s, uint64_t now_ms)
{
	const struct tap_count *n = &s->metrics->guest->tap->count;

	if (now_ms < s->due_ms || n->frames[0] + n->frames[1] == s->frames)
		return false;
	s->frames = n->frames[0] + n->frames[1];
	s->due_ms = now_ms + s->delay_ms;
	return true;
}

bool stats_turn(struct stats *s, uint64_t now_ms)
{
	struct wr w = wr_init(s->line, STATS_LINE);

	if (!s->walks && !is_due(s, now_ms))
		return false;
	s->walks = s->json && !metrics_tally(s->metrics, &s->tally);
	if (s->walks)
		return true;
	if (s->json) {
		metrics_json(s->metrics, &s->tally, &w);
		s->tally = (struct metrics_tally){ 0 };
	} else {
		if (!(s->lines++ % HEADER_EVERY))
			header(&w);
		table(s->metrics->guest, &w);
	}
	s->line[w.len] = '\0';
	log_plain(s->line);
	return false;
}
