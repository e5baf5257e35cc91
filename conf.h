/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * conf - the meaning of the options: what the user wishes
 *
 * conf_parse() reads the command line and nothing else.  After that struct conf
 * is const, except for descriptors and the socket's path; what follows from it
 * on this host is in struct plan.
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

/* Descriptors that options name; -1: none */
struct given {
	int guest, ready, exit;
	bool store;   /* --fd-store was given */
};

/* When a refusal by the kernel to sandbox us is fatal */
enum sandbox_grade {
	SANDBOX_AUTO,	/* if nothing else keeps files away from us */
	SANDBOX_STRICT, /* always */
	SANDBOX_NONE,	/* never: nothing is tried */
};

struct conf {
	enum mode mode;
	/* process */
	bool foreground, quiet, debug, trace, stats_on, one_off;
	unsigned stats_s;
	bool stats_json;
	char log_file[4096], pcap[4096], pid_file[4096], control[108];
	char metrics[108];
	char takeover[108];   /* PID or path of the predecessor; empty: none */
	bool fd_store; /* the service manager keeps our state while we do not
			  run */
	char label[LAN_NAME]; /* empty: not given */
	size_t log_size;
	unsigned busy_poll; /* us, see loop_poll() */
	uint32_t mark; /* --mark, for sockets; 0: none */
	struct pcap_conf capture;
	bool runas;
	uid_t uid;
	gid_t gid;
	bool chroot_fallback;
	enum sandbox_grade sandbox;
	/* As given, -1: none; after isolation_start() their new numbers */
	int ready_fd, exit_fd;
	/* passt */
	char socket[108]; /* empty: to be chosen; later the one in use */
	char repair[108]; /* empty: default; "none": off */
	bool migrate_exit, migrate_no_linger;
	int fd; /* --fd as given, -1: none; after isolation_start() its new
		   number */
	/* pasta */
	char ns_ifname[16];
	char netns[4096], userns[4096];
	bool netns_only, no_netns_quit, no_pidns, config_net;
	bool no_copy_routes[2], no_copy_addrs[2]; /* IPv4, IPv6 */
	struct mac ns_mac;
	bool ns_mac_set;
	bool splice_only;
	pid_t pid;    /* process whose namespaces to join, 0: none */
	char **argv;  /* command to run; NULL with @spawn: a shell */
	bool spawn;
	/* the guest's network, as far as options give it */
	struct lan lan;
	char tftp[4096]; /* directory to serve; empty: none */
	struct fwd_map map;
	struct egress egress; /* @map points to it if there are rules */
	bool no_mcast;
	bool no_follow; /* do not follow changes of the host's network */
	struct sock_env sock; /* the fields that are the caller's to set, see
				 sock_init() */
	struct rules host, ns; /* -t -u; -T -U */
	struct rules_env rules_env; /* what the rules were parsed with */
	char ifname[16];      /* -i */
	bool dns_none, dns_given[2], search_given, hostname_given;
	bool map_gw;	      /* the gateway's address stands for the host's
				 loopback */
	struct addr dns_host[2]; /* --dns-host; none: not given */
	bool gw_given[2], mtu_given;
	bool prefix_given, cidr_given; /* -n was given; -a with a prefix length
					  for IPv4 */
	bool no_copy_given[2];	       /* --no-copy-routes, --no-copy-addrs */
	bool dhcp_dns, dhcp_search; /* advertise resolvers, search list */
	/* arguments of -t -u -T -U in order, parsed after all other options */
	unsigned specs;
	struct {
		char opt;
		const char *arg;
	} spec[512];
};

/* conf_mode - find out the mode from the program's name and --vhost-user
 * Also fills @g from --fd, --ready-fd, --exit-fd and --fd-store.  An argument
 * that is no number counts as none here; conf_parse() will refuse it.  The scan
 * ends where the command to run begins.  Dies if the name says nothing. */
enum mode conf_mode(int argc, char **argv, struct given *g);

/* conf_parse - parse the command line into @c, which is all zero except for
 * what sock_init() has found, and set the level of the log
 * Errors end the process with one line and status 1; --help, --version and
 * --print-capabilities with status 0. */
void conf_parse(struct conf *c, int argc, char **argv);

/* conf_has_ns - whether pasta enters a network namespace; with --fd alone it
 * does not */
static inline bool conf_has_ns(const struct conf *c)
{
	return c->mode == MODE_PASTA &&
	       (c->fd < 0 || c->netns[0] || c->pid || c->spawn);
}

#endif /* CONF_H */
