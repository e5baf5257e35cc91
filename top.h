/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * top - shows live flows by their rates, on a terminal
 */
#ifndef TOP_H
#define TOP_H

/* top_run - show the flows of the server at @path until the user quits
 * @filter is as for flowtab_fetch().  If stdout is no terminal they are printed
 * once, after a second.  Returns the exit status; failures end the process with
 * one line. */
int top_run(const char *path, const char *filter);

#endif /* TOP_H */
