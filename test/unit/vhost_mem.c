/* SPDX-License-Identifier: GPL-2.0-or-later */
/* unit: util */
#include "vhost_mem.h"

#include "util.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>
#include <sys/mman.h>
#include <unistd.h>

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
	close(fd);
	close(other);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(find),
		cmocka_unit_test(find_user),
		cmocka_unit_test(truncated),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
