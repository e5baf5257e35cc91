/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * metrics - what is counted: its names, and the text that watchers get
 *
 * The names and their meaning are part of the interface, and in the manual: they
 * stay as they are.  A row is a family of OpenMetrics 1.0, with a sample for each
 * combination of label values.
 */
#include "metrics.h"

#include <assert.h>
#include <stdio.h>
#include <time.h>

enum {
	KEYS = 3,
	LOOK = 2048, /* flows looked at in a row */
	NS = 1000000000,
};

typedef uint64_t get_fn(const struct metrics *m, const struct metrics_tally *t,
			unsigned i);

/* A unit is the end of the name.  Values of seconds are in nanoseconds. */
struct family {
	const char *name, *unit, *help;
	bool counter;
	unsigned samples;
	const char *key[KEYS];
	const char *(*value)(unsigned i, unsigned key); /* of a label */
	get_fn *get;
};

/* --- values --------------------------------------------------------------- */

static const char *direction(unsigned i, unsigned key)
{
	(void)key;
	return i ? "to_guest" : "from_guest";
}

static uint64_t link_bytes(const struct metrics *m,
			   const struct metrics_tally *t, unsigned i)
{
	(void)t;
	return m->guest->tap->count.bytes[i];
}

static uint64_t link_frames(const struct metrics *m,
			    const struct metrics_tally *t, unsigned i)
{
	(void)t;
	return m->guest->tap->count.frames[i];
}

/* From 1 on: PASS is none */
static const char *verdict(unsigned i, unsigned key)
{
	(void)key;
	return verdict_name(i + 1);
}

static uint64_t drops(const struct metrics *m, const struct metrics_tally *t,
		      unsigned i)
{
	const struct guest *g = m->guest;

	(void)t;
	return g->drops[i + 1] + g->tap->drops[i + 1] + g->udp->drops[i + 1] +
	       g->icmp->drops[i + 1];
}

static const struct {
	uint8_t kind, state;
} stand[] = {
	{ FLOW_TCP, FLOW_SYN_SENT },	{ FLOW_TCP, FLOW_SYN_RECV },
	{ FLOW_TCP, FLOW_ESTABLISHED }, { FLOW_TCP, FLOW_FIN_WAIT },
	{ FLOW_TCP, FLOW_CLOSE_WAIT },	{ FLOW_TCP, FLOW_LAST_ACK },
	{ FLOW_SPLICE, FLOW_SYN_SENT }, { FLOW_SPLICE, FLOW_SYN_RECV },
	{ FLOW_SPLICE, FLOW_ESTABLISHED }, { FLOW_SPLICE, FLOW_FIN_WAIT },
	{ FLOW_SPLICE, FLOW_CLOSE_WAIT }, { FLOW_SPLICE, FLOW_LAST_ACK },
	{ FLOW_UDP, FLOW_UNREPLIED },	{ FLOW_UDP, FLOW_REPLIED },
	{ FLOW_UDP_SPLICE, FLOW_UNREPLIED }, { FLOW_UDP_SPLICE, FLOW_REPLIED },
	{ FLOW_ICMP, FLOW_UNREPLIED },	{ FLOW_ICMP, FLOW_REPLIED },
};

static const char *kind_label(unsigned kind, unsigned key)
{
	static const char *const protocol[] = {
		[FLOW_TCP] = "tcp", [FLOW_SPLICE] = "tcp",
		[FLOW_UDP] = "udp", [FLOW_UDP_SPLICE] = "udp",
		[FLOW_ICMP] = "icmp",
	};

	if (!key)
		return protocol[kind];
	return kind == FLOW_SPLICE || kind == FLOW_UDP_SPLICE ? "splice" :
								"link";
}

static const char *stand_label(unsigned i, unsigned key)
{
	return key < 2 ? kind_label(stand[i].kind, key) :
			 flow_state_name(stand[i].state);
}

static uint64_t flows(const struct metrics *m, const struct metrics_tally *t,
		      unsigned i)
{
	(void)m;
	return t->flows[stand[i].kind][stand[i].state];
}

static uint64_t flows_peak(const struct metrics *m,
			   const struct metrics_tally *t, unsigned i)
{
	(void)t;
	(void)i;
	return m->guest->flows->peak;
}

static uint64_t turns(const struct metrics *m, const struct metrics_tally *t,
		      unsigned i)
{
	(void)t;
	(void)i;
	return m->loop->turns;
}

/* We work, or wait in the loop and take none: no clock is needed for each turn */
static uint64_t cpu(const struct metrics *m, const struct metrics_tally *t,
		    unsigned i)
{
	struct timespec ts;

	(void)m;
	(void)t;
	(void)i;
	/* #syscalls clock_gettime */
	if (clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts))
		return 0;
	return (uint64_t)ts.tv_sec * NS + (uint64_t)ts.tv_nsec;
}

/* --- the table ------------------------------------------------------------ */

static const struct family family[] = {
	{ "passt_link_bytes", "bytes", "Bytes of frames on the guest's link.",
	  true, 2, { "direction" }, direction, link_bytes },
	{ "passt_link_frames", NULL,
	  "Frames on the guest's link; a run of segments is one.",
	  true, 2, { "direction" }, direction, link_frames },
	{ "passt_dropped_packets", NULL,
	  "Packets that were dropped, by the reason.",
	  true, VERDICTS - 1, { "reason" }, verdict, drops },
	{ "passt_flows", NULL,
	  "Connections, exchanges of datagrams and pings, as the guest's socket "
	  "sees them.",
	  false, ARRAY_SIZE(stand), { "protocol", "path", "state" },
	  stand_label, flows },
	{ "passt_flows_peak", NULL, "Most flows at a time.",
	  false, 1, { NULL }, NULL, flows_peak },
	{ "passt_loop_turns", NULL, "Turns of the event loop.",
	  true, 1, { NULL }, NULL, turns },
	{ "passt_cpu_seconds", "seconds", "Time that the process was busy.",
	  true, 1, { NULL }, NULL, cpu },
};

/* --- the flow table ------------------------------------------------------- */

bool metrics_tally(const struct metrics *m, struct metrics_tally *t)
{
	const struct flows *fs = m->guest->flows;
	unsigned end = MIN(t->at + LOOK, fs->fresh);
	const struct flow *f;

	for (; t->at < end; t->at++) {
		f = &fs->flow[t->at];
		if (f->kind == FLOW_FREE)
			continue;
		t->flows[f->kind][flow_state(fs, f)]++;
		t->fds += (f->side[0].fd >= 0) + (f->side[1].fd >= 0);
	}
	return t->at >= fs->fresh;
}

/* --- OpenMetrics ---------------------------------------------------------- */

/* Where a reader is: behind @sample samples of @family, whose head they follow */
struct place {
	struct metrics_tally tally;
	bool tallied, headed;
	unsigned family, sample;
};

static void put_head(const struct family *f, struct wr *w)
{
	http_print(w, "# TYPE %s %s\n", f->name,
		   f->counter ? "counter" : "gauge");
	if (f->unit)
		http_print(w, "# UNIT %s %s\n", f->name, f->unit);
	http_print(w, "# HELP %s %s\n", f->name, f->help);
}

static void put_value(const struct family *f, uint64_t v, struct wr *w)
{
	if (f->unit && !strcmp(f->unit, "seconds"))
		http_print(w, "%llu.%09llu", (unsigned long long)(v / NS),
			   (unsigned long long)(v % NS));
	else
		http_print(w, "%llu", (unsigned long long)v);
}

static void put_sample(const struct metrics *m, const struct metrics_tally *t,
		       const struct family *f, unsigned i, struct wr *w)
{
	unsigned k;

	http_print(w, "%s%s{label=\"%s\"", f->name, f->counter ? "_total" : "",
		   m->label);
	for (k = 0; k < KEYS && f->key[k]; k++)
		http_print(w, ",%s=\"%s\"", f->key[k], f->value(i, k));
	http_print(w, "} ");
	put_value(f, f->get(m, t, i), w);
	http_print(w, "\n");
}

static enum http_next next(void *owner, struct http_answer *a, struct wr *w)
{
	struct place *p = (struct place *)(void *)a->cursor;
	const struct metrics *m = owner;
	const struct family *f = &family[p->family];

	if (!p->tallied) {
		p->tallied = metrics_tally(m, &p->tally);
		return p->tallied ? HTTP_MORE : HTTP_PAUSE;
	}
	if (p->family == ARRAY_SIZE(family)) {
		http_print(w, "# EOF\n");
		return HTTP_END;
	}
	if (!p->headed)
		put_head(f, w);
	p->headed = true;
	put_sample(m, &p->tally, f, p->sample++, w);
	if (p->sample == f->samples) {
		p->family++;
		p->sample = 0;
		p->headed = false;
	}
	return HTTP_MORE;
}

static_assert(sizeof(struct place) <=
		      sizeof(((struct http_answer *)0)->cursor),
	      "where a reader is");

const struct http_page metrics_page = {
	.path = "/metrics",
	.type = "application/openmetrics-text; version=" METRICS_VERSION
		"; charset=utf-8",
	.next = next,
};

/* --- JSON ----------------------------------------------------------------- */

/* How many of its labels sample @i has in common with the one before */
static unsigned common(const struct family *f, unsigned i)
{
	unsigned k = 0;

	while (i && k < KEYS && f->key[k] &&
	       !strcmp(f->value(i, k), f->value(i - 1, k)))
		k++;
	return k;
}

static unsigned keys(const struct family *f)
{
	unsigned k = 0;

	while (k < KEYS && f->key[k])
		k++;
	return k;
}

/* Each label but the last is an object of those behind it */
static void put_labels(const struct family *f, unsigned i, struct wr *w)
{
	unsigned n = keys(f), k = common(f, i), open;

	for (open = n; i && open > k + 1; open--)
		wr_u8(w, '}');
	if (i)
		http_print(w, ", ");
	for (; k < n; k++)
		http_print(w, "\"%s\": %s", f->value(i, k),
			   k + 1 < n ? "{" : "");
}

static void put_object(const struct metrics *m, const struct metrics_tally *t,
		       const struct family *f, struct wr *w)
{
	unsigned n = keys(f), i;

	http_print(w, ", \"%s%s\": ", f->name, f->counter ? "_total" : "");
	if (n)
		wr_u8(w, '{');
	for (i = 0; i < f->samples; i++) {
		if (n)
			put_labels(f, i, w);
		put_value(f, f->get(m, t, i), w);
	}
	for (; n; n--)
		wr_u8(w, '}');
}

void metrics_json(const struct metrics *m, const struct metrics_tally *t,
		  struct wr *w)
{
	unsigned i;

	http_print(w, "{\"label\": \"%s\"", m->label);
	for (i = 0; i < ARRAY_SIZE(family); i++)
		put_object(m, t, &family[i], w);
	http_print(w, "}\n");
}
