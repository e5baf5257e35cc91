/* SPDX-License-Identifier: GPL-2.0-or-later */
/* unit: acceptor log loop timer util */
/* Clients on socket pairs, on a clock of our own. */
#include "clock.h"
#include "http.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#define HOST "Host: x\r\n\r\n"

enum { MORE_THAN_A_BUFFER = 100000, ALL = 4 << 20 };

static struct loop loop;
static struct http http;
static unsigned pieces, pauses, turns_of_page;
static char got[ALL];

/* --- a page ----------------------------------------------------------------- */

static const char *begin(void *owner, char *query, struct http_answer *a)
{
	const char *name, *value;
	uint64_t n;

	(void)owner;
	while (http_param(&query, &name, &value)) {
		if (strcmp(name, "n") || !util_parse_u64(value, 10, ALL, &n))
			return "n is a number";
		a->cursor[0] = n;
	}
	if (name)
		return "Bad parameter";
	a->cursor[1] = pauses;
	return NULL;
}

static enum http_next next(void *owner, struct http_answer *a, struct wr *w)
{
	unsigned i;

	(void)owner;
	turns_of_page++;
	if (a->cursor[1]) {
		a->cursor[1]--;
		return HTTP_PAUSE;
	}
	for (i = 0; i < 4 && a->cursor[0]; i++) {
		http_print(w, "line %llu\n", (unsigned long long)a->cursor[0]--);
		pieces++;
	}
	return a->cursor[0] ? HTTP_MORE : HTTP_END;
}

static const struct http_page page = { "/page", "text/x-test", begin, next };

static enum http_next too_much(void *owner, struct http_answer *a,
			       struct wr *w)
{
	(void)owner;
	(void)a;
	http_print(w, "%*s", HTTP_BUF, "x");
	return HTTP_MORE;
}

static const struct http_page broken = { "/broken", "text/x-test", NULL,
					 too_much };

/* One that goes on as long as there is more */
static uint64_t there_is;

static const char *begin_staying(void *owner, char *query, struct http_answer *a)
{
	(void)owner;
	a->stays = !*query;
	return NULL;
}

static enum http_next wait(void *owner, struct http_answer *a, struct wr *w)
{
	(void)owner;
	turns_of_page++;
	if (a->cursor[0] == there_is)
		return HTTP_WAIT;
	http_print(w, "%llu\n", (unsigned long long)a->cursor[0]++);
	return HTTP_MORE;
}

static const struct http_page endless = { "/endless", "text/x-test",
					  begin_staying, wait };

/* --- clients ------------------------------------------------------------------ */

static int setup(void **state)
{
	(void)state;
	clock_ms = 1000;
	pieces = pauses = turns_of_page = 0;
	assert_false(loop_init(&loop));
	http_init(&http, &loop);
	http_page(&http, &page, NULL);
	http_page(&http, &broken, NULL);
	http_page(&http, &endless, NULL);
	there_is = 0;
	return 0;
}

static int teardown(void **state)
{
	unsigned i;

	(void)state;
	for (i = 0; i < HTTP_CLIENTS; i++)
		if (http.client[i].fd >= 0)
			close(http.client[i].fd);
	close(loop.epfd);
	return 0;
}

static void turns(unsigned n)
{
	while (n--)
		loop_turn(&loop);
}

/* So much later, for a process that has not been stopped meanwhile */
static void later(uint64_t ms)
{
	for (; ms > 500; ms -= 500) {
		clock_ms += 500;
		turns(1);
	}
	clock_ms += ms;
}

/* A client that has said @text already */
static int adopt(const char *text)
{
	int fd[2];

	assert_false(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fd));
	assert_false(loop_add(&loop, fd[0], http.watch, HTTP_CLIENTS - 1, 0));
	if (!http_adopt(&http, fd[0], text, strlen(text))) {
		close(fd[0]);
		close(fd[1]);
		return -1;
	}
	return fd[1];
}

static void say(int fd, const char *text)
{
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
}

/* What comes until the end, at most @n turns, is in @got; false: no end */
static bool hear(int fd, unsigned n)
{
	size_t len = 0;
	ssize_t ret;

	for (; n--; turns(1)) {
		while ((ret = read(fd, got + len, ALL - 1 - len)) > 0)
			len += (size_t)ret;
		got[len] = '\0';
		if (!ret || errno == ECONNRESET)
			return true;
	}
	return false;
}

static void assert_answer(const char *request, const char *start)
{
	int fd = adopt(request);

	assert_true(fd >= 0);
	assert_true(hear(fd, 10));
	got[strlen(start)] = '\0';
	assert_string_equal(got, start);
	close(fd);
}

static unsigned clients(void)
{
	unsigned i, n = 0;

	for (i = 0; i < HTTP_CLIENTS; i++)
		n += http.client[i].fd >= 0;
	return n;
}

/* --- requests ------------------------------------------------------------------ */

static unsigned parse(const char *text, struct http_request *r)
{
	static uint8_t buf[HTTP_BUF];

	memcpy(buf, text, strlen(text));
	return http_parse(buf, strlen(text), r);
}

static void test_parse(void **state)
{
	static const struct {
		const char *text;
		unsigned status;
	} row[] = {
		{ "", 0 },
		{ "GET / HTTP/1.1\r\n", 0 },
		{ "GET / HTTP/1.1\r\nHost: x\r\n", 0 },
		{ "GET / HTTP/1.1\r\n" HOST, 200 },
		{ "GET / HTTP/1.1\nHost:x\n\n", 200 },
		{ "HEAD / HTTP/1.1\r\n" HOST, 200 },
		{ "GET / HTTP/1.0\r\n\r\n", 200 },
		{ "GET / HTTP/1.1\r\nhost: x\r\nAccept: */*\r\n\r\n", 200 },
		{ "GET http://x/ HTTP/1.1\r\n" HOST, 200 },
		{ "GET http://x HTTP/1.1\r\n" HOST, 200 },
		{ "GET / HTTP/1.1\r\n\r\n", 400 },
		{ "GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", 400 },
		{ "GET / HTTP/1.1\r\n: x\r\n" HOST, 400 },
		{ "GET / HTTP/1.1\r\nA : x\r\n" HOST, 400 },
		{ "GET / HTTP/1.1\r\nA\r\n" HOST, 400 },
		{ "GET / HTTP/1.1\r\nHost: x\r\n folded\r\n\r\n", 400 },
		{ "GET /\r\n\r\n", 400 },
		{ "GET\r\n\r\n", 400 },
		{ "\r\n\r\n", 400 },
		{ "GET x HTTP/1.1\r\n" HOST, 400 },
		{ "GET / x HTTP/1.1\r\n" HOST, 400 },
		{ "GET / FTP/1.1\r\n" HOST, 400 },
		{ "POST / HTTP/1.1\r\n" HOST, 405 },
		{ "get / HTTP/1.1\r\n" HOST, 405 },
		{ "GET / HTTP/2.0\r\n" HOST, 505 },
		{ "GET / HTTP/1.10\r\n" HOST, 505 },
	};
	struct http_request r;
	unsigned i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(row); i++)
		if (parse(row[i].text, &r) != row[i].status)
			fail_msg("row %u: %u", i, parse(row[i].text, &r));
	assert_int_equal(parse("GET /a?b?c HTTP/1.0\r\n\r\n", &r), 200);
	assert_string_equal(r.path, "/a");
	assert_string_equal(r.query, "b?c");
	assert_false(r.head || r.chunked);
	assert_int_equal(parse("HEAD http://h:1/a HTTP/1.1\r\n" HOST, &r), 200);
	assert_string_equal(r.path, "/a");
	assert_string_equal(r.query, "");
	assert_true(r.head && r.chunked);
}

static void test_nul(void **state)
{
	uint8_t text[] = "GET / HTTP/1.1\0\r\n" HOST;
	struct http_request r;

	(void)state;
	assert_int_equal(http_parse(text, sizeof(text) - 1, &r), 400);
}

static void test_param(void **state)
{
	char text[] = "a=1&b&c=%41%2f%2F&&d=x=y&e=%4";
	const char *name, *value;
	char *at = text;

	(void)state;
#define assert_param(n, v)                                                     \
	do {                                                                   \
		assert_true(http_param(&at, &name, &value));                   \
		assert_string_equal(name, n);                                  \
		assert_string_equal(value, v);                                 \
	} while (0)
	assert_param("a", "1");
	assert_param("b", "");
	assert_param("c", "A//");
	assert_param("", "");
	assert_param("d", "x=y");
	assert_false(http_param(&at, &name, &value));
	assert_string_equal(name, "e");
	assert_false(http_param(&at, &name, &value));
	assert_null(name);
	strcpy(text, "a=%00");
	at = text;
	assert_false(http_param(&at, &name, &value));
	assert_non_null(name);
}

/* --- answers -------------------------------------------------------------------- */

static void test_chunked(void **state)
{
	int fd = adopt("GET /page?n=3 HTTP/1.1\r\n" HOST);

	(void)state;
	assert_true(hear(fd, 10));
	assert_string_equal(got, "HTTP/1.1 200 OK\r\n"
				 "Content-Type: text/x-test\r\n"
				 "Cache-Control: no-store\r\n"
				 "Connection: close\r\n"
				 "Transfer-Encoding: chunked\r\n\r\n"
				 "0015\r\nline 3\nline 2\nline 1\n\r\n"
				 "0\r\n\r\n");
	assert_int_equal(clients(), 0);
	close(fd);
}

static void test_old_client(void **state)
{
	int fd = adopt("GET /page?n=2 HTTP/1.0\r\n\r\n");

	(void)state;
	assert_true(hear(fd, 10));
	assert_non_null(strstr(got, "Connection: close\r\n\r\n"
				    "line 2\nline 1\n"));
	assert_null(strstr(got, "chunked"));
	close(fd);
}

static void test_head(void **state)
{
	int fd = adopt("HEAD /page?n=2 HTTP/1.1\r\n" HOST);

	(void)state;
	assert_true(hear(fd, 10));
	assert_string_equal(strstr(got, "\r\n\r\n"), "\r\n\r\n");
	assert_int_equal(pieces, 0);
	close(fd);
}

static void test_refusals(void **state)
{
	(void)state;
	assert_answer("GET /x HTTP/1.1\r\n" HOST, "HTTP/1.1 404 Not Found\r\n");
	assert_answer("POST /page HTTP/1.1\r\n" HOST,
		      "HTTP/1.1 405 Method Not Allowed\r\n");
	assert_answer("GET /page HTTP/1.1\r\n\r\n",
		      "HTTP/1.1 400 Bad Request\r\n");
	assert_answer("GET /page?n=x HTTP/1.1\r\n" HOST,
		      "HTTP/1.1 400 Bad Request\r\n");
	assert_non_null(strstr(got + 30, "n is a number\n"));
	assert_answer("GET /broken?n=1 HTTP/1.1\r\n" HOST,
		      "HTTP/1.1 400 Bad Request\r\n");
	assert_int_equal(clients(), 0);
}

/* What a page has done wrong is the end of its reader */
static void test_broken_page(void **state)
{
	int fd = adopt("GET /broken HTTP/1.1\r\n" HOST);

	(void)state;
	assert_true(hear(fd, 10));
	assert_null(strstr(got, "0\r\n\r\n"));
	close(fd);
}

/* No turn makes more than a buffer of it, nor does one without text end it */
static void test_slices(void **state)
{
	int fd;

	(void)state;
	pauses = 3;
	fd = adopt("GET /page?n=100000 HTTP/1.1\r\n" HOST);
	turns(3);
	assert_int_equal(turns_of_page, 3);
	turns(1);
	assert_in_range(pieces, 1, HTTP_BUF / 8);
	assert_true(hear(fd, 1000));
	assert_int_equal(pieces, 100000);
	assert_non_null(strstr(got, "line 1\n\r\n0\r\n\r\n"));
	close(fd);
}

static void test_bytewise(void **state)
{
	const char *s = "GET /page?n=1 HTTP/1.1\r\n" HOST;
	int fd = adopt("");

	(void)state;
	for (; *s; s++) {
		assert_int_equal(write(fd, s, 1), 1);
		turns(1);
	}
	assert_true(hear(fd, 10));
	assert_non_null(strstr(got, "line 1\n"));
	close(fd);
}

/* --- who costs himself his connection -------------------------------------------- */

static void test_half_a_request(void **state)
{
	int fd = adopt("GET /pa");

	(void)state;
	later(HTTP_MS / 2);
	say(fd, "ge");
	turns(2);
	assert_false(hear(fd, 2));
	later(HTTP_MS / 2 + 10);
	assert_true(hear(fd, 3));
	assert_string_equal(got, "");
	close(fd);
}

static void test_endless_request(void **state)
{
	int fd = adopt("GET / HTTP/1.1\r\n");
	unsigned i;

	(void)state;
	for (i = 0; i < HTTP_BUF / 15; i++) {
		say(fd, "Field: aaaaaa\r\n");
		turns(1);
	}
	assert_true(hear(fd, 10));
	assert_memory_equal(got, "HTTP/1.1 431 ", 13);
	close(fd);
}

static void test_never_reads(void **state)
{
	int fd = adopt("GET /page?n=1000000 HTTP/1.1\r\n" HOST);
	unsigned i, before;

	(void)state;
	turns(1000);
	before = pieces;
	assert_in_range(before, 1, 999999);
	for (i = 0; i < 10; i++) {
		later(HTTP_MS / 12);
		turns(1);
	}
	assert_int_equal(clients(), 1);
	assert_int_equal(pieces, before);
	later(HTTP_MS / 2);
	turns(2);
	assert_int_equal(clients(), 0);
	close(fd);
}

/* As long as something is taken all of it is to be had */
static void test_reads_slowly(void **state)
{
	int fd = adopt("GET /page?n=300000 HTTP/1.1\r\n" HOST);
	ssize_t n;

	(void)state;
	do {
		turns(100);
		later(HTTP_MS - 1000);
		n = read(fd, got, MORE_THAN_A_BUFFER);
	} while (n > 0);
	assert_int_equal(n, 0);
	assert_int_equal(pieces, 300000);
	close(fd);
}

static void test_gone(void **state)
{
	int fd = adopt("GET /page?n=1000000 HTTP/1.1\r\n" HOST);

	(void)state;
	turns(3);
	close(fd);
	turns(3);
	assert_int_equal(clients(), 0);
	fd = adopt("GET");
	close(fd);
	turns(2);
	assert_int_equal(clients(), 0);
}

/* --- many of them ------------------------------------------------------------------ */

static void test_silent_ones_make_room(void **state)
{
	int fd[HTTP_CLIENTS + 1], i;

	(void)state;
	for (i = 0; i < HTTP_CLIENTS; i++) {
		fd[i] = adopt("GET");
		clock_ms += 10;
	}
	fd[i] = adopt("GET /page?n=1 HTTP/1.1\r\n" HOST);
	assert_true(fd[i] >= 0);
	assert_true(hear(fd[0], 1)); /* it was the first */
	assert_true(hear(fd[i], 10));
	assert_non_null(strstr(got, "line 1\n"));
	assert_int_equal(clients(), HTTP_CLIENTS - 1);
	for (i = 0; i <= HTTP_CLIENTS; i++)
		close(fd[i]);
}

static void test_busy_ones_do_not(void **state)
{
	int fd[HTTP_CLIENTS], i;

	(void)state;
	for (i = 0; i < HTTP_CLIENTS; i++)
		fd[i] = adopt("GET /page?n=1000000 HTTP/1.1\r\n" HOST);
	assert_int_equal(adopt("GET"), -1);
	assert_int_equal(clients(), HTTP_CLIENTS);
	close(fd[3]);
	turns(3);
	assert_true((fd[3] = adopt("GET")) >= 0);
	for (i = 0; i < HTTP_CLIENTS; i++)
		close(fd[i]);
}

/* --- who stays ------------------------------------------------------------------- */

#define STAY "GET /endless HTTP/1.1\r\n" HOST

static void test_stays(void **state)
{
	int fd = adopt(STAY);
	unsigned before;

	(void)state;
	assert_false(hear(fd, 5));
	assert_non_null(strstr(got, "chunked\r\n\r\n"));
	/* For a day, and for nothing */
	before = turns_of_page;
	later(86400000);
	assert_false(hear(fd, 5));
	assert_string_equal(got, "");
	assert_int_equal(turns_of_page, before);
	there_is = 2;
	http_wake(&http, &page);
	assert_false(hear(fd, 5));
	assert_string_equal(got, "");
	http_wake(&http, &endless);
	http_wake(&http, &endless);
	assert_false(hear(fd, 5));
	assert_string_equal(got, "0004\r\n0\n1\n\r\n");
	close(fd);
	turns(2);
	assert_int_equal(clients(), 0);
	http_wake(&http, &endless);
}

/* It costs its own connection, and the page nothing */
static void test_stays_and_does_not_read(void **state)
{
	int fd = adopt(STAY), i;

	(void)state;
	turns(5);
	for (i = 0; i < 1000 && clients(); i++) {
		there_is += 10000;
		clock_ms += 100;
		http_wake(&http, &endless);
		turns(10);
	}
	assert_in_range(i, 40, 500);
	close(fd);
}

static void test_not_all_may_stay(void **state)
{
	int fd[HTTP_CLIENTS], i;

	(void)state;
	for (i = 0; i < HTTP_STAY; i++)
		fd[i] = adopt(STAY);
	turns(5);
	assert_answer(STAY, "HTTP/1.1 503 Service Unavailable\r\n");
	assert_answer("GET /page?n=1 HTTP/1.1\r\n" HOST, "HTTP/1.1 200 OK\r\n");
	/* Silent ones make room, those do not */
	for (; i < HTTP_CLIENTS; i++)
		fd[i] = adopt("GET");
	assert_answer("GET /page?n=1 HTTP/1.1\r\n" HOST, "HTTP/1.1 200 OK\r\n");
	close(fd[0]);
	turns(2);
	fd[0] = adopt(STAY);
	assert_false(hear(fd[0], 3));
	assert_memory_equal(got, "HTTP/1.1 200 OK", 15);
	for (i = 0; i < HTTP_CLIENTS; i++)
		close(fd[i]);
}

static int listener(struct sockaddr_un *a)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
	socklen_t len = sizeof(*a);

	*a = (struct sockaddr_un){ .sun_family = AF_UNIX };
	assert_false(bind(fd, (struct sockaddr *)a, sizeof(sa_family_t)));
	assert_false(getsockname(fd, (struct sockaddr *)a, &len));
	assert_false(listen(fd, 0));
	return fd;
}

/* The next one waits at the door until there is room */
static void test_door(void **state)
{
	int fd[HTTP_CLIENTS + 1], i, door;
	struct sockaddr_un a;

	(void)state;
	door = listener(&a);
	assert_false(http_listen(&http, door));
	for (i = 0; i <= HTTP_CLIENTS; i++) {
		fd[i] = socket(AF_UNIX, SOCK_STREAM, 0);
		assert_false(connect(fd[i], (struct sockaddr *)&a,
				     sizeof(sa_family_t) + 6));
		assert_false(fcntl(fd[i], F_SETFL, O_NONBLOCK));
		say(fd[i], i < HTTP_CLIENTS ?
				   "GET /page?n=1000000 HTTP/1.1\r\n" HOST :
				   "GET /page?n=1 HTTP/1.1\r\n" HOST);
		turns(2);
	}
	turns(10);
	assert_int_equal(clients(), HTTP_CLIENTS);
	assert_false(hear(fd[HTTP_CLIENTS], 2));
	assert_string_equal(got, "");
	close(fd[0]);
	assert_true(hear(fd[HTTP_CLIENTS], 10));
	assert_non_null(strstr(got, "line 1\n"));
	for (i = 1; i <= HTTP_CLIENTS; i++)
		close(fd[i]);
	close(door);
}

int main(void)
{
#define T(t) cmocka_unit_test_setup_teardown(t, setup, teardown)
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parse),
		cmocka_unit_test(test_nul),
		cmocka_unit_test(test_param),
		T(test_chunked),
		T(test_old_client),
		T(test_head),
		T(test_refusals),
		T(test_broken_page),
		T(test_slices),
		T(test_bytewise),
		T(test_half_a_request),
		T(test_endless_request),
		T(test_never_reads),
		T(test_reads_slowly),
		T(test_gone),
		T(test_silent_ones_make_room),
		T(test_busy_ones_do_not),
		T(test_door),
		T(test_stays),
		T(test_stays_and_does_not_read),
		T(test_not_all_may_stay),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
