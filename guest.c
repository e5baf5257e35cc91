/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * guest - takes bursts of frames from the guest, answers them or hands them to
 * their flows
 *
 * A burst of frames is parsed into the pool.  What belongs to a flow goes to
 * its inbox, and each touched flow gets its inbox in one call.  So there is one
 * lookup for each packet, and one send and at most one ACK for each flow and
 * burst.  There is one burst a turn: sockets are served in between.
 */
#include "guest.h"

#include "arp.h"
#include "dhcp.h"
#include "dhcpv6.h"
#include "emit.h"
#include "log.h"
#include "ndp.h"

#include <errno.h>
#include <netinet/in.h>

enum {
	MESSAGE_MAX = 2048, /* longest request that an answerer gets */
	ICMP_ECHO = 8,
	ICMP6_ECHO = 128,
	CALL_MS = 500, /* a guest that answers has done so by then */
	RECALL_MS = 2000, /* doubled each time: RFC 8415, 18.3.11 */
	RECALLS = 6, /* after these it has come by itself, see LAN_RENEW_S */
};

static void drop(struct guest *g, enum verdict v)
{
	g->drops[v]++;
	tap_verdict(g->tap, v);
	log_trace("Packet from guest dropped: %s", verdict_name(v));
}

static void send_answer(struct guest *g, struct answer *a)
{
	if (!wr_ok(&a->body) || !emit_answer(g->tap, a))
		g->drops[DROP_NO_ROOM]++;
}

/* --- what the guest's frames teach us ------------------------------------ */

static SELDOM void new_mac(struct guest *g, const struct mac *m)
{
	char text[MAC_TEXT_LEN];

	if (!mac_is_unicast(m))
		return;
	g->seen->mac = *m;
	log_limited(LOG_INFORM, "New guest MAC address observed: %s",
		    mac_text(m, text));
}

/* For each frame: it is nearly always the same address */
static void learn_mac(struct guest *g, const struct mac *m)
{
	if (!mac_equal(m, &g->seen->mac))
		new_mac(g, m);
}

static void learn_addr(struct guest *g, const struct addr *a)
{
	const struct lan *lan = g->lan;
	struct seen *s = g->seen;

	/* IPv4's address is nearly always the same */
	if (addr_equal(a, &s->v4) || !addr_is_unicast(a))
		return;
	if (addr_is_v4(a)) {
		if (!lan->fixed4)
			s->v4 = *a;
	} else if (addr_is_link_local(a)) {
		s->ll = *a;
		if (addr_is_none(&s->v6))
			s->v6 = *a;
	} else if (!lan->fixed6) {
		s->v6 = *a;
		g->heard6 = true;
	}
}

/* --- answerers ------------------------------------------------------------ */

/* A guest that configures its own address may be a server, which does not speak
 * first.  Once the guest has sent something, that counts instead: it may look
 * for an address for somebody behind it. */
static void learn_claim(struct guest *g, const struct packet *p, struct rd msg)
{
	struct addr a;

	if (!g->heard6 && !g->lan->fixed6 && ndp_claims(g->lan, p, msg, &a))
		g->seen->v6 = a;
}

/* A lease without end is not called back */
static struct rkap *may_call(const struct guest *g, struct rkap *client)
{
	return g->lan->leases ? client : NULL;
}

static void answer(struct guest *g, const struct packet *p)
{
	uint8_t in[MESSAGE_MAX], out[ANSWER_MAX];
	struct answer a = { .body = wr_init(out, sizeof(out)) };
	struct rd msg = rd_init(in, packet_copy(p, 0, in, sizeof(in)));
	bool send;

	if (p->kind == PACKET_ARP)
		send = arp_answer(g->lan, g->neigh, p, msg, &a);
	else if (p->kind == PACKET_ICMP6)
		send = ndp_answer(g->lan, g->neigh, p, msg, &a);
	else if (p->t.dport == DHCP_SERVER)
		send = dhcp_answer(g->lan, p, msg, may_call(g, &g->dhcp), &a);
	else
		send = dhcpv6_answer(g->lan, p, msg, may_call(g, &g->dhcpv6),
				     &a);

	if (!send) {
		if (p->kind == PACKET_ICMP6)
			learn_claim(g, p, msg);
		drop(g, DROP_UNWANTED);
		return;
	}
	/* A client that asks for an address is about to use it */
	if (p->kind == PACKET_UDP && p->t.dport == DHCPV6_SERVER &&
	    dhcpv6_assigns(in[0]) && !addr_is_none(&g->lan->guest6))
		g->seen->v6 = g->lan->guest6;
	send_answer(g, &a);
}

static bool is_request(const struct guest *g, const struct packet *p)
{
	const struct lan *lan = g->lan;
	bool v4;

	if (p->kind == PACKET_ARP)
		return true;
	v4 = addr_is_v4(&p->t.src);
	if (p->kind == PACKET_ICMP6)
		return lan->ndp && ndp_is(p->icmp_type);
	if (p->kind != PACKET_UDP)
		return false;
	if (v4)
		return lan->dhcp && p->t.dport == DHCP_SERVER;
	return lan->dhcpv6 && p->t.dport == DHCPV6_SERVER;
}

/* TFTP, which is not pure: it has files and timers */
static void serve(struct guest *g, const struct packet *p)
{
	uint8_t in[MESSAGE_MAX];

	tftp_input(&g->tftp, p,
		   rd_init(in, packet_copy(p, 0, in, sizeof(in))));
}

/* --- flows ----------------------------------------------------------------- */

static bool carried(const struct lan *lan, const struct packet *p)
{
	switch (p->kind) {
	case PACKET_TCP:
		return lan->tcp;
	case PACKET_UDP:
		return lan->udp;
	case PACKET_ICMP4:
		return lan->icmp && p->icmp_type == ICMP_ECHO;
	case PACKET_ICMP6:
		return lan->icmp && p->icmp_type == ICMP6_ECHO;
	default:
		return false;
	}
}

static struct flow *find(const struct guest *g, const struct packet *p)
{
	struct side key = { .ours = p->t.dst, .theirs = p->t.src,
			    .our_port = p->t.dport, .their_port = p->t.sport,
			    .pif = PIF_TAP };
	uint8_t proto = p->t.proto;
	unsigned i;

	if (proto == IPPROTO_ICMPV6) /* one kind of flow for both families */
		proto = IPPROTO_ICMP;
	return flow_find(g->flows, proto, &key, &i);
}

static bool same_tuple(const struct tuple *a, const struct tuple *b)
{
	return a->sport == b->sport && a->dport == b->dport &&
	       a->proto == b->proto && addr_equal(&a->src, &b->src) &&
	       addr_equal(&a->dst, &b->dst);
}

static void post(struct guest *g, struct flow *f, struct packet *p)
{
	p->next = NULL;
	if (f->inbox) {
		f->inbox->tail->next = p;
	} else {
		f->inbox = p;
		f->touched = NULL;
		*g->touched_end = f;
		g->touched_end = &f->touched;
	}
	f->inbox->tail = p;
	f->sent += p->payload_len;
}

/* Our own policy has no destination for @p, or forbids it: tell the guest */
static void refuse(struct guest *g, const struct packet *p, int err)
{
	const struct side s = { .ours = p->t.dst, .theirs = p->t.src,
				.our_port = p->t.dport,
				.their_port = p->t.sport };
	struct rd l4 = packet_l4(p);
	struct sock_error e;
	uint32_t seq = p->seq;
	size_t skip = 0;

	memset(&e, 0, offsetof(struct sock_error, payload));
	if (p->kind != PACKET_TCP && p->kind != PACKET_UDP) { /* echo */
		rd_skip(&l4, 6);
		seq = rd_be16(&l4);
		skip = 8;
	}
	e.len = packet_copy(p, skip, e.payload, sizeof(e.payload));
	icmp_refuse(&g->limit, g->tap, g->udp->fwd, &s, p->t.proto, seq,
		    err, &e);
}

/* Open a flow for a packet that has none, and post it there, unless TCP has
 * used it */
static struct flow *open_flow(struct guest *g, struct packet *p)
{
	enum verdict v = PASS;
	struct flow *f;

	if (p->kind == PACKET_TCP)
		f = tcp_open(g->tcp, p, &v);
	else if (p->kind == PACKET_UDP)
		f = udp_open(g->udp, p, &v);
	else
		f = echo_open(g->echo, p, &v);
	if (v == DROP_NO_ROUTE)
		refuse(g, p, -ENETUNREACH);
	if (v == DROP_DENIED)
		refuse(g, p, -EACCES);
	if (v != PASS)
		drop(g, v);
	if (f && p->kind != PACKET_TCP)
		post(g, f, p);
	return f;
}

static struct flow *to_flow(struct guest *g, struct packet *p)
{
	struct flow *f = find(g, p);

	if (!f)
		return open_flow(g, p);
	post(g, f, p);
	return f;
}

/* Give each touched flow its inbox.  Packets that it hands back are looked up
 * again: its connection has ended, and the tuple may already begin another. */
static void hand_over(struct guest *g)
{
	struct packet *p, *next;
	struct flow *f;

	while ((f = g->touched)) {
		struct flows *t = g->flows;

		g->touched = f->touched;
		if (!g->touched)
			g->touched_end = &g->touched;
		p = f->inbox;
		f->inbox = NULL;
		flow_weigh(t, f);
		p = t->type[f->kind]->input(t->owner[f->kind], f, p);
		for (; p; p = next) {
			next = p->next;
			to_flow(g, p);
		}
	}
}

/* --- frames ---------------------------------------------------------------- */

/* Whether @p belongs to a long transfer, or acknowledges one */
static bool is_stream(const struct packet *p)
{
	return p->kind == PACKET_TCP &&
	       !(p->tcp_flags & (TCP_SYN | TCP_FIN | TCP_RST)) &&
	       (!p->payload_len || p->payload_len >= TCP_MSS_DEFAULT);
}

/* A protocol that takes privileges to be carried, such as SCTP, GRE or ESP:
 * tell the guest, which may be waiting */
static void unknown(struct guest *g, const struct packet *p)
{
	uint64_t bit = 1ULL << (p->t.proto & 63);
	uint8_t out[ANSWER_MAX];
	struct answer a = { .body = wr_init(out, sizeof(out)) };

	if (!icmp_unknown(g->lan, g->seen, p, &a) ||
	    !icmp_allowed(&g->limit, g->loop->now_ms))
		return;
	if (!(g->told[p->t.proto >> 6] & bit))
		log_limited(LOG_INFORM, "IP protocol %u of the guest is not "
			    "carried, it is told so", p->t.proto);
	g->told[p->t.proto >> 6] |= bit;
	send_answer(g, &a);
}

/* Parse a reassembled datagram; it may be fragmented again on its way */
static enum verdict parse_whole(const struct frame *whole, struct packet *p)
{
	enum verdict v = packet_parse(whole, p);

	p->df = false;
	return v == PASS && !packet_sum_ok(p) ? DROP_CHECKSUM : v;
}

/* Parse frame @i.  False: it was dropped, or is a fragment of a datagram that
 * is incomplete. */
static bool parse(struct guest *g, unsigned i, struct packet *p)
{
	enum verdict v = packet_parse(&g->frames[i], p);
	struct frame *whole;

	if (g->frames[i].len >= ETH_HEAD)
		learn_mac(g, &p->smac);
	if (v == PASS)
		return true;
	if (v == DROP_FRAGMENT) {
		v = frag_add(&g->frags, p, g->loop->now_ms, &whole);
		if (v == PASS && !whole)
			return false;
		if (v == PASS)
			v = parse_whole(whole, p);
	}
	if (v == DROP_PROTOCOL && p->t.proto && p->t.proto != IPPROTO_NONE)
		unknown(g, p);
	if (v != PASS)
		drop(g, v);
	return v == PASS;
}

/* Whose packet the guest has answered with an error, from @t's source, or NULL */
static struct flow *concerned(struct guest *g, const struct tuple *t)
{
	const struct side key = { .ours = t->src, .theirs = t->dst,
				  .our_port = t->sport, .their_port = t->dport,
				  .pif = PIF_TAP };
	bool echo = t->proto == IPPROTO_ICMPV6;
	unsigned i;

	return flow_find(g->flows, echo ? IPPROTO_ICMP : t->proto, &key, &i);
}

/* What the guest answers to something from outside.  A flow by which it sends as
 * well, just now, is not refused. */
static bool refuses(struct guest *g, const struct packet *p)
{
	const struct flow_type *type;
	struct tuple t;
	struct flow *f;

	if (!icmp_refused(p, &t))
		return false;
	f = concerned(g, &t);
	type = f ? g->flows->type[f->kind] : NULL;
	if (f && !f->inbox && type->refused)
		type->refused(g->flows->owner[f->kind], f);
	return true;
}

/* What it answers as a router, for others behind it */
static bool narrows(struct guest *g, const struct packet *p)
{
	const struct flow_type *type;
	struct tuple t;
	struct flow *f;
	uint32_t seq;
	unsigned mtu;

	if (!icmp_too_long(p, &t, &seq, &mtu))
		return false;
	f = concerned(g, &t);
	type = f ? g->flows->type[f->kind] : NULL;
	if (f && type->narrow)
		type->narrow(g->flows->owner[f->kind], f, seq, mtu);
	else if (f)
		emit_narrow(g->tap, &t.dst, mtu);
	return true;
}

/* Handle a packet that belongs to no flow.  True: it may have ended one. */
static bool take(struct guest *g, const struct packet *p)
{
	enum verdict v = DROP_PROTOCOL;

	if (refuses(g, p))
		return true;
	if (narrows(g, p))
		return false;
	if (mcast_is(p))
		v = mcast_sock_input(&g->udp->mcast, p);
	if (v != PASS)
		drop(g, v);
	return false;
}

static void sort(struct guest *g, unsigned n)
{
	size_t stream_len = 0;
	unsigned streams = 0;
	const struct packet *last = NULL;
	struct flow *last_flow = NULL;
	unsigned i;

	for (i = 0; i < n; i++) {
		struct packet *p = &g->pool.p[i];

		if (!parse(g, i, p))
			continue;
		if (is_stream(p)) {
			streams++;
			stream_len += p->payload_len;
		}
		if (p->kind != PACKET_ARP)
			learn_addr(g, &p->t.src);
		if (is_request(g, p)) {
			answer(g, p);
		} else if (tftp_is(&g->tftp, p)) {
			serve(g, p);
		} else if (!carried(g->lan, p)) {
			if (take(g, p))
				last_flow = NULL;
		} else if (last_flow && same_tuple(&p->t, &last->t)) {
			post(g, last_flow, p);
		} else {
			last = p;
			last_flow = to_flow(g, p);
		}
	}
	if (streams == n)
		loop_stream(g->loop, 0, stream_len);
}

static enum run_verdict burst(void *owner, struct run *r)
{
	struct guest *g = owner;
	unsigned n;

	(void)r;
	n = tap_receive(g->tap, g->frames, PACKET_BATCH);
	if (!n)
		return RUN_DONE;
	sort(g, n);
	hand_over(g);
	frag_release(&g->frags);
	tap_release(g->tap);
	return g->tap->drained ? RUN_DONE : RUN_AGAIN;
}

static void event(void *owner, uint64_t ref, uint32_t events)
{
	struct guest *g = owner;

	g->tap->refs |= 1U << (ref & 31);
	g->tap->events |= events & ~(uint32_t)EPOLLOUT;
	if (events & EPOLLOUT && g->tap->full)
		tap_flush(g->tap);
	if (events & ~(uint32_t)EPOLLOUT)
		runq_add(&g->queue, &g->run);
}

/* --- on our own account ----------------------------------------------------- */

/* A guest that was there before us is known by its address only once it sends
 * from there, and a server may wait for a client instead.  The guest with the
 * address that we assign has answered by now; if none has, ask all nodes. */
static void call(void *owner, struct timer *timer)
{
	struct guest *g = owner;
	uint8_t out[ANSWER_MAX];
	struct answer a = { .body = wr_init(out, sizeof(out)) };

	(void)timer;
	if (g->tap->up && !g->heard6 && ndp_call(g->lan, &a))
		send_answer(g, &a);
}

static bool call_dhcp(struct guest *g)
{
	uint8_t out[ANSWER_MAX];
	struct answer a = { .body = wr_init(out, sizeof(out)) };

	if (!g->lan->dhcp || !dhcp_call(g->lan, &g->dhcp, &a))
		return false;
	send_answer(g, &a);
	return true;
}

static bool call_dhcpv6(struct guest *g)
{
	uint8_t out[ANSWER_MAX];
	struct answer a = { .body = wr_init(out, sizeof(out)) };

	if (!g->lan->dhcpv6 || !dhcpv6_call(g->lan, &g->dhcpv6, &a))
		return false;
	send_answer(g, &a);
	return true;
}

/* Tell clients of DHCP that can be told to renew now; others do so at their
 * time.  One that does not may not have got the message, so it is repeated. */
static void call_clients(struct guest *g)
{
	bool v4, v6;

	if (!g->lan->leases || !g->tap->up)
		return;
	v4 = call_dhcp(g);
	v6 = call_dhcpv6(g);
	if ((v4 || v6) && g->calls < RECALLS)
		timer_set(&g->loop->timers, &g->recall,
			  g->loop->now_ms + ((uint64_t)RECALL_MS << g->calls));
	g->calls++;
}

static void recall(void *owner, struct timer *timer)
{
	(void)timer;
	call_clients(owner);
}

static void call_clients_anew(struct guest *g)
{
	g->calls = 0;
	call_clients(g);
}

static void greet(struct guest *g)
{
	uint8_t out[ANSWER_MAX];
	struct answer a = { .body = wr_init(out, sizeof(out)) };

	g->session = g->tap->session;
	g->mtu = lan_mtu_told(g->lan);
	learn_mac(g, &g->tap->guest);
	mcast_sock_greet(&g->udp->mcast);
	if (arp_ask(g->lan, g->seen, &a))
		send_answer(g, &a);
	a = (struct answer){ .body = wr_init(out, sizeof(out)) };
	if (g->lan->ndp && ndp_ask(g->lan, g->seen, &a))
		send_answer(g, &a);
	g->heard6 = false;
	if (g->lan->ndp && !g->lan->fixed6)
		timer_set(&g->loop->timers, &g->call,
			  g->loop->now_ms + CALL_MS);
	call_clients_anew(g);
}

/* Set the time of the next router advertisement.  RFC 4861 6.2.4: at random, so
 * that routers do not fall in step.  A hash of the time, with a secret key,
 * will do and takes no system call. */
static void plan_ra(struct guest *g)
{
	uint64_t r = siphash_words(&g->flows->key, &g->loop->now_ns, 1);

	timer_set(&g->loop->timers, &g->ra,
		  g->loop->now_ms + (g->ra_news ? NDP_RA_NEWS_MS :
				     NDP_RA_MIN_MS +
					     r % (NDP_RA_MAX_MS - NDP_RA_MIN_MS)));
}

static void send_ra(struct guest *g)
{
	uint8_t out[ANSWER_MAX];
	struct answer a = { .body = wr_init(out, sizeof(out)) };

	if (!g->lan->v6 || !g->lan->ndp || !g->lan->ra)
		return;
	if (g->tap->up && ndp_advertise(g->lan, g->seen, &a))
		send_answer(g, &a);
	plan_ra(g);
}

void guest_advertise(struct guest *g)
{
	g->ra_news = NDP_RA_NEWS - 1;
	send_ra(g);
}

void guest_farewell(struct guest *g, const struct lan *was)
{
	uint8_t out[ANSWER_MAX];
	struct answer a = { .body = wr_init(out, sizeof(out)) };

	if (was->ndp && g->tap->up && ndp_farewell(was, &a))
		send_answer(g, &a);
}

void guest_renew(struct guest *g)
{
	mcast_sock_renew(&g->udp->mcast);
	call_clients_anew(g);
}

static void advertise(void *owner, struct timer *timer)
{
	struct guest *g = owner;

	(void)timer;
	g->ra_news -= !!g->ra_news;
	send_ra(g);
}

void guest_neighbour(struct guest *g, const struct addr *addr,
		     const struct mac *mac)
{
	uint8_t out[ANSWER_MAX];
	struct answer a = { .body = wr_init(out, sizeof(out)) };
	bool v4 = addr_is_v4(addr), send;

	if (!mac) {
		neigh_forget(g->neigh, addr);
		return;
	}
	if (!neigh_set(g->neigh, addr, mac, false) || !g->tap->up)
		return;
	send = v4 ? arp_announce(addr, mac, &a) :
		    g->lan->ndp && ndp_announce(g->lan, addr, mac, &a);
	if (send)
		send_answer(g, &a);
}

void guest_init(struct guest *g, struct loop *l, struct flows *flows,
		struct tap *tap, const struct lan *lan, struct seen *seen,
		struct neigh *neigh)
{
	memset(g, 0, offsetof(struct guest, frags));
	frag_init(&g->frags);
	g->tap = tap;
	g->loop = l;
	g->flows = flows;
	g->lan = lan;
	g->seen = seen;
	g->neigh = neigh;
	g->touched_end = &g->touched;
	g->watch = loop_watch(l, event, g);
	runq_init(l, &g->queue, RUN_COST, RUN_COST, burst, g); /* one visit a
								  turn */
	timer_init(&g->ra, advertise, g);
	timer_init(&g->call, call, g);
	timer_init(&g->recall, recall, g);
	g->dhcp.secret = g->dhcpv6.secret = &flows->key;
	tftp_init(&g->tftp, l, tap, lan);
	if (lan->v6 && lan->ndp && lan->ra)
		plan_ra(g);
}

void guest_protocols(struct guest *g, struct tcp *tcp, struct udp *udp,
		     struct echo *echo)
{
	g->tcp = tcp;
	g->udp = udp;
	g->echo = echo;
}

void guest_turn_end(struct guest *g)
{
	if (g->tap->up && g->session != g->tap->session)
		greet(g);
	/* It has shown buffers that are too short for the MTU it was told */
	if (g->tap->up && g->mtu != lan_mtu_told(g->lan)) {
		g->mtu = lan_mtu_told(g->lan);
		guest_advertise(g);
		call_clients_anew(g);
	}
	tcp_turn_end(g->tcp);
	tap_flush(g->tap);
	if (!g->tap->full)
		runq_release(&g->flows->guest_q);
}

void guest_save(const struct guest *g, struct wr *w)
{
	uint64_t now = g->loop->now_ms;
	uint64_t wait = g->ra.due_ms > now ? g->ra.due_ms - now : 1;

	wr_bytes(w, g->seen->mac.b, sizeof(g->seen->mac.b));
	wr_bytes(w, g->seen->v4.b, sizeof(g->seen->v4.b));
	wr_bytes(w, g->seen->v6.b, sizeof(g->seen->v6.b));
	wr_bytes(w, g->seen->ll.b, sizeof(g->seen->ll.b));
	wr_u8(w, g->heard6);
	wr_be32(w, g->ra.due_ms ? (uint32_t)wait : 0);
	rkap_save(&g->dhcp, w);
	rkap_save(&g->dhcpv6, w);
}

void guest_load(struct guest *g, struct rd *r)
{
	struct seen s;
	uint32_t wait;

	rd_copy(r, s.mac.b, sizeof(s.mac.b));
	rd_copy(r, s.v4.b, sizeof(s.v4.b));
	rd_copy(r, s.v6.b, sizeof(s.v6.b));
	rd_copy(r, s.ll.b, sizeof(s.ll.b));
	g->heard6 = rd_u8(r) & 1;
	wait = rd_be32(r);
	if (rd_ok(r))
		*g->seen = s;
	if (rd_left(r)) { /* older predecessors do not write it */
		rkap_load(&g->dhcp, r);
		rkap_load(&g->dhcpv6, r);
	}
	if (g->ra.due_ms && wait)
		timer_set(&g->loop->timers, &g->ra, g->loop->now_ms + wait);
	/* The client may not have heard our predecessor, or there may be news
	 * since */
	timer_set(&g->loop->timers, &g->recall, g->loop->now_ms + RECALL_MS);
	/* The guest was greeted already, and what it has sent may have
	 * arrived */
	g->session = g->tap->session;
	g->mtu = lan_mtu_told(g->lan);
	mcast_sock_greet(&g->udp->mcast); /* it will report again which groups
					     it has joined */
	runq_add(&g->queue, &g->run);
}
