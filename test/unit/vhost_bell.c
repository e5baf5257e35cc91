/* SPDX-License-Identifier: GPL-2.0-or-later */
/* unit: util */
#include "vhost_bell.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

static int look;
static struct vhost_bell bell;

static int set_up(void **state)
{
	(void)state;
	bell = (struct vhost_bell){ .fd = -1 };
	look = vhost_bell_look();
	return look < 0;
}

static int tear_down(void **state)
{
	(void)state;
	vhost_bell_set(&bell, -1);
	close(look);
	return 0;
}

static uint64_t heard(int fd)
{
	uint64_t n = 0;

	assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
	assert_true(read(fd, &n, sizeof(n)) == sizeof(n) || errno == EAGAIN);
	return n;
}

static void give(int fd)
{
	assert_int_equal(vhost_bell_check(fd, false), 0);
	vhost_bell_set(&bell, fd);
}

static void none(void **state)
{
	(void)state;
	vhost_bell_ring(&bell, look);
}

static void non_blocking(void **state)
{
	(void)state;
	give(eventfd(0, EFD_NONBLOCK));
	vhost_bell_ring(&bell, -1); /* nobody is asked */
	vhost_bell_ring(&bell, -1);
	assert_int_equal(heard(bell.fd), 2);
	assert_int_equal(eventfd_write(bell.fd, UINT64_MAX - 1), 0);
	vhost_bell_ring(&bell, -1);
	assert_int_equal(heard(bell.fd), UINT64_MAX - 1);
}

static void on_alarm(int sig)
{
	(void)sig;
	vhost_bell_rouse(&bell);
}

static void every_ms(suseconds_t ms, time_t then)
{
	struct itimerval every = { { 0, ms * 1000 },
				   { then, ms * 1000 } };

	assert_int_equal(setitimer(ITIMER_REAL, &every, NULL), 0);
}

/* Blocking and full when we are about to tell, or while we do */
static void no_longer(void **state)
{
	struct sigaction sa = { .sa_handler = on_alarm }, was;

	(void)state;
	give(eventfd(0, EFD_NONBLOCK));
	assert_int_equal(eventfd_write(bell.fd, UINT64_MAX - 1), 0);
	assert_int_equal(fcntl(bell.fd, F_SETFL, 0), 0);
	sigaction(SIGALRM, &sa, &was);
	every_ms(10, 0);
	vhost_bell_ring(&bell, -1);
	every_ms(0, 20);
	sigaction(SIGALRM, &was, NULL);
	assert_true(fcntl(bell.fd, F_GETFL) & O_NONBLOCK);
	vhost_bell_ring(&bell, -1);
	assert_int_equal(heard(bell.fd), UINT64_MAX - 1);
}

static void nothing_to_rouse(void **state)
{
	(void)state;
	vhost_bell_rouse(&bell);
	give(eventfd(0, 0));
	vhost_bell_rouse(&bell);
	assert_false(fcntl(bell.fd, F_GETFL) & O_NONBLOCK);
}

/* It stays as it is, and we are not caught in it */
static void blocking(void **state)
{
	(void)state;
	give(eventfd(0, 0));
	vhost_bell_ring(&bell, look);
	vhost_bell_ring(&bell, look);
	assert_false(fcntl(bell.fd, F_GETFL) & O_NONBLOCK);
	assert_int_equal(eventfd_write(bell.fd, UINT64_MAX - 3), 0);
	vhost_bell_ring(&bell, look);
	vhost_bell_ring(&bell, look);
	assert_int_equal(heard(bell.fd), UINT64_MAX - 1);
}

static void fill(int fd)
{
	char part[4096] = { 0 };
	int was = fcntl(fd, F_GETFL);

	assert_int_equal(fcntl(fd, F_SETFL, was | O_NONBLOCK), 0);
	while (write(fd, part, sizeof(part)) > 0)
		;
	assert_int_equal(fcntl(fd, F_SETFL, was), 0);
}

static void check_stream(int end, int fd)
{
	give(fd);
	vhost_bell_ring(&bell, look);
	assert_int_equal(heard(end), 1);
	fill(fd);
	vhost_bell_ring(&bell, look);
	close(end);
	/* Nobody will read */
	vhost_bell_ring(&bell, look);
}

static void streams(void **state)
{
	int fd[2];

	(void)state;
	assert_int_equal(pipe(fd), 0);
	check_stream(fd[0], fd[1]);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
	check_stream(fd[0], fd[1]);
}

/* Nor need a socket be asked, or changed, so as not to wait for it */
static void not_asked(void **state)
{
	int fd[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
	give(fd[1]);
	vhost_bell_ring(&bell, -1);
	assert_int_equal(heard(fd[0]), 1);
	fill(fd[1]);
	vhost_bell_ring(&bell, -1);
	assert_false(fcntl(fd[1], F_GETFL) & O_NONBLOCK);
	close(fd[0]);
	vhost_bell_ring(&bell, -1);
}

/* Nothing of one that was rung is left to be asked about */
static void two(void **state)
{
	struct vhost_bell other = { .fd = -1 };

	(void)state;
	give(eventfd(0, 0));
	vhost_bell_set(&other, dup(bell.fd));
	vhost_bell_ring(&other, look);
	vhost_bell_ring(&bell, look);
	vhost_bell_set(&other, eventfd(0, 0));
	vhost_bell_ring(&other, look);
	assert_int_equal(heard(bell.fd), 2);
	assert_int_equal(heard(other.fd), 1);
	vhost_bell_set(&other, -1);
}

static void what_may_be_one(void **state)
{
	int event = eventfd(0, 0), file = memfd_create("bell", 0), fd[2];

	(void)state;
	assert_int_equal(pipe(fd), 0);
	assert_int_equal(vhost_bell_check(event, true), 0);
	assert_int_equal(vhost_bell_check(fd[1], true), -EINVAL);
	assert_int_equal(vhost_bell_check(file, false), -EINVAL);
	assert_int_equal(vhost_bell_check(-1, false), -EBADF);
	close(event);
	close(file);
	close(fd[0]);
	close(fd[1]);
}

#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(none),    T(non_blocking),	  T(no_longer),
		T(blocking), T(nothing_to_rouse), T(streams),
		T(not_asked), T(two),	  T(what_may_be_one),
	};

	/* As the daemon has it */
	signal(SIGPIPE, SIG_IGN);
	alarm(20); /* instead of a hang */
	return cmocka_run_group_tests(tests, NULL, NULL);
}
