/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * options - the one option table: parsing, --help and the manual check read it
 */
#ifndef OPTIONS_H
#define OPTIONS_H

#include "conf.h"

/* Modes in which an option exists */
enum {
	IN_PASST = 1 << MODE_PASST,
	IN_PASTA = 1 << MODE_PASTA,
	IN_VHOST = 1 << MODE_VHOST,
	IN_STREAMS = IN_PASST | IN_VHOST,
	IN_ALL = IN_PASST | IN_PASTA | IN_VHOST,
};

struct option_row {
	const char *name; /* long, without dashes */
	char letter;	  /* 0: none */
	const char *arg;  /* what --help calls the argument; NULL: none */
	unsigned modes;
	const char *help; /* one or more lines, \n between */
	/* How it is set: dies with one line when @arg is refused */
	void (*set)(struct conf *c, const struct option_row *o,
		    const char *arg);
	size_t off;	  /* field of struct conf, for generic setters */
	long value;	  /* and what goes there */
};

extern const struct option_row option_table[];
extern const unsigned option_count;

/* options_run - getopt_long over the table; calls the rows' setters in order
 * Returns the index of the first non-option argument. */
int options_run(struct conf *c, int argc, char **argv);

/* options_usage - print --help for @mode */
void options_usage(enum mode mode, const char *argv0, bool to_stdout);

#endif /* OPTIONS_H */
