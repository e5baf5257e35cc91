/* SPDX-License-Identifier: GPL-2.0-or-later */
/* unit: resolvconf addr util */
#include "resolvconf.h"
#include "util.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The first byte says how long the pieces are; they must make no difference */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct resolvconf by, whole;
	size_t step, at;

	if (!size)
		return 0;
	step = data[0] + 1U;
	data++;
	size--;
	resolvconf_begin(&whole);
	resolvconf_add(&whole, (const char *)data, size);
	resolvconf_end(&whole);
	resolvconf_begin(&by);
	for (at = 0; at < size; at += step)
		resolvconf_add(&by, (const char *)data + at,
			       MIN(step, size - at));
	resolvconf_end(&by);
	if (memcmp(&by, &whole, sizeof(by)))
		abort();
	return 0;
}
