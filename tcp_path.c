/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * tcp_path - what is known of the way beyond the host
 *
 * The host's kernel cuts segments to what the path holds, so the guest need not know.
 * But what it sends there by other protocols it cuts itself: so it is told as a
 * router would have told it.
 */
#include "tcp_path.h"

#include <errno.h>
#include <netinet/in.h>

static bool host_v4(const struct flow *f)
{
	return addr_is_v4(&f->side[!conn_tap(f)].theirs);
}

/* traceroute wants to hear which router drops such a SYN, an error that other
 * connections survive */
void path_open(struct tcp *t, struct flow *f, const struct packet *p)
{
	struct tcp_conn *c = conn_of(f);
	bool v4 = host_v4(f);
	struct sock_ip now = { .ttl = v4 ? t->fwd->env->ttl4
					 : t->fwd->env->ttl6 };

	if (p->ttl == now.ttl && !p->tos)
		return;
	c->tos = p->tos & (uint8_t)~PATH_ECN;
	sock_set_ip(conn_fd(f), v4, &now,
		    (struct sock_ip){ .ttl = p->ttl ? p->ttl : 1,
				      .tos = c->tos });
	if (sock_ip_probes(now)) {
		c->flags |= CONN_HEARS;
		sock_hear_errors(conn_fd(f), v4);
	}
}

void path_mark(struct flow *f, const struct packet *p)
{
	struct tcp_conn *c = conn_of(f);
	struct sock_ip now = { .tos = c->tos };

	c->tos = p->tos & (uint8_t)~PATH_ECN;
	sock_set_ip(conn_fd(f), host_v4(f), &now,
		    (struct sock_ip){ .tos = c->tos });
}

void path_look(struct tcp *t, struct flow *f)
{
	const struct side *guest = &f->side[conn_tap(f)];
	const struct lan *lan = t->fwd->lan;
	uint32_t now = (uint32_t)t->flows->loop->now_ms;
	struct tcp_conn *c = conn_of(f);
	bool v4 = host_v4(f);
	struct sock_error e;
	unsigned mtu;

	c->flags &= (uint32_t)~CONN_PATH;
	if (c->path_ms && now - c->path_ms < PATH_LOOK_MS)
		return;
	c->path_ms = now ? now : 1;
	mtu = sock_path_mtu(conn_fd(f), v4);
	if (mtu >= lan->host_mtu[!v4] || mtu >= lan_mtu(lan))
		mtu = 0;
	if (mtu == c->path_mtu)
		return;
	memset(&e, 0, offsetof(struct sock_error, payload));
	e.err = EMSGSIZE;
	e.mtu = mtu;
	if (!mtu || icmp_report(t->tap, t->fwd, guest, &f->side[!conn_tap(f)],
				IPPROTO_TCP, c->rcv_nxt, &e))
		c->path_mtu = (uint16_t)mtu;
}
