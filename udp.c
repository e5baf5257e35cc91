/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * udp - datagrams between a flow's two sides, coalesced and split as offload
 * allows
 *
 * A listener sees only the first datagrams of a flow, which are copied; then the
 * flow has a socket of its own (udp_flow.c), for what comes from the guest
 * (udp_in.c) and goes there (udp_out.c).
 */
#include "udp_freeze.h"
#include "udp_in.h"
#include "udp_out.h"

#include <errno.h>
#include <netinet/in.h>

enum { ROUNDS = 4 }; /* batches of a listener, then others have theirs */

/* What may have come to a spliced flow's side before it was connected: one batch; how
 * many, or -errno */
static int receive_fresh(struct udp *u, struct flow *f, unsigned i)
{
	const struct side *s = &f->side[i];
	struct sock_dgram d[UDP_BATCH];
	const struct rule *r;
	unsigned n, k;
	int err;

	n = udp_out_receive(u, s->fd, d, &err);
	for (k = 0; k < n; k++) {
		if (udp_out_has_peer(s, &d[k])) {
			udp_splice_pass(&u->splice, f, i, u->rx[k], d[k].len);
			continue;
		}
		r = listen_rule(u->listen, s->pif, IPPROTO_UDP, &d[k].to,
				s->our_port);
		if (!udp_out_dispatch(u, s->pif, r, s->our_port, &d[k],
				      u->rx[k]))
			udp_out_stray(u, DROP_UNWANTED, s->our_port, &d[k],
				      u->rx[k]);
	}
	if (err && err != -EAGAIN)
		return err;
	udp_splice_settled(f, i, n);
	if (n < UDP_BATCH)
		f->ready[i] &= (uint16_t)~READY_IN;
	return (int)n;
}

/* Receive from a socket that is fresh.  An error hides what is behind it, but
 * only once.  False: the flow was ended. */
static bool take_fresh(struct udp *u, struct flow *f, unsigned i)
{
	if (receive_fresh(u, f, i) >= 0)
		return true;
	udp_splice_forget(f, i);
	if (receive_fresh(u, f, i) >= 0)
		return true;
	udp_splice_finish(&u->splice, f);
	return false;
}

static enum run_verdict ready_spliced(void *owner, struct flow *f)
{
	struct udp *u = owner;
	unsigned i, k;

	for (k = 0; k < 2; k++) {
		i = k ^ (u->flows->loop->turns & 1); /* neither always first */
		if (f->ready[i] & READY_IN && udp_splice_fresh(f, i) &&
		    !take_fresh(u, f, i))
			return RUN_DONE;
		if (!udp_splice_serve(&u->splice, f, i))
			return RUN_DONE;
	}
	return (f->ready[0] | f->ready[1]) & READY_IN ? RUN_AGAIN : RUN_DONE;
}

/* Whether the guest has room for a datagram at least.  It is worth asking
 * before a flow begins: no other datagram will come if the first one is
 * lost. */
static bool has_room(struct udp *u)
{
	struct slot s;

	if (!u->tap->up) /* or all is spliced, and there is no tap */
		return true;
	if (!tap_reserve(u->tap, &s, 1, ETH_HEAD + IP6_HEAD + UDP_HEAD, 0,
			 0))
		return false;
	tap_cancel(u->tap, &s);
	return true;
}

/* Listeners are level-triggered: what is left after these rounds is reported in
 * the next turn, and what the guest has no room for waits in the socket */
static void listener_event(void *owner, uint64_t ref, uint32_t events)
{
	struct sock_dgram d[UDP_BATCH];
	struct udp *u = owner;
	const struct rule *r;
	enum pif pif;
	int fd = listen_find(u->listen, ref, &r, &pif), err;
	uint16_t port = listen_port(ref);
	unsigned round, n, k;
	struct sock_error e;
	bool failed = false;

	if (fd < 0)
		return;
	if (events & EPOLLERR)
		while (sock_error_next(fd, &e))
			; /* flows have sockets of their own, so this is
			     nobody's error */
	for (round = 0; round < ROUNDS; round++) {
		if (!has_room(u)) {
			listen_pause(u->listen, ref);
			break;
		}
		n = udp_out_receive(u, fd, d, &err);
		for (k = 0; k < n; k++)
			udp_out_dispatch(u, pif, r, port, &d[k], u->rx[k]);
		if (n < UDP_BATCH && (!err || err == -EAGAIN))
			break;
		/* An error hides what is behind it, but only once */
		if (err && failed) {
			listen_pause(u->listen, ref);
			break;
		}
		failed = err;
	}
}

/* --- flows -------------------------------------------------------------- */

/* Whether datagrams have arrived in this very turn, which are then read first:
 * the flow gets @more_ms */
static bool has_news(const struct udp *u, struct flow *f, unsigned more_ms)
{
	if (!((f->ready[0] | f->ready[1]) & READY_IN))
		return false;
	flow_timer(u->flows, f, u->flows->loop->now_ms + more_ms);
	return true;
}

/* Likewise, but a guest that takes nothing is not waited for */
static bool has_news_to_tell(const struct udp *u, struct flow *f, unsigned more_ms)
{
	return u->tap->up && !u->tap->full && has_news(u, f, more_ms);
}

static void expire(void *owner, struct flow *f)
{
	struct dgrams *x = dgrams_of(f);
	struct udp *u = owner;

	if (!x->dns_due || x->dns_due > u->flows->loop->now_ms) {
		if (!has_news_to_tell(u, f, u->patience.single_ms))
			udp_flow_end(u, f);
		return;
	}
	if (has_news_to_tell(u, f, 1)) /* in the next tick it is known whose */
		return;
	/* The resolver may answer yet, but new questions need not wait for
	 * it */
	udp_flow_dns_failed(u, f, true);
	udp_flow_active(u, f, !x->host, 0);
}

/* For another flow's sake, or because the guest has refused what came: the
 * host's kernel then refuses what comes next, unless a listener has the port */
static void give_way(void *owner, struct flow *f)
{
	udp_flow_end(owner, f);
}

static enum flow_state state(const struct flow *f)
{
	const struct dgrams *x = (const struct dgrams *)(const void *)f->priv;

	return x->count[0] && x->count[1] ? FLOW_REPLIED : FLOW_UNREPLIED;
}

static void count(const struct flow *f, struct flow_count *n)
{
	const struct dgrams *x = (const struct dgrams *)(const void *)f->priv;

	n->known = true;
	memcpy(n->bytes, x->bytes, sizeof(n->bytes));
}

/* --- to a successor ------------------------------------------------------ */

static void freeze_spliced(void *owner, struct flow *f, struct wr *w)
{
	struct udp *u = owner;

	udp_splice_freeze(&u->splice, f, w);
}

static bool thaw_spliced(void *owner, struct flow *f, struct rd *r)
{
	struct udp *u = owner;

	return udp_splice_thaw(&u->splice, f, r);
}

static void forget(void *owner, struct flow *f)
{
	struct udp *u = owner;

	flow_free(u->flows, f);
}

static const struct flow_type udp_type = {
	.name = "UDP",
	.input = udp_in_burst,
	.ready = udp_out_serve,
	.expire = expire,
	.drop = give_way,
	.freeze = udp_freeze,
	.thaw = udp_thaw,
	.forget = forget,
	.refused = give_way,
	.state = state,
	.count = count,
};

static void expire_spliced(void *owner, struct flow *f)
{
	struct udp *u = owner;

	if (!has_news(u, f, u->patience.single_ms))
		udp_splice_finish(&u->splice, f);
}

static void drop_spliced(void *owner, struct flow *f)
{
	struct udp *u = owner;

	udp_splice_finish(&u->splice, f);
}

static const struct flow_type spliced_type = {
	.name = "UDP (spliced)",
	.ready = ready_spliced,
	.expire = expire_spliced,
	.drop = drop_spliced,
	.freeze = freeze_spliced,
	.thaw = thaw_spliced,
	.forget = forget,
	.state = udp_splice_state,
	.count = udp_splice_count,
	.free_queue = true,
};

static unsigned timeout(const char *path, unsigned s)
{
	char buf[32];
	uint64_t v;
	int n = util_read_file(path, buf, sizeof(buf));

	if (n > 0 && buf[n - 1] == '\n')
		buf[n - 1] = '\0';
	if (n > 0 && util_parse_u64(buf, 10, 24 * 3600, &v) && v)
		s = (unsigned)v;
	return s * 1000;
}

#define CONNTRACK "/proc/sys/net/netfilter/nf_conntrack_udp_timeout"

void udp_init(struct udp *u, struct flows *flows, struct tap *tap,
	      struct fwd *fwd, struct listen *listen,
	      const struct neigh *neigh)
{
	/* All except buffers whose pages are not touched yet */
	memset(u, 0, offsetof(struct udp, rx));
	u->flows = flows;
	u->tap = tap;
	u->fwd = fwd;
	u->listen = listen;
	u->neigh = neigh;
	u->patience.single_ms = timeout(CONNTRACK, 30);
	u->patience.stream_ms = timeout(CONNTRACK "_stream", 120);
	u->splice = (struct udp_splice){
		.flows = flows, .fwd = fwd, .ns = listen->ns,
		.patience = &u->patience, .drops = u->drops, .rx = u->rx,
	};
	u->watch = loop_watch(flows->loop, listener_event, u);
	mcast_sock_init(&u->mcast, flows, tap, fwd, listen, neigh, u->drops,
			u->rx);
	listen->udp_watch = u->watch;
	listen->flows = flows;
	flows_type(flows, FLOW_UDP, &udp_type, u);
	flows_type(flows, FLOW_UDP_SPLICE, &spliced_type, u);
}

void udp_end(struct udp *u)
{
	unsigned n, i;

	for (n = 0; n < u->flows->fresh; n++) {
		struct flow *f = &u->flows->flow[n];

		for (i = 0; i < 2 && f->kind != FLOW_FREE &&
			    flow_proto(f) == IPPROTO_UDP; i++)
			if (f->side[i].fd >= 0)
				sock_close(f->side[i].fd);
	}
}
