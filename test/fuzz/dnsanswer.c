/* SPDX-License-Identifier: GPL-2.0-or-later */
/* unit: addr util log */
/* Any bytes as a DNS message: nothing behind them is read, and what comes of them is
 * within its limits. */
#include "dnsanswer.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct dnsanswer a;

	if (!dnsanswer_read(&a, data, len))
		return 0;
	if (!a.n || a.n > DNSANSWER_ADDRS || strlen(a.name) >= DNSANSWER_NAME ||
	    strspn(a.name, "abcdefghijklmnopqrstuvwxyz0123456789-_.") !=
		    strlen(a.name))
		abort();
	return 0;
}
