/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * metrics - what is counted: names, and the text that readers get
 *
 * The names and their meaning are an interface, documented in the manual: they
 * must not change.  A row is a family of OpenMetrics 1.0, with a sample for
 * each combination of label values.
 */
#include "metrics.h"

#include <assert.h>
#include <fcntl.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#ifndef VERSION
#define VERSION "unknown"
#endif

enum {
	KEYS = 3,
	LOOK = 2048, /* flows looked at in a row */
	NS = 1000000000,
};

/* Nobody knows */
#define UNKNOWN UINT64_MAX

typedef uint64_t get_fn(const struct metrics *m, const struct metrics_tally *t,
			unsigned i);

enum kind { GAUGE, COUNTER, INFO };

/* A family of metrics.  The name ends with the unit.  Values in seconds are
 * kept in nanoseconds. */
struct family {
	const char *name, *unit, *help;
	enum kind kind;
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
	(void)t;
	return metrics_drops(m->guest, i + 1);
}

uint64_t metrics_drops(const struct guest *g, enum verdict v)
{
	return g->drops[v] + g->tap->drops[v] + g->udp->drops[v] +
	       g->echo->drops[v] +
	       (v == DROP_REASSEMBLY ? g->frags.lost : 0);
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

static const uint8_t made_kind[] = {
	FLOW_TCP, FLOW_SPLICE, FLOW_UDP, FLOW_UDP_SPLICE, FLOW_ICMP,
};

static const char *made_label(unsigned i, unsigned key)
{
	return kind_label(made_kind[i], key);
}

static uint64_t made(const struct metrics *m, const struct metrics_tally *t,
		     unsigned i)
{
	(void)t;
	return m->guest->flows->made[made_kind[i]];
}

/* A function for rows of one sample that is just a field */
#define FIELD(fn, expr)                                                        \
	static uint64_t fn(const struct metrics *m,                            \
			   const struct metrics_tally *t, unsigned i)          \
	{                                                                      \
		(void)m;                                                       \
		(void)t;                                                       \
		(void)i;                                                       \
		return expr;                                                   \
	}

FIELD(one, 1)
FIELD(up, m->guest->tap->up)
FIELD(flows_peak, m->guest->flows->peak)
FIELD(flows_limit, FLOW_MAX)
FIELD(repeated, m->guest->tcp->count.repeated)
FIELD(losses, i ? m->guest->tcp->count.fast : m->guest->tcp->count.timeouts)
FIELD(early, i ? m->guest->tcp->ahead.refused : m->guest->tcp->ahead.kept)
FIELD(shut, tcp_shut_ns(m->guest->tcp, i))
FIELD(rtt, m->guest->tcp->link.srtt_us * 1000ULL)
FIELD(dns_failures, i ? m->guest->tcp->fwd->dns_refused :
			m->guest->tcp->fwd->dns_silent)
FIELD(dns_switched, m->guest->tcp->fwd->dns_switched)
FIELD(fds, i ? listen_count(m->listen) : t->fds)
FIELD(fds_limit, m->listen->limit)
FIELD(buffers, (uint64_t)m->guest->tcp->chunks->used * CHUNK_BLOCK)
FIELD(turns, m->guest->loop->turns)
FIELD(start, m->start_ns)

static const char *early_fate(unsigned i, unsigned key)
{
	(void)key;
	return i ? "refused" : "kept";
}

static const char *seen_by(unsigned i, unsigned key)
{
	(void)key;
	return i ? "acks" : "timer";
}

static const char *shut_by(unsigned i, unsigned key)
{
	(void)key;
	return i == TCP_SHUT_HOST ? "host" : "guest";
}

static const char *dns_reason(unsigned i, unsigned key)
{
	(void)key;
	return i ? "refused" : "timeout";
}

static const char *fd_use(unsigned i, unsigned key)
{
	(void)key;
	return i ? "listeners" : "flows";
}

/* Busy time.  We either work or wait in the loop, so this is the process's CPU
 * time, and needs no clock for each turn. */
static uint64_t cpu(const struct metrics *m, const struct metrics_tally *t,
		    unsigned i)
{
	struct timespec ts;

	(void)m;
	(void)t;
	(void)i;
	/* #syscalls clock_gettime */
	if (clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts))
		return UNKNOWN;
	return (uint64_t)ts.tv_sec * NS + (uint64_t)ts.tv_nsec;
}

static uint64_t resident(const struct metrics *m,
			 const struct metrics_tally *t, unsigned i)
{
	unsigned long long pages;
	char text[128];
	ssize_t n = -1;

	(void)t;
	(void)i;
	if (m->statm >= 0) /* #syscalls pread64 */
		n = pread(m->statm, text, sizeof(text) - 1, 0);
	if (n <= 0)
		return UNKNOWN;
	text[n] = '\0';
	if (sscanf(text, "%*u %llu", &pages) != 1)
		return UNKNOWN;
	return pages * m->page;
}

/* --- the table ------------------------------------------------------------ */

static const char *version(unsigned i, unsigned key)
{
	(void)i;
	(void)key;
	return VERSION;
}

#define PLAIN 1, { NULL }, NULL

static const struct family family[] = {
	{ "passt_build", NULL, "What runs.", INFO, 1, { "version" }, version,
	  one },
	{ "passt_start_time_seconds", "seconds",
	  "When it was started, since 1970.", GAUGE, PLAIN, start },
	{ "passt_link_up", NULL, "Whether a guest is there.", GAUGE, PLAIN,
	  up },
	{ "passt_link_bytes", "bytes", "Bytes of frames on the guest's link.",
	  COUNTER, 2, { "direction" }, direction, link_bytes },
	{ "passt_link_frames", NULL,
	  "Frames on the guest's link; a run of segments is one.", COUNTER, 2,
	  { "direction" }, direction, link_frames },
	{ "passt_dropped_packets", NULL,
	  "Packets that were dropped, by the reason.", COUNTER, VERDICTS - 1,
	  { "reason" }, verdict, drops },
	{ "passt_flows", NULL,
	  "Connections, exchanges of datagrams and pings, as the guest's socket "
	  "sees them.", GAUGE, ARRAY_SIZE(stand), { "protocol", "path", "state" },
	  stand_label, flows },
	{ "passt_flows_opened", NULL, "Flows since the start.", COUNTER,
	  ARRAY_SIZE(made_kind), { "protocol", "path" }, made_label, made },
	{ "passt_flows_peak", NULL, "Most flows at a time.", GAUGE, PLAIN,
	  flows_peak },
	{ "passt_flows_limit", NULL, "Flows for which there is room.", GAUGE,
	  PLAIN, flows_limit },
	{ "passt_tcp_retransmitted_bytes", "bytes",
	  "Bytes that the guest was sent again.", COUNTER, PLAIN, repeated },
	{ "passt_tcp_losses", NULL,
	  "Times that something sent to the guest was found lost.", COUNTER, 2,
	  { "seen_by" }, seen_by, losses },
	{ "passt_tcp_early_bytes", "bytes",
	  "Bytes of the guest that came behind a hole.", COUNTER, 2, { "fate" },
	  early_fate, early },
	{ "passt_tcp_window_shut_seconds", "seconds",
	  "Time during which windows of connections were shut, summed up.",
	  COUNTER, 2, { "by" }, shut_by, shut },
	{ "passt_tcp_rtt_seconds", "seconds",
	  "Smoothed round trip to the guest, 0 if none was measured.", GAUGE,
	  PLAIN, rtt },
	{ "passt_dns_failures", NULL,
	  "Questions that the host's resolver did not answer.", COUNTER, 2,
	  { "reason" }, dns_reason, dns_failures },
	{ "passt_dns_failovers", NULL,
	  "Times that another resolver was taken for that.", COUNTER, PLAIN,
	  dns_switched },
	{ "passt_descriptors", NULL, "Sockets, by what they are for.", GAUGE,
	  2, { "use" }, fd_use, fds },
	{ "passt_descriptors_limit", NULL,
	  "Descriptors that the process may have.", GAUGE, PLAIN, fds_limit },
	{ "passt_resident_memory_bytes", "bytes", "Memory in use.", GAUGE,
	  PLAIN, resident },
	{ "passt_buffered_bytes", "bytes",
	  "Memory with bytes that a socket or the guest has yet to take.",
	  GAUGE, PLAIN, buffers },
	{ "passt_loop_turns", NULL, "Turns of the event loop.", COUNTER, PLAIN,
	  turns },
	{ "passt_cpu_seconds", "seconds", "Time that the process was busy.",
	  COUNTER, PLAIN, cpu },
};

/* In the background our own PID is 1; /proc has the one that others know */
static void name_process(struct metrics *m)
{
	ssize_t n = -1;

	if (m->proc >= 0)
		n = readlinkat(m->proc, "self", m->label, sizeof(m->label) - 1);
	if (n > 0)
		m->label[n] = '\0';
	else
		snprintf(m->label, sizeof(m->label), "%d", getpid());
}

void metrics_start(struct metrics *m)
{
	struct timespec ts = { 0 };

	if (!m->label[0])
		name_process(m);
	m->statm = -1;
	if (m->proc >= 0) {
		m->statm = openat(m->proc, "self/statm", O_RDONLY | O_CLOEXEC);
		close(m->proc);
	}
	m->page = (size_t)sysconf(_SC_PAGESIZE);
	clock_gettime(CLOCK_REALTIME, &ts);
	m->start_ns = (uint64_t)ts.tv_sec * NS + (uint64_t)ts.tv_nsec;
}

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

/* Where a reader has got to: behind @sample samples of @family and its
 * header */
struct place {
	struct metrics_tally tally;
	bool tallied, headed;
	unsigned family, sample;
};

static const char *suffix(const struct family *f)
{
	return f->kind == COUNTER ? "_total" : f->kind == INFO ? "_info" : "";
}

static void put_head(const struct family *f, struct wr *w)
{
	static const char *const type[] = { "gauge", "counter", "info" };

	http_print(w, "# TYPE %s %s\n", f->name, type[f->kind]);
	if (f->unit)
		http_print(w, "# UNIT %s %s\n", f->name, f->unit);
	http_print(w, "# HELP %s %s\n", f->name, f->help);
}

static void put_value(const struct family *f, uint64_t v, struct wr *w)
{
	if (v == UNKNOWN)
		http_print(w, "null");
	else if (f->unit && !strcmp(f->unit, "seconds"))
		http_print(w, "%llu.%09llu", (unsigned long long)(v / NS),
			   (unsigned long long)(v % NS));
	else
		http_print(w, "%llu", (unsigned long long)v);
}

static void put_sample(const struct metrics *m, const struct metrics_tally *t,
		       const struct family *f, unsigned i, struct wr *w)
{
	uint64_t v = f->get(m, t, i);
	unsigned k;

	if (v == UNKNOWN)
		return;
	http_print(w, "%s%s{label=\"%s\"", f->name, suffix(f), m->label);
	if (f->kind == INFO)
		http_print(w, ",mode=\"%s\"", m->mode);
	for (k = 0; k < KEYS && f->key[k]; k++)
		http_print(w, ",%s=\"%s\"", f->key[k], f->value(i, k));
	http_print(w, "} ");
	put_value(f, v, w);
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

/* How many labels sample @i has in common with the one before */
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

/* Write labels as nested objects: each but the last contains the next */
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

	http_print(w, ", \"%s%s\": ", f->name, suffix(f));
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

	http_print(w, "{\"label\": \"%s\", \"mode\": \"%s\", \"version\": "
		      "\"%s\"", m->label, m->mode, VERSION);
	for (i = 1; i < ARRAY_SIZE(family); i++) /* the first is that */
		put_object(m, t, &family[i], w);
	http_print(w, "}\n");
}
