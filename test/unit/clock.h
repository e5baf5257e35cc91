/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A loop by the test's own clock, which never waits
 */
#ifndef TEST_UNIT_CLOCK_H
#define TEST_UNIT_CLOCK_H

#include <signal.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <time.h>

static uint64_t clock_ms;

int clock_gettime(clockid_t id, struct timespec *ts)
{
	(void)id;
	ts->tv_sec = (time_t)(clock_ms / 1000);
	ts->tv_nsec = (long)(clock_ms % 1000 * 1000000);
	return 0;
}

int epoll_pwait(int fd, struct epoll_event *ev, int max, int timeout,
		const sigset_t *set)
{
	(void)timeout;
	(void)set;
	return epoll_wait(fd, ev, max, 0);
}

#endif /* TEST_UNIT_CLOCK_H */
