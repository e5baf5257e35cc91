/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * tftp - RFC 1350 with the options of RFC 2347 to 2349 and 7440
 *
 * A transfer is a session: a tuple, an open file, and how far the guest has
 * got.  It has a port of its own, so packets that belong to no session go their
 * usual way.  Nothing that was sent is kept: a block that was lost is read
 * again.  So a successor needs little to go on.
 *
 * The guest names files, so the kernel must confine it: paths are resolved
 * beneath the directory, and only regular files are read.  A guest that asks
 * for everything at once gets TFTP_SESSIONS transfers.
 */
#include "tftp.h"
#include "emit.h"
#include "log.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <netinet/in.h>
#include <stdio.h>
#include <strings.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { RRQ = 1, WRQ, DATA, ACK, ERROR, OACK };

/* RFC 1350, appendix */
enum fault { OTHER, NOT_FOUND, ACCESS, FULL, ILLEGAL, UNKNOWN_TID };

enum {
	HEAD = 4, /* opcode, block */
	BLOCK_DEFAULT = 512,
	BLOCK_LEAST = 8,
	BLOCK_MOST = 65464,
	TIMEOUT_MOST = 255,
	TRIES = 5,
	TIMEOUT_S = 1,
	PORT_BASE = 49152, /* RFC 6335: not for services */
	PORTS = 16384,
	NAME_SHOWN = 80,
};

/* Of linux/openat2.h, which is not everywhere */
#ifndef SYS_openat2
#define SYS_openat2 437
#endif
enum { RESOLVE_MAGICLINKS_NOT = 0x02, RESOLVE_BELOW = 0x08 };
struct how {
	uint64_t flags, mode, resolve;
};

/* --- the request ----------------------------------------------------------- */

static const char *get_text(struct rd *in)
{
	const void *end = memchr(in->p, 0, rd_left(in));

	if (!end) {
		in->bad = true;
		return NULL;
	}
	return rd_view(in, (size_t)((const uint8_t *)end - in->p) + 1);
}

/* Make a name relative to the directory, as many clients have a root in mind.
 * NULL if it could lead out of that, were it not for the kernel. */
static const char *check_name(const char *name)
{
	const char *s, *end;

	name += strspn(name, "/");
	for (s = name; *s; s = end + strspn(end, "/")) {
		end = strchrnul(s, '/');
		if (end - s == 2 && !memcmp(s, "..", 2))
			return NULL;
	}
	return *name ? name : NULL;
}

static void parse_option(struct tftp_request *r, const char *name,
			 const char *value)
{
	/* A client that asks for too long blocks accepts shorter ones */
	static const struct {
		const char *name;
		uint8_t bit;
		unsigned least, most;
		size_t off;
	} known[] = {
		{ "blksize", TFTP_BLKSIZE, BLOCK_LEAST, BLOCK_MOST,
		  offsetof(struct tftp_request, blksize) },
		{ "timeout", TFTP_TIMEOUT, 1, TIMEOUT_MOST,
		  offsetof(struct tftp_request, timeout) },
		{ "windowsize", TFTP_WINDOWSIZE, 1, UINT16_MAX,
		  offsetof(struct tftp_request, windowsize) },
	};
	uint64_t v;
	unsigned i;

	if (!util_parse_u64(value, 10, UINT32_MAX, &v))
		return;
	if (!strcasecmp(name, "tsize"))
		r->options |= TFTP_TSIZE;
	for (i = 0; i < ARRAY_SIZE(known); i++) {
		if (strcasecmp(name, known[i].name) || v < known[i].least ||
		    v > known[i].most)
			continue;
		r->options |= known[i].bit;
		*(unsigned *)(void *)((char *)r + known[i].off) = (unsigned)v;
	}
}

bool tftp_parse(struct rd in, struct tftp_request *r)
{
	const char *name = get_text(&in), *mode = get_text(&in);

	*r = (struct tftp_request){ .blksize = BLOCK_DEFAULT,
				    .timeout = TIMEOUT_S, .windowsize = 1 };
	if (!rd_ok(&in))
		return false;
	r->text = !strcasecmp(mode, "netascii");
	if (!r->text && strcasecmp(mode, "octet"))
		return false;
	r->name = check_name(name);
	while (rd_left(&in)) {
		const char *option = get_text(&in), *value = get_text(&in);

		if (!rd_ok(&in)) /* padding: not an option */
			break;
		parse_option(r, option, value);
	}
	return true;
}

/* A name that the guest wrote, for messages: without control characters, which
 * a terminal obeys */
static const char *shown(const char *name, char out[NAME_SHOWN])
{
	size_t i;

	for (i = 0; name[i] && i < NAME_SHOWN - 1U; i++)
		out[i] = name[i] < ' ' || name[i] > '~' ? '?' : name[i];
	out[i] = '\0';
	return out;
}

/* --- answers --------------------------------------------------------------- */

static struct answer answer_to(const struct tftp *t, const struct tuple *from,
			       const struct mac *mac, uint8_t *room)
{
	return (struct answer){
		.head = { .src = t->lan->mac,
			  .dst = *mac,
			  .t = { .src = from->dst,
				 .dst = from->src,
				 .sport = from->dport,
				 .dport = from->sport,
				 .proto = IPPROTO_UDP },
			  .ttl = 64 },
		.body = wr_init(room, ANSWER_MAX),
	};
}

static void send_error(struct tftp *t, const struct tuple *from,
		       const struct mac *mac, enum fault fault,
		       const char *text)
{
	uint8_t room[ANSWER_MAX];
	struct answer a = answer_to(t, from, mac, room);

	wr_be16(&a.body, ERROR);
	wr_be16(&a.body, (uint16_t)fault);
	wr_bytes(&a.body, text, strlen(text) + 1);
	emit_answer(t->tap, &a);
}

static void put_option(struct wr *w, const char *name, uint64_t value)
{
	char text[24];

	snprintf(text, sizeof(text), "%" PRIu64, value);
	wr_bytes(w, name, strlen(name) + 1);
	wr_bytes(w, text, strlen(text) + 1);
}

static void put_oack(struct wr *w, const struct tftp_session *s)
{
	wr_be16(w, OACK);
	if (s->options & TFTP_BLKSIZE)
		put_option(w, "blksize", s->block);
	if (s->options & TFTP_TIMEOUT)
		put_option(w, "timeout", s->timeout_s);
	if (s->options & TFTP_TSIZE)
		put_option(w, "tsize", s->size);
	if (s->options & TFTP_WINDOWSIZE)
		put_option(w, "windowsize", s->window);
}

/* --- the file -------------------------------------------------------------- */

/* Read @n bytes, or as many as there are: a file that shrank has ended.  -errno
 * on failure. */
static ssize_t read_at(int fd, uint8_t *buf, size_t n, uint64_t off)
{
	size_t got = 0;
	ssize_t r = 1;

	while (got < n && r > 0) {
		/* #syscalls pread64 */
		r = pread(fd, buf + got, n - got, (off_t)(off + got));
		if (r > 0)
			got += (size_t)r;
	}
	return r < 0 ? -errno : (ssize_t)got;
}

/* Read as netascii (RFC 1350, after RFC 764): a line ends with CR LF, and a
 * lone CR gets a NUL */
static ssize_t read_text(int fd, uint8_t *to, size_t n, struct tftp_place *at)
{
	uint8_t raw[TFTP_BLOCK];
	ssize_t got = read_at(fd, raw, n, at->off);
	size_t out = 0;
	ssize_t i = 0;

	if (got < 0)
		return got;
	while (out < n && (at->owes || i < got)) {
		if (at->owes) {
			to[out++] = at->owed;
			at->owes = false;
			continue;
		}
		at->owes = raw[i] == '\n' || raw[i] == '\r';
		at->owed = raw[i] == '\n' ? '\n' : 0;
		to[out++] = at->owes ? '\r' : raw[i];
		i++;
	}
	at->off += (uint64_t)i;
	return (ssize_t)out;
}

/* A file that grows meanwhile has the size that was announced */
static ssize_t read_bytes(const struct tftp_session *s, uint8_t *to,
			  struct tftp_place *at)
{
	uint64_t left = s->size > at->off ? s->size - at->off : 0;
	ssize_t got = read_at(s->fd, to, MIN(left, s->block), at->off);

	if (got > 0)
		at->off += (uint64_t)got;
	return got;
}

/* --- the transfer ---------------------------------------------------------- */

static void finish(struct tftp_session *s)
{
	struct tftp *t = s->tftp;

	if (s->fd >= 0)
		close(s->fd); /* #syscalls close */
	timer_drop(&t->loop->timers, &s->timer);
	s->used = false;
	s->fd = -1;
	t->used--;
}

static void give_up(struct tftp_session *s, const char *why)
{
	log_limited(LOG_INFORM, "TFTP: %s", why);
	send_error(s->tftp, &s->t, &s->mac, OTHER, why);
	finish(s);
}

static void set_timer(struct tftp_session *s)
{
	struct loop *l = s->tftp->loop;

	timer_set(&l->timers, &s->timer, l->now_ms + s->timeout_s * 1000);
}

/* Send the next block; false if that was the last one, of all or for now */
static bool send_block(struct tftp_session *s)
{
	struct tftp_place *at = &s->at[s->sent - s->acked], next = *at;
	uint64_t number = s->sent + 1;
	uint8_t room[ANSWER_MAX];
	struct answer a = answer_to(s->tftp, &s->t, &s->mac, room);
	uint8_t *to;
	ssize_t n;

	wr_be16(&a.body, DATA);
	wr_be16(&a.body, (uint16_t)number); /* after 65535 comes 0 */
	to = wr_room(&a.body, s->block);
	n = s->text ? read_text(s->fd, to, s->block, &next) :
		      read_bytes(s, to, &next);
	if (n < 0) {
		give_up(s, util_error((int)-n));
		return false;
	}
	a.body.len = HEAD + (size_t)n;
	if ((unsigned)n < s->block)
		s->last = number;
	if (!emit_answer(s->tftp->tap, &a))
		return false; /* there is a time for that */
	s->sent = number;
	at[1] = next;
	return number != s->last;
}

static void send_window(struct tftp_session *s)
{
	s->sent = s->acked;
	set_timer(s);
	while (s->sent - s->acked < s->window)
		if (!send_block(s))
			break;
}

static void send_oack(struct tftp_session *s)
{
	uint8_t room[ANSWER_MAX];
	struct answer a = answer_to(s->tftp, &s->t, &s->mac, room);

	put_oack(&a.body, s);
	emit_answer(s->tftp->tap, &a);
	set_timer(s);
}

static void send_again(struct tftp_session *s)
{
	if (s->oack)
		send_oack(s);
	else
		send_window(s);
}

static void expire(void *owner, struct timer *timer)
{
	struct tftp_session *s = owner;

	(void)timer;
	if (s->fd < 0) {
		finish(s);
		return;
	}
	if (s->tries++ == TRIES) {
		give_up(s, "The client does not answer");
		return;
	}
	s->back = false;
	send_again(s);
}

/* End the transfer, but keep its tuple for a while: an acknowledgement may come
 * twice */
static void linger(struct tftp_session *s)
{
	close(s->fd);
	s->fd = -1;
	set_timer(s);
}

static void acknowledge(struct tftp_session *s, uint16_t number)
{
	/* How many blocks are newly acknowledged; old ones come out as very
	 * many */
	uint16_t fresh = (uint16_t)(number - (uint16_t)s->acked);

	if (s->oack) {
		if (number)
			return;
		s->oack = false;
	} else if (fresh > s->sent - s->acked) {
		return;
	} else if (!fresh) {
		/* RFC 7440: the beginning of the window was lost.  With a
		 * window of one block it is an old acknowledgement, which must
		 * not be answered (RFC 1123, 4.2.3.1). */
		if (s->window == 1 || s->back)
			return;
		s->back = true;
	} else {
		s->back = false;
		s->acked += fresh;
		s->at[0] = s->at[fresh];
	}
	s->tries = 0;
	if (s->last && s->acked == s->last)
		linger(s);
	else
		send_window(s);
}

/* --- requests -------------------------------------------------------------- */

static int open_file(int dir, const char *name)
{
	/* Non-blocking: not to wait for a FIFO, or for the holder of a lease */
	const struct how how = {
		.flags = O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC |
			 O_LARGEFILE,
		.resolve = RESOLVE_BELOW | RESOLVE_MAGICLINKS_NOT,
	};
	/* #syscalls openat2 */
	int fd = (int)syscall(SYS_openat2, dir, name, &how, sizeof(how));

	return fd < 0 ? -errno : fd;
}

/* Open a file and get its size; -errno, -EACCES for what is no regular file */
static int open_regular(struct tftp *t, const char *name, uint64_t *size)
{
	int fd = open_file(t->dir, name);
	struct util_stat st = { 0 };

	if (fd < 0)
		return fd;
	if (util_fstat(fd, &st) || !S_ISREG(st.mode)) {
		close(fd);
		return -EACCES;
	}
	*size = st.size;
	return fd;
}

static unsigned longest_block(const struct lan *lan, const struct packet *p)
{
	unsigned head = addr_is_v4(&p->t.src) ? IP4_HEAD : IP6_HEAD;
	unsigned fits = MIN(lan_mtu(lan), 1500U) - head - UDP_HEAD - HEAD;

	return MIN(fits, (unsigned)TFTP_BLOCK);
}

/* Find the session of a tuple; with our port left out, that of a client that
 * asks again, as it does if our answer was lost */
static struct tftp_session *find(struct tftp *t, const struct tuple *p,
				 bool any_port)
{
	unsigned i;

	for (i = 0; i < TFTP_SESSIONS; i++) {
		struct tftp_session *s = &t->session[i];

		if (s->used && (any_port || s->t.dport == p->dport) &&
		    s->t.sport == p->sport && addr_equal(&s->t.src, &p->src) &&
		    addr_equal(&s->t.dst, &p->dst))
			return s;
	}
	return NULL;
}

/* Take a session that is free or over; NULL if there is none */
static struct tftp_session *take(struct tftp *t)
{
	struct tftp_session *s, *found = NULL;
	unsigned i;

	for (i = 0; i < TFTP_SESSIONS; i++) {
		s = &t->session[i];
		if (!s->used || (!found && s->fd < 0))
			found = s;
		if (!s->used)
			break;
	}
	if (found && found->used)
		finish(found);
	return found;
}

static void start(struct tftp *t, struct tftp_session *s,
		  const struct packet *p, const struct tuple *from,
		  const struct tftp_request *r)
{
	uint8_t options = r->options;

	/* The size of text is known only after reading it, and curl takes a
	 * missing size for an error */
	if (r->text || !s->size)
		options &= (uint8_t)~TFTP_TSIZE;
	s->used = true;
	s->t = *from;
	s->mac = p->smac;
	s->text = r->text;
	s->options = options;
	s->oack = options;
	s->back = false;
	s->tries = 0;
	s->timeout_s = r->timeout;
	s->window = MIN(r->windowsize, (unsigned)TFTP_WINDOW);
	s->block = options & TFTP_BLKSIZE ?
			   MIN(r->blksize, longest_block(t->lan, p)) :
			   BLOCK_DEFAULT;
	s->acked = s->sent = s->last = 0;
	s->at[0] = (struct tftp_place){ 0 };
	t->used++;
	send_again(s);
}

static void refuse(struct tftp *t, const struct packet *p,
		   const struct tuple *from, int err)
{
	static const struct {
		int err;
		enum fault fault;
		const char *text;
	} table[] = {
		{ -ENOENT, NOT_FOUND, "File not found" },
		{ -ENOTDIR, NOT_FOUND, "File not found" },
		{ -EACCES, ACCESS, "Access violation" },
		{ -EXDEV, ACCESS, "Access violation" },
		{ -ELOOP, ACCESS, "Access violation" },
		{ -EROFS, ACCESS, "Read-only" },
		{ -EBUSY, OTHER, "Too many transfers" },
		{ -EINVAL, ILLEGAL, "Illegal operation" },
	};
	unsigned i;

	for (i = 0; i < ARRAY_SIZE(table); i++) {
		if (table[i].err != err)
			continue;
		send_error(t, from, &p->smac, table[i].fault, table[i].text);
		return;
	}
	send_error(t, from, &p->smac, OTHER, util_error(-err));
}

/* Begin a transfer: 0, or why there is none */
static int serve(struct tftp *t, const struct packet *p,
		 const struct tuple *from, const struct tftp_request *r)
{
	struct tftp_session *s;
	uint64_t size;
	int fd;

	if (!r->name)
		return -EACCES;
	s = take(t);
	if (!s)
		return -EBUSY;
	fd = open_regular(t, r->name, &size);
	if (fd < 0)
		return fd;
	s->fd = fd;
	s->size = size;
	start(t, s, p, from, r);
	return 0;
}

static void request(struct tftp *t, const struct packet *p, struct rd in)
{
	struct tftp_session *s = find(t, &p->t, true);
	struct tuple from = p->t;
	char name[NAME_SHOWN];
	struct tftp_request r;
	uint16_t op = rd_be16(&in);
	int err = -EINVAL;

	/* A request that was sent twice is answered from one port */
	if (s && !s->acked)
		from.dport = s->t.dport;
	else
		from.dport = PORT_BASE + t->serial++ % PORTS;
	if (op == ERROR)
		return;
	if (s)
		finish(s);
	if (op == WRQ)
		err = -EROFS;
	else if (op == RRQ && tftp_parse(in, &r))
		err = serve(t, p, &from, &r);
	if (err)
		refuse(t, p, &from, err);
	if (op != RRQ || err == -EINVAL)
		return;
	log_limited(LOG_INFORM, "TFTP: %s%s%s",
		    r.name ? shown(r.name, name) : "(outside)",
		    err ? ": " : "", err ? util_error(-err) : "");
}

/* --- packets ---------------------------------------------------------------- */

bool tftp_is(struct tftp *t, const struct packet *p)
{
	const struct lan *lan = t->lan;
	const struct addr *to = &p->t.dst;

	if (t->dir < 0 || p->kind != PACKET_UDP)
		return false;
	if (p->t.dport != TFTP_SERVER)
		return t->used && find(t, &p->t, false);
	return addr_equal(to, &lan->our4) || addr_equal(to, &lan->gw4) ||
	       addr_equal(to, &lan->our_ll6) || addr_equal(to, &lan->gw6);
}

void tftp_input(struct tftp *t, const struct packet *p, struct rd in)
{
	struct tftp_session *s;
	uint16_t op, number;

	if (p->t.dport == TFTP_SERVER) {
		if (addr_is_unicast(&p->t.src) && p->t.sport)
			request(t, p, in);
		return;
	}
	s = find(t, &p->t, false);
	op = rd_be16(&in);
	number = rd_be16(&in);
	if (!s || !rd_ok(&in) || s->fd < 0)
		return;
	if (op == ACK)
		acknowledge(s, number);
	else if (op == ERROR) /* the client has seen enough: PXE asks for the
				 size only */
		finish(s);
}

/* --- to a successor -------------------------------------------------------- */

/* Part of the format */
enum { OPEN = 1, TEXT = 2, ANSWERS = 4, BACK = 8 };

static void save_session(const struct tftp_session *s, struct wr *w,
			 struct fdlist *fds)
{
	uint64_t now = s->tftp->loop->now_ms, due = s->timer.due_ms, i;

	wr_u8(w, (uint8_t)((s->fd >= 0 ? OPEN : 0) | (s->text ? TEXT : 0) |
			   (s->oack ? ANSWERS : 0) | (s->back ? BACK : 0)));
	wr_bytes(w, s->t.src.b, sizeof(s->t.src.b));
	wr_bytes(w, s->t.dst.b, sizeof(s->t.dst.b));
	wr_be16(w, s->t.sport);
	wr_be16(w, s->t.dport);
	wr_bytes(w, s->mac.b, sizeof(s->mac.b));
	wr_be32(w, due > now ? (uint32_t)(due - now) : 1);
	wr_u8(w, s->options);
	wr_u8(w, s->tries);
	wr_u8(w, (uint8_t)s->timeout_s);
	wr_u8(w, (uint8_t)s->window);
	wr_be16(w, (uint16_t)s->block);
	wr_be64(w, s->size);
	wr_be64(w, s->last);
	wr_be64(w, s->acked);
	wr_u8(w, (uint8_t)(s->sent - s->acked));
	for (i = 0; i <= s->sent - s->acked; i++) {
		wr_be64(w, s->at[i].off);
		wr_u8(w, s->at[i].owes);
		wr_u8(w, s->at[i].owed);
	}
	if (s->fd >= 0)
		fdlist_put(fds, s->fd);
}

/* Each session with its length in front, as a newer version may add to it */
void tftp_save(const struct tftp *t, struct wr *w, struct fdlist *fds)
{
	unsigned i;

	wr_be16(w, t->serial);
	for (i = 0; i < TFTP_SESSIONS; i++) {
		size_t at = w->len;

		if (!t->session[i].used)
			continue;
		wr_be16(w, 0);
		save_session(&t->session[i], w, fds);
		if (wr_ok(w))
			wr_patch_be16(w, at, (uint16_t)(w->len - at - 2));
	}
}

static struct tftp_place get_place(struct rd *r)
{
	struct tftp_place p = { .off = rd_be64(r) };

	p.owes = rd_u8(r) & 1;
	p.owed = rd_u8(r);
	return p;
}

/* Read a session; its descriptor, if there is one, is in @s->fd.  False: it is
 * not sane. */
static bool get_session(struct tftp_session *s, struct rd *r,
			struct fdlist *fds)
{
	unsigned flags = rd_u8(r), ahead, i;
	uint64_t now = s->tftp->loop->now_ms;

	s->text = flags & TEXT;
	s->oack = flags & ANSWERS;
	s->back = flags & BACK;
	s->t = (struct tuple){ .proto = IPPROTO_UDP };
	rd_copy(r, s->t.src.b, sizeof(s->t.src.b));
	rd_copy(r, s->t.dst.b, sizeof(s->t.dst.b));
	s->t.sport = rd_be16(r);
	s->t.dport = rd_be16(r);
	rd_copy(r, s->mac.b, sizeof(s->mac.b));
	timer_set(&s->tftp->loop->timers, &s->timer, now + rd_be32(r));
	s->options = rd_u8(r);
	s->tries = rd_u8(r);
	s->timeout_s = rd_u8(r);
	s->window = rd_u8(r);
	s->block = rd_be16(r);
	s->size = rd_be64(r);
	s->last = rd_be64(r);
	s->acked = rd_be64(r);
	ahead = rd_u8(r);
	s->sent = s->acked + ahead;
	for (i = 0; i <= MIN(ahead, (unsigned)TFTP_WINDOW); i++)
		s->at[i] = get_place(r);
	if (flags & OPEN)
		s->fd = fdlist_take(fds);
	return rd_ok(r) && s->timeout_s && s->window &&
	       s->window <= TFTP_WINDOW && ahead <= s->window &&
	       s->block >= BLOCK_LEAST && s->block <= TFTP_BLOCK;
}

bool tftp_load(struct tftp *t, struct rd *r, struct fdlist *fds)
{
	struct tftp_session *s;
	struct rd one;

	t->serial = rd_be16(r);
	while (rd_left(r)) {
		one = rd_sub(r, rd_be16(r));
		s = take(t);
		if (!s)
			return false;
		s->used = true;
		t->used++;
		if (!get_session(s, &one, fds)) {
			finish(s);
			return false;
		}
		if (t->dir < 0)
			finish(s);
	}
	return rd_ok(r);
}

/* --- start ------------------------------------------------------------------ */

void tftp_init(struct tftp *t, struct loop *l, struct tap *tap,
	       const struct lan *lan)
{
	unsigned i;

	*t = (struct tftp){ .loop = l, .tap = tap, .lan = lan, .dir = -1 };
	for (i = 0; i < TFTP_SESSIONS; i++) {
		struct tftp_session *s = &t->session[i];

		s->tftp = t;
		s->fd = -1;
		timer_init(&s->timer, expire, s);
	}
}

int tftp_open(struct tftp *t, const char *path)
{
	int dir = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC), fd;

	if (dir < 0)
		return -errno;
	/* Reading files takes no right to list the directory, but to search
	 * it */
	fd = open_file(dir, ".");
	if (fd < 0 && (fd != -EACCES || faccessat(dir, ".", X_OK, AT_EACCESS))) {
		close(dir);
		return fd;
	}
	if (fd >= 0)
		close(fd);
	t->dir = dir;
	return 0;
}
