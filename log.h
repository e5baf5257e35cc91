/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * log - messages that cost the test of a flag when they are not printed
 *
 * There is one log per process.  Unless log_stderr() says no, messages go to
 * stderr as well as to the destination: a log file if there is one, else
 * syslog; with debugging to stderr only.  After log_start() no destination is
 * waited for.
 */
#ifndef LOG_H
#define LOG_H

#include "util.h"

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFORM, LOG_DBG, LOG_TRACE };

/* The highest level that is printed; set by log_level(), read by the macros */
extern enum log_level log_max;

/* log_init - set our name ("passt" or "pasta") and start the clock of time
 * stamps */
void log_init(const char *ident);

/* log_level - print messages up to and including @max */
void log_level(enum log_level max);

/* log_file - log to @path from now on; the file is cut when it would exceed
 * @limit bytes
 * The file is made with mode 0600 and truncated, unless it belongs to a process
 * that still runs and the log is to go @on.  @version goes to our first line.
 * Returns 0 or -errno. */
int log_file(const char *path, size_t limit, const char *version, bool on);

/* log_stderr - set whether messages go to stderr as well */
void log_stderr(bool on);

/* log_start - from now on a line for which a destination would have to be
 * waited for is lost, and counted */
void log_start(void);

/* log_detach - end messages to stderr, and hold open nothing that it was */
void log_detach(void);

/* log_open_syslog - connect to /dev/log, while that can be reached */
void log_open_syslog(void);

/* log_fds - get the descriptors that the log holds, -1: none, so that they are
 * not closed */
void log_fds(int *file, int *syslog);

/* log_sync - fsync() the log file; called once, before exit */
void log_sync(void);

/* log_print - print a message; called by the macros below after testing the
 * level */
void log_print(enum log_level l, const char *fmt, ...) PRINTF(2, 3);

/* log_signal - print an error from a signal handler */
void log_signal(const char *text);

/* log_plain - print a line, which has its newline, to stderr whatever the
 * level */
void log_plain(const char *text);

/* die - report a failure to start and exit with status 1
 * For rank 7 only: errors at run time are handled, not died of. */
_Noreturn void die(const char *fmt, ...) PRINTF(1, 2);

/* Per call site: at most LOG_RATE messages a second */
struct log_rate {
	uint64_t second;
	unsigned seen;
};
enum { LOG_RATE = 5 };

/* log_allowed - count a message of @r; false if there were too many in this
 * second */
bool log_allowed(struct log_rate *r);

#define log_at(l, ...)                                                         \
	do {                                                                   \
		if (UNLIKELY((l) <= log_max))                                  \
			log_print((l), __VA_ARGS__);                           \
	} while (0)
#define log_err(...)   log_at(LOG_ERROR, __VA_ARGS__)
#define log_warn(...)  log_at(LOG_WARN, __VA_ARGS__)
#define log_info(...)  log_at(LOG_INFORM, __VA_ARGS__)
#define log_debug(...) log_at(LOG_DBG, __VA_ARGS__)
#define log_trace(...) log_at(LOG_TRACE, __VA_ARGS__)
#define log_limited(l, ...)                                                    \
	do {                                                                   \
		static struct log_rate rate_;                                  \
		if (UNLIKELY((l) <= log_max) && log_allowed(&rate_))           \
			log_print((l), __VA_ARGS__);                           \
	} while (0)

#endif /* LOG_H */
