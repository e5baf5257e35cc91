/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * tcp - connections between the guest and stream sockets: open, listen, timers
 *
 * The guest's SYN is answered when connect() has succeeded, so that the guest
 * sees what a program on the host would see: refused, unreachable, or
 * connected.  The peer of an accepted socket has its connection at once; if the
 * guest then refuses, the peer sees a reset.
 */
#include "tcp.h"

#include "emit.h"
#include "icmp.h"
#include "log.h"
#include "tcp_freeze.h"
#include "tcp_in.h"
#include "tcp_path.h"

#include <errno.h>
#include <netinet/in.h>
#include <unistd.h>

enum {
	ACCEPTS_PER_EVENT = 64,
	SYN_LINEAR = 4, /* defaults of Linux's sysctls */
	SYN_RETRIES = 6,
	RTO_MAX_MS = 120 * 1000,
};

static bool endpoints_ok(const struct tuple *k)
{
	return addr_is_unicast(&k->src) && addr_is_unicast(&k->dst) &&
	       k->sport && k->dport;
}

/* Report the ICMP error, if any, with which a router or the destination has
 * answered the SYN; false if there was none.  A closed port is reported by a
 * reset instead, which ends the attempt with any kind of guest. */
static bool connect_reported(struct tcp *t, struct flow *f, int err)
{
	const struct side *s = &f->side[conn_tap(f)], *host = &f->side[1];
	struct sock_error e;

	if (err == -ECONNREFUSED || host->fd < 0 ||
	    !sock_error_next(host->fd, &e) || !e.icmp)
		return false;
	e.len = 0; /* only the header is quoted */
	e.to = host->theirs;
	return icmp_report(t->tap, t->fwd, s, host, IPPROTO_TCP,
			   conn_of(f)->rcv_nxt - 1, &e);
}

/* connect() has failed with @err: tell the guest what its own kernel would have
 * been told */
static void connect_failed(struct tcp *t, struct flow *f, int err)
{
	const struct side *s = &f->side[conn_tap(f)];
	const struct lan *lan = t->fwd->lan;
	bool v4 = addr_is_v4(&s->ours);
	const struct tuple quoted = { .src = s->theirs, .dst = s->ours,
				      .sport = s->their_port,
				      .dport = s->our_port,
				      .proto = IPPROTO_TCP };
	struct sock_error e = { .len = 0 };
	uint8_t body[ANSWER_MAX];
	struct answer a;

	if (!sock_lacks(err))
		(void)fwd_dns_failed(t->fwd, IPPROTO_TCP, s, &f->side[1],
				     err == -ETIMEDOUT);
	if (err == -ETIMEDOUT) { /* say nothing: the guest's own timer will
				    expire */
		conn_abort(t, f);
		return;
	}
	if (connect_reported(t, f, err)) {
		conn_abort(t, f);
		return;
	}
	if (!icmp_unroutable(v4, err, &e)) {
		tcp_out_reset(t, f);
		return;
	}
	a = (struct answer){ .body = wr_init(body, sizeof(body)) };
	if (icmp_error(lan, t->fwd->seen, &quoted, conn_of(f)->rcv_nxt - 1, &e,
		       v4 ? &lan->our4 : &lan->our_ll6, &a))
		emit_answer(t->tap, &a);
	conn_abort(t, f);
}

static void connected(struct tcp *t, struct flow *f)
{
	enum { NEAR_MS = 2 };
	struct tcp_conn *c = conn_of(f);

	/* A peer that answers the SYN so soon may answer the first request as
	 * soon */
	if ((uint32_t)t->flows->loop->now_ms - c->active_ms <= NEAR_MS)
		c->flags |= CONN_PINGPONG;
	f->drains = false;
	flow_answered(t->flows, f);
	c->state = TCP_SYN_RCVD;
	tcp_out_syn(t, f);
}

static int begin(struct tcp *t, struct flow *f, const struct packet *p)
{
	struct side *host = &f->side[1];
	int err;

	host->fd = sock_tcp(t->fwd->env, &host->theirs);
	if (host->fd < 0) {
		err = host->fd;
		host->fd = -1;
		return err;
	}
	path_open(t, f, p);
	err = sock_connect(t->fwd->env, host->fd, &host->theirs,
			   host->their_port);
	if (err && err != -EINPROGRESS)
		return err;
	/* epoll reports what has happened before the descriptor was added, so
	 * nothing is lost */
	f->drains = true;
	return flow_watch(t->flows, f, 1) ? -EIO : err;
}

struct flow *tcp_open(struct tcp *t, const struct packet *p, enum verdict *v)
{
	struct side host;
	struct flow *f;
	int err;

	*v = PASS;
	if (tcp_out_stray(t, p))
		return NULL;
	*v = endpoints_ok(&p->t) ? fwd_out(t->fwd, &p->t, &host) :
				   DROP_ENDPOINT;
	if (*v != PASS)
		return NULL;
	f = flow_begin(t->flows, FLOW_TCP, 1);
	if (!f) {
		*v = DROP_NO_FLOW;
		/* A flow that could be dropped is busy in this turn: the
		 * guest's SYN will come again */
		if (!flows_yield(t->flows))
			tcp_out_refuse(t, p);
		return NULL;
	}
	f->side[0] = (struct side){ .ours = p->t.dst, .theirs = p->t.src,
				    .our_port = p->t.dport,
				    .their_port = p->t.sport,
				    .pif = PIF_TAP, .fd = -1 };
	f->side[1] = host;
	flow_enter(t->flows, f, 0);
	conn_init(t, f, TCP_CONNECTING);
	conn_syn(t, f, p);
	fwd_listen(t->fwd, f, &f->side[!conn_tap(f)]);

	err = begin(t, f, p);
	if (err == -EINPROGRESS) {
		flow_lone(t->flows, f);
	} else if (err) {
		connect_failed(t, f, err);
		return NULL;
	} else {
		connected(t, f);
	}
	return f;
}

static void accepted(struct tcp *t, const struct rule *r, struct side *host)
{
	enum verdict v;
	struct side tap;
	struct flow *f;

	if (t->splice && fwd_splices(t->fwd, r, host)) {
		splice_accepted(t->splice, r, host);
		return;
	}
	v = fwd_in(t->fwd, r, host, &tap);
	f = v == PASS ? flow_accept(t->flows, FLOW_TCP) : NULL;
	if (!f) {
		sock_abort(host->fd);
		return;
	}
	f->side[0] = *host;
	f->side[1] = tap;
	conn_init(t, f, TCP_SYN_SENT);
	if (!flow_enter_free(t->flows, f, 1) || flow_watch(t->flows, f, 0)) {
		conn_abort(t, f);
		return;
	}
	tcp_out_syn(t, f);
}

/* No descriptor is left: accept the connection with the one kept in reserve and
 * reset it, so that its peer is told and the listener does not report it in
 * every turn */
static bool shed(struct tcp *t, int listener)
{
	struct addr from, to;
	uint16_t fp, tp;
	int fd;

	if (!loop_lend(t->flows->loop))
		return false;
	fd = sock_accept(t->fwd->env, listener, &from, &fp, &to, &tp);
	if (fd >= 0)
		sock_abort(fd);
	loop_regain(t->flows->loop);
	return fd >= 0;
}

/* How many connections to accept for an event: one, as the next one would be
 * reported just as well; many from a listener that reports them turn by turn */
static unsigned accepts(struct tcp *t, uint64_t ref)
{
	uint64_t turn = t->flows->loop->turns;
	bool again = ref == t->last_ref && turn - t->last_turn == 1;

	t->last_ref = ref;
	t->last_turn = turn;
	return again ? ACCEPTS_PER_EVENT : 1;
}

static void listener_event(void *owner, uint64_t ref, uint32_t events)
{
	struct tcp *t = owner;
	const struct rule *r;
	enum pif pif;
	int listener = listen_find(t->listen, ref, &r, &pif);
	unsigned i, n = accepts(t, ref);

	(void)events;
	for (i = 0; listener >= 0 && i < n; i++) {
		struct side s = { .pif = (uint8_t)pif };

		s.fd = sock_accept(t->fwd->env, listener, &s.theirs,
				   &s.their_port, &s.ours, &s.our_port);
		if (s.fd >= 0) {
			accepted(t, r, &s);
			continue;
		}
		if (s.fd == -ECONNABORTED)
			continue;
		if (s.fd == -EMFILE || s.fd == -ENFILE) {
			log_limited(LOG_WARN, "Out of descriptors, refusing "
					      "connections");
			if (shed(t, listener))
				continue;
		}
		if (s.fd != -EAGAIN)
			listen_pause(t->listen, ref);
		break;
	}
}

static enum run_verdict ready_open(struct tcp *t, struct flow *f)
{
	uint16_t *ready = &f->ready[!conn_tap(f)];
	struct tcp_conn *c = conn_of(f);

	if (*ready & READY_OUT && c->out.len && conn_flush(t, f)) {
		tcp_out_reset(t, f);
		return RUN_DONE;
	}
	*ready &= (uint16_t)~READY_OUT;
	if (conn_finished(c)) {
		conn_close(t, f);
		return RUN_DONE;
	}
	return tcp_out_serve(t, f);
}

/* Events during the handshake with the guest */
static void ready_handshake(struct tcp *t, struct flow *f)
{
	uint16_t *ready = &f->ready[!conn_tap(f)], bits = *ready;
	int err;

	if (!(bits & (READY_ERR | READY_HUP)))
		return;
	*ready &= (uint16_t)~READY_ERR;
	err = sock_error(conn_fd(f));
	/* Without an error the error queue is not empty, for whatever reason */
	if ((err || bits & READY_HUP) && !conn_soft(t, f, err))
		tcp_out_reset(t, f);
}

static enum run_verdict ready(void *owner, struct flow *f)
{
	uint16_t bits = f->ready[!conn_tap(f)];
	struct tcp *t = owner;
	int err;

	/* It may have been suspended with an event of this turn still to
	 * come */
	if (conn_of(f)->flags & (CONN_RESET | CONN_HELD))
		return RUN_DONE;
	switch (conn_of(f)->state) {
	case TCP_OPEN:
		return ready_open(t, f);
	case TCP_CONNECTING:
		err = sock_connected(conn_fd(f), bits);
		if (!err)
			connected(t, f);
		else if (err != -EINPROGRESS)
			connect_failed(t, f, err);
		else /* nobody has answered yet: @f may be dropped, see
			make_room() */
			f->ready[!conn_tap(f)] &= (uint16_t)~READY_ERR;
		break;
	default:
		ready_handshake(t, f);
	}
	return RUN_DONE;
}

/* Work towards the host, which a guest without room must not delay.  What ends
 * in a reset waits until the guest has room for that. */
static void drain(void *owner, struct flow *f)
{
	uint16_t *bits = &f->ready[!conn_tap(f)];
	struct tcp_conn *c = conn_of(f);
	struct tcp *t = owner;

	if (c->flags & CONN_HELD)
		return;
	if (c->state == TCP_CONNECTING) {
		if (*bits & (READY_ERR | READY_HUP))
			flow_wake(t->flows, f);
		else if (*bits & READY_OUT)
			connected(t, f);
		return;
	}
	if (*bits & READY_OUT && c->out.len && !conn_flush(t, f))
		*bits &= (uint16_t)~READY_OUT;
	flow_wake(t->flows, f);
}

static bool given_up(const struct tcp *t, const struct tcp_conn *c)
{
	if (c->state != TCP_OPEN)
		return c->retries >= MIN((unsigned)TCP_SYN_RETRIES,
					 t->syn_linear + t->syn_retries);
	return c->retries >= TCP_RETRIES && !(c->flags & CONN_HEARD);
}

/* Whether the timer runs because there was no room to keep what the guest would
 * be sent, or because its window is not worth a segment: it has nothing to
 * answer */
static bool lacks_room(const struct tcp_conn *c)
{
	return c->state == TCP_OPEN && c->snd_wnd && c->snd_una == c->snd_max;
}

/* No guest is connected for now, or it stands still: keep the time-out short,
 * so that it goes on soon once there is one */
static void wait_for_link(struct tcp *t, struct flow *f)
{
	enum { RETRIES = 3 };
	struct tcp_conn *c = conn_of(f);

	c->retries = (uint8_t)MIN(c->retries, RETRIES);
	conn_rto(t, f);
}

static void time_out(struct tcp *t, struct flow *f)
{
	struct tcp_conn *c = conn_of(f);

	if (c->state == TCP_OPEN &&
	    (!t->tap->up || (given_up(t, c) && tap_unread(t->tap)))) {
		wait_for_link(t, f);
		return;
	}
	c->flags &= (uint32_t)~CONN_RTO;
	if (given_up(t, c)) {
		tcp_out_reset(t, f);
		return;
	}
	c->retries = (uint8_t)MIN(c->retries + 1, TCP_RETRIES);
	c->flags &= (uint32_t)~CONN_HEARD;
	if (c->state != TCP_OPEN) {
		c->flags |= CONN_SYN_AGAIN;
		tcp_out_syn(t, f);
		return;
	}
	if (!c->snd_wnd) {
		c->flags |= CONN_PROBE;
		loss_rewind(t, f);
	} else {
		loss_time_out(t, f);
	}
	conn_rto(t, f);
	flow_wake(t->flows, f);
}

/* Send a keep-alive probe, one for each idle interval, whatever else the timer
 * was set for */
static void probe(struct tcp *t, struct flow *f, uint32_t silent)
{
	struct tcp_conn *c = conn_of(f);
	uint8_t due = silent / TCP_PROBE_IDLE_MS % 64;

	if (c->probes == due)
		return;
	c->probes = due;
	if (due && c->state == TCP_OPEN && !(c->flags & CONN_RESET))
		tcp_out_probe(t, f);
}

static void expire(void *owner, struct flow *f)
{
	struct tcp *t = owner;
	struct tcp_conn *c = conn_of(f);
	uint32_t now = (uint32_t)t->flows->loop->now_ms;
	uint32_t silent = now - c->active_ms;

	if (c->flags & CONN_ACK_LATE && !seq_before(now, c->ack_due)) {
		c->flags &= (uint32_t)~(CONN_ACK_LATE | CONN_PINGPONG);
		conn_ack_soon(t, f);
	}
	conn_stale(t, f);
	if (c->out.len && c->asks) {
		f->ready[!conn_tap(f)] |= READY_OUT;
		flow_drain(t->flows, f);
	}
	if (silent >= TCP_DEAD_MS) {
		if (!tcp_out_reset(t, f)) /* enough */
			conn_abort(t, f);
		return;
	}
	if (c->flags & CONN_RTO && !seq_before(now, c->rto_due)) {
		if (!lacks_room(c)) {
			time_out(t, f);
			return;
		}
		c->flags &= (uint32_t)~CONN_RTO;
		c->flags |= CONN_PROBE;
		flow_wake(t->flows, f);
	}
	probe(t, f, silent);
	conn_timer(t, f);
}

static struct packet *input(void *owner, struct flow *f, struct packet *list)
{
	return tcp_in_burst(owner, f, list);
}

void tcp_turn_end(struct tcp *t)
{
	uint64_t frames = t->tap->count.frames[0];
	bool more = frames != t->frames;
	struct flow *f, *next;

	t->frames = frames;
	for (f = t->acks; f; f = next) {
		struct tcp_conn *c = conn_of(f);

		next = c->ack_next;
		if (more && c->ack_waits > 1 && !t->flows->loop->napping) {
			c->ack_waits--;
			loop_soon(t->flows->loop);
			continue;
		}
		if (c->flags & CONN_RESET) {
			if (!tcp_out_reset(t, f))
				break;
			continue;
		}
		if (!(c->state == TCP_OPEN ? tcp_out_ack(t, f) :
					     tcp_out_syn(t, f)))
			break;
		if (conn_finished(conn_of(f)))
			conn_close(t, f);
	}
}

static unsigned sysctl(const char *path, unsigned unset)
{
	uint64_t v;
	char buf[32];

	if (util_read_file(path, buf, sizeof(buf)) <= 0)
		return unset;
	buf[strcspn(buf, "\n")] = '\0';
	return util_parse_u64(buf, 10, UINT32_MAX, &v) ? (unsigned)v : unset;
}

/* The guest has refused by ICMP, its firewall, say: the peer need not wait
 * until we give up.  Once connected, such errors are soft (RFC 1122,
 * 4.2.3.9). */
static void refused(void *owner, struct flow *f)
{
	if (conn_of(f)->state == TCP_SYN_SENT)
		conn_abort(owner, f);
}

/* RFC 1191, 6.4, RFC 8201, 5.4.  What is not on its way can't have been too long (RFC
 * 5927, 7.2).  All behind it was as long, and is lost as well. */
static void narrow(void *owner, struct flow *f, uint32_t seq, unsigned mtu)
{
	struct tcp_conn *c = conn_of(f);
	struct tcp *t = owner;
	unsigned head = conn_head(f), was = c->mss;

	if (c->state != TCP_OPEN || c->flags & (CONN_RESET | CONN_HELD) ||
	    seq_before(seq, c->snd_una) || !seq_before(seq, c->snd_max))
		return;
	if (!addr_is_v4(&f->side[conn_tap(f)].ours))
		mtu = MAX(mtu, (unsigned)MTU_MIN6);
	if (mtu - head < was)
		conn_set_mss(t, f, mtu - head);
	if (c->mss == was)
		return;
	loss_rewind(t, f);
	conn_rto(t, f);
	flow_wake(t->flows, f);
}

static enum flow_state state(const struct flow *f)
{
	const struct tcp_conn *c = (const struct tcp_conn *)(const void *)f->priv;

	switch (c->state) {
	case TCP_CONNECTING:
	case TCP_SYN_RCVD:
		return FLOW_SYN_SENT;
	case TCP_SYN_SENT:
		return FLOW_SYN_RECV;
	default:
		return flow_closing(c->flags & CONN_GUEST_FIN,
				    c->flags & CONN_EOF);
	}
}

/* The queue towards the guest is what it has not acknowledged */
static void count(const struct flow *f, struct flow_count *n)
{
	const struct tcp_conn *c = (const struct tcp_conn *)(const void *)f->priv;
	unsigned tap = conn_tap(f);
	struct sock_count k = { 0 };

	n->known = sock_count(conn_fd(f), &k);
	n->bytes[tap] = k.sent;
	n->bytes[!tap] = k.received;
	n->queue[tap] = c->out.len + k.unsent;
	n->queue[!tap] = c->snd_max - c->snd_una;
}

/* Drop @f: both ends are reset.  One that is still connecting is only
 * forgotten: the guest's SYN will come again as a new attempt. */
static void drop(void *owner, struct flow *f)
{
	if (conn_of(f)->state == TCP_CONNECTING)
		conn_abort(owner, f);
	else
		conn_reset(owner, f);
}

/* What the far end has not acknowledged; of what was shut down, that is left
 * to the kernel */
static uint32_t undelivered(const struct flow *f)
{
	const struct tcp_conn *c = (const void *)f->priv;

	return (uint32_t)c->out.len + sock_undelivered(conn_fd(f));
}

static uint64_t owes(void *owner, const struct flow *f)
{
	const struct tcp_conn *c = (const void *)f->priv;
	const struct tcp *t = owner;
	uint32_t left;

	if (c->state != TCP_OPEN || c->flags & (CONN_RESET | CONN_SHUT))
		return 0;
	left = undelivered(f);
	return left || (t->tap->up && !(c->flags & CONN_GUEST_FIN)) ?
		       1 + (uint64_t)(c->rcv_nxt - left) : 0;
}

/* A guest that has said nothing for a while is not known to have said all.  If
 * it has, the kernel does what is left.  In any case the guest is to know that
 * nothing more comes. */
static bool cut(void *owner, struct flow *f, bool now)
{
	const struct tcp_conn *c = conn_of(f);

	if (c->flags & (CONN_RESET | CONN_HELD))
		return false;
	if (c->flags & CONN_SHUT) {
		conn_remove(f); /* or close() would reset it */
		sock_close(conn_fd(f));
		f->side[!conn_tap(f)].fd = -1;
		conn_reset(owner, f);
		return false;
	}
	if (!now && undelivered(f))
		return true;
	drop(owner, f);
	return false;
}

int tcp_init(struct tcp *t, struct flows *flows, struct tap *tap,
	     struct fwd *fwd, struct listen *listen,
	     const struct neigh *neigh, struct chunks *chunks)
{
	static const struct flow_type type = {
		.name = "TCP", .input = input, .ready = ready, .drain = drain,
		.expire = expire, .drop = drop, .refused = refused,
		.narrow = narrow, .owes = owes, .cut = cut, .state = state, .count = count,
		.freeze = tcp_freeze, .thaw = tcp_thaw, .forget = tcp_forget,
	};
	int err;

	*t = (struct tcp){ .flows = flows, .tap = tap, .fwd = fwd,
			   .listen = listen, .neigh = neigh, .chunks = chunks };
	err = chunks_init(chunks);
	if (!err)
		err = ahead_init(&t->ahead, chunks);
	if (err)
		return err;
	t->syn_linear = sysctl("/proc/sys/net/ipv4/tcp_syn_linear_timeouts",
			       SYN_LINEAR);
	t->syn_retries = sysctl("/proc/sys/net/ipv4/tcp_syn_retries",
				SYN_RETRIES);
	t->rto_max_ms = sysctl("/proc/sys/net/ipv4/tcp_rto_max_ms", RTO_MAX_MS);
	t->watch = loop_watch(flows->loop, listener_event, t);
	listen->tcp_watch = t->watch;
	flows_type(flows, FLOW_TCP, &type, t);
	return 0;
}
