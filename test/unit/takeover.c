/* SPDX-License-Identifier: GPL-2.0-or-later */
/* unit: fdstore sock addr state acceptor loop timer log util */
/* What a successor does of its own, whatever it is that it takes over */
#include "takeover.h"

#include "clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

enum { START = 1000 * 1000 };

static struct loop loop;
static struct handover handover;
static struct takeover takeover;
static uint64_t loaded_ms; /* the loop's time then */

/* --- handover.h ------------------------------------------------------------- */

void handover_begin(struct handover *h)
{
	h->whole = h->linked = false;
}

int handover_load(struct handover *h, uint32_t tag, struct rd *body,
		  struct fdlist *fds)
{
	(void)body;
	(void)fds;
	loaded_ms = loop.now_ms;
	h->linked |= tag == STATE_LINK;
	h->whole |= tag == STATE_END;
	return 0;
}

int handover_save(struct handover *h, struct wr *w, struct fdlist *fds)
{
	(void)h;
	(void)w;
	(void)fds;
	return 0;
}

void handover_given(struct handover *h)
{
	(void)h;
}

void handover_lan(const struct handover *h, struct wr *w)
{
	(void)h;
	(void)w;
}

bool handover_load_lan(const struct handover *h, struct rd *r)
{
	(void)h;
	(void)r;
	return true;
}

/* --- the one that takes ------------------------------------------------------ */

static void say(int fd, enum state_tag tag)
{
	uint8_t text[STATE_SECTION];
	struct wr w = wr_init(text, sizeof(text));

	state_end(&w, state_begin(&w, tag));
	assert_int_equal(send(fd, text, w.len, 0), w.len);
}

/* Deadlines come as how long it is until then, of which what was waited for is none:
 * its predecessor may have been busy for seconds, and it has had much to do itself */
static void time_is_that_of_what_comes(void **state)
{
	int fd[2];

	(void)state;
	clock_ms = START;
	assert_int_equal(loop_init(&loop), 0);
	takeover_init(&takeover, &loop, &handover);
	takeover.buf = util_map(TAKEOVER_BUF);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
	takeover.fd = fd[0];
	say(fd[1], STATE_LINK);
	say(fd[1], STATE_END);
	clock_ms += 5000;
	takeover_take(&takeover);
	assert_int_equal(loaded_ms, START + 5000);
	close(fd[0]);
	close(fd[1]);
	close(loop.epfd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(time_is_that_of_what_comes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
