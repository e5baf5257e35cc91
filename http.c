/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * http - pages for who watches us, over HTTP/1.1 on UNIX sockets
 *
 * A client's socket is watched level-triggered, first for its request, then for
 * room: so each turn makes one slice at most, and no system call is in vain.
 * The answer is chunked, or for HTTP/1.0 ends with the connection, as a page
 * does not know how long it will be.
 */
#include "http.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

/* Room around a slice for its length, and for the end of the chunk and of the
 * whole body */
enum { CHUNK_HEAD = 6, CHUNK_END = 7 };

/* --- requests ------------------------------------------------------------- */

/* Take the next line without its end, or NULL; a bare LF ends a line as well
 * (RFC 9112 2.2) */
static char *take_line(char **at, char *end)
{
	char *line = *at, *lf = memchr(line, '\n', (size_t)(end - line));

	if (!lf)
		return NULL;
	*at = lf + 1;
	*lf = '\0';
	if (lf > line && lf[-1] == '\r')
		lf[-1] = '\0';
	return line;
}

/* Take a word up to the next blank, which is replaced by NUL; NULL: there is
 * none */
static char *take_word(char **at)
{
	char *word = *at, *blank = strchr(word, ' ');

	if (!blank)
		return NULL;
	*blank = '\0';
	*at = blank + 1;
	return word;
}

/* Skip scheme and authority of an absolute-form target, which every server must
 * accept (RFC 9112 3.2.2) */
static char *skip_authority(char *target)
{
	static const char scheme[] = "http://";
	char *path;

	if (strncmp(target, scheme, sizeof(scheme) - 1))
		return target;
	path = strchr(target + sizeof(scheme) - 1, '/');
	return path ? path : strcpy(target, "/");
}

static unsigned parse_first(char *line, struct http_request *r)
{
	char *method = take_word(&line), *target = method ? take_word(&line) :
							    NULL;

	if (!target || strncmp(line, "HTTP/", 5))
		return 400;
	if (strcmp(line, "HTTP/1.1") && strcmp(line, "HTTP/1.0"))
		return 505;
	r->head = !strcmp(method, "HEAD");
	r->chunked = line[7] == '1';
	if (!r->head && strcmp(method, "GET"))
		return 405;
	r->path = skip_authority(target);
	if (*r->path != '/')
		return 400;
	r->query = r->path + strcspn(r->path, "?");
	if (*r->query)
		*r->query++ = '\0';
	return 200;
}

/* Whether @line is a field; *@host: whether it is Host (RFC 9112 3.2, 5.1) */
static bool is_field(const char *line, bool *host)
{
	size_t name = strcspn(line, ": \t");

	*host = name == 4 && !strncasecmp(line, "Host", 4);
	return name && line[name] == ':';
}

unsigned http_parse(uint8_t *buf, size_t len, struct http_request *r)
{
	char *at = (char *)buf, *end = at + len, *line;
	unsigned status, hosts = 0;
	bool host, bad = false;

	if (!memmem(buf, len, "\n\r\n", 3) && !memmem(buf, len, "\n\n", 2))
		return 0;
	*r = (struct http_request){ 0 };
	if (memchr(buf, '\0', len))
		return 400;
	status = parse_first(take_line(&at, end), r);
	while ((line = take_line(&at, end)) && *line) {
		bad |= !is_field(line, &host);
		hosts += host;
	}
	if (status == 200 && (bad || hosts > 1 || (r->chunked && !hosts)))
		return 400;
	return status;
}

static int hex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Decode percent-encoded bytes in place; false if two digits are missing */
static bool decode(char *s)
{
	char *to = s;

	for (; *s; s++) {
		if (*s != '%') {
			*to++ = *s;
			continue;
		}
		if (hex(s[1]) < 0 || hex(s[2]) < 0)
			return false;
		*to = (char)(hex(s[1]) << 4 | hex(s[2]));
		if (!*to++)
			return false;
		s += 2;
	}
	*to = '\0';
	return true;
}

bool http_param(char **query, const char **name, const char **value)
{
	char *at = *query, *end, *text;

	*name = *value = NULL;
	if (!*at)
		return false;
	end = at + strcspn(at, "&");
	*query = end + (*end == '&');
	*end = '\0';
	text = at + strcspn(at, "=");
	if (*text)
		*text++ = '\0';
	*name = at;
	*value = text;
	return decode(at) && decode(text);
}

/* --- answers -------------------------------------------------------------- */

void http_print(struct wr *w, const char *fmt, ...)
{
	size_t room = w->bad ? 0 : w->cap - w->len;
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf((char *)w->buf + w->len, room, fmt, ap);
	va_end(ap);
	if (n < 0 || (size_t)n >= room) /* vsnprintf() needs room for a NUL */
		w->bad = true;
	else
		w->len += (size_t)n;
}

static const char *reason(unsigned status)
{
	switch (status) {
	case 200:
		return "OK";
	case 404:
		return "Not Found";
	case 405:
		return "Method Not Allowed";
	case 431:
		return "Request Header Fields Too Large";
	case 503:
		return "Service Unavailable";
	case 505:
		return "HTTP Version Not Supported";
	default:
		return "Bad Request";
	}
}

static void head(struct http_client *c, struct wr *w, unsigned status,
		 const char *type)
{
	http_print(w, "HTTP/1.1 %u %s\r\nContent-Type: %s\r\n"
		      "Cache-Control: no-store\r\nConnection: close\r\n",
		   status, reason(status), type);
	if (status == 405)
		http_print(w, "Allow: GET, HEAD\r\n");
	c->answers = true;
}

/* Answer with an error status and one line, @text if that is not NULL */
static void refuse(struct http_client *c, unsigned status, const char *text,
		   bool only_head)
{
	struct wr w = wr_init(c->buf, HTTP_BUF);

	text = text ? text : reason(status);
	head(c, &w, status, "text/plain; charset=utf-8");
	http_print(&w, "Content-Length: %zu\r\n\r\n", strlen(text) + 1);
	if (!only_head)
		http_print(&w, "%s\n", text);
	c->len = w.len;
}

static void begin(struct http_client *c, bool only_head)
{
	struct wr w = wr_init(c->buf, HTTP_BUF);

	head(c, &w, 200, c->answer.type);
	http_print(&w, c->chunked ? "Transfer-Encoding: chunked\r\n\r\n" :
				    "\r\n");
	c->len = w.len;
	if (only_head)
		c->page = NULL;
}

/* Whether as many clients besides @c stay as may */
static bool is_full(const struct http_client *c)
{
	const struct http *h = c->http;
	unsigned i, n = 0;

	for (i = 0; i < HTTP_CLIENTS; i++)
		n += &h->client[i] != c && h->client[i].fd >= 0 &&
		     h->client[i].page && h->client[i].answer.stays;
	return n >= HTTP_STAY;
}

static void answer(struct http_client *c, const struct http_request *r)
{
	const char *wrong = NULL;
	unsigned i;

	for (i = 0; i < c->http->pages; i++)
		if (!strcmp(c->http->page[i].page->path, r->path))
			break;
	if (i == c->http->pages) {
		refuse(c, 404, NULL, r->head);
		return;
	}
	c->page = c->http->page[i].page;
	c->owner = c->http->page[i].owner;
	c->chunked = r->chunked;
	c->answer = (struct http_answer){ .type = c->page->type };
	if (c->page->begin)
		wrong = c->page->begin(c->owner, r->query, &c->answer);
	else if (*r->query)
		wrong = "There are no parameters here";
	if (wrong) {
		c->page = NULL;
		refuse(c, 400, wrong, r->head);
	} else if (c->answer.stays && is_full(c)) {
		c->page = NULL;
		refuse(c, 503, "Too many clients stay already", r->head);
	} else {
		begin(c, r->head);
	}
}

/* Make as many pieces of the page as there is room for */
static struct wr make_text(struct http_client *c, size_t at)
{
	struct wr w = wr_init(c->buf + at, HTTP_BUF - at - CHUNK_END);
	enum http_next next = HTTP_MORE;

	while (next == HTTP_MORE && w.cap - w.len >= HTTP_PIECE && wr_ok(&w))
		next = c->page->next(c->owner, &c->answer, &w);
	if (next == HTTP_END)
		c->page = NULL;
	c->waits = next == HTTP_WAIT && !w.len;
	return w;
}

/* Make the next slice; false: the page has made a mistake */
static bool make_slice(struct http_client *c)
{
	size_t at = c->chunked ? CHUNK_HEAD : 0;
	struct wr w = make_text(c, at);
	char size[CHUNK_HEAD + 1];

	c->at = 0;
	c->len = 0;
	if (!wr_ok(&w))
		return false;
	if (w.len)
		c->len = at + w.len;
	if (!c->chunked)
		return true;
	if (w.len) {
		snprintf(size, sizeof(size), "%04hx\r\n", (uint16_t)w.len);
		memcpy(c->buf, size, CHUNK_HEAD);
		memcpy(c->buf + c->len, "\r\n", 2);
		c->len += 2;
	}
	if (!c->page) {
		memcpy(c->buf + c->len, "0\r\n\r\n", 5);
		c->len += 5;
	}
	return true;
}

/* --- clients -------------------------------------------------------------- */

static struct http_client *pick(struct http *h, bool free)
{
	struct http_client *c, *best = NULL;

	for (c = h->client; c < h->client + HTTP_CLIENTS; c++) {
		if ((c->fd < 0) != free || (!free && c->answers))
			continue;
		if (free)
			return c;
		if (!best || c->timer.due_ms < best->timer.due_ms)
			best = c;
	}
	return best;
}

static void hang_up(struct http_client *c)
{
	close(c->fd); /* #syscalls close */
	c->fd = -1;
	timer_off(&c->timer);
	if (c->http->listens)
		acceptor_hold(&c->http->acceptor, false);
}

static void expire(void *owner, struct timer *t)
{
	(void)t;
	hang_up(owner);
}

static void be_patient(struct http_client *c)
{
	struct loop *l = c->http->loop;

	timer_set(&l->timers, &c->timer, l->now_ms + HTTP_MS);
}

/* Find room for a client, which may replace one that has sent nothing */
static struct http_client *make_room(struct http *h)
{
	struct http_client *c = pick(h, true);

	if (c)
		return c;
	c = pick(h, false);
	if (c)
		hang_up(c);
	return c;
}

static void start(struct http_client *c, int fd)
{
	c->fd = fd;
	c->answers = c->waits = false;
	c->page = NULL;
	c->at = c->len = 0;
	be_patient(c);
}

/* Process what was received if that is a request; false: the client has to
 * go */
static bool take_request(struct http_client *c)
{
	struct http *h = c->http;
	struct http_request r;
	unsigned status = http_parse(c->buf, c->len, &r);

	if (!status && c->len < HTTP_BUF)
		return true;
	if (status == 200)
		answer(c, &r);
	else
		refuse(c, status ? status : 431, NULL, false);
	be_patient(c);
	return !loop_mod(h->loop, c->fd, h->watch, (uint64_t)(c - h->client),
			 EPOLLOUT);
}

static bool receive(struct http_client *c)
{
	struct iovec v = { c->buf + c->len, HTTP_BUF - c->len };
	struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1 };
	/* #syscalls recvmsg */
	ssize_t n = recvmsg(c->fd, &m, MSG_DONTWAIT);

	if (n < 0)
		return errno == EAGAIN || errno == EINTR;
	c->len += (size_t)n;
	return n && take_request(c);
}

static bool send_slice(struct http_client *c)
{
	struct iovec v = { c->buf + c->at, c->len - c->at };
	struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1 };
	ssize_t n;

	if (c->at == c->len)
		return true;
	/* #syscalls sendmsg */
	n = sendmsg(c->fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (n < 0)
		return errno == EAGAIN || errno == EINTR;
	c->at += (size_t)n;
	be_patient(c);
	return true;
}

/* Have a client wait, watched for its end only and without a deadline; false:
 * it could not be woken */
static bool wait(struct http_client *c)
{
	struct http *h = c->http;

	timer_off(&c->timer);
	return !loop_mod(h->loop, c->fd, h->watch, (uint64_t)(c - h->client),
			 0);
}

static void wake(struct http_client *c)
{
	struct http *h = c->http;

	c->waits = false;
	be_patient(c);
	if (loop_mod(h->loop, c->fd, h->watch, (uint64_t)(c - h->client),
		     EPOLLOUT))
		hang_up(c);
}

/* Go on with a client in this turn; false: it is done, or has gone */
static bool advance(struct http_client *c)
{
	if (c->waits) /* a client that waits has an event only when it has
			 gone */
		return false;
	if (!c->answers && !receive(c))
		return false;
	if (!c->answers)
		return true;
	if (c->at == c->len && !make_slice(c))
		return false;
	if (c->waits)
		return wait(c);
	return send_slice(c) && (c->page || c->at < c->len);
}

static void serve(struct http_client *c)
{
	if (!advance(c))
		hang_up(c);
}

static void event(void *owner, uint64_t ref, uint32_t events)
{
	struct http *h = owner;

	(void)events;
	if (h->client[ref].fd >= 0)
		serve(&h->client[ref]);
}

static void accept_client(void *owner, uint64_t ref, uint32_t events)
{
	struct http *h = owner;
	struct http_client *c = make_room(h);
	int fd;

	(void)ref;
	(void)events;
	if (!c) {
		acceptor_hold(&h->acceptor, true);
		return;
	}
	fd = acceptor_take(&h->acceptor);
	if (fd < 0)
		return;
	start(c, fd);
	if (loop_add(h->loop, fd, h->watch, (uint64_t)(c - h->client), EPOLLIN))
		hang_up(c);
	else
		serve(c);
}

bool http_adopt(struct http *h, int fd, const void *buf, size_t len)
{
	struct http_client *c = len <= HTTP_BUF ? make_room(h) : NULL;

	if (!c ||
	    loop_mod(h->loop, fd, h->watch, (uint64_t)(c - h->client), EPOLLIN))
		return false;
	start(c, fd);
	memcpy(c->buf, buf, len);
	c->len = len;
	if (!take_request(c))
		hang_up(c);
	else
		serve(c);
	return true;
}

void http_wake(struct http *h, const struct http_page *p)
{
	struct http_client *c;

	for (c = h->client; c < h->client + HTTP_CLIENTS; c++)
		if (c->fd >= 0 && c->waits && c->page == p)
			wake(c);
}

/* --- the start ------------------------------------------------------------ */

void http_page(struct http *h, const struct http_page *p, void *owner)
{
	assert(h->pages < HTTP_PAGES);
	h->page[h->pages].page = p;
	h->page[h->pages++].owner = owner;
}

int http_listen(struct http *h, int fd)
{
	/* Clients that connect without blocking are refused if the queue is
	 * short */
	if (listen(fd, HTTP_BACKLOG))
		return -errno;
	h->listens = true;
	return acceptor_start(&h->acceptor, h->loop, fd, accept_client, h);
}

void http_init(struct http *h, struct loop *l)
{
	struct http_client *c;

	h->loop = l;
	h->pages = 0;
	h->listens = false;
	h->watch = loop_watch(l, event, h);
	for (c = h->client; c < h->client + HTTP_CLIENTS; c++) {
		c->http = h;
		c->fd = -1;
		c->buf = h->buf[c - h->client];
		timer_init(&c->timer, expire, c);
	}
}
