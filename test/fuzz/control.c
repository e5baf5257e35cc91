/* SPDX-License-Identifier: GPL-2.0-or-later */
/* unit: rulewire rules loop timer addr log util */
/* A client does what the input says: sends bytes, reads, leaves, waits for too
 * long.  The listeners are a table without sockets, whose changes take some steps
 * and fail where the input says so. */
#include "control.h"

#include "log.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define REQUIRE(x) ((x) ? (void)0 : abort())

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct loop loop;
static struct control control;
static struct listen fake;
static struct ns ns;
static int end[2]; /* ours, the client's; -1: closed */
static bool accepting;
static watch_fn *accept_client;
static unsigned steps, begun; /* until a table is as asked for, and which: 1 is SPLICE */
static bool lacks[2];

static const struct rules_env env = {
	true, true, true, true, true, true, 32768, 60999,
};

/* --- what control calls --------------------------------------------------- */

int acceptor_start(struct acceptor *a, struct loop *l, int fd, watch_fn *fn,
		   void *owner)
{
	(void)a;
	(void)l;
	(void)fd;
	(void)owner;
	accept_client = fn;
	return 0;
}

int acceptor_take(struct acceptor *a)
{
	(void)a;
	return end[0];
}

void acceptor_hold(struct acceptor *a, bool hold)
{
	(void)a;
	REQUIRE(hold == accepting);
	accepting = !hold;
}

bool http_adopt(struct http *h, int fd, const void *p, size_t len)
{
	(void)h;
	REQUIRE(*(const char *)p == 'G');
	if (len & 1)
		return false;
	close(fd);
	return true;
}

/* Nobody may follow us */
bool takeover_is(uint8_t byte)
{
	(void)byte;
	abort();
}

bool takeover_adopt(struct takeover *t, int fd, const void *buf, size_t len)
{
	(void)t;
	(void)fd;
	(void)buf;
	(void)len;
	abort();
}

const struct rules *listen_rules(const struct listen *l, enum pif pif)
{
	return &l->table[pif == PIF_SPLICE].rules;
}

/* After an update that failed, until the next one: every other rule */
bool listen_lacks(const struct listen *l, enum pif pif, unsigned i)
{
	REQUIRE(i < l->table[pif == PIF_SPLICE].rules.n);
	return lacks[pif == PIF_SPLICE] && !(i & 1);
}

int listen_fits(const struct listen *l, const struct rules *host,
		const struct rules *splice)
{
	(void)l;
	return host->sockets + splice->sockets > 100000 ? -EMFILE : 0;
}

void listen_begin(struct listen *l, enum pif pif, const struct rules *rules)
{
	struct rules again = { .splice = pif == PIF_SPLICE };
	char err[RULE_ERR];
	unsigned i;

	/* Nothing comes through that is not a table */
	for (i = 0; i < rules->n; i++)
		REQUIRE(rules_add(&again, &rules->r[i], &env, err));
	REQUIRE(again.n == rules->n && again.sockets == rules->sockets);
	REQUIRE(!steps && !accepting);
	l->table[pif == PIF_SPLICE].rules = *rules;
	begun = pif == PIF_SPLICE;
	steps = 1 + rules->n % 3;
}

int listen_step(struct listen *l)
{
	(void)l;
	REQUIRE(steps && !accepting);
	if (--steps)
		return -EINPROGRESS;
	lacks[begun] = rand() & 1;
	return lacks[begun] ? -EADDRINUSE : 0;
}

/* --- what the client does ------------------------------------------------- */

/* One of the loop, by a clock of our own */
static void turn(unsigned ms)
{
	struct epoll_event ev;

	if (epoll_wait(loop.epfd, &ev, 1, 0) > 0)
		loop.watch[control.watch].fn(&control, 0, ev.events);
	loop.now_ms += ms + 1;
	timers_run(&loop.timers, loop.now_ms);
}

static void start(void)
{
	const int small = 4096; /* less than a greeting */

	REQUIRE(!socketpair(AF_UNIX, SOCK_STREAM, 0, end));
	setsockopt(end[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
	fake.table[0].rules.n = fake.table[1].rules.n = 0;
	fake.table[1].rules.splice = true;
	fake.ns = &ns;
	loop = (struct loop){ .epfd = -1 };
	REQUIRE(!loop_init(&loop));
	REQUIRE(!control_start(&control, &loop, &fake, &env, NULL, -1));
	accepting = true;
	steps = 0;
	lacks[0] = lacks[1] = false;
	accept_client(&control, 0, EPOLLIN);
}

static void act(struct rd *in)
{
	static uint8_t sink[RULEWIRE_MAX];
	uint8_t what = rd_u8(in);
	size_t len;
	const void *p;

	switch (what % 6) {
	case 0: /* the rest goes in one piece */
		len = rd_left(in);
		p = rd_view(in, len);
		(void)!send(end[1], p, len, MSG_DONTWAIT | MSG_NOSIGNAL);
		break;
	case 1:
		len = MIN((size_t)(what / 6), rd_left(in));
		p = rd_view(in, len);
		(void)!send(end[1], p, len, MSG_DONTWAIT | MSG_NOSIGNAL);
		break;
	case 2:
		(void)!recv(end[1], sink, sizeof(sink), MSG_DONTWAIT);
		break;
	case 3:
		shutdown(end[1], what & 8 ? SHUT_WR : SHUT_RDWR);
		break;
	case 4:
		turn(what / 6);
		break;
	default:
		turn(CONTROL_MS + 10);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct rd in = rd_init(data, size);
	unsigned i;

	log_level(LOG_ERROR);
	log_stderr(false);
	srand((unsigned)size);
	start();
	while (rd_left(&in))
		act(&in);
	for (i = 0; i < 20; i++)
		turn(CONTROL_MS);
	/* Whatever that was, the next one is served */
	REQUIRE(control.fd < 0 && accepting && !steps);
	close(end[1]);
	close(loop.epfd);
	return 0;
}
