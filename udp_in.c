/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * udp_in - datagrams from the guest; internal to udp*.c
 *
 * A burst is sent by one sendmmsg() from where the bytes lie.  Consecutive
 * datagrams of the same size become one UDP_SEGMENT message, until the kernel
 * refuses that.
 */
#include "udp_in.h"

#include "icmp.h"
#include "iov.h"

#include <errno.h>
#include <netinet/in.h>

enum {
	BURST_IOV = 256,
	DGRAM_IOV = 64, /* most pieces of one datagram */
};

/* Datagrams of a flow that are about to be sent together */
struct burst {
	unsigned n, iovs;
	size_t segment;	   /* datagrams of this size may join the last message,
			      0: none may */
	unsigned segments; /* in the last message */
	struct sock_dgram d[SOCK_BATCH];
	struct iovec iov[BURST_IOV];
};

static bool gso(const struct udp *u, struct flow *f)
{
	return u->fwd->env->gso && !dgrams_of(f)->no_gso;
}

/* The host has no route, or forbids it: tell the guest, so that it need not
 * wait.  With @mtu the datagram is too long to be sent without fragments. */
static void refuse(struct udp *u, struct flow *f, const struct sock_dgram *d,
		   int err, uint32_t mtu)
{
	struct sock_error e;

	if (dgrams_of(f)->group)
		return;
	memset(&e, 0, offsetof(struct sock_error, payload));
	e.err = -err;
	e.mtu = mtu;
	e.len = iov_read(d->iov, d->iov_cnt, 0, e.payload, sizeof(e.payload));
	if (mtu) {
		icmp_report(u->tap, u->fwd, guest_of(f), host_of(f),
			    IPPROTO_UDP, 0, &e);
		return;
	}
	if (dgrams_of(f)->dns)
		udp_flow_dns_failed(u, f, false);
	icmp_refuse(&u->limit, u->tap, u->fwd, guest_of(f), IPPROTO_UDP, 0, err,
		    &e);
}

/* A datagram is too long.  If no packet of the host's link could hold it, DF is
 * set only because the guest's link holds more: it is sent in fragments.  A
 * sender whose datagram the path does not hold, or who looks for its MTU, is
 * told. */
static void too_long(struct udp *u, struct flow *f, const struct sock_dgram *d,
		     int err, uint32_t mtu)
{
	bool v4 = addr_is_v4(&host_of(f)->theirs);
	struct sock_ip *ip = &dgrams_of(f)->ip;

	if (lan_exceeds(u->fwd->lan, v4, UDP_HEAD + d->len) &&
	    !sock_ip_probes(*ip) &&
	    sock_send_cut(host_of(f)->fd, v4, ip, d) == 1)
		return;
	refuse(u, f, d, err, mtu);
	udp_flow_drop(u, DROP_TOO_BIG, 1);
}

/* Send the datagrams of a run that was refused one by one */
static void send_apart(struct udp *u, struct flow *f,
		       const struct sock_dgram *run)
{
	int fd = host_of(f)->fd, ret;
	struct iovec iov[DGRAM_IOV];
	struct sock_dgram d = *run;
	uint32_t mtu;
	size_t off;

	d.iov = iov;
	d.gso_size = 0;
	for (off = 0; off < run->len; off += run->gso_size) {
		d.iov_cnt = iov_slice(iov, DGRAM_IOV, run->iov, run->iov_cnt,
				      off, run->gso_size, &d.len);
		ret = sock_send_dgrams(fd, &d, 1);
		if (ret >= 0)
			continue;
		mtu = udp_flow_errors(u, f);
		if (mtu)
			too_long(u, f, &d, ret, mtu);
		else
			udp_flow_drop(u, DROP_SOCKET, 1);
	}
}

static bool refused_run(int err, const struct sock_dgram *d)
{
	return d->gso_size &&
	       (err == -EMSGSIZE || err == -EINVAL || err == -EIO);
}

/* Whether sending was refused because the destination is a subnet's broadcast
 * address; that is allowed then */
static bool asks_broadcast(struct udp *u, struct flow *f, int err)
{
	struct dgrams *x = dgrams_of(f);

	if (err != -EACCES || x->connected || x->group || x->asked)
		return false;
	x->asked = true;
	sock_group(u->fwd->env, host_of(f)->fd,
		   addr_is_v4(&host_of(f)->theirs));
	return true;
}

/* Send what was collected.  An error may be about an earlier datagram: the
 * guest is told, then this one has a second chance. */
static void send_burst(struct udp *u, struct flow *f, struct burst *b)
{
	int fd = host_of(f)->fd, ret;
	bool again = true, asked = false;
	unsigned i = 0;
	uint32_t mtu;

	while (i < b->n) {
		mtu = 0;
		ret = sock_send_dgrams(fd, &b->d[i], b->n - i);
		if (asked && ret > 0) /* it was a broadcast address: many will
					 answer */
			dgrams_of(f)->group = true;
		asked = asks_broadcast(u, f, ret);
		if (asked)
			continue;
		if (ret == -EAGAIN || ret == -ENOBUFS)
			break;
		if (ret < 0 && refused_run(ret, &b->d[i])) {
			dgrams_of(f)->no_gso = true;
			send_apart(u, f, &b->d[i]);
			ret = 1;
		} else if (ret < 0 && again && !(mtu = udp_flow_errors(u, f))) {
			again = false;
			continue;
		} else if (ret < 0 && mtu) {
			too_long(u, f, &b->d[i], ret, mtu);
			ret = 1;
		} else if (ret < 0) {
			refuse(u, f, &b->d[i], ret, 0);
			udp_flow_drop(u, ret == -EMSGSIZE ? DROP_TOO_BIG
							  : DROP_SOCKET, 1);
			ret = 1;
		}
		again = true;
		i += (unsigned)ret;
	}
	udp_flow_drop(u, DROP_SOCKET, b->n - i);
	b->n = b->iovs = b->segments = 0;
	b->segment = 0;
}

static void join(struct burst *b, size_t len, unsigned cnt)
{
	struct sock_dgram *d = &b->d[b->n - 1];

	d->gso_size = (uint16_t)b->segment;
	d->iov_cnt += cnt;
	d->len += len;
	b->iovs += cnt;
	if (len < b->segment || ++b->segments == SOCK_GSO_SEGMENTS)
		b->segment = 0;
}

static bool joins(const struct burst *b, size_t len, unsigned cnt)
{
	const struct sock_dgram *d;

	if (!b->n || !b->segment || !len || len > b->segment)
		return false;
	d = &b->d[b->n - 1];
	return d->len + len <= SOCK_GSO_BYTES &&
	       d->iov_cnt + cnt <= DGRAM_IOV;
}

/* Add @len bytes at @off of @p, as segments of @size if that is not 0 */
static void add(struct udp *u, struct flow *f, struct burst *b,
		const struct packet *p, size_t off, size_t len, uint16_t size)
{
	struct sock_dgram *d;
	unsigned cnt;
	size_t got;

	if (b->n == SOCK_BATCH || b->iovs + DGRAM_IOV > BURST_IOV)
		send_burst(u, f, b);
	cnt = packet_iov(p, off, len, b->iov + b->iovs, DGRAM_IOV, &got);
	if (got != len) {
		udp_flow_drop(u, DROP_TOO_BIG, 1);
		return;
	}
	if (!size && joins(b, len, cnt)) {
		join(b, len, cnt);
		return;
	}
	d = &b->d[b->n++];
	*d = (struct sock_dgram){ .iov = b->iov + b->iovs, .iov_cnt = cnt,
				  .len = len, .gso_size = size };
	if (!dgrams_of(f)->connected) {
		d->to = host_of(f)->theirs;
		d->to_port = host_of(f)->their_port;
	}
	b->iovs += cnt;
	b->segments = 1;
	b->segment = !size && gso(u, f) ? len : 0;
}

/* Most bytes that a message of segments of @size takes */
static size_t run_max(uint16_t size)
{
	size_t n = SOCK_GSO_BYTES / size;

	return MIN(n, (size_t)SOCK_GSO_SEGMENTS) * size;
}

static void add_packet(struct udp *u, struct flow *f, struct burst *b,
		       const struct packet *p)
{
	uint16_t size = p->gso_size;
	size_t off, step, len;

	if (!size || size > SOCK_GSO_BYTES) {
		add(u, f, b, p, 0, p->payload_len, 0);
		return;
	}
	step = gso(u, f) ? run_max(size) : size;
	for (off = 0; off < p->payload_len; off += step) {
		len = MIN(step, p->payload_len - off);
		add(u, f, b, p, off, len, len > size ? size : 0);
	}
}

/* Send what follows with TTL, type of service and DF of @p */
static void send_as(struct udp *u, struct flow *f, struct burst *b,
		    const struct packet *p)
{
	bool v4 = addr_is_v4(&host_of(f)->theirs);
	struct dgrams *x = dgrams_of(f);
	struct sock_ip ip = sock_ip_of(x->ip, v4, p->ttl, p->tos, p->df,
				       p->gso_size ? p->gso_size
						   : p->payload_len);

	if (sock_ip_equal(&ip, &x->ip))
		return;
	send_burst(u, f, b);
	sock_set_ip(host_of(f)->fd, v4, &x->ip, ip);
	if (ip.tos && !x->hears_tos)
		udp_flow_hear_tos(f);
}

static bool is_like(const struct packet *p, const struct packet *last)
{
	return p->sent_as == last->sent_as &&
	       p->payload_len == last->payload_len &&
	       p->gso_size == last->gso_size;
}

struct packet *udp_in_burst(void *owner, struct flow *f, struct packet *list)
{
	const struct packet *last = NULL, *first = list;
	struct dgrams *x = dgrams_of(f);
	struct udp *u = owner;
	struct burst b;
	unsigned n = 0;

	if (UNLIKELY(x->elsewhere)) {
		udp_flow_end(u, f);
		return list;
	}
	b.n = b.iovs = b.segments = 0;
	b.segment = 0;
	for (; list; list = list->next, n++) {
		x->bytes[!x->host] += list->payload_len;
		if (!last || !is_like(list, last))
			send_as(u, f, &b, list);
		last = list;
		if (list->ttl)
			add_packet(u, f, &b, list);
		else
			udp_flow_drop(u, DROP_UNWANTED, 1);
	}
	send_burst(u, f, &b);
	if (UNLIKELY(x->group))
		for (; first; first = first->next)
			mcast_sock_sent(&u->mcast, host_of(f), first);
	udp_flow_active(u, f, !x->host, n);
	return NULL;
}
