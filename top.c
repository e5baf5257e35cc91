/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * top - live flows by their rates, on a terminal
 *
 * Once a second the server is asked for its flows; what a flow has moved since
 * is its rate.  A screen is built in memory and written at once, over the last
 * one.  The terminal is restored however we end: at exit(), by a signal, and
 * while we are stopped.
 */
#include "top.h"

#include "flowtab.h"
#include "log.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

enum {
	INTERVAL_MS = 1000,
	HISTORY = 60,
	TO_HOST = 0,
	TO_GUEST = 1,
	COLS_MAX = 500,
	ROWS_LEAST = 4, /* title, blank, heading, keys */
	LEVELS = 8,
};

/* A flow, or the sum of all, with its past */
struct past {
	uint64_t id, bytes[2];
	float rate[2];
	float history[2][HISTORY]; /* the last value is @rate */
	const char *const *row;
};

enum order { BY_RATE, BY_TOTAL, BY_AGE, SORTS };

struct top {
	const char *path, *filter;
	struct flowtab tab;
	struct past *now, *was; /* by id */
	struct past **order;	/* of @now, sorted for display */
	unsigned now_n, was_n, cap;
	struct past all;
	uint64_t at_ns; /* of the last sample, 0: none */
	enum order sort;
	bool paused;
	bool utf8, color;
	int rows, cols;
	char *frame;
	size_t len, size;
	int left; /* columns left in the line */
};

/* --- the terminal ----------------------------------------------------------- */

static struct termios before;
static volatile sig_atomic_t taken, keys, resized;

static void say(const char *s)
{
	if (write(STDOUT_FILENO, s, strlen(s)) < 0)
		taken = false; /* the terminal is gone */
}

/* Switch to the alternate screen without cursor and line wrap, and read keys as
 * they are pressed */
static void take_terminal(void)
{
	struct termios t = before;

	taken = true;
	t.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
	t.c_cc[VMIN] = 1;
	t.c_cc[VTIME] = 0;
	if (keys)
		tcsetattr(STDIN_FILENO, TCSADRAIN, &t);
	say("\033[?1049h\033[?25l\033[?7l");
}

/* Restore the terminal; async-signal-safe */
static void give_back(void)
{
	if (!taken)
		return;
	taken = false;
	say("\033[0m\033[?7h\033[?25h\033[?1049l");
	if (keys)
		tcsetattr(STDIN_FILENO, TCSANOW, &before);
}

/* Standard error goes to a memory file meanwhile: what is printed on the
 * alternate screen would vanish with it.  leave() prints it. */
static int errors = -1;

static void hold_errors(void)
{
	int fd = memfd_create("stderr", MFD_CLOEXEC);

	if (fd < 0 || (errors = dup(STDERR_FILENO)) < 0)
		return;
	dup2(fd, STDERR_FILENO);
	close(fd);
}

static void leave(void)
{
	char text[1024];
	ssize_t n;

	give_back();
	if (errors < 0)
		return;
	n = pread(STDERR_FILENO, text, sizeof(text), 0);
	if (n > 0 && write(errors, text, (size_t)n) < 0)
		return; /* nobody to tell */
}

static void on_end(int number)
{
	give_back();
	signal(number, SIG_DFL);
	raise(number);
}

static void on_stop(int number)
{
	int saved = errno;

	(void)number;
	give_back();
	raise(SIGSTOP);
	take_terminal();
	resized = true;
	errno = saved;
}

static void on_resize(int number)
{
	(void)number;
	resized = true;
}

/* SIGWINCH is blocked but in ppoll(), so that none is missed */
static void watch_signals(void)
{
	static const int ends[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGPIPE };
	struct sigaction end = { .sa_handler = on_end, .sa_flags = SA_NODEFER };
	struct sigaction stop = { .sa_handler = on_stop, .sa_flags = SA_RESTART };
	struct sigaction resize = { .sa_handler = on_resize };
	sigset_t set;
	unsigned i;

	for (i = 0; i < ARRAY_SIZE(ends); i++)
		sigaction(ends[i], &end, NULL);
	sigaction(SIGTSTP, &stop, NULL);
	sigaction(SIGWINCH, &resize, NULL);
	sigemptyset(&set);
	sigaddset(&set, SIGWINCH);
	sigprocmask(SIG_BLOCK, &set, NULL);
}

static void measure(struct top *t)
{
	struct winsize w = { 0 };

	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &w) || !w.ws_row || !w.ws_col)
		w = (struct winsize){ .ws_row = 24, .ws_col = 80 };
	t->rows = w.ws_row;
	t->cols = MIN(w.ws_col, COLS_MAX);
}

/* --- samples ---------------------------------------------------------------- */

static uint64_t clock_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static int by_id(const void *a, const void *b)
{
	uint64_t x = ((const struct past *)a)->id;
	uint64_t y = ((const struct past *)b)->id;

	return (x > y) - (x < y);
}

static void move_on(struct past *p, const float rate[2])
{
	unsigned i;

	for (i = 0; i < 2; i++) {
		p->rate[i] = rate[i];
		memmove(p->history[i], p->history[i] + 1,
			sizeof(*p->history) - sizeof(**p->history));
		p->history[i][HISTORY - 1] = rate[i];
	}
}

/* Compute the rates of a flow over @seconds.  A flow younger than @age_max ms
 * has moved all of its bytes in that time; of an older one that is seen first
 * nothing is known. */
static void update(struct top *t, struct past *p, const char *const *row,
		   double seconds, uint64_t age_max)
{
	struct past key = { .id = flowtab_number(row, FIELD_ID) }, *old = NULL;
	const uint64_t bytes[2] = { flowtab_number(row, FIELD_TO_HOST),
				    flowtab_number(row, FIELD_TO_GUEST) };
	uint64_t since[2] = { 0, 0 };
	float rate[2];
	unsigned i;

	if (t->was_n)
		old = bsearch(&key, t->was, t->was_n, sizeof(*t->was), by_id);
	if (old)
		memcpy(since, old->bytes, sizeof(since));
	else if (flowtab_number(row, FIELD_AGE) > age_max)
		memcpy(since, bytes, sizeof(since));
	for (i = 0; i < 2; i++)
		rate[i] = bytes[i] <= since[i] ? 0 :
			  (float)((double)(bytes[i] - since[i]) / seconds);
	*p = old ? *old : (struct past){ .id = key.id };
	memcpy(p->bytes, bytes, sizeof(p->bytes));
	p->row = row;
	move_on(p, rate);
}

static void make_room(struct top *t)
{
	if (t->cap && t->tab.n <= t->cap)
		return;
	t->cap = 2 * t->tab.n + 16;
	t->now = realloc(t->now, t->cap * sizeof(*t->now));
	t->was = realloc(t->was, t->cap * sizeof(*t->was));
	t->order = realloc(t->order, t->cap * sizeof(*t->order));
	if (!t->now || !t->was || !t->order)
		die("Too many flows");
}

static void sample(struct top *t)
{
	uint64_t now, last = t->at_ns;
	float rate[2] = { 0, 0 };
	double seconds;
	struct past *p;
	unsigned i;

	flowtab_fetch(&t->tab, t->path, t->filter);
	now = clock_ns();
	seconds = last ? (double)(now - last) / 1e9 : 1;
	make_room(t);
	p = t->was;
	t->was = t->now;
	t->was_n = t->now_n;
	t->now = p;
	for (i = 0; i < t->tab.n; i++) {
		update(t, &p[i], t->tab.row[i], seconds,
		       last ? (uint64_t)(seconds * 1000) : 0);
		rate[TO_HOST] += p[i].rate[TO_HOST];
		rate[TO_GUEST] += p[i].rate[TO_GUEST];
	}
	t->now_n = t->tab.n;
	qsort(t->now, t->now_n, sizeof(*t->now), by_id);
	move_on(&t->all, rate);
	t->at_ns = now;
}

/* --- what is shown first ------------------------------------------------------- */

static int more(double a, double b)
{
	return (a < b) - (a > b);
}

static double total(const struct past *p)
{
	return (double)p->bytes[0] + (double)p->bytes[1];
}

static int by_total(const void *a, const void *b)
{
	const struct past *x = *(struct past *const *)a;
	const struct past *y = *(struct past *const *)b;
	int d = more(total(x), total(y));

	return d ? d : by_id(x, y);
}

static int by_rate(const void *a, const void *b)
{
	const struct past *x = *(struct past *const *)a;
	const struct past *y = *(struct past *const *)b;
	int d = more((double)x->rate[0] + (double)x->rate[1],
		     (double)y->rate[0] + (double)y->rate[1]);

	return d ? d : by_total(a, b);
}

static int by_age(const void *a, const void *b)
{
	return by_id(*(struct past *const *)a, *(struct past *const *)b);
}

static void sort(struct top *t)
{
	static int (*const by[SORTS])(const void *, const void *) = {
		[BY_RATE] = by_rate, [BY_TOTAL] = by_total, [BY_AGE] = by_age,
	};
	unsigned i;

	for (i = 0; i < t->now_n; i++)
		t->order[i] = &t->now[i];
	qsort(t->order, t->now_n, sizeof(*t->order), by[t->sort]);
}

/* --- a line ---------------------------------------------------------------- */

static void put_raw(struct top *t, const char *s, size_t len)
{
	if (t->len + len > t->size) {
		t->size = 2 * (t->len + len) + 4096;
		t->frame = realloc(t->frame, t->size);
		if (!t->frame)
			die("The terminal is too large");
	}
	memcpy(t->frame + t->len, s, len);
	t->len += len;
}

static void style(struct top *t, const char *sgr)
{
	if (!t->color)
		return;
	put_raw(t, "\033[", 2);
	put_raw(t, sgr, strlen(sgr));
	put_raw(t, "m", 1);
}

/* Whether a character is a control character, which a terminal may obey: C0,
 * DEL, or C1 in UTF-8 */
static bool is_control(const char *s)
{
	unsigned char c = (unsigned char)*s;

	return c < ' ' || c == 0x7f ||
	       (c == 0xc2 && (unsigned char)s[1] < 0xa0);
}

/* Append as much of @s as the line has columns left; control characters become
 * "?" */
static void put(struct top *t, const char *s)
{
	size_t len;

	for (; *s && t->left; s += len, t->left--) {
		len = 1;
		while ((s[len] & 0xc0) == 0x80)
			len++;
		if (is_control(s))
			put_raw(t, "?", 1);
		else
			put_raw(t, s, len);
	}
}

PRINTF(2, 3)
static void print(struct top *t, const char *fmt, ...)
{
	char text[COLS_MAX];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	put(t, text);
}

static void end_line(struct top *t, bool last)
{
	put_raw(t, "\033[K", 3);
	if (!last)
		put_raw(t, "\r\n", 2);
	t->left = t->cols;
}

static void put_rate(struct top *t, double rate, int width)
{
	char text[FLOWTAB_CELL];

	flowtab_bytes(text, rate);
	print(t, "%*s", width, text);
}

/* Draw the last @n rates as bars, the largest at full height */
static void spark(struct top *t, const struct past *p, unsigned ways,
		  unsigned n)
{
	static const char *const bar[2][LEVELS + 1] = {
		{ " ", ".", ".", ":", ":", "=", "=", "#", "#" },
		{ " ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█" },
	};
	double v[HISTORY] = { 0 }, max = 1024;
	unsigned i, k, level;

	n = MIN(n, (unsigned)HISTORY);
	for (i = HISTORY - n; i < HISTORY; i++) {
		for (k = 0; k < 2; k++)
			v[i] += ways & 1U << k ? (double)p->history[k][i] : 0;
		max = MAX(max, v[i]);
	}
	for (i = HISTORY - n; i < HISTORY; i++) {
		level = (unsigned)(v[i] / max * LEVELS);
		put(t, bar[t->utf8][v[i] >= 1 ? MAX(level, 1U) : 0]);
	}
}

/* --- the screen -------------------------------------------------------------- */

/* Widths of the columns, 0: not shown */
struct layout {
	int proto, state, end, spark;
	bool totals;
};

static struct layout layout(const struct top *t)
{
	struct layout l = { .proto = 11, .spark = 10 };
	int left = t->cols - l.proto - 4 - 2 * 9 - 1 - l.spark;
	char cell[FLOWTAB_COLUMNS][FLOWTAB_CELL];
	int longest = 15;
	unsigned i;

	for (i = 0; i < t->now_n; i++) {
		flowtab_cells(t->now[i].row, cell);
		longest = MAX(longest, (int)strlen(cell[2]));
		longest = MAX(longest, (int)strlen(cell[6]));
	}
	l.end = MAX(10, MIN(longest, left / 2));
	left -= 2 * l.end;
	l.totals = left >= 14;
	left -= l.totals ? 14 : 0;
	if (left >= 12) {
		l.state = 12;
		left -= 12;
	}
	l.spark = MAX(MIN(l.spark + left, HISTORY), 0);
	return l;
}

static void show_way(struct top *t, unsigned way, const char *sgr,
		     const char *name)
{
	style(t, sgr);
	print(t, "  %s ", name);
	put_rate(t, (double)t->all.rate[way], 6);
	put(t, "B/s ");
	spark(t, &t->all, 1U << way, MAX(MIN((unsigned)t->cols / 5, 40U), 4U));
	style(t, "0");
}

static void show_title(struct top *t)
{
	style(t, "1");
	print(t, "%s", t->tab.label);
	style(t, "0");
	print(t, "  %u flow%s", t->now_n, t->now_n == 1 ? "" : "s");
	show_way(t, TO_GUEST, "32", t->utf8 ? "↓" : "in");
	show_way(t, TO_HOST, "36", t->utf8 ? "↑" : "out");
	if (t->paused)
		put(t, "  paused");
	end_line(t, t->rows < ROWS_LEAST);
}

static void show_heading(struct top *t, const struct layout *l)
{
	end_line(t, false);
	style(t, "7");
	print(t, "%-*s", l->proto, "PROTO");
	if (l->state)
		print(t, "%-*s", l->state, "STATE");
	print(t, "%-*s    %-*s", l->end, "GUEST", l->end, "PEER");
	print(t, " %8s %8s ", "IN/s", "OUT/s");
	print(t, "%-*s", l->spark, "RATE");
	if (l->totals)
		print(t, " %8s %4s", "TOTAL", "AGE");
	print(t, "%*s", t->left, "");
	style(t, "0");
	end_line(t, false);
}

static void show_flow(struct top *t, const struct layout *l,
		      const struct past *p)
{
	char cell[FLOWTAB_COLUMNS][FLOWTAB_CELL];
	bool busy = p->rate[0] + p->rate[1] >= 1;

	flowtab_cells(p->row, cell);
	if (!busy)
		style(t, "2");
	print(t, "%-*.*s", l->proto, l->proto - 1, cell[0]);
	if (l->state)
		print(t, "%-*.*s", l->state, l->state - 1, cell[1]);
	print(t, "%-*.*s %s %-*.*s", l->end, l->end, cell[2], cell[3], l->end,
	      l->end, cell[6]);
	style(t, busy ? "32" : "2");
	put_rate(t, (double)p->rate[TO_GUEST], 9);
	style(t, busy ? "36" : "2");
	put_rate(t, (double)p->rate[TO_HOST], 9);
	style(t, busy ? "33" : "2");
	put(t, " ");
	spark(t, p, 3, (unsigned)l->spark);
	style(t, busy ? "0" : "2");
	if (l->totals) {
		put_rate(t, total(p), 9);
		print(t, " %4s", cell[10]);
	}
	style(t, "0");
}

static void show_keys(struct top *t)
{
	static const char *const name[SORTS] = { "rate", "total", "age" };

	style(t, "2");
	print(t, "q quit  s sort by %s  space pause",
	      name[(t->sort + 1) % SORTS]);
	style(t, "0");
	end_line(t, true);
}

static void write_all(const char *p, size_t len)
{
	ssize_t n;

	for (; len; p += n, len -= (size_t)n) {
		n = write(STDOUT_FILENO, p, len);
		if (n < 0 && errno == EINTR)
			n = 0;
		if (n < 0)
			exit(EXIT_FAILURE);
	}
}

static void show(struct top *t)
{
	unsigned room = (unsigned)MAX(t->rows - ROWS_LEAST, 0), i;
	struct layout l = layout(t);

	sort(t);
	t->len = 0;
	t->left = t->cols;
	put_raw(t, "\033[H", 3);
	show_title(t);
	if (t->rows < ROWS_LEAST)
		goto done;
	show_heading(t, &l);
	for (i = 0; i < room; i++) {
		if (i < t->now_n)
			show_flow(t, &l, t->order[i]);
		end_line(t, false);
	}
	show_keys(t);
done:
	write_all(t->frame, t->len);
}

/* --- all of it ----------------------------------------------------------------- */

/* Print a table once, where standard output is no terminal */
static void show_plain(struct top *t)
{
	char cell[FLOWTAB_COLUMNS][FLOWTAB_CELL], in[FLOWTAB_CELL],
		out[FLOWTAB_CELL];
	unsigned i;

	sort(t);
	printf("%s: %u flow%s\n", t->tab.label, t->now_n,
	       t->now_n == 1 ? "" : "s");
	printf("%-10s %-11s %8s %8s %-21s    %s\n", "PROTO", "STATE", "IN/s",
	       "OUT/s", "GUEST", "PEER");
	for (i = 0; i < t->now_n; i++) {
		flowtab_cells(t->order[i]->row, cell);
		flowtab_bytes(in, (double)t->order[i]->rate[TO_GUEST]);
		flowtab_bytes(out, (double)t->order[i]->rate[TO_HOST]);
		printf("%-10s %-11s %8s %8s %-21s %s %s\n", cell[0], cell[1],
		       in, out, cell[2], cell[3], cell[6]);
	}
}

/* Act on a key; false: the user quits */
static bool take_key(struct top *t)
{
	char key;
	ssize_t n = read(STDIN_FILENO, &key, 1);

	if (n < 0)
		return errno == EINTR || errno == EAGAIN;
	if (!n || key == 'q' || key == 'Q')
		return false;
	if (key == 's')
		t->sort = (t->sort + 1) % SORTS;
	else if (key == ' ')
		t->paused = !t->paused;
	show(t);
	return true;
}

/* Handle keys and changes of size until the next sample is due; false: the user
 * quits */
static bool wait_for_next(struct top *t)
{
	struct pollfd p = { .fd = keys ? STDIN_FILENO : -1, .events = POLLIN };
	uint64_t due = t->at_ns + INTERVAL_MS * 1000000ULL, now;
	struct timespec left;
	sigset_t none;

	sigemptyset(&none);
	while ((now = clock_ns()) < due || t->paused) {
		uint64_t ns = now < due ? due - now : 0;

		left = (struct timespec){ (time_t)(ns / 1000000000),
					  (long)(ns % 1000000000) };
		if (ppoll(&p, 1, t->paused ? NULL : &left, &none) > 0 &&
		    !take_key(t))
			return false;
		if (resized) {
			resized = false;
			measure(t);
			show(t);
		}
	}
	return true;
}

/* Whether the locale of the environment uses UTF-8, found as setlocale()
 * does */
static bool is_utf8(void)
{
	static const char *const name[] = { "LC_ALL", "LC_CTYPE", "LANG" };
	const char *v = NULL;
	unsigned i;

	for (i = 0; i < ARRAY_SIZE(name) && (!v || !*v); i++)
		v = getenv(name[i]);
	return v && (strcasestr(v, "utf-8") || strcasestr(v, "utf8"));
}

int top_run(const char *path, const char *filter)
{
	static struct top top;
	struct top *t = &top;
	const char *no_color = getenv("NO_COLOR");

	t->path = path;
	t->utf8 = is_utf8();
	t->color = !no_color || !*no_color;
	t->filter = filter;
	sample(t);
	if (!isatty(STDOUT_FILENO)) {
		usleep(INTERVAL_MS * 1000);
		sample(t);
		show_plain(t);
		return EXIT_SUCCESS;
	}
	keys = !tcgetattr(STDIN_FILENO, &before);
	atexit(leave);
	hold_errors();
	watch_signals();
	take_terminal();
	measure(t);
	for (show(t); wait_for_next(t); show(t))
		sample(t);
	return EXIT_SUCCESS;
}
