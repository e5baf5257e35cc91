/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * http - pages for who watches us: GET over HTTP/1.1 (RFC 9110, 9112) on UNIX
 * sockets
 *
 * A page is text that is made piece by piece as its reader takes it: there is
 * never a copy of all of it, and a turn of the loop makes one slice for each
 * client.  A connection has one request.  A client that sends half of one, or
 * does not read its answer, is hung up on after HTTP_MS.  If there are too many
 * clients, the one that has waited longest without sending a request makes
 * room.  Clients that stay for what is to come are HTTP_STAY at most.
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
	HTTP_PIECE = 1024,  /* most bytes of a piece of a page */
	HTTP_BUF = 8 << 10, /* a request's header, or a slice of an answer */
	HTTP_BACKLOG = 64,
};

/* The answer to one client, and where in the page it is */
struct http_answer {
	const char *type;    /* Content-Type: the page's, unless begin() sets
				another */
	bool stays;	     /* set by begin(): next() may return HTTP_WAIT */
	uint64_t cursor[32]; /* the page's own; all zero in begin() */
};

/* HTTP_PAUSE: there is more, but this piece has taken long, so go on in the
 * next turn
 * HTTP_WAIT: nothing was written; there will be more after http_wake(), which
 * may be a day later */
enum http_next { HTTP_END, HTTP_MORE, HTTP_PAUSE, HTTP_WAIT };

/* Seam: a page.  @owner is what http_page() was given. */
struct http_page {
	const char *path; /* "/metrics" */
	const char *type;
	/* Called with what follows '?' in the request, or "", to be read with
	 * http_param().  Returns NULL, or what is wrong with it as one line for
	 * the client.  May be NULL: then there are no parameters. */
	const char *(*begin)(void *owner, char *query, struct http_answer *a);
	/* Write the next piece to @w: whole lines, HTTP_PIECE bytes at most.
	 * What it tells of may have changed since the last one. */
	enum http_next (*next)(void *owner, struct http_answer *a,
			       struct wr *w);
};

struct http_client {
	struct http *http;
	int fd; /* -1: none */
	bool answers; /* the request was read: now it is answered */
	bool chunked;
	bool waits; /* waits for http_wake(): only watched for its end */
	const struct http_page *page; /* NULL: all that is left is in @buf */
	void *owner;
	struct http_answer answer;
	struct timer timer;
	size_t at, len; /* @buf has @len bytes, of which those before @at are
			   done with */
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
	uint8_t buf[HTTP_CLIENTS][HTTP_BUF]; /* not touched until there is a
						client */
};

/* http_init - set up @h, without pages and clients; before the first turn, as
 * are http_page() and http_listen() */
void http_init(struct http *h, struct loop *l);

/* http_page - add page @p, called with @owner */
void http_page(struct http *h, const struct http_page *p, void *owner);

/* http_listen - serve clients of @fd, a listening UNIX socket; 0 or -errno */
int http_listen(struct http *h, int fd);

/* http_adopt - serve a client that came elsewhere, and has sent the @len bytes
 * at @buf
 * @fd is registered with the loop, and ours on success.  Returns false if there
 * are too many clients. */
bool http_adopt(struct http *h, int fd, const void *buf, size_t len);

/* http_wake - there is more of page @p for clients that wait for it */
void http_wake(struct http *h, const struct http_page *p);

/* http_print - printf() to @w; the writer turns bad if it does not fit */
void http_print(struct wr *w, const char *fmt, ...) PRINTF(2, 3);

/* http_param - take the first parameter off @query and decode it
 * True: its *@name and *@value, which is "" if there is none.  False: if *@name
 * is NULL the query is at its end, otherwise that could not be decoded. */
bool http_param(char **query, const char **name, const char **value);

/* The header of a request */
struct http_request {
	bool head;    /* HEAD, not GET */
	bool chunked; /* the client knows HTTP/1.1 */
	char *path, *query;
};

/* http_parse - parse what may be the header of a request
 * Returns 200 if it is one: @r points into @buf, which was changed.  Returns 0
 * if it is not complete, else the status to answer with. */
unsigned http_parse(uint8_t *buf, size_t len, struct http_request *r);

#endif /* HTTP_H */
