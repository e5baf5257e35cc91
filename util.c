/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * util - numbers from text, small files, memory and randomness
 *
 * What needs a system call or more than one line; the rest is inline in the
 * header.
 */
#include "util.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

bool util_parse_u64(const char *s, int base, uint64_t max, uint64_t *out)
{
	unsigned long long v;
	char *end;
	int err, saved = errno;

	errno = 0;
	v = strtoull(s, &end, base);
	err = errno;
	errno = saved;
	if (err || end == s || *end || v > max)
		return false;
	/* strtoull() takes a sign and wraps: -18446744073709551615 is 1 */
	if (v && strchr(s, '-'))
		return false;
	*out = v;
	return true;
}

static int read_all(int fd, char *buf, size_t room)
{
	size_t got = 0;
	ssize_t n;

	while (got < room) {
		n = read(fd, buf + got, room - got);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (!n)
			break;
		got += (size_t)n;
	}
	return (int)got;
}

int util_read_file(const char *path, char *buf, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), n;

	if (fd < 0)
		return -errno;
	n = read_all(fd, buf, size - 1);
	close(fd);
	buf[n > 0 ? n : 0] = '\0';
	return n;
}

void *util_map(size_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

/* Kernels before 3.17 have the file only */
static bool read_urandom(void *buf, size_t n)
{
	int fd = open("/dev/urandom", O_RDONLY | O_CLOEXEC), got;

	if (fd < 0)
		return false;
	got = read_all(fd, buf, n);
	close(fd);
	return got >= 0 && (size_t)got == n;
}

bool util_random(void *buf, size_t n)
{
	uint8_t *p = buf;

	while (n) {
		long got = syscall(SYS_getrandom, p, n, 0);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return read_urandom(p, n);
		p += got;
		n -= (size_t)got;
	}
	return true;
}
