/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * sim - the modules above sock and the transport, under virtual time
 *
 * The program links the real objects, loop among them.  Its kernel is a toy:
 * epoll, the clock and randomness (core.c, by the linker's --wrap), sockets
 * with an application behind them (sock.c) and a guest's link (tap.c).  The
 * guest is a plain TCP (guest.c) or a script (script.c).
 */
#ifndef SIM_H
#define SIM_H

#include "addr.h"
#include "guest.h"
#include "sock.h"

#include <setjmp.h>

/* --- core.c: virtual time, events, descriptors, randomness ---------------- */

enum { US = 1000, MS = 1000 * US };
#define SEC (1000ULL * MS)

/* Whatever happened by the book bumps this: a turn without is no progress */
extern struct sim {
	uint64_t now;	  /* ns */
	uint64_t horizon; /* epoll_pwait() does not sleep beyond */
	uint64_t seed, state;
	uint64_t progress, last_progress;
	unsigned idle, turns, max_turns;
	unsigned naps; /* of loop.c, see loop_stream() */
	unsigned slots_out; /* reserved, neither committed nor cancelled */
	bool interrupt; /* epoll_pwait() returns early */
	bool verbose;
	bool dump;	 /* -x: packets in hexadecimal as well */
	bool rings;	 /* --rings: seeds have no other transport */
	bool host;	 /* --host: in each the host's addresses change */
	bool control;	 /* --control: in each there are clients of control */
	bool splice;	 /* --splice: in each there is a namespace */
	bool policy;	 /* --policy: in each there is an outbound policy */
	const char *name; /* "seed 7" or the script's file */
	unsigned line;	 /* of the script */
	jmp_buf stop;	 /* where sim_fail() goes if @catch */
	bool catch;
} sim;

void sim_reset(uint64_t seed);
void sim_fail(const char *fmt, ...) PRINTF(1, 2) __attribute__((noreturn));
void trace(const char *fmt, ...) PRINTF(1, 2);

uint64_t rnd(void);
uint64_t rnd_to(uint64_t n); /* 0 ... n - 1 */
uint64_t rnd_in(uint64_t lo, uint64_t hi); /* both included */
bool chance(unsigned per_mille);

typedef void event_fn(void *arg);
void sim_after(uint64_t ns, event_fn *fn, void *arg);
/* sim_events - run what is due at sim.now */
void sim_events(void);
/* sim_stop - the process stands still for so long, the world does not */
void sim_stop(uint64_t ns);

struct msghdr;
struct toy;
/* What the kernel would do: a number, or -errno */
struct toy_ops {
	int (*accept)(struct toy *t);
	ssize_t (*receive)(struct toy *t, struct msghdr *h, int flags);
	ssize_t (*send)(struct toy *t, const struct msghdr *h, int flags);
	void (*close)(struct toy *t);
};

/* What has a descriptor.  poll() gives its events now; toy_wake() is what the
 * kernel's wait queues do: @key 0 means all. */
struct toy {
	int fd; /* -1: none */
	uint32_t (*poll)(struct toy *t);
	const struct toy_ops *ops; /* of one that modules have calls of their own for */
	bool watched, closing, unwatchable; /* the next EPOLL_CTL_ADD fails */
	uint32_t mask;
	uint64_t data;
};
enum { TOY_FD = 1000, TOY_MAX = 16384 };
void toy_open(struct toy *t, uint32_t (*poll)(struct toy *t));
void toy_close(struct toy *t);
void toy_wake(struct toy *t, uint32_t key);
struct toy *toy_get(int fd);
unsigned toy_count(void);

/* The byte at position @pos of stream @key: tells where it should have been */
static inline uint8_t pattern(uint32_t key, uint64_t pos)
{
	return (uint8_t)((pos ^ (pos >> 8) ^ (pos >> 16)) * 167 + key);
}

/* --- wire.c: frames, written and read the obvious way --------------------- */

struct seg {
	struct mac smac, dmac;
	uint16_t ethertype; /* 0: by address */
	struct addr src, dst;
	uint8_t proto, ttl, tos;
	bool may_fragment; /* IPv4 without DF */
	bool frag, frag_more; /* a fragment: @data is what it carries */
	size_t frag_off;
	uint16_t sport, dport;
	uint32_t seq, ack;
	uint8_t flags;
	uint16_t win;
	int mss, ws; /* -1: option absent */
	bool sack_ok, stamps; /* options */
	unsigned sacks;
	uint32_t sack[4][2];
	uint8_t icmp_type, icmp_code;
	uint32_t flow_label;
	const uint8_t *data; /* payload; ICMP: from the type byte */
	size_t len;
	bool partial; /* build: leave the layer-4 sum unfinished */
};
enum { SEG_HEAD = 14 + 40 + 60 };

/* wire_build - frame of @s at @buf; its length */
size_t wire_build(uint8_t *buf, const struct seg *s);
/* wire_parse - NULL, or what is wrong with the frame */
const char *wire_parse(const uint8_t *p, size_t len, struct seg *s);
uint16_t wire_sum(const struct addr *src, const struct addr *dst, int proto,
		  const uint8_t *p, size_t len);
void wire_trace(char dir, const uint8_t *p, size_t len);
const char *wire_flags(uint8_t flags);

/* --- sock.c: toy sockets -------------------------------------------------- */

struct dgram {
	struct dgram *next;
	struct addr from, to;
	uint16_t from_port;
	size_t len;
	uint8_t data[];
};

/* S_GROUP: bound to a group, or not bound; @filter is its membership */
enum sock_kind { S_TCP, S_LISTEN, S_UDP, S_UDP_LISTEN, S_PING, S_GROUP };
enum sock_state { S_NEW, S_CONNECTING, S_UP, S_DOWN };

struct sock {
	struct toy toy; /* first */
	enum sock_kind kind;
	enum sock_state state;
	bool v4, dual;
	bool inside; /* of the namespace */
	int err;
	struct addr local, peer;
	uint16_t local_port, peer_port;
	struct addr last; /* whom a datagram went to */
	uint16_t last_port;
	void *app; /* the far application's */
	void (*kicked)(struct sock *s); /* its own far_ops->kick(), or NULL */
	struct sock *all; /* list of all, for look-up */
	/* stream: towards the far end */
	uint32_t key[2]; /* patterns: [0] to the far end, [1] from it */
	uint64_t tx, tx_seen; /* accepted; taken by the far application */
	size_t tx_cap, tx_waste;
	bool nospace, fin_tx, rst_tx, orphan;
	bool moves; /* in repair mode: its descriptor is closed without a word */
	unsigned refuse; /* per mille of sends taken partly or not at all */
	/* from the far end: written, consumed, peek offset */
	uint64_t rx, rx_read;
	uint64_t urgent; /* where the urgent byte ends, 0: none yet */
	size_t rx_cap, peek;
	bool peeking, fin_rx, far_closed;
	unsigned keepalive;
	/* listener: waiting to be accepted */
	struct sock *queue, *next;
	int accept_err;
	/* datagrams to be received, errors to be read */
	struct dgram *in, **in_end;
	struct sock_error *errq;
	unsigned errs;
	struct sock_ip ip; /* as set */
	bool hears; /* IP_RECVERR */
	unsigned path_mtu;
	bool gro;
	bool deaf; /* to groups */
	struct addr group; /* joined; or none */
	struct sock_sources filter;
	/* of those of dgrams.c: datagrams that it was given to send, and bytes in @tx;
	 * when; those of them that it refused */
	unsigned given, refused;
	bool barred; /* the last one, for the first time */
	uint64_t used, complained; /* the latter: of all */
};

/* What far applications do; scripts and the runner have one each */
struct far_ops {
	int (*connect)(struct sock *s); /* 0, -EINPROGRESS, or why not */
	void (*kick)(struct sock *s); /* something changed */
	void (*datagram)(struct sock *s, const uint8_t *p, size_t len,
			 const struct addr *to, uint16_t port);
};
extern const struct far_ops *far_ops;

/* Whom datagrams from socket to socket are for, dgrams.c */
struct far_dgrams {
	/* a socket is to be bound, and connected to @to: its @app, or NULL */
	void *(*claim)(const struct sock_bind *b, const struct addr *to,
		       uint16_t port);
	void (*bound)(struct sock *s); /* it is not connected yet */
	/* EPERM, of which the caller is @told: it is the first of a batch */
	bool (*bars)(struct sock *s, const uint8_t *p, size_t len, bool told);
	void (*gets)(struct sock *s, const uint8_t *p, size_t len);
	void (*closes)(struct sock *s);
};

extern struct toy_net { /* what the toy kernel does next */
	unsigned peek_fails; /* so many settings of a peek offset fail, ... */
	unsigned discard_fails; /* or removals of what was read */
	unsigned open_fails; /* so many socket calls fail with ... */
	int open_err;
	unsigned gso_fails; /* per mille of runs refused with EIO */
	unsigned accept_fails; /* per mille of accept() */
	size_t tx_cap, rx_cap; /* new sockets' */
	unsigned refuse;
	unsigned udp_refuse; /* per mille of send_dgrams taken partly */
	unsigned bound_fails; /* so many binds to a wanted port fail */
	unsigned pipe_fails; /* per mille of pipes, and of what makes them wider */
	unsigned splice_fails; /* of sockets and accept() for splice.c */
	unsigned failed; /* so many have, of those and visits */
	const struct far_dgrams *dgrams; /* NULL: there are none */
	unsigned dgram_fails; /* per mille of calls for their sockets */
	unsigned dgram_lost; /* so many of them are, as calls have failed ... */
	uint64_t dgram_failed; /* the last time now */
	bool dgram_any; /* who was claimed last is to do with another port */
	bool inside; /* whoever acts does so in the namespace */
	struct sock *accepted; /* the last one */
} toy_net;

void sock_reset(void);
void far_connected(struct sock *s);
void far_refused(struct sock *s, int err);
size_t far_write(struct sock *s, size_t n);
/* far_urgent - the same with MSG_OOB: the last byte is urgent */
size_t far_urgent(struct sock *s, size_t n);
size_t far_read(struct sock *s, size_t n);
void far_fin(struct sock *s);
void far_close(struct sock *s);
void far_reset(struct sock *s, int err);
/* far_connect - a client at @from knocks; NULL: nobody listens */
struct sock *far_connect(const struct addr *from, uint16_t from_port,
			 const struct addr *to, uint16_t port);
bool far_listens(const struct addr *to, uint16_t port);
/* far_datagram - the socket that has it now; NULL: nobody is bound */
struct sock *far_datagram(const struct addr *from, uint16_t from_port,
			  const struct addr *to, uint16_t port, const void *p,
			  size_t len);
void far_error(struct sock *s, const struct sock_error *e);
/* far_queues_error - in the error queue only, as Linux does before it ends what
 * is connecting */
void far_queues_error(struct sock *s, int err);
struct sock *sock_last(enum sock_kind k); /* newest open one */
struct sock *sock_all(void); /* newest, and so on */
void sock_accept_fails(int err); /* the next accept() of each listener */
/* sock_splice_read - of splice(), what recv() does with little differences */
ssize_t sock_splice_read(int fd, uint8_t *p, size_t len);
static inline bool far_eof(const struct sock *s)
{
	return s->fin_tx && s->tx_seen == s->tx;
}

/* --- tap.c: toy transport ------------------------------------------------- */

struct link_weather {
	unsigned loss[2], dup, reorder; /* per mille; loss to, from the guest */
	unsigned card; /* buffers of the guest's network card, 0: any number */
	uint64_t card_ns; /* until one is free again */
	uint64_t delay, jitter;	 /* ns */
	unsigned stuff; /* per mille of reserves that find the link stuffed */
	bool clean;	 /* none of it: nothing may be sent twice */
};

struct toy_tap {
	struct tap tap; /* first */
	struct toy toy;
	struct link_weather w;
	unsigned pieces; /* without tso: segments laid out in a row */
	size_t tso_room; /* with it: bytes of one run */
	bool big; /* now and then takes packets of more than 64 KiB */
	unsigned lend; /* frames at a time, at most */
	uint64_t drain; /* ns the guest takes for a frame */
	struct tframe *gathered, **gathered_end; /* committed, not flushed */
	struct tframe *queue, **queue_end;
	unsigned queued;
	bool draining, stuffed, wants_room;
	bool unread; /* see tap_unread(); what is sent gets there all the same */
	struct tframe *in, **in_end, *lent;
	unsigned waiting; /* frames in @in */
	unsigned drops_row[2][64];
	uint64_t card_due; /* when all buffers of the card will be free */
	void (*guest)(const uint8_t *p, size_t len); /* arrived there */
	void (*leaves)(const uint8_t *p, size_t len); /* us; NULL: never mind */
	uint64_t to_guest, from_guest; /* frames over the link */
	unsigned refusals; /* reserves that got nothing */
};

void toy_tap_init(struct toy_tap *t, struct loop *l, unsigned watch);
/* toy_tap_send - a frame of the guest; @gso: payload of each segment or 0 */
void toy_tap_send(struct toy_tap *t, const uint8_t *p, size_t len,
		  const struct note *n);
void toy_tap_up(struct toy_tap *t, bool up);
/* toy_tap_deliver - a frame for the guest, or a run, is on its way over the link */
void toy_tap_deliver(struct toy_tap *t, const uint8_t *p, size_t head,
		     size_t len, const struct note *n);

/* --- rings.c: vhost-user rings in the place of that transport ------------- */

/* rings_config - what they are like, out of the seed; then world_start() */
void rings_config(void);
struct tap *rings_tap(void);
void rings_start(struct loop *l, unsigned watch);
/* rings_send - a frame that has gone over the link from the guest */
void rings_send(const uint8_t *p, size_t len, const struct note *n);
/* rings_wait - whether a frame of the guest's waits for room */
bool rings_wait(void);
/* rings_waited - for how long some have at most, one behind the other */
uint64_t rings_waited(void);
/* rings_event - they stop, begin anew, or the like, and go on */
void rings_event(void);
void rings_turn_end(void);
unsigned rings_toys(void); /* descriptors */

/* --- world.c: everything put together as passt.c does --------------------- */

extern struct world {
	struct loop loop;
	struct flows flows;
	struct toy_tap tap;
	bool rings; /* these are the transport; @tap is the way there */
	struct tap *link;
	struct lan lan;
	struct seen seen;
	struct neigh neigh;
	struct sock_env env;
	struct fwd_map map;
	struct fwd fwd;
	struct rules rules;
	struct listen *listen;
	struct chunks chunks;
	struct tcp tcp;
	struct udp udp;
	struct echo echo;
	struct guest guest;
	struct splice *splice; /* NULL: there is no namespace */
	unsigned moved; /* how often all flows did: */
	unsigned moves; /* per mille of turns that end in world_move(), */
	bool far_moves; /* or in world_migrate() */
	unsigned migrated; /* connections */
	bool mcast; /* the guest is asked for groups */
	unsigned (*kept)(void); /* descriptors that stay at rest, or NULL */
	void (*judge_turn)(void); /* what must hold after each, or NULL */
} world;

enum { FORWARD_FIRST = 8000, FORWARD_PORTS = 16 };

/* world_config - defaults; change what differs, then world_start() */
void world_config(void);
void world_start(void);
/* world_run - turns until virtual time @until, or @done says so */
void world_run(uint64_t until, bool (*done)(void));
/* world_move - take all connections apart and put them together again, with the
 * sockets that they had: as a successor of the process would.  At the end of a turn. */
void world_move(void);
/* world_migrate - the same with those that are set up, and new sockets: as on another
 * host; or it is given up when all is saved, and they go on */
void world_migrate(bool given_up);
unsigned world_leftovers(void); /* descriptors beyond listeners and tap */

/* --- rules.c: forwarded ports, as they are to be -------------------------- */

/* The host's table, and that of a namespace, if there is one */
struct rules_pair {
	struct rules t[2];
};
unsigned rules_tables(void);
/* rules_start - some tables will have so many more ports, or less */
void rules_start(unsigned ballast);
/* rules_inside - the first table of the namespace */
const struct rules *rules_inside(void);
/* rules_make - others; the @last ones have all ports
 * rules_ask - they are asked for: from now on that is on its way, or in force */
void rules_make(struct rules_pair *p, bool last);
void rules_ask(const struct rules_pair *p);
const struct rules_pair *rules_now(void);
/* rules_port - where who connects now must get to port @to; 0: nowhere yet */
uint16_t rules_port(bool v6, uint16_t to);
/* rules_loopback_port - the same for who connects to the loopback address
 * rules_inside_port - and for who does in the namespace */
uint16_t rules_loopback_port(bool v6, uint16_t to);
uint16_t rules_inside_port(bool v6, uint16_t to);
/* rules_judge - whoever knocks is let in where there is a rule, and nowhere else */
void rules_judge(void);

/* --- clients.c: the control socket, and who comes there ------------------- */

void clients_reset(void);
/* clients_start - so many and perhaps a crowd; 0: there is no such socket */
void clients_start(unsigned n);
bool clients_rest(void); /* all have gone, and the last table is in force */
void clients_judge(void); /* nothing is left of them */
unsigned clients_toys(void); /* descriptors */

/* --- host.c: the host's addresses, which change --------------------------- */

void host_reset(void);
/* host_start - let them change so many times, and follow.c see it */
void host_start(unsigned changes);
bool host_changes(void);
/* host_addr - the family's, as it is now; or none */
const struct addr *host_addr(bool v6);
bool host_lacks(const struct addr *a); /* it had it, and has not */
bool host_saw(const struct addr *a); /* and a look had seen that it had */
/* host_outage - how long @a was missing in one go between @from and @to
 * host_patience - what a connection must survive */
uint64_t host_outage(const struct addr *a, uint64_t from, uint64_t to);
uint64_t host_patience(void);
bool host_rest(void); /* all is as it was in the beginning, and has settled */
unsigned host_toys(void); /* descriptors */

/* --- pipe.c: pipes, splice() ------------------------------------------------ */

void pipe_reset(void);
/* pipe_keep - it will be closed once more than that before it is */
void pipe_keep(int fd);
size_t pipe_holds(int fd); /* bytes, of the end to write */
unsigned pipe_toys(void); /* descriptors */

/* --- splice.c: connections from and to a namespace ----------------------------- */

enum { SERVER_PORT = 12000 }; /* of the host; FORWARD_FIRST leads there from inside */

void splice_reset(void);
void splice_start(void);
bool splice_rest(void); /* all are over */
void splice_judge(void);
/* splice_connect - whether @s is one of those; then *@err is what connect() returns */
bool splice_connect(struct sock *s, int *err);
unsigned splice_toys(void); /* descriptors that are kept at rest */

/* --- dgrams.c: datagrams from and to it ------------------------------------------ */

/* dgrams_start - for splice.c, which has a namespace @ns now
 * dgrams_lose - a call of its has failed, which may have been for one of them */
void dgrams_start(struct ns *ns);
void dgrams_lose(void);
bool dgrams_rest(void); /* all have been sent */
void dgrams_judge(void);

/* --- policy.c: where the guest may go ------------------------------------- */

void policy_reset(void);
/* policy_start - draw rules, and what the guest asks for besides the rest */
void policy_start(void);
bool policy_rest(void); /* all has been asked for */
/* policy_denies - whether the guest may not go to @to; not for resolvers */
bool policy_denies(uint8_t proto, const struct addr *to, uint16_t port);
/* policy_connect, policy_gets - what the host's kernel is asked for: true, it is one of
 * those, and has been dealt with.  @inbound: an answer to what came from there. */
bool policy_connect(struct sock *s);
bool policy_gets(struct sock *s, const struct addr *to, uint16_t port,
		 bool inbound);
/* policy_sent, policy_frame - by the guest; to it, true as above */
void policy_sent(const struct seg *s, bool inbound);
bool policy_frame(const struct seg *s);
/* policy_judge - when all is over
 * Nothing was lost on the way to us, @arrives; on the way to the guest, @hears; and the
 * host has sockets and addresses, @goes. */
void policy_judge(bool arrives, bool hears, bool goes);

/* --- guest.c: the guest's plain TCP and UDP ------------------------------- */

enum ending {
	END_CLEAN,
	END_GUEST_RST,	  /* the guest's application aborts */
	END_FAR_RST,	  /* the far application aborts */
	END_FAR_CLOSE,	  /* closes altogether while data still comes */
	END_REFUSED,	  /* far end refuses */
	END_UNREACHABLE,  /* connect() fails at once */
	END_TIMEOUT,	  /* far end never answers */
	END_NO_SOCKET,	  /* no descriptor left */
	END_GUEST_REFUSES, /* inbound: nobody listens in the guest */
	END_GUEST_SILENT, /* inbound: guest never answers */
	END_GUEST_GONE,	  /* the guest forgets everything, silently */
	ENDINGS
};

/* A connection as the seed wants it, and what became of it */
struct course {
	unsigned no;
	bool v6, guest_opens;
	enum ending ending;
	unsigned complaints; /* of 1000: an error in the queue while it connects */
	uint32_t bytes[2]; /* [0] guest to far, [1] far to guest */
	uint32_t abort_at; /* bytes sent and received by the aborter */
	bool waits[2];	   /* closes only after the other's EOF */
	uint64_t start;
	/* guest */
	uint16_t gport, fport;
	int mss, ws; /* options; -1: none */
	size_t rcv_cap;
	unsigned delack, ack_every;
	bool keeps_order; /* stores what comes out of order */
	bool sack;	  /* and says so */
	bool third_data;  /* no pure ACK: data come with the handshake's */
	bool nagle, probe_byte, big; /* big: segments beyond the MSS (TSO) */
	bool fin_with_data;
	size_t chunk[2]; /* applications' writes and reads: guest, far */
	uint64_t pause[2];
	unsigned pressure; /* per mille per read: window shut for a while */
	uint32_t iss;
	/* far */
	size_t tx_cap, rx_cap;
	unsigned refuse;
	unsigned urgent; /* per mille of writes */
	uint64_t rtt;
	bool sync_connect; /* connect() succeeds at once */
	/* results */
	struct gconn *g;
	struct sock *s;
	uint64_t got[2], sent[2]; /* as in @bytes: received by whom it is for */
	bool guest_up, guest_eof, guest_rst, guest_icmp, guest_done;
	bool aborted;
	bool denied; /* by policy.c */
	bool shut_window; /* guest: it told a window of zero */
	bool far_up, far_got_eof, far_rst, far_done;
	bool far_step_due, far_fin_sent;
	uint64_t rexmit, dup_data, again; /* bytes of the guest */
	uint64_t begun, over; /* over: both ends were done */
};

struct gconn;
void guest_reset(void);
void guest_open(struct course *p);
void guest_frame(const uint8_t *p, size_t len);
/* run.c's */
void guest_udp(const struct seg *s);
struct course *plan_find(bool guest_opens, uint16_t fport, uint16_t gport);
bool plan_answers(uint16_t gport); /* its datagrams are answers */
void guest_send(struct seg *s); /* fills MACs, sends */
extern struct addr guest_addr[2], far_addr[2];

/* --- run.c, script.c, work.c ---------------------------------------------- */

void run_seed(uint64_t seed);
void run_script(const char *path);
/* run_lossy - the @i-th row of the table of losses; false: no such row */
bool run_lossy(unsigned i, bool dry);
/* run_beside - how much goes before an answer, beside @bulk transfers; false: too
 * much */
bool run_beside(unsigned bulk);
/* run_turns - how many turns the @i-th question or answer takes beside bulk; false:
 * there is no such row, or too many */
bool run_turns(unsigned i, bool dry);
/* run_work - @n times what @name says, beside @idle connections; false: there
 * is no such work */
bool run_work(const char *name, unsigned n, unsigned idle);

/* --- the kernel's functions, as the linker names them --------------------- */

struct epoll_event;
struct timespec;
int __wrap_epoll_create1(int flags);
int __wrap_epoll_ctl(int epfd, int op, int fd, struct epoll_event *ev);
int __wrap_epoll_pwait(int epfd, struct epoll_event *ev, int max, int timeout,
		       const sigset_t *set);
int __wrap_clock_nanosleep(int clock, int flags, const struct timespec *ts,
			   struct timespec *left);
int __wrap_clock_gettime(int clock, struct timespec *ts);
bool __wrap_util_random(void *buf, size_t n);

/* Of descriptors that are no toys' the kernel is asked */
struct sockaddr;
int __wrap_accept4(int fd, struct sockaddr *addr, unsigned *len, int flags);
int __real_accept4(int fd, struct sockaddr *addr, unsigned *len, int flags);
ssize_t __wrap_recvmsg(int fd, struct msghdr *h, int flags);
ssize_t __wrap___recvmsg64(int fd, struct msghdr *h, int flags);
ssize_t __real_recvmsg(int fd, struct msghdr *h, int flags);
ssize_t __wrap_sendmsg(int fd, const struct msghdr *h, int flags);
ssize_t __wrap___sendmsg64(int fd, const struct msghdr *h, int flags);
ssize_t __real_sendmsg(int fd, const struct msghdr *h, int flags);
ssize_t __wrap_send(int fd, const void *buf, size_t len, int flags);
ssize_t __real_send(int fd, const void *buf, size_t len, int flags);
int __wrap_close(int fd);
int __real_close(int fd);
int __wrap_pipe2(int fd[2], int flags);
int __wrap_fcntl(int fd, int cmd, ...);
int __wrap_fcntl64(int fd, int cmd, ...);
int __real_fcntl(int fd, int cmd, ...);
ssize_t __wrap_write(int fd, const void *buf, size_t len);
ssize_t __real_write(int fd, const void *buf, size_t len);
ssize_t __wrap_splice(int in, void *in_off, int out, void *out_off, size_t len,
		      unsigned flags);

#endif /* SIM_H */
