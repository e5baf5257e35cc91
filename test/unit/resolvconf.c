/* SPDX-License-Identifier: GPL-2.0-or-later */
/* unit: addr util */
#include "resolvconf.h"
#include "util.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

static struct resolvconf rc;

/* In pieces of @step bytes */
static void read_by(const char *text, size_t step)
{
	size_t len = strlen(text), at;

	resolvconf_begin(&rc);
	for (at = 0; at < len; at += step) {
		size_t n = MIN(step, len - at);
		char *piece = malloc(n); /* ASan sees each byte too far */

		memcpy(piece, text + at, n);
		resolvconf_add(&rc, piece, n);
		free(piece);
	}
	resolvconf_end(&rc);
}

/* All that was found, in words */
static const char *found(void)
{
	static char out[4096];
	char text[ADDR_TEXT_LEN];
	unsigned i, k;

	*out = '\0';
	for (i = 0; i < 2; i++)
		for (k = 0; k < rc.n[i]; k++) {
			strcat(out, addr_text(&rc.ns[i][k], text));
			strcat(out, " ");
		}
	for (k = 0; k < rc.search_n; k++) {
		strcat(out, rc.search[k]);
		strcat(out, " ");
	}
	return out;
}

static void says(const char *text, const char *want)
{
	static const size_t steps[] = { 1, 3, 7, 100000 };
	unsigned i;

	for (i = 0; i < ARRAY_SIZE(steps); i++) {
		read_by(text, steps[i]);
		if (strcmp(found(), want))
			fail_msg("%s\n%s\n%s", text, found(), want);
	}
}

static void servers(void **state)
{
	(void)state;
	says("", "");
	says("nameserver 192.0.2.1", "192.0.2.1 ");
	says("# nameserver 9.9.9.9\n nameserver 8.8.8.8\nnameserverx 7.7.7.7\n"
	     "nameserver 192.0.2.1\r\nnameserver\t192.0.2.2 # two\n"
	     "nameserver fe80::5%eth0\nnameserver x\nnameserver \nnameserver\n"
	     "nameserver 192.0.2.1\nnameserver 192.0.2.3\nnameserver 192.0.2.4",
	     "192.0.2.1 192.0.2.2 192.0.2.3 fe80::5 ");
}

/* resolv.conf(5): the last instance of either wins, a domain is a list of one */
static void search(void **state)
{
	(void)state;
	says("search a b\nsearch c d\n", "c d ");
	says("domain a\n", "a ");
	says("domain a b\n", "a ");
	says("domain a\nsearch b c\n", "b c ");
	says("search b c\ndomain a\n", "a ");
	says("search b c\nsearch \n", "");
	says("search b c\nsearch\ndomainx d\n", "b c ");
	says("search 1 2\t3  4 5 6 7\n", "1 2 3 4 5 6 ");
	says("search a # b\n", "a ");
	says("search ;b\n", "");
}

/* A line of any length does not hide the next */
static void long_lines(void **state)
{
	char *text = malloc(1 << 20), *p = text;

	(void)state;
	p += sprintf(p, "# ");
	memset(p, 'x', 1000000);
	p += 1000000;
	strcpy(p, "\nnameserver 192.0.2.1\n");
	says(text, "192.0.2.1 ");
	/* a word that is cut in half is none, one too long for a name neither */
	p = text + sprintf(text, "search a ");
	memset(p, 'b', 254);
	p += 254;
	p += sprintf(p, " c ");
	memset(p, 'd', 5000);
	strcpy(p + 5000, " e\nnameserver 192.0.2.1");
	says(text, "192.0.2.1 a c ");
	memset(text, 'd', 3000);
	text[3000] = '\0';
	says(text, "");
	free(text);
}

static void from_file(void **state)
{
	int fd = memfd_create("resolv.conf", 0), i;

	(void)state;
	assert_true(fd >= 0);
	for (i = 0; i < 5000; i++)
		assert_int_equal(write(fd, "# no\n", 5), 5);
	assert_int_equal(write(fd, "nameserver ::1", 14), 14);
	for (i = 0; i < 2; i++) {
		assert_int_equal(resolvconf_read(&rc, fd), 0);
		assert_string_equal(found(), "::1 ");
	}
	close(fd);
	assert_true(resolvconf_read(&rc, fd) < 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(servers),
		cmocka_unit_test(search),
		cmocka_unit_test(long_lines),
		cmocka_unit_test(from_file),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
