/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * qrap - starts a QEMU before 7.2, which has no stream sockets, behind passt
 *
 * Such a QEMU can only be given a descriptor that is connected already.  With a
 * number and a command, qrap connects that descriptor and runs the command.
 * Without, its arguments are an emulator's: their network devices are replaced
 * by one that uses the descriptor, at an address that no other device names.
 *
 * Which of passt's default sockets is free is found by a probe that passt
 * answers: an ARP request and a neighbour solicitation that are harmless to a
 * guest that may be there.
 */
#include "qrap.h"

#include "cursor.h"
#include "log.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum {
	FD_DEFAULT = 5,
	PATHS = 99, /* /tmp/passt_1.socket and up */
	PROBE_MS = 500,
	RETRIES = 50, /* of a passt that is starting, */
	RETRY_MS = 50, /* so far apart */
	ARGS_MAX = 4096,
	ARP_LEN = 42,
	NS_LEN = 78,
	PROBE_LEN = 4 + ARP_LEN + 4 + NS_LEN,
	PCI_SLOTS = 32,
	BUS_FIRST = 3, /* of Q35: those before belong to the board */
};

/* --- passt's socket ------------------------------------------------------- */

/* Write the probe, 128 bytes: an ARP request for 0.0.0.0 and a neighbour
 * solicitation for :: */
static void put_probe(struct wr *w)
{
	wr_be32(w, ARP_LEN);
	wr_fill(w, 0xff, 12);
	wr_be16(w, 0x0806);
	wr_be16(w, 1); /* Ethernet */
	wr_be16(w, 0x0800);
	wr_u8(w, 6);
	wr_u8(w, 4);
	wr_be16(w, 1); /* request */
	wr_fill(w, 0xff, 6);
	wr_fill(w, 0, 4);
	wr_fill(w, 0xff, 6);
	wr_fill(w, 0, 4);

	wr_be32(w, NS_LEN);
	wr_fill(w, 0xff, 12);
	wr_be16(w, 0x86dd);
	wr_be32(w, 6U << 28);
	wr_be16(w, 24);
	wr_u8(w, 58); /* ICMPv6 */
	wr_u8(w, 255);
	wr_fill(w, 0, 15);
	wr_u8(w, 1);
	wr_fill(w, 0, 16);
	wr_u8(w, 135); /* neighbour solicitation */
	wr_fill(w, 0, 7 + 16);
}

static bool answers(int fd)
{
	const struct timeval tv = { .tv_usec = PROBE_MS * 1000 };
	uint8_t probe[PROBE_LEN], byte;
	struct wr w = wr_init(probe, sizeof(probe));

	put_probe(&w);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv));
	errno = ECONNREFUSED; /* if the peer closes */
	return send(fd, probe, w.len, MSG_NOSIGNAL) == (ssize_t)w.len &&
	       recv(fd, &byte, 1, MSG_PEEK) == 1;
}

/* Remove the timeouts of answers().  The answer that it peeked at stays in the
 * socket for the guest, which drops it. */
static void no_timeout(int fd)
{
	const struct timeval never = { 0 };

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &never, sizeof(never));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &never, sizeof(never));
}

/* Connect to passt at @path and probe it; returns the socket, or -1 with errno
 * set */
static int try_path(const char *path)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0), err;

	if (fd < 0)
		return -1;
	strcpy(a.sun_path, path);
	if (!connect(fd, (struct sockaddr *)&a, sizeof(a)) && answers(fd)) {
		no_timeout(fd);
		return fd;
	}
	err = errno;
	close(fd);
	errno = err;
	return -1;
}

static int connect_passt(void)
{
	const struct timespec pause = { .tv_nsec = RETRY_MS * 1000000L };
	char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
	unsigned retries = RETRIES;
	int i, fd;

	for (i = 1; i <= PATHS; i++) {
		snprintf(path, sizeof(path), "/tmp/passt_%d.socket", i);
		while ((fd = try_path(path)) < 0 && errno == ECONNRESET &&
		       retries) {
			retries--;
			nanosleep(&pause, NULL);
		}
		if (fd >= 0) {
			fprintf(stderr, "Connected to %s\n", path);
			return fd;
		}
	}
	return -1;
}

/* --- the emulator's arguments --------------------------------------------- */

enum machine { Q35, PC, S390 };

struct line {
	enum machine machine;
	bool devices, json; /* seen; written as JSON */
	uint32_t taken;	    /* a bit per slot, bus or number */
	int argc;
	char *argv[ARGS_MAX + 5];
	char device[128], netdev[64];
};

static struct line the;

static bool is_json(const char *s)
{
	return *s == '{';
}

static bool begins(const char *s, const char *with)
{
	return !strncmp(s, with, strlen(with));
}

/* The value of @key in "driver,key=value,..." or {"key":"value",...}, or
 * NULL */
static const char *find_value(const char *s, const char *key)
{
	char pattern[16];
	const char *at;

	if (is_json(s)) {
		snprintf(pattern, sizeof(pattern), "\"%s\":", key);
		at = strstr(s, pattern);
		if (!at)
			return NULL;
		at += strlen(pattern);
		return at + strspn(at, " \"");
	}
	snprintf(pattern, sizeof(pattern), ",%s=", key);
	at = strstr(s, pattern);
	return at ? at + strlen(pattern) : NULL;
}

static const char *driver(const char *s)
{
	return is_json(s) ? find_value(s, "driver") : s;
}

static bool is_network(const char *device)
{
	static const char *const names[] = { "virtio-net-pci",
					     "virtio-net-ccw", "e1000e",
					     "e1000", "rtl8139" };
	const char *s = driver(device);
	unsigned i;

	for (i = 0; s && i < ARRAY_SIZE(names); i++) {
		char end = begins(s, names[i]) ? s[strlen(names[i])] : 'x';

		if (!end || end == ',' || end == '"')
			return true;
	}
	return false;
}

static enum machine machine_of(const char *s)
{
	const char *type = strstr(s, "type=");

	s = type ? type + 5 : s;
	if (begins(s, "s390-ccw"))
		return S390;
	if (begins(s, "pc-i440fx") || begins(s, "pc,") || !strcmp(s, "pc"))
		return PC;
	return begins(s, "pc-") && !begins(s, "pc-q35") ? PC : Q35;
}

/* Mark what @device occupies: a bus of Q35, a slot of PC, a device number of
 * S390 */
static void take(struct line *l, const char *device)
{
	const char *bus = find_value(device, "bus"), *v;
	unsigned long n = PCI_SLOTS;

	l->devices = true;
	l->json |= is_json(device);
	if (l->machine == Q35 && bus && begins(bus, "pci."))
		n = strtoul(bus + 4, NULL, 10);
	v = find_value(device, "addr");
	if (l->machine == PC && v && (!bus || begins(bus, "pci.0")))
		n = strtoul(v, NULL, 16);
	v = find_value(device, "devno");
	if (l->machine == S390 && v && begins(v, "fe.0."))
		n = strtoul(v + 5, NULL, 16);
	if (n < PCI_SLOTS)
		l->taken |= 1U << n;
}

static unsigned free_slot(const struct line *l)
{
	unsigned n = l->machine == Q35 ? BUS_FIRST : l->machine == PC ? 2 : 1;

	while (n < PCI_SLOTS - 1 && l->taken & 1U << n)
		n++;
	return n;
}

static void name_device(struct line *l)
{
	static const char *const plain[] = {
		[Q35] = "virtio-net-pci,bus=pci.%u,addr=0x0,netdev=hostnet0,"
			"x-txburst=4096",
		[PC] = "virtio-net-pci,bus=pci.0,addr=0x%x,netdev=hostnet0,"
		       "x-txburst=4096",
		[S390] = "virtio-net-ccw,devno=fe.0.%04x,netdev=hostnet0,"
			 "x-txburst=4096",
	};
	static const char *const json[] = {
		[Q35] = "{\"driver\":\"virtio-net-pci\",\"bus\":\"pci.%u\","
			"\"addr\":\"0x0\",\"netdev\":\"hostnet0\","
			"\"x-txburst\":4096}",
		[PC] = "{\"driver\":\"virtio-net-pci\",\"bus\":\"pci.0\","
		       "\"addr\":\"0x%x\",\"netdev\":\"hostnet0\","
		       "\"x-txburst\":4096}",
		[S390] = "{\"driver\":\"virtio-net-ccw\","
			 "\"devno\":\"fe.0.%04x\",\"netdev\":\"hostnet0\","
			 "\"x-txburst\":4096}",
	};
	const char *const *text = l->json ? json : plain;

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
	snprintf(l->device, sizeof(l->device), text[l->machine], free_slot(l));
#pragma GCC diagnostic pop
	snprintf(l->netdev, sizeof(l->netdev),
		 l->json ? "{\"type\":\"socket\",\"fd\":\"%d\","
			   "\"id\":\"hostnet0\"}" :
			   "socket,fd=%d,id=hostnet0", FD_DEFAULT);
}

static void add(struct line *l, char *arg)
{
	l->argv[l->argc++] = arg;
}

static const char *option(const char *arg)
{
	return begins(arg, "--") ? arg + 1 : arg;
}

/* Copy all arguments but those of the network; @l->machine is known */
static void copy(struct line *l, int argc, char **argv)
{
	int i;

	for (i = 1; i < argc; i++) {
		const char *o = option(argv[i]);
		bool more = i + 1 < argc;

		if (more && (!strcmp(o, "-netdev") || !strcmp(o, "-net") ||
			     !strcmp(o, "-nic"))) {
			i++;
			continue;
		}
		if (more && !strcmp(o, "-device")) {
			if (is_network(argv[i + 1])) {
				i++;
				continue;
			}
			take(l, argv[i + 1]);
		}
		add(l, argv[i]);
	}
}

static void edit(struct line *l, int argc, char **argv)
{
	static char o_device[] = "-device", o_netdev[] = "-netdev";
	int i;

	if (argc > ARGS_MAX)
		die("Too many arguments (maximum %d)", ARGS_MAX);
	for (i = 1; i + 1 < argc; i++)
		if (!strcmp(option(argv[i]), "-machine") ||
		    !strcmp(argv[i], "-M"))
			l->machine = machine_of(argv[i + 1]);
	l->argc = 1; /* argv[0] is set by exec_emulator() */
	copy(l, argc, argv);
	name_device(l);
	if (l->devices) {
		add(l, o_device);
		add(l, l->device);
	}
	add(l, o_netdev);
	add(l, l->netdev);
	add(l, NULL);
}

/* --- becoming QEMU --------------------------------------------------------- */

/* Move @fd to number @as, whatever that was, for the program that we become */
static void place(int fd, int as)
{
	if (fd == as)
		return;
	if (dup2(fd, as) < 0)
		die("Can't use descriptor %d: %s", as, util_error(errno));
	close(fd);
}

static const char *qemu_arch(void)
{
#if defined(__i386__)
	return "qemu-system-i386";
#elif defined(__x86_64__)
	return "qemu-system-x86_64";
#elif defined(__aarch64__)
	return "qemu-system-aarch64";
#elif defined(__arm__)
	return "qemu-system-arm";
#elif defined(__s390x__)
	return "qemu-system-s390x";
#elif defined(__powerpc64__)
	return "qemu-system-ppc64";
#elif defined(__riscv)
	return "qemu-system-riscv64";
#else
	return "qemu-system";
#endif
}

static void exec_emulator(struct line *l)
{
	const char *const names[] = { "kvm", "qemu-kvm", qemu_arch(),
				      "/usr/libexec/qemu-kvm" };
	char name[32];
	unsigned i;

	l->argv[0] = name;
	for (i = 0; i < ARRAY_SIZE(names); i++) {
		snprintf(name, sizeof(name), "%s", names[i]);
		execvp(name, l->argv);
		if (errno != ENOENT)
			log_warn("Can't start %s: %s", name, util_error(errno));
	}
	die("No emulator found: neither kvm, qemu-kvm nor %s", qemu_arch());
}

int qrap_main(int argc, char **argv)
{
	uint64_t number = FD_DEFAULT;
	bool given;
	int fd;

	log_init("qrap");
	if (argc < 2) {
		fprintf(stderr, "Usage: %s FD QEMU [ARG]...\n       %s ARG...\n",
			argv[0], argv[0]);
		return EXIT_FAILURE;
	}
	given = argc > 2 && util_parse_u64(argv[1], 10, INT_MAX, &number);
	if (given && number < 3)
		die("Descriptor %s is taken, use 3 or above", argv[1]);
	fd = connect_passt();
	if (fd < 0)
		die("No passt answers at /tmp/passt_1.socket to "
		    "/tmp/passt_%d.socket", PATHS);
	place(fd, (int)number);
	if (!given) {
		edit(&the, argc, argv);
		exec_emulator(&the);
	}
	execvp(argv[2], argv + 2);
	die("Can't start %s: %s", argv[2], util_error(errno));
}
