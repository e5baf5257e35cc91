/* SPDX-License-Identifier: GPL-2.0-or-later */
/* unit: acceptor loop log timer util */
#include "http.h"

#include <stdlib.h>

#define REQUIRE(x) ((x) ? (void)0 : abort())

static uint8_t buf[HTTP_BUF];

static void take_params(char *query, const char *end)
{
	const char *name, *value;

	while (http_param(&query, &name, &value)) {
		REQUIRE(name + strlen(name) < end);
		REQUIRE(value + strlen(value) < end);
		REQUIRE(query <= end);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct http_request r;
	const char *end;

	if (size > sizeof(buf))
		return 0;
	memcpy(buf, data, size);
	end = (const char *)buf + size;
	if (http_parse(buf, size, &r) != 200)
		return 0;
	REQUIRE(*r.path == '/');
	REQUIRE(r.query + strlen(r.query) < end);
	take_params(r.query, end);
	return 0;
}
