/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * passt - the main program, to be read like a table of contents: parse, open,
 * isolate, run
 *
 * All state of the process is in one struct; each module gets pointers to what
 * it uses.  Everything that can fail does so before the process goes to the
 * background, so that whoever started us may take exit status 0 for
 * "configured".
 */
#include "checksum.h"
#include "conf.h"
#include "control.h"
#include "emit.h"
#include "eventpage.h"
#include "flowpage.h"
#include "follow.h"
#include "guest.h"
#include "isolation.h"
#include "log.h"
#include "marker.h"
#include "metrics.h"
#include "migrate.h"
#include "neighwatch.h"
#include "nllink.h"
#include "nslink.h"
#include "passt_repair.h"
#include "pasta.h"
#include "pesto.h"
#include "qrap.h"
#include "renew.h"
#include "resolv.h"
#include "scan.h"
#include "slirp4netns.h"
#include "stats.h"
#include "summary.h"
#include "takeover.h"
#include "tap_stream.h"
#include "tap_tun.h"
#include "tap_vhost.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

struct passt {
	struct conf conf;
	struct loop loop;
	struct pcap pcap;
	struct hostnet hostnet;
	struct egress_local seen_local, local; /* as seen by a look, and in
						  force */
	struct egress_heard heard;
	struct fwd_told told[FWD_TOLD];
	struct renew renew;
	struct netlink nl, nl_ns;
	struct pasta pasta;
	struct ns ns;
	struct neigh neigh;
	struct neighwatch neighwatch;
	struct nslink nslink;
	struct follow follow;
	struct seen seen;
	struct flows flows;
	struct fwd fwd;
	struct resolv resolv;
	struct listen listen;
	struct splice splice;
	struct scan scan;
	struct http http;
	struct metrics metrics;
	struct flowpage flowpage;
	struct events events;
	struct eventpage eventpage;
	struct control control;
	struct chunks chunks;
	struct tcp tcp;
	struct udp udp;
	struct echo echo;
	struct guest guest;
	struct stats stats;
	char ns_ifname[16];
	struct repair repair;
	struct migrate migrate;
	struct handover handover;
	struct takeover takeover;
	struct fdstore store;
	uint64_t leave_ms; /* loop time until which leaving the state in @store
			      is tried, 0: we stay */
	struct timer again;
	struct tap *tap;
	union {
		struct tap_stream stream;
		struct tap_tun tun;
		struct tap_vhost vhost;
	};
	int pid_fd, listen_fd, control_fd, metrics_fd, repair_fd, signal_fd;
	int proc_fd; /* descriptor of /proc, -1: none */
};

enum {
	TX_QUEUE = 10000,
	LINGER_TURN_MS = 10,
	LINGER_FIRST_MS = 100, /* while frames come from the guest */
	LINGER_STILL_MS = 5000, /* as long as nothing moves */
	LINGER_MS = 30 * 1000,
	LINGER_LAST_MS = 300, /* for bytes on the way, if they are lost then */
};

static const char RESOLV_CONF[] = "/etc/resolv.conf";

static struct passt the;

static void must(int err, const char *what)
{
	if (err < 0)
		die("%s: %s", what, util_error(-err));
}

/* Warn before mapping fails: the tables are large, though hardly used */
static void look_at_limits(void)
{
	enum { RESERVED_MIB = 512 };
	struct rlimit l;

	if (!getrlimit(RLIMIT_AS, &l) && l.rlim_cur >> 20 < RESERVED_MIB)
		log_warn("Address space is limited to %u MiB (ulimit -v), "
			 "up to %u are reserved",
			 (unsigned)(l.rlim_cur >> 20), (unsigned)RESERVED_MIB);
}

static void become_user(struct passt *p)
{
	const struct conf *c = &p->conf;
	uid_t was = geteuid();

	isolation_user(c);
	p->takeover.became = geteuid() != was;
	p->takeover.anybody = p->takeover.became && !c->runas;
}

/* --- a predecessor -------------------------------------------------------- */

static bool takes_over(const struct passt *p)
{
	return p->conf.takeover[0];
}

/* Find what the service manager keeps for us, if it does */
static void open_store(struct passt *p)
{
	int err = p->conf.fd_store ? fdstore_open(&p->store) : 0;

	if (err)
		log_warn("--fd-store: no service manager: %s",
			 util_error(-err));
	if (p->conf.takeover[0])
		p->store.from = -1; /* a running predecessor's state is newer */
	if (p->store.n)
		isolation_inherited();
	if (p->store.from < 0 && p->store.n)
		fdstore_end(&p->store);
}

/* Ask the predecessor for an offer.  One that is named by its PID must be of
 * the user that we will be; for a control socket its file decides. */
static void ask_predecessor(struct passt *p)
{
	const struct conf *c = &p->conf;
	bool become = c->runas && !geteuid() &&
		      takeover_by_number(c->takeover);

	if (p->store.from >= 0) {
		takeover_resume(&p->takeover, &p->store);
		strcpy(p->conf.takeover, "-");
		return;
	}
	if (!takes_over(p))
		return;
	if (become && seteuid(c->uid))
		die("Can't become user %u: %s", (unsigned)c->uid,
		    util_error(errno));
	takeover_ask(&p->takeover, c->takeover);
	if (become && seteuid(0))
		die("Can't be root again: %s", util_error(errno));
}

/* The guest's network stays as the predecessor has it */
static void copy_predecessor(struct passt *p)
{
	if (takes_over(p))
		takeover_load_lan(&p->takeover);
}

/* --- open what needs our privileges -------------------------------------- */

/* The signals that ask us to end */
static void ends(sigset_t *set)
{
	sigemptyset(set);
	sigaddset(set, SIGTERM);
	sigaddset(set, SIGQUIT);
}

static void end_early(int number)
{
	(void)number;
	_exit(EXIT_SUCCESS);
}

/* Let signals end the process while a file is opened: opening a FIFO waits for
 * its reader, who may not come.  Nothing has been done yet that would have to
 * be undone. */
static void let_signals(bool on)
{
	struct sigaction act = { .sa_handler = end_early };
	sigset_t set;

	ends(&set);
	sigaction(SIGTERM, &act, NULL);
	sigaction(SIGQUIT, &act, NULL);
	sigprocmask(on ? SIG_UNBLOCK : SIG_BLOCK, &set, NULL);
}

static void open_files(struct passt *p)
{
	struct conf *c = &p->conf;
	int err;

	p->pcap.fd = p->pid_fd = p->listen_fd = p->control_fd =
		p->metrics_fd = p->repair_fd = -1;
	repair_init(&p->repair);
	if (c->log_file[0]) {
		err = log_file(c->log_file, c->log_size, VERSION,
			       takes_over(p));
		if (err)
			die("Couldn't open log file %s: %s", c->log_file,
			    util_error(-err));
	} else if (!c->debug) {
		log_open_syslog();
	}
	if (c->pid_file[0]) {
		let_signals(true);
		/* The predecessor's PID is in there until it has gone */
		p->pid_fd = open(c->pid_file, O_CREAT | O_WRONLY | O_CLOEXEC |
				 (takes_over(p) ? 0 : O_TRUNC), 0600);
		let_signals(false);
		if (p->pid_fd < 0)
			die("Couldn't open PID file %s: %s", c->pid_file,
			    util_error(errno));
	}
}

/* Whether @s looks like an argument of -p of Docker and Podman */
static bool is_ports(const char *s)
{
	return strchr(s, ':') && !s[strspn(s, "0123456789.:-")];
}

/* Open the capture, unless that of a predecessor goes on */
static void open_capture(struct passt *p)
{
	struct conf *c = &p->conf;
	int err;

	c->capture.program = c->mode == MODE_PASTA ? "pasta " VERSION :
						     "passt " VERSION;
	if (!c->pcap[0] || takeover_has(&p->takeover, HANDOVER_CAPTURE))
		return;
	if (is_ports(c->pcap))
		log_warn("A capture goes to the file %s: ports are forwarded by -t",
			 c->pcap);
	let_signals(true);
	err = pcap_open(&p->pcap, c->pcap, &c->capture);
	let_signals(false);
	if (err == -ESPIPE)
		die("--pcap-size needs a regular file, %s is none", c->pcap);
	if (err)
		log_err("Couldn't open capture file %s: %s", c->pcap,
			util_error(-err));
}

static int bind_socket(char *path)
{
	int fd = tap_stream_bind(path);

	if (fd == -EADDRINUSE)
		die("Socket path %s already in use", path);
	if (fd < 0)
		die("Failed to bind UNIX domain socket %s: %s", path,
		    util_error(-fd));
	return fd;
}

/* Bind the socket for passt-repair, next to the guest's unless another path was
 * given */
static void bind_repair(struct passt *p)
{
	struct conf *c = &p->conf;
	size_t size = sizeof(c->repair);
	bool given = c->repair[0];

	if (takeover_has(&p->takeover, HANDOVER_REPAIR))
		return;
	if (c->mode != MODE_VHOST || !strcmp(c->repair, "none") ||
	    (!given && c->fd >= 0))
		return;
	if (!given && (size_t)snprintf(c->repair, size, "%s.repair",
				       c->socket) >= size) {
		log_warn("No socket for passt-repair: its path would be too "
			 "long");
		return;
	}
	p->repair_fd = given ? bind_socket(c->repair) :
			       tap_stream_bind(c->repair);
	if (p->repair_fd < 0) /* it was not asked for */
		log_warn("No socket %s for passt-repair: %s", c->repair,
			 util_error(-p->repair_fd));
}

static void bind_sockets(struct passt *p)
{
	struct conf *c = &p->conf;

	if (c->mode != MODE_PASTA && c->fd < 0 && !takes_over(p))
		p->listen_fd = bind_socket(c->socket);
	if (c->control[0] && !takeover_has(&p->takeover, HANDOVER_CONTROL))
		p->control_fd = bind_socket(c->control);
	if (c->metrics[0] && !takeover_has(&p->takeover, HANDOVER_METRICS))
		p->metrics_fd = bind_socket(c->metrics);
	bind_repair(p);
	if (c->control[0]) {
		takeover_by(&p->takeover, c->control);
		p->control.takeover = &p->takeover;
	}
}

/* Opened with the rights that we will have when the guest asks, while paths
 * still lead somewhere */
static void open_tftp(struct passt *p)
{
	const char *path = p->conf.tftp;
	int err = *path ? tftp_open(&p->guest.tftp, path) : 0;

	if (err)
		die("Can't serve files of %s: %s%s", path, util_error(-err),
		    err == -ENOSYS ? " (--tftp needs Linux 5.6)" : "");
}

/* A user who asks for marks relies on them */
static void mark_sockets(struct conf *c)
{
	int err = c->mark ? marker_start(&c->sock, c->mark) : 0;

	if (err)
		die("Can't mark sockets: %s%s", util_error(-err),
		    err == -EPERM ? " (--mark needs CAP_NET_ADMIN or "
				    "CAP_NET_RAW)" : "");
}

/* --- the host and the namespace ------------------------------------------- */

static void find_templates(struct passt *p)
{
	struct hostnet *h = &p->hostnet;
	struct conf *c = &p->conf;

	if (c->ifname[0] && !nllink_index(&p->nl, c->ifname))
		die("Invalid interface name %s: %s", c->ifname,
		    util_error(ENODEV));
	*h = (struct hostnet){ .nl = &p->nl,
			       .on = { c->lan.v4, c->lan.v6 },
			       .given = { c->lan.fixed4, c->lan.fixed6 } };
	h->ifname[0] = c->ifname[0] ? c->ifname : c->sock.if4;
	h->ifname[1] = c->ifname[0] ? c->ifname : c->sock.if6;
	if (c->splice_only)
		return;
	if (c->map.egress)
		h->local = &p->seen_local;
	must(hostnet_look(h), "Failed to read routes");
	memcpy(p->renew.host.t, h->view.t, sizeof(h->view.t));
	p->local = p->seen_local;
	if (p->local.many)
		log_warn("The host has more than %u networks: where local ones "
			 "are denied, all are", EGRESS_LOCALS);
}

static void find_resolvers(struct passt *p)
{
	int fd = open(RESOLV_CONF, O_RDONLY | O_NONBLOCK | O_CLOEXEC);

	if (fd < 0 || resolvconf_read(&p->renew.host.rc, fd))
		resolvconf_begin(&p->renew.host.rc);
	if (fd >= 0)
		close(fd);
}

/* Warn if the host does not have an address of --outbound: it may come later,
 * but nothing leaves the host until then */
static void check_source(const struct sock_env *e, const struct addr *a)
{
	char text[ADDR_TEXT_LEN];
	int fd;

	if (addr_is_none(a) || e->freebind)
		return;
	fd = sock_udp_fresh(addr_is_v4(a));
	if (fd < 0)
		return;
	if (sock_bind(e, fd, a, 0) == -EADDRNOTAVAIL)
		log_warn("The host does not have the address of --outbound: %s",
			 addr_text(a, text));
	sock_close(fd);
}

/* Find out what the host's network is, and plan the guest's */
static void make_plan(struct passt *p)
{
	struct renew *r = &p->renew;

	find_templates(p);
	find_resolvers(p);
	renew_init(r, &p->conf);
	plan_check(&p->conf, &r->host, &r->plan);
	check_source(&r->env, &r->env.out4);
	check_source(&r->env, &r->env.out6);
	plan_ifname(&p->conf, &r->host, p->ns_ifname);
}

static int open_netlink(void *arg)
{
	return nl_open(arg);
}

static int in_namespace(void *owner, int (*fn)(void *arg), void *arg)
{
	return pasta_in_ns(owner, fn, arg);
}

/* Sockets made in the namespace have nothing to do with --outbound and the
 * like */
static void describe_namespace(struct passt *p)
{
	const struct sock_env *e = &p->renew.env;

	p->ns = (struct ns){ .run = in_namespace, .owner = &p->pasta,
			     .env = *e };
	p->ns.env.out4 = p->ns.env.out6 = (struct addr){ 0 };
	p->ns.env.if4[0] = p->ns.env.if6[0] = '\0';
	p->ns.env.scope = 0;
	p->ns.env.mark = 0;
	p->ns.env.inside = true;
}

static void open_namespace(struct passt *p)
{
	const struct conf *c = &p->conf;
	bool outside;

	p->pasta.userns = p->pasta.netns = -1;
	if (!conf_has_ns(c)) {
		if (c->mode == MODE_PASTA)
			isolation_inherited();
		return;
	}
	if (access("/proc/self/ns/net", F_OK))
		die("Can't find namespaces in /proc: %s", util_error(errno));
	outside = isolation_userns(c);
	pasta_open(&p->pasta, c, outside);
	isolation_inherited();
}

/* The tap device exists already and is configured: only find it */
static void find_tap(struct passt *p)
{
	if (!conf_has_ns(&p->conf) || p->conf.splice_only)
		return;
	must(pasta_in_ns(&p->pasta, open_netlink, &p->nl_ns),
	     "Failed to open netlink socket in namespace");
	p->ns.env.scope = nllink_index(&p->nl_ns, p->ns_ifname);
}

static void set_up_namespace(struct passt *p)
{
	struct conf *c = &p->conf;
	int tun[TUN_LANES], err;
	unsigned index;

	takeover_serves(&p->takeover, p->pasta.netns);
	if (takes_over(p)) {
		find_tap(p);
		return;
	}
	if (c->mode != MODE_PASTA)
		return;
	if (c->fd >= 0) {
		must(tap_tun_adopt(&p->tun, c->fd, p->ns_ifname),
		     "Invalid tap descriptor");
		find_tap(p);
		return;
	}
	if (c->splice_only)
		return;
	pasta_tun(&p->pasta, tun, TUN_LANES);
	err = tap_tun_open(&p->tun, tun, TUN_LANES, p->ns_ifname);
	if (err)
		die("Failed to set up tap device %s in namespace: %s%s",
		    p->ns_ifname, util_error(-err),
		    err == -EINVAL || err == -EBUSY ?
			    " (is there one of that name? See --ns-ifname)" :
			    "");
	must(pasta_in_ns(&p->pasta, open_netlink, &p->nl_ns),
	     "Failed to open netlink socket in namespace");
	index = nllink_index(&p->nl_ns, p->ns_ifname);
	/* A queue that holds whole windows: what exceeds it is lost */
	must(nllink_set(&p->nl_ns, index,
			 c->ns_mac_set ? &c->ns_mac : NULL, 0, TX_QUEUE, false),
	     "Failed to set up namespace interface");
	/* No queueing discipline: nothing waits in front of a tap device, and
	 * each of its 256 queues would have lists for 10000 frames */
	(void)nllink_unqueue(&p->nl_ns, index);
	must(nllink_mac(&p->nl_ns, index, &p->seen.mac),
	     "Failed to read MAC address of namespace interface");
	if (c->config_net) {
		err = nslink_configure(&p->nslink, &p->nl, &p->nl_ns, index,
				       &p->renew);
		must(err, "Failed to configure namespace interface");
	}
	tap_tun_link(&p->tun, nllink_queue(&p->nl_ns, index),
		     nllink_knows_big_tcp(&p->nl_ns, index));
	p->ns.env.scope = index;
}

static void watch_neighbours(struct passt *p)
{
	const struct template *t = p->renew.host.t;
	const unsigned ifindex[2] = { t[0].ifindex, t[1].ifindex };

	must(neighwatch_start(&p->neighwatch, &p->loop, &p->nl, &p->fwd,
			      &p->guest, ifindex), "Failed to watch neighbours");
}

/* Where that fails, as with kernels that refuse the socket, the network stays
 * what it was at the start */
static void follow_host(struct passt *p)
{
	int err;

	if (p->conf.no_follow || p->conf.splice_only)
		return;
	p->follow = (struct follow){ .loop = &p->loop,
				     .renew = &p->renew,
				     .neigh = &p->neighwatch,
				     .flows = &p->flows,
				     .listen = &p->listen,
				     .events = &p->events,
				     .local = &p->local };
	if (p->nslink.ns)
		p->follow.link = &p->nslink;
	err = follow_start(&p->follow, &p->hostnet);
	if (err)
		log_warn("Can't follow the host's network: %s",
			 util_error(-err));
}

/* --- the daemon ------------------------------------------------------------ */

static void look_again(void *owner, struct timer *t)
{
	(void)owner;
	(void)t;
}

/* Leave the state with the service manager, at the end of a turn, when
 * everything is at rest */
static void put_away(struct passt *p)
{
	uint64_t now = p->loop.now_ms;
	int err;

	err = takeover_store(&p->takeover, &p->store);
	if (err == -EAGAIN && now < p->leave_ms) {
		timer_set(&p->loop.timers, &p->again, now + 10);
		return;
	}
	if (err) {
		log_warn("Connections can't be kept: %s", util_error(-err));
		p->leave_ms = 0; /* there may be more turns */
		loop_leave(&p->loop, EXIT_SUCCESS, true);
	} else {
		log_info("The service manager keeps all, exiting");
		loop_quit(&p->loop, EXIT_SUCCESS);
	}
}

static void turn_end(void *owner)
{
	struct passt *p = owner;

	if (!p->conf.splice_only)
		guest_turn_end(&p->guest);
	flows_tidy(&p->flows);
	eventpage_turn_end(&p->eventpage);
	takeover_turn_end(&p->takeover);
	if (UNLIKELY(p->leave_ms))
		put_away(p);
	if (UNLIKELY(p->conf.stats_on) &&
	    stats_turn(&p->stats, p->loop.now_ms))
		loop_soon(&p->loop);
}

static void signal_event(void *owner, uint64_t ref, uint32_t events)
{
	struct signalfd_siginfo si;
	struct passt *p = owner;

	(void)ref;
	(void)events;
	if (read(p->signal_fd, &si, sizeof(si)) != sizeof(si))
		return;
	if (p->store.to < 0)
		loop_leave(&p->loop, EXIT_SUCCESS, true);
	else
		p->leave_ms = p->loop.now_ms + TAKEOVER_READY_MS;
}

/* Undo what our parent did with signals: where SIGCHLD is ignored no child can
 * be waited for.  But if the signals of a terminal are ignored, as by nohup or
 * for a shell's background job, that is meant for us. */
static void reset_signals(void)
{
	int n;

	for (n = 1; n < NSIG; n++)
		if (n != SIGHUP && n != SIGINT && n != SIGTSTP &&
		    n != SIGTTIN && n != SIGTTOU)
			signal(n, SIG_DFL);
	signal(SIGPIPE, SIG_IGN);
	/* Writing to a file that may not grow fails then */
	signal(SIGXFSZ, SIG_IGN);
}

/* From the first moment on, whoever stops us gets status 0.  These signals wait
 * until the loop runs, except during let_signals(). */
static void hold_signals(void)
{
	sigset_t set;

	ends(&set);
	sigprocmask(SIG_SETMASK, &set, NULL);
}

static void watch_signals(struct passt *p)
{
	sigset_t set;

	ends(&set);
	p->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (p->signal_fd < 0)
		die("Failed to watch signals: %s", util_error(errno));
	must(loop_add(&p->loop, p->signal_fd,
		      loop_watch(&p->loop, signal_event, p), 0, EPOLLIN),
	     "Failed to watch signals");
}

static void start_modules(struct passt *p)
{
	const struct conf *c = &p->conf;
	struct lan *lan = &p->renew.plan.lan;

	p->tap = c->mode == MODE_PASTA ? &p->tun.tap :
		 c->mode == MODE_VHOST ? &p->vhost.tap :
					 &p->stream.tap;
	if (c->mode != MODE_PASTA)
		memset(&p->seen.mac, 0xff, sizeof(p->seen.mac));
	lan->frame_max = &p->tap->caps.frame_max;
	p->seen.v4 = lan->guest4;
	p->seen.v6 = lan->guest6;
	if (conf_has_ns(c))
		describe_namespace(p);
	must(flows_init(&p->flows, &p->loop), "Failed to map flow table");
	fwd_init(&p->fwd, lan, &p->seen, &p->renew.plan.map, &p->renew.env);
	p->fwd.view = (struct egress_view){
		.local = &p->local, .now_ms = &p->loop.now_ms,
		.heard = egress_names(&c->egress) ? &p->heard : NULL,
	};
	p->fwd.told = p->fwd.view.heard ? p->told : NULL;
	if (p->fwd.view.heard && !fwd_may_ask(&p->fwd))
		log_warn("--allow-out: names stand for nothing, as the guest may "
			 "not ask the host's resolvers: see \"dns\"");
	must(listen_init(&p->listen, &p->loop, &p->renew.env,
			 p->ns.run ? &p->ns : NULL),
	     "Failed to map forwarding table");
	p->listen.events = &p->events;
	p->listen.follows = !c->no_follow && !c->splice_only;
	must(tcp_init(&p->tcp, &p->flows, p->tap, &p->fwd, &p->listen,
		      &p->neigh, &p->chunks), "Failed to start TCP");
	udp_init(&p->udp, &p->flows, p->tap, &p->fwd, &p->listen, &p->neigh);
	if (!c->no_mcast && !c->splice_only && lan->udp)
		mcast_sock_start(&p->udp.mcast);
	echo_init(&p->echo, &p->flows, p->tap, &p->fwd, &p->neigh);
	guest_init(&p->guest, &p->loop, &p->flows, p->tap, lan, &p->seen,
		   &p->neigh);
	guest_protocols(&p->guest, &p->tcp, &p->udp, &p->echo);
	loop_poll(&p->loop, c->busy_poll);
	p->loop.turn_end = turn_end;
	p->loop.turn_owner = p;
	stats_init(&p->stats, &p->metrics, c->stats_s, c->stats_json);
}

/* Describe all that can be handed over, for either side */
static void describe_handover(struct passt *p)
{
	struct conf *c = &p->conf;

	p->handover = (struct handover){
		.conf = c, .plan = &p->renew.plan, .ns_ifname = p->ns_ifname,
		.tap = p->tap, .tun = &p->tun,
		.stream = &p->stream, .vhost = &p->vhost,
		.migrate = &p->migrate, .flows = &p->flows, .fwd = &p->fwd,
		.listen = &p->listen, .tcp = &p->tcp,
		.splice = p->ns.run ? &p->splice : NULL, .guest = &p->guest,
		.pcap = &p->pcap,
		.socket = { [HANDOVER_GUEST] = &p->listen_fd,
			    [HANDOVER_CONTROL] = &p->control_fd,
			    [HANDOVER_METRICS] = &p->metrics_fd,
			    [HANDOVER_EXIT] = &c->exit_fd,
			    [HANDOVER_REPAIR] = &p->repair_fd,
			    [HANDOVER_HELPER] = &p->repair.fd,
			    [HANDOVER_CAPTURE] = &p->pcap.fd },
	};
	p->takeover.command = c->spawn;
}

/* Divide the descriptors that listeners leave: otherwise the guest could use
 * all of them, and forwarded ports would be dead */
static void share_descriptors(struct passt *p)
{
	flows_share(&p->flows, listen_left(&p->listen));
}

/* Start to forward from socket to socket: between loopback addresses, and to
 * the namespace */
static void start_splicing(struct passt *p)
{
	int err;

	if (!p->ns.run)
		return;
	splice_init(&p->splice, &p->flows, &p->fwd, &p->ns);
	tcp_splice(&p->tcp, &p->splice);
	if (!takes_over(p) &&
	    listen_start(&p->listen, PIF_SPLICE, &p->conf.ns))
		die("Couldn't listen on requested ports");
	err = scan_init(&p->scan, &p->loop, &p->flows, &p->listen, &p->ns);
	if (err)
		log_warn("No automatic forwarding: %s", util_error(-err));
	else if (!takes_over(p))
		scan_start(&p->scan);
}

static void start_stream(struct passt *p)
{
	const struct conf *c = &p->conf;

	must(tap_stream_init(&p->stream, &p->loop, &p->pcap, p->guest.watch,
			     c->one_off || c->fd >= 0),
	     "Failed to map frame buffers");
	if (takes_over(p))
		return;
	if (c->fd >= 0)
		must(tap_stream_adopt(&p->stream, c->fd),
		     "Invalid --fd descriptor");
	else
		must(tap_stream_listen(&p->stream, p->listen_fd),
		     "Failed to watch UNIX domain socket");
}

static void start_repair(struct passt *p)
{
	if (p->repair_fd >= 0)
		must(repair_start(&p->repair, &p->loop, p->repair_fd),
		     "Failed to watch socket for passt-repair");
}

static void start_migration(struct passt *p)
{
	must(migrate_init(&p->migrate, &p->tcp, &p->seen, &p->repair),
	     "Failed to map migration buffers");
	p->migrate.exit_after = p->conf.migrate_exit;
	p->migrate.no_linger = p->conf.migrate_no_linger;
	tap_vhost_moves(&p->vhost, &p->migrate.state);
	if (!takes_over(p))
		start_repair(p);
}

static void start_vhost(struct passt *p)
{
	const struct conf *c = &p->conf;

	must(tap_vhost_init(&p->vhost, &p->loop, &p->pcap, p->guest.watch,
			    c->one_off || c->fd >= 0),
	     "Failed to map frame buffers");
	start_migration(p);
	if (takes_over(p))
		return;
	if (c->fd >= 0)
		must(tap_vhost_adopt(&p->vhost, c->fd),
		     "Invalid --fd descriptor");
	else
		must(tap_vhost_listen(&p->vhost, p->listen_fd),
		     "Failed to watch UNIX domain socket");
}

static void start_transport(struct passt *p)
{
	const struct conf *c = &p->conf;
	unsigned watch = p->guest.watch;

	if (c->splice_only)
		return;
	if (c->mode == MODE_PASTA && takes_over(p))
		return;
	if (c->mode == MODE_PASTA)
		must(tap_tun_start(&p->tun, &p->loop, &p->pcap, watch),
		     "Failed to watch tap device");
	else if (c->mode == MODE_VHOST)
		start_vhost(p);
	else
		start_stream(p);
	emit_init(p->tap, c->lan.mtu);
}

/* Rules with RULE_SCAN may be new, or the last one gone */
static void rules_changed(void *owner)
{
	struct passt *p = owner;

	share_descriptors(p);
	if (p->ns.run)
		scan_start(&p->scan);
}

static void start_control(struct passt *p)
{
	const struct conf *c = &p->conf;

	if (p->control_fd < 0)
		return;
	p->control.changed = rules_changed;
	p->control.owner = p;
	must(control_start(&p->control, &p->loop, &p->listen, &c->rules_env,
			   &p->http, p->control_fd),
	     "Failed to watch control socket");
}

static void start_metrics(struct passt *p)
{
	const struct conf *c = &p->conf;
	struct metrics *m = &p->metrics;

	m->guest = &p->guest;
	m->listen = &p->listen;
	m->mode = c->mode == MODE_PASTA ? "pasta" :
		  c->mode == MODE_VHOST ? "vhost-user" : "passt";
	strcpy(m->label, c->label);
	metrics_start(m);
	p->flowpage = (struct flowpage){ &p->flows, m->label };
}

static void start_http(struct passt *p)
{
	p->metrics.proc = -1;
	if (p->control_fd >= 0 || p->metrics_fd >= 0 || p->conf.stats_json)
		p->metrics.proc = p->proc_fd;
	if (p->control_fd < 0 && p->metrics_fd < 0)
		return;
	http_init(&p->http, &p->loop);
	http_page(&p->http, &metrics_page, &p->metrics);
	http_page(&p->http, &flowpage, &p->flowpage);
	p->eventpage = (struct eventpage){ &p->http, &p->events, p->events.n };
	http_page(&p->http, &eventpage, &p->eventpage);
	if (p->metrics_fd >= 0)
		must(http_listen(&p->http, p->metrics_fd),
		     "Failed to watch metrics socket");
}

static void confine(const struct passt *p, bool empty)
{
	int dir[RESOLV_DIRS + 1];
	unsigned n = 0;

	for (; n < p->resolv.dirs; n++)
		dir[n] = p->resolv.dir[n].fd;
	if (p->guest.tftp.dir >= 0)
		dir[n++] = p->guest.tftp.dir;
	isolation_files(&p->conf, empty, dir, n);
}

/* The other programs, each a link to this file.  Packages may append something
 * to the names, to install them beside those of another package. */
static const struct program {
	const char *name;
	int (*main)(int argc, char **argv);
} programs[] = {
	{ "pesto", pesto_main },
	{ "qrap", qrap_main },
	{ "passt-repair", passt_repair_main },
	{ "slirp4netns", slirp4netns_main },
};

static const struct program *other_program(int argc, char **argv)
{
	const char *base = argc ? strrchr(argv[0], '/') : NULL;
	unsigned i;

	base = base ? base + 1 : argc ? argv[0] : "";
	for (i = 0; i < ARRAY_SIZE(programs); i++)
		if (!strncmp(base, programs[i].name, strlen(programs[i].name)))
			return &programs[i];
	return NULL;
}

static void on_exit_fd(void *owner, uint64_t ref, uint32_t events)
{
	struct passt *p = owner;

	(void)ref;
	(void)events;
	log_info("--exit-fd was closed, exiting");
	loop_del(&p->loop, p->conf.exit_fd);
	loop_leave(&p->loop, EXIT_SUCCESS, false);
}

/* What may be read from it is not for us */
static void watch_exit_fd(struct passt *p)
{
	if (p->conf.exit_fd >= 0)
		must(loop_add(&p->loop, p->conf.exit_fd,
			      loop_watch(&p->loop, on_exit_fd, p), 0,
			      EPOLLRDHUP), "Can't watch --exit-fd");
}

/* There is no listening socket if the predecessor had --fd */
static void take_front_ends(struct passt *p)
{
	int err = 0;

	if (p->conf.mode == MODE_VHOST)
		start_repair(p);
	if (p->listen_fd < 0)
		return;
	if (p->conf.mode == MODE_VHOST)
		err = tap_vhost_listen(&p->vhost, p->listen_fd);
	else
		err = tap_stream_listen(&p->stream, p->listen_fd);
	must(err, "Failed to watch UNIX domain socket");
}

/* Take over everything from our predecessor, which waits */
static void take_over(struct passt *p)
{
	const struct conf *c = &p->conf;

	if (!takes_over(p))
		return;
	takeover_take(&p->takeover);
	if (c->splice_only)
		return;
	emit_init(p->tap, p->renew.plan.lan.mtu);
	if (c->mode == MODE_PASTA)
		must(tap_tun_start(&p->tun, &p->loop, &p->pcap,
				   p->guest.watch),
		     "Failed to watch tap device");
	else
		take_front_ends(p);
}

/* Only once we are the process that serves */
static void guard_front_ends(struct passt *p)
{
	if (p->conf.mode == MODE_VHOST && p->listen_fd >= 0)
		must(tap_vhost_guard(&p->vhost, p->listen_fd),
		     "Failed to hear of clients by a signal");
}

/* Have the predecessor go; false: it has not */
static bool taken_over(struct passt *p)
{
	int err;

	if (!takes_over(p))
		return true;
	err = takeover_commit(&p->takeover);
	if (err) {
		isolation_failed("Can't take over", -err);
		return false;
	}
	p->conf.takeover[0] = '\0';
	rules_changed(p);
	return true;
}

/* Let a successor come; and close /proc if metrics do not need it */
static void offer_takeover(struct passt *p)
{
	takeover_offer(&p->takeover, p->proc_fd);
	if (p->proc_fd >= 0 && p->metrics.proc < 0)
		close(p->proc_fd);
}

/* Reset streams whose end nobody has said, as nobody may take a part for the
 * whole; and have the guest hear of that */
static void cut_off(struct passt *p)
{
	struct loop *l = &p->loop;
	uint64_t begun = l->now_ms;
	bool now = false;

	l->quit = false;
	while (l->leaves && !now) { /* else somebody has taken over */
		now = l->quit || l->now_ms - begun >= LINGER_LAST_MS;
		now = !flows_cut(&p->flows, now) || now;
		l->quit |= now;
		timer_set(&l->timers, &p->again, l->now_ms + LINGER_TURN_MS);
		loop_turn(l);
	}
}

/* Serve streams for a while after everything else has ended, so that bytes
 * under way are delivered; but whoever waits for our end must not wait for
 * long. */
static void linger(struct passt *p)
{
	uint64_t begun = p->loop.now_ms, moved = begun, owed, was, frames;
	struct loop *l = &p->loop;
	int status = l->status;

	/* First process what has arrived already */
	do {
		frames = p->tap->count.frames[0];
		loop_turn(l);
		owed = flows_owed(&p->flows);
	} while (p->tap->count.frames[0] != frames &&
		 l->now_ms - begun < LINGER_FIRST_MS);
	if (owed)
		listen_end(&p->listen); /* others may be waiting for the
					   ports */
	l->quit = l->hurries || !l->leaves;
	while (!l->quit && owed && l->now_ms - moved < LINGER_STILL_MS &&
	       l->now_ms - begun < LINGER_MS) {
		timer_set(&l->timers, &p->again, l->now_ms + LINGER_TURN_MS);
		loop_turn(l);
		was = owed;
		owed = flows_owed(&p->flows);
		if (owed != was)
			moved = l->now_ms;
	}
	cut_off(p);
	l->status = status;
}

/* Close first what somebody else may be waiting for: the kernel would close it
 * after the namespace and the rest, in the order of descriptors */
static void leave(struct passt *p)
{
	listen_end(&p->listen);
	udp_end(&p->udp);
	if (p->listen_fd >= 0)
		close(p->listen_fd);
	if (p->control_fd >= 0)
		close(p->control_fd);
	if (p->metrics_fd >= 0)
		close(p->metrics_fd);
	if (p->repair_fd >= 0)
		close(p->repair_fd);
	if (conf_has_ns(&p->conf))
		pasta_end(&p->pasta);
	pcap_sync(&p->pcap);
	log_sync();
	takeover_leave(&p->takeover);
}

int main(int argc, char **argv)
{
	const struct program *other;
	struct passt *p = &the;
	struct conf *c = &p->conf;
	struct given given;
	bool empty;

	other = other_program(argc, argv);
	if (other) {
		/* Writing to a descriptor that was closed fails as it would
		 * have */
		isolation_stdio(O_RDONLY);
		return other->main(argc, argv);
	}
	util_spare_memory();
	c->mode = conf_mode(argc, argv, &given);
	pasta_inherit();
	reset_signals();
	hold_signals();
	fdstore_inherit(&p->store, given.store);
	isolation_start(&given, p->store.n || c->mode == MODE_PASTA);
	log_init(c->mode == MODE_PASTA ? "pasta" : "passt");
	csum_init();
	must(loop_init(&p->loop), "Failed to create epoll instance");
	sock_init(&c->sock);
	p->handover = (struct handover){ .conf = c, .plan = &p->renew.plan,
					 .ns_ifname = p->ns_ifname };
	takeover_init(&p->takeover, &p->loop, &p->handover);

	conf_parse(c, argc, argv);
	if (c->fd >= 0 && !takes_over(p))
		c->fd = given.guest;
	if (c->ready_fd >= 0)
		c->ready_fd = given.ready;
	if (c->exit_fd >= 0)
		c->exit_fd = given.exit;
	if (listen_limit(&c->host, &c->ns))
		return EXIT_FAILURE;
	look_at_limits();
	open_store(p);
	open_files(p);
	ask_predecessor(p);
	open_capture(p);
	bind_sockets(p);

	become_user(p);
	mark_sockets(c);
	must(nl_open(&p->nl), "Failed to open netlink socket");
	make_plan(p);
	copy_predecessor(p);
	start_modules(p);
	describe_handover(p);
	open_tftp(p);
	/* The right to low ports of the host may end here, with the user
	 * namespace */
	if (!takes_over(p) && listen_start(&p->listen, PIF_HOST, &c->host))
		die("Couldn't listen on requested ports");

	open_namespace(p);
	set_up_namespace(p);
	start_splicing(p);
	watch_neighbours(p);
	renew_start(&p->renew, &p->fwd, &p->guest);
	resolv_open(&p->resolv, &p->loop, &p->renew, RESOLV_CONF);
	p->resolv.events = &p->events;
	follow_host(p);
	start_transport(p);
	summary_print(c, &p->renew.host, &p->renew.plan, p->ns_ifname);

	p->proc_fd = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
	empty = isolation_sandbox(c, p->pasta.userns);
	isolation_daemon(c, p->pid_fd);
	watch_signals(p);
	timer_init(&p->again, look_again, p);
	if (conf_has_ns(c))
		must(pasta_watch(&p->pasta, &p->loop, c),
		     "Failed to watch namespace");
	take_over(p);
	guard_front_ends(p);
	share_descriptors(p);
	start_http(p);
	start_control(p);
	watch_exit_fd(p);
	isolation_detach();
	offer_takeover(p);
	loop_start(&p->loop);
	start_metrics(p);
	log_start();
	confine(p, empty);
	isolation_filter(c->mode);
	if (!taken_over(p))
		return EXIT_FAILURE;
	if (conf_has_ns(c))
		pasta_go(&p->pasta);
	isolation_ready(c);

	while (loop_turn(&p->loop))
		;
	if (p->loop.leaves)
		linger(p);
	leave(p);
	return p->loop.status;
}
