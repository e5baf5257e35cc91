/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Everything put together as passt.c does it, on toys.
 */
#include "sim.h"
#include "freeze.h"
#include "migrate_stream.h"
#include "tcp_freeze.h"

#include "emit.h"

#include <unistd.h>

#include <netinet/in.h>

struct world world;
static struct listen listeners;

static struct addr addr(const char *text)
{
	struct addr a;

	if (!addr_parse(text, &a))
		sim_fail("bad address %s", text);
	return a;
}

void world_config(void)
{
	static bool used; /* to clear it means to touch all of its pages */
	struct world *w = &world;

	if (used)
		memset(w, 0, sizeof(*w));
	used = true;
	sock_reset();
	clients_reset();
	w->lan = (struct lan){
		.v4 = true, .v6 = true, .tcp = true, .udp = true,
		.icmp = true, .dhcp = true, .dhcpv6 = true, .ndp = true,
		.ra = true,
		.mtu = MTU_DEFAULT,
		.guest4 = addr("10.0.2.15"), .prefix4 = 24,
		.gw4 = addr("10.0.2.2"), .our4 = addr("10.0.2.2"),
		.guest6 = addr("2001:db8:1::15"),
		.gw6 = addr("fe80::1"), .our_ll6 = addr("fe80::1"),
	};
	mac_parse("9a:55:9a:55:9a:55", &w->lan.mac);
	w->seen = (struct seen){ .v4 = w->lan.guest4, .v6 = w->lan.guest6 };
	memset(w->seen.mac.b, 0xff, 6);
	w->map.host_loopback[0][0] = w->lan.gw4;
	w->map.host_loopback[1][0] = w->lan.gw6;
	sock_init(&w->env);
	w->env.peek_off4 = w->env.peek_off6 = w->env.inherits = true;
	w->env.gso = w->env.gro = true;
	w->tap.tap.caps.tso = w->tap.tap.caps.uso = true;
	w->tap.tap.caps.tso_in = true;
	w->tap.tap.caps.queue = 64;
	w->tap.tso_room = 65000;
	w->tap.pieces = 8;
	w->tap.lend = 64;
	w->tap.drain = 5 * US;
	w->tap.w.delay = 50 * US;
	w->tap.guest = guest_frame;
}

static void forward(uint8_t proto)
{
	world.rules.r[world.rules.n++] = (struct rule){
		.first = FORWARD_FIRST, .to = FORWARD_FIRST,
		.last = FORWARD_FIRST + FORWARD_PORTS - 1,
		.proto = proto, .flags = RULE_DUAL,
	};
	world.rules.sockets += FORWARD_PORTS;
}

/* Not for ever: where a connection arrives, timers begin anew */
static void world_travel(void)
{
	if (sim.now < 600 * SEC && world.migrated < 1000)
		world_migrate(chance(300));
}

static void turn_end(void *owner)
{
	world.tap.refusals += world.rings && world.link->full;
	guest_turn_end(owner);
	if (world.rings)
		rings_turn_end();
	if (world.moves && chance(world.moves))
		world.far_moves ? world_travel() : world_move();
	if (world.judge_turn)
		world.judge_turn();
}

static void must(int err, const char *what)
{
	if (err)
		sim_fail("%s: %s", what, strerror(-err));
}

void world_start(void)
{
	struct world *w = &world;

	memset(&listeners, 0, sizeof(listeners));
	w->listen = &listeners;
	w->link = w->rings ? rings_tap() : &w->tap.tap;
	must(loop_init(&w->loop), "loop_init");
	w->loop.spare = dup(STDERR_FILENO); /* as loop_start() does */
	must(flows_init(&w->flows, &w->loop), "flows_init");
	fwd_init(&w->fwd, &w->lan, &w->seen, &w->map, &w->env);
	must(listen_init(&listeners, &w->loop, &w->env, NULL), "listen_init");
	guest_init(&w->guest, &w->loop, &w->flows, w->link, &w->lan,
		   &w->seen, &w->neigh);
	must(tcp_init(&w->tcp, &w->flows, w->link, &w->fwd, &listeners,
		      &w->neigh, &w->chunks), "tcp_init");
	w->tcp.syn_linear = 4; /* whatever this machine has */
	w->tcp.syn_retries = 6;
	w->tcp.rto_max_ms = 120 * 1000;
	udp_init(&w->udp, &w->flows, w->link, &w->fwd, &listeners,
		 &w->neigh);
	w->udp.patience.single_ms = 30 * 1000;
	w->udp.patience.stream_ms = 120 * 1000;
	echo_init(&w->echo, &w->flows, w->link, &w->fwd, &w->neigh);
	guest_protocols(&w->guest, &w->tcp, &w->udp, &w->echo);
	w->loop.turn_end = turn_end;
	w->loop.turn_owner = &w->guest;
	forward(IPPROTO_TCP);
	forward(IPPROTO_UDP);
	must(listen_start(&listeners, PIF_HOST, &w->rules), "listen_start");
	if (w->mcast) {
		w->env.scope = w->env.scope4 = 2;
		mcast_sock_start(&w->udp.mcast);
	}
	toy_tap_init(&w->tap, &w->loop, w->guest.watch);
	if (w->rings)
		rings_start(&w->loop, w->guest.watch);
	emit_init(w->link, w->lan.mtu);
}

/* With a successor's descriptors they stay open */
static void keep_pipes(const struct flow *f, int fd[2][2])
{
	unsigned i;

	splice_pipes(f, fd);
	for (i = 0; i < 4; i++)
		pipe_keep(fd[i / 2][i % 2]);
}

/* All flows that can, and their descriptors in order */
static unsigned freeze_all(struct wr *w, int (*fd)[2], int (*pipe)[2][2])
{
	unsigned i, n = 0;

	for (i = 0; i < world.flows.fresh; i++) {
		struct flow *f = &world.flows.flow[i];

		if (f->kind == FLOW_FREE || !freeze_flow(&world.flows, f, w))
			continue;
		if (f->kind == FLOW_SPLICE)
			keep_pipes(f, pipe[n]);
		fd[n][0] = f->side[0].fd;
		fd[n++][1] = f->side[1].fd;
		freeze_forget(&world.flows, f);
	}
	return n;
}

static bool thaw(struct rd *body, int fd[2], int pipe[2][2])
{
	struct flow *f = thaw_flow(&world.flows, body, fd);

	return f && (f->kind != FLOW_SPLICE ||
		     splice_adopt(world.splice, f, pipe));
}

void world_move(void)
{
	static uint8_t buf[64 << 20];
	static int fd[FLOW_MAX][2], pipe[FLOW_MAX][2][2];
	struct wr w = wr_init(buf, sizeof(buf));
	unsigned n, i = 0;
	struct rd r, body;
	uint32_t tag;
	size_t at;

	state_head(&w);
	at = state_begin(&w, STATE_TCP);
	tcp_save(&world.tcp, &w);
	state_end(&w, at);
	n = freeze_all(&w, fd, pipe);
	trace("  %u flows move, %zu bytes", n, w.len);
	world.moved++;
	memset(world.tcp.past, 0, sizeof(world.tcp.past));
	memset(&world.tcp.link, 0, sizeof(world.tcp.link));

	r = rd_init(buf, w.len);
	must(state_check(&r), "state_check");
	while (state_next(&r, &tag, &body)) {
		if (tag == STATE_TCP)
			tcp_load(&world.tcp, &body);
		else if (tag != STATE_FLOW || !thaw(&body, fd[i], pipe[i]))
			sim_fail("section %u of %u does not thaw", i, n);
		i += tag == STATE_FLOW;
		if (rd_left(&body) || !rd_ok(&body))
			sim_fail("a section has another length");
	}
	if (!rd_ok(&r) || i != n)
		sim_fail("%u of %u flows came", i, n);
}

/* --- to another host --------------------------------------------------------- */

static uint8_t image[64 << 20];

static unsigned hold_all(struct flow **f)
{
	unsigned i, n = 0;

	for (i = 0; i < world.flows.fresh; i++)
		if (tcp_image_can(&world.flows.flow[i]))
			f[n++] = &world.flows.flow[i];
	for (i = 0; i < n; i++)
		tcp_image_hold(&world.tcp, f[i]);
	return n;
}

/* As migrate.c does it */
static void save(struct flow *const *f, unsigned n, struct wr *w)
{
	static struct tcp_image flow[FLOW_MAX];
	static uint8_t queues[32 << 20];
	unsigned i;

	stream_put_head(w);
	stream_put_seen(w, &world.seen);
	wr_be32(w, n);
	for (i = 0; i < n; i++) {
		tcp_image_get(f[i], &flow[i]);
		stream_put_flow(w, &flow[i]);
	}
	for (i = 0; i < n; i++) {
		struct sock_image *s = &flow[i].sock;

		/* One that the far end has reset */
		if (tcp_image_get_sock(&world.tcp, f[i], &flow[i], queues,
				       sizeof(queues))) {
			*s = (struct sock_image){ 0 };
			tcp_image_reset(&world.tcp, f[i]);
		}
		stream_put_sock(w, s);
		wr_bytes(w, queues, s->snd_len + s->rcv_len);
	}
	if (!wr_ok(w))
		sim_fail("%u connections are too much", n);
}

static int host_fd(const struct flow *f)
{
	return f->side[f->side[0].pif == PIF_TAP].fd;
}

static void leave(struct flow *f)
{
	int fd = host_fd(f);

	if (fd >= 0)
		container_of(toy_get(fd), struct sock, toy)->moves = true;
	freeze_forget(&world.flows, f);
	if (fd >= 0)
		sock_close(fd);
}

static void arrive(struct tcp_image *i, struct rd *r)
{
	struct tcp *t = &world.tcp;
	struct flow *f = NULL;
	const uint8_t *queues;
	size_t kept;
	int fd;

	if (!stream_get_sock(r, &i->sock) || !tcp_image_sane(i))
		sim_fail("a connection cannot be read");
	queues = rd_view(r, i->sock.snd_len + i->sock.rcv_len);
	if (i->sock.state) {
		kept = tcp_image_kept(t, i);
		fd = sock_image_make(&world.env, tcp_image_is_v4(i));
		must(tcp_image_fill(t, i, fd, queues, kept), "tcp_image_fill");
		f = tcp_image_put(t, i, fd, queues, kept);
	} else {
		f = tcp_image_refuse(t, i);
	}
	if (!f)
		sim_fail("a connection from port %u does not fit",
			 i->side[0].their_port);
	if (i->sock.state)
		tcp_image_resume(t, f);
	else
		tcp_image_reset(t, f);
}

void world_migrate(bool given_up)
{
	static struct flow *f[FLOW_MAX];
	static struct tcp_image flow[FLOW_MAX];
	struct wr w = wr_init(image, sizeof(image));
	unsigned n = hold_all(f), i;
	struct rd r;

	save(f, n, &w);
	trace("  %u connections %s, %zu bytes", n,
	      given_up ? "stay" : "migrate", w.len);
	world.migrated += n;
	for (i = 0; i < n; i++)
		if (!given_up)
			leave(f[i]);
		else if (tcp_image_held(f[i]))
			tcp_image_resume(&world.tcp, f[i]);
	if (given_up)
		return;
	r = rd_init(image, w.len);
	must(stream_get_head(&r), "stream_get_head");
	stream_get_seen(&r, &world.seen);
	if (rd_be32(&r) != n)
		sim_fail("other than %u connections", n);
	for (i = 0; i < n; i++)
		stream_get_flow(&r, &flow[i]);
	for (i = 0; i < n; i++)
		arrive(&flow[i], &r);
	if (!rd_ok(&r) || rd_left(&r))
		sim_fail("the stream has another length");
}

void world_run(uint64_t until, bool (*done)(void))
{
	sim.horizon = until;
	while (sim.now < until && !(done && done()))
		loop_turn(&world.loop);
}

unsigned world_leftovers(void)
{
	unsigned kept = world.kept ? world.kept() : 0;

	return toy_count() - listen_count(&listeners) - kept -
	       (world.rings ? rings_toys() : 1) - host_toys() -
	       clients_toys();
}
