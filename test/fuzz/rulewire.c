/* SPDX-License-Identifier: GPL-2.0-or-later */
/* unit: rules addr log util */
#include "rulewire.h"

#include <stdlib.h>

#define REQUIRE(x) ((x) ? (void)0 : abort())

static struct rulewire_table t[RULEWIRE_TABLES], back[RULEWIRE_TABLES];
static uint8_t out[RULEWIRE_MAX];
static char err[RULE_ERR];

static const struct rules_env env = {
	true, true, true, true, true, true, 32768, 60999,
};

/* What was taken and written again is taken as the same */
static void update(const uint8_t *data, size_t size)
{
	struct wr w = wr_init(out, sizeof(out));
	unsigned i;

	memset(t, 0, sizeof(t));
	t[0].id = 1;
	t[1].id = 3;
	t[1].rules.splice = true;
	memcpy(back, t, sizeof(t));
	if (rulewire_updated(data, size, t, 2, &env, err) != RULEWIRE_DONE)
		return;
	rulewire_update(&w, t, 2);
	REQUIRE(wr_ok(&w));
	REQUIRE(rulewire_updated(out, w.len, back, 2, &env, err) ==
		RULEWIRE_DONE);
	for (i = 0; i < 2; i++)
		REQUIRE(!memcmp(&t[i].rules, &back[i].rules,
				offsetof(struct rules, r) +
					t[i].rules.n * sizeof(struct rule)));
}

static void greeting(const uint8_t *data, size_t size)
{
	struct wr w = wr_init(out, sizeof(out));
	unsigned n, m, i;

	if (rulewire_greeted(data, size, t, &n, err) != RULEWIRE_DONE)
		return;
	rulewire_greet(&w, t, n);
	REQUIRE(wr_ok(&w));
	REQUIRE(rulewire_greeted(out, w.len, back, &m, err) == RULEWIRE_DONE);
	REQUIRE(n == m);
	for (i = 0; i < n; i++)
		REQUIRE(t[i].rules.n == back[i].rules.n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!size)
		return 0;
	if (data[0] & 1)
		update(data + 1, size - 1);
	else
		greeting(data + 1, size - 1);
	return 0;
}
