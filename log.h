/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * log - messages that cost a flag test when they are not printed
 *
 * There is one log per process.  Until log_stderr() says no, messages go to
 * stderr as well as to the destination: a log file if there is one, else syslog;
 * with debugging, stderr only.  Between log_start() and the end none of them is
 * waited for.
 */
#ifndef LOG_H
#define LOG_H

#include "util.h"

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFORM, LOG_DBG, LOG_TRACE };

/* Highest level that is printed: read by the macros, set by log_level() */
extern enum log_level log_max;

/* log_init - @ident names us ("passt" or "pasta"), the clock starts now */
void log_init(const char *ident);

/* log_level - print messages up to and including @max */
void log_level(enum log_level max);

/* log_file - from now on to @path, cut when it would exceed @limit bytes
 * The file is made with mode 0600 and truncated, unless it is that of who is still
 * running and is to go @on.  @version goes to our first line.  0 or -errno. */
int log_file(const char *path, size_t limit, const char *version, bool on);

/* log_stderr - whether messages also go to stderr */
void log_stderr(bool on);

/* log_start - from now on what would have to wait is lost, and counted */
void log_start(void);

/* log_detach - no more of stderr: nothing that it was is held open */
void log_detach(void);

/* log_open_syslog - connect to /dev/log while it can be reached */
void log_open_syslog(void);

/* log_fds - the descriptors that the log holds, -1 for none: for closefrom */
void log_fds(int *file, int *syslog);

/* log_sync - fsync the log file; called once before exit */
void log_sync(void);

/* log_print - what the macros below call after testing the level */
void log_print(enum log_level l, const char *fmt, ...) PRINTF(2, 3);

/* log_signal - an error, from a signal handler */
void log_signal(const char *text);

/* log_plain - a line with its end to stderr as it is, whatever the level */
void log_plain(const char *text);

/* die - report a failure to start and exit with status 1
 * For rank 7 only: what happens at run time is handled, not died of. */
_Noreturn void die(const char *fmt, ...) PRINTF(1, 2);

/* Per call site: at most LOG_RATE messages a second */
struct log_rate {
	uint64_t second;
	unsigned seen;
};
enum { LOG_RATE = 5 };

/* log_allowed - count one message of @r, false if there were too many */
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
