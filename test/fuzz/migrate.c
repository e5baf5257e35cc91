/* SPDX-License-Identifier: GPL-2.0-or-later */
/* unit: migrate migrate_stream tcp_image freeze state flow tcp_freeze tcp_conn chunk ahead loop timer iov addr util log sock rules egress fwd dnsanswer neigh lan addrset packet checksum segment */
/* The state of a guest as it arrives, through all steps but the kernel's: what was
 * loaded goes on, or is forgotten, and nothing is left of it */
#include "migrate.h"

#include "flows.h"
#include "freeze.h"
#include "log.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

enum { TURNS = 10000 };

static struct sock_env env = { .v4 = true, .v6 = true };
static struct seen seen;
static struct neigh neigh;
static struct repair repair;
static struct migrate m;
static bool asked, refuses;

/* --- a helper that is always quick -------------------------------------------- */

int repair_ask(struct repair *r, enum repair_mode mode, const int *fd,
	       unsigned n)
{
	(void)mode;
	(void)fd;
	REQUIRE(r->fd >= 0 && n && n <= REPAIR_BATCH && !asked);
	asked = true;
	return 0;
}

void repair_end(struct repair *r)
{
	(void)r;
	asked = false;
}

/* --- sockets that take whatever they are given, or nothing ------------------------ */

bool sock_image_eof(const struct sock_image *i)
{
	return i->state >= SOCK_TIME_WAIT;
}

uint8_t sock_image_state(int fd)
{
	return fd < 0 ? 0 : SOCK_ESTABLISHED;
}

uint32_t sock_image_queued(int fd)
{
	(void)fd;
	return 0;
}

int sock_deaf(int fd, bool deaf)
{
	(void)deaf;
	return fd < 0 ? -EBADF : 0;
}

int sock_image_get(int fd, struct sock_image *i, uint8_t *buf, size_t cap)
{
	(void)buf;
	REQUIRE(cap);
	*i = (struct sock_image){ .state = sock_image_state(fd) };
	return 0;
}

int sock_image_make(const struct sock_env *e, bool v4)
{
	(void)e;
	return socket(v4 ? AF_INET : AF_INET6, SOCK_STREAM | SOCK_NONBLOCK, 0);
}

int sock_image_put(const struct sock_env *e, int fd, const struct side *host,
		   const struct sock_image *i, const uint8_t *buf, size_t kept)
{
	static volatile uint8_t last;
	size_t len = i->snd_len + i->rcv_len;

	(void)e;
	(void)host;
	REQUIRE(fd >= 0 && kept <= i->rcv_len);
	if (len)
		last = buf[len - 1];
	return refuses ? -EADDRINUSE : 0;
}

/* --- the front-end ------------------------------------------------------------ */

static void start(void)
{
	log_level(LOG_ERROR);
	log_stderr(false);
	start_flows();
	fwd.env = &env;
	tcp.neigh = &neigh;
	REQUIRE(!migrate_init(&m, &tcp, &seen, &repair));
}

static void turns(enum migrate_step until)
{
	unsigned n;

	for (n = 0; m.step != until && !m.over; n++) {
		REQUIRE(n < TURNS);
		if (asked) {
			asked = false;
			repair.done(&m, 0);
		} else {
			loop_turn(&loop);
		}
	}
}

static void forget_all(void)
{
	unsigned i;

	for (i = 0; i < flows.fresh; i++) {
		struct flow *f = &flows.flow[i];
		int fd[2] = { f->side[0].fd, f->side[1].fd };

		if (f->kind == FLOW_FREE)
			continue;
		freeze_forget(&flows, f);
		if (fd[0] >= 0)
			close(fd[0]);
		if (fd[1] >= 0)
			close(fd[1]);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	int p[2], err;

	if (!loop.epfd)
		start();
	if (!size)
		return 0;
	repair.fd = data[0] & 1 ? 0 : -1;
	refuses = data[0] & 2;
	env.peek_off4 = env.peek_off6 = data[0] & 4;
	REQUIRE(!pipe2(p, O_NONBLOCK));
	if (write(p[1], data + 1, size - 1) < 0)
		REQUIRE(size == 1);
	close(p[1]);
	REQUIRE(!m.state.begin(&m, DEVICE_LOAD, p[0]));
	turns(MIGRATE_IDLE);
	err = m.state.check(&m);
	REQUIRE(err == m.result && err <= 0 && err != -EINPROGRESS);
	if (!err && data[0] & 8) {
		m.over = false;
		m.state.runs(&m);
		turns(MIGRATE_IDLE);
	}
	m.state.end(&m);
	REQUIRE(m.step == MIGRATE_IDLE && m.fd < 0);
	forget_all();
	REQUIRE(!flows.count && !chunks.used);
	return 0;
}
