/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Load for what iperf3 cannot measure: transactions, datagrams, idle flows and
 * the start of a daemon.  Each subcommand is one process in one namespace; the
 * results are words and numbers on stdout, read by bench.py.
 *
 *	load serve PORT			echo over TCP, any number of connections
 *	load rr ADDR PORT SECONDS [SIZE]	a byte, or SIZE of them, there and back,
 *					over and over
 *	load crr ADDR PORT SECONDS	the same with a connection for each byte
 *	load userve PORT		echo over UDP
 *	load prr ADDR PORT SECONDS [SIZE]	the same, but asked every PACE_NS, so
 *					that each moment counts the same; what
 *					could not be asked in time has waited
 *	load urr ADDR PORT SECONDS [SIZE]	as rr in datagrams
 *	load dns ADDR PORT SECONDS [SIZE]	each from a port of its own, as
 *					resolvers ask
 *	load ping ADDR 0 SECONDS [SIZE]	as rr, by ICMP echo
 *	load flood PORT			send without end to whoever connects
 *	load sink PORT			read without end from whoever connects
 *	load pull ADDR PORT COUNT	COUNT connections to a flood, until SIGTERM
 *	load push ADDR PORT COUNT	COUNT connections to a sink, the same
 *	load hold ADDR PORT COUNT	open COUNT connections, keep them idle
 *	load many ADDR PORT SECONDS COUNT	rr in COUNT connections at once
 *	load send ADDR PORT SECONDS SIZE plain|gso	datagrams, unpaced
 *	load recv PORT			count datagrams until SIGTERM
 *	load stamp ADDR PORT		when were we started, when connected?
 *	load start COMMAND...		run it, its last command is load stamp
 */
#include <linux/udp.h>

#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/ip_icmp.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
	BACKLOG = 4096,
	EVENTS = 256,
	BATCH = 32,		/* datagrams a call, plain */
	GSO_BYTES = 60000,	/* bytes a call, segmenting sender */
	BODY_BYTES = 65536,
	SAMPLES = 1 << 22,
	PATIENCE_S = 10,	/* for one answer: then the flow is lost */
	RCVBUF = 4 << 20,
	PACE_NS = 5 * 1000 * 1000,
};

static volatile sig_atomic_t stopped;

static void stop(int sig)
{
	(void)sig;
	stopped = 1;
}

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ULL + t.tv_nsec;
}

static struct sockaddr_in target(const char *addr, const char *port)
{
	struct sockaddr_in sa = {
		.sin_family = AF_INET, .sin_port = htons(atoi(port)),
	};

	if (inet_pton(AF_INET, addr, &sa.sin_addr) != 1)
		errx(2, "not an address: %s", addr);
	return sa;
}

static int dial(int type, const struct sockaddr_in *sa)
{
	struct timeval patience = { .tv_sec = PATIENCE_S };
	int s = socket(AF_INET, type, type == SOCK_RAW ? IPPROTO_ICMP : 0);
	int one = 1;

	if (s < 0)
		err(1, "socket");
	if (type == SOCK_STREAM)
		setsockopt(s, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	setsockopt(s, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	setsockopt(s, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	if (connect(s, (const void *)sa, sizeof(*sa))) {
		close(s);
		return -1;
	}
	return s;
}

static void ready(void)
{
	puts("ready");
	fflush(stdout);
}

/* --- server ----------------------------------------------------------- */

static void greet(int ep, int listener)
{
	struct epoll_event ev = { .events = EPOLLIN };
	int one = 1, s;

	while ((s = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
		setsockopt(s, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
		ev.data.fd = s;
		epoll_ctl(ep, EPOLL_CTL_ADD, s, &ev);
	}
}

static void echo(int s)
{
	char b[4096];
	ssize_t n = read(s, b, sizeof(b));

	if (n > 0 && write(s, b, n) == n)
		return;
	if (n < 0 && errno == EAGAIN)
		return;
	close(s);
}

static int serve(char **arg)
{
	struct sockaddr_in sa = target("0.0.0.0", arg[0]);
	struct epoll_event ev = { .events = EPOLLIN }, got[EVENTS];
	int s = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), one = 1;
	int ep = epoll_create1(0), i, n;

	setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(s, (void *)&sa, sizeof(sa)) || listen(s, BACKLOG))
		err(1, "port %s", arg[0]);
	ev.data.fd = s;
	epoll_ctl(ep, EPOLL_CTL_ADD, s, &ev);
	ready();
	while (!stopped) {
		n = epoll_wait(ep, got, EVENTS, -1);
		for (i = 0; i < n; i++) {
			if (got[i].data.fd == s)
				greet(ep, s);
			else
				echo(got[i].data.fd);
		}
	}
	return 0;
}

/* Answers from the address that was asked, as a host may have several */
static int userve(char **arg)
{
	struct sockaddr_in sa = target("0.0.0.0", arg[0]), from;
	char b[2048], note[CMSG_SPACE(sizeof(struct in_pktinfo))];
	int s = socket(AF_INET, SOCK_DGRAM, 0), one = 1;
	struct iovec iov = { .iov_base = b };

	if (bind(s, (void *)&sa, sizeof(sa)) ||
	    setsockopt(s, IPPROTO_IP, IP_PKTINFO, &one, sizeof(one)))
		err(1, "port %s", arg[0]);
	ready();
	while (!stopped) {
		struct msghdr h = {
			.msg_name = &from, .msg_namelen = sizeof(from),
			.msg_iov = &iov, .msg_iovlen = 1,
			.msg_control = note, .msg_controllen = sizeof(note),
		};
		ssize_t n;

		iov.iov_len = sizeof(b);
		n = recvmsg(s, &h, 0);
		iov.iov_len = n;
		if (n > 0)
			sendmsg(s, &h, 0);
	}
	return 0;
}

/* --- transactions ----------------------------------------------------- */

static int compare(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static void report(uint32_t *took, uint64_t n, uint64_t start, uint64_t failed)
{
	double seconds = (now_ns() - start) / 1e9;
	uint64_t kept = n < SAMPLES ? n : SAMPLES;

	qsort(took, kept, sizeof(*took), compare);
	printf("n %llu seconds %.6f failed %llu", (unsigned long long)n,
	       seconds, (unsigned long long)failed);
	if (kept)
		printf(" p50 %.1f p95 %.1f p99 %.1f max %.1f",
		       took[kept / 2] / 1e3, took[kept * 95 / 100] / 1e3,
		       took[kept * 99 / 100] / 1e3, took[kept - 1] / 1e3);
	putchar('\n');
}

static size_t ping_size = 1;

static int ping(int s)
{
	static char c[4096];
	ssize_t n = write(s, c, ping_size) == (ssize_t)ping_size ? 1 : 0;
	size_t got = 0;

	while (n > 0 && got < ping_size) {
		n = read(s, c, ping_size - got);
		got += n > 0 ? n : 0;
	}
	return n > 0 ? 0 : -1;
}

/* When the next one is asked: now, or when it is @due, if that is not over */
static uint64_t await(uint64_t due)
{
	struct timespec t = { .tv_sec = due / 1000000000,
			      .tv_nsec = due % 1000000000 };

	if (due <= now_ns())
		return due;
	clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL);
	return now_ns();
}

/* Over and over in one connection (@keep) or one each, as fast as it goes or every
 * @pace nanoseconds; by @ask */
static int transact(char **arg, int type, int keep, uint64_t pace,
		    int (*ask)(int s))
{
	struct sockaddr_in sa = target(arg[0], arg[1]);
	uint64_t start, end, last, n = 0, failed = 0;
	uint32_t *took = calloc(SAMPLES, sizeof(*took));
	int s = -1;

	if (arg[3])
		ping_size = atoi(arg[3]);
	if (!took || (keep && ((s = dial(type, &sa)) < 0 || ask(s))))
		err(1, "%s:%s", arg[0], arg[1]);
	start = last = now_ns();
	end = start + atof(arg[2]) * 1e9;
	while (last < end) {
		if (!keep)
			s = dial(type, &sa);
		if (s < 0 || ask(s))
			failed++;
		else if (n++ < SAMPLES)
			took[n - 1] = now_ns() - last;
		if (!keep && s >= 0)
			close(s);
		if (keep && failed)
			break;
		last = pace ? await(last + pace) : now_ns();
	}
	report(took, n, start, failed);
	return 0;
}

static int rr(char **arg)
{
	return transact(arg, SOCK_STREAM, 1, 0, ping);
}

static int prr(char **arg)
{
	return transact(arg, SOCK_STREAM, 1, PACE_NS, ping);
}

static int urr(char **arg)
{
	return transact(arg, SOCK_DGRAM, 1, 0, ping);
}

static int dns(char **arg)
{
	return transact(arg, SOCK_DGRAM, 0, 0, ping);
}

static int crr(char **arg)
{
	arg[3] = NULL; /* a byte */
	return transact(arg, SOCK_STREAM, 0, 0, ping);
}

static uint16_t icmp_sum(const void *p, size_t len)
{
	const uint8_t *b = p;
	uint32_t sum = 0;
	size_t i;

	for (i = 0; i < len; i++)
		sum += i & 1 ? b[i] : b[i] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return htons(~sum);
}

static int echo_request(int s)
{
	static uint16_t sequence;
	char b[sizeof(struct iphdr) + 40 + 4096] = { 0 };
	struct icmphdr h = { .type = ICMP_ECHO, .un.echo.id = htons(getpid()),
			     .un.echo.sequence = htons(++sequence) };
	const struct icmphdr *r;
	ssize_t n;

	memcpy(b, &h, sizeof(h));
	h.checksum = icmp_sum(b, sizeof(h) + ping_size);
	memcpy(b, &h, sizeof(h));
	if (send(s, b, sizeof(h) + ping_size, 0) < 0)
		return -1;
	do {
		n = read(s, b, sizeof(b));
		r = (const void *)(b + (b[0] & 15) * 4);
	} while (n > 0 && (r->type != ICMP_ECHOREPLY ||
			   r->un.echo.id != h.un.echo.id ||
			   r->un.echo.sequence != h.un.echo.sequence));
	return n > 0 ? 0 : -1;
}

/* A raw socket, as the groups of a namespace's ping sockets are not ours */
static int icmp(char **arg)
{
	return transact(arg, SOCK_RAW, 1, 0, echo_request);
}

/* --- many long transfers ------------------------------------------------ */

static char bulk[1 << 17];
static uint64_t moved;

static void move(int s, int out)
{
	ssize_t n = out ? write(s, bulk, sizeof(bulk)) :
			  read(s, bulk, sizeof(bulk));

	if (n > 0)
		moved += n;
	else if (!n || errno != EAGAIN)
		close(s);
}

static void add(int ep, int s, int out)
{
	struct epoll_event ev = { .events = out ? EPOLLOUT : EPOLLIN,
				  .data.fd = s };

	epoll_ctl(ep, EPOLL_CTL_ADD, s, &ev);
}

/* @listener, or -1 */
static int transfer(int ep, int listener, int out)
{
	struct epoll_event got[EVENTS];
	int i, n, s;

	while (!stopped) {
		n = epoll_wait(ep, got, EVENTS, -1);
		for (i = 0; i < n; i++) {
			if (got[i].data.fd != listener)
				move(got[i].data.fd, out);
			else if ((s = accept4(listener, NULL, NULL,
					      SOCK_NONBLOCK)) >= 0)
				add(ep, s, out);
		}
	}
	printf("bytes %llu\n", (unsigned long long)moved);
	return 0;
}

static int bulk_server(char **arg, int out)
{
	struct sockaddr_in sa = target("0.0.0.0", arg[0]);
	int s = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), one = 1;
	int ep = epoll_create1(0);

	setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(s, (void *)&sa, sizeof(sa)) || listen(s, BACKLOG))
		err(1, "port %s", arg[0]);
	add(ep, s, 0);
	ready();
	return transfer(ep, s, out);
}

static int bulk_client(char **arg, int out)
{
	struct sockaddr_in sa = target(arg[0], arg[1]);
	int i, count = atoi(arg[2]), ep = epoll_create1(0);

	for (i = 0; i < count; i++) {
		int s = dial(SOCK_STREAM, &sa);

		if (s < 0)
			err(1, "connection %d", i);
		fcntl(s, F_SETFL, O_NONBLOCK);
		add(ep, s, out);
	}
	ready();
	return transfer(ep, -1, out);
}

static int flood(char **arg)
{
	return bulk_server(arg, 1);
}

static int sink(char **arg)
{
	return bulk_server(arg, 0);
}

static int pull(char **arg)
{
	return bulk_client(arg, 0);
}

static int push(char **arg)
{
	return bulk_client(arg, 1);
}

static int hold(char **arg)
{
	struct sockaddr_in sa = target(arg[0], arg[1]);
	int i, count = atoi(arg[2]);

	for (i = 0; i < count; i++) {
		int s = dial(SOCK_STREAM, &sa);

		/* Answered once: the flow is established at both ends */
		if (s < 0 || ping(s))
			err(1, "connection %d", i);
	}
	ready();
	while (!stopped)
		pause();
	return 0;
}

static int many(char **arg)
{
	struct sockaddr_in sa = target(arg[0], arg[1]);
	struct epoll_event got[EVENTS];
	uint64_t start, end, n = 0;
	int i, k, count = atoi(arg[3]), ep = epoll_create1(0);
	char c = 0;

	start = now_ns();
	end = start + atof(arg[2]) * 1e9;
	for (i = 0; i < count; i++) {
		int s = dial(SOCK_STREAM, &sa);

		if (s < 0 || write(s, &c, 1) != 1)
			err(1, "connection %d", i);
		add(ep, s, 0);
	}
	while (now_ns() < end) {
		k = epoll_wait(ep, got, EVENTS, PATIENCE_S * 1000);
		if (!k)
			errx(1, "no answer");
		for (i = 0; i < k; i++, n++)
			if (read(got[i].data.fd, &c, 1) != 1 ||
			    write(got[i].data.fd, &c, 1) != 1)
				errx(1, "a connection ended");
	}
	printf("n %llu seconds %.6f\n", (unsigned long long)n,
	       (now_ns() - start) / 1e9);
	return 0;
}

/* --- datagrams -------------------------------------------------------- */

static char body[BODY_BYTES];

static int send_plain(int s, int size)
{
	static struct iovec iov[BATCH];
	static struct mmsghdr m[BATCH];
	int i;

	for (i = 0; !m[0].msg_hdr.msg_iovlen && i < BATCH; i++)
		iov[i] = (struct iovec){ body, size };
	for (i = 0; i < BATCH; i++)
		m[i].msg_hdr = (struct msghdr){
			.msg_iov = &iov[i], .msg_iovlen = 1,
		};
	i = sendmmsg(s, m, BATCH, 0);
	return i < 0 ? 0 : i;
}

static int send_gso(int s, int size)
{
	int count = GSO_BYTES / size;

	return send(s, body, count * size, 0) < 0 ? 0 : count;
}

static int udp_send(char **arg)
{
	struct sockaddr_in sa = target(arg[0], arg[1]);
	int s = socket(AF_INET, SOCK_DGRAM, 0), size = atoi(arg[3]);
	int gso = !strcmp(arg[4], "gso");
	uint64_t start = now_ns(), end = start + atof(arg[2]) * 1e9, n = 0;

	if (connect(s, (void *)&sa, sizeof(sa)))
		err(1, "connect");
	if (gso && setsockopt(s, IPPROTO_UDP, UDP_SEGMENT, &size, sizeof(size)))
		err(1, "UDP_SEGMENT");
	while (now_ns() < end)
		n += gso ? send_gso(s, size) : send_plain(s, size);
	printf("n %llu seconds %.6f\n", (unsigned long long)n,
	       (now_ns() - start) / 1e9);
	return 0;
}

static int segment_size(struct msghdr *h)
{
	struct cmsghdr *c;
	int size = 0;

	for (c = CMSG_FIRSTHDR(h); c; c = CMSG_NXTHDR(h, c))
		if (c->cmsg_level == IPPROTO_UDP && c->cmsg_type == UDP_GRO)
			memcpy(&size, CMSG_DATA(c), sizeof(size));
	return size;
}

static uint64_t receive(int s)
{
	static char in[BATCH][BODY_BYTES], note[BATCH][64];
	struct iovec iov[BATCH];
	struct mmsghdr m[BATCH];
	uint64_t n = 0;
	int i, got;

	for (i = 0; i < BATCH; i++) {
		iov[i] = (struct iovec){ in[i], sizeof(in[i]) };
		m[i].msg_hdr = (struct msghdr){
			.msg_iov = &iov[i], .msg_iovlen = 1,
			.msg_control = note[i],
			.msg_controllen = sizeof(note[i]),
		};
	}
	got = recvmmsg(s, m, BATCH, MSG_WAITFORONE, NULL);
	for (i = 0; i < got; i++) {
		int size = segment_size(&m[i].msg_hdr);

		n += size ? (m[i].msg_len + size - 1) / size : 1;
	}
	return n;
}

static int udp_recv(char **arg)
{
	struct sockaddr_in sa = target("0.0.0.0", arg[0]);
	struct timeval tick = { .tv_usec = 100000 };
	int s = socket(AF_INET, SOCK_DGRAM, 0), one = 1, room = RCVBUF;
	uint64_t n = 0;

	setsockopt(s, IPPROTO_UDP, UDP_GRO, &one, sizeof(one));
	setsockopt(s, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof(room));
	setsockopt(s, SOL_SOCKET, SO_RCVTIMEO, &tick, sizeof(tick));
	if (bind(s, (void *)&sa, sizeof(sa)))
		err(1, "port %s", arg[0]);
	ready();
	while (!stopped)
		n += receive(s);
	printf("n %llu\n", (unsigned long long)n);
	return 0;
}

/* --- start ------------------------------------------------------------ */

static int stamp(char **arg)
{
	struct sockaddr_in sa = target(arg[0], arg[1]);
	uint64_t born = now_ns(), end = born + PATIENCE_S * 1000000000ULL;

	/* Unreachable until there is a route: try again, politely */
	while (dial(SOCK_STREAM, &sa) < 0 && now_ns() < end)
		usleep(200);
	printf("stamp %llu %llu\n", (unsigned long long)born,
	       (unsigned long long)now_ns());
	return 0;
}

static int start(char **arg)
{
	unsigned long long born, ready_ns;
	uint64_t begin;
	FILE *in;
	int p[2];
	pid_t pid;

	if (pipe(p))
		err(1, "pipe");
	begin = now_ns();
	pid = fork();
	if (!pid) {
		signal(SIGPIPE, SIG_DFL);
		dup2(p[1], 1);
		close(p[0]);
		close(p[1]);
		execvp(arg[0], arg);
		err(1, "%s", arg[0]);
	}
	close(p[1]);
	in = fdopen(p[0], "r");
	if (!in || fscanf(in, "stamp %llu %llu", &born, &ready_ns) != 2)
		errx(1, "%s said nothing", arg[0]);
	waitpid(pid, NULL, 0);
	printf("command %.3f ready %.3f\n", (born - begin) / 1e6,
	       (ready_ns - begin) / 1e6);
	return 0;
}

static const struct {
	const char *name;
	int (*run)(char **arg);
	int args;
} table[] = {
	{ "serve", serve, 1 }, { "rr", rr, 3 }, { "crr", crr, 3 },
	{ "prr", prr, 3 }, { "userve", userve, 1 }, { "urr", urr, 3 },
	{ "dns", dns, 3 }, { "ping", icmp, 3 }, { "hold", hold, 3 },
	{ "many", many, 4 },
	{ "send", udp_send, 5 }, { "recv", udp_recv, 1 },
	{ "flood", flood, 1 }, { "sink", sink, 1 }, { "pull", pull, 3 },
	{ "push", push, 3 }, { "stamp", stamp, 2 }, { "start", start, 1 },
};

int main(int argc, char **argv)
{
	struct sigaction sa = { .sa_handler = stop };
	size_t i, n = sizeof(table) / sizeof(table[0]);

	sigaction(SIGTERM, &sa, NULL);
	signal(SIGPIPE, SIG_IGN);
	for (i = 0; i < n && argc > 1; i++) {
		if (strcmp(argv[1], table[i].name) || argc < table[i].args + 2)
			continue;
		return table[i].run(argv + 2);
	}
	errx(2, "see the top of load.c");
}
