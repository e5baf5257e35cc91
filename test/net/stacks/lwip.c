/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A guest whose TCP/IP is lwIP, as devices have it that are no computers: on
 * passt's stream socket, with static addresses.  Of the frames that come and of
 * those that go so many of a million are lost.
 *
 *	lwip SOCKET ADDR4 GATEWAY4 ADDR6 LOSS_PPM
 *
 * Commands are lines of standard input; what they have done is a line of
 * standard output that begins with their TAG:
 *
 *	get TAG ADDR PORT PAUSE   read to the end, after PAUSE milliseconds and
 *	                          again in the middle: bytes, Adler-32
 *	put TAG ADDR PORT BYTES   send the pattern, end it, read to the end:
 *	                          the answer
 *	udp TAG ADDR PORT BYTES   a datagram and its echo: bytes
 *	serve TAG PORT            echo TCP and UDP, until we are ended
 *
 * Built by stacks.py, with Debian's liblwip-dev.
 */
#include "lwip/etharp.h"
#include "lwip/ethip6.h"
#include "lwip/netif.h"
#include "lwip/sockets.h"
#include "lwip/tcpip.h"
#include "netif/ethernet.h"

#include <arpa/inet.h>
#include <err.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum {
	FRAME_MAX = 65536 + 18,
	PATTERN = 65521,
	ANSWER_S = 60,
};

static int stream;
static uint32_t loss_ppm;
static unsigned char pattern[PATTERN];

/* Of each of the two threads that it is called by */
static bool is_lost(uint32_t *state)
{
	*state = *state * 1664525 + 1013904223;
	return (uint64_t)(*state >> 8) * 1000000 >> 24 < loss_ppm;
}

static void make_pattern(void)
{
	uint32_t n = 1, i;

	for (i = 0; i < PATTERN; i++) {
		n = n * 1664525 + 1013904223;
		pattern[i] = (unsigned char)(n >> 24);
	}
}

struct adler {
	uint32_t a, b;
};

static void adler_add(struct adler *s, const unsigned char *p, size_t n)
{
	while (n--) {
		s->a = (s->a + *p++) % 65521;
		s->b = (s->b + s->a) % 65521;
	}
}

/* --- the link --------------------------------------------------------------- */

static bool read_all(void *p, size_t n)
{
	ssize_t got;

	for (; n; n -= (size_t)got, p = (char *)p + got) {
		got = read(stream, p, n);
		if (got <= 0)
			return false;
	}
	return true;
}

/* lwIP holds its lock: one frame at a time */
static err_t link_output(struct netif *n, struct pbuf *p)
{
	static unsigned char frame[4 + FRAME_MAX];
	static uint32_t state = 1;
	uint32_t len = htonl(p->tot_len);
	size_t size = 4 + (size_t)p->tot_len;

	(void)n;
	if (is_lost(&state))
		return ERR_OK;
	memcpy(frame, &len, 4);
	pbuf_copy_partial(p, frame + 4, p->tot_len, 0);
	return write(stream, frame, size) == (ssize_t)size ? ERR_OK : ERR_IF;
}

static void *link_input(void *arg)
{
	static unsigned char frame[FRAME_MAX];
	struct netif *n = arg;
	uint32_t len, state = 2;
	struct pbuf *p;

	while (read_all(&len, 4)) {
		len = ntohl(len);
		if (len > sizeof(frame))
			errx(1, "a frame of %u bytes", len);
		if (!read_all(frame, len))
			break;
		if (is_lost(&state))
			continue;
		/* Not from its pool, whose buffers Debian built shorter than it knows */
		p = pbuf_alloc(PBUF_RAW, (u16_t)len, PBUF_RAM);
		if (!p)
			continue;
		pbuf_take(p, frame, (u16_t)len);
		if (n->input(p, n) != ERR_OK)
			pbuf_free(p);
	}
	exit(0);
}

static err_t link_init(struct netif *n)
{
	static const unsigned char mac[] = { 0x52, 0x54, 0, 0x12, 0x34, 0x56 };

	n->name[0] = 'p';
	n->name[1] = 't';
	n->output = etharp_output;
	n->output_ip6 = ethip6_output;
	n->linkoutput = link_output;
	n->mtu = 1500;
	n->hwaddr_len = sizeof(mac);
	memcpy(n->hwaddr, mac, sizeof(mac));
	n->flags = NETIF_FLAG_BROADCAST | NETIF_FLAG_ETHARP |
		   NETIF_FLAG_ETHERNET | NETIF_FLAG_IGMP | NETIF_FLAG_MLD6 |
		   NETIF_FLAG_LINK_UP;
	return ERR_OK;
}

static void start_link(char **argv)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	static struct netif n;
	ip4_addr_t a, mask, gw;
	ip6_addr_t a6;
	pthread_t t;
	s8_t i = -1;

	stream = socket(AF_UNIX, SOCK_STREAM, 0);
	strncpy(sa.sun_path, argv[1], sizeof(sa.sun_path) - 1);
	if (stream < 0 || connect(stream, (void *)&sa, sizeof(sa)))
		err(1, "socket %s", argv[1]);
	if (!ip4addr_aton(argv[2], &a) || !ip4addr_aton(argv[3], &gw) ||
	    !ip6addr_aton(argv[4], &a6))
		errx(1, "no address");
	IP4_ADDR(&mask, 255, 255, 255, 0);
	tcpip_init(NULL, NULL);
	LOCK_TCPIP_CORE();
	if (!netif_add(&n, &a, &mask, &gw, NULL, link_init, tcpip_input))
		errx(1, "netif_add");
	netif_set_default(&n);
	netif_create_ip6_linklocal_address(&n, 1);
	netif_add_ip6_address(&n, &a6, &i);
	netif_set_up(&n);
	if (i < 0)
		errx(1, "no room for an address");
	netif_ip6_addr_set_state(&n, i, IP6_ADDR_TENTATIVE);
	UNLOCK_TCPIP_CORE();
	pthread_create(&t, NULL, link_input, &n);
	/* Its search for duplicates, and a router's advertisement */
	for (;; usleep(10000)) {
		LOCK_TCPIP_CORE();
		if (ip6_addr_ispreferred(netif_ip6_addr_state(&n, i)))
			break;
		UNLOCK_TCPIP_CORE();
	}
	UNLOCK_TCPIP_CORE();
}

/* --- what it is told to do ---------------------------------------------------- */

struct task {
	pthread_t thread;
	char what[16], tag[32], addr[64];
	unsigned port;
	unsigned long number;
};

static pthread_mutex_t out = PTHREAD_MUTEX_INITIALIZER;

#define SAY(...) do { \
	pthread_mutex_lock(&out); \
	printf(__VA_ARGS__); \
	fflush(stdout); \
	pthread_mutex_unlock(&out); \
} while (0)

static socklen_t address(struct sockaddr_storage *sa, const struct task *t)
{
	struct sockaddr_in6 *s6 = (void *)sa;
	struct sockaddr_in *s4 = (void *)sa;

	memset(sa, 0, sizeof(*sa));
	if (inet_pton(AF_INET, t->addr, &s4->sin_addr) == 1) {
		s4->sin_family = AF_INET;
		s4->sin_port = htons((uint16_t)t->port);
		return sizeof(*s4);
	}
	inet_pton(AF_INET6, t->addr, &s6->sin6_addr);
	s6->sin6_family = AF_INET6;
	s6->sin6_port = htons((uint16_t)t->port);
	return sizeof(*s6);
}

static int reach(const struct task *t, int kind)
{
	struct timeval wait = { .tv_sec = ANSWER_S };
	struct sockaddr_storage sa;
	socklen_t len = address(&sa, t);
	int s = lwip_socket(sa.ss_family, kind, 0);

	if (s < 0)
		return -1;
	lwip_setsockopt(s, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait));
	if (!lwip_connect(s, (void *)&sa, len))
		return s;
	lwip_close(s);
	return -1;
}

static void get(const struct task *t)
{
	unsigned char buf[16384];
	struct adler sum = { 1, 0 };
	unsigned long bytes = 0;
	bool paused = false;
	int s = reach(t, SOCK_STREAM);
	ssize_t n;

	if (s < 0) {
		SAY("%s refused %d\n", t->tag, errno);
		return;
	}
	usleep((useconds_t)t->number * 1000);
	while ((n = lwip_recv(s, buf, sizeof(buf), 0)) > 0) {
		adler_add(&sum, buf, (size_t)n);
		bytes += (unsigned long)n;
		if (bytes > 100000 && !paused) {
			paused = true;
			usleep((useconds_t)t->number * 1000);
		}
	}
	SAY("%s %lu %u%s\n", t->tag, bytes, sum.b << 16 | sum.a,
	    n < 0 ? " broken" : "");
	lwip_close(s);
}

static void put(const struct task *t)
{
	unsigned long left = t->number;
	char answer[100] = "";
	size_t at = 0, len = 0, part;
	int s = reach(t, SOCK_STREAM);
	ssize_t n = 0;

	if (s < 0) {
		SAY("%s refused %d\n", t->tag, errno);
		return;
	}
	while (left) {
		part = left < PATTERN - at ? left : PATTERN - at;
		part = part < 20000 ? part : 20000;
		n = lwip_send(s, pattern + at, part, 0);
		if (n <= 0)
			break;
		at = (at + (size_t)n) % PATTERN;
		left -= (unsigned long)n;
	}
	lwip_shutdown(s, SHUT_WR);
	while (len < sizeof(answer) - 1 &&
	       (n = lwip_recv(s, answer + len, sizeof(answer) - 1 - len, 0)) > 0)
		len += (size_t)n;
	SAY("%s %s%s\n", t->tag, answer, n < 0 || left ? " broken" : "");
	lwip_close(s);
}

static void udp(const struct task *t)
{
	unsigned char got[65536];
	int s = reach(t, SOCK_DGRAM);
	ssize_t n;

	if (s < 0 || lwip_send(s, pattern, t->number, 0) != (ssize_t)t->number) {
		SAY("%s refused %d\n", t->tag, errno);
		return;
	}
	n = lwip_recv(s, got, sizeof(got), 0);
	SAY("%s %ld%s\n", t->tag, (long)n,
	    n > 0 && memcmp(got, pattern, (size_t)n) ? " wrong" : "");
	lwip_close(s);
}

static void *echo_stream(void *arg)
{
	unsigned char buf[16384];
	int s = (int)(intptr_t)arg;
	ssize_t n, done, part;

	while ((n = lwip_recv(s, buf, sizeof(buf), 0)) > 0)
		for (done = 0; done < n; done += part) {
			part = lwip_send(s, buf + done, (size_t)(n - done), 0);
			if (part <= 0)
				goto end;
		}
end:
	lwip_close(s);
	return NULL;
}

static void *echo_dgrams(void *arg)
{
	int s = (int)(intptr_t)arg;
	struct sockaddr_storage sa;
	unsigned char buf[65536];
	socklen_t len;
	ssize_t n;

	for (;;) {
		len = sizeof(sa);
		n = lwip_recvfrom(s, buf, sizeof(buf), 0, (void *)&sa, &len);
		if (n >= 0)
			lwip_sendto(s, buf, (size_t)n, 0, (void *)&sa, len);
	}
	return NULL;
}

static void serve(const struct task *t)
{
	struct task any = *t;
	struct sockaddr_storage sa;
	int s, c, one = 1;
	socklen_t len;
	pthread_t th;

	strcpy(any.addr, "::");
	len = address(&sa, &any);
	s = lwip_socket(AF_INET6, SOCK_DGRAM, 0);
	if (s < 0 || lwip_bind(s, (void *)&sa, len))
		errx(1, "UDP port %u", t->port);
	pthread_create(&th, NULL, echo_dgrams, (void *)(intptr_t)s);
	s = lwip_socket(AF_INET6, SOCK_STREAM, 0);
	lwip_setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (s < 0 || lwip_bind(s, (void *)&sa, len) || lwip_listen(s, 50))
		errx(1, "TCP port %u", t->port);
	SAY("%s serves\n", t->tag);
	while ((c = lwip_accept(s, NULL, NULL)) >= 0) {
		pthread_create(&th, NULL, echo_stream, (void *)(intptr_t)c);
		pthread_detach(th);
	}
}

static void *run(void *arg)
{
	struct task *t = arg;

	if (!strcmp(t->what, "get"))
		get(t);
	else if (!strcmp(t->what, "put"))
		put(t);
	else if (!strcmp(t->what, "udp"))
		udp(t);
	else
		SAY("%s unknown\n", t->tag);
	free(t);
	return NULL;
}

static void *run_server(void *arg)
{
	serve(arg);
	return NULL;
}

int main(int argc, char **argv)
{
	char line[256];
	struct task *t;

	if (argc != 6)
		errx(2, "five arguments are wanted");
	loss_ppm = (uint32_t)strtoul(argv[5], NULL, 10);
	make_pattern();
	start_link(argv);
	SAY("ready\n");
	while (fgets(line, sizeof(line), stdin)) {
		t = calloc(1, sizeof(*t));
		if (sscanf(line, "serve %31s %u", t->tag, &t->port) == 2)
			pthread_create(&t->thread, NULL, run_server, t);
		else if (sscanf(line, "%15s %31s %63s %u %lu", t->what, t->tag,
				t->addr, &t->port, &t->number) == 5)
			pthread_create(&t->thread, NULL, run, t);
		else
			errx(2, "what is: %s", line);
	}
	return 0;
}
