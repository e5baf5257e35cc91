/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * migrate - a guest's connections, to and from another host
 *
 * Each step ends where something has to be waited for: the stream, or the
 * helper.  What was saved stays as it is, deaf and in repair mode, until it is
 * known where the guest goes on.  If it goes on here, all of that is undone.
 */
#include "migrate.h"

#include "freeze.h"
#include "log.h"

#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
	QUEUES = 2 * SOCK_QUEUE_MAX,
	BUFFER = QUEUES + 4096,
	PIECE = 4096, /* a pipe with room takes that much without blocking */
	RECORDS = 512, /* records at a time */
	RETRY_MS = 10,
};

static void work(struct migrate *m);

/* --- the stream ----------------------------------------------------------- */

static void watch(struct migrate *m, bool on)
{
	bool save = m->step < LOAD_HEAD;

	m->unwatched = false;
	if (on == m->watched || m->fd < 0)
		return;
	m->watched = on;
	if (!on) {
		loop_del(m->loop, m->fd);
	} else if (loop_add(m->loop, m->fd, m->watch, 0,
			    save ? EPOLLOUT : EPOLLIN)) {
		m->watched = false;
		m->unwatched = true;
		timer_set(&m->loop->timers, &m->timer,
			  m->loop->now_ms + RETRY_MS);
	}
}

static void close_stream(struct migrate *m)
{
	watch(m, false);
	if (m->fd >= 0)
		close(m->fd);
	m->fd = -1;
	timer_off(&m->timer);
	/* #syscalls madvise(.,.,MADV_DONTNEED) */
	(void)madvise(m->buf, BUFFER, MADV_DONTNEED);
}

/* Write to the stream: 1: all is written, 0: not yet */
static int flush(struct migrate *m)
{
	ssize_t n;

	if (m->off == m->len)
		return 1;
	/* #syscalls write */
	n = write(m->fd, m->buf + m->off, MIN(m->len - m->off, (size_t)PIECE));
	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	m->off += (size_t)n;
	return 0;
}

/* Read from the stream: 1: all that was wanted is there, 0: not yet */
static int gather(struct migrate *m)
{
	ssize_t n;

	if (m->len == m->want)
		return 1;
	/* #syscalls read */
	n = read(m->fd, m->buf + m->len, m->want - m->len);
	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	if (!n)
		return -EPIPE;
	m->len += (size_t)n;
	return m->len == m->want;
}

static void want(struct migrate *m, enum migrate_step step, size_t bytes)
{
	m->step = step;
	m->len = 0;
	m->want = bytes;
}

/* The transfer has ended with @err */
static void finish(struct migrate *m, int err)
{
	close_stream(m);
	m->over = true;
	m->result = err;
	if (m->begun && m->state.done)
		m->state.done(m->state.asker);
}

/* --- saving --------------------------------------------------------------- */

static struct flow *flow_of(const struct migrate *m, unsigned i)
{
	struct flow *f = &m->tcp->flows->flow[m->m[i].index];

	return f->kind == FLOW_TCP && f->gen == m->m[i].gen ? f : NULL;
}

static int host_fd(const struct flow *f)
{
	return f->side[f->side[0].pif == PIF_TAP].fd;
}

static void collect(struct migrate *m)
{
	struct flows *flows = m->tcp->flows;
	unsigned i;

	m->n = m->at = 0;
	for (i = 0; i < flows->fresh; i++) {
		const struct flow *f = &flows->flow[i];

		if (!tcp_image_can(f))
			continue;
		m->m[m->n++] = (struct moving){ .index = i, .gen = f->gen,
						.fd = host_fd(f) };
	}
}

static void back(struct migrate *m);

static void save_failed(struct migrate *m, int err)
{
	log_warn("Migration: connections could not be saved: %s",
		 util_error(-err));
	finish(m, err);
	back(m);
}

/* Without the helper no connection can move */
static void save_none(struct migrate *m)
{
	log_warn("Migration: without passt-repair %u connections will be reset",
		 m->n);
	back(m);
	m->n = m->at = 0;
	m->step = SAVE_HEAD;
	watch(m, true);
}

/* The socket of a connection that still exists.  One that was reset meanwhile
 * has none, and its descriptor may be another's. */
static int socket_of(const struct migrate *m, unsigned i)
{
	const struct flow *f = flow_of(m, i);

	if (m->step == LOAD_REPAIR)
		return m->m[i].fd;
	return f && tcp_image_held(f) ? host_fd(f) : -1;
}

static bool ask(struct migrate *m, enum repair_mode mode)
{
	int fd[REPAIR_BATCH];
	unsigned i, n = 0;

	m->batch = MIN(m->n - m->at, (unsigned)REPAIR_BATCH);
	for (i = 0; i < m->batch; i++) {
		int s = socket_of(m, m->at + i);

		if (s < 0)
			continue;
		/* The answer to the window probe must be heard */
		if (mode == REPAIR_OFF)
			(void)sock_deaf(s, false);
		fd[n++] = s;
	}
	if (n)
		return !repair_ask(m->repair, mode, fd, n);
	m->repair->done(m, 0);
	return true;
}

/* Leave out connections that have ended since they were collected, or only wait
 * for room for a reset */
static void weed(struct migrate *m)
{
	const struct flow *f;
	unsigned i = m->at;

	while (i < m->n) {
		f = flow_of(m, i);
		if (f && tcp_image_can(f))
			i++;
		else
			m->m[i] = m->m[--m->n];
	}
}

static void save_hold(struct migrate *m)
{
	unsigned i;

	watch(m, false);
	weed(m);
	for (i = 0; i < MIN(m->n - m->at, (unsigned)REPAIR_BATCH); i++)
		tcp_image_hold(m->tcp, flow_of(m, m->at + i));
	if (!ask(m, REPAIR_ON))
		save_none(m);
}

static void save_helper(struct migrate *m)
{
	if (!m->n) {
		m->step = SAVE_HEAD;
	} else if (repair_there(m->repair)) {
		m->step = SAVE_HOLD;
	} else if (!m->repair->loop || !m->timer.due_ms) {
		save_none(m);
	} else {
		watch(m, false);
		return;
	}
	work(m);
}

static void save_head(struct migrate *m)
{
	struct wr w = wr_init(m->buf, BUFFER);

	stream_put_head(&w);
	stream_put_seen(&w, m->seen);
	wr_be32(&w, m->n);
	m->off = 0;
	m->len = w.len;
	m->at = 0;
	m->step = SAVE_FLOWS;
}

/* There is a record even for connections that have ended meanwhile, and then
 * one without a socket */
static void save_flows(struct migrate *m)
{
	struct wr w = wr_init(m->buf, BUFFER);
	unsigned i;

	for (i = 0; i < RECORDS && m->at < m->n; i++, m->at++) {
		struct tcp_image *image = &m->m[m->at].image;
		struct flow *f = flow_of(m, m->at);

		if (f)
			tcp_image_get(f, image);
		stream_put_flow(&w, image);
	}
	m->off = 0;
	m->len = w.len;
	if (w.len)
		return;
	m->at = 0;
	m->step = SAVE_SOCKS;
}

static void saved(struct migrate *m)
{
	m->step = SAVE_OVER;
	log_info("Migration: %u connections saved, %u lost", m->n - m->lost,
		 m->lost);
	finish(m, 0);
}

static void save_sock(struct migrate *m)
{
	struct tcp_image *image = &m->m[m->at].image;
	struct flow *f = flow_of(m, m->at);
	struct sock_image *s = &image->sock;
	struct wr w = wr_init(m->buf, STREAM_SOCK);
	int err = f ? tcp_image_get_sock(m->tcp, f, image,
					 m->buf + STREAM_SOCK, QUEUES) :
		      -ENOTCONN;

	if (err) {
		log_limited(LOG_WARN, "Migration: a connection is lost: %s",
			    util_error(-err));
		*s = (struct sock_image){ 0 };
		m->lost++;
		if (err == -ENOTCONN && f)
			tcp_image_reset(m->tcp, f);
	}
	stream_put_sock(&w, s);
	m->off = 0;
	m->len = STREAM_SOCK + s->snd_len + s->rcv_len;
	m->at++;
}

static void save_more(struct migrate *m)
{
	int ret = flush(m);

	watch(m, true);
	if (ret < 0) {
		save_failed(m, ret);
		return;
	}
	if (!ret)
		return;
	if (m->step == SAVE_HEAD)
		save_head(m);
	else if (m->step == SAVE_FLOWS)
		save_flows(m);
	else if (m->at < m->n)
		save_sock(m);
	else
		saved(m);
}

/* --- what was saved: here again, or gone --------------------------------------- */

static void resume_some(struct migrate *m, unsigned end)
{
	struct flow *f;

	for (; m->at < end; m->at++) {
		f = flow_of(m, m->at);
		if (!f || !tcp_image_held(f))
			continue;
		if (host_fd(f) >= 0)
			tcp_image_resume(m->tcp, f);
		else
			tcp_image_reset(m->tcp, f);
	}
}

/* Reset connections that cannot be restored any more */
static void reset_rest(struct migrate *m)
{
	struct flow *f;

	for (; m->at < m->n; m->at++) {
		f = flow_of(m, m->at);
		if (f && tcp_image_held(f))
			tcp_image_reset(m->tcp, f);
	}
}

static void back_next(struct migrate *m)
{
	if (m->at < m->n && !ask(m, REPAIR_OFF))
		reset_rest(m);
	if (m->at < m->n)
		return;
	m->step = MIGRATE_IDLE;
	m->n = 0;
	repair_end(m->repair);
}

/* All connections go on here */
static void back(struct migrate *m)
{
	m->at = 0;
	m->step = SAVE_BACK;
	if (!repair_there(m->repair) || m->repair->asked)
		repair_end(m->repair);
	back_next(m);
}

/* No connection goes on here.  Sockets that are left @open stay deaf, so that a
 * peer that sends is not refused before the network knows where the guest has
 * gone; closing one in repair mode sends nothing either. */
static void forget(struct migrate *m, bool open)
{
	unsigned i;

	for (i = 0; i < m->n; i++) {
		struct flow *f = flow_of(m, i);

		/* a connection that was restored owns its socket */
		if (m->m[i].gen)
			m->m[i].fd = f ? host_fd(f) : -1;
		if (f)
			freeze_forget(m->tcp->flows, f);
		if (open || m->m[i].fd < 0)
			continue;
		sock_close(m->m[i].fd);
		m->m[i].fd = -1;
	}
	m->step = MIGRATE_IDLE;
	repair_end(m->repair);
}

static void close_kept(struct migrate *m)
{
	unsigned i;

	for (i = 0; i < m->n; i++)
		if (m->m[i].fd >= 0)
			sock_close(m->m[i].fd);
	m->n = 0;
}

/* --- loading -------------------------------------------------------------- */

static void load_failed(struct migrate *m, int err)
{
	const char *why = err == -EPROTO ? "this is no state of passt" :
			  err == -ENOTSUP ? "its version is not known" :
			  err == -EPIPE ? "it ends too early" :
					  util_error(-err);

	log_err("Migration: can't load the guest's state: %s", why);
	if (m->step == LOAD_FLOWS) /* what was not read has no socket */
		m->n = m->at;
	forget(m, false);
	m->n = 0;
	finish(m, err);
}

/* All is loaded.  Until the guest runs here, it may still go on where it came
 * from. */
static void loaded(struct migrate *m)
{
	log_info("Migration: %u connections loaded, %u lost", m->n - m->lost,
		 m->lost);
	m->step = LOAD_OVER;
	finish(m, 0);
}

static void see(struct migrate *m, struct rd *r)
{
	struct seen seen = *m->seen, *s = m->seen;

	stream_get_seen(r, &seen);
	if (addr_is_unicast(&seen.v4) && addr_is_v4(&seen.v4))
		s->v4 = seen.v4;
	if (addr_is_unicast(&seen.v6) && !addr_is_v4(&seen.v6))
		s->v6 = seen.v6;
	if (addr_is_link_local(&seen.ll) && !addr_is_v4(&seen.ll))
		s->ll = seen.ll;
	s->mac = seen.mac;
}

static void load_head(struct migrate *m)
{
	struct rd r = rd_init(m->buf, m->len);
	int err = stream_get_head(&r);

	if (!err)
		see(m, &r);
	m->n = err ? 0 : rd_be32(&r);
	if (!err && m->n > FLOW_MAX)
		err = -EPROTO;
	if (err) {
		m->n = 0;
		load_failed(m, err);
		return;
	}
	m->at = 0;
	if (m->n)
		want(m, LOAD_FLOWS, STREAM_FLOW);
	else
		loaded(m);
}

static void load_flow(struct migrate *m)
{
	struct moving *one = &m->m[m->at];
	struct rd r = rd_init(m->buf, m->len);

	*one = (struct moving){ .fd = -1 };
	stream_get_flow(&r, &one->image);
	m->at++;
	m->len = 0;
	if (m->at < m->n)
		return;
	m->at = 0;
	m->step = LOAD_HELPER;
	timer_set(&m->loop->timers, &m->timer,
		  m->loop->now_ms + MIGRATE_HELPER_MS);
	work(m);
}

static void load_repaired(struct migrate *m)
{
	m->at = 0;
	want(m, LOAD_SOCK, STREAM_SOCK);
	watch(m, true);
}

static void load_helper(struct migrate *m)
{
	watch(m, false);
	if (repair_there(m->repair)) {
		m->step = LOAD_REPAIR;
		work(m);
	} else if (!m->repair->loop || !m->timer.due_ms) {
		log_warn("Migration: without passt-repair %u connections are "
			 "reset", m->n);
		load_repaired(m);
	}
}

/* A socket that cannot be made costs only its own connection */
static void load_repair(struct migrate *m)
{
	const struct sock_env *e = m->tcp->fwd->env;
	unsigned i, end = m->at + MIN(m->n - m->at, (unsigned)REPAIR_BATCH);

	if (m->at == m->n) {
		load_repaired(m);
		return;
	}
	for (i = m->at; i < end; i++) {
		struct moving *one = &m->m[i];

		if (!tcp_image_sane(&one->image))
			continue;
		one->fd = sock_image_make(e, tcp_image_is_v4(&one->image));
		if (one->fd >= 0)
			(void)sock_deaf(one->fd, true);
	}
	if (!ask(m, REPAIR_ON))
		load_failed(m, -ENOTCONN);
}

/* The guest runs here now */
static void load_last(struct migrate *m)
{
	if (m->at < m->n && !ask(m, REPAIR_OFF))
		reset_rest(m);
	if (m->at < m->n || m->step != LOAD_LAST)
		return;
	m->n = 0;
	m->step = MIGRATE_IDLE;
	repair_end(m->repair);
}

static void load_next(struct migrate *m)
{
	m->at++;
	want(m, LOAD_SOCK, STREAM_SOCK);
	if (m->at == m->n)
		loaded(m);
}

static void name(struct migrate *m, const struct flow *f)
{
	if (!f)
		return;
	m->m[m->at].index = flow_index(m->tcp->flows, f);
	m->m[m->at].gen = f->gen;
}

/* Loading failed: the guest gets resets, and the far ends when they send */
static void load_lost(struct migrate *m, int err)
{
	struct moving *one = &m->m[m->at];

	log_limited(LOG_WARN, "Migration: a connection is lost: %s",
		    util_error(-err));
	m->lost++;
	if (one->fd >= 0)
		sock_close(one->fd);
	one->fd = -1;
	if (tcp_image_sane(&one->image))
		name(m, tcp_image_refuse(m->tcp, &one->image));
	load_next(m);
}

static void load_queues(struct migrate *m)
{
	struct moving *one = &m->m[m->at];
	const struct tcp_image *i = &one->image;
	struct flow *f = NULL;
	size_t kept = tcp_image_kept(m->tcp, i);
	int err = one->fd < 0 ? -ENOTCONN :
				tcp_image_fill(m->tcp, i, one->fd, m->buf, kept);

	if (!err)
		f = tcp_image_put(m->tcp, i, one->fd, m->buf, kept);
	if (f) {
		name(m, f);
		load_next(m);
	} else {
		load_lost(m, err ? err : -ENOSPC);
	}
}

static void load_sock(struct migrate *m)
{
	struct sock_image *s = &m->m[m->at].image.sock;
	struct rd r = rd_init(m->buf, m->len);

	if (!stream_get_sock(&r, s)) {
		load_failed(m, -EPROTO);
	} else if (!s->state) {
		load_lost(m, -ENODATA);
	} else {
		want(m, LOAD_QUEUES, s->snd_len + s->rcv_len);
		if (!m->want)
			load_queues(m);
	}
}

static void load_more(struct migrate *m)
{
	int ret = gather(m);

	if (ret < 0)
		load_failed(m, ret);
	else if (!ret)
		return;
	else if (m->step == LOAD_HEAD)
		load_head(m);
	else if (m->step == LOAD_FLOWS)
		load_flow(m);
	else if (m->step == LOAD_SOCK)
		load_sock(m);
	else
		load_queues(m);
}

/* --- steps ------------------------------------------------------------------ */

static void work(struct migrate *m)
{
	switch (m->step) {
	case SAVE_HELPER:
		save_helper(m);
		break;
	case SAVE_HOLD:
		save_hold(m);
		break;
	case SAVE_HEAD:
	case SAVE_FLOWS:
	case SAVE_SOCKS:
		save_more(m);
		break;
	case LOAD_HEAD:
	case LOAD_FLOWS:
	case LOAD_SOCK:
	case LOAD_QUEUES:
		load_more(m);
		break;
	case LOAD_HELPER:
		load_helper(m);
		break;
	case LOAD_REPAIR:
		load_repair(m);
		break;
	default:
		break;
	}
}

static void stream_event(void *owner, uint64_t ref, uint32_t events)
{
	(void)ref;
	(void)events;
	work(owner);
}

static void look_for_helper(void *owner)
{
	struct migrate *m = owner;

	if (m->step == SAVE_HELPER || m->step == LOAD_HELPER)
		work(m);
}

/* There is no helper, or the stream could not be watched */
static void tick(void *owner, struct timer *t)
{
	struct migrate *m = owner;

	(void)t;
	if (m->step == SAVE_HELPER || m->step == LOAD_HELPER) {
		work(m);
	} else if (m->unwatched) {
		watch(m, true);
		work(m);
	}
}

static void batch_done(struct migrate *m)
{
	m->at += m->batch;
	if (m->step == SAVE_HOLD && m->at == m->n)
		m->step = SAVE_HEAD;
	work(m);
}

static void repaired(void *owner, int err)
{
	struct migrate *m = owner;

	switch (m->step) {
	case SAVE_HOLD:
		if (err)
			save_none(m);
		else
			batch_done(m);
		watch(m, m->step != SAVE_HOLD);
		break;
	case SAVE_BACK:
		if (!err)
			resume_some(m, m->at + m->batch);
		back_next(m);
		break;
	case LOAD_REPAIR:
		if (err)
			load_failed(m, err);
		else
			batch_done(m);
		break;
	case LOAD_LAST:
		if (!err)
			resume_some(m, m->at + m->batch);
		load_last(m);
		break;
	default:
		break;
	}
}

/* --- what the dialogue asks for ------------------------------------------------ */

static int begin(void *owner, enum device_state_way way, int fd)
{
	struct migrate *m = owner;

	if (m->step != MIGRATE_IDLE) {
		close(fd);
		return -EBUSY;
	}
	close_kept(m);
	m->fd = fd;
	m->begun = true;
	m->loads = way == DEVICE_LOAD;
	m->over = m->watched = false;
	m->lost = 0;
	m->off = m->len = 0;
	if (!m->loads) {
		collect(m);
		m->step = SAVE_HELPER;
		timer_set(&m->loop->timers, &m->timer,
			  m->loop->now_ms + MIGRATE_HELPER_MS);
	} else {
		want(m, LOAD_HEAD, STREAM_HEAD + STREAM_SEEN + STREAM_COUNT);
	}
	watch(m, true);
	if (m->watched)
		return 0;
	close_stream(m);
	m->begun = false;
	m->step = MIGRATE_IDLE;
	m->n = 0;
	return -EINVAL;
}

static int check(void *owner)
{
	struct migrate *m = owner;

	if (!m->begun)
		return -ENODATA;
	if (!m->over)
		return -EINPROGRESS;
	m->begun = false;
	if (m->step == SAVE_OVER && m->exit_after)
		loop_quit(m->loop, 0);
	/* a guest without its state must not start */
	if (m->result && m->loads)
		loop_quit(m->loop, 1);
	return m->result;
}

static void runs(void *owner)
{
	struct migrate *m = owner;

	if (m->step == SAVE_OVER) {
		log_info("Migration: given up, %u connections go on here",
			 m->n);
		back(m);
	} else if (m->step == LOAD_OVER) {
		m->at = 0;
		m->step = LOAD_LAST;
		load_last(m);
	}
}

static void end(void *owner)
{
	struct migrate *m = owner;
	bool undone = m->begun && m->loads && (!m->over || m->result);

	m->begun = false;
	if (m->step == SAVE_OVER) {
		forget(m, !m->no_linger);
	} else if (m->step >= LOAD_HEAD && m->step < LOAD_OVER) {
		load_failed(m, -EPIPE);
	} else if (m->step == LOAD_OVER) {
		forget(m, false);
		m->n = 0;
	} else if (m->step > MIGRATE_IDLE && m->step < SAVE_OVER) {
		close_stream(m);
		back(m);
	}
	if (undone)
		loop_quit(m->loop, 1);
}

int migrate_init(struct migrate *m, struct tcp *tcp, struct seen *seen,
		 struct repair *repair)
{
	*m = (struct migrate){
		.state = { .owner = m, .begin = begin, .check = check,
			   .end = end, .runs = runs },
		.loop = tcp->flows->loop, .tcp = tcp, .seen = seen,
		.repair = repair, .fd = -1,
	};
	m->m = util_map(sizeof(*m->m) * FLOW_MAX);
	m->buf = util_map(BUFFER);
	if (!m->m || !m->buf)
		return -ENOMEM;
	timer_init(&m->timer, tick, m);
	m->watch = loop_watch(m->loop, stream_event, m);
	repair->came = look_for_helper;
	repair->done = repaired;
	repair->owner = m;
	return 0;
}
