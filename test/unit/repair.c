/* SPDX-License-Identifier: GPL-2.0-or-later */
/* unit: acceptor loop timer log util */
/* A helper that hangs up, says nothing or nonsense, or is one too many */
#include "repair.h"

#include "log.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <cmocka.h>

static struct loop loop;
static struct repair r;
static struct sockaddr_un name;
static socklen_t name_len;
static unsigned came, done;
static int result;

static void is_there(void *owner)
{
	assert_ptr_equal(owner, &loop);
	came++;
}

static void is_done(void *owner, int err)
{
	assert_ptr_equal(owner, &loop);
	done++;
	result = err;
}

static int fresh(void **state)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	(void)state;
	log_stderr(false);
	name = (struct sockaddr_un){ .sun_family = AF_UNIX };
	name_len = sizeof(name);
	/* A name of the kernel's choice, and no file */
	assert_int_equal(bind(fd, (void *)&name, sizeof(sa_family_t)), 0);
	assert_int_equal(getsockname(fd, (void *)&name, &name_len), 0);
	assert_int_equal(listen(fd, 8), 0);
	assert_int_equal(loop_init(&loop), 0);
	repair_init(&r);
	assert_int_equal(repair_start(&r, &loop, fd), 0);
	r.came = is_there;
	r.done = is_done;
	r.owner = &loop;
	came = done = 0;
	result = 1;
	return 0;
}

static int end(void **state)
{
	(void)state;
	repair_end(&r);
	close(r.acceptor.fd);
	close(loop.epfd);
	return 0;
}

static void turn(void)
{
	loop_quit(&loop, 0);
	loop_turn(&loop);
	loop.quit = false;
}

static int helper(void)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(connect(fd, (void *)&name, name_len), 0);
	turn();
	return fd;
}

static bool hung_up(int fd)
{
	char c;

	return recv(fd, &c, 1, MSG_DONTWAIT) == 0;
}

/* What there is for the helper; its descriptors are closed again */
static unsigned taken(int fd, int8_t *mode)
{
	union {
		struct cmsghdr align;
		uint8_t b[CMSG_SPACE(REPAIR_BATCH * sizeof(int))];
	} ctrl;
	struct iovec iov = { mode, 1 };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1,
			    .msg_control = &ctrl,
			    .msg_controllen = sizeof(ctrl) };
	struct cmsghdr *c;
	unsigned i, n;
	int s;

	if (recvmsg(fd, &m, MSG_DONTWAIT) != 1)
		return 0;
	c = CMSG_FIRSTHDR(&m);
	assert_non_null(c);
	assert_int_equal(m.msg_flags & MSG_CTRUNC, 0);
	n = (unsigned)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
	for (i = 0; i < n; i++) {
		memcpy(&s, CMSG_DATA(c) + i * sizeof(s), sizeof(s));
		close(s);
	}
	return n;
}

static void say(int fd, int8_t mode)
{
	assert_int_equal(send(fd, &mode, 1, 0), 1);
	turn();
}

static void asked_and_answered(void **state)
{
	static const enum repair_mode modes[] = { REPAIR_ON, REPAIR_OFF,
						  REPAIR_OFF_QUIET };
	int fd[REPAIR_BATCH] = { 0 }, h;
	unsigned i;
	int8_t mode;

	(void)state;
	assert_int_equal(repair_ask(&r, REPAIR_ON, fd, 1), -ENOTCONN);
	h = helper();
	assert_int_equal(came, 1);
	assert_true(repair_there(&r));
	for (i = 0; i < ARRAY_SIZE(modes); i++) {
		unsigned n = i ? REPAIR_BATCH : 1;

		assert_int_equal(repair_ask(&r, modes[i], fd, n), 0);
		assert_int_equal(done, i);
		assert_int_equal(taken(h, &mode), n);
		assert_int_equal(mode, modes[i]);
		/* One at a time */
		assert_int_equal(repair_ask(&r, REPAIR_ON, fd, 1), -ENOTCONN);
		say(h, mode);
		assert_int_equal(done, i + 1);
		assert_int_equal(result, 0);
		assert_int_equal(r.timer.due_ms, 0);
	}
	assert_int_equal(repair_ask(&r, REPAIR_ON, fd, 0), -ENOTCONN);
	assert_int_equal(repair_ask(&r, REPAIR_ON, fd, REPAIR_BATCH + 1),
			 -ENOTCONN);
	assert_true(repair_there(&r));
	repair_end(&r);
	assert_true(hung_up(h));
	assert_false(repair_there(&r));
	close(h);
}

static void hangs_up(void **state)
{
	int h = helper(), fd = 0;
	int8_t mode;

	(void)state;
	close(h);
	turn();
	assert_false(repair_there(&r));
	assert_int_equal(done, 0); /* nothing was asked */

	h = helper();
	assert_int_equal(came, 2);
	assert_int_equal(repair_ask(&r, REPAIR_ON, &fd, 1), 0);
	close(h);
	turn();
	assert_int_equal(done, 1);
	/* It has not read it all, or has */
	assert_true(result == -EPIPE || result == -ECONNRESET);
	assert_false(repair_there(&r));

	h = helper();
	assert_int_equal(repair_ask(&r, REPAIR_ON, &fd, 1), 0);
	assert_int_equal(taken(h, &mode), 1);
	close(h);
	turn();
	assert_int_equal(done, 2);
	assert_int_equal(result, -EPIPE);

	/* Before we have seen that it has */
	h = helper();
	close(h);
	assert_int_equal(repair_ask(&r, REPAIR_ON, &fd, 1), -EPIPE);
	assert_false(repair_there(&r));
	turn();
	assert_int_equal(done, 2);
	assert_int_equal(r.timer.due_ms, 0);
}

static void talks_nonsense(void **state)
{
	int h = helper(), fd = 0;

	(void)state;
	say(h, REPAIR_ON); /* unasked */
	assert_false(repair_there(&r));
	assert_true(hung_up(h));
	assert_int_equal(done, 0);
	close(h);

	h = helper();
	assert_int_equal(repair_ask(&r, REPAIR_ON, &fd, 1), 0);
	say(h, REPAIR_OFF);
	assert_int_equal(done, 1);
	assert_int_equal(result, -EPROTO);
	assert_false(repair_there(&r));
	close(h);
}

static void says_nothing(void **state)
{
	int h = helper(), fd = 0;
	int8_t mode;

	(void)state;
	assert_int_equal(repair_ask(&r, REPAIR_ON, &fd, 1), 0);
	timers_run(&loop.timers, loop.now_ms + REPAIR_MS - TIMER_TICK);
	assert_int_equal(done, 0);
	timers_run(&loop.timers, loop.now_ms + REPAIR_MS + TIMER_TICK);
	assert_int_equal(done, 1);
	assert_int_equal(result, -ETIMEDOUT);
	assert_false(repair_there(&r));
	assert_int_equal(taken(h, &mode), 1);
	assert_true(hung_up(h));
	close(h);
}

static void one_is_enough(void **state)
{
	int h = helper(), other = helper();

	(void)state;
	assert_int_equal(came, 1);
	assert_true(hung_up(other));
	assert_false(hung_up(h));
	close(other);
	close(h);
	turn();
	h = helper();
	assert_int_equal(came, 2);
	assert_true(repair_there(&r));
	close(h);
}

/* One that a predecessor had */
static void taken_over(void **state)
{
	int p[2], fd = 0;
	int8_t mode;

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, p), 0);
	loop_del(&loop, r.acceptor.fd);
	r.fd = p[0];
	assert_int_equal(repair_start(&r, &loop, r.acceptor.fd), 0);
	assert_int_equal(repair_ask(&r, REPAIR_ON, &fd, 1), 0);
	assert_int_equal(taken(p[1], &mode), 1);
	say(p[1], mode);
	assert_int_equal(done, 1);
	assert_int_equal(result, 0);
	close(p[1]);
	turn();
	assert_false(repair_there(&r));

	/* That cannot be watched */
	loop_del(&loop, r.acceptor.fd);
	r.fd = memfd_create("none", MFD_CLOEXEC);
	assert_int_equal(repair_start(&r, &loop, r.acceptor.fd), 0);
	assert_false(repair_there(&r));
}

#define T(f) cmocka_unit_test_setup_teardown(f, fresh, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(asked_and_answered),
		T(hangs_up),
		T(talks_nonsense),
		T(says_nothing),
		T(one_is_enough),
		T(taken_over),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
