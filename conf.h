/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * conf - the meaning of the options: what the user wishes
 *
 * conf_parse() reads the command line, nothing else.  After that it is const, but
 * for descriptors and the socket's path; what follows from it on this host is in
 * struct plan.
 */
#ifndef CONF_H
#define CONF_H

#include "egress.h"
#include "fwd.h"
#include "lan.h"
#include "pcap.h"
#include "rules.h"
#include "sock.h"

#include <sys/types.h>

enum mode { MODE_PASST, MODE_PASTA, MODE_VHOST };

/* Descriptors that options name, -1: none */
struct given {
	int guest, ready, exit;
	bool store;   /* --fd-store was */
};

/* Which refusal of the kernel is one too many */
enum sandbox_grade {
	SANDBOX_AUTO,	/* when nothing keeps files away */
	SANDBOX_STRICT, /* each */
	SANDBOX_NONE,	/* none, and nothing is tried */
};

struct conf {
	enum mode mode;
	/* process */
	bool foreground, quiet, debug, trace, stats_on, one_off;
	unsigned stats_s;
	bool stats_json;
	char log_file[4096], pcap[4096], pid_file[4096], control[108];
	char metrics[108];
	char takeover[108];   /* PID or path; empty: from nobody */
	bool fd_store; /* the service manager keeps all while nobody runs */
	char label[LAN_NAME]; /* empty: not given */
	size_t log_size;
	uint32_t mark; /* of sockets; 0: none */
	struct pcap_conf capture;
	bool runas;
	uid_t uid;
	gid_t gid;
	bool chroot_fallback;
	enum sandbox_grade sandbox;
	/* As given, -1; after isolation_start() where they are */
	int ready_fd, exit_fd;
	/* passt */
	char socket[108]; /* empty: probe, then what was taken */
	char repair[108]; /* empty: default; "none": off */
	bool migrate_exit, migrate_no_linger;
	int fd; /* --fd as given, -1; after isolation_start() where it is */
	/* pasta */
	char ns_ifname[16];
	char netns[4096], userns[4096];
	bool netns_only, no_netns_quit, no_pidns, config_net;
	bool no_copy_routes[2], no_copy_addrs[2]; /* IPv4, IPv6 */
	struct mac ns_mac;
	bool ns_mac_set;
	bool splice_only;
	pid_t pid;    /* join this process's namespaces, 0: no */
	char **argv;  /* command to spawn; NULL with @spawn: a shell */
	bool spawn;
	/* the guest's network, as far as it was said */
	struct lan lan;
	char tftp[4096]; /* what is served; empty: nothing */
	struct fwd_map map;
	struct egress egress; /* @map points to it if there are rules */
	bool no_mcast;
	bool no_follow; /* the host's network stays what it was at the start */
	struct sock_env sock; /* fields that the caller of sock_init() sets */
	struct rules host, ns; /* -t -u; -T -U */
	struct rules_env rules_env; /* what they could ask for */
	char ifname[16];      /* -i */
	bool dns_none, dns_given[2], search_given, hostname_given;
	bool map_gw;	      /* gateway stands for the host's loopback */
	struct addr dns_host[2]; /* --dns-host; none: not given */
	bool gw_given[2], mtu_given;
	bool prefix_given, cidr_given; /* -n; -a ADDR/LEN of IPv4 */
	bool no_copy_given[2];	       /* --no-copy-routes, --no-copy-addrs */
	bool dhcp_dns, dhcp_search; /* resolvers, search list advertised */
	/* -t -u -T -U in order, read when addresses are known */
	unsigned specs;
	struct {
		char opt;
		const char *arg;
	} spec[512];
};

/* conf_mode - from the program's name and --vhost-user
 * Also @g from --fd and --ready-fd; what is no number counts as none, conf_parse()
 * will refuse it.  The scans end where a spawned command begins. */
enum mode conf_mode(int argc, char **argv, struct given *g);

/* conf_parse - the command line into @c, which is all zero but for what
 * sock_init() found, and the forwarding rules from it
 * Errors end the process with one line and status 1, --help, --version and
 * --print-capabilities with status 0.  Sets the level of the log. */
void conf_parse(struct conf *c, int argc, char **argv);

/* conf_has_ns - does pasta go into a network namespace?
 * With --fd alone it does not. */
static inline bool conf_has_ns(const struct conf *c)
{
	return c->mode == MODE_PASTA &&
	       (c->fd < 0 || c->netns[0] || c->pid || c->spawn);
}

#endif /* CONF_H */
