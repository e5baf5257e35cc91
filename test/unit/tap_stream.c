/* SPDX-License-Identifier: GPL-2.0-or-later */
/* unit: acceptor tap loop timer pcap segment packet checksum iov addr util */
#include "tap_stream.h"
#include "log.h"
#include "segment.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <linux/virtio_net.h>

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

/* --- the log, kept for asking ------------------------------------------- */

enum log_level log_max = LOG_DBG;
static char said[4096];

bool log_allowed(struct log_rate *r)
{
	(void)r;
	return true;
}

void log_print(enum log_level l, const char *fmt, ...)
{
	size_t len = strlen(said);
	va_list ap;

	(void)l;
	va_start(ap, fmt);
	vsnprintf(said + len, sizeof(said) - len, fmt, ap);
	va_end(ap);
	strncat(said, "\n", sizeof(said) - strlen(said) - 1);
}

static bool heard(const char *s)
{
	bool found = strstr(said, s);

	*said = '\0';
	return found;
}

/* --- a loop with a stream transport, and what came over it ---------------- */

static struct loop loop;
static struct pcap pcap = { .fd = -1 };
static struct tap_stream t;
static struct runq busy; /* never empty: the loop does not sleep */
static struct run spin;
static unsigned watch, burst;
static bool later; /* the frames wait for a turn of their own */
static uint8_t got[8 << 20]; /* frames as received, prefixed again */
static size_t got_len;
static unsigned got_cnt;
static char dir[32], path[108];

static enum run_verdict again(void *owner, struct run *r)
{
	(void)owner;
	(void)r;
	return RUN_AGAIN;
}

/* What guest.c does with an event */
static void input(void *owner, uint64_t ref, uint32_t events)
{
	static struct frame f[64];
	unsigned n, i;

	(void)owner;
	assert_int_equal(ref, 0);
	t.tap.events |= events & ~(uint32_t)EPOLLOUT;
	if (later)
		return;
	do {
		n = tap_receive(&t.tap, f, burst);
		if (!n)
			break;
		assert_in_range(n, 1, burst);
		assert_true(t.tap.up);
		for (i = 0; i < n; i++) {
			assert_int_equal(f[i].iov_cnt, 1);
			assert_int_equal(f[i].iov->iov_len, f[i].len);
			assert_int_equal(f[i].note.flags, 0);
			assert_int_equal(f[i].note.gso_type, 0);
			st_be32(got + got_len, (uint32_t)f[i].len);
			memcpy(got + got_len + 4, f[i].iov->iov_base, f[i].len);
			got_len += 4 + f[i].len;
			got_cnt++;
		}
		tap_release(&t.tap);
	} while (!t.tap.drained);
	assert_true(t.tap.drained);
	if (t.tap.up)
		tap_flush(&t.tap);
}

static void turns(unsigned n)
{
	while (n--)
		(void)loop_turn(&loop);
}

static int set_up(void **st)
{
	(void)st;
	assert_int_equal(loop_init(&loop), 0);
	memset(&spin, 0, sizeof(spin));
	runq_init(&loop, &busy, RUN_COST, RUN_COST, again, NULL);
	runq_add(&busy, &spin);
	watch = loop_watch(&loop, input, NULL);
	assert_int_equal(tap_stream_init(&t, &loop, &pcap, watch, false), 0);
	*said = '\0';
	got_len = got_cnt = 0;
	burst = 64;
	strcpy(dir, "/tmp/passt-unit-XXXXXX");
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/socket", dir);
	return 0;
}

static int tear_down(void **st)
{
	(void)st;
	close(loop.epfd);
	if (t.fd >= 0)
		close(t.fd);
	if (t.acceptor.fd >= 0)
		close(t.acceptor.fd);
	(void)unlink(path);
	return rmdir(dir);
}

static int adopt(void)
{
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	assert_int_equal(tap_stream_adopt(&t, fds[0]), 0);
	return fds[1];
}

static int serve(void)
{
	int fd = tap_stream_bind(path);

	assert_true(fd >= 0);
	assert_int_equal(tap_stream_listen(&t, fd), 0);
	return fd;
}

static int dial(void)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	strcpy(a.sun_path, path);
	if (connect(fd, (struct sockaddr *)&a, sizeof(a))) {
		close(fd);
		return -1;
	}
	turns(2);
	return fd;
}

/* --- from the guest ------------------------------------------------------- */

static size_t put(uint8_t *at, size_t len)
{
	size_t i;

	st_be32(at, (uint32_t)len);
	for (i = 0; i < len; i++)
		at[4 + i] = (uint8_t)(i * 31 + len);
	return 4 + len;
}

static void say(int fd, const void *p, size_t len)
{
	assert_int_equal(send(fd, p, len, MSG_NOSIGNAL), len);
}

static void test_byte_by_byte(void **st)
{
	uint8_t b[8000];
	size_t len = 0, i;
	int fd = adopt();

	(void)st;
	len += put(b + len, 14);
	len += put(b + len, 60);
	len += put(b + len, 1514);
	len += put(b + len, 15);
	len += put(b + len, 3000);
	for (i = 0; i < len; i++) {
		say(fd, b + i, 1);
		turns(1);
		if (i == 16)
			assert_int_equal(got_cnt, 0);
		if (i == 17)
			assert_int_equal(got_cnt, 1);
	}
	assert_int_equal(got_cnt, 5);
	assert_int_equal(got_len, len);
	assert_memory_equal(got, b, len);
	assert_int_equal(t.tap.count.frames[0], 5);
	assert_int_equal(t.tap.count.bytes[0], len - 20);
	close(fd);
}

/* More than the buffer holds, cut anywhere, frames of every size */
static void test_random_cuts(void **st)
{
	static uint8_t b[4 << 20];
	size_t len = 0, at, n;
	unsigned cnt = 0;
	int fd = adopt();

	(void)st;
	srand(7);
	while (len < sizeof(b) - 70000) {
		unsigned k = (unsigned)rand();

		n = k % 3 == 0   ? 65535
		    : k % 3 == 1 ? k % 65522 + 14
				 : k % 99 + 14;
		len += put(b + len, n);
		cnt++;
	}
	for (at = 0; at < len; at += n) {
		n = (size_t)rand() % 150000 + 1;
		n = MIN(n, len - at);
		burst = (unsigned)rand() % 64 + 1;
		say(fd, b + at, n);
		turns(1);
	}
	assert_int_equal(got_cnt, cnt);
	assert_int_equal(got_len, len);
	assert_memory_equal(got, b, len);
	close(fd);
}

static void test_many_at_once(void **st)
{
	static uint8_t b[200 * 64];
	size_t len = 0;
	unsigned i;
	int fd = adopt();

	(void)st;
	for (i = 0; i < 200; i++)
		len += put(b + len, 14 + i % 40);
	say(fd, b, len);
	turns(1); /* one event is all there will be */
	assert_int_equal(got_cnt, 200);
	assert_memory_equal(got, b, len);
	close(fd);
}

/* An edge comes while frames of a read that emptied the socket are left */
static void test_news_between_bursts(void **st)
{
	static struct frame f[2];
	uint8_t b[400];
	size_t len = put(b, 60);
	int fd;

	(void)st;
	serve();
	fd = dial();
	memcpy(b + len, b, len);
	memcpy(b + 2 * len, b, len);
	say(fd, b, 3 * len);
	t.tap.events = EPOLLIN;
	assert_int_equal(tap_receive(&t.tap, f, 2), 2);
	assert_false(t.tap.drained);
	say(fd, b, len);
	t.tap.events = EPOLLIN;
	assert_int_equal(tap_receive(&t.tap, f, 2), 1);
	assert_false(t.tap.drained);
	assert_int_equal(tap_receive(&t.tap, f, 2), 1);
	assert_true(t.tap.drained);
	close(fd);
}

static void test_bad_length(void **st)
{
	static const uint32_t bad[] = {
		0, 1, 13, 65536, 0x80000000, 0xffffffff
	};
	uint8_t b[200];
	unsigned i;
	int fd;

	(void)st;
	serve();
	for (i = 0; i < 2 * ARRAY_SIZE(bad); i++) {
		size_t len = i & 1 ? 0 : put(b, 60);

		got_cnt = 0;
		fd = dial();
		assert_int_equal(t.tap.session, i + 1);
		assert_true(t.tap.up);
		memset(b + len, 0x22, 100);
		st_be32(b + len, bad[i / 2]);
		say(fd, b, len + 100);
		turns(2);
		assert_int_equal(got_cnt, !(i & 1));
		assert_true(heard("Bad frame size from guest, resetting "
				  "connection\n"));
		assert_false(t.tap.up);
		assert_false(loop.quit);
		assert_int_equal(recv(fd, b, 1, 0) <= 0, 1);
		close(fd);
	}
	/* The limits themselves are good */
	fd = dial();
	got_len = got_cnt = 0;
	say(fd, got + (4 << 20), put(got + (4 << 20), 14));
	say(fd, got + (4 << 20), put(got + (4 << 20), 65535));
	turns(2);
	assert_int_equal(got_cnt, 2);
	close(fd);
}

static void test_reconnect(void **st)
{
	uint8_t b[2000];
	size_t len = put(b, 1000);
	int fd;

	(void)st;
	serve();
	assert_false(t.tap.up);
	fd = dial();
	assert_true(t.tap.up);
	say(fd, b, len - 1); /* never finished: trap 3.4 b */
	turns(1);
	close(fd);
	turns(1);
	assert_true(heard("Client connection closed\n"));
	assert_false(t.tap.up);
	assert_false(loop.quit);
	fd = dial();
	assert_int_equal(t.tap.session, 2);
	say(fd, b, len);
	turns(1);
	assert_int_equal(got_cnt, 1);
	assert_memory_equal(got, b, len);
	/* Data and hang-up in one event */
	say(fd, b, len);
	close(fd);
	turns(1);
	assert_int_equal(got_cnt, 2);
	assert_false(t.tap.up);
}

static void test_second_client(void **st)
{
	uint8_t b[100];
	size_t len = put(b, 60);
	int fd, other;

	(void)st;
	serve();
	fd = dial();
	other = dial();
	assert_true(heard("discarding connection from PID"));
	assert_int_equal(recv(other, b + 99, 1, 0), 0);
	assert_int_equal(t.tap.session, 1);
	say(fd, b, len);
	turns(1);
	assert_int_equal(got_cnt, 1);
	close(other);
	close(fd);
}

static void test_successor(void **st)
{
	uint8_t b[100];
	size_t len = put(b, 60);
	int fd;

	(void)st;
	serve();
	fd = dial();
	later = true;
	say(fd, b, len);
	say(fd, b, len);
	close(fd);
	fd = dial();
	later = false;
	assert_false(heard("discarding"));
	assert_int_equal(t.tap.session, 1);
	input(NULL, 0, 0);
	assert_int_equal(got_cnt, 2);
	assert_int_equal(t.tap.session, 2);
	say(fd, b, len);
	turns(1);
	assert_int_equal(got_cnt, 3);
	close(fd);
}

static void test_one_off(void **st)
{
	int fd;

	(void)st;
	t.one_off = true;
	serve();
	fd = dial();
	turns(2);
	assert_false(loop.quit);
	close(fd);
	assert_true(loop_turn(&loop) == false);
	assert_int_equal(loop.status, 0);
	assert_true(heard("Client connection closed, exiting\n"));
}

static void test_adopts_streams_only(void **st)
{
	int ends[2];

	(void)st;
	assert_int_equal(pipe(ends), 0);
	assert_int_equal(tap_stream_adopt(&t, ends[0]), -ENOTSOCK);
	close(ends[0]);
	close(ends[1]);
	assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM, 0, ends), 0);
	assert_int_equal(tap_stream_adopt(&t, ends[0]), -EPROTOTYPE);
	close(ends[0]);
	close(ends[1]);
	assert_false(t.tap.up);
}

/* getsockopt(SO_TYPE) is refused, as by a security module */
static bool forbid_type(void)
{
	enum { LOW = (__BYTE_ORDER == __BIG_ENDIAN) * sizeof(uint32_t) };
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
			 offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_getsockopt, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
			 offsetof(struct seccomp_data, args[2]) + LOW),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SO_TYPE, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EACCES),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog prog = { ARRAY_SIZE(code), code };

	return !prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) &&
	       !prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog);
}

/* Not to know what it is is no error; in a process of its own, the filter stays */
static void test_adopts_what_it_may_not_ask(void **st)
{
	int fds[2], status, type;
	socklen_t len = sizeof(type);
	pid_t pid;

	(void)st;
	pid = fork();
	assert_true(pid >= 0);
	if (!pid) {
		assert_true(forbid_type());
		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
		assert_true(getsockopt(fds[0], SOL_SOCKET, SO_TYPE, &type,
				       &len) < 0 && errno == EACCES);
		assert_int_equal(tap_stream_adopt(&t, fds[0]), 0);
		_exit(t.tap.up ? 0 : 1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static void test_adopted_is_one_off(void **st)
{
	int fd = adopt();

	(void)st;
	assert_int_equal(t.tap.session, 1);
	assert_true(t.tap.up);
	close(fd);
	turns(1);
	assert_true(loop.quit);
	assert_int_equal(loop.status, 0);
}

/* --- towards the guest ---------------------------------------------------- */

static const struct note none;

/* Everything that can be read without waiting */
static size_t drain(int fd, uint8_t *at, size_t max)
{
	size_t len = 0;
	ssize_t n;

	while (len < max &&
	       (n = recv(fd, at + len, max - len, MSG_DONTWAIT)) > 0)
		len += (size_t)n;
	return len;
}

/* Head and body of one byte each, so that a frame says which it is */
static bool send_one(size_t head, size_t body, uint8_t v)
{
	struct slot s;

	if (!tap_reserve(&t.tap, &s, 1, head, body, 0))
		return false;
	assert_true(s.room >= body);
	memset(s.head, v, head);
	memset(s.body->iov_base, v, body);
	tap_commit(&t.tap, &s, body, &none);
	return true;
}

static void test_padding(void **st)
{
	uint8_t b[4096];
	size_t body;
	int fd = adopt();

	(void)st;
	for (body = 0; body < 80; body++) {
		size_t len = MAX(14 + body, (size_t)60), i;

		/* old bytes must not shine through */
		assert_true(send_one(54, 80, 0xff));
		tap_flush(&t.tap);
		drain(fd, b, sizeof(b));

		assert_true(send_one(14, body, 0x33));
		assert_true(send_one(14, 50, 0x44));
		tap_flush(&t.tap);
		assert_int_equal(drain(fd, b, sizeof(b)), 4 + len + 4 + 64);
		assert_int_equal(ld_be32(b), len);
		for (i = 0; i < len; i++)
			assert_int_equal(b[4 + i], i < 14 + body ? 0x33 : 0);
		assert_int_equal(b[4 + len + 4], 0x44);
	}
	assert_int_equal(t.tap.count.frames[1], 240);
	close(fd);
}

struct sent {
	uint8_t head[HEAD_MAX];
	size_t head_len;
	struct note n;
};

static void make_head(struct sent *w, bool tcp, bool v4, size_t len, size_t mss)
{
	struct head h = { .t = { .sport = 1, .dport = 2 } };
	struct tcp_head th = { .flags = TCP_ACK | TCP_PSH, .seq = 4096 };

	h.t.src = v4 ? addr_v4(1, 2, 3, 4) : addr_from6("0123456789abcde");
	h.t.dst = h.t.src;
	h.t.proto = tcp ? IPPROTO_TCP : IPPROTO_UDP;
	w->head_len = tcp ? packet_put_tcp(w->head, &h, &th, len, &w->n)
			  : packet_put_udp(w->head, &h, len, &w->n);
	if (mss && len > mss) {
		w->n.gso_type = tcp ? VIRTIO_NET_HDR_GSO_TCPV4 : 5;
		w->n.gso_size = (uint16_t)mss;
	}
}

/* A run through reserve and commit is what segment_split() makes of it */
static void run(int fd, bool tcp, bool v4, size_t want, size_t used, size_t mss)
{
	static uint8_t frame[70000], expect[200000], b[200000];
	size_t len = 0, i, n;
	struct sent w;
	struct slot s;

	make_head(&w, tcp, v4, used, mss);
	memcpy(frame, w.head, w.head_len);
	for (i = 0; i < used; i++)
		frame[w.head_len + i] = (uint8_t)rand();

	assert_int_equal(tap_reserve(&t.tap, &s, 1, w.head_len, want, mss), 1);
	assert_true(s.room >= MIN(mss, want) && s.room <= want);
	used = MIN(used, s.room);
	make_head(&w, tcp, v4, used, mss);
	memcpy(frame, w.head, w.head_len);
	for (n = 0, i = 0; n < used && i < s.body_cnt; i++) {
		size_t piece = MIN(s.body[i].iov_len, used - n);

		memcpy(s.body[i].iov_base, frame + w.head_len + n, piece);
		n += piece;
	}
	memcpy(s.head, w.head, w.head_len);
	tap_commit(&t.tap, &s, used, &w.n);
	tap_flush(&t.tap);

	for (i = 0; (n = segment_split(expect + len + 4, frame,
				       w.head_len + used, &w.n, (unsigned)i));
	     i++) {
		size_t padded = MAX(n, (size_t)60);

		memset(expect + len + 4 + n, 0, padded - n);
		st_be32(expect + len, (uint32_t)padded);
		len += 4 + padded;
	}
	assert_int_equal(drain(fd, b, sizeof(b)), len);
	assert_memory_equal(b, expect, len);
}

static void test_runs(void **st)
{
	static const size_t mss[] = { 1, 2, 5, 6, 20, 536, 1448, 8948 };
	static const size_t size[] = {
		1, 5, 60, 1447, 1448, 1449, 4000, 60000
	};
	unsigned kind, i, k;
	int fd = adopt();

	(void)st;
	for (kind = 0; kind < 4; kind++) {
		for (i = 0; i < ARRAY_SIZE(mss); i++) {
			for (k = 0; k < ARRAY_SIZE(size); k++) {
				run(fd, kind & 1, kind & 2, size[k], size[k],
				    mss[i]);
				run(fd, kind & 1, kind & 2, 65000, size[k],
				    mss[i]);
			}
		}
	}
	assert_false(t.tap.full);
	close(fd);
}

/* Slots of one reserve, some given back; another reserve in between */
static void test_slots(void **st)
{
	struct slot s[STREAM_SLOTS + 1], x;
	uint8_t b[8192];
	unsigned i;
	int fd = adopt();

	(void)st;
	assert_int_equal(tap_reserve(&t.tap, s, 5, 14, 100, 0), 5);
	for (i = 0; i < 5; i++) {
		assert_int_equal(s[i].head_len, 14);
		assert_int_equal(s[i].room, 100);
		assert_int_equal(s[i].body_cnt, 1);
		memset(s[i].head, (int)i, 14);
		memset(s[i].body->iov_base, (int)i, 100);
	}
	tap_commit(&t.tap, &s[0], 90, &none);
	tap_cancel(&t.tap, &s[1]);
	assert_true(send_one(14, 380, 9));
	tap_flush(&t.tap); /* must not take the slots' bytes */
	assert_true(send_one(14, 370, 8));
	tap_commit(&t.tap, &s[2], 100, &none);
	tap_commit(&t.tap, &s[3], 0, &none);
	tap_cancel(&t.tap, &s[4]);
	tap_flush(&t.tap);
	assert_int_equal(drain(fd, b, sizeof(b)),
			 4 + 104 + 4 + 394 + 4 + 384 + 4 + 114 + 4 + 60);
	assert_int_equal(b[4], 0);
	assert_int_equal(b[4 + 103], 0);
	assert_int_equal(b[108 + 4], 9);
	assert_int_equal(b[108 + 398 + 4], 8);
	assert_int_equal(b[108 + 398 + 388 + 4 + 113], 2);
	assert_int_equal(b[108 + 398 + 388 + 118 + 4 + 13], 3);
	assert_int_equal(b[108 + 398 + 388 + 118 + 4 + 14], 0);
	assert_int_equal(t.tx_used, 0);

	/* Committed in another order than laid out: the room behind the upper
	 * one must not be taken for free */
	assert_int_equal(tap_reserve(&t.tap, s, 1, 14, 100, 0), 1);
	assert_true(send_one(14, 300, 5));
	memset(s[0].head, 6, 14);
	tap_commit(&t.tap, &s[0], 0, &none);
	assert_true(send_one(14, 300, 7));
	tap_flush(&t.tap);
	assert_int_equal(drain(fd, b, sizeof(b)), 318 + 64 + 318);
	assert_int_equal(b[4], 5);
	assert_int_equal(b[4 + 313], 5);
	assert_int_equal(b[318 + 4], 6);
	assert_int_equal(b[382 + 4], 7);

	/* As many of the longest frames as there are slots, and no more */
	assert_int_equal(
		tap_reserve(&t.tap, s, STREAM_SLOTS + 1, 42, FRAME_MAX - 42, 0),
		STREAM_SLOTS);
	assert_true(t.tap.full);
	assert_int_equal(tap_reserve(&t.tap, &x, 1, 42, 1, 0), 0);
	for (i = 0; i < STREAM_SLOTS; i++)
		tap_cancel(&t.tap, &s[i]);
	tap_flush(&t.tap);
	assert_false(t.tap.full);
	assert_int_equal(tap_reserve(&t.tap, &x, 1, 42, 1, 0), 1);
	tap_cancel(&t.tap, &x);
	close(fd);
}

/* A guest that does not read: frames stay queued until there is no room, and
 * all arrive whole and in order once it does */
static void test_unread(void **st)
{
	uint8_t b[4096];
	int fd = adopt();

	(void)st;
	assert_false(tap_unread(&t.tap));
	assert_true(send_one(54, 80, 1));
	tap_flush(&t.tap);
	assert_true(send_one(54, 80, 2));
	tap_flush(&t.tap);
	assert_true(tap_unread(&t.tap));
	drain(fd, b, 100);
	assert_true(tap_unread(&t.tap));
	drain(fd, b, sizeof(b));
	assert_false(tap_unread(&t.tap));
	close(fd);
	turns(2);
	assert_false(tap_unread(&t.tap));
}

static void test_full(void **st)
{
	static uint8_t b[16 << 20];
	size_t len = 0, at, n;
	unsigned sent = 0, seen = 0, round, waits = 0;
	int fd = adopt(), small = 4096;

	(void)st;
	srand(3);
	setsockopt(t.fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
	for (round = 0; round < 3; round++) {
		while (send_one(54, (size_t)rand() % 9000, (uint8_t)sent)) {
			sent++;
			if (rand() % 8 == 0)
				tap_flush(&t.tap);
			assert_true(sent < 100000);
		}
		assert_true(t.tap.full);
		tap_flush(&t.tap);
		assert_true(t.tap.full);
		/* Only the loop tells that the guest has read something */
		for (n = 1; n || t.tap.full; turns(1)) {
			assert_true(waits++ < 100000);
			n = (size_t)rand() % 30000;
			n = recv(fd, b + len, MIN(n, sizeof(b) - len),
				 MSG_DONTWAIT);
			if ((ssize_t)n < 0)
				n = 0;
			len += n;
		}
		len += drain(fd, b + len, sizeof(b) - len);
	}
	for (at = 0; at < len; at += 4 + n) {
		n = ld_be32(b + at);
		assert_in_range(n, 60, 9054);
		assert_int_equal(b[at + 4], (uint8_t)seen);
		assert_int_equal(b[at + 4 + 53], (uint8_t)seen);
		seen++;
	}
	assert_int_equal(at, len);
	assert_int_equal(seen, sent);
	assert_int_equal(t.tx_used, 0);
	close(fd);
}

/* Single frames in more iovecs than there are */
static void test_iov_limit(void **st)
{
	static uint8_t b[1 << 20];
	unsigned sent = 0, i;
	struct slot s[2];
	size_t len;
	int fd = adopt();

	(void)st;
	for (i = 0; i < 3000; i++) {
		/* the second one's room is a hole between frames */
		assert_int_equal(tap_reserve(&t.tap, s, 2, 60, 10, 0), 2);
		memset(s[0].head, 1, 60);
		memset(s[1].head, 1, 60);
		tap_commit(&t.tap, &s[0], 0, &none);
		tap_commit(&t.tap, &s[1], 1, &none);
		sent += 2;
		if (i % 700 == 0)
			drain(fd, b, sizeof(b));
	}
	tap_flush(&t.tap);
	len = drain(fd, b, sizeof(b));
	assert_true(len > 0);
	assert_int_equal(t.tap.count.frames[1], sent);
	assert_int_equal(t.iov_end, 0);
	close(fd);
}

/* The same, and the guest does not read */
static void test_iov_limit_when_full(void **st)
{
	int fd = adopt(), small = 4096;
	struct slot s[2];
	unsigned n;

	(void)st;
	setsockopt(t.fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
	while ((n = tap_reserve(&t.tap, s, 2, 60, 10, 0))) {
		while (n--)
			tap_commit(&t.tap, &s[n], 0, &none);
		assert_true(t.iov_end <= STREAM_TX_IOV);
	}
	assert_true(t.iov_end > STREAM_TX_IOV - 2);
	assert_true(t.tap.full);
	close(fd);
}

/* The padding of the last piece has room at the very end, too */
static void test_end_of_room(void **st)
{
	struct slot s;
	size_t left;

	(void)st;
	for (left = 0; left < 1000; left++) {
		t.tx_used = STREAM_TX_BYTES - left;
		if (!tap_reserve(&t.tap, &s, 1, 54, 501, 500))
			continue;
		assert_true(s.room >= 500);
		assert_true(t.tx_used <= STREAM_TX_BYTES);
		tap_cancel(&t.tap, &s);
	}
	t.tx_used = 0;
}

static void test_not_connected(void **st)
{
	static uint8_t b[4096];
	unsigned i;
	int fd;

	(void)st;
	serve();
	for (i = 0; i < 10000; i++)
		assert_true(send_one(54, 1000, 1));
	tap_flush(&t.tap);
	assert_false(t.tap.full);
	assert_int_equal(t.tap.count.frames[1], 0);
	assert_int_equal(t.tap.drops[DROP_CONN], 10000);
	fd = dial();
	turns(2);
	assert_int_equal(drain(fd, b, sizeof(b)), 0);
	assert_true(send_one(54, 10, 2));
	tap_flush(&t.tap);
	assert_int_equal(drain(fd, b, sizeof(b)), 68);
	close(fd);
}

/* The guest goes while we hold frames for it: the next one gets none of them */
static void test_gone_while_full(void **st)
{
	static uint8_t b[4096];
	int fd, small = 4096;

	(void)st;
	serve();
	fd = dial();
	setsockopt(t.fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
	while (send_one(54, 9000, 7))
		;
	assert_true(t.tap.full);
	close(fd);
	tap_flush(&t.tap); /* finds out first, and no SIGPIPE */
	assert_true(send_one(54, 9000, 7));
	tap_flush(&t.tap);
	turns(2);
	assert_false(t.tap.up);
	assert_false(t.tap.full);
	fd = dial();
	assert_int_equal(drain(fd, b, sizeof(b)), 0);
	assert_true(send_one(54, 10, 2));
	tap_flush(&t.tap);
	assert_int_equal(drain(fd, b, sizeof(b)), 68);
	assert_int_equal(b[4], 2);
	close(fd);

	/* the same with the loop finding out first */
	turns(2);
	fd = dial();
	setsockopt(t.fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
	while (send_one(54, 9000, 7))
		;
	close(fd);
	turns(2);
	assert_false(t.tap.full);
	assert_false(t.tap.up);
	assert_int_equal(t.tx_used, 0);
	assert_int_equal(t.tap.session, 3);
}

/* What a guest said before it went is still heard */
static void test_last_words(void **st)
{
	uint8_t b[100];
	int fd;

	(void)st;
	serve();
	fd = dial();
	say(fd, b, put(b, 60));
	close(fd);
	assert_true(send_one(54, 10, 2));
	tap_flush(&t.tap);
	turns(1);
	assert_int_equal(got_cnt, 1);
	assert_false(t.tap.up);
}

/* --- the listening socket ---------------------------------------------------
 */

static void test_bind(void **st)
{
	char longer[200], again_path[108];
	int fd;

	(void)st;
	fd = tap_stream_bind(path);
	assert_true(fd >= 0);
	assert_true(heard("UNIX domain socket bound at /tmp/passt-unit-"));
	strcpy(again_path, path);
	assert_int_equal(tap_stream_bind(again_path), -EADDRINUSE);
	close(fd);
	fd = tap_stream_bind(path); /* stale */
	assert_true(fd >= 0);
	close(fd);
	memset(longer, 'x', sizeof(longer));
	longer[0] = '/';
	longer[108] = '\0';
	assert_int_equal(tap_stream_bind(longer), -ENAMETOOLONG);
	strcpy(again_path, "/nonexistent/socket");
	assert_int_equal(tap_stream_bind(again_path), -ENOENT);
}

/* Callers let mktemp make a name */
static void test_bind_empty(void **st)
{
	struct stat now;
	int fd;

	(void)st;
	fd = open(path, O_CREAT | O_EXCL | O_WRONLY, 0600);
	assert_true(fd >= 0);
	close(fd);
	fd = tap_stream_bind(path);
	assert_true(fd >= 0);
	assert_int_equal(stat(path, &now), 0);
	assert_true(S_ISSOCK(now.st_mode));
	close(fd);
}

/* Nothing else is ours to replace */
static void test_bind_spares_files(void **st)
{
	struct stat now;
	char to[64];
	int fd;

	(void)st;
	fd = open(path, O_CREAT | O_WRONLY, 0600);
	assert_int_equal(write(fd, "dear", 4), 4);
	close(fd);
	assert_int_equal(tap_stream_bind(path), -EADDRINUSE);
	assert_int_equal(stat(path, &now), 0);
	assert_true(S_ISREG(now.st_mode) && now.st_size == 4);
	snprintf(to, sizeof(to), "%s/file", dir);
	assert_int_equal(rename(path, to), 0);
	assert_int_equal(symlink(to, path), 0);
	assert_int_equal(tap_stream_bind(path), -EADDRINUSE);
	assert_int_equal(unlink(to), 0);
}

static void test_default_names(void **st)
{
	char one[108] = "", two[108] = "";
	int a, b, i, k;

	(void)st;
	a = tap_stream_bind(one);
	b = tap_stream_bind(two);
	assert_true(a >= 0 && b >= 0);
	assert_int_equal(sscanf(one, "/tmp/passt_%i.socket", &i), 1);
	assert_int_equal(sscanf(two, "/tmp/passt_%i.socket", &k), 1);
	assert_in_range(i, 1, 98);
	assert_true(k > i);
	close(a);
	close(b);
	unlink(one);
	unlink(two);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_byte_by_byte),
		TEST(test_random_cuts),
		TEST(test_many_at_once),
		TEST(test_news_between_bursts),
	TEST(test_bad_length),
		TEST(test_reconnect),
		TEST(test_second_client),
		TEST(test_successor),
		TEST(test_one_off),
		TEST(test_adopts_streams_only),
		TEST(test_adopts_what_it_may_not_ask),
		TEST(test_adopted_is_one_off),
		TEST(test_padding),
		TEST(test_runs),
		TEST(test_slots),
		TEST(test_unread),
		TEST(test_full),
		TEST(test_iov_limit),
		TEST(test_iov_limit_when_full),
		TEST(test_end_of_room),
		TEST(test_not_connected),
		TEST(test_gone_while_full),
		TEST(test_last_words),
		TEST(test_bind),
		TEST(test_bind_empty),
		TEST(test_bind_spares_files),
		TEST(test_default_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
