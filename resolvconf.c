/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * resolvconf - what a resolv.conf(5) says of resolvers and search domains
 *
 * The file is trusted, but it may be of any length, and so may a line: it is
 * read in pieces, and of a line that is too long the beginning counts.
 */
#include "resolvconf.h"
#include "util.h"

#include <errno.h>
#include <unistd.h>

static const char blank[] = " \t";
static const char space[] = " \t\r";

/* The text after @key if the line begins with that key and a blank, else
 * NULL */
static const char *value(const char *line, const char *key)
{
	size_t n = strlen(key);

	if (strncmp(line, key, n) || (line[n] != ' ' && line[n] != '\t'))
		return NULL;
	return line + n + strspn(line + n, blank);
}

static void add_server(struct resolvconf *r, const char *s)
{
	size_t len = strcspn(s, space);
	char text[ADDR_TEXT_LEN];
	struct addr a;
	unsigned i, k;

	len = MIN(len, strcspn(s, "%")); /* a scope of the host's means nothing
					    to the guest */
	if (len >= sizeof(text))
		return;
	memcpy(text, s, len);
	text[len] = '\0';
	if (!addr_parse(text, &a))
		return;
	i = addr_is_v4(&a) ? 0 : 1;
	for (k = 0; k < r->n[i]; k++)
		if (addr_equal(&r->ns[i][k], &a))
			return;
	if (r->n[i] < LAN_DNS)
		r->ns[i][r->n[i]++] = a;
}

static void set_search(struct resolvconf *r, const char *s, unsigned max)
{
	size_t len;

	r->search_n = 0;
	for (; r->search_n < max; s += len) {
		s += strspn(s, blank);
		len = strcspn(s, space);
		if (!len || *s == '#' || *s == ';') /* a comment */
			break;
		if (len >= LAN_NAME)
			continue;
		memcpy(r->search[r->search_n], s, len);
		r->search[r->search_n++][len] = '\0';
	}
}

/* Evaluate a line that is complete, and begin the next */
static void finish(struct resolvconf *r)
{
	const char *v;

	/* The last word of a truncated line may be truncated: drop it */
	while (r->cut && r->len && !strchr(space, r->line[r->len - 1]))
		r->len--;
	r->line[r->len] = '\0';
	r->len = 0;
	r->cut = false;
	if ((v = value(r->line, "nameserver")))
		add_server(r, v);
	else if ((v = value(r->line, "search")))
		set_search(r, v, LAN_SEARCH);
	else if ((v = value(r->line, "domain")))
		set_search(r, v, 1);
}

void resolvconf_begin(struct resolvconf *r)
{
	memset(r, 0, sizeof(*r));
}

void resolvconf_add(struct resolvconf *r, const char *text, size_t len)
{
	const char *end = text + len;

	while (text < end) {
		const char *nl = memchr(text, '\n', (size_t)(end - text));
		size_t n = (size_t)((nl ? nl : end) - text);
		size_t room = sizeof(r->line) - 1 - r->len;

		memcpy(r->line + r->len, text, MIN(n, room));
		r->len += MIN(n, room);
		r->cut |= n > room;
		text += n;
		if (nl) {
			finish(r);
			text++;
		}
	}
}

void resolvconf_end(struct resolvconf *r)
{
	finish(r);
}

int resolvconf_read(struct resolvconf *r, int fd)
{
	char buf[4096];
	off_t at = 0;
	ssize_t n;

	resolvconf_begin(r);
	while (at < RESOLVCONF_MAX) {
		n = pread(fd, buf, sizeof(buf), at); /* #syscalls pread64 */
		if (n < 0)
			return -errno;
		if (!n)
			break;
		resolvconf_add(r, buf, (size_t)n);
		at += n;
	}
	resolvconf_end(r);
	return 0;
}
