/* SPDX-License-Identifier: GPL-2.0-or-later */
/* unit: addr util log */
#include "boot.h"
#include "util.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static struct lan lan;

static void give(const char *arg)
{
	assert_true(boot_parse(arg, &lan.boot[lan.boot_n]));
	lan.boot_n++;
}

static int start(void **state)
{
	(void)state;
	memset(&lan, 0, sizeof(lan));
	return 0;
}

/* @arch below 0: does not say */
static const char *found(const char *class, const char *user, int arch, bool v4)
{
	uint8_t b[4] = { 0, 99, (uint8_t)(arch >> 8), (uint8_t)arch };
	struct boot_client c = { .arch = b, .arch_len = arch < 0 ? 0 : 4 };
	const struct lan_boot *f;

	boot_class(&c, class, strlen(class));
	boot_user_class(&c, user, strlen(user));
	f = boot_find(&lan, &c, v4);
	return f ? f->file : "nothing";
}

static void parsed(void **state)
{
	static const char *const bad[] = {
		"", ",192.0.2.1", "efi64=", "efi46=x", "70000=x", "=x",
		"x,192.0.2.300", "x,", "x,224.0.0.1", "x,0.0.0.0",
	};
	const struct addr server = addr_v4(192, 0, 2, 1);
	struct lan_boot b;
	char text[300];
	unsigned i;

	(void)state;
	assert_true(boot_parse("a/b.efi,192.0.2.1", &b));
	assert_string_equal(b.file, "a/b.efi");
	assert_true(b.any && addr_equal(&b.server, &server));
	assert_true(boot_parse("efi64=b,2001:db8::1", &b));
	assert_true(!b.any && b.arch[0] == 7 && b.arch[1] == 9 &&
		    b.arch[2] == 16 && !addr_is_none(&b.server));
	assert_true(boot_parse("31=b", &b));
	assert_true(b.arch[0] == 31 && b.arch[1] == 0xffff);
	assert_true(boot_parse("http://x/?a=b,c", &b));
	assert_string_equal(b.file, "http://x/?a=b,c");
	assert_true(b.any && addr_is_none(&b.server));
	for (i = 0; i < ARRAY_SIZE(bad); i++)
		assert_false(boot_parse(bad[i], &b));
	memset(text, 'a', sizeof(text));
	text[255] = '\0';
	assert_true(boot_parse(text, &b));
	text[255] = 'a';
	text[256] = '\0';
	assert_false(boot_parse(text, &b));
}

static void best(void **state)
{
	(void)state;
	assert_string_equal(found("", "", -1, true), "nothing");
	give("default");
	give("ipxe=menu");
	give("efi64=snponly.efi");
	give("efi64=second");
	assert_string_equal(found("", "", -1, true), "default");
	assert_string_equal(found("PXEClient:Arch:00000", "", 0, true),
			    "default");
	assert_string_equal(found("PXEClient", "", 7, true), "snponly.efi");
	assert_string_equal(found("PXEClient", "", 9, false), "snponly.efi");
	assert_string_equal(found("PXEClient", "iPXE", 7, true), "menu");
	/* no URL for it */
	assert_string_equal(found("HTTPClient:Arch:00016", "", 16, true),
			    "nothing");
}

static void urls(void **state)
{
	(void)state;
	give("efi64=http://x/a");
	assert_string_equal(found("PXEClient", "", 7, true), "nothing");
	assert_string_equal(found("HTTPClient", "", 16, true), "http://x/a");
	assert_string_equal(found("PXEClient", "iPXE", 7, true), "http://x/a");
	give("efi64=file");
	assert_string_equal(found("PXEClient", "", 7, true), "file");
	assert_string_equal(found("HTTPClient", "", 16, true), "http://x/a");
	/* DHCPv6 has nothing but URLs: that scheme can be loaded */
	give("bios=tftp://[fe80::1]/a");
	assert_string_equal(found("PXEClient", "", 0, true), "nothing");
	assert_string_equal(found("PXEClient", "", 0, false),
			    "tftp://[fe80::1]/a");
}

/* An option that ends in front of what it should have: nothing is there */
static void absent(void **state)
{
	struct boot_client c = { .arch = NULL };

	(void)state;
	boot_class(&c, NULL, 0);
	boot_user_class(&c, NULL, 0);
	assert_false(c.pxe || c.http || c.ipxe);
}

static void families(void **state)
{
	(void)state;
	give("four,192.0.2.1");
	give("six,2001:db8::1");
	assert_string_equal(found("", "", -1, true), "four");
	assert_string_equal(found("", "", -1, false), "six");
}

#define TEST(f) cmocka_unit_test_setup(f, start)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(parsed), TEST(best), TEST(urls), TEST(absent), TEST(families),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
