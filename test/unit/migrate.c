/* SPDX-License-Identifier: GPL-2.0-or-later */
/* unit: migrate_stream tcp_image freeze state flow tcp_freeze tcp_conn chunk ahead loop timer iov addr util log sock rules egress fwd dnsanswer neigh lan addrset packet checksum segment */
/* A guest's connections on their way, while things go wrong: the helper hangs up, the
 * stream breaks, connections end in between.  Sockets are real but for what the kernel
 * would do to them in repair mode, which is a table here. */
#include "migrate.h"

#include "log.h"
#include "tcp_conn.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#include "refuse.h"

enum { SOCKETS = 4096, MANY = REPAIR_BATCH + 7, STATE = 1 << 20 };

static struct loop loop;
static struct flows flows;
static struct chunks chunks;
static struct tcp tcp;
static struct tap tap;
static struct fwd fwd;
static struct lan lan = { .mtu = 1500 };
static struct sock_env env = { .v4 = true, .v6 = true };
static struct seen seen;
static struct neigh neigh;
static struct repair repair;
static uint8_t state_bytes[STATE]; /* of a migration */
static struct migrate m;
static unsigned told;

/* --- the helper --------------------------------------------------------------- */

static struct {
	bool deaf, repaired;
} sock[SOCKETS];
static struct {
	enum repair_mode mode;
	unsigned n; /* 0: nothing is asked */
	int fd[REPAIR_BATCH];
	bool gone; /* sending to it fails */
} asked;

int repair_ask(struct repair *r, enum repair_mode mode, const int *fd,
	       unsigned n)
{
	unsigned i;

	assert_int_equal(asked.n, 0);
	assert_in_range(n, 1, REPAIR_BATCH);
	/* One that is none would be the end of all */
	for (i = 0; i < n; i++)
		assert_true(fcntl(fd[i], F_GETFD) >= 0);
	if (r->fd < 0)
		return -ENOTCONN;
	if (asked.gone) {
		r->fd = -1;
		return -EPIPE;
	}
	asked.mode = mode;
	asked.n = n;
	memcpy(asked.fd, fd, n * sizeof(*fd));
	r->asked = true;
	return 0;
}

void repair_end(struct repair *r)
{
	r->asked = false;
	r->fd = -1;
	asked.n = 0;
}

static void answer(int err)
{
	unsigned i, n = asked.n;

	assert_true(n > 0);
	for (i = 0; i < n && !err; i++)
		sock[asked.fd[i]].repaired = asked.mode == REPAIR_ON;
	asked.n = 0;
	repair.asked = false;
	if (err)
		repair.fd = -1;
	repair.done(&m, err);
}

/* --- the kernel ----------------------------------------------------------------- */

static int get_error, put_error; /* of the next ones */

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
	if (fd >= 0)
		sock[fd].deaf = deaf;
	return 0;
}

int sock_image_get(int fd, struct sock_image *i, uint8_t *buf, size_t cap)
{
	int err = get_error;

	assert_true(cap > 6);
	get_error = 0;
	*i = (struct sock_image){ .state = SOCK_ESTABLISHED, .mss = 1460 };
	if (err == -ENOTCONN) /* its peer has reset it */
		i->state = SOCK_CLOSE;
	else if (err || fd < 0)
		return err ? err : -EBADF;
	assert_true(sock[fd].repaired);
	memcpy(buf, "queues", 6);
	i->snd_len = i->rcv_len = 3;
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
	int err = put_error;

	(void)e, (void)kept;
	put_error = 0;
	assert_true(sock[fd].repaired && sock[fd].deaf);
	assert_int_equal(host->their_port, 80);
	assert_int_equal(i->snd_len, 3);
	assert_memory_equal(buf, "queues", 6);
	return err;
}

/* Nothing is refused here */
bool icmp_refuse(struct icmp_limit *l, struct tap *t, const struct fwd *f,
		 const struct side *guest, uint8_t proto, uint32_t seq, int err,
		 struct sock_error *e)
{
	(void)l, (void)t, (void)f, (void)guest, (void)proto, (void)seq;
	(void)err, (void)e;
	return true;
}

/* --- connections ------------------------------------------------------------------ */

static void drop(void *owner, struct flow *f)
{
	conn_reset(owner, f);
}

static void forget(void *owner, struct flow *f)
{
	conn_forget(owner, f);
}

static enum run_verdict ready(void *owner, struct flow *f)
{
	(void)owner, (void)f;
	return RUN_DONE;
}

static void expire(void *owner, struct flow *f)
{
	(void)owner, (void)f;
}

static const struct flow_type type = { .ready = ready, .expire = expire,
				       .drop = drop, .forget = forget };

static void is_done(void *asker)
{
	(void)asker;
	told++;
}

static int fresh(void **state)
{
	(void)state;
	log_level(LOG_ERROR);
	log_stderr(false);
	signal(SIGPIPE, SIG_IGN);
	assert_int_equal(loop_init(&loop), 0);
	assert_int_equal(flows_init(&flows, &loop), 0);
	assert_int_equal(chunks_init(&chunks), 0);
	tap.caps.frame_max = 1514;
	fwd = (struct fwd){ .lan = &lan, .env = &env };
	tcp = (struct tcp){ .flows = &flows, .tap = &tap, .fwd = &fwd,
			    .chunks = &chunks, .neigh = &neigh,
			    .rto_max_ms = 120000 };
	assert_int_equal(ahead_init(&tcp.ahead, &chunks), 0);
	flows_type(&flows, FLOW_TCP, &type, &tcp);
	repair = (struct repair){ .fd = 0, .loop = &loop };
	memset(&asked, 0, sizeof(asked));
	assert_int_equal(migrate_init(&m, &tcp, &seen, &repair), 0);
	m.state.done = is_done;
	told = 0;
	return 0;
}

static bool is_held(const struct flow *f)
{
	return f->kind == FLOW_TCP && tcp_image_held(f);
}

static int fd_of(const struct flow *f)
{
	return f->side[1].fd;
}

static int end(void **state)
{
	unsigned i;

	(void)state;
	for (i = 0; i < flows.fresh; i++)
		if (flows.flow[i].kind != FLOW_FREE)
			conn_abort(&tcp, &flows.flow[i]);
	assert_int_equal(flows.count, 0);
	assert_int_equal(chunks.used, 0);
	assert_null(tcp.acks);
	/* 32 bits do not hold them as often as there are tests */
	munmap(flows.flow, sizeof(*flows.flow) * FLOW_MAX);
	munmap(flows.hash, sizeof(*flows.hash) * FLOW_HASH);
	munmap(chunks.mem, (size_t)CHUNK_BLOCK * CHUNK_BLOCKS);
	munmap(m.m, sizeof(*m.m) * FLOW_MAX);
	munmap(m.buf, 2 * SOCK_QUEUE_MAX); /* both queues */
	close(loop.epfd);
	return 0;
}

static struct addr address(const char *text)
{
	struct addr a;

	assert_true(addr_parse(text, &a));
	return a;
}

/* The guest's @i-th connection to a server */
static struct flow *connection(unsigned i)
{
	struct tcp_image c = {
		.side = {
			{ .ours = address("198.51.100.1"), .our_port = 80,
			  .theirs = address("192.0.2.1"),
			  .their_port = (uint16_t)(1000 + i), .pif = PIF_TAP },
			{ .ours = address("203.0.113.1"),
			  .our_port = (uint16_t)(1000 + i),
			  .theirs = address("198.51.100.1"), .their_port = 80,
			  .pif = PIF_HOST },
		},
		.snd_una = 1, .snd_max = 1, .rcv_nxt = 7, .rcv_acked = 7,
		.rcv_taken = 7, .snd_wnd = 100, .rcv_wnd = 100, .mss = 1460,
		.sock = { .state = SOCK_ESTABLISHED },
	};
	int fd = sock_image_make(&env, true);
	struct flow *f;

	assert_in_range(fd, 0, SOCKETS - 1);
	memset(&sock[fd], 0, sizeof(sock[fd]));
	f = tcp_image_put(&tcp, &c, fd, state_bytes, 0);
	assert_non_null(f);
	tcp_image_resume(&tcp, f);
	return f;
}

static void check_goes_on(const struct flow *f)
{
	struct tcp_conn *c = conn_of((struct flow *)(uintptr_t)f);

	assert_int_equal(f->kind, FLOW_TCP);
	assert_false(c->flags & (CONN_HELD | CONN_RESET));
	assert_false(sock[fd_of(f)].deaf || sock[fd_of(f)].repaired);
	assert_true(f->timer.due_ms > 0);
	assert_int_equal(loop_add(&loop, fd_of(f), 0, 0, 0), -EEXIST);
}

static void check_reset(const struct flow *f)
{
	struct tcp_conn *c = conn_of((struct flow *)(uintptr_t)f);

	assert_int_equal(f->kind, FLOW_TCP);
	assert_true(c->flags & CONN_RESET);
	assert_false(c->flags & CONN_HELD);
	assert_int_equal(fd_of(f), -1);
}

static struct flow *flow_at(unsigned i)
{
	unsigned n;

	for (n = 0; n < flows.fresh; n++)
		if (flows.flow[n].kind == FLOW_TCP &&
		    flows.flow[n].side[0].their_port == 1000 + i)
			return &flows.flow[n];
	fail_msg("connection %u is gone", i);
	return NULL;
}

/* --- the stream ----------------------------------------------------------------- */

static size_t state_len;
static int front_end; /* its end of a stream */

static void begin(enum device_state_way way)
{
	int p[2];

	assert_int_equal(pipe2(p, O_NONBLOCK | O_CLOEXEC), 0);
	front_end = p[way == DEVICE_LOAD];
	state_len = 0;
	assert_int_equal(m.state.begin(&m, way, p[way == DEVICE_SAVE]), 0);
	assert_int_equal(m.state.check(&m), -EINPROGRESS);
}

static void turn(void)
{
	ssize_t n = 0;

	loop_quit(&loop, 0);
	loop_turn(&loop);
	loop.quit = false;
	if (m.loads)
		return;
	do {
		state_len += n > 0 ? (size_t)n : 0;
		n = read(front_end, state_bytes + state_len,
			 STATE - state_len);
	} while (n > 0);
}

/* Until the helper is asked for something, or all is over */
static void work(void)
{
	unsigned i;

	for (i = 0; !asked.n && !m.over; i++) {
		assert_true(i < 10000);
		turn();
	}
	if (m.over)
		turn();
}

static uint32_t count_of(void)
{
	assert_true(state_len >= STREAM_HEAD + STREAM_SEEN + STREAM_COUNT);
	return ld_be32(state_bytes + STREAM_HEAD + STREAM_SEEN);
}

static size_t length_of(unsigned n, unsigned lost)
{
	return STREAM_HEAD + STREAM_SEEN + STREAM_COUNT +
	       n * (STREAM_FLOW + STREAM_SOCK) + (n - lost) * 6;
}

static void save(unsigned n, unsigned lost)
{
	begin(DEVICE_SAVE);
	for (work(); !m.over; work())
		answer(0);
	assert_int_equal(told, 1);
	assert_int_equal(m.state.check(&m), 0);
	assert_int_equal(count_of(), n);
	assert_int_equal(state_len, length_of(n, lost));
	close(front_end);
}

/* Gone elsewhere: nothing of it is left here */
static void gone(void)
{
	m.no_linger = true;
	m.state.end(&m);
	assert_int_equal(flows.count, 0);
	assert_int_equal(repair.fd, -1);
}

/* Here, and all that is in repair mode goes on */
static void given_up(void)
{
	m.state.runs(&m);
	while (asked.n)
		answer(0);
	assert_int_equal(m.step, MIGRATE_IDLE);
}

/* --- saving ----------------------------------------------------------------------- */

static void saved_and_gone(void **state)
{
	struct flow *f = connection(0);
	int fd = fd_of(f);

	(void)state;
	connection(1);
	save(2, 0);
	assert_true(is_held(f) && sock[fd].deaf && sock[fd].repaired);
	gone();
	assert_int_equal(fcntl(fd, F_GETFD), -1);
}

static void sockets_linger(void **state)
{
	struct flow *f = connection(0);
	int fd = fd_of(f);

	(void)state;
	save(1, 0);
	m.state.end(&m);
	assert_int_equal(flows.count, 0);
	/* Deaf, until there is another migration */
	assert_true(fcntl(fd, F_GETFD) >= 0 && sock[fd].deaf);
	begin(DEVICE_SAVE);
	assert_int_equal(fcntl(fd, F_GETFD), -1);
	m.state.end(&m);
	close(front_end);
}

static void many_go_in_batches(void **state)
{
	unsigned i;

	(void)state;
	for (i = 0; i < MANY; i++)
		connection(i);
	save(MANY, 0);
	given_up();
	for (i = 0; i < MANY; i++)
		check_goes_on(flow_at(i));
}

/* Between the front-end's request and the turn of its batch a connection may end, also
 * with an RST that the guest is owed; its descriptor is somebody else's by now */
static void ends_before_its_turn(void **state)
{
	struct flow *f[MANY];
	unsigned i;
	int fd, other;

	(void)state;
	for (i = 0; i < MANY; i++)
		f[i] = connection(i);
	begin(DEVICE_SAVE);
	conn_abort(&tcp, f[0]);
	conn_reset(&tcp, f[1]);
	work();
	fd = fd_of(f[MANY - 5]);
	conn_abort(&tcp, f[MANY - 4]);
	conn_reset(&tcp, f[MANY - 5]);
	other = dup2(0, fd);
	for (; !m.over; work())
		answer(0);
	assert_int_equal(m.state.check(&m), 0);
	assert_int_equal(count_of(), MANY - 4);
	assert_int_equal(state_len, length_of(MANY - 4, 0));
	assert_false(sock[other].repaired || sock[other].deaf);
	check_reset(f[1]);
	check_reset(f[MANY - 5]);
	given_up();
	check_goes_on(f[2]);
	close(other);
	close(front_end);
}

static void all_end_before_their_turn(void **state)
{
	(void)state;
	begin(DEVICE_SAVE);
	work();
	assert_int_equal(count_of(), 0);
	gone();
	close(front_end);

	conn_reset(&tcp, connection(0));
	conn_abort(&tcp, connection(1));
	connection(2);
	repair.fd = 0;
	begin(DEVICE_SAVE);
	conn_abort(&tcp, flow_at(2));
	for (work(); !m.over; work())
		answer(0);
	assert_int_equal(count_of(), 0);
	assert_int_equal(state_len, length_of(0, 0));
	close(front_end);
}

/* One whose address the host has lost is dropped while it stands still.  What has its
 * descriptor's number now is another's. */
static void dropped_while_held(void **state)
{
	struct flow *f = connection(0), *g = connection(1);
	int fd = fd_of(f), other;

	(void)state;
	save(2, 0);
	conn_reset(&tcp, f);
	other = dup2(0, fd);
	assert_true(sock[other].deaf);
	given_up();
	assert_true(sock[other].deaf); /* untouched */
	check_reset(f);
	check_goes_on(g);

	conn_abort(&tcp, f);
	close(other);
	f = connection(0);
	told = 0;
	repair.fd = 0;
	save(2, 0);
	fd = fd_of(f);
	conn_reset(&tcp, f);
	other = dup2(0, fd);
	gone();
	assert_true(fcntl(other, F_GETFD) >= 0);
	close(other);
}

/* Nothing else would tell that the stream takes more */
static void stream_is_not_watched(void **state)
{
	(void)state;
	connection(0);
	begin(DEVICE_SAVE);
	work();
	refuse_call("epoll_ctl", 1, ENOMEM);
	refuse.more = 10;
	answer(0);
	while (!m.over && m.timer.due_ms) {
		loop_turn(&loop);
		turn();
	}
	assert_true(m.over && refuse_end());
	assert_int_equal(m.state.check(&m), 0);
	assert_int_equal(count_of(), 1);
	assert_int_equal(state_len, length_of(1, 0));
	given_up();
	check_goes_on(flow_at(0));
	close(front_end);
}

static void helper_refuses(void **state)
{
	unsigned i;

	(void)state;
	for (i = 0; i < MANY; i++)
		connection(i);
	begin(DEVICE_SAVE);
	work();
	answer(0);
	assert_int_equal(asked.n, MANY - REPAIR_BATCH);
	answer(-EPROTO);
	work();
	/* The guest moves all the same */
	assert_int_equal(m.state.check(&m), 0);
	assert_int_equal(count_of(), 0);
	for (i = 0; i < MANY; i++)
		check_reset(flow_at(i));
	close(front_end);
}

static void helper_hangs_up(void **state)
{
	struct flow *f = connection(0);

	(void)state;
	asked.gone = true;
	begin(DEVICE_SAVE);
	work();
	assert_int_equal(m.state.check(&m), 0);
	assert_int_equal(count_of(), 0);
	check_reset(f);
	close(front_end);
}

/* Nobody can take them out of repair mode: they are no use to anybody */
static void helper_is_gone_when_given_up(void **state)
{
	struct flow *f = connection(0), *g = connection(1);

	(void)state;
	save(2, 0);
	repair.fd = -1;
	m.state.runs(&m);
	assert_int_equal(m.step, MIGRATE_IDLE);
	check_reset(f);
	check_reset(g);
}

static void helper_fails_when_given_up(void **state)
{
	unsigned i;

	(void)state;
	for (i = 0; i < MANY; i++)
		connection(i);
	save(MANY, 0);
	m.state.runs(&m);
	answer(0);
	answer(-ETIMEDOUT);
	assert_int_equal(m.step, MIGRATE_IDLE);
	for (i = 0; i < MANY; i++)
		if (i < REPAIR_BATCH)
			check_goes_on(flow_at(i));
		else
			check_reset(flow_at(i));
}

static void no_helper(void **state)
{
	struct flow *f = connection(0);

	(void)state;
	repair.fd = -1;
	begin(DEVICE_SAVE);
	turn();
	turn();
	assert_false(m.over); /* one may be on its way */
	timers_run(&loop.timers, loop.now_ms + MIGRATE_HELPER_MS + TIMER_TICK);
	work();
	assert_int_equal(m.state.check(&m), 0);
	assert_int_equal(count_of(), 0);
	check_goes_on(f);
	close(front_end);
}

static void helper_comes_late(void **state)
{
	(void)state;
	connection(0);
	repair.fd = -1;
	begin(DEVICE_SAVE);
	turn();
	repair.fd = 0;
	repair.came(&m);
	for (work(); !m.over; work())
		answer(0);
	assert_int_equal(count_of(), 1);
	given_up();
	close(front_end);
}

/* Whoever reads the state has gone, at any byte of it: connections go on here */
static void stream_breaks(void **state)
{
	struct flow *f[3];
	size_t at, all;
	unsigned i;

	(void)state;
	for (i = 0; i < 3; i++)
		f[i] = connection(i);
	all = length_of(3, 0);
	for (at = 0; at < all; at = state_len + 1) {
		repair.fd = 0;
		told = 0;
		begin(DEVICE_SAVE);
		work();
		answer(0);
		while (state_len < at)
			turn();
		close(front_end);
		front_end = -1;
		for (i = 0; !m.over; i++) {
			assert_true(i < 100);
			turn();
		}
		while (asked.n)
			answer(0);
		if (state_len == all)
			break;
		assert_int_equal(told, 1);
		assert_int_equal(m.state.check(&m), -EPIPE);
		assert_int_equal(m.step, MIGRATE_IDLE);
		for (i = 0; i < 3; i++)
			check_goes_on(f[i]);
	}
	assert_true(at > STREAM_HEAD);
}

/* Of one there is no image: the others move.  If nobody does after all, it goes on here
 * where it is more than an error of its peer's. */
static void one_cannot_be_saved(void **state)
{
	static const int errors[] = { -ENOBUFS, -EOPNOTSUPP, -ENOTCONN };
	struct flow *f = connection(0), *g = connection(1);
	unsigned i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(errors); i++) {
		told = 0;
		repair.fd = 0;
		get_error = errors[i];
		save(2, 1);
		assert_int_equal(m.lost, 1);
		given_up();
		if (errors[i] == -ENOTCONN)
			check_reset(f);
		else
			check_goes_on(f);
		check_goes_on(g);
	}
}

/* The front-end hangs up while there is something to wait for */
static void front_end_leaves(void **state)
{
	struct flow *f = connection(0);

	(void)state;
	begin(DEVICE_SAVE); /* SAVE_HELPER */
	m.state.end(&m);
	assert_int_equal(m.step, MIGRATE_IDLE);
	check_goes_on(f);
	close(front_end);

	repair.fd = 0;
	begin(DEVICE_SAVE);
	work(); /* SAVE_HOLD: where it is in repair mode or not, nobody knows */
	m.state.end(&m);
	assert_int_equal(m.step, MIGRATE_IDLE);
	check_reset(f);
	conn_abort(&tcp, f);
	close(front_end);

	f = connection(0);
	repair.fd = 0;
	begin(DEVICE_SAVE);
	work();
	answer(0); /* SAVE_HEAD and on */
	m.state.end(&m);
	answer(0);
	assert_int_equal(m.step, MIGRATE_IDLE);
	check_goes_on(f);
	assert_int_equal(m.fd, -1);
	assert_int_equal(m.state.check(&m), -ENODATA);
	close(front_end);
}

static void one_at_a_time(void **state)
{
	int p[2];

	(void)state;
	connection(0);
	begin(DEVICE_SAVE);
	work();
	assert_int_equal(pipe2(p, O_NONBLOCK), 0);
	assert_int_equal(m.state.begin(&m, DEVICE_LOAD, p[0]), -EBUSY);
	assert_int_equal(fcntl(p[0], F_GETFD), -1); /* it was ours */
	close(p[1]);
	for (; !m.over; work())
		answer(0);
	assert_int_equal(count_of(), 1);
	given_up();
	close(front_end);
}

/* A file is never awaited */
static void stream_is_none(void **state)
{
	struct flow *f = connection(0);
	int fd = memfd_create("state", MFD_CLOEXEC);

	(void)state;
	assert_int_equal(m.state.begin(&m, DEVICE_SAVE, fd), -EINVAL);
	assert_int_equal(fcntl(fd, F_GETFD), -1);
	assert_int_equal(m.state.check(&m), -ENODATA);
	check_goes_on(f);
	save(1, 0);
	given_up();
	check_goes_on(f);
}

static void exits_when_told(void **state)
{
	(void)state;
	m.exit_after = true;
	connection(0);
	loop.status = 77;
	begin(DEVICE_SAVE);
	for (work(); !m.over; work())
		answer(0);
	assert_int_equal(m.state.check(&m), 0);
	assert_true(loop.quit);
	assert_int_equal(loop.status, 0);
	gone();
	close(front_end);
}

/* --- loading ----------------------------------------------------------------------- */

/* A state of @n connections; there are none here then */
static void make_state(unsigned n)
{
	unsigned i;

	for (i = 0; i < n; i++)
		connection(i);
	told = 0;
	repair.fd = 0;
	save(n, 0);
	gone();
	told = 0;
	repair.fd = 0;
}

static void load(size_t len)
{
	size_t all = state_len;

	begin(DEVICE_LOAD);
	assert_int_equal(write(front_end, state_bytes, len), len);
	close(front_end);
	state_len = all;
}

static void runs(void)
{
	m.state.runs(&m);
	while (asked.n)
		answer(0);
	assert_int_equal(m.step, MIGRATE_IDLE);
	assert_int_equal(repair.fd, -1);
}

static void loaded(void **state)
{
	unsigned i;

	(void)state;
	make_state(3);
	load(state_len);
	work();
	assert_int_equal(asked.mode, REPAIR_ON);
	answer(0);
	work();
	assert_int_equal(told, 1);
	assert_int_equal(m.state.check(&m), 0);
	assert_int_equal(flows.count, 3);
	for (i = 0; i < 3; i++)
		assert_true(is_held(flow_at(i)));
	runs();
	for (i = 0; i < 3; i++)
		check_goes_on(flow_at(i));
}

/* At any byte: a guest without all of its state must not begin to run */
static void state_ends_early(void **state)
{
	size_t at;
	int lowest;

	(void)state;
	make_state(2);
	lowest = dup(0);
	close(lowest);
	for (at = 0; at < state_len; at += 7) {
		loop.quit = false;
		loop.status = 0;
		told = 0;
		repair.fd = 0;
		load(at);
		for (work(); !m.over; work())
			answer(0);
		assert_int_equal(told, 1);
		assert_int_equal(m.state.check(&m), -EPIPE);
		assert_true(loop.quit);
		assert_int_equal(loop.status, 1);
		m.state.end(&m);
		assert_int_equal(flows.count, 0);
		assert_int_equal(m.step, MIGRATE_IDLE);
		assert_int_equal(dup(0), lowest); /* nor is a descriptor left */
		close(lowest);
	}
}

/* Where nothing has moved before: what has not been read of them has no descriptor */
static void first_state_ends_early(void **state)
{
	unsigned i;

	(void)state;
	make_state(2);
	load(STREAM_HEAD + STREAM_SEEN + STREAM_COUNT + STREAM_FLOW);
	for (i = 0; i < 2; i++)
		m.m[i] = (struct moving){ 0 };
	work();
	assert_int_equal(m.state.check(&m), -EPIPE);
	assert_true(fcntl(0, F_GETFD) >= 0);
}

static void loading_helper_refuses(void **state)
{
	unsigned i;

	(void)state;
	for (i = 0; i < 2; i++) {
		make_state(2);
		loop.quit = false;
		asked.gone = i;
		load(state_len);
		work();
		if (!i)
			answer(-EPERM);
		assert_true(m.over);
		assert_true(m.state.check(&m) < 0);
		assert_true(loop.quit);
		m.state.end(&m);
		assert_int_equal(flows.count, 0);
		asked.gone = false;
	}
}

/* A socket that the kernel does not take is that connection's loss: the guest is told
 * once it runs */
static void loading_one_fails(void **state)
{
	(void)state;
	make_state(3);
	put_error = -EADDRINUSE;
	load(state_len);
	for (work(); !m.over; work())
		answer(0);
	assert_int_equal(m.state.check(&m), 0);
	assert_int_equal(m.lost, 1);
	assert_int_equal(flows.count, 3);
	runs();
	check_reset(flow_at(0));
	check_goes_on(flow_at(1));
	check_goes_on(flow_at(2));
}

static void loading_without_helper(void **state)
{
	unsigned i;

	(void)state;
	make_state(2);
	repair.fd = -1;
	load(state_len);
	for (i = 0; m.step != LOAD_HELPER; i++) {
		assert_true(i < 1000);
		turn();
	}
	turn();
	assert_false(m.over);
	timers_run(&loop.timers, loop.now_ms + MIGRATE_HELPER_MS + TIMER_TICK);
	work();
	assert_int_equal(m.state.check(&m), 0);
	assert_int_equal(m.lost, 2);
	runs();
	check_reset(flow_at(0));
	check_reset(flow_at(1));
}

/* It runs, but nobody takes sockets out of repair mode */
static void helper_is_gone_at_last(void **state)
{
	(void)state;
	make_state(2);
	load(state_len);
	for (work(); !m.over; work())
		answer(0);
	m.state.runs(&m);
	answer(-EPIPE);
	assert_int_equal(m.step, MIGRATE_IDLE);
	check_reset(flow_at(0));
	check_reset(flow_at(1));
}

/* The front-end hangs up while its guest's state is loaded, and when it is but the guest
 * does not run yet: it may still do so where it came from */
static void front_end_leaves_loading(void **state)
{
	int lowest;

	(void)state;
	make_state(2);
	lowest = dup(0);
	close(lowest);
	load(state_len);
	work();
	assert_int_equal(m.step, LOAD_REPAIR);
	m.state.end(&m);
	assert_int_equal(m.step, MIGRATE_IDLE);
	assert_true(loop.quit);
	assert_int_equal(loop.status, 1);
	assert_int_equal(flows.count, 0);
	assert_int_equal(dup(0), lowest);
	close(lowest);

	loop.quit = false;
	repair.fd = 0;
	load(state_len);
	for (work(); !m.over; work())
		answer(0);
	assert_int_equal(m.state.check(&m), 0);
	assert_int_equal(flows.count, 2);
	m.state.end(&m);
	assert_false(loop.quit);
	assert_int_equal(m.step, MIGRATE_IDLE);
	assert_int_equal(flows.count, 0);
	assert_int_equal(dup(0), lowest);
	close(lowest);
}

/* Dropped between its arrival and the guest's first turn, as its address is not here */
static void dropped_while_loaded(void **state)
{
	int fd, other;

	(void)state;
	make_state(2);
	load(state_len);
	for (work(); !m.over; work())
		answer(0);
	assert_int_equal(m.state.check(&m), 0);
	fd = fd_of(flow_at(0));
	conn_abort(&tcp, flow_at(0));
	other = dup2(0, fd);
	m.state.end(&m);
	assert_int_equal(flows.count, 0);
	assert_true(fcntl(other, F_GETFD) >= 0);
	close(other);
}

/* --- connections that are none ---------------------------------------------------------- */

static uint8_t *record(unsigned i)
{
	return state_bytes + STREAM_HEAD + STREAM_SEEN + STREAM_COUNT +
	       i * STREAM_FLOW;
}

static void other_ports(struct tcp_image *i)
{
	i->side[0].their_port++; /* the second one's */
}

/* The record of the first connection, wherever it stands */
static uint8_t *first(struct tcp_image *c)
{
	unsigned i;

	for (i = 0; i < 2; i++) {
		struct rd r = rd_init(record(i), STREAM_FLOW);

		stream_get_flow(&r, c);
		if (c->side[0].their_port == 1000)
			break;
	}
	assert_true(i < 2);
	return record(i);
}

static void no_port(struct tcp_image *i)
{
	i->side[1].our_port = 0;
}

static void two_families(struct tcp_image *i)
{
	i->side[0].ours = addr_loopback(false);
}

static void two_families_here(struct tcp_image *i)
{
	i->side[1].ours = addr_loopback(false);
}

static void no_unicast(struct tcp_image *i)
{
	i->side[1].theirs = addr_any(true);
}

static void no_guest(struct tcp_image *i)
{
	i->side[0].pif = PIF_HOST;
}

static void far_scale(struct tcp_image *i)
{
	i->snd_shift = TCP_SHIFT_MAX + 1;
}

static void more_than_is_there(struct tcp_image *i)
{
	i->snd_max = i->snd_una + 4;
}

static void fin_in_the_middle(struct tcp_image *i)
{
	i->eof = i->fin_sent = true;
	i->snd_max = i->snd_una + 2;
}

static void shrunk_window(struct tcp_image *i)
{
	i->rcv_nxt = i->rcv_acked + 1000;
	i->rcv_wnd = 1;
}

/* What makes no sense is lost, and nothing else is; the guest is told, where it can be */
static void odd_connections(void **state)
{
	enum { ALONE = 1, TOLD, FINE };
	static const struct {
		void (*change)(struct tcp_image *i);
		unsigned outcome;
	} odd[] = {
		{ other_ports, ALONE },	      { no_port, ALONE },
		{ two_families, ALONE },      { two_families_here, ALONE },
		{ no_unicast, ALONE },	      { no_guest, ALONE },
		{ far_scale, ALONE },	      { more_than_is_there, TOLD },
		{ fin_in_the_middle, TOLD },  { shrunk_window, FINE },
	};
	struct tcp_image c;
	struct wr w;
	unsigned i, n;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(odd); i++) {
		make_state(2);
		w = wr_init(first(&c), STREAM_FLOW);
		odd[i].change(&c);
		stream_put_flow(&w, &c);
		load(state_len);
		for (work(); !m.over; work())
			answer(0);
		assert_int_equal(m.state.check(&m), 0);
		assert_int_equal(m.lost, odd[i].outcome != FINE);
		assert_int_equal(flows.count, odd[i].outcome == ALONE ? 1 : 2);
		runs();
		if (odd[i].change != other_ports)
			check_goes_on(flow_at(1));
		if (odd[i].outcome == TOLD)
			check_reset(flow_at(0));
		if (odd[i].outcome == FINE) {
			struct tcp_conn *x = conn_of(flow_at(0));

			check_goes_on(flow_at(0));
			assert_false(seq_before(x->rcv_edge, x->rcv_nxt));
		}
		for (n = 0; n < flows.fresh; n++)
			if (flows.flow[n].kind != FLOW_FREE)
				conn_abort(&tcp, &flows.flow[n]);
		assert_int_equal(chunks.used, 0);
	}
}

/* More in a queue than one may have: whatever follows is not what it seems */
static void odd_queue(void **state)
{
	(void)state;
	make_state(2);
	memset(record(2) + 8, 0x7f, 4); /* bytes to be sent */
	load(state_len);
	for (work(); !m.over; work())
		answer(0);
	assert_int_equal(m.state.check(&m), -EPROTO);
	assert_true(loop.quit);
	assert_int_equal(flows.count, 0);
	m.state.end(&m);
}

/* Its bytes stay in the socket, where the kernel can look at them from anywhere */
static void kept_by_the_kernel(void **state)
{
	struct tcp_conn *c;

	(void)state;
	make_state(1);
	env.peek_off4 = true;
	load(state_len);
	for (work(); !m.over; work())
		answer(0);
	env.peek_off4 = false;
	c = conn_of(flow_at(0));
	assert_true(c->flags & CONN_PEEK);
	assert_int_equal(c->keep.len, 0);
	runs();
	check_goes_on(flow_at(0));
	conn_abort(&tcp, flow_at(0));

	make_state(1);
	load(state_len);
	for (work(); !m.over; work())
		answer(0);
	c = conn_of(flow_at(0));
	assert_false(c->flags & CONN_PEEK);
	assert_int_equal(c->keep.len, 3);
	runs();
	check_goes_on(flow_at(0));
}

#define T(f) cmocka_unit_test_setup_teardown(f, fresh, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(saved_and_gone),
		T(sockets_linger),
		T(many_go_in_batches),
		T(ends_before_its_turn),
		T(all_end_before_their_turn),
		T(dropped_while_held),
		T(stream_is_not_watched),
		T(helper_refuses),
		T(helper_hangs_up),
		T(helper_is_gone_when_given_up),
		T(helper_fails_when_given_up),
		T(no_helper),
		T(helper_comes_late),
		T(stream_breaks),
		T(one_cannot_be_saved),
		T(front_end_leaves),
		T(one_at_a_time),
		T(stream_is_none),
		T(exits_when_told),
		T(loaded),
		T(state_ends_early),
		T(first_state_ends_early),
		T(loading_helper_refuses),
		T(loading_one_fails),
		T(loading_without_helper),
		T(helper_is_gone_at_last),
		T(front_end_leaves_loading),
		T(dropped_while_loaded),
		T(odd_connections),
		T(odd_queue),
		T(kept_by_the_kernel),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
