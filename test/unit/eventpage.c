/* SPDX-License-Identifier: GPL-2.0-or-later */
/* unit: events http acceptor loop timer log util */
#include "eventpage.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

static struct events events;
static struct eventpage owner = { .events = &events };
static uint8_t text[1 << 20];

static int setup(void **state)
{
	(void)state;
	log_stderr(false);
	memset(&events, 0, sizeof(events));
	return 0;
}

static void tell(unsigned n)
{
	while (n--) {
		events_tell(&events, LOG_DBG, "test", "number %llu",
			    (unsigned long long)events.n);
		events_number(&events, "n", events.n);
	}
}

static const char *begin(struct http_answer *a, const char *query)
{
	static char copy[64];

	*a = (struct http_answer){ .type = eventpage.type };
	return eventpage.begin(&owner, strcpy(copy, query), a);
}

/* What there is until it ends, or waits */
static const char *read_on(struct http_answer *a, enum http_next end)
{
	struct wr w = wr_init(text, sizeof(text) - 1);
	enum http_next next;
	size_t was;

	do {
		was = w.len;
		next = eventpage.next(&owner, a, &w);
		assert_in_range(w.len - was, 0, HTTP_PIECE);
	} while (next == HTTP_MORE);
	assert_int_equal(next, end);
	assert_true(wr_ok(&w));
	text[w.len] = '\0';
	return (const char *)text;
}

static unsigned count(const char *all, const char *what)
{
	unsigned n = 0;

	for (; (all = strstr(all, what)); all++)
		n++;
	return n;
}

static void test_parameters(void **state)
{
	struct http_answer a;

	(void)state;
	assert_null(begin(&a, ""));
	assert_false(a.stays);
	assert_null(begin(&a, "follow"));
	assert_true(a.stays);
	assert_string_equal(a.type, "application/jsonl");
	assert_null(begin(&a, "format=text&follow"));
	assert_string_equal(a.type, "text/plain; charset=utf-8");
	assert_non_null(begin(&a, "follow=1"));
	assert_non_null(begin(&a, "format=xml"));
	assert_non_null(begin(&a, "x"));
	assert_non_null(begin(&a, "format=%zz"));
}

static void test_json(void **state)
{
	struct http_answer a;
	const char *s;

	(void)state;
	tell(1);
	events_tell(&events, LOG_DBG, "odd", "a \"b\" \\ \n %s", "\x1b");
	events_text(&events, "name", "q\" \\ \x07\xff");
	begin(&a, "");
	s = read_on(&a, HTTP_END);
	assert_memory_equal(s, "{\"number\": 0, \"time\": 1", 22);
	assert_non_null(strstr(s, "\"event\": \"test\", \"text\": \"number 0\", "
				  "\"n\": 1}\n{"));
	assert_non_null(strstr(s, "\"text\": \"a ?b? ? ? ?\", "
				  "\"name\": \"q\\u0022 \\u005c "
				  "\\u0007\\u00ff\"}\n"));
}

static void test_text(void **state)
{
	struct http_answer a;
	unsigned s, ms, n;
	char end;

	(void)state;
	tell(1);
	begin(&a, "format=text");
	assert_int_equal(sscanf(read_on(&a, HTTP_END),
				"%u.%3u test number %u%c", &s, &ms, &n, &end),
			 4);
	assert_int_equal(end, '\n');
}

/* Who comes late gets the last ones, and each one once from then on */
static void test_late(void **state)
{
	struct http_answer a, b;

	(void)state;
	tell(EVENTS + 10);
	begin(&a, "follow");
	begin(&b, "follow");
	read_on(&a, HTTP_WAIT);
	assert_int_equal(count((char *)text, "\n"), EVENTS);
	assert_non_null(strstr((char *)text, "{\"number\": 10, "));
	assert_null(strstr((char *)text, "{\"number\": 9, "));
	assert_int_equal(count((char *)text, "lost"), 0);
	assert_string_equal(read_on(&a, HTTP_WAIT), "");
	tell(2);
	read_on(&a, HTTP_WAIT);
	assert_int_equal(count((char *)text, "\n"), 2);
	/* And who is slow, how many he has missed */
	read_on(&b, HTTP_WAIT);
	assert_int_equal(count((char *)text, "\n"), EVENTS + 1);
	assert_memory_equal(text, "{\"number\": 11, ", 15);
	assert_non_null(strstr((char *)text, "\"event\": \"lost\", \"text\": "
					     "\"2 events came too fast\", "
					     "\"lost\": 2}\n"));
}

/* The longest of everything is a piece, and is still JSON */
static void test_long(void **state)
{
	char name[2 * EVENT_FIELDS];
	struct http_answer a;
	const char *s;
	unsigned i;

	(void)state;
	memset(name, 1, sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	events_tell(&events, LOG_DBG, "resolvers", "%s", name);
	for (i = 0; i < 40; i++) {
		events_text(&events, "name", name + i * 25);
		events_number(&events, "number", UINT64_MAX);
	}
	begin(&a, "");
	s = read_on(&a, HTTP_END);
	assert_string_equal(s + strlen(s) - 2, "}\n");
	assert_int_equal(count(s, "\"") % 2, 0);
}

/* The log alone */
static void test_nobody(void **state)
{
	(void)state;
	events_tell(NULL, LOG_DBG, "test", "x");
	events_text(NULL, "a", "b");
	events_number(NULL, "a", 1);
	events_text(&events, "a", "b"); /* there is none yet */
	assert_int_equal(events.n, 0);
}

int main(void)
{
#define T(t) cmocka_unit_test_setup(t, setup)
	const struct CMUnitTest tests[] = {
		T(test_parameters), T(test_json), T(test_text),
		T(test_late), T(test_long), T(test_nobody),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
