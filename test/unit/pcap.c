/* SPDX-License-Identifier: GPL-2.0-or-later */
/* unit: addr checksum iov log packet util */
#include "pcap.h"
#include "checksum.h"
#include "log.h"

#include <linux/virtio_net.h>

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { HEAD = 24, RECORD = 16 };

static char path[64];
static uint8_t file[4 * 70000];
static size_t size;
static struct pcap p;
static const struct pcap_conf plain;

static int open_it(void **state)
{
	(void)state;
	strcpy(path, "/tmp/unit-pcap-XXXXXX");
	close(mkstemp(path));
	return pcap_open(&p, path, &plain);
}

static int close_it(void **state)
{
	(void)state;
	if (p.fd >= 0)
		close(p.fd);
	return unlink(path);
}

static void load(void)
{
	int fd = open(path, O_RDONLY);
	ssize_t n = read(fd, file, sizeof(file));

	close(fd);
	assert_true(n >= 0);
	size = (size_t)n;
}

static uint32_t word(size_t at)
{
	uint32_t v;

	memcpy(&v, file + at, sizeof(v));
	return v;
}

static struct iovec all(void *b, size_t n)
{
	return (struct iovec){ b, n };
}

static void head(void **state)
{
	uint16_t version[2];

	(void)state;
	load();
	assert_int_equal(size, HEAD);
	assert_int_equal(word(0), 0xa1b2c3d4);
	memcpy(version, file + 4, 4);
	assert_int_equal(version[0], 2);
	assert_int_equal(version[1], 4);
	assert_int_equal(word(8), 0);
	assert_int_equal(word(12), 0);
	assert_int_equal(word(16), 65535);
	assert_int_equal(word(20), 1);
}

static void mode_and_truncation(void **state)
{
	struct pcap q;
	struct stat st;

	(void)state;
	unlink(path);
	umask(0);
	assert_int_equal(pcap_open(&q, path, &plain), 0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(fcntl(q.fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
	assert_int_equal(write(q.fd, "old", 3), 3);
	close(q.fd);
	assert_int_equal(pcap_open(&q, path, &plain), 0);
	close(q.fd);
	load();
	assert_int_equal(size, HEAD);
}

static void refusal(void **state)
{
	struct pcap q = { .fd = 7 };
	struct iovec iov = { path, 1 };

	(void)state;
	assert_int_equal(pcap_open(&q, "/no/such/file", &plain), -ENOENT);
	assert_int_equal(q.fd, -1);
	pcap_frame(&q, true, &iov, 1, 1, NULL);
	pcap_sync(&q);
	assert_int_equal(pcap_open(&q, "/dev/full", &plain), -ENOSPC);
	assert_int_equal(q.fd, -1);
}

static void records(void **state)
{
	uint8_t b[100];
	struct iovec iov[3] = { { b, 14 }, { b + 14, 6 }, { b + 20, 80 } };
	struct timespec before, after;
	unsigned i;

	(void)state;
	for (i = 0; i < sizeof(b); i++)
		b[i] = (uint8_t)i;
	clock_gettime(CLOCK_REALTIME, &before);
	pcap_frame(&p, true, iov, 3, 60, NULL); /* less than the iovec holds */
	clock_gettime(CLOCK_REALTIME, &after);
	pcap_frame(&p, true, iov, 3, 100, NULL);
	load();
	assert_int_equal(size, HEAD + RECORD + 60 + RECORD + 100);
	assert_in_range(word(HEAD), before.tv_sec, after.tv_sec);
	assert_true(word(HEAD + 4) < 1000000);
	if (before.tv_sec == after.tv_sec)
		assert_in_range(word(HEAD + 4), before.tv_nsec / 1000,
				after.tv_nsec / 1000);
	assert_int_equal(word(HEAD + 8), 60);
	assert_int_equal(word(HEAD + 12), 60);
	assert_memory_equal(file + HEAD + RECORD, b, 60);
	assert_int_equal(word(HEAD + RECORD + 60 + 8), 100);
	assert_memory_equal(file + HEAD + RECORD + 60 + RECORD, b, 100);
}

static void longest(void **state)
{
	static uint8_t b[65536];
	struct iovec iov = all(b, sizeof(b));

	(void)state;
	memset(b, 0x5a, sizeof(b));
	pcap_frame(&p, true, &iov, 1, 65535, NULL);
	pcap_frame(&p, true, &iov, 1, 65536, NULL);
	load();
	assert_int_equal(size, HEAD + 2 * (RECORD + 65535));
	assert_int_equal(word(HEAD + 8), 65535);
	assert_int_equal(word(HEAD + RECORD + 65535 + 8), 65535);
	assert_int_equal(word(HEAD + RECORD + 65535 + 12), 65536);
}

/* Also where long and off_t once were of 32 bits */
static void beyond_2_gib(void **state)
{
	uint8_t b[100] = { 0 };
	struct iovec iov = all(b, sizeof(b));
	struct util_stat st;
	unsigned i;

	(void)state;
	assert_int_equal(lseek(p.fd, INT32_MAX - 150, SEEK_SET),
			 INT32_MAX - 150);
	for (i = 0; i < 3; i++)
		pcap_frame(&p, true, &iov, 1, sizeof(b), NULL);
	assert_true(p.fd >= 0);
	assert_int_equal(util_fstat(p.fd, &st), 0);
	assert_int_equal(st.size, INT32_MAX - 150 + INT64_C(3) * (RECORD + 100));
}

enum { START = 34, BODY = 8 + 31 };

/* Ethernet, IPv4, UDP: the checksum field holds the pseudo-header's sum */
static void unfinished(uint8_t b[START + BODY], struct note *n)
{
	struct addr src = addr_v4(192, 0, 2, 1), dst = addr_v4(192, 0, 2, 2);
	uint16_t seed = csum_fold(csum_pseudo(&src, &dst, 17, BODY));
	unsigned i;

	for (i = 0; i < START + BODY; i++)
		b[i] = (uint8_t)(i * 7);
	memcpy(b + START + 6, &seed, 2);
	*n = (struct note){ .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
			    .csum_start = START,
			    .csum_offset = 6 };
}

static void finishes_the_copy(void **state)
{
	struct addr src = addr_v4(192, 0, 2, 1), dst = addr_v4(192, 0, 2, 2);
	uint8_t b[START + BODY], was[START + BODY];
	struct iovec iov[2] = { { b, 41 }, { b + 41, sizeof(b) - 41 } };
	struct note n;

	(void)state;
	unfinished(b, &n);
	memcpy(was, b, sizeof(b));
	pcap_frame(&p, true, iov, 2, sizeof(b), &n);
	assert_memory_equal(b, was, sizeof(b)); /* not in the frame itself */
	load();
	/* Whoever sums all of it with the pseudo-header gets all ones */
	assert_int_equal(csum_fold(csum_add(csum_pseudo(&src, &dst, 17, BODY),
					    file + HEAD + RECORD + START,
					    BODY)),
			 0xffff);
}

static void leaves_finished_ones(void **state)
{
	uint8_t b[START + BODY];
	struct iovec iov = all(b, sizeof(b));
	struct note n;

	(void)state;
	unfinished(b, &n);
	n.flags = 0;
	pcap_frame(&p, true, &iov, 1, sizeof(b), &n);
	load();
	assert_memory_equal(file + HEAD + RECORD, b, sizeof(b));
}

static void zero_sum(void **state)
{
	uint8_t b[64] = { [40] = 0xff, 0xff };
	struct iovec iov = all(b, sizeof(b));
	struct note n = { .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
			  .csum_start = 34,
			  .csum_offset = 6 };

	(void)state;
	pcap_frame(&p, true, &iov, 1, sizeof(b), &n);
	load();
	assert_memory_equal(file + HEAD + RECORD + 40, "\xff\xff", 2);
}

static void absurd_notes(void **state)
{
	static const struct note bad[] = {
		{ .flags = 1, .csum_start = 65535, .csum_offset = 65535 },
		{ .flags = 1, .csum_start = START, .csum_offset = BODY - 1 },
		{ .flags = 1, .csum_start = START + BODY, .csum_offset = 0 },
	};
	uint8_t b[START + BODY];
	struct iovec iov = all(b, sizeof(b));
	struct note n;
	unsigned i;

	(void)state;
	unfinished(b, &n);
	for (i = 0; i < ARRAY_SIZE(bad); i++)
		pcap_frame(&p, true, &iov, 1, sizeof(b), &bad[i]);
	load();
	assert_int_equal(size, HEAD + 3 * (RECORD + sizeof(b)));
	for (i = 0; i < ARRAY_SIZE(bad); i++)
		assert_memory_equal(file + HEAD + RECORD +
					    i * (RECORD + sizeof(b)),
				    b, sizeof(b));
}

/* What cannot be written as a whole is not there in part.  A full disk, which passes,
 * is for test/net/test_capture.py. */
static void too_large(void **state)
{
	struct rlimit was, now;
	uint8_t b[100] = { 0 };
	struct iovec iov = all(b, sizeof(b));

	(void)state;
	signal(SIGXFSZ, SIG_IGN);
	getrlimit(RLIMIT_FSIZE, &was);
	now = was;
	now.rlim_cur = HEAD + RECORD + sizeof(b) + 60;
	setrlimit(RLIMIT_FSIZE, &now);
	log_stderr(false); /* the warning is not for the test's output */
	pcap_frame(&p, true, &iov, 1, sizeof(b), NULL);
	assert_true(p.fd >= 0);
	pcap_frame(&p, true, &iov, 1, sizeof(b), NULL);
	setrlimit(RLIMIT_FSIZE, &was);
	assert_int_equal(p.fd, -1);
	pcap_frame(&p, true, &iov, 1, sizeof(b), NULL);
	pcap_sync(&p);
	load();
	assert_int_equal(size, HEAD + RECORD + sizeof(b));
}

/* A reader that does not read: whole records, and the count of the others */
static void slow_reader(void **state)
{
	enum { FRAMES = 400, LEN = 30000, ALL = RECORD + LEN };
	static uint8_t b[LEN], got[FRAMES * ALL + HEAD];
	struct iovec iov = all(b, LEN);
	int reader;
	size_t have = 0, at;
	unsigned i, seen = 0;
	struct pcap q;
	ssize_t n;

	(void)state;
	signal(SIGPIPE, SIG_IGN);
	unlink(path);
	assert_int_equal(mkfifo(path, 0600), 0);
	reader = open(path, O_RDONLY | O_NONBLOCK);
	assert_int_equal(pcap_open(&q, path, &plain), 0);
	log_stderr(false);
	alarm(30); /* instead of for ever */
	for (i = 0; i < FRAMES; i++) {
		b[0] = (uint8_t)i;
		pcap_frame(&q, true, &iov, 1, LEN, NULL);
		/* once in the middle it catches up */
		while (i == FRAMES / 2 &&
		       (n = read(reader, got + have, 4096)) > 0)
			have += (size_t)n;
	}
	pcap_sync(&q);
	assert_true(q.fd >= 0 && q.lost);
	while ((n = read(reader, got + have, 4096)) > 0) {
		have += (size_t)n;
		pcap_sync(&q);
	}
	alarm(0);
	for (at = HEAD; at < have; at += ALL, seen++) {
		assert_true(at + ALL <= have);
		memcpy(file, got + at, RECORD);
		assert_int_equal(word(8), LEN);
	}
	assert_int_equal(seen + q.lost, FRAMES);
	close(reader);
	pcap_frame(&q, true, &iov, 1, LEN, NULL); /* EPIPE */
	assert_int_equal(q.fd, -1);
}

/* The end of a record waits for a reader that is slow, not for one that sleeps */
static void slow_at_the_end(void **state)
{
	enum { LEN = 60000, ALL = RECORD + LEN };
	static uint8_t b[LEN];
	struct iovec iov = all(b, LEN);
	size_t have = 0;
	struct pcap q;
	int reader, status;
	pid_t child;
	ssize_t n;

	(void)state;
	unlink(path);
	assert_int_equal(mkfifo(path, 0600), 0);
	reader = open(path, O_RDONLY | O_NONBLOCK);
	assert_int_equal(pcap_open(&q, path, &plain), 0);
	log_stderr(false);
	alarm(30);
	while (!q.rest_len)
		pcap_frame(&q, true, &iov, 1, LEN, NULL);
	pcap_sync(&q); /* nobody reads */
	assert_true(q.rest_len);
	child = fork();
	assert_true(child >= 0);
	if (!child) {
		pcap_sync(&q);
		_exit(q.rest_len ? 1 : 0);
	}
	close(q.fd);
	fcntl(reader, F_SETFL, 0);
	while ((n = read(reader, file, 4096)) > 0)
		have += (size_t)n;
	alarm(0);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	assert_int_equal((have - HEAD) % ALL, 0);
	close(reader);
}

/* Who has handed it over, in the middle of a record, writes no more; who has it writes
 * the rest, also if nobody wants more of it */
static void hand_over(bool wanted, bool frame)
{
	enum { LEN = 60000, ALL = RECORD + LEN };
	static uint8_t b[LEN], body[4 * 70000];
	struct iovec iov = all(b, LEN);
	struct fdlist fds = { .n = 0 };
	struct wr w = wr_init(body, sizeof(body));
	struct pcap old, new;
	size_t have = 0;
	struct rd r;
	int reader, last;
	ssize_t n;

	unlink(path);
	assert_int_equal(mkfifo(path, 0600), 0);
	reader = open(path, O_RDONLY | O_NONBLOCK);
	assert_int_equal(pcap_open(&old, path, &plain), 0);
	while (!old.rest_len)
		pcap_frame(&old, true, &iov, 1, LEN, NULL);
	pcap_save(&old, &w, &fds);
	assert_true(wr_ok(&w));
	last = fds.fd[0] = dup(fds.fd[0]);
	r = rd_init(body, w.len);
	assert_int_equal(pcap_load(&new, &r, &fds, wanted, "unit"), 0);
	assert_int_equal(new.fd >= 0, wanted);
	pcap_given(&old);
	if (frame) /* a reader that sleeps keeps nobody */
		pcap_frame(&new, true, &iov, 1, LEN, NULL);
	while ((n = read(reader, file, sizeof(file))) > 0)
		have += (size_t)n;
	pcap_sync(&old);
	if (frame)
		pcap_frame(&new, true, &iov, 1, LEN, NULL);
	else
		pcap_sync(&new);
	while ((n = read(reader, file, sizeof(file))) > 0)
		have += (size_t)n;
	assert_int_equal((have - HEAD) % ALL, 0);
	if (wanted || !frame)
		close(last);
	else /* nothing is left of it */
		assert_int_equal(fcntl(last, F_GETFD), -1);
	close(reader);
}

static void handed_over(void **state)
{
	(void)state;
	hand_over(true, false);
	hand_over(true, true);
}

static void handed_over_unwanted(void **state)
{
	(void)state;
	hand_over(false, false);
	hand_over(false, true);
}


/* --- pcapng ---------------------------------------------------------------- */

static const struct pcap_conf explain = { .program = "unit", .drops = true };

/* Where block @n of the file begins; all up to there are whole */
static size_t block(unsigned n)
{
	size_t at = 0, len;

	for (; n; n--, at += len) {
		len = word(at + 4);
		assert_true(len >= 12 && len % 4 == 0 && at + len <= size);
		assert_int_equal(word(at + len - 4), len);
	}
	return at;
}

/* The value of option @type of a packet's block, NULL */
static const char *option(size_t at, uint16_t type)
{
	static char text[128];
	size_t o = at + 28 + (word(at + 20) + 3) / 4 * 4;
	uint16_t head[2];

	for (;; o += 4 + (head[1] + 3U) / 4 * 4) {
		memcpy(head, file + o, sizeof(head));
		if (!head[0])
			return NULL;
		if (head[0] != type)
			continue;
		assert_true(head[1] < sizeof(text));
		memcpy(text, file + o + 4, head[1]);
		text[head[1]] = '\0';
		return text;
	}
}

/* What is said later stands where it belongs, whatever was sent meanwhile */
static void late_verdict(void **state)
{
	uint8_t b[61];
	struct iovec iov = all(b, sizeof(b));
	unsigned i;

	(void)state;
	close(p.fd);
	assert_int_equal(pcap_open(&p, path, &explain), 0);
	for (i = 0; i < sizeof(b); i++)
		b[i] = (uint8_t)i;
	pcap_frame(&p, false, &iov, 1, sizeof(b), NULL);
	pcap_frame(&p, true, &iov, 1, 60, NULL);
	pcap_lost(&p, DROP_NO_ROOM, &iov, 1, 59, NULL);
	pcap_verdict(&p, DROP_EXTENSION);
	pcap_verdict(&p, DROP_SOCKET); /* the first counts */
	pcap_release(&p);
	pcap_verdict(&p, DROP_SOCKET); /* about nothing */
	pcap_frame(&p, false, &iov, 1, 58, NULL);
	pcap_frame(&p, false, &iov, 1, 57, NULL);
	pcap_sync(&p);
	load();
	assert_int_equal(word(0), 0x0a0d0d0a);
	for (i = 0; i < 5; i++) {
		size_t at = block(2 + i);
		uint32_t flags;

		assert_int_equal(word(at), 6);
		assert_int_equal(word(at + 20), 61 - i);
		assert_int_equal(word(at + 24), 61 - i);
		assert_memory_equal(file + at + 28, b, 61 - i);
		memcpy(&flags, option(at, 2), sizeof(flags));
		assert_int_equal(flags, i == 1 || i == 2 ? 2 : 1);
	}
	assert_int_equal(block(7), size);
	assert_string_equal(option(block(2), 1), "dropped: extension header");
	assert_null(option(block(3), 1));
	assert_string_equal(option(block(4), 1), "dropped: no room");
	assert_null(option(block(5), 1));
	assert_null(option(block(6), 1));
}

/* More is sent meanwhile than is kept: it goes as it is */
static void much_meanwhile(void **state)
{
	static uint8_t b[65535];
	struct iovec iov = all(b, sizeof(b));
	unsigned i;

	(void)state;
	close(p.fd);
	assert_int_equal(pcap_open(&p, path, &explain), 0);
	pcap_frame(&p, false, &iov, 1, 60, NULL);
	for (i = 0; i < 3; i++)
		pcap_frame(&p, true, &iov, 1, sizeof(b), NULL);
	pcap_verdict(&p, DROP_SOCKET);
	pcap_release(&p);
	load();
	assert_int_equal(block(6), size);
}

/* --- a limit ----------------------------------------------------------------- */

static void ring(void **state)
{
	enum { FRAMES = 3000, LEN = 1500 };
	const struct pcap_conf c = { .limit = PCAP_SIZE_MIN, .files = 2 };
	uint8_t b[LEN] = { 0 };
	struct iovec iov = all(b, LEN);
	char second[80];
	struct stat st[2];
	unsigned i;

	(void)state;
	close(p.fd);
	assert_int_equal(pcap_open(&p, path, &c), 0);
	snprintf(second, sizeof(second), "%s.1", path);
	assert_int_equal(stat(second, &st[1]), 0);
	assert_int_equal(st[1].st_size, 0);
	for (i = 0; i < FRAMES; i++)
		pcap_frame(&p, true, &iov, 1, LEN, NULL);
	assert_int_equal(stat(path, &st[0]), 0);
	assert_int_equal(stat(second, &st[1]), 0);
	for (i = 0; i < 2; i++) {
		assert_true(st[i].st_size <= PCAP_SIZE_MIN);
		assert_int_equal((st[i].st_size - HEAD) % (RECORD + LEN), 0);
	}
	/* 4.5 MB: the fifth part is under way, in the first file */
	assert_int_equal((st[0].st_size + 4 * (st[1].st_size - HEAD) - HEAD) /
				 (RECORD + LEN), FRAMES);
	load();
	assert_int_equal(word(0), 0xa1b2c3d4);
	close(p.file[1]);
	unlink(second);
}

static void no_ring(void **state)
{
	const struct pcap_conf c = { .limit = PCAP_SIZE_MIN, .files = 2 };
	struct pcap q;

	(void)state;
	assert_int_equal(pcap_open(&q, "/dev/null", &c), -ESPIPE);
	assert_int_equal(q.fd, -1);
}

/* A file that became append-only: the end of the capture, and of no more */
static void stuck_ring(void **state)
{
	enum { LEN = 60000 };
	const struct pcap_conf c = { .drops = true, .limit = PCAP_SIZE_MIN,
				     .files = 2, .program = "unit" };
	static uint8_t b[LEN];
	struct iovec iov = all(b, LEN);
	char second[80];
	unsigned i;

	(void)state;
	close(p.fd);
	assert_int_equal(pcap_open(&p, path, &c), 0);
	snprintf(second, sizeof(second), "%s.1", path);
	close(p.file[1]);
	p.file[1] = open(second, O_RDONLY); /* cannot be truncated */
	assert_true(p.file[1] >= 0);
	for (i = 0; i < PCAP_SIZE_MIN / LEN + 2; i++) {
		pcap_frame(&p, false, &iov, 1, LEN, NULL);
		pcap_verdict(&p, DROP_NO_ROUTE);
		pcap_release(&p);
	}
	assert_int_equal(p.fd, -1);
	pcap_release(&p);
	pcap_sync(&p);
	unlink(second);
}

int main(void)
{
	static const struct CMUnitTest t[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, open_it, close_it)
		T(head),
		T(mode_and_truncation),
		T(refusal),
		T(records),
		T(longest),
		T(beyond_2_gib),
		T(finishes_the_copy),
		T(leaves_finished_ones),
		T(zero_sum),
		T(absurd_notes),
		T(too_large),
		T(slow_reader),
		T(slow_at_the_end),
		T(handed_over),
		T(handed_over_unwanted),
		T(late_verdict),
		T(much_meanwhile),
		T(ring),
		T(no_ring),
		T(stuck_ring),
	};

	return cmocka_run_group_tests(t, NULL, NULL);
}
