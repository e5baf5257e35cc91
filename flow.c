/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * flow - the flow table: two sides each, hash, generations, life cycle
 *
 * The hash uses open addressing with linear probing.  A slot is 0, or (index <<
 * 1 | side) + 1 in the low 18 bits and 14 bits of the hash above, so that
 * probing hardly ever touches a flow that does not match.  Deletion moves later
 * entries back, so there are no tombstones.  A few flows use a small part of
 * the table, which stays in the cache; the rest of it takes no memory.
 */
#include "flow.h"

#include "log.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/mman.h>

enum {
	ENTRY_BITS = FLOW_BITS + 1,
	SIDE_SHIFT = 24, /* bits of an epoll reference: index, side,
			    generation */
	GEN_SHIFT = 25,
	GEN_MASK = (1U << 31) - 1,
	HASH_LEAST = (FLOW_HASH >> 2 * FLOW_HASH_STEP) - 1, /* a mask */
	TIDY_PART = 16, /* memory is given back when only this part of the peak
			   is in use */
	PAGE = 64 << 10, /* the largest page size of any architecture */
};

#define WATCH (EPOLLIN | EPOLLET)
#define WATCH_STREAM (EPOLLPRI | EPOLLOUT | EPOLLRDHUP)

uint64_t flow_hash(const struct flows *t, uint8_t proto, const struct side *s)
{
	const uint64_t w[5] = {
		s->ours.q[0], s->ours.q[1], s->theirs.q[0], s->theirs.q[1],
		(uint64_t)s->our_port << 32 | (uint64_t)s->their_port << 16 |
			(uint64_t)s->pif << 8 | proto,
	};

	return siphash_words(&t->key, w, ARRAY_SIZE(w));
}

static uint32_t home(const struct flows *t, uint64_t hash)
{
	return hash & t->hash_mask;
}

static uint32_t tag(uint64_t hash)
{
	return (uint32_t)(hash >> 32) & ~((1U << ENTRY_BITS) - 1);
}

static struct flow *entry_flow(const struct flows *t, uint32_t e, unsigned *i)
{
	uint32_t v = (e & ((1U << ENTRY_BITS) - 1)) - 1;

	*i = v & 1;
	return &t->flow[v >> 1];
}

static bool same_side(const struct side *a, const struct side *b)
{
	return a->our_port == b->our_port && a->their_port == b->their_port &&
	       a->pif == b->pif && addr_equal(&a->theirs, &b->theirs) &&
	       addr_equal(&a->ours, &b->ours);
}

/* The slot of a matching side, or the empty one where the search ended */
static uint32_t probe(const struct flows *t, uint8_t proto,
		      const struct side *key, uint64_t hash)
{
	uint32_t at = home(t, hash), e;

	for (; (e = t->hash[at]); at = (at + 1) & t->hash_mask) {
		struct flow *f;
		unsigned i;

		if ((e ^ tag(hash)) >> ENTRY_BITS)
			continue;
		f = entry_flow(t, e, &i);
		if (flow_proto(f) == proto && same_side(&f->side[i], key))
			break;
	}
	return at;
}

struct flow *flow_find(const struct flows *t, uint8_t proto,
		       const struct side *key, unsigned *i)
{
	uint32_t at = probe(t, proto, key, flow_hash(t, proto, key));

	return t->hash[at] ? entry_flow(t, t->hash[at], i) : NULL;
}

bool flow_sent(const struct flows *t, enum flow_kind kind,
	       const struct side *s)
{
	const struct side key = { .ours = s->theirs, .our_port = s->their_port,
				  .theirs = s->ours, .their_port = s->our_port,
				  .pif = s->pif };
	unsigned i;
	const struct flow *f = flow_find(t, kind_proto(kind), &key, &i);

	return f && f->kind == kind;
}

static bool insert(struct flows *t, const struct flow *f, unsigned i)
{
	uint64_t hash = flow_hash(t, flow_proto(f), &f->side[i]);
	uint32_t at = probe(t, flow_proto(f), &f->side[i], hash);

	if (t->hash[at])
		return false;
	t->hash[at] = tag(hash) | ((flow_index(t, f) << 1 | i) + 1);
	return true;
}

static void rehash(struct flows *t, uint32_t mask)
{
	unsigned n, i;

	t->hash_mask = mask;
	for (n = 0; n < t->fresh; n++)
		for (i = 0; i < 2; i++)
			if (t->flow[n].hashed & 1U << i)
				insert(t, &t->flow[n], i);
}

/* Use more of the table.  The last step re-enters 8192 sides, so that nobody
 * waits for long.  With all flows in use the whole table is half full and needs
 * not grow any more. */
static void grow(struct flows *t)
{
	memset(t->hash, 0, (t->hash_mask + 1) * sizeof(*t->hash));
	rehash(t, t->hash_mask << FLOW_HASH_STEP | ((1 << FLOW_HASH_STEP) - 1));
}

bool flow_enter(struct flows *t, struct flow *f, unsigned i)
{
	if (t->entered > t->hash_mask / 2)
		grow(t);
	if (!insert(t, f, i))
		return false;
	f->hashed |= 1U << i & 3;
	t->entered++;
	return true;
}

/* Whether the entry at @at, whose probe sequence starts at @from, may move to
 * @hole */
static bool may_move(const struct flows *t, uint32_t from, uint32_t hole,
		     uint32_t at)
{
	return ((at - from) & t->hash_mask) >= ((at - hole) & t->hash_mask);
}

bool flow_enter_free(struct flows *t, struct flow *f, unsigned i)
{
	enum { TRIES = 64, FIRST = 1024, STEP = 7919 }; /* a prime */
	uint16_t *port = &f->side[i].our_port;
	unsigned n, was = *port;

	for (n = 0; n < TRIES; n++) {
		if (flow_enter(t, f, i))
			return true;
		*port = (uint16_t)(FIRST + (was + n * STEP) % (65536 - FIRST));
	}
	return false;
}

void flow_leave(struct flows *t, struct flow *f, unsigned i)
{
	uint32_t at, hole, e;

	if (!(f->hashed & 1U << i))
		return;
	f->hashed &= ~(1U << i) & 3;
	t->entered--;
	hole = probe(t, flow_proto(f), &f->side[i],
		     flow_hash(t, flow_proto(f), &f->side[i]));
	for (at = (hole + 1) & t->hash_mask; (e = t->hash[at]);
	     at = (at + 1) & t->hash_mask) {
		unsigned j;
		struct flow *g = entry_flow(t, e, &j);
		uint64_t h = flow_hash(t, flow_proto(g), &g->side[j]);

		if (!may_move(t, home(t, h), hole, at))
			continue;
		t->hash[hole] = e;
		hole = at;
	}
	t->hash[hole] = 0;
}

static enum run_verdict serve(void *owner, struct run *r)
{
	struct flow *f = container_of(r, struct flow, run);
	struct flows *t = owner;

	return t->type[f->kind]->ready(t->owner[f->kind], f);
}

static enum run_verdict serve_drain(void *owner, struct run *r)
{
	struct flow *f = container_of(r, struct flow, drain);
	struct flows *t = owner;

	t->type[f->kind]->drain(t->owner[f->kind], f);
	return RUN_DONE;
}

static void event(void *owner, uint64_t ref, uint32_t events)
{
	uint32_t index = ref & ((1U << SIDE_SHIFT) - 1);
	unsigned i = ref >> SIDE_SHIFT & 1;
	struct flows *t = owner;
	struct flow *f = &t->flow[index];

	/* The flow has ended earlier in this turn, or its entry was reused */
	if (f->kind == FLOW_FREE || (f->gen & GEN_MASK) != ref >> GEN_SHIFT)
		return;
	f->ready[i] |= (uint16_t)events;
	if (UNLIKELY(f->drains) && events & (READY_OUT | READY_ERR | READY_HUP))
		runq_add(&t->drain_q, &f->drain);
	else
		runq_add(flow_queue(t, f), &f->run);
}

static void expire(void *owner, struct timer *timer)
{
	struct flow *f = container_of(timer, struct flow, timer);
	struct flows *t = owner;

	t->type[f->kind]->expire(t->owner[f->kind], f);
}

int flows_init(struct flows *t, struct loop *l)
{
	*t = (struct flows){ .loop = l,
			     .hash_mask = HASH_LEAST };
	t->flow = util_map(sizeof(struct flow) * FLOW_MAX);
	t->hash = util_map(sizeof(uint32_t) * FLOW_HASH);
	t->port = util_map(sizeof(*t->port) * 2);
	if (!t->flow || !t->hash || !t->port)
		return -ENOMEM;
	if (!util_random(&t->key, sizeof(t->key)))
		return -EIO;
	t->watch = loop_watch(l, event, t);
	runq_init(l, &t->guest_q, FLOW_SPARSE, FLOW_BUDGET, serve, t);
	runq_init(l, &t->free_q, FLOW_SPARSE, FLOW_FREE_BUDGET, serve, t);
	runq_init(l, &t->drain_q, FLOW_SPARSE, FLOW_BUDGET, serve_drain, t);
	return 0;
}

void flows_type(struct flows *t, enum flow_kind kind,
		const struct flow_type *type, void *owner)
{
	t->type[kind] = type;
	t->owner[kind] = owner;
}

static struct flow *extend(struct flows *t)
{
	struct flow *f = &t->flow[t->fresh++];

	if (t->fresh > FLOW_KEEP)
		t->tidy = t->fresh / TIDY_PART;
	return f;
}

static unsigned fds_of(unsigned kind)
{
	return kind == FLOW_SPLICE || kind == FLOW_UDP_SPLICE ? 2 : 1;
}

struct flow *flow_new(struct flows *t, enum flow_kind kind)
{
	struct flow *f = t->free;

	if (f)
		t->free = f->touched;
	else if (t->fresh < FLOW_MAX)
		f = extend(t);
	else
		return NULL;

	memset(f, 0, sizeof(*f));
	f->gen = ++t->gen;
	f->born = (uint32_t)(t->loop->now_ms >> FLOW_BORN_SHIFT);
	f->kind = kind;
	f->side[0].fd = f->side[1].fd = -1;
	timer_init(&f->timer, expire, t);
	t->count++;
	t->fds += fds_of(kind);
	t->made[kind]++;
	t->peak = MAX(t->peak, t->count);
	return f;
}

static struct flow_lone *list_of(struct flows *t, const struct flow *f)
{
	return &t->lone[!f->begun];
}

void flow_lone(struct flows *t, struct flow *f)
{
	struct flow_lone *l = list_of(t, f);

	f->lone_next = 0;
	f->lone_prev = l->last ? flow_index(t, l->last) + 1 : LONE_FIRST;
	if (l->last)
		l->last->lone_next = flow_index(t, f) + 1;
	else
		l->first = f;
	l->last = f;
	l->fds += fds_of(f->kind);
}

/* NULL where there is none */
static struct flow *lone_at(const struct flows *t, uint32_t n)
{
	return n && n != LONE_FIRST ? &t->flow[n - 1] : NULL;
}

void flow_met(struct flows *t, struct flow *f)
{
	struct flow *prev = lone_at(t, f->lone_prev);
	struct flow *next = lone_at(t, f->lone_next);
	struct flow_lone *l = list_of(t, f);

	if (prev)
		prev->lone_next = f->lone_next;
	else
		l->first = next;
	if (next)
		next->lone_prev = f->lone_prev;
	else
		l->last = prev;
	f->lone_prev = 0;
	l->fds -= fds_of(f->kind);
}

/* Drop the oldest lone flow.  One with an inbox is being worked on by a burst,
 * and one with ready bits may just have been answered, so these are skipped.
 * There are no more of the former than packets in a batch; many of the latter
 * mean that the guest takes nothing. */
static bool make_room(struct flows *t, const struct flow_lone *l)
{
	struct flow *f = l->first;
	unsigned n = 0;

	while (f && (f->inbox || f->ready[0] | f->ready[1])) {
		if (++n == 2 * PACKET_BATCH)
			return false;
		f = lone_at(t, f->lone_next);
	}
	if (!f)
		return false;
	t->type[f->kind]->drop(t->owner[f->kind], f);
	return true;
}

/* Whether flows from outside have used up their share for one more of @kind */
static bool outside_full(const struct flows *t, enum flow_kind kind)
{
	return t->share && t->fds - t->begun + fds_of(kind) > t->share;
}

/* Where there are more descriptors than entries, it is the table that is shared
 * out */
void flows_share(struct flows *t, unsigned fds)
{
	fds = MIN(fds, (unsigned)FLOW_MAX);
	t->share = MAX(fds - fds / 8, 1U);
	t->admitted = MAX(fds / 8, 1U);
}

struct flow *flow_begin(struct flows *t, enum flow_kind kind, unsigned fds)
{
	struct flow *f;

	while (t->share && t->begun + fds > t->share)
		if (!make_room(t, &t->lone[0])) {
			log_limited(LOG_WARN, "The guest uses all %u "
				    "descriptors that it may, refusing more "
				    "connections", t->share);
			return NULL;
		}
	f = flow_new(t, kind);
	if (f) {
		f->begun = (uint8_t)fds;
		t->begun += fds;
	}
	return f;
}

struct flow *flow_admit(struct flows *t, enum flow_kind kind)
{
	struct flow_lone *l = &t->lone[1];

	while (outside_full(t, kind) ||
	       (t->admitted && l->fds && l->fds + fds_of(kind) > t->admitted))
		if (!make_room(t, l))
			return NULL;
	return flow_new(t, kind);
}

struct flow *flow_accept(struct flows *t, enum flow_kind kind)
{
	if (!outside_full(t, kind))
		return flow_new(t, kind);
	log_limited(LOG_WARN, "Clients of forwarded ports use all %u descriptors "
		    "that they may, refusing more", t->share);
	return NULL;
}

uint64_t flows_owed(const struct flows *t)
{
	uint64_t sum = 0;
	unsigned i;

	for (i = 0; i < t->fresh; i++) {
		const struct flow *f = &t->flow[i];

		if (f->kind != FLOW_FREE && t->type[f->kind]->owes)
			sum += t->type[f->kind]->owes(t->owner[f->kind], f);
	}
	return sum;
}

bool flows_cut(struct flows *t, bool now)
{
	bool again = false;
	unsigned i;

	for (i = 0; i < t->fresh; i++) {
		struct flow *f = &t->flow[i];

		if (f->kind != FLOW_FREE && t->type[f->kind]->cut)
			again |= t->type[f->kind]->cut(t->owner[f->kind], f,
						       now);
	}
	return again;
}

static uint64_t watch_ref(const struct flows *t, const struct flow *f,
			  unsigned i)
{
	return flow_index(t, f) | (uint64_t)i << SIDE_SHIFT |
	       (uint64_t)(f->gen & GEN_MASK) << GEN_SHIFT;
}

int flow_watch(struct flows *t, struct flow *f, unsigned i)
{
	uint32_t events = WATCH;
	int err;

	/* Not for datagrams: each one that leaves would report room again */
	if (flow_proto(f) == IPPROTO_TCP)
		events |= WATCH_STREAM;
	err = loop_add(t->loop, f->side[i].fd, t->watch, watch_ref(t, f, i),
		       events);
	if (!err && flow_proto(f) == IPPROTO_UDP) {
		f->bound |= 1U << i & 3;
		flow_port(t, f->side[i].pif, f->side[i].our_port)->bound++;
	}
	return err;
}

int flow_hear(struct flows *t, const struct flow *f, unsigned i, bool all)
{
	return loop_mod(t->loop, f->side[i].fd, t->watch, watch_ref(t, f, i),
			all ? WATCH | WATCH_STREAM : EPOLLET | EPOLLRDHUP);
}

void flow_wake(struct flows *t, struct flow *f)
{
	runq_add(flow_queue(t, f), &f->run);
}

void flow_drain(struct flows *t, struct flow *f)
{
	runq_add(&t->drain_q, &f->drain);
}

void flow_timer(struct flows *t, struct flow *f, uint64_t due_ms)
{
	if (due_ms)
		timer_set(&t->loop->timers, &f->timer, due_ms);
	else
		timer_off(&f->timer);
}

void flow_open(struct flows *t, struct flow *f, unsigned i, bool open)
{
	struct flow_port *p = flow_port(t, f->side[i].pif, f->side[i].our_port);

	if (open == !!(f->open & 1U << i))
		return;
	f->open ^= 1U << i & 3;
	p->open += open ? 1 : -1U;
}

static void unbind(struct flows *t, struct flow *f, unsigned i)
{
	if (!(f->bound & 1U << i))
		return;
	flow_open(t, f, i, false);
	flow_port(t, f->side[i].pif, f->side[i].our_port)->bound--;
}

void flow_free(struct flows *t, struct flow *f)
{
	flow_leave(t, f, 0);
	flow_leave(t, f, 1);
	flow_answered(t, f);
	t->begun -= f->begun;
	t->fds -= fds_of(f->kind);
	unbind(t, f, 0);
	unbind(t, f, 1);
	timer_drop(&t->loop->timers, &f->timer);
	runq_del(flow_queue(t, f), &f->run);
	runq_del(&t->drain_q, &f->drain);
	f->kind = FLOW_FREE;
	f->touched = t->free;
	t->free = f;
	t->count--;
}

/* Give back the bytes of @table from @from to @end, as far as these are whole
 * pages */
static void give_back(void *table, size_t from, size_t end)
{
	uint8_t *mem = table;

	from = (from + PAGE - 1) / PAGE * PAGE;
	if (from < end) /* #syscalls madvise(.,.,MADV_DONTNEED) */
		(void)madvise(mem + from, end - from, MADV_DONTNEED);
}

/* In order, so that the entries in front are used first */
static void list_free(struct flows *t)
{
	unsigned n = t->fresh;

	t->free = NULL;
	while (n--) {
		if (t->flow[n].kind != FLOW_FREE)
			continue;
		t->flow[n].touched = t->free;
		t->free = &t->flow[n];
	}
}

static void shrink_hash(struct flows *t)
{
	uint32_t mask = t->hash_mask;

	while (mask > HASH_LEAST && t->entered <= mask >> FLOW_HASH_STEP >> 2)
		mask >>= FLOW_HASH_STEP;
	if (mask == t->hash_mask)
		return;
	memset(t->hash, 0, (t->hash_mask + 1) * sizeof(*t->hash));
	give_back(t->hash, (mask + 1) * sizeof(*t->hash),
		  (t->hash_mask + 1) * sizeof(*t->hash));
	rehash(t, mask);
}

/* The last flow in use may be far behind the others.  Then this is tried again
 * when there are half as many, and for the last few with each flow that
 * ends. */
void flows_shrink(struct flows *t)
{
	unsigned was = t->fresh;

	while (t->fresh && t->flow[t->fresh - 1].kind == FLOW_FREE)
		t->fresh--;
	list_free(t);
	shrink_hash(t);
	give_back(t->flow, t->fresh * sizeof(*t->flow),
		  was * sizeof(*t->flow));
	t->tidy = t->count > TIDY_PART ? t->count / 2 : t->count;
	if (t->fresh <= FLOW_KEEP)
		t->tidy = 0;
}

const char *flow_name(const struct flows *t, const struct flow *f, char *buf,
		      size_t size)
{
	static const char *const pif[] = { "NONE", "HOST", "TAP", "SPLICE" };
	char a[4][ADDR_TEXT_LEN];
	const struct side *s = f->side;

	snprintf(buf, size,
		 "Flow %u (%s): %s [%s]:%hu -> [%s]:%hu => %s [%s]:%hu -> "
		 "[%s]:%hu",
		 flow_index(t, f), t->type[f->kind]->name, pif[s[0].pif],
		 addr_text(&s[0].theirs, a[0]), s[0].their_port,
		 addr_text(&s[0].ours, a[1]), s[0].our_port, pif[s[1].pif],
		 addr_text(&s[1].ours, a[2]), s[1].our_port,
		 addr_text(&s[1].theirs, a[3]), s[1].their_port);
	return buf;
}

const char *flow_state_name(enum flow_state s)
{
	static const char *const name[] = {
		[FLOW_SYN_SENT] = "syn-sent",
		[FLOW_SYN_RECV] = "syn-recv",
		[FLOW_ESTABLISHED] = "established",
		[FLOW_FIN_WAIT] = "fin-wait",
		[FLOW_CLOSE_WAIT] = "close-wait",
		[FLOW_LAST_ACK] = "last-ack",
		[FLOW_UNREPLIED] = "unreplied",
		[FLOW_REPLIED] = "replied",
	};

	return name[s];
}
