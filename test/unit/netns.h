/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A network namespace of the test's own with the loopback up, so that real
 * sockets meet nobody else's ports.  Where that is not allowed tests that need
 * it are skipped.
 */
#ifndef TEST_UNIT_NETNS_H
#define TEST_UNIT_NETNS_H

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <cmocka.h>

static inline bool put_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	bool ok;

	if (fd < 0)
		return false;
	ok = write(fd, text, strlen(text)) == (ssize_t)strlen(text);
	close(fd);
	return ok;
}

static inline bool netns_new(void)
{
	char map[64];

	if (!unshare(CLONE_NEWNET))
		return true;
	snprintf(map, sizeof(map), "0 %u 1", geteuid());
	return !unshare(CLONE_NEWUSER | CLONE_NEWNET) &&
	       put_file("/proc/self/uid_map", map);
}

static inline bool lo_up(void)
{
	struct ifreq r = { .ifr_name = "lo", .ifr_flags = IFF_UP };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	bool ok = fd >= 0 && !ioctl(fd, SIOCSIFFLAGS, &r);

	close(fd);
	return ok;
}

static bool have_netns;

static inline int enter_netns(void **state)
{
	(void)state;
	have_netns = netns_new() && lo_up();
	if (have_netns)
		put_file("/proc/sys/net/ipv4/ping_group_range",
			 "0 2147483647");
	return 0;
}

#define NEED_NETNS()                                                           \
	do {                                                                   \
		if (!have_netns)                                               \
			skip();                                                \
	} while (0)

/* linux_has - what came with this version */
static inline bool linux_has(unsigned major, unsigned minor)
{
	struct utsname u;
	unsigned is = 0, sub = 0;

	uname(&u);
	sscanf(u.release, "%u.%u", &is, &sub);
	return is > major || (is == major && sub >= minor);
}

#endif /* TEST_UNIT_NETNS_H */
