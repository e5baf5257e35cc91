/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The control socket and its clients, by which forwarded ports change.
 *
 * control, acceptor, http and flowpage are the real ones, on a toy UNIX socket.
 * Clients ask as pesto does, or otherwise: in pieces, in a hurry, half of it, nonsense;
 * they do not read, say nothing, go away, want to watch, and come in crowds.  What has
 * been read of an update tells what has to be in force, at the end of each turn; and
 * who is there for longer than there is time, or is hung up on sooner, is a failure.
 */
#include "sim.h"
#include "control.h"
#include "flowpage.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	CLIENTS = 64,
	BACKLOG = 8,
	MESSAGE = 40 * 1024,
	ANSWER = 64 * 1024,
	HEAD = 5, /* of a table in an update; then come its rules */
};
#define LABEL "sim"
/* Rounds of timers, and the way of what a client does */
#define SLACK (50 * MS)
/* Where accept() fails now and then nobody is looked for all of a second */
#define PAUSES (10 * SEC)

static const struct rules_env env = { .v4 = true, .v6 = true, .tcp = true,
				      .udp = true };

enum reads { NOTHING, GREETING, ALL };
enum then { STAYS, SHUTS, GOES };

struct client {
	struct toy toy; /* first: the server's end */
	unsigned no;
	const char *what;
	/* what it does */
	uint8_t msg[MESSAGE];
	size_t len, piece;
	size_t whole; /* so many of these bytes are an update, 0: never */
	struct rules_pair want; /* by that */
	bool spoilt, early, in_time, last;
	enum reads reads;
	enum then then;
	uint64_t pause, lag; /* ns between pieces; until it reads of a page */
	size_t cap;	/* what the server may send ahead */
	/* what has become of it */
	bool due, knocked, accepted, shed, unwatched;
	bool shut, gone, closed, over;
	uint8_t said[ANSWER]; /* by the server, which has sent @out of it */
	size_t sent, read, out, got;
	struct rules_pair was; /* in force when it was accepted */
	size_t greet;	  /* bytes of the greeting */
	bool greeted, told; /* has read it; the server knows that it has gone */
	bool taken, asked, applied;
	uint64_t deadline, moved, told_at;
};

static struct {
	struct toy listener;
	struct client *all[CLIENTS], *backlog[BACKLOG];
	struct client *current; /* who is served */
	struct client *successor; /* who is heard by takeover */
	unsigned n, left; /* that have come; that have not gone, or come yet */
	unsigned waiting, watchers;
	unsigned asked, changed;
	bool runs, faults, full, done;
	uint64_t free_since, full_at;
} s;

static struct control control;
static struct http http;
static struct takeover successor;
static unsigned successor_watch;
static struct flowpage page = { .flows = &world.flows, .label = LABEL };

static const struct toy_ops client_ops;

static void act(void *arg);

static void later(struct client *c, uint64_t ns)
{
	if (c->due || c->over)
		return;
	c->due = true;
	sim_after(ns, act, c);
}

static void later_on(struct client *c)
{
	later(c, rnd_in(20 * US, c->taken ? c->lag : 2 * MS));
}

/* --- the server's end ------------------------------------------------------- */

static bool same(const struct rules *a, const struct rules *b)
{
	return a->n == b->n && !memcmp(a->r, b->r, a->n * sizeof(*a->r));
}

static bool in_force(void)
{
	const struct rules *t = rules_now()->t;

	return same(listen_rules(world.listen, PIF_HOST), &t[0]) &&
	       (rules_tables() < 2 ||
		same(listen_rules(world.listen, PIF_SPLICE), &t[1]));
}

/* As the protocol has them; how many */
static unsigned pack(struct rulewire_table t[RULEWIRE_TABLES],
		     const struct rules_pair *p)
{
	t[0] = (struct rulewire_table){ .id = PIF_HOST, .rules = p->t[0] };
	t[1] = (struct rulewire_table){ .id = PIF_SPLICE, .rules = p->t[1] };
	return rules_tables();
}

/* As unix_writable() */
static uint32_t poll_client(struct toy *t)
{
	const struct client *c = container_of(t, struct client, toy);

	return (c->sent > c->read || c->shut || c->gone ? EPOLLIN : 0) |
	       ((c->out - c->got) * 4 <= c->cap ? EPOLLOUT : 0) |
	       (c->shut || c->gone ? EPOLLRDHUP : 0) |
	       (c->gone ? EPOLLHUP : 0);
}

static uint32_t poll_listener(struct toy *t)
{
	(void)t;
	return s.waiting ? EPOLLIN : 0;
}

static void greet(struct client *c)
{
	static struct rulewire_table t[RULEWIRE_TABLES];

	c->was = *rules_now();
	c->greet = rulewire_greeting(t, pack(t, &c->was));
	c->deadline = sim.now + CONTROL_MS * (uint64_t)MS;
	if (s.current || listen_busy(world.listen))
		sim_fail("client %u is accepted while one is served", c->no);
	s.current = c;
}

static int fails(void)
{
	static const int err[] = { EINTR, ECONNABORTED, ENOMEM, EMFILE, ENFILE };
	int e = err[rnd_to(ARRAY_SIZE(err))];

	s.full = e == EMFILE || e == ENFILE;
	s.full_at = sim.now;
	return -e;
}

/* A second try at once has the descriptor that is kept for that */
static int take(struct toy *t)
{
	struct client *c = s.backlog[0];
	bool shed = s.full && s.full_at == sim.now;

	(void)t;
	s.full = false;
	if (!s.waiting)
		return -EAGAIN;
	if (!shed && s.faults && chance(200))
		return fails();
	s.waiting--;
	memmove(s.backlog, s.backlog + 1, s.waiting * sizeof(*s.backlog));
	c->accepted = true;
	c->shed = shed;
	c->toy.ops = &client_ops;
	toy_open(&c->toy, poll_client);
	c->toy.unwatchable = s.faults && chance(50);
	c->unwatched = c->toy.unwatchable;
	trace("  client %u is accepted: fd %d%s", c->no, c->toy.fd,
	      shed ? ", to be closed" : "");
	if (!shed)
		greet(c);
	later_on(c);
	return c->toy.fd;
}

static bool watches_us(const struct client *c)
{
	return c->taken && !takeover_is(c->msg[0]);
}

static void is_taken(struct client *c)
{
	c->taken = true;
	c->moved = sim.now;
	s.watchers += watches_us(c);
	s.current = NULL;
	s.free_since = sim.now;
}

static void has_asked(struct client *c)
{
	trace("  client %u has asked for %u rules, %u inside", c->no,
	      c->want.t[0].n, c->want.t[1].n);
	c->asked = true;
	s.asked++;
	rules_ask(&c->want);
}

static int heard_end(struct client *c, int err)
{
	if (!c->told)
		c->told_at = sim.now;
	c->told = true;
	return err;
}

static ssize_t receive(struct toy *t, struct msghdr *h, int flags)
{
	struct client *c = container_of(t, struct client, toy);
	size_t n = MIN(h->msg_iov->iov_len, c->sent - c->read);

	if (!(flags & MSG_DONTWAIT) || !h->msg_iov->iov_len)
		sim_fail("client %u is waited for", c->no);
	if (chance(20))
		return -EINTR;
	if (!n && c->gone && c->out > c->got && !c->told)
		return heard_end(c, -ECONNRESET);
	if (!n)
		return c->gone || c->shut ? heard_end(c, 0) : -EAGAIN;
	if (chance(200))
		n = rnd_in(1, n);
	memcpy(h->msg_iov->iov_base, c->msg + c->read, n);
	if (!c->read && (c->msg[0] == 'G' || takeover_is(c->msg[0])))
		is_taken(c);
	c->read += n;
	if (c->whole && c->read >= c->whole && !c->asked)
		has_asked(c);
	return (ssize_t)n;
}

/* The first word of an answer: by then all is as it was asked for */
static void judge_answer(const struct client *c)
{
	if (listen_busy(world.listen) || !in_force())
		sim_fail("client %u is answered before its rules are in force",
			 c->no);
	if (c->asked && host_rest())
		rules_judge();
}

static ssize_t tell(struct toy *t, const struct msghdr *h, int flags)
{
	struct client *c = container_of(t, struct client, toy);
	size_t n = MIN(h->msg_iov->iov_len, c->cap - (c->out - c->got));

	if (!(flags & MSG_DONTWAIT) || !(flags & MSG_NOSIGNAL))
		sim_fail("client %u may stop or end us", c->no);
	if (c->gone)
		return heard_end(c, -EPIPE);
	if (chance(20))
		return -EINTR;
	if (!n)
		return -EAGAIN;
	if (chance(100))
		n = rnd_in(1, n);
	if (c->out + n >= sizeof(c->said))
		sim_fail("client %u is told too much", c->no);
	if (!c->taken && c->out <= c->greet && c->out + n > c->greet)
		judge_answer(c);
	memcpy(c->said + c->out, h->msg_iov->iov_base, n);
	c->out += n;
	c->moved = sim.now;
	later_on(c);
	return (ssize_t)n;
}

/* All of an answer was sent */
static bool is_answered(const struct client *c)
{
	if (c->taken)
		return c->out >= 5 && !memcmp(c->said + c->out - 5,
					      "0\r\n\r\n", 5);
	return c->out > c->greet && c->said[c->out - 1] == '\n';
}

static bool is_late(const struct client *c)
{
	uint64_t end = c->taken ? c->moved + HTTP_MS * (uint64_t)MS :
				  c->deadline;

	return sim.now + 2 * TIMER_TICK * MS >= end;
}

/* One that could not have a place, or had to give it to somebody else */
static bool is_too_many(const struct client *c)
{
	return c->taken && s.watchers > HTTP_CLIENTS;
}

static void end(struct toy *t)
{
	struct client *c = container_of(t, struct client, toy);

	trace("  client %u is hung up on", c->no);
	if (s.successor == c)
		sim_fail("client %u succeeds us, and is hung up on", c->no);
	toy_close(t);
	c->closed = true;
	if (s.current == c) {
		s.current = NULL;
		s.free_since = sim.now;
	}
	if (!c->told && !c->shed && !c->unwatched && !is_answered(c) &&
	    !is_late(c) && !is_too_many(c) &&
	    !(c->taken && takeover_is(c->msg[0])))
		sim_fail("client %u (%s) is hung up on too soon", c->no,
			 c->what);
	if (c->whole && !c->asked && c->greeted && c->sent >= c->whole &&
	    !c->unwatched && !is_late(c))
		sim_fail("client %u (%s) is not heard out", c->no, c->what);
	s.watchers -= watches_us(c);
	later_on(c);
}

static const struct toy_ops client_ops = { NULL, receive, tell, end };
static const struct toy_ops listener_ops = { .accept = take };

/* --- takeover.h: somebody who changes his mind ------------------------------- */

bool takeover_is(uint8_t byte)
{
	return byte == STATE_FIRST;
}

static void hang_up(struct client *c)
{
	heard_end(c, 0);
	s.successor = NULL;
	close(c->toy.fd);
}

/* In the middle of the dialogue */
static void give_up(void *arg)
{
	if (s.successor == arg)
		hang_up(arg);
}

/* Whatever he says, his end is seen */
static void hear_successor(void *owner, uint64_t ref, uint32_t events)
{
	struct client *c = s.successor;

	(void)owner;
	(void)ref;
	(void)events;
	if (!c)
		return;
	sim.progress++;
	c->read = c->sent;
	if (c->gone || c->shut)
		hang_up(c);
}

/* One at a time; others of the control socket are served meanwhile */
bool takeover_adopt(struct takeover *t, int fd, const void *buf, size_t len)
{
	struct client *c = container_of(toy_get(fd), struct client, toy);

	(void)t;
	if (!len || !takeover_is(*(const uint8_t *)buf))
		sim_fail("client %u does not want to succeed us", c->no);
	if (s.successor || chance(300))
		return false;
	if (loop_mod(&world.loop, fd, successor_watch, 0, EPOLLIN))
		sim_fail("client %u is not watched", c->no);
	s.successor = c;
	sim_after(chance(300) ? 1 : rnd_in(1, 2000) * MS, give_up, c);
	return true;
}

/* --- what they do ------------------------------------------------------------ */

static void wake(struct client *c, uint32_t key)
{
	if (c->toy.fd >= 0)
		toy_wake(&c->toy, key);
}

static void judge_greeting(struct client *c)
{
	static struct rulewire_table t[RULEWIRE_TABLES];
	char err[RULE_ERR];
	unsigned n;

	if (rulewire_greeted(c->said, c->greet, t, &n, err) != RULEWIRE_DONE ||
	    n != rules_tables() || strcmp(t[0].name, "HOST") ||
	    !same(&t[0].rules, &c->was.t[0]) ||
	    (n > 1 && (strcmp(t[1].name, "SPLICE") ||
		       !same(&t[1].rules, &c->was.t[1]))))
		sim_fail("client %u is greeted with other rules", c->no);
	c->greeted = true;
	if (c->reads == GREETING) /* and hardly any answer has room */
		c->cap = (size_t)rnd_to(4);
}

static void reads(struct client *c)
{
	size_t n = (size_t)rnd_in(1, c->out - c->got);

	if (c->reads == GREETING)
		n = MIN(n, c->greet - MIN(c->greet, c->got));
	if (c->reads == NOTHING || !n)
		return;
	c->got += n;
	wake(c, poll_client(&c->toy) & EPOLLOUT);
	if (!c->greeted && !c->taken && !c->shed && c->got >= c->greet)
		judge_greeting(c);
}

static void sends(struct client *c)
{
	bool holds = c->in_time && c->sent + 1 < c->len;
	size_t n = (size_t)rnd_in(1, MIN(c->piece, c->len - c->sent - holds));

	c->sent += n;
	wake(c, EPOLLIN);
}

/* Line by line: nothing twice, nothing cut */
static void judge_flows(const struct client *c, char *text)
{
	static unsigned long id[FLOW_MAX];
	unsigned n = 0, i, tabs;
	char *line, *rest;

	line = strtok_r(text, "\n", &rest);
	if (!line || strcmp(line, FLOWPAGE_HEAD LABEL))
		sim_fail("client %u reads no flows", c->no);
	while ((line = strtok_r(NULL, "\n", &rest))) {
		id[n] = strtoul(line, NULL, 10);
		for (i = 0; i < n; i++)
			if (id[i] == id[n])
				sim_fail("flow %lu is told twice", id[n]);
		n++;
		for (tabs = 0; *line; line++)
			tabs += *line == '\t';
		if (tabs != FIELDS - 1)
			sim_fail("a flow is told by halves");
	}
}

static void judge_page(struct client *c)
{
	static char text[ANSWER];
	char *p = (char *)c->said + c->greet, *next;
	unsigned long len;
	size_t at = 0;

	if (strncmp(p, "HTTP/1.1 200 ", 13) || !(p = strstr(p, "\r\n\r\n")))
		sim_fail("client %u gets no page", c->no);
	for (p += 4; (len = strtoul(p, &next, 16)); p = next + 2 + len + 2) {
		memcpy(text + at, next + 2, len);
		at += len;
	}
	text[at] = '\0';
	judge_flows(c, text);
}

/* Who has stayed and read has been told what came of it */
static void judge_end(struct client *c)
{
	const char *text = (const char *)c->said + c->greet;
	size_t len = c->out > c->greet ? c->out - c->greet : 0;
	bool ok = len == 3 && !memcmp(text, "ok\n", 3);

	if (c->taken) {
		if (is_answered(c) && c->got == c->out)
			judge_page(c);
		return;
	}
	if (ok && !c->asked)
		sim_fail("client %u (%s) is told that it is ok", c->no, c->what);
	if (len && !c->whole && !c->spoilt)
		sim_fail("client %u (%s) is answered", c->no, c->what);
	if (!c->closed || c->told || c->shed || c->unwatched)
		return;
	if (c->asked && c->reads == ALL && !ok)
		sim_fail("client %u (%s) is told: %.*s", c->no, c->what,
			 (int)len, text);
	if (c->spoilt && c->sent == c->len && !is_late(c) &&
	    (!len || text[len - 1] != '\n'))
		sim_fail("client %u (%s) is not told why", c->no, c->what);
}

static void leave(struct client *c)
{
	if (!c->gone)
		judge_end(c);
	c->gone = c->over = true;
	trace("  client %u goes", c->no);
	wake(c, 0);
	s.left--;
	s.done |= c->last && c->out == c->greet + 3;
}

static bool may_send(const struct client *c)
{
	return c->sent < c->len && !c->closed &&
	       (c->early || (c->accepted && c->greeted));
}

/* Nothing more of its own to do */
static void ends(struct client *c)
{
	if (c->sent < c->len || (!c->early && !c->greeted && c->reads))
		return;
	if (c->then == GOES) {
		leave(c);
	} else if (c->then == SHUTS && !c->shut) {
		c->shut = true;
		wake(c, 0);
	}
}

static void knock(struct client *c)
{
	if (s.waiting == BACKLOG) { /* EAGAIN */
		later(c, rnd_in(1, 300) * MS);
		return;
	}
	trace("  client %u knocks (%s)", c->no, c->what);
	c->knocked = true;
	if (!s.waiting)
		s.free_since = sim.now;
	s.backlog[s.waiting++] = c;
	toy_wake(&s.listener, EPOLLIN);
	later_on(c);
}

static uint64_t until_last(const struct client *c)
{
	uint64_t at = c->deadline - rnd_in(1, 20) * MS;

	return at > sim.now ? at - sim.now : US;
}

static void act(void *arg)
{
	struct client *c = arg;

	c->due = false;
	if (c->over)
		return;
	if (!c->knocked) {
		knock(c);
		return;
	}
	if (c->out > c->got)
		reads(c);
	if (may_send(c))
		sends(c);
	if (c->closed && (c->out == c->got || c->reads != ALL)) {
		leave(c);
		return;
	}
	ends(c);
	if (may_send(c) && c->in_time && c->sent + 1 == c->len)
		later(c, until_last(c));
	else if (may_send(c))
		later(c, rnd_in(1, c->pause + US));
	else if (c->out > c->got &&
		 (c->reads == ALL || (c->reads == GREETING && !c->greeted)))
		later_on(c);
}

/* --- what they say ----------------------------------------------------------- */

static size_t put_update(struct client *c, const struct rules_pair *rules)
{
	static struct rulewire_table t[RULEWIRE_TABLES];
	struct wr w = wr_init(c->msg + c->len, sizeof(c->msg) - c->len);

	rulewire_update(&w, t, pack(t, rules));
	if (!wr_ok(&w))
		sim_fail("an update is too long");
	c->len += w.len;
	return w.len;
}

static void put_text(struct client *c, const char *text)
{
	c->len = strlen(text);
	memcpy(c->msg, text, c->len);
}

static void asks(struct client *c)
{
	c->what = "asks";
	rules_make(&c->want, c->last);
	c->whole = put_update(c, &c->want);
}

/* As the reference's: it does not wait for what comes of it */
static void asks_and_goes(struct client *c)
{
	asks(c);
	c->what = "asks and goes";
	c->then = GOES;
}

static void lists(struct client *c)
{
	c->what = "lists";
	c->then = GOES;
}

/* Before it was greeted; and another one behind, which nobody is to read */
static void hurries(struct client *c)
{
	static struct rules_pair more;

	asks(c);
	c->what = "hurries";
	c->early = chance(700);
	if (chance(500)) {
		rules_make(&more, false);
		put_update(c, &more);
	}
	c->then = chance(300) ? GOES : chance(300) ? SHUTS : STAYS;
}

static void breaks_off(struct client *c)
{
	asks(c);
	c->what = "breaks off";
	c->whole = 0;
	c->len = rnd_to(c->len);
	c->then = (enum then)rnd_to(3);
}

/* Often the last thing that is looked at, behind rules that would do */
static void spoil_rule(struct client *c)
{
	unsigned at = rules_tables() > 1 && chance(500), n = c->want.t[at].n;
	uint8_t *table = c->msg + at * (HEAD + RULEWIRE_RULE * c->want.t[0].n);
	uint8_t *end = table + HEAD + RULEWIRE_RULE * n;
	uint8_t *r = table + HEAD + RULEWIRE_RULE * (chance(600) ? n - 1 :
						     (unsigned)rnd_to(n));

	if (at && chance(300)) { /* the namespace's network could use it */
		memset(r + 32, 0, 16);
		r[12] = r[12] == 127 ? 10 : r[12];
		return;
	}
	switch (rnd_to(12)) {
	case 0: r[54] = 1; break; /* ICMP */
	case 1: r[55] |= 8; break;
	case 2: r[55] |= RULE_SCAN; break;
	case 3: st_be16(r + 50, (uint16_t)(ld_be16(r + 48) - 1)); break;
	case 4: st_be16(r + 48, 0); break;
	case 5: st_be16(r + 52, 0); break;
	case 6: memset(r + 32, 'x', 16); break;
	case 7: memcpy(r + 32, "a/b", 3); break;
	case 8: /* a socket for both families, and an address */
		r[55] |= RULE_DUAL;
		r[15] = 7;
		break;
	default: /* the same port once more, for another one */
		memmove(end + RULEWIRE_RULE, end,
			(size_t)(c->msg + c->len - end));
		memcpy(end, r, RULEWIRE_RULE);
		end[53] ^= 1;
		c->len += RULEWIRE_RULE;
		st_be32(table + 1, n + 1);
	}
}

static void spoils(struct client *c)
{
	asks(c);
	c->what = "says nonsense";
	c->whole = 0;
	c->spoilt = true;
	switch (rnd_to(6)) {
	case 0:
		c->msg[0] = (uint8_t)rnd_in(2, 'F');
		c->msg[0] -= c->msg[0] == PIF_SPLICE; /* there is no such table */
		break;
	case 1:
		st_be32(c->msg + 1, (uint32_t)rnd_in(256, UINT32_MAX));
		break;
	case 2:
		memmove(c->msg + c->len - 1, c->msg, c->len);
		c->len = 2 * c->len - 1;
		break;
	default:
		spoil_rule(c);
	}
	c->then = chance(200) ? GOES : STAYS;
}

/* Some are in time */
static void drips(struct client *c)
{
	chance(700) ? asks(c) : spoils(c);
	c->then = STAYS;
	c->what = "drips";
	c->piece = (size_t)rnd_in(1, c->len / 8 + 1);
	c->pause = 16 * rnd_to(SEC) / (c->len / c->piece + 1);
}

/* The last byte comes when there is hardly any time left */
static void is_in_time(struct client *c)
{
	asks(c);
	c->what = "is in time";
	c->in_time = true;
	c->piece = sizeof(c->msg);
}

static void says_nothing(struct client *c)
{
	c->what = "says nothing";
}

static void does_not_read(struct client *c)
{
	asks(c);
	c->what = "does not read";
	c->early = chance(500);
	c->reads = c->early ? NOTHING : (enum reads)rnd_to(2);
	if (!c->early && chance(300))
		c->whole = c->len = 0;
	c->cap = chance(500) ? (size_t)rnd_in(1, 2000) : c->cap;
}

static void watches(struct client *c)
{
	c->what = "watches";
	c->early = true;
	put_text(c, "GET /flows?format=tsv HTTP/1.1\r\nHost: sim\r\n\r\n");
	if (chance(300)) {
		c->len = (size_t)rnd_in(1, c->len - 1);
		c->what = "watches by halves";
	}
	c->piece = (size_t)rnd_in(1, c->len);
	c->then = chance(100) ? GOES : STAYS;
	if (chance(500))
		c->cap = (size_t)rnd_in(1, 500);
	if (chance(300))
		c->lag = 4 * SEC;
	if (chance(200)) /* the greeting at most */
		c->reads = NOTHING;
}

static void succeeds(struct client *c)
{
	c->what = "succeeds";
	c->early = chance(500);
	c->msg[0] = STATE_FIRST;
	c->len = (size_t)rnd_in(1, 100);
}

static struct client *new_client(bool last)
{
	static void (*const how[])(struct client *c) = {
		asks, asks, asks, asks_and_goes, lists, hurries, breaks_off,
		breaks_off, spoils, spoils, drips, drips, is_in_time,
		says_nothing, does_not_read, does_not_read, watches, watches, succeeds,
	};
	struct client *c = calloc(1, sizeof(*c));

	if (s.n == CLIENTS)
		sim_fail("%u clients, and no end", s.n);
	c->no = s.n;
	c->last = last;
	c->toy.fd = -1;
	c->piece = chance(500) ? sizeof(c->msg) : (size_t)rnd_in(1, 500);
	c->pause = chance(800) ? rnd_to(2 * MS) : rnd_to(50 * MS);
	c->cap = chance(700) ? 50000 : (size_t)rnd_in(200, 8000);
	c->lag = 2 * MS;
	c->reads = ALL;
	(last ? asks : how[rnd_to(ARRAY_SIZE(how))])(c);
	s.all[s.n++] = c;
	return c;
}

static void start(void *arg)
{
	(void)arg;
	act(new_client(false));
}

/* --- what must hold ---------------------------------------------------------- */

/* When it must have been hung up on */
static uint64_t latest(struct client *c)
{
	bool idle = c->gone || (c->shut && c->out >= c->greet);

	if (c->asked && !c->applied && listen_busy(world.listen))
		return UINT64_MAX;
	if (c->asked && !c->applied) {
		c->applied = true;
		c->deadline = sim.now + CONTROL_MS * (uint64_t)MS;
	}
	if (idle && !c->asked && !c->told_at)
		c->told_at = sim.now;
	if (c->gone && !c->told_at)
		c->told_at = sim.now;
	if (c->told_at)
		return c->told_at + SLACK;
	return (c->taken ? c->moved + HTTP_MS * (uint64_t)MS : c->deadline) +
	       SLACK;
}

static void judge_turn(void)
{
	uint64_t patience = s.faults ? PAUSES : SLACK;
	unsigned i;

	if (s.full)
		sim_fail("client %u is not shed", s.backlog[0]->no);
	if (world.loop.spare < 0)
		world.loop.spare = dup(STDERR_FILENO);
	if (!listen_busy(world.listen) && !in_force())
		sim_fail("rules are in force that nobody has asked for");
	if (!s.waiting || s.current || listen_busy(world.listen))
		s.free_since = sim.now;
	if (sim.now > s.free_since + patience)
		sim_fail("%u clients wait, and none is served", s.waiting);
	for (i = 0; i < s.n; i++)
		if (s.all[i]->toy.fd >= 0 && sim.now > latest(s.all[i]))
			sim_fail("client %u (%s) is still there", i,
				 s.all[i]->what);
}

void clients_judge(void)
{
	struct http_client *c;

	if (!s.runs)
		return;
	if (control.fd >= 0 || control.acceptor.held || control.timer.due_ms ||
	    control.steps.due_ms)
		sim_fail("control still has a client");
	for (c = http.client; c < http.client + HTTP_CLIENTS; c++)
		if (c->fd >= 0 || c->timer.due_ms)
			sim_fail("http still has a client");
	if (s.asked != s.changed)
		sim_fail("%u changes were asked for, %u made", s.asked,
			 s.changed);
}

/* In the end somebody asks for all ports, as often as needed */
bool clients_rest(void)
{
	if (!s.runs)
		return true;
	if (!s.left && !s.done) {
		s.left++;
		act(new_client(true));
	}
	return s.done && !s.left && !listen_busy(world.listen);
}

unsigned clients_toys(void)
{
	return s.runs;
}

static void count(void *owner)
{
	(void)owner;
	s.changed++;
}

static void expect(unsigned n, uint64_t within)
{
	for (s.left += n; n--;)
		sim_after(rnd_to(within), start, NULL);
}

void clients_reset(void)
{
	memset(&s, 0, sizeof(s));
}

void clients_start(unsigned n)
{
	if (!n)
		return;
	s.runs = true;
	s.listener.ops = &listener_ops;
	toy_open(&s.listener, poll_listener);
	http_init(&http, &world.loop);
	http_page(&http, &flowpage, &page);
	if (control_start(&control, &world.loop, world.listen, &env, &http,
			  s.listener.fd))
		sim_fail("control_start");
	control.takeover = &successor;
	successor_watch = loop_watch(&world.loop, hear_successor, NULL);
	control.changed = count;
	s.faults = chance(200);
	s.free_since = sim.now;
	world.judge_turn = judge_turn;
	expect(n, host_changes() ? 60 * SEC : chance(500) ? 2 * SEC : 30 * SEC);
	if (chance(150))
		expect((unsigned)rnd_in(BACKLOG, 30), rnd_in(1, 500) * MS);
}
