/* SPDX-License-Identifier: GPL-2.0-or-later */
/* unit: timer addr util log */
/* A client of a few lines against the server, with files in a directory of our
 * own and time that stands still unless it is told to go on. */
#include "tftp.h"
#include "answer.h"
#include "emit.h"
#include "log.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

enum { RRQ = 1, WRQ, DATA, ACK, ERROR, OACK };
enum { SENT_MAX = 32, PORT = 2000 };

static struct loop loop;
static struct tap tap;
static struct tftp t;
static char top[64];
static uint8_t content[5000];

/* What the server has sent, in place of emit.c's */
static struct sent {
	struct head head;
	size_t len;
	uint8_t b[ANSWER_MAX];
} sent[SENT_MAX];
static unsigned n_sent, room;

bool emit_answer(struct tap *to, struct answer *a)
{
	struct sent *s = &sent[n_sent];

	assert_ptr_equal(to, &tap);
	assert_true(wr_ok(&a->body));
	if (!room)
		return false;
	room--;
	assert_true(n_sent++ < SENT_MAX);
	s->head = a->head;
	s->len = a->body.len;
	memcpy(s->b, a->body.buf, a->body.len);
	return true;
}

static const char *at(const char *name)
{
	static char buf[256];

	snprintf(buf, sizeof(buf), "%s/%s", top, name);
	return buf;
}

static void put(const char *name, const void *data, size_t len)
{
	FILE *f = fopen(at(name), "w");

	assert_non_null(f);
	assert_int_equal(fwrite(data, 1, len, f), len);
	fclose(f);
}

static int start(void **state)
{
	unsigned i;

	log_level(LOG_ERROR);
	setup(state);
	packet.kind = PACKET_UDP;
	packet.t = (struct tuple){ .src = addr_v4(192, 0, 2, 15),
				   .dst = lan.our4, .sport = PORT,
				   .dport = TFTP_SERVER,
				   .proto = IPPROTO_UDP };
	loop.now_ms = 1000;
	timers_init(&loop.timers, loop.now_ms);
	strcpy(top, "/tmp/tftp-XXXXXX");
	assert_non_null(mkdtemp(top));
	for (i = 0; i < sizeof(content); i++)
		content[i] = (uint8_t)(i * 31 >> 3);
	put("file", content, 1200);
	put("whole", content, 1024);
	put("long", content, sizeof(content));
	put("empty", "", 0);
	put("text", "a\nb\rc", 5);
	assert_int_equal(mkdir(at("sub"), 0755), 0);
	put("sub/file", "below", 5);
	tftp_init(&t, &loop, &tap, &lan);
	assert_int_equal(tftp_open(&t, top), 0);
	n_sent = 0;
	room = UINT_MAX;
	return 0;
}

static int end(void **state)
{
	char command[128];
	unsigned i;

	(void)state;
	for (i = 0; i < TFTP_SESSIONS; i++)
		if (t.session[i].fd >= 0)
			close(t.session[i].fd);
	close(t.dir);
	snprintf(command, sizeof(command), "rm -r %s", top);
	return system(command);
}

static bool say(const void *b, size_t len)
{
	uint8_t *p = exact(b, len);
	bool ours = tftp_is(&t, &packet);

	n_sent = 0;
	if (ours)
		tftp_input(&t, &packet, rd_init(p, len));
	free(p);
	return ours;
}

/* A request from port @from on; @words as in a string literal with \0 */
static void ask_from(uint16_t from, uint8_t op, const char *words, size_t len)
{
	uint8_t b[600] = { 0, op };

	packet.t.sport = from;
	packet.t.dport = TFTP_SERVER;
	memcpy(b + 2, words, len);
	assert_true(say(b, 2 + len));
	/* where to send what follows */
	if (n_sent)
		packet.t.dport = sent[0].head.t.sport;
}
#define ASK(words) ask_from(PORT, RRQ, words, sizeof(words))

static bool message(uint8_t op, uint16_t number)
{
	return say(BYTES(0, op, (uint8_t)(number >> 8), (uint8_t)number), 4);
}

static void pass(unsigned ms)
{
	n_sent = 0;
	loop.now_ms += ms;
	timers_run(&loop.timers, loop.now_ms);
}

static void assert_data(unsigned i, uint16_t number, const void *data,
			size_t len)
{
	const struct sent *s = &sent[i];

	assert_true(i < n_sent);
	assert_int_equal(ld_be16(s->b), DATA);
	assert_int_equal(ld_be16(s->b + 2), number);
	assert_int_equal(s->len, 4 + len);
	assert_memory_equal(s->b + 4, data, len);
}

static void assert_error(unsigned code)
{
	assert_int_equal(n_sent, 1);
	assert_int_equal(ld_be16(sent[0].b), ERROR);
	assert_int_equal(ld_be16(sent[0].b + 2), code);
	assert_int_equal(sent[0].b[sent[0].len - 1], 0);
}

static void assert_oack(const char *words, size_t len)
{
	assert_int_equal(n_sent, 1);
	assert_int_equal(ld_be16(sent[0].b), OACK);
	assert_int_equal(sent[0].len, 2 + len - 1);
	assert_memory_equal(sent[0].b + 2, words, len - 1);
}
#define ASSERT_OACK(words) assert_oack(words, sizeof(words))

/* --- one block after the other ---------------------------------------------- */

static void plain(void **state)
{
	const struct head *h = &sent[0].head;
	uint16_t port;

	(void)state;
	ASK("file\0octet");
	assert_int_equal(n_sent, 1);
	assert_data(0, 1, content, 512);
	port = h->t.sport;
	assert_true(port >= 49152);
	assert_true(mac_equal(&h->dst, &guest_mac));
	assert_true(addr_equal(&h->t.src, &lan.our4));
	assert_true(addr_equal(&h->t.dst, &packet.t.src));
	assert_int_equal(h->t.dport, PORT);

	assert_true(message(ACK, 1));
	assert_data(0, 2, content + 512, 512);
	assert_int_equal(h->t.sport, port);
	assert_true(message(ACK, 2));
	assert_data(0, 3, content + 1024, 1200 - 1024);
	assert_true(message(ACK, 3));
	assert_int_equal(n_sent, 0);
	/* once more is not for the host either, but not for ever */
	assert_true(message(ACK, 3));
	assert_int_equal(n_sent, 0);
	pass(1100);
	assert_false(message(ACK, 3));
}

static void whole_blocks(void **state)
{
	(void)state;
	ASK("whole\0octet");
	message(ACK, 1);
	message(ACK, 2);
	assert_int_equal(n_sent, 1);
	assert_data(0, 3, "", 0);
	ASK("empty\0OCTET");
	assert_int_equal(n_sent, 1);
	assert_data(0, 1, "", 0);
}

static void six(void **state)
{
	(void)state;
	packet.t.src = ADDR6(LL6(0x15));
	packet.t.dst = lan.our_ll6;
	ASK("file\0octet\0blksize\0001468");
	ASSERT_OACK("blksize\0001448\0");
	message(ACK, 0);
	assert_data(0, 1, content, 1200);
	assert_true(addr_equal(&sent[0].head.t.src, &lan.our_ll6));
}

static void not_ours(void **state)
{
	(void)state;
	packet.t.dst = addr_v4(192, 0, 2, 3);
	assert_false(tftp_is(&t, &packet));
	packet.t.dst = lan.gw4;
	assert_true(tftp_is(&t, &packet));
	packet.t.dport = 70;
	assert_false(tftp_is(&t, &packet));
	packet.t.dport = TFTP_SERVER;
	t.dir = -1;
	assert_false(tftp_is(&t, &packet));
}

/* A transfer is its client's alone */
static void other_client(void **state)
{
	(void)state;
	ASK("file\0octet");
	packet.t.sport = PORT + 1;
	assert_false(message(ACK, 1));
	packet.t.sport = PORT;
	packet.t.src = addr_v4(192, 0, 2, 16);
	assert_false(message(ACK, 1));
}

/* RFC 1350's own way: LF as CR LF, CR as CR NUL, across blocks as well */
static void text(void **state)
{
	uint8_t lines[600], want[1200];
	size_t i;

	(void)state;
	ASK("text\0netascii\0tsize\0000");
	assert_data(0, 1, "a\r\nb\r\0c", 7);

	for (i = 0; i < 600; i++) {
		lines[i] = i ? '\n' : 'x';
		want[i ? 2 * i - 1 : 0] = i ? '\r' : 'x';
		want[2 * i] = i ? '\n' : 'x';
	}
	put("lines", lines, 600);
	ASK("lines\0netascii");
	assert_data(0, 1, want, 512);
	message(ACK, 1);
	assert_data(0, 2, want + 512, 512);
	pass(1100); /* lost: the same again */
	assert_data(0, 2, want + 512, 512);
	message(ACK, 2);
	assert_data(0, 3, want + 1024, 1199 - 1024);
}

/* --- options ------------------------------------------------------------------ */

static void options(void **state)
{
	(void)state;
	ASK("file\0octet\0tsize\0000\0BlkSize\0001024\0timeout\0003\0windowsize"
	    "\00064\0other\0001");
	ASSERT_OACK("blksize\0001024\0timeout\0003\0tsize\0001200\0windowsize"
		    "\0008\0");
	message(ACK, 0);
	assert_int_equal(n_sent, 2);
	assert_data(0, 1, content, 1024);
	assert_data(1, 2, content + 1024, 1200 - 1024);

	/* what is out of bounds, or no number, was not said */
	ASK("file\0octet\0blksize\0007\0timeout\0000\0windowsize\0000\0tsize\0x");
	assert_data(0, 1, content, 512);
	ASK("file\0octet\0blksize\00065464");
	ASSERT_OACK("blksize\0001468\0");
	lan.mtu = 1280;
	ASK("file\0octet\0blksize\0001468");
	ASSERT_OACK("blksize\0001248\0");
	/* curl takes 0 for an error */
	ASK("empty\0octet\0tsize\0000");
	assert_data(0, 1, "", 0);
}

/* PXE asks for the size, then goes away and comes again */
static void size_only(void **state)
{
	(void)state;
	ASK("file\0octet\0tsize\0000");
	ASSERT_OACK("tsize\0001200\0");
	assert_true(message(ERROR, 8));
	assert_int_equal(n_sent, 0);
	assert_int_equal(t.used, 0);
	assert_false(message(ACK, 0));
}

/* --- windows ------------------------------------------------------------------ */

#define WINDOW "long\0octet\0windowsize\0004"

static void window(void **state)
{
	unsigned i;

	(void)state;
	ASK(WINDOW);
	message(ACK, 0);
	assert_int_equal(n_sent, 4);
	for (i = 0; i < 4; i++)
		assert_data(i, (uint16_t)(i + 1), content + 512 * i, 512);
	message(ACK, 4);
	assert_int_equal(n_sent, 4);
	assert_data(0, 5, content + 512 * 4, 512);
	/* block 7 was lost */
	message(ACK, 6);
	assert_int_equal(n_sent, 4);
	assert_data(0, 7, content + 512 * 6, 512);
	assert_data(3, 10, content + 512 * 9, 5000 - 512 * 9);
	/* all of them: from the first one, once */
	message(ACK, 6);
	assert_int_equal(n_sent, 4);
	assert_data(0, 7, content + 512 * 6, 512);
	message(ACK, 6);
	assert_int_equal(n_sent, 0);
	/* what was not sent, and what is long past, says nothing */
	message(ACK, 11);
	assert_int_equal(n_sent, 0);
	message(ACK, 2);
	assert_int_equal(n_sent, 0);
	message(ACK, 10);
	assert_int_equal(n_sent, 0);
	assert_int_equal(t.session[0].fd, -1);
}

static void no_room(void **state)
{
	(void)state;
	ASK(WINDOW);
	room = 2;
	message(ACK, 0);
	assert_int_equal(n_sent, 2);
	room = UINT_MAX;
	message(ACK, 2);
	assert_int_equal(n_sent, 4);
	assert_data(0, 3, content + 1024, 512);
}

/* 65536 is 0 */
static void roll_over(void **state)
{
	uint32_t i;

	(void)state;
	assert_int_equal(truncate(at("file"), 8 * 65540 + 3), 0);
	ASK("file\0octet\0blksize\0008");
	for (i = 0; i <= 65541; i++) {
		assert_true(message(ACK, (uint16_t)i));
		if (i < 65541)
			assert_data(0, (uint16_t)(i + 1), sent[0].b + 4,
				    i < 65540 ? 8 : 3);
	}
	assert_int_equal(t.session[0].fd, -1);
}

/* --- loss ---------------------------------------------------------------------- */

static void lost(void **state)
{
	unsigned i;

	(void)state;
	ASK("file\0octet");
	/* an acknowledgement that comes twice is not answered twice */
	message(ACK, 0);
	assert_int_equal(n_sent, 0);
	for (i = 0; i < 5; i++) {
		pass(1100);
		assert_int_equal(n_sent, 1);
		assert_data(0, 1, content, 512);
	}
	pass(1100);
	assert_error(0);
	assert_int_equal(t.used, 0);
	pass(5000);
	assert_int_equal(n_sent, 0);
}

static void lost_options(void **state)
{
	(void)state;
	ASK("file\0octet\0timeout\0003");
	pass(2900);
	assert_int_equal(n_sent, 0);
	pass(200);
	ASSERT_OACK("timeout\0003\0");
}

/* A question that is asked twice gets one answer twice */
static void asked_again(void **state)
{
	uint16_t port;

	(void)state;
	ASK("file\0octet");
	port = packet.t.dport;
	ASK("file\0octet");
	assert_int_equal(packet.t.dport, port);
	assert_int_equal(t.used, 1);
	message(ACK, 1);
	ASK("whole\0octet");
	assert_int_not_equal(packet.t.dport, port);
	assert_int_equal(t.used, 1);
}

/* --- what is not given away ------------------------------------------------------ */

static void no_way_out(void **state)
{
	(void)state;
	assert_int_equal(symlink("/etc/passwd", at("absolute")), 0);
	assert_int_equal(symlink("../../etc/passwd", at("up")), 0);
	assert_int_equal(symlink("/proc/self/cwd/x", at("magic")), 0);
	assert_int_equal(symlink("..", at("sub/parent")), 0);
	assert_int_equal(symlink("sub/file", at("inside")), 0);
	assert_int_equal(mkfifo(at("fifo"), 0666), 0);
	ASK("absolute\0octet");
	assert_error(2);
	ASK("up\0octet");
	assert_error(2);
	ASK("magic\0octet");
	assert_error(2);
	ASK("sub/parent/../../etc/passwd\0octet");
	assert_error(2);
	ASK("../etc/passwd\0octet");
	assert_error(2);
	ASK("sub/..\0octet");
	assert_error(2);
	ASK("sub\0octet");
	assert_error(2);
	ASK("fifo\0octet");
	assert_error(2);
	ASK("/\0octet");
	assert_error(2);
	ASK("none\0octet");
	assert_error(1);
	ASK("file/x\0octet");
	assert_error(1);
	/* the client's root is the directory */
	ASK("/sub/file\0octet");
	assert_data(0, 1, "below", 5);
	ASK("inside\0octet");
	assert_data(0, 1, "below", 5);
	ASK("sub/parent/file\0octet");
	assert_data(0, 1, content, 512);
}

static void refused(void **state)
{
	(void)state;
	ask_from(PORT, WRQ, "new\0octet", 10);
	assert_error(2);
	ASK("file\0mail");
	assert_error(4);
	ask_from(PORT, RRQ, "file\0octet", 10); /* no NUL at the end */
	assert_error(4);
	ask_from(PORT, 9, "file\0octet", 11);
	assert_error(4);
	ask_from(PORT, ERROR, "x", 2); /* never answered: no loops */
	assert_int_equal(n_sent, 0);
	assert_int_equal(t.used, 0);
}

static void all_taken(void **state)
{
	unsigned i;

	(void)state;
	for (i = 0; i < TFTP_SESSIONS; i++)
		ask_from((uint16_t)(PORT + i), RRQ, "file\0octet", 11);
	ask_from(PORT + 100, RRQ, "file\0octet", 11);
	assert_error(0);
	/* one that is over is in nobody's way */
	ask_from(PORT, RRQ, "text\0octet", 11);
	assert_true(message(ACK, 1));
	ask_from(PORT + 100, RRQ, "file\0octet", 11);
	assert_data(0, 1, content, 512);
	assert_int_equal(t.used, TFTP_SESSIONS);
}

static void shrinks(void **state)
{
	(void)state;
	ASK("long\0octet");
	assert_int_equal(truncate(at("long"), 600), 0);
	message(ACK, 1);
	assert_data(0, 2, content + 512, 88);
	message(ACK, 2);
	assert_int_equal(n_sent, 0);
}

/* --- to a successor --------------------------------------------------------------- */

static struct tftp was;

/* Another process goes on, with duplicates of the descriptors */
static bool take_over(struct fdlist *fds, uint8_t *b, size_t len)
{
	struct rd r = rd_init(b, len);
	unsigned i;

	was = t;
	for (i = 0; i < fds->n; i++)
		fds->fd[i] = dup(fds->fd[i]);
	for (i = 0; i < TFTP_SESSIONS; i++) {
		timer_drop(&loop.timers, &t.session[i].timer);
		if (was.session[i].used && was.session[i].fd >= 0)
			close(was.session[i].fd);
	}
	tftp_init(&t, &loop, &tap, &lan);
	t.dir = was.dir;
	return tftp_load(&t, &r, fds);
}

static void hand_over(void)
{
	struct fdlist fds = { 0 };
	uint8_t b[4096];
	struct wr w = wr_init(b, sizeof(b));

	tftp_save(&t, &w, &fds);
	assert_true(wr_ok(&w));
	assert_true(take_over(&fds, b, w.len));
	assert_int_equal(fds.at, fds.n);
	assert_int_equal(t.used, was.used);
}

static void goes_on(void **state)
{
	(void)state;
	hand_over(); /* nothing */
	ASK("file\0octet\0timeout\0003\0blksize\0001024");
	hand_over();
	pass(3100); /* not heard */
	ASSERT_OACK("blksize\0001024\0timeout\0003\0");
	assert_true(message(ACK, 0));
	assert_data(0, 1, content, 1024);
	hand_over();
	pass(2900);
	assert_int_equal(n_sent, 0);
	pass(200);
	assert_data(0, 1, content, 1024);
	assert_true(message(ACK, 1));
	assert_data(0, 2, content + 1024, 1200 - 1024);
	hand_over();
	assert_true(message(ACK, 2));
	assert_int_equal(n_sent, 0);
	hand_over();
	assert_true(message(ACK, 2)); /* again, when it is over */
	pass(3100);
	assert_false(message(ACK, 2));
	assert_int_equal(t.used, 0);
}

static void window_goes_on(void **state)
{
	(void)state;
	ASK(WINDOW);
	message(ACK, 0);
	message(ACK, 4);
	assert_data(3, 8, content + 512 * 7, 512);
	hand_over();
	message(ACK, 6);
	assert_int_equal(n_sent, 4);
	assert_data(0, 7, content + 512 * 6, 512);
	message(ACK, 6); /* from the first one, once */
	assert_int_equal(n_sent, 4);
	hand_over();
	message(ACK, 6);
	assert_int_equal(n_sent, 0);
	message(ACK, 10);
	assert_int_equal(n_sent, 0);
	assert_int_equal(t.session[0].fd, -1);
}

static void text_goes_on(void **state)
{
	uint8_t lines[600], want[1200];
	size_t i;

	(void)state;
	for (i = 0; i < 600; i++) {
		lines[i] = '\n';
		want[2 * i] = '\r';
		want[2 * i + 1] = '\n';
	}
	lines[0] = 'x';
	want[1] = 'x';
	put("lines", lines, 600);
	ASK("lines\0netascii");
	assert_data(0, 1, want + 1, 512); /* ends between two bytes for one */
	hand_over();
	message(ACK, 1);
	assert_data(0, 2, want + 513, 512);
}

/* All that there can be, and the next one has a port that none of them has */
static void many_go_on(void **state)
{
	uint16_t port;
	unsigned i;

	(void)state;
	for (i = 0; i < TFTP_SESSIONS; i++)
		ask_from((uint16_t)(PORT + i), RRQ, "file\0octet", 11);
	port = packet.t.dport;
	hand_over();
	assert_int_equal(t.used, TFTP_SESSIONS);
	ask_from(PORT, RRQ, "text\0octet", 11); /* instead of the first */
	hand_over();
	assert_true(message(ACK, 1));
	ask_from(PORT + 100, RRQ, "file\0octet", 11);
	assert_int_equal(packet.t.dport, port + 1);
	assert_data(0, 1, content, 512);
}

static void no_server_any_more(void **state)
{
	struct fdlist fds = { 0 };
	uint8_t b[4096];
	struct wr w = wr_init(b, sizeof(b));
	int dir = t.dir;

	(void)state;
	ASK("file\0octet");
	tftp_save(&t, &w, &fds);
	t.dir = -1;
	assert_true(take_over(&fds, b, w.len));
	assert_int_equal(t.used, 0);
	assert_int_equal(fcntl(fds.fd[0], F_GETFD), -1);
	t.dir = dir;
}

/* Whatever a predecessor says, no transfer has numbers that the code does not expect */
static void not_sane(void **state)
{
	struct fdlist fds, none = { 0 };
	uint8_t b[4096], other[4096];
	size_t i;
	struct wr w;

	(void)state;
	ASK(WINDOW);
	message(ACK, 0);
	for (i = 0; ; i++) {
		fds = none;
		w = wr_init(b, sizeof(b));
		tftp_save(&t, &w, &fds);
		if (i == w.len)
			break;
		memcpy(other, b, w.len);
		other[i] = 0xff;
		if (take_over(&fds, other, w.len)) {
			if (t.session[0].used)
				assert_in_range(t.session[0].window, 1,
						TFTP_WINDOW);
			message(ACK, 4);
		}
		assert_true(t.used <= 1);
		while (fds.at < fds.n)
			close(fds.fd[fds.at++]);
		/* as it was */
		if (t.session[0].used && t.session[0].fd >= 0)
			close(t.session[0].fd);
		timer_drop(&loop.timers, &t.session[0].timer);
		tftp_init(&t, &loop, &tap, &lan);
		t.dir = was.dir;
		ASK(WINDOW);
		message(ACK, 0);
	}
	fds = none;
	assert_false(take_over(&fds, b, w.len - 1));
}

static void no_directory(void **state)
{
	struct tftp other;

	(void)state;
	tftp_init(&other, &loop, &tap, &lan);
	assert_int_equal(tftp_open(&other, at("none")), -ENOENT);
	assert_int_equal(tftp_open(&other, at("file")), -ENOTDIR);
	assert_int_equal(other.dir, -1);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, start, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(plain),	   TEST(whole_blocks), TEST(six),
		TEST(not_ours),	   TEST(other_client), TEST(text),
		TEST(options),	   TEST(size_only),    TEST(window),
		TEST(no_room),	   TEST(roll_over),    TEST(lost),
		TEST(lost_options), TEST(asked_again), TEST(no_way_out),
		TEST(refused),	   TEST(all_taken),    TEST(shrinks),
		TEST(goes_on),	   TEST(window_goes_on), TEST(text_goes_on),
		TEST(many_go_on),  TEST(no_server_any_more), TEST(not_sane),
		TEST(no_directory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
