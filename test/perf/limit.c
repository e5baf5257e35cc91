/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What the machine gives at most to a process that only moves bytes: the figures
 * that no daemon can beat.  One thread, which is busy all the time.
 *
 *	limit memcpy SECONDS	copy 64 KiB from cache to cache
 *	limit stream-N SECONDS	64 KiB into a Unix stream socket and out again,
 *				to N bytes behind the begin of a page
 *	limit tap-in SECONDS	write TCP super-frames to a tap, whose stack has
 *				no route for them and drops them
 *	limit tap-out SECONDS	read them from a tap; only the reads are timed
 *
 * The tap lies in a namespace of its own, which ends with the process.
 */
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <linux/virtio_net.h>

#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/ip.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
	COPY_BYTES = 65536,
	COPIES = 64,		/* between two looks at the clock */
	SEGMENT_BYTES = 1460,
	PAYLOAD_BYTES = 44 * SEGMENT_BYTES,
	QUEUED = 32,		/* frames before they are read, of 1000 */
};

struct frame {
	struct virtio_net_hdr v;
	struct ether_header eth;
	struct iphdr ip;
	struct tcphdr tcp;
	char payload[PAYLOAD_BYTES];
} __attribute__((packed));

static struct frame frame;
static const char tap_name[] = "tap0";

/* CPU time, since the machine may have other things to do */
static uint64_t spent_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return t.tv_sec * 1000000000ULL + t.tv_nsec;
}

/* --- memcpy ----------------------------------------------------------- */

static uint64_t run_memcpy(void)
{
	static char from[COPY_BYTES], to[COPY_BYTES];

	for (int i = 0; i < COPIES; i++) {
		memcpy(to, from, sizeof(to));
		/* Or the compiler leaves out what nobody looks at */
		__asm__ volatile("" : : "r"(to), "r"(from) : "memory");
	}
	return (uint64_t)COPIES * COPY_BYTES;
}

/* --- stream ----------------------------------------------------------- */

static uint64_t run_stream(const int *pair, size_t aside)
{
	static char from[COPY_BYTES] __attribute__((aligned(4096)));
	static char to[COPY_BYTES + 4096] __attribute__((aligned(4096)));

	for (int i = 0; i < COPIES; i++)
		if (send(pair[0], from, sizeof(from), 0) != COPY_BYTES ||
		    recv(pair[1], to + aside, COPY_BYTES, 0) != COPY_BYTES)
			err(1, "stream");
	return (uint64_t)COPIES * COPY_BYTES;
}

/* --- tap -------------------------------------------------------------- */

static uint16_t ip_sum(const struct iphdr *ip)
{
	uint16_t words[sizeof(*ip) / 2];
	uint32_t sum = 0;

	memcpy(words, ip, sizeof(words));
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		sum += words[i];
	sum = (sum & 0xffff) + (sum >> 16);
	return ~(sum + (sum >> 16));
}

static void build(const uint8_t *mac)
{
	const unsigned int head = sizeof(frame.eth) + sizeof(frame.ip);
	struct iphdr ip = {
		.version = 4, .ihl = sizeof(ip) / 4, .ttl = 64,
		.tot_len = htons(sizeof(ip) + sizeof(frame.tcp) +
				 sizeof(frame.payload)),
		.protocol = IPPROTO_TCP,
		.saddr = htonl(0xc0000201),	/* 192.0.2.1 and .2 */
		.daddr = htonl(0xc0000202),
	};

	frame.v = (struct virtio_net_hdr){
		.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
		.gso_type = VIRTIO_NET_HDR_GSO_TCPV4,
		.hdr_len = head + sizeof(frame.tcp),
		.gso_size = SEGMENT_BYTES,
		.csum_start = head,
		.csum_offset = offsetof(struct tcphdr, check),
	};
	memcpy(frame.eth.ether_dhost, mac, ETH_ALEN);
	memcpy(frame.eth.ether_shost, "\2\0\0\0\0\1", ETH_ALEN);
	frame.eth.ether_type = htons(ETHERTYPE_IP);
	ip.check = ip_sum(&ip);
	frame.ip = ip;
	frame.tcp.doff = sizeof(frame.tcp) / 4;
	frame.tcp.ack = 1;
}

static int open_tap(void)
{
	struct ifreq r = { .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR };
	int fd, s;

	if (unshare(CLONE_NEWNET))
		err(1, "a network namespace");
	fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK);
	s = socket(AF_INET, SOCK_DGRAM, 0);
	strcpy(r.ifr_name, tap_name);
	if (fd < 0 || s < 0 || ioctl(fd, TUNSETIFF, &r) ||
	    ioctl(fd, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO4))
		err(1, "tap");
	r.ifr_flags = IFF_UP;
	if (ioctl(s, SIOCSIFFLAGS, &r) || ioctl(s, SIOCGIFHWADDR, &r))
		err(1, "interface");
	close(s);
	build((const uint8_t *)r.ifr_hwaddr.sa_data);
	return fd;
}

/* Puts frames of ours into the queue that the other end of the tap reads */
static int open_sender(void)
{
	struct sockaddr_ll sa = {
		.sll_family = AF_PACKET,
		.sll_ifindex = if_nametoindex(tap_name),
	};
	int s = socket(AF_PACKET, SOCK_RAW, 0), one = 1;

	if (s < 0 || bind(s, (void *)&sa, sizeof(sa)) ||
	    setsockopt(s, SOL_PACKET, PACKET_VNET_HDR, &one, sizeof(one)) ||
	    setsockopt(s, SOL_PACKET, PACKET_QDISC_BYPASS, &one, sizeof(one)))
		err(1, "packet socket");
	return s;
}

static uint64_t fill_tap(int tap)
{
	if (write(tap, &frame, sizeof(frame)) != sizeof(frame))
		err(1, "write to the tap");
	return sizeof(frame);
}

static uint64_t drain_tap(int tap, int sender, uint64_t *took)
{
	static char in[sizeof(frame)];
	uint64_t done = 0, start;
	ssize_t n;

	for (int i = 0; i < QUEUED; i++)
		if (send(sender, &frame, sizeof(frame), 0) < 0)
			err(1, "send to the tap");
	start = spent_ns();
	while ((n = read(tap, in, sizeof(in))) > 0)
		done += n;
	*took += spent_ns() - start;
	if (errno != EAGAIN)
		err(1, "read from the tap");
	return done;
}

int main(int argc, char **argv)
{
	const char *what = argc == 3 ? argv[1] : "";
	uint64_t start, stop, took = 0, n = 0;
	int tap = -1, sender = -1, timed = !strcmp(what, "tap-out"), pair[2];
	unsigned int aside, stream = sscanf(what, "stream-%u", &aside) == 1;

	if (!strcmp(what, "tap-in") || timed)
		tap = open_tap();
	else if (stream && (aside >= 4096 ||
			    socketpair(AF_UNIX, SOCK_STREAM, 0, pair)))
		errx(1, "stream");
	else if (!stream && strcmp(what, "memcpy"))
		errx(2, "see the top of limit.c");
	if (timed)
		sender = open_sender();
	start = spent_ns();
	stop = start + atof(argv[2]) * 1e9;
	while (spent_ns() < stop)
		n += timed ? drain_tap(tap, sender, &took) :
		     tap >= 0 ? fill_tap(tap) :
		     stream ? run_stream(pair, aside) : run_memcpy();
	if (!timed)
		took = spent_ns() - start;
	printf("n %llu seconds %.6f\n", (unsigned long long)n, took / 1e9);
	return 0;
}
