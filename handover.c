/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * handover - all that a process has, as sections of a state and descriptors,
 * and back
 *
 * Not everything is handed over: neighbours, resolvers, bound ports and what
 * the host's links look like are asked for again.
 */
#include "handover.h"

#include "freeze.h"
#include "tcp_freeze.h"

#include <errno.h>
#include <unistd.h>

enum { NAME = 16 }; /* IFNAMSIZ */

/* --- the guest's link ---------------------------------------------------- */

static void put_addr(struct wr *w, const struct addr *a)
{
	freeze_addr(w, a);
}

static void put_names(struct wr *w, const struct addr name[2][FWD_NAMES])
{
	unsigned i, k;

	for (i = 0; i < 2; i++)
		for (k = 0; k < FWD_NAMES; k++)
			put_addr(w, &name[i][k]);
}

static void get_names(struct rd *r, struct addr name[2][FWD_NAMES])
{
	unsigned i, k;

	for (i = 0; i < 2; i++)
		for (k = 0; k < FWD_NAMES; k++)
			thaw_addr(r, &name[i][k]);
}

static void put_copies(struct wr *w, const struct addrset *s)
{
	unsigned i;

	wr_be32(w, s->n);
	for (i = 0; i < s->size; i++)
		if (!addr_is_none(&s->slot[i]))
			put_addr(w, &s->slot[i]);
}

static bool get_copies(struct rd *r, struct addrset *s)
{
	unsigned n = rd_be32(r);
	struct addr a;

	while (n-- && rd_ok(r)) {
		thaw_addr(r, &a);
		if (rd_ok(r) && !addrset_add(s, &a))
			return false;
	}
	return true;
}

void handover_lan(const struct handover *h, struct wr *w)
{
	const struct fwd_map *map = &h->plan->map;
	const struct lan *l = &h->plan->lan;

	wr_u8(w, l->v4);
	wr_u8(w, l->v6);
	wr_bytes(w, l->mac.b, sizeof(l->mac.b));
	wr_be16(w, l->mtu);
	put_addr(w, &l->guest4);
	put_addr(w, &l->guest6);
	wr_u8(w, (uint8_t)l->prefix4);
	put_addr(w, &l->gw4);
	put_addr(w, &l->gw6);
	put_addr(w, &l->our4);
	put_addr(w, &l->our_ll6);
	wr_be32(w, l->duid_time);
	put_names(w, map->host_loopback);
	put_names(w, map->guest_addr);
	put_addr(w, &map->dns.match[0]);
	put_addr(w, &map->dns.match[1]);
	wr_bytes(w, h->ns_ifname, NAME);
	put_copies(w, &l->copies);
}

bool handover_load_lan(const struct handover *h, struct rd *r)
{
	struct fwd_map *map = &h->plan->map;
	struct lan *l = &h->plan->lan;

	l->v4 = rd_u8(r) & 1;
	l->v6 = rd_u8(r) & 1;
	rd_copy(r, l->mac.b, sizeof(l->mac.b));
	l->mtu = rd_be16(r);
	thaw_addr(r, &l->guest4);
	thaw_addr(r, &l->guest6);
	l->prefix4 = rd_u8(r);
	thaw_addr(r, &l->gw4);
	thaw_addr(r, &l->gw6);
	thaw_addr(r, &l->our4);
	thaw_addr(r, &l->our_ll6);
	l->duid_time = rd_be32(r);
	get_names(r, map->host_loopback);
	get_names(r, map->guest_addr);
	thaw_addr(r, &map->dns.match[0]);
	thaw_addr(r, &map->dns.match[1]);
	rd_copy(r, h->ns_ifname, NAME);
	h->ns_ifname[NAME - 1] = '\0';
	return get_copies(r, &l->copies) && rd_ok(r) && l->prefix4 <= 32;
}

/* --- what is saved ------------------------------------------------------- */

/* Sections are saved in this order.  Flows come after the listeners, as ports
 * of datagrams are counted. */
enum { LINK, RINGS, SOCKETS, CAPTURE, RULES, LISTENERS, KEY, NAMES, RESOLVERS, FLOWS, TCP, GUEST,
       TRANSFERS, END };

/* Forget the descriptors of the last flow */
static void no_descriptors(struct handover *h)
{
	memset(h->side, -1, sizeof(h->side));
	memset(h->pipe, -1, sizeof(h->pipe));
}

void handover_begin(struct handover *h)
{
	h->step = h->at = 0;
	h->whole = h->linked = false;
	h->last = NULL;
	no_descriptors(h);
}

static bool is_vhost(const struct handover *h)
{
	return h->conf->mode == MODE_VHOST;
}

/* Whether something is under way that ends soon and cannot be handed over */
static bool is_busy(const struct handover *h)
{
	if (is_vhost(h) && h->migrate->step != MIGRATE_IDLE)
		return true;
	return listen_busy(h->listen);
}

static int save_link(const struct handover *h, struct wr *w,
		     struct fdlist *fds)
{
	size_t at = state_begin(w, STATE_LINK);

	/* if everything is spliced there is no transport */
	if (is_busy(h) || (h->tap->ops && !h->tap->ops->save(h->tap, w, fds)))
		return -EAGAIN;
	state_end(w, at);
	return 0;
}

/* Save some rings; true: those were all */
static bool save_rings(struct handover *h, struct wr *w, struct fdlist *fds)
{
	size_t at;

	if (!is_vhost(h))
		return true;
	at = state_begin(w, STATE_RINGS);
	h->at = tap_vhost_save_rings(h->vhost, h->at, w, fds);
	state_end(w, at);
	return !h->at;
}

static void save_sockets(const struct handover *h, struct wr *w,
			 struct fdlist *fds)
{
	size_t at = state_begin(w, STATE_SOCKETS);
	unsigned i;

	for (i = 0; i < HANDOVER_SOCKETS; i++) {
		if (*h->socket[i] < 0 || i == HANDOVER_CAPTURE)
			continue;
		wr_u8(w, (uint8_t)i);
		fdlist_put(fds, *h->socket[i]);
	}
	state_end(w, at);
}

static void save_capture(const struct handover *h, struct wr *w,
			 struct fdlist *fds)
{
	size_t at;

	if (h->pcap->fd < 0)
		return;
	at = state_begin(w, STATE_CAPTURE);
	pcap_save(h->pcap, w, fds);
	state_end(w, at);
}

static enum pif last_pif(const struct handover *h)
{
	return h->splice ? PIF_SPLICE : PIF_HOST;
}

static enum pif next_pif(const struct handover *h)
{
	return h->at ? last_pif(h) : PIF_HOST;
}

/* Save the rules of a side; true: those of both sides were saved */
static bool save_rules(struct handover *h, struct wr *w)
{
	enum pif pif = next_pif(h);
	size_t at = state_begin(w, STATE_RULES);

	listen_save_rules(h->listen, pif, w);
	state_end(w, at);
	h->at = 1;
	return pif == last_pif(h);
}

/* Save some listeners; true: those were all.  @at is a slot, plus one for each
 * side that was completed. */
static bool save_listeners(struct handover *h, struct wr *w,
			   struct fdlist *fds)
{
	enum { SIDE = 1 << 30 };
	enum pif pif = h->at & SIDE ? PIF_SPLICE : PIF_HOST;
	size_t at = state_begin(w, STATE_LISTENERS);
	unsigned next;

	next = listen_save(h->listen, pif, h->at & (SIDE - 1), w, fds);
	state_end(w, at);
	if (!next && pif == last_pif(h))
		return true;
	if (next)
		h->at = (h->at & SIDE) | next;
	else
		h->at = SIDE;
	return false;
}

static void save_key(const struct handover *h, struct wr *w)
{
	size_t at = state_begin(w, STATE_KEY);

	wr_bytes(w, &h->flows->key, sizeof(h->flows->key));
	state_end(w, at);
}

/* Save some names; true: those were all */
static bool save_names(struct handover *h, struct wr *w)
{
	const struct egress_view *v = &h->fwd->view;
	size_t at;

	if (!v->heard)
		return true;
	at = state_begin(w, STATE_NAMES);
	h->at = egress_save(&h->conf->egress, v->heard, h->at, *v->now_ms, w);
	state_end(w, at);
	return !h->at;
}

static void save_resolvers(const struct handover *h, struct wr *w)
{
	size_t at = state_begin(w, STATE_RESOLVERS);

	fwd_save_asked(h->fwd, w);
	state_end(w, at);
}

static bool find_flow(struct handover *h)
{
	while (h->at < h->flows->fresh &&
	       h->flows->flow[h->at].kind == FLOW_FREE)
		h->at++;
	return h->at < h->flows->fresh;
}

/* Write a bit for each descriptor that there is, in this order: sides, then the
 * ends of the pipe of each way */
static void put_all(struct wr *w, struct fdlist *fds, const int *fd,
		    unsigned n)
{
	unsigned bits = 0, i;

	for (i = 0; i < n; i++)
		if (fd[i] >= 0) {
			bits |= 1U << i;
			fdlist_put(fds, fd[i]);
		}
	wr_u8(w, (uint8_t)bits);
}

static void save_descriptors(const struct handover *h, struct wr *w,
			     struct fdlist *fds)
{
	const struct flow *f = &h->flows->flow[h->at];
	size_t at = state_begin(w, STATE_DESCRIPTORS);
	int fd[2 + 4] = { f->side[0].fd, f->side[1].fd, -1, -1, -1, -1 };

	if (f->kind == FLOW_SPLICE)
		splice_pipes(f, (int(*)[2])(fd + 2));
	put_all(w, fds, fd, ARRAY_SIZE(fd));
	state_end(w, at);
}

static int save_flow(struct handover *h, struct wr *w)
{
	struct flow *f = &h->flows->flow[h->at++];
	const struct fwd_told *told = fwd_told(h->fwd, f);
	size_t at;

	if (!freeze_flow(h->flows, f, w))
		return -ENOBUFS;
	if (told) {
		at = state_begin(w, STATE_TOLD);
		fwd_save_told(told, w);
		state_end(w, at);
	}
	return 0;
}

static void save_tcp(const struct handover *h, struct wr *w)
{
	size_t at = state_begin(w, STATE_TCP);

	tcp_save(h->tcp, w);
	state_end(w, at);
}

static void save_guest(const struct handover *h, struct wr *w)
{
	size_t at = state_begin(w, STATE_GUEST);

	guest_save(h->guest, w);
	state_end(w, at);
}

/* Behind everything else that has descriptors: an older version takes none of
 * these */
static void save_transfers(const struct handover *h, struct wr *w,
			   struct fdlist *fds)
{
	const struct tftp *t = &h->guest->tftp;
	size_t at;

	if (t->dir < 0)
		return;
	at = state_begin(w, STATE_TRANSFERS);
	tftp_save(t, w, fds);
	state_end(w, at);
}

static void go(struct handover *h, unsigned step)
{
	h->step = step;
	h->at = 0;
}

/* Save one of the other sections, which can fail only for want of room; true if
 * it was the last of its kind */
static bool save_other(struct handover *h, struct wr *w, struct fdlist *fds)
{
	switch (h->step) {
	case RINGS:
		return save_rings(h, w, fds);
	case SOCKETS:
		save_sockets(h, w, fds);
		return true;
	case CAPTURE:
		save_capture(h, w, fds);
		return true;
	case RULES:
		return save_rules(h, w);
	case LISTENERS:
		return save_listeners(h, w, fds);
	case KEY:
		save_key(h, w);
		return true;
	case NAMES:
		return save_names(h, w);
	case RESOLVERS:
		save_resolvers(h, w);
		return true;
	case TCP:
		save_tcp(h, w);
		return true;
	case GUEST:
		save_guest(h, w);
		return true;
	case TRANSFERS:
		save_transfers(h, w, fds);
		return true;
	default:
		state_end(w, state_begin(w, STATE_END));
		return true;
	}
}

/* Save the descriptors of the next flow, then the flow: 0 or -errno */
static int save_next_flow(struct handover *h, struct wr *w,
			  struct fdlist *fds)
{
	if (!find_flow(h)) {
		go(h, TCP);
		return 0;
	}
	save_descriptors(h, w, fds);
	return save_flow(h, w);
}

int handover_save(struct handover *h, struct wr *w, struct fdlist *fds)
{
	unsigned step = h->step;
	int err = 0;

	if (step == LINK) {
		err = save_link(h, w, fds);
		if (!err)
			go(h, RINGS);
	} else if (step == FLOWS) {
		err = save_next_flow(h, w, fds);
	} else if (save_other(h, w, fds)) {
		go(h, step + 1);
	}
	if (!err && (!wr_ok(w) || fds->bad))
		err = -ENOBUFS;
	return err ? err : step != END;
}

/* --- what is loaded ------------------------------------------------------ */

static int load_link(struct handover *h, struct rd *r, struct fdlist *fds)
{
	int err = 0;

	if (h->conf->splice_only)
		err = 0;
	else if (h->conf->mode == MODE_PASTA)
		err = tap_tun_load(h->tun, r, fds);
	else if (is_vhost(h))
		err = tap_vhost_load(h->vhost, r, fds);
	else
		err = tap_stream_load(h->stream, r, fds);
	h->linked = !err;
	return err;
}

static int load_sockets(struct handover *h, struct rd *r, struct fdlist *fds)
{
	unsigned i;
	int fd;

	while (rd_left(r)) {
		i = rd_u8(r);
		fd = fdlist_take(fds);
		if (i >= HANDOVER_CAPTURE || *h->socket[i] >= 0)
			close(fd); /* of a newer version, or there is one
				      already */
		else
			*h->socket[i] = fd;
	}
	return 0;
}

static int load_descriptors(struct handover *h, struct rd *r,
			    struct fdlist *fds)
{
	unsigned bits = rd_u8(r), i;
	int *fd;

	for (i = 0; i < 6; i++) {
		fd = i < 2 ? &h->side[i] : &h->pipe[(i - 2) / 2][i % 2];
		*fd = bits >> i & 1 ? fdlist_take(fds) : -1;
	}
	return 0;
}

static int load_flow(struct handover *h, struct rd *r)
{
	struct flow *f = thaw_flow(h->flows, r, h->side);

	if (!f)
		return -EPROTO;
	if (f->kind == FLOW_SPLICE && !splice_adopt(h->splice, f, h->pipe))
		return -EPROTO;
	no_descriptors(h);
	h->last = f;
	return 0;
}

static int load_told(const struct handover *h, struct rd *r)
{
	if (!h->last)
		return -EPROTO;
	fwd_load_told(h->fwd, h->last, r);
	return 0;
}

static int load_key(struct handover *h, struct rd *r)
{
	rd_copy(r, &h->flows->key, sizeof(h->flows->key));
	return 0;
}

static int load_names(struct handover *h, struct rd *r)
{
	const struct egress_view *v = &h->fwd->view;

	if (v->heard)
		egress_load(&h->conf->egress, v->heard, *v->now_ms, r);
	return 0;
}

static int load_one(struct handover *h, uint32_t tag, struct rd *body,
		    struct fdlist *fds)
{
	switch (tag) {
	case STATE_LINK:
		return load_link(h, body, fds);
	case STATE_RINGS:
		return is_vhost(h) ? tap_vhost_load_rings(h->vhost, body, fds) :
				     -EPROTO;
	case STATE_SOCKETS:
		return load_sockets(h, body, fds);
	case STATE_CAPTURE:
		return pcap_load(h->pcap, body, fds, h->conf->pcap[0],
				 h->conf->capture.program);
	case STATE_RULES:
		return listen_load_rules(h->listen, body) ? 0 : -EPROTO;
	case STATE_LISTENERS:
		return listen_load(h->listen, body, fds);
	case STATE_KEY:
		return load_key(h, body);
	case STATE_NAMES:
		return load_names(h, body);
	case STATE_RESOLVERS:
		fwd_load_asked(h->fwd, body);
		return 0;
	case STATE_TOLD:
		return load_told(h, body);
	case STATE_DESCRIPTORS:
		return load_descriptors(h, body, fds);
	case STATE_FLOW:
		return load_flow(h, body);
	case STATE_TCP:
		tcp_load(h->tcp, body);
		return 0;
	case STATE_GUEST:
		guest_load(h->guest, body);
		return 0;
	case STATE_TRANSFERS:
		return tftp_load(&h->guest->tftp, body, fds) ? 0 : -EPROTO;
	case STATE_END:
		h->whole = true;
		return 0;
	default: /* of a newer version, which does not depend on it */
		return 0;
	}
}

void handover_given(struct handover *h)
{
	pcap_given(h->pcap);
}

int handover_load(struct handover *h, uint32_t tag, struct rd *body,
		  struct fdlist *fds)
{
	int err = load_one(h, tag, body, fds);

	return err ? err : !rd_ok(body) || fds->bad ? -EPROTO : 0;
}
