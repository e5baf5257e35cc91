/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * sock_repair - a connection's socket as numbers and bytes, and back
 * (TCP_REPAIR)
 *
 * In the kernel's counts a FIN has a number but no byte.  A FIN of ours that
 * was not acknowledged counts as the last of what was queued, the peer's as
 * received.
 */
#include "sock_repair.h"

#include "util.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

/* Since Linux 4.8; libc's headers may be older */
#ifndef TCP_REPAIR_WINDOW
#define TCP_REPAIR_WINDOW 29
#endif
#ifndef IPV6_MINHOPCOUNT
#define IPV6_MINHOPCOUNT 73
#endif

enum {
	INFO_UNSENT = 144, /* of struct tcp_info, 32 bits */
	INFO_SIZE = 148,
	QUEUE_RECV = 1,
	QUEUE_SEND = 2,
	/* of TCP_REPAIR_OPTIONS */
	OPTION_MSS = 2,
	OPTION_SCALE = 3,
	OPTION_SACK = 4,
	OPTION_STAMPS = 8,
	MSS_MOST = 32767, /* the most that TCP_MAXSEG takes */
	SEND_LEAST = 32 << 10, /* what the send buffer of a new socket holds in
				  any case */
	PIECE = 1 << 20,
};

/* struct tcp_repair_opt, tcp_repair_window */
struct option {
	uint32_t code, value;
};
struct window {
	uint32_t snd_wl1, snd_wnd, max_wnd, rcv_wnd, rcv_wup;
};

/* #syscalls:vu setsockopt(.,SOL_TCP,TCP_REPAIR_QUEUE|TCP_QUEUE_SEQ|TCP_TIMESTAMP)
 * #syscalls:vu setsockopt(.,SOL_TCP,TCP_REPAIR_OPTIONS|TCP_REPAIR_WINDOW|TCP_MAXSEG)
 * #syscalls:vu setsockopt(.,SOL_SOCKET,SO_SNDBUF)
 * #syscalls:vu setsockopt(.,SOL_IP,IP_MINTTL)
 * #syscalls:vu setsockopt(.,SOL_IPV6,IPV6_MINHOPCOUNT) */
static int put(int fd, int level, int opt, const void *v, size_t len)
{
	return setsockopt(fd, level, opt, v, (socklen_t)len) ? -errno : 0;
}

static int set(int fd, int opt, uint32_t v)
{
	return put(fd, SOL_TCP, opt, &v, sizeof(v));
}

static int get(int fd, int opt, void *v, size_t len)
{
	socklen_t n = (socklen_t)len;

	if (getsockopt(fd, SOL_TCP, opt, v, &n))
		return -errno;
	return n == len ? 0 : -EOPNOTSUPP;
}

int sock_deaf(int fd, bool deaf)
{
	uint32_t least = deaf ? UINT8_MAX : 0;
	int err = put(fd, SOL_IP, IP_MINTTL, &least, sizeof(least));

	/* one of the two options is for the other family */
	if (!put(fd, SOL_IPV6, IPV6_MINHOPCOUNT, &least, sizeof(least)))
		err = 0;
	return err;
}

bool sock_image_eof(const struct sock_image *i)
{
	return i->state >= SOCK_TIME_WAIT; /* and so on */
}

/* Whether our FIN is the last in the send queue */
static bool fin_queued(const struct sock_image *i)
{
	return sock_image_shut(i) && i->state != SOCK_FIN_WAIT2;
}

/* --- from a socket -------------------------------------------------------- */

static int get_info(int fd, struct sock_image *i)
{
	union {
		struct tcp_info info;
		uint8_t b[INFO_SIZE];
	} u = { 0 };
	socklen_t len = sizeof(u);
	uint32_t unsent;

	if (getsockopt(fd, SOL_TCP, TCP_INFO, &u, &len))
		return -errno;
	if (len < INFO_SIZE)
		return -EOPNOTSUPP;
	memcpy(&unsent, u.b + INFO_UNSENT, sizeof(unsent));
	i->state = u.info.tcpi_state;
	i->options = u.info.tcpi_options;
	i->snd_shift = u.info.tcpi_snd_wscale;
	i->rcv_shift = u.info.tcpi_rcv_wscale;
	i->unsent = unsent && fin_queued(i) ? unsent - 1 : unsent;
	return 0;
}

uint8_t sock_image_state(int fd)
{
	struct sock_image i = { 0 };

	return get_info(fd, &i) ? 0 : i.state;
}

uint32_t sock_image_queued(int fd)
{
	struct sock_image i = { .state = sock_image_state(fd) };
	int n = 0;

	/* #syscalls:vu ioctl(.,TIOCOUTQ) */
	if (ioctl(fd, TIOCOUTQ, &n) || n <= 0)
		return 0;
	return (uint32_t)n - fin_queued(&i);
}

/* Read the whole queue at once, or what there is up to an urgent byte */
static ssize_t peek(int fd, uint8_t *buf, size_t cap)
{
	size_t len = 0;
	ssize_t n;

	do {
		/* #syscalls:vu recvfrom recv */
		n = recv(fd, buf + len, cap - len, MSG_PEEK | MSG_DONTWAIT);
		if (n > 0)
			len += (size_t)n;
	} while (n > 0 && len < cap);
	if (n < 0 && errno != EAGAIN)
		return errno == EFAULT ? -ENOBUFS : -errno;
	return (ssize_t)len;
}

static int get_send(int fd, struct sock_image *i, uint8_t *buf, size_t cap)
{
	uint32_t end = 0;
	ssize_t n;
	int err = set(fd, TCP_REPAIR_QUEUE, QUEUE_SEND);

	if (!err)
		err = get(fd, TCP_QUEUE_SEQ, &end, sizeof(end));
	if (err)
		return err;
	n = recv(fd, buf, cap, MSG_PEEK | MSG_DONTWAIT);
	if (n < 0 && errno != EAGAIN)
		return errno == EFAULT ? -ENOBUFS : -errno;
	i->snd_len = n > 0 ? (uint32_t)n : 0;
	i->unsent = MIN(i->unsent, i->snd_len);
	/* A FIN that was acknowledged will be queued again, with its number */
	i->snd_seq = end - sock_image_shut(i) - i->snd_len;
	return 0;
}

static int get_receive(int fd, struct sock_image *i, uint8_t *buf, size_t cap)
{
	bool moves = !sock_peek_to(fd, 0);
	uint32_t end = 0;
	ssize_t n;
	int err = set(fd, TCP_REPAIR_QUEUE, QUEUE_RECV);

	if (!err)
		err = get(fd, TCP_QUEUE_SEQ, &end, sizeof(end));
	if (err)
		return err;
	if (moves) {
		n = peek(fd, buf, cap);
	} else {
		n = recv(fd, buf, cap, MSG_PEEK | MSG_DONTWAIT);
		if (n < 0)
			n = errno == EAGAIN ? 0 : -errno;
	}
	if (n < 0 || (size_t)n == cap)
		return n < 0 ? (int)n : -ENOBUFS;
	i->rcv_len = (uint32_t)n;
	i->rcv_seq = end - sock_image_eof(i) - i->rcv_len;
	return 0;
}

static int get_window(int fd, struct sock_image *i)
{
	struct window w;
	int err = get(fd, TCP_REPAIR_WINDOW, &w, sizeof(w));

	if (err)
		return err;
	i->snd_wl1 = w.snd_wl1;
	i->snd_wnd = w.snd_wnd;
	i->max_wnd = w.max_wnd;
	i->rcv_wnd = w.rcv_wnd + sock_image_eof(i);
	i->rcv_wup = w.rcv_wup - sock_image_eof(i);
	return 0;
}

int sock_image_get(int fd, struct sock_image *i, uint8_t *buf, size_t cap)
{
	int err;

	*i = (struct sock_image){ 0 };
	err = get_info(fd, i);
	if (!err)
		err = get(fd, TCP_MAXSEG, &i->mss, sizeof(i->mss));
	if (!err)
		err = get(fd, TCP_TIMESTAMP, &i->stamp, sizeof(i->stamp));
	if (!err)
		err = get_window(fd, i);
	if (!err)
		err = get_send(fd, i, buf, cap);
	if (!err)
		err = get_receive(fd, i, buf + i->snd_len, cap - i->snd_len);
	if (!err && (i->snd_len > SOCK_QUEUE_MAX || i->rcv_len > SOCK_QUEUE_MAX))
		err = -ENOBUFS;
	return err;
}

/* --- to a socket ---------------------------------------------------------- */

int sock_image_make(const struct sock_env *e, bool v4)
{
	int fd = sock_make(e, v4, SOCK_STREAM, 0), on = 1;

	if (fd < 0)
		return fd;
	(void)put(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	(void)put(fd, SOL_SOCKET, SO_OOBINLINE, &on, sizeof(on));
	(void)sock_nodelay(fd);
	return fd;
}

static int set_numbers(int fd, const struct sock_image *i, size_t kept)
{
	int err = 0;

	if (i->options & TCPI_OPT_TIMESTAMPS)
		err = set(fd, TCP_TIMESTAMP, i->stamp);
	if (!err)
		err = set(fd, TCP_REPAIR_QUEUE, QUEUE_SEND);
	if (!err)
		err = set(fd, TCP_QUEUE_SEQ, i->snd_seq);
	if (!err)
		err = set(fd, TCP_REPAIR_QUEUE, QUEUE_RECV);
	if (!err)
		err = set(fd, TCP_QUEUE_SEQ, i->rcv_seq + (uint32_t)kept);
	return err;
}

static int set_options(int fd, const struct sock_image *i)
{
	struct option o[4] = { { OPTION_MSS, i->mss } };
	size_t n = 1;

	if (i->options & TCPI_OPT_WSCALE)
		o[n++] = (struct option){ OPTION_SCALE,
					  (uint32_t)i->snd_shift |
						  (uint32_t)i->rcv_shift << 16 };
	if (i->options & TCPI_OPT_SACK)
		o[n++] = (struct option){ OPTION_SACK, 0 };
	if (i->options & TCPI_OPT_TIMESTAMPS)
		o[n++] = (struct option){ OPTION_STAMPS, 0 };
	return put(fd, SOL_TCP, TCP_REPAIR_OPTIONS, o, n * sizeof(o[0]));
}

/* In pieces, as the kernel may have no memory for a long one */
static int fill(int fd, const uint8_t *p, size_t len)
{
	size_t most = PIECE;
	bool larger = false;
	ssize_t n;
	int all = 1 << 30;

	while (len) {
		/* #syscalls:vu sendto send */
		n = send(fd, p, MIN(len, most), MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n > 0) {
			p += n;
			len -= (size_t)n;
		} else if (n < 0 && errno == EAGAIN && !larger) {
			larger = true; /* as far as wmem_max */
			(void)put(fd, SOL_SOCKET, SO_SNDBUF, &all, sizeof(all));
		} else if (n < 0 && (errno == ENOBUFS || errno == ENOMEM) &&
			   most > 1) {
			most /= 2;
		} else {
			return n < 0 ? -errno : -ENOBUFS;
		}
	}
	return 0;
}

static int fill_queues(int fd, const struct sock_image *i, const uint8_t *buf,
		       size_t kept)
{
	int err = fill(fd, buf + i->snd_len + kept, i->rcv_len - kept);

	if (!err)
		err = set(fd, TCP_REPAIR_QUEUE, QUEUE_SEND);
	if (!err)
		err = fill(fd, buf, i->snd_len - i->unsent);
	return err;
}

static int set_window(int fd, const struct sock_image *i)
{
	const struct window w = { i->snd_wl1, i->snd_wnd, i->max_wnd,
				  i->rcv_wnd, i->rcv_wup };

	return put(fd, SOL_TCP, TCP_REPAIR_WINDOW, &w, sizeof(w));
}

int sock_image_put(const struct sock_env *e, int fd, const struct side *host,
		   const struct sock_image *i, const uint8_t *buf, size_t kept)
{
	int err = sock_bind(e, fd, &host->ours, host->our_port);

	if (!err)
		err = set_numbers(fd, i, kept);
	/* The buffer of a new socket holds twenty segments: make them long */
	if (!err && i->snd_len - i->unsent > SEND_LEAST)
		err = set(fd, TCP_MAXSEG, MSS_MOST);
	if (!err)
		err = sock_connect(e, fd, &host->theirs, host->their_port);
	(void)set(fd, TCP_MAXSEG, 0);
	if (!err)
		err = set_options(fd, i);
	if (!err)
		err = fill_queues(fd, i, buf, kept);
	if (!err && i->state == SOCK_FIN_WAIT2)
		err = sock_shut_write(fd);
	if (!err)
		err = set_window(fd, i);
	return err;
}
