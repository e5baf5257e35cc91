/* SPDX-License-Identifier: GPL-2.0-or-later */
/* unit: handover tftp state freeze flow tcp_freeze tcp_conn udp_freeze splice chunk ahead loop timer iov addr util log events sock egress fwd dnsanswer neigh lan addrset packet checksum segment tap_stream tap_tun tap_vhost vhost_user vhost_mem vhost_bell virtq acceptor tap pcap listen rules ns */
/* What a predecessor says, whoever that is, taken into service by the modules
 * themselves.  Byte 0 is the kind of daemon; then, for each section, how many
 * descriptors come with it, a byte for the kind of each, and the section. */
#include "handover.h"

#include "emit.h"
#include "freeze.h"
#include "log.h"
#include "tcp_freeze.h"
#include "udp_freeze.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#define REQUIRE(x) ((x) ? (void)0 : abort())

enum { FDS = 64, MEM = 256 << 20, FIRST = 64, LAST = 4096 };

static struct conf conf;
static struct plan plan;
static char ifname[16];
static struct loop loop;
static struct flows flows;
static struct chunks chunks;
static struct aheads ahead;
static struct neigh neigh;
static struct fwd fwd;
static struct egress_heard heard;
static char err[EGRESS_ERR];
static struct sock_env env = { .v4 = true, .v6 = true };
static struct ns ns;
static struct listen listening;
static struct splice spliced;
static struct tcp tcp;
static struct udp udp;
static struct guest guest;
static struct migrate moving;
static struct pcap pcap = { .fd = -1 };
static struct seen seen;
static struct handover h;
static struct tap_stream stream, fresh_stream;
static struct tap_vhost vhost, fresh_vhost;
static struct tap_tun tun;
static int sockets[HANDOVER_SOCKETS];

/* --- what is not reached ------------------------------------------------------ */

bool emit_answer(struct tap *t, struct answer *a)
{
	(void)t;
	(void)a;
	return true;
}

bool icmp_refuse(struct icmp_limit *l, struct tap *t, const struct fwd *f,
		 const struct side *side, uint8_t proto, uint32_t seq, int err,
		 struct sock_error *e)
{
	(void)l;
	(void)t;
	(void)f;
	(void)side;
	(void)proto;
	(void)seq;
	(void)err;
	(void)e;
	abort();
}

void guest_save(const struct guest *g, struct wr *w)
{
	(void)g;
	wr_u8(w, 1);
}

void guest_load(struct guest *g, struct rd *r)
{
	(void)g;
	rd_skip(r, 1);
}

/* --- modules ------------------------------------------------------------------ */

static void forget(void *owner, struct flow *f)
{
	(void)owner;
	flow_free(&flows, f);
}

static const struct flow_type tcp_type = {
	.freeze = tcp_freeze, .thaw = tcp_thaw, .forget = tcp_forget,
}, udp_type = {
	.freeze = udp_freeze, .thaw = udp_thaw, .forget = forget,
};

static void on_event(void *owner, uint64_t ref, uint32_t events)
{
	(void)owner;
	(void)ref;
	(void)events;
}

static void device_end(void *owner)
{
	(void)owner;
}

static struct device_state device = { .end = device_end };

static void start(void)
{
	unsigned watch;

	log_level(LOG_ERROR);
	log_stderr(false);
	REQUIRE(!loop_init(&loop) && !flows_init(&flows, &loop) &&
		!chunks_init(&chunks) && !ahead_init(&ahead, &chunks));
	watch = loop_watch(&loop, on_event, NULL);
	fwd_init(&fwd, &plan.lan, &seen, &plan.map, &env);
	REQUIRE(egress_add(&conf.egress, true, "example.org:1-2,4", err) &&
		egress_add(&conf.egress, true, "*.example.net", err));
	fwd.view = (struct egress_view){ .heard = &heard, .now_ms = &loop.now_ms };
	REQUIRE(!listen_init(&listening, &loop, &env, &ns));
	listening.tcp_watch = listening.udp_watch = watch;
	REQUIRE(!tap_stream_init(&stream, &loop, &pcap, watch, false) &&
		!tap_vhost_init(&vhost, &loop, &pcap, watch, false));
	tap_vhost_moves(&vhost, &device);
	fresh_stream = stream;
	fresh_vhost = vhost;
	tcp = (struct tcp){ .flows = &flows, .fwd = &fwd, .neigh = &neigh,
			    .chunks = &chunks, .ahead = ahead, .rto_max_ms = 120000 };
	tftp_init(&guest.tftp, &loop, &stream.tap, &plan.lan);
	guest.tftp.dir = 0;
	udp.flows = &flows;
	udp.fwd = &fwd;
	splice_init(&spliced, &flows, &fwd, &ns);
	flows_type(&flows, FLOW_TCP, &tcp_type, &tcp);
	flows_type(&flows, FLOW_UDP, &udp_type, &udp);
}

/* As a process that has just begun */
static void begin(unsigned kind)
{
	struct addrset copies = plan.lan.copies;
	unsigned i;

	stream = fresh_stream;
	vhost = fresh_vhost;
	memset(&tun, 0, sizeof(tun));
	memset(&plan, 0, sizeof(plan));
	plan.lan.copies = copies;
	plan.lan.mtu = 1500;
	conf.mode = kind % 3 == 0 ? MODE_PASST :
		    kind % 3 == 1 ? MODE_VHOST : MODE_PASTA;
	conf.splice_only = conf.mode == MODE_PASTA && kind & 4;
	h = (struct handover){
		.conf = &conf, .plan = &plan, .ns_ifname = ifname,
		.tap = conf.mode == MODE_PASST ? &stream.tap :
		       conf.mode == MODE_VHOST ? &vhost.tap : &tun.tap,
		.tun = &tun, .stream = &stream, .vhost = &vhost,
		.migrate = &moving, .flows = &flows, .listen = &listening,
		.tcp = &tcp, .guest = &guest, .pcap = &pcap, .fwd = &fwd,
		.splice = conf.mode == MODE_PASTA ? &spliced : NULL,
	};
	for (i = 0; i < HANDOVER_SOCKETS; i++) {
		sockets[i] = -1;
		h.socket[i] = &sockets[i];
	}
	tcp.tap = h.tap;
	h.tap->caps.frame_max = 1514;
	handover_begin(&h);
}

/* --- descriptors --------------------------------------------------------------- */

static int memory(void)
{
	int fd = memfd_create("fuzz", MFD_CLOEXEC);

	REQUIRE(!ftruncate(fd, MEM));
	return fd;
}

/* Numbers from FIRST on, so that all can be closed again */
static int descriptor(unsigned kind)
{
	int fd[2] = { -1, -1 }, high;

	switch (kind % 7) {
	case 0:
		fd[0] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
		break;
	case 1:
		fd[0] = socket(AF_INET6, SOCK_DGRAM | SOCK_NONBLOCK, 0);
		break;
	case 2:
		REQUIRE(!socketpair(AF_UNIX, SOCK_STREAM, 0, fd));
		break;
	case 3:
		fd[0] = memory();
		break;
	case 4:
		fd[0] = eventfd(0, EFD_NONBLOCK);
		break;
	default:
		REQUIRE(!pipe2(fd, O_NONBLOCK));
		if (kind % 7 == 6) {
			high = fd[0];
			fd[0] = fd[1];
			fd[1] = high;
		}
	}
	high = fcntl(fd[0], F_DUPFD_CLOEXEC, FIRST);
	REQUIRE(high >= 0);
	close(fd[0]);
	if (fd[1] >= 0)
		close(fd[1]);
	return high;
}

/* --- what it says ---------------------------------------------------------------- */

static int take(struct rd *in, struct fdlist *fds)
{
	unsigned n = rd_u8(in) % FDS;
	struct rd body;
	uint32_t tag;

	while (n-- && rd_left(in))
		fdlist_put(fds, descriptor(rd_u8(in)));
	if (!state_next(in, &tag, &body))
		return -1;
	return tag == STATE_LAN ? -!handover_load_lan(&h, &body) :
				  handover_load(&h, tag, &body, fds);
}

/* What was taken can be given, too */
static void give(void)
{
	static uint8_t out[8 << 20];
	struct wr w = wr_init(out, sizeof(out));
	struct fdlist fds = { 0 };

	handover_begin(&h);
	while (handover_save(&h, &w, &fds) > 0)
		if (w.len > sizeof(out) / 2 || fds.n > FDLIST_MAX / 2)
			break;
	REQUIRE(fds.n || w.len);
}

static void end(void)
{
	unsigned i;

	for (i = 0; i < flows.fresh; i++)
		if (flows.flow[i].kind != FLOW_FREE)
			freeze_forget(&flows, &flows.flow[i]);
	for (i = 0; i < TFTP_SESSIONS; i++)
		timer_drop(&loop.timers, &guest.tftp.session[i].timer);
	tftp_init(&guest.tftp, &loop, &stream.tap, &plan.lan);
	guest.tftp.dir = 0;
	vhost_user_stop(&vhost.user);
	listen_end(&listening);
	listening.table[0].rules.n = listening.table[1].rules.n = 0;
	listening.table[0].slots = listening.table[1].slots = 0;
	addrset_clear(&plan.lan.copies);
	REQUIRE(!flows.count && !chunks.used);
	REQUIRE(!close_range(FIRST, LAST, 0));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct fdlist fds;
	struct rd in = rd_init(data, size);
	unsigned kind = rd_u8(&in);
	int err = 0;

	if (!loop.epfd)
		start();
	begin(kind);
	fds = (struct fdlist){ 0 };
	while (rd_left(&in) && !err && !h.whole)
		err = take(&in, &fds);
	if (!err && h.linked)
		give();
	end();
	return 0;
}
