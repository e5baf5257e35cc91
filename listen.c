/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * listen - the listening sockets of the rule tables
 *
 * There is a slot for each port of each rule, in a mapping of which only what
 * is used takes memory, and a bit for each slot tells whether to look there.  A
 * change of tables goes in steps, as 65535 sockets take half a second: what is
 * new is opened in the other table, then the two tables change places, slots
 * with the same binding move over with their sockets, and the other sockets are
 * closed.  Until then events of either table are served by its own rules.
 *
 * An epoll reference has side, port and descriptor; the rule is looked up.  So
 * a socket that stays needs no system call, even if its rule gets another
 * number.
 *
 * Work on the table of the other namespace is one visit there for each step.
 */
#include "listen.h"

#include "events.h"
#include "log.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>

enum {
	PORT_BITS = 16,
	FD_BITS = 31,
	SPARE_DESCRIPTORS = 64, /* descriptors kept for everything but
				   listeners */
	PATIENCE_MS = 200, /* wait for a process that is about to leave its
			      ports */
	NAP_MS = 5,
	COMPLAINTS = 8, /* failed ports of a rule that are logged one by one */
	/* Looking at a slot costs little, but not nothing */
	LOOK_COST = 4,
	SOCKET_COST = 64,
	STEP_COST = LISTEN_STEP * SOCKET_COST,
	RESUMES = 256, /* resumed at a time */
	FOLLOWS = 1024,
	MAP_WORDS = RULES_SOCKETS / 64,
	TABLE_BYTES = RULES_SOCKETS * sizeof(struct listener) +
		      2 * MAP_WORDS * sizeof(uint64_t),
};

/* A piece of work, possibly to be done in the other namespace */
struct job {
	struct listen *l;
	unsigned side;
	uint8_t proto;
	const struct portmap *want, *busy;
	unsigned left; /* sockets that it may still open or close */
	int err;
	int (*fn)(struct job *j);
};

/* A slot, and what belongs to it */
struct place {
	const struct listen_table *t;
	unsigned side, rule, n;
};

static unsigned side_of(enum pif pif)
{
	return pif == PIF_SPLICE;
}

static enum pif pif_of(unsigned side)
{
	return side ? PIF_SPLICE : PIF_HOST;
}

static unsigned ports(const struct rule *r)
{
	return r->last - r->first + 1U;
}

static bool has_port(const struct rule *r, unsigned port)
{
	return port >= r->first && port <= r->last;
}

static unsigned slot_of(const struct listen_table *t, unsigned i, unsigned port)
{
	return t->base[i] + port - t->rules.r[i].first;
}

static unsigned port_of(const struct listen_table *t, unsigned i, unsigned n)
{
	return t->rules.r[i].first + n - t->base[i];
}

/* Bits are looked at instead of slots, most of which have no page */
static bool get_bit(const uint64_t *map, unsigned n)
{
	return map[n / 64] >> n % 64 & 1;
}

static void set_bit(uint64_t *map, unsigned n, bool to)
{
	uint64_t bit = 1ULL << n % 64;

	map[n / 64] = to ? map[n / 64] | bit : map[n / 64] & ~bit;
}

/* The first bit from @n on that is set; @end or more if there is none before
 * @end */
static unsigned next_bit(const uint64_t *map, unsigned n, unsigned end)
{
	uint64_t rest;

	for (; n < end; n = (n | 63) + 1) {
		rest = map[n / 64] >> n % 64;
		if (rest)
			return n + (unsigned)__builtin_ctzll(rest);
	}
	return end;
}

/* Whether rule @i has a socket for @port */
static bool is_open(const struct listen_table *t, unsigned i, unsigned port)
{
	return has_port(&t->rules.r[i], port) &&
	       get_bit(t->open, slot_of(t, i, port));
}

/* The @k-th table that may have sockets at @side: the table in force and,
 * during a change, the other one; NULL after the last */
static const struct listen_table *table_at(const struct listen *l,
					   unsigned side, unsigned k)
{
	const struct listen_change *c = &l->change;

	if (!k)
		return &l->table[side];
	return k == 1 && c->phase != LISTEN_IDLE && c->side == side ?
		       &l->other : NULL;
}

static uint64_t ref_of(unsigned side, unsigned port, int fd)
{
	return ((uint64_t)side << FD_BITS | (unsigned)fd) << PORT_BITS | port;
}

/* Find the slot that @ref names; false: that socket is gone */
static bool find(const struct listen *l, uint64_t ref, struct place *p)
{
	unsigned port = ref & ((1U << PORT_BITS) - 1), k;
	int fd = (int)(ref >> PORT_BITS & ((1U << FD_BITS) - 1));

	p->side = ref >> (PORT_BITS + FD_BITS) & 1;
	for (k = 0; (p->t = table_at(l, p->side, k)); k++) {
		for (p->rule = 0; p->rule < p->t->rules.n; p->rule++) {
			if (!is_open(p->t, p->rule, port))
				continue;
			p->n = slot_of(p->t, p->rule, port);
			if (p->t->slot[p->n].fd == fd)
				return true;
		}
	}
	return false;
}

static unsigned watch_of(const struct listen *l, const struct rule *r)
{
	return r->proto == IPPROTO_TCP ? l->tcp_watch : l->udp_watch;
}

static int visit(void *arg)
{
	struct job *j = arg;

	return j->fn(j);
}

static int work(struct job *j)
{
	return j->side ? ns_run(j->l->ns, visit, j) : j->fn(j);
}

/* --- one socket --------------------------------------------------------- */

static uint32_t inode_of(int fd)
{
	struct util_stat st;

	return util_fstat(fd, &st) ? 0 : (uint32_t)st.inode;
}

/* Whether @port is one of service discovery (SSDP, WS-Discovery, mDNS, LLMNR),
 * which many sockets of a host share, since what is sent there is for all
 * members of a multicast group.  A user who names such a port wants to share
 * it. */
static bool is_group_port(unsigned port)
{
	return port == 1900 || port == 3702 || port == 5353 || port == 5355;
}

/* Whether the socket may share its port; the guest may have sent from there
 * before the rule was made */
static bool is_shared(const struct listen *l, unsigned side,
		      const struct rule *r, unsigned port)
{
	const struct flow_port *p;

	if (is_group_port(port) && !(r->flags & (RULE_WEAK | RULE_SCAN)))
		return true;
	if (!l->flows)
		return false;
	p = flow_port(l->flows, pif_of(side), (uint16_t)port);
	return p->bound || p->open;
}

static struct sock_bind binding(const struct rule *r, unsigned port)
{
	return (struct sock_bind){ .addr = r->listen, .port = (uint16_t)port,
				   .dual = r->flags & RULE_DUAL,
				   .ifname = r->ifname };
}

static int open_socket(const struct listen *l, unsigned side,
		       const struct rule *r, unsigned port)
{
	const struct sock_env *env = side ? &l->ns->env : l->env;
	struct sock_bind b = binding(r, port);
	int fd;

	if (r->proto == IPPROTO_TCP)
		return sock_listen(env, &b);
	fd = sock_udp_listen(env, &b);
	if (fd != -EADDRINUSE || !is_shared(l, side, r, port))
		return fd;
	b.shared = true;
	return sock_udp_listen(env, &b);
}

/* Take @fd into service: 0, or -errno, and then it is closed */
static int use_socket(struct listen *l, unsigned side,
		      const struct listen_table *t, unsigned i, unsigned port,
		      int fd)
{
	int err = loop_add(l->loop, fd, watch_of(l, &t->rules.r[i]),
			   ref_of(side, port, fd), EPOLLIN);
	unsigned n = slot_of(t, i, port);

	if (err) {
		sock_close(fd);
		return err;
	}
	t->slot[n] = (struct listener){
		.fd = fd, .inode = l->ns ? inode_of(fd) : 0,
	};
	set_bit(t->open, n, true);
	return 0;
}

static int open_port(struct listen *l, unsigned side,
		     const struct listen_table *t, unsigned i, unsigned port)
{
	int fd = open_socket(l, side, &t->rules.r[i], port);

	return fd < 0 ? fd : use_socket(l, side, t, i, port, fd);
}

static void close_slot(const struct listen_table *t, unsigned n)
{
	set_bit(t->open, n, false);
	set_bit(t->paused, n, false);
	sock_close(t->slot[n].fd);
}

static void move_slot(const struct listen_table *from, unsigned o,
		      const struct listen_table *to, unsigned n)
{
	to->slot[n] = from->slot[o];
	set_bit(to->open, n, true);
	set_bit(to->paused, n, get_bit(from->paused, o));
	set_bit(from->open, o, false);
	set_bit(from->paused, o, false);
}

/* --- pauses ------------------------------------------------------------- */

static void look_later(struct listen *l, unsigned ms)
{
	timer_set(&l->loop->timers, &l->resume, l->loop->now_ms + ms);
}

/* Watch a listener, or not.  Errors are reported in any case, but with EPOLLET
 * just once.  If the kernel refuses, the state is kept and the change tried
 * again. */
static void watch(struct listen *l, const struct place *p, bool on)
{
	const struct rule *r = &p->t->rules.r[p->rule];
	int fd = p->t->slot[p->n].fd;
	uint64_t ref = ref_of(p->side, port_of(p->t, p->rule, p->n), fd);

	if (!loop_mod(l->loop, fd, watch_of(l, r), ref,
		      on ? EPOLLIN : EPOLLET))
		set_bit(p->t->paused, p->n, !on);
	else if (on)
		look_later(l, LISTEN_PAUSE_MS);
}

void listen_pause(struct listen *l, uint64_t ref)
{
	struct place p;

	if (!find(l, ref, &p))
		return;
	watch(l, &p, false);
	look_later(l, LISTEN_PAUSE_MS);
}

/* Resume at most @left listeners of a table; returns how many may be resumed
 * yet */
static unsigned resume_some(struct listen *l, unsigned side,
			    const struct listen_table *t, unsigned left)
{
	struct place p = { .t = t, .side = side };
	unsigned end;

	for (; p.rule < t->rules.n; p.rule++) {
		p.n = t->base[p.rule];
		end = p.n + ports(&t->rules.r[p.rule]);
		while (left &&
		       (p.n = next_bit(t->paused, p.n, end)) < end) {
			watch(l, &p, true);
			p.n++;
			left--;
		}
	}
	return left;
}

static void resume(void *owner, struct timer *timer)
{
	const struct listen_table *t;
	unsigned side, k, left = RESUMES;
	struct listen *l = owner;

	(void)timer;
	for (side = 0; side < 2; side++)
		for (k = 0; (t = table_at(l, side, k)); k++)
			left = resume_some(l, side, t, left);
	if (!left)
		look_later(l, 1);
}

/* --- a table ------------------------------------------------------------ */

static void lay_out(struct listen_table *t)
{
	unsigned i;

	t->slots = 0;
	for (i = 0; i < t->rules.n; i++) {
		t->waits[i] = LISTEN_READY;
		t->base[i] = t->slots;
		t->slots += ports(&t->rules.r[i]);
	}
}

/* Close all sockets of a table and give back its memory */
static void empty(struct listen_table *t)
{
	unsigned n = 0;

	while ((n = next_bit(t->open, n, t->slots)) < t->slots)
		close_slot(t, n);
	/* #syscalls madvise(.,.,MADV_DONTNEED) */
	madvise(t->slot, TABLE_BYTES, MADV_DONTNEED);
	t->rules.n = t->slots = 0;
}

static unsigned descriptors(const struct rules *rules)
{
	unsigned i, n = 0;

	for (i = 0; i < rules->n; i++)
		if (!(rules->r[i].flags & RULE_SCAN))
			n += ports(&rules->r[i]);
	return n;
}

static uint64_t descriptor_limit(void)
{
	struct rlimit lim;

	return getrlimit(RLIMIT_NOFILE, &lim) ? UINT64_MAX : lim.rlim_cur;
}

static int check_limit(uint64_t limit, const struct rules *host,
		       const struct rules *splice)
{
	unsigned n = descriptors(host) + descriptors(splice);
	char what[64] = "Running";

	if (n + SPARE_DESCRIPTORS <= limit)
		return 0;
	if (n)
		snprintf(what, sizeof(what), "Forwarding %u ports", n);
	log_err("%s needs %u descriptors, the limit (RLIMIT_NOFILE) is %llu",
		what, n + SPARE_DESCRIPTORS, (unsigned long long)limit);
	return -EMFILE;
}

int listen_limit(const struct rules *host, const struct rules *splice)
{
	return check_limit(descriptor_limit(), host, splice);
}

int listen_fits(const struct listen *l, const struct rules *host,
		const struct rules *splice)
{
	return check_limit(l->limit, host, splice);
}

static unsigned count(const struct listen_table *t)
{
	unsigned n = 0, i;

	for (i = 0; i < (t->slots + 63) / 64; i++)
		n += (unsigned)__builtin_popcountll(t->open[i]);
	return n;
}

unsigned listen_count(const struct listen *l)
{
	return count(&l->table[0]) + count(&l->table[1]) + count(&l->other);
}

unsigned listen_left(const struct listen *l)
{
	uint64_t used = descriptors(&l->table[0].rules) +
			descriptors(&l->table[1].rules) + SPARE_DESCRIPTORS;

	return l->limit <= used ? 0 : (unsigned)MIN(l->limit - used, UINT32_MAX);
}

/* --- from one table to the next ----------------------------------------- */

static bool same_binding(const struct rule *a, const struct rule *b)
{
	return a->proto == b->proto && addr_equal(&a->listen, &b->listen) &&
	       (a->flags & RULE_DUAL) == (b->flags & RULE_DUAL) &&
	       !strncmp(a->ifname, b->ifname, sizeof(a->ifname));
}

/* The rule of @t that binds @port like @r, of which there is one at most; NULL:
 * none */
static const struct rule *same_rule(const struct listen_table *t,
				    const struct rule *r, unsigned port)
{
	const struct rule *s;

	for (s = t->rules.r; s < t->rules.r + t->rules.n; s++)
		if (has_port(s, port) && same_binding(s, r))
			return s;
	return NULL;
}

/* Whether the old table has the socket.  If its rule follows the other side,
 * that may be closed before it can move, so try again later. */
static bool inherits(struct listen_change *c, const struct listen_table *old,
		     const struct rule *r, unsigned port)
{
	const struct rule *was = same_rule(old, r, port);

	if (!was || !is_open(old, (unsigned)(was - old->rules.r), port))
		return false;
	c->again |= was->flags & RULE_SCAN;
	return true;
}

/* Move a socket of the old table to the new one, or close it; returns what that
 * costs */
static int leave_slot(const struct listen *l, unsigned o, unsigned n)
{
	const struct listen_table *t = &l->table[l->change.side];
	unsigned i, port = port_of(&l->other, o, n);
	const struct rule *r = same_rule(t, &l->other.rules.r[o], port);

	i = r ? (unsigned)(r - t->rules.r) : 0;
	if (r && !is_open(t, i, port)) {
		move_slot(&l->other, n, t, slot_of(t, i, port));
		return LOOK_COST;
	}
	close_slot(&l->other, n);
	return SOCKET_COST;
}

static int leave_some(struct listen *l)
{
	const struct listen_table *old = &l->other;
	struct listen_change *c = &l->change;
	unsigned end;

	for (; c->rule < old->rules.n; c->rule++) {
		end = old->base[c->rule] + ports(&old->rules.r[c->rule]);
		while ((c->n = next_bit(old->open, c->n, end)) < end) {
			if (c->left <= 0)
				return -EINPROGRESS;
			c->left -= leave_slot(l, c->rule, c->n);
		}
		c->n = end;
	}
	return 0;
}

/* Close sockets of the old table that are in the way of @port; those that both
 * tables have are not */
static void clear_way(const struct listen_table *old,
		      const struct listen_table *t, uint8_t proto, unsigned port)
{
	const struct rule *r = old->rules.r;
	unsigned i;

	for (i = 0; i < old->rules.n; i++)
		if (r[i].proto == proto && is_open(old, i, port) &&
		    !same_rule(t, &r[i], port))
			close_slot(old, slot_of(old, i, port));
}

static void complain(unsigned side, const struct rule *r, unsigned port,
		     int err)
{
	char text[ADDR_TEXT_LEN] = "*";

	if (!(r->flags & RULE_DUAL))
		addr_text(&r->listen, text);
	log_warn("Listen failed for %s %s port [%s]%s%.15s:%u: %s",
		 side ? "SPLICE" : "HOST",
		 r->proto == IPPROTO_TCP ? "TCP" : "UDP", text,
		 r->ifname[0] ? "%" : "", r->ifname, port, util_error(-err));
}

/* Many ports may fail, mostly for the same reason: log one line */
static void complain_once(unsigned side, const struct rule *r, unsigned failed,
			  int err)
{
	char text[RULE_TEXT];

	log_warn("Listen failed for %u of %u ports of %s %s: %s", failed,
		 ports(r), side ? "SPLICE" : "HOST", rule_text(r, text),
		 util_error(-err));
}

/* Whether @err means that the address or interface does not exist; a link-local
 * address means nothing before its interface exists */
static bool is_absent(const struct listen *l, const struct rule *r, int err)
{
	if (!l->follows)
		return false;
	return err == -EADDRNOTAVAIL || err == -ENODEV ||
	       (err == -EINVAL && addr_is_link_local(&r->listen));
}

static void tell_waits(const struct listen *l, const struct rule *r)
{
	const char *what = r->ifname[0] ? "interface" : "address";
	char text[RULE_TEXT];

	events_tell(l->events, LOG_WARN, "rule", "Waiting for the %s of HOST %s",
		    what, rule_text(r, text));
	events_text(l->events, "state", "waits");
	events_text(l->events, "for", what);
	events_text(l->events, "rule", text);
}

static void tell_bound(const struct listen *l, const struct rule *r)
{
	char text[RULE_TEXT];

	events_tell(l->events, LOG_INFORM, "rule", "Listening now: HOST %s",
		    rule_text(r, text));
	events_text(l->events, "state", "bound");
	events_text(l->events, "rule", text);
}

/* Whether failures are logged: what fails in an earlier phase may still
 * succeed */
static bool tells(const struct listen_change *c)
{
	return c->phase == LISTEN_RETRY && !c->quiet;
}

static void failed(struct listen *l, struct listen_table *t, unsigned port,
		   int err)
{
	struct listen_change *c = &l->change;
	const struct rule *r = &t->rules.r[c->rule];

	c->again = true;
	if (!c->side && is_absent(l, r, err)) {
		t->waits[c->rule] = LISTEN_ABSENT;
		c->absent++;
		return;
	}
	c->rule_err = err;
	c->failed++;
	if (tells(c) && !(r->flags & RULE_WEAK) && c->failed <= COMPLAINTS)
		complain(c->side, r, port, err);
}

/* A rule was processed.  A weak one may fail in parts, a strict one not at
 * all. */
static void rule_done(struct listen *l, const struct rule *r)
{
	struct listen_change *c = &l->change;
	bool weak = r->flags & RULE_WEAK;

	if (tells(c) && c->absent)
		tell_waits(l, r);
	if (tells(c) && c->failed > (weak ? 0 : COMPLAINTS))
		complain_once(c->side, r, c->failed, c->rule_err);
	if (c->failed && (!weak || c->failed == ports(r)) && !c->err)
		c->err = c->rule_err;
	c->failed = c->absent = 0;
}

/* Open a port of the new table, unless it is open or will move there; returns
 * what that costs */
static int try_port(struct listen *l, struct listen_table *t,
		    const struct listen_table *old, unsigned port)
{
	struct listen_change *c = &l->change;
	const struct rule *r = &t->rules.r[c->rule];
	int err;

	if (is_open(t, c->rule, port) || inherits(c, old, r, port))
		return LOOK_COST;
	if (c->phase == LISTEN_REPLACE)
		clear_way(old, t, r->proto, port);
	err = open_port(l, c->side, t, c->rule, port);
	if (err)
		failed(l, t, port, err);
	else
		c->fd = t->slot[c->n].fd;
	return SOCKET_COST;
}

/* Whether descriptors run short: while there are old and new sockets, some must
 * be left for connections.  The kernel gives out the lowest free number. */
static bool crowded(const struct listen *l, const struct listen_table *old)
{
	return l->change.phase != LISTEN_RETRY && old->slots &&
	       l->change.fd >= 0 &&
	       (uint64_t)l->change.fd >= l->limit - l->limit / 8;
}

static struct listen_table *new_table(struct listen *l)
{
	return l->change.phase == LISTEN_OPEN ? &l->other :
						&l->table[l->change.side];
}

static int open_some(struct job *j)
{
	struct listen *l = j->l;
	struct listen_change *c = &l->change;
	struct listen_table *t = new_table(l);
	const struct listen_table *old = t == &l->other ?
						 &l->table[c->side] : &l->other;

	for (; c->rule < t->rules.n; c->rule++) {
		const struct rule *r = &t->rules.r[c->rule];
		unsigned end = t->base[c->rule] + ports(r);

		for (; c->n < end && !(r->flags & RULE_SCAN); c->n++) {
			if (c->left <= 0)
				return -EINPROGRESS;
			if (crowded(l, old)) {
				c->again = true;
				return 0;
			}
			c->left -= try_port(l, t, old,
					    port_of(t, c->rule, c->n));
		}
		rule_done(l, r);
		c->n = end;
	}
	return 0;
}

static void swap(struct listen_table *a, struct listen_table *b)
{
	struct listen_table was = *a;

	*a = *b;
	*b = was;
}

static void go(struct listen_change *c, int phase)
{
	c->phase = phase;
	c->rule = c->n = c->failed = c->absent = 0;
	c->fd = -1;
	if (phase == LISTEN_REPLACE || phase == LISTEN_RETRY) {
		c->again = false;
		c->err = 0;
	}
}

/* Go to the next phase; with @err the last one was not even tried */
static void go_on(struct listen *l, int err)
{
	struct listen_change *c = &l->change;

	if (err) {
		c->err = err;
		c->again = false;
	}
	switch (c->phase) {
	case LISTEN_OPEN:
		if (!err)
			swap(&l->table[c->side], &l->other);
		go(c, c->again ? LISTEN_REPLACE : LISTEN_LEAVE);
		break;
	case LISTEN_REPLACE:
		go(c, LISTEN_LEAVE);
		break;
	case LISTEN_LEAVE:
		empty(&l->other);
		go(c, c->again ? LISTEN_RETRY : LISTEN_IDLE);
		break;
	default:
		go(c, LISTEN_IDLE);
	}
}

int listen_step(struct listen *l)
{
	struct listen_change *c = &l->change;
	struct job j = { .l = l, .side = c->side, .fn = open_some };
	int ret;

	c->left = STEP_COST;
	while (c->phase != LISTEN_IDLE) {
		if (c->phase == LISTEN_LEAVE)
			ret = leave_some(l);
		else
			ret = new_table(l)->rules.n ? work(&j) : 0;
		if (ret == -EINPROGRESS)
			return ret;
		go_on(l, ret);
	}
	return c->err;
}

void listen_begin(struct listen *l, enum pif pif, const struct rules *rules)
{
	l->change = (struct listen_change){ .side = side_of(pif) };
	l->renewal = (struct listen_renewal){ 0 };
	l->other.rules = *rules;
	lay_out(&l->other);
	go(&l->change, LISTEN_OPEN);
}

static int finish(struct listen *l)
{
	int err;

	do
		err = listen_step(l);
	while (err == -EINPROGRESS);
	return err;
}

static int retry(struct listen *l, bool quiet)
{
	l->change.quiet = quiet;
	go(&l->change, LISTEN_RETRY);
	return finish(l);
}

/* Whoever has our ports may be about to leave them: a container is restarted as
 * soon as its namespace is gone, which our predecessor saw a moment ago */
int listen_start(struct listen *l, enum pif pif, const struct rules *rules)
{
	const struct timespec nap = { .tv_nsec = NAP_MS * 1000000 };
	unsigned ms;
	int err;

	listen_begin(l, pif, rules);
	l->change.quiet = true;
	err = finish(l);
	for (ms = 0; err == -EADDRINUSE && ms < PATIENCE_MS; ms += NAP_MS) {
		nanosleep(&nap, NULL);
		err = retry(l, true);
	}
	return l->change.again ? retry(l, false) : err;
}

void listen_end(struct listen *l)
{
	empty(&l->table[0]);
	empty(&l->table[1]);
	empty(&l->other);
}

static int map(struct listen_table *t)
{
	t->slot = util_map(TABLE_BYTES);
	if (!t->slot)
		return -ENOMEM;
	t->open = (uint64_t *)(t->slot + RULES_SOCKETS);
	t->paused = t->open + MAP_WORDS;
	return 0;
}

int listen_init(struct listen *l, struct loop *loop, const struct sock_env *env,
		struct ns *ns)
{
	l->loop = loop;
	l->env = env;
	l->ns = ns;
	l->limit = descriptor_limit();
	timer_init(&l->resume, resume, l);
	return map(&l->table[0]) || map(&l->table[1]) || map(&l->other) ?
		       -ENOMEM : 0;
}

/* --- other addresses and interfaces --------------------------------------- */

/* Renew a port.  If its address or interface does not exist, the rule's other
 * ports would fail as well. */
static void renew_port(struct listen *l, const struct rule *r, unsigned port)
{
	struct listen_table *t = &l->table[0];
	struct listen_renewal *w = &l->renewal;
	struct sock_bind b = binding(r, port);
	bool open = get_bit(t->open, w->n);
	int err;

	if (open && sock_holds(l->env, t->slot[w->n].fd, &b))
		return;
	if (open)
		close_slot(t, w->n);
	w->lost |= open;
	if (r->flags & RULE_SCAN || w->absent ||
	    (!open && !t->waits[w->rule]))
		return; /* listen_scan() will open it */
	w->left -= SOCKET_COST;
	err = open_port(l, 0, t, w->rule, port);
	w->opened += !err;
	w->absent = is_absent(l, r, err);
	if (err && !w->absent && !(r->flags & RULE_WEAK)) {
		w->refused = true;
		if (t->waits[w->rule] != LISTEN_REFUSED)
			complain(0, r, port, err);
	}
	if (w->absent && !w->lost)
		w->n = t->base[w->rule] + ports(r) - 1;
}

static void renewed(struct listen *l, const struct rule *r)
{
	struct listen_renewal *w = &l->renewal;

	if (w->opened)
		tell_bound(l, r);
	else if (w->lost && w->absent)
		tell_waits(l, r);
	l->table[0].waits[w->rule] = w->absent	? LISTEN_ABSENT :
				     w->refused ? LISTEN_REFUSED :
						  LISTEN_READY;
	w->again |= w->refused;
	w->opened = 0;
	w->lost = w->absent = w->refused = false;
}

static bool may_change(const struct listen *l, unsigned i)
{
	const struct rule *r = &l->table[0].rules.r[i];

	return l->table[0].waits[i] || r->ifname[0] ||
	       (!addr_is_v4(&r->listen) && addr_is_link_local(&r->listen));
}

int listen_renew(struct listen *l)
{
	const struct listen_table *t = &l->table[0];
	struct listen_renewal *w = &l->renewal;
	bool again;

	if (l->change.phase != LISTEN_IDLE)
		return -EINPROGRESS;
	for (w->left = STEP_COST; w->rule < t->rules.n; w->rule++) {
		const struct rule *r = &t->rules.r[w->rule];
		unsigned end = t->base[w->rule] + ports(r);

		if (!may_change(l, w->rule))
			continue;
		for (w->n = MAX(w->n, t->base[w->rule]); w->n < end; w->n++) {
			if (w->left <= 0)
				return -EINPROGRESS;
			w->left -= LOOK_COST;
			renew_port(l, r, port_of(t, w->rule, w->n));
		}
		renewed(l, r);
	}
	again = w->again;
	*w = (struct listen_renewal){ 0 };
	return again ? -EAGAIN : 0;
}

/* --- questions ---------------------------------------------------------- */

const struct rules *listen_rules(const struct listen *l, enum pif pif)
{
	return &l->table[side_of(pif)].rules;
}

bool listen_lacks(const struct listen *l, enum pif pif, unsigned i)
{
	const struct listen_table *t = &l->table[side_of(pif)];
	const struct rule *r = &t->rules.r[i];
	unsigned n, have = 0;

	if (r->flags & RULE_SCAN || t->waits[i] == LISTEN_ABSENT)
		return false;
	for (n = 0; n < ports(r); n++)
		have += get_bit(t->open, t->base[i] + n);
	return r->flags & RULE_WEAK ? !have : have < ports(r);
}

int listen_find(const struct listen *l, uint64_t ref, const struct rule **r,
		enum pif *pif)
{
	struct place p;

	if (!find(l, ref, &p))
		return -1;
	*r = &p.t->rules.r[p.rule];
	*pif = pif_of(p.side);
	return p.t->slot[p.n].fd;
}

static bool serves(const struct rule *r, uint8_t proto, const struct addr *to)
{
	return r->proto == proto &&
	       (r->flags & RULE_DUAL || addr_equal(&r->listen, to) ||
		(addr_is_unspecified(&r->listen) &&
		 addr_is_v4(&r->listen) == addr_is_v4(to)));
}

const struct rule *listen_rule(const struct listen *l, enum pif pif,
			       uint8_t proto, const struct addr *to,
			       uint16_t port)
{
	const struct listen_table *t;
	unsigned i, k;

	for (k = 0; (t = table_at(l, side_of(pif), k)); k++)
		for (i = 0; i < t->rules.n; i++)
			if (serves(&t->rules.r[i], proto, to) &&
			    is_open(t, i, port))
				return &t->rules.r[i];
	return NULL;
}

/* Whether a socket for @port is open by any rule; with @inode, whether it is
 * this one */
static bool has_socket(const struct listen *l, enum pif pif, uint8_t proto,
		       uint16_t port, const uint32_t *inode)
{
	const struct listen_table *t;
	unsigned i, k;

	for (k = 0; (t = table_at(l, side_of(pif), k)); k++)
		for (i = 0; i < t->rules.n; i++)
			if (t->rules.r[i].proto == proto &&
			    is_open(t, i, port) &&
			    (!inode ||
			     t->slot[slot_of(t, i, port)].inode == *inode))
				return true;
	return false;
}

bool listen_has_port(const struct listen *l, enum pif pif, uint8_t proto,
		     uint16_t port)
{
	return has_socket(l, pif, proto, port, NULL);
}

bool listen_owns(const struct listen *l, enum pif pif, uint8_t proto,
		 uint16_t port, uint32_t inode)
{
	return has_socket(l, pif, proto, port, &inode);
}

bool listen_scans(const struct listen *l, enum pif pif, uint8_t proto)
{
	const struct rules *rules = &l->table[side_of(pif)].rules;
	unsigned i;

	for (i = 0; i < rules->n; i++)
		if (rules->r[i].proto == proto && rules->r[i].flags & RULE_SCAN)
			return true;
	return false;
}

/* --- following the other side ------------------------------------------- */

/* Call @each for each port of the rules with RULE_SCAN of this protocol;
 * returns the sum of its results */
static int scan(struct job *j, int (*each)(struct job *j, unsigned i,
					   unsigned port, bool want))
{
	const struct rules *rules = &j->l->table[j->side].rules;
	unsigned i, port;
	int n = 0;

	for (i = 0; i < rules->n; i++) {
		const struct rule *r = &rules->r[i];

		if (r->proto != j->proto || !(r->flags & RULE_SCAN))
			continue;
		for (port = r->first; port <= r->last; port++)
			n += each(j, i, port,
				  portmap_has(j->want, port - r->first + r->to));
	}
	return n;
}

static bool missing(const struct job *j, unsigned i, unsigned port, bool want)
{
	return want && !is_open(&j->l->table[j->side], i, port) &&
	       !portmap_has(j->busy, port);
}

/* Whether enough was done: the rest comes with the next look */
static bool is_enough(struct job *j)
{
	if (!j->left) {
		j->err = -EAGAIN;
		return true;
	}
	j->left--;
	return false;
}

/* Close @port if it is not wanted; returns whether it is missing */
static int tidy(struct job *j, unsigned i, unsigned port, bool want)
{
	const struct listen_table *t = &j->l->table[j->side];

	if (!want && is_open(t, i, port) && !is_enough(j))
		close_slot(t, slot_of(t, i, port));
	return missing(j, i, port, want);
}

static int add(struct job *j, unsigned i, unsigned port, bool want)
{
	int err;

	if (!missing(j, i, port, want) || is_enough(j))
		return 0;
	err = open_port(j->l, j->side, &j->l->table[j->side], i, port);
	if (err)
		log_debug("Can't follow %s port %u in %s: %s",
			  j->proto == IPPROTO_TCP ? "TCP" : "UDP", port,
			  j->side ? "SPLICE" : "HOST", util_error(-err));
	if (j->err != -EAGAIN)
		j->err = err ? err : j->err;
	return 0;
}

static int add_all(struct job *j)
{
	(void)scan(j, add);
	return j->err;
}

int listen_scan(struct listen *l, enum pif pif, uint8_t proto,
		const struct portmap *want, const struct portmap *busy)
{
	struct job j = { .l = l, .side = side_of(pif), .proto = proto,
			 .want = want, .busy = busy, .left = FOLLOWS,
			 .fn = add_all };

	return scan(&j, tidy) ? work(&j) : j.err;
}

/* --- to a successor ----------------------------------------------------- */

static void put_rule(const struct rule *r, struct wr *w)
{
	wr_bytes(w, r->listen.b, sizeof(r->listen.b));
	wr_bytes(w, r->target.b, sizeof(r->target.b));
	wr_bytes(w, r->ifname, sizeof(r->ifname));
	wr_be16(w, r->first);
	wr_be16(w, r->last);
	wr_be16(w, r->to);
	wr_u8(w, r->proto);
	wr_u8(w, r->flags);
}

static void get_rule(struct rule *r, struct rd *in)
{
	rd_copy(in, r->listen.b, sizeof(r->listen.b));
	rd_copy(in, r->target.b, sizeof(r->target.b));
	rd_copy(in, r->ifname, sizeof(r->ifname));
	r->ifname[sizeof(r->ifname) - 1] = '\0';
	r->first = rd_be16(in);
	r->last = rd_be16(in);
	r->to = rd_be16(in);
	r->proto = rd_u8(in);
	r->flags = rd_u8(in);
}

void listen_save_rules(const struct listen *l, enum pif pif, struct wr *w)
{
	const struct rules *rules = listen_rules(l, pif);
	unsigned i;

	wr_u8(w, (uint8_t)pif);
	wr_u8(w, (uint8_t)rules->n);
	for (i = 0; i < rules->n; i++)
		put_rule(&rules->r[i], w);
	for (i = 0; i < rules->n; i++)
		wr_u8(w, l->table[side_of(pif)].waits[i]);
}

static bool is_side(const struct listen *l, unsigned pif)
{
	return pif == PIF_HOST || (pif == PIF_SPLICE && l->ns);
}

bool listen_load_rules(struct listen *l, struct rd *r)
{
	struct rules rules = { 0 };
	unsigned pif = rd_u8(r), n = rd_u8(r), sockets = 0, i;

	rules.splice = pif == PIF_SPLICE;
	for (; rules.n < n && rd_ok(r); rules.n++) {
		struct rule *rule = &rules.r[rules.n];

		get_rule(rule, r);
		if (rule->first > rule->last)
			return false;
		sockets += ports(rule);
		if (sockets > RULES_SOCKETS)
			return false;
	}
	if (!rd_ok(r) || !is_side(l, pif))
		return false;
	rules.sockets = sockets;
	l->table[side_of(pif)].rules = rules;
	lay_out(&l->table[side_of(pif)]);
	for (i = 0; i < n && rd_left(r); i++)
		l->table[side_of(pif)].waits[i] = rd_u8(r);
	return true;
}

/* The rule of slot @n */
static unsigned rule_of(const struct listen_table *t, unsigned n)
{
	unsigned i = t->rules.n - 1;

	while (t->base[i] > n)
		i--;
	return i;
}

unsigned listen_save(const struct listen *l, enum pif pif, unsigned from,
		     struct wr *w, struct fdlist *fds)
{
	const struct listen_table *t = &l->table[side_of(pif)];
	unsigned n = from, count = 0, i;
	size_t at;

	wr_u8(w, (uint8_t)pif);
	at = w->len;
	wr_be16(w, 0);
	for (; (n = next_bit(t->open, n, t->slots)) < t->slots &&
	       count < FDLIST_SECTION; n++, count++) {
		i = rule_of(t, n);
		wr_u8(w, (uint8_t)i);
		wr_be16(w, (uint16_t)port_of(t, i, n));
		fdlist_put(fds, t->slot[n].fd);
	}
	wr_patch_be16(w, at, (uint16_t)count);
	return n < t->slots ? n : 0;
}

int listen_load(struct listen *l, struct rd *r, struct fdlist *fds)
{
	unsigned pif = rd_u8(r), count = rd_be16(r), i, port;
	const struct listen_table *t;
	int err = 0;

	if (!is_side(l, pif))
		return -EPROTO;
	t = &l->table[side_of(pif)];
	while (count-- && !err) {
		i = rd_u8(r);
		port = rd_be16(r);
		if (!rd_ok(r) || i >= t->rules.n ||
		    !has_port(&t->rules.r[i], port) || is_open(t, i, port))
			return -EPROTO;
		err = use_socket(l, side_of(pif), t, i, port,
				 fdlist_take(fds));
	}
	return err;
}
