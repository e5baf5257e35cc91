/* SPDX-License-Identifier: GPL-2.0-or-later */
/* unit: repair acceptor loop timer util */
/* The messages of passt-repair: what its end sends to ours, what ours sends to it, and
 * both ends together */
#include "repair.h"

#include "../quiet.h"
#include "cursor.h"

/* The helper's functions are its own; its libc is the same but for two calls */
static int repair_option(int fd, int level, int name, const void *p, unsigned n);
static void repair_exit(int status) __attribute__((noreturn));
#define setsockopt repair_option
#define exit	   repair_exit
#include "../../passt_repair.c"
#undef setsockopt
#undef exit

#include <setjmp.h>

#define REQUIRE(x) ((x) ? (void)0 : abort())

enum { STEPS = 40, FDS = SOCKETS };

static jmp_buf stop;

void log_init(const char *name)
{
	(void)name;
}

/* The end of the helper */
void die(const char *fmt, ...)
{
	(void)fmt;
	longjmp(stop, 1);
}

static void repair_exit(int status)
{
	(void)status;
	longjmp(stop, 1);
}

/* --- its option, which not everybody may set ---------------------------------- */

static unsigned set, refuse_at;
static int set_to;

static int repair_option(int fd, int level, int name, const void *p, unsigned n)
{
	REQUIRE(level == IPPROTO_TCP && name == TCP_REPAIR && n == sizeof(int));
	REQUIRE(fcntl(fd, F_GETFD) >= 0);
	memcpy(&set_to, p, sizeof(set_to));
	if (++set != refuse_at)
		return 0;
	errno = EPERM;
	return -1;
}

/* --- our end -------------------------------------------------------------------- */

static struct loop loop;
static struct repair r;
static unsigned came, asked, done;
static int done_err;
static bool others[2 * FDS]; /* descriptors that were there before */

static void has_come(void *owner)
{
	REQUIRE(owner == &r && repair_there(&r));
	came++;
}

static void is_done(void *owner, int err)
{
	REQUIRE(owner == &r && asked == done + 1 && (!err || !repair_there(&r)));
	done++;
	done_err = err;
}

static void turn(void)
{
	loop_soon(&loop);
	(void)loop_turn(&loop);
}

/* Until its patience is at an end */
static void time_passes(void)
{
	if (!r.timer.due_ms)
		return;
	timer_off(&r.timer);
	r.timer.expire(r.timer.owner, &r.timer);
}

static bool is_ours(int fd)
{
	return !others[fd] && fcntl(fd, F_GETFD) >= 0;
}

static unsigned open_fds(void)
{
	unsigned n = 0;
	int fd;

	for (fd = 0; fd < 2 * FDS; fd++)
		n += is_ours(fd);
	return n;
}

static int connect_helper(const struct sockaddr_un *at, socklen_t len)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	REQUIRE(!connect(fd, (const struct sockaddr *)at, len));
	turn();
	return fd;
}

static int listener(struct sockaddr_un *at, socklen_t *len)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	*at = (struct sockaddr_un){ .sun_family = AF_UNIX };
	*len = sizeof(*at);
	REQUIRE(!bind(fd, (struct sockaddr *)at, sizeof(sa_family_t)) &&
		!listen(fd, 8) &&
		!getsockname(fd, (struct sockaddr *)at, len));
	return fd;
}

/* --- the helper's end ----------------------------------------------------------- */

/* One message; false: it has ended */
static bool serve(int s, struct batch *b)
{
	b->n = 0;
	if (setjmp(stop))
		return false;
	if (!receive(s, b))
		return false;
	set_mode(b);
	return answer(s, b);
}

/* What is left of those it was sent when it ends */
static void drop(const struct batch *b)
{
	size_t i;

	for (i = 0; i < b->n; i++)
		if (fcntl(b->fd[i], F_GETFD) >= 0)
			close(b->fd[i]);
}

/* And with what it did not even look at */
static void drop_all(void)
{
	int fd;

	for (fd = 0; fd < 2 * FDS; fd++)
		if (is_ours(fd))
			close(fd);
}

/* Ours asks, the helper does it: all of them, and no other */
static void together(int s, enum repair_mode mode, unsigned n, unsigned refuse)
{
	static struct batch b;
	unsigned was = done, i;
	int fd[FDS];
	bool goes_on;

	set = 0;
	refuse_at = refuse;
	for (i = 0; i < n; i++)
		fd[i] = 2;
	if (repair_ask(&r, mode, fd, n))
		return;
	asked++;
	goes_on = serve(s, &b);
	REQUIRE(goes_on == !(refuse && refuse <= n));
	REQUIRE(set == (goes_on ? n : refuse) && set_to == mode);
	if (!goes_on) {
		drop(&b);
		shutdown(s, SHUT_RDWR);
	}
	turn();
	REQUIRE(done == was + 1 && !done_err == goes_on);
	REQUIRE(repair_there(&r) == goes_on);
}

/* --- ours against whatever comes -------------------------------------------------- */

static void step(struct rd *in, int *s, const struct sockaddr_un *at,
		 socklen_t len)
{
	uint8_t op = rd_u8(in), byte = rd_u8(in);
	int8_t mode = (int8_t)(byte % 3) - 1;
	int fd[2] = { 2, 2 };

	switch (op % 7) {
	case 0:
		if (*s < 0)
			*s = connect_helper(at, len);
		break;
	case 1:
		if (!repair_ask(&r, mode, fd, op & 16 ? 2 : byte & 1))
			asked++;
		break;
	case 2:
		if (*s >= 0 && send(*s, &byte, 1, MSG_NOSIGNAL) < 0)
			REQUIRE(errno == EPIPE || errno == ECONNRESET);
		break;
	case 3:
		if (*s >= 0)
			close(*s);
		*s = -1;
		break;
	case 4:
		time_passes();
		break;
	case 5:
		if (asked == done && *s >= 0 && repair_there(&r)) {
			uint8_t old[64];

			while (recv(*s, old, sizeof(old), MSG_DONTWAIT) > 0)
				;
			turn();
			if (repair_there(&r))
				together(*s, mode, byte % FDS + 1, op & 32 ?
					 byte / 2U + 1 : 0);
		}
		break;
	default:
		repair_end(&r);
		done = asked; /* of that nobody hears */
	}
	turn();
	REQUIRE(done <= asked);
	REQUIRE(!done_err || done == 0 || done == asked || r.asked);
}

static void our_end(struct rd *in)
{
	struct sockaddr_un at;
	unsigned i;
	socklen_t len;
	int fd, s = -1;

	REQUIRE(!loop_init(&loop));
	fd = listener(&at, &len);
	came = asked = done = 0;
	repair_init(&r);
	r.came = has_come;
	r.done = is_done;
	r.owner = &r;
	REQUIRE(!repair_start(&r, &loop, fd));
	for (i = 0; i < STEPS && rd_left(in); i++)
		step(in, &s, &at, len);
	/* Who is asked and does not answer is given up */
	time_passes();
	REQUIRE(done == asked && !r.asked);
	repair_end(&r);
	close(fd);
	if (s >= 0)
		close(s);
	close(loop.epfd);
}

/* --- the helper against whatever comes --------------------------------------------- */

/* @len bytes and @n descriptors at once */
static void send_batch(int s, const uint8_t *p, size_t len, unsigned n, int fd)
{
	union {
		struct cmsghdr align;
		uint8_t b[CMSG_SPACE(FDS * sizeof(int))];
	} control = { 0 };
	struct iovec iov = { (void *)(uintptr_t)p, len };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };
	unsigned i;

	if (n) {
		m.msg_control = &control;
		m.msg_controllen = CMSG_SPACE(n * sizeof(int));
		control.align.cmsg_level = SOL_SOCKET;
		control.align.cmsg_type = SCM_RIGHTS;
		control.align.cmsg_len = CMSG_LEN(n * sizeof(int));
		for (i = 0; i < n; i++)
			memcpy(CMSG_DATA(&control.align) + i * sizeof(int), &fd,
			       sizeof(fd));
	}
	(void)!sendmsg(s, &m, MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* What it answers is what it was asked for, as often as it has done that */
static void its_end(struct rd *in)
{
	static struct batch b;
	uint8_t bytes[8], want = 0, got;
	unsigned n;
	size_t len;
	int s[2];

	REQUIRE(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, s));
	while (rd_left(in)) {
		n = rd_u8(in) % (FDS + 1);
		len = rd_u8(in) % sizeof(bytes) + 1;
		refuse_at = rd_u8(in);
		set = 0;
		rd_copy(in, bytes, len);
		send_batch(s[0], bytes, len, n, 2);
		want = bytes[0];
		if (!serve(s[1], &b))
			break;
		REQUIRE(n && set == n && set_to == (int8_t)want);
		REQUIRE(recv(s[0], &got, 1, MSG_DONTWAIT) == 1 && got == want);
		REQUIRE(open_fds() == 2);
		if (len > 1) /* without sockets: its end */
			REQUIRE(!serve(s[1], &b));
		if (len > 1)
			break;
	}
	shutdown(s[0], SHUT_WR);
	REQUIRE(!serve(s[1], &b));
	close(s[0]);
	close(s[1]);
	drop_all();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct rd in = rd_init(data, size);

	int fd;

	for (fd = 0; fd < 2 * FDS; fd++)
		others[fd] = fcntl(fd, F_GETFD) >= 0;
	if (rd_u8(&in) & 1)
		our_end(&in);
	else
		its_end(&in);
	REQUIRE(!open_fds());
	return 0;
}
