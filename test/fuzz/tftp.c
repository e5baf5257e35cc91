/* SPDX-License-Identifier: GPL-2.0-or-later */
/* unit: tftp timer addr util log */
/* A client that says what it likes: the input is packets, each with its length in
 * front and a byte that says from where and whereto, or that time passes.  The
 * directory has a file that each block can be told of. */
#include "tftp.h"
#include "emit.h"
#include "log.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define REQUIRE(x)                                                             \
	do {                                                                   \
		if (!(x))                                                      \
			abort();                                               \
	} while (0)

enum { SIZE = 3000, PASSES = 0xff };

static struct lan lan;
static struct tap tap;
static struct loop loop;
static struct tftp t;
static uint16_t port; /* that the server answered from last */

bool emit_answer(struct tap *to, struct answer *a)
{
	const uint8_t *b = a->body.buf;
	uint16_t op = ld_be16(b);

	(void)to;
	REQUIRE(wr_ok(&a->body) && a->body.len >= 4 && a->body.len <= 1472);
	REQUIRE(op == 3 || op == 5 || op == 6);
	REQUIRE(op == 3 || !b[a->body.len - 1]);
	REQUIRE(a->head.t.sport >= 49152);
	port = a->head.t.sport;
	return a->head.t.dport % 4; /* some have no room */
}

static void set_up(void)
{
	static const char *const dir = "/tmp/fuzz-tftp"; /* used again */
	uint8_t text[SIZE];
	unsigned i;
	int fd;

	log_level(LOG_ERROR);
	lan.v4 = true;
	lan.our4 = lan.gw4 = addr_v4(192, 0, 2, 1);
	timers_init(&loop.timers, loop.now_ms = 1000);
	for (i = 0; i < SIZE; i++)
		text[i] = i % 7 ? 'a' : i % 2 ? '\n' : '\r';
	mkdir(dir, 0755);
	tftp_init(&t, &loop, &tap, &lan);
	REQUIRE(!tftp_open(&t, dir));
	mkdirat(t.dir, "d", 0755);
	(void)!symlinkat("..", t.dir, "d/up");
	fd = openat(t.dir, "f", O_CREAT | O_WRONLY, 0644);
	REQUIRE(fd >= 0 && write(fd, text, SIZE) == SIZE);
	close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static bool ready;
	struct rd in = rd_init(data, size);
	unsigned i, open_files = 0;

	if (!ready)
		set_up();
	ready = true;
	while (rd_left(&in)) {
		uint8_t how = rd_u8(&in), len = rd_u8(&in);
		struct packet p = { .kind = PACKET_UDP };
		struct rd payload;

		if (how == PASSES) {
			loop.now_ms += len * 100;
			timers_run(&loop.timers, loop.now_ms);
			continue;
		}
		payload = rd_sub(&in, MIN((size_t)len, rd_left(&in)));
		p.t = (struct tuple){ .src = addr_v4(192, 0, 2, 15),
				      .dst = lan.our4,
				      .sport = 1000 + how / 2,
				      .dport = how % 2 ? TFTP_SERVER : port,
				      .proto = IPPROTO_UDP };
		if (tftp_is(&t, &p))
			tftp_input(&t, &p, payload);
	}
	for (i = 0; i < TFTP_SESSIONS; i++)
		open_files += t.session[i].used;
	REQUIRE(open_files == t.used);
	/* all of them end by themselves */
	for (i = 0; t.used && i < 10; i++) {
		loop.now_ms += 256 * 1000;
		timers_run(&loop.timers, loop.now_ms);
	}
	REQUIRE(!t.used);
	return 0;
}
