/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * top - live flows by their rates, on a terminal
 */
#ifndef TOP_H
#define TOP_H

/* top_run - show the flows of the server at @path until somebody has seen enough
 * @filter as for flowtab_fetch().  Where stdout is no terminal: once, after a
 * second.  Returns the exit status; what is wrong ends the process with one
 * line. */
int top_run(const char *path, const char *filter);

#endif /* TOP_H */
