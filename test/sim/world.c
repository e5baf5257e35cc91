/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Everything put together as passt.c does it, on toys.
 */
#include "sim.h"
#include "freeze.h"
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
	struct world *w = &world;

	memset(w, 0, sizeof(*w));
	sock_reset();
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

static void turn_end(void *owner)
{
	guest_turn_end(owner);
	if (world.moves && chance(world.moves))
		world_move();
}

static void must(int err, const char *what)
{
	if (err)
		sim_fail("%s: %s", what, strerror(-err));
}

void world_start(void)
{
	struct world *w = &world;

	must(loop_init(&w->loop), "loop_init");
	w->loop.spare = dup(STDERR_FILENO); /* as loop_start() does */
	must(flows_init(&w->flows, &w->loop), "flows_init");
	fwd_init(&w->fwd, &w->lan, &w->seen, &w->map, &w->env);
	must(listen_init(&listeners, &w->loop, &w->env, NULL), "listen_init");
	guest_init(&w->guest, &w->loop, &w->flows, &w->tap.tap, &w->lan,
		   &w->seen, &w->neigh);
	must(tcp_init(&w->tcp, &w->flows, &w->tap.tap, &w->fwd, &listeners,
		      &w->neigh, &w->chunks), "tcp_init");
	w->tcp.syn_linear = 4; /* whatever this machine has */
	w->tcp.syn_retries = 6;
	w->tcp.rto_max_ms = 120 * 1000;
	udp_init(&w->udp, &w->flows, &w->tap.tap, &w->fwd, &listeners,
		 &w->neigh);
	w->udp.patience.single_ms = 30 * 1000;
	w->udp.patience.stream_ms = 120 * 1000;
	echo_init(&w->echo, &w->flows, &w->tap.tap, &w->fwd, &w->neigh);
	guest_protocols(&w->guest, &w->tcp, &w->udp, &w->echo);
	w->loop.turn_end = turn_end;
	w->loop.turn_owner = &w->guest;
	forward(IPPROTO_TCP);
	forward(IPPROTO_UDP);
	must(listen_start(&listeners, PIF_HOST, &w->rules), "listen_start");
	toy_tap_init(&w->tap, &w->loop, w->guest.watch);
	emit_init(&w->tap.tap, w->lan.mtu);
}

/* All flows that can, and their descriptors in order */
static unsigned freeze_all(struct wr *w, int (*fd)[2])
{
	unsigned i, n = 0;

	for (i = 0; i < world.flows.fresh; i++) {
		struct flow *f = &world.flows.flow[i];

		if (f->kind == FLOW_FREE || !freeze_flow(&world.flows, f, w))
			continue;
		fd[n][0] = f->side[0].fd;
		fd[n++][1] = f->side[1].fd;
		freeze_forget(&world.flows, f);
	}
	return n;
}

void world_move(void)
{
	static uint8_t buf[64 << 20];
	static int fd[FLOW_MAX][2];
	struct wr w = wr_init(buf, sizeof(buf));
	unsigned n, i = 0;
	struct rd r, body;
	uint32_t tag;
	size_t at;

	state_head(&w);
	at = state_begin(&w, STATE_TCP);
	tcp_save(&world.tcp, &w);
	state_end(&w, at);
	n = freeze_all(&w, fd);
	trace("  %u flows move, %zu bytes", n, w.len);
	memset(world.tcp.past, 0, sizeof(world.tcp.past));
	memset(&world.tcp.link, 0, sizeof(world.tcp.link));

	r = rd_init(buf, w.len);
	must(state_check(&r), "state_check");
	while (state_next(&r, &tag, &body)) {
		if (tag == STATE_TCP)
			tcp_load(&world.tcp, &body);
		else if (tag != STATE_FLOW ||
			 !thaw_flow(&world.flows, &body, fd[i++]))
			sim_fail("section %u of %u does not thaw", i, n);
		if (rd_left(&body) || !rd_ok(&body))
			sim_fail("a section has another length");
	}
	if (!rd_ok(&r) || i != n)
		sim_fail("%u of %u flows came", i, n);
}

void world_run(uint64_t until, bool (*done)(void))
{
	sim.horizon = until;
	while (sim.now < until && !(done && done()))
		loop_turn(&world.loop);
}

unsigned world_leftovers(void)
{
	return toy_count() - 2 * FORWARD_PORTS - 1;
}
