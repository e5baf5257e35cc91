/* SPDX-License-Identifier: GPL-2.0-or-later */
/* unit: util */
#include "vhost_mem.h"

#include "log.h"
#include "util.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>
#include <sys/mman.h>
#include <unistd.h>

enum log_level log_max = LOG_WARN;
static unsigned warned;

void log_print(enum log_level l, const char *fmt, ...)
{
	(void)fmt;
	warned += l == LOG_WARN;
}

bool log_allowed(struct log_rate *r)
{
	(void)r;
	return true;
}

enum { REGION = 0x10000 };

#define GPA 0x40000000ULL
#define UVA 0x7f5500000000ULL

/* --- finding -------------------------------------------------------------- */

/* The second region, a gap, and the first */
static uint8_t memory[3][REGION];

static struct vhost_mem two(void)
{
	return (struct vhost_mem){
		.n = 2,
		.r = { { .gpa = GPA,
			 .len = REGION,
			 .uva = UVA,
			 .at = memory[2] },
		       { .gpa = GPA + REGION,
			 .len = REGION,
			 .uva = UVA + 4 * REGION,
			 .at = memory[0] } },
	};
}

static void find(void **state)
{
	struct vhost_mem mem = two();

	(void)state;
	assert_ptr_equal(vhost_mem_find(&mem, GPA, REGION), memory[2]);
	assert_ptr_equal(vhost_mem_find(&mem, GPA + REGION - 1, 1),
			 memory[2] + REGION - 1);
	assert_ptr_equal(vhost_mem_find(&mem, GPA + REGION, REGION), memory[0]);
	assert_null(vhost_mem_find(&mem, GPA - 1, 1));
	assert_null(vhost_mem_find(&mem, GPA - 1, 2));
	assert_null(vhost_mem_find(&mem, GPA, REGION + 1));
	assert_null(vhost_mem_find(&mem, GPA + REGION - 1, 2)); /* of both */
	assert_null(vhost_mem_find(&mem, GPA + 2 * REGION, 1));
	assert_null(vhost_mem_find(&mem, GPA + 2 * REGION, 0));
	assert_null(vhost_mem_find(&mem, GPA + 1, UINT64_MAX));
	assert_null(vhost_mem_find(&mem, GPA + 1, UINT64_MAX - GPA));
	assert_null(vhost_mem_find(&mem, UINT64_MAX, 2));
	assert_null(vhost_mem_find(&mem, UVA, 1));
	mem.n = 1;
	assert_null(vhost_mem_find(&mem, GPA + REGION, 1));
}

static void find_user(void **state)
{
	struct vhost_mem mem = two();

	(void)state;
	assert_ptr_equal(vhost_mem_find_user(&mem, UVA, REGION), memory[2]);
	assert_ptr_equal(vhost_mem_find_user(&mem, UVA + 4 * REGION + 5, 7),
			 memory[0] + 5);
	assert_null(vhost_mem_find_user(&mem, UVA + REGION, 1));
	assert_null(vhost_mem_find_user(&mem, UVA + REGION - 1, 2));
	assert_null(vhost_mem_find_user(&mem, UVA + 4 * REGION - 1, 1));
	assert_null(vhost_mem_find_user(&mem, UVA + 1, UINT64_MAX));
	assert_null(vhost_mem_find_user(&mem, GPA, 1));
}

/* --- taken away ----------------------------------------------------------- */

static struct vhost_mem torn;

static int new_file(size_t size)
{
	int fd = memfd_create("region", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)size), 0);
	return fd;
}

/* What is left of it is not looked at any more, either; the other stays */
static void truncated(void **state)
{
	struct vhost_region r = { GPA, REGION, UVA, 0 };
	int fd = new_file(REGION), other = new_file(REGION);
	uint8_t *at;

	(void)state;
	assert_int_equal(vhost_mem_guard(&torn), 0);
	assert_int_equal(vhost_mem_add(&torn, &r, fd), 0);
	r.gpa += REGION;
	assert_int_equal(vhost_mem_add(&torn, &r, other), 0);
	memset(torn.r[0].at, 1, REGION);
	memset(torn.r[1].at, 1, REGION);
	assert_int_equal(ftruncate(fd, REGION / 2), 0);
	at = torn.r[0].at;
	assert_int_equal(at[0], 1);
	assert_false(torn.torn);
	at[REGION - 1]++;
	assert_int_equal(at[REGION - 1], 1);
	assert_true(torn.torn);
	assert_int_equal(at[0], 0);
	assert_int_equal(*torn.r[1].at, 1);
	vhost_mem_clear(&torn);
	assert_int_equal(torn.n, 0);
}

/* --- what was written to -------------------------------------------------- */

enum { PAGE = 4096, BYTES = 0x3000, PAGES = 8 * BYTES };

/* The plain twin: byte by byte */
static void mark_slowly(uint8_t *bits, uint64_t gpa, uint64_t len)
{
	for (; len; len--, gpa++)
		if (gpa / PAGE < PAGES)
			bits[gpa / PAGE / 8] |= (uint8_t)(1 << gpa / PAGE % 8);
}

static void log_has_bits(void **state)
{
	enum { OFFSET = 0x1009, AROUND = 0xa5 };
	static uint8_t all[OFFSET + BYTES + 0x1000], twin[sizeof(all)];
	struct vhost_mem m = { 0 };
	int fd = new_file(sizeof(all));
	uint64_t gpa, len;
	unsigned i;

	(void)state;
	memset(twin, AROUND, sizeof(twin));
	memset(twin + OFFSET, 0, BYTES);
	assert_int_equal(pwrite(fd, twin, sizeof(twin), 0), sizeof(twin));
	assert_int_equal(vhost_log_set(&m, fd, BYTES, OFFSET), 0);
	srand(1);
	for (i = 0; i < 2000; i++) {
		len = (uint64_t)(rand() % (rand() % 8 ? 100 : 5 * PAGE));
		gpa = (uint64_t)rand() % ((PAGES - 8) * (uint64_t)PAGE);
		gpa -= rand() % 4 ? 0 : gpa % PAGE;
		if (!len)
			continue;
		vhost_log_mark(&m.log, gpa, len);
		mark_slowly(twin + OFFSET, gpa, len);
	}
	assert_true(m.log.marked);
	assert_int_equal(warned, 0);
	/* The last page, and over the end in part and wholly */
	gpa = (uint64_t)PAGES * PAGE - 1;
	vhost_log_mark(&m.log, gpa, 1);
	assert_int_equal(warned, 0);
	vhost_log_mark(&m.log, gpa - PAGE, 2 + PAGE);
	vhost_log_mark(&m.log, gpa + 1, 1);
	vhost_log_mark(&m.log, UINT64_MAX, UINT32_MAX);
	vhost_log_mark(&m.log, UINT64_MAX - PAGE, 1);
	assert_int_equal(warned, 4);
	mark_slowly(twin + OFFSET, gpa - PAGE, 2 + PAGE);
	assert_int_equal(pread(fd, all, sizeof(all), 0), sizeof(all));
	assert_memory_equal(all, twin, sizeof(all));
	vhost_log_clear(&m.log);
	assert_null(m.log.bits);
	close(fd);
}

/* It takes the place of another if it has enough bits for what there is */
static void log_covers_memory(void **state)
{
	struct vhost_region r = { (uint64_t)PAGES * PAGE - REGION, REGION, UVA,
				  0 };
	int fd = new_file(2 * BYTES), region = new_file(REGION);
	struct vhost_mem m = { 0 };
	const uint8_t *bits;

	(void)state;
	assert_int_equal(vhost_log_set(&m, fd, 1, 0), 0);
	assert_int_equal(vhost_mem_add(&m, &r, dup(region)), 0);
	assert_false(vhost_log_covers(&m.log, &m));
	assert_int_equal(vhost_log_set(&m, fd, BYTES, 0), 0);
	assert_true(vhost_log_covers(&m.log, &m));
	bits = m.log.bits;
	assert_int_equal(vhost_log_set(&m, fd, BYTES - 1, 0), -EINVAL);
	assert_int_equal(vhost_log_set(&m, fd, 0, 0), -EINVAL);
	/* Nor what is not in the file, or no file */
	assert_int_equal(vhost_log_set(&m, fd, BYTES, BYTES + 1), -EINVAL);
	assert_int_equal(vhost_log_set(&m, fd, BYTES, UINT64_MAX), -EINVAL);
	assert_int_equal(vhost_log_set(&m, fd, UINT64_MAX / 8, 0), -EINVAL);
	assert_int_equal(vhost_log_set(&m, -1, BYTES, 0), -EBADF);
	assert_ptr_equal(m.log.bits, bits);
	r.gpa += PAGE;
	r.uva += REGION;
	assert_int_equal(vhost_mem_add(&m, &r, region), 0);
	assert_false(vhost_log_covers(&m.log, &m));
	vhost_mem_clear(&m);
	assert_ptr_equal(m.log.bits, bits);
	vhost_log_clear(&m.log);
	close(fd);
	close(region);
}

static void truncated_log(void **state)
{
	int fd = new_file(BYTES);

	(void)state;
	torn = (struct vhost_mem){ 0 };
	assert_int_equal(vhost_mem_guard(&torn), 0);
	assert_int_equal(vhost_log_set(&torn, fd, BYTES, 0), 0);
	vhost_log_mark(&torn.log, 0, 1);
	assert_int_equal(ftruncate(fd, 0), 0);
	assert_false(torn.torn);
	vhost_log_mark(&torn.log, PAGE, 1);
	assert_true(torn.torn);
	assert_int_equal(torn.log.bits[0], 2);
	vhost_log_clear(&torn.log);
	close(fd);
}

static void guest_address(void **state)
{
	struct vhost_mem mem = two();

	(void)state;
	assert_int_equal(vhost_mem_gpa(&mem, memory[2]), GPA);
	assert_int_equal(vhost_mem_gpa(&mem, memory[2] + REGION - 1),
			 GPA + REGION - 1);
	assert_int_equal(vhost_mem_gpa(&mem, memory[0] + 5), GPA + REGION + 5);
	assert_int_equal(vhost_mem_gpa(&mem, memory[1]), UINT64_MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(find),
		cmocka_unit_test(find_user),
		cmocka_unit_test(truncated),
		cmocka_unit_test(log_has_bits),
		cmocka_unit_test(log_covers_memory),
		cmocka_unit_test(truncated_log),
		cmocka_unit_test(guest_address),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
