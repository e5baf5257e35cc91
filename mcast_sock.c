/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * mcast_sock - the host's membership in groups that the guest has joined, and
 * what is received by it
 *
 * Each socket is bound to the group, not to any address.  So it gets nothing
 * that is for others who have the port, such as the host's own mDNS responder,
 * and is a member of that one group on one interface, with the guest's source
 * filter.
 *
 * The host gives what we send to a group to its own members
 * (IP_MULTICAST_LOOP), so that its programs and other guests hear the guest.
 * We are among these members.  What others send may have the same address and
 * port, so our own datagrams are recognised by their contents: each that was
 * sent is expected once.
 */
#include "mcast_sock.h"

#include "emit.h"
#include "iov.h"
#include "log.h"

#include <assert.h>
#include <errno.h>
#include <netinet/in.h>

enum {
	ROUNDS = 2,
	REPORT_MAX = 16384, /* the longest that is read */
	HASHED = 512, /* bytes of a datagram that are hashed */
};

/* mDNS, SSDP, WS-Discovery, LLMNR */
static const uint16_t known[MCAST_KNOWN] = { 5353, 1900, 3702, 5355 };

bool mcast_sock_known(uint16_t port)
{
	unsigned i;

	for (i = 0; i < MCAST_KNOWN; i++)
		if (port == known[i])
			return true;
	return false;
}

static unsigned interface(const struct mcast_sock *m, bool v4)
{
	return v4 ? m->fwd->env->scope4 : m->fwd->env->scope;
}

/* --- sockets ------------------------------------------------------------- */

static void close_one(struct mcast_sock *m, struct mcast_member *x, unsigned k)
{
	if (!x->sock[k].fd)
		return;
	sock_close(x->sock[k].fd);
	x->sock[k].fd = 0;
	m->socks--;
	if (k)
		flow_port(m->flows, PIF_HOST, x->sock[k].port)->open--;
}

static void close_all(struct mcast_sock *m, struct mcast_member *x)
{
	unsigned k;

	for (k = 0; k < MCAST_PORTS; k++)
		close_one(m, x, k);
	x->group = (struct addr){ 0 };
}

/* The source filter of a group, for the kernel */
static struct sock_sources filter_of(const struct mcast_group *g)
{
	struct sock_sources f = { .exclude = g->exclude };
	unsigned i;

	static_assert((int)MCAST_SOURCES <= (int)SOCK_SOURCES, "room for all");
	for (i = 0; i < g->n; i++)
		if (!g->source[i].until_ms == g->exclude)
			f.source[f.n++] = g->source[i].addr;
	return f;
}

static int open_one(struct mcast_sock *m, struct mcast_member *x, unsigned k,
		    const struct sock_sources *f)
{
	const struct sock_env *env = m->fwd->env;
	uint64_t ref = (uint64_t)(x - m->member) << 8 | k;
	int fd, err;

	fd = k ? sock_udp_group(env, &x->group, x->sock[k].port)
	       : sock_make(env, addr_is_v4(&x->group), SOCK_DGRAM, 0);
	if (fd < 0)
		return fd;
	err = sock_join(fd, &x->group, x->ifindex, f, false);
	if (!err && k)
		err = loop_add(m->loop, fd, m->watch, ref, EPOLLIN);
	if (err) {
		sock_close(fd);
		return err;
	}
	x->sock[k].fd = fd;
	m->socks++;
	if (k)
		flow_port(m->flows, PIF_HOST, x->sock[k].port)->open++;
	return 0;
}

static void open_missing(struct mcast_sock *m, struct mcast_member *x,
			 const struct sock_sources *f)
{
	char text[ADDR_TEXT_LEN];
	unsigned k;
	int err;

	for (k = 0; k < MCAST_PORTS; k++) {
		if (x->sock[k].fd || (k && !x->sock[k].port))
			continue;
		err = m->socks < MCAST_SOCKS ? open_one(m, x, k, f) : -ENFILE;
		if (err)
			log_limited(LOG_DBG, "Can't join %s, port %u: %s",
				    addr_text(&x->group, text),
				    x->sock[k].port, util_error(-err));
	}
}

/* Whether a rule's listener has @port: that gets what is sent to the group as
 * well */
static bool has_listener(const struct mcast_sock *m, const struct addr *group,
			 uint16_t port)
{
	return listen_rule(m->listen, PIF_HOST, IPPROTO_UDP, group, port);
}

/* List the ports that are to follow @group, at most MCAST_PORTS - 1 */
static unsigned ports_of(const struct mcast_sock *m, const struct addr *group,
			 uint16_t *port)
{
	const struct mcast_note *best;
	uint32_t below = UINT32_MAX;
	unsigned n = 0, i, k;

	for (i = 0; i < MCAST_KNOWN; i++)
		if (!has_listener(m, group, known[i]))
			port[n++] = known[i];
	for (k = 0; k < MCAST_NOTED; k++) {
		best = NULL;
		for (i = 0; i < MCAST_NOTES; i++)
			if (m->note[i].used && m->note[i].used < below &&
			    addr_equal(&m->note[i].group, group) &&
			    (!best || m->note[i].used > best->used))
				best = &m->note[i];
		if (!best)
			break;
		below = best->used;
		if (!has_listener(m, group, best->port))
			port[n++] = best->port;
	}
	return n;
}

/* Ports that no longer follow make room for those that do now */
static void set_ports(struct mcast_sock *m, struct mcast_member *x)
{
	uint16_t port[MCAST_PORTS];
	unsigned n = ports_of(m, &x->group, port), i, k;

	for (k = 1; k < MCAST_PORTS; k++) {
		for (i = 0; i < n && port[i] != x->sock[k].port; i++)
			;
		if (i < n) {
			port[i] = port[--n];
		} else {
			close_one(m, x, k);
			x->sock[k].port = 0;
		}
	}
	for (k = 1; k < MCAST_PORTS && n; k++)
		if (!x->sock[k].port)
			x->sock[k].port = port[--n];
}

static void follow(struct mcast_sock *m, struct mcast_member *x,
		   const struct mcast_group *g)
{
	unsigned ifindex = interface(m, addr_is_v4(&g->addr)), k;
	struct sock_sources f;

	if (!addr_equal(&x->group, &g->addr) || x->ifindex != ifindex)
		close_all(m, x);
	if (addr_is_none(&g->addr) || !ifindex)
		return;
	f = filter_of(g);
	if (addr_equal(&x->group, &g->addr) && x->version != g->version)
		for (k = 0; k < MCAST_PORTS; k++)
			if (x->sock[k].fd)
				(void)sock_join(x->sock[k].fd, &g->addr,
						ifindex, &f, true);
	x->group = g->addr;
	x->ifindex = ifindex;
	x->version = g->version;
	set_ports(m, x);
	open_missing(m, x, &f);
}

/* --- in its time --------------------------------------------------------- */

static bool is_behind(const struct mcast_sock *m)
{
	return m->again || m->synced != m->table.version;
}

static void arm(struct mcast_sock *m)
{
	uint64_t due = mcast_due(&m->table);
	uint64_t sync = m->synced_ms + MCAST_SETTLE_MS;

	if (is_behind(m) && (!due || sync < due))
		due = sync;
	if (due)
		timer_set(&m->loop->timers, &m->timer, due);
	else
		timer_off(&m->timer);
}

static void ask(struct mcast_sock *m)
{
	uint8_t out[ANSWER_MAX];
	struct answer a = { .body = wr_init(out, sizeof(out)) };

	while (mcast_next(&m->table, m->loop->now_ms, &a)) {
		if (m->tap->up && wr_ok(&a.body))
			(void)emit_answer(m->tap, &a);
		a = (struct answer){ .body = wr_init(out, sizeof(out)) };
	}
}

static void work(void *owner, struct timer *timer)
{
	struct mcast_sock *m = owner;
	unsigned i;

	(void)timer;
	ask(m);
	if (m->loop->now_ms >= m->synced_ms + MCAST_SETTLE_MS) {
		m->again = false;
		m->synced = m->table.version;
		m->synced_ms = m->loop->now_ms;
		for (i = 0; i < 2 * MCAST_GROUPS; i++)
			if (mcast_used(&m->table, i))
				follow(m, &m->member[i], &m->table.group[i]);
	}
	arm(m);
}

/* --- from the guest ------------------------------------------------------ */

enum verdict mcast_sock_input(struct mcast_sock *m, const struct packet *p)
{
	uint8_t in[REPORT_MAX];
	enum verdict v;

	if (!m->on)
		return DROP_PROTOCOL;
	v = mcast_input(&m->table, p,
			rd_init(in, packet_copy(p, 0, in, sizeof(in))),
			m->loop->now_ms);
	arm(m);
	return v;
}

static void note(struct mcast_sock *m, const struct addr *group, uint16_t port)
{
	struct mcast_note *n = &m->note[0];
	unsigned i;

	if (!port || mcast_sock_known(port))
		return;
	for (i = 0; i < MCAST_NOTES; i++) {
		if (m->note[i].port == port &&
		    addr_equal(&m->note[i].group, group)) {
			n = &m->note[i];
			break;
		}
		if (m->note[i].used < n->used)
			n = &m->note[i];
	}
	*n = (struct mcast_note){ *group, port, ++m->noted };
}

/* RTP has two ports: an even one for data, and the next one (RFC 3550, 11) */
void mcast_sock_sends(struct mcast_sock *m, const struct tuple *t)
{
	if (!m->on || !addr_is_multicast(&t->dst))
		return;
	note(m, &t->dst, t->sport);
	if (!mcast_sock_known(t->dport))
		note(m, &t->dst, t->dport ^ 1);
	note(m, &t->dst, t->dport);
	if (mcast_find(&m->table, &t->dst)) {
		m->again = true;
		arm(m);
	}
}

static uint64_t hash(const struct mcast_sock *m, const struct addr *group,
		     uint16_t from, uint16_t to, size_t len, uint64_t *w)
{
	w[0] = (uint64_t)from << 48 | (uint64_t)to << 32 | len;
	w[1] = group->q[0];
	w[2] = group->q[1];
	return siphash_words(&m->flows->key, w,
			     3 + (MIN(len, (size_t)HASHED) + 7) / 8);
}

static struct mcast_sent *set_of(struct mcast_sock *m, uint64_t h)
{
	return &m->sent[h % (MCAST_SENT / MCAST_WAYS) * MCAST_WAYS];
}

/* Find a datagram that was sent; one that is too old is no longer expected */
static struct mcast_sent *find(struct mcast_sock *m, uint64_t h)
{
	uint32_t now = (uint32_t)m->loop->now_ms;
	struct mcast_sent *s = set_of(m, h);
	unsigned i;

	for (i = 0; i < MCAST_WAYS; i++) {
		if (now - s[i].ms > MCAST_ECHO_MS)
			s[i].n = 0;
		if (s[i].n && s[i].hash == h)
			return &s[i];
	}
	return NULL;
}

/* Find it, or a place for it: a free one, or that of the oldest */
static struct mcast_sent *place(struct mcast_sock *m, uint64_t h)
{
	struct mcast_sent *s = find(m, h), *best = set_of(m, h);
	unsigned i;

	if (s)
		return s;
	for (s = best, i = 1; i < MCAST_WAYS && best->n; i++)
		if (!s[i].n || (int32_t)(s[i].ms - best->ms) < 0)
			best = &s[i];
	*best = (struct mcast_sent){ .hash = h };
	return best;
}

void mcast_sock_sent(struct mcast_sock *m, const struct side *host,
		     const struct packet *p)
{
	size_t step = p->gso_size ? p->gso_size : p->payload_len, off = 0, len;
	uint32_t now = (uint32_t)m->loop->now_ms;
	uint64_t w[3 + HASHED / 8];
	struct mcast_sent *s;

	if (!m->on || !addr_is_multicast(&host->theirs))
		return;
	do {
		memset(w, 0, sizeof(w));
		len = MIN(step, p->payload_len - off);
		packet_copy(p, off, &w[3], MIN(len, (size_t)HASHED));
		s = place(m, hash(m, &host->theirs, host->our_port,
				  host->their_port, len, w));
		s->ms = now;
		s->n++;
		off += step;
	} while (off < p->payload_len);
}

static bool is_echo(struct mcast_sock *m, const struct sock_dgram *d,
		    uint16_t port, const uint8_t *p)
{
	uint64_t w[3 + HASHED / 8] = { 0 };
	struct mcast_sent *s;

	memcpy(&w[3], p, MIN(d->len, (size_t)HASHED));
	s = find(m, hash(m, &d->to, d->from_port, port, d->len, w));
	if (s)
		s->n--;
	return s;
}

/* --- to the guest -------------------------------------------------------- */

static void lose(struct mcast_sock *m, enum verdict v, const struct head *h,
		 const uint8_t *p, size_t len)
{
	m->drops[v]++;
	tap_verdict(m->tap, v);
	emit_lost(m->tap, v, h, p, len);
}

/* The host's own address may be the guest's as well */
static bool shown(const struct mcast_sock *m, const struct addr *from,
		  struct addr *as)
{
	const struct lan *lan = m->fwd->lan;

	if (!addr_is_unicast(from))
		return false;
	if (!fwd_guest_view(m->fwd, from, as))
		*as = addr_is_v4(from) ? lan->our4 : lan->our_ll6;
	return !addr_is_none(as);
}

void mcast_sock_pass(struct mcast_sock *m, const struct sock_dgram *d,
		     uint16_t port, uint16_t to, const uint8_t *p)
{
	const struct lan *lan = m->fwd->lan;
	struct head h = {
		.dst = mcast_mac(&d->to),
		.t = { .src = d->from, .dst = d->to, .sport = d->from_port,
		       .dport = to, .proto = IPPROTO_UDP },
		.ttl = d->ttl, .tos = d->tos,
	};
	enum verdict v;

	if (is_echo(m, d, port, p) || !m->tap->up)
		return;
	if (!d->from_port || !shown(m, &d->from, &h.t.src)) {
		lose(m, DROP_ENDPOINT, &h, p, d->len);
		return;
	}
	h.src = *neigh_mac(m->neigh, &h.t.src,
			   addr_is_v4(&h.t.src) ? &lan->gw4 : &lan->gw6,
			   &lan->mac);
	v = emit_datagram(m->tap, &h, p, d->len, 0);
	if (v != PASS) {
		m->drops[v]++;
		tap_verdict(m->tap, v);
	}
}

/* Datagrams that there is no room for are lost, as on any link */
static void event(void *owner, uint64_t ref, uint32_t events)
{
	struct mcast_sock *m = owner;
	struct mcast_member *x = &m->member[(ref >> 8) % (2 * MCAST_GROUPS)];
	unsigned k = (unsigned)(ref & 255) % MCAST_PORTS, round, i;
	struct sock_dgram d[UDP_BATCH];
	struct iovec iov[UDP_BATCH];
	int n;

	(void)events;
	for (round = 0; round < ROUNDS && x->sock[k].fd; round++) {
		for (i = 0; i < UDP_BATCH; i++) {
			iov[i] = (struct iovec){ m->rx[i], UDP_RX };
			d[i] = (struct sock_dgram){ .iov = &iov[i],
						    .iov_cnt = 1 };
		}
		n = sock_recv_dgrams(x->sock[k].fd, d, UDP_BATCH, true);
		for (i = 0; (int)i < n; i++)
			if (addr_equal(&d[i].to, &x->group) &&
			    mcast_wants(&m->table, &d[i].to, &d[i].from) &&
			    !has_listener(m, &x->group, x->sock[k].port))
				mcast_sock_pass(m, &d[i], x->sock[k].port,
						x->sock[k].port, m->rx[i]);
		if (n < UDP_BATCH)
			return;
	}
}

/* --- start --------------------------------------------------------------- */

void mcast_sock_init(struct mcast_sock *m, struct flows *flows,
		     struct tap *tap, const struct fwd *fwd,
		     const struct listen *listen, const struct neigh *neigh,
		     uint64_t *drops, uint8_t (*rx)[UDP_RX])
{
	m->on = false;
	m->flows = flows;
	m->loop = flows->loop;
	m->tap = tap;
	m->fwd = fwd;
	m->listen = listen;
	m->neigh = neigh;
	m->drops = drops;
	m->rx = rx;
}

void mcast_sock_start(struct mcast_sock *m)
{
	m->on = true;
	m->watch = loop_watch(m->loop, event, m);
	timer_init(&m->timer, work, m);
	mcast_init(&m->table, m->fwd->lan);
}

void mcast_sock_greet(struct mcast_sock *m)
{
	const struct lan *lan = m->fwd->lan;
	const bool on[2] = { lan->v4 && interface(m, true),
			     lan->v6 && interface(m, false) };

	if (!m->on)
		return;
	mcast_start(&m->table, on, m->loop->now_ms);
	m->again = true;
	arm(m);
}

void mcast_sock_renew(struct mcast_sock *m)
{
	const struct lan *lan = m->fwd->lan;
	unsigned i;

	if (!m->on)
		return;
	m->again = true;
	for (i = 0; i < 2; i++)
		if (!m->table.general_ms[i] !=
		    !((i ? lan->v6 : lan->v4) && interface(m, !i))) {
			mcast_sock_greet(m);
			return;
		}
	arm(m);
}
