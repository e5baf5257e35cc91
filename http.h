/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * http - pages for who watches us: GET over HTTP/1.1 (RFC 9110, 9112) on UNIX
 * sockets
 *
 * A page is text that is made piece by piece, as its reader takes it: there is
 * no copy of all of it, and a turn of the loop makes one slice for each client.
 * A connection has one request.  Who sends half of one, or does not read the
 * answer, is hung up on after HTTP_MS; where there are too many clients, the one
 * that has waited longest without a request makes room.  Those who stay for what
 * is to come are HTTP_STAY at most.
 */
#ifndef HTTP_H
#define HTTP_H

#include "acceptor.h"
#include "cursor.h"

enum {
	HTTP_MS = 5000,
	HTTP_CLIENTS = 8,
	HTTP_STAY = 4,
	HTTP_PAGES = 4,
	HTTP_PIECE = 1024,  /* most bytes of a piece */
	HTTP_BUF = 8 << 10, /* a request's head; a slice of an answer */
	HTTP_BACKLOG = 64,
};

/* Where the reader of a page stands */
struct http_answer {
	const char *type;    /* Content-Type: the page's, begin() may set another */
	bool stays;	     /* begin() says that next() may have the client WAIT */
	uint64_t cursor[32]; /* the page's own, all zero in begin() */
};

/* PAUSE: more in the next turn, as this piece has taken long
 * WAIT: more after http_wake(), which may be a day later; nothing was written */
enum http_next { HTTP_END, HTTP_MORE, HTTP_PAUSE, HTTP_WAIT };

/* Seam: what is told.  @owner is what http_page() was given. */
struct http_page {
	const char *path; /* "/metrics" */
	const char *type;
	/* What follows '?' in the request, "" if nothing does; see http_param().
	 * NULL, or what is wrong with it: one line for the client.  May be NULL,
	 * then there are no parameters. */
	const char *(*begin)(void *owner, char *query, struct http_answer *a);
	/* Write the next piece to @w, HTTP_PIECE bytes of whole lines at most.
	 * What it tells of may have changed since the last one. */
	enum http_next (*next)(void *owner, struct http_answer *a,
			       struct wr *w);
};

struct http_client {
	struct http *http;
	int fd; /* -1: none */
	bool answers; /* the request was read */
	bool chunked;
	bool waits; /* for http_wake(): only that it goes is looked for */
	const struct http_page *page; /* NULL: @buf has all that is left */
	void *owner;
	struct http_answer answer;
	struct timer timer;
	size_t at, len; /* @buf has @len bytes, those before @at are done with */
	uint8_t *buf; /* HTTP_BUF */
};

struct http {
	struct loop *loop;
	unsigned watch, pages;
	struct {
		const struct http_page *page;
		void *owner;
	} page[HTTP_PAGES];
	bool listens;
	struct acceptor acceptor;
	struct http_client client[HTTP_CLIENTS];
	uint8_t buf[HTTP_CLIENTS][HTTP_BUF]; /* untouched until there is one */
};

/* http_init - no pages and no clients yet; before the first turn, as is the rest
 * of the start */
void http_init(struct http *h, struct loop *l);

/* http_page - @p is to be had from now on */
void http_page(struct http *h, const struct http_page *p, void *owner);

/* http_listen - serve clients of @fd, a listening UNIX socket; 0 or -errno */
int http_listen(struct http *h, int fd);

/* http_adopt - serve a client from elsewhere
 * @fd is registered with the loop, and ours if this is true: it has sent the
 * @len bytes at @buf.  False: there are too many clients. */
bool http_adopt(struct http *h, int fd, const void *buf, size_t len);

/* http_wake - there is more of @p for those who wait */
void http_wake(struct http *h, const struct http_page *p);

/* http_print - printf() to @w; what does not fit makes it bad */
void http_print(struct wr *w, const char *fmt, ...) PRINTF(2, 3);

/* http_param - take the first parameter off @query
 * True: *@name and *@value, which are decoded; the latter is "" if there is none.
 * False: the query is at its end, or *@name is not NULL, and then it is not one. */
bool http_param(char **query, const char **name, const char **value);

/* What the head of a request says */
struct http_request {
	bool head;    /* HEAD, not GET */
	bool chunked; /* the client knows HTTP/1.1 */
	char *path, *query;
};

/* http_parse - look at what may be the head of a request
 * 200: it is one, @r points into @buf, which was changed.  0: it is not complete.
 * Else the status to answer with. */
unsigned http_parse(uint8_t *buf, size_t len, struct http_request *r);

#endif /* HTTP_H */
