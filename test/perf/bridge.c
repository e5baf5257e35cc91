/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A stand-in for QEMU: joins a tap of this network namespace to the stream
 * socket of passt, each frame behind its length in four bytes.  As QEMU does,
 * it sends a frame a call and receives what is there; no offloads, since
 * QEMU's stream backend has none.  One thread for each direction.  As emulated
 * network cards do, it may lose frames: so many of a million, in each direction.
 * Others of the guest's come late, behind the next three or a millisecond, as from
 * one that bridges over several links.
 *
 *	bridge SOCKET|FD INTERFACE [LOSS_PPM [LANES [LATE_PPM]]]
 */
#include "lanes.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <err.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

enum {
	FRAME_MAX = 65536 + 18,
	STREAM_BYTES = 4 * FRAME_MAX,
};

static struct lanes tap;
static int stream;
static unsigned long refused;
static unsigned loss_ppm, late_ppm;

static int open_stream(const char *path)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int s;

	if (isdigit(*path))
		return atoi(path);
	s = socket(AF_UNIX, SOCK_STREAM, 0);
	strncpy(sa.sun_path, path, sizeof(sa.sun_path) - 1);
	if (s < 0 || connect(s, (void *)&sa, sizeof(sa)))
		err(1, "socket %s", path);
	return s;
}

static void send_frame(char *frame, uint32_t len)
{
	uint32_t prefix = htonl(len);
	struct iovec iov[2] = { { &prefix, sizeof(prefix) }, { frame, len } };
	struct msghdr h = { .msg_iov = iov, .msg_iovlen = 2 };
	ssize_t n;

	while (iov[1].iov_len) {
		n = sendmsg(stream, &h, MSG_NOSIGNAL);
		if (n <= 0)
			exit(0);
		for (int i = 0; i < 2; i++) {
			size_t part = (size_t)n < iov[i].iov_len ?
				      (size_t)n : iov[i].iov_len;

			iov[i].iov_base = (char *)iov[i].iov_base + part;
			iov[i].iov_len -= part;
			n -= part;
		}
	}
}

static bool is_one_of(unsigned ppm, unsigned *seed)
{
	enum { MILLION = 1000 * 1000 };

	return ppm && (unsigned)rand_r(seed) % MILLION < ppm;
}

static bool is_lost(unsigned *seed)
{
	return is_one_of(loss_ppm, seed);
}

/* A frame that others overtake */
static void overtaken(const char *late, uint32_t len)
{
	enum { OTHERS = 3, WAIT_MS = 1 };
	static char frame[FRAME_MAX];
	ssize_t n;

	for (int i = 0; i < OTHERS && poll(tap.fd, tap.n, WAIT_MS) > 0; i++) {
		n = lanes_read(&tap, frame, sizeof(frame));
		if (n <= 0)
			break;
		send_frame(frame, n);
	}
	memcpy(frame, late, len);
	send_frame(frame, len);
}

static void *tap_to_stream(void *unused)
{
	static char frame[FRAME_MAX];
	unsigned seed = 1;
	ssize_t n;

	(void)unused;
	while ((n = lanes_read(&tap, frame, sizeof(frame))) > 0)
		if (is_one_of(late_ppm, &seed))
			overtaken(frame, n);
		else if (!is_lost(&seed))
			send_frame(frame, n);
	exit(0);
}

/* Write all whole frames of @b, return how many bytes they were */
static size_t unpack(const char *b, size_t len)
{
	static unsigned seed = 2;
	size_t done = 0;
	uint32_t n;

	for (;;) {
		if (len - done < sizeof(n))
			return done;
		memcpy(&n, b + done, sizeof(n));
		n = ntohl(n);
		if (n > FRAME_MAX)
			errx(1, "a frame of %u bytes", n);
		if (len - done < sizeof(n) + n)
			return done;
		/* Refused while the link is down, as by a guest that boots */
		if (!is_lost(&seed)) {
			const void *f = b + done + sizeof(n);

			refused += write(lanes_for(&tap, f, n), f, n) < 0;
		}
		done += sizeof(n) + n;
	}
}

static void stream_to_tap(void)
{
	static char b[STREAM_BYTES];
	size_t len = 0, done;
	ssize_t n;

	while ((n = recv(stream, b + len, sizeof(b) - len, 0)) > 0) {
		len += n;
		done = unpack(b, len);
		memmove(b, b + done, len - done);
		len -= done;
	}
}

int main(int argc, char **argv)
{
	pthread_t t;

	if (argc < 3 || argc > 6)
		errx(2, "bridge SOCKET|FD INTERFACE [LOSS_PPM [LANES [LATE_PPM]]]");
	if (argc > 3)
		loss_ppm = (unsigned)strtoul(argv[3], NULL, 10);
	if (argc > 5)
		late_ppm = (unsigned)strtoul(argv[5], NULL, 10);
	lanes_open(&tap, argv[2], 0, argc > 4 ? (unsigned)atoi(argv[4]) : 1);
	stream = open_stream(argv[1]);
	puts("ready");
	fflush(stdout);
	pthread_create(&t, NULL, tap_to_stream, NULL);
	stream_to_tap();
	return 0;
}
