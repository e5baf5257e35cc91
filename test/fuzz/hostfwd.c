/* SPDX-License-Identifier: GPL-2.0-or-later */
/* unit: addr util */
#include "hostfwd.h"

#include <stdlib.h>

static struct hostfwd h;
static char answer[HOSTFWD_ANSWER], text[HOSTFWD_REQUEST];

static bool change(void *owner, const struct hostfwd_entry *e, bool add,
		   char why[HOSTFWD_WHY])
{
	(void)owner;
	(void)add;
	strcpy(why, "so");
	return e->host_port & 1;
}

/* Requests, one a line, to one table */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *end = data + size, *line;
	size_t len, n;

	h = (struct hostfwd){ .change = change,
			      .guest = addr_v4(10, 0, 2, 100) };
	for (; data < end; data = line + 1) {
		line = memchr(data, '\n', (size_t)(end - data));
		if (!line)
			line = end;
		len = MIN((size_t)(line - data), sizeof(text));
		memcpy(text, data, len);
		n = hostfwd_request(&h, text, len, answer);
		if (!n || n >= HOSTFWD_ANSWER || answer[n - 1] != '}')
			abort();
		if (line == end)
			break;
	}
	return 0;
}
