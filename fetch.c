/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * fetch - the client of the pages of http.h, for pesto
 *
 * A control socket greets, a metrics socket waits to be asked: so the request is
 * sent at once, and a greeting is skipped.  All is read before any is told: who
 * reads what we print may be slow.
 */
#include "fetch.h"

#include "log.h"
#include "rulewire.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { TARGET = 4096, STEP = 64 << 10, MOST = 1 << 30 };

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
	if (connect(fd, (struct sockaddr *)&a, sizeof(a)))
		die("Failed to connect to %s: %s", path, util_error(errno));
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
		die("Failed to ask server: %s", util_error(errno));
}

/* Until the server ends it, with a NUL behind; @size is how much @text holds */
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
	/* It may hang up before it has read all that we asked */
	if (n < 0 && (errno != ECONNRESET || !*len))
		die("Failed to read from server: %s", util_error(errno));
	text[*len] = '\0';
	return text;
}

/* How long the greeting of a control socket is, 0: there is none */
static size_t greeting(const char *text, size_t len)
{
	static struct rulewire_table table[RULEWIRE_TABLES];
	char err[RULE_ERR];
	unsigned n;

	if (len >= 5 && !memcmp(text, "HTTP/", 5))
		return 0;
	switch (rulewire_greeted(text, len, table, &n, err)) {
	case RULEWIRE_BAD:
		die("%s", err);
	case RULEWIRE_MORE:
		die("Unexpected end of the server's configuration");
	case RULEWIRE_DONE:
		break;
	}
	return rulewire_greeting(table, n);
}

/* The chunks of @text in place; false: they do not end where they should */
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

/* The page out of the answer @text, which is moved to the front of it */
static void unpack(char *text, size_t len)
{
	size_t at = greeting(text, len);
	char *head = text + at, *body = strstr(head, "\r\n\r\n");
	unsigned status;

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
	if (!len)
		die("Server has hung up");
	unpack(text, len);
	return text;
}
