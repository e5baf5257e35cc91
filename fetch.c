/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * fetch - the client of the pages of http.h, for pesto
 *
 * A control socket sends a greeting, a metrics socket waits for a request: so
 * the request is sent at once, and a greeting is skipped.  An answer that ends
 * is read completely before any of it is printed, as the reader of our output
 * may be slow.
 */
#include "fetch.h"

#include "log.h"
#include "rulewire.h"
#include "timer.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

enum { TARGET = 4096, STEP = 64 << 10, MOST = 1 << 30,
       STREAM = RULEWIRE_MAX + STEP };

/* Set the timeout for sending and receiving, in seconds; 0: none */
static void set_patience(int fd, int s)
{
	struct timeval t = { s / CLOCK_SPEED,
			     1000000 / CLOCK_SPEED * (s % CLOCK_SPEED) };

	if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof(t)) ||
	    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &t, sizeof(t)))
		die("Failed to set a deadline: %s", util_error(errno));
}

const char *fetch_error(void)
{
	return errno == EAGAIN ? "it says nothing" : util_error(errno);
}

int fetch_connect(const char *path)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd;

	if (strlen(path) >= sizeof(a.sun_path))
		die("Invalid socket path \"%s\"", path);
	strcpy(a.sun_path, path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		die("Failed to create UNIX domain socket: %s", util_error(errno));
	set_patience(fd, FETCH_PATIENCE_S);
	if (connect(fd, (struct sockaddr *)&a, sizeof(a)))
		die("Failed to connect to %s: %s", path, fetch_error());
	return fd;
}

static void ask(int fd, const char *target)
{
	char text[TARGET + 128];
	int len = snprintf(text, sizeof(text), "GET %s HTTP/1.1\r\nHost: passt"
					       "\r\nConnection: close\r\n\r\n",
			   target);

	if ((size_t)len >= sizeof(text))
		die("Too much is asked for");
	if (send(fd, text, (size_t)len, MSG_NOSIGNAL) != len)
		die("Failed to ask server: %s", fetch_error());
}

/* Read until the server closes the connection.  @text is grown with realloc(),
 * gets a terminating NUL and is returned. */
static char *read_all(int fd, char *text, size_t *len)
{
	size_t size = 0;
	ssize_t n;

	*len = 0;
	do {
		if (*len + 1 >= size) {
			size = size ? 2 * size : STEP;
			text = size <= MOST ? realloc(text, size) : NULL;
			if (!text)
				die("Answer of server is too long");
		}
		n = recv(fd, text + *len, size - *len - 1, 0);
		*len += n > 0 ? (size_t)n : 0;
	} while (n > 0 || (n < 0 && errno == EINTR));
	/* The server may close without having read all of our request */
	if (n < 0 && (errno != ECONNRESET || !*len))
		die("Failed to read from server: %s", fetch_error());
	text[*len] = '\0';
	return text;
}

/* Set @at to the length of a control socket's greeting, 0 if there is none.
 * False: the greeting is not complete. */
static bool greeting(const char *text, size_t len, size_t *at)
{
	static struct rulewire_table table[RULEWIRE_TABLES];
	char err[RULE_ERR];
	unsigned n;

	*at = 0;
	if (len >= 5 && !memcmp(text, "HTTP/", 5))
		return true;
	switch (rulewire_greeted(text, len, table, &n, err)) {
	case RULEWIRE_BAD:
		die("%s", err);
	case RULEWIRE_MORE:
		return false;
	case RULEWIRE_DONE:
		break;
	}
	*at = rulewire_greeting(table, n);
	return true;
}

/* Join the chunks of a chunked body in place; false: the body is malformed or
 * truncated */
static bool join(char *text)
{
	char *from = text, *end = from + strlen(from), *data;
	unsigned long n;

	for (;;) {
		n = strtoul(from, &data, 16);
		if (data == from || strncmp(data, "\r\n", 2) ||
		    n > (size_t)(end - data - 2))
			return false;
		data += 2;
		if (!n)
			break;
		memmove(text, data, n);
		text += n;
		from = data + n;
		if (strncmp(from, "\r\n", 2))
			return false;
		from += 2;
	}
	*text = '\0';
	return true;
}

/* Check the answer @text and move its body to the front */
static void unpack(char *text, size_t len)
{
	char *head, *body;
	unsigned status;
	size_t at;

	if (!len)
		die("Server has hung up");
	if (!greeting(text, len, &at))
		die("Unexpected end of the server's configuration");
	head = text + at;
	body = strstr(head, "\r\n\r\n");
	if (at == len)
		die("Server does not tell that: is it an older one?");
	if (!body || sscanf(head, "HTTP/1.1 %u ", &status) != 1)
		die("Server gives no answer that makes sense");
	body[2] = '\0';
	body += 4;
	if (strstr(head, "\r\nTransfer-Encoding: chunked\r\n") && !join(body))
		die("Answer of server is not complete");
	if (status != 200)
		die("Server says: %.*s", (int)strcspn(body, "\n"), body);
	memmove(text, body, strlen(body) + 1);
}

char *fetch_page(const char *path, const char *target, char *text)
{
	int fd = fetch_connect(path);
	size_t len;

	ask(fd, target);
	text = read_all(fd, text, &len);
	close(fd);
	unpack(text, len);
	return text;
}

/* --- as it comes ----------------------------------------------------------- */

/* Receive more; false at the end, at a reset or if the buffer is full */
static bool receive(struct fetch *f)
{
	ssize_t n;

	do
		n = f->len < STREAM - 1 ? recv(f->fd, f->buf + f->len,
					       STREAM - 1 - f->len, 0) : 0;
	while (n < 0 && errno == EINTR);
	if (n < 0 && errno != ECONNRESET)
		die("Failed to read from server: %s", fetch_error());
	f->len += n > 0 ? (size_t)n : 0;
	f->buf[f->len] = '\0';
	return n > 0;
}

/* Remove what the caller has got from the buffer */
static void tidy(struct fetch *f)
{
	f->len -= f->done;
	memmove(f->buf, f->buf + f->done, f->len + 1);
	f->done = 0;
}

/* The body behind the head of an answer with status 200; NULL: it is not
 * complete, or another answer */
static const char *body_of(const struct fetch *f)
{
	const char *end;
	size_t at;

	if (!greeting(f->buf, f->len, &at))
		return NULL;
	end = strstr(f->buf + at, "\r\n\r\n");
	if (!end || strncmp(f->buf + at, "HTTP/1.1 200 ", 13))
		return NULL;
	return end + 4;
}

void fetch_open(struct fetch *f, const char *path, const char *target)
{
	const char *body;

	*f = (struct fetch){ .fd = fetch_connect(path), .buf = malloc(STREAM) };
	if (!f->buf)
		die("Failed to read from server: %s", util_error(ENOMEM));
	ask(f->fd, target);
	do {
		if (receive(f))
			continue;
		unpack(f->buf, f->len);
		die("Server gives no answer that makes sense");
	} while (!(body = body_of(f)));
	f->done = (size_t)(body - f->buf);
	tidy(f);
	set_patience(f->fd, 0); /* the next event may take days */
}

char *fetch_more(struct fetch *f)
{
	unsigned long n = 0;
	char *data;

	for (tidy(f);; f->done = 0) {
		n = strtoul(f->buf, &data, 16);
		if (!strncmp(data, "\r\n", 2)) {
			data += 2;
			f->done = (size_t)(data - f->buf) + n + 2;
			if (!n)
				return NULL;
			if (n < STREAM && f->done <= f->len)
				break;
		}
		if (!receive(f))
			return NULL;
	}
	data[n] = '\0';
	return data;
}
