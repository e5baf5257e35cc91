/* SPDX-License-Identifier: GPL-2.0-or-later */
/* unit: addr log util */
#include "rules.h"
#include "log.h"

#include <stdio.h>
#include <stdlib.h>

#define REQUIRE(x) ((x) ? (void)0 : abort())

static struct rules t, was;

/* No two rules claim the same, and the sum is right */
static void check(void)
{
	char text[RULE_TEXT], err[RULE_ERR];
	const struct rules_env all = { true, true, true, true,
				       true, true, 1,	 2 };
	unsigned i, n = t.n;

	REQUIRE(t.n <= RULES_MAX && t.sockets <= RULES_SOCKETS);
	for (i = 0; i < t.n; i++) {
		REQUIRE(t.r[i].first && t.r[i].first <= t.r[i].last);
		REQUIRE(t.r[i].to + (t.r[i].last - t.r[i].first) <= UINT16_MAX);
		REQUIRE(strlen(rule_text(&t.r[i], text)) < RULE_TEXT);
		/* Again is no error, and changes nothing */
		REQUIRE(rules_add(&t, &t.r[i], &all, err) && t.n == n);
	}
}

/* Arguments, one a line, of an option that its first byte chooses */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char opts[] = "tuTU";
	char line[512], err[RULE_ERR];
	struct rules_env env;
	size_t len;

	if (!size)
		return 0;
	log_level(LOG_ERROR);
	t = (struct rules){ .splice = data[0] & 1 };
	env = (struct rules_env){ !(data[0] & 2), !(data[0] & 4), !(data[0] & 8),
				  !(data[0] & 16), !(data[0] & 32),
				  !(data[0] & 64), 32768, 60999 };
	data++;
	size--;
	while (size) {
		const uint8_t *end = memchr(data, '\n', size);
		char opt = opts[(data[0] & 1) + 2 * t.splice];

		len = end ? (size_t)(end - data) : size;
		snprintf(line, sizeof(line), "%.*s", (int)(len ? len - 1 : 0),
			 (const char *)data + 1);
		was = t;
		if (!rules_add_spec(&t, opt, line, &env, err)) {
			REQUIRE(!memcmp(&t, &was, offsetof(struct rules, r) +
						  was.n * sizeof(t.r[0])));
			REQUIRE(err[0] && strlen(err) < RULE_ERR);
		}
		len += !!end;
		data += len;
		size -= len;
	}
	check();
	while (t.n)
		REQUIRE(rules_delete(&t, &t.r[t.n / 2]));
	REQUIRE(!t.sockets);
	return 0;
}
