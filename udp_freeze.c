/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * udp_freeze - datagram flows as sections of a state
 *
 * How many datagrams have come lately is counted anew.
 */
#include "udp_freeze.h"

#include "freeze.h"
#include "udp_flow.h"

/* Part of the format */
enum { CONNECTED = 1, GROUP = 2, ASKED = 4, GRO = 8, NO_GSO = 16, DNS = 32,
       ELSEWHERE = 64, LONE = 128, HEARS_TOS = 256 };

static uint16_t flags_of(const struct flow *f, const struct dgrams *x)
{
	return (uint16_t)((x->connected ? CONNECTED : 0) |
			  (x->group ? GROUP : 0) | (x->asked ? ASKED : 0) |
			  (x->gro ? GRO : 0) | (x->no_gso ? NO_GSO : 0) |
			  (x->dns ? DNS : 0) | (x->elsewhere ? ELSEWHERE : 0) |
			  (f->lone_prev ? LONE : 0) |
			  (x->hears_tos ? HEARS_TOS : 0));
}

void udp_freeze(void *owner, struct flow *f, struct wr *w)
{
	const struct dgrams *x = dgrams_of(f);
	struct udp *u = owner;

	freeze_due(u->flows, w, f->timer.due_ms);
	freeze_due(u->flows, w, x->dns_due);
	wr_bytes(w, x->mac.b, sizeof(x->mac.b));
	wr_be16(w, flags_of(f, x));
	wr_u8(w, x->ip.ttl);
	wr_u8(w, x->ip.tos);
	wr_u8(w, x->ip.df);
	wr_u8(w, x->host);
	wr_u8(w, x->count[0]);
	wr_u8(w, x->count[1]);
	wr_u8(w, x->last);
	wr_be16(w, x->want);
	wr_be16(w, x->size);
	wr_be32(w, x->fresh);
	wr_be64(w, x->bytes[0]);
	wr_be64(w, x->bytes[1]);
}

static void get_flags(struct dgrams *x, unsigned flags)
{
	x->connected = flags & CONNECTED;
	x->group = flags & GROUP;
	x->asked = flags & ASKED;
	x->gro = flags & GRO;
	x->no_gso = flags & NO_GSO;
	x->dns = flags & DNS;
	x->elsewhere = flags & ELSEWHERE;
	x->hears_tos = flags & HEARS_TOS;
}

bool udp_thaw(void *owner, struct flow *f, struct rd *r)
{
	struct dgrams *x = dgrams_of(f);
	struct udp *u = owner;
	uint64_t due = thaw_due(u->flows, r);
	unsigned flags;

	x->dns_due = thaw_due(u->flows, r);
	rd_copy(r, x->mac.b, sizeof(x->mac.b));
	flags = rd_be16(r);
	get_flags(x, flags);
	x->ip.ttl = rd_u8(r);
	x->ip.tos = rd_u8(r);
	x->ip.df = rd_u8(r);
	x->host = rd_u8(r) & 1;
	x->heard = x->host && fwd_may_hear(u->fwd, host_of(f));
	x->count[0] = rd_u8(r);
	x->count[1] = rd_u8(r);
	x->last = rd_u8(r);
	x->want = rd_be16(r);
	x->size = rd_be16(r);
	x->fresh = rd_be32(r);
	x->bytes[0] = rd_be64(r);
	x->bytes[1] = rd_be64(r);
	if (!rd_ok(r) || host_of(f)->fd < 0 || guest_of(f)->pif != PIF_TAP)
		return false;
	flow_timer(u->flows, f, due);
	if (flags & LONE)
		flow_lone(u->flows, f);
	return true;
}
