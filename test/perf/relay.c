/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A long wire: joins a tap of one network namespace to a tap of another, with
 * a delay, a rate and a loss in each direction, for kernels without netem.
 * Which frames are lost follows from the seed and their order alone, so that
 * several transfers can be made to lose the same ones.  Frames are plain, of at
 * most an MTU of 1500, since a loss should be one segment and not 64 KiB.
 *
 *	relay NETNS-A NETNS-B INTERFACE DELAY_US LOSS_PPM MBIT SEED
 */
#include <linux/if.h>
#include <linux/if_tun.h>

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

enum {
	SLOTS = 1 << 16,	/* 100 ms at several Gbit/s */
	FRAME_MAX = 2040,
	CONTROL_BYTES = 100,	/* frames below: ARP and ACKs, never lost */
	BURST = 64,
};

struct slot {
	uint64_t due_ns;
	uint32_t len;
	char frame[FRAME_MAX];
};

struct direction {
	int in, out;
	uint64_t delay_ns, free_ns, random;
	uint32_t loss_ppm, mbit;
	unsigned long refused;
	unsigned int head, tail;
	struct slot *slot;
};

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ULL + t.tv_nsec;
}

/* splitmix64, by Sebastiano Vigna, in the public domain */
static uint64_t draw(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
	return z ^ (z >> 31);
}

static int open_tap(const char *netns, const char *name)
{
	struct ifreq ifr = { .ifr_flags = IFF_TAP | IFF_NO_PI };
	int ns = open(netns, O_RDONLY), fd;

	if (ns < 0 || setns(ns, CLONE_NEWNET))
		err(1, "%s", netns);
	close(ns);
	fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK);
	strncpy(ifr.ifr_name, name, IFNAMSIZ - 1);
	if (fd < 0 || ioctl(fd, TUNSETIFF, &ifr))
		err(1, "tap %s", name);
	return fd;
}

static void schedule(struct direction *d, struct slot *s, uint64_t now)
{
	if (d->free_ns < now)
		d->free_ns = now;
	if (d->mbit)
		d->free_ns += s->len * 8000ULL / d->mbit;
	s->due_ns = d->free_ns + d->delay_ns;
}

static int take(struct direction *d, uint64_t now)
{
	struct slot *s = &d->slot[d->tail % SLOTS];
	ssize_t n;

	if (d->tail - d->head == SLOTS)
		return 0;
	n = read(d->in, s->frame, sizeof(s->frame));
	if (n <= 0)
		return 0;
	s->len = n;
	if (n >= CONTROL_BYTES && draw(&d->random) % 1000000 < d->loss_ppm)
		return 1;
	schedule(d, s, now);
	d->tail++;
	return 1;
}

static void give(struct direction *d, uint64_t now)
{
	while (d->head != d->tail && d->slot[d->head % SLOTS].due_ns <= now) {
		struct slot *s = &d->slot[d->head++ % SLOTS];

		/* No buffers or link down: lost, like on any wire */
		d->refused += write(d->out, s->frame, s->len) < 0;
	}
}

static void nap(struct direction *d)
{
	struct pollfd p = { .fd = d->in, .events = POLLIN };
	struct timespec t, *wait = NULL;
	uint64_t now = now_ns(), due;

	if (d->head != d->tail) {
		due = d->slot[d->head % SLOTS].due_ns;
		due = due > now ? due - now : 0;
		t.tv_sec = due / 1000000000;
		t.tv_nsec = due % 1000000000;
		wait = &t;
	}
	ppoll(&p, 1, wait, NULL);
}

static void *run(void *arg)
{
	struct direction *d = arg;
	uint64_t now;
	int i;

	prctl(PR_SET_TIMERSLACK, 1000);
	for (;;) {
		nap(d);
		now = now_ns();
		for (i = 0; i < BURST && take(d, now); i++)
			;
		give(d, now_ns());
	}
	return NULL;
}

int main(int argc, char **argv)
{
	struct direction d[2] = { 0 };
	pthread_t t;
	int i;

	if (argc != 8)
		errx(2, "see the top of relay.c");
	d[0].in = d[1].out = open_tap(argv[1], argv[3]);
	d[1].in = d[0].out = open_tap(argv[2], argv[3]);
	for (i = 0; i < 2; i++) {
		d[i].delay_ns = strtoull(argv[4], NULL, 0) * 1000;
		d[i].loss_ppm = strtoul(argv[5], NULL, 0);
		d[i].mbit = strtoul(argv[6], NULL, 0);
		d[i].random = strtoull(argv[7], NULL, 0) * 2 + i;
		d[i].slot = mmap(NULL, SLOTS * sizeof(struct slot),
				 PROT_READ | PROT_WRITE,
				 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
				 -1, 0);
		if (d[i].slot == MAP_FAILED)
			err(1, "mmap");
	}
	puts("ready");
	fflush(stdout);
	pthread_create(&t, NULL, run, &d[1]);
	run(&d[0]);
	return 0;
}
