/* SPDX-License-Identifier: GPL-2.0-or-later */
/* unit: rules addr log util */
#include "rulewire.h"

#include <netinet/in.h>
#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>

static const struct rules_env env = {
	true, true, true, true, true, true, 32768, 60999,
};

static struct rulewire_table ours[2], got[RULEWIRE_TABLES];
static uint8_t buf[RULEWIRE_MAX];
static char err[RULE_ERR];

static struct rulewire_table table(uint8_t id, const char *name)
{
	struct rulewire_table t = { .id = id, .caps = rulewire_caps(&env) };

	strcpy(t.name, name);
	t.rules.splice = id == 3;
	return t;
}

static void add(struct rulewire_table *t, char opt, const char *spec)
{
	if (!rules_add_spec(&t->rules, opt, spec, &env, err))
		fail_msg("%s: %s", spec, err);
}

static int setup(void **state)
{
	(void)state;
	ours[0] = table(1, "HOST");
	ours[1] = table(3, "SPLICE");
	memset(got, 0, sizeof(got));
	err[0] = '\0';
	return 0;
}

static size_t update(void)
{
	struct wr w = wr_init(buf, sizeof(buf));

	rulewire_update(&w, ours, 2);
	assert_true(wr_ok(&w));
	return w.len;
}

static size_t greeting(unsigned n)
{
	struct wr w = wr_init(buf, sizeof(buf));

	rulewire_greet(&w, ours, n);
	assert_true(wr_ok(&w));
	return w.len;
}

static enum rulewire read_update(size_t len)
{
	return rulewire_updated(buf, len, got, 2, &env, err);
}

static enum rulewire read_greeting(size_t len, unsigned *n)
{
	return rulewire_greeted(buf, len, got, n, err);
}

/* --- as seen on the wire -------------------------------------------------- */

static void test_hello(void **state)
{
	static const uint8_t seen[] = {
		'b', 'a', 's', 'i', 'l', ':', 's', 0,
		0, 0, 0, 2, 0, 0, 0, 128, 0, 0, 0, 16,
		1, 'H', 'O', 'S', 'T', 0,
	};

	(void)state;
	assert_int_equal(greeting(1), 20 + 1 + 128 + 4 + 4 + 1);
	assert_memory_equal(buf, seen, sizeof(seen));
	assert_int_equal(ld_be32(buf + 149), 63);
	assert_int_equal(ld_be32(buf + 153), 0);
}

static void test_target(void **state)
{
	static const uint8_t rule[RULEWIRE_RULE] = {
		0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 0, 0,
		0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 89, 0, 2,
		0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
		8080 >> 8, 8080 & 255, 8080 >> 8, 8080 & 255, 0, 80, 6, 0,
	};

	(void)state;
	add(&ours[0], 't', "0.0.0.0/8080:10.89.0.2/80");
	assert_int_equal(update(), 67);
	assert_int_equal(buf[0], 1);
	assert_int_equal(ld_be32(buf + 1), 1);
	assert_memory_equal(buf + 5, rule, sizeof(rule));
	assert_int_equal(buf[61], 3);
	assert_int_equal(ld_be32(buf + 62), 0);
	assert_int_equal(buf[66], 0);
}

static void test_dual(void **state)
{
	static const uint8_t rule[RULEWIRE_RULE] = {
		[48] = 8080 >> 8, 8080 & 255, 8080 >> 8, 8080 & 255,
		8080 >> 8, 8080 & 255, 6, 1,
	};

	(void)state;
	add(&ours[0], 't', "8080");
	update();
	assert_memory_equal(buf + 5, rule, sizeof(rule));
}

static void test_excluded(void **state)
{
	(void)state;
	add(&ours[0], 'u', "0.0.0.0/18500-18510,~18505");
	update();
	assert_int_equal(ld_be32(buf + 1), 2);
	assert_int_equal(ld_be16(buf + 5 + 50), 18504);
	assert_int_equal(ld_be16(buf + 5 + 56 + 48), 18506);
}

/* --- there and back ------------------------------------------------------- */

static void fill(void)
{
	add(&ours[0], 't', "8080:80,9000-9010:19000-19010");
	add(&ours[0], 'u', "[::]/53:fd00::5/5353");
	add(&ours[0], 't', "192.0.2.1%eth0/22");
	add(&ours[1], 'T', "auto");
	add(&ours[1], 'U', "1-1000,~53");
}

static void test_update_comes_back(void **state)
{
	size_t len, i;

	(void)state;
	fill();
	len = update();
	got[0] = table(1, "HOST");
	got[1] = table(3, "SPLICE");
	for (i = 0; i < len; i++)
		assert_int_equal(read_update(i), RULEWIRE_MORE);
	assert_int_equal(read_update(len), RULEWIRE_DONE);
	assert_memory_equal(got, ours, sizeof(ours));
}

static void test_greeting_comes_back(void **state)
{
	size_t len, i;
	unsigned n;

	(void)state;
	fill();
	len = greeting(2);
	for (i = 0; i < len; i++)
		assert_int_equal(read_greeting(i, &n), RULEWIRE_MORE);
	assert_int_equal(read_greeting(len, &n), RULEWIRE_DONE);
	assert_int_equal(n, 2);
	assert_memory_equal(got, ours, sizeof(ours));
}

static void test_full_tables_fit(void **state)
{
	unsigned i, n;
	size_t len;

	(void)state;
	for (i = 0; i < RULES_MAX; i++) {
		struct rule r = { .first = (uint16_t)(i + 1), .proto = 6,
				  .flags = RULE_DUAL };

		r.last = r.to = r.first;
		assert_true(rules_add(&ours[0].rules, &r, &env, err));
		strcpy(r.ifname, "lo");
		assert_true(rules_add(&ours[1].rules, &r, &env, err));
	}
	assert_int_equal(read_greeting(greeting(2), &n), RULEWIRE_DONE);
	assert_memory_equal(got, ours, sizeof(ours));
	len = update();
	assert_int_equal(read_update(len), RULEWIRE_DONE);
	assert_int_equal(got[1].rules.n, RULES_MAX);
}

static void test_table_left_out(void **state)
{
	static const uint8_t nothing[1] = { 0 };

	(void)state;
	fill();
	memcpy(got, ours, sizeof(ours));
	memcpy(buf, nothing, 1);
	assert_int_equal(read_update(1), RULEWIRE_DONE);
	assert_int_equal(got[0].rules.n, 0);
	assert_int_equal(got[0].rules.sockets, 0);
	assert_int_equal(got[1].rules.n, 0);
	assert_true(got[1].rules.splice);
}

static void test_order_of_tables(void **state)
{
	(void)state;
	memset(buf, 0, 11);
	buf[0] = 3;
	buf[5] = 1;
	got[0] = table(1, "HOST");
	got[1] = table(3, "SPLICE");
	assert_int_equal(read_update(11), RULEWIRE_DONE);
}

/* --- what is refused ------------------------------------------------------ */

static void refused(size_t off, uint8_t value, const char *why)
{
	uint8_t was = buf[off];

	buf[off] = value;
	got[0] = table(1, "HOST");
	got[1] = table(3, "SPLICE");
	if (read_update(67) != RULEWIRE_BAD)
		fail_msg("%zu = %u is taken", off, value);
	if (!strstr(err, why))
		fail_msg("%zu = %u: %s", off, value, err);
	buf[off] = was;
}

static void test_bad_update(void **state)
{
	(void)state;
	add(&ours[0], 't', "[::]/8080:fd00::5/80");
	assert_int_equal(update(), 67);
	refused(0, 2, "no forwarding table 2");
	refused(3, 1, "Too many forwarding rules (257");
	refused(61, 1, "HOST given twice");
	refused(5 + 16, 0xff, "not unicast");
	refused(5 + 48, 0x20, "bad range");
	refused(5 + 54, 1, "Unsupported protocol 1");
	refused(5 + 55, 8, "Unknown flags");
	refused(5 + 55, 1, "Target address");
	memset(buf + 5 + 32, 'x', 16);
	refused(0, 1, "without end");
}

static void test_port_0(void **state)
{
	(void)state;
	add(&ours[0], 't', "8080");
	update();
	memset(buf + 5 + 48, 0, 2);
	refused(0, 1, "port 0");
}

static void test_wraps(void **state)
{
	(void)state;
	add(&ours[0], 't', "8080-8090");
	update();
	memset(buf + 5 + 52, 0xff, 2);
	refused(0, 1, "port 0");
}

static void test_name_is_cut(void **state)
{
	(void)state;
	add(&ours[0], 't', "192.0.2.1%eth0/22");
	update();
	memcpy(got, ours, sizeof(ours));
	buf[5 + 32 + 5] = 'x'; /* behind the NUL */
	assert_int_equal(read_update(67), RULEWIRE_DONE);
	assert_memory_equal(&got[0].rules.r[0], &ours[0].rules.r[0],
			    sizeof(struct rule));
}

static void bad_greeting(size_t off, uint8_t value, const char *why)
{
	uint8_t was = buf[off];
	unsigned n;

	buf[off] = value;
	assert_int_equal(read_greeting(20 + 2 * 137 + 1, &n), RULEWIRE_BAD);
	if (strcmp(err, why))
		fail_msg("%zu = %u: %s", off, value, err);
	buf[off] = was;
}

static void test_bad_greeting(void **state)
{
	(void)state;
	assert_int_equal(greeting(2), 20 + 2 * 137 + 1);
	bad_greeting(0, 'p', "Bad magic number from server");
	bad_greeting(11, 3, "Unknown server protocol version 3 > 2");
	bad_greeting(11, 1, "Server protocol version 1 is too old");
	bad_greeting(11, 0, "Unsupported experimental server protocol");
	bad_greeting(15, 64,
		     "Server has unexpected pif name size (64 not 128)");
	bad_greeting(19, 64, "Server has unexpected IFNAMSIZ (64 not 16)");
	bad_greeting(20 + 137, 1, "Server has table SPLICE (1) twice");
	bad_greeting(20 + 135, 1,
		     "Too many forwarding rules (256, maximum 255)");
	memset(buf + 21, 'x', 128);
	bad_greeting(0, 'b', "Server has a table name without end");
}

/* Wrong from the first bytes: no need to wait for more */
static void test_early(void **state)
{
	unsigned n;

	(void)state;
	memcpy(buf, "HTTP/1.1", 8);
	assert_int_equal(read_greeting(8, &n), RULEWIRE_BAD);
	buf[0] = 7;
	assert_int_equal(read_update(1), RULEWIRE_BAD);
}

static void test_caps(void **state)
{
	struct rules_env e = env, back;

	(void)state;
	assert_int_equal(rulewire_caps(&e), 63);
	e.pasta = e.v6 = false;
	assert_int_equal(rulewire_caps(&e), 45);
	back = rulewire_env(45);
	assert_true(back.v4 && !back.v6 && back.tcp && back.udp &&
		    !back.pasta && back.bindtodevice);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_hello, setup),
		cmocka_unit_test_setup(test_target, setup),
		cmocka_unit_test_setup(test_dual, setup),
		cmocka_unit_test_setup(test_excluded, setup),
		cmocka_unit_test_setup(test_update_comes_back, setup),
		cmocka_unit_test_setup(test_greeting_comes_back, setup),
		cmocka_unit_test_setup(test_full_tables_fit, setup),
		cmocka_unit_test_setup(test_table_left_out, setup),
		cmocka_unit_test_setup(test_order_of_tables, setup),
		cmocka_unit_test_setup(test_bad_update, setup),
		cmocka_unit_test_setup(test_port_0, setup),
		cmocka_unit_test_setup(test_wraps, setup),
		cmocka_unit_test_setup(test_name_is_cut, setup),
		cmocka_unit_test_setup(test_bad_greeting, setup),
		cmocka_unit_test_setup(test_early, setup),
		cmocka_unit_test_setup(test_caps, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
