/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * netlink - requests to the kernel, dumps and notifications
 *
 * One function sends a request and hands out every message of the answer, be it
 * an acknowledgement, one message or a dump of any length.  What has to be
 * looked at twice, or is asked in one namespace and set in another, is gathered
 * in a mapping first, which grows as needed.  The kernel's messages are walked
 * with its own macros: it is not a stranger.
 */
#include "netlink.h"
#include "util.h"

#include <linux/rtnetlink.h>

#include <errno.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#ifndef NETLINK_CAP_ACK
#define NETLINK_CAP_ACK 10
#endif
#ifndef SOL_NETLINK
#define SOL_NETLINK 270
#endif

enum {
	STORE = 256 << 10, /* first size of a gathered dump */
	DUMP_TRIES = 8,    /* when the kernel's tables change meanwhile */
};

/* --- requests ------------------------------------------------------------ */

void nl_begin(struct nl_request *r, unsigned type, unsigned flags,
	      const void *fixed, size_t size)
{
	memset(r, 0, sizeof(*r));
	r->h.nlmsg_type = (uint16_t)type;
	r->h.nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags);
	r->h.nlmsg_len = (uint32_t)NLMSG_LENGTH(size);
	memcpy(r->body, fixed, size);
}

void nl_append(void *message, unsigned type, const void *data, size_t len)
{
	struct nlmsghdr *h = message;
	size_t at = NLMSG_ALIGN(h->nlmsg_len);
	struct rtattr a = { (uint16_t)RTA_LENGTH(len), (uint16_t)type };

	memcpy((uint8_t *)h + at, &a, sizeof(a));
	memcpy((uint8_t *)h + at + sizeof(a), data, len);
	h->nlmsg_len = (uint32_t)(at + RTA_ALIGN(a.rta_len));
}

void nl_put(struct nl_request *r, unsigned type, const void *data, size_t len)
{
	nl_append(r, type, data, len);
}

void nl_put_u32(struct nl_request *r, unsigned type, uint32_t v)
{
	nl_put(r, type, &v, sizeof(v));
}

void nl_put_addr(struct nl_request *r, unsigned type, const struct addr *a)
{
	if (addr_is_v4(a))
		nl_put(r, type, &a->b[12], 4);
	else
		nl_put(r, type, a->b, 16);
}

static int send_request(struct netlink *n, struct nlmsghdr *h)
{
	static const struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };
	ssize_t sent;

	h->nlmsg_seq = ++n->seq;
	h->nlmsg_pid = 0;
	do {
		/* #syscalls sendto send */
		sent = sendto(n->fd, h, h->nlmsg_len, 0,
			      (const struct sockaddr *)&kernel, sizeof(kernel));
	} while (sent < 0 && errno == EINTR);
	return sent < 0 ? -errno : 0;
}

/* Receive a datagram of messages; returns its length, 0 if it is not from the
 * kernel */
static ssize_t receive(int fd, void *buf, size_t size, int flags)
{
	struct sockaddr_nl from = { 0 };
	struct iovec iov = { buf, size };
	struct msghdr m = {
		.msg_name = &from,
		.msg_namelen = sizeof(from),
		.msg_iov = &iov,
		.msg_iovlen = 1,
	};
	ssize_t got;

	do {
		got = recvmsg(fd, &m, flags); /* #syscalls recvmsg */
	} while (got < 0 && errno == EINTR);
	if (got < 0)
		return -errno;
	if (m.msg_flags & MSG_TRUNC)
		return -EMSGSIZE;
	return from.nl_pid ? 0 : got;
}

static int verdict(const struct nlmsghdr *h)
{
	int err;

	if (h->nlmsg_len < NLMSG_LENGTH(sizeof(err)))
		return -EPROTO;
	memcpy(&err, NLMSG_DATA(h), sizeof(err));
	return err;
}

int nl_talk(struct netlink *n, struct nlmsghdr *h, nl_fn *fn, void *arg)
{
	static uint8_t buf[NL_ANSWER] __attribute__((aligned(NLMSG_ALIGNTO)));
	bool torn = false;
	int err = send_request(n, h);

	while (!err) {
		ssize_t got = receive(n->fd, buf, sizeof(buf), 0);
		const struct nlmsghdr *a = (const void *)buf;

		if (got < 0)
			return (int)got;
		for (; NLMSG_OK(a, got); a = NLMSG_NEXT(a, got)) {
			if (a->nlmsg_seq != n->seq)
				continue; /* left from one that failed */
			torn |= a->nlmsg_flags & NLM_F_DUMP_INTR;
			if (a->nlmsg_type == NLMSG_ERROR)
				return verdict(a);
			if (a->nlmsg_type == NLMSG_DONE) {
				err = verdict(a);
				return err < 0 ? err : torn ? -EAGAIN : 0;
			}
			if (fn)
				fn(arg, a);
			if (!(a->nlmsg_flags & NLM_F_MULTI))
				return 0;
		}
	}
	return err;
}

int nl_tell(struct netlink *n, struct nl_request *r)
{
	r->h.nlmsg_flags |= NLM_F_ACK;
	return nl_talk(n, &r->h, NULL, NULL);
}

int nl_ask(struct netlink *n, unsigned type, bool v4, nl_fn *fn, void *arg)
{
	/* All fixed headers begin with the family, the rest is zero */
	struct rtmsg fixed = { .rtm_family = v4 ? AF_INET : AF_INET6 };
	struct nl_request r;

	nl_begin(&r, type, NLM_F_DUMP, &fixed, sizeof(fixed));
	return nl_talk(n, &r.h, fn, arg);
}

/* --- dumps in steps -------------------------------------------------------- */

int nl_dump_begin(struct netlink *n, unsigned type, unsigned family)
{
	struct rtmsg fixed = { .rtm_family = (uint8_t)family };
	struct nl_request r;

	n->torn = false;
	nl_begin(&r, type, NLM_F_DUMP, &fixed, sizeof(fixed));
	return send_request(n, &r.h);
}

int nl_dump_step(struct netlink *n, nl_fn *fn, void *arg)
{
	static uint8_t buf[NL_ANSWER] __attribute__((aligned(NLMSG_ALIGNTO)));
	ssize_t got = receive(n->fd, buf, sizeof(buf), MSG_DONTWAIT);
	const struct nlmsghdr *h = (const void *)buf;
	int err;

	/* The kernel has always queued the next piece before it returns */
	if (got < 0)
		return got == -EAGAIN ? -EIO : (int)got;
	for (; NLMSG_OK(h, got); h = NLMSG_NEXT(h, got)) {
		if (h->nlmsg_seq != n->seq)
			continue;
		n->torn |= h->nlmsg_flags & NLM_F_DUMP_INTR;
		if (h->nlmsg_type == NLMSG_DONE ||
		    h->nlmsg_type == NLMSG_ERROR) {
			err = verdict(h);
			return err < 0 ? err : n->torn ? -EAGAIN : 0;
		}
		fn(arg, h);
	}
	return -EINPROGRESS;
}

/* --- gathered dumps ------------------------------------------------------ */

static void gather(void *arg, const struct nlmsghdr *h)
{
	struct nl_store *s = arg;
	size_t len = NLMSG_ALIGN(h->nlmsg_len);
	void *p;

	while (s->size - s->len < len) {
		p = mremap(s->base, s->size, 2 * s->size, MREMAP_MAYMOVE);
		s->full |= p == MAP_FAILED;
		if (s->full)
			return;
		s->base = p;
		s->size *= 2;
	}
	memcpy(s->base + s->len, h, h->nlmsg_len);
	s->len += len;
}

int nl_dump(struct netlink *n, struct nl_store *s, unsigned type, bool v4)
{
	unsigned i;
	int err;

	*s = (struct nl_store){ .base = util_map(STORE), .size = STORE };
	if (!s->base)
		return -ENOMEM;
	for (i = 0; i < DUMP_TRIES; i++) {
		s->len = 0;
		err = nl_ask(n, type, v4, gather, s);
		if (err != -EAGAIN)
			break;
	}
	/* Better a table that is changing than none */
	if (err == -EAGAIN)
		err = 0;
	return s->full ? -ENOMEM : err;
}

void nl_drop(struct nl_store *s)
{
	if (s->base)
		munmap(s->base, s->size);
	s->base = NULL;
}

struct nlmsghdr *nl_next(const struct nl_store *s, size_t *at)
{
	struct nlmsghdr *h = (void *)(s->base + *at);

	if (*at >= s->len)
		return NULL;
	*at += NLMSG_ALIGN(h->nlmsg_len);
	return h;
}

/* --- notifications ------------------------------------------------------- */

int nl_listen(unsigned groups)
{
	struct sockaddr_nl a = {
		.nl_family = AF_NETLINK,
		.nl_groups = groups,
	};
	int fd, err;

	fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK,
		    NETLINK_ROUTE);
	if (fd < 0)
		return -errno;
	if (bind(fd, (const struct sockaddr *)&a, sizeof(a))) {
		err = -errno;
		close(fd);
		return err;
	}
	return fd;
}

int nl_read(int fd, nl_fn *fn, void *arg)
{
	static uint8_t buf[NL_ANSWER] __attribute__((aligned(NLMSG_ALIGNTO)));
	ssize_t got;

	while ((got = receive(fd, buf, sizeof(buf), 0)) >= 0) {
		const struct nlmsghdr *h = (const void *)buf;

		for (; NLMSG_OK(h, got); h = NLMSG_NEXT(h, got))
			fn(arg, h);
	}
	return got == -EAGAIN ? 0 : (int)got;
}

/* --- sockets ------------------------------------------------------------- */

int nl_open(struct netlink *n)
{
	int on = 1;

	n->seq = 0;
	n->fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	if (n->fd < 0)
		return -errno;
	/* Since 4.2: refusals need not repeat the request */
	(void)setsockopt(n->fd, SOL_NETLINK, NETLINK_CAP_ACK, &on, sizeof(on));
	return 0;
}

void nl_close(struct netlink *n)
{
	close(n->fd);
	n->fd = -1;
}
