/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * slirp4netns - the command line and the API socket of slirp4netns, for pasta
 *
 * The options are translated to those of pasta, which is started as a child and
 * joins the namespace.  We stay for what pasta does not have: the "1" that a
 * caller waits for, and the API socket, whose requests become runs of pesto.
 * The child ends when we do, by a pipe (--exit-fd), and another pipe
 * (--ready-fd) tells us when the child ends.
 */
#include "slirp4netns.h"

#include "hostfwd.h"
#include "log.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
	ARGS = 64,
	CLIENT_MS = 5000,
	/* Host numbers in the network, as slirp assigns them */
	GATEWAY = 2,
	RESOLVER = 3,
	GUEST = 100,
};

struct slirp {
	/* as asked for */
	bool configure, ipv6, no_loopback, no_dns, by_path;
	int exit_fd, ready_fd;
	const char *mtu, *api, *cidr, *userns, *mac, *outbound[2];
	const char *target, *tap;
	/* derived from that */
	char gateway[ADDR_TEXT_LEN], resolver[ADDR_TEXT_LEN];
	char guest[ADDR_TEXT_LEN + 4]; /* with its prefix */
	char dir[64], control[80], fds[2][12];
	const char *argv[ARGS];
	unsigned argc;
	/* while it runs */
	pid_t child;
	int ready, tether; /* ends of pipes to the child */
	int api_fd, signal_fd;
	struct hostfwd forwards;
	char request[HOSTFWD_REQUEST], answer[HOSTFWD_ANSWER];
};

static struct slirp the = {
	.exit_fd = -1, .ready_fd = -1, .api_fd = -1,
	.mtu = "1500", .cidr = "10.0.2.0/24", .tap = "tap0",
};

/* --- the command line ---------------------------------------------------- */

/* Callers parse this text for the options that they may use */
static const char usage_text[] =
	"  -c, --configure          Bring up the interface, with an address\n"
	"  -e, --exit-fd=FD         Exit when the other end of FD is closed\n"
	"  -r, --ready-fd=FD        Write \"1\" to FD when all is set up\n"
	"  -m, --mtu=MTU            Default 1500, at most 65521\n"
	"  -6, --enable-ipv6        IPv6, too: fd00::/64\n"
	"  -a, --api-socket=PATH    Add and remove ports while it runs\n"
	"      --cidr=CIDR          Network, default 10.0.2.0/24\n"
	"      --disable-host-loopback\n"
	"                           The gateway is not the host's 127.0.0.1\n"
	"      --netns-type=TYPE    What the target is: path or pid (default)\n"
	"      --userns-path=PATH   User namespace to join\n"
	"      --enable-sandbox     Always so\n"
	"      --enable-seccomp     Always so\n"
	"      --outbound-addr=ADDR|INTERFACE\n"
	"                           Where IPv4 traffic leaves the host\n"
	"      --outbound-addr6=ADDR|INTERFACE\n"
	"                           Where IPv6 traffic leaves the host\n"
	"      --disable-dns        No resolver at 10.0.2.3\n"
	"      --macaddress=MAC     MAC address of the interface\n"
	"      --target-type=netns  The only type there is\n"
	"  -h, --help               Show this help and exit\n"
	"  -v, --version            Show the version and exit\n";

enum { CIDR = 256, LOOPBACK, TYPE, USERNS, NO_EFFECT, OUT4, OUT6, NO_DNS, MAC,
       TARGET };

static const struct option options[] = {
	{ "configure", no_argument, NULL, 'c' },
	{ "exit-fd", required_argument, NULL, 'e' },
	{ "ready-fd", required_argument, NULL, 'r' },
	{ "mtu", required_argument, NULL, 'm' },
	{ "enable-ipv6", no_argument, NULL, '6' },
	{ "api-socket", required_argument, NULL, 'a' },
	{ "cidr", required_argument, NULL, CIDR },
	{ "disable-host-loopback", no_argument, NULL, LOOPBACK },
	{ "netns-type", required_argument, NULL, TYPE },
	{ "userns-path", required_argument, NULL, USERNS },
	{ "enable-sandbox", no_argument, NULL, NO_EFFECT },
	{ "create-sandbox", no_argument, NULL, NO_EFFECT },
	{ "enable-seccomp", no_argument, NULL, NO_EFFECT },
	{ "outbound-addr", required_argument, NULL, OUT4 },
	{ "outbound-addr6", required_argument, NULL, OUT6 },
	{ "disable-dns", no_argument, NULL, NO_DNS },
	{ "macaddress", required_argument, NULL, MAC },
	{ "target-type", required_argument, NULL, TARGET },
	{ "help", no_argument, NULL, 'h' },
	{ "version", no_argument, NULL, 'v' },
	{ 0 },
};

static _Noreturn void usage(FILE *to)
{
	fprintf(to, "Usage: slirp4netns [OPTION]... PID|PATH [TAPNAME]\n\n%s",
		usage_text);
	exit(to == stdout && !fflush(to) ? EXIT_SUCCESS : EXIT_FAILURE);
}

static int descriptor(const char *arg)
{
	uint64_t v;

	if (!util_parse_u64(arg, 10, INT32_MAX, &v) ||
	    fcntl((int)v, F_SETFD, FD_CLOEXEC))
		die("Invalid descriptor: %s", arg);
	return (int)v;
}

static void choose(const char *arg, const char *option, const char *yes,
		   const char *no, bool *is)
{
	*is = !strcmp(arg, yes);
	if (!*is && strcmp(arg, no))
		die("Unsupported %s: %s", option, arg);
}

static void parse_long(struct slirp *s, int c)
{
	bool netns;

	switch (c) {
	case CIDR:
		s->cidr = optarg;
		break;
	case LOOPBACK:
		s->no_loopback = true;
		break;
	case TYPE:
		choose(optarg, "--netns-type", "path", "pid", &s->by_path);
		break;
	case USERNS:
		s->userns = optarg;
		break;
	case OUT4:
	case OUT6:
		s->outbound[c == OUT6] = optarg;
		break;
	case NO_DNS:
		s->no_dns = true;
		break;
	case MAC:
		s->mac = optarg;
		break;
	case TARGET:
		choose(optarg, "--target-type", "netns", "netns", &netns);
		break;
	}
}

static void parse(struct slirp *s, int argc, char **argv)
{
	int c;

	while ((c = getopt_long(argc, argv, "ce:r:m:6a:hv", options, NULL)) !=
	       -1) {
		switch (c) {
		case 'c':
			s->configure = true;
			break;
		case 'e':
			s->exit_fd = descriptor(optarg);
			break;
		case 'r':
			s->ready_fd = descriptor(optarg);
			break;
		case 'm':
			s->mtu = optarg;
			break;
		case '6':
			s->ipv6 = true;
			break;
		case 'a':
			s->api = optarg;
			break;
		case 'h':
			usage(stdout);
		case 'v':
			puts("slirp4netns version 1.2.0\npasta " VERSION);
			exit(fflush(stdout) ? EXIT_FAILURE : EXIT_SUCCESS);
		case '?':
			exit(EXIT_FAILURE);
		default:
			parse_long(s, c);
		}
	}
	if (argc - optind != 1 && argc - optind != 2)
		usage(stderr);
	s->target = argv[optind];
	if (argv[optind + 1])
		s->tap = argv[optind + 1];
}

/* Set the addresses of gateway, resolver and guest in the network, as slirp
 * assigns them */
static void number_network(struct slirp *s)
{
	const char *slash = strchr(s->cidr, '/');
	char text[ADDR_TEXT_LEN];
	struct addr net, a;
	uint64_t len;

	snprintf(text, sizeof(text), "%.*s",
		 slash ? (int)MIN(slash - s->cidr, ADDR_TEXT_LEN - 1) : 0,
		 s->cidr);
	/* The prefix must leave room for host number GUEST */
	if (!slash || !addr_parse(text, &net) || !addr_is_v4(&net) ||
	    !util_parse_u64(slash + 1, 10, 25, &len) || !len)
		die("Invalid CIDR, which needs a prefix of 1 to 25: %s",
		    s->cidr);
	a = addr_mask(&net, (unsigned)len);
	if (!addr_equal(&a, &net))
		die("Invalid CIDR, did you mean %s/%u?", addr_text(&a, text),
		    (unsigned)len);
	a.b[15] = (uint8_t)(net.b[15] + GATEWAY);
	addr_text(&a, s->gateway);
	a.b[15] = (uint8_t)(net.b[15] + RESOLVER);
	addr_text(&a, s->resolver);
	a.b[15] = (uint8_t)(net.b[15] + GUEST);
	s->forwards.guest = a;
	snprintf(s->guest, sizeof(s->guest), "%s/%u", addr_text(&a, text),
		 (unsigned)len);
}

/* --- that of pasta ------------------------------------------------------- */

static void add(struct slirp *s, const char *option, const char *arg)
{
	s->argv[s->argc++] = option;
	if (arg)
		s->argv[s->argc++] = arg;
}

static void add_outbound(struct slirp *s, bool v6)
{
	const char *out = s->outbound[v6];
	struct addr a;

	if (!out)
		return;
	if (addr_parse(out, &a))
		add(s, "-o", out);
	else
		add(s, v6 ? "--outbound-if6" : "--outbound-if4", out);
}

static void add_network(struct slirp *s)
{
	add(s, "-a", s->guest);
	add(s, "-g", s->gateway);
	if (!s->no_dns) {
		add(s, "--dns-forward", s->resolver);
		add(s, "-D", s->resolver);
	}
	if (!s->ipv6) {
		add(s, "-4", NULL);
		return;
	}
	add(s, "-a", "fd00::64");
	add(s, "-g", "fd00::2");
	if (!s->no_dns) {
		add(s, "--dns-forward", "fd00::3");
		add(s, "-D", "fd00::3");
	}
}

static void add_target(struct slirp *s)
{
	if (s->userns)
		add(s, "--userns", s->userns);
	else if (s->by_path)
		add(s, "--netns-only", NULL);
	if (s->by_path)
		add(s, "--netns", s->target);
	else
		add(s, s->target, NULL);
}

static void build(struct slirp *s, int ready, int tether)
{
	snprintf(s->fds[0], sizeof(s->fds[0]), "%d", ready);
	snprintf(s->fds[1], sizeof(s->fds[1]), "%d", tether);
	add(s, "pasta", NULL);
	add(s, "--foreground", NULL);
	add(s, "--quiet", NULL);
	add(s, "--ready-fd", s->fds[0]);
	add(s, "--exit-fd", s->fds[1]);
	add(s, "-t", "none");
	add(s, "-u", "none");
	add(s, "-T", "none");
	add(s, "-U", "none");
	add(s, "-m", s->mtu);
	add(s, "-I", s->tap);
	if (s->configure)
		add(s, "--config-net", NULL);
	if (s->no_loopback)
		add(s, "--no-map-gw", NULL);
	if (s->mac)
		add(s, "--ns-mac-addr", s->mac);
	if (s->control[0])
		add(s, "-c", s->control);
	add_network(s);
	add_outbound(s, false);
	add_outbound(s, true);
	add_target(s);
	s->argv[s->argc] = NULL;
}

/* --- other programs ------------------------------------------------------- */

/* Remove our files, which outlive the process */
static void clean_up(const struct slirp *s)
{
	if (s->api_fd >= 0)
		unlink(s->api);
	if (!s->dir[0])
		return;
	unlink(s->control);
	rmdir(s->dir);
}

static _Noreturn void become(const char *const *argv)
{
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
	execv("/proc/self/exe", (char **)(uintptr_t)argv);
	die("Can't start %s: %s", argv[0], util_error(errno));
}

static void make_pipe(int ends[2])
{
	if (pipe2(ends, O_CLOEXEC))
		die("Can't make a pipe: %s", util_error(errno));
}

static pid_t start(void)
{
	pid_t pid;

	fflush(NULL);
	pid = fork();
	if (pid < 0)
		die("Can't fork: %s", util_error(errno));
	return pid;
}

static void start_pasta(struct slirp *s)
{
	int ready[2], tether[2];

	make_pipe(ready);
	make_pipe(tether);
	build(s, ready[1], tether[0]);
	s->child = start();
	if (!s->child) {
		close(tether[1]);
		fcntl(ready[1], F_SETFD, 0);
		fcntl(tether[0], F_SETFD, 0);
		become(s->argv);
	}
	close(ready[1]);
	close(tether[0]);
	s->ready = ready[0];
	s->tether = tether[1];
}

/* Wait for a child to end and return its exit status */
static int status_of(pid_t pid)
{
	int status;

	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return EXIT_FAILURE;
	return WIFEXITED(status) ? WEXITSTATUS(status) :
				   128 + WTERMSIG(status);
}

/* Add or remove one rule with pesto; on failure @why is the first line of what
 * pesto prints */
static bool edit(struct slirp *s, const struct hostfwd_entry *e, bool add_it,
		 char why[HOSTFWD_WHY])
{
	char spec[160], host[ADDR_TEXT_LEN], guest[ADDR_TEXT_LEN + 1] = "";
	const char *argv[] = { "pesto", add_it ? "-A" : "-D",
			       e->udp ? "-u" : "-t", spec, s->control, NULL };
	size_t len = 0;
	int said[2];
	ssize_t n;
	pid_t pid;

	if (!addr_equal(&e->guest, &s->forwards.guest)) {
		addr_text(&e->guest, guest);
		strcat(guest, "/");
	}
	snprintf(spec, sizeof(spec), "%s/%u:%s%u", addr_text(&e->host, host),
		 e->host_port, guest, e->guest_port);
	make_pipe(said);
	pid = start();
	if (!pid) {
		dup2(said[1], 2);
		become(argv);
	}
	close(said[1]);
	while ((n = read(said[0], why + len, HOSTFWD_WHY - 1 - len)) > 0)
		len += (size_t)n;
	close(said[0]);
	why[len] = '\0';
	why[strcspn(why, "\n")] = '\0';
	return !status_of(pid);
}

static bool change(void *owner, const struct hostfwd_entry *e, bool add_it,
		   char why[HOSTFWD_WHY])
{
	char drop[HOSTFWD_WHY];

	if (edit(owner, e, add_it, why))
		return true;
	/* If its port cannot be bound the rule is there all the same: remove
	 * it */
	if (add_it)
		edit(owner, e, false, drop);
	return false;
}

/* --- the API socket ------------------------------------------------------ */

static void open_api(struct slirp *s)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	const char *tmp = getenv("TMPDIR");

	if (!s->api)
		return;
	if (strlen(s->api) >= sizeof(sun.sun_path))
		die("Invalid path for the API socket: %s", s->api);
	strcpy(sun.sun_path, s->api);
	if (!tmp || tmp[0] != '/' || strlen(tmp) > 40)
		tmp = "/tmp";
	snprintf(s->dir, sizeof(s->dir), "%s/slirp4netns.XXXXXX", tmp);
	if (!mkdtemp(s->dir))
		die("Can't make a directory in %s: %s", tmp,
		    util_error(errno));
	snprintf(s->control, sizeof(s->control), "%s/control", s->dir);
	/* Replace a socket that another process left, as slirp4netns does */
	unlink(s->api);
	s->api_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (s->api_fd < 0 ||
	    bind(s->api_fd, (struct sockaddr *)&sun, sizeof(sun)) ||
	    listen(s->api_fd, 4)) {
		clean_up(s);
		die("Can't listen on %s: %s", s->api, util_error(errno));
	}
}

static int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* Wait for the client until @end.  False: that has passed, or the child, a
 * signal or --exit-fd needs us. */
static bool await(const struct slirp *s, int fd, int64_t end)
{
	struct pollfd p[] = {
		{ .fd = fd, .events = POLLIN },
		{ .fd = s->ready, .events = POLLIN },
		{ .fd = s->exit_fd },
		{ .fd = s->signal_fd, .events = POLLIN },
	};
	int64_t left = end - now_ms();

	return left > 0 && poll(p, ARRAY_SIZE(p), (int)left) > 0 &&
	       p[0].revents && !p[1].revents && !p[2].revents && !p[3].revents;
}

/* Read all that the client sends until it shuts down its side; returns the
 * length, 0: it sends too much, takes too long or fails */
static size_t read_request(const struct slirp *s, int fd,
			   char buf[HOSTFWD_REQUEST])
{
	int64_t end = now_ms() + CLIENT_MS;
	size_t len = 0;
	ssize_t n;

	while (await(s, fd, end)) {
		n = read(fd, buf + len, HOSTFWD_REQUEST - len);
		if (n <= 0)
			return n ? 0 : len;
		len += (size_t)n;
		if (len == HOSTFWD_REQUEST)
			return 0;
	}
	return 0;
}

static void serve(struct slirp *s)
{
	int fd = accept4(s->api_fd, NULL, NULL, SOCK_CLOEXEC);
	const struct timeval patience = { .tv_sec = CLIENT_MS / 1000 };
	size_t len, n;
	ssize_t sent;

	if (fd < 0)
		return;
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	len = read_request(s, fd, s->request);
	if (len) {
		n = hostfwd_request(&s->forwards, s->request, len, s->answer);
		sent = send(fd, s->answer, n, MSG_NOSIGNAL);
		if (sent < 0)
			log_debug("A client has gone: %s", util_error(errno));
	}
	close(fd);
}

/* --- running ------------------------------------------------------------- */

static void hold_signals(struct slirp *s)
{
	static const int ends[] = { SIGTERM, SIGINT, SIGHUP, SIGQUIT };
	sigset_t set;
	unsigned i;

	/* SIGCHLD may be inherited as ignored: then children can't be waited
	 * for */
	signal(SIGCHLD, SIG_DFL);
	/* The reader of our "1" may be gone */
	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&set);
	for (i = 0; i < ARRAY_SIZE(ends); i++)
		sigaddset(&set, ends[i]);
	sigprocmask(SIG_BLOCK, &set, NULL);
	s->signal_fd = signalfd(-1, &set, SFD_CLOEXEC);
	if (s->signal_fd < 0)
		die("Can't watch signals: %s", util_error(errno));
}

/* Read the pipe of --ready-fd: when pasta writes to it, tell the caller and
 * return true; false: it was closed, so pasta has ended */
static bool hear(struct slirp *s)
{
	char b;

	if (read(s->ready, &b, 1) != 1)
		return false;
	if (s->ready_fd >= 0) {
		if (write(s->ready_fd, "1", 1) != 1)
			log_debug("Nobody waits for us");
		close(s->ready_fd);
		s->ready_fd = -1;
	}
	return true;
}

/* Serve until pasta ends, --exit-fd is closed or a signal comes; returns the
 * signal or 0 */
static int run(struct slirp *s)
{
	enum { CHILD, EXIT, SIGNAL, API, POLLS };
	struct pollfd p[POLLS] = {
		[CHILD] = { .fd = s->ready, .events = POLLIN },
		[EXIT] = { .fd = s->exit_fd },
		[SIGNAL] = { .fd = s->signal_fd, .events = POLLIN },
		[API] = { .fd = -1, .events = POLLIN },
	};
	struct signalfd_siginfo si;

	for (;;) {
		if (poll(p, POLLS, -1) < 0)
			continue;
		if (p[CHILD].revents) {
			if (!hear(s))
				return 0;
			/* There is no control socket of pasta before that */
			p[API].fd = s->api_fd;
		}
		if (p[EXIT].revents)
			return 0;
		if (p[SIGNAL].revents &&
		    read(s->signal_fd, &si, sizeof(si)) == sizeof(si))
			return (int)si.ssi_signo;
		if (p[API].revents)
			serve(s);
	}
}

/* Die by signal @number, which was blocked */
static void end_by(int number)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, number);
	signal(number, SIG_DFL);
	raise(number);
	sigprocmask(SIG_UNBLOCK, &set, NULL);
}

int slirp4netns_main(int argc, char **argv)
{
	struct slirp *s = &the;
	int number, status;

	log_init("slirp4netns");
	parse(s, argc, argv);
	number_network(s);
	s->forwards.change = change;
	s->forwards.owner = s;
	hold_signals(s);
	open_api(s);
	start_pasta(s);
	number = run(s);
	close(s->tether);
	status = status_of(s->child);
	clean_up(s);
	if (number)
		end_by(number);
	return status;
}
