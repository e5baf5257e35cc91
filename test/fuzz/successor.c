/* SPDX-License-Identifier: GPL-2.0-or-later */
/* unit: timer state util */
/* What somebody says who wants to be in our place, until all is given: bytes in pieces,
 * with descriptors, among them those that show who one is.  Nobody else gets anything,
 * and no descriptor stays. */
#include "../../takeover.c"

#include "../quiet.h"

#include <fcntl.h>
#include <stdlib.h>

#define REQUIRE(x) ((x) ? (void)0 : abort())

enum { KINDS = TAKEOVER_PROOF + 2, MOST = 8 };

static struct loop loop;
static struct takeover t;
static struct handover h;
static struct conf conf;
static int none = -1, kind[KINDS], ends[2];
static bool has_quit, saved;
static const uint8_t *in;
static size_t left;

void die(const char *fmt, ...)
{
	(void)fmt;
	abort();
}

/* --- what is around it ---------------------------------------------------------- */

int loop_mod(struct loop *l, int fd, unsigned watch, uint64_t ref, uint32_t events)
{
	(void)l, (void)fd, (void)watch, (void)ref, (void)events;
	return 0;
}

int loop_add(struct loop *l, int fd, unsigned watch, uint64_t ref, uint32_t events)
{
	return loop_mod(l, fd, watch, ref, events);
}

unsigned loop_watch(struct loop *l, watch_fn *fn, void *owner)
{
	(void)l, (void)fn, (void)owner;
	return 1;
}

void loop_clock(struct loop *l)
{
	(void)l;
}

void loop_quit(struct loop *l, int status)
{
	(void)l, (void)status;
	has_quit = true;
}

int acceptor_start(struct acceptor *a, struct loop *l, int fd, watch_fn *fn,
		   void *owner)
{
	(void)a, (void)l, (void)fd, (void)fn, (void)owner;
	return -ENOSYS;
}

int acceptor_take(struct acceptor *a)
{
	(void)a;
	return -1;
}

void acceptor_hold(struct acceptor *a, bool on)
{
	(void)a, (void)on;
}

void handover_begin(struct handover *o)
{
	(void)o;
}

void handover_lan(const struct handover *o, struct wr *w)
{
	(void)o;
	wr_u8(w, 1);
}

int handover_save(struct handover *o, struct wr *w, struct fdlist *fds)
{
	(void)o;
	state_end(w, state_begin(w, STATE_LINK));
	fdlist_put(fds, kind[0]);
	saved = true;
	return 0;
}

/* Of the one that takes, and of a store: not reached */
void handover_given(struct handover *o)
{
	(void)o;
}

int handover_load(struct handover *o, uint32_t tag, struct rd *r, struct fdlist *fds)
{
	(void)o, (void)tag, (void)r, (void)fds;
	abort();
}

bool handover_load_lan(const struct handover *o, struct rd *r)
{
	(void)o, (void)r;
	abort();
}

int fdstore_begin(struct fdstore *s)
{
	(void)s;
	abort();
}

int fdstore_put(struct fdstore *s, const void *p, size_t len, const int *fd, unsigned n)
{
	(void)s, (void)p, (void)len, (void)fd, (void)n;
	abort();
}

int fdstore_done(struct fdstore *s)
{
	(void)s;
	abort();
}

void fdstore_feed(struct fdstore *s, struct fdlist *fds)
{
	(void)s, (void)fds;
	abort();
}

void fdstore_end(struct fdstore *s)
{
	(void)s;
	abort();
}

/* --- what is said -------------------------------------------------------------------- */

static uint8_t byte(void)
{
	return left ? (left--, *in++) : 0;
}

/* Zeroes at the end of the input; words as they are to be, now and then */
static size_t words(uint8_t *p, size_t most)
{
	static const enum state_tag tag[] = { STATE_TAKE, STATE_COMMIT, STATE_END };
	struct wr w = wr_init(p, most);
	unsigned how = byte();
	size_t n;

	if (how < 4) {
		state_head(&w);
	} else if (how < 10) {
		state_end(&w, state_begin(&w, tag[how % 3]));
	} else {
		n = MIN(MIN((size_t)how, most), left);
		wr_bytes(&w, in, n);
		in += n;
		left -= n;
	}
	return w.len;
}

/* Descriptors by their kind; all that are to be shown, if the first says so */
static unsigned some_fds(int *fd)
{
	unsigned how = byte(), n = how % MOST, i;

	if (how >= 200) {
		memcpy(fd, kind, TAKEOVER_PROOF * sizeof(*fd));
		return TAKEOVER_PROOF;
	}
	for (i = 0; i < n; i++)
		fd[i] = kind[byte() % KINDS];
	return n;
}

static void say_some(void)
{
	uint8_t p[1024];
	size_t len = words(p, sizeof(p));
	int fd[MOST];
	unsigned n = some_fds(fd);

	if (len)
		(void)send_all(ends[1], p, len, fd, n);
}

static bool shown(void)
{
	unsigned i;

	for (i = 0; i < TAKEOVER_PROOF; i++)
		if (t.fds.at != TAKEOVER_PROOF)
			return false;
	return true;
}

static void judge(void)
{
	REQUIRE(t.len <= sizeof(t.said));
	REQUIRE(t.fd >= 0 || (!t.fds.n && !t.timer.due_ms));
	if (t.fd < 0)
		return;
	REQUIRE(t.phase != TAKEOVER_WANTED || shown());
	REQUIRE(!has_quit == (t.phase != TAKEOVER_GIVEN));
}

/* Nothing is waited for: what is said now is all there is */
static void ends_turn(void)
{
	say_some();
	shutdown(ends[1], SHUT_WR);
	saved = false;
	takeover_turn_end(&t);
	REQUIRE(!has_quit || saved);
}

static void step(void)
{
	unsigned how = byte() % 16;

	if (how == 0)
		expire(&t, &t.timer);
	else if (how < 4 && t.phase == TAKEOVER_WANTED)
		ends_turn();
	else if (how == 4)
		shutdown(ends[1], SHUT_RDWR);
	else
		say_some();
	if (t.fd >= 0 && !has_quit)
		event(&t, 0, EPOLLIN);
	judge();
}

static void begins(void)
{
	static const char *const name[KINDS] = {
		"/proc/self/ns/user", "/proc/self/ns/net", "/proc/self/ns/pid",
		"/proc/self/ns/mnt", "/dev/null",
	};
	unsigned i;

	h.conf = &conf;
	for (i = 0; i < HANDOVER_SOCKETS; i++)
		h.socket[i] = &none;
	timers_init(&loop.timers, 0);
	takeover_init(&t, &loop, &h);
	takeover_by(&t, "/etc/passwd");
	takeover_offer(&t, -1);
	for (i = 0; i < KINDS; i++)
		kind[i] = open(name[i], O_RDONLY | O_CLOEXEC);
	REQUIRE(t.buf && t.control >= 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t p[TAKEOVER_WORDS + 8];
	size_t len;
	int next;

	if (!t.buf)
		begins();
	in = data;
	left = size;
	has_quit = false;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends))
		abort();
	next = dup(ends[1]);
	close(next);
	len = words(p, sizeof(p));
	if (!takeover_adopt(&t, ends[0], p, len))
		close(ends[0]);
	else
		while (left && t.fd >= 0 && !has_quit)
			step();
	if (t.fd >= 0)
		hang_up(&t);
	close(ends[1]);
	/* All that came has been closed */
	REQUIRE(dup(t.control) == ends[0] && dup(t.control) == ends[1] &&
		dup(t.control) == next);
	close(ends[0]);
	close(ends[1]);
	close(next);
	return 0;
}
