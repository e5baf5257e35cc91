/* SPDX-License-Identifier: GPL-2.0-or-later */
/* unit: emit icmp udp_splice mcast mcast_sock udp_flow udp_freeze freeze state udp_out udp_in flow egress fwd dnsanswer ns listen rules sock neigh tap pcap loop timer segment packet checksum iov addrset addr util log events */
#include "udp_flow.h"

#include "refuse.h"
#include "toy.h"

#include <arpa/inet.h>
#include <netinet/ip.h>

#define GUEST4 "192.0.2.15"
#define GUEST6 "2001:db8::15"
#define LO4    "192.0.2.254"
#define LO6    "2001:db8::fe"

static struct udp udp;
static struct listen listeners;

static int setup(void **state)
{
	enter_netns(state);
	sock_init(&env);
	return 0;
}

static void send_stray(void);

static struct sock_env all;

static int fresh(void **state)
{
	(void)state;
	if (!all.v4)
		all = env;
	env = all;
	toy_start();
	assert_int_equal(listen_init(&listeners, &loop, &env, NULL), 0);
	udp_init(&udp, &flows, &toy.tap, &fwd, &listeners, &neigh);
	refuse.connects = send_stray;
	return 0;
}

static int teardown(void **state)
{
	unsigned i;

	(void)state;
	assert_int_equal(toy.out, 0);
	for (i = 0; i < flows.fresh; i++) {
		struct flow *f = &flows.flow[i];

		if (f->kind != FLOW_FREE)
			flows.type[f->kind]->expire(&udp, f);
	}
	assert_int_equal(flows.count, 0);
	rules.n = 0;
	assert_int_equal(listen_start(&listeners, PIF_HOST, &rules), 0);
	assert_int_equal(listen_start(&listeners, PIF_SPLICE, &rules), 0);
	close(loop.epfd);
	return 0;
}

/* --- the other end ------------------------------------------------------ */

/* What sock.c has of its own, so that a fault there does not hide one here */
static int peer_at(const char *text, uint16_t port, uint16_t *got)
{
	struct sockaddr_storage ss = { 0 };
	struct sockaddr_in *in = (void *)&ss;
	struct sockaddr_in6 *in6 = (void *)&ss;
	socklen_t len = sizeof(ss);
	bool v4 = !strchr(text, ':');
	int on = 1, fd;

	ss.ss_family = v4 ? AF_INET : AF_INET6;
	in->sin_port = htons(port);
	inet_pton(ss.ss_family, text,
		  v4 ? (void *)&in->sin_addr : (void *)&in6->sin6_addr);
	fd = socket(ss.ss_family, SOCK_DGRAM | SOCK_NONBLOCK, 0);
	assert_true(fd >= 0);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	assert_int_equal(bind(fd, (void *)&ss, v4 ? sizeof(*in)
						  : sizeof(*in6)),
			 0);
	assert_int_equal(getsockname(fd, (void *)&ss, &len), 0);
	*got = ntohs(in->sin_port);
	return fd;
}

static void send_to(int fd, const char *text, uint16_t port, const void *p,
		    size_t len)
{
	struct sockaddr_storage ss = { 0 };
	struct sockaddr_in *in = (void *)&ss;
	struct sockaddr_in6 *in6 = (void *)&ss;
	bool v4 = !strchr(text, ':');

	ss.ss_family = v4 ? AF_INET : AF_INET6;
	in->sin_port = htons(port);
	inet_pton(ss.ss_family, text,
		  v4 ? (void *)&in->sin_addr : (void *)&in6->sin6_addr);
	assert_int_equal(sendto(fd, p, len, 0, (void *)&ss,
				v4 ? sizeof(*in) : sizeof(*in6)),
			 len);
}

/* What arrives just before connect() */
static struct {
	int fd, on; /* sends to @to:@port while @on, counted down */
	uint16_t port;
	const char *to;
} stray;

static void send_stray(void)
{
	if (!stray.on)
		return;
	stray.on--;
	send_to(stray.fd, stray.to, stray.port, "stray", 5);
}

/* One datagram with its source's port, -1 if there is none */
static ssize_t take(int fd, void *buf, size_t size, uint16_t *from,
		    char *text)
{
	struct sockaddr_storage ss;
	struct sockaddr_in *in = (void *)&ss;
	struct sockaddr_in6 *in6 = (void *)&ss;
	socklen_t len = sizeof(ss);
	ssize_t n = recvfrom(fd, buf, size, 0, (void *)&ss, &len);

	if (from)
		*from = n < 0 ? 0 : ntohs(in->sin_port);
	if (n < 0)
		return -1;
	if (text)
		inet_ntop(ss.ss_family,
			  ss.ss_family == AF_INET ? (void *)&in->sin_addr
						  : (void *)&in6->sin6_addr,
			  text, ADDR_TEXT_LEN);
	return n;
}

/* --- the guest ---------------------------------------------------------- */

static struct toy_packet pkt[80];
static uint8_t bytes[1 << 17];

static struct flow *flow_of(const struct packet *p)
{
	struct side key = { .ours = p->t.dst, .theirs = p->t.src,
			    .our_port = p->t.dport, .their_port = p->t.sport,
			    .pif = PIF_TAP };
	unsigned i;

	return flow_find(&flows, IPPROTO_UDP, &key, &i);
}

/* The first @n of @pkt as one burst of one flow, as guest.c would do it */
static struct flow *burst(unsigned n)
{
	struct flow *f = flow_of(&pkt[0].p);
	enum verdict v = PASS;
	unsigned i;

	for (i = 0; i + 1 < n; i++)
		pkt[i].p.next = &pkt[i + 1].p;
	pkt[n - 1].p.next = NULL;
	if (!f)
		f = udp_open(&udp, &pkt[0].p, &v);
	assert_int_equal(v, PASS);
	assert_non_null(f);
	assert_null(flows.type[FLOW_UDP]->input(&udp, f, &pkt[0].p));
	return f;
}

static struct flow *say(const char *src, uint16_t sport, const char *dst,
			uint16_t dport, const void *p, size_t len)
{
	toy_udp(&pkt[0], src, sport, dst, dport, p, len);
	return burst(1);
}

static struct side *host(struct flow *f)
{
	return &f->side[f->side[0].pif == PIF_HOST ? 0 : 1];
}

/* Turns until the guest has @n frames */
static void until(struct flow *f, unsigned n)
{
	unsigned k;

	for (k = 0; toy.n < n && k < 100; k++) {
		if (f)
			toy_wait(host(f)->fd, POLLIN);
		toy_turn();
	}
	assert_int_equal(toy.n, n);
}

static void check_got(unsigned i, const char *src, uint16_t sport,
		      const char *dst, uint16_t dport, const void *p,
		      size_t len)
{
	struct toy_packet *g = toy_got(i);
	struct addr a = toy_addr(src), b = toy_addr(dst);

	assert_true(addr_equal(&g->p.t.src, &a));
	assert_true(addr_equal(&g->p.t.dst, &b));
	assert_int_equal(g->p.t.sport, sport);
	assert_int_equal(g->p.t.dport, dport);
	assert_int_equal(g->p.payload_len, len);
	assert_memory_equal(toy_payload(g), p, len);
}

/* --- both ways ---------------------------------------------------------- */

static void there_and_back(const char *guest, const char *known,
			   const char *real)
{
	uint16_t port, from;
	int p = peer_at(real, 0, &port);
	unsigned n = toy.n;
	struct flow *f;
	char buf[64];

	f = say(guest, 40000, known, port, "question", 8);
	toy_wait(p, POLLIN);
	assert_int_equal(take(p, buf, sizeof(buf), &from, NULL), 8);
	assert_memory_equal(buf, "question", 8);
	assert_int_equal(from, 40000);
	send_to(p, real, from, "an answer", 9);
	send_to(p, real, from, "", 0);
	until(f, n + 2);
	check_got(n, known, port, guest, 40000, "an answer", 9);
	check_got(n + 1, known, port, guest, 40000, "", 0);
	/* An empty one goes out, too */
	assert_ptr_equal(say(guest, 40000, known, port, "", 0), f);
	toy_wait(p, POLLIN);
	assert_int_equal(take(p, buf, sizeof(buf), NULL, NULL), 0);
	close(p);
}

static void datagrams_go_both_ways(void **state)
{
	(void)state;
	NEED_NETNS();
	there_and_back(GUEST4, LO4, "127.0.0.1");
	there_and_back(GUEST6, LO6, "::1");
	assert_int_equal(flows.count, 2);
}

/* --- from the guest ----------------------------------------------------- */

static void fill(void)
{
	size_t i;

	for (i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(i * 31 + (i >> 8));
}

/* The peer must see @len[0], @len[1] ... whatever way they were sent */
static void expect_lengths(int p, const size_t *len, unsigned n)
{
	static uint8_t buf[65536];
	size_t off = 0;
	unsigned i;

	for (i = 0; i < n; i++) {
		toy_wait(p, POLLIN);
		assert_int_equal(take(p, buf, sizeof(buf), NULL, NULL),
				 len[i]);
		assert_memory_equal(buf, bytes + off, len[i]);
		off += len[i];
	}
	assert_int_equal(take(p, buf, sizeof(buf), NULL, NULL), -1);
}

static void send_lengths(uint16_t port, const size_t *len, unsigned n)
{
	size_t off = 0;
	unsigned i;

	for (i = 0; i < n; i++) {
		toy_udp(&pkt[i], GUEST4, 40001, LO4, port, bytes + off,
			len[i]);
		off += len[i];
	}
	burst(n);
}

static void bursts_arrive_as_they_were(void **state)
{
	static const size_t mixed[] = { 1000, 1000, 1000, 400, 1000, 1000, 0,
					0, 7, 7, 7, 8, 8, 3, 1400, 9000, 9000,
					1 };
	size_t same[70], big[3] = { 40000, 40000, 40000 };
	unsigned gso, i;
	uint16_t port;
	int p;

	(void)state;
	NEED_NETNS();
	fill();
	for (i = 0; i < 70; i++)
		same[i] = 100; /* more than one run, more than one batch */
	for (gso = 0; gso < 2; gso++) {
		env.gso = gso && all.gso;
		p = peer_at("127.0.0.1", 0, &port);
		send_lengths(port, mixed, ARRAY_SIZE(mixed));
		expect_lengths(p, mixed, ARRAY_SIZE(mixed));
		send_lengths(port, same, ARRAY_SIZE(same));
		expect_lengths(p, same, ARRAY_SIZE(same));
		send_lengths(port, big, ARRAY_SIZE(big));
		expect_lengths(p, big, ARRAY_SIZE(big));
		close(p);
	}
	assert_int_equal(udp.drops[DROP_SOCKET], 0);
}

static void send_run(uint16_t port, size_t len, uint16_t size)
{
	toy_udp(&pkt[0], GUEST4, 40001, LO4, port, bytes, len);
	pkt[0].f.note.gso_type = 5;
	pkt[0].f.note.gso_size = size;
	toy_parse(&pkt[0], pkt[0].f.len, &pkt[0].f.note);
	assert_int_equal(pkt[0].p.gso_size, size);
	burst(1);
}

static void runs_of_the_guest_come_apart(void **state)
{
	size_t len[101], i;
	unsigned gso;
	uint16_t port;
	int p;

	(void)state;
	NEED_NETNS();
	fill();
	for (i = 0; i < 101; i++)
		len[i] = 50;
	len[100] = 13;
	for (gso = 0; gso < 2; gso++) {
		env.gso = gso && all.gso;
		p = peer_at("127.0.0.1", 0, &port);
		send_run(port, 5013, 50); /* more than 64 */
		expect_lengths(p, len, 101);
		send_run(port, 100, 50);
		expect_lengths(p, len, 2);
		close(p);
	}
}

static void refused_runs_go_one_by_one(void **state)
{
	static const size_t len[] = { 500, 500, 500, 100 };
	uint16_t port;
	struct flow *f;
	int p, on = 1;

	(void)state;
	NEED_NETNS();
	if (!env.gso)
		skip();
	fill();
	p = peer_at("127.0.0.1", 0, &port);
	f = say(GUEST4, 40001, LO4, port, "", 0);
	toy_wait(p, POLLIN);
	assert_int_equal(take(p, bytes, 1, NULL, NULL), 0);
	/* The kernel wants checksums if it is to segment: else EINVAL */
	setsockopt(host(f)->fd, SOL_SOCKET, SO_NO_CHECK, &on, sizeof(on));
	send_lengths(port, len, 4);
	expect_lengths(p, len, 4);
	send_lengths(port, len, 4);
	expect_lengths(p, len, 4);
	assert_int_equal(udp.drops[DROP_SOCKET], 0);
	close(p);
}

static int ttl_of(int fd)
{
	char buf[16], ctrl[128];
	struct iovec v = { buf, sizeof(buf) };
	struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1,
			    .msg_control = ctrl,
			    .msg_controllen = sizeof(ctrl) };
	struct cmsghdr *c;
	int ttl = -1;

	toy_wait(fd, POLLIN);
	assert_true(recvmsg(fd, &m, 0) >= 0);
	for (c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c))
		if (c->cmsg_type == IP_TTL)
			memcpy(&ttl, CMSG_DATA(c), sizeof(ttl));
	return ttl;
}

static void ttl_follows_the_guest(void **state)
{
	static const uint8_t ttl[] = { 64, 64, 3, 4, 64, 0 };
	uint16_t port;
	unsigned i;
	int p, on = 1;

	(void)state;
	NEED_NETNS();
	p = peer_at("127.0.0.1", 0, &port);
	setsockopt(p, SOL_IP, IP_RECVTTL, &on, sizeof(on));
	for (i = 0; i < ARRAY_SIZE(ttl); i++) {
		toy_udp(&pkt[i], GUEST4, 40001, LO4, port, "x", 1);
		pkt[i].p.ttl = ttl[i];
	}
	burst(ARRAY_SIZE(ttl));
	for (i = 0; i + 1 < ARRAY_SIZE(ttl); i++)
		assert_int_equal(ttl_of(p), ttl[i]);
	/* What must not be forwarded is not */
	assert_int_equal(udp.drops[DROP_UNWANTED], 1);
	close(p);
}

static void refusal(const char *guest, const char *known, const char *real)
{
	uint16_t port;
	int p = peer_at(real, 0, &port);
	bool v4 = !strchr(real, ':');
	unsigned n = toy.n;
	struct toy_packet *g;
	struct addr peer = toy_addr(known);
	size_t ip = v4 ? 20 : 40;

	close(p);
	say(guest, 40009, known, port, "anybody?", 8);
	toy_turn();
	toy_turn();
	assert_int_equal(toy.n, n + 1);
	g = toy_got(n);
	assert_int_equal(g->p.icmp_type, v4 ? 3 : 1);
	assert_int_equal(g->p.icmp_code, v4 ? 3 : 4);
	assert_true(addr_equal(&g->p.t.src, &peer));
	assert_int_equal(ld_be16(toy_payload(g) + 8 + ip), 40009);
	assert_int_equal(ld_be16(toy_payload(g) + 8 + ip + 2), port);
	assert_memory_equal(toy_payload(g) + 8 + ip + 8, "anybody?", 8);
	/* The next one is sent in spite of what befell that one */
	p = peer_at(real, port, &port);
	say(guest, 40009, known, port, "you", 3);
	toy_wait(p, POLLIN);
	close(p);
}

static void refusals_are_told(void **state)
{
	(void)state;
	NEED_NETNS();
	refusal(GUEST4, LO4, "127.0.0.1");
	refusal(GUEST6, LO6, "::1");
	assert_int_equal(udp.drops[DROP_SOCKET], 0);
}

static void an_error_in_the_way_costs_nothing(void **state)
{
	uint16_t port;
	struct flow *f;
	char c;
	int p;

	(void)state;
	NEED_NETNS();
	p = peer_at("127.0.0.1", 0, &port);
	close(p);
	f = say(GUEST4, 40009, LO4, port, "a", 1);
	p = peer_at("127.0.0.1", port, &port);
	/* No turn in between: send itself meets the error */
	assert_ptr_equal(say(GUEST4, 40009, LO4, port, "b", 1), f);
	toy_wait(p, POLLIN);
	assert_int_equal(take(p, &c, 1, NULL, NULL), 1);
	assert_int_equal(c, 'b');
	assert_int_equal(toy.n, 1);
	close(p);
}

static void two_guests_one_port(void **state)
{
	uint16_t port, one, two;
	struct flow *f, *g;
	char c[2];
	int p;

	(void)state;
	NEED_NETNS();
	p = peer_at("127.0.0.1", 0, &port);
	f = say(GUEST4, 40009, LO4, port, "a", 1);
	g = say("192.0.2.16", 40009, LO4, port, "b", 1);
	assert_ptr_not_equal(f, g);
	toy_wait(p, POLLIN);
	assert_int_equal(take(p, &c[0], 1, &one, NULL), 1);
	toy_wait(p, POLLIN);
	assert_int_equal(take(p, &c[1], 1, &two, NULL), 1);
	assert_int_equal(one, 40009);
	assert_int_not_equal(two, one);
	send_to(p, "127.0.0.1", two, "B", 1);
	until(g, 1);
	check_got(0, LO4, port, "192.0.2.16", 40009, "B", 1);
	close(p);
}

static void verdicts(void **state)
{
	static const struct {
		const char *src, *dst;
		uint16_t sport, dport;
		enum verdict v;
	} t[] = {
		{ GUEST4, LO4, 0, 53, DROP_ENDPOINT },
		{ GUEST4, LO4, 1, 0, DROP_ENDPOINT },
		{ "0.0.0.0", LO4, 1, 2, DROP_ENDPOINT },
		{ "224.0.0.1", LO4, 1, 2, DROP_ENDPOINT },
		{ "255.255.255.255", LO4, 1, 2, DROP_ENDPOINT },
		{ GUEST4, "0.0.0.0", 1, 2, DROP_ENDPOINT },
		{ GUEST6, "::", 1, 2, DROP_ENDPOINT },
		{ "ff02::1", LO6, 1, 2, DROP_ENDPOINT },
	};
	enum verdict v;
	unsigned i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(t); i++) {
		toy_udp(&pkt[0], t[i].src, t[i].sport, t[i].dst, t[i].dport,
			"", 0);
		assert_null(udp_open(&udp, &pkt[0].p, &v));
		assert_int_equal(v, t[i].v);
	}
	lan.udp = false;
	toy_udp(&pkt[0], GUEST4, 1, LO4, 2, "", 0);
	assert_null(udp_open(&udp, &pkt[0].p, &v));
	assert_int_equal(v, DROP_PROTOCOL);
	assert_int_equal(flows.count, 0);
}

/* --- to the guest ------------------------------------------------------- */

static struct flow *ask(int p, uint16_t port)
{
	struct flow *f = say(GUEST4, 40002, LO4, port, "?", 1);
	char c;

	toy_wait(p, POLLIN);
	assert_int_equal(take(p, &c, 1, NULL, NULL), 1);
	/* Past the first read, which looks at addresses */
	send_to(p, "127.0.0.1", 40002, "!", 1);
	until(f, 1);
	toy.n = 0;
	return f;
}

static void sizes_may_change_at_any_time(void **state)
{
	static const size_t len[] = { 100, 5000, 1, 0, 60000, 7, 2048, 2049,
				      100, 65470 };
	uint16_t port;
	struct flow *f;
	unsigned i, k;
	int p;

	(void)state;
	NEED_NETNS();
	fill();
	p = peer_at("127.0.0.1", 0, &port);
	f = ask(p, port);
	for (k = 0; k < 2; k++) {
		toy.n = 0;
		for (i = 0; i < ARRAY_SIZE(len); i++)
			send_to(p, "127.0.0.1", 40002, bytes + i, len[i]);
		until(f, ARRAY_SIZE(len));
		for (i = 0; i < ARRAY_SIZE(len); i++)
			check_got(i, LO4, port, GUEST4, 40002, bytes + i,
				  len[i]);
	}
	assert_int_equal(udp.drops[DROP_NO_ROOM], 0);
	close(p);
}

/* What fragment @i of IPv4 has of layer 4, to @to, where it says it belongs */
static size_t read_fragment(unsigned i, uint8_t *to, bool last)
{
	static size_t end;
	const uint8_t *p = toy.frame[i].b;
	uint16_t word = ld_be16(p + 20);
	size_t len = ld_be16(p + 16) - 20U;

	if (!(word & 0x1fff))
		end = 0;
	assert_int_equal(p[14], 0x45);
	assert_int_equal(len, toy.frame[i].len - 34);
	assert_true(len <= 1008);
	assert_int_equal(csum_finish(csum_add(0, p + 14, 20)), 0);
	assert_int_equal(word, end / 8 | (last ? 0 : 0x2000));
	assert_int_equal(toy.frame[i].n.flags, 0);
	memcpy(to, p + 34, len);
	end += len;
	return len;
}

static uint16_t wrong(const uint8_t *udp_at, size_t len)
{
	struct addr a = toy_addr(LO4), b = toy_addr(GUEST4);

	return csum_finish(csum_add(csum_pseudo(&a, &b, IPPROTO_UDP,
						(uint32_t)len), udp_at, len));
}

/* Large ones are read as many as stay in the cache until they are sent, small ones in
 * batches, also after large ones */
static void batches_are_of_bytes(void **state)
{
	struct flow *f;
	unsigned i, k;
	uint16_t port;
	int p;

	(void)state;
	NEED_NETNS();
	fill();
	p = peer_at("127.0.0.1", 0, &port);
	f = ask(p, port);
	toy.n = 0;
	for (k = 0; k < 3; k++) {
		for (i = 0; i < 8; i++)
			send_to(p, "127.0.0.1", 40002, bytes, 60000);
		until(f, (k + 1) * 8);
		assert_in_range(toy.asked, 1, 4);
	}
	for (k = 0; k < 3; k++) {
		for (i = 0; i < 32; i++)
			send_to(p, "127.0.0.1", 40002, bytes, 100 + i);
		until(f, 24 + (k + 1) * 32);
	}
	assert_in_range(toy.asked, 16, UDP_BATCH);
	close(p);
}

static void too_big_for_the_guest(void **state)
{
	static uint8_t whole[10000];
	size_t n = 0;
	uint16_t port;
	struct flow *f;
	unsigned i;
	int p;

	(void)state;
	NEED_NETNS();
	fill();
	p = peer_at("127.0.0.1", 0, &port);
	f = ask(p, port);
	toy.tap.caps.frame_max = 14 + 20 + 8 + 1000;
	send_to(p, "127.0.0.1", 40002, bytes, 1000);
	send_to(p, "127.0.0.1", 40002, bytes, 1001);
	send_to(p, "127.0.0.1", 40002, bytes, 9000);
	send_to(p, "127.0.0.1", 40002, bytes, 999);
	until(f, 1 + 2 + 9 + 1);
	check_got(0, LO4, port, GUEST4, 40002, bytes, 1000);
	check_got(12, LO4, port, GUEST4, 40002, bytes, 999);
	/* 1008 bytes of layer 4 in a row of 1000 and the rest, with one sum */
	for (i = 1; i < 3; i++)
		n += read_fragment(i, whole + n, i == 2);
	assert_int_equal(n, 1009);
	assert_memory_equal(whole + 8, bytes, 1001);
	assert_int_equal(wrong(whole, n), 0);
	for (n = 0, i = 3; i < 12; i++)
		n += read_fragment(i, whole + n, i == 11);
	assert_int_equal(n, 9008);
	assert_memory_equal(whole + 8, bytes, 9000);
	assert_int_equal(wrong(whole, n), 0);
	/* They cannot be mixed up */
	assert_int_not_equal(ld_be16(toy.frame[1].b + 18),
			     ld_be16(toy.frame[3].b + 18));
	close(p);
}

static void short_slots_lose_by_name(void **state)
{
	uint16_t port;
	struct flow *f;
	int p;

	(void)state;
	NEED_NETNS();
	fill();
	p = peer_at("127.0.0.1", 0, &port);
	f = ask(p, port);
	toy.body_max = 300;
	send_to(p, "127.0.0.1", 40002, bytes, 300);
	send_to(p, "127.0.0.1", 40002, bytes, 301);
	send_to(p, "127.0.0.1", 40002, bytes, 10);
	until(f, 2);
	check_got(0, LO4, port, GUEST4, 40002, bytes, 300);
	check_got(1, LO4, port, GUEST4, 40002, bytes, 10);
	assert_int_equal(udp.drops[DROP_NO_ROOM], 1);
	close(p);
}

static void full_guest_leaves_it_in_the_socket(void **state)
{
	uint16_t port;
	struct flow *f;
	unsigned i;
	int p;

	(void)state;
	NEED_NETNS();
	fill();
	p = peer_at("127.0.0.1", 0, &port);
	f = ask(p, port);
	for (i = 0; i < 100; i++)
		send_to(p, "127.0.0.1", 40002, bytes + i, 10);
	toy.room = 0;
	toy_turn();
	toy_turn();
	assert_int_equal(toy.n, 0);
	toy.room = 3;
	for (i = 0; i < 100 && toy.n < 100; i++)
		toy_turn();
	assert_int_equal(toy.n, 100);
	for (i = 0; i < 100; i++)
		check_got(i, LO4, port, GUEST4, 40002, bytes + i, 10);
	assert_ptr_equal(flow_of(&pkt[0].p), f);
	close(p);
}

/* Frames as the datagrams that they stand for */
static unsigned unroll(size_t *len, unsigned max)
{
	unsigned i, n = 0;
	size_t off = 0;

	for (i = 0; i < toy.n; i++) {
		static uint8_t one[TOY_SLOT];
		const struct toy_frame *f = &toy.frame[i];
		size_t got;
		unsigned k;

		for (k = 0; (got = segment_split(one, f->b, f->len, &f->n, k));
		     k++) {
			assert_true(n < max);
			len[n] = got - 42;
			assert_memory_equal(one + 42, bytes + off, len[n]);
			off += len[n++];
			if (!f->n.gso_type)
				break;
		}
	}
	return n;
}

static void runs(size_t total, uint16_t size, size_t body_max)
{
	struct sock_bind any = { .addr = addr_any(true) };
	struct addr to = addr_loopback(true), a;
	struct iovec v = { bytes, total };
	struct sock_dgram d = { .iov = &v, .iov_cnt = 1, .len = total,
				.gso_size = size };
	size_t len[128], i, n = (total + size - 1) / size;
	uint16_t port;
	struct flow *f;
	unsigned k;
	int p = sock_udp(&env, &any, &to, 40003, false);

	assert_true(p >= 0);
	assert_int_equal(sock_local(p, &a, &port), 0);
	toy.n = 0;
	toy.body_max = body_max;
	f = say(GUEST4, 40003, LO4, port, "?", 1);
	/* Twice: the first read looks at addresses */
	for (k = 0; k < 2; k++) {
		toy.n = 0;
		assert_int_equal(sock_send_dgrams(p, &d, 1), 1);
		toy_wait(host(f)->fd, POLLIN);
		toy_turn();
		toy_turn();
		if (body_max >= total)
			assert_int_equal(toy.n, 1);
		assert_int_equal(unroll(len, 128), n);
		for (i = 0; i + 1 < n; i++)
			assert_int_equal(len[i], size);
		assert_int_equal(len[n - 1], total - (n - 1) * size);
	}
	sock_close(p);
}

static void runs_stay_whole_with_offload(void **state)
{
	(void)state;
	NEED_NETNS();
	if (!env.gso || !env.gro || !linux_has(5, 11))
		skip();
	fill();
	toy.tap.caps.uso = true;
	runs(10 * 1200 + 5, 1200, 65507);
	runs(64 * 100, 100, 65507);
	/* Longer than a slot: in two, none lost and none out of order */
	runs(65500, 1310, 65475);
	runs(65500, 1310, 20000);
}

/* Plain datagrams of one size are joined; what differs ends the run and nothing
 * is lost or moved.  How many frames were there? */
static unsigned joined(int p, struct flow *f, const size_t *len, unsigned n)
{
	size_t got[128], off = 0;
	unsigned i;

	toy.n = 0;
	for (i = 0; i < n; off += len[i++])
		send_to(p, "127.0.0.1", 40005, bytes + off, len[i]);
	toy_wait(host(f)->fd, POLLIN);
	for (i = 0; i < 8; i++)
		toy_turn();
	assert_int_equal(unroll(got, ARRAY_SIZE(got)), n);
	for (i = 0; i < n; i++)
		assert_int_equal(got[i], len[i]);
	return toy.n;
}

static void equal_ones_are_joined(void **state)
{
	enum { N = 60 };
	size_t len[N];
	uint16_t port;
	struct flow *f;
	unsigned i, k;
	int p;

	(void)state;
	NEED_NETNS();
	if (!env.gro)
		skip();
	fill();
	toy.tap.caps.uso = true;
	p = peer_at("127.0.0.1", 0, &port);
	f = say(GUEST4, 40005, LO4, port, "?", 1);
	for (i = 0; i < N; i++)
		len[i] = 1000;
	for (i = 0; i < 6; i++) /* looks at addresses, then at sizes */
		joined(p, f, len, N);
	assert_true(joined(p, f, len, N) <= 2);
	/* One that is short, long, empty or alone; then the same again */
	for (k = 0; k < 4; k++) {
		static const size_t odd[] = { 999, 1001, 0, 30000 };

		len[N / 2] = odd[k];
		joined(p, f, len, N);
		joined(p, f, len, N);
		len[N / 2] = 1000;
		joined(p, f, len, N);
		joined(p, f, len, 1);
	}
	assert_int_equal(udp.drops[DROP_NO_ROOM], 0);
	assert_int_equal(udp.drops[DROP_TOO_BIG], 0);
	close(p);
}

/* Another guest has come, with shorter buffers: what used to be joined fits none, and is
 * no reason to wait, let alone to keep others waiting */
static void joined_before_a_short_one(void **state)
{
	enum { N = 40, SIZE = 3000 };
	size_t len[N];
	uint16_t port;
	struct flow *f;
	unsigned i;
	int p;

	(void)state;
	NEED_NETNS();
	if (!env.gro)
		skip();
	fill();
	toy.tap.caps.uso = true;
	p = peer_at("127.0.0.1", 0, &port);
	f = say(GUEST4, 40005, LO4, port, "?", 1);
	for (i = 0; i < N; i++)
		len[i] = SIZE;
	for (i = 0; i < 8; i++)
		joined(p, f, len, N);
	assert_true(joined(p, f, len, N) <= 4);

	toy.n = 0;
	toy.tap.caps.uso = false;
	toy.tap.caps.frame_max = ETH_HEAD + 1500;
	toy.body_max = 1500 - IP4_HEAD;
	send_to(p, "127.0.0.1", 40005, bytes, SIZE);
	toy_wait(host(f)->fd, POLLIN);
	for (i = 0; i < 4; i++)
		toy_turn();
	assert_int_equal(toy.n, 3); /* fragments */
	assert_false(flows.guest_q.held);
	assert_int_equal(f->ready[1] & READY_IN, 0);
	close(p);
}

static void runs_come_apart_without(void **state)
{
	static const size_t size = 1200;
	size_t len[32];
	struct sock_bind any = { .addr = addr_any(true) };
	struct addr to = addr_loopback(true), a;
	struct iovec v = { bytes, size * 20 };
	struct sock_dgram d = { .iov = &v, .iov_cnt = 1, .gso_size = 1200 };
	uint16_t port;
	struct flow *f;
	int p = sock_udp(&env, &any, &to, 40004, false);

	(void)state;
	NEED_NETNS();
	if (!env.gso)
		skip();
	fill();
	assert_int_equal(sock_local(p, &a, &port), 0);
	f = say(GUEST4, 40004, LO4, port, "?", 1);
	assert_int_equal(sock_send_dgrams(p, &d, 1), 1);
	until(f, 20);
	assert_int_equal(unroll(len, 32), 20);
	sock_close(p);
}

/* --- listeners ---------------------------------------------------------- */

static void serve(const char *listen, uint16_t port, uint16_t to)
{
	rules.n = 1;
	rules.r[0] = (struct rule){ .first = port, .last = port, .to = to,
				    .proto = IPPROTO_UDP };
	if (listen)
		rules.r[0].listen = toy_addr(listen);
	else
		rules.r[0].flags = RULE_DUAL;
	assert_int_equal(listen_start(&listeners, PIF_HOST, &rules), 0);
}

static struct flow *got_flow(unsigned i)
{
	struct tuple *t = &toy_got(i)->p.t;
	struct side key = { .ours = t->src, .theirs = t->dst,
			    .our_port = t->sport, .their_port = t->dport,
			    .pif = PIF_TAP };
	unsigned side;

	return flow_find(&flows, IPPROTO_UDP, &key, &side);
}

static void client(const char *listen, const char *at, const char *bind_to,
		   const char *known, const char *guest)
{
	char buf[16], from[ADDR_TEXT_LEN];
	uint16_t port, answerer;
	int c = peer_at(bind_to, 0, &port);
	struct flow *f;

	serve(listen, 7000, 8000);
	send_to(c, at, 7000, "first", 5);
	send_to(c, at, 7000, "second", 6);
	until(NULL, 2);
	check_got(0, known, port, guest, 8000, "first", 5);
	check_got(1, known, port, guest, 8000, "second", 6);
	assert_int_equal(flows.count, 1);
	f = got_flow(0);
	assert_non_null(f);
	/* From the flow's own socket now */
	send_to(c, at, 7000, "third", 5);
	until(f, 3);
	assert_int_equal(flows.count, 1);
	/* The answer is from the address that was asked */
	assert_ptr_equal(say(guest, 8000, known, port, "answer", 6), f);
	toy_wait(c, POLLIN);
	assert_int_equal(take(c, buf, sizeof(buf), &answerer, from), 6);
	assert_string_equal(from, at);
	assert_int_equal(answerer, 7000);
	close(c);
}

static void close_listener(void)
{
	rules.n = 0;
	assert_int_equal(listen_start(&listeners, PIF_HOST, &rules), 0);
}

static void clients_reach_the_guest(void **state)
{
	(void)state;
	NEED_NETNS();
	client("0.0.0.0", "127.0.0.5", "127.0.0.1", LO4, GUEST4);
	close_listener();
}

static void clients_reach_the_guest_dual4(void **state)
{
	(void)state;
	NEED_NETNS();
	client(NULL, "127.0.0.1", "127.0.0.1", LO4, GUEST4);
	close_listener();
}

static void clients_reach_the_guest_dual6(void **state)
{
	(void)state;
	NEED_NETNS();
	client(NULL, "::1", "::1", LO6, GUEST6);
	close_listener();
}

static void clients_do_not_mix(void **state)
{
	uint16_t port[40];
	int c[40], i;
	char text[40][8];

	(void)state;
	NEED_NETNS();
	serve("127.0.0.1", 7000, 7000);
	for (i = 0; i < 40; i++) {
		/* Of those that share addresses, the kernel may give two the
		 * same port */
		c[i] = peer_at("127.0.0.1", (uint16_t)(20000 + i), &port[i]);
		snprintf(text[i], sizeof(text[i]), "%d", i);
		send_to(c[i], "127.0.0.1", 7000, text[i], strlen(text[i]));
	}
	until(NULL, 40);
	for (i = 0; i < 40; i++) {
		check_got((unsigned)i, LO4, port[i], GUEST4, 7000, text[i],
			  strlen(text[i]));
		close(c[i]);
	}
	assert_int_equal(flows.count, 40);
	close_listener();
}

static void unwanted_is_consumed(void **state)
{
	uint16_t port;
	int c;

	(void)state;
	NEED_NETNS();
	serve("127.0.0.1", 7000, 7000);
	seen.v4 = (struct addr){ 0 }; /* no guest yet */
	c = peer_at("127.0.0.1", 0, &port);
	send_to(c, "127.0.0.1", 7000, "x", 1);
	toy_turn();
	toy_turn();
	assert_int_equal(flows.count, 0);
	assert_int_equal(udp.drops[DROP_NO_ROUTE], 1);
	close_listener();
	close(c);
}

static void strays_find_their_flow(void **state)
{
	uint16_t port, other;
	int c, s;

	(void)state;
	NEED_NETNS();
	serve("127.0.0.1", 7000, 7000);
	c = peer_at("127.0.0.1", 0, &port);
	s = peer_at("127.0.0.1", 0, &other);
	stray.fd = s;
	stray.port = 7000;
	stray.to = "127.0.0.1";
	stray.on = 1;
	send_to(c, "127.0.0.1", 7000, "mine", 4);
	toy_turn();
	toy_turn();
	toy_turn();
	assert_int_equal(stray.on, 0);
	assert_int_equal(toy.n, 2);
	check_got(0, LO4, port, GUEST4, 7000, "mine", 4);
	check_got(1, LO4, other, GUEST4, 7000, "stray", 5);
	assert_int_equal(flows.count, 2);
	close_listener();
	close(c);
	close(s);
}

/* TFTP: who was asked answers from another port, and that is another flow once the
 * guest has answered there */
static void another_port_answers(void **state)
{
	uint16_t port, other, from;
	struct flow *f, *g;
	char text[16];
	int p, s;

	(void)state;
	NEED_NETNS();
	p = peer_at("127.0.0.1", 0, &port);
	s = peer_at("127.0.0.1", 0, &other);
	f = say(GUEST4, 40008, LO4, port, "?", 1);
	send_to(s, "127.0.0.1", 40008, "data", 4);
	until(f, 1);
	check_got(0, LO4, other, GUEST4, 40008, "data", 4);
	assert_int_equal(flows.count, 1);
	g = say(GUEST4, 40008, LO4, other, "ack", 3);
	assert_ptr_not_equal(f, g);
	toy_wait(s, POLLIN);
	assert_int_equal(take(s, text, sizeof(text), &from, NULL), 3);
	assert_int_equal(from, 40008);
	/* Whoever's socket gets them */
	send_to(s, "127.0.0.1", 40008, "more", 4);
	send_to(p, "127.0.0.1", 40008, "answer", 6);
	until(NULL, 3);
	check_got(1, LO4, other, GUEST4, 40008, "more", 4);
	check_got(2, LO4, port, GUEST4, 40008, "answer", 6);
	assert_int_equal(flows.count, 2);
	close(p);
	close(s);
}

/* What a stranger says is no answer: the flow lives no longer for it, and a resolver
 * that is silent stays so */
static void strangers_answer_nothing(void **state)
{
	uint16_t port, other;
	struct flow *f;
	uint64_t due;
	int p, s;

	(void)state;
	NEED_NETNS();
	p = peer_at("127.0.0.1", 0, &port);
	s = peer_at("127.0.0.2", 0, &other);
	f = say(GUEST4, 40008, LO4, port, "?", 1);
	dgrams_of(f)->dns = true;
	dgrams_of(f)->dns_due = due = f->timer.due_ms - 1;
	flow_timer(&flows, f, due);
	send_to(s, "127.0.0.1", 40008, "!", 1);
	toy_wait(host(f)->fd, POLLIN);
	toy_turn();
	assert_int_equal(f->ready[1] & READY_IN, 0);
	assert_int_equal(f->timer.due_ms, due);
	assert_int_equal(dgrams_of(f)->dns_due, due);
	assert_int_equal(flow_state(&flows, f), FLOW_UNREPLIED);
	assert_true(f->lone_prev);
	send_to(p, "127.0.0.1", 40008, "answer", 6);
	until(f, 1);
	assert_int_equal(dgrams_of(f)->dns_due, 0);
	assert_int_equal(flow_state(&flows, f), FLOW_REPLIED);
	assert_false(f->lone_prev);
	close(p);
	close(s);
}

/* Where much is going on, the kernel looks where it comes from */
static void no_strangers_among_many(void **state)
{
	uint16_t port, other;
	struct flow *f;
	char text[16];
	unsigned i;
	int p, s;

	(void)state;
	NEED_NETNS();
	p = peer_at("127.0.0.1", 0, &port);
	s = peer_at("127.0.0.1", 0, &other);
	stray.fd = s;
	stray.port = 40008;
	stray.to = "127.0.0.1";
	stray.on = 1;
	for (i = 0; i < 300; i++) {
		f = say(GUEST4, 40008, LO4, port, "?", 1);
		toy_wait(p, POLLIN);
		assert_int_equal(take(p, text, sizeof(text), NULL, NULL), 1);
	}
	assert_int_equal(stray.on, 0);
	send_to(p, "127.0.0.1", 40008, "answer", 6);
	until(f, 1);
	check_got(0, LO4, port, GUEST4, 40008, "answer", 6);
	assert_int_equal(udp.drops[DROP_UNWANTED], 1);
	assert_int_equal(flows.count, 1);
	close(p);
	close(s);
}

/* A port that somebody else would share is not ours to take */
static void ports_of_others_are_left(void **state)
{
	uint16_t port, from;
	char text[16];
	int p, s;

	(void)state;
	NEED_NETNS();
	p = peer_at("127.0.0.1", 0, &port);
	s = peer_at("0.0.0.0", 40009, &from);
	say(GUEST4, 40009, LO4, port, "?", 1);
	toy_wait(p, POLLIN);
	assert_int_equal(take(p, text, sizeof(text), &from, NULL), 1);
	assert_int_not_equal(from, 40009);
	close(p);
	close(s);
}

/* --- groups ------------------------------------------------------------- */

static bool add_address(const char *text)
{
	struct ifreq r = { .ifr_name = "lo:1" };
	struct sockaddr_in *in = (void *)&r.ifr_addr;
	int fd = socket(AF_INET, SOCK_DGRAM, 0);
	bool ok;

	in->sin_family = AF_INET;
	inet_pton(AF_INET, text, &in->sin_addr);
	ok = !ioctl(fd, SIOCSIFADDR, &r);
	inet_pton(AF_INET, "255.255.255.0", &in->sin_addr);
	ok = ok && !ioctl(fd, SIOCSIFNETMASK, &r);
	close(fd);
	return ok;
}

static void broadcast_is_answered_by_members(void **state)
{
	uint16_t port, from;
	struct flow *f;
	char buf[16];
	int p;

	(void)state;
	NEED_NETNS();
	if (!add_address("198.51.100.1"))
		skip();
	p = peer_at("0.0.0.0", 0, &port);
	f = say(GUEST4, 40005, "198.51.100.255", port, "who?", 4);
	toy_wait(p, POLLIN);
	assert_int_equal(take(p, buf, sizeof(buf), &from, NULL), 4);
	assert_int_equal(from, 40005);
	close(p);
	p = peer_at("198.51.100.1", port, &port);
	send_to(p, "198.51.100.1", from, "I", 1);
	until(f, 1);
	check_got(0, "198.51.100.1", port, GUEST4, 40005, "I", 1);
	/* Again, to the same group by the same flow */
	assert_ptr_equal(say(GUEST4, 40005, "198.51.100.255", port, "?", 1),
			 f);
	close(p);
}

/* --- time --------------------------------------------------------------- */

static void patience_grows_with_conversation(void **state)
{
	uint16_t port;
	struct flow *f;
	char c;
	int p;

	(void)state;
	NEED_NETNS();
	udp.patience.single_ms = 1000;
	udp.patience.stream_ms = 5000;
	p = peer_at("127.0.0.1", 0, &port);
	say(GUEST4, 40006, LO4, port, "1", 1);
	f = say(GUEST4, 40006, LO4, port, "2", 1);
	/* Many, but one way only */
	assert_int_equal(f->timer.due_ms, loop.now_ms + 1000);
	toy_wait(p, POLLIN);
	assert_int_equal(take(p, &c, 1, NULL, NULL), 1);
	send_to(p, "127.0.0.1", 40006, "x", 1);
	until(f, 1);
	assert_int_equal(f->timer.due_ms, loop.now_ms + 5000);
	close(p);

	p = peer_at("127.0.0.1", 0, &port);
	f = say(GUEST4, 40007, LO4, port, "1", 1);
	send_to(p, "127.0.0.1", 40007, "x", 1);
	until(f, 2);
	/* A question and an answer */
	assert_int_equal(f->timer.due_ms, loop.now_ms + 1000);
	close(p);
}

static void expiry_ends_it(void **state)
{
	uint16_t port;
	struct flow *f;
	int p, fd;

	(void)state;
	NEED_NETNS();
	p = peer_at("127.0.0.1", 0, &port);
	f = say(GUEST4, 40006, LO4, port, "1", 1);
	fd = host(f)->fd;
	f->timer.due_ms = 1;
	f->timer.filed_ms = 1;
	timer_set(&loop.timers, &f->timer, 1);
	flows.type[FLOW_UDP]->expire(&udp, f);
	assert_int_equal(flows.count, 0);
	assert_null(flow_of(&pkt[0].p));
	assert_int_equal(fcntl(fd, F_GETFD), -1);
	close(p);
}

static void init_has_sane_patience(void **state)
{
	(void)state;
	assert_true(udp.patience.single_ms >= 1000);
	assert_true(udp.patience.stream_ms >= udp.patience.single_ms);
	assert_int_equal(listeners.udp_watch, udp.watch);
}

#define T(f) cmocka_unit_test_setup_teardown(f, fresh, teardown)

/* --- from socket to socket ----------------------------------------------- */

static unsigned visits;

static int visit(void *owner, int (*fn)(void *arg), void *arg)
{
	(void)owner;
	visits++;
	return fn(arg);
}

/* The other namespace is the same one, under a count */
static struct ns ns = { .run = visit };

static int fresh_spliced(void **state)
{
	fresh(state);
	ns.env = env;
	visits = 0;
	map.splice = map.host_lo_to_ns_lo = true;
	assert_int_equal(listen_init(&listeners, &loop, &env, &ns), 0);
	udp_init(&udp, &flows, &toy.tap, &fwd, &listeners, &neigh);
	return 0;
}

/* 7000 to 7007 go to 8000 to 8007 of the same address, from @pif */
static void serve_spliced(enum pif pif)
{
	rules.n = 1;
	rules.r[0] = (struct rule){ .first = 7000, .last = 7007, .to = 8000,
				    .proto = IPPROTO_UDP, .flags = RULE_DUAL };
	if (pif == PIF_SPLICE)
		strcpy(rules.r[0].ifname, "lo");
	assert_int_equal(listen_start(&listeners, pif, &rules), 0);
}

static void unserve(enum pif pif)
{
	rules.n = 0;
	assert_int_equal(listen_start(&listeners, pif, &rules), 0);
}

static ssize_t next(int fd, void *buf, size_t size, uint16_t *from,
		    char *text)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	unsigned i;

	for (i = 0; i < 500; i++) {
		toy_turn();
		if (poll(&p, 1, 10))
			return take(fd, buf, size, from, text);
	}
	return -1;
}

static void exchange(enum pif pif, const char *at, const char *from)
{
	static const size_t size[] = { 0, 1, 1400, 65507 };
	char text[ADDR_TEXT_LEN];
	static uint8_t buf[65536];
	uint16_t cport, port, sport;
	int c, d;
	unsigned i;

	serve_spliced(pif);
	c = peer_at(from, 0, &cport);
	d = peer_at(at, 8001, &port);
	for (i = 0; i < ARRAY_SIZE(size); i++) {
		send_to(c, at, 7001, bytes, size[i]);
		assert_int_equal(next(d, buf, sizeof(buf), &sport, NULL),
				 size[i]);
		assert_memory_equal(buf, bytes, size[i]);
		assert_int_equal(sport, cport); /* it keeps its port */
		send_to(d, !strcmp(at, "::1") ? at : "127.0.0.1", sport, bytes,
			size[i]);
		assert_int_equal(next(c, buf, sizeof(buf), &sport, text),
				 size[i]);
		assert_string_equal(text, at); /* from where it had asked */
		assert_int_equal(sport, 7001);
	}
	assert_int_equal(flows.count, 1);
	assert_int_equal(toy.n, 0);
	/* A listener apart, at most one visit for many flows' sockets */
	assert_true(visits <= (pif == PIF_SPLICE ? 2 : 1));
	visits = 0;
	close(c);
	close(d);
	unserve(pif);
}

static void spliced_inbound(void **state)
{
	(void)state;
	NEED_NETNS();
	fill();
	exchange(PIF_HOST, "127.0.0.1", "127.0.0.9");
}

static void spliced_outbound(void **state)
{
	(void)state;
	NEED_NETNS();
	fill();
	exchange(PIF_SPLICE, "127.0.0.1", "127.0.0.9");
}

static void spliced_ipv6(void **state)
{
	uint16_t port, cport;
	struct side *s;
	char buf[8];
	int d, c;

	(void)state;
	NEED_NETNS();
	/* One address for all: the client's port is taken on this side */
	serve_spliced(PIF_SPLICE);
	d = peer_at("::1", 8001, &port);
	c = peer_at("::1", 0, &cport);
	send_to(c, "::1", 7001, "hello", 5);
	assert_int_equal(next(d, buf, sizeof(buf), &port, NULL), 5);
	send_to(d, "::1", port, "there", 5);
	s = flows.flow[flows.fresh - 1].side;
	assert_int_equal(s[0].pif, PIF_SPLICE);
	assert_int_equal(s[1].pif, PIF_HOST);
	assert_int_equal(s[1].our_port, port);
	close(c);
	close(d);
	unserve(PIF_SPLICE);
}

/* Many at once arrive in order, the ones of the listener and the flow's */
static void spliced_burst(void **state)
{
	uint16_t port, cport;
	unsigned i, n = 40;
	char buf[8];
	int c, d;

	(void)state;
	NEED_NETNS();
	serve_spliced(PIF_HOST);
	c = peer_at("127.0.0.9", 0, &cport);
	d = peer_at("127.0.0.1", 8000, &port);
	for (i = 0; i < 2 * n; i++) {
		if (i == n)
			toy_turn();
		send_to(c, "127.0.0.1", 7000, &i, sizeof(i));
	}
	for (i = 0; i < 2 * n; i++) {
		assert_int_equal(next(d, buf, sizeof(buf), NULL, NULL),
				 sizeof(i));
		assert_memory_equal(buf, &i, sizeof(i));
	}
	assert_int_equal(flows.count, 1);
	close(c);
	close(d);
	unserve(PIF_HOST);
}

/* Clients of one port at different addresses are different flows */
static void spliced_clients_of_one_port(void **state)
{
	uint16_t port, p1, p2, f1, f2;
	char buf[8];
	int a, b, d;

	(void)state;
	NEED_NETNS();
	serve_spliced(PIF_HOST);
	a = peer_at("127.0.0.8", 4321, &p1);
	b = peer_at("127.0.0.9", 4321, &p2);
	d = peer_at("127.0.0.1", 8000, &port);
	send_to(a, "127.0.0.1", 7000, "a", 1);
	assert_int_equal(next(d, buf, sizeof(buf), &f1, NULL), 1);
	send_to(b, "127.0.0.1", 7000, "b", 1);
	assert_int_equal(next(d, buf, sizeof(buf), &f2, NULL), 1);
	assert_int_equal(f1, 4321);
	assert_int_not_equal(f2, f1);
	send_to(d, "127.0.0.1", f2, "B", 1);
	assert_int_equal(next(b, buf, sizeof(buf), NULL, NULL), 1);
	assert_int_equal(buf[0], 'B');
	send_to(d, "127.0.0.1", f1, "A", 1);
	assert_int_equal(next(a, buf, sizeof(buf), NULL, NULL), 1);
	assert_int_equal(buf[0], 'A');
	close(a);
	close(b);
	close(d);
	unserve(PIF_HOST);
}

/* A service that is not there yet costs its datagrams, not the flow; nobody in
 * the guest is told about it */
static void spliced_refusal(void **state)
{
	uint16_t port, cport;
	char buf[8];
	int c, d;

	(void)state;
	NEED_NETNS();
	serve_spliced(PIF_HOST);
	c = peer_at("127.0.0.9", 0, &cport);
	send_to(c, "127.0.0.1", 7000, "lost", 4);
	toy_turn();
	toy_turn();
	d = peer_at("127.0.0.1", 8000, &port);
	send_to(c, "127.0.0.1", 7000, "here", 4);
	assert_int_equal(next(d, buf, sizeof(buf), NULL, NULL), 4);
	assert_memory_equal(buf, "here", 4);
	assert_int_equal(flows.count, 1);
	assert_int_equal(toy.n, 0);
	close(c);
	close(d);
	unserve(PIF_HOST);
}

static void spliced_flows_expire(void **state)
{
	uint16_t cport;
	struct flow *f;
	int c;

	(void)state;
	NEED_NETNS();
	udp.patience = (struct udp_patience){ 1000, 5000 };
	serve_spliced(PIF_HOST);
	c = peer_at("127.0.0.9", 0, &cport);
	send_to(c, "127.0.0.1", 7000, "x", 1);
	toy_wait(loop.epfd, POLLIN);
	toy_turn();
	assert_int_equal(flows.count, 1);
	f = &flows.flow[flows.fresh - 1];
	assert_int_equal(f->timer.due_ms, loop.now_ms + 1000);
	timers_run(&loop.timers, loop.now_ms + 1000 + TIMER_TICK);
	assert_int_equal(flows.count, 0);
	close(c);
	unserve(PIF_HOST);
}

/* Other sources still go to the guest, through the same listener */
static void others_go_to_the_guest(void **state)
{
	uint16_t cport;
	int c;

	(void)state;
	NEED_NETNS();
	map.splice = false;
	serve_spliced(PIF_HOST);
	c = peer_at("127.0.0.1", 0, &cport);
	send_to(c, "127.0.0.1", 7000, "x", 1);
	until(NULL, 1);
	check_got(0, LO4, cport, GUEST4, 8000, "x", 1);
	close(c);
	unserve(PIF_HOST);
}

/* --- refused ------------------------------------------------------------- */

static const int refusals[] = { ENOMEM, EACCES, EADDRINUSE };

static void end_flows(void)
{
	unsigned i;

	for (i = 0; i < flows.fresh; i++)
		if (flows.flow[i].kind != FLOW_FREE)
			flows.type[flows.flow[i].kind]->expire(
				&udp, &flows.flow[i]);
	assert_int_equal(flows.count, 0);
}

/* Those kept for flows to come do not count */
static unsigned in_use(void)
{
	return descriptors() - ns.pool[NS_UDP][0].n - ns.pool[NS_UDP][1].n;
}

static void turns(unsigned n)
{
	while (n--)
		toy_turn();
}

/* Whatever the kernel refuses as a flow begins: that costs a datagram, no
 * descriptor, and not what comes next */
static void refused_splice(int err)
{
	unsigned k, before = 0;
	uint16_t port, cport;
	bool hit = true;
	char buf[8];
	int c, d;

	serve_spliced(PIF_HOST);
	d = peer_at("127.0.0.1", 8000, &port);
	for (k = 0; hit; k++) {
		c = peer_at("127.0.0.9", 0, &cport);
		if (k < 2) /* the first fills the pool */
			before = in_use();
		send_to(c, "127.0.0.1", 7000, "x", 1);
		refuse_call(NULL, k, err);
		turns(3);
		hit = refuse_end() || !k;
		send_to(c, "127.0.0.1", 7000, "y", 1);
		do
			assert_int_equal(next(d, buf, sizeof(buf), &port, NULL),
					 1);
		while (*buf != 'y');
		assert_int_equal(flows.count, 1);
		send_to(d, "127.0.0.1", port, "z", 1);
		assert_int_equal(next(c, buf, sizeof(buf), NULL, NULL), 1);
		end_flows();
		assert_int_equal(in_use(), before);
		close(c);
	}
	assert_in_range(k, 15, 60);
	close(d);
	unserve(PIF_HOST);
}

static void spliced_begins_are_refused(void **state)
{
	unsigned i;

	(void)state;
	NEED_NETNS();
	for (i = 0; i < ARRAY_SIZE(refusals); i++)
		refused_splice(refusals[i]);
}

/* An error of a socket is about what was sent before: it costs nothing, and only
 * one that comes again at once ends the flow */
static void spliced_errors(void **state)
{
	uint16_t port, cport;
	unsigned before, i;
	char buf[8];
	int c, d;

	(void)state;
	NEED_NETNS();
	serve_spliced(PIF_HOST);
	c = peer_at("127.0.0.9", 0, &cport);
	d = peer_at("127.0.0.1", 8000, &port);
	before = in_use();
	send_to(c, "127.0.0.1", 7000, "a", 1);
	assert_int_equal(next(d, buf, sizeof(buf), &port, NULL), 1);
	turns(2);
	for (i = 0; i < 2; i++) {
		static const char *const call[] = { "send", "recvmmsg" };

		refuse_call(call[i], 1, ECONNREFUSED);
		send_to(c, "127.0.0.1", 7000, "b", 1);
		assert_int_equal(next(d, buf, sizeof(buf), NULL, NULL), 1);
		assert_true(refuse_end());
		refuse_call(call[i], 1, ECONNREFUSED);
		send_to(d, "127.0.0.1", port, "B", 1);
		assert_int_equal(next(c, buf, sizeof(buf), NULL, NULL), 1);
		assert_true(refuse_end());
	}
	assert_int_equal(udp.drops[DROP_SOCKET], 0);
	assert_int_equal(flows.count, 1);
	assert_true(in_use() > before);
	refuse_call("recvmmsg", 1, ENOMEM);
	refuse.more = 1;
	send_to(d, "127.0.0.1", port, "c", 1);
	turns(2);
	assert_true(refuse_end());
	assert_int_equal(flows.count, 0);
	assert_int_equal(in_use(), before);
	send_to(c, "127.0.0.1", 7000, "d", 1);
	assert_int_equal(next(d, buf, sizeof(buf), &port, NULL), 1);
	assert_int_equal(*buf, 'd');
	/* As well where nothing has come yet */
	turns(2);
	refuse_call("recvmmsg", 1, ENOMEM);
	send_to(d, "127.0.0.1", port, "e", 1);
	assert_int_equal(next(c, buf, sizeof(buf), NULL, NULL), 1);
	assert_int_equal(*buf, 'e');
	assert_true(refuse_end());
	end_flows();
	send_to(c, "127.0.0.1", 7000, "f", 1);
	assert_int_equal(next(d, buf, sizeof(buf), &port, NULL), 1);
	turns(2);
	refuse_call("recvmmsg", 1, ENOMEM);
	refuse.more = 1;
	send_to(d, "127.0.0.1", port, "g", 1);
	turns(2);
	assert_true(refuse_end());
	assert_int_equal(flows.count, 0);
	assert_int_equal(in_use(), before);
	close(c);
	close(d);
	unserve(PIF_HOST);
}

/* What a socket does not take is lost by name, whether it is one or the first of
 * several; those behind it are not */
static void spliced_losses(int err, unsigned lost)
{
	uint16_t port, cport;
	uint64_t *drops = &udp.drops[DROP_SOCKET], had = *drops;
	char buf[8];
	int c, d;

	c = peer_at("127.0.0.9", 0, &cport);
	d = peer_at("127.0.0.1", 8000, &port);
	send_to(c, "127.0.0.1", 7000, "a", 1);
	assert_int_equal(next(d, buf, sizeof(buf), NULL, NULL), 1);
	turns(2);
	refuse_call("send", 1, err);
	refuse.more = 1;
	send_to(c, "127.0.0.1", 7000, "b", 1);
	turns(2);
	assert_true(refuse_end());
	assert_int_equal(*drops - had, 1);
	refuse_call("sendmmsg", 1, err);
	refuse.more = 1;
	send_to(c, "127.0.0.1", 7000, "c", 1);
	send_to(c, "127.0.0.1", 7000, "d", 1);
	turns(2);
	assert_true(refuse_end());
	assert_int_equal(*drops - had, 1 + lost);
	send_to(c, "127.0.0.1", 7000, "e", 1);
	assert_int_equal(next(d, buf, sizeof(buf), NULL, NULL), 1);
	assert_int_equal(*buf, lost == 2 ? 'e' : 'd');
	assert_int_equal(flows.count, 1);
	end_flows();
	close(c);
	close(d);
}

static void spliced_full_sockets(void **state)
{
	(void)state;
	NEED_NETNS();
	serve_spliced(PIF_HOST);
	spliced_losses(EAGAIN, 2);
	spliced_losses(ENOBUFS, 2);
	spliced_losses(EPERM, 1);
	unserve(PIF_HOST);
}

/* What a new socket caught before it was connected is another client's, also where
 * the socket reports an error first */
static void spliced_strays(void **state)
{
	uint16_t port, cport, sport, from;
	unsigned k, i, strays;
	bool hit = true;
	char buf[8];
	int c, d, s;

	(void)state;
	NEED_NETNS();
	serve_spliced(PIF_HOST);
	stray.port = 7000;
	stray.to = "127.0.0.1";
	for (k = 0; hit; k++) {
		d = peer_at("127.0.0.1", 8000, &port);
		c = peer_at("127.0.0.9", 0, &cport);
		s = stray.fd = peer_at("127.0.0.8", 0, &sport);
		stray.on = 1;
		refuse_call("recvmmsg", k, ECONNREFUSED);
		send_to(c, "127.0.0.1", 7000, "mine", 4);
		for (i = strays = 0; i < 2; i++) {
			ssize_t n = next(d, buf, sizeof(buf), &from, NULL);

			assert_true(n == 4 || n == 5);
			assert_int_equal(from, n == 4 ? cport : sport);
			strays += n == 5;
		}
		turns(3);
		assert_int_equal(strays, 1);
		hit = refuse_end() || !k;
		assert_int_equal(flows.count, 2);
		end_flows();
		close(c);
		close(d);
		close(s);
	}
	assert_in_range(k, 4, 20);
	unserve(PIF_HOST);
}

/* The same for flows to and from the guest */
static void begins_are_refused(void **state)
{
	unsigned k, i, before;
	uint16_t port;
	char buf[8];
	bool hit;
	int p;

	(void)state;
	NEED_NETNS();
	p = peer_at("127.0.0.1", 0, &port);
	before = descriptors();
	for (i = 0; i < ARRAY_SIZE(refusals); i++) {
		for (k = 1, hit = true; hit; k++) {
			enum verdict v = PASS;
			struct flow *f;

			toy_udp(&pkt[0], GUEST4, 40010, LO4, port, "x", 1);
			refuse_call(NULL, k, refusals[i]);
			f = udp_open(&udp, &pkt[0].p, &v);
			hit = refuse_end();
			assert_int_equal(!f, v == DROP_NO_FLOW);
			assert_int_equal(flows.count, !!f);
			if (!f)
				assert_int_equal(descriptors(), before);
			say(GUEST4, 40010, LO4, port, "y", 1);
			toy_wait(p, POLLIN);
			assert_int_equal(take(p, buf, sizeof(buf), NULL, NULL),
					 1);
			assert_int_equal(*buf, 'y');
			end_flows();
			assert_int_equal(descriptors(), before);
		}
		assert_in_range(k, 7, 20);
	}
	close(p);
}

static void client_refused(int err)
{
	unsigned k, before, n;
	uint16_t port;
	bool hit;
	int c;

	for (k = 1, hit = true; hit; k++) {
		c = peer_at("127.0.0.1", 0, &port);
		before = descriptors();
		send_to(c, "127.0.0.1", 7000, "x", 1);
		refuse_call(NULL, k, err);
		turns(3);
		hit = refuse_end();
		n = toy.n;
		send_to(c, "127.0.0.1", 7000, "y", 1);
		until(NULL, n + 1);
		check_got(n, LO4, port, GUEST4, 8000, "y", 1);
		assert_int_equal(flows.count, 1);
		end_flows();
		assert_int_equal(descriptors(), before);
		close(c);
	}
	assert_in_range(k, 10, 40);
}

static void clients_begins_are_refused(void **state)
{
	unsigned i;

	(void)state;
	NEED_NETNS();
	serve("127.0.0.1", 7000, 8000);
	for (i = 0; i < ARRAY_SIZE(refusals); i++)
		client_refused(refusals[i]);
	close_listener();
}

/* A listener whose socket has an error each time would be reported for ever: it
 * waits, and goes on where it was */
static void broken_listener_rests(void **state)
{
	uint16_t port;
	int c;

	(void)state;
	NEED_NETNS();
	serve("127.0.0.1", 7000, 8000);
	c = peer_at("127.0.0.1", 0, &port);
	refuse_call("recvmmsg", 1, ENOMEM);
	refuse.more = 1000;
	send_to(c, "127.0.0.1", 7000, "x", 1);
	turns(20);
	assert_in_range(refuse.calls, 2, 4);
	assert_true(refuse_end());
	timers_run(&loop.timers, loop.now_ms + LISTEN_PAUSE_MS + TIMER_TICK);
	until(NULL, 1);
	check_got(0, LO4, port, GUEST4, 8000, "x", 1);
	close(c);
	close_listener();
}

/* A flow whose socket fails twice in a row is at its end, and takes nothing along */
static void broken_socket_ends_its_flow(void **state)
{
	uint16_t port;
	struct flow *f;
	unsigned before;
	int p;

	(void)state;
	NEED_NETNS();
	p = peer_at("127.0.0.1", 0, &port);
	before = descriptors();
	f = say(GUEST4, 40011, LO4, port, "x", 1);
	refuse_call("recvmmsg", 1, ENOMEM);
	send_to(p, "127.0.0.1", 40011, "a", 1);
	until(f, 1);
	assert_true(refuse_end());
	check_got(0, LO4, port, GUEST4, 40011, "a", 1);
	assert_int_equal(flows.count, 1);
	refuse_call("recvmmsg", 1, ENOMEM);
	refuse.more = 1;
	send_to(p, "127.0.0.1", 40011, "b", 1);
	toy_wait(host(f)->fd, POLLIN);
	turns(2);
	assert_true(refuse_end());
	assert_int_equal(flows.count, 0);
	assert_int_equal(descriptors(), before);
	assert_int_equal(toy.n, 1);
	close(p);
}

#define SPLICED(f) cmocka_unit_test_setup_teardown(f, fresh_spliced, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(datagrams_go_both_ways),
		T(bursts_arrive_as_they_were),
		T(runs_of_the_guest_come_apart),
		T(refused_runs_go_one_by_one),
		T(ttl_follows_the_guest),
		T(refusals_are_told),
		T(an_error_in_the_way_costs_nothing),
		T(two_guests_one_port),
		T(verdicts),
		T(sizes_may_change_at_any_time),
		T(batches_are_of_bytes),
		T(too_big_for_the_guest),
		T(short_slots_lose_by_name),
		T(full_guest_leaves_it_in_the_socket),
		T(runs_stay_whole_with_offload),
		T(equal_ones_are_joined), T(joined_before_a_short_one),
		T(runs_come_apart_without),
		T(clients_reach_the_guest),
		T(clients_reach_the_guest_dual4),
		T(clients_reach_the_guest_dual6),
		T(clients_do_not_mix),
		T(unwanted_is_consumed),
		T(strays_find_their_flow),
		T(another_port_answers),
		T(strangers_answer_nothing),
		T(no_strangers_among_many),
		T(ports_of_others_are_left),
		T(broadcast_is_answered_by_members),
		T(patience_grows_with_conversation),
		T(expiry_ends_it),
		T(init_has_sane_patience),
		SPLICED(spliced_inbound),
		SPLICED(spliced_outbound),
		SPLICED(spliced_ipv6),
		SPLICED(spliced_burst),
		SPLICED(spliced_clients_of_one_port),
		SPLICED(spliced_refusal),
		SPLICED(spliced_flows_expire),
		SPLICED(others_go_to_the_guest),
		SPLICED(spliced_begins_are_refused),
		SPLICED(spliced_errors),
		SPLICED(spliced_full_sockets),
		SPLICED(spliced_strays),
		T(begins_are_refused),
		T(clients_begins_are_refused),
		T(broken_listener_rests),
		T(broken_socket_ends_its_flow),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
