/* SPDX-License-Identifier: GPL-2.0-or-later */
/* unit: sock addr log util */
/* What the error queue of a socket of datagrams may hold */
#include "sock.h"
#include "util.h"

#include <linux/errqueue.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>

#define REQUIRE(x) ((x) ? (void)0 : abort())

static const uint8_t *in;
static size_t left;

static uint8_t byte(void)
{
	return left ? (left--, *in++) : 0;
}

static void bytes(void *p, size_t len)
{
	memset(p, 0, len);
	memcpy(p, in, MIN(len, left));
	in += MIN(len, left);
	left -= MIN(len, left);
}

/* As the kernel does: messages that fit, of any kind and length, the last cut */
ssize_t recvmsg(int fd, struct msghdr *m, int flags)
{
	size_t at = 0, len, room = m->msg_controllen;
	static const int type[][2] = {
		{ SOL_IP, IP_RECVERR }, { SOL_IPV6, IPV6_RECVERR },
		{ SOL_IP, IP_TTL }, { SOL_SOCKET, SO_TIMESTAMP },
	};
	struct cmsghdr *c;

	(void)fd;
	REQUIRE(flags & MSG_ERRQUEUE);
	if (!left)
		return -1;
	bytes(m->msg_name, byte() % (m->msg_namelen + 1));
	while (left && room - at >= sizeof(*c)) {
		unsigned kind = byte() & 3;

		len = byte() & 63;
		len = MIN(len, room - at - sizeof(*c));
		c = (void *)((uint8_t *)m->msg_control + at);
		c->cmsg_level = type[kind][0];
		c->cmsg_type = type[kind][1];
		c->cmsg_len = CMSG_LEN(len);
		bytes(CMSG_DATA(c), len);
		at += MIN(CMSG_SPACE(len), room - at);
		if (byte() & 1)
			break;
	}
	m->msg_controllen = at;
	len = MIN(left, m->msg_iov[0].iov_len);
	bytes(m->msg_iov[0].iov_base, len);
	return (ssize_t)len;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	/* On the heap, so that its end is guarded */
	struct sock_error *e = malloc(sizeof(*e));

	in = data;
	left = size;
	while (sock_error_next(-1, e) && left)
		REQUIRE(e->len <= sizeof(e->payload));
	free(e);
	return 0;
}
