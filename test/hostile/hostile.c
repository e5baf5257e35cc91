/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A hostile guest beside one that behaves: throws frames that a seed makes, and
 * joins a tap of this network namespace to the same link, so that connections of
 * its kernel have to live with that.  All at once, as fast as the daemon takes it.
 *
 *	hostile SOCKET INTERFACE stream|rings SEED
 *	hostile INTERFACE INTERFACE tap SEED
 *	hostile FRAMES - count SEED
 *
 * With a SEED of 0 they mean no harm.  By a tap the frames go out of the interface
 * that pasta has made; "count" throws them nowhere and prints their sum.  SIGUSR1 has
 * it pause and go on, SIGTERM says what was thrown.  Whoever is gone from the other end
 * is called again.
 */
#include "way.h"

#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum {
	BATCH = 64, /* of either guest's frames, before the other has its turn */
	FRAME_MIN = 14,
	OUT_BYTES = 2 * FRAME_MAX + 1024,
	IN_BYTES = 4 * FRAME_MAX,
	PATIENCE = 1000, /* so many WAIT_MS until who is not there is dead */
};

static volatile sig_atomic_t ended, paused;

static void on_signal(int number)
{
	if (number == SIGUSR1)
		paused = !paused;
	else
		ended = 1;
}

int unix_connect(const char *path)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int s = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	strncpy(sa.sun_path, path, sizeof(sa.sun_path) - 1);
	if (s < 0)
		err(1, "socket");
	if (connect(s, (void *)&sa, sizeof(sa))) {
		close(s);
		return -1;
	}
	return s;
}

/* --- the stream ------------------------------------------------------------ */

static int stream = -1;
static uint8_t out[OUT_BYTES], in[IN_BYTES];
static size_t out_from, out_to, in_from, in_to;

static bool stream_open(const char *where, struct frames *f)
{
	(void)f;
	if (stream >= 0)
		close(stream);
	out_from = out_to = in_from = in_to = 0;
	stream = unix_connect(where);
	if (stream >= 0)
		fcntl(stream, F_SETFL, O_NONBLOCK);
	return stream >= 0;
}

static bool stream_room(void)
{
	return out_to < OUT_BYTES - FRAME_MAX - 4;
}

static void stream_send(const uint8_t *b, size_t len, struct frames *hostile)
{
	uint32_t prefix;

	/* Less is an error of QEMU: see stream_spoil() */
	(void)hostile;
	len = len < FRAME_MIN ? FRAME_MIN : len;
	prefix = htonl((uint32_t)len);
	memcpy(out + out_to, &prefix, 4);
	memcpy(out + out_to + 4, b, len);
	out_to += 4 + len;
}

static void stream_flush(void)
{
	ssize_t n = send(stream, out + out_from, out_to - out_from,
			 MSG_NOSIGNAL);

	if (n > 0)
		out_from += (size_t)n;
	if (out_from == out_to)
		out_from = out_to = 0;
}

static ssize_t stream_receive(uint8_t *b)
{
	uint32_t len;
	ssize_t n;

	for (;;) {
		if (in_to - in_from >= 4) {
			memcpy(&len, in + in_from, 4);
			len = ntohl(len);
			if (len > FRAME_MAX)
				errx(1, "a frame of %u bytes", len);
			if (in_to - in_from >= 4 + len) {
				memcpy(b, in + in_from + 4, len);
				in_from += 4 + len;
				return len;
			}
		}
		memmove(in, in + in_from, in_to - in_from);
		in_to -= in_from;
		in_from = 0;
		n = recv(stream, in + in_to, IN_BYTES - in_to, 0);
		if (n <= 0)
			return n < 0 && errno == EAGAIN ? 0 : -1;
		in_to += (size_t)n;
	}
}

static struct pollfd stream_poll(void)
{
	return (struct pollfd){ stream, (short)(POLLIN | (out_to ? POLLOUT : 0)),
				0 };
}

/* A length that no frame has, or an end in the middle of one */
static void stream_spoil(struct frames *f)
{
	static const uint32_t odd[] = { 0, 1, 13, 65536, 1 << 20, 0x7fffffff,
					0x80000000, 0xffffffff };
	uint32_t prefix = htonl(odd[frames_below(f, 8)]);

	if (!stream_room())
		return;
	memcpy(out + out_to, &prefix, 4);
	out_to += 1 + frames_below(f, 4);
	if (frames_below(f, 2)) {
		stream_flush();
		shutdown(stream, SHUT_RDWR);
	}
}

static const struct way the_stream = {
	"stream", stream_open, stream_room, stream_send, stream_flush,
	stream_receive, stream_poll, stream_spoil, 1 << 16,
};

/* --- the kernel's side of a tap --------------------------------------------- */

static int packets = -1, counters;
static const char *device;
static bool full;
static uint8_t kernel[6];

static void ask_mac(const char *name)
{
	struct ifreq ifr = { 0 };
	int s = socket(AF_INET, SOCK_DGRAM, 0);

	strncpy(ifr.ifr_name, name, IFNAMSIZ - 1);
	if (s < 0 || ioctl(s, SIOCGIFHWADDR, &ifr))
		err(1, "address of %s", name);
	memcpy(kernel, ifr.ifr_hwaddr.sa_data, 6);
	close(s);
}

static bool tap_open(const char *where, struct frames *f)
{
	struct sockaddr_ll sa = { .sll_family = AF_PACKET,
				  .sll_protocol = htons(ETH_P_ALL),
				  .sll_ifindex = (int)if_nametoindex(where) };
	int on = 1;

	(void)f;
	packets = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK, htons(ETH_P_ALL));
	if (packets < 0 || bind(packets, (void *)&sa, sizeof(sa)) ||
	    setsockopt(packets, SOL_PACKET, PACKET_IGNORE_OUTGOING, &on,
		       sizeof(on)))
		err(1, "packet socket of %s", where);
	device = where;
	counters = open("/proc/self/net/dev", O_RDONLY | O_CLOEXEC);
	return true;
}

static bool tap_room(void)
{
	return !full;
}

static void tap_send(const uint8_t *b, size_t len, struct frames *hostile)
{
	(void)hostile;
	/* What the interface does not hold is refused: that is no fault */
	full = send(packets, b, len, 0) < 0 &&
	       (errno == EAGAIN || errno == ENOBUFS);
}

/* What a tap has no room for it drops, and tells nobody: then whoever asks most
 * often has it all.  As a queueing discipline would, wait as long as that happens. */
static void tap_flush(void)
{
	static unsigned long dropped;
	static useconds_t pause;
	unsigned long now = 0;
	char b[8192], *at;
	ssize_t n = pread(counters, b, sizeof(b) - 1, 0);

	b[n > 0 ? n : 0] = '\0';
	at = strstr(b, device);
	if (at)
		sscanf(at + strlen(device), ": %*u %*u %*u %*u %*u %*u %*u %*u "
		       "%*u %*u %*u %lu", &now);
	pause = now > dropped ? pause * 2 + 100 : pause * 7 / 8;
	pause = pause < 20000 ? pause : 20000;
	dropped = now;
	if (pause)
		usleep(pause);
}

static ssize_t tap_receive(uint8_t *b)
{
	ssize_t n = recv(packets, b, FRAME_MAX, MSG_TRUNC);

	if (n < 0 && errno == ENETDOWN)
		return -1;
	return n < 0 ? 0 : n < FRAME_MAX ? n : FRAME_MAX;
}

static struct pollfd tap_poll(void)
{
	bool was = full;

	full = false;
	return (struct pollfd){ packets, (short)(POLLIN | (was ? POLLOUT : 0)),
				0 };
}

static void tap_spoil(struct frames *f)
{
	(void)f;
}

static const struct way the_tap = {
	"tap", tap_open, tap_room, tap_send, tap_flush, tap_receive, tap_poll,
	tap_spoil, 1 << 30,
};

/* --- both guests ------------------------------------------------------------ */

static int tap = -1; /* -1: the kernel is on that link by itself */
static unsigned long again, sent, got;

static void open_kernel(const char *name)
{
	struct ifreq ifr = { .ifr_flags = IFF_TAP | IFF_NO_PI };

	strncpy(ifr.ifr_name, name, IFNAMSIZ - 1);
	tap = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (tap < 0 || ioctl(tap, TUNSETIFF, &ifr))
		err(1, "tap %s", name);
}

static void join(const struct way *w, const char *where, struct frames *f)
{
	int i;

	for (i = 0; !w->open(where, f); i++) {
		if (ended || i == PATIENCE)
			errx(1, "%s: the daemon has gone", where);
		poll(NULL, 0, WAIT_MS);
	}
}

static void from_kernel(const struct way *w)
{
	uint8_t b[FRAME_MAX];
	ssize_t n;
	int i;

	for (i = 0; i < BATCH && tap >= 0 && w->room(); i++) {
		n = read(tap, b, sizeof(b));
		if (n <= 0)
			return;
		w->send(b, (size_t)n, NULL);
		sent++;
	}
}

static void throw(const struct way *w, struct frames *f)
{
	uint8_t b[FRAME_MAX];
	int i;

	for (i = 0; i < BATCH && w->room(); i++) {
		size_t n = frames_next(f, b);

		w->send(b, n, f);
		if (f->seed && !(f->n % w->every)) {
			w->spoil(f);
			return;
		}
	}
}

/* False: the daemon has hung up.  The other guest takes frames for us as well,
 * as what we have sent last has the daemon call both by that name. */
static bool hear(const struct way *w, struct frames *f)
{
	uint8_t b[FRAME_MAX];
	ssize_t n = 1;
	int i;

	for (i = 0; i < 4 * BATCH; i++) {
		n = w->receive(b);
		if (n <= 0)
			break;
		if (frames_heard(f, b, (size_t)n) || n < 14 || tap < 0)
			continue;
		if (!(b[0] & 1))
			memcpy(b, kernel, 6);
		got++;
		if (write(tap, b, (size_t)n) < 0 && errno == EBADFD)
			err(1, "tap");
	}
	return n >= 0;
}

static void rest(const struct way *w)
{
	struct pollfd p[2] = { w->poll(), { tap, POLLIN, 0 } };

	poll(p, 2, WAIT_MS);
}

static void report(const struct frames *f)
{
	static const char *const name[KINDS] = {
		"TCP", "SYN", "UDP", "echo", "errors", "ARP", "NDP", "DHCP",
		"DHCPv6", "groups", "fragments", "extensions", "others"
	};
	unsigned k;

	printf("thrown %llu, heard %lu, established %lu, reset %lu, joined "
	       "again %lu, of the other guest %lu and %lu\n",
	       (unsigned long long)f->n, f->heard, f->established, f->resets,
	       again, sent, got);
	for (k = 0; k < KINDS; k++)
		printf("%s %lu%s", name[k], f->of[k], k + 1 < KINDS ? ", " : "\n");
}

static void count(struct frames *f, uint64_t frames)
{
	uint64_t sum = 1469598103934665603u;
	uint8_t b[FRAME_MAX];
	size_t n, i;

	while (f->n < frames) {
		n = frames_next(f, b);
		for (i = 0; i < n; i++)
			sum = (sum ^ b[i]) * 1099511628211u;
	}
	printf("%016llx\n", (unsigned long long)sum);
}

int main(int argc, char **argv)
{
	static const uint8_t mac[] = { 2, 0, 0, 0, 0, 0x77 };
	static struct frames f;
	const struct way *w;
	unsigned turn = 0;

	if (argc != 5)
		errx(2, "hostile WHERE INTERFACE stream|rings|tap|count SEED");
	frames_init(&f, strtoull(argv[4], NULL, 10), mac, false);
	if (!strcmp(argv[3], "count")) {
		count(&f, strtoull(argv[1], NULL, 10));
		return 0;
	}
	w = !strcmp(argv[3], "stream") ? &the_stream :
	    !strcmp(argv[3], "rings") ? &rings : &the_tap;
	paused = 1;
	signal(SIGUSR1, on_signal);
	signal(SIGTERM, on_signal);
	signal(SIGPIPE, SIG_IGN);
	if (w != &the_tap)
		open_kernel(argv[2]);
	ask_mac(argv[2]);
	if (w == &the_tap)
		frames_init(&f, f.seed, kernel, true);
	join(w, argv[1], &f);
	puts("ready");
	fflush(stdout);
	while (!ended) {
		/* Who is first may get all the room that there is */
		if (turn++ & 1)
			from_kernel(w);
		if (!paused)
			throw(w, &f);
		from_kernel(w);
		w->flush();
		if (!hear(w, &f) && !ended) {
			join(w, argv[1], &f);
			again++;
		}
		if (paused || !w->room())
			rest(w);
	}
	report(&f);
	return 0;
}
