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
	ANYWHERE = 1 << 3,   /* listed under its modes, accepted in all */
	SAYS_PASST = 1 << 4, /* refusal names passt mode alone */
};

struct option_row {
	const char *name; /* long, without dashes */
	char letter;	  /* 0: none; an alias has that of the row above */
	const char *arg;  /* what --help calls the argument; NULL: none */
	unsigned modes;
	const char *head; /* --help begins a group with it; NULL: go on */
	const char *help; /* one or more lines, \n between; NULL: an alias */
	const char *refusal; /* what is said before a bad argument; NULL:
				"Invalid --NAME: " */
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

/* options_find - argument of the last --@name on the command line, "" if it
 * takes none, NULL if it does not occur; complains about nothing */
const char *options_find(int argc, char **argv, const char *name);

/* options_add_dns - a resolver, unless it is there
 * options_add_search - a search domain; false if there is no room for it */
bool options_add_dns(struct lan *l, const struct addr *a);
bool options_add_search(struct lan *l, const char *s, size_t len);

/* options_label - whether @s can be a --label, which is told as it is: printable,
 * without blanks, " and \ */
bool options_label(const char *s);

/* options_usage - print --help for @mode */
void options_usage(enum mode mode, const char *argv0);

#endif /* OPTIONS_H */
