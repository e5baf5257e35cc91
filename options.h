/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * options - the option table, which parsing, --help and the check of the manual
 * read
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
	ANYWHERE = 1 << 3,   /* accepted in all modes, listed under those
				given */
	SAYS_PASST = 1 << 4, /* refused with a message that names passt mode
				only */
};

struct option_row {
	const char *name; /* long name, without dashes */
	char letter;	  /* short name, 0: none; an alias has that of the row
			     above */
	const char *arg;  /* what --help calls the argument; NULL: none */
	unsigned modes;
	const char *head; /* heading of a group that begins here in --help;
			     NULL: none */
	const char *help; /* one or more lines, separated by \n; NULL: this is
			     an alias */
	const char *refusal; /* message in front of a bad argument; NULL:
				"Invalid --NAME: " */
	/* Set the option; dies with one line if @arg is refused */
	void (*set)(struct conf *c, const struct option_row *o,
		    const char *arg);
	size_t off;	  /* field of struct conf, for generic setters */
	long value;	  /* and the value to store there */
};

extern const struct option_row option_table[];
extern const unsigned option_count;

/* options_run - parse the command line with getopt_long() and call the rows'
 * setters in order
 * Returns the index of the first non-option argument. */
int options_run(struct conf *c, int argc, char **argv);

/* options_find - the argument of the last --@name on the command line, "" if it
 * takes none, NULL if it does not occur; reports no errors */
const char *options_find(int argc, char **argv, const char *name);

/* options_add_dns - add a resolver, unless it is there already
 * options_add_search - add a search domain
 * Both return false if there is no room. */
bool options_add_dns(struct lan *l, const struct addr *a);
bool options_add_search(struct lan *l, const char *s, size_t len);

/* options_label - whether @s may be a --label, which is shown as it is:
 * printable, without blanks, " and \ */
bool options_label(const char *s);

/* options_usage - print --help for @mode */
void options_usage(enum mode mode, const char *argv0);

#endif /* OPTIONS_H */
