/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * control - the socket that shows and changes forwarding rules (--conf-path)
 *
 * A client is greeted with all tables, sends all tables as they are to be, and
 * is told the result.  The reference's client does not wait for that, so a
 * hang-up after the update is no reason to drop it.  While there is a client
 * the listening socket is not watched: the next one is accepted when this one
 * has gone, and sees tables that are in force, not half changed.
 */
#include "control.h"

#include "log.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

enum { STEP_MS = TIMER_TICK };

static const char *const name[] = { "HOST", "SPLICE" };
static const enum pif pif[] = { PIF_HOST, PIF_SPLICE };

static void take_next(struct control *c)
{
	c->fd = -1;
	timer_off(&c->timer);
	acceptor_hold(&c->acceptor, false);
}

static void hang_up(struct control *c)
{
	close(c->fd); /* #syscalls close */
	take_next(c);
}

/* --- what is sent --------------------------------------------------------- */

/* Send what is left of @buf, as far as there is room; false if the client has
 * gone */
static bool send_rest(struct control *c)
{
	while (c->at < c->len) {
		struct iovec v = { c->buf + c->at, c->len - c->at };
		struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1 };
		/* #syscalls sendmsg */
		ssize_t n = sendmsg(c->fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n < 0 && errno == EAGAIN)
			return true;
		if (n < 0 && errno != EINTR)
			return false;
		c->at += n < 0 ? 0 : (size_t)n;
	}
	return true;
}

static void greet(struct control *c)
{
	struct wr w = wr_init(c->buf, sizeof(c->buf));
	unsigned i;

	for (i = 0; i < c->n; i++) {
		c->table[i].rules = *listen_rules(c->listen, pif[i]);
		c->table[i].rules.splice = pif[i] == PIF_SPLICE;
	}
	rulewire_greet(&w, c->table, c->n);
	c->phase = CONTROL_GREETS;
	c->at = 0;
	c->len = w.len;
}

/* Begin to answer with @text, which is "ok" or an error */
static void answer(struct control *c, const char *text)
{
	c->phase = CONTROL_ANSWERS;
	c->at = 0;
	c->len = (size_t)snprintf((char *)c->buf, sizeof(c->buf), "%s\n", text);
}

/* --- an update ------------------------------------------------------------ */

static void tell_rules(const char *table, const struct rules *rules)
{
	char text[RULE_TEXT];
	unsigned i;

	log_info("New forwarding rules for %s:", table);
	for (i = 0; i < rules->n; i++)
		log_info("  %s", rule_text(&rules->r[i], text));
}

static bool same(const struct rules *a, const struct rules *b)
{
	return a->n == b->n && !memcmp(a->r, b->r, a->n * sizeof(*a->r));
}

static bool lacks(const struct control *c, unsigned table)
{
	unsigned i;

	for (i = 0; i < c->table[table].rules.n; i++)
		if (listen_lacks(c->listen, pif[table], i))
			return true;
	return false;
}

/* Find the next table that is to change, or has not got all of its ports;
 * false: there is none */
static bool next_table(struct control *c)
{
	const struct rules *rules;
	unsigned i;

	while (c->next < c->n) {
		i = c->next++;
		rules = &c->table[i].rules;
		if (same(rules, listen_rules(c->listen, pif[i])) &&
		    !lacks(c, i))
			continue;
		tell_rules(name[i], rules);
		listen_begin(c->listen, pif[i], rules);
		return true;
	}
	return false;
}

/* Write a line for each rule that has not got its ports, if all of them fit:
 * some may be older and not concern this client */
static void name_failed(struct control *c)
{
	struct wr w = wr_init(c->buf, sizeof(c->buf));
	char text[RULE_TEXT];
	unsigned i, k;

	w.len = c->len;
	for (i = 0; i < c->n; i++) {
		const struct rules *rules = &c->table[i].rules;

		if (!same(rules, listen_rules(c->listen, pif[i])))
			return; /* the table is not in force, for that reason */
		for (k = 0; k < rules->n; k++) {
			if (!listen_lacks(c->listen, pif[i], k))
				continue;
			rule_text(&rules->r[k], text);
			wr_bytes(&w, text, strlen(text));
			wr_u8(&w, '\n');
		}
	}
	if (wr_ok(&w))
		c->len = w.len;
}

/* Answer an update; @err is why a table did not get all of its ports */
static void updated(struct control *c, int err)
{
	char text[128];

	if (!err) {
		answer(c, "ok");
		return;
	}
	snprintf(text, sizeof(text), "Can't listen on all requested ports: %s",
		 util_error(-err));
	log_limited(LOG_ERROR, "%s", text);
	answer(c, text);
	name_failed(c);
}

/* The update was applied: tell the client, which has the same time again to
 * read */
static void applied(struct control *c)
{
	if (c->changed)
		c->changed(c->owner);
	timer_set(&c->loop->timers, &c->timer, c->loop->now_ms + CONTROL_MS);
	updated(c, c->err);
}

/* One step of a change; between steps there is time for others, here and on
 * this CPU */
static void step(struct control *c)
{
	int err;

	do {
		err = listen_step(c->listen);
		if (err == -EINPROGRESS) {
			timer_set(&c->loop->timers, &c->steps,
				  c->loop->now_ms + STEP_MS);
			return;
		}
		c->err = c->err ? c->err : err;
	} while (next_table(c));
	applied(c);
}

static void update(struct control *c)
{
	const struct rules *splice = c->n > 1 ?
		&c->table[1].rules : listen_rules(c->listen, PIF_SPLICE);
	int err = listen_fits(c->listen, &c->table[0].rules, splice);

	if (err) {
		updated(c, err);
		return;
	}
	c->next = 0;
	c->err = 0;
	c->phase = CONTROL_APPLIES;
	timer_off(&c->timer);
	if (next_table(c))
		step(c);
	else
		applied(c);
}

static void take_update(struct control *c)
{
	char err[RULE_ERR];

	switch (rulewire_updated(c->buf, c->len, c->table, c->n, &c->env,
				 err)) {
	case RULEWIRE_MORE:
		break;
	case RULEWIRE_DONE:
		update(c);
		break;
	case RULEWIRE_BAD:
		log_limited(LOG_ERROR, "Forwarding rules refused: %s", err);
		answer(c, err);
		break;
	}
}

/* --- the client ------------------------------------------------------------ */

/* Hand the client to http or takeover; false: they have too many already */
static bool pass_on(struct control *c)
{
	bool taken = *c->buf == 'G' ?
			     http_adopt(c->http, c->fd, c->buf, c->len) :
			     takeover_adopt(c->takeover, c->fd, c->buf, c->len);

	if (taken)
		take_next(c);
	return taken;
}

/* Receive until the update is complete; false if the client has gone before */
static bool receive(struct control *c)
{
	struct iovec v;
	struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1 };
	ssize_t n;

	while (c->phase == CONTROL_READS) {
		v = (struct iovec){ c->buf + c->len, sizeof(c->buf) - c->len };
		/* #syscalls recvmsg */
		n = recvmsg(c->fd, &m, MSG_DONTWAIT);
		if (n < 0 && errno == EAGAIN)
			return true;
		if (n < 0 && errno == EINTR)
			continue;
		if (!n && c->len)
			log_limited(LOG_ERROR, "Incomplete forwarding rules "
					       "from client");
		if (n <= 0)
			return false;
		c->len += (size_t)n;
		if (*c->buf == 'G' ||
		    (c->takeover && takeover_is(*c->buf)))
			return pass_on(c);
		take_update(c);
	}
	return true;
}

static bool advance(struct control *c)
{
	if (c->phase == CONTROL_GREETS) {
		if (!send_rest(c))
			return false;
		if (c->at < c->len)
			return true;
		c->phase = CONTROL_READS;
		c->len = 0;
	}
	if (c->phase == CONTROL_READS && !receive(c))
		return false;
	if (c->phase == CONTROL_ANSWERS)
		return send_rest(c) && c->at < c->len;
	return true;
}

static void serve(struct control *c)
{
	if (!advance(c))
		hang_up(c);
}

static void later(void *owner, struct timer *t)
{
	struct control *c = owner;

	(void)t;
	step(c);
	if (c->phase == CONTROL_ANSWERS)
		serve(c);
}

static void expire(void *owner, struct timer *t)
{
	struct control *c = owner;

	(void)t;
	log_warn("Configuration client took longer than %d s, hung up",
		 CONTROL_MS / 1000);
	hang_up(c);
}

static void tell_client(int fd)
{
	struct ucred u;
	socklen_t len = sizeof(u);

	/* #syscalls getsockopt */
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &u, &len))
		u.pid = 0; /* of another PID namespace */
	log_limited(LOG_INFORM, "Accepted configuration client, PID %d", u.pid);
}

static void event(void *owner, uint64_t ref, uint32_t events)
{
	struct control *c = owner;

	(void)ref;
	(void)events;
	if (c->fd >= 0)
		serve(c);
}

static void accept_client(void *owner, uint64_t ref, uint32_t events)
{
	struct control *c = owner;
	int fd = acceptor_take(&c->acceptor);

	(void)ref;
	(void)events;
	if (fd < 0)
		return;
	acceptor_hold(&c->acceptor, true);
	tell_client(fd);
	c->fd = fd;
	timer_set(&c->loop->timers, &c->timer, c->loop->now_ms + CONTROL_MS);
	if (loop_add(c->loop, fd, c->watch, 0,
		     EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET)) {
		hang_up(c);
		return;
	}
	greet(c);
	serve(c);
}

int control_start(struct control *c, struct loop *l, struct listen *listen,
		  const struct rules_env *env, struct http *http, int fd)
{
	unsigned i;

	c->loop = l;
	c->listen = listen;
	c->env = *env;
	c->http = http;
	c->fd = -1;
	c->n = listen->ns ? 2 : 1;
	for (i = 0; i < c->n; i++) {
		c->table[i] = (struct rulewire_table){
			.id = (uint8_t)pif[i], .caps = rulewire_caps(env),
		};
		strcpy(c->table[i].name, name[i]);
	}
	timer_init(&c->timer, expire, c);
	timer_init(&c->steps, later, c);
	c->watch = loop_watch(l, event, c);
	return acceptor_start(&c->acceptor, l, fd, accept_client, c);
}
