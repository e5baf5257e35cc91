/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * fwd - policy: given a tuple on one side, what the other side must be
 *
 * Towards the host three addresses are special: the resolver's, the one that
 * stands for the host's loopback and the one that stands for the guest's
 * address as the host has it.  Towards the guest the same is undone, and a
 * source that the guest could not answer is replaced by our own address.
 *
 * Loopback addresses never appear on the guest's link: what is between the
 * loopbacks of both namespaces goes from socket to socket.
 */
#include "fwd.h"

#include "dnsanswer.h"
#include "log.h"

#include <netinet/in.h>

enum { DNS_PORT = 53, DNS_TLS_PORT = 853 /* RFC 7858 */ };

static unsigned family(const struct addr *a)
{
	return addr_is_v4(a) ? 0 : 1;
}

static bool is_dns(const struct fwd_dns *d, uint8_t proto,
		   const struct addr *dst, uint16_t port)
{
	if (proto != IPPROTO_TCP && proto != IPPROTO_UDP)
		return false;
	if (port != DNS_PORT && port != DNS_TLS_PORT)
		return false;
	return addr_equal(dst, &d->match[family(dst)]);
}

/* Whether @a, which is not none, is one of @names */
static bool is_among(const struct addr *a, const struct addr names[FWD_NAMES])
{
	unsigned i;

	for (i = 0; i < FWD_NAMES; i++)
		if (addr_equal(a, &names[i]))
			return true;
	return false;
}

static bool is_resolver(const struct fwd_dns *d, const struct addr *a)
{
	unsigned i, k;

	for (i = 0; i < 2; i++)
		for (k = 0; k < d->n[i]; k++)
			if (addr_equal(a, &d->host[i][k]))
				return true;
	return false;
}

/* Whether the user's rules let the guest reach @to */
static enum verdict may_go(const struct fwd *f, uint8_t proto,
			   const struct side *to)
{
	const struct egress *e = f->map->egress;
	const struct egress_dest dest = {
		.addr = &to->theirs, .port = to->their_port,
		.resolver = e && is_resolver(&f->dns, &to->theirs),
	};
	char text[ADDR_TEXT_LEN];

	if (!e || egress_allows(e, &f->view, proto, &dest))
		return PASS;
	addr_text(&to->theirs, text);
	if (proto == IPPROTO_TCP || proto == IPPROTO_UDP)
		log_limited(LOG_WARN, "Denied: %s to %s, port %u",
			    proto == IPPROTO_TCP ? "TCP" : "UDP", text,
			    to->their_port);
	else
		log_limited(LOG_WARN, "Denied: ping to %s", text);
	return DROP_DENIED;
}

enum verdict fwd_out(const struct fwd *f, const struct tuple *t,
		     struct side *host)
{
	const struct fwd_map *m = f->map;
	const struct fwd_dns *d = &f->dns;
	unsigned fam = family(&t->dst);
	const struct addr *assigned = fam ? &f->lan->guest6 : &f->lan->guest4;
	const struct addr *out;

	/* The kernel connects 0.0.0.0 and :: to loopback */
	if (addr_is_unspecified(&t->dst) || addr_is_loopback(&t->dst))
		return DROP_ENDPOINT;

	*host = (struct side){ .pif = PIF_HOST, .fd = -1, .theirs = t->dst,
			       .their_port = t->dport };
	if (is_dns(d, t->proto, &t->dst, t->dport)) {
		if (!d->n[fam])
			return DROP_NO_ROUTE;
		host->theirs = d->host[fam][d->current[fam]];
	} else if (is_among(&t->dst, m->host_loopback[fam])) {
		host->theirs = addr_loopback(!fam);
	} else if (is_among(&t->dst, m->guest_addr[fam])) {
		host->theirs = *assigned;
		if (addr_is_none(&host->theirs))
			return DROP_NO_ROUTE;
	}

	/* A resolver may be of the other family */
	fam = family(&host->theirs);
	out = fam ? &f->env->out6 : &f->env->out4;
	host->ours = addr_any(!fam);
	if (!addr_is_none(out) && !addr_is_loopback(&host->theirs))
		host->ours = *out;
	/* UDP peers may know the guest by its port; TCP's does not matter */
	if (t->proto != IPPROTO_TCP)
		host->our_port = t->sport;
	return may_go(f, t->proto, host);
}

/* Whether packets from @a can be answered by the guest over its link */
static bool reachable(const struct fwd *f, const struct addr *a)
{
	const struct addr *const own[] = { &f->lan->guest4, &f->lan->guest6,
					   &f->seen->v4, &f->seen->v6,
					   &f->seen->ll };
	unsigned i;

	if (addr_is_loopback(a) || addr_is_unspecified(a))
		return false;
	for (i = 0; i < ARRAY_SIZE(own); i++)
		if (addr_equal(a, own[i]))
			return false;
	return !addrset_has(&f->lan->copies, a);
}

bool fwd_guest_view(const struct fwd *f, const struct addr *host,
		    struct addr *guest)
{
	const struct fwd_map *m = f->map;
	unsigned fam = family(host);
	const struct addr lo = addr_loopback(!fam);
	const struct addr *assigned = fam ? &f->lan->guest6 : &f->lan->guest4;

	if (addr_equal(host, &lo) && !addr_is_none(&m->host_loopback[fam][0]))
		*guest = m->host_loopback[fam][0];
	else if (addr_equal(host, assigned) &&
		 !addr_is_none(&m->guest_addr[fam][0]))
		*guest = m->guest_addr[fam][0];
	else if (reachable(f, host))
		*guest = *host;
	else
		return false;
	return true;
}

/* The address at which the guest gets packets from @from */
static struct addr guest_addr(const struct fwd *f, const struct addr *from)
{
	if (addr_is_v4(from))
		return f->seen->v4;
	if (addr_is_link_local(from) && !addr_is_none(&f->seen->ll))
		return f->seen->ll;
	return f->seen->v6;
}

/* Our own address, from which the guest gets what comes from @host, an address
 * that it cannot answer.  A router behind it forwards nothing that comes from a
 * link-local one, and a server may listen on its global address alone: so that
 * of the gateway, if it is global, and if @rule leads to such an address.  A
 * server of datagrams may answer from any of its addresses, of which but one is
 * link-local. */
static struct addr own_addr(const struct fwd *f, const struct rule *r,
			    const struct side *host)
{
	const struct addr *gw = &f->lan->gw6, *to = &r->target;
	bool any = r->proto == IPPROTO_UDP && !f->lan->fixed6;

	if (addr_is_v4(&host->theirs))
		return f->lan->our4;
	if (addr_is_none(to) && !any && !addr_is_multicast(&host->ours))
		to = &f->seen->v6;
	if (addr_is_none(gw) || addr_is_link_local(gw) || !reachable(f, gw) ||
	    addr_is_none(to) || addr_is_link_local(to))
		return f->lan->our_ll6;
	return *gw;
}

static uint16_t target_port(const struct rule *r, const struct side *from)
{
	return (uint16_t)(from->our_port - r->first + r->to);
}

enum verdict fwd_in(const struct fwd *f, const struct rule *r,
		    const struct side *host, struct side *tap)
{
	if (!addr_is_unicast(&host->theirs) || !host->their_port)
		return DROP_ENDPOINT;

	if (f->map->splice_only)
		return DROP_NO_ROUTE;
	*tap = (struct side){ .pif = PIF_TAP, .fd = -1,
			      .our_port = host->their_port };
	if (!fwd_guest_view(f, &host->theirs, &tap->ours))
		tap->ours = own_addr(f, r, host);
	if (addr_is_none(&tap->ours))
		return DROP_NO_ROUTE;

	tap->their_port = target_port(r, host);
	if (!addr_is_none(&r->target))
		tap->theirs = r->target;
	else if (addr_is_multicast(&host->ours))
		tap->theirs = host->ours;
	else
		tap->theirs = guest_addr(f, &tap->ours);
	return addr_is_none(&tap->theirs) ? DROP_NO_ROUTE : PASS;
}

bool fwd_splices(const struct fwd *f, const struct rule *r,
		 const struct side *from)
{
	if (from->pif == PIF_SPLICE)
		return true;
	return f->map->splice && addr_is_none(&r->target) &&
	       addr_is_loopback(&from->theirs);
}

enum verdict fwd_splice(const struct fwd *f, const struct rule *r,
			const struct side *from, struct side *to)
{
	bool outbound = from->pif == PIF_SPLICE;
	bool to_loopback = addr_is_loopback(&from->ours);

	if (!addr_is_loopback(&from->theirs) || !from->their_port ||
	    (outbound && !to_loopback))
		return DROP_ENDPOINT;

	*to = (struct side){ .pif = outbound ? PIF_HOST : PIF_SPLICE, .fd = -1,
			     .their_port = target_port(r, from) };
	/* The service sees which address was used: 127/8 has many */
	if (outbound || (f->map->host_lo_to_ns_lo && to_loopback))
		to->theirs = from->ours;
	else
		to->theirs = guest_addr(f, &from->theirs);
	to->ours = addr_any(addr_is_v4(&to->theirs));
	/* As in fwd_out() */
	if (r->proto != IPPROTO_TCP)
		to->our_port = from->their_port;
	if (addr_is_none(&to->theirs))
		return DROP_NO_ROUTE;
	return outbound ? may_go(f, r->proto, to) : PASS;
}

bool fwd_is_dns(const struct fwd *f, uint8_t proto, const struct side *guest)
{
	return is_dns(&f->dns, proto, &guest->ours, guest->our_port);
}

static bool next_resolver(struct fwd_dns *d, unsigned i,
			  const struct addr *silent)
{
	char was[ADDR_TEXT_LEN], now[ADDR_TEXT_LEN];

	if (d->n[i] < 2 || !addr_equal(silent, &d->host[i][d->current[i]]))
		return false;
	d->current[i] = (d->current[i] + 1) % d->n[i];
	log_limited(LOG_INFORM, "No answer from resolver %s, next is %s",
		    addr_text(silent, was),
		    addr_text(&d->host[i][d->current[i]], now));
	return true;
}

bool fwd_dns_failed(struct fwd *f, uint8_t proto, const struct side *guest,
		    const struct side *host, bool silent)
{
	unsigned fam = family(&guest->ours), i;
	struct fwd_dns *d = &f->dns;
	bool moved = false;

	if (!fwd_is_dns(f, proto, guest) || guest->our_port != DNS_PORT)
		return false;
	++*(silent ? &f->dns_silent : &f->dns_refused);
	for (i = 0; i < 2; i++)
		moved |= next_resolver(d, i, &host->theirs);
	f->dns_switched += moved;
	return d->n[fam] && !addr_equal(&host->theirs,
					&d->host[fam][d->current[fam]]);
}

bool fwd_may_ask(const struct fwd *f)
{
	struct egress_dest dest = { .port = DNS_PORT, .resolver = true };
	unsigned i, k;

	for (i = 0; i < 2; i++)
		for (k = 0; k < f->dns.n[i]; k++) {
			dest.addr = &f->dns.host[i][k];
			if (egress_allows(f->map->egress, &f->view, IPPROTO_UDP,
					  &dest))
				return true;
		}
	return false;
}

bool fwd_may_hear(const struct fwd *f, const struct side *host)
{
	return UNLIKELY(f->view.heard) && host->their_port == DNS_PORT;
}

bool fwd_hears(const struct fwd *f, const struct side *host)
{
	return fwd_may_hear(f, host) && is_resolver(&f->dns, &host->theirs);
}

void fwd_hear(const struct fwd *f, const void *p, size_t len)
{
	static struct dnsanswer a;
	char text[ADDR_TEXT_LEN];
	uint32_t s;
	unsigned i;

	if (!dnsanswer_read(&a, p, len))
		return;
	s = MIN(MAX(a.ttl_s, (uint32_t)EGRESS_LEAST_S), (uint32_t)EGRESS_MOST_S);
	for (i = 0; i < a.n; i++)
		if (egress_hear(f->map->egress, f->view.heard, a.name, &a.addr[i],
				*f->view.now_ms + s * 1000ULL))
			log_debug("%s is %s, allowed for %u s", a.name,
				  addr_text(&a.addr[i], text), s);
}

void fwd_listen(struct fwd *f, const struct flow *flow, const struct side *host)
{
	struct fwd_told *told;

	if (!f->told || !fwd_hears(f, host))
		return;
	told = &f->told[f->told_next++ % FWD_TOLD];
	told->f = flow;
	told->gen = flow->gen;
	told->begun = false;
	told->len = 0;
}

struct fwd_told *fwd_told(const struct fwd *f, const struct flow *flow)
{
	unsigned i;

	for (i = 0; UNLIKELY(f->told) && i < FWD_TOLD; i++)
		if (f->told[i].f == flow && f->told[i].gen == flow->gen)
			return &f->told[i];
	return NULL;
}

/* Only the messages before tell where one begins */
void fwd_hear_bytes(const struct fwd *f, struct fwd_told *told,
		    const struct side *host, const uint8_t *p, size_t len)
{
	size_t n;

	for (; len; p += n, len -= n) {
		n = told->len < 2 ? 2 : 2U + ld_be16(told->b);
		n = MIN(n - told->len, len);
		memcpy(told->b + told->len, p, n);
		told->len += (uint32_t)n;
		if (told->len < 2 || told->len < 2U + ld_be16(told->b))
			continue;
		/* It may not be a resolver any more */
		if (fwd_hears(f, host))
			fwd_hear(f, told->b + 2, told->len - 2);
		told->len = 0;
	}
}

void fwd_save_told(const struct fwd_told *told, struct wr *w)
{
	wr_u8(w, told->begun);
	wr_be32(w, told->next);
	wr_bytes(w, told->b, told->len);
}

void fwd_load_told(struct fwd *f, const struct flow *flow, struct rd *r)
{
	const struct side *host = &flow->side[flow->side[1].pif == PIF_HOST];
	struct fwd_told *told;
	uint8_t begun = rd_u8(r);
	uint32_t next = rd_be32(r);
	size_t len = rd_left(r);

	fwd_listen(f, flow, host);
	told = fwd_told(f, flow);
	if (!told || len > sizeof(told->b))
		return;
	told->begun = begun;
	told->next = next;
	fwd_hear_bytes(f, told, host, rd_view(r, len), len);
}

void fwd_save_asked(const struct fwd *f, struct wr *w)
{
	const struct fwd_dns *d = &f->dns;
	unsigned i;

	for (i = 0; i < 2; i++)
		wr_bytes(w, d->host[i][d->current[i]].b, sizeof(struct addr));
}

void fwd_load_asked(struct fwd *f, struct rd *r)
{
	struct fwd_dns *d = &f->dns;
	struct addr a = { 0 };
	unsigned i, k;

	for (i = 0; i < 2; i++) {
		rd_copy(r, a.b, sizeof(a.b));
		for (k = 0; k < d->n[i]; k++)
			if (addr_equal(&d->host[i][k], &a))
				d->current[i] = k;
	}
}

void fwd_resolvers(struct fwd *f, const struct fwd_dns *dns)
{
	const struct fwd_dns old = f->dns;
	unsigned i;

	f->dns = *dns;
	for (i = 0; i < 2; i++)
		if (old.n[i] == dns->n[i] &&
		    !memcmp(old.host[i], dns->host[i], sizeof(old.host[i])))
			f->dns.current[i] = old.current[i];
}

void fwd_init(struct fwd *f, const struct lan *lan, const struct seen *seen,
	      const struct fwd_map *map, const struct sock_env *env)
{
	*f = (struct fwd){ .lan = lan, .seen = seen, .map = map, .env = env,
			   .dns = map->dns };
}
