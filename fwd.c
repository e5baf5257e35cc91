/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * fwd - policy: given a tuple on one side, what the other side must be
 *
 * Towards the host three addresses are special: the resolver's, the one that
 * stands for the host's loopback and the one that stands for the guest's
 * address as the host has it.  Towards the guest the same is undone, and a
 * source that the guest could not answer is replaced by our own address.
 */
#include "fwd.h"

#include "log.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/resource.h>

enum {
	DNS_PORT = 53,
	DNS_TLS_PORT = 853,   /* RFC 7858 */
	SPARE_DESCRIPTORS = 64, /* kept for everything but listeners */
	PORT_BITS = 16,
};

static unsigned family(const struct addr *a)
{
	return addr_is_v4(a) ? 0 : 1;
}

static bool is_dns(const struct fwd_map *m, const struct tuple *t, unsigned fam)
{
	if (t->proto != IPPROTO_TCP && t->proto != IPPROTO_UDP)
		return false;
	if (t->dport != DNS_PORT && t->dport != DNS_TLS_PORT)
		return false;
	return !addr_is_none(&m->dns_match[fam]) &&
	       addr_equal(&t->dst, &m->dns_match[fam]);
}

enum verdict fwd_out(const struct fwd *f, const struct tuple *t,
		     struct side *host)
{
	const struct fwd_map *m = f->map;
	unsigned fam = family(&t->dst);
	const struct addr *assigned = fam ? &f->lan->guest6 : &f->lan->guest4;
	const struct addr *out = fam ? &f->env->out6 : &f->env->out4;

	/* The kernel takes connections to 0.0.0.0 and :: as to loopback */
	if (addr_is_unspecified(&t->dst) || addr_is_loopback(&t->dst))
		return DROP_ENDPOINT;

	*host = (struct side){ .pif = PIF_HOST, .fd = -1, .theirs = t->dst,
			       .their_port = t->dport };
	if (is_dns(m, t, fam)) {
		host->theirs = m->dns_host[fam];
		if (addr_is_none(&host->theirs))
			return DROP_NO_ROUTE;
	} else if (!addr_is_none(&m->host_loopback[fam]) &&
		   addr_equal(&t->dst, &m->host_loopback[fam])) {
		host->theirs = addr_loopback(!fam);
	} else if (!addr_is_none(&m->guest_addr[fam]) &&
		   addr_equal(&t->dst, &m->guest_addr[fam])) {
		host->theirs = *assigned;
		if (addr_is_none(&host->theirs))
			return DROP_NO_ROUTE;
	}

	host->ours = addr_any(addr_is_v4(&host->theirs));
	if (!addr_is_none(out) && !addr_is_loopback(&host->theirs))
		host->ours = *out;
	/* Peers of UDP may know us by our port; TCP's is nobody's business */
	if (t->proto != IPPROTO_TCP)
		host->our_port = t->sport;
	return PASS;
}

/* Whether packets from @a can be answered by the guest over its link */
static bool reachable(const struct fwd *f, const struct addr *a)
{
	const struct addr *const own[] = { &f->lan->guest4, &f->lan->guest6,
					   &f->seen->v4, &f->seen->v6 };
	unsigned i;

	if (addr_is_loopback(a) || addr_is_unspecified(a))
		return false;
	for (i = 0; i < ARRAY_SIZE(own); i++)
		if (addr_equal(a, own[i]))
			return false;
	return true;
}

bool fwd_guest_view(const struct fwd *f, const struct addr *host,
		    struct addr *guest)
{
	const struct fwd_map *m = f->map;
	unsigned fam = family(host);
	const struct addr lo = addr_loopback(!fam);
	const struct addr *assigned = fam ? &f->lan->guest6 : &f->lan->guest4;

	if (addr_equal(host, &lo) && !addr_is_none(&m->host_loopback[fam]))
		*guest = m->host_loopback[fam];
	else if (addr_equal(host, assigned) &&
		 !addr_is_none(&m->guest_addr[fam]))
		*guest = m->guest_addr[fam];
	else if (reachable(f, host))
		*guest = *host;
	else
		return false;
	return true;
}

/* Where the guest is, for a peer that it will know as @from */
static struct addr guest_addr(const struct fwd *f, const struct addr *from)
{
	if (addr_is_v4(from))
		return f->seen->v4;
	if (addr_is_link_local(from) && !addr_is_none(&f->seen->ll))
		return f->seen->ll;
	return f->seen->v6;
}

enum verdict fwd_in(const struct fwd *f, const struct rule *r,
		    const struct side *host, struct side *tap)
{
	if (!addr_is_unicast(&host->theirs) || !host->their_port)
		return DROP_ENDPOINT;

	*tap = (struct side){ .pif = PIF_TAP, .fd = -1,
			      .our_port = host->their_port };
	if (!fwd_guest_view(f, &host->theirs, &tap->ours))
		tap->ours = addr_is_v4(&host->theirs) ? f->lan->our4 :
							f->lan->our_ll6;
	if (addr_is_none(&tap->ours))
		return DROP_NO_ROUTE;

	tap->their_port = (uint16_t)(host->our_port - r->first + r->to);
	if (!addr_is_none(&r->target))
		tap->theirs = r->target;
	else if (addr_is_multicast(&host->ours))
		tap->theirs = host->ours;
	else
		tap->theirs = guest_addr(f, &tap->ours);
	return addr_is_none(&tap->theirs) ? DROP_NO_ROUTE : PASS;
}

int fwd_init(struct fwd *f, struct loop *l, const struct lan *lan,
	     const struct seen *seen, const struct fwd_map *map,
	     const struct sock_env *env)
{
	*f = (struct fwd){ .loop = l, .lan = lan, .seen = seen, .map = map,
			   .env = env };
	f->fd = util_map(sizeof(int) * RULES_SOCKETS);
	return f->fd ? 0 : -ENOMEM;
}

static int listen_port(struct fwd *f, unsigned i, uint16_t port)
{
	const struct rule *r = &f->rules->r[i];
	struct sock_bind b = { .addr = r->listen, .port = port,
			       .dual = r->flags & RULE_DUAL,
			       .ifname = r->ifname };
	bool tcp = r->proto == IPPROTO_TCP;
	int fd = tcp ? sock_listen(f->env, &b) : sock_udp_listen(f->env, &b);
	int err;

	if (fd < 0)
		return fd;
	err = loop_add(f->loop, fd, tcp ? f->tcp_watch : f->udp_watch,
		       (uint64_t)i << PORT_BITS | port, EPOLLIN);
	if (err) {
		sock_close(fd);
		return err;
	}
	f->fd[f->base[i] + port - r->first] = fd + 1;
	return 0;
}

/* A weak rule may fail in parts, a strict one not at all */
static int listen_rule(struct fwd *f, unsigned i)
{
	const struct rule *r = &f->rules->r[i];
	unsigned port, opened = 0;
	char text[RULE_TEXT];
	int err = 0;

	for (port = r->first; port <= r->last; port++) {
		int ret = listen_port(f, i, (uint16_t)port);

		if (!ret) {
			opened++;
			continue;
		}
		err = ret;
		if (r->flags & RULE_WEAK)
			continue;
		log_warn("Listen failed for HOST %s port %s: %s",
			 r->proto == IPPROTO_TCP ? "TCP" : "UDP",
			 rule_text(r, text), strerror(-ret));
	}
	return opened && r->flags & RULE_WEAK ? 0 : err;
}

int fwd_listen(struct fwd *f, const struct rules *rules)
{
	unsigned i, want = 0;
	struct rlimit lim;
	int err;

	f->rules = rules;
	for (i = 0; i < rules->n; i++) {
		const struct rule *r = &rules->r[i];

		f->base[i] = want;
		if (!(r->flags & RULE_SCAN))
			want += r->last - r->first + 1U;
	}
	if (!getrlimit(RLIMIT_NOFILE, &lim) &&
	    want + SPARE_DESCRIPTORS > lim.rlim_cur) {
		log_err("Forwarding %u ports needs %u descriptors, the limit "
			"(RLIMIT_NOFILE) is %llu", want,
			want + SPARE_DESCRIPTORS,
			(unsigned long long)lim.rlim_cur);
		return -EMFILE;
	}
	for (i = 0; i < rules->n; i++) {
		if (rules->r[i].flags & RULE_SCAN)
			continue;
		err = listen_rule(f, i);
		if (err)
			return err;
	}
	return 0;
}

int fwd_listener(const struct fwd *f, uint64_t ref, const struct rule **r)
{
	unsigned i = (unsigned)(ref >> PORT_BITS);
	unsigned port = ref & ((1U << PORT_BITS) - 1);

	*r = &f->rules->r[i];
	return f->fd[f->base[i] + port - (*r)->first] - 1;
}
