/* SPDX-License-Identifier: GPL-2.0-or-later */
/* unit: addr util */
#include "hostfwd.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

static struct hostfwd h;
static char answer[HOSTFWD_ANSWER], done[128];
static bool refused;

static bool change(void *owner, const struct hostfwd_entry *e, bool add,
		   char why[HOSTFWD_WHY])
{
	char host[ADDR_TEXT_LEN], guest[ADDR_TEXT_LEN];

	(void)owner;
	snprintf(done, sizeof(done), "%c%s %s:%u %s:%u", add ? '+' : '-',
		 e->udp ? "udp" : "tcp", addr_text(&e->host, host),
		 e->host_port, addr_text(&e->guest, guest), e->guest_port);
	strcpy(why, "a \"reason\"\n");
	return !refused;
}

static int setup(void **state)
{
	(void)state;
	h = (struct hostfwd){ .change = change,
			      .guest = addr_v4(10, 0, 2, 100) };
	refused = false;
	return 0;
}

static const char *ask(const char *text)
{
	done[0] = '\0';
	answer[hostfwd_request(&h, text, strlen(text), answer)] = '\0';
	return answer;
}

#define ADD(arguments) "{\"execute\":\"add_hostfwd\",\"arguments\":{" arguments "}}"
#define HTTP "\"proto\":\"tcp\",\"host_port\":8080,\"guest_port\":80"
#define DNS "\"proto\":\"udp\",\"host_addr\":\"127.0.0.1\",\"host_port\":53," \
	    "\"guest_addr\":\"10.0.2.9\",\"guest_port\":53"

static void added(void **state)
{
	(void)state;
	assert_string_equal(ask(ADD(HTTP)), "{\"return\":{\"id\":1}}");
	assert_string_equal(done, "+tcp 0.0.0.0:8080 10.0.2.100:80");
	assert_string_equal(ask(" {\"arguments\" : { " DNS " } ,\r\n"
				"\"execute\":\t\"add_hostfwd\"}\n"),
			    "{\"return\":{\"id\":2}}");
	assert_string_equal(done, "+udp 127.0.0.1:53 10.0.2.9:53");
	/* Not twice */
	assert_non_null(strstr(ask(ADD(HTTP)), "add_hostfwd: is there"));
	assert_string_equal(done, "");
}

#define ENTRY1                                                                 \
	"{\"id\":1,\"proto\":\"tcp\",\"host_addr\":\"0.0.0.0\","               \
	"\"host_port\":8080,\"guest_addr\":\"10.0.2.100\",\"guest_port\":80}"
#define ENTRY2                                                                 \
	"{\"id\":2,\"proto\":\"udp\",\"host_addr\":\"127.0.0.1\","             \
	"\"host_port\":53,\"guest_addr\":\"10.0.2.9\",\"guest_port\":53}"
#define LISTED(entries)                                                        \
	"{\"return\":{\"entries\":[" entries "]},\"entries\":[" entries "]}"

static void listed_and_removed(void **state)
{
	(void)state;
	assert_string_equal(ask("{\"execute\":\"list_hostfwd\"}"), LISTED(""));
	ask(ADD(HTTP));
	ask(ADD(DNS));
	assert_string_equal(ask("{\"execute\":\"list_hostfwd\"}"),
			    LISTED(ENTRY1 "," ENTRY2));
	assert_string_equal(ask("{\"execute\":\"remove_hostfwd\","
				"\"arguments\":{\"id\":1}}"),
			    "{\"return\":{}}");
	assert_string_equal(done, "-tcp 0.0.0.0:8080 10.0.2.100:80");
	assert_string_equal(ask("{\"execute\":\"list_hostfwd\"}"),
			    LISTED(ENTRY2));
	assert_string_equal(ask("{\"execute\":\"remove_hostfwd\","
				"\"arguments\":{\"id\":1}}"),
			    "{\"error\":{\"desc\":\"bad request: "
			    "remove_hostfwd: bad arguments.id\"}}");
}

static void refused_by_others(void **state)
{
	(void)state;
	refused = true;
	assert_string_equal(ask(ADD(HTTP)), "{\"error\":{\"desc\":\"bad request: "
					    "add_hostfwd: a 'reason''\"}}");
	assert_int_equal(h.n, 0);
}

static void bad_requests(void **state)
{
	static const char *const what[][2] = {
		{ "nonsense", "cannot parse JSON" },
		{ "", "cannot parse JSON" },
		{ "{\"execute\":\"list_hostfwd\"", "cannot parse JSON" },
		{ "{\"execute\":\"list_hostfwd\"}}", "cannot parse JSON" },
		{ "{\"execute\":[1]}", "cannot parse JSON" },
		{ "{\"arguments\":{\"arguments\":{}}}", "cannot parse JSON" },
		{ "{\"execute\":\"a\\\"b\"}", "cannot parse JSON" },
		{ "{}", "no execute found" },
		{ "{\"exec\":\"foo\"}", "no execute found" },
		{ "{\"execute\":\"foo\"}", "unknown execute" },
		{ "{\"execute\":\"add_hostfwd\"}",
		  "add_hostfwd: bad arguments.proto" },
		{ ADD("\"proto\":\"sctp\""), "add_hostfwd: bad arguments.proto" },
		{ ADD("\"proto\":\"tcp\",\"host_port\":65536"),
		  "add_hostfwd: bad arguments.host_port" },
		{ ADD("\"proto\":\"tcp\",\"host_port\":0"),
		  "add_hostfwd: bad arguments.host_port" },
		{ ADD("\"proto\":\"tcp\",\"host_addr\":\"::1\",\"host_port\":1"),
		  "add_hostfwd: bad arguments.host_addr" },
		{ ADD("\"proto\":\"tcp\",\"host_port\":1"),
		  "add_hostfwd: bad arguments.guest_port" },
		{ ADD("\"proto\":\"tcp\",\"host_port\":1,\"guest_addr\":\"x\""),
		  "add_hostfwd: bad arguments.guest_addr" },
		{ "{\"execute\":\"remove_hostfwd\",\"arguments\":{}}",
		  "remove_hostfwd: bad arguments.id" },
	};
	char want[128];
	unsigned i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(what); i++) {
		snprintf(want, sizeof(want),
			 "{\"error\":{\"desc\":\"bad request: %s\"}}", what[i][1]);
		assert_string_equal(ask(what[i][0]), want);
		assert_string_equal(done, "");
	}
}

static void all_there_can_be(void **state)
{
	char text[256];
	unsigned i;

	(void)state;
	for (i = 0; i < HOSTFWD_MAX; i++) {
		snprintf(text, sizeof(text),
			 ADD("\"proto\":\"tcp\",\"host_port\":%u,"
			     "\"host_addr\":\"255.255.255.255\","
			     "\"guest_port\":65535"), 65535 - i);
		ask(text);
	}
	assert_non_null(strstr(ask(ADD(HTTP)), "too many"));
	ask("{\"execute\":\"list_hostfwd\"}");
	assert_string_equal(answer + strlen(answer) - 3, "}]}");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(added, setup),
		cmocka_unit_test_setup(listed_and_removed, setup),
		cmocka_unit_test_setup(refused_by_others, setup),
		cmocka_unit_test_setup(bad_requests, setup),
		cmocka_unit_test_setup(all_there_can_be, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
