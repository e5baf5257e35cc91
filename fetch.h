/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * fetch - the client for the pages of http.h, for pesto
 */
#ifndef FETCH_H
#define FETCH_H

#include "util.h"

/* A server that is silent for so long is given up: a change of all ports takes
 * three seconds, and there may be other clients in front of us */
enum { FETCH_PATIENCE_S = 60 };

/* fetch_connect - connect to the UNIX socket @path; returns a descriptor on
 * which no call takes longer than FETCH_PATIENCE_S */
int fetch_connect(const char *path);

/* fetch_error - the text of errno after such a call has failed */
const char *fetch_error(void);

/* fetch_page - get the page @target, such as "/metrics", from the server at
 * @path, a control or metrics socket
 * @text is NULL or was made by realloc(); the result replaces it and is NUL
 * terminated.  Failures end the process with one line. */
char *fetch_page(const char *path, const char *target, char *text);

/* A page that is read as it comes, and need not end */
struct fetch {
	int fd;
	size_t len, done; /* bytes in @buf, and those that were returned */
	char *buf;
};

/* fetch_open - request the page; failures end the process as above
 * fetch_more - the next lines, NUL terminated and valid until the next call;
 * NULL when the server has ended the page */
void fetch_open(struct fetch *f, const char *path, const char *target);
char *fetch_more(struct fetch *f);

#endif /* FETCH_H */
