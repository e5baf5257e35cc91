/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A wall clock that a test sets, of one program: LD_PRELOAD and CLOCK_FILE, which has
 * the seconds that it is wrong by as an int64_t.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

static const volatile int64_t *offset;
static int (*real)(clockid_t, struct timespec *);

__attribute__((constructor)) static void begin(void)
{
	int fd = open(getenv("CLOCK_FILE"), O_RDONLY);
	void *p = mmap(NULL, sizeof(*offset), PROT_READ, MAP_SHARED, fd, 0);

	close(fd);
	if (p == MAP_FAILED)
		abort();
	offset = p;
	real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT,
							    "clock_gettime");
}

int clock_gettime(clockid_t id, struct timespec *ts)
{
	int err = real(id, ts);

	if (!err && id == CLOCK_REALTIME)
		ts->tv_sec += *offset;
	return err;
}

time_t time(time_t *t)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	if (t)
		*t = ts.tv_sec;
	return ts.tv_sec;
}
