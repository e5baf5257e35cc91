/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * udp_flow - flows of datagrams to and from the guest; internal to udp*.c
 *
 * Every flow has a socket of its own.  That of a listener's flow is connected.
 * That of the guest's own question is not until many datagrams a second come or
 * go, when the kernel is to look where each comes from: who was asked may answer
 * from another port (TFTP), and others may call (SIP, games), as they could a
 * program of the host (RFC 4787: endpoint-independent filtering).
 */
#include "udp_flow.h"

#include "icmp.h"
#include "log.h"

#include <errno.h>
#include <netinet/in.h>

enum {
	WANT = 2048,	    /* room for a datagram at first: what Ethernet
			       holds */
	MANY = 256,	    /* with so many datagrams in MANY_MS the socket is
			       connected */
	MANY_MS = 1000,
	DNS_WAIT_MS = 2000, /* stub resolvers wait for 5 s */
};

void udp_flow_drop(struct udp *u, enum verdict v, unsigned n)
{
	u->drops[v] += n;
	if (n)
		tap_verdict(u->tap, v);
}

void udp_flow_end(struct udp *u, struct flow *f)
{
	sock_close(host_of(f)->fd);
	flow_free(u->flows, f);
}

/* The socket was connected a moment ago */
static void now_connected(struct flow *f)
{
	struct dgrams *x = dgrams_of(f);

	x->connected = true;
	x->fresh = sock_waiting(host_of(f)->fd);
}

/* Count @n more datagrams.  If they are many, the socket is connected, so that
 * the kernel looks where each comes from. */
static void count_recent(struct udp *u, struct flow *f, unsigned n)
{
	uint32_t now = (uint32_t)u->flows->loop->now_ms;
	const struct side *h = host_of(f);
	struct dgrams *x = dgrams_of(f);

	if (now - x->recent_ms >= MANY_MS) {
		x->recent_ms = now;
		x->recent = 0;
	}
	x->recent = (uint16_t)(x->recent + n);
	if (x->recent < MANY)
		return;
	x->recent = 0;
	if (sock_connect(u->fwd->env, h->fd, &h->theirs, h->their_port))
		return;
	flow_open(u->flows, f, x->host, false);
	now_connected(f);
}

void udp_flow_others(struct udp *u, struct flow *f, unsigned n)
{
	if (!dgrams_of(f)->connected && !dgrams_of(f)->group)
		count_recent(u, f, n);
}

void udp_flow_active(struct udp *u, struct flow *f, unsigned i, unsigned n)
{
	struct dgrams *x = dgrams_of(f);

	if (!x->connected && !x->group)
		count_recent(u, f, n);
	udp_keep_alive(u->flows, &u->patience, f, x->count, i, n);
	if (!x->dns || !n)
		return;
	if (i == x->host) {
		x->dns_due = 0;
		x->elsewhere = false;
	} else if (!x->dns_due) {
		x->dns_due = u->flows->loop->now_ms + DNS_WAIT_MS;
	}
	if (x->dns_due)
		flow_timer(u->flows, f, MIN(x->dns_due, f->timer.due_ms));
}

void udp_flow_dns_failed(struct udp *u, struct flow *f, bool silent)
{
	struct dgrams *x = dgrams_of(f);

	x->dns_due = 0;
	x->elsewhere = fwd_dns_failed(u->fwd, IPPROTO_UDP, guest_of(f),
				      host_of(f), silent);
}

struct flow *udp_flow_find(const struct udp *u, struct side *key, unsigned *i)
{
	struct flow *f = flow_find(u->flows, IPPROTO_UDP, key, i);

	if (f)
		return f;
	key->ours = addr_any(addr_is_v4(&key->theirs));
	return flow_find(u->flows, IPPROTO_UDP, key, i);
}

/* The flow that an error of @f's socket is about; NULL: none.  If several
 * sockets that are not connected have the same port, the kernel reports the
 * error to the last one. */
static struct flow *concerned(const struct udp *u, struct flow *f,
			      const struct sock_error *e)
{
	struct side key = { .ours = host_of(f)->ours, .theirs = e->to,
			    .our_port = host_of(f)->our_port,
			    .their_port = e->to_port, .pif = PIF_HOST };
	unsigned i;

	if (dgrams_of(f)->connected || dgrams_of(f)->group || !e->icmp)
		return f;
	f = udp_flow_find(u, &key, &i);
	return f && f->kind == FLOW_UDP ? f : NULL;
}

uint32_t udp_flow_errors(struct udp *u, struct flow *f)
{
	struct sock_error e;
	uint32_t mtu = 0;
	struct flow *of;

	f->ready[dgrams_of(f)->host] &= (uint16_t)~READY_ERR;
	while (sock_error_next(host_of(f)->fd, &e)) {
		if (!e.icmp && e.err == EMSGSIZE && e.mtu) {
			mtu = e.mtu;
			continue;
		}
		of = concerned(u, f, &e);
		if (!of)
			continue;
		if (dgrams_of(of)->dns && e.err != EMSGSIZE)
			udp_flow_dns_failed(u, of, false);
		/* No ICMP error may be sent about a datagram to a group (RFC
		 * 1122, 3.2.2) */
		if (!dgrams_of(of)->group)
			icmp_report(u->tap, u->fwd, guest_of(of), host_of(of),
				    IPPROTO_UDP, 0, &e);
	}
	return mtu;
}

/* --- new ones ------------------------------------------------------------ */

void udp_flow_hear_tos(struct flow *f)
{
	sock_hear_tos(host_of(f)->fd, addr_is_v4(&host_of(f)->theirs));
	dgrams_of(f)->hears_tos = true;
}

static bool is_group(const struct addr *a)
{
	return addr_is_multicast(a) || addr_is_broadcast(a);
}

/* Whether sockets of ours have @port on the host: then one more may have it */
static bool has_port(const struct udp *u, uint16_t port)
{
	return flow_port(u->flows, PIF_HOST, port)->bound ||
	       listen_has_port(u->listen, PIF_HOST, IPPROTO_UDP, port);
}

/* Whether the guest sends to a group from a port that the host's own service
 * has at any address.  Our socket is then bound to the group's address: so it
 * gets neither what is sent to that service, nor answers that go to the host
 * alone. */
static bool shares_service(const struct udp *u, const struct side *h)
{
	return addr_is_multicast(&h->theirs) && addr_is_unspecified(&h->ours) &&
	       mcast_sock_known(h->our_port) &&
	       !sock_port_free(u->fwd->env, addr_is_v4(&h->theirs),
			       h->our_port);
}

/* Whether the port is taken only by sockets of ours that follow groups */
static bool follows_group(const struct udp *u, const struct side *h)
{
	return UNLIKELY(flow_port(u->flows, PIF_HOST, h->our_port)->open) &&
	       sock_port_free(u->fwd->env, addr_is_v4(&h->theirs),
			      h->our_port);
}

/* Open the socket of the host's side.  Without a rule @r the guest began: then
 * any port will do, and the socket is connected only if the peer's address
 * means nothing without an interface. */
static int open_socket(struct udp *u, struct flow *f, const struct rule *r)
{
	const struct sock_env *env = u->fwd->env;
	struct side *h = host_of(f);
	struct dgrams *x = dgrams_of(f);
	bool v4 = addr_is_v4(&h->theirs), group = is_group(&h->theirs);
	bool connect = r || (!group && !v4 && addr_is_link_local(&h->theirs));
	struct sock_bind b = { .addr = h->ours, .port = h->our_port,
			       .ifname = r ? r->ifname : NULL,
			       .shared = r || group ||
					 has_port(u, h->our_port) ||
					 follows_group(u, h) };

	if (group && shares_service(u, h)) {
		b.addr = h->theirs;
		b.ifname = v4 ? env->if4 : env->if6;
	}
	h->fd = sock_udp(env, &b, &h->theirs, connect ? h->their_port : 0, !r);
	if (h->fd < 0)
		return h->fd;
	x->group = group;
	x->ip.ttl = group ? 0 : v4 ? env->ttl4 : env->ttl6;
	if (r)
		udp_flow_hear_tos(f);
	x->gro = !group && u->tap->caps.uso && env->gro && sock_gro(h->fd);
	x->want = x->gro ? UDP_WANT_MAX : WANT;
	if (connect)
		now_connected(f);
	else if (group)
		sock_group(env, h->fd, v4);
	return 0;
}

static void set_mac(struct udp *u, struct flow *f)
{
	const struct addr *peer = &guest_of(f)->ours;
	const struct lan *lan = u->fwd->lan;

	dgrams_of(f)->mac = *neigh_mac(u->neigh, peer,
				       addr_is_v4(peer) ? &lan->gw4
							: &lan->gw6,
				       &lan->mac);
}

static struct flow *new_flow(struct udp *u, const struct side *host,
			     const struct side *guest, unsigned host_side)
{
	struct flow *f = host_side ? flow_begin(u->flows, FLOW_UDP, 1) :
				     flow_admit(u->flows, FLOW_UDP);

	if (!f)
		return NULL;
	dgrams_of(f)->host = (uint8_t)host_side;
	*host_of(f) = *host;
	*guest_of(f) = *guest;
	set_mac(u, f);
	return f;
}

static struct flow *fail(struct udp *u, struct flow *f, int err,
			 enum verdict *v)
{
	char name[FLOW_NAME];

	if (err)
		log_limited(LOG_DBG, "%s: no socket: %s",
			    flow_name(u->flows, f, name, sizeof(name)),
			    util_error(-err));
	if (host_of(f)->fd >= 0)
		sock_close(host_of(f)->fd);
	flow_free(u->flows, f);
	*v = DROP_NO_FLOW;
	return NULL;
}

/* The flow is complete: start its timer and watch its socket */
static struct flow *start(struct udp *u, struct flow *f, enum verdict *v)
{
	int err = flow_watch(u->flows, f, dgrams_of(f)->host);

	if (err)
		return fail(u, f, err, v);
	flow_open(u->flows, f, dgrams_of(f)->host, !dgrams_of(f)->connected);
	udp_flow_active(u, f, 0, 0);
	flow_lone(u->flows, f);
	*v = PASS;
	return f;
}

static int read_back(struct side *h)
{
	return sock_local(h->fd, &h->ours, &h->our_port);
}

/* Open a socket to the host for a flow of the guest.  If the guest has several
 * addresses, two flows may want to be the same one on the host; then the second
 * gets a port of the kernel's choice. */
static int open_out(struct udp *u, struct flow *f)
{
	struct side was = *host_of(f);
	int err = open_socket(u, f, NULL);

	if (!err)
		err = read_back(host_of(f));
	if (err || dgrams_of(f)->group ||
	    flow_enter(u->flows, f, dgrams_of(f)->host))
		return err;
	sock_close(host_of(f)->fd);
	*host_of(f) = was;
	host_of(f)->our_port = 0;
	err = open_socket(u, f, NULL);
	if (!err)
		err = read_back(host_of(f));
	if (!err)
		(void)flow_enter(u->flows, f, dgrams_of(f)->host);
	return err;
}

static bool is_endpoint(const struct tuple *t)
{
	return addr_is_unicast(&t->src) && t->sport && t->dport &&
	       !addr_is_unspecified(&t->dst);
}

struct flow *udp_open(struct udp *u, const struct packet *p, enum verdict *v)
{
	struct side host, guest = {
		.ours = p->t.dst, .theirs = p->t.src, .our_port = p->t.dport,
		.their_port = p->t.sport, .pif = PIF_TAP, .fd = -1,
	};
	struct sock_error e;
	struct flow *f;
	int err;

	*v = !u->fwd->lan->udp    ? DROP_PROTOCOL
	     : is_endpoint(&p->t) ? fwd_out(u->fwd, &p->t, &host)
				  : DROP_ENDPOINT;
	if (*v != PASS)
		return NULL;
	*v = DROP_NO_FLOW;
	f = new_flow(u, &host, &guest, 1);
	if (!f)
		return NULL;
	if (!flow_enter(u->flows, f, 0))
		return fail(u, f, 0, v);
	dgrams_of(f)->dns = fwd_is_dns(u->fwd, IPPROTO_UDP, guest_of(f));
	dgrams_of(f)->heard = fwd_may_hear(u->fwd, host_of(f));
	err = open_out(u, f);
	if (err) {
		if (!sock_lacks(err))
			udp_flow_dns_failed(u, f, false);
		memset(&e, 0, offsetof(struct sock_error, payload));
		e.len = packet_copy(p, 0, e.payload, sizeof(e.payload));
		icmp_refuse(&u->limit, u->tap, u->fwd, &guest, IPPROTO_UDP, 0,
			    err, &e);
		return fail(u, f, err, v);
	}
	if (dgrams_of(f)->group)
		mcast_sock_sends(&u->mcast, &p->t);
	return start(u, f, v);
}

/* Open a flow to the guest, with a socket that answers from the very address
 * that the peer has used */
static struct flow *open_to_guest(struct udp *u, const struct rule *r,
				  const struct side *host, enum verdict *v)
{
	struct side guest;
	struct flow *f;
	int err;

	*v = fwd_in(u->fwd, r, host, &guest);
	if (*v != PASS)
		return NULL;
	*v = DROP_NO_FLOW;
	f = new_flow(u, host, &guest, 0);
	if (!f)
		return NULL;
	if (!flow_enter(u->flows, f, 0) || !flow_enter_free(u->flows, f, 1))
		return fail(u, f, 0, v);
	err = open_socket(u, f, r);
	return err ? fail(u, f, err, v) : start(u, f, v);
}

struct flow *udp_flow_open_in(struct udp *u, const struct rule *r,
			      const struct side *from, enum verdict *v)
{
	if (addr_is_none(&from->ours)) {
		*v = DROP_ENDPOINT;
		return NULL;
	}
	if (u->splice.ns && fwd_splices(u->fwd, r, from))
		return udp_splice_open(&u->splice, r, from, v);
	return open_to_guest(u, r, from, v);
}
