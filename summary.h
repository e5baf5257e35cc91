/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * summary - logs the configuration at the start
 */
#ifndef SUMMARY_H
#define SUMMARY_H

#include "plan.h"

/* summary_print - log it at level info; @ifname is the interface in the
 * namespace */
void summary_print(const struct conf *c, const struct host *h,
		   const struct plan *p, const char *ifname);

#endif /* SUMMARY_H */
