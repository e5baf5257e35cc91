/* SPDX-License-Identifier: GPL-2.0-or-later */
/* unit: flowtab rulewire rules addr util */
/* What a server says to pesto, which may be anybody's: pages in pieces, with a greeting
 * in front or without, tables of flows, and what comes as it happens.  Byte 0 is what
 * was asked for; then pieces, each with its length in front. */
#include "log.h"

#include <stdlib.h>
#include <sys/socket.h>

/* Its libc is the same but for the server, and for memory that die() leaves */
static int fake_connect(int fd, const struct sockaddr *a, unsigned len);
static ssize_t fake_recv(int fd, void *p, size_t len, int flags);
static ssize_t fake_send(int fd, const void *p, size_t len, int flags);
static void *fake_realloc(void *was, size_t len);
#define connect	   fake_connect
#define recv	   fake_recv
#define send	   fake_send
#define malloc(n)  fake_realloc(NULL, n)
#define realloc	   fake_realloc
#include "../../fetch.c"
#undef connect
#undef recv
#undef send
#undef malloc
#undef realloc

#include "../quiet.h"
#include "flowtab.h"

#include <setjmp.h>
#include <stdarg.h>

#define REQUIRE(x) ((x) ? (void)0 : abort())

static jmp_buf stop;
static const uint8_t *in;
static size_t left;
static void *memory;

void die(const char *fmt, ...)
{
	char line[4096];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	longjmp(stop, 1);
}

static void *fake_realloc(void *was, size_t len)
{
	REQUIRE(!was || was == memory);
	return memory = realloc(was, len);
}

static int fake_connect(int fd, const struct sockaddr *a, unsigned len)
{
	(void)fd, (void)a, (void)len;
	return 0;
}

static ssize_t fake_send(int fd, const void *p, size_t len, int flags)
{
	(void)fd, (void)p, (void)flags;
	return (ssize_t)len;
}

static ssize_t fake_recv(int fd, void *p, size_t len, int flags)
{
	size_t n;

	(void)fd, (void)flags;
	if (!left || !len)
		return 0;
	n = *in++;
	left--;
	n = MIN(MIN(MAX(n, (size_t)1), len), left);
	memcpy(p, in, n);
	in += n;
	left -= n;
	return (ssize_t)n;
}

static void show(const struct flowtab *t)
{
	char cell[FLOWTAB_COLUMNS][FLOWTAB_CELL];
	unsigned i, k;

	for (i = 0; i < t->n; i++) {
		flowtab_cells(t->row[i], cell);
		for (k = 0; k < FLOWTAB_COLUMNS; k++)
			REQUIRE(memchr(cell[k], 0, FLOWTAB_CELL));
	}
}

/* As one who watches */
static void follow(void)
{
	struct fetch f;
	char *text;

	fetch_open(&f, "x", "/events");
	while ((text = fetch_more(&f)))
		REQUIRE(text >= f.buf && text + strlen(text) < f.buf + STREAM);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct flowtab t;
	int next;

	if (!size)
		return 0;
	in = data + 1;
	left = size - 1;
	memory = NULL;
	next = dup(STDERR_FILENO); /* the least that is free */
	close(next);
	if (!setjmp(stop)) {
		if (*data & 1) {
			follow();
		} else {
			t.text = NULL;
			flowtab_fetch(&t, "x", "");
			show(&t);
		}
	}
	free(memory);
	close_range((unsigned)next, (unsigned)next + 1, 0);
	return 0;
}
