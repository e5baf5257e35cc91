/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * fetch - the client of the pages of http.h, for pesto
 */
#ifndef FETCH_H
#define FETCH_H

#include "util.h"

/* Who says nothing for so long says no more: a change of all ports takes three
 * seconds, and there may be others in front of us */
enum { FETCH_PATIENCE_S = 60 };

/* fetch_connect - to the UNIX socket @path; its descriptor, on which no call takes
 * longer than FETCH_PATIENCE_S */
int fetch_connect(const char *path);

/* fetch_error - why such a call failed, out of errno */
const char *fetch_error(void);

/* fetch_page - what the server at @path, a control or a metrics socket, tells for
 * @target, such as "/metrics"
 * @text, which realloc() has made or which is NULL, becomes all of it with a NUL
 * behind.  What is wrong ends the process with one line. */
char *fetch_page(const char *path, const char *target, char *text);

/* A page as it comes, which need not have an end */
struct fetch {
	int fd;
	size_t len, done; /* bytes in @buf, those of them that were told */
	char *buf;
};

/* fetch_open - ask for it; what is wrong ends the process as above
 * fetch_more - its next lines with a NUL behind, valid until the next call; NULL:
 * the server has ended it */
void fetch_open(struct fetch *f, const char *path, const char *target);
char *fetch_more(struct fetch *f);

#endif /* FETCH_H */
