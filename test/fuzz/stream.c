/* SPDX-License-Identifier: GPL-2.0-or-later */
/* unit: tap_stream acceptor tap loop timer pcap segment packet checksum iov addr util */
#include "tap_stream.h"
#include "../quiet.h"

#include <assert.h>
#include <sys/socket.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct tap_stream t;
static struct loop loop;
static struct pcap pcap = { .fd = -1 };

/* The plain twin: what the frames of the whole stream are, one at a time */
struct twin {
	const uint8_t *p;
	size_t len;
};

static bool is_bad(const struct twin *w)
{
	return w->len >= 4 &&
	       (ld_be32(w->p) < ETH_HEAD || ld_be32(w->p) > FRAME_MAX);
}

static void expect(struct twin *w, const struct frame *f)
{
	assert(w->len >= 4 && !is_bad(w) && f->len == ld_be32(w->p));
	assert(w->len - 4 >= f->len);
	assert(!memcmp(f->iov->iov_base, w->p + 4, f->len));
	w->p += 4 + f->len;
	w->len -= 4 + f->len;
}

static void receive(struct twin *w, unsigned max)
{
	static struct frame f[64];
	unsigned n, i;

	t.tap.events = EPOLLIN;
	while ((n = tap_receive(&t.tap, f, max))) {
		assert(n <= max);
		for (i = 0; i < n; i++)
			expect(w, &f[i]);
		tap_release(&t.tap);
	}
}

/* Byte 0: frames a time; 1: size of the pieces written, in some unit */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t piece, at, n;
	struct twin w;
	int fd[2];

	if (!t.tx) {
		if (loop_init(&loop) ||
		    tap_stream_init(&t, &loop, &pcap, 0, true))
			return 0;
	}
	if (size < 2 || socketpair(AF_UNIX, SOCK_STREAM, 0, fd))
		return 0;
	assert(!tap_stream_adopt(&t, fd[0]));
	piece = data[1] < 128 ? data[1] + 1U : data[1] * 128U;
	w = (struct twin){ data + 2, size - 2 };
	for (at = 2; at < size && t.fd >= 0; at += n) {
		n = MIN(piece, size - at);
		assert(send(fd[1], data + at, n, MSG_NOSIGNAL) == (ssize_t)n);
		receive(&w, data[0] % 64 + 1);
	}
	/* All complete frames were given out: it ends on a bad or partial one
	 */
	assert((t.fd < 0) == is_bad(&w));
	assert(is_bad(&w) || w.len < 4 || w.len - 4 < ld_be32(w.p));
	/* Not by close(): whoever looks at our descriptors just then, as ss does, has it, too */
	shutdown(fd[1], SHUT_RDWR);
	receive(&w, 1);
	close(fd[1]);
	assert(t.fd < 0 && !t.rx_at && !t.rx_end);
	return 0;
}
