/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * udp - datagrams between a flow's two sides, coalesced and split as offload
 * allows
 *
 * Every flow has a socket of its own.  That of a listener's flow is connected.
 * That of the guest's own question is not until many datagrams a second come or
 * go, when the kernel is to look where each comes from: who was asked may answer
 * from another port (TFTP), and others may call (SIP, games), as they could a
 * program of the host (RFC 4787: endpoint-independent filtering).  What comes
 * from such a stranger has no flow before the guest answers.  From the guest, a burst is one
 * sendmmsg() from where the bytes lie; neighbours of one size become one
 * UDP_SEGMENT message until the kernel refuses.  To the guest, datagrams are
 * received straight into slots whose size follows what the flow has shown so
 * far; behind each slot lies a spill, so a longer one is copied once, not lost.
 * Where the guest takes runs, and the last batch was of one size, they are
 * received side by side into one slot.
 *
 * A listener sees only the first datagrams of a flow: they are copied.  So are
 * those that a new socket caught between bind() and connect(), which may belong
 * to others, what comes back to a socket that sends to a group, and strangers'.
 */
#include "udp.h"

#include "icmp.h"
#include "iov.h"
#include "log.h"

#include <linux/virtio_net.h>

#include <assert.h>
#include <errno.h>
#include <netinet/in.h>

enum {
	WANT = 2048,	     /* room at first: an Ethernet's datagram */
	WANT_MAX = 65527,    /* an IPv6 packet without jumbo option */
	ROUNDS = 4,	     /* batches of a listener, then others have theirs */
	DGRAM_COST = 256,    /* bytes of a turn besides those of the payload */
	SUMMED_MAX = 576,    /* longer ones are the guest's kernel's to sum */
	MANY = 256,	     /* datagrams in this time: no more strangers */
	MANY_MS = 1000,
	DNS_WAIT_MS = 2000,  /* stub resolvers wait for 5 s */
	BURST_IOV = 256,
	DGRAM_IOV = 64,	     /* most pieces of one datagram */
};

struct dgrams {
	struct mac mac;	  /* whom the guest takes its peer for */
	uint8_t ttl;	  /* of the socket now, 0: unknown */
	uint8_t host;	  /* which side is the host's */
	uint8_t count[2]; /* datagrams that each side sent, up to 2 */
	uint8_t last;	  /* how many the last read gave */
	bool connected;	  /* the socket */
	bool group;	  /* it sends to many */
	bool asked;	  /* whether it may, and it did not help */
	bool gro, no_gso;
	uint16_t recent;  /* datagrams since @recent_ms, if not connected */
	uint32_t recent_ms;
	unsigned fresh;	  /* so many may have come before connect() */
	uint16_t want;	  /* room for one datagram, or run */
	uint16_t size;	  /* of each in the last batch, 0: they differed */
	bool dns;	  /* the host's side is a resolver */
	bool elsewhere;	  /* which is silent, and there is another one */
	uint64_t dns_due; /* when to give up waiting for it, 0: not waiting */
	uint64_t bytes[2]; /* that each side has sent */
};
static_assert(sizeof(struct dgrams) <= FLOW_PRIV, "private data of a flow");

static struct dgrams *dgrams_of(struct flow *f)
{
	return (struct dgrams *)(void *)f->priv;
}

static struct side *host_of(struct flow *f)
{
	return &f->side[dgrams_of(f)->host];
}

static struct side *guest_of(struct flow *f)
{
	return &f->side[!dgrams_of(f)->host];
}

static void drop(struct udp *u, enum verdict v, unsigned n)
{
	u->drops[v] += n;
	if (n)
		tap_verdict(u->tap, v);
}

static void finish(struct udp *u, struct flow *f)
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

/* @n more: if they are many the kernel looks where each comes from */
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

static void keep_alive(struct udp *u, struct flow *f, unsigned i, unsigned n)
{
	struct dgrams *x = dgrams_of(f);

	if (!x->connected && !x->group)
		count_recent(u, f, n);
	udp_keep_alive(u->flows, &u->patience, f, x->count, i, n);
	if (n && i == x->host)
		flow_answered(u->flows, f);
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

/* What is asked next opens a flow to another resolver */
static void dns_failed(struct udp *u, struct flow *f, bool silent)
{
	struct dgrams *x = dgrams_of(f);

	x->dns_due = 0;
	x->elsewhere = fwd_dns_failed(u->fwd, IPPROTO_UDP, guest_of(f),
				      host_of(f), silent);
}

/* The flow of what is between @port of ours and @theirs, NULL.  Ours is an address
 * of the host, or any: so are the sockets bound. */
static struct flow *find(const struct udp *u, struct side *key, unsigned *i)
{
	struct flow *f = flow_find(u->flows, IPPROTO_UDP, key, i);

	if (f)
		return f;
	key->ours = addr_any(addr_is_v4(&key->theirs));
	return flow_find(u->flows, IPPROTO_UDP, key, i);
}

/* Whom an error of @f's socket is about.  Of several that are not connected and
 * have one port, the kernel tells the last one. */
static struct flow *concerned(const struct udp *u, struct flow *f,
			      const struct sock_error *e)
{
	struct side key = { .ours = host_of(f)->ours, .theirs = e->to,
			    .our_port = host_of(f)->our_port,
			    .their_port = e->to_port, .pif = PIF_HOST };
	unsigned i;

	if (dgrams_of(f)->connected || dgrams_of(f)->group || !e->icmp)
		return f;
	f = find(u, &key, &i);
	return f && f->kind == FLOW_UDP ? f : NULL;
}

static void drain_errors(struct udp *u, struct flow *f)
{
	struct sock_error e;
	struct flow *of;

	f->ready[dgrams_of(f)->host] &= (uint16_t)~READY_ERR;
	while (sock_error_next(host_of(f)->fd, &e)) {
		of = concerned(u, f, &e);
		if (!of)
			continue;
		if (dgrams_of(of)->dns && e.err != EMSGSIZE)
			dns_failed(u, of, false);
		/* Nobody answers for a group (RFC 1122, 3.2.2) */
		if (!dgrams_of(of)->group)
			icmp_report(u->tap, u->fwd, guest_of(of), host_of(of),
				    IPPROTO_UDP, 0, &e);
	}
}

/* --- from the guest ----------------------------------------------------- */

/* Datagrams of one flow and one TTL, about to be sent */
struct burst {
	unsigned n, iovs;
	size_t segment;	   /* size that joins the last one, 0: none does */
	unsigned segments; /* in the last one */
	struct sock_dgram d[SOCK_BATCH];
	struct iovec iov[BURST_IOV];
};

static bool gso(const struct udp *u, struct flow *f)
{
	return u->fwd->env->gso && !dgrams_of(f)->no_gso;
}

/* What a refused run was made of, each for itself */
static void send_apart(struct udp *u, int fd, const struct sock_dgram *run)
{
	struct iovec iov[DGRAM_IOV];
	struct sock_dgram d = *run;
	size_t off;

	d.iov = iov;
	d.gso_size = 0;
	for (off = 0; off < run->len; off += run->gso_size) {
		d.iov_cnt = iov_slice(iov, DGRAM_IOV, run->iov, run->iov_cnt,
				      off, run->gso_size, &d.len);
		if (sock_send_dgrams(fd, &d, 1) < 0)
			drop(u, DROP_SOCKET, 1);
	}
}

static bool refused_run(int err, const struct sock_dgram *d)
{
	return d->gso_size &&
	       (err == -EMSGSIZE || err == -EINVAL || err == -EIO);
}

/* Whether it may be a subnet's broadcast address, now that we ask to send there */
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

/* The host has no way there, or forbids it: then the guest need not wait */
static void refuse(struct udp *u, struct flow *f, const struct sock_dgram *d,
		   int err)
{
	struct sock_error e;

	if (dgrams_of(f)->dns)
		dns_failed(u, f, false);
	if (dgrams_of(f)->group)
		return;
	e.mtu = 0;
	e.len = iov_read(d->iov, d->iov_cnt, 0, e.payload, sizeof(e.payload));
	icmp_refuse(&u->limit, u->tap, u->fwd, guest_of(f), IPPROTO_UDP, 0, err,
		    &e);
}

/* An error may be about an earlier datagram: the guest is told, then this one
 * has a second chance */
static void send_burst(struct udp *u, struct flow *f, struct burst *b)
{
	int fd = host_of(f)->fd, ret;
	bool again = true, asked = false;
	unsigned i = 0;

	while (i < b->n) {
		ret = sock_send_dgrams(fd, &b->d[i], b->n - i);
		if (asked && ret > 0) /* its members will answer */
			dgrams_of(f)->group = true;
		asked = asks_broadcast(u, f, ret);
		if (asked)
			continue;
		if (ret == -EAGAIN || ret == -ENOBUFS)
			break;
		if (ret < 0 && refused_run(ret, &b->d[i])) {
			dgrams_of(f)->no_gso = true;
			send_apart(u, fd, &b->d[i]);
			ret = 1;
		} else if (ret < 0 && again) {
			drain_errors(u, f);
			again = false;
			continue;
		} else if (ret < 0) {
			refuse(u, f, &b->d[i], ret);
			drop(u, ret == -EMSGSIZE ? DROP_TOO_BIG : DROP_SOCKET,
			     1);
			ret = 1;
		}
		again = true;
		i += (unsigned)ret;
	}
	drop(u, DROP_SOCKET, b->n - i);
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

/* @len bytes at @off of @p, segments of @size if that is set */
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
		drop(u, DROP_TOO_BIG, 1);
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

/* Most segments of @size that one message takes */
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

static struct packet *input(void *owner, struct flow *f, struct packet *list)
{
	bool v4 = addr_is_v4(&host_of(f)->theirs);
	struct dgrams *x = dgrams_of(f);
	struct udp *u = owner;
	struct burst b;
	unsigned n = 0;

	if (UNLIKELY(x->elsewhere)) {
		finish(u, f);
		return list;
	}
	b.n = b.iovs = b.segments = 0;
	b.segment = 0;
	for (; list; list = list->next, n++) {
		x->bytes[!x->host] += list->payload_len;
		if (list->ttl != x->ttl) {
			send_burst(u, f, &b);
			x->ttl = list->ttl;
			sock_ttl(host_of(f)->fd, v4, x->ttl);
		}
		if (list->ttl)
			add_packet(u, f, &b, list);
		else
			drop(u, DROP_UNWANTED, 1);
	}
	send_burst(u, f, &b);
	keep_alive(u, f, !x->host, n);
	return NULL;
}

/* --- to the guest ------------------------------------------------------- */

static struct head head_for(const struct udp *u, struct flow *f)
{
	const struct side *g = guest_of(f);

	flow_answers(f);
	return (struct head){
		.src = dgrams_of(f)->mac, .dst = u->fwd->seen->mac,
		.t = { .src = g->ours, .dst = g->theirs, .sport = g->our_port,
		       .dport = g->their_port, .proto = IPPROTO_UDP },
		.bulk = f->heavy,
	};
}

/* So much has come for the guest */
static void count_in(struct flow *f, size_t len)
{
	dgrams_of(f)->bytes[dgrams_of(f)->host] += len;
}

static bool fits(const struct udp *u, const struct head *h, size_t len,
		 uint16_t gso_size)
{
	size_t one = gso_size ? gso_size : len;

	return head_len(&h->t) + UDP_HEAD + one <= u->tap->caps.frame_max;
}

/* One for the guest, or a run */
static void lose(struct udp *u, enum verdict v, const struct head *h,
		 const void *p, size_t len)
{
	struct iovec iov[2] = { [1] = { (void *)(uintptr_t)p, len } };
	uint8_t head[HEAD_MAX];
	struct note n;

	drop(u, v, 1);
	if (!tap_explains(u->tap))
		return;
	iov[0] = (struct iovec){ head, packet_put_udp(head, h, len, &n) };
	tap_lost(u->tap, v, iov, 2, iov[0].iov_len + len, &n);
}

/* One that is for nobody: as the host has it */
static void lose_stranger(struct udp *u, enum verdict v, uint16_t port,
			  const struct sock_dgram *d, const void *p)
{
	struct head h = {
		.t = { .src = d->from, .dst = d->to, .sport = d->from_port,
		       .dport = port, .proto = IPPROTO_UDP },
	};

	lose(u, v, &h, p, d->len);
}

static void commit(struct udp *u, const struct head *h, struct slot *s,
		   size_t len, uint16_t gso_size)
{
	struct note n;
	size_t head = packet_put_udp(s->head, h, len, &n);

	if (gso_size && len > gso_size) {
		n.gso_type = VIRTIO_NET_HDR_GSO_UDP_L4;
		n.gso_size = gso_size;
	} else if (len <= SUMMED_MAX) {
		packet_finish_udp(s->head + head - UDP_HEAD,
				  len ? s->body[0].iov_base : NULL, len);
		n = (struct note){ 0 };
	}
	s->bulk = h->bulk;
	tap_commit(u->tap, s, len, &n);
}

/* One datagram, or a run in as many pieces as the slots ask for, that lies
 * somewhere else.  What finds no room is lost. */
static void copy_out(struct udp *u, const struct head *h, const uint8_t *p,
		     size_t len, uint16_t gso_size)
{
	size_t head = head_len(&h->t) + UDP_HEAD, n;
	struct slot s;

	if (!fits(u, h, len, gso_size)) {
		lose(u, DROP_TOO_BIG, h, p, len);
		return;
	}
	do {
		if (!tap_reserve(u->tap, &s, 1, head, len, 0)) {
			lose(u, DROP_NO_ROOM, h, p, len);
			return;
		}
		n = len;
		if (n > s.room)
			n = gso_size ? s.room - s.room % gso_size : 0;
		if (!n && len) {
			tap_cancel(u->tap, &s);
			lose(u, DROP_NO_ROOM, h, p, len);
			return;
		}
		iov_write(s.body, s.body_cnt, 0, p, n);
		commit(u, h, &s, n, gso_size);
		p += n;
		len -= n;
	} while (len);
}

static bool has_peer(const struct side *host, const struct sock_dgram *d)
{
	return d->from_port == host->their_port &&
	       addr_equal(&d->from, &host->theirs);
}

/* What came to the socket of @f from somebody else */
static void from_other(struct udp *u, struct flow *f,
		       const struct sock_dgram *d, uint8_t *p);

/* The first of these did not fit its slot, or is not of this flow: all move to
 * where the spill is */
static void spilled(struct udp *u, struct flow *f, struct slot *s,
		    const struct sock_dgram *d, unsigned from, unsigned n)
{
	const struct head h = head_for(u, f);
	size_t most = 0;
	unsigned k;

	for (k = from; k < n; k++) {
		iov_read(s[k].body, s[k].body_cnt, 0, u->rx[k],
			 MIN(s[k].room, d[k].len));
		tap_cancel(u->tap, &s[k]);
		most = MAX(most, d[k].len);
	}
	for (k = from; k < n; k++)
		if (dgrams_of(f)->connected || has_peer(host_of(f), &d[k])) {
			copy_out(u, &h, u->rx[k], d[k].len, d[k].gso_size);
			count_in(f, d[k].len);
		} else {
			from_other(u, f, &d[k], u->rx[k]);
		}
	while (dgrams_of(f)->want < MIN(most, (size_t)WANT_MAX))
		dgrams_of(f)->want = (uint16_t)MIN(dgrams_of(f)->want * 2,
						   WANT_MAX);
}

static unsigned prepare(struct udp *u, struct flow *f, struct slot *s,
			struct sock_dgram *d, struct iovec iov[][2])
{
	struct dgrams *x = dgrams_of(f);
	struct tuple t = { .src = guest_of(f)->ours };
	unsigned n = MIN(2U * x->last + 2, (unsigned)UDP_BATCH), k;

	n = tap_reserve(u->tap, s, n, head_len(&t) + UDP_HEAD, x->want, 0);
	for (k = 0; k < n; k++) {
		size_t room = MIN(s[k].room, (size_t)UDP_RX);

		iov[k][0] = (struct iovec){ s[k].body[0].iov_base, room };
		iov[k][1] = (struct iovec){ u->rx[k] + room, UDP_RX - room };
		d[k] = (struct sock_dgram){ .iov = iov[k], .iov_cnt = 2 };
	}
	return n;
}

/* @n were asked for, @got is what the socket gave */
static int received(struct flow *f, int got, unsigned n)
{
	struct dgrams *x = dgrams_of(f);
	unsigned end = got > 0 ? (unsigned)got : 0;

	if (got < 0 && got != -EAGAIN)
		return got;
	x->last = (uint8_t)end;
	if (end < n)
		f->ready[x->host] &= (uint16_t)~READY_IN;
	return (int)end;
}

/* A slot in which datagrams of one size will lie side by side */
static unsigned prepare_run(struct udp *u, struct flow *f, struct slot *s,
			    struct sock_dgram *d, struct iovec iov[][2])
{
	struct tuple t = { .src = guest_of(f)->ours };
	struct dgrams *x = dgrams_of(f);
	size_t size = x->size, n = MIN(2U * x->last + 2, (unsigned)UDP_RUN), k;

	n = MIN(n, SOCK_GSO_BYTES / size);
	if (!tap_reserve(u->tap, s, 1, head_len(&t) + UDP_HEAD, n * size, 0))
		return 0;
	n = MIN(n, s->room / size);
	for (k = 0; k < n; k++) {
		iov[k][0] = (struct iovec){
			(uint8_t *)s->body[0].iov_base + k * size, size
		};
		iov[k][1] = (struct iovec){ u->rx[k] + size, UDP_RX - size };
		d[k] = (struct sock_dgram){ .iov = iov[k], .iov_cnt = 2 };
	}
	if (!n)
		tap_cancel(u->tap, s);
	return (unsigned)n;
}

/* How many from the first on are a run: the last one may be shorter */
static unsigned run_length(const struct sock_dgram *d, unsigned n, size_t size,
			   size_t *bytes)
{
	unsigned k;

	*bytes = 0;
	for (k = 0; k < n; k++) {
		if (!d[k].len || d[k].len > size || d[k].gso_size)
			return k;
		*bytes += d[k].len;
		if (d[k].len < size)
			return k + 1;
	}
	return n;
}

/* What receive() does, into one slot */
static int receive_run(struct udp *u, struct flow *f, size_t *bytes)
{
	const struct head h = head_for(u, f);
	struct sock_dgram d[UDP_RUN];
	struct iovec iov[UDP_RUN][2];
	size_t size = dgrams_of(f)->size, len;
	unsigned n, run, k, end;
	struct slot s;
	int got;

	n = prepare_run(u, f, &s, d, iov);
	if (!n)
		return -ENOSPC;
	got = sock_recv_dgrams(host_of(f)->fd, d, n, false);
	end = got > 0 ? (unsigned)got : 0;
	run = run_length(d, end, size, &len);
	for (k = run; k < end; k++) {
		memcpy(u->rx[k], iov[k][0].iov_base, MIN(d[k].len, size));
		dgrams_of(f)->size = 0;
	}
	if (run)
		commit(u, &h, &s, len, (uint16_t)size);
	else
		tap_cancel(u->tap, &s);
	for (k = run; k < end; k++)
		copy_out(u, &h, u->rx[k], d[k].len, d[k].gso_size);
	for (k = 0; k < end; k++)
		*bytes += d[k].len;
	count_in(f, *bytes);
	return received(f, got, n);
}

/* The size that all have, 0 if they differ or are few */
static uint16_t one_size(const struct sock_dgram *d, unsigned n)
{
	unsigned k;

	for (k = 0; k < n; k++)
		if (d[k].len != d[0].len || d[k].gso_size)
			return 0;
	return n > 1 ? (uint16_t)d[0].len : 0;
}

/* Straight into slots.  How many messages came, or -errno; *@bytes grows.
 * -ENOSPC: the guest has no room. */
static int receive(struct udp *u, struct flow *f, size_t *bytes)
{
	const struct head h = head_for(u, f);
	struct sock_dgram d[UDP_BATCH];
	struct slot s[UDP_BATCH];
	struct iovec iov[UDP_BATCH][2];
	unsigned n = prepare(u, f, s, d, iov), k, end;
	bool mixed = !dgrams_of(f)->connected;
	int got;

	if (!n)
		return -ENOSPC;
	got = sock_recv_dgrams(host_of(f)->fd, d, n, mixed);
	end = got > 0 ? (unsigned)got : 0;
	for (k = end; k < n; k++)
		tap_cancel(u->tap, &s[k]);
	for (k = 0; k < end; k++) {
		*bytes += d[k].len;
		if (d[k].len > iov[k][0].iov_len ||
		    (mixed && !has_peer(host_of(f), &d[k]))) {
			spilled(u, f, s, d, k, end);
			break;
		}
		if (fits(u, &h, d[k].len, d[k].gso_size)) {
			commit(u, &h, &s[k], d[k].len, d[k].gso_size);
			count_in(f, d[k].len);
		} else {
			lose(u, DROP_TOO_BIG, &h, iov[k][0].iov_base,
			     d[k].len);
			tap_cancel(u->tap, &s[k]);
		}
	}
	if (dgrams_of(f)->gro && !mixed && end && fits(u, &h, d[0].len, 0))
		dgrams_of(f)->size = one_size(d, end);
	return received(f, got, n);
}

/* --- by address --------------------------------------------------------- */

static unsigned receive_aside(struct udp *u, int fd, struct sock_dgram *d,
			      int *err)
{
	struct iovec iov[UDP_BATCH];
	unsigned k;
	int got;

	for (k = 0; k < UDP_BATCH; k++) {
		iov[k] = (struct iovec){ u->rx[k], UDP_RX };
		d[k] = (struct sock_dgram){ .iov = &iov[k], .iov_cnt = 1 };
	}
	got = sock_recv_dgrams(fd, d, UDP_BATCH, true);
	for (k = 0; (int)k < got; k++)
		d[k].iov = NULL; /* what it points to ends here */
	*err = got < 0 ? got : 0;
	return got < 0 ? 0 : (unsigned)got;
}

/* Where a datagram without a flow belongs */
static struct flow *open_in(struct udp *u, const struct rule *r,
			    const struct side *from, enum verdict *v);

/* What came to @port of ours at @pif, for whatever flow; false: there is none, and
 * no listener */
static bool dispatch(struct udp *u, enum pif pif, const struct rule *r,
		     uint16_t port, const struct sock_dgram *d, uint8_t *p)
{
	struct side from = { .ours = d->to, .theirs = d->from,
			     .our_port = port, .their_port = d->from_port,
			     .pif = (uint8_t)pif, .fd = -1 };
	struct side key = from;
	enum verdict v;
	struct flow *f;
	struct head h;
	unsigned i = 0;

	f = find(u, &key, &i);
	if (!f && !r)
		return false;
	if (!f)
		f = open_in(u, r, &from, &v);
	if (!f) {
		lose_stranger(u, v, port, d, p);
	} else if (f->kind == FLOW_UDP_SPLICE) {
		udp_splice_pass(&u->splice, f, i, p, d->len);
	} else {
		h = head_for(u, f);
		copy_out(u, &h, p, d->len, d->gso_size);
		count_in(f, d->len);
		keep_alive(u, f, dgrams_of(f)->host, 1);
	}
	return true;
}

/* A group's member, another port of whom the guest has asked, or a stranger: each
 * in its own name.  The last one does not keep the flow alive. */
static void others_answer(struct udp *u, struct flow *f,
			  const struct sock_dgram *d, const uint8_t *p)
{
	bool asked = addr_equal(&d->from, &host_of(f)->theirs);
	struct head h = head_for(u, f);

	if (!addr_is_unicast(&d->from) || !d->from_port ||
	    (!asked && !fwd_guest_view(u->fwd, &d->from, &h.t.src))) {
		lose_stranger(u, DROP_ENDPOINT, host_of(f)->our_port, d, p);
		return;
	}
	h.t.sport = d->from_port;
	copy_out(u, &h, p, d->len, d->gso_size);
	count_in(f, d->len);
	if (asked || dgrams_of(f)->group)
		keep_alive(u, f, dgrams_of(f)->host, 1);
}

static void from_other(struct udp *u, struct flow *f,
		       const struct sock_dgram *d, uint8_t *p)
{
	uint16_t port = host_of(f)->our_port;
	const struct rule *r = listen_rule(u->listen, PIF_HOST, IPPROTO_UDP,
					   &d->to, port);

	if (dispatch(u, PIF_HOST, r, port, d, p))
		return;
	if (dgrams_of(f)->connected)
		lose_stranger(u, DROP_UNWANTED, port, d, p);
	else
		others_answer(u, f, d, p);
}

/* From a socket whose datagrams are not all its flow's */
static int receive_mixed(struct udp *u, struct flow *f)
{
	struct dgrams *x = dgrams_of(f);
	struct sock_dgram d[UDP_BATCH];
	unsigned n, k;
	int err;

	/* What is read here has no room reserved yet */
	if (u->tap->full)
		return -ENOSPC;
	n = receive_aside(u, host_of(f)->fd, d, &err);
	for (k = 0; k < n; k++) {
		const struct head h = head_for(u, f);

		if (!x->group && has_peer(host_of(f), &d[k])) {
			copy_out(u, &h, u->rx[k], d[k].len, d[k].gso_size);
			count_in(f, d[k].len);
		} else {
			from_other(u, f, &d[k], u->rx[k]);
		}
	}
	if (err && err != -EAGAIN)
		return err;
	x->fresh -= MIN(n, x->fresh);
	if (n < UDP_BATCH) {
		f->ready[x->host] &= (uint16_t)~READY_IN;
		x->fresh = 0;
	}
	return (int)n;
}

static enum run_verdict ready(void *owner, struct flow *f)
{
	struct dgrams *x = dgrams_of(f);
	struct udp *u = owner;
	bool failed = false;
	unsigned n = 0;
	int got = 0;

	if (f->ready[x->host] & READY_ERR)
		drain_errors(u, f);
	while (f->ready[x->host] & READY_IN && !flow_spent(u->flows, f)) {
		size_t bytes = 0;

		got = x->fresh || x->group ? receive_mixed(u, f)
		      : x->size		   ? receive_run(u, f, &bytes)
					   : receive(u, f, &bytes);
		if (got == -ENOSPC)
			break;
		if (got < 0 && failed) {
			finish(u, f);
			return RUN_DONE;
		}
		/* An error hides what is behind it, but only once */
		if (got < 0) {
			drain_errors(u, f);
			failed = true;
			continue;
		}
		n += (unsigned)got;
		flow_charge(u->flows, f, bytes + (unsigned)got * DGRAM_COST);
	}
	if (n)
		keep_alive(u, f, x->host, n);
	if (got == -ENOSPC)
		return RUN_HOLD;
	return f->ready[x->host] & READY_IN ? RUN_AGAIN : RUN_DONE;
}

/* The same for a spliced flow's side */
static void receive_fresh(struct udp *u, struct flow *f, unsigned i)
{
	const struct side *s = &f->side[i];
	struct sock_dgram d[UDP_BATCH];
	const struct rule *r;
	unsigned n, k;
	int err;

	n = receive_aside(u, s->fd, d, &err);
	for (k = 0; k < n; k++) {
		if (has_peer(s, &d[k])) {
			udp_splice_pass(&u->splice, f, i, u->rx[k], d[k].len);
			continue;
		}
		r = listen_rule(u->listen, s->pif, IPPROTO_UDP, &d[k].to,
				s->our_port);
		if (!dispatch(u, s->pif, r, s->our_port, &d[k], u->rx[k]))
			lose_stranger(u, DROP_UNWANTED, s->our_port, &d[k],
				      u->rx[k]);
	}
	if (err && err != -EAGAIN)
		return;
	udp_splice_settled(f, i, n);
	if (n < UDP_BATCH)
		f->ready[i] &= (uint16_t)~READY_IN;
}

static enum run_verdict ready_spliced(void *owner, struct flow *f)
{
	struct udp *u = owner;
	unsigned i, k;

	for (k = 0; k < 2; k++) {
		i = k ^ (u->flows->loop->turns & 1); /* neither always first */
		if (f->ready[i] & READY_IN && udp_splice_fresh(f, i))
			receive_fresh(u, f, i);
		if (!udp_splice_serve(&u->splice, f, i))
			return RUN_DONE;
	}
	return (f->ready[0] | f->ready[1]) & READY_IN ? RUN_AGAIN : RUN_DONE;
}

/* For one datagram at least.  What begins a flow is worth the question: no other
 * will come if it is lost. */
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

/* Level-triggered: what is left after these rounds comes back next turn, and what
 * the guest has no room for waits in the socket */
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
			; /* flows have sockets of their own: no one's error */
	for (round = 0; round < ROUNDS; round++) {
		if (!has_room(u)) {
			listen_pause(u->listen, ref);
			break;
		}
		n = receive_aside(u, fd, d, &err);
		for (k = 0; k < n; k++)
			dispatch(u, pif, r, port, &d[k], u->rx[k]);
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

static void expire(void *owner, struct flow *f)
{
	struct dgrams *x = dgrams_of(f);
	struct udp *u = owner;

	if (!x->dns_due || x->dns_due > u->flows->loop->now_ms) {
		finish(u, f);
		return;
	}
	/* It may yet answer, but not everyone has to wait */
	dns_failed(u, f, true);
	keep_alive(u, f, !x->host, 0);
}

static void give_way(void *owner, struct flow *f)
{
	finish(owner, f);
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

static const struct flow_type udp_type = {
	.name = "UDP",
	.input = input,
	.ready = ready,
	.expire = expire,
	.drop = give_way,
	.state = state,
	.count = count,
};

static void expire_spliced(void *owner, struct flow *f)
{
	struct udp *u = owner;

	udp_splice_finish(&u->splice, f);
}

static const struct flow_type spliced_type = {
	.name = "UDP (spliced)",
	.ready = ready_spliced,
	.expire = expire_spliced,
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
	/* All but @rx, whose pages cost nothing until touched */
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

static bool is_group(const struct addr *a)
{
	return addr_is_multicast(a) || addr_is_broadcast(a);
}

/* Whether the host's @port is that of sockets of ours: then of one more, too */
static bool has_port(const struct udp *u, uint16_t port)
{
	return flow_port(u->flows, PIF_HOST, port)->bound ||
	       listen_has_port(u->listen, PIF_HOST, IPPROTO_UDP, port);
}

/* A socket for the host's side.  Without @r the guest began: then any port will
 * do, and it is connected only where an address without interface is none. */
static int open_socket(struct udp *u, struct flow *f, const struct rule *r)
{
	const struct sock_env *env = u->fwd->env;
	struct side *h = host_of(f);
	struct dgrams *x = dgrams_of(f);
	bool v4 = addr_is_v4(&h->theirs), group = is_group(&h->theirs);
	bool connect = r || (!group && !v4 && addr_is_link_local(&h->theirs));
	struct sock_bind b = { .addr = h->ours, .port = h->our_port,
			       .ifname = r ? r->ifname : NULL,
			       .shared = r || group || has_port(u, h->our_port) };

	h->fd = sock_udp(env, &b, &h->theirs, connect ? h->their_port : 0, !r);
	if (h->fd < 0)
		return h->fd;
	x->group = group;
	x->ttl = group ? 0 : v4 ? env->ttl4 : env->ttl6;
	x->gro = !group && u->tap->caps.uso && env->gro && sock_gro(h->fd);
	x->want = x->gro ? WANT_MAX : WANT;
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
				     flow_new(u->flows, FLOW_UDP);

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

/* Complete: the timer runs, events come */
static struct flow *start(struct udp *u, struct flow *f, enum verdict *v)
{
	int err = flow_watch(u->flows, f, dgrams_of(f)->host);

	if (err)
		return fail(u, f, err, v);
	flow_open(u->flows, f, dgrams_of(f)->host, !dgrams_of(f)->connected);
	keep_alive(u, f, 0, 0);
	if (dgrams_of(f)->host) /* the guest asked */
		flow_lone(u->flows, f);
	*v = PASS;
	return f;
}

static int read_back(struct side *h)
{
	return sock_local(h->fd, &h->ours, &h->our_port);
}

/* With several guest addresses two flows may want to be one on the host: then
 * the second gets a port of the kernel's choice */
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
	err = open_out(u, f);
	if (err) {
		dns_failed(u, f, false);
		return fail(u, f, err, v);
	}
	return start(u, f, v);
}

/* The socket answers from the very address that the peer has used */
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

static struct flow *open_in(struct udp *u, const struct rule *r,
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
