/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * listen - the listening sockets of the rule tables
 *
 * A slot for each port of each rule, in a mapping of which only what is used
 * costs memory; a bit for each tells whether to look.  A new table is built in
 * the spare one: slots of equal binding move over with their sockets, the rest
 * is opened, and what is left behind is closed.  An epoll reference is side,
 * rule and port, so a socket whose rule has got another number is registered
 * anew, which is all that happens to it.
 *
 * Work on the table of the other namespace is one visit there.
 */
#include "listen.h"

#include "log.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>

enum {
	PORT_BITS = 16,
	RULE_BITS = 8,
	SPARE_DESCRIPTORS = 64, /* kept for everything but listeners */
	PATIENCE_MS = 200, /* for one that is about to leave its ports */
	STEP_MS = 5,
	SLOT_BYTES = sizeof(struct listener) * RULES_SOCKETS,
	TABLE_BYTES = SLOT_BYTES + RULES_SOCKETS / 8,
};

/* One piece of work, possibly for a visit to the other namespace */
struct job {
	struct listen *l;
	unsigned side;
	uint8_t proto;
	const struct portmap *want, *busy;
	bool patient;
	int err;
	int (*fn)(struct job *j);
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

static unsigned slot_of(const struct listen_table *t, unsigned i, unsigned port)
{
	return t->base[i] + port - t->rules.r[i].first;
}

static struct listener *slot(const struct listen_table *t, unsigned i,
			     unsigned port)
{
	return &t->slot[slot_of(t, i, port)];
}

/* Does not touch the slot, most of which have no page */
static bool is_open(const struct listen_table *t, unsigned i, unsigned port)
{
	unsigned n = slot_of(t, i, port);

	return t->open[n / 64] >> n % 64 & 1;
}

static void put(const struct listen_table *t, unsigned i, unsigned port,
		struct listener s)
{
	unsigned n = slot_of(t, i, port);

	t->slot[n] = s;
	t->open[n / 64] |= 1ULL << n % 64;
}

static struct listener pull(const struct listen_table *t, unsigned i,
			    unsigned port)
{
	unsigned n = slot_of(t, i, port);

	t->open[n / 64] &= ~(1ULL << n % 64);
	return t->slot[n];
}

static uint64_t ref_of(unsigned side, unsigned i, unsigned port)
{
	return (uint64_t)side << (PORT_BITS + RULE_BITS) |
	       (uint64_t)i << PORT_BITS | port;
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
	struct stat st;

	/* #syscalls:pasta fstat fstat64 newfstatat fstatat64
	 * #syscalls:pasta arm:statx i686:statx loongarch64:statx */
	return fstat(fd, &st) ? 0 : (uint32_t)st.st_ino;
}

/* Ports of which there are many sockets on one host, since what comes there is
 * for all of a multicast group: SSDP, WS-Discovery, mDNS, LLMNR.  Who names one
 * wants to be among them. */
static bool is_group_port(unsigned port)
{
	return port == 1900 || port == 3702 || port == 5353 || port == 5355;
}

/* The guest may have sent from the port, before a rule was made for it */
static bool is_shared(const struct listen *l, unsigned side,
		      const struct rule *r, unsigned port)
{
	if (is_group_port(port) && !(r->flags & (RULE_WEAK | RULE_SCAN)))
		return true;
	return l->flows && flow_port(l->flows, pif_of(side),
				     (uint16_t)port)->bound;
}

static int open_socket(const struct listen *l, unsigned side,
		       const struct rule *r, unsigned port)
{
	const struct sock_env *env = side ? &l->ns->env : l->env;
	struct sock_bind b = { .addr = r->listen, .port = (uint16_t)port,
			       .dual = r->flags & RULE_DUAL,
			       .ifname = r->ifname };
	int fd;

	if (r->proto == IPPROTO_TCP)
		return sock_listen(env, &b);
	fd = sock_udp_listen(env, &b);
	if (fd != -EADDRINUSE || !is_shared(l, side, r, port))
		return fd;
	b.shared = true;
	return sock_udp_listen(env, &b);
}

static int open_port(struct listen *l, unsigned side,
		     const struct listen_table *t, unsigned i, unsigned port)
{
	const struct rule *r = &t->rules.r[i];
	int fd = open_socket(l, side, r, port), err;

	if (fd < 0)
		return fd;
	err = loop_add(l->loop, fd, watch_of(l, r), ref_of(side, i, port),
		       EPOLLIN);
	if (err) {
		sock_close(fd);
		return err;
	}
	put(t, i, port, (struct listener){
		.fd = fd, .inode = l->ns ? inode_of(fd) : 0,
	});
	return 0;
}

static void close_port(const struct listen_table *t, unsigned i, unsigned port)
{
	sock_close(pull(t, i, port).fd);
}

/* --- a table ------------------------------------------------------------ */

static void lay_out(struct listen_table *t)
{
	unsigned i, at = 0;

	for (i = 0; i < t->rules.n; i++) {
		t->base[i] = at;
		at += ports(&t->rules.r[i]);
	}
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

static int check_limit(unsigned want, uint64_t limit)
{
	char what[64] = "Running";

	if (want + SPARE_DESCRIPTORS <= limit)
		return 0;
	if (want)
		snprintf(what, sizeof(what), "Forwarding %u ports", want);
	log_err("%s needs %u descriptors, the limit (RLIMIT_NOFILE) is %llu",
		what, want + SPARE_DESCRIPTORS, (unsigned long long)limit);
	return -EMFILE;
}

static bool same_binding(const struct rule *a, const struct rule *b)
{
	return a->proto == b->proto && addr_equal(&a->listen, &b->listen) &&
	       (a->flags & RULE_DUAL) == (b->flags & RULE_DUAL) &&
	       !strncmp(a->ifname, b->ifname, sizeof(a->ifname));
}

/* What both tables bind goes from @old to @t */
static void take_over(struct listen *l, unsigned side, struct listen_table *old,
		      struct listen_table *t, unsigned o, unsigned i)
{
	const struct rule *was = &old->rules.r[o], *r = &t->rules.r[i];
	unsigned port, last = MIN(was->last, r->last);

	for (port = MAX(was->first, r->first); port <= last; port++) {
		if (!is_open(old, o, port) || is_open(t, i, port))
			continue;
		if (o != i && loop_mod(l->loop, slot(old, o, port)->fd,
				       watch_of(l, r), ref_of(side, i, port),
				       EPOLLIN))
			continue;
		put(t, i, port, pull(old, o, port));
	}
}

static void inherit(struct listen *l, unsigned side, struct listen_table *old,
		    struct listen_table *t)
{
	unsigned o, i;

	for (o = 0; o < old->rules.n; o++)
		for (i = 0; i < t->rules.n; i++)
			if (same_binding(&old->rules.r[o], &t->rules.r[i]))
				take_over(l, side, old, t, o, i);
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

/* Of a weak rule many may fail, mostly for one reason: that is one line */
static void complain_once(unsigned side, const struct rule *r, unsigned failed,
			  int err)
{
	char text[RULE_TEXT];

	log_warn("Listen failed for %u of %u ports of %s %s: %s", failed,
		 ports(r), side ? "SPLICE" : "HOST", rule_text(r, text),
		 util_error(-err));
}

/* A weak rule may fail in parts, a strict one not at all */
static int open_rule(struct listen *l, unsigned side, struct listen_table *t,
		     unsigned i, bool quiet)
{
	const struct rule *r = &t->rules.r[i];
	bool weak = r->flags & RULE_WEAK;
	unsigned port, failed = 0;
	int err = 0, ret;

	for (port = r->first; port <= r->last; port++) {
		ret = is_open(t, i, port) ? 0 : open_port(l, side, t, i, port);
		if (!ret)
			continue;
		err = ret;
		failed++;
		if (!quiet && !weak)
			complain(side, r, port, err);
	}
	if (!quiet && weak && failed)
		complain_once(side, r, failed, err);
	return weak && failed < ports(r) ? 0 : err;
}

static int open_all(struct listen *l, unsigned side, struct listen_table *t,
		    bool quiet)
{
	int err = 0, ret;
	unsigned i;

	for (i = 0; i < t->rules.n; i++) {
		if (t->rules.r[i].flags & RULE_SCAN)
			continue;
		ret = open_rule(l, side, t, i, quiet);
		err = err ? err : ret;
	}
	return err;
}

static void close_all(struct listen_table *t)
{
	unsigned i, port;

	for (i = 0; i < t->rules.n; i++)
		for (port = t->rules.r[i].first; port <= t->rules.r[i].last;
		     port++)
			if (is_open(t, i, port))
				close_port(t, i, port);
	/* #syscalls madvise(.,.,MADV_DONTNEED) */
	madvise(t->slot, TABLE_BYTES, MADV_DONTNEED);
}

/* Whoever has our ports may be about to leave them: a container is started anew
 * when its namespace is gone, which our predecessor saw a moment ago */
static void wait_for_ports(struct listen *l, unsigned side,
			   struct listen_table *t)
{
	const struct timespec step = { .tv_nsec = STEP_MS * 1000000 };
	unsigned ms;

	for (ms = 0; ms < PATIENCE_MS; ms += STEP_MS) {
		if (open_all(l, side, t, true) != -EADDRINUSE)
			break;
		nanosleep(&step, NULL);
	}
}

static int replace(struct job *j)
{
	struct listen *l = j->l;
	struct listen_table *t = &l->table[j->side], old = *t;
	int err;

	*t = l->spare;
	inherit(l, j->side, &old, t);
	/* Old ones may be in the way: what fails now is tried again */
	if (old.rules.n)
		(void)open_all(l, j->side, t, true);
	close_all(&old);
	if (j->patient)
		wait_for_ports(l, j->side, t);
	err = open_all(l, j->side, t, false);
	l->spare.slot = old.slot;
	l->spare.open = old.open;
	return err;
}

int listen_limit(const struct rules *host, const struct rules *splice)
{
	return check_limit(descriptors(host) + descriptors(splice),
			   descriptor_limit());
}

unsigned listen_left(const struct listen *l)
{
	uint64_t used = descriptors(&l->table[0].rules) +
			descriptors(&l->table[1].rules) + SPARE_DESCRIPTORS;

	return l->limit <= used ? 0 : (unsigned)MIN(l->limit - used, UINT32_MAX);
}

static int set(struct listen *l, enum pif pif, const struct rules *rules,
	       bool patient)
{
	struct job j = { .l = l, .side = side_of(pif), .patient = patient,
			 .fn = replace };
	int err;

	if (!rules->n && !l->table[j.side].rules.n)
		return 0;
	err = check_limit(descriptors(rules) +
			  descriptors(&l->table[!j.side].rules), l->limit);
	if (err)
		return err;
	l->spare.rules = *rules;
	lay_out(&l->spare);
	return work(&j);
}

int listen_set(struct listen *l, enum pif pif, const struct rules *rules)
{
	return set(l, pif, rules, false);
}

int listen_start(struct listen *l, enum pif pif, const struct rules *rules)
{
	return set(l, pif, rules, true);
}

void listen_end(struct listen *l)
{
	close_all(&l->table[0]);
	close_all(&l->table[1]);
}

static int map(struct listen_table *t)
{
	t->slot = util_map(TABLE_BYTES);
	if (!t->slot)
		return -ENOMEM;
	t->open = (uint64_t *)(t->slot + RULES_SOCKETS);
	return 0;
}

int listen_init(struct listen *l, struct loop *loop, const struct sock_env *env,
		struct ns *ns)
{
	l->loop = loop;
	l->env = env;
	l->ns = ns;
	l->limit = descriptor_limit();
	l->table[0].rules.n = l->table[1].rules.n = 0;
	return map(&l->table[0]) || map(&l->table[1]) || map(&l->spare) ?
		       -ENOMEM : 0;
}

/* --- questions ---------------------------------------------------------- */

const struct rules *listen_rules(const struct listen *l, enum pif pif)
{
	return &l->table[side_of(pif)].rules;
}

int listen_find(const struct listen *l, uint64_t ref, const struct rule **r,
		enum pif *pif)
{
	unsigned port = ref & ((1U << PORT_BITS) - 1);
	unsigned i = ref >> PORT_BITS & ((1U << RULE_BITS) - 1);
	unsigned side = ref >> (PORT_BITS + RULE_BITS) & 1;
	const struct listen_table *t = &l->table[side];

	if (i >= t->rules.n || port < t->rules.r[i].first ||
	    port > t->rules.r[i].last)
		return -1;
	*r = &t->rules.r[i];
	*pif = pif_of(side);
	return is_open(t, i, port) ? slot(t, i, port)->fd : -1;
}

static bool serves(const struct rule *r, uint8_t proto, const struct addr *to,
		   uint16_t port)
{
	if (r->proto != proto || port < r->first || port > r->last)
		return false;
	return r->flags & RULE_DUAL || addr_equal(&r->listen, to) ||
	       (addr_is_unspecified(&r->listen) &&
		addr_is_v4(&r->listen) == addr_is_v4(to));
}

const struct rule *listen_rule(const struct listen *l, enum pif pif,
			       uint8_t proto, const struct addr *to,
			       uint16_t port)
{
	const struct listen_table *t = &l->table[side_of(pif)];
	unsigned i;

	for (i = 0; i < t->rules.n; i++)
		if (serves(&t->rules.r[i], proto, to, port) &&
		    is_open(t, i, port))
			return &t->rules.r[i];
	return NULL;
}

bool listen_has_port(const struct listen *l, enum pif pif, uint8_t proto,
		     uint16_t port)
{
	const struct listen_table *t = &l->table[side_of(pif)];
	unsigned i;

	for (i = 0; i < t->rules.n; i++) {
		const struct rule *r = &t->rules.r[i];

		if (r->proto == proto && port >= r->first && port <= r->last &&
		    is_open(t, i, port))
			return true;
	}
	return false;
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

bool listen_owns(const struct listen *l, enum pif pif, uint8_t proto,
		 uint16_t port, uint32_t inode)
{
	const struct listen_table *t = &l->table[side_of(pif)];
	unsigned i;

	for (i = 0; i < t->rules.n; i++) {
		const struct rule *r = &t->rules.r[i];

		if (r->proto == proto && port >= r->first && port <= r->last &&
		    is_open(t, i, port) && slot(t, i, port)->inode == inode)
			return true;
	}
	return false;
}

/* --- following the other side ------------------------------------------- */

/* Call with each port of a scanning rule of this kind: the sum of its answers */
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

/* Close what is not wanted, count what is missing */
static int tidy(struct job *j, unsigned i, unsigned port, bool want)
{
	const struct listen_table *t = &j->l->table[j->side];

	if (!want && is_open(t, i, port))
		close_port(t, i, port);
	return missing(j, i, port, want);
}

static int add(struct job *j, unsigned i, unsigned port, bool want)
{
	int err;

	if (!missing(j, i, port, want))
		return 0;
	err = open_port(j->l, j->side, &j->l->table[j->side], i, port);
	if (err)
		log_debug("Can't follow %s port %u in %s: %s",
			  j->proto == IPPROTO_TCP ? "TCP" : "UDP", port,
			  j->side ? "SPLICE" : "HOST", util_error(-err));
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
			 .want = want, .busy = busy, .fn = add_all };

	return scan(&j, tidy) ? work(&j) : 0;
}
